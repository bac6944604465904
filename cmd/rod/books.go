package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/btcsuite/btcd/wire"
)

// This file does the books of scenarios in which channels go on chain, and proves them: who must have what to the satoshi, with the fees
// read from the transactions.

// closings are the checks of scenarios in which channels go on chain.
var closings = []proof{
	{"balances", (*stage).showClosedBalances},
	{"held-at-lsp-a", (*stage).showHeld},
	{"one-payment", (*stage).showOnce},
	{"never-together", (*stage).showApart},
	{"transactions-valid", (*stage).showTransactions},
	{"commitments-valid", (*stage).showCommitments},
	{"ends-agree", (*stage).showEnds},
	{"invariants", (*stage).showInvariants},
	{"disk-is-memory", (*stage).showDisk},
	{"nothing-left", (*stage).showNothingLeft},
	{"nothing-locked", (*stage).showNothingLocked},
}

// books are the channels as they stood before the payment, and the height.
type books struct {
	height   uint32
	accounts map[wire.OutPoint]account
}

// account is a channel. Payments go from its opener to the other.
type account struct {
	capacity      uint64 // sat
	opener, other *actor
	local         uint64 // msat that the other had
}

// anchor is what an anchor of a commitment has (BOLT 3), in satoshi. Nothing else in these channels has as little.
const anchor = 330

// openBooks writes down what everybody has.
func (s *stage) openBooks() {
	s.books = books{accounts: map[wire.OutPoint]account{}}
	s.books.height, _ = s.chain.Tip()
	for _, a := range s.actors {
		s.before[a] = a.balance()
		if a.node == nil {
			continue
		}
		for _, c := range a.node.Channels() {
			x := s.books.accounts[c.State.Funding()]
			x.capacity = uint64(c.State.Capacity())
			if c.State.Opener() {
				x.opener = a
			} else {
				x.other = a
				local, _ := c.State.Balance()
				x.local = uint64(local)
			}
			s.books.accounts[c.State.Funding()] = x
		}
	}
}

// transactions are those of the blocks since the books were opened, coinbases left out.
func (s *stage) transactions() (list []*wire.MsgTx) {
	tip, _ := s.chain.Tip()
	for h := s.books.height + 1; h <= tip; h++ {
		if b, err := s.chain.Block(h); err == nil {
			list = append(list, b.Txs[1:]...)
		}
	}
	return list
}

// spender is the transaction that spends an output, nil if there is none.
func (s *stage) spender(out wire.OutPoint) *wire.MsgTx {
	for _, tx := range s.transactions() {
		if slices.ContainsFunc(tx.TxIn, func(in *wire.TxIn) bool { return in.PreviousOutPoint == out }) {
			return tx
		}
	}
	return nil
}

// closing is the transaction that closed a channel of the books, nil if it is open.
func (s *stage) closing(funding wire.OutPoint) *wire.MsgTx {
	if _, ours := s.books.accounts[funding]; !ours {
		return nil
	}
	return s.spender(funding)
}

func (s *stage) output(out wire.OutPoint) *wire.TxOut {
	tx, _, ok := s.chain.Tx(out.Hash)
	if !ok {
		return &wire.TxOut{}
	}
	return tx.TxOut[out.Index]
}

// feeOf is what a transaction pays, in satoshi.
func (s *stage) feeOf(tx *wire.MsgTx) (fee uint64) {
	for _, in := range tx.TxIn {
		fee += uint64(s.output(in.PreviousOutPoint).Value)
	}
	for _, out := range tx.TxOut {
		fee -= uint64(out.Value)
	}
	return fee
}

// payer is who pays the fee of a transaction: whoever gets an output of it, now or by what spends it. Of a commitment it is the opener, or
// who takes everything.
func (s *stage) payer(tx *wire.MsgTx) *actor {
	if x, ok := s.books.accounts[tx.TxIn[0].PreviousOutPoint]; ok {
		if s.taken(x) {
			return x.other
		}
		return x.opener
	}
	for _, a := range s.actors {
		if slices.ContainsFunc(tx.TxOut, func(out *wire.TxOut) bool { return a.node.Owns(out.PkScript) }) {
			return a
		}
	}
	for i := range tx.TxOut {
		if by := s.spender(wire.OutPoint{Hash: tx.TxHash(), Index: uint32(i)}); by != nil {
			return s.payer(by)
		}
	}
	return nil
}

// taken says whether one side takes everything in a channel.
func (s *stage) taken(x account) bool { return s.want.punished && x.opener == s.a }

// costs is what going on chain has cost everybody: fees, and the anchors that nobody sweeps, in satoshi.
func (s *stage) costs() map[*actor]uint64 {
	costs := map[*actor]uint64{}
	for _, tx := range s.transactions() {
		a := s.payer(tx)
		costs[a] += s.feeOf(tx)
		if _, closes := s.books.accounts[tx.TxIn[0].PreviousOutPoint]; closes {
			costs[a] += anchor * uint64(len(anchors(tx)))
		}
	}
	for _, tx := range s.transactions() {
		for _, in := range tx.TxIn {
			if s.output(in.PreviousOutPoint).Value == anchor {
				costs[s.payer(tx)] -= anchor
			}
		}
	}
	return costs
}

// anchors are those outputs of a commitment. A side with nothing in the channel has none.
func anchors(tx *wire.MsgTx) (list []*wire.TxOut) {
	for _, out := range tx.TxOut {
		if out.Value == anchor {
			list = append(list, out)
		}
	}
	return list
}

// moved is what the payment brings to the other side of a channel, in msat.
func (s *stage) moved(x account) uint64 {
	if s.want.refunded {
		return 0
	}
	fees := s.fees()
	switch x.opener {
	case s.a:
		return s.want.amount + fees[s.lspA] + fees[s.lspB]
	case s.lspA:
		return s.want.amount + fees[s.lspB]
	}
	return s.want.amount
}

// wealth is what an actor owns in the end, in msat: coins, its side of the channels that are open, and for A, if it was away when its channel was
// closed, the output of the commitment that waits for it.
func (s *stage) wealth(a *actor) uint64 {
	if !s.want.lost || a != s.a {
		return a.balance()
	}
	sum := a.balance()
	for _, c := range a.node.Channels() {
		tx := s.closing(c.State.Funding())
		if tx == nil {
			continue
		}
		local, _ := c.State.Balance()
		sum -= uint64(local)
		for i, out := range tx.TxOut {
			if _, _, unspent := s.chain.Unspent(wire.OutPoint{Hash: tx.TxHash(), Index: uint32(i)}); unspent && out.Value != anchor {
				sum += uint64(out.Value) * 1000
			}
		}
	}
	return sum
}

// showClosedBalances computes what everybody must have from the books, the payment, and the fees of the transactions.
func (s *stage) showClosedBalances() (string, error) {
	want, costs := map[*actor]int64{}, s.costs()
	closed := 0
	for out, x := range s.books.accounts {
		m := s.moved(x)
		if s.closing(out) == nil {
			want[x.other] += int64(m)
			want[x.opener] -= int64(m)
			continue
		}
		closed++
		// Outputs are whole satoshis. What the other side loses by that, the opener has.
		other := x.local/1000*1000 + m/1000*1000
		if s.taken(x) {
			other = x.capacity * 1000
		}
		want[x.other] += int64(other) - int64(x.local)
		want[x.opener] -= int64(other) - int64(x.local)
	}
	if closed == 0 {
		return "", errors.New("no channel was closed")
	}
	spent := uint64(0)
	for a, cost := range costs {
		if a == nil {
			return "", fmt.Errorf("nobody has paid %d sat of fees", cost)
		}
		want[a] -= int64(cost) * 1000
		spent += cost
	}
	text := ""
	for _, a := range s.actors {
		got := int64(s.wealth(a)) - int64(s.before[a])
		if got != want[a] {
			return "", fmt.Errorf("%s has changed by %s msat, want %s", a.name, signed(got), signed(want[a]))
		}
		text += fmt.Sprintf("%s %s, ", a.name, signed(got))
	}
	return fmt.Sprintf("%sto the msat; %s of it went to miners and into anchors, %s closed", text, sats(spent*1000), plural(closed, "channel")), nil
}

// showTransactions runs the script engine on every transaction since the books were opened.
func (s *stage) showTransactions() (string, error) {
	inputs := 0
	list := s.transactions()
	for _, tx := range list {
		if err := s.chain.CheckTx(tx); err != nil {
			return "", fmt.Errorf("transaction %v: %w", tx.TxHash(), err)
		}
		inputs += len(tx.TxIn)
	}
	if len(list) == 0 {
		return "", errors.New("there are none")
	}
	return fmt.Sprintf("%s in blocks, all %s run by the script engine", plural(len(list), "transaction"), plural(inputs, "input")), nil
}

// showNothingLocked looks for coins that wait for a transaction which never comes.
func (s *stage) showNothingLocked() (string, error) {
	coins := 0
	for _, a := range s.actors {
		for _, c := range a.node.Coins() {
			if c.Locked || c.Height == 0 {
				return "", fmt.Errorf("%s: a coin of %d sat is not free", a.name, int64(c.Value))
			}
			coins++
		}
	}
	if n := len(s.chain.Mempool()); n > 0 {
		return "", fmt.Errorf("%d transactions are not confirmed", n)
	}
	return fmt.Sprintf("all %s are confirmed and free, and the mempool is empty", plural(coins, "coin")), nil
}
