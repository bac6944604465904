package rod

import (
	"encoding/binary"
	"fmt"

	"lightningrod/chain/octets"
)

// rowVersion is the first byte of every row's value.
const rowVersion = 1

// cursor reads a row.
type cursor struct{ octets.Reader }

func (c *cursor) version() { c.Version(rowVersion) }

func (c *cursor) node() (n NodeID) {
	c.Array(n[:])
	return n
}

// hashes reads 1 to maxHashes hashes behind their count.
func (c *cursor) hashes() [][32]byte {
	n := int(c.Uint8())
	if n < 1 || n > maxHashes {
		c.Fail("%d hashes, maximum %d", n, maxHashes)
	}
	var out [][32]byte
	for ; n > 0 && c.Err == nil; n-- {
		out = append(out, c.Hash())
	}
	return out
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
	b = octets.AppendBool(b, r.asked)
	b = binary.BigEndian.AppendUint32(b, r.deadline)
	b = binary.BigEndian.AppendUint64(b, uint64(r.armedUntil))
	b = binary.BigEndian.AppendUint64(b, uint64(r.unblocked))
	b = octets.AppendBool(b, r.joined)
	b = octets.AppendBool(b, r.settled)
	b = octets.AppendBool(b, r.over)
	return octets.AppendBytes(b, r.replyPath)
}

func decodeRequest(key requestKey, b []byte) (*request, error) {
	c := &cursor{octets.Of(b)}
	c.version()
	r := &request{requestKey: key}
	r.state = State(c.Enum("state", uint8(Expired)))
	r.told = StatusState(c.Enum("status", uint8(StatusCancelled)))
	r.content = c.Hash()
	r.hashes = c.hashes()
	r.total = c.Uint64()
	r.asked = c.Bool()
	r.deadline = c.Uint32()
	r.armedUntil = int64(c.Uint64())
	r.unblocked = int64(c.Uint64())
	r.joined = c.Bool()
	r.settled = c.Bool()
	r.over = c.Bool()
	r.replyPath = c.Bytes()
	if len(r.replyPath) > maxReplyPathSize {
		c.Fail("reply_path of %d bytes above maximum %d", len(r.replyPath), maxReplyPathSize)
	}
	return r, c.End()
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
	return octets.AppendBool(b, m.void)
}

func decodeMember(key HTLCKey, b []byte) (*member, error) {
	c := &cursor{octets.Of(b)}
	c.version()
	m := &member{key: key}
	m.peer, m.pid, m.hash = c.node(), c.Hash(), c.Hash()
	m.amount = c.Uint64()
	m.expiry, m.deadline = c.Uint32(), c.Uint32()
	m.stage = memberStage(c.Enum("stage", uint8(memberFulfilled)))
	m.void = c.Bool()
	return m, c.End()
}

func encodeTombstone(until int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{rowVersion}, uint64(until))
}

func decodeTombstone(b []byte) (int64, error) {
	c := &cursor{octets.Of(b)}
	c.version()
	until := int64(c.Uint64())
	return until, c.End()
}
