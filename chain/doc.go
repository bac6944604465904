// Package chain holds what the rest of the node knows of the block chain: facts
// come in as Events, wishes go out as Requests, and the Tracker turns blocks
// into facts. It does no I/O; the backends under it (embedded, bitcoind) do.
//
// A fact carries its height. Whoever keeps one treats it as final only when it
// is deep enough, so that a reorganisation is: forget the facts above the fork.
package chain
