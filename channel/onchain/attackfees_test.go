package onchain

import (
	"fmt"
	"slices"
	"testing"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/wire"
)

// The attacks on what is bid: stalling, cycling, pinning, budgets.

// TestA8_ReplacementStalling: every block the peer takes one of many HTLCs with its preimage. What is bid for the others never
// falls, and is out again in the same turn.
func TestA8_ReplacementStalling(t *testing.T) {
	each(t, []int{inOurs, inNewer}, func(t *testing.T, in int, restarts bool) {
		n, be := toy(t)
		var htlcs []testHTLC
		for i := range 8 {
			htlcs = append(htlcs, testHTLC{offered: true, sat: 20_000, expiry: 110, secret: fmt.Sprint(i), in: inAll})
		}
		nd := n.open(be, config{}, htlcs...)
		nd.restarts = restarts
		nd.confirm(in)
		nd.mineTo(110)
		for i := range 7 {
			be.force(nd.w.peerHTLC(in, i, be.peerCoin(), 8000))
			be.limit = 1
			nd.mine(1)
			nd.wantResolved(uint64(i), "fulfilled")
			open := 0
			for _, tx := range be.Mempool() {
				if nd.published[tx.TxHash()] != nil {
					open++
				}
			}
			if open < 7-i { // and the balance, when ripe
				t.Fatalf("%d claims in the mempool, %d HTLCs open\n%v", open, 7-i, nd.s)
			}
		}
		be.limit = 0
		nd.mine(150)
		nd.wantResolved(7, "failed")
		nd.wantDone()
	})
}

// TestA9_ReplacementCycling: the peer shows the preimage in the mempool only, to throw our claim out, and takes it back. We have
// learnt the preimage; and what we bid rises to half of the value at the deadline.
func TestA9_ReplacementCycling(t *testing.T) {
	each(t, []int{inOurs, inNewer}, func(t *testing.T, in int, restarts bool) {
		n, be := toy(t)
		nd := n.open(be, config{}, testHTLC{offered: true, sat: 100_000, expiry: 110, secret: "a", in: inAll, deadline: 150})
		nd.restarts = restarts
		nd.confirm(in)
		nd.mineTo(110)
		var bids []int64
		var sum int64
		for n.height() < 150 {
			n.look()
			i := slices.IndexFunc(be.pool, func(p pooled) bool {
				return spends(p.tx, nd.w.commits[in].OutPoint(int(nd.w.output(in, 0).Index)))
			})
			if i < 0 {
				t.Fatalf("no claim in the mempool at %d: %v", n.height(), nd.s)
			}
			p := be.pool[i]
			bids = append(bids, p.fee)
			sum += p.fee
			tx := nd.w.peerHTLC(in, 0, be.peerCoin(), 60_000)
			be.force(tx)
			n.look()
			be.evict(tx)
			nd.wantResolved(0, "fulfilled")
			nd.mine(1)
		}
		// The coins of this test weigh less than those that the Bump allows for, so the bid stays below half.
		if !slices.IsSorted(bids) || bids[len(bids)-1] < 43_000 || sum < 8*100_000 {
			t.Fatalf("bids %v, in all %d", bids, sum)
		}
		nd.mine(10)
		if f := nd.s.spent; len(f) == 0 {
			t.Fatal("the claim was given up")
		}
	})
}

// TestA10_OneChildPerCommitment: while our commitment is stuck its one child pays more at every block, up to half of what is at
// stake. A commitment of the peer in the mempool is pulled by our anchor in it.
func TestA10_OneChildPerCommitment(t *testing.T) {
	for _, in := range []int{inOurs, inNewer} {
		n, be := toy(t)
		n.rates = chain.FeeRates{Floor: 253, Slow: 500, Normal: 1000, Urgent: 3000}
		nd := n.open(be, config{}, testHTLC{offered: true, sat: 100_000, expiry: 130, secret: "a", in: inAll},
			testHTLC{sat: 100_000, expiry: 140, secret: "b", in: inAll, known: true})
		be.limit = -1 // blocks are full
		if in == inOurs {
			nd.apply(Close{})
		} else {
			n.send(nd.w.tx(in))
		}
		nd.mineTo(135)
		cm := nd.w.commits[in]
		anchor := cm.OutPoint(cm.OwnerAnchor)
		if in != inOurs {
			anchor = cm.OutPoint(cm.OtherAnchor)
		}
		var last Bump
		for _, b := range nd.bumps {
			switch {
			case b.Out != anchor || b.Parent == nil || b.Parent.TxHash() != cm.TxID:
				t.Fatalf("bumps %s", outText(b.Out))
			case b.Deadline != 134: // the HTLC to claim expires at 140, the one to take back should be at 166
				t.Fatalf("deadline %d", b.Deadline)
			case b.Rate < last.Rate:
				t.Fatalf("rate %d after %d", b.Rate, last.Rate)
			case last.Rate != 0 && b.Replaces == nil:
				t.Fatal("a second child beside the first")
			}
			last = b
		}
		if fee := nd.s.bidOf(anchor).fee; fee < 90_000 || fee > 100_000 || len(nd.bumps) < 20 {
			t.Fatalf("fee %d after %d bumps", fee, len(nd.bumps))
		}
		be.limit = 0
		nd.mine(1)
		if _, _, _, ok := nd.s.Closed(); !ok {
			t.Fatal("not confirmed")
		}
		if got := len(be.blocks[len(be.blocks)-1].Txs); got != 2 {
			t.Fatalf("%d transactions, want commitment and child", got)
		}
		nd.mine(150)
	}
}

// TestA10_BumpWhenItMatters: no coins are asked for while the commitment pays the market's rate and the deadline is far.
func TestA10_BumpWhenItMatters(t *testing.T) {
	n, be := toy(t)
	nd := n.open(be, config{rate: 3000}, testHTLC{offered: true, sat: 10_000, expiry: 1000, secret: "a", in: inAll})
	nd.apply(Close{})
	if len(nd.bumps) != 0 {
		t.Fatalf("bump of a commitment that pays enough: %+v", nd.bumps[0])
	}
	nd.apply(Chain{chain.FeeRates{Floor: 253, Slow: 6000, Normal: 8000, Urgent: 9000}})
	if len(nd.bumps) == 0 {
		t.Fatal("no bump when rates rise")
	}
}

// TestA10_HTLCElsewhere: an HTLC we offered that only a commitment of the peer has is failed once ours is deep. Until then the peer may
// claim it, so ours must be confirmed before the incoming HTLC runs out.
func TestA10_HTLCElsewhere(t *testing.T) {
	for _, in := range []int{inNewer, inAll} {
		n, be := toy(t)
		nd := n.open(be, config{}, testHTLC{offered: true, sat: 100_000, expiry: 130, secret: "a", in: in, deadline: 160})
		be.limit = -1 // blocks are full
		nd.apply(Close{})
		nd.mineTo(150)
		if len(nd.bumps) < 20 {
			t.Fatalf("%d bumps", len(nd.bumps))
		}
		last := nd.bumps[len(nd.bumps)-1]
		want := uint32(142) // then HTLC-timeout follows
		if in == inNewer {
			want = 154
		}
		if last.Deadline != want || last.MaxFee < 50_000 {
			t.Fatalf("deadline %d, at most %d sat", last.Deadline, last.MaxFee)
		}
	}
}

// TestReleased: coins of a child whose commitment lost are free again, and those of an HTLC transaction that the peer forestalled.
func TestReleased(t *testing.T) {
	n, be := toy(t)
	nd := n.open(be, config{}, testHTLC{offered: true, sat: 100_000, expiry: 105, secret: "a", in: inAll})
	nd.apply(Close{})
	be.force(nd.w.tx(inNewer))
	nd.mine(7)
	released := func() (txs []*wire.MsgTx) {
		for _, out := range nd.outs {
			txs = append(txs, out.Release...)
		}
		return txs
	}
	if txs := released(); len(txs) != 1 || txs[0].TxIn[0].PreviousOutPoint.Hash != nd.w.commits[inOurs].TxID {
		t.Fatalf("released %d", len(txs))
	}
	nd = n.open(be, config{}, testHTLC{offered: true, sat: 100_000, expiry: 115, secret: "a", in: inAll})
	nd.confirm(inOurs)
	nd.mineTo(115)
	be.force(nd.w.peerHTLC(inOurs, 0, coin{}, 60_000))
	nd.mine(7)
	if txs := released(); len(txs) != 1 || txs[0].TxIn[0].PreviousOutPoint.Hash != nd.w.commits[inOurs].TxID {
		t.Fatalf("released %d", len(txs))
	}
	nd.wantResolved(0, "fulfilled")
}

// TestChildComesLate: a child that is not in the block of its commitment is published on, also after a restart, since coins are locked
// in it; when all is over they are free, whatever has become of it.
func TestChildComesLate(t *testing.T) {
	n, be := toy(t)
	nd := n.open(be, config{}, testHTLC{offered: true, sat: 100_000, expiry: 105, secret: "a", in: inAll})
	nd.deaf = true // so that nobody hears of the child
	nd.apply(Close{})
	at := slices.IndexFunc(nd.s.bids, func(b bid) bool { return b.funded != nil })
	if at < 0 {
		t.Fatal("no child")
	}
	child := nd.s.bids[at].funded.TxHash()
	be.force(nd.w.tx(inOurs))
	for i := range 12 {
		if i == 8 {
			again, err := Decode(nd.w.p, nd.s.Encode())
			must(t, err)
			nd.s = again
		}
		before := len(nd.outs)
		nd.mine(1)
		again := slices.ContainsFunc(nd.outs[before:], func(out Output) bool {
			return slices.ContainsFunc(out.Chain, func(r chain.Request) bool {
				p, ok := r.(chain.Publish)
				return ok && p.Tx.TxHash() == child
			})
		})
		if !again {
			t.Fatalf("not published in block %d", i)
		}
	}
	nd.deaf = false
	nd.mine(600)
	nd.wantDone()
	free := func(out Output) bool {
		return slices.ContainsFunc(out.Release, func(tx *wire.MsgTx) bool { return tx.TxHash() == child })
	}
	if !slices.ContainsFunc(nd.outs, free) {
		t.Error("its coins are not released")
	}
}

// TestLearnWithoutACommitment: the closing transaction has just left the chain when a preimage is shown.
func TestLearnWithoutACommitment(t *testing.T) {
	n, be := toy(t)
	nd := n.open(be, config{}, testHTLC{offered: true, sat: 100_000, expiry: 115, secret: "a", in: inAll})
	nd.confirm(inNewer)
	tx := nd.w.peerHTLC(inNewer, 0, be.peerCoin(), 5000)
	n.reorg(1)
	nd.apply(Chain{chain.Spent{Out: tx.TxIn[0].PreviousOutPoint, By: tx}})
	nd.wantResolved(0, "fulfilled")
}

// TestA11_UrgentFirst: claims are in the order of their deadlines, then of their values.
func TestA11_UrgentFirst(t *testing.T) {
	n, be := toy(t)
	nd := n.open(be, config{},
		testHTLC{sat: 20_000, expiry: 140, secret: "a", in: inAll, known: true},
		testHTLC{sat: 60_000, expiry: 140, secret: "b", in: inAll, known: true},
		testHTLC{sat: 30_000, expiry: 125, secret: "c", in: inAll, known: true},
		testHTLC{sat: 40_000, expiry: 160, secret: "d", in: inAll, known: true})
	nd.deaf = true
	nd.apply(Chain{n.rates})
	n.send(nd.w.tx(inNewer))
	nd.mine(1)
	var got []int64
	for _, r := range nd.outs[len(nd.outs)-1].Chain {
		if p, ok := r.(chain.Publish); ok {
			for _, o := range nd.s.closing.outputs {
				if o.out == p.Tx.TxIn[0].PreviousOutPoint && o.kind != kindIgnored {
					got = append(got, o.amount)
				}
			}
		}
	}
	if want := []int64{30_000, 60_000, 20_000, 40_000, 499_999}; len(got) != 5 || !slices.Equal(got[:4], want[:4]) {
		t.Fatalf("order %v", got)
	}
}

// TestA12_FeeWithinBudget: an answer of the wallet that pays too much, or is not what was asked for, is refused and its
// coins are free again. engine_test.go checks every other fee of every test against half of the value.
func TestA12_FeeWithinBudget(t *testing.T) {
	n, be := toy(t)
	nd := n.open(be, config{}, testHTLC{sat: 20_000, expiry: 140, secret: "a", in: inAll, known: true})
	nd.poor = true
	nd.confirm(inOurs)
	b := nd.bumps[len(nd.bumps)-1]
	good := wire.NewMsgTx(2)
	good.AddTxIn(&wire.TxIn{PreviousOutPoint: b.Out, Sequence: b.Sequence})
	good.AddTxIn(&wire.TxIn{PreviousOutPoint: n.coins[0].out, Sequence: 0xfffffffd, Witness: anyoneWitness})
	good.TxOut = append(good.TxOut, b.Outputs...)
	good.AddTxOut(&wire.TxOut{Value: n.coins[0].value - 5000, PkScript: walletScript})
	for name, f := range map[string]func(f *Funded){
		"too much":       func(f *Funded) { f.Fee = b.MaxFee + 1 },
		"no fee":         func(f *Funded) { f.Fee = 0 },
		"version":        func(f *Funded) { f.Tx.Version = 3 },
		"lock time":      func(f *Funded) { f.Tx.LockTime = 5 },
		"sequence":       func(f *Funded) { f.Tx.TxIn[0].Sequence++ },
		"other input":    func(f *Funded) { f.Tx.TxIn[0], f.Tx.TxIn[1] = f.Tx.TxIn[1], f.Tx.TxIn[0] },
		"no coin":        func(f *Funded) { f.Tx.TxIn = f.Tx.TxIn[:1] },
		"less output":    func(f *Funded) { f.Tx.TxOut[0] = &wire.TxOut{Value: 1, PkScript: f.Tx.TxOut[0].PkScript} },
		"other script":   func(f *Funded) { f.Tx.TxOut[0] = &wire.TxOut{Value: 20_000, PkScript: peerScript} },
		"unknown output": func(f *Funded) { f.Out.Index = 77 },
		"two claims": func(f *Funded) {
			f.Tx.TxIn[1].PreviousOutPoint = wire.OutPoint{Hash: b.Out.Hash, Index: 0}
		},
	} {
		bad := Funded{Out: b.Out, Tx: good.Copy(), Fee: 5000}
		f(&bad)
		s, out := Apply(nd.s, nd.w.us, []Event{bad})
		if len(out.Release) != 1 || len(out.Chain) != 0 || s.bidOf(b.Out).fee != 0 {
			t.Errorf("%s: accepted", name)
		}
	}
	nd.apply(Funded{Out: b.Out, Tx: good, Fee: 5000})
	nd.mine(130)
	nd.wantEnded(0, true)
}
