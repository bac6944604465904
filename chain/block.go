package chain

import (
	"errors"
	"fmt"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// Block is one block as a backend hands it over. Nobody changes its transactions.
type Block struct {
	Height uint32
	Hash   chainhash.Hash
	Prev   chainhash.Hash
	Time   int64 // the header's time, unix seconds
	Txs    []*wire.MsgTx
}

// ErrNotNext says that a block does not extend the tip: the backend has moved on, or to another branch. Compare tips again.
var ErrNotNext = errors.New("block does not extend the tip")

// trailLength is how many block hashes a Trail remembers: more than any reorganisation seen on a network that has value.
const trailLength = 144

// Trail is the end of a chain: its height, and the hashes of its newest blocks. Going back further than it
// remembers leaves the hash of the tip unknown (zero); then a block of the right height is taken at its word. The zero
// value knows nothing and takes any block as its first.
type Trail struct {
	height uint32
	hashes []chainhash.Hash // hashes[len-1] is the tip's; empty: unknown
}

// NewTrail is a Trail that ends in the given blocks, oldest first, the last of them at height.
func NewTrail(height uint32, hashes ...chainhash.Hash) Trail {
	t := Trail{height: height}
	for _, h := range hashes {
		t.remember(h)
	}
	return t
}

// Tip is the newest block. A zero hash means that only the height is known.
func (t *Trail) Tip() (height uint32, hash chainhash.Hash) {
	hash, _ = t.At(t.height)
	return t.height, hash
}

// At is the hash of the block at height, if it is remembered. A caller that looks for the fork after a restart compares it with
// its backend's, from the tip down.
func (t *Trail) At(height uint32) (chainhash.Hash, bool) {
	below := uint64(t.height) - uint64(height)
	if height > t.height || below >= uint64(len(t.hashes)) {
		return chainhash.Hash{}, false
	}
	return t.hashes[len(t.hashes)-1-int(below)], true
}

// Hashes are the remembered ones, oldest first.
func (t *Trail) Hashes() []chainhash.Hash { return t.hashes }

// Extend makes b the tip, or fails with ErrNotNext.
func (t *Trail) Extend(b Block) error {
	if err := t.extends(b); err != nil {
		return err
	}
	t.height = b.Height
	t.remember(b.Hash)
	return nil
}

func (t *Trail) extends(b Block) error {
	fresh := t.height == 0 && len(t.hashes) == 0
	if b.Height == 0 || !fresh && b.Height != t.height+1 {
		return fmt.Errorf("%w: height %d, tip is %d", ErrNotNext, b.Height, t.height)
	}
	if tip, known := t.At(t.height); known && b.Prev != tip {
		return fmt.Errorf("%w: block %d follows %v, tip is %v", ErrNotNext, b.Height, b.Prev, tip)
	}
	return nil
}

// Back takes the tip off. It does nothing at height 0.
func (t *Trail) Back() {
	if t.height == 0 {
		return
	}
	t.height--
	if n := len(t.hashes); n > 0 {
		t.hashes = t.hashes[:n-1]
	}
}

func (t *Trail) remember(h chainhash.Hash) {
	if len(t.hashes) == trailLength {
		copy(t.hashes, t.hashes[1:])
		t.hashes = t.hashes[:trailLength-1]
	}
	t.hashes = append(t.hashes, h)
}
