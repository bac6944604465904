package forward

import (
	"testing"

	"lightningrod/channel"
	"lightningrod/onion"
)

// TestCommittedAndOnChain has an HTLC committed in the turn in which its channel goes on chain: it is void.
func TestCommittedAndOnChain(t *testing.T) {
	h := channel.HTLC{Key: channel.Key{Channel: 1}, Amount: 1_010_000, Hash: [32]byte{1}, Expiry: 1100}
	notices := []channel.Notice{channel.Committed{HTLC: h}, channel.Violated{}, channel.OnChain{}}
	peel := func(*channel.HTLC) (*onion.Hop, *onion.Failure) {
		peer := nodeID("payee")
		return &onion.Hop{Amount: 1_000_000, Cltv: 1060, NextNode: &peer}, nil
	}
	w := newWorld(t)
	w.introduce(Channel{ID: 1, Peer: nodeID("payer")})
	w.introduce(Channel{ID: 2, Peer: nodeID("payee")})
	w.handle(Usable{ID: 2, Out: channel.Capacity{Max: 10_000_000, Min: 1, Slots: 10}}, nil)
	var posted []Command
	for _, x := range InOrder(notices) {
		if ev := Hear(1, nodeID("payer"), x, peel); ev != nil {
			posted = append(posted, w.f.Handle(ev).Commands...)
		}
	}
	if len(posted) != 0 {
		t.Errorf("posted %+v", posted)
	}
	if live := w.f.Live(); len(live) != 1 || live[0].State != "void" {
		t.Errorf("HTLCs %+v", live)
	}
}
