package graph

import (
	"strings"
	"unicode"

	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// ChannelInfo is what is known about a public channel.
type ChannelInfo struct {
	SCID     lnwire.ShortChannelID
	Out      wire.OutPoint
	Capacity int64 // sat
	Spent    uint32
	Nodes    [2]NodeID
	Updates  [2]*ChannelUpdate // by Nodes[0] and Nodes[1]; nil: not heard of
}

// NodeInfo is what is known about a node.
type NodeInfo struct {
	Node         NodeID
	Announcement *NodeAnnouncement // nil: not heard of
	Channels     []lnwire.ShortChannelID
}

// Size is the number of public channels and of their nodes.
func (g *Graph) Size() (channels, nodes int) { return len(g.channels), len(g.nodes) }

// Channel finds a public channel.
func (g *Graph) Channel(scid lnwire.ShortChannelID) (ChannelInfo, bool) {
	e := g.channels[scid]
	if e == nil {
		return ChannelInfo{}, false
	}
	return ChannelInfo{scid, e.out, e.capacity, e.spent, e.announcement.Nodes, e.updates}, true
}

// Node finds a node that has public channels.
func (g *Graph) Node(id NodeID) (NodeInfo, bool) {
	n := g.nodes[id]
	if n == nil {
		return NodeInfo{}, false
	}
	info := NodeInfo{Node: id, Announcement: n.announcement}
	for _, e := range n.edges {
		info.Channels = append(info.Channels, e.announcement.SCID)
	}
	return info, true
}

// Channels calls f for every public channel in ascending order until f returns false.
func (g *Graph) Channels(f func(ChannelInfo) bool) {
	for _, scid := range g.scids {
		if info, _ := g.Channel(scid); !f(info) {
			return
		}
	}
}

// Nodes calls f for every node with public channels in ascending order until f returns false.
func (g *Graph) Nodes(f func(NodeInfo) bool) {
	for _, id := range g.ids {
		if info, _ := g.Node(id); !f(info) {
			return
		}
	}
}

// Watch is a funding output of which Spent should be told.
type Watch struct {
	SCID lnwire.ShortChannelID
	Out  wire.OutPoint
}

// Watches lists the funding outputs of all public channels, for a node that starts.
func (g *Graph) Watches() []Watch {
	all := make([]Watch, 0, len(g.scids))
	for _, scid := range g.scids {
		all = append(all, Watch{scid, g.channels[scid].out})
	}
	return all
}

// AliasText is the alias as text that is safe to print: what is not printable or not UTF-8 becomes a question mark.
func (n *NodeAnnouncement) AliasText() string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, strings.TrimRight(string(n.Alias[:]), "\x00"))
}
