package commitment

import (
	"testing"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/ecdsa"
	"github.com/lightningnetwork/lnd/lnwire"
)

// referenceVerify is what VerifyJob means, by btcec.
func referenceVerify(j *VerifyJob) bool {
	key, err := btcec.ParsePubKey(j.Key[:])
	if err != nil {
		return false
	}
	r, s, ok := scalars(&j.Sig)
	return ok && ecdsa.NewSignature(&r, &s).Verify(j.Digest[:], key)
}

// fromScalars is the signature (r, s) with the low one of s and -s.
func fromScalars(r, s btcec.ModNScalar) lnwire.Sig {
	if s.IsOverHalfOrder() {
		s.Negate()
	}
	rb, sb := r.Bytes(), s.Bytes()
	sig, _ := lnwire.NewSigFromWireECDSA(append(rb[:], sb[:]...))
	return sig
}

// bigX is a point whose x is not below the group order, so that r is x-n: one in 2^127 by chance.
func bigX(t *testing.T) (p btcec.JacobianPoint, r btcec.ModNScalar) {
	t.Helper()
	for d := uint16(1); ; d++ {
		x := groupOrder
		x.AddInt(d).Normalize()
		key := PubKey{0: 2}
		x.PutBytesUnchecked(key[1:])
		if p, err := parsePoint(key); err == nil {
			r.SetInt(uint32(d))
			return p, r
		}
	}
}

// TestVerifyWrapped: signatures whose r was reduced modulo the group order, made by choosing the nonce point R and
// the digest e and computing the key: Q = (s*R - e*G) / r.
func TestVerifyWrapped(t *testing.T) {
	rnd := newRand(t)
	point, r := bigX(t)
	for range 20 {
		digest, sBytes := random32(rnd), random32(rnd)
		var e, s btcec.ModNScalar
		e.SetBytes(&digest)
		s.SetBytes(&sBytes)
		if s.IsOverHalfOrder() {
			s.Negate()
		}
		var sR, eG, key btcec.JacobianPoint
		btcec.ScalarMultNonConst(&s, &point, &sR)
		btcec.ScalarBaseMultNonConst(e.Negate(), &eG)
		btcec.AddNonConst(&sR, &eG, &key)
		var inverse btcec.ModNScalar
		inverse.InverseValNonConst(&r)
		key.ToAffine()
		btcec.ScalarMultNonConst(&inverse, &key, &key)
		pub, err := compress(key)
		if err != nil {
			t.Fatal(err)
		}
		j := VerifyJob{Key: pub, Digest: digest, Sig: fromScalars(r, s)}
		if !referenceVerify(&j) || !j.Verify() {
			t.Fatal("a signature with a wrapped r is refused")
		}
		j.Digest[0] ^= 1
		if referenceVerify(&j) || j.Verify() {
			t.Fatal("a wrong one is accepted")
		}
	}
}

func TestVerifyAgainstBtcec(t *testing.T) {
	r := newRand(t)
	edges := edgeScalars()
	edge := func() btcec.ModNScalar { return edges[r.IntN(len(edges))] }
	valid := 0
	for range 150 {
		var key *btcec.PrivateKey
		if k := edge(); k.IsZero() || r.IntN(2) == 0 {
			key = randomPriv(r)
		} else {
			key = btcec.PrivKeyFromScalar(&k)
		}
		j := VerifyJob{Key: pubKey(key), Digest: random32(r)}
		if r.IntN(3) == 0 {
			e := edge()
			j.Digest = e.Bytes()
		}
		j.Sig = SignDigest(key, j.Digest)
		switch r.IntN(4) {
		case 0:
			j.Sig = fromScalars(edge(), edge())
		case 1:
			j.Sig.RawBytes()[r.IntN(64)] ^= byte(1 << r.IntN(8))
		}
		want := referenceVerify(&j)
		if got := j.Verify(); got != want {
			t.Fatalf("%+v: %v, want %v", j, got, want)
		}
		if want {
			valid++
		}
	}
	if valid < 50 {
		t.Errorf("only %d valid signatures", valid)
	}
}

// TestVerifyAllKeys: several keys in any order, and one bad job anywhere.
func TestVerifyAllKeys(t *testing.T) {
	r := newRand(t)
	keys := []*btcec.PrivateKey{randomPriv(r), randomPriv(r), randomPriv(r)}
	var jobs []VerifyJob
	for i := range 40 {
		key, digest := keys[r.IntN(len(keys))], random32(r)
		if i >= 10 && i < 10+2*sameKey {
			key = keys[(i-10)/sameKey] // two tables
		}
		jobs = append(jobs, VerifyJob{Key: pubKey(key), Digest: digest, Sig: SignDigest(key, digest)})
	}
	if !VerifyAll(jobs) {
		t.Fatal("valid jobs refused")
	}
	for i := range jobs {
		good := jobs[i]
		jobs[i].Digest[5] ^= 4
		if VerifyAll(jobs) {
			t.Errorf("bad job %d accepted", i)
		}
		jobs[i] = good
	}
}

func FuzzVerify(f *testing.F) {
	r := seeded(1)
	key, digest := randomPriv(r), random32(r)
	sig, pub := SignDigest(key, digest), pubKey(key)
	f.Add(pub[:], digest[:], sig.RawBytes())
	f.Add(pub[:], make([]byte, 32), sig.RawBytes())
	f.Fuzz(func(t *testing.T, key, digest, sig []byte) {
		var j VerifyJob
		copy(j.Key[:], key)
		copy(j.Digest[:], digest)
		copy(j.Sig.RawBytes(), sig)
		if got, want := j.Verify(), referenceVerify(&j); got != want {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}
