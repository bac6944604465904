package node

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"lightningrod/channel"
	"lightningrod/node/forward"
	"lightningrod/onion"
	"lightningrod/rod"

	"github.com/lightningnetwork/lnd/lnwire"
)

// brain is what decides about HTLCs and messages, under one mutex: the forwarder with its rod table, the payer's and
// the payee's side of Rod, and the mailbox. A decision's rows are queued before the mutex is let go, so that no wake-up
// is lost between "judged: hold" and "in the held index".
type brain struct {
	mu      sync.Mutex
	forward *forward.Forwarder
	payer   *rod.Payer
	payee   *rod.Payee
	mailbox *rod.Mailbox
}

// think tells the forwarder what happened and does what it says.
func (n *Node) think(evs ...forward.Event) {
	n.queue.reserve()
	n.thinkWith(&turn{}, evs)
}

// thinkWith puts the rows of what the forwarder decides into t, queues t, and only then posts the commands. For the notices of
// a channel t is the turn that gave them: what the channel forgets in a write, the forwarder's rows remember in the same.
func (n *Node) thinkWith(t *turn, evs []forward.Event) {
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	n.decide(t, evs)
}

// decide is thinkWith for a caller that holds the brain's mutex.
func (n *Node) decide(t *turn, evs []forward.Event) {
	outs := make([]forward.Output, len(evs))
	for i, ev := range evs {
		outs[i] = n.brain.forward.Handle(ev)
	}
	n.carryOut(t, outs...)
}

// carryOut queues the turn with what must be durable, and then posts the commands. The brain's mutex is held.
func (n *Node) carryOut(t *turn, outs ...forward.Output) {
	for _, out := range outs {
		n.gather(t, out)
	}
	n.put(t)
	for _, out := range outs {
		for _, c := range out.Commands {
			n.command(c)
		}
		for _, id := range out.Claim {
			n.post(id, posted{ev: channel.ForceClose{Reason: reasonPreimage}})
		}
	}
}

// gather puts into a turn what of an Output waits for the disk.
func (n *Node) gather(t *turn, out forward.Output) {
	t.rows = append(t.rows, rowOps(out.Rows)...)
	for _, r := range out.Replies {
		if m, err := replyMail(r); err != nil {
			n.log.Warn("answer to a payer cannot be sent", "error", err)
		} else {
			t.mail = append(t.mail, m)
		}
	}
	n.addWakes(t, out.Wakes)
	for _, x := range out.News {
		t.events = append(t.events, rodEvent(x))
	}
	for _, x := range out.Notices {
		n.ledgerNotice(t, x)
	}
}

// command posts one decision to a channel.
func (n *Node) command(c forward.Command) {
	switch c := c.(type) {
	case forward.Add:
		if !n.post(c.Channel, posted{ev: channel.Add{HTLC: c.HTLC}}) {
			refused := channel.Refused{Origin: c.HTLC.Origin, HTLC: c.HTLC, Err: fmt.Errorf("no channel %d", c.Channel)}
			n.decide(&turn{}, []forward.Event{forward.Refused{Refused: refused}})
		}
	case forward.Settle:
		n.settle(c.Key, c.Outcome, c.Clear)
	case forward.FailWith:
		reason, err := n.router.Fail(&c.HTLC.Onion, c.HTLC.Hash, c.HTLC.PathKey, c.Message)
		if c.Message.Code() == lnwire.CodeInvalidBlinding { // we are the introduction node: all others fail malformed
			time.AfterFunc(n.probeDelay(), func() { n.settleFailure(c.HTLC, reason, err, c.Clear) })
			break
		}
		n.settleFailure(c.HTLC, reason, err, c.Clear)
	case forward.WrapWith:
		reason, err := n.router.Wrap(&c.HTLC.Onion, c.HTLC.Hash, c.HTLC.PathKey, c.Reason)
		n.settleFailure(c.HTLC, reason, err, c.Clear)
	default:
		panic(fmt.Sprintf("unknown command %T", c))
	}
}

// probeDelay is how long a failure waits at the introduction node of a blinded path.
//
// BOLT 4 "Route Blinding": a random time, so that a prober does not learn from the moment of the answer how far away the payee is. A crash
// meanwhile is one before the failure was posted: recovery decides anew.
func (n *Node) probeDelay() time.Duration {
	b, err := n.random32()
	if err != nil {
		return maxProbeDelay
	}
	return time.Duration(binary.BigEndian.Uint32(b[:])) * maxProbeDelay / (1 << 32)
}

const maxProbeDelay = time.Second

func (n *Node) settle(k channel.Key, o channel.Outcome, clear []forward.Row) {
	p := posted{ev: channel.Settle{HTLC: k.HTLC, Outcome: o}, rows: rowOps(clear)}
	if !n.post(k.Channel, p) {
		// The channel is over: nobody is left to be told, and the rows have no reader.
		n.queue.put(&turn{rows: p.rows})
	}
}

func (n *Node) settleFailure(h *channel.HTLC, reason []byte, err error, clear []forward.Row) {
	if err != nil {
		// The onion was good when it was peeled, so this cannot happen; the HTLC must be failed all the same.
		n.log.Error("failure cannot be encrypted", "channel", h.Key.Channel, "htlc", h.Key.HTLC, "error", err)
		reason = make([]byte, onion.ReasonSize)
	}
	n.settle(h.Key, channel.Fail{Reason: reason}, clear)
}

// post posts to a channel by number and says whether there is one.
func (n *Node) post(id channel.ID, p posted) bool {
	in := n.registry.get(id)
	if in == nil {
		return false
	}
	return n.engine.post(in, p)
}

// hears is what the forwarder is to hear of a channel's notice.
func (n *Node) hears(in *inbox, x channel.Notice) (evs []forward.Event) {
	switch x.(type) {
	case channel.Usable, channel.Ready:
		evs = append(evs, n.channelEvent(in))
	}
	if ev := forward.Hear(in.id, in.peer, x, n.peel); ev != nil {
		evs = append(evs, ev)
	}
	return evs
}

// peel opens the onion of an incoming HTLC.
func (n *Node) peel(h *channel.HTLC) (*onion.Hop, *onion.Failure) {
	return n.router.Peel(&h.Onion, h.Hash, h.PathKey)
}

// notice is what else a channel's notice causes, after its turn was queued.
func (n *Node) notice(in *inbox, x channel.Notice) {
	switch x := x.(type) {
	case channel.Usable:
		// It comes again with every change of the capacities; what follows is for a channel that has come to life.
		if !in.usable {
			in.usable = true
			n.mailroom.connected(in.peer)
			n.clientUp(in.peer)
			n.gossip.channelUsable(in)
		}
	case channel.Unusable:
		in.usable = false
	case channel.Closed:
		n.gossip.closed(in)
		n.clientChannels(in.peer)
	case channel.NeedFunding:
		n.fund(in, x)
	case channel.Bump:
		n.bump(in, x.Bump)
	case channel.NeedRevoked:
		n.readRevoked(in, x.Number)
	case channel.Warn:
		n.log.Error("funds may be lost", "channel", in.id, "peer", shortNode(in.peer), "reason", x.Text)
	case channel.Ready:
		n.gossip.introduce(in)
		n.clientChannels(in.peer)
	case channel.Deep:
		n.gossip.channelDeep(in)
	case channel.Abandoned:
		n.log.Warn("opening a channel failed", "channel", in.id, "reason", x.Reason)
		n.opened(in, fmt.Errorf("the channel was not opened: %s", x.Reason))
		n.unfund(in)
		n.engine.retire(in)
	case channel.Declined:
		n.log.Warn("a command was declined", "channel", in.id, "command", fmt.Sprintf("%T", x.Event), "error", x.Err)
		if _, open := x.Event.(channel.Open); open {
			n.opened(in, x.Err)
			n.engine.retire(in)
		}
	case channel.PeerSaid:
		n.log.Warn("peer complains", "channel", in.id, "peer", shortNode(in.peer), "text", x.Text, "fatal", x.Fatal)
	case channel.Violated:
		n.log.Warn("peer broke a rule", "channel", in.id, "peer", shortNode(in.peer), "error", x.Err)
	}
}

// channelEvent tells the forwarder what it has to know of a channel.
func (n *Node) channelEvent(in *inbox) forward.Channel {
	policy := n.cfg.Policy
	policy.Update = n.gossip.updateBytes(in.id)
	return forward.Describe(in.state.Load(), policy)
}
