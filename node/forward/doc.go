// Package forward decides about HTLCs. It is where channel, onion and rod meet, and it is pure: an Event goes
// in, an Output comes out, nothing else happens.
//
// Every incoming HTLC whose addition is irrevocably committed is Offered once. It climbs a list of stages
// (decide.go), each of which only looks:
//
//	check    the onion's amounts and expiries against the policy of the channel it names
//	receive  for us: an invoice or a keysend, and the set of parts it belongs to
//	hold     rod.Table.Judge: pass, hold, give up
//	choose   a channel with the next node that can carry it now
//	add      the HTLC to offer
//
// and then stands in one of these states:
//
//	           +---------+  released, block, usable   +---------+
//	Offered -> | pending | -------------------------> | on way  | -- Resolved{preimage} --> fulfilled
//	           +---------+ <------------------------- +---------+
//	              |  |           Refused                   | Resolved{failure}
//	deadline,     |  | incoming channel on chain           v
//	cancel        |  +------------> void                 failed --- Settled ---> forgotten
//	              +-------------------------------------->
//
// Pending has three kinds: held (rod holds it), waiting (nothing can carry it at this moment) and part (of an
// incomplete set, for us). Pending HTLCs have no outgoing HTLC, so they can be failed at will; each has a
// deadline, a height or a time, at which that happens. On way means that an Add was posted: from then on only
// Refused or Resolved ends it. A known preimage ends every discussion.
//
// # What the caller owes
//
// Serialise all calls with one mutex, which also covers the rod.Table: the Forwarder owns it.
//
// Rows of the Output of Resolved must be in the same write as the turn of the channel that gave the notice: in that
// very write the channel forgets the HTLC, and a crash between two writes would lose the outcome (the incoming HTLC
// would be judged afresh, and paid a second time). So, for every turn: apply it, Handle its notices under the mutex,
// queue the turn with all these rows, then post the Commands. Rows of Outputs that no turn caused are a write of
// their own, queued before the Commands are posted. Commands do not wait for the disk; Replies and Wakes do.
//
// Settle, FailWith and WrapWith carry Clear: rows to put into the write of the incoming channel's turn that
// stores the outcome, or its refusal to. Nobody else deletes rows of the table settled, except Rebuild.
//
// FailWith and WrapWith are to be turned into channel.Settle with a channel.Fail by onion.Router, from the
// HTLC's own onion.
//
// The engine derives no rod.Event from what it also tells the Forwarder: Block, Tick, OnChain, ShuttingDown,
// Settled and Resolved are passed on to the rod table here.
package forward
