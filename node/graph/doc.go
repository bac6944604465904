// Package graph is the node's view of the network (BOLT 7): which public channels exist, what their ends charge, and which
// way a payment can go. It does no I/O and asks neither clock nor randomness: times are arguments, what should be stored,
// sent or looked up on the chain is returned. It is not safe for concurrent use; the owner puts one mutex around a Graph
// and the Syncs that read it.
//
// # How gossip goes through
//
//	peer.Message 256, 257, 258
//	  Parse(type, body)               decode; outside the mutex
//	  Verify                          the signatures that stand on their own (256, 257); outside the mutex, in parallel if wanted
//	  Graph.Apply(from, message, now) signature of 258, order, limits  -> Output{Rows, Relay, Checks}
//	      Checks: funding outputs to look up on the chain; the answer comes back as Graph.Checked
//	  Broadcast.Add(Output.Relay...)  keeps the newest of each message until the next flush (BOLT 7 "Rebroadcasting")
//
//	peer.Message 261 .. 265
//	  Sync.Receive(graph, type, body) one Sync a connection; then Sync.Pull as long as the connection has room
//
// Messages are kept as the bytes that were signed: unknown fields survive storing and relaying.
//
// # What the caller owes
//
//   - Rows are stored in the order given, and handed to Load before anything else after a restart. Losing the newest of them is
//     harmless: peers tell again.
//   - Connected blocks are told by Block; a spent funding output (Watches lists them) by Spent, and by Unspent if a
//     reorganisation takes it back. Prune is called now and then.
//   - Own channels are told by SetOwn and ForgetOwn; their announcements, made with AssembleChannelAnnouncement and
//     NewChannelUpdate, enter by Announce and Apply (from the node itself).
package graph
