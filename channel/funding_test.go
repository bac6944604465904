package channel_test

import (
	"testing"

	"lightningrod/chain"
	"lightningrod/channel"
	"lightningrod/channel/channeltest"

	"github.com/lightningnetwork/lnd/lnwire"
)

// funded is a pair that waits for confirmations.
func funded(t *testing.T, o channeltest.Options) *channeltest.Pair {
	t.Helper()
	o.Toy = true
	p := channeltest.New(o)
	step(t, p.Connect())
	step(t, p.Do(0, channel.Open{Capacity: 1_000_000, Push: o.Push, FeePerKw: 253}))
	step(t, p.DeliverAll())
	step(t, p.Fund())
	step(t, p.DeliverAll())
	return p
}

func usable(p *channeltest.Pair) (n int) {
	for _, s := range p.Sides {
		if _, _, ok := s.State.Usable(); ok {
			n++
		}
	}
	return n
}

// TestCoinbaseFunding: an output of the first transaction of a block can be spent after 100 blocks only, so the channel is
// not used before.
func TestCoinbaseFunding(t *testing.T) {
	p := funded(t, channeltest.Options{})
	for side := range 2 {
		step(t, p.Do(side, channel.Chain{Event: chain.Confirmed{Tx: p.Funding, Height: p.Height + 1, TxIndex: 0}}))
	}
	step(t, p.Mine(99))
	step(t, p.DeliverAll())
	if n := usable(p); n != 0 {
		t.Fatalf("usable after 99 blocks: %v", p.Sides[0].State)
	}
	step(t, p.Crash(0))
	step(t, p.Connect())
	step(t, p.DeliverAll())
	step(t, p.Mine(1))
	step(t, p.DeliverAll())
	if n := usable(p); n != 2 {
		t.Fatalf("not usable after 100 blocks: %v", p.Sides[0].State)
	}
}

// TestForgetUnconfirmed: the accepter forgets a channel whose funding transaction is not confirmed after 2016 blocks, the
// opener, whose money it is, never.
func TestForgetUnconfirmed(t *testing.T) {
	for _, push := range []lnwire.MilliSatoshi{0, 400_000_000} {
		p := funded(t, channeltest.Options{Push: push})
		step(t, p.Mine(2015))
		step(t, p.Crash(1)) // a restart does not begin the count anew
		if p.Sides[1].State.Phase() != channel.PhaseOpening {
			t.Fatalf("forgotten too early: %v", p.Sides[1].State)
		}
		late := p.Clone()
		step(t, p.Mine(1))
		alice, bob := p.Sides[0], p.Sides[1]
		if bob.State.Phase() != channel.PhaseClosed || bob.Rows.Core != nil {
			t.Errorf("not forgotten: %v", bob.State)
		}
		if alice.State.Phase() != channel.PhaseOpening {
			t.Errorf("alice: %v", alice.State)
		}
		// Confirmed in the last block that is in time.
		step(t, late.Confirm(1))
		step(t, late.Mine(10))
		step(t, late.Connect())
		step(t, late.DeliverAll())
		if n := usable(late); n != 2 {
			t.Errorf("confirmed at the last moment: %v", late.Sides[1].State)
		}
	}
}

// TestWrongFunding: the transaction with the right id must pay the right amount to the right script, byte for byte
// (CVE-2019-12998).
func TestWrongFunding(t *testing.T) {
	p := channeltest.New(channeltest.Options{Toy: true, Push: 400_000_000})
	step(t, p.Connect())
	step(t, p.Do(0, channel.Open{Capacity: 1_000_000, Push: 400_000_000, FeePerKw: 253}))
	step(t, p.DeliverAll())
	step(t, p.Fund())
	bob := p.Sides[1]
	// alice commits to another output of her transaction, which pays less.
	p.Funding.TxOut = append(p.Funding.TxOut, p.Funding.TxOut[0])
	worse := *p.Funding.TxOut[0]
	worse.Value--
	p.Funding.TxOut[0] = &worse
	m := *p.Sides[0].Out[0].(*lnwire.FundingCreated)
	m.FundingPoint.Hash = p.Funding.TxHash()
	m.CommitSig = bob.State.FirstSignature(bob.Crypto, p.Sides[0].Crypto, &m)
	step(t, p.Do(1, channel.Received{Msg: &m}))
	if !bob.State.Durable() {
		t.Fatal(bob.State)
	}
	step(t, p.Do(1, channel.Chain{Event: chain.Confirmed{Tx: p.Funding, Height: p.Height + 1, TxIndex: 3}}))
	if bob.State.Phase() != channel.PhaseClosed {
		t.Fatal(bob.State)
	}
}
