package node

import (
	"strings"
	"testing"
)

// The first failure of a channel's life has its channel_update: lnd cannot read the failures of BOLT 4 that may have one without it.
func TestFirstFailureHasUpdate(t *testing.T) {
	w := newWorld(t)
	l := w.line()
	inv, err := l.b.CreateInvoice(InvoiceWish{Amount: 10_000_000})
	if err != nil {
		t.Fatal(err)
	}
	l.lspB.Stop()
	w.until("LSP_b to be gone", func() bool { return !l.lspA.hasUsable(l.lspB.ID()) })
	if _, err := l.a.Pay(inv.Text, 0, 1); err != nil {
		t.Fatal(err)
	}
	if why := w.wait(l.a, 0, PartFailed).Fields["reason"]; !strings.HasPrefix(why, "hop 0: temporary_channel_failure, channel_update of ") {
		t.Error(why)
	}
}
