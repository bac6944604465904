package commitment

import (
	"fmt"
	"testing"

	"github.com/lightningnetwork/lnd/input"
	"github.com/lightningnetwork/lnd/lnwire"
)

// benchCommitment is a commitment with n untrimmed HTLCs, half of them offered.
func benchCommitment(b *testing.B, n int) (w *world, sp Spec, c *Commitment, script []byte) {
	b.Helper()
	r := seeded(1)
	w = newWorld(b, r)
	w.static.Capacity = 100_000_000
	sp = Spec{FeePerKw: 1000, ToOwner: 50_000_000_000, ToOther: 50_000_000_000}
	for i := range n {
		h := w.htlc(r, uint64(i), 5_000_000+lnwire.MilliSatoshi(i)*1000)
		h.Offered = i%2 == 0
		sp.HTLCs = append(sp.HTLCs, h)
		sp.ToOwner -= h.Amount
	}
	c, err := Build(w.static, w.keys, sp)
	if err != nil {
		b.Fatal(err)
	}
	script, _ = FundingScript(w.keys.OwnerFunding, w.keys.OtherFunding)
	return w, sp, c, script
}

var benchSizes = []int{0, 10, 483}

// BenchmarkBuild is a commitment and the digests of all its signatures.
func BenchmarkBuild(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("htlcs=%d", n), func(b *testing.B) {
			w, sp, _, script := benchCommitment(b, n)
			b.ReportAllocs()
			for b.Loop() {
				c, err := Build(w.static, w.keys, sp)
				if err != nil {
					b.Fatal(err)
				}
				c.SignJobs(script)
			}
		})
	}
}

func BenchmarkSign(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("htlcs=%d", n), func(b *testing.B) {
			w, _, c, script := benchCommitment(b, n)
			jobs := c.SignJobs(script)
			for b.Loop() {
				SignAll(jobs, &w.other)
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("htlcs=%d", n), func(b *testing.B) {
			w, _, c, script := benchCommitment(b, n)
			jobs, err := c.VerifyJobs(script, SignAll(c.SignJobs(script), &w.other))
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if !VerifyAll(jobs) {
					b.Fatal("signatures do not hold")
				}
			}
		})
		b.Run(fmt.Sprintf("htlcs=%d/btcec", n), func(b *testing.B) {
			w, _, c, script := benchCommitment(b, n)
			jobs, err := c.VerifyJobs(script, SignAll(c.SignJobs(script), &w.other))
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				for i := range jobs {
					if !referenceVerify(&jobs[i]) {
						b.Fatal("signatures do not hold")
					}
				}
			}
		})
	}
}

func BenchmarkDeriveKeys(b *testing.B) {
	w := newWorld(b, seeded(1))
	owner, other := w.owner.BasePoints(), w.other.BasePoints()
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			if _, err := DeriveKeys(w.keys.PerCommitmentPoint, owner, other); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("all/lnd", func(b *testing.B) {
		for b.Loop() {
			point := parse(b, w.keys.PerCommitmentPoint)
			input.DeriveRevocationPubkey(parse(b, other.Revocation), point).SerializeCompressed()
			for _, base := range []PubKey{owner.DelayedPayment, owner.HTLC, other.HTLC} {
				input.TweakPubKey(parse(b, base), point).SerializeCompressed()
			}
		}
	})
}

func BenchmarkSecretStoreAdd(b *testing.B) {
	var s SecretStore
	for b.Loop() {
		b.StopTimer()
		secret := SecretFromSeed([32]byte{1}, SecretIndex(s.Next()))
		b.StartTimer()
		if err := s.Add(s.Next(), secret); err != nil {
			b.Fatal(err)
		}
	}
}
