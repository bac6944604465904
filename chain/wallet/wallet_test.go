package wallet

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"lightningrod/chain"
	"lightningrod/chain/embedded"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
	"github.com/google/go-cmp/cmp"
)

var testSeed = bytes.Repeat([]byte{7}, 32)

func TestPublishedAddresses(t *testing.T) {
	raw, err := os.ReadFile("testdata/addresses.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Seed      string
		Addresses []struct {
			Path, Kind, Address string
			Change              bool
			Index               uint32
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	seed, err := hex.DecodeString(file.Seed)
	if err != nil {
		t.Fatal(err)
	}
	w, err := New(seed, &chaincfg.MainNetParams, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range file.Addresses {
		t.Run(v.Path, func(t *testing.T) {
			p := place{branch: 0, index: v.Index}
			if v.Kind == P2TR.String() {
				p.branch = 2
			}
			if v.Change {
				p.branch++
			}
			if got := w.address(w.scripts[p]); got != v.Address {
				t.Errorf("address %s, want %s", got, v.Address)
			}
			if v.Change {
				if got := w.address(w.changeScript(p.kind())); got != v.Address {
					t.Errorf("change address %s, want %s", got, v.Address)
				}
				return
			}
			script, address, rows := w.NewAddress(p.kind())
			if address != v.Address || !w.Owns(script) || len(rows) != 1 {
				t.Errorf("new address %s (%d rows), want %s", address, len(rows), v.Address)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for _, n := range []int{0, 15, 65} {
		if _, err := New(make([]byte, n), &chaincfg.RegressionNetParams, nil); err == nil {
			t.Errorf("seed of %d bytes is taken", n)
		}
	}
	w := newDesk(t, open(t))
	w.follow()
	if _, err := New(bytes.Repeat([]byte{8}, 32), w.params, w.Rows()); err == nil || !strings.Contains(err.Error(), "another seed") {
		t.Errorf("rows of another seed: %v", err)
	}
}

// desk is a wallet as an engine runs it: rows kept, blocks followed.
type desk struct {
	*Wallet
	t    testing.TB
	c    *embedded.Chain
	disk map[string][]byte
}

func open(t testing.TB) *embedded.Chain {
	c, err := embedded.New(embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func newDesk(t testing.TB, c *embedded.Chain) *desk {
	t.Helper()
	w, err := New(testSeed, c.Params(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &desk{w, t, c, map[string][]byte{}}
}

func (d *desk) save(rows []Row) {
	for _, r := range rows {
		if r.Value == nil {
			delete(d.disk, string(r.Key))
		} else {
			d.disk[string(r.Key)] = r.Value
		}
	}
}

// restart loads the wallet from its rows, which must give the same one.
func (d *desk) restart() {
	d.t.Helper()
	var rows []Row
	for k, v := range d.disk {
		rows = append(rows, Row{[]byte(k), v})
	}
	w, err := New(testSeed, d.params, rows)
	if err != nil {
		d.t.Fatal(err)
	}
	if diff := cmp.Diff(d.Rows(), w.Rows()); diff != "" {
		d.t.Fatalf("rows of the restored wallet: -before +after\n%s", diff)
	}
	before := d.Coins()
	d.Wallet = w
	d.mempool()
	if diff := cmp.Diff(before, d.Coins()); diff != "" {
		d.t.Fatalf("coins of the restored wallet: -before +after\n%s", diff)
	}
}

// follow brings the wallet to the tip of the chain.
func (d *desk) follow() {
	d.t.Helper()
	for {
		height, hash := d.Tip()
		best, bestHash := d.c.Tip()
		if hash == bestHash || best == 0 && height == 0 {
			break
		}
		if height > 0 {
			if b, err := d.c.Block(height); height > best || err != nil || b.Hash != hash {
				d.save(d.Disconnect(height))
				continue
			}
		}
		b, err := d.c.Block(height + 1)
		if err != nil {
			d.t.Fatal(err)
		}
		rows, err := d.Connect(b)
		if err != nil {
			d.t.Fatal(err)
		}
		d.save(rows)
	}
	d.mempool()
}

// mempool shows the wallet the mempool, and what has left it.
func (d *desk) mempool() {
	in := map[string]bool{}
	for _, tx := range d.c.Mempool() {
		in[tx.TxHash().String()] = true
		d.Mempool(tx)
	}
	for txid, p := range d.pending {
		if p.live() && !in[txid.String()] {
			d.Gone(txid)
		}
	}
}

func (d *desk) mine(n int) {
	d.t.Helper()
	if _, err := d.c.Mine(n, nil); err != nil {
		d.t.Fatal(err)
	}
	d.follow()
}

func (d *desk) newAddress(kind Kind) []byte {
	script, _, rows := d.NewAddress(kind)
	d.save(rows)
	return script
}

// deposit pays each of the scripts from the coinbase at height, and mines that.
func (d *desk) deposit(height uint32, value int64, scripts ...[]byte) *wire.MsgTx {
	d.t.Helper()
	b, err := d.c.Block(height)
	if err != nil {
		d.t.Fatal(err)
	}
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(&wire.TxIn{
		PreviousOutPoint: wire.OutPoint{Hash: b.Txs[0].TxHash()}, Witness: embedded.AnyoneWitness(), Sequence: replaceable,
	})
	rest := b.Txs[0].TxOut[0].Value - 10_000
	for _, s := range scripts {
		tx.AddTxOut(wire.NewTxOut(value, s))
		rest -= value
	}
	tx.AddTxOut(wire.NewTxOut(rest, embedded.AnyoneCanSpend))
	d.publish(tx)
	return tx
}

func (d *desk) publish(tx *wire.MsgTx) {
	d.t.Helper()
	if err := d.c.Publish(context.Background(), tx); err != nil {
		d.t.Fatal(err)
	}
	d.mempool()
}

func (d *desk) fund(outs []*wire.TxOut, rate chain.FeePerKw, opt Options) *wire.MsgTx {
	d.t.Helper()
	tx, rows, err := d.Fund(outs, rate, opt)
	if err != nil {
		d.t.Fatal(err)
	}
	d.save(rows)
	return tx
}

func (d *desk) wantBalance(confirmed, unconfirmed btcutil.Amount) {
	d.t.Helper()
	if c, u := d.Balance(); c != confirmed || u != unconfirmed {
		d.t.Errorf("balance %d confirmed, %d unconfirmed, want %d, %d", int64(c), int64(u), int64(confirmed), int64(unconfirmed))
	}
}

// ready is a chain of 110 blocks and a wallet with coins of these values, half of each kind.
func ready(t testing.TB, values ...int64) *desk {
	t.Helper()
	d := newDesk(t, open(t))
	d.mine(110)
	for i, v := range values {
		d.deposit(uint32(i+1), v, d.newAddress(Kind(i%2)))
	}
	d.mine(1)
	return d
}

// fee checks that the transaction passes scripts and mempool, and is what it pays.
func (d *desk) fee(tx *wire.MsgTx) int64 {
	d.t.Helper()
	if err := d.c.CheckTx(tx); err != nil {
		d.t.Fatal(err)
	}
	if err := d.c.TestAccept(tx); err != nil {
		d.t.Fatal(err)
	}
	var fee int64
	for _, in := range tx.TxIn {
		prev, _, ok := d.c.Tx(in.PreviousOutPoint.Hash)
		if !ok {
			d.t.Fatalf("no transaction for %v", in.PreviousOutPoint)
		}
		fee += prev.TxOut[in.PreviousOutPoint.Index].Value
	}
	for _, out := range tx.TxOut {
		fee -= out.Value
	}
	return fee
}

func weightOf(tx *wire.MsgTx) int64 {
	return int64(3*tx.SerializeSizeStripped() + tx.SerializeSize())
}

// wantRate checks that the fee is that of rate, and at most dust sat above. Signatures may be shorter than what was allowed
// for them.
func (d *desk) wantRate(tx *wire.MsgTx, rate chain.FeePerKw, dust int64) {
	d.t.Helper()
	least, most := rate.Fee(weightOf(tx)), rate.Fee(weightOf(tx)+4*int64(len(tx.TxIn)))+dust
	if fee := d.fee(tx); fee < least || fee > most {
		d.t.Errorf("fee %d sat for weight %d, want %d to %d", fee, weightOf(tx), least, most)
	}
}

func foreign(value int64) *wire.TxOut {
	return wire.NewTxOut(value, append([]byte{0, 32}, bytes.Repeat([]byte{9}, 32)...))
}

func TestFund(t *testing.T) {
	d := ready(t, 100_000, 200_000, 50_000, 40_000)
	d.wantBalance(390_000, 0)
	outs := []*wire.TxOut{foreign(120_000), foreign(30_000)}
	tx := d.fund(outs, 1000, Options{})
	if len(tx.TxIn) != 1 || len(tx.TxOut) != 3 || tx.LockTime != 0 || tx.Version != 2 {
		t.Errorf("%d inputs, %d outputs, lock time %d, version %d", len(tx.TxIn), len(tx.TxOut), tx.LockTime, tx.Version)
	}
	if diff := cmp.Diff(outs, tx.TxOut[:2]); diff != "" {
		t.Error(diff)
	}
	d.wantRate(tx, 1000, 0)
	change := btcutil.Amount(tx.TxOut[2].Value)
	d.wantBalance(190_000, change)
	d.restart()

	// The coin is locked: the next one is made of others, all four are not there.
	second := d.fund([]*wire.TxOut{foreign(130_000)}, 253, Options{Change: P2TR})
	d.wantRate(second, 253, 0)
	if len(second.TxIn) != 2 {
		t.Errorf("%d inputs", len(second.TxIn))
	}
	var short *InsufficientError
	_, _, err := d.Fund([]*wire.TxOut{foreign(60_000)}, 253, Options{})
	if !errors.As(err, &short) || short.Need != 60_000 || short.Available != 40_000 || short.Fee <= 0 {
		t.Errorf("%v", err)
	}
	// Unless its change may be spent.
	chained := d.fund([]*wire.TxOut{foreign(60_000)}, 253, Options{Unconfirmed: true})
	if !slices.ContainsFunc(chained.TxIn, func(in *wire.TxIn) bool { return d.pending[in.PreviousOutPoint.Hash] != nil }) {
		t.Error("no change is spent")
	}
	d.save(d.Release(second)) // and what spends its change, if anything does
	d.publish(tx)
	d.mine(1)
	d.restart()
	d.save(d.Release(tx)) // too late, it is confirmed
	for _, p := range d.pending {
		d.save(d.Release(p.tx))
	}
	d.wantBalance(190_000+change, 0)
	if err := d.Reload(); err != nil {
		t.Error(err)
	}
}

// Reload restores the seed from the blocks alone, and compares confirmed coins.
func (d *desk) Reload() error {
	fresh := newDesk(d.t, d.c)
	fresh.follow()
	confirmed := func(w *Wallet) []Coin {
		return slices.DeleteFunc(w.Coins(), func(c Coin) bool { return c.Height == 0 })
	}
	unlocked := confirmed(d.Wallet)
	for i := range unlocked {
		unlocked[i].Locked = false
	}
	restored := confirmed(fresh.Wallet)
	for i := range restored {
		restored[i].Locked = false
	}
	if diff := cmp.Diff(unlocked, restored); diff != "" {
		return errors.New("restored from the seed: -known +found\n" + diff)
	}
	return nil
}

func TestFundRefuses(t *testing.T) {
	d := ready(t, 100_000)
	good := []*wire.TxOut{foreign(1000)}
	for name, tc := range map[string]struct {
		outs []*wire.TxOut
		rate chain.FeePerKw
		opt  Options
		want string
	}{
		"rate low":      {good, 252, Options{}, "feerate 252 sat/kw not between 253 and 500000"},
		"rate high":     {good, 500_001, Options{}, "feerate 500001"},
		"dust":          {[]*wire.TxOut{foreign(100)}, 253, Options{}, "output 0 of 100 sat"},
		"negative":      {[]*wire.TxOut{foreign(-1)}, 253, Options{}, "output 0 of -1 sat"},
		"too much":      {[]*wire.TxOut{foreign(21e14), foreign(21e14)}, 253, Options{}, "outputs exceed"},
		"change":        {good, 253, Options{Change: kinds}, "unknown kind 2"},
		"extra":         {good, 253, Options{Extra: -1}, "extra fee -1 sat"},
		"reserve":       {good, 253, Options{Reserve: 99_000}, "insufficient funds: need 100000 sat"},
		"poor":          {[]*wire.TxOut{foreign(100_000)}, 253, Options{}, "insufficient funds"},
		"all change":    {nil, 250_000, Options{}, "insufficient funds"},
		"not replacing": {good, 253, Options{Replaces: wire.NewMsgTx(2)}, "not pending"},
	} {
		if _, _, err := d.Fund(tc.outs, tc.rate, tc.opt); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	own := slices.DeleteFunc(d.Rows(), func(r Row) bool { return r.Key[0] != rowPending })
	if len(own) != 0 || len(d.rows()) != 0 {
		t.Error("a refusal has changed the wallet")
	}
	d.fund(good, 253, Options{Reserve: 98_000})
}

func TestNoChange(t *testing.T) {
	d := ready(t, 100_000)
	tx := d.fund([]*wire.TxOut{foreign(99_600)}, 253, Options{})
	if len(tx.TxOut) != 1 {
		t.Errorf("%d outputs", len(tx.TxOut))
	}
	d.wantRate(tx, 253, 500)
	d.wantBalance(0, 0)
	d.publish(tx)
	d.mine(1)
	d.wantBalance(0, 0)
}

func TestSweep(t *testing.T) {
	d := ready(t, 100_000, 200_000, 150_000, 400)
	own := d.newAddress(P2TR)
	for _, script := range [][]byte{foreign(0).PkScript, own} {
		tx, rows, err := d.Sweep(script, 2000, Options{Publish: true})
		if err != nil {
			t.Fatal(err)
		}
		d.save(rows)
		if len(tx.TxIn) != 3 || len(tx.TxOut) != 1 || !bytes.Equal(tx.TxOut[0].PkScript, script) {
			t.Errorf("%d inputs, %d outputs", len(tx.TxIn), len(tx.TxOut))
		}
		d.wantRate(tx, 2000, 0)
		d.restart()
		if list := d.Rebroadcast(); len(list) != 1 || list[0].TxHash() != tx.TxHash() {
			t.Errorf("%d to broadcast", len(list))
		}
		d.save(d.Release(tx))
	}
	if _, _, err := d.Sweep(own, 500_000, Options{}); err == nil {
		t.Error("nothing is worth its input")
	}
}

// TestBump pays for a parent with a foreign input, then replaces that by a dearer one.
func TestBump(t *testing.T) {
	d := ready(t, 100_000, 200_000)
	anchor := d.deposit(9, 330, embedded.AnyoneCanSpend)
	in := Input{
		Out: wire.OutPoint{Hash: anchor.TxHash()}, Prev: anchor.TxOut[0], Sequence: 0,
		Witness: int64(embedded.AnyoneWitness().SerializeSize()),
	}
	child := func(rate chain.FeePerKw, replaces *wire.MsgTx) *wire.MsgTx {
		t.Helper()
		tx := d.fund(nil, rate, Options{Inputs: []Input{in}, Extra: 2000, Replaces: replaces})
		tx.TxIn[0].Witness = embedded.AnyoneWitness()
		if fee, want := d.fee(tx), rate.Fee(weightOf(tx))+2000; fee < want || fee > want+rate.Fee(4) {
			t.Errorf("fee %d, want %d", fee, want)
		}
		return tx
	}
	first := child(1000, nil)
	d.publish(first)
	second := child(5000, first)
	if second.TxIn[1].PreviousOutPoint != first.TxIn[1].PreviousOutPoint {
		t.Error("does not spend the same coin")
	}
	if d.pending[first.TxHash()] != nil {
		t.Error("the replaced one is still pending")
	}
	d.publish(second)
	d.mine(1)
	d.wantBalance(100_000+btcutil.Amount(second.TxOut[0].Value), 0)

	// The books are right too when the replaced one confirms in the end.
	if err := d.c.Reorg(1); err != nil {
		t.Fatal(err)
	}
	if _, err := d.c.MineTxs(nil, anchor, first); err != nil {
		t.Fatal(err)
	}
	d.follow()
	d.restart()
	d.wantBalance(100_000+btcutil.Amount(first.TxOut[0].Value), 0)
	if d.pending[second.TxHash()].dead == 0 {
		t.Error("the conflict is not seen")
	}
}

// TestBirthday restores a seed without reading the blocks before it.
func TestBirthday(t *testing.T) {
	d := ready(t, 100_000)
	tip, hash := d.Tip()
	d.deposit(5, 30_000, d.newAddress(P2TR))
	d.mine(1)
	for name, tc := range map[string]struct {
		height uint32
		hash   chainhash.Hash
		want   btcutil.Amount
	}{
		"before all":             {tip - 1, chainhash.Hash{}, 130_000},
		"between":                {tip, hash, 30_000},
		"between, hash unknown":  {tip, chainhash.Hash{}, 30_000},
		"at the tip":             {tip + 1, d.tipHash(), 0},
		"at the genesis block":   {0, chainhash.Hash{}, 130_000},
		"above all, tip unknown": {tip + 1, chainhash.Hash{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			n := newDesk(t, d.c)
			rows, err := n.Begin(tc.height, tc.hash)
			if err != nil {
				t.Fatal(err)
			}
			n.save(rows)
			n.restart()
			for h := tc.height + 1; h <= tip+1; h++ {
				b, err := d.c.Block(h)
				if err != nil {
					t.Fatal(err)
				}
				if rows, err = n.Connect(b); err != nil {
					t.Fatal(err)
				}
				n.save(rows)
			}
			n.restart()
			n.wantBalance(tc.want, 0)
			if n.Birthday() != tc.height {
				t.Errorf("birthday %d", n.Birthday())
			}
			if _, err := n.Begin(1, chainhash.Hash{}); err == nil {
				t.Error("begins twice")
			}
		})
	}
	// A block that is not above the birthday's is not taken.
	n := newDesk(t, d.c)
	if _, err := n.Begin(tip, chainhash.Hash{1}); err != nil {
		t.Fatal(err)
	}
	b, err := d.c.Block(tip + 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Connect(b); !errors.Is(err, chain.ErrNotNext) {
		t.Errorf("a block of another branch: %v", err)
	}
}

func (d *desk) tipHash() chainhash.Hash {
	_, hash := d.Tip()
	return hash
}

func TestAnchorReserve(t *testing.T) {
	for channels, want := range map[int]btcutil.Amount{-1: 0, 0: 0, 1: 10_000, 9: 90_000, 10: 100_000, 11: 100_000, 5000: 100_000} {
		if got := AnchorReserve(channels); got != want {
			t.Errorf("%d channels: %v, want %v", channels, got, want)
		}
	}
}

// TestGone has payments leave the mempool: of another, and of ours.
func TestGone(t *testing.T) {
	d := ready(t, 100_000)
	in := d.deposit(5, 30_000, d.newAddress(P2TR)).TxHash()
	d.wantBalance(100_000, 30_000)
	d.Gone(in)
	d.wantBalance(100_000, 0)
	out := d.fund([]*wire.TxOut{foreign(50_000)}, 253, Options{})
	_, change := d.Balance()
	d.Gone(out.TxHash())
	d.wantBalance(0, change)
}

func TestImmature(t *testing.T) {
	d := newDesk(t, open(t))
	if _, err := d.c.Mine(1, d.newAddress(P2WPKH)); err != nil {
		t.Fatal(err)
	}
	d.mine(98)
	if d.Immature() != 50e8 {
		t.Errorf("immature %v", d.Immature())
	}
	d.wantBalance(0, 0)
	if _, _, err := d.Fund([]*wire.TxOut{foreign(1000)}, 253, Options{}); err == nil {
		t.Error("an immature coinbase is spent")
	}
	d.mine(1)
	d.wantBalance(50e8, 0)
	d.fee(d.fund([]*wire.TxOut{foreign(1000)}, 253, Options{})) // the mempool agrees
}

func TestGap(t *testing.T) {
	d := ready(t)
	var scripts [][]byte
	for range GapLimit {
		scripts = append(scripts, d.newAddress(P2TR))
	}
	if again := d.newAddress(P2TR); !bytes.Equal(again, scripts[0]) {
		t.Error("an address beyond the gap")
	}
	// One block pays the last of the window, then one of the window that this opens, then back before both.
	next := d.branches[2].mustScript(t, P2TR, 2*GapLimit-1)
	d.deposit(1, 10_000, scripts[GapLimit-1])
	d.deposit(2, 20_000, next)
	d.deposit(3, 40_000, scripts[0])
	d.mine(1)
	d.wantBalance(70_000, 0)
	d.restart()
	if err := d.Reload(); err != nil {
		t.Error(err)
	}
	if fresh := d.newAddress(P2TR); slices.ContainsFunc(scripts, func(s []byte) bool { return bytes.Equal(s, fresh) }) || bytes.Equal(fresh, next) {
		t.Error("an address that was paid is handed out")
	}
	// If the block leaves the chain, so does the wider window.
	if err := d.c.Reorg(1); err != nil {
		t.Fatal(err)
	}
	if _, err := d.c.MineTxs(nil); err != nil {
		t.Fatal(err)
	}
	d.follow()
	if again := d.newAddress(P2TR); !bytes.Equal(again, scripts[0]) {
		t.Error("after the reorganisation an address beyond the gap is handed out")
	}
}

func (b *branch) mustScript(t *testing.T, kind Kind, index uint32) []byte {
	t.Helper()
	s, err := b.script(kind, index)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPrune(t *testing.T) {
	d := ready(t, 100_000)
	tx := d.fund([]*wire.TxOut{foreign(50_000)}, 253, Options{})
	d.publish(tx)
	d.mine(finality)
	if len(d.coins) != 2 || len(d.pending) != 1 {
		t.Errorf("%d coins, %d pending before", len(d.coins), len(d.pending))
	}
	d.mine(1)
	if len(d.coins) != 1 || len(d.pending) != 0 {
		t.Errorf("%d coins, %d pending after", len(d.coins), len(d.pending))
	}
	if used := d.used(0); used != 1 {
		t.Errorf("index %d is forgotten", used)
	}
	d.restart()
}
