package node

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"lightningrod/channel"
	"lightningrod/node/forward"
	"lightningrod/node/store"
	"lightningrod/onion"
	"lightningrod/rod"
	"lightningrod/rod/lsps"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/lightningnetwork/lnd/lnwire"
)

// held is a line in which B is away and a payment of A is held at LSP_a.
func (w *world) held(a AsyncPay) (l *line, id uint64, inv Invoice) {
	w.t.Helper()
	l = w.line()
	inv, err := l.b.CreateInvoice(InvoiceWish{Amount: 20_000_000, Description: "held", Expiry: 30 * 24 * time.Hour})
	if err != nil {
		w.t.Fatal(err)
	}
	l.b.Stop()
	a.Invoice, a.LSP = inv.Text, l.lspA.ID()
	if id, err = l.a.SendAsync(a); err != nil {
		w.t.Fatal(err)
	}
	w.wait(l.lspA, 0, HoldHolding)
	w.wait(l.lspB, 0, MessageKept)
	return l, id, inv
}

// TestRestartWithHeld: trace (iii) of the design. Whatever ends the holder, it holds on when it is back, and lets go at the unblock.
func TestRestartWithHeld(t *testing.T) {
	for _, end := range []func(*Node){(*Node).Crash, func(n *Node) { n.Stop() }} {
		w := newWorld(t)
		l, id, _ := w.held(AsyncPay{})
		for range 2 {
			end(l.lspA)
			l.lspA = w.start(l.configs[1])
			if live := l.lspA.HTLCs(); len(live) != 1 || live[0].State != "held" {
				t.Fatalf("after the restart: %+v", live)
			}
		}
		w.usable(l.a, l.lspA)
		if d, want := l.a.descriptor(l.lspA.ID()), append([]byte{5, byte(len("LSP_a"))}, "LSP_a\x26\x07"...); !bytes.Equal(d, want) {
			t.Errorf("the payee is told that LSP_a listens at %x", d)
		}
		l.b = w.start(l.configs[3])
		if failure := w.outcome(l.a, id); failure != "" {
			t.Fatal(failure)
		}
		w.quiet(l.nodes()...)
	}
}

// closeByForce has one node close its channel with another.
func (w *world) closeByForce(from, with *Node) {
	w.t.Helper()
	peer := with.ID()
	if err := from.Close(from.registry.each(&peer)[0].id, true); err != nil {
		w.t.Fatal(err)
	}
	w.until("the commitment", func() bool { return len(w.chain.Mempool()) > 0 })
}

// until the payment has failed, and what went on chain is over, blocks come.
func (w *world) refundOnChain(l *line, id uint64) {
	w.t.Helper()
	over := func() bool {
		for _, n := range l.nodes() {
			for _, in := range n.registry.each(nil) {
				if in.state.Load().Phase() != channel.PhaseNormal {
					return false
				}
			}
		}
		p, ok := l.a.Payment(id)
		return ok && p.State == forward.PaymentFailed
	}
	for !over() {
		w.step(l.a, l.lspA, l.lspB)
		if live := l.lspA.HTLCs(); len(live) > 0 && live[0].State != "void" {
			w.t.Fatalf("a hold on chain is not void: %+v", live)
		}
		if w.ctx.Err() != nil {
			w.t.Fatal(w.ctx.Err())
		}
	}
}

// TestHoldEnds has a hold end unreleased: the payer has everything back, and the payment is over.
func TestHoldEnds(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(w *world, l *line, id uint64)
	}{
		{"the holder closes the payer's channel by force", func(w *world, l *line, id uint64) {
			w.closeByForce(l.lspA, l.a)
			w.refundOnChain(l, id)
		}},
		{"the payer closes its channel by force", func(w *world, l *line, id uint64) {
			w.closeByForce(l.a, l.lspA)
			w.refundOnChain(l, id)
		}},
		{"the holder closes the payer's channel by force, and falls again and again", func(w *world, l *line, id uint64) {
			w.closeByForce(l.lspA, l.a)
			for range 4 {
				l.lspA.Crash()
				w.step(l.a)
				l.lspA = w.start(l.configs[1])
				w.step(l.a, l.lspA)
			}
			w.refundOnChain(l, id)
		}},
		{"cancelled", func(w *world, l *line, id uint64) {
			if err := l.a.CancelAsync(id); err != nil {
				w.t.Fatal(err)
			}
		}},
		{"cancelled behind the LSP's back", func(w *world, l *line, id uint64) { // the word reaches it when it is back
			l.lspA.Crash()
			w.until("A to notice", func() bool { return !l.a.Connected(l.lspA.ID()) })
			if err := l.a.CancelAsync(id); err != nil {
				w.t.Fatal(err)
			}
			l.lspA = w.start(l.configs[1])
		}},
		{"declined by the operator", func(w *world, l *line, _ uint64) {
			if err := l.lspA.Decline(l.lspA.HTLCs()[0].Key); err != nil {
				w.t.Fatal(err)
			}
		}},
		{"declined by the operator, and a crash", func(w *world, l *line, _ uint64) {
			if err := l.lspA.Decline(l.lspA.HTLCs()[0].Key); err != nil {
				w.t.Fatal(err)
			}
			l.lspA.Crash()
			l.lspA = w.start(l.configs[1])
		}},
		{"deadline", func(w *world, l *line, _ uint64) {
			for live := l.lspA.HTLCs(); len(live) > 0 && live[0].State == "held"; live = l.lspA.HTLCs() {
				w.mine(1, w.burn)
				w.seen(l.lspA)
			}
		}},
		{"deadline while the holder is off", func(w *world, l *line, _ uint64) {
			limit := l.lspA.HTLCs()[0].Limit
			l.lspA.Crash()
			for height, _ := w.chain.Tip(); height <= limit; height++ {
				w.mine(1, w.burn)
			}
			l.lspA = w.start(l.configs[1])
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			l, id, _ := w.held(AsyncPay{Hold: 30})
			book := w.books(&l.a, &l.lspA, &l.lspB)
			test.end(w, l, id)
			w.until("the payment to fail", func() bool {
				p, ok := l.a.Payment(id)
				return ok && p.State == forward.PaymentFailed
			})
			w.quiet(l.lspA, l.lspB)
			w.quiet(l.a)
			book.check()
			w.until("rows to go", func() bool {
				left := leftovers(t, l.lspA)
				return left[store.Request]+left[store.Member] == 0 && len(l.lspA.HTLCs()) == 0
			})
			// B comes too late: nothing is left to be released.
			l.b = w.start(l.configs[3])
			w.usable(l.b)
			w.wait(l.b, 0, RodReadySent)
			w.until("the unblock", func() bool { return unblocked(l.lspA) })
			if p, _ := l.a.Payment(id); p.State != forward.PaymentFailed {
				t.Error("the payment went on")
			}
		})
	}
}

// TestHeldWayCloses has the channel between the LSPs go on chain while LSP_a holds. The unblock then finds no way: the payment is released over
// another channel if there is one by then, else it is given up at its deadline, off chain.
func TestHeldWayCloses(t *testing.T) {
	for _, another := range []bool{true, false} {
		for _, byHolder := range []bool{true, false} {
			t.Run(fmt.Sprintf("another channel %t, closed by the holder %t", another, byHolder), func(t *testing.T) {
				w := newWorld(t)
				l, id, _ := w.held(AsyncPay{Hold: 60})
				book := w.books(&l.a, &l.lspA, &l.lspB)
				if byHolder {
					w.closeByForce(l.lspA, l.lspB)
				} else {
					w.closeByForce(l.lspB, l.lspA)
				}
				w.step(l.a, l.lspA, l.lspB)
				l.lspA.Crash()
				l.lspA = w.start(l.configs[1])
				l.b = w.start(l.configs[3])
				w.until("the unblock", func() bool { return unblocked(l.lspA) })
				w.barrier(l.nodes()...)
				if live := l.lspA.HTLCs(); len(live) != 1 || live[0].State != "held" && live[0].State != "waiting" {
					t.Fatalf("%+v", live)
				}
				if another {
					w.openAgain(l.lspA, l.lspB)
					if failure := w.outcome(l.a, id); failure != "" {
						t.Fatal(failure)
					}
					return
				}
				for {
					if p, _ := l.a.Payment(id); p.State != forward.PaymentPending {
						break
					}
					w.step(l.nodes()...)
				}
				if p, _ := l.a.Payment(id); p.State != forward.PaymentFailed {
					t.Errorf("the payment is %v", p.State)
				}
				w.refundOnChain(l, id) // what is closed has its end
				book.check()
			})
		}
	}
}

// openAgain opens one more channel.
func (w *world) openAgain(from, to *Node) {
	w.t.Helper()
	o := wish
	o.Peer = to.ID()
	w.until("connection", func() bool { return from.Connected(o.Peer) })
	id, err := from.Open(w.ctx, o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mine(6, w.burn)
	w.until("the channel to be usable", func() bool { _, _, ok := from.registry.get(id).state.Load().Usable(); return ok })
}

// unblocked says whether an unblock came by.
func unblocked(n *Node) bool {
	n.events.mu.Lock()
	defer n.events.mu.Unlock()
	for _, ev := range n.events.ring {
		if ev.Kind == UnblockSeen {
			return true
		}
	}
	return false
}

// TestWakes has LSP_b wake B over a webhook: signed by LSP_b, delivered in the end although the endpoint fails at first.
func TestWakes(t *testing.T) {
	type call struct {
		body, stamp, sig string
	}
	calls := make(chan call, 16)
	fail := true
	hook := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), rod.MethodOnionMessage) && fail {
			fail = false
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		calls <- call{string(body), r.Header.Get(lsps.HeaderTimestamp), r.Header.Get(lsps.HeaderSignature)}
	}))
	defer hook.Close()

	w := newWorld(t)
	l := w.line()
	if err := l.b.RegisterWebhook(w.ctx, l.lspB.ID(), "wallet", hook.URL); err != nil {
		t.Fatal(err)
	}
	next := func(method string) {
		t.Helper()
		select {
		case c := <-calls:
			if !strings.Contains(c.body, method) {
				t.Errorf("webhook %s, want %s", c.body, method)
			}
			signer, err := lsps.Signer(lsps.SigningText(c.stamp, []byte(c.body)), c.sig)
			if err != nil || signer != l.lspB.ID() {
				t.Errorf("webhook of %x, %v", signer, err)
			}
		case <-w.ctx.Done():
			t.Fatal("no webhook")
		}
	}
	next(lsps.MethodRegistered)
	inv, err := l.b.CreateInvoice(InvoiceWish{Amount: 20_000_000, Description: "wake"})
	if err != nil {
		t.Fatal(err)
	}
	l.b.Stop()
	id, err := l.a.SendAsync(AsyncPay{Invoice: inv.Text, LSP: l.lspA.ID()})
	if err != nil {
		t.Fatal(err)
	}
	next(rod.MethodOnionMessage)
	debts, err := l.lspB.Owed()
	if err != nil || len(debts) == 0 {
		t.Fatal(debts, err)
	}
	if n, err := l.lspB.Nudge(debts[0]); n != 0 || err == nil || !strings.Contains(err.Error(), "have to lie between") {
		t.Fatalf("a nudge at once: %d %v", n, err)
	}
	l.lspB.sight(l.b.ID(), func(s *sighting) { s.woken -= int64(nudgePause / time.Second) })
	if n, err := l.lspB.Nudge(debts[0]); n != 1 || err != nil {
		t.Fatalf("nudge: %d %v", n, err)
	}
	next(rod.MethodOnionMessage)
	if _, err := l.lspB.Nudge(Debt{Kind: "failure", Peer: l.lspA.ID()}); err == nil || !strings.Contains(err.Error(), "connected") {
		t.Fatalf("a nudge of one who is here: %v", err)
	}
	if _, err := l.lspB.Nudge(Debt{Kind: "failure", Peer: [33]byte{2}}); err == nil || !strings.Contains(err.Error(), "no webhook") {
		t.Fatalf("a nudge of one who cannot be woken: %v", err)
	}
	l.b = w.start(l.configs[3])
	if failure := w.outcome(l.a, id); failure != "" {
		t.Fatal(failure)
	}
	w.until("the outbox to be empty", func() bool { return len(leftovers(t, l.lspB)) == 0 })
}

// TestMailboxIsBounded fills B's box: what is above the quota of a sender is dropped, the rest arrives when B is there.
func TestMailboxIsBounded(t *testing.T) {
	w := newWorld(t)
	l := w.line()
	way := [][33]byte{l.lspA.ID(), l.lspB.ID(), l.b.ID()}
	l.b.Stop()
	quota := rod.DefaultMailboxConfig().Messages / 4
	for i := range quota + 3 {
		path, err := onion.PathTo([32]byte{1, byte(i)}, way, onion.EncryptedData{})
		if err != nil {
			t.Fatal(err)
		}
		payload := onion.MessagePayload{Contents: []onion.Record{{Type: 1001, Value: []byte{byte(i)}}}}
		if err := l.a.SendOnionMessage(path, payload); err != nil {
			t.Fatal(err)
		}
	}
	w.wait(l.lspB, 0, MessageDropped)
	w.until("the box to be full", func() bool { b := l.lspB.Mailbox(); return len(b) == 1 && b[0].Messages == quota })
	l.lspB.Crash() // the box is durable
	l.lspB = w.start(l.configs[2])
	l.b = w.start(l.configs[3])
	for range quota {
		w.wait(l.b, 0, MessageReceived, "type", "1001")
	}
	w.until("the box to be empty", func() bool { return len(l.lspB.Mailbox()) == 0 })
}

// TestUnblockByAnybodyElse: an unblock with a pid that nobody gave out changes nothing.
func TestUnblockByAnybodyElse(t *testing.T) {
	w := newWorld(t)
	l, _, _ := w.held(AsyncPay{})
	key, err := btcec.NewPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	path, err := unblockPath([32]byte{7}, [][33]byte{l.lspA.ID(), l.lspB.ID()}, [32]byte(key.Serialize()))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.a.SendOnionMessage(path, onion.MessagePayload{Contents: []onion.Record{{Type: 1001, Value: []byte{1}}}}); err != nil {
		t.Fatal(err)
	}
	w.wait(l.lspA, 0, UnblockSeen)
	w.wait(l.lspB, 0, MessageReceived)
	if live := l.lspA.HTLCs(); len(live) != 1 || live[0].State != "held" || live[0].Amount != withFee(withFee(lnwire.MilliSatoshi(20_000_000))) {
		t.Errorf("%+v", live)
	}
}

// TestPayeeDialsTheLSP: a payee that knows no way to the payer's LSP answers it where the notice says that it listens.
func TestPayeeDialsTheLSP(t *testing.T) {
	for _, mode := range []rod.UnblockMode{rod.UnblockByPayer, rod.UnblockByPayee} {
		w := newWorld(t)
		lspA, lspB, b := w.start(w.config("LSP_a", true)), w.start(w.config("LSP_b", true)), w.start(w.config("B", false))
		w.fund(lspB)
		w.open(lspB, b, true) // nobody hears of LSP_a: it has no channel
		w.usable(lspB, b)
		inv, err := b.CreateInvoice(InvoiceWish{Amount: 20_000_000, Description: "dialled"})
		if err != nil {
			t.Fatal(err)
		}
		lsp := lspA.ID()
		lspB.bookMu.Lock()
		lspB.book[lsp] = address("LSP_a")
		lspB.bookMu.Unlock()
		notice := rod.Notice{Pid: [32]byte{1}, Hashes: [][32]byte{inv.Hash}, AmountMsat: 20_000_000, LSPAddress: lspB.descriptor(lsp)}
		var reply []byte
		if mode == rod.UnblockByPayee {
			notice.LSP, notice.Payer = lsp, lspB.ID()
		} else {
			path, err := lspB.returnPath(rod.ReturnPath{Through: lsp, PathID: [32]byte{2}, Unblock: notice.Pid})
			if err != nil {
				t.Fatal(err)
			}
			if reply, err = path.Encode(); err != nil {
				t.Fatal(err)
			}
		}
		b.rodNotice(notice.Encode(), reply)
		w.wait(lspA, 0, UnblockSeen)
	}
}

// TestSameHashTwice asks for a second payment of an invoice while the first is held: it is refused, and nothing of it is kept.
func TestSameHashTwice(t *testing.T) {
	w := newWorld(t)
	l, _, inv := w.held(AsyncPay{})
	id, err := l.a.SendAsync(AsyncPay{Invoice: inv.Text, LSP: l.lspA.ID(), ByHTLC: true})
	if err != nil {
		t.Fatal(err)
	}
	w.wait(l.a, 0, PaymentFailed)
	w.until("the payer to forget it", func() bool {
		l.a.brain.mu.Lock()
		defer l.a.brain.mu.Unlock()
		_, kept := l.a.brain.payer.Dest(id)
		return !kept
	})
}
