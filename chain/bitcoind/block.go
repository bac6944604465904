package bitcoind

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

const (
	// shelfBytes bounds the blocks that are kept, as they are serialized: about 16 full ones.
	shelfBytes = 32 << 20
	// ahead is how many blocks are fetched before a reader in sequence asks for them, and fetches how many at a time.
	ahead   = 8
	fetches = 4
	// maxBlock is the size of the largest block there can be: 4 million weight units, all of them witness.
	maxBlock = 4_000_000
)

// Block is the block of the best chain at height. Who reads block after block finds the next ones fetched. It fails with
// ErrPruned if bitcoind has deleted it.
func (b *Backend) Block(height uint32) (chain.Block, error) {
	if b.ctx.Err() != nil {
		return chain.Block{}, ErrClosed
	}
	v := b.view.Load()
	if height > v.height {
		return chain.Block{}, fmt.Errorf("block %d is above the tip %d", height, v.height)
	}
	if b.shelf.asked(height) {
		b.start(func() { b.fetchAhead(v, height+1, min(height+ahead, v.height)) })
	}
	h, err := b.hashAt(v, height)
	if err != nil {
		return chain.Block{}, fmt.Errorf("block %d: %w", height, err)
	}
	blk, err := b.shelf.get(h, func() (chain.Block, int, error) { return b.fetch(b.ctx, h, height) })
	if err != nil {
		return chain.Block{}, fmt.Errorf("block %d: %w", height, err)
	}
	b.known.connect(blk)
	return blk, nil
}

// hashAt is the hash of the block at height. Below the window, bitcoind is asked.
func (b *Backend) hashAt(v *view, height uint32) (chainhash.Hash, error) {
	if h, ok := v.at(height); ok {
		return h, nil
	}
	h, era, ok := b.shelf.hashAt(height)
	if ok {
		return h, nil
	}
	// A reader below the window is about to ask for the next ones too.
	from, to := height, min(height+4*ahead, v.height)
	hashes, err := b.hashes(b.ctx, from, to)
	if err != nil {
		return chainhash.Hash{}, err
	}
	b.shelf.noteHeights(era, from, hashes)
	return hashes[0], nil
}

// fetchAhead puts blocks on the shelf. What fails is left to whoever asks for the block.
func (b *Backend) fetchAhead(v *view, from, to uint32) {
	var group sync.WaitGroup
	defer group.Wait()
	for height := from; height <= to && b.ctx.Err() == nil; height++ {
		h, err := b.hashAt(v, height)
		if err != nil || b.shelf.has(h) {
			continue
		}
		select {
		case b.shelf.tickets <- struct{}{}:
		default:
			return // enough are under way
		}
		group.Go(func() {
			defer func() { <-b.shelf.tickets }()
			b.shelf.get(h, func() (chain.Block, int, error) { return b.fetch(b.ctx, h, height) })
		})
	}
}

// fetch reads one block, and its size.
func (b *Backend) fetch(ctx context.Context, h chainhash.Hash, height uint32) (chain.Block, int, error) {
	var text string
	err := b.rpc.Call(ctx, &text, "getblock", h.String(), 0)
	switch {
	case code(err) == codeMisc && strings.Contains(err.Error(), "pruned"):
		return chain.Block{}, 0, fmt.Errorf("%w: bitcoind has deleted it, and keeps those from %d on: it must not prune, or keep more (%v)",
			ErrPruned, b.view.Load().pruned, err)
	case err != nil:
		return chain.Block{}, 0, err
	case len(text) > 2*maxBlock:
		return chain.Block{}, 0, fmt.Errorf("getblock: %d bytes, a block has at most %d", len(text)/2, maxBlock)
	}
	raw, err := hex.DecodeString(text)
	if err != nil {
		return chain.Block{}, 0, fmt.Errorf("getblock: %w", err)
	}
	var msg wire.MsgBlock
	r := bytes.NewReader(raw)
	if err := msg.Deserialize(r); err != nil {
		return chain.Block{}, 0, fmt.Errorf("getblock: %w", err)
	}
	if r.Len() > 0 || msg.BlockHash() != h {
		return chain.Block{}, 0, fmt.Errorf("getblock: answer is block %v and %d bytes more", msg.BlockHash(), r.Len())
	}
	return chain.Block{
		Height: height, Hash: h, Prev: msg.Header.PrevBlock, Time: msg.Header.Timestamp.Unix(), Txs: msg.Transactions,
	}, len(raw), nil
}

// shelf keeps the blocks that were read last, and hashes of heights below the window.
type shelf struct {
	tickets chan struct{} // one for each fetch ahead

	mu      sync.Mutex
	blocks  map[chainhash.Hash]*shelved
	order   []chainhash.Hash // of blocks that have arrived, oldest first
	bytes   int
	heights map[uint32]chainhash.Hash
	era     int    // how often heights were forgotten
	last    uint32 // the height that was asked for last
}

// shelved is a block that has arrived (done is closed) or will.
type shelved struct {
	done  chan struct{}
	block chain.Block
	size  int
	err   error
}

func newShelf() shelf {
	return shelf{
		tickets: make(chan struct{}, fetches),
		blocks:  map[chainhash.Hash]*shelved{},
		heights: map[uint32]chainhash.Hash{},
	}
}

// asked notes that height is asked for, and says whether it comes after the one before.
func (s *shelf) asked(height uint32) (sequential bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sequential = height > 0 && height == s.last+1
	s.last = height
	return sequential
}

func (s *shelf) has(h chainhash.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.blocks[h] != nil
}

// get is the block h, fetched once however many ask for it. A failure is not kept.
func (s *shelf) get(h chainhash.Hash, fetch func() (chain.Block, int, error)) (chain.Block, error) {
	s.mu.Lock()
	e := s.blocks[h]
	if e != nil {
		s.mu.Unlock()
		<-e.done
		return e.block, e.err
	}
	e = &shelved{done: make(chan struct{})}
	s.blocks[h] = e
	s.mu.Unlock()

	e.block, e.size, e.err = fetch()
	s.mu.Lock()
	defer s.mu.Unlock()
	close(e.done)
	if e.err != nil {
		delete(s.blocks, h)
		return e.block, e.err
	}
	s.order = append(s.order, h)
	s.bytes += e.size
	for s.bytes > shelfBytes && len(s.order) > 1 {
		s.bytes -= s.blocks[s.order[0]].size
		delete(s.blocks, s.order[0])
		s.order = s.order[1:]
	}
	return e.block, nil
}

// hashAt also gives the era, for noteHeights of what is asked for instead.
func (s *shelf) hashAt(height uint32) (h chainhash.Hash, era int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok = s.heights[height]
	return h, s.era, ok
}

// noteHeights keeps hashes, unless all were forgotten since they were asked for: they may be of the chain before.
func (s *shelf) noteHeights(era int, from uint32, hashes []chainhash.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if era != s.era {
		return
	}
	if len(s.heights) > 4*windowLength {
		clear(s.heights)
	}
	for i, h := range hashes {
		s.heights[from+uint32(i)] = h
	}
}

func (s *shelf) forgetHeights() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.heights)
	s.era++
}
