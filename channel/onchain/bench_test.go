package onchain

import (
	"fmt"
	"testing"

	"lightningrod/chain"
)

// full is a channel with as many HTLCs as there can be, closed by the peer.
func full(b *testing.B, in int) *node {
	n, be := toy(b)
	var htlcs []testHTLC
	for i := range 966 {
		htlcs = append(htlcs, testHTLC{offered: i%2 == 0, sat: 900, expiry: 200 + uint32(i), secret: fmt.Sprint(i), in: inAll, known: i%4 == 1})
	}
	nd := n.open(be, config{capacity: 10_000_000}, htlcs...)
	nd.idle, nd.deaf = true, true
	nd.apply(Chain{chain.Spent{Out: nd.w.p.Funding, By: nd.w.tx(in), Height: 101}}, Chain{chain.BlockConnected{Height: 101}})
	return nd
}

// BenchmarkBlock is one block for a channel with 966 HTLC outputs unspent.
func BenchmarkBlock(b *testing.B) {
	for _, in := range []int{inNewer, inOld} {
		b.Run(commitName(in), func(b *testing.B) {
			nd := full(b, in)
			b.ReportAllocs()
			for i := range b.N {
				nd.s, _ = Apply(nd.s, nd.w.us, []Event{Chain{chain.BlockConnected{Height: 102 + uint32(i%4)}}})
			}
		})
	}
}

// BenchmarkEncode is what every block of such a channel writes.
func BenchmarkEncode(b *testing.B) {
	nd := full(b, inOld)
	b.ReportMetric(float64(len(nd.s.Encode())), "bytes")
	for range b.N {
		nd.s.Encode()
	}
}
