package embedded

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// subscribers are called in the order in which they came.
type subscribers struct {
	mu   sync.Mutex
	list []*subscriber
}

type subscriber struct{ f func() }

func (s *subscribers) add(f func()) (cancel func()) {
	sub := &subscriber{f}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, sub)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.list = slices.DeleteFunc(slices.Clone(s.list), func(o *subscriber) bool { return o == sub })
	}
}

func (s *subscribers) call() {
	s.mu.Lock()
	list := slices.Clone(s.list)
	s.mu.Unlock()
	for _, sub := range list {
		sub.f()
	}
}

// clock is the time by which blocks are made and judged: the real one, or a second after the newest block ever seen if that
// is later. So block times rise strictly, and no block is ever too far in the future, however fast they come.
type clock struct{ newest atomic.Int64 }

func (c *clock) AdjustedTime() time.Time {
	return time.Unix(max(time.Now().Unix(), c.newest.Load()+1), 0)
}

func (c *clock) AddTimeSample(string, time.Time) {}

func (c *clock) Offset() time.Duration { return 0 }

// saw notes the time of a block.
func (c *clock) saw(t time.Time) { c.newest.Store(max(c.newest.Load(), t.Unix())) }
