package nodetest

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"lightningrod/chain"
	"lightningrod/channel/channeltest"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// Chain is a chain of blocks and a mempool. Amounts, locks and scripts are checked, signatures are toys. The mempool replaces what
// pays less (BIP 125, rules 3, 4 and 6); a block takes packages by what they pay, while it is full.
type Chain struct {
	base   uint32 // height of the block before blocks[0]
	blocks []chain.Block
	pool   []*pooled // parents before children
	mined  map[chainhash.Hash]uint32
	outs   map[wire.OutPoint]*wire.TxOut  // of the best chain, spent or not
	spent  map[wire.OutPoint]*wire.MsgTx  // by what, on the best chain
	made   map[chainhash.Hash]made        // every transaction that was ever valid
	ids    map[*wire.MsgTx]chainhash.Hash // of those that were ever in a block
	forks  byte                           // makes the hashes of blocks after a reorganisation new
	rate   int64                          // sat/kw: a block takes nothing that pays less; 0: everything
	judge  *channeltest.Toy

	replaced int
}

type pooled struct {
	tx          *wire.MsgTx
	id          chainhash.Hash
	fee, weight int64
	must        bool // the miner was paid for it
}

// made is who published a transaction first, and what it pays.
type made struct {
	by  int
	fee int64
}

func newChain(height uint32, judge *channeltest.Toy) *Chain {
	return &Chain{base: height, mined: map[chainhash.Hash]uint32{}, outs: map[wire.OutPoint]*wire.TxOut{},
		spent: map[wire.OutPoint]*wire.MsgTx{}, made: map[chainhash.Hash]made{}, ids: map[*wire.MsgTx]chainhash.Hash{}, judge: judge}
}

func (c *Chain) clone() *Chain {
	n := *c
	n.blocks, n.pool = slices.Clone(c.blocks), slices.Clone(c.pool)
	n.mined, n.outs, n.spent, n.made, n.ids = maps.Clone(c.mined), maps.Clone(c.outs), maps.Clone(c.spent), maps.Clone(c.made), maps.Clone(c.ids)
	return &n
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

// grant makes an output out of nothing.
func (c *Chain) grant(value int64, script []byte) wire.OutPoint {
	out := wire.OutPoint{Hash: sha256.Sum256(fmt.Appendf(nil, "grant %d", len(c.outs)))}
	c.outs[out] = &wire.TxOut{Value: value, PkScript: script}
	c.mined[out.Hash] = c.base
	return out
}

// Why a transaction is not taken. All but errInvalid may be right at another time.
var (
	errInvalid   = errors.New("invalid")
	errMissing   = errors.New("an input is missing or spent")
	errPremature = errors.New("premature")
	errConflict  = errors.New("pays too little to replace what is there")
	errFee       = errors.New("pays too little")
)

// publish puts a transaction into the mempool if it could be in the next block.
func (c *Chain) publish(tx *wire.MsgTx, id chainhash.Hash, by int) error {
	return c.add(tx, id, by, false)
}

func (c *Chain) add(tx *wire.MsgTx, id chainhash.Hash, by int, must bool) error {
	if _, done := c.mined[id]; done {
		return nil
	}
	if have := c.pooled(id); have != nil {
		have.must = have.must || must
		return nil
	}
	p, err := c.check(tx, id, by)
	if err != nil {
		return err
	}
	p.must = must
	return c.swap(p.fee, p.weight, p)
}

// pair takes a child together with a parent that was refused: both pay for both (bitcoind, since version 28).
func (c *Chain) pair(parent, child *wire.MsgTx, id [2]chainhash.Hash, by int) error {
	p, err := c.check(parent, id[0], by)
	if p == nil {
		return err
	}
	c.pool = append(c.pool, p)
	q, err := c.check(child, id[1], by)
	c.pool = c.pool[:len(c.pool)-1]
	if err != nil {
		return err
	}
	return c.swap(p.fee+q.fee, p.weight+q.weight, p, q)
}

// swap takes transactions into the mempool in the place of what they are in conflict with.
func (c *Chain) swap(fee, weight int64, list ...*pooled) error {
	evict, err := c.conflicts(fee, weight, list)
	if err != nil {
		return err
	}
	if len(evict) > 0 {
		c.replaced++
		c.pool = slices.DeleteFunc(c.pool, func(q *pooled) bool { return evict[q.id] })
	}
	c.pool = append(c.pool, list...)
	return nil
}

func (c *Chain) pooled(id chainhash.Hash) *pooled {
	for _, p := range c.pool {
		if p.id == id {
			return p
		}
	}
	return nil
}

// check is consensus and relay, but for replacement.
func (c *Chain) check(tx *wire.MsgTx, id chainhash.Hash, by int) (*pooled, error) {
	size := int64(tx.SerializeSizeStripped())
	p := &pooled{tx: tx, id: id, weight: 3*size + int64(tx.SerializeSize())}
	if tx.LockTime < 500_000_000 && tx.LockTime > c.height() {
		return nil, errPremature
	}
	for _, in := range tx.TxIn {
		prev, ok := c.unspent(in.PreviousOutPoint)
		if !ok {
			return nil, errMissing
		}
		if !c.ripe(tx, in) {
			return nil, errPremature
		}
		p.fee += prev.Value
	}
	for _, out := range tx.TxOut {
		p.fee -= out.Value
	}
	if _, valid := c.made[id]; !valid {
		if p.fee < 0 {
			return nil, fmt.Errorf("%w: pays %d sat more than it has", errInvalid, -p.fee)
		}
		for i, in := range tx.TxIn {
			prev, _ := c.unspent(in.PreviousOutPoint)
			if err := (&input{tx: tx, index: i, prev: prev, judge: c.judge}).check(); err != nil {
				return nil, fmt.Errorf("%w: input %d: %w", errInvalid, i, err)
			}
		}
		c.made[id] = made{by, p.fee}
	}
	if p.fee < relayFee(p.weight) {
		return p, errFee
	}
	return p, nil
}

// relayFee is 1 sat per virtual byte.
func relayFee(weight int64) int64 { return (weight + 3) / 4 }

// unspent finds an output of the best chain or the mempool that the best chain has not spent.
func (c *Chain) unspent(out wire.OutPoint) (*wire.TxOut, bool) {
	if prev, ok := c.outs[out]; ok {
		return prev, c.spent[out] == nil
	}
	if p := c.pooled(out.Hash); p != nil && int(out.Index) < len(p.tx.TxOut) {
		return p.tx.TxOut[out.Index], true
	}
	return nil, false
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

// conflicts are the transactions that a list replaces, with their descendants.
func (c *Chain) conflicts(fee, weight int64, list []*pooled) (map[chainhash.Hash]bool, error) {
	var evict map[chainhash.Hash]bool
	var fees int64
	must := list[0].must
	for _, q := range c.pool { // parents come first
		direct := slices.ContainsFunc(q.tx.TxIn, func(in *wire.TxIn) bool {
			return slices.ContainsFunc(list, func(p *pooled) bool { return spends(p.tx, in.PreviousOutPoint) })
		})
		child := len(evict) > 0 && slices.ContainsFunc(q.tx.TxIn, func(in *wire.TxIn) bool { return evict[in.PreviousOutPoint.Hash] })
		if !direct && !child {
			continue
		}
		if direct && !must && q.fee*weight >= fee*q.weight {
			return nil, errConflict
		}
		if evict == nil {
			evict = map[chainhash.Hash]bool{}
		}
		evict[q.id] = true
		fees += q.fee
	}
	if len(evict) > 0 && !must && fee < fees+relayFee(weight) {
		return nil, errConflict
	}
	for _, p := range list {
		if slices.ContainsFunc(p.tx.TxIn, func(in *wire.TxIn) bool { return evict[in.PreviousOutPoint.Hash] }) {
			return nil, errConflict
		}
	}
	return evict, nil
}

func spends(tx *wire.MsgTx, out wire.OutPoint) bool {
	return slices.ContainsFunc(tx.TxIn, func(in *wire.TxIn) bool { return in.PreviousOutPoint == out })
}

// chosen is what the next block takes: each transaction with those of its parents that are not in it, if together they pay enough.
func (c *Chain) chosen() []*pooled {
	if c.rate == 0 {
		return c.pool
	}
	in := map[chainhash.Hash]bool{}
	for again := true; again; {
		again = false
		for _, p := range c.pool {
			if in[p.id] {
				continue
			}
			pack := c.ancestors(p, in)
			var fee, weight int64
			for _, q := range pack {
				fee, weight = fee+q.fee, weight+q.weight
			}
			if p.must || fee*1000 >= c.rate*weight {
				for _, q := range pack {
					in[q.id] = true
				}
				again = true
			}
		}
	}
	var list []*pooled
	for _, p := range c.pool {
		if in[p.id] {
			list = append(list, p)
		}
	}
	return list
}

// ancestors are p and its parents in the mempool that are not in the block yet.
func (c *Chain) ancestors(p *pooled, in map[chainhash.Hash]bool) []*pooled {
	pack := []*pooled{p}
	for i := 0; i < len(pack); i++ {
		for _, txIn := range pack[i].tx.TxIn {
			if q := c.pooled(txIn.PreviousOutPoint.Hash); q != nil && !in[q.id] && !slices.Contains(pack, q) {
				pack = append(pack, q)
			}
		}
	}
	return pack
}

// mine makes a block of what is in the mempool.
func (c *Chain) mine() {
	prev, _ := c.block(c.height())
	h := c.height() + 1
	b := chain.Block{Height: h, Hash: blockHash(h, c.forks), Prev: prev.Hash, Time: int64(h) * 600}
	if len(c.pool) > 0 {
		for i, p := range c.chosen() {
			if i == 0 {
				b.Txs = append(b.Txs, &wire.MsgTx{Version: 1}) // the coinbase, which nobody watches
			}
			b.Txs = append(b.Txs, p.tx)
			c.confirm(p.tx, p.id, h)
		}
	}
	c.blocks = append(c.blocks, b)
	if len(b.Txs) > 0 {
		c.refill(c.pool)
	}
}

func (c *Chain) confirm(tx *wire.MsgTx, id chainhash.Hash, height uint32) {
	c.mined[id], c.ids[tx] = height, id
	for i, out := range tx.TxOut {
		c.outs[wire.OutPoint{Hash: id, Index: uint32(i)}] = out
	}
	for _, in := range tx.TxIn {
		c.spent[in.PreviousOutPoint] = tx
	}
}

// refill makes the mempool anew.
func (c *Chain) refill(list []*pooled) {
	c.pool = nil
	for _, p := range list {
		if _, done := c.mined[p.id]; !done {
			_ = c.add(p.tx, p.id, c.made[p.id].by, p.must)
		}
	}
}

// reorg takes blocks off. Their transactions are in the mempool again, but for those that are dropped: a conflict may take their place.
func (c *Chain) reorg(depth int, drop func(by int) bool) {
	depth = min(depth, len(c.blocks))
	c.forks++
	var back []*pooled
	for range depth {
		b := c.blocks[len(c.blocks)-1]
		c.blocks = c.blocks[:len(c.blocks)-1]
		var txs []*pooled
		for _, tx := range b.Txs[min(1, len(b.Txs)):] {
			id := c.ids[tx]
			delete(c.mined, id)
			for i := range tx.TxOut {
				delete(c.outs, wire.OutPoint{Hash: id, Index: uint32(i)})
			}
			for _, in := range tx.TxIn {
				delete(c.spent, in.PreviousOutPoint)
			}
			if !drop(c.made[id].by) {
				txs = append(txs, &pooled{tx: tx, id: id})
			}
		}
		back = append(txs, back...)
	}
	c.refill(append(back, c.pool...))
}

// burn takes a transaction and what depends on it out of the mempool.
func (c *Chain) burn(id chainhash.Hash) {
	if c.pooled(id) != nil {
		c.refill(slices.DeleteFunc(slices.Clone(c.pool), func(p *pooled) bool { return p.id == id }))
	}
}
