package nodetest

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"lightningrod/chain"
	"lightningrod/channel"
	"lightningrod/node/forward"
	"lightningrod/rod"

	"github.com/lightningnetwork/lnd/lnwire"
)

// actions says what each byte does: the first row whose count is not used up by smaller bytes. Arg is the byte's place in the row.
var actions = []struct {
	name  string
	count int
	do    func(w *World, arg int) string // what was done, in words; empty: nothing
}{
	{"deliver one", 14, (*World).actDeliver},
	{"deliver all", 12, (*World).actDeliverAll},
	{"run one channel", 8, (*World).actRun},
	{"run a node", 12, (*World).actRunNode},
	{"commit one turn", 8, (*World).actCommitOne},
	{"commit a node", 8, (*World).actCommit},
	{"let it flow", 30, (*World).actFlow},
	{"crash", 24, (*World).actCrash},
	{"disconnect", 12, (*World).actCut},
	{"connect", 16, (*World).actConnect},
	{"mine", 10, (*World).actMine},
	{"see blocks", 6, (*World).actSee},
	{"tick", 6, (*World).actTick},
	{"pay", 20, (*World).actPay},
	{"pay held", 30, (*World).actPayHeld},
	{"unblock", 18, (*World).actUnblock},
	{"mail", 12, (*World).actMail},
	{"cancel", 4, (*World).actCancel},
	{"fee", 4, (*World).actFee},
	{"close", 2, (*World).actClose},
}

// act does what a byte says.
func (w *World) act(b byte) {
	arg := int(b)
	for _, a := range actions {
		if arg >= a.count {
			arg -= a.count
			continue
		}
		if said := a.do(w, arg); said != "" {
			w.trace("%s: %s", a.name, said)
		}
		break
	}
	if w.cfg.eager {
		for again := true; again; {
			again = false
			for _, n := range w.nodes {
				again = n.runAll() || again
				n.commit(all)
			}
		}
	}
	w.goAhead()
}

func (w *World) pick(arg int) *node { return w.nodes[arg%len(w.nodes)] }

func (w *World) actDeliver(arg int) string {
	l := w.links[arg/2%len(w.links)]
	if !w.deliver(l, arg%2) {
		w.deliver(l, 1-arg%2)
	}
	return ""
}

func (w *World) actDeliverAll(arg int) string {
	l := w.links[arg/2%len(w.links)]
	for w.deliver(l, arg%2) {
	}
	return ""
}

// actRun runs one of the channels that have work.
func (w *World) actRun(arg int) string {
	var busy []func() bool
	for _, n := range w.nodes {
		for _, in := range n.inboxes {
			if len(in.events) > 0 {
				busy = append(busy, func() bool { return n.run(in) })
			}
		}
	}
	if len(busy) > 0 {
		busy[arg%len(busy)]()
	}
	return ""
}

func (w *World) actRunNode(arg int) string {
	w.pick(arg).runAll()
	return ""
}

func (w *World) actCommitOne(arg int) string {
	w.pick(arg).commit(1)
	return ""
}

func (w *World) actCommit(arg int) string {
	w.pick(arg).commit(all)
	return ""
}

// actFlow lets things go for a while: to the end, some rounds, or some turns, so that a crash can follow anywhere.
func (w *World) actFlow(arg int) string {
	switch {
	case arg < 4:
		w.flow(all)
		return "to the end"
	case arg < 12:
		w.flow(1 + arg%5)
		return fmt.Sprintf("%d rounds", 1+arg%5)
	}
	turns := []int{1, 2, 3, 4, 5, 6, 8, 10, 13}[(arg-12)/2]
	w.stroll(turns, arg%2 == 0)
	return fmt.Sprintf("%d turns, the disk is fast: %t", turns, arg%2 == 0)
}

// stroll runs single turns. If the disk is fast each is committed at once, else only what is needed for messages to go on.
func (w *World) stroll(turns int, fast bool) {
	for turns > 0 {
		moved := false
		for _, n := range w.nodes {
			for _, in := range slices.Clone(n.inboxes) {
				if turns == 0 || !n.run(in) {
					continue
				}
				turns--
				moved = true
				if fast {
					n.commit(all)
				}
			}
		}
		w.goAhead()
		if moved {
			continue
		}
		moved = w.handAll()
		for _, n := range w.nodes {
			n.commit(all)
		}
		for _, l := range w.links {
			for side := range l.nodes {
				for w.deliver(l, side) {
					moved = true
				}
			}
		}
		if !moved {
			return
		}
	}
}

// flow runs, commits and delivers in rounds until nothing moves.
func (w *World) flow(rounds int) (moved bool) {
	for i := 0; i < rounds; i++ {
		if i > 2000 {
			w.fail("%s\n  messages do not come to an end", invEnd)
		}
		again := false
		for _, n := range w.nodes {
			again = n.runAll() || len(n.queue) > 0 || again
			n.commit(all)
		}
		w.goAhead()
		again = w.handAll() || again
		for _, l := range w.links {
			for side := range l.nodes {
				for w.deliver(l, side) {
					again = true
				}
			}
		}
		if !again {
			break
		}
		moved = true
	}
	return moved
}

// handAll delivers the letters there are, once.
func (w *World) handAll() bool {
	mail := w.mail
	w.mail = nil
	for _, l := range mail {
		w.hand(l)
	}
	return len(mail) > 0
}

// actMail delivers a letter, out of order or twice, or loses it.
func (w *World) actMail(arg int) string {
	if len(w.mail) == 0 {
		return ""
	}
	i := arg / 4 % len(w.mail)
	l := w.mail[i]
	if arg%4 != 1 {
		w.mail = slices.Delete(w.mail, i, i+1)
	}
	if arg%4 == 2 {
		return "a letter is lost"
	}
	w.hand(l)
	return ""
}

// actCrash crashes a node: now, or after some more of its turns; it loses everything that is not committed, or less: what was
// written and not released.
func (w *World) actCrash(arg int) string {
	n := w.pick(arg % 4)
	if w.nodes[arg%4%len(w.nodes)] == w.nodes[0] && len(w.nodes) > 3 && arg%3 == 0 {
		n = w.pick(4)
	}
	if arg >= 8 {
		n.trap.turns, n.trap.lose = 1+(arg-8)/4*2+arg%2, []int{0, 1, all}[arg%3]
		return fmt.Sprintf("%s will, after %d turns", n.name, n.trap.turns)
	}
	w.trace("crash: %s", n.name)
	n.crash(max(0, len(n.queue)-[]int{0, 1, all, all}[arg%4]))
	return ""
}

func (w *World) actCut(arg int) string {
	l := w.links[arg%4%len(w.links)]
	notice := [2]bool{arg/4 != 1, arg/4 != 2} // both at once, or one later
	w.cut(l, notice)
	return fmt.Sprintf("%s %s", w.nodes[l.nodes[0]].name, w.nodes[l.nodes[1]].name)
}

func (w *World) actConnect(arg int) string {
	if arg < 10 {
		for _, l := range w.links {
			w.connect(l)
		}
		return "all"
	}
	l := w.links[arg%len(w.links)]
	w.connect(l)
	return fmt.Sprintf("%s %s", w.nodes[l.nodes[0]].name, w.nodes[l.nodes[1]].name)
}

// actMine mines: a few blocks, some in the place of others, or up to around the next moment at which something pending is given up.
func (w *World) actMine(arg int) string {
	blocks := []uint32{1, 1, 2, 6, 12, 20, 0, 0, 0, 0}[arg]
	if arg == 4 {
		w.chain.reorg(3)
		blocks = 4
	}
	if blocks == 0 {
		next := w.nextLimit()
		if next == 0 {
			blocks = 1
		} else if to := next + uint32(arg) - 7; to > w.chain.height() { // one before, at, one after, two after
			blocks = min(to-w.chain.height(), 500)
		}
	}
	for range blocks {
		w.chain.mine()
	}
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

func (w *World) actSee(arg int) string {
	n := w.pick(arg)
	n.seen = min(n.seen+uint32(1+arg%2), w.chain.height())
	n.follow()
	return n.name
}

func (w *World) actTick(arg int) string {
	seconds := []int64{1, 5, 30, 61, 120, 601}[arg]
	w.tick(seconds)
	return fmt.Sprintf("%d seconds", seconds)
}

func (w *World) tick(seconds int64) {
	w.now += seconds
	if w.bug == BugTicksUnheard {
		return
	}
	for _, n := range w.nodes {
		n.think(forward.Tick{Now: w.now})
		n.payerSays(&turn{}, n.payer.Tick(w.now))
		n.payeeSays(&turn{}, n.payee.Tick(w.now))
	}
}

const maxPayments = 10

// amounts are from dust over what a commitment shows to more than a channel has.
var amounts = []lnwire.MilliSatoshi{50_000_000, 1, 353_999, 354_000, 2_000_000, 123_456_789, 250_000_001, 450_000_000}

func (w *World) actPay(arg int) string {
	x := wish{payer: w.node('A'), payee: w.node('B'), amount: amounts[arg%8], parts: 1, choice: arg}
	switch arg {
	case 8, 9, 10:
		x.payer, x.payee = x.payee, x.payer
	case 11, 12, 13, 14:
		x.parts = 2 + arg%2
	case 15:
		x.spoiled = true
	case 16, 17:
		x.again = w.last()
	case 18:
		x.payer = w.other()
		x.again = w.last()
	case 19:
		x.payer = w.other()
	}
	return w.pay(x)
}

func (w *World) last() *payment {
	if len(w.payments) == 0 {
		return nil
	}
	return w.payments[len(w.payments)-1]
}

// other is the second payer, if there is one.
func (w *World) other() *node {
	if m := w.node('M'); m != nil {
		return m
	}
	return w.node('A')
}

func (w *World) pay(x wish) string {
	if len(w.payments) >= maxPayments || x.again != nil && x.again.payee == x.payer {
		return ""
	}
	if !slices.ContainsFunc(x.payer.inboxes, func(in *inbox) bool { _, _, ok := in.state.Usable(); return ok }) {
		return "" // a wallet would not try
	}
	p := w.newPayment(x)
	if p == nil {
		return ""
	}
	w.stats.Payments++
	if x.hold != holdNot {
		w.stats.Held++
	}
	if x.hold != holdNot && x.ends != 0 {
		p.ends = true
		p.begin(x.ends)
	} else if x.hold == holdByMessage {
		p.ask()
	} else {
		p.offer()
	}
	return p.text()
}

func (p *payment) text() string {
	how := [...]string{"", ", held by its HTLCs", ", held by request"}[p.hold]
	if p.spoiled {
		how += ", onion spoiled"
	}
	return fmt.Sprintf("payment %d of %d msat from %s to %s in %d parts%s, release_deadline %d, hash %x", p.index, uint64(p.amount), p.payer.name,
		p.payee.name, len(p.parts), how, p.asked, p.hash[:4])
}

func (w *World) actPayHeld(arg int) string {
	x := wish{payer: w.node('A'), payee: w.node('B'), amount: amounts[arg%3*2], parts: 1, choice: arg, hold: holdByHTLC + hold(arg%2),
		blocks: []uint32{80, 60, 120, 200}[arg/2%4], asks: arg%3 != 0}
	switch arg {
	case 8, 9, 10, 11:
		x.parts = 2
	case 12, 13:
		x.payer = w.other()
	case 14, 15, 16, 17:
		x.payer = w.other()
		x.again = w.last()
	case 18, 19:
		x.again = w.last()
	case 20:
		x.payer, x.payee = x.payee, x.payer
	case 21:
		x.parts, x.spoiled = 2, true
	}
	if arg%8 >= 4 {
		x.ends = rod.UnblockMode(1 + arg%3)
	}
	return w.pay(x)
}

// heldOnes are the payments that ask to be held.
func (w *World) heldOnes() (list []*payment) {
	for _, p := range w.payments {
		if p.hold != holdNot {
			list = append(list, p)
		}
	}
	return list
}

// actUnblock: right and wrong, early and late, again and again.
func (w *World) actUnblock(arg int) string {
	list := w.heldOnes()
	if len(list) == 0 {
		return ""
	}
	if arg < 12 {
		if armed := slices.DeleteFunc(slices.Clone(list), func(p *payment) bool { return !p.armed() || p.unblocked }); len(armed) > 0 {
			list = armed
		}
	}
	p := list[(len(list)-1+arg/4)%len(list)]
	p.unblock(arg%4 != 3)
	return fmt.Sprintf("payment %d, right: %t", p.index, arg%4 != 3)
}

// actCancel takes back: the payer its hold, the payee its invoice.
func (w *World) actCancel(arg int) string {
	if arg < 2 {
		list := w.heldOnes()
		if len(list) == 0 {
			return ""
		}
		p := list[len(list)-1]
		p.cancel()
		return fmt.Sprintf("hold of payment %d", p.index)
	}
	p := w.last()
	if p == nil {
		return ""
	}
	p.payee.think(forward.Cancel{Hash: p.hash})
	return fmt.Sprintf("invoice of payment %d", p.index)
}

func (w *World) actFee(arg int) string {
	e := w.edges[arg%len(w.edges)]
	n := w.nodes[e.link.nodes[0]]
	for _, n := range w.nodes {
		if in := n.inbox(e); in != nil && in.state.Opener() {
			n.post(in, posted{ev: channel.UpdateFee{FeePerKw: chain.FeePerKw(253 + 300*arg)}})
		}
	}
	return n.name
}

func (w *World) actClose(arg int) string {
	e := w.edges[arg*(len(w.edges)-1)]
	n := w.nodes[e.link.nodes[arg]]
	in := n.inbox(e)
	if in == nil {
		return ""
	}
	for _, p := range w.payments {
		p.waived = true // a hold may be withdrawn before its HTLC comes
	}
	if w.cfg.force {
		w.truth.claimed[e] = true
		n.post(in, posted{ev: channel.ForceClose{Reason: "asked to"}})
		return fmt.Sprintf("%s closes %s by force", n.name, e.name(w))
	}
	e.closing = true
	n.post(in, posted{ev: channel.Close{FeePerKw: 500}})
	return fmt.Sprintf("%s closes %s", n.name, e.name(w))
}

// finish lets everything come to its end, in a bounded number of rounds.
func (w *World) finish() {
	for _, n := range w.nodes {
		n.trap.turns = 0
	}
	w.trace("finish")
	for round := range 120 {
		for _, l := range w.links {
			w.connect(l)
		}
		w.seeAll()
		w.flow(all)
		w.look()
		if w.leftovers() == "" || w.onChain {
			break
		}
		w.tick([]int64{61, 61, 601, 3600}[round%4])
		if !w.cfg.deadlines {
			for _, p := range w.heldOnes() {
				p.unblock(true)
			}
		}
		if next := w.nextLimit(); next > w.chain.height() && (w.cfg.deadlines || round > 8) { // a release may wait for a channel that never has room

			for range next - w.chain.height() {
				w.chain.mine()
			}
		}
		if slices.ContainsFunc(w.edges, func(e *edge) bool { return e.closing }) {
			for range 6 {
				w.chain.mine()
			}
		}
	}
	w.seeAll()
	w.flow(all)
	w.read()
	if w.onChain {
		w.stats.OnChain++
		return
	}
	w.judge()
}

// Run does one schedule. A nil error means that no invariant was broken.
func (u *Universe) Run(schedule []byte, bug Bug) error {
	_, err := u.run(schedule, bug, false)
	return err
}

// Explain runs a schedule and tells what happened.
func (u *Universe) Explain(schedule []byte, bug Bug) (string, error) {
	return u.run(schedule, bug, true)
}

func (u *Universe) run(schedule []byte, bug Bug, tell bool) (text string, err error) {
	if len(schedule) == 0 {
		return "", nil
	}
	u.Stats.Seeds++
	w := u.begin(configOf(schedule[0]), bug, &u.Stats)
	if tell {
		w.log = &strings.Builder{}
		defer func() { text = w.log.String() }()
	}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case Failure:
			err = r
		default:
			err = Failure{fmt.Sprintf("panic: %v\n%s", r, debug.Stack())}
		}
	}()
	w.trace("topology %s, %+v", topologies[w.cfg.topology].nodes, w.cfg)
	for _, n := range w.nodes {
		n.restart()
	}
	w.started()
	for _, l := range w.links {
		w.connect(l)
	}
	w.flow(all)
	for _, b := range schedule[1:] {
		w.act(b)
		w.look()
		u.Stats.Steps++
	}
	w.finish()
	return "", nil
}
