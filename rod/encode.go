package rod

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// rowVersion is the first byte of every row's value.
const rowVersion = 1

// cursor reads a row. After the first error every read gives zero.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) bytes(n int) []byte {
	if c.err != nil || n > len(c.b) {
		if c.err == nil {
			c.err = fmt.Errorf("row: %d bytes wanted, %d left", n, len(c.b))
		}
		return nil
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

func (c *cursor) uint(size int) uint64 { return readUint(c.bytes(size)) }

func (c *cursor) version() {
	if v := c.uint(1); c.err == nil && v != rowVersion {
		c.err = fmt.Errorf("row: version %d is not %d", v, rowVersion)
	}
}

func (c *cursor) bool() bool {
	v := c.uint(1)
	if v > 1 && c.err == nil {
		c.err = fmt.Errorf("row: bool is %d", v)
	}
	return v == 1
}

// enum reads a byte that must be at most last.
func (c *cursor) enum(last uint8) uint8 {
	v := uint8(c.uint(1))
	if v > last && c.err == nil {
		c.err = fmt.Errorf("row: %d above maximum %d", v, last)
	}
	return v
}

func (c *cursor) hash() (h [32]byte) {
	copy(h[:], c.bytes(32))
	return h
}

func (c *cursor) node() (n NodeID) {
	copy(n[:], c.bytes(33))
	return n
}

// var reads bytes behind their 32-bit length. Nothing is allocated before the length is checked; no bytes are nil.
func (c *cursor) variable() []byte {
	n := c.uint(4)
	if n > uint64(len(c.b)) {
		n = uint64(len(c.b)) + 1
	}
	b := c.bytes(int(n))
	if len(b) == 0 {
		return nil
	}
	return append([]byte(nil), b...)
}

// hashes reads 1 to maxHashes hashes behind their count.
func (c *cursor) hashes() [][32]byte {
	n := int(c.uint(1))
	if c.err == nil && (n < 1 || n > maxHashes) {
		c.err = fmt.Errorf("row: %d hashes, maximum %d", n, maxHashes)
	}
	var out [][32]byte
	for ; n > 0 && c.err == nil; n-- {
		out = append(out, c.hash())
	}
	return out
}

func (c *cursor) end() error {
	if c.err == nil && len(c.b) > 0 {
		c.err = fmt.Errorf("row: %d bytes too many", len(c.b))
	}
	return c.err
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendVariable(b, v []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
}

func appendHashes(b []byte, hs [][32]byte) []byte {
	b = append(b, byte(len(hs)))
	for _, h := range hs {
		b = append(b, h[:]...)
	}
	return b
}

// Keys of rows.

func (k requestKey) encode() []byte { return append(append([]byte(nil), k.peer[:]...), k.pid[:]...) }

func decodeRequestKey(b []byte) (requestKey, error) {
	if len(b) != 65 {
		return requestKey{}, fmt.Errorf("row: key length %d is not 65", len(b))
	}
	return requestKey{NodeID(b[:33]), [32]byte(b[33:])}, nil
}

func (k HTLCKey) encode() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, k.Channel), k.ID)
}

func decodeHTLCKey(b []byte) (HTLCKey, error) {
	if len(b) != 16 {
		return HTLCKey{}, fmt.Errorf("row: key length %d is not 16", len(b))
	}
	return HTLCKey{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}, nil
}

func (r *request) encode() []byte {
	b := []byte{rowVersion, byte(r.state), byte(r.told)}
	b = append(b, r.content[:]...)
	b = appendHashes(b, r.hashes)
	b = binary.BigEndian.AppendUint64(b, r.total)
	b = appendBool(b, r.asked)
	b = binary.BigEndian.AppendUint32(b, r.deadline)
	b = binary.BigEndian.AppendUint64(b, uint64(r.armedUntil))
	b = binary.BigEndian.AppendUint64(b, uint64(r.unblocked))
	b = appendBool(b, r.joined)
	b = appendBool(b, r.settled)
	b = appendBool(b, r.over)
	return appendVariable(b, r.replyPath)
}

func decodeRequest(key requestKey, b []byte) (*request, error) {
	c := &cursor{b: b}
	c.version()
	r := &request{requestKey: key}
	r.state = State(c.enum(uint8(Expired)))
	r.told = StatusState(c.enum(uint8(StatusCancelled)))
	r.content = c.hash()
	r.hashes = c.hashes()
	r.total = c.uint(8)
	r.asked = c.bool()
	r.deadline = uint32(c.uint(4))
	r.armedUntil = int64(c.uint(8))
	r.unblocked = int64(c.uint(8))
	r.joined = c.bool()
	r.settled = c.bool()
	r.over = c.bool()
	r.replyPath = c.variable()
	if len(r.replyPath) > maxReplyPathSize && c.err == nil {
		c.err = errors.New("row: reply path too long")
	}
	return r, c.end()
}

func (m *member) encode() []byte {
	b := []byte{rowVersion}
	b = append(b, m.peer[:]...)
	b = append(b, m.pid[:]...)
	b = append(b, m.hash[:]...)
	b = binary.BigEndian.AppendUint64(b, m.amount)
	b = binary.BigEndian.AppendUint32(b, m.expiry)
	b = binary.BigEndian.AppendUint32(b, m.deadline)
	b = append(b, byte(m.stage))
	return appendBool(b, m.void)
}

func decodeMember(key HTLCKey, b []byte) (*member, error) {
	c := &cursor{b: b}
	c.version()
	m := &member{key: key}
	m.peer, m.pid, m.hash = c.node(), c.hash(), c.hash()
	m.amount = c.uint(8)
	m.expiry, m.deadline = uint32(c.uint(4)), uint32(c.uint(4))
	m.stage = memberStage(c.enum(uint8(memberFulfilled)))
	m.void = c.bool()
	return m, c.end()
}

func encodeTombstone(until int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{rowVersion}, uint64(until))
}

func decodeTombstone(b []byte) (int64, error) {
	c := &cursor{b: b}
	c.version()
	until := int64(c.uint(8))
	return until, c.end()
}
