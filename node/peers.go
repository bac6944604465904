package node

import (
	"encoding/hex"
	"errors"
	"fmt"

	"lightningrod/channel"
	"lightningrod/node/forward"
	"lightningrod/peer"
	"lightningrod/rod"

	"github.com/lightningnetwork/lnd/lnwire"
)

// shortNode is a node id as logs show it.
func shortNode(id [33]byte) string { return hex.EncodeToString(id[:6]) }

// dispatch is what the host tells: it runs in the reader of a connection.
type dispatch struct{ *Node }

// Connected posts the new connection to the channels before any of its messages.
func (n dispatch) Connected(p *peer.Peer) {
	id := p.Node()
	for _, in := range n.registry.each(&id) {
		n.engine.post(in, posted{ev: channel.Connected{Features: p.Features()}, conn: p})
	}
	n.queue.put(&turn{rows: n.saw(id), events: []Event{event(PeerUp, "peer", id, "addr", p.Addr())}})
	n.think(forward.Rod{Event: rod.PeerUp{Peer: id}})
	n.gossip.connected(p)
	n.mailroom.connected(id)
	n.clientUp(id)
}

func (n dispatch) Disconnected(p *peer.Peer, err error) {
	id := p.Node()
	for _, in := range n.registry.each(&id) {
		n.engine.post(in, posted{ev: channel.Disconnected{}})
	}
	n.queue.put(&turn{rows: n.saw(id), events: []Event{event(PeerDown, "peer", id, "reason", err)}})
	n.think(forward.Rod{Event: rod.PeerDown{Peer: id}})
	n.gossip.disconnected(p)
}

// Message sends each message to who understands it. While this lasts the peer is not read.
func (n dispatch) Message(p *peer.Peer, m peer.Message) {
	switch msg := m.Msg.(type) {
	case nil:
		if m.Type == peer.LSPS0 {
			n.lsps0(p, m.Raw)
		} else if !n.gossip.message(p, m) {
			n.log.Debug("message for nobody", "type", m.Type, "peer", shortNode(p.Node()))
		}
	case *lnwire.OnionMessage:
		n.onionMessage(p, msg)
	case *lnwire.OpenChannel:
		n.acceptChannel(p, msg)
	case *lnwire.Error:
		n.complaint(p, msg.ChanID, msg)
	case *lnwire.Warning:
		n.complaint(p, msg.ChanID, msg)
	case *lnwire.AnnounceSignatures1:
		if in := n.registry.find(p.Node(), msg.ChannelID); in != nil {
			n.gossip.announcementSignatures(in, msg)
		}
	default:
		if id, ok := channelOf(msg); ok {
			n.channelMessage(p, id, msg)
		}
	}
}

// channelOf is the channel_id, or temporary_channel_id, that a message is about.
func channelOf(m lnwire.Message) (id [32]byte, ok bool) {
	switch m := m.(type) {
	case *lnwire.AcceptChannel:
		return m.PendingChannelID, true
	case *lnwire.FundingCreated:
		return m.PendingChannelID, true
	case *lnwire.FundingSigned:
		return m.ChanID, true
	case *lnwire.ChannelReady:
		return m.ChanID, true
	case *lnwire.Shutdown:
		return m.ChannelID, true
	case *lnwire.ClosingSigned:
		return m.ChannelID, true
	case *lnwire.UpdateAddHTLC:
		return m.ChanID, true
	case *lnwire.UpdateFulfillHTLC:
		return m.ChanID, true
	case *lnwire.UpdateFailHTLC:
		return m.ChanID, true
	case *lnwire.UpdateFailMalformedHTLC:
		return m.ChanID, true
	case *lnwire.CommitSig:
		return m.ChanID, true
	case *lnwire.RevokeAndAck:
		return m.ChanID, true
	case *lnwire.UpdateFee:
		return m.ChanID, true
	case *lnwire.ChannelReestablish:
		return m.ChanID, true
	}
	return id, false
}

// inboxBound is how many events may wait for a channel before its peer is not read any more.
const inboxBound = 1024

func (n dispatch) channelMessage(p *peer.Peer, id [32]byte, m lnwire.Message) {
	in := n.registry.find(p.Node(), id)
	if in == nil {
		// BOLT 1 "The error and warning Messages": an unknown channel_id gets an error, so that a peer which still has
		// the channel can close it. Never in answer to an error: those do not come here.
		n.log.Info("message for an unknown channel", "type", m.MsgType(), "peer", shortNode(p.Node()))
		_ = p.Send(&lnwire.Error{ChanID: id, Data: lnwire.ErrorData("unknown channel")})
		return
	}
	n.engine.postPatiently(in, posted{ev: channel.Received{Msg: m}})
}

// complaint is an error or a warning: about one channel, or with channel_id zero about all with this peer (BOLT 1).
func (n dispatch) complaint(p *peer.Peer, id lnwire.ChannelID, m lnwire.Message) {
	node := p.Node()
	if id == (lnwire.ChannelID{}) {
		for _, in := range n.registry.each(&node) {
			n.engine.postPatiently(in, posted{ev: channel.Received{Msg: m}})
		}
		return
	}
	in := n.registry.find(node, id)
	if in == nil {
		return
	}
	if e, ok := m.(*lnwire.Error); ok && string(e.Data) == lndInternal && in.state.Load().Durable() {
		n.log.Warn("the peer's error is taken as a warning", "channel", in.id, "peer", shortNode(node), "text", lndInternal)
		p.Warn("your internal error does not close the channel: connecting again")
		return
	}
	n.engine.postPatiently(in, posted{ev: channel.Received{Msg: m}})
}

// lndInternal is the error that lnd sends when a channel stumbles over anything of its own, an orderly stop in mid-payment included. It
// does not close the channel itself then, and goes on at the next connection; so do we, though BOLT 1 "The error and warning Messages"
// has a node fail the channel. A peer that wants it closed can close it.
const lndInternal = "internal error"

// openingBound is how many channels a peer may have half open.
const openingBound = 4

// acceptChannel makes room for a channel the peer opens; the channel itself judges the message.
func (n dispatch) acceptChannel(p *peer.Peer, m *lnwire.OpenChannel) {
	refuse := func(err error) {
		n.log.Info("channel refused", "peer", shortNode(p.Node()), "error", err)
		_ = p.Send(&lnwire.Error{ChanID: m.PendingChannelID, Data: lnwire.ErrorData(err.Error())})
	}
	id := p.Node()
	if n.registry.find(id, m.PendingChannelID) != nil {
		refuse(errors.New("temporary_channel_id is in use"))
		return
	}
	half := 0
	for _, in := range n.registry.each(&id) {
		if s := in.state.Load(); s.Phase() == channel.PhaseOpening {
			half++
		}
	}
	if half >= openingBound {
		refuse(fmt.Errorf("%d channels are being opened, at most %d at a time", half, openingBound))
		return
	}
	in := n.newChannel(id, m.PendingChannelID, false, false)
	n.engine.post(in, posted{ev: channel.Connected{Features: p.Features()}, conn: p}, posted{ev: channel.Received{Msg: m}})
}
