package nodetest

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"lightningrod/channel"
	"lightningrod/channel/onchain"
	"lightningrod/node/forward"
	"lightningrod/rod"

	"github.com/lightningnetwork/lnd/lnwire"
)

// read checks that no block was skipped: what is in it might be anything.
func (w *World) read() {
	for _, n := range w.nodes {
		for h := uint32(startHeight + 1); h <= w.chain.height(); h++ {
			b, _ := w.chain.block(h)
			if at := int(h - startHeight - 1); w.broken(invRead, at < len(n.read) && n.read[at] == b.Hash) {
				w.fail("%v\n  %s has not seen block %d", invRead, n.name, h)
			}
		}
	}
}

// honest are the nodes that are judged.
func (w *World) honest() (list []*node) {
	for _, n := range w.nodes {
		if !n.bad {
			list = append(list, n)
		}
	}
	return list
}

// leftovers says what is still pending; nil: nothing.
func (w *World) leftovers() (text func() string) {
	for _, n := range w.honest() {
		bodies := len(n.disk.bodies)
		for _, in := range n.inboxes {
			k := len(in.state.Offered()) + len(in.state.Received())
			if w.stuck(in) {
				// The peer is the adversary, and keeps quiet. What can happen on chain has happened.
				bodies -= k
				continue
			}
			if k > 0 {
				return func() string {
					return fmt.Sprintf("%s has %d HTLCs on %s\n%v\n%+v", n.name, k, in.edge.name, in.state, n.forward.Live())
				}
			}
			if in.state.Phase() >= channel.PhaseClosing {
				return func() string { return fmt.Sprintf("%s: %s is closing\n%v", n.name, in.edge.name, in.state) }
			}
			if in.edge.closing && !in.edge.onChain && in.state.Phase() == channel.PhaseShutdown {
				return func() string { return fmt.Sprintf("%s: %s is shutting down\n%v", n.name, in.edge.name, in.state) }
			}
		}
		if rows := n.disk.rowsOf(rod.TableRequest, rod.TableMember, rod.TablePayer, forward.TableSettled); len(rows) > 0 {
			return func() string {
				return fmt.Sprintf("%s has %d rows, the first %s %x", n.name, len(rows), rows[0].Table, rows[0].Key)
			}
		}
		if live := n.forward.Live(); len(live) > 0 && bodies == len(n.disk.bodies) {
			return func() string { return fmt.Sprintf("%s knows of HTLCs: %+v", n.name, live) }
		}
		if bodies > 0 {
			return func() string { return fmt.Sprintf("%d bodies are left", bodies) }
		}
	}
	return nil
}

// stuck says that a channel with the adversary waits for a message that does not come, and nothing of it matters to us: HTLCs that we offered
// would take it on chain, and so would those that we have fulfilled.
func (w *World) stuck(in *inbox) bool {
	owed := slices.ContainsFunc(in.state.Received(), func(h channel.LiveHTLC) bool { _, paid := h.Outcome.(channel.Fulfill); return paid })
	return w.nodes[in.peer].bad && in.state.Phase() < channel.PhaseClosing && len(in.state.Offered()) == 0 && !owed
}

// passed looks for outcomes that are not on their way to the incoming HTLC. Everything has been delivered.
func (w *World) passed(n *node) {
	for _, in := range n.inboxes {
		if in.state.Phase() >= channel.PhaseClosing {
			continue
		}
		for _, h := range in.state.Received() {
			child, ok := w.truth.child[nodeKey{n.index, h.HTLC.Key}]
			if !ok || h.Outcome != nil || h.Stage != channel.Irrevocable {
				continue
			}
			over := true
			if out := n.get(child.Channel); out != nil {
				if live := find(out.state.Offered(), child.HTLC); live != nil {
					final, why := w.final(n, out.edge, live.HTLC, 12)
					over = final && why != leftAlone
				}
			}
			w.must(invPassed, !over, "%s: the outgoing HTLC %v has ended, its incoming one %v was not told", n.name, child, h.HTLC.Key)
		}
	}
}

// judge looks at a world in which nothing is left to happen.
func (w *World) judge() {
	if left := w.leftovers(); w.broken(invEnd, left == nil) {
		w.fail("%v\n  %s", invEnd, left())
	}
	w.judgeOutcomes()
	for _, n := range w.honest() {
		var have, begin lnwire.MilliSatoshi
		for _, e := range w.edges {
			if e.link.nodes[0] != n.index && e.link.nodes[1] != n.index {
				continue
			}
			w.judgeChannel(n, e)
			have += w.ledger(n, e)
			begin += e.begin[n.side(e)]
		}
		want := int64(begin) + w.change(n) - w.forfeit(n)
		w.must(invMoney, int64(have) == want, "%s has %d msat, the outcomes say %d", n.name, have, want)
		w.judgeCoins(n)
	}
	w.agree()
}

// change is what payments have brought a node.
func (w *World) change(n *node) int64 {
	change := int64(w.truth.earned[n.index])
	for _, inv := range n.forward.Invoices() {
		change += int64(inv.Received)
	}
	for _, p := range w.payments {
		rec, ok := p.payer.forward.Payment(p.id())
		if !ok || p.payer != n {
			continue
		}
		for _, part := range rec.Parts {
			if part.State == forward.PartFulfilled {
				change -= int64(part.Amount)
			}
		}
	}
	return change
}

// forfeit is what a node has paid without being paid: for HTLCs of a peer that cheated, since the whole of that channel pays for them (see
// judgeJustice), and for those that were too small for the commitment of their channel that was confirmed.
func (w *World) forfeit(n *node) (sum int64) {
	for k, child := range w.truth.child {
		out, in := w.truth.resolved[nodeKey{n.index, child}], w.truth.received[k]
		if k.node != n.index || !out.paid || in.paid {
			continue
		}
		e := w.edges[k.key.Channel-1]
		small := w.small(in.amount)
		if e.view[n.side(e)] == onchain.Cheat || e.onChain && small {
			sum += int64(out.amount)
		}
	}
	return sum
}

func (w *World) judgeOutcomes() {
	invoices := map[[32]byte]bool{} // paid
	succeeded := map[[32]byte]bool{}
	adversary, dust := len(w.honest()) < len(w.nodes), false
	for _, n := range w.nodes {
		for _, inv := range n.forward.Invoices() {
			invoices[inv.Hash] = inv.State == forward.InvoicePaid
		}
	}
	for _, p := range w.payments {
		for _, part := range p.parts {
			for i, e := range part.edges {
				dust = dust || e.onChain && w.small(part.amounts[i])
			}
		}
		if p.payer.bad {
			succeeded[p.hash] = true
			continue
		}
		rec, ok := p.payer.forward.Payment(p.id())
		if !ok {
			continue // never durable: its caller was told nothing
		}
		w.must(invOutcome, rec.State != forward.PaymentPending, "payment %d is pending", p.index)
		paid := rec.State == forward.PaymentSucceeded
		succeeded[p.hash] = succeeded[p.hash] || paid
		if paid {
			w.stats.Paid++
			w.must(invOutcome, (invoices[p.hash] || p.payee.bad) && sha256.Sum256(rec.Preimage[:]) == p.hash,
				"payment %d has a preimage, its invoice is not paid", p.index)
		}
		for _, part := range rec.Parts {
			w.must(invOutcome, part.State != forward.PartOffered, "payment %d: part %d is on its way", p.index, part.Index)
		}
	}
	for hash, paid := range invoices {
		// The adversary may keep a preimage for itself, and what has no output may be lost on the way back.
		w.must(invOutcome, !paid || succeeded[hash] || adversary || dust, "invoice %x is paid, nobody has the preimage", hash[:4])
	}
}

// judgeChannel looks at what a node has of a channel, open or over.
func (w *World) judgeChannel(n *node, e *edge) {
	x := e.ending(w)
	if x == nil {
		in := n.inbox(e)
		w.must(invEnd, in != nil, "%s has forgotten %s", n.name, e.name)
		have, _ := in.state.Balance()
		ledger := w.ledger(n, e)
		w.must(invMoney, have == ledger, "%s on %s: balance %d msat, its outcomes say %d", n.name, e.name, have, ledger)
		return
	}
	if x.cm != nil {
		w.stats.close(w.kind(n, e, x))
	}
	w.judgeEnding(n, e, x)
}

// kind is whose commitment a node found on chain.
func (w *World) kind(n *node, e *edge, x *ending) string {
	view := e.view[n.side(e)]
	if view != onchain.Remote {
		return view.String()
	}
	newest := e.past[x.side][len(e.past[x.side])-1].OnchainParams(e.crypto[x.side]).Ours.Spec.Number
	if x.cm.Spec.Number < newest {
		return "the peer's commitment before its newest"
	}
	return view.String()
}

// agree compares the two sides of each channel at rest.
func (w *World) agree() {
	for _, e := range w.edges {
		a, b := w.nodes[e.link.nodes[0]].inbox(e), w.nodes[e.link.nodes[1]].inbox(e)
		if a == nil || b == nil || w.nodes[a.peer].bad || w.nodes[b.peer].bad {
			continue
		}
		al, ar := a.state.Balance()
		bl, br := b.state.Balance()
		w.must(invConservation, al == br && ar == bl, "%s: %d %d and %d %d", e.name, al, ar, bl, br)
	}
}
