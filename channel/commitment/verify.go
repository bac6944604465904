package commitment

import (
	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Verify does the job: a valid low-S signature by the key.
func (j *VerifyJob) Verify() bool { return VerifyAll([]VerifyJob{*j}) }

// sameKey is how many jobs in a row with the same key are worth a table of its multiples.
const sameKey = 8

// VerifyAll says whether all jobs hold. Jobs in a row with the same key, such as those of the HTLCs of one commitment,
// share a table of its multiples, and all jobs one inversion. Whoever splits jobs to several threads splits them into
// long pieces.
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
	var key verifyKey
	for i := len(jobs) - 1; i >= 0; i-- {
		j, c := &jobs[i], &sigs[i]
		if i == len(jobs)-1 || j.Key != jobs[i+1].Key {
			var err error
			if key.point, err = parsePoint(j.Key); err != nil {
				return false
			}
			key.table = nil
			if i >= sameKey-1 && jobs[i-(sameKey-1)].Key == j.Key {
				key.table = newMultiples(&key.point)
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

// verifyKey is a key and, if it is worth it, its multiples.
type verifyKey struct {
	point btcec.JacobianPoint
	table *multiples
}

// verify is the ECDSA equation: x of digest/s*G + r/s*key is r modulo the group order.
func verify(key *verifyKey, digest *[32]byte, r, sInverse *btcec.ModNScalar) bool {
	var e, u1, u2 btcec.ModNScalar
	e.SetBytes(digest)
	u1.Mul2(&e, sInverse)
	u2.Mul2(r, sInverse)
	var p btcec.JacobianPoint
	btcec.ScalarBaseMultNonConst(&u1, &p)
	if key.table != nil {
		key.table.addTo(&p, &u2)
	} else {
		q := multiply([]term{{u2, key.point}})
		btcec.AddNonConst(&p, &q, &p)
	}
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
