package channel

import (
	"lightningrod/chain"
	"lightningrod/channel/onchain"

	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Output is what one Apply wants done. Send and Chain wait until Save is durable; Notices are for
// forwarding, inside the node, and do not wait.
type Output struct {
	Save    Save
	Send    []lnwire.Message
	Chain   []chain.Request
	Notices []Notice
}

// Save is the rows of one turn.
type Save struct {
	Core    []byte       // the State, encoded; nil: nothing durable changed
	Add     []HTLC       // bodies of HTLCs that reached the disk in this turn (stage 2 and up), written once
	Remove  []BodyKey    // bodies no longer needed
	Revoked []RevokedRow // what is needed to punish a revoked commitment of the peer
	Delete  bool         // the channel is over: drop all its rows
}

// BodyKey names an HTLC body of this channel. Offered: we offered it.
type BodyKey struct {
	Offered bool
	HTLC    uint64
}

// RevokedRow is kept for every commitment of the peer that had HTLCs and that it has revoked.
// Data is encoded by this package. Commitments without HTLCs need no row.
type RevokedRow struct {
	Number uint64
	Data   []byte
}

// Notice is news for forwarding and the engine. The set is closed.
type Notice interface{ notice() }

// Committed says that the addition of an HTLC the peer offered is irrevocably committed (stage 5). Sent once per
// life of the process; after a restart State.Received has it instead.
type Committed struct {
	HTLC HTLC
	// TooMuchDust: it exceeds max_dust_htlc_exposure_msat and is to be failed (BOLT 2 "Bounding exposure to trimmed
	// in-flight HTLCs"), its preimage not to be revealed.
	TooMuchDust bool
}

// Resolved says how an HTLC we offered ended. A Fulfill comes as soon as the preimage is known, a failure only when
// the removal is irrevocably committed or can never be claimed on chain. Each HTLC gives exactly one.
type Resolved struct {
	Key     Key
	Origin  Origin
	Outcome Outcome
}

// Refused says that an Add was not possible, or its HTLC was forgotten before it was ever signed for.
type Refused struct {
	Origin Origin
	HTLC   HTLC
	Err    error // *Refusal
}

// Settled says that the removal of an HTLC the peer offered is irrevocably committed: the outcome we gave it
// is final and needs no more care.
type Settled struct {
	Key     Key
	Outcome Outcome
}

// Usable says that HTLCs can be added: the channel is ready on both sides and re-established.
// It is sent again whenever the capacities have changed.
type Usable struct{ Out, In Capacity }

// Capacity is what one side can offer in one HTLC at this moment.
type Capacity struct {
	Max lnwire.MilliSatoshi // largest amount
	Min lnwire.MilliSatoshi // smallest amount (htlc_minimum_msat)
	// Slots is how many more HTLCs fit.
	Slots uint16
}

// Unusable says that no HTLC can be added until the next Usable: disconnected, shutting down.
type Unusable struct{}

// NeedFunding asks the engine for a funding transaction with an output of Amount satoshi to Script.
// The answer is the event Funding; if there is none to be had, ForceClose ends the attempt.
type NeedFunding struct {
	Script []byte
	Amount int64
}

// Ready says that channel_ready went both ways. ShortID is the confirmed one.
type Ready struct{ ShortID lnwire.ShortChannelID }

// Deep says that the funding transaction has six confirmations, so that the channel may be announced (BOLT 7).
type Deep struct{ ShortID lnwire.ShortChannelID }

// ShuttingDown says that shutdown was sent or received: no HTLC will be added any more.
type ShuttingDown struct{}

// OnChain says that the funding output is spent by, or about to be spent by, a commitment: held HTLCs of this channel are void.
type OnChain struct{}

// Bump asks for coins of the wallet, on chain, for a transaction that cannot pay for itself: see onchain.Bump. The answer is the event
// Funded. One that is not answered is asked again with every block.
type Bump struct{ onchain.Bump }

// Release says that a transaction funded for a Bump is of no use: its coins are free.
type Release struct{ Tx *wire.MsgTx }

// NeedRevoked asks for the RevokedRow of a commitment that the peer has revoked and that was confirmed. The answer is the event
// RevokedData; it is asked again with every block until then.
type NeedRevoked struct{ Number uint64 }

// Warn is for the operator: funds may be lost.
type Warn struct{ Text string }

// Closed says that the channel is over and everything of ours is resolved.
type Closed struct{ Tx *wire.MsgTx }

// Abandoned says that opening failed before anything was at stake.
type Abandoned struct{ Reason string }

// Violated says that the peer broke a rule; Err is a *Violation. For logs and metrics: what was to be done about it is
// already in the Output.
type Violated struct{ Err error }

func (Committed) notice()    {}
func (Resolved) notice()     {}
func (Refused) notice()      {}
func (Settled) notice()      {}
func (Usable) notice()       {}
func (Unusable) notice()     {}
func (NeedFunding) notice()  {}
func (Ready) notice()        {}
func (Deep) notice()         {}
func (ShuttingDown) notice() {}
func (OnChain) notice()      {}
func (Bump) notice()         {}
func (Release) notice()      {}
func (NeedRevoked) notice()  {}
func (Warn) notice()         {}
func (Closed) notice()       {}
func (Abandoned) notice()    {}
func (Violated) notice()     {}

// Declined says that a command other than Add was not possible; the channel is unchanged. Err is a *Refusal.
type Declined struct {
	Event Event
	Err   error
}

// PeerSaid carries the text of a warning, or of an error (Fatal), made printable. For logs.
type PeerSaid struct {
	Text  string
	Fatal bool
}

func (Declined) notice() {}
func (PeerSaid) notice() {}
