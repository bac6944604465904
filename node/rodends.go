package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"lightningrod/channel"
	"lightningrod/node/forward"
	"lightningrod/onion"
	"lightningrod/rod"

	"github.com/lightningnetwork/lnd/lnwire"
)

// This file is the two ends of a Rod payment, A's and B's: it gives rod.Payer and rod.Payee their events and sends what
// they say. What an LSP does is in mailroom.go (messages), brain.go (holds) and lsps.go (waking).

// AsyncPay is a wish to pay an invoice whose payee may be asleep, through an LSP that holds.
type AsyncPay struct {
	Invoice string
	Amount  lnwire.MilliSatoshi // for an invoice without one
	LSP     [33]byte            // a channel peer with option_lightning_rod
	Parts   int                 // at least 1
	Hold    uint32              // blocks that the payment may wait; 0: 432
	Mode    rod.UnblockMode     // who puts payment_unblock into the message; 0: the payer
	ByHTLC  bool                // the HTLCs themselves ask to be held, instead of a rod_hold
}

// plan is what a payer has to remember of a payment until its HTLCs are offered, and of its payee until it is over.
type plan struct {
	Invoice string              `json:"invoice"`
	Amount  lnwire.MilliSatoshi `json:"amount_msat"`
	LSP     []byte              `json:"lsp"`
	Parts   int                 `json:"parts"`
	Final   uint32              `json:"final_cltv"` // cltv_expiry at the payee, a height
}

// rodCarrier is the least that the LSP gets between its incoming and its outgoing HTLC, until its ack says otherwise.
const rodCarrier = 144

// defaultHold is the blocks a payment may wait when the payer does not say.
const defaultHold = 432

// SendAsync starts a Rod payment and returns its id once it is durable. From then on it goes by itself: the hold is asked for, the
// HTLCs are offered when it is granted, the payee is told, and the node may go offline.
func (n *Node) SendAsync(a AsyncPay) (uint64, error) {
	inv, err := n.readInvoice(a.Invoice, a.Amount)
	if err != nil {
		return 0, err
	}
	if len(inv.paths) > 0 {
		return 0, errors.New("the invoice has blinded paths: its payee has no id to send rod_notice to")
	}
	if a.Parts < 1 {
		a.Parts = 1
	}
	if a.Hold == 0 {
		a.Hold = defaultHold
	}
	if a.Mode == 0 {
		a.Mode = rod.UnblockByPayer
	}
	height, _ := n.backend.Tip()
	// The payee gets the blocks it asks for at the latest moment of release, and the LSP a deadline before that.
	const slack = 9
	final := height + a.Hold + inv.minFinal + slack
	pl := plan{Invoice: a.Invoice, Amount: inv.amount, LSP: a.LSP[:], Parts: a.Parts, Final: final}
	routes, err := n.routes(routeWish{inv: inv, parts: a.Parts, finalCltv: final - height, firstHop: &a.LSP, firstDelta: rodCarrier})
	if err != nil {
		return 0, err
	}
	start, err := n.rodStart(a, inv, pl, routes)
	if err != nil {
		return 0, err
	}
	n.paying.Store(true)
	n.queue.reserve()
	n.brain.mu.Lock()
	out, err := n.brain.payer.Start(start)
	if err != nil {
		n.brain.mu.Unlock()
		return 0, err
	}
	done := make(chan error, 1)
	t := &turn{done: []chan<- error{done}}
	n.payerSays(t, out)
	n.brain.mu.Unlock()
	return start.ID, <-done
}

// ErrNoAsync says that there is no such Rod payment under way.
var ErrNoAsync = errors.New("no such Rod payment is under way")

// CancelAsync takes a Rod payment back: the LSP is told to let go of what it holds, and the payment fails when it has. If
// the payee has the payment by then, it succeeds all the same.
func (n *Node) CancelAsync(id uint64) error {
	n.queue.reserve()
	n.brain.mu.Lock()
	if _, ok := n.brain.payer.Dest(id); !ok {
		n.brain.mu.Unlock()
		return fmt.Errorf("%w: %d", ErrNoAsync, id)
	}
	done := make(chan error, 1)
	n.payerSays(&turn{done: []chan<- error{done}}, n.brain.payer.Cancel(id))
	n.brain.mu.Unlock()
	return <-done
}

// rodStart draws the secrets of a payment and signs its request.
func (n *Node) rodStart(a AsyncPay, inv *payee, pl plan, routes []route) (rod.Start, error) {
	var s rod.Start
	id, err := n.newPaymentID()
	if err != nil {
		return s, err
	}
	for _, b := range []*[32]byte{&s.Pid, &s.PathID, &s.ReadyPathID} {
		if *b, err = n.random32(); err != nil {
			return s, err
		}
	}
	dest, err := json.Marshal(pl)
	if err != nil {
		return s, err
	}
	s.ID, s.LSP, s.Self, s.Dest, s.Mode, s.ByHTLC = id, a.LSP, n.id, dest, a.Mode, a.ByHTLC
	s.Hashes = [][32]byte{inv.hash}
	s.AmountMsat = uint64(inv.amount)
	for _, r := range routes {
		s.TotalMsat += uint64(r.amount)
	}
	s.LSPAddress = n.descriptor(a.LSP)
	s.Deadline = rod.MaxDeadline(pl.Final, inv.minFinal)
	s.Patience = 60
	cancel, err := rod.SignCancel(n.keys.identity, a.LSP, rod.CancelRequest{PidHash: rod.PidHash(s.Pid)})
	if err != nil {
		return s, err
	}
	s.Cancel = cancel.Encode()
	if a.ByHTLC {
		return s, nil
	}
	hold, err := rod.SignHold(n.keys.identity, a.LSP, rod.HoldRequest{
		PidHash: rod.PidHash(s.Pid), Hashes: s.Hashes, TotalMsat: s.TotalMsat, Deadline: s.Deadline, ExpectedParts: uint16(a.Parts),
	})
	if err != nil {
		return s, err
	}
	s.Hold = hold.Encode()
	return s, nil
}

// payerSays does what the payer's side wants: rows first, then messages and HTLCs. The brain's mutex is held.
func (n *Node) payerSays(t *turn, out rod.PayerOutput) {
	t.rows = append(t.rows, rowOps(out.Rows)...)
	n.rodMessages(t, out.Send)
	var pays []forward.Event
	for _, g := range out.Pay {
		pay, err := n.offerHeld(g)
		if err != nil {
			n.log.Warn("a held payment cannot be offered", "payment", g.ID, "error", err)
			t.events = append(t.events, event(PaymentFailed, "payment", g.ID, "reason", err))
			over := n.brain.payer.Over(g.ID)
			t.rows = append(t.rows, rowOps(over.Rows)...)
			n.rodMessages(t, over.Send)
			continue
		}
		if pay != nil {
			t.events = append(t.events, event(RodAcked, "payment", g.ID, "release_deadline", g.Deadline))
			pays = append(pays, *pay)
		}
	}
	for _, r := range out.Refused {
		t.events = append(t.events, event(PaymentFailed, "payment", r.ID, "reason", r.Reason, "status", r.Status))
	}
	for _, x := range out.Told {
		t.events = append(t.events, event(RodStatus, "payment", x.ID, "state", x.Status.State))
	}
	for _, lsp := range out.Connect {
		n.reach(lsp)
	}
	n.decide(t, pays)
}

// payeeSays is payerSays for the payee.
func (n *Node) payeeSays(t *turn, out rod.PayeeOutput) {
	t.rows = append(t.rows, rowOps(out.Rows)...)
	n.rodMessages(t, out.Send)
	n.decide(t, nil)
}

// offerHeld makes the parts of a payment whose hold is granted. It gives nil if they were offered before, or while the LSP
// is away: clientUp comes back to it, clientBlock ends it.
func (n *Node) offerHeld(g rod.Go) (*forward.Pay, error) {
	p, known := n.brain.forward.Payment(g.ID)
	if known && p.State != forward.PaymentFailed {
		return nil, nil
	}
	if g.Until != 0 && n.cfg.Now().Unix() >= g.Until {
		return nil, errors.New("the hold has run out")
	}
	pl, err := n.plan(g.ID)
	if err != nil {
		return nil, err
	}
	inv, err := n.readInvoice(pl.Invoice, pl.Amount)
	if err != nil {
		return nil, err
	}
	height, _ := n.backend.Tip()
	lsp := [33]byte(pl.LSP)
	switch {
	case pl.Final <= height+inv.minFinal:
		return nil, fmt.Errorf("height %d is too close to the payee's cltv_expiry %d", height, pl.Final)
	case !n.isClient(lsp):
		return nil, errors.New("no channel with the LSP is left")
	case !n.hasUsable(lsp):
		return nil, nil
	}
	delta := max(uint32(g.MinCltvDelta), rodCarrier)
	routes, err := n.routes(routeWish{inv: inv, parts: pl.Parts, finalCltv: pl.Final - height, firstHop: &lsp, firstDelta: delta})
	if err != nil {
		return nil, err
	}
	var tlvs []byte
	if g.Hold != nil {
		tlvs, err = onion.EncodeRecords([]onion.Record{{Type: rod.TypeHoldHTLC, Value: g.Hold.Encode()}})
		if err != nil {
			return nil, err
		}
	}
	return n.payEvent(g.ID, inv, routes, len(p.Parts), tlvs)
}

// plan is what was noted of a Rod payment when it was started.
func (n *Node) plan(id uint64) (pl plan, err error) {
	dest, ok := n.brain.payer.Dest(id)
	if !ok {
		return pl, fmt.Errorf("payment %d is unknown", id)
	}
	if err := json.Unmarshal(dest, &pl); err != nil {
		return pl, err
	}
	if len(pl.LSP) != 33 {
		return pl, fmt.Errorf("LSP id of %d bytes", len(pl.LSP))
	}
	return pl, nil
}

// postponed says whether a payment whose parts all failed is to be offered once more: its hold is granted, nothing of it
// has ever left us, because we stopped or the connection was lost in between, and the LSP is away now.
func (n *Node) postponed(id uint64) bool {
	granted := slices.ContainsFunc(n.brain.payer.Resume().Pay, func(g rod.Go) bool { return g.ID == id })
	p, ok := n.brain.forward.Payment(id)
	if !granted || !ok || p.State != forward.PaymentFailed {
		return false
	}
	pl, err := n.plan(id)
	came := slices.ContainsFunc(p.Parts, func(part forward.Part) bool { return part.Reason != nil })
	return err == nil && !came && !n.hasUsable([33]byte(pl.LSP))
}

// rodMessages packs the messages of a payer or payee.
func (n *Node) rodMessages(t *turn, ms []rod.Message) {
	for _, m := range ms {
		l, err := n.rodLetter(m)
		if err != nil {
			n.log.Warn("a Rod message cannot be sent", "type", m.Type, "error", err)
			continue
		}
		t.mail = append(t.mail, mail{letter: l})
		switch m.Type {
		case rod.TypeHold:
			t.events = append(t.events, event(RodHoldSent, "lsp", m.To))
		case rod.TypeNotice:
			t.events = append(t.events, event(RodNoticeSent))
		case rod.TypeReady:
			t.events = append(t.events, event(RodReadySent, "payment_unblock_by", unblocker(m)))
		}
	}
}

func unblocker(m rod.Message) string {
	if m.Unblock != ([32]byte{}) {
		return "payee"
	}
	return "payer"
}

// rodLetter finds the way of a Rod message.
func (n *Node) rodLetter(m rod.Message) (*letter, error) {
	l := &letter{payload: onion.MessagePayload{Contents: []onion.Record{{Type: m.Type, Value: m.Payload}}}}
	if m.Reply != nil {
		reply, err := n.returnPath(*m.Reply)
		if err != nil {
			return nil, err
		}
		l.payload.Reply = &reply
	}
	session, err := n.random32()
	if err != nil {
		return nil, err
	}
	switch {
	case m.Path != nil:
		path, err := onion.DecodeBlindedPath(m.Path)
		if err != nil {
			return nil, err
		}
		way, err := n.messageRoute(path.First)
		if err != nil {
			return nil, err
		}
		l.path, err = onion.JoinPath(session, way[:len(way)-1], path)
		return l, err
	case m.Dest != nil:
		var pl plan
		if err := json.Unmarshal(m.Dest, &pl); err != nil {
			return nil, err
		}
		inv, err := n.readInvoice(pl.Invoice, pl.Amount)
		if err != nil {
			return nil, err
		}
		way, err := n.wayToPayee(inv)
		if err != nil {
			return nil, err
		}
		l.path, err = onion.PathTo(session, way, onion.EncryptedData{})
		return l, err
	case m.Through != [33]byte{}:
		way, err := n.messageRoute(m.Through)
		if err != nil {
			return nil, err
		}
		l.path, err = unblockPath(session, append(way, m.To), m.Unblock)
		return l, err
	}
	way, err := n.messageRoute(m.To)
	if err != nil {
		return nil, err
	}
	l.path, err = onion.PathTo(session, way, onion.EncryptedData{})
	return l, err
}

// returnPath is the reply path over one node to us.
func (n *Node) returnPath(r rod.ReturnPath) (onion.BlindedPath, error) {
	session, err := n.random32()
	if err != nil {
		return onion.BlindedPath{}, err
	}
	through := onion.EncryptedData{NextNode: &n.id}
	if r.Unblock != ([32]byte{}) {
		through.Custom = []onion.Record{{Type: rod.TypeUnblock, Value: r.Unblock[:]}}
	}
	return onion.NewBlindedPath(session, []onion.PathNode{
		{Node: r.Through, Data: through},
		{Node: n.id, Data: onion.EncryptedData{PathID: r.PathID[:]}},
	})
}

// unblockPath is a path whose last node but one is told to release a hold: the seed's step 6 to the letter.
func unblockPath(session [32]byte, nodes [][33]byte, pid [32]byte) (onion.BlindedPath, error) {
	path := make([]onion.PathNode, len(nodes))
	for i := range nodes {
		path[i].Node = nodes[i]
		if i+1 < len(nodes) {
			path[i].Data.NextNode = &nodes[i+1]
		}
		if i+2 == len(nodes) && pid != ([32]byte{}) {
			path[i].Data.Custom = []onion.Record{{Type: rod.TypeUnblock, Value: pid[:]}}
		}
	}
	return onion.NewBlindedPath(session, path)
}

// finalMessage is an onion message whose end is here.
func (n *Node) finalMessage(from [33]byte, hop *onion.MessageHop) {
	var reply []byte
	if hop.Reply != nil {
		var err error
		if reply, err = hop.Reply.Encode(); err != nil {
			return
		}
	}
	for _, c := range hop.Contents {
		switch c.Type {
		case rod.TypeHold, rod.TypeCancel:
			n.rodRequest(c, reply)
		case rod.TypeHoldAck, rod.TypeStatus, rod.TypeReady:
			n.payerHears(c, hop.Data.PathID)
		case rod.TypeNotice:
			n.rodNotice(c.Value, reply)
		default:
			n.queue.put(&turn{events: []Event{event(MessageReceived, "type", c.Type)}})
		}
	}
}

// rodRequest is a wish to hold, or to end that, of whoever signed it.
func (n *Node) rodRequest(c onion.Record, reply []byte) {
	peer, err := rod.PayerOf(c.Value)
	if err != nil || !n.cfg.LSP {
		n.log.Debug("request to hold dropped", "error", err)
		return
	}
	var ev rod.Event = rod.Requested{Peer: peer, HasChannel: n.hasChannel(peer), Payload: c.Value, ReplyPath: reply}
	if c.Type == rod.TypeCancel {
		ev = rod.CancelRequested{Peer: peer, HasChannel: n.hasChannel(peer), Payload: c.Value, ReplyPath: reply}
	}
	n.think(forward.Rod{Event: ev})
}

// hasChannel says whether there is a channel with a peer that HTLCs may be offered on, now or once it is re-established. A peer
// that has just re-established it may ask before our own turn has seen that.
func (n *Node) hasChannel(peer [33]byte) bool {
	for _, in := range n.registry.each(&peer) {
		if in.state.Load().Phase() == channel.PhaseNormal {
			return true
		}
	}
	return false
}

// hasUsable says whether a channel with a peer can carry HTLCs.
func (n *Node) hasUsable(peer [33]byte) bool {
	for _, in := range n.registry.each(&peer) {
		if _, _, ok := in.state.Load().Usable(); ok {
			return true
		}
	}
	return false
}

// payerHears is an answer to the payer's side.
func (n *Node) payerHears(c onion.Record, pathID []byte) {
	n.queue.reserve()
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	var id [32]byte
	copy(id[:], pathID)
	p := n.brain.payer
	switch {
	case c.Type == rod.TypeReady && len(pathID) == 0:
		n.payerSays(&turn{}, p.ReadyFor(c.Value))
	case len(pathID) != 32:
	case c.Type == rod.TypeHoldAck:
		n.payerSays(&turn{}, p.Ack(id, c.Value))
	case c.Type == rod.TypeStatus:
		n.payerSays(&turn{}, p.Status(id, c.Value))
	case c.Type == rod.TypeReady:
		n.payerSays(&turn{}, p.Ready(id))
	}
}

// rodNotice is a payer's notice that a payment waits for us.
func (n *Node) rodNotice(payload, reply []byte) {
	m, err := rod.DecodeNotice(payload)
	if err != nil {
		n.log.Debug("rod_notice dropped", "error", err)
		return
	}
	n.queue.reserve()
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	known := make([]rod.Invoice, len(m.Hashes))
	for i, h := range m.Hashes {
		inv, ok := n.brain.forward.Invoice(h)
		if !ok || inv.State != forward.InvoiceOpen {
			continue
		}
		known[i] = rod.Invoice{Open: true, MinMsat: uint64(inv.Amount), MaxMsat: 2 * uint64(inv.Amount)}
	}
	out, err := n.brain.payee.Notice(payload, reply, known)
	t := &turn{}
	if err != nil {
		n.log.Info("rod_notice dropped", "error", err)
		return
	}
	h := rod.PidHash(m.Pid)
	t.events = []Event{event(RodNoticed, "pid_hash", h[:4], "hash", m.Hashes[0])}
	n.payeeSays(t, out)
}

// clientUp says that a peer, or a channel with it, has come to life: what may have been lost is said again.
func (n *Node) clientUp(peer [33]byte) {
	if _, ready := n.mailroom.ready(peer); !ready {
		return
	}
	live := false
	for _, in := range n.registry.each(nil) {
		if _, _, ok := in.state.Load().Usable(); ok {
			live = true
		}
	}
	n.queue.reserve()
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	n.payerSays(&turn{}, n.brain.payer.Connected(peer))
	n.payerSays(&turn{}, n.brain.payer.Resume())
	if live {
		n.payeeSays(&turn{}, n.brain.payee.Live(true))
	}
}

// clientTick is the clock for both ends and the mailbox.
func (n *Node) clientTick(now int64) {
	n.queue.reserve()
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	n.payerSays(&turn{}, n.brain.payer.Tick(now))
	n.payeeSays(&turn{}, n.brain.payee.Tick(now))
	old := n.brain.mailbox.Tick(now)
	t := &turn{rows: rowOps(old)}
	for _, row := range old {
		t.events = append(t.events, event(MessageDropped, "to", [33]byte(row.Key[:33]), "cause", "ttl"))
	}
	if n.clients.server != nil {
		t.rows = append(t.rows, rowOps(n.clients.server.Devices.Tick(now))...)
	}
	n.queue.put(t)
}

// clientBlock is the height for both ends.
func (n *Node) clientBlock(height uint32) {
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	n.payerSays(&turn{}, n.brain.payer.Block(height))
	n.payerSays(&turn{}, n.brain.payer.Resume()) // what waits for the LSP may have waited too long
	n.payeeSays(&turn{}, n.brain.payee.Block(height))
}

// locked tells the payer's side of HTLCs of ours that have become irrevocably committed: only now is a notice worth sending.
func (n *Node) locked(in *inbox, s *channel.State) {
	if !n.paying.Load() {
		return
	}
	for _, h := range s.Offered() {
		p, ours := h.HTLC.Origin.(channel.Payment)
		if !ours || h.Stage != channel.Irrevocable || in.locked[h.HTLC.Key.HTLC] {
			continue
		}
		if in.locked == nil {
			in.locked = map[uint64]bool{}
		}
		in.locked[h.HTLC.Key.HTLC] = true
		n.brain.mu.Lock()
		// A channel may go on chain before that, and the HTLC have ended by now: then there is nothing to be released.
		if pay, ok := n.brain.forward.Payment(p.ID); ok && pay.State == forward.PaymentPending {
			n.payerSays(&turn{}, n.brain.payer.Committed(p.ID, h.HTLC.Expiry))
		}
		n.brain.mu.Unlock()
	}
}
