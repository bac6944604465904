package onchain

import (
	"fmt"
	"slices"
	"testing"

	"lightningrod/chain"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/wire"
)

// The tests of this file are the attacks and bugs of rows A1 to A20 of the reliability catalogue that concern this
// package. Each is named after its row.

// each runs f for every commitment that may confirm, with and without restarts.
func each(t *testing.T, ins []int, f func(t *testing.T, in int, restarts bool)) {
	ins = ins[:(len(ins)+sample-1)/sample]
	for _, in := range ins {
		for _, restarts := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/restarts=%v", commitName(in), restarts), func(t *testing.T) { f(t, in, restarts) })
		}
	}
}

// confirm gets a commitment into the next block: ours by Close, the peer's by the peer.
func (nd *node) confirm(in int) {
	nd.t.Helper()
	if in == inOurs {
		nd.apply(Close{})
	} else {
		nd.send(nd.w.tx(in))
	}
	nd.mine(1)
	if _, _, _, ok := nd.s.Closed(); !ok {
		nd.t.Fatalf("%s commitment is not confirmed", commitName(in))
	}
}

// wantResolved: offered HTLC id ended so. how: fulfilled, failed, open.
func (nd *node) wantResolved(id uint64, how string) {
	nd.t.Helper()
	r, ok := nd.resolved[id]
	got := "open"
	if ok && r.Preimage != nil {
		got = "fulfilled"
	} else if ok {
		got = "failed"
	}
	if got != how {
		nd.t.Fatalf("offered %d is %s, want %s\n%v", id, got, how, nd.s)
	}
}

func (nd *node) wantEnded(id uint64, claimed bool) {
	nd.t.Helper()
	if e, ok := nd.ended[id]; !ok || e.Claimed != claimed {
		nd.t.Fatalf("received %d ended: %v, claimed %v, want %v\n%v", id, ok, e.Claimed, claimed, nd.s)
	}
}

func (nd *node) wantDone() {
	nd.t.Helper()
	if !nd.done {
		nd.t.Fatalf("not done:\n%v", nd.s)
	}
}

var liveCommits = []int{inOurs, inOlder, inNewer}

// TestA1_KnownPreimageNeverFails: the HTLC is missing in the commitment that confirms, but the peer has fulfilled it.
func TestA1_KnownPreimageNeverFails(t *testing.T) {
	each(t, []int{inOlder, inNewer}, func(t *testing.T, in int, restarts bool) {
		n, be := toy(t)
		nd := n.open(be, config{}, testHTLC{offered: true, sat: 50_000, expiry: 120, secret: "a", in: inAll &^ in, known: true},
			testHTLC{offered: true, sat: 40_000, expiry: 120, secret: "b", in: inAll &^ in})
		nd.restarts = restarts
		nd.confirm(in)
		nd.mine(4)
		nd.wantResolved(1, "open")
		nd.mine(1)
		nd.wantResolved(1, "failed") // nobody knows its preimage, and it is not there
		nd.mine(150)
		nd.wantResolved(0, "open") // was told before the close; engine_test.go refuses a second answer
		nd.wantDone()
	})
}

// TestA2_OneRuleForAllCommitments is A1 with every commitment, ours too, and a preimage that is learnt on chain.
func TestA2_OneRuleForAllCommitments(t *testing.T) {
	each(t, liveCommits, func(t *testing.T, in int, restarts bool) {
		n, be := toy(t)
		nd := n.open(be, config{},
			testHTLC{offered: true, sat: 50_000, expiry: 125, secret: "a", in: inAll &^ in, known: true},
			testHTLC{offered: true, sat: 50_000, expiry: 125, secret: "twin", in: inAll},
			testHTLC{offered: true, sat: 30_000, expiry: 125, secret: "twin", in: inAll &^ in},
			testHTLC{offered: true, sat: 40_000, expiry: 125, secret: "b", in: inAll &^ in})
		nd.restarts = restarts
		nd.confirm(in)
		n.send(nd.w.peerHTLC(in, 1, be.peerCoin(), 5000)) // shows the preimage of 2 as well, in the mempool
		nd.wantResolved(1, "fulfilled")
		nd.wantResolved(2, "fulfilled")
		nd.mine(150)
		nd.wantResolved(3, "failed")
		nd.wantDone()
	})
}

// TestA3_PreimageExtraction: the peer fails an HTLC off chain, does not revoke, and claims it on its older commitment.
func TestA3_PreimageExtraction(t *testing.T) {
	for _, confirmed := range []bool{false, true} {
		t.Run(fmt.Sprintf("confirmed=%v", confirmed), func(t *testing.T) {
			n, be := toy(t)
			nd := n.open(be, config{}, testHTLC{offered: true, sat: 50_000, expiry: 120, secret: "a", in: inOlder | inOld})
			nd.confirm(inOlder)
			tx := nd.w.peerHTLC(inOlder, 0, be.peerCoin(), 5000)
			if confirmed {
				n.quiet = true
				be.force(tx)
				n.mine(1)
			} else {
				n.send(tx)
				be.evict(tx)
			}
			nd.wantResolved(0, "fulfilled")
			nd.mine(150)
		})
	}
}

// TestA4_EqualHashAndAmount: two HTLCs that only their ids tell apart.
func TestA4_EqualHashAndAmount(t *testing.T) {
	each(t, liveCommits, func(t *testing.T, in int, restarts bool) {
		for _, first := range []int{0, 1} {
			n, be := toy(t)
			nd := n.open(be, config{},
				testHTLC{offered: true, sat: 50_000, expiry: 110, secret: "a", in: inAll},
				testHTLC{offered: true, sat: 50_000, expiry: 130, secret: "a", in: inAll})
			nd.restarts = restarts
			nd.confirm(in)
			if first == 0 { // 0 times out, then the peer claims 1
				nd.mineTo(120)
				nd.wantResolved(0, "failed")
				nd.wantResolved(1, "open")
				n.send(nd.w.peerHTLC(in, 1, be.peerCoin(), 5000))
				nd.wantResolved(1, "fulfilled")
				nd.mine(150)
			} else { // the peer claims 1, so the preimage of 0 is known; its output is taken back all the same
				n.send(nd.w.peerHTLC(in, 1, be.peerCoin(), 5000))
				nd.wantResolved(0, "fulfilled")
				nd.wantResolved(1, "fulfilled")
				nd.mine(150)
			}
			a := nd.account(100)
			want := int64(400_000 + 50_000) // balance, and HTLC 0
			if a.gross != want {
				t.Fatalf("%v, want %d\n%v", a, want, nd.s)
			}
			nd.wantDone()
		}
	})
}

// TestA4_ReceivedTwins: claimed by id, not by hash.
func TestA4_ReceivedTwins(t *testing.T) {
	each(t, liveCommits, func(t *testing.T, in int, restarts bool) {
		n, be := toy(t)
		nd := n.open(be, config{},
			testHTLC{sat: 50_000, expiry: 130, secret: "a", in: inAll},
			testHTLC{sat: 50_000, expiry: 130, secret: "a", in: inAll})
		nd.restarts = restarts
		nd.confirm(in)
		nd.apply(Settle{HTLC: 1, Preimage: preimageOf("a")})
		nd.mineTo(131)
		n.send(nd.w.peerHTLC(in, 0, be.peerCoin(), 5000))
		nd.mine(150)
		nd.wantEnded(0, false)
		nd.wantEnded(1, true)
		nd.wantDone()
	})
}

// TestA5_RevokedFailsAll: a revoked commitment has one of several HTLCs with the same hash and amount; all are failed.
func TestA5_RevokedFailsAll(t *testing.T) {
	n, be := toy(t)
	nd := n.open(be, config{},
		testHTLC{offered: true, sat: 50_000, expiry: 300, secret: "a", in: inAll},
		testHTLC{offered: true, sat: 50_000, expiry: 300, secret: "a", in: inAll &^ inOld},
		testHTLC{offered: true, sat: 50_000, expiry: 300, secret: "a", in: inAll &^ inOld})
	nd.confirm(inOld)
	nd.mine(4)
	nd.wantResolved(0, "open")
	nd.mine(1)
	for id := range uint64(3) {
		nd.wantResolved(id, "failed")
	}
	nd.mine(100)
	nd.wantDone()
	if a := nd.account(100); a.gross != 1_000_000-nd.w.commits[inOld].Fee-2*commitment.AnchorAmount {
		t.Fatalf("%v: not everything", a)
	}
}

// TestA6_ConflictHitsOneClaim: the peer spends two of three HTLCs of a revoked commitment in one transaction.
func TestA6_ConflictHitsOneClaim(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		n, be := toy(t)
		nd := n.open(be, config{},
			testHTLC{sat: 50_000, expiry: 102, secret: "a", in: inAll},
			testHTLC{sat: 60_000, expiry: 103, secret: "b", in: inAll},
			testHTLC{sat: 70_000, expiry: 103, secret: "c", in: inAll})
		nd.restarts = restarts
		nd.deaf = true
		nd.confirm(inOld)
		nd.mine(3)
		w, cm := nd.w, nd.w.commits[inOld]
		both := w.htlcTx(cm, []*commitment.HTLCOutput{w.output(inOld, 2), w.output(inOld, 1)}, be.peerCoin(), 9000)
		be.force(both)
		nd.deaf = false
		nd.mine(120)
		nd.wantDone()
		if a := nd.account(100); a.gross != 1_000_000-cm.Fee-2*commitment.AnchorAmount {
			t.Fatalf("%v: not everything\n%v", a, nd.s)
		}
		nd.onePerInput()
	}
}

// onePerInput: nothing published spends more than one output of the channel.
func (nd *node) onePerInput() {
	nd.t.Helper()
	for _, tx := range nd.published {
		ours := 0
		for _, in := range tx.TxIn {
			if in.PreviousOutPoint.Hash == nd.s.closing.txid {
				ours++
			}
		}
		if ours > 1 {
			nd.t.Fatalf("a claim spends %d outputs of the commitment", ours)
		}
	}
}

// TestA7_PreimagesOneByOne between blocks, after other claims were made.
func TestA7_PreimagesOneByOne(t *testing.T) {
	each(t, liveCommits, func(t *testing.T, in int, restarts bool) {
		n, be := toy(t)
		nd := n.open(be, config{},
			testHTLC{sat: 50_000, expiry: 140, secret: "a", in: inAll, known: true},
			testHTLC{sat: 60_000, expiry: 140, secret: "b", in: inAll},
			testHTLC{sat: 70_000, expiry: 140, secret: "c", in: inAll})
		nd.restarts = restarts
		nd.confirm(in)
		nd.apply(Settle{HTLC: 2, Preimage: preimageOf("c")})
		nd.mine(1)
		nd.apply(Settle{HTLC: 1, Preimage: preimageOf("a")}) // a wrong one
		nd.apply(Settle{HTLC: 1, Preimage: preimageOf("b")}, Settle{HTLC: 1, Preimage: preimageOf("b")}, Settle{HTLC: 9})
		nd.mine(130)
		for id := range uint64(3) {
			nd.wantEnded(id, true)
		}
		nd.wantDone()
		if a := nd.account(100); a.gross != 500_000+180_000 {
			t.Fatalf("%v\n%v", a, nd.s)
		}
	})
}

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
				if o.out == p.Tx.TxIn[0].PreviousOutPoint {
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

// TestA13_Reorganisation replaces the confirmed commitment by another valid one, at every depth that is not final, before
// and after the preimage is known.
func TestA13_Reorganisation(t *testing.T) {
	for _, first := range append([]int{inOld}, liveCommits...) {
		for _, second := range append([]int{inOld}, liveCommits...) {
			for _, depth := range []int{3, 1, 5}[:(2+sample)/sample] {
				early := depth == 3 // the preimage comes before the reorganisation
				t.Run(fmt.Sprintf("%s,%s,%d", commitName(first), commitName(second), depth), func(t *testing.T) {
					n, be := toy(t)
					nd := n.open(be, config{},
						testHTLC{offered: true, sat: 50_000, expiry: 120, secret: "a", in: inAll},
						testHTLC{offered: true, sat: 45_000, expiry: 125, secret: "b", in: second},
						testHTLC{sat: 60_000, expiry: 130, secret: "c", in: inAll},
						testHTLC{sat: 65_000, expiry: 130, secret: "d", in: inAll})
					nd.restarts = depth == 3
					nd.confirm(first)
					if early {
						nd.apply(Settle{HTLC: 0, Preimage: preimageOf("c")})
					}
					nd.mine(depth - 1)
					must(t, be.Reorg(depth))
					be.pool = nil
					if second != inOurs || first == inOurs {
						must(t, be.Publish(t.Context(), nd.w.tx(second)))
					}
					n.sync()
					nd.mine(1)
					if owner, number, _, ok := nd.s.Closed(); !ok || number != nd.w.commits[second].Spec.Number || (owner == Local) != (second == inOurs) {
						t.Fatalf("not recognised: %v", nd.s)
					}
					nd.wantResolved(1, "open")
					nd.apply(Settle{HTLC: 0, Preimage: preimageOf("c")})
					nd.mineTo(131)
					if second != inOld {
						n.send(nd.w.peerHTLC(second, 3, be.peerCoin(), 3000))
					}
					nd.mine(20)
					nd.idle, nd.restarts = true, false
					nd.mine(110)
					nd.wantResolved(0, "failed")
					nd.wantResolved(1, "failed")
					nd.wantEnded(0, second != inOld)
					nd.wantEnded(1, false)
					nd.wantDone()
					want := int64(500_000 + 60_000)
					if cm := nd.w.commits[second]; second == inOld {
						want = 1_000_000 - cm.Fee - 2*commitment.AnchorAmount
					}
					if a := nd.account(100); a.gross != want {
						t.Fatalf("%v, want %d\n%v", a, want, nd.s)
					}
				})
			}
		}
	}
}

// TestA13_ReorganisationOfClaims: each claim, and the second stage, leaves the chain again and comes back.
func TestA13_ReorganisationOfClaims(t *testing.T) {
	each(t, append([]int{inOld}, liveCommits...), func(t *testing.T, in int, restarts bool) {
		n, be := toy(t)
		nd := n.open(be, config{},
			testHTLC{offered: true, sat: 50_000, expiry: 108, secret: "a", in: inAll},
			testHTLC{sat: 60_000, expiry: 130, secret: "c", in: inAll, known: true})
		nd.restarts = restarts
		nd.confirm(in)
		for i := range 20 {
			nd.mine(1)
			depth := 1 + i%5
			must(t, be.Reorg(depth))
			if i%2 == 0 {
				be.pool = nil // and the mempool has forgotten them
			}
			n.sync()
			nd.mine(depth)
		}
		nd.mine(130)
		nd.wantResolved(0, "failed")
		nd.wantDone()
	})
}

// TestA17_RecordsNotHashes: a preimage that the peer shows for an HTLC we offered is not used for one it offered, which
// forwarding has to decide about.
func TestA17_RecordsNotHashes(t *testing.T) {
	each(t, liveCommits, func(t *testing.T, in int, restarts bool) {
		n, be := toy(t)
		nd := n.open(be, config{}, testHTLC{offered: true, sat: 50_000, expiry: 120, secret: "a", in: inAll},
			testHTLC{sat: 60_000, expiry: 150, secret: "a", in: inAll})
		nd.restarts = restarts
		nd.confirm(in)
		n.send(nd.w.peerHTLC(in, 0, be.peerCoin(), 5000))
		nd.wantResolved(0, "fulfilled")
		nd.mine(20)
		received := nd.w.commits[in].OutPoint(int(nd.w.output(in, 1).Index))
		for _, tx := range nd.published {
			if spends(tx, received) {
				t.Fatal("claims the received HTLC without having been told")
			}
		}
		nd.apply(Settle{HTLC: 0, Preimage: preimageOf("a")})
		nd.mine(130)
		nd.wantEnded(0, true)
	})
}

// TestA18_ForeignShapes: what spends an HTLC output is judged by what it spends and pays, not by its shape.
func TestA18_ForeignShapes(t *testing.T) {
	t.Run("the peer's timeout is not our success", func(t *testing.T) {
		n, be := toy(t)
		nd := n.open(be, config{}, testHTLC{sat: 60_000, expiry: 110, secret: "a", in: inAll})
		nd.confirm(inOurs)
		nd.mineTo(111)
		w, o := nd.w, nd.w.output(inOurs, 0)
		// With more inputs, and outputs that look like the second stage but for a byte.
		s := commitment.SpendTimeout(&w.commits[inOurs].Keys, o.HTLC, w.commits[inOurs].OutPoint(int(o.Index)))
		c := be.peerCoin()
		tx := &wire.MsgTx{Version: 2, LockTime: s.LockTime, TxIn: []*wire.TxIn{{PreviousOutPoint: c.out, Witness: anyoneWitness}, s.Input()}}
		almost := slices.Clone(o.Tx.TxOut[0].PkScript)
		almost[33] ^= 1
		tx.TxOut = []*wire.TxOut{{Value: 60_000, PkScript: almost}, {Value: c.value - 9000, PkScript: peerScript}}
		m := commitment.NewMidstate(tx)
		tx.TxIn[1].Witness = s.Witness(w.them.Sign([]commitment.SignJob{s.Job(&m, tx, 1)})[0])
		n.send(tx)
		nd.mine(1)
		nd.apply(Settle{HTLC: 0, Preimage: preimageOf("a")})
		nd.mine(130)
		nd.wantEnded(0, false)
		nd.wantDone()
		if a := nd.account(100); a.gross != 500_000 {
			t.Fatal(a)
		}
	})
	t.Run("second stages at other places", func(t *testing.T) {
		n, be := toy(t)
		nd := n.open(be, config{}, testHTLC{sat: 60_000, expiry: 103, secret: "a", in: inAll},
			testHTLC{offered: true, sat: 50_000, expiry: 103, secret: "b", in: inAll})
		nd.deaf = true
		nd.confirm(inOld)
		nd.mineTo(103)
		w, cm := nd.w, nd.w.commits[inOld]
		be.force(w.peerHTLC(inOld, 0, be.peerCoin(), 9000), w.peerHTLC(inOld, 1, be.peerCoin(), 9000))
		nd.deaf = false
		nd.mine(1)
		nd.wantResolved(0, "fulfilled") // it showed the preimage
		nd.mine(120)
		nd.wantDone()
		if a := nd.account(100); a.gross != 1_000_000-cm.Fee-2*commitment.AnchorAmount {
			t.Fatalf("%v: not everything\n%v", a, nd.s)
		}
	})
	t.Run("the number of a live commitment, another transaction", func(t *testing.T) {
		n, be := toy(t)
		nd := n.open(be, config{}, testHTLC{offered: true, sat: 60_000, expiry: 110, secret: "a", in: inAll})
		tx := nd.w.tx(inNewer)
		tx.TxOut = append(tx.TxOut, &wire.TxOut{Value: 240, PkScript: peerScript})
		nd.apply(Chain{chain.Spent{Out: nd.w.p.Funding, By: tx, Height: 101}}, Chain{chain.BlockConnected{Height: 101}})
		if owner, _, _, _ := nd.s.Closed(); owner != Unknown || nd.warned == "" {
			t.Fatalf("taken for %v", owner)
		}
		nd.apply(Chain{chain.Spent{Out: wire.OutPoint{Index: 5}, By: nd.w.tx(inNewer), Height: 101}}) // spends no such thing
		_ = be
	})
}

// TestA19_PublishAgain: whatever becomes of a published transaction, the next block asks again.
func TestA19_PublishAgain(t *testing.T) {
	each(t, append([]int{inOld}, liveCommits...), func(t *testing.T, in int, restarts bool) {
		n, be := toy(t)
		nd := n.open(be, config{}, testHTLC{sat: 60_000, expiry: 140, secret: "a", in: inAll, known: true})
		nd.restarts = restarts
		if nd.deaf = true; in == inOurs {
			nd.apply(Close{})
			nd.mine(3)
			nd.deaf = false
			nd.mine(2)
		} else {
			n.send(nd.w.tx(in))
			nd.mine(1)
		}
		nd.deaf = true
		nd.mine(5)
		nd.deaf = false
		nd.mine(130)
		nd.wantDone()
		if a := nd.account(100); a.gross < 560_000 {
			t.Fatal(a)
		}
	})
}

// TestA20_OldState: what is proved to be old is never published; of a commitment that we do not know our balance is saved.
func TestA20_OldState(t *testing.T) {
	htlcs := []testHTLC{
		{offered: true, sat: 60_000, expiry: 110, secret: "a", in: inAll},
		{offered: true, sat: 61_000, expiry: 110, secret: "b", in: inAll},
		{offered: true, sat: 62_000, expiry: 110, secret: "c", in: inOurs},
		{sat: 63_000, expiry: 110, secret: "d", in: inAll, known: true},
	}
	t.Run("told", func(t *testing.T) {
		n, be := toy(t)
		nd := n.open(be, config{stale: true}, htlcs...)
		nd.apply(Close{})
		nd.mine(20)
		if len(nd.published) != 0 || nd.s.MayPublish() {
			t.Fatal("published an old state")
		}
		nd.confirm(inNewer) // the proof does not matter: it is one we know
		nd.mine(150)
		nd.wantDone()
	})
	t.Run("seen", func(t *testing.T) {
		n, be := toy(t)
		nd := n.open(be, config{}, htlcs...)
		tx := nd.w.future(t, config{}, inAll)
		n.send(tx)
		nd.mine(1)
		if owner, number, _, _ := nd.s.Closed(); owner != Unknown || number != 20 || nd.warned == "" {
			t.Fatalf("taken for %v %d", owner, number)
		}
		// Even when a reorganisation takes it away, ours is not published.
		n.reorg(1)
		nd.apply(Close{})
		nd.mine(6)
		for _, p := range nd.published {
			if spends(p, nd.w.p.Funding) {
				t.Fatal("published an old state")
			}
		}
		nd.wantResolved(2, "open") // an output of any commitment might be it: this one has the amount
		const inFuture = 1 << 10
		n.send(nd.w.peerHTLC(inFuture, 0, be.peerCoin(), 4000))
		nd.mine(6)
		nd.wantResolved(0, "fulfilled")
		nd.wantResolved(1, "open") // we cannot take it back, the peer still can claim it
		if a := nd.account(100); a.gross != 500_000-183_000 {
			t.Fatalf("%v\n%v", a, nd.s)
		}
	})
}

// TestForeign: the funding output is spent by something that is no commitment. HTLCs can never be claimed then; the operator
// is warned; and a reorganisation does not make us publish against what may be a cooperative close.
func TestForeign(t *testing.T) {
	n, be := toy(t)
	nd := n.open(be, config{}, testHTLC{offered: true, sat: 60_000, expiry: 110, secret: "a", in: inAll},
		testHTLC{sat: 60_000, expiry: 110, secret: "b", in: inAll, known: true})
	w := nd.w
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(&wire.TxIn{PreviousOutPoint: w.p.Funding, Sequence: 0xfffffffd})
	tx.AddTxOut(wire.NewTxOut(999_000, peerScript))
	job := commitment.SignJob{Key: commitment.KeyFunding, Digest: commitment.FundingDigest(tx, w.script, w.p.Capacity)}
	tx.TxIn[0].Witness = commitment.FundingStack(w.script, w.p.Local.Funding, w.p.Remote.Funding,
		w.us.Sign([]commitment.SignJob{job})[0], w.them.Sign([]commitment.SignJob{job})[0])
	n.send(tx)
	nd.mine(2)
	if owner, _, _, _ := nd.s.Closed(); owner != Foreign || nd.warned == "" {
		t.Fatalf("taken for %v", owner)
	}
	n.reorg(2)
	if len(nd.published) != 0 {
		t.Fatal("publishes against it")
	}
	nd.mine(6)
	nd.wantResolved(0, "failed")
	nd.wantEnded(0, false)
	nd.mine(100)
	nd.wantDone()
}

// TestA13_TimeoutUndone: our claim by timeout is in the chain, a reorganisation takes it out, and the peer claims with the preimage. It
// must not have been failed before six confirmations.
func TestA13_TimeoutUndone(t *testing.T) {
	each(t, liveCommits, func(t *testing.T, in int, restarts bool) {
		for depth := 1; depth <= 5; depth++ {
			n, be := toy(t)
			nd := n.open(be, config{}, testHTLC{offered: true, sat: 60_000, expiry: 110, secret: "a", in: inAll},
				testHTLC{offered: true, sat: 50_000, expiry: 110, secret: "b", in: inAll})
			nd.restarts = restarts
			nd.confirm(in)
			nd.mineTo(110 + uint32(depth))
			nd.wantResolved(0, "open")
			must(t, be.Reorg(depth))
			be.force(nd.w.peerHTLC(in, 0, be.peerCoin(), 5000))
			n.sync()
			nd.mine(6)
			nd.wantResolved(0, "fulfilled")
			nd.wantResolved(1, "failed")
		}
	})
}
