package onchain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
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
	for _, p := range s.Pending() {
		fmt.Fprintf(b, "\n  %s of %d sat: %s", p.What, p.Amount, p.text(s))
	}
}

// Standing is how an output of a channel on chain stands.
type Standing uint8

const (
	Unclosed   Standing = iota // the funding output: nothing that spends it is confirmed
	Claimable                  // ours, or to be, from a height on
	NoPreimage                 // an HTLC the peer offered: ours if its preimage comes
	Watched                    // not ours; a spend of it may show a preimage
	Uneconomic                 // worth less than its fee
	Spent
)

func (s Standing) String() string {
	return [...]string{"unclosed", "claimable", "no_preimage", "watched", "uneconomic", "spent"}[s]
}

// Pending is an output that concerns us, and what it waits for.
type Pending struct {
	What     string // the BOLTs' name, with the HTLC's side and id
	Out      wire.OutPoint
	Amount   int64 // sat
	Standing Standing
	Height   uint32         // Claimable: the first block that can have the claim; Spent: that of the spend
	Deadline uint32         // Claimable: when others can take it, or, if nobody can, by when it is to be swept
	Fee      int64          // Claimable: sat, of the newest claim; 0: none yet
	By       chainhash.Hash // Spent: the transaction
	Preimage bool           // Spent: it showed the preimage
}

// Pending lists them in the order of the closing transaction, those of the second stage last. Before that is confirmed it is the funding output.
func (s *State) Pending() []Pending {
	if s.spend == nil {
		return []Pending{{What: "funding output", Out: s.p.Funding, Amount: s.p.Capacity}}
	}
	var list []Pending
	all := s.outputs()
	for i := range all {
		if o := &all[i]; o.kind != kindIgnored {
			list = append(list, s.pending(o))
		}
	}
	return list
}

func (s *State) pending(o *output) Pending {
	p := Pending{What: o.title(s.closing), Out: o.out, Amount: o.amount}
	if f := s.spentAt(o.out); f != nil {
		p.Standing, p.Height, p.By, p.Preimage = Spent, f.height, f.by, f.shown
		return p
	}
	c, ours := s.claimOf(o)
	switch {
	case o.kind == kindUnknown:
		p.Standing = Watched
	case !s.worth(o):
		p.Standing = Uneconomic
	case !ours:
		p.Standing = NoPreimage
	default:
		p.Standing, p.Height, p.Deadline = Claimable, c.ripe, c.deadline
		if i := slices.IndexFunc(s.bids, func(b bid) bool { return b.out == o.out }); i >= 0 {
			p.Fee = s.bids[i].fee
		}
	}
	return p
}

// name says what an output is, and its amount.
func (o *output) name(c *closing) string { return fmt.Sprintf("%s of %d sat", o.title(c), o.amount) }

// title says what an output is, with the HTLC's id.
func (o *output) title(c *closing) string {
	switch {
	case o.htlc == nil:
		return o.kind.String()
	case o.kind == kindCheatHTLC:
		return fmt.Sprintf("revoked htlc %v", keyOf(Cheat, o.htlc))
	}
	return fmt.Sprintf("htlc %v", keyOf(c.owner, o.htlc))
}

// text says how it stands, for String.
func (p *Pending) text(s *State) string {
	switch p.Standing {
	case Spent:
		text := fmt.Sprintf("spent at %d (%d deep)", p.Height, s.depth(p.Height))
		if p.Preimage {
			text += " with the preimage"
		}
		return text
	case Watched:
		return "watched"
	case Uneconomic:
		return "not worth its fee"
	case NoPreimage:
		return "no preimage"
	}
	text := fmt.Sprintf("to be claimed from %d, deadline %d", p.Height, p.Deadline)
	if p.Fee > 0 {
		text += fmt.Sprintf(", fee %d bid", p.Fee)
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
