package node

import "testing"

// TestReorgAfterRestart replaces blocks while a node is off: it remembers the hash of its tip alone, and sees what is in the new ones.
func TestReorgAfterRestart(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("A", false)
	n, lsp := w.start(cfg), w.start(w.config("LSP", true))
	w.fund(n)
	w.open(n, lsp, false) // it watches
	w.mine(20, w.burn)
	w.seen(n)
	before, _ := n.WalletBalance()
	_, script, err := n.NewAddress()
	if err != nil {
		t.Fatal(err)
	}
	n.Stop()
	if err := w.chain.Reorg(4); err != nil {
		t.Fatal(err)
	}
	w.mine(1, script)
	w.mine(100, w.burn)
	n = w.start(cfg)
	w.until("the coin in the first block after the fork", func() bool { c, _ := n.WalletBalance(); return c > before })
}
