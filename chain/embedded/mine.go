package embedded

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/mining"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
)

// AnyoneCanSpend is the script that coinbases pay to if none is given: P2WSH of OP_TRUE, so that AnyoneWitness spends it.
// It must not be changed.
var AnyoneCanSpend = func() []byte {
	hash := sha256.Sum256([]byte{txscript.OP_TRUE})
	return append([]byte{txscript.OP_0, txscript.OP_DATA_32}, hash[:]...)
}()

// AnyoneWitness is the witness for an input that spends AnyoneCanSpend.
func AnyoneWitness() wire.TxWitness { return wire.TxWitness{{txscript.OP_TRUE}} }

// Mine makes n blocks of what is in the mempool, best fee rate first. The coinbases pay subsidy and fees to the script payTo, or
// AnyoneCanSpend if it is empty. Subscribers are called once, after the last block.
func (c *Chain) Mine(n int, payTo []byte) ([]chainhash.Hash, error) {
	var hashes []chainhash.Hash
	err := c.change(func() error {
		for range n {
			hash, err := c.mine(payTo, c.pool)
			if err != nil {
				return fmt.Errorf("mine: %w", err)
			}
			hashes = append(hashes, hash)
			c.settle()
		}
		return nil
	})
	return hashes, err
}

// MineTxs makes one block of exactly these transactions, in this order, whether or not the mempool would have them; parents must
// come first. What conflicts with them leaves the mempool.
func (c *Chain) MineTxs(payTo []byte, txs ...*wire.MsgTx) (hash chainhash.Hash, err error) {
	err = c.change(func() error {
		chosen, err := c.choose(txs)
		if err != nil {
			return err
		}
		hash, err = c.mine(payTo, chosen)
		return err
	})
	return hash, err
}

// Reorg takes the last depth blocks off the best chain. Their transactions are in the mempool again, as far as they still can be.
// Mine or MineTxs make the blocks that replace them; they never equal the old ones.
func (c *Chain) Reorg(depth int) error {
	tip, _ := c.Tip()
	if depth < 1 || uint32(depth) > tip {
		return fmt.Errorf("reorg depth %d, tip is %d", depth, tip)
	}
	b, err := c.Block(tip - uint32(depth) + 1)
	if err != nil {
		return err
	}
	return c.Invalidate(b.Hash)
}

// Invalidate declares a block invalid, for good; if it is in the best chain, it and all above it leave. The
// longest chain that remains is the best chain.
func (c *Chain) Invalidate(hash chainhash.Hash) error {
	return c.change(func() error {
		if err := c.chain.InvalidateBlock(&hash); err != nil {
			return err
		}
		return c.journal.invalidated(hash)
	})
}

// change runs an operation on the best chain, brings index and mempool up to date, and tells subscribers.
func (c *Chain) change(op func() error) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return ErrClosed
	}
	before := c.chain.BestSnapshot().Hash
	err := op()
	c.settle()
	changed := before != c.chain.BestSnapshot().Hash
	c.mu.Unlock()
	if changed {
		c.subs.call()
	}
	return err
}

// moved is called back by the block chain, in the middle of an operation of ours.
func (c *Chain) moved(n *blockchain.Notification) {
	b, ok := n.Data.(*btcutil.Block)
	if !ok || n.Type == blockchain.NTBlockAccepted {
		return
	}
	c.clock.saw(b.MsgBlock().Header.Timestamp)
	c.moves = append(c.moves, move{block: b, left: n.Type == blockchain.NTBlockDisconnected})
}

// settle brings index and mempool up to date with the moves of the best chain.
func (c *Chain) settle() {
	var lost []*btcutil.Tx
	for _, m := range c.moves {
		if m.left {
			c.disconnected(m.block)
			lost = slices.Concat(m.block.Transactions()[1:], lost)
			continue
		}
		c.connected(m.block)
		for _, tx := range m.block.Transactions()[1:] {
			c.pool.RemoveTransaction(tx, false)
			c.pool.RemoveDoubleSpends(tx)
		}
	}
	if slices.ContainsFunc(c.moves, func(m move) bool { return m.left }) {
		c.refill(lost)
	}
	c.moves = nil
}

// refill makes the mempool anew out of the transactions of blocks that left and what was in it: locks and maturities that held on
// the old chain may not hold on the new one.
func (c *Chain) refill(lost []*btcutil.Tx) {
	again := append(lost, c.pooled()...)
	c.pool = c.newPool()
	for _, tx := range again {
		if !c.known(*tx.Hash()) {
			c.pool.MaybeAcceptTransaction(tx, false, false) // what is refused is gone
		}
	}
}

func (c *Chain) connected(b *btcutil.Block) {
	c.clock.saw(b.MsgBlock().Header.Timestamp)
	for _, tx := range b.Transactions() {
		c.height[*tx.Hash()] = uint32(b.Height())
		for _, in := range tx.MsgTx().TxIn {
			c.spent[in.PreviousOutPoint] = *tx.Hash()
		}
	}
}

func (c *Chain) disconnected(b *btcutil.Block) {
	for _, tx := range b.Transactions() {
		delete(c.height, *tx.Hash())
		for _, in := range tx.MsgTx().TxIn {
			delete(c.spent, in.PreviousOutPoint)
		}
	}
}

// mine makes a block out of source and connects it.
func (c *Chain) mine(payTo []byte, source mining.TxSource) (chainhash.Hash, error) {
	policy := &mining.Policy{BlockMaxWeight: blockchain.MaxBlockWeight - 40_000}
	gen := mining.NewBlkTmplGenerator(policy, c.params, source, c.chain, c.clock, c.sigs, c.hashes)
	template, err := gen.NewBlockTemplate(nil)
	if err != nil {
		return chainhash.Hash{}, err
	}
	block := template.Block
	if chosen, ok := source.(chosen); ok && len(block.Transactions)-1 != len(chosen) {
		return chainhash.Hash{}, errors.New("not all of the transactions can be in the next block")
	}
	if len(payTo) == 0 {
		payTo = AnyoneCanSpend
	}
	block.Transactions[0].TxOut[0].PkScript = bytes.Clone(payTo)
	// The extra nonce makes every block and coinbase unique: after a reorganisation the same again would be refused as known and invalid.
	c.extra++
	if err := gen.UpdateExtraNonce(block, template.Height, c.extra); err != nil {
		return chainhash.Hash{}, err
	}
	solve(&block.Header)
	b := btcutil.NewBlock(block)
	if _, _, err := c.chain.ProcessBlock(b, blockchain.BFNone); err != nil {
		return chainhash.Hash{}, err
	}
	return *b.Hash(), c.journal.mined(b)
}

// solve finds the nonce; on regtest every second one will do.
func solve(h *wire.BlockHeader) {
	target := blockchain.CompactToBig(h.Bits)
	for hash := h.BlockHash(); blockchain.HashToBig(&hash).Cmp(target) > 0; hash = h.BlockHash() {
		h.Nonce++
	}
}

// chosen are the transactions of a block by MineTxs, as a source for the template.
type chosen []*mining.TxDesc

func (s chosen) LastUpdated() time.Time        { return time.Time{} }
func (s chosen) MiningDescs() []*mining.TxDesc { return s }

func (s chosen) HaveTransaction(hash *chainhash.Hash) bool {
	return slices.ContainsFunc(s, func(d *mining.TxDesc) bool { return *d.Tx.Hash() == *hash })
}

// choose computes the fees that the coinbase takes.
func (c *Chain) choose(txs []*wire.MsgTx) (chosen, error) {
	list := make(chosen, 0, len(txs))
	made := make(map[wire.OutPoint]int64)
	for i, tx := range txs {
		t := btcutil.NewTx(tx.Copy())
		var fee int64
		for _, in := range tx.TxIn {
			value, ok := made[in.PreviousOutPoint]
			if !ok {
				e, err := c.chain.FetchUtxoEntry(in.PreviousOutPoint)
				if err != nil || e == nil || e.IsSpent() {
					return nil, fmt.Errorf("transaction %v: input %v is spent or unknown", t.Hash(), in.PreviousOutPoint)
				}
				value = e.Amount()
			}
			fee += value
		}
		for n, out := range tx.TxOut {
			fee -= out.Value
			made[wire.OutPoint{Hash: *t.Hash(), Index: uint32(n)}] = out.Value
		}
		list = append(list, &mining.TxDesc{Tx: t, Fee: fee, FeePerKB: int64(len(txs) - i)}) // the rate only orders
	}
	return list, nil
}
