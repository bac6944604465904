package node

import (
	"encoding/binary"
	"fmt"
	"time"

	"lightningrod/node/store"
)

// Retention bounds how much of the history is kept. What exceeds either bound is deleted a little at a time, in the writes that add
// to it; the newest events always stay.
type Retention struct {
	Events uint64        // at least so many of the newest, unless they are too old
	Age    time.Duration // how long
}

// defaultRetention is some 40 MB of events at most.
var defaultRetention = Retention{Events: 250_000, Age: 30 * 24 * time.Hour}

const (
	// newsTick is the longest that events without rows of their own wait for a group that has some.
	newsTick = 50 * time.Millisecond
	// newsBound is how many of them wait.
	newsBound = 1024
	// pruneBound is how many rows of events one group deletes, so that none waits for the rest.
	pruneBound = 64
	// tailSize is how many of the oldest rows the log knows by heart.
	tailSize = 256
)

// eventLog gives events their numbers and makes rows of them: all events of a group stand in one row, in the transaction of the rows
// that caused them. So the log has no gap and no number twice, and whatever a reader has seen is in it after a crash. It belongs to the committer.
//
//	store.Event: number of the first event -> up to rowEvents events
type eventLog struct {
	store *store.Store
	keep  Retention
	next  uint64 // Seq of the next event
	tail  []eventSpan
	known uint64 // rows from this number on are not in tail
}

// eventSpan is a row of the log: events first to end-1, written at a time.
type eventSpan struct {
	first, end uint64
	at         time.Time
}

// loadEventLog finds the ends of the log. It reads little of it.
func loadEventLog(s *store.Store, keep Retention) (*eventLog, error) {
	l := &eventLog{store: s, keep: keep, next: 1, known: 1}
	key, row, err := s.Floor(store.Event, nil)
	if err != nil {
		return nil, err
	}
	if key != nil {
		last, err := spanOf(key, row)
		if err != nil {
			return nil, err
		}
		l.next = last.end
	}
	return l, l.extendTail()
}

// oldest is the number of the oldest event that is kept; that of the next one if there is none.
func (l *eventLog) oldest() uint64 {
	if len(l.tail) == 0 {
		return l.next
	}
	return l.tail[0].first
}

// extendTail reads what the next oldest rows span, when all that were known are deleted.
func (l *eventLog) extendTail() error {
	if len(l.tail) > 0 || l.known >= l.next {
		return nil
	}
	err := l.store.Range(store.Event, u64(l.known), nil, func(key, row []byte) error {
		span, err := spanOf(key, row)
		if err != nil {
			return err
		}
		l.tail, l.known = append(l.tail, span), span.end
		if len(l.tail) == tailSize {
			return errEnough
		}
		return nil
	})
	if err == errEnough {
		return nil
	}
	return err
}

// enter numbers the events of a group and gives the rows that make them durable, and that delete what is too old.
func (l *eventLog) enter(group []*turn, now time.Time) (store.Write, error) {
	now = time.UnixMilli(now.UnixMilli()).UTC() // as it is read from the row
	var news []Event
	for _, t := range group {
		for i := range t.events {
			t.events[i].Seq, t.events[i].At = l.next+uint64(len(news)), now
			news = append(news, t.events[i])
		}
	}
	if len(news) == 0 {
		return nil, nil
	}
	w, err := l.prune(now)
	if err != nil {
		return nil, err
	}
	for len(news) > 0 {
		n := min(len(news), rowEvents)
		w = append(w, store.Op{Table: store.Event, Key: u64(l.next), Value: encodeEvents(news[:n])})
		if l.known == l.next && len(l.tail) < tailSize {
			l.tail, l.known = append(l.tail, eventSpan{l.next, l.next + uint64(n), now}), l.next+uint64(n)
		}
		l.next, news = l.next+uint64(n), news[n:]
	}
	return w, nil
}

// prune deletes some of what exceeds the bounds.
func (l *eventLog) prune(now time.Time) (w store.Write, err error) {
	for range pruneBound {
		if err := l.extendTail(); err != nil {
			return nil, err
		}
		if len(l.tail) == 0 {
			break
		}
		span := l.tail[0]
		if l.next-span.end < l.keep.Events && now.Sub(span.at) <= l.keep.Age {
			break
		}
		w = append(w, store.Op{Table: store.Event, Key: u64(span.first)})
		l.tail = l.tail[1:]
	}
	return w, l.extendTail()
}

// spanOf reads the head of a row.
func spanOf(key, row []byte) (eventSpan, error) {
	if len(key) != 8 || len(row) < eventHead || row[0] != eventVersion {
		return eventSpan{}, fmt.Errorf("event row %x: %d bytes are no row of version %d", key, len(row), eventVersion)
	}
	first, n := binary.BigEndian.Uint64(key), binary.BigEndian.Uint16(row[9:])
	return eventSpan{first, first + uint64(n), time.UnixMilli(int64(binary.BigEndian.Uint64(row[1:]))).UTC()}, nil
}
