package rod

// NodeID is a node's public key, compressed: 33 bytes, all of which are compared.
type NodeID = [33]byte

// HTLCKey names an incoming HTLC: the number of its channel inside this node, and its id on that channel.
type HTLCKey struct {
	Channel, ID uint64
}

// HoldKey names what a request holds: the HTLCs with this payment hash on channels with this peer. Never the hash alone.
type HoldKey struct {
	Peer NodeID
	Hash [32]byte
}

// HTLC is an incoming HTLC as the Table needs to see it. It is irrevocably committed.
type HTLC struct {
	Channel, ID uint64
	Peer        NodeID
	Hash        [32]byte
	Amount      uint64 // msat
	Expiry      uint32 // cltv_expiry of the incoming HTLC: E_in, a height
	OutAmount   uint64 // amt_to_forward, msat
	OutExpiry   uint32 // outgoing_cltv_value: E_out, a height
	Hold        *HoldTLV
	MaxInFlight uint64 // msat: max_htlc_value_in_flight_msat of its channel; 0 is unknown and not limited
}

// Key is the HTLC's name.
func (h HTLC) Key() HTLCKey { return HTLCKey{h.Channel, h.ID} }

// Event is what can happen to a Table. The set is closed.
type Event interface{ event() }

// Requested is a rod_hold that arrived.
//
// By onion message: Peer is what PayerOf reads in the payload (the signature proves it, the Table checks that), ReplyPath is
// the encoded reply_path of the same message, or nil. Over LSPS0: Direct is set, Peer is the peer of the connection and the
// payload needs no signature; the answer is in Output.Replies too, ReplyPath may be nil.
type Requested struct {
	Peer       NodeID
	HasChannel bool // we have a usable channel with Peer
	Payload    []byte
	ReplyPath  []byte
	Direct     bool
}

// CancelRequested is a rod_cancel that arrived. Fields as in Requested.
type CancelRequested struct {
	Peer       NodeID
	HasChannel bool
	Payload    []byte
	ReplyPath  []byte
	Direct     bool
}

// Unblock is a payment_unblock found in our hop of an onion message. The message is forwarded whatever the Table says.
// Next is the node the message goes to next: a pid releases only what that node asked to hold. Zero does not check.
type Unblock struct {
	Pid  [32]byte
	Next NodeID
}

// Member says that an HTLC is committed and was just judged to belong to a request (Verdict.Member).
type Member struct{ HTLC HTLC }

// Fulfilled says that an incoming HTLC's preimage is durable and not yet with the payer.
type Fulfilled struct{ Channel, ID uint64 }

// Failed says that an incoming HTLC is being failed back and the payer does not know yet.
type Failed struct{ Channel, ID uint64 }

// Declined says that the LSP's operator will not hold an HTLC any longer. Its request ends unreleased and all of it goes back, as without this part
// the payment cannot be complete. What is released, or has an outcome, is not the operator's to take back: then nothing changes.
type Declined struct{ Channel, ID uint64 }

// Ended says that an incoming HTLC has an outcome that is irrevocable with the payer: off chain, or on chain deep enough.
type Ended struct {
	Channel, ID uint64
	Settled     bool
}

// Tick is the time, in unix seconds. It comes about every second.
type Tick struct{ Now int64 }

// Block is the height of the best chain, after every block connected or disconnected.
type Block struct{ Height uint32 }

// PeerUp says that a peer connected, PeerDown that its connection ended.
type PeerUp struct{ Peer NodeID }

// PeerDown is the other half of PeerUp.
type PeerDown struct{ Peer NodeID }

// ChannelOnChain says that a channel's funding output was spent: its holds are void and nothing is forwarded for them.
type ChannelOnChain struct{ Channel uint64 }

// ChannelShutdown says that shutdown was sent or received on a channel: its holds are given up.
type ChannelShutdown struct{ Channel uint64 }

// ChannelClosed says that a channel is over and forgotten: HTLCs of it that are still members have ended.
type ChannelClosed struct{ Channel uint64 }

// Wanted raises (or, with Off, lowers) a reason to wake a peer that is not about holds: mail waits, an HTLC waits.
type Wanted struct {
	Peer   NodeID
	Method string
	Off    bool
}

func (Requested) event()       {}
func (CancelRequested) event() {}
func (Unblock) event()         {}
func (Member) event()          {}
func (Fulfilled) event()       {}
func (Failed) event()          {}
func (Declined) event()        {}
func (Ended) event()           {}
func (Tick) event()            {}
func (Block) event()           {}
func (PeerUp) event()          {}
func (PeerDown) event()        {}
func (ChannelOnChain) event()  {}
func (ChannelShutdown) event() {}
func (ChannelClosed) event()   {}
func (Wanted) event()          {}
