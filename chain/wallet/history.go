package wallet

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/wire"
)

// Transaction is one that the wallet made or saw in the mempool, and that is pending or was it less than 144 blocks ago.
type Transaction struct {
	Tx      *wire.MsgTx
	Own     bool           // made by Fund or Sweep
	Publish bool           // with Options.Publish: a payment of its own, not part of a channel
	Height  uint32         // of the block that has it, 0: none
	Dead    uint32         // of the block that has made it impossible, 0: none
	Fee     btcutil.Amount // if it is known
	Known   bool
	Net     btcutil.Amount // what it brings the wallet, less what it takes from it
}

// Transactions are those that are pending, and then the others, the newest first.
func (w *Wallet) Transactions() []Transaction {
	list := make([]Transaction, 0, len(w.pending))
	for _, p := range w.pending {
		t := Transaction{Tx: p.tx.Copy(), Own: p.own, Publish: p.publish, Height: p.height, Dead: p.dead}
		t.Fee, t.Known = w.paid(p.tx, nil)
		for _, in := range p.tx.TxIn {
			if c, ours := w.output(in.PreviousOutPoint); ours {
				t.Net -= c.Value
			}
		}
		for _, out := range p.tx.TxOut {
			if w.Owns(out.PkScript) {
				t.Net += btcutil.Amount(out.Value)
			}
		}
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b Transaction) int {
		// Height 0 becomes the highest.
		x, y := a.Tx.TxHash(), b.Tx.TxHash()
		return cmp.Or(cmp.Compare(max(b.Height, b.Dead)-1, max(a.Height, a.Dead)-1), bytes.Compare(x[:], y[:]))
	})
	return list
}
