package node

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"

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

// signer is a channel's Crypto: its private keys and nothing else.
type signer struct {
	privs commitment.Privs
	seed  [32]byte // of the per-commitment secrets (BOLT 3 "Per-commitment Secret Requirements")
}

func (k *keyring) signer(n channel.ID) *signer {
	key := func(purpose string) *btcec.PrivateKey {
		s := k.secret(n, purpose)
		priv, _ := btcec.PrivKeyFromBytes(s[:])
		return priv
	}
	return &signer{
		privs: commitment.Privs{
			Funding:        key("funding"),
			Revocation:     key("revocation"),
			Payment:        key("payment"),
			DelayedPayment: key("delayed payment"),
			HTLC:           key("htlc"),
		},
		seed: k.secret(n, "per-commitment seed"),
	}
}

// basePoints are the public halves, as open_channel and accept_channel carry them.
func (s *signer) basePoints() commitment.BasePoints { return s.privs.BasePoints() }

// parallelFrom is the number of signatures from which spreading them over the cores pays.
const parallelFrom = 4

func (s *signer) Sign(jobs []commitment.SignJob) []lnwire.Sig {
	sigs := make([]lnwire.Sig, len(jobs))
	spread(len(jobs), func(i int) { sigs[i] = commitment.SignWith(jobs[i], &s.privs) })
	return sigs
}

func (s *signer) Verify(jobs []commitment.VerifyJob) bool {
	ok := make([]bool, len(jobs))
	spread(len(jobs), func(i int) { ok[i] = jobs[i].Verify() })
	for _, good := range ok {
		if !good {
			return false
		}
	}
	return true
}

func (s *signer) Point(n uint64) (p commitment.PubKey) {
	secret := s.Secret(n)
	_, pub := btcec.PrivKeyFromBytes(secret[:])
	copy(p[:], pub.SerializeCompressed())
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

// spread calls f(0..n-1), over all cores when there is enough of it.
func spread(n int, f func(int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if n < parallelFrom || workers < 2 {
		for i := range n {
			f(i)
		}
		return
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				f(i)
			}
		})
	}
	wg.Wait()
}
