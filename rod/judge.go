package rod

import "fmt"

// Judge says what to do with an incoming HTLC that is irrevocably committed and has no outcome and no child.
// It reads the request, whether the HTLC is a member of it, and the height; never the clock. It changes nothing.
func (t *Table) Judge(h HTLC, tip uint32) Verdict {
	if m := t.members[h.Key()]; m != nil {
		return t.judgeMember(m, tip)
	}
	r, err := t.match(h)
	if err != nil {
		return Verdict{Kind: GiveUp, Reason: err.Error()}
	}
	if r == nil && h.Hold == nil {
		return Verdict{Kind: Pass}
	}
	return t.judgeNew(h, r, tip)
}

func (t *Table) judgeMember(m *member, tip uint32) Verdict {
	giveUp := func(reason string, tooSoon bool) Verdict {
		return Verdict{Kind: GiveUp, Deadline: m.deadline, Reason: reason, ExpiryTooSoon: tooSoon}
	}
	switch r := m.request; {
	case m.stage == memberFulfilled:
		// Its preimage is known. It must neither be failed nor paid again, whatever else is true.
		return Verdict{Kind: Hold, Deadline: m.deadline}
	case m.void:
		return giveUp("channel on chain", false)
	case m.stage == memberFailed:
		return giveUp("already failed", false)
	case r.state == Withdrawn:
		return giveUp("request withdrawn", false)
	case r.state == Expired, tip >= m.deadline:
		return giveUp(fmt.Sprintf("release deadline %d passed at height %d", m.deadline, tip), true)
	case r.state == Released:
		return Verdict{Kind: Pass, Deadline: m.deadline}
	case !t.cfg.Enabled:
		return giveUp("holds are disabled", false)
	}
	return Verdict{Kind: Hold, Deadline: m.deadline}
}

// match finds the live request an HTLC belongs to: by its own TLV, which beats the lookup by hash, or by (peer, hash). nil with a TLV means
// that the HTLC makes a request of its own. An error means that the HTLC asked to be held and cannot be.
func (t *Table) match(h HTLC) (*request, error) {
	if h.Hold == nil {
		return t.byHash[HoldKey{h.Peer, h.Hash}], nil
	}
	key := requestKey{h.Peer, h.Hold.PidHash}
	if key.pid == ([32]byte{}) {
		return nil, fmt.Errorf("rod_hold_htlc malformed")
	}
	if r := t.find(key); r != nil && r.live() {
		return r, nil
	} else if r != nil || t.entombed(key) {
		return nil, fmt.Errorf("request %x is finished", key.pid[:4])
	}
	if other := t.byHash[HoldKey{h.Peer, h.Hash}]; other != nil {
		return nil, fmt.Errorf("hash has the live request %x", other.pid[:4])
	}
	return nil, nil
}

// judgeNew judges an HTLC that is no member yet but belongs to r, or to a request it makes itself (r is nil).
func (t *Table) judgeNew(h HTLC, r *request, tip uint32) Verdict {
	giveUp := func(tooSoon bool, format string, args ...any) Verdict {
		return Verdict{Kind: GiveUp, Reason: fmt.Sprintf(format, args...), ExpiryTooSoon: tooSoon}
	}
	held := r == nil || r.state == Armed
	if held && !t.cfg.Enabled {
		return giveUp(false, "holds are disabled")
	}
	if r == nil {
		if err := t.roomForRequest(h.Peer); err != nil {
			return giveUp(false, "%v", err)
		}
	}
	if int64(h.Expiry)-int64(tip) > int64(t.cfg.MaxExpiry) {
		return giveUp(false, "cltv_expiry %d more than %d blocks above height %d", h.Expiry, t.cfg.MaxExpiry, tip)
	}
	if int64(h.Expiry)-int64(h.OutExpiry) < int64(t.cfg.MinCltvDelta) {
		return giveUp(false, "cltv_expiry %d less than %d blocks above outgoing_cltv_value %d", h.Expiry, t.cfg.MinCltvDelta, h.OutExpiry)
	}
	deadline := t.deadline(h, r, tip)
	least := tip + minHoldBlocks
	// The HTLC that completes an unblocked request passes: it need not wait for a release that it causes itself.
	passes := !held || r != nil && r.unblocked != 0 && r.complete(h.Amount)
	if passes {
		least = tip + 1
	}
	if deadline < least {
		return giveUp(true, "release deadline %d below %d at height %d", deadline, least, tip)
	}
	if passes {
		return Verdict{Kind: Pass, Member: true, Deadline: deadline}
	}
	if err := t.roomForHTLC(h); err != nil {
		return giveUp(false, "%v", err)
	}
	return Verdict{Kind: Hold, Member: true, Deadline: deadline}
}

// deadline is R, the height at which an HTLC must be on its way.
func (t *Table) deadline(h HTLC, r *request, tip uint32) uint32 {
	bound, asked := tip+t.cfg.DefaultHold, false
	if r != nil {
		bound, asked = r.deadline, r.asked
	}
	if h.Hold != nil && h.Hold.Deadline != 0 {
		if !asked || h.Hold.Deadline < bound {
			bound = h.Hold.Deadline
		}
		asked = true
	}
	// Every hop after us takes its cltv_expiry_delta out of E_out. A payer who names a deadline has counted them; for one who does
	// not, room for an ordinary route is kept.
	less := int64(nextHopBlocks)
	if !asked {
		less += unaskedBlocks
	}
	return uint32(max(0, min(int64(bound), int64(h.OutExpiry)-less, int64(tip)+int64(t.cfg.MaxHold))))
}
