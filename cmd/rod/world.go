package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"lightningrod/chain/embedded"
	"lightningrod/node"
	"lightningrod/node/forward"

	"github.com/btcsuite/btcd/wire"
)

// world is a chain, the nodes on it, and the delivery service that wakes them.
type world struct {
	ctx    context.Context
	dir    string
	temp   bool
	seed   uint64
	log    io.Writer
	chain  *embedded.Chain
	pushes *pushService
	actors []*actor
}

// newWorld makes a world in a new folder of opts.dir, or in a temporary one.
func newWorld(ctx context.Context, name string, opts options) (*world, error) {
	w := &world{ctx: ctx, temp: opts.dir == "", seed: opts.seed, log: opts.log}
	var err error
	if w.temp {
		w.dir, err = os.MkdirTemp("", "rod-demo-")
	} else {
		w.dir, err = freshFolder(opts.dir, name)
	}
	if err != nil {
		return nil, err
	}
	if w.chain, err = embedded.New(embedded.Config{Dir: filepath.Join(w.dir, "chain")}); err == nil {
		w.pushes, err = newPushService()
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// freshFolder makes dir/name-1, or the first such folder that is not there yet: a run never touches the files of another.
func freshFolder(dir, name string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	for i := 1; ; i++ {
		path := filepath.Join(dir, fmt.Sprintf("%s-%d", name, i))
		if err := os.Mkdir(path, 0o700); !errors.Is(err, os.ErrExist) {
			return path, err
		}
	}
}

// close ends everything and removes a temporary folder. It may be called at any time.
func (w *world) close() error {
	var errs []error
	for _, a := range w.actors {
		errs = append(errs, a.sleep())
	}
	if w.pushes != nil {
		errs = append(errs, w.pushes.close())
	}
	if w.chain != nil {
		errs = append(errs, w.chain.Close())
	}
	if w.temp {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}

// policy is what the nodes charge for forwarding.
var policy = forward.Policy{FeeBase: 1000, FeePPM: 100, CltvExpiryDelta: 144, HTLCMinimum: 1}

// actor adds a node to the world. It is asleep: no process, no state, or only that on its disk.
func (w *world) actor(name string, lsp bool) *actor {
	seed := sha256.Sum256(fmt.Appendf(nil, "lightning rod demo %d %s", w.seed, name))
	logger := slog.New(slog.DiscardHandler)
	if w.log != nil {
		logger = slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})).With("actor", name)
	}
	a := &actor{world: w, name: name, grown: make(chan struct{}), cfg: node.Config{
		Dir: filepath.Join(w.dir, name), Seed: seed[:], Params: w.chain.Params(), Backend: w.chain, Alias: name, LSP: lsp,
		Policy: policy, LocalHooks: true, MinBackoff: 20 * time.Millisecond, Log: logger,
	}}
	if lsp {
		a.cfg.Listen = []string{"127.0.0.1:0"}
	}
	w.actors = append(w.actors, a)
	return a
}

// mine makes blocks whose coinbases nobody owns.
func (w *world) mine(blocks int) error {
	for blocks > 0 && w.ctx.Err() == nil {
		batch := min(blocks, 50) // so that an interrupt is heard
		if _, err := w.chain.Mine(batch, nil); err != nil {
			return err
		}
		blocks -= batch
	}
	return w.ctx.Err()
}

// coins mines a coin for each of the actors, who must be awake, and lets them mature.
func (w *world) coins(actors ...*actor) error {
	for _, a := range actors {
		_, script, err := a.node.NewAddress()
		if err == nil {
			_, err = w.chain.Mine(1, script)
		}
		if err != nil {
			return fmt.Errorf("coins for %s: %w", a.name, err)
		}
	}
	return w.mine(int(w.chain.Params().CoinbaseMaturity))
}

// Online is a time an actor was awake.
type span struct{ from, to time.Time }

// entry is an event of an actor, in one of its lives.
type entry struct {
	life int
	node.Event
}

// actor is a node, or a person's phone with a node in it: awake it is a node.Node, asleep it is files.
type actor struct {
	world *world
	name  string
	cfg   node.Config

	node  *node.Node // awake: the node; asleep: what it was, for questions only; nil before the first start
	awake bool
	life  int
	spans []span

	reading sync.WaitGroup
	mu      sync.Mutex
	log     []entry
	grown   chan struct{} // closed when the log grows, and replaced
}

// wake starts the actor's node from its files.
func (a *actor) wake() error {
	if a.awake {
		return fmt.Errorf("%s is awake already", a.name)
	}
	from := time.Now()
	n, err := node.New(a.cfg)
	if err != nil {
		return fmt.Errorf("starting %s: %w", a.name, err)
	}
	if err := n.Start(a.world.ctx); err != nil {
		return fmt.Errorf("starting %s: %w", a.name, err)
	}
	if len(n.Addrs()) > 0 {
		a.cfg.Listen = []string{n.Addrs()[0].String()} // others remember it
	}
	a.node, a.awake = n, true
	a.life++
	a.spans = append(a.spans, span{from: from})
	life := a.life
	a.reading.Go(func() { a.read(n, life) })
	return nil
}

// read copies the events of a life into the log, until it ends.
func (a *actor) read(n *node.Node, life int) {
	r := n.Events(n.FirstEvent())
	defer r.Close()
	for {
		ev, err := r.Next(context.Background()) // ends with the node, after its last event
		if err != nil {
			return
		}
		a.mu.Lock()
		a.log = append(a.log, entry{life, ev})
		close(a.grown)
		a.grown = make(chan struct{})
		a.mu.Unlock()
	}
}

// sleep stops the actor's node, if it runs. Only files are left.
func (a *actor) sleep() error {
	return a.end(func() error { return a.node.Stop() })
}

// crash kills the actor's node without warning.
func (a *actor) crash() error {
	return a.end(func() error { a.node.Crash(); return nil })
}

func (a *actor) end(how func() error) error {
	if !a.awake {
		return nil
	}
	a.awake = false
	err := how()
	a.reading.Wait()
	a.spans[len(a.spans)-1].to = time.Now()
	if err != nil {
		return fmt.Errorf("stopping %s: %w", a.name, err)
	}
	return nil
}

// moveTo makes a byte copy of the actor's folder, removes the original, and lets the actor live in the copy.
func (a *actor) moveTo(dir string) error {
	if a.awake {
		return fmt.Errorf("%s is awake", a.name)
	}
	if err := os.CopyFS(dir, os.DirFS(a.cfg.Dir)); err != nil {
		return err
	}
	if err := os.RemoveAll(a.cfg.Dir); err != nil {
		return err
	}
	a.cfg.Dir = dir
	return nil
}

// events are those of the log from a place on, and a channel that is closed when there are more.
func (a *actor) events(from int) ([]entry, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log[min(from, len(a.log)):len(a.log):len(a.log)], a.grown
}

// mark is the present end of the log.
func (a *actor) mark() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.log)
}

// balance is what the actor owns, in msat: its side of its channels, and its coins.
func (a *actor) balance() uint64 {
	if a.node == nil {
		return 0
	}
	confirmed, unconfirmed := a.node.WalletBalance()
	sum := uint64(confirmed+unconfirmed) * 1000
	for _, c := range a.node.Channels() {
		local, _ := c.State.Balance()
		sum += uint64(local)
	}
	return sum
}

// liveHTLCs is how many HTLCs are in the actor's channels, either way.
func (a *actor) liveHTLCs() (count int) {
	for _, c := range a.node.Channels() {
		count += len(c.State.Offered()) + len(c.State.Received())
	}
	return count
}

// tied says whether the actor has a usable channel with another.
func (a *actor) tied(to *actor) bool {
	for _, c := range a.node.Channels() {
		if _, _, ok := c.State.Usable(); ok && c.Peer == to.node.ID() {
			return true
		}
	}
	return false
}

// fundingOf finds the output that a channel lives on.
func (w *world) fundingOf(c node.ChannelInfo) (*wire.TxOut, error) {
	out, _, ok := w.chain.Unspent(c.State.Funding())
	if !ok {
		return nil, fmt.Errorf("the funding output %v is spent or unknown", c.State.Funding())
	}
	return out, nil
}
