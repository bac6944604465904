package node

import (
	"strings"
	"testing"

	"lightningrod/channel"

	"github.com/btcsuite/btcd/btcutil"
)

// coins is what a node's wallet has, confirmed or not.
func coins(n *Node) btcutil.Amount {
	c, u := n.WalletBalance()
	return c + u
}

// pair is two nodes with one channel: 700,000 sat for the one that opened it and 300,000 for the other.
func (w *world) pair() (a, b *Node, id channel.ID) {
	w.t.Helper()
	a, b = w.start(w.config("alice", false)), w.start(w.config("bob", true))
	w.fund(a)
	return a, b, w.open(a, b, false)
}

// feesSince adds up what all transactions but coinbases paid from a height on.
func (w *world) feesSince(height uint32) (total btcutil.Amount) {
	w.t.Helper()
	tip, _ := w.chain.Tip()
	for h := height + 1; h <= tip; h++ {
		b, err := w.chain.Block(h)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, tx := range b.Txs[1:] {
			for _, in := range tx.TxIn {
				prev, _, ok := w.chain.Tx(in.PreviousOutPoint.Hash)
				if !ok {
					w.t.Fatal("a transaction without its input")
				}
				total += btcutil.Amount(prev.TxOut[in.PreviousOutPoint.Index].Value)
			}
			for _, out := range tx.TxOut {
				total -= btcutil.Amount(out.Value)
			}
		}
	}
	return total
}

// over mines until both nodes have forgotten the channel.
func (w *world) over(nodes ...*Node) {
	w.t.Helper()
	w.until("the channel to be over", func() bool {
		left := 0
		for _, n := range nodes {
			left += len(n.registry.each(nil))
		}
		if left > 0 {
			w.mine(6, w.burn)
			w.seen(nodes...)
		}
		return left == 0
	})
}

// seen waits until the nodes have taken in every block.
func (w *world) seen(nodes ...*Node) {
	w.t.Helper()
	height, _ := w.chain.Tip()
	for _, n := range nodes {
		w.until("the newest block", func() bool {
			n.walletMu.Lock()
			defer n.walletMu.Unlock()
			h, _ := n.wallet.Tip()
			return h == height
		})
		n.engine.settle()
	}
}

func TestCooperativeClose(t *testing.T) {
	for _, byOpener := range []bool{true, false} {
		w := newWorld(t)
		a, b, id := w.pair()
		if failure := w.pay(a, b, 25_000_000, 1); failure != "" {
			t.Fatal(failure)
		}
		w.quiet(a, b)
		w.seen(a, b)
		height, _ := w.chain.Tip()
		hadA, hadB := coins(a), coins(b)
		closer := a
		if !byOpener {
			closer, id = b, b.registry.each(nil)[0].id
		}
		if err := closer.Close(id, false); err != nil {
			t.Fatal(err)
		}
		w.until("closing transaction", func() bool { return len(w.chain.Mempool()) == 1 })
		w.mine(1, w.burn)
		w.over(a, b)
		if got := coins(b) - hadB; got != 325_000 {
			t.Errorf("bob got %d sat, want 325000", got)
		}
		if got, fee := coins(a)-hadA, w.feesSince(height); got != 675_000-fee || fee <= 0 {
			t.Errorf("alice got %d sat, want 675000 less the fee %d", got, fee)
		}
	}
}

func TestForceClose(t *testing.T) {
	for _, byOpener := range []bool{true, false} {
		w := newWorld(t)
		a, b, id := w.pair()
		w.seen(a, b)
		height, _ := w.chain.Tip()
		hadA, hadB := coins(a), coins(b)
		closer := a
		if !byOpener {
			closer, id = b, b.registry.each(nil)[0].id
		}
		if err := closer.Close(id, true); err != nil {
			t.Fatal(err)
		}
		w.until("commitment transaction", func() bool { return len(w.chain.Mempool()) > 0 })
		if err := closer.Close(id, true); err == nil || !strings.Contains(err.Error(), "is on chain already") {
			t.Errorf("closed twice: %v", err)
		}
		w.over(a, b)
		// What nobody has is the fees, and anchors too small to be worth a sweep.
		got := coins(a) - hadA + coins(b) - hadB
		lost := 1_000_000 - got - w.feesSince(height)
		if lost != 0 && lost != 330 && lost != 660 {
			t.Errorf("by opener %v: %d sat are missing besides the fees", byOpener, lost)
		}
		if a, b := coins(a)-hadA, coins(b)-hadB; a < 690_000 || b < 295_000 || b > 300_000 {
			t.Errorf("by opener %v: alice got %d sat of 700000, bob %d of 300000", byOpener, a, b)
		}
	}
}

// TestForceCloseWhileStopped has the peer publish its commitment, and a hundred blocks pass, while the other node is off.
func TestForceCloseWhileStopped(t *testing.T) {
	w := newWorld(t)
	cfgA, cfgB := w.config("alice", false), w.config("bob", true)
	a, b := w.start(cfgA), w.start(cfgB)
	w.fund(a)
	id := w.open(a, b, false)
	w.seen(a, b)
	had := coins(b)
	b.Crash()
	if err := a.Close(id, true); err != nil {
		t.Fatal(err)
	}
	w.until("commitment transaction", func() bool { return len(w.chain.Mempool()) > 0 })
	w.mine(100, w.burn)
	b = w.start(cfgB)
	w.over(a, b)
	if got := coins(b) - had; got < 295_000 || got > 300_000 {
		t.Errorf("bob got %d sat of 300000", got)
	}
}

// TestFundingIsOnDisk: a node that falls right after Open publishes the funding transaction when it is back.
func TestFundingIsOnDisk(t *testing.T) {
	w := newWorld(t)
	cfgA := w.config("alice", false)
	a, b := w.start(cfgA), w.start(w.config("bob", true))
	w.fund(a)
	if err := a.Keep(b.ID(), address("bob")); err != nil {
		t.Fatal(err)
	}
	w.until("connection", func() bool { return a.Connected(b.ID()) })
	o := wish
	o.Peer = b.ID()
	if _, err := a.Open(w.ctx, o); err != nil {
		t.Fatal(err)
	}
	a.Crash()
	a = w.start(cfgA)
	w.until("funding transaction", func() bool { return len(w.chain.Mempool()) == 1 })
	w.mine(6, w.burn)
	w.until("channel", func() bool { return len(a.Channels()) == 1 && len(b.Channels()) == 1 })
	w.usable(a, b)
	if failure := w.pay(a, b, 1_000_000, 1); failure != "" {
		t.Error(failure)
	}
}

// TestBlocksWhilePaying mines blocks, undoes some of them, and floods the nodes with five hundred, while payments go on.
func TestBlocksWhilePaying(t *testing.T) {
	w := newWorld(t)
	a, b, _ := w.pair()
	for i := range 20 {
		inv, err := b.CreateInvoice(InvoiceWish{Amount: 1_000_000, Description: "blocks"})
		if err != nil {
			t.Fatal(err)
		}
		id, err := a.Pay(inv.Text, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		w.mine(2, w.burn) // fewer than the payer's slack
		if i%5 == 4 {
			if err := w.chain.Reorg(1); err != nil {
				t.Fatal(err)
			}
		}
		if failure := w.outcome(a, id); failure != "" {
			t.Fatal(failure)
		}
		if i%10 == 9 {
			w.quiet(a, b)
			w.mine(250, w.burn)
		}
	}
	w.quiet(a, b)
	w.seen(a, b)
	if len(w.chain.Mempool()) > 0 {
		t.Error("something went on chain")
	}
}
