package commitment

import (
	"bytes"
	"crypto/sha256"

	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Spend is one way to spend one output of a commitment or of an HTLC transaction. The input of the spending
// transaction has Prev and Sequence, the transaction a locktime of at least LockTime; Job is then to be signed and
// Witness completes it. Spends may share a transaction. Revocation secrets and preimages are in it: not for logs.
type Spend struct {
	Prev     wire.OutPoint
	Amount   int64  // satoshi
	Script   []byte // witness script
	Sequence uint32
	LockTime uint32 // 0: any
	Weight   int64  // of the witness; InputWeight comes on top

	job    SignJob // without digest
	anyone bool    // needs no signature
	item   []byte  // what chooses the branch: between signature and script. nil: the empty item
	bare   bool    // no such item
}

// Input is the transaction input, without its witness.
func (s *Spend) Input() *wire.TxIn {
	return &wire.TxIn{PreviousOutPoint: s.Prev, Sequence: s.Sequence}
}

// Job asks for the signature of input in of tx, whose Midstate is m. It is of no use for an anchor spent as anyone.
func (s *Spend) Job(m *Midstate, tx *wire.MsgTx, in int) SignJob {
	j := s.job
	j.Digest = m.Digest(tx, in, s.Script, s.Amount)
	return j
}

// NeedsSignature is false for an anchor spent as anyone.
func (s *Spend) NeedsSignature() bool { return !s.anyone }

// Witness is the witness with the signature over Job.
func (s *Spend) Witness(sig lnwire.Sig) wire.TxWitness {
	w := make(wire.TxWitness, 0, 3)
	if s.anyone {
		return append(w, nil, s.Script)
	}
	w = append(w, WitnessSig(sig, SigHashAll))
	if !s.bare {
		w = append(w, s.item)
	}
	return append(w, s.Script)
}

// A sequence that signals neither a relative lock time nor finality, so that locktime and replacement work.
const sequenceFree = wire.MaxTxInSequenceNum - 2

// SpendDelayed is the owner's: its to_local output or the output of one of its HTLC transactions, after to_self_delay.
func SpendDelayed(k *Keys, toSelfDelay uint16, prev wire.OutPoint, amount int64) Spend {
	return Spend{
		Prev: prev, Amount: amount, Script: DelayedScript(k.Revocation, k.OwnerDelayed, toSelfDelay),
		Sequence: uint32(toSelfDelay), Weight: DelayedWitness,
		job: SignJob{Key: KeyDelayedPayment, Point: k.PerCommitmentPoint},
	}
}

// SpendRevoked is the other's: the same outputs of a revoked commitment, at once. secret is the owner's
// per-commitment secret.
func SpendRevoked(k *Keys, toSelfDelay uint16, secret [32]byte, prev wire.OutPoint, amount int64) Spend {
	return Spend{
		Prev: prev, Amount: amount, Script: DelayedScript(k.Revocation, k.OwnerDelayed, toSelfDelay),
		Sequence: sequenceFree, Weight: ToLocalPenaltyWitness, item: []byte{1},
		job: SignJob{Key: KeyRevocation, Secret: secret},
	}
}

// SpendToRemote is the other's: the to_remote output, after one block. It needs no per-commitment point.
func SpendToRemote(payment PubKey, prev wire.OutPoint, amount int64) Spend {
	return Spend{
		Prev: prev, Amount: amount, Script: ToRemoteScript(payment),
		Sequence: 1, Weight: ToRemoteWitness, bare: true,
		job: SignJob{Key: KeyPayment},
	}
}

// SpendAnchor spends the anchor of the side with the funding key, even before the commitment confirms.
func SpendAnchor(funding PubKey, prev wire.OutPoint) Spend {
	return Spend{
		Prev: prev, Amount: AnchorAmount, Script: AnchorScript(funding),
		Sequence: sequenceFree, Weight: AnchorWitness, bare: true,
		job: SignJob{Key: KeyFunding},
	}
}

// SpendAnchorAnyone spends an anchor 16 blocks after the commitment, without a signature.
func SpendAnchorAnyone(funding PubKey, prev wire.OutPoint) Spend {
	return Spend{
		Prev: prev, Amount: AnchorAmount, Script: AnchorScript(funding),
		Sequence: 16, Weight: AnchorAnyoneWitness, anyone: true,
	}
}

// SpendPreimage is the other's: an HTLC the owner offered, claimed with the preimage.
func SpendPreimage(k *Keys, h HTLC, preimage [32]byte, prev wire.OutPoint) Spend {
	return Spend{
		Prev: prev, Amount: sat(h.Amount), Script: OfferedHTLCScript(k, h.Hash),
		Sequence: 1, Weight: OfferedPreimageWitness, item: preimage[:],
		job: SignJob{Key: KeyHTLC, Point: k.PerCommitmentPoint},
	}
}

// SpendTimeout is the other's: an HTLC it offered to the owner, taken back after its expiry.
func SpendTimeout(k *Keys, h HTLC, prev wire.OutPoint) Spend {
	return Spend{
		Prev: prev, Amount: sat(h.Amount), Script: ReceivedHTLCScript(k, h.Hash, h.Expiry),
		Sequence: 1, LockTime: h.Expiry, Weight: ReceivedTimeoutWitness,
		job: SignJob{Key: KeyHTLC, Point: k.PerCommitmentPoint},
	}
}

// SpendRevokedHTLC is the other's: any HTLC of a revoked commitment, at once, with the owner's per-commitment secret.
func SpendRevokedHTLC(k *Keys, h HTLC, secret [32]byte, prev wire.OutPoint) Spend {
	s := Spend{
		Prev: prev, Amount: sat(h.Amount), Script: OfferedHTLCScript(k, h.Hash),
		Sequence: sequenceFree, Weight: OfferedPenaltyWitness, item: bytes.Clone(k.Revocation[:]),
		job: SignJob{Key: KeyRevocation, Secret: secret},
	}
	if !h.Offered {
		s.Script = ReceivedHTLCScript(k, h.Hash, h.Expiry)
		s.Weight = ReceivedPenaltyWitness
	}
	return s
}

// HTLCTimeoutStack is the witness of the input of an HTLC-timeout transaction: the other's signature over HTLCDigest,
// the owner's over the SIGHASH_ALL digest.
func HTLCTimeoutStack(script []byte, other, owner lnwire.Sig) wire.TxWitness {
	return wire.TxWitness{nil, WitnessSig(other, HTLCSigHash), WitnessSig(owner, SigHashAll), nil, script}
}

// HTLCSuccessStack is the witness of the input of an HTLC-success transaction.
func HTLCSuccessStack(script []byte, other, owner lnwire.Sig, preimage [32]byte) wire.TxWitness {
	return wire.TxWitness{nil, WitnessSig(other, HTLCSigHash), WitnessSig(owner, SigHashAll), preimage[:], script}
}

// PreimageIn looks for the preimage of a payment hash in the witnesses of a transaction, in any item of 32 bytes: who
// claims an HTLC on chain must show it there.
func PreimageIn(tx *wire.MsgTx, hash [32]byte) (preimage [32]byte, ok bool) {
	for _, in := range tx.TxIn {
		for _, item := range in.Witness {
			if len(item) == 32 && sha256.Sum256(item) == hash {
				return [32]byte(item), true
			}
		}
	}
	return preimage, false
}
