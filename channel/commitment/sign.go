package commitment

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/ecdsa"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// The two signature hash types of BOLT 3. HTLCSigHash is that of the counterparty's HTLC signatures with option_anchors,
// which leaves the owner free to add inputs and outputs.
const (
	SigHashAll  = txscript.SigHashAll
	HTLCSigHash = txscript.SigHashSingle | txscript.SigHashAnyOneCanPay
)

// Midstate is the part of a transaction's BIP 143 digests that all its inputs share.
type Midstate struct{ prevouts, sequences, outputs [32]byte }

// NewMidstate hashes what the inputs of tx share. tx must not change after it.
func NewMidstate(tx *wire.MsgTx) Midstate {
	b := make([]byte, 0, 256)
	for _, in := range tx.TxIn {
		b = appendOutPoint(b, &in.PreviousOutPoint)
	}
	var m Midstate
	m.prevouts = doubleSHA256(b)
	b = b[:0]
	for _, in := range tx.TxIn {
		b = binary.LittleEndian.AppendUint32(b, in.Sequence)
	}
	m.sequences = doubleSHA256(b)
	b = b[:0]
	for _, out := range tx.TxOut {
		b = appendTxOut(b, out)
	}
	m.outputs = doubleSHA256(b)
	return m
}

// Digest is the SIGHASH_ALL digest of an input that spends a P2WSH output of amount satoshi with the witness script.
func (m *Midstate) Digest(tx *wire.MsgTx, in int, script []byte, amount int64) [32]byte {
	return digest(tx, in, script, amount, m, uint32(SigHashAll))
}

// HTLCDigest is the digest of HTLCSigHash of an input of an HTLC transaction. tx may have more inputs and outputs than
// in HTLCOutput.Tx; only the input and the output at the same index are signed.
func HTLCDigest(tx *wire.MsgTx, in int, script []byte, amount int64) [32]byte {
	var buf [96]byte
	m := Midstate{outputs: doubleSHA256(appendTxOut(buf[:0], tx.TxOut[in]))}
	return digest(tx, in, script, amount, &m, uint32(HTLCSigHash))
}

// digest is BIP 143.
func digest(tx *wire.MsgTx, in int, script []byte, amount int64, m *Midstate, sigHash uint32) [32]byte {
	var buf [384]byte // enough for all scripts of BOLT 3
	le := binary.LittleEndian
	b := le.AppendUint32(buf[:0], uint32(tx.Version))
	b = append(b, m.prevouts[:]...)
	b = append(b, m.sequences[:]...)
	b = appendOutPoint(b, &tx.TxIn[in].PreviousOutPoint)
	b = appendVarBytes(b, script)
	b = le.AppendUint64(b, uint64(amount))
	b = le.AppendUint32(b, tx.TxIn[in].Sequence)
	b = append(b, m.outputs[:]...)
	b = le.AppendUint32(b, tx.LockTime)
	b = le.AppendUint32(b, sigHash)
	return doubleSHA256(b)
}

// Digest is what both sides sign to spend the funding output.
func (c *Commitment) Digest(fundingScript []byte) [32]byte {
	return FundingDigest(c.Tx, fundingScript, c.Static.Capacity)
}

// FundingDigest is what both sides sign in a transaction whose only input is the funding output.
func FundingDigest(tx *wire.MsgTx, fundingScript []byte, capacity int64) [32]byte {
	m := NewMidstate(tx)
	return m.Digest(tx, 0, fundingScript, capacity)
}

// HTLCDigests are the digests of the HTLC transactions in output order: what the other signs, or what the owner signs
// if it adds nothing to them.
func (c *Commitment) HTLCDigests(owner bool) [][32]byte {
	digests := make([][32]byte, len(c.HTLCs))
	for i := range c.HTLCs {
		h := &c.HTLCs[i]
		amount := sat(h.HTLC.Amount)
		if !owner {
			digests[i] = HTLCDigest(h.Tx, 0, h.Script, amount)
			continue
		}
		m := NewMidstate(h.Tx)
		digests[i] = m.Digest(h.Tx, 0, h.Script, amount)
	}
	return digests
}

// SignJobs are what the other signs in commitment_signed: the commitment, then the HTLC transactions in output order.
func (c *Commitment) SignJobs(fundingScript []byte) []SignJob { return c.jobs(fundingScript, false) }

// OwnerJobs are what the owner signs to publish: the commitment, then the HTLC transactions in output order with
// nothing added to them.
func (c *Commitment) OwnerJobs(fundingScript []byte) []SignJob { return c.jobs(fundingScript, true) }

func (c *Commitment) jobs(fundingScript []byte, owner bool) []SignJob {
	jobs := make([]SignJob, 1, 1+len(c.HTLCs))
	jobs[0] = SignJob{Key: KeyFunding, Digest: c.Digest(fundingScript)}
	for _, d := range c.HTLCDigests(owner) {
		jobs = append(jobs, SignJob{Key: KeyHTLC, Point: c.Keys.PerCommitmentPoint, Digest: d})
	}
	return jobs
}

// VerifyJobs are the checks of the other's signatures, in the order of SignJobs. BOLT 2 "Committing Updates So Far":
// there is one for each untrimmed HTLC, neither more nor less.
func (c *Commitment) VerifyJobs(fundingScript []byte, sigs []lnwire.Sig) ([]VerifyJob, error) {
	if len(sigs) != 1+len(c.HTLCs) {
		return nil, fmt.Errorf("num_htlcs %d, commitment has %d", len(sigs)-1, len(c.HTLCs))
	}
	jobs := make([]VerifyJob, 1, len(sigs))
	jobs[0] = VerifyJob{Key: c.Keys.OtherFunding, Digest: c.Digest(fundingScript), Sig: sigs[0]}
	for i, d := range c.HTLCDigests(false) {
		jobs = append(jobs, VerifyJob{Key: c.Keys.OtherHTLC, Digest: d, Sig: sigs[1+i]})
	}
	return jobs, nil
}

// Signed is a copy of the transaction with its witness, ready to publish.
func (c *Commitment) Signed(fundingScript []byte, owner, other lnwire.Sig) *wire.MsgTx {
	tx := c.Tx.Copy()
	tx.TxIn[0].Witness = FundingStack(fundingScript, c.Keys.OwnerFunding, c.Keys.OtherFunding, owner, other)
	return tx
}

// FundingStack is the witness that spends the funding output: signatures in the order of the keys in the script.
func FundingStack(fundingScript []byte, a, b PubKey, sigA, sigB lnwire.Sig) wire.TxWitness {
	if bytes.Compare(a[:], b[:]) > 0 {
		sigA, sigB = sigB, sigA
	}
	return wire.TxWitness{nil, WitnessSig(sigA, SigHashAll), WitnessSig(sigB, SigHashAll), fundingScript}
}

// Privs are the private keys of one side of a channel.
type Privs struct {
	Funding, Revocation, Payment, DelayedPayment, HTLC *btcec.PrivateKey
}

// BasePoints are the public keys.
func (p *Privs) BasePoints() BasePoints {
	return BasePoints{
		Funding:        pubKey(p.Funding),
		Revocation:     pubKey(p.Revocation),
		Payment:        pubKey(p.Payment),
		DelayedPayment: pubKey(p.DelayedPayment),
		HTLC:           pubKey(p.HTLC),
	}
}

// key is the private key a job asks for.
func (p *Privs) key(job *SignJob) *btcec.PrivateKey {
	base := [...]*btcec.PrivateKey{
		KeyFunding:        p.Funding,
		KeyPayment:        p.Payment,
		KeyDelayedPayment: p.DelayedPayment,
		KeyHTLC:           p.HTLC,
		KeyRevocation:     p.Revocation,
	}[job.Key]
	switch {
	case job.Key == KeyRevocation:
		return DeriveRevocationPrivKey(base, job.Secret)
	case job.Point != PubKey{}:
		return DerivePrivKey(base, job.Point)
	}
	return base
}

// SignWith does one job.
func SignWith(job SignJob, p *Privs) lnwire.Sig { return SignDigest(p.key(&job), job.Digest) }

// SignAll does jobs in order. Jobs in a row with the same key derive it once.
func SignAll(jobs []SignJob, p *Privs) []lnwire.Sig {
	sigs := make([]lnwire.Sig, len(jobs))
	var key *btcec.PrivateKey
	for i := range jobs {
		j := &jobs[i]
		if i == 0 || j.Key != jobs[i-1].Key || j.Point != jobs[i-1].Point || j.Secret != jobs[i-1].Secret {
			key = p.key(j)
		}
		sigs[i] = SignDigest(key, j.Digest)
	}
	return sigs
}

// SignDigest signs with the nonce of RFC 6979; the signature is low-S.
func SignDigest(key *btcec.PrivateKey, digest [32]byte) lnwire.Sig {
	return wireSig(ecdsa.Sign(key, digest[:]))
}

// WitnessSig is a signature as a witness item: DER and the hash type.
func WitnessSig(sig lnwire.Sig, hashType txscript.SigHashType) []byte {
	raw := sig.RawBytes()
	b := append(make([]byte, 0, 73), 0x30, 0)
	b = appendDERInt(b, raw[:32])
	b = appendDERInt(b, raw[32:])
	b[1] = byte(len(b) - 2)
	return append(b, byte(hashType))
}

func appendDERInt(b, n []byte) []byte {
	for len(n) > 1 && n[0] == 0 {
		n = n[1:]
	}
	if n[0]&0x80 != 0 {
		b = append(b, 0x02, byte(len(n)+1), 0)
	} else {
		b = append(b, 0x02, byte(len(n)))
	}
	return append(b, n...)
}

// SigFromWitness reads a witness item: the signature and its hash type.
func SigFromWitness(item []byte) (lnwire.Sig, txscript.SigHashType, error) {
	if len(item) < 2 {
		return lnwire.Sig{}, 0, errors.New("signature is empty")
	}
	last := len(item) - 1
	sig, err := ecdsa.ParseDERSignature(item[:last])
	if err != nil {
		return lnwire.Sig{}, 0, err
	}
	return wireSig(sig), txscript.SigHashType(item[last]), nil
}

func wireSig(sig *ecdsa.Signature) lnwire.Sig {
	var raw [64]byte
	r, s := sig.R(), sig.S()
	r.PutBytesUnchecked(raw[:32])
	s.PutBytesUnchecked(raw[32:])
	w, _ := lnwire.NewSigFromWireECDSA(raw[:]) // fails only on another length
	return w
}

func appendOutPoint(b []byte, o *wire.OutPoint) []byte {
	b = append(b, o.Hash[:]...)
	return binary.LittleEndian.AppendUint32(b, o.Index)
}

func appendTxOut(b []byte, o *wire.TxOut) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(o.Value))
	return appendVarBytes(b, o.PkScript)
}

// appendVarBytes appends a script of up to 65535 bytes with its length.
func appendVarBytes(b, s []byte) []byte {
	if len(s) < 0xfd {
		b = append(b, byte(len(s)))
	} else {
		b = append(b, 0xfd, byte(len(s)), byte(len(s)>>8))
	}
	return append(b, s...)
}

func doubleSHA256(b []byte) [32]byte {
	first := sha256.Sum256(b)
	return sha256.Sum256(first[:])
}
