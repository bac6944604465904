package nodetest

import (
	"crypto/sha256"
	"fmt"

	"lightningrod/channel"
	"lightningrod/channel/channeltest"
	"lightningrod/channel/commitment"
	"lightningrod/channel/onchain"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// ending is the transaction that spent a channel's funding output on the best chain, as the simulator knows it: it has all
// commitments that either end ever had.
type ending struct {
	tx   *wire.MsgTx
	id   chainhash.Hash
	side int                    // whose commitment; -1: both agreed
	cm   *commitment.Commitment // nil: both agreed
}

// remember keeps a State for the sake of its commitment.
func (e *edge) remember(side int, s *channel.State) { e.past[side] = append(e.past[side], s) }

func (e *edge) ending(w *World) *ending {
	tx := w.chain.spent[e.funding]
	if tx == nil {
		return nil
	}
	if x := e.known[tx]; x != nil {
		return x
	}
	x := e.identify(w, tx)
	e.known[tx] = x
	return x
}

func (e *edge) identify(w *World, tx *wire.MsgTx) *ending {
	x := &ending{tx: tx, id: w.chain.ids[tx], side: -1}
	obscure := commitment.ObscureFactor(e.crypto[e.opener].BasePoints().Payment, e.crypto[1-e.opener].BasePoints().Payment)
	number, ok := commitment.Number(tx, obscure)
	if !ok {
		return x
	}
	for side, past := range e.past {
		for i := range past {
			cm := commitmentOf(past[len(past)-1-i], e.crypto[side], obscure, number)
			if cm != nil && cm.TxID == x.id {
				x.side, x.cm = side, cm
				return x
			}
		}
	}
	w.fail("%s: %v is a commitment that nobody had", e.name, x.id)
	return nil
}

// commitmentOf is a State's own commitment, if it has that number.
func commitmentOf(s *channel.State, c *channeltest.Toy, obscure, number uint64) *commitment.Commitment {
	p := s.OnchainParams(c)
	if p.Ours.Spec.Number != number {
		return nil
	}
	k, err := c.DeriveKeys(p.Ours.Point, p.Local, p.Remote)
	if err != nil {
		return nil
	}
	cm, err := commitment.Build(commitment.Static{Funding: p.Funding, Capacity: p.Capacity, OwnerIsOpener: p.Opener,
		DustLimit: p.LocalDustLimit, ToSelfDelay: p.LocalDelay, Obscure: obscure}, k, p.Ours.Spec)
	if err != nil {
		return nil
	}
	return cm
}

// depth is how deep a transaction is, counted from the highest block there ever was: what somebody believed before a reorganisation counts.
func (w *World) depth(tx *wire.MsgTx) int {
	h, ok := w.chain.mined[w.chain.ids[tx]]
	if !ok {
		return 0
	}
	return int(w.peak) - int(h) + 1
}

// final says whether an HTLC that a node has offered can never be claimed by the peer any more, and how that is known.
func (w *World) final(n *node, e *edge, h *channel.HTLC, deep int) (bool, string) {
	x := e.ending(w)
	switch {
	case x == nil:
		return false, "nothing is confirmed"
	case w.depth(x.tx) < deep:
		return false, fmt.Sprintf("what was confirmed is %d blocks deep", w.depth(x.tx))
	case x.side < 0 || e.view[n.side(e)] == onchain.Cheat:
		return true, ""
	}
	for i := range x.cm.HTLCs {
		o := &x.cm.HTLCs[i]
		if o.HTLC.ID != h.Key.HTLC || o.HTLC.Offered != (x.side == n.side(e)) {
			continue
		}
		by := w.chain.spent[x.cm.OutPoint(int(o.Index))]
		switch {
		case by == nil && h.Amount < worthless && w.peak >= h.Expiry:
			return true, leftAlone
		case by == nil:
			return false, "its output is unspent"
		case w.depth(by) < deep:
			return false, fmt.Sprintf("the spend of its output is %d blocks deep", w.depth(by))
		}
		_, shown := commitment.PreimageIn(by, h.Hash)
		return !shown, "its output was claimed by preimage"
	}
	return true, ""
}

func outOf(id chainhash.Hash, index int) wire.OutPoint {
	return wire.OutPoint{Hash: id, Index: uint32(index)}
}

// leftAlone is why an HTLC may count as over, but need not: its output is hardly worth claiming, and still there.
const leftAlone = "its output is left alone"

// What an output may be worth that nobody claims, since that costs more.
const worthless = 700_000 // msat

// Nobody has it.
const nobody = -1

// gets says which node has what an output paid, in the end.
func (w *World) gets(out wire.OutPoint) int {
	by := w.chain.spent[out]
	if by == nil {
		return nobody
	}
	for i, in := range by.TxIn {
		if in.PreviousOutPoint == out && i < len(by.TxOut) && len(by.TxOut[i].PkScript) == 34 {
			return w.gets(outOf(w.chain.ids[by], i)) // the second stage of an HTLC
		}
	}
	return owner(by.TxOut[0])
}

// owner is whose address an output pays.
func owner(out *wire.TxOut) int {
	if len(out.PkScript) != 22 {
		return nobody
	}
	return int(out.PkScript[21]) - 1
}

// settledHTLC is what a node has been told of an HTLC's end, which decides what it believes to have.
type settledHTLC struct {
	amount lnwire.MilliSatoshi
	hash   [32]byte
	paid   bool
}

// ledger is what a node must have in a channel by what its channel told it.
func (w *World) ledger(n *node, e *edge) lnwire.MilliSatoshi {
	sum := e.begin[n.side(e)]
	id := channel.ID(e.index + 1)
	for k, h := range w.truth.received {
		if k.node == n.index && k.key.Channel == id && h.paid {
			sum += h.amount
		}
	}
	for k, h := range w.truth.resolved {
		if k.node == n.index && k.key.Channel == id && h.paid {
			sum -= h.amount
		}
	}
	return sum
}

// judgeEnding looks at what a node got out of a channel.
func (w *World) judgeEnding(n *node, e *edge, x *ending) {
	side := n.side(e)
	switch {
	case x.cm == nil:
		w.judgeAgreed(n, e, x)
		return
	case e.view[side] == onchain.Cheat:
		w.judgeJustice(n, e, x)
		return
	}
	// What the commitment says, plus what became of its HTLCs, is what the node was told: to the msat.
	owns := x.side == side
	balance, index := x.cm.Spec.ToOther, x.cm.ToOther
	if owns {
		balance, index = x.cm.Spec.ToOwner, x.cm.ToOwner
	}
	sum := balance
	for _, h := range x.cm.Spec.HTLCs {
		told := w.told1(n, e, &h, h.Offered == owns)
		if told != (h.Offered == owns) { // received and paid, or offered and failed
			sum += h.Amount
		}
	}
	ledger := w.ledger(n, e)
	w.must(invMoney, sum == ledger || sum > ledger && (w.hasRogue(e) || sum-ledger <= w.windfall(n, e)),
		"%s on %s: its channel told of %d msat, the commitment that was confirmed comes to %d", n.name, e.name, ledger, sum)
	// And it has it, each output whole.
	if index >= 0 {
		out := x.cm.OutPoint(index)
		value := x.tx.TxOut[index].Value
		who := w.gets(out)
		w.must(invSwept, who == n.index || who == nobody && value*1000 < worthless,
			"%s on %s: its balance of %d sat went to %s", n.name, e.name, value, w.nameOf(who))
	} else {
		w.must(invSwept, balance < dustLimit+x.fee(n, e), "%s on %s: its balance of %d msat has no output", n.name, e.name, balance)
	}
	for i := range x.cm.HTLCs {
		w.judgeHTLC(n, e, x, &x.cm.HTLCs[i])
	}
}

// windfall is what a node may have been told was paid and kept: a preimage is good for every HTLC with its hash, also for one that
// was not in the commitment that was confirmed.
func (w *World) windfall(n *node, e *edge) (sum lnwire.MilliSatoshi) {
	count := map[[32]byte]int{}
	for round := range 2 {
		for k, h := range w.truth.resolved {
			if k.node != n.index || k.key.Channel != channel.ID(e.index+1) || !h.paid {
				continue
			}
			if round == 0 {
				count[h.hash]++
			} else if count[h.hash] > 1 {
				sum += h.amount
			}
		}
	}
	return sum
}

// fee is what the opener of a channel may have paid for its commitment, in msat.
func (x *ending) fee(n *node, e *edge) lnwire.MilliSatoshi {
	if n.side(e) != e.opener {
		return 0
	}
	return lnwire.MilliSatoshi(x.cm.BaseFee+2*commitment.AnchorAmount) * 1000
}

// told1 is whether the node was told that an HTLC was paid.
func (w *World) told1(n *node, e *edge, h *commitment.HTLC, offered bool) bool {
	k := nodeKey{n.index, channel.Key{Channel: channel.ID(e.index + 1), HTLC: h.ID}}
	if offered {
		return w.truth.resolved[k].paid
	}
	return w.truth.received[k].paid
}

func (w *World) judgeHTLC(n *node, e *edge, x *ending, h *commitment.HTLCOutput) {
	offered := h.HTLC.Offered == (x.side == n.side(e))
	paid := w.told1(n, e, &h.HTLC, offered)
	who := w.gets(x.cm.OutPoint(int(h.Index)))
	small := w.small(h.HTLC.Amount)
	kind := map[bool]string{true: "offered", false: "received"}[offered]
	w.stats.htlc(fmt.Sprintf("%s, paid %t, %s", kind, paid, map[bool]string{true: "ours", false: "not ours"}[who == n.index]))
	switch {
	case offered && !paid, !offered && paid:
		w.must(invSwept, who == n.index || small, "%s on %s: %s HTLC %d of %d msat, paid %t, went to %s",
			n.name, e.name, kind, h.HTLC.ID, uint64(h.HTLC.Amount), paid, w.nameOf(who))
	case offered:
		// It may come back although it was paid for: then the peer has not claimed it.
		w.must(invSwept, true, "")
	default:
		w.must(invSwept, who != n.index, "%s on %s: HTLC %d was claimed, and told to have failed", n.name, e.name, h.HTLC.ID)
	}
}

// small says that an HTLC, or its revoked output, may be lost on chain, whatever its owner does.
func (w *World) small(amount lnwire.MilliSatoshi) bool {
	return amount < worthless || w.cfg.congested && amount < lost
}

// lost is what a fee market that stays high may take from an HTLC, in msat: claims pay up to half of their value.
const lost = 10_000_000

// judgeAgreed: a cooperative close pays the balance, less the fee that the opener pays, and what is too little for an output.
func (w *World) judgeAgreed(n *node, e *edge, x *ending) {
	var got, others int64
	for _, out := range x.tx.TxOut {
		if owner(out) == n.index {
			got += out.Value
		} else {
			others += out.Value
		}
	}
	want := int64(w.ledger(n, e) / 1000)
	if n.side(e) == e.opener {
		want -= capacity - got - others // the fee, and rounding
	}
	w.must(invMoney, got == want || got >= want-1 || got == 0 && want*1000 < 2*dustLimit,
		"%s: the close of %s paid it %d sat, expected %d", n.name, e.name, got, want)
}

// judgeJustice: all of a revoked commitment is the honest side's.
func (w *World) judgeJustice(n *node, e *edge, x *ending) {
	for i, out := range x.tx.TxOut {
		if i == x.cm.OwnerAnchor || i == x.cm.OtherAnchor {
			continue
		}
		who := w.gets(x.cm.OutPoint(i))
		if by := w.chain.spent[x.cm.OutPoint(i)]; by != nil && len(by.TxOut[0].PkScript) == 34 {
			w.stats.htlc("revoked, second stage punished")
		} else if i != x.cm.ToOwner && i != x.cm.ToOther {
			w.stats.htlc("revoked, punished")
		}
		w.must(invJustice, who == n.index || w.small(lnwire.MilliSatoshi(out.Value*1000)),
			"%s on %s: output %d of the revoked commitment %d, %d sat, went to %s", n.name, e.name, i, x.cm.Spec.Number, out.Value, w.nameOf(who))
	}
}

func (w *World) nameOf(who int) string {
	if who == nobody {
		return "nobody"
	}
	return w.nodes[who].name
}

func (w *World) hasRogue(e *edge) bool { return e.rogue[0] != nil || e.rogue[1] != nil }

// judgeCoins: what a node has at its address is what it had, and what it got out of channels, less the fees of its transactions.
func (w *World) judgeCoins(n *node) {
	want := int64(coins * coinValue)
	for _, e := range w.edges {
		x := e.ending(w)
		if x == nil {
			continue
		}
		for i, out := range x.tx.TxOut {
			switch {
			case x.cm == nil && owner(out) == n.index:
				want += out.Value
			case x.cm != nil && w.gets(outOf(x.id, i)) == n.index:
				want += out.Value
			}
		}
	}
	for id := range w.chain.mined {
		if m, ok := w.chain.made[id]; ok && m.by == n.index && !w.isEnding(id) {
			want -= m.fee
		}
	}
	var have int64
	for out, txOut := range w.chain.outs {
		if w.chain.spent[out] == nil && owner(txOut) == n.index {
			have += txOut.Value
		}
	}
	w.must(invCoins, have == want, "%s has %d sat on chain, transactions and fees say %d", n.name, have, want)
}

func (w *World) isEnding(id chainhash.Hash) bool {
	for _, e := range w.edges {
		if x := e.ending(w); x != nil && x.id == id {
			return true
		}
	}
	return false
}

// describe says what a transaction is to the channels.
func (w *World) describe(tx *wire.MsgTx, id chainhash.Hash) string {
	text := fmt.Sprintf("%x", id[:4])
	if len(tx.TxIn) > 1 {
		text += fmt.Sprintf(" with %d coins", len(tx.TxIn)-1)
	}
	out := tx.TxIn[0].PreviousOutPoint
	for _, e := range w.edges {
		if out == e.funding {
			return text + ", which closes " + e.name
		}
		if x := e.ending(w); x != nil && x.id == out.Hash {
			text += fmt.Sprintf(", which spends output %d of the close of %s", out.Index, e.name)
			for _, item := range tx.TxIn[0].Witness {
				if len(item) == 32 && x.cm != nil {
					for _, h := range x.cm.Spec.HTLCs {
						if sha256.Sum256(item) == h.Hash {
							text += " by preimage"
						}
					}
				}
			}
			return text
		}
	}
	return text + fmt.Sprintf(", which spends %x:%d", out.Hash[:4], out.Index)
}
