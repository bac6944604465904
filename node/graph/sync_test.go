package graph

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/lightningnetwork/lnd/lnwire"
)

// converse lets a, who knows from, ask b, who knows to, until all is quiet, and gives what a was told. Everything is parsed
// and applied as on a wire.
func converse(t *testing.T, from *Graph, a *Sync, to *Graph, b *Sync, first []Message) (told []Message) {
	t.Helper()
	queue := first // from a to b
	for rounds := 0; len(queue) > 0 || b.Pending(); rounds++ {
		if rounds > 10000 {
			t.Fatal("the conversation does not end")
		}
		var answers []Message
		for _, m := range queue {
			more, err := b.Receive(to, m.Type, m.Body)
			must(t, err)
			answers = append(answers, more...)
		}
		queue = nil
		answers = append(answers, b.Pull(to, 3000)...)
		for _, m := range answers {
			if len(m.Body) > 65533 {
				t.Fatalf("message of %d bytes", len(m.Body))
			}
			if m.Type <= TypeChannelUpdate {
				g, err := Parse(m.Type, m.Body)
				must(t, err)
				told = append(told, m)
				out, err := from.Apply(id(peer), g, now)
				must(t, err)
				for _, c := range out.Checks {
					from.Checked(funding(int(c.SCID.BlockHeight)), now)
				}
				continue
			}
			more, err := a.Receive(from, m.Type, m.Body)
			must(t, err)
			queue = append(queue, more...)
		}
	}
	return told
}

func TestSyncFromNothing(t *testing.T) {
	for _, extended := range []bool{false, true} {
		t.Run(fmt.Sprintf("extended=%v", extended), func(t *testing.T) {
			full, empty := newGraph(), newGraph()
			for i := range 12 {
				learn(t, full, announce(t, 4+i, 5+i, 600+i))
				if i == 0 {
					continue // no update: not worth telling
				}
				learn(t, full, update(t, 4+i, 5+i, 600+i, 0), update(t, 5+i, 4+i, 600+i, 0))
				if i%2 == 0 {
					learn(t, full, describe(t, 4+i, 0))
				}
			}
			full.Spent(scid(611), 1)
			a, b := NewSync(id(peer), extended), NewSync(id(3), extended)
			start := a.Start(empty, true, now)
			// The filter is of the future only: what there is comes by queries.
			start[0] = (&TimestampFilter{chain, uint32(now) + 1, liveRange}).Message()
			converse(t, empty, a, full, b, start)
			if !a.Done() {
				t.Fatal("not done")
			}
			checkShape(t, empty)
			want := slices.Clone(full.scids[1:11])
			if diff := cmp.Diff(want, empty.scids); diff != "" {
				t.Fatal(diff)
			}
			for _, scid := range want {
				if diff := cmp.Diff(full.channels[scid].updates[0].body, empty.channels[scid].updates[0].body); diff != "" {
					t.Fatal(diff)
				}
			}
			if n := empty.nodes[id(6)]; n.announcement == nil {
				t.Fatal("no node_announcement")
			}
			// A second time there is nothing to ask for.
			again := a.Start(empty, true, now)
			if told := converse(t, empty, a, full, b, again[1:]); len(told) > 0 || !a.Done() {
				t.Fatalf("told %d messages again", len(told))
			}
		})
	}
}

// With gossip_queries_ex only updates that are newer and different are asked for.
// A full Start has the filter begin where knowledge ends, for peers that answer no queries; another one asks for news only.
func TestFilterBeginsWhereKnowledgeEnds(t *testing.T) {
	const news, two = now - 60*minutesOfOverlap, now - oldestUpdate
	known := func(at int64) *Graph {
		g := newGraph()
		learn(t, g, announce(t, 4, 5, 600), update(t, 4, 5, 600, at-now))
		return g
	}
	for _, tc := range []struct {
		name  string
		graph *Graph
		full  bool
		want  int64
	}{
		{"nothing known", newGraph(), true, two},
		{"nothing known, news only", newGraph(), false, news},
		{"a day behind", known(now - 86400), true, now - 86400},
		{"a day behind, news only", known(now - 86400), false, news},
		{"up to date", known(now), true, news},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q, err := ParseQuery(TypeTimestampFilter, NewSync(id(peer), false).Start(tc.graph, tc.full, now)[0].Body)
			must(t, err)
			if f := q.(*TimestampFilter); int64(f.First) != tc.want {
				t.Errorf("first_timestamp is %d s ago, want %d", now-int64(f.First), now-tc.want)
			}
		})
	}
}

func TestSyncAsksForNewerUpdates(t *testing.T) {
	ours, theirs := newGraph(), newGraph()
	for _, g := range []*Graph{ours, theirs} {
		learn(t, g, announce(t, 4, 5, 600), update(t, 4, 5, 600, -90000), update(t, 5, 4, 600, -90000))
	}
	changed := update(t, 5, 4, 600, 0, func(u *UpdateTemplate) { u.Policy.FeeBase = 9 })
	learn(t, theirs, update(t, 4, 5, 600, 0), changed) // the first says nothing new
	a, b := NewSync(id(peer), true), NewSync(id(3), true)
	told := converse(t, ours, a, theirs, b, a.Start(ours, true, now)[1:])
	if diff := cmp.Diff([]Message{changed.Message()}, told); diff != "" {
		t.Fatal(diff)
	}
}

// The channels of a reply come in any order, twice even: what is asked for is in order, and each once.
func TestSyncTakesChannelsInAnyOrder(t *testing.T) {
	ours := newGraph()
	a := NewSync(id(peer), true)
	a.Start(ours, true, now)
	reply := &ReplyChannelRange{Chain: chain, Number: ^uint32(0), Complete: true, SCIDs: []lnwire.ShortChannelID{scid(602), scid(600), scid(601), scid(600)}}
	m := reply.Message()
	asked, err := a.Receive(ours, m.Type, m.Body)
	must(t, err)
	if len(asked) != 1 {
		t.Fatalf("%d messages", len(asked))
	}
	q, err := ParseQuery(asked[0].Type, asked[0].Body)
	must(t, err)
	if diff := cmp.Diff([]lnwire.ShortChannelID{scid(600), scid(601), scid(602)}, q.(*QueryShortChannelIDs).SCIDs); diff != "" {
		t.Fatal(diff)
	}
}

func TestBacklogOfFilter(t *testing.T) {
	g, empty := newGraph(), newGraph()
	learn(t, g, announce(t, 4, 5, 600), update(t, 4, 5, 600, -100), update(t, 5, 4, 600, 0), describe(t, 4, -100), describe(t, 5, 0),
		announce(t, 5, 6, 601), announce(t, 6, 7, 602), update(t, 6, 7, 602, -50))
	tests := []struct {
		name           string
		first, seconds uint32
		want           []uint16
	}{
		{"everything", 0, ^uint32(0), []uint16{256, 258, 258, 256, 258, 257, 257}},
		{"the newest", uint32(now), ^uint32(0), []uint16{256, 258, 257}},
		{"the end is exclusive", uint32(now - 100), 50, []uint16{256, 258, 257}},
		{"nothing", ^uint32(0), 0, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := NewSync(id(3), false)
			var got []uint16
			for _, m := range converse(t, empty, NewSync(id(peer), false), g, b, []Message{(&TimestampFilter{chain, test.first, test.seconds}).Message()}) {
				got = append(got, m.Type)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

// A backlog goes on rightly when channels come and go while it is sent.
func TestBacklogWhileGraphChanges(t *testing.T) {
	g := newGraph()
	for i := range 8 {
		learn(t, g, announce(t, 4+i, 5+i, 600+2*i), update(t, 4+i, 5+i, 600+2*i, 0))
	}
	s := NewSync(id(3), false)
	_, err := s.Receive(g, TypeTimestampFilter, (&TimestampFilter{chain, 0, ^uint32(0)}).Message().Body)
	must(t, err)
	seen := map[int]bool{}
	for step := 0; s.Pending(); step++ {
		for _, m := range s.Pull(g, 1) {
			if m.Type == TypeChannelAnnouncement {
				a, err := parseChannelAnnouncement(m.Body)
				must(t, err)
				if block := int(a.SCID.BlockHeight); seen[block] {
					t.Fatalf("block %d twice", block)
				} else {
					seen[block] = true
				}
			}
		}
		if step == 6 {
			g.remove(g.channels[scid(606)]) // just sent
			learn(t, g, announce(t, 30, 31, 601), announce(t, 30, 31, 613), update(t, 30, 31, 613, 0))
		}
	}
	if len(seen) != 9 || !seen[613] {
		t.Fatalf("seen %v", seen)
	}
}

func TestRangeRepliesCoverTheRange(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	g := newGraph()
	u := update(t, 4, 5, 1, 0)
	a := announce(t, 4, 5, 1)
	n := 0
	for block := 100; n < 20000; block += 1 + rng.IntN(3) {
		size := rng.IntN(3)
		if rng.IntN(200) == 0 {
			size = 4000 // a block that does not fit into one reply with TLVs
		}
		for i := range size {
			id := lnwire.ShortChannelID{BlockHeight: uint32(block), TxIndex: uint32(i)}
			g.channels[id] = &edge{announcement: a, updates: [2]*ChannelUpdate{u, nil}}
			g.scids = append(g.scids, id)
			n++
		}
	}
	last := g.scids[len(g.scids)-1].BlockHeight
	for _, q := range []QueryChannelRange{
		{chain, 0, ^uint32(0), 0}, {chain, 100, ^uint32(0), 3}, {chain, ^uint32(0), ^uint32(0), 0}, {chain, 0, 1, 3},
		{chain, 150, 1, 3}, {chain, 101, last - 150, 1}, {chain, 101, last - 150, 2}, {chain, 100, last - 99, 0},
	} {
		t.Run(fmt.Sprintf("%d+%d options %d", q.First, q.Number, q.Options), func(t *testing.T) {
			var got []lnwire.ShortChannelID
			end := uint64(q.First) + uint64(q.Number)
			covered := uint64(q.First) // the first block not yet covered
			replies := g.answerRange(&q, true)
			for i, m := range replies {
				if len(m.Body) > 65533 {
					t.Fatalf("reply of %d bytes", len(m.Body))
				}
				p, err := ParseQuery(m.Type, m.Body)
				must(t, err)
				r := p.(*ReplyChannelRange)
				if uint64(r.First) != covered && uint64(r.First)+1 != covered || r.Number == 0 && q.Number > 0 && i == 0 {
					t.Fatalf("reply %d begins at %d, %d was next", i, r.First, covered)
				}
				covered = uint64(r.First) + uint64(r.Number)
				if r.Complete != (i == len(replies)-1) {
					t.Fatalf("reply %d of %d: sync_complete %v", i, len(replies), r.Complete)
				}
				for _, id := range r.SCIDs {
					if id.BlockHeight < r.First || uint64(id.BlockHeight) >= covered {
						t.Fatalf("%s in the reply for %d..%d", id.AltString(), r.First, covered)
					}
				}
				if want := q.Options & WantTimestamps; (want != 0 && len(r.SCIDs) > 0) != (r.Timestamps != nil) {
					t.Fatal("timestamps")
				}
				if want := q.Options & WantChecksums; (want != 0 && len(r.SCIDs) > 0) != (r.Checksums != nil) {
					t.Fatal("checksums")
				}
				got = append(got, r.SCIDs...)
			}
			if covered < end {
				t.Fatalf("covered up to %d of %d", covered, end)
			}
			var want []lnwire.ShortChannelID
			for _, id := range g.scids {
				if id.BlockHeight >= q.First && uint64(id.BlockHeight) < end {
					want = append(want, id)
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%d channels, want %d", len(got), len(want))
			}
		})
	}
}

func TestQueryFlagsChooseMessages(t *testing.T) {
	g := newGraph()
	learn(t, g, announce(t, 4, 5, 600), update(t, 4, 5, 600, 0), update(t, 5, 4, 600, 0), describe(t, 4, 0), describe(t, 5, 0))
	e := g.channels[scid(600)]
	one, two := e.updates[0].Message(), e.updates[1].Message()
	nodeOne, nodeTwo := e.nodes[0].announcement.Message(), e.nodes[1].announcement.Message()
	end := (&ReplyShortChannelIDsEnd{chain, true}).Message()
	for _, test := range []struct {
		flags []uint64
		want  []Message
	}{
		{nil, []Message{e.announcement.Message(), one, two}},
		{[]uint64{WantAnnouncement, 0}, []Message{e.announcement.Message()}},
		{[]uint64{WantUpdate1, 0}, []Message{one}},
		{[]uint64{WantUpdate2, 0xff}, []Message{two}},
		{[]uint64{WantNode1, 0}, []Message{nodeOne}},
		{[]uint64{WantNode2, 0}, []Message{nodeTwo}},
		{[]uint64{0, 0}, nil},
	} {
		s := NewSync(id(3), true)
		q := &QueryShortChannelIDs{chain, []lnwire.ShortChannelID{scid(600), scid(999)}, test.flags}
		_, err := s.Receive(g, q.Message().Type, q.Message().Body)
		must(t, err)
		got := s.Pull(g, 1<<20)
		want := append(slices.Clone(test.want), end)
		if test.flags == nil { // both nodes, in the order of their ids
			want = slices.Insert(want, 3, nodeOne, nodeTwo)
		}
		if diff := cmp.Diff(want, got); diff != "" || s.Pending() {
			t.Errorf("flags %v: %s", test.flags, diff)
		}
	}
}

func TestPeersThatBreakTheRules(t *testing.T) {
	g := newGraph()
	q := (&QueryShortChannelIDs{Chain: chain, SCIDs: []lnwire.ShortChannelID{scid(1)}}).Message()
	reply := func(first, number uint32) Message {
		return (&ReplyChannelRange{Chain: chain, First: first, Number: number}).Message()
	}
	tests := []struct {
		name string
		ms   []Message
		want string
	}{
		{"query within a query", []Message{q, q}, "before the end"},
		{"reply out of order", []Message{reply(0, 10), reply(10, 10), reply(9, 10)}, "first_blocknum 9 below 10"},
		{"reply after the end", []Message{reply(0, ^uint32(0)), reply(0, 1)}, "without a query"},
		{"not a message", []Message{{TypeReplyChannelRange, nil}}, "reply_channel_range: chain_hash"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := NewSync(id(3), false)
			s.Start(g, true, now)
			for i, m := range test.ms {
				_, err := s.Receive(g, m.Type, m.Body)
				if i < len(test.ms)-1 {
					must(t, err)
				} else if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Fatal(err)
				}
			}
		})
	}
	// A chain we don't know: an empty answer, no full_information.
	s := NewSync(id(3), false)
	other := [32]byte{1}
	out, err := s.Receive(g, TypeQueryShortChannelIDs, (&QueryShortChannelIDs{Chain: other}).Message().Body)
	must(t, err)
	if diff := cmp.Diff([]Message{(&ReplyShortChannelIDsEnd{Chain: other}).Message()}, out); diff != "" {
		t.Fatal(diff)
	}
	out, err = s.Receive(g, TypeQueryChannelRange, (&QueryChannelRange{Chain: other, First: 5, Number: 6}).Message().Body)
	must(t, err)
	if diff := cmp.Diff([]Message{(&ReplyChannelRange{Chain: other, First: 5, Number: 6, Complete: true}).Message()}, out); diff != "" {
		t.Fatal(diff)
	}
}
