package node

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"os"
	"testing"
	"time"

	"lightningrod/chain/embedded"
	"lightningrod/channel"
	"lightningrod/node/forward"

	"github.com/lightningnetwork/lnd/lnwire"
)

// world is a chain and nodes on it, over real sockets and files.
type world struct {
	t     *testing.T
	ctx   context.Context
	chain *embedded.Chain
	burn  []byte // where blocks pay to
}

func newWorld(t *testing.T) *world {
	t.Helper()
	c, err := embedded.New(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return &world{t: t, ctx: ctx, chain: c, burn: append([]byte{0x00, 0x20}, make([]byte, 32)...)}
}

// config is a node's, by name: its seed follows from it.
func (w *world) config(name string, lsp bool) Config {
	seed := sha256.Sum256([]byte(name))
	cfg := Config{
		Dir: w.t.TempDir(), Seed: seed[:], Params: w.chain.Params(), Backend: w.chain, Alias: name, LSP: lsp,
		LocalHooks: true, MinBackoff: 20 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		Policy: forward.Policy{FeeBase: 1000, FeePPM: 100, CltvExpiryDelta: 144, HTLCMinimum: 1},
	}
	if lsp {
		cfg.Listen = []string{"127.0.0.1:0"}
	}
	if os.Getenv("ROD_LOG") != "" {
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return cfg
}

func (w *world) start(cfg Config) *Node {
	w.t.Helper()
	n, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := n.Start(w.ctx); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { n.Stop() })
	return n
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

// wait waits for an event of a kind since from, whose fields are as given.
func (w *world) wait(n *Node, from uint64, k Kind, pairs ...string) Event {
	w.t.Helper()
	r := n.Events(from)
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

// open has from open a channel with to, and waits until both can use it. Who listens is dialled.
func (w *world) open(from, to *Node, private bool) channel.ID {
	w.t.Helper()
	dialler, listener := from, to
	if len(to.Addrs()) == 0 {
		dialler, listener = to, from
	}
	if err := dialler.Keep(listener.ID(), listener.Addrs()[0].String()); err != nil {
		w.t.Fatal(err)
	}
	w.until("connection", func() bool { return from.host.Peer(to.ID()) != nil })
	id, err := from.Open(w.ctx, OpenChannel{Peer: to.ID(), Capacity: 1_000_000, Push: 300_000_000, Private: private})
	if err != nil {
		w.t.Fatal(err)
	}
	w.until("funding transaction", func() bool { return len(w.chain.Mempool()) > 0 })
	w.mine(6, w.burn)
	for _, n := range []*Node{from, to} {
		w.until("usable channel", func() bool {
			for _, in := range n.registry.each(nil) {
				if _, _, ok := in.state.Load().Usable(); !ok {
					return false
				}
			}
			return true
		})
	}
	return id
}

func TestPayDirect(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(w.config("alice", false)), w.start(w.config("bob", true))
	w.fund(a)
	w.open(a, b, false)
	inv, err := b.CreateInvoice(InvoiceWish{Amount: 25_000_000, Description: "tea"})
	if err != nil {
		t.Fatal(err)
	}
	id, err := a.Pay(inv.Text, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	done := w.wait(a, 0, PaymentDone)
	if done.Fields["hash"] == "" || id == 0 {
		t.Fatal(done)
	}
	p, _ := a.Payment(id)
	if sha256.Sum256(p.Preimage[:]) != inv.Hash {
		t.Fatal("the preimage is not the invoice's")
	}
	w.until("settled", func() bool {
		for _, in := range b.registry.each(nil) {
			local, _ := in.state.Load().Balance()
			return local == lnwire.MilliSatoshi(325_000_000) && len(in.state.Load().Received()) == 0
		}
		return false
	})
}

// TestRod is the seed's story: A pays B, and they are never online together.
func TestRod(t *testing.T) {
	w := newWorld(t)
	cfgA, cfgB := w.config("A", false), w.config("B", false)
	lspA, lspB := w.start(w.config("LSP_a", true)), w.start(w.config("LSP_b", true))
	a, b := w.start(cfgA), w.start(cfgB)
	for _, n := range []*Node{a, lspA, lspB} {
		w.fund(n)
	}
	w.open(lspA, lspB, false)
	w.open(a, lspA, true)
	w.open(lspB, b, true)
	w.until("gossip", func() bool { c, _ := a.GraphSize(); return c == 1 })
	w.until("terms of LSP_b", func() bool { return len(b.routeHints()) == 1 })

	inv, err := b.CreateInvoice(InvoiceWish{Amount: 20_000_000, Description: "coffee"})
	if err != nil {
		t.Fatal(err)
	}
	b.Stop()

	id, err := a.SendAsync(AsyncPay{Invoice: inv.Text, LSP: lspA.ID()})
	if err != nil {
		t.Fatal(err)
	}
	w.wait(lspA, 0, HoldHolding)
	w.wait(a, 0, RodNoticeSent)
	w.wait(lspB, 0, MessageKept)
	a.Stop()

	b = w.start(cfgB)
	w.wait(b, 0, RodReadySent)
	w.wait(lspA, 0, HTLCForwarded)
	w.wait(b, 0, InvoicePaid)

	a = w.start(cfgA)
	w.wait(a, 0, PaymentDone)
	p, _ := a.Payment(id)
	if sha256.Sum256(p.Preimage[:]) != inv.Hash {
		t.Fatal("the preimage is not the invoice's")
	}
}
