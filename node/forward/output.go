package forward

import (
	"lightningrod/channel"
	"lightningrod/rod"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Output is what one Handle wants done. See the package comment for the order.
type Output struct {
	Rows     []Row
	Commands []Command    // inside the node: after Rows are queued
	Notices  []Notice     // news for the ledgers' users: payer, payee, API
	Replies  []rod.Reply  // leave when Rows are durable
	Wakes    []rod.Wake   // likewise
	News     []rod.News   // for whoever watches
	Claim    []channel.ID // to be closed by force: else a preimage comes too late for the incoming HTLC
}

// Row is one row to write; Value nil deletes it.
type Row = rod.Row

// The tables of the rows made here. Rows of rod's tables pass through.
const (
	TableSettled = "settled" // key: origin; value: outcome. One for each outcome on its way to the incoming channel
	TableInvoice = "invoice" // key: payment hash
	TablePayment = "payment" // key: payment id
)

// Command is what channels, and the engine on the way to them, are to do. The set is closed.
type Command interface{ command() }

// Add posts channel.Add.
type Add struct {
	Channel channel.ID
	HTLC    channel.HTLC
}

// Settle posts channel.Settle.
type Settle struct {
	Key     channel.Key
	Outcome channel.Outcome
	Clear   []Row // to be written with the turn that stores the outcome
}

// FailWith asks to fail an incoming HTLC with a message of ours: onion.Router.Fail, then channel.Settle.
type FailWith struct {
	HTLC    *channel.HTLC // never changed
	Message lnwire.FailureMessage
	Clear   []Row
}

// WrapWith asks to fail an incoming HTLC with the reason that came from downstream: onion.Router.Wrap, then channel.Settle.
type WrapWith struct {
	HTLC   *channel.HTLC
	Reason []byte
	Clear  []Row
}

func (Add) command()      {}
func (Settle) command()   {}
func (FailWith) command() {}
func (WrapWith) command() {}

// Notice is news that changes nothing in any channel. The set is closed. Where it tells of a row, the row is in the
// same Output.
type Notice interface{ notice() }

// PartArrived says that an HTLC for an open invoice of ours is here. The sum of parts is Received of Total.
type PartArrived struct {
	Key             channel.Key
	Hash            [32]byte
	Received, Total lnwire.MilliSatoshi
}

// Received says that an invoice (or a keysend) is paid; its parts are being fulfilled.
type Received struct{ Invoice Invoice }

// InvoiceRefused says that a Register, Cancel or Forget was not possible.
type InvoiceRefused struct {
	Hash [32]byte
	Err  error
}

// PayRefused says that a Pay or ForgetPayment was not possible: nothing changed, nothing was offered.
type PayRefused struct {
	ID    uint64
	Err   error
	Later bool // the tip is stale, and nothing else was looked at: the same may be possible later
}

// PaymentPartFailed says that a part of a payment of ours has ended without a preimage. Outcome is what came back; it
// is nil when the HTLC was never offered, for the reason Err.
type PaymentPartFailed struct {
	ID      uint64
	Part    Part
	Outcome channel.Outcome
	Err     error
}

// PaymentPaid says that the preimage of a payment of ours is known. It comes once for a payment.
type PaymentPaid struct {
	ID       uint64
	Hash     [32]byte
	Preimage [32]byte
}

// PaymentDone says that no part of a payment is on its way any more. If it is not Paid the payment has failed, unless
// another Pay reopens it.
type PaymentDone struct {
	ID   uint64
	Hash [32]byte
	Paid bool
}

// Held says that an incoming HTLC is held until released, or the block height Deadline.
type Held struct {
	Key      channel.Key
	Hash     [32]byte
	Amount   lnwire.MilliSatoshi
	Deadline uint32
}

// Forwarded says that an incoming HTLC was posted to an outgoing channel.
type Forwarded struct {
	In  channel.Key
	Out channel.ID
	Fee lnwire.MilliSatoshi
}

// Fulfilled and Failed say how an incoming HTLC was decided. Failed.Code is 0 if the failure came from downstream.
type Fulfilled struct{ In channel.Key }

type Failed struct {
	In   channel.Key
	Code lnwire.FailCode
}

func (PartArrived) notice()       {}
func (Received) notice()          {}
func (InvoiceRefused) notice()    {}
func (PayRefused) notice()        {}
func (PaymentPartFailed) notice() {}
func (PaymentPaid) notice()       {}
func (PaymentDone) notice()       {}
func (Held) notice()              {}
func (Forwarded) notice()         {}
func (Fulfilled) notice()         {}
func (Failed) notice()            {}
