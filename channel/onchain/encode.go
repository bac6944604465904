package onchain

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

const encodingVersion = 1

// Encode is the facts of the State, canonical: equal states have equal bytes. Params are not in it.
func (s *State) Encode() []byte {
	be := binary.BigEndian
	b := make([]byte, 0, 512+len(s.told)+64*len(s.spent)+64*len(s.bids)+48*len(s.settled))
	b = append(b, encodingVersion)
	b = be.AppendUint32(b, s.height)
	b = be.AppendUint32(b, s.start)
	b = appendBool(b, s.publish)
	b = appendBool(b, s.stale)
	if b = appendBool(b, s.spend != nil); s.spend != nil {
		b = be.AppendUint32(b, s.spend.height)
		b = appendTx(b, s.spend.tx)
	}
	b = be.AppendUint32(b, uint32(len(s.spent)))
	for i := range s.spent {
		f := &s.spent[i]
		b = appendOut(b, f.out)
		b = append(b, f.by[:]...)
		b = be.AppendUint32(b, f.height)
		b = appendBool(b, f.shown)
		b = be.AppendUint32(b, uint32(len(f.second)))
		for _, sec := range f.second {
			b = be.AppendUint32(b, sec.index)
			b = be.AppendUint64(b, uint64(sec.amount))
		}
	}
	b = be.AppendUint32(b, uint32(len(s.settled)))
	for i := range s.settled {
		p := &s.settled[i]
		b = be.AppendUint64(b, p.id)
		b = append(b, p.preimage[:]...)
		b = be.AppendUint32(b, p.since)
	}
	b = be.AppendUint32(b, uint32(len(s.told)))
	for _, t := range s.told {
		b = append(b, byte(t))
	}
	if b = appendBool(b, s.revoked != nil); s.revoked != nil {
		b = appendRevoked(b, s.revoked)
	}
	return s.appendBids(b)
}

func (s *State) appendBids(b []byte) []byte {
	at, n := len(b), uint32(0)
	b = append(b, 0, 0, 0, 0)
	for i := range s.bids {
		bid := &s.bids[i]
		if bid.fee == 0 {
			continue
		}
		n++
		b = appendOut(b, bid.out)
		b = binary.BigEndian.AppendUint64(b, uint64(bid.fee))
		if b = appendBool(b, bid.funded != nil); bid.funded != nil {
			b = appendTx(b, bid.funded)
		}
	}
	binary.BigEndian.PutUint32(b[at:], n)
	return b
}

func appendRevoked(b []byte, r *Revoked) []byte {
	b = binary.BigEndian.AppendUint64(b, r.Number)
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.HTLCs)))
	for i := range r.HTLCs {
		h := &r.HTLCs[i]
		b = binary.BigEndian.AppendUint64(b, h.ID)
		b = appendBool(b, h.Offered)
		b = binary.BigEndian.AppendUint64(b, uint64(h.Amount))
		b = append(b, h.Hash[:]...)
		b = binary.BigEndian.AppendUint32(b, h.Expiry)
	}
	return b
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendOut(b []byte, o wire.OutPoint) []byte {
	b = append(b, o.Hash[:]...)
	return binary.BigEndian.AppendUint32(b, o.Index)
}

func appendTx(b []byte, tx *wire.MsgTx) []byte {
	var buf bytes.Buffer
	_ = tx.Serialize(&buf) // a buffer does not fail
	b = binary.BigEndian.AppendUint32(b, uint32(buf.Len()))
	return append(b, buf.Bytes()...)
}

// Smallest encodings, so that a count is checked before anything is allocated.
const (
	outSize     = 36
	spentSize   = outSize + 32 + 4 + 1 + 4
	secondSize  = 4 + 8
	settledSize = 8 + 32 + 4
	revokedSize = 8 + 1 + 8 + 32 + 4
	bidSize     = outSize + 8 + 1
)

// Decode reads what Encode wrote, for the same channel.
func Decode(p Params, b []byte) (*State, error) {
	f, err := fix(p)
	if err != nil {
		return nil, fmt.Errorf("on chain: %w", err)
	}
	return decode(f, b)
}

func decode(f *fixed, b []byte) (*State, error) {
	s := &State{fixed: f}
	c := &cursor{b: b}
	c.decode(s)
	if err := c.end(); err != nil {
		return nil, fmt.Errorf("on chain: %w", err)
	}
	return s, nil
}

func (c *cursor) decode(s *State) {
	if v := c.uint8(); c.err == nil && v != encodingVersion {
		c.fail("version %d, expected %d", v, encodingVersion)
	}
	s.height, s.start = c.uint32(), c.uint32()
	s.publish, s.stale = c.bool(), c.bool()
	if s.publish && s.stale {
		c.fail("an old state is to be published")
	}
	if c.bool() {
		s.spend = &spend{height: c.uint32(), tx: c.tx(s.p.Funding)}
		if s.spend.height == 0 {
			c.fail("funding output spent at height 0")
		}
	}
	c.spent(s)
	c.settled(s)
	if n := c.count(1); n != len(s.p.HTLCs) {
		c.fail("%d HTLCs, expected %d", n, len(s.p.HTLCs))
	}
	s.told = make([]told, len(s.p.HTLCs))
	for i := range s.told {
		if s.told[i] = told(c.uint8()); s.told[i] > toldFailed || s.told[i] == toldFulfilled && !s.p.HTLCs[i].Offered {
			c.fail("%v told %d", s.p.HTLCs[i].key(), s.told[i])
		}
	}
	if c.bool() {
		s.revoked = c.revoked()
	}
	c.bids(s)
	if c.err == nil && s.spend != nil {
		s.closing = s.identify(s.spend.tx, s.spend.height, s.revoked)
	}
}

func (c *cursor) spent(s *State) {
	n := c.count(spentSize)
	if n > 0 && s.spend == nil {
		c.fail("outputs spent, but not the funding output")
	}
	for i := range n {
		f := spent{out: c.outPoint()}
		c.array(f.by[:])
		f.height, f.shown = c.uint32(), c.bool()
		for range c.count(secondSize) {
			f.second = append(f.second, second{c.uint32(), c.sat()})
		}
		if f.height == 0 || i > 0 && compareOut(s.spent[i-1].out, f.out) >= 0 || s.spend != nil && f.height < s.spend.height {
			c.fail("spent output %d out of order, or at height %d", i, f.height)
		}
		if c.err != nil {
			return
		}
		s.spent = append(s.spent, f)
	}
}

func (c *cursor) settled(s *State) {
	for i := range c.count(settledSize) {
		p := settled{id: c.uint64()}
		c.array(p.preimage[:])
		p.since = c.uint32()
		at, ok := s.index[key{false, p.id}]
		switch {
		case c.err != nil:
			return
		case i > 0 && s.settled[i-1].id >= p.id:
			c.fail("preimage of htlc %d out of order", p.id)
		case !ok || sha256.Sum256(p.preimage[:]) != s.p.HTLCs[at].Hash:
			c.fail("preimage of htlc %d does not fit", p.id)
		}
		s.settled = append(s.settled, p)
	}
}

func (c *cursor) revoked() *Revoked {
	r := &Revoked{Number: c.uint64()}
	for range c.count(revokedSize) {
		h := commitment.HTLC{ID: c.uint64(), Offered: c.bool(), Amount: lnwire.MilliSatoshi(c.uint64())}
		c.array(h.Hash[:])
		h.Expiry = c.uint32()
		r.HTLCs = append(r.HTLCs, h)
	}
	if err := checkRevoked(r.HTLCs); err != nil {
		c.fail("%v", err)
	}
	return r
}

// checkRevoked: what no commitment can have.
func checkRevoked(hs []commitment.HTLC) error {
	if len(hs) > commitment.MaxHTLCs {
		return fmt.Errorf("%d HTLCs above maximum %d", len(hs), commitment.MaxHTLCs)
	}
	for _, h := range hs {
		if h.Amount > maxMoney*1000 || h.Expiry > maxExpiry {
			return fmt.Errorf("htlc %d of %d msat, expiry %d", h.ID, uint64(h.Amount), h.Expiry)
		}
	}
	return nil
}

func (c *cursor) bids(s *State) {
	for i := range c.count(bidSize) {
		b := bid{out: c.outPoint(), fee: c.sat()}
		if c.bool() {
			b.funded = c.tx(b.out)
		}
		if b.fee == 0 || i > 0 && compareOut(s.bids[i-1].out, b.out) >= 0 {
			c.fail("bid %d out of order, or of nothing", i)
		}
		if c.err != nil {
			return
		}
		s.bids = append(s.bids, b)
	}
}

var errShort = errors.New("too short")

// cursor reads an encoding. After an error it only gives zeros, so that a decoder can check once at the end.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) take(n int) []byte {
	if c.err == nil && n > len(c.b) {
		c.err = errShort
	}
	if c.err != nil {
		return nil
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) array(into []byte) { copy(into, c.take(len(into))) }

func (c *cursor) uint8() (v uint8) {
	if b := c.take(1); b != nil {
		v = b[0]
	}
	return v
}

func (c *cursor) uint32() (v uint32) {
	if b := c.take(4); b != nil {
		v = binary.BigEndian.Uint32(b)
	}
	return v
}

func (c *cursor) uint64() (v uint64) {
	if b := c.take(8); b != nil {
		v = binary.BigEndian.Uint64(b)
	}
	return v
}

func (c *cursor) sat() int64 {
	v := c.uint64()
	if v > maxMoney {
		c.fail("amount %d sat is more than there is", v)
		return 0
	}
	return int64(v)
}

func (c *cursor) bool() bool {
	v := c.uint8()
	if v > 1 {
		c.fail("%d is not a bool", v)
	}
	return v == 1
}

// count reads the count of things that take at least size bytes each.
func (c *cursor) count(size int) int {
	n := c.uint32()
	if c.err == nil && uint64(n)*uint64(size) > uint64(len(c.b)) {
		c.err = errShort
	}
	if c.err != nil {
		return 0
	}
	return int(n)
}

func (c *cursor) outPoint() (o wire.OutPoint) {
	c.array(o.Hash[:])
	o.Index = c.uint32()
	return o
}

// tx reads a transaction that spends out.
func (c *cursor) tx(out wire.OutPoint) *wire.MsgTx {
	raw := c.take(c.count(1))
	tx := new(wire.MsgTx)
	if c.err != nil {
		return tx
	}
	r := bytes.NewReader(raw)
	if err := tx.Deserialize(r); err != nil || r.Len() != 0 {
		c.fail("transaction does not parse")
		return tx
	}
	var again bytes.Buffer
	if _ = tx.Serialize(&again); !bytes.Equal(again.Bytes(), raw) {
		c.fail("transaction is not canonical")
	}
	if !spends(tx, out) {
		c.fail("transaction does not spend %v", out)
	}
	for i, o := range tx.TxOut {
		if o.Value < 0 || o.Value > maxMoney {
			c.fail("output %d of %d sat", i, o.Value)
		}
	}
	return tx
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
