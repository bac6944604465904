package node

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lightningrod/chain"
	"lightningrod/node/forward"
	"lightningrod/node/invoice"

	"github.com/lightningnetwork/lnd/lnwire"
)

// pay has from pay to, and waits for the end. It returns the reason if it failed.
func (w *world) pay(from, to *Node, amount lnwire.MilliSatoshi, parts int) (failure string) {
	w.t.Helper()
	inv, err := to.CreateInvoice(InvoiceWish{Amount: amount, Description: "test"})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.payText(from, inv.Text, parts)
}

func (w *world) payText(from *Node, text string, parts int) (failure string) {
	w.t.Helper()
	id, err := from.Pay(text, 0, parts)
	if err != nil {
		return err.Error()
	}
	return w.outcome(from, id)
}

// outcome waits for the end of a payment, and says why its last part failed.
func (w *world) outcome(from *Node, id uint64) (failure string) {
	w.t.Helper()
	r := from.Events(0)
	defer r.Close()
	for {
		ev, err := r.Next(w.ctx)
		if err != nil {
			w.t.Fatalf("payment %d: %v", id, err)
		}
		switch {
		case ev.Fields["payment"] != fmt.Sprint(id):
		case ev.Kind == PartFailed:
			failure = ev.Fields["reason"]
		case ev.Kind == PaymentFailed && failure == "":
			return ev.Fields["reason"]
		case ev.Kind == PaymentFailed:
			return failure
		case ev.Kind == PaymentDone:
			p, _ := from.Payment(id)
			if sha256.Sum256(p.Preimage[:]) != p.Hash {
				w.t.Fatal("a preimage is not the invoice's")
			}
			return ""
		}
	}
}

// purse is what nodes have in all their channels together.
func (w *world) purses(nodes ...*Node) map[string]lnwire.MilliSatoshi {
	has := map[string]lnwire.MilliSatoshi{}
	for _, n := range nodes {
		for _, in := range n.registry.each(nil) {
			local, _ := in.state.Load().Balance()
			has[n.cfg.Alias] += local
		}
	}
	return has
}

// wantPurses waits until no HTLC is left and everybody has what it should.
func (w *world) wantPurses(want map[string]lnwire.MilliSatoshi, nodes ...*Node) {
	w.t.Helper()
	w.quiet(nodes...)
	if got := w.purses(nodes...); !maps.Equal(got, want) {
		w.t.Fatalf("balances %v, want %v", got, want)
	}
}

// moved is purses after a payment over a line in which all parts go the same way.
func moved(purses map[string]lnwire.MilliSatoshi, way []*Node, parts ...lnwire.MilliSatoshi) {
	for _, amount := range parts {
		purses[way[len(way)-1].cfg.Alias] += amount
		for i := len(way) - 2; i > 0; i-- {
			purses[way[i].cfg.Alias] += withFee(amount) - amount
			amount = withFee(amount)
		}
		purses[way[0].cfg.Alias] -= amount
	}
}

// reversed is a line from its other end.
func reversed(way []*Node) []*Node {
	way = slices.Clone(way)
	slices.Reverse(way)
	return way
}

func TestForwards(t *testing.T) {
	w := newWorld(t)
	l := w.line()
	way := l.nodes()
	want := w.purses(way...)
	for _, test := range []struct {
		name  string
		way   []*Node
		parts []lnwire.MilliSatoshi
	}{
		{"there", way, []lnwire.MilliSatoshi{20_000_000}},
		{"back", reversed(way), []lnwire.MilliSatoshi{12_345_678}},
		{"three parts", way, []lnwire.MilliSatoshi{10_000_000, 10_000_000, 10_000_000}},
		{"a satoshi", reversed(way), []lnwire.MilliSatoshi{1000}},
		{"two hops", way[:3], []lnwire.MilliSatoshi{5_000_000}},
		{"one hop", way[2:], []lnwire.MilliSatoshi{5_000_001}},
	} {
		t.Run(test.name, func(t *testing.T) {
			total := lnwire.MilliSatoshi(0)
			for _, p := range test.parts {
				total += p
			}
			if failure := w.pay(test.way[0], test.way[len(test.way)-1], total, len(test.parts)); failure != "" {
				t.Fatal(failure)
			}
			moved(want, test.way, test.parts...)
			w.wantPurses(want, way...)
		})
	}
}

// TestFailures has a line for each way to fail, and what the payer reads of it.
func TestFailures(t *testing.T) {
	w := newWorld(t)
	l := w.line()
	way := l.nodes()
	want := w.purses(way...)
	known, err := l.b.CreateInvoice(InvoiceWish{Amount: 10_000_000, Description: "known"})
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := invoice.Decode(known.Text, l.b.cfg.Params)
	if err != nil {
		t.Fatal(err)
	}
	// forge is an invoice of B that B does not know as it stands.
	forge := func(change func(*invoice.Invoice)) string {
		inv := *decoded
		change(&inv)
		text, err := invoice.New(inv, l.b.cfg.Params, l.b.keys.identity)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for _, test := range []struct {
		name, text, want string
	}{
		{"unknown hash", forge(func(i *invoice.Invoice) { i.Hash[0] ^= 1 }), "hop 2: incorrect_or_unknown_payment_details"},
		{"amount too low", forge(func(i *invoice.Invoice) { i.Amount = 9_999_999 }), "hop 2: incorrect_or_unknown_payment_details"},
		{"wrong secret", forge(func(i *invoice.Invoice) { i.Secret[0] ^= 1 }), "hop 2: incorrect_or_unknown_payment_details"},
		{"expired", forge(func(i *invoice.Invoice) { i.Created = i.Created.Add(-48 * time.Hour) }), "expired"},
		{"more than there is", forge(func(i *invoice.Invoice) { i.Amount = 900_000_000 }), "route"},
		{"unknown channel of the payee", forge(func(i *invoice.Invoice) {
			i.Hints = slices.Clone(i.Hints)
			i.Hints[0] = slices.Clone(i.Hints[0])
			i.Hints[0][0].Channel.TxIndex ^= 0xff00
		}), "hop 1: unknown_next_peer"},
		{"fee too low", forge(func(i *invoice.Invoice) {
			i.Hints = slices.Clone(i.Hints)
			i.Hints[0] = slices.Clone(i.Hints[0])
			i.Hints[0][0].FeeBase = 0
		}), "hop 1: fee_insufficient (htlc_msat"},
		{"cltv_expiry_delta too low", forge(func(i *invoice.Invoice) {
			i.Hints = slices.Clone(i.Hints)
			i.Hints[0] = slices.Clone(i.Hints[0])
			i.Hints[0][0].CltvDelta = 10
		}), "hop 1: incorrect_cltv_expiry (cltv_expiry"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if failure := w.payText(l.a, test.text, 1); !strings.Contains(failure, test.want) {
				t.Errorf("%q, want %q", failure, test.want)
			}
			told := !strings.HasPrefix(test.want, "hop") // was refused at once
			for _, p := range l.a.Payments() {
				p, _ := l.a.Payment(p.ID)
				f := p.Failure
				told = told || f != nil && strings.HasPrefix(f.String(), test.want) && f.Node == way[f.Hop+1].ID() && strings.Contains(f.Code, "_")
			}
			if !told {
				t.Errorf("no payment tells %q", test.want)
			}
			w.wantPurses(want, way...)
		})
	}
	t.Run("payee away", func(t *testing.T) {
		l.b.Stop()
		w.until("B to be gone", func() bool { return !l.lspB.Connected(l.b.ID()) })
		if failure := w.payText(l.a, known.Text, 1); !strings.Contains(failure, "hop 1: temporary_channel_failure") {
			t.Errorf("%q", failure)
		}
	})
	t.Run("and it can still be paid", func(t *testing.T) {
		l.b = w.start(l.configs[3])
		w.usable(l.b, l.lspB)
		if failure := w.payText(l.a, known.Text, 1); failure != "" {
			t.Error(failure)
		}
		if failure := w.payText(l.a, known.Text, 1); failure == "" {
			t.Error("an invoice was paid twice")
		}
		moved(want, way, 10_000_000)
		w.wantPurses(want, l.nodes()...)
	})
}

// TestHundredAtOnce has the line carry a hundred payments at the same time, fifty each way, while update_fee goes on.
func TestHundredAtOnce(t *testing.T) {
	w := newWorld(t)
	l := w.line()
	way := l.nodes()
	want := w.purses(way...)
	// So that both ends have enough.
	if failure := w.pay(l.a, l.b, 200_000_000, 1); failure != "" {
		t.Fatal(failure)
	}
	moved(want, way, 200_000_000)
	var wg sync.WaitGroup
	for i := range 100 {
		way, amount := way, lnwire.MilliSatoshi(1_000_000+i)
		if i%2 == 1 {
			way = reversed(way)
		}
		moved(want, way, amount)
		wg.Go(func() {
			if failure := w.pay(way[0], way[3], amount, 1); failure != "" {
				t.Errorf("payment %d: %s", i, failure)
			}
		})
		if i%25 == 0 {
			rate := chain.FeePerKw(1500 + 500*(i/25%2))
			w.chain.SetFeeRates(chain.FeeRates{Floor: 253, Slow: 253, Normal: rate, Urgent: 2500})
		}
	}
	wg.Wait()
	w.wantPurses(want, way...)
}

// TestDisorder pays both ways while connections are cut and nodes are stopped or lose their power, at moments drawn by a seed.
// A payment may fail, for instance because a peer is away; then nobody has lost or won anything by it.
func TestDisorder(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	l := w.line()
	want := w.purses(l.nodes()...)
	nodes := l.nodes()
	payments := 60
	if testing.Short() {
		payments = 20
	}

	type paid struct {
		from, to int
		amount   lnwire.MilliSatoshi
		hash     [32]byte
	}
	var all []paid
	restart := func(i int) {
		if rng.IntN(2) == 0 {
			nodes[i].Crash()
		} else {
			nodes[i].Stop()
		}
		nodes[i] = w.start(l.configs[i])
	}
	for k := range payments {
		p := paid{from: 0, to: 3, amount: lnwire.MilliSatoshi(1_000_000 + k)}
		if k%2 == 1 {
			p.from, p.to = 3, 0
		}
		inv, err := nodes[p.to].CreateInvoice(InvoiceWish{Amount: p.amount, Description: "disorder"})
		if err != nil {
			t.Fatal(err)
		}
		p.hash = inv.Hash
		if _, err := nodes[p.from].Pay(inv.Text, 0, 1+rng.IntN(2)); err == nil {
			all = append(all, p)
		}
		for range rng.IntN(2000) { // some time passes, never the same
			w.chain.Tip()
		}
		switch i := rng.IntN(4); rng.IntN(10) {
		case 0, 1:
			j := max(i, 1)
			nodes[j].Disconnect(nodes[j-1].ID())
		case 2:
			restart(i)
		default: // nobody is disturbed until everything is usable again
			w.usable(nodes...)
		}
	}
	w.usable(nodes...)
	w.quiet(nodes...)

	succeeded := 0
	for _, p := range all {
		paid, received := false, false
		for _, x := range nodes[p.from].Payments() {
			if x.Hash == p.hash {
				paid = x.State == forward.PaymentSucceeded
				if x.State == forward.PaymentPending {
					t.Errorf("the payment of %d msat is still pending", p.amount)
				}
			}
		}
		nodes[p.to].brain.mu.Lock()
		inv, _ := nodes[p.to].brain.forward.Invoice(p.hash)
		nodes[p.to].brain.mu.Unlock()
		received = inv.State == forward.InvoicePaid
		if paid != received {
			t.Errorf("%d msat: the payer says paid %v, the payee %v", p.amount, paid, received)
		}
		if !received {
			continue
		}
		succeeded++
		parts := make([]lnwire.MilliSatoshi, len(inv.Parts))
		for i, part := range inv.Parts {
			parts[i] = part.Amount
		}
		way := slices.Clone(nodes)
		if p.from == 3 {
			slices.Reverse(way)
		}
		moved(want, way, parts...)
	}
	w.wantPurses(want, nodes...)
	t.Logf("%d of %d payments succeeded", succeeded, payments)
	for _, n := range nodes {
		w.until("rows of "+n.cfg.Alias+" to go", func() bool {
			if w.ctx.Err() != nil {
				t.Log(leftovers(t, n))
			}
			return len(leftovers(t, n)) == 0
		})
	}
}

// TestA11_NothingNewWhenBlocksAreFull: while the urgent estimate is above the bound an LSP forwards nothing new; payments to itself, and all that was
// under way, are not concerned.
func TestA11_NothingNewWhenBlocksAreFull(t *testing.T) {
	w := newWorld(t)
	l := w.line()
	full := func(urgent chain.FeePerKw) {
		w.chain.SetFeeRates(chain.FeeRates{Floor: 253, Slow: 500, Normal: 500, Urgent: urgent})
		w.step(l.nodes()...)
	}
	pay := func(to *Node, want string) {
		t.Helper()
		if got := w.pay(l.a, to, 1_000_000, 1); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("outcome %q, want %q", got, want)
		}
	}
	pay(l.b, "")
	full(DefaultCongestedAbove * 2)
	pay(l.b, "temporary_channel_failure")
	pay(l.lspA, "")
	full(DefaultCongestedAbove / 2)
	pay(l.b, "")
}
