package graph

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Find against all simple paths of small random graphs: same cost, or both none. Minimums are far from the amounts: where a
// smaller amount fails a minimum that a larger one meets, Find may miss the larger one, by design.
func TestFindAgainstBruteForce(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	found := 0
	for round := range 3000 {
		links, r := randomWorld(rng)
		g := world(links...)
		want, ok := bruteForce(links, r)
		s, got := g.search(&r, 1000)
		if ok != got {
			t.Fatalf("round %d: found %v, brute force %v\n%v\n%+v", round, got, ok, links, r)
		}
		if !ok {
			continue
		}
		found++
		checkRoute(t, links, r, s)
		if cost := costOf(links, r, s); cost != want {
			t.Fatalf("round %d: cost %d of %s, cheapest is %d\n%v\n%+v", round, cost, text(s, r.Height), want, links, r)
		}
		// With few labels a node the answer may be dearer or missing, never wrong.
		if s, ok := g.search(&r, 1); ok {
			checkRoute(t, links, r, s)
		}
	}
	if found < 500 || found > 2900 {
		t.Fatalf("%d routes in 3000 graphs: the graphs are no test", found)
	}
}

const letters = "STABCDE"

func randomWorld(rng *rand.Rand) (links []link, r Request) {
	n := 4 + rng.IntN(4)
	letter := func() rune { return rune(letters[rng.IntN(n)]) }
	amount := lnwire.MilliSatoshi(1000 + rng.IntN(1_000_000))
	for block := 1; block <= 2*n+rng.IntN(8); block++ {
		a, b := letter(), letter()
		if a == b {
			continue
		}
		capacity := int64(1 + rng.IntN(2000))
		for _, ends := range [][2]rune{{a, b}, {b, a}} {
			if rng.IntN(8) == 0 {
				continue
			}
			p := Policy{CltvExpiryDelta: uint16(rng.IntN(200)), FeeBase: uint32(rng.IntN(3000)), FeeProportional: uint32(rng.IntN(20000)),
				HTLCMaximum: lnwire.MilliSatoshi(1 + rng.IntN(3_000_000)), Disabled: rng.IntN(10) == 0}
			if rng.IntN(10) == 0 {
				p.HTLCMinimum = 1 << 40
			}
			links = append(links, link{block, ends[0], ends[1], p, capacity})
		}
	}
	r = Request{From: name('S'), To: name('T'), Amount: amount, Height: 1000, FinalCltv: uint32(rng.IntN(100)),
		MaxFee: lnwire.MilliSatoshi(rng.IntN(40_000)), MaxCltv: uint32(100 + rng.IntN(600)), FirstHopDelta: uint32(rng.IntN(2) * rng.IntN(300)),
		IgnoreNodes: map[NodeID]bool{}, Penalties: map[Direction]lnwire.MilliSatoshi{}}
	for i := range 1 + rng.IntN(3) {
		peer := letter()
		if peer == 'S' {
			peer = 'A'
		}
		r.Local = append(r.Local, local(100+i, peer, lnwire.MilliSatoshi(rng.IntN(2_000_000))))
	}
	if rng.IntN(4) == 0 {
		r.IgnoreNodes[name('B')] = true
	}
	if rng.IntN(2) == 0 {
		r.Penalties[Direction{scid(2), name(letter())}] = lnwire.MilliSatoshi(rng.IntN(10000))
	}
	return links, r
}

// step is a link as used by a path that is written from the payee on.
type step = link

// bruteForce walks all simple paths and gives the cost of the cheapest that keeps the limits.
func bruteForce(links []link, r Request) (best uint64, ok bool) {
	capacity := map[int]int64{}
	for _, l := range links {
		if _, ok := capacity[l.block]; !ok {
			capacity[l.block] = l.capacity
		}
	}
	var walk func(at rune, path []step, seen map[rune]bool)
	walk = func(at rune, path []step, seen map[rune]bool) {
		for _, l := range r.Local {
			if l.Peer != name(at) {
				continue
			}
			if cost, fits := price(path, l, r, capacity); fits && (!ok || cost < best) {
				best, ok = cost, true
			}
		}
		for _, l := range links {
			if l.to != at || seen[l.from] || l.from == 'S' || r.IgnoreNodes[name(l.from)] {
				continue
			}
			seen[l.from] = true
			walk(l.from, append(path, l), seen)
			delete(seen, l.from)
		}
	}
	walk('T', nil, map[rune]bool{'T': true})
	return best, ok
}

// price follows a path from the payee to the payer in the words of BOLT 7.
func price(path []step, first LocalChannel, r Request, capacity map[int]int64) (cost uint64, ok bool) {
	amount, cltv := r.Amount, r.FinalCltv
	cost = risk(amount, cltv)
	for i, l := range path {
		p := l.policy
		if p.Disabled || amount < p.HTLCMinimum || amount > p.HTLCMaximum || uint64(amount) > 1000*uint64(capacity[l.block]) {
			return 0, false
		}
		fee := lnwire.MilliSatoshi(uint64(p.FeeBase) + uint64(amount)*uint64(p.FeeProportional)/1_000_000)
		delta := uint32(p.CltvExpiryDelta)
		cost += uint64(fee) + risk(amount, delta) + hopCost + uint64(r.Penalties[Direction{scid(l.block), name(l.from)}])
		cltv += delta
		if i == len(path)-1 && delta < r.FirstHopDelta {
			cltv += r.FirstHopDelta - delta
			cost += risk(amount, r.FirstHopDelta-delta)
		}
		amount += fee
	}
	cost += hopCost + uint64(r.Penalties[Direction{first.SCID, r.From}])
	return cost, amount <= first.Max && amount >= first.Min && amount-r.Amount <= r.MaxFee && cltv <= r.MaxCltv
}

// pathOf is a route as a path of links from the payee on, and the payer's channel.
func pathOf(links []link, r Request, route Route) (path []step, first LocalChannel) {
	for i := len(route.Hops) - 1; i > 0; i-- {
		for _, l := range links {
			if scid(l.block) == route.Hops[i].SCID && name(l.to) == route.Hops[i].Node && name(l.from) == route.Hops[i-1].Node {
				path = append(path, l)
			}
		}
	}
	for _, l := range r.Local {
		if l.ID == route.Local {
			first = l
		}
	}
	return path, first
}

func costOf(links []link, r Request, route Route) uint64 {
	path, first := pathOf(links, r, route)
	capacity := map[int]int64{}
	for _, l := range links {
		capacity[l.block] = l.capacity
	}
	cost, ok := price(path, first, r, capacity)
	if !ok {
		panic(fmt.Sprintf("%s breaks the limits", text(route, r.Height)))
	}
	return cost
}

// checkRoute: every node gets what it asks for, to the msat and the block.
func checkRoute(t *testing.T, links []link, r Request, route Route) {
	t.Helper()
	path, _ := pathOf(links, r, route)
	if len(path) != len(route.Hops)-1 {
		t.Fatalf("%s: %d links", text(route, r.Height), len(path))
	}
	last := route.Hops[len(route.Hops)-1]
	if last.Node != r.To || last.Amount != r.Amount || last.Expiry != r.Height+r.FinalCltv {
		t.Fatalf("last hop %+v", last)
	}
	for i, l := range path {
		at := len(route.Hops) - 1 - i
		out, in := route.Hops[at], route.Hops[at-1]
		fee, _ := l.policy.FeeFor(out.Amount)
		delta := uint32(l.policy.CltvExpiryDelta)
		if at == 1 {
			delta = max(delta, r.FirstHopDelta)
		}
		if in.Amount != out.Amount+fee || in.Expiry != out.Expiry+delta {
			t.Fatalf("%s: hop %d keeps %d msat and %d blocks, asks %d and %d", text(route, r.Height), at,
				in.Amount-out.Amount, in.Expiry-out.Expiry, fee, delta)
		}
	}
}

// BenchmarkFind looks for routes between random nodes of a random graph of 10 000 channels among 2500 nodes, a few of them with
// very many.
func BenchmarkFind(b *testing.B) {
	const channels, nodes = 10_000, 2500
	rng := rand.New(rand.NewPCG(1, 2))
	node := func(i int) (id NodeID) {
		id[0], id[31], id[32] = 2, byte(i>>8), byte(i)
		return id
	}
	g := newGraph()
	for block := range channels {
		x, y := rng.IntN(nodes), rng.IntN(nodes)
		if block%2 == 0 {
			y = rng.IntN(50)
		}
		if x == y {
			continue
		}
		e := &edge{announcement: &ChannelAnnouncement{SCID: scid(block), Nodes: [2]NodeID{node(min(x, y)), node(max(x, y))}}, capacity: 1_000_000}
		for d := range 2 {
			e.updates[d] = &ChannelUpdate{Policy: Policy{CltvExpiryDelta: uint16(rng.IntN(150)), FeeBase: uint32(rng.IntN(2000)),
				FeeProportional: uint32(rng.IntN(2000)), HTLCMaximum: lnwire.MilliSatoshi(rng.IntN(1_000_000_000))}}
		}
		g.insert(e)
	}
	found, hops := 0, 0
	for b.Loop() {
		peer := node(rng.IntN(nodes))
		r := Request{From: name('S'), To: node(rng.IntN(nodes)), Amount: 50_000_000, FinalCltv: 18, MaxFee: 1_000_000,
			Local: []LocalChannel{{ID: 1, Peer: peer, Max: 1 << 40}}}
		if routes, err := g.Find(r); err == nil {
			found++
			hops += len(routes[0].Hops)
		}
	}
	b.ReportMetric(float64(found)/float64(b.N), "found")
	b.ReportMetric(float64(hops)/float64(max(1, found)), "hops")
}
