package forward

import (
	"encoding/binary"
	"fmt"

	"lightningrod/chain/octets"
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
	b = octets.AppendBytes(b, i.Data)
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
	c := cursor{octets.Of(b)}
	c.version()
	i := Invoice{
		Hash:         c.Hash(),
		Preimage:     c.Hash(),
		Secret:       c.Hash(),
		Amount:       lnwire.MilliSatoshi(c.Uint64()),
		Expiry:       int64(c.Uint64()),
		MinFinalCltv: c.Uint32(),
		State:        InvoiceState(c.Enum("invoice state", uint8(InvoiceCancelled))),
		Data:         c.bytes(),
		Received:     lnwire.MilliSatoshi(c.Uint64()),
		PaidAt:       int64(c.Uint64()),
	}
	const partSize = 8 + 8 + 8
	for n := c.count(partSize); n > 0; n-- {
		i.Parts = append(i.Parts, InvoicePart{
			Key:    channel.Key{Channel: channel.ID(c.Uint64()), HTLC: c.Uint64()},
			Amount: lnwire.MilliSatoshi(c.Uint64()),
		})
	}
	if err := c.End(); err != nil {
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
	b = octets.AppendBytes(b, p.Data)
	b = append(b, byte(p.State))
	b = append(b, p.Preimage[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.Parts)))
	for _, part := range p.Parts {
		b = binary.BigEndian.AppendUint32(b, part.Index)
		b = binary.BigEndian.AppendUint64(b, uint64(part.Channel))
		b = binary.BigEndian.AppendUint64(b, uint64(part.Amount))
		b = binary.BigEndian.AppendUint32(b, part.Expiry)
		b = octets.AppendBytes(b, part.Secrets)
		b = append(b, byte(part.State))
		b = octets.AppendBytes(b, part.Reason)
	}
	return b
}

// DecodePayment reads the row of a payment.
func DecodePayment(b []byte) (Payment, error) {
	c := cursor{octets.Of(b)}
	c.version()
	p := Payment{
		ID:       c.Uint64(),
		Hash:     c.Hash(),
		Total:    lnwire.MilliSatoshi(c.Uint64()),
		Created:  int64(c.Uint64()),
		Deadline: int64(c.Uint64()),
		Data:     c.bytes(),
		State:    PaymentState(c.Enum("payment state", uint8(PaymentFailed))),
		Preimage: c.Hash(),
	}
	const partSize = 4 + 8 + 8 + 4 + 4 + 1 + 4
	seen := make(map[uint32]bool)
	for n := c.count(partSize); n > 0; n-- {
		part := Part{
			Index:   c.Uint32(),
			Channel: channel.ID(c.Uint64()),
			Amount:  lnwire.MilliSatoshi(c.Uint64()),
			Expiry:  c.Uint32(),
			Secrets: c.bytes(),
			State:   PartState(c.Enum("part state", uint8(PartFailed))),
			Reason:  c.bytes(),
		}
		if seen[part.Index] {
			c.Fail("part %d twice", part.Index)
		}
		seen[part.Index] = true
		p.Parts = append(p.Parts, part)
	}
	if err := c.End(); err != nil {
		return Payment{}, fmt.Errorf("payment row: %w", err)
	}
	return p, nil
}

// cursor reads a row.
type cursor struct{ octets.Reader }

// bytes reads data of a bounded length: a copy, nil if there is none.
func (c *cursor) bytes() []byte {
	b := c.Bytes()
	if len(b) > maxData {
		c.Fail("%d bytes above maximum %d", len(b), maxData)
		return nil
	}
	return b
}

// count reads how many parts of at least size bytes follow.
func (c *cursor) count(size int) int {
	n := int(c.Uint16())
	switch {
	case n > maxParts:
		c.Fail("%d parts above maximum %d", n, maxParts)
	case n*size > len(c.Buf):
		c.Fail("%d parts of %d bytes or more in %d bytes", n, size, len(c.Buf))
	}
	if c.Err != nil {
		return 0
	}
	return n
}

func (c *cursor) version() { c.Version(rowVersion) }
