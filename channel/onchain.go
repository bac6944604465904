package channel

import (
	"crypto/sha256"
	"fmt"

	"lightningrod/chain"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// This file is what a channel does on chain by itself: it publishes its commitment, recognises whose commitment was
// confirmed, takes its balance home, and tells how offered HTLCs ended where that is beyond doubt. It does not spend
// HTLC outputs: see doc.go.

// endKind is why a channel is Closing: what was, or is being, published.
type endKind uint8

const (
	endNone   endKind = iota
	endMutual         // the transaction both sides signed with closing_signed
	endLocal          // our commitment
	endRemote         // nothing by us: the peer's commitment was confirmed
)

// end is the last part of a channel's life.
type end struct {
	kind   endKind
	reason string
	tx     *wire.MsgTx // what we publish, nil for endRemote
	fee    int64       // endMutual: agreed, sat
	late   bool        // our state was proved to be old: nothing of ours may be published, ever
	spend  *spend      // of the funding output on the best chain, nil: not yet
}

// owner is whose transaction spent the funding output.
type owner uint8

const (
	ownerMutual  owner = iota // both: closing_signed
	ownerLocal                // our commitment
	ownerRemote               // the peer's newest commitment, or the unrevoked one before it
	ownerRevoked              // a commitment the peer has revoked
	ownerFuture               // a commitment of the peer that our state is too old to know
)

var ownerText = [...]string{"mutual close", "our commitment", "the peer's commitment", "a revoked commitment of the peer", "a commitment of the peer that we do not know"}

// spend is the confirmed transaction that spent the funding output.
type spend struct {
	tx      *wire.MsgTx
	height  uint32
	owner   owner
	number  uint64 // of the commitment
	outputs []chainOutput
}

// chainOutput is an output of the confirmed commitment that concerns us.
type chainOutput struct {
	index  uint32
	kind   outputKind
	amount int64          // sat
	htlc   uint64         // outputOffered, outputReceived
	spent  uint32         // height at which it was spent, 0: unspent
	by     chainhash.Hash // by which transaction
	rate   chain.FeePerKw // of the last sweep published, 0: none
	asked  bool           // to publish that sweep, in this life of the process; not encoded
}

type outputKind uint8

const (
	outputDelayed  outputKind = iota // our to_local: after to_self_delay
	outputToRemote                   // our balance in the peer's commitment: after one block
	outputPenalty                    // to_local of a revoked commitment: at once
	outputOffered                    // an HTLC we offered
	outputReceived                   // an HTLC the peer offered
	outputUnknown                    // of a revoked commitment: perhaps an HTLC
)

func (e end) clone() end {
	if e.spend != nil {
		sp := *e.spend
		sp.outputs = append([]chainOutput(nil), sp.outputs...)
		e.spend = &sp
	}
	return e
}

// watches is what has to be asked of the chain again after a restart.
func (e *end) watches() []chain.Request {
	var reqs []chain.Request
	if e.tx != nil && (e.spend == nil || e.spend.height == 0) {
		reqs = append(reqs, chain.Publish{Tx: e.tx})
	}
	if e.spend != nil {
		reqs = append(reqs, e.spend.watches()...)
	}
	return reqs
}

func (sp *spend) watches() []chain.Request {
	var reqs []chain.Request
	txid := sp.tx.TxHash()
	for _, o := range sp.outputs {
		reqs = append(reqs, chain.WatchSpend{
			Out: wire.OutPoint{Hash: txid, Index: o.index}, Script: sp.tx.TxOut[o.index].PkScript, Since: sp.height,
		})
	}
	return reqs
}

// forceClose is the operator's.
func (t *turn) forceClose(ev ForceClose) error {
	switch {
	case t.phase == PhaseWaiting:
		return refuse(ReasonClosed, "our state is old: publishing it would lose everything")
	case t.phase == PhaseClosing && t.end.kind != endMutual || t.end.spend != nil:
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
	t.forget()
	tx, _, err := t.LocalCommitment(t.c)
	if err != nil {
		t.bug(err)
	}
	t.phase = PhaseClosing
	t.end = end{kind: endLocal, reason: reason, tx: tx}
	t.dirty = true
	t.request(chain.Publish{Tx: tx, Deadline: t.publishDeadline()})
	t.notice(OnChain{})
}

// publishDeadline is when the first HTLC that matters runs out.
func (s *State) publishDeadline() uint32 {
	var first uint32
	for _, hs := range [][]htlc{s.offered, s.received} {
		for _, h := range hs {
			if first == 0 || h.Expiry < first {
				first = h.Expiry
			}
		}
	}
	return first
}

// spent takes a spend of the funding output, or of an output of the commitment that spent it.
func (t *turn) spent(f chain.Spent) {
	if !t.Durable() || f.By == nil {
		return
	}
	if f.Out == t.funding {
		if f.Height != 0 && (t.end.spend == nil || t.end.spend.height != f.Height || t.end.spend.tx.TxHash() != f.By.TxHash()) {
			t.fundingSpent(f)
		}
		return
	}
	sp := t.end.spend
	if sp == nil || f.Out.Hash != sp.tx.TxHash() {
		return
	}
	for i := range sp.outputs {
		if o := &sp.outputs[i]; o.index == f.Out.Index {
			t.outputSpent(o, f)
		}
	}
}

// fundingSpent recognises the transaction that ended the channel.
func (t *turn) fundingSpent(f chain.Spent) {
	sp := &spend{tx: f.By, height: f.Height}
	number, isCommitment := commitment.Number(f.By, t.obscure)
	var cm *commitment.Commitment
	switch {
	case !isCommitment:
		sp.owner = ownerMutual
	default:
		sp.owner, sp.number = ownerFuture, number
		cm = t.recognise(sp)
	}
	t.forget()
	waiting := t.phase == PhaseWaiting
	t.phase = PhaseClosing
	switch {
	case t.end.kind != endNone:
	case sp.owner == ownerMutual && !waiting:
		// Ours too: only the closing_signed that said so was lost.
		t.end = end{kind: endMutual, tx: f.By, reason: "closed cooperatively"}
	default:
		t.end.kind = endRemote
		if !waiting {
			t.end.reason = ownerText[sp.owner] + " was confirmed"
		}
		if sp.owner != ownerMutual {
			t.notice(OnChain{})
		}
	}
	t.end.spend = sp
	t.dirty = true
	t.findOutputs(sp, cm)
	t.out.Chain = append(t.out.Chain, sp.watches()...)
	t.progressEnd()
}

// recognise finds the commitment that has the transaction's id among those that can still be valid.
func (t *turn) recognise(sp *spend) *commitment.Commitment {
	txid := sp.tx.TxHash()
	if cm, err := t.buildLocal(t.c, viewLocal, t.localNumber); err == nil && cm.TxID == txid {
		sp.owner = ownerLocal
		return cm
	}
	if cm, err := t.buildRemote(t.c, viewRemote, t.remoteNumber, t.remotePoint); err == nil && cm.TxID == txid {
		sp.owner = ownerRemote
		return cm
	}
	if t.awaiting {
		if cm, err := t.buildRemote(t.c, viewRemotePrev, t.remoteNumber-1, t.remotePrev); err == nil && cm.TxID == txid {
			sp.owner = ownerRemote
			return cm
		}
	}
	if _, revoked := t.secrets.Lookup(sp.number); revoked {
		sp.owner = ownerRevoked
	}
	return nil
}

// findOutputs lists the outputs to sweep and to watch.
func (t *turn) findOutputs(sp *spend, cm *commitment.Commitment) {
	add := func(index int, kind outputKind, id uint64) {
		if index >= 0 {
			sp.outputs = append(sp.outputs, chainOutput{index: uint32(index), kind: kind, amount: sp.tx.TxOut[index].Value, htlc: id})
		}
	}
	switch sp.owner {
	case ownerMutual:
		return
	case ownerLocal:
		add(cm.ToOwner, outputDelayed, 0)
	case ownerRemote:
		add(cm.ToOther, outputToRemote, 0)
	default:
		t.findByScript(sp, add)
		return
	}
	for _, h := range cm.HTLCs {
		kind := outputReceived
		if h.HTLC.Offered == (sp.owner == ownerLocal) {
			kind = outputOffered
		}
		add(int(h.Index), kind, h.HTLC.ID)
	}
}

// findByScript finds our outputs in a commitment whose HTLCs we no longer, or do not yet, know.
func (t *turn) findByScript(sp *spend, add func(int, outputKind, uint64)) {
	toRemote := string(commitment.P2WSH(commitment.ToRemoteScript(t.params.BasePoints.Payment)))
	var penalty string
	known := map[string]bool{
		string(commitment.P2WSH(commitment.AnchorScript(t.params.BasePoints.Funding))): true,
		string(commitment.P2WSH(commitment.AnchorScript(t.theirs.Funding))):            true,
	}
	if k, _, ok := t.revokedKeys(sp.number); ok && sp.owner == ownerRevoked {
		penalty = string(commitment.P2WSH(commitment.DelayedScript(k.Revocation, k.OwnerDelayed, t.local.ToSelfDelay)))
	}
	for i, out := range sp.tx.TxOut {
		switch script := string(out.PkScript); {
		case script == toRemote:
			add(i, outputToRemote, 0)
		case script == penalty:
			add(i, outputPenalty, 0)
		case !known[script]:
			add(i, outputUnknown, 0)
		}
	}
}

func (t *turn) revokedKeys(number uint64) (commitment.Keys, [32]byte, bool) {
	secret, ok := t.secrets.Lookup(number)
	if !ok {
		return commitment.Keys{}, secret, false
	}
	k, err := t.keys(t.c, false, pointOf(t.c, secret))
	return k, secret, err == nil
}

// outputSpent learns a preimage from the spend of an HTLC output, even an unconfirmed one; else it notes the height.
func (t *turn) outputSpent(o *chainOutput, f chain.Spent) {
	if o.kind == outputOffered || o.kind == outputUnknown {
		t.learnFrom(o, f.By)
	}
	if f.Height != 0 && o.spent != f.Height {
		o.spent, o.by = f.Height, f.By.TxHash()
		t.dirty = true
		t.progressEnd()
	}
}

// learnFrom looks for preimages in the witnesses of a transaction that spends an HTLC output. Whatever the shape of the
// spend, a preimage is an item of 32 bytes.
func (t *turn) learnFrom(o *chainOutput, tx *wire.MsgTx) {
	for _, in := range tx.TxIn {
		for _, item := range in.Witness {
			if len(item) != 32 {
				continue
			}
			hash := sha256.Sum256(item)
			for i := range t.offered {
				h := &t.offered[i]
				if h.Hash == hash && (o.kind == outputUnknown || o.htlc == h.Key.HTLC) {
					t.learn(h, Fulfill{Preimage: [32]byte(item)})
				}
			}
		}
	}
}

// unspend forgets facts at a height and above: a reorganisation.
func (t *turn) unspend(height uint32) {
	sp := t.end.spend
	if sp == nil {
		return
	}
	for i := range sp.outputs {
		if sp.outputs[i].spent >= height {
			sp.outputs[i].spent, sp.outputs[i].by, sp.outputs[i].asked = 0, chainhash.Hash{}, false
			t.dirty = true
		}
	}
	if sp.height < height {
		return
	}
	t.end.spend = nil
	t.dirty = true
	switch {
	case t.end.tx != nil:
		t.request(chain.Publish{Tx: t.end.tx})
	case t.end.late || sp.owner == ownerFuture:
		t.phase = PhaseWaiting
		t.end = end{late: true, reason: t.end.reason}
	default:
		// The peer's transaction may or may not come back: put ours up against it.
		t.publishLocal("a reorganisation removed " + ownerText[sp.owner])
	}
}

// progressEnd does what the height allows: sweeps, resolutions, the end.
func (t *turn) progressEnd() {
	sp := t.end.spend
	if sp == nil || t.phase != PhaseClosing {
		return
	}
	for i := range sp.outputs {
		t.sweep(sp, &sp.outputs[i])
	}
	if t.depth(sp.height) < deepDepth {
		return
	}
	t.resolveDeep(sp)
	for i := range sp.outputs {
		if o := &sp.outputs[i]; t.depth(o.spent) < deepDepth && !t.notWorth(o) {
			return
		}
	}
	// Every output is spent for good. What is still open, of a commitment we did not know, can no longer be claimed.
	t.failRest(nil)
	t.notice(Closed{Tx: sp.tx})
	t.phase = PhaseClosed
	t.out.Save.Delete = true
}

// resolveDeep tells of offered HTLCs that can no longer be claimed by the peer. BOLT 5: those without an output in the
// confirmed commitment, and those whose output somebody else's spend is deep and showed no preimage. Never of a revoked
// or unknown commitment: what its outputs are is not known here.
func (t *turn) resolveDeep(sp *spend) {
	if sp.owner != ownerLocal && sp.owner != ownerRemote {
		return
	}
	open := make(map[uint64]bool)
	for _, o := range sp.outputs {
		if o.kind == outputOffered && t.depth(o.spent) < deepDepth {
			open[o.htlc] = true
		}
	}
	t.failRest(open)
}

// failRest resolves the offered HTLCs that are not open, and have not been resolved, as failed.
func (t *turn) failRest(open map[uint64]bool) {
	for i := range t.offered {
		h := &t.offered[i]
		if h.resolved || open[h.Key.HTLC] {
			continue
		}
		h.resolved = true
		t.dirty = true
		outcome := h.outcome // of a removal that was under way, with its reason
		if outcome == nil || isFulfill(outcome) {
			outcome = Fail{}
		}
		t.notice(Resolved{Key: h.Key, Origin: h.Origin, Outcome: outcome})
	}
}

// spendOf is how one of our outputs is spent, and from which height on it can be in a block.
func (t *turn) spendOf(sp *spend, o *chainOutput) (commitment.Spend, uint32, bool) {
	prev := wire.OutPoint{Hash: sp.tx.TxHash(), Index: o.index}
	switch o.kind {
	case outputDelayed:
		k, err := t.keys(t.c, true, t.c.Point(t.localNumber))
		return commitment.SpendDelayed(&k, t.remote.ToSelfDelay, prev, o.amount), sp.height + uint32(t.remote.ToSelfDelay), err == nil
	case outputToRemote:
		return commitment.SpendToRemote(t.params.BasePoints.Payment, prev, o.amount), sp.height + 1, true
	case outputPenalty:
		k, secret, ok := t.revokedKeys(sp.number)
		return commitment.SpendRevoked(&k, t.local.ToSelfDelay, secret, prev, o.amount), sp.height + 1, ok
	}
	return commitment.Spend{}, 0, false
}

// sweep sends one of our outputs to the shutdown script, once it is ripe. It asks again when rates have risen by a quarter.
func (t *turn) sweep(sp *spend, o *chainOutput) {
	script := t.sweepScript()
	if o.spent != 0 || len(script) == 0 || o.kind > outputPenalty {
		return
	}
	rate := t.rates.Normal
	if o.kind == outputPenalty {
		rate = t.rates.Urgent
	}
	rate = max(rate, t.rates.Floor, t.params.MinFeePerKw)
	if o.rate != 0 && rate < o.rate+o.rate/4 {
		rate = o.rate
	}
	if o.asked && rate == o.rate {
		return
	}
	how, ripe, ok := t.spendOf(sp, o)
	if !ok || t.height+1 < ripe {
		return
	}
	fee := int64(rate) * commitment.TxWeight([]int64{how.Weight}, script) / 1000
	if o.amount-fee < commitment.DustLimitFor(script) {
		return
	}
	tx := &wire.MsgTx{Version: 2, TxIn: []*wire.TxIn{how.Input()}, TxOut: []*wire.TxOut{{Value: o.amount - fee, PkScript: script}}, LockTime: how.LockTime}
	mid := commitment.NewMidstate(tx)
	sig := t.c.Sign([]commitment.SignJob{how.Job(&mid, tx, 0)})[0]
	tx.TxIn[0].Witness = how.Witness(sig)
	if o.rate != rate {
		o.rate = rate
		t.dirty = true
	}
	o.asked = true
	t.request(chain.Publish{Tx: tx})
}

func (s *State) sweepScript() []byte {
	if len(s.localScript) > 0 {
		return s.localScript
	}
	return s.params.ShutdownScript
}

// notWorth: an output that cannot pay its own way even at the lowest fee rate is left behind.
func (s *State) notWorth(o *chainOutput) bool {
	if o.kind > outputPenalty || o.spent != 0 {
		return false
	}
	fee := int64(s.params.MinFeePerKw) * commitment.TxWeight([]int64{commitment.ToLocalPenaltyWitness}, s.sweepScript()) / 1000
	return o.amount-fee < commitment.DustLimitFor(s.sweepScript())
}

// endText says how far the end has come, and where this package stops.
func (s *State) endText() string {
	if s.end.kind == endNone {
		return s.end.reason
	}
	text := s.end.reason
	sp := s.end.spend
	if sp == nil {
		return text + "; nothing confirmed yet"
	}
	text += fmt.Sprintf("; %s at height %d", ownerText[sp.owner], sp.height)
	htlcs := 0
	for _, o := range sp.outputs {
		if o.kind >= outputOffered && o.spent == 0 {
			htlcs++
		}
	}
	if htlcs > 0 {
		text += fmt.Sprintf("; %d HTLC outputs unspent: not claimed by this version, claim them by hand", htlcs)
	}
	return text
}
