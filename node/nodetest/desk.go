package nodetest

import (
	"cmp"
	"errors"
	"slices"

	"lightningrod/chain"
	"lightningrod/channel"
	"lightningrod/channel/onchain"
	"lightningrod/node/forward"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// What node/chaindesk.go, node/publish.go and node/bump.go do.

// asks takes requests of channels to the chain: what is to be published first, so that a child comes after its parent.
func (n *node) asks(list []ask) {
	for _, a := range list {
		if p, ok := a.req.(chain.Publish); ok {
			n.publish(a.owner, p.Tx)
		}
	}
	if len(list) > 0 && n.w.bug != BugWatchesFirst {
		n.retreat() // what a watch has missed is looked up on the best chain
	}
	for _, a := range list {
		if _, ok := a.req.(chain.Publish); !ok {
			n.watch(a.owner, a.req)
		}
	}
}

// publish broadcasts a transaction from now on. It takes the place of what the same channel published before and this is in conflict with.
func (n *node) publish(owner channel.ID, tx *wire.MsgTx) {
	if tx = n.w.bug.publish(n, owner, tx); tx == nil {
		return
	}
	n.publishes(owner, tx)
}

func (n *node) publishes(owner channel.ID, tx *wire.MsgTx) {
	id := tx.TxHash()
	n.publishing = slices.DeleteFunc(n.publishing, func(p publication) bool {
		return p.owner == owner && (p.id == id || spends(p.tx, tx.TxIn[0].PreviousOutPoint))
	})
	p := publication{tx, id, owner}
	n.publishing = append(n.publishing, p)
	n.broadcast(p)
}

func (n *node) broadcast(p publication) {
	before := n.w.chain.pooled(p.id) != nil
	err := n.w.chain.publish(p.tx, p.id, n.index)
	if err == errMissing {
		for _, q := range n.publishing {
			if q.id == p.tx.TxIn[0].PreviousOutPoint.Hash {
				err = n.w.chain.pair(q.tx, p.tx, [2]chainhash.Hash{q.id, p.id}, n.index)
			}
		}
	}
	if n.w.log != nil && !before {
		if _, done := n.w.chain.mined[p.id]; !done {
			n.w.trace("  %s publishes %s: %v", n.name, n.w.describe(p.tx, p.id), err)
		}
	}
	if !n.bad && n.w.broken(invValid, !errors.Is(err, errInvalid)) {
		n.w.fail("%s\n  %s publishes %v: %v", invValid, n.name, n.w.describe(p.tx, p.id), err)
	}
}

func (n *node) watch(owner channel.ID, r chain.Request) {
	n.anew = true
	missed, late := n.tracker.Watch(uint64(owner), r)
	for h := missed.From; late && h <= missed.To; h++ {
		b, ok := n.w.chain.block(h)
		if !ok {
			continue
		}
		facts, err := n.tracker.Rescan(b, uint64(owner))
		if err != nil {
			n.w.fail("%v\n  %s: %v", invRead, n.name, err)
		}
		n.facts(facts)
	}
}

func (n *node) facts(facts []chain.Fact) {
	for _, f := range n.w.bug.facts(n, facts) {
		for _, in := range n.inboxes {
			if f.Owner == chain.Everyone || f.Owner == uint64(in.id) {
				n.post(in, posted{ev: channel.Chain{Event: f.Event}})
			}
		}
	}
}

// forget drops what a channel that is over has asked for.
func (n *node) forget(id channel.ID) {
	n.tracker.Forget(uint64(id))
	n.publishing = slices.DeleteFunc(n.publishing, func(p publication) bool { return p.owner == id })
}

// sights are the newest blocks that the wallet and then each channel have durably seen.
func (n *node) sights() []tip {
	list := []tip{n.disk.tip}
	for _, in := range n.inboxes {
		h, hash := in.state.SeenBlock()
		list = append(list, tip{h, hash})
	}
	return list
}

// track begins with whoever has seen least.
func (n *node) track(sights []tip) {
	low := slices.MinFunc(sights, func(a, b tip) int { return cmp.Compare(a.height, b.height) })
	n.tracker, n.doubt = chain.NewTracker(low.height, low.hash), 0
}

// recall compares what all have seen with the best chain: whoever is not on it forgets what does not count as final, and hears it again.
func (n *node) recall() {
	sights := n.sights()
	for i, s := range sights {
		b, ok := n.w.chain.block(s.height)
		if ok && b.Hash == s.hash || n.w.bug.trusts(s, sights) {
			continue
		}
		sights[i] = tip{height: max(s.height-12, n.w.chain.base-1)}
		if i == 0 {
			n.put(&turn{tip: &sights[0]})
		} else {
			n.post(n.inboxes[i-1], posted{ev: channel.Chain{Event: chain.BlockDisconnected{Height: sights[i].height + 1}}})
		}
	}
	n.track(sights)
}

// retreat takes the tracker back to a block of the best chain, as chaindesk.go does.
func (n *node) retreat() {
	for {
		height, hash := n.tracker.Tip()
		b, ok := n.w.chain.block(height)
		unknown := hash == chainhash.Hash{}
		switch {
		case !ok && height <= n.w.chain.base || !unknown && b.Hash == hash:
			return
		case unknown && n.doubt > 0:
			n.doubt--
		case unknown && height <= n.w.chain.height():
			return
		}
		facts := n.tracker.Disconnect()
		if _, below := n.tracker.Tip(); !unknown && below == (chainhash.Hash{}) && n.w.bug != BugForkTrusted {
			n.doubt = 12
		}
		n.put(&turn{tip: &tip{height: height - 1}})
		n.facts(facts)
	}
}

// follow has the node see the blocks up to seen.
func (n *node) follow() {
	before := n.height()
	for {
		n.retreat()
		height := n.height()
		if height >= n.seen {
			break
		}
		next, _ := n.w.chain.block(height + 1)
		n.connect(next)
	}
	if h := n.height(); h != before {
		n.w.trace("  %s is at height %d", n.name, h)
	}
	for _, p := range slices.Clone(n.publishing) {
		n.broadcast(p)
	}
	again := n.anew
	n.look()
	if again && n.w.bug != BugStrandedUnheard {
		n.facts(n.stranded())
	}
}

// stranded tells of transactions whose coins are gone: all inputs but the first are coins of the wallet.
func (n *node) stranded() (facts []chain.Fact) {
	for _, p := range n.publishing {
		if _, done := n.w.chain.mined[p.id]; !done && slices.ContainsFunc(p.tx.TxIn[1:], func(in *wire.TxIn) bool {
			_, there := n.w.chain.unspent(in.PreviousOutPoint)
			return !there
		}) {
			facts = append(facts, chain.Fact{Owner: uint64(p.owner), Event: chain.Stranded{Tx: p.id}})
		}
	}
	return facts
}

// reads notes that a block was seen.
func (n *node) reads(b chain.Block) {
	at := int(b.Height) - startHeight - 1
	if at < 0 {
		return
	}
	for len(n.read) <= at {
		n.read = append(n.read, chainhash.Hash{})
	}
	n.read[at] = b.Hash
}

func (n *node) connect(b chain.Block) {
	facts, err := n.tracker.Connect(b)
	if err != nil {
		n.w.fail("tracker: %v", err)
	}
	n.reads(b)
	n.anew = true
	n.put(&turn{tip: &tip{b.Height, b.Hash}})
	if r := n.w.told.Sane(); !r.Near(n.rates) {
		n.rates = r
		facts = append(facts, chain.Fact{Owner: chain.Everyone, Event: r})
	}
	n.facts(facts)
	if n.w.bug != BugBlocksUnheard {
		n.think(forward.Block{Height: b.Height})
	}
	n.payerSays(&turn{}, n.payer.Block(b.Height))
	if n.w.bug != BugWaitsForever {
		n.payerSays(&turn{}, n.payer.Resume())
	}
	n.payeeSays(&turn{}, n.payee.Block(b.Height))
}

// look tells of what is new in the mempool, and after a block of all of it. Some backends do not show their mempool.
func (n *node) look() {
	again := n.anew
	n.anew = false
	if n.w.cfg.blind {
		return
	}
	seen := make(map[chainhash.Hash]bool, len(n.w.chain.pool))
	for _, p := range n.w.chain.pool {
		if seen[p.id] = true; again || !n.mempool[p.id] {
			n.facts(n.tracker.Mempool(p.tx))
		}
	}
	n.mempool = seen
}

func (n *node) height() uint32 {
	h, _ := n.tracker.Tip()
	return h
}

// chainNotices does what a turn's notices ask of the wallet and the store, and gives the Bumps.
func (n *node) chainNotices(in *inbox, t *turn, notices []channel.Notice) (bumps []onchain.Bump) {
	for _, x := range notices {
		switch x := x.(type) {
		case channel.Bump:
			bumps = append(bumps, x.Bump)
		case channel.Release:
			n.wallet.undo(t)
			n.wallet.release(x.Tx)
		case channel.NeedRevoked:
			if n.w.bug == BugRowEarly {
				n.readRevoked(in.id, x.Number)
				break
			}
			t.durable = append(t.durable, func() { n.readRevoked(in.id, x.Number) }) // the row may still be in the queue
		}
	}
	return bumps
}

func (n *node) readRevoked(id channel.ID, number uint64) {
	if in := n.get(id); in != nil {
		n.post(in, posted{ev: channel.RevokedData{Number: number, Data: n.disk.revoked[revokedKey{id, number}]}})
	}
}

// answer funds what a turn has asked coins for: the next turn of the channel has it, and locks the coins.
func (n *node) answer(in *inbox, bumps []onchain.Bump) {
	if in.answering || n.get(in.id) != in {
		return
	}
	var batch []posted
	locks := &turn{}
	n.wallet.undo(locks)
	for _, b := range bumps {
		n.w.stats.Bumps++
		if tx, fee := n.wallet.fund(n.w.chain, b, 0); tx != nil {
			batch = append(batch, posted{ev: channel.Funded{Out: b.Out, Tx: tx, Fee: fee}})
		}
	}
	if len(batch) == 0 {
		return
	}
	n.put(locks)
	in.answering = true
	n.turn(in, batch)
	in.answering = false
}
