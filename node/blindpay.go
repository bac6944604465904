package node

import (
	"errors"
	"fmt"
	"slices"

	"lightningrod/node/graph"
	"lightningrod/onion"

	"github.com/lightningnetwork/lnd/lnwire"
)

// This file pays along the blinded paths of an invoice (BOLT 4 "Route Blinding", bLIP 39).

// blindEnd is the payee of blinded paths, for path finding: no node has this id.
var blindEnd [33]byte

// pathSCID names a blinded path, for path finding, by its place in the invoice. No channel is confirmed in block 0.
func pathSCID(i int) lnwire.ShortChannelID { return lnwire.ShortChannelID{TxPosition: uint16(i)} }

// pathHints are the blinded paths as ways from their introduction nodes to their end, each on its total terms; but not those that begin
// with us, to which no route leads.
func (n *Node) pathHints(paths []onion.PaymentPath) [][]graph.Hint {
	var hints [][]graph.Hint
	for i, p := range paths {
		if p.Path.First == n.id || requiresFeature(p.Features) {
			continue
		}
		hints = append(hints, []graph.Hint{{
			Node: p.Path.First, SCID: pathSCID(i), FeeBase: p.Total.FeeBase, FeeProportional: p.Total.FeeProportional,
			CltvExpiryDelta: p.Total.CltvExpiryDelta, Min: p.HtlcMinimum, Max: p.HtlcMaximum,
		}})
	}
	return hints
}

// requiresFeature says whether a bit vector has an even bit, none of which we know for payments along blinded paths.
func requiresFeature(vector []byte) bool {
	return slices.ContainsFunc(vector, func(b byte) bool { return b&0x55 != 0 })
}

// enter finds a path that begins with us, for the whole amount, and makes a route of what is left of it: path_key goes to its next node
// in our own update_add_htlc.
func (n *Node) enter(w routeWish, req graph.Request) (route, error) {
	err := errors.New("no blinded path that we can use")
	for _, p := range w.inv.paths {
		if p.Path.First != n.id || requiresFeature(p.Features) {
			continue
		}
		var r route
		if r, err = n.enterPath(p, w, req); err == nil {
			return r, nil
		}
		err = fmt.Errorf("blinded path that begins with us: %w", err)
	}
	return route{}, err
}

func (n *Node) enterPath(p onion.PaymentPath, w routeWish, req graph.Request) (route, error) {
	rest, data, err := n.router.AdvancePayment(p)
	if err != nil {
		return route{}, err
	}
	var scid lnwire.ShortChannelID
	if data.ShortChannelID != nil {
		scid = *data.ShortChannelID
	}
	next, ok := n.nextNode(data.NextNode, scid)
	if !ok || next == n.id {
		return route{}, errors.New("it goes on over no channel of ours")
	}
	fee, ok := rest.Fee(req.Amount)
	amount, blocks := req.Amount+fee, w.finalCltv+uint32(rest.Total.CltvExpiryDelta)
	switch {
	case !ok || fee > req.MaxFee:
		return route{}, fmt.Errorf("its fee of %d msat is above the limit of %d", uint64(fee), uint64(req.MaxFee))
	case req.Amount < p.HtlcMinimum || req.Amount > p.HtlcMaximum:
		return route{}, fmt.Errorf("amount %d msat is not within %d..%d", uint64(req.Amount), uint64(p.HtlcMinimum), uint64(p.HtlcMaximum))
	case blocks > graph.MaxRouteCltv:
		return route{}, fmt.Errorf("it locks the payment for %d blocks, the limit is %d", blocks, graph.MaxRouteCltv)
	}
	for _, l := range req.Local {
		if l.Peer == next && amount >= l.Min && amount <= l.Max {
			r := graph.Route{Local: l.ID, Hops: []graph.Hop{
				{Node: next, SCID: l.SCID, Amount: amount, Expiry: req.Height + blocks},
				{Node: blindEnd, Amount: req.Amount, Expiry: req.Height + w.finalCltv},
			}}
			return route{Route: r, amount: amount, path: &rest, pathKey: rest.Path.PathKey[:]}, nil
		}
	}
	return route{}, errors.New("no channel with its next node can send the amount now")
}

// followed is a route as path finding gives it, with the blinded path that its last hop stands for.
func followed(r graph.Route, inv *payee) route {
	out := route{Route: r, amount: r.Hops[0].Amount}
	if len(inv.paths) > 0 {
		out.path = &inv.paths[r.Hops[len(r.Hops)-1].SCID.TxPosition]
	}
	return out
}

// pathKeyTLV is the record path_key of update_add_htlc (BOLT 2 "Adding an HTLC"), the first of its stream, or nothing.
func (r *route) pathKeyTLV() []byte {
	if r.pathKey == nil {
		return nil
	}
	return onion.AppendRecord(nil, 0, r.pathKey)
}

// blindHops are the payloads of a route whose last hop stands for a blinded path: an ordinary way to its introduction node, then the
// hops as the payee made them.
//
// BOLT 4 "payload format": the first of them gets the path_key, unless that is in our own update_add_htlc; the last one gets amount,
// expiry and the total of all parts; none of them anything else.
func blindHops(r route, inv *payee) []onion.PayHop {
	end := r.Hops[len(r.Hops)-1]
	way := r.Hops[:len(r.Hops)-1] // its last HTLC is the one offered to the path's first node
	hops := make([]onion.PayHop, len(way)-1, len(way)-1+len(r.path.Path.Hops))
	for i := range hops {
		next := way[i+1]
		hops[i] = onion.PayHop{Node: way[i].Node, Amount: next.Amount, Cltv: next.Expiry, NextSCID: next.SCID}
	}
	for i, h := range r.path.Path.Hops {
		hop := onion.PayHop{Node: h.Node, EncryptedData: h.Data}
		if i == 0 && r.pathKey == nil {
			hop.PathKey = &r.path.Path.PathKey
		}
		if i == len(r.path.Path.Hops)-1 {
			hop.Amount, hop.Cltv, hop.Total = end.Amount, end.Expiry, inv.amount
		}
		hops = append(hops, hop)
	}
	return hops
}
