package chain

import (
	"errors"
	"math"
	"testing"
)

func TestFromSatPerKvB(t *testing.T) {
	for _, tc := range []struct {
		in   int64
		want FeePerKw
	}{
		{-5, 0}, {0, 0}, {1, 1}, {4, 1}, {5, 2}, {1000, 250}, {1012, 253}, {2_000_000, 500_000},
		{4 * math.MaxUint32, math.MaxUint32}, {math.MaxInt64, math.MaxUint32},
	} {
		if got := FromSatPerKvB(tc.in); got != tc.want {
			t.Errorf("%d sat/kvB: %d, want %d", tc.in, got, tc.want)
		}
	}
}

func TestFee(t *testing.T) {
	for _, tc := range []struct {
		rate   FeePerKw
		weight int64
		want   int64
	}{{253, 0, 0}, {253, 1, 1}, {253, 1000, 253}, {253, 1001, 254}, {500_000, 400_000, 200_000_000}} {
		if got := tc.rate.Fee(tc.weight); got != tc.want {
			t.Errorf("%d sat/kw of %d: %d, want %d", tc.rate, tc.weight, got, tc.want)
		}
	}
	// The floor reaches 1 sat per virtual byte for whatever weight a transaction can have.
	for weight := int64(328); weight < 400_000; weight++ {
		if fee, vsize := FeerateFloor.Fee(weight), (weight+3)/4; fee < vsize {
			t.Fatalf("weight %d pays %d sat for %d vB", weight, fee, vsize)
		}
	}
}

func TestSane(t *testing.T) {
	for name, tc := range map[string]struct{ in, want FeeRates }{
		"nothing":   {FeeRates{}, FeeRates{253, 253, 253, 253}},
		"good":      {FeeRates{300, 400, 500, 600}, FeeRates{300, 400, 500, 600}},
		"one known": {FeeRates{Normal: 5000}, FeeRates{253, 253, 5000, 5000}},
		"disorder":  {FeeRates{300, 9000, 200, 1000}, FeeRates{300, 9000, 9000, 9000}},
		"absurd":    {FeeRates{1, 2, 3, math.MaxUint32}, FeeRates{253, 253, 253, 500_000}},
		"full":      {FeeRates{math.MaxUint32, 0, 0, 0}, FeeRates{500_000, 500_000, 500_000, 500_000}},
	} {
		if got := tc.in.Sane(); got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestSmooth(t *testing.T) {
	start := FeeRates{253, 1000, 2000, 4000}
	for name, tc := range map[string]struct{ from, next, want FeeRates }{
		"first":       {FeeRates{}, FeeRates{Urgent: 4000}, FeeRates{253, 253, 253, 4000}},
		"same":        {start, start, start},
		"rise":        {start, FeeRates{253, 2000, 4000, 8000}, FeeRates{253, 1250, 2500, 8000}},
		"fall":        {start, FeeRates{253, 600, 1200, 2000}, FeeRates{253, 900, 1800, 3500}},
		"last step":   {start, FeeRates{253, 999, 1999, 3999}, FeeRates{253, 999, 1999, 3999}},
		"floor rises": {start, FeeRates{3000, 3000, 3000, 3000}, FeeRates{3000, 3000, 3000, 3750}},
	} {
		if got := tc.from.Smooth(tc.next); got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
	r, goal := start, FeeRates{253, 90_000, 100_000, 110_000}
	for range 60 {
		r = r.Smooth(goal)
	}
	if r != goal {
		t.Errorf("does not arrive: %+v", r)
	}
}

func TestNear(t *testing.T) {
	r := FeeRates{253, 1000, 2000, 4000}
	for _, tc := range []struct {
		o    FeeRates
		want bool
	}{
		{r, true},
		{FeeRates{253, 1100, 1800, 4000}, true},
		{FeeRates{253, 1101, 2000, 4000}, false},
		{FeeRates{253, 1000, 2000, 3599}, false},
		{FeeRates{}, false},
	} {
		if got := r.Near(tc.o); got != tc.want {
			t.Errorf("%+v near %+v: %v", tc.o, r, got)
		}
	}
	if (FeeRates{}).Near(r) {
		t.Error("nothing is near something")
	}
}

func TestPublishErrors(t *testing.T) {
	for _, err := range []error{ErrConflict, ErrMissingInputs, ErrPremature, ErrFeeTooLow} {
		if !errors.Is(err, ErrRejected) || errors.Is(ErrRejected, err) {
			t.Errorf("%v", err)
		}
	}
}
