package nodetest

import (
	"crypto/sha256"
	"encoding/binary"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// Chain is a chain of blocks and a mempool. It knows which output is spent by what and when a locktime allows it; it runs no
// scripts. The first transaction that spends an output wins.
type Chain struct {
	base    uint32 // height of the block before blocks[0]
	blocks  []chain.Block
	mempool []*wire.MsgTx
	mined   map[chainhash.Hash]uint32        // height of confirmed transactions
	spent   map[wire.OutPoint]chainhash.Hash // by which transaction, confirmed or not
	forks   byte                             // makes the hashes of blocks after a reorganisation new
}

func newChain(height uint32) *Chain {
	return &Chain{base: height, mined: map[chainhash.Hash]uint32{}, spent: map[wire.OutPoint]chainhash.Hash{}}
}

func (c *Chain) clone() *Chain {
	n := newChain(c.base)
	n.blocks = append(n.blocks, c.blocks...)
	for id, h := range c.mined {
		n.mined[id] = h
	}
	for out, by := range c.spent {
		n.spent[out] = by
	}
	return n
}

func (c *Chain) height() uint32 { return c.base + uint32(len(c.blocks)) }

// block gives the block at a height; the one at base is not known but for its hash.
func (c *Chain) block(h uint32) (chain.Block, bool) {
	if h == c.base {
		return chain.Block{Height: h, Hash: blockHash(h, 0)}, true
	}
	if h < c.base || h > c.height() {
		return chain.Block{}, false
	}
	return c.blocks[h-c.base-1], true
}

func blockHash(h uint32, fork byte) chainhash.Hash {
	return sha256.Sum256(append(binary.BigEndian.AppendUint32([]byte("block"), h), fork))
}

// publish puts a transaction into the mempool, unless it cannot be valid (yet).
func (c *Chain) publish(tx *wire.MsgTx) bool {
	id := tx.TxHash()
	if _, done := c.mined[id]; done {
		return true
	}
	for _, have := range c.mempool {
		if have.TxHash() == id {
			return true
		}
	}
	if tx.LockTime < 500_000_000 && tx.LockTime > c.height() {
		return false
	}
	for _, in := range tx.TxIn {
		if by, taken := c.spent[in.PreviousOutPoint]; taken && by != id {
			return false
		}
		if !c.ripe(tx, in) {
			return false
		}
	}
	for _, in := range tx.TxIn {
		c.spent[in.PreviousOutPoint] = id
	}
	c.mempool = append(c.mempool, tx)
	return true
}

// ripe is BIP 68 for blocks.
func (c *Chain) ripe(tx *wire.MsgTx, in *wire.TxIn) bool {
	if tx.Version < 2 || in.Sequence&(wire.SequenceLockTimeDisabled|wire.SequenceLockTimeIsSeconds) != 0 {
		return true
	}
	wait := in.Sequence & wire.SequenceLockTimeMask
	at, confirmed := c.mined[in.PreviousOutPoint.Hash]
	return wait == 0 || confirmed && c.height()+1 >= at+wait
}

// mine makes a block of what is in the mempool.
func (c *Chain) mine() {
	prev, _ := c.block(c.height())
	h := c.height() + 1
	b := chain.Block{Height: h, Hash: blockHash(h, c.forks), Prev: prev.Hash, Time: int64(h) * 600}
	if len(c.mempool) > 0 {
		b.Txs = append([]*wire.MsgTx{{Version: 1}}, c.mempool...) // the first is the coinbase, which nobody watches
	}
	for _, tx := range c.mempool {
		c.mined[tx.TxHash()] = h
	}
	c.mempool = nil
	c.blocks = append(c.blocks, b)
}

// reorg takes blocks off. Their transactions are in the mempool again.
func (c *Chain) reorg(depth int) {
	depth = min(depth, len(c.blocks))
	c.forks++
	var back []*wire.MsgTx
	for _, b := range c.blocks[len(c.blocks)-depth:] {
		for _, tx := range b.Txs[min(1, len(b.Txs)):] {
			delete(c.mined, tx.TxHash())
			back = append(back, tx)
		}
	}
	c.blocks = c.blocks[:len(c.blocks)-depth]
	c.mempool = append(back, c.mempool...)
}
