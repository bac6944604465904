package rod

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/btcsuite/btcd/btcec/v2"
)

// record is one record of a TLV stream.
type record struct {
	typ   uint64
	value []byte
	start int // where in the stream its type begins
}

// readStream splits a TLV stream. BOLT 1 "Type-Length-Value Format": types strictly increase, types and lengths are minimal
// BigSizes, nothing is left over. The values are parts of b.
func readStream(b []byte) ([]record, error) {
	var out []record
	for at := 0; at < len(b); {
		r := record{start: at}
		var n uint64
		var err error
		if r.typ, at, err = readBigSize(b, at); err != nil {
			return nil, fmt.Errorf("tlv type: %w", err)
		}
		if len(out) > 0 && r.typ <= out[len(out)-1].typ {
			return nil, fmt.Errorf("tlv type %d not above %d", r.typ, out[len(out)-1].typ)
		}
		if n, at, err = readBigSize(b, at); err != nil {
			return nil, fmt.Errorf("tlv length of type %d: %w", r.typ, err)
		}
		if n > uint64(len(b)-at) {
			return nil, fmt.Errorf("tlv length %d of type %d above the %d bytes left", n, r.typ, len(b)-at)
		}
		r.value = b[at : at+int(n)]
		at += int(n)
		out = append(out, r)
	}
	return out, nil
}

// readBigSize reads the BigSize at b[at:] and gives the place behind it.
func readBigSize(b []byte, at int) (uint64, int, error) {
	if at >= len(b) {
		return 0, 0, errors.New("bigsize missing")
	}
	size, least := 0, uint64(0)
	switch b[at] {
	default:
		return uint64(b[at]), at + 1, nil
	case 0xfd:
		size, least = 2, 0xfd
	case 0xfe:
		size, least = 4, 1<<16
	case 0xff:
		size, least = 8, 1<<32
	}
	at++
	if len(b)-at < size {
		return 0, 0, errors.New("bigsize cut short")
	}
	v := readUint(b[at : at+size])
	if v < least {
		return 0, 0, fmt.Errorf("bigsize %d not minimal", v)
	}
	return v, at + size, nil
}

func appendBigSize(b []byte, v uint64) []byte {
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

func appendRecord(b []byte, typ uint64, value []byte) []byte {
	b = appendBigSize(b, typ)
	b = appendBigSize(b, uint64(len(value)))
	return append(b, value...)
}

// readUint reads up to eight big-endian bytes.
func readUint(b []byte) uint64 {
	var v uint64
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

// field is one line of a message's table: its type, whether it must be there, and the value it is read into or written from.
type field struct {
	typ  uint64
	must bool
	v    value
}

// value is how one kind of field is coded. An empty value that need not be there is left out.
type value interface {
	empty() bool
	appendTo(b []byte) []byte
	parse(b []byte) error
}

func encodeFields(fields []field) []byte {
	var b []byte
	for _, f := range fields {
		if f.must || !f.v.empty() {
			b = appendRecord(b, f.typ, f.v.appendTo(nil))
		}
	}
	return b
}

// decodeFields reads a stream into fields, which stand in order of type. BOLT 1: an unknown even type is refused, an unknown odd one skipped.
func decodeFields(stream []byte, fields []field) error {
	records, err := readStream(stream)
	if err != nil {
		return err
	}
	for _, f := range fields {
		for len(records) > 0 && records[0].typ < f.typ {
			if err := skip(records[0]); err != nil {
				return err
			}
			records = records[1:]
		}
		if len(records) == 0 || records[0].typ != f.typ {
			if f.must {
				return fmt.Errorf("field %d missing", f.typ)
			}
			continue
		}
		if err := f.v.parse(records[0].value); err != nil {
			return fmt.Errorf("field %d: %w", f.typ, err)
		}
		records = records[1:]
	}
	for _, r := range records {
		if err := skip(r); err != nil {
			return err
		}
	}
	return nil
}

func skip(r record) error {
	if r.typ%2 == 0 {
		return fmt.Errorf("unknown even type %d", r.typ)
	}
	return nil
}

// The kinds of value.
type (
	versionField struct{}
	u8Field      struct{ p *uint8 }
	truncated    struct { // tu16, tu32, tu64: big-endian without leading zeros
		p    *uint64
		size int
	}
	fixed struct { // a fixed number of bytes
		p    []byte
		zero bool // all zeros are refused
	}
	pointField  struct{ p *NodeID }
	hashesField struct{ p *[][32]byte }
	bytesField  struct {
		p   *[]byte
		max int
	}
)

const version = 1

func (versionField) empty() bool              { return false }
func (versionField) appendTo(b []byte) []byte { return append(b, version) }
func (versionField) parse(b []byte) error {
	if len(b) != 1 || b[0] != version {
		return fmt.Errorf("version %x is not %d", b[:min(len(b), 4)], version)
	}
	return nil
}

func (f u8Field) empty() bool              { return false }
func (f u8Field) appendTo(b []byte) []byte { return append(b, *f.p) }
func (f u8Field) parse(b []byte) error {
	if len(b) != 1 {
		return fmt.Errorf("length %d is not 1", len(b))
	}
	*f.p = b[0]
	return nil
}

func (f truncated) empty() bool { return *f.p == 0 }
func (f truncated) appendTo(b []byte) []byte {
	for n := (bits.Len64(*f.p) + 7) / 8; n > 0; n-- {
		b = append(b, byte(*f.p>>(8*(n-1))))
	}
	return b
}
func (f truncated) parse(b []byte) error {
	if len(b) > f.size {
		return fmt.Errorf("length %d above maximum %d", len(b), f.size)
	}
	if len(b) > 0 && b[0] == 0 {
		return errors.New("truncated integer has leading zeros")
	}
	*f.p = readUint(b)
	return nil
}

func (f fixed) empty() bool {
	for _, c := range f.p {
		if c != 0 {
			return false
		}
	}
	return true
}
func (f fixed) appendTo(b []byte) []byte { return append(b, f.p...) }
func (f fixed) parse(b []byte) error {
	if len(b) != len(f.p) {
		return fmt.Errorf("length %d is not %d", len(b), len(f.p))
	}
	copy(f.p, b)
	if f.zero && f.empty() {
		return errors.New("all zeros")
	}
	return nil
}

func (f pointField) empty() bool              { return *f.p == NodeID{} }
func (f pointField) appendTo(b []byte) []byte { return append(b, f.p[:]...) }
func (f pointField) parse(b []byte) error {
	if len(b) != len(f.p) {
		return fmt.Errorf("length %d is not %d", len(b), len(f.p))
	}
	if _, err := btcec.ParsePubKey(b); err != nil {
		return errors.New("not a point")
	}
	copy(f.p[:], b)
	return nil
}

// maxHashes bounds payment_hashes.
const maxHashes = 20

func (f hashesField) empty() bool { return len(*f.p) == 0 }
func (f hashesField) appendTo(b []byte) []byte {
	for _, h := range *f.p {
		b = append(b, h[:]...)
	}
	return b
}
func (f hashesField) parse(b []byte) error {
	if len(b) == 0 || len(b)%32 != 0 || len(b)/32 > maxHashes {
		return fmt.Errorf("length %d is not 1 to %d hashes of 32 bytes", len(b), maxHashes)
	}
	seen := make(map[[32]byte]bool, len(b)/32)
	for ; len(b) > 0; b = b[32:] {
		h := [32]byte(b[:32])
		if seen[h] {
			return errors.New("a hash stands twice")
		}
		seen[h] = true
		*f.p = append(*f.p, h)
	}
	return nil
}

func (f bytesField) empty() bool              { return len(*f.p) == 0 }
func (f bytesField) appendTo(b []byte) []byte { return append(b, *f.p...) }
func (f bytesField) parse(b []byte) error {
	if len(b) > f.max {
		return fmt.Errorf("length %d above maximum %d", len(b), f.max)
	}
	*f.p = append([]byte(nil), b...)
	return nil
}
