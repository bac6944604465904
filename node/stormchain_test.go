package node

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"lightningrod/chain"
	"lightningrod/chain/embedded"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/wire"
)

var (
	storms    = flag.Int("storms", 8, "schedules of TestStormsOnChain, of each kind")
	stormSeed = flag.Uint64("storm", 0, "the only schedule of TestStormsOnChain")
)

// TestStormsOnChain has a node close its channel, with an HTLC in it, on a chain that is reorganised again and again: blocks are full, fees
// jump, nodes fall, and the coin that pays for children and HTLC transactions is taken away and comes back as another. In the end all is exact.
func TestStormsOnChain(t *testing.T) {
	for _, v := range []chainVariant{{name: "success", claims: true}, {name: "timeout"}} {
		t.Run(v.name, func(t *testing.T) {
			town := newChainTown(t, v)
			n := *storms
			if testing.Short() {
				n = 2
			}
			seeds := []uint64{*stormSeed}
			if *stormSeed == 0 {
				for seeds = nil; len(seeds) < n; {
					seeds = append(seeds, rand.Uint64())
				}
			}
			for _, seed := range seeds {
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					t.Parallel()
					town.storm(t, seed)
				})
			}
		})
	}
}

// deposit pays the closer all that is free, more than any coin that it has: it is the first to be spent. Those of different fees are
// different coins, of which only one can be.
func (r *chainRun) deposit(fee int64) *wire.MsgTx {
	_, script, err := r.nodes[r.closer].NewAddress()
	if err != nil {
		r.t.Fatal(err)
	}
	tx := wire.NewMsgTx(2)
	tx.AddTxOut(wire.NewTxOut(-fee, script))
	for i, out := range r.town.at {
		tx.AddTxIn(&wire.TxIn{PreviousOutPoint: out, Witness: embedded.AnyoneWitness()})
		tx.TxOut[0].Value += r.town.free[i].Value
	}
	return tx
}

func (c *chainTown) storm(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	r := c.copy(t, &lockDisk{at: -1})
	r.chain.SetFeeRates(chain.FeeRates{Floor: 253, Slow: 1000, Normal: 2000, Urgent: 4000})
	r.start(0)
	r.start(1)
	book := r.books(&r.nodes[0], &r.nodes[1])
	until := c.expiry + 40
	if c.variant.claims {
		until = c.expiry - 15 // the claim is to be safe from the other side's timeout
		book.paid("alice", "bob", chainAmount)
	}
	for _, out := range c.free {
		book.had[chainNames[r.closer]] += btcutil.Amount(out.Value) // less the deposit's fee, which the books see
	}
	coins := []*wire.MsgTx{r.deposit(10_000), r.deposit(20_000), r.deposit(30_000)}
	r.put(coins[0])
	r.settle()
	for steps := 0; steps < 60; steps++ {
		height, _ := r.chain.Tip()
		if height >= until {
			break
		}
		switch rng.IntN(9) {
		case 0, 1:
			r.mine(1, r.burn)
		case 2, 3:
			for range 1 + rng.IntN(min(12, int(until-height))) {
				r.put()
			}
		case 4, 5, 6:
			if height == book.height {
				continue
			}
			depth := 1 + rng.IntN(min(5, int(height-book.height)))
			if err := r.chain.Reorg(depth); err != nil {
				t.Fatal(err)
			}
			if rng.IntN(2) == 0 {
				r.settle()
			}
			if _, _, there := r.chain.Tx(coins[0].TxHash()); !there || rng.IntN(2) == 0 {
				r.put(coins[rng.IntN(len(coins))])
			}
			for range rng.IntN(depth + 1) {
				if rng.IntN(2) == 0 {
					r.mine(1, r.burn)
				} else {
					r.put()
				}
			}
		case 7:
			rate := chain.FeePerKw(500 << rng.IntN(7))
			r.chain.SetFeeRates(chain.FeeRates{Floor: 253, Slow: rate, Normal: rate, Urgent: rate * 2})
		case 8:
			i := rng.IntN(2)
			r.nodes[i].Crash()
			r.start(i)
		}
		r.settle()
	}
	r.chain.SetFeeRates(chain.FeeRates{Floor: 253, Slow: 1000, Normal: 2000, Urgent: 4000})
	r.end(book)
}

// put mines a block of these transactions alone. One that cannot be in it now is left out.
func (r *chainRun) put(txs ...*wire.MsgTx) {
	if _, err := r.chain.MineTxs(r.burn, txs...); err != nil {
		if _, err := r.chain.MineTxs(r.burn); err != nil {
			r.t.Fatal(err)
		}
	}
}
