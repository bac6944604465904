package chainmatrix

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"lightningrod/channel"
	"lightningrod/channel/channeltest"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

var only = flag.String("cell", "", "only cells that have this in their names")

// run is what happens to the cells.
type run struct {
	name     string
	reorgs   map[uint32]int // depth, by blocks since the one with the commitments
	swap     bool           // when a commitment leaves the chain in a race, the other's takes its place
	away     uint32         // so many blocks after the close the other side hears of nothing
	restarts [][]uint32     // of both sides, at these blocks since the close; each cell has one of these lists
}

var runs = []run{
	{name: "plain", restarts: [][]uint32{nil, nil, nil, {0, 1}, {1, 31}, {2, 33}, {7, 23}, {0, 22, 40}}},
	{name: "other away", away: delay - 2, restarts: [][]uint32{nil, nil, {0, 7}, {3, 32}}},
	{name: "reorganised early", reorgs: map[uint32]int{1: 2, 3: 3, 12: 4}, swap: true, restarts: [][]uint32{nil, {1, 2}, {3, 5}}},
	{name: "reorganised late", reorgs: map[uint32]int{untilDue + 3: 3, untilDue + 7: 5, untilDue + 11: 2}, restarts: [][]uint32{nil, {32, 33}, {34, 38, 41}}},
}

// restartsOf are those of a pair. Neighbours differ, in no rhythm with the dimensions.
func (r run) restartsOf(x *pair) []uint32 {
	return r.restarts[uint32(x.index)*2654435761>>16%uint32(len(r.restarts))]
}

// TestForceCloses closes every cell in every run. The cells of one closer share a chain.
func TestForceCloses(t *testing.T) {
	sum := &totals{met: map[string]int{}, claims: map[string]int64{}}
	t.Run("by", func(t *testing.T) {
		for closer, name := range sideText {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				list := chosen(closer)
				if len(list) == 0 {
					t.Skip("no such cell")
				}
				w := newWorld(t, list, len(runs))
				for _, r := range runs {
					w.run(r, sum)
				}
			})
		}
	})
	t.Log(sum)
	if *only == "" && !testing.Short() && !slow && sum.cases < 400 {
		t.Errorf("only %d cases", sum.cases)
	}
}

// chosen are the cells of a closer.
func chosen(closer int) (list []cell) {
	every := 1
	switch {
	case *only != "":
	case slow:
		every = 53
	case testing.Short():
		every = 13
	}
	for i, c := range cells() {
		if c.closer == closer && strings.Contains(c.String(), *only) && i%every == 0 {
			list = append(list, c)
		}
	}
	return list
}

// run opens a channel of each cell, and closes all of them in step.
func (w *world) run(r run, sum *totals) {
	w.open()
	closing := w.height() + 1 // the block that has the commitments
	for _, x := range w.pairs {
		var err error
		x.htlcs, err = x.cell.prepare(x.p, closing+untilDue)
		x.must(err)
		x.pump()
		for j, own := range x.wallets {
			x.start[j], _ = own.Balance()
		}
	}
	for _, x := range w.pairs {
		x.do(x.cell.closer, channel.ForceClose{})
		if x.cell.race {
			x.do(1-x.cell.closer, channel.ForceClose{})
		}
	}
	reorgs := maps.Clone(r.reorgs)
	for w.height() < closing+untilDue+35 {
		since := w.height() + 1 - closing
		if w.away = since < r.away; since == r.away {
			w.back()
		}
		for _, x := range w.pairs {
			if slices.Contains(r.restartsOf(x), since) {
				x.restart()
			}
			if since == untilLate {
				x.late()
			}
		}
		w.mine(1)
		if depth := reorgs[since]; depth > 0 {
			delete(reorgs, since)
			must(w.t, w.be.Reorg(depth))
			if r.swap && since < uint32(depth) {
				w.swap()
			}
			w.sync()
		}
	}
	w.bury()
	for _, x := range w.pairs {
		x.judge(r, sum)
		sum.count(x, r)
	}
}

// late brings the late preimages.
func (x *pair) late() {
	for _, h := range x.htlcs {
		if h.known != late {
			continue
		}
		for _, live := range x.sides[1-h.from].State.Received() {
			if live.HTLC.Key.HTLC == h.id {
				x.do(1-h.from, channel.Settle{HTLC: h.id, Outcome: channel.Fulfill{Preimage: channeltest.Preimage(h.n)}})
			}
		}
	}
}

// swap mines a block in which every race, but those with a revoked commitment, is won by the other side, and otherwise what is in the
// mempool.
func (w *world) swap() {
	lost := make(map[chainhash.Hash]bool) // transactions that lose, and all that spend them
	funding := make(map[wire.OutPoint]*wire.MsgTx)
	var block []*wire.MsgTx
	for _, x := range w.pairs {
		if x.cell.race && !x.cell.kind.revoked() {
			other := x.sides[1-x.cell.closer]
			for _, r := range other.Chain {
				if tx := published(r); tx != nil && tx.TxIn[0].PreviousOutPoint == other.State.Funding() && funding[other.State.Funding()] == nil {
					funding[other.State.Funding()] = tx
					block = append(block, tx)
				}
			}
		}
	}
	for _, tx := range w.be.Mempool() {
		loses := false
		for _, in := range tx.TxIn {
			loses = loses || lost[in.PreviousOutPoint.Hash] || funding[in.PreviousOutPoint] != nil
		}
		if loses {
			lost[tx.TxHash()] = true
		} else {
			block = append(block, tx)
		}
	}
	_, err := w.be.MineTxs(nil, block...)
	must(w.t, err)
}

// bury makes the blocks after which nobody watches any more.
func (w *world) bury() {
	w.quiet = true
	for range 5 {
		_, err := w.be.Mine(22, nil)
		must(w.t, err)
		w.batch()
	}
}

// totals are what all cells together met and paid.
type totals struct {
	mu                sync.Mutex
	cases, txs        int
	bumps, refused    int
	met               map[string]int
	commitments, left int64            // sat: fees of commitments; anchors that nobody took
	claims            map[string]int64 // sat: fees of what spends commitments, by run
}

func (s *totals) count(x *pair, r run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cases++
	restarted := len(r.restartsOf(x)) > 0
	for i, word := range append(x.cell.words(), pick(restarted, "restarted", "not restarted"), r.name) {
		s.met[fmt.Sprintf("%d %s", i, word)]++
	}
}

var dimensions = []string{"closer", "race", "commitment", "HTLC", "preimage", "size", "restart", "run"}

func (s *totals) String() string {
	text := fmt.Sprintf("%d force closes, %d transactions, %d bumps (%d refused: the fee had not risen enough)", s.cases, s.txs, s.bumps, s.refused)
	text += fmt.Sprintf("\nfees: %d sat of commitments; %d sat of anchors left; of what spends commitments:", s.commitments, s.left)
	for _, r := range runs {
		text += fmt.Sprintf("\n  %-18s %d sat", r.name, s.claims[r.name])
	}
	last := ""
	for _, k := range slices.Sorted(maps.Keys(s.met)) {
		dim, word, _ := strings.Cut(k, " ")
		if dim != last {
			text += fmt.Sprintf("\n  %-12s", dimensions[dim[0]-'0'])
			last = dim
		}
		text += fmt.Sprintf("%s %d  ", word, s.met[k])
	}
	return text
}

// account is all that the best chain has of a pair, from the close on.
type account struct {
	values  map[wire.OutPoint]*wire.TxOut
	spent   map[wire.OutPoint]*wire.MsgTx
	closing int      // transactions since the close
	fees    [2]int64 // of what spends the commitment
	commit  int64    // fee
}

func (x *pair) account() *account {
	a := &account{values: map[wire.OutPoint]*wire.TxOut{}, spent: map[wire.OutPoint]*wire.MsgTx{}}
	var txs []*wire.MsgTx
	for h := uint32(1); h <= x.height(); h++ {
		b, ok := x.blocks[h]
		if !ok {
			continue
		}
		for _, tx := range b.Txs[1:] {
			id := tx.TxHash()
			for i, o := range tx.TxOut {
				a.values[wire.OutPoint{Hash: id, Index: uint32(i)}] = o
			}
			for _, in := range tx.TxIn {
				a.spent[in.PreviousOutPoint] = tx
			}
			txs = append(txs, tx)
		}
	}
	if x.commit = a.spent[x.sides[0].State.Funding()]; x.commit == nil {
		x.fatalf("nothing has spent the funding output")
	}
	after := false // before it are coins, earlier runs and the funding transaction
	for _, tx := range txs {
		if after = after || tx == x.commit; !after {
			continue
		}
		a.closing++
		var fee int64
		payer := -1
		for _, in := range tx.TxIn {
			prev := a.values[in.PreviousOutPoint]
			fee += prev.Value
			payer = x.belongs(prev.PkScript, payer)
		}
		for _, o := range tx.TxOut {
			fee -= o.Value
			payer = x.belongs(o.PkScript, payer)
		}
		switch {
		case tx == x.commit:
			a.commit = fee
		case payer < 0:
			x.fatalf("whose transaction is it? %v", tx.TxHash())
		default:
			a.fees[payer] += fee
		}
	}
	return a
}

// belongs finds the wallet that a script is of. No transaction is of both.
func (x *pair) belongs(script []byte, known int) int {
	for j, s := range x.sides {
		if s.wallet.Owns(script) {
			if known == 1-j {
				x.fatalf("a transaction of both wallets")
			}
			return j
		}
	}
	return known
}

// judge compares what both have, and were told, with what they should.
func (x *pair) judge(r run, sum *totals) {
	x.t.Helper()
	a := x.account()
	owner, want := x.rightful(a)
	var left int64
	for out, o := range a.values {
		if out.Hash == x.commit.TxHash() && a.spent[out] == nil {
			if o.Value != anchorSat {
				x.wrong("an output of %d sat is left", o.Value)
			}
			left += o.Value
		}
	}
	total := a.commit + left + a.fees[0] + a.fees[1]
	for j, s := range x.sides {
		has, pending := s.wallet.Balance()
		got := int64(has - x.start[j])
		total += got
		if pending != 0 {
			x.wrong("%s: %d sat unconfirmed", s.Name, pending)
		}
		if got+a.fees[j] != want[j] {
			x.wrong("%s has %d sat more and paid %d of fees, expected %d before fees", s.Name, got, a.fees[j], want[j])
		}
		if !s.closed || s.State.Phase() != channel.PhaseClosed || s.Rows.Core != nil {
			x.wrong("%s has not ended: %v", s.Name, s.State)
		}
		for _, c := range s.wallet.Coins() {
			if c.Locked {
				x.wrong("%s: a coin of %d sat is locked", s.Name, c.Value)
			}
		}
	}
	if total != capacity {
		x.wrong("%d sat accounted for, %d were there", total, capacity)
	}
	for i := range x.htlcs {
		x.told(&x.htlcs[i], owner, a)
	}
	sum.mu.Lock()
	sum.txs += a.closing
	for _, s := range x.sides {
		sum.bumps, sum.refused = sum.bumps+s.bumps, sum.refused+s.refused
	}
	sum.commitments, sum.left = sum.commitments+a.commit, sum.left+left
	sum.claims[r.name] += a.fees[0] + a.fees[1]
	sum.mu.Unlock()
}

func (x *pair) wrong(format string, args ...any) {
	x.t.Helper()
	x.t.Errorf("%v: %s", x.cell, fmt.Sprintf(format, args...))
}

// rightful reads the confirmed commitment by its outputs alone and says whose it is, and what of it belongs to whom by BOLT 5, before fees.
func (x *pair) rightful(a *account) (owner int, want [2]int64) {
	id := x.commit.TxHash()
	owner = x.cell.closer
	if own := x.confirmedBy(); own >= 0 {
		owner = own
	}
	cheated := x.cell.kind.revoked() && owner == x.cell.closer
	script := func(j int) []byte {
		return commitment.P2WSH(commitment.ToRemoteScript(x.sides[j].Crypto.BasePoints().Payment))
	}
	present := make(map[uint64]bool)
	for i, o := range x.commit.TxOut {
		h := x.htlcOf(o.Value)
		gets := owner
		switch spender := a.spent[wire.OutPoint{Hash: id, Index: uint32(i)}]; {
		case o.Value == anchorSat:
			if spender != nil { // whoever bumped with it has it
				want[x.payer(a, spender)] += anchorSat
			}
			continue
		case cheated:
			gets = 1 - owner
		case h != nil && h.known != never:
			gets = 1 - h.from
		case h != nil:
			gets = h.from
		case bytes.Equal(o.PkScript, script(1-owner)):
			gets = 1 - owner
		}
		if h != nil {
			present[h.n] = true
		}
		want[gets] += o.Value
	}
	for _, h := range x.htlcs {
		if owner == x.cell.closer && present[h.n] != x.cell.must(h) {
			x.wrong("the commitment has an output for the HTLC of %d sat: %v", h.sat, present[h.n])
		}
	}
	return owner, want
}

// confirmedBy is the side that published the confirmed commitment.
func (x *pair) confirmedBy() int {
	for j, s := range x.sides {
		for _, r := range s.Chain {
			if tx := published(r); tx != nil && tx.TxHash() == x.commit.TxHash() {
				return j
			}
		}
	}
	return -1
}

func (x *pair) payer(a *account, tx *wire.MsgTx) int {
	payer := -1
	for _, in := range tx.TxIn {
		payer = x.belongs(a.values[in.PreviousOutPoint].PkScript, payer)
	}
	for _, o := range tx.TxOut {
		payer = x.belongs(o.PkScript, payer)
	}
	return payer
}

func (x *pair) htlcOf(sat int64) *htlc {
	for i := range x.htlcs {
		if x.htlcs[i].sat == sat {
			return &x.htlcs[i]
		}
	}
	return nil
}

// told checks what forwarding heard of an HTLC, on the side that offered it and on the other.
func (x *pair) told(h *htlc, owner int, a *account) {
	x.t.Helper()
	cheater := -1
	if x.cell.kind.revoked() {
		cheater = x.cell.closer
	}
	if from := x.sides[h.from]; h.from != cheater {
		got := from.resolved[h.id]
		if len(got) != 1 {
			x.wrong("%s was told %d times how the HTLC of %d sat ended", from.Name, len(got), h.sat)
			return
		}
		f, fulfilled := got[0].(channel.Fulfill)
		if fulfilled && sha256.Sum256(f.Preimage[:]) != channeltest.Hash(h.n) {
			x.wrong("%s was told a wrong preimage", from.Name)
		}
		switch want, sure := x.outcome(h); {
		case sure && fulfilled != want:
			x.wrong("%s was told that the HTLC of %d sat was fulfilled: %v", from.Name, h.sat, fulfilled)
		}
	}
	if to := x.sides[1-h.from]; 1-h.from != cheater && !h.extra {
		if got := to.settled[h.id]; len(got) != 1 {
			x.wrong("%s was told %d times that the HTLC of %d sat is over", to.Name, len(got), h.sat)
		}
	}
}

// outcome is whether the preimage of an HTLC comes to the side that offered it, and whether the cell leaves no choice.
func (x *pair) outcome(h *htlc) (fulfilled, sure bool) {
	seen := false
	for _, o := range x.commit.TxOut {
		seen = seen || o.Value == h.sat
	}
	switch {
	case h.known == never:
		return false, true
	case x.cell.kind == keeping || x.cell.kind == lacking || x.cell.kind == revokedGone:
		return true, true // said before the close
	case !seen:
		return false, true
	case x.cell.kind.revoked():
		return false, false // depends on who is quicker; the money does not
	}
	return true, true
}
