package wallet

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

const (
	// finality is how many blocks after its end a coin or pending transaction is forgotten.
	finality = 144
	// maxSeen bounds the foreign transactions of the mempool that are remembered.
	maxSeen = 1000
)

// Wallet is the keys and the books. It is not safe for concurrent use.
type Wallet struct {
	params      *chaincfg.Params
	fingerprint [4]byte
	branches    [branches]*branch
	places      map[string]place
	scripts     map[place][]byte

	birthday uint32
	trail    chain.Trail
	coins    map[wire.OutPoint]*coin
	pending  map[chainhash.Hash]*pending
	touched  map[string]struct{} // keys of rows that have changed
}

// coin is an output to us in a block of the best chain.
type coin struct {
	value    btcutil.Amount
	place    place
	coinbase bool
	height   uint32 // of the block that has it
	spent    uint32 // of the block that spends it, 0: unspent
}

// pending is a transaction that spends our coins or pays us.
type pending struct {
	tx      *wire.MsgTx
	own     bool   // made by Fund, with rows; else seen in the mempool
	publish bool   // to be broadcast until it confirms
	height  uint32 // of the block that has it, 0: none
	dead    uint32 // of the block with a transaction that conflicts with it or an ancestor, 0: none
}

func (p *pending) live() bool        { return p.height == 0 && p.dead == 0 }
func (p *pending) unconfirmed() bool { return p.height == 0 }

// Coin is an unspent output of the wallet.
type Coin struct {
	Out       wire.OutPoint
	Value     btcutil.Amount
	Script    []byte
	Kind      Kind
	Height    uint32 // of its block; 0: not confirmed
	Immature  bool   // of a coinbase, not to be spent in the next block
	Locked    bool   // spent by a pending transaction
	OwnChange bool   // not confirmed, and made by a transaction of our own
}

// New is the wallet of a seed (16 to 64 bytes, such as a BIP 39 seed), as its rows tell, or without rows a new one.
func New(seed []byte, params *chaincfg.Params, rows []Row) (*Wallet, error) {
	list, fingerprint, err := openBranches(seed, params)
	if err != nil {
		return nil, err
	}
	w := &Wallet{
		params:      params,
		fingerprint: fingerprint,
		branches:    list,
		places:      make(map[string]place),
		scripts:     make(map[place][]byte),
		coins:       make(map[wire.OutPoint]*coin),
		pending:     make(map[chainhash.Hash]*pending),
		touched:     make(map[string]struct{}),
	}
	if err := w.load(rows); err != nil {
		return nil, fmt.Errorf("load wallet: %w", err)
	}
	for n := range branches {
		w.extend(n, w.used(n)+GapLimit)
	}
	return w, nil
}

// Tip is the newest block that the wallet has seen. A zero hash means that only the height is known.
func (w *Wallet) Tip() (height uint32, hash chainhash.Hash) { return w.trail.Tip() }

// Begin says that no block up to height pays the wallet or spends from it, so that the next one to connect is the one above: at the tip for a new
// seed, somewhat below its birthday for a restored one. hash is that of the block at height; zero if it is not known, then the next
// block is taken at its word. It fails if the wallet has seen a block.
func (w *Wallet) Begin(height uint32, hash chainhash.Hash) ([]Row, error) {
	if tip, _ := w.Tip(); tip != 0 {
		return nil, fmt.Errorf("begin at height %d: the wallet has seen block %d", height, tip)
	}
	w.birthday, w.trail = height, chain.NewTrail(height)
	if hash != (chainhash.Hash{}) {
		w.trail = chain.NewTrail(height, hash)
	}
	w.touch(birthdayKey)
	w.touch(tipKey)
	return w.rows(), nil
}

// Birthday is the height given to Begin, to be written down with the seed. 0: the wallet has looked at all blocks.
func (w *Wallet) Birthday() uint32 { return w.birthday }

// Connect takes the next block of the best chain, or fails with chain.ErrNotNext.
func (w *Wallet) Connect(b chain.Block) ([]Row, error) {
	if err := w.trail.Extend(b); err != nil {
		return nil, err
	}
	w.touch(tipKey)
	// A payment can move the gap, and so make others of the same block visible.
	for w.book(b) {
		moved := false
		for n := range branches {
			top := w.branches[n].top
			w.extend(n, w.used(n)+GapLimit)
			if w.branches[n].top != top {
				moved = true
				w.touch(branchKey(n))
			}
		}
		if !moved {
			break
		}
	}
	w.resolve(b)
	w.prune()
	return w.rows(), nil
}

// book notes the coins that a block makes and spends. Doing it again is harmless. It says whether there were new ones.
func (w *Wallet) book(b chain.Block) (found bool) {
	for pos, tx := range b.Txs {
		for _, in := range tx.TxIn {
			if c := w.coins[in.PreviousOutPoint]; c != nil && c.spent == 0 {
				c.spent = b.Height
				w.touch(coinKey(in.PreviousOutPoint))
			}
		}
		for i, out := range tx.TxOut {
			p, ours := w.places[string(out.PkScript)]
			if !ours || out.Value <= 0 {
				continue
			}
			op := wire.OutPoint{Hash: tx.TxHash(), Index: uint32(i)}
			if w.coins[op] == nil {
				w.coins[op] = &coin{value: btcutil.Amount(out.Value), place: p, coinbase: pos == 0, height: b.Height}
				w.touch(coinKey(op))
				found = true
			}
		}
	}
	return found
}

// resolve ends the pending transactions that the block has, or makes impossible.
func (w *Wallet) resolve(b chain.Block) {
	spenders := make(map[wire.OutPoint][]chainhash.Hash)
	for txid, p := range w.pending {
		if p.live() {
			for _, in := range p.tx.TxIn {
				spenders[in.PreviousOutPoint] = append(spenders[in.PreviousOutPoint], txid)
			}
		}
	}
	if len(spenders) == 0 {
		return
	}
	for _, tx := range b.Txs {
		for _, in := range tx.TxIn {
			for _, txid := range spenders[in.PreviousOutPoint] {
				p := w.pending[txid]
				if txid == tx.TxHash() {
					p.height = b.Height
				} else {
					w.kill(txid, b.Height)
				}
				w.touchPending(txid)
			}
		}
	}
}

// kill declares a pending transaction and its descendants impossible.
func (w *Wallet) kill(txid chainhash.Hash, height uint32) {
	for _, id := range w.family(txid, (*pending).live) {
		w.pending[id].dead = height
		w.touchPending(id)
	}
}

// family is a pending transaction, if it is of those that are counted, and those of them that descend from it.
func (w *Wallet) family(txid chainhash.Hash, counts func(*pending) bool) []chainhash.Hash {
	if p := w.pending[txid]; p == nil || !counts(p) {
		return nil
	}
	list := []chainhash.Hash{txid}
	for i := 0; i < len(list); i++ {
		for id, p := range w.pending {
			child := func(in *wire.TxIn) bool { return in.PreviousOutPoint.Hash == list[i] }
			if counts(p) && !slices.Contains(list, id) && slices.ContainsFunc(p.tx.TxIn, child) {
				list = append(list, id)
			}
		}
	}
	return list
}

// prune forgets what ended long ago.
func (w *Wallet) prune() {
	tip, _ := w.Tip()
	over := func(height uint32) bool { return height != 0 && uint64(height)+finality <= uint64(tip) }
	for op, c := range w.coins {
		if over(c.spent) {
			b := w.branches[c.place.branch]
			b.floor = max(b.floor, c.place.index+1)
			delete(w.coins, op)
			w.touch(coinKey(op))
			w.touch(branchKey(c.place.branch))
		}
	}
	for txid, p := range w.pending {
		if over(p.height) || over(p.dead) {
			w.touchPending(txid)
			delete(w.pending, txid)
		}
	}
}

// Disconnect says that the blocks at height and above have left the best chain.
func (w *Wallet) Disconnect(height uint32) []Row {
	for tip, _ := w.Tip(); tip >= height && tip > 0; tip, _ = w.Tip() {
		w.trail.Back()
		w.touch(tipKey)
	}
	for op, c := range w.coins {
		if c.spent >= height {
			c.spent = 0
			w.touch(coinKey(op))
		}
		if c.height >= height {
			delete(w.coins, op)
			w.touch(coinKey(op))
		}
	}
	for txid, p := range w.pending {
		if !p.own && max(p.height, p.dead) >= height { // if it is in the mempool again, Mempool is told of it
			delete(w.pending, txid)
			continue
		}
		if p.height >= height && p.height != 0 {
			p.height = 0
			w.touchPending(txid)
		}
		if p.dead >= height && p.dead != 0 {
			p.dead = 0
			w.touchPending(txid)
		}
	}
	return w.rows()
}

// Mempool notes an unconfirmed transaction that pays us or spends our coins. It is not durable: after a restart
// the mempool is looked at again, and after a Disconnect.
func (w *Wallet) Mempool(tx *wire.MsgTx) {
	txid := tx.TxHash()
	if w.pending[txid] != nil || len(w.pending) >= maxSeen || w.confirmed(txid) {
		return
	}
	mine := slices.ContainsFunc(tx.TxOut, func(out *wire.TxOut) bool { return w.Owns(out.PkScript) }) ||
		slices.ContainsFunc(tx.TxIn, func(in *wire.TxIn) bool {
			_, ok := w.output(in.PreviousOutPoint)
			return ok
		})
	if mine {
		w.pending[txid] = &pending{tx: tx.Copy()}
	}
}

// Gone says that a transaction that Mempool was told of has left the mempool, unless for a block. One made by Fund stays pending: it may be
// published again.
func (w *Wallet) Gone(txid chainhash.Hash) {
	if p := w.pending[txid]; p != nil && !p.own && p.live() {
		delete(w.pending, txid)
	}
}

func (w *Wallet) confirmed(txid chainhash.Hash) bool {
	for op := range w.coins {
		if op.Hash == txid {
			return true
		}
	}
	return false
}

// Release says that a pending transaction will never confirm: it was never published, or has left the mempool. Its inputs can
// be spent again, and its outputs are no more, nor are transactions that spend those. A confirmed one stays.
func (w *Wallet) Release(tx *wire.MsgTx) []Row {
	w.release(tx.TxHash())
	return w.rows()
}

func (w *Wallet) release(txid chainhash.Hash) {
	for _, id := range w.family(txid, (*pending).unconfirmed) { // those that are impossible too: a reorganisation does not bring them back
		w.touchPending(id)
		delete(w.pending, id)
	}
}

// output is an output of ours, spent or not, in a block or in a pending transaction.
func (w *Wallet) output(op wire.OutPoint) (Coin, bool) {
	if c := w.coins[op]; c != nil {
		return w.confirmedCoin(op, c), true
	}
	p := w.pending[op.Hash]
	if p == nil || int64(op.Index) >= int64(len(p.tx.TxOut)) {
		return Coin{}, false
	}
	out := p.tx.TxOut[op.Index]
	at, ours := w.places[string(out.PkScript)]
	return Coin{Out: op, Value: btcutil.Amount(out.Value), Script: out.PkScript, Kind: at.kind(), OwnChange: p.own}, ours
}

func (w *Wallet) confirmedCoin(op wire.OutPoint, c *coin) Coin {
	tip, _ := w.Tip()
	return Coin{
		Out: op, Value: c.value, Script: w.scripts[c.place], Kind: c.place.kind(), Height: c.height,
		// It can be in the next block once that is CoinbaseMaturity above its own.
		Immature: c.coinbase && uint64(tip)+1 < uint64(c.height)+uint64(w.params.CoinbaseMaturity),
	}
}

// Has says whether an output of ours is there to be spent, by a pending transaction perhaps: it is unspent in a block of the best chain, or
// made by a pending transaction that can still confirm. What a reorganisation has taken away, and what made way for something else, is not.
func (w *Wallet) Has(op wire.OutPoint) bool {
	if c := w.coins[op]; c != nil {
		return c.spent == 0
	}
	p := w.pending[op.Hash]
	_, ours := w.output(op)
	return ours && p.live() && w.stands(p)
}

// stands says whether a pending transaction has its coins. Inputs that the wallet has not signed are not its own.
func (w *Wallet) stands(p *pending) bool {
	return !p.own || !slices.ContainsFunc(p.tx.TxIn, func(in *wire.TxIn) bool { return len(in.Witness) > 0 && !w.Has(in.PreviousOutPoint) })
}

// Coins are the unspent outputs, the oldest first and the unconfirmed at the end.
func (w *Wallet) Coins() []Coin {
	locked := make(map[wire.OutPoint]bool)
	for _, p := range w.pending {
		if p.live() {
			for _, in := range p.tx.TxIn {
				locked[in.PreviousOutPoint] = true
			}
		}
	}
	var list []Coin
	for op, c := range w.coins {
		if c.spent == 0 {
			list = append(list, w.confirmedCoin(op, c))
		}
	}
	for txid, p := range w.pending {
		for i := range p.tx.TxOut {
			op := wire.OutPoint{Hash: txid, Index: uint32(i)}
			if c, ours := w.output(op); ours && p.live() {
				list = append(list, c)
			}
		}
	}
	for i := range list {
		list[i].Locked = locked[list[i].Out]
	}
	slices.SortFunc(list, func(a, b Coin) int {
		return cmp.Or(cmp.Compare(a.Height-1, b.Height-1), compareOut(a.Out, b.Out)) // height 0 becomes the highest
	})
	return list
}

func compareOut(a, b wire.OutPoint) int {
	return cmp.Or(bytes.Compare(a.Hash[:], b.Hash[:]), cmp.Compare(a.Index, b.Index))
}

// Balance is the sum of the unspent outputs in blocks, and of those in pending transactions. What a pending transaction
// spends is in neither, nor are immature coinbases; see Immature.
func (w *Wallet) Balance() (confirmed, unconfirmed btcutil.Amount) {
	for _, c := range w.Coins() {
		switch {
		case c.Locked || c.Immature:
		case c.Height == 0:
			unconfirmed += c.Value
		default:
			confirmed += c.Value
		}
	}
	return confirmed, unconfirmed
}

// Immature is the sum of the coinbases that cannot be spent yet.
func (w *Wallet) Immature() (sum btcutil.Amount) {
	for _, c := range w.Coins() {
		if c.Immature {
			sum += c.Value
		}
	}
	return sum
}

// Rebroadcast are the transactions that Fund was told to be published and that are not confirmed, parents first.
func (w *Wallet) Rebroadcast() []*wire.MsgTx {
	var list []*wire.MsgTx
	done := make(map[chainhash.Hash]bool)
	var add func(txid chainhash.Hash)
	add = func(txid chainhash.Hash) {
		p := w.pending[txid]
		if p == nil || !p.publish || !p.live() || done[txid] {
			return
		}
		done[txid] = true
		for _, in := range p.tx.TxIn {
			add(in.PreviousOutPoint.Hash)
		}
		list = append(list, p.tx.Copy())
	}
	for _, txid := range slices.SortedFunc(maps.Keys(w.pending), func(a, b chainhash.Hash) int { return bytes.Compare(a[:], b[:]) }) {
		add(txid)
	}
	return list
}
