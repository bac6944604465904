package channel

import (
	"lightningrod/chain"
	"lightningrod/channel/commitment"

	"github.com/lightningnetwork/lnd/lnwire"
)

func (w *encoder) params(p *Params) {
	w.uint64(uint64(p.ID))
	w.array(p.Local[:])
	w.array(p.Remote[:])
	w.bools(p.Opener, p.Announce)
	w.limits(&p.Limits)
	w.basePoints(&p.BasePoints)
	w.uint64(p.Alias.ToUint64())
	w.bytes(p.ShutdownScript)
	w.array(p.TempID[:])
	w.array(p.ChainHash[:])
	w.uint32(p.MinDepth)
	w.uint32(p.Height)
	w.array(p.Block[:])
	w.uint16(p.MaxToSelfDelay)
	w.uint64(uint64(p.MinCapacity))
	w.uint64(uint64(p.MaxCapacity))
	w.uint32(uint32(p.MinFeePerKw))
	w.uint32(uint32(p.MaxFeePerKw))
	w.uint64(uint64(p.MaxDustExposure))
	w.uint32(p.Grace)
	w.uint32(p.FulfillMargin)
}

func (c *cursor) params(p *Params) {
	p.ID = ID(c.Uint64())
	c.Array(p.Local[:])
	c.Array(p.Remote[:])
	c.Bools(&p.Opener, &p.Announce)
	c.limits(&p.Limits)
	c.basePoints(&p.BasePoints)
	p.Alias = lnwire.NewShortChanIDFromInt(c.Uint64())
	p.ShutdownScript = c.Bytes()
	c.Array(p.TempID[:])
	c.Array(p.ChainHash[:])
	p.MinDepth, p.Height = c.Uint32(), c.Uint32()
	c.Array(p.Block[:])
	p.MaxToSelfDelay = c.Uint16()
	p.MinCapacity, p.MaxCapacity = c.sat(), c.sat()
	p.MinFeePerKw, p.MaxFeePerKw = chain.FeePerKw(c.Uint32()), chain.FeePerKw(c.Uint32())
	p.MaxDustExposure = c.msat()
	p.Grace, p.FulfillMargin = c.Uint32(), c.Uint32()
}

func (w *encoder) limits(l *Limits) {
	w.uint64(uint64(l.DustLimit))
	w.uint64(uint64(l.MaxInFlight))
	w.uint64(uint64(l.Reserve))
	w.uint64(uint64(l.HTLCMinimum))
	w.uint16(l.ToSelfDelay)
	w.uint16(l.MaxAcceptedHTLCs)
}

func (c *cursor) limits(l *Limits) {
	l.DustLimit, l.MaxInFlight, l.Reserve, l.HTLCMinimum = c.sat(), c.msat(), c.sat(), c.msat()
	l.ToSelfDelay, l.MaxAcceptedHTLCs = c.Uint16(), c.Uint16()
}

func (w *encoder) basePoints(b *commitment.BasePoints) {
	for _, k := range []*commitment.PubKey{&b.Funding, &b.Revocation, &b.Payment, &b.DelayedPayment, &b.HTLC} {
		w.array(k[:])
	}
}

func (c *cursor) basePoints(b *commitment.BasePoints) {
	for _, k := range []*commitment.PubKey{&b.Funding, &b.Revocation, &b.Payment, &b.DelayedPayment, &b.HTLC} {
		*k = c.point(false)
	}
}

// offered writes the HTLCs we offered, as they will be once the unsigned is forgotten.
func (w *encoder) offered(hs []htlc, next uint64) {
	n := len(hs)
	for n > 0 && hs[n-1].add == Proposed {
		n--
		next--
	}
	w.uint16(uint16(n))
	for _, h := range hs[:n] {
		remove, outcome := h.remove, h.outcome
		if remove <= Proposed {
			remove, outcome = 0, nil
		}
		w.uint64(h.Key.HTLC)
		w.uint8(uint8(h.add))
		w.uint8(uint8(remove))
		w.b = appendOutcome(w.b, outcome)
		w.bools(h.resolved, h.preimage != nil)
		if h.preimage != nil {
			w.array(h.preimage[:])
		}
	}
	w.uint64(next)
}

// htlc reads the part that both directions have, and takes the body out of the index.
func (c *cursor) htlc(index map[BodyKey]*HTLC, offered bool) htlc {
	k := BodyKey{Offered: offered, HTLC: c.Uint64()}
	h := htlc{HTLC: index[k]}
	if h.HTLC == nil {
		c.Fail("no body of htlc %d", k.HTLC)
		return htlc{HTLC: new(HTLC)}
	}
	index[k] = nil
	h.add, h.remove = Stage(c.Uint8()), Stage(c.Uint8())
	if !offered {
		h.tooMuchDust = c.Bool()
	}
	h.outcome = c.outcome()
	if h.add < Signed || h.add > Irrevocable || h.remove == Proposed || h.remove >= Irrevocable {
		c.Fail("htlc %d at stage %d, removal %d", h.Key.HTLC, h.add, h.remove)
	}
	return h
}

// htlcSize is the least an HTLC takes.
const htlcSize = 8 + 1 + 1 + 1

func (c *cursor) htlcs() []htlc {
	n := int(c.Uint16())
	if n > 2*maxHTLCs || n*htlcSize > len(c.Buf) {
		c.Fail("%d htlcs in %d bytes", n, len(c.Buf))
	}
	if c.Err != nil || n == 0 {
		return nil
	}
	return make([]htlc, n)
}

func (c *cursor) offered(index map[BodyKey]*HTLC) []htlc {
	hs := c.htlcs()
	for i := range hs {
		h := c.htlc(index, true)
		var known bool
		c.Bools(&h.resolved, &known)
		if known {
			h.preimage = new([32]byte)
			c.Array(h.preimage[:])
		}
		if (h.remove == 0) != (h.outcome == nil) || known && !h.resolved {
			c.Fail("offered htlc %d: outcome does not fit its stage", h.Key.HTLC)
		}
		hs[i] = h
	}
	return hs
}

// received writes the HTLCs the peer offered. What Settle told is kept even if its removal was not signed for.
func (w *encoder) received(hs []htlc, next uint64) {
	n := len(hs)
	for n > 0 && hs[n-1].add == Proposed {
		n--
		next--
	}
	w.uint16(uint16(n))
	for _, h := range hs[:n] {
		remove := h.remove
		if remove == Proposed {
			remove = 0
		}
		w.uint64(h.Key.HTLC)
		w.uint8(uint8(h.add))
		w.uint8(uint8(remove))
		w.bools(h.tooMuchDust)
		w.b = appendOutcome(w.b, h.outcome)
		w.bools(h.resolved)
	}
	w.uint64(next)
}

func (c *cursor) received(index map[BodyKey]*HTLC) []htlc {
	hs := c.htlcs()
	for i := range hs {
		h := c.htlc(index, false)
		h.resolved = c.Bool()
		if h.resolved && h.add != Irrevocable || h.outcome == nil && h.remove != 0 || (h.outcome != nil || h.tooMuchDust) && h.add != Irrevocable {
			c.Fail("received htlc %d: outcome does not fit its stage", h.Key.HTLC)
		}
		hs[i] = h
	}
	return hs
}

func (w *encoder) fees(fs []fee) {
	n := len(fs)
	for n > 0 && fs[n-1].stage == Proposed {
		n--
	}
	w.uint8(uint8(n))
	for _, f := range fs[:n] {
		w.uint32(uint32(f.rate))
		w.uint8(uint8(f.stage))
	}
}

func (c *cursor) fees() []fee {
	n := int(c.Uint8())
	var fs []fee
	for i := 0; i < n && c.Err == nil; i++ {
		f := fee{rate: chain.FeePerKw(c.Uint32()), stage: Stage(c.Uint8())}
		if f.stage < Signed || f.stage > Irrevocable || (i == 0) != (f.stage == Irrevocable) || i > 0 && f.stage >= fs[i-1].stage {
			c.Fail("fee rate %d at stage %d", f.rate, f.stage)
		}
		fs = append(fs, f)
	}
	return fs
}

func (w *encoder) end(e *end) {
	w.uint8(uint8(e.kind))
	w.bytes([]byte(e.reason))
	w.bools(e.late)
	switch {
	case e.kind == endMutual:
		w.tx(e.tx)
		w.uint64(uint64(e.fee))
		w.uint32(e.height)
	case e.chain != nil:
		w.array(e.point[:])
		w.bytes(e.chain.Encode())
	}
}

// endOf also returns the row of onchain, which can only be read when the rest is known.
func (c *cursor) endOf(e *end) (row []byte) {
	if e.kind = endKind(c.Uint8()); e.kind > endRemote {
		c.Fail("end %d", e.kind)
	}
	e.reason = string(c.Bytes())
	e.late = c.Bool()
	switch e.kind {
	case endMutual:
		e.tx, e.fee, e.height = c.Tx(), c.sat(), c.Uint32()
		if e.tx == nil {
			c.Fail("no closing transaction")
		}
	case endLocal, endRemote:
		e.point = c.point(false)
		row = c.Bytes()
	}
	return row
}
