package node

import (
	"testing"

	"lightningrod/channel"

	"github.com/lightningnetwork/lnd/lnwire"
)

// TestErrors: an error of the peer fails the channel (BOLT 1 "The error and warning Messages"), but for the one that lnd sends while it
// stops: after that the channel goes on at the next connection.
func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		text string
		goes bool // on
	}{
		{"internal error", true},
		{"internal error: disk", false},
		{"invalid commitment", false},
	} {
		t.Run(tc.text, func(t *testing.T) {
			w := newWorld(t)
			a, b, id := w.pair()
			from := a.LastEvent() + 1
			state := a.registry.get(id).state.Load()
			chanID := lnwire.ChannelID(state.ChannelID())
			if err := b.host.Peer(a.ID()).Send(&lnwire.Error{ChanID: chanID, Data: lnwire.ErrorData(tc.text)}); err != nil {
				t.Fatal(err)
			}
			if !tc.goes {
				w.wait(a, from, ChannelOnChain)
				return
			}
			w.wait(a, from, PeerDown)
			w.usable(a, b)
			if p := a.registry.get(id).state.Load().Phase(); p != channel.PhaseNormal {
				t.Fatalf("phase %v", p)
			}
		})
	}
}
