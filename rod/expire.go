package rod

import "slices"

// This file is what time, blocks and the state of channels do to requests: nobody asked for it.

// tombstonePurge is how often tombstones are looked through, in seconds.
const tombstonePurge = 3600

func (n *turn) tick(now int64) {
	if now < n.now {
		return // a clock that jumps back stops time; deadlines are heights
	}
	n.now = now
	var due []*request
	for _, rs := range n.byPeer {
		for _, r := range rs {
			if r.live() && !r.joined && now >= r.armedUntil || r.unblocked != 0 && now >= r.unblocked+n.cfg.PartsWait {
				due = append(due, r)
			}
		}
	}
	slices.SortFunc(due, func(a, b *request) int { return a.compare(b.requestKey) })
	for _, r := range due {
		if r.unblocked != 0 {
			n.release(r) // what there is; the payee's MPP timeout decides
		} else {
			n.end(r, Expired, StatusExpired)
		}
	}
	if now >= n.purged+tombstonePurge {
		n.purged = now
		n.refill()
		for peer, graves := range n.tombs {
			for pid, until := range graves {
				if now >= until {
					n.unbury(requestKey{peer, pid})
				}
			}
		}
	}
	n.out.Wakes = append(n.out.Wakes, n.wake.Tick(now)...)
}

// voidMemory is how many blocks past its expiry an HTLC on chain is remembered if nobody says that it ended.
const voidMemory = 2016

func (n *turn) block(height uint32) {
	n.height = height
	for _, r := range n.sortedRequests() {
		switch {
		case r.state == Armed && !n.cfg.Enabled:
			n.end(r, Withdrawn, StatusFailed)
		case r.state == Armed && n.overdue(r):
			n.end(r, Expired, StatusExpired)
		case r.state == Released:
			n.giveUpOverdue(r)
		}
	}
	for _, m := range n.sortedMembers() {
		if m.void && height > m.expiry+voidMemory {
			n.ended(m.key, m.stage == memberFulfilled)
		} else if n.mustClaim(m) && !slices.Contains(n.out.Claim, m.key.Channel) {
			n.out.Claim = append(n.out.Claim, m.key.Channel)
		}
	}
	n.out.Wakes = append(n.out.Wakes, n.wake.Block(height)...)
}

// overdue says whether a part of an armed request has reached its deadline: the parts are one payment, so all go back.
func (n *turn) overdue(r *request) bool {
	if len(r.members) == 0 {
		return n.height >= r.deadline
	}
	return slices.ContainsFunc(r.members, func(m *member) bool { return n.height >= m.deadline })
}

// giveUpOverdue gives up the released parts that are past their deadline. Only the caller knows which of them are on their way.
func (n *turn) giveUpOverdue(r *request) {
	for _, m := range r.members {
		if m.stage == memberOpen && !m.void && !m.overdue && n.height >= m.deadline {
			m.overdue = true
			v := n.judgeMember(m, n.height)
			n.out.GiveUp = append(n.out.GiveUp, GivenUp{m.key, v.ExpiryTooSoon, v.Reason})
		}
	}
}

// mustClaim says whether a preimage that the payer has not fetched is near going stale.
func (n *turn) mustClaim(m *member) bool {
	return m.stage == memberFulfilled && !m.void && !n.up[m.peer] && n.height >= claimHeight(m.expiry, n.cfg.ClaimMargin)
}

func claimHeight(expiry, margin uint32) uint32 { return expiry - min(expiry, margin) }

func (n *turn) onChannel(channel uint64) (out []*member) {
	for _, m := range n.sortedMembers() {
		if m.key.Channel == channel {
			out = append(out, m)
		}
	}
	return out
}

func (n *turn) onChain(channel uint64) {
	ms := n.onChannel(channel)
	for _, m := range ms {
		if !m.void {
			m.void = true
			n.touchMember(m)
		}
	}
	// Without this part the payment cannot be complete: the others go back too.
	for _, m := range ms {
		if m.request.state == Armed {
			n.end(m.request, Withdrawn, StatusFailed)
		}
		n.conclude(m.request)
	}
}

func (n *turn) shutdown(channel uint64) {
	for _, m := range n.onChannel(channel) {
		switch {
		case m.request.state == Armed:
			n.end(m.request, Withdrawn, StatusFailed)
		case m.request.state == Released && m.stage == memberOpen && !m.void:
			n.out.GiveUp = append(n.out.GiveUp, GivenUp{m.key, false, "channel shutting down"})
		}
	}
}

func (n *turn) closed(channel uint64) {
	for _, m := range n.onChannel(channel) {
		n.ended(m.key, m.stage == memberFulfilled)
	}
}
