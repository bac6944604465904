package onchain

import (
	"slices"

	"lightningrod/chain"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// claimRoom is how many blocks a commitment leaves to the HTLC-timeout transactions after it.
const claimRoom = 18

// idleShare: for a commitment without HTLCs up to half of this part of our balance is paid, a hundredth in all.
const idleShare = 50

// wish is a transaction that needs coins of the wallet: an HTLC transaction, or a child of a commitment by its anchor.
type wish struct {
	Bump
	fee    int64 // sat, to be paid now
	weight int64 // with coins
	// Of the parent that it pulls: its weight, and what it pays itself, in sat.
	parent, parentFee int64
	job               func(tx *wire.MsgTx) commitment.SignJob
	witness           func(sig lnwire.Sig) wire.TxWitness
}

// publishOurs publishes our commitment, and pulls whichever unrevoked commitment is in the mempool.
func (t *turn) publishOurs() {
	if t.publish && (t.again || t.ours() == nil) {
		t.publishCommitment()
	}
	for i := range t.live {
		if w, ok := t.child(&t.live[i]); ok {
			t.bump(w)
		}
	}
}

func (t *turn) publishCommitment() {
	b := t.bidOf(t.p.Funding)
	if b.made == nil {
		cm := &t.live[0]
		script, _ := commitment.FundingScript(t.p.Local.Funding, t.p.Remote.Funding)
		sig := t.c.Sign([]commitment.SignJob{{Key: commitment.KeyFunding, Digest: cm.Digest(script)}})[0]
		b.made = cm.Signed(script, sig, cm.of.Sig)
	}
	stake, _ := t.stake(&t.live[0])
	t.request(b.made, stake.deadline)
}

// child is the wish for a child that pulls an unconfirmed commitment: ours if we publish it, the peer's if it was seen.
func (s *State) child(l *live) (wish, bool) {
	anchor, parent := l.OwnerAnchor, s.ours()
	if l.owner != Local {
		anchor, parent = l.OtherAnchor, l.Tx
	}
	wanted := l.owner == Local && s.publish || l.owner == Remote && l.TxID == s.seen
	if !wanted || anchor < 0 || parent == nil {
		return wish{}, false
	}
	how := commitment.SpendAnchor(s.p.Local.Funding, l.OutPoint(anchor))
	own := int64(len(l.HTLCs))*commitment.HTLCOutputWeight + commitment.CommitmentWeight
	weight := commitment.TxWeight([]int64{how.Weight}) + coinWeight
	c, pressing := s.stake(l)
	if l.owner == Remote && !pressing {
		return wish{}, false // let the peer pay
	}
	idle := s.idle(l)
	fee := max(c.fee(s.height, own+weight, s.rates), idle.fee(s.height, own+weight, s.rates)) - l.Fee // of the whole, less what the commitment pays itself
	if fee < relay(s.rates, weight) {
		return wish{}, false
	}
	rate := rateOf(fee+l.Fee, own+weight)
	w := wish{
		Bump: Bump{
			Out: how.Prev, Prev: l.Tx.TxOut[anchor], Sequence: how.Sequence, Witness: how.Weight,
			Rate: rate, Extra: max(rate.Fee(own)-l.Fee, 0), MaxFee: max(c.budget(), idle.budget(), fee), Deadline: c.deadline, Parent: parent,
		},
		fee: fee, weight: weight, parent: own, parentFee: l.Fee,
	}
	w.sign(&how)
	return w, true
}

// ours is our commitment, signed, if it has been published in this life.
func (s *State) ours() *wire.MsgTx {
	i := slices.IndexFunc(s.bids, func(b bid) bool { return b.out == s.p.Funding })
	if i < 0 {
		return nil
	}
	return s.bids[i].made
}

func (w *wish) sign(how *commitment.Spend) {
	w.job = func(tx *wire.MsgTx) commitment.SignJob {
		m := commitment.NewMidstate(tx)
		return how.Job(&m, tx, 0)
	}
	w.witness = how.Witness
}

// stake is what depends on a commitment's being confirmed, and until when: HTLCs we offered must be taken back, and those with a
// preimage claimed, before others run out. An HTLC we offered that has no output here, but may have one in another commitment, has
// failed once this one is deep, and not before. Without any it is only our balance, which is not pressing.
func (s *State) stake(l *live) (c curve, pressing bool) {
	c = curve{start: s.start, deadline: s.start + sweepWindow}
	before := func(height uint32, amount lnwire.MilliSatoshi) {
		c.value += int64(amount / 1000)
		c.deadline = min(c.deadline, height)
	}
	here := make(map[key]bool, len(l.HTLCs))
	for i := range l.HTLCs {
		h := &l.HTLCs[i].HTLC
		k := keyOf(l.owner, h)
		here[k] = true
		switch {
		case k.offered:
			back := s.p.HTLCs[s.index[k]].deadline()
			before(max(h.Expiry, back-min(back, claimRoom)), h.Amount)
		case s.preimageOf(k.id) != nil:
			before(h.Expiry-min(h.Expiry, deep), h.Amount)
		}
	}
	for i := range s.p.HTLCs {
		if h := &s.p.HTLCs[i]; h.Offered && s.told[i] == toldNothing && !here[h.key()] && s.hasOutput(h.key()) {
			back := h.deadline()
			before(max(h.Expiry, back-min(back, deep)), h.Amount)
		}
	}
	if c.value == 0 {
		return s.idle(l), false
	}
	c.deadline = max(c.deadline, c.start)
	return c, true
}

// idle is what our balance alone is worth: little, and without hurry. A small HTLC does not make it less.
func (s *State) idle(l *live) curve {
	c := curve{start: s.start, deadline: s.start + sweepWindow}
	if l.owner == Local && l.ToOwner >= 0 {
		c.value = l.Tx.TxOut[l.ToOwner].Value / idleShare
	}
	return c
}

// hasOutput says whether an HTLC has an output in any commitment that may confirm.
func (s *State) hasOutput(k key) bool {
	return slices.ContainsFunc(s.live, func(l live) bool {
		return slices.ContainsFunc(l.HTLCs, func(h commitment.HTLCOutput) bool { return keyOf(l.owner, &h.HTLC) == k })
	})
}

// htlcBump is the wish for the fee of an HTLC transaction.
func (s *State) htlcBump(c *claim) wish {
	h := &s.closing.live.HTLCs[c.nth]
	other := s.p.Ours.HTLCSigs[c.nth]
	witness := int64(commitment.HTLCTimeoutWitness)
	if c.preimage != nil {
		witness = commitment.HTLCSuccessWitness
	}
	w := wish{weight: c.weight(s.p.Sweep)}
	w.fee = c.fee(s.height, w.weight, s.rates)
	w.Bump = Bump{
		Out: c.out, Prev: &wire.TxOut{Value: c.amount, PkScript: c.script}, Sequence: h.Tx.TxIn[0].Sequence, Witness: witness,
		Outputs: h.Tx.TxOut, LockTime: h.Tx.LockTime, Rate: rateOf(w.fee, w.weight), MaxFee: max(c.budget(), w.fee), Deadline: c.deadline,
	}
	w.job = func(tx *wire.MsgTx) commitment.SignJob {
		m := commitment.NewMidstate(tx)
		return commitment.SignJob{
			Key: commitment.KeyHTLC, Point: s.p.Ours.Point, Digest: m.Digest(tx, 0, h.Script, c.amount),
		}
	}
	preimage := c.preimage
	w.witness = func(own lnwire.Sig) wire.TxWitness {
		if preimage != nil {
			return commitment.HTLCSuccessStack(h.Script, other, own, *preimage)
		}
		return commitment.HTLCTimeoutStack(h.Script, other, own)
	}
	return w
}

// bump asks for coins, or for more of them; what has been funded goes out again.
func (t *turn) bump(w wish) {
	b := t.bidOf(w.Out)
	if b.funded != nil && (t.again || b.made == nil) {
		b.made = b.funded
		t.request(b.funded, w.Deadline)
	}
	if !b.stranded && !w.replaces(b, t.rates) {
		return
	}
	if b.asked == w.fee && (b.funded != nil || !t.again) {
		return
	}
	b.asked = w.fee
	if !b.stranded {
		w.Replaces = b.funded
	}
	t.out.Bumps = append(t.out.Bumps, w.Bump)
}

// stranded has other coins asked for, in place of those of a transaction that has lost one. It may find its coin again, and is published
// until there is another; both spend the same output, so that only one of them confirms.
func (t *turn) stranded(txid chainhash.Hash) {
	for i := range t.bids {
		if b := &t.bids[i]; b.funded != nil && b.funded.TxHash() == txid {
			b.stranded, b.asked = true, 0
		}
	}
}

// replaces says whether a wish pays so much more than the transaction before it that nodes take it instead: BIP 125, rules 3 and 4, and a
// higher rate. Rates are compared, since the wallet pays the rate that it was asked for what its coins really weigh.
func (w *wish) replaces(b *bid, rates chain.FeeRates) bool {
	if b.funded == nil {
		return b.fee == 0 || w.fee >= b.fee+relay(rates, w.weight)
	}
	weight := w.parent + int64(3*b.funded.SerializeSizeStripped()+b.funded.SerializeSize())
	return w.Rate >= rateOf(b.fee+w.parentFee, weight)+rates.Sane().Floor
}

// funded takes the wallet's answer to a Bump, if it is one and still wanted.
func (t *turn) funded(ev Funded) {
	w, ok := t.wanted(ev.Out)
	switch {
	case ev.Tx == nil:
	case !ok || ev.Fee <= 0 || ev.Fee > w.MaxFee || !w.fits(ev.Tx) || t.foreignInputs(ev.Tx):
		t.out.Release = append(t.out.Release, ev.Tx)
	default:
		b := t.bidOf(ev.Out)
		if b.funded != nil && ev.Fee < b.fee && !b.stranded {
			t.out.Release = append(t.out.Release, ev.Tx)
			return
		}
		tx := ev.Tx.Copy()
		tx.TxIn[0].Witness = w.witness(t.c.Sign([]commitment.SignJob{w.job(tx)})[0])
		b.fee, b.funded, b.made, b.stranded = ev.Fee, tx, tx, false
		t.out.Changed = true
		if w.Parent != nil && t.spend == nil && t.publish && w.Out.Hash == t.live[0].TxID {
			t.publishCommitment()
		}
		t.request(tx, w.Deadline)
	}
}

// wanted finds the wish for an output.
func (t *turn) wanted(out wire.OutPoint) (wish, bool) {
	if t.spend == nil {
		for i := range t.live {
			if w, ok := t.child(&t.live[i]); ok && w.Out == out {
				return w, true
			}
		}
		return wish{}, false
	}
	for _, c := range t.claims() {
		if c.htlcTx != nil && c.out == out {
			return t.htlcBump(&c), true
		}
	}
	return wish{}, false
}

// fits says whether tx is what the Bump asked for.
func (b *Bump) fits(tx *wire.MsgTx) bool {
	if tx.Version != 2 || tx.LockTime != b.LockTime || len(tx.TxIn) < 2 || len(tx.TxOut) < max(len(b.Outputs), 1) {
		return false
	}
	if in := tx.TxIn[0]; in.PreviousOutPoint != b.Out || in.Sequence != b.Sequence {
		return false
	}
	return slices.EqualFunc(b.Outputs, tx.TxOut[:len(b.Outputs)], func(x, y *wire.TxOut) bool {
		return x.Value == y.Value && string(x.PkScript) == string(y.PkScript)
	})
}

// foreignInputs says whether a funded transaction spends more of the channel than its first input: claims are never put together.
func (t *turn) foreignInputs(tx *wire.MsgTx) bool {
	return slices.ContainsFunc(tx.TxIn[1:], func(in *wire.TxIn) bool {
		prev := in.PreviousOutPoint
		return prev == t.p.Funding || slices.ContainsFunc(t.live, func(l live) bool { return l.TxID == prev.Hash }) || t.isClosing(prev.Hash)
	})
}

func (t *turn) isClosing(txid chainhash.Hash) bool { return t.closing != nil && t.closing.txid == txid }
