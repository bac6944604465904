package onchain

import (
	"testing"

	"lightningrod/chain"
	"lightningrod/chain/embedded"
	"lightningrod/chain/wallet"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/wire"
)

// TestBumpByWallet: a Bump, field by field, is a call of wallet.Fund; what it gives confirms.
func TestBumpByWallet(t *testing.T) {
	c, err := embedded.New(embedded.Config{})
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	w, err := wallet.New(make([]byte, 32), c.Params(), nil)
	must(t, err)
	script, _, _ := w.NewAddress(wallet.P2WPKH)
	follow := func() {
		for {
			height, _ := w.Tip()
			b, err := c.Block(height + 1)
			if err != nil {
				return
			}
			_, err = w.Connect(b)
			must(t, err)
		}
	}
	_, err = c.Mine(101, script)
	must(t, err)
	follow()
	_, funding := commitment.FundingScript(sides[0].privs.BasePoints().Funding, sides[1].privs.BasePoints().Funding)
	tx, _, err := w.Fund([]*wire.TxOut{wire.NewTxOut(1_000_000, funding), wire.NewTxOut(5_000_000, script)}, 1000, wallet.Options{})
	must(t, err)
	must(t, c.Publish(t.Context(), tx))
	_, err = c.Mine(1, nil)
	must(t, err)
	follow()

	n := newNetwork(t, c)
	n.rates.Normal, n.rates.Urgent = 2000, 3000
	nd := n.join(newWorld(t, config{funding: wire.OutPoint{Hash: tx.TxHash()}, height: n.height()},
		testHTLC{sat: 60_000, expiry: n.height() + 30, secret: "a", in: inAll, known: true}))
	nd.poor = true // answered below
	answered := 0
	answer := func() {
		for ; answered < len(nd.bumps); answered++ {
			b := nd.bumps[answered]
			before := make(map[wire.OutPoint]int64)
			for _, coin := range w.Coins() {
				before[coin.Out] = int64(coin.Value)
			}
			tx, _, err := w.Fund(b.Outputs, b.Rate, wallet.Options{
				Inputs: []wallet.Input{{Out: b.Out, Prev: b.Prev, Sequence: b.Sequence, Witness: b.Witness}},
				Extra:  btcutil.Amount(b.Extra), Replaces: b.Replaces,
			})
			must(t, err)
			fee := b.Prev.Value - sumOut(tx)
			for _, in := range tx.TxIn[1:] {
				fee += before[in.PreviousOutPoint]
			}
			nd.apply(Funded{Out: b.Out, Tx: tx, Fee: fee})
			if bid := nd.s.bidOf(b.Out); bid.fee != fee || bid.funded == nil {
				t.Fatalf("the answer is not taken: %d sat, bump %+v\n%v", fee, b, nd.outs[len(nd.outs)-1].Release)
			}
		}
	}
	nd.apply(Close{})
	answer()
	if got := len(c.Mempool()); got != 2 {
		t.Fatalf("%d transactions in the mempool, want the commitment and its child", got)
	}
	nd.mine(1)
	follow()
	answer()
	if len(c.Mempool()) != 1 {
		t.Fatal("no HTLC-success transaction")
	}
	// Fees rise little by little: what is asked for is enough to replace what was there, or it is not asked for.
	before := answered
	for range 40 {
		n.rates.Normal += n.rates.Normal / 50
		n.rates.Urgent = max(n.rates.Urgent, n.rates.Normal)
		nd.apply(Chain{n.rates})
		answer()
	}
	if n := answered - before; n < 3 || n > 20 {
		t.Errorf("replaced %d times while the rate doubled", n)
	}
	// The same once more for more, in place of the first.
	before = answered
	n.rates.Urgent, n.rates.Normal = 9000, 8000
	nd.apply(Chain{n.rates})
	answer()
	pool := c.Mempool()
	if len(pool) != 1 || pool[0].TxHash() != nd.s.bidOf(pool[0].TxIn[0].PreviousOutPoint).funded.TxHash() {
		t.Fatal("not replaced")
	}
	nd.mine(6)
	nd.wantEnded(0, true)
	if answered != before+1 {
		t.Fatalf("%d bumps", answered-before)
	}
}

// TestA13_CoinsGone: a coin that pays for an HTLC transaction leaves the chain for good, perhaps since the claim that made it was replaced in
// a reorganisation. Other coins are asked for until there are some, also when what is bid cannot rise any more.
func TestA13_CoinsGone(t *testing.T) {
	n, be := toy(t)
	nd := n.open(be, config{}, testHTLC{sat: 60_000, expiry: 130, secret: "a", in: inAll, known: true})
	nd.confirm(inOurs)
	out := nd.w.commits[inOurs].OutPoint(int(nd.w.output(inOurs, 0).Index))
	be.limit = -1 // blocks are full
	nd.mineTo(140)
	first, fee := nd.s.bidOf(out).funded, nd.s.bidOf(out).fee
	if first == nil || fee < 25_000 {
		t.Fatalf("bid of %d sat, want nearly half of 60,000", fee)
	}
	gone := Chain{chain.Stranded{Tx: first.TxHash()}}
	nd.poor = true
	for name, step := range map[string]struct {
		ev   Event
		asks bool
	}{"told": {gone, true}, "told again": {gone, true}, "something else": {Chain{chain.Stranded{}}, false}, "rates": {Chain{n.rates}, false}} {
		before := len(nd.bumps)
		nd.apply(step.ev)
		asked := nd.bumps[before:]
		if len(asked) != map[bool]int{true: 1}[step.asks] || step.asks && (asked[0].Out != out || asked[0].Replaces != nil) {
			t.Errorf("%s: asks for %+v", name, asked)
		}
		if nd.s.bidOf(out).funded != first {
			t.Errorf("%s: the transaction is given up before there is another", name)
		}
	}
	nd.poor = false
	nd.apply(gone)
	second := nd.s.bidOf(out).funded
	if second == first || second.TxIn[1].PreviousOutPoint == first.TxIn[1].PreviousOutPoint {
		t.Fatal("no other coin is spent")
	}
	before := len(nd.bumps)
	nd.apply(gone)
	if len(nd.bumps) != before {
		t.Error("what has been replaced is asked for again")
	}
	be.limit = 0
	nd.mine(150)
	nd.wantEnded(0, true)
}
