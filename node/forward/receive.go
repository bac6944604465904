package forward

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"

	"lightningrod/channel"
	"lightningrod/onion"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Invoice is a row of the payee's ledger.
type Invoice struct {
	Hash         [32]byte
	Preimage     [32]byte
	Secret       [32]byte            // payment_secret. Only the payer learns it; of an invoice with blinded paths nobody does
	Amount       lnwire.MilliSatoshi // 0: any
	Expiry       int64               // unix seconds
	MinFinalCltv uint32              // blocks: min_final_cltv_expiry_delta, as enforced. The one in the invoice may be larger
	State        InvoiceState
	Data         []byte // the caller's own, such as the invoice's text

	// Once paid.
	Received lnwire.MilliSatoshi
	PaidAt   int64
	Parts    []InvoicePart
}

// InvoicePart is an incoming HTLC that paid an invoice.
type InvoicePart struct {
	Key    channel.Key
	Amount lnwire.MilliSatoshi
}

// InvoiceState is how far an invoice has come.
type InvoiceState uint8

const (
	InvoiceOpen InvoiceState = iota
	InvoicePaid
	InvoiceExpired
	InvoiceCancelled
)

var invoiceStateNames = [...]string{"open", "paid", "expired", "cancelled"}

func (s InvoiceState) String() string {
	if int(s) < len(invoiceStateNames) {
		return invoiceStateNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// String leaves the secrets out.
func (i Invoice) String() string {
	return fmt.Sprintf("invoice %x %v, %d msat, received %d", i.Hash[:4], i.State, i.Amount, i.Received)
}

// maxData bounds what callers may have stored with an invoice, payment or part, in bytes.
const maxData = 1<<16 - 1

// invoices is the payee's ledger with the sets that are incomplete.
type invoices struct {
	byHash map[[32]byte]*invoiceState
	times  alarms[int64, [32]byte] // expiry of invoices, timeouts of sets
}

// invoiceState is an invoice and, while it is open, the set of parts that have come for it.
//
// BOLT 4 "Basic Multi-Part Payments": no part of a set is fulfilled before the set is complete, then all are.
type invoiceState struct {
	Invoice
	parts    []channel.Key // in order of arrival
	total    lnwire.MilliSatoshi
	received lnwire.MilliSatoshi // the sum of the parts' amt_to_forward
	until    int64               // when an incomplete set is failed
}

// receive decides about HTLCs for us: they join the set of an invoice, or fail. The rules are in the order of BOLT 4
// "Failure Messages".
func receive(q *question) answer {
	in, hop := q.in, q.in.hop
	if !hop.Final {
		return nil
	}
	if q.f.stale {
		return waits{}
	}
	keysend, err := q.payable()
	switch {
	case err != nil:
		return refusal{q.f.details(in)}
	case in.htlc.Expiry < hop.Cltv:
		return refusal{lnwire.NewFinalIncorrectCltvExpiry(in.htlc.Expiry)}
	case in.htlc.Amount < hop.Amount:
		return refusal{lnwire.NewFinalIncorrectHtlcAmount(in.htlc.Amount)}
	}
	if msg := tooFar(q); msg != nil {
		return refusal{msg}
	}
	return joins{keysend}
}

// details is incorrect_or_unknown_payment_details, the one answer to everything that is wrong with a payment to us,
// so that nobody can probe for invoices.
func (f *Forwarder) details(in *incoming) lnwire.FailureMessage {
	return lnwire.NewFailIncorrectDetails(in.htlc.Amount, f.height)
}

// payable says why an HTLC for us cannot be accepted. If it is a payment without an invoice its preimage comes back.
func (q *question) payable() (keysend *[32]byte, err error) {
	in, hop := q.in, q.in.hop
	inv := q.f.invoices.byHash[in.htlc.Hash]
	if inv == nil {
		return q.keysend()
	}
	switch {
	case !inv.opensTo(hop):
		return nil, errors.New("payment_secret or path_id wrong or missing")
	case inv.State != InvoiceOpen:
		return nil, fmt.Errorf("invoice is %v", inv.State)
	case q.f.now >= inv.Expiry && len(inv.parts) == 0:
		return nil, errors.New("invoice is expired")
	case hop.Total == 0 || hop.Total < inv.Amount:
		return nil, fmt.Errorf("total_msat %d below amount %d", hop.Total, inv.Amount)
	case inv.Amount != 0 && hop.Total-inv.Amount > inv.Amount:
		return nil, fmt.Errorf("total_msat %d above twice the amount %d", hop.Total, inv.Amount)
	}
	return nil, q.inTime(inv.MinFinalCltv)
}

// PathID is the path_id of the blinded paths that an invoice gives out.
//
// BOLT 4 "Route Blinding": it has to be private, and to say which payment the path is for. It is derived from the preimage, which nobody
// knows before the invoice is paid, and not from the payment_secret: so a payer of an invoice without paths cannot make some to us, to see
// whether we are behind another node's name.
func (i *Invoice) PathID() [32]byte {
	return sha256.Sum256(append([]byte("lightning-rod/path_id/1"), i.Preimage[:]...))
}

// opensTo says whether an HTLC knows what only its way to us could have told it: the path_id where it came along a blinded path, else the
// payment_secret.
func (i *Invoice) opensTo(hop *onion.Hop) bool {
	if hop.Blinded {
		id := i.PathID()
		return subtle.ConstantTimeCompare(hop.PathID, id[:]) == 1
	}
	return hop.PaymentSecret != nil && subtle.ConstantTimeCompare(hop.PaymentSecret[:], i.Secret[:]) == 1
}

// inTime is BOLT 4's rule on the cltv_expiry of a final HTLC.
func (q *question) inTime(minFinalCltv uint32) error {
	if least := uint64(q.f.height) + uint64(minFinalCltv); uint64(q.in.htlc.Expiry) < least {
		return fmt.Errorf("cltv_expiry %d below %d", q.in.htlc.Expiry, least)
	}
	return nil
}

// keysend accepts, if configured, a payment in one part that brings its own preimage (bLIP 3).
func (q *question) keysend() (*[32]byte, error) {
	hop := q.in.hop
	switch {
	case !q.f.cfg.Keysend || hop.Keysend == nil || hop.Blinded:
		return nil, errors.New("payment_hash unknown")
	case sha256.Sum256(hop.Keysend[:]) != q.in.htlc.Hash:
		return nil, errors.New("keysend preimage is another hash's")
	case hop.Amount == 0 || hop.Total > hop.Amount:
		return nil, fmt.Errorf("keysend of %d msat in part", hop.Total)
	}
	return hop.Keysend, q.inTime(q.f.cfg.FinalMargin)
}

// join adds an HTLC to its set, and pays the invoice if that completes it.
func (f *Forwarder) join(s *step, in *incoming, a joins) {
	hash, hop := in.htlc.Hash, in.hop
	inv := f.invoices.byHash[hash]
	if a.keysend != nil {
		inv = &invoiceState{Invoice: Invoice{Hash: hash, Preimage: *a.keysend, Amount: hop.Amount, Expiry: f.now,
			MinFinalCltv: f.cfg.FinalMargin}}
		f.invoices.byHash[hash] = inv
	}
	if len(inv.parts) == maxParts {
		f.fail(s, in, f.details(in))
		return
	}
	if len(inv.parts) > 0 && inv.total != hop.Total {
		// BOLT 4 "Basic Multi-Part Payments": parts that disagree on total_msat fail the entire set.
		f.failSet(s, inv, f.details)
		f.fail(s, in, f.details(in))
		return
	}
	if len(inv.parts) == 0 {
		inv.total, inv.until = hop.Total, f.now+f.cfg.PartsWait
		f.invoices.times.set(inv.until, hash)
	}
	in.state = part
	f.setLimit(in, below(in.htlc.Expiry, f.cfg.FinalMargin))
	inv.parts = append(inv.parts, in.htlc.Key)
	inv.received += hop.Amount
	s.Notices = append(s.Notices, PartArrived{Key: in.htlc.Key, Hash: hash, Received: inv.received, Total: inv.total})
	if inv.received >= inv.total {
		f.accept(s, inv)
	}
}

// leave takes an HTLC out of its set.
func (f *Forwarder) leave(in *incoming) {
	inv := f.invoices.byHash[in.htlc.Hash]
	inv.parts = slices.DeleteFunc(inv.parts, func(key channel.Key) bool { return key == in.htlc.Key })
	inv.received -= in.hop.Amount
}

// accept pays an invoice by the parts that have come. The row that says so is queued before any of them is fulfilled:
// after a crash either all are (Rebuild reads the row) or none.
func (f *Forwarder) accept(s *step, inv *invoiceState) {
	inv.State, inv.PaidAt = InvoicePaid, f.now
	for _, key := range inv.parts {
		in := f.htlcs[key]
		inv.Parts = append(inv.Parts, InvoicePart{Key: key, Amount: in.htlc.Amount})
		inv.Received += in.htlc.Amount
	}
	s.Rows = append(s.Rows, invoiceRow(&inv.Invoice))
	s.Notices = append(s.Notices, Received{Invoice: inv.Invoice})
	for _, p := range inv.Parts {
		f.fulfill(s, f.htlcs[p.Key], channel.Fulfill{Preimage: inv.Preimage}, nil)
	}
}

// failSet fails the parts that have come.
func (f *Forwarder) failSet(s *step, inv *invoiceState, msg func(*incoming) lnwire.FailureMessage) {
	for _, key := range slices.Clone(inv.parts) {
		in := f.htlcs[key]
		f.fail(s, in, msg(in))
	}
	f.expire(s, inv)
}

// expire closes an invoice that nobody can pay any more.
func (f *Forwarder) expire(s *step, inv *invoiceState) {
	if inv.State == InvoiceOpen && len(inv.parts) == 0 && f.now >= inv.Expiry {
		inv.State = InvoiceExpired
		s.Rows = append(s.Rows, invoiceRow(&inv.Invoice))
	}
}

// tooLate fails what could not be claimed in time any more: the HTLC's whole set.
func (f *Forwarder) tooLate(s *step, in *incoming) {
	if in.state != part {
		f.fail(s, in, f.details(in))
		return
	}
	f.failSet(s, f.invoices.byHash[in.htlc.Hash], func(*incoming) lnwire.FailureMessage { return mppTimeout() })
}

func (f *Forwarder) tickInvoices(s *step, now int64) {
	due := f.invoices.times.due(now)
	slices.SortFunc(due, func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) })
	for _, hash := range slices.Compact(due) {
		inv := f.invoices.byHash[hash]
		if inv == nil || inv.State != InvoiceOpen {
			continue
		}
		if len(inv.parts) > 0 && inv.until <= now {
			f.failSet(s, inv, func(*incoming) lnwire.FailureMessage { return mppTimeout() })
		}
		f.expire(s, inv)
	}
}

// register enters an invoice.
func (f *Forwarder) register(s *step, inv Invoice) {
	if err := f.registrable(&inv); err != nil {
		s.Notices = append(s.Notices, InvoiceRefused{Hash: inv.Hash, Err: err})
		return
	}
	f.enterInvoice(inv)
	s.Rows = append(s.Rows, invoiceRow(&inv))
}

func (f *Forwarder) registrable(inv *Invoice) error {
	switch {
	case f.invoices.byHash[inv.Hash] != nil:
		return errors.New("there is an invoice with this payment_hash")
	case sha256.Sum256(inv.Preimage[:]) != inv.Hash:
		return errors.New("the preimage is not the payment_hash's")
	case inv.State != InvoiceOpen || len(inv.Parts) > 0:
		return errors.New("a new invoice is open and has no parts")
	case inv.MinFinalCltv < f.cfg.FinalMargin:
		return fmt.Errorf("min_final_cltv_expiry_delta %d below minimum %d", inv.MinFinalCltv, f.cfg.FinalMargin)
	case inv.Expiry <= f.now:
		return fmt.Errorf("expiry %d is past", inv.Expiry)
	case len(inv.Data) > maxData:
		return fmt.Errorf("data of %d bytes above maximum %d", len(inv.Data), maxData)
	}
	return nil
}

func (f *Forwarder) enterInvoice(inv Invoice) {
	f.invoices.byHash[inv.Hash] = &invoiceState{Invoice: inv}
	if inv.State == InvoiceOpen {
		f.invoices.times.set(inv.Expiry, inv.Hash)
	}
}

// cancel ends an open invoice.
func (f *Forwarder) cancel(s *step, hash [32]byte) {
	inv := f.invoices.byHash[hash]
	if inv == nil || inv.State != InvoiceOpen {
		s.Notices = append(s.Notices, InvoiceRefused{Hash: hash, Err: errors.New("there is no open invoice to cancel")})
		return
	}
	inv.State = InvoiceCancelled
	s.Rows = append(s.Rows, invoiceRow(&inv.Invoice))
	f.failSet(s, inv, f.details)
}

// forget drops an invoice. One whose parts are not all removed from their channels stays: until then its row is what
// recovery fulfills them by.
func (f *Forwarder) forget(s *step, hash [32]byte) {
	inv := f.invoices.byHash[hash]
	var err error
	switch {
	case inv == nil:
		err = errors.New("there is no invoice with this payment_hash")
	case inv.State == InvoiceOpen:
		err = errors.New("the invoice is open")
	case slices.ContainsFunc(inv.Parts, func(p InvoicePart) bool { return f.htlcs[p.Key] != nil }):
		err = errors.New("the invoice's parts are still being settled")
	}
	if err != nil {
		s.Notices = append(s.Notices, InvoiceRefused{Hash: hash, Err: err})
		return
	}
	delete(f.invoices.byHash, hash)
	s.Rows = append(s.Rows, Row{Table: TableInvoice, Key: hash[:]})
}
