package node

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lightningrod/node/store"

	"github.com/google/go-cmp/cmp"
)

// someEvents are n events of one time, from number first on.
func someEvents(rng *rand.Rand, first uint64, n int) []Event {
	evs := make([]Event, n)
	for i := range evs {
		ev := event(HTLCIn, "id", rng.Uint32(), "hash", [32]byte{byte(rng.Uint32())}, "peer", [33]byte{2}, "text", strings.Repeat("é", rng.IntN(30)))
		if rng.IntN(4) == 0 {
			ev = event(ChannelClosed)
		}
		ev.Seq, ev.At = first+uint64(i), time.UnixMilli(1_700_000_000_123).UTC()
		evs[i] = ev
	}
	return evs
}

func TestEventRows(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 100 {
		evs := someEvents(rng, 7, 1+rng.IntN(20))
		row := encodeEvents(evs)
		back, err := DecodeEvents(7, row)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(evs, back); diff != "" {
			t.Fatal(diff)
		}
		span, err := spanOf(u64(7), row)
		if err != nil || span.first != 7 || span.end != 7+uint64(len(evs)) || !span.at.Equal(evs[0].At) {
			t.Fatal(span, err)
		}
		for cut := range row {
			if _, err := DecodeEvents(7, row[:cut]); err == nil {
				t.Fatalf("%d of %d bytes were read", cut, len(row))
			}
		}
	}
	long := event(PeerDown, "reason", errors.New(strings.Repeat("x", 5000)+"\xff"))
	if n := len(long.Fields["reason"]); n != fieldBound {
		t.Errorf("a reason of %d bytes", n)
	}
}

func FuzzDecodeEvents(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := 1; n < 6; n++ {
		f.Add(encodeEvents(someEvents(rng, 1, n)))
	}
	f.Add([]byte{eventVersion, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 'a', 0, 0, 16, '0', '0'})
	f.Fuzz(func(t *testing.T, row []byte) {
		evs, err := DecodeEvents(1, row)
		if err != nil {
			return
		}
		if again := encodeEvents(evs); !bytes.Equal(again, row) {
			t.Fatalf("%x became %x", row, again)
		}
	})
}

// testLog is an event log over a store of its own, with the stream that readers read, and no node.
type testLog struct {
	*Node
	t   *testing.T
	now time.Time
}

func openTestLog(t *testing.T, dir string, keep Retention) *testLog {
	t.Helper()
	s, err := store.Open(filepath.Join(dir, "node.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Abort)
	l := &testLog{t: t, now: time.UnixMilli(1_700_000_000_000)}
	l.Node = &Node{store: s, disk: s, queue: newCommitQueue(), events: newStream(), cfg: Config{History: keep, Now: func() time.Time { return l.now }}}
	if err := l.loadEvents(); err != nil {
		t.Fatal(err)
	}
	return l
}

// say has n events written as one group.
func (l *testLog) say(n int) {
	l.t.Helper()
	group := []*turn{{rows: store.Write{{Table: store.Meta, Key: []byte("x"), Value: []byte("y")}}}}
	for i := range n {
		group = append(group, &turn{events: []Event{event(BlockSeen, "height", i)}})
	}
	if err := l.write(group); err != nil {
		l.t.Fatal(err)
	}
	for _, t := range group {
		l.events.publish(t.events)
	}
}

// all reads everything from a number on.
func (l *testLog) all(from uint64) (evs []Event, err error) {
	r := l.Events(from)
	defer r.Close()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	for {
		ev, err := r.Next(now)
		if errors.Is(err, context.Canceled) {
			return evs, nil
		}
		if err != nil {
			return evs, err
		}
		evs = append(evs, ev)
	}
}

// A reader goes on at any number that is kept, from memory and from the log alike, and is told when its number is not there.
func TestEventsResumeAfterRestart(t *testing.T) {
	dir := t.TempDir()
	l := openTestLog(t, dir, defaultRetention)
	if evs, err := l.all(0); len(evs) != 0 || err != nil {
		t.Fatal(evs, err)
	}
	for _, n := range []int{1, 5, rowEvents, 2*rowEvents + 3, 1} {
		l.say(n)
	}
	const total = 1 + 5 + rowEvents + 2*rowEvents + 3 + 1
	before, err := l.all(0)
	if err != nil || len(before) != total {
		t.Fatal(len(before), err)
	}
	l.store.Abort()
	l = openTestLog(t, dir, defaultRetention)
	if l.LastEvent() != total || l.OldestEvent() != 1 || l.FirstEvent() != total+1 {
		t.Fatal(l.LastEvent(), l.OldestEvent(), l.FirstEvent())
	}
	for _, from := range []uint64{0, 1, 2, 6, 7, rowEvents + 6, rowEvents + 7, total, total + 1} {
		after, err := l.all(from)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before[max(from, 1)-1:], after, cmp.Transformer("none", func(e []Event) []Event { return append([]Event{}, e...) })); diff != "" && len(after) > 0 {
			t.Fatalf("from %d: %s", from, diff)
		}
		if want := total + 1 - int(max(from, 1)); len(after) != want {
			t.Fatalf("from %d: %d events, want %d", from, len(after), want)
		}
	}
	l.say(2)
	if evs, err := l.all(total); err != nil || len(evs) != 3 || evs[0].Seq != total || evs[2].Seq != total+2 {
		t.Fatal(evs, err)
	}
	var none *NoEventError
	if _, err := l.all(total + 4); !errors.As(err, &none) || *none != (NoEventError{From: total + 4, Oldest: 1, Newest: total + 2}) {
		t.Fatal(err)
	}
}

// The log keeps to its bounds, whole rows at a time, also over a restart; who asks for less is told what there is.
func TestEventsArePruned(t *testing.T) {
	dir := t.TempDir()
	keep := Retention{Events: 100, Age: time.Hour}
	l := openTestLog(t, dir, keep)
	rows := func() (n int) {
		if err := l.store.Load(store.Event, func(_, _ []byte) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := range 3 * tailSize { // more rows than the log knows by heart
		l.say(1 + i%3)
		if kept := l.LastEvent() + 1 - l.OldestEvent(); kept > keep.Events+5 || l.LastEvent() > 200 && kept < keep.Events {
			t.Fatalf("%d events are kept", kept)
		}
		if i%100 == 99 {
			l.store.Abort()
			l = openTestLog(t, dir, keep)
		}
	}
	evs, err := l.all(0)
	if err != nil || uint64(len(evs)) != l.LastEvent()+1-l.OldestEvent() || evs[0].Seq != l.OldestEvent() {
		t.Fatal(len(evs), err)
	}
	l.events.ring = nil // as if it had been long ago
	var none *NoEventError
	if _, err := l.all(5); !errors.As(err, &none) || none.Oldest != l.OldestEvent() || !strings.Contains(err.Error(), "is gone: the oldest is") {
		t.Fatal(err)
	}
	if evs, err := l.all(l.OldestEvent()); err != nil || len(evs) < 100 {
		t.Fatal(len(evs), err)
	}
	l.now = l.now.Add(2 * time.Hour)
	for range 3 {
		l.say(1)
	}
	if n := rows(); n != 3 {
		t.Fatalf("%d rows, want the 3 that are young", n)
	}
	later := l.now.Add(2 * time.Hour)
	l.store.Abort()
	l = openTestLog(t, dir, keep)
	l.now = later
	last := l.LastEvent()
	l.say(1)
	if rows() != 1 || l.LastEvent() != last+1 {
		t.Fatalf("%d rows, newest %d after %d", rows(), l.LastEvent(), last)
	}
}

// Reading what is deleted at the same time gives every event up to some number, and then says what there is.
func TestReadWhilePruning(t *testing.T) {
	l := openTestLog(t, t.TempDir(), Retention{Events: 20, Age: time.Hour})
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				evs, err := l.all(0)
				var none *NoEventError
				if err != nil && !errors.As(err, &none) {
					t.Error(err)
					return
				}
				for i := 1; i < len(evs); i++ {
					if evs[i].Seq != evs[i-1].Seq+1 {
						t.Errorf("event %d after %d", evs[i].Seq, evs[i-1].Seq)
					}
				}
			}
		})
	}
	for range 300 {
		l.say(2)
		l.events.mu.Lock()
		l.events.ring = nil // so that all is read from the disk
		l.events.mu.Unlock()
	}
	close(stop)
	readers.Wait()
}

// News without rows costs messages no sync: it rides with the next rows, and is written alone when none come.
func TestNewsWaitsForCompany(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("alice", false)
	disk := &syncs{}
	cfg.Disk = func(d Disk) Disk { disk.Disk = d; return disk }
	n := w.start(cfg)
	from, before := n.LastEvent()+1, disk.n.Load()
	sent := make(chan error)
	n.queue.put(&turn{events: []Event{event(MessageForward)}, done: []chan<- error{sent}})
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if ev := w.wait(n, from, MessageForward); disk.n.Load() != before+1 {
		t.Fatalf("%d syncs for %+v", disk.n.Load()-before, ev)
	}
	// In company, and in order.
	n.queue.put(&turn{events: []Event{event(MessageForward)}})
	n.queue.put(&turn{events: []Event{event(MessageKept)}})
	if err := n.durably(&turn{rows: store.Write{{Table: store.Meta, Key: []byte("x"), Value: []byte("y")}}}); err != nil {
		t.Fatal(err)
	}
	r := n.Events(from + 1)
	defer r.Close()
	for _, want := range []Kind{MessageForward, MessageKept} {
		if ev, err := r.Next(w.ctx); err != nil || ev.Kind != want {
			t.Fatalf("%+v, %v, want %s", ev, err, want)
		}
	}
	// What waits when the node stops is in the log.
	n.queue.put(&turn{events: []Event{event(MessageDropped)}})
	last := n.LastEvent()
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	n = w.start(cfg)
	if ev := readOne(t, n, last+1); ev.Kind != MessageDropped {
		t.Fatalf("%+v", ev)
	}
}

func readOne(t *testing.T, n *Node, seq uint64) Event {
	t.Helper()
	r := n.Events(seq)
	defer r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ev, err := r.Next(ctx)
	if err != nil || ev.Seq != seq {
		t.Fatal(ev, err)
	}
	return ev
}

// No secret of a Rod payment, and nothing of a webhook, is in anybody's log.
func TestEventsHoldNoSecrets(t *testing.T) {
	w := newWorld(t)
	l := w.line()
	const hook = "http://127.0.0.1:9/secret-token-in-the-path"
	if err := l.b.RegisterWebhook(w.ctx, l.lspB.ID(), "wallet", hook); err != nil {
		t.Fatal(err)
	}
	inv, err := l.b.CreateInvoice(InvoiceWish{Amount: 20_000_000, Description: "quiet"})
	if err != nil {
		t.Fatal(err)
	}
	l.b.Stop()
	id, err := l.a.SendAsync(AsyncPay{Invoice: inv.Text, LSP: l.lspA.ID()})
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := l.a.Pid(id)
	w.wait(l.lspB, 0, MessageKept)
	l.b = w.start(l.configs[3])
	if failure := w.outcome(l.a, id); failure != "" {
		t.Fatal(failure)
	}
	paid, _ := l.a.Payment(id)
	details, _ := l.b.brain.forward.Invoice(inv.Hash)
	w.quiet(l.nodes()...)
	secrets := map[string]string{
		"pid": string(pid[:]), "preimage": string(paid.Preimage[:]), "payment_secret": string(details.Secret[:]), "webhook": "secret-token",
	}
	for i, n := range l.nodes() {
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(filepath.Join(n.cfg.Dir, "node.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		seen := 0
		err = s.Load(store.Event, func(_, row []byte) error {
			seen++
			for name, secret := range secrets {
				if bytes.Contains(row, []byte(secret)) || bytes.Contains(row, []byte(hex.EncodeToString([]byte(secret)))) {
					return fmt.Errorf("the %s is in the log of %s", name, lineNames[i])
				}
			}
			return nil
		})
		if err != nil || seen == 0 {
			t.Fatal(seen, err)
		}
	}
}

// witness has read the events of a node, over all its lives.
type witness struct {
	mu   sync.Mutex
	seen []Event // the first has number 1
	bad  error
}

// watch reads all events of a life of the node from the first on, and holds what it sees against what it saw in earlier lives.
func (v *witness) watch(n *Node) {
	r := n.Events(1)
	defer r.Close()
	for {
		ev, err := r.Next(context.Background()) // ends with the node
		v.mu.Lock()
		switch {
		case errors.Is(err, ErrStopped):
			v.mu.Unlock()
			return
		case v.bad != nil:
		case err != nil:
			v.bad = err
		case ev.Seq < 1 || ev.Seq > uint64(len(v.seen))+1:
			v.bad = fmt.Errorf("event %d after %d", ev.Seq, len(v.seen))
		case ev.Seq == uint64(len(v.seen))+1:
			v.seen = append(v.seen, ev)
		case !cmp.Equal(ev, v.seen[ev.Seq-1]):
			v.bad = fmt.Errorf("event %d was %+v and is now %+v", ev.Seq, v.seen[ev.Seq-1], ev)
		}
		stop := v.bad != nil
		v.mu.Unlock()
		if stop {
			return
		}
	}
}

// check holds what was seen against the log in the files of a node that has ended: nothing is missing, and nothing is there twice.
func (v *witness) check(t testing.TB, name, dir string) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.bad != nil {
		t.Errorf("events of %s: %v", name, v.bad)
		return
	}
	s, err := store.Open(filepath.Join(dir, "node.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	next := uint64(1)
	err = s.Load(store.Event, func(key, row []byte) error {
		span, err := spanOf(key, row)
		if err != nil {
			return err
		}
		if span.first != next {
			return fmt.Errorf("row of %d after event %d", span.first, next-1)
		}
		evs, err := DecodeEvents(next, row)
		if err != nil {
			return err
		}
		for _, ev := range evs {
			if next <= uint64(len(v.seen)) && !cmp.Equal(ev, v.seen[next-1]) {
				return fmt.Errorf("event %d is %+v, but %+v was seen", next, ev, v.seen[next-1])
			}
			next++
		}
		return nil
	})
	if err == nil && next <= uint64(len(v.seen)) {
		err = fmt.Errorf("event %d was seen, but the log ends with %d", len(v.seen), next-1)
	}
	if err != nil {
		t.Errorf("events of %s: %v", name, err)
	}
}

// The power is cut at every write of a node that has nothing but news, before the write and after it. What was seen is in the log.
func TestNewsAtCrash(t *testing.T) {
	const writes = 4
	w := newWorld(t)
	for at := range 2 * writes {
		var seen witness
		var reading sync.WaitGroup
		disk := &newsCut{left: at / 2, after: at%2 == 1}
		cfg := w.config("alice", false)
		cfg.Disk = func(d Disk) Disk { disk.disk = d; return disk }
		for life := range 3 {
			n := w.start(cfg)
			reading.Go(func() { seen.watch(n) })
			for i := range writes {
				n.queue.put(&turn{events: []Event{event(MessageForward, "life", life), event(MessageKept, "i", i)}})
				last := n.LastEvent()
				w.until("news", func() bool { return n.LastEvent() > last || isDone(n) })
			}
			n.Crash()
			reading.Wait()
			seen.check(t, "alice", cfg.Dir)
			disk.off = true // the later lives end by themselves
		}
		if len(seen.seen) < 2*2*writes {
			t.Errorf("cut at %d: %d events were seen", at, len(seen.seen))
		}
	}
}

// newsCut fails at one of the writes that have only news, which is or is not on the disk then.
type newsCut struct {
	disk  Disk
	left  int
	after bool
	off   bool
}

func (d *newsCut) Commit(group []store.Write) error {
	if !d.off && newsOnly(group) {
		if d.left == 0 && d.after {
			_ = d.disk.Commit(group)
		}
		if d.left--; d.left < 0 {
			return errCut
		}
	}
	return d.disk.Commit(group)
}

// BenchmarkEventLog commits groups of n turns, each with the core of a channel (600 bytes), and one in two an HTLC body (1500 bytes), as such, and
// then the like with three events a turn. ratio is the one to the other; a payment that is forwarded makes some six turns.
func BenchmarkEventLog(b *testing.B) {
	for _, n := range []int{1, 8, 64, 512} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkEventLog(b, n) })
	}
}

func benchmarkEventLog(b *testing.B, n int) {
	s, err := store.Open(filepath.Join(b.TempDir(), "node.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Abort()
	log, err := loadEventLog(s, Retention{Events: 20_000, Age: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	core, body, turns := make([]byte, 600), make([]byte, 1500), uint64(0)
	rows := func() []store.Write {
		group := make([]store.Write, n)
		for i := range group {
			turns++
			group[i] = store.Write{{Table: store.Channel, Key: u64(uint64(i)), Value: append(u64(turns), core...)}}
			if turns%2 == 0 {
				op := store.Op{Table: store.HTLC, Key: u64(turns / 4)}
				if turns%4 == 0 {
					op.Value = body
				}
				group[i] = append(group[i], op)
			}
		}
		return group
	}
	var plain, logged time.Duration
	for b.Loop() {
		t0 := time.Now()
		if err := s.Commit(rows()); err != nil {
			b.Fatal(err)
		}
		spent := time.Since(t0)
		group := make([]*turn, n)
		for i := range group {
			group[i] = &turn{events: []Event{
				event(HTLCIn, "channel", i, "peer", [33]byte{2}, "id", i, "amount_msat", 2_000_000, "hash", [32]byte{1}, "expiry", 800_000),
				event(HTLCResolved, "channel", i, "peer", [33]byte{2}, "id", i, "outcome", "fulfill"),
				event(HTLCSettled, "channel", i, "peer", [33]byte{2}, "id", i, "outcome", "fulfill"),
			}}
		}
		t1 := time.Now()
		news, err := log.enter(group, t1)
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Commit(append(rows(), news)); err != nil {
			b.Fatal(err)
		}
		plain, logged = plain+spent, logged+time.Since(t1)
	}
	b.ReportMetric(0, "ns/op") // of both together: says nothing
	b.ReportMetric(float64(plain.Microseconds())/float64(b.N), "plain-us")
	b.ReportMetric(float64(logged.Microseconds())/float64(b.N), "logged-us")
	b.ReportMetric(float64(logged)/float64(plain), "ratio")
}
