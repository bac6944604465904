package chain

import (
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// FeePerKw is a fee rate in satoshi per 1000 weight units, the BOLTs' feerate_per_kw.
type FeePerKw uint32

// Event is a fact about the best chain. The set is closed.
type Event interface{ event() }

// BlockConnected says that the best chain now ends in this block.
// It is delivered after every other fact of the same block.
type BlockConnected struct {
	Height uint32
	Hash   chainhash.Hash
	Time   int64 // the header's time, unix seconds
}

// BlockDisconnected says that the block at Height has left the best chain:
// every fact at this height or above is void. The tip is now Height-1.
type BlockDisconnected struct {
	Height uint32
	Hash   chainhash.Hash
}

// Confirmed says that a watched transaction is in the block at Height, at position TxIndex.
type Confirmed struct {
	Tx      *wire.MsgTx
	Height  uint32
	TxIndex uint32
}

// Spent says that a watched output was spent by input Input of By, in the block at Height.
// Height 0 means: seen in the mempool only. Such a fact may teach a preimage and nothing else.
type Spent struct {
	Out     wire.OutPoint
	By      *wire.MsgTx
	Input   uint32
	Height  uint32
	TxIndex uint32
}

// Stranded says that a transaction that is published spends a coin of the wallet that is not there any more: what made the coin has left the
// best chain and something else took its place, or something else has spent it. The same can be done with other coins. It is told with every
// block while it is so.
type Stranded struct{ Tx chainhash.Hash }

// FeeRates are the backend's newest estimates, in sat/kw. Floor is the least that is relayed.
type FeeRates struct {
	Floor  FeePerKw
	Slow   FeePerKw // about a day
	Normal FeePerKw // about an hour
	Urgent FeePerKw // the next blocks
}

func (BlockConnected) event()    {}
func (BlockDisconnected) event() {}
func (Confirmed) event()         {}
func (Spent) event()             {}
func (Stranded) event()          {}
func (FeeRates) event()          {}
