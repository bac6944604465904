package onchain

import (
	"fmt"
	"testing"
)

// Rows of docs/catalogue.md that concern several channels at once.

// TestA11_FloodAndLoot: eight channels with six HTLCs each go on chain together, and blocks have room for two transactions. Every
// HTLC is back before the incoming one needs it, since what is urgent pays more and more; balances, which are not, wait for room.
func TestA11_FloodAndLoot(t *testing.T) {
	const channels, each, expiry, back = 8, 6, 105, 105 + backWindow
	for _, in := range []int{inOurs, inNewer} {
		n, be := toy(t)
		n.grant(be, channels*(each+1))
		var nodes []*node
		for c := range channels {
			var htlcs []testHTLC
			for i := range each {
				htlcs = append(htlcs, testHTLC{offered: true, sat: int64(20_000 + 1000*c), expiry: expiry, secret: fmt.Sprint(c, "/", i), in: inAll, deadline: back})
			}
			nodes = append(nodes, n.open(be, config{delay: 40}, htlcs...))
		}
		for _, nd := range nodes {
			if in == inOurs {
				nd.apply(Close{})
			} else {
				n.send(nd.w.tx(in))
			}
		}
		n.mine(2)
		be.limit = 2
		n.mineTo(back)
		claimed := 0
		for _, nd := range nodes {
			if owner, _, _, ok := nd.s.Closed(); !ok || (owner == Local) != (in == inOurs) {
				t.Fatalf("not confirmed: %v", nd.s)
			}
			for i := range each {
				if f := nd.s.spentAt(nd.w.commits[in].OutPoint(int(nd.w.output(in, i).Index))); f != nil && f.height <= back {
					claimed++
				}
			}
		}
		if claimed != channels*each {
			t.Fatalf("%s: %d of %d HTLCs are back at %d", commitName(in), claimed, channels*each, back)
		}
		be.limit = 0
		for _, nd := range nodes {
			nd.idle = true
		}
		n.mine(150)
		for _, nd := range nodes {
			nd.wantDone()
			for i := range uint64(each) {
				nd.wantResolved(i, "failed")
			}
		}
	}
}
