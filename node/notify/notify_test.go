package notify

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const patience = 20 * time.Second

// receiver is a webhook receiver that answers as told and shows what it got.
type receiver struct {
	*httptest.Server
	got    chan request
	answer func(w http.ResponseWriter, r *http.Request)
}

type request struct {
	method, path, body string
	header             http.Header
}

func newReceiver(t testing.TB, answer func(http.ResponseWriter, *http.Request)) *receiver {
	r := &receiver{got: make(chan request, 1000), answer: answer}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.got <- request{req.Method, req.URL.Path, string(body), req.Header}
		r.answer(w, req)
	}))
	r.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	t.Cleanup(r.Close)
	return r
}

func status(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// results queues what a Deliverer tells.
type results struct {
	attempts chan Attempt
	ended    chan string
}

func (r *results) Attempted(a Attempt)      { r.attempts <- a }
func (r *results) Done(id uint64, s Status) { r.ended <- fmt.Sprint(id, " ", s) }

func receive[T any](t testing.TB, c chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("nothing came (%T)", c)
	}
	panic("unreachable")
}

// fakeClock goes when told. Its waits do not end: a deliverer is woken when the time was changed.
type fakeClock struct{ now atomic.Int64 }

func (c *fakeClock) Now() time.Time                       { return time.Unix(1e9, c.now.Load()) }
func (c *fakeClock) After(time.Duration) <-chan time.Time { return nil }

type deliverer struct {
	*Deliverer
	*results
	clock *fakeClock
}

func start(t testing.TB, r *receiver, change ...func(*Config)) *deliverer {
	t.Helper()
	res := &results{make(chan Attempt, 10000), make(chan string, 10000)}
	clock := new(fakeClock)
	cfg := Config{Results: res, AllowLocal: true, Clock: clock, Rand: rand.NewPCG(1, 2)}
	if r != nil {
		cfg.RootCAs = x509.NewCertPool()
		cfg.RootCAs.AddCert(r.Certificate())
	}
	for _, f := range change {
		f(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	running.Add(1)
	t.Cleanup(func() {
		d.Close()
		if running.Add(-1) == 0 {
			noGoroutines(t)
		}
	})
	return &deliverer{d, res, clock}
}

// running counts the deliverers that are not closed.
var running atomic.Int32

// until lets the time pass until then.
func (d *deliverer) until(then time.Time) {
	d.clock.now.Store(int64(then.Sub(time.Unix(1e9, 0))))
	d.signal()
}

func noGoroutines(t testing.TB) {
	buf := make([]byte, 1<<20)
	for end := time.Now().Add(patience); ; runtime.Gosched() {
		stacks := string(buf[:runtime.Stack(buf, true)])
		if !strings.Contains(stacks, "notify.(*Deliverer)") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("goroutines left:\n%s", stacks)
		}
	}
}

func (d *deliverer) add(t testing.TB, e Entry) {
	t.Helper()
	if err := d.Add(e); err != nil {
		t.Fatal(err)
	}
}

func TestDelivered(t *testing.T) {
	r := newReceiver(t, status(200))
	d := start(t, r)
	d.add(t, Entry{ID: 7, URL: r.URL + "/hook/token", Header: http.Header{"x-lsps5-timestamp": {"now"}}, Body: []byte(`{"a":1}`)})
	got := receive(t, r.got)
	if got.method != "POST" || got.path != "/hook/token" || got.body != `{"a":1}` ||
		got.header.Get("X-Lsps5-Timestamp") != "now" || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("request %+v", got)
	}
	a := receive(t, d.attempts)
	a.Took = 0
	if diff := cmp.Diff(Attempt{ID: 7, Host: a.Host, Number: 1, Begun: d.clock.Now(), Code: 200}, a); diff != "" {
		t.Error(diff)
	}
	if done := receive(t, d.ended); done != "7 delivered" {
		t.Error(done)
	}
	if n := d.Pending(); n != 0 || len(d.hosts) != 0 {
		t.Errorf("%d pending, %d hosts", n, len(d.hosts))
	}
}

func TestAnswers(t *testing.T) {
	for code, want := range map[int]Status{
		200: Delivered, 201: Delivered, 204: Delivered,
		301: Refused, 302: Refused, 307: Refused, 304: Refused,
		400: Refused, 401: Refused, 404: Refused, 410: Refused, 413: Refused,
		408: 0, 425: 0, 429: 0, 500: 0, 502: 0, 503: 0, 599: 0,
	} {
		if got := judge(code, nil); got != want {
			t.Errorf("%d: %v, want %v", code, got, want)
		}
	}
	if judge(0, io.EOF) != 0 || judge(0, fmt.Errorf("x: %w", ErrForbidden)) != Forbidden {
		t.Error("errors")
	}
}

func TestRetries(t *testing.T) {
	var n atomic.Int32
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) < 5 {
			w.WriteHeader(503)
		}
	})
	d := start(t, r, func(c *Config) { c.MinBackoff, c.MaxBackoff = time.Second, 4*time.Second })
	d.add(t, Entry{ID: 1, URL: r.URL})
	for i, most := range []time.Duration{1, 2, 4, 4} {
		a := receive(t, d.attempts)
		if a.Number != i+1 || a.Code != 503 || !a.Next.After(d.clock.Now()) {
			t.Errorf("attempt %+v", a)
		}
		if wait := a.Next.Sub(a.Begun); wait > most*time.Second || wait < most*time.Second/2 {
			t.Errorf("wait %d: %v, want %v s at most and half of it at least", i, wait, most)
		}
		d.until(a.Next)
	}
	if a := receive(t, d.attempts); a.Number != 5 || a.Code != 200 || !a.Next.IsZero() {
		t.Errorf("attempt %+v", a)
	}
	if done := receive(t, d.ended); done != "1 delivered" {
		t.Error(done)
	}
}

func TestRetryAfter(t *testing.T) {
	r := newReceiver(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Retry-After", strings.TrimPrefix(req.URL.Path, "/"))
		w.WriteHeader(429)
	})
	for after, want := range map[string]time.Duration{"100": 100 * time.Second, "99999999": 15 * time.Minute} {
		d := start(t, r)
		d.add(t, Entry{ID: 1, URL: r.URL + "/" + after})
		a := receive(t, d.attempts)
		if wait := a.Next.Sub(a.Begun); wait != want {
			t.Errorf("Retry-After %s: %v, want %v", after, wait, want)
		}
	}
}

func TestExhausted(t *testing.T) {
	r := newReceiver(t, status(500))
	d := start(t, r, func(c *Config) { c.MaxAttempts = 3 })
	d.add(t, Entry{ID: 1, URL: r.URL, Attempts: 1}) // one before a restart
	a := receive(t, d.attempts)
	d.until(a.Next)
	if done := receive(t, d.ended); done != "1 exhausted" {
		t.Error(done)
	}
	if b := receive(t, d.attempts); a.Number != 2 || b.Number != 3 || !b.Begun.Equal(a.Next) {
		t.Errorf("attempts %+v, %+v", a, b)
	}
}

func TestExpired(t *testing.T) {
	r := newReceiver(t, status(500))
	d := start(t, r)
	now := d.clock.Now()
	d.add(t, Entry{ID: 1, URL: r.URL, Expires: now}) // before the first attempt
	if done := receive(t, d.ended); done != "1 expired" {
		t.Error(done)
	}
	d.add(t, Entry{ID: 2, URL: r.URL, Expires: now.Add(time.Nanosecond)}) // before the second
	if a := receive(t, d.attempts); a.ID != 2 || !a.Next.IsZero() {
		t.Errorf("attempt %+v", a)
	}
	if done := receive(t, d.ended); done != "2 expired" {
		t.Error(done)
	}
	d.add(t, Entry{ID: 3, URL: r.URL, NotBefore: now.Add(time.Hour), Expires: now.Add(time.Minute)})
	d.until(now.Add(time.Minute))
	if done := receive(t, d.ended); done != "3 expired" {
		t.Error(done)
	}
	if n := len(d.attempts); n != 0 {
		t.Errorf("%d more attempts", n)
	}
}

func TestNotBefore(t *testing.T) {
	r := newReceiver(t, status(200))
	d := start(t, r)
	then := d.clock.Now().Add(time.Hour)
	d.add(t, Entry{ID: 1, URL: r.URL, NotBefore: then})
	if start, wait := d.take(then.Add(-time.Minute)); len(start) != 0 || wait != time.Minute {
		t.Errorf("a minute before: %d to start, next in %v", len(start), wait)
	}
	d.until(then)
	if done := receive(t, d.ended); done != "1 delivered" {
		t.Error(done)
	}
	if a := receive(t, d.attempts); !a.Begun.Equal(then) {
		t.Errorf("tried at %v, not before %v", a.Begun, then)
	}
}

// With the real clock, nobody has to wake it.
func TestRealClock(t *testing.T) {
	var n atomic.Int32
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) < 4 {
			w.WriteHeader(500)
		}
	})
	d := start(t, r, func(c *Config) { c.Clock, c.MinBackoff = nil, time.Millisecond })
	d.add(t, Entry{ID: 1, URL: r.URL, NotBefore: time.Now().Add(10 * time.Millisecond)})
	if done := receive(t, d.ended); done != "1 delivered" {
		t.Error(done)
	}
}

func TestForbidden(t *testing.T) {
	r := newReceiver(t, status(200))
	d := start(t, r, func(c *Config) { c.AllowLocal = false })
	const token = "s3cret"
	d.add(t, Entry{ID: 1, URL: r.URL + "/" + token})
	d.add(t, Entry{ID: 2, URL: "http://example.com/" + token})
	d.add(t, Entry{ID: 3, URL: "https://[broken/" + token})
	for range 3 {
		if a := receive(t, d.attempts); !errors.Is(a.Err, ErrForbidden) || strings.Contains(a.Err.Error(), token) {
			t.Errorf("attempt %+v", a)
		}
		if done := receive(t, d.ended); !strings.HasSuffix(done, "forbidden") {
			t.Error(done)
		}
	}

	// A name that leads to a local address passes the look at the URL, but not the one at the address.
	if _, err := d.client.Post(r.URL, "", nil); !errors.Is(err, ErrForbidden) {
		t.Errorf("connected to a local address: %v", err)
	}
	if len(r.got) != 0 {
		t.Error("a forbidden URL was delivered to")
	}
}

func TestErrorsHideURL(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	var log bytes.Buffer
	d := start(t, nil, func(c *Config) {
		c.MaxAttempts = 1
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	d.add(t, Entry{ID: 1, URL: "https://" + l.Addr().String() + "/s3cret?s3cret"})
	a := receive(t, d.attempts)
	receive(t, d.ended)
	d.Close()
	if a.Err == nil || strings.Contains(a.Err.Error()+log.String(), "s3cret") || !strings.Contains(a.Err.Error(), "refused") {
		t.Errorf("error %v, log %s", a.Err, log.String())
	}
}

func TestUntrustedCertificate(t *testing.T) {
	r := newReceiver(t, status(200))
	d := start(t, nil, func(c *Config) { c.MaxAttempts = 1 })
	d.add(t, Entry{ID: 1, URL: r.URL})
	if a := receive(t, d.attempts); a.Err == nil || !strings.Contains(a.Err.Error(), "certificate") {
		t.Errorf("attempt %+v", a)
	}
	if done := receive(t, d.ended); done != "1 exhausted" {
		t.Error(done)
	}
}

func TestRedirectNotFollowed(t *testing.T) {
	r := newReceiver(t, nil)
	r.answer = func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, r.URL+"/other", http.StatusTemporaryRedirect)
	}
	d := start(t, r)
	d.add(t, Entry{ID: 1, URL: r.URL})
	if done := receive(t, d.ended); done != "1 refused" {
		t.Error(done)
	}
	if n := len(r.got); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// An endless answer is not read to its end, and one that never comes is not waited for.
func TestBadReceivers(t *testing.T) {
	leave := make(chan struct{})
	defer close(leave)
	r := newReceiver(t, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/silent" {
			<-leave
			return
		}
		for b := make([]byte, 1<<16); ; {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	})
	d := start(t, r, func(c *Config) { c.Timeout, c.MaxAttempts = time.Second, 1 })
	d.add(t, Entry{ID: 1, URL: r.URL + "/endless"})
	if done := receive(t, d.ended); done != "1 delivered" {
		t.Error(done)
	}
	d.add(t, Entry{ID: 2, URL: r.URL + "/silent"})
	if done := receive(t, d.ended); done != "2 exhausted" {
		t.Error(done)
	}
}

// One slow receiver does not hold up the others.
func TestSlowHost(t *testing.T) {
	leave := make(chan struct{})
	slow := newReceiver(t, func(http.ResponseWriter, *http.Request) { <-leave })
	fast := newReceiver(t, status(200))
	d := start(t, slow, func(c *Config) {
		c.MaxInFlight, c.MaxPerHost = 3, 2
		c.RootCAs.AddCert(fast.Certificate())
	})
	for id := range uint64(10) {
		d.add(t, Entry{ID: id, URL: slow.URL})
	}
	receive(t, slow.got)
	receive(t, slow.got)
	for id := range uint64(10) {
		d.add(t, Entry{ID: 100 + id, URL: fast.URL})
	}
	for range 10 {
		if done := receive(t, d.ended); len(done) != len("100 delivered") {
			t.Error(done)
		}
	}
	if n := len(slow.got); n != 0 {
		t.Errorf("%d attempts at the slow host at a time, want 2", n+2)
	}
	close(leave)
	for range 10 {
		receive(t, d.ended)
	}
}

func TestAddTwiceFullRemove(t *testing.T) {
	r := newReceiver(t, status(200))
	d := start(t, r, func(c *Config) { c.MaxPending = 2 })
	later := d.clock.Now().Add(time.Hour)
	d.add(t, Entry{ID: 1, URL: r.URL, NotBefore: later})
	d.add(t, Entry{ID: 1, URL: r.URL}) // not again
	d.add(t, Entry{ID: 2, URL: r.URL, NotBefore: later})
	if err := d.Add(Entry{ID: 3, URL: r.URL}); !errors.Is(err, ErrFull) {
		t.Errorf("third entry: %v", err)
	}
	d.Remove(1)
	d.Remove(1)
	d.Remove(99)
	if n := d.Pending(); n != 1 {
		t.Errorf("%d pending", n)
	}
	d.add(t, Entry{ID: 3, URL: r.URL})
	if done := receive(t, d.ended); done != "3 delivered" {
		t.Error(done)
	}
	d.Remove(2)
	if len(d.hosts) != 0 || d.Pending() != 0 {
		t.Error("something is left")
	}
}

func TestRemoveUnderWay(t *testing.T) {
	leave := make(chan struct{})
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { <-leave; w.WriteHeader(500) })
	d := start(t, r)
	d.add(t, Entry{ID: 1, URL: r.URL})
	receive(t, r.got)
	d.Remove(1)
	close(leave)
	receive(t, d.attempts)
	d.Close()
	if len(d.ended) != 0 || len(r.got) != 0 || len(d.hosts) != 0 {
		t.Error("a removed entry was tried again or done")
	}
}

// What Close breaks off stays in the outbox: there is no Done for it.
func TestClose(t *testing.T) {
	leave := make(chan struct{})
	r := newReceiver(t, func(http.ResponseWriter, *http.Request) { <-leave })
	defer close(leave)
	d := start(t, r)
	d.add(t, Entry{ID: 1, URL: r.URL})
	d.add(t, Entry{ID: 2, URL: r.URL, NotBefore: d.clock.Now().Add(time.Hour)})
	receive(t, r.got)
	d.Close()
	if len(d.ended) != 0 || len(d.attempts) != 0 {
		t.Error("results for what was broken off")
	}
	if err := d.Add(Entry{ID: 3, URL: r.URL}); !errors.Is(err, ErrClosed) {
		t.Errorf("add after close: %v", err)
	}
}

func TestBackoffNeverOverflows(t *testing.T) {
	d := start(t, nil, func(c *Config) { c.MinBackoff, c.MaxBackoff = time.Hour, 1000*time.Hour })
	for _, n := range []int{1, 2, 20, 30, 31, 64, 1 << 30} {
		if wait := d.backoff(n); wait < time.Hour/2 || wait > 1000*time.Hour {
			t.Errorf("back-off after %d attempts: %v", n, wait)
		}
	}
}
