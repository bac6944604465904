package commitment

import (
	"crypto/sha256"
	"fmt"

	"github.com/btcsuite/btcd/btcec/v2"
)

// DeriveKeys derives the keys of the owner's commitment with the given per-commitment point.
func DeriveKeys(point PubKey, owner, other BasePoints) (Keys, error) {
	k := Keys{
		PerCommitmentPoint: point,
		OtherPayment:       other.Payment,
		OwnerFunding:       owner.Funding,
		OtherFunding:       other.Funding,
	}
	// All at once, so that the four keys share one field inversion.
	var points [4]btcec.JacobianPoint
	var keys [4]PubKey
	var err error
	if points[0], err = revocationPoint(other.Revocation, point); err != nil {
		return Keys{}, err
	}
	for i, base := range []struct {
		name string
		key  PubKey
	}{
		{"delayed_payment_basepoint", owner.DelayedPayment},
		{"htlc_basepoint of the owner", owner.HTLC},
		{"htlc_basepoint of the other", other.HTLC},
	} {
		if points[1+i], err = tweakedPoint(base.key, point); err != nil {
			return Keys{}, fmt.Errorf("%s: %w", base.name, err)
		}
	}
	if err := compressAll(keys[:], points[:]); err != nil {
		return Keys{}, err
	}
	k.Revocation, k.OwnerDelayed, k.OwnerHTLC, k.OtherHTLC = keys[0], keys[1], keys[2], keys[3]
	return k, nil
}

// DerivePubKey is BOLT 3 "Key Derivation": base + SHA256(point || base) * G.
func DerivePubKey(base, point PubKey) (PubKey, error) {
	p, err := tweakedPoint(base, point)
	if err != nil {
		return PubKey{}, fmt.Errorf("basepoint: %w", err)
	}
	return compress(p)
}

func tweakedPoint(base, point PubKey) (sum btcec.JacobianPoint, err error) {
	b, err := parsePoint(base)
	if err != nil {
		return sum, err
	}
	t := tweak(point, base)
	var tg btcec.JacobianPoint
	btcec.ScalarBaseMultNonConst(&t, &tg)
	btcec.AddNonConst(&tg, &b, &sum)
	return sum, nil
}

// DerivePrivKey is the private key of DerivePubKey.
func DerivePrivKey(base *btcec.PrivateKey, point PubKey) *btcec.PrivateKey {
	t := tweak(point, pubKey(base))
	return btcec.PrivKeyFromScalar(t.Add(&base.Key))
}

// DeriveRevocationPubKey is BOLT 3 "revocationpubkey Derivation":
// base * SHA256(base || point) + point * SHA256(point || base). Neither side alone knows the private key.
func DeriveRevocationPubKey(base, point PubKey) (PubKey, error) {
	p, err := revocationPoint(base, point)
	if err != nil {
		return PubKey{}, err
	}
	return compress(p)
}

func revocationPoint(base, point PubKey) (sum btcec.JacobianPoint, err error) {
	b, err := parsePoint(base)
	if err != nil {
		return sum, fmt.Errorf("revocation_basepoint: %w", err)
	}
	p, err := parsePoint(point)
	if err != nil {
		return sum, fmt.Errorf("per_commitment_point: %w", err)
	}
	return multiply([]term{{tweak(base, point), b}, {tweak(point, base), p}}), nil
}

// DeriveRevocationPrivKey is the private key of DeriveRevocationPubKey, from the revocation basepoint secret and the
// per-commitment secret that the owner revealed when revoking.
func DeriveRevocationPrivKey(base *btcec.PrivateKey, secret [32]byte) *btcec.PrivateKey {
	var s btcec.ModNScalar
	s.SetBytes(&secret)
	basePoint, point := pubKey(base), PointOf(secret)
	tb, tp := tweak(basePoint, point), tweak(point, basePoint)
	tb.Mul(&base.Key)
	tp.Mul(&s)
	return btcec.PrivKeyFromScalar(tb.Add(&tp))
}

// PointOf is the per-commitment point of a per-commitment secret: secret * G. BOLT 2 "Completing the Transition to the
// Updated State": a secret that is no valid secret key is refused; its point is all zero here, like that of no valid one.
func PointOf(secret [32]byte) PubKey {
	var s btcec.ModNScalar
	if s.SetBytes(&secret) != 0 || s.IsZero() {
		return PubKey{}
	}
	return pubKey(btcec.PrivKeyFromScalar(&s))
}

// CheckPubKey says whether key is a compressed point on the curve.
func CheckPubKey(key PubKey) error {
	_, err := parsePoint(key)
	return err
}

// tweak is SHA256(a || b) as a scalar.
func tweak(a, b PubKey) btcec.ModNScalar {
	var buf [66]byte
	copy(buf[:33], a[:])
	copy(buf[33:], b[:])
	sum := sha256.Sum256(buf[:])
	var t btcec.ModNScalar
	t.SetBytes(&sum)
	return t
}

func pubKey(key *btcec.PrivateKey) PubKey {
	return PubKey(key.PubKey().SerializeCompressed())
}

func compress(p btcec.JacobianPoint) (PubKey, error) {
	var k [1]PubKey
	err := compressAll(k[:], []btcec.JacobianPoint{p})
	return k[0], err
}
