// Package channel is BOLT 2 for one channel, as a pure state machine: values in, values out. It knows no clock, disk,
// socket or random source; keys stay behind Crypto.
//
//	state, out = Apply(state, crypto, events)
//
// Apply is total. Events are messages of the peer, commands of forwarding and the operator, and facts about the chain.
// The Output has four parts, and the caller owes them this order:
//
//	Save      is written first, in one transaction, in the order of the turns of this channel
//	Send      and
//	Chain     wait until Save, and all before it, is durable
//	Notices   are for inside the node and need not wait, but must not overtake the queueing of Save
//
// The last event of every batch is Sign: it covers all pending updates with one commitment_signed. For messages of one
// connection the caller sends Connected first, Disconnected last, and drops what Send has for a connection that is gone:
// channel_reestablish makes up for it.
//
// The phases:
//
//	opening --> normal --> shutdown --> closing --> closed
//	   |           |           |           ^
//	   |           +-----------+-----------+   force close, by anyone
//	   +--> abandoned (nothing was at stake)   waiting --> closing: the peer proved that our state is old
//
// Every update climbs one ladder of five stages (stage.go); what a commitment holds is a view, two stages (spec.go).
// Nothing at stage 1 is ever on disk: Restore of the rows is the State after Disconnected. Bodies of HTLCs are rows of
// their own, written once; the core has their stages.
//
// An outcome told by Settle is in the core until its removal is irrevocable. A preimage from the peer is in the core
// from the moment it is known, and a Resolved with it is final: whatever the peer does later, no failure follows.
//
// # On chain
//
// A cooperative close is published and watched until it is six blocks deep. In any other end the channel is frozen, as it stands,
// when our commitment is to be published or when a transaction has spent the funding output, and channel/onchain (BOLT 5)
// has the rest: this package tells it every fact and every preimage, and passes on what it wants. Its State is part of the core.
//
//	Resolved  of an HTLC we offered: with the preimage as soon as the chain, or the mempool, shows it; as failed once it is beyond doubt
//	Settled   of an HTLC the peer offered: it needs no more care
//	Bump      coins of the wallet are wanted, for a transaction that cannot pay for itself: answer Funded
//	Release   coins are free again
//	NeedRevoked  the row of a revoked commitment is wanted: answer RevokedData
//	Closed    a hundred blocks deep, all is over
//
// Besides the order above, the caller owes a channel on chain: every spend of a watched output that it sees in the mempool, again with every block
// while it is there; and Settle for every preimage of an HTLC the peer offered, however late.
package channel
