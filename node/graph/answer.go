package graph

import (
	"slices"

	"github.com/lightningnetwork/lnd/lnwire"
)

// answerRange answers a query_channel_range. Replies follow each other without gaps: each begins at the block at which the
// one before ended, which may be the same block if its channels did not fit into one reply, and the last one reaches
// the end of what was asked. Channels that are spent or of which no update is known are not worth naming.
func (g *Graph) answerRange(q *QueryChannelRange, ours bool) (out []Message) {
	end := uint64(q.First) + uint64(q.Number) // the block after the last
	var ids []lnwire.ShortChannelID
	if ours {
		ids = g.within(q.First, end)
	}
	chunk := replyChunk
	if q.Options&(WantTimestamps|WantChecksums) != 0 {
		chunk = replyChunkTLVs
	}
	for first, last := uint64(q.First), false; !last; {
		n := min(len(ids), chunk)
		last = n == len(ids)
		next := end
		if !last {
			next = uint64(ids[n].BlockHeight) // where the next reply goes on
		}
		r := &ReplyChannelRange{Chain: q.Chain, First: uint32(first), Number: uint32(next - first), Complete: last, SCIDs: ids[:n]}
		if !last && uint64(ids[n-1].BlockHeight) == next {
			r.Number++
		}
		g.extend(r, q.Options)
		out = append(out, r.Message())
		first, ids = next, ids[n:]
	}
	return out
}

// within is the public channels worth naming of blocks first <= height < end.
func (g *Graph) within(first uint32, end uint64) (ids []lnwire.ShortChannelID) {
	i, _ := slices.BinarySearchFunc(g.scids, lnwire.ShortChannelID{BlockHeight: first}, compareSCID)
	for _, scid := range g.scids[i:] {
		if uint64(scid.BlockHeight) >= end {
			break
		}
		if e := g.channels[scid]; e.worth() {
			ids = append(ids, scid)
		}
	}
	return ids
}

// worth: BOLT 7 has an announcement not sent without an update, or once the funding output is spent.
func (e *edge) worth() bool { return e.spent == 0 && (e.updates[0] != nil || e.updates[1] != nil) }

func (g *Graph) extend(r *ReplyChannelRange, options uint64) {
	if len(r.SCIDs) == 0 {
		return
	}
	for _, scid := range r.SCIDs {
		var timestamps, checksums [2]uint32
		for d, u := range g.channels[scid].updates {
			if u != nil {
				timestamps[d], checksums[d] = u.Timestamp, u.Checksum()
			}
		}
		if options&WantTimestamps != 0 {
			r.Timestamps = append(r.Timestamps, timestamps)
		}
		if options&WantChecksums != 0 {
			r.Checksums = append(r.Checksums, checksums)
		}
	}
}

// answering is a query_short_channel_ids on its way: the channels one by one, then their nodes, each once, then the end.
type answering struct {
	query *QueryShortChannelIDs
	at    int
	nodes map[NodeID]bool
}

func (a *answering) next(g *Graph) (out []Message, end bool) {
	if a.at == len(a.query.SCIDs) {
		ids := make([]NodeID, 0, len(a.nodes))
		for id := range a.nodes {
			ids = append(ids, id)
		}
		slices.SortFunc(ids, compareNode)
		for _, id := range ids {
			if n := g.nodes[id]; n != nil && n.announcement != nil && n.announcement.hostnames <= 1 {
				out = append(out, n.announcement.Message())
			}
		}
		return append(out, (&ReplyShortChannelIDsEnd{Chain: a.query.Chain, Full: true}).Message()), true
	}
	e, flags := g.channels[a.query.SCIDs[a.at]], uint64(wantAll)
	if a.query.Flags != nil {
		flags = a.query.Flags[a.at]
	}
	a.at++
	if e == nil {
		return nil, false
	}
	if flags&WantAnnouncement != 0 {
		out = append(out, e.announcement.Message())
	}
	for d, u := range e.updates {
		if u != nil && flags&(WantUpdate1<<d) != 0 {
			out = append(out, u.Message())
		}
		if flags&(WantNode1<<d) != 0 {
			a.nodes[e.announcement.Nodes[d]] = true
		}
	}
	return out, false
}

// backlog is what a gossip_timestamp_filter asks for of what is known already: channels in ascending order, then nodes. It
// goes on from the key it was at, so the Graph may change meanwhile.
type backlog struct {
	started bool
	scid    lnwire.ShortChannelID
	inNodes bool
	node    NodeID
}

func (b *backlog) next(g *Graph, f *TimestampFilter) (out []Message, end bool) {
	if b.inNodes {
		i, found := slices.BinarySearchFunc(g.ids, b.node, compareNode)
		if found {
			i++
		}
		if i == len(g.ids) {
			return nil, true
		}
		b.node = g.ids[i]
		if m := g.nodes[b.node].announcement; m != nil && m.hostnames <= 1 && f.wants(m.Timestamp) {
			out = append(out, m.Message())
		}
		return out, false
	}
	i, found := slices.BinarySearchFunc(g.scids, b.scid, compareSCID)
	if found && b.started {
		i++
	}
	if i == len(g.scids) {
		b.inNodes = true
		return nil, false
	}
	b.started, b.scid = true, g.scids[i]
	return g.channels[b.scid].within(f), false
}

// within is the announcement and those updates that the filter wants; the announcement counts as old as any of its updates.
func (e *edge) within(f *TimestampFilter) (out []Message) {
	for _, u := range e.updates {
		if u == nil || e.spent != 0 || !f.wants(u.Timestamp) {
			continue
		}
		if out == nil {
			out = append(out, e.announcement.Message())
		}
		out = append(out, u.Message())
	}
	return out
}
