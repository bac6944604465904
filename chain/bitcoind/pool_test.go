package bitcoind

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/wire"
)

// has waits until the mempool of b is txs, in this order.
func (w *world) has(what string, b *Backend, txs ...*wire.MsgTx) {
	w.t.Helper()
	w.await(what, func() bool {
		got := b.Mempool()
		if len(got) != len(txs) {
			return false
		}
		for i, tx := range txs {
			if got[i].WitnessHash() != tx.WitnessHash() {
				return false
			}
		}
		return true
	})
}

func TestMempool(t *testing.T) {
	w := newWorld(t)
	one, two, three := pay(1, coinA), pay(2, coinB), pay(3, coinB)
	w.set(func() { w.pool = []*wire.MsgTx{one} })
	b := w.open(w.config(true))
	var told atomic.Int64
	defer b.Subscribe(func() { told.Add(1) })()
	w.has("at the start", b, one)
	w.set(func() { w.pool = []*wire.MsgTx{two, one} })
	w.has("one more", b, two, one)
	w.await("a call", func() bool { return told.Load() > 0 })
	w.set(func() { w.pool = []*wire.MsgTx{one, three} })
	w.has("replaced", b, one, three)
	w.set(func() { w.fail["getrawmempool"] = &Error{Code: -1, Message: "no"}; w.pool = []*wire.MsgTx{two} })
	w.await("trouble", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.trouble != nil })
	w.has("as before", b, one, three)
	w.set(func() { delete(w.fail, "getrawmempool") })
	w.has("after the trouble", b, two)
	asked := w.count("getrawtransaction")
	w.set(func() { w.pool = nil })
	w.mine(1, two)
	w.has("mined", b)
	if w.count("getrawtransaction") != asked {
		t.Error("asked for what is known")
	}
}

// What goes while it is asked for is no trouble, and a wrong answer is.
func TestMempoolRaces(t *testing.T) {
	w := newWorld(t)
	one, two := pay(1, coinA), pay(2, coinB)
	b := w.open(w.config(true))
	w.set(func() {
		w.pool = []*wire.MsgTx{one}
		w.give["getrawmempool"] = json.RawMessage(`["` + one.TxHash().String() + `","` + two.TxHash().String() + `"]`)
	})
	w.has("the one that is there", b, one)
	for name, answer := range map[string]string{"another": `"` + mustHex(t, one) + `"`, "cut": `"0200"`, "null": `null`, "hex": `"x"`,
		"long": `"` + mustHex(t, two) + `00"`} {
		w.set(func() { w.give["getrawtransaction"] = json.RawMessage(answer) })
		w.await(name, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.trouble != nil })
		w.set(func() { delete(w.give, "getrawtransaction") })
		w.await(name+": over", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.trouble == nil })
	}
}

func mustHex(t *testing.T, tx *wire.MsgTx) string {
	t.Helper()
	text, err := txHex(tx)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestMempoolLimit(t *testing.T) {
	w := newWorld(t)
	var txs []*wire.MsgTx
	for i := range 8 {
		txs = append(txs, pay(int64(i+1), wire.OutPoint{Index: uint32(i)}))
	}
	w.set(func() { w.pool = txs[:4] })
	cfg := w.config(true)
	cfg.MempoolLimit = 3
	b := w.open(cfg)
	w.has("more at the start than are kept", b)
	w.set(func() { w.pool = txs })
	w.has("new ones", b, txs[4:7]...)
	w.set(func() { w.pool = txs[5:] })
	w.has("room again, and nothing new", b, txs[5:7]...)
}

func TestSpending(t *testing.T) {
	w := newWorld(t)
	b := w.open(w.config(true))
	one := pay(1, coinA, coinB)
	id := one.TxHash().String()
	w.set(func() {
		w.pool = []*wire.MsgTx{one}
		w.give["gettxspendingprevout"] = json.RawMessage(
			`[{"spendingtxid":"` + id + `"},{},{"spendingtxid":"` + id + `"},{"spendingtxid":"` + pay(9, coinA).TxHash().String() + `"}]`)
	})
	txs, err := b.Spending(context.Background(), []wire.OutPoint{coinA, {}, coinB, {Index: 7}})
	if err != nil || len(txs) != 1 || txs[0].TxHash() != one.TxHash() {
		t.Errorf("%d transactions, %v", len(txs), err)
	}
	if txs, err := b.Spending(context.Background(), nil); err != nil || txs != nil {
		t.Error(txs, err)
	}
}

func TestFeeRates(t *testing.T) {
	w := newWorld(t)
	if r := (&Backend{}).FeeRates(); r != (chain.FeeRates{}).Sane() {
		t.Errorf("before the first answer: %+v", r)
	}
	for name, tc := range map[string]struct {
		estimate, pool string
		fail           bool
		want           chain.FeeRates
	}{
		"none":         {estimate: `{"errors":["no"]}`, want: chain.FeeRates{Floor: 253, Slow: 253, Normal: 253, Urgent: 253}},
		"all":          {estimate: `{"feerate":0.00020000}`, want: chain.FeeRates{Floor: 253, Slow: 5000, Normal: 5000, Urgent: 5000}},
		"full mempool": {estimate: `{}`, pool: `{"mempoolminfee":0.00008000,"minrelaytxfee":0.00001000}`, want: chain.FeeRates{Floor: 2000, Slow: 2000, Normal: 2000, Urgent: 2000}},
		"absurd":       {estimate: `{"feerate":21000000}`, want: chain.FeeRates{Floor: 253, Slow: 500_000, Normal: 500_000, Urgent: 500_000}},
		"blocksonly":   {fail: true, want: chain.FeeRates{Floor: 253, Slow: 253, Normal: 253, Urgent: 253}},
		"nonsense":     {estimate: `{"feerate":"x"}`, want: chain.FeeRates{Floor: 253, Slow: 253, Normal: 253, Urgent: 253}},
	} {
		w.set(func() {
			w.give, w.fail = map[string]json.RawMessage{"estimatesmartfee": json.RawMessage(tc.estimate)}, map[string]*Error{}
			if tc.pool != "" {
				w.give["getmempoolinfo"] = json.RawMessage(tc.pool)
			}
			if tc.fail {
				w.fail["estimatesmartfee"] = &Error{Code: -32603, Message: "Fee estimation disabled"}
			}
		})
		b := w.open(w.config(true))
		if got := b.FeeRates(); got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
		// A failure leaves them as they are.
		w.set(func() { w.fail["getmempoolinfo"] = &Error{Code: -1, Message: "no"} })
		w.mine(1)
		w.follows(b)
		if got := b.FeeRates(); got != tc.want {
			t.Errorf("%s, then nothing: %+v", name, got)
		}
		b.Close()
	}
}

// An estimate that bitcoind has no more stays; one that it never had follows what its mempool demands.
func TestFeeRatesStay(t *testing.T) {
	w := newWorld(t)
	estimate := func(answer string) {
		w.set(func() { w.give["estimatesmartfee"] = json.RawMessage(answer) })
	}
	estimate(`{"feerate":0.0004}`)
	b := w.open(w.config(true))
	want := chain.FeeRates{Floor: 253, Slow: 10_000, Normal: 10_000, Urgent: 10_000}
	estimate(`{"errors":["Insufficient data or no feerate found"],"blocks":0}`)
	for range 30 {
		w.mine(1)
		w.follows(b) // the rates come a moment later
		if got := b.FeeRates(); got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
	}
	estimate(`{"feerate":0.00008}`)
	w.mine(1)
	w.await("a lower rate, after the estimate fell", func() bool { return b.FeeRates().Urgent < want.Urgent })
	w = newWorld(t)
	full := func(floor string) {
		w.set(func() {
			w.give["getmempoolinfo"] = json.RawMessage(`{"mempoolminfee":` + floor + `,"minrelaytxfee":0.00001}`)
		})
	}
	full("0.0002")
	b = w.open(w.config(true))
	if got := b.FeeRates(); got.Urgent != 5000 {
		t.Errorf("a full mempool: %+v", got)
	}
	full("0.00001")
	w.await("the floor, as there never was an estimate", func() bool {
		w.mine(1)
		w.follows(b)
		return b.FeeRates().Urgent == 253
	})
}

// FuzzAnswer feeds what bitcoind might send to all that reads it.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`[{"id":0,"result":"00","error":null}]`))
	f.Add([]byte(`{"result":null,"error":{"code":-28,"message":"x"}}`))
	f.Add([]byte(`{"blocks":1,"bestblockhash":"0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"}`))
	f.Add([]byte(`"0200000000000000000000"`))
	f.Add([]byte(`0.00001000`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var a answer
		var all []answer
		var info chainInfo
		var h hash
		var sat bitcoins
		var s script
		var tx transaction
		for _, v := range []any{&a, &all, &info, &h, &sat, &s, &tx} {
			if json.Unmarshal(text, v) != nil {
				continue
			}
			if tx.MsgTx != nil && v == &tx {
				again, err := txHex(tx.MsgTx)
				if err != nil {
					t.Fatal(err)
				}
				var second transaction
				if err := second.UnmarshalText([]byte(again)); err != nil || second.WitnessHash() != tx.WitnessHash() {
					t.Fatalf("%s: %v", again, err)
				}
			}
		}
		k := call{method: "m", result: &info}
		k.take(a)
	})
}
