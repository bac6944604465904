package node

import (
	"crypto/sha256"
	"slices"

	"lightningrod/chain"
	"lightningrod/channel"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// This file does the books of tests whose channels end on chain: who must have what in the end, to the satoshi, with the fees read
// from the transactions.

// ledger is what everybody had at some height.
type ledger struct {
	w      *world
	height uint32
	had    map[string]btcutil.Amount // coins, by name
	open   map[wire.OutPoint]entry
	nodes  map[string]**Node // where the present life of each node is found
	moved  []transfer
	gifts  map[chainhash.Hash]string // who pays for a transaction that pays somebody else
}

// entry is a channel.
type entry struct {
	capacity      btcutil.Amount
	opener, other string
	local         lnwire.MilliSatoshi // what other had
}

// transfer is an HTLC that was paid.
type transfer struct {
	from, to string
	amount   lnwire.MilliSatoshi
}

// anchor is what an anchor of a commitment has, in satoshi. Nothing else in these channels has as little.
const anchor = 330

// books opens a ledger for nodes, whose variables outlive their restarts.
func (w *world) books(nodes ...**Node) *ledger {
	l := &ledger{w: w, had: map[string]btcutil.Amount{}, open: map[wire.OutPoint]entry{}, nodes: map[string]**Node{}, gifts: map[chainhash.Hash]string{}}
	l.height, _ = w.chain.Tip()
	for _, n := range nodes {
		name := (*n).cfg.Alias
		l.nodes[name], l.had[name] = n, coins(*n)
		for _, in := range (*n).registry.each(nil) {
			s := in.state.Load()
			e := l.open[s.Funding()]
			e.capacity = btcutil.Amount(s.Capacity())
			e.local = others(s)
			if s.Opener() {
				e.opener = name
			} else {
				e.other = name
			}
			l.open[s.Funding()] = e
		}
	}
	return l
}

// gift notes a transaction of one node for another, who gets amount of it.
func (l *ledger) gift(txid chainhash.Hash, from, to string, amount btcutil.Amount) {
	l.had[from] -= amount
	l.had[to] += amount
	l.gifts[txid] = from
}

// paid notes an HTLC that goes through.
func (l *ledger) paid(from, to string, amount lnwire.MilliSatoshi) {
	l.moved = append(l.moved, transfer{from, to, amount})
}

// check compares everybody's coins with what they must be now that the channels closed since are over, and the balances of the others.
func (l *ledger) check() {
	l.w.t.Helper()
	want := map[string]btcutil.Amount{}
	for name, had := range l.had {
		want[name] = had
	}
	for out, e := range l.open {
		share := l.share(e)
		closing := l.spender(out)
		if closing == nil {
			l.checkOpen(out, e, share)
			continue
		}
		// What the other side has is its own to the satoshi; the opener pays for the commitment, its anchors and what rounding takes.
		other := btcutil.Amount(0)
		for _, part := range share {
			other += btcutil.Amount(part / 1000)
		}
		want[e.other] += other
		want[e.opener] += e.capacity - other
		for _, out := range closing.TxOut {
			if out.Value == anchor {
				want[e.opener] -= anchor
			}
		}
	}
	l.eachTx(func(tx *wire.MsgTx) {
		payer := l.payer(tx)
		want[payer] -= l.fee(tx)
		for _, in := range tx.TxIn {
			if l.output(in.PreviousOutPoint).Value == anchor {
				want[payer] += anchor
			}
		}
	})
	for name, n := range l.nodes {
		if got := coins(*n); got != want[name] {
			l.w.t.Errorf("%s has %d sat, want %d: %+d", name, got, want[name], got-want[name])
		}
		l.checkLocks(name, *n)
	}
}

// share is what belongs to the side of a channel that did not open it: its balance and each HTLC that it was paid.
func (l *ledger) share(e entry) []lnwire.MilliSatoshi {
	share := []lnwire.MilliSatoshi{e.local}
	for _, m := range l.moved {
		if m.from == e.opener && m.to == e.other {
			share = append(share, m.amount)
		} else if m.from == e.other && m.to == e.opener {
			share[0] -= m.amount
		}
	}
	return share
}

func (l *ledger) checkOpen(out wire.OutPoint, e entry, share []lnwire.MilliSatoshi) {
	want := lnwire.MilliSatoshi(0)
	for _, part := range share {
		want += part
	}
	for name, n := range l.nodes {
		if name != e.opener && name != e.other {
			continue
		}
		ins := (*n).registry.each(nil)
		i := slices.IndexFunc(ins, func(in *inbox) bool { return in.state.Load().Funding() == out })
		if i < 0 {
			l.w.t.Errorf("%s has lost its channel between %s and %s", name, e.opener, e.other)
			continue
		}
		s := ins[i].state.Load()
		if got := others(s); got != want || s.Phase() != channel.PhaseNormal {
			l.w.t.Errorf("%s: %s has %d msat in the channel with %s, which is %s; want %d", name, e.other, got, e.opener, s.Phase(), want)
		}
	}
}

// others is what the side that did not open a channel has.
func others(s *channel.State) lnwire.MilliSatoshi {
	local, remote := s.Balance()
	if s.Opener() {
		return remote
	}
	return local
}

// checkLocks shows that no transaction waits any more, and so that no coin is locked.
func (l *ledger) checkLocks(name string, n *Node) {
	n.walletMu.Lock()
	defer n.walletMu.Unlock()
	for _, c := range n.wallet.Coins() {
		if c.Locked || c.Height == 0 {
			l.w.t.Errorf("%s: a coin of %d sat is left over: %+v", name, c.Value, c)
		}
	}
}

// eachTx goes through the transactions since the ledger was opened, coinbases left out.
func (l *ledger) eachTx(f func(*wire.MsgTx)) {
	tip, _ := l.w.chain.Tip()
	for h := l.height + 1; h <= tip; h++ {
		for _, tx := range l.block(h).Txs[1:] {
			f(tx)
		}
	}
}

func (l *ledger) block(height uint32) chain.Block {
	b, err := l.w.chain.Block(height)
	if err != nil {
		l.w.t.Fatal(err)
	}
	return b
}

// spender is the confirmed transaction that spends an output, nil if there is none.
func (l *ledger) spender(out wire.OutPoint) (by *wire.MsgTx) {
	l.eachTx(func(tx *wire.MsgTx) {
		if slices.ContainsFunc(tx.TxIn, func(in *wire.TxIn) bool { return in.PreviousOutPoint == out }) {
			by = tx
		}
	})
	return by
}

func (l *ledger) output(out wire.OutPoint) *wire.TxOut {
	tx, _, ok := l.w.chain.Tx(out.Hash)
	if !ok {
		l.w.t.Fatalf("transaction %v is unknown", out.Hash)
	}
	return tx.TxOut[out.Index]
}

func (l *ledger) fee(tx *wire.MsgTx) (fee btcutil.Amount) {
	for _, in := range tx.TxIn {
		fee += btcutil.Amount(l.output(in.PreviousOutPoint).Value)
	}
	for _, out := range tx.TxOut {
		fee -= btcutil.Amount(out.Value)
	}
	return fee
}

// payer is who pays the fee of a transaction: of a commitment the opener, else who gets an output of it, now or by what spends it.
func (l *ledger) payer(tx *wire.MsgTx) string {
	if e, ok := l.open[tx.TxIn[0].PreviousOutPoint]; ok {
		return e.opener
	}
	if name, ok := l.gifts[tx.TxHash()]; ok {
		return name
	}
	for name, n := range l.nodes {
		if (*n).gets(tx) {
			return name
		}
	}
	for i := range tx.TxOut {
		if by := l.spender(wire.OutPoint{Hash: tx.TxHash(), Index: uint32(i)}); by != nil {
			return l.payer(by)
		}
	}
	l.w.t.Fatalf("nobody has anything of transaction %v", tx.TxHash())
	return ""
}

// gets says whether an output of a transaction is the wallet's.
func (n *Node) gets(tx *wire.MsgTx) bool {
	n.walletMu.Lock()
	defer n.walletMu.Unlock()
	return slices.ContainsFunc(tx.TxOut, func(out *wire.TxOut) bool { return n.wallet.Owns(out.PkScript) })
}

// claim is how an HTLC output ended on chain.
type claim struct {
	height uint32
	paid   bool // by its preimage; else by timeout
}

// claims are those of a hash since the ledger was opened, by preimage or by an nLockTime of expiry.
func (l *ledger) claims(hash [32]byte, expiry uint32) (list []claim) {
	tip, _ := l.w.chain.Tip()
	for h := l.height + 1; h <= tip; h++ {
		for _, tx := range l.block(h).Txs[1:] {
			shown := slices.ContainsFunc(tx.TxIn, func(in *wire.TxIn) bool { return shows(in, hash) })
			if shown || tx.LockTime == expiry {
				list = append(list, claim{h, shown})
			}
		}
	}
	return list
}

// shows says whether an input shows the preimage of a hash.
func shows(in *wire.TxIn, hash [32]byte) bool {
	return slices.ContainsFunc(in.Witness, func(item []byte) bool { return len(item) == 32 && sha256.Sum256(item) == hash })
}

// pooled says whether the mempool has a transaction that f accepts.
func (w *world) pooled(f func(*wire.MsgTx) bool) bool {
	return slices.ContainsFunc(w.chain.Mempool(), f)
}

// barrier waits until the nodes have thought, written and published all that they can.
func (w *world) barrier(nodes ...*Node) {
	for range 2 { // what one publishes the others see
		for _, n := range nodes {
			if isDone(n) {
				continue
			}
			n.engine.settle()
			_ = n.durably(&turn{})
			done := make(chan error, 1)
			n.chainDesk.ask([]chainAsk{{req: chain.WatchTx{Txid: chainhash.Hash{1}}, done: []chan<- error{done}}})
			select {
			case <-done:
			case <-n.Done():
			}
			n.engine.settle()
		}
	}
}

// step mines a block and waits for the nodes.
func (w *world) step(nodes ...*Node) {
	w.t.Helper()
	w.mine(1, w.burn)
	live := slices.DeleteFunc(slices.Clone(nodes), isDone)
	w.seen(live...)
	w.barrier(live...)
}
