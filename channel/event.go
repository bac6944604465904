package channel

import (
	"lightningrod/chain"

	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Event is everything that can happen to a channel. The set is closed.
type Event interface{ event() }

// From the peer.

// Received is a message of the channel's peer about this channel.
type Received struct{ Msg lnwire.Message }

// Connected says that a connection to the peer is up, init messages exchanged. Features are the
// peer's init features, raw (big-endian bit vector as on the wire).
type Connected struct{ Features []byte }

// Disconnected says that the connection is gone. Whatever was not signed for is forgotten.
type Disconnected struct{}

// From forwarding.

// Add asks to offer an HTLC to the peer. Exactly one answer comes for each Add: Refused, or (once the
// HTLC is signed for, any time later) Resolved with the same Origin. HTLC.Key.HTLC is ignored: the channel assigns the id.
type Add struct{ HTLC HTLC }

// Settle tells the channel the outcome of an HTLC the peer offered. Telling it again is harmless; a Fulfill
// replaces a Fail that has not been signed for, never the other way round.
type Settle struct {
	HTLC    uint64
	Outcome Outcome
}

// From the chain.

// Chain is a fact about the chain: every block, and what this channel watches.
type Chain struct{ Event chain.Event }

// From the operator and the engine.

// Open starts the opening of a channel as funder (BOLT 2 v1 establishment). The State must be new.
type Open struct {
	Capacity uint64 // satoshi
	Push     lnwire.MilliSatoshi
	FeePerKw chain.FeePerKw // of the commitment transactions
}

// Funding answers the notice NeedFunding: Tx is complete and fully signed, its output Index is the funding
// output. It must not have been published.
type Funding struct {
	Tx    *wire.MsgTx
	Index uint32
}

// Funded answers the notice Bump with the transaction that the wallet made of it, complete but for the witness of input 0.
type Funded struct {
	Out wire.OutPoint // Bump.Out
	Tx  *wire.MsgTx
	Fee int64 // sat
}

// RevokedData answers the notice NeedRevoked with the Data of the RevokedRow, nil if there is no such row.
type RevokedData struct {
	Number uint64
	Data   []byte
}

// Close asks for a cooperative close: shutdown now, closing_signed once no HTLC is left.
// Script is where our share goes; empty takes the State's default.
type Close struct {
	Script   []byte
	FeePerKw chain.FeePerKw
}

// ForceClose publishes our newest commitment.
type ForceClose struct{ Reason string }

// UpdateFee asks, as funder, for a new commitment fee rate (BOLT 2 update_fee). It is refused while an earlier one is signed for, but
// not yet in force on both sides.
type UpdateFee struct{ FeePerKw chain.FeePerKw }

// Sign ends a turn: cover all pending updates with one commitment_signed, unless a revoke_and_ack is
// awaited or there is nothing to cover. The engine appends it to every batch.
type Sign struct{}

func (Received) event()     {}
func (Connected) event()    {}
func (Disconnected) event() {}
func (Add) event()          {}
func (Settle) event()       {}
func (Chain) event()        {}
func (Open) event()         {}
func (Funding) event()      {}
func (Funded) event()       {}
func (RevokedData) event()  {}
func (Close) event()        {}
func (ForceClose) event()   {}
func (UpdateFee) event()    {}
func (Sign) event()         {}
