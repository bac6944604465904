package graph

import (
	"container/heap"
	"slices"

	"github.com/lightningnetwork/lnd/lnwire"
)

const (
	// A route's cost in msat is its fees, plus riskFactor billionths of the amount for each block it may be locked, plus hopCost
	// for each hop (shorter routes fail less), plus the Penalties of the request.
	riskFactor = 15
	hopCost    = 100

	// maxLabels bounds the alternatives kept at one node when the cheapest alone leads nowhere.
	maxLabels = 4
)

// arc is a direction of a channel, as the search sees it.
type arc struct {
	scid     lnwire.ShortChannelID
	from     *NodeID
	policy   *Policy
	capacity lnwire.MilliSatoshi
}

// label is a way from a node to the payee, with what has to arrive at the node. Amounts are computed from the end, since a
// hop's fee depends on what it forwards (BOLT 7 "Recommendations for Routing").
//
// The cheapest way is not always the one to go on from: one that costs more may ask for fewer blocks or for a smaller
// amount, and so be the only one that stays within the limits further on. So a node keeps the labels of which none is better
// in everything, up to a number: one in the first search, which is three times as fast and nearly always enough.
type label struct {
	node   NodeID
	amount lnwire.MilliSatoshi // of the HTLC that arrives at node
	cltv   uint32              // blocks from the height to its expiry
	cost   uint64
	hops   int
	next   *label                // towards the payee; nil at the payee
	scid   lnwire.ShortChannelID // over which next is reached
	local  *LocalChannel         // set when node is the payer: the route is complete

	// What cltv and cost become if the payer comes next: the floor of FirstHopDelta applies then.
	firstCltv uint32
	firstCost uint64
}

type labelHeap []*label

func (h labelHeap) Len() int { return len(h) }
func (h labelHeap) Less(i, j int) bool {
	if h[i].cost != h[j].cost {
		return h[i].cost < h[j].cost
	}
	return h[i].hops < h[j].hops
}
func (h labelHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *labelHeap) Push(x any)   { *h = append(*h, x.(*label)) }
func (h *labelHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// search is one run of Dijkstra's algorithm from the payee back to the payer.
type search struct {
	*Request
	g       *Graph
	local   map[NodeID][]*LocalChannel
	hints   map[NodeID][]arc // by the node they lead to
	settled map[NodeID][]*label
	queue   labelHeap
	keep    int
}

// cheapest gives the cheapest route, or one that is nearly so.
func (g *Graph) cheapest(r *Request) (Route, bool) {
	if route, ok := g.search(r, 1); ok {
		return route, true
	}
	return g.search(r, maxLabels)
}

func (g *Graph) search(r *Request, keep int) (Route, bool) {
	s := &search{Request: r, g: g, keep: keep, local: map[NodeID][]*LocalChannel{}, hints: map[NodeID][]arc{}, settled: map[NodeID][]*label{}}
	for i := range r.Local {
		l := &r.Local[i]
		s.local[l.Peer] = append(s.local[l.Peer], l)
	}
	s.addHints()
	s.push(&label{node: r.To, amount: r.Amount, cltv: r.FinalCltv, cost: risk(r.Amount, r.FinalCltv),
		firstCltv: r.FinalCltv, firstCost: risk(r.Amount, r.FinalCltv)})
	for len(s.queue) > 0 {
		l := heap.Pop(&s.queue).(*label)
		if l.local != nil {
			return s.route(l), true
		}
		if s.dominated(l) || len(s.settled[l.node]) >= s.keep {
			continue
		}
		s.settled[l.node] = append(s.settled[l.node], l)
		s.complete(l)
		if l.hops < MaxHops-1 { // the payer's own channel is one more
			s.expand(l)
		}
	}
	return Route{}, false
}

func (s *search) addHints() {
	for _, path := range s.Hints {
		for i, h := range path {
			to := s.To
			if i+1 < len(path) {
				to = path[i+1].Node
			}
			policy := &Policy{CltvExpiryDelta: h.CltvExpiryDelta, FeeBase: h.FeeBase, FeeProportional: h.FeeProportional, HTLCMinimum: h.Min, HTLCMaximum: h.Max}
			if h.Max == 0 {
				policy.HTLCMaximum = maxMoney
			}
			s.hints[to] = append(s.hints[to], arc{h.SCID, &path[i].Node, policy, maxMoney})
		}
	}
}

// risk prices the lock of amount for a number of blocks.
func risk(amount lnwire.MilliSatoshi, blocks uint32) uint64 {
	// maxMoney * MaxRouteCltv * riskFactor does not fit: divide first, which loses what no one would miss.
	return uint64(amount) / 1000 * uint64(blocks) / 1000 * riskFactor / 1000
}

// expand goes from l to every node that can forward to l's.
func (s *search) expand(l *label) {
	if n := s.g.nodes[l.node]; n != nil {
		for _, e := range n.edges {
			d := 0
			if e.nodes[1] != n {
				d = 1
			}
			// d is the direction towards n: that of the other end's update.
			u, from := e.updates[d], e.nodes[d]
			if u == nil || e.required || from.required {
				continue
			}
			s.step(l, arc{e.announcement.SCID, &from.id, &u.Policy, lnwire.MilliSatoshi(e.capacity) * 1000})
		}
	}
	for _, a := range s.hints[l.node] {
		s.step(l, a)
	}
}

// step goes from l to the node that forwards over a.
func (s *search) step(l *label, a arc) {
	p, from := a.policy, *a.from
	switch {
	case p.Disabled || l.amount < p.HTLCMinimum || l.amount > p.HTLCMaximum:
		return
	case from == s.From || from == s.To: // the payer's channels are Local, and nothing goes through the payee
		return
	case s.IgnoreNodes[from] || s.IgnoreChannels[Direction{a.scid, from}]:
		return
	case l.amount+s.used[Direction{a.scid, from}] > a.capacity:
		return
	case len(s.settled[from]) >= s.keep:
		return
	}
	fee, ok := p.FeeFor(l.amount)
	if !ok || l.amount+fee > maxMoney || l.amount+fee-s.Amount > s.MaxFee {
		return
	}
	delta := uint32(p.CltvExpiryDelta)
	next := &label{
		node: from, next: l, scid: a.scid, hops: l.hops + 1,
		amount: l.amount + fee,
		cltv:   l.cltv + delta,
		cost:   l.cost + uint64(fee) + risk(l.amount, delta) + hopCost + s.penalty(a.scid, from),
	}
	next.firstCltv, next.firstCost = next.cltv, next.cost
	if delta < s.FirstHopDelta {
		more := s.FirstHopDelta - delta
		next.firstCltv += more
		next.firstCost += risk(l.amount, more)
	}
	if next.cltv > s.maxCltv() {
		return
	}
	s.push(next)
}

// complete puts the payer's own channels to l's node in front of it. They cost neither fee nor blocks.
func (s *search) complete(l *label) {
	if l.firstCltv > s.maxCltv() {
		return
	}
	for _, c := range s.local[l.node] {
		if l.amount < c.Min || l.amount > c.Max || s.IgnoreChannels[Direction{c.SCID, s.From}] {
			continue
		}
		cost := l.firstCost + hopCost + s.penalty(c.SCID, s.From)
		s.push(&label{node: s.From, next: l, scid: c.SCID, local: c, amount: l.amount, cltv: l.firstCltv, cost: cost, hops: l.hops + 1})
	}
}

func (s *search) penalty(scid lnwire.ShortChannelID, from NodeID) uint64 {
	return min(uint64(s.Penalties[Direction{scid, from}]), maxMoney)
}

func (s *search) push(l *label) {
	if l.local == nil && s.dominated(l) {
		return
	}
	heap.Push(&s.queue, l)
}

// dominated: some way that is known to be best in cost is no worse in anything that matters further on. Settled labels have
// no higher cost than l, since they left the queue before.
func (s *search) dominated(l *label) bool {
	return slices.ContainsFunc(s.settled[l.node], func(k *label) bool {
		return k.amount <= l.amount && k.cltv <= l.cltv && k.firstCltv <= l.firstCltv && k.firstCost <= l.firstCost
	})
}

// route reads a complete label from the payer on.
func (s *search) route(l *label) Route {
	r := Route{Local: l.local.ID, Hops: make([]Hop, 0, l.hops)}
	cltv := l.cltv // with the floor of FirstHopDelta, which only the first HTLC has
	for ; l.next != nil; l = l.next {
		r.Hops = append(r.Hops, Hop{Node: l.next.node, SCID: l.scid, Amount: l.next.amount, Expiry: s.Height + cltv})
		if l.next.next != nil {
			cltv = l.next.next.cltv
		}
	}
	return r
}
