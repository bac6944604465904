package bitcoind

import (
	"context"
	"time"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// ratesEvery is how often bitcoind is asked for its estimates if no block comes.
const ratesEvery = time.Minute

// estimates are what is asked for. A target is a number of blocks.
var estimates = []struct {
	target int
	mode   string
	rate   func(*chain.FeeRates) *chain.FeePerKw
}{
	{2, "conservative", func(r *chain.FeeRates) *chain.FeePerKw { return &r.Urgent }},
	{6, "conservative", func(r *chain.FeeRates) *chain.FeePerKw { return &r.Normal }},
	{144, "economical", func(r *chain.FeeRates) *chain.FeePerKw { return &r.Slow }},
}

// FeeRates are bitcoind's estimates, smoothed. Where it has none any more (it was started with old data), the last one stays. Where it never had one (a
// new bitcoind, regtest), the next slower one stands in, and in the end what its mempool demands.
func (b *Backend) FeeRates() chain.FeeRates {
	if r := b.rates.Load(); r != nil {
		return *r
	}
	return chain.FeeRates{}.Sane()
}

// refreshRates asks with every block, and once a minute. A failure leaves the rates as they are.
func (b *Backend) refreshRates(ctx context.Context, tip chainhash.Hash) {
	if now := time.Now(); tip == b.ratesTip && now.Sub(b.ratesAt) < ratesEvery {
		return
	} else {
		b.ratesTip, b.ratesAt = tip, now
	}
	next, err := b.readRates(ctx)
	if err != nil {
		b.cfg.Log.Warn("fee estimates", "error", err)
		return
	}
	var before chain.FeeRates
	if r := b.rates.Load(); r != nil {
		before = *r
	}
	for _, e := range estimates {
		if got, last := e.rate(&next), e.rate(&b.estimated); *got == 0 {
			*got = *last
		} else {
			*last = *got
		}
	}
	next = before.Smooth(next)
	b.rates.Store(&next)
}

// readRates asks; an estimate that there is not is 0.
func (b *Backend) readRates(ctx context.Context) (chain.FeeRates, error) {
	var pool struct {
		Min   bitcoins `json:"mempoolminfee"`
		Relay bitcoins `json:"minrelaytxfee"`
	}
	answers := make([]struct {
		Rate bitcoins `json:"feerate"` // absent: bitcoind does not know
	}, len(estimates))
	calls := []call{{method: "getmempoolinfo", result: &pool}}
	for i, e := range estimates {
		calls = append(calls, call{method: "estimatesmartfee", params: []any{e.target, e.mode}, result: &answers[i]})
	}
	if err := b.rpc.batch(ctx, calls); err != nil {
		return chain.FeeRates{}, err
	}
	if calls[0].err != nil {
		return chain.FeeRates{}, calls[0].err
	}
	// An estimate that failed (with -blocksonly all do) is one that is missing.
	r := chain.FeeRates{Floor: chain.FromSatPerKvB(int64(max(pool.Min, pool.Relay)))}
	for i, e := range estimates {
		*e.rate(&r) = chain.FromSatPerKvB(int64(answers[i].Rate))
	}
	return r, nil
}
