package graph

import (
	"maps"
	"slices"

	"github.com/lightningnetwork/lnd/lnwire"
)

// split finds up to n routes, or exactly n, that carry the amount together. Parts share what they share: a part leaves
// less of the payer's channels and of the capacities on its way for those after it.
//
// First every part is tried at its even share of what remains (exactly) or at all that remains; where that does not
// pass, as much as passes. If even shares leave something over, the largest possible parts are tried from the start.
func (g *Graph) split(r Request, n int, exactly bool) ([]Route, bool) {
	if routes, ok := g.parts(r, n, exactly, exactly); ok {
		return routes, true
	}
	if !exactly {
		return nil, false
	}
	return g.parts(r, n, true, false)
}

// parts takes one part after the other, even shares or the largest possible ones.
func (g *Graph) parts(r Request, n int, exactly, even bool) ([]Route, bool) {
	left, fees := r.Amount, r.MaxFee
	rest := r
	rest.Local = slices.Clone(r.Local)
	rest.used = maps.Clone(r.used)
	if rest.used == nil {
		rest.used = map[Direction]lnwire.MilliSatoshi{}
	}
	var routes []Route
	for k := n; k > 0 && left > 0; k-- {
		share := left
		if even {
			share = (left + lnwire.MilliSatoshi(k) - 1) / lnwire.MilliSatoshi(k)
		} else if exactly {
			share = left - lnwire.MilliSatoshi(k-1) // at least 1 msat for each of the others
		}
		route, ok := g.largest(rest, share, fees)
		if !ok {
			return nil, false
		}
		rest.reserve(route)
		left, fees = left-route.Amount(), fees-route.Fee()
		routes = append(routes, route)
	}
	slices.SortStableFunc(routes, func(a, b Route) int { return int(min(1, max(-1, int64(b.Amount())-int64(a.Amount())))) })
	return routes, left == 0 && (!exactly || len(routes) == n)
}

// largest finds a route for amount, or for the most of it that passes.
func (g *Graph) largest(r Request, amount, fees lnwire.MilliSatoshi) (Route, bool) {
	r.Amount, r.MaxFee = amount, fees
	if route, ok := g.search(&r, maxLabels); ok {
		return route, true
	}
	var best Route
	found := false
	for low, high := lnwire.MilliSatoshi(1), amount; low < high; {
		r.Amount = low + (high-low)/2
		if route, ok := g.search(&r, maxLabels); ok {
			best, found, low = route, true, r.Amount+1
		} else {
			high = r.Amount
		}
	}
	return best, found
}

// reserve takes a route's HTLCs off what is left for the next part.
func (r *Request) reserve(route Route) {
	from := r.From
	for i, hop := range route.Hops {
		if i > 0 {
			r.used[Direction{hop.SCID, from}] += hop.Amount
		}
		from = hop.Node
	}
	for i := range r.Local {
		if c := &r.Local[i]; c.ID == route.Local {
			c.Max -= min(c.Max, route.Hops[0].Amount)
		}
	}
}
