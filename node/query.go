package node

import (
	"cmp"
	"fmt"
	"slices"

	"lightningrod/channel"
	"lightningrod/node/forward"
	"lightningrod/rod"

	"github.com/btcsuite/btcd/wire"
)

// This file is what may be asked about a node. Nothing here changes anything, and the questions about memory are answered
// after Stop too, with what was true when it ended.

// ChannelInfo is a channel of ours. Its State is a value and never changes; ask again for a newer one.
type ChannelInfo struct {
	ID    channel.ID
	Peer  [33]byte
	State *channel.State
	Hint  bool // private, and on terms the peer has told us: invoices name it
}

// Channels lists our channels by number.
func (n *Node) Channels() []ChannelInfo {
	var all []ChannelInfo
	for _, in := range n.registry.each(nil) {
		_, hint := n.routeHint(in)
		all = append(all, ChannelInfo{ID: in.id, Peer: in.peer, State: in.state.Load(), Hint: hint})
	}
	slices.SortFunc(all, func(a, b ChannelInfo) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// LocalCommitment is a channel's newest commitment transaction, fully signed, and the funding output that it spends. It must not be
// published: Close with force does that, and remembers it.
func (n *Node) LocalCommitment(id channel.ID) (*wire.MsgTx, *wire.TxOut, error) {
	in := n.registry.get(id)
	if in == nil {
		return nil, nil, fmt.Errorf("no channel %d", id)
	}
	return in.state.Load().LocalCommitment(in.crypto)
}

// HTLCs lists the incoming HTLCs that are not settled, as forwarding sees them.
func (n *Node) HTLCs() []forward.Live {
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	return n.brain.forward.Live()
}

// Requests lists what we were asked to hold, as an LSP.
func (n *Node) Requests() []rod.RequestInfo {
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	return n.brain.forward.Rod().Requests()
}

// Pid is the secret of a Rod payment of ours that is not over: whoever knows it can have the payment released.
func (n *Node) Pid(payment uint64) (pid [32]byte, ok bool) {
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	return n.brain.payer.Pid(payment)
}

// Connected says whether there is a connection to a node.
func (n *Node) Connected(id [33]byte) bool { return n.host.Peer(id) != nil }
