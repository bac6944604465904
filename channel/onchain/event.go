package onchain

import (
	"lightningrod/chain"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Event is everything that can happen to a channel on chain. The set is closed.
type Event interface{ event() }

// Chain is a fact about the chain.
type Chain struct{ Event chain.Event }

// Close asks to publish our commitment. It is ignored if the peer has proved that our state is old.
type Close struct{}

// Settle brings the preimage of an HTLC the peer offered. Telling it again is harmless; a wrong one is ignored.
type Settle struct {
	HTLC     uint64
	Preimage [32]byte
}

// Funded answers a Bump: the transaction that the wallet made of it, complete but for the witness of input 0. Fee is what it
// pays in satoshi.
type Funded struct {
	Out wire.OutPoint // Bump.Out
	Tx  *wire.MsgTx
	Fee int64
}

// Revoked answers Output.Need: the HTLCs that the revoked commitment had outputs for, as its owner saw them. None if there
// is no row.
type Revoked struct {
	Number uint64
	HTLCs  []commitment.HTLC
}

func (Chain) event()   {}
func (Close) event()   {}
func (Settle) event()  {}
func (Funded) event()  {}
func (Revoked) event() {}

// Output is what one Apply wants done. Chain and Bumps wait until the State is durable.
type Output struct {
	Changed  bool // the State has to be saved
	Chain    []chain.Request
	Bumps    []Bump
	Release  []*wire.MsgTx // funded transactions that are of no use: their coins are free
	Resolved []Resolved
	Ended    []Ended
	Need     []uint64 // numbers of revoked commitments whose HTLCs are needed: answer with Revoked
	Warn     string   // for the operator: funds may be lost
	Done     bool     // everything is over and buried: the State may go
}

// Resolved says how an HTLC we offered ended. Each gives exactly one.
type Resolved struct {
	HTLC     uint64
	Preimage *[32]byte // nil: it failed, and can never be claimed
}

// Ended says that an HTLC the peer offered needs no more care. Claimed: we have it, by its preimage, deep in the chain.
type Ended struct {
	HTLC    uint64
	Claimed bool
}

// Bump asks the wallet for coins, since a transaction cannot pay for itself. What is wanted is a transaction of version 2 with
// LockTime, whose input 0 spends Out with Sequence, whose first outputs are Outputs (none: all is change), and whose other
// inputs are confirmed coins of the wallet, signed. It pays Rate for its own weight and Extra on top, MaxFee at the most. If the
// wallet cannot, or MaxFee does not reach, a lower rate is better than nothing. The answer is Funded.
type Bump struct {
	Out      wire.OutPoint // the output claimed, which names the Bump
	Prev     *wire.TxOut
	Sequence uint32
	Witness  int64 // weight of the witness that input 0 will have
	Outputs  []*wire.TxOut
	LockTime uint32
	Rate     chain.FeePerKw
	Extra    int64 // sat: what the parent lacks
	MaxFee   int64 // sat, Extra included
	Deadline uint32
	Parent   *wire.MsgTx // the unconfirmed commitment that this is to pull, published with it; else nil
	Replaces *wire.MsgTx // the answer before, whose coins are to be spent again, or nil
}

// Crypto signs with the keys of the channel: deterministic, a batch at a time.
type Crypto interface {
	Sign([]commitment.SignJob) []lnwire.Sig
}
