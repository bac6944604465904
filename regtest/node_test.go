package regtest_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"lightningrod/chain/bitcoind"
	"lightningrod/node"
	"lightningrod/node/forward"
	"lightningrod/regtest"

	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/wire"
)

// burn is where blocks pay to that are for nobody.
var burn = append([]byte{0x00, 0x20}, make([]byte, 32)...)

// network is nodes that share a bitcoind; each has a connection of its own.
type network struct {
	t   *testing.T
	ctx context.Context
	btc *regtest.Bitcoin
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return &network{t: t, ctx: ctx, btc: regtest.Bitcoind(t)}
}

func (w *network) start(name string, listen ...string) *node.Node {
	w.t.Helper()
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("ROD_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("name", name)
	}
	backend, err := bitcoind.New(w.ctx, bitcoind.Config{Access: w.btc.Access, Params: &chaincfg.RegressionNetParams, Log: log})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { backend.Close() })
	seed := sha256.Sum256([]byte(name))
	n, err := node.New(node.Config{
		Dir: w.t.TempDir(), Seed: seed[:], Params: &chaincfg.RegressionNetParams, Backend: backend, Alias: name, Listen: listen,
		MinBackoff: 20 * time.Millisecond, Log: log,
		Channel: node.ChannelConfig{MinDepth: 3, ToSelfDelay: 12, MaxAcceptedHTLCs: 483, MinCapacity: 20_000, MaxCapacity: 10_000_000, FulfillMargin: 18},
		Policy:  forward.Policy{FeeBase: 1000, FeePPM: 100, CltvExpiryDelta: 144, HTLCMinimum: 1},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := n.Start(w.ctx); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { n.Stop() })
	return n
}

// wait waits for an event of a kind since the node's start, whose fields are as given.
func (w *network) wait(n *node.Node, k node.Kind, pairs ...string) node.Event {
	w.t.Helper()
	r := n.Events(n.FirstEvent())
	defer r.Close()
	for {
		ev, err := r.Next(w.ctx)
		if err != nil {
			w.t.Fatalf("waiting for %s: %v", k, err)
		}
		match := ev.Kind == k
		for i := 0; i+1 < len(pairs); i += 2 {
			match = match && ev.Fields[pairs[i]] == pairs[i+1]
		}
		if match {
			return ev
		}
	}
}

// until polls: for what is seen through no event.
func (w *network) until(what string, f func() bool) {
	w.t.Helper()
	for !f() {
		select {
		case <-w.ctx.Done():
			w.t.Fatalf("%s: %v", what, w.ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// confirm waits for a transaction in the mempool, and mines it and five blocks more.
func (w *network) confirm() *wire.MsgTx {
	w.t.Helper()
	var txs []*wire.MsgTx
	w.until("a transaction", func() bool {
		txs = w.btc.Mempool()
		return len(txs) > 0
	})
	w.btc.Mine(6, burn)
	return txs[0]
}

func confirmed(n *node.Node) int64 {
	c, _ := n.WalletBalance()
	return int64(c)
}

func outputs(tx *wire.MsgTx) (sum int64) {
	for _, out := range tx.TxOut {
		sum += out.Value
	}
	return sum
}

// TestNodesOnBitcoind has two nodes open a channel, pay and close on the chain of a real bitcoind: cooperatively, and by publishing
// the commitment. Every satoshi is accounted for.
func TestNodesOnBitcoind(t *testing.T) {
	for _, tc := range []struct {
		name  string
		force bool
	}{{"cooperative close", false}, {"force close", true}} {
		t.Run(tc.name, func(t *testing.T) { openPayClose(t, tc.force) })
	}
}

func openPayClose(t *testing.T, force bool) {
	const capacity, push, paid = 1_000_000, 300_000, 25_000
	w := newNetwork(t)
	alice, bob := w.start("alice"), w.start("bob", "127.0.0.1:0")
	_, script, err := alice.NewAddress()
	if err != nil {
		t.Fatal(err)
	}
	w.btc.Mine(1, script)
	w.btc.Mine(100, burn)
	w.until("funds", func() bool { return confirmed(alice) > 0 })
	start := confirmed(alice)

	if err := alice.Keep(bob.ID(), bob.Addrs()[0].String()); err != nil {
		t.Fatal(err)
	}
	w.wait(alice, node.PeerUp)
	id, err := alice.Open(w.ctx, node.OpenChannel{Peer: bob.ID(), Capacity: capacity, Push: 1000 * push})
	if err != nil {
		t.Fatal(err)
	}
	funding := w.confirm()
	w.wait(alice, node.ChannelUsable)
	w.wait(bob, node.ChannelUsable)
	w.until("change", func() bool { return confirmed(alice) > 0 })
	change := outputs(funding) - capacity
	if got := confirmed(alice); got != change {
		t.Errorf("alice has %d sat after the opening, her change is %d", got, change)
	}
	if fee := start - outputs(funding); fee <= 0 || fee > 5000 {
		t.Errorf("the funding transaction pays %d sat", fee)
	}

	inv, err := bob.CreateInvoice(node.InvoiceWish{Amount: 1000 * paid, Description: "tea"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alice.Pay(inv.Text, 0, 1); err != nil {
		t.Fatal(err)
	}
	w.wait(alice, node.PaymentDone)
	w.wait(bob, node.HTLCSettled)

	before, _ := w.btc.Tip()
	if err := alice.Close(id, force); err != nil {
		t.Fatal(err)
	}
	closing := w.confirm()
	if in := closing.TxIn[0].PreviousOutPoint; in.Hash != funding.TxHash() {
		t.Fatalf("transaction %v spends %v, not the channel", closing.TxHash(), in)
	}
	if !force {
		w.until("bob's coins", func() bool { return confirmed(bob) > 0 })
		w.until("alice's coins", func() bool { return confirmed(alice) > change })
		if got := confirmed(bob); got != push+paid {
			t.Errorf("bob has %d sat, want %d", got, push+paid)
		}
		if got, want := confirmed(alice), change+outputs(closing)-push-paid; got != want {
			t.Errorf("alice has %d sat, want %d", got, want)
		}
		return
	}
	w.sweeps(alice, bob, closing, push+paid)
	// Alice has the rest, whichever of her coins she paid fees with.
	want := change + capacity - push - paid - feesSince(w.btc, before) - unspentOutputs(w.btc, closing.TxHash().String())
	w.until("alice's coins", func() bool { return confirmed(alice)+confirmed(bob)-push-paid == want })
}

// sweeps mines until both have taken their balance from alice's commitment. Bob's output is theirs, and he has all of it but for a fee.
func (w *network) sweeps(alice, bob *node.Node, commitment *wire.MsgTx, theirs int64) {
	w.t.Helper()
	got := map[bool]int64{} // what sweeps paid out, by whether it is bob's
	for len(got) < 2 {
		block := w.btc.Block(w.btc.Mine(1, burn)[0])
		for _, tx := range block.Transactions {
			if in := tx.TxIn[0].PreviousOutPoint; in.Hash == commitment.TxHash() && commitment.TxOut[in.Index].Value != 330 { // an anchor
				got[commitment.TxOut[in.Index].Value == theirs] += outputs(tx)
			}
		}
		height, _ := w.btc.Tip()
		w.wait(alice, node.BlockSeen, "height", fmt.Sprint(height))
		w.wait(bob, node.BlockSeen, "height", fmt.Sprint(height))
	}
	w.until("bob's coins", func() bool { return confirmed(bob) > 0 })
	if b := confirmed(bob); b != got[true] || theirs-b > 1000 {
		w.t.Errorf("bob has %d sat, swept %d of %d", b, got[true], theirs)
	}
}
