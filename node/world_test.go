package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"lightningrod/chain/embedded"
	"lightningrod/channel"
	"lightningrod/node/forward"

	"github.com/lightningnetwork/lnd/lnwire"
)

// world is a chain and nodes on it, over real sockets and files.
type world struct {
	t     testing.TB
	ctx   context.Context
	chain *embedded.Chain
	net   *network
	burn  []byte // where blocks pay to
}

// patience is the longest that anything in these tests may take: a failure, not a measure.
const patience = 120 * time.Second

func newWorld(t testing.TB) *world {
	t.Helper()
	c, err := embedded.New(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return (&world{chain: c, burn: append([]byte{0x00, 0x20}, make([]byte, 32)...)}).within(t)
}

// within is the same chain for another test, whose nodes know nothing of those here.
func (w *world) within(t testing.TB) *world {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return &world{t: t, ctx: ctx, chain: w.chain, burn: w.burn, net: &network{at: map[string]string{}}}
}

// network is the names by which nodes of one world dial each other. A name outlives a restart; the port behind it does not.
type network struct {
	mu sync.Mutex
	at map[string]string
}

func (n *network) set(name, addr string) {
	n.mu.Lock()
	n.at[name] = addr
	n.mu.Unlock()
}

func (n *network) DialContext(ctx context.Context, transport, addr string) (net.Conn, error) {
	name, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	at := n.at[name]
	n.mu.Unlock()
	if at == "" {
		return nil, fmt.Errorf("%s does not listen", name)
	}
	return (&net.Dialer{}).DialContext(ctx, transport, at)
}

// address is what a node of this name is dialled by.
func address(name string) string { return name + ":9735" }

// fees are what the nodes of these tests ask for.
var fees = forward.Policy{FeeBase: 1000, FeePPM: 100, CltvExpiryDelta: 144, HTLCMinimum: 1}

// withFee is what a node of these tests must be given to send amount on.
func withFee(amount lnwire.MilliSatoshi) lnwire.MilliSatoshi {
	return amount + 1000 + amount*100/1_000_000
}

// config is a node's, by name: its seed follows from it. An LSP listens.
func (w *world) config(name string, lsp bool) Config {
	seed := sha256.Sum256([]byte(name))
	cfg := Config{
		Dir: w.t.TempDir(), Seed: seed[:], Params: w.chain.Params(), Backend: w.chain, Alias: name, LSP: lsp,
		LocalHooks: true, MinBackoff: 20 * time.Millisecond, Log: slog.New(slog.DiscardHandler), Dialer: w.net, Policy: fees,
	}
	if lsp {
		cfg.Listen, cfg.Announce = []string{"127.0.0.1:0"}, []string{address(name)}
	}
	if os.Getenv("ROD_LOG") != "" {
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return cfg
}

func (w *world) start(cfg Config) *Node {
	w.t.Helper()
	n, err := w.try(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// try is start for a node that may not survive it: there may be one although it did not start.
func (w *world) try(cfg Config) (*Node, error) {
	n, err := New(cfg)
	if err != nil {
		return nil, err
	}
	w.t.Cleanup(func() { n.Stop() })
	if err := n.Start(w.ctx); err != nil {
		return n, err
	}
	if len(n.Addrs()) > 0 {
		w.net.set(cfg.Alias, n.Addrs()[0].String())
	}
	return n, nil
}

// fund mines coins for a node and lets them mature.
func (w *world) fund(n *Node) {
	w.t.Helper()
	_, script, err := n.NewAddress()
	if err != nil {
		w.t.Fatal(err)
	}
	w.mine(1, script)
	w.mine(100, w.burn)
	w.until("funds", func() bool { c, _ := n.WalletBalance(); return c > 0 })
}

func (w *world) mine(blocks int, to []byte) {
	w.t.Helper()
	if _, err := w.chain.Mine(blocks, to); err != nil {
		w.t.Fatal(err)
	}
}

// until polls: for what is seen through no event.
func (w *world) until(what string, f func() bool) {
	w.t.Helper()
	for !f() {
		select {
		case <-w.ctx.Done():
			w.t.Fatalf("%s: %v", what, w.ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// wait waits for an event of a kind since from (0: since the node's start), whose fields are as given.
func (w *world) wait(n *Node, from uint64, k Kind, pairs ...string) Event {
	w.t.Helper()
	r := n.Events(max(from, n.FirstEvent()))
	defer r.Close()
next:
	for {
		ev, err := r.Next(w.ctx)
		if err != nil {
			w.t.Fatalf("waiting for %s %v: %v", k, pairs, err)
		}
		if ev.Kind != k {
			continue
		}
		for i := 0; i+1 < len(pairs); i += 2 {
			if ev.Fields[pairs[i]] != pairs[i+1] {
				continue next
			}
		}
		return ev
	}
}

// wish is what the channels of most of these tests are like.
var wish = OpenChannel{Capacity: 1_000_000, Push: 300_000_000}

// open has from open a channel with to, and waits until both can use it. Who listens is dialled.
func (w *world) open(from, to *Node, private bool) channel.ID {
	w.t.Helper()
	o := wish
	o.Private = private
	return w.openAs(from, to, o)
}

func (w *world) openAs(from, to *Node, o OpenChannel) channel.ID {
	w.t.Helper()
	dialler, listener := from, to
	if len(to.Addrs()) == 0 {
		dialler, listener = to, from
	}
	if err := dialler.Keep(listener.ID(), address(listener.cfg.Alias)); err != nil {
		w.t.Fatal(err)
	}
	w.until("connection", func() bool { return from.host.Peer(to.ID()) != nil })
	o.Peer = to.ID()
	id, err := from.Open(w.ctx, o)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(w.chain.Mempool()) == 0 {
		w.t.Fatal("Open returned before the funding transaction was published")
	}
	w.mine(6, w.burn)
	w.usable(from, to)
	return id
}

// usable waits until all channels of all these nodes can carry HTLCs.
func (w *world) usable(nodes ...*Node) {
	w.t.Helper()
	all := func() bool {
		for _, n := range nodes {
			for _, in := range n.registry.each(nil) {
				if _, _, ok := in.state.Load().Usable(); !ok {
					return false
				}
			}
		}
		return true
	}
	w.until("usable channels", all)
	w.until("usable channels", all) // when the last can, the first may just have noticed that the connection before was lost
}

// line is A - LSP_a - LSP_b - B: the outer channels private, the middle one announced.
type line struct {
	a, lspA, lspB, b *Node
	configs          [4]Config
}

func (l *line) nodes() []*Node { return []*Node{l.a, l.lspA, l.lspB, l.b} }

// lineNames are the nodes of a line, in order.
var lineNames = [4]string{"A", "LSP_a", "LSP_b", "B"}

// line starts four nodes and opens their channels, each of capacity 1,000,000 sat, 300,000 of them with the second.
func (w *world) line() *line {
	w.t.Helper()
	l := &line{}
	for i, name := range lineNames {
		l.configs[i] = w.config(name, i == 1 || i == 2)
	}
	l.lspA, l.lspB = w.start(l.configs[1]), w.start(l.configs[2])
	l.a, l.b = w.start(l.configs[0]), w.start(l.configs[3])
	for _, n := range []*Node{l.a, l.lspA, l.lspB} {
		w.fund(n)
	}
	w.open(l.lspA, l.lspB, false)
	w.open(l.a, l.lspA, true)
	w.open(l.lspB, l.b, true)
	w.knowing(l)
	return l
}

// knowing waits until the outer nodes know how to reach each other.
func (w *world) knowing(l *line) {
	w.t.Helper()
	for _, n := range []*Node{l.a, l.b} {
		w.until("gossip", func() bool { c, _ := n.GraphSize(); return c == 1 })
		w.until("terms of the LSP", func() bool { return len(n.routeHints()) == 1 })
	}
}

// balance is what n has in its channel with peer, once no HTLC is left in it.
func balance(n *Node, peer [33]byte) (local lnwire.MilliSatoshi, quiet bool) {
	ins := n.registry.each(&peer)
	if len(ins) != 1 {
		return 0, false
	}
	s := ins[0].state.Load()
	local, _ = s.Balance()
	return local, s.Phase() == channel.PhaseNormal && len(s.Offered())+len(s.Received()) == 0
}

// quiet waits until no channel of these nodes has an HTLC, and both ends of each agree on that.
func (w *world) quiet(nodes ...*Node) {
	w.t.Helper()
	for _, n := range nodes {
		w.until("all HTLCs to end", func() bool {
			for _, in := range n.registry.each(nil) {
				if _, quiet := balance(n, in.peer); !quiet {
					return false
				}
			}
			return true
		})
	}
}

// errCut is how a Disk of these tests fails.
var errCut = errors.New("the power was cut")
