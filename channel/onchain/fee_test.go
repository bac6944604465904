package onchain

import (
	"math/rand/v2"
	"testing"

	"lightningrod/chain"
)

func TestCurve(t *testing.T) {
	rates := chain.FeeRates{Floor: 253, Slow: 300, Normal: 1000, Urgent: 4000}
	for _, tc := range []struct {
		name   string
		c      curve
		weight int64
		fees   map[uint32]int64
	}{
		{"far from the deadline the market decides", curve{start: 100, deadline: 500, value: 100_000}, 600,
			map[uint32]int64{0: 180, 100: 180, 112: 1674, 211: 14_005, 212: 14_432}},
		{"linear to half of the value", curve{start: 1000, deadline: 1100, value: 100_000}, 1000,
			map[uint32]int64{900: 1000, 1000: 1000, 1010: 5900, 1050: 25_500, 1087: 43_630, 1088: 44_480, 1099: 49_540, 1100: 50_000}},
		{"the budget after the deadline", curve{start: 1000, deadline: 1100, value: 100_000}, 1000,
			map[uint32]int64{1101: 50_000, 4_000_000_000: 50_000}},
		{"nobody competes: the market, however late", curve{start: 100, deadline: 1108, value: 1_000_000, alone: true}, 600,
			map[uint32]int64{100: 180, 819: 180, 820: 600, 1096: 2400, 1108: 2400, 9000: 2400}},
		{"nobody competes for what is small", curve{start: 100, deadline: 1108, value: 2000, alone: true}, 600,
			map[uint32]int64{100: 180, 9000: 1000}},
		{"no window at all", curve{start: 50, deadline: 50, value: 10_000}, 600,
			map[uint32]int64{49: 2400, 50: 5000, 51: 5000}},
		{"deadline before the start", curve{start: 60, deadline: 50, value: 10_000}, 600,
			map[uint32]int64{49: 2400, 55: 5000, 60: 5000, 61: 5000}},
		{"the market above the budget", curve{start: 100, deadline: 110, value: 2000}, 1000,
			map[uint32]int64{100: 1000, 105: 1000, 110: 1000}},
		{"half of the value below what is relayed", curve{start: 100, deadline: 110, value: 200}, 600,
			map[uint32]int64{100: 152, 110: 152}},
		{"nothing at stake", curve{}, 600, map[uint32]int64{0: 152, 7: 152}},
		{"all bitcoin there is", curve{start: 1, deadline: maxExpiry, value: maxMoney}, 400_000,
			map[uint32]int64{1: 120_000, 250_000_000: 525_000_000_060_000, maxExpiry: maxMoney / 2}},
	} {
		for height, want := range tc.fees {
			if got := tc.c.fee(height, tc.weight, rates); got != want {
				t.Errorf("%s: fee at %d is %d, want %d", tc.name, height, got, want)
			}
		}
	}
}

// TestCurveNeverFalls while the market is the same, and stays between what is relayed and half of the value.
func TestCurveNeverFalls(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		c := curve{start: r.Uint32N(1000), deadline: r.Uint32N(2000), value: r.Int64N(10_000_000)}
		rates := chain.FeeRates{Floor: chain.FeePerKw(r.IntN(1000)), Slow: chain.FeePerKw(r.IntN(2000)), Normal: chain.FeePerKw(r.IntN(9000)), Urgent: chain.FeePerKw(r.IntN(20_000))}
		weight := 300 + r.Int64N(2000)
		least := rates.Sane().Floor.Fee(weight)
		last := int64(0)
		for h := range uint32(2100) {
			fee := c.fee(h, weight, rates)
			if fee < last || fee < least || fee > max(c.value/2, least) {
				t.Fatalf("seed %d: %+v %+v weight %d: fee %d at %d after %d", seed, c, rates, weight, fee, h, last)
			}
			last = fee
		}
		if last != max(c.budget(), least) {
			t.Fatalf("seed %d: ends at %d", seed, last)
		}
	}
}

func TestRateOf(t *testing.T) {
	for _, fee := range []int64{1, 252, 253, 999, 12_345, 1 << 40} {
		for _, weight := range []int64{1, 600, 999, 1000, 1062} {
			if r := rateOf(fee, weight); r != chain.FeerateCeiling && r.Fee(weight) < fee {
				t.Errorf("rate %d pays %d of %d for %d", r, r.Fee(weight), fee, weight)
			}
		}
	}
}

// TestWorth: what is worth claiming at the least rate, in satoshi.
func TestWorth(t *testing.T) {
	n, be := toy(t)
	nd := n.open(be, config{})
	for k, least := range map[kind]int64{
		kindToLocal: 485, kindToRemote: 477, kindOfferedOurs: 564, kindReceivedOurs: 584, kindOfferedTheirs: 500,
		kindReceivedTheirs: 505, kindSecond: 485, kindCheatBalance: 485, kindCheatHTLC: 508, kindCheatSecond: 485,
	} {
		first := int64(0)
		for ; !nd.s.worth(&output{kind: k, amount: first}); first++ {
		}
		if first > least || first < least-40 {
			t.Errorf("%v (%d) from %d sat on, want about %d", k, k, first, least)
		}
		for _, more := range []int64{1, 1000, maxMoney} {
			if !nd.s.worth(&output{kind: k, amount: first + more}) {
				t.Errorf("%v of %d is not worth claiming", k, first+more)
			}
		}
	}
}
