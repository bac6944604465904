package channel

import (
	"encoding/binary"
	"errors"
	"fmt"

	"lightningrod/channel/commitment"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Every encoding begins with this byte.
const encodingVersion = 1

// coreVersion is that of the core row. 1 knew no channel on chain.
const coreVersion = 2

var errShort = errors.New("too short")

// cursor reads a binary encoding: big-endian, everything of variable length behind its length. After an error it only
// gives zeros, so that a decoder can check once at the end.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) take(n int) []byte {
	if c.err == nil && (n < 0 || n > len(c.b)) {
		c.err = errShort
	}
	if c.err != nil {
		return nil
	}
	out := c.b[:n:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) uint8() uint8 {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if b := c.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if b := c.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) uint64() uint64 {
	if b := c.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// sat reads an amount in satoshi, none above all there is.
func (c *cursor) sat() int64 {
	v := c.uint64()
	if v > maxMoney {
		c.fail("amount %d sat is more than there is", v)
		return 0
	}
	return int64(v)
}

func (c *cursor) msat() lnwire.MilliSatoshi { return lnwire.MilliSatoshi(c.uint64()) }

func (c *cursor) bool() bool {
	switch v := c.uint8(); v {
	case 0, 1:
		return v == 1
	default:
		c.fail("%d is not a bool", v)
		return false
	}
}

// bytes reads what appendBytes wrote: a copy, nil if there are none.
func (c *cursor) bytes() []byte {
	n := c.uint32()
	if uint64(n) > uint64(len(c.b)) {
		c.err = errors.Join(c.err, errShort)
		return nil
	}
	return own(c.take(int(n)))
}

func (c *cursor) array(into []byte) { copy(into, c.take(len(into))) }

func (c *cursor) version() {
	if v := c.uint8(); c.err == nil && v != encodingVersion {
		c.fail("version %d, expected %d", v, encodingVersion)
	}
}

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// end is the error, one if something is left over.
func (c *cursor) end() error {
	if c.err == nil && len(c.b) != 0 {
		c.fail("%d bytes left over", len(c.b))
	}
	return c.err
}

func appendBytes(b, v []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
	return append(b, v...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

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
	b = appendBytes(b, h.PathKey)
	b = appendBytes(b, h.TLVs)
	return appendOrigin(b, h.Origin)
}

// DecodeHTLC reads what EncodeHTLC wrote.
func DecodeHTLC(b []byte) (HTLC, error) {
	c := &cursor{b: b}
	var h HTLC
	c.version()
	h.Key = Key{Channel: ID(c.uint64()), HTLC: c.uint64()}
	h.Amount = c.msat()
	c.array(h.Hash[:])
	h.Expiry = c.uint32()
	c.array(h.Onion[:])
	if h.PathKey = c.bytes(); len(h.PathKey) != 0 && len(h.PathKey) != 33 {
		c.fail("path_key of %d bytes", len(h.PathKey))
	}
	h.TLVs = c.bytes()
	h.Origin = c.origin()
	if err := c.end(); err != nil {
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
	switch kind := c.uint8(); kind {
	case originNone:
		return nil
	case originForward:
		return Forward{In: Key{Channel: ID(c.uint64()), HTLC: c.uint64()}}
	case originPayment:
		return Payment{ID: c.uint64(), Part: c.uint32()}
	default:
		c.fail("unknown origin %d", kind)
		return nil
	}
}

// EncodeOrigin encodes an origin: the key of a row of table settled.
func EncodeOrigin(o Origin) []byte { return appendOrigin([]byte{encodingVersion}, o) }

// DecodeOrigin reads what EncodeOrigin wrote.
func DecodeOrigin(b []byte) (Origin, error) {
	c := &cursor{b: b}
	c.version()
	o := c.origin()
	if err := c.end(); err != nil {
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
		return appendBytes(b, o.TLVs)
	case Fail:
		b = append(b, outcomeFail)
		b = appendBytes(b, o.Reason)
		return appendBytes(b, o.TLVs)
	case Malformed:
		b = append(b, outcomeMalformed)
		b = binary.BigEndian.AppendUint16(b, o.Code)
		return append(b, o.OnionHash[:]...)
	}
	return append(b, outcomeNone)
}

func (c *cursor) outcome() Outcome {
	switch kind := c.uint8(); kind {
	case outcomeNone:
		return nil
	case outcomeFulfill:
		var f Fulfill
		c.array(f.Preimage[:])
		f.TLVs = c.bytes()
		return f
	case outcomeFail:
		return Fail{Reason: c.bytes(), TLVs: c.bytes()}
	case outcomeMalformed:
		m := Malformed{Code: c.uint16()}
		c.array(m.OnionHash[:])
		return m
	default:
		c.fail("unknown outcome %d", kind)
		return nil
	}
}

// EncodeOutcome encodes an outcome: the value of a row of table settled.
func EncodeOutcome(o Outcome) []byte { return appendOutcome([]byte{encodingVersion}, o) }

// DecodeOutcome reads what EncodeOutcome wrote.
func DecodeOutcome(b []byte) (Outcome, error) {
	c := &cursor{b: b}
	c.version()
	o := c.outcome()
	if err := c.end(); err != nil {
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
		b = appendBool(b, h.Offered)
		b = binary.BigEndian.AppendUint64(b, uint64(h.Amount))
		b = append(b, h.Hash[:]...)
		b = binary.BigEndian.AppendUint32(b, h.Expiry)
	}
	return b
}

// DecodeRevoked reads what EncodeRevoked wrote. Offered: by the peer, whose commitment it was.
func DecodeRevoked(b []byte) ([]commitment.HTLC, error) {
	c := &cursor{b: b}
	c.version()
	n := c.uint32()
	if c.err == nil && uint64(n)*revokedHTLCSize != uint64(len(c.b)) {
		c.fail("%d htlcs in %d bytes", n, len(c.b))
	}
	if c.err != nil {
		return nil, fmt.Errorf("revoked: %w", c.err)
	}
	hs := make([]commitment.HTLC, n)
	for i := range hs {
		h := &hs[i]
		h.ID, h.Offered, h.Amount = c.uint64(), c.bool(), c.msat()
		c.array(h.Hash[:])
		h.Expiry = c.uint32()
	}
	if err := c.end(); err != nil {
		return nil, fmt.Errorf("revoked: %w", err)
	}
	return hs, nil
}
