package forward

import (
	"slices"

	"lightningrod/channel"
	"lightningrod/rod"

	"github.com/lightningnetwork/lnd/lnwire"
)

// A stage looks at an incoming HTLC and either answers, or goes on to the next by answering nil. Stages change
// nothing but what the question remembers for the stages after them; act carries the answer out.
var stages = []struct {
	name string
	ask  func(*question) answer
}{
	{"check", check},
	{"receive", receive},
	{"hold", hold},
	{"choose", choose},
	{"add", add},
}

// question is one incoming HTLC on its way through the stages.
type question struct {
	f      *Forwarder
	in     *incoming
	peer   *peerState    // the next node; nil if unknown, and for the final hop
	named  *channelState // the channel the onion names, or another one with peer; nil if there is none
	policy Policy        // of named
	rod    rod.HTLC
	judged rod.Verdict
	out    *channelState // chosen
}

// answer is what a stage decides. The set is closed.
type answer interface{ answer() }

type (
	// refusal fails the HTLC back.
	refusal struct{ msg lnwire.FailureMessage }
	// holding keeps it for rod.
	holding struct{}
	// waits keeps it until something can carry it; until is the time at which that is over, 0: only its limit is.
	waits struct{ until int64 }
	// joins adds it to the set of parts of an invoice; keysend is the preimage of one made on the spot.
	joins struct{ keysend *[32]byte }
	// offers posts it to the chosen channel.
	offers struct{ htlc channel.HTLC }
)

func (refusal) answer() {}
func (holding) answer() {}
func (waits) answer()   {}
func (joins) answer()   {}
func (offers) answer()  {}

// ask puts an HTLC through the stages. It changes nothing.
func (f *Forwarder) ask(in *incoming) (*question, answer) {
	q := &question{f: f, in: in}
	q.resolve()
	for _, stage := range stages {
		if a := stage.ask(q); a != nil {
			return q, a
		}
	}
	panic("forward: no stage answered")
}

// decide asks about an HTLC that has no child and no outcome, and does what the answer says.
func (f *Forwarder) decide(s *step, in *incoming) {
	f.withdraw(s, in)
	q, a := f.ask(in)
	if q.peer != nil {
		in.next = q.named.Peer
	}
	_, isHeld := a.(holding)
	if q.judged.Member && !isHeld {
		f.rod(s, rod.Member{HTLC: q.rod})
	}
	switch a := a.(type) {
	case refusal:
		f.fail(s, in, a.msg)
	case holding:
		f.hold(s, in, f.limit(q, q.judged.Deadline))
		if q.judged.Member {
			f.rod(s, rod.Member{HTLC: q.rod}) // in the index first: this may release it
		}
	case waits:
		f.wait(s, in, f.limit(q, q.judged.Deadline), a.until)
	case joins:
		f.join(s, in, a)
	case offers:
		in.state = onWay
		in.children++
		s.Commands = append(s.Commands, Add{Channel: q.out.ID, HTLC: a.htlc})
		s.Notices = append(s.Notices, Forwarded{In: in.htlc.Key, Out: q.out.ID, Fee: in.htlc.Amount - a.htlc.Amount})
	}
}

// resolve finds the next node of a forward and the channel whose policy counts.
func (q *question) resolve() {
	hop := q.in.hop
	if hop == nil || hop.Final {
		return
	}
	id := q.in.next // known from before, should the channel be gone by now
	if hop.NextNode != nil {
		id = *hop.NextNode
	} else if number, ok := q.f.scids[hop.NextSCID]; ok {
		q.named = q.f.channels[number]
		id = q.named.Peer
	}
	p := q.f.peers[id]
	if p == nil || len(p.channels) == 0 {
		return
	}
	q.peer = p
	if q.named == nil {
		// BOLT 4 leaves open whose policy an onion means that names a node: the oldest living channel's.
		alive := func(id channel.ID) bool { return !q.f.channels[id].OnChain }
		q.named = q.f.channels[p.channels[max(slices.IndexFunc(p.channels, alive), 0)]]
	}
	q.policy = q.named.Policy
}

// policyFor is the policy to enclose in a failure of this HTLC.
func (f *Forwarder) policyFor(in *incoming) Policy {
	q := question{f: f, in: in}
	q.resolve()
	return q.policy
}

// rules are what check looks at, in the order of BOLT 4 "Failure Messages": the first that is broken is told.
// All but the first speak of an HTLC to forward.
var rules = []struct {
	name   string
	broken func(*question) lnwire.FailureMessage
}{
	{"temporary_channel_failure", func(q *question) lnwire.FailureMessage {
		if q.named != nil && q.policy.HTLCMaximum != 0 && q.in.hop.Amount > q.policy.HTLCMaximum {
			return temporaryChannelFailure(q.policy)
		}
		return nil
	}},
	{"unknown_next_peer", func(q *question) lnwire.FailureMessage {
		if q.named == nil {
			return unknownNextPeer()
		}
		return nil
	}},
	{"amount_below_minimum", func(q *question) lnwire.FailureMessage {
		if hop := q.in.hop; hop.Amount < q.policy.HTLCMinimum || hop.Amount == 0 {
			return amountBelowMinimum(hop.Amount, q.policy)
		}
		return nil
	}},
	{"fee_insufficient", func(q *question) lnwire.FailureMessage {
		if !q.policy.pays(q.in.htlc.Amount, q.in.hop.Amount) {
			return feeInsufficient(q.in.htlc.Amount, q.in.hop.Amount, q.policy)
		}
		return nil
	}},
	{"incorrect_cltv_expiry", func(q *question) lnwire.FailureMessage {
		in, out := q.in.htlc.Expiry, q.in.hop.Cltv
		if uint64(in) < uint64(out)+uint64(q.policy.CltvExpiryDelta) {
			return incorrectCltvExpiry(in, out, q.policy)
		}
		return nil
	}},
	{"expiry_too_soon", func(q *question) lnwire.FailureMessage {
		if q.f.height >= q.f.limit(q, 0) {
			return expiryTooSoon(q.policy)
		}
		return nil
	}},
	{"channel_disabled", func(q *question) lnwire.FailureMessage {
		if q.policy.Disabled {
			return channelDisabled(q.policy)
		}
		return nil
	}},
	{"expiry_too_far", tooFar},
}

// tooFar is the rule for final HTLCs too: BOLT 2 "Forwarding HTLCs" wants an unreasonable cltv_expiry failed, BOLT 4
// says what that is.
func tooFar(q *question) lnwire.FailureMessage {
	if uint64(q.in.htlc.Expiry) > uint64(q.f.height)+uint64(q.f.cfg.MaxExpiry) {
		return expiryTooFar()
	}
	return nil
}

// check compares the onion with the HTLC that carries it and with our policy.
func check(q *question) answer {
	hop := q.in.hop
	if hop == nil {
		return refusal{} // the onion's own failure
	}
	if q.in.astray != nil {
		return refusal{badOnion(uint16(lnwire.CodeInvalidBlinding), [32]byte{})}
	}
	if hop.Final {
		return nil // receive knows
	}
	for _, rule := range rules {
		if msg := rule.broken(q); msg != nil {
			return refusal{msg}
		}
	}
	return nil
}

// hold asks rod. Its answer follows from durable rows and the height alone, so it may be asked whenever needed.
func hold(q *question) answer {
	in := q.in
	q.rod = rod.HTLC{
		Channel: uint64(in.htlc.Key.Channel), ID: in.htlc.Key.HTLC,
		Peer: in.peer, Hash: in.htlc.Hash,
		Amount: uint64(in.htlc.Amount), Expiry: in.htlc.Expiry,
		OutAmount: uint64(in.hop.Amount), OutExpiry: in.hop.Cltv,
		Hold: rod.HoldTLVIn(in.htlc.TLVs),
	}
	c := q.f.channels[in.htlc.Key.Channel]
	if c != nil {
		q.rod.MaxInFlight = uint64(c.MaxInFlight)
	}
	q.judged = q.f.table.Judge(q.rod, q.f.height)
	switch {
	case q.judged.Kind == rod.Pass:
		return nil
	case q.judged.Kind == rod.GiveUp && q.judged.ExpiryTooSoon:
		return refusal{expiryTooSoon(q.policy)}
	case q.judged.Kind == rod.GiveUp, c != nil && c.Shutdown:
		return refusal{temporaryNodeFailure()}
	}
	return holding{}
}
