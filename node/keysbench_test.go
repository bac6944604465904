package node

import (
	"fmt"
	"testing"

	"lightningrod/channel"
	"lightningrod/channel/channeltest"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/chaincfg"
	"github.com/lightningnetwork/lnd/lnwire"
)

// paired is a signer as channeltest wants it.
type paired struct{ *signer }

func (p paired) BasePoints() commitment.BasePoints { return p.basePoints() }

func testSigner(t testing.TB, n byte) *signer {
	t.Helper()
	seed := make([]byte, 32)
	seed[0] = n
	k, err := newKeyring(seed, &chaincfg.RegressionNetParams)
	if err != nil {
		t.Fatal(err)
	}
	return k.signer(channel.ID(n))
}

// BenchmarkSigner is n HTLCs added by one commitment_signed and fulfilled by another: both sides, with the node's keys.
func BenchmarkSigner(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p, err := channeltest.Open(channeltest.Options{Capacity: 100_000_000, Push: 50_000_000_000, Unchecked: true,
				Crypto: func(side int) channeltest.Crypto { return paired{testSigner(b, byte(1+side))} }})
			if err != nil {
				b.Fatal(err)
			}
			next := uint64(0)
			for b.Loop() {
				adds, settles := make([]channel.Event, n), make([]channel.Event, n)
				for i := range n {
					adds[i] = channel.Add{HTLC: channeltest.HTLC(uint64(i), lnwire.MilliSatoshi(1_000_000+i), 700)}
					settles[i] = channel.Settle{HTLC: next, Outcome: channel.Fulfill{Preimage: channeltest.Preimage(uint64(i))}}
					next++
				}
				for side, evs := range [][]channel.Event{adds, settles} {
					if err := p.Do(side, evs...); err != nil {
						b.Fatal(err)
					}
					if err := p.DeliverAll(); err != nil {
						b.Fatal(err)
					}
				}
				for _, s := range p.Sides {
					if len(s.State.Offered())+len(s.State.Received()) != 0 {
						b.Fatal(s.State)
					}
					s.Notices = s.Notices[:0]
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/htlc")
		})
	}
}

// TestSignerRemembers: what a signer remembers is what it would derive, also after more than it remembers.
func TestSignerRemembers(t *testing.T) {
	var _ channel.Deriver = (*signer)(nil)
	s, other := testSigner(t, 1), testSigner(t, 2)
	jobs := func(point commitment.PubKey) []commitment.SignJob {
		js := []commitment.SignJob{{Key: commitment.KeyFunding, Digest: [32]byte{1}}}
		for i := range 9 {
			js = append(js, commitment.SignJob{Key: commitment.KeyHTLC, Point: point, Digest: [32]byte{byte(i)}})
		}
		return js
	}
	for range 2 {
		for n := range uint64(10) {
			point := commitment.PointOf(s.Secret(n))
			if s.Point(n) != point {
				t.Fatalf("point %d", n)
			}
			want, err := commitment.DeriveKeys(point, s.base, other.base)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := s.DeriveKeys(point, s.base, other.base); err != nil || got != want {
				t.Fatalf("keys of commitment %d: %v", n, err)
			}
			js := jobs(other.Point(n))
			got, all := s.Sign(js), commitment.SignAll(js, &s.privs)
			for i := range got {
				if got[i] != all[i] {
					t.Fatalf("signature %d of commitment %d", i, n)
				}
			}
		}
	}
	bad := commitment.PubKey{2} // not on the curve
	if _, err := s.DeriveKeys(bad, s.base, other.base); err == nil {
		t.Error("keys from no point")
	}
}
