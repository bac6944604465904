package rod

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
)

// Apply lets an event happen.
func (t *Table) Apply(ev Event) Output {
	n := &turn{Table: t}
	switch ev := ev.(type) {
	case Requested:
		n.requested(ev)
	case CancelRequested:
		n.cancelRequested(ev)
	case Unblock:
		n.unblock(ev)
	case Member:
		n.member(ev.HTLC)
	case Fulfilled:
		n.fulfilled(HTLCKey(ev))
	case Failed:
		n.failed(HTLCKey(ev))
	case Declined:
		n.declined(HTLCKey(ev))
	case Ended:
		n.ended(HTLCKey{ev.Channel, ev.ID}, ev.Settled)
	case Tick:
		n.tick(ev.Now)
	case Block:
		n.block(ev.Height)
	case PeerUp:
		t.up[ev.Peer] = true
		t.wake.Up(ev.Peer)
	case PeerDown:
		delete(t.up, ev.Peer)
		t.wake.Down(ev.Peer)
	case ChannelOnChain:
		n.onChain(ev.Channel)
	case ChannelShutdown:
		n.shutdown(ev.Channel)
	case ChannelClosed:
		n.closed(ev.Channel)
	case Wanted:
		n.out.Wakes = append(n.out.Wakes, t.wake.Want(ev.Peer, ev.Method, "{}", 0, !ev.Off)...)
	default:
		panic(fmt.Sprintf("rod: event %T", ev))
	}
	return n.finish()
}

// turn is one Apply: the table, what the event causes, and which rows it touched. Rows are made once, at the end, of what is then true.
type turn struct {
	*Table
	out      Output
	requests map[requestKey]bool
	htlcs    map[HTLCKey]bool
	graves   map[requestKey]bool
	peers    map[NodeID]bool
}

func (n *turn) touch(r *request)        { note(&n.requests, r.requestKey); note(&n.peers, r.peer) }
func (n *turn) touchMember(m *member)   { note(&n.htlcs, m.key); note(&n.peers, m.peer) }
func (n *turn) touchGrave(k requestKey) { note(&n.graves, k) }

// note adds to a set. Most turns touch nothing, and have none.
func note[K comparable](set *map[K]bool, k K) {
	if *set == nil {
		*set = map[K]bool{}
	}
	(*set)[k] = true
}

func (n *turn) finish() Output {
	if len(n.requests)+len(n.htlcs)+len(n.graves)+len(n.peers) == 0 {
		return n.out
	}
	for _, k := range slices.SortedFunc(maps.Keys(n.requests), requestKey.compare) {
		row := Row{Table: TableRequest, Key: k.encode()}
		if r := n.find(k); r != nil {
			row.Value = r.encode()
		}
		n.out.Rows = append(n.out.Rows, row)
	}
	for _, k := range slices.SortedFunc(maps.Keys(n.htlcs), HTLCKey.compare) {
		row := Row{Table: TableMember, Key: k.encode()}
		if m := n.members[k]; m != nil {
			row.Value = m.encode()
		}
		n.out.Rows = append(n.out.Rows, row)
	}
	for _, k := range slices.SortedFunc(maps.Keys(n.graves), requestKey.compare) {
		row := Row{Table: TableTombstone, Key: k.encode()}
		if until, ok := n.tombs[k.peer][k.pid]; ok {
			row.Value = encodeTombstone(until)
		}
		n.out.Rows = append(n.out.Rows, row)
	}
	for _, peer := range slices.SortedFunc(maps.Keys(n.peers), compareNodes) {
		n.out.Wakes = append(n.out.Wakes, n.setWakes(peer)...)
	}
	return n.out
}

// requested takes a rod_hold. What is not signed by its payer is met with silence: an answer would go to whoever wrote the message.
func (n *turn) requested(ev Requested) {
	if !ev.Direct && VerifyHold(ev.Payload, n.cfg.LSP, ev.Peer) != nil {
		return
	}
	m, err := DecodeHold(ev.Payload)
	if err == nil && ev.Direct && m.Payer != (NodeID{}) && m.Payer != ev.Peer {
		err = fmt.Errorf("rod_hold: payer_id is not the peer")
	}
	if err == nil && len(ev.ReplyPath) > maxReplyPathSize {
		err = fmt.Errorf("reply_path length %d above maximum %d", len(ev.ReplyPath), maxReplyPathSize)
	}
	ack := Ack{PidHash: m.PidHash, MinCltvDelta: uint16(min(n.cfg.MinCltvDelta, 1<<16-1)), MaxHeldMsat: n.cfg.MaxHeldMsat}
	if err != nil {
		ack.PidHash, ack.Status, ack.Reason = pidHashIn(ev.Payload), AckMalformed, err.Error()
	} else if r, status, reason := n.arm(ev, m); status != AckOK {
		ack.Status, ack.Reason = status, reason
	} else {
		ack.Deadline, ack.ArmedUntil = r.deadline, uint64(r.armedUntil)
	}
	if ack.Status != AckOK {
		n.news(NewsRefused, ev.Peer, ack.PidHash, ack.Status.String())
	}
	if ack.PidHash == ([32]byte{}) || ev.ReplyPath == nil && !ev.Direct {
		return
	}
	path := ev.ReplyPath
	if ev.Direct {
		path = nil
	}
	n.out.Replies = append(n.out.Replies, Reply{ev.Peer, path, TypeHoldAck, ack.Encode()})
}

// pidHashIn reads a pid_hash out of a rod_hold that cannot be read as a whole, or gives zeros.
func pidHashIn(payload []byte) (h [32]byte) {
	records, _ := readStream(payload)
	for _, r := range records {
		if r.typ == 2 && len(r.value) == 32 {
			copy(h[:], r.value)
		}
	}
	return h
}

// arm makes the request m asks for, or finds the one it repeats, or says why not.
func (n *turn) arm(ev Requested, m HoldRequest) (*request, AckStatus, string) {
	key := requestKey{ev.Peer, m.PidHash}
	content := sha256.Sum256(ev.Payload)
	r := n.find(key)
	switch {
	case r != nil && r.live() && r.content == content:
		return r, AckOK, ""
	case r != nil && (!r.live() || r.content != [32]byte{}):
		return nil, AckDuplicate, "pid_hash has a request with other content"
	case n.entombed(key):
		return nil, AckDuplicate, "pid_hash is finished"
	case !n.cfg.Enabled:
		return nil, AckDisabled, "holds are disabled"
	case !ev.HasChannel:
		return nil, AckNoChannel, "no usable channel with the payer"
	case !n.take(ev.Peer):
		return nil, AckLimit, "too many requests"
	}
	for _, h := range m.Hashes {
		if other := n.byHash[HoldKey{ev.Peer, h}]; other != nil && other != r {
			return nil, AckDuplicate, "a hash has a live request"
		}
	}
	deadline := n.height + n.cfg.DefaultHold
	if m.Deadline != 0 {
		deadline = min(m.Deadline, n.height+n.cfg.MaxHold)
	}
	if deadline < n.height+minHoldBlocks {
		return nil, AckDeadline, fmt.Sprintf("release_deadline %d less than %d blocks above height %d", m.Deadline, minHoldBlocks, n.height)
	}
	if r != nil {
		return n.adopt(r, content, deadline, m, ev.ReplyPath)
	}
	if err := n.roomForRequest(ev.Peer); err != nil {
		return nil, AckLimit, err.Error()
	}
	ttl := n.cfg.ArmedTTL
	if m.ArmedTTL != 0 {
		ttl = min(int64(m.ArmedTTL), n.cfg.MaxArmedTTL)
	}
	r = &request{requestKey: key, content: content, hashes: slices.Clone(m.Hashes), total: m.TotalMsat,
		asked: m.Deadline != 0, deadline: deadline, armedUntil: n.now + ttl, replyPath: slices.Clone(ev.ReplyPath)}
	n.index(r)
	n.touch(r)
	n.news(NewsArmed, r.peer, r.pid, "")
	return r, AckOK, ""
}

// adopt gives a request that an HTLC's own TLV made the content of the rod_hold that came after it.
func (n *turn) adopt(r *request, content [32]byte, deadline uint32, m HoldRequest, path []byte) (*request, AckStatus, string) {
	hashes := slices.Clone(r.hashes)
	for _, h := range m.Hashes {
		if !slices.Contains(hashes, h) {
			hashes = append(hashes, h)
		}
	}
	if len(hashes) > maxHashes {
		return nil, AckDuplicate, "too many hashes together with those of its HTLCs"
	}
	for _, h := range hashes {
		n.byHash[HoldKey{r.peer, h}] = r
	}
	r.content, r.hashes, r.total, r.replyPath = content, hashes, m.TotalMsat, slices.Clone(path)
	if m.Deadline != 0 && (!r.asked || deadline < r.deadline) {
		r.deadline = min(r.deadline, deadline)
		r.asked = true
		for _, h := range r.members {
			if h.deadline > r.deadline {
				h.deadline = r.deadline
				n.touchMember(h)
			}
		}
	}
	n.touch(r)
	return r, AckOK, ""
}

// cancelRequested takes a rod_cancel. Only what is not released can be taken back.
func (n *turn) cancelRequested(ev CancelRequested) {
	if !ev.Direct && VerifyCancel(ev.Payload, n.cfg.LSP, ev.Peer) != nil {
		return
	}
	m, err := DecodeCancel(ev.Payload)
	if err != nil || ev.Direct && m.Payer != (NodeID{}) && m.Payer != ev.Peer {
		return
	}
	key := requestKey{ev.Peer, m.PidHash}
	state := StatusCancelled
	switch r := n.find(key); {
	case r == nil && !n.entombed(key):
		// It may have overtaken its request, which must not be armed when it comes.
		if !ev.HasChannel || !n.take(ev.Peer) {
			state = StatusFailed
			break
		}
		n.bury(key)
	case r != nil && r.state == Armed:
		n.end(r, Withdrawn, StatusCancelled)
	case r != nil && r.state == Released:
		state = StatusReleased
		n.send(r, n.status(r, state))
	case r != nil:
		state = r.told
	}
	if ev.Direct {
		s := Status{PidHash: m.PidHash, State: state, Height: n.height}
		n.out.Replies = append(n.out.Replies, Reply{ev.Peer, nil, TypeStatus, s.Encode()})
	}
}

// unblock releases what the pid's request holds. An unknown, finished or another's pid changes nothing and is answered nothing.
func (n *turn) unblock(ev Unblock) {
	hash := PidHash(ev.Pid)
	all := slices.Clone(n.byPid[hash])
	for _, r := range all {
		switch {
		case ev.Next != (NodeID{}) && ev.Next != r.peer:
			n.news(NewsBadSource, r.peer, hash, "")
		case r.state != Armed || r.unblocked != 0:
			n.news(NewsDuplicate, r.peer, hash, "")
		case len(r.members) > 0 && !r.complete(0) && n.cfg.PartsWait > 0:
			r.unblocked = max(n.now, 1)
			n.touch(r)
			n.news(NewsEarly, r.peer, hash, "")
		default:
			n.release(r)
			n.news(NewsReleased, r.peer, hash, "")
		}
	}
	if len(all) == 0 {
		n.news(NewsUnknown, NodeID{}, hash, "")
	}
}

func (n *turn) news(what What, peer NodeID, pidHash [32]byte, reason string) {
	n.out.News = append(n.out.News, News{what, peer, pidHash, reason})
}

// release lets all parts go together. Parts that come later pass.
func (n *turn) release(r *request) {
	r.state, r.unblocked = Released, 0
	n.touch(r)
	for _, m := range r.members {
		if k := (HoldKey{r.peer, m.hash}); !slices.Contains(n.out.Released, k) {
			n.out.Released = append(n.out.Released, k)
		}
	}
	n.tell(r, StatusReleased)
	n.conclude(r)
}

// member takes a committed HTLC into its request.
func (n *turn) member(h HTLC) {
	if n.members[h.Key()] != nil {
		return
	}
	v := n.Judge(h, n.height)
	if v.Kind == GiveUp {
		n.out.GiveUp = append(n.out.GiveUp, GivenUp{h.Key(), v.ExpiryTooSoon, v.Reason})
		return
	}
	if !v.Member {
		return
	}
	r, _ := n.match(h)
	if r == nil {
		r = n.armByTLV(h)
	}
	m := &member{requestKey: r.requestKey, key: h.Key(), hash: h.Hash, amount: h.Amount, expiry: h.Expiry, deadline: v.Deadline, request: r}
	n.members[m.key] = m
	at, _ := slices.BinarySearchFunc(r.members, m, func(a, b *member) int { return a.key.compare(b.key) })
	r.members = slices.Insert(r.members, at, m)
	r.joined = true
	// Later parts of a payment whose HTLCs name their request are found by hash too.
	k := HoldKey{r.peer, h.Hash}
	if r.content == ([32]byte{}) && n.byHash[k] == nil && len(r.hashes) < maxHashes {
		r.hashes = append(r.hashes, h.Hash)
		n.byHash[k] = r
	}
	n.touch(r)
	n.touchMember(m)
	switch {
	case v.Kind == Pass && r.state == Armed:
		n.release(r)
	case r.state == Armed:
		r.told = StatusHolding
		n.send(r, n.status(r, StatusHolding))
	}
}

// armByTLV makes the request that an HTLC's own TLV asks for.
func (n *turn) armByTLV(h HTLC) *request {
	r := &request{requestKey: requestKey{h.Peer, h.Hold.PidHash}, hashes: [][32]byte{h.Hash},
		asked: h.Hold.Deadline != 0, deadline: n.height + n.cfg.DefaultHold, armedUntil: n.now + n.cfg.ArmedTTL}
	if r.asked {
		r.deadline = min(h.Hold.Deadline, n.height+n.cfg.MaxHold)
	}
	n.index(r)
	n.news(NewsArmed, r.peer, r.pid, "")
	return r
}

func (n *turn) fulfilled(k HTLCKey) {
	m := n.members[k]
	if m == nil || m.stage == memberFulfilled {
		return
	}
	m.stage = memberFulfilled
	n.touchMember(m)
	n.tell(m.request, StatusSettled)
	n.conclude(m.request)
	if n.mustClaim(m) {
		n.out.Claim = append(n.out.Claim, k.Channel)
	}
}

func (n *turn) failed(k HTLCKey) {
	m := n.members[k]
	if m == nil || m.stage != memberOpen {
		return
	}
	m.stage = memberFailed
	n.touchMember(m)
	n.conclude(m.request)
	for _, o := range m.request.members {
		if o.stage != memberFailed {
			return
		}
	}
	if n.height >= m.deadline {
		n.tell(m.request, StatusExpired)
	} else {
		n.tell(m.request, StatusFailed)
	}
}

func (n *turn) declined(k HTLCKey) {
	m := n.members[k]
	if m == nil || m.stage != memberOpen || m.void || m.request.state != Armed {
		return
	}
	if slices.ContainsFunc(m.request.members, func(o *member) bool { return o.stage == memberFulfilled }) {
		return // a known preimage ends every discussion
	}
	n.end(m.request, Withdrawn, StatusFailed)
}

// conclude ends a released request whose last member got an outcome. Its row stays until the payer has them all.
func (n *turn) conclude(r *request) {
	if r.state == Released && !r.over && r.decided() {
		n.unmatch(r)
		r.over = true
		n.bury(r.requestKey)
		n.touch(r)
	}
}

// ended forgets a member. With the last one its request ends.
func (n *turn) ended(k HTLCKey, settled bool) {
	m := n.members[k]
	if m == nil {
		return
	}
	r := m.request
	delete(n.members, k)
	n.touchMember(m)
	r.members = slices.DeleteFunc(r.members, func(o *member) bool { return o == m })
	r.settled = r.settled || settled
	n.touch(r)
	if len(r.members) > 0 {
		n.conclude(r)
		return
	}
	if r.live() {
		if r.settled {
			n.tell(r, StatusSettled)
		} else {
			n.tell(r, StatusFailed)
		}
		n.unmatch(r)
		n.bury(r.requestKey)
	}
	n.drop(r)
}

// end takes a live request out of use and gives up what it holds.
func (n *turn) end(r *request, state State, status StatusState) {
	n.tell(r, status)
	if state == Expired {
		n.news(NewsExpired, r.peer, r.pid, "")
	} else {
		n.news(NewsWithdrawn, r.peer, r.pid, status.String())
	}
	r.state, r.unblocked = state, 0
	n.unmatch(r)
	n.bury(r.requestKey)
	n.touch(r)
	for _, m := range r.members {
		if m.void || m.stage != memberOpen {
			continue
		}
		v := n.judgeMember(m, n.height)
		n.out.GiveUp = append(n.out.GiveUp, GivenUp{m.key, v.ExpiryTooSoon, v.Reason})
	}
	if len(r.members) == 0 {
		n.drop(r)
	}
}

// bury writes a tombstone.
func (n *turn) bury(k requestKey) {
	n.entomb(k, n.now+n.cfg.Tombstone)
	n.touchGrave(k)
	graves := n.tombs[k.peer]
	if len(graves) <= n.cfg.TombstonesPerPeer {
		return
	}
	oldest := k
	for pid, until := range graves {
		o := requestKey{k.peer, pid}
		if until < graves[oldest.pid] || until == graves[oldest.pid] && o.compare(oldest) < 0 {
			oldest = o
		}
	}
	n.unbury(oldest)
}

func (n *turn) unbury(k requestKey) {
	delete(n.tombs[k.peer], k.pid)
	if len(n.tombs[k.peer]) == 0 {
		delete(n.tombs, k.peer)
	}
	n.touchGrave(k)
}
