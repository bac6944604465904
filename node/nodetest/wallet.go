package nodetest

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"lightningrod/chain"
	"lightningrod/channel/commitment"
	"lightningrod/channel/onchain"

	"github.com/btcsuite/btcd/wire"
)

// wallet is a node's coins: all outputs of the best chain to its address. What is locked for what is durable at once.
type wallet struct {
	node   int
	locked map[wire.OutPoint]wire.OutPoint // coins, and the Bump they are for
	dry    uint32                          // it has no coins until this height
}

// A node begins with this many coins, in sat.
const (
	coins     = 32
	coinValue = 40_000
)

func newWallet(n int) *wallet { return &wallet{node: n, locked: map[wire.OutPoint]wire.OutPoint{}} }

// coins are those free for a Bump, the largest first; those that it has already before all others.
func (w *wallet) coins(c *Chain, bump wire.OutPoint) (list []wire.OutPoint) {
	address := script(w.node)
	for out, txOut := range c.outs {
		if c.spent[out] != nil || !bytes.Equal(txOut.PkScript, address) {
			continue
		}
		if owner, locked := w.locked[out]; locked && owner != bump {
			continue
		}
		list = append(list, out)
	}
	slices.SortFunc(list, func(a, b wire.OutPoint) int {
		_, mineA := w.locked[a]
		_, mineB := w.locked[b]
		if mineA != mineB {
			return map[bool]int{true: -1, false: 1}[mineA]
		}
		return cmp.Or(cmp.Compare(c.outs[b].Value, c.outs[a].Value), bytes.Compare(a.Hash[:], b.Hash[:]), cmp.Compare(a.Index, b.Index))
	})
	return list
}

// fund answers a Bump, as its docstring has it; nil if there is no coin. more is by how much the rate is raised, in tenths.
func (w *wallet) fund(c *Chain, b onchain.Bump, more int64) (*wire.MsgTx, int64) {
	if c.height() < w.dry {
		return nil, 0
	}
	rate := b.Rate + chain.FeePerKw(int64(b.Rate)*more/10)
	need := b.Extra
	tx := &wire.MsgTx{Version: 2, LockTime: b.LockTime, TxOut: slices.Clone(b.Outputs)}
	tx.TxIn = []*wire.TxIn{{PreviousOutPoint: b.Out, Sequence: b.Sequence, Witness: wire.TxWitness{make([]byte, b.Witness)}}}
	in := b.Prev.Value
	for _, o := range b.Outputs {
		need += o.Value
	}
	weight := func() int64 {
		return 3*int64(tx.SerializeSizeStripped()) + int64(tx.SerializeSize()) + commitment.OutputWeight(script(w.node))
	}
	for _, coin := range w.coins(c, b.Out) {
		if len(tx.TxIn) > 1 && in-need-commitment.DustLimitFor(script(w.node)) >= min(rate.Fee(weight()), b.MaxFee-b.Extra) {
			break
		}
		w.locked[coin] = b.Out
		tx.TxIn = append(tx.TxIn, &wire.TxIn{PreviousOutPoint: coin, Sequence: wire.MaxTxInSequenceNum - 2, Witness: mark(w.node)})
		in += c.outs[coin].Value
	}
	if len(tx.TxIn) == 1 {
		return nil, 0
	}
	fee := rate.Fee(weight()) + b.Extra
	if old := b.Replaces; old != nil {
		if m, ok := c.made[old.TxHash()]; ok {
			fee = max(fee, m.fee+relayFee(weight())+1)
		}
	}
	outputs := need - b.Extra
	fee = min(fee, b.MaxFee, in-outputs-commitment.DustLimitFor(script(w.node)))
	if fee <= 0 {
		return nil, 0
	}
	tx.TxOut = append(tx.TxOut, &wire.TxOut{Value: in - outputs - fee, PkScript: script(w.node)})
	tx.TxIn[0].Witness = nil
	return tx, fee
}

// release frees the coins of a transaction that is of no use.
func (w *wallet) release(tx *wire.MsgTx) {
	if tx != nil && len(tx.TxIn) > 0 {
		for coin, bump := range w.locked {
			if bump == tx.TxIn[0].PreviousOutPoint {
				delete(w.locked, coin)
			}
		}
	}
}

// undo has a crash that takes the turn take back what happens to the locks now.
func (w *wallet) undo(t *turn) {
	before := maps.Clone(w.locked)
	t.lost = append(t.lost, func() { w.locked = before })
}
