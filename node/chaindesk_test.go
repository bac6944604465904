package node

import (
	"path/filepath"
	"testing"

	"lightningrod/node/store"
)

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

// TestReorgHalfSaved is a power cut in the middle of a reorganisation: what the wallet saw is saved, what the channel saw is not, so that the one
// stands on the new branch and the other, no lower, on the old one. The channel must still hear that its blocks are gone, or it counts
// confirmations that there are not: here those of its funding transaction, at worst those of a claim.
func TestReorgHalfSaved(t *testing.T) {
	for _, above := range []int{0, 1, 3} { // blocks of the new branch above the old one's height, when the power went
		w := newWorld(t)
		cfg := w.config("A", false)
		n, lsp := w.start(cfg), w.start(w.config("LSP", true))
		w.fund(n)
		w.open(n, lsp, false)
		w.seen(n, lsp)
		w.barrier(n, lsp)
		in := n.registry.each(nil)[0]
		confirmed := in.state.Load().ShortID().BlockHeight
		tip, _ := w.chain.Tip()
		depth := int(tip-confirmed) + 1
		before := rowsOf(t, cfg, n, store.Channel)
		n = w.start(cfg)
		if err := w.chain.Reorg(depth); err != nil {
			t.Fatal(err)
		}
		empty := func(blocks int) { // without the funding transaction
			for range blocks {
				if _, err := w.chain.MineTxs(w.burn); err != nil {
					t.Fatal(err)
				}
			}
		}
		empty(depth + above)
		w.seen(n, lsp)
		w.barrier(n, lsp)
		n.Stop()
		s, err := store.Open(filepath.Join(cfg.Dir, "node.db"))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Commit([]store.Write{before}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		n = w.start(cfg)
		empty(6)
		w.seen(n, lsp)
		w.barrier(n, lsp)
		a, b := n.registry.each(nil)[0].state.Load(), lsp.registry.each(nil)[0].state.Load()
		if a.ShortID() != b.ShortID() || a.ShortID().BlockHeight != 0 {
			t.Errorf("%d blocks above: after the restart the channel is %v, to the peer %v", above, a.ShortID(), b.ShortID())
		}
		height, hash := a.SeenBlock()
		if block, err := w.chain.Block(height); err != nil || block.Hash != hash {
			t.Errorf("%d blocks above: the channel has seen block %d %v (%v)", above, height, hash, err)
		}
		n.Stop()
		lsp.Stop()
	}
}

// rowsOf stops a node and reads a table of its.
func rowsOf(t *testing.T, cfg Config, n *Node, table store.Table) (rows store.Write) {
	t.Helper()
	n.Stop()
	s, err := store.Open(filepath.Join(cfg.Dir, "node.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = s.Load(table, func(key, value []byte) error {
		rows = append(rows, store.Op{Table: table, Key: append([]byte(nil), key...), Value: append([]byte(nil), value...)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}
