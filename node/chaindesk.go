package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
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
	tracker *chain.Tracker // nil before the first step

	mu      sync.Mutex
	asks    []chainAsk
	forgets []uint64
	wake    chan struct{}

	publishing publications
	mempool    map[chainhash.Hash]bool        // of the last look
	hashes     map[*wire.MsgTx]chainhash.Hash // of those of them that the backend may hand out again
	anew       bool                           // all of it is to be told: there is a new watch, or a new block
	sights     []sight                        // what all have durably seen before this start, until it is compared with the best chain
	doubt      uint32                         // blocks that the tracker has still to go back, since its tip may lie above a fork
	rates      chain.FeeRates
	stale      atomic.Bool // the backend's tip is old: nothing is added and nothing released
}

// spender is a Backend whose Mempool may leave something out. Spending finds what spends any of outs in all of the mempool.
type spender interface {
	Spending(ctx context.Context, outs []wire.OutPoint) ([]*wire.MsgTx, error)
}

// rewind is how many blocks are read again when the depth of a reorganisation is not known: more than count as final.
const rewind = 12

// sight is the newest block that a channel, or the wallet, has durably seen. A zero hash means that it stopped in the middle of a
// reorganisation, or has seen none yet.
type sight struct {
	owner  uint64
	height uint32
	hash   chainhash.Hash
}

// walletSight is the owner of the wallet's sight: no channel has this number.
const walletSight = chain.Everyone

func newChainDesk(n *Node, b Backend, sights []sight) *chainDesk {
	return &chainDesk{
		node: n, backend: b,
		wake:       make(chan struct{}, 1),
		publishing: newPublications(b, n.log),
		mempool:    map[chainhash.Hash]bool{},
		sights:     sights,
	}
}

// recall makes the tracker, which begins with whoever has seen least, after it has compared what all have seen with the best chain. Each has its own rows, so that a power cut in the middle of a
// reorganisation may leave one on the old branch and another, no lower, on the new one: the tracker, which begins with the lowest, would never
// tell the first that its blocks are gone. So whoever is not on the best chain forgets all that does not count as final, and hears it again.
func (d *chainDesk) recall() error {
	best, _ := d.backend.Tip()
	hashes := map[uint32]chainhash.Hash{}
	sights := slices.Clone(d.sights)
	for i := range sights {
		s := &sights[i]
		if _, known := hashes[s.height]; !known && s.height > 0 && s.height <= best && s.hash != (chainhash.Hash{}) {
			b, err := d.backend.Block(s.height)
			if err != nil {
				return fmt.Errorf("block %d: %w", s.height, err)
			}
			hashes[s.height] = b.Hash
		}
		if s.height > 0 && (s.hash == chainhash.Hash{} || hashes[s.height] != s.hash) {
			s.height, s.hash = s.height-min(s.height, rewind), chainhash.Hash{}
		}
	}
	low := slices.MinFunc(sights, func(a, b sight) int { return cmp.Compare(a.height, b.height) })
	d.tracker = chain.NewTracker(low.height, low.hash)
	for i, s := range sights {
		switch {
		case s == d.sights[i]:
		case s.owner == walletSight:
			d.node.blockDisconnected(s.height + 1)
		default:
			d.deliver([]chain.Fact{{Owner: s.owner, Event: chain.BlockDisconnected{Height: s.height + 1}}})
		}
	}
	d.sights = nil
	return nil
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
	said := "" // the last error, so that a backend that is down for long is logged once
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		}
		err := d.step(ctx)
		switch {
		case err == nil:
			said = ""
		case ctx.Err() == nil:
			if text := err.Error(); text != said {
				d.node.log.Error("chain backend", "error", err)
				said = text
			}
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
	if d.tracker == nil {
		if err := d.recall(); err != nil {
			return err
		}
	}
	d.mu.Lock()
	asks, forgets := d.asks, d.forgets
	d.asks, d.forgets = nil, nil
	d.mu.Unlock()
	for _, owner := range forgets {
		d.tracker.Forget(owner)
		d.publishing.forget(owner)
	}
	// What a watch has missed is looked up on the best chain, so the tracker has to be on it.
	if _, err := d.retreat(); err != nil {
		d.again(asks)
		return err
	}
	watches := d.publish(ctx, asks)
	for i, a := range watches {
		if err := d.watch(a.owner, a.req); err != nil {
			d.again(watches[i:])
			return err
		}
	}
	if err := d.follow(ctx); err != nil {
		return err
	}
	if d.rates == (chain.FeeRates{}) {
		// The start: with the estimates, a channel on chain publishes again what it did in its last life, and does not wait for a block.
		d.deliver(d.newRates())
	}
	d.judgeTip()
	return d.watchMempool(ctx)
}

// again puts back requests that could not be taken.
func (d *chainDesk) again(asks []chainAsk) {
	d.mu.Lock()
	d.asks = append(asks[:len(asks):len(asks)], d.asks...)
	d.mu.Unlock()
}

// judgeTip tells the forwarder whether the backend's tip can be relied on, as far as the backend knows.
func (d *chainDesk) judgeTip() {
	why := d.node.backendStale()
	stale := why != nil
	if stale == d.stale.Load() {
		return
	}
	d.node.log.Warn("the chain backend's tip", "stale", stale, "reason", why)
	d.node.think(forward.Stale{Stale: stale})
	d.stale.Store(stale) // after the forwarder knows: who is told that the node serves is not refused by it
}

// publish broadcasts what is asked to be, all of it together, so that a child comes with its parent. The rest are watches.
func (d *chainDesk) publish(ctx context.Context, asks []chainAsk) (watches []chainAsk) {
	var fresh []*publication
	for _, a := range asks {
		if r, ok := a.req.(chain.Publish); ok {
			fresh = append(fresh, d.publishing.add(a.owner, r.Tx))
		} else {
			watches = append(watches, a)
		}
	}
	d.publishing.broadcast(ctx, fresh)
	for _, a := range asks {
		for _, c := range a.done {
			c <- nil // refused for now or not: it is tried again with every block
		}
	}
	return watches
}

// watch registers a watch. Blocks from Since on are looked through again for this owner, and the mempool.
func (d *chainDesk) watch(owner uint64, r chain.Request) error {
	missed, late := d.tracker.Watch(owner, r)
	d.anew = true
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
		d.publishing.broadcast(ctx, d.publishing.all())
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
	d.publishing.connect(b)
	d.anew = true
	d.node.blockConnected(b)
	d.deliver(append(facts, d.newRates()...))
	d.node.adjustFees(d.rates)
	d.node.think(blockEvent(b))
	d.node.clientBlock(b.Height)
	return nil
}

// newRates tells of estimates that differ from those told last.
func (d *chainDesk) newRates() []chain.Fact {
	r := d.backend.FeeRates().Sane()
	if r.Near(d.rates) {
		return nil
	}
	if above := d.node.cfg.CongestedAbove; (r.Urgent > above) != (d.rates.Urgent > above) {
		d.node.log.Warn("fees: nothing new is forwarded while the urgent estimate is above the bound", "above", r.Urgent > above, "urgent_sat_per_kw", r.Urgent, "bound_sat_per_kw", above)
		d.node.think(forward.Congested{Congested: r.Urgent > above})
	}
	d.rates = r
	return []chain.Fact{{Owner: chain.Everyone, Event: r}}
}

// disconnect takes the tracker's tip off. Below the block it began with it remembers no hashes, so that nobody knows where the
// fork is: then it goes on below every depth that counts as final, and all of that is told again.
func (d *chainDesk) disconnect() {
	height, known := d.tracker.Tip()
	facts := d.tracker.Disconnect()
	if _, hash := d.tracker.Tip(); known != (chainhash.Hash{}) && hash == (chainhash.Hash{}) {
		d.doubt = rewind
	}
	d.publishing.disconnect(height)
	d.node.blockDisconnected(height)
	for id := range d.mempool {
		d.mempool[id] = false // the wallet is told again of what it may have forgotten
	}
	d.deliver(facts)
}

// watchMempool tells of what is new in the mempool, and with every block of all of it: who spends a watched output there may show a
// preimage, or need our help to confirm.
func (d *chainDesk) watchMempool(ctx context.Context) error {
	all, err := d.unconfirmed(ctx)
	if err != nil {
		return err
	}
	again := d.anew
	d.anew = false
	seen := make(map[chainhash.Hash]bool, len(all))
	hashes := make(map[*wire.MsgTx]chainhash.Hash, len(all))
	for _, tx := range all {
		id, ok := d.hashes[tx]
		if !ok {
			id = tx.TxHash()
		}
		hashes[tx] = id
		if known := seen[id] || d.mempool[id]; !known || again {
			if !known {
				d.node.walletMu.Lock()
				d.node.wallet.Mempool(tx)
				d.node.walletMu.Unlock()
			}
			d.deliver(d.tracker.Mempool(tx))
		}
		seen[id] = true
	}
	d.node.walletMu.Lock()
	for id := range d.mempool {
		if !seen[id] {
			d.node.wallet.Gone(id)
		}
	}
	d.node.walletMu.Unlock()
	d.mempool, d.hashes = seen, hashes
	if again {
		d.deliver(d.stranded())
	}
	return nil
}

// stranded tells of transactions whose coins are gone. The first input of what a channel has funded is its own, the others are coins.
func (d *chainDesk) stranded() (facts []chain.Fact) {
	d.node.walletMu.Lock()
	defer d.node.walletMu.Unlock()
	for _, p := range d.publishing.all() {
		if slices.ContainsFunc(p.tx.TxIn[1:], func(in *wire.TxIn) bool { return !d.node.wallet.Has(in.PreviousOutPoint) }) {
			facts = append(facts, chain.Fact{Owner: p.owner, Event: chain.Stranded{Tx: p.txid}})
		}
	}
	return facts
}

// unconfirmed is what the backend shows of its mempool, and what it does not show but spends a watched output.
func (d *chainDesk) unconfirmed(ctx context.Context) ([]*wire.MsgTx, error) {
	all := d.backend.Mempool()
	b, ok := d.backend.(spender)
	if !ok {
		return all, nil
	}
	spending, err := b.Spending(ctx, d.tracker.Unspent())
	return append(all[:len(all):len(all)], spending...), err
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
