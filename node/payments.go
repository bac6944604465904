package node

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"lightningrod/channel"
	"lightningrod/node/forward"
	"lightningrod/node/graph"
	"lightningrod/node/invoice"
	"lightningrod/onion"

	"github.com/lightningnetwork/lnd/lnwire"
)

// InvoiceWish is what an invoice is to say.
type InvoiceWish struct {
	Amount      lnwire.MilliSatoshi // 0: any
	Description string
	Expiry      time.Duration // 0: an hour
	Blinding    Blinding
}

// Invoice is an invoice of ours.
type Invoice struct {
	Text string
	Hash [32]byte
}

// minFinalCltv is the blocks we ask for at the end of a route (BOLT 11 min_final_cltv_expiry_delta).
const minFinalCltv = 42

// CreateInvoice makes an invoice. It is durable before it is returned.
func (n *Node) CreateInvoice(w InvoiceWish) (Invoice, error) {
	if w.Expiry == 0 {
		w.Expiry = time.Hour
	}
	preimage, err := n.random32()
	if err != nil {
		return Invoice{}, err
	}
	secret, err := n.random32()
	if err != nil {
		return Invoice{}, err
	}
	now := n.cfg.Now()
	ours := forward.Invoice{
		Hash: sha256.Sum256(preimage[:]), Preimage: preimage, Secret: secret, Amount: w.Amount, Expiry: now.Add(w.Expiry).Unix(), MinFinalCltv: minFinalCltv,
	}
	text, err := n.invoiceText(w, &ours, now)
	if err != nil {
		return Invoice{}, err
	}
	ours.Data = []byte(text)
	done := make(chan error, 1)
	n.queue.reserve()
	n.thinkWith(&turn{done: []chan<- error{done}}, []forward.Event{forward.Register{Invoice: ours}})
	return Invoice{Text: text, Hash: ours.Hash}, <-done
}

// invoiceText is what the payer reads of an invoice.
func (n *Node) invoiceText(w InvoiceWish, ours *forward.Invoice, now time.Time) (string, error) {
	inv := invoice.Invoice{Amount: w.Amount, Hash: ours.Hash, Description: w.Description, Created: now, Expiry: w.Expiry}
	if w.Blinding == NotBlinded {
		inv.Secret, inv.MinFinalCltv, inv.Hints = ours.Secret, ours.MinFinalCltv, n.routeHints()
	} else {
		paths, err := n.blindedPaths(w, ours.PathID())
		if err != nil {
			return "", err
		}
		inv.Paths = paths
	}
	key, err := n.invoiceKey(w.Blinding)
	if err != nil {
		return "", err
	}
	return invoice.New(inv, n.cfg.Params, key)
}

// routeHints are the private channels by which we can be paid, on the terms their peers told us.
func (n *Node) routeHints() [][]invoice.Hint {
	var hints [][]invoice.Hint
	for _, in := range n.registry.each(nil) {
		if h, ok := n.routeHint(in); ok {
			hints = append(hints, []invoice.Hint{h})
		}
	}
	return hints
}

// routeHint is a private channel as an invoice names it, if its peer has told us its terms.
func (n *Node) routeHint(in *inbox) (h invoice.Hint, ok bool) {
	s := in.state.Load()
	alias := s.RemoteAlias()
	if !s.Private() || alias.ToUint64() == 0 {
		return h, false
	}
	n.gossip.mu.Lock()
	p, ok := n.gossip.graph.PeerPolicy(uint64(in.id))
	n.gossip.mu.Unlock()
	return invoice.Hint{
		Node: in.peer, Channel: alias, FeeBase: p.FeeBase, FeeRate: p.FeeProportional, CltvDelta: p.CltvExpiryDelta,
	}, ok
}

// payee is what a payer reads in an invoice.
type payee struct {
	node     [33]byte
	hash     [32]byte
	secret   [32]byte
	amount   lnwire.MilliSatoshi
	minFinal uint32
	metadata []byte
	hints    [][]graph.Hint
	paths    []onion.PaymentPath // blinded, instead of node, secret, minFinal and hints
	text     string
}

func (n *Node) readInvoice(text string, amount lnwire.MilliSatoshi) (*payee, error) {
	inv, err := invoice.Decode(text, n.cfg.Params)
	if err != nil {
		return nil, err
	}
	p := &payee{node: inv.Node, hash: inv.Hash, secret: inv.Secret, amount: inv.Amount, minFinal: inv.MinFinalCltv, metadata: inv.Metadata, paths: inv.Paths, text: text}
	switch {
	case p.amount == 0:
		p.amount = amount
	case amount != 0 && amount != p.amount:
		return nil, fmt.Errorf("amount %d msat, but the invoice asks %d", amount, p.amount)
	}
	if p.amount == 0 {
		return nil, errors.New("the invoice names no amount: give one")
	}
	if n.cfg.Now().After(inv.Expires()) {
		return nil, fmt.Errorf("the invoice expired at %s", inv.Expires().UTC().Format(time.RFC3339))
	}
	if len(inv.Paths) > 0 {
		p.node, p.hints = blindEnd, n.pathHints(inv.Paths)
	}
	for _, path := range inv.Hints {
		hops := make([]graph.Hint, len(path))
		for i, h := range path {
			hops[i] = graph.Hint{Node: h.Node, SCID: h.Channel, FeeBase: h.FeeBase, FeeProportional: h.FeeRate, CltvExpiryDelta: h.CltvDelta}
		}
		p.hints = append(p.hints, hops)
	}
	return p, nil
}

// routeWish is what routes are to be found for.
type routeWish struct {
	inv        *payee
	parts      int
	finalCltv  uint32    // blocks from now to the cltv_expiry at the payee
	firstHop   *[33]byte // the peer it has to start with
	firstDelta uint32    // blocks that peer gets at least
}

// route is a way for one part.
type route struct {
	graph.Route
	amount  lnwire.MilliSatoshi // of the HTLC we offer
	path    *onion.PaymentPath  // the blinded path that the last of Hops stands for; nil: none
	pathKey []byte              // of the HTLC we offer, where we are the path's introduction node
}

// maxFee is what a payment may cost: half a percent, and five satoshi in any case.
func maxFee(amount lnwire.MilliSatoshi) lnwire.MilliSatoshi { return amount/200 + 5000 }

func (n *Node) routes(w routeWish) ([]route, error) {
	height, _ := n.backend.Tip()
	req := graph.Request{
		From: n.id, To: w.inv.node, Amount: w.inv.amount, Height: height, FinalCltv: w.finalCltv, FirstHopDelta: w.firstDelta,
		Hints: w.inv.hints, MaxFee: maxFee(w.inv.amount), MaxParts: max(w.parts, 1),
	}
	for _, in := range n.registry.each(nil) {
		s := in.state.Load()
		out, _, ok := s.Usable()
		if !ok || w.firstHop != nil && in.peer != *w.firstHop {
			continue
		}
		scid := s.ShortID()
		if scid.ToUint64() == 0 {
			scid = s.RemoteAlias()
		}
		req.Local = append(req.Local, graph.LocalChannel{ID: uint64(in.id), SCID: scid, Peer: in.peer, Min: out.Min, Max: out.Max})
	}
	if len(req.Local) == 0 {
		return nil, errors.New("no channel can send now")
	}
	if len(w.inv.paths) > 0 {
		r, err := n.enter(w, req)
		if err == nil {
			return []route{r}, nil
		}
		if len(req.Hints) == 0 {
			return nil, err
		}
	}
	n.gossip.mu.Lock()
	var found []graph.Route
	var err error
	if w.parts > 1 {
		found, err = n.gossip.graph.FindParts(req, w.parts)
	} else {
		found, err = n.gossip.graph.Find(req)
	}
	n.gossip.mu.Unlock()
	if err != nil {
		return nil, err
	}
	routes := make([]route, len(found))
	for i, r := range found {
		routes[i] = followed(r, w.inv)
	}
	return routes, nil
}

// messageRoute is a way for an onion message to a node: the nodes after us, the last of them the node itself.
func (n *Node) messageRoute(to [33]byte) ([][33]byte, error) {
	if to == n.id {
		return nil, errors.New("a message to ourselves needs no route")
	}
	if n.isClient(to) || n.host.Peer(to) != nil {
		return [][33]byte{to}, nil
	}
	var start [][33]byte
	for _, p := range n.host.Peers() {
		start = append(start, p.Node())
	}
	n.gossip.mu.Lock()
	way, ok := n.gossip.graph.MessageRoute(start, to)
	n.gossip.mu.Unlock()
	if ok {
		return way, nil
	}
	return [][33]byte{to}, nil // straight, if its address is known
}

// wayToPayee is messageRoute to the payee of an invoice: over the node of a route hint if the payee is not public.
func (n *Node) wayToPayee(inv *payee) ([][33]byte, error) {
	for _, hint := range inv.hints {
		if len(hint) != 1 {
			continue
		}
		if hint[0].Node == n.id {
			return [][33]byte{inv.node}, nil
		}
		way, err := n.messageRoute(hint[0].Node)
		if err != nil {
			return nil, err
		}
		return append(way, inv.node), nil
	}
	return n.messageRoute(inv.node)
}

// Quote is what paying an invoice would cost in fees now, or why there is no way.
func (n *Node) Quote(text string, amount lnwire.MilliSatoshi) (fees lnwire.MilliSatoshi, err error) {
	inv, err := n.readInvoice(text, amount)
	if err != nil {
		return 0, err
	}
	routes, err := n.routes(routeWish{inv: inv, parts: 1, finalCltv: inv.minFinal})
	for _, r := range routes {
		fees += r.amount
	}
	return fees - min(fees, inv.amount), err
}

// Pay pays an invoice at once, in one or more parts, and returns the payment's id when it is durable.
func (n *Node) Pay(text string, amount lnwire.MilliSatoshi, parts int) (uint64, error) {
	inv, err := n.readInvoice(text, amount)
	if err != nil {
		return 0, err
	}
	const slack = 3 // blocks that may be found while it travels
	routes, err := n.routes(routeWish{inv: inv, parts: parts, finalCltv: inv.minFinal + slack})
	if err != nil {
		return 0, err
	}
	id, err := n.newPaymentID()
	if err != nil {
		return 0, err
	}
	pay, err := n.payEvent(id, inv, routes, 0, nil)
	if err != nil {
		return 0, err
	}
	n.queue.reserve()
	n.brain.mu.Lock()
	out := n.brain.forward.Handle(*pay)
	for _, x := range out.Notices {
		if refused, ok := x.(forward.PayRefused); ok { // then that is all there is
			n.brain.mu.Unlock()
			return 0, refused.Err
		}
	}
	done := make(chan error, 1)
	n.carryOut(&turn{done: []chan<- error{done}}, out)
	n.brain.mu.Unlock()
	return id, <-done
}

func (n *Node) newPaymentID() (uint64, error) {
	b, err := n.random32()
	return binary.BigEndian.Uint64(b[:]) >> 1, err
}

// payEvent builds the onions of a payment, whose parts are counted from first. TLVs go on every HTLC we offer.
func (n *Node) payEvent(id uint64, inv *payee, routes []route, first int, tlvs []byte) (*forward.Pay, error) {
	ev := &forward.Pay{Payment: forward.Payment{
		ID: id, Hash: inv.hash, Total: inv.amount, Created: n.cfg.Now().Unix(), Data: []byte(inv.text),
	}}
	for i, r := range routes {
		session, err := n.random32()
		if err != nil {
			return nil, err
		}
		hops := payHops(r, inv)
		packet, _, err := onion.Build(session, hops, inv.hash)
		if err != nil {
			return nil, err
		}
		secrets := session[:]
		for _, h := range hops {
			secrets = append(secrets, h.Node[:]...)
		}
		ev.Parts = append(ev.Parts, forward.Offer{
			Part: forward.Part{
				Index: uint32(first + i), Channel: channel.ID(r.Local), Amount: r.amount, Expiry: r.Hops[0].Expiry, Secrets: secrets,
			},
			Onion: packet, TLVs: append(r.pathKeyTLV(), tlvs...), PathKey: r.pathKey,
		})
	}
	return ev, nil
}

// payHops are the payloads of a route: each hop is told the terms of the next (BOLT 4).
func payHops(r route, inv *payee) []onion.PayHop {
	if r.path != nil {
		return blindHops(r, inv)
	}
	hops := make([]onion.PayHop, len(r.Hops))
	for i, h := range r.Hops {
		hops[i].Node = h.Node
		if i+1 < len(r.Hops) {
			next := r.Hops[i+1]
			hops[i].Amount, hops[i].Cltv, hops[i].NextSCID = next.Amount, next.Expiry, next.SCID
			continue
		}
		hops[i].Amount, hops[i].Cltv = h.Amount, h.Expiry
		hops[i].PaymentSecret, hops[i].Total, hops[i].Metadata = &inv.secret, inv.amount, inv.metadata
	}
	return hops
}

// ledgerNotice turns what the forwarder found out into events, and tells the ends of a Rod payment. The brain's mutex
// is held.
func (n *Node) ledgerNotice(t *turn, x forward.Notice) {
	say := func(k Kind, pairs ...any) { t.events = append(t.events, event(k, pairs...)) }
	switch x := x.(type) {
	case forward.PartArrived:
		say(HTLCForUs, "hash", x.Hash, "received_msat", uint64(x.Received), "total_msat", uint64(x.Total))
		t.rows = append(t.rows, rowOps(n.brain.payee.Arrived(x.Hash).Rows)...)
	case forward.Received:
		say(InvoicePaid, "hash", x.Invoice.Hash, "amount_msat", uint64(x.Invoice.Received))
		t.rows = append(t.rows, rowOps(n.brain.payee.Closed(x.Invoice.Hash).Rows)...)
	case forward.PayRefused:
		if _, rod := n.brain.payer.Dest(x.ID); rod && x.Later {
			break // clientBlock comes back to it
		}
		say(PaymentFailed, "payment", x.ID, "reason", x.Err)
		over := n.brain.payer.Over(x.ID)
		t.rows = append(t.rows, rowOps(over.Rows)...)
		n.rodMessages(t, over.Send)
	case forward.PaymentPartFailed:
		say(PartFailed, "payment", x.ID, "part", x.Part.Index, "reason", explain(x))
	case forward.PaymentPaid:
		say(PaymentDone, "payment", x.ID, "hash", x.Hash)
	case forward.PaymentDone:
		if !x.Paid {
			if n.postponed(x.ID) {
				break
			}
			say(PaymentFailed, "payment", x.ID, "hash", x.Hash, "reason", "every part failed")
		}
		over := n.brain.payer.Over(x.ID)
		t.rows = append(t.rows, rowOps(over.Rows)...)
		n.rodMessages(t, over.Send)
	case forward.Held:
		say(HoldHolding, "channel", x.Key.Channel, "id", x.Key.HTLC, "hash", x.Hash, "amount_msat", uint64(x.Amount), "deadline", x.Deadline)
	case forward.Forwarded:
		say(HTLCForwarded, "in_channel", x.In.Channel, "in_id", x.In.HTLC, "out_channel", x.Out, "fee_msat", uint64(x.Fee))
	case forward.Fulfilled:
		say(HTLCFulfilled, "channel", x.In.Channel, "id", x.In.HTLC)
	case forward.Failed:
		say(HTLCFailed, "channel", x.In.Channel, "id", x.In.HTLC, "code", x.Code)
	case forward.InvoiceRefused:
		n.log.Warn("invoice refused", "error", x.Err)
	}
}

// PaymentInfo is how a payment of ours stands.
type PaymentInfo struct {
	ID       uint64
	Hash     [32]byte
	State    forward.PaymentState
	Preimage [32]byte            // once it has succeeded
	Total    lnwire.MilliSatoshi // what the payee is to get
	Sent     lnwire.MilliSatoshi // with the fees, in parts that did not fail
	Created  time.Time
	Failure  *Failure // of one that has failed, if a part of it says why. Payments leaves it out
}

// Payment looks up a payment.
func (n *Node) Payment(id uint64) (PaymentInfo, bool) {
	n.brain.mu.Lock()
	p, ok := n.brain.forward.Payment(id)
	if !ok {
		info, ok := n.arming(id)
		n.brain.mu.Unlock()
		return info, ok
	}
	info := n.paymentInfo(p)
	n.brain.mu.Unlock()
	if info.State == forward.PaymentFailed {
		info.Failure = lastFailure(p)
	}
	return info, true
}

// paymentInfo is how a payment's row reads to others. The brain's mutex is held.
func (n *Node) paymentInfo(p forward.Payment) PaymentInfo {
	info := PaymentInfo{ID: p.ID, Hash: p.Hash, State: p.State, Preimage: p.Preimage, Total: p.Total, Created: time.Unix(p.Created, 0)}
	if n.postponed(p.ID) {
		info.State = forward.PaymentPending
	}
	for _, part := range p.Parts {
		if part.State != forward.PartFailed {
			info.Sent += part.Amount
		}
	}
	return info
}
