package wallet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// player runs a wallet at random on a chain that reorganises, beside an oracle that looks through the whole chain each time.
type player struct {
	*desk
	*rand.Rand
	source  uint32 // height of the coinbase that the next deposit comes from
	drafts  []*wire.MsgTx
	scripts [][]byte
}

func (p *player) step() {
	switch n := p.IntN(20); {
	case n < 4:
		p.pay()
	case n < 9:
		p.spend()
	case n < 12 && len(p.drafts) > 0:
		i := p.IntN(len(p.drafts))
		tx := p.drafts[i]
		p.drafts = append(p.drafts[:i], p.drafts[i+1:]...)
		if p.IntN(3) == 0 {
			p.save(p.Release(tx))
		} else if pending := p.pending[tx.TxHash()]; pending != nil && pending.live() {
			p.publishAll(tx)
		}
	case n < 16:
		p.mine(1 + p.IntN(3))
	case n < 17:
		p.reorg()
	case n < 18:
		p.twin()
	default:
		p.restart()
	}
}

// pay deposits to old and new addresses.
func (p *player) pay() {
	for range 1 + p.IntN(2) {
		p.scripts = append(p.scripts, p.newAddress(Kind(p.IntN(2))))
	}
	var to [][]byte
	for range 1 + p.IntN(3) {
		to = append(to, p.scripts[p.IntN(len(p.scripts))])
	}
	p.deposit(p.source, 500+p.Int64N(200_000), to...)
	p.source++
}

// spend funds a transaction, and checks that no satoshi is lost from the books.
func (p *player) spend() {
	var outs []*wire.TxOut
	var paid btcutil.Amount
	for range p.IntN(3) {
		out := foreign(400 + p.Int64N(60_000))
		outs = append(outs, out)
		paid += btcutil.Amount(out.Value)
	}
	rate := chain.FeePerKw(253 + p.IntN(5000))
	opt := Options{Change: Kind(p.IntN(2)), Unconfirmed: p.IntN(2) == 0, Publish: p.IntN(2) == 0}
	c, u := p.Balance()
	tx, rows, err := p.Fund(outs, rate, opt)
	if err != nil {
		return
	}
	p.save(rows)
	var fee btcutil.Amount
	for _, in := range tx.TxIn {
		coin, ok := p.output(in.PreviousOutPoint)
		if !ok || coin.Height == 0 && !opt.Unconfirmed {
			p.t.Fatalf("spends %+v", coin)
		}
		fee += coin.Value
	}
	for _, out := range tx.TxOut {
		fee -= btcutil.Amount(out.Value)
	}
	least := btcutil.Amount(rate.Fee(weightOf(tx)))
	// With no change output, what it would have cost to make one and less than dust go to the fee.
	most := least + btcutil.Amount(rate.Fee(4*43+4*int64(len(tx.TxIn)))) + 330
	if fee < least || fee > most {
		p.t.Fatalf("fee %d, want %d to %d", int64(fee), int64(least), int64(most))
	}
	if c2, u2 := p.Balance(); c+u != c2+u2+paid+fee {
		p.t.Fatalf("balance %v before, %v after paying %v with fee %v", c+u, c2+u2, paid, fee)
	}
	p.drafts = append(p.drafts, tx)
}

// publishAll publishes tx after the drafts that it spends.
func (p *player) publishAll(tx *wire.MsgTx) {
	for _, in := range tx.TxIn {
		if parent := p.pending[in.PreviousOutPoint.Hash]; parent != nil && parent.live() {
			p.publishAll(parent.tx)
		}
	}
	// The twin's transaction may be in the mempool after a reorganisation; then neither ours nor its children can be.
	err := p.c.Publish(context.Background(), tx)
	if err != nil && !errors.Is(err, chain.ErrConflict) && !errors.Is(err, chain.ErrMissingInputs) {
		p.t.Fatal(err)
	}
	p.mempool()
}

// reorg takes blocks off and lets empty ones, or others, take their place.
func (p *player) reorg() {
	depth := 1 + p.IntN(4)
	if err := p.c.Reorg(depth); err != nil {
		p.t.Fatal(err)
	}
	if p.IntN(2) == 0 {
		p.follow()
	}
	for range p.IntN(depth + 2) {
		if _, err := p.c.MineTxs(nil); err != nil {
			p.t.Fatal(err)
		}
	}
	if p.IntN(2) == 0 {
		p.mine(1)
	}
	p.follow()
}

// twin is a second wallet of the same seed that spends coins under our feet, straight into a block. It takes more than one
// transaction of ours may have, so that they conflict.
func (p *player) twin() {
	other := newDesk(p.t, p.c)
	other.follow()
	for txid := range other.pending {
		delete(other.pending, txid) // it knows nothing of the mempool
	}
	tx, _, err := other.Sweep(foreign(0).PkScript, 300, Options{})
	if err != nil {
		return
	}
	if _, err := p.c.MineTxs(nil, tx); err != nil {
		p.t.Fatal(err)
	}
	p.follow()
	p.check()
	if p.IntN(2) == 0 {
		p.reorg() // what the block made impossible is possible again, unless the same is mined again
	}
}

// check compares the books with the chain.
func (p *player) check() {
	p.t.Helper()
	if err := p.compare(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *player) compare() error {
	tip, _ := p.c.Tip()
	unspent := map[wire.OutPoint]btcutil.Amount{}
	spender := map[wire.OutPoint]chainhash.Hash{}
	for h := uint32(1); h <= tip; h++ {
		b, err := p.c.Block(h)
		if err != nil {
			return err
		}
		for _, tx := range b.Txs {
			for i, out := range tx.TxOut {
				if p.Owns(out.PkScript) {
					unspent[wire.OutPoint{Hash: tx.TxHash(), Index: uint32(i)}] = btcutil.Amount(out.Value)
				}
			}
			for _, in := range tx.TxIn {
				delete(unspent, in.PreviousOutPoint)
				spender[in.PreviousOutPoint] = tx.TxHash()
			}
		}
	}
	for txid, pending := range p.pending {
		confirmed, dead := false, false
		for _, in := range pending.tx.TxIn {
			by, spent := spender[in.PreviousOutPoint]
			confirmed = confirmed || spent && by == txid
			parent := p.pending[in.PreviousOutPoint.Hash]
			dead = dead || spent && by != txid || parent != nil && parent.dead != 0
		}
		if confirmed != (pending.height != 0) || dead != (pending.dead != 0) {
			return fmt.Errorf("%v is at height %d, dead at %d; on the chain %v, conflict %v", txid, pending.height, pending.dead, confirmed, dead)
		}
	}
	for _, c := range p.Coins() {
		if c.Height == 0 {
			continue
		}
		if unspent[c.Out] != c.Value {
			return fmt.Errorf("coin %v of %v, on the chain %v", c.Out, c.Value, unspent[c.Out])
		}
		delete(unspent, c.Out)
	}
	for out, value := range unspent {
		return fmt.Errorf("coin %v of %v is missing", out, value)
	}
	for key, value := range p.disk {
		if !bytes.Equal(value, p.value([]byte(key))) {
			return fmt.Errorf("row %x is not what was stored", key)
		}
	}
	return nil
}

func TestRandom(t *testing.T) {
	first := rand.Uint64()
	for i := range uint64(6) {
		seed := first + i
		ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			p := &player{desk: newDesk(t, open(t)), Rand: rand.New(rand.NewPCG(seed, 0)), source: 1}
			p.mine(200)
			for range 60 {
				p.step()
				p.follow()
				p.check()
			}
			p.settle()
		})
		if !ok {
			return
		}
	}
}

// settle ends everything that is pending; then nothing is unconfirmed, and the seed alone finds the same coins.
func (p *player) settle() {
	p.t.Helper()
	p.mine(1)
	for _, pending := range p.pending {
		p.save(p.Release(pending.tx))
	}
	if c, u := p.Balance(); u != 0 {
		p.t.Errorf("%v confirmed, %v unconfirmed in the end", c, u)
	}
	p.restart()
	p.check()
	if err := p.Reload(); err != nil {
		p.t.Error(err)
	}
}
