package nodetest

import (
	"fmt"
	"slices"

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
	late  bool                           // a schedule of Schedule has it in its second half only
}{
	{"deliver one", 10, (*World).actDeliver, false},
	{"deliver all", 10, (*World).actDeliverAll, false},
	{"run one channel", 6, (*World).actRun, false},
	{"run a node", 10, (*World).actRunNode, false},
	{"commit one turn", 5, (*World).actCommitOne, false},
	{"commit a node", 5, (*World).actCommit, false},
	{"let it flow", 30, (*World).actFlow, false},
	{"crash", 20, (*World).actCrash, false},
	{"disconnect", 12, (*World).actCut, false},
	{"connect", 12, (*World).actConnect, false},
	{"mine", 10, (*World).actMine, false},
	{"see blocks", 5, (*World).actSee, false},
	{"tick", 6, (*World).actTick, false},
	{"pay", 24, (*World).actPay, false},
	{"pay held", 24, (*World).actPayHeld, false},
	{"unblock", 12, (*World).actUnblock, false},
	{"mail", 12, (*World).actMail, false},
	{"cancel", 4, (*World).actCancel, false},
	{"fee", 4, (*World).actFee, false},
	{"close", 3, (*World).actClose, true},
	{"reorganise", 5, (*World).actReorg, false},
	{"market", 5, (*World).actMarket, false},
	{"keep quiet", 6, (*World).actMute, false},
	{"cheat", 12, (*World).actCheat, true},
	{"bribe", 4, (*World).actBribe, true},
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
func (w *World) flow(rounds int) (moved bool) { return w.flows(rounds, (*node).runAll) }

func (w *World) flows(rounds int, run func(*node) bool) (moved bool) {
	for i := 0; i < rounds; i++ {
		if i > 2000 {
			w.fail("%s\n  messages do not come to an end", invEnd)
		}
		again := false
		for _, n := range w.nodes {
			again = run(n) || len(n.queue) > 0 || again
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
	if arg < 7 {
		for _, l := range w.links {
			w.connect(l)
		}
		return "all"
	}
	l := w.links[arg%len(w.links)]
	w.connect(l)
	return fmt.Sprintf("%s %s", w.nodes[l.nodes[0]].name, w.nodes[l.nodes[1]].name)
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

const maxPayments = 24

// amounts are from dust over what a commitment shows to more than a channel has.
var amounts = []lnwire.MilliSatoshi{50_000_000, 1, 353_999, 354_000, 2_000_000, 123_456_789, 250_000_001, 450_000_000}

func (w *World) actPay(arg int) string {
	if arg >= 19 {
		return w.payBurst(max(arg, 20) - 20)
	}
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
		if len(w.payments)%2 == 0 {
			x.again = w.last()
		}
	}
	if arg == 6 {
		x.amount = w.most(x)
	}
	return w.pay(x)
}

// payBurst is several payments at once over the same channels: of one hash or of several, with one cltv_expiry or several.
func (w *World) payBurst(arg int) (text string) {
	count := []int{11, 3, 3, 3}[arg]
	for i := range count {
		x := wish{payer: w.node('A'), payee: w.node('B'), amount: 12_000_000, parts: 1}
		if again := w.last(); arg == 3 && i > 0 && again != nil {
			x.again = again
		} else if arg == 2 {
			x.payer = []*node{w.node('A'), w.other()}[i%2]
		}
		text += w.pay(x) + "; "
		if arg > 0 {
			w.pass(2 + i) // another cltv_expiry
		}
	}
	return text
}

// most is what a payer can just send: all that its channel takes.
func (w *World) most(x wish) lnwire.MilliSatoshi {
	amount := amounts[6]
	for _, in := range x.payer.inboxes {
		out, _, ok := in.state.Usable()
		path := w.path(x.payer, x.payee)
		if !ok || path == nil || path[1].index != in.peer {
			continue
		}
		amount = out.Max
		for range len(path) - 2 {
			fee, _ := w.policy.Fee(amount)
			amount -= min(amount-1, fee)
		}
		break
	}
	return amount
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
	if arg%8 >= 4 || arg == 18 {
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
