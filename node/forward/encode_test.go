package forward

import (
	"bytes"
	"math/rand"
	"slices"
	"testing"

	"lightningrod/channel"

	"github.com/google/go-cmp/cmp"
	"github.com/lightningnetwork/lnd/lnwire"
)

func someInvoices() []Invoice {
	open := invoiceFor("h1", 5, 7)
	paid := invoiceFor("h2", 0, -1)
	paid.State, paid.Data, paid.Received, paid.PaidAt = InvoicePaid, []byte("lnbc1"), 6, 8
	paid.Parts = []InvoicePart{{channel.Key{Channel: 1, HTLC: 2}, 3}, {channel.Key{Channel: 4, HTLC: 5}, 3}}
	return []Invoice{{}, open, paid}
}

func somePayments() []Payment {
	return []Payment{{}, {
		ID: 1, Hash: hashOf("h1"), Total: 2, Created: 3, Deadline: 4, Data: []byte("lnbc1"), State: PaymentSucceeded, Preimage: preimageOf("h1"),
		Parts: []Part{
			{Index: 1, Channel: 2, Amount: 3, Expiry: 4, Secrets: []byte("secrets"), State: PartFailed, Reason: []byte("reason")},
			{Index: 2, State: PartFulfilled},
		},
	}}
}

func TestRowsRoundTrip(t *testing.T) {
	for _, want := range someInvoices() {
		got, err := DecodeInvoice(EncodeInvoice(&want))
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("%v: %s", err, cmp.Diff(want, got))
		}
	}
	for _, want := range somePayments() {
		got, err := DecodePayment(EncodePayment(&want))
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("%v: %s", err, cmp.Diff(want, got))
		}
	}
	origin, outcome := channel.Forward{In: channel.Key{Channel: 1, HTLC: 2}}, channel.Fail{Reason: []byte("reason")}
	row := settledRow(origin, outcome)
	var d Durable
	if err := d.Row(row); err != nil || !cmp.Equal(d.Settled, []Outcome{{origin, outcome}}) {
		t.Errorf("settled row: %v, %v", d.Settled, err)
	}
	if d.Row(Row{Table: "channel"}) == nil {
		t.Error("a row of another table was taken")
	}
}

// TestRowsRefuse cuts, extends and bends rows.
func TestRowsRefuse(t *testing.T) {
	invoice, payment := EncodeInvoice(&someInvoices()[2]), EncodePayment(&somePayments()[1])
	for n := range invoice {
		if _, err := DecodeInvoice(invoice[:n]); err == nil {
			t.Errorf("invoice cut to %d bytes was read", n)
		}
	}
	for n := range payment {
		if _, err := DecodePayment(payment[:n]); err == nil {
			t.Errorf("payment cut to %d bytes was read", n)
		}
	}
	if _, err := DecodeInvoice(append(invoice, 0)); err == nil {
		t.Error("an invoice with a byte more was read")
	}
	if _, err := DecodePayment(append(payment, 0)); err == nil {
		t.Error("a payment with a byte more was read")
	}
	twice := somePayments()[1]
	twice.Parts[1].Index = 1
	if _, err := DecodePayment(EncodePayment(&twice)); err == nil {
		t.Error("a payment with a part twice was read")
	}
	bad := slices.Clone(invoice)
	bad[0] = 2
	if _, err := DecodeInvoice(bad); err == nil {
		t.Error("an invoice of version 2 was read")
	}
}

func FuzzDecodeInvoice(f *testing.F) {
	for _, i := range someInvoices() {
		f.Add(EncodeInvoice(&i))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if i, err := DecodeInvoice(b); err == nil && !bytes.Equal(EncodeInvoice(&i), b) {
			t.Errorf("%x is encoded as %x", b, EncodeInvoice(&i))
		}
	})
}

func FuzzDecodePayment(f *testing.F) {
	for _, p := range somePayments() {
		f.Add(EncodePayment(&p))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := DecodePayment(b); err == nil && !bytes.Equal(EncodePayment(&p), b) {
			t.Errorf("%x is encoded as %x", b, EncodePayment(&p))
		}
	})
}

func FuzzDecodeSettled(f *testing.F) {
	for _, outcome := range []channel.Outcome{
		channel.Fulfill{Preimage: preimageOf("h")}, channel.Fail{Reason: []byte("reason")}, channel.Malformed{Code: 1},
	} {
		row := settledRow(channel.Forward{In: channel.Key{Channel: 1, HTLC: 2}}, outcome)
		f.Add(row.Key, row.Value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		o, err := DecodeSettled(key, value)
		if err != nil {
			return
		}
		if row := settledRow(o.Origin, o.Outcome); !bytes.Equal(row.Key, key) || !bytes.Equal(row.Value, value) {
			t.Errorf("%x, %x is encoded as %x, %x", key, value, row.Key, row.Value)
		}
	})
}

// TestAlarms compares the heap with a sorted list.
func TestAlarms(t *testing.T) {
	const seed = 1
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewSource(seed))
	var heap alarms[uint32, int]
	var list []uint32
	for i := range 5000 {
		if at := uint32(r.Intn(1000)); r.Intn(3) > 0 {
			heap.set(at, i)
			list = append(list, at)
		} else {
			at /= 50
			at += uint32(i / 8)
			due := len(heap.due(at))
			before := len(list)
			list = slices.DeleteFunc(list, func(a uint32) bool { return a <= at })
			if due != before-len(list) {
				t.Fatalf("%d due at %d, want %d", due, at, before-len(list))
			}
		}
	}
	if len(heap) != len(list) {
		t.Fatalf("%d left, want %d", len(heap), len(list))
	}
}

// TestStringsHideSecrets prints what may end in a log.
func TestStringsHideSecrets(t *testing.T) {
	i := someInvoices()[1]
	if text := i.String(); bytes.Contains([]byte(text), i.Preimage[:]) {
		t.Error(text)
	}
}

var _ lnwire.FailureMessage = (*message)(nil)
var _ lnwire.Serializable = (*message)(nil)
