package forward

import (
	"lightningrod/channel"
	"lightningrod/onion"
	"lightningrod/rod"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Event is everything forwarding hears of. The set is closed.
type Event interface{ event() }

// From the channels.

// Offered is an incoming HTLC at stage 5, its onion peeled: exactly one of Hop and Failure is set.
// Offering one again changes nothing.
type Offered struct {
	HTLC    channel.HTLC
	Peer    [33]byte // who offered it
	Hop     *onion.Hop
	Failure *onion.Failure
}

// Resolved, Refused and Settled are the channel's notices.
type (
	Resolved struct{ channel.Resolved }
	Refused  struct{ channel.Refused }
	Settled  struct{ channel.Settled }
)

// Channel introduces a channel, or changes what is known of it. A channel is unusable until Usable.
type Channel struct {
	ID     channel.ID
	Peer   [33]byte
	SCIDs  []lnwire.ShortChannelID // all that an onion may call it by: confirmed, aliases
	Policy Policy
	// MaxInFlight is our max_htlc_value_in_flight_msat: the most the peer may have in HTLCs to us. 0: unknown.
	MaxInFlight lnwire.MilliSatoshi
	// OnChain and Shutdown are for channels found in that state at start. Once set they stay.
	OnChain, Shutdown bool
}

// Usable and Unusable are the channel's notices.
type Usable struct {
	ID      channel.ID
	Out, In channel.Capacity
}

type Unusable struct{ ID channel.ID }

// ShuttingDown says that shutdown was sent or received: holds of HTLCs the channel offered us are given up.
type ShuttingDown struct{ ID channel.ID }

// OnChain says that the channel's funding output is spent, or about to be: what it offered is never forwarded from now on.
type OnChain struct{ ID channel.ID }

// Closed says that the channel is over, all its outputs resolved.
type Closed struct{ ID channel.ID }

// From the chain and the clock.

// Block says that the best chain now ends at Height. It may be lower than before.
type Block struct{ Height uint32 }

// Tick tells the time, unix seconds. It is expected about every second.
type Tick struct{ Now int64 }

// Stale says whether the tip can be relied on. While it cannot, nothing is added, released or received;
// HTLCs wait under the deadlines they have. The Forwarder starts stale or not as Durable says.
type Stale struct{ Stale bool }

// Congested says whether blocks are so full that claims may not get in in time (flood and loot). While they are, nothing new is forwarded that nobody
// holds: the less is in flight, the less there is to be claimed. What has been held, or is on its way, is not concerned. The Forwarder starts
// not congested.
type Congested struct{ Congested bool }

// From peers and onion messages.

// PeerDevice says whether a peer can be woken.
type PeerDevice struct {
	Peer [33]byte
	Has  bool
}

// Rod is an event for the rod table.
type Rod struct{ Event rod.Event }

// From the operator.

// Register registers an invoice to be paid. Its State must be InvoiceOpen. One with the same hash is not
// overwritten: the notice is InvoiceRefused.
type Register struct{ Invoice Invoice }

// Cancel ends an open invoice; the parts that have come are failed.
type Cancel struct{ Hash [32]byte }

// Forget drops an invoice that is not open, row and all.
type Forget struct{ Hash [32]byte }

// Pay offers parts of a payment of ours. For a new ID it makes the payment; for one that exists it adds parts
// (Payment's other fields are then ignored), and reopens it if it had failed.
type Pay struct {
	Payment Payment // without Parts
	Parts   []Offer
}

// ForgetPayment drops a payment that has ended, row and all.
type ForgetPayment struct{ ID uint64 }

func (Offered) event()       {}
func (Resolved) event()      {}
func (Refused) event()       {}
func (Settled) event()       {}
func (Channel) event()       {}
func (Usable) event()        {}
func (Unusable) event()      {}
func (ShuttingDown) event()  {}
func (OnChain) event()       {}
func (Closed) event()        {}
func (Block) event()         {}
func (Tick) event()          {}
func (Stale) event()         {}
func (Congested) event()     {}
func (PeerDevice) event()    {}
func (Rod) event()           {}
func (Register) event()      {}
func (Cancel) event()        {}
func (Forget) event()        {}
func (Pay) event()           {}
func (ForgetPayment) event() {}
