package channel

import (
	"fmt"

	"lightningrod/chain"
	"lightningrod/channel/commitment"
	"lightningrod/channel/onchain"

	"github.com/btcsuite/btcd/wire"
)

// This file is the end of a channel. A cooperative close is watched here until it is deep. As soon as a commitment is to be published, or
// is found on chain, the channel is frozen as it stands and channel/onchain has the rest: this file feeds it and passes on what it wants.

// endKind is why a channel is Closing.
type endKind uint8

const (
	endNone   endKind = iota
	endMutual         // the transaction both sides signed with closing_signed
	endLocal          // our commitment is to be published
	endRemote         // nothing by us: something else spent the funding output
)

// end is the last part of a channel's life.
type end struct {
	kind   endKind
	reason string
	late   bool // our state was proved to be old: nothing of ours may be published, ever

	// Of endMutual.
	tx     *wire.MsgTx // what we publish, or found confirmed
	fee    int64       // agreed, sat
	height uint32      // at which tx is on the best chain, 0: not yet

	// Otherwise, from the freeze on. point is our per-commitment point of localNumber: with it, the frozen channel is
	// onchain's Params without any key at hand.
	chain *onchain.State
	point commitment.PubKey
}

// watches is what has to be asked of the chain again after a restart.
func (e *end) watches() []chain.Request {
	switch {
	case e.chain != nil:
		return e.chain.Watches()
	case e.kind == endMutual && e.height == 0:
		return []chain.Request{chain.Publish{Tx: e.tx}}
	}
	return nil
}

// forceClose is the operator's.
func (t *turn) forceClose(ev ForceClose) error {
	switch {
	case t.phase == PhaseWaiting:
		return refuse(ReasonClosed, "our state is old: publishing it would lose everything")
	case t.phase == PhaseClosing && (t.end.kind != endMutual || t.end.height != 0):
		return refuse(ReasonClosed, "channel is closing")
	case t.Durable() && t.phase == PhaseClosing:
		t.publishLocal(ev.Reason)
		return nil
	}
	text := ev.Reason
	if text == "" {
		text = "closed by its operator"
	}
	t.fail(text)
	return nil
}

// publishLocal puts our newest commitment on the chain.
func (t *turn) publishLocal(reason string) {
	t.freeze(endLocal, reason)
	t.hear(onchain.Close{})
}

// freeze hands the channel over to onchain, as it stands. From here on nothing is added or removed, so that what onchain was told
// stays true.
func (t *turn) freeze(kind endKind, reason string) {
	t.forget()
	t.end = end{kind: kind, reason: reason, late: t.end.late, point: t.c.Point(t.localNumber)}
	if kind != endLocal && t.phase == PhaseWaiting {
		t.end.late = true
	}
	p := t.onchainParams(t.end.point)
	t.addKeys(t.c, &p)
	s, err := onchain.New(p)
	if err != nil {
		t.bug(err)
	}
	t.end.chain = s
	t.phase = PhaseClosing
	t.dirty = true
	t.hear(onchain.Chain{Event: t.rates})
	t.notice(OnChain{})
}

// hear keeps an event for onchain; all of a turn are applied at its end.
func (t *turn) hear(ev onchain.Event) { t.heard = append(t.heard, ev) }

// spent takes a spend of the funding output, or of what onchain watches.
func (t *turn) spent(f chain.Spent) {
	switch {
	case !t.Durable() || f.By == nil:
	case t.end.chain != nil:
		t.hear(onchain.Chain{Event: f})
	case f.Out == t.funding && f.Height != 0:
		t.fundingSpent(f)
	}
}

// fundingSpent is the end of a channel that had not been frozen: by agreement, or by somebody's commitment.
func (t *turn) fundingSpent(f chain.Spent) {
	_, isCommitment := commitment.Number(f.By, t.obscure)
	if agreed := t.remoteScript != nil && t.empty() && t.phase != PhaseWaiting; agreed && !isCommitment {
		if t.end.kind == endNone {
			// Ours too: only the closing_signed that said so was lost.
			t.forget()
			t.end = end{kind: endMutual, fee: t.closingFeeOf(f.By), reason: "closed cooperatively"}
			t.phase = PhaseClosing
		}
		t.end.tx, t.end.height = f.By, f.Height
		t.dirty = true
		t.progressEnd()
		return
	}
	reason := t.end.reason
	if t.phase != PhaseWaiting {
		reason = "the funding output was spent"
	}
	t.freeze(endRemote, reason)
	t.hear(onchain.Chain{Event: f})
}

// unspend forgets that the closing transaction was in a block: a reorganisation.
func (t *turn) unspend(height uint32) {
	if t.end.kind == endMutual && t.end.height >= height {
		t.end.height = 0
		t.dirty = true
		t.request(chain.Publish{Tx: t.end.tx})
	}
}

// progressEnd ends a channel whose closing transaction is deep. There is nothing to sweep: it pays our script.
func (t *turn) progressEnd() {
	if t.end.kind == endMutual && t.depth(t.end.height) >= deepDepth {
		t.closed(t.end.tx)
	}
}

func (t *turn) closed(tx *wire.MsgTx) {
	t.notice(Closed{Tx: tx})
	t.phase = PhaseClosed
	t.out.Save.Delete = true
}

// progressOnchain has onchain take what it was told in this turn, and passes on what it wants.
func (t *turn) progressOnchain() {
	if t.end.chain == nil || len(t.heard) == 0 || t.phase == PhaseClosed {
		return
	}
	next, out := onchain.Apply(t.end.chain, t.c, t.heard)
	t.heard = nil
	t.end.chain = next
	t.dirty = t.dirty || out.Changed
	t.out.Chain = append(t.out.Chain, out.Chain...)
	for _, r := range out.Resolved {
		t.resolvedOnChain(r)
	}
	for _, e := range out.Ended {
		t.endedOnChain(e)
	}
	for _, b := range out.Bumps {
		t.notice(Bump{b})
	}
	for _, tx := range out.Release {
		t.notice(Release{Tx: tx})
	}
	for _, n := range out.Need {
		t.notice(NeedRevoked{Number: n})
	}
	if out.Warn != "" {
		t.notice(Warn{Text: out.Warn})
	}
	if out.Done {
		t.closed(next.ClosingTx())
	}
}

// resolvedOnChain tells how an HTLC we offered ended.
func (t *turn) resolvedOnChain(r onchain.Resolved) {
	i := find(t.offered, r.HTLC)
	if i < 0 {
		t.bug(fmt.Errorf("on chain: no htlc %d", r.HTLC))
	}
	h := &t.offered[i]
	switch {
	case r.Preimage != nil:
		t.learn(h, Fulfill{Preimage: *r.Preimage})
	case !h.resolved:
		h.resolved = true
		outcome := h.outcome // of a removal that was under way, with its reason
		if outcome == nil || isFulfill(outcome) {
			outcome = Fail{}
		}
		t.notice(Resolved{Key: h.Key, Origin: h.Origin, Outcome: outcome})
	}
}

// endedOnChain tells that an HTLC the peer offered needs no more care. Those that were not committed nobody has heard of.
func (t *turn) endedOnChain(e onchain.Ended) {
	i := find(t.received, e.HTLC)
	if i < 0 {
		t.bug(fmt.Errorf("on chain: no htlc %d of the peer", e.HTLC))
	}
	h := &t.received[i]
	if h.resolved || h.add != Irrevocable {
		return
	}
	h.resolved = true
	outcome := h.outcome
	if outcome == nil {
		outcome = Fail{}
	}
	t.notice(Settled{Key: h.Key, Outcome: outcome})
}

// revokedData passes the HTLCs of a revoked commitment on to onchain, which has asked for them.
func (t *turn) revokedData(ev RevokedData) {
	if t.end.chain == nil {
		return
	}
	var hs []commitment.HTLC
	if ev.Data != nil {
		var err error
		if hs, err = DecodeRevoked(ev.Data); err != nil {
			// The penalty of the balance needs no row: better that than nothing.
			t.notice(Warn{Text: fmt.Sprintf("revoked commitment %d: %v", ev.Number, err)})
		}
	}
	t.hear(onchain.Revoked{Number: ev.Number, HTLCs: hs})
}

// End says why a channel that goes on chain does, and whether it was us who wanted so.
func (s *State) End() (ours bool, reason string) { return s.end.kind == endLocal, s.end.reason }

// sweepScript is where everything of ours goes.
func (s *State) sweepScript() []byte {
	if len(s.localScript) > 0 {
		return s.localScript
	}
	return s.params.ShutdownScript
}

// endText says how far the end has come.
func (s *State) endText() string {
	switch {
	case s.end.chain != nil:
		return s.end.reason + "; " + s.end.chain.String()
	case s.end.kind == endMutual && s.end.height == 0:
		return s.end.reason + "; nothing confirmed yet"
	case s.end.kind == endMutual:
		return fmt.Sprintf("%s; at height %d", s.end.reason, s.end.height)
	}
	return s.end.reason
}

// OnChain is the channel on chain, from the moment a commitment is to be published or was found; else nil.
func (s *State) OnChain() *onchain.State { return s.end.chain }
