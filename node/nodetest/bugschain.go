package nodetest

import (
	"crypto/sha256"
	"slices"

	"lightningrod/chain"
	"lightningrod/channel"
	"lightningrod/channel/commitment"
	"lightningrod/channel/onchain"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// The bugs of the catalogue that live on chain.

// batch is claims that are put together into one transaction. It is played by claims that are lost together: as soon as somebody else
// spends one of the outputs, none of the others is in a block.
type batch struct {
	claims   []*claimed
	lost     map[wire.OutPoint]bool // outputs that others have spent
	broken   bool
	versions int    // how often its fee was raised since it was put together
	at       uint32 // when it was raised last
}

// claimed is an output of the batch, and the transactions that were made for it, the cheapest first.
type claimed struct {
	out  wire.OutPoint
	made []*wire.MsgTx
}

func (in *inbox) closedBy(n *node) (onchain.Owner, bool) {
	c := in.state.OnChain()
	if c == nil {
		return 0, false
	}
	owner, _, _, ok := c.Closed()
	return owner, ok
}

// onChain changes what is heard of how HTLCs ended.
func (b Bug) onChain(n *node, in *inbox, notices []channel.Notice) []channel.Notice {
	if b == BugMissingTheirs || b == BugMissingOurs {
		return b.withhold(n, in, notices)
	}
	owner, closed := in.closedBy(n)
	if !closed || b != BugHashAndAmount && b != BugFirstOfEqual {
		return notices
	}
	notices = slices.Clone(notices)
	for i, x := range notices {
		r, ok := x.(channel.Resolved)
		if _, failed := r.Outcome.(channel.Fail); !ok || !failed {
			continue
		}
		me := find(in.state.Offered(), r.Key.HTLC)
		for _, h := range in.state.Offered() {
			if h.HTLC.Hash != me.HTLC.Hash || h.HTLC.Amount != me.HTLC.Amount || h.HTLC.Key == r.Key {
				continue
			}
			if b == BugHashAndAmount && !in.failed[h.HTLC.Key] {
				r.Key, r.Origin = h.HTLC.Key, h.HTLC.Origin
				notices[i] = r
				break
			}
			if b == BugFirstOfEqual && owner == onchain.Cheat && h.HTLC.Key.HTLC < me.HTLC.Key.HTLC {
				notices[i] = channel.Warn{}
				break
			}
		}
		if in.failed == nil {
			in.failed = map[channel.Key]bool{}
		}
		in.failed[r.Key] = true
	}
	return slices.DeleteFunc(notices, func(x channel.Notice) bool { return x == channel.Warn{} })
}

// withhold tells of a preimage only when the removal is irrevocable, or somebody needs it upstream. If the channel goes on chain before, the
// commitment that is confirmed decides: an HTLC that it has not was not paid.
func (b Bug) withhold(n *node, in *inbox, notices []channel.Notice) (heard []channel.Notice) {
	for _, x := range notices {
		r, ok := x.(channel.Resolved)
		_, paid := r.Outcome.(channel.Fulfill)
		if ok && paid && in.state.OnChain() == nil && find(in.state.Offered(), r.Key.HTLC) != nil {
			in.withheld = append(in.withheld, r)
			continue
		}
		heard = append(heard, x)
	}
	owner, closed := in.closedBy(n)
	var rest []channel.Resolved
	for _, r := range in.withheld {
		h := find(in.state.Offered(), r.Key.HTLC)
		switch {
		case h == nil:
			heard = append(heard, r)
		case !closed && n.needs(r):
			heard = append(heard, r)
		case !closed:
			rest = append(rest, r)
		case owner != map[Bug]onchain.Owner{BugMissingTheirs: onchain.Remote, BugMissingOurs: onchain.Local}[b] || n.w.hasOutput(n, in.edge, h.HTLC):
			heard = append(heard, r)
		case n.w.depth(in.edge.ending(n.w).tx) < 6:
			rest = append(rest, r)
		default:
			r.Outcome = channel.Fail{Reason: []byte("not there")}
			heard = append(heard, r)
		}
	}
	in.withheld = rest
	return heard
}

// needs says that the incoming HTLC of a forwarded one is in a channel on its way to the chain.
func (n *node) needs(r channel.Resolved) bool {
	f, ok := r.Origin.(channel.Forward)
	if !ok {
		return false
	}
	in := n.get(f.In.Channel)
	return in == nil || in.state.Phase() >= channel.PhaseClosing
}

// hasOutput says whether an HTLC that a node offered has an output in the commitment that was confirmed.
func (w *World) hasOutput(n *node, e *edge, h *channel.HTLC) bool {
	x := e.ending(w)
	if x == nil || x.cm == nil {
		return true
	}
	for _, o := range x.cm.HTLCs {
		if o.HTLC.ID == h.Key.HTLC && o.HTLC.Offered == (x.side == n.side(e)) {
			return true
		}
	}
	return false
}

// restored: what was withheld is withheld again.
func (b Bug) restored(n *node) {
	if b != BugMissingTheirs && b != BugMissingOurs {
		return
	}
	for _, in := range n.inboxes {
		for _, h := range in.state.Offered() {
			if _, paid := h.Outcome.(channel.Fulfill); paid {
				in.withheld = append(in.withheld, channel.Resolved{Key: h.HTLC.Key, Origin: h.HTLC.Origin, Outcome: h.Outcome})
			}
		}
	}
}

// facts are the facts that channels hear.
func (b Bug) facts(n *node, facts []chain.Fact) []chain.Fact {
	switch b {
	case BugForkKept:
		return slices.DeleteFunc(slices.Clone(facts), func(f chain.Fact) bool { _, gone := f.Event.(chain.BlockDisconnected); return gone })
	case BugOwnCommitment:
		facts = slices.Clone(facts)
		for i, f := range facts {
			spent, ok := f.Event.(chain.Spent)
			if in := n.get(channel.ID(f.Owner)); ok && in != nil && spent.Out != in.edge.funding {
				spent.By = hideForeign(in, spent.By)
				facts[i].Event = spent
			}
		}
	}
	return facts
}

// hideForeign takes the preimages of HTLCs that are not in our commitment out of a transaction.
func hideForeign(in *inbox, tx *wire.MsgTx) *wire.MsgTx {
	own := map[[32]byte]bool{}
	for _, h := range in.state.OnchainParams(in.crypto).Ours.Spec.HTLCs {
		own[h.Hash] = true
	}
	tx = tx.Copy()
	for _, txIn := range tx.TxIn {
		for i, item := range txIn.Witness {
			if len(item) == 32 && !own[sha256.Sum256(item)] {
				txIn.Witness[i] = make([]byte, 32)
			}
		}
	}
	return tx
}

// publish is what is published in the place of a transaction, nil for nothing.
func (b Bug) publish(n *node, owner channel.ID, tx *wire.MsgTx) *wire.MsgTx {
	in := n.get(owner)
	if in == nil || b != BugBatched && b != BugFeesReset || !in.batched(n, tx) {
		return tx
	}
	if in.batch == nil {
		in.batch = &batch{lost: map[wire.OutPoint]bool{}}
	}
	out := tx.TxIn[0].PreviousOutPoint
	at := slices.IndexFunc(in.batch.claims, func(c *claimed) bool { return c.out == out })
	if at < 0 {
		at = len(in.batch.claims)
		in.batch.claims = append(in.batch.claims, &claimed{out: out})
	}
	c := in.batch.claims[at]
	if k := len(c.made); k == 0 || c.made[k-1] != tx {
		c.made = append(c.made, tx)
	}
	switch {
	case b == BugFeesReset:
		if h := n.height(); h != in.batch.at {
			in.batch.versions, in.batch.at = in.batch.versions+1, h
		}
		return c.made[min(in.batch.versions, len(c.made)-1)]
	case in.batch.broken:
		return nil
	}
	return tx
}

// batched says whether a transaction is one of those that a bug puts together: penalties, or HTLCs that are taken back.
func (in *inbox) batched(n *node, tx *wire.MsgTx) bool {
	x, owner := in.edge.ending(n.w), in.edge.view[n.side(in.edge)]
	if x == nil || x.cm == nil || tx.TxIn[0].PreviousOutPoint.Hash != x.id {
		return false
	}
	if n.w.bug == BugBatched {
		return owner == onchain.Cheat
	}
	return owner != onchain.Cheat && slices.ContainsFunc(x.cm.HTLCs, func(o commitment.HTLCOutput) bool {
		return o.Index == tx.TxIn[0].PreviousOutPoint.Index && o.HTLC.Offered == (x.side == n.side(in.edge))
	})
}

// block is before a block is mined.
func (b Bug) block(w *World) {
	if b != BugBatched && b != BugFeesReset {
		return
	}
	for _, n := range w.nodes {
		for _, in := range n.inboxes {
			if in.batch != nil && !n.bad {
				b.regroup(n, in)
			}
		}
	}
}

// regroup looks whether somebody else has spent an output of a batch. Then all of it is lost for this block.
func (b Bug) regroup(n *node, in *inbox) {
	t := in.batch
	conflict := false
	var own []chainhash.Hash
	for _, c := range t.claims {
		for _, p := range n.w.chain.pool {
			if spends(p.tx, c.out) {
				if n.w.chain.made[p.id].by == n.index {
					own = append(own, p.id)
				} else if !t.lost[c.out] {
					t.lost[c.out], conflict = true, true
				}
			}
		}
		if by := n.w.chain.spent[c.out]; by != nil && n.w.chain.made[n.w.chain.ids[by]].by != n.index && !t.lost[c.out] {
			t.lost[c.out], conflict = true, true
		}
	}
	if !conflict {
		return
	}
	t.broken, t.versions = true, 0
	for _, id := range own {
		n.w.chain.burn(id)
		n.publishing = slices.DeleteFunc(n.publishing, func(p publication) bool { return p.id == id })
	}
}
