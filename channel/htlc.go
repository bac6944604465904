package channel

import "github.com/lightningnetwork/lnd/lnwire"

// ID is the number this node gave a channel when it was opened or accepted: the integer key of its row.
// It never changes, unlike the temporary and the final channel_id of BOLT 2.
type ID uint64

// Key names an HTLC inside this node. Of the HTLCs the peer offered and of those we offered the ids are separate
// sequences (BOLT 2); which one is meant is always clear from where the Key stands. Unique only from stage 2.
type Key struct {
	Channel ID
	HTLC    uint64
}

// HTLC is the body of an HTLC: everything of its update_add_htlc. It is immutable and shared by all States.
type HTLC struct {
	Key     Key
	Amount  lnwire.MilliSatoshi
	Hash    [32]byte
	Expiry  uint32 // cltv_expiry, a block height
	Onion   [1366]byte
	PathKey []byte // 33 bytes, or nil: blinded path_key of the update_add_htlc
	TLVs    []byte // its whole TLV stream as received or to be sent, so that hold TLVs survive a restart. Includes path_key.
	Origin  Origin // of an HTLC we offered: on whose behalf. nil for one the peer offered
	// Back, of an HTLC we offered for another, is the height by which its money should be ours again if the channel goes on chain: so
	// long before the incoming HTLC expires that its failure is deep by then. 0: no better is known than some blocks after Expiry.
	Back uint32
}

// Origin is whom an HTLC we offered is for. The set is closed.
type Origin interface{ origin() }

// Forward is the origin of a forwarded HTLC: the incoming one.
type Forward struct{ In Key }

// Payment is the origin of a part of our own payment. ID is the payment, Part the attempt within it.
type Payment struct {
	ID   uint64
	Part uint32
}

func (Forward) origin() {}
func (Payment) origin() {}

// Outcome is how an HTLC ended. The set is closed.
type Outcome interface{ outcome() }

// Fulfill carries the preimage. TLVs is the message's TLV stream, passed on unread (attribution data).
type Fulfill struct {
	Preimage [32]byte
	TLVs     []byte
}

// Fail carries the encrypted reason of update_fail_htlc.
type Fail struct {
	Reason []byte
	TLVs   []byte
}

// Malformed is update_fail_malformed_htlc. Code has the BADONION bit.
type Malformed struct {
	Code      uint16
	OnionHash [32]byte
}

func (Fulfill) outcome()   {}
func (Fail) outcome()      {}
func (Malformed) outcome() {}
