package channeltest

import (
	"testing"

	"lightningrod/chain"
	"lightningrod/channel"
	"lightningrod/channel/onchain"

	"github.com/lightningnetwork/lnd/lnwire"
)

// At every turn of a busy pair, what a State tells onchain of itself is accepted there, and the commitment that onchain would publish is
// the State's own, to the byte.
func TestOnchainParams(t *testing.T) {
	p := open(t, Options{Wire: true, Push: 400_000_000, FeePerKw: 1000, Params: func(side int, p *channel.Params) {
		if p.Limits.ToSelfDelay = 100; side == 1 {
			p.Limits.DustLimit, p.Limits.ToSelfDelay = 400, 300
		}
		p.ShutdownScript = append([]byte{0x51, 0x20}, make([]byte, 32)...)
	}})
	checks, unrevoked := 0, 0
	for _, s := range p.Sides {
		s.Log = func(string, Turn, []channel.Notice) {
			tx, _, err := s.State.LocalCommitment(s.Crypto)
			must(t, err)
			params := s.State.OnchainParams(s.Crypto)
			st, err := onchain.New(params)
			must(t, err)
			_, out := onchain.Apply(st, s.Crypto, []onchain.Event{onchain.Close{}})
			found := false
			for _, r := range out.Chain {
				pub, ok := r.(chain.Publish)
				found = found || ok && pub.Tx.TxHash() == tx.TxHash()
			}
			if !found {
				t.Fatal("what onchain publishes is not our commitment")
			}
			checks++
			if len(params.Theirs) == 2 {
				unrevoked++
			}
		}
	}
	for n := uint64(0); n < 4; n++ {
		h := HTLC(n, lnwire.MilliSatoshi(300_000+n*40_000), uint32(700+n%2))
		h.Back = uint32(710 + n)
		must(t, p.Do(0, channel.Add{HTLC: h}))
		must(t, p.Do(1, channel.Add{HTLC: HTLC(n, 50_000_000, 701)}))
	}
	must(t, p.DeliverAll())
	for _, h := range p.Sides[0].State.OnchainParams(p.Sides[0].Crypto).HTLCs {
		if want := uint32(710 + h.ID); h.Offered && h.Deadline != want || !h.Offered && h.Deadline != 0 {
			t.Errorf("htlc %d is to be back at %d", h.ID, h.Deadline)
		}
	}
	for n := uint64(0); n < 4; n++ {
		var o channel.Outcome = channel.Fulfill{Preimage: Preimage(n)}
		if n%2 == 1 {
			o = channel.Fail{Reason: []byte{1}}
		}
		must(t, p.Do(1, channel.Settle{HTLC: n, Outcome: o}))
		must(t, p.Do(0, channel.Settle{HTLC: n, Outcome: o}))
	}
	must(t, p.DeliverAll())
	if checks < 40 || unrevoked < 10 {
		t.Fatalf("%d turns, %d of them with two commitments of the peer: too few to show anything", checks, unrevoked)
	}
}
