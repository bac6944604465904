package commitment

import (
	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Verify does the job: a valid low-S signature by the key.
func (j *VerifyJob) Verify() bool { return VerifyAll([]VerifyJob{*j}) }

// VerifyAll says whether all jobs hold. Jobs in a row with the same key parse it once, and all share one inversion.
func VerifyAll(jobs []VerifyJob) bool {
	type scalarPair struct{ r, s, products btcec.ModNScalar }
	sigs := make([]scalarPair, len(jobs))
	var product btcec.ModNScalar
	product.SetInt(1)
	for i := range jobs {
		c := &sigs[i]
		var ok bool
		if c.r, c.s, ok = scalars(&jobs[i].Sig); !ok {
			return false
		}
		c.products = product // of the s before
		product.Mul(&c.s)
	}
	// From the last to the first, product is the inverse of the product of s up to and including job i.
	product.InverseNonConst()
	var key btcec.JacobianPoint
	for i := len(jobs) - 1; i >= 0; i-- {
		j, c := &jobs[i], &sigs[i]
		if i == len(jobs)-1 || j.Key != jobs[i+1].Key {
			var err error
			if key, err = parsePoint(j.Key); err != nil {
				return false
			}
		}
		var inverse btcec.ModNScalar
		inverse.Mul2(&product, &c.products)
		product.Mul(&c.s)
		if !verify(&key, &j.Digest, &c.r, &inverse) {
			return false
		}
	}
	return true
}

// verify is the ECDSA equation: x of digest/s*G + r/s*key is r modulo the group order.
func verify(key *btcec.JacobianPoint, digest *[32]byte, r, sInverse *btcec.ModNScalar) bool {
	var e, u1, u2 btcec.ModNScalar
	e.SetBytes(digest)
	u1.Mul2(&e, sInverse)
	u2.Mul2(r, sInverse)
	var p btcec.JacobianPoint
	btcec.ScalarBaseMultNonConst(&u1, &p)
	q := multiply([]term{{u2, *key}})
	btcec.AddNonConst(&p, &q, &p)
	if isInfinity(&p) {
		return false
	}
	// x is X/Z^2, so compare r*Z^2 with X instead of inverting. x may be r, or r+n if that is below the field's prime.
	var z2, x btcec.FieldVal
	z2.SquareVal(&p.Z)
	b := r.Bytes()
	x.SetBytes(&b)
	candidate := x
	if candidate.Mul(&z2).Normalize().Equals(&p.X) {
		return true
	}
	if x.IsGtOrEqPrimeMinusOrder() {
		return false
	}
	return x.Add(&groupOrder).Normalize().Mul(&z2).Normalize().Equals(&p.X)
}

// groupOrder is the order of the group as an element of the field.
var groupOrder = hexField("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")

// LowS says whether s of a signature is at most half the group order, as bitcoin relays (BIP 146), and r and s are in
// range at all.
func LowS(sig lnwire.Sig) bool {
	_, _, ok := scalars(&sig)
	return ok
}

func scalars(sig *lnwire.Sig) (r, s btcec.ModNScalar, ok bool) {
	raw := sig.RawBytes()
	if r.SetByteSlice(raw[:32]) || s.SetByteSlice(raw[32:]) || r.IsZero() || s.IsZero() || s.IsOverHalfOrder() {
		return r, s, false
	}
	return r, s, true
}
