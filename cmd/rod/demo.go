package main

import (
	"context"
	"errors"
	"time"

	"lightningrod/node"
	"lightningrod/rod"
)

// scenario is a story: acts one after the other, between the setting up and the proof.
type scenario struct {
	name  string
	about string
	cast  cast // who else is there
	acts  []act
	proof []proof // nil: proofs, since nothing goes on chain
}

// act is a piece of a story. It says what it does, waits until that has happened, and returns an error that names the check which fails.
type act func(*stage) error

// cast says whether a stranger takes part.
type cast uint8

const (
	four          cast = iota
	withStranger       // M is connected to LSP_a
	withNeighbour      // M has a channel with LSP_a, too
)

var scenarios = []scenario{
	{"happy", "A pays B; they are never online together", four,
		[]act{hold(rod.UnblockByPayer, 1), leave, wakeB, answer, release, settle}, nil},
	{"b-builds-the-path", "B itself builds the path of its answer through LSP_a, as the seed has it", four,
		[]act{hold(rod.UnblockByPayee, 1), leave, wakeB, answer, release, settle}, nil},
	{"lsp-crash", "LSP_a is killed while it holds, and comes back from a copy of its files", four,
		[]act{hold(rod.UnblockByPayer, 1), leave, crashLSP, wakeB, answer, release, settle}, nil},
	{"b-never-wakes", "B's phone ignores every call; at the deadline A has its money back", four,
		[]act{hold(rod.UnblockByPayer, 1), leave, deadline, refund}, nil},
	{"unblock-first", "payment_unblock comes before the HTLC, which then passes straight through", four,
		[]act{armByHand, noticeByHand, answerEarly, payLate, collect, settle}, nil},
	{"duplicate-unblock", "The same payment_unblock comes again and again; the payment is made once", four,
		[]act{hold(rod.UnblockByPayer, 1), leave, wakeB, answer, repeatFromB, release, repeatFromLSP, settle, tellDuplicates}, nil},
	{"forged-unblock", "A stranger sends payment_unblock with pids that are not A's", withStranger,
		[]act{hold(rod.UnblockByPayer, 1), leave, forgeUnblocks, wakeB, answer, release, settle}, nil},
	{"forged-hold", "Another client of LSP_a wants A's payment held", withNeighbour,
		[]act{forgeHolds, payPlainly, forgeHolds, hold(rod.UnblockByPayer, 1), leave, wakeB, answer, release, settle}, nil},
	{"mpp-3", "A payment in three parts, held and released together", four,
		[]act{hold(rod.UnblockByPayer, 3), leave, wakeB, answer, release, settle}, nil},
	{"a-comes-back-late", "A's phone is off for many blocks; it settles off chain all the same", four,
		[]act{hold(rod.UnblockByPayer, 1), leave, wakeB, answer, release, stayAway, settle}, nil},
	{"a-never-returns", "A's phone is lost; LSP_a takes what it is owed on chain, in time", four,
		[]act{hold(rod.UnblockByPayer, 1), leave, wakeB, answer, release, claimOnChain, bury}, closings},
	{"force-close-while-held", "Both channels of LSP_a go on chain while it holds; the hold is void, and A has its money back", four,
		[]act{hold(rod.UnblockByPayer, 1), leave, closeWay, closePayer, wakeB, answer, tooLate, takeBack, bury}, closings},
	{"revoked-state", "A publishes a commitment that it has revoked, to undo its payment, and loses everything in the channel", four,
		[]act{hold(rod.UnblockByPayer, 1), leave, copyFiles, wakeB, answer, release, settle, cheat, punish, bury}, closings},
}

func findScenario(name string) (scenario, bool) {
	for _, s := range scenarios {
		if s.name == name {
			return s, true
		}
	}
	return scenario{}, false
}

func scenarioNames() (names []string) {
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

// perform plays a scenario, proves what happened and tells it. An error is one of which nothing can be told: an interrupt, no folder.
func perform(ctx context.Context, play scenario, opts options, say *narrator) (r result, err error) {
	started := time.Now()
	w, err := newWorld(ctx, play.name, opts)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	s := &stage{world: w, say: say, pace: opts.pace, parts: 1, before: map[*actor]uint64{}, want: expectations{amount: price}}
	say.title(play.name, play.about, opts.seed)
	err = s.run(append([]act{setUp(play.cast)}, play.acts...))
	if err == nil {
		r, err = prove(s, play.proof)
	}
	if ctx.Err() != nil {
		return r, ctx.Err()
	}
	if err != nil {
		r.Checks = append(s.story, failing(err))
	}
	r.Scenario, r.Seed, r.Seconds, r.RSS = play.name, opts.seed, round(time.Since(started).Seconds()), peakMemory()
	if !w.temp {
		r.Dir = w.dir
	}
	r.OK = r.holds()
	say.verdict(r)
	return r, nil
}

func (s *stage) run(acts []act) error {
	for _, a := range acts {
		if err := a(s); err != nil {
			return err
		}
	}
	return nil
}

// setUp is step 0 and what comes before it. B is online first, then A: not even here do they meet.
func setUp(c cast) act {
	return func(s *stage) error {
		s.a, s.lspA, s.lspB, s.b = s.actor("A", false), s.actor("LSP_a", true), s.actor("LSP_b", true), s.actor("B", false)
		if c != four {
			s.stranger = s.actor("M", false)
		}
		s.begin()
		if err := s.setUpPayee(); err != nil {
			return err
		}
		if err := s.setUpPayer(c); err != nil {
			return err
		}
		s.openBooks()
		s.begin()
		s.opening = s.start
		return nil
	}
}

// setUpPayee starts the LSPs and B, opens their channels, and lets B sleep again with an invoice out.
func (s *stage) setUpPayee() error {
	for _, a := range []*actor{s.lspA, s.lspB, s.b} {
		if err := a.wake(); err != nil {
			return err
		}
	}
	if err := s.fund(s.lspA, s.lspB); err != nil {
		return err
	}
	if err := s.open(s.lspA, s.lspB, false); err != nil {
		return err
	}
	if err := s.open(s.lspB, s.b, true); err != nil {
		return err
	}
	if err := s.confirm([2]*actor{s.lspA, s.lspB}, [2]*actor{s.lspB, s.b}); err != nil {
		return err
	}
	if err := s.aside(s.lspB, "has a channel with LSP_a, which is public, and one with B, which is private"); err != nil {
		return err
	}
	if err := s.register(s.b, s.lspB); err != nil {
		return err
	}
	if err := s.until("set-up", "B knows LSP_b's terms", func() bool { return s.b.node.Channels()[0].Hint }); err != nil {
		return err
	}
	var err error
	s.invoice, err = s.b.node.CreateInvoice(node.InvoiceWish{Amount: price, Description: "coffee"})
	if err != nil {
		return err
	}
	if err := s.b.sleep(); err != nil {
		return err
	}
	return s.tell(0, s.b, "registers its phone with LSP_b, writes an ordinary invoice for %s, and goes offline", sats(price))
}

// setUpPayer starts A, and the stranger if there is one.
func (s *stage) setUpPayer(c cast) error {
	openers, pairs := []*actor{s.a}, [][2]*actor{{s.a, s.lspA}}
	if c == withNeighbour {
		openers, pairs = append(openers, s.stranger), append(pairs, [2]*actor{s.stranger, s.lspA})
	}
	for _, a := range s.actors {
		if !a.awake && a != s.b {
			if err := a.wake(); err != nil {
				return err
			}
		}
	}
	if c == withStranger {
		if err := s.connect(s.stranger, s.lspA); err != nil {
			return err
		}
	}
	if err := s.fund(openers...); err != nil {
		return err
	}
	for _, p := range pairs {
		if err := s.open(p[0], p[1], true); err != nil {
			return err
		}
	}
	if err := s.confirm(pairs...); err != nil {
		return err
	}
	if err := s.register(s.a, s.lspA); err != nil {
		return err
	}
	err := s.until("set-up", "A finds a way to B", func() bool { _, err := s.a.node.Quote(s.invoice.Text, 0); return err == nil })
	if err != nil {
		return err
	}
	return s.tell(0, s.a, "opens a private channel with LSP_a and registers its phone there")
}

// fund mines coins for actors and waits until they know of them.
func (s *stage) fund(actors ...*actor) error {
	if err := s.coins(actors...); err != nil {
		return err
	}
	for _, a := range actors {
		err := s.until("set-up", a.name+" has coins", func() bool { c, _ := a.node.WalletBalance(); return c > 0 })
		if err != nil {
			return err
		}
	}
	return nil
}

// connect has one actor keep a connection to another, who listens.
func (s *stage) connect(from, to *actor) error {
	id := to.node.ID()
	if err := from.node.Keep(id, to.cfg.Listen[0]); err != nil {
		return err
	}
	return s.until("set-up", from.name+" is connected to "+to.name, func() bool { return from.node.Connected(id) && to.node.Connected(from.node.ID()) })
}

// capacity is that of every channel.
const capacity = 1_000_000 // sat

// open has one actor open a channel to another. Of two the one that does not listen dials.
func (s *stage) open(from, to *actor, private bool) error {
	dialler, listener := from, to
	if !to.cfg.LSP {
		dialler, listener = to, from
	}
	if err := s.connect(dialler, listener); err != nil {
		return err
	}
	_, err := from.node.Open(s.ctx, node.OpenChannel{Peer: to.node.ID(), Capacity: capacity, Private: private})
	return err
}

// confirm mines what was opened and waits until both ends of every pair can use their channel.
func (s *stage) confirm(pairs ...[2]*actor) error {
	err := s.until("set-up", "the funding transactions are published", func() bool { return len(s.chain.Mempool()) == len(pairs) })
	if err != nil {
		return err
	}
	const deep = 6 // blocks: from there on a channel may be announced (BOLT 7)
	if err := s.mine(deep); err != nil {
		return err
	}
	for _, p := range pairs {
		err := s.until("set-up", p[0].name+" and "+p[1].name+" can use their channel", func() bool { return p[0].tied(p[1]) && p[1].tied(p[0]) })
		if err != nil {
			return err
		}
	}
	return nil
}

// register is step 0: a phone is registered with its LSP, which says hello to it.
func (s *stage) register(a, lsp *actor) error {
	url := s.pushes.add(a.name, lsp.node.ID())
	if err := a.node.RegisterWebhook(s.ctx, lsp.node.ID(), "rod demo", url); err != nil {
		return fail("set-up", "%s cannot register with %s: %v", a.name, lsp.name, err)
	}
	return s.called(a, "lsps5.webhook_registered")
}

// hold is steps 1 to 3: A draws a pid, has LSP_a agree to hold, and pays.
func hold(mode rod.UnblockMode, parts int) act {
	return func(s *stage) (err error) {
		s.parts = parts
		s.payment, err = s.a.node.SendAsync(node.AsyncPay{Invoice: s.invoice.Text, LSP: s.lspA.node.ID(), Parts: parts, Mode: mode})
		if err != nil {
			return err
		}
		var ok bool
		if s.pid, ok = s.a.node.Pid(s.payment); !ok {
			return fail("hold-acknowledged", "A does not know the pid of its payment")
		}
		if err := s.tell(1, s.a, "draws a secret payment id, the pid, for payment hash %.8s", s.hash()); err != nil {
			return err
		}
		acked, err := s.expect("hold-acknowledged", s.a, 1, node.RodAcked)
		if err != nil {
			return err
		}
		err = s.tell(2, s.a, "asks LSP_a by onion message to hold the payment; LSP_a agrees, until block %s", acked[0].Fields["release_deadline"])
		if err != nil {
			return err
		}
		return s.holding()
	}
}

// holding waits until LSP_a holds all parts, and shows that nothing went further.
func (s *stage) holding() error {
	err := s.watch("held-at-lsp-a", "it holds all parts", s.lspA, func(log []entry) (bool, error) {
		if len(pick(log, node.HTLCForwarded)) > 0 {
			return false, fail("held-at-lsp-a", "LSP_a forwarded the payment without waiting for payment_unblock")
		}
		return len(pick(log, node.HoldHolding, "hash", s.hash())) >= s.parts, nil
	})
	if err != nil {
		return err
	}
	if err := s.lookDownstream(); err != nil {
		return err
	}
	return s.tell(3, s.a, "pays: LSP_a holds %s and forwards nothing", htlcs(s.parts, s.lspA.held()))
}

// leave is step 4: A tells B the pid and goes offline.
func leave(s *stage) error {
	if _, err := s.expect("notice-kept", s.a, 1, node.RodNoticeSent); err != nil {
		return err
	}
	if _, err := s.expect("notice-kept", s.lspB, 1, node.MessageKept); err != nil {
		return err
	}
	if err := s.a.sleep(); err != nil {
		return err
	}
	return s.tell(4, s.a, "sends B a notice with the pid by onion message, and goes offline")
}

// wakeB is step 5: LSP_b has kept the message and calls B's phone.
func wakeB(s *stage) error {
	if err := s.called(s.b, rod.MethodOnionMessage); err != nil {
		return err
	}
	if err := s.lookDownstream(); err != nil {
		return err
	}
	if err := s.b.wake(); err != nil {
		return err
	}
	if _, err := s.expect("notice-kept", s.b, 1, node.RodNoticed); err != nil {
		return err
	}
	return s.tell(5, s.lspB, "has kept the message and calls B's phone (%s); B comes online and gets it", rod.MethodOnionMessage)
}

// answer is step 6: B's message goes through LSP_a, which finds payment_unblock in its part.
func answer(s *stage) error {
	sent, err := s.expect("unblocked", s.b, 1, node.RodReadySent)
	if err != nil {
		return err
	}
	if _, err := s.expect("unblocked", s.lspA, 1, node.UnblockSeen); err != nil {
		return err
	}
	return s.tell(6, s.b, "answers through LSP_a, for whom the message has payment_unblock = pid, put there by the %s", sent[0].Fields["payment_unblock_by"])
}

// release is step 7: the parts go on to B, who settles and may sleep again.
func release(s *stage) error {
	err := s.watch("released", "payment_unblock to release what it holds", s.lspA, func(log []entry) (bool, error) {
		return len(pick(log, node.HTLCForwarded)) >= s.parts, nil
	})
	if err != nil {
		return err
	}
	if err := s.paid(); err != nil {
		return err
	}
	return s.tell(7, s.lspA, "releases %s to B over LSP_b; B settles and has %s", htlcs(s.parts, 0), sats(price))
}

// paid waits until B has its money and LSP_a the preimage, and lets B sleep.
func (s *stage) paid() error {
	if _, err := s.expect("paid", s.b, 1, node.InvoicePaid, "hash", s.hash()); err != nil {
		return err
	}
	if _, err := s.expect("paid", s.lspA, s.parts, node.HTLCFulfilled); err != nil {
		return err
	}
	if err := s.clear(s.b, s.lspB); err != nil {
		return err
	}
	return s.b.sleep()
}

// settle is step 8: LSP_a has the preimage and calls A's phone; A comes back and the payment settles.
func settle(s *stage) error {
	if err := s.called(s.a, rod.MethodPreimageReady); err != nil {
		return err
	}
	if err := s.a.wake(); err != nil {
		return err
	}
	if err := s.settled(); err != nil {
		return err
	}
	return s.tell(8, s.a, "is called by LSP_a (%s), comes back, and the payment settles", rod.MethodPreimageReady)
}

// settled waits until A has the preimage and no HTLC is left.
func (s *stage) settled() error {
	if _, err := s.expect("settled", s.a, 1, node.PaymentDone, "hash", s.hash()); err != nil {
		return err
	}
	return s.clear(s.a, s.lspA)
}

// htlcs names HTLCs: "the HTLC", "3 HTLCs of 20 sat".
func htlcs(n int, msat uint64) string {
	s := "the HTLC"
	if n != 1 {
		s = plural(n, "HTLC")
	}
	if msat > 0 {
		s += " of " + sats(msat)
	}
	return s
}
