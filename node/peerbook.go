package node

import (
	"net"

	"lightningrod/node/graph"
	"lightningrod/node/store"
)

// Keep connects to a node and, whenever the connection ends, connects again with back-off; also after a restart.
// It is durable when Keep returns.
func (n *Node) Keep(id [33]byte, addr string) error {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return err
	}
	n.bookMu.Lock()
	n.book[id] = addr
	n.bookMu.Unlock()
	err := n.durably(&turn{rows: store.Write{{Table: store.Peer, Key: id[:], Value: []byte(addr)}}})
	n.host.Keep(id, addr)
	return err
}

// Unkeep ends that. A connection that is there stays.
func (n *Node) Unkeep(id [33]byte) error {
	n.bookMu.Lock()
	delete(n.book, id)
	n.bookMu.Unlock()
	n.host.Unkeep(id)
	return n.durably(&turn{rows: store.Write{{Table: store.Peer, Key: id[:]}}})
}

func (n *Node) loadBook() error {
	n.book = map[[33]byte]string{}
	return n.store.Load(store.Peer, func(key, value []byte) error {
		if len(key) == 33 {
			n.book[[33]byte(key)] = string(value)
		}
		return nil
	})
}

// keepClients connects to whom it should be connected with.
func (n *Node) keepClients() {
	n.bookMu.Lock()
	defer n.bookMu.Unlock()
	for id, addr := range n.book {
		n.host.Keep(id, addr)
	}
}

// descriptor is where others can reach a node: what it announced, else what we were told by the operator. It is a BOLT 7 address
// descriptor, or nil.
func (n *Node) descriptor(id [33]byte) []byte {
	for _, text := range append(n.gossip.addresses(id), n.Addresses(id)...) {
		if a, err := graph.ParseAddress(text); err == nil {
			if d, err := a.Descriptor(); err == nil {
				return d
			}
		}
	}
	return nil
}

// told is where a payer said that its LSP can be reached, if that is this node.
func (n *Node) told(id [33]byte) []string {
	n.brain.mu.Lock()
	d := n.brain.payee.LSPAddress(id)
	n.brain.mu.Unlock()
	if a, err := graph.ReadDescriptor(d); err == nil {
		return []string{a.String()}
	}
	return nil
}

// Addresses are where a node can be reached: what we were told by the operator, else what it announced.
func (n *Node) Addresses(id [33]byte) []string {
	n.bookMu.Lock()
	addr, ok := n.book[id]
	n.bookMu.Unlock()
	if ok {
		return []string{addr}
	}
	return n.gossip.addresses(id)
}
