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
// # Where it stops
//
// On chain the channel publishes its commitment, recognises whose commitment was confirmed, sweeps its own balance
// (to_local after to_self_delay, to_remote after a block, to_local of a revoked commitment by penalty) to
// Params.ShutdownScript, learns preimages from spends of HTLC outputs, and resolves offered HTLCs that can no longer be
// claimed. It does not yet spend HTLC outputs, neither by timeout, nor by preimage, nor by penalty, and it does not bump
// fees through anchors: that is for channel/onchain (BOLT 5). String says so where it matters. A channel with unspent
// HTLC outputs stays closing.
package channel
