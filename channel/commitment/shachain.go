package commitment

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// SecretIndex is the index, in the counting of BOLT 3, of the secret of commitment number n: the first is 2^48-1.
func SecretIndex(n uint64) uint64 { return MaxNumber - n }

// SecretFromSeed is BOLT 3 "Per-commitment Secret Requirements": the secret at an index.
func SecretFromSeed(seed [32]byte, index uint64) [32]byte { return deriveSecret(seed, 48, index) }

// deriveSecret derives the secret at index from one whose index is the same in bits 47 down to n and zero below.
func deriveSecret(base [32]byte, n int, index uint64) [32]byte {
	p := base
	for b := n - 1; b >= 0; b-- {
		if index>>b&1 == 1 {
			p[b/8] ^= 1 << (b % 8)
			p = sha256.Sum256(p[:])
		}
	}
	return p
}

// SecretStore holds the secrets of the commitments that the peer has revoked, all of them in at most 49 entries:
// BOLT 3 "Efficient Per-commitment Secret Storage". It is a value; a copy is independent.
//
// known[b] is the newest secret whose index has exactly b trailing zeros, which is there once next is 2^b or more. Of
// the secrets at hand, the one with more trailing zeros derives those with fewer that came before it.
type SecretStore struct {
	next  uint64
	known [49][32]byte
}

// Next is the number of the commitment whose secret is expected next: how many are known.
func (s *SecretStore) Next() uint64 { return s.next }

// Add stores the secret of commitment number n, which must be Next. It fails, and changes nothing, if secrets stored
// before do not derive from it: then the peer did not make them from one seed.
func (s *SecretStore) Add(n uint64, secret [32]byte) error {
	if n != s.next || n > MaxNumber {
		return fmt.Errorf("per_commitment_secret of commitment %d, expected %d", n, s.next)
	}
	bucket := trailingZeros(SecretIndex(n))
	for b := 0; b < bucket; b++ {
		if deriveSecret(secret, bucket, SecretIndex(s.newest(b))) != s.known[b] {
			return fmt.Errorf("per_commitment_secret of commitment %d does not derive those before", n)
		}
	}
	s.known[bucket] = secret
	s.next++
	return nil
}

// Lookup gives the secret of commitment number n, if it has been revoked.
func (s *SecretStore) Lookup(n uint64) (secret [32]byte, ok bool) {
	if n >= s.next {
		return secret, false
	}
	index := SecretIndex(n)
	for b := 0; b < s.entries(); b++ {
		if prefix(index, b) == SecretIndex(s.newest(b)) {
			return deriveSecret(s.known[b], b, index), true
		}
	}
	return secret, false
}

// entries is how many entries of known are in use: bucket b from commitment number 2^b - 1 on.
func (s *SecretStore) entries() int { return bits.Len64(s.next) }

// newest is the number of the commitment whose secret is in bucket b, which must be in use. An index with exactly b
// trailing zeros belongs to a number with exactly b trailing ones: the largest such number below next.
func (s *SecretStore) newest(b int) uint64 {
	ones := uint64(1)<<b - 1
	if b == 48 {
		return ones
	}
	// Numbers of the bucket are ones + k * 2^(b+1).
	step := uint64(1) << (b + 1)
	return ones + (s.next-1-ones)/step*step
}

// prefix clears the lower b bits of an index.
func prefix(index uint64, b int) uint64 { return index &^ (uint64(1)<<b - 1) }

// trailingZeros is the bucket of an index; 48, the seed's, for index 0.
func trailingZeros(index uint64) int { return min(48, bits.TrailingZeros64(index)) }

const secretStoreVersion = 0

// Encode gives a version byte, the count of secrets (8 bytes) and the entries in use, 32 bytes each.
func (s *SecretStore) Encode() []byte {
	b := make([]byte, 0, 9+32*s.entries())
	b = append(b, secretStoreVersion)
	b = binary.BigEndian.AppendUint64(b, s.next)
	for i := 0; i < s.entries(); i++ {
		b = append(b, s.known[i][:]...)
	}
	return b
}

// DecodeSecretStore reads what Encode wrote.
func DecodeSecretStore(b []byte) (SecretStore, error) {
	var s SecretStore
	if len(b) < 9 {
		return SecretStore{}, fmt.Errorf("secrets: length %d below minimum 9", len(b))
	}
	if b[0] != secretStoreVersion {
		return SecretStore{}, fmt.Errorf("secrets: version %d, expected %d", b[0], secretStoreVersion)
	}
	s.next = binary.BigEndian.Uint64(b[1:])
	if s.next > MaxNumber+1 {
		return SecretStore{}, fmt.Errorf("secrets: count %d above maximum %d", s.next, uint64(MaxNumber+1))
	}
	b = b[9:]
	if len(b) != 32*s.entries() {
		return SecretStore{}, fmt.Errorf("secrets: %d bytes of entries, expected %d", len(b), 32*s.entries())
	}
	for i := 0; i < s.entries(); i++ {
		copy(s.known[i][:], b[32*i:])
	}
	return s, s.check()
}

// check says whether every entry derives the entries below it that came before, as Add made sure.
func (s *SecretStore) check() error {
	for hi := 0; hi < s.entries(); hi++ {
		base := SecretIndex(s.newest(hi))
		for lo := 0; lo < hi; lo++ {
			index := SecretIndex(s.newest(lo))
			if prefix(index, hi) == base && deriveSecret(s.known[hi], hi, index) != s.known[lo] {
				return fmt.Errorf("secrets: entry %d does not derive from entry %d", lo, hi)
			}
		}
	}
	return nil
}
