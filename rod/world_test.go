package rod

import (
	"flag"
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"testing"
)

// world makes random events out of few peers, pids, hashes and channels, so that they meet.
type world struct {
	*rand.Rand
	m     *model
	htlcs []HTLC // offered so far
	pids  int    // drawn so far
}

var worldPeers = []NodeID{node("A"), node("B")}

func (w *world) peer() NodeID    { return worldPeers[w.Intn(2)] }
func (w *world) hash() [32]byte  { return hash(fmt.Sprint(w.Intn(4))) }
func (w *world) channel() uint64 { return uint64(w.Intn(4)) } // even ones are A's, odd ones B's

// pid is mostly one of a request that is live, else a new one or, now and then, one that was used.
func (w *world) pid() [32]byte {
	if w.Intn(4) > 0 {
		var live [][32]byte
		for n := range w.pids {
			if p := pid(fmt.Sprint(n)); slices.ContainsFunc(w.m.requests, func(r *modelRequest) bool { return r.pid == PidHash(p) }) {
				live = append(live, p)
			}
		}
		if len(live) > 0 {
			return live[w.Intn(len(live))]
		}
	}
	if w.Intn(3) > 0 {
		w.pids++
	}
	return w.newPid()
}

func (w *world) newPid() [32]byte {
	w.pids++
	return pid(fmt.Sprint(w.pids - 1))
}

func (w *world) some(n int) []HTLC {
	if len(w.htlcs) == 0 {
		return nil
	}
	var out []HTLC
	for range n {
		out = append(out, w.htlcs[w.Intn(len(w.htlcs))])
	}
	return out
}

func (w *world) event() Event {
	switch p := w.Intn(100); {
	case p < 20:
		p := w.newPid()
		if w.Intn(3) == 0 {
			p = w.pid()
		}
		q := HoldRequest{PidHash: PidHash(p), Hashes: [][32]byte{w.hash()}, TotalMsat: uint64(w.Intn(4) * 1500)}
		if w.Intn(3) > 0 {
			q.Deadline = w.m.height + uint32(w.Intn(200))
		}
		if h := w.hash(); h != q.Hashes[0] {
			q.Hashes = append(q.Hashes, h)
		}
		return Requested{Peer: w.peer(), HasChannel: true, Payload: q.Encode(), Direct: true}
	case p < 50:
		if old := w.some(1); old != nil && w.Intn(4) == 0 {
			return Member{old[0]}
		}
		c := w.channel()
		h := HTLC{Channel: c, ID: uint64(len(w.htlcs)), Peer: worldPeers[c%2], Hash: w.hash(), Amount: 500 + uint64(w.Intn(2000)), MaxInFlight: 12000}
		h.OutExpiry = w.m.height + 30 + uint32(w.Intn(600))
		h.Expiry = h.OutExpiry + 130 + uint32(w.Intn(200))
		if w.Intn(3) == 0 {
			h.Hold = &HoldTLV{PidHash: PidHash(w.pid())}
			if w.Intn(2) == 0 {
				h.Hold.Deadline = w.m.height + uint32(w.Intn(200))
			}
		}
		w.htlcs = append(w.htlcs, h)
		return Member{h}
	case p < 58:
		u := Unblock{Pid: w.pid()}
		if w.Intn(3) == 0 {
			u.Next = w.peer()
		}
		return u
	case p < 62:
		return CancelRequested{Peer: w.peer(), HasChannel: true, Payload: CancelRequest{PidHash: PidHash(w.pid())}.Encode(), Direct: true}
	case p < 68:
		for _, h := range w.some(1) {
			return []Event{Fulfilled{h.Channel, h.ID}, Failed{h.Channel, h.ID}, Ended{h.Channel, h.ID, true}, Ended{h.Channel, h.ID, false}, Declined{h.Channel, h.ID}}[w.Intn(5)]
		}
	case p < 80:
		return Tick{w.m.now + int64(w.Intn(100))}
	case p < 92:
		if w.Intn(100) == 0 {
			return Block{w.m.height + 3000}
		}
		return Block{w.m.height + uint32(w.Intn(30))}
	case p < 93:
		return Block{w.m.height - min(w.m.height, uint32(w.Intn(3)))} // a reorg
	case p < 94:
		return []Event{ChannelOnChain{w.channel()}, ChannelShutdown{w.channel()}, ChannelClosed{w.channel()}}[w.Intn(3)]
	case p < 97:
		return PeerUp{w.peer()}
	}
	return PeerDown{w.peer()}
}

var seeds = flag.Int("seeds", 20, "runs of the random tests")

// TestModel lets random events happen to a Table and to the model, with restarts in between, and compares everything that can be seen.
func TestModel(t *testing.T) {
	for seed := range int64(*seeds) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { runModel(t, seed, 300) })
	}
}

func runModel(t *testing.T, seed int64, steps int) {
	b := newBox(t, func(c *Config) {
		c.ArmedPerPeer, c.HeldPerPeer, c.MaxRequests, c.RequestBurst, c.TombstonesPerPeer = 4, 6, 7, 1<<30, 1<<30
	})
	m := &model{cfg: b.cfg, now: 1000, height: 100, up: map[NodeID]bool{}}
	w := &world{Rand: rand.New(rand.NewSource(seed)), m: m}
	var counts [3]int
	for step := range steps {
		ev := w.event()
		if ev == nil {
			continue
		}
		if w.Intn(10) == 0 {
			b.restart()
			for _, x := range m.members {
				x.ov = false // memory only
			}
			// The first block after a restart says again what is overdue.
			m.apply(Block{m.height})
		}
		before := describe(b.table)
		out := b.apply(ev)
		ack, giveUp, released := m.apply(ev)
		m.purge(b.table)
		fail := func(format string, args ...any) {
			t.Helper()
			t.Fatalf("step %d %T%+v: %s", step, ev, ev, fmt.Sprintf(format, args...))
		}
		if u, ok := ev.(Unblock); ok && !slices.ContainsFunc(m.requests, func(r *modelRequest) bool { return r.pid == PidHash(u.Pid) }) &&
			(describe(b.table) != before || !reflect.DeepEqual(out, Output{News: []News{{What: NewsUnknown, PidHash: PidHash(u.Pid)}}})) {
			fail("an unknown pid changed something")
		}
		if ack >= 0 {
			if a := ackOf(t, out); int(a.Status) != ack {
				fail("ack %v, model %v", a, AckStatus(ack))
			}
		}
		var got []HTLCKey
		for _, g := range out.GiveUp {
			got = append(got, g.Key)
		}
		if !sameSet(got, giveUp, HTLCKey.compare) {
			fail("gives up %v, model %v", got, giveUp)
		}
		if !sameSet(out.Released, released, func(a, b HoldKey) int {
			return slices.Compare(append(a.Peer[:], a.Hash[:]...), append(b.Peer[:], b.Hash[:]...))
		}) {
			fail("releases %d, model %d", len(out.Released), len(released))
		}
		for _, h := range w.htlcs {
			v := b.table.Judge(h, m.height)
			kind, member, deadline := m.judge(h)
			if v.Kind != kind || v.Member != member || kind != GiveUp && v.Deadline != deadline {
				fail("HTLC %v judged %+v, model %v member %v R %d", h.Key(), v, kind, member, deadline)
			}
			counts[v.Kind]++
			if v.Kind == Hold && !v.Member && v.Deadline <= m.height && !slices.ContainsFunc(m.members, func(x *modelMember) bool { return x.h.Key() == h.Key() && x.fulfilled }) {
				fail("HTLC %v held past R %d at height %d", h.Key(), v.Deadline, m.height)
			}
		}
		claims(fail, m, ev, out.Claim)
		if again := b.apply(ev); len(again.Rows)+len(again.Released) > 0 {
			fail("the same again writes %v", again.Rows)
		}
		m.apply(ev)
	}
	if counts[Hold] == 0 || counts[GiveUp] == 0 || counts[Pass] == 0 {
		t.Errorf("the run is too tame: %v", counts)
	}
}

// claims: exactly the channels with a preimage near its end whose payer is away.
func claims(fail func(string, ...any), m *model, ev Event, got []uint64) {
	if _, ok := ev.(Block); !ok {
		return
	}
	var want []uint64
	for _, x := range m.members {
		if x.fulfilled && !x.void && !m.up[x.h.Peer] && m.height+72 >= x.h.Expiry && !slices.Contains(want, x.h.Channel) {
			want = append(want, x.h.Channel)
		}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		fail("claims %v, model %v", got, want)
	}
}

func sameSet[T any](a, b []T, compare func(a, b T) int) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, compare)
	slices.SortFunc(b, compare)
	return reflect.DeepEqual(a, b) || len(a) == 0 && len(b) == 0
}
