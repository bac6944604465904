package onchain

import (
	"cmp"
	"slices"

	"lightningrod/chain"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/wire"
)

// claim is the one way in which we spend an output, and its fee.
type claim struct {
	*output
	curve
	ripe  uint32           // the lowest block it can be in
	spend commitment.Spend // if it pays for itself
	// If it is an HTLC transaction, which needs coins for its fee.
	htlcTx   *wire.MsgTx
	preimage *[32]byte
}

const (
	// sweepWindow is by when, in blocks, a sweep that nobody competes with should be in a block: the market's rate is that for the
	// time left. A commitment without HTLCs may bid all it can by then.
	sweepWindow = 1008
	// claimWindow is from how many blocks before its deadline on a claim by preimage bids more than the market asks.
	claimWindow = 80
	// coinWeight is what coins of the wallet add to a transaction: a P2WPKH input and a P2TR output.
	coinWeight = 4*41 + 109 + 4*43
)

// claimOf is how an unspent output is ours, if it is.
func (s *State) claimOf(o *output) (claim, bool) {
	cl := claim{output: o, curve: curve{value: o.amount}}
	p, cm := &s.p, s.closing
	k, prev := &cm.keys, o.out
	// Nobody else can spend it: no hurry.
	alone := func(ripe uint32) { cl.ripe, cl.curve.start, cl.deadline, cl.alone = ripe, ripe, ripe+sweepWindow, true }
	// The peer can, from the deadline on.
	until := func(deadline uint32) {
		cl.deadline = deadline
		cl.curve.start = max(o.height, min(deadline, max(deadline, claimWindow)-claimWindow))
	}
	switch o.kind {
	case kindToLocal, kindSecond:
		alone(o.height + uint32(p.LocalDelay))
		cl.spend = commitment.SpendDelayed(k, p.LocalDelay, prev, o.amount)
	case kindToRemote:
		alone(o.height + 1)
		cl.spend = commitment.SpendToRemote(p.Local.Payment, prev, o.amount)
	case kindCheatBalance, kindCheatSecond:
		until(o.height + uint32(p.RemoteDelay))
		cl.spend = commitment.SpendRevoked(k, p.RemoteDelay, cm.secret, prev, o.amount)
	case kindCheatHTLC:
		until(o.height + uint32(p.RemoteDelay))
		cl.spend = commitment.SpendRevokedHTLC(k, *o.htlc, cm.secret, prev)
	case kindOfferedOurs, kindOfferedTheirs:
		h := &p.HTLCs[s.index[key{true, o.htlc.ID}]]
		cl.ripe = max(o.height, h.Expiry) + 1
		cl.curve.start, cl.deadline = cl.ripe, max(h.deadline(), cl.ripe)
		if o.kind == kindOfferedOurs {
			cl.htlcTx = cm.live.HTLCs[o.nth].Tx
		} else {
			cl.spend = commitment.SpendTimeout(k, *o.htlc, prev)
		}
	case kindReceivedOurs, kindReceivedTheirs:
		known := s.preimageOf(o.htlc.ID)
		if known == nil {
			return cl, false
		}
		until(o.htlc.Expiry)
		cl.ripe, cl.curve.start = o.height+1, max(cl.curve.start, known.since)
		if cl.preimage = &known.preimage; o.kind == kindReceivedOurs {
			cl.htlcTx = cm.live.HTLCs[o.nth].Tx
		} else {
			cl.spend = commitment.SpendPreimage(k, *o.htlc, known.preimage, prev)
		}
	default:
		return cl, false
	}
	return cl, true
}

// weight of the whole transaction, an upper bound.
func (c *claim) weight(sweep []byte) int64 {
	switch c.kind {
	case kindOfferedOurs:
		return commitment.HTLCTimeoutWeight + coinWeight
	case kindReceivedOurs:
		return commitment.HTLCSuccessWeight + coinWeight
	}
	return commitment.TxWeight([]int64{c.spend.Weight}, sweep)
}

// witnessOf is the weight of the witness that claims an output which pays for itself.
var witnessOf = [kinds]int64{
	kindToLocal:        commitment.DelayedWitness,
	kindSecond:         commitment.DelayedWitness,
	kindToRemote:       commitment.ToRemoteWitness,
	kindOfferedTheirs:  commitment.ReceivedTimeoutWitness,
	kindReceivedTheirs: commitment.OfferedPreimageWitness,
	kindCheatBalance:   commitment.ToLocalPenaltyWitness,
	kindCheatSecond:    commitment.ToLocalPenaltyWitness,
	kindCheatHTLC:      commitment.ReceivedPenaltyWitness, // the larger one
}

// worth says whether an output brings more than the least it costs to claim it. Estimates do not matter: what is worth claiming stays so.
func (s *State) worth(o *output) bool {
	switch o.kind {
	case kindOfferedOurs:
		return chain.FeerateFloor.Fee(commitment.HTLCTimeoutWeight+coinWeight) <= o.amount/2
	case kindReceivedOurs:
		return chain.FeerateFloor.Fee(commitment.HTLCSuccessWeight+coinWeight) <= o.amount/2
	case kindIgnored, kindUnknown:
		return false
	}
	fee := chain.FeerateFloor.Fee(commitment.TxWeight([]int64{witnessOf[o.kind]}, s.p.Sweep))
	return o.amount-fee >= commitment.DustLimitFor(s.p.Sweep)
}

// claims are all that can be in the next block, the most urgent first.
func (s *State) claims() []claim {
	var list []claim
	all := s.outputs()
	for i := range all {
		o := &all[i]
		if o.kind == kindIgnored || s.spentAt(o.out) != nil || !s.worth(o) {
			continue
		}
		if c, ok := s.claimOf(o); ok && s.height+1 >= c.ripe {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b claim) int {
		return cmp.Or(cmp.Compare(a.deadline, b.deadline), cmp.Compare(b.amount, a.amount))
	})
	return list
}

// claimAll bids for everything that is ours now.
func (t *turn) claimAll() {
	t.dropBids()
	list := t.claims()
	var jobs []commitment.SignJob
	var due []*claim // in the order of jobs
	for i := range list {
		c := &list[i]
		if c.htlcTx != nil {
			t.bump(t.htlcBump(c))
			continue
		}
		b := t.bidOf(c.out)
		if fee := t.raise(b, c); fee != b.fee || b.made == nil {
			b.fee, b.made, t.out.Changed = fee, c.sweep(fee, t.p.Sweep), true
			m := commitment.NewMidstate(b.made)
			jobs, due = append(jobs, c.spend.Job(&m, b.made, 0)), append(due, c)
		} else if t.again {
			t.request(b.made, c.deadline)
		}
	}
	if len(jobs) == 0 {
		return
	}
	for i, sig := range t.c.Sign(jobs) {
		b := t.bidOf(due[i].out)
		b.made.TxIn[0].Witness = due[i].spend.Witness(sig)
		t.request(b.made, due[i].deadline)
	}
}

func (t *turn) request(tx *wire.MsgTx, deadline uint32) {
	t.out.Chain = append(t.out.Chain, chain.Publish{Tx: tx, Deadline: deadline})
}

// raise is the fee to bid now: that of the curve, if it is so much more than the last bid that it replaces it.
func (s *State) raise(b *bid, c *claim) int64 {
	weight := c.weight(s.p.Sweep)
	fee := min(c.fee(s.height, weight, s.rates), c.amount-commitment.DustLimitFor(s.p.Sweep))
	if b.fee != 0 && fee < b.fee+relay(s.rates, weight) {
		return b.fee
	}
	return fee
}

// sweep is the transaction of a claim that pays for itself, unsigned.
func (c *claim) sweep(fee int64, script []byte) *wire.MsgTx {
	return &wire.MsgTx{
		Version: 2, TxIn: []*wire.TxIn{c.spend.Input()}, LockTime: c.spend.LockTime,
		TxOut: []*wire.TxOut{{Value: c.amount - fee, PkScript: script}},
	}
}

// isChild says whether a bid is a child of the closing transaction, by its anchor.
func (s *State) isChild(b *bid) bool {
	out := s.closing.outputs
	return b.funded != nil && b.out.Hash == s.closing.txid && int64(b.out.Index) < int64(len(out)) && out[b.out.Index].kind == kindIgnored
}

// children publishes on the child that was to pull the closing transaction. It has nothing to pull any more, but coins of the wallet are
// locked in it, and who has seen it may still mine it: so they are free when it is in a block, or when all is over.
func (t *turn) children() {
	for i := range t.bids {
		if b := &t.bids[i]; t.again && t.isChild(b) {
			t.request(b.funded, 0)
		}
	}
}

// releaseAll frees the coins of whatever is not confirmed, when all is over. What is confirmed the wallet knows.
func (t *turn) releaseAll() {
	for i := range t.bids {
		if b := &t.bids[i]; b.funded != nil {
			t.out.Release = append(t.out.Release, b.funded)
		}
	}
}

// dropBids forgets, once the closing transaction is deep, bids for outputs that are not there any more.
func (t *turn) dropBids() {
	if len(t.bids) == 0 || t.depth(t.spend.height) < deep {
		return
	}
	there := make(map[wire.OutPoint]bool)
	for _, o := range t.outputs() {
		f := t.spentAt(o.out)
		there[o.out] = o.kind != kindIgnored && (f == nil || t.depth(f.height) < deep)
	}
	t.bids = slices.DeleteFunc(t.bids, func(b bid) bool {
		if t.isChild(&b) {
			return false
		}
		if !there[b.out] && b.funded != nil && t.void(&b) {
			t.out.Release = append(t.out.Release, b.funded)
		}
		return !there[b.out]
	})
}

// void says whether the funded transaction of a bid can never confirm: its output was spent by another, or belongs to a commitment that
// lost. The child of the one that won still can.
func (s *State) void(b *bid) bool {
	if f := s.spentAt(b.out); f != nil {
		return f.by != b.funded.TxHash()
	}
	return b.out.Hash != s.closing.txid
}
