package onchain

import (
	"cmp"
	"crypto/sha256"
	"slices"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// turn is one Apply: the new State and what it wants.
type turn struct {
	*State
	c     Crypto
	out   Output
	again bool // the chain has moved: ask for everything once more
}

// Apply takes events into a copy of s. It is total and deterministic.
func Apply(s *State, c Crypto, evs []Event) (*State, Output) {
	t := &turn{State: s.clone(), c: c}
	for _, ev := range evs {
		t.take(ev)
	}
	t.progress()
	return t.State, t.out
}

func (t *turn) take(ev Event) {
	switch ev := ev.(type) {
	case Chain:
		t.fact(ev.Event)
	case Close:
		if !t.publish && !t.stale {
			t.publish, t.out.Changed = true, true
		}
	case Settle:
		if t.settle(ev) {
			t.out.Changed = true
		}
	case Funded:
		t.funded(ev)
	case Revoked:
		t.answered(ev)
	}
}

func (t *turn) fact(ev chain.Event) {
	switch f := ev.(type) {
	case chain.BlockConnected:
		t.height, t.again, t.out.Changed = f.Height, true, true
		t.seen = chainhash.Hash{}
	case chain.BlockDisconnected:
		t.disconnected(f.Height)
	case chain.Spent:
		t.spentFact(f)
	case chain.Stranded:
		t.stranded(f.Tx)
	case chain.FeeRates:
		t.rates = f
	}
}

// disconnected forgets the facts of a block that left the best chain, and of all above it.
func (t *turn) disconnected(height uint32) {
	t.height, t.again, t.out.Changed = max(height, 1)-1, true, true
	t.spent = slices.DeleteFunc(t.spent, func(f spent) bool { return f.height >= height })
	if t.spend == nil || t.spend.height < height {
		return
	}
	// The peer's commitment may or may not come back: ours is put up against it. A transaction that both sides agreed to
	// is not ours to fight.
	if !t.stale && t.closing.owner != Foreign {
		t.publish = true
	}
	t.spend, t.closing, t.spent = nil, nil, nil
}

// spentFact takes a spend, confirmed or not.
func (t *turn) spentFact(f chain.Spent) {
	switch {
	case f.By == nil || !spends(f.By, f.Out):
	case f.Out == t.p.Funding:
		t.fundingSpent(f)
	default:
		t.outputSpent(f)
	}
}

func spends(tx *wire.MsgTx, out wire.OutPoint) bool {
	return slices.ContainsFunc(tx.TxIn, func(in *wire.TxIn) bool { return in.PreviousOutPoint == out })
}

func (t *turn) fundingSpent(f chain.Spent) {
	txid := f.By.TxHash()
	if f.Height == 0 {
		for i := range t.live {
			if l := &t.live[i]; l.TxID == txid && l.owner == Remote {
				t.seen = txid
			}
		}
		return
	}
	if t.spend != nil && t.spend.height == f.Height && t.closing.txid == txid {
		return
	}
	t.spend, t.spent, t.out.Changed = &spend{tx: f.By, height: f.Height}, nil, true
	t.identifySpend()
	switch t.closing.owner {
	case Unknown:
		// A transaction that both have signed and that is not in our state proves that our state is old. No reorganisation
		// takes that back.
		t.stale, t.publish = true, false
		t.out.Warn = "the peer closed with a commitment that our state is too old to know: only our balance can be saved"
	case Foreign:
		t.out.Warn = "the funding output was spent by a transaction that is no commitment: unless both sides agreed to it, funds are lost"
	}
	for i := range t.closing.outputs {
		if o := &t.closing.outputs[i]; o.kind != kindIgnored {
			t.out.Chain = append(t.out.Chain, o.watch())
		}
	}
}

func (t *turn) identifySpend() {
	t.closing = t.identify(t.spend.tx, t.spend.height, t.revoked)
}

// outputSpent learns what a spend of one of the outputs shows, and notes it if it is confirmed. By whom it is and in what
// shape does not matter: only what it spends, and what it pays. Something can be learnt even where the closing transaction has
// just left the chain.
func (t *turn) outputSpent(f chain.Spent) {
	o := t.outputAt(f.Out)
	shown := t.learn(f.By, o.hash())
	if f.Height == 0 || o == nil {
		return
	}
	fact := spent{out: f.Out, by: f.By.TxHash(), height: f.Height, shown: shown}
	at, known := t.findSpent(f.Out)
	if known {
		if old := &t.spent[at]; old.by == fact.by && old.height == fact.height {
			return
		}
		t.spent = slices.Delete(t.spent, at, at+1)
	}
	if !slices.ContainsFunc(t.spent, func(o spent) bool { return o.by == fact.by && len(o.second) > 0 }) {
		fact.second = t.closing.seconds(f.By)
	}
	t.spent = slices.Insert(t.spent, at, fact)
	t.out.Changed = true
	for _, sec := range fact.second {
		t.out.Chain = append(t.out.Chain, chain.WatchSpend{
			Out: wire.OutPoint{Hash: fact.by, Index: sec.index}, Script: t.closing.second, Since: f.Height,
		})
	}
}

// outputAt is the output that may concern us at an outpoint, nil if there is none.
func (s *State) outputAt(out wire.OutPoint) *output {
	if s.closing == nil {
		return nil
	}
	all := s.outputs()
	i := slices.IndexFunc(all, func(o output) bool { return o.out == out && o.kind != kindIgnored })
	if i < 0 {
		return nil
	}
	return &all[i]
}

// hash is the payment hash of an HTLC output; zero otherwise, which has no preimage.
func (o *output) hash() (h [32]byte) {
	if o != nil && o.htlc != nil {
		h = o.htlc.Hash
	}
	return h
}

// learn hashes everything in the witnesses that may be a preimage against every HTLC we offered, in whatever commitment: who
// shows it has been paid or will be, and so must we. It says whether the preimage of hash is among them.
func (t *turn) learn(tx *wire.MsgTx, hash [32]byte) (shown bool) {
	for _, in := range tx.TxIn {
		for _, item := range in.Witness {
			if len(item) != 32 {
				continue
			}
			sum := sha256.Sum256(item)
			shown = shown || sum == hash
			for _, i := range t.byHash[sum] {
				if t.told[i] == toldNothing {
					preimage := [32]byte(item)
					t.told[i], t.out.Changed = toldFulfilled, true
					t.out.Resolved = append(t.out.Resolved, Resolved{t.p.HTLCs[i].ID, &preimage})
				}
			}
		}
	}
	return shown
}

// settle notes the preimage of an HTLC the peer offered.
func (s *State) settle(ev Settle) bool {
	i, ok := s.index[key{false, ev.HTLC}]
	if !ok || sha256.Sum256(ev.Preimage[:]) != s.p.HTLCs[i].Hash {
		return false
	}
	at, known := slices.BinarySearchFunc(s.settled, ev.HTLC, func(p settled, id uint64) int { return cmp.Compare(p.id, id) })
	if known {
		return false
	}
	s.settled = slices.Insert(s.settled, at, settled{ev.HTLC, ev.Preimage, s.height})
	return true
}

// answered takes the HTLCs of the revoked commitment.
func (t *turn) answered(ev Revoked) {
	if t.closing == nil || t.closing.owner != Cheat || t.closing.number != ev.Number ||
		t.revoked != nil && t.revoked.Number == ev.Number || checkRevoked(ev.HTLCs) != nil {
		return
	}
	ev.HTLCs = slices.Clone(ev.HTLCs)
	t.revoked, t.out.Changed = &ev, true
	t.identifySpend()
}

// progress does what the facts demand.
func (t *turn) progress() {
	if t.spend == nil {
		t.publishOurs()
		return
	}
	if t.closing.owner == Cheat && (t.revoked == nil || t.revoked.Number != t.closing.number) {
		t.out.Need = append(t.out.Need, t.closing.number)
	}
	t.claimAll()
	t.children()
	t.resolve()
	if t.out.Done = t.done(); t.out.Done {
		t.releaseAll()
	}
}
