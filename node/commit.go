package node

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"lightningrod/chain"
	"lightningrod/node/store"

	"github.com/lightningnetwork/lnd/lnwire"
)

// turn is one entry of the commit queue: rows, and what may leave the node once they are durable.
type turn struct {
	rows   store.Write
	sends  []outgoing
	chain  []chainAsk
	mail   []mail
	wakes  []outgoingCall
	events []Event
	done   []chan<- error // API callers that wait for durability

	since time.Time // since when events without rows wait for company
}

// outgoing are messages for the connection the turn was computed for. If that one is gone they are dropped:
// channel_reestablish sends them again.
type outgoing struct {
	to   link
	msgs []lnwire.Message
}

// link is a connection, as release needs it. Send appends to a bounded buffer and never blocks.
type link interface {
	Send(msgs ...lnwire.Message) error
}

// chainAsk is a request of an owner (a channel's number, or 0).
type chainAsk struct {
	owner uint64
	req   chain.Request
	done  []chan<- error // of a Publish: who waits for the backend to have seen it
}

// lets says whether the turn lets anything out. One that does not starts no group: it rides with the next. Events alone, which have
// no rows to be written with, do so too.
func (t *turn) lets() bool {
	return len(t.sends)+len(t.chain)+len(t.mail)+len(t.wakes)+len(t.done) > 0 || len(t.events) > 0 && len(t.rows) > 0
}

const (
	// queueBound is how many turns may wait for the disk before whoever starts new work waits too.
	queueBound = 4096
	// idleTick is the longest that rows which let nothing out wait for company.
	idleTick = 5 * time.Millisecond
)

// ErrStopped says that the node ended before what was asked for was durable, or known to be.
var ErrStopped = errors.New("the node is stopped")

// commitQueue is the one ordered way to the disk.
type commitQueue struct {
	mu     sync.Mutex
	room   sync.Cond // signalled when the queue got shorter, or was closed
	work   sync.Cond // signalled when there is a group to commit, or the queue was closed
	turns  []*turn
	due    bool // a turn lets something out, or the idle tick has passed
	ticker bool // rows wait for company
	news   bool // events do
	closed bool
}

func newCommitQueue() *commitQueue {
	q := &commitQueue{}
	q.room.L, q.work.L = &q.mu, &q.mu
	return q
}

// reserve waits until there is room. It is called before any lock is taken and before a turn is computed, so that put
// never has to wait: turns in progress may overshoot the bound by their own number.
func (q *commitQueue) reserve() {
	q.mu.Lock()
	for len(q.turns) >= queueBound && !q.closed {
		q.room.Wait()
	}
	q.mu.Unlock()
}

// put queues a turn. After close it is forgotten, and its callers told.
func (q *commitQueue) put(t *turn) {
	if len(t.rows)+len(t.events) == 0 && !t.lets() {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		t.answer(ErrStopped)
		return
	}
	q.turns = append(q.turns, t)
	if len(t.rows) == 0 && len(t.events) > 0 {
		t.since = time.Now()
	}
	switch {
	case t.lets():
		q.due = true
		q.work.Signal()
	case q.due:
	case len(t.rows) > 0:
		q.later(&q.ticker, idleTick)
	default:
		q.later(&q.news, newsTick)
	}
}

// later has what is queued written after a while, if nothing else does it before. Waiting says that somebody sees to that. The mutex is held.
func (q *commitQueue) later(waiting *bool, d time.Duration) {
	if *waiting {
		return
	}
	*waiting = true
	time.AfterFunc(d, func() {
		q.mu.Lock()
		*waiting = false
		if len(q.turns) > 0 {
			q.due = true
			q.work.Signal()
		}
		q.mu.Unlock()
	})
}

// postpone puts the events of a group without rows back at the head of the queue, so that messages which need no disk do not
// cost a sync. It leaves them where they have waited long enough, or nothing can come any more.
func (q *commitQueue) postpone(group []*turn) {
	rest := &turn{}
	for _, t := range group {
		rest.events = append(rest.events, t.events...)
		if rest.since.IsZero() {
			rest.since = t.since
		}
	}
	left := newsTick - time.Since(rest.since)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || left <= 0 || len(rest.events) == 0 || len(rest.events) >= newsBound {
		return
	}
	for _, t := range group {
		t.events = nil
	}
	q.turns = append([]*turn{rest}, q.turns...)
	q.later(&q.news, left)
}

// take waits for a group: all queued turns, once one of them lets something out. After close it returns what is left,
// then nil.
func (q *commitQueue) take() []*turn {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.due && !q.closed {
		q.work.Wait()
	}
	group := q.turns
	q.turns, q.due = nil, false
	q.room.Broadcast()
	return group
}

// close ends the queue. What is queued is still committed, unless drop.
func (q *commitQueue) close(drop bool) {
	q.mu.Lock()
	if drop {
		for _, t := range q.turns {
			t.answer(ErrStopped)
		}
		q.turns = nil
	}
	q.closed = true
	q.room.Broadcast()
	q.work.Broadcast()
	q.mu.Unlock()
}

func (t *turn) answer(err error) {
	for _, c := range t.done {
		c <- err
	}
}

// committer writes groups and releases them, until the queue is closed and empty. A store error ends the node.
func (n *Node) committer() {
	for {
		group := n.queue.take()
		if group == nil {
			return
		}
		if err := n.write(group); err != nil {
			for _, t := range group {
				t.answer(ErrStopped)
			}
			n.fail(fmt.Errorf("writing to the store: %w", err))
			return
		}
		n.release(group)
	}
}

// write makes the rows of a group durable, and its events with them.
func (n *Node) write(group []*turn) error {
	writes := make([]store.Write, 0, len(group)+1)
	for _, t := range group {
		if len(t.rows) > 0 {
			writes = append(writes, t.rows)
		}
	}
	if len(writes) == 0 {
		n.queue.postpone(group)
	}
	news, err := n.eventLog.enter(group, n.cfg.Now())
	if err != nil {
		return err
	}
	n.events.keptFrom(n.eventLog.oldest())
	switch last := len(writes) - 1; {
	case len(news) == 0:
	case last < 0:
		writes = append(writes, news)
	default: // with the last turn: the disk holds a prefix of the turns, and never what they told without them
		writes[last] = append(slices.Clip(writes[last]), news...)
	}
	if len(writes) == 0 {
		return nil
	}
	begin := time.Now()
	err = n.disk.Commit(writes)
	n.commits.add(time.Since(begin))
	return err
}

// release lets out what the group has earned, in order. It never blocks: messages go to bounded buffers, chain requests
// and deliveries to queues of their own. Messages for one connection leave in one piece.
func (n *Node) release(group []*turn) {
	byLink := map[link][]lnwire.Message{}
	var order []link
	for _, t := range group {
		for _, s := range t.sends {
			if _, seen := byLink[s.to]; !seen {
				order = append(order, s.to)
			}
			byLink[s.to] = append(byLink[s.to], s.msgs...)
		}
	}
	for _, l := range order {
		_ = l.Send(byLink[l]...) // the connection ends itself if it can't
	}
	for _, t := range group {
		n.chainDesk.ask(t.chain)
		n.mailroom.send(t.mail)
		n.postbox.send(t.wakes)
		n.events.publish(t.events)
		t.answer(nil)
	}
}
