package chain

import "math"

const (
	// FeerateFloor is the least that is ever paid, in sat/kw. Nodes relay from 1 sat per virtual byte, and round virtual
	// bytes up: 250 sat/kw may fall short by that rounding, 253 never does.
	FeerateFloor FeePerKw = 253
	// FeerateCeiling is the most that an estimate is believed, 2000 sat/vB: about the worst that the network has seen. What is
	// above it is a broken estimator, or somebody who feeds it.
	FeerateCeiling FeePerKw = 500_000
)

// FromSatPerKvB converts a rate in satoshi per 1000 virtual bytes, rounding up. What does not fit gives the largest or smallest FeePerKw.
func FromSatPerKvB(rate int64) FeePerKw {
	switch {
	case rate <= 0:
		return 0
	case rate > 4*math.MaxUint32:
		return math.MaxUint32
	}
	return FeePerKw((rate + 3) / 4)
}

// Fee is what a transaction of this weight pays, in satoshi, rounded up so that the rate is reached.
// (The commitment fee of BOLT 3 rounds down and is not computed here.)
func (f FeePerKw) Fee(weight int64) int64 { return (int64(f)*weight + 999) / 1000 }

// Sane is r within FeerateFloor and FeerateCeiling, and ordered: Floor <= Slow <= Normal <= Urgent. An estimate that
// is missing (0) becomes the next slower one.
func (r FeeRates) Sane() FeeRates {
	within := func(rate, least FeePerKw) FeePerKw { return min(max(rate, least), FeerateCeiling) }
	r.Floor = within(r.Floor, FeerateFloor)
	r.Slow = within(r.Slow, r.Floor)
	r.Normal = within(r.Normal, r.Slow)
	r.Urgent = within(r.Urgent, r.Normal)
	return r
}

// Smooth is what to believe after the estimates r when the backend newly says next. What the network demands now is taken at once:
// the floor, and a rise of the urgent rate, since paying too little near a deadline costs more than paying too much. All
// else moves a quarter of the way, so that one odd block does not move the commitment fee of every channel.
// The zero r takes next as it is. The result is Sane.
func (r FeeRates) Smooth(next FeeRates) FeeRates {
	next = next.Sane()
	if r == (FeeRates{}) {
		return next
	}
	return FeeRates{
		Floor:  next.Floor,
		Slow:   quarter(r.Slow, next.Slow),
		Normal: quarter(r.Normal, next.Normal),
		Urgent: max(next.Urgent, quarter(r.Urgent, next.Urgent)),
	}.Sane()
}

// quarter goes a quarter of the way from a to b, at least one step, so that it arrives.
func quarter(a, b FeePerKw) FeePerKw {
	if a < b {
		return a + (b-a+3)/4
	}
	return a - (a-b+3)/4
}

// Near says that the estimates in o differ from r by no more than a tenth: not worth telling anybody.
func (r FeeRates) Near(o FeeRates) bool {
	near := func(a, b FeePerKw) bool { return 10*(uint64(max(a, b))-uint64(min(a, b))) <= uint64(a) }
	return near(r.Floor, o.Floor) && near(r.Slow, o.Slow) && near(r.Normal, o.Normal) && near(r.Urgent, o.Urgent)
}
