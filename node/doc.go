// Package node runs the pure packages: it is the only place where channel,
// onion, rod and forward meet sockets, disk and clock.
//
// # Goroutines, queues, locks
//
//	peer readers (one a peer)     chain loop (one)        ticker (one)      API callers
//	      |                            |                      |                 |
//	      |  Received, Connected ...   | Chain{fact}          | Tick            | Open, Pay ...
//	      v                            v                      v                 v
//	  inbox (one a channel) ----> run queue ----> workers (GOMAXPROCS): one turn of one channel at a time
//	                                                  | 1 channel.Apply(state, events + Sign)
//	                                                  | 2 the forwarder hears its notices; its rows join the turn's
//	                                                  | 3 queue the turn, and only then post the commands -> other inboxes
//	                                                  v
//	                              commit queue ----> committer (one): all queued turns, one transaction, one sync
//	                                                  v
//	                              release, in order: messages, chain requests, webhook deliveries, events, API answers
//
// What leaves the node waits for the disk; what stays inside does not. A turn
// is queued before its notices are passed on, so that anything it causes is
// behind it in the queue, and the disk always holds a prefix of what the node
// thought. Nothing of a lost tail was ever seen outside.
//
// Events are numbered by the committer and written with the group that caused them, so they are a log: whoever reads them goes on at any
// number that is kept (Node.Events). Those that come without rows wait up to 50 ms for a group that has some, as messages which
// need no disk must not cost a sync.
//
// Locks, always taken in this order: the brain's (forwarder, rod table, payer
// and payee, wallet's use of them), an inbox's, the commit queue's. The
// registry, the graph and the wallet have one each, leaves: nothing is taken
// under them. A channel's State belongs to whoever runs its turn; as States are
// immutable once Apply has returned them, anybody may read the newest.
//
// A store error ends the node: nothing was released, and starting again is the
// recovery.
package node
