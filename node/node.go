package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"lightningrod/chain"
	"lightningrod/chain/wallet"
	"lightningrod/channel"
	"lightningrod/node/forward"
	"lightningrod/node/store"
	"lightningrod/onion"
	"lightningrod/peer"
	"lightningrod/rod"
)

var cryptoRand io.Reader = rand.Reader

// Node is one Lightning node.
type Node struct {
	cfg     Config
	id      [33]byte
	log     *slog.Logger
	keys    *keyring
	router  *onion.Router
	store   *store.Store
	lineage *lineage
	disk    Disk
	backend Backend

	queue     *commitQueue
	engine    *engine
	registry  *registry
	brain     brain
	host      *peer.Host
	chainDesk *chainDesk
	mailroom  *mailroom
	postbox   *postbox
	gossip    *gossip
	events    *stream
	eventLog  *eventLog // of the committer
	commits   stopwatch
	flood     *flood
	clients   clients
	sightings sightings
	paying    atomic.Bool // there are, or were since the start, Rod payments of our own

	walletMu sync.Mutex
	wallet   *wallet.Wallet

	refusedMessages struct{ throttled, malformed atomic.Uint64 } // onion messages

	bookMu sync.Mutex
	book   map[[33]byte]string // where to connect to, by node

	openMu  sync.Mutex
	opening map[channel.ID]chan<- error
	funded  map[channel.ID]funding // of channels that are not durable yet

	listening []net.Addr
	cancel    context.CancelFunc // ends the loops
	loops     sync.WaitGroup     // chain desk, mailroom, ticker, workers
	committed sync.WaitGroup     // the committer
	stopping  chan struct{}      // closed when the end begins
	stopOnce  sync.Once
	endMu     sync.Mutex
	end       error
	done      chan struct{} // closed when everything has ended
}

// New opens the node's files and recovers everything from them. It does not touch the network: Start does.
func New(cfg Config) (*Node, error) {
	if err := cfg.defaults(); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	keys, err := newKeyring(cfg.Seed, cfg.Params)
	if err != nil {
		return nil, err
	}
	if cfg.Rod == (rod.Config{}) {
		cfg.Rod = rod.DefaultConfig(keys.nodeID())
	}
	cfg.Rod.LSP, cfg.Rod.Enabled = keys.nodeID(), cfg.LSP
	n := &Node{
		cfg: cfg, id: keys.nodeID(), keys: keys, backend: cfg.Backend,
		router:   onion.NewRouter(keys.identity),
		queue:    newCommitQueue(),
		registry: newRegistry(),
		events:   newStream(),
		flood:    newFlood(),
		opening:  map[channel.ID]chan<- error{},
		funded:   map[channel.ID]funding{},
		stopping: make(chan struct{}),
		done:     make(chan struct{}),
	}
	n.log = cfg.Log.With("node", shortNode(n.id))
	n.engine = newEngine(n)
	n.mailroom = newMailroom(n)
	path := filepath.Join(cfg.Dir, "node.db")
	if err := checkMissing(&cfg, path); err != nil {
		return nil, err
	}
	if n.store, err = store.Open(path); err != nil {
		return nil, err
	}
	err = n.store.Bind(cfg.Params.Name, n.id)
	if err == nil {
		n.lineage, err = openLineage(cfg.lineageFile(), n.store, cfg.Rand)
	}
	if err == nil {
		n.disk = n.lineage
		if cfg.Disk != nil {
			n.disk = cfg.Disk(n.disk)
		}
		err = n.recover()
	}
	if err != nil {
		n.lineage.close()
		n.store.Close()
		return nil, fmt.Errorf("recovering: %w", err)
	}
	return n, nil
}

// Start catches up with the chain, and then opens the node to the network. It gives up when ctx ends before that; afterwards ctx no longer counts.
func (n *Node) Start(ctx context.Context) error {
	begin := ctx
	ctx, n.cancel = context.WithCancel(context.WithoutCancel(ctx))
	n.committed.Go(n.committer)
	for range runtime.GOMAXPROCS(0) {
		n.loops.Go(n.engine.worker)
	}
	// The blocks that were missed come first: nothing is decided on an old height.
	err := n.chainDesk.step(begin)
	if err == nil {
		err = begin.Err()
	}
	if err != nil {
		n.Stop()
		return fmt.Errorf("chain: %w", err)
	}
	n.engine.settle()
	now := n.cfg.Now().Unix()
	n.think(forward.Tick{Now: now}, forward.Stale{Stale: n.chainDesk.stale.Load()})
	n.clientTick(now) // a payment that starts before the first tick must not be as old as the epoch
	n.loops.Go(func() { n.chainDesk.loop(ctx) })
	n.loops.Go(func() { n.mailroom.loop(ctx) })
	n.loops.Go(func() { n.tick(ctx) })
	for _, addr := range n.cfg.Listen {
		a, err := n.host.Listen(addr)
		if err != nil {
			n.Stop()
			return err
		}
		n.listening = append(n.listening, a)
	}
	n.keepClients()
	return nil
}

// tick tells the time to whatever has deadlines.
func (n *Node) tick(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := n.cfg.Now()
		if now.Unix()%10 == 0 {
			poke(n.chainDesk.wake) // a backend that is silent may be dead
		}
		n.think(forward.Tick{Now: now.Unix()})
		n.clientTick(now.Unix())
		n.gossip.tick(now)
	}
}

// Stop ends the node in order: no more messages, all turns queued and committed, files closed.
func (n *Node) Stop() error {
	n.shutdown(nil, false)
	<-n.done
	n.endMu.Lock()
	defer n.endMu.Unlock()
	return n.end
}

// Crash ends the node as a power cut would: what is not on the disk is lost, and the files are left as they are.
func (n *Node) Crash() {
	n.shutdown(errCrashed, true)
	<-n.done
}

var errCrashed = errors.New("crashed on request")

// fail ends the node after an error that leaves no other way: nothing that waits was released.
func (n *Node) fail(err error) {
	n.log.Error("the node stops", "error", err)
	go n.shutdown(err, true)
}

// Done is closed when the node has ended. Err then says why.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err is why the node ended: nil after Stop.
func (n *Node) Err() error {
	n.endMu.Lock()
	defer n.endMu.Unlock()
	return n.end
}

func (n *Node) shutdown(why error, drop bool) {
	n.stopOnce.Do(func() {
		n.endMu.Lock()
		n.end = why
		n.endMu.Unlock()
		close(n.stopping)
		if drop {
			n.queue.close(true)
		}
		if n.cancel != nil {
			n.cancel()
		}
		n.engine.stop() // readers that wait for room in an inbox go on
		n.host.Close()
		n.loops.Wait()
		n.queue.close(drop)
		n.committed.Wait()
		n.postbox.deliver.Close()
		n.events.close()
		n.lineage.close()
		if drop {
			n.store.Abort()
		} else if err := n.store.Close(); err != nil {
			n.endMu.Lock()
			n.end = err
			n.endMu.Unlock()
		}
		close(n.done)
	})
}

// ID is the node's id.
func (n *Node) ID() [33]byte { return n.id }

// Addrs are the addresses the node listens on.
func (n *Node) Addrs() []net.Addr { return n.listening }

// Connect connects to a node; a connection that is there already will do.
func (n *Node) Connect(ctx context.Context, id [33]byte, addr string) error {
	_, err := n.host.Connect(ctx, id, addr)
	return err
}

// random32 draws 32 secret bytes.
func (n *Node) random32() (b [32]byte, err error) {
	if _, err := io.ReadFull(n.cfg.Rand, b[:]); err != nil {
		return b, fmt.Errorf("random source: %w", err)
	}
	return b, nil
}

// blockEvent is a block as the forwarder hears of it.
func blockEvent(b chain.Block) forward.Event { return forward.Block{Height: b.Height} }
