package forward

import (
	"lightningrod/rod"
)

// The three indexes of pending HTLCs: held by (peer, hash), waiting by the next node, parts by their set. Only hold,
// wait and join enter, only withdraw removes.

// holdKey is where rod looks for an HTLC: never the hash alone.
func (in *incoming) holdKey() rod.HoldKey {
	return rod.HoldKey{Peer: in.peer, Hash: in.htlc.Hash}
}

// hold keeps an HTLC until rod releases it.
func (f *Forwarder) hold(s *step, in *incoming, limit uint32) {
	in.state = held
	f.setLimit(in, limit)
	hold := in.holdKey()
	if f.held[hold] == nil {
		f.held[hold] = make(keys)
	}
	f.held[hold][in.htlc.Key] = struct{}{}
	s.Notices = append(s.Notices, Held{
		Key: in.htlc.Key, Hash: in.htlc.Hash, Amount: in.htlc.Amount, Deadline: limit,
	})
}

// wait keeps an HTLC until something can carry it. until is a time, or 0.
func (f *Forwarder) wait(s *step, in *incoming, limit uint32, until int64) {
	in.state = waiting
	f.setLimit(in, limit)
	if until > in.until {
		in.until = until
		f.times.set(until, in.htlc.Key)
	}
	if in.hop.Final {
		return
	}
	p := f.peer(in.next)
	p.waiting[in.htlc.Key] = struct{}{}
	if p.device && !p.wanted && !f.reachable(p) {
		p.wanted = true
		f.rod(s, rod.Wanted{Peer: in.next, Method: rod.MethodPayment})
	}
}

// setLimit says at which height a pending HTLC is given up. One alarm for one height is enough however often it is said.
func (f *Forwarder) setLimit(in *incoming, limit uint32) {
	in.limit = limit
	if in.alarm != limit || limit == 0 {
		in.alarm = limit
		f.blocks.set(limit, in.htlc.Key)
	}
}

// withdraw takes an HTLC out of the index it is in. Its state is then for the caller to say.
func (f *Forwarder) withdraw(s *step, in *incoming) {
	key := in.htlc.Key
	switch in.state {
	case held:
		hold := in.holdKey()
		if delete(f.held[hold], key); len(f.held[hold]) == 0 {
			delete(f.held, hold)
		}
	case waiting:
		if in.hop.Final {
			break
		}
		p := f.peer(in.next)
		if delete(p.waiting, key); len(p.waiting) == 0 && p.wanted {
			s.left = append(s.left, in.next)
		}
	case part:
		f.leave(in)
	}
	in.state = deciding
}

// reachable reports whether any channel with the peer can take an Add now.
func (f *Forwarder) reachable(p *peerState) bool {
	for _, id := range p.channels {
		if f.channels[id].usable {
			return true
		}
	}
	return false
}

// block takes a new height in and gives up what is due. Stale tips give up too: a height is never lower than it seems.
func (f *Forwarder) block(s *step, height uint32) {
	f.height = height
	f.rod(s, rod.Block{Height: height})
	for _, key := range sortKeys(f.blocks.due(height)) {
		in := f.htlcs[key]
		if in == nil {
			continue
		}
		in.alarm = 0
		if !in.state.pending() || in.limit > height {
			continue
		}
		if in.hop.Final {
			f.tooLate(s, in)
		} else {
			f.fail(s, in, expiryTooSoon(f.policyFor(in)))
		}
	}
	// A channel that refused an HTLC may take it now, without having become usable anew.
	f.retry(s)
}

// tick takes the time in and gives up what has waited long enough. A clock that jumps back stops time.
func (f *Forwarder) tick(s *step, now int64) {
	if now < f.now {
		return
	}
	f.now = now
	f.rod(s, rod.Tick{Now: now})
	for _, key := range sortKeys(f.times.due(now)) {
		in := f.htlcs[key]
		if in == nil || in.state != waiting || in.until == 0 || in.until > now {
			continue
		}
		s.again = append(s.again, key) // a wait that is over lets choose fail it
	}
	f.tickInvoices(s, now)
}
