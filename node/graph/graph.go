package graph

import (
	"cmp"
	"slices"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

const (
	// staleAfter is the age in seconds from which BOLT 7 lets an update, and with it the channel, be pruned.
	staleAfter = 14 * 24 * 3600

	// maxAhead is how far in seconds a timestamp may lie in the future.
	maxAhead = 24 * 3600

	// closedAfter is the number of blocks for which a spent channel stays: the spender may turn out to be a splice.
	closedAfter = 72

	// maxPending bounds the announcements waiting for their funding check.
	maxPending = 20_000
)

// Config is what a Graph needs to know about the node.
type Config struct {
	Chain chainhash.Hash
	Self  NodeID
}

// Graph is the public network as far as it is known, and the private channels of the node itself.
//
// Every edge is in channels and in the lists of both its nodes; every node has at least one edge; scids and ids are the keys
// of the two maps in ascending order.
type Graph struct {
	cfg      Config
	channels map[lnwire.ShortChannelID]*edge
	nodes    map[NodeID]*node
	scids    []lnwire.ShortChannelID
	ids      []NodeID
	spent    map[lnwire.ShortChannelID]*edge

	pending map[lnwire.ShortChannelID]*pending
	waiting map[NodeID]*waiting
	own     map[uint64]*own
	ownSCID map[lnwire.ShortChannelID]*own
	// stored are private updates read from rows whose channel SetOwn has not named yet.
	stored map[lnwire.ShortChannelID]*ChannelUpdate
	// banned are nodes that signed two announcements for one channel. Lost in a restart, which is no harm: their channels are gone.
	banned map[NodeID]bool
}

// edge is a public channel.
type edge struct {
	announcement *ChannelAnnouncement
	out          wire.OutPoint
	capacity     int64  // sat
	seen         uint32 // UNIX time of arrival
	spent        uint32 // height at which the funding output was spent; 0: it is not
	updates      [2]*ChannelUpdate
	nodes        [2]*node
	budget       [2]budget
	told         bool // passed on: BOLT 7 has an announcement wait for the first update
	required     bool // has a feature bit that demands to be understood, and is not
}

// node is an end of at least one edge.
type node struct {
	id           NodeID
	announcement *NodeAnnouncement
	edges        []*edge
	required     bool
}

// New makes an empty Graph.
func New(cfg Config) *Graph {
	return &Graph{
		cfg:      cfg,
		channels: map[lnwire.ShortChannelID]*edge{},
		nodes:    map[NodeID]*node{},
		spent:    map[lnwire.ShortChannelID]*edge{},
		pending:  map[lnwire.ShortChannelID]*pending{},
		waiting:  map[NodeID]*waiting{},
		own:      map[uint64]*own{},
		ownSCID:  map[lnwire.ShortChannelID]*own{},
		stored:   map[lnwire.ShortChannelID]*ChannelUpdate{},
		banned:   map[NodeID]bool{},
	}
}

func compareSCID(a, b lnwire.ShortChannelID) int { return cmp.Compare(a.ToUint64(), b.ToUint64()) }

func compareNode(a, b NodeID) int { return slices.Compare(a[:], b[:]) }

func (g *Graph) insert(e *edge) {
	scid := e.announcement.SCID
	g.channels[scid] = e
	i, _ := slices.BinarySearchFunc(g.scids, scid, compareSCID)
	g.scids = slices.Insert(g.scids, i, scid)
	for d, id := range e.announcement.Nodes {
		n := g.nodes[id]
		if n == nil {
			n = &node{id: id}
			g.nodes[id] = n
			i, _ := slices.BinarySearchFunc(g.ids, id, compareNode)
			g.ids = slices.Insert(g.ids, i, id)
		}
		n.edges = append(n.edges, e)
		e.nodes[d] = n
	}
	if e.spent != 0 {
		g.spent[scid] = e
	}
}

// remove forgets a channel, and its nodes if they have no other (BOLT 7 "Pruning the Network View").
func (g *Graph) remove(e *edge) (rows []Row) {
	scid := e.announcement.SCID
	delete(g.channels, scid)
	delete(g.spent, scid)
	if i, ok := slices.BinarySearchFunc(g.scids, scid, compareSCID); ok {
		g.scids = slices.Delete(g.scids, i, i+1)
	}
	rows = append(rows, deleteAnnouncement(scid))
	for d, n := range e.nodes {
		if e.updates[d] != nil {
			rows = append(rows, deleteUpdate(scid, d))
		}
		n.edges = slices.DeleteFunc(n.edges, func(other *edge) bool { return other == e })
		if len(n.edges) > 0 {
			continue
		}
		delete(g.nodes, n.id)
		if i, ok := slices.BinarySearchFunc(g.ids, n.id, compareNode); ok {
			g.ids = slices.Delete(g.ids, i, i+1)
		}
		if n.announcement != nil {
			rows = append(rows, deleteNode(n.id))
		}
	}
	return rows
}

// Spent says that the funding output of a channel was spent in the block at height.
func (g *Graph) Spent(scid lnwire.ShortChannelID, height uint32) []Row {
	return g.setSpent(scid, height)
}

// Unspent takes back Spent, when a reorganisation has removed the spender.
func (g *Graph) Unspent(scid lnwire.ShortChannelID) []Row { return g.setSpent(scid, 0) }

func (g *Graph) setSpent(scid lnwire.ShortChannelID, height uint32) []Row {
	e := g.channels[scid]
	if e == nil || e.spent == height {
		return nil
	}
	e.spent = height
	if height == 0 {
		delete(g.spent, scid)
	} else {
		g.spent[scid] = e
	}
	return []Row{announcementRow(e)}
}

// Block says that the block at height is connected: channels spent long enough ago are forgotten.
func (g *Graph) Block(height uint32) (rows []Row) {
	for _, scid := range sortedSCIDs(g.spent) {
		if e := g.spent[scid]; uint64(height) >= uint64(e.spent)+closedAfter {
			rows = append(rows, g.remove(e)...)
		}
	}
	return rows
}

// Prune forgets channels of which one end has not been heard for two weeks. now is UNIX time in seconds.
// BOLT 7 takes the older of the two updates, since both ends are needed to use the channel; an end that has said nothing
// counts from the arrival of the announcement. Own channels stay.
func (g *Graph) Prune(now int64) (rows []Row) {
	for _, scid := range slices.Clone(g.scids) {
		e := g.channels[scid]
		if e.is(g.cfg.Self) {
			continue
		}
		for _, u := range e.updates {
			heard := e.seen
			if u != nil {
				heard = u.Timestamp
			}
			if stale(heard, now) {
				rows = append(rows, g.remove(e)...)
				break
			}
		}
	}
	return rows
}

func stale(timestamp uint32, now int64) bool { return int64(timestamp) < now-staleAfter }

func (e *edge) is(n NodeID) bool {
	return e.announcement.Nodes[0] == n || e.announcement.Nodes[1] == n
}

func sortedSCIDs[V any](m map[lnwire.ShortChannelID]V) []lnwire.ShortChannelID {
	keys := make([]lnwire.ShortChannelID, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compareSCID)
	return keys
}
