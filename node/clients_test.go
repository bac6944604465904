package node

import (
	"testing"
	"time"
)

// An LSP that has the preimage of a payer who is away owes it, until the payer comes: that is the exposure an operator watches.
func TestOwed(t *testing.T) {
	w := newWorld(t)
	l, id, inv := w.held(AsyncPay{})
	client := func() ClientInfo {
		for _, c := range l.lspA.Clients() {
			if c.ID == l.a.ID() {
				return c
			}
		}
		t.Fatal("A is no client")
		return ClientInfo{}
	}
	if c := client(); !c.Connected || c.Held != 1 || c.HeldMsat == 0 || c.Channels != 1 || c.Owed != 0 {
		t.Fatalf("%+v", c)
	}
	var debts []Debt
	owed := func(n *Node, kind string) []Debt {
		all, err := n.Owed()
		if err != nil {
			t.Fatal(err)
		}
		debts = nil
		for _, d := range all {
			if d.Kind == kind {
				debts = append(debts, d)
			}
		}
		return debts
	}
	if owed(l.lspB, "message"); len(debts) != 1 || debts[0].Peer != l.b.ID() || debts[0].Count == 0 || debts[0].Here {
		t.Fatalf("LSP_b owes %+v", debts)
	}
	if len(owed(l.lspA, "preimage")) != 0 {
		t.Fatalf("LSP_a owes %+v", debts)
	}
	l.a.Stop()
	before := time.Now().Add(-time.Second)
	l.b = w.start(l.configs[3])
	w.until("the preimage", func() bool { return len(owed(l.lspA, "preimage")) == 1 })
	d := debts[0]
	if d.Peer != l.a.ID() || d.Here || d.Hash != inv.Hash || d.Claim != d.Expiry-l.lspA.cfg.Rod.ClaimMargin {
		t.Fatalf("%+v", d)
	}
	if c := client(); c.Connected || c.Owed != 1 || c.OwedMsat != d.Msat || c.Held != 0 || c.Seen.Before(before.Add(-time.Minute)) {
		t.Fatalf("%+v", c)
	}
	l.lspA.Crash()
	l.lspA = w.start(l.configs[1])
	// If it was not durable yet, LSP_b tells it again.
	w.until("the preimage after a crash", func() bool { return len(owed(l.lspA, "preimage")) == 1 })
	if debts[0] != d {
		t.Fatalf("after a crash: %+v", debts)
	}
	if c := client(); c.Owed != 1 || c.Seen.IsZero() {
		t.Fatalf("after a crash: %+v", c)
	}
	l.a = w.start(l.configs[0])
	if failure := w.outcome(l.a, id); failure != "" {
		t.Fatal(failure)
	}
	w.until("no debts", func() bool { return len(owed(l.lspA, "preimage")) == 0 && len(owed(l.lspA, "notification")) == 0 })
}

func TestSightingRows(t *testing.T) {
	key := make([]byte, 33)
	for _, s := range []sighting{{}, {1_700_000_000, 1_700_000_001, 7}} {
		if back, err := decodeSighting(key, s.encode()); err != nil || back != s {
			t.Errorf("%+v became %+v, %v", s, back, err)
		}
	}
	row := sighting{}.encode()
	for _, bad := range []struct{ key, row []byte }{{key[1:], row}, {key, row[1:]}, {key, append([]byte{9}, row[1:]...)}, {key, nil}} {
		if _, err := decodeSighting(bad.key, bad.row); err == nil {
			t.Errorf("%x %x was read", bad.key, bad.row)
		}
	}
}
