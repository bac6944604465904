package onchain

import "lightningrod/chain"

// curve is how much a claim may pay at which height. It has no memory: a conflict, a restart or a reorganisation cannot set
// it back.
type curve struct {
	start    uint32 // height at which the claim was first possible
	deadline uint32 // height by which it must be confirmed
	value    int64  // sat at stake
	// alone: nobody else can take it, ever, so that the market decides at every height. Else a node that was off for a week would pay a
	// good part of its balance to itself coming back late.
	alone bool
}

// budget is the most that is paid: half of the value, so that an attacker who keeps a claim out of the chain up to its deadline
// has to outbid a good part of the value at every block.
func (c curve) budget() int64 { return c.value / 2 }

// fee is what a transaction of this weight should pay at a height, in satoshi: what the market asks at the start, then linear in
// the height up to the budget at the deadline. Never less than is relayed, never more than the budget, unless that
// alone is less than is relayed.
func (c curve) fee(height uint32, weight int64, rates chain.FeeRates) int64 {
	rates = rates.Sane()
	budget := max(c.budget(), rates.Floor.Fee(weight))
	left := uint32(0)
	if height < c.deadline {
		left = c.deadline - height
	}
	market := min(market(left, rates).Fee(weight), budget)
	switch {
	case c.alone || height <= c.start && left > 0:
		return market
	case left == 0:
		return budget
	}
	more, elapsed, window := budget-market, int64(height-c.start), int64(c.deadline-c.start)
	return market + more/window*elapsed + more%window*elapsed/window // more*elapsed may be too much for an int64
}

// market is the rate that the estimates name for a number of blocks left.
func market(left uint32, rates chain.FeeRates) chain.FeePerKw {
	switch {
	case left <= 12:
		return rates.Urgent
	case left <= 288:
		return rates.Normal
	}
	return rates.Slow
}

// relay is the least that a transaction must pay more than the one it replaces (BIP 125, rule 4).
func relay(rates chain.FeeRates, weight int64) int64 { return rates.Sane().Floor.Fee(weight) }

// rateOf is the rate at which weight pays at least fee.
func rateOf(fee, weight int64) chain.FeePerKw {
	return chain.FeePerKw(min((fee*1000+weight-1)/weight, int64(chain.FeerateCeiling)))
}
