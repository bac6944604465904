package peer

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg"
	"github.com/lightningnetwork/lnd/lnwire"
)

func TestTwoHosts(t *testing.T) {
	a, b := newHost(t, 1), newHost(t, 2, func(c *Config) { c.Features = LSPFeatures() })
	ab := a.connect(t, b)
	if e := a.next(t, "connected"); e.peer != ab {
		t.Error("Connect gave another peer than Connected")
	}
	ba := b.next(t, "connected").peer
	if ab.Inbound() || !ba.Inbound() || ab.Node() != b.ID() || ba.Node() != a.ID() {
		t.Error("direction or node id")
	}
	if !ab.Features().Has(LightningRod+1) || ab.Negotiated(LightningRod) || !ab.Negotiated(Anchors) || !ab.Negotiated(VarOnionOptin) {
		t.Errorf("features %v", ab.Features())
	}
	if again := a.connect(t, b); again != ab {
		t.Error("second Connect made a second connection")
	}
	if a.Peer(b.ID()) != ab || len(b.Peers()) != 1 {
		t.Error("Peer or Peers")
	}

	for i := range 100 {
		if err := ab.Send(&lnwire.UpdateFee{FeePerKw: uint32(i)}, &lnwire.Warning{Data: []byte{'w'}}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		if m := b.next(t, "message").msg; m.Msg.(*lnwire.UpdateFee).FeePerKw != uint32(i) || m.Type != 134 || len(m.Raw) != 36 {
			t.Fatalf("message %d: %+v", i, m)
		}
		b.next(t, "message")
	}
	if err := ba.SendRaw(LSPS0, []byte(`{"jsonrpc":"2.0"}`)); err != nil {
		t.Fatal(err)
	}
	if m := a.next(t, "message").msg; m.Type != LSPS0 || m.Msg != nil || string(m.Raw) != `{"jsonrpc":"2.0"}` {
		t.Errorf("LSPS0 message %+v", m)
	}

	// What was sent before Disconnect arrives.
	if err := ab.Send(&lnwire.UpdateFee{FeePerKw: 7}); err != nil {
		t.Fatal(err)
	}
	if !a.Disconnect(b.ID()) {
		t.Error("Disconnect found no connection")
	}
	if err := a.next(t, "disconnected").err; !errors.Is(err, ErrStopped) {
		t.Errorf("our side: %v", err)
	}
	b.next(t, "message")
	if err := b.next(t, "disconnected").err; !errors.Is(err, io.EOF) {
		t.Errorf("their side: %v", err)
	}
	<-ab.Done()
	<-ba.Done()
	if err := ab.Send(&lnwire.UpdateFee{}); !errors.Is(err, ErrClosed) {
		t.Errorf("send after the end: %v", err)
	}
	if a.Peer(b.ID()) != nil || len(b.Peers()) != 0 || a.Disconnect(b.ID()) {
		t.Error("the connection is still listed")
	}
}

func TestConnectErrors(t *testing.T) {
	a, b := newHost(t, 1), newHost(t, 2)
	other := newHost(t, 3, func(c *Config) { c.Chain = *chaincfg.TestNet3Params.GenesisHash })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()

	for _, v := range []struct {
		name string
		node [33]byte
		addr string
		is   error
	}{
		{"connection refused", b.ID(), nobody, syscall.ECONNREFUSED},
		{"wrong key", nodeID(testKey(9)), b.addr, ErrWrongKey},
		{"wrong chain", other.ID(), other.addr, ErrWrongChain},
		{"own node id", a.ID(), a.addr, nil},
		{"node id is no key", [33]byte{5}, b.addr, nil},
		{"no such address", b.ID(), "256.0.0.1:1", nil},
	} {
		t.Run(v.name, func(t *testing.T) {
			_, err := a.Connect(t.Context(), v.node, v.addr)
			if err == nil || v.is != nil && !errors.Is(err, v.is) {
				t.Fatalf("error %v, want %v", err, v.is)
			}
			t.Log(err)
			if v.is != nil && !strings.Contains(err.Error(), hex.EncodeToString(v.node[:])) {
				t.Errorf("error %q does not name the node", err)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := a.Connect(ctx, b.ID(), b.addr); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("nobody answers", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if _, err := a.Connect(timeout(t, 20*time.Millisecond), b.ID(), l.Addr().String()); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
	t.Run("host closed", func(t *testing.T) {
		a.Close()
		if _, err := a.Connect(t.Context(), b.ID(), b.addr); !errors.Is(err, ErrHostClosed) {
			t.Error(err)
		}
		if _, err := a.Listen("127.0.0.1:0"); !errors.Is(err, ErrHostClosed) {
			t.Error(err)
		}
	})
	a.none(t)
}

func TestConfigRefused(t *testing.T) {
	good := Config{Key: testKey(1), Chain: regtest, Events: newRecorder()}
	for _, f := range []func(*Config){
		func(c *Config) { c.Key = nil },
		func(c *Config) { c.Events = nil },
		func(c *Config) { c.Chain = [32]byte{} },
		func(c *Config) { c.Features = NewFeatures(17) }, // without payment_secret
	} {
		c := good
		f(&c)
		if _, err := New(c); err == nil {
			t.Errorf("accepted %+v", c)
		}
	}
}

// A node that connects again has lost its old connection.
func TestInboundReplacesInbound(t *testing.T) {
	h := newHost(t, 1)
	old := hello(t, 2, h)
	first := h.next(t, "connected").peer
	hello(t, 2, h)
	if e := h.next(t, "disconnected"); e.peer != first || !errors.Is(e.err, ErrReplaced) {
		t.Errorf("disconnected: %v", e.err)
	}
	second := h.next(t, "connected").peer
	if h.Peer(second.Node()) != second {
		t.Error("the new connection is not the one listed")
	}
	old.end()
}

// While the old connection's events are not all delivered, newer ones wait, and of several only the last lives.
func TestReplacementWaits(t *testing.T) {
	h := newHost(t, 1)
	h.block = make(chan struct{})
	one := hello(t, 2, h)
	one.say([]byte{0x94, 0x19, 1})
	first := h.next(t, "connected").peer
	h.next(t, "message")

	two := hello(t, 2, h)
	one.end() // so two is registered
	three := hello(t, 2, h)
	two.end() // so three is
	h.none(t)
	if h.Peer(first.Node()) != nil {
		t.Error("a connection that has not begun or has ended is listed")
	}

	close(h.block)
	if e := h.next(t, "disconnected"); e.peer != first {
		t.Error("another one was disconnected")
	}
	third := h.next(t, "connected").peer
	three.say([]byte{0x94, 0x19, 3})
	if e := h.next(t, "message"); e.peer != third || e.msg.Raw[0] != 3 {
		t.Errorf("message %+v", e.msg)
	}
}

func TestCloseWhileOneWaits(t *testing.T) {
	h := newHost(t, 1)
	h.block = make(chan struct{})
	one := hello(t, 2, h)
	one.say([]byte{0x94, 0x19, 1})
	h.next(t, "connected")
	h.next(t, "message")
	hello(t, 2, h)
	one.end()
	play(t, 3, h) // stays in the handshake

	done := make(chan struct{})
	go func() { h.Close(); close(done) }()
	<-h.ctx.Done()
	close(h.block)
	<-done
	h.next(t, "disconnected")
	h.none(t)
}

// Both dial at the same moment: both must end up with the same connection.
func TestSimultaneousDial(t *testing.T) {
	for round := range 40 {
		a, b := newHost(t, 2*round+1), newHost(t, 2*round+2)
		var wg sync.WaitGroup
		start := make(chan struct{})
		for _, v := range [][2]*testHost{{a, b}, {b, a}} {
			wg.Go(func() {
				<-start
				// Fails when the other end has already decided for its own, which is on its way then.
				_, _ = v[0].Connect(t.Context(), v[1].ID(), v[1].addr)
			})
		}
		close(start)
		wg.Wait()

		same := func() bool {
			p, q := a.Peer(b.ID()), b.Peer(a.ID())
			return p != nil && q != nil && p.conn.nc.LocalAddr().String() == q.Addr().String()
		}
		logs := map[*testHost]string{}
		for !same() {
			select {
			case e := <-a.events:
				logs[a] += e.what[:1]
			case e := <-b.events:
				logs[b] += e.what[:1]
			case <-time.After(patience):
				t.Fatalf("round %d: no common connection: %v, %v", round, a.Peer(b.ID()), b.Peer(a.ID()))
			}
		}
		// It carries messages, and events came in order.
		for _, v := range [][2]*testHost{{a, b}, {b, a}} {
			from, to := v[0], v[1]
			if err := from.Peer(to.ID()).SendRaw(LSPS0, []byte{byte(round)}); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			for !strings.HasSuffix(logs[to], "m") {
				select {
				case e := <-to.events:
					logs[to] += e.what[:1]
				case <-time.After(patience):
					t.Fatalf("round %d: no message", round)
				}
			}
			if log := strings.TrimSuffix(logs[to], "m"); strings.ReplaceAll(log, "cd", "") != "c" {
				t.Errorf("round %d: events %q", round, log)
			}
		}
		a.Close()
		b.Close()
	}
}

func TestPrefers(t *testing.T) {
	h := newHost(t, 1)
	var small, large *Peer
	for n := 2; small == nil || large == nil; n++ {
		c := &Conn{node: nodeID(testKey(n))}
		if bytes.Compare(c.node[:], h.self[:]) < 0 {
			small = newPeer(&h.cfg, c, true, nil)
		} else {
			large = newPeer(&h.cfg, c, true, nil)
		}
	}
	const young, old = time.Second, time.Hour
	for _, v := range []struct {
		name       string
		peer       *Peer
		newIn, old bool
		age        time.Duration
		want       bool
	}{
		{"in after in", small, true, true, young, true},
		{"in after old in", large, true, true, old, true},
		{"out after out", small, false, false, young, false},
		{"in from smaller after our young dial", small, true, false, young, true},
		{"in from larger after our young dial", large, true, false, young, false},
		{"in from larger after our old dial", large, true, false, old, true},
		{"our dial to smaller after in", small, false, true, young, false},
		{"our dial to larger after in", large, false, true, young, true},
	} {
		was := &Peer{conn: v.peer.conn, inbound: v.old, since: time.Unix(1e9, 0)}
		p := &Peer{conn: v.peer.conn, inbound: v.newIn, since: was.since.Add(v.age)}
		if got := h.prefers(p, was); got != v.want {
			t.Errorf("%s: %v, want %v", v.name, got, v.want)
		}
	}
}

func TestMaxPeers(t *testing.T) {
	h := newHost(t, 1, func(c *Config) { c.MaxPeers = 1 })
	hello(t, 2, h)
	h.next(t, "connected")
	hello(t, 3, h).end()
	h.Keep(nodeID(testKey(4))) // without address: only waited for
	hello(t, 4, h)
	h.next(t, "connected")
}

func TestKeep(t *testing.T) {
	clock := newFakeClock()
	a := newHost(t, 1, func(c *Config) {
		c.Clock, c.Rand = clock, rand.NewPCG(1, 2)
		c.MinBackoff, c.MaxBackoff, c.StableAfter = time.Second, 20*time.Second, time.Minute
	})
	b := newHost(t, 2)
	a.Keep(b.ID(), "127.0.0.1:1", b.addr) // nobody at the first address
	first := clock.next(t)
	first.end()
	a.next(t, "connected")
	b.next(t, "connected").peer.Close()
	a.next(t, "disconnected")
	b.next(t, "disconnected")

	// It tries again, at the address that was good; the connection was short, so the back-off goes on.
	w := clock.next(t)
	if w.d < time.Second || w.d > 2*time.Second {
		t.Errorf("second wait %v, want 1 s to 2 s", w.d)
	}
	w.end()
	a.next(t, "connected")
	b.next(t, "connected")

	b.Close()
	a.next(t, "disconnected")
	for _, most := range []time.Duration{4, 8, 16, 20, 20, 20} {
		w := clock.next(t)
		if most *= time.Second; w.d < most/2 || w.d > most {
			t.Errorf("wait %v, want %v to %v", w.d, most/2, most)
		}
		w.end()
	}
	clock.next(t)
	a.Unkeep(b.ID()) // ends the loop though nobody ends the wait
}

func TestKeepAfterStableConnection(t *testing.T) {
	clock := newFakeClock()
	a := newHost(t, 1, func(c *Config) { c.Clock, c.StableAfter = clock, time.Minute })
	b := newHost(t, 2)
	a.Keep(b.ID(), b.addr)
	for range 3 {
		a.next(t, "connected")
		clock.now.Add(int64(time.Minute))
		b.next(t, "connected").peer.Close()
		a.next(t, "disconnected")
		b.next(t, "disconnected")
		w := clock.next(t)
		if w.d > time.Second {
			t.Errorf("wait %v after a stable connection, want 1 s at most", w.d)
		}
		w.end()
	}
}

func TestKeepInbound(t *testing.T) {
	clock := newFakeClock()
	a := newHost(t, 1, func(c *Config) { c.Clock = clock })
	b := newHost(t, 2)
	a.Keep(b.ID(), "127.0.0.1:1")
	for range 5 {
		clock.next(t).end()
	}
	clock.next(t)         // 16 s to 32 s
	ba := b.connect(t, a) // the node comes by itself, which ends the wait
	a.next(t, "connected")
	ba.Close()
	a.next(t, "disconnected")
	if w := clock.next(t); w.d > time.Second {
		t.Errorf("wait %v after a connection that came by itself, want 1 s at most", w.d)
	}
	a.Keep(b.ID(), b.addr) // another address is tried at once
	a.next(t, "connected")
}

func TestDefaultPort(t *testing.T) {
	for addr, want := range map[string]string{
		"example.com": "example.com:9735", "example.com:1": "example.com:1", "1.2.3.4": "1.2.3.4:9735",
		"::1": "[::1]:9735", "[::1]": "[::1]:9735", "[::1]:1": "[::1]:1",
	} {
		if got := withPort(addr); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

func TestBackoffNeverOverflows(t *testing.T) {
	h := newHost(t, 1)
	for _, n := range []int{0, 5, 29, 30, 31, 62, 63, 64, 1 << 20} {
		if d := h.backoff(n); d <= 0 || d > h.cfg.MaxBackoff {
			t.Errorf("back-off after %d failures: %v", n, d)
		}
	}
}

// countingDialer counts the writes of its connections.
type countingDialer struct{ writes atomic.Int64 }

type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (d *countingDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, addr)
	return countingConn{nc, &d.writes}, err
}

func (c countingConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

func TestManyMessagesOneWrite(t *testing.T) {
	var d countingDialer
	a, b := newHost(t, 1, func(c *Config) { c.Dialer = &d }), newHost(t, 2)
	p := a.connect(t, b)
	b.next(t, "connected")
	before := d.writes.Load()
	var msgs []lnwire.Message
	for range 64 {
		msgs = append(msgs, &lnwire.UpdateAddHTLC{Amount: 1})
	}
	if err := p.Send(append(msgs, &lnwire.UpdateFee{})...); err != nil {
		t.Fatal(err)
	}
	for range 65 {
		b.next(t, "message")
	}
	if n := d.writes.Load() - before; n != 1 {
		t.Errorf("%d writes for 65 messages, want 1", n)
	}
}

func TestLogNamesPeer(t *testing.T) {
	var buf lockedBuffer
	a := newHost(t, 1, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&buf, nil)) })
	b := newHost(t, 2)
	a.connect(t, b).Close()
	a.next(t, "connected")
	a.next(t, "disconnected")
	for _, want := range []string{"connected peer=", "disconnected peer="} {
		id := b.ID()
		if !strings.Contains(buf.String(), want+hex.EncodeToString(id[:])) {
			t.Errorf("log without %q and the node id:\n%s", want, buf.String())
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
