package onion

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Record is one record of a TLV stream (BOLT 1 "Type-Length-Value Format").
type Record struct {
	Type  uint64
	Value []byte
}

// StreamError says what is wrong with a TLV stream. Type is the type of the record at fault, 0 if it could not be read,
// and Offset the place of that record in the stream.
type StreamError struct {
	Type   uint64
	Offset int
	Text   string
}

func (e *StreamError) Error() string {
	return fmt.Sprintf("tlv type %d at offset %d: %s", e.Type, e.Offset, e.Text)
}

// ParseRecords splits a TLV stream into its records: types and lengths minimally encoded, types strictly increasing,
// nothing left over. It knows no types, so it refuses none. Values share the memory of the stream.
func ParseRecords(stream []byte) ([]Record, error) {
	var records []Record
	err := scan(stream, func(r Record, _ int) *StreamError {
		records = append(records, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return records, nil
}

// EncodeRecords is the inverse of ParseRecords. It refuses types that are not strictly increasing.
func EncodeRecords(records []Record) ([]byte, error) {
	size := 0
	for i, r := range records {
		if i > 0 && r.Type <= records[i-1].Type {
			return nil, fmt.Errorf("tlv type %d after %d: types must increase", r.Type, records[i-1].Type)
		}
		size += recordSize(r.Type, len(r.Value))
	}
	stream := make([]byte, 0, size)
	for _, r := range records {
		stream = AppendRecord(stream, r.Type, r.Value)
	}
	return stream, nil
}

// AppendRecord appends one record to a stream. That its type is above those before it is the caller's to see to.
func AppendRecord(stream []byte, typ uint64, value []byte) []byte {
	stream = appendBigSize(stream, typ)
	stream = appendBigSize(stream, uint64(len(value)))
	return append(stream, value...)
}

// encodeSorted encodes records given in any order. A type that is there twice is refused.
func encodeSorted(records []Record) ([]byte, error) {
	slices.SortStableFunc(records, func(a, b Record) int {
		switch {
		case a.Type < b.Type:
			return -1
		case a.Type > b.Type:
			return 1
		}
		return 0
	})
	return EncodeRecords(records)
}

// scan calls visit for each record and its offset, in order, and stops at the first error, its own or visit's.
func scan(stream []byte, visit func(r Record, offset int) *StreamError) error {
	c := cursor{b: stream}
	var last uint64
	for first := true; len(c.b) > 0; first = false {
		offset := len(stream) - len(c.b)
		typ := c.bigSize()
		if c.bad != "" {
			return &StreamError{0, offset, "type " + c.bad}
		}
		if !first && typ <= last {
			return &StreamError{typ, offset, fmt.Sprintf("not above the type before it, %d", last)}
		}
		last = typ
		length := c.bigSize()
		if c.bad != "" {
			return &StreamError{typ, offset, "length " + c.bad}
		}
		if length > uint64(len(c.b)) {
			return &StreamError{typ, offset, fmt.Sprintf("length %d exceeds the %d bytes that follow", length, len(c.b))}
		}
		if err := visit(Record{typ, c.bytes(int(length))}, offset); err != nil {
			return err
		}
	}
	return nil
}

// has says whether a record of the type stands in the stream, as far as the stream can be read.
func has(stream []byte, typ uint64) bool {
	found := false
	_ = scan(stream, func(r Record, _ int) *StreamError {
		found = found || r.Type == typ
		return nil
	})
	return found
}

// fields are the types that a namespace knows, and how each is read into a T. A reader consumes the whole value;
// what it leaves, or misses, is an error.
type fields[T any] map[uint64]func(*T, *cursor)

// decode reads a stream of the namespace into t and returns the records of unknown odd types. Unknown even types are
// refused (BOLT 1 "Type-Length-Value Format"), but for those listed, which are returned with the odd ones.
func (known fields[T]) decode(stream []byte, t *T, even ...uint64) (unknown []Record, err error) {
	err = scan(stream, func(r Record, offset int) *StreamError {
		read, ok := known[r.Type]
		switch {
		case !ok && r.Type%2 == 0 && !slices.Contains(even, r.Type):
			return &StreamError{r.Type, offset, "unknown even type"}
		case !ok:
			unknown = append(unknown, r)
			return nil
		}
		c := cursor{b: r.Value}
		read(t, &c)
		if c.end(); c.bad != "" {
			return &StreamError{r.Type, offset, "value " + c.bad}
		}
		return nil
	})
	return unknown, err
}

// checkCustom refuses custom records that a reader would refuse, or take for a field.
func (known fields[T]) checkCustom(custom []Record) error {
	for _, r := range custom {
		if _, ok := known[r.Type]; ok || r.Type%2 == 0 {
			return fmt.Errorf("custom tlv type %d is even or a field of its own", r.Type)
		}
	}
	return nil
}

// maxMilliSatoshi is 21 million bitcoin, the bound BOLT 1 "Fundamental Types" sets to amounts in truncated integers.
const maxMilliSatoshi = 0x1d24b2dfac520000

// cursor takes values off the front of b. After the first failure bad says why, and every further value is zero.
type cursor struct {
	b   []byte
	bad string
}

func (c *cursor) fail(format string, args ...any) {
	if c.bad == "" {
		c.bad = fmt.Sprintf(format, args...)
	}
	c.b = nil
}

// end fails if something is left.
func (c *cursor) end() {
	if len(c.b) > 0 {
		c.fail("has %d bytes too many", len(c.b))
	}
}

// bytes takes n bytes; they share the memory of b.
func (c *cursor) bytes(n int) []byte {
	if c.bad != "" {
		return nil
	}
	if n > len(c.b) {
		c.fail("truncated: %d of %d bytes", len(c.b), n)
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

// rest takes what is left. It is nil only after a failure.
func (c *cursor) rest() []byte { return c.bytes(len(c.b)) }

// uint takes a big-endian integer of n <= 8 bytes.
func (c *cursor) uint(n int) uint64 {
	var v uint64
	for _, b := range c.bytes(n) {
		v = v<<8 | uint64(b)
	}
	return v
}

// tuint takes all that is left as a truncated integer of at most max bytes, without leading zeros.
func (c *cursor) tuint(max int) uint64 {
	switch n := len(c.b); {
	case n > max:
		c.fail("is a truncated integer of %d bytes, maximum %d", n, max)
	case n > 0 && c.b[0] == 0:
		c.fail("is a truncated integer with leading zeros")
	}
	return c.uint(len(c.b))
}

func (c *cursor) tu32() uint32 { return uint32(c.tuint(4)) }
func (c *cursor) tu64() uint64 { return c.tuint(8) }

// amount takes all that is left as an amount in msat.
func (c *cursor) amount() lnwire.MilliSatoshi {
	v := c.tu64()
	if v > maxMilliSatoshi {
		c.fail("is %d msat, maximum %d", v, uint64(maxMilliSatoshi))
		return 0
	}
	return lnwire.MilliSatoshi(v)
}

func (c *cursor) hash() (h [32]byte) {
	copy(h[:], c.bytes(32))
	return h
}

// point takes a compressed public key and checks that it is on the curve.
func (c *cursor) point() (p [33]byte) {
	b := c.bytes(33)
	if c.bad != "" {
		return p
	}
	if _, err := btcec.ParsePubKey(b); err != nil {
		c.fail("is no point: prefix %#02x, x not on the curve", b[0])
		return p
	}
	copy(p[:], b)
	return p
}

func (c *cursor) shortChannelID() lnwire.ShortChannelID {
	return lnwire.NewShortChanIDFromInt(c.uint(8))
}

// bigSize takes an integer in the minimal encoding of BOLT 1, appendix A.
func (c *cursor) bigSize() uint64 {
	first := c.uint(1)
	if first < 0xfd {
		return first
	}
	shape := bigSizes[first-0xfd]
	v := c.uint(shape.bytes)
	if c.bad == "" && v < shape.min {
		c.fail("not minimally encoded: %d in %d bytes", v, 1+shape.bytes)
		return 0
	}
	return v
}

// bigSizes are the long forms of a bigsize, led by 0xfd, 0xfe and 0xff.
var bigSizes = [3]struct {
	bytes int
	min   uint64
}{{2, 0xfd}, {4, 1 << 16}, {8, 1 << 32}}

func appendBigSize(b []byte, v uint64) []byte {
	switch bigSizeLen(v) {
	case 1:
		return append(b, byte(v))
	case 3:
		return binary.BigEndian.AppendUint16(append(b, 0xfd), uint16(v))
	case 5:
		return binary.BigEndian.AppendUint32(append(b, 0xfe), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xff), v)
}

func bigSizeLen(v uint64) int {
	n := 1
	for _, shape := range bigSizes {
		if v >= shape.min {
			n = 1 + shape.bytes
		}
	}
	return n
}

func recordSize(typ uint64, length int) int {
	return bigSizeLen(typ) + bigSizeLen(uint64(length)) + length
}

// truncated is v as a truncated integer.
func truncated(v uint64) []byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], v)
	n := 0
	for n < 8 && b[n] == 0 {
		n++
	}
	return b[n:]
}
