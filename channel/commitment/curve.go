package commitment

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/bits"

	"github.com/btcsuite/btcd/btcec/v2"
)

// Multiples of public points, with btcec's field and group operations, for the two places where btcec's own
// multiplication, one point at a time, is most of the CPU of a commitment: the revocation key, a sum of two multiples
// (multiply), and the checks of HTLC signatures, all by one key (multiples). Nothing here is constant-time: no secret
// goes in.

var errInfinity = errors.New("derived key is the point at infinity")
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

func isInfinity(p *btcec.JacobianPoint) bool { return p.X.IsZero() && p.Y.IsZero() || p.Z.IsZero() }

// toAffine makes Z one in all points, none of which may be infinity, with one field inversion: that of the product of
// their Zs, from which each one's comes back by multiplication.
func toAffine(points []btcec.JacobianPoint) {
	products := make([]btcec.FieldVal, len(points)) // of the Zs before
	var product btcec.FieldVal
	product.SetInt(1)
	for i := range points {
		products[i].Set(&product)
		product.Mul(&points[i].Z)
	}
	product.Inverse()
	for i := len(points) - 1; i >= 0; i-- {
		p := &points[i]
		var z, z2 btcec.FieldVal
		z.Mul2(&product, &products[i]) // 1/Z of point i
		product.Mul(&p.Z)
		z2.SquareVal(&z)
		p.X.Mul(&z2).Normalize()
		p.Y.Mul(z2.Mul(&z)).Normalize()
		p.Z.SetInt(1)
	}
}

// compressAll gives the points, which it makes affine, as public keys.
func compressAll(keys []PubKey, points []btcec.JacobianPoint) error {
	for i := range points {
		if isInfinity(&points[i]) {
			return errInfinity
		}
	}
	toAffine(points)
	for i := range points {
		keys[i][0] = 2
		if points[i].Y.IsOdd() {
			keys[i][0] = 3
		}
		points[i].X.PutBytesUnchecked(keys[i][1:])
	}
	return nil
}

// term is a multiple of an affine point.
type term struct {
	k btcec.ModNScalar
	p btcec.JacobianPoint
}

// multiply is the sum of the terms: Straus's method on halves of the scalars. Since lambda*P is cheap (multiply x by
// beta), k*P is k1*P + k2*(lambda*P) with halves k1 and k2 below 2^128 in absolute value.
func multiply(terms []term) (sum btcec.JacobianPoint) {
	type half struct {
		digits [halfBits]int8
		odd    [oddMultiples]btcec.JacobianPoint // 1P, 3P ... 15P
	}
	halves := make([]half, 2*len(terms))
	top := 0
	for i := range terms {
		a, b := &halves[2*i], &halves[2*i+1]
		k1, k2 := splitScalar(&terms[i].k)
		top = max(top, recode(&k1, &a.digits), recode(&k2, &b.digits))
		p := &terms[i].p
		var twice btcec.JacobianPoint
		btcec.DoubleNonConst(p, &twice)
		a.odd[0] = *p
		for j := 1; j < oddMultiples; j++ {
			btcec.AddNonConst(&a.odd[j-1], &twice, &a.odd[j])
		}
		for j := range a.odd {
			b.odd[j] = a.odd[j]
			b.odd[j].X.Mul(&beta).Normalize()
		}
	}
	for bit := top - 1; bit >= 0; bit-- {
		btcec.DoubleNonConst(&sum, &sum)
		for i := range halves {
			h := &halves[i]
			switch d := h.digits[bit]; {
			case d > 0:
				btcec.AddNonConst(&sum, &h.odd[d/2], &sum)
			case d < 0:
				p := h.odd[-d/2]
				p.Y.Negate(1).Normalize()
				btcec.AddNonConst(&sum, &p, &sum)
			}
		}
	}
	return sum
}

const (
	digitBits    = 5
	oddMultiples = 1 << (digitBits - 2)
	halfBits     = 130 // a half is below 2^128 in absolute value; this is more, and whole digits
)

// recode writes k, a half, with odd digits from -15 to 15 of which no five in a row have two,
// lowest first, and gives their number.
func recode(k *btcec.ModNScalar, digits *[halfBits]int8) int {
	hi, mid, lo, negative := magnitude(k)
	n := 0
	for ; hi|mid|lo != 0; n++ {
		if lo&1 == 1 {
			d := int8(lo & (1<<digitBits - 1))
			if d >= 1<<(digitBits-1) {
				d -= 1 << digitBits
				var carry uint64
				lo, carry = bits.Add64(lo, uint64(-d), 0)
				mid, carry = bits.Add64(mid, 0, carry)
				hi += carry
			} else {
				lo -= uint64(d)
			}
			if negative {
				d = -d
			}
			digits[n] = d
		}
		lo = lo>>1 | mid<<63
		mid = mid>>1 | hi<<63
		hi >>= 1
	}
	return n
}

// magnitude is the absolute value of a half as three words.
func magnitude(k *btcec.ModNScalar) (hi, mid, lo uint64, negative bool) {
	a := *k
	if negative = a.IsOverHalfOrder(); negative {
		a.Negate()
	}
	b := a.Bytes()
	be := binary.BigEndian
	return be.Uint64(b[8:]), be.Uint64(b[16:]), be.Uint64(b[24:]), negative
}

// multiples are the multiples 1 to 16 of 32^0*P, 32^1*P and so on, affine: with them a multiple of P takes no doubling.
// They pay for themselves from about five multiples on.
type multiples [halfBits / digitBits][windowSize]btcec.JacobianPoint

const windowSize = 1 << (digitBits - 1)

func newMultiples(p *btcec.JacobianPoint) *multiples {
	points := make([]btcec.JacobianPoint, 0, halfBits/digitBits*windowSize)
	base := *p
	for range halfBits / digitBits {
		q := base
		points = append(points, q)
		for range windowSize - 1 {
			btcec.AddNonConst(&q, &base, &q)
			points = append(points, q)
		}
		btcec.DoubleNonConst(&q, &base)
	}
	toAffine(points)
	var m multiples
	for i := range m {
		copy(m[i][:], points[i*windowSize:])
	}
	return &m
}

// addTo adds k*P to sum.
func (m *multiples) addTo(sum *btcec.JacobianPoint, k *btcec.ModNScalar) {
	k1, k2 := splitScalar(k)
	m.addHalf(sum, &k1, false)
	m.addHalf(sum, &k2, true)
}

// addHalf adds k*P, or k*lambda*P, for a half k, in digits from -15 to 16.
func (m *multiples) addHalf(sum *btcec.JacobianPoint, k *btcec.ModNScalar, timesLambda bool) {
	hi, mid, lo, negative := magnitude(k)
	carry := 0
	for i := range m {
		d := int(lo&(1<<digitBits-1)) + carry
		carry = 0
		if d > windowSize {
			d -= 1 << digitBits
			carry = 1
		}
		lo = lo>>digitBits | mid<<(64-digitBits)
		mid = mid>>digitBits | hi<<(64-digitBits)
		hi >>= digitBits
		if d == 0 {
			continue
		}
		q := m[i][max(d, -d)-1]
		if timesLambda {
			q.X.Mul(&beta).Normalize()
		}
		if (d < 0) != negative {
			q.Y.Negate(1).Normalize()
		}
		btcec.AddNonConst(sum, &q, sum)
	}
}

// The endomorphism of secp256k1: lambda*(x, y) = (beta*x, y). g1 and g2 are round(2^384*b2/n) and round(-2^384*b1/n)
// of the short lattice basis (a1, b1), (a2, b2) of Guide to Elliptic Curve Cryptography, algorithm 3.74.
var (
	beta    = hexField("7ae96a2b657c07106e64479eac3434e99cf0497512f58995c1396c28719501ee")
	lambda  = hexScalar("5363ad4cc05c30e0a5261c028812645a122e22ea20816678df02967c1b23bd72")
	minusB1 = hexScalar("00000000000000000000000000000000e4437ed6010e88286f547fa90abfe4c3")
	minusB2 = hexScalar("fffffffffffffffffffffffffffffffe8a280ac50774346dd765cda83db1562c")
	g1      = [4]uint64{0xe893209a45dbb031, 0x3daa8a1471e8ca7f, 0xe86c90e49284eb15, 0x3086d221a7d46bcd}
	g2      = [4]uint64{0x1571b4ae8ac47f71, 0x221208ac9df506c6, 0x6f547fa90abfe4c4, 0xe4437ed6010e8828}
)

// splitScalar finds the halves k1 and k2 with k = k1 + k2*lambda. A negative half is above half the group order.
func splitScalar(k *btcec.ModNScalar) (k1, k2 btcec.ModNScalar) {
	c1, c2 := mulShift384(k, &g1), mulShift384(k, &g2)
	k2.Add2(c1.Mul(&minusB1), c2.Mul(&minusB2))
	k1.Mul2(&k2, &lambda).Negate().Add(k)
	return k1, k2
}

// mulShift384 is k*g/2^384, rounded to the nearest. It is below 2^128, since k < n and g < n.
func mulShift384(k *btcec.ModNScalar, g *[4]uint64) (c btcec.ModNScalar) {
	b := k.Bytes()
	var product [8]uint64
	for i := range 4 {
		limb := binary.BigEndian.Uint64(b[24-8*i:])
		var carry uint64
		for j := range 4 {
			hi, lo := bits.Mul64(limb, g[j])
			var c1, c2 uint64
			product[i+j], c1 = bits.Add64(product[i+j], lo, 0)
			product[i+j], c2 = bits.Add64(product[i+j], carry, 0)
			carry = hi + c1 + c2 // below 2^64: hi is 2^64-2 at most
		}
		product[i+4] = carry
	}
	lo, carry := bits.Add64(product[6], product[5]>>63, 0)
	var out [32]byte
	binary.BigEndian.PutUint64(out[16:], product[7]+carry)
	binary.BigEndian.PutUint64(out[24:], lo)
	c.SetBytes(&out)
	return c
}

func hexScalar(s string) (k btcec.ModNScalar) {
	k.SetByteSlice(mustHex(s))
	return k
}

func hexField(s string) (f btcec.FieldVal) {
	f.SetByteSlice(mustHex(s))
	return f
}

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}
