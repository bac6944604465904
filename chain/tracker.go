package chain

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// Everyone is the Owner of facts that concern all: BlockConnected and BlockDisconnected.
const Everyone = ^uint64(0)

// Fact is an Event and whom it is for.
type Fact struct {
	Owner uint64
	Event Event
}

// Span is a range of block heights, both ends included.
type Span struct{ From, To uint32 }

// Tracker turns blocks into facts for those who watch.
//
// For every watch of every owner it holds that, at any moment, the owner has been told the fact exactly once if it is on the
// best chain, where a BlockDisconnected means "forget what you were told at this height or above". A watch outlives its
// fact, so that one lost in a reorganisation is told again from the new blocks.
//
// The caller owes: Connect and Disconnect in the order of the best chain; when Watch says that blocks were missed, a Rescan of
// each of them, soon; the delivery of facts to each owner in the order in which they were returned. Facts of a rescan come late, after
// the BlockConnected of their block. Transactions in facts are shared and must not be changed.
//
// A Tracker is memory: after a restart it begins at the lowest block that any of its owners has durably seen, and the owners ask
// for their watches again. It is not safe for concurrent use.
type Tracker struct {
	trail   Trail
	watches map[target][]sub // by ascending owner
	owned   map[uint64]map[target]struct{}
}

// target is what a watch waits for: that out is spent, or (spend false, Index 0) that the transaction out.Hash confirms.
type target struct {
	out   wire.OutPoint
	spend bool
}

// sub is one owner's watch. Facts at height from or above have been told, or Connect or an owed Rescan will tell them; told is
// the height of the one told, 0 for none.
type sub struct {
	owner      uint64
	from, told uint32
}

// NewTracker is a Tracker whose owners have seen the chain up to this block. The zero hash means that the
// block is not known, only its height.
func NewTracker(height uint32, hash chainhash.Hash) *Tracker {
	t := &Tracker{
		trail:   NewTrail(height),
		watches: make(map[target][]sub),
		owned:   make(map[uint64]map[target]struct{}),
	}
	if hash != (chainhash.Hash{}) {
		t.trail.remember(hash)
	}
	return t
}

// Tip is the newest block connected. A zero hash means that it is not known: more blocks were disconnected than the
// Tracker remembers.
func (t *Tracker) Tip() (height uint32, hash chainhash.Hash) { return t.trail.Tip() }

// HashAt is the hash of the block at height, if it is remembered.
func (t *Tracker) HashAt(height uint32) (chainhash.Hash, bool) { return t.trail.At(height) }

// Watch registers a WatchTx or WatchSpend for owner. If late, blocks that may hold the fact have passed already, and the caller
// owes a Rescan of those in missed. (Unless its backend knows that the output is unspent, or the transaction
// unconfirmed, at the Tracker's tip.) Registering again is harmless; a lower Since than before reaches further back.
func (t *Tracker) Watch(owner uint64, r Request) (missed Span, late bool) {
	switch r := r.(type) {
	case WatchTx:
		return t.subscribe(owner, target{out: wire.OutPoint{Hash: r.Txid}}, r.Since)
	case WatchSpend:
		return t.subscribe(owner, target{out: r.Out, spend: true}, r.Since)
	default:
		panic(fmt.Sprintf("chain: %T is not a watch", r))
	}
}

func (t *Tracker) subscribe(owner uint64, w target, since uint32) (missed Span, late bool) {
	tip, _ := t.Tip()
	since = max(since, 1)
	subs := t.watches[w]
	i, found := slices.BinarySearchFunc(subs, owner, func(s sub, owner uint64) int { return cmp.Compare(s.owner, owner) })
	if !found {
		subs = slices.Insert(subs, i, sub{owner: owner, from: tip + 1})
		t.watches[w] = subs
		if t.owned[owner] == nil {
			t.owned[owner] = make(map[target]struct{})
		}
		t.owned[owner][w] = struct{}{}
	}
	if since >= subs[i].from {
		return Span{}, false
	}
	missed = Span{From: since, To: min(subs[i].from-1, tip)}
	subs[i].from = since
	return missed, missed.From <= missed.To
}

// Forget drops every watch of owner.
func (t *Tracker) Forget(owner uint64) {
	for w := range t.owned[owner] {
		subs := slices.DeleteFunc(t.watches[w], func(s sub) bool { return s.owner == owner })
		if len(subs) == 0 {
			delete(t.watches, w)
		} else {
			t.watches[w] = subs
		}
	}
	delete(t.owned, owner)
}

// Connect makes b the tip. Facts come in the order of the block: for each transaction first Confirmed, then Spent by input,
// each for ascending owners; BlockConnected for Everyone is the last. With ErrNotNext nothing changes.
func (t *Tracker) Connect(b Block) ([]Fact, error) {
	if err := t.trail.Extend(b); err != nil {
		return nil, err
	}
	facts := t.match(b, func(s *sub) bool {
		s.told = b.Height
		return true
	})
	return append(facts, Fact{Everyone, BlockConnected{Height: b.Height, Hash: b.Hash, Time: b.Time}}), nil
}

// Disconnect takes the tip off: its facts are void, and will be told again if they appear in another block.
// At height 0 there is nothing to take off.
//
// Disconnecting more blocks than have left the best chain is safe, since connecting them tells their facts again: after a restart whose
// tip is no longer on the best chain, and whose parents are not remembered, go below every depth that counts as final.
func (t *Tracker) Disconnect() []Fact {
	height, hash := t.Tip()
	if height == 0 {
		return nil
	}
	t.trail.Back()
	for _, subs := range t.watches {
		for i := range subs {
			if subs[i].told >= height {
				subs[i].told = 0
			}
		}
	}
	return []Fact{{Everyone, BlockDisconnected{Height: height, Hash: hash}}}
}

// Rescan tells owner the facts of a block connected earlier that its watches have missed. Doing it again tells nothing new.
// It fails if b is not on the chain that the Tracker has seen; then catch up with the backend first.
func (t *Tracker) Rescan(b Block, owner uint64) ([]Fact, error) {
	if tip, _ := t.Tip(); b.Height == 0 || b.Height > tip {
		return nil, fmt.Errorf("rescan of block %d, tip is %d", b.Height, tip)
	}
	if hash, known := t.HashAt(b.Height); known && hash != b.Hash {
		return nil, fmt.Errorf("rescan of block %d %v, best chain has %v", b.Height, b.Hash, hash)
	}
	return t.match(b, func(s *sub) bool {
		if s.owner != owner || s.told != 0 || b.Height < s.from {
			return false
		}
		s.told = b.Height
		return true
	}), nil
}

// Mempool tells of the watched outputs that an unconfirmed transaction spends. It may tell the same again each time it is asked.
func (t *Tracker) Mempool(tx *wire.MsgTx) []Fact {
	var facts []Fact
	for in, txIn := range tx.TxIn {
		for _, s := range t.watches[target{out: txIn.PreviousOutPoint, spend: true}] {
			if s.told == 0 { // a confirmed spend leaves nothing to learn
				facts = append(facts, Fact{s.owner, Spent{Out: txIn.PreviousOutPoint, By: tx, Input: uint32(in)}})
			}
		}
	}
	return facts
}

// Unspent are the outputs for whose spend somebody still waits, in no order.
func (t *Tracker) Unspent() []wire.OutPoint {
	var outs []wire.OutPoint
	for w, subs := range t.watches {
		if w.spend && slices.ContainsFunc(subs, func(s sub) bool { return s.told == 0 }) {
			outs = append(outs, w.out)
		}
	}
	return outs
}

// match is the facts of b for the subs that tell accepts.
func (t *Tracker) match(b Block, tell func(*sub) bool) []Fact {
	if len(t.watches) == 0 {
		return nil
	}
	var facts []Fact
	for pos, tx := range b.Txs {
		subs := t.watches[target{out: wire.OutPoint{Hash: tx.TxHash()}}]
		for i := range subs {
			if tell(&subs[i]) {
				facts = append(facts, Fact{subs[i].owner, Confirmed{Tx: tx, Height: b.Height, TxIndex: uint32(pos)}})
			}
		}
		for in, txIn := range tx.TxIn {
			subs := t.watches[target{out: txIn.PreviousOutPoint, spend: true}]
			for i := range subs {
				if tell(&subs[i]) {
					facts = append(facts, Fact{subs[i].owner, Spent{
						Out: txIn.PreviousOutPoint, By: tx, Input: uint32(in),
						Height: b.Height, TxIndex: uint32(pos),
					}})
				}
			}
		}
	}
	return facts
}
