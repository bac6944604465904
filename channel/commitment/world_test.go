package commitment

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/lightningnetwork/lnd/lnwire"
)

// newRand is a source of randomness that can be replayed: the seed is in the log.
func newRand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return seeded(seed)
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func random32(r *rand.Rand) (b [32]byte) {
	for i := 0; i < 32; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b
}

func randomPriv(r *rand.Rand) *btcec.PrivateKey { return priv(random32(r)) }

func randomPrivs(r *rand.Rand) Privs {
	return Privs{Funding: randomPriv(r), Revocation: randomPriv(r), Payment: randomPriv(r),
		DelayedPayment: randomPriv(r), HTLC: randomPriv(r)}
}

// world is a channel with all its secrets, and one commitment of the owner.
type world struct {
	owner, other Privs
	secret       [32]byte // of the owner's commitment
	static       Static
	keys         Keys
	preimages    map[[32]byte][32]byte
}

func newWorld(t testing.TB, r *rand.Rand) *world {
	t.Helper()
	w := &world{owner: randomPrivs(r), other: randomPrivs(r), secret: random32(r), preimages: make(map[[32]byte][32]byte)}
	owner, other := w.owner.BasePoints(), w.other.BasePoints()
	var err error
	if w.keys, err = DeriveKeys(PointOf(w.secret), owner, other); err != nil {
		t.Fatal(err)
	}
	w.static = Static{
		Capacity:      1_000_000 + r.Int64N(1_000_000_000),
		OwnerIsOpener: r.IntN(2) == 0,
		DustLimit:     354 + r.Int64N(1000),
		ToSelfDelay:   uint16(1 + r.IntN(2016)),
		Obscure:       ObscureFactor(owner.Payment, other.Payment),
	}
	w.static.Funding.Hash = random32(r)
	w.static.Funding.Index = r.Uint32N(5)
	return w
}

// htlc is a random HTLC with a known preimage.
func (w *world) htlc(r *rand.Rand, id uint64, amount lnwire.MilliSatoshi) HTLC {
	preimage := random32(r)
	hash := sha256.Sum256(preimage[:])
	w.preimages[hash] = preimage
	return HTLC{ID: id, Offered: r.IntN(2) == 0, Amount: amount, Hash: hash, Expiry: 1 + r.Uint32N(1_000_000)}
}

// spec has n HTLCs of up to 10,000 satoshi, some equal but for their expiry, and the rest on both sides.
func (w *world) spec(r *rand.Rand, n int) Spec {
	sp := Spec{Number: r.Uint64N(MaxNumber + 1), FeePerKw: 253 + r.Uint32N(5000)}
	left := msat(w.static.Capacity)
	for i := range n {
		h := w.htlc(r, uint64(i), lnwire.MilliSatoshi(1+r.Uint64N(10_000_000)))
		if i > 0 && r.IntN(4) == 0 {
			twin := sp.HTLCs[r.IntN(i)]
			h.Amount, h.Hash, h.Offered = twin.Amount, twin.Hash, twin.Offered
			if r.IntN(2) == 0 {
				h.Expiry = twin.Expiry
			}
		}
		if h.Amount > left {
			break
		}
		left -= h.Amount
		sp.HTLCs = append(sp.HTLCs, h)
	}
	sp.ToOwner = lnwire.MilliSatoshi(r.Uint64N(uint64(left) + 1))
	sp.ToOther = left - sp.ToOwner
	return sp
}
