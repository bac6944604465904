package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"

	"lightningrod/chain"
	"lightningrod/chain/embedded"
	"lightningrod/channel"
	"lightningrod/node/store"

	"github.com/btcsuite/btcd/wire"
)

// TestCrashOnChain cuts the power of a node that closes its channel, at every write that locks or frees coins of its wallet: with that
// write lost, and with it on the disk and nothing of it let out. An HTLC is in the channel, fees rise, and children and HTLC transactions
// are replaced. When the node is back, every lock is that of a transaction that it publishes; in the end all is exact.
func TestCrashOnChain(t *testing.T) {
	for _, v := range []chainVariant{{name: "success", claims: true}, {name: "timeout"}} {
		t.Run(v.name, func(t *testing.T) {
			town := newChainTown(t, v)
			dry := town.run(t, -1, false)
			t.Logf("%d writes with locks, %d transactions replaced", dry.disk.seen, dry.replaced)
			if dry.disk.seen < 4 || dry.replaced < 1 {
				t.Error("too few for a test")
			}
			jobs := make(chan func())
			var workers sync.WaitGroup
			for range 2 * runtime.GOMAXPROCS(0) {
				workers.Go(func() {
					for job := range jobs {
						job()
					}
				})
			}
			for at := range dry.disk.seen {
				for _, after := range []bool{false, true} {
					if testing.Short() && (at+len(v.name))%3 != 0 {
						continue
					}
					jobs <- func() {
						t.Run(fmt.Sprintf("%d after %t", at, after), func(t *testing.T) { town.run(t, at, after) })
					}
				}
			}
			close(jobs)
			workers.Wait()
		})
	}
}

// chainVariant says what becomes of an HTLC of alice for bob: bob closes and claims it, or alice closes and takes it back.
type chainVariant struct {
	name   string
	claims bool
}

// chainTown is the files of two nodes that will never meet again, and of their chain.
type chainTown struct {
	variant chainVariant
	dir     string
	expiry  uint32          // of the HTLC
	free    []*wire.TxOut   // outputs that anyone can spend
	at      []wire.OutPoint // and where they are
}

const chainAmount = 40_000_000 // msat

var chainNames = [2]string{"alice", "bob"}

func newChainTown(t *testing.T, v chainVariant) *chainTown {
	town := &chainTown{variant: v, dir: t.TempDir()}
	c, err := embedded.New(embedded.Config{Dir: filepath.Join(town.dir, "chain")})
	if err != nil {
		t.Fatal(err)
	}
	w := (&world{chain: c, burn: append([]byte{0x00, 0x20}, make([]byte, 32)...)}).within(t)
	a, b, _ := w.pair()
	for range 2 {
		w.mine(1, embedded.AnyoneCanSpend)
		height, _ := c.Tip()
		b, err := c.Block(height)
		if err != nil {
			t.Fatal(err)
		}
		town.at = append(town.at, wire.OutPoint{Hash: b.Txs[0].TxHash()})
		town.free = append(town.free, b.Txs[0].TxOut[0])
	}
	w.fund(b)
	inv, err := b.CreateInvoice(InvoiceWish{Amount: chainAmount, Description: "crash on chain"})
	if err != nil {
		t.Fatal(err)
	}
	cfgA, cfgB := a.cfg, b.cfg
	b.Stop()
	fragile := cfgB
	fragile.Disk = func(d Disk) Disk { return &diesWhen{Disk: d, table: store.Invoice, lose: !v.claims} }
	b = w.start(fragile)
	w.usable(a, b)
	if _, err = a.Pay(inv.Text, 0, 1); err != nil {
		t.Fatal(err)
	}
	<-b.Done()
	if err := b.Err(); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	town.expiry = a.registry.each(nil)[0].state.Load().Offered()[0].HTLC.Expiry
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for i, cfg := range []Config{cfgA, cfgB} {
		if err := os.CopyFS(filepath.Join(town.dir, chainNames[i]), os.DirFS(cfg.Dir)); err != nil {
			t.Fatal(err)
		}
	}
	return town
}

// nowhere is a network without connections.
type nowhere struct{}

func (nowhere) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("no connection")
}

// chainRun is a life in copies of the town's files.
type chainRun struct {
	*world
	town     *chainTown
	disk     *lockDisk // of the closer
	configs  [2]Config
	nodes    [2]*Node
	closer   int
	replaced int
}

func (c *chainTown) run(t *testing.T, at int, after bool) *chainRun {
	r := c.copy(t, &lockDisk{at: at, after: after})
	r.play()
	return r
}

// copy is a life in copies of the town's files that has not begun.
func (c *chainTown) copy(t *testing.T, disk *lockDisk) *chainRun {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(c.dir)); err != nil {
		t.Fatal(err)
	}
	ch, err := embedded.New(embedded.Config{Dir: filepath.Join(dir, "chain")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ch.Close() })
	w := (&world{chain: ch, burn: append([]byte{0x00, 0x20}, make([]byte, 32)...)}).within(t)
	r := &chainRun{world: w, town: c, disk: disk}
	if c.variant.claims {
		r.closer = 1
	}
	for i, name := range chainNames {
		r.configs[i] = r.config(name, i == 1)
		r.configs[i].Dir, r.configs[i].Dialer = filepath.Join(dir, name), nowhere{}
	}
	r.configs[r.closer].Disk = func(d Disk) Disk { return &lockedDisk{lockDisk: r.disk, disk: d} }
	return r
}

// lockDisk cuts the power at one of the writes with pending transactions of the wallet, counted over all lives.
type lockDisk struct {
	mu    sync.Mutex
	at    int
	after bool
	seen  int
	cut   bool
}

// lockedDisk is a lockDisk in one life.
type lockedDisk struct {
	*lockDisk
	disk Disk
	dead bool
}

func (d *lockedDisk) Commit(group []store.Write) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return errCut
	}
	for i, w := range group {
		if !slices.ContainsFunc(w, func(op store.Op) bool { return op.Table == store.Wallet && op.Key[0] == 'p' }) {
			continue
		}
		d.seen++
		if d.seen-1 != d.at || d.cut {
			continue
		}
		d.dead, d.cut = true, true
		if d.after {
			i++
		}
		return errors.Join(d.disk.Commit(group[:i]), errCut)
	}
	return d.disk.Commit(group)
}

func (r *chainRun) start(i int) {
	n, err := r.try(r.configs[i])
	for ; err != nil && n != nil && errors.Is(n.Err(), errCut); n, err = r.try(r.configs[i]) {
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.nodes[i] = n
}

func (r *chainRun) play() {
	r.chain.SetFeeRates(chain.FeeRates{Floor: 253, Slow: 1000, Normal: 2000, Urgent: 4000})
	r.start(0)
	r.start(1)
	book := r.books(&r.nodes[0], &r.nodes[1])
	if r.town.variant.claims {
		book.paid("alice", "bob", chainAmount)
	}
	r.settle()
	rates := chain.FeeRates{Floor: 253, Slow: 2000, Normal: 4000, Urgent: 8000}
	for _, confirm := range []bool{false, true, false, true} { // the commitment and its child; the HTLC transaction
		if !confirm {
			for height, _ := r.chain.Tip(); len(r.chain.Mempool()) == 0 && height < r.town.expiry+20; height, _ = r.chain.Tip() {
				r.block(true)
			}
			rates.Normal, rates.Urgent = rates.Normal*2, rates.Urgent*2
			r.chain.SetFeeRates(rates)
			r.block(false) // and the mempool stays as it is
		}
		r.block(confirm)
	}
	r.end(book)
	if r.disk.at >= 0 && !r.disk.cut {
		r.t.Error("no power was cut")
	}
}

// end goes on until the channels are over, and does the books.
func (r *chainRun) end(book *ledger) {
	r.t.Helper()
	for from, _ := r.chain.Tip(); len(r.nodes[0].registry.each(nil))+len(r.nodes[1].registry.each(nil)) > 0; {
		r.block(true)
		if height, _ := r.chain.Tip(); height > from+600 {
			for _, n := range r.nodes {
				for _, in := range n.registry.each(nil) {
					r.t.Errorf("%s is not over at %d: %v", n.cfg.Alias, height, in.state.Load())
				}
			}
			r.t.FailNow()
		}
	}
	for range 2 {
		r.block(true)
	}
	book.check()
	for _, n := range r.nodes {
		if left := leftovers(r.t, n); len(left) > 0 {
			r.t.Errorf("%s: rows are left: %v", n.cfg.Alias, left)
		}
	}
}

// block mines the mempool, or nothing at all, and waits until everybody has done what it can. Who has lost its power is started again.
func (r *chainRun) block(confirm bool) {
	before := r.chain.Mempool()
	if confirm {
		r.mine(1, r.burn)
	} else if _, err := r.chain.MineTxs(r.burn); err != nil {
		r.t.Fatal(err)
	}
	r.settle()
	if !confirm {
		for _, tx := range before {
			if !r.pooled(func(o *wire.MsgTx) bool { return o.TxHash() == tx.TxHash() }) {
				r.replaced++
			}
		}
		r.checkLocks()
	}
}

// settle waits for both nodes, starts again who has fallen, and has the closer close.
func (r *chainRun) settle() {
	for again := true; again; {
		again = false
		for i, n := range r.nodes {
			if isDone(n) {
				if !errors.Is(n.Err(), errCut) {
					r.t.Fatalf("%s ended by itself: %v", chainNames[i], n.Err())
				}
				r.start(i)
				again = true
			}
		}
		for _, n := range r.nodes {
			r.until("the newest block", func() bool {
				height, hash := r.chain.Tip()
				n.walletMu.Lock()
				seen, seenHash := n.wallet.Tip()
				n.walletMu.Unlock()
				return seen == height && seenHash == hash || isDone(n)
			})
		}
		if ins := r.nodes[r.closer].registry.each(nil); len(ins) > 0 && ins[0].state.Load().Phase() == channel.PhaseNormal {
			_ = r.nodes[r.closer].Close(ins[0].id, true)
			again = true
		}
		r.barrier(r.nodes[0], r.nodes[1])
		again = again || isDone(r.nodes[0]) || isDone(r.nodes[1])
	}
}

// checkLocks shows that every coin that a wallet has locked, and every one that it expects, is in a transaction that was published.
func (r *chainRun) checkLocks() {
	pool := r.chain.Mempool()
	for _, n := range r.nodes {
		n.walletMu.Lock()
		all := n.wallet.Coins()
		n.walletMu.Unlock()
		for _, c := range all {
			spent := slices.ContainsFunc(pool, func(tx *wire.MsgTx) bool {
				return slices.ContainsFunc(tx.TxIn, func(in *wire.TxIn) bool { return in.PreviousOutPoint == c.Out })
			})
			made := slices.ContainsFunc(pool, func(tx *wire.MsgTx) bool { return tx.TxHash() == c.Out.Hash })
			if c.Locked != spent || c.Height == 0 && !made {
				r.t.Errorf("%s: coin %v of %d sat: locked %t, spent in the mempool %t; confirmed at %d, in the mempool %t",
					n.cfg.Alias, c.Out, c.Value, c.Locked, spent, c.Height, made)
			}
		}
	}
}
