package chain

import (
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// Request is what a state machine asks of the chain. Asking twice is harmless. The set is closed.
type Request interface{ request() }

// WatchTx asks for Confirmed when Txid confirms. Script is the pkScript of one of its outputs.
type WatchTx struct {
	Txid   chainhash.Hash
	Script []byte
	Since  uint32 // no need to look below this height
}

// WatchSpend asks for Spent when Out is spent.
type WatchSpend struct {
	Out    wire.OutPoint
	Script []byte
	Since  uint32
}

// Publish asks to broadcast Tx and to keep doing so until it, or a conflict, is confirmed.
// Deadline is the height by which it should confirm; 0 means no hurry.
type Publish struct {
	Tx       *wire.MsgTx
	Deadline uint32
}

func (WatchTx) request()    {}
func (WatchSpend) request() {}
func (Publish) request()    {}
