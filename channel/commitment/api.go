// Package commitment is BOLT 3: the keys, scripts, transactions, digests and witnesses of one channel, as values.
// It keeps no state and decides nothing. It knows one format only: option_anchors with zero-fee HTLC transactions
// (feature bits 12 and 22), static remote keys, and the closing_signed closing transaction.
//
// The caller derives the keys of one commitment (DeriveKeys), says what it pays (Spec) and builds it (Build). From
// the Commitment come the jobs for the counterparty's signatures (SignJobs, VerifyJobs), for the owner's own
// (OwnerJobs), the signed transaction (Signed) and, once it is on chain, every way to spend its outputs (Spend).
//
// "Owner" is the party that can publish the commitment and "other" is its peer, whoever of the two we are. The
// owner's "offered" HTLCs are those of BOLT 3 "Offered HTLC Outputs".
//
// The caller owes: that balances and HTLCs add up to the capacity, that the opener can pay the fee and the anchors
// (OpenerCost; Build only refuses transactions that spend more than the capacity), and the limits of BOLT 2.
package commitment

import (
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// PubKey is a compressed public key.
type PubKey = [33]byte

// BasePoints are what open_channel and accept_channel exchange (BOLT 3 "Key Derivation").
type BasePoints struct {
	Funding        PubKey
	Revocation     PubKey
	Payment        PubKey
	DelayedPayment PubKey
	HTLC           PubKey
}

// Keys are the keys of one commitment transaction, derived for its per-commitment point. "Owner" is the party that can
// publish the transaction, "other" is its peer.
type Keys struct {
	PerCommitmentPoint PubKey
	Revocation         PubKey // from the other's revocation basepoint
	OwnerDelayed       PubKey
	OwnerHTLC          PubKey
	OtherHTLC          PubKey
	OtherPayment       PubKey // the other's payment basepoint, untweaked (option_static_remotekey)
	OwnerFunding       PubKey
	OtherFunding       PubKey
}

// Static is what is the same for all commitments of one owner.
type Static struct {
	Funding       wire.OutPoint
	Capacity      int64  // satoshi
	OwnerIsOpener bool   // the opener pays the fee and the anchors
	DustLimit     int64  // satoshi, the owner's dust_limit_satoshis
	ToSelfDelay   uint16 // blocks, imposed on the owner
	// Obscure is the 48-bit factor of the commitment number (BOLT 3 "Commitment Transaction").
	Obscure uint64
}

// Spec is what one commitment pays. ToOwner, ToOther and the HTLCs add up to the capacity.
type Spec struct {
	Number   uint64              // commitment number, from 0, below 2^48
	FeePerKw uint32              // sat/kw
	ToOwner  lnwire.MilliSatoshi // before fee and anchors
	ToOther  lnwire.MilliSatoshi
	HTLCs    []HTLC
}

// HTLC is one HTLC in a Spec. Offered: the owner of the commitment offered it.
type HTLC struct {
	ID      uint64
	Offered bool
	Amount  lnwire.MilliSatoshi
	Hash    [32]byte
	Expiry  uint32
}

// Commitment is a built commitment transaction, unsigned.
type Commitment struct {
	Tx     *wire.MsgTx
	TxID   chainhash.Hash
	Keys   Keys
	Static Static
	Spec   Spec
	// HTLCs are the untrimmed HTLCs in output order, the order of htlc_signature in commitment_signed.
	HTLCs []HTLCOutput
	// ToOwner, ToOther, OwnerAnchor, OtherAnchor are output indexes, -1 where there is none.
	ToOwner, ToOther, OwnerAnchor, OtherAnchor int
	// Trimmed is the sum of the HTLCs below the dust limit.
	Trimmed lnwire.MilliSatoshi
	BaseFee int64 // satoshi, what the opener pays (BOLT 3 "Fee Calculation"), or would pay had it enough
	Fee     int64 // satoshi, including what trimming and rounding add: capacity minus outputs
}

// HTLCOutput is an untrimmed HTLC, its output and its second-stage transaction (HTLC-success or HTLC-timeout).
type HTLCOutput struct {
	HTLC   HTLC
	Index  uint32
	Script []byte // witness script
	Tx     *wire.MsgTx
}

// KeyKind says which of a channel's private keys signs.
type KeyKind uint8

const (
	KeyFunding KeyKind = iota
	KeyPayment
	KeyDelayedPayment
	KeyHTLC
	KeyRevocation // with the per_commitment_secret of the revoked commitment in Secret
)

// SignJob asks for an ECDSA signature, low-S, over Digest by a channel key. Point, if not zero, is the per-commitment
// point to derive with. For KeyRevocation, Secret is the peer's per-commitment secret.
type SignJob struct {
	Key    KeyKind
	Point  PubKey
	Secret [32]byte
	Digest [32]byte
}

// VerifyJob asks whether Sig is a valid, low-S ECDSA signature by Key over Digest.
type VerifyJob struct {
	Key    PubKey
	Digest [32]byte
	Sig    lnwire.Sig
}
