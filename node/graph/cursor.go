package graph

import (
	"encoding/binary"
	"fmt"
)

// cursor reads fields in order. After the first field that does not fit, err is set and everything read is zero.
type cursor struct {
	rest []byte
	err  error
}

func (c *cursor) take(field string, n int) []byte {
	if c.err != nil {
		return nil
	}
	if n > len(c.rest) {
		c.err = fmt.Errorf("%s: %d bytes needed, %d left", field, n, len(c.rest))
		return nil
	}
	taken := c.rest[:n:n]
	c.rest = c.rest[n:]
	return taken
}

func (c *cursor) fixed(field string, to []byte) { copy(to, c.take(field, len(to))) }

func (c *cursor) u8(field string) uint8 {
	if b := c.take(field, 1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) u16(field string) uint16 {
	if b := c.take(field, 2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) u32(field string) uint32 {
	if b := c.take(field, 4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) u64(field string) uint64 {
	if b := c.take(field, 8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// bigSize reads BOLT 1's variable-length integer, which has one encoding for each value.
func (c *cursor) bigSize(field string) uint64 {
	var v, least uint64
	switch first := c.u8(field); first {
	case 0xfd:
		v, least = uint64(c.u16(field)), 0xfd
	case 0xfe:
		v, least = uint64(c.u32(field)), 0x1_0000
	case 0xff:
		v, least = c.u64(field), 0x1_0000_0000
	default:
		return uint64(first)
	}
	if c.err == nil && v < least {
		c.err = fmt.Errorf("%s: %d is not minimally encoded", field, v)
		return 0
	}
	return v
}

func appendBigSize(b []byte, v uint64) []byte {
	switch {
	case v < 0xfd:
		return append(b, byte(v))
	case v < 0x1_0000:
		return binary.BigEndian.AppendUint16(append(b, 0xfd), uint16(v))
	case v < 0x1_0000_0000:
		return binary.BigEndian.AppendUint32(append(b, 0xfe), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xff), v)
}

// tlvs reads a TLV stream to the end of the message (BOLT 1 "Type-Length-Value Format"): types ascend, known ones are
// handed to their reader, unknown even ones are an error, unknown odd ones are skipped.
func (c *cursor) tlvs(known map[uint64]func(value *cursor)) {
	last, first := uint64(0), true
	for c.err == nil && len(c.rest) > 0 {
		t := c.bigSize("tlv type")
		n := c.bigSize("tlv length")
		if c.err == nil && !first && t <= last {
			c.err = fmt.Errorf("tlv type %d after %d", t, last)
		}
		last, first = t, false
		if c.err == nil && n > uint64(len(c.rest)) {
			c.err = fmt.Errorf("tlv %d: length %d, %d bytes left", t, n, len(c.rest))
		}
		value := cursor{rest: c.take("tlv value", int(n))}
		if c.err != nil {
			return
		}
		read, ok := known[t]
		switch {
		case ok:
			read(&value)
			if value.err == nil && len(value.rest) > 0 {
				value.err = fmt.Errorf("%d bytes too many", len(value.rest))
			}
			if value.err != nil {
				c.err = fmt.Errorf("tlv %d: %w", t, value.err)
			}
		case t%2 == 0:
			c.err = fmt.Errorf("tlv %d is even and unknown", t)
		}
	}
}

func appendTLV(b []byte, t uint64, value []byte) []byte {
	return append(appendBigSize(appendBigSize(b, t), uint64(len(value))), value...)
}
