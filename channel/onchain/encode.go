package onchain

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"lightningrod/chain/octets"
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
	b = octets.AppendBool(b, s.publish)
	b = octets.AppendBool(b, s.stale)
	if b = octets.AppendBool(b, s.spend != nil); s.spend != nil {
		b = be.AppendUint32(b, s.spend.height)
		b = octets.AppendTx(b, s.spend.tx)
	}
	b = be.AppendUint32(b, uint32(len(s.spent)))
	for i := range s.spent {
		f := &s.spent[i]
		b = octets.AppendOutPoint(b, f.out)
		b = append(b, f.by[:]...)
		b = be.AppendUint32(b, f.height)
		b = octets.AppendBool(b, f.shown)
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
	if b = octets.AppendBool(b, s.revoked != nil); s.revoked != nil {
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
		b = octets.AppendOutPoint(b, bid.out)
		b = binary.BigEndian.AppendUint64(b, uint64(bid.fee))
		if b = octets.AppendBool(b, bid.funded != nil); bid.funded != nil {
			b = octets.AppendTx(b, bid.funded)
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
		b = octets.AppendBool(b, h.Offered)
		b = binary.BigEndian.AppendUint64(b, uint64(h.Amount))
		b = append(b, h.Hash[:]...)
		b = binary.BigEndian.AppendUint32(b, h.Expiry)
	}
	return b
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
	c := &cursor{octets.Of(b)}
	c.decode(s)
	if err := c.End(); err != nil {
		return nil, fmt.Errorf("on chain: %w", err)
	}
	return s, nil
}

func (c *cursor) decode(s *State) {
	if v := c.Uint8(); c.Err == nil && v != encodingVersion {
		c.Fail("version %d, expected %d", v, encodingVersion)
	}
	s.height, s.start = c.Uint32(), c.Uint32()
	s.publish, s.stale = c.Bool(), c.Bool()
	if s.publish && s.stale {
		c.Fail("an old state is to be published")
	}
	if c.Bool() {
		s.spend = &spend{height: c.Uint32(), tx: c.tx(s.p.Funding)}
		if s.spend.height == 0 {
			c.Fail("funding output spent at height 0")
		}
	}
	c.spent(s)
	c.settled(s)
	if n := c.Count(1); n != len(s.p.HTLCs) {
		c.Fail("%d HTLCs, expected %d", n, len(s.p.HTLCs))
	}
	s.told = make([]told, len(s.p.HTLCs))
	for i := range s.told {
		if s.told[i] = told(c.Uint8()); s.told[i] > toldFailed || s.told[i] == toldFulfilled && !s.p.HTLCs[i].Offered {
			c.Fail("%v told %d", s.p.HTLCs[i].key(), s.told[i])
		}
	}
	if c.Bool() {
		s.revoked = c.revoked()
	}
	c.bids(s)
	if c.Err == nil && s.spend != nil {
		s.closing = s.identify(s.spend.tx, s.spend.height, s.revoked)
	}
}

func (c *cursor) spent(s *State) {
	n := c.Count(spentSize)
	if n > 0 && s.spend == nil {
		c.Fail("outputs spent, but not the funding output")
	}
	for i := range n {
		f := spent{out: c.OutPoint()}
		c.Array(f.by[:])
		f.height, f.shown = c.Uint32(), c.Bool()
		for range c.Count(secondSize) {
			f.second = append(f.second, second{c.Uint32(), c.sat()})
		}
		if f.height == 0 || i > 0 && compareOut(s.spent[i-1].out, f.out) >= 0 || s.spend != nil && f.height < s.spend.height {
			c.Fail("spent output %d out of order, or at height %d", i, f.height)
		}
		if c.Err != nil {
			return
		}
		s.spent = append(s.spent, f)
	}
}

func (c *cursor) settled(s *State) {
	for i := range c.Count(settledSize) {
		p := settled{id: c.Uint64()}
		c.Array(p.preimage[:])
		p.since = c.Uint32()
		at, ok := s.index[key{false, p.id}]
		switch {
		case c.Err != nil:
			return
		case i > 0 && s.settled[i-1].id >= p.id:
			c.Fail("preimage of htlc %d out of order", p.id)
		case !ok || sha256.Sum256(p.preimage[:]) != s.p.HTLCs[at].Hash:
			c.Fail("preimage of htlc %d does not fit", p.id)
		}
		s.settled = append(s.settled, p)
	}
}

func (c *cursor) revoked() *Revoked {
	r := &Revoked{Number: c.Uint64()}
	for range c.Count(revokedSize) {
		h := commitment.HTLC{ID: c.Uint64(), Offered: c.Bool(), Amount: lnwire.MilliSatoshi(c.Uint64())}
		c.Array(h.Hash[:])
		h.Expiry = c.Uint32()
		r.HTLCs = append(r.HTLCs, h)
	}
	if err := checkRevoked(r.HTLCs); err != nil {
		c.Fail("%v", err)
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
	for i := range c.Count(bidSize) {
		b := bid{out: c.OutPoint(), fee: c.sat()}
		if c.Bool() {
			b.funded = c.tx(b.out)
		}
		if b.fee == 0 || i > 0 && compareOut(s.bids[i-1].out, b.out) >= 0 {
			c.Fail("bid %d out of order, or of nothing", i)
		}
		if c.Err != nil {
			return
		}
		s.bids = append(s.bids, b)
	}
}

// cursor reads an encoding of this package.
type cursor struct{ octets.Reader }

func (c *cursor) sat() int64 {
	v := c.Uint64()
	if v > maxMoney {
		c.Fail("amount %d sat is more than there is", v)
		return 0
	}
	return int64(v)
}

// tx reads a transaction that spends out.
func (c *cursor) tx(out wire.OutPoint) *wire.MsgTx {
	tx := c.Tx()
	switch {
	case c.Err != nil:
		return new(wire.MsgTx)
	case tx == nil:
		c.Fail("no transaction")
		return new(wire.MsgTx)
	case !spends(tx, out):
		c.Fail("transaction does not spend %v", out)
	}
	for i, o := range tx.TxOut {
		if o.Value < 0 || o.Value > maxMoney {
			c.Fail("output %d of %d sat", i, o.Value)
		}
	}
	return tx
}
