package onchain

import (
	"fmt"
	"strings"

	"github.com/btcsuite/btcd/wire"
)

// String is the State for people: golden scripts, `rod dump`, logs. No secret is in it.
func (s *State) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "height %d, closing since %d", s.height, s.start)
	if s.stale {
		b.WriteString(", our state is old")
	}
	if s.spend == nil {
		b.WriteString(", nothing confirmed")
	} else {
		s.describeClosing(&b)
	}
	for i := range s.p.HTLCs {
		h := &s.p.HTLCs[i]
		fmt.Fprintf(&b, "\n  htlc %v %d msat expiry %d: %s", h.key(), uint64(h.Amount), h.Expiry, s.toldText(i))
	}
	return b.String()
}

// ClosingTx is the transaction on the best chain that spent the funding output, nil if there is none.
func (s *State) ClosingTx() *wire.MsgTx {
	if s.spend == nil {
		return nil
	}
	return s.spend.tx
}

func (s *State) describeClosing(b *strings.Builder) {
	fmt.Fprintf(b, ", %v", s.closing.owner)
	if s.closing.owner != Foreign {
		fmt.Fprintf(b, " %d", s.closing.number)
	}
	fmt.Fprintf(b, " at %d (%d deep)", s.spend.height, s.depth(s.spend.height))
	all := s.outputs()
	for i := range all {
		if o := &all[i]; o.kind != kindIgnored {
			fmt.Fprintf(b, "\n  %v: %s", o.name(s.closing), s.outputText(o))
		}
	}
}

// name says what an output is, with the HTLC's id.
func (o *output) name(c *closing) string {
	text := fmt.Sprintf("%v of %d sat", o.kind, o.amount)
	if o.htlc == nil {
		return text
	}
	if o.kind == kindCheatHTLC {
		return fmt.Sprintf("revoked htlc %v of %d sat", keyOf(Cheat, o.htlc), o.amount)
	}
	return fmt.Sprintf("htlc %v of %d sat", keyOf(c.owner, o.htlc), o.amount)
}

func (s *State) outputText(o *output) string {
	if f := s.spentAt(o.out); f != nil {
		text := fmt.Sprintf("spent at %d (%d deep)", f.height, s.depth(f.height))
		if f.shown {
			text += " with the preimage"
		}
		return text
	}
	if o.kind == kindUnknown {
		return "watched"
	}
	if !s.worth(o) {
		return "not worth its fee"
	}
	c, ok := s.claimOf(o)
	if !ok {
		return "no preimage"
	}
	text := fmt.Sprintf("to be claimed from %d, deadline %d", c.ripe, c.deadline)
	for i := range s.bids {
		if bid := &s.bids[i]; bid.out == o.out && bid.fee > 0 {
			text += fmt.Sprintf(", fee %d bid", bid.fee)
		}
	}
	return text
}

func (s *State) toldText(i int) string {
	h := &s.p.HTLCs[i]
	switch {
	case s.told[i] == toldFulfilled:
		return "fulfilled"
	case s.told[i] == toldFailed && h.Offered:
		return "failed"
	case s.told[i] == toldFailed:
		return "ended"
	case !h.Offered && s.preimageOf(h.ID) != nil:
		return "open, preimage known"
	}
	return "open"
}
