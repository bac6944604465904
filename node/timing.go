package node

import (
	"sync"
	"time"
)

// Timing is how long something took, all times since the start.
type Timing struct {
	Count   uint64
	Sum     float64            // seconds
	Buckets map[float64]uint64 // how many took at most so many seconds
}

// timingBounds are seconds: a fast disk syncs in some 100 µs, and one that takes a second is in trouble.
var timingBounds = [...]float64{0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5}

// stopwatch collects a Timing.
type stopwatch struct {
	mu     sync.Mutex
	counts [len(timingBounds)]uint64
	count  uint64
	sum    time.Duration
}

func (s *stopwatch) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	s.sum += d
	for i := range timingBounds {
		if d.Seconds() <= timingBounds[i] {
			s.counts[i]++
		}
	}
}

// Commits is how long the store's transactions took, syncs included: what everything that leaves the node waits for.
func (n *Node) Commits() Timing {
	s := &n.commits
	s.mu.Lock()
	defer s.mu.Unlock()
	t := Timing{Count: s.count, Sum: s.sum.Seconds(), Buckets: map[float64]uint64{}}
	for i, bound := range timingBounds {
		t.Buckets[bound] = s.counts[i]
	}
	return t
}
