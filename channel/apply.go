package channel

import (
	"errors"
	"fmt"

	"lightningrod/chain"
	"lightningrod/channel/commitment"
	"lightningrod/channel/onchain"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Crypto signs and verifies with the keys of one channel. It is deterministic; batches may fan out over cores.
// n counts commitments: 0, 1, 2, ...
type Crypto interface {
	Sign([]commitment.SignJob) []lnwire.Sig
	Verify([]commitment.VerifyJob) bool
	Point(n uint64) commitment.PubKey // our per-commitment point
	Secret(n uint64) [32]byte         // its secret
}

// turn is one Apply: the copied state and what has come of it so far.
type turn struct {
	*State
	c     Crypto
	out   Output
	dirty bool            // something durable has changed
	heard []onchain.Event // for onchain, at the end of the turn
}

// Apply lets the events happen, in order, to a copy of s. It is total: every event in every state gives a state and an
// output, and never an error, for nobody could handle it. Only a broken invariant of ours panics, with the state in the text.
func Apply(s *State, c Crypto, evs []Event) (*State, Output) {
	t := &turn{State: s.clone(), c: c}
	for _, ev := range evs {
		t.take(ev)
	}
	t.finish()
	return t.State, t.out
}

// take handles one event and turns what went wrong into what is to be done about it.
func (t *turn) take(ev Event) {
	if t.phase == PhaseClosed {
		if ev, ok := ev.(Add); ok {
			t.notice(Refused{Origin: ev.HTLC.Origin, HTLC: ev.HTLC, Err: refuse(ReasonClosed, "channel is closed")})
		}
		if ev, ok := ev.(Funded); ok {
			t.notice(Release{Tx: ev.Tx})
		}
		return
	}
	err := t.handle(ev)
	if err == nil {
		return
	}
	var v *Violation
	var r *Refusal
	switch {
	case errors.As(err, &v):
		t.notice(Violated{Err: v})
		if v.Severity == SeverityWarn {
			t.send(&lnwire.Warning{ChanID: t.wireID(), Data: lnwire.WarningData(v.Text)})
			return
		}
		t.fail(v.Text)
	case errors.As(err, &r):
		if add, ok := ev.(Add); ok {
			t.notice(Refused{Origin: add.HTLC.Origin, HTLC: add.HTLC, Err: r})
			return
		}
		t.notice(Declined{Event: ev, Err: r})
		if _, ok := ev.(Open); ok {
			t.abandon(r.Error())
		}
	default:
		t.bug(err)
	}
}

func (t *turn) handle(ev Event) error {
	switch ev := ev.(type) {
	case Received:
		return t.receive(ev.Msg)
	case Connected:
		return t.connect(ev)
	case Disconnected:
		t.disconnect()
	case Add:
		return t.add(ev.HTLC)
	case Settle:
		return t.settle(ev)
	case Chain:
		return t.fact(ev.Event)
	case Open:
		return t.open(ev)
	case Funding:
		return t.fund(ev)
	case Funded:
		if t.end.chain != nil {
			t.hear(onchain.Funded(ev))
		} else {
			t.notice(Release{Tx: ev.Tx}) // it is over, or was never wanted
		}
	case RevokedData:
		t.revokedData(ev)
	case Close:
		return t.close(ev)
	case ForceClose:
		return t.forceClose(ev)
	case UpdateFee:
		return t.updateFee(ev.FeePerKw)
	case Sign:
		t.sign()
	default:
		t.bug(fmt.Errorf("unknown event %T", ev))
	}
	return nil
}

// receive dispatches a message of the peer by its type. Types that are not the channel's are ignored.
func (t *turn) receive(msg lnwire.Message) error {
	switch m := msg.(type) {
	case *lnwire.Error:
		t.receiveError(m)
		return nil
	case *lnwire.Warning:
		t.notice(PeerSaid{Text: printable(m.Data)})
		return nil
	}
	if !t.connected {
		return nil // of a connection that is already gone
	}
	switch m := msg.(type) {
	case *lnwire.OpenChannel:
		return t.receiveOpen(m)
	case *lnwire.AcceptChannel:
		return t.receiveAccept(m)
	case *lnwire.FundingCreated:
		return t.receiveFundingCreated(m)
	case *lnwire.FundingSigned:
		return t.receiveFundingSigned(m)
	case *lnwire.ChannelReestablish:
		return t.receiveReestablish(m)
	}
	return t.receiveEstablished(msg)
}

// receiveEstablished takes the messages that need a channel, and on this connection its channel_reestablish.
func (t *turn) receiveEstablished(msg lnwire.Message) error {
	var err error
	handle := func(f func() error) {
		switch {
		case t.phase == PhaseClosing && t.end.kind != endMutual || t.phase == PhaseWaiting: // BOLT 2: a failed channel ignores the peer
		case t.opening < openFunded:
			err = misstep(`BOLT 2 "Channel Establishment v1"`, "%s before funding_created and funding_signed", messageName(msg))
		case !t.established:
			err = misstep(`BOLT 2 "Message Retransmission"`, "%s before channel_reestablish", messageName(msg))
		default:
			err = f()
		}
	}
	update := func(f func() error) {
		handle(func() error {
			if !t.readySent || !t.readyReceived {
				return violation(`BOLT 2 "Normal Operation"`, "%s before channel_ready", messageName(msg))
			}
			if t.phase == PhaseClosing {
				return nil
			}
			return f()
		})
	}
	switch m := msg.(type) {
	case *lnwire.ChannelReady:
		handle(func() error { return t.receiveReady(m) })
	case *lnwire.UpdateAddHTLC:
		update(func() error { return t.receiveAdd(m) })
	case *lnwire.UpdateFulfillHTLC:
		update(func() error { return t.receiveFulfill(m) })
	case *lnwire.UpdateFailHTLC:
		update(func() error { return t.receiveFail(m) })
	case *lnwire.UpdateFailMalformedHTLC:
		update(func() error { return t.receiveMalformed(m) })
	case *lnwire.UpdateFee:
		update(func() error { return t.receiveFee(m) })
	case *lnwire.CommitSig:
		update(func() error { return t.receiveCommit(m) })
	case *lnwire.RevokeAndAck:
		update(func() error { return t.receiveRevoke(m) })
	case *lnwire.Shutdown:
		if t.opening > openNew && t.opening < openFunded {
			return violation(boltShutdown, "shutdown before funding_created and funding_signed")
		}
		handle(func() error { return t.receiveShutdown(m) })
	case *lnwire.ClosingSigned:
		handle(func() error { return t.receiveClosing(m) })
	case *ClosingSigned:
		handle(func() error { return t.receiveClosing(&m.ClosingSigned) })
	}
	return err
}

// receiveError: BOLT 1 "The error and warning Messages": the channel fails; no error is sent back.
func (t *turn) receiveError(m *lnwire.Error) {
	t.notice(PeerSaid{Text: printable(m.Data), Fatal: true})
	switch {
	case t.opening < openFunded:
		t.abandon("peer: " + printable(m.Data))
	case t.phase == PhaseClosing || t.phase == PhaseWaiting:
	case t.worthless():
		t.abandon("peer: " + printable(m.Data))
	default:
		t.publishLocal("peer: " + printable(m.Data))
	}
}

// fail ends the channel because the peer broke a rule, or time ran out: an error to the peer, our commitment to the chain.
func (t *turn) fail(text string) {
	if t.connected { // if not, the next connection begins with it
		t.send(&lnwire.Error{ChanID: t.wireID(), Data: lnwire.ErrorData(text)})
	}
	switch {
	case t.opening < openFunded:
		t.abandon(text)
	case t.phase == PhaseClosing || t.phase == PhaseWaiting:
	case t.worthless():
		t.abandon(text)
	default:
		t.publishLocal(text)
	}
}

// worthless says that the channel can be forgotten: accepted, unconfirmed, and nothing in it is ours.
func (s *State) worthless() bool {
	return !s.params.Opener && s.confirmed == 0 && !s.readySent && s.balanceLocal == 0
}

// abandon forgets a channel with nothing at stake.
func (t *turn) abandon(reason string) {
	t.notice(Abandoned{Reason: reason})
	t.out.Save.Delete = t.out.Save.Delete || t.Durable()
	t.phase = PhaseClosed
}

// bug panics: the engine recovers at the edge of the turn and keeps the state from before it.
func (t *turn) bug(err error) {
	panic(fmt.Sprintf("channel %d: %v\n%s", t.params.ID, err, t.State))
}

// wireID is the channel_id the peer knows the channel by at this moment.
func (s *State) wireID() lnwire.ChannelID {
	if s.opening < openFunded {
		return s.params.TempID
	}
	return s.channelID
}

func (t *turn) send(m lnwire.Message)   { t.out.Send = append(t.out.Send, m) }
func (t *turn) notice(n Notice)         { t.out.Notices = append(t.out.Notices, n) }
func (t *turn) request(r chain.Request) { t.out.Chain = append(t.out.Chain, r) }

// finish ends the turn: what follows from the state and not from one event, and the rows.
func (t *turn) finish() {
	if t.phase != PhaseClosed {
		t.progressShutdown()
		t.progressClosing()
		t.progressOnchain()
	}
	t.showUsable()
	if err := t.cheapInvariants(); err != nil {
		t.bug(err)
	}
	if t.out.Save.Delete {
		t.out.Save = Save{Delete: true}
		return
	}
	if t.dirty && t.Durable() {
		t.out.Save.Core = t.Encode()
	}
}

func (s *State) cheapInvariants() error {
	if s.Durable() && s.balanceLocal+s.balanceRemote != lnwire.MilliSatoshi(s.capacity)*1000 {
		return fmt.Errorf("balances %d and %d msat do not add up to %d sat", s.balanceLocal, s.balanceRemote, s.capacity)
	}
	return nil
}

// showUsable tells forwarding what it can offer here, when that has changed.
func (t *turn) showUsable() {
	var now shown
	now.out, now.in, now.usable = t.Usable()
	switch {
	case now == t.shown:
	case now.usable:
		t.notice(Usable{Out: now.out, In: now.in})
	default:
		t.notice(Unusable{})
	}
	t.shown = now
}

// printable keeps what a peer says fit for a log: printable ASCII, not too much of it.
func printable(b []byte) string {
	const most = 512
	if len(b) > most {
		b = b[:most]
	}
	out := make([]byte, len(b))
	for i, c := range b {
		if out[i] = c; c < 32 || c > 126 {
			out[i] = '?'
		}
	}
	return string(out)
}
