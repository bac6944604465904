package onchain

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"testing"

	"lightningrod/chain"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
)

// network is a chain, the tracker and the channels that are closing on it.
type network struct {
	t       testing.TB
	be      backend
	tracker *chain.Tracker
	nodes   []*node
	coins   []coin
	rates   chain.FeeRates
	quiet   bool // the mempool is not watched
}

// node does for one channel what the engine does.
type node struct {
	*network
	w        *world
	owner    uint64
	s        *State
	restarts bool // after every turn
	closely  bool // decode every state, not each eighth
	idle     bool // no checks
	poor     bool // the wallet has nothing
	deaf     bool // what it publishes is lost

	resolved  map[uint64]Resolved
	ended     map[uint64]Ended
	failedAt  map[uint64]uint32
	published map[chainhash.Hash]*wire.MsgTx
	funded    map[chainhash.Hash]coin
	paid      map[wire.OutPoint][]int64 // fees bid for an output, in order
	bumps     []Bump
	outs      []Output
	warned    string
	done      bool

	say func(format string, args ...any) // for scripts: what is done for the first time
}

var testRates = chain.FeeRates{Floor: 253, Slow: 253, Normal: 500, Urgent: 1000}

func newNetwork(t testing.TB, be backend) *network {
	height, hash := be.Tip()
	return &network{t: t, be: be, tracker: chain.NewTracker(height, hash), rates: testRates}
}

// join starts a State for w. It hears of the funding output from now on.
func (n *network) join(w *world) *node {
	n.t.Helper()
	s, err := New(w.p)
	must(n.t, err)
	nd := &node{
		network: n, w: w, owner: uint64(len(n.nodes)), s: s,
		resolved: make(map[uint64]Resolved), ended: make(map[uint64]Ended), failedAt: make(map[uint64]uint32),
		published: make(map[chainhash.Hash]*wire.MsgTx), funded: make(map[chainhash.Hash]coin), paid: make(map[wire.OutPoint][]int64),
	}
	n.nodes = append(n.nodes, nd)
	nd.watch(s.Watches()...)
	nd.apply(Chain{n.rates})
	return nd
}

// apply is one turn, checked, and everything it wants done.
func (nd *node) apply(evs ...Event) {
	nd.t.Helper()
	if nd.idle {
		next, out := Apply(nd.s, nd.w.us, evs)
		nd.s = next
		nd.perform(out)
		return
	}
	before := nd.s.Encode()
	next, out := Apply(nd.s, nd.w.us, evs)
	if !bytes.Equal(before, nd.s.Encode()) {
		nd.t.Fatal("Apply has changed its argument")
	}
	nd.check(next, out, before)
	nd.s = next
	if nd.restarts {
		s, err := decode(next.fixed, next.Encode())
		must(nd.t, err)
		s, _ = Apply(s, nd.w.us, []Event{Chain{nd.rates}})
		nd.s = s
		nd.watch(s.Watches()...)
	}
	nd.perform(out)
}

func (nd *node) check(next *State, out Output, before []byte) {
	nd.t.Helper()
	after := next.Encode()
	if !out.Changed && !bytes.Equal(before, after) {
		nd.t.Fatal("changed, but does not say so")
	}
	if nd.closely || len(nd.outs)%8 == 0 {
		again, err := decode(next.fixed, after)
		if err != nil {
			nd.t.Fatalf("decode: %v", err)
		}
		if !bytes.Equal(after, again.Encode()) {
			nd.t.Fatal("encode(decode(x)) is not x")
		}
		if next.String() != again.String() {
			nd.t.Fatalf("decoded to\n%v\nfrom\n%v", again, next)
		}
	}
	for _, r := range out.Resolved {
		nd.checkResolved(next, r)
	}
	for _, e := range out.Ended {
		if _, twice := nd.ended[e.HTLC]; twice {
			nd.t.Fatalf("received %d ended twice", e.HTLC)
		}
		nd.ended[e.HTLC] = e
	}
}

func (nd *node) checkResolved(s *State, r Resolved) {
	nd.t.Helper()
	h := &nd.w.p.HTLCs[s.index[key{true, r.HTLC}]]
	if old, twice := nd.resolved[r.HTLC]; twice {
		nd.t.Fatalf("offered %d resolved twice, first %+v", r.HTLC, old)
	}
	if h.Preimage != nil {
		nd.t.Fatalf("offered %d was resolved before", r.HTLC)
	}
	if r.Preimage != nil && sha256.Sum256(r.Preimage[:]) != h.Hash {
		nd.t.Fatalf("offered %d resolved with a wrong preimage", r.HTLC)
	}
	if r.Preimage == nil {
		if s.spend == nil || s.depth(s.spend.height) < deep {
			nd.t.Fatalf("offered %d failed without depth", r.HTLC)
		}
		nd.failedAt[r.HTLC] = s.height
	}
	nd.resolved[r.HTLC] = r
}

func (nd *node) perform(out Output) {
	nd.t.Helper()
	nd.outs = append(nd.outs, out)
	if nd.say != nil {
		nd.describe(out)
	}
	nd.done = nd.done || out.Done
	if out.Warn != "" {
		nd.warned = out.Warn
	}
	for _, r := range out.Chain {
		if p, ok := r.(chain.Publish); ok {
			nd.publish(p)
		} else {
			nd.watch(r)
		}
	}
	for _, tx := range out.Release {
		if c, ok := nd.funded[tx.TxHash()]; ok {
			nd.coins = append(nd.coins, c)
		}
	}
	for _, number := range out.Need {
		if number != oldNumber {
			nd.apply(Revoked{Number: number})
			continue
		}
		nd.apply(Revoked{Number: number, HTLCs: nd.w.row()})
	}
	for _, b := range out.Bumps {
		nd.bumps = append(nd.bumps, b)
		if !nd.poor {
			nd.fund(b)
		}
	}
}

// describe says what an Output has that none before it had.
func (nd *node) describe(out Output) {
	for _, r := range out.Chain {
		if p, ok := r.(chain.Publish); ok && nd.published[p.Tx.TxHash()] == nil {
			nd.say("publish %s", nd.txText(p))
		}
	}
	for _, b := range out.Bumps {
		text := fmt.Sprintf("bump %s rate=%d", nd.nameOf(b.Out), b.Rate)
		if b.Extra > 0 {
			text += fmt.Sprintf(" extra=%d", b.Extra)
		}
		nd.say("%s max=%d deadline=%d", text, b.MaxFee, b.Deadline)
	}
	for _, number := range out.Need {
		nd.say("need the HTLCs of %d", number)
	}
	for _, r := range out.Resolved {
		nd.say("resolved offered %d %s", r.HTLC, map[bool]string{true: "failed", false: "fulfilled"}[r.Preimage == nil])
	}
	for _, e := range out.Ended {
		nd.say("ended received %d %s", e.HTLC, map[bool]string{true: "claimed", false: "not claimed"}[e.Claimed])
	}
	if out.Warn != "" {
		nd.say("warn %s", out.Warn)
	}
	if out.Done && !nd.done {
		nd.say("done")
	}
}

func (nd *node) txText(p chain.Publish) string {
	out := p.Tx.TxIn[0].PreviousOutPoint
	name := nd.nameOf(out)
	b := *nd.s.bidOf(out)
	if b.fee > 0 {
		name += fmt.Sprintf(" fee=%d", b.fee)
	}
	return fmt.Sprintf("%s deadline=%d", name, p.Deadline)
}

// nameOf says which output of the channel this is.
func (nd *node) nameOf(out wire.OutPoint) string {
	if out == nd.w.p.Funding {
		return "our commitment"
	}
	if nd.s.spend == nil {
		for in, cm := range nd.w.commits {
			if cm.TxID == out.Hash {
				return "child of " + commitName(in)
			}
		}
	} else {
		for _, o := range nd.s.outputs() {
			if o.out == out {
				return o.name(nd.s.closing)
			}
		}
	}
	return "unknown"
}

func (nd *node) publish(p chain.Publish) {
	id := p.Tx.TxHash()
	nd.published[id] = p.Tx
	if len(p.Tx.TxIn) == 1 && p.Tx.TxIn[0].PreviousOutPoint != nd.w.p.Funding {
		nd.checkFee(p.Tx)
	}
	if nd.deaf {
		return
	}
	_ = nd.be.Publish(context.Background(), p.Tx)
}

// checkFee: half of the value at the most, and never less than before.
func (nd *node) checkFee(tx *wire.MsgTx) {
	nd.t.Helper()
	out := tx.TxIn[0].PreviousOutPoint
	i := -1
	all := nd.s.outputs()
	for n := range all {
		if all[n].out == out {
			i = n
		}
	}
	if i < 0 {
		nd.t.Fatalf("publishes a spend of %s, which is no output of ours", outText(out))
	}
	fee := all[i].amount - sumOut(tx)
	if least := chain.FeerateFloor.Fee(700); fee > max(all[i].amount/2, least) {
		nd.t.Fatalf("fee %d of %d", fee, all[i].amount)
	}
	paid := nd.paid[out]
	if len(paid) > 0 && fee < paid[len(paid)-1] {
		nd.t.Fatalf("fee %d after %v", fee, paid)
	}
	nd.paid[out] = append(paid, fee)
}

func (nd *node) watch(reqs ...chain.Request) {
	nd.t.Helper()
	for _, r := range reqs {
		missed, late := nd.tracker.Watch(nd.owner, r)
		if !late {
			continue
		}
		for h := missed.From; h <= missed.To; h++ {
			b, err := nd.be.Block(h)
			must(nd.t, err)
			facts, err := nd.tracker.Rescan(b, nd.owner)
			must(nd.t, err)
			for _, f := range facts {
				nd.apply(Chain{f.Event})
			}
		}
	}
}

var walletScript = commitment.P2WSH([]byte{txscript.OP_TRUE, txscript.OP_NOP, txscript.OP_NOP, txscript.OP_NOP})

// fund is the wallet: one coin that anyone can spend.
func (nd *node) fund(b Bump) {
	nd.t.Helper()
	var c coin
	if b.Replaces != nil {
		c = nd.funded[b.Replaces.TxHash()]
	} else if len(nd.coins) > 0 {
		c, nd.network.coins = nd.coins[0], nd.coins[1:]
	} else {
		return
	}
	tx := wire.NewMsgTx(2)
	tx.LockTime = b.LockTime
	tx.AddTxIn(&wire.TxIn{PreviousOutPoint: b.Out, Sequence: b.Sequence})
	tx.AddTxIn(&wire.TxIn{PreviousOutPoint: c.out, Sequence: 0xfffffffd, Witness: anyoneWitness})
	tx.TxOut = append(tx.TxOut, b.Outputs...)
	scripts := [][]byte{walletScript}
	for _, o := range b.Outputs {
		scripts = append(scripts, o.PkScript)
	}
	fee := min(b.Rate.Fee(commitment.TxWeight([]int64{b.Witness, 3}, scripts...))+b.Extra, b.MaxFee)
	tx.AddTxOut(&wire.TxOut{Value: b.Prev.Value + c.value - fee - sumOut(&wire.MsgTx{TxOut: b.Outputs}), PkScript: walletScript})
	if tx.TxOut[len(tx.TxOut)-1].Value < 330 {
		nd.t.Fatalf("coin of %d too small for a fee of %d", c.value, fee)
	}
	nd.funded[tx.TxHash()] = c
	nd.apply(Funded{Out: b.Out, Tx: tx, Fee: fee})
}

// sync brings the tracker, and through it every node, up to the tip; then the mempool is looked at.
func (n *network) sync() {
	n.t.Helper()
	for {
		height, hash := n.tracker.Tip()
		tip, _ := n.be.Tip()
		if height > tip {
			n.disconnect()
			continue
		}
		if b, err := n.be.Block(height); err == nil && b.Hash != hash {
			n.disconnect()
			continue
		}
		if height == tip {
			break
		}
		b, err := n.be.Block(height + 1)
		must(n.t, err)
		facts, err := n.tracker.Connect(b)
		must(n.t, err)
		n.deliver(facts)
	}
	if !n.quiet {
		n.look()
	}
}

// disconnect takes a block off. A tracker that has just begun does not know what is below, and takes off more than has left, down to
// where bids have been forgotten.
func (n *network) disconnect() {
	if _, hash := n.tracker.Tip(); hash == (chainhash.Hash{}) {
		for _, nd := range n.nodes {
			clear(nd.paid)
		}
	}
	n.deliver(n.tracker.Disconnect())
}

// look tells of the mempool.
func (n *network) look() {
	for _, tx := range n.be.Mempool() {
		n.deliver(n.tracker.Mempool(tx))
	}
}

// deliver gives each node its facts as one turn.
func (n *network) deliver(facts []chain.Fact) {
	n.t.Helper()
	turns := make([][]Event, len(n.nodes))
	for _, f := range facts {
		for i := range n.nodes {
			if f.Owner == uint64(i) || f.Owner == chain.Everyone {
				turns[i] = append(turns[i], Chain{f.Event})
			}
		}
	}
	for i, evs := range turns {
		if len(evs) > 0 {
			n.nodes[i].apply(evs...)
		}
	}
}

// mine makes blocks one by one.
func (n *network) mine(blocks int) {
	n.t.Helper()
	for range blocks {
		_, err := n.be.Mine(1, nil)
		must(n.t, err)
		n.sync()
	}
}

func (n *network) height() uint32 {
	h, _ := n.be.Tip()
	return h
}

// mineTo makes blocks up to a height.
func (n *network) mineTo(height uint32) {
	n.t.Helper()
	for n.height() < height {
		n.mine(1)
	}
}

func (n *network) reorg(depth int) {
	n.t.Helper()
	must(n.t, n.be.Reorg(depth))
	n.sync()
}

// send publishes a transaction of the peer, which must be valid.
func (n *network) send(txs ...*wire.MsgTx) {
	n.t.Helper()
	for _, tx := range txs {
		if err := n.be.Publish(context.Background(), tx); err != nil {
			n.t.Fatalf("the peer's transaction: %v", err)
		}
	}
	n.sync()
}

// force puts a transaction into the next block, whatever it conflicts with.
func (c *toyChain) force(txs ...*wire.MsgTx) {
	rest := c.Mempool()
	c.refill(append(txs, rest...))
}

// account is what the best chain has for a node.
type account struct {
	gross  int64 // of the outputs swept
	net    int64 // to the sweep script
	wallet int64 // fees paid by the wallet
}

// account adds up transactions of the best chain from a height on.
func (nd *node) account(from uint32) (a account) {
	nd.t.Helper()
	outs := map[wire.OutPoint]*wire.TxOut{nd.w.p.Funding: nd.w.fundingOut}
	for h := from; h <= nd.height(); h++ {
		b, err := nd.be.Block(h)
		must(nd.t, err)
		for _, tx := range b.Txs {
			id := tx.TxHash()
			for i, o := range tx.TxOut {
				outs[wire.OutPoint{Hash: id, Index: uint32(i)}] = o
			}
			if string(tx.TxOut[0].PkScript) == string(nd.w.p.Sweep) {
				a.gross += outs[tx.TxIn[0].PreviousOutPoint].Value
				a.net += tx.TxOut[0].Value
			}
			if c, ok := nd.funded[id]; ok {
				change := tx.TxOut[len(tx.TxOut)-1].Value
				a.wallet += c.value - change
				if len(tx.TxOut) == 1 {
					a.wallet += commitment.AnchorAmount
				}
			}
		}
	}
	return a
}

func (a account) String() string {
	return fmt.Sprintf("swept %d sat, got %d, wallet paid %d", a.gross, a.net, a.wallet)
}

// toy is a network over a toyChain with coins.
func toy(t testing.TB) (*network, *toyChain) {
	be := newToyChain(100)
	n := newNetwork(t, be)
	n.grant(be, 40)
	return n, be
}

func (n *network) grant(be *toyChain, coins int) {
	for range coins {
		o := &wire.TxOut{Value: 3_000_000, PkScript: anyonePk}
		n.coins = append(n.coins, coin{be.grant(o), o.Value})
	}
}

// open makes a channel on a toyChain.
func (n *network) open(be *toyChain, c config, htlcs ...testHTLC) *node {
	n.t.Helper()
	_, pkScript := commitment.FundingScript(sides[0].privs.BasePoints().Funding, sides[1].privs.BasePoints().Funding)
	orDefault(&c.capacity, 1_000_000)
	c.funding = be.grant(&wire.TxOut{Value: c.capacity, PkScript: pkScript})
	c.height = n.height()
	return n.join(newWorld(n.t, c, htlcs...))
}

// peerCoin is a coin for the peer.
func (c *toyChain) peerCoin() coin {
	o := &wire.TxOut{Value: 3_000_000, PkScript: anyonePk}
	return coin{c.grant(o), o.Value}
}
