package graph

import (
	"fmt"

	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Output is what a change of the Graph asks for.
type Output struct {
	Rows    []Row
	Relay   []Relay
	Checks  []Check
	Ignored string // why nothing happened, for the log; empty if something did
}

func ignored(format string, args ...any) Output { return Output{Ignored: fmt.Sprintf(format, args...)} }

func (o *Output) add(more Output) {
	o.Rows = append(o.Rows, more.Rows...)
	o.Relay = append(o.Relay, more.Relay...)
	o.Checks = append(o.Checks, more.Checks...)
}

// Check asks whether the output at SCID is unspent, has Script, and is at least 6 blocks deep. The answer is Checked.
type Check struct {
	SCID   lnwire.ShortChannelID
	Script []byte
}

// Funding answers a Check.
type Funding struct {
	SCID     lnwire.ShortChannelID
	OK       bool // the output is there, as asked
	Out      wire.OutPoint
	Capacity int64 // sat
}

// pending is an announcement that waits for its Check, with what came for the channel meanwhile.
type pending struct {
	announcement *ChannelAnnouncement
	from         NodeID
	updates      [2]*ChannelUpdate
}

// waiting is a node of which pending announcements speak.
type waiting struct {
	count        int
	announcement *NodeAnnouncement
	from         NodeID
}

// Apply takes a gossip message from a peer, or, with from being the node itself, one of our own. now is UNIX time in
// seconds. An error says what the peer did wrong, for a warning (BOLT 7 asks for one when a signature is bad); messages that are
// merely of no use are Ignored.
func (g *Graph) Apply(from NodeID, m Gossip, now int64) (Output, error) {
	switch m := m.(type) {
	case *ChannelAnnouncement:
		return g.channelAnnouncement(from, m)
	case *ChannelUpdate:
		return g.channelUpdate(from, m, now)
	case *NodeAnnouncement:
		return g.nodeAnnouncement(from, m, now)
	}
	panic(fmt.Sprintf("graph: gossip of type %T", m))
}

func (g *Graph) channelAnnouncement(from NodeID, a *ChannelAnnouncement) (Output, error) {
	switch {
	case a.Chain != g.cfg.Chain:
		return ignored("chain_hash %s is not ours", a.Chain), nil
	case a.Nodes[0] == g.cfg.Self || a.Nodes[1] == g.cfg.Self:
		return ignored("%s is our own channel", a.SCID.AltString()), nil
	case g.banned[a.Nodes[0]] || g.banned[a.Nodes[1]]:
		return ignored("a node of %s is banned", a.SCID.AltString()), nil
	case g.channels[a.SCID] != nil:
		return g.announcedAgain(g.channels[a.SCID].announcement, a)
	case g.pending[a.SCID] != nil:
		return ignored("%s is being checked", a.SCID.AltString()), nil
	case len(g.pending) >= maxPending:
		return ignored("%d announcements are being checked already", len(g.pending)), nil
	}
	if err := a.Verify(); err != nil {
		return Output{}, err
	}
	g.pending[a.SCID] = &pending{announcement: a, from: from}
	for _, id := range a.Nodes {
		if g.waiting[id] == nil {
			g.waiting[id] = &waiting{}
		}
		g.waiting[id].count++
	}
	return Output{Checks: []Check{{a.SCID, a.FundingScript()}}}, nil
}

// announcedAgain: BOLT 7 "The channel_announcement Message": two valid announcements of one output for different nodes
// mean that keys have leaked or are misused; the nodes of both are banned and their channels forgotten. As both carry
// signatures of the same funding keys, nobody else can cause this.
func (g *Graph) announcedAgain(known, a *ChannelAnnouncement) (Output, error) {
	ours := known.Nodes[0] == g.cfg.Self || known.Nodes[1] == g.cfg.Self
	if a.Nodes == known.Nodes || a.Keys != known.Keys || ours {
		return ignored("%s is known", a.SCID.AltString()), nil
	}
	if err := a.Verify(); err != nil {
		return Output{}, err
	}
	var out Output
	for _, id := range []NodeID{a.Nodes[0], a.Nodes[1], known.Nodes[0], known.Nodes[1]} {
		g.banned[id] = true
		for n := g.nodes[id]; n != nil && len(n.edges) > 0; {
			out.Rows = append(out.Rows, g.remove(n.edges[0])...)
		}
	}
	return out, nil
}

// Checked is the answer to a Check. now is UNIX time in seconds.
func (g *Graph) Checked(f Funding, now int64) Output {
	p := g.pending[f.SCID]
	if p == nil {
		return ignored("%s was not being checked", f.SCID.AltString())
	}
	delete(g.pending, f.SCID)
	out := ignored("the funding output of %s is not there", f.SCID.AltString())
	if f.OK && !g.banned[p.announcement.Nodes[0]] && !g.banned[p.announcement.Nodes[1]] {
		out = g.accept(p.announcement, f, now)
		for _, u := range p.updates {
			if u != nil {
				g.apply(&out, p.from, u, now)
			}
		}
	}
	for _, id := range p.announcement.Nodes {
		w := g.waiting[id]
		if w.announcement != nil && g.nodes[id] != nil {
			g.apply(&out, w.from, w.announcement, now)
			w.announcement = nil
		}
		if w.count--; w.count == 0 {
			delete(g.waiting, id)
		}
	}
	return out
}

// apply is Apply for messages that were verified when they came.
func (g *Graph) apply(out *Output, from NodeID, m Gossip, now int64) {
	if more, err := g.Apply(from, m, now); err == nil {
		out.add(more)
	}
}

func (g *Graph) accept(a *ChannelAnnouncement, f Funding, now int64) Output {
	e := &edge{announcement: a, out: f.Out, capacity: f.Capacity, seen: uint32(now), required: requiresUnknown(a.Features)}
	g.insert(e)
	return Output{Rows: []Row{announcementRow(e)}}
}

// Announce adds a channel of our own, which needs no check. It is passed on with its first channel_update. now is UNIX time
// in seconds.
func (g *Graph) Announce(a *ChannelAnnouncement, f Funding, now int64) (Output, error) {
	switch {
	case g.channels[a.SCID] != nil:
		return ignored("%s is known", a.SCID.AltString()), nil
	case a.Chain != g.cfg.Chain:
		return Output{}, fmt.Errorf("announce %s: chain_hash %s is not ours", a.SCID.AltString(), a.Chain)
	}
	if err := a.Verify(); err != nil {
		return Output{}, err
	}
	return g.accept(a, f, now), nil
}

func (g *Graph) channelUpdate(from NodeID, u *ChannelUpdate, now int64) (Output, error) {
	mine := from == g.cfg.Self
	e, p, o := g.channels[u.SCID], g.pending[u.SCID], g.ownSCID[u.SCID]
	switch {
	case u.Chain != g.cfg.Chain:
		return ignored("chain_hash %s is not ours", u.Chain), nil
	case u.Timestamp == 0 || int64(u.Timestamp) > now+maxAhead:
		return ignored("timestamp %d is not of this time", u.Timestamp), nil
	case !mine && stale(u.Timestamp, now):
		return ignored("timestamp %d is older than two weeks", u.Timestamp), nil
	case o != nil && from == o.peer && (e == nil || u.Private()):
		return g.privateUpdate(o, u)
	case u.Private():
		return ignored("%s is a private channel of others", u.SCID.AltString()), nil
	case e != nil:
		return g.publicUpdate(from, e, u)
	case p != nil:
		return p.update(u)
	}
	return ignored("no channel_announcement of %s", u.SCID.AltString()), nil
}

func (p *pending) update(u *ChannelUpdate) (Output, error) {
	have := &p.updates[u.Direction()]
	if *have != nil && (*have).Timestamp >= u.Timestamp {
		return ignored("%s: update is not newer", u.SCID.AltString()), nil
	}
	if err := u.VerifyBy(p.announcement.Nodes[u.Direction()]); err != nil {
		return Output{}, err
	}
	*have = u
	return Output{}, nil
}

func (g *Graph) publicUpdate(from NodeID, e *edge, u *ChannelUpdate) (Output, error) {
	d := u.Direction()
	by, have := e.announcement.Nodes[d], e.updates[d]
	mine := by == g.cfg.Self
	switch {
	case mine && from != g.cfg.Self:
		return ignored("%s: our own update", u.SCID.AltString()), nil
	case e.spent != 0 && !u.Policy.Disabled:
		return ignored("%s is spent", u.SCID.AltString()), nil
	case have != nil && u.Timestamp <= have.Timestamp:
		return ignored("%s: timestamp %d not above %d", u.SCID.AltString(), u.Timestamp, have.Timestamp), nil
	}
	if err := u.VerifyBy(by); err != nil {
		return Output{}, err
	}
	if !mine && have != nil && !e.budget[d].spend(have, u) {
		return ignored("%s: too many updates", u.SCID.AltString()), nil
	}
	e.updates[d] = u
	out := Output{Rows: []Row{updateRow(u)}}
	if !e.told {
		e.told = true
		out.Relay = append(out.Relay, Relay{Message: e.announcement.Message(), Timestamp: u.Timestamp, From: from, Own: e.is(g.cfg.Self)})
	}
	out.Relay = append(out.Relay, Relay{Message: u.Message(), Timestamp: u.Timestamp, From: from, Own: mine})
	return out, nil
}

func (g *Graph) nodeAnnouncement(from NodeID, m *NodeAnnouncement, now int64) (Output, error) {
	n, w := g.nodes[m.Node], g.waiting[m.Node]
	mine := m.Node == g.cfg.Self
	switch {
	case int64(m.Timestamp) > now+maxAhead:
		return ignored("timestamp %d is not of this time", m.Timestamp), nil
	case mine && from != g.cfg.Self:
		return ignored("our own node_announcement"), nil
	case n == nil && w == nil:
		return ignored("node %x has no channel", m.Node), nil
	case n != nil && n.announcement != nil && m.Timestamp <= n.announcement.Timestamp:
		return ignored("node %x: timestamp %d not above %d", m.Node, m.Timestamp, n.announcement.Timestamp), nil
	case n == nil && w.announcement != nil && m.Timestamp <= w.announcement.Timestamp:
		return ignored("node %x: timestamp %d not above %d", m.Node, m.Timestamp, w.announcement.Timestamp), nil
	}
	if err := m.Verify(); err != nil {
		return Output{}, err
	}
	if n == nil {
		w.announcement, w.from = m, from
		return Output{}, nil
	}
	n.announcement, n.required = m, requiresUnknown(m.Features)
	out := Output{Rows: []Row{nodeRow(m)}}
	if m.hostnames <= 1 {
		out.Relay = []Relay{{Message: m.Message(), Timestamp: m.Timestamp, From: from, Own: mine}}
	}
	return out, nil
}

// budget limits how often one end of a channel may make everybody store and pass on something. Its clock is the timestamps
// themselves, which only go forward.
type budget struct{ spent uint32 }

const (
	// A repetition without news is worth passing on once a day (it keeps the channel from being pruned).
	repeatAfter = 24 * 3600
	// News: this many at once, then one every updateEvery seconds.
	updateBurst = 10
	updateEvery = 600
)

func (b *budget) spend(have, u *ChannelUpdate) bool {
	gap := u.Timestamp - have.Timestamp
	if u.Checksum() == have.Checksum() {
		return gap >= repeatAfter
	}
	b.spent -= min(b.spent, gap/updateEvery)
	if b.spent >= updateBurst {
		return false
	}
	b.spent++
	return true
}

// requiresUnknown says whether a feature vector has an even bit that BOLT 9 has not assigned at the commit we follow.
// Routing takes nothing more than knowing payments: what is assigned there does not stand in the way of one.
func requiresUnknown(features []byte) bool {
	for i, b := range features {
		for bit := range 8 {
			if n := (len(features)-1-i)*8 + bit; b>>bit&1 == 1 && n%2 == 0 && !assigned(n) {
				return true
			}
		}
	}
	return false
}

func assigned(even int) bool {
	switch even {
	case 0, 4, 6, 8, 10, 12, 14, 16, 18, 22, 24, 26, 28, 34, 36, 38, 42, 44, 46, 48, 50, 60, 62:
		return true
	case 20, 30, 40, 52, 54, 56: // assigned once, or in proposals that nodes run: anchors with fees, AMP, fee-less commitments, keysend, trampoline
		return true
	}
	return false
}
