package peer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// patience is how long a test waits for something that must happen.
const patience = 20 * time.Second

func testKey(n int) *btcec.PrivateKey {
	h := sha256.Sum256(fmt.Append(nil, "node ", n))
	k, _ := btcec.PrivKeyFromBytes(h[:])
	return k
}

func nodeID(k *btcec.PrivateKey) [33]byte { return [33]byte(k.PubKey().SerializeCompressed()) }

// event is a call of Events: "connected", "message" or "disconnected".
type event struct {
	what string
	peer *Peer
	msg  Message
	err  error
}

// recorder is an Events that queues what it is told.
type recorder struct {
	events chan event
	block  chan struct{} // not nil: Message waits for it
}

func newRecorder() *recorder { return &recorder{events: make(chan event, 10000)} }

func (r *recorder) Connected(p *Peer) { r.events <- event{what: "connected", peer: p} }
func (r *recorder) Message(p *Peer, m Message) {
	r.events <- event{what: "message", peer: p, msg: m}
	if r.block != nil {
		<-r.block
	}
}
func (r *recorder) Disconnected(p *Peer, err error) {
	r.events <- event{what: "disconnected", peer: p, err: err}
}

func (r *recorder) next(t testing.TB, want string) event {
	t.Helper()
	select {
	case e := <-r.events:
		if e.what != want {
			t.Fatalf("event %q (type %d, err %v), want %q", e.what, e.msg.Type, e.err, want)
		}
		return e
	case <-time.After(patience):
		t.Fatalf("no event, want %q", want)
	}
	panic("unreachable")
}

func (r *recorder) none(t testing.TB) {
	t.Helper()
	select {
	case e := <-r.events:
		t.Fatalf("event %q (err %v), want none", e.what, e.err)
	default:
	}
}

// open counts the hosts that are not closed.
var open atomic.Int32

type testHost struct {
	*Host
	*recorder
	addr string
}

// newHost is a Host on the loopback interface whose goroutines are gone when the test ends.
func newHost(t testing.TB, n int, change ...func(*Config)) *testHost {
	t.Helper()
	r := newRecorder()
	cfg := Config{Key: testKey(n), Chain: regtest, Events: r, PingInterval: time.Hour, HandshakeTimeout: patience}
	for _, f := range change {
		f(&cfg)
	}
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := h.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	open.Add(1)
	t.Cleanup(func() {
		h.Close()
		if open.Add(-1) == 0 {
			noGoroutines(t)
		}
	})
	return &testHost{h, r, addr.String()}
}

func (h *testHost) connect(t testing.TB, to *testHost) *Peer {
	t.Helper()
	p, err := h.Connect(t.Context(), to.ID(), to.addr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// noGoroutines waits until no function of Host and Peer runs. Close has waited for them; what it cannot wait for is that
// the last of them leaves the stack.
func noGoroutines(t testing.TB) {
	buf := make([]byte, 1<<20)
	for end := time.Now().Add(patience); ; runtime.Gosched() {
		stacks := string(buf[:runtime.Stack(buf, true)])
		if !strings.Contains(stacks, "peer.(*Host)") && !strings.Contains(stacks, "peer.(*Peer)") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("goroutines left:\n%s", stacks)
		}
	}
}

// script is a peer played by the test, message by message.
type script struct {
	*Conn
	t testing.TB
}

// play connects to a host without sending init.
func play(t testing.TB, n int, h *testHost) script {
	t.Helper()
	nc, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	c, err := Initiate(nc, testKey(n), h.ID())
	if err != nil {
		t.Fatal(err)
	}
	return script{c, t}
}

// hello is play with init messages exchanged.
func hello(t testing.TB, n int, h *testHost) script {
	t.Helper()
	s := play(t, n, h)
	s.say(Init{Features: DefaultFeatures(), Chains: []chainhash.Hash{regtest}}.encode())
	s.hear(typeInit)
	return s
}

func (s script) say(msgs ...[]byte) {
	s.t.Helper()
	for _, m := range msgs {
		if err := s.Append(m); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := s.Flush(); err != nil {
		s.t.Fatal(err)
	}
}

// hear reads one message, which must be of the given type, and gives its payload.
func (s script) hear(typ uint16) []byte {
	s.t.Helper()
	b, err := s.Read()
	if err != nil {
		s.t.Fatalf("waiting for type %d: %v", typ, err)
	}
	if got := uint16(b[0])<<8 | uint16(b[1]); got != typ {
		s.t.Fatalf("message of type %d (%q), want %d", got, b, typ)
	}
	return b[2:]
}

// end expects that the host hangs up, and does so too.
func (s script) end() {
	s.t.Helper()
	defer s.Close()
	b, err := s.Read()
	var timeout net.Error
	if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		s.t.Fatalf("message %q, error %v, want the end of the connection", b, err)
	}
}

// fakeClock goes when told. Each wait shorter than an hour (those of pings are one) is handed to the test, which ends it.
type fakeClock struct {
	now   atomic.Int64 // Unix nanoseconds
	waits chan fakeWait
}

type fakeWait struct {
	d    time.Duration
	fire chan time.Time
}

func newFakeClock() *fakeClock { return &fakeClock{waits: make(chan fakeWait, 100)} }

func (c *fakeClock) Now() time.Time { return time.Unix(1e9, c.now.Load()) }
func (c *fakeClock) After(d time.Duration) <-chan time.Time {
	w := fakeWait{d, make(chan time.Time, 1)}
	if d < time.Hour {
		c.waits <- w
	}
	return w.fire
}

func (c *fakeClock) next(t testing.TB) fakeWait {
	t.Helper()
	select {
	case w := <-c.waits:
		return w
	case <-time.After(patience):
		t.Fatal("nobody waits")
	}
	panic("unreachable")
}

func (w fakeWait) end() { w.fire <- time.Time{} }

func timeout(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
