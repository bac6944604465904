package commitment

import (
	"bytes"
	"testing"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/ecdsa"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
	"github.com/google/go-cmp/cmp"
	"github.com/lightningnetwork/lnd/lnwire"
)

// TestDigestsAgainstBtcd compares digests with txscript's, on transactions with several inputs and outputs.
func TestDigestsAgainstBtcd(t *testing.T) {
	r := newRand(t)
	for range 100 {
		tx := wire.NewMsgTx(int32(r.Uint32()))
		tx.LockTime = r.Uint32()
		for range 1 + r.IntN(4) {
			tx.AddTxIn(&wire.TxIn{PreviousOutPoint: wire.OutPoint{Hash: random32(r), Index: r.Uint32()}, Sequence: r.Uint32()})
			tx.AddTxOut(wire.NewTxOut(r.Int64(), bytes.Repeat([]byte{0x51}, r.IntN(300))))
		}
		in, amount := r.IntN(len(tx.TxIn)), r.Int64()
		script := bytes.Repeat([]byte{0x51}, r.IntN(400))
		prevs := txscript.NewCannedPrevOutputFetcher(nil, amount)
		hashes := txscript.NewTxSigHashes(tx, prevs)
		want := func(hashType txscript.SigHashType) []byte {
			d, err := txscript.CalcWitnessSigHash(script, hashes, hashType, tx, in, amount)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		m := NewMidstate(tx)
		if got := m.Digest(tx, in, script, amount); !bytes.Equal(got[:], want(SigHashAll)) {
			t.Errorf("SIGHASH_ALL %x, want %x", got, want(SigHashAll))
		}
		if got := HTLCDigest(tx, in, script, amount); !bytes.Equal(got[:], want(HTLCSigHash)) {
			t.Errorf("SIGHASH_SINGLE|ANYONECANPAY %x, want %x", got, want(HTLCSigHash))
		}
	}
}

func TestSignatures(t *testing.T) {
	r := newRand(t)
	for range 20 {
		key, digest := randomPriv(r), random32(r)
		sig := SignDigest(key, digest)
		good := VerifyJob{Key: pubKey(key), Digest: digest, Sig: sig}
		if !good.Verify() || !LowS(sig) || !VerifyAll([]VerifyJob{good, good}) {
			t.Fatal("own signature refused")
		}
		item := WitnessSig(sig, SigHashAll)
		der, err := ecdsa.ParseDERSignature(item[:len(item)-1])
		if err != nil || !bytes.Equal(append(der.Serialize(), 1), item) {
			t.Fatalf("witness item %x: %v", item, err)
		}
		if back, hashType, err := SigFromWitness(item); err != nil || back != sig || hashType != SigHashAll {
			t.Errorf("back from the witness: %v", err)
		}

		other := randomPriv(r)
		for name, bad := range map[string]func(*VerifyJob){
			"high S":      func(j *VerifyJob) { j.Sig = negated(j.Sig) },
			"other key":   func(j *VerifyJob) { j.Key = pubKey(other) },
			"no key":      func(j *VerifyJob) { j.Key = PubKey{} },
			"digest":      func(j *VerifyJob) { j.Digest[31] ^= 1 },
			"zero":        func(j *VerifyJob) { j.Sig = lnwire.Sig{} },
			"r overflows": func(j *VerifyJob) { copy(j.Sig.RawBytes(), bytes.Repeat([]byte{0xff}, 32)) },
			"s is zero":   func(j *VerifyJob) { copy(j.Sig.RawBytes()[32:], make([]byte, 32)) },
			"r changed":   func(j *VerifyJob) { j.Sig.RawBytes()[31] ^= 1 },
			"s changed":   func(j *VerifyJob) { j.Sig.RawBytes()[63] ^= 1 },
		} {
			j := good
			bad(&j)
			if j.Verify() || VerifyAll([]VerifyJob{good, j}) || VerifyAll([]VerifyJob{j, good}) {
				t.Errorf("%s: accepted", name)
			}
		}
	}
	if !VerifyAll(nil) {
		t.Error("no jobs do not hold")
	}
}

// negated is the other valid signature, with a high s.
func negated(sig lnwire.Sig) lnwire.Sig {
	var s btcec.ModNScalar
	s.SetByteSlice(sig.RawBytes()[32:])
	b := s.Negate().Bytes()
	copy(sig.RawBytes()[32:], b[:])
	return sig
}

// TestWitnessSigShort: r and s with leading zeros and with a top bit.
func TestWitnessSigShort(t *testing.T) {
	for _, c := range []struct{ r, s []byte }{
		{[]byte{1}, []byte{0x7f}}, {[]byte{0x80}, []byte{0xff, 0}}, {bytes.Repeat([]byte{0xee}, 32), []byte{0}},
	} {
		var sig lnwire.Sig
		copy(sig.RawBytes()[32-len(c.r):], c.r)
		copy(sig.RawBytes()[64-len(c.s):], c.s)
		item := WitnessSig(sig, HTLCSigHash)
		if want := append(sig.ToSignatureBytes(), 0x83); !bytes.Equal(item, want) {
			t.Errorf("%x, want %x", item, want)
		}
	}
	for _, bad := range [][]byte{nil, {1}, {0x30, 1}, bytes.Repeat([]byte{0x30}, 72)} {
		if _, _, err := SigFromWitness(bad); err == nil {
			t.Errorf("%x: no error", bad)
		}
	}
}

// TestJobs: the order of jobs is that of the message, whoever signs; SignWith and SignAll agree.
func TestJobs(t *testing.T) {
	r := newRand(t)
	w := newBuilt(t, r)
	c, script := w.c, w.script
	jobs := c.SignJobs(script)
	sigs := SignAll(jobs, &w.other)
	for i, j := range jobs {
		if SignWith(j, &w.other) != sigs[i] {
			t.Errorf("job %d: SignWith and SignAll differ", i)
		}
	}
	verify, err := c.VerifyJobs(script, sigs)
	if err != nil || !VerifyAll(verify) || len(jobs) != 1+len(c.HTLCs) {
		t.Errorf("%d jobs do not hold: %v", len(jobs), err)
	}
	for _, n := range []int{0, len(sigs) - 1, len(sigs) + 1} {
		if _, err := c.VerifyJobs(script, make([]lnwire.Sig, n)); err == nil {
			t.Errorf("%d signatures for %d jobs: no error", n, len(sigs))
		}
	}
	if d := cmp.Diff(w.owner.BasePoints(), BasePoints{
		Funding: pubKey(w.owner.Funding), Revocation: pubKey(w.owner.Revocation), Payment: pubKey(w.owner.Payment),
		DelayedPayment: pubKey(w.owner.DelayedPayment), HTLC: pubKey(w.owner.HTLC)}); d != "" {
		t.Error(d)
	}
}
