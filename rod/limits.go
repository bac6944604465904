package rod

import "fmt"

// roomForRequest says why another request of peer would be too many, or nil.
func (t *Table) roomForRequest(peer NodeID) error {
	if t.total >= t.cfg.MaxRequests {
		return fmt.Errorf("%d requests reach maximum %d", t.total, t.cfg.MaxRequests)
	}
	n := 0
	for _, r := range t.byPeer[peer] {
		// One that is unblocked and waits for its first HTLC counts too: else a payer arms without limit by unblocking itself.
		if r.state == Armed || len(r.members) == 0 {
			n++
		}
	}
	if n >= t.cfg.ArmedPerPeer {
		return fmt.Errorf("%d armed requests of the peer reach maximum %d", n, t.cfg.ArmedPerPeer)
	}
	return nil
}

// roomForHTLC says why holding h would be too much, or nil.
func (t *Table) roomForHTLC(h HTLC) error {
	held, peerMsat, channelMsat := 0, h.Amount, h.Amount
	for _, r := range t.byPeer[h.Peer] {
		if r.state != Armed {
			continue
		}
		for _, m := range r.members {
			held++
			peerMsat += m.amount
			if m.key.Channel == h.Channel {
				channelMsat += m.amount
			}
		}
	}
	if held >= t.cfg.HeldPerPeer {
		return fmt.Errorf("%d held HTLCs of the peer reach maximum %d", held, t.cfg.HeldPerPeer)
	}
	if limit := t.cfg.MaxHeldMsat; limit != 0 && peerMsat > limit {
		return fmt.Errorf("%d msat held for the peer above maximum %d", peerMsat, limit)
	}
	// Divided first: the field is the peer's to choose, and a product could overflow.
	if limit := h.MaxInFlight / 100 * t.cfg.InFlightPercent; h.MaxInFlight != 0 && channelMsat > limit {
		return fmt.Errorf("%d msat held on the channel above maximum %d", channelMsat, limit)
	}
	return nil
}

// bucket meters a peer's requests. It is memory only: a restart gives every peer a full one.
type bucket struct {
	tokens int64
	at     int64 // unix seconds
}

// take uses one request of peer's allowance, if there is one.
func (t *Table) take(peer NodeID) bool {
	b, ok := t.buckets[peer]
	if !ok {
		b = bucket{t.cfg.RequestBurst, t.now}
	}
	b.tokens = min(t.cfg.RequestBurst, b.tokens+(t.now-b.at)*t.cfg.RequestsPerSecond)
	b.at = t.now
	ok = b.tokens > 0
	if ok {
		b.tokens--
	}
	t.buckets[peer] = b
	return ok
}

// refill forgets the buckets that are full again.
func (t *Table) refill() {
	for peer, b := range t.buckets {
		if b.tokens+(t.now-b.at)*t.cfg.RequestsPerSecond >= t.cfg.RequestBurst {
			delete(t.buckets, peer)
		}
	}
}
