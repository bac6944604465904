package node

import (
	"slices"

	"lightningrod/chain/wallet"
	"lightningrod/channel"
	"lightningrod/channel/onchain"
	"lightningrod/node/store"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/wire"
)

// This file is what the node does for a channel on chain: it finds coins for transactions that cannot pay for themselves, reads what was once
// written down about a commitment that the peer has revoked, and clears up in the end.

// ChannelWarned says that funds of a channel may be lost.
const ChannelWarned Kind = "channel.warning"

// put queues a turn. Rows of the wallet are written as the wallet has them at this moment, so that those of two calls may be queued
// in either order: none is ever older than one before it.
func (n *Node) put(t *turn) {
	locked := false
	for i := range t.rows {
		op := &t.rows[i]
		if op.Table != store.Wallet {
			continue
		}
		if !locked {
			locked = true
			n.walletMu.Lock()
			defer n.walletMu.Unlock()
		}
		op.Value = n.wallet.Row(op.Key).Value
	}
	n.queue.put(t)
}

// bump funds a transaction. Its answer is the next turn of the channel, with the rows that lock the coins: the channel and the wallet
// know of the transaction in one write, or neither does. Without coins there is no answer, and the channel asks again at the next block.
func (n *Node) bump(in *inbox, b onchain.Bump) {
	if in.answered || in.over() {
		return
	}
	n.walletMu.Lock()
	tx, fee, rows, err := n.wallet.FundUpTo(b.Outputs, b.Rate, wallet.Options{
		Inputs: []wallet.Input{{Out: b.Out, Prev: b.Prev, Sequence: b.Sequence, Witness: b.Witness}},
		Extra:  btcutil.Amount(b.Extra), MaxFee: btcutil.Amount(b.MaxFee), LockTime: b.LockTime, Replaces: b.Replaces,
		Split: in.pending(),
	})
	n.walletMu.Unlock()
	if err != nil {
		if !in.poor {
			n.log.Error("no coins for a transaction that needs them", "channel", in.id, "output", b.Out, "deadline", b.Deadline, "error", err)
		}
		in.poor = true
		return
	}
	in.poor = false
	in.funded = append(in.funded, posted{ev: channel.Funded{Out: b.Out, Tx: tx, Fee: int64(fee)}, rows: walletRows(rows)})
}

// pending is how many HTLCs of a channel have not ended: each may need a transaction, and all of them at the same height. With one coin
// they would go one a block.
func (in *inbox) pending() (n int) {
	s := in.state.Load()
	for _, h := range slices.Concat(s.Offered(), s.Received()) {
		if !h.Over {
			n++
		}
	}
	return n
}

// answer runs the turn that takes what bump has funded. What that turn asks for has time until the next block.
func (e *engine) answer(in *inbox) {
	if len(in.funded) == 0 {
		return
	}
	batch := in.funded
	in.funded, in.answered = nil, true
	e.turn(in, batch)
	in.answered = false
}

// releases gives back the coins of the transactions that a turn has no use for. The rows are written with that turn.
func (n *Node) releases(notices []channel.Notice) (rows store.Write) {
	for _, x := range notices {
		if r, ok := x.(channel.Release); ok {
			n.walletMu.Lock()
			rows = append(rows, walletRows(n.wallet.Release(r.Tx))...)
			n.walletMu.Unlock()
		}
	}
	return rows
}

// unlock gives back the coins of a transaction that will never be published.
func (n *Node) unlock(tx *wire.MsgTx) {
	n.walletMu.Lock()
	rows := n.wallet.Release(tx)
	n.walletMu.Unlock()
	n.put(&turn{rows: walletRows(rows)})
}

// readRevoked reads what was written about a commitment when the peer revoked it, and posts it. It waits for what is queued, since the row may
// be; the channel goes on meanwhile.
func (n *Node) readRevoked(in *inbox, number uint64) {
	n.loops.Go(func() {
		if n.durably(&turn{}) != nil {
			return
		}
		data, err := n.store.Get(store.Revoked, revokedKey(in.id, number))
		if err != nil {
			n.log.Error("reading a revoked commitment", "channel", in.id, "number", number, "error", err)
			return // asked again with the next block
		}
		n.engine.postEvent(in, channel.RevokedData{Number: number, Data: data})
	})
}

// remains deletes what a channel that is over has on the disk besides its own row: HTLCs that ended on chain, and what was kept of revoked
// commitments. They are in the same write, since bodies without a channel are no state to start from.
func (n *Node) remains(id channel.ID, states ...*channel.State) (rows store.Write) {
	for _, s := range states {
		for _, h := range slices.Concat(s.Offered(), s.Received()) {
			k := channel.BodyKey{Offered: h.HTLC.Origin != nil, HTLC: h.HTLC.Key.HTLC}
			rows = append(rows, store.Op{Table: store.HTLC, Key: bodyKey(id, k)})
		}
	}
	err := n.store.Range(store.Revoked, u64(uint64(id)), u64(uint64(id)+1), func(key, _ []byte) error {
		rows = append(rows, store.Op{Table: store.Revoked, Key: key})
		return nil
	})
	if err != nil {
		n.log.Error("rows of revoked commitments are left behind", "channel", id, "error", err)
	}
	return rows
}

// warnings is the news of a turn that speaks of funds in danger.
func warnings(in *inbox, notices []channel.Notice) (evs []Event) {
	for _, x := range notices {
		if w, ok := x.(channel.Warn); ok {
			evs = append(evs, event(ChannelWarned, "channel", in.id, "peer", in.peer, "reason", w.Text))
		}
	}
	return evs
}
