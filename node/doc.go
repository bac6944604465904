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
// thought. Nothing of a lost tail was ever seen outside. Only failures of blinded
// payments are posted later, by timers (probeDelay).
//
// Events are numbered by the committer and written with the group that caused them, so they are a log: whoever reads them goes on at any
// number that is kept (Node.Events). Those that come without rows wait up to 50 ms for a group that has some, as messages which
// need no disk must not cost a sync.
//
// Locks, always taken in this order: the brain's (forwarder, rod table, payer
// and payee), an inbox's, the wallet's, the commit queue's. The registry and
// the graph have one each, leaves: nothing is taken under them, and under the
// wallet's only the commit queue's, since rows of the wallet are written as they
// stand when their turn is queued (Node.put): so none is ever older than one
// before it, whichever of two calls of the wallet is queued first. A channel's
// State belongs to whoever runs its turn; as States are immutable once Apply has
// returned them, anybody may read the newest.
//
// # Channels on chain
//
// A channel whose commitment is on chain goes on as before: turns, notices, rows. Four of its notices ask the node for something.
//
//	Bump         coins for a transaction that cannot pay for itself. The worker asks the wallet at once; the answer, Funded, is the very next turn of
//	             the channel, and the rows that lock the coins are written with that turn: both know of the transaction, or neither.
//	             Bumps may spend what ordinary transactions leave as the reserve. Without coins it is asked again with every block
//	Release      in the rows of the turn that says it
//	NeedRevoked  read from the store by a goroutine of its own, when all that is queued is written; the answer is posted
//	Warn         logged, and an event
//
// The chain loop publishes what turns ask for, with every block again, until it or a conflict is confirmed; a child goes out in one package with its
// unconfirmed parents where the backend takes packages. What spends a watched output in the mempool is told with every block, and when a
// new watch comes. After a restart channels hear the estimates once the missed blocks are in: with that they ask for everything again.
// When a channel is over, its HTLCs and its revoked commitments leave the disk in the same write as its row.
//
// A store error ends the node: nothing was released, and starting again is the
// recovery.
package node
