package embedded

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/database"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
)

func open(t testing.TB, dir string) *Chain {
	t.Helper()
	c, err := New(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func mine(t testing.TB, c *Chain, n int) {
	t.Helper()
	if _, err := c.Mine(n, nil); err != nil {
		t.Fatal(err)
	}
}

// coin is a mature output that anyone can spend: the coinbase of the block at height.
func coin(t testing.TB, c *Chain, height uint32) (wire.OutPoint, *wire.TxOut) {
	t.Helper()
	b, err := c.Block(height)
	if err != nil {
		t.Fatal(err)
	}
	return wire.OutPoint{Hash: b.Txs[0].TxHash()}, b.Txs[0].TxOut[0]
}

// spend is a transaction of version 2 without witness.
func spend(out wire.OutPoint, sequence uint32, outs ...*wire.TxOut) *wire.MsgTx {
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(&wire.TxIn{PreviousOutPoint: out, Sequence: sequence})
	for _, o := range outs {
		tx.AddTxOut(o)
	}
	return tx
}

// anyone is a signed spend of a coin of everybody.
func anyone(out wire.OutPoint, sequence uint32, outs ...*wire.TxOut) *wire.MsgTx {
	tx := spend(out, sequence, outs...)
	tx.TxIn[0].Witness = AnyoneWitness()
	return tx
}

const final = wire.MaxTxInSequenceNum

func publish(t testing.TB, c *Chain, tx *wire.MsgTx) {
	t.Helper()
	if err := c.Publish(context.Background(), tx); err != nil {
		t.Fatal(err)
	}
}

func wantRefusal(t testing.TB, c *Chain, tx *wire.MsgTx, kind error) {
	t.Helper()
	tested, err := c.TestAccept(tx), c.Publish(context.Background(), tx)
	if !errors.Is(err, kind) || !errors.Is(err, chain.ErrRejected) {
		t.Errorf("Publish: %v, want %v", err, kind)
	}
	if !errors.Is(tested, kind) {
		t.Errorf("TestAccept: %v, want %v", tested, kind)
	}
}

func wantHeight(t testing.TB, c *Chain, tx *wire.MsgTx, height uint32) {
	t.Helper()
	if _, h, ok := c.Tx(tx.TxHash()); !ok || h != height {
		t.Errorf("transaction at height %d, found %v, want %d", h, ok, height)
	}
}

func TestGenesisAndTimes(t *testing.T) {
	c := open(t, "")
	if h, hash := c.Tip(); h != 0 || hash != *c.Params().GenesisHash {
		t.Fatalf("tip %d %v", h, hash)
	}
	calls := 0
	cancel := c.Subscribe(func() { calls++ })
	hashes, err := c.Mine(300, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(hashes) != 300 || calls != 1 {
		t.Fatalf("%d hashes, %d calls", len(hashes), calls)
	}
	cancel()
	prev, err := c.Block(0)
	if err != nil {
		t.Fatal(err)
	}
	for h := uint32(1); h <= 300; h++ {
		b, err := c.Block(h)
		if err != nil {
			t.Fatal(err)
		}
		if b.Height != h || b.Prev != prev.Hash || b.Time <= prev.Time || b.Hash != hashes[h-1] {
			t.Fatalf("block %d after %d: %+v", h, prev.Height, b)
		}
		prev = b
	}
	if b, err := c.BlockByHash(hashes[7]); err != nil || b.Height != 8 {
		t.Errorf("block by hash: height %d, %v", b.Height, err)
	}
	if _, err := c.Block(301); err == nil {
		t.Error("block above the tip")
	}
	mine(t, c, 1)
	if calls != 1 {
		t.Error("called after cancel")
	}
}

func TestFutureOfBlockTimes(t *testing.T) {
	if testing.Short() {
		t.Skip("mines past btcd's limit of two hours")
	}
	c := open(t, "")
	mine(t, c, 7300)
	if h, _ := c.Tip(); h != 7300 {
		t.Fatalf("tip %d", h)
	}
}

// TestSpends funds P2WSH with a relative lock and P2TR, and spends both.
func TestSpends(t *testing.T) {
	c := open(t, "")
	mine(t, c, 101)
	out, prev := coin(t, c, 1)
	key, pub := btcec.PrivKeyFromBytes([]byte(strings.Repeat("k", 32)))

	const delay = 5
	locked, err := txscript.NewScriptBuilder().AddInt64(delay).AddOp(txscript.OP_CHECKSEQUENCEVERIFY).AddOp(txscript.OP_DROP).
		AddData(pub.SerializeCompressed()).AddOp(txscript.OP_CHECKSIG).Script()
	if err != nil {
		t.Fatal(err)
	}
	hash := chainhash.HashB(locked)
	p2wsh := append([]byte{txscript.OP_0, txscript.OP_DATA_32}, hash...)
	p2tr, err := txscript.PayToTaprootScript(txscript.ComputeTaprootKeyNoScript(pub))
	if err != nil {
		t.Fatal(err)
	}
	fund := anyone(out, final,
		wire.NewTxOut(1e6, p2wsh), wire.NewTxOut(2e6, p2tr), wire.NewTxOut(prev.Value-3e6-1000, AnyoneCanSpend))
	if err := c.CheckTx(fund); err != nil {
		t.Fatal(err)
	}
	publish(t, c, fund)
	wantHeight(t, c, fund, 0)

	// The taproot output can be spent while its parent is unconfirmed.
	keySpend := spend(wire.OutPoint{Hash: fund.TxHash(), Index: 1}, final, wire.NewTxOut(2e6-500, p2tr))
	sign := func() {
		outs := txscript.NewCannedPrevOutputFetcher(p2tr, 2e6)
		sig, err := txscript.RawTxInTaprootSignature(keySpend, txscript.NewTxSigHashes(keySpend, outs), 0, 2e6, p2tr, nil,
			txscript.SigHashDefault, key)
		if err != nil {
			t.Fatal(err)
		}
		keySpend.TxIn[0].Witness = wire.TxWitness{sig}
	}
	sign()
	keySpend.TxIn[0].Witness[0][10] ^= 1
	if c.CheckTx(keySpend) == nil {
		t.Error("a broken schnorr signature passes CheckTx")
	}
	wantRefusal(t, c, keySpend, chain.ErrRejected)
	sign()
	if err := c.CheckTx(keySpend, fund.TxOut[1]); err != nil {
		t.Error(err)
	}
	publish(t, c, keySpend)
	if pool := c.Mempool(); len(pool) != 2 || pool[0].TxHash() != fund.TxHash() {
		t.Errorf("mempool has %d, or the child first", len(pool))
	}

	// The other one has to wait for delay confirmations.
	csv := spend(wire.OutPoint{Hash: fund.TxHash()}, delay, wire.NewTxOut(1e6-500, p2tr))
	outs := txscript.NewCannedPrevOutputFetcher(p2wsh, 1e6)
	sig, err := txscript.RawTxInWitnessSignature(csv, txscript.NewTxSigHashes(csv, outs), 0, 1e6, locked, txscript.SigHashAll, key)
	if err != nil {
		t.Fatal(err)
	}
	csv.TxIn[0].Witness = wire.TxWitness{sig, locked}
	wantRefusal(t, c, csv, chain.ErrPremature)
	mine(t, c, delay-1)
	wantHeight(t, c, fund, 102)
	wantHeight(t, c, keySpend, 102)
	wantRefusal(t, c, csv, chain.ErrPremature)
	mine(t, c, 1)
	if err := c.CheckTx(csv); err != nil {
		t.Error(err)
	}
	publish(t, c, csv)

	// A reorganisation by one block makes it premature again, and it leaves the mempool.
	if err := c.Reorg(1); err != nil {
		t.Fatal(err)
	}
	if pool := c.Mempool(); len(pool) != 0 {
		t.Errorf("mempool has %d transactions after the reorganisation", len(pool))
	}
	wantRefusal(t, c, csv, chain.ErrPremature)
	mine(t, c, 1)
	publish(t, c, csv)
	mine(t, c, 1)
	wantHeight(t, c, csv, 107)
	if _, _, ok := c.Unspent(csv.TxIn[0].PreviousOutPoint); ok {
		t.Error("spent output is unspent")
	}
	if o, h, ok := c.Unspent(wire.OutPoint{Hash: csv.TxHash()}); !ok || h != 107 || o.Value != 1e6-500 {
		t.Error("new output is not unspent")
	}
}

func TestReorg(t *testing.T) {
	c := open(t, "")
	mine(t, c, 105)
	out, prev := coin(t, c, 1)
	a := anyone(out, final, wire.NewTxOut(prev.Value-1000, AnyoneCanSpend))
	b := anyone(out, final, wire.NewTxOut(prev.Value-5000, AnyoneCanSpend))
	child := anyone(wire.OutPoint{Hash: a.TxHash()}, final, wire.NewTxOut(prev.Value-2000, AnyoneCanSpend))
	publish(t, c, a)
	publish(t, c, child)
	mine(t, c, 3)
	wantHeight(t, c, a, 106)
	_, old := c.Tip()

	if err := c.Reorg(3); err != nil {
		t.Fatal(err)
	}
	if h, _ := c.Tip(); h != 105 {
		t.Fatalf("tip %d", h)
	}
	wantHeight(t, c, a, 0)
	wantHeight(t, c, child, 0)

	// The new chain has the conflict; parent and child cannot come back.
	if _, err := c.MineTxs(nil, b); err != nil {
		t.Fatal(err)
	}
	wantHeight(t, c, b, 106)
	if len(c.Mempool()) != 0 {
		t.Error("the conflict is still in the mempool")
	}
	wantRefusal(t, c, a, chain.ErrConflict)
	wantRefusal(t, c, child, chain.ErrMissingInputs)
	mine(t, c, 3)
	if h, tip := c.Tip(); h != 109 || tip == old {
		t.Errorf("tip %d", h)
	}

	// And back once more: now the first one wins again.
	if err := c.Reorg(4); err != nil {
		t.Fatal(err)
	}
	if _, err := c.MineTxs(nil, a, child); err != nil {
		t.Fatal(err)
	}
	wantHeight(t, c, child, 106)
	if err := c.Reorg(107); err == nil {
		t.Error("reorganisation deeper than the chain")
	}
}

// TestImmatureAfterReorg: a reorganisation that makes a spent coinbase immature evicts the spend.
func TestImmatureAfterReorg(t *testing.T) {
	c := open(t, "")
	mine(t, c, 100)
	out, prev := coin(t, c, 1)
	tx := anyone(out, final, wire.NewTxOut(prev.Value-1000, AnyoneCanSpend))
	publish(t, c, tx)
	if err := c.Reorg(1); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, c, tx, chain.ErrPremature)
	mine(t, c, 1)
	publish(t, c, tx)
}

func TestPublish(t *testing.T) {
	c := open(t, "")
	mine(t, c, 110)
	out, prev := coin(t, c, 1)
	pay := func(sequence uint32, fee int64) *wire.MsgTx {
		return anyone(out, sequence, wire.NewTxOut(prev.Value-fee, AnyoneCanSpend))
	}
	bad := pay(final, 1000)
	bad.TxIn[0].Witness = wire.TxWitness{{txscript.OP_FALSE}}
	v3 := pay(final, 1000)
	v3.Version = 3
	late := pay(0, 1000)
	late.LockTime = 500
	young, _ := coin(t, c, 105)
	unknown := anyone(wire.OutPoint{Hash: chainhash.Hash{1}}, final, wire.NewTxOut(1000, AnyoneCanSpend))
	for name, tc := range map[string]struct {
		tx   *wire.MsgTx
		kind error
	}{
		"script":   {bad, chain.ErrRejected},
		"version":  {v3, chain.ErrRejected},
		"dust":     {pay(final, prev.Value-100), chain.ErrRejected},
		"inflates": {pay(final, -1), chain.ErrRejected},
		"no fee":   {pay(final, 0), chain.ErrFeeTooLow},
		"locktime": {late, chain.ErrPremature},
		"immature": {anyone(young, final, wire.NewTxOut(prev.Value-1000, AnyoneCanSpend)), chain.ErrPremature},
		"missing":  {unknown, chain.ErrMissingInputs},
	} {
		t.Run(name, func(t *testing.T) { wantRefusal(t, c, tc.tx, tc.kind) })
	}

	first, calls := pay(0xfffffffd, 1000), 0
	defer c.Subscribe(func() { calls++ })()
	publish(t, c, first)
	publish(t, c, first)
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
	wantRefusal(t, c, pay(0xfffffffd, 1010), chain.ErrConflict) // does not pay for its own relay
	second := pay(final, 5000)
	publish(t, c, second)
	if _, _, ok := c.Tx(first.TxHash()); ok {
		t.Error("the replaced transaction is still there")
	}
	wantRefusal(t, c, pay(0, 50_000), chain.ErrConflict) // the new one is final
	mine(t, c, 1)
	publish(t, c, second)
	if c.Publish(context.Background(), first) == nil {
		t.Error("conflict with a confirmed transaction")
	}
	b, err := c.Block(111)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Txs[0].TxOut[0].Value; got != prev.Value+5000 {
		t.Errorf("coinbase %d, want subsidy and fee %d", got, prev.Value+5000)
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Publish(canceled, second); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestFeeRates(t *testing.T) {
	c := open(t, "")
	want := chain.FeeRates{Floor: 253, Slow: 253, Normal: 1000, Urgent: 2500}
	if got := c.FeeRates(); got != want {
		t.Errorf("%+v", got)
	}
	calls := 0
	c.Subscribe(func() { calls++ })
	c.SetFeeRates(chain.FeeRates{Normal: 9000})
	want = chain.FeeRates{Floor: 253, Slow: 253, Normal: 9000, Urgent: 9000}
	if got := c.FeeRates(); got != want || calls != 1 {
		t.Errorf("%+v, %d calls", got, calls)
	}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	mine(t, c, 102)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Mine(1, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	c = open(t, dir)
	out, prev := coin(t, c, 1)
	tx := anyone(out, final, wire.NewTxOut(prev.Value-1000, AnyoneCanSpend))
	publish(t, c, tx)
	mine(t, c, 3)
	if err := c.Reorg(2); err != nil {
		t.Fatal(err)
	}
	mine(t, c, 1)
	height, hash := c.Tip()

	// A copy of the folder of a running chain is what a kill leaves behind.
	killed := t.TempDir()
	copyDir(t, dir, killed)
	check := func(what string) {
		r := open(t, killed)
		if h, tip := r.Tip(); h != height || tip != hash {
			t.Errorf("%s: tip %d %v, want %d %v", what, h, tip, height, hash)
		}
		wantHeight(t, r, tx, 103)
		mine(t, r, 1)
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		height++
		r = open(t, killed)
		_, hash = r.Tip()
		r.Close()
	}
	check("killed")

	// A torn record is cut off.
	f, err := os.OpenFile(filepath.Join(killed, "journal"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte{recordBlock, 0, 0, 1, 0, 7, 7}); err != nil {
		t.Fatal(err)
	}
	f.Close()
	check("torn")
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTemporaryFolder(t *testing.T) {
	c := open(t, "")
	mine(t, c, 1)
	dir := c.dir
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", dir, err)
	}
}

// TestManyUsers has four nodes and a miner at one chain.
func TestManyUsers(t *testing.T) {
	c := open(t, "")
	mine(t, c, 120)
	var wg sync.WaitGroup
	for user := range 4 {
		wg.Go(func() {
			seen := make(chan struct{}, 1)
			defer c.Subscribe(func() {
				select {
				case seen <- struct{}{}:
				default:
				}
			})()
			out, prev := coin(t, c, uint32(user+1))
			for i := range 20 {
				tx := anyone(out, final, wire.NewTxOut(prev.Value-int64(i+1)*200, AnyoneCanSpend))
				if err := c.Publish(context.Background(), tx); err != nil {
					t.Error(err)
					return
				}
				<-seen
				h, _ := c.Tip()
				if _, err := c.Block(h); err != nil {
					t.Error(err)
				}
				c.Mempool()
				c.FeeRates()
				c.Unspent(out)
				if err := c.CheckTx(tx); err != nil {
					t.Error(err)
				}
				out = wire.OutPoint{Hash: tx.TxHash()}
			}
		})
	}
	wg.Go(func() {
		for range 15 {
			if _, err := c.Mine(1, nil); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	mine(t, c, 1)
	if n := len(c.Mempool()); n != 0 {
		t.Errorf("%d transactions left", n)
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		c, err := New(Config{})
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

func BenchmarkMine(b *testing.B) {
	c := open(b, "")
	for b.Loop() {
		mine(b, c, 1)
	}
}

// stuckDB is a database that does not close, as goleveldb does when two writes have failed.
type stuckDB struct {
	database.DB
	until, closed chan struct{}
}

func (s stuckDB) Close() error {
	<-s.until
	defer close(s.closed)
	return s.DB.Close()
}

func TestCloseIsBounded(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir)
	mine(t, c, 3)
	stuck := stuckDB{c.db, make(chan struct{}), make(chan struct{})}
	c.db, c.wait = stuck, time.Millisecond
	if err := c.Close(); err == nil || !strings.Contains(err.Error(), "not closed after") {
		t.Errorf("closed: %v", err)
	}
	if _, err := c.Block(1); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	// The next process finds what the journal has.
	killed := t.TempDir()
	copyDir(t, dir, killed)
	if height, _ := open(t, killed).Tip(); height != 3 {
		t.Errorf("opened again at height %d", height)
	}
	close(stuck.until)
	<-stuck.closed // its folder goes with the test
}
