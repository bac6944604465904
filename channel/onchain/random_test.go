package onchain

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"lightningrod/chain"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/wire"
)

var (
	seedFlag = flag.Uint64("seed", 0, "of TestAdversary, 0: by the clock")
	runsFlag = flag.Int("runs", 40/sample, "of TestAdversary")
)

// TestAdversary lets a peer do whatever consensus and relay permit, in any order, with reorganisations, full blocks, an empty wallet and
// restarts in between, and looks at the end whether everything that is ours came home.
func TestAdversary(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1_000_000_000
	}
	for i := range uint64(*runsFlag) {
		if !t.Run(fmt.Sprint(seed+i), func(t *testing.T) { newAdversary(t, seed+i).run() }) {
			t.Fatalf("again with -run TestAdversary -seed %d -runs 1", seed+i)
		}
	}
}

// adversary is the peer, and the weather.
type adversary struct {
	*node
	be    *toyChain
	r     *rand.Rand
	txs   []*wire.MsgTx // the peer's, to be published again
	hard  int           // blocks left for which coins or room are short
	top   uint32        // highest block there was
	lastS map[int]uint32
	log   []string
}

func newAdversary(t *testing.T, seed uint64) *adversary {
	r := rand.New(rand.NewPCG(seed, 0))
	n, be := toy(t)
	c := config{local: 100_000 + r.Int64N(800_000), opener: r.IntN(2) == 0, single: r.IntN(3) == 0, delay: 20}
	var htlcs []testHTLC
	ins := []int{inAll, inAll, inAll, inOurs | inNewer, inOlder | inOld, inNewer, inOurs | inOlder | inOld, inOld, inOurs}
	for range r.IntN(6) {
		h := testHTLC{
			offered: r.IntN(2) == 0, sat: 200 + r.Int64N(12_000), expiry: 120 + r.Uint32N(30), secret: fmt.Sprint(r.IntN(4)), in: ins[r.IntN(len(ins))],
			known: r.IntN(5) == 0,
		}
		if r.IntN(3) == 0 && len(htlcs) > 0 {
			h = htlcs[len(htlcs)-1]
			h.known = r.IntN(5) == 0
		}
		htlcs = append(htlcs, h)
	}
	a := &adversary{node: n.open(be, c, htlcs...), be: be, r: r, lastS: make(map[int]uint32)}
	a.restarts = r.IntN(4) == 0
	for i := range htlcs {
		if !htlcs[i].offered && htlcs[i].known {
			a.lastS[i] = a.height()
		}
	}
	return a
}

func (a *adversary) note(format string, args ...any) {
	a.log = append(a.log, fmt.Sprintf("%d: ", a.height())+fmt.Sprintf(format, args...))
}

func (a *adversary) run() {
	defer func() {
		if a.t.Failed() {
			for _, l := range a.log {
				a.t.Log(l)
			}
			a.t.Log(a.s)
		}
	}()
	for range 60 + a.r.IntN(60) {
		a.step()
	}
	a.be.limit, a.poor, a.deaf, a.quiet = 0, false, false, false
	a.note("calm")
	if _, _, _, ok := a.s.Closed(); !ok {
		a.apply(Close{})
	}
	for range 60 {
		a.takeTimeouts()
		a.mine(1)
	}
	a.mineTo(max(a.height(), 200))
	a.idle, a.restarts = true, false
	a.mineTo(max(a.height()+110, 310))
	a.judge()
}

func (a *adversary) step() {
	a.top = max(a.top, a.height())
	if a.hard > 0 {
		if a.hard--; a.hard == 0 {
			a.be.limit, a.poor, a.deaf, a.quiet = 0, false, false, false
		}
	}
	switch k := a.r.IntN(100); {
	case k < 45:
		a.mine(1)
	case k < 50:
		a.close()
	case k < 75:
		a.peerTx()
	case k < 79 && len(a.be.pool) > 0:
		// Only what the peer pays for: its own transaction vanishes, perhaps after it has thrown out ours.
		if p := a.be.pool[a.r.IntN(len(a.be.pool))]; a.published[p.tx.TxHash()] == nil {
			a.note("evict %.8s", p.tx.TxHash())
			a.be.evict(p.tx)
		}
	case k < 84 && a.height() > max(a.top-5, 100):
		// Never deeper than five below the highest block there was.
		depth := 1 + a.r.IntN(int(a.height()-max(a.top-5, 100)))
		a.note("reorganisation of %d", depth)
		must(a.t, a.be.Reorg(depth))
		if a.r.IntN(3) == 0 {
			a.be.pool = nil
		}
		a.sync()
	case k < 92:
		a.tell()
	case k < 95:
		f := func() chain.FeePerKw { return chain.FeePerKw(253 + a.r.IntN(1500)) }
		a.apply(Chain{chain.FeeRates{Floor: 253, Slow: f(), Normal: f(), Urgent: f()}})
	case k < 96:
		a.reboot(uint32(a.r.IntN(4)))
	case k < 98 && a.hard == 0:
		a.hard = 3
		a.be.limit, a.poor, a.deaf, a.quiet = a.r.IntN(2), a.r.IntN(2) == 0, a.r.IntN(3) == 0, a.r.IntN(2) == 0
		a.note("hard times: room for %d, poor %v, deaf %v, quiet %v", a.be.limit, a.poor, a.deaf, a.quiet)
	default:
		a.look()
	}
}

// reboot is a restart of everything: the State as it is on disk, and a tracker that begins some blocks below it, because other
// channels have seen less.
func (a *adversary) reboot(below uint32) {
	a.note("restart, from %d below", below)
	a.sync()
	b, err := a.be.Block(a.height() - below)
	must(a.t, err)
	a.network.tracker = chain.NewTracker(b.Height, b.Hash)
	a.s, err = decode(a.s.fixed, a.s.Encode())
	must(a.t, err)
	a.watch(a.s.Watches()...)
	a.sync()
}

// offer is the peer's; what the rules forbid does not happen.
func (a *adversary) offer(tx *wire.MsgTx) {
	if err := a.be.Publish(context.Background(), tx); err == nil {
		a.txs = append(a.txs, tx)
		a.note("peer %.8s", tx.TxHash())
	}
}

func (a *adversary) close() {
	if a.height() > 112 && len(a.txs) > 0 {
		return // late closes prove nothing: they are the caller's to prevent
	}
	in := []int{inOurs, inOlder, inNewer, inOld}[a.r.IntN(4)]
	if in == inOlder && len(a.w.p.Theirs) == 1 {
		in = inOld
	}
	a.note("close with %s", commitName(in))
	if in == inOurs {
		a.apply(Close{})
		return
	}
	a.offer(a.w.tx(in))
}

// confirmed is which commitment is on the chain, 0 for none.
func (a *adversary) confirmed() int {
	if _, _, _, ok := a.s.Closed(); ok {
		for in, cm := range a.w.commits {
			if cm.TxID == a.s.closing.txid {
				return in
			}
		}
	}
	return 0
}

func (a *adversary) peerTx() {
	in := a.confirmed()
	if in == 0 {
		return
	}
	cm := a.w.commits[in]
	fee := 200 + a.r.Int64N(8000)
	switch a.r.IntN(5) {
	case 0: // its balance, or its second stages
		if in != inOurs && cm.ToOwner >= 0 {
			a.offer(a.w.peerDelayed(in, cm.OutPoint(cm.ToOwner), cm.Tx.TxOut[cm.ToOwner].Value))
		}
		for _, tx := range a.txs {
			for i, o := range tx.TxOut {
				if in != inOurs && string(o.PkScript) == string(a.s.closing.second) {
					a.offer(a.w.peerDelayed(in, wire.OutPoint{Hash: tx.TxHash(), Index: uint32(i)}, o.Value))
				}
			}
		}
	case 1: // several at once
		var os []*commitment.HTLCOutput
		for i := range cm.HTLCs {
			if o := &cm.HTLCs[i]; in != inOurs && (len(os) == 0 || o.HTLC.Offered == os[0].HTLC.Offered && o.Tx.LockTime == os[0].Tx.LockTime) {
				os = append(os, o)
			}
		}
		if len(os) > 0 {
			a.offer(a.w.htlcTx(cm, os, a.be.peerCoin(), fee))
		}
	case 2: // something old again
		if len(a.txs) > 0 {
			a.offer(a.txs[a.r.IntN(len(a.txs))])
		}
	default:
		if len(a.w.htlcs) > 0 {
			i := a.r.IntN(len(a.w.htlcs))
			if tx := a.w.peerHTLC(in, i, a.be.peerCoin(), fee); tx != nil {
				a.offer(tx)
			}
		}
	}
	if a.r.IntN(2) == 0 && !a.quiet {
		a.look()
	}
}

// takeTimeouts is the peer taking back what we do not claim.
func (a *adversary) takeTimeouts() {
	in := a.confirmed()
	if in == 0 {
		return
	}
	for i, h := range a.w.htlcs {
		if !h.offered && a.height() > h.expiry+3 {
			if tx := a.w.peerHTLC(in, i, a.be.peerCoin(), 400); tx != nil {
				a.offer(tx)
			}
		}
	}
}

// tell brings a preimage from upstream.
func (a *adversary) tell() {
	var received []int
	for i := range a.w.htlcs {
		if !a.w.htlcs[i].offered {
			received = append(received, i)
		}
	}
	if len(received) == 0 {
		return
	}
	i := received[a.r.IntN(len(received))]
	if _, again := a.lastS[i]; !again {
		a.lastS[i] = a.height()
	}
	a.note("settle %v", a.w.p.HTLCs[i].key())
	a.apply(Settle{a.w.p.HTLCs[i].ID, preimageOf(a.w.htlcs[i].secret)})
}

// confirmedSpend is who spent an output on the best chain.
type confirmedSpend struct {
	tx     *wire.MsgTx
	in     int
	height uint32
}

// judge looks at the chain as it is now.
func (a *adversary) judge() {
	a.t.Helper()
	spentBy := make(map[wire.OutPoint]confirmedSpend)
	for h := uint32(1); h <= a.height(); h++ {
		for _, tx := range a.be.blocks[h].Txs {
			for n, in := range tx.TxIn {
				spentBy[in.PreviousOutPoint] = confirmedSpend{tx, n, h}
			}
		}
	}
	closed := spentBy[a.w.p.Funding]
	in := a.confirmed()
	if in == 0 || closed.tx.TxHash() != a.w.commits[in].TxID {
		a.t.Fatalf("closing transaction not recognised")
	}
	cm := a.w.commits[in]
	ours := func(out wire.OutPoint) bool {
		sp, ok := spentBy[out]
		return ok && a.published[sp.tx.TxHash()] != nil
	}
	if in == inOld {
		a.judgeJustice(cm, spentBy)
	} else {
		balance := cm.ToOther
		if in == inOurs {
			balance = cm.ToOwner
		}
		if balance >= 0 && !ours(cm.OutPoint(balance)) {
			a.t.Errorf("our balance is not swept")
		}
	}
	for i := range a.w.p.HTLCs {
		a.judgeHTLC(i, in, closed.height, spentBy, ours)
	}
	if !a.done {
		a.t.Error("not done")
	}
}

// judgeJustice: of a revoked commitment everything is ours, through however many transactions of the peer.
func (a *adversary) judgeJustice(cm *commitment.Commitment, spentBy map[wire.OutPoint]confirmedSpend) {
	a.t.Helper()
	var end func(out wire.OutPoint, value int64)
	end = func(out wire.OutPoint, value int64) {
		sp, ok := spentBy[out]
		switch {
		case !ok && value < 600: // not worth it
		case !ok:
			a.t.Errorf("output %s of %d is not punished", outText(out), value)
		case a.published[sp.tx.TxHash()] != nil:
		case sp.in < len(sp.tx.TxOut) && string(sp.tx.TxOut[sp.in].PkScript) == string(a.s.closing.second):
			end(wire.OutPoint{Hash: sp.tx.TxHash(), Index: uint32(sp.in)}, value)
		default:
			a.t.Errorf("the peer got away with output %s of %d", outText(out), value)
		}
	}
	for i, o := range cm.Tx.TxOut {
		if i != cm.OwnerAnchor && i != cm.OtherAnchor {
			end(cm.OutPoint(i), o.Value)
		}
	}
}

func (a *adversary) judgeHTLC(i, in int, closed uint32, spentBy map[wire.OutPoint]confirmedSpend, ours func(wire.OutPoint) bool) {
	a.t.Helper()
	h := &a.w.p.HTLCs[i]
	var out wire.OutPoint
	var sp confirmedSpend
	o := a.w.output(in, i)
	if o != nil {
		out = a.w.commits[in].OutPoint(int(o.Index))
		sp = spentBy[out]
	}
	shown := false
	if sp.tx != nil {
		_, shown = commitment.PreimageIn(sp.tx, h.Hash)
	}
	worth := h.Amount >= 700_000
	if !h.Offered {
		since, told := a.lastS[i]
		if inTime := told && since+15 <= h.Expiry && closed+15 <= h.Expiry; in != inOld && o != nil && inTime && worth && !ours(out) {
			a.t.Errorf("%v not claimed, preimage known at %d, closed at %d, expiry %d", h.key(), since, closed, h.Expiry)
		}
		if _, ok := a.ended[h.ID]; !ok && (worth || sp.tx != nil || o == nil) {
			a.t.Errorf("%v has not ended", h.key())
		}
		return
	}
	r, ok := a.resolved[h.ID]
	switch {
	case h.Preimage != nil:
		return
	case !ok:
		a.t.Errorf("%v is not resolved", h.key())
	case r.Preimage == nil && shown && in != inOld && worth:
		a.t.Errorf("%v failed, but the peer has claimed it", h.key())
	case in != inOld && o != nil && worth && !shown && !ours(out):
		a.t.Errorf("%v not taken back", h.key())
	}
}
