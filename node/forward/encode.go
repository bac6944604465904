package forward

import (
	"encoding/binary"
	"errors"
	"fmt"

	"lightningrod/channel"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Rows are: a version byte, then the fields in order, integers big-endian, byte strings behind a 32-bit length, lists
// behind a 16-bit count. Decoding takes nothing but what encoding gives.
const rowVersion = 1

// settledRow carries an outcome from the outgoing to the incoming channel.
func settledRow(origin channel.Origin, outcome channel.Outcome) Row {
	return Row{Table: TableSettled, Key: channel.EncodeOrigin(origin), Value: channel.EncodeOutcome(outcome)}
}

// clearing deletes a row.
func clearing(r Row) []Row { return []Row{{Table: r.Table, Key: r.Key}} }

func invoiceRow(i *Invoice) Row {
	return Row{Table: TableInvoice, Key: i.Hash[:], Value: EncodeInvoice(i)}
}

func paymentRow(p *Payment) Row {
	return Row{Table: TablePayment, Key: be64(p.ID), Value: EncodePayment(p)}
}

// EncodeInvoice gives the row of an invoice.
func EncodeInvoice(i *Invoice) []byte {
	b := []byte{rowVersion}
	b = append(b, i.Hash[:]...)
	b = append(b, i.Preimage[:]...)
	b = append(b, i.Secret[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(i.Amount))
	b = binary.BigEndian.AppendUint64(b, uint64(i.Expiry))
	b = binary.BigEndian.AppendUint32(b, i.MinFinalCltv)
	b = append(b, byte(i.State))
	b = appendBytes(b, i.Data)
	b = binary.BigEndian.AppendUint64(b, uint64(i.Received))
	b = binary.BigEndian.AppendUint64(b, uint64(i.PaidAt))
	b = binary.BigEndian.AppendUint16(b, uint16(len(i.Parts)))
	for _, p := range i.Parts {
		b = binary.BigEndian.AppendUint64(b, uint64(p.Key.Channel))
		b = binary.BigEndian.AppendUint64(b, p.Key.HTLC)
		b = binary.BigEndian.AppendUint64(b, uint64(p.Amount))
	}
	return b
}

// DecodeInvoice reads the row of an invoice.
func DecodeInvoice(b []byte) (Invoice, error) {
	c := cursor{b: b}
	c.version()
	i := Invoice{
		Hash:         c.hash(),
		Preimage:     c.hash(),
		Secret:       c.hash(),
		Amount:       lnwire.MilliSatoshi(c.u64()),
		Expiry:       int64(c.u64()),
		MinFinalCltv: c.u32(),
		State:        InvoiceState(c.enum("invoice state", uint8(InvoiceCancelled))),
		Data:         c.bytes(),
		Received:     lnwire.MilliSatoshi(c.u64()),
		PaidAt:       int64(c.u64()),
	}
	const partSize = 8 + 8 + 8
	for n := c.count(partSize); n > 0; n-- {
		i.Parts = append(i.Parts, InvoicePart{
			Key:    channel.Key{Channel: channel.ID(c.u64()), HTLC: c.u64()},
			Amount: lnwire.MilliSatoshi(c.u64()),
		})
	}
	if err := c.end(); err != nil {
		return Invoice{}, fmt.Errorf("invoice row: %w", err)
	}
	return i, nil
}

// EncodePayment gives the row of a payment.
func EncodePayment(p *Payment) []byte {
	b := []byte{rowVersion}
	b = binary.BigEndian.AppendUint64(b, p.ID)
	b = append(b, p.Hash[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.Total))
	b = binary.BigEndian.AppendUint64(b, uint64(p.Created))
	b = binary.BigEndian.AppendUint64(b, uint64(p.Deadline))
	b = appendBytes(b, p.Data)
	b = append(b, byte(p.State))
	b = append(b, p.Preimage[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.Parts)))
	for _, part := range p.Parts {
		b = binary.BigEndian.AppendUint32(b, part.Index)
		b = binary.BigEndian.AppendUint64(b, uint64(part.Channel))
		b = binary.BigEndian.AppendUint64(b, uint64(part.Amount))
		b = binary.BigEndian.AppendUint32(b, part.Expiry)
		b = appendBytes(b, part.Secrets)
		b = append(b, byte(part.State))
		b = appendBytes(b, part.Reason)
	}
	return b
}

// DecodePayment reads the row of a payment.
func DecodePayment(b []byte) (Payment, error) {
	c := cursor{b: b}
	c.version()
	p := Payment{
		ID:       c.u64(),
		Hash:     c.hash(),
		Total:    lnwire.MilliSatoshi(c.u64()),
		Created:  int64(c.u64()),
		Deadline: int64(c.u64()),
		Data:     c.bytes(),
		State:    PaymentState(c.enum("payment state", uint8(PaymentFailed))),
		Preimage: c.hash(),
	}
	const partSize = 4 + 8 + 8 + 4 + 4 + 1 + 4
	seen := make(map[uint32]bool)
	for n := c.count(partSize); n > 0; n-- {
		part := Part{
			Index:   c.u32(),
			Channel: channel.ID(c.u64()),
			Amount:  lnwire.MilliSatoshi(c.u64()),
			Expiry:  c.u32(),
			Secrets: c.bytes(),
			State:   PartState(c.enum("part state", uint8(PartFailed))),
			Reason:  c.bytes(),
		}
		if seen[part.Index] && c.err == nil {
			c.err = fmt.Errorf("part %d twice", part.Index)
		}
		seen[part.Index] = true
		p.Parts = append(p.Parts, part)
	}
	if err := c.end(); err != nil {
		return Payment{}, fmt.Errorf("payment row: %w", err)
	}
	return p, nil
}

func appendBytes(b, v []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
}

// cursor reads a row. The first error stays; what is read after it is zero.
type cursor struct {
	b   []byte
	err error
}

var errShort = errors.New("cut short")

func (c *cursor) take(n int) []byte {
	if c.err != nil {
		return nil
	}
	if n > len(c.b) {
		c.err = errShort
		return nil
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) u8() uint8 {
	if v := c.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if v := c.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if v := c.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (c *cursor) hash() (v [32]byte) {
	copy(v[:], c.take(len(v)))
	return v
}

// bytes copies; nothing gives nil.
func (c *cursor) bytes() []byte {
	n := c.u32()
	if n > maxData && c.err == nil {
		c.err = fmt.Errorf("%d bytes above maximum %d", n, maxData)
	}
	return append([]byte(nil), c.take(int(n))...)
}

// count reads how many items of at least size bytes follow.
func (c *cursor) count(size int) int {
	v := c.take(2)
	if v == nil {
		return 0
	}
	n := int(binary.BigEndian.Uint16(v))
	switch {
	case n > maxParts:
		c.err = fmt.Errorf("%d parts above maximum %d", n, maxParts)
	case n*size > len(c.b):
		c.err = errShort
	}
	if c.err != nil {
		return 0
	}
	return n
}

func (c *cursor) enum(name string, last uint8) uint8 {
	v := c.u8()
	if v > last && c.err == nil {
		c.err = fmt.Errorf("%s %d unknown", name, v)
	}
	return v
}

func (c *cursor) version() {
	if v := c.u8(); v != rowVersion && c.err == nil {
		c.err = fmt.Errorf("version %d is not %d", v, rowVersion)
	}
}

func (c *cursor) end() error {
	if c.err == nil && len(c.b) > 0 {
		c.err = fmt.Errorf("%d bytes too many", len(c.b))
	}
	return c.err
}
