package node

import (
	"testing"

	"lightningrod/channel"
)

// TestConnectedTwice: Open may see a peer before the host has told the channels of it. The same connection told twice is one.
func TestConnectedTwice(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(w.config("alice", false)), w.start(w.config("bob", true))
	w.fund(a)
	if err := a.Connect(w.ctx, b.ID(), address("bob")); err != nil {
		t.Fatal(err)
	}
	p := a.host.Peer(b.ID())
	in := a.newChannel(b.ID(), [32]byte{1}, true, false)
	connected := posted{ev: channel.Connected{Features: p.Features()}, conn: p}
	a.engine.post(in, connected, posted{ev: channel.Open{Capacity: 1_000_000, FeePerKw: 1000}}, connected)
	w.until("funding transaction", func() bool { return len(w.chain.Mempool()) == 1 })
}
