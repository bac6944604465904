package node

import (
	"context"
	"encoding/hex"
	"fmt"
	"sync"

	"lightningrod/channel"
)

// Event is one line of the node's news, for people and for programs that watch. It leaves when what it speaks of is
// durable. Fields never hold secrets: of a pid only a prefix of its hash, of a preimage nothing before settlement.
type Event struct {
	Seq    uint64            `json:"seq"`
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
	HTLCIn          Kind = "htlc.in" // irrevocably committed
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
	UnblockSeen     Kind = "hold.unblock"
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
			f[fmt.Sprint(pairs[i])] = fmt.Sprint(v)
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
			say(ChannelOnChain)
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

// ringSize is how many events are kept for slow readers. Whoever falls further behind loses the oldest and is told.
const ringSize = 8192

// stream is the bounded ring of events. Publishing never blocks a turn.
type stream struct {
	mu      sync.Mutex
	ring    []Event
	next    uint64 // Seq of the next event
	readers map[chan struct{}]bool
	closed  bool
}

func newStream() *stream { return &stream{readers: map[chan struct{}]bool{}, next: 1} }

func (s *stream) publish(evs []Event) {
	if len(evs) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ev := range evs {
		ev.Seq = s.next
		s.next++
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

// Reader reads the node's events from a place on.
type Reader struct {
	s    *stream
	wake chan struct{}
	at   uint64
}

// Events returns a reader of all events from Seq from on (0: from the oldest that is still there).
func (n *Node) Events(from uint64) *Reader {
	r := &Reader{s: n.events, wake: make(chan struct{}, 1), at: max(from, 1)}
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

// Next waits for the next event. After the node has stopped and everything is read it returns errStopped.
func (r *Reader) Next(ctx context.Context) (Event, error) {
	for {
		r.s.mu.Lock()
		oldest := r.s.next - uint64(len(r.s.ring))
		r.at = max(r.at, oldest)
		if r.at < r.s.next {
			ev := r.s.ring[r.at-oldest]
			r.at++
			r.s.mu.Unlock()
			return ev, nil
		}
		closed := r.s.closed
		r.s.mu.Unlock()
		if closed {
			return Event{}, errStopped
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}
