package main

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"path/filepath"

	"lightningrod/node"
	"lightningrod/onion"
	"lightningrod/rod"

	"github.com/btcsuite/btcd/btcec/v2"
)

// This file has the acts in which something goes wrong: crashes, sleepers, messages twice or too early, strangers.

// crashLSP kills LSP_a while it holds, and starts it again from a byte copy of what was on its disk at that moment.
func crashLSP(s *stage) error {
	if err := s.lspA.crash(); err != nil {
		return err
	}
	if err := s.lspA.moveTo(filepath.Join(s.dir, "LSP_a-copy")); err != nil {
		return err
	}
	if err := s.aside(s.lspA, "is killed without warning; nothing is left of it but a copy of its files"); err != nil {
		return err
	}
	if err := s.lspA.wake(); err != nil {
		return err
	}
	err := s.until("hold-survives", "LSP_a and LSP_b can use their channel again", func() bool { return s.lspA.tied(s.lspB) && s.lspB.tied(s.lspA) })
	if err != nil {
		return err
	}
	if n := len(s.heldParts()); n != s.parts {
		return fail("hold-survives", "LSP_a holds %d HTLCs after the crash, want %d", n, s.parts)
	}
	if err := s.lookDownstream(); err != nil {
		return err
	}
	s.saw("hold-survives", "LSP_a was killed, and still held %s when it came back from the copy", sats(s.lspA.held()))
	return s.aside(s.lspA, "is back and holds as before")
}

// deadline lets blocks come until LSP_a must give up, while B sleeps on.
func deadline(s *stage) error {
	if err := s.called(s.b, rod.MethodOnionMessage); err != nil {
		return err
	}
	if err := s.aside(s.b, "is called by LSP_b, and does not wake up"); err != nil {
		return err
	}
	held, err := s.expect("held-at-lsp-a", s.lspA, 1, node.HoldHolding, "hash", s.hash())
	if err != nil {
		return err
	}
	limit := uint32(number(held[0], "deadline"))
	if err := s.mineTo(limit - 1); err != nil {
		return err
	}
	if err := s.lookDownstream(); err != nil {
		return err
	}
	if n := len(s.heldParts()); n != s.parts {
		return fail("deadline", "LSP_a holds %d HTLCs one block before the deadline, want %d", n, s.parts)
	}
	if err := s.mineTo(limit); err != nil {
		return err
	}
	if _, err := s.expect("deadline", s.lspA, s.parts, node.HTLCFailed); err != nil {
		return err
	}
	s.saw("deadline", "LSP_a held until block %d and failed the HTLC back in block %d", limit-1, limit)
	return s.aside(s.lspA, "reaches the deadline, block %d, and gives the payment back", limit)
}

// mineTo mines up to a height and waits until the LSPs have seen it.
func (s *stage) mineTo(height uint32) error {
	tip, _ := s.chain.Tip()
	if err := s.mine(int(height) - int(tip)); err != nil {
		return err
	}
	for _, lsp := range []*actor{s.lspA, s.lspB} {
		if _, err := s.expect("blocks", lsp, 1, node.BlockSeen, "height", fmt.Sprint(height)); err != nil {
			return err
		}
	}
	return nil
}

// refund has A called and take its money back.
func refund(s *stage) error {
	s.want.refunded, s.want.letters = true, 1
	if err := s.called(s.a, rod.MethodHoldFailed); err != nil {
		return err
	}
	if err := s.a.wake(); err != nil {
		return err
	}
	if _, err := s.expect("refunded", s.a, 1, node.PaymentFailed, "hash", s.hash()); err != nil {
		return err
	}
	if err := s.clear(s.a, s.lspA); err != nil {
		return err
	}
	return s.aside(s.a, "is called by LSP_a (%s), comes back, and has its money", rod.MethodHoldFailed)
}

// stayAway has A's phone ring in vain until LSP_a is three blocks from having to go on chain.
func stayAway(s *stage) error {
	if err := s.called(s.a, rod.MethodPreimageReady); err != nil {
		return err
	}
	in, err := s.expect("held-at-lsp-a", s.lspA, 1, node.HTLCIn, "hash", s.hash())
	if err != nil {
		return err
	}
	expiry := uint32(number(in[0], "expiry"))
	last := expiry - rod.DefaultConfig(s.lspA.node.ID()).ClaimMargin - 3
	from, _ := s.chain.Tip()
	if err := s.mineTo(last); err != nil {
		return err
	}
	for _, c := range s.lspA.node.Channels() {
		if onChain(c) {
			return fail("no-force-close", "LSP_a's channel %d is %s at block %d, and the HTLC expires at %d", c.ID, c.State.Phase(), last, expiry)
		}
	}
	s.saw("no-force-close", "A was away for %d blocks, to %d blocks before the HTLC's expiry, and no channel was closed", last-from, expiry-last)
	return s.aside(s.a, "does not hear its phone for %d blocks; LSP_a waits with the preimage", last-from)
}

// armByHand has A ask for a hold over LSPS0, for a payment that it will make by ordinary means.
func armByHand(s *stage) error {
	if _, err := rand.Read(s.pid[:]); err != nil {
		return err
	}
	if err := s.tell(1, s.a, "draws a secret payment id, the pid, for payment hash %.8s", s.hash()); err != nil {
		return err
	}
	height, _ := s.chain.Tip()
	status, err := s.a.node.RequestHold(s.ctx, s.lspA.node.ID(), rod.HoldRequest{
		PidHash: rod.PidHash(s.pid), Hashes: [][32]byte{s.invoice.Hash}, Deadline: height + 6, // the soonest that an LSP grants
	})
	if err != nil {
		return fail("hold-acknowledged", "%v", err)
	}
	if status != rod.AckOK {
		return fail("hold-acknowledged", "LSP_a answers: %s", status)
	}
	return s.tell(2, s.a, "asks LSP_a over LSPS0 to hold the payment; LSP_a agrees")
}

// noticeByHand is step 4 before step 3: A tells B, and is gone before it has paid.
func noticeByHand(s *stage) error {
	lsp, a := s.lspA.node.ID(), s.a.node.ID()
	notice := rod.Notice{Pid: s.pid, Hashes: [][32]byte{s.invoice.Hash}, AmountMsat: price, LSP: lsp, Payer: a}
	way := []onion.PathNode{{Node: lsp}, {Node: s.lspB.node.ID()}, {Node: s.b.node.ID()}}
	if err := s.post(s.a, way, onion.Record{Type: rod.TypeNotice, Value: notice.Encode()}); err != nil {
		return err
	}
	if _, err := s.expect("notice-kept", s.lspB, 1, node.MessageKept); err != nil {
		return err
	}
	if err := s.a.sleep(); err != nil {
		return err
	}
	return s.tell(4, s.a, "sends B the notice too soon, and loses its connection before it has paid")
}

// post sends an onion message along nodes, each of which is told the next.
func (s *stage) post(from *actor, way []onion.PathNode, content onion.Record) error {
	for i := range len(way) - 1 {
		way[i].Data.NextNode = &way[i+1].Node
	}
	var session [32]byte
	if _, err := rand.Read(session[:]); err != nil {
		return err
	}
	path, err := onion.NewBlindedPath(session, way)
	if err != nil {
		return err
	}
	return from.node.SendOnionMessage(path, onion.MessagePayload{Contents: []onion.Record{content}})
}

// unblock sends a message with payment_unblock through LSP_a to another node, over those given.
func (s *stage) unblock(from *actor, pid [32]byte, to *actor, over ...*actor) error {
	var way []onion.PathNode
	for _, x := range over {
		way = append(way, onion.PathNode{Node: x.node.ID()})
	}
	way = append(way, onion.PathNode{Node: s.lspA.node.ID(), Data: onion.EncryptedData{
		Custom: []onion.Record{{Type: rod.TypeUnblock, Value: pid[:]}},
	}}, onion.PathNode{Node: to.node.ID()})
	return s.post(from, way, onion.Record{Type: rod.TypeReady, Value: rod.Ready{Hashes: [][32]byte{s.invoice.Hash}}.Encode()})
}

// answerEarly wakes B, whose answer reaches LSP_a before there is anything to release.
func answerEarly(s *stage) error {
	if err := wakeB(s); err != nil {
		return err
	}
	if err := answer(s); err != nil {
		return err
	}
	released := func() bool {
		for _, r := range s.lspA.node.Requests() {
			if r.State == rod.Released && len(r.Members) == 0 && r.PidHash == rod.PidHash(s.pid) {
				return true
			}
		}
		return false
	}
	if err := s.until("unblock-remembered", "LSP_a's request is released without an HTLC", released); err != nil {
		return err
	}
	s.saw("unblock-remembered", "LSP_a took payment_unblock when there was no HTLC yet, and remembered it")
	if err := s.b.sleep(); err != nil {
		return err
	}
	return s.aside(s.lspA, "has nothing to release yet, and remembers; B goes offline again")
}

// payLate is step 3 after step 6: A comes back and pays, and LSP_a lets the HTLC pass.
func payLate(s *stage) error {
	if err := s.a.wake(); err != nil {
		return err
	}
	if err := s.payThrough(); err != nil {
		return err
	}
	s.want.passed = true
	return s.tell(3, s.a, "is back and pays: the HTLC passes LSP_a straight away; LSP_b calls B, and A goes offline")
}

// payThrough has A pay as to anybody. The HTLC must pass LSP_a and wait at LSP_b, since B is away; A leaves.
func (s *stage) payThrough() (err error) {
	err = s.until("passed", "A's channel can be used", func() bool { return s.a.tied(s.lspA) })
	if err != nil {
		return err
	}
	s.payment, err = s.a.node.Pay(s.invoice.Text, 0, 1)
	if err != nil {
		return fail("passed", "A cannot pay: %v", err)
	}
	err = s.watch("passed", "the HTLC goes on", s.lspA, func(log []entry) (bool, error) {
		if len(pick(log, node.HoldHolding, "hash", s.hash())) > 0 {
			return false, fail("passed", "LSP_a holds the HTLC that it should let pass")
		}
		if len(pick(log, node.HTLCFailed)) > 0 {
			return false, fail("passed", "LSP_a fails the HTLC that it should let pass")
		}
		return len(pick(log, node.HTLCForwarded)) > 0, nil
	})
	if err != nil {
		return err
	}
	if _, err := s.expect("passed", s.lspB, 1, node.HTLCIn, "hash", s.hash()); err != nil {
		return err
	}
	if err := s.called(s.b, rod.MethodPayment); err != nil {
		return err
	}
	return s.a.sleep()
}

// collect wakes B, who takes the HTLC that waits at LSP_b, and sleeps again.
func collect(s *stage) error {
	if err := s.b.wake(); err != nil {
		return err
	}
	if err := s.paid(); err != nil {
		return err
	}
	return s.tell(7, s.b, "is called by LSP_b (%s), takes the HTLC and has %s", rod.MethodPayment, sats(price))
}

// repeat has somebody deliver the right payment_unblock to LSP_a three more times.
func repeat(from func(*stage) *actor, over func(*stage) []*actor) act {
	return func(s *stage) error {
		const times = 3
		x := from(s)
		before := s.count(s.lspA, node.UnblockSeen)
		for range times {
			if err := s.unblock(x, s.pid, s.a, over(s)...); err != nil {
				return err
			}
		}
		if _, err := s.expect("duplicates-ignored", s.lspA, before+times, node.UnblockSeen); err != nil {
			return err
		}
		return s.aside(x, "sends the same payment_unblock %d more times", times)
	}
}

var (
	repeatFromB   = repeat(func(s *stage) *actor { return s.b }, func(s *stage) []*actor { return []*actor{s.lspB} })
	repeatFromLSP = repeat(func(s *stage) *actor { return s.lspB }, func(*stage) []*actor { return nil })
)

// tellDuplicates shows what came of the repetitions.
func tellDuplicates(s *stage) error {
	seen, went := s.count(s.lspA, node.UnblockSeen), s.count(s.lspA, node.HTLCForwarded)
	if went != s.parts {
		return fail("duplicates-ignored", "LSP_a forwarded %d HTLCs after %d times payment_unblock, want %d", went, seen, s.parts)
	}
	s.saw("duplicates-ignored", "LSP_a saw payment_unblock %d times and forwarded %s", seen, plural(went, "HTLC"))
	return nil
}

// forgeUnblocks has a stranger try: with pids that are nobody's, and with the right one on a way that does not lead to A.
func forgeUnblocks(s *stage) error {
	var nobodys [32]byte
	if _, err := rand.Read(nobodys[:]); err != nil {
		return err
	}
	forged := []struct {
		pid [32]byte
		to  *actor
	}{
		{nobodys, s.a},
		{s.invoice.Hash, s.a},     // what the route knows
		{rod.PidHash(s.pid), s.a}, // what LSP_a has on its disk
		{sha256.Sum256(s.pid[:]), s.a},
		{s.pid, s.stranger},
	}
	for _, f := range forged {
		if err := s.unblock(s.stranger, f.pid, f.to); err != nil {
			return err
		}
	}
	if _, err := s.expect("forgeries-ignored", s.lspA, len(forged), node.UnblockSeen); err != nil {
		return err
	}
	armed := 0
	for _, r := range s.lspA.node.Requests() {
		if r.State == rod.Armed {
			armed++
		}
	}
	if n := len(s.heldParts()); n != s.parts || armed != 1 || s.count(s.lspA, node.HTLCForwarded) > 0 {
		return fail("forgeries-ignored", "after forged payment_unblocks LSP_a holds %d HTLCs, want %d: a wrong pid released the payment", n, s.parts)
	}
	if err := s.lookDownstream(); err != nil {
		return err
	}
	s.saw("forgeries-ignored", "LSP_a saw %d forged payment_unblocks and released nothing", len(forged))
	return s.aside(s.stranger, "sends LSP_a %d payment_unblocks with pids that are not A's: nothing is released", len(forged))
}

// forgeHolds has M ask LSP_a to hold the payment hash of A's invoice: in A's name, in nobody's, and in its own.
func forgeHolds(s *stage) error {
	lsp := s.lspA.node.ID()
	key, err := btcec.NewPrivateKey()
	if err != nil {
		return err
	}
	var pid [32]byte
	if _, err := rand.Read(pid[:]); err != nil {
		return err
	}
	req := rod.HoldRequest{PidHash: rod.PidHash(pid), Hashes: [][32]byte{s.invoice.Hash}}
	own, err := rod.SignHold(key, lsp, req)
	if err != nil {
		return err
	}
	inAsName := own
	inAsName.Payer = s.a.node.ID()
	for _, m := range []rod.HoldRequest{own, inAsName} {
		if err := s.post(s.stranger, []onion.PathNode{{Node: lsp}}, onion.Record{Type: rod.TypeHold, Value: m.Encode()}); err != nil {
			return err
		}
	}
	// The call goes over the same connection as the messages, so they have been heard when it is answered.
	status, err := s.stranger.node.RequestHold(s.ctx, lsp, req)
	if err != nil {
		return fail("forgeries-ignored", "%v", err)
	}
	if status != rod.AckOK { // M may have its own HTLCs held; A's are none of them
		return fail("forgeries-ignored", "LSP_a refuses to hold for M itself: %s", status)
	}
	s.want.armed++
	for _, r := range s.lspA.node.Requests() {
		if r.Peer != s.stranger.node.ID() {
			return fail("forgeries-ignored", "LSP_a took a request that its payer did not sign")
		}
	}
	s.saw("forgeries-ignored", "of three requests of M about A's payment hash LSP_a took the one in M's own name, which holds only M's HTLCs")
	return s.aside(s.stranger, "asks LSP_a to hold A's payment: in A's name, in nobody's, and in its own")
}

// payPlainly has A pay the invoice without a hold, unhindered by M's, and B write another for the payment that follows.
func payPlainly(s *stage) error {
	if err := s.payThrough(); err != nil {
		return err
	}
	if err := s.b.wake(); err != nil {
		return err
	}
	next, err := s.b.node.CreateInvoice(node.InvoiceWish{Amount: price, Description: "another coffee"})
	if err != nil {
		return err
	}
	if err := s.paid(); err != nil {
		return err
	}
	if err := s.a.wake(); err != nil {
		return err
	}
	if err := s.settled(); err != nil {
		return err
	}
	s.saw("unhindered", "an ordinary payment of the hash that M wanted held passed LSP_a straight away")
	s.begin()
	s.invoice, s.want.amount = next, s.want.amount+price
	return s.aside(s.a, "pays the invoice in the ordinary way, unhindered; B has written another")
}
