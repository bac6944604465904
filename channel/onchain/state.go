package onchain

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"lightningrod/chain"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// State is one channel on chain. It is a value: Apply copies it, nothing inside is changed once returned.
//
// Invariant: facts have heights up to that of the tip, or of the block that is being connected; spent and bids are in order
// of outpoints, without doubles; a spend of an output of the closing transaction is no lower than that transaction.
type State struct {
	*fixed

	// Facts.
	height  uint32
	start   uint32 // height at which closing began
	publish bool   // ours is to be published while nothing is confirmed
	stale   bool   // and this forbids it
	spend   *spend // of the funding output
	spent   []spent
	settled []settled // by id
	told    []told    // of each of Params.HTLCs
	revoked *Revoked  // the answer to Need
	bids    []bid

	closing *closing // what spend means: computed, shared

	// For one life of the process: never encoded.
	rates chain.FeeRates
	seen  chainhash.Hash // an unrevoked commitment of the peer seen in the mempool since the last block
}

// fixed is what never changes.
type fixed struct {
	p      Params
	live   []live
	index  map[key]int        // into p.HTLCs
	byHash map[[32]byte][]int // those we offered
}

// spend is the fact that a transaction spent the funding output.
type spend struct {
	tx     *wire.MsgTx
	height uint32
}

// spent is the fact that an output of the closing transaction, or of an HTLC transaction, was spent.
type spent struct {
	out    wire.OutPoint
	by     chainhash.Hash
	height uint32
	shown  bool     // the spend showed the preimage of the HTLC
	second []second // outputs of the second stage
}

// second is the output of an HTLC transaction.
type second struct {
	index  uint32
	amount int64
}

// settled is a preimage of an HTLC the peer offered, and the height at which it came.
type settled struct {
	id       uint64
	preimage [32]byte
	since    uint32
}

// told is what forwarding knows of an HTLC. It never changes again once it is not toldNothing.
type told uint8

const (
	toldNothing told = iota
	toldFulfilled
	toldFailed // of one the peer offered: ended
)

// bid is the newest transaction for an output.
type bid struct {
	out    wire.OutPoint
	fee    int64       // sat
	funded *wire.MsgTx // with coins of the wallet, complete

	// Not encoded.
	made     *wire.MsgTx // without, complete
	asked    int64       // the fee of the last Bump
	stranded bool        // a coin of funded is not there any more: other coins are wanted
}

// New is a channel about to go on chain, or found there.
func New(p Params) (*State, error) {
	f, err := fix(p)
	if err != nil {
		return nil, fmt.Errorf("on chain: %w", err)
	}
	s := &State{fixed: f, height: p.Height, start: p.Height, stale: p.Stale, told: make([]told, len(p.HTLCs))}
	for i := range p.HTLCs {
		switch h := &p.HTLCs[i]; {
		case h.Preimage == nil:
		case h.Offered:
			s.told[i] = toldFulfilled
		default:
			s.settle(Settle{h.ID, *h.Preimage})
		}
	}
	return s, nil
}

func fix(p Params) (*fixed, error) {
	p.Theirs = slices.Clone(p.Theirs)
	f := &fixed{p: p, index: make(map[key]int), byHash: make(map[[32]byte][]int)}
	var err error
	if f.live, err = f.p.build(); err != nil {
		return nil, err
	}
	for i := range p.HTLCs {
		h := &p.HTLCs[i]
		f.index[h.key()] = i
		if h.Offered {
			f.byHash[h.Hash] = append(f.byHash[h.Hash], i)
		}
	}
	return f, nil
}

func (s *State) clone() *State {
	n := *s
	n.spent = slices.Clone(s.spent)
	n.settled = slices.Clone(s.settled)
	n.told = slices.Clone(s.told)
	n.bids = slices.Clone(s.bids)
	return &n
}

// Height is that of the tip.
func (s *State) Height() uint32 { return s.height }

// Closed says whose transaction has spent the funding output on the best chain, its commitment number, and at which height.
func (s *State) Closed() (owner Owner, number uint64, height uint32, ok bool) {
	if s.spend == nil {
		return 0, 0, 0, false
	}
	return s.closing.owner, s.closing.number, s.spend.height, true
}

// MayPublish says whether Close publishes our commitment.
func (s *State) MayPublish() bool { return !s.stale }

// depth is how many blocks from height up, itself included; 0: not on the chain.
func (s *State) depth(height uint32) uint32 {
	if height == 0 || height > s.height {
		return 0
	}
	return s.height - height + 1
}

func compareOut(a, b wire.OutPoint) int {
	return cmp.Or(bytes.Compare(a.Hash[:], b.Hash[:]), cmp.Compare(a.Index, b.Index))
}

func (s *State) findSpent(out wire.OutPoint) (int, bool) {
	return slices.BinarySearchFunc(s.spent, out, func(f spent, out wire.OutPoint) int { return compareOut(f.out, out) })
}

// spentAt is the fact that an output is spent, nil if it is not.
func (s *State) spentAt(out wire.OutPoint) *spent {
	if i, ok := s.findSpent(out); ok {
		return &s.spent[i]
	}
	return nil
}

// bidOf is the place of the bid for an output, a new one if there was none.
func (s *State) bidOf(out wire.OutPoint) *bid {
	i, ok := slices.BinarySearchFunc(s.bids, out, func(b bid, out wire.OutPoint) int { return compareOut(b.out, out) })
	if !ok {
		s.bids = slices.Insert(s.bids, i, bid{out: out})
	}
	return &s.bids[i]
}

// preimageOf is what forwarding told of an HTLC the peer offered.
func (s *State) preimageOf(id uint64) *settled {
	i, ok := slices.BinarySearchFunc(s.settled, id, func(p settled, id uint64) int { return cmp.Compare(p.id, id) })
	if !ok {
		return nil
	}
	return &s.settled[i]
}

// Watches is what has to be asked of the chain again after a restart. What is to be published comes with the next Apply.
func (s *State) Watches() []chain.Request {
	_, script := commitment.FundingScript(s.p.Local.Funding, s.p.Remote.Funding)
	since := s.start
	if s.spend != nil {
		since = min(since, s.spend.height)
	}
	reqs := []chain.Request{chain.WatchSpend{Out: s.p.Funding, Script: script, Since: since}}
	if s.closing == nil {
		return reqs
	}
	for _, o := range s.outputs() {
		if o.kind != kindIgnored {
			reqs = append(reqs, o.watch())
		}
	}
	return reqs
}
