package node

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"lightningrod/chain"
	"lightningrod/chain/embedded"
	"lightningrod/channel/onchain"
	"lightningrod/node/forward"
	"lightningrod/node/store"

	"github.com/btcsuite/btcd/wire"
)

// plain is a backend that knows nothing of packages.
type plain struct{ Backend }

// TestChildPaysForItsParent: a commitment that the mempools do not take for its fee gets in together with its child, where the backend
// can; where it cannot, both get in as soon as the mempools have room, since they are published with every block.
func TestChildPaysForItsParent(t *testing.T) {
	for _, packages := range []bool{true, false} {
		w := newWorld(t)
		w.chain.SetFeeRates(chain.FeeRates{Floor: 253, Slow: 1000, Normal: 1000, Urgent: 1000})
		cfg := w.config("alice", false)
		if !packages {
			cfg.Backend = plain{w.chain}
		}
		a, b := w.start(cfg), w.start(w.config("bob", true))
		w.fund(a)
		id := w.open(a, b, false)
		w.seen(a, b)
		book := w.books(&a, &b)
		w.chain.SetFeeRates(chain.FeeRates{Floor: 3000, Slow: 4000, Normal: 4000, Urgent: 4000})
		w.chain.SetMempoolMin(3000)
		w.step(a, b)
		bob := b.cfg
		b.Stop() // else it answers with a commitment of its own
		if err := a.Close(id, true); err != nil {
			t.Fatal(err)
		}
		w.barrier(a)
		if got := len(w.chain.Mempool()); got != map[bool]int{true: 2}[packages] {
			t.Fatalf("packages %t: %d transactions in the mempool", packages, got)
		}
		if !packages {
			w.chain.SetMempoolMin(0)
			w.step(a)
			if got := len(w.chain.Mempool()); got != 2 {
				t.Fatalf("%d transactions in the mempool when it has room", got)
			}
		}
		w.chain.SetMempoolMin(0)
		b = w.start(bob)
		w.over(a, b)
		w.step(a, b)
		book.check()
	}
}

// TestCoinsGone: the coin that pays for a child leaves the chain in a reorganisation, for something else has taken its place. The commitment
// gets another child, with another coin.
func TestCoinsGone(t *testing.T) {
	w := newWorld(t)
	w.chain.SetFeeRates(chain.FeeRates{Floor: 253, Slow: 1000, Normal: 1000, Urgent: 1000})
	a, b := w.start(w.config("alice", false)), w.start(w.config("bob", true))
	w.fund(a)
	id := w.open(a, b, false)
	from, _ := w.chain.Tip()
	w.mine(2, embedded.AnyoneCanSpend)
	w.mine(100, w.burn)
	_, script, err := a.NewAddress()
	if err != nil {
		t.Fatal(err)
	}
	deposit := wire.NewMsgTx(2) // more than the other coin, so that it is taken first
	deposit.AddTxOut(wire.NewTxOut(-10_000, script))
	for i := range uint32(2) {
		block, err := w.chain.Block(from + 1 + i)
		if err != nil {
			t.Fatal(err)
		}
		reward := block.Txs[0]
		deposit.AddTxIn(&wire.TxIn{PreviousOutPoint: wire.OutPoint{Hash: reward.TxHash()}, Witness: embedded.AnyoneWitness()})
		deposit.TxOut[0].Value += reward.TxOut[0].Value
	}
	w.chain.SetFeeRates(chain.FeeRates{Floor: 253, Slow: 4000, Normal: 4000, Urgent: 4000})
	if _, err := w.chain.MineTxs(w.burn, deposit); err != nil {
		t.Fatal(err)
	}
	w.seen(a, b)
	b.Stop() // else it answers with a commitment of its own
	if err := a.Close(id, true); err != nil {
		t.Fatal(err)
	}
	child := func() *wire.MsgTx {
		for _, tx := range w.chain.Mempool() {
			if len(tx.TxIn) == 2 && tx.TxHash() != deposit.TxHash() {
				return tx
			}
		}
		return nil
	}
	w.until("a child", func() bool { return child() != nil })
	if child().TxIn[1].PreviousOutPoint.Hash != deposit.TxHash() {
		t.Fatal("the child does not spend the deposit")
	}
	if err := w.chain.Reorg(1); err != nil {
		t.Fatal(err)
	}
	other := deposit.Copy()
	other.TxOut[0].PkScript = embedded.AnyoneCanSpend
	if _, err := w.chain.MineTxs(w.burn, other); err != nil {
		t.Fatal(err)
	}
	w.until("another child", func() bool { return child() != nil })
	if child().TxIn[1].PreviousOutPoint.Hash == deposit.TxHash() {
		t.Fatal("the child spends what is not there")
	}
	b = w.start(b.cfg)
	w.over(a, b)
}

// logged is a log that counts the lines with a text.
type logged struct {
	slog.Handler
	mu    *sync.Mutex
	text  string
	lines *int
}

func (l logged) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if strings.Contains(r.Message, l.text) {
		*l.lines++
	}
	return nil
}

func (logged) Enabled(context.Context, slog.Level) bool { return true }
func (l logged) WithAttrs([]slog.Attr) slog.Handler     { return l }
func (l logged) WithGroup(string) slog.Handler          { return l }

// TestNoCoins: who has no coins for its claim says so once, asks again with every block, and claims when there are some.
func TestNoCoins(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(w.config("alice", false)), w.start(w.config("bob", true))
	w.fund(a)
	w.open(a, b, false)
	book := w.books(&a, &b)
	inv, err := b.CreateInvoice(InvoiceWish{Amount: 50_000_000})
	if err != nil {
		t.Fatal(err)
	}
	cfg := b.cfg
	b.Stop()
	fragile := cfg
	fragile.Disk = func(d Disk) Disk { return &diesWhen{Disk: d, table: store.Invoice} }
	b = w.start(fragile)
	w.usable(a, b)
	if _, err := a.Pay(inv.Text, 0, 1); err != nil {
		t.Fatal(err)
	}
	<-b.Done()
	book.paid("alice", "bob", 50_000_000)
	aliceCfg := a.cfg
	a.Stop() // so that bob cannot settle off chain
	lines := 0
	cfg.Log = slog.New(logged{mu: &sync.Mutex{}, text: "no coins", lines: &lines})
	b = w.start(cfg)
	id := b.registry.each(nil)[0].id
	if err := b.Close(id, true); err != nil {
		t.Fatal(err)
	}
	w.barrier(b)
	for range 4 {
		w.step(b)
	}
	a = w.start(aliceCfg)
	w.step(a, b)
	claims := func() bool {
		return w.pooled(func(tx *wire.MsgTx) bool { return shows(tx.TxIn[0], inv.Hash) })
	}
	if claims() || lines != 1 {
		t.Fatalf("bob claims %t, and said %d times that there are no coins", claims(), lines)
	}
	_, script, err := b.NewAddress()
	if err != nil {
		t.Fatal(err)
	}
	const gift = 40_000
	sent, err := a.Withdraw(w.ctx, Withdrawal{Script: script, Amount: gift})
	if err != nil {
		t.Fatal(err)
	}
	book.gift(sent.Tx.TxHash(), "alice", "bob", gift)
	w.step(a, b)
	if !claims() {
		t.Fatal("bob has coins and does not claim")
	}
	w.over(a, b)
	w.step(a, b)
	book.check()
}

// TestManyClaims: of the one coin that a wallet has, the child of the commitment makes as many as there are HTLCs to take back, so that
// all of them are claimed in one block.
func TestManyClaims(t *testing.T) {
	const parts = 6
	w := newWorld(t)
	a, b := w.start(w.config("alice", false)), w.start(w.config("bob", true))
	w.fund(a)
	w.open(a, b, false)
	book := w.books(&a, &b)
	inv, err := b.CreateInvoice(InvoiceWish{Amount: 120_000_000})
	if err != nil {
		t.Fatal(err)
	}
	cfg := b.cfg
	b.Stop()
	cfg.Disk = func(d Disk) Disk { return &diesWhen{Disk: d, table: store.Invoice, lose: true} }
	b = w.start(cfg)
	w.usable(a, b)
	id, err := a.Pay(inv.Text, 0, parts)
	if err != nil {
		t.Fatal(err)
	}
	<-b.Done()
	in := a.registry.each(nil)[0]
	if n := in.pending(); n != parts || len(a.Coins()) != 1 {
		t.Fatalf("%d HTLCs, %d coins", n, len(a.Coins()))
	}
	w.until("the commitment", func() bool {
		w.step(a)
		return in.state.Load().OnChain() != nil
	})
	claims := make(map[uint32]int) // by height
	for range 10 {
		w.step(a)
		height, _ := w.chain.Tip()
		block, err := w.chain.Block(height)
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range block.Txs {
			if tx.LockTime != 0 && tx.LockTime < 500_000_000 {
				claims[height]++
			}
		}
	}
	if len(claims) != 1 {
		t.Fatalf("HTLC-timeout transactions by height: %v, expected all %d in one block", claims, parts)
	}
	w.until("the failure", func() bool {
		w.step(a)
		p, _ := a.Payment(id)
		return p.State == forward.PaymentFailed
	})
	cfg.Disk = nil
	b = w.start(cfg)
	w.over(a, b)
	w.step(a, b)
	book.check()
}

// narrow is a backend that shows nothing of its mempool but what is asked for.
type narrow struct{ *embedded.Chain }

func (narrow) Mempool() []*wire.MsgTx { return nil }

func (n narrow) Spending(_ context.Context, outs []wire.OutPoint) (list []*wire.MsgTx, err error) {
	for _, tx := range n.Chain.Mempool() {
		if slices.ContainsFunc(tx.TxIn, func(in *wire.TxIn) bool { return slices.Contains(outs, in.PreviousOutPoint) }) {
			list = append(list, tx)
		}
	}
	return list, nil
}

// TestPreimageInTheMempool: a preimage that no block has yet goes upstream, and makes the payment.
func TestPreimageInTheMempool(t *testing.T) {
	for _, spending := range []bool{false, true} {
		r := newOnchainRun(t, onchainCase{hop: 2, near: true, paid: true})
		if spending {
			l := r.line
			l.configs[2].Backend = narrow{r.chain}
			l.lspB.Stop()
			l.lspB = r.start(l.configs[2])
			r.usable(l.nodes()...)
		}
		r.pay()
		r.shut()
		height, _ := r.chain.Tip()
		r.wake()
		r.until("A to have the preimage", func() bool { return r.state() != forward.PaymentPending })
		if now, _ := r.chain.Tip(); now != height || r.state() != forward.PaymentSucceeded {
			t.Fatalf("the payment is %v at height %d, was closed at %d", r.state(), now, height)
		}
	}
}

// TestRevokedCommitment has alice publish one of the commitments that she has revoked, from a copy of her files made while an HTLC was in
// the channel. Bob takes everything; he reads what the HTLC was from his files, also if he falls in between.
func TestRevokedCommitment(t *testing.T) {
	for _, falls := range []bool{false, true} {
		w := newWorld(t)
		a, b, _ := w.pair()
		w.fund(b)
		inv, err := b.CreateInvoice(InvoiceWish{Amount: 50_000_000})
		if err != nil {
			t.Fatal(err)
		}
		cfgA, cfgB := a.cfg, b.cfg
		b.Stop()
		fragile := cfgB
		fragile.Disk = func(d Disk) Disk { return &diesWhen{Disk: d, table: store.Invoice, lose: true} }
		b = w.start(fragile)
		w.usable(a, b)
		id, err := a.Pay(inv.Text, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		<-b.Done()
		a.Stop()
		old := filepath.Join(t.TempDir(), "old")
		if err := os.CopyFS(old, os.DirFS(cfgA.Dir)); err != nil {
			t.Fatal(err)
		}
		a, b = w.start(cfgA), w.start(cfgB)
		w.usable(a, b)
		if failure := w.outcome(a, id); failure != "" {
			t.Fatal(failure)
		}
		for range 3 {
			if failure := w.pay(a, b, 10_000_000, 1); failure != "" {
				t.Fatal(failure)
			}
		}
		w.quiet(a, b)
		a.Stop()
		hadB := coins(b)
		if revokedRows(t, b) < 3 {
			t.Errorf("bob has kept %d revoked commitments", revokedRows(t, b))
		}
		height, _ := w.chain.Tip()
		cfgA.Dir, cfgA.Dialer = old, nowhere{}
		a = w.start(cfgA)
		if err := a.Close(a.registry.each(nil)[0].id, true); err != nil {
			t.Fatal(err)
		}
		w.until("the commitment", func() bool { return len(w.chain.Mempool()) > 0 })
		if falls {
			b.Crash()
			w.mine(1, w.burn)
			b = w.start(cfgB)
			b.Crash() // perhaps before he has read what it was
			b = w.start(cfgB)
		} else {
			w.mine(1, w.burn)
		}
		w.seen(b)
		s := b.registry.each(nil)[0].state.Load().OnChain()
		if owner, _, _, _ := s.Closed(); owner != onchain.Cheat {
			t.Fatalf("alice published %v", owner)
		}
		book := &ledger{w: w, height: height, nodes: map[string]**Node{"alice": &a, "bob": &b}}
		commitment := book.block(height + 1).Txs[1]
		left := func(in func(wire.OutPoint) bool) (n int) {
			for i, out := range commitment.TxOut {
				if out.Value != anchor && !in(wire.OutPoint{Hash: commitment.TxHash(), Index: uint32(i)}) {
					n++
				}
			}
			return n
		}
		w.until("the penalty", func() bool {
			n := left(func(out wire.OutPoint) bool {
				return w.pooled(func(tx *wire.MsgTx) bool { return tx.TxIn[0].PreviousOutPoint == out && b.gets(tx) })
			})
			return n == 0
		})
		w.step(a, b)
		if n := left(func(out wire.OutPoint) bool { by := book.spender(out); return by != nil && b.gets(by) }); n != 0 {
			t.Errorf("%d outputs are not taken in the first block", n)
		}
		w.over(a, b)
		w.step(a, b)
		want := 1_000_000 - book.fee(commitment)
		for _, out := range commitment.TxOut {
			if out.Value == anchor {
				want -= anchor
			}
		}
		book.eachTx(func(tx *wire.MsgTx) {
			if b.gets(tx) {
				want -= book.fee(tx)
			}
		})
		if got := coins(b) - hadB; got != want {
			t.Errorf("bob got %d sat, want %d: all but fees and anchors", got, want)
		}
		if n := revokedRows(t, b); n != 0 {
			t.Errorf("%d rows of revoked commitments are left", n)
		}
	}
}

func revokedRows(t *testing.T, n *Node) (count int) {
	t.Helper()
	if err := n.store.Load(store.Revoked, func(_, _ []byte) error { count++; return nil }); err != nil {
		t.Fatal(err)
	}
	return count
}

// bench is a backend that takes down what it is given, and refuses some of it.
type bench struct {
	Backend
	given  []string
	refuse map[string]bool
	names  map[*wire.MsgTx]string
}

func (b *bench) Publish(_ context.Context, tx *wire.MsgTx) error {
	return b.PublishPackage(context.Background(), tx)
}

func (b *bench) PublishPackage(_ context.Context, txs ...*wire.MsgTx) error {
	var names []string
	for _, tx := range txs {
		names = append(names, b.names[tx])
	}
	text := strings.Join(names, "+")
	b.given = append(b.given, text)
	if b.refuse[text] {
		return errors.New("refused")
	}
	return nil
}

func TestPublications(t *testing.T) {
	b := &bench{names: map[*wire.MsgTx]string{}, refuse: map[string]bool{"parent": true}}
	log := &bytes.Buffer{}
	ps := newPublications(b, slog.New(slog.NewTextHandler(log, nil)))
	tx := func(name string, ins ...wire.OutPoint) *wire.MsgTx {
		tx := wire.NewMsgTx(2)
		for _, in := range ins {
			tx.AddTxIn(&wire.TxIn{PreviousOutPoint: in})
		}
		tx.AddTxOut(wire.NewTxOut(int64(len(b.names)+1), nil))
		b.names[tx] = name
		return tx
	}
	out := func(n byte) wire.OutPoint { return wire.OutPoint{Hash: [32]byte{n}} }
	of := func(tx *wire.MsgTx) wire.OutPoint { return wire.OutPoint{Hash: tx.TxHash()} }
	want := func(what string, given ...string) {
		t.Helper()
		ps.broadcast(t.Context(), ps.all())
		slices.Sort(b.given)
		slices.Sort(given)
		if !slices.Equal(b.given, given) {
			t.Errorf("%s: published %v, want %v", what, b.given, given)
		}
		b.given = nil
	}
	parent := tx("parent", out(1))
	child := tx("child", of(parent), out(2))
	other := tx("other", out(3))
	ps.add(7, parent)
	ps.add(7, child)
	ps.add(8, other)
	want("a child with its parent", "parent", "parent+child", "other")
	if log.Len() > 0 {
		t.Errorf("a parent's error is said although its child pays for it: %s", log)
	}
	better := tx("better", of(parent), out(4))
	ps.add(7, better)
	want("a newer child in place of the one before", "parent", "parent+better", "other")
	foreign := tx("foreign", out(3))
	ps.add(7, foreign)
	want("a conflict of another owner changes nothing", "parent", "parent+better", "other", "foreign")
	ps.connect(chain.Block{Height: 100, Txs: []*wire.MsgTx{parent}})
	want("what is confirmed is not published", "better", "other", "foreign")
	ps.connect(chain.Block{Height: 101, Txs: []*wire.MsgTx{other}})
	want("nor what conflicts with it", "better")
	ps.disconnect(101)
	want("until its block leaves the chain", "better", "other", "foreign")
	ps.connect(chain.Block{Height: 101, Txs: []*wire.MsgTx{other, better}})
	ps.connect(chain.Block{Height: 102 + kept})
	if len(ps.list) != 0 {
		t.Errorf("%d are remembered after %d blocks", len(ps.list), kept)
	}
	ps.add(8, other)
	ps.forget(8)
	want("nothing of an owner that is gone")
	b.refuse["alone"] = true
	ps.add(9, tx("alone", out(9)))
	want("what is refused is tried again", "alone")
	want("and again", "alone")
	if n := strings.Count(log.String(), "refused"); n != 1 {
		t.Errorf("said %d times: %s", n, log)
	}
}
