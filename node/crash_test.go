package node

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lightningrod/node/forward"
	"lightningrod/node/store"
	"lightningrod/rod"

	"github.com/lightningnetwork/lnd/lnwire"
)

var crashAll = flag.Bool("crash.all", false, "cut every node's queue at every prefix, in every variant")

// crashVariants are the ways of the payment that is cut.
var crashVariants = []crashVariant{
	{name: "away", away: true, pay: AsyncPay{Mode: rod.UnblockByPayer}},
	{name: "parts", away: true, pay: AsyncPay{Mode: rod.UnblockByPayee, Parts: 2}},
	{name: "htlc", away: true, pay: AsyncPay{Mode: rod.UnblockByPayer | rod.UnblockByPayee, ByHTLC: true}},
	{name: "twice", away: true, twice: true, pay: AsyncPay{Mode: rod.UnblockByPayer}},
	{name: "online", pay: AsyncPay{Mode: rod.UnblockByPayer}},
}

type crashVariant struct {
	name  string
	away  bool // A is offline from when its payment is held until B is paid
	twice bool // the power is cut once more, soon after the node has come back
	pay   AsyncPay
}

// crashStride is how many prefixes of a queue there are to each that is tried: every one in the first variant, some in the
// others; all with -crash.all.
func crashStride(variant int) int {
	switch {
	case *crashAll:
		return 1
	case testing.Short():
		return 9 * (1 + 2*min(variant, 1))
	default:
		return 1 + 2*min(variant, 1)
	}
}

// TestCrash cuts the power of each of the four nodes at every prefix of its write queue in the course of a Rod payment:
// with the last turn of the prefix lost, and with it on the disk and nothing of its group let out. The node starts again
// from its files, the payment goes on, and ends with exact balances and nothing left over.
func TestCrash(t *testing.T) {
	began := time.Now()
	town := newCrashTown(t)
	type job struct {
		name     string
		variant  crashVariant
		node, at int
		after    bool
	}
	var list []job
	for v, variant := range crashVariants {
		turns := town.count(t, variant)
		t.Logf("%s: turns with rows of A, LSP_a, LSP_b, B: %v", variant.name, turns)
		stride := crashStride(v)
		for node, name := range lineNames {
			for at := v % stride; at <= turns[node]; at += stride {
				list = append(list,
					job{fmt.Sprintf("%s/%s/before %d", variant.name, name, at), variant, node, at, false},
					job{fmt.Sprintf("%s/%s/after %d", variant.name, name, at), variant, node, at, true})
			}
		}
	}
	jobs := make(chan job)
	var workers sync.WaitGroup
	var runs, cuts atomic.Int64
	for range 3 * runtime.GOMAXPROCS(0) { // mostly they wait, for sockets and disks
		workers.Go(func() {
			for j := range jobs {
				t.Run(j.name, func(t *testing.T) {
					r := town.run(t, j.variant)
					p := r.procs[j.node]
					p.at, p.after, p.twice = j.at, j.after, j.variant.twice
					r.play()
					runs.Add(1)
					cuts.Add(int64(min(p.cuts, 1)))
				})
			}
		})
	}
	for _, j := range list {
		jobs <- j
	}
	close(jobs)
	workers.Wait()
	t.Logf("4 nodes, %d variants: %d runs, power cut in %d of them (the others were over before); %.0f s",
		len(crashVariants), runs.Load(), cuts.Load(), time.Since(began).Seconds())
}

// crashTown is four nodes' files in which the channels are open, the gossip is known and B has made an invoice, and the
// chain that all runs share.
type crashTown struct {
	world   *world
	dirs    [4]string
	ids     [4][33]byte
	invoice Invoice
	before  [4][2]lnwire.MilliSatoshi // what each node has with the one before and after it in the line
	height  uint32
}

const crashAmount = 20_000_000

func newCrashTown(t *testing.T) *crashTown {
	w := newWorld(t)
	l := w.line()
	town := &crashTown{world: w}
	var err error
	town.invoice, err = l.b.CreateInvoice(InvoiceWish{Amount: crashAmount, Description: "crash", Expiry: 30 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	w.quiet(l.nodes()...)
	for i, n := range l.nodes() {
		town.ids[i] = n.ID()
		town.dirs[i] = n.cfg.Dir
	}
	for i, n := range l.nodes() {
		town.before[i], _ = town.balances(i, n)
	}
	for _, n := range l.nodes() {
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	town.height, _ = w.chain.Tip()
	return town
}

// balances are what node i has in its channels, and whether no HTLC is left in them.
func (c *crashTown) balances(i int, n *Node) (has [2]lnwire.MilliSatoshi, quiet bool) {
	quiet = true
	for side, j := range []int{i - 1, i + 1} {
		if j < 0 || j > 3 {
			continue
		}
		local, q := balance(n, c.ids[j])
		has[side], quiet = local, quiet && q
	}
	return has, quiet
}

// count plays the payment a few times without a cut: the most turns that each node's queue had.
func (c *crashTown) count(t *testing.T, v crashVariant) (turns [4]int) {
	for range 3 {
		r := c.run(t, v)
		r.play()
		for i, p := range r.procs {
			turns[i] = max(turns[i], p.seen)
		}
	}
	return turns
}

// crashRun is one payment over copies of the town's files.
type crashRun struct {
	*world
	town    *crashTown
	variant crashVariant
	procs   [4]*process
	clock   atomic.Int64 // unix seconds, of all four nodes
	news    uint64       // how many events there were when something last happened,
	since   time.Time    // and when that was
}

func (c *crashTown) run(t *testing.T, v crashVariant) *crashRun {
	r := &crashRun{world: c.world.within(t), town: c, variant: v, since: time.Now()}
	r.clock.Store(time.Now().Unix())
	for i, name := range lineNames {
		p := &process{run: r, cutter: cutter{at: -1}}
		p.cfg = r.config(name, i == 1 || i == 2)
		p.cfg.Now = func() time.Time { return time.Unix(r.clock.Load(), 0) }
		p.cfg.Disk = p.cutter.wrap
		file, err := os.ReadFile(filepath.Join(c.dirs[i], "node.db"))
		if err == nil {
			err = os.WriteFile(filepath.Join(p.cfg.Dir, "node.db"), file, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		r.procs[i] = p
	}
	return r
}

// process is a node that is to run, and is started again when the power was cut.
type process struct {
	cutter
	run  *crashRun
	cfg  Config
	node *Node // nil while it is not to run

	witness witness
	reading sync.WaitGroup
}

func (p *process) start() {
	for {
		n, err := p.run.try(p.cfg)
		if n != nil {
			p.reading.Go(func() { p.witness.watch(n) })
		}
		if err == nil {
			p.node = n
			return
		}
		if !p.hasCut() {
			p.run.t.Fatalf("%s: %v", p.cfg.Alias, err)
		}
	}
}

// stop ends the node in order, unless the power is cut at this very time.
func (p *process) stop() {
	if err := p.node.Stop(); err != nil && !errors.Is(err, errCut) {
		p.run.t.Fatalf("stopping %s: %v", p.cfg.Alias, err)
	}
	p.node = nil
}

// supervise starts the node again if its power was cut.
func (p *process) supervise() {
	if p.node == nil {
		return
	}
	select {
	case <-p.node.Done():
		if err := p.node.Err(); !errors.Is(err, errCut) {
			p.run.t.Fatalf("%s ended by itself: %v", p.cfg.Alias, err)
		}
		p.start()
	default:
	}
}

// cutter is the disk of one node over all its lives: at one turn it fails, and if twice at another one soon after.
type cutter struct {
	mu    sync.Mutex
	at    int  // the turn, counted over those with rows; below 0: never
	after bool // that turn is still written, but nothing of its group is let out
	twice bool
	seen  int
	cuts  int
}

func (c *cutter) hasCut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cuts > 0
}

func (c *cutter) wrap(d Disk) Disk { return &cutDisk{cutter: c, disk: d} }

// cutDisk is the cutter in one life of the node. After the cut nothing is written any more.
type cutDisk struct {
	*cutter
	disk Disk
	dead bool
}

func (d *cutDisk) Commit(group []store.Write) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return errCut
	}
	if newsOnly(group) {
		return d.disk.Commit(group) // no turn: see TestNewsAtCrash
	}
	keep := d.at - d.seen
	if d.after {
		keep++
	}
	if d.at < d.seen || d.at >= d.seen+len(group) {
		d.seen += len(group)
		return d.disk.Commit(group)
	}
	d.dead = true
	d.cuts++
	d.seen += keep
	d.at = -1
	if d.twice && d.cuts == 1 {
		d.at = d.seen + 1
	}
	if err := d.disk.Commit(group[:keep]); err != nil {
		return err
	}
	return errCut
}

// newsOnly says whether a group has no rows but those of events.
func newsOnly(group []store.Write) bool {
	return !slices.ContainsFunc(group, func(w store.Write) bool {
		return slices.ContainsFunc(w, func(op store.Op) bool { return op.Table != store.Event })
	})
}

// play is the payment from start to end.
func (r *crashRun) play() {
	a, lspA, lspB, b := r.procs[0], r.procs[1], r.procs[2], r.procs[3]
	for _, p := range []*process{lspA, lspB, a} {
		p.start()
	}
	var id uint64
	r.await("the payment to start", true, func() (ok bool) { id, ok = r.pay(a.node); return ok })
	r.await("the notice at LSP_b", false, func() bool {
		n := lspB.node
		n.brain.mu.Lock()
		defer n.brain.mu.Unlock()
		return len(n.brain.mailbox.All(r.town.ids[3])) > 0
	})
	if r.variant.away {
		a.stop()
	}
	b.start()
	r.await("B to be paid", false, func() bool { return r.received(b.node) })
	if a.node == nil {
		a.start()
	}
	r.await("B to be paid, with A there", true, func() bool { return r.received(b.node) })
	r.await("A to have the preimage", true, func() bool {
		p, ok := a.node.Payment(id)
		return ok && p.State == forward.PaymentSucceeded
	})
	if p, _ := a.node.Payment(id); sha256.Sum256(p.Preimage[:]) != r.town.invoice.Hash {
		r.t.Error("A's preimage is not the invoice's")
	}
	r.await("exact balances", true, r.settled)
	r.await("no rows to be left", true, func() bool {
		for _, p := range r.procs {
			if len(leftovers(r.t, p.node)) > 0 {
				return false
			}
		}
		return true
	})
	for _, p := range r.procs {
		p.stop()
		p.reading.Wait()
		p.witness.check(r.t, p.cfg.Alias, p.cfg.Dir)
	}
	if height, _ := r.chain.Tip(); height != r.town.height || len(r.chain.Mempool()) > 0 {
		r.t.Error("something went on chain")
	}
}

// await goes on with everything until f holds. What a power cut may have lost for now need not come: then await ends
// after a while.
func (r *crashRun) await(what string, must bool, f func() bool) {
	r.t.Helper()
	began := time.Now()
	for {
		for _, p := range r.procs {
			p.supervise()
		}
		if f() {
			return
		}
		if !must && time.Since(began) > 300*time.Millisecond && r.cut() {
			return
		}
		select {
		case <-r.ctx.Done():
			r.t.Fatalf("%s: %v\n%s", what, r.ctx.Err(), r.describe())
		case <-time.After(2 * time.Millisecond):
		}
		r.hurry()
	}
}

func (r *crashRun) cut() bool {
	for _, p := range r.procs {
		if p.hasCut() {
			return true
		}
	}
	return false
}

// hurry lets time pass for the nodes when nothing happens: what waits for the clock has not long to wait.
func (r *crashRun) hurry() {
	news := uint64(0)
	for _, p := range r.procs {
		if p.node != nil {
			p.node.events.mu.Lock()
			news += p.node.events.next
			p.node.events.mu.Unlock()
		}
	}
	if news != r.news {
		r.news, r.since = news, time.Now()
	}
	if time.Since(r.since) < 150*time.Millisecond {
		return
	}
	r.since = time.Now()
	now := r.clock.Add(6)
	for _, p := range r.procs {
		if p.node != nil {
			p.node.think(forward.Tick{Now: now})
			p.node.clientTick(now)
		}
	}
}

// pay starts the payment, unless it was started before the power was cut, and says when it has started.
func (r *crashRun) pay(a *Node) (id uint64, ok bool) {
	for _, table := range []store.Table{store.Payer, store.Payment} {
		err := a.store.Load(table, func(key, _ []byte) error {
			id, ok = binary.BigEndian.Uint64(key), true
			return nil
		})
		if err != nil {
			return 0, false // the power is off
		}
	}
	if ok {
		return id, true
	}
	wish := r.variant.pay
	wish.Invoice, wish.LSP = r.town.invoice.Text, r.town.ids[1]
	id, err := a.SendAsync(wish)
	return id, err == nil
}

func (r *crashRun) received(b *Node) bool {
	b.brain.mu.Lock()
	defer b.brain.mu.Unlock()
	inv, ok := b.brain.forward.Invoice(r.town.invoice.Hash)
	return ok && inv.State == forward.InvoicePaid
}

// settled says whether no HTLC is left and every balance is what one payment makes it, to the msat.
func (r *crashRun) settled() bool {
	parts := lnwire.MilliSatoshi(max(r.variant.pay.Parts, 1))
	share := crashAmount / parts
	atB := share * parts
	atLSPb := withFee(share) * parts
	atLSPa := withFee(withFee(share)) * parts
	moved := [4][2]lnwire.MilliSatoshi{{0, atLSPa}, {atLSPa, atLSPb}, {atLSPb, atB}, {atB, 0}}
	for i, p := range r.procs {
		has, quiet := r.town.balances(i, p.node)
		if !quiet {
			return false
		}
		before := r.town.before[i]
		if has[0] != before[0]+moved[i][0] || has[1] != before[1]-moved[i][1] {
			return false
		}
	}
	return true
}

// leftovers counts the rows of a node that are gone when all payments are over.
func leftovers(t testing.TB, n *Node) map[store.Table]int {
	found := map[store.Table]int{}
	for _, table := range []store.Table{
		store.HTLC, store.Settled, store.Request, store.Member, store.Payer, store.Payee, store.Mailbox, store.Outbox,
	} {
		err := n.store.Load(table, func(_, _ []byte) error { found[table]++; return nil })
		if err != nil && n.Err() == nil {
			t.Error(err)
		}
	}
	return found
}

// describe is the state of all nodes, for a run that does not end.
func (r *crashRun) describe() (s string) {
	for i, p := range r.procs {
		p.mu.Lock()
		s += fmt.Sprintf("%s: %d turns, %d cuts", p.cfg.Alias, p.seen, p.cuts)
		p.mu.Unlock()
		if p.node == nil {
			s += ", off\n"
			continue
		}
		has, _ := r.town.balances(i, p.node)
		s += fmt.Sprintf(", rows %v, balances %v, before %v\n", leftovers(r.t, p.node), has, r.town.before[i])
		for _, in := range p.node.registry.each(nil) {
			s += fmt.Sprintf("  %v\n", in.state.Load())
		}
		p.node.brain.mu.Lock()
		for _, h := range p.node.brain.forward.Live() {
			s += fmt.Sprintf("  HTLC %v is %s\n", h.Key, h.State)
		}
		for _, x := range p.node.brain.forward.Payments() {
			s += fmt.Sprintf("  payment %d is %v\n", x.ID, x.State)
		}
		p.node.brain.mu.Unlock()
		ev := p.node.Events(0)
		for {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			e, err := ev.Next(ctx)
			cancel()
			if err != nil {
				break
			}
			s += fmt.Sprintf("    %s %v\n", e.Kind, e.Fields)
		}
		ev.Close()
	}
	return s
}
