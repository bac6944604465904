package rod

import "slices"

// Waiting is the ordinary HTLCs that wait for the next peer to be woken: wake and wait. No request is about them, nothing of it is durable: after a
// restart an HTLC that is still there waits afresh.
type Waiting struct {
	seconds int64
	perPeer int
	htlcs   map[NodeID][]waitingHTLC
}

type waitingHTLC struct {
	key   HTLCKey
	until int64
}

// NewWaiting lets at most perPeer HTLCs wait for a peer, each for at most seconds.
func NewWaiting(seconds int64, perPeer int) *Waiting {
	return &Waiting{seconds: seconds, perPeer: perPeer, htlcs: map[NodeID][]waitingHTLC{}}
}

// DefaultWaiting is the specification's: 60 seconds.
func DefaultWaiting() *Waiting { return NewWaiting(60, 30) }

// Add lets an HTLC wait for peer, which is away and has a device; false if too many wait already. The caller then raises
// Wanted{peer, MethodPayment}. Adding it again changes nothing.
func (w *Waiting) Add(key HTLCKey, peer NodeID, now int64) bool {
	has := func(h waitingHTLC) bool { return h.key == key }
	if slices.ContainsFunc(w.htlcs[peer], has) {
		return true
	}
	if len(w.htlcs[peer]) >= w.perPeer {
		return false
	}
	w.htlcs[peer] = append(w.htlcs[peer], waitingHTLC{key, now + w.seconds})
	return true
}

// Ready gives the HTLCs that wait for peer, now that a channel with it can carry them. They wait no more.
func (w *Waiting) Ready(peer NodeID) []HTLCKey {
	var out []HTLCKey
	for _, h := range w.htlcs[peer] {
		out = append(out, h.key)
	}
	delete(w.htlcs, peer)
	return out
}

// Remove forgets an HTLC that waits for peer.
func (w *Waiting) Remove(key HTLCKey, peer NodeID) {
	w.set(peer, slices.DeleteFunc(w.htlcs[peer], func(h waitingHTLC) bool { return h.key == key }))
}

// Tick gives the HTLCs that have waited long enough, to be failed back. They wait no more.
func (w *Waiting) Tick(now int64) []HTLCKey {
	var out []HTLCKey
	for peer, hs := range w.htlcs {
		w.set(peer, slices.DeleteFunc(hs, func(h waitingHTLC) bool {
			if now >= h.until {
				out = append(out, h.key)
			}
			return now >= h.until
		}))
	}
	slices.SortFunc(out, HTLCKey.compare)
	return out
}

// Idle says that nothing waits for peer: the reason to wake it may be lowered.
func (w *Waiting) Idle(peer NodeID) bool { return len(w.htlcs[peer]) == 0 }

func (w *Waiting) set(peer NodeID, hs []waitingHTLC) {
	if w.htlcs[peer] = hs; len(hs) == 0 {
		delete(w.htlcs, peer)
	}
}
