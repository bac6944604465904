package node

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"lightningrod/channel"
	"lightningrod/node/forward"
	"lightningrod/rod"
	"lightningrod/rod/lsps"
)

// This file is what an LSP's operator may do about single holds, messages and debts. Nothing of it can lose money: an HTLC is given
// up only while nothing of it has left the node, a message may always be lost (BOLT 4 "Onion Messages"), and waking is only asking.

var (
	// ErrNoHTLC says that there is no such incoming HTLC.
	ErrNoHTLC = errors.New("no such incoming HTLC")
	// ErrNoLetter says that no such message waits.
	ErrNoLetter = errors.New("no such message waits")
)

// Decline fails a held HTLC back to its payer, and with it the other parts of its payment: the request to hold is over, and durably so when
// Decline returns. Only what is held can be declined. Once it is released it may be on its way, and a preimage may come back for it.
func (n *Node) Decline(key channel.Key) error {
	done := make(chan error, 1)
	if err := n.decline(key, done); err != nil {
		return err
	}
	return <-done
}

func (n *Node) decline(key channel.Key, done chan<- error) error {
	n.queue.reserve()
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	live := n.brain.forward.Live()
	at := slices.IndexFunc(live, func(h forward.Live) bool { return h.Key == key })
	if at < 0 {
		return ErrNoHTLC
	}
	out := n.brain.forward.Handle(forward.Rod{Event: rod.Declined{Channel: uint64(key.Channel), ID: key.HTLC}})
	failed := func(x forward.Notice) bool {
		f, ok := x.(forward.Failed)
		return ok && f.In == key
	}
	if !slices.ContainsFunc(out.Notices, failed) {
		n.carryOut(&turn{}, out)
		if live[at].State == "held" {
			return fmt.Errorf("the preimage of HTLC %d of channel %d is known: it cannot be failed", key.HTLC, key.Channel)
		}
		return fmt.Errorf("HTLC %d of channel %d is %s, not held", key.HTLC, key.Channel, live[at].State)
	}
	n.carryOut(&turn{done: []chan<- error{done}}, out)
	return nil
}

// Letter is an onion message in the mailbox.
type Letter struct {
	Seq     uint64
	Client  [33]byte // for whom
	From    [33]byte // the peer it came from
	Arrived time.Time
	Bytes   int
	Quiet   bool // the client is not woken for it
}

// Letters lists what waits for a client, the oldest first.
func (n *Node) Letters(client [33]byte) []Letter {
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	all := []Letter{}
	for _, l := range n.brain.mailbox.All(client) {
		all = append(all, Letter{Seq: l.Seq, Client: client, From: l.From, Arrived: time.Unix(l.Arrived, 0), Bytes: len(l.Message), Quiet: l.Quiet})
	}
	return all
}

// DropLetter throws a message away that waits for a client. Nobody is told: to its sender it is a message that was lost.
func (n *Node) DropLetter(client [33]byte, seq uint64) error {
	done := make(chan error, 1)
	if err := n.dropLetter(client, seq, done); err != nil {
		return err
	}
	return <-done
}

func (n *Node) dropLetter(client [33]byte, seq uint64, done chan<- error) error {
	n.queue.reserve()
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	rows := n.brain.mailbox.Drop(client, seq)
	if len(rows) == 0 {
		return ErrNoLetter
	}
	t := &turn{rows: rowOps(rows), done: []chan<- error{done}, events: []Event{event(MessageDropped, "to", client, "cause", "operator")}}
	var after []forward.Event
	if !slices.Contains(n.brain.mailbox.Waiting(), client) {
		after = append(after, forward.Rod{Event: rod.Wanted{Peer: client, Method: rod.MethodOnionMessage, Off: true}})
	}
	n.decide(t, after)
	return nil
}

// nudgePause is the least time between a call of a client's devices and a nudge (bLIP 55 "Rate-limiting Notifications By method": of the order
// of minutes).
const nudgePause = time.Minute

// Nudge calls the devices of a client that is away for the sake of a debt to it, whatever the pauses that double have come to. It returns
// how many are called, when that is durable.
func (n *Node) Nudge(d Debt) (devices int, err error) {
	done := make(chan error, 1)
	if devices, err = n.nudge(d, done); err != nil {
		return 0, err
	}
	return devices, <-done
}

func (n *Node) nudge(d Debt, done chan<- error) (devices int, err error) {
	if n.Connected(d.Peer) {
		return 0, fmt.Errorf("%s is connected and need not be woken", shortNode(d.Peer))
	}
	now := n.cfg.Now()
	n.sightings.mu.Lock()
	last := unixTime(n.sightings.of[d.Peer].woken)
	n.sightings.mu.Unlock()
	if wait := last.Add(nudgePause).Sub(now); wait > 0 {
		return 0, fmt.Errorf("%s was called %v ago, at least %v have to lie between two calls", shortNode(d.Peer), now.Sub(last).Round(time.Second), nudgePause)
	}
	method, params := d.wake(n.Tip())
	n.queue.reserve()
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	t := &turn{done: []chan<- error{done}}
	if n.clients.server != nil {
		for _, dev := range n.clients.server.Devices.Of(d.Peer) {
			if dev.Platform != lsps.Webhook {
				continue
			}
			h := sha256.Sum256(fmt.Appendf(nil, "nudge %x %d %s %s", d.Peer, now.UnixNano(), dev.Name, method))
			n.wake(t, dev, binary.BigEndian.Uint64(h[:]), method, params)
			devices++
		}
	}
	if devices == 0 {
		return 0, fmt.Errorf("%s has registered no webhook to be woken by", shortNode(d.Peer))
	}
	n.put(t)
	return devices, nil
}

// wake is the notification that tells of a debt.
func (d *Debt) wake(height uint32) (method, params string) {
	switch d.Kind {
	case "preimage":
		method, params = rod.MethodPreimageReady, fmt.Sprintf(`{"timeout":%d}`, d.Claim)
		if rod.ExpiresSoon(d.Claim, height) {
			method = rod.MethodExpirySoon
		}
		return method, params
	case "failure":
		return rod.MethodHoldFailed, "{}"
	case "notification":
		return d.Method, d.Params
	}
	return rod.MethodOnionMessage, "{}"
}
