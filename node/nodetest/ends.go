package nodetest

import (
	"errors"
	"slices"

	"lightningrod/channel"
	"lightningrod/node/forward"
	"lightningrod/onion"
	"lightningrod/rod"
)

// The two ends of a Rod payment, rod.Payer and rod.Payee, as node/rodends.go wires them. Their onion messages are letters.

// letter is an onion message: what its last node reads, and what stands in the encrypted data of a node on the way.
type letter struct {
	to      *node
	through *node // sees unblock; the letter waits there while to is away. nil: to is always there
	from    *node
	typ     uint64
	payload []byte
	pathID  []byte // path_id, if it came along a path that to made
	reply   []byte // an encoded path
	unblock [32]byte
}

// A path is encoded as the node it goes through, its last node, path_id and payment_unblock.
func encodePath(through, to *node, r rod.ReturnPath) []byte {
	b := []byte{byte(through.index), byte(to.index)}
	return append(append(b, r.PathID[:]...), r.Unblock[:]...)
}

func (w *World) along(path []byte, l letter) letter {
	l.through, l.to, l.pathID, l.unblock = w.nodes[path[0]], w.nodes[path[1]], path[2:34], [32]byte(path[34:66])
	return l
}

func (w *World) byID(id [33]byte) *node {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	return nil
}

// loadEnds loads payer and payee.
func (n *node) loadEnds() {
	var err error
	if n.payer, err = rod.LoadPayer(n.disk.rowsOf(rod.TablePayer)...); err != nil {
		n.w.fail("%s cannot load its payer: %v", n.name, err)
	}
	if n.payee, err = rod.LoadPayee(n.disk.rowsOf(rod.TablePayee)...); err != nil {
		n.w.fail("%s cannot load its payee: %v", n.name, err)
	}
}

// begin starts a payment with the payer's machine.
func (p *payment) begin(mode rod.UnblockMode) {
	n := p.payer
	s := rod.Start{
		ID: p.id(), Pid: p.pid, PathID: nameBytes("path", p.id()), ReadyPathID: nameBytes("ready", p.id()),
		LSP: p.lsp().id, Self: n.id, Cancel: rod.CancelRequest{PidHash: rod.PidHash(p.pid)}.Encode(), ByHTLC: p.hold == holdByHTLC,
		Hashes: [][32]byte{p.hash}, AmountMsat: uint64(p.amount), TotalMsat: p.total(), Deadline: p.asked, Mode: mode,
		Dest: []byte{byte(p.payee.index)}, Patience: 60,
	}
	if !s.ByHTLC {
		s.Hold = p.request()
	}
	out, err := n.payer.Start(s)
	if err != nil {
		n.w.fail("payment %d: %v", p.index, err)
	}
	n.payerSays(&turn{}, out)
}

// payerSays does what the payer's side wants: rows first, then letters and HTLCs.
func (n *node) payerSays(t *turn, out rod.PayerOutput) {
	t.rows = append(t.rows, out.Rows...)
	n.letters(t, out.Send)
	var pays []forward.Event
	for _, g := range out.Pay {
		pay, err := n.offerHeld(g)
		if err != nil {
			over := n.payer.Over(g.ID)
			t.rows = append(t.rows, over.Rows...)
			n.letters(t, over.Send)
		} else if pay != nil {
			pays = append(pays, *pay)
		}
	}
	n.thinkWith(t, pays)
}

func (n *node) payeeSays(t *turn, out rod.PayeeOutput) {
	t.rows = append(t.rows, out.Rows...)
	n.letters(t, out.Send)
	n.thinkWith(t, nil)
}

// offerHeld makes the parts of a payment whose hold is granted. It gives nil if they were offered before, or while the LSP is away.
func (n *node) offerHeld(g rod.Go) (*forward.Pay, error) {
	rec, known := n.forward.Payment(g.ID)
	if known && rec.State != forward.PaymentFailed {
		return nil, nil
	}
	if g.Until != 0 && n.w.now >= g.Until {
		return nil, errors.New("the hold has run out")
	}
	p := n.w.payments[g.ID-1]
	first := p.parts[0]
	switch {
	case first.expiries[len(first.expiries)-1] <= n.height()+minFinal:
		return nil, errors.New("too late")
	case len(n.with(p.lsp())) == 0:
		return nil, errors.New("no channel with the LSP is left")
	case !n.hasUsable(p.lsp()):
		return nil, nil
	}
	for len(p.parts) < len(rec.Parts)+p.count {
		again := *p.parts[len(p.parts)%p.count]
		again.mustHold = false
		p.parts = append(p.parts, &again)
	}
	return p.pay(len(rec.Parts), p.count), nil
}

// postponed says whether a payment whose parts all failed is to be offered once more: its hold is granted, nothing of it has ever left,
// and the LSP is away.
func (n *node) postponed(id uint64) bool {
	granted := slices.ContainsFunc(n.payer.Resume().Pay, func(g rod.Go) bool { return g.ID == id })
	p, ok := n.forward.Payment(id)
	if !granted || !ok || p.State != forward.PaymentFailed {
		return false
	}
	came := slices.ContainsFunc(p.Parts, func(part forward.Part) bool { return part.Reason != nil })
	return !came && !n.hasUsable(n.w.payments[id-1].lsp())
}

// ledger tells the ends what the forwarder found out.
func (n *node) ledger(t *turn, x forward.Notice) {
	switch x := x.(type) {
	case forward.PartArrived:
		t.rows = append(t.rows, n.payee.Arrived(x.Hash).Rows...)
	case forward.Received:
		t.rows = append(t.rows, n.payee.Closed(x.Invoice.Hash).Rows...)
	case forward.PayRefused:
		if x.Later || n.w.bug == BugRefusalKept {
			break
		}
		over := n.payer.Over(x.ID)
		t.rows = append(t.rows, over.Rows...)
		n.letters(t, over.Send)
	case forward.PaymentDone:
		if !x.Paid && n.postponed(x.ID) {
			break
		}
		over := n.payer.Over(x.ID)
		t.rows = append(t.rows, over.Rows...)
		n.letters(t, over.Send)
	}
}

// letters packs the messages of a payer or payee.
func (n *node) letters(t *turn, ms []rod.Message) {
	for _, m := range ms {
		l := letter{from: n, typ: m.Type, payload: m.Payload}
		switch {
		case m.Path != nil:
			l = n.w.along(m.Path, l)
		case m.Dest != nil:
			l.to = n.w.nodes[m.Dest[0]]
			l.through = n.w.lspOf(l.to)
		case m.Through != [33]byte{}:
			l.to, l.through, l.unblock = n.w.byID(m.To), n.w.byID(m.Through), m.Unblock
		default:
			l.to = n.w.byID(m.To)
		}
		if m.Reply != nil {
			l.reply = encodePath(n.w.byID(m.Reply.Through), n, *m.Reply)
		}
		t.mail = append(t.mail, l)
	}
}

// lspOf is the first peer of a node.
func (w *World) lspOf(n *node) *node {
	for _, l := range w.links {
		if l.nodes[0] == n.index || l.nodes[1] == n.index {
			return w.nodes[l.nodes[1-l.side(n.index)]]
		}
	}
	return nil
}

// hand gives a letter to its last node, if that is there; on the way its unblock takes effect. A second copy of a letter is as good as a first.
func (w *World) hand(l letter) bool {
	if l.unblock != [32]byte{} {
		for _, p := range w.payments {
			if p.pid == l.unblock && p.lsp() == l.through && p.payer == l.to {
				p.unblock(true)
			}
		}
	}
	if near := l.through; near == nil {
		if l.from != nil && !w.connected(l.from, l.to) {
			return false // lost: the sender is offline
		}
	} else if !w.connected(near, l.to) {
		l.unblock = [32]byte{}
		w.boxes = append(w.boxes, l)
		return true
	}
	w.trace("  %s reads a letter of type %d", l.to.name, l.typ-rod.TypeHold+1)
	l.to.opens(l)
	return true
}

func (w *World) connected(a, b *node) bool { l := w.linkOf(a.index, b.index); return l.conn != 0 }

// opens is the end of a letter.
func (n *node) opens(l letter) {
	switch l.typ {
	case rod.TypeHold:
		n.think(forward.Rod{Event: rod.Requested{Peer: l.from.id, HasChannel: n.hasUsable(l.from), Payload: l.payload, ReplyPath: l.reply, Direct: true}})
	case rod.TypeCancel:
		for _, p := range n.w.payments {
			if c, err := rod.DecodeCancel(l.payload); err == nil && c.PidHash == rod.PidHash(p.pid) {
				p.cancelled = true
			}
		}
		n.think(forward.Rod{Event: rod.CancelRequested{Peer: l.from.id, HasChannel: n.hasUsable(l.from), Payload: l.payload, ReplyPath: l.reply, Direct: true}})
	case rod.TypeHoldAck:
		n.payerSays(&turn{}, n.payer.Ack([32]byte(l.pathID), l.payload))
	case rod.TypeStatus:
		n.payerSays(&turn{}, n.payer.Status([32]byte(l.pathID), l.payload))
	case rod.TypeReady:
		if len(l.pathID) == 0 {
			n.payerSays(&turn{}, n.payer.ReadyFor(l.payload))
		} else {
			n.payerSays(&turn{}, n.payer.Ready([32]byte(l.pathID)))
		}
	case rod.TypeNotice:
		n.noticed(l)
	}
}

// noticed is a payer's notice that a payment waits.
func (n *node) noticed(l letter) {
	m, err := rod.DecodeNotice(l.payload)
	if err != nil {
		n.w.fail("notice: %v", err)
	}
	known := make([]rod.Invoice, len(m.Hashes))
	for i, h := range m.Hashes {
		if inv, ok := n.forward.Invoice(h); ok && inv.State == forward.InvoiceOpen {
			known[i] = rod.Invoice{Open: true, MinMsat: uint64(inv.Amount), MaxMsat: 2 * uint64(inv.Amount)}
		}
	}
	if out, err := n.payee.Notice(l.payload, l.reply, known); err == nil {
		n.payeeSays(&turn{}, out)
	}
}

// up says that a peer, or a channel with it, has come to life: what may have been lost is said again.
func (n *node) up(peer *node) {
	live := slices.ContainsFunc(n.inboxes, func(in *inbox) bool { _, _, ok := in.state.Usable(); return ok })
	for _, in := range n.with(peer) {
		if _, _, ok := in.state.Usable(); !ok && in.state.Phase() == channel.PhaseNormal {
			return
		}
	}
	n.payerSays(&turn{}, n.payer.Connected(peer.id))
	n.payerSays(&turn{}, n.payer.Resume())
	if live {
		n.payeeSays(&turn{}, n.payee.Live(true))
	}
	w := n.w
	var rest []letter
	for _, l := range w.boxes {
		if l.to == n && l.through == peer {
			w.mail = append(w.mail, l)
		} else {
			rest = append(rest, l)
		}
	}
	w.boxes = rest
}

// locked tells the payer's side of HTLCs that have become irrevocably committed.
func (n *node) locked(in *inbox) {
	for _, h := range in.state.Offered() {
		p, ours := h.HTLC.Origin.(channel.Payment)
		if !ours || h.Stage != channel.Irrevocable || in.locked[h.HTLC.Key.HTLC] {
			continue
		}
		if in.locked == nil {
			in.locked = map[uint64]bool{}
		}
		in.locked[h.HTLC.Key.HTLC] = true
		pay, ok := n.forward.Payment(p.ID)
		if (!ok || pay.State != forward.PaymentPending) && n.w.bug != BugEndedCommitted {
			continue
		}
		n.payerSays(&turn{}, n.payer.Committed(p.ID, h.HTLC.Expiry))
	}
}

// holdTLV is rod_hold_htlc for every HTLC of a payment.
func (p *payment) holdTLV() []byte {
	b, err := onion.EncodeRecords([]onion.Record{{Type: rod.TypeHoldHTLC, Value: rod.HoldTLV{PidHash: rod.PidHash(p.pid), Deadline: p.asked}.Encode()}})
	if err != nil {
		panic(err)
	}
	return b
}
