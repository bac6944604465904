package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"lightningrod/channel"
	"lightningrod/node/forward"
	"lightningrod/onion"
	"lightningrod/peer"
	"lightningrod/rod"

	"github.com/lightningnetwork/lnd/lnwire"
)

// mail is an onion message on its way to the next node.
type mail struct {
	to    [33]byte
	from  [33]byte // the peer it came from; zero: ours
	msg   *lnwire.OnionMessage
	quiet bool // kept if the next node is away, but nobody is woken for it

	letter *letter // instead of to and msg: still to be packed
}

// letter is a message of ours and the blinded path it goes along, which may start anywhere.
type letter struct {
	path    onion.BlindedPath
	payload onion.MessagePayload
}

// mailroom sends onion messages on: to a peer that is there, into the mailbox of a client that is away. One goroutine
// does it, so that release never waits and messages of a client stay in order.
type mailroom struct {
	node *Node

	mu    sync.Mutex
	queue []mail
	up    map[[33]byte]bool // clients whose box is to be looked at
	wake  chan struct{}
}

// mailBound is how many messages may wait for the mailroom; more are lost, as onion messages may be.
const mailBound = 4096

func newMailroom(n *Node) *mailroom {
	return &mailroom{node: n, up: map[[33]byte]bool{}, wake: make(chan struct{}, 1)}
}

// send hands messages over. It never blocks.
func (r *mailroom) send(ms []mail) {
	if len(ms) == 0 {
		return
	}
	r.mu.Lock()
	if len(r.queue)+len(ms) <= mailBound {
		r.queue = append(r.queue, ms...)
	}
	r.mu.Unlock()
	poke(r.wake)
}

// connected says that a client may be ready for what is in its box.
func (r *mailroom) connected(client [33]byte) {
	r.mu.Lock()
	r.up[client] = true
	r.mu.Unlock()
	poke(r.wake)
}

func (r *mailroom) loop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		r.mu.Lock()
		queue, up := r.queue, r.up
		r.queue, r.up = nil, map[[33]byte]bool{}
		r.mu.Unlock()
		for client := range up {
			r.handOver(client)
		}
		for _, m := range queue {
			r.route(ctx, m)
		}
	}
}

// ready says whether messages may go to a node: it is connected, and every channel with it is re-established, since a
// client answers at once and what it releases must find a live channel.
func (r *mailroom) ready(id [33]byte) (*peer.Peer, bool) {
	p := r.node.host.Peer(id)
	if p == nil {
		return nil, false
	}
	for _, in := range r.node.registry.each(&id) {
		s := in.state.Load()
		if _, _, usable := s.Usable(); s.Phase() == channel.PhaseNormal && !usable {
			return p, false
		}
	}
	return p, true
}

// route sends one message on, or keeps it, or drops it.
func (r *mailroom) route(ctx context.Context, m mail) {
	n := r.node
	if m.letter != nil {
		packed, err := n.pack(m.letter)
		if err != nil {
			n.drop(m, err)
			return
		}
		m.to, m.msg = packed.to, packed.msg
	}
	if m.to == n.id {
		n.peelOwn(m)
		return
	}
	p, ready := r.ready(m.to)
	client := n.isClient(m.to)
	switch {
	case ready && !(client && n.hasMail(m.to)):
		n.queue.put(&turn{sends: []outgoing{{to: p, msgs: []lnwire.Message{m.msg}}},
			events: []Event{event(MessageForward, "to", m.to)}})
	case n.cfg.LSP && client:
		n.keep(m, p != nil)
	case m.from == [33]byte{}:
		go r.dial(ctx, m)
	default:
		n.drop(m, errNotConnected)
	}
}

var errNotConnected = errors.New("the next node is not connected")

// dial connects to the next node for a message of our own.
func (r *mailroom) dial(ctx context.Context, m mail) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var err = errors.New("no address known")
	for _, addr := range append(r.node.Addresses(m.to), r.node.told(m.to)...) {
		var p *peer.Peer
		if p, err = r.node.host.Connect(ctx, m.to, addr); err == nil {
			r.node.queue.put(&turn{sends: []outgoing{{to: p, msgs: []lnwire.Message{m.msg}}},
				events: []Event{event(MessageForward, "to", m.to)}})
			return
		}
	}
	r.node.drop(m, err)
}

func (n *Node) drop(m mail, why error) {
	n.queue.put(&turn{events: []Event{event(MessageDropped, "to", m.to, "cause", dropCause(why), "reason", why)}})
}

// dropCause is why a message was dropped, in one word for whoever counts.
func dropCause(err error) string {
	switch {
	case errors.Is(err, rod.ErrMailboxShare):
		return "source_share"
	case errors.Is(err, rod.ErrMailboxFull):
		return "quota"
	}
	return "unreachable"
}

// isClient says whether a node has a channel with us.
func (n *Node) isClient(id [33]byte) bool { return len(n.registry.each(&id)) > 0 }

func (n *Node) hasMail(client [33]byte) bool {
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	return len(n.brain.mailbox.All(client)) > 0
}

// keep puts a message into a client's box and, unless it is a quiet one or the client is here, has the client woken.
func (n *Node) keep(m mail, here bool) {
	raw, err := encodeMessage(m.msg)
	if err != nil {
		n.drop(m, err)
		return
	}
	n.queue.reserve()
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	rows, err := n.brain.mailbox.Put(m.to, m.from, raw, n.cfg.Now().Unix(), m.quiet)
	if err != nil {
		n.drop(m, err)
		return
	}
	var wanted []forward.Event
	if !m.quiet && !here {
		wanted = []forward.Event{forward.Rod{Event: rod.Wanted{Peer: m.to, Method: rod.MethodOnionMessage}}}
	}
	n.decide(&turn{rows: rowOps(rows), events: []Event{event(MessageKept, "client", m.to)}}, wanted)
}

// handOver delivers a client's box, oldest first, once its channels are re-established. A message leaves the box only
// after it was sent: a crash in between sends it twice, which is harmless, and never loses it.
func (r *mailroom) handOver(client [33]byte) {
	n := r.node
	p, ready := r.ready(client)
	if !ready {
		return // the channel that becomes usable comes back here
	}
	n.brain.mu.Lock()
	kept := n.brain.mailbox.All(client)
	n.brain.mu.Unlock()
	if len(kept) == 0 {
		return
	}
	sent := make(chan error, 1)
	t := &turn{done: []chan<- error{sent}}
	for _, k := range kept {
		msg, err := decodeMessage(k.Message)
		if err != nil {
			n.log.Error("kept message cannot be read", "client", shortNode(client), "error", err)
			continue
		}
		t.sends = append(t.sends, outgoing{to: p, msgs: []lnwire.Message{msg}})
		t.events = append(t.events, event(MessageHandover, "client", client))
	}
	n.queue.put(t)
	if <-sent != nil {
		return
	}
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	rows := n.brain.mailbox.Delivered(client, kept[len(kept)-1].Seq)
	n.decide(&turn{rows: rowOps(rows)}, []forward.Event{forward.Rod{Event: rod.Wanted{Peer: client, Method: rod.MethodOnionMessage, Off: true}}})
}

// onionMessage takes an onion message of a peer: for us, or to be sent on. What its encrypted data for us says is acted
// on first; payment_unblock is one such thing.
func (n dispatch) onionMessage(p *peer.Peer, m *lnwire.OnionMessage) {
	if !n.flood.allow(p.Node(), n.isClient(p.Node()), len(m.OnionBlob), n.cfg.Now()) {
		n.refusedMessages.throttled.Add(1)
		return // BOLT 4 "Onion Messages": may be dropped without a word
	}
	n.openMessage(p.Node(), m, 0)
}

// peelOwn takes a message whose next node is us.
func (n *Node) peelOwn(m mail) { n.openMessage(m.from, m.msg, 0) }

// selfHops bounds how often in a row a message may be addressed to us.
const selfHops = 4

func (n *Node) openMessage(from [33]byte, m *lnwire.OnionMessage, depth int) {
	hop, err := n.router.PeelMessage(m)
	if err != nil {
		n.refusedMessages.malformed.Add(1)
		n.log.Debug("onion message dropped", "peer", shortNode(from), "error", err)
		return
	}
	if hop.Final {
		n.finalMessage(from, hop)
		return
	}
	next, ok := n.nextNode(hop.NextNode, hop.NextSCID)
	if !ok {
		return
	}
	n.actOn(hop.Data, next)
	if next == n.id {
		if depth < selfHops {
			n.openMessage(from, hop.Next, depth+1)
		}
		return
	}
	// The release, if there was one, is queued before the message can leave.
	n.queue.put(&turn{mail: []mail{{to: next, from: from, msg: hop.Next, quiet: unblocks(hop.Data)}}})
}

// nextNode is the node that the creator of a path named, by id or by a channel of ours.
func (n *Node) nextNode(id *[33]byte, scid lnwire.ShortChannelID) ([33]byte, bool) {
	if id != nil {
		return *id, true
	}
	for _, in := range n.registry.each(nil) {
		if s := in.state.Load(); scid == s.ShortID() || scid == s.LocalAlias() {
			return in.peer, true
		}
	}
	return [33]byte{}, false
}

// actOn does what a path's creator put into our hop. payment_unblock releases a hold; that it was there is nobody's
// business but ours: the message is sent on in any case, and there is no answer.
func (n *Node) actOn(data onion.EncryptedData, next [33]byte) {
	for _, r := range data.Custom {
		if r.Type != rod.TypeUnblock {
			continue
		}
		pid, err := rod.DecodeUnblock(r.Value)
		if err != nil {
			return
		}
		n.think(forward.Rod{Event: rod.Unblock{Pid: pid, Next: next}})
	}
}

func unblocks(data onion.EncryptedData) bool {
	for _, r := range data.Custom {
		if r.Type == rod.TypeUnblock {
			return true
		}
	}
	return false
}

// SendOnionMessage sends an onion message along a blinded path, which may start here, at a peer, or at a node whose address is
// known. It returns once the message is queued; onion messages may be lost like letters (BOLT 4 "Onion Messages").
func (n *Node) SendOnionMessage(path onion.BlindedPath, payload onion.MessagePayload) error {
	if len(path.Hops) == 0 {
		return errors.New("a path without hops")
	}
	n.queue.reserve()
	n.queue.put(&turn{mail: []mail{{letter: &letter{path, payload}}}})
	return nil
}

// pack makes the onion message of a letter. Steps of its path that are ours are taken here, since an onion does not come
// back to its sender.
func (n *Node) pack(l *letter) (mail, error) {
	path := l.path
	for range selfHops {
		if path.First != n.id {
			break
		}
		next, data, err := n.router.Advance(path)
		if err != nil {
			return mail{}, fmt.Errorf("path that starts at this node: %w", err)
		}
		if next.First == ([33]byte{}) {
			var ok bool
			if next.First, ok = n.nextNode(nil, *data.ShortChannelID); !ok {
				return mail{}, errors.New("path over an unknown channel")
			}
		}
		n.actOn(data, next.First)
		path = next
	}
	session, err := n.random32()
	if err != nil {
		return mail{}, err
	}
	msg, err := onion.BuildMessage(session, path, l.payload)
	if err != nil {
		return mail{}, err
	}
	return mail{to: path.First, msg: msg}, nil
}

// replyMail is rod's answer to a payer, along the path the payer gave.
func replyMail(r rod.Reply) (mail, error) {
	path, err := onion.DecodeBlindedPath(r.Path)
	if err != nil {
		return mail{}, err
	}
	payload := onion.MessagePayload{Contents: []onion.Record{{Type: r.Type, Value: r.Payload}}}
	return mail{letter: &letter{path, payload}, quiet: true}, nil
}

// encodeMessage is an onion_message as it is kept, without its type.
func encodeMessage(m *lnwire.OnionMessage) ([]byte, error) {
	var b bytes.Buffer
	if err := m.Encode(&b, 0); err != nil {
		return nil, fmt.Errorf("onion_message: %w", err)
	}
	return b.Bytes(), nil
}

func decodeMessage(b []byte) (*lnwire.OnionMessage, error) {
	m := &lnwire.OnionMessage{}
	if err := m.Decode(bytes.NewReader(b), 0); err != nil {
		return nil, fmt.Errorf("onion_message: %w", err)
	}
	return m, nil
}
