package node

import (
	"encoding/binary"
	"sync"
	"time"

	"lightningrod/chain"
	"lightningrod/channel"
	"lightningrod/channel/commitment"
	"lightningrod/node/graph"
	"lightningrod/node/store"
	"lightningrod/peer"

	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// gossip is BOLT 7: the graph, what we tell of our own channels, and the exchange with peers. Its mutex is a leaf.
type gossip struct {
	node *Node

	mu        sync.Mutex
	graph     *graph.Graph
	syncs     map[*peer.Peer]*graph.Sync
	broadcast graph.Broadcast
	funding   map[wire.OutPoint]lnwire.ShortChannelID
	own       map[channel.ID]*ownChannel
	lastFlush time.Time
	lastPrune time.Time
	lastStamp uint32 // timestamps of our messages only rise
}

// ownChannel is what we say of a channel of ours.
type ownChannel struct {
	theirs    *lnwire.AnnounceSignatures1 // may come before we have seen the blocks ourselves
	update    *graph.ChannelUpdate        // our newest
	answered  *peer.Peer                  // the connection on which we sent announcement_signatures
	announced bool
}

// flushEvery is how long gossip is collected before it is passed on. BOLT 7 "Rebroadcasting" suggests 60 s; a node on a
// test network has nobody to spare.
func (n *Node) flushEvery() time.Duration {
	if n.cfg.Params.Name == "regtest" {
		return 0
	}
	return time.Minute
}

func newGossip(n *Node) *gossip {
	return &gossip{
		node:    n,
		graph:   graph.New(graph.Config{Chain: *n.cfg.Params.GenesisHash, Self: n.id}),
		syncs:   map[*peer.Peer]*graph.Sync{},
		funding: map[wire.OutPoint]lnwire.ShortChannelID{},
		own:     map[channel.ID]*ownChannel{},
	}
}

// load reads what was known of the network.
func (g *gossip) load(s *store.Store) error {
	for _, t := range []store.Table{store.Announcement, store.ChannelUpdate, store.NodeAnnouncement} {
		err := s.Load(t, func(key, value []byte) error {
			return g.graph.Load(graph.Row{Table: t.String(), Key: key, Value: value})
		})
		if err != nil {
			return err
		}
	}
	for _, w := range g.graph.Watches() {
		g.funding[w.Out] = w.SCID
	}
	return nil
}

func (g *gossip) sign(digest [32]byte) lnwire.Sig {
	return commitment.SignDigest(g.node.keys.identity, digest)
}

// stamp is a timestamp for a message of ours: the time, and always above the one before.
func (g *gossip) stamp() uint32 {
	g.lastStamp = max(g.lastStamp+1, uint32(g.node.cfg.Now().Unix()))
	return g.lastStamp
}

// connected starts the exchange with a peer.
func (g *gossip) connected(p *peer.Peer) {
	g.mu.Lock()
	s := graph.NewSync(p.Node(), false)
	g.syncs[p] = s
	var first []graph.Message
	if p.Negotiated(peer.GossipQueries) {
		first = s.Start(g.graph, true, g.node.cfg.Now().Unix())
	}
	g.mu.Unlock()
	g.sendRaw(p, first)
}

func (g *gossip) disconnected(p *peer.Peer) {
	g.mu.Lock()
	delete(g.syncs, p)
	g.mu.Unlock()
}

func (g *gossip) sendRaw(p *peer.Peer, ms []graph.Message) {
	for _, m := range ms {
		_ = p.SendRaw(m.Type, m.Body)
	}
}

// message takes a gossip message and says whether it was one.
func (g *gossip) message(p *peer.Peer, m peer.Message) bool {
	switch {
	case m.Type >= graph.TypeChannelAnnouncement && m.Type <= graph.TypeChannelUpdate:
		if err := g.take(p.Node(), m); err != nil {
			g.node.log.Debug("gossip refused", "peer", shortNode(p.Node()), "error", err)
		}
	case m.Type >= graph.TypeQueryShortChannelIDs && m.Type <= graph.TypeTimestampFilter:
		g.query(p, m)
	default:
		return false
	}
	return true
}

// take verifies an announcement or update and puts it into the graph.
func (g *gossip) take(from [33]byte, m peer.Message) error {
	parsed, err := graph.Parse(m.Type, m.Raw)
	if err != nil {
		return err
	}
	if err := parsed.Verify(); err != nil {
		return err
	}
	now := g.node.cfg.Now().Unix()
	g.mu.Lock()
	out, err := g.graph.Apply(from, parsed, now)
	g.absorb(out)
	g.mu.Unlock()
	for len(out.Checks) > 0 {
		c := out.Checks[0]
		f := g.look(c)
		g.mu.Lock()
		more := g.graph.Checked(f, now)
		if f.OK {
			g.funding[f.Out] = f.SCID
		}
		g.absorb(more)
		g.mu.Unlock()
		out.Checks = append(out.Checks[1:], more.Checks...)
	}
	return err
}

// absorb stores and remembers for relay what the graph put out. The mutex is held.
func (g *gossip) absorb(out graph.Output) {
	g.put(out.Rows)
	g.broadcast.Add(out.Relay...)
}

func (g *gossip) put(rows []graph.Row) {
	g.node.queue.put(&turn{rows: rowOps(rows)})
}

// look checks a funding output on the chain (BOLT 7 "The channel_announcement Message").
func (g *gossip) look(c graph.Check) graph.Funding {
	f := graph.Funding{SCID: c.SCID}
	tip, _ := g.node.backend.Tip()
	if c.SCID.BlockHeight+5 > tip {
		return f
	}
	b, err := g.node.backend.Block(c.SCID.BlockHeight)
	if err != nil || int(c.SCID.TxIndex) >= len(b.Txs) {
		return f
	}
	tx := b.Txs[c.SCID.TxIndex]
	if int(c.SCID.TxPosition) >= len(tx.TxOut) {
		return f
	}
	f.Out = wire.OutPoint{Hash: tx.TxHash(), Index: uint32(c.SCID.TxPosition)}
	out, _, unspent := g.node.backend.Unspent(f.Out)
	f.OK = unspent && string(out.PkScript) == string(c.Script)
	if f.OK {
		f.Capacity = out.Value
	}
	return f
}

// query takes a message of gossip_queries and goes on sending as long as the connection has room.
func (g *gossip) query(p *peer.Peer, m peer.Message) {
	g.mu.Lock()
	s := g.syncs[p]
	if s == nil {
		g.mu.Unlock()
		return
	}
	reply, err := s.Receive(g.graph, m.Type, m.Raw)
	g.mu.Unlock()
	if err != nil {
		p.Warn(err.Error())
		return
	}
	g.sendRaw(p, reply)
	g.pull(p)
}

// pullBound is how many bytes of gossip may wait for a peer: what channels have to say must not wait long behind them.
const pullBound = 256 << 10

// pull goes on with long answers as far as the connection has room.
func (g *gossip) pull(p *peer.Peer) {
	for p.Queued() < pullBound {
		g.mu.Lock()
		s := g.syncs[p]
		var more []graph.Message
		if s != nil {
			more = s.Pull(g.graph, pullBound)
		}
		g.mu.Unlock()
		if len(more) == 0 {
			return
		}
		g.sendRaw(p, more)
	}
}

// pruneEvery is how often channels that nobody has spoken of for long are looked for.
const pruneEvery = time.Hour

// tick passes gossip on.
func (g *gossip) tick(now time.Time) {
	g.mu.Lock()
	flush := now.Sub(g.lastFlush) >= g.node.flushEvery()
	if flush {
		g.lastFlush = now
	}
	if now.Sub(g.lastPrune) >= pruneEvery {
		g.lastPrune = now
		g.put(g.graph.Prune(now.Unix()))
	}
	var behind []*peer.Peer
	for p, s := range g.syncs {
		if s.Pending() {
			behind = append(behind, p)
		}
	}
	g.mu.Unlock()
	for _, p := range behind {
		g.pull(p)
	}
	if flush {
		g.flush()
	}
}

func (g *gossip) flush() {
	g.mu.Lock()
	relays := g.broadcast.Flush()
	type parcel struct {
		to *peer.Peer
		m  graph.Message
	}
	var out []parcel
	for _, r := range relays {
		for p, s := range g.syncs {
			if s.Wants(r) {
				out = append(out, parcel{p, r.Message})
			}
		}
	}
	g.mu.Unlock()
	for _, x := range out {
		_ = x.to.SendRaw(x.m.Type, x.m.Body)
	}
}

// block forgets channels whose funding output the block spends.
func (g *gossip) block(b chain.Block) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, tx := range b.Txs {
		for _, in := range tx.TxIn {
			if scid, ok := g.funding[in.PreviousOutPoint]; ok {
				g.put(g.graph.Spent(scid, b.Height))
			}
		}
	}
	g.put(g.graph.Block(b.Height))
}

// Our own channels.

func (g *gossip) ownOf(id channel.ID) *ownChannel {
	o := g.own[id]
	if o == nil {
		o = &ownChannel{}
		g.own[id] = o
	}
	return o
}

// introduce tells the graph by which ids the peer may speak of a channel, before the peer can know that the channel exists.
func (g *gossip) introduce(in *inbox) {
	s := in.state.Load()
	c := graph.OwnChannel{ID: uint64(in.id), Peer: in.peer}
	for _, scid := range []lnwire.ShortChannelID{s.ShortID(), s.LocalAlias()} {
		if scid.ToUint64() != 0 {
			c.SCIDs = append(c.SCIDs, scid)
		}
	}
	g.mu.Lock()
	g.graph.SetOwn(c)
	g.mu.Unlock()
}

// sixDeep says whether a channel may be announced (BOLT 7 "The announcement_signatures Message").
func sixDeep(s *channel.State) bool {
	id := s.ShortID()
	return !s.Private() && id.BlockHeight != 0 && s.Height() >= id.BlockHeight+5
}

// channelUsable is a re-established channel: the peer hears our terms, and our half of the announcement if it is due.
func (g *gossip) channelUsable(in *inbox) {
	g.introduce(in)
	g.mu.Lock()
	o := g.ownOf(in.id)
	update, announced := o.update, o.announced
	g.mu.Unlock()
	switch {
	case update == nil:
		g.renew(in)
	case !announced: // else gossip has it
		g.tell(in, update)
	}
	if sixDeep(in.state.Load()) {
		g.channelDeep(in)
	}
}

// renew makes a new channel_update of ours, which failures are to enclose from now on: lnd takes one that may have it and has not for garbage,
// and its sender for faulty. No lock may be held.
func (g *gossip) renew(in *inbox) {
	g.makeUpdate(in)
	g.node.think(g.node.channelEvent(in))
}

// makeUpdate is the part of renew that concerns gossip. A channel that is not announced is told to its peer alone.
func (g *gossip) makeUpdate(in *inbox) {
	n := g.node
	s := in.state.Load()
	scid := s.ShortID()
	if s.ScidAlias() || scid.BlockHeight == 0 {
		scid = s.RemoteAlias()
	}
	if scid.ToUint64() == 0 {
		return
	}
	p := n.cfg.Policy
	most := lnwire.MilliSatoshi(s.Capacity()) * 1000
	if p.HTLCMaximum != 0 {
		most = min(most, p.HTLCMaximum)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.ownOf(in.id)
	u, err := graph.NewChannelUpdate(graph.UpdateTemplate{
		Chain: *n.cfg.Params.GenesisHash, SCID: scid, Self: n.id, Peer: in.peer, Timestamp: g.stamp(), Private: s.Private(),
		Policy: graph.Policy{
			CltvExpiryDelta: p.CltvExpiryDelta, HTLCMinimum: p.HTLCMinimum, HTLCMaximum: most,
			FeeBase: uint32(p.FeeBase), FeeProportional: p.FeePPM, Disabled: p.Disabled,
		},
	}, g.sign)
	if err != nil {
		n.log.Error("channel_update", "channel", in.id, "error", err)
		return
	}
	o.update = u
	if !o.announced {
		g.tell(in, u)
	}
	if o.announced {
		out, err := g.graph.Apply(n.id, u, n.cfg.Now().Unix())
		if err != nil {
			n.log.Error("own channel_update", "channel", in.id, "error", err)
		}
		g.absorb(out)
	}
}

// tell sends a channel_update to the peer alone, which may have forgotten what it was told before.
func (g *gossip) tell(in *inbox, u *graph.ChannelUpdate) {
	if p := g.node.host.Peer(in.peer); p != nil {
		_ = p.SendRaw(u.Message().Type, u.Message().Body)
	}
}

// updateBytes is our newest channel_update of a channel as failures enclose it: with its type.
func (g *gossip) updateBytes(id channel.ID) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.own[id]
	if o == nil || o.update == nil {
		return nil
	}
	m := o.update.Message()
	return append(binary.BigEndian.AppendUint16(nil, m.Type), m.Body...)
}

// announcement is what both ends of a channel sign.
func (g *gossip) announcement(in *inbox) (digest [32]byte, ends [2]graph.ChannelEnd) {
	s := in.state.Load()
	local, remote := s.FundingPubKeys()
	ends = [2]graph.ChannelEnd{{Node: g.node.id, FundingPubKey: local}, {Node: in.peer, FundingPubKey: remote}}
	return graph.ChannelAnnouncementDigest(*g.node.cfg.Params.GenesisHash, s.ShortID(), nil, ends), ends
}

func (g *gossip) ourSignatures(in *inbox, digest [32]byte) graph.EndSignatures {
	return graph.EndSignatures{Node: g.sign(digest), Bitcoin: commitment.SignDigest(in.crypto.privs.Funding, digest)}
}

// channelDeep sends our announcement_signatures and completes the announcement if theirs are here.
func (g *gossip) channelDeep(in *inbox) {
	s := in.state.Load()
	if !sixDeep(s) {
		return
	}
	g.mu.Lock()
	o := g.ownOf(in.id)
	_, known := g.graph.Channel(s.ShortID())
	o.announced = o.announced || known
	announced := o.announced
	g.mu.Unlock()
	if !announced {
		g.sendSignatures(in)
	}
	g.complete(in)
}

// sendSignatures sends our announcement_signatures, once a connection.
func (g *gossip) sendSignatures(in *inbox) {
	p := g.node.host.Peer(in.peer)
	if p == nil {
		return
	}
	g.mu.Lock()
	o := g.ownOf(in.id)
	again := o.answered == p
	o.answered = p
	g.mu.Unlock()
	if !again {
		digest, _ := g.announcement(in)
		_ = p.Send(g.signaturesMessage(in, g.ourSignatures(in, digest)))
	}
}

func (g *gossip) signaturesMessage(in *inbox, ours graph.EndSignatures) lnwire.Message {
	s := in.state.Load()
	return &lnwire.AnnounceSignatures1{ChannelID: s.ChannelID(), ShortChannelID: s.ShortID(), NodeSignature: ours.Node, BitcoinSignature: ours.Bitcoin}
}

// announcementSignatures is the peer's half. BOLT 7: who gets it again after all is done answers with its own.
func (g *gossip) announcementSignatures(in *inbox, m *lnwire.AnnounceSignatures1) {
	s := in.state.Load()
	if s.Private() {
		g.node.log.Info("announcement_signatures not expected", "channel", in.id)
		return
	}
	g.mu.Lock()
	o := g.ownOf(in.id)
	o.theirs = m
	g.mu.Unlock()
	if sixDeep(s) {
		g.sendSignatures(in)
	}
	g.complete(in)
}

// complete announces a channel when both halves are there and it is deep enough.
func (g *gossip) complete(in *inbox) {
	s := in.state.Load()
	if !sixDeep(s) {
		return
	}
	g.mu.Lock()
	o := g.ownOf(in.id)
	if o.announced || o.theirs == nil || o.theirs.ShortChannelID != s.ShortID() {
		g.mu.Unlock()
		return
	}
	digest, ends := g.announcement(in)
	theirs := graph.EndSignatures{Node: o.theirs.NodeSignature, Bitcoin: o.theirs.BitcoinSignature}
	sigs := [2]graph.EndSignatures{g.ourSignatures(in, digest), theirs}
	a, err := graph.AssembleChannelAnnouncement(*g.node.cfg.Params.GenesisHash, s.ShortID(), nil, ends, sigs)
	if err != nil {
		g.mu.Unlock()
		g.node.log.Warn("announcement_signatures refused", "channel", in.id, "peer", shortNode(in.peer), "error", err)
		return
	}
	now := g.node.cfg.Now().Unix()
	out, err := g.graph.Announce(a, graph.Funding{SCID: s.ShortID(), OK: true, Out: s.Funding(), Capacity: s.Capacity()}, now)
	if err != nil {
		g.mu.Unlock()
		g.node.log.Error("announcing a channel", "channel", in.id, "error", err)
		return
	}
	g.absorb(out)
	g.funding[s.Funding()] = s.ShortID()
	o.announced = true
	g.mu.Unlock()
	g.renew(in)
	g.announceNode()
	// BOLT 7 "The announcement_signatures Message" wants it queued. At once it would overtake the peer's own work on it.
}

// announceNode makes our node_announcement anew.
func (g *gossip) announceNode() {
	n := g.node
	var addrs []graph.Address
	for _, a := range n.cfg.announced(n.listening) {
		parsed, err := graph.ParseAddress(a)
		if err != nil {
			n.log.Warn("address cannot be announced", "address", a, "error", err)
			continue
		}
		addrs = append(addrs, parsed)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	m, err := graph.NewNodeAnnouncement(graph.NodeTemplate{
		Node: n.id, Features: n.features(), Timestamp: g.stamp(), Color: [3]byte{0xff, 0xc0, 0x20}, Alias: n.cfg.Alias, Addresses: addrs,
	}, g.sign)
	if err != nil {
		n.log.Error("node_announcement", "error", err)
		return
	}
	out, err := g.graph.Apply(n.id, m, n.cfg.Now().Unix())
	if err != nil {
		n.log.Error("own node_announcement", "error", err)
	}
	g.absorb(out)
}

// closed forgets a channel of ours that is over.
func (g *gossip) closed(in *inbox) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.own, in.id)
	g.put(g.graph.ForgetOwn(uint64(in.id)))
}

// addresses are where a node said it listens.
func (g *gossip) addresses(id [33]byte) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	info, ok := g.graph.Node(id)
	if !ok || info.Announcement == nil {
		return nil
	}
	var all []string
	for _, a := range info.Announcement.Addresses {
		all = append(all, a.String())
	}
	return all
}

// GraphSize is how many public channels and nodes are known.
func (n *Node) GraphSize() (channels, nodes int) {
	n.gossip.mu.Lock()
	defer n.gossip.mu.Unlock()
	return n.gossip.graph.Size()
}
