package node

import (
	"errors"
	"fmt"
	"testing"

	"lightningrod/channel"
	"lightningrod/node/forward"
	"lightningrod/node/store"

	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// diesWhen is a disk that writes a group with a row of a table, or loses it, and fails then: nothing of the group is let out, and the node
// ends.
type diesWhen struct {
	Disk
	table store.Table
	lose  bool
}

func (d *diesWhen) Commit(group []store.Write) error {
	for _, w := range group {
		for _, op := range w {
			if op.Table == d.table && d.lose {
				return errCut
			}
			if op.Table == d.table {
				return errors.Join(d.Disk.Commit(group), errCut)
			}
		}
	}
	return d.Disk.Commit(group)
}

// onchainCase is a payment over A - LSP_a - LSP_b - B that is under way when one channel goes on chain.
type onchainCase struct {
	hop      int  // the channel: between node hop and node hop+1 of the line
	near     bool // the side nearer to A closes; else the other
	paid     bool // B claims; else it is off until all is over
	waited   bool // LSP_a held the payment first, and has released it
	restless bool // again and again a node loses its power
}

func (c onchainCase) String() string {
	s := fmt.Sprintf("%s-%s closed by ", lineNames[c.hop], lineNames[c.hop+1])
	if c.near {
		s += lineNames[c.hop]
	} else {
		s += lineNames[c.hop+1]
	}
	if c.paid {
		s += ", paid"
	} else {
		s += ", not paid"
	}
	if c.waited {
		s += ", after a hold"
	}
	if c.restless {
		s += ", with power cuts"
	}
	return s
}

// TestHTLCOnChain has each channel of a line go on chain while a payment is in all of them, by either side. If B claims, the preimage
// comes back over the chain and the payment succeeds; if it does not, the payment fails in time and everybody upstream has its money. Everybody
// ends with what it must have, less the fees of its own transactions; no other channel is closed that need not be.
func TestHTLCOnChain(t *testing.T) {
	var cases []onchainCase
	for hop := range 3 {
		for _, near := range []bool{true, false} {
			for _, paid := range []bool{true, false} {
				for _, restless := range []bool{false, true} {
					cases = append(cases, onchainCase{hop: hop, near: near, paid: paid, restless: restless})
				}
				if hop < 2 {
					cases = append(cases, onchainCase{hop: hop, near: near, paid: paid, waited: true})
				}
			}
		}
	}
	for _, c := range cases {
		t.Run(c.String(), func(t *testing.T) {
			if testing.Short() && (c.restless || c.waited || c.near != c.paid) {
				t.Skip("-short")
			}
			t.Parallel()
			newOnchainRun(t, c).play()
		})
	}
}

// onchainRun is one of these payments.
type onchainRun struct {
	*world
	onchainCase
	line    *line
	book    *ledger
	id      uint64 // of A's payment
	hash    [32]byte
	amounts [3]lnwire.MilliSatoshi // by hop
	expiry  [3]uint32
	cuts    int
}

const onchainAmount = 20_000_123

func newOnchainRun(t *testing.T, c onchainCase) *onchainRun {
	r := &onchainRun{world: newWorld(t), onchainCase: c}
	r.line = r.world.line()
	l := r.line
	r.fund(l.b)
	r.seen(l.nodes()...)
	r.book = r.books(&l.a, &l.lspA, &l.lspB, &l.b)
	return r
}

// fragile is B with a disk that fails at the moment at which B knows that it is paid.
func (r *onchainRun) fragile() *Node {
	cfg := r.line.configs[3]
	cfg.Disk = func(d Disk) Disk { return &diesWhen{Disk: d, table: store.Invoice} }
	return r.start(cfg)
}

// node is the present life of a node of the line.
func (r *onchainRun) node(i int) **Node {
	return [4]**Node{&r.line.a, &r.line.lspA, &r.line.lspB, &r.line.b}[i]
}

// between is a node's end of a hop.
func (r *onchainRun) between(i, j int) *inbox {
	peer := (*r.node(j)).ID()
	ins := (*r.node(i)).registry.each(&peer)
	if len(ins) != 1 {
		return nil
	}
	return ins[0]
}

func (r *onchainRun) play() {
	r.pay()
	r.shut()
	if r.paid {
		r.wake()
		r.until("A to have the preimage", func() bool {
			if r.state() != forward.PaymentPending {
				return true
			}
			r.tick()
			return false
		})
		if got := r.state(); got != forward.PaymentSucceeded {
			r.t.Fatalf("the payment is %v", got)
		}
	}
	r.finish()
	r.judge()
}

// pay has A pay, and B fall when the HTLC is committed everywhere.
func (r *onchainRun) pay() {
	l := r.line
	inv, err := l.b.CreateInvoice(InvoiceWish{Amount: onchainAmount, Description: "on chain"})
	if err != nil {
		r.t.Fatal(err)
	}
	r.hash = inv.Hash
	l.b.Stop()
	if r.waited {
		r.id, err = l.a.SendAsync(AsyncPay{Invoice: inv.Text, LSP: l.lspA.ID()})
		r.wait(l.lspA, 0, HoldHolding)
		r.wait(l.lspB, 0, MessageKept)
		l.b = r.fragile()
	} else {
		l.b = r.fragile()
		r.usable(l.nodes()...)
		r.id, err = l.a.Pay(inv.Text, 0, 1)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	<-l.b.Done()
	if err := l.b.Err(); !errors.Is(err, errCut) {
		r.t.Fatalf("B ended with %v", err)
	}
	for hop := range 3 {
		s := r.between(hop, hop+1).state.Load()
		if len(s.Offered()) != 1 {
			r.t.Fatalf("hop %d has %d HTLCs", hop, len(s.Offered()))
		}
		r.amounts[hop], r.expiry[hop] = s.Offered()[0].HTLC.Amount, s.Offered()[0].HTLC.Expiry
	}
	if r.paid {
		for hop := range 3 {
			r.book.paid(lineNames[hop], lineNames[hop+1], r.amounts[hop])
		}
	}
}

// wake starts B, with a good disk.
func (r *onchainRun) wake() {
	if isDone(r.line.b) {
		r.line.b = r.start(r.line.configs[3])
	}
}

// shut puts the commitment of one side on chain.
func (r *onchainRun) shut() {
	i, j := r.hop, r.hop+1
	if !r.near {
		i, j = j, i
	}
	if i == 3 { // B must not meet LSP_b, or it settles off chain
		r.net.set("LSP_b", "")
		r.wake()
	}
	if err := (*r.node(i)).Close(r.between(i, j).id, true); err != nil {
		r.t.Fatal(err)
	}
	funding := r.between(i, j).state.Load().Funding()
	r.until("the commitment", func() bool {
		return r.pooled(func(tx *wire.MsgTx) bool { return tx.TxIn[0].PreviousOutPoint == funding })
	})
	if i == 3 && !r.paid {
		r.line.b.Crash()
	}
	r.net.set("LSP_b", r.line.lspB.Addrs()[0].String())
	r.tick()
}

// tick is a block, after which somebody may lose its power.
func (r *onchainRun) tick() {
	r.step(r.line.nodes()...)
	if !r.restless || len(r.chain.Mempool()) == 0 {
		return
	}
	i := r.cuts % 4
	r.cuts++
	n := r.node(i)
	if isDone(*n) {
		return
	}
	(*n).Crash()
	*n = r.start(r.line.configs[i])
	r.barrier(r.line.nodes()...)
}

func (r *onchainRun) state() forward.PaymentState {
	p, ok := r.line.a.Payment(r.id)
	if !ok {
		r.t.Fatal("A does not know its payment")
	}
	return p.State
}

// finish mines until the payment has an end, and every channel that was closed is forgotten.
func (r *onchainRun) finish() {
	for r.state() == forward.PaymentPending {
		r.tick()
		if height, _ := r.chain.Tip(); height > r.expiry[0]+100 {
			r.t.Fatalf("still pending at %d; the HTLCs expired at %v\n%s", height, r.expiry, r.describe())
		}
	}
	r.wake()
	for from, _ := r.chain.Tip(); !r.quieted(); {
		r.tick()
		if height, _ := r.chain.Tip(); height > from+600 {
			r.t.Fatalf("still not over at %d\n%s", height, r.describe())
		}
	}
	r.until("the wallets to be at rest", func() bool { return len(r.chain.Mempool()) == 0 })
}

// quieted says whether all that is left are channels that can be used.
func (r *onchainRun) quieted() bool {
	for _, n := range r.line.nodes() {
		for _, in := range n.registry.each(nil) {
			if s := in.state.Load(); s.Phase() != channel.PhaseNormal || len(s.Offered())+len(s.Received()) > 0 {
				return false
			}
		}
	}
	return true
}

// judge checks who has what, which channels are left, and when claims came.
func (r *onchainRun) judge() {
	want := forward.PaymentFailed
	if r.paid {
		want = forward.PaymentSucceeded
	}
	if got := r.state(); got != want {
		r.t.Errorf("the payment is %v, want %v", got, want)
	}
	r.book.check()
	left := 0
	for _, n := range r.line.nodes() {
		left += len(n.registry.each(nil))
	}
	closed := 1
	if !r.paid && r.hop != 2 {
		closed = 2 // LSP_b must take back what B does not answer
	}
	if left != 2*(3-closed) {
		r.t.Errorf("%d ends of channels are left, want %d", left, 2*(3-closed))
	}
	for hop := range 3 {
		for _, c := range r.book.claims(r.hash, r.expiry[hop]) {
			switch {
			case c.paid && c.height >= r.expiry[r.hop]:
				r.t.Errorf("claimed at %d, the HTLC expired at %d", c.height, r.expiry[r.hop])
			case !c.paid && c.height > r.expiry[hop]+18:
				r.t.Errorf("hop %d was taken back at %d, and expired at %d", hop, c.height, r.expiry[hop])
			}
		}
	}
	for _, n := range r.line.nodes() {
		for range 100 {
			if len(leftovers(r.t, n)) == 0 {
				break
			}
			r.barrier(n)
		}
		if left := leftovers(r.t, n); len(left) > 0 {
			r.t.Errorf("%s: rows are left: %v", n.cfg.Alias, left)
		}
	}
}

func (r *onchainRun) describe() (s string) {
	for _, n := range r.line.nodes() {
		for _, in := range n.registry.each(nil) {
			s += fmt.Sprintf("%s: %v\n", n.cfg.Alias, in.state.Load())
		}
	}
	return s
}
