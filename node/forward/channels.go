package forward

import (
	"slices"

	"lightningrod/channel"
	"lightningrod/onion"

	"github.com/lightningnetwork/lnd/lnwire"
)

// This file is what channels are to forwarding: how they are described, what of their notices is heard, what a start finds
// in their States. The engine and the simulator use the same functions.

// Peel opens the onion of an incoming HTLC, as onion.Router.Peel does: exactly one of the two results is set.
type Peel func(h *channel.HTLC) (*onion.Hop, *onion.Failure)

// Describe is a channel as forwarding has to know it. The policy is the one for HTLCs forwarded into it.
func Describe(s *channel.State, p Policy) Channel {
	limits, _ := s.Limits()
	c := Channel{ID: s.ID(), Peer: s.Peer(), Policy: p, MaxInFlight: limits.MaxInFlight}
	if id := s.ShortID(); id.ToUint64() != 0 && !s.ScidAlias() {
		c.SCIDs = append(c.SCIDs, id)
	}
	if a := s.LocalAlias(); a.ToUint64() != 0 {
		c.SCIDs = append(c.SCIDs, a)
	}
	switch s.Phase() {
	case channel.PhaseShutdown:
		c.Shutdown = true
	case channel.PhaseClosing, channel.PhaseWaiting, channel.PhaseClosed:
		c.OnChain = true
	}
	return c
}

// Hear is what a notice of a channel with peer says to forwarding; nil if it does not concern it. Before Usable, and on
// Ready, the caller introduces the channel again.
func Hear(id channel.ID, peer [33]byte, x channel.Notice, peel Peel) Event {
	switch x := x.(type) {
	case channel.Committed:
		hop, failure := peel.open(&x.HTLC, x.TooMuchDust)
		return Offered{HTLC: x.HTLC, Peer: peer, Hop: hop, Failure: failure}
	case channel.Resolved:
		return Resolved{x}
	case channel.Refused:
		return Refused{x}
	case channel.Settled:
		return Settled{x}
	case channel.Usable:
		return Usable{ID: id, Out: x.Out, In: x.In}
	case channel.Unusable:
		return Unusable{ID: id}
	case channel.ShuttingDown:
		return ShuttingDown{ID: id}
	case channel.OnChain:
		return OnChain{ID: id}
	case channel.Closed:
		return Closed{ID: id}
	}
	return nil
}

// open peels an HTLC's onion, unless the HTLC is to be failed whatever stands in it.
func (p Peel) open(h *channel.HTLC, tooMuchDust bool) (*onion.Hop, *onion.Failure) {
	hop, failure := p(h)
	if tooMuchDust && failure == nil {
		return nil, &onion.Failure{Message: lnwire.NewTemporaryChannelFailure(nil), Text: "too much dust in flight"}
	}
	return hop, failure
}

// InOrder is the order in which the notices of one turn are heard. The end of a channel comes before anything else: an HTLC that
// was committed in the very turn in which its channel went on chain must not be forwarded.
func InOrder(notices []channel.Notice) []channel.Notice {
	ends := func(x channel.Notice) bool { _, ok := x.(channel.OnChain); return ok }
	if !slices.ContainsFunc(notices, ends) {
		return notices
	}
	ordered := make([]channel.Notice, 0, len(notices))
	for _, first := range []bool{true, false} {
		for _, x := range notices {
			if ends(x) == first {
				ordered = append(ordered, x)
			}
		}
	}
	return ordered
}

// Survey adds to what a start has found one restored channel with its HTLCs; c describes it.
func (d *Durable) Survey(c Channel, s *channel.State, peel Peel) {
	d.Channels = append(d.Channels, c)
	for _, h := range s.Received() {
		if h.Stage != channel.Irrevocable || h.Over {
			continue
		}
		i := Incoming{Offered: Offered{HTLC: *h.HTLC, Peer: c.Peer}, Outcome: h.Outcome}
		if h.Outcome == nil {
			i.Hop, i.Failure = peel.open(h.HTLC, h.TooMuchDust)
		}
		d.Incoming = append(d.Incoming, i)
	}
	// All of them: one whose failure is not irrevocable yet still is a child, and without it its incoming HTLC would be
	// forwarded a second time.
	for _, h := range s.Offered() {
		if !h.Over {
			d.Outgoing = append(d.Outgoing, *h.HTLC)
		}
	}
}
