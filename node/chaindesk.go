package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"lightningrod/chain"
	"lightningrod/channel"
	"lightningrod/node/forward"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// Backend is a view of the block chain: chain/embedded or chain/bitcoind.
type Backend interface {
	Tip() (height uint32, hash chainhash.Hash)
	Block(height uint32) (chain.Block, error)
	// Publish broadcasts. It is idempotent: a transaction that is already known or confirmed is no error.
	Publish(ctx context.Context, tx *wire.MsgTx) error
	// Unspent finds an output that is on the best chain and not spent there.
	Unspent(out wire.OutPoint) (txOut *wire.TxOut, height uint32, ok bool)
	Mempool() []*wire.MsgTx
	FeeRates() chain.FeeRates
	// Subscribe calls f, which does not block, after every change of tip or mempool.
	Subscribe(f func()) (cancel func())
}

// chainDesk turns the backend's blocks into facts for channels, wallet and forwarder, and takes their requests. One
// goroutine owns the tracker.
type chainDesk struct {
	node    *Node
	backend Backend
	tracker *chain.Tracker

	mu      sync.Mutex
	asks    []chainAsk
	forgets []uint64
	wake    chan struct{}

	publishing map[chainhash.Hash]publication
	mempool    map[chainhash.Hash]bool
	doubt      uint32 // blocks that the tracker has still to go back, since its tip may lie above a fork
	rates      chain.FeeRates
	stale      bool // the backend's tip is old: nothing is added and nothing released
}

// publication is a transaction that is broadcast again with every block until its owner is gone or it is confirmed.
type publication struct {
	tx    *wire.MsgTx
	owner uint64
	said  string // the last error, so that it is logged once
}

// rewind is how many blocks are read again when the depth of a reorganisation is not known: more than count as final.
const rewind = 12

func newChainDesk(n *Node, b Backend, height uint32, hash chainhash.Hash) *chainDesk {
	return &chainDesk{
		node: n, backend: b, tracker: chain.NewTracker(height, hash),
		wake:       make(chan struct{}, 1),
		publishing: map[chainhash.Hash]publication{},
		mempool:    map[chainhash.Hash]bool{},
	}
}

// ask hands requests over; it never blocks and calls no backend.
func (d *chainDesk) ask(asks []chainAsk) {
	if len(asks) == 0 {
		return
	}
	d.mu.Lock()
	d.asks = append(d.asks, asks...)
	d.mu.Unlock()
	poke(d.wake)
}

func (d *chainDesk) forget(owner uint64) {
	d.mu.Lock()
	d.forgets = append(d.forgets, owner)
	d.mu.Unlock()
	poke(d.wake)
}

// loop runs until ctx ends.
func (d *chainDesk) loop(ctx context.Context) {
	cancel := d.backend.Subscribe(func() { poke(d.wake) })
	defer cancel()
	poke(d.wake)
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		}
		if err := d.step(ctx); err != nil && ctx.Err() == nil {
			d.node.log.Error("chain backend", "error", err)
			d.retry(ctx)
		}
	}
}

// retry looks again a little later; the backend may only be restarting.
func (d *chainDesk) retry(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
		poke(d.wake)
	}
}

// step does everything there is to do: requests, new blocks, the mempool.
func (d *chainDesk) step(ctx context.Context) error {
	d.mu.Lock()
	asks, forgets := d.asks, d.forgets
	d.asks, d.forgets = nil, nil
	d.mu.Unlock()
	for _, owner := range forgets {
		d.tracker.Forget(owner)
		for id, p := range d.publishing {
			if p.owner == owner {
				delete(d.publishing, id)
			}
		}
	}
	// What a watch has missed is looked up on the best chain, so the tracker has to be on it.
	if _, err := d.retreat(); err != nil {
		d.again(asks)
		return err
	}
	for i, a := range asks {
		if err := d.take(ctx, a); err != nil {
			d.again(asks[i:])
			return err
		}
	}
	if err := d.follow(ctx); err != nil {
		return err
	}
	d.judgeTip()
	return d.watchMempool()
}

// again puts back requests that could not be taken.
func (d *chainDesk) again(asks []chainAsk) {
	d.mu.Lock()
	d.asks = append(asks[:len(asks):len(asks)], d.asks...)
	d.mu.Unlock()
}

// judgeTip tells the forwarder whether the backend's tip can be relied on, as far as the backend knows.
func (d *chainDesk) judgeTip() {
	why := d.node.Stale()
	if (why != nil) == d.stale {
		return
	}
	d.stale = why != nil
	d.node.log.Warn("the chain backend's tip", "stale", d.stale, "reason", why)
	d.node.think(forward.Stale{Stale: d.stale})
}

// take registers one request. For a watch, blocks from Since on are looked through again for this owner.
func (d *chainDesk) take(ctx context.Context, a chainAsk) error {
	switch r := a.req.(type) {
	case chain.WatchTx, chain.WatchSpend:
		return d.watch(a.owner, r)
	case chain.Publish:
		p := publication{tx: r.Tx, owner: a.owner}
		d.publish(ctx, &p)
		d.publishing[r.Tx.TxHash()] = p
		for _, c := range a.done {
			c <- nil // refused for now or not: it is tried again with every block
		}
	}
	return nil
}

func (d *chainDesk) watch(owner uint64, r chain.Request) error {
	missed, late := d.tracker.Watch(owner, r)
	if !late {
		return nil
	}
	for h := missed.From; h <= missed.To; h++ {
		b, err := d.backend.Block(h)
		if err != nil {
			return fmt.Errorf("block %d: %w", h, err)
		}
		facts, err := d.tracker.Rescan(b, owner)
		if err != nil {
			return err
		}
		d.deliver(facts)
	}
	return nil
}

func (d *chainDesk) publish(ctx context.Context, p *publication) {
	err := d.backend.Publish(ctx, p.tx)
	switch {
	case err == nil:
		p.said = ""
	case ctx.Err() == nil && err.Error() != p.said:
		// An unknown answer is never a reason to give up: only a confirmation or the owner's end is.
		p.said = err.Error()
		d.node.log.Warn("publishing", "txid", p.tx.TxHash(), "owner", p.owner, "error", err)
	}
}

// retreat takes the tracker back to a block of the backend's best chain, if its tip has left it.
func (d *chainDesk) retreat() (moved bool, err error) {
	for {
		height, hash := d.tracker.Tip()
		best, bestHash := d.backend.Tip()
		unknown := hash == chainhash.Hash{}
		switch {
		case height == 0 || hash == bestHash:
			return moved, nil
		case unknown && d.doubt > 0:
			d.doubt--
		case height > best:
		case unknown: // only the height is known: what comes next tells whether it fits
			return moved, nil
		default:
			b, err := d.backend.Block(height)
			if err != nil {
				return moved, fmt.Errorf("block %d: %w", height, err)
			}
			if b.Hash == hash {
				return moved, nil
			}
		}
		d.disconnect()
		moved = true
	}
}

// follow takes the tracker from its tip to the backend's, over the fork if there was a reorganisation.
func (d *chainDesk) follow(ctx context.Context) error {
	moved := false
	for ctx.Err() == nil {
		back, err := d.retreat()
		if err != nil {
			return err
		}
		moved = moved || back
		height, _ := d.tracker.Tip()
		if best, _ := d.backend.Tip(); height >= best {
			break
		}
		b, err := d.backend.Block(height + 1)
		if err != nil {
			return fmt.Errorf("block %d: %w", height+1, err)
		}
		if err := d.connect(b); errors.Is(err, chain.ErrNotNext) {
			continue // the chain moved between two calls
		} else if err != nil {
			return err
		}
		moved = true
	}
	if moved {
		for id, p := range d.publishing {
			d.publish(ctx, &p)
			d.publishing[id] = p
		}
	}
	return nil
}

func (d *chainDesk) connect(b chain.Block) error {
	facts, err := d.tracker.Connect(b)
	if err != nil {
		return err
	}
	for _, tx := range b.Txs {
		delete(d.mempool, tx.TxHash())
	}
	d.node.blockConnected(b)
	if r := d.backend.FeeRates().Sane(); !r.Near(d.rates) {
		d.rates = r
		facts = append(facts, chain.Fact{Owner: chain.Everyone, Event: r})
		d.node.adjustFees(r)
	}
	d.deliver(facts)
	d.node.think(blockEvent(b))
	d.node.clientBlock(b.Height)
	return nil
}

// disconnect takes the tracker's tip off. Below the block it began with it remembers no hashes, so that nobody knows where the
// fork is: then it goes on below every depth that counts as final, and all of that is told again.
func (d *chainDesk) disconnect() {
	height, known := d.tracker.Tip()
	facts := d.tracker.Disconnect()
	if _, hash := d.tracker.Tip(); known != (chainhash.Hash{}) && hash == (chainhash.Hash{}) {
		d.doubt = rewind
	}
	d.node.blockDisconnected(height)
	d.deliver(facts)
}

func (d *chainDesk) watchMempool() error {
	seen := map[chainhash.Hash]bool{}
	for _, tx := range d.backend.Mempool() {
		id := tx.TxHash()
		seen[id] = true
		if !d.mempool[id] {
			d.node.walletMu.Lock()
			d.node.wallet.Mempool(tx)
			d.node.walletMu.Unlock()
			d.deliver(d.tracker.Mempool(tx))
		}
	}
	d.mempool = seen
	return nil
}

// deliver posts facts to the channels they are for.
func (d *chainDesk) deliver(facts []chain.Fact) {
	for _, f := range facts {
		ev := channel.Chain{Event: f.Event}
		if f.Owner == chain.Everyone {
			for _, in := range d.node.registry.each(nil) {
				d.node.engine.postEvent(in, ev)
			}
			continue
		}
		if in := d.node.registry.get(channel.ID(f.Owner)); in != nil {
			d.node.engine.postEvent(in, ev)
		}
	}
}
