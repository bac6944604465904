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
