package channeltest

import (
	"fmt"
	"testing"

	"lightningrod/channel"

	"github.com/lightningnetwork/lnd/lnwire"
)

func big(t testing.TB, toy bool) *Pair {
	return open(t, Options{Toy: toy, Capacity: 100_000_000, Push: 50_000_000_000, Unchecked: true,
		Params: func(_ int, p *channel.Params) { p.Limits.MaxAcceptedHTLCs = 483 }})
}

// addAll offers n HTLCs in one turn, signed for together.
func addAll(t testing.TB, p *Pair, n int) {
	evs := make([]channel.Event, n)
	for i := range evs {
		evs[i] = channel.Add{HTLC: HTLC(uint64(i), lnwire.MilliSatoshi(1_000_000+i), 700)}
	}
	must(t, p.Do(0, evs...))
	must(t, p.DeliverAll())
}

// BenchmarkRound is n HTLCs added by one commitment_signed and fulfilled by another, both sides, real signatures, in memory.
// It ends with what one HTLC costs both sides together.
func BenchmarkRound(b *testing.B) {
	for _, n := range []int{1, 10, 100, 483} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := big(b, false)
			next := uint64(0)
			for b.Loop() {
				addAll(b, p, n)
				evs := make([]channel.Event, n)
				for i := range evs {
					evs[i] = channel.Settle{HTLC: next, Outcome: channel.Fulfill{Preimage: Preimage(uint64(i))}}
					next++
				}
				must(b, p.Do(1, evs...))
				must(b, p.DeliverAll())
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

// BenchmarkTurn is one Apply with toy signatures and n HTLCs in the channel: what copying and checking cost.
func BenchmarkTurn(b *testing.B) {
	for _, n := range []int{1, 100, 483} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := big(b, true)
			addAll(b, p, n)
			s := p.Sides[0]
			b.ReportAllocs()
			for b.Loop() {
				channel.Apply(s.State, s.Crypto, []channel.Event{channel.Sign{}})
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	p := big(b, true)
	addAll(b, p, 483)
	b.ReportAllocs()
	for b.Loop() {
		p.Sides[1].State.Encode()
	}
	b.ReportMetric(float64(len(p.Sides[1].State.Encode())), "bytes")
}

func BenchmarkRestore(b *testing.B) {
	p := big(b, true)
	addAll(b, p, 483)
	core := p.Sides[1].State.Encode()
	var bodies []channel.HTLC
	for _, h := range p.Sides[1].State.Received() {
		bodies = append(bodies, *h.HTLC)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := channel.Restore(core, bodies); err != nil {
			b.Fatal(err)
		}
	}
}
