package regtest_test

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"lightningrod/regtest"
)

// hodl is a payment that waits at its payee.
type hodl struct {
	payee    regtest.Hodler
	preimage []byte
	done     chan struct{}
	outcome  regtest.Outcome
	err      error
}

// hodl pays an invoice whose payee waits, and returns when it does: HTLCs are pending on the whole way.
func (w *world) hodl(l *line) error {
	name := l.words[0]
	payer, err := w.node(l.words[1])
	if err != nil {
		return err
	}
	payee, err := w.node(l.words[2])
	if err != nil {
		return err
	}
	amount, err := msat(l.words[3])
	if err != nil {
		return err
	}
	h := &hodl{done: make(chan struct{})}
	var ok bool
	if h.payee, ok = payee.(regtest.Hodler); !ok {
		return errors.New("the payee has no invoices that wait")
	}
	inv, preimage, err := h.payee.Hodl(uint64(amount))
	if err != nil {
		return err
	}
	h.preimage = preimage
	w.hodls[name] = h
	go func() {
		defer close(h.done)
		h.outcome, h.err = payer.Pay(regtest.Payment{Invoice: inv.Text})
	}()
	return w.until(func() error {
		accepted, err := h.payee.Accepted(inv)
		if err == nil && !accepted {
			err = errors.New("it does not wait at the payee")
		}
		return err
	})
}

// settle has the payee take the payment.
func (w *world) settle(l *line) error {
	h := w.hodls[l.words[0]]
	if h == nil {
		return errors.New("no such payment")
	}
	return h.payee.Settle(h.preimage)
}

// outcome waits for what the payer says of a payment.
func (w *world) outcome(l *line) error {
	h := w.hodls[l.words[0]]
	if h == nil {
		return errors.New("no such payment")
	}
	select {
	case <-h.done:
	case <-time.After(patience):
		return errors.New("no outcome")
	}
	switch {
	case h.err != nil:
		return h.err
	case h.outcome.Paid != (l.words[1] == "paid"):
		return fmt.Errorf("%+v", h.outcome)
	}
	return nil
}

// forced is a channel that was closed by one side.
type forced struct {
	funding  string
	capacity int64
	height   uint32   // when that was begun
	before   [2]int64 // coins of both
}

// force has the first of two close their channel alone. Only that one has to run.
func (w *world) force(l *line) error {
	a, err := w.node(l.words[0])
	if err != nil {
		return err
	}
	b := w.nodes[l.words[1]]
	all, err := between(a, b)
	if err != nil {
		return err
	}
	if len(all) != 1 {
		return fmt.Errorf("%d channels, want 1", len(all))
	}
	f := &forced{funding: all[0].Funding, capacity: all[0].Capacity}
	f.height, _ = w.btc.Tip()
	if f.before[0], err = a.Coins(); err != nil {
		return err
	}
	if f.before[1] = w.coins[l.words[1]]; !w.down[l.words[1]] {
		if f.before[1], err = b.Coins(); err != nil {
			return err
		}
	}
	w.forced = f
	if err := a.Close(f.funding, true); err != nil {
		return err
	}
	_, err = w.spender(f.funding)
	return err
}

// sweepBlocks is how far swept goes: delays and expiries are over by then, and what is ours a hundred blocks deep.
const sweepBlocks = 700

// swept mines, block by block, until both have forgotten the channel. Every satoshi of it is in their wallets then, but for the fees of the
// blocks, and anchors that nobody wanted. With gains each has got at least so much, less all those fees.
func (w *world) swept(l *line) error {
	a, b, err := w.pair(l)
	if err != nil {
		return err
	}
	f := w.forced
	if f == nil {
		return errors.New("no channel was forced")
	}
	for blocks := 0; ; {
		ours, err := between(a, b)
		if err != nil {
			return err
		}
		theirs, err := between(b, a)
		if err != nil {
			return err
		}
		if len(ours)+len(theirs) == 0 {
			w.t.Logf("over after %d blocks", blocks)
			break
		}
		if blocks >= sweepBlocks {
			return fmt.Errorf("not over after %d blocks: %s has %+v, %s has %+v", blocks, l.words[0], ours, l.words[1], theirs)
		}
		if blocks, err = w.calm(blocks); err != nil {
			return err
		}
	}
	fees := feesSince(w.btc, f.height)
	left, err := w.unspent(f.funding, a, b)
	if err != nil {
		return err
	}
	return w.until(func() error { return f.judge(l, []regtest.Node{a, b}, fees, left) })
}

// calm mines a block, or a few where nobody has anything in the mempool, after a moment in which the nodes can publish what they see fit to
// with the last one. It gives the count of blocks so far.
func (w *world) calm(blocks int) (int, error) {
	time.Sleep(20 * time.Millisecond)
	n := 1
	switch {
	case len(w.btc.Mempool()) > 0:
	case w.kind == "eclair": // comes to a block two seconds after it was told of it
		n = 12
	default:
		n = 4
	}
	return blocks + n, w.mine(n)
}

func (f *forced) judge(l *line, nodes []regtest.Node, fees, left int64) error {
	var sum int64
	var gains [2]int64
	for i, n := range nodes {
		coins, err := n.Coins()
		if err != nil {
			return err
		}
		gains[i] = coins - f.before[i]
		sum += gains[i]
	}
	if sum != f.capacity-fees-left {
		return fmt.Errorf("they have gained %d sat of %d; fees are %d, not claimed %d", gains, f.capacity, fees, left)
	}
	if l.options["gains"] == "" {
		return nil
	}
	for i, text := range strings.SplitN(l.options["gains"], ",", 2) {
		want, err := sat(text)
		if err != nil {
			return err
		}
		if gains[i] < want-fees-left {
			return fmt.Errorf("%s has gained %d sat; fees are %d", l.words[i], gains[i], fees)
		}
	}
	return nil
}

// feesSince sums the fees of all blocks above a height: what their coinbases have beyond the subsidy.
func feesSince(btc *regtest.Bitcoin, height uint32) (fees int64) {
	for h, hash := btc.Tip(); h > height; h-- {
		block := btc.Block(hash)
		const subsidy = 50_0000_0000
		fees += outputs(block.Transactions[0]) - subsidy>>(h/halving)
		hash = block.Header.PrevBlock
	}
	return fees
}

// unspentOutputs sums the outputs of a transaction that nobody has claimed.
func unspentOutputs(btc *regtest.Bitcoin, tx string) (left int64) {
	for i := range 1000 {
		var out *struct{ Value float64 }
		btc.Call(&out, "gettxout", tx, i)
		if out != nil {
			left += int64(out.Value*1e8 + 0.5)
		}
	}
	return left
}

// keeper is a node that leaves outputs of its own where they are, as coins of its wallet.
type keeper interface {
	Keeps(txid string) (sat int64, err error)
}

// unspent sums the outputs that nobody has claimed of the transaction that spent the funding output: two anchors at most.
func (w *world) unspent(funding string, ends ...regtest.Node) (left int64, err error) {
	tx := w.commitment(funding)
	if tx == "" {
		return 0, errors.New("the funding output is not spent")
	}
	left = unspentOutputs(w.btc, tx)
	for _, n := range ends {
		if k, ok := n.(keeper); ok {
			kept, err := k.Keeps(tx)
			if err != nil {
				return 0, err
			}
			left -= kept
		}
	}
	if left > 2*330 {
		return 0, fmt.Errorf("%d sat of the commitment %s are not claimed", left, tx)
	}
	return left, nil
}

// commitment is the id of the transaction in a block that spent an output.
func (w *world) commitment(outpoint string) string {
	tip, hash := w.btc.Tip()
	for h := tip; h > w.forced.height; h-- {
		block := w.btc.Block(hash)
		for _, tx := range block.Transactions {
			for _, in := range tx.TxIn {
				if in.PreviousOutPoint.String() == outpoint {
					return tx.TxHash().String()
				}
			}
		}
		hash = block.Header.PrevBlock
	}
	return ""
}

// copied is a node whose folder can be put back to an earlier day.
type copied interface {
	Snapshot() error
	Restore() error
}

func (w *world) stopped(l *line) (copied, error) {
	n, ok := w.nodes[l.words[0]].(copied)
	if !ok || !w.down[l.words[0]] {
		return nil, errors.New("stop it first")
	}
	return n, nil
}

func (w *world) snapshot(l *line) error {
	n, err := w.stopped(l)
	if err != nil {
		return err
	}
	return n.Snapshot()
}

func (w *world) restore(l *line) error {
	n, err := w.stopped(l)
	if err != nil {
		return err
	}
	return n.Restore()
}
