package wallet

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"lightningrod/chain"
	"lightningrod/chain/embedded"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/wire"
)

// claimable is an output of somebody else's in a block, as an Input.
func (d *desk) claimable(from uint32, value int64) Input {
	d.t.Helper()
	tx := d.deposit(from, value, embedded.AnyoneCanSpend)
	return Input{
		Out: wire.OutPoint{Hash: tx.TxHash()}, Prev: tx.TxOut[0], Sequence: 1,
		Witness: int64(embedded.AnyoneWitness().SerializeSize()),
	}
}

// fundUpTo funds, signs the foreign inputs, and checks what is said of the fee.
func (d *desk) fundUpTo(outs []*wire.TxOut, rate chain.FeePerKw, opt Options) (*wire.MsgTx, btcutil.Amount, error) {
	d.t.Helper()
	tx, fee, rows, err := d.FundUpTo(outs, rate, opt)
	if err != nil {
		if len(rows) != 0 || len(d.rows()) != 0 {
			d.t.Fatal("a refusal has changed the wallet")
		}
		return nil, 0, err
	}
	d.save(rows)
	for i := range opt.Inputs {
		tx.TxIn[i].Witness = embedded.AnyoneWitness()
	}
	if paid := d.fee(tx); paid != int64(fee) {
		d.t.Fatalf("pays %d sat, says %d", paid, int64(fee))
	}
	return tx, fee, nil
}

func TestFundUpTo(t *testing.T) {
	const coin = 100_000
	d := ready(t, coin)
	anchor, htlc := d.claimable(9, 330), d.claimable(10, 60_000)
	d.mine(1)
	lock, _ := d.Tip()
	// Weights: of a child by the anchor, and of an HTLC transaction with change, each with a P2WPKH coin.
	weigh := func(in Input, outs ...*wire.TxOut) int64 {
		tx, _, err := d.fundUpTo(outs, 253, Options{Inputs: []Input{in}})
		if err != nil {
			t.Fatal(err)
		}
		d.save(d.Release(tx))
		return weightOf(tx)
	}
	out := foreign(60_000)
	child, claim := weigh(anchor), weigh(htlc, out)
	for name, tc := range map[string]struct {
		in    Input
		outs  []*wire.TxOut
		rate  chain.FeePerKw
		extra btcutil.Amount
		max   btcutil.Amount
		least int64  // of the fee, and at most slack more
		slack int64  // 0: 20, for signatures may be short
		err   string // instead
	}{
		"as asked":           {in: anchor, rate: 4000, extra: 2000, least: chain.FeePerKw(4000).Fee(child) + 2000},
		"below the maximum":  {in: anchor, rate: 4000, extra: 2000, max: 90_000, least: chain.FeePerKw(4000).Fee(child) + 2000},
		"maximum":            {in: anchor, rate: 4000, extra: 2000, max: 3000, least: 2995},
		"maximum below both": {in: anchor, rate: 4000, extra: 20_000, max: 3000, least: 2995},
		"maximum too low":    {in: anchor, rate: 4000, max: 100, err: "fee of 1"},
		"coins":              {in: anchor, rate: 300_000, least: coin + 330 - 294 - 5},
		"coins, extra":       {in: anchor, rate: 1000, extra: coin, least: coin + 330 - 294 - 5},
		"rate absurd":        {in: anchor, rate: 1 << 31, max: 4000, least: 3995},
		"rate below floor":   {in: anchor, rate: 0, least: chain.FeerateFloor.Fee(child)},
		"HTLC":               {in: htlc, outs: []*wire.TxOut{out}, rate: 4000, least: chain.FeePerKw(4000).Fee(claim)},
		"HTLC, maximum":      {in: htlc, outs: []*wire.TxOut{out}, rate: 4000, max: 2000, least: 1995},
		"HTLC, all coins":    {in: htlc, outs: []*wire.TxOut{out}, rate: 400_000, least: coin - 294 - 5, slack: 299},
		"HTLC, no coins":     {in: htlc, outs: []*wire.TxOut{foreign(160_000)}, rate: 4000, err: "insufficient funds"},
		"maximum negative":   {in: htlc, outs: []*wire.TxOut{out}, rate: 4000, max: -1, err: "maximum fee -1 sat is no amount"},
	} {
		t.Run(name, func(t *testing.T) {
			opt := Options{Inputs: []Input{tc.in}, Extra: tc.extra, MaxFee: tc.max, LockTime: lock}
			tx, fee, err := d.fundUpTo(tc.outs, tc.rate, opt)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatal(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			most := tc.least + cmp.Or(tc.slack, 20)
			if int64(fee) < tc.least || int64(fee) > most || tc.max != 0 && fee > tc.max {
				t.Errorf("fee %d, want %d to %d", int64(fee), tc.least, most)
			}
			if tx.LockTime != lock || tx.TxIn[0].PreviousOutPoint != tc.in.Out || tx.TxIn[0].Sequence != 1 || len(tx.TxIn) != 2 {
				t.Errorf("lock time %d, inputs %+v", tx.LockTime, tx.TxIn)
			}
			d.save(d.Release(tx))
		})
	}
	_, _, err := d.Fund([]*wire.TxOut{out}, 1000, Options{MaxFee: 300})
	if err == nil || !strings.Contains(err.Error(), "above maximum 300 sat") {
		t.Errorf("Fund above the maximum: %v", err)
	}
	if _, _, err := d.Sweep(out.PkScript, 1000, Options{MaxFee: 300}); err == nil {
		t.Error("Sweep above the maximum")
	}
	_, _, err = d.Fund([]*wire.TxOut{out}, 1000, Options{LockTime: lock})
	if err != nil {
		t.Error(err)
	}
}

// TestReplace has a transaction replaced in every state that the old one can be in.
func TestReplace(t *testing.T) {
	for name, tc := range map[string]struct {
		before func(d *desk, old *wire.MsgTx)
		rate   chain.FeePerKw
		others bool // Inputs that the old one did not spend
		err    string
		fresh  bool // other coins are taken
	}{
		"pending":    {rate: 3000},
		"restarted":  {before: func(d *desk, _ *wire.MsgTx) { d.restart() }, rate: 3000},
		"same rate":  {rate: 1000, err: "to replace"},
		"too little": {rate: 1200, err: "to replace"},
		"enough":     {rate: 1300},
		"released":   {before: func(d *desk, old *wire.MsgTx) { d.save(d.Release(old)) }, rate: 900},
		"released, in the mempool": {before: func(d *desk, old *wire.MsgTx) {
			d.save(d.Release(old))
			d.Mempool(old)
		}, rate: 3000},
		"released, other inputs": {
			before: func(d *desk, old *wire.MsgTx) { d.save(d.Release(old)) },
			rate:   3000, others: true, err: "not pending",
		},
		"confirmed": {before: func(d *desk, old *wire.MsgTx) {
			d.publish(old)
			d.mine(1)
		}, rate: 3000, err: "is confirmed"},
		"confirmed, restarted": {before: func(d *desk, old *wire.MsgTx) {
			d.publish(old)
			d.mine(1)
			d.restart()
		}, rate: 3000, err: "is confirmed"},
		"its coin is gone": {before: func(d *desk, old *wire.MsgTx) {
			other := newDesk(d.t, d.c)
			other.follow()
			tx := other.fund([]*wire.TxOut{foreign(150_000)}, 2000, Options{})
			if _, err := d.c.MineTxs(nil, tx); err != nil {
				d.t.Fatal(err)
			}
			d.follow()
		}, rate: 900, fresh: true},
	} {
		t.Run(name, func(t *testing.T) {
			d := ready(t, 100_000, 200_000)
			a, b := d.claimable(9, 10_000), d.claimable(10, 10_000)
			d.mine(1)
			outs := []*wire.TxOut{foreign(10_000)}
			old, _, err := d.fundUpTo(outs, 1000, Options{Inputs: []Input{a}})
			if err != nil {
				t.Fatal(err)
			}
			if tc.before != nil {
				tc.before(d, old)
			}
			in := a
			if tc.others {
				in = b
			}
			tx, _, err := d.fundUpTo(outs, tc.rate, Options{Inputs: []Input{in}, Replaces: old})
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatal(err)
				}
				if p := d.pending[old.TxHash()]; p == nil && !tc.others {
					t.Fatal("the old one is forgotten")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if same := tx.TxIn[1].PreviousOutPoint == old.TxIn[1].PreviousOutPoint; same == tc.fresh {
				t.Errorf("the same coin: %v", same)
			}
			d.publish(tx)
			d.mine(1)
			d.restart()
			if d.pending[tx.TxHash()].height == 0 {
				t.Error("not confirmed")
			}
		})
	}
}

// TestLostAnswer: the caller crashed before it noted what it was given, and asks again. The wallet has one coin.
func TestLostAnswer(t *testing.T) {
	for name, tc := range map[string]struct {
		known     bool // an answer before that one was noted
		published bool // that
		rate      chain.FeePerKw
		err       string
	}{
		"first answer":                  {rate: 1000},
		"first answer, less now":        {rate: 500},
		"second answer":                 {known: true, rate: 900},
		"second answer, in the mempool": {known: true, published: true, rate: 2000},
		"second answer, not better":     {known: true, published: true, rate: 1000, err: "to replace"},
	} {
		t.Run(name, func(t *testing.T) {
			d := ready(t, 100_000)
			opt := Options{Inputs: []Input{d.claimable(9, 10_000)}}
			d.mine(1)
			outs := []*wire.TxOut{foreign(10_000)}
			fund := func(rate chain.FeePerKw) (*wire.MsgTx, error) {
				tx, _, err := d.fundUpTo(outs, rate, opt)
				return tx, err
			}
			if tc.known {
				first, err := fund(1000)
				if err != nil {
					t.Fatal(err)
				}
				opt.Replaces = first
			}
			lost, err := fund(1800)
			if err != nil {
				t.Fatal(err)
			}
			d.restart()
			if tc.published {
				d.publish(opt.Replaces)
			}
			tx, err := fund(tc.rate)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatal(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tx.TxIn[1].PreviousOutPoint != lost.TxIn[1].PreviousOutPoint || len(d.pending) != 1 {
				t.Errorf("%d pending", len(d.pending))
			}
			d.publish(tx)
			d.mine(1)
			d.wantBalance(btcutil.Amount(tx.TxOut[1].Value), 0)
		})
	}
}

// TestFundUpToRandom: whatever the coins, the claim and the bounds, a transaction is made if one can be made, is valid, pays as much as it may and
// no more, and goes through the mempool in place of the one before.
func TestFundUpToRandom(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	made, lowered, replaced := 0, 0, 0
	for range 5 {
		var values []int64
		for range 1 + r.IntN(6) {
			values = append(values, 600+r.Int64N(12_000))
		}
		d := ready(t, values...)
		var claims []Input
		for i := range 6 {
			claims = append(claims, d.claimable(uint32(len(values)+i+1), []int64{330, 5000, 40_000}[r.IntN(3)]))
		}
		d.mine(1)
		for _, in := range claims {
			b := bump{d: d, r: r, in: in}
			if in.Prev.Value > 330 {
				b.outs = []*wire.TxOut{foreign(in.Prev.Value)}
			}
			for range 8 {
				b.step(fmt.Sprintf("seed %d", seed))
			}
			made, lowered, replaced = made+b.made, lowered+b.lowered, replaced+b.replaced
			d.mine(1)
		}
	}
	t.Logf("%d made, %d at a lower rate, %d replaced", made, lowered, replaced)
	if made == 0 || lowered == 0 || replaced == 0 {
		t.Errorf("of a kind there were none")
	}
}

// bump is one output and the transactions that claim it in turn.
type bump struct {
	d    *desk
	r    *rand.Rand
	in   Input
	outs []*wire.TxOut
	last *wire.MsgTx // in the mempool

	made, lowered, replaced int
}

func (b *bump) step(seed string) {
	b.d.t.Helper()
	rate := chain.FeePerKw(253 + b.r.IntN(8000))
	opt := Options{Inputs: []Input{b.in}, Extra: btcutil.Amount(b.r.Int64N(4000)), Replaces: b.last, Change: Kind(b.r.IntN(2))}
	if b.r.IntN(2) == 0 {
		opt.MaxFee = 1 + btcutil.Amount(b.r.Int64N(6000))
	}
	tx, fee, err := b.d.fundUpTo(b.outs, rate, opt)
	if err != nil {
		b.mayRefuse(opt, err, seed)
		return
	}
	b.made++
	wanted := btcutil.Amount(rate.Fee(weightOf(tx))) + opt.Extra
	floor := btcutil.Amount(chain.FeerateFloor.Fee(weightOf(tx)))
	if fee < floor || opt.MaxFee != 0 && fee > opt.MaxFee {
		b.d.t.Fatalf("%s: fee %d, at least %d, at most %d", seed, int64(fee), int64(floor), int64(opt.MaxFee))
	}
	// What is not paid may be what one more coin and change cost, or less than makes an output.
	slack := btcutil.Amount(rate.Fee(500)) + 400
	if fee < wanted {
		b.lowered++
		var left btcutil.Amount
		for _, c := range b.d.Coins() {
			if !c.Locked && c.Height != 0 && int64(c.Value) > rate.Fee(272) {
				left += c.Value
			}
		}
		if change := len(tx.TxOut) - len(b.outs); change == 1 {
			left += btcutil.Amount(tx.TxOut[len(b.outs)].Value)
		}
		if (opt.MaxFee == 0 || fee+slack < opt.MaxFee) && left > slack {
			b.d.t.Fatalf("%s: pays %d of %d (at most %d) with %d left", seed, int64(fee), int64(wanted), int64(opt.MaxFee), int64(left))
		}
	} else if fee > wanted+slack {
		b.d.t.Fatalf("%s: pays %d, want %d", seed, int64(fee), int64(wanted))
	}
	if b.last != nil {
		b.replaced++
	}
	b.d.publish(tx)
	b.last = tx
	if b.d.pending[tx.TxHash()] == nil {
		b.d.t.Fatalf("%s: not pending", seed)
	}
}

// mayRefuse fails if a transaction at the least rate could have been made.
func (b *bump) mayRefuse(opt Options, err error, seed string) {
	b.d.t.Helper()
	var short *InsufficientError
	switch {
	case b.last != nil:
		if b.d.pending[b.last.TxHash()] == nil {
			b.d.t.Fatalf("%s: %v, and the one before is forgotten", seed, err)
		}
	case errors.As(err, &short) || strings.Contains(err.Error(), "above maximum"):
		opt.Extra = 0
		if _, _, err := b.d.Fund(b.outs, 253, opt); err == nil {
			b.d.t.Fatalf("%s: refused, although the least can be paid", seed)
		}
	default:
		b.d.t.Fatalf("%s: %v", seed, err)
	}
}

// TestSpread makes several coins of one, with which as many claims are made at once.
func TestSpread(t *testing.T) {
	d := ready(t, 1_000_000)
	spread := func(n int) *wire.MsgTx {
		t.Helper()
		tx, rows, err := d.Spread(n, 25_000, 300, Options{Publish: true})
		if err != nil {
			t.Fatal(err)
		}
		d.save(rows)
		return tx
	}
	for n := -1; n <= 1; n++ {
		if tx := spread(n); tx != nil {
			t.Errorf("%d coins are there, and more are made", n)
		}
	}
	tx := spread(5)
	if len(tx.TxIn) != 1 || len(tx.TxOut) != 5 {
		t.Fatalf("%d inputs, %d outputs", len(tx.TxIn), len(tx.TxOut))
	}
	scripts := map[string]bool{}
	for _, out := range tx.TxOut {
		scripts[string(out.PkScript)] = true
	}
	if len(scripts) != 5 {
		t.Errorf("%d scripts", len(scripts))
	}
	if again := spread(5); again != nil {
		t.Error("again before it confirms")
	}
	d.publish(tx)
	d.mine(1)
	if again := spread(5); again != nil {
		t.Error("again after it confirmed")
	}
	for i := range 5 {
		in := d.claimable(uint32(2+i), 40_000)
		d.mine(1)
		if _, _, err := d.fundUpTo([]*wire.TxOut{foreign(40_000)}, 2000, Options{Inputs: []Input{in}}); err != nil {
			t.Errorf("claim %d: %v", i, err)
		}
	}
	if err := d.Reload(); err != nil {
		t.Error(err)
	}
	// Poor, and without addresses.
	d = ready(t, 30_000)
	if _, _, err := d.Spread(3, 25_000, 300, Options{}); err == nil {
		t.Error("more than there is")
	}
	d = ready(t, 10_000_000)
	if tx, _, err := d.Spread(1000, 25_000, 300, Options{}); err != nil || len(tx.TxOut) != GapLimit {
		t.Errorf("%d outputs, %v", len(tx.TxOut), err)
	}
	if tx, _, err := d.Spread(1000, 25_000, 300, Options{}); tx != nil || err != nil {
		t.Errorf("no addresses: %v", err)
	}
}

// A transaction that claims something leaves behind as many coins as are wanted next.
func TestSplit(t *testing.T) {
	d := ready(t, 200_000)
	anchor := d.claimable(9, 330)
	d.mine(1)
	opt := Options{Inputs: []Input{anchor}, Split: 5, MaxFee: 10_000}
	tx, fee, err := d.fundUpTo(nil, 2000, opt)
	if err != nil || len(tx.TxOut) != 5 || tx.TxOut[0].Value != SplitValue {
		t.Fatalf("%d outputs, %v", len(tx.TxOut), err)
	}
	if least := chain.FeePerKw(2000).Fee(weightOf(tx)); int64(fee) < least || int64(fee) > least+50 {
		t.Errorf("fee %d sat for %d units", int64(fee), weightOf(tx))
	}
	// A better one in its place splits again, into the same scripts.
	opt.Replaces = tx
	again, _, err := d.fundUpTo(nil, 4000, opt)
	if err != nil || len(again.TxOut) != 5 {
		t.Fatalf("replaced: %v", err)
	}
	for i, out := range again.TxOut {
		if string(out.PkScript) != string(tx.TxOut[i].PkScript) {
			t.Errorf("output %d has a new script", i)
		}
	}
	d.publish(again)
	d.mine(1)
	// The five coins that are there suffice; each pays for one claim, at once.
	for i := range 5 {
		in := d.claimable(uint32(2+i), 40_000)
		d.mine(1)
		tx, _, err := d.fundUpTo([]*wire.TxOut{foreign(40_000)}, 2000, Options{Inputs: []Input{in}, Split: 5 - i})
		if err != nil || len(tx.TxOut) != 2 {
			t.Errorf("claim %d: %v", i, err)
		}
	}
	// Not more than the change allows, nor than may be paid.
	for _, tc := range []struct {
		coin    int64
		max     btcutil.Amount
		outputs int
	}{{90_000, 0, 3}, {40_000, 0, 1}, {200_000, 1650, 2}} {
		d := ready(t, tc.coin)
		anchor := d.claimable(9, 330)
		d.mine(1)
		tx, _, err := d.fundUpTo(nil, 2000, Options{Inputs: []Input{anchor}, Split: 5, MaxFee: tc.max})
		if err != nil || len(tx.TxOut) != tc.outputs {
			t.Errorf("coin of %d sat: %d outputs, %v", tc.coin, len(tx.TxOut), err)
		}
	}
}

// BenchmarkFundUpTo claims with a wallet of a thousand coins: at the rate asked for, and at the highest that a maximum allows.
func BenchmarkFundUpTo(b *testing.B) {
	for name, most := range map[string]btcutil.Amount{"rate": 0, "maximum": 5000} {
		b.Run(name, func(b *testing.B) {
			w, err := New(testSeed, embedded.Params(), nil)
			if err != nil {
				b.Fatal(err)
			}
			for i := range uint32(1000) {
				w.coins[wire.OutPoint{Index: i}] = &coin{value: 30_000 + btcutil.Amount(i), place: place{0, i % GapLimit}, height: 1}
			}
			in := Input{Out: wire.OutPoint{Index: 5000}, Prev: wire.NewTxOut(330, embedded.AnyoneCanSpend), Witness: 70}
			for b.Loop() {
				tx, _, _, err := w.FundUpTo(nil, 20_000, Options{Inputs: []Input{in}, Extra: 3000, MaxFee: most})
				if err != nil {
					b.Fatal(err)
				}
				w.Release(tx)
			}
		})
	}
}

// TestCoinsGone: a reorganisation takes away a coin that pays for a claim, and puts something else in its place. The wallet knows, also of
// what descends from it, and pays with another coin.
func TestCoinsGone(t *testing.T) {
	d := ready(t, 50_000)
	claim := d.claimable(9, 330)
	d.mine(1)
	made := d.deposit(10, 200_000, d.newAddress(P2WPKH))
	d.mine(1)
	coin := wire.OutPoint{Hash: made.TxHash()}
	opt := Options{Inputs: []Input{claim}}
	first, _, err := d.fundUpTo(nil, 2000, opt)
	if err != nil {
		t.Fatal(err)
	}
	change := wire.OutPoint{Hash: first.TxHash()}
	if first.TxIn[1].PreviousOutPoint != coin || !d.Has(coin) || !d.Has(change) {
		t.Fatalf("spends %v, has its coin %v, its change %v", first.TxIn[1].PreviousOutPoint, d.Has(coin), d.Has(change))
	}
	if d.Has(claim.Out) || d.Has(wire.OutPoint{}) {
		t.Error("has what is not its own")
	}
	if err := d.c.Reorg(1); err != nil {
		t.Fatal(err)
	}
	tip, _ := d.Tip()
	d.save(d.Disconnect(tip))
	if d.pending[made.TxHash()] != nil {
		t.Error("what was in a block that is gone counts as pending before it is seen in the mempool")
	}
	d.follow()
	if !d.Has(coin) || !d.Has(change) {
		t.Error("what may come back counts as gone")
	}
	other := made.Copy()
	other.TxOut[0].Value--
	other.TxOut[0].PkScript = embedded.AnyoneCanSpend
	if _, err := d.c.MineTxs(nil, other); err != nil {
		t.Fatal(err)
	}
	d.follow()
	d.restart()
	if d.Has(coin) || d.Has(change) {
		t.Errorf("after the reorganisation it has its coin %v, its change %v", d.Has(coin), d.Has(change))
	}
	second, _, err := d.fundUpTo(nil, 2000, opt)
	if err != nil {
		t.Fatal(err)
	}
	d.Mempool(first) // which has not heard of the second
	if row := d.Row([]byte(pendingKey(first.TxHash()))); row.Value != nil {
		t.Error("what was replaced has a row again, and is our own after a restart, since it was seen in the mempool")
	}
	d.Gone(first.TxHash())
	if len(second.TxIn) != 2 || second.TxIn[1].PreviousOutPoint == coin {
		t.Errorf("spends %v", second.TxIn[1].PreviousOutPoint)
	}

	// The coin comes back. Nobody will release the first transaction any more: it must not lock it.
	if err := d.c.Reorg(1); err != nil {
		t.Fatal(err)
	}
	if _, err := d.c.MineTxs(nil, made); err != nil {
		t.Fatal(err)
	}
	d.follow()
	d.restart()
	for _, c := range d.Coins() {
		if c.Out == coin && c.Locked || c.Out == change {
			t.Errorf("the transaction that was replaced is still pending: %+v", c)
		}
	}
	d.publish(second)
	d.mine(1)
	if tx, _, err := d.fundUpTo(nil, 2000, opt); err == nil {
		t.Errorf("%v is made beside what has confirmed", tx.TxHash())
	}
	d.restart()
}
