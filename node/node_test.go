package node

import (
	"crypto/sha256"
	"testing"

	"github.com/lightningnetwork/lnd/lnwire"
)

func TestPayDirect(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(w.config("alice", false)), w.start(w.config("bob", true))
	w.fund(a)
	w.open(a, b, false)
	inv, err := b.CreateInvoice(InvoiceWish{Amount: 25_000_000, Description: "tea"})
	if err != nil {
		t.Fatal(err)
	}
	id, err := a.Pay(inv.Text, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	done := w.wait(a, 0, PaymentDone)
	if done.Fields["hash"] == "" || id == 0 {
		t.Fatal(done)
	}
	p, _ := a.Payment(id)
	if sha256.Sum256(p.Preimage[:]) != inv.Hash {
		t.Fatal("the preimage is not the invoice's")
	}
	w.until("settled", func() bool {
		for _, in := range b.registry.each(nil) {
			local, _ := in.state.Load().Balance()
			return local == lnwire.MilliSatoshi(325_000_000) && len(in.state.Load().Received()) == 0
		}
		return false
	})
}

// TestRod is the seed's story: A pays B, and they are never online together.
func TestRod(t *testing.T) {
	w := newWorld(t)
	l := w.line()
	inv, err := l.b.CreateInvoice(InvoiceWish{Amount: 20_000_000, Description: "coffee"})
	if err != nil {
		t.Fatal(err)
	}
	l.b.Stop()

	id, err := l.a.SendAsync(AsyncPay{Invoice: inv.Text, LSP: l.lspA.ID()})
	if err != nil {
		t.Fatal(err)
	}
	w.wait(l.lspA, 0, HoldHolding)
	w.wait(l.a, 0, RodNoticeSent)
	w.wait(l.lspB, 0, MessageKept)
	l.a.Stop()

	l.b = w.start(l.configs[3])
	w.wait(l.b, 0, RodReadySent)
	w.wait(l.lspA, 0, HTLCForwarded)
	w.wait(l.b, 0, InvoicePaid)

	l.a = w.start(l.configs[0])
	w.wait(l.a, 0, PaymentDone)
	p, _ := l.a.Payment(id)
	if sha256.Sum256(p.Preimage[:]) != inv.Hash {
		t.Fatal("the preimage is not the invoice's")
	}
}
