package channeltest

import (
	"crypto/sha256"
	"sync"

	"lightningrod/channel"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Crypto is what a side of a Pair needs: the keys of its channel.
type Crypto interface {
	channel.Crypto
	BasePoints() commitment.BasePoints
}

// keys are the private keys of one side, all derived from its name.
type keys struct {
	privs commitment.Privs
	seed  [32]byte
	base  commitment.BasePoints

	mu     *sync.Mutex
	points map[uint64]commitment.PubKey
}

func newKeys(name string) keys {
	key := func(what string) *btcec.PrivateKey {
		h := sha256.Sum256([]byte(name + "/" + what))
		k, _ := btcec.PrivKeyFromBytes(h[:])
		return k
	}
	k := keys{
		privs: commitment.Privs{
			Funding: key("funding"), Revocation: key("revocation"), Payment: key("payment"),
			DelayedPayment: key("delayed"), HTLC: key("htlc"),
		},
		seed:   sha256.Sum256([]byte(name + "/seed")),
		mu:     new(sync.Mutex),
		points: make(map[uint64]commitment.PubKey),
	}
	k.base = k.privs.BasePoints()
	return k
}

func (k *keys) BasePoints() commitment.BasePoints { return k.base }

func (k *keys) Secret(n uint64) [32]byte {
	return commitment.SecretFromSeed(k.seed, commitment.SecretIndex(n))
}

func (k *keys) Point(n uint64) commitment.PubKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, ok := k.points[n]
	if !ok {
		p = commitment.PointOf(k.Secret(n))
		k.points[n] = p
	}
	return p
}

// Real signs and verifies for real.
type Real struct{ keys }

// NewReal makes the keys of the side with that name.
func NewReal(name string) *Real { return &Real{newKeys(name)} }

func (r *Real) Sign(jobs []commitment.SignJob) []lnwire.Sig {
	return commitment.SignAll(jobs, &r.privs)
}

func (r *Real) Verify(jobs []commitment.VerifyJob) bool { return commitment.VerifyAll(jobs) }

// Toy makes signatures that are hashes of key and digest: the other Toy can tell a right one from a wrong one, and that
// is all a state machine needs. Keys are derived for real, once: what it derives it remembers.
type Toy struct {
	keys
	memo *Memo
}

// Memo is what Toys have derived. It may be shared.
type Memo struct {
	mu     sync.Mutex
	keys   map[memoKey]commitment.Keys
	pubs   map[memoPub]commitment.PubKey
	points map[[32]byte]commitment.PubKey
}

type memoKey struct{ point, owner, other commitment.PubKey }

type memoPub struct{ base, point commitment.PubKey }

// NewMemo returns an empty one.
func NewMemo() *Memo {
	return &Memo{keys: map[memoKey]commitment.Keys{}, pubs: map[memoPub]commitment.PubKey{}, points: map[[32]byte]commitment.PubKey{}}
}

// NewToy makes the keys of the side with that name.
func NewToy(name string, memo *Memo) *Toy { return &Toy{newKeys(name), memo} }

func (t *Toy) DeriveKeys(point commitment.PubKey, owner, other commitment.BasePoints) (commitment.Keys, error) {
	t.memo.mu.Lock()
	defer t.memo.mu.Unlock()
	m := memoKey{point, owner.Funding, other.Funding}
	if k, ok := t.memo.keys[m]; ok {
		return k, nil
	}
	k, err := commitment.DeriveKeys(point, owner, other)
	if err == nil {
		t.memo.keys[m] = k
	}
	return k, err
}

func (t *Toy) PointOf(secret [32]byte) commitment.PubKey {
	t.memo.mu.Lock()
	defer t.memo.mu.Unlock()
	p, ok := t.memo.points[secret]
	if !ok {
		p = commitment.PointOf(secret)
		t.memo.points[secret] = p
	}
	return p
}

func (t *Toy) Sign(jobs []commitment.SignJob) []lnwire.Sig {
	sigs := make([]lnwire.Sig, len(jobs))
	for i, j := range jobs {
		sigs[i] = toySig(t.pub(j), j.Digest)
	}
	return sigs
}

func (t *Toy) pub(j commitment.SignJob) commitment.PubKey {
	b := &t.base
	base := [...]commitment.PubKey{
		commitment.KeyFunding: b.Funding, commitment.KeyPayment: b.Payment,
		commitment.KeyDelayedPayment: b.DelayedPayment, commitment.KeyHTLC: b.HTLC, commitment.KeyRevocation: b.Revocation,
	}[j.Key]
	if j.Key == commitment.KeyRevocation {
		return t.derived(base, t.PointOf(j.Secret), commitment.DeriveRevocationPubKey)
	}
	if j.Point == (commitment.PubKey{}) {
		return base
	}
	return t.derived(base, j.Point, commitment.DerivePubKey)
}

func (t *Toy) derived(base, point commitment.PubKey, derive func(base, point commitment.PubKey) (commitment.PubKey, error)) commitment.PubKey {
	t.memo.mu.Lock()
	defer t.memo.mu.Unlock()
	m := memoPub{base, point}
	p, ok := t.memo.pubs[m]
	if !ok {
		p, _ = derive(base, point)
		t.memo.pubs[m] = p
	}
	return p
}

func (t *Toy) Verify(jobs []commitment.VerifyJob) bool {
	for _, j := range jobs {
		if toySig(j.Key, j.Digest) != j.Sig {
			return false
		}
	}
	return true
}

// toySig is low-S, like every signature that is accepted.
func toySig(key commitment.PubKey, digest [32]byte) lnwire.Sig {
	r := sha256.Sum256(append(key[:], digest[:]...))
	s := sha256.Sum256(r[:])
	r[0], s[0] = 0, 0
	sig, _ := lnwire.NewSigFromWireECDSA(append(r[:], s[:]...))
	return sig
}
