package commitment

import (
	"testing"

	"github.com/btcsuite/btcd/btcec/v2"
)

func scalar(n uint32) (k btcec.ModNScalar) {
	k.SetInt(n)
	return k
}

// edgeScalars are scalars at which halves, digits or carries are at their limits.
func edgeScalars() []btcec.ModNScalar {
	var list []btcec.ModNScalar
	for _, s := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140", // n-1
		"7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0", // n/2
		"7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1",
		"00000000000000000000000000000000ffffffffffffffffffffffffffffffff",
		"0000000000000000000000000000000100000000000000000000000000000000",
		"8000000000000000000000000000000000000000000000000000000000000000",
		"5555555555555555555555555555555555555555555555555555555555555555",
		"f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0",
	} {
		list = append(list, hexScalar(s))
	}
	for n := range uint32(40) {
		list = append(list, scalar(n))
	}
	for _, k := range []btcec.ModNScalar{lambda, minusB1, minusB2} {
		m := k
		list = append(list, k, *m.Negate())
	}
	return list
}

func TestSplitScalar(t *testing.T) {
	r := newRand(t)
	list := edgeScalars()
	for range 2000 {
		b := random32(r)
		var k btcec.ModNScalar
		k.SetBytes(&b)
		list = append(list, k)
	}
	for _, k := range list {
		k1, k2 := splitScalar(&k)
		var sum btcec.ModNScalar
		sum.Mul2(&k2, &lambda).Add(&k1)
		if !sum.Equals(&k) {
			t.Fatalf("%v = %v + %v*lambda does not hold", k, k1, k2)
		}
		for _, half := range []btcec.ModNScalar{k1, k2} {
			testRecode(t, half)
		}
	}
}

func testRecode(t *testing.T, half btcec.ModNScalar) {
	t.Helper()
	var digits [halfBits]int8
	n := recode(&half, &digits)
	abs := half
	if abs.IsOverHalfOrder() {
		abs.Negate()
	}
	if b := abs.Bytes(); [16]byte(b[:16]) != [16]byte{} {
		t.Fatalf("half %v is too long", half)
	}
	var sum btcec.ModNScalar
	for i := n - 1; i >= 0; i-- {
		sum.Add(&sum)
		d := scalar(uint32(max(digits[i], -digits[i])))
		if digits[i] < 0 {
			d.Negate()
		}
		sum.Add(&d)
		if d := digits[i]; d != 0 && (d%2 == 0 || d > 15 || d < -15) {
			t.Fatalf("digit %d", d)
		}
	}
	if !sum.Equals(&half) {
		t.Fatalf("digits of %v add up to %v", half, sum)
	}
}

// TestMultiply compares with btcec's multiplication.
func TestMultiply(t *testing.T) {
	r := newRand(t)
	point := func() btcec.JacobianPoint {
		p, err := parsePoint(pubKey(randomPriv(r)))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	compare := func(got, want btcec.JacobianPoint, what string, terms []term) {
		t.Helper()
		if isInfinity(&got) != isInfinity(&want) || !isInfinity(&want) && !got.EquivalentNonConst(&want) {
			t.Fatalf("%s of %v is wrong", what, terms)
		}
	}
	tables := make(map[btcec.JacobianPoint]*multiples)
	check := func(terms ...term) {
		t.Helper()
		var want btcec.JacobianPoint
		for i := range terms {
			var p btcec.JacobianPoint
			btcec.ScalarMultNonConst(&terms[i].k, &terms[i].p, &p)
			btcec.AddNonConst(&want, &p, &want)
		}
		got := multiply(terms)
		compare(got, want, "sum", terms)
		got = btcec.JacobianPoint{}
		for i := range terms {
			p := terms[i].p
			if tables[p] == nil {
				tables[p] = newMultiples(&p)
			}
			tables[p].addTo(&got, &terms[i].k)
		}
		compare(got, want, "sum by tables", terms)
	}
	edges := edgeScalars()
	for _, k := range edges {
		check(term{k, point()}, term{edges[r.IntN(len(edges))], point()})
	}
	// The same point twice, and sums that are infinity or meet it on the way.
	p := point()
	minus := p
	minus.Y.Negate(1).Normalize()
	for _, k := range edges[1:] {
		check(term{k, p}, term{k, p})
		check(term{k, p}, term{k, minus})
	}
	check()
	for range 10 {
		a, b := random32(r), random32(r)
		var x, y btcec.ModNScalar
		x.SetBytes(&a)
		y.SetBytes(&b)
		check(term{x, point()})
		check(term{x, point()}, term{y, point()})
		check(term{x, p}, term{*y.Set(&x).Negate(), p})
	}
}

func TestCompressAll(t *testing.T) {
	r := newRand(t)
	var points []btcec.JacobianPoint
	var want []PubKey
	for range 7 {
		secret := random32(r)
		k := hexScalar("01")
		k.SetBytes(&secret)
		var p btcec.JacobianPoint
		btcec.ScalarBaseMultNonConst(&k, &p)
		points = append(points, p)
		want = append(want, PointOf(secret))
	}
	got := make([]PubKey, len(points))
	if err := compressAll(got, points); err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("key %d: %x, want %x", i, got[i], want[i])
		}
		if p, err := parsePoint(got[i]); err != nil || !p.EquivalentNonConst(&points[i]) {
			t.Errorf("key %d does not parse to its point: %v", i, err)
		}
	}
	points[3] = btcec.JacobianPoint{}
	if compressAll(got, points) == nil {
		t.Error("no error for the point at infinity")
	}
	for _, bad := range []PubKey{{}, {4, 1}, {2, 31: 0, 32: 5}, {3, 0xff, 0xff, 0xff, 0xff, 0xff}} {
		for i := 5; bad[0] == 3 && i < 33; i++ {
			bad[i] = 0xff // not below the field's prime
		}
		if _, err := parsePoint(bad); err == nil {
			t.Errorf("%x is a point", bad)
		}
	}
}
