package embedded

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/wire"
)

const (
	optIn  = wire.MaxTxInSequenceNum - 2
	anchor = 330
)

// family is a commitment with an anchor, and what bumps it: a child by the anchor, with a coin of its own.
type family struct {
	t    *testing.T
	c    *Chain
	coin uint32 // height of the coinbase that is used next
}

func newFamily(t *testing.T) *family {
	f := &family{t, open(t, ""), 1}
	mine(t, f.c, 120)
	return f
}

func (f *family) fresh() (wire.OutPoint, int64) {
	out, prev := coin(f.t, f.c, f.coin)
	f.coin++
	return out, prev.Value
}

// parent spends from, with an anchor and the rest less fee.
func (f *family) parent(from wire.OutPoint, value, fee int64, sequence uint32) *wire.MsgTx {
	return anyone(from, sequence, wire.NewTxOut(anchor, AnyoneCanSpend), wire.NewTxOut(value-fee-anchor, AnyoneCanSpend))
}

// child spends the anchor of parent and a coin.
func (f *family) child(parent *wire.MsgTx, from wire.OutPoint, value, fee int64) *wire.MsgTx {
	tx := anyone(wire.OutPoint{Hash: parent.TxHash()}, optIn, wire.NewTxOut(anchor+value-fee, AnyoneCanSpend))
	tx.AddTxIn(&wire.TxIn{PreviousOutPoint: from, Sequence: optIn, Witness: AnyoneWitness()})
	return tx
}

func (f *family) together(want error, txs ...*wire.MsgTx) {
	f.t.Helper()
	before := fmt.Sprint(hashes(f.c.Mempool()))
	calls := 0
	defer f.c.Subscribe(func() { calls++ })()
	err := f.c.PublishPackage(context.Background(), txs...)
	if want == nil {
		if err != nil {
			f.t.Fatal(err)
		}
		f.wantPooled(true, txs...)
		if calls > 1 {
			f.t.Errorf("%d calls", calls)
		}
		return
	}
	if !errors.Is(err, want) || !errors.Is(err, chain.ErrRejected) {
		f.t.Errorf("PublishPackage: %v, want %v", err, want)
	}
	if after := fmt.Sprint(hashes(f.c.Mempool())); after != before || calls != 0 {
		f.t.Errorf("mempool after a refusal, %d calls:\n%s\nbefore:\n%s", calls, after, before)
	}
}

func hashes(txs []*wire.MsgTx) (list []string) {
	for _, tx := range txs {
		list = append(list, tx.TxHash().String())
	}
	return list
}

func (f *family) wantPooled(want bool, txs ...*wire.MsgTx) {
	f.t.Helper()
	for i, tx := range txs {
		if _, height, ok := f.c.Tx(tx.TxHash()); (ok && height == 0) != want {
			f.t.Errorf("transaction %d in the mempool: %v, want %v", i, !want, want)
		}
	}
}

// TestBumpChild pulls a commitment that pays the least by a child, and replaces the child.
func TestBumpChild(t *testing.T) {
	f := newFamily(t)
	from, value := f.fresh()
	purse, have := f.fresh()
	parent := f.parent(from, value, 200, 0x80112233)
	publish(t, f.c, parent)
	first := f.child(parent, purse, have, 1000)
	publish(t, f.c, first)
	f.wantPooled(true, parent, first)
	wantRefusal(t, f.c, f.child(parent, purse, have, 1100), chain.ErrConflict) // not its own relay
	other, enough := f.fresh()
	second := f.child(parent, other, enough, 1500) // with another coin: the anchor is in conflict
	publish(t, f.c, second)
	f.wantPooled(true, parent, second)
	f.wantPooled(false, first)
	// A third with a coin that is not confirmed is refused, unless the second spends of the same (BIP 125, rule 2).
	young := anyone(purse, optIn, wire.NewTxOut(have-1000, AnyoneCanSpend))
	publish(t, f.c, young)
	wantRefusal(t, f.c, f.child(parent, wire.OutPoint{Hash: young.TxHash()}, have-1000, 9000), chain.ErrConflict)
	mine(t, f.c, 1)
	wantHeight(t, f.c, parent, 121)
	wantHeight(t, f.c, second, 121)
}

// TestReplaceClaim replaces a claim of a confirmed output, with descendants in its way.
func TestReplaceClaim(t *testing.T) {
	f := newFamily(t)
	from, value := f.fresh()
	purse, have := f.fresh()
	claim := func(fee int64) *wire.MsgTx {
		tx := anyone(from, 1, wire.NewTxOut(value, AnyoneCanSpend), wire.NewTxOut(have-fee, AnyoneCanSpend))
		tx.AddTxIn(&wire.TxIn{PreviousOutPoint: purse, Sequence: optIn, Witness: AnyoneWitness()})
		return tx
	}
	first := claim(500)
	publish(t, f.c, first)
	child := anyone(wire.OutPoint{Hash: first.TxHash()}, final, wire.NewTxOut(value-10_000, AnyoneCanSpend))
	publish(t, f.c, child)
	wantRefusal(t, f.c, claim(9000), chain.ErrConflict) // less than both
	second := claim(11_000)
	publish(t, f.c, second)
	f.wantPooled(false, first, child)
	mine(t, f.c, 1)
	wantHeight(t, f.c, second, 121)
}

// TestPackage has a mempool that wants more than a commitment pays.
func TestPackage(t *testing.T) {
	f := newFamily(t)
	from, value := f.fresh()
	purse, have := f.fresh()
	free := f.parent(from, value, 0, 0x80112233)
	f.together(chain.ErrFeeTooLow, free, f.child(free, purse, have, 5000)) // at any time
	f.c.SetMempoolMin(1500)
	if got := f.c.FeeRates(); got.Floor != 1500 || got.Slow != 1500 || got.Urgent != 2500 {
		t.Errorf("%+v", got)
	}
	cm := f.parent(from, value, 300, 0x80112233)
	wantRefusal(t, f.c, cm, chain.ErrFeeTooLow)
	f.together(chain.ErrFeeTooLow, cm)
	f.together(chain.ErrFeeTooLow, cm, f.child(cm, purse, have, 1000)) // enough for itself alone
	bad := f.child(cm, purse, have, 5000)
	bad.TxIn[1].Witness = wire.TxWitness{{0}}
	f.together(chain.ErrRejected, cm, bad)
	f.together(chain.ErrRejected, cm, f.child(cm, purse, have, -1))
	child := f.child(cm, purse, have, 5000)
	f.together(chain.ErrRejected, cm, free, child)
	f.together(nil, cm, child)
	f.together(nil, cm, child) // again
	// A parent that is there already is no hindrance, nor one that pays for itself.
	second := f.child(cm, purse, have, 9000)
	f.together(nil, cm, second)
	f.wantPooled(false, child)
	alone, worth := f.fresh()
	rich := f.parent(alone, worth, 1000, optIn)
	purse2, have2 := f.fresh()
	f.together(nil, rich, f.child(rich, purse2, have2, 5000))
	mine(t, f.c, 1)
	wantHeight(t, f.c, cm, 121)
	wantHeight(t, f.c, second, 121)
	f.together0(cm, second) // confirmed is no error

	// After a reorganisation a parent that pays too little stays in the mempool with its child.
	if err := f.c.Reorg(1); err != nil {
		t.Fatal(err)
	}
	f.wantPooled(true, cm, second)
	f.c.SetMempoolMin(0)
	last, little := f.fresh()
	publish(t, f.c, f.parent(last, little, 200, optIn))
}

// together0 publishes what is confirmed.
func (f *family) together0(txs ...*wire.MsgTx) {
	f.t.Helper()
	if err := f.c.PublishPackage(context.Background(), txs...); err != nil {
		f.t.Error(err)
	}
}

// TestPackageReplaces has two commitments of one channel: the peer's is in the mempool with a child of its own, ours pays the same and goes in only
// together with a child that pays more than both of the peer's.
func TestPackageReplaces(t *testing.T) {
	for name, tc := range map[string]struct {
		sequence uint32 // of the peer's commitment
		ours     int64  // fee of our commitment
		fee      int64  // of our child
		want     error
	}{
		"more than both":        {0x80112233, 200, 3000, nil},
		"ours for nothing":      {0x80112233, 0, 3000, chain.ErrFeeTooLow},
		"less than both":        {0x80112233, 200, 1000, chain.ErrConflict},
		"not its own relay":     {0x80112233, 200, 1200, chain.ErrConflict},
		"peer's does not allow": {final, 200, 3000, chain.ErrConflict},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFamily(t)
			from, value := f.fresh()
			a, valueA := f.fresh()
			b, valueB := f.fresh()
			theirs := f.parent(from, value, 200, tc.sequence)
			publish(t, f.c, theirs)
			publish(t, f.c, f.child(theirs, a, valueA, 1000))
			ours := f.parent(from, value, tc.ours, 0x80112234)
			f.together(chain.ErrConflict, ours)
			f.together(tc.want, ours, f.child(ours, b, valueB, tc.fee))
			if tc.want == nil {
				f.wantPooled(false, theirs)
				mine(t, f.c, 1)
				wantHeight(t, f.c, ours, 121)
			}
		})
	}
}

// TestPackageWithAncestor: what replaces something may have no other parents in the mempool.
func TestPackageWithAncestor(t *testing.T) {
	f := newFamily(t)
	from, value := f.fresh()
	a, valueA := f.fresh()
	theirs := f.parent(from, value, 200, optIn)
	publish(t, f.c, theirs)
	young := anyone(a, optIn, wire.NewTxOut(valueA-1000, AnyoneCanSpend))
	publish(t, f.c, young)
	ours := f.parent(from, value, 200, optIn-1)
	f.together(chain.ErrConflict, ours, f.child(ours, wire.OutPoint{Hash: young.TxHash()}, valueA-1000, 50_000))
	f.wantPooled(true, theirs)
}

func TestSpending(t *testing.T) {
	f := newFamily(t)
	from, value := f.fresh()
	purse, have := f.fresh()
	parent := f.parent(from, value, 200, optIn)
	child := f.child(parent, purse, have, 1000)
	f.together(nil, parent, child)
	got, err := f.c.Spending(context.Background(), []wire.OutPoint{purse, from, {Hash: parent.TxHash()}, {Hash: parent.TxHash(), Index: 1}})
	if err != nil || len(got) != 2 || got[0].TxHash() != child.TxHash() || got[1].TxHash() != parent.TxHash() {
		t.Errorf("%v, %v", hashes(got), err)
	}
	mine(t, f.c, 1)
	if got, err := f.c.Spending(context.Background(), []wire.OutPoint{purse, from}); err != nil || len(got) != 0 {
		t.Errorf("of the mempool: %v, %v", hashes(got), err)
	}
}
