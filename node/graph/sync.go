package graph

import (
	"fmt"
	"slices"

	"github.com/lightningnetwork/lnd/lnwire"
)

const (
	// Ids of one query_short_channel_ids of ours: the answer to it is some hundred kB.
	queryChunk = 500

	// Ids of one reply_channel_range, so that it fits into a message of 65535 bytes with ids alone, and with all TLVs.
	replyChunk       = 8000
	replyChunkTLVs   = 2700
	maxRangeLearnt   = 1 << 20 // ids kept from replies to one query_channel_range
	liveRange        = ^uint32(0)
	minutesOfOverlap = 10             // gossip of the last minutes may have passed while we were connecting
	oldestUpdate     = 14 * 24 * 3600 // seconds after which an update may be forgotten (BOLT 7 "Pruning the Network View")
)

// Sync is the gossip side of one connection: what the peer asked us for, and what we ask it for.
//
//	answering:  query_channel_range        replies, at once (some messages of 64 kB at most)
//	            query_short_channel_ids    the messages, through Pull, then the end
//	            gossip_timestamp_filter    what is known and within the filter, through Pull; and Wants says yes from then on
//	asking:     Start -> query_channel_range -> replies -> query_short_channel_ids, one after the other -> Done
//
// The messages asked for arrive like any gossip and go to Graph.Apply.
type Sync struct {
	peer     NodeID
	extended bool // the peer knows gossip_queries_ex

	filter  *TimestampFilter // of the peer
	answers []Message        // ready to go
	asked   *answering
	backlog *backlog

	phase   phase
	from    uint32 // reply_channel_range: blocks below are answered
	missing []want
}

type phase uint8

const (
	idle    phase = iota
	ranging       // query_channel_range is out
	asking        // query_short_channel_ids is out
	done
)

type want struct {
	scid  lnwire.ShortChannelID
	flags uint64
}

// NewSync makes the Sync of a fresh connection. extended says that both sides offer gossip_queries_ex.
func NewSync(peer NodeID, extended bool) *Sync { return &Sync{peer: peer, extended: extended} }

// Start begins to ask: for everything there is, if full, and in any case for what is new from now on. It is for peers that
// offer gossip_queries; of others BOLT 7 says they are not worth it. now is UNIX time in seconds.
func (s *Sync) Start(g *Graph, full bool, now int64) []Message {
	first := now - 60*minutesOfOverlap
	if full {
		first = min(first, g.newest(now))
	}
	filter := &TimestampFilter{Chain: g.cfg.Chain, First: uint32(max(0, first)), Range: liveRange}
	out := []Message{filter.Message()}
	if full && (s.phase == idle || s.phase == done) {
		q := &QueryChannelRange{Chain: g.cfg.Chain, First: 0, Number: ^uint32(0)}
		if s.extended {
			q.Options = WantTimestamps | WantChecksums
		}
		s.phase, s.from, s.missing = ranging, 0, nil
		out = append(out, q.Message())
	}
	return out
}

// newest is the time of the newest update of others that is known, and within reason. The filter of a full Start goes back to it: LDK
// does not answer query_short_channel_ids, and sends what it knows only to a first filter that begins more than six hours ago.
func (g *Graph) newest(now int64) int64 {
	t := now - oldestUpdate
	for scid, e := range g.channels {
		if g.ownSCID[scid] != nil {
			continue
		}
		for _, u := range e.updates {
			if u != nil {
				t = max(t, int64(u.Timestamp))
			}
		}
	}
	return t
}

// Mute asks the peer to be silent: enough other peers tell us the news.
func (s *Sync) Mute(g *Graph) []Message {
	return []Message{(&TimestampFilter{Chain: g.cfg.Chain, First: ^uint32(0), Range: 0}).Message()}
}

// Done says that everything the peer offered when Start was called has been asked for and sent.
func (s *Sync) Done() bool { return s.phase == done }

// Wants says whether a relayed message goes to this peer (BOLT 7 "The gossip_timestamp_filter Message"): our own always,
// others' only within the filter, and nothing before there is one.
func (s *Sync) Wants(r Relay) bool {
	return r.Own || r.From != s.peer && s.filter != nil && s.filter.wants(r.Timestamp)
}

// Receive takes a query or an answer to one, and gives what is to be sent at once; more may wait for Pull. An error says
// what the peer did wrong, for a warning.
func (s *Sync) Receive(g *Graph, typ uint16, body []byte) ([]Message, error) {
	q, err := ParseQuery(typ, body)
	if err != nil {
		return nil, err
	}
	ours := q.chain() == g.cfg.Chain
	switch q := q.(type) {
	case *QueryChannelRange:
		return g.answerRange(q, ours), nil
	case *QueryShortChannelIDs:
		switch {
		case s.asked != nil:
			return nil, fmt.Errorf("query_short_channel_ids before the end of the answer to the one before")
		case !ours:
			return []Message{(&ReplyShortChannelIDsEnd{Chain: q.Chain}).Message()}, nil
		}
		s.asked = &answering{query: q, nodes: map[NodeID]bool{}}
	case *TimestampFilter:
		if ours {
			s.filter, s.backlog = q, nil
			if q.Range > 0 {
				s.backlog = &backlog{}
			}
		}
	case *ReplyChannelRange:
		if ours {
			return s.learn(g, q)
		}
	case *ReplyShortChannelIDsEnd:
		if ours && s.phase == asking {
			return s.ask(g), nil
		}
	}
	return nil, nil
}

// Pending says that Pull has something.
func (s *Sync) Pending() bool { return len(s.answers) > 0 || s.asked != nil || s.backlog != nil }

// Pull gives about budget bytes of what the peer asked for. A full answer can be many megabytes, so the caller takes as
// much as the connection has room for, and comes back.
func (s *Sync) Pull(g *Graph, budget int) (out []Message) {
	for size := 0; size < budget; {
		if len(s.answers) == 0 && !s.produce(g) {
			break
		}
		for len(s.answers) > 0 && size < budget {
			size += 2 + len(s.answers[0].Body)
			out = append(out, s.answers[0])
			s.answers = s.answers[1:]
		}
	}
	return out
}

// produce makes the next answers; false when there is nothing to do.
func (s *Sync) produce(g *Graph) bool {
	switch {
	case s.asked != nil:
		var end bool
		if s.answers, end = s.asked.next(g); end {
			s.asked = nil
		}
	case s.backlog != nil:
		var end bool
		if s.answers, end = s.backlog.next(g, s.filter); end {
			s.backlog = nil
		}
	default:
		return false
	}
	return true
}

// learn takes a part of the answer to our query_channel_range. Parts come in ascending order; the answer is whole when the
// last block is covered, whatever sync_complete says (it has meant different things).
func (s *Sync) learn(g *Graph, r *ReplyChannelRange) ([]Message, error) {
	if s.phase != ranging {
		return nil, fmt.Errorf("reply_channel_range without a query")
	}
	if r.First < s.from {
		return nil, fmt.Errorf("reply_channel_range: first_blocknum %d below %d of the reply before", r.First, s.from)
	}
	s.from = r.First
	for i, scid := range r.SCIDs {
		if flags := g.lacks(scid, r, i); flags != 0 && len(s.missing) < maxRangeLearnt {
			s.missing = append(s.missing, want{scid, flags})
		}
	}
	if uint64(r.First)+uint64(r.Number) < uint64(^uint32(0)) {
		return nil, nil
	}
	slices.SortFunc(s.missing, func(a, b want) int { return compareSCID(a.scid, b.scid) })
	s.missing = slices.CompactFunc(s.missing, func(a, b want) bool { return a.scid == b.scid })
	s.phase = asking
	return s.ask(g), nil
}

// lacks says what to ask for, given the i-th channel of a reply: all of an unknown channel, and those updates that the peer
// has newer and different.
func (g *Graph) lacks(scid lnwire.ShortChannelID, r *ReplyChannelRange, i int) (flags uint64) {
	e := g.channels[scid]
	switch {
	case e == nil && g.pending[scid] != nil:
		return 0
	case e == nil:
		return wantAll
	case r.Timestamps == nil:
		return 0
	}
	for d, u := range e.updates {
		if theirs := r.Timestamps[i][d]; theirs == 0 || u != nil && theirs <= u.Timestamp {
			continue
		}
		if u != nil && r.Checksums != nil && r.Checksums[i][d] == u.Checksum() {
			continue
		}
		flags |= WantUpdate1 << d
	}
	return flags
}

// ask sends the next query_short_channel_ids, or ends.
func (s *Sync) ask(g *Graph) []Message {
	n := min(len(s.missing), queryChunk)
	if n == 0 {
		s.phase, s.missing = done, nil
		return nil
	}
	q := &QueryShortChannelIDs{Chain: g.cfg.Chain}
	for _, w := range s.missing[:n] {
		q.SCIDs = append(q.SCIDs, w.scid)
		if s.extended {
			q.Flags = append(q.Flags, w.flags)
		}
	}
	s.missing = s.missing[n:]
	return []Message{q.Message()}
}
