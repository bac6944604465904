package api

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"lightningrod/chain/embedded"
	"lightningrod/node"
)

// served is a node with its API on a unix socket, as rodd has it.
type served struct {
	*Client
	t      testing.TB
	ctx    context.Context
	node   *node.Node
	chain  *embedded.Chain
	server *Server
	socket string
	dir    string
	stop   func() // ends the server and the node; the files stay
}

const patience30 = 30 * time.Second

func newChain(t testing.TB) *embedded.Chain {
	t.Helper()
	c, err := embedded.New(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// serve starts a node on the chain. Its seed follows from its name.
func serve(t testing.TB, c *embedded.Chain, name string) *served {
	t.Helper()
	return serveIn(t, c, name, t.TempDir(), nil)
}

// serveIn is serve with the files of dir, and whatever change makes of the configuration.
func serveIn(t testing.TB, c *embedded.Chain, name, dir string, change func(*node.Config)) *served {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience30)
	t.Cleanup(cancel)
	seed := sha256.Sum256([]byte(name))
	cfg := node.Config{
		Dir: dir, Seed: seed[:], Params: c.Params(), Backend: c, Alias: name, LSP: true, LocalHooks: true, Listen: []string{"127.0.0.1:0"},
	}
	if change != nil {
		change(&cfg)
	}
	n, err := node.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Stop() })
	if err := n.Start(ctx); err != nil {
		t.Fatal(err)
	}
	d := &Daemon{Node: n, Params: c.Params(), Alias: name, LSP: cfg.LSP, Backend: "embedded", Version: "test", Miner: c}
	srv, err := New(d, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	hs := &http.Server{Handler: srv.Handler(true)}
	go hs.Serve(l)
	s := &served{Client: NewClient(socket), t: t, ctx: ctx, node: n, chain: c, server: srv, socket: socket, dir: dir}
	s.stop = sync.OnceFunc(func() {
		srv.Drain()
		hs.Close()
		srv.Close()
		n.Stop()
	})
	t.Cleanup(s.stop)
	return s
}

// must asks and fails the test on any error.
func (s *served) must(method, path string, in, out any) {
	s.t.Helper()
	if err := s.Do(s.ctx, method, path, in, out, ""); err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
}

// wait follows the events until one of a kind whose fields are as given.
func (s *served) wait(kind string, pairs ...string) Event {
	s.t.Helper()
	var found Event
	err := s.Follow(s.ctx, 0, func(ev Event) error {
		if ev.Kind != kind {
			return nil
		}
		for i := 0; i+1 < len(pairs); i += 2 {
			if ev.Fields[pairs[i]] != pairs[i+1] {
				return nil
			}
		}
		found = ev
		return errFound
	})
	if err != errFound {
		s.t.Fatalf("waiting for %s %v: %v", kind, pairs, err)
	}
	return found
}

// until asks again and again: for what no event tells.
func (s *served) until(what string, f func() bool) {
	s.t.Helper()
	for !f() {
		select {
		case <-s.ctx.Done():
			s.t.Fatalf("%s: %v", what, s.ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}
