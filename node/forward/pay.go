package forward

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"lightningrod/channel"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Payment is a row of the payer's ledger: a payment of ours and the parts it was tried in.
type Payment struct {
	ID       uint64
	Hash     [32]byte
	Total    lnwire.MilliSatoshi // what the payee gets
	Created  int64               // unix seconds
	Deadline int64               // unix seconds, for whoever sends parts; not looked at here
	Data     []byte              // the caller's own, such as the invoice's text
	State    PaymentState
	Preimage [32]byte // once paid
	Parts    []Part
}

// Part is one HTLC of a payment: an attempt on one route.
type Part struct {
	Index   uint32 // unique in its payment
	Channel channel.ID
	Amount  lnwire.MilliSatoshi // of the HTLC, with the route's fees
	Expiry  uint32              // its cltv_expiry
	Secrets []byte              // the caller's own: what decodes Reason (the session key, the nodes)
	State   PartState
	Reason  []byte // of a failed part: as it came back. Of MalformedReason bytes: the failure_code of update_fail_malformed_htlc
}

// MalformedReason is the length of a Reason that is a failure_code, big-endian. What comes through an onion is longer.
const MalformedReason = 2

// Offer is a part that is ready to go.
type Offer struct {
	Part
	Onion   [1366]byte
	PathKey []byte
	TLVs    []byte // of update_add_htlc, with path_key if there is one
}

// PaymentState is how far a payment has come.
type PaymentState uint8

const (
	PaymentPending PaymentState = iota
	PaymentSucceeded
	PaymentFailed
)

func (s PaymentState) String() string {
	return stateName(uint8(s), "pending", "succeeded", "failed")
}

// PartState is how far a part has come.
type PartState uint8

const (
	PartOffered PartState = iota
	PartFulfilled
	PartFailed
)

func (s PartState) String() string { return stateName(uint8(s), "offered", "fulfilled", "failed") }

func stateName(s uint8, names ...string) string {
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("state %d", s)
}

// payments is the payer's ledger.
type payments struct {
	byID   map[uint64]*Payment
	byHash map[[32]byte]uint64 // the payment that is pending or succeeded
}

// maxParts bounds the attempts of one payment, and the HTLCs that pay one invoice.
const maxParts = 4096

// pay offers parts. The row comes first: whatever a channel may later report, its part is known.
func (f *Forwarder) pay(s *step, ev Pay) {
	if err := f.payableNow(ev); err != nil {
		s.Notices = append(s.Notices, PayRefused{ID: ev.Payment.ID, Err: err, Later: f.stale})
		return
	}
	p := f.payments.byID[ev.Payment.ID]
	if p == nil {
		copied := ev.Payment
		copied.Parts = nil
		p = &copied
		f.enterPayment(p)
	}
	p.State = PaymentPending
	f.payments.byHash[p.Hash] = p.ID
	for i := range ev.Parts {
		o := &ev.Parts[i]
		o.Part.State, o.Part.Reason = PartOffered, nil
		p.Parts = append(p.Parts, o.Part)
		s.Commands = append(s.Commands, Add{Channel: o.Channel, HTLC: channel.HTLC{
			Key:     channel.Key{Channel: o.Channel},
			Amount:  o.Amount,
			Hash:    p.Hash,
			Expiry:  o.Expiry,
			Onion:   o.Onion,
			PathKey: o.PathKey,
			TLVs:    o.TLVs,
			Origin:  channel.Payment{ID: p.ID, Part: o.Index},
		}})
	}
	s.Rows = append(s.Rows, paymentRow(p))
}

// payableNow says why parts cannot be offered. A payment_hash is paid once: a second payment of the same would hand
// every node that knows the preimage its amount.
func (f *Forwarder) payableNow(ev Pay) error {
	p := f.payments.byID[ev.Payment.ID]
	hash := ev.Payment.Hash
	known := make(map[uint32]bool)
	if p != nil {
		hash = p.Hash
		for _, part := range p.Parts {
			known[part.Index] = true
		}
	}
	other, taken := f.payments.byHash[hash]
	switch {
	case f.stale:
		return errors.New("the chain's tip is old")
	case p != nil && p.State == PaymentSucceeded:
		return errors.New("the payment has succeeded")
	case taken && other != ev.Payment.ID:
		return errors.New("another payment with this payment_hash is pending or has succeeded")
	case p == nil && len(ev.Payment.Data) > maxData:
		return fmt.Errorf("data of %d bytes above maximum %d", len(ev.Payment.Data), maxData)
	case p == nil && ev.Payment.State != PaymentPending:
		return errors.New("a new payment is pending")
	case len(ev.Parts) == 0:
		return errors.New("no parts")
	case len(known)+len(ev.Parts) > maxParts:
		return fmt.Errorf("%d parts above maximum %d", len(known)+len(ev.Parts), maxParts)
	}
	for _, o := range ev.Parts {
		if known[o.Index] {
			return fmt.Errorf("part %d exists", o.Index)
		}
		known[o.Index] = true
		if len(o.Secrets) > maxData {
			return fmt.Errorf("secrets of %d bytes above maximum %d", len(o.Secrets), maxData)
		}
	}
	return nil
}

func (f *Forwarder) enterPayment(p *Payment) {
	f.payments.byID[p.ID] = p
	if p.State != PaymentFailed {
		f.payments.byHash[p.Hash] = p.ID
	}
}

// part finds what an outgoing HTLC of ours is, if it is still on its way.
func (f *Forwarder) part(origin channel.Origin) (*Payment, *Part) {
	o, ok := origin.(channel.Payment)
	if !ok {
		return nil, nil
	}
	p := f.payments.byID[o.ID]
	if p == nil {
		return nil, nil
	}
	at := slices.IndexFunc(p.Parts, func(part Part) bool { return part.Index == o.Part })
	if at < 0 {
		return nil, nil
	}
	return p, &p.Parts[at]
}

// paymentResolved hears how a part ended. The payment's row carries the outcome, in the write in which the channel
// forgets the HTLC: it needs no row in the table settled.
func (f *Forwarder) paymentResolved(s *step, r Resolved) {
	p, part := f.part(r.Origin)
	if part == nil {
		return
	}
	if fulfill, ok := r.Outcome.(channel.Fulfill); ok {
		f.partFulfilled(s, p, part, fulfill.Preimage)
	} else if part.State == PartOffered {
		f.partFailed(s, p, part, r.Outcome, nil)
	}
}

func (f *Forwarder) paymentRefused(s *step, r Refused) {
	if p, part := f.part(r.Origin); part != nil && part.State == PartOffered {
		f.partFailed(s, p, part, nil, r.Err)
	}
}

// partFulfilled takes the preimage. It counts even for a part, or a payment, that was thought to have failed.
func (f *Forwarder) partFulfilled(s *step, p *Payment, part *Part, preimage [32]byte) {
	if part.State == PartFulfilled {
		return
	}
	ended := part.State == PartFailed
	part.State, part.Reason = PartFulfilled, nil
	if p.State != PaymentSucceeded {
		p.State, p.Preimage = PaymentSucceeded, preimage
		f.payments.byHash[p.Hash] = p.ID
		s.Notices = append(s.Notices, PaymentPaid{ID: p.ID, Hash: p.Hash, Preimage: preimage})
	}
	f.partEnded(s, p, ended)
}

func (f *Forwarder) partFailed(s *step, p *Payment, part *Part, outcome channel.Outcome, err error) {
	part.State = PartFailed
	switch o := outcome.(type) {
	case channel.Fail:
		if len(o.Reason) <= maxData {
			part.Reason = o.Reason
		}
	case channel.Malformed:
		part.Reason = binary.BigEndian.AppendUint16(nil, o.Code)
	}
	s.Notices = append(s.Notices, PaymentPartFailed{ID: p.ID, Part: *part, Outcome: outcome, Err: err})
	f.partEnded(s, p, false)
}

// partEnded writes the row and says so if the payment is done. again: the part had ended before.
func (f *Forwarder) partEnded(s *step, p *Payment, again bool) {
	done := !slices.ContainsFunc(p.Parts, func(part Part) bool { return part.State == PartOffered })
	if done && p.State == PaymentPending {
		p.State = PaymentFailed
		delete(f.payments.byHash, p.Hash)
	}
	s.Rows = append(s.Rows, paymentRow(p))
	if done && (!again || p.State == PaymentSucceeded) {
		s.Notices = append(s.Notices, PaymentDone{ID: p.ID, Hash: p.Hash, Paid: p.State == PaymentSucceeded})
	}
}

// forgetPayment drops a payment that is done.
func (f *Forwarder) forgetPayment(s *step, id uint64) {
	p := f.payments.byID[id]
	var err error
	switch {
	case p == nil:
		err = errors.New("there is no such payment")
	case slices.ContainsFunc(p.Parts, func(part Part) bool { return part.State == PartOffered }):
		err = errors.New("the payment has parts on their way")
	}
	if err != nil {
		s.Notices = append(s.Notices, PayRefused{ID: id, Err: err})
		return
	}
	delete(f.payments.byID, id)
	if f.payments.byHash[p.Hash] == id {
		delete(f.payments.byHash, p.Hash)
	}
	s.Rows = append(s.Rows, Row{Table: TablePayment, Key: be64(id)})
}
