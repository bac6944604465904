package node

import (
	"context"
	"log/slog"
	"slices"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// packager is a Backend that takes a transaction, the last of txs, together with its unconfirmed parents, so that it may pay for them. Errors
// are as of Publish.
type packager interface {
	PublishPackage(ctx context.Context, txs ...*wire.MsgTx) error
}

// publications are the transactions that are broadcast again with every block, until they are confirmed or cannot be any more. An
// error of the backend is never a reason to give up. One goroutine owns them.
type publications struct {
	backend Backend
	log     *slog.Logger
	list    map[chainhash.Hash]*publication
}

type publication struct {
	tx    *wire.MsgTx
	txid  chainhash.Hash
	owner uint64
	over  uint32 // height of the block that has it, or a transaction that spends one of its inputs; 0: none
	said  string // the last error, so that it is logged once
}

// kept is how many blocks after its end a publication is remembered, for a reorganisation that undoes the end.
const kept = 144

func newPublications(b Backend, log *slog.Logger) publications {
	return publications{backend: b, log: log, list: map[chainhash.Hash]*publication{}}
}

// add takes a transaction of an owner, in place of those of the same owner that spend an output it spends as well.
func (ps *publications) add(owner uint64, tx *wire.MsgTx) *publication {
	txid := tx.TxHash()
	if p := ps.list[txid]; p != nil {
		p.tx, p.owner = tx, owner
		return p
	}
	for id, p := range ps.list {
		if p.owner == owner && p.over == 0 && p.spends(tx.TxIn) {
			delete(ps.list, id)
		}
	}
	p := &publication{tx: tx, txid: txid, owner: owner}
	ps.list[txid] = p
	return p
}

func (p *publication) spends(any []*wire.TxIn) bool {
	return slices.ContainsFunc(p.tx.TxIn, func(in *wire.TxIn) bool {
		return slices.ContainsFunc(any, func(o *wire.TxIn) bool { return o.PreviousOutPoint == in.PreviousOutPoint })
	})
}

func (ps *publications) forget(owner uint64) {
	for id, p := range ps.list {
		if p.owner == owner {
			delete(ps.list, id)
		}
	}
}

// connect ends those that a block has, or makes impossible.
func (ps *publications) connect(b chain.Block) {
	if len(ps.list) == 0 {
		return
	}
	spenders := map[wire.OutPoint][]*publication{}
	for id, p := range ps.list {
		if p.over != 0 && p.over+kept < b.Height {
			delete(ps.list, id)
			continue
		}
		for _, in := range p.tx.TxIn {
			spenders[in.PreviousOutPoint] = append(spenders[in.PreviousOutPoint], p)
		}
	}
	for _, tx := range b.Txs {
		for _, in := range tx.TxIn {
			for _, p := range spenders[in.PreviousOutPoint] {
				p.over = b.Height
			}
		}
	}
}

// disconnect takes up again those that ended in a block that has left the best chain.
func (ps *publications) disconnect(height uint32) {
	for _, p := range ps.list {
		if p.over >= height {
			p.over = 0
		}
	}
}

// all are those that are not over.
func (ps *publications) all() (open []*publication) {
	for _, p := range ps.list {
		if p.over == 0 {
			open = append(open, p)
		}
	}
	return open
}

// broadcast publishes some of them, parents before children, each with its unconfirmed parents.
func (ps *publications) broadcast(ctx context.Context, some []*publication) {
	done := map[*publication]bool{}
	var each func(p *publication)
	each = func(p *publication) {
		if done[p] || p.over != 0 || ctx.Err() != nil {
			return
		}
		done[p] = true
		before := ps.parents(p)
		for _, q := range before {
			each(q)
		}
		err := ps.publish(ctx, p, before)
		switch {
		case err == nil:
			p.said = ""
		case ctx.Err() == nil && err.Error() != p.said:
			p.said = err.Error()
			if ps.childless(p) { // else the child may pay for it, and its error says whether that was enough
				ps.log.Warn("publishing", "txid", p.txid, "owner", p.owner, "error", err)
			}
		}
	}
	for _, p := range some {
		each(p)
	}
}

func (ps *publications) publish(ctx context.Context, p *publication, before []*publication) error {
	pack, ok := ps.backend.(packager)
	if !ok || len(before) == 0 {
		return ps.backend.Publish(ctx, p.tx)
	}
	txs := make([]*wire.MsgTx, 0, len(before)+1)
	for _, q := range before {
		txs = append(txs, q.tx)
	}
	return pack.PublishPackage(ctx, append(txs, p.tx)...)
}

// parents are the unconfirmed publications of the same owner that p spends an output of.
func (ps *publications) parents(p *publication) (list []*publication) {
	for _, in := range p.tx.TxIn {
		q := ps.list[in.PreviousOutPoint.Hash]
		if q != nil && q.owner == p.owner && q.over == 0 && !slices.Contains(list, q) {
			list = append(list, q)
		}
	}
	return list
}

func (ps *publications) childless(p *publication) bool {
	for _, q := range ps.list {
		if q.over == 0 && slices.ContainsFunc(q.tx.TxIn, func(in *wire.TxIn) bool { return in.PreviousOutPoint.Hash == p.txid }) {
			return false
		}
	}
	return true
}
