package channel_test

import (
	"math/big"
	"strings"
	"testing"

	"lightningrod/chain"
	"lightningrod/channel"
	"lightningrod/channel/channeltest"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Rows of docs/catalogue.md that concern one channel and are not shown elsewhere. Each test is named after its row.

// highS is the same signature with the other S: valid, and not relayed.
func highS(t *testing.T, sig lnwire.Sig) lnwire.Sig {
	t.Helper()
	raw := sig.RawBytes()
	s := new(big.Int).Sub(btcec.S256().N, new(big.Int).SetBytes(raw[32:]))
	s.FillBytes(raw[32:])
	high, err := lnwire.NewSigFromWireECDSA(raw)
	step(t, err)
	return high
}

// TestA16_HighS: every signature that ends up in a transaction of ours is refused when it is not low-S, although it is valid; the
// channel fails, and what it publishes is a commitment with signatures that are low-S.
func TestA16_HighS(t *testing.T) {
	for _, where := range []string{"funding_created", "funding_signed", "commitment_signed", "htlc_signature", "closing_signed"} {
		t.Run(where, func(t *testing.T) {
			p := channeltest.New(channeltest.Options{Wire: true, Push: 400_000_000})
			if !strings.HasPrefix(where, "funding") {
				step(t, p.Open())
			}
			from := 0
			switch where {
			case "funding_created", "funding_signed":
				step(t, p.Connect())
				step(t, p.Do(0, channel.Open{Capacity: 1_000_000, Push: 400_000_000, FeePerKw: 253}))
				step(t, p.DeliverAll())
				step(t, p.Fund())
			case "closing_signed":
				step(t, p.Do(0, channel.Close{}))
			default:
				step(t, p.Do(0, channel.Add{HTLC: channeltest.HTLC(1, 50_000_000, 700)}))
			}
			done := false
			for range 20 {
				if from = 1 - from; len(p.Sides[from].Out) == 0 {
					continue
				}
				for i, m := range p.Sides[from].Out {
					if spoilt := spoil(t, where, m); spoilt != nil {
						p.Sides[from].Out[i], done = spoilt, true
					}
				}
				victim := p.Sides[1-from]
				for len(p.Sides[from].Out) > 0 {
					_, err := p.Deliver(from)
					step(t, err)
				}
				if done {
					refused(t, victim)
					return
				}
			}
			t.Fatal("no such message")
		})
	}
}

// spoil is the message with a high-S signature, nil if it is not the one meant.
func spoil(t *testing.T, where string, m lnwire.Message) lnwire.Message {
	switch m := m.(type) {
	case *lnwire.FundingCreated:
		if c := *m; where == "funding_created" {
			c.CommitSig = highS(t, c.CommitSig)
			return &c
		}
	case *lnwire.FundingSigned:
		if c := *m; where == "funding_signed" {
			c.CommitSig = highS(t, c.CommitSig)
			return &c
		}
	case *lnwire.CommitSig:
		c := *m
		switch {
		case where == "commitment_signed":
			c.CommitSig = highS(t, c.CommitSig)
			return &c
		case where == "htlc_signature" && len(c.HtlcSigs) > 0:
			c.HtlcSigs = []lnwire.Sig{highS(t, c.HtlcSigs[0])}
			return &c
		}
	case *lnwire.ClosingSigned:
		if c := *m; where == "closing_signed" {
			c.Signature = highS(t, c.Signature)
			return &c
		}
	}
	return nil
}

// refused checks that a side has ended the channel because of a signature.
func refused(t *testing.T, s *channeltest.Side) {
	t.Helper()
	told := ""
	for _, n := range s.Notices {
		told += channel.DescribeNotice(n) + "\n"
	}
	if s.State.Phase() < channel.PhaseClosing || !strings.Contains(told, "low-S") {
		t.Fatalf("%v\n%s", s.State, told)
	}
}

// TestH2_UpstreamAway: an HTLC is given up while its peer is away. The failure is on the disk, the channel waits, for however many
// blocks and restarts, and does not go on chain for it; when the peer is back, the failure is the first thing it hears.
func TestH2_UpstreamAway(t *testing.T) {
	for _, before := range []bool{true, false} { // the decision comes before the peer leaves
		for _, blocks := range []int{0, 1, 40, 99, 100, 101, 200} { // the HTLC expires 100 blocks on
			p, err := channeltest.Open(channeltest.Options{Toy: true, Push: 400_000_000})
			step(t, err)
			bob := p.Sides[1]
			step(t, p.Do(0, channel.Add{HTLC: channeltest.HTLC(1, 50_000_000, p.Height+100)}))
			step(t, p.DeliverAll())
			fail := channel.Settle{HTLC: 0, Outcome: channel.Fail{Reason: []byte("too late")}}
			if before {
				step(t, p.Do(1, fail))
				step(t, p.Disconnect())
			} else {
				step(t, p.Disconnect())
				step(t, p.Do(1, fail))
			}
			step(t, p.Crash(1))
			at := len(bob.Chain)
			for i := range blocks { // alice is off, and hears of none
				h := p.Height + uint32(i) + 1
				step(t, p.Do(1, channel.Chain{Event: chain.BlockConnected{Height: h, Hash: [32]byte{byte(h), byte(h >> 8)}}}))
			}
			if bob.State.Phase() != channel.PhaseNormal {
				t.Fatalf("%d blocks: on chain for an HTLC that is not worth it: %v", blocks, bob.State)
			}
			for _, r := range bob.Chain[at:] {
				if _, publishes := r.(chain.Publish); publishes {
					t.Fatalf("%d blocks: publishes", blocks)
				}
			}
			core := bob.Rows.Core
			p.Height += uint32(blocks)
			step(t, p.Crash(1))
			if string(bob.Rows.Core) != string(core) {
				t.Fatal("the restart changed the rows")
			}
			step(t, p.Connect())
			for len(p.Sides[0].Out) > 0 && len(bob.Out) < 2 {
				_, err := p.Deliver(0)
				step(t, err)
			}
			said := ""
			for _, m := range bob.Out[1:] { // after channel_reestablish
				said += channel.DescribeMessage(m) + "\n"
			}
			if !strings.HasPrefix(said, "update_fail_htlc id=0") || !strings.Contains(said, "commitment_signed") {
				t.Fatalf("%d blocks: said first\n%s", blocks, said)
			}
			step(t, p.DeliverAll())
			told := false
			for _, n := range p.Sides[0].Notices {
				r, ok := n.(channel.Resolved)
				told = told || ok && r.Key.HTLC == 0
			}
			if !told {
				t.Fatalf("%d blocks: alice was not told\n%v", blocks, p.Sides[0].State)
			}
		}
	}
}

// TestH27_FailureIsIrrevocable: message by message, with the peer stopping for good after each of them: the failure of an HTLC we offered
// is told exactly when no commitment that the peer can still publish has it, and that is when nothing can bring it back.
func TestH27_FailureIsIrrevocable(t *testing.T) {
	for _, restart := range []bool{false, true} {
		told := -1
		for stop := 0; stop <= 5; stop++ {
			p, err := channeltest.Open(channeltest.Options{Toy: true, Push: 400_000_000})
			step(t, err)
			alice := p.Sides[0]
			step(t, p.Do(0, channel.Add{HTLC: channeltest.HTLC(1, 50_000_000, 700)}))
			step(t, p.DeliverAll())
			step(t, p.Do(1, channel.Settle{HTLC: 0, Outcome: channel.Fail{Reason: []byte{1}}}))
			// update_fail_htlc, commitment_signed; revoke_and_ack, commitment_signed; revoke_and_ack
			for _, from := range []int{1, 1, 0, 0, 1}[:stop] {
				if ok, err := p.Deliver(from); !ok || err != nil {
					t.Fatal(ok, err)
				}
			}
			if restart {
				step(t, p.Crash(0))
			}
			failed := false
			for _, n := range alice.Notices {
				if r, ok := n.(channel.Resolved); ok {
					_, failed = r.Outcome.(channel.Fail)
				}
			}
			live := 0 // commitments of bob that hold it, and that he has not revoked
			params := alice.State.OnchainParams(alice.Crypto)
			for _, c := range params.Theirs {
				live += len(c.Spec.HTLCs)
			}
			if failed != (live == 0) {
				t.Errorf("restart %v, after %d messages: failed %v, in %d commitments", restart, stop, failed, live)
			}
			if failed && told < 0 {
				told = stop
			}
		}
		if told != 5 {
			t.Errorf("restart %v: told after %d messages, expected after the fifth, the revoke_and_ack", restart, told)
		}
	}
}
