package forward

import (
	"fmt"
	"slices"

	"lightningrod/channel"
	"lightningrod/onion"
	"lightningrod/rod"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Forwarder is everything forwarding knows. It is made by Rebuild, also for a node without a past.
//
// Invariant: every incoming HTLC that was Offered and is not Settled has exactly one entry in htlcs; it stands in an
// index (held, a peer's waiting, a set) exactly if its state is pending; it has children only if it was on its way.
type Forwarder struct {
	cfg       Config
	table     *rod.Table
	height    uint32
	now       int64 // unix seconds
	fresh     int64 // until this time channels found at start are expected back
	stale     bool
	congested bool

	channels map[channel.ID]*channelState
	scids    map[lnwire.ShortChannelID]channel.ID
	peers    map[[33]byte]*peerState

	htlcs  map[channel.Key]*incoming
	held   map[rod.HoldKey]keys
	blocks alarms[uint32, channel.Key] // of pending HTLCs: limit
	times  alarms[int64, channel.Key]  // of waiting HTLCs: until

	invoices invoices
	payments payments
}

// channelState is a channel as forwarding sees it.
type channelState struct {
	Channel
	usable  bool
	awaited bool             // found at start and not usable since
	out     channel.Capacity // meaningful while usable
}

// peerState is what concerns all channels with one peer.
type peerState struct {
	channels []channel.ID // ascending
	device   bool
	waiting  keys // HTLCs to be offered to this peer
	wanted   bool // rod was told that an HTLC waits
}

// state is where an incoming HTLC stands; see the package comment.
type state uint8

const (
	deciding  state = iota // only within one Handle
	held                   // pending: rod holds it
	waiting                // pending: nothing can carry it now, or the tip is stale
	part                   // pending: part of an incomplete set
	onWay                  // has a child, or is about to: an Add was posted and not answered
	void                   // its channel went on chain before anything was decided
	failed                 // a failure was decided
	fulfilled              // a preimage was given
)

var stateNames = [...]string{"deciding", "held", "waiting", "part", "on way", "void", "failed", "fulfilled"}

func (s state) String() string { return stateNames[s] }

// pending says that nothing has been decided and nothing is on its way: it can be failed at will.
func (s state) pending() bool { return s == held || s == waiting || s == part }

// incoming is an incoming HTLC.
type incoming struct {
	htlc    *channel.HTLC
	peer    [33]byte
	hop     *onion.Hop     // Amount and Cltv resolved
	failure *onion.Failure // instead of hop
	astray  error          // the HTLC breaks the rules of its blinded path
	state   state

	limit    uint32   // pending: height at which it is given up
	alarm    uint32   // the height its newest alarm is set for; 0: none
	until    int64    // time at which waiting for a channel ends; 0: not begun. Kept from one wait to the next
	next     [33]byte // the next node, once known
	children int      // Adds not answered by Refused or a failure
	tried    []channel.ID
}

// keys is a set of incoming HTLCs.
type keys map[channel.Key]struct{}

func (k keys) sorted() []channel.Key {
	list := make([]channel.Key, 0, len(k))
	for key := range k {
		list = append(list, key)
	}
	return sortKeys(list)
}

// step is one Handle: its output, and what is to be looked at again before it ends.
type step struct {
	Output
	again []channel.Key // pending HTLCs to decide afresh
	gone  []rod.GivenUp
	left  [][33]byte // peers for whom perhaps no HTLC waits any more
}

func newForwarder(cfg Config, table *rod.Table) *Forwarder {
	return &Forwarder{
		cfg:      cfg,
		table:    table,
		channels: make(map[channel.ID]*channelState),
		scids:    make(map[lnwire.ShortChannelID]channel.ID),
		peers:    make(map[[33]byte]*peerState),
		htlcs:    make(map[channel.Key]*incoming),
		held:     make(map[rod.HoldKey]keys),
		invoices: invoices{byHash: make(map[[32]byte]*invoiceState)},
		payments: payments{byID: make(map[uint64]*Payment), byHash: make(map[[32]byte]uint64)},
	}
}

// Handle takes an event. It is total: any event at any time is allowed.
func (f *Forwarder) Handle(ev Event) Output {
	var s step
	f.dispatch(&s, ev)
	f.drain(&s)
	return s.Output
}

func (f *Forwarder) dispatch(s *step, ev Event) {
	switch ev := ev.(type) {
	case Offered:
		f.offered(s, ev)
	case Resolved:
		f.resolved(s, ev)
	case Refused:
		f.refused(s, ev)
	case Settled:
		f.settled(s, ev)
	case Channel:
		f.introduce(ev)
	case Usable:
		f.usable(s, ev)
	case Unusable:
		f.unusable(ev.ID)
	case ShuttingDown:
		f.shuttingDown(s, ev.ID)
	case OnChain:
		f.onChain(s, ev.ID)
	case Closed:
		f.closed(s, ev.ID)
	case Block:
		f.block(s, ev.Height)
	case Tick:
		f.tick(s, ev.Now)
	case Stale:
		f.setStale(s, ev.Stale)
	case Congested:
		f.congested = ev.Congested
	case PeerDevice:
		f.peer(ev.Peer).device = ev.Has
	case Rod:
		f.rod(s, ev.Event)
	case Register:
		f.register(s, ev.Invoice)
	case Cancel:
		f.cancel(s, ev.Hash)
	case Forget:
		f.forget(s, ev.Hash)
	case Pay:
		f.pay(s, ev)
	case ForgetPayment:
		f.forgetPayment(s, ev.ID)
	default:
		panic(fmt.Sprintf("forward: unknown event %T", ev))
	}
}

// drain treats what the step has brought up, until nothing is left. It ends: what is given up is pending no more,
// and rod releases a hold once.
func (f *Forwarder) drain(s *step) {
	for len(s.gone)+len(s.again) > 0 {
		gone, again := s.gone, s.again
		s.gone, s.again = nil, nil
		for _, g := range gone {
			in := f.htlcs[channel.Key{Channel: channel.ID(g.Key.Channel), HTLC: g.Key.ID}]
			if in == nil || !in.state.pending() {
				continue // on its way: only Refused or Resolved ends it
			}
			msg := temporaryNodeFailure()
			if g.ExpiryTooSoon {
				msg = expiryTooSoon(f.policyFor(in))
			}
			f.fail(s, in, msg)
		}
		for _, key := range sortKeys(again) {
			if in := f.htlcs[key]; in != nil && in.state.pending() {
				f.decide(s, in)
			}
		}
	}
	for _, peer := range s.left {
		if p := f.peers[peer]; p.wanted && len(p.waiting) == 0 {
			p.wanted = false
			f.rod(s, rod.Wanted{Peer: peer, Method: rod.MethodPayment, Off: true})
		}
	}
}

// rod passes an event to the rod table and takes its output in.
func (f *Forwarder) rod(s *step, ev rod.Event) {
	out := f.table.Apply(ev)
	s.Rows = append(s.Rows, out.Rows...)
	s.Replies = append(s.Replies, out.Replies...)
	s.Wakes = append(s.Wakes, out.Wakes...)
	s.News = append(s.News, out.News...)
	for _, id := range out.Claim {
		s.Claim = append(s.Claim, channel.ID(id))
	}
	s.gone = append(s.gone, out.GiveUp...)
	for _, hold := range out.Released {
		s.again = append(s.again, f.held[hold].sorted()...)
	}
}

// offered enters an HTLC and decides about it.
func (f *Forwarder) offered(s *step, ev Offered) {
	if f.htlcs[ev.HTLC.Key] != nil {
		return
	}
	in := f.enter(ev)
	if f.isOnChain(ev.HTLC.Key.Channel) {
		in.state = void
		return
	}
	f.decide(s, in)
}

func (f *Forwarder) isOnChain(id channel.ID) bool {
	c := f.channels[id]
	return c != nil && c.OnChain
}

func (f *Forwarder) enter(ev Offered) *incoming {
	in := &incoming{htlc: &ev.HTLC, peer: ev.Peer, failure: ev.Failure}
	if ev.Hop != nil {
		hop := *ev.Hop
		in.hop, in.astray = &hop, hop.Resolve(ev.HTLC.Amount, ev.HTLC.Expiry)
	} else if in.failure == nil {
		msg := temporaryNodeFailure()
		in.failure = &onion.Failure{Code: uint16(msg.Code()), Message: msg}
	}
	f.htlcs[ev.HTLC.Key] = in
	return in
}

// resolved hears how an outgoing HTLC ended.
//
// BOLT 2 "Forwarding HTLCs": a preimage must reach the incoming HTLC whatever else was thought of it; a failure
// only when no outgoing HTLC is left, which the channel has made sure of before it says so.
func (f *Forwarder) resolved(s *step, r Resolved) {
	origin, ok := r.Origin.(channel.Forward)
	if !ok {
		f.paymentResolved(s, r)
		return
	}
	in := f.htlcs[origin.In]
	if in == nil || in.state == fulfilled {
		return // over: nothing to tell, no row
	}
	row := settledRow(origin, r.Outcome)
	if fulfill, ok := r.Outcome.(channel.Fulfill); ok {
		s.Rows = append(s.Rows, row)
		f.fulfill(s, in, fulfill, clearing(row))
		return
	}
	if in.state != onWay {
		return
	}
	if in.children--; in.children > 0 {
		return
	}
	s.Rows = append(s.Rows, row)
	f.end(s, in, in.relay(r.Outcome, clearing(row)), 0)
}

// refused hears that an Add was not possible: the HTLC has no child any more.
func (f *Forwarder) refused(s *step, r Refused) {
	origin, ok := r.Origin.(channel.Forward)
	if !ok {
		f.paymentRefused(s, r)
		return
	}
	in := f.htlcs[origin.In]
	if in == nil || in.state != onWay {
		return
	}
	if in.children--; in.children > 0 {
		return
	}
	if f.isOnChain(in.htlc.Key.Channel) {
		in.state = void
		return
	}
	in.tried = append(in.tried, r.HTLC.Key.Channel)
	f.decide(s, in)
}

// settled hears that an incoming HTLC is removed for good.
func (f *Forwarder) settled(s *step, ev Settled) {
	in := f.htlcs[ev.Key]
	if in == nil {
		return
	}
	f.withdraw(s, in)
	delete(f.htlcs, ev.Key)
	_, paid := ev.Outcome.(channel.Fulfill)
	f.rod(s, rod.Ended{Channel: uint64(ev.Key.Channel), ID: ev.Key.HTLC, Settled: paid})
}

// fulfill gives an incoming HTLC its preimage. It is the end of every discussion, so it looks at no state.
func (f *Forwarder) fulfill(s *step, in *incoming, outcome channel.Fulfill, clear []Row) {
	f.withdraw(s, in)
	in.state = fulfilled
	key := in.htlc.Key
	s.Commands = append(s.Commands, Settle{Key: key, Outcome: outcome, Clear: clear})
	s.Notices = append(s.Notices, Fulfilled{In: key})
	f.rod(s, rod.Fulfilled{Channel: uint64(key.Channel), ID: key.HTLC})
}

// fail gives an incoming HTLC a failure of ours; msg is not looked at if its onion could not be read.
func (f *Forwarder) fail(s *step, in *incoming, msg lnwire.FailureMessage) {
	code := lnwire.CodeNone
	if in.hop == nil {
		code = lnwire.FailCode(in.failure.Code)
	} else {
		code = msg.Code()
	}
	f.end(s, in, in.refuse(msg, nil), code)
}

// end gives an incoming HTLC a failure. It must have no child.
func (f *Forwarder) end(s *step, in *incoming, cmd Command, code lnwire.FailCode) {
	if in.children > 0 || in.state == fulfilled {
		panic(fmt.Sprintf("forward: HTLC %d of channel %d is failed while %v, children %d",
			in.htlc.Key.HTLC, in.htlc.Key.Channel, in.state, in.children))
	}
	f.withdraw(s, in)
	in.state = failed
	key := in.htlc.Key
	s.Commands = append(s.Commands, cmd)
	s.Notices = append(s.Notices, Failed{In: key, Code: code})
	f.rod(s, rod.Failed{Channel: uint64(key.Channel), ID: key.HTLC})
}

// peer returns the state of a peer, making it.
func (f *Forwarder) peer(id [33]byte) *peerState {
	p := f.peers[id]
	if p == nil {
		p = &peerState{waiting: make(keys)}
		f.peers[id] = p
	}
	return p
}

// introduce takes in what a channel is like.
func (f *Forwarder) introduce(ev Channel) {
	ev.SCIDs = slices.Clone(ev.SCIDs)
	c := f.channels[ev.ID]
	if c == nil {
		c = &channelState{}
		f.channels[ev.ID] = c
		p := f.peer(ev.Peer)
		at, _ := slices.BinarySearch(p.channels, ev.ID)
		p.channels = slices.Insert(p.channels, at, ev.ID)
	} else {
		ev.Peer = c.Peer // never changes
		ev.OnChain = ev.OnChain || c.OnChain
		ev.Shutdown = ev.Shutdown || c.Shutdown
		f.forgetSCIDs(c)
	}
	c.Channel = ev
	for _, scid := range ev.SCIDs {
		if scid != (lnwire.ShortChannelID{}) {
			f.scids[scid] = ev.ID
		}
	}
}

func (f *Forwarder) forgetSCIDs(c *channelState) {
	for _, scid := range c.SCIDs {
		if f.scids[scid] == c.ID {
			delete(f.scids, scid)
		}
	}
}

// usable has what waits for the channel's peer decided again.
func (f *Forwarder) usable(s *step, ev Usable) {
	c := f.channels[ev.ID]
	if c == nil || c.OnChain {
		return
	}
	c.usable, c.awaited, c.out = true, false, ev.Out
	for _, key := range f.peer(c.Peer).waiting.sorted() {
		in := f.htlcs[key]
		in.tried = slices.DeleteFunc(in.tried, func(id channel.ID) bool { return id == ev.ID })
		s.again = append(s.again, key)
	}
}

func (f *Forwarder) unusable(id channel.ID) {
	if c := f.channels[id]; c != nil {
		c.usable = false
	}
}

// shuttingDown gives up what is pending of a channel that is to be closed: it cannot be while HTLCs are left.
func (f *Forwarder) shuttingDown(s *step, id channel.ID) {
	if c := f.channels[id]; c != nil {
		c.Shutdown, c.usable = true, false
	}
	f.rod(s, rod.ChannelShutdown{Channel: uint64(id)})
	for _, in := range f.of(id) {
		if in.state == held || in.state == waiting {
			f.fail(s, in, temporaryNodeFailure())
		}
	}
}

// onChain voids what is pending of a channel whose commitment is, or soon will be, on chain: what the peer can
// take back on chain must not be offered to anyone. What is on its way stays: its preimage can still be claimed with.
func (f *Forwarder) onChain(s *step, id channel.ID) {
	if c := f.channels[id]; c != nil {
		c.OnChain, c.usable = true, false
	}
	for _, in := range f.of(id) {
		if in.state.pending() {
			f.withdraw(s, in)
			in.state = void
		}
	}
	f.rod(s, rod.ChannelOnChain{Channel: uint64(id)})
}

// closed forgets a channel and what it offered.
func (f *Forwarder) closed(s *step, id channel.ID) {
	for _, in := range f.of(id) {
		f.withdraw(s, in)
		delete(f.htlcs, in.htlc.Key)
	}
	if c := f.channels[id]; c != nil {
		f.forgetSCIDs(c)
		delete(f.channels, id)
		p := f.peer(c.Peer)
		p.channels = slices.DeleteFunc(p.channels, func(other channel.ID) bool { return other == id })
	}
	f.rod(s, rod.ChannelClosed{Channel: uint64(id)})
}

// of lists what a channel has offered us.
func (f *Forwarder) of(id channel.ID) []*incoming {
	var list []*incoming
	for key, in := range f.htlcs {
		if key.Channel == id {
			list = append(list, in)
		}
	}
	slices.SortFunc(list, func(a, b *incoming) int { return compareKeys(a.htlc.Key, b.htlc.Key) })
	return list
}

// setStale has what waits decided again once the tip can be relied on.
func (f *Forwarder) setStale(s *step, stale bool) {
	was := f.stale
	f.stale = stale
	if was && !stale {
		f.retry(s)
	}
}

// retry has everything that waits decided again.
func (f *Forwarder) retry(s *step) {
	for key, in := range f.htlcs {
		if in.state == waiting {
			in.tried = nil
			s.again = append(s.again, key)
		}
	}
}
