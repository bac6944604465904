package channel

import (
	"encoding/binary"
	"fmt"

	"lightningrod/chain/octets"
	"lightningrod/channel/commitment"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Every encoding begins with this byte.
const encodingVersion = 2

// cursor reads an encoding of this package.
type cursor struct{ octets.Reader }

// sat reads an amount in satoshi, none above all there is.
func (c *cursor) sat() int64 {
	v := c.Uint64()
	if v > maxMoney {
		c.Fail("amount %d sat is more than there is", v)
		return 0
	}
	return int64(v)
}

func (c *cursor) msat() lnwire.MilliSatoshi { return lnwire.MilliSatoshi(c.Uint64()) }

func (c *cursor) version() { c.Version(encodingVersion) }

// EncodeHTLC encodes the body of an HTLC with its origin.
func EncodeHTLC(h *HTLC) []byte {
	b := make([]byte, 0, 1500+len(h.TLVs))
	b = append(b, encodingVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Key.Channel))
	b = binary.BigEndian.AppendUint64(b, h.Key.HTLC)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Amount))
	b = append(b, h.Hash[:]...)
	b = binary.BigEndian.AppendUint32(b, h.Expiry)
	b = append(b, h.Onion[:]...)
	b = octets.AppendBytes(b, h.PathKey)
	b = octets.AppendBytes(b, h.TLVs)
	b = binary.BigEndian.AppendUint32(b, h.Back)
	return appendOrigin(b, h.Origin)
}

// DecodeHTLC reads what EncodeHTLC wrote.
func DecodeHTLC(b []byte) (HTLC, error) {
	c := &cursor{octets.Of(b)}
	var h HTLC
	c.version()
	h.Key = Key{Channel: ID(c.Uint64()), HTLC: c.Uint64()}
	h.Amount = c.msat()
	c.Array(h.Hash[:])
	h.Expiry = c.Uint32()
	c.Array(h.Onion[:])
	if h.PathKey = c.Bytes(); len(h.PathKey) != 0 && len(h.PathKey) != 33 {
		c.Fail("path_key of %d bytes", len(h.PathKey))
	}
	h.TLVs = c.Bytes()
	if h.Back = c.Uint32(); h.Back >= maxExpiry {
		c.Fail("height %d is a time", h.Back)
	}
	h.Origin = c.origin()
	if err := c.End(); err != nil {
		return HTLC{}, fmt.Errorf("htlc: %w", err)
	}
	return h, nil
}

const (
	originNone = iota
	originForward
	originPayment
)

func appendOrigin(b []byte, o Origin) []byte {
	switch o := o.(type) {
	case Forward:
		b = append(b, originForward)
		b = binary.BigEndian.AppendUint64(b, uint64(o.In.Channel))
		return binary.BigEndian.AppendUint64(b, o.In.HTLC)
	case Payment:
		b = append(b, originPayment)
		b = binary.BigEndian.AppendUint64(b, o.ID)
		return binary.BigEndian.AppendUint32(b, o.Part)
	}
	return append(b, originNone)
}

func (c *cursor) origin() Origin {
	switch kind := c.Uint8(); kind {
	case originNone:
		return nil
	case originForward:
		return Forward{In: Key{Channel: ID(c.Uint64()), HTLC: c.Uint64()}}
	case originPayment:
		return Payment{ID: c.Uint64(), Part: c.Uint32()}
	default:
		c.Fail("unknown origin %d", kind)
		return nil
	}
}

// EncodeOrigin encodes an origin: the key of a row of table settled.
func EncodeOrigin(o Origin) []byte { return appendOrigin([]byte{encodingVersion}, o) }

// DecodeOrigin reads what EncodeOrigin wrote.
func DecodeOrigin(b []byte) (Origin, error) {
	c := &cursor{octets.Of(b)}
	c.version()
	o := c.origin()
	if err := c.End(); err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	return o, nil
}

const (
	outcomeNone = iota
	outcomeFulfill
	outcomeFail
	outcomeMalformed
)

func appendOutcome(b []byte, o Outcome) []byte {
	switch o := o.(type) {
	case Fulfill:
		b = append(b, outcomeFulfill)
		b = append(b, o.Preimage[:]...)
		return octets.AppendBytes(b, o.TLVs)
	case Fail:
		b = append(b, outcomeFail)
		b = octets.AppendBytes(b, o.Reason)
		return octets.AppendBytes(b, o.TLVs)
	case Malformed:
		b = append(b, outcomeMalformed)
		b = binary.BigEndian.AppendUint16(b, o.Code)
		return append(b, o.OnionHash[:]...)
	}
	return append(b, outcomeNone)
}

func (c *cursor) outcome() Outcome {
	switch kind := c.Uint8(); kind {
	case outcomeNone:
		return nil
	case outcomeFulfill:
		var f Fulfill
		c.Array(f.Preimage[:])
		f.TLVs = c.Bytes()
		return f
	case outcomeFail:
		return Fail{Reason: c.Bytes(), TLVs: c.Bytes()}
	case outcomeMalformed:
		m := Malformed{Code: c.Uint16()}
		c.Array(m.OnionHash[:])
		return m
	default:
		c.Fail("unknown outcome %d", kind)
		return nil
	}
}

// EncodeOutcome encodes an outcome: the value of a row of table settled.
func EncodeOutcome(o Outcome) []byte { return appendOutcome([]byte{encodingVersion}, o) }

// DecodeOutcome reads what EncodeOutcome wrote.
func DecodeOutcome(b []byte) (Outcome, error) {
	c := &cursor{octets.Of(b)}
	c.version()
	o := c.outcome()
	if err := c.End(); err != nil {
		return nil, fmt.Errorf("outcome: %w", err)
	}
	return o, nil
}

const revokedHTLCSize = 8 + 1 + 8 + 32 + 4

// EncodeRevoked encodes the HTLCs of a revoked commitment of the peer: RevokedRow.Data.
func EncodeRevoked(hs []commitment.HTLC) []byte {
	b := make([]byte, 0, 5+revokedHTLCSize*len(hs))
	b = append(b, encodingVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(len(hs)))
	for _, h := range hs {
		b = binary.BigEndian.AppendUint64(b, h.ID)
		b = octets.AppendBool(b, h.Offered)
		b = binary.BigEndian.AppendUint64(b, uint64(h.Amount))
		b = append(b, h.Hash[:]...)
		b = binary.BigEndian.AppendUint32(b, h.Expiry)
	}
	return b
}

// DecodeRevoked reads what EncodeRevoked wrote. Offered: by the peer, whose commitment it was.
func DecodeRevoked(b []byte) ([]commitment.HTLC, error) {
	c := &cursor{octets.Of(b)}
	c.version()
	n := c.Uint32()
	if c.Err == nil && uint64(n)*revokedHTLCSize != uint64(len(c.Buf)) {
		c.Fail("%d htlcs in %d bytes", n, len(c.Buf))
	}
	if c.Err != nil {
		return nil, fmt.Errorf("revoked: %w", c.Err)
	}
	hs := make([]commitment.HTLC, n)
	for i := range hs {
		h := &hs[i]
		h.ID, h.Offered, h.Amount = c.Uint64(), c.Bool(), c.msat()
		c.Array(h.Hash[:])
		h.Expiry = c.Uint32()
	}
	if err := c.End(); err != nil {
		return nil, fmt.Errorf("revoked: %w", err)
	}
	return hs, nil
}
