package rod

import (
	"slices"
)

// model is the Table's rules again, slow and obvious: lists that are searched from end to end, nothing derived is kept.
type model struct {
	cfg      Config
	now      int64
	height   uint32
	requests []*modelRequest
	members  []*modelMember
	finished []modelGrave
	up       map[NodeID]bool
}

type modelRequest struct {
	peer       NodeID
	pid        [32]byte
	content    string
	hashes     [][32]byte
	total      uint64
	deadline   uint32
	asked      bool
	armedUntil int64
	unblocked  int64
	joined     bool
	over       bool
	state      State
}

type modelMember struct {
	r                           *modelRequest
	h                           HTLC
	deadline                    uint32
	fulfilled, failed, void, ov bool
}

type modelGrave struct {
	peer  NodeID
	pid   [32]byte
	until int64
}

func (m *model) of(r *modelRequest) (out []*modelMember) {
	for _, x := range m.members {
		if x.r == r {
			out = append(out, x)
		}
	}
	return out
}

func (m *model) sum(r *modelRequest) (n uint64) {
	for _, x := range m.of(r) {
		n += x.h.Amount
	}
	return n
}

func (r *modelRequest) live() bool { return r.state <= Released && !r.over }

func (m *model) byPid(peer NodeID, pid [32]byte) *modelRequest {
	for _, r := range m.requests {
		if r.peer == peer && r.pid == pid {
			return r
		}
	}
	return nil
}

func (m *model) byHash(peer NodeID, hash [32]byte) *modelRequest {
	for _, r := range m.requests {
		if r.live() && r.peer == peer && slices.Contains(r.hashes, hash) {
			return r
		}
	}
	return nil
}

func (m *model) grave(peer NodeID, pid [32]byte) bool {
	return slices.ContainsFunc(m.finished, func(g modelGrave) bool { return g.peer == peer && g.pid == pid })
}

func (m *model) armedOf(peer NodeID) (n int) {
	for _, r := range m.requests {
		if r.peer == peer && (r.state == Armed || len(m.of(r)) == 0) {
			n++
		}
	}
	return n
}

// judge gives the kind, whether it becomes a member, and R.
func (m *model) judge(h HTLC) (Kind, bool, uint32) {
	for _, x := range m.members {
		if x.h.Key() != h.Key() {
			continue
		}
		switch {
		case x.fulfilled:
			return Hold, false, x.deadline
		case x.void || x.failed || !x.r.live() || m.height >= x.deadline:
			return GiveUp, false, x.deadline
		case x.r.state == Released:
			return Pass, false, x.deadline
		}
		return Hold, false, x.deadline
	}
	var r *modelRequest
	if h.Hold != nil {
		r = m.byPid(h.Peer, h.Hold.PidHash)
		if r != nil && !r.live() || r == nil && m.grave(h.Peer, h.Hold.PidHash) {
			return GiveUp, false, 0
		}
		if r == nil && (m.byHash(h.Peer, h.Hash) != nil || m.armedOf(h.Peer) >= m.cfg.ArmedPerPeer || len(m.requests) >= m.cfg.MaxRequests) {
			return GiveUp, false, 0
		}
	} else if r = m.byHash(h.Peer, h.Hash); r == nil {
		return Pass, false, 0
	}
	// R, as the sentences give it.
	asked := h.Hold != nil && h.Hold.Deadline != 0 || r != nil && r.asked
	candidates := []int64{int64(m.height) + 1008}
	if asked {
		candidates = append(candidates, int64(h.OutExpiry)-42)
	} else {
		candidates = append(candidates, int64(h.OutExpiry)-42-288)
	}
	if r != nil && (r.asked || h.Hold == nil || h.Hold.Deadline == 0) {
		candidates = append(candidates, int64(r.deadline))
	}
	if h.Hold != nil && h.Hold.Deadline != 0 {
		candidates = append(candidates, int64(h.Hold.Deadline))
	}
	if r == nil && !asked {
		candidates = append(candidates, int64(m.height)+432)
	}
	deadline := slices.Min(candidates)
	straight := r != nil && (r.state == Released || r.unblocked != 0 && m.sum(r)+h.Amount >= r.total)
	left := deadline - int64(m.height)
	switch {
	case int64(h.Expiry)-int64(m.height) > 2016, int64(h.Expiry)-int64(h.OutExpiry) < 144:
		return GiveUp, false, 0
	case straight && left >= 1:
		return Pass, true, uint32(deadline)
	case left < 6:
		return GiveUp, false, 0
	}
	held, onChannel := 0, h.Amount
	for _, x := range m.members {
		if x.r.peer == h.Peer && x.r.state == Armed {
			held++
			if x.h.Channel == h.Channel {
				onChannel += x.h.Amount
			}
		}
	}
	if held >= m.cfg.HeldPerPeer || onChannel > h.MaxInFlight/2 {
		return GiveUp, false, 0
	}
	return Hold, true, uint32(deadline)
}

// finish ends a request; what it still holds is given up.
func (m *model) finish(r *modelRequest, s State) (giveUp []HTLCKey) {
	r.state, r.unblocked = s, 0
	m.finished = append(m.finished, modelGrave{r.peer, r.pid, m.now + m.cfg.Tombstone})
	for _, x := range m.of(r) {
		if !x.void && !x.failed && !x.fulfilled {
			giveUp = append(giveUp, x.h.Key())
		}
	}
	m.sweep()
	return giveUp
}

// sweep forgets requests that are over and have no members.
func (m *model) sweep() {
	m.requests = slices.DeleteFunc(m.requests, func(r *modelRequest) bool { return !r.live() && len(m.of(r)) == 0 })
}

func (m *model) end(k HTLCKey) {
	i := slices.IndexFunc(m.members, func(x *modelMember) bool { return x.h.Key() == k })
	if i < 0 {
		return
	}
	r := m.members[i].r
	m.members = slices.Delete(m.members, i, i+1)
	if r.live() && len(m.of(r)) == 0 {
		m.finish(r, Expired)
	}
	m.sweep()
}

// apply gives the ack's status (or -1), the given up and the released.
func (m *model) apply(ev Event) (ack int, giveUp []HTLCKey, released []HoldKey) {
	ack = -1
	release := func(r *modelRequest) {
		r.state, r.unblocked = Released, 0
		for _, x := range m.of(r) {
			if k := (HoldKey{r.peer, x.h.Hash}); !slices.Contains(released, k) {
				released = append(released, k)
			}
		}
	}
	at := func(channel uint64) (out []*modelMember) {
		for _, x := range m.members {
			if x.h.Channel == channel {
				out = append(out, x)
			}
		}
		return out
	}
	one := func(k HTLCKey) *modelMember {
		for _, x := range m.members {
			if x.h.Key() == k {
				return x
			}
		}
		return nil
	}
	switch ev := ev.(type) {
	case Requested:
		q, _ := DecodeHold(ev.Payload)
		ack = int(m.request(ev.Peer, string(ev.Payload), q))
	case CancelRequested:
		q, _ := DecodeCancel(ev.Payload)
		r := m.byPid(ev.Peer, q.PidHash)
		if r == nil && !m.grave(ev.Peer, q.PidHash) {
			m.finished = append(m.finished, modelGrave{ev.Peer, q.PidHash, m.now + m.cfg.Tombstone})
		} else if r != nil && r.state == Armed {
			giveUp = m.finish(r, Withdrawn)
		}
	case Unblock:
		for _, r := range m.requests {
			if r.pid != PidHash(ev.Pid) || r.state != Armed || r.unblocked != 0 || ev.Next != (NodeID{}) && ev.Next != r.peer {
				continue
			}
			if len(m.of(r)) > 0 && m.sum(r) < r.total {
				r.unblocked = m.now
			} else {
				release(r)
			}
		}
	case Member:
		kind, member, deadline := m.judge(ev.HTLC)
		if kind == GiveUp && one(ev.HTLC.Key()) == nil {
			giveUp = append(giveUp, ev.HTLC.Key())
		}
		if !member {
			break
		}
		r := m.byHash(ev.HTLC.Peer, ev.HTLC.Hash)
		if ev.HTLC.Hold != nil {
			if r = m.byPid(ev.HTLC.Peer, ev.HTLC.Hold.PidHash); r == nil {
				r = &modelRequest{peer: ev.HTLC.Peer, pid: ev.HTLC.Hold.PidHash, hashes: [][32]byte{ev.HTLC.Hash}, armedUntil: m.now + m.cfg.ArmedTTL,
					asked: ev.HTLC.Hold.Deadline != 0, deadline: m.height + 432}
				if r.asked {
					r.deadline = min(ev.HTLC.Hold.Deadline, m.height+1008)
				}
				m.requests = append(m.requests, r)
			} else if r.content == "" && m.byHash(r.peer, ev.HTLC.Hash) == nil {
				r.hashes = append(r.hashes, ev.HTLC.Hash)
			}
		}
		r.joined = true
		m.members = append(m.members, &modelMember{r: r, h: ev.HTLC, deadline: deadline})
		if kind == Pass && r.state == Armed {
			release(r)
		}
	case Fulfilled:
		if x := one(HTLCKey(ev)); x != nil {
			x.fulfilled = true
		}
	case Failed:
		if x := one(HTLCKey(ev)); x != nil && !x.fulfilled {
			x.failed = true
		}
	case Ended:
		m.end(HTLCKey{ev.Channel, ev.ID})
	case Tick:
		m.now = ev.Now
		for _, r := range slices.Clone(m.requests) {
			if r.unblocked != 0 && m.now >= r.unblocked+60 {
				release(r)
			} else if r.live() && !r.joined && m.now >= r.armedUntil {
				giveUp = append(giveUp, m.finish(r, Expired)...)
			}
		}
	case Block:
		m.height = ev.Height
		for _, r := range slices.Clone(m.requests) {
			late := len(m.of(r)) == 0 && m.height >= r.deadline
			for _, x := range m.of(r) {
				late = late || m.height >= x.deadline
				if r.state == Released && m.height >= x.deadline && !x.ov && !x.void && !x.failed && !x.fulfilled {
					x.ov = true
					giveUp = append(giveUp, x.h.Key())
				}
			}
			if r.state == Armed && late {
				giveUp = append(giveUp, m.finish(r, Expired)...)
			}
		}
		for _, x := range slices.Clone(m.members) {
			if x.void && m.height > x.h.Expiry+2016 {
				m.end(x.h.Key())
			}
		}
	case ChannelOnChain:
		for _, x := range at(ev.Channel) {
			x.void = true
		}
		for _, x := range at(ev.Channel) {
			if x.r.state == Armed {
				giveUp = append(giveUp, m.finish(x.r, Withdrawn)...)
			}
		}
	case ChannelShutdown:
		for _, x := range at(ev.Channel) {
			if x.r.state == Armed {
				giveUp = append(giveUp, m.finish(x.r, Withdrawn)...)
			} else if x.r.state == Released && !x.void && !x.failed && !x.fulfilled {
				giveUp = append(giveUp, x.h.Key())
			}
		}
	case Declined:
		for _, x := range at(ev.Channel) {
			paid := slices.ContainsFunc(m.of(x.r), func(o *modelMember) bool { return o.fulfilled })
			if x.h.ID == ev.ID && x.r.state == Armed && !x.void && !x.failed && !paid {
				giveUp = append(giveUp, m.finish(x.r, Withdrawn)...)
			}
		}
	case ChannelClosed:
		for _, x := range at(ev.Channel) {
			m.end(x.h.Key())
		}
	case PeerUp:
		m.up[ev.Peer] = true
	case PeerDown:
		delete(m.up, ev.Peer)
	}
	for _, r := range m.requests { // over, once every member has an outcome
		open := func(x *modelMember) bool { return !x.fulfilled && !x.failed && !x.void }
		if r.state == Released && !r.over && len(m.of(r)) > 0 && !slices.ContainsFunc(m.of(r), open) {
			r.over = true
			m.finished = append(m.finished, modelGrave{r.peer, r.pid, m.now + m.cfg.Tombstone})
		}
	}
	return ack, giveUp, released
}

func (m *model) request(peer NodeID, content string, q HoldRequest) AckStatus {
	r := m.byPid(peer, q.PidHash)
	if r != nil && r.live() && r.content == content {
		return AckOK
	}
	if r != nil && (!r.live() || r.content != "") || m.grave(peer, q.PidHash) {
		return AckDuplicate
	}
	for _, h := range q.Hashes {
		if o := m.byHash(peer, h); o != nil && o != r {
			return AckDuplicate
		}
	}
	deadline := m.height + 432
	if q.Deadline != 0 {
		deadline = min(q.Deadline, m.height+1008)
	}
	if deadline < m.height+6 {
		return AckDeadline
	}
	if r != nil { // made by an HTLC's TLV
		r.content, r.total = content, q.TotalMsat
		for _, h := range q.Hashes {
			if !slices.Contains(r.hashes, h) {
				r.hashes = append(r.hashes, h)
			}
		}
		if q.Deadline != 0 {
			r.asked, r.deadline = true, min(r.deadline, deadline)
			for _, x := range m.of(r) {
				x.deadline = min(x.deadline, r.deadline)
			}
		}
		return AckOK
	}
	if m.armedOf(peer) >= m.cfg.ArmedPerPeer || len(m.requests) >= m.cfg.MaxRequests {
		return AckLimit
	}
	ttl := m.cfg.ArmedTTL
	if q.ArmedTTL != 0 {
		ttl = min(int64(q.ArmedTTL), m.cfg.MaxArmedTTL)
	}
	m.requests = append(m.requests, &modelRequest{peer: peer, pid: q.PidHash, content: content, hashes: slices.Clone(q.Hashes), total: q.TotalMsat,
		deadline: deadline, asked: q.Deadline != 0, armedUntil: m.now + ttl})
	return AckOK
}

// purge: the Table looks through tombstones once an hour of its own; the model follows it.
func (m *model) purge(t *Table) {
	m.finished = slices.DeleteFunc(m.finished, func(g modelGrave) bool {
		return m.now >= g.until && !t.entombed(requestKey{g.peer, g.pid})
	})
}
