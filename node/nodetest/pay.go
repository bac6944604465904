package nodetest

import (
	"crypto/sha256"
	"slices"

	"lightningrod/channel"
	"lightningrod/node/forward"
	"lightningrod/rod"

	"github.com/lightningnetwork/lnd/lnwire"
)

const (
	delta    = 40  // cltv_expiry_delta of everybody
	carrier  = 150 // what the payer gives its LSP for a hold
	minFinal = 18
	slack    = 8 // blocks that may pass on the way
)

// hold is how a payment asks to be held.
type hold uint8

const (
	holdNot hold = iota
	holdByHTLC
	holdByMessage
)

// payment is one attempt of a payer to pay a hash.
type payment struct {
	index         int
	payer, payee  *node
	hash          [32]byte
	preimage      [32]byte
	first         bool // with this hash: preimage is the one of its invoice
	pid           [32]byte
	hold          hold
	amount        lnwire.MilliSatoshi // at the payee
	asked         uint32              // release_deadline
	parts         []*part
	count         int  // parts of one attempt; more of them if the payer tries again
	ends          bool // rod.Payer and rod.Payee carry it
	spoiled       bool // the onion cannot be read by the payee
	offered       bool // Pay was told to the payer's forwarder (in this or an earlier life)
	cancelled     bool // rod_cancel was told to the LSP
	unblocked     bool // the right unblock found the request armed
	tries         int  // unblocks delivered
	ackUntil      int64
	ackDeadline   uint32
	acked, waived bool
}

type part struct {
	edges    []*edge // from the payer on
	amounts  []lnwire.MilliSatoshi
	expiries []uint32
	mustHold bool // it was committed at the LSP with a hold in force
}

func (p *payment) id() uint64 { return uint64(p.index + 1) }

// lsp is the payer's channel peer.
func (p *payment) lsp() *node {
	e := p.parts[0].edges[0]
	return p.payer.w.nodes[e.link.nodes[1-e.link.side(p.payer.index)]]
}

// wish is what an action says about a new payment.
type wish struct {
	payer, payee *node
	amount       lnwire.MilliSatoshi
	parts        int
	hold         hold
	blocks       uint32   // the hold may last
	asks         bool     // name a release_deadline
	again        *payment // pay this one's hash once more
	spoiled      bool
	choice       int             // among parallel channels
	ends         rod.UnblockMode // carried by rod.Payer and rod.Payee, if not 0
}

// newPayment makes an invoice (unless the hash is an old one) and a route for each part.
func (w *World) newPayment(x wish) *payment {
	p := &payment{index: len(w.payments), payer: x.payer, payee: x.payee, hold: x.hold, amount: x.amount, spoiled: x.spoiled}
	p.pid = nameBytes("pid", p.id())
	if x.again != nil {
		p.hash, p.payee, p.amount = x.again.hash, x.again.payee, x.again.amount
	} else {
		p.first, p.preimage = true, nameBytes("preimage", p.id())
		p.hash = sha256.Sum256(p.preimage[:])
		w.register(p)
	}
	path := w.path(p.payer, p.payee)
	if path == nil {
		return nil
	}
	height := p.payer.height()
	final := height + minFinal + slack
	first := uint32(delta)
	if x.hold != holdNot {
		final += x.blocks
		first = carrier
		if x.asks {
			p.asked = rod.MaxDeadline(final, minFinal)
		} else {
			final += 288 // the LSP keeps room for hops it cannot see
		}
	}
	for i := range x.parts {
		amount := p.amount / lnwire.MilliSatoshi(x.parts)
		if i == 0 {
			amount += p.amount % lnwire.MilliSatoshi(x.parts)
		}
		p.parts = append(p.parts, w.route(path, amount, final, first, x.choice+i))
	}
	p.count = len(p.parts)
	w.payments = append(w.payments, p)
	return p
}

// register puts an invoice on the payee's disk: its API would have waited for that.
func (w *World) register(p *payment) {
	out := p.payee.forward.Handle(forward.Register{Invoice: forward.Invoice{
		Hash: p.hash, Preimage: p.preimage, Secret: nameBytes("secret", p.id()), Amount: p.amount,
		Expiry: w.now + 86400, MinFinalCltv: minFinal,
	}})
	if err := p.payee.disk.write(&turn{rows: out.Rows}); err != nil {
		w.fail("%v", err)
	}
}

// secret is the payment_secret of the invoice with a payment's hash.
func (w *World) secret(hash [32]byte) [32]byte {
	for _, p := range w.payments {
		if p.hash == hash {
			return nameBytes("secret", p.id())
		}
	}
	return nameBytes("secret", uint64(len(w.payments)+1))
}

// path is the nodes from one to another. The topologies are trees, but for parallel channels.
func (w *World) path(from, to *node) []*node {
	var walk func(at, before *node) []*node
	walk = func(at, before *node) []*node {
		if at == to {
			return []*node{at}
		}
		for _, l := range w.links {
			if l.nodes[0] != at.index && l.nodes[1] != at.index {
				continue
			}
			next := w.nodes[l.nodes[1-l.side(at.index)]]
			if next == before {
				continue
			}
			if rest := walk(next, at); rest != nil {
				return append([]*node{at}, rest...)
			}
		}
		return nil
	}
	return walk(from, nil)
}

// route fixes amounts and expiries from the end to the beginning, as a payer does.
func (w *World) route(path []*node, amount lnwire.MilliSatoshi, final, first uint32, choice int) *part {
	p := &part{}
	for i := 0; i+1 < len(path); i++ {
		l := w.linkOf(path[i].index, path[i+1].index)
		var among []*edge
		for _, e := range w.edges {
			if e.link == l {
				among = append(among, e)
			}
		}
		p.edges = append(p.edges, among[choice%len(among)])
	}
	n := len(p.edges)
	p.amounts, p.expiries = make([]lnwire.MilliSatoshi, n), make([]uint32, n)
	for i := n - 1; i >= 0; i-- {
		if i == n-1 {
			p.amounts[i], p.expiries[i] = amount, final
			continue
		}
		fee, _ := w.policy.Fee(p.amounts[i+1])
		p.amounts[i], p.expiries[i] = p.amounts[i+1]+fee, p.expiries[i+1]+delta
		if i == 0 {
			p.expiries[i] = p.expiries[i+1] + first
		}
	}
	return p
}

// packet is the onion of a part.
func (p *payment) packet(i int) [1366]byte {
	part := p.parts[i]
	var hops []hop
	for k := 1; k < len(part.edges); k++ {
		hops = append(hops, hop{kind: hopForward, amount: part.amounts[k], cltv: part.expiries[k], next: part.edges[k].scid})
	}
	last := len(part.edges) - 1
	h := hop{kind: hopFinal, amount: part.amounts[last], cltv: part.expiries[last], secret: p.payer.w.secret(p.hash), total: p.amount}
	if p.spoiled {
		h.kind = hopGarbage
	}
	return wrap(append(hops, h), tag{uint32(p.index), uint32(i)})
}

// offer has the payer's forwarder offer the parts.
func (p *payment) offer() {
	p.offered = true
	p.payer.think(*p.pay(0, len(p.parts)))
}

// pay is the parts from first on.
func (p *payment) pay(first, count int) *forward.Pay {
	pay := &forward.Pay{Payment: forward.Payment{ID: p.id(), Hash: p.hash, Total: p.amount, Created: p.payer.w.now}}
	var tlvs []byte
	if p.hold == holdByHTLC {
		tlvs = p.holdTLV()
	}
	for i := first; i < first+count; i++ {
		part := p.parts[i]
		pay.Parts = append(pay.Parts, forward.Offer{
			Part:  forward.Part{Index: uint32(i), Channel: channel.ID(part.edges[0].index + 1), Amount: part.amounts[0], Expiry: part.expiries[0]},
			Onion: p.packet(i), TLVs: tlvs,
		})
	}
	return pay
}

// total is what the HTLCs to the LSP carry.
func (p *payment) total() (total uint64) {
	for _, part := range p.parts[:p.count] {
		total += uint64(part.amounts[0])
	}
	return total
}

// request is rod_hold, as it goes over LSPS0: without a signature.
func (p *payment) request() []byte {
	return rod.HoldRequest{PidHash: rod.PidHash(p.pid), Hashes: [][32]byte{p.hash}, TotalMsat: p.total(), Deadline: p.asked,
		ExpectedParts: uint16(p.count)}.Encode()
}

// ask has the payer's LSP hear of the hold. The answer comes to replied.
func (p *payment) ask() {
	lsp := p.lsp()
	lsp.think(forward.Rod{Event: rod.Requested{Peer: p.payer.id, HasChannel: lsp.hasUsable(p.payer), Payload: p.request(), Direct: true}})
}

func (n *node) hasUsable(peer *node) bool {
	return slices.ContainsFunc(n.with(peer), func(in *inbox) bool { _, _, ok := in.state.Usable(); return ok })
}

// replied is an answer of an LSP that has left it. An ack lets the payer offer.
func (w *World) replied(n *node, r rod.Reply) {
	if r.Path != nil {
		w.mail = append(w.mail, w.along(r.Path, letter{from: n, typ: r.Type, payload: r.Payload}))
	}
	if r.Type != rod.TypeHoldAck {
		return
	}
	ack, err := rod.DecodeAck(r.Payload)
	if err != nil {
		w.fail("ack: %v", err)
	}
	for _, p := range w.payments {
		if p.hold != holdByMessage || rod.PidHash(p.pid) != ack.PidHash || p.payer.id != r.Peer {
			continue
		}
		if p.ends {
			path := nameBytes("path", p.id())
			w.mail = append(w.mail, letter{from: n, to: p.payer, through: n, typ: r.Type, payload: r.Payload, pathID: path[:]})
		}
		if p.acked || ack.Status != rod.AckOK {
			continue
		}
		p.acked, p.ackUntil, p.ackDeadline = true, int64(ack.ArmedUntil), ack.Deadline
	}
}

// goAhead offers the payments whose holds were granted.
func (w *World) goAhead() {
	for _, p := range w.payments {
		if p.acked && !p.ends && !p.offered && !p.cancelled && w.now < p.ackUntil {
			p.offer()
		}
	}
}

// cancel has the LSP hear that the payer takes a hold back.
func (p *payment) cancel() {
	lsp := p.lsp()
	p.cancelled = true
	m := rod.CancelRequest{PidHash: rod.PidHash(p.pid)}
	lsp.think(forward.Rod{Event: rod.CancelRequested{Peer: p.payer.id, HasChannel: lsp.hasUsable(p.payer), Payload: m.Encode(), Direct: true}})
}

// unblock has the LSP see a payment_unblock on the way to the payer.
func (p *payment) unblock(right bool) {
	lsp := p.lsp()
	p.tries++
	pid, next := p.pid, p.payer.id
	if !right {
		pid = nameBytes("wrong pid", uint64(p.tries))
	}
	ev := forward.Rod{Event: rod.Unblock{Pid: pid, Next: next}}
	armed := p.armed()
	if lsp.w.bug.unblock(p, right, armed) {
		return
	}
	if !right || !armed {
		lsp.unmoved(ev)
		return
	}
	t := &turn{}
	if !p.unblocked { // if the crash of a payer made it pay again, once is for all parts
		p.unblocked = true
		t.lost = append(t.lost, func() { p.unblocked = false })
	}
	lsp.thinkWith(t, []forward.Event{ev})
}

// armed says whether the LSP has a request of this payment that an unblock would release.
func (p *payment) armed() bool {
	for _, r := range p.lsp().forward.Rod().Requests() {
		if r.Peer == p.payer.id && r.PidHash == rod.PidHash(p.pid) && r.State == rod.Armed {
			return true
		}
	}
	return false
}

// early says that none of its HTLCs is at the LSP yet.
func (p *payment) early() bool {
	for _, r := range p.lsp().forward.Rod().Requests() {
		if r.Peer == p.payer.id && r.PidHash == rod.PidHash(p.pid) {
			return len(r.Members) == 0
		}
	}
	return true
}
