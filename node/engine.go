package node

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"lightningrod/chain"
	"lightningrod/channel"
	"lightningrod/node/forward"
	"lightningrod/node/store"
)

// inbox is one channel: the events that wait for it, and its State.
type inbox struct {
	id     channel.ID
	peer   [33]byte
	crypto *signer

	mu     sync.Mutex
	room   sync.Cond // signalled when a worker takes the events
	events []posted
	queued bool // on the run queue, or a worker has it
	gone   bool // closed and its rows deleted: nothing more is taken

	// state is written by the worker that runs the turn and may be read by anybody: a State never changes.
	state atomic.Pointer[channel.State]

	// Of the worker that runs the turn.
	conn   link            // the connection that Connected announced last, nil when there is none
	usable bool            // the last of Usable and Unusable
	locked map[uint64]bool // HTLCs of our own payments whose commitment was told to the payer's side
	doubt  bool            // a turn of this channel broke an invariant: the peer is not listened to any more
	// Of Bumps: the answers to those of the last turn, which are the next turn; that this is that turn, which gets no answers itself;
	// and that the wallet had no coins for the last one.
	funded   []posted
	answered bool
	poor     bool
}

// posted is an event; for Connected the connection it speaks of; and rows that are written with its turn: for Settle those that
// the turn makes obsolete, for Funded those of the wallet that lock the coins.
type posted struct {
	ev   channel.Event
	conn link
	rows store.Write
}

func newInbox(id channel.ID, peer [33]byte, c *signer, s *channel.State) *inbox {
	in := &inbox{id: id, peer: peer, crypto: c}
	in.room.L = &in.mu
	in.state.Store(s)
	return in
}

// over says whether the channel is closed and its rows deleted.
func (in *inbox) over() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.gone
}

// engine has the inboxes that have work, and the workers that do it, one channel at a time each.
type engine struct {
	node *Node

	mu      sync.Mutex
	work    sync.Cond
	idle    sync.Cond
	runs    []*inbox
	busy    int // workers in a turn
	stopped bool
}

func newEngine(n *Node) *engine {
	e := &engine{node: n}
	e.work.L, e.idle.L = &e.mu, &e.mu
	return e
}

// post puts events into a channel's inbox, in this order, unless the channel is gone. It never waits.
func (e *engine) post(in *inbox, evs ...posted) bool {
	in.mu.Lock()
	if in.gone {
		in.mu.Unlock()
		return false
	}
	in.events = append(in.events, evs...)
	start := !in.queued && len(in.events) > 0
	in.queued = in.queued || start
	in.mu.Unlock()
	if start {
		e.schedule(in)
	}
	return true
}

// postPatiently is post for the reader of a connection: it waits while too much is waiting already, and so does the peer.
func (e *engine) postPatiently(in *inbox, p posted) {
	in.mu.Lock()
	for len(in.events) >= inboxBound && !in.gone && !e.ended() {
		in.room.Wait()
	}
	in.mu.Unlock()
	e.post(in, p)
}

func (e *engine) ended() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stopped
}

func (e *engine) postEvent(in *inbox, ev channel.Event) { e.post(in, posted{ev: ev}) }

func (e *engine) schedule(in *inbox) {
	e.mu.Lock()
	e.runs = append(e.runs, in)
	e.work.Signal()
	e.mu.Unlock()
}

// worker runs turns until stop.
func (e *engine) worker() {
	for {
		e.node.queue.reserve()
		e.mu.Lock()
		for len(e.runs) == 0 && !e.stopped {
			e.work.Wait()
		}
		if e.stopped {
			e.mu.Unlock()
			return
		}
		in := e.runs[0]
		e.runs = e.runs[1:]
		e.busy++
		e.mu.Unlock()

		e.run(in)

		e.mu.Lock()
		e.busy--
		if e.busy == 0 && len(e.runs) == 0 {
			e.idle.Broadcast()
		}
		e.mu.Unlock()
	}
}

// stop ends the workers after the turns they are in.
func (e *engine) stop() {
	e.mu.Lock()
	e.stopped = true
	e.work.Broadcast()
	e.idle.Broadcast()
	e.mu.Unlock()
	for _, in := range e.node.registry.each(nil) {
		in.mu.Lock()
		in.room.Broadcast() // a reader may be waiting
		in.mu.Unlock()
	}
}

// settle waits until no inbox has work and no worker is in a turn.
func (e *engine) settle() {
	e.mu.Lock()
	for (e.busy > 0 || len(e.runs) > 0) && !e.stopped {
		e.idle.Wait()
	}
	e.mu.Unlock()
}

// run takes what is in the inbox and runs it as one turn, or as several where the connection changes in between: a turn
// names the one connection it was computed for.
func (e *engine) run(in *inbox) {
	in.mu.Lock()
	batch := in.events
	in.events = nil
	in.room.Broadcast()
	in.mu.Unlock()

	for len(batch) > 0 {
		cut := 1
		for cut < len(batch) && batch[cut].conn == nil {
			cut++
		}
		if c := batch[0].conn; c != nil && c == in.conn {
			// Open has announced this connection already: it saw the peer before the host had told everybody.
			batch = batch[1:]
			continue
		} else if c != nil {
			in.conn = c
		}
		e.turn(in, batch[:cut])
		batch = batch[cut:]
		e.answer(in)
	}

	in.mu.Lock()
	again := len(in.events) > 0 && !in.gone
	in.queued = again
	in.mu.Unlock()
	if again {
		e.schedule(in)
	}
}

// turn is one Apply: queue what it wants durable and let out, then pass its notices on. That order is the one rule.
func (e *engine) turn(in *inbox, batch []posted) {
	if in.doubt {
		batch = deaf(batch)
		if len(batch) == 0 {
			return
		}
	}
	evs := make([]channel.Event, 0, len(batch)+1)
	for _, p := range batch {
		evs = append(evs, p.ev)
	}
	next, out, ok := e.apply(in, append(evs, channel.Sign{}))
	if !ok {
		e.distrust(in, batch)
		return
	}
	e.commit(in, next, out, batch)
}

// apply runs Apply and reports a broken invariant instead of dying of it.
func (e *engine) apply(in *inbox, evs []channel.Event) (next *channel.State, out channel.Output, ok bool) {
	defer func() {
		if r := recover(); r != nil {
			e.node.log.Error("a channel invariant is broken", "channel", in.id, "panic", fmt.Sprint(r),
				"state", in.state.Load().String(), "stack", string(debug.Stack()))
			ok = false
		}
	}()
	next, out = channel.Apply(in.state.Load(), in.crypto, evs)
	return next, out, true
}

// distrust is what happens to a channel whose turn broke an invariant of ours: its State from before that turn is safe
// and stays. Chain facts and outcomes of the lost turn are told again one by one, the peer is not listened to any more,
// and the channel is closed with that commitment. We never sign from a state we doubt and never stop watching the chain.
func (e *engine) distrust(in *inbox, batch []posted) {
	in.doubt = true
	e.node.queue.put(&turn{events: []Event{event(ChannelDoubted, "channel", in.id, "peer", in.peer)}})
	batch = append(deaf(batch), posted{ev: channel.ForceClose{Reason: reasonInternal}})
	for _, p := range batch {
		next, out, ok := e.apply(in, []channel.Event{p.ev})
		if ok {
			e.commit(in, next, out, []posted{p})
			continue
		}
		switch ev := p.ev.(type) {
		case channel.Add: // every Add has an answer
			e.node.think(forward.Refused{Refused: channel.Refused{Origin: ev.HTLC.Origin, HTLC: ev.HTLC, Err: errDoubt}})
		case channel.Funded:
			e.node.unlock(ev.Tx)
		}
	}
}

var errDoubt = errors.New("the channel is being closed after an internal error")

// deaf keeps the events that a channel in doubt still takes.
func deaf(batch []posted) []posted {
	var keep []posted
	for _, p := range batch {
		switch p.ev.(type) {
		case channel.Chain, channel.Settle, channel.Add, channel.Disconnected, channel.ForceClose, channel.Funded, channel.RevokedData:
			keep = append(keep, p)
		}
	}
	return keep
}

// commit makes the new State the channel's, queues the turn and passes the notices on.
func (e *engine) commit(in *inbox, next *channel.State, out channel.Output, batch []posted) {
	prev := in.state.Swap(next)
	e.node.registry.learn(in, next)
	t := &turn{rows: saveRows(in.id, out.Save)}
	for _, p := range batch {
		t.rows = append(t.rows, p.rows...)
	}
	t.rows = append(t.rows, e.node.releases(out.Notices)...)
	if out.Save.Delete {
		t.rows = append(t.rows, e.node.remains(in.id, prev, next)...)
	}
	if len(out.Send) > 0 && in.conn != nil {
		t.sends = []outgoing{{to: in.conn, msgs: out.Send}}
	}
	for _, r := range out.Chain {
		t.chain = append(t.chain, chainAsk{owner: uint64(in.id), req: r})
	}
	t.events = append(channelEvents(in, out.Notices), warnings(in, out.Notices)...)
	if !prev.Durable() && next.Durable() {
		waiting, rows := e.node.openers(in.id)
		t.awaitPublication(waiting)
		t.rows = append(t.rows, rows...)
		e.node.gossip.introduce(in)
	}
	var heard []forward.Event
	for _, notice := range forward.InOrder(out.Notices) {
		heard = append(heard, e.node.hears(in, notice)...)
	}
	if len(heard) > 0 {
		e.node.thinkWith(t, heard)
	} else {
		e.node.put(t)
	}
	e.node.locked(in, next)
	if out.Save.Delete {
		e.retire(in)
	}
	for _, notice := range out.Notices {
		e.node.notice(in, notice)
	}
}

// awaitPublication answers whoever waits for a channel when its funding transaction has gone out: that is asked for in the
// turn that makes the channel durable.
func (t *turn) awaitPublication(waiting []chan<- error) {
	for i := range t.chain {
		if _, ok := t.chain[i].req.(chain.Publish); ok {
			t.chain[i].done = waiting
			return
		}
	}
	t.done = append(t.done, waiting...)
}

// retire forgets a channel that is over.
func (e *engine) retire(in *inbox) {
	in.mu.Lock()
	in.gone = true
	in.events = nil
	in.room.Broadcast()
	in.mu.Unlock()
	e.node.registry.drop(in)
	e.node.chainDesk.forget(uint64(in.id))
}

// registry finds channels: by number, by peer and by the channel_id a message carries.
type registry struct {
	mu     sync.RWMutex
	byID   map[channel.ID]*inbox
	byWire map[wireID]*inbox
	wires  map[channel.ID][2]wireID
	last   channel.ID
}

// wireID is a channel_id as a peer says it: the temporary one before funding_created, then the final one.
type wireID struct {
	peer [33]byte
	id   [32]byte
}

func newRegistry() *registry {
	return &registry{byID: map[channel.ID]*inbox{}, byWire: map[wireID]*inbox{}, wires: map[channel.ID][2]wireID{}}
}

// next gives a number that was never given before. The caller makes it durable with the first turn of the channel.
func (r *registry) next() channel.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	return r.last
}

func (r *registry) add(in *inbox) {
	r.mu.Lock()
	r.byID[in.id] = in
	r.mu.Unlock()
	r.learn(in, in.state.Load())
}

// learn notes the ids the peer may use from now on. It runs before the turn's messages can leave.
func (r *registry) learn(in *inbox, s *channel.State) {
	ids := [2]wireID{{peer: in.peer, id: s.TempID()}, {peer: in.peer, id: s.ChannelID()}}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wires[in.id] == ids {
		return
	}
	r.wires[in.id] = ids
	for _, w := range ids {
		if w.id != ([32]byte{}) {
			r.byWire[w] = in
		}
	}
}

func (r *registry) drop(in *inbox) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.wires[in.id] {
		delete(r.byWire, w)
	}
	delete(r.wires, in.id)
	delete(r.byID, in.id)
}

func (r *registry) get(id channel.ID) *inbox {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byID[id]
}

func (r *registry) find(peer [33]byte, id [32]byte) *inbox {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byWire[wireID{peer, id}]
}

// each returns the channels, those of one peer if it is given.
func (r *registry) each(peer *[33]byte) []*inbox {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var all []*inbox
	for _, in := range r.byID {
		if peer == nil || in.peer == *peer {
			all = append(all, in)
		}
	}
	return all
}
