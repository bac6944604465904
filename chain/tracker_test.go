package chain

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
	"github.com/google/go-cmp/cmp"
)

// branch makes blocks; salt tells branches apart.
type branch struct {
	blocks []Block // blocks[i] is at height i+1
	salt   uint32
}

func (c *branch) tip() Block {
	if len(c.blocks) == 0 {
		return Block{}
	}
	return c.blocks[len(c.blocks)-1]
}

func (c *branch) next(txs ...*wire.MsgTx) Block {
	c.salt++
	var hash chainhash.Hash
	binary.BigEndian.PutUint32(hash[:], c.salt)
	b := Block{Height: uint32(len(c.blocks)) + 1, Hash: hash, Prev: c.tip().Hash, Time: int64(c.salt), Txs: txs}
	c.blocks = append(c.blocks, b)
	return b
}

func (c *branch) back() { c.blocks = c.blocks[:len(c.blocks)-1] }

// tx spends the outputs; n makes it unique.
func tx(n int, spends ...wire.OutPoint) *wire.MsgTx {
	tx := wire.NewMsgTx(2)
	for _, out := range spends {
		tx.AddTxIn(wire.NewTxIn(&out, nil, nil))
	}
	tx.AddTxOut(wire.NewTxOut(int64(n), []byte{0x51}))
	return tx
}

func output(n uint32) wire.OutPoint { return wire.OutPoint{Hash: chainhash.Hash{0xaa}, Index: n} }

func connect(t *testing.T, tr *Tracker, b Block) []Fact {
	t.Helper()
	facts, err := tr.Connect(b)
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

func wantFacts(t *testing.T, what string, got []Fact, want ...Fact) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s: -want +got\n%s", what, d)
	}
}

func TestFactsOfABlock(t *testing.T) {
	tr, c := NewTracker(0, chainhash.Hash{}), &branch{}
	a := tx(1, output(0), output(1))
	b := tx(2, wire.OutPoint{Hash: a.TxHash()})
	for _, owner := range []uint64{9, 3} {
		tr.Watch(owner, WatchTx{Txid: a.TxHash(), Script: []byte{1}})
	}
	tr.Watch(3, WatchSpend{Out: wire.OutPoint{Hash: a.TxHash()}})
	tr.Watch(9, WatchSpend{Out: output(1)})
	tr.Watch(9, WatchSpend{Out: output(1), Script: []byte{7}})

	wantFacts(t, "mempool", tr.Mempool(a), Fact{9, Spent{Out: output(1), By: a, Input: 1}})
	blk := c.next(tx(0), a, b)
	connected := Fact{Everyone, BlockConnected{Height: 1, Hash: blk.Hash, Time: blk.Time}}
	told := []Fact{
		{3, Confirmed{Tx: a, Height: 1, TxIndex: 1}},
		{9, Confirmed{Tx: a, Height: 1, TxIndex: 1}},
		{9, Spent{Out: output(1), By: a, Input: 1, Height: 1, TxIndex: 1}},
		{3, Spent{Out: wire.OutPoint{Hash: a.TxHash()}, By: b, Height: 1, TxIndex: 2}},
		connected,
	}
	wantFacts(t, "connect", connect(t, tr, blk), told...)
	wantFacts(t, "mempool, confirmed already", tr.Mempool(a))

	// After a reorganisation the same facts are told again, in the new block.
	wantFacts(t, "disconnect", tr.Disconnect(), Fact{Everyone, BlockDisconnected{Height: 1, Hash: blk.Hash}})
	wantFacts(t, "nothing to disconnect", tr.Disconnect())
	wantFacts(t, "mempool after disconnect", tr.Mempool(a), Fact{9, Spent{Out: output(1), By: a, Input: 1}})
	wantFacts(t, "connect again", connect(t, tr, blk), told...)

	tr.Forget(9)
	tr.Forget(9)
	tr.Disconnect()
	wantFacts(t, "after Forget", connect(t, tr, blk), told[0], told[3], connected)
	tr.Forget(3)
	if len(tr.watches) != 0 || len(tr.owned) != 0 {
		t.Errorf("%d watches of %d owners are left", len(tr.watches), len(tr.owned))
	}
}

func TestConnectRefuses(t *testing.T) {
	c := &branch{}
	one, two := c.next(), c.next()
	tr := NewTracker(1, one.Hash)
	gap, fork := two, two
	gap.Height++
	fork.Prev = chainhash.Hash{1}
	for _, b := range []Block{one, gap, fork, {}} {
		if _, err := tr.Connect(b); !errors.Is(err, ErrNotNext) {
			t.Errorf("block %d after %v: %v", b.Height, b.Prev, err)
		}
	}
	connect(t, tr, two)
	if h, hash := tr.Tip(); h != 2 || hash != two.Hash {
		t.Errorf("tip %d %v", h, hash)
	}
}

func TestLateWatch(t *testing.T) {
	tr, c := NewTracker(0, chainhash.Hash{}), &branch{}
	fund := tx(1, output(0))
	out := wire.OutPoint{Hash: fund.TxHash()}
	spend := tx(2, out)
	for _, txs := range [][]*wire.MsgTx{{}, {fund}, {}, {spend}, {}} {
		connect(t, tr, c.next(txs...))
	}
	rescan := func(owner uint64, span Span) (facts []Fact) {
		t.Helper()
		for h := span.From; h <= span.To; h++ {
			f, err := tr.Rescan(c.blocks[h-1], owner)
			if err != nil {
				t.Fatal(err)
			}
			facts = append(facts, f...)
		}
		return facts
	}
	wantMissed := func(owner uint64, r Request, want Span, late bool) {
		t.Helper()
		if missed, got := tr.Watch(owner, r); missed != want || got != late {
			t.Errorf("owner %d missed %v, late %v, want %v, %v", owner, missed, got, want, late)
		}
	}
	confirmed := Confirmed{Tx: fund, Height: 2}
	spent := Spent{Out: out, By: spend, Height: 4}

	wantMissed(1, WatchTx{Txid: fund.TxHash(), Since: 2}, Span{2, 5}, true)
	wantMissed(1, WatchSpend{Out: out, Since: 6}, Span{}, false) // nothing can have been missed
	wantFacts(t, "first rescan", rescan(1, Span{2, 5}), Fact{1, confirmed})
	wantFacts(t, "again", rescan(1, Span{1, 5}))
	wantMissed(1, WatchTx{Txid: fund.TxHash(), Since: 2}, Span{}, false)
	wantMissed(1, WatchTx{Txid: fund.TxHash(), Since: 0}, Span{1, 1}, true)
	wantMissed(1, WatchSpend{Out: out, Since: 3}, Span{3, 5}, true)
	wantFacts(t, "of the spend", rescan(1, Span{3, 5}), Fact{1, spent})

	// Another owner is not told by the rescan of the first, and one that begins above the fact is not told at all.
	wantMissed(2, WatchSpend{Out: out, Since: 5}, Span{5, 5}, true)
	wantFacts(t, "above the fact", rescan(2, Span{1, 5}))

	// A reorganisation between Watch and Rescan: the block that left is refused, the new one tells its facts by itself.
	wantMissed(3, WatchSpend{Out: out, Since: 4}, Span{4, 5}, true)
	old := c.tip()
	tr.Disconnect()
	c.back()
	if _, err := tr.Rescan(old, 3); err == nil {
		t.Error("rescan above the tip")
	}
	tr.Disconnect()
	c.back()
	wantFacts(t, "new block", connect(t, tr, c.next(spend))[:3], Fact{1, spent}, Fact{2, spent}, Fact{3, spent})
	connect(t, tr, c.next())
	if _, err := tr.Rescan(old, 3); err == nil {
		t.Error("rescan of a block that is not on the best chain")
	}
	wantFacts(t, "told already", rescan(3, Span{4, 5}))
}

func TestTrail(t *testing.T) {
	c, tr := &branch{}, Trail{}
	for range 3 * trailLength {
		if err := tr.Extend(c.next()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(tr.Hashes()); n != trailLength {
		t.Errorf("%d hashes", n)
	}
	for h := range uint32(3*trailLength) + 5 {
		hash, known := tr.At(h)
		if want := h > 2*trailLength && h <= 3*trailLength; known != want || known && hash != c.blocks[h-1].Hash {
			t.Fatalf("height %d: %v, known %v", h, hash, known)
		}
	}
	for range trailLength + 1 {
		tr.Back()
		c.back()
	}
	if h, hash := tr.Tip(); h != 2*trailLength-1 || hash != (chainhash.Hash{}) {
		t.Errorf("tip %d %v, want an unknown one", h, hash)
	}
	other := c.next()
	other.Prev = chainhash.Hash{1} // nobody can tell
	if err := tr.Extend(other); err != nil {
		t.Error(err)
	}
}

// world is a best chain that moves at random, a Tracker that follows it, and what each owner believes.
type world struct {
	*rand.Rand
	*branch
	tr       *Tracker
	pool     []*wire.MsgTx
	believed map[uint64]map[target]Event
	since    map[uint64]map[target]uint32 // what is promised: facts from this height
	owed     map[uint64][]Span
}

const owners = 3

func newWorld(seed uint64) *world {
	w := &world{
		Rand: rand.New(rand.NewPCG(seed, 0)), branch: &branch{}, tr: NewTracker(0, chainhash.Hash{}),
		believed: map[uint64]map[target]Event{}, since: map[uint64]map[target]uint32{}, owed: map[uint64][]Span{},
	}
	// Twelve transactions over six outputs and the outputs of each other: many conflicts, some chains.
	for n := range 12 {
		var spends []wire.OutPoint
		for range 1 + w.IntN(2) {
			if n > 0 && w.IntN(3) == 0 {
				spends = append(spends, wire.OutPoint{Hash: w.pool[w.IntN(n)].TxHash()})
			} else {
				spends = append(spends, output(w.Uint32N(6)))
			}
		}
		slices.SortFunc(spends, func(a, b wire.OutPoint) int { return slices.Compare([]byte(a.String()), []byte(b.String())) })
		w.pool = append(w.pool, tx(n, slices.Compact(spends)...))
	}
	for o := range uint64(owners) {
		w.forget(o)
	}
	return w
}

func (w *world) forget(owner uint64) {
	w.believed[owner], w.since[owner], w.owed[owner] = map[target]Event{}, map[target]uint32{}, nil
}

// mineable chooses transactions that the chain does not have and that conflict with nothing in it.
func (w *world) mineable() []*wire.MsgTx {
	gone := map[target]bool{}
	mark := func(tx *wire.MsgTx) {
		gone[target{out: wire.OutPoint{Hash: tx.TxHash()}}] = true
		for _, in := range tx.TxIn {
			gone[target{out: in.PreviousOutPoint, spend: true}] = true
		}
	}
	for _, b := range w.blocks {
		for _, tx := range b.Txs {
			mark(tx)
		}
	}
	var txs []*wire.MsgTx
	for _, i := range w.Perm(len(w.pool))[:w.IntN(4)] {
		tx := w.pool[i]
		conflict := gone[target{out: wire.OutPoint{Hash: tx.TxHash()}}]
		for _, in := range tx.TxIn {
			conflict = conflict || gone[target{out: in.PreviousOutPoint, spend: true}]
		}
		if !conflict {
			mark(tx)
			txs = append(txs, tx)
		}
	}
	return txs
}

func (w *world) step(t *testing.T) {
	owner := w.Uint64N(owners)
	switch n := w.IntN(20); {
	case n < 8:
		w.deliver(t, connect(t, w.tr, w.next(w.mineable()...)))
	case n < 10:
		for range w.IntN(min(len(w.blocks), 6) + 1) {
			w.back()
			w.deliver(t, w.tr.Disconnect())
		}
	case n < 15:
		w.watch(owner)
	case n < 19:
		w.rescan(t, owner)
	case w.IntN(4) == 0:
		w.tr.Forget(owner)
		w.forget(owner)
	}
}

func (w *world) watch(owner uint64) {
	tx := w.pool[w.IntN(len(w.pool))]
	tip := w.tip().Height
	since := w.Uint32N(tip + 3)
	key, r := target{out: wire.OutPoint{Hash: tx.TxHash()}}, Request(WatchTx{Txid: tx.TxHash(), Since: since})
	if w.IntN(2) == 0 {
		out := tx.TxIn[w.IntN(len(tx.TxIn))].PreviousOutPoint
		key, r = target{out: out, spend: true}, WatchSpend{Out: out, Since: since}
	}
	if missed, late := w.tr.Watch(owner, r); late {
		w.owed[owner] = append(w.owed[owner], missed)
	}
	if old, ok := w.since[owner][key]; !ok || since < old {
		w.since[owner][key] = min(since, tip+1)
	}
}

// rescan pays the oldest debt; now and then it begins and does not get through.
func (w *world) rescan(t *testing.T, owner uint64) {
	if len(w.owed[owner]) == 0 {
		return
	}
	span := w.owed[owner][0]
	for h := span.From; h <= min(span.To, w.tip().Height); h++ {
		facts, err := w.tr.Rescan(w.blocks[h-1], owner)
		if err != nil {
			t.Fatal(err)
		}
		w.deliver(t, facts)
		if w.IntN(20) == 0 {
			return
		}
	}
	w.owed[owner] = w.owed[owner][1:]
}

func (w *world) deliver(t *testing.T, facts []Fact) {
	for i, f := range facts {
		var key target
		switch e := f.Event.(type) {
		case BlockConnected:
			if f.Owner != Everyone || i != len(facts)-1 || e.Hash != w.tip().Hash {
				t.Fatalf("fact %d of %d: %+v", i, len(facts), f)
			}
			continue
		case BlockDisconnected:
			for _, b := range w.believed {
				maps.DeleteFunc(b, func(_ target, e Event) bool { return height(e) >= f.Event.(BlockDisconnected).Height })
			}
			continue
		case Confirmed:
			key = target{out: wire.OutPoint{Hash: e.Tx.TxHash()}}
		case Spent:
			key = target{out: e.Out, spend: true}
		}
		if old := w.believed[f.Owner][key]; old != nil {
			t.Fatalf("owner %d is told twice: %+v, %+v", f.Owner, old, f.Event)
		}
		w.believed[f.Owner][key] = f.Event
	}
}

func height(e Event) uint32 {
	if c, ok := e.(Confirmed); ok {
		return c.Height
	}
	return e.(Spent).Height
}

// truth looks through the whole best chain.
func (w *world) truth() map[target]Event {
	all := map[target]Event{}
	for _, b := range w.blocks {
		for pos, tx := range b.Txs {
			all[target{out: wire.OutPoint{Hash: tx.TxHash()}}] = Confirmed{Tx: tx, Height: b.Height, TxIndex: uint32(pos)}
			for in, txIn := range tx.TxIn {
				all[target{out: txIn.PreviousOutPoint, spend: true}] = Spent{
					Out: txIn.PreviousOutPoint, By: tx, Input: uint32(in), Height: b.Height, TxIndex: uint32(pos),
				}
			}
		}
	}
	return all
}

func (w *world) check(t *testing.T) {
	truth := w.truth()
	for owner, believed := range w.believed {
		for key, e := range believed {
			if _, asked := w.since[owner][key]; !asked || truth[key] != e {
				t.Fatalf("owner %d believes %+v, truth is %+v", owner, e, truth[key])
			}
		}
		if len(w.owed[owner]) != 0 {
			continue // may still miss some
		}
		for key, since := range w.since[owner] {
			if e := truth[key]; e != nil && height(e) >= since && believed[key] != e {
				t.Fatalf("owner %d was not told %+v, watches from %d", owner, e, since)
			}
		}
	}
}

func TestTrackerAgainstTruth(t *testing.T) {
	first := rand.Uint64()
	for i := range uint64(200) {
		seed := first + i
		ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			w := newWorld(seed)
			for range 150 {
				w.step(t)
				w.check(t)
			}
		})
		if !ok {
			return
		}
	}
}

func BenchmarkConnect(b *testing.B) {
	tr, c := NewTracker(0, chainhash.Hash{}), &branch{}
	for n := range uint32(30_000) {
		tr.Watch(uint64(n/3), WatchSpend{Out: output(n)})
	}
	var txs []*wire.MsgTx
	for n := range 3000 {
		txs = append(txs, tx(n, wire.OutPoint{Index: uint32(n)}, wire.OutPoint{Index: uint32(n + 5000)}))
	}
	for b.Loop() {
		if _, err := tr.Connect(c.next(txs...)); err != nil {
			b.Fatal(err)
		}
	}
}
