package graph

import (
	"cmp"
	"maps"
	"slices"

	"github.com/lightningnetwork/lnd/lnwire"
)

// splitting is a payment on its way to being split. Parts share what they share: each leaves less of the payer's channels,
// of the capacities on its way and of the fee limit to those after it.
type splitting struct {
	g      *Graph
	rest   Request // what remains to be carried, by what remains
	routes []Route
}

func (g *Graph) splitting(r Request) *splitting {
	r.Local = slices.Clone(r.Local)
	if r.used = maps.Clone(r.used); r.used == nil {
		r.used = map[Direction]lnwire.MilliSatoshi{}
	}
	return &splitting{g: g, rest: r}
}

// part adds a route for amount over one of the given channels.
func (s *splitting) part(amount lnwire.MilliSatoshi, local []LocalChannel) bool {
	r := s.rest
	r.Amount, r.Local = amount, local
	route, ok := s.g.cheapest(&r)
	if ok {
		s.take(route)
	}
	return ok
}

// largestPart adds a route for as much of the rest as one route carries.
func (s *splitting) largestPart() bool {
	r := s.rest
	best, found := s.g.cheapest(&r)
	if !found {
		for low, high := lnwire.MilliSatoshi(1), s.rest.Amount; low < high; {
			r.Amount = low + (high-low)/2
			if route, ok := s.g.cheapest(&r); ok {
				best, found, low = route, true, r.Amount+1
			} else {
				high = r.Amount
			}
		}
	}
	if found {
		s.take(best)
	}
	return found
}

// take makes a route a part, and takes what it uses off the rest.
func (s *splitting) take(route Route) {
	s.routes = append(s.routes, route)
	s.rest.Amount -= route.Amount()
	s.rest.MaxFee -= route.Fee()
	from := s.rest.From
	for i, hop := range route.Hops {
		if i > 0 {
			s.rest.used[Direction{hop.SCID, from}] += hop.Amount
		}
		from = hop.Node
	}
	for i := range s.rest.Local {
		if c := &s.rest.Local[i]; c.ID == route.Local {
			c.Max -= min(c.Max, route.Hops[0].Amount)
		}
	}
}

// done gives the parts, largest first.
func (s *splitting) done() ([]Route, bool) {
	if s.rest.Amount > 0 {
		return nil, false
	}
	slices.SortStableFunc(s.routes, func(a, b Route) int { return cmp.Compare(b.Amount(), a.Amount()) })
	return s.routes, true
}

// splitLargest takes the largest part that passes, and again, up to n times.
func (g *Graph) splitLargest(r Request, n int) ([]Route, bool) {
	s := g.splitting(r)
	for len(s.routes) < n && s.rest.Amount > 0 && s.largestPart() {
	}
	return s.done()
}

// splitEvenly makes n parts of the same size, but for what does not divide.
func (g *Graph) splitEvenly(r Request, n int) ([]Route, bool) {
	s := g.splitting(r)
	for k := lnwire.MilliSatoshi(n); k > 0; k-- {
		if !s.part((s.rest.Amount+k-1)/k, s.rest.Local) {
			return nil, false
		}
	}
	return s.done()
}

// splitHalving takes the largest parts that pass and halves the largest of them until there are n, each half on the
// channel of the whole: that one has room for both.
func (g *Graph) splitHalving(r Request, n int) ([]Route, bool) {
	whole, ok := g.splitLargest(r, n)
	if !ok {
		return nil, false
	}
	type piece struct {
		amount lnwire.MilliSatoshi
		local  uint64
	}
	var pieces []piece
	for _, route := range whole {
		pieces = append(pieces, piece{route.Amount(), route.Local})
	}
	for len(pieces) < n {
		i := 0
		for j := range pieces {
			if pieces[j].amount > pieces[i].amount {
				i = j
			}
		}
		half := pieces[i].amount / 2
		pieces[i].amount -= half
		pieces = append(pieces, piece{half, pieces[i].local})
	}
	s := g.splitting(r)
	for _, p := range pieces {
		i := slices.IndexFunc(s.rest.Local, func(c LocalChannel) bool { return c.ID == p.local })
		if !s.part(p.amount, s.rest.Local[i:i+1]) {
			return nil, false
		}
	}
	return s.done()
}
