package node

import (
	"crypto/sha256"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"lightningrod/node/forward"
	"lightningrod/node/store"
	"lightningrod/onion"
	"lightningrod/rod"
)

// syncs counts the transactions of a node's store.
type syncs struct {
	Disk
	n atomic.Int64
}

func (d *syncs) Commit(group []store.Write) error {
	d.n.Add(1)
	return d.Disk.Commit(group)
}

func written(disks []*syncs) (total int64) {
	for _, d := range disks {
		total += d.n.Load()
	}
	return total
}

// bench is nodes in a line whose channels hold 10,000,000 sat, half of it on each side.
func (w *world) bench(names ...string) (nodes []*Node, disks []*syncs) {
	w.t.Helper()
	for i, name := range names {
		cfg := w.config(name, true)
		disk := &syncs{}
		cfg.Disk = func(d Disk) Disk { disk.Disk = d; return disk }
		cfg.Rod = rod.DefaultConfig([33]byte{})
		cfg.Rod.HeldPerPeer, cfg.Rod.ArmedPerPeer, cfg.Rod.RequestBurst, cfg.Rod.InFlightPercent = 1000, 1000, 1000, 100
		n := w.start(cfg)
		nodes, disks = append(nodes, n), append(disks, disk)
		if i == len(names)-1 {
			break
		}
		w.fund(n)
	}
	for i, n := range nodes[:len(nodes)-1] {
		w.openAs(n, nodes[i+1], OpenChannel{Capacity: 10_000_000, Push: 5_000_000_000})
	}
	w.until("gossip", func() bool { c, _ := nodes[0].GraphSize(); return c == len(names)-1 })
	return nodes, disks
}

// batch is n payments of from to to over a line, their onions built and their invoices registered, to be offered in one turn.
// Their HTLCs may wait for some blocks on the way.
func (w *world) batch(from, to *Node, n int, wait uint32) []forward.Event {
	w.t.Helper()
	const amount = 2_000_000
	evs := make([]forward.Event, n)
	for i := range evs {
		preimage, err := to.random32()
		if err != nil {
			w.t.Fatal(err)
		}
		secret, _ := to.random32()
		hash := sha256.Sum256(preimage[:])
		to.think(forward.Register{Invoice: forward.Invoice{
			Hash: hash, Preimage: preimage, Secret: secret, Amount: amount, Expiry: time.Now().Unix() + 3600, MinFinalCltv: minFinalCltv,
		}})
		inv := &payee{node: to.ID(), hash: hash, secret: secret, amount: amount, minFinal: minFinalCltv}
		routes, err := from.routes(routeWish{inv: inv, parts: 1, finalCltv: minFinalCltv + 3 + wait})
		if err != nil {
			w.t.Fatal(err)
		}
		id, _ := from.newPaymentID()
		pay, err := from.payEvent(id, inv, routes, 0, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		evs[i] = *pay
	}
	if err := to.durably(&turn{}); err != nil { // so that this costs the payments no sync
		w.t.Fatal(err)
	}
	return evs
}

// round offers a batch and waits until the payer has all preimages.
func (w *world) round(from *Node, evs []forward.Event) {
	w.t.Helper()
	r := from.Events(from.nextEvent())
	defer r.Close()
	from.think(evs...)
	for paid := 0; paid < len(evs); {
		ev, err := r.Next(w.ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		switch ev.Kind {
		case PaymentDone:
			paid++
		case PartFailed:
			w.t.Fatal(ev.Fields["reason"])
		}
	}
}

func (n *Node) nextEvent() uint64 {
	n.events.mu.Lock()
	defer n.events.mu.Unlock()
	return n.events.next
}

// BenchmarkRound is n payments offered at once, added and fulfilled, until the payer knows all preimages: two nodes and
// three, each with files of its own, over loopback. All nodes share the machine's cores. Building onions and routes is not counted.
func BenchmarkRound(b *testing.B) {
	for _, names := range [][]string{{"alice", "bob"}, {"alice", "carol", "bob"}} {
		kind := map[int]string{2: "direct", 3: "forwarded"}[len(names)]
		for _, n := range []int{1, 10, 100, 483} {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				w := newWorld(b)
				nodes, disks := w.bench(names...)
				forth := true
				var spent time.Duration
				var total int64
				for b.Loop() {
					b.StopTimer()
					from, to := nodes[0], nodes[len(nodes)-1]
					if !forth {
						from, to = to, from
					}
					forth = !forth
					evs := w.batch(from, to, n, 0)
					total -= written(disks)
					b.StartTimer()
					start := time.Now()
					w.round(from, evs)
					spent += time.Since(start)
					b.StopTimer()
					w.quiet(nodes...)
					total += written(disks)
					b.StartTimer()
				}
				b.ReportMetric(float64(b.N*n)/spent.Seconds(), "payments/s")
				b.ReportMetric(float64(total)/float64(b.N*n), "syncs/payment")
			})
		}
	}
}

// BenchmarkHold is one payment after the other over a channel in which held HTLCs stand.
func BenchmarkHold(b *testing.B) {
	for _, held := range []int{0, 50, 200} {
		b.Run(fmt.Sprint(held), func(b *testing.B) {
			w := newWorld(b)
			nodes, _ := w.bench("alice", "carol", "bob")
			alice, carol := nodes[0], nodes[1]
			w.hold(alice, carol, nodes[2], held)
			var spent time.Duration
			for b.Loop() {
				b.StopTimer()
				evs := w.batch(alice, carol, 1, 0)
				b.StartTimer()
				start := time.Now()
				w.round(alice, evs)
				spent += time.Since(start)
			}
			b.ReportMetric(float64(b.N)/spent.Seconds(), "payments/s")
		})
	}
}

// hold has payments of from to to held by lsp.
func (w *world) hold(from, lsp, to *Node, n int) {
	w.t.Helper()
	if n == 0 {
		return
	}
	evs := w.batch(from, to, n, 100)
	for i := range evs {
		p := evs[i].(forward.Pay)
		var pid [32]byte
		pid[0], pid[1], pid[2] = 1, byte(i), byte(i>>8)
		height, _ := w.chain.Tip()
		tlvs, err := onion.EncodeRecords([]onion.Record{{Type: rod.TypeHoldHTLC, Value: rod.HoldTLV{PidHash: rod.PidHash(pid), Deadline: height + 20}.Encode()}})
		if err != nil {
			w.t.Fatal(err)
		}
		for k := range p.Parts {
			p.Parts[k].TLVs = tlvs
		}
		evs[i] = p
	}
	from.think(evs...)
	w.until("holds", func() bool {
		held := 0
		for _, h := range lsp.HTLCs() {
			if h.State == "held" {
				held++
			}
		}
		return held == n
	})
}
