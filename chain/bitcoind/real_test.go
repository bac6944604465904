package bitcoind_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"lightningrod/chain"
	"lightningrod/chain/bitcoind"
	"lightningrod/chain/embedded"
	"lightningrod/chain/wallet"
	"lightningrod/regtest"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// real is a Backend and the bitcoind under it.
type real struct {
	t   *testing.T
	btc *regtest.Bitcoin
	b   *bitcoind.Backend
}

func newReal(t *testing.T, options ...string) *real {
	t.Helper()
	return follow(t, regtest.Bitcoind(t, options...), bitcoind.Config{})
}

// follow is a Backend with cfg for btc.
func follow(t *testing.T, btc *regtest.Bitcoin, cfg bitcoind.Config) *real {
	t.Helper()
	cfg.Access, cfg.Params = btc.Access, &chaincfg.RegressionNetParams
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := bitcoind.New(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return &real{t: t, btc: btc, b: b}
}

func (r *real) await(what string, f func() bool) {
	r.t.Helper()
	deadline := time.After(time.Minute)
	for !f() {
		select {
		case <-deadline:
			r.t.Fatalf("%s: not in a minute", what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// mine mines, and waits until the Backend has seen it.
func (r *real) mine(n int) {
	r.t.Helper()
	r.btc.Mine(n, embedded.AnyoneCanSpend)
	r.follows()
}

func (r *real) follows() {
	r.t.Helper()
	height, hash := r.btc.Tip()
	r.await("the tip", func() bool {
		h, tip := r.b.Tip()
		return h == height && tip == hash
	})
}

// coin is the coinbase of the block at height, which anybody can spend.
func (r *real) coin(height uint32) (wire.OutPoint, int64) {
	r.t.Helper()
	blk, err := r.b.Block(height)
	if err != nil {
		r.t.Fatal(err)
	}
	return wire.OutPoint{Hash: blk.Txs[0].TxHash()}, blk.Txs[0].TxOut[0].Value
}

// spend moves an output of everybody to everybody.
func spend(version int32, out wire.OutPoint, sequence uint32, value int64) *wire.MsgTx {
	tx := wire.NewMsgTx(version)
	tx.AddTxIn(&wire.TxIn{PreviousOutPoint: out, Sequence: sequence, Witness: embedded.AnyoneWitness()})
	tx.AddTxOut(wire.NewTxOut(value, embedded.AnyoneCanSpend))
	return tx
}

const final = wire.MaxTxInSequenceNum

func TestRealPublish(t *testing.T) {
	r := newReal(t)
	r.mine(110)
	ctx := context.Background()
	out, value := r.coin(1)
	first := spend(2, out, final, value-1000)
	check := func(name string, tx *wire.MsgTx, want error) {
		t.Helper()
		for _, err := range []error{r.b.TestAccept(ctx, tx), r.b.Publish(ctx, tx)} {
			if want == nil && err != nil || want != nil && (!errors.Is(err, want) || !errors.Is(err, chain.ErrRejected)) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
			for _, other := range []error{chain.ErrConflict, chain.ErrMissingInputs, chain.ErrPremature, chain.ErrFeeTooLow} {
				if other != want && errors.Is(err, other) {
					t.Errorf("%s: %v, want %v", name, err, want)
				}
			}
		}
	}
	check("good", first, nil)
	check("again", first, nil)
	r.await("the mempool", func() bool { txs := r.b.Mempool(); return len(txs) == 1 && txs[0].TxHash() == first.TxHash() })
	check("conflict that pays no more", spend(2, out, final, value-1000-1), chain.ErrConflict)
	check("unknown parent", spend(2, wire.OutPoint{Hash: chainhash.Hash{1}}, final, 1000), chain.ErrMissingInputs)
	young, amount := r.coin(100)
	check("immature", spend(2, young, final, amount-1000), chain.ErrPremature)
	old, amount := r.coin(2)
	later := spend(2, old, 0, amount-1000)
	later.LockTime = 200
	check("lock time", later, chain.ErrPremature)
	check("relative lock", spend(2, old, 300, amount-1000), chain.ErrPremature)
	check("no fee", spend(2, old, final, amount), chain.ErrFeeTooLow)
	check("too much out", spend(2, old, final, amount+1), chain.ErrRejected)
	unsigned := spend(2, old, final, amount-1000)
	unsigned.TxIn[0].Witness = wire.TxWitness{{0}}
	check("unsigned", unsigned, chain.ErrRejected)

	if _, height, ok := r.b.Unspent(out); !ok || height != 1 {
		t.Errorf("spent in the mempool only, found %v at height %d", ok, height)
	}
	r.mine(1)
	if txOut, height, ok := r.b.Unspent(wire.OutPoint{Hash: first.TxHash()}); !ok || height != 111 || txOut.Value != value-1000 {
		t.Errorf("output found %v at height %d", ok, height)
	}
	if _, _, ok := r.b.Unspent(out); ok {
		t.Error("spent, and found")
	}
	check("confirmed", first, nil)
	blk, err := r.b.Block(111)
	if err != nil || len(blk.Txs) != 2 || blk.Txs[1].WitnessHash() != first.WitnessHash() {
		t.Fatalf("%d transactions, %v", len(blk.Txs), err)
	}
	if err := r.b.Publish(ctx, spend(2, out, final, value-5000)); !errors.Is(err, chain.ErrConflict) {
		t.Errorf("conflict with what is confirmed: %v", err)
	}
	second := spend(2, wire.OutPoint{Hash: first.TxHash()}, final, value-2000)
	check("child", second, nil)
	if txs, err := r.b.Spending(ctx, []wire.OutPoint{out, {Hash: first.TxHash()}}); err != nil || len(txs) != 1 {
		t.Errorf("%d spend it, %v", len(txs), err)
	}
	r.mine(1)
	if err := r.b.Publish(ctx, first); err != nil {
		t.Errorf("confirmed, and all its outputs spent: %v", err)
	}
	if rates := r.b.FeeRates(); rates.Floor < chain.FeerateFloor || rates.Urgent > 10_000 {
		t.Errorf("%+v", rates)
	}
}

// With an index, bitcoind knows of a transaction that was confirmed and spent before the Backend was there.
func TestRealIndex(t *testing.T) {
	r := newReal(t, "-txindex=1")
	r.mine(101)
	out, value := r.coin(1)
	first := spend(2, out, final, value-1000)
	r.btc.MineTxs(embedded.AnyoneCanSpend, first)
	r.btc.MineTxs(embedded.AnyoneCanSpend, spend(2, wire.OutPoint{Hash: first.TxHash()}, final, value-2000))
	r.follows()
	r.await("the index", func() bool { return r.b.Publish(context.Background(), first) == nil })
	if err := r.b.Publish(context.Background(), spend(2, out, final, value-3000)); !errors.Is(err, chain.ErrConflict) {
		t.Error(err)
	}
}

func TestRealPackage(t *testing.T) {
	// Knots enforces the policy of version 3 only if told to; Core always does, and knows no such option.
	r := newReal(t)
	var info struct {
		Policy string `json:"truc_policy"`
	}
	r.btc.Call(&info, "getmempoolinfo")
	if info.Policy == "accept" {
		r = newReal(t, "-mempooltruc=enforce")
	}
	r.mine(101)
	out, value := r.coin(1)
	parent := spend(3, out, final, value)
	child := spend(3, wire.OutPoint{Hash: parent.TxHash()}, final, value-10_000)
	ctx := context.Background()
	if err := r.b.Publish(ctx, parent); !errors.Is(err, chain.ErrFeeTooLow) {
		t.Fatalf("a parent without fee: %v", err)
	}
	for range 2 {
		if err := r.b.PublishPackage(ctx, parent, child); err != nil {
			t.Fatal(err)
		}
	}
	r.await("the mempool", func() bool { return len(r.b.Mempool()) == 2 })
	if txs := r.b.Mempool(); txs[0].TxHash() != parent.TxHash() {
		t.Error("the child comes first")
	}
	r.mine(1)
	if _, err := r.b.Block(102); err != nil {
		t.Fatal(err)
	}
	if err := r.b.PublishPackage(ctx, parent, child); err != nil {
		t.Errorf("confirmed: %v", err)
	}
	next := spend(3, wire.OutPoint{Hash: child.TxHash()}, final, value-20_000)
	if err := r.b.PublishPackage(ctx, child, next); err != nil {
		t.Errorf("a parent that is confirmed: %v", err)
	}
}

func TestRealReorgs(t *testing.T) {
	r := newReal(t)
	r.mine(120)
	out, value := r.coin(1)
	tx := spend(2, out, final, value-1000)
	if err := r.b.Publish(context.Background(), tx); err != nil {
		t.Fatal(err)
	}
	for _, depth := range []uint32{1, 5, 19} {
		r.mine(1)
		height, before := r.b.Tip()
		blk, err := r.b.Block(height + 1 - depth)
		if err != nil {
			t.Fatal(err)
		}
		r.btc.Call(nil, "invalidateblock", blk.Hash.String())
		r.btc.Mine(int(depth)+1, []byte{0x51}) // not the same blocks again
		r.follows()
		h, tip := r.b.Tip()
		if h != height+1 || tip == before {
			t.Fatalf("depth %d: tip %d", depth, h)
		}
		prev := chainhash.Hash{}
		for at := height - depth; at <= h; at++ {
			blk, err := r.b.Block(at)
			if err != nil || blk.Height != at || prev != (chainhash.Hash{}) && blk.Prev != prev {
				t.Fatalf("depth %d, block %d: %v", depth, at, err)
			}
			prev = blk.Hash
		}
		if prev != tip {
			t.Fatalf("depth %d: the blocks do not end in the tip", depth)
		}
	}
}

// An operator stops and starts bitcoind, the power fails, and blocks come meanwhile.
func TestRealRestarts(t *testing.T) {
	r := newReal(t)
	r.mine(150)
	for i, end := range []func(){r.btc.Stop, r.btc.Kill} {
		unread := uint32(i + 3)
		out, value := r.coin(uint32(i + 20))
		tx := spend(2, out, final, value-1000)
		if err := r.b.Publish(context.Background(), tx); err != nil {
			t.Fatal(err)
		}
		r.await("the mempool", func() bool { return len(r.b.Mempool()) == 1 })
		end()
		height, _ := r.b.Tip()
		if _, err := r.b.Block(unread); err == nil {
			t.Error("a block without a bitcoind")
		}
		if err := r.b.Publish(context.Background(), spend(2, wire.OutPoint{}, final, 1)); err == nil || errors.Is(err, chain.ErrRejected) {
			t.Errorf("published without a bitcoind: %v", err)
		}
		if h, _ := r.b.Tip(); h != height {
			t.Errorf("tip %d", h)
		}
		r.btc.Start()
		// Its mempool may be lost: who cares publishes again.
		if err := r.b.Publish(context.Background(), tx); err != nil {
			t.Error(err)
		}
		r.mine(20)
		if _, _, ok := r.b.Unspent(wire.OutPoint{Hash: tx.TxHash()}); !ok {
			t.Error("not confirmed")
		}
		if _, err := r.b.Block(unread); err != nil {
			t.Error(err)
		}
	}
}

// TestRealBumps: bitcoind takes every child that the wallet makes, and each in place of the one before.
func TestRealBumps(t *testing.T) {
	r := newReal(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	w, err := wallet.New(bytes.Repeat([]byte{3}, 32), &chaincfg.RegressionNetParams, nil)
	if err != nil {
		t.Fatal(err)
	}
	catchUp := func() {
		t.Helper()
		for {
			height, _ := w.Tip()
			if tip, _ := r.b.Tip(); height >= tip {
				return
			}
			blk, err := r.b.Block(height + 1)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Connect(blk); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.mine(120)
	purse, value := r.coin(1)
	fill := spend(2, purse, final, value-10_000_000-1000)
	for i := range 20 {
		script, _, _ := w.NewAddress(wallet.Kind(i % 2))
		fill.AddTxOut(wire.NewTxOut(3000+rnd.Int64N(30_000), script))
	}
	if err := r.b.Publish(context.Background(), fill); err != nil {
		t.Fatal(err)
	}
	r.mine(1)
	catchUp()
	taken, replaced := 0, 0
	for n := range uint32(6) {
		out, value := r.coin(n + 2)
		parent := commitment(out, value, 200, commitmentSequence)
		in := wallet.Input{Out: wire.OutPoint{Hash: parent.TxHash()}, Prev: parent.TxOut[0], Sequence: bip125,
			Witness: int64(embedded.AnyoneWitness().SerializeSize())}
		var last *wire.MsgTx
		for rate := chain.FeePerKw(253); rate < 15_000; rate += chain.FeePerKw(1 + rnd.IntN(3000)) {
			tx, fee, _, err := w.FundUpTo(nil, rate, wallet.Options{
				Inputs: []wallet.Input{in}, Extra: btcutil.Amount(rate.Fee(600)), MaxFee: 1000 + btcutil.Amount(rnd.Int64N(20_000)), Replaces: last,
				LockTime: 100 + uint32(rnd.IntN(21)), // Knots refuses 21, the mark of some token
			})
			if err != nil {
				continue // too little in place of the last, or too little at all
			}
			tx.TxIn[0].Witness = embedded.AnyoneWitness()
			if err := r.b.PublishPackage(context.Background(), parent, tx); err != nil {
				t.Fatalf("at %d sat/kw, fee %d: %v", rate, int64(fee), err)
			}
			var entry struct {
				Fees struct{ Base json.Number } `json:"fees"`
			}
			r.btc.Call(&entry, "getmempoolentry", tx.TxHash().String())
			if sat, err := btcutil.NewAmount(must(entry.Fees.Base.Float64())); err != nil || sat != fee {
				t.Fatalf("pays %v, says %v", sat, fee)
			}
			taken++
			if last != nil {
				replaced++
			}
			last = tx
		}
		r.mine(1)
		catchUp()
	}
	t.Logf("%d taken, %d in place of another", taken, replaced)
	if replaced == 0 {
		t.Error("nothing was replaced")
	}
}

func must(x float64, err error) float64 {
	if err != nil {
		panic(err)
	}
	return x
}

func TestRealCatchUp(t *testing.T) {
	const blocks = 3000
	r := newReal(t)
	r.btc.Mine(blocks, embedded.AnyoneCanSpend)
	r.follows()
	began := time.Now()
	_, prev := chainhash.Hash{}, *chaincfg.RegressionNetParams.GenesisHash
	for height := uint32(1); height <= blocks; height++ {
		for range 2 { // as node does: the next one, and the one it stands on
			blk, err := r.b.Block(height)
			if err != nil || blk.Height != height || height > 1 && blk.Hash != prev && blk.Prev != prev {
				t.Fatalf("block %d: %v", height, err)
			}
			prev = blk.Hash
		}
	}
	t.Logf("%d blocks in %v", blocks, time.Since(began))
}

func TestRealPruned(t *testing.T) {
	r := newReal(t, "-prune=1", "-fastprune=1")
	r.btc.Mine(1500, embedded.AnyoneCanSpend)
	r.follows()
	r.btc.Call(nil, "pruneblockchain", 1000)
	if _, err := r.b.Block(5); !errors.Is(err, bitcoind.ErrPruned) {
		t.Errorf("block 5: %v", err)
	}
	if _, err := r.b.Block(1499); err != nil {
		t.Error(err)
	}
}

// What ZMQ tells is seen although the poller sleeps, also when bitcoind was started anew.
func TestRealZMQ(t *testing.T) {
	for name, topics := range map[string][]string{"hashes": {"hashblock", "hashtx"}, "raw": {"rawblock", "rawtx"}, "sequence": {"sequence"}} {
		t.Run(name, func(t *testing.T) {
			port, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			address := "tcp://" + port.Addr().String()
			port.Close()
			var options []string
			for _, topic := range topics {
				options = append(options, "-zmqpub"+topic+"="+address)
			}
			btc := regtest.Bitcoind(t, options...)
			r := follow(t, btc, bitcoind.Config{Poll: time.Hour, ZMQ: []string{address}})
			r.mine(101)
			out, value := r.coin(1)
			text := regtest.Hex(spend(2, out, final, value-1000))
			btc.Call(nil, "sendrawtransaction", text)
			r.await("the mempool", func() bool { return len(r.b.Mempool()) == 1 })
			r.mine(1)
			r.await("the empty mempool", func() bool { return len(r.b.Mempool()) == 0 })
			blk, err := r.b.Block(100)
			if err != nil {
				t.Fatal(err)
			}
			btc.Call(nil, "invalidateblock", blk.Hash.String())
			btc.Mine(4, []byte{0x51})
			r.follows()
			btc.Kill()
			btc.Start()
			btc.Mine(2, []byte{0x51})
			r.follows()
			r.mine(1)
		})
	}
}

func TestRealWrongNetwork(t *testing.T) {
	btc := regtest.Bitcoind(t)
	_, err := bitcoind.New(context.Background(), bitcoind.Config{Access: btc.Access, Params: &chaincfg.SigNetParams})
	if !errors.Is(err, bitcoind.ErrWrongNetwork) || !strings.Contains(err.Error(), `"regtest"`) {
		t.Fatal(err)
	}
	wrong := btc.Access
	wrong.User, wrong.Password = "somebody", "wrong"
	if _, err := bitcoind.New(context.Background(), bitcoind.Config{Access: wrong, Params: &chaincfg.RegressionNetParams}); err == nil {
		t.Fatal("a wrong password is taken")
	}
}
