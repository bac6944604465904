package node

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"lightningrod/channel"
	"lightningrod/node/store"
	"lightningrod/rod"
)

// Event is one line of the node's news, for people and for programs that watch. It leaves when it is durable itself, together with
// what it speaks of. Its number is the next of all events this node ever had. Fields never hold secrets: of a pid only a prefix
// of its hash, of a preimage nothing, of a webhook nothing.
type Event struct {
	Seq    uint64            `json:"seq"`
	At     time.Time         `json:"at"` // when it became durable, to the millisecond
	Kind   Kind              `json:"kind"`
	Fields map[string]string `json:"fields,omitempty"`
}

// Kind names a kind of event. The set is closed.
type Kind string

const (
	PeerUp          Kind = "peer.up"
	PeerDown        Kind = "peer.down"
	ChannelOpening  Kind = "channel.opening"
	ChannelReady    Kind = "channel.ready"
	ChannelUsable   Kind = "channel.usable"
	ChannelUnusable Kind = "channel.unusable"
	ChannelOnChain  Kind = "channel.onchain"
	ChannelClosed   Kind = "channel.closed"
	ChannelFailed   Kind = "channel.failed"
	ChannelViolated Kind = "channel.violated"
	ChannelDoubted  Kind = "channel.doubted" // an invariant of ours is broken
	HTLCIn          Kind = "htlc.in"         // irrevocably committed
	HTLCForUs       Kind = "htlc.for_us"
	HTLCForwarded   Kind = "htlc.forwarded"
	HTLCFulfilled   Kind = "htlc.fulfilled"
	HTLCFailed      Kind = "htlc.failed"
	PartFailed      Kind = "payment.part_failed"
	HTLCResolved    Kind = "htlc.resolved" // one we offered has its outcome
	HTLCSettled     Kind = "htlc.settled"  // one we received is over
	InvoicePaid     Kind = "invoice.paid"
	PaymentDone     Kind = "payment.done"
	PaymentFailed   Kind = "payment.failed"
	HoldHolding     Kind = "hold.holding"
	HoldRequest     Kind = "hold.request" // armed, refused, expired or withdrawn
	UnblockSeen     Kind = "hold.unblock" // released, early, duplicate, bad_source or unknown
	MessageForward  Kind = "message.forwarded"
	MessageKept     Kind = "message.kept"
	MessageHandover Kind = "message.delivered"
	MessageReceived Kind = "message.received"
	MessageDropped  Kind = "message.dropped"
	RodHoldSent     Kind = "rod.hold_sent"
	RodAcked        Kind = "rod.acked"
	RodNoticeSent   Kind = "rod.notice_sent"
	RodNoticed      Kind = "rod.noticed"
	RodReadySent    Kind = "rod.ready_sent"
	RodStatus       Kind = "rod.status"
	WakeSent        Kind = "wake.sent"
	WakeDelivered   Kind = "wake.delivered"
	WakeFailed      Kind = "wake.failed"
	DeviceKnown     Kind = "device.registered"
	DeviceGone      Kind = "device.removed"
	WalletSent      Kind = "wallet.sent"
	WalletBumped    Kind = "wallet.bumped"
	BlockSeen       Kind = "block"
)

// event builds an Event from alternating names and values.
func event(k Kind, pairs ...any) Event {
	f := make(map[string]string, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		switch v := pairs[i+1].(type) {
		case [32]byte:
			f[fmt.Sprint(pairs[i])] = hex.EncodeToString(v[:])
		case [33]byte:
			f[fmt.Sprint(pairs[i])] = hex.EncodeToString(v[:])
		case []byte:
			f[fmt.Sprint(pairs[i])] = hex.EncodeToString(v)
		default:
			f[fmt.Sprint(pairs[i])] = clip(fmt.Sprint(v))
		}
	}
	return Event{Kind: k, Fields: f}
}

// channelEvents is the news of one turn of a channel.
func channelEvents(in *inbox, notices []channel.Notice) []Event {
	var evs []Event
	say := func(k Kind, pairs ...any) {
		evs = append(evs, event(k, append([]any{"channel", in.id, "peer", in.peer}, pairs...)...))
	}
	for _, x := range notices {
		switch x := x.(type) {
		case channel.Committed:
			say(HTLCIn, "id", x.HTLC.Key.HTLC, "amount_msat", uint64(x.HTLC.Amount), "hash", x.HTLC.Hash, "expiry", x.HTLC.Expiry)
		case channel.Resolved:
			say(HTLCResolved, "id", x.Key.HTLC, "outcome", outcomeName(x.Outcome))
		case channel.Settled:
			say(HTLCSettled, "id", x.Key.HTLC, "outcome", outcomeName(x.Outcome))
		case channel.Usable:
			say(ChannelUsable, "out_msat", uint64(x.Out.Max), "in_msat", uint64(x.In.Max))
		case channel.Unusable:
			say(ChannelUnusable)
		case channel.NeedFunding:
			say(ChannelOpening, "capacity_sat", x.Amount)
		case channel.Ready:
			say(ChannelReady, "short_channel_id", x.ShortID)
		case channel.OnChain:
			ours, reason := in.state.Load().End()
			by := map[bool]string{true: "us", false: "peer"}[ours]
			say(ChannelOnChain, "by", by, "cause", closeCause(ours, reason, notices), "reason", reason)
		case channel.Closed:
			say(ChannelClosed)
		case channel.Abandoned:
			say(ChannelFailed, "reason", x.Reason)
		case channel.Violated:
			say(ChannelViolated, "reason", x.Err)
		}
	}
	return evs
}

// closeCause is why a channel goes on chain, in one word for whoever counts.
func closeCause(ours bool, reason string, notices []channel.Notice) string {
	violated := slices.ContainsFunc(notices, func(x channel.Notice) bool { _, ok := x.(channel.Violated); return ok })
	switch {
	case !ours:
		return "spent"
	case violated:
		return "violation"
	case reason == reasonOperator:
		return "operator"
	case reason == reasonPreimage:
		return "preimage"
	case reason == reasonInternal:
		return "internal"
	case strings.HasPrefix(reason, "peer: "):
		return "peer_error"
	case strings.Contains(reason, "htlc"):
		return "deadline"
	}
	return "other"
}

// Reasons of ours to close by force.
const (
	reasonOperator = "the operator asked for it"
	reasonPreimage = "a preimage must be claimed before the incoming HTLC expires"
	reasonInternal = "internal error"
)

// rodEvent is what happened to a request to hold. Of the pid_hash only a prefix is told.
func rodEvent(x rod.News) Event {
	if x.What.Unblock() {
		return event(UnblockSeen, "pid_hash", x.PidHash[:4], "result", x.What)
	}
	return event(HoldRequest, "peer", x.Peer, "pid_hash", x.PidHash[:4], "result", x.What, "reason", x.Reason)
}

func outcomeName(o channel.Outcome) string {
	switch o.(type) {
	case channel.Fulfill:
		return "fulfill"
	case channel.Fail:
		return "fail"
	case channel.Malformed:
		return "malformed"
	}
	return "unknown"
}

// ringSize is how many events are kept in memory. Whoever falls further behind reads the log.
const ringSize = 8192

// stream gives the events that are durable to whoever reads: the newest from memory, older ones from the store. Publishing never blocks a
// turn.
type stream struct {
	mu      sync.Mutex
	store   *store.Store
	ring    []Event
	first   uint64 // Seq of the first event since the start
	next    uint64 // Seq of the next event
	oldest  uint64 // Seq of the oldest one that is kept
	readers map[chan struct{}]bool
	closed  bool
}

func newStream() *stream { return &stream{readers: map[chan struct{}]bool{}} }

// loadEvents opens the log and lets the stream go on where it ended.
func (n *Node) loadEvents() error {
	log, err := loadEventLog(n.store, n.cfg.History)
	if err != nil {
		return fmt.Errorf("events: %w", err)
	}
	n.eventLog = log
	s := n.events
	s.store, s.first, s.next, s.oldest = n.store, log.next, log.next, log.oldest()
	return nil
}

// keptFrom says which event will be the oldest one. It is told before the others are deleted.
func (s *stream) keptFrom(oldest uint64) {
	s.mu.Lock()
	s.oldest = oldest
	s.mu.Unlock()
}

// publish takes the next events, which are durable.
func (s *stream) publish(evs []Event) {
	if len(evs) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ev := range evs {
		s.next = ev.Seq + 1
		if len(s.ring) == ringSize {
			s.ring = append(s.ring[:0], s.ring[ringSize/4:]...)
		}
		s.ring = append(s.ring, ev)
	}
	for c := range s.readers {
		poke(c)
	}
}

func (s *stream) close() {
	s.mu.Lock()
	s.closed = true
	for c := range s.readers {
		poke(c)
	}
	s.mu.Unlock()
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// NoEventError says that a reader asked for an event that is not kept any more, or, when From is above Newest+1, for one that this node
// never had: then its files are older than what the reader knows.
type NoEventError struct {
	From           uint64 // what was asked for
	Oldest, Newest uint64 // what there is; Oldest is Newest+1 if there is none
}

func (e *NoEventError) Error() string {
	if e.From > e.Newest {
		return fmt.Sprintf("event %d has not happened yet: the newest is %d", e.From, e.Newest)
	}
	return fmt.Sprintf("event %d is gone: the oldest is %d", e.From, e.Oldest)
}

// Reader reads the node's events from a place on. It is for one goroutine.
type Reader struct {
	s      *stream
	wake   chan struct{}
	at     uint64
	oldest bool    // where the oldest is: nothing was read yet
	batch  []Event // read from the log, from at on
}

// Events returns a reader of all events from Seq from on (0: from the oldest that is still there).
func (n *Node) Events(from uint64) *Reader {
	r := &Reader{s: n.events, wake: make(chan struct{}, 1), at: from, oldest: from == 0}
	n.events.mu.Lock()
	n.events.readers[r.wake] = true
	n.events.mu.Unlock()
	return r
}

// Close ends the reader.
func (r *Reader) Close() {
	r.s.mu.Lock()
	delete(r.s.readers, r.wake)
	r.s.mu.Unlock()
}

// Next waits for the next event. A *NoEventError says that it is not there to be had. After the node has stopped and
// everything is read it returns ErrStopped.
func (r *Reader) Next(ctx context.Context) (Event, error) {
	for {
		ev, err := r.read()
		switch err {
		case nil:
			r.at, r.oldest = r.at+1, false
			return ev, nil
		case errNotYet:
		default:
			return Event{}, err
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

var (
	errNotYet = errors.New("no event yet")
	errEnough = errors.New("enough")
)

// read gives the event that r stands at.
func (r *Reader) read() (Event, error) {
	for {
		r.s.mu.Lock()
		if r.oldest {
			r.at = r.s.oldest
		}
		memory, oldest, next, closed := r.s.next-uint64(len(r.s.ring)), r.s.oldest, r.s.next, r.s.closed
		var ev Event
		if memory <= r.at && r.at < next {
			ev = r.s.ring[r.at-memory]
		}
		r.s.mu.Unlock()
		switch {
		case ev.Seq != 0:
			r.batch = nil
			return ev, nil
		case r.at == next && closed:
			return Event{}, ErrStopped
		case r.at == next:
			return Event{}, errNotYet
		case r.at < oldest || r.at > next:
			return Event{}, &NoEventError{From: r.at, Oldest: oldest, Newest: next - 1}
		}
		found, err := len(r.batch) > 0, error(nil)
		if !found {
			found, err = r.fetch()
		}
		switch {
		case found:
			ev, r.batch = r.batch[0], r.batch[1:]
			return ev, nil
		case err != nil && r.ended():
			return Event{}, ErrStopped // the files are closed
		case err != nil:
			return Event{}, err
		case !r.pruned(oldest):
			return Event{}, fmt.Errorf("event %d is missing from the log", r.at)
		}
	}
}

// fetch reads the row that has r's event.
func (r *Reader) fetch() (found bool, err error) {
	key, row, err := r.s.store.Floor(store.Event, u64(r.at))
	if err != nil || key == nil {
		return false, err
	}
	span, err := spanOf(key, row)
	if err != nil {
		return false, err
	}
	if r.at >= span.end {
		return false, nil
	}
	evs, err := DecodeEvents(span.first, row)
	if err != nil {
		return false, fmt.Errorf("event row %d: %w", span.first, err)
	}
	r.batch = evs[r.at-span.first:]
	return true, nil
}

// ended says whether the node has stopped.
func (r *Reader) ended() bool {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.s.closed
}

// pruned says whether events were deleted since oldest was the oldest one.
func (r *Reader) pruned(oldest uint64) bool {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.s.oldest != oldest
}
