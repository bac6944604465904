package channeltest

import (
	"maps"
	"slices"
	"testing"

	"lightningrod/chain"
	"lightningrod/channel"

	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// checkTx runs every input of tx through the script engine.
func checkTx(t *testing.T, tx *wire.MsgTx, prevs map[wire.OutPoint]*wire.TxOut) {
	t.Helper()
	fetch := txscript.NewMultiPrevOutFetcher(prevs)
	hashes := txscript.NewTxSigHashes(tx, fetch)
	var in, out int64
	for i, txIn := range tx.TxIn {
		prev := prevs[txIn.PreviousOutPoint]
		if prev == nil {
			t.Fatalf("unknown output %v", txIn.PreviousOutPoint)
		}
		vm, err := txscript.NewEngine(prev.PkScript, tx, i, txscript.StandardVerifyFlags, nil, hashes, prev.Value, fetch)
		must(t, err)
		if err := vm.Execute(); err != nil {
			t.Fatalf("input %d: %v", i, err)
		}
		in += prev.Value
	}
	for _, o := range tx.TxOut {
		out += o.Value
	}
	if out >= in {
		t.Fatalf("outputs %d, inputs %d", out, in)
	}
}

// world is every output that has been seen.
type world map[wire.OutPoint]*wire.TxOut

func (w world) add(tx *wire.MsgTx) {
	id := tx.TxHash()
	for i, o := range tx.TxOut {
		w[wire.OutPoint{Hash: id, Index: uint32(i)}] = o
	}
}

// published are the transactions a side has asked to publish from some point on, without the funding transaction.
func published(s *Side, from int) []*wire.MsgTx {
	var txs []*wire.MsgTx
	for _, r := range s.Chain[from:] {
		if p, ok := r.(chain.Publish); ok {
			txs = append(txs, p.Tx)
		}
	}
	return txs
}

// TestCommitmentsAreValid: after every turn of a busy channel each side can publish what it has.
func TestCommitmentsAreValid(t *testing.T) {
	p := open(t, Options{Wire: true, Push: 400_000_000, FeePerKw: 1000, Params: func(side int, p *channel.Params) {
		if p.Limits.ToSelfDelay = 100; side == 1 {
			p.Limits.DustLimit, p.Limits.ToSelfDelay = 400, 300
		}
	}})
	checks := 0
	for _, s := range p.Sides {
		s.Log = func(string, Turn, []channel.Notice) {
			tx, prev, err := s.State.LocalCommitment(s.Crypto)
			must(t, err)
			checkTx(t, tx, world{tx.TxIn[0].PreviousOutPoint: prev})
			checks++
		}
	}
	for n := uint64(0); n < 4; n++ {
		must(t, p.Do(0, channel.Add{HTLC: HTLC(n, lnwire.MilliSatoshi(300_000+n*40_000), uint32(700+n%2))}))
		must(t, p.Do(1, channel.Add{HTLC: HTLC(n, 50_000_000, 701)}))
	}
	must(t, p.DeliverAll())
	must(t, p.Do(0, channel.UpdateFee{FeePerKw: 2000}))
	must(t, p.DeliverAll())
	for n := uint64(0); n < 4; n++ {
		var o channel.Outcome = channel.Fulfill{Preimage: Preimage(n)}
		if n%2 == 1 {
			o = channel.Fail{Reason: []byte{1}}
		}
		must(t, p.Do(1, channel.Settle{HTLC: n, Outcome: o}))
		must(t, p.Do(0, channel.Settle{HTLC: n, Outcome: o}))
	}
	must(t, p.DeliverAll())
	must(t, p.Agree())
	if l, _ := p.Sides[0].State.Balance(); l != 600_000_000-(300_000+380_000)+100_000_000 {
		t.Fatal(l)
	}
	t.Logf("%d commitments checked", checks)
}

// TestMutualClose: the closing transaction both have signed is valid.
func TestMutualClose(t *testing.T) {
	for _, push := range []lnwire.MilliSatoshi{400_000_000, 0, 353_000} {
		p := open(t, Options{Wire: true, Push: push})
		w := world{}
		w.add(p.Funding)
		must(t, p.Do(1, channel.Close{}))
		must(t, p.DeliverAll())
		for _, s := range p.Sides {
			txs := published(s, 0)
			checkTx(t, txs[len(txs)-1], w)
		}
	}
}

// TestForceClose: both get their balance home, by valid transactions, whichever side published.
func TestForceClose(t *testing.T) {
	for side := range 2 {
		p := open(t, Options{Wire: true, Push: 400_000_000, Params: func(side int, p *channel.Params) {
			p.Limits.ToSelfDelay = uint16(100 + 44*side)
		}})
		must(t, p.Do(0, channel.Add{HTLC: HTLC(1, 50_000_000, 700)}))
		must(t, p.DeliverAll())
		must(t, p.Do(1, channel.Settle{HTLC: 0, Outcome: channel.Fulfill{Preimage: Preimage(1)}}))
		must(t, p.DeliverAll())
		w := world{}
		w.add(p.Funding)
		at := len(p.Sides[side].Chain)
		must(t, p.Do(side, channel.ForceClose{}))
		tx := published(p.Sides[side], at)[0]
		checkTx(t, tx, w)
		w.add(tx)
		from := [2]int{len(p.Sides[0].Chain), len(p.Sides[1].Chain)}
		must(t, p.ConfirmSpend(tx))
		must(t, p.Crash(side)) // a restart forgets nothing
		must(t, p.Mine(144))
		for i, s := range p.Sides {
			txs := published(s, from[i])
			if len(txs) == 0 {
				t.Fatalf("%s sweeps nothing: %v", s.Name, s.State)
			}
			for _, tx := range txs { // the fee rises as long as none confirms
				checkTx(t, tx, w)
			}
			if got, want := txs[0].TxOut[0].Value, []int64{550_000, 450_000}[i]; got > want || got < want-2500 {
				t.Errorf("%s sweeps %d of %d", s.Name, got, want)
			}
			must(t, p.ConfirmSpend(txs[len(txs)-1]))
		}
		must(t, p.Mine(100))
		for _, s := range p.Sides {
			if s.State.Phase() != channel.PhaseClosed {
				t.Errorf("%s: %v", s.Name, s.State)
			}
		}
	}
}

// TestPenalty: a revoked commitment of alice is confirmed; bob takes both balances.
func TestPenalty(t *testing.T) {
	p := open(t, Options{Wire: true, Push: 400_000_000})
	old, _, err := p.Sides[0].State.LocalCommitment(p.Sides[0].Crypto)
	must(t, err)
	for n := uint64(0); n < 3; n++ {
		must(t, p.Do(0, channel.Add{HTLC: HTLC(n, 100_000_000, 700)}))
		must(t, p.DeliverAll())
		must(t, p.Do(1, channel.Settle{HTLC: n, Outcome: channel.Fulfill{Preimage: Preimage(n)}}))
		must(t, p.DeliverAll())
	}
	w := world{}
	w.add(p.Funding)
	checkTx(t, old, w)
	w.add(old)
	bob := p.Sides[1]
	at := len(bob.Chain)
	must(t, p.ConfirmSpend(old))
	byOutput := make(map[wire.OutPoint]*wire.MsgTx)
	for _, tx := range published(bob, at) {
		byOutput[tx.TxIn[0].PreviousOutPoint] = tx // the last one: with every block it is asked for again
	}
	txs := slices.Collect(maps.Values(byOutput))
	var sum int64
	for _, tx := range txs {
		checkTx(t, tx, w)
		sum += tx.TxOut[0].Value
	}
	if len(txs) != 2 || sum < 990_000 {
		t.Fatalf("%d transactions of %d sat\n%v", len(txs), sum, bob.State)
	}
}

// TestDataLoss: bob comes back with an old database. He publishes nothing, alice closes, and he gets his balance.
func TestDataLoss(t *testing.T) {
	p := open(t, Options{Wire: true, Push: 400_000_000})
	bob := p.Sides[1]
	backup := bob.Rows.clone()
	for n := uint64(0); n < 2; n++ {
		must(t, p.Do(0, channel.Add{HTLC: HTLC(n, 100_000_000, 700)}))
		must(t, p.DeliverAll())
		must(t, p.Do(1, channel.Settle{HTLC: n, Outcome: channel.Fulfill{Preimage: Preimage(n)}}))
		must(t, p.DeliverAll())
	}
	bob.Rows = backup
	must(t, p.Crash(1))
	atAlice, atBob := len(p.Sides[0].Chain), len(bob.Chain)
	must(t, p.Connect())
	must(t, p.DeliverAll())
	if bob.State.Phase() != channel.PhaseWaiting {
		t.Fatal(bob.State)
	}
	must(t, p.Do(1, channel.ForceClose{}))
	must(t, p.Crash(1))
	if txs := published(bob, atBob); len(txs) != 0 {
		t.Fatal("bob has published an old commitment")
	}
	w := world{}
	w.add(p.Funding)
	tx := published(p.Sides[0], atAlice)[0]
	checkTx(t, tx, w)
	w.add(tx)
	must(t, p.ConfirmSpend(tx))
	txs := published(bob, atBob)
	if len(txs) != 1 {
		t.Fatalf("bob sweeps %d outputs\n%v", len(txs), bob.State)
	}
	checkTx(t, txs[0], w)
	if got := txs[0].TxOut[0].Value; got < 598_000 {
		t.Errorf("bob sweeps %d", got)
	}
}

// TestNoFailureAfterPreimage: bob fulfils, gets alice's new commitment signed, withholds his revoke_and_ack and confirms the
// commitment without the HTLC. Whatever alice's node does then, restarts included, it must not take the HTLC for failed.
func TestNoFailureAfterPreimage(t *testing.T) {
	for _, restart := range []bool{false, true} {
		for _, own := range []bool{false, true} {
			p := open(t, Options{Toy: true, Push: 400_000_000})
			alice := p.Sides[0]
			must(t, p.Do(0, channel.Add{HTLC: HTLC(1, 50_000_000, 700)}))
			must(t, p.DeliverAll())
			must(t, p.Do(1, channel.Settle{HTLC: 0, Outcome: channel.Fulfill{Preimage: Preimage(1)}}))
			for range 2 { // update_fulfill_htlc, commitment_signed
				_, err := p.Deliver(1)
				must(t, err)
			}
			for range 2 { // alice's revoke_and_ack, commitment_signed
				_, err := p.Deliver(0)
				must(t, err)
			}
			if restart {
				must(t, p.Crash(0))
			}
			publisher := p.Sides[1]
			if own {
				publisher = alice
			}
			tx, _, err := publisher.State.LocalCommitment(publisher.Crypto)
			must(t, err)
			must(t, p.ConfirmSpend(tx))
			if restart {
				must(t, p.Crash(0))
			}
			must(t, p.Mine(20))
			for _, n := range alice.Notices {
				if r, ok := n.(channel.Resolved); ok {
					if _, ok := r.Outcome.(channel.Fulfill); !ok {
						t.Errorf("restart %v own %v: %s", restart, own, channel.DescribeNotice(n))
					}
				}
			}
		}
	}
}

// TestPreimageFromChain: bob confirms an older, unrevoked commitment that still has the HTLC and claims it by preimage,
// after he had failed it: the failure must not have been believed.
func TestPreimageFromChain(t *testing.T) {
	p := open(t, Options{Toy: true, Push: 400_000_000})
	alice, bob := p.Sides[0], p.Sides[1]
	must(t, p.Do(0, channel.Add{HTLC: HTLC(1, 50_000_000, 700)}))
	must(t, p.DeliverAll())
	tx, _, err := bob.State.LocalCommitment(bob.Crypto)
	must(t, err)
	must(t, p.Do(1, channel.Settle{HTLC: 0, Outcome: channel.Fail{Reason: []byte{1}}}))
	for range 2 {
		_, err := p.Deliver(1)
		must(t, err)
	}
	// alice has revoked and signed bob's commitment without the HTLC; bob has not revoked his with it.
	must(t, p.Do(0, channel.Chain{Event: chain.Spent{Out: p.Sides[0].State.Funding(), By: tx, Height: p.Height + 1}}))
	must(t, p.Mine(10))
	told := func() (out []string) {
		for _, n := range alice.Notices {
			if _, ok := n.(channel.Resolved); ok {
				out = append(out, channel.DescribeNotice(n))
			}
		}
		return out
	}
	if got := told(); len(got) != 0 {
		t.Fatal(got)
	}
	pre := Preimage(1)
	for i := range tx.TxOut {
		claim := &wire.MsgTx{TxIn: []*wire.TxIn{{PreviousOutPoint: wire.OutPoint{Hash: tx.TxHash(), Index: uint32(i)}, Witness: wire.TxWitness{{1}, pre[:], {2}}}}}
		must(t, p.Do(0, channel.Chain{Event: chain.Spent{Out: claim.TxIn[0].PreviousOutPoint, By: claim}})) // in the mempool
	}
	if got := told(); len(got) != 1 || got[0] != "resolved 0 fulfill" {
		t.Fatal(got)
	}
}

// TestFeeRangeOnTheWire: closing_signed keeps its fee_range through lnwire's encoding.
func TestFeeRangeOnTheWire(t *testing.T) {
	p := open(t, Options{Toy: true, Wire: true, Push: 400_000_000})
	must(t, p.Do(0, channel.Close{FeePerKw: 1000}))
	for len(p.Sides[0].Out) == 0 || channel.DescribeMessage(p.Sides[0].Out[0]) == "shutdown" {
		for side := range 2 {
			_, err := p.Deliver(side)
			must(t, err)
		}
	}
	m, ok := p.Sides[0].Out[0].(*lnwire.ClosingSigned)
	if !ok || len(m.ExtraData) != 18 {
		t.Fatalf("%T %x", p.Sides[0].Out[0], p.Sides[0].Out[0])
	}
}

// TestPenaltyReorged: the block with the revoked commitment goes away; bob puts his own commitment up, and not twice the sweeps.
func TestPenaltyReorged(t *testing.T) {
	p := open(t, Options{Toy: true, Push: 400_000_000})
	old, _, err := p.Sides[0].State.LocalCommitment(p.Sides[0].Crypto)
	must(t, err)
	must(t, p.Do(0, channel.Add{HTLC: HTLC(1, 100_000_000, 700)}))
	must(t, p.DeliverAll())
	bob := p.Sides[1]
	must(t, p.ConfirmSpend(old))
	at := len(bob.Chain)
	must(t, p.Reorg())
	txs := published(bob, at)
	if len(txs) != 1 || txs[0].TxIn[0].PreviousOutPoint != bob.State.Funding() {
		t.Fatalf("%d transactions\n%v", len(txs), bob.State)
	}
	must(t, p.ConfirmSpend(old))
	if txs := published(bob, at); len(txs) != 3 {
		t.Fatalf("%d transactions\n%v", len(txs), bob.State)
	}
}
