package node

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"lightningrod/channel"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcutil/hdkeychain"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/lightningnetwork/lnd/lnwire"
)

// keyring holds the node's secrets, all of them derived from one seed.
//
//	m/1017'/coin'/6'/0/0      the node's identity (the place lnd keeps it)
//	HMAC(channel root, n, k)  the five base keys and the shachain seed of channel n
type keyring struct {
	identity *btcec.PrivateKey
	root     [32]byte // m/9735'/coin'/0', its private key
}

func newKeyring(seed []byte, params *chaincfg.Params) (*keyring, error) {
	if len(seed) < 16 || len(seed) > 64 {
		return nil, fmt.Errorf("seed of %d bytes, need 16 to 64", len(seed))
	}
	master, err := hdkeychain.NewMaster(seed, params)
	if err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	const hard = hdkeychain.HardenedKeyStart
	identity, err := derive(master, 1017+hard, params.HDCoinType+hard, 6+hard, 0, 0)
	if err != nil {
		return nil, err
	}
	root, err := derive(master, 9735+hard, params.HDCoinType+hard, hard)
	if err != nil {
		return nil, err
	}
	k := &keyring{identity: identity}
	copy(k.root[:], root.Serialize())
	return k, nil
}

func derive(k *hdkeychain.ExtendedKey, path ...uint32) (*btcec.PrivateKey, error) {
	for _, i := range path {
		next, err := k.Derive(i)
		if err != nil {
			return nil, fmt.Errorf("deriving a key: %w", err)
		}
		k = next
	}
	return k.ECPrivKey()
}

// nodeID is the identity's public key.
func (k *keyring) nodeID() (id [33]byte) {
	copy(id[:], k.identity.PubKey().SerializeCompressed())
	return id
}

// secret draws 32 bytes for a purpose of channel n. Purposes never repeat within a channel, nor numbers within a node.
func (k *keyring) secret(n channel.ID, purpose string) (out [32]byte) {
	mac := hmac.New(sha256.New, k.root[:])
	var num [8]byte
	binary.BigEndian.PutUint64(num[:], uint64(n))
	mac.Write(num[:])
	mac.Write([]byte(purpose))
	mac.Sum(out[:0])
	return out
}

// signer is a channel's Crypto: its private keys, and what was derived from them lately. It may be used by several
// goroutines.
type signer struct {
	privs commitment.Privs
	base  commitment.BasePoints // of privs
	seed  [32]byte              // of the per-commitment secrets (BOLT 3 "Per-commitment Secret Requirements")

	mu      sync.Mutex
	points  recent[uint64, commitment.PubKey]
	derived recent[derivation, commitment.Keys]
	htlc    recent[commitment.PubKey, *btcec.PrivateKey] // by per-commitment point
}

// derivation is what the keys of a commitment depend on. Basepoints are told apart by funding keys, which no two channels
// share.
type derivation struct{ point, owner, other commitment.PubKey }

// recent remembers the last few values of a function: of a channel the two newest commitments of either side are enough.
type recent[K comparable, V any] struct {
	keys   [4]K
	values [4]V
	n      int // so many were ever added
}

func (r *recent[K, V]) get(k K) (v V, ok bool) {
	for i := range min(r.n, len(r.keys)) {
		if r.keys[i] == k {
			return r.values[i], true
		}
	}
	return v, false
}

func (r *recent[K, V]) add(k K, v V) {
	i := r.n % len(r.keys)
	r.keys[i], r.values[i] = k, v
	r.n++
}

// remember gives f(k) from r, or calls f.
func remember[K comparable, V any](mu *sync.Mutex, r *recent[K, V], k K, f func() (V, error)) (V, error) {
	mu.Lock()
	v, ok := r.get(k)
	mu.Unlock()
	if ok {
		return v, nil
	}
	v, err := f()
	if err == nil {
		mu.Lock()
		r.add(k, v)
		mu.Unlock()
	}
	return v, err
}

func (k *keyring) signer(n channel.ID) *signer {
	key := func(purpose string) *btcec.PrivateKey {
		s := k.secret(n, purpose)
		priv, _ := btcec.PrivKeyFromBytes(s[:])
		return priv
	}
	s := &signer{
		privs: commitment.Privs{
			Funding:        key("funding"),
			Revocation:     key("revocation"),
			Payment:        key("payment"),
			DelayedPayment: key("delayed payment"),
			HTLC:           key("htlc"),
		},
		seed: k.secret(n, "per-commitment seed"),
	}
	s.base = s.privs.BasePoints()
	return s
}

// basePoints are the public halves, as open_channel and accept_channel carry them.
func (s *signer) basePoints() commitment.BasePoints { return s.base }

// DeriveKeys makes signer a channel.Deriver.
func (s *signer) DeriveKeys(point commitment.PubKey, owner, other commitment.BasePoints) (commitment.Keys, error) {
	return remember(&s.mu, &s.derived, derivation{point, owner.Funding, other.Funding}, func() (commitment.Keys, error) {
		return commitment.DeriveKeys(point, owner, other)
	})
}

func (s *signer) PointOf(secret [32]byte) commitment.PubKey { return commitment.PointOf(secret) }

// parallelFrom is the number of signatures from which spreading them over the cores pays.
const parallelFrom = 4

func (s *signer) Sign(jobs []commitment.SignJob) []lnwire.Sig {
	var htlc *btcec.PrivateKey
	if last := len(jobs) - 1; last >= 0 && jobs[last].Key == commitment.KeyHTLC {
		htlc = s.htlcKey(jobs[last].Point)
	}
	sigs := make([]lnwire.Sig, len(jobs))
	spread(len(jobs), func(from, to int) {
		for i := from; i < to; i++ {
			if j := &jobs[i]; j.Key == commitment.KeyHTLC && j.Point == jobs[len(jobs)-1].Point && htlc != nil {
				sigs[i] = commitment.SignDigest(htlc, j.Digest)
			} else {
				sigs[i] = commitment.SignWith(*j, &s.privs)
			}
		}
	})
	return sigs
}

// htlcKey is the private key for the HTLCs of a commitment, nil for point zero.
func (s *signer) htlcKey(point commitment.PubKey) *btcec.PrivateKey {
	if point == (commitment.PubKey{}) {
		return nil
	}
	k, _ := remember(&s.mu, &s.htlc, point, func() (*btcec.PrivateKey, error) {
		return commitment.DerivePrivKey(s.privs.HTLC, point), nil
	})
	return k
}

func (s *signer) Verify(jobs []commitment.VerifyJob) bool {
	var bad atomic.Bool
	spread(len(jobs), func(from, to int) {
		if !commitment.VerifyAll(jobs[from:to]) {
			bad.Store(true)
		}
	})
	return !bad.Load()
}

func (s *signer) Point(n uint64) commitment.PubKey {
	p, _ := remember(&s.mu, &s.points, n, func() (commitment.PubKey, error) { return commitment.PointOf(s.Secret(n)), nil })
	return p
}

// Secret is the per-commitment secret of commitment n. The shachain counts down from 2^48-1 (BOLT 3).
func (s *signer) Secret(n uint64) [32]byte {
	const start = 1<<48 - 1
	if n > start {
		panic(errors.New("commitment number above 2^48-1"))
	}
	return commitment.SecretFromSeed(s.seed, start-n)
}

// spread calls f for 0..n-1 in as many pieces as there are cores, if there is enough of it.
func spread(n int, f func(from, to int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if n < parallelFrom || workers < 2 {
		f(0, n)
		return
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { f(w*n/workers, (w+1)*n/workers) })
	}
	wg.Wait()
}
