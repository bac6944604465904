package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/mempool"
	"github.com/btcsuite/btcd/wire"
)

// PublishPackage publishes a transaction, the last of txs, together with its unconfirmed parents, so that it pays for them: where one alone would be below
// SetMempoolMin, or could not replace another, the sum counts. Each has to pay 1 sat/vB all the same, as bitcoind asks of version 2. Errors are as of
// Publish; those that need each other are all taken or none.
func (c *Chain) PublishPackage(ctx context.Context, txs ...*wire.MsgTx) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	added, err := c.publishPackage(txs)
	if added {
		c.subs.call()
	}
	return err
}

func (c *Chain) publishPackage(txs []*wire.MsgTx) (added bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false, ErrClosed
	}
	for _, parent := range txs[:max(len(txs)-1, 0)] {
		if !spendsOf(btcutil.NewTx(txs[len(txs)-1]), parent.TxHash()) {
			return false, fmt.Errorf("%w: a package is a transaction and its parents, %v is none", chain.ErrRejected, parent.TxHash())
		}
	}
	// Whoever can pay for itself goes in by itself; the parents' refusals wait for the child.
	var rest []*btcutil.Tx
	for i, tx := range txs {
		if c.known(tx.TxHash()) {
			continue
		}
		t := btcutil.NewTx(tx.Copy())
		why := c.admit(t)
		if why == nil {
			added = true
			continue
		}
		last := i == len(txs)-1
		cured := errors.Is(why, chain.ErrFeeTooLow) || errors.Is(why, chain.ErrConflict) || errors.Is(why, chain.ErrMissingInputs) && len(rest) > 0
		if !cured || last && len(rest) == 0 {
			return added, fmt.Errorf("publish %v: %w", t.Hash(), why)
		}
		if err == nil {
			err = fmt.Errorf("publish %v: %w", t.Hash(), why)
		}
		rest = append(rest, t)
	}
	if len(rest) < 2 {
		return added, err
	}
	if why := c.acceptTogether(rest); why != nil {
		return added, fmt.Errorf("%w; as a package: %w", err, why)
	}
	return true, nil
}

// acceptTogether takes transactions into the mempool whose fees suffice in sum only, or leaves it as it was. What is in their way has to signal
// BIP 125, and its rules are applied to the sums; as in bitcoind (since version 28), only a child and its one parent can replace anything.
func (c *Chain) acceptTogether(txs []*btcutil.Tx) error {
	_, evicted, err := c.inTheWay(txs)
	if err != nil {
		return err
	}
	if len(evicted) > 0 && (len(txs) != 2 || slices.ContainsFunc(txs, c.hasParent)) {
		return fmt.Errorf("%w: a package replaces something only if it is a child and its one parent, with no others in the mempool", chain.ErrConflict)
	}
	return c.swap(txs, evicted, evicted, false)
}

// replaceAlone takes a transaction into the mempool in place of what conflicts with it and the descendants of that. btcd wants a rate above that of each
// descendant too, bitcoind only above those of the conflicts themselves.
func (c *Chain) replaceAlone(tx *btcutil.Tx, trial bool) error {
	direct, evicted, err := c.inTheWay([]*btcutil.Tx{tx})
	if err != nil {
		return err
	}
	if len(direct) == 0 {
		return errors.New("nothing is in its way")
	}
	// BIP 125, rule 2: an input that is not confirmed is of a transaction that the conflicts spend of as well.
	for _, in := range tx.MsgTx().TxIn {
		parent := in.PreviousOutPoint.Hash
		if c.pool.IsTransactionInPool(&parent) && !slices.ContainsFunc(direct, func(d *mempool.TxDesc) bool { return spendsOf(d.Tx, parent) }) {
			return fmt.Errorf("%w: spends an output of %v, which is not confirmed", chain.ErrConflict, parent)
		}
	}
	return c.swap([]*btcutil.Tx{tx}, direct, evicted, trial)
}

func spendsOf(tx *btcutil.Tx, parent chainhash.Hash) bool {
	return slices.ContainsFunc(tx.MsgTx().TxIn, func(in *wire.TxIn) bool { return in.PreviousOutPoint.Hash == parent })
}

// swap puts txs into the mempool in place of what is evicted, if the fees of both allow that. Slower are those that must have a lower rate than txs.
func (c *Chain) swap(txs []*btcutil.Tx, slower, evicted []*mempool.TxDesc, trial bool) (err error) {
	for _, old := range slices.Backward(evicted) {
		c.pool.RemoveTransaction(old.Tx, false)
	}
	defer func() {
		if err == nil && !trial {
			return
		}
		for _, tx := range slices.Backward(txs) {
			c.pool.RemoveTransaction(tx, false)
		}
		for _, old := range evicted {
			c.pool.MaybeAcceptTransaction(old.Tx, false, false)
		}
	}()
	var fee, size int64
	for _, tx := range txs {
		missing, desc, err := c.pool.MaybeAcceptTransaction(tx, false, false) // whatever it pays
		if err != nil {
			return c.refusal(tx, err)
		} else if len(missing) > 0 {
			return c.refusal(tx, fmt.Errorf("parent %v", missing[0]))
		}
		if err := paysEnough(desc.Fee, mempool.GetTxVirtualSize(tx), minRelay, nil, nil); err != nil {
			return err
		}
		fee += desc.Fee
		size += mempool.GetTxVirtualSize(tx)
	}
	return paysEnough(fee, size, c.minimum, slower, evicted)
}

// hasParent says that tx spends an output of the mempool.
func (c *Chain) hasParent(tx *btcutil.Tx) bool {
	return slices.ContainsFunc(tx.MsgTx().TxIn, func(in *wire.TxIn) bool { return c.pool.IsTransactionInPool(&in.PreviousOutPoint.Hash) })
}

// paysEnough says whether transactions may enter that have to pay minimum (sat/kvB), and in place of what is evicted.
func paysEnough(fee, size, minimum int64, slower, evicted []*mempool.TxDesc) error {
	if least := (size*minimum + 999) / 1000; fee < least {
		return fmt.Errorf("%w: %d vB pay %d sat, need %d", chain.ErrFeeTooLow, size, fee, least)
	}
	for _, old := range slower {
		if fee*1000/size <= old.FeePerKB {
			return fmt.Errorf("%w: pays %d sat/kvB, %v pays %d", chain.ErrConflict, fee*1000/size, old.Tx.Hash(), old.FeePerKB)
		}
	}
	least := (size*minRelay + 999) / 1000
	for _, old := range evicted {
		least += old.Fee
	}
	if len(evicted) > 0 && fee < least {
		return fmt.Errorf("%w: pays %d sat, need %d to replace what is in its way", chain.ErrConflict, fee, least)
	}
	return nil
}

// inTheWay is what of the mempool conflicts with txs, and that with all that descends from it, parents before children.
func (c *Chain) inTheWay(txs []*btcutil.Tx) (direct, all []*mempool.TxDesc, err error) {
	gone := make(map[chainhash.Hash]bool)
	for _, tx := range txs {
		for _, in := range tx.MsgTx().TxIn {
			by := c.pool.CheckSpend(in.PreviousOutPoint)
			if by == nil {
				continue
			}
			if !c.signals(by) {
				return nil, nil, fmt.Errorf("%w with %v, which does not signal BIP 125", chain.ErrConflict, by.Hash())
			}
			gone[*by.Hash()] = true
		}
	}
	if len(gone) == 0 {
		return nil, nil, nil
	}
	descs := make(map[chainhash.Hash]*mempool.TxDesc)
	for _, d := range c.pool.TxDescs() {
		descs[*d.Tx.Hash()] = d
	}
	for _, tx := range c.pooled() {
		id := *tx.Hash()
		if gone[id] {
			direct = append(direct, descs[id])
		}
		for _, in := range tx.MsgTx().TxIn {
			gone[id] = gone[id] || gone[in.PreviousOutPoint.Hash]
		}
		if gone[id] {
			all = append(all, descs[id])
		}
	}
	if len(all) > mempool.MaxReplacementEvictions {
		return nil, nil, fmt.Errorf("%w: %d transactions would be evicted, at most %d", chain.ErrConflict, len(all), mempool.MaxReplacementEvictions)
	}
	return direct, all, nil
}

// signals says that a transaction of the mempool, or an ancestor of it there, signals BIP 125.
func (c *Chain) signals(tx *btcutil.Tx) bool {
	return slices.ContainsFunc(tx.MsgTx().TxIn, func(in *wire.TxIn) bool {
		if in.Sequence <= mempool.MaxRBFSequence {
			return true
		}
		parent, err := c.pool.FetchTransaction(&in.PreviousOutPoint.Hash)
		return err == nil && c.signals(parent)
	})
}

// Spending is the transactions of the mempool that spend any of outs, each once.
func (c *Chain) Spending(ctx context.Context, outs []wire.OutPoint) ([]*wire.MsgTx, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return nil, ErrClosed
	}
	var list []*wire.MsgTx
	var found []*btcutil.Tx
	for _, out := range outs {
		if by := c.pool.CheckSpend(out); by != nil && !slices.Contains(found, by) {
			found = append(found, by)
			list = append(list, by.MsgTx().Copy())
		}
	}
	return list, nil
}
