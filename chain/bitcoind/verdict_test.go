package bitcoind_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"lightningrod/chain"
	"lightningrod/chain/embedded"

	"github.com/btcsuite/btcd/wire"
	"github.com/google/go-cmp/cmp"
)

// mempool is what both backends are to engine and channels.
type mempool interface {
	Block(height uint32) (chain.Block, error)
	Publish(ctx context.Context, tx *wire.MsgTx) error
	PublishPackage(ctx context.Context, txs ...*wire.MsgTx) error
	Spending(ctx context.Context, outs []wire.OutPoint) ([]*wire.MsgTx, error)
}

// judge runs a scenario and notes what the backend says of each step.
type judge struct {
	t        *testing.T
	m        mempool
	next     uint32 // height of the coinbase that is used next
	verdicts []string
}

// verdict is what an error means.
func verdict(err error) string {
	switch {
	case errors.Is(err, chain.ErrConflict):
		return "conflict"
	case errors.Is(err, chain.ErrFeeTooLow):
		return "fee too low"
	case errors.Is(err, chain.ErrPremature):
		return "premature"
	case errors.Is(err, chain.ErrMissingInputs):
		return "missing inputs"
	case err == nil:
		return "taken"
	case errors.Is(err, chain.ErrRejected):
		return "rejected"
	}
	return err.Error()
}

func (j *judge) publish(what string, txs ...*wire.MsgTx) {
	j.t.Helper()
	err := j.m.PublishPackage(context.Background(), txs...)
	if len(txs) == 1 {
		err = j.m.Publish(context.Background(), txs[0])
	}
	j.verdicts = append(j.verdicts, what+": "+verdict(err))
	j.t.Logf("%T: %s: %v", j.m, what, err)
}

// spender notes which of txs spends an output in the mempool.
func (j *judge) spender(what string, out wire.OutPoint, txs ...*wire.MsgTx) {
	j.t.Helper()
	found, err := j.m.Spending(context.Background(), []wire.OutPoint{out})
	if err != nil {
		j.t.Fatal(err)
	}
	by := "nothing"
	for i, tx := range txs {
		if len(found) == 1 && found[0].TxHash() == tx.TxHash() {
			by = fmt.Sprint("number ", i)
		}
	}
	j.verdicts = append(j.verdicts, what+" spent by "+by)
}

func (j *judge) coin() (wire.OutPoint, int64) {
	j.t.Helper()
	j.next++
	blk, err := j.m.Block(j.next)
	if err != nil {
		j.t.Fatal(err)
	}
	return wire.OutPoint{Hash: blk.Txs[0].TxHash()}, blk.Txs[0].TxOut[0].Value
}

const (
	commitmentSequence = 0x80112233
	bip125             = wire.MaxTxInSequenceNum - 2
)

// commitment spends an output of value, and has an anchor.
func commitment(out wire.OutPoint, value, fee int64, sequence uint32) *wire.MsgTx {
	tx := spend(2, out, sequence, 330)
	tx.AddTxOut(wire.NewTxOut(value-fee-330, embedded.AnyoneCanSpend))
	return tx
}

// child spends the anchor of parent and another output.
func child(parent *wire.MsgTx, out wire.OutPoint, value, fee int64) *wire.MsgTx {
	tx := spend(2, wire.OutPoint{Hash: parent.TxHash()}, bip125, value+330-fee)
	tx.AddTxIn(&wire.TxIn{PreviousOutPoint: out, Sequence: bip125, Witness: embedded.AnyoneWitness()})
	return tx
}

// verdicts are scenarios that both have to judge alike.
var verdicts = map[string]func(j *judge){
	"a commitment, its child, and children in place of that": func(j *judge) {
		out, value := j.coin()
		a, valueA := j.coin()
		b, valueB := j.coin()
		cm := commitment(out, value, 200, commitmentSequence)
		kids := []*wire.MsgTx{child(cm, a, valueA, 1000), child(cm, a, valueA, 1100), child(cm, a, valueA, 1300), child(cm, b, valueB, 2000)}
		j.publish("child first", kids[0])
		j.publish("commitment", cm)
		for i, tx := range kids {
			j.publish(fmt.Sprint("child ", i), tx)
		}
		j.spender("the anchor", wire.OutPoint{Hash: cm.TxHash()}, kids...)
		young := spend(2, a, bip125, valueA-1000)
		j.publish("a coin that is free again", young)
		j.publish("a child with a coin that is not confirmed", child(cm, wire.OutPoint{Hash: young.TxHash()}, valueA-1000, 50_000))
	},
	"a claim with a dear descendant is replaced": func(j *judge) {
		out, value := j.coin()
		purse, have := j.coin()
		claim := func(fee int64) *wire.MsgTx {
			tx := spend(2, out, 1, value)
			tx.AddTxIn(&wire.TxIn{PreviousOutPoint: purse, Sequence: bip125, Witness: embedded.AnyoneWitness()})
			tx.AddTxOut(wire.NewTxOut(have-fee, embedded.AnyoneCanSpend))
			return tx
		}
		first := claim(500)
		j.publish("claim", first)
		j.publish("descendant", spend(2, wire.OutPoint{Hash: first.TxHash()}, final, value-10_000))
		j.publish("less than both", claim(9000))
		j.publish("more than both", claim(11_000))
		j.publish("the first again", first)
	},
	"a commitment that pays nothing": func(j *judge) {
		out, value := j.coin()
		a, valueA := j.coin()
		cm := commitment(out, value, 0, commitmentSequence)
		j.publish("alone", cm)
		j.publish("with a child that pays for both", cm, child(cm, a, valueA, 3000))
		j.publish("the child alone", child(cm, a, valueA, 9000))
	},
	"a commitment in place of the other's": func(j *judge) {
		out, value := j.coin()
		a, valueA := j.coin()
		b, valueB := j.coin()
		theirs, ours := commitment(out, value, 200, commitmentSequence), commitment(out, value, 200, commitmentSequence+1)
		j.publish("theirs, with a child", theirs, child(theirs, a, valueA, 1000))
		j.publish("ours alone", ours)
		j.publish("ours with a cheap child", ours, child(ours, b, valueB, 800))
		j.publish("ours with a dear child", ours, child(ours, b, valueB, 5000))
		j.spender("the funding output", out, theirs, ours)
		j.publish("theirs with a cheap child", theirs, child(theirs, a, valueA, 1000))
		j.publish("theirs with a dearer child", theirs, child(theirs, a, valueA, 20_000))
		j.spender("the funding output", out, theirs, ours)
		dear := commitment(out, value, 90_000, commitmentSequence+1)
		j.publish("ours with a fee of its own", dear)
		j.spender("the funding output", out, theirs, dear)
	},
	"what can never be": func(j *judge) {
		out, value := j.coin()
		a, valueA := j.coin()
		j.publish("theirs", commitment(out, value, 200, commitmentSequence))
		ours := commitment(out, value, 200, commitmentSequence+1)
		bad := child(ours, a, valueA, 3000)
		bad.TxIn[1].Witness = wire.TxWitness{{0}}
		j.publish("a child with a bad witness", ours, bad)
		j.publish("a child that makes money", ours, child(ours, a, valueA, -1))
		j.publish("a child of another", ours, child(commitment(a, valueA, 0, 0), a, valueA, 3000))
		later := spend(2, a, 0, valueA-1000)
		later.LockTime = 500
		j.publish("a lock time", later)
		j.publish("a relative lock", spend(2, a, 400, valueA-1000))
	},
}

// TestRealVerdicts: the embedded chain judges as bitcoind does.
func TestRealVerdicts(t *testing.T) {
	r := newReal(t)
	r.mine(140)
	c, err := embedded.New(embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.Mine(140, nil); err != nil {
		t.Fatal(err)
	}
	next := uint32(0)
	for name, scenario := range verdicts {
		t.Run(name, func(t *testing.T) {
			theirs, ours := &judge{t: t, m: r.b, next: next}, &judge{t: t, m: c, next: next}
			scenario(theirs)
			scenario(ours)
			next = ours.next
			if diff := cmp.Diff(theirs.verdicts, ours.verdicts); diff != "" {
				t.Errorf("-bitcoind +embedded\n%s", diff)
			}
		})
	}
}
