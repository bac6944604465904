package forward

import (
	"errors"
	"fmt"
	"slices"

	"lightningrod/channel"
	"lightningrod/rod"
)

// Durable is what a start finds on the disk, put together by the caller.
type Durable struct {
	Height uint32
	Now    int64 // unix seconds
	Stale  bool

	Channels []Channel  // all that are not Closed
	Devices  [][33]byte // peers that can be woken
	Incoming []Incoming // received HTLCs of all Channels whose addition is at stage 5
	// Outgoing are the offered HTLCs of all Channels, every one that is still in a State, whatever its stage and whatever
	// outcome is known of it. None may be left out: a failure that is under way but not irrevocable is no end, and an
	// incoming HTLC without a child is forwarded afresh.
	Outgoing []channel.HTLC
	Settled  []Outcome
	Invoices []Invoice
	Payments []Payment
	Table    *rod.Table // loaded; it has heard neither Tick nor Block
}

// Incoming is a live incoming HTLC. Outcome is the one its channel has stored, nil if there is none; with an Outcome
// Hop and Failure may both be missing.
type Incoming struct {
	Offered
	Outcome channel.Outcome
}

// Outcome is a row of the table settled.
type Outcome struct {
	Origin  channel.Origin
	Outcome channel.Outcome
}

// Row decodes a row of one of the tables named in this package and adds it to d.
func (d *Durable) Row(r Row) error {
	switch r.Table {
	case TableSettled:
		o, err := DecodeSettled(r.Key, r.Value)
		if err != nil {
			return err
		}
		d.Settled = append(d.Settled, o)
	case TableInvoice:
		i, err := DecodeInvoice(r.Value)
		if err != nil {
			return err
		}
		d.Invoices = append(d.Invoices, i)
	case TablePayment:
		p, err := DecodePayment(r.Value)
		if err != nil {
			return err
		}
		d.Payments = append(d.Payments, p)
	default:
		return fmt.Errorf("table %q is not of forwarding", r.Table)
	}
	return nil
}

// DecodeSettled reads a row of the table settled.
func DecodeSettled(key, value []byte) (Outcome, error) {
	origin, err := channel.DecodeOrigin(key)
	if err == nil && origin == nil {
		err = errors.New("no origin")
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("settled row: %w", err)
	}
	outcome, err := channel.DecodeOutcome(value)
	if err == nil && outcome == nil {
		err = errors.New("no outcome")
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("settled row: %w", err)
	}
	return Outcome{origin, outcome}, nil
}

// errNeverOffered is how a part ends whose Add did not reach the disk before a crash: nothing of it left the node.
var errNeverOffered = errors.New("the node stopped before the HTLC was offered")

// Rebuild makes the Forwarder that the rows describe, and says what is still to be done. It is total. For each incoming
// HTLC, the first that applies:
//
//	its channel has an outcome stored   nothing to do
//	a settled row                       fulfill or fail
//	an outgoing HTLC has it as origin   on its way
//	an invoice was paid by it           fulfill
//	its channel is on chain             void
//	otherwise                           the stages, as if just Offered
//
// A settled row comes before an outgoing HTLC because it was written with the turn that resolved that HTLC, which may
// linger in a channel on chain. Settled rows that serve no live HTLC are deleted. Children without a parent are tolerated: their Resolved will find nobody.
func Rebuild(cfg Config, d Durable) (*Forwarder, Output) {
	f := newForwarder(cfg, d.Table)
	f.height, f.now, f.stale = d.Height, d.Now, d.Stale
	f.fresh = d.Now + cfg.RestartWait
	for _, c := range d.Channels {
		f.introduce(c)
		f.channels[c.ID].awaited = true
	}
	for _, peer := range d.Devices {
		f.peer(peer).device = true
	}
	for _, i := range d.Invoices {
		f.enterInvoice(i)
	}
	for i := range d.Payments {
		p := d.Payments[i].clone()
		f.enterPayment(&p)
	}

	var s step
	f.rod(&s, rod.Tick{Now: d.Now})
	f.rod(&s, rod.Block{Height: d.Height})
	s.again, s.gone = nil, nil // every HTLC is judged below

	r := recovery{Forwarder: f, step: &s, children: make(map[channel.Origin]int), settled: make(map[channel.Origin]channel.Outcome)}
	for _, out := range d.Outgoing {
		r.children[out.Origin]++
	}
	for _, o := range d.Settled {
		r.settled[o.Origin] = o.Outcome
	}
	var undecided []*incoming
	for _, i := range sortedIncoming(d.Incoming) {
		if in := r.place(i); in.state == deciding {
			undecided = append(undecided, in)
		}
	}
	r.endMembers()
	r.recoverPayments()
	r.deleteOrphans(d.Settled)
	for _, in := range undecided {
		f.decide(&s, in)
	}
	f.drain(&s)
	return f, s.Output
}

// recovery is a Rebuild under way.
type recovery struct {
	*Forwarder
	*step
	children map[channel.Origin]int
	settled  map[channel.Origin]channel.Outcome // taken out as they are used
}

// place enters an incoming HTLC and gives it the state its rows say; deciding if they say nothing.
func (r *recovery) place(i Incoming) *incoming {
	in := r.enter(i.Offered)
	key := in.htlc.Key
	origin := channel.Forward{In: key}
	outcome, hasRow := r.settled[origin]
	preimage, hasPreimage := outcome.(channel.Fulfill)

	switch _, stored := i.Outcome.(channel.Fulfill); {
	case stored:
		in.state = fulfilled
	case hasPreimage: // also if a failure is stored: it may not have been signed for
		delete(r.settled, origin)
		r.fulfill(r.step, in, preimage, clearing(settledRow(origin, outcome)))
	case i.Outcome != nil:
		in.state = failed
	case hasRow:
		delete(r.settled, origin)
		r.end(r.step, in, in.relay(outcome, clearing(settledRow(origin, outcome))), 0)
	case r.children[origin] > 0:
		in.state, in.children = onWay, r.children[origin]
	case r.paidBy(in):
		r.fulfill(r.step, in, channel.Fulfill{Preimage: r.invoices.byHash[in.htlc.Hash].Preimage}, nil)
	case r.isOnChain(key.Channel):
		in.state = void
	default:
		in.until = r.fresh
	}
	return in
}

// paidBy reports whether this very HTLC is among the parts that paid an invoice.
func (f *Forwarder) paidBy(in *incoming) bool {
	inv := f.invoices.byHash[in.htlc.Hash]
	return inv != nil && inv.State == InvoicePaid &&
		slices.ContainsFunc(inv.Parts, func(p InvoicePart) bool { return p.Key == in.htlc.Key })
}

// endMembers tells rod of members that no channel knows any more.
func (r *recovery) endMembers() {
	for _, request := range r.table.Requests() {
		for _, m := range request.Members {
			if r.htlcs[channel.Key{Channel: channel.ID(m.Key.Channel), HTLC: m.Key.ID}] == nil {
				r.rod(r.step, rod.Ended{Channel: m.Key.Channel, ID: m.Key.ID, Settled: m.Fulfilled})
			}
		}
	}
}

// recoverPayments ends the parts of our payments that have no HTLC.
func (r *recovery) recoverPayments() {
	ids := make([]uint64, 0, len(r.payments.byID))
	for id := range r.payments.byID {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		p := r.payments.byID[id]
		for i := range p.Parts {
			part := &p.Parts[i]
			origin := channel.Payment{ID: id, Part: part.Index}
			if part.State != PartOffered || r.children[origin] > 0 {
				continue
			}
			r.partFailed(r.step, p, part, nil, errNeverOffered)
		}
	}
}

// deleteOrphans deletes the settled rows nobody has use for.
func (r *recovery) deleteOrphans(rows []Outcome) {
	for _, o := range rows {
		if _, left := r.settled[o.Origin]; left {
			r.Rows = append(r.Rows, clearing(settledRow(o.Origin, o.Outcome))...)
		}
	}
}

func sortedIncoming(list []Incoming) []Incoming {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b Incoming) int { return compareKeys(a.HTLC.Key, b.HTLC.Key) })
	return list
}
