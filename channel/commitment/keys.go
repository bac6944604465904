package commitment

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/btcsuite/btcd/btcec/v2"
)

var errInfinity = errors.New("derived key is the point at infinity")

// DeriveKeys derives the keys of the owner's commitment with the given per-commitment point.
func DeriveKeys(point PubKey, owner, other BasePoints) (Keys, error) {
	k := Keys{
		PerCommitmentPoint: point,
		OtherPayment:       other.Payment,
		OwnerFunding:       owner.Funding,
		OtherFunding:       other.Funding,
	}
	var err error
	if k.Revocation, err = DeriveRevocationPubKey(other.Revocation, point); err != nil {
		return Keys{}, fmt.Errorf("revocationpubkey: %w", err)
	}
	if k.OwnerDelayed, err = DerivePubKey(owner.DelayedPayment, point); err != nil {
		return Keys{}, fmt.Errorf("local_delayedpubkey: %w", err)
	}
	if k.OwnerHTLC, err = DerivePubKey(owner.HTLC, point); err != nil {
		return Keys{}, fmt.Errorf("local_htlcpubkey: %w", err)
	}
	if k.OtherHTLC, err = DerivePubKey(other.HTLC, point); err != nil {
		return Keys{}, fmt.Errorf("remote_htlcpubkey: %w", err)
	}
	return k, nil
}

// DerivePubKey is BOLT 3 "Key Derivation": base + SHA256(point || base) * G.
func DerivePubKey(base, point PubKey) (PubKey, error) {
	b, err := parsePoint(base)
	if err != nil {
		return PubKey{}, fmt.Errorf("basepoint: %w", err)
	}
	t := tweak(point, base)
	var tg, sum btcec.JacobianPoint
	btcec.ScalarBaseMultNonConst(&t, &tg)
	btcec.AddNonConst(&b, &tg, &sum)
	return compress(&sum)
}

// DerivePrivKey is the private key of DerivePubKey.
func DerivePrivKey(base *btcec.PrivateKey, point PubKey) *btcec.PrivateKey {
	return derivePrivKey(base, pubKey(base), point)
}

func derivePrivKey(base *btcec.PrivateKey, basePoint, point PubKey) *btcec.PrivateKey {
	t := tweak(point, basePoint)
	return btcec.PrivKeyFromScalar(t.Add(&base.Key))
}

// DeriveRevocationPubKey is BOLT 3 "revocationpubkey Derivation":
// base * SHA256(base || point) + point * SHA256(point || base). Neither side alone knows the private key.
func DeriveRevocationPubKey(base, point PubKey) (PubKey, error) {
	b, err := parsePoint(base)
	if err != nil {
		return PubKey{}, fmt.Errorf("revocation_basepoint: %w", err)
	}
	p, err := parsePoint(point)
	if err != nil {
		return PubKey{}, fmt.Errorf("per_commitment_point: %w", err)
	}
	tb, tp := tweak(base, point), tweak(point, base)
	var bb, pp, sum btcec.JacobianPoint
	btcec.ScalarMultNonConst(&tb, &b, &bb)
	btcec.ScalarMultNonConst(&tp, &p, &pp)
	btcec.AddNonConst(&bb, &pp, &sum)
	return compress(&sum)
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

// PointOf is the per-commitment point of a per-commitment secret: secret * G.
func PointOf(secret [32]byte) PubKey {
	key, _ := btcec.PrivKeyFromBytes(secret[:])
	return pubKey(key)
}

// CheckPubKey says whether key is a compressed point on the curve.
func CheckPubKey(key PubKey) error {
	_, err := parsePoint(key)
	return err
}

var errNotAPoint = errors.New("not a compressed point on the curve")

// parsePoint does not know the point at infinity, unlike btcec.ParseJacobian, which reads it from 33 zero bytes.
func parsePoint(k PubKey) (btcec.JacobianPoint, error) {
	var p btcec.JacobianPoint
	if k[0] != 2 && k[0] != 3 || p.X.SetByteSlice(k[1:]) || !btcec.DecompressY(&p.X, k[0] == 3, &p.Y) {
		return btcec.JacobianPoint{}, errNotAPoint
	}
	p.Y.Normalize()
	p.Z.SetInt(1)
	return p, nil
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

func compress(p *btcec.JacobianPoint) (PubKey, error) {
	if (p.X.IsZero() && p.Y.IsZero()) || p.Z.IsZero() {
		return PubKey{}, errInfinity
	}
	p.ToAffine()
	var k PubKey
	k[0] = 2
	if p.Y.IsOdd() {
		k[0] = 3
	}
	p.X.PutBytesUnchecked(k[1:])
	return k, nil
}
