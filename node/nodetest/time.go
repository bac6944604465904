package nodetest

import (
	"fmt"
	"slices"

	"lightningrod/chain"
	"lightningrod/channel"
)

// How the chain goes on. Nodes may lag a little behind it, and see several blocks at once, but never so that what they have to do on chain
// cannot be done in time: deadlines are kept by those who see the chain, and lost by those who do not.

// advance mines blocks. Where something is due on chain, everybody sees them one by one, lag of them late, and does what they demand.
func (w *World) advance(blocks, lag int) {
	for blocks > 0 {
		if !w.busy() && w.quiet() > maxLag { // nobody is that slow
			for _, n := range w.nodes {
				n.runAll()
				n.commit(all)
			}
		}
		n := w.stride()
		due := w.busy() || n <= blocks
		n = min(n, blocks)
		before := slices.Clone(w.chain.pool)
		for mined := 0; mined < n && slices.Equal(w.chain.pool, before); mined++ {
			w.mine()
			blocks--
		}
		for _, n := range w.nodes {
			if to := w.chain.height() - min(uint32(lag), uint32(blocks)); to > n.seen {
				n.seen = to
			}
		}
		if due {
			w.react()
		}
	}
}

// pass mines a few blocks that everybody sees.
func (w *World) pass(blocks int) {
	w.advance(blocks, 0)
	w.seeAll()
}

// mine adds one block.
func (w *World) mine() {
	w.stats.Blocks++
	w.bug.block(w)
	w.chain.mine()
	w.peak = max(w.peak, w.chain.height())
	for _, r := range w.rogues() {
		r.step()
	}
}

// react has every node see the chain and do what it demands, twice: an answer of the wallet, say, may follow.
func (w *World) react() {
	for range 2 {
		for _, n := range w.nodes {
			n.follow()
			n.runDue()
			n.commit(all)
			n.runDue()
			n.commit(all)
		}
	}
	for _, r := range w.rogues() {
		r.step()
	}
}

// busy says that something on chain goes on, or may with the next block.
func (w *World) busy() bool {
	if len(w.chain.pool) > 0 {
		return true
	}
	for _, n := range w.nodes {
		for _, in := range n.inboxes {
			if c := in.state.OnChain(); c != nil && in.edge.ending(w) == nil {
				return true
			}
		}
	}
	return false
}

// stride is how many blocks may come before anybody has to look.
func (w *World) stride() int {
	switch {
	case !w.busy():
		return w.quiet()
	case w.starved():
		return max(1, w.quiet()/4)
	}
	return 1
}

// starved says that what is in the mempool pays too little for the next block. Until somebody pays more, which nobody is in a hurry to do while
// no deadline is near, blocks change nothing.
func (w *World) starved() bool { return len(w.chain.pool) > 0 && len(w.chain.chosen()) == 0 }

// moments are the heights at which something may have to be done.
func (w *World) moments(yield func(h uint32)) {
	for _, n := range w.nodes {
		for _, in := range n.inboxes {
			s := in.state
			for _, h := range s.Offered() {
				yield(h.HTLC.Expiry)
				yield(h.HTLC.Expiry + 3)
			}
			for _, h := range s.Received() {
				yield(h.HTLC.Expiry - 72)
				yield(h.HTLC.Expiry - 18)
				yield(h.HTLC.Expiry)
				yield(h.HTLC.Expiry + 2016)
			}
			if _, remote := s.Limits(); s.OnChain() != nil {
				w.after(in.edge, uint32(remote.ToSelfDelay), yield)
			}
		}
		for _, l := range n.forward.Live() {
			yield(l.Limit)
		}
	}
	for _, r := range w.rogues() {
		w.after(r.edge, uint32(r.p.LocalDelay), yield)
		for i, h := range r.p.HTLCs {
			yield(h.Expiry)
			yield(uint32(int(h.Expiry) + r.late + i*r.stagger))
		}
	}
}

// after are the moments that follow from what was confirmed.
func (w *World) after(e *edge, delay uint32, yield func(h uint32)) {
	x := e.ending(w)
	if x == nil {
		return
	}
	at := w.chain.mined[x.id]
	for _, d := range []uint32{6, 100, delay} {
		yield(at + d - 1)
	}
	for i := range x.tx.TxOut {
		if by := w.chain.spent[outOf(x.id, i)]; by != nil {
			id := w.chain.ids[by]
			at := w.chain.mined[id]
			for _, d := range []uint32{6, 100, delay} {
				yield(at + d - 1)
			}
			if second := w.chain.spent[outOf(id, 0)]; second != nil {
				at := w.chain.mined[w.chain.ids[second]]
				yield(at + 5)
				yield(at + 99)
			}
		}
	}
}

// maxLag is how many blocks late a node may see the chain.
const maxLag = 2

// quiet is the number of blocks until the next moment, at least 1.
func (w *World) quiet() int {
	now, next := w.chain.height(), w.chain.height()+20
	if w.abandoned() {
		next = now + 2100
	}
	w.moments(func(h uint32) {
		for range maxLag + 1 {
			if h > now && h < next {
				next = h
			}
			h++
		}
	})
	return int(next - now)
}

// abandoned says that a channel waits only for an HTLC that its peer neither takes back nor is paid for.
func (w *World) abandoned() bool {
	return slices.ContainsFunc(w.edges, func(e *edge) bool {
		return e.ending(w) != nil && w.hasRogue(e) && w.chain.height() > w.chain.mined[e.ending(w).id]+700
	})
}

// actMine mines: a few blocks, or up to around the next moment at which something pending is given up.
func (w *World) actMine(arg int) string {
	blocks := []int{1, 1, 2, 6, 12, 20, 0, 0, 0, 0}[arg]
	if blocks == 0 {
		next := w.nextLimit()
		if next == 0 || arg == 8 && len(w.rogues()) > 0 {
			blocks = w.quiet()
		} else if to := next + uint32(arg) - 7; to > w.chain.height() { // one before, at, one after, two after
			blocks = int(min(to-w.chain.height(), 500))
		}
	}
	w.advance(blocks, arg%3)
	if arg%3 != 2 {
		w.seeAll()
	}
	return fmt.Sprintf("%d blocks, height %d", blocks, w.chain.height())
}

// nextLimit is the lowest height at which a node gives something up, 0 if nothing is pending.
func (w *World) nextLimit() (next uint32) {
	for _, n := range w.nodes {
		for _, l := range n.forward.Live() {
			if l.Limit > w.chain.height() && (next == 0 || l.Limit < next) {
				next = l.Limit
			}
		}
	}
	return next
}

func (w *World) seeAll() {
	for _, n := range w.nodes {
		n.seen = w.chain.height()
		n.follow()
	}
}

// actReorg takes blocks off, and puts as many and one more in their place. Of their transactions those of one node may be forgotten, so that
// something else can take their place.
func (w *World) actReorg(arg int) string {
	depth := 1 + arg
	w.stats.Reorgs++
	forgotten := nobody - 1
	if arg%2 == 1 {
		forgotten = int(w.chain.height()) % len(w.nodes)
	}
	w.chain.reorg(depth, func(by int) bool { return by == forgotten })
	for range depth + 1 {
		w.mine()
	}
	if arg != 2 {
		w.seeAll()
	}
	return fmt.Sprintf("of %d blocks, height %d", depth, w.chain.height())
}

// rates are what the miners want, in sat/kw; the first is what everybody pays.
var rates = [...]int64{0, 600, 1500, 2500, 2500}

// actMarket changes what miners want. Backends may not know it. It comes down in the end, or where the run is not one of those with a
// market that stays high, after some blocks.
func (w *World) actMarket(arg int) string {
	if !w.cfg.congested {
		return ""
	}
	w.chain.rate = rates[arg]
	w.told = chain.FeeRates{}
	if arg == 1 || arg == 3 {
		w.told = chain.FeeRates{Normal: chain.FeePerKw(rates[arg]), Urgent: chain.FeePerKw(rates[arg] * 2)}
	}
	return fmt.Sprintf("%d sat/kw, told %d", w.chain.rate, w.told.Urgent)
}

// actMute has the adversary say nothing more on one of its channels, or never again how an HTLC ends, or that it failed, whatever is true.
func (w *World) actMute(arg int) string {
	n, e := w.adversary(arg / 2)
	switch {
	case n == nil:
		return ""
	case arg%3 == 0:
		n.bad, n.holds = true, true
		return n.name + " settles nothing"
	case arg%3 == 1:
		n.bad, n.fails = true, true
		return n.name + " fails everything"
	}
	n.bad, e.mute[n.side(e)] = true, true
	return fmt.Sprintf("%s on %s", n.name, e.name)
}

// adversary is the node that may be one, and one of its channels.
func (w *World) adversary(arg int) (*node, *edge) {
	i := w.cfg.adversary
	switch {
	case i == 5 || i == 6:
		i = len(w.nodes) - 1 // the payee, more often than others
	case i >= len(w.nodes):
		return nil, nil
	}
	n := w.nodes[i]
	var mine []*edge
	for _, e := range w.edges {
		if e.link.nodes[0] == n.index || e.link.nodes[1] == n.index {
			mine = append(mine, e)
		}
	}
	return n, mine[arg%len(mine)]
}

// ways in which the adversary goes on chain: how many commitments back, when it shows preimages, by how many tenths it outbids, and
// whether it has just revoked that commitment, so that its peer's disk does not know yet.
var ways = [...]struct {
	age, late, stagger int
	more               int64
	sudden             bool
}{
	{0, -1000, 0, 0, false}, {0, -3, 0, 0, false}, {0, 2, 6, 90, false}, {1, -1000, 0, 30, false}, {0, 3, 6, 90, false},
	{2, -1000, 0, 0, false}, {3, 20, 0, 0, false}, {5, -1000, 0, 100, false}, {0, 4, 6, 90, false}, {1000, -1000, 0, 0, false},
	{1, -1000, 0, 30, true}, {1, 20, 0, 0, true},
}

// actCheat has the adversary publish a commitment, perhaps a revoked one.
func (w *World) actCheat(arg int) string {
	n, e := w.adversary(arg / 2)
	if n == nil {
		return ""
	}
	way := ways[arg]
	if way.sudden {
		w.revokes(n, e)
	}
	if w.corrupt(n, e, way.age, way.late, way.stagger, way.more) == nil {
		return ""
	}
	if way.sudden {
		w.advance(1, 0)
	}
	return fmt.Sprintf("%s on %s, %+v", n.name, e.name, way)
}

// revokes has a node revoke what its peer lets it, and the peer hear it while its disk is slow.
func (w *World) revokes(n *node, e *edge) {
	l, side := e.link, n.side(e)
	peer := w.nodes[l.nodes[1-side]]
	peer.runAll()
	peer.commit(all)
	for _, who := range []*node{n, peer} {
		for w.deliver(l, l.side(who.index)) {
		}
		who.runAll()
		if who == n {
			n.commit(all)
		}
	}
}

// actBribe has the next block take what the adversary wants, whatever others pay.
func (w *World) actBribe(arg int) string {
	list := w.rogues()
	if len(list) == 0 {
		return ""
	}
	for range 1 + arg%2 {
		for _, r := range list {
			r.bribe()
		}
		w.advance(1, arg/2)
	}
	return fmt.Sprintf("%d blocks", 1+arg%2)
}

func (w *World) actClose(arg int) string {
	e := w.edges[min(arg, 1)*(len(w.edges)-1)]
	n := w.nodes[e.link.nodes[arg%2]]
	in := n.inbox(e)
	if in == nil || e.rogue[n.side(e)] != nil {
		return ""
	}
	for _, p := range w.payments {
		p.waived = true // a hold may be withdrawn before its HTLC comes
	}
	if w.cfg.force {
		w.truth.claimed[e] = true
		if arg > 0 { // what the peer has said last is heard in the same turn
			for w.deliver(e.link, n.side(e)) {
			}
		}
		n.post(in, posted{ev: channel.ForceClose{Reason: "asked to"}})
		return fmt.Sprintf("%s closes %s by force", n.name, e.name)
	}
	e.closing = true
	n.post(in, posted{ev: channel.Close{FeePerKw: 500}})
	return fmt.Sprintf("%s closes %s", n.name, e.name)
}

// finish lets everything come to its end, in a bounded number of rounds.
func (w *World) finish() {
	for _, n := range w.nodes {
		n.trap.turns = 0
	}
	w.trace("finish")
	w.finishAt = w.chain.height()
	if w.cfg.congested && w.cfg.dear {
		w.actMarket(len(rates) - 1)
	}
	waited := 0
	for round := range 1000 {
		if w.chain.height() > w.finishAt+20_000 {
			break
		}
		for _, l := range w.links {
			w.connect(l)
		}
		w.seeAll()
		w.flows(all, (*node).runDue)
		w.look()
		for _, n := range w.honest() {
			w.passed(n)
		}
		if w.leftovers() == nil {
			break
		}
		if waited > 90 || round == 100 {
			w.chain.rate = 0
		}
		w.tick([]int64{61, 61, 601, 3600}[round%4])
		if !w.cfg.deadlines {
			for _, p := range w.heldOnes() {
				if round < 3 || p.armed() {
					p.unblock(true)
				}
			}
		}
		if next := w.nextLimit(); next > w.chain.height() && (w.cfg.deadlines || round > 8) { // a release may wait for a channel that never has room
			w.live(int(next - w.chain.height()))
		} else if w.onChain() || round > 12 && (w.pending() || len(w.honest()) < len(w.nodes)) { // who is kept waiting gives up in time
			blocks := w.stride()
			w.live(blocks)
			waited += blocks
		}
		if slices.ContainsFunc(w.edges, func(e *edge) bool { return e.closing }) {
			w.live(6)
		}
	}
	w.seeAll()
	w.flow(all)
	w.read()
	if w.onChain() {
		w.stats.OnChain++
	}
	w.stats.Replaced += w.chain.replaced
	w.judge()
}

// pending says whether a channel has HTLCs. What is left without them is not to be waited out.
func (w *World) pending() bool {
	for _, n := range w.honest() {
		for _, in := range n.inboxes {
			if len(in.state.Offered())+len(in.state.Received()) > 0 {
				return true
			}
		}
	}
	return false
}

// live mines blocks while everybody is there and talks.
func (w *World) live(blocks int) {
	for blocks > 0 {
		n := min(blocks, w.stride())
		w.advance(n, 0)
		blocks -= n
		w.seeAll()
		w.flows(all, (*node).runDue)
		w.look()
	}
}

// onChain says whether any channel went on chain.
func (w *World) onChain() bool {
	return slices.ContainsFunc(w.edges, func(e *edge) bool { return e.onChain || w.hasRogue(e) })
}
