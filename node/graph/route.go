package graph

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/lightningnetwork/lnd/lnwire"
)

const (
	// MaxRouteCltv is the largest distance in blocks between the height and the expiry of the first HTLC that a sender asks
	// of others: longer locks are refused by common nodes (BOLT 4 "expiry_too_far" leaves the number to them).
	MaxRouteCltv = 2016

	// MaxHops is the number of channels a route may have: 20 payloads of usual size fit into an onion.
	MaxHops = 20
)

// ErrNoRoute is what Find's errors are when the request was sound and there is no way.
var ErrNoRoute = errors.New("no route")

// Request asks for a way to pay.
type Request struct {
	From, To NodeID
	Amount   lnwire.MilliSatoshi // to arrive
	Height   uint32              // the block height expiries count from

	// FinalCltv is the number of blocks between Height and the expiry of the last HTLC: the payee's
	// min_final_cltv_expiry_delta and whatever the payer adds to it, as the time a payment may be held.
	FinalCltv uint32

	// FirstHopDelta is a floor in blocks for the difference of expiries at the first hop, when that one forwards. What the
	// hop advertises counts if it is more. Zero: no floor.
	FirstHopDelta uint32

	Local []LocalChannel // the channels of From, as they are now
	Hints [][]Hint       // of the invoice; each path ends at To

	MaxFee   lnwire.MilliSatoshi // of all parts together
	MaxCltv  uint32              // blocks, from Height to the expiry of the first HTLC; 0 or above MaxRouteCltv: that
	MaxParts int                 // Find may split the amount into this many parts; 0: one

	IgnoreNodes    map[NodeID]bool
	IgnoreChannels map[Direction]bool
	Penalties      map[Direction]lnwire.MilliSatoshi // added to the cost of going there, not to the fee

	used map[Direction]lnwire.MilliSatoshi // by other parts of the same payment
}

// Direction is a channel as it is used from Node.
type Direction struct {
	SCID lnwire.ShortChannelID
	From NodeID
}

// LocalChannel is a channel of the payer.
type LocalChannel struct {
	ID   uint64 // the number of the channel
	SCID lnwire.ShortChannelID
	Peer NodeID
	Min  lnwire.MilliSatoshi // htlc_minimum_msat of the peer
	Max  lnwire.MilliSatoshi // the largest HTLC that can be added now
}

// Hint is one hop of a route hint: Node forwards over SCID on these terms (BOLT 11 "r"). It may stand for a whole blinded path, whose
// end no node id in the graph is: then Request.To is zero.
type Hint struct {
	Node            NodeID
	SCID            lnwire.ShortChannelID
	FeeBase         uint32              // msat
	FeeProportional uint32              // millionths
	CltvExpiryDelta uint16              // blocks
	Min, Max        lnwire.MilliSatoshi // of an HTLC that it forwards; a Max of 0: any
}

// Hop is an HTLC of a route: offered over SCID to Node.
type Hop struct {
	Node   NodeID
	SCID   lnwire.ShortChannelID
	Amount lnwire.MilliSatoshi
	Expiry uint32 // height
}

// Route is a way to pay. Hops[0] is the HTLC the payer adds to channel Local; the last hop is the payee's.
//
// The onion payload of hop i tells the terms of hop i+1 (BOLT 4: amt_to_forward, outgoing_cltv_value, short_channel_id), and the
// payload of the last hop its own amount and expiry.
type Route struct {
	Local uint64
	Hops  []Hop
}

// Amount is what arrives.
func (r Route) Amount() lnwire.MilliSatoshi { return r.Hops[len(r.Hops)-1].Amount }

// Fee is what the hops keep.
func (r Route) Fee() lnwire.MilliSatoshi { return r.Hops[0].Amount - r.Amount() }

// maxMoney bounds amounts so that sums of costs cannot overflow.
const maxMoney = 21_000_000 * 1e8 * 1000 // msat

// FeeFor is BOLT 7 "HTLC Fees": what a node asks for forwarding amount. False if the fee is beyond all money.
func (p Policy) FeeFor(amount lnwire.MilliSatoshi) (lnwire.MilliSatoshi, bool) {
	hi, lo := bits.Mul64(uint64(amount), uint64(p.FeeProportional))
	if hi >= 1_000_000 {
		return 0, false
	}
	proportional, _ := bits.Div64(hi, lo, 1_000_000)
	if proportional > maxMoney {
		return 0, false
	}
	return lnwire.MilliSatoshi(proportional + uint64(p.FeeBase)), true
}

func (r *Request) check() error {
	switch {
	case r.Amount == 0 || r.Amount > maxMoney:
		return fmt.Errorf("amount %d msat is not within 1..%d", r.Amount, uint64(maxMoney))
	case r.From == r.To:
		return fmt.Errorf("payer and payee are the same node")
	case r.FinalCltv > r.maxCltv():
		return fmt.Errorf("final cltv of %d blocks above the maximum of %d", r.FinalCltv, r.maxCltv())
	case uint64(r.Height)+MaxRouteCltv > 500_000_000:
		return fmt.Errorf("height %d is not a block height", r.Height)
	}
	return nil
}

func (r *Request) maxCltv() uint32 {
	if r.MaxCltv == 0 || r.MaxCltv > MaxRouteCltv {
		return MaxRouteCltv
	}
	return r.MaxCltv
}

// Find gives the cheapest route (or one nearly as cheap), or, if none carries the whole amount and r.MaxParts allows it, a set of routes that together
// do, largest first. The error is ErrNoRoute, with what was in the way, or says what is wrong with the request.
func (g *Graph) Find(r Request) ([]Route, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("find route: %w", err)
	}
	if route, ok := g.cheapest(&r); ok {
		return []Route{route}, nil
	}
	if r.MaxParts > 1 {
		if routes, ok := g.splitLargest(r, r.MaxParts); ok {
			return routes, nil
		}
	}
	return nil, fmt.Errorf("%w to %x for %d msat: %s", ErrNoRoute, r.To, r.Amount, g.obstacle(r))
}

// FindParts gives n routes that together carry the amount, in parts as equal as the channels allow.
func (g *Graph) FindParts(r Request, n int) ([]Route, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("find %d routes: %w", n, err)
	}
	if n < 1 || uint64(n) > uint64(r.Amount) {
		return nil, fmt.Errorf("find routes: %d parts of %d msat", n, r.Amount)
	}
	if routes, ok := g.splitEvenly(r, n); ok {
		return routes, nil
	}
	if routes, ok := g.splitHalving(r, n); ok {
		return routes, nil
	}
	return nil, fmt.Errorf("%w to %x for %d msat in %d parts: %s", ErrNoRoute, r.To, r.Amount, n, g.obstacle(r))
}

// obstacle guesses why there is no route: it lifts one limit after the other.
func (g *Graph) obstacle(r Request) string {
	var sendable lnwire.MilliSatoshi
	for _, l := range r.Local {
		sendable += min(l.Max, maxMoney)
	}
	if sendable < r.Amount {
		return fmt.Sprintf("own channels can send %d msat", sendable)
	}
	lifted := r
	lifted.MaxFee = maxMoney
	if route, ok := g.cheapest(&lifted); ok {
		return fmt.Sprintf("the cheapest asks %d msat of fees, the limit is %d", route.Fee(), r.MaxFee)
	}
	if lifted.Amount = 1000; r.Amount > 1000 {
		if _, ok := g.cheapest(&lifted); ok {
			return "no channels large enough"
		}
	}
	return "no channels lead there within the limits"
}
