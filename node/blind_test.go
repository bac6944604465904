package node

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"lightningrod/node/graph"
	"lightningrod/node/invoice"
	"lightningrod/onion"

	"github.com/lightningnetwork/lnd/lnwire"
)

// blinded makes an invoice of b's with blinded paths, which names b nowhere, and reads it.
func blinded(t *testing.T, b *Node, amount lnwire.MilliSatoshi, how Blinding) (string, *invoice.Invoice) {
	t.Helper()
	made, err := b.CreateInvoice(InvoiceWish{Amount: amount, Description: "blinded", Blinding: how})
	if err != nil {
		t.Fatal(err)
	}
	inv, err := invoice.Decode(made.Text, b.cfg.Params)
	if err != nil {
		t.Fatal(err)
	}
	if inv.Node == b.ID() || len(inv.Hints) > 0 || inv.Secret != [32]byte{} {
		t.Fatal("the invoice names its payee")
	}
	return made.Text, inv
}

// B's invoices have a path that begins at LSP_b. A pays through LSP_a and LSP_b, in one part and in three; LSP_a pays with LSP_b as its peer;
// LSP_b pays, which is itself where the path begins; and LSP_b pays one whose path is B alone.
func TestPayBlinded(t *testing.T) {
	w := newWorld(t)
	l := w.line()
	for _, c := range []struct {
		name  string
		payer *Node
		how   Blinding
		parts int
		hops  int // of an onion, to B
	}{
		{"two hops before the path", l.a, BlindedByPeers, 1, 3},
		{"in parts", l.a, BlindedByPeers, 3, 3},
		{"one hop before the path", l.lspA, BlindedByPeers, 1, 2},
		{"we are the introduction node", l.lspB, BlindedByPeers, 1, 1},
		{"the payee is the introduction node", l.lspB, BlindedBySelf, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, inv := blinded(t, l.b, 10_000_000, c.how)
			first := inv.Paths[0].Path.First
			if len(inv.Paths) != 1 || c.how == BlindedByPeers && first != l.lspB.ID() || c.how == BlindedBySelf && first != l.b.ID() {
				t.Fatalf("%d paths, the first from %x", len(inv.Paths), first)
			}
			from := c.payer.LastEvent()
			id, err := c.payer.Pay(text, 0, c.parts)
			if err != nil {
				t.Fatal(err)
			}
			w.wait(c.payer, from+1, PaymentDone)
			p, _ := c.payer.brain.forward.Payment(id)
			if len(p.Parts) != c.parts {
				t.Errorf("%d parts, want %d", len(p.Parts), c.parts)
			}
			for _, part := range p.Parts {
				if hops := (len(part.Secrets) - 32) / 33; hops != c.hops {
					t.Errorf("onion of %d hops, want %d", hops, c.hops)
				}
			}
			if got, _ := l.b.Invoice(inv.Hash); got.Received < 10_000_000 || got.Received > 10_000_100 {
				t.Errorf("%d msat received", got.Received)
			}
		})
	}
}

// Whatever goes wrong inside the path, its introduction node says invalid_onion_blinding, and the payer reads it.
func TestBlindedFailures(t *testing.T) {
	w := newWorld(t)
	l := w.line()
	pay := func(payer *Node, text, want string) {
		t.Helper()
		from := payer.LastEvent()
		if _, err := payer.Pay(text, 0, 1); err != nil {
			t.Fatal(err)
		}
		if failed := w.wait(payer, from+1, PartFailed); !strings.HasPrefix(failed.Fields["reason"], want) {
			t.Errorf("%q, want %q", failed.Fields["reason"], want)
		}
		w.wait(payer, from+1, PaymentFailed)
	}
	text, inv := blinded(t, l.b, 10_000_000, BlindedByPeers)
	from := l.lspA.LastEvent()
	if _, err := l.lspA.Pay(text, 0, 1); err != nil {
		t.Fatal(err)
	}
	w.wait(l.lspA, from+1, PaymentDone)
	t.Run("paid before", func(t *testing.T) {
		pay(l.a, text, "hop 1: invalid_onion_blinding")
		pay(l.lspB, text, "hop 0: invalid_onion_blinding")
	})
	t.Run("another invoice's path", func(t *testing.T) {
		_, other := blinded(t, l.b, 10_000_000, BlindedByPeers)
		inv.Hash = other.Hash
		forged, err := invoice.New(*inv, l.b.cfg.Params, l.a.keys.identity)
		if err != nil {
			t.Fatal(err)
		}
		pay(l.a, forged, "hop 1: invalid_onion_blinding")
	})
	t.Run("payment_secret as path_id", func(t *testing.T) {
		plain, err := l.b.CreateInvoice(InvoiceWish{Amount: 10_000_000})
		if err != nil {
			t.Fatal(err)
		}
		seen, err := invoice.Decode(plain.Text, l.b.cfg.Params)
		if err != nil {
			t.Fatal(err)
		}
		paths, err := l.b.blindedPaths(InvoiceWish{Blinding: BlindedByPeers, Expiry: seen.Expiry}, seen.Secret)
		if err != nil {
			t.Fatal(err)
		}
		seen.Secret, seen.MinFinalCltv, seen.Hints, seen.Features, seen.Paths = [32]byte{}, 0, nil, nil, paths
		forged, err := invoice.New(*seen, l.b.cfg.Params, l.a.keys.identity)
		if err != nil {
			t.Fatal(err)
		}
		pay(l.a, forged, "hop 1: invalid_onion_blinding")
	})
	t.Run("no way to hold", func(t *testing.T) {
		if _, err := l.a.SendAsync(AsyncPay{Invoice: text, LSP: l.lspA.ID()}); err == nil || !strings.Contains(err.Error(), "rod_notice") {
			t.Error(err)
		}
	})
	t.Run("ourselves", func(t *testing.T) {
		own, _ := blinded(t, l.lspA, 1000, BlindedBySelf)
		if _, err := l.lspA.Pay(own, 0, 1); err == nil || !strings.Contains(err.Error(), "ends with us") {
			t.Error(err)
		}
	})
	t.Run("nobody to begin at", func(t *testing.T) {
		if _, err := w.start(w.config("hermit", false)).CreateInvoice(InvoiceWish{Blinding: BlindedByPeers}); err == nil {
			t.Error("an invoice without a path")
		}
		if _, err := l.b.CreateInvoice(InvoiceWish{Blinding: 3}); err == nil || !strings.Contains(err.Error(), "blinding 3") {
			t.Error(err)
		}
	})
}

// An introduction node's answer takes a random time up to a second. That the failures above arrive shows that it is given.
func TestProbeDelay(t *testing.T) {
	n := &Node{cfg: Config{Rand: rand.Reader}}
	seen := map[time.Duration]bool{}
	for range 100 {
		d := n.probeDelay()
		if d < 0 || d >= maxProbeDelay {
			t.Fatal(d)
		}
		seen[d] = true
	}
	if len(seen) < 50 {
		t.Errorf("%d different of 100", len(seen))
	}
}

func TestRequiresFeature(t *testing.T) {
	for vector, want := range map[string]bool{"": false, "\x02": false, "\xaa\xaa": false, "\x01": true, "\x10\x00": true} {
		if requiresFeature([]byte(vector)) != want {
			t.Errorf("%x: %v", vector, !want)
		}
	}
}

// Payloads of a payment with two nodes before the path, and of one that begins with us.
func TestBlindHops(t *testing.T) {
	id := func(b byte) [33]byte { return [33]byte{2, 32: b} }
	path := onion.PaymentPath{Path: onion.BlindedPath{First: id(2), PathKey: id(9), Hops: []onion.BlindedHop{
		{Node: id(2), Data: []byte("to 2")}, {Node: id(13), Data: []byte("to 3")}, {Node: id(14), Data: []byte("to 4")},
	}}}
	inv := &payee{amount: 5000}
	scid := lnwire.NewShortChanIDFromInt
	r := route{path: &path, Route: graph.Route{Hops: []graph.Hop{
		{Node: id(1), SCID: scid(1), Amount: 2200, Expiry: 220}, {Node: id(2), SCID: scid(2), Amount: 2100, Expiry: 210}, {Amount: 2000, Expiry: 103},
	}}}
	hops := blindHops(r, inv)
	if len(hops) != 4 {
		t.Fatalf("%d hops", len(hops))
	}
	if h := hops[0]; h.Node != id(1) || h.Amount != 2100 || h.Cltv != 210 || h.NextSCID != scid(2) || h.EncryptedData != nil {
		t.Errorf("before the path: %+v", h)
	}
	if h := hops[1]; h.Node != id(2) || h.PathKey == nil || *h.PathKey != id(9) || h.Amount != 0 || !bytes.Equal(h.EncryptedData, path.Path.Hops[0].Data) {
		t.Errorf("introduction node: %+v", h)
	}
	if h := hops[3]; h.Node != id(14) || h.PathKey != nil || h.Amount != 2000 || h.Cltv != 103 || h.Total != 5000 {
		t.Errorf("payee: %+v", h)
	}
	r.Hops, r.pathKey = r.Hops[1:], make([]byte, 33)
	if hops = blindHops(r, inv); len(hops) != 3 || hops[0].PathKey != nil {
		t.Errorf("with path_key in our own HTLC: %d hops, %v", len(hops), hops[0].PathKey)
	}
	if tlv := r.pathKeyTLV(); len(tlv) != 35 || tlv[0] != 0 || tlv[1] != 33 {
		t.Errorf("TLV %x", tlv)
	}
}
