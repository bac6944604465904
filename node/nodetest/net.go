package nodetest

import (
	"lightningrod/channel"
	"lightningrod/channel/channeltest"
	"lightningrod/channel/onchain"
	"lightningrod/node/forward"
	"lightningrod/rod"

	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// edge is a channel: its two sides share nothing but the wire.
type edge struct {
	index   int
	name    string
	link    *link
	scid    lnwire.ShortChannelID
	onChain bool // a commitment was published, for a reason that the simulator accepts
	closing bool // a shutdown was asked for

	opener  int // which end
	crypto  [2]*channeltest.Toy
	begin   [2]lnwire.MilliSatoshi // what each end has at first
	past    [2][]*channel.State    // one of each commitment that an end ever had, the newest last
	view    [2]onchain.Owner       // whose commitment each end takes it for that was confirmed
	mute    [2]bool                // nothing that this end says leaves any more
	rogue   [2]*rogue              // this end is no node any more: the adversary plays it
	known   map[*wire.MsgTx]*ending
	funding wire.OutPoint
}

// link is the connection of two nodes. All channels of the two go over it.
type link struct {
	nodes [2]int
	conn  int // its serial number, 0 while there is none
	last  int
	seen  [2]int // the connection each end believes in
	wire  [2][]packet
}

type packet struct {
	edge *edge
	msg  lnwire.Message
}

func (l *link) side(node int) int {
	if l.nodes[0] == node {
		return 0
	}
	return 1
}

// cut ends a connection; what is on the wire is lost. Each end that notices tells its channels; one that does not goes on
// talking to nobody until it notices.
func (w *World) cut(l *link, notice [2]bool) {
	if l.conn != 0 {
		l.conn = 0
		l.wire = [2][]packet{}
	}
	for side, now := range notice {
		if now {
			w.notice(l, side)
		}
	}
}

func (w *World) notice(l *link, side int) {
	if l.seen[side] == 0 || l.seen[side] == l.conn {
		return
	}
	l.seen[side] = 0
	n, peer := w.nodes[l.nodes[side]], w.nodes[l.nodes[1-side]]
	for _, in := range n.with(peer) {
		n.post(in, posted{ev: channel.Disconnected{}})
	}
	n.think(forward.Rod{Event: rod.PeerDown{Peer: peer.id}})
}

// connect begins a connection. A new one starts only after both ends have noticed that the old one is over.
func (w *World) connect(l *link) {
	if l.conn != 0 {
		return
	}
	for side := range l.nodes {
		w.notice(l, side)
	}
	l.last++
	l.conn = l.last
	for side := range l.nodes {
		l.seen[side] = l.conn
		n, peer := w.nodes[l.nodes[side]], w.nodes[l.nodes[1-side]]
		for _, in := range n.with(peer) {
			n.post(in, posted{ev: channel.Connected{Features: channeltest.DefaultFeatures}, conn: l.conn})
		}
		n.think(forward.Rod{Event: rod.PeerUp{Peer: peer.id}})
		n.up(peer)
	}
}

// deliver gives the end at side the next message for it.
func (w *World) deliver(l *link, side int) bool {
	if len(l.wire[side]) == 0 {
		return false
	}
	p := l.wire[side][0]
	l.wire[side] = l.wire[side][1:]
	n := w.nodes[l.nodes[side]]
	in := n.inbox(p.edge)
	if w.log != nil {
		w.trace("  %s hears %s on %s", n.name, channel.DescribeMessage(p.msg), p.edge.name)
	}
	if e := p.edge; e.rogue[side] != nil {
		return true
	}
	if in == nil {
		if _, isError := p.msg.(*lnwire.Error); !isError { // BOLT 1: an unknown channel_id gets an error
			w.send(l, 1-side, packet{p.edge, &lnwire.Error{Data: lnwire.ErrorData(unknownChannel)}})
		}
		return true
	}
	n.post(in, posted{ev: channel.Received{Msg: p.msg}})
	return true
}

func (w *World) send(l *link, to int, p packet) { l.wire[to] = append(l.wire[to], p) }

// unknownChannel is what a peer is told that still has a channel.
const unknownChannel = "unknown channel"
