package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/mempool"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
)

// minRelay is the least that is relayed, in satoshi per 1000 virtual bytes.
const minRelay = 1000

func (c *Chain) newPool() *mempool.TxPool {
	return mempool.New(&mempool.Config{
		Policy: mempool.Policy{
			MaxTxVersion:         2,
			DisableRelayPriority: true,
			MaxSigOpCostPerTx:    blockchain.MaxBlockSigOpsCost / 4,
			MinRelayTxFee:        minRelay,
		},
		ChainParams:    c.params,
		FetchUtxoView:  c.chain.FetchUtxoView,
		BestHeight:     func() int32 { return c.chain.BestSnapshot().Height },
		MedianTimePast: func() time.Time { return c.chain.BestSnapshot().MedianTime },
		CalcSequenceLock: func(tx *btcutil.Tx, view *blockchain.UtxoViewpoint) (*blockchain.SequenceLock, error) {
			return c.chain.CalcSequenceLock(tx, view, true)
		},
		IsDeploymentActive: c.chain.IsDeploymentActive,
		SigCache:           c.sigs,
		HashCache:          c.hashes,
	})
}

// SetMempoolMin is how much a transaction, or a package, has to pay to get into the mempool from now on, as when that of a bitcoind is full. What
// is in it stays. A rate below 1 sat/vB means that.
func (c *Chain) SetMempoolMin(rate chain.FeePerKw) {
	c.mu.Lock()
	c.minimum = max(minRelay, 4*int64(rate))
	c.mu.Unlock()
	c.subs.call()
}

// Publish puts tx into the mempool. It is no error if it is there or confirmed already. A refusal wraps chain.ErrRejected, and
// where the cause is known chain.ErrConflict, ErrMissingInputs, ErrPremature or ErrFeeTooLow.
func (c *Chain) Publish(ctx context.Context, tx *wire.MsgTx) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	added, err := c.publish(tx)
	if added {
		c.subs.call()
	}
	return err
}

func (c *Chain) publish(tx *wire.MsgTx) (added bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false, ErrClosed
	}
	if c.known(tx.TxHash()) {
		return false, nil
	}
	err = c.admit(btcutil.NewTx(tx.Copy()))
	return err == nil, err
}

// admit puts tx into the mempool by itself.
func (c *Chain) admit(tx *btcutil.Tx) error {
	if res, err := c.pool.CheckMempoolAcceptance(tx); err == nil && len(res.MissingParents) == 0 {
		if err := paysEnough(int64(res.TxFee), res.TxSize, c.minimum, nil, nil); err != nil {
			return err
		}
	}
	_, err := c.pool.ProcessTransaction(tx, false, true, 0)
	if err == nil || c.replaceAlone(tx, false) == nil {
		return nil
	}
	return c.refusal(tx, err)
}

// TestAccept says what Publish would, and changes nothing.
func (c *Chain) TestAccept(tx *wire.MsgTx) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	if c.known(tx.TxHash()) {
		return nil
	}
	t := btcutil.NewTx(tx.Copy())
	res, err := c.pool.CheckMempoolAcceptance(t)
	if err == nil && len(res.MissingParents) > 0 {
		err = fmt.Errorf("parent %v", res.MissingParents[0])
	}
	switch {
	case err == nil:
		return paysEnough(int64(res.TxFee), res.TxSize, c.minimum, nil, nil)
	case c.replaceAlone(t, true) == nil:
		return nil
	}
	return c.refusal(t, err)
}

func (c *Chain) known(txid chainhash.Hash) bool {
	_, confirmed := c.height[txid]
	return confirmed || c.pool.IsTransactionInPool(&txid)
}

// refusal finds out what kind of error the mempool's is. btcd gives one code for several kinds, so it is looked at afresh.
func (c *Chain) refusal(tx *btcutil.Tx, reason error) error {
	kind := chain.ErrRejected
	var rule mempool.TxRuleError
	switch conflict, missing := c.inputs(tx); {
	case conflict != nil:
		kind = fmt.Errorf("%w with %v", chain.ErrConflict, conflict)
	case missing:
		kind = chain.ErrMissingInputs
	case c.premature(tx):
		kind = chain.ErrPremature
	case asRule(reason, &rule) && rule.RejectCode == wire.RejectInsufficientFee:
		kind = chain.ErrFeeTooLow
	}
	return fmt.Errorf("%w: %w", kind, reason)
}

func asRule(err error, rule *mempool.TxRuleError) bool {
	var outer mempool.RuleError
	return errors.As(err, &outer) && errors.As(outer.Err, rule)
}

// inputs looks for another transaction that spends an input of tx, and for inputs that do not exist.
func (c *Chain) inputs(tx *btcutil.Tx) (conflict *chainhash.Hash, missing bool) {
	for _, in := range tx.MsgTx().TxIn {
		if by, ok := c.spent[in.PreviousOutPoint]; ok {
			return &by, false
		}
		if by := c.pool.CheckSpend(in.PreviousOutPoint); by != nil {
			return by.Hash(), false
		}
		missing = missing || !c.known(in.PreviousOutPoint.Hash)
	}
	return nil, missing
}

// premature says that tx, whose inputs exist, cannot be in the next block because of a lock or an immature coinbase.
func (c *Chain) premature(tx *btcutil.Tx) bool {
	best := c.chain.BestSnapshot()
	next := best.Height + 1
	if !blockchain.IsFinalizedTransaction(tx, next, best.MedianTime) {
		return true
	}
	view, err := c.chain.FetchUtxoView(tx)
	if err != nil {
		return false
	}
	for _, in := range tx.MsgTx().TxIn {
		out := in.PreviousOutPoint
		e := view.LookupEntry(out)
		if e == nil || e.IsSpent() {
			parent, err := c.pool.FetchTransaction(&out.Hash)
			if err != nil {
				return false
			}
			view.AddTxOut(parent, out.Index, next)
			continue
		}
		if e.IsCoinBase() && next-e.BlockHeight() < int32(c.params.CoinbaseMaturity) {
			return true
		}
	}
	lock, err := c.chain.CalcSequenceLock(tx, view, true)
	return err == nil && !blockchain.SequenceLockActive(lock, next, best.MedianTime)
}

// Mempool is the unconfirmed transactions, parents before children.
func (c *Chain) Mempool() []*wire.MsgTx {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return nil
	}
	txs := c.pooled()
	list := make([]*wire.MsgTx, len(txs))
	for i, tx := range txs {
		list[i] = tx.MsgTx().Copy()
	}
	return list
}

// pooled is the mempool, parents before children and otherwise by txid.
func (c *Chain) pooled() []*btcutil.Tx {
	descs := c.pool.TxDescs()
	slices.SortFunc(descs, func(a, b *mempool.TxDesc) int { return bytes.Compare(a.Tx.Hash()[:], b.Tx.Hash()[:]) })
	waiting := make(map[chainhash.Hash]*btcutil.Tx, len(descs))
	for _, d := range descs {
		waiting[*d.Tx.Hash()] = d.Tx
	}
	list := make([]*btcutil.Tx, 0, len(descs))
	var add func(tx *btcutil.Tx)
	add = func(tx *btcutil.Tx) {
		delete(waiting, *tx.Hash())
		for _, in := range tx.MsgTx().TxIn {
			if parent := waiting[in.PreviousOutPoint.Hash]; parent != nil {
				add(parent)
			}
		}
		list = append(list, tx)
	}
	for _, d := range descs {
		if waiting[*d.Tx.Hash()] != nil {
			add(d.Tx)
		}
	}
	return list
}

// CheckTx runs the script of every input of tx with the flags of standardness, against the outputs that it spends: prev, one for each input in
// order, or if none are given those known from the best chain and the mempool, spent or not. It says nothing about
// amounts and locks; that is TestAccept's.
func (c *Chain) CheckTx(tx *wire.MsgTx, prev ...*wire.TxOut) error {
	if len(prev) == 0 {
		c.mu.RLock()
		for _, in := range tx.TxIn {
			out := in.PreviousOutPoint
			parent, _, ok := c.tx(out.Hash)
			if !ok || int(out.Index) >= len(parent.TxOut) {
				c.mu.RUnlock()
				return fmt.Errorf("%w: output %v is unknown", chain.ErrMissingInputs, out)
			}
			prev = append(prev, parent.TxOut[out.Index])
		}
		c.mu.RUnlock()
	}
	if len(prev) != len(tx.TxIn) {
		return fmt.Errorf("%d outputs given for %d inputs", len(prev), len(tx.TxIn))
	}
	outs := txscript.NewMultiPrevOutFetcher(nil)
	for i, in := range tx.TxIn {
		outs.AddPrevOut(in.PreviousOutPoint, prev[i])
	}
	hashes := txscript.NewTxSigHashes(tx, outs)
	for i, out := range prev {
		vm, err := txscript.NewEngine(out.PkScript, tx, i, txscript.StandardVerifyFlags, nil, hashes, out.Value, outs)
		if err == nil {
			err = vm.Execute()
		}
		if err != nil {
			return fmt.Errorf("input %d spending %v: %w", i, tx.TxIn[i].PreviousOutPoint, err)
		}
	}
	return nil
}
