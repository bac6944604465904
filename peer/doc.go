// Package peer talks to other Lightning nodes: BOLT 8 (encrypted transport) and BOLT 1 (framing of messages, init,
// ping and pong, what to do with messages nobody knows) over TCP. It knows no channels and no gossip: messages are
// decoded and handed up, and what comes back down is put on the wire.
//
// A Host owns one node key. It listens, dials, keeps connections to chosen nodes alive, and has at most one
// connection to a node at a time. What happens is told to an Events, for each node strictly in this order:
//
//	Connected, Message..., Disconnected, Connected, Message..., Disconnected, ...
//
// also when a new connection takes the place of an old one: the new one reads nothing before the old one's
// Disconnected has returned.
//
// # Goroutines and queues of one connection
//
//	socket -> reader -> Events.Message                      (called synchronously: a slow receiver slows the peer, by TCP)
//	Peer.Send -> buffer, bounded by bytes -> writer -> socket    (one write for all that waits; overflow drops the connection)
//
// The reader calls Events. The writer encrypts, writes and sends pings. Peer.Send may be called by anybody, never
// blocks, and drops the connection rather than a message, since a peer that lost a message in the middle could not go on
// whereas a new connection starts with channel_reestablish.
//
// # What the caller owes
//
// Events must return, and must not call Host.Connect or Host.Close, which wait for it. Peer.Send, Peer.Close and
// Host.Disconnect are fine anywhere. Messages passed up are decoded but not judged, except for init, ping and pong, which
// stay here. Warning and error messages are logged and passed up.
package peer
