package forward

import (
	"fmt"
	"math"
	"testing"

	"lightningrod/channel"
	"lightningrod/rod"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Rows of docs/catalogue.md that concern holding and forwarding and are not shown elsewhere. Each test is named after its row.

// holdByTLV is an HTLC that asks for its own hold.
func holdByTLV(o Offered, pid string, deadline uint32) Offered {
	value := rod.HoldTLV{PidHash: rod.PidHash(pidOf(pid)), Deadline: deadline}.Encode()
	o.HTLC.TLVs = append([]byte{0xfe, 0x52, 0x4f, 0x44, 0x41, byte(len(value))}, value...)
	return o
}

// count sorts commands by what they do.
func count(cmds []Command) (adds, fails int) {
	for _, cmd := range cmds {
		switch cmd.(type) {
		case Add:
			adds++
		case FailWith:
			fails++
		default:
			panic(fmt.Sprintf("%T", cmd))
		}
	}
	return adds, fails
}

// TestH1_EveryHeight: at every height about the release deadline, the outgoing and the incoming expiry, in every order of block,
// unblock, channel and restart: below the deadline the HTLC is forwarded once, from it on it is failed once, and nothing comes after.
func TestH1_EveryHeight(t *testing.T) {
	const expiry, deadline = 1500, 1314 // E_out is 1356, and 42 below it is the deadline
	orders := []struct {
		name  string
		early bool // decided before the block
		do    func(w *world, h uint32)
	}{
		{"block, unblock", false, func(w *world, h uint32) { w.block(h); w.handle(unblock("p"), nil) }},
		{"unblock, block", true, func(w *world, h uint32) { w.handle(unblock("p"), nil); w.block(h) }},
		{"block, restart, unblock", false, func(w *world, h uint32) { w.block(h); w.crash(99); w.handle(unblock("p"), nil) }},
		{"restart at that height, unblock", false, func(w *world, h uint32) {
			w.write(func(d *disk) { d.height = h })
			w.restart()
			w.handle(unblock("p"), nil)
			w.block(h)
		}},
		{"unblock, nobody there, block, channel", false, func(w *world, h uint32) {
			w.handle(Unusable{2}, nil)
			w.handle(unblock("p"), nil)
			w.block(h)
		}},
		{"stale tip, unblock, block, good tip", false, func(w *world, h uint32) {
			w.setStale(true)
			w.handle(unblock("p"), nil)
			w.block(h)
			w.setStale(false)
		}},
	}
	runs := 0
	for _, order := range orders {
		for h := uint32(deadline - 20); h <= expiry+5; h++ {
			runs++
			w := pairWorld(t)
			w.device("carol", true)
			w.offer(holdByTLV(forwardOffer(key(1, 0), "alice", "h", 1_000_000, expiry, 22), "p", expiry))
			if w.stateOf(key(1, 0)) != held || len(w.inbox) > 0 {
				t.Fatal(w.f.states())
			}
			order.do(w, h)
			w.handle(usableChannel(2), nil)
			w.handle(unblock("p"), nil)
			w.block(h)
			adds, fails := count(w.inbox)
			forward := order.early || h < deadline
			if forward != (adds == 1) || forward == (fails == 1) || adds+fails != 1 {
				t.Fatalf("%s at %d: %d forwarded, %d failed, the deadline is %d", order.name, h, adds, fails, deadline)
			}
		}
	}
	t.Logf("%d runs", runs)
}

// TestH18_Storm: a thousand holds of fifty peers. Half are released at once, the other half end in one block: each is decided once, and deadlines
// come before releases.
func TestH18_Storm(t *testing.T) {
	const peers, each, deadline = 50, 20, 1200
	w := newWorld(t)
	w.introduce(Channel{ID: 1000, Peer: nodeID("carol"), SCIDs: []lnwire.ShortChannelID{scidOf(22)}, Policy: standardPolicy()})
	w.handle(Usable{ID: 1000, Out: channel.Capacity{Max: 100_000_000, Min: 1, Slots: 2 * peers * each}}, nil)
	name := func(c channel.ID, id uint64) string { return fmt.Sprintf("%d/%d", c, id) }
	for c := channel.ID(1); c <= peers; c++ {
		peer := fmt.Sprint("peer ", c)
		w.introduce(Channel{ID: c, Peer: nodeID(peer), Policy: standardPolicy()})
		for id := range uint64(each) {
			d := uint32(deadline)
			if id%2 == 0 {
				d++
			}
			w.offer(holdByTLV(forwardOffer(key(c, id), peer, name(c, id), 1_000_000, 1800, 22), name(c, id), d))
		}
	}
	if len(w.inbox) > 0 || len(w.f.Live()) != peers*each {
		t.Fatalf("%d commands, %d HTLCs", len(w.inbox), len(w.f.Live()))
	}
	w.restart()
	w.handle(Usable{ID: 1000, Out: channel.Capacity{Max: 100_000_000, Min: 1, Slots: 2 * peers * each}}, nil)
	// All with the later deadline are released at once; the channel refuses every one of them.
	for c := channel.ID(1); c <= peers; c++ {
		for id := uint64(0); id < each; id += 2 {
			w.handle(unblock(name(c, id)), nil)
		}
	}
	const released = peers * each / 2
	if adds, fails := count(w.inbox); adds != released || fails != 0 {
		t.Fatalf("%d forwarded, %d failed", adds, fails)
	}
	for len(w.inbox) > 0 {
		w.deliver(true)
	}
	// One block: what is due goes back first, then what waits is offered again.
	out := w.block(deadline)
	adds, fails := count(out.Commands)
	first, _ := count(out.Commands[:fails])
	if adds != released || fails != peers*each-released || first != 0 {
		t.Fatalf("%d forwarded, %d failed, %d forwarded among the first", adds, fails, first)
	}
	if out := w.block(deadline); len(out.Commands) != 0 {
		t.Fatalf("again: %d commands", len(out.Commands))
	}
}

// TestH19_ClockJumps: the clock goes on ten years, and back twenty: what is held stays held, until its block.
func TestH19_ClockJumps(t *testing.T) {
	const years = 10 * 365 * 86400
	for _, jumps := range [][]int64{{years}, {-years}, {years, -2 * years}, {-years, 2 * years}, {math.MaxInt64 / 2, math.MinInt64 / 2}} {
		for _, restart := range []bool{false, true} {
			w := pairWorld(t)
			w.handle(holdRequest("alice", "p", 0, 1100, "h"), nil)
			w.offer(forwardOffer(key(1, 0), "alice", "h", 1_000_000, 1500, 22))
			now := int64(1_000_000)
			for _, jump := range jumps {
				now += jump
				w.tick(now)
				if restart {
					w.restart()
				}
				if w.stateOf(key(1, 0)) != held || len(w.inbox) > 0 {
					t.Fatalf("after %d seconds: %s", jump, w.f.states())
				}
			}
			w.block(1099)
			if len(w.inbox) > 0 {
				t.Fatalf("given up early: %+v", w.inbox)
			}
			w.block(1100)
			if _, fails := count(w.inbox); fails != 1 {
				t.Fatalf("not given up: %s", w.f.states())
			}
		}
	}
}

// TestH25_Expiries: expiries and heights from 0 to 2^32-1. What is forwarded leaves the deltas that the policy asks for, in numbers
// that cannot wrap; what is held has a deadline that is still ahead.
func TestH25_Expiries(t *testing.T) {
	edges := []uint32{0, 1, 2, 3, 17, 42, 143, 144, 145, 1000, 1001, 1003, 1004, 1041, 1042, 1043, 1144, 1147, 1148, 1190, 3015, 3016, 3017,
		math.MaxInt32, math.MaxInt32 + 1, math.MaxUint32 - 145, math.MaxUint32 - 144, math.MaxUint32 - 1, math.MaxUint32}
	heights := []uint32{0, 1000, math.MaxInt32, math.MaxUint32 - 2016, math.MaxUint32 - 1, math.MaxUint32}
	forwarded, holding := 0, 0
	for _, height := range heights {
		for _, in := range edges {
			for _, out := range edges {
				for _, deadline := range []uint32{0, 1100, math.MaxUint32} {
					w := pairWorld(t)
					w.block(height)
					o := forwardOffer(key(1, 0), "alice", "h", 1_000_000, in, 22)
					o.Hop.Cltv = out
					if deadline != 0 {
						o = holdByTLV(o, "p", deadline)
					}
					w.offer(o)
					adds, fails := count(w.inbox)
					h, ein, eout := uint64(height), uint64(in), uint64(out)
					can := eout+144 <= ein && ein <= h+2016 && h+3 < eout && h+144 < ein
					switch {
					case adds == 1 && (deadline != 0 || !can), adds+fails > 1, deadline == 0 && can && adds != 1:
						t.Fatalf("height %d, expiries %d and %d, deadline %d: %d forwarded, %d failed", height, in, out, deadline, adds, fails)
					case adds == 1:
						forwarded++
					case fails == 0:
						holding++
						if limit := uint64(w.f.htlcs[key(1, 0)].limit); w.stateOf(key(1, 0)) != held || limit <= h || limit+42 > eout || !can {
							t.Fatalf("height %d, expiries %d and %d: %s", height, in, out, w.f.states())
						}
					}
				}
			}
		}
	}
	t.Logf("%d forwarded, %d held", forwarded, holding)
	if forwarded == 0 || holding == 0 {
		t.Fatal("too little to show anything")
	}
}
