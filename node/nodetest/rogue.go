package nodetest

import (
	"slices"

	"lightningrod/chain"
	"lightningrod/channel"
	"lightningrod/channel/onchain"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// rogue is one end of a channel, played by the adversary. It publishes the commitment of one of the States that the end ever had, revoked or
// not, and claims what it can of it: channel/onchain knows how, and does not care whether the State is old. It knows all preimages
// that its node knows, and shows them when it suits it.
type rogue struct {
	w       *World
	n       *node
	edge    *edge
	crypto  onchain.Crypto
	s       *onchain.State
	p       onchain.Params
	tracker *chain.Tracker
	txs     []publication
	shown   map[uint64]bool
	late    int // blocks after its cltv_expiry at which the first HTLC is claimed by preimage; the next one stagger blocks later
	stagger int
	more    int64 // tenths by which it outbids
}

const rogueOwner = 1

// corrupt hands an end of a channel to the adversary. Age is how many commitments the State lies back.
func (w *World) corrupt(n *node, e *edge, age int, late, stagger int, more int64) *rogue {
	side := n.side(e)
	past := e.past[side]
	if e.rogue[side] != nil || len(past) == 0 {
		return nil
	}
	state, _ := channel.Apply(past[max(0, len(past)-1-age)], e.crypto[side], []channel.Event{channel.Disconnected{}})
	p := state.OnchainParams(e.crypto[side])
	p.Height, p.Stale = w.chain.height(), false
	s, err := onchain.New(p)
	if err != nil {
		w.fail("the adversary cannot go on chain: %v", err)
	}
	n.bad = true
	r := &rogue{w: w, n: n, edge: e, crypto: e.crypto[side], s: s, p: p, shown: map[uint64]bool{}, late: late, stagger: stagger, more: more}
	b, _ := w.chain.block(w.chain.height())
	r.tracker = chain.NewTracker(b.Height, b.Hash)
	e.rogue[side] = r
	if in := n.inbox(e); in != nil {
		in.events = nil
		n.forget(in.id)
	}
	w.stats.Rogues++
	r.step(onchain.Close{}, onchain.Chain{Event: w.told.Sane()})
	return r
}

// step has it see the chain and do what it wants.
func (r *rogue) step(evs ...onchain.Event) {
	if len(evs) > 0 { // it begins: what it waits for may have happened
		for _, q := range r.s.Watches() {
			evs = append(evs, r.watch(q)...)
		}
	}
	evs = append(evs, r.follow()...)
	evs = append(evs, r.shows()...)
	for round := 0; len(evs) > 0; round++ {
		next, out := onchain.Apply(r.s, r.crypto, evs)
		r.s, evs = next, nil
		for _, q := range out.Chain {
			if p, ok := q.(chain.Publish); ok {
				id := p.Tx.TxHash()
				r.txs = slices.DeleteFunc(r.txs, func(o publication) bool { return o.id == id })
				r.txs = append(r.txs, publication{tx: p.Tx, id: id})
			} else {
				evs = append(evs, r.watch(q)...)
			}
		}
		for _, b := range out.Bumps {
			if tx, fee := r.n.wallet.fund(r.w.chain, b, r.more); tx != nil && round == 0 {
				evs = append(evs, onchain.Funded{Out: b.Out, Tx: tx, Fee: fee})
			}
		}
		for _, tx := range out.Release {
			r.n.wallet.release(tx)
		}
	}
	for _, p := range r.txs {
		before := r.w.chain.pooled(p.id) != nil
		if err := r.w.chain.publish(p.tx, p.id, r.n.index); err == nil && !before && r.w.chain.pooled(p.id) != nil {
			r.w.trace("  the adversary (%s) publishes %s", r.n.name, r.w.describe(p.tx, p.id))
		}
	}
}

// bribe has the miner of the next block take what it wants.
func (r *rogue) bribe() {
	for _, p := range r.txs {
		_ = r.w.chain.add(p.tx, p.id, r.n.index, true)
	}
}

func (r *rogue) watch(q chain.Request) (evs []onchain.Event) {
	missed, late := r.tracker.Watch(rogueOwner, q)
	for h := missed.From; late && h <= missed.To; h++ {
		if b, ok := r.w.chain.block(h); ok {
			facts, err := r.tracker.Rescan(b, rogueOwner)
			if err != nil {
				continue // it sees the fork with its next step
			}
			evs = append(evs, heard(facts)...)
		}
	}
	return evs
}

func heard(facts []chain.Fact) (evs []onchain.Event) {
	for _, f := range facts {
		evs = append(evs, onchain.Chain{Event: f.Event})
	}
	return evs
}

func (r *rogue) follow() (evs []onchain.Event) {
	for {
		height, hash := r.tracker.Tip()
		b, ok := r.w.chain.block(height)
		if ok && (b.Hash == hash || hash == chainhash.Hash{}) {
			break
		}
		evs = append(evs, heard(r.tracker.Disconnect())...)
	}
	for height, _ := r.tracker.Tip(); height < r.w.chain.height(); height++ {
		b, _ := r.w.chain.block(height + 1)
		facts, err := r.tracker.Connect(b)
		if err != nil {
			r.w.fail("the adversary's tracker: %v", err)
		}
		evs = append(evs, heard(facts)...)
	}
	for _, p := range r.w.chain.pool {
		evs = append(evs, heard(r.tracker.Mempool(p.tx))...)
	}
	return evs
}

// shows is the preimages that it is time to claim with.
func (r *rogue) shows() (evs []onchain.Event) {
	nth := 0
	for _, h := range r.p.HTLCs {
		if h.Offered {
			continue
		}
		at := int(h.Expiry) + r.late + nth*r.stagger
		nth++
		if preimage, ok := r.n.knows(h.Hash); ok && !r.shown[h.ID] && int(r.w.chain.height()) >= at {
			r.shown[h.ID] = true
			evs = append(evs, onchain.Settle{HTLC: h.ID, Preimage: preimage})
		}
	}
	return evs
}

// knows says whether a node has a preimage: it made it, or a peer has shown it.
func (n *node) knows(hash [32]byte) ([32]byte, bool) {
	for _, p := range n.w.payments {
		if p.payee == n && p.hash == hash && p.first {
			return p.preimage, true
		}
	}
	preimage, ok := n.learnt[hash]
	return preimage, ok
}

// rogues are all of them, in order.
func (w *World) rogues() (list []*rogue) {
	for _, e := range w.edges {
		for _, r := range e.rogue {
			if r != nil {
				list = append(list, r)
			}
		}
	}
	return list
}
