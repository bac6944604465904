package bitcoind

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

const (
	// A mempool of up to smallPool transactions is listed with every poll, a larger one every largePoolEvery: the list alone has
	// 70 bytes for each.
	smallPool      = 5000
	largePoolEvery = 10 * time.Second
	// fetchTxs is how many transactions are asked for at once.
	fetchTxs = 200
)

// pool follows the mempool. All but list belongs to the poller.
type pool struct {
	limit int
	list  *atomic.Pointer[[]*wire.MsgTx]

	txs    map[chainhash.Hash]*wire.MsgTx // nil: there, but left out
	kept   int                            // how many of txs are not nil
	begun  bool
	listed time.Time
	full   bool // said that the limit is reached
}

func newPool(limit int) pool {
	return pool{limit: limit, list: new(atomic.Pointer[[]*wire.MsgTx]), txs: map[chainhash.Hash]*wire.MsgTx{}}
}

// Mempool is the unconfirmed transactions as of the last look, parents before children. See Config.MempoolLimit for what it
// leaves out. Nobody changes them.
func (b *Backend) Mempool() []*wire.MsgTx {
	if l := b.pool.list.Load(); l != nil {
		return *l
	}
	return nil
}

func (p *pool) due(now time.Time) bool {
	if len(p.txs) > smallPool && now.Sub(p.listed) < largePoolEvery {
		return false
	}
	p.listed = now
	return true
}

// refreshPool takes over the names of all that is in bitcoind's mempool, and reads the transactions that are new.
// bitcoind lists parents before children.
func (b *Backend) refreshPool(ctx context.Context, ids []hash) (changed bool, err error) {
	p := &b.pool
	first := !p.begun
	p.begun = true
	listed := make(map[chainhash.Hash]bool, len(ids))
	var fresh []chainhash.Hash
	for _, id := range ids {
		id := chainhash.Hash(id)
		listed[id] = true
		if _, ok := p.txs[id]; !ok {
			fresh = append(fresh, id)
		}
	}
	for id, tx := range p.txs {
		if !listed[id] {
			if tx != nil {
				p.kept--
				changed = true
			}
			delete(p.txs, id)
		}
	}
	if first && len(fresh) > p.limit {
		b.leaveOut(fresh)
		fresh = nil
	}
	for part := range slices.Chunk(fresh, fetchTxs) {
		got, err := b.readPooled(ctx, part)
		if err != nil {
			return changed, err // what is missing is fresh at the next poll too
		}
		changed = changed || got
	}
	if changed {
		list := make([]*wire.MsgTx, 0, p.kept)
		for _, id := range ids {
			if tx := p.txs[chainhash.Hash(id)]; tx != nil {
				list = append(list, tx)
			}
		}
		p.list.Store(&list)
	}
	return changed, nil
}

// readPooled reads transactions of the mempool, as many as there is room for.
func (b *Backend) readPooled(ctx context.Context, ids []chainhash.Hash) (got bool, err error) {
	p := &b.pool
	room := min(len(ids), max(0, p.limit-p.kept))
	if room < len(ids) {
		b.leaveOut(ids[room:])
	}
	txs, err := b.pooled(ctx, ids[:room])
	if err != nil {
		return false, err
	}
	for i, tx := range txs {
		if tx == nil {
			continue // it has left meanwhile
		}
		p.txs[ids[i]] = tx
		p.kept++
		got = true
	}
	return got, nil
}

func (b *Backend) leaveOut(ids []chainhash.Hash) {
	p := &b.pool
	for _, id := range ids {
		p.txs[id] = nil
	}
	if !p.full {
		p.full = true
		b.cfg.Log.Info("the mempool is larger than the part of it that is kept", "limit", p.limit)
	}
}

// pooled reads transactions of the mempool; nil stands for one that is not there.
func (b *Backend) pooled(ctx context.Context, ids []chainhash.Hash) ([]*wire.MsgTx, error) {
	answers := make([]transaction, len(ids))
	calls := make([]call, len(ids))
	for i, id := range ids {
		calls[i] = call{method: "getrawtransaction", params: []any{id.String()}, result: &answers[i]}
	}
	if err := b.rpc.batch(ctx, calls); err != nil {
		return nil, err
	}
	txs := make([]*wire.MsgTx, len(ids))
	for i, id := range ids {
		switch tx := answers[i].MsgTx; {
		case code(calls[i].err) == codeNotFound:
		case calls[i].err != nil:
			return nil, calls[i].err
		case tx == nil || tx.TxHash() != id:
			return nil, fmt.Errorf("getrawtransaction of %v: answer is another", id)
		default:
			txs[i] = tx
		}
	}
	return txs, nil
}

// Spending is the transactions of bitcoind's whole mempool that spend any of outs, each once. Where Mempool leaves
// something out, this does not.
func (b *Backend) Spending(ctx context.Context, outs []wire.OutPoint) ([]*wire.MsgTx, error) {
	if len(outs) == 0 {
		return nil, nil
	}
	type outpoint struct {
		Txid string `json:"txid"`
		Vout uint32 `json:"vout"`
	}
	asked := make([]outpoint, len(outs))
	for i, o := range outs {
		asked[i] = outpoint{o.Hash.String(), o.Index}
	}
	var answers []struct {
		By *hash `json:"spendingtxid"`
	}
	if err := b.rpc.Call(ctx, &answers, "gettxspendingprevout", asked); err != nil {
		return nil, err
	}
	var ids []chainhash.Hash
	for _, a := range answers {
		if a.By != nil && !slices.Contains(ids, chainhash.Hash(*a.By)) {
			ids = append(ids, chainhash.Hash(*a.By))
		}
	}
	txs, err := b.pooled(ctx, ids)
	return slices.DeleteFunc(txs, func(tx *wire.MsgTx) bool { return tx == nil }), err
}
