package nodetest

import (
	"crypto/sha256"
	"reflect"
	"slices"

	"lightningrod/channel"
	"lightningrod/channel/commitment"
	"lightningrod/channel/onchain"
	"lightningrod/node/forward"

	"github.com/lightningnetwork/lnd/lnwire"
)

// truth is what the simulator knows for certain, whatever the nodes forget.
type truth struct {
	paid      map[nodeKey]bool        // incoming HTLCs for which a downstream peer has given the preimage
	forgotten map[nodeKey]bool        // those of paid of which a crash has taken the preimage, that was not durable yet: an honest peer gives it again
	child     map[nodeKey]channel.Key // outgoing HTLCs that became durable, by the incoming one
	offered   map[nodeTag]channel.Key // the same, by what part of what payment they are
	fee       map[nodeKey]lnwire.MilliSatoshi
	dust      map[nodeKey]bool // the outgoing HTLC is so small that perhaps nobody claims it on chain
	claimed   map[*edge]bool   // a node decided to close to claim a preimage
	earned    []lnwire.MilliSatoshi
	// How HTLCs ended, by what their channels told.
	resolved, received map[nodeKey]settledHTLC
}

type nodeKey struct {
	node int
	key  channel.Key
}

type nodeTag struct {
	node int
	tag
}

func newTruth() truth {
	return truth{paid: map[nodeKey]bool{}, forgotten: map[nodeKey]bool{}, child: map[nodeKey]channel.Key{}, offered: map[nodeTag]channel.Key{},
		fee: map[nodeKey]lnwire.MilliSatoshi{}, dust: map[nodeKey]bool{}, claimed: map[*edge]bool{},
		resolved: map[nodeKey]settledHTLC{}, received: map[nodeKey]settledHTLC{}}
}

// started is the begin of a run.
func (w *World) started() {
	w.truth.earned = make([]lnwire.MilliSatoshi, len(w.nodes))
}

// partOf finds what an HTLC is a part of.
func (w *World) partOf(h *channel.HTLC) (*payment, *part) {
	t := tagOf(h)
	p := w.payments[t.payment]
	return p, p.parts[t.part]
}

// turned looks at a turn of a channel, before its notices are passed on.
func (w *World) turned(n *node, in *inbox, prev *channel.State, t *turn, out channel.Output) {
	for _, m := range out.Send {
		if _, ok := m.(*lnwire.RevokeAndAck); ok {
			in.edge.remember(n.side(in.edge), in.state)
		}
	}
	if c := in.state.OnChain(); c != nil {
		if owner, _, _, ok := c.Closed(); ok {
			in.edge.view[n.side(in.edge)] = owner
		}
	}
	if n.bad {
		for _, x := range out.Notices {
			w.learns(n, x)
		}
		return
	}
	if err := in.state.Invariants(); w.broken(invConservation, err == nil) {
		w.fail("%v\n  %s on %s: %v", invConservation, n.name, in.edge.name, err)
	}
	w.buffer(n, in, out.Send)
	for _, x := range out.Notices {
		w.noticed(n, in, prev, t, x)
	}
}

// buffer looks at the commitment that an opener has just signed with an HTLC of its own. HTLCs of the peer may have come in between: they
// are not counted.
func (w *World) buffer(n *node, in *inbox, sent []lnwire.Message) {
	var added, signed, fee bool
	for _, m := range sent {
		switch m.(type) {
		case *lnwire.UpdateAddHTLC:
			added = true
		case *lnwire.CommitSig:
			signed = true
		case *lnwire.UpdateFee:
			fee = true
		}
	}
	if !in.state.Opener() || !added || !signed || fee || in.state.OnChain() != nil {
		return
	}
	p := in.state.OnchainParams(in.crypto)
	spec := p.Theirs[len(p.Theirs)-1].Spec
	ours := slices.DeleteFunc(slices.Clone(spec.HTLCs), func(h commitment.HTLC) bool { return h.Offered })
	_, remote := in.state.Limits()
	least := remote.Reserve + commitment.OpenerCost(2*spec.FeePerKw, commitment.Untrimmed(ours, p.RemoteDustLimit)+1)
	w.must(invBuffer, int64(spec.ToOther) >= least*1000, "%s on %s: keeps %d msat, reserve and fee are %d sat\n%v", n.name, in.edge.name, uint64(spec.ToOther), least, in.state)
}

func (w *World) learns(n *node, x channel.Notice) {
	if r, ok := x.(channel.Resolved); ok {
		if f, paid := r.Outcome.(channel.Fulfill); paid {
			n.learnt[sha256.Sum256(f.Preimage[:])] = f.Preimage
		}
	}
}

func (w *World) noticed(n *node, in *inbox, prev *channel.State, t *turn, x channel.Notice) {
	w.learns(n, x)
	quiet := func(ok bool) {
		w.must(invQuiet, ok || in.edge.onChain || w.nodes[in.peer].bad, "%s on %s: %s\n%v", n.name, in.edge.name, channel.DescribeNotice(x), prev)
	}
	switch x := x.(type) {
	case channel.PeerSaid:
		quiet(prev.Phase() == channel.PhaseClosing && x.Text == unknownChannel) // the peer has seen the close and forgotten the channel
	case channel.Violated, channel.Abandoned:
		quiet(false)
	case channel.Declined:
		_, settle := x.Event.(channel.Settle)
		quiet(!settle)
	case channel.OnChain:
		w.wentOnChain(n, in, prev)
	case channel.Warn:
		quiet(false)
	case channel.Resolved:
		w.tell(t, w.truth.resolved, nodeKey{n.index, x.Key}, find(prev.Offered(), x.Key.HTLC), find(in.state.Offered(), x.Key.HTLC), x.Outcome)
		origin, ok := x.Origin.(channel.Forward)
		if _, paid := x.Outcome.(channel.Fulfill); ok && paid {
			k := nodeKey{n.index, origin.In}
			if !w.truth.paid[k] || w.truth.forgotten[k] {
				t.lost = append(t.lost, func() { w.truth.forgotten[k] = true })
			}
			delete(w.truth.forgotten, k)
			w.truth.paid[k] = true
		}
	case channel.Settled:
		k := nodeKey{n.index, x.Key}
		_, paid := x.Outcome.(channel.Fulfill)
		w.tell(t, w.truth.received, k, find(prev.Received(), x.Key.HTLC), find(in.state.Received(), x.Key.HTLC), x.Outcome)
		w.must(invFulfill, paid || !w.paid(n, x.Key), "%s failed HTLC %v, whose outgoing HTLC was fulfilled", n.name, x.Key)
		if fee, forwarded := w.truth.fee[k]; paid && forwarded {
			w.truth.earned[n.index] += fee
			t.lost = append(t.lost, func() { w.truth.earned[n.index] -= fee })
		}
	}
}

// tell notes how an HTLC ended. It was live before the turn, or came in it.
func (w *World) tell(t *turn, ends map[nodeKey]settledHTLC, k nodeKey, before, after *channel.LiveHTLC, o channel.Outcome) {
	if before == nil {
		before = after
	}
	_, paid := o.(channel.Fulfill)
	was, twice := ends[k]
	w.must(invOutcome, !twice && before != nil, "HTLC %v ends twice, was %+v", k, was)
	ends[k] = settledHTLC{before.HTLC.Amount, before.HTLC.Hash, paid}
	t.lost = append(t.lost, func() { delete(ends, k) })
}

// wentOnChain accepts a close by force that some deadline or the operator demands.
func (w *World) wentOnChain(n *node, in *inbox, prev *channel.State) {
	w.must(invQuiet, in.edge.onChain || w.truth.claimed[in.edge] || overdue(in.state, in.state.Height()) || overdue(prev, in.state.Height()) || w.nodes[in.peer].bad,
		"%s closes %s by force without need\n%v", n.name, in.edge.name, prev)
	if !in.edge.onChain {
		w.neglected(in, prev)
		w.trace("  %s goes on chain", in.edge.name)
	}
	in.edge.onChain = true
}

// neglected: when everybody is connected and has had time, an HTLC is overdue only because the peer waits for the one that it offered
// for it.
func (w *World) neglected(in *inbox, prev *channel.State) {
	peer := w.nodes[in.peer]
	if w.finishAt == 0 || peer.bad || w.truth.claimed[in.edge] || in.edge.ending(w) != nil {
		return
	}
	for _, h := range prev.Offered() {
		if in.state.Height() < h.HTLC.Expiry+3 || h.HTLC.Expiry < w.finishAt+delta || w.cfg.congested && h.HTLC.Amount < lost {
			continue // perhaps the fee market is the cause
		}
		child, forwarded := w.truth.child[nodeKey{peer.index, h.HTLC.Key}]
		_, ended := w.truth.resolved[nodeKey{peer.index, child}]
		w.must(invQuiet, forwarded && !ended, "%s: HTLC %v is overdue, %s has not settled it", in.edge.name, h.HTLC.Key, peer.name)
	}
}

// overdue says whether an HTLC has to be decided on chain (BOLT 2 "cltv_expiry_delta Selection").
func overdue(s *channel.State, height uint32) bool {
	for _, h := range s.Offered() {
		if height >= h.HTLC.Expiry+3 {
			return true
		}
	}
	for _, h := range s.Received() {
		if _, paid := h.Outcome.(channel.Fulfill); paid && height+18 >= h.HTLC.Expiry {
			return true
		}
	}
	return false
}

// claimed looks at a forwarder's wish to close a channel because a preimage lies undelivered.
func (w *World) claimed(n *node, in *inbox) {
	w.truth.claimed[in.edge] = true
	if n.bad {
		return
	}
	due, height := false, max(n.height(), n.disk.tip.height) // a restart goes through blocks again that somebody has not seen
	for _, h := range in.state.Received() {
		due = due || height+72 >= h.HTLC.Expiry
	}
	w.must(invQuiet, due, "%s claims on %s without need", n.name, in.edge.name)
}

// paid says whether a peer downstream has given the preimage for an incoming HTLC, so that failing it loses money. What is too small
// for an output is lost with a channel, up or down, that goes on chain before the preimage is durable; and what a cheater has paid is ours anyway, as is what it
// has offered.
func (w *World) paid(n *node, k channel.Key) bool {
	key := nodeKey{n.index, k}
	child, ok := w.truth.child[key]
	if !ok || !w.truth.paid[key] {
		return w.truth.paid[key]
	}
	if out := n.get(child.Channel); w.truth.forgotten[key] && out != nil && w.nodes[out.peer].bad {
		return false // it need not show the preimage again
	}
	e, up := w.edges[child.Channel-1], w.edges[k.Channel-1]
	return !(w.truth.dust[key] && (e.onChain || up.onChain)) && e.view[n.side(e)] != onchain.Cheat && up.view[n.side(up)] != onchain.Cheat
}

const dustLimit = 354_000 // msat

// heard notes which HTLCs have to be held.
func (w *World) heard(n *node, t *turn, ev forward.Event) {
	o, ok := ev.(forward.Offered)
	if !ok {
		return
	}
	p, part := w.partOf(&o.HTLC)
	if n.bad || p.hold == holdNot || p.lsp() != n || part.mustHold {
		return
	}
	if p.hold == holdByMessage && (p.cancelled || p.waived || w.now >= p.ackUntil || n.height() >= p.ackDeadline) {
		return // the request has ended, or will have, before the HTLC came
	}
	if p.hold == holdByMessage && len(p.parts) > 1 && !p.armed() {
		return // another part has run out and taken the request with it: one without a TLV cannot be known for a part of it
	}
	part.mustHold = true
	t.lost = append(t.lost, func() { part.mustHold = false })
}

// adding looks at an Add the moment it is decided.
func (w *World) adding(n *node, c forward.Add) {
	origin, ok := c.HTLC.Origin.(channel.Forward)
	if !ok || n.bad {
		return
	}
	in := n.get(origin.In.Channel)
	var parent *channel.LiveHTLC
	if in != nil {
		parent = find(in.state.Received(), origin.In.HTLC)
	}
	w.must(invParent, parent != nil && parent.Stage == channel.Irrevocable && parent.Outcome == nil,
		"%s forwards HTLC %v, which is not committed or has an outcome", n.name, origin.In)
	w.must(invParent, in.state.Phase() != channel.PhaseClosing && in.state.Phase() != channel.PhaseWaiting,
		"%s forwards HTLC %v, whose channel is on chain", n.name, origin.In)
	p, part := w.partOf(&c.HTLC)
	if n != p.lsp() || !part.mustHold {
		return
	}
	w.must(invHeld, p.unblocked, "%s forwards HTLC %v of payment %d, which nobody has unblocked", n.name, origin.In, p.index)
	r := p.deadline(part)
	w.must(invDeadline, n.height() < r, "%s forwards HTLC %v at height %d, its deadline was %d", n.name, origin.In, n.height(), r)
}

// deadline is the height at which a part must be on its way, as the specification has it.
func (p *payment) deadline(part *part) uint32 {
	r := part.expiries[1] - 42
	if p.asked != 0 {
		r = min(r, p.asked)
	}
	return r
}

func find(list []channel.LiveHTLC, id uint64) *channel.LiveHTLC {
	for i := range list {
		if list[i].HTLC.Key.HTLC == id {
			return &list[i]
		}
	}
	return nil
}

// settling looks at an outcome the moment it is decided.
func (w *World) settling(n *node, k channel.Key, o channel.Outcome) {
	if n.bad {
		return
	}
	if f, ok := o.(channel.Fulfill); ok {
		if in := n.get(k.Channel); in != nil {
			if h := find(in.state.Received(), k.HTLC); h != nil {
				w.must(invFulfill, sha256.Sum256(f.Preimage[:]) == h.HTLC.Hash, "%s gives HTLC %v a wrong preimage", n.name, k)
			}
		}
		return
	}
	w.must(invFail, !w.paid(n, k), "%s fails HTLC %v, whose outgoing HTLC was fulfilled", n.name, k)
	children := n.children()[k]
	w.must(invFail, len(children) == 0, "%s fails HTLC %v, which has the outgoing HTLC %v", n.name, k, children)
	if child, ok := w.truth.child[nodeKey{n.index, k}]; ok {
		w.mayFail(n, k, child)
	}
}

// mayFail: an HTLC whose outgoing one is in a channel on chain may be failed when that can be claimed no more.
func (w *World) mayFail(n *node, k, child channel.Key) {
	in := n.get(child.Channel)
	if in == nil || in.state.OnChain() == nil {
		return
	}
	if h := find(in.state.Offered(), child.HTLC); h != nil {
		ok, why := w.final(n, in.edge, h.HTLC, 6)
		w.must(invFail, ok, "%s fails HTLC %v, whose outgoing HTLC %v is not final: %s", n.name, k, child, why)
	}
}

// children are the outgoing HTLCs that can still be claimed, and the Adds that wait, by their incoming ones.
func (n *node) children() map[channel.Key][]channel.Key {
	var all map[channel.Key][]channel.Key
	note := func(parent, child channel.Key) {
		if all == nil {
			all = map[channel.Key][]channel.Key{}
		}
		all[parent] = append(all[parent], child)
	}
	for _, in := range n.inboxes {
		if in.state.Phase() >= channel.PhaseClosing {
			continue // what can be claimed there is the chain's to say
		}
		for _, h := range in.state.Offered() {
			if f, ok := h.HTLC.Origin.(channel.Forward); ok {
				note(f.In, h.HTLC.Key)
			}
		}
		for _, p := range in.events {
			if add, ok := p.ev.(channel.Add); ok {
				if f, ok := add.HTLC.Origin.(channel.Forward); ok {
					note(f.In, channel.Key{Channel: in.id, HTLC: ^uint64(0)})
				}
			}
		}
	}
	return all
}

// related checks incoming against outgoing HTLCs of a node, running or just restored.
func (w *World) related(n *node) {
	children := n.children()
	for _, in := range n.inboxes {
		for _, h := range in.state.Received() {
			k := h.HTLC.Key
			below := children[k]
			delete(children, k)
			if w.broken(invOneChild, len(below) <= 1) {
				w.fail("%v\n  %s: HTLC %v is forwarded as %v", invOneChild, n.name, k, below)
			}
			_, paid := h.Outcome.(channel.Fulfill)
			if h.Outcome != nil && !paid {
				w.must(invFail, len(below) == 0, "%s: HTLC %v is failed, and has the outgoing HTLC %v", n.name, k, below)
				w.must(invFulfill, !w.paid(n, k), "%s: HTLC %v is failed, its outgoing HTLC was fulfilled", n.name, k)
			}
			if len(below) == 0 || in.state.Phase() >= channel.PhaseClosing {
				continue
			}
			w.must(invParent, h.Stage == channel.Irrevocable, "%s: HTLC %v is forwarded as %v at stage %d", n.name, k, below, h.Stage)
		}
	}
	for k, below := range children {
		// Its incoming HTLC is gone: that is right only once the preimage was passed on. On chain, others say when.
		in := n.get(k.Channel)
		w.must(invParent, w.truth.paid[nodeKey{n.index, k}] || in == nil || in.state.Phase() >= channel.PhaseClosing,
			"%s: the outgoing HTLC %v has lost its incoming one %v", n.name, below, k)
	}
}

// held checks that what waits is not past its time.
func (w *World) held(n *node) {
	if !n.lsp {
		return
	}
	for _, l := range n.forward.Live() {
		if l.State != "held" && l.State != "waiting" {
			continue
		}
		in := n.get(l.Key.Channel)
		if in == nil {
			continue
		}
		h := find(in.state.Received(), l.Key.HTLC)
		if h == nil {
			continue
		}
		p, part := w.partOf(h.HTLC)
		bound := l.Limit
		if n == p.lsp() && part.mustHold {
			bound = p.deadline(part)
		}
		if l.State == "held" && n == p.lsp() && part.mustHold && len(p.parts) == 1 {
			w.must(invReleased, !p.unblocked, "%s: HTLC %v is held, payment %d was unblocked", n.name, l.Key, p.index)
		}
		if w.broken(invDeadline, n.height() < bound) {
			w.fail("%v\n  %s: HTLC %v is %s at height %d, its deadline was %d", invDeadline, n.name, l.Key, l.State, n.height(), bound)
		}
	}
}

// inTime: when the payer of an HTLC may take it back, what was paid for it downstream must be known, or back: only the fee market may
// be the death of small ones.
func (w *World) inTime(n *node) {
	for _, in := range n.inboxes {
		for _, h := range in.state.Received() {
			child, ok := w.truth.child[nodeKey{n.index, h.HTLC.Key}]
			if !ok || n.height() < h.HTLC.Expiry || w.small(h.HTLC.Amount) {
				continue
			}
			_, ended := w.truth.resolved[nodeKey{n.index, child}]
			w.must(invTime, ended, "%s at height %d: HTLC %v has run out at %d, its outgoing one %v has not ended", n.name, n.height(), h.HTLC.Key, h.HTLC.Expiry, child)
		}
	}
}

// look is done after every step.
func (w *World) look() {
	for _, n := range w.nodes {
		if !n.bad {
			w.related(n)
			w.held(n)
			w.inTime(n)
		}
	}
}

// written looks at a turn that has become durable.
func (w *World) written(n *node, t *turn) {
	if n.bad {
		return
	}
	for _, s := range t.saves {
		for i := range s.Add {
			h := &s.Add[i]
			if h.Origin == nil {
				continue
			}
			k := nodeTag{n.index, tagOf(h)}
			before, twice := w.truth.offered[k]
			w.must(invOneChild, !twice, "%s offers part %d of payment %d as %v, and has offered it as %v", n.name, k.part, k.payment, h.Key, before)
			w.truth.offered[k] = h.Key
			if f, ok := h.Origin.(channel.Forward); ok {
				w.writtenChild(n, f.In, h)
			}
		}
	}
}

func (w *World) writtenChild(n *node, parent channel.Key, h *channel.HTLC) {
	k := nodeKey{n.index, parent}
	before, twice := w.truth.child[k]
	w.must(invOneChild, !twice, "%s: HTLC %v is forwarded as %v, and was as %v", n.name, parent, h.Key, before)
	w.truth.child[k] = h.Key
	w.truth.dust[k] = w.small(h.Amount)
	body := n.disk.bodies[bodyKey{parent.Channel, channel.BodyKey{HTLC: parent.HTLC}}]
	if body == nil {
		w.must(invParent, false, "%s: HTLC %v is durable before its incoming HTLC %v", n.name, h.Key, parent)
	}
	up, err := channel.DecodeHTLC(body)
	if err != nil {
		w.fail("%v", err)
	}
	fee, _ := w.policy.Fee(h.Amount)
	w.must(invParent, up.Amount >= h.Amount+fee && up.Expiry >= h.Expiry+delta && up.Hash == h.Hash,
		"%s: HTLC %v does not pay for %v", n.name, parent, h.Key)
	w.truth.fee[k] = up.Amount - h.Amount
}

// restored looks at what a crash has left, before recovery touches it.
func (w *World) restored(n *node) {
	w.stats.Checks[invDurable]++
	if w.truth.earned == nil || n.bad {
		return
	}
	w.related(n)
	for _, in := range n.inboxes {
		for _, h := range in.state.Offered() {
			p, part := w.partOf(h.HTLC)
			if _, forwarded := h.HTLC.Origin.(channel.Forward); forwarded && n == p.lsp() && part.mustHold {
				w.must(invHeld, p.unblocked, "%s: HTLC %v is durable, the release it needed is not", n.name, h.HTLC.Key)
			}
		}
	}
}

// unmoved gives a forwarder an event that must not change anything.
func (n *node) unmoved(ev forward.Event) {
	before, live := n.forward.Rod().Requests(), n.forward.Live()
	out := n.forward.Handle(ev)
	n.w.must(invPid, len(out.Rows)+len(out.Commands)+len(out.Notices)+len(out.Replies)+len(out.Wakes) == 0 &&
		reflect.DeepEqual(before, n.forward.Rod().Requests()) && reflect.DeepEqual(live, n.forward.Live()), "%s is moved by it: %+v", n.name, out.Commands)
}
