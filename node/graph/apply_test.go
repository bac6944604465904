package graph

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/google/go-cmp/cmp"
	"github.com/lightningnetwork/lnd/lnwire"
)

func relayed(out Output) (types []uint16) {
	for _, r := range out.Relay {
		types = append(types, r.Type)
	}
	return types
}

func TestChannelIsLearnt(t *testing.T) {
	g := newGraph()
	a := announce(t, 4, 5, 600)
	out, err := g.Apply(id(peer), a, now)
	must(t, err)
	if diff := cmp.Diff([]Check{{scid(600), a.FundingScript()}}, out.Checks); diff != "" || len(out.Rows)+len(out.Relay) > 0 {
		t.Fatalf("%s %+v", diff, out)
	}
	// What comes while the output is looked up is kept.
	for _, m := range []Gossip{update(t, 5, 4, 600, -3), update(t, 5, 4, 600, -2), describe(t, 4, -9), describe(t, 4, -8)} {
		out, err := g.Apply(id(peer), m, now)
		must(t, err)
		if out.Ignored != "" || len(out.Rows)+len(out.Relay) > 0 {
			t.Fatalf("%+v", out)
		}
	}
	checkShape(t, g)
	out = g.Checked(funding(600), now)
	if diff := cmp.Diff([]uint16{256, 258, 257}, relayed(out)); diff != "" || len(out.Rows) != 3 {
		t.Fatalf("%s %d rows", diff, len(out.Rows))
	}
	if out.Relay[0].Timestamp != uint32(now-2) || out.Relay[1].Timestamp != uint32(now-2) || out.Relay[2].Timestamp != uint32(now-8) {
		t.Fatalf("%+v", out.Relay)
	}
	// The other direction: the announcement is not passed on a second time.
	if got := relayed(learn(t, g, update(t, 4, 5, 600, 0), describe(t, 5, 0))); !slices.Equal(got, []uint16{258, 257}) {
		t.Fatal(got)
	}
	checkShape(t, g)
	if channels, nodes := g.Size(); channels != 1 || nodes != 2 {
		t.Fatal(channels, nodes)
	}
}

func TestApplyIgnoresAndRefuses(t *testing.T) {
	otherChain := func(u *UpdateTemplate) { u.Chain = chainhash.Hash{1} }
	private := func(u *UpdateTemplate) { u.Private = true }
	forged := fresh(t, update(t, 4, 5, 600, 9)).(*ChannelUpdate)
	forged.body[130] ^= 1
	badAnnouncement := fresh(t, announce(t, 4, 6, 700)).(*ChannelAnnouncement)
	badAnnouncement.body[channelSigned-1] ^= 1
	badAnnouncement = fresh(t, badAnnouncement).(*ChannelAnnouncement)
	badNode := fresh(t, describe(t, 4, 9)).(*NodeAnnouncement)
	badNode.body[104] ^= 1 // rgb_color
	tests := []struct {
		name    string
		from    int
		m       Gossip
		ignored string
		err     string
	}{
		{"known channel", peer, announce(t, 4, 5, 600), "is known", ""},
		{"own channel", peer, announce(t, self, 5, 700), "our own channel", ""},
		{"bad bitcoin signature", peer, badAnnouncement, "", "bitcoin_signature_2"},
		{"update of an unknown channel", peer, update(t, 4, 5, 601, 0), "no channel_announcement", ""},
		{"update of another chain", peer, update(t, 4, 5, 600, 9, otherChain), "chain_hash", ""},
		{"update not newer", peer, update(t, 4, 5, 600, 0), "not above", ""},
		{"update from the future", peer, update(t, 4, 5, 600, maxAhead+1), "not of this time", ""},
		{"stale update", peer, update(t, 4, 5, 600, -staleAfter-1), "older than two weeks", ""},
		{"private update of others", peer, update(t, 4, 5, 600, 9, private), "private channel of others", ""},
		{"forged update", peer, forged, "", "signature: not by key"},
		{"repetition without news", peer, update(t, 4, 5, 600, 9), "too many updates", ""},
		{"node without channels", peer, describe(t, 9, 0), "has no channel", ""},
		{"node not newer", peer, describe(t, 4, 0), "not above", ""},
		{"node from the future", peer, describe(t, 4, maxAhead+1), "not of this time", ""},
		{"our own node", peer, describe(t, self, 0), "our own", ""},
		{"forged node", peer, badNode, "", "signature"},
	}
	g := newGraph()
	learn(t, g, announce(t, 4, 5, 600), update(t, 4, 5, 600, 0), describe(t, 4, 0))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out, err := g.Apply(id(test.from), fresh(t, test.m), now)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("error %v, want %q", err, test.err)
				}
			} else {
				must(t, err)
			}
			if !strings.Contains(out.Ignored, test.ignored) || len(out.Rows)+len(out.Relay)+len(out.Checks) > 0 {
				t.Fatalf("%+v", out)
			}
			checkShape(t, g)
		})
	}
}

func TestFundingIsNotThere(t *testing.T) {
	g := newGraph()
	a := announce(t, 4, 5, 600)
	_, err := g.Apply(id(peer), a, now)
	must(t, err)
	if out, err := g.Apply(id(peer), a, now); err != nil || !strings.Contains(out.Ignored, "being checked") {
		t.Fatal(out, err)
	}
	if out := g.Checked(Funding{SCID: scid(600)}, now); len(out.Rows) > 0 || !strings.Contains(out.Ignored, "not there") {
		t.Fatal(out)
	}
	checkShape(t, g)
	if out := g.Checked(funding(600), now); out.Ignored == "" {
		t.Fatal("an answer nobody asked for was believed")
	}
	learn(t, g, fresh(t, a)) // it may be tried again
}

// Ten changes at once and one more every ten minutes; a repetition once a day.
func TestUpdatesAreLimited(t *testing.T) {
	g := newGraph()
	learn(t, g, announce(t, 4, 5, 600))
	fee := uint32(0)
	news := func(u *UpdateTemplate) { fee++; u.Policy.FeeBase = fee }
	accepted := func(at int64, change ...func(*UpdateTemplate)) bool {
		u := update(t, 4, 5, 600, at, change...)
		out, err := g.Apply(id(peer), u, now+maxAhead*10)
		must(t, err)
		return out.Ignored == ""
	}
	n := 0
	for i := range int64(30) {
		if accepted(i, news) {
			n++
		}
	}
	if n != 1+updateBurst {
		t.Fatalf("%d updates of 30 in 30 seconds", n)
	}
	if !accepted(30+updateEvery, news) {
		t.Fatal("after ten minutes not one more")
	}
	last := fee
	if accepted(31+updateEvery, news) {
		t.Fatal("after ten minutes two more")
	}
	again := func(u *UpdateTemplate) { u.Policy.FeeBase = last }
	if accepted(30+updateEvery+repeatAfter-1, again) {
		t.Fatal("a repetition within a day")
	}
	if !accepted(30+updateEvery+repeatAfter, again) {
		t.Fatal("no repetition after a day")
	}
}

// Two valid announcements of one output for different nodes.
func TestConflictingAnnouncementsBan(t *testing.T) {
	g := newGraph()
	learn(t, g, announceWith(t, 4, 5, 50, 51, 600), announce(t, 4, 6, 601), announce(t, 7, 8, 602))
	// 4 and 9 are in the same order as 4 and 5, so that the funding keys stand in the same places.
	other := 9
	for less(id(4), id(5)) != less(id(4), id(other)) {
		other++
	}
	out, err := g.Apply(id(peer), announceWith(t, 4, other, 50, 51, 600), now)
	must(t, err)
	checkShape(t, g)
	if channels, _ := g.Size(); channels != 1 || len(out.Rows) == 0 {
		t.Fatalf("%d channels left, %+v", channels, out)
	}
	for _, m := range []Gossip{announce(t, 4, 8, 603), announce(t, 5, 8, 604), announce(t, other, 8, 605)} {
		if out, err := g.Apply(id(peer), m, now); err != nil || !strings.Contains(out.Ignored, "banned") {
			t.Fatal(out, err)
		}
	}
	learn(t, g, announce(t, 6, 8, 606))
	// Without the funding keys' signatures nobody is banned.
	out, err = g.Apply(id(peer), announce(t, 6, 3, 602), now)
	if must(t, err); !strings.Contains(out.Ignored, "is known") {
		t.Fatal(out)
	}
}

func TestSpentChannelsAreForgotten(t *testing.T) {
	g, d := newGraph(), disk{}
	d.store(learn(t, g, announce(t, 4, 5, 600), update(t, 4, 5, 600, 0), describe(t, 4, 0), announce(t, 5, 6, 601)).Rows)
	if diff := cmp.Diff([]Watch{{scid(600), funding(600).Out}, {scid(601), funding(601).Out}}, g.Watches()); diff != "" {
		t.Fatal(diff)
	}
	d.store(g.Spent(scid(600), 1000))
	out, err := g.Apply(id(peer), update(t, 4, 5, 600, maxAhead, func(u *UpdateTemplate) { u.Policy.FeeBase++ }), now)
	if must(t, err); !strings.Contains(out.Ignored, "is spent") {
		t.Fatal(out)
	}
	learn(t, g, update(t, 4, 5, 600, maxAhead, func(u *UpdateTemplate) { u.Policy.Disabled = true }))

	g = d.reload(t)
	d.store(g.Unspent(scid(600)))
	d.store(g.Block(2000))
	if channels, _ := g.Size(); channels != 2 {
		t.Fatal("a channel whose spender was reorganised out is gone")
	}
	d.store(g.Spent(scid(600), 2000))
	d.store(g.Block(2000 + closedAfter - 1))
	if channels, _ := g.Size(); channels != 2 {
		t.Fatal("forgotten too early")
	}
	d.store(g.Block(2000 + closedAfter))
	checkShape(t, g)
	if channels, nodes := g.Size(); channels != 1 || nodes != 2 || len(d) != 1 {
		t.Fatalf("%d channels, %d nodes, %d rows", channels, nodes, len(d))
	}
}

func TestPrune(t *testing.T) {
	g, d := newGraph(), disk{}
	for i, m := range []*ChannelAnnouncement{announce(t, 4, 5, 600), announce(t, 5, 6, 601), announce(t, 6, 7, 602)} {
		d.store(learn(t, g, m).Rows)
		if i == 0 {
			d.store(learn(t, g, update(t, 4, 5, 600, 0), update(t, 5, 4, 600, 86400)).Rows)
		}
	}
	own := announce(t, self, 5, 603)
	out, err := g.Announce(own, funding(603), now)
	must(t, err)
	d.store(out.Rows)
	d.store(learn(t, g, update(t, 5, 6, 601, 86400)).Rows) // 6 says nothing, 7 and 6 of the third neither
	if rows := g.Prune(now + staleAfter); len(rows) > 0 {
		t.Fatal("pruned too early")
	}
	g = d.reload(t) // the time of arrival is kept
	d.store(g.Prune(now + staleAfter + 1))
	checkShape(t, g)
	if channels, nodes := g.Size(); channels != 1 || nodes != 2 || len(d) != 1 {
		t.Fatalf("%d channels, %d nodes, %d rows", channels, nodes, len(d))
	}
}

func TestRowsSurviveRestart(t *testing.T) {
	g, d := newGraph(), disk{}
	d.store(learn(t, g, announce(t, 4, 5, 600), update(t, 4, 5, 600, 0), update(t, 5, 4, 600, 0), describe(t, 4, 0), announce(t, 4, 6, 601, 0x80, 0, 0, 0, 0, 0, 0, 0, 0)).Rows)
	again := d.reload(t)
	checkShape(t, again)
	if diff := cmp.Diff(everything(g), everything(again)); diff != "" {
		t.Fatal(diff)
	}
	for _, r := range d {
		if err := again.Load(r); r.Table == TableAnnouncement && err == nil {
			t.Error("a row was loaded twice")
		}
		for _, bad := range []Row{{r.Table, r.Key, nil}, {r.Table, r.Key, r.Value[:20]}, {r.Table, []byte("key"), r.Value}, {"x", r.Key, r.Value}, {r.Table, r.Key, append([]byte{9}, r.Value[1:]...)}} {
			if err := newGraph().Load(bad); err == nil {
				t.Errorf("%s: a bad row was loaded", r.Table)
			}
		}
	}
}

// everything is what a Graph knows, as text.
func everything(g *Graph) (all []string) {
	g.Channels(func(c ChannelInfo) bool {
		all = append(all, fmt.Sprintf("%s %s %d %d", c.SCID.AltString(), c.Out, c.Capacity, c.Spent))
		for _, u := range c.Updates {
			if u != nil {
				all = append(all, fmt.Sprintf("%x", u.body))
			}
		}
		return true
	})
	g.Nodes(func(n NodeInfo) bool {
		all = append(all, fmt.Sprintf("%x", n.Node))
		if n.Announcement != nil {
			all = append(all, fmt.Sprintf("%x", n.Announcement.body))
		}
		return true
	})
	return all
}

func TestOwnChannels(t *testing.T) {
	g, d := newGraph(), disk{}
	alias := lnwire.ShortChannelID{BlockHeight: 16_000_000, TxIndex: 7}
	real := scid(600)
	private := func(s lnwire.ShortChannelID, base uint32) func(*UpdateTemplate) {
		return func(u *UpdateTemplate) { u.SCID, u.Private, u.Policy.FeeBase = s, true, base }
	}
	// Before the channel is known, and by others than the peer, private updates are of no use.
	out, err := g.Apply(id(peer), update(t, peer, self, 0, 1, private(alias, 5)), now)
	if must(t, err); out.Ignored == "" {
		t.Fatal(out)
	}
	g.SetOwn(OwnChannel{ID: 7, Peer: id(peer), SCIDs: []lnwire.ShortChannelID{alias, real}})
	if _, ok := g.PeerPolicy(7); ok {
		t.Fatal("a policy from nowhere")
	}
	forged := update(t, 5, self, 0, 2, private(alias, 6))
	forged.ChannelFlags ^= forged.ChannelFlags & 1
	if less(id(self), id(peer)) {
		forged.ChannelFlags |= 1
	}
	if _, err := g.Apply(id(peer), forged, now); err == nil {
		t.Fatal("an update that the peer did not sign was taken")
	}
	if out, err := g.Apply(id(5), update(t, peer, self, 0, 2, private(alias, 6)), now); err != nil || out.Ignored == "" {
		t.Fatal(out, err)
	}
	if out, err := g.Apply(id(peer), update(t, self, peer, 0, 2, private(alias, 6)), now); err != nil || out.Ignored == "" {
		t.Fatal(out, err)
	}

	want := func(g *Graph, base uint32) {
		t.Helper()
		if p, ok := g.PeerPolicy(7); !ok || p.FeeBase != base {
			t.Fatalf("fee_base_msat %d, %v, want %d", p.FeeBase, ok, base)
		}
	}
	tell := func(m *ChannelUpdate) {
		t.Helper()
		out, err := g.Apply(id(peer), m, now)
		must(t, err)
		if len(out.Relay) > 0 || out.Ignored != "" {
			t.Fatalf("%+v", out)
		}
		d.store(out.Rows)
	}
	tell(update(t, peer, self, 0, 1, private(alias, 10)))
	want(g, 10)
	tell(update(t, peer, self, 0, 2, private(real, 20))) // now by the real short_channel_id
	want(g, 20)
	if len(d) != 1 {
		t.Fatalf("%d rows", len(d))
	}
	g = d.reload(t)
	g.SetOwn(OwnChannel{ID: 7, Peer: id(peer), SCIDs: []lnwire.ShortChannelID{alias, real}})
	want(g, 20)

	// The channel becomes public: public updates count if they are newer.
	a := announce(t, self, peer, 600)
	out, err = g.Announce(a, funding(600), now)
	must(t, err)
	d.store(out.Rows)
	public, err := g.Apply(id(peer), update(t, peer, self, 600, 3, func(u *UpdateTemplate) { u.Policy.FeeBase = 30 }), now)
	must(t, err)
	if got := relayed(public); !slices.Equal(got, []uint16{256, 258}) || !public.Relay[0].Own || public.Relay[1].Own {
		t.Fatalf("%+v", public)
	}
	d.store(public.Rows)
	want(g, 30)
	mine, err := g.Apply(id(self), update(t, self, peer, 600, 3), now)
	if must(t, err); !mine.Relay[0].Own {
		t.Fatal("our own update is not marked as such")
	}
	d.store(mine.Rows)
	node, err := g.Apply(id(self), describe(t, self, 3), now)
	if must(t, err); !node.Relay[0].Own {
		t.Fatal("our own node_announcement is not marked as such")
	}
	if out, err := g.Apply(id(peer), update(t, self, peer, 600, 4), now); err != nil || !strings.Contains(out.Ignored, "our own") {
		t.Fatal(out, err)
	}

	d.store(g.ForgetOwn(7))
	if _, ok := g.PeerPolicy(7); ok || g.ForgetOwn(7) != nil {
		t.Fatal("not forgotten")
	}
	for k := range d {
		if k[len(k)-1] == kindPrivate && strings.HasPrefix(k, TableChannelUpdate) {
			t.Fatal("a private row is left")
		}
	}
}

func TestAnnounceChecksSignatures(t *testing.T) {
	ends := [2]ChannelEnd{{id(self), id(1001)}, {id(peer), id(1002)}}
	hash := ChannelAnnouncementDigest(chain, scid(600), nil, ends)
	sigs := [2]EndSignatures{{signer(self)(hash), signer(1001)(hash)}, {signer(peer)(hash), signer(1002)(hash)}}
	m, err := AssembleChannelAnnouncement(chain, scid(600), nil, ends, sigs)
	must(t, err)
	// The order of the ends makes no difference.
	other, err := AssembleChannelAnnouncement(chain, scid(600), nil, [2]ChannelEnd{ends[1], ends[0]}, [2]EndSignatures{sigs[1], sigs[0]})
	must(t, err)
	if !bytes.Equal(m.body, other.body) {
		t.Fatal("the order of the ends makes a difference")
	}
	for i := range 4 {
		bad := sigs
		*[]*lnwire.Sig{&bad[0].Node, &bad[0].Bitcoin, &bad[1].Node, &bad[1].Bitcoin}[i] = signer(9)(hash)
		if _, err := AssembleChannelAnnouncement(chain, scid(600), nil, ends, bad); err == nil {
			t.Errorf("signature %d is not checked", i)
		}
	}
}

func TestBroadcast(t *testing.T) {
	g := newGraph()
	var b Broadcast
	b.Add(learn(t, g, announce(t, 4, 5, 601), update(t, 4, 5, 601, 0), describe(t, 4, 0)).Relay...)
	b.Add(learn(t, g, announce(t, 5, 6, 600), update(t, 5, 6, 600, 0)).Relay...)
	newer := learn(t, g, update(t, 4, 5, 601, 1, func(u *UpdateTemplate) { u.Policy.FeeBase = 77 })).Relay
	b.Add(newer...)
	flushed := b.Flush()
	if got := relayed(Output{Relay: flushed}); !slices.Equal(got, []uint16{256, 256, 258, 258, 257}) {
		t.Fatal(got)
	}
	if !bytes.Equal(flushed[3].Body, newer[0].Body) {
		t.Fatal("the older update was kept")
	}
	if len(b.Flush()) != 0 {
		t.Fatal("flushed twice")
	}

	s := NewSync(id(9), false)
	wants := func() (n int) {
		for _, r := range flushed {
			if s.Wants(r) {
				n++
			}
		}
		return n
	}
	if wants() != 0 {
		t.Fatal("relayed without a gossip_timestamp_filter")
	}
	for _, test := range []struct {
		first, seconds uint32
		want           int
	}{{uint32(now), 1, 4}, {uint32(now), ^uint32(0), 5}, {uint32(now) + 1, 1, 1}, {0, uint32(now), 0}, {^uint32(0), 0, 0}} {
		_, err := s.Receive(g, TypeTimestampFilter, (&TimestampFilter{chain, test.first, test.seconds}).Message().Body)
		must(t, err)
		if got := wants(); got != test.want {
			t.Errorf("filter %d+%d lets %d through, want %d", test.first, test.seconds, got, test.want)
		}
	}
	s.peer = id(peer)
	s.filter = &TimestampFilter{chain, 0, ^uint32(0)}
	if wants() != 0 {
		t.Error("sent back to whom it came from")
	}
	if !s.Wants(Relay{Own: true}) {
		t.Error("our own gossip is filtered")
	}
}

// Any messages in any order, with answers to checks, blocks and restarts in between: nothing panics, the invariants hold,
// and the rows make the same graph again.
func FuzzApply(f *testing.F) {
	pool := []Gossip{
		announceWith(f, 4, 5, 50, 51, 600), announceWith(f, 4, 6, 50, 51, 600), announce(f, 5, 6, 601), announce(f, 6, 7, 602), announce(f, self, 4, 603),
		update(f, 4, 5, 600, 0), update(f, 5, 4, 600, 1), update(f, 4, 5, 600, 2), update(f, 5, 6, 601, 0), update(f, 6, 7, 602, 5),
		describe(f, 4, 0), describe(f, 4, 1), describe(f, 6, 0), describe(f, 7, 0), describe(f, self, 0),
	}
	f.Add([]byte{0, 5, 10, 0x80, 6, 7, 0x90, 0xa0, 1})
	f.Add([]byte("y00002000"))
	f.Add([]byte{2, 3, 8, 9, 12, 13, 0x81, 0x82, 0x91, 0xa1, 0xb0, 0xa2})
	f.Fuzz(func(t *testing.T, steps []byte) {
		g, d := newGraph(), disk{}
		for i, b := range steps[:min(len(steps), 40)] {
			block := 600 + int(b&3)
			switch b >> 4 {
			case 0x8:
				d.store(g.Checked(funding(block), now).Rows)
			case 0x9:
				d.store(g.Spent(scid(block), 1000))
			case 0xa:
				d.store(g.Block(1000 + closedAfter*uint32(b&3)))
			case 0xb:
				d.store(g.Prune(now + staleAfter + int64(b&3)))
			case 0xc:
				g = d.reload(t)
			default:
				out, err := g.Apply(id(peer), pool[int(b)%len(pool)], now)
				if err != nil && len(out.Rows)+len(out.Relay)+len(out.Checks) > 0 { // an update of 5 for a channel of 4 and 6
					t.Fatal(i, err)
				}
				d.store(out.Rows)
			}
			checkShape(t, g)
			if diff := cmp.Diff(everything(g), everything(d.reload(t))); diff != "" {
				t.Fatalf("after step %d the rows differ:\n%s", i, diff)
			}
		}
	})
}
