package wallet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/schnorr"
	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/btcutil/hdkeychain"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/txscript"
)

// Kind is a kind of address. The set is closed.
type Kind uint8

const (
	P2WPKH Kind = iota // BIP 84
	P2TR               // BIP 86, spent by the key path
	kinds
)

func (k Kind) String() string {
	if k < kinds {
		return [kinds]string{"p2wpkh", "p2tr"}[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// purpose is the first step of the derivation path.
func (k Kind) purpose() uint32 { return [kinds]uint32{84, 86}[k] }

// GapLimit is how many unpaid addresses in a row are handed out and looked for, as BIP 44 has it.
const GapLimit = 20

// maxIndex bounds the addresses of a branch.
const maxIndex = 1_000_000

// place is where the key of a script is: the branch m/purpose'/coin'/0'/change and the index below it. The number of the branch is
// twice the kind, plus one for change.
type place struct {
	branch uint8
	index  uint32
}

func (p place) kind() Kind { return Kind(p.branch / 2) }

const branches = 2 * uint8(kinds)

// branch derives the scripts of one branch. Scripts exist for indices below top. Invariant: what used() says plus GapLimit
// is at most top.
type branch struct {
	public, private *hdkeychain.ExtendedKey

	next  uint32 // index of the next address to hand out
	floor uint32 // above every index that a coin no longer in the books was paid to
	top   uint32
}

// openBranches derives the branch keys, and the fingerprint of the master key.
func openBranches(seed []byte, params *chaincfg.Params) (list [branches]*branch, fingerprint [4]byte, err error) {
	if len(seed) < hdkeychain.MinSeedBytes || len(seed) > hdkeychain.MaxSeedBytes {
		return list, fingerprint, fmt.Errorf("seed of %d bytes, need %d to %d", len(seed), hdkeychain.MinSeedBytes, hdkeychain.MaxSeedBytes)
	}
	master, err := hdkeychain.NewMaster(seed, params)
	if err != nil {
		return list, fingerprint, errors.New("seed gives no master key")
	}
	pub, err := master.ECPubKey()
	if err != nil {
		return list, fingerprint, err
	}
	copy(fingerprint[:], btcutil.Hash160(pub.SerializeCompressed()))
	for n := range branches {
		key := master
		for _, step := range path(params, place{branch: n})[:4] {
			if key, err = key.Derive(step); err != nil {
				return list, fingerprint, fmt.Errorf("derive branch %d: %w", n, err)
			}
		}
		public, err := key.Neuter()
		if err != nil {
			return list, fingerprint, err
		}
		list[n] = &branch{public: public, private: key}
	}
	return list, fingerprint, nil
}

// path is the whole derivation path of p.
func path(params *chaincfg.Params, p place) []uint32 {
	const hardened = hdkeychain.HardenedKeyStart
	return []uint32{p.kind().purpose() + hardened, params.HDCoinType + hardened, hardened, uint32(p.branch % 2), p.index}
}

// script is the output script of the index.
func (b *branch) script(kind Kind, index uint32) ([]byte, error) {
	key, err := b.public.Derive(index)
	if err != nil {
		return nil, err
	}
	pub, err := key.ECPubKey()
	if err != nil {
		return nil, err
	}
	if kind == P2TR {
		return append([]byte{txscript.OP_1, txscript.OP_DATA_32}, schnorr.SerializePubKey(txscript.ComputeTaprootKeyNoScript(pub))...), nil
	}
	return append([]byte{txscript.OP_0, txscript.OP_DATA_20}, btcutil.Hash160(pub.SerializeCompressed())...), nil
}

func (b *branch) key(index uint32) (*btcec.PrivateKey, error) {
	key, err := b.private.Derive(index)
	if err != nil {
		return nil, err
	}
	return key.ECPrivKey()
}

// extend derives the scripts below top that are not known yet. BIP 32 has keys that cannot be derived; nobody has ever
// met one, and its index is left without a script.
func (w *Wallet) extend(n uint8, top uint32) {
	b := w.branches[n]
	for ; b.top < min(top, maxIndex); b.top++ {
		script, err := b.script(place{branch: n}.kind(), b.top)
		if err != nil {
			continue
		}
		w.places[string(script)] = place{n, b.top}
		w.scripts[place{n, b.top}] = script
	}
}

// used is one above the highest index of a branch that a block of the best chain pays to.
func (w *Wallet) used(n uint8) uint32 {
	used := w.branches[n].floor
	for _, c := range w.coins {
		if c.place.branch == n {
			used = max(used, c.place.index+1)
		}
	}
	return used
}

// NewAddress is an address that nothing was paid to yet. Once GapLimit of them are out unpaid, they come round again: a restored seed
// would not look any further.
func (w *Wallet) NewAddress(kind Kind) (script []byte, address string, rows []Row) {
	n := 2 * uint8(kind)
	b := w.branches[n]
	used := w.used(n)
	if b.next < used || b.next >= used+GapLimit {
		b.next = used
	}
	script = w.scripts[place{n, b.next}]
	b.next++
	w.touch(branchKey(n))
	return script, w.address(script), w.rows()
}

// changeScript is the script of the lowest change index that neither a block nor a pending transaction pays to.
func (w *Wallet) changeScript(kind Kind, without ...chainhash.Hash) []byte {
	if list := w.changeScripts(kind, 1, without...); len(list) > 0 {
		return list[0]
	}
	n := 2*uint8(kind) + 1
	return w.scripts[place{n, w.used(n)}] // all of them are in use: better an address twice than one that a restored seed misses
}

// changeScripts are the lowest such scripts, at most most of them: beyond the gap a restored seed would not look. Those of the pending
// transactions without may be used again.
func (w *Wallet) changeScripts(kind Kind, most int, without ...chainhash.Hash) (list [][]byte) {
	n := 2*uint8(kind) + 1
	taken := make(map[string]bool)
	for txid, p := range w.pending {
		if slices.Contains(without, txid) {
			continue
		}
		for _, out := range p.tx.TxOut {
			taken[string(out.PkScript)] = true
		}
	}
	used := w.used(n)
	for i := used; i < used+GapLimit && len(list) < most; i++ {
		if script := w.scripts[place{n, i}]; script != nil && !taken[string(script)] {
			list = append(list, script)
		}
	}
	return list
}

func (w *Wallet) address(script []byte) string {
	_, addrs, _, err := txscript.ExtractPkScriptAddrs(script, w.params)
	if err != nil || len(addrs) != 1 {
		return ""
	}
	return addrs[0].EncodeAddress()
}

// Owns says that script is one of the wallet's.
func (w *Wallet) Owns(script []byte) bool {
	_, ok := w.places[string(script)]
	return ok
}

// psbtFingerprint is the form that PSBT fields have.
func (w *Wallet) psbtFingerprint() uint32 { return binary.LittleEndian.Uint32(w.fingerprint[:]) }
