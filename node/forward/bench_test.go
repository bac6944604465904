package forward

import (
	"fmt"
	"testing"

	"lightningrod/channel"
	"lightningrod/rod"

	"github.com/lightningnetwork/lnd/lnwire"
)

// benchForwarder holds n HTLCs, 20 a peer.
func benchForwarder(b *testing.B, n int) *Forwarder {
	table, err := rod.Load(rod.DefaultConfig(nodeID("lsp")))
	if err != nil {
		b.Fatal(err)
	}
	f, _ := Rebuild(DefaultConfig(), Durable{Height: 1000, Now: 1_000_000, Table: table})
	f.Handle(Channel{ID: 1, Peer: nodeID("alice"), Policy: standardPolicy()})
	f.Handle(Channel{ID: 2, Peer: nodeID("carol"), SCIDs: []lnwire.ShortChannelID{scidOf(22)}, Policy: standardPolicy()})
	f.Handle(usableChannel(2))
	for i := range n {
		peer := fmt.Sprintf("peer %d", i/20)
		id := channel.ID(10 + i/20)
		f.Handle(Channel{ID: id, Peer: nodeID(peer), Policy: standardPolicy()})
		o := forwardOffer(key(id, uint64(i%20)), peer, fmt.Sprintf("held %d", i), 1_000_000, 1500, 22)
		value := rod.HoldTLV{PidHash: rod.PidHash(pidOf(fmt.Sprint(i)))}.Encode()
		o.HTLC.TLVs = append([]byte{0xfe, 0x52, 0x4f, 0x44, 0x41, byte(len(value))}, value...)
		f.Handle(o)
	}
	if len(f.held) != n {
		b.Fatalf("%d are held, want %d", len(f.held), n)
	}
	return f
}

// BenchmarkForward is a forward from Offered to Settled: three calls.
func BenchmarkForward(b *testing.B) {
	for _, n := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("held=%d", n), func(b *testing.B) {
			f := benchForwarder(b, n)
			o := forwardOffer(key(1, 0), "alice", "h", 1_000_000, 1500, 22)
			fulfill := channel.Fulfill{Preimage: preimageOf("h")}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range uint64(b.N) {
				o.HTLC.Key.HTLC = i
				if out := f.Handle(o); len(out.Commands) != 1 {
					b.Fatal("not forwarded")
				}
				f.Handle(Resolved{channel.Resolved{Key: key(2, i), Origin: channel.Forward{In: o.HTLC.Key}, Outcome: fulfill}})
				f.Handle(Settled{channel.Settled{Key: o.HTLC.Key, Outcome: fulfill}})
			}
		})
	}
}

// BenchmarkRelease is the release of one of 10000 holds, from Unblock to Add.
func BenchmarkRelease(b *testing.B) {
	const n = 10_000
	f := benchForwarder(b, n)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i > 0 && i%n == 0 {
			b.StopTimer()
			f = benchForwarder(b, n)
			b.StartTimer()
		}
		if out := f.Handle(unblock(fmt.Sprint(i % n))); len(out.Commands) != 1 {
			b.Fatal("not released")
		}
	}
}

// BenchmarkBlock is a block that nothing is due at, with 10000 holds.
func BenchmarkBlock(b *testing.B) {
	f := benchForwarder(b, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		f.Handle(Block{1000})
	}
}

// BenchmarkRebuild is the start of a node with 10000 holds.
func BenchmarkRebuild(b *testing.B) {
	f := benchForwarder(b, 10_000)
	d := Durable{Height: 1000, Now: 1_000_000, Table: f.table}
	for _, c := range f.channels {
		d.Channels = append(d.Channels, c.Channel)
	}
	for _, in := range f.htlcs {
		d.Incoming = append(d.Incoming, Incoming{Offered: Offered{HTLC: *in.htlc, Peer: in.peer, Hop: in.hop}})
	}
	b.ReportAllocs()
	for b.Loop() {
		if g, _ := Rebuild(DefaultConfig(), d); len(g.held) != len(f.held) {
			b.Fatal("holds are lost")
		}
	}
}
