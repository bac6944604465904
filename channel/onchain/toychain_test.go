package onchain

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
)

// backend is what the tests need of a chain. toyChain and embedded.Chain are backends.
type backend interface {
	Tip() (uint32, chainhash.Hash)
	Block(height uint32) (chain.Block, error)
	Publish(ctx context.Context, tx *wire.MsgTx) error
	Mempool() []*wire.MsgTx
	Mine(n int, payTo []byte) ([]chainhash.Hash, error)
	Reorg(depth int) error
}

// toyChain is blocks without headers and a mempool with the rules of relay and replacement. Amounts, locks and scripts are
// checked for real.
type toyChain struct {
	blocks []chain.Block // by height
	undo   [][]undone
	utxo   map[wire.OutPoint]utxo
	pool   []pooled
	salt   uint64
	limit  int // transactions a block has room for, 0: any number
}

type utxo struct {
	*wire.TxOut
	height uint32
}

type undone struct {
	out wire.OutPoint
	was utxo
}

type pooled struct {
	tx     *wire.MsgTx
	fee    int64
	weight int64
}

func newToyChain(height uint32) *toyChain {
	c := &toyChain{utxo: make(map[wire.OutPoint]utxo)}
	c.blocks, c.undo = append(c.blocks, chain.Block{}), append(c.undo, nil)
	for range height {
		c.connect(nil)
	}
	return c
}

// grant makes an output out of nothing.
func (c *toyChain) grant(out *wire.TxOut) wire.OutPoint {
	c.salt++
	var o wire.OutPoint
	binary.BigEndian.PutUint64(o.Hash[:], c.salt)
	c.utxo[o] = utxo{out, 1}
	return o
}

func (c *toyChain) Tip() (uint32, chainhash.Hash) {
	b := c.blocks[len(c.blocks)-1]
	return b.Height, b.Hash
}

func (c *toyChain) Block(height uint32) (chain.Block, error) {
	if int(height) >= len(c.blocks) {
		return chain.Block{}, errors.New("no such block")
	}
	return c.blocks[height], nil
}

func (c *toyChain) Mempool() []*wire.MsgTx {
	txs := make([]*wire.MsgTx, len(c.pool))
	for i, p := range c.pool {
		txs[i] = p.tx
	}
	return txs
}

// connect makes the next block of these transactions, which must be valid.
func (c *toyChain) connect(txs []*wire.MsgTx) {
	tip, prev := c.Tip()
	c.salt++
	b := chain.Block{Height: tip + 1, Prev: prev, Txs: txs}
	binary.BigEndian.PutUint64(b.Hash[:], c.salt)
	var undo []undone
	for _, tx := range txs {
		for _, in := range tx.TxIn {
			undo = append(undo, undone{in.PreviousOutPoint, c.utxo[in.PreviousOutPoint]})
			delete(c.utxo, in.PreviousOutPoint)
		}
		id := tx.TxHash()
		for i, out := range tx.TxOut {
			c.utxo[wire.OutPoint{Hash: id, Index: uint32(i)}] = utxo{out, b.Height}
		}
	}
	c.blocks, c.undo = append(c.blocks, b), append(c.undo, undo)
}

// refill makes the mempool anew from candidates.
func (c *toyChain) refill(txs []*wire.MsgTx) {
	c.pool = nil
	for _, tx := range txs {
		_ = c.Publish(context.Background(), tx)
	}
}

func (c *toyChain) Mine(n int, _ []byte) ([]chainhash.Hash, error) {
	for range n {
		pool := slices.Clone(c.pool)
		// Best fee rate first, parents before children.
		slices.SortStableFunc(pool, func(a, b pooled) int { return cmp.Compare(b.fee*a.weight, a.fee*b.weight) })
		var txs []*wire.MsgTx
		in := make(map[chainhash.Hash]bool)
		for again := true; again && (c.limit == 0 || len(txs) < c.limit); {
			again = false
			for _, p := range pool {
				id := p.tx.TxHash()
				ready := !in[id] && (c.limit == 0 || len(txs) < c.limit)
				for _, txIn := range p.tx.TxIn {
					_, confirmed := c.utxo[txIn.PreviousOutPoint]
					ready = ready && (confirmed || in[txIn.PreviousOutPoint.Hash])
				}
				if ready {
					txs, in[id], again = append(txs, p.tx), true, true
				}
			}
		}
		rest := c.Mempool()
		c.connect(txs)
		c.refill(slices.DeleteFunc(rest, func(tx *wire.MsgTx) bool { return in[tx.TxHash()] }))
	}
	return nil, nil
}

func (c *toyChain) Reorg(depth int) error {
	var back []*wire.MsgTx
	for range depth {
		last := len(c.blocks) - 1
		b := c.blocks[last]
		for i := len(b.Txs) - 1; i >= 0; i-- {
			id := b.Txs[i].TxHash()
			for n := range b.Txs[i].TxOut {
				delete(c.utxo, wire.OutPoint{Hash: id, Index: uint32(n)})
			}
		}
		made := make(map[chainhash.Hash]bool)
		for _, tx := range b.Txs {
			made[tx.TxHash()] = true
		}
		for _, u := range c.undo[last] {
			if !made[u.out.Hash] {
				c.utxo[u.out] = u.was
			}
		}
		back = append(slices.Clone(b.Txs), back...)
		c.blocks, c.undo = c.blocks[:last], c.undo[:last]
	}
	c.refill(append(back, c.Mempool()...))
	return nil
}

// Publish puts tx into the mempool if it could be in the next block and pays for relay and for what it replaces.
func (c *toyChain) Publish(_ context.Context, tx *wire.MsgTx) error {
	id := tx.TxHash()
	if slices.ContainsFunc(c.pool, func(p pooled) bool { return p.tx.TxHash() == id }) {
		return nil
	}
	tip, _ := c.Tip()
	next := tip + 1
	if tx.LockTime != 0 && tx.LockTime < 500_000_000 && tx.LockTime >= next {
		return chain.ErrPremature
	}
	prevs := txscript.NewMultiPrevOutFetcher(nil)
	var fee int64
	for _, in := range tx.TxIn {
		u, err := c.lookup(in.PreviousOutPoint, next)
		if err != nil {
			return err
		}
		if s := in.Sequence; s&wire.SequenceLockTimeDisabled == 0 && next < u.height+s&wire.SequenceLockTimeMask {
			return chain.ErrPremature
		}
		fee += u.Value
		prevs.AddPrevOut(in.PreviousOutPoint, u.TxOut)
	}
	for _, out := range tx.TxOut {
		if out.Value < 240 {
			return fmt.Errorf("%w: dust", chain.ErrRejected)
		}
		fee -= out.Value
	}
	hashes := txscript.NewTxSigHashes(tx, prevs)
	for i, in := range tx.TxIn {
		prev := prevs.FetchPrevOutput(in.PreviousOutPoint)
		vm, err := txscript.NewEngine(prev.PkScript, tx, i, txscript.StandardVerifyFlags, nil, hashes, prev.Value, prevs)
		if err == nil {
			err = vm.Execute()
		}
		if err != nil {
			return fmt.Errorf("%w: input %d: %w", chain.ErrRejected, i, err)
		}
	}
	p := pooled{tx, fee, blockchain.GetTransactionWeight(btcutil.NewTx(tx))}
	if fee < (p.weight+3)/4 {
		return chain.ErrFeeTooLow
	}
	return c.replace(p)
}

func (c *toyChain) lookup(out wire.OutPoint, next uint32) (utxo, error) {
	if u, ok := c.utxo[out]; ok {
		return u, nil
	}
	for _, p := range c.pool {
		if p.tx.TxHash() == out.Hash && int(out.Index) < len(p.tx.TxOut) {
			return utxo{p.tx.TxOut[out.Index], next}, nil
		}
	}
	return utxo{}, chain.ErrMissingInputs
}

// replace adds p, evicting what conflicts, if BIP 125 lets it.
func (c *toyChain) replace(p pooled) error {
	evict := make(map[chainhash.Hash]bool)
	var fees int64
	for again := true; again; {
		again = false
		for _, q := range c.pool {
			id := q.tx.TxHash()
			if evict[id] {
				continue
			}
			conflict := slices.ContainsFunc(q.tx.TxIn, func(in *wire.TxIn) bool {
				return spends(p.tx, in.PreviousOutPoint) || evict[in.PreviousOutPoint.Hash]
			})
			if !conflict {
				continue
			}
			if spends(p.tx, q.tx.TxIn[0].PreviousOutPoint) && q.fee*p.weight >= p.fee*q.weight {
				return chain.ErrConflict
			}
			evict[id], again = true, true
			fees += q.fee
		}
	}
	if slices.ContainsFunc(p.tx.TxIn, func(in *wire.TxIn) bool { return evict[in.PreviousOutPoint.Hash] }) {
		return chain.ErrConflict
	}
	if len(evict) > 0 && p.fee < fees+(p.weight+3)/4 {
		return chain.ErrConflict
	}
	c.pool = slices.DeleteFunc(c.pool, func(q pooled) bool { return evict[q.tx.TxHash()] })
	c.pool = append(c.pool, p)
	return nil
}

// evict throws a transaction, and its children, out of the mempool.
func (c *toyChain) evict(tx *wire.MsgTx) {
	id := tx.TxHash()
	c.refill(slices.DeleteFunc(c.Mempool(), func(q *wire.MsgTx) bool { return q.TxHash() == id }))
}
