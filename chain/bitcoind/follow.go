package bitcoind

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

const (
	// windowLength is how many of the newest blocks a view knows by hash: more than any reorganisation that is survived.
	windowLength = 288
	// stepsBack is how far the way from a new tip to the known ones is walked header by header. Beyond, the window is read anew.
	stepsBack = 12
)

// view is bitcoind's chain at one moment. It is never changed, only replaced.
type view struct {
	height  uint32
	window  []header // the newest blocks, the last of them at height; each follows the one before
	work    string   // of the chain, as 64 hex digits
	headers int64    // height of the best header that bitcoind knows
	initial bool     // bitcoind is in initial block download
	pruned  int64    // the lowest block that it has in full
}

// header is what is kept of a block's.
type header struct {
	hash, prev chainhash.Hash
	height     uint32
	time       int64 // unix seconds
}

func (v *view) tip() header { return v.window[len(v.window)-1] }

// at is the hash of the block at height, if it is in the window.
func (v *view) at(height uint32) (chainhash.Hash, bool) {
	below := int64(v.height) - int64(height)
	if below < 0 || below >= int64(len(v.window)) {
		return chainhash.Hash{}, false
	}
	return v.window[len(v.window)-1-int(below)].hash, true
}

// find is the height of a block in the window.
func (v *view) find(h chainhash.Hash) (uint32, bool) {
	for i := len(v.window) - 1; i >= 0; i-- {
		if v.window[i].hash == h {
			return v.window[i].height, true
		}
	}
	return 0, false
}

// chainInfo is what is read of getblockchaininfo.
type chainInfo struct {
	Chain   string `json:"chain"`
	Blocks  int64  `json:"blocks"`
	Headers int64  `json:"headers"`
	Best    hash   `json:"bestblockhash"`
	Work    string `json:"chainwork"`
	Initial bool   `json:"initialblockdownload"`
	Pruned  int64  `json:"pruneheight"`
}

// follow polls until Close.
func (b *Backend) follow() {
	timer := time.NewTimer(b.cfg.Poll)
	defer timer.Stop()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-b.wake:
		case <-timer.C:
		}
		changed, err := b.poll(b.ctx)
		if b.ctx.Err() != nil {
			return
		}
		b.report(err)
		wait := b.cfg.Poll
		if err != nil {
			wait = min(10*wait, time.Second) // it may be starting
		}
		if changed {
			b.tell()
		}
		timer.Reset(wait)
	}
}

// look has the poller poll now.
func (b *Backend) look() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// poll brings view, pool and estimates up to date.
func (b *Backend) poll(ctx context.Context) (changed bool, err error) {
	var info chainInfo
	var genesis hash
	var ids []hash
	calls := []call{{method: "getblockhash", params: []any{0}, result: &genesis}, {method: "getblockchaininfo", result: &info}}
	pool := b.pool.due(time.Now())
	if pool {
		calls = append(calls, call{method: "getrawmempool", result: &ids})
	}
	if err := b.rpc.batch(ctx, calls); err != nil {
		return false, err
	}
	for _, k := range calls {
		if k.err != nil {
			return false, k.err
		}
	}
	if g := chainhash.Hash(genesis); g != *b.cfg.Params.GenesisHash {
		return false, fmt.Errorf("%w: it has chain %q with genesis block %v, this node is for %s",
			ErrWrongNetwork, info.Chain, g, b.cfg.Params.Name)
	}
	before := b.view.Load()
	now, err := b.adopt(ctx, before, &info)
	if err != nil {
		return false, err
	}
	b.view.Store(now)
	changed = before == nil || before.tip().hash != now.tip().hash
	b.refreshRates(ctx, now.tip().hash)
	if pool {
		moved, err := b.refreshPool(ctx, ids)
		return changed || moved, err
	}
	return changed, nil
}

// errMoved: the chain changed while it was read. The next poll cures it.
var errMoved = errors.New("the chain moved while it was read")

// adopt is the view of the chain in info.
func (b *Backend) adopt(ctx context.Context, before *view, info *chainInfo) (*view, error) {
	if info.Blocks < 0 || info.Blocks > math.MaxInt32 || len(info.Work) != 64 {
		return nil, fmt.Errorf("getblockchaininfo: height %d, chainwork %q", info.Blocks, info.Work)
	}
	v := &view{height: uint32(info.Blocks), work: info.Work, headers: info.Headers, initial: info.Initial, pruned: info.Pruned}
	best := chainhash.Hash(info.Best)
	if before != nil && before.tip().hash == best {
		v.window = before.window
		return v, nil
	}
	if before != nil && v.work < before.work && !b.regtest {
		return nil, fmt.Errorf("bitcoind's chain, at block %d, has less work than the one seen before, at block %d: it is not followed",
			v.height, before.height)
	}
	var err error
	v.window, err = b.extend(ctx, before, best, v.height)
	return v, err
}

// extend is the window that ends in the block best at height.
func (b *Backend) extend(ctx context.Context, before *view, best chainhash.Hash, height uint32) ([]header, error) {
	if before == nil || height > before.height+stepsBack {
		return b.readWindow(ctx, best, height)
	}
	var fresh []header // newest first
	for next := best; len(fresh) < stepsBack; {
		h, err := b.header(ctx, next)
		if err != nil {
			return nil, err
		}
		fresh = append(fresh, h)
		if h.height == 0 {
			break
		}
		fork, ok := before.find(h.prev)
		if !ok {
			next = h.prev
			continue
		}
		if fork+1 != h.height || fresh[0].height != height {
			return nil, fmt.Errorf("getblockheader: block %d follows block %d", h.height, fork)
		}
		window := append([]header(nil), before.window[:len(before.window)-int(before.height-fork)]...)
		for i := len(fresh) - 1; i >= 0; i-- {
			window = append(window, fresh[i])
		}
		return window[max(0, len(window)-windowLength):], nil
	}
	return b.readWindow(ctx, best, height)
}

// header reads one.
func (b *Backend) header(ctx context.Context, h chainhash.Hash) (header, error) {
	var x blockHeader
	if err := b.rpc.Call(ctx, &x, "getblockheader", h.String()); err != nil {
		return header{}, err
	}
	return x.header(h)
}

type blockHeader struct {
	Hash   hash  `json:"hash"`
	Height int64 `json:"height"`
	Time   int64 `json:"time"`
	Prev   hash  `json:"previousblockhash"` // the genesis block has none
}

func (x *blockHeader) header(want chainhash.Hash) (header, error) {
	if chainhash.Hash(x.Hash) != want || x.Height < 0 || x.Height > math.MaxInt32 {
		return header{}, fmt.Errorf("getblockheader of %v: answer is of block %d, %v", want, x.Height, chainhash.Hash(x.Hash))
	}
	return header{hash: want, prev: chainhash.Hash(x.Prev), height: uint32(x.Height), time: x.Time}, nil
}

// readWindow reads a whole window, whatever was known. Hashes of lower blocks are forgotten too: the fork may be below.
func (b *Backend) readWindow(ctx context.Context, best chainhash.Hash, height uint32) ([]header, error) {
	from := uint32(max(0, int64(height)-windowLength+1))
	hashes, err := b.hashes(ctx, from, height)
	if err != nil {
		return nil, err
	}
	b.shelf.forgetHeights()
	answers := make([]blockHeader, len(hashes))
	calls := make([]call, len(hashes))
	for i, h := range hashes {
		calls[i] = call{method: "getblockheader", params: []any{h.String()}, result: &answers[i]}
	}
	if err := b.rpc.batch(ctx, calls); err != nil {
		return nil, err
	}
	window := make([]header, len(hashes))
	for i, h := range hashes {
		if calls[i].err != nil {
			return nil, calls[i].err
		}
		if window[i], err = answers[i].header(h); err != nil {
			return nil, err
		}
		if window[i].height != from+uint32(i) || i > 0 && window[i].prev != hashes[i-1] {
			return nil, errMoved
		}
	}
	if window[len(window)-1].hash != best {
		return nil, errMoved
	}
	return window, nil
}

// hashes are those of the best chain from one height to another, both included.
func (b *Backend) hashes(ctx context.Context, from, to uint32) ([]chainhash.Hash, error) {
	answers := make([]hash, to-from+1)
	calls := make([]call, len(answers))
	for i := range answers {
		calls[i] = call{method: "getblockhash", params: []any{from + uint32(i)}, result: &answers[i]}
	}
	if err := b.rpc.batch(ctx, calls); err != nil {
		return nil, err
	}
	hashes := make([]chainhash.Hash, len(answers))
	for i, h := range answers {
		if calls[i].err != nil {
			return nil, calls[i].err
		}
		hashes[i] = chainhash.Hash(h)
	}
	return hashes, nil
}
