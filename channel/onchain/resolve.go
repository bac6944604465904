package onchain

// resolve tells how HTLCs ended whose end is deep. There is one rule for all commitments. Of an HTLC we offered a known
// preimage was told at once and nothing follows it; so what is left here has no preimage.
func (t *turn) resolve() {
	if t.depth(t.spend.height) < deep {
		return
	}
	byKey := t.htlcOutputs()
	for i := range t.p.HTLCs {
		h := &t.p.HTLCs[i]
		if t.told[i] != toldNothing || t.open(h, byKey) {
			continue
		}
		t.told[i], t.out.Changed = toldFailed, true
		if h.Offered {
			t.out.Resolved = append(t.out.Resolved, Resolved{HTLC: h.ID})
			continue
		}
		e := Ended{HTLC: h.ID}
		if o := byKey[h.key()]; o != nil && t.preimageOf(h.ID) != nil {
			f := t.spentAt(o.out)
			e.Claimed = f != nil && f.shown
		}
		t.out.Ended = append(t.out.Ended, e)
	}
}

// htlcOutputs finds the output of each HTLC in an unrevoked commitment.
func (s *State) htlcOutputs() map[key]*output {
	byKey := make(map[key]*output)
	if s.closing.live == nil {
		return byKey
	}
	for i := range s.closing.outputs {
		if o := &s.closing.outputs[i]; o.htlc != nil {
			byKey[keyOf(s.closing.owner, o.htlc)] = o
		}
	}
	return byKey
}

// open says whether, the closing transaction being deep, an HTLC can still end one way or the other. BOLT 5: one without
// an output cannot, nor one whose output somebody has spent deep in the chain. All of a revoked commitment is ours: none can.
func (s *State) open(h *HTLC, byKey map[key]*output) bool {
	if s.closing.owner == Unknown {
		return s.openUnknown(h)
	}
	o := byKey[h.key()]
	if o == nil {
		return false
	}
	if f := s.spentAt(o.out); f != nil {
		return s.depth(f.height) < deep
	}
	switch {
	case !s.worth(o):
		// What costs more to claim than it is worth counts as dust once it could be taken back.
		return s.height < h.Expiry
	case h.Offered:
		return true
	}
	return s.height < h.Expiry+abandonAfter || s.preimageOf(h.ID) != nil
}

// openUnknown: in a commitment newer than our state the HTLC may be any output of its amount.
func (s *State) openUnknown(h *HTLC) bool {
	if !h.Offered {
		return false
	}
	for i := range s.closing.outputs {
		o := &s.closing.outputs[i]
		if o.kind != kindUnknown || o.amount != int64(h.Amount/1000) {
			continue
		}
		if f := s.spentAt(o.out); f == nil || s.depth(f.height) < deep {
			return true
		}
	}
	return false
}

// done says whether everything is over, so deep that nobody needs to watch any more.
func (s *State) done() bool {
	if s.depth(s.spend.height) < buried {
		return false
	}
	for _, t := range s.told {
		if t == toldNothing {
			return false
		}
	}
	for _, o := range s.outputs() {
		f := s.spentAt(o.out)
		switch {
		case f != nil && s.depth(f.height) >= buried:
		case f != nil:
			return false
		case o.kind == kindIgnored || o.kind == kindUnknown:
		case s.settledOutput(&o):
		default:
			return false
		}
	}
	return s.closing.owner != Cheat || s.revoked != nil && s.revoked.Number == s.closing.number
}

// settledOutput says whether an unspent output is left alone: what it holds is not ours, or less than it costs to claim.
func (s *State) settledOutput(o *output) bool {
	if o.kind == kindReceivedOurs || o.kind == kindReceivedTheirs {
		// Without a preimage, and told: abandoned.
		return s.preimageOf(o.htlc.ID) == nil || !s.worth(o)
	}
	return !s.worth(o)
}
