package node

import (
	"testing"

	"lightningrod/onion"
	"lightningrod/rod"
)

// TestQueries: what may be asked about a node, before and after it has stopped.
func TestQueries(t *testing.T) {
	w := newWorld(t)
	a, b := w.start(w.config("alice", false)), w.start(w.config("bob", true))
	w.fund(a)
	id := w.open(a, b, true)
	inv, err := b.CreateInvoice(InvoiceWish{Amount: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if fees, err := a.Quote(inv.Text, 0); err != nil || fees != 0 {
		t.Errorf("quote to a neighbour: %d, %v", fees, err)
	}
	if _, err := a.Quote(inv.Text, 2000); err == nil {
		t.Error("a quote for another amount than the invoice's")
	}
	r := rod.HoldRequest{PidHash: rod.PidHash([32]byte{1}), Hashes: [][32]byte{inv.Hash}, TotalMsat: 1000}
	if status, err := a.RequestHold(w.ctx, b.ID(), r); err != nil || status != rod.AckOK {
		t.Errorf("rod.hold: %s, %v", status, err)
	}
	if status, err := a.RequestHold(w.ctx, b.ID(), r); err != nil || status != rod.AckDuplicate && status != rod.AckOK {
		t.Errorf("rod.hold again: %s, %v", status, err)
	}
	if rs := b.Requests(); len(rs) != 1 || rs[0].Peer != a.ID() || rs[0].TotalMsat != 1000 {
		t.Errorf("requests %+v", rs)
	}
	if err := a.SendOnionMessage(onion.BlindedPath{}, onion.MessagePayload{}); err == nil {
		t.Error("a path without hops is taken")
	}
	if _, ok := a.Pid(7); ok || !a.Connected(b.ID()) || a.Connected([33]byte{2}) {
		t.Error("pid or connection")
	}
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	cs := a.Channels()
	if len(cs) != 1 || cs[0].ID != id || cs[0].Peer != b.ID() || cs[0].State.Invariants() != nil || len(a.HTLCs()) != 0 {
		t.Errorf("channels %+v", cs)
	}
	tx, out, err := a.LocalCommitment(id)
	if err != nil || w.chain.CheckTx(tx, out) != nil {
		t.Errorf("commitment: %v", err)
	}
	if _, _, err := a.LocalCommitment(id + 1); err == nil {
		t.Error("a commitment of no channel")
	}
}
