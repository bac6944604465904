package node

import (
	"sync"
	"time"
)

// flood limits onion messages by bytes, before any elliptic-curve work: a bucket for each channel peer, and one for all
// the others together, so that strangers cannot crowd out an unblock that comes over a channel peer.
type flood struct {
	mu        sync.Mutex
	peers     map[[33]byte]*bucket
	strangers bucket
}

const (
	clientRate, clientBurst     = 64 << 10, 256 << 10 // bytes a second, bytes
	strangerRate, strangerBurst = 16 << 10, 128 << 10
)

// bucket is a token bucket in bytes.
type bucket struct {
	level float64
	last  time.Time
}

func (b *bucket) take(n int, rate, burst float64, now time.Time) bool {
	if b.last.IsZero() {
		b.level = burst
	} else if d := now.Sub(b.last).Seconds(); d > 0 {
		b.level = min(burst, b.level+d*rate)
	}
	b.last = now
	if b.level < float64(n) {
		return false
	}
	b.level -= float64(n)
	return true
}

func newFlood() *flood { return &flood{peers: map[[33]byte]*bucket{}} }

// allow says whether a message of n bytes from a peer is to be looked at.
func (f *flood) allow(from [33]byte, client bool, n int, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !client {
		return f.strangers.take(n, strangerRate, strangerBurst, now)
	}
	b := f.peers[from]
	if b == nil {
		b = &bucket{}
		f.peers[from] = b
	}
	return b.take(n, clientRate, clientBurst, now)
}
