package node

import (
	"path/filepath"
	"testing"

	"lightningrod/node/store"
)

// TestTermsAreToldAgain: a peer that has forgotten what it was told of a private channel hears it when the channel is re-established, and has
// hints for its invoices again, although only it was restarted.
func TestTermsAreToldAgain(t *testing.T) {
	w := newWorld(t)
	lsp, b := w.start(w.config("LSP", true)), w.start(w.config("B", false))
	w.fund(lsp)
	w.open(lsp, b, true)
	w.until("the LSP's terms", func() bool { return len(b.routeHints()) == 1 })
	cfg := b.cfg
	rows := rowsOf(t, cfg, b, store.ChannelUpdate)
	if len(rows) == 0 {
		t.Fatal("nothing was remembered")
	}
	for i := range rows {
		rows[i].Value = nil
	}
	s, err := store.Open(filepath.Join(cfg.Dir, "node.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit([]store.Write{rows}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b = w.start(cfg)
	w.until("the LSP's terms, once more", func() bool { return len(b.routeHints()) == 1 })
}
