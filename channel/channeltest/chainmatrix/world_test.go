package chainmatrix

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"lightningrod/chain"
	"lightningrod/chain/embedded"
	"lightningrod/chain/wallet"
	"lightningrod/channel"
	"lightningrod/channel/channeltest"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// world is a chain, and channels that are closed on it in step, run after run.
type world struct {
	t       *testing.T
	be      *embedded.Chain
	tracker *chain.Tracker
	pairs   []*pair
	family  map[wire.OutPoint]*pair // whose output it is: of the wallets, of the channel, or made of those
	told    map[chainhash.Hash]bool // transactions of the mempool that were told
	quiet   bool                    // the mempool is not looked at
	away    bool                    // the other side of every pair hears of nothing
}

// pair is one cell: a channel a run, and what engines do for its two sides.
type pair struct {
	*world
	cell    cell
	index   int
	wallets [2]*wallet.Wallet
	blocks  map[uint32]chain.Block // by height, with this pair's transactions only

	// Of the run.
	p      *channeltest.Pair
	sides  [2]*side
	htlcs  []htlc
	start  [2]btcutil.Amount // in the wallets, before the close
	commit *wire.MsgTx       // confirmed
}

type side struct {
	*channeltest.Side
	wallet *wallet.Wallet
	asked  int // requests and
	heard  int // notices that were looked at

	resolved map[uint64][]channel.Outcome
	settled  map[uint64][]channel.Outcome
	closed   bool
	missed   []channel.Event // while it was away
	bumps    int
	refused  int // by the wallet
}

var testRates = chain.FeeRates{Floor: 253, Slow: 253, Normal: 500, Urgent: 1000}

const (
	coinsEach = 8
	coinSat   = 250_000
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fatalf ends the test, saying in which cell.
func (x *pair) fatalf(format string, args ...any) {
	x.t.Helper()
	x.t.Fatalf("%v: %s\nalice %v\nbob %v", x.cell, fmt.Sprintf(format, args...), x.p.Sides[0].State, x.p.Sides[1].State)
}

func (x *pair) must(err error) {
	x.t.Helper()
	if err != nil {
		x.fatalf("%v", err)
	}
}

// newWorld makes a chain on which every wallet has coins for so many runs.
func newWorld(t *testing.T, list []cell, runs int) *world {
	be, err := embedded.New(embedded.Config{})
	must(t, err)
	t.Cleanup(func() { must(t, be.Close()) })
	w := &world{t: t, be: be, family: map[wire.OutPoint]*pair{}, told: map[chainhash.Hash]bool{}}
	_, err = be.Mine(101, nil)
	must(t, err)
	height, hash := be.Tip()
	w.tracker = chain.NewTracker(height, hash)
	for i, c := range list {
		x := &pair{world: w, cell: c, index: i, blocks: map[uint32]chain.Block{}}
		for j := range x.wallets {
			seed := sha256.Sum256(fmt.Appendf(nil, "%s %d", sideText[j], i))
			x.wallets[j], err = wallet.New(seed[:], be.Params(), nil)
			must(t, err)
			_, err = x.wallets[j].Begin(height, hash)
			must(t, err)
		}
		w.pairs = append(w.pairs, x)
	}
	w.grant(runs)
	return w
}

// grant makes the wallets' coins out of a coinbase.
func (w *world) grant(runs int) {
	b, err := w.be.Block(1)
	must(w.t, err)
	coinbase := b.Txs[0]
	share := coinbase.TxOut[0].Value/int64(len(w.pairs)) - 10_000
	all := &wire.MsgTx{Version: 2}
	all.AddTxIn(&wire.TxIn{PreviousOutPoint: wire.OutPoint{Hash: coinbase.TxHash()}, Sequence: 0xfffffffd, Witness: embedded.AnyoneWitness()})
	for range w.pairs {
		all.AddTxOut(wire.NewTxOut(share, embedded.AnyoneCanSpend))
	}
	block := []*wire.MsgTx{all}
	for i, x := range w.pairs {
		out := wire.OutPoint{Hash: all.TxHash(), Index: uint32(i)}
		w.family[out] = x
		tx := &wire.MsgTx{Version: 2}
		tx.AddTxIn(&wire.TxIn{PreviousOutPoint: out, Sequence: 0xfffffffd, Witness: embedded.AnyoneWitness()})
		left := share - 50_000
		for j, own := range x.wallets {
			script, _, _ := own.NewAddress(wallet.P2WPKH)
			for i := range coinsEach {
				value := int64(coinSat + i)
				if j == 0 && i < runs {
					value += capacity
				}
				tx.AddTxOut(wire.NewTxOut(value, script))
				left -= value
			}
		}
		tx.AddTxOut(wire.NewTxOut(left, embedded.AnyoneCanSpend))
		block = append(block, tx)
	}
	_, err = w.be.MineTxs(nil, block...)
	must(w.t, err)
	w.sync()
}

// keys are real, and remember what they have derived: half of the time of this test is keys.
type keys struct {
	*channeltest.Real
	derived map[commitment.PubKey]commitment.Keys // by per-commitment point
}

func newKeys(name string) *keys {
	return &keys{channeltest.NewReal(name), map[commitment.PubKey]commitment.Keys{}}
}

func (k *keys) DeriveKeys(point commitment.PubKey, owner, other commitment.BasePoints) (commitment.Keys, error) {
	if known, ok := k.derived[point]; ok {
		return known, nil
	}
	made, err := commitment.DeriveKeys(point, owner, other)
	if err == nil {
		k.derived[point] = made
	}
	return made, err
}

func (k *keys) PointOf(secret [32]byte) commitment.PubKey { return commitment.PointOf(secret) }

// open opens a channel of every pair, with funding transactions of the wallets.
func (w *world) open() {
	w.quiet = false
	height, hash := w.be.Tip()
	for _, x := range w.pairs {
		x.p = channeltest.New(channeltest.Options{
			Capacity: capacity, Push: push * 1000, FeePerKw: commitRate, Unchecked: true,
			Crypto: func(side int) channeltest.Crypto {
				return newKeys(fmt.Sprintf("%s %d", sideText[side], x.index))
			},
			Params: func(side int, p *channel.Params) {
				p.ShutdownScript, _, _ = x.wallets[side].NewAddress(wallet.P2WPKH)
				p.Limits.ToSelfDelay, p.Height, p.Block = delay, height, hash
			},
		})
		x.p.Height = 0 // facts come from the chain, not from the pair
		for j := range x.sides {
			x.tracker.Forget(x.owner(j))
			x.sides[j] = &side{Side: x.p.Sides[j], wallet: x.wallets[j], resolved: map[uint64][]channel.Outcome{}, settled: map[uint64][]channel.Outcome{}}
		}
		x.must(x.p.Connect())
		x.must(x.p.Do(0, channel.Open{Capacity: capacity, Push: push * 1000, FeePerKw: commitRate}))
		x.must(x.p.DeliverAll())
		x.pump()
		x.must(x.p.DeliverAll())
		x.pump()
	}
	w.mine(1)
	for _, x := range w.pairs {
		x.must(x.p.DeliverAll())
		for j, s := range x.sides {
			if _, _, ok := s.State.Usable(); !ok {
				x.fatalf("not usable")
			}
			x.must(x.p.Do(j, channel.Chain{Event: testRates}))
		}
	}
}

// do gives a side a turn, and does what it wants.
func (x *pair) do(j int, evs ...channel.Event) {
	x.t.Helper()
	x.must(x.p.Do(j, evs...))
	x.pump()
}

// pump does what both sides want, until they want nothing.
func (x *pair) pump() {
	x.t.Helper()
	for again := true; again; {
		again = false
		for k := range 2 {
			j := k ^ x.index&1 // who is quicker
			again = x.requests(j) || x.notices(j) || again
		}
	}
}

func (x *pair) requests(j int) (any bool) {
	s := x.sides[j]
	for ; s.asked < len(s.Chain); s.asked++ {
		any = true
		if p, ok := s.Chain[s.asked].(chain.Publish); ok {
			_ = x.be.Publish(context.Background(), p.Tx) // what is refused is asked again at the next block
			continue
		}
		missed, late := x.tracker.Watch(x.owner(j), s.Chain[s.asked])
		if !late {
			continue
		}
		for h := missed.From; h <= missed.To; h++ {
			facts, err := x.tracker.Rescan(x.blocks[h], x.owner(j))
			x.must(err)
			for _, f := range facts {
				x.must(x.p.Do(j, channel.Chain{Event: f.Event}))
			}
		}
	}
	return any
}

func (x *pair) owner(j int) uint64 { return uint64(2*x.index + j) }

func (x *pair) notices(j int) (any bool) {
	s := x.sides[j]
	for ; s.heard < len(s.Notices); s.heard++ {
		any = true
		switch n := s.Notices[s.heard].(type) {
		case channel.NeedFunding:
			tx, _, err := s.wallet.Fund([]*wire.TxOut{wire.NewTxOut(n.Amount, n.Script)}, 1000, wallet.Options{})
			x.must(err)
			x.must(x.p.Do(j, channel.Funding{Tx: tx}))
		case channel.Bump:
			x.bump(j, n)
		case channel.Release:
			s.wallet.Release(n.Tx)
		case channel.NeedRevoked:
			x.must(x.p.Do(j, channel.RevokedData{Number: n.Number, Data: s.Rows.Revoked[n.Number]}))
		case channel.Resolved:
			s.resolved[n.Key.HTLC] = append(s.resolved[n.Key.HTLC], n.Outcome)
		case channel.Settled:
			s.settled[n.Key.HTLC] = append(s.settled[n.Key.HTLC], n.Outcome)
		case channel.Closed:
			s.closed = true
		case channel.Violated, channel.Abandoned, channel.Refused:
			x.fatalf("%s: %s", s.Name, channel.DescribeNotice(n))
		}
	}
	return any
}

// bump is the wallet's answer.
func (x *pair) bump(j int, b channel.Bump) {
	s := x.sides[j]
	tx, fee, _, err := s.wallet.FundUpTo(b.Outputs, b.Rate, wallet.Options{
		Inputs: []wallet.Input{{Out: b.Out, Prev: b.Prev, Sequence: b.Sequence, Witness: b.Witness}},
		Extra:  btcutil.Amount(b.Extra), MaxFee: btcutil.Amount(b.MaxFee), LockTime: b.LockTime, Replaces: b.Replaces,
	})
	s.bumps++
	var poor *wallet.InsufficientError
	switch {
	case errors.As(err, &poor):
		x.fatalf("%s has no coins: %v, bump %+v", s.Name, err, b)
	case err != nil:
		s.refused++ // it pays too little to replace the one before; it will be asked again
		return
	}
	x.must(x.p.Do(j, channel.Funded{Out: b.Out, Tx: tx, Fee: int64(fee)}))
}

// mine makes blocks one by one.
func (w *world) mine(n int) {
	w.t.Helper()
	for range n {
		_, err := w.be.Mine(1, nil)
		must(w.t, err)
		w.sync()
	}
}

func (w *world) height() uint32 {
	h, _ := w.be.Tip()
	return h
}

// sync brings tracker, wallets and channels to the tip, a block a turn; then the mempool is looked at.
func (w *world) sync() {
	w.t.Helper()
	for w.step() {
	}
	for !w.quiet && w.look() {
	}
}

// step is one block less, or one more. false: the tip is reached.
func (w *world) step() bool {
	height, hash := w.tracker.Tip()
	if tip, _ := w.be.Tip(); height > tip {
		w.disconnect()
		return true
	}
	if b, err := w.be.Block(height); err == nil && b.Hash != hash {
		w.disconnect()
		return true
	}
	if tip, _ := w.be.Tip(); height == tip {
		return false
	}
	b, err := w.be.Block(height + 1)
	must(w.t, err)
	w.connect(b)
	facts, err := w.tracker.Connect(b)
	must(w.t, err)
	w.deliver(facts)
	return true
}

// connect gives every pair of the block what concerns it.
func (w *world) connect(b chain.Block) {
	txs := make(map[*pair][]*wire.MsgTx)
	for _, tx := range b.Txs[1:] {
		if x := w.claim(tx); x != nil {
			txs[x] = append(txs[x], tx)
		}
	}
	for _, x := range w.pairs {
		part := b
		part.Txs = append([]*wire.MsgTx{b.Txs[0]}, txs[x]...)
		x.blocks[b.Height] = part
		for _, own := range x.wallets {
			_, err := own.Connect(part)
			must(w.t, err)
		}
	}
}

// claim finds the pair that a transaction is of: whose outputs it spends.
func (w *world) claim(tx *wire.MsgTx) *pair {
	for _, in := range tx.TxIn {
		if x := w.family[in.PreviousOutPoint]; x != nil {
			id := tx.TxHash()
			for i := range tx.TxOut {
				w.family[wire.OutPoint{Hash: id, Index: uint32(i)}] = x
			}
			return x
		}
	}
	return nil
}

func (w *world) disconnect() {
	height, _ := w.tracker.Tip()
	facts := w.tracker.Disconnect()
	for _, x := range w.pairs {
		for _, own := range x.wallets {
			own.Disconnect(height)
		}
	}
	w.deliver(facts)
}

// deliver gives each side its facts as one turn.
func (w *world) deliver(facts []chain.Fact) {
	w.t.Helper()
	turns := make([][]channel.Event, 2*len(w.pairs))
	for _, f := range facts {
		if f.Owner != chain.Everyone {
			turns[f.Owner] = append(turns[f.Owner], channel.Chain{Event: f.Event})
			continue
		}
		for i := range turns {
			turns[i] = append(turns[i], channel.Chain{Event: f.Event})
		}
	}
	for _, x := range w.pairs {
		if x.p == nil {
			continue
		}
		for k := range 2 {
			j := k ^ x.index&1
			s, evs := x.sides[j], turns[x.owner(j)]
			switch {
			case len(evs) == 0 || s.closed:
			case w.away && j != x.cell.closer:
				s.missed = append(s.missed, evs...)
			default:
				x.must(x.p.Do(j, evs...))
			}
		}
		x.pump()
	}
}

// back lets those who were away hear of everything at once.
func (w *world) back() {
	w.away = false
	for _, x := range w.pairs {
		if s := x.sides[1-x.cell.closer]; len(s.missed) > 0 {
			x.do(1-x.cell.closer, s.missed...)
			s.missed = nil
		}
	}
}

// look tells of the transactions in the mempool that were not told since the last block. true: there were any.
func (w *world) look() (any bool) {
	for _, tx := range w.be.Mempool() {
		if id := tx.TxHash(); !w.told[id] {
			w.told[id], any = true, true
			w.deliver(w.tracker.Mempool(tx))
		}
	}
	return any
}

// restart restores both sides from their rows. They ask for everything anew. One that is away stays so.
func (x *pair) restart() {
	x.t.Helper()
	for j, s := range x.sides {
		if s.closed || x.away && j != x.cell.closer {
			continue
		}
		x.tracker.Forget(x.owner(j))
		core := s.Rows.Core
		x.must(x.p.Crash(j))
		if !bytes.Equal(core, s.State.Encode()) {
			x.fatalf("%s: encode(restore(x)) is not x", s.Name)
		}
		x.must(x.p.Do(j, channel.Chain{Event: testRates}))
	}
	x.pump()
}

// batch brings channels to the tip, many blocks a turn.
func (w *world) batch() {
	var facts []chain.Fact
	for tip, _ := w.be.Tip(); ; {
		height, _ := w.tracker.Tip()
		if height == tip {
			break
		}
		b, err := w.be.Block(height + 1)
		must(w.t, err)
		w.connect(b)
		more, err := w.tracker.Connect(b)
		must(w.t, err)
		facts = append(facts, more...)
	}
	w.deliver(facts)
}

// published is the transaction that a request wants published, nil if it is another.
func published(r chain.Request) *wire.MsgTx {
	if p, ok := r.(chain.Publish); ok {
		return p.Tx
	}
	return nil
}
