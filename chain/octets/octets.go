// Package octets reads what the other packages encode: fields one after the other, big-endian, everything of variable length behind its
// length. A Reader remembers its first error and gives zeros from then on, so that a decoder reads all its fields and looks for
// an error once, at the end. Nothing is allocated before its length has been checked against what is there.
package octets

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Reader takes fields off the front of Buf. Decoders embed it and add the fields of their own.
type Reader struct {
	Buf []byte // what is left
	Err error  // the first error
}

// Of reads b, and shares its memory.
func Of(b []byte) Reader { return Reader{Buf: b} }

// Fail sets the error, unless there is one.
func (r *Reader) Fail(format string, args ...any) {
	if r.Err == nil {
		r.Err = fmt.Errorf(format, args...)
	}
}

// Take takes n bytes, which share the memory of Buf; nil after an error.
func (r *Reader) Take(n uint64) []byte {
	if r.Err == nil && n > uint64(len(r.Buf)) {
		r.Fail("too short: %d bytes wanted, %d left", n, len(r.Buf))
	}
	if r.Err != nil {
		return nil
	}
	front := r.Buf[:n:n]
	r.Buf = r.Buf[n:]
	return front
}

// Rest takes all that is left.
func (r *Reader) Rest() []byte { return r.Take(uint64(len(r.Buf))) }

// Uint takes an integer of size bytes, 8 at most.
func (r *Reader) Uint(size uint64) (v uint64) {
	for _, b := range r.Take(size) {
		v = v<<8 | uint64(b)
	}
	return v
}

func (r *Reader) Uint8() uint8   { return uint8(r.Uint(1)) }
func (r *Reader) Uint16() uint16 { return uint16(r.Uint(2)) }
func (r *Reader) Uint32() uint32 { return uint32(r.Uint(4)) }
func (r *Reader) Uint64() uint64 { return r.Uint(8) }

// Bool takes a byte that is 0 or 1.
func (r *Reader) Bool() bool { return r.Enum("bool", 1) == 1 }

// Bools takes one bool for each place.
func (r *Reader) Bools(into ...*bool) {
	for _, v := range into {
		*v = r.Bool()
	}
}

// Enum takes a byte that is last at most; name is for the error.
func (r *Reader) Enum(name string, last uint8) uint8 {
	v := r.Uint8()
	if v > last {
		r.Fail("%s %d above maximum %d", name, v, last)
		return 0
	}
	return v
}

// Version takes the byte that an encoding begins with.
func (r *Reader) Version(want uint8) {
	if v := r.Uint8(); r.Err == nil && v != want {
		r.Fail("version %d, expected %d", v, want)
	}
}

// Array fills an array.
func (r *Reader) Array(into []byte) { copy(into, r.Take(uint64(len(into)))) }

// Hash takes 32 bytes.
func (r *Reader) Hash() (h [32]byte) {
	r.Array(h[:])
	return h
}

// Bytes takes bytes behind their uint32 length: a copy, nil if there are none.
func (r *Reader) Bytes() []byte {
	b := r.Take(uint64(r.Uint32()))
	if len(b) == 0 {
		return nil
	}
	return bytes.Clone(b)
}

// Count takes the uint32 count of things of size bytes or more each, and fails if they cannot all be there.
func (r *Reader) Count(size int) int {
	n := r.Uint32()
	if uint64(n)*uint64(size) > uint64(len(r.Buf)) {
		r.Fail("%d items of %d bytes or more in %d bytes", n, size, len(r.Buf))
	}
	if r.Err != nil {
		return 0
	}
	return int(n)
}

// BigSize takes the variable-length integer of BOLT 1 "Appendix A: BigSize Test Vectors" and refuses one that is longer than need be.
func (r *Reader) BigSize() uint64 {
	first := r.Uint8()
	if first < 0xfd {
		return uint64(first)
	}
	size := uint64(2) << (first - 0xfd)
	least := uint64(0xfd)
	if size > 2 {
		least = 1 << (4 * size)
	}
	v := r.Uint(size)
	if v < least {
		r.Fail("%d in %d bytes is not minimally encoded", v, 1+size)
		return 0
	}
	return v
}

// End is the error, one if something is left.
func (r *Reader) End() error {
	if len(r.Buf) > 0 {
		r.Fail("%d bytes left over", len(r.Buf))
	}
	return r.Err
}

// AppendBytes writes what Bytes reads.
func AppendBytes(b, v []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
}

// AppendBool writes what Bool reads.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendBigSize writes what BigSize reads.
func AppendBigSize(b []byte, v uint64) []byte {
	switch {
	case v < 0xfd:
		return append(b, byte(v))
	case v < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 0xfd), uint16(v))
	case v < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, 0xfe), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xff), v)
}
