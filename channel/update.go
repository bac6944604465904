package channel

import (
	"bytes"
	"crypto/sha256"

	"lightningrod/channel/onchain"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/lightningnetwork/lnd/lnwire"
	"github.com/lightningnetwork/lnd/tlv"
)

const (
	boltAdd    = `BOLT 2 "Adding an HTLC"`
	boltRemove = `BOLT 2 "Removing an HTLC"`
	badOnion   = 0x8000 // BOLT 4: the bit of failure codes that only update_fail_malformed_htlc may carry
	mostReason = 60_000 // bytes of reason and TLVs that surely fit in a message
)

// add offers an HTLC. The next commitment_signed covers it.
func (t *turn) add(h HTLC) error {
	if !t.canAdd() {
		return refuse(ReasonNotUsable, "channel is %v", t.status())
	}
	if h.Origin == nil {
		return refuse(ReasonBadHTLC, "no origin")
	}
	if err := t.checkAdd(&h); err != nil {
		return err
	}
	h.Key = Key{Channel: t.params.ID, HTLC: t.nextOffered}
	m, err := t.addMessage(&h)
	if err != nil {
		return refuse(ReasonBadHTLC, "%v", err)
	}
	t.offered = append(t.offered, htlc{HTLC: &h, add: Proposed})
	t.nextOffered++
	t.sent = append(t.sent, ref{refAdd, h.Key.HTLC})
	t.send(m)
	return nil
}

// addMessage builds update_add_htlc with all its TLVs: lnwire keeps them in three places.
func (s *State) addMessage(h *HTLC) (*lnwire.UpdateAddHTLC, error) {
	m := &lnwire.UpdateAddHTLC{
		ChanID: s.channelID, ID: h.Key.HTLC, Amount: h.Amount, PaymentHash: h.Hash, Expiry: h.Expiry, OnionBlob: h.Onion,
	}
	if len(h.TLVs) > 0 {
		blinding := m.BlindingPoint.Zero()
		custom, parsed, extra, err := lnwire.ParseAndExtractCustomRecords(h.TLVs, &blinding)
		if err != nil {
			return nil, err
		}
		if parsed.Contains(blinding.TlvType()) {
			m.BlindingPoint = tlv.SomeRecordT(blinding)
		}
		m.CustomRecords, m.ExtraData = custom, extra
	}
	if len(h.PathKey) > 0 && m.BlindingPoint.IsNone() {
		key, err := btcec.ParsePubKey(h.PathKey)
		if err != nil {
			return nil, err
		}
		m.BlindingPoint = tlv.SomeRecordT(tlv.NewPrimitiveRecord[lnwire.BlindingPointTlvType](key))
	}
	return m, nil
}

// body is the HTLC of an update_add_htlc, its TLV stream put together again.
func (s *State) body(m *lnwire.UpdateAddHTLC) (*HTLC, error) {
	h := &HTLC{
		Key:    Key{Channel: s.params.ID, HTLC: m.ID},
		Amount: m.Amount, Hash: m.PaymentHash, Expiry: m.Expiry, Onion: m.OnionBlob,
	}
	var known []tlv.RecordProducer
	m.BlindingPoint.WhenSome(func(b tlv.RecordT[lnwire.BlindingPointTlvType, *btcec.PublicKey]) {
		known = append(known, &b)
		h.PathKey = b.Val.SerializeCompressed()
	})
	stream, err := lnwire.MergeAndEncode(known, m.ExtraData, m.CustomRecords)
	if err != nil {
		return nil, err
	}
	if len(stream) > 0 {
		h.TLVs = stream
	}
	return h, nil
}

// receiveAdd takes update_add_htlc. It is forgotten again unless the peer signs for it.
func (t *turn) receiveAdd(m *lnwire.UpdateAddHTLC) error {
	if t.remoteScript != nil {
		return violation(boltAdd, "htlc %d after shutdown", m.ID)
	}
	if m.ID != t.nextReceived {
		return violation(boltAdd, "id %d, expected %d", m.ID, t.nextReceived)
	}
	if err := t.checkReceivedAdd(m.Amount, m.Expiry); err != nil {
		return err
	}
	h, err := t.body(m)
	if err != nil {
		return violation(boltAdd, "tlv stream of htlc %d: %v", m.ID, err)
	}
	t.received = append(t.received, htlc{HTLC: h, add: Proposed})
	t.nextReceived++
	return nil
}

// settle keeps the outcome of an HTLC the peer offered, until its removal is irrevocable. A preimage goes out at once;
// failures wait for the commitment_signed that covers them, so that until then a Fulfill can take their place.
func (t *turn) settle(ev Settle) error {
	i := find(t.received, ev.HTLC)
	if i < 0 || t.received[i].add != Irrevocable {
		return refuse(ReasonBadHTLC, "no htlc %d to remove", ev.HTLC)
	}
	h := &t.received[i]
	_, old := h.outcome.(Fulfill)
	f, fulfill := ev.Outcome.(Fulfill)
	if fulfill && t.end.chain != nil {
		t.hear(onchain.Settle{HTLC: ev.HTLC, Preimage: f.Preimage}) // whatever was said before: it checks and keeps it
	}
	switch {
	case old || h.remove != 0 || h.outcome != nil && !fulfill:
		return nil // told before
	case fulfill && sha256.Sum256(f.Preimage[:]) != h.Hash:
		return refuse(ReasonBadHTLC, "wrong preimage for htlc %d", ev.HTLC)
	}
	outcome, err := checkOutcome(ev.Outcome)
	if err != nil {
		return err
	}
	h.outcome = outcome
	t.dirty = true
	if fulfill {
		t.remove(h)
	}
	return nil
}

// checkOutcome makes sure that an outcome fits in its message.
func checkOutcome(o Outcome) (Outcome, error) {
	switch o := o.(type) {
	case Fulfill:
		if len(o.TLVs) > mostReason {
			o.TLVs = nil
		}
		return o, nil
	case Fail:
		if len(o.Reason) > mostReason {
			return nil, refuse(ReasonBadHTLC, "reason of %d bytes", len(o.Reason))
		}
		if len(o.Reason)+len(o.TLVs) > mostReason {
			o.TLVs = nil
		}
		return o, nil
	case Malformed:
		if o.Code&badOnion == 0 {
			return nil, refuse(ReasonBadHTLC, "failure_code %#x without BADONION", o.Code)
		}
		return o, nil
	}
	return nil, refuse(ReasonBadHTLC, "no outcome")
}

// remove sends the removal of an HTLC the peer offered, if it can be sent now.
func (t *turn) remove(h *htlc) {
	if !t.canUpdate() || h.remove != 0 {
		return
	}
	h.remove = Proposed
	t.sent = append(t.sent, ref{refRemove, h.Key.HTLC})
	t.send(t.removeMessage(h))
}

func (s *State) removeMessage(h *htlc) lnwire.Message {
	switch o := h.outcome.(type) {
	case Fulfill:
		m := &lnwire.UpdateFulfillHTLC{ChanID: s.channelID, ID: h.Key.HTLC, PaymentPreimage: o.Preimage}
		// A stream that does not parse is dropped: the preimage must get through.
		if custom, _, extra, err := lnwire.ParseAndExtractCustomRecords(o.TLVs); err == nil {
			m.CustomRecords, m.ExtraData = custom, extra
		}
		return m
	case Fail:
		return &lnwire.UpdateFailHTLC{ChanID: s.channelID, ID: h.Key.HTLC, Reason: o.Reason, ExtraData: o.TLVs}
	case Malformed:
		return &lnwire.UpdateFailMalformedHTLC{ChanID: s.channelID, ID: h.Key.HTLC, ShaOnionBlob: o.OnionHash, FailureCode: lnwire.FailCode(o.Code)}
	}
	return nil
}

// removable finds the HTLC of ours that the peer wants to remove. BOLT 2: only one that is irrevocably committed.
func (t *turn) removable(id uint64) (*htlc, error) {
	i := find(t.offered, id)
	if i < 0 {
		return nil, violation(boltRemove, "no htlc %d", id)
	}
	h := &t.offered[i]
	switch {
	case h.add != Irrevocable:
		return nil, violation(boltRemove, "htlc %d is not yet irrevocably committed", id)
	case h.remove != 0:
		return nil, violation(boltRemove, "htlc %d is removed twice", id)
	}
	return h, nil
}

// receiveFulfill passes the preimage on at once: it cannot be taken back, so nothing is to be gained by waiting.
func (t *turn) receiveFulfill(m *lnwire.UpdateFulfillHTLC) error {
	h, err := t.removable(m.ID)
	if err != nil {
		return err
	}
	if sha256.Sum256(m.PaymentPreimage[:]) != h.Hash {
		return violation(boltRemove, "wrong payment_preimage for htlc %d", m.ID)
	}
	stream, err := lnwire.MergeAndEncode(nil, m.ExtraData, m.CustomRecords)
	if err != nil || len(stream) == 0 {
		stream = nil
	}
	f := Fulfill{Preimage: m.PaymentPreimage, TLVs: stream}
	h.outcome, h.remove = f, Proposed
	t.learn(h, f)
	return nil
}

// learn makes a preimage known for good. Whatever happens to the HTLC later, it has been fulfilled for whom it was for.
func (t *turn) learn(h *htlc, f Fulfill) {
	if h.preimage != nil {
		return
	}
	p := f.Preimage
	h.preimage = &p
	t.dirty = true
	if !h.resolved {
		h.resolved = true
		t.notice(Resolved{Key: h.Key, Origin: h.Origin, Outcome: f})
	}
}

func (t *turn) receiveFail(m *lnwire.UpdateFailHTLC) error {
	h, err := t.removable(m.ID)
	if err != nil {
		return err
	}
	h.outcome, h.remove = Fail{Reason: own(m.Reason), TLVs: own(m.ExtraData)}, Proposed
	return nil
}

func (t *turn) receiveMalformed(m *lnwire.UpdateFailMalformedHTLC) error {
	h, err := t.removable(m.ID)
	if err != nil {
		return err
	}
	if m.FailureCode&badOnion == 0 {
		return violation(boltRemove, "failure_code %#x of htlc %d without BADONION", uint16(m.FailureCode), m.ID)
	}
	h.outcome, h.remove = Malformed{Code: uint16(m.FailureCode), OnionHash: m.ShaOnionBlob}, Proposed
	return nil
}

// own copies bytes of a message, nil if there are none.
func own(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return bytes.Clone(b)
}

// forget drops every update that has not been signed for: BOLT 2 "Message Retransmission". What we proposed is
// refused; what we were told by Settle is kept, to be sent again. Ids rewind.
func (t *turn) forget() {
	for len(t.offered) > 0 && t.offered[len(t.offered)-1].add == Proposed {
		h := t.offered[len(t.offered)-1]
		t.offered = t.offered[:len(t.offered)-1]
		t.nextOffered--
		t.notice(Refused{Origin: h.Origin, HTLC: *h.HTLC, Err: refuse(ReasonForgotten, "never signed for")})
	}
	for len(t.received) > 0 && t.received[len(t.received)-1].add == Proposed {
		t.received = t.received[:len(t.received)-1]
		t.nextReceived--
	}
	for i := range t.offered {
		if h := &t.offered[i]; h.remove == Proposed {
			h.remove, h.outcome = 0, nil
		}
	}
	for i := range t.received {
		if h := &t.received[i]; h.remove == Proposed {
			h.remove = 0
		}
	}
	for len(t.fees) > 1 && t.fees[len(t.fees)-1].stage == Proposed {
		t.fees = t.fees[:len(t.fees)-1]
	}
	t.sent = t.sent[:t.signedRefs]
}

// collect takes the irrevocable removals out, moves their money, and tells how they ended.
func (t *turn) collect() {
	kept := t.offered[:0]
	for _, h := range t.offered {
		if h.remove != Irrevocable {
			kept = append(kept, h)
			continue
		}
		if _, fulfilled := h.outcome.(Fulfill); fulfilled {
			t.balanceLocal -= h.Amount
			t.balanceRemote += h.Amount
		}
		if !h.resolved {
			t.notice(Resolved{Key: h.Key, Origin: h.Origin, Outcome: h.outcome})
		}
		t.out.Save.Remove = append(t.out.Save.Remove, BodyKey{Offered: true, HTLC: h.Key.HTLC})
	}
	clear(t.offered[len(kept):])
	t.offered = kept

	kept = t.received[:0]
	for _, h := range t.received {
		if h.remove != Irrevocable {
			kept = append(kept, h)
			continue
		}
		if _, fulfilled := h.outcome.(Fulfill); fulfilled {
			t.balanceRemote -= h.Amount
			t.balanceLocal += h.Amount
		}
		t.notice(Settled{Key: h.Key, Outcome: h.outcome})
		t.out.Save.Remove = append(t.out.Save.Remove, BodyKey{HTLC: h.Key.HTLC})
	}
	clear(t.received[len(kept):])
	t.received = kept
}

// status is the phase, or what keeps it from working.
func (s *State) status() string {
	switch {
	case s.phase != PhaseNormal:
		return s.phase.String()
	case !s.connected:
		return "disconnected"
	case !s.established:
		return "not re-established"
	case s.shutdownWanted:
		return "about to shut down"
	case s.confirmed == 0:
		return "unconfirmed"
	}
	return s.phase.String()
}

// bodies are the bodies of the HTLCs whose addition is at stage, in one direction.
func bodies(hs []htlc, stage Stage) []HTLC {
	var out []HTLC
	for _, h := range hs {
		if h.add == stage {
			out = append(out, *h.HTLC)
		}
	}
	return out
}
