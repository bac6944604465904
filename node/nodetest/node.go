package nodetest

import (
	"fmt"
	"slices"

	"lightningrod/chain"
	"lightningrod/channel"
	"lightningrod/channel/channeltest"
	"lightningrod/node/forward"
	"lightningrod/rod"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// node is one node: what package node does with workers, a committer and a mutex is done here when the schedule says so.
type node struct {
	w     *World
	index int
	name  string
	id    [33]byte
	lsp   bool
	start map[channel.ID]*place // its channels: which edges they are, with which keys

	disk   disk
	queue  []*turn
	wallet *wallet
	learnt map[[32]byte][32]byte // preimages that peers have shown, by hash
	bad    bool                  // it is the adversary: nothing it does or has is judged
	holds  bool                  // and settles nothing
	fails  bool                  // and settles everything as failed
	seen   uint32                // the best height its backend has told; it survives crashes

	// Memory.
	inboxes    []*inbox // by id
	forward    *forward.Forwarder
	payer      *rod.Payer
	payee      *rod.Payee
	tracker    *chain.Tracker
	publishing []publication           // until they are conflicted or their channel is over
	mempool    map[chainhash.Hash]bool // of the last look
	anew       bool                    // all of it is to be told: there is a new watch, or a new block
	rates      chain.FeeRates          // as last heard

	read  []chainhash.Hash // the last block seen at each height above startHeight, in all its lives
	doubt int              // blocks to go back, since nobody knows where the fork is
	life  int              // how often it was started
	trap  struct {
		turns int // until it crashes; 0: it does not
		lose  int // turns that do not reach the disk then
	}

	before disk          // BugUnsynced: the disk before the last write
	adds   []forward.Add // BugReleasedTwice
}

// publication is a transaction that is broadcast again with every block.
type publication struct {
	tx    *wire.MsgTx
	id    chainhash.Hash
	owner channel.ID
}

// place is a channel from one side.
type place struct {
	edge   *edge
	peer   int
	crypto *channeltest.Toy
}

// inbox is one channel: the events that wait for it, and its State.
type inbox struct {
	*place
	id     channel.ID
	state  *channel.State
	events []posted
	conn   int
	usable bool            // the last of Usable and Unusable
	locked map[uint64]bool // HTLCs of our own payments whose commitment was told to the payer's side

	answering bool                 // the turn is the answer to a Bump
	withheld  []channel.Resolved   // BugMissingTheirs, BugMissingOurs
	batch     *batch               // BugBatched, BugFeesReset
	failed    map[channel.Key]bool // BugHashAndAmount
}

// posted is an event; for Connected the connection it speaks of, and for Settle the rows that its turn makes obsolete.
type posted struct {
	ev    channel.Event
	conn  int
	clear []forward.Row
}

func (n *node) get(id channel.ID) *inbox {
	for _, in := range n.inboxes {
		if in.id == id {
			return in
		}
	}
	return nil
}

func (n *node) inbox(e *edge) *inbox {
	for _, in := range n.inboxes {
		if in.edge == e {
			return in
		}
	}
	return nil
}

// with lists the channels with a peer.
func (n *node) with(peer *node) (list []*inbox) {
	for _, in := range n.inboxes {
		if in.peer == peer.index {
			list = append(list, in)
		}
	}
	return list
}

func (n *node) post(in *inbox, p posted) {
	if in.edge.rogue[n.side(in.edge)] == nil {
		in.events = append(in.events, p)
	}
}

// side is which end of a channel the node is.
func (n *node) side(e *edge) int { return e.link.side(n.index) }

// put queues a turn, if there is anything in it. Whoever has made it is done with it.
func (n *node) put(t *turn) {
	if t.empty() {
		return
	}
	queued := *t
	n.queue = append(n.queue, &queued)
	if n.w.bug == BugReleaseBeforeDurable {
		n.release(&queued)
	}
}

// run takes what is in an inbox and runs it as one turn, or as several where the connection changes in between.
func (n *node) run(in *inbox) bool {
	batch, life := in.events, n.life
	in.events = nil
	if len(batch) == 0 || n.get(in.id) != in {
		return false
	}
	for len(batch) > 0 && n.life == life {
		cut := 1
		for cut < len(batch) && batch[cut].conn == 0 {
			cut++
		}
		if c := batch[0].conn; c != 0 {
			in.conn = c
		}
		n.turn(in, batch[:cut])
		batch = batch[cut:]
		n.spring()
	}
	return true
}

// spring is where a crash set for this turn happens.
func (n *node) spring() {
	if n.trap.turns == 0 {
		return
	}
	if n.trap.turns--; n.trap.turns == 0 {
		n.crash(max(0, len(n.queue)-n.trap.lose))
	}
}

func (n *node) runAll() bool { return n.runThose(func(in *inbox) bool { return len(in.events) > 0 }) }

// runDue leaves the channels alone that have heard of nothing but blocks that are nothing to them.
func (n *node) runDue() bool { return n.runThose((*inbox).due) }

func (n *node) runThose(which func(*inbox) bool) bool {
	any := false
	for again := true; again; {
		again = false
		for _, in := range slices.Clone(n.inboxes) {
			again = which(in) && n.run(in) || again
		}
		any = any || again
	}
	return any
}

// due says whether something waits for the channel that it may have to act upon. A channel that is not on chain and has no HTLC that runs out
// soon may be told of blocks later, as slow workers are.
func (in *inbox) due() bool {
	if len(in.events) == 0 {
		return false
	}
	s := in.state
	if s.Phase() != channel.PhaseNormal || len(in.events) > 12 {
		return true
	}
	var height uint32
	for _, p := range in.events {
		fact, _ := p.ev.(channel.Chain)
		block, ok := fact.Event.(chain.BlockConnected)
		if !ok {
			return true
		}
		height = max(height, block.Height)
	}
	near := func(h channel.LiveHTLC) bool { return height+80 >= h.HTLC.Expiry }
	return slices.ContainsFunc(s.Offered(), near) || slices.ContainsFunc(s.Received(), near)
}

// turn is one Apply: queue what it wants durable and let out, then pass its notices on, and then post the commands.
func (n *node) turn(in *inbox, batch []posted) {
	n.w.stats.Turns++
	evs := make([]channel.Event, 0, len(batch)+1)
	for _, p := range batch {
		evs = append(evs, p.ev)
	}
	prev := in.state
	next, out := channel.Apply(prev, in.crypto, append(evs, channel.Sign{}))
	in.state = next
	t := &turn{saves: []save{{in.id, out.Save}}}
	if isEmpty(out.Save) {
		t.saves = nil
	}
	for _, p := range batch {
		t.rows = append(t.rows, p.clear...)
	}
	if n.w.bug == BugClearForgotten {
		t.rows = nil
	}
	if len(out.Send) > 0 && in.conn != 0 {
		t.sends = []outgoing{{in.edge, in.conn, out.Send}}
	}
	for _, r := range out.Chain {
		t.asks = append(t.asks, ask{in.id, r})
	}
	n.w.turned(n, in, prev, t, out)
	n.traceTurn(in, out)
	bumps := n.chainNotices(in, t, out.Notices)
	var heard []forward.Event
	for _, x := range n.w.bug.order(n.w.bug.onChain(n, in, out.Notices)) {
		heard = append(heard, n.hears(in, x)...)
	}
	heard = append(heard, n.w.bug.misheard(in, batch)...)
	n.thinkWith(t, heard)
	n.locked(in)
	if out.Save.Delete {
		n.inboxes = slices.DeleteFunc(n.inboxes, func(o *inbox) bool { return o == in })
		n.forget(in.id)
	}
	for _, x := range out.Notices {
		switch x.(type) {
		case channel.Usable:
			if !in.usable {
				in.usable = true
				n.up(n.w.nodes[in.peer])
			}
		case channel.Unusable:
			in.usable = false
		}
	}
	n.answer(in, bumps)
}

func isEmpty(s channel.Save) bool {
	return s.Core == nil && !s.Delete && len(s.Add)+len(s.Remove)+len(s.Revoked) == 0
}

// hears is what the forwarder is to hear of a channel's notice.
func (n *node) hears(in *inbox, x channel.Notice) (evs []forward.Event) {
	switch x.(type) {
	case channel.Usable, channel.Ready:
		evs = append(evs, forward.Describe(in.state, n.w.policy))
	}
	if ev := forward.Hear(in.id, n.w.nodes[in.peer].id, x, peel); ev != nil {
		evs = append(evs, ev)
	}
	return evs
}

func (n *node) think(evs ...forward.Event) { n.thinkWith(&turn{}, evs) }

// thinkWith puts the rows of what the forwarder decides into t, queues t, and only then posts the commands.
func (n *node) thinkWith(t *turn, evs []forward.Event) {
	outs := make([]forward.Output, len(evs))
	for i, ev := range evs {
		n.w.heard(n, t, ev)
		outs[i] = n.forward.Handle(ev)
	}
	n.carryOut(t, outs...)
}

// carryOut queues the turn with what must be durable, and then posts the commands.
func (n *node) carryOut(t *turn, outs ...forward.Output) {
	if n.w.bug.carryOut(n, t, outs) {
		return
	}
	for _, out := range outs {
		t.rows = append(t.rows, n.w.bug.rows(out.Rows)...)
		t.replies = append(t.replies, out.Replies...)
		for _, x := range out.Notices {
			n.ledger(t, x)
		}
	}
	n.put(t)
	n.commands(outs)
}

func (n *node) commands(outs []forward.Output) {
	for _, out := range outs {
		for _, c := range out.Commands {
			n.command(c)
		}
		for _, id := range out.Claim {
			if in := n.get(id); in != nil {
				n.w.claimed(n, in)
				n.post(in, posted{ev: channel.ForceClose{Reason: "a preimage must be claimed before the incoming HTLC expires"}})
			}
		}
	}
}

// command posts one decision to a channel.
func (n *node) command(c forward.Command) {
	switch c := c.(type) {
	case forward.Add:
		n.w.adding(n, c)
		in := n.get(c.Channel)
		if in == nil {
			n.think(refusal(c.HTLC))
			return
		}
		if n.w.bug == BugReleasedTwice {
			n.adds = append(n.adds, c)
		}
		n.post(in, posted{ev: channel.Add{HTLC: c.HTLC}})
	case forward.Settle:
		n.settle(c.Key, c.Outcome, c.Clear)
	case forward.FailWith:
		n.settle(c.HTLC.Key, channel.Fail{Reason: reason(c.Message)}, c.Clear)
	case forward.WrapWith:
		n.settle(c.HTLC.Key, channel.Fail{Reason: append(slices.Clone(c.Reason), byte(n.index))}, c.Clear)
	default:
		panic(fmt.Sprintf("unknown command %T", c))
	}
}

func (n *node) settle(k channel.Key, o channel.Outcome, clear []forward.Row) {
	switch {
	case n.holds:
		return
	case n.fails:
		o = channel.Fail{Reason: []byte("no")}
	}
	n.w.settling(n, k, o)
	in := n.get(k.Channel)
	if in == nil {
		n.put(&turn{rows: clear})
		return
	}
	n.post(in, posted{ev: channel.Settle{HTLC: k.HTLC, Outcome: o}, clear: clear})
}

// commit makes the first turns of the queue durable and lets out what they have earned.
func (n *node) commit(turns int) {
	turns = min(turns, len(n.queue))
	for range turns {
		if n.w.bug == BugUnsynced {
			n.before = n.disk.clone()
		}
		t := n.queue[0]
		n.queue = n.queue[1:]
		n.write(t)
		if n.w.bug != BugReleaseBeforeDurable {
			n.release(t)
		}
	}
}

func (n *node) write(t *turn) {
	if err := n.disk.write(t); err != nil {
		n.w.fail("disk of %s: %v", n.name, err)
	}
	n.w.written(n, t)
	for _, f := range t.durable {
		f()
	}
}

// release lets out what a turn has earned.
func (n *node) release(t *turn) {
	for _, s := range t.sends {
		l := s.edge.link
		if l.conn == 0 || l.conn != s.conn && n.w.bug != BugOldConnection {
			continue // channel_reestablish sends it again
		}
		if side := n.side(s.edge); s.edge.mute[side] || s.edge.rogue[side] != nil {
			continue
		}
		for _, m := range s.msgs {
			n.w.send(l, 1-l.side(n.index), packet{s.edge, m})
		}
	}
	n.asks(t.asks)
	for _, r := range t.replies {
		n.w.replied(n, r)
	}
	n.w.mail = append(n.w.mail, t.mail...)
}

// crash loses everything but the disk and the first keep turns of the queue: those were written, but nothing of them was let out.
func (n *node) crash(keep int) {
	keep = min(keep, len(n.queue))
	for _, t := range n.queue[:keep] {
		n.write(t)
	}
	for _, t := range slices.Backward(n.queue[keep:]) {
		for _, undo := range slices.Backward(t.lost) {
			undo()
		}
	}
	n.w.stats.Crashes++
	n.w.stats.Lost += len(n.queue) - keep
	n.w.trace("  %s crashed, %d of %d turns lost", n.name, len(n.queue)-keep, len(n.queue))
	if n.w.bug == BugUnsynced && n.before.cores != nil && keep == 0 {
		n.disk = n.before.clone()
	}
	n.queue = nil
	for _, l := range n.w.links {
		if l.nodes[0] == n.index || l.nodes[1] == n.index {
			l.seen[l.side(n.index)] = 0 // it has forgotten
			n.w.cut(l, [2]bool{})
		}
	}
	n.restart()
}

// restart is node.recover and then node.Start, up to where the network begins.
func (n *node) restart() {
	n.life++
	n.trap.turns = 0
	n.inboxes, n.publishing = nil, nil
	n.mempool, n.anew, n.rates = nil, true, chain.FeeRates{}
	var asks []ask
	for _, id := range n.disk.channels() {
		s, out, err := n.disk.restore(id)
		if err != nil {
			n.w.fail("%s cannot restore channel %d: %v", n.name, id, err)
		}
		n.inboxes = append(n.inboxes, &inbox{place: n.start[id], id: id, state: s})
		for _, r := range out.Chain {
			asks = append(asks, ask{id, r})
		}
	}
	for _, in := range n.inboxes {
		in.edge.remember(n.side(in.edge), in.state)
	}
	n.w.bug.restored(n)
	n.w.restored(n)
	n.track(n.sights())

	table, err := rod.Load(n.rodConfig(), n.disk.rowsOf(rod.TableRequest, rod.TableMember, rod.TableTombstone)...)
	if err != nil {
		n.w.fail("%s cannot load its requests: %v", n.name, err)
	}
	d := forward.Durable{Height: n.disk.tip.height, Now: n.w.now, Stale: true, Table: table, Devices: n.devices()}
	for _, r := range n.disk.rowsOf(forward.TableSettled, forward.TableInvoice, forward.TablePayment) {
		if err := d.Row(r); err != nil {
			n.w.fail("%s: %v", n.name, err)
		}
	}
	for _, in := range n.inboxes {
		d.Survey(forward.Describe(in.state, n.w.policy), in.state, peel)
	}
	n.w.bug.survey(n, &d)
	n.loadEnds()
	var out forward.Output
	n.forward, out = forward.Rebuild(forward.DefaultConfig(), d)
	n.carryOut(&turn{}, out)
	n.payerSays(&turn{}, n.payer.Resume())

	// Start: what was missed comes first; nothing is decided on an old height.
	if n.w.bug != BugWatchesFirst {
		n.recall()
		n.retreat()
	}
	n.asks(asks)
	n.follow()
	n.runAll()
	n.w.bug.started(n)
	n.think(forward.Tick{Now: n.w.now}, forward.Stale{Stale: false})
}

func (n *node) rodConfig() rod.Config {
	c := rod.DefaultConfig(n.id)
	c.Enabled = n.lsp
	return c
}

// devices are the clients that can be woken.
func (n *node) devices() (ids [][33]byte) {
	if !n.lsp || !n.w.cfg.devices {
		return nil
	}
	for _, in := range n.inboxes {
		if p := n.w.nodes[in.peer]; !p.lsp && !slices.Contains(ids, p.id) {
			ids = append(ids, p.id)
		}
	}
	return ids
}
