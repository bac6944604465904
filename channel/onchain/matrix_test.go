package onchain

import (
	"fmt"
	"slices"
	"testing"

	"lightningrod/chain/embedded"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
)

// A cell of the matrix is one channel with one HTLC (beside one that never changes), closed on a chain that checks
// everything as bitcoin does.
type cell struct {
	in       int  // which commitment
	single   bool // the peer owes no revoke_and_ack
	offered  bool // by us
	preimage preimageCase
	presence presenceCase
	restarts bool // after every turn
	opener   bool
}

type preimageCase uint8

const (
	preimageKnown preimageCase = iota // offered: the peer claims at once. received: known at the close
	preimageLate                      // shortly before the cltv_expiry
	preimageNever                     // taken back: by us, or by the peer
)

type presenceCase uint8

const (
	hasOutput presenceCase = iota
	isDust
	elsewhere // only the other commitments have it
)

func (c cell) String() string {
	side := "received"
	if c.offered {
		side = "offered"
	}
	text := fmt.Sprintf("%s,%s,%s,%s", commitName(c.in), side,
		[]string{"known", "late", "never"}[c.preimage], []string{"output", "dust", "elsewhere"}[c.presence])
	if c.single {
		text += ",single"
	}
	if c.restarts {
		text += ",restarts"
	}
	return text
}

func cells() []cell {
	var all []cell
	for _, which := range []cell{{in: inOurs}, {in: inOlder}, {in: inNewer}, {in: inOld}, {in: inNewer, single: true}} {
		for _, offered := range []bool{true, false} {
			for p := preimageKnown; p <= preimageNever; p++ {
				for presence := hasOutput; presence <= elsewhere; presence++ {
					for _, restarts := range []bool{false, true} {
						c := which
						c.offered, c.preimage, c.presence, c.restarts, c.opener = offered, p, presence, restarts, (int(p)+int(presence))%2 == 0
						all = append(all, c)
					}
				}
			}
		}
	}
	some := all[:0]
	for i := range all {
		if i%sample == 0 {
			some = append(some, all[i])
		}
	}
	return some
}

const (
	cellDelay  = 6
	cellExpiry = 16 // blocks after the close
	cellSat    = 50_000
	otherSat   = 30_000 // of the HTLC that never changes: received, without preimage, in all commitments
)

// TestMatrix: 540 force closes on the embedded chain: 180 cells, each without reorganisations, with such of the commitment, and with such of the
// claims. The cells of one run share the chain.
func TestMatrix(t *testing.T) {
	for _, run := range []struct {
		name   string
		reorgs map[uint32]int // depth, by blocks since the close
	}{
		{"plain", nil},
		{"reorganised early", map[uint32]int{2: 2, 4: 4, 11: 3}},
		{"reorganised late", map[uint32]int{cellExpiry + 3: 3, cellExpiry + 6: 5, cellExpiry + 9: 2}},
	} {
		t.Run(run.name, func(t *testing.T) {
			t.Parallel()
			runMatrix(t, cells(), run.reorgs)
		})
	}
}

// matrix is one run: its chain and, in step, all cells.
type matrix struct {
	*network
	chain *embedded.Chain
	cells []cell
	close uint32                 // height
	took  map[[2]int]*wire.MsgTx // by cell and HTLC: with which the peer spends it
}

func runMatrix(t *testing.T, all []cell, reorgs map[uint32]int) {
	c, err := embedded.New(embedded.Config{})
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	m := &matrix{chain: c, cells: all, took: make(map[[2]int]*wire.MsgTx)}
	m.fund(t)
	for i := range m.nodes {
		m.begin(i)
	}
	m.sync()
	for m.height() < m.close+cellExpiry+45 {
		m.peers()
		m.mine(1)
		m.tell()
		since := m.height() - m.close
		if depth := reorgs[since]; depth > 0 {
			delete(reorgs, since)
			m.reorg(depth)
		}
	}
	m.quiet = true
	for _, nd := range m.nodes {
		nd.restarts, nd.idle = false, true // nothing happens any more
	}
	m.mine(buried)
	m.judge()
}

// fund makes all funding outputs, and coins, out of coinbases.
func (m *matrix) fund(t *testing.T) {
	_, err := m.chain.Mine(101, nil)
	must(t, err)
	b, err := m.chain.Block(1)
	must(t, err)
	coinbase := b.Txs[0]
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(&wire.TxIn{PreviousOutPoint: wire.OutPoint{Hash: coinbase.TxHash()}, Sequence: 0xfffffffd, Witness: embedded.AnyoneWitness()})
	_, funding := commitment.FundingScript(sides[0].privs.BasePoints().Funding, sides[1].privs.BasePoints().Funding)
	for range m.cells {
		tx.AddTxOut(wire.NewTxOut(1_000_000, funding))
	}
	for range 5 * len(m.cells) {
		tx.AddTxOut(wire.NewTxOut(200_000, anyonePk))
	}
	tx.AddTxOut(wire.NewTxOut(coinbase.TxOut[0].Value-sumOut(tx)-100_000, anyonePk))
	must(t, m.chain.Publish(t.Context(), tx))
	_, err = m.chain.Mine(1, nil)
	must(t, err)
	m.network = newNetwork(t, m.chain)
	id := tx.TxHash()
	for i := range 5 * len(m.cells) {
		m.coins = append(m.coins, coin{wire.OutPoint{Hash: id, Index: uint32(len(m.cells) + i)}, 200_000})
	}
	m.close = m.height()
	for i, c := range m.cells {
		h := testHTLC{offered: c.offered, sat: cellSat, expiry: m.close + cellExpiry, secret: "a", in: inAll}
		switch c.presence {
		case isDust:
			h.sat = 300
		case elsewhere:
			h.in = inAll &^ c.in
		}
		// What has no output cannot be claimed on chain: then the preimage is known off chain.
		h.known = c.preimage == preimageKnown && (!c.offered || c.presence != hasOutput)
		sweep := commitment.P2WSH([]byte{txscript.OP_1, byte(i), byte(i >> 8)})
		w := newWorld(t, config{
			funding: wire.OutPoint{Hash: id, Index: uint32(i)}, delay: cellDelay, height: m.close, single: c.single, sweep: sweep, opener: c.opener,
		}, h, testHTLC{sat: otherSat, expiry: m.close + cellExpiry, secret: "other", in: inAll})
		m.join(w).restarts = c.restarts
	}
}

func (m *matrix) begin(i int) {
	nd := m.nodes[i]
	if m.cells[i].in == inOurs {
		nd.apply(Close{})
		return
	}
	must(m.t, m.be.Publish(m.t.(*testing.T).Context(), nd.w.tx(m.cells[i].in)))
}

func (m *matrix) peerCoin() coin {
	c := m.coins[len(m.coins)-1]
	m.coins = m.coins[:len(m.coins)-1]
	return c
}

// peers do what the cells say, before the next block.
func (m *matrix) peers() {
	since := m.height() - m.close
	for i, c := range m.cells {
		nd := m.nodes[i]
		if _, _, _, closed := nd.s.Closed(); !closed {
			continue
		}
		which := -1 // of the world's HTLCs
		switch {
		case since >= cellExpiry && m.took[[2]int{i, 1}] == nil && c.in != inOld:
			which = 1 // the one that never changes
		case c.presence != hasOutput:
		case c.offered && c.preimage == preimageKnown && since == 1, c.offered && c.preimage == preimageLate && since == cellExpiry-4:
			which = 0
		case !c.offered && c.preimage == preimageNever && since == cellExpiry+1:
			which = 0
		}
		if which >= 0 && m.took[[2]int{i, which}] == nil {
			m.took[[2]int{i, which}] = nd.w.peerHTLC(c.in, which, m.peerCoin(), 20_000)
		}
	}
	// Again and again: a reorganisation may have dropped it.
	for i := range m.cells {
		for which := range 2 {
			if tx := m.took[[2]int{i, which}]; tx != nil && since < 2*cellExpiry {
				_ = m.be.Publish(m.t.(*testing.T).Context(), tx)
			}
		}
	}
	m.look()
}

// tell brings the late preimages.
func (m *matrix) tell() {
	if m.height() != m.close+cellExpiry-6 {
		return
	}
	for i, c := range m.cells {
		if !c.offered && c.preimage == preimageLate {
			m.nodes[i].apply(Settle{0, preimageOf("a")})
		}
	}
}

// judge compares what every cell has got, and told, with what it should.
func (m *matrix) judge() {
	outs := make(map[wire.OutPoint]*wire.TxOut)
	swept := make(map[string][]*wire.MsgTx) // by script
	for h := uint32(1); h <= m.height(); h++ {
		b, err := m.be.Block(h)
		must(m.t, err)
		for _, tx := range b.Txs {
			id := tx.TxHash()
			for i, o := range tx.TxOut {
				outs[wire.OutPoint{Hash: id, Index: uint32(i)}] = o
			}
			swept[string(tx.TxOut[0].PkScript)] = append(swept[string(tx.TxOut[0].PkScript)], tx)
		}
	}
	for i, c := range m.cells {
		m.t.(*testing.T).Run(c.String(), func(t *testing.T) {
			nd := m.nodes[i]
			nd.network = &network{t: t, be: m.be, tracker: m.tracker} // to fail where it belongs
			var gross int64
			for _, tx := range swept[string(nd.w.p.Sweep)] {
				in := outs[tx.TxIn[0].PreviousOutPoint].Value
				gross += in
				if fee := in - sumOut(tx); len(tx.TxIn) != 1 || len(tx.TxOut) != 1 || !slices.Contains(nd.paid[tx.TxIn[0].PreviousOutPoint], fee) {
					t.Errorf("a sweep of %d pays a fee of %d, asked were %v", in, fee, nd.paid[tx.TxIn[0].PreviousOutPoint])
				}
			}
			if want := c.gross(nd.w); gross != want {
				t.Errorf("got %d sat before fees, want %d\n%v", gross, want, nd.s)
			}
			c.told(nd)
			nd.wantEnded(otherID(c), false)
			nd.wantDone()
		})
	}
}

// otherID is the id of the HTLC that never changes.
func otherID(c cell) uint64 {
	if c.offered {
		return 0
	}
	return 1
}

// gross is what is ours of the commitment, in satoshi before fees.
func (c cell) gross(w *world) int64 {
	cm := w.commits[c.in]
	if c.in == inOld {
		return sumOut(cm.Tx) - 2*commitment.AnchorAmount
	}
	balance := cm.ToOther
	if c.in == inOurs {
		balance = cm.ToOwner
	}
	sum := cm.Tx.TxOut[balance].Value
	if c.presence == hasOutput && (c.preimage == preimageNever) == c.offered {
		sum += cellSat
	}
	return sum
}

// told checks what forwarding was told.
func (c cell) told(nd *node) {
	nd.t.Helper()
	if !c.offered {
		nd.wantEnded(0, c.presence == hasOutput && c.preimage != preimageNever && c.in != inOld)
		return
	}
	switch {
	case c.presence != hasOutput && c.preimage == preimageKnown:
		nd.wantResolved(0, "open") // was told before the close
	case c.presence == hasOutput && c.preimage == preimageKnown:
		nd.wantResolved(0, "fulfilled")
	case c.presence == hasOutput && c.preimage == preimageLate && c.in != inOld: // of a revoked one it is ours by then
		nd.wantResolved(0, "fulfilled")
	default:
		nd.wantResolved(0, "failed")
	}
}

var _ backend = (*embedded.Chain)(nil)
