package commitment

import (
	"bytes"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/lightningnetwork/lnd/shachain"
)

// TestSecretStore adds secrets one by one and looks all of them up, across an encoding.
func TestSecretStore(t *testing.T) {
	r := newRand(t)
	seed := random32(r)
	var s SecretStore
	if _, ok := s.Lookup(0); ok {
		t.Error("an empty store knows a secret")
	}
	const count = 140
	for n := uint64(0); n < count; n++ {
		if err := s.Add(n, SecretFromSeed(seed, SecretIndex(n))); err != nil {
			t.Fatal(err)
		}
		decoded, err := DecodeSecretStore(s.Encode())
		if err != nil || decoded != s {
			t.Fatalf("after %d: decoded differs (%v)", n, err)
		}
		for m := uint64(0); m <= n; m++ {
			if got, ok := decoded.Lookup(m); !ok || got != SecretFromSeed(seed, SecretIndex(m)) {
				t.Fatalf("after %d: Lookup(%d) = %x, %v", n, m, got, ok)
			}
		}
		if _, ok := s.Lookup(n + 1); ok || s.Next() != n+1 {
			t.Fatalf("after %d: knows the next", n)
		}
	}
	for _, n := range []uint64{0, count - 1, count + 1, MaxNumber, MaxNumber + 1, 1<<64 - 1} {
		if s.Add(n, SecretFromSeed(seed, SecretIndex(n))) == nil {
			t.Errorf("Add(%d) after %d", n, count-1)
		}
	}
	// 140 is even: its index has no trailing zeros and derives nothing, so a secret of another seed shows at the next.
	if err := s.Add(count, random32(r)); err != nil {
		t.Fatal(err)
	}
	if s.Add(count+1, SecretFromSeed(seed, SecretIndex(count+1))) == nil {
		t.Error("a secret of another seed is accepted")
	}
}

// TestSecretStoreAtTheEnd fills a store to its last numbers without the way there.
func TestSecretStoreAtTheEnd(t *testing.T) {
	r := newRand(t)
	seed := random32(r)
	s := SecretStore{next: MaxNumber - 20}
	for b := range s.entries() {
		s.known[b] = SecretFromSeed(seed, SecretIndex(s.newest(b)))
	}
	for s.next <= MaxNumber {
		n := s.next
		if err := s.Add(n, SecretFromSeed(seed, SecretIndex(n))); err != nil {
			t.Fatal(err)
		}
	}
	if got, ok := s.Lookup(MaxNumber); !ok || got != seed {
		t.Error("the last secret is not the seed")
	}
	for range 100 {
		n := r.Uint64N(MaxNumber + 1)
		if got, ok := s.Lookup(n); !ok || got != SecretFromSeed(seed, SecretIndex(n)) {
			t.Errorf("Lookup(%d) = %x, %v", n, got, ok)
		}
	}
	if d, err := DecodeSecretStore(s.Encode()); err != nil || d != s {
		t.Errorf("decoded differs (%v)", err)
	}
	if s.Add(MaxNumber+1, seed) == nil {
		t.Error("secret 2^48 accepted")
	}
}

func TestSecretsAgainstLnd(t *testing.T) {
	r := newRand(t)
	seed := random32(r)
	producer := shachain.NewRevocationProducer(chainhash.Hash(seed))
	for _, n := range []uint64{0, 1, 2, 1000, r.Uint64N(MaxNumber), MaxNumber - 1} {
		want, err := producer.AtIndex(n)
		if err != nil {
			t.Fatal(err)
		}
		if got := SecretFromSeed(seed, SecretIndex(n)); got != [32]byte(*want) {
			t.Errorf("secret %d: %x, want %x", n, got, want[:])
		}
	}
}

func TestSecretStoreDecodeRefuses(t *testing.T) {
	var s SecretStore
	for n := uint64(0); n < 10; n++ {
		if err := s.Add(n, SecretFromSeed([32]byte{1}, SecretIndex(n))); err != nil {
			t.Fatal(err)
		}
	}
	good := s.Encode()
	for name, change := range map[string]func([]byte) []byte{
		"empty":          func([]byte) []byte { return nil },
		"version":        func(b []byte) []byte { b[0]++; return b },
		"count above":    func(b []byte) []byte { b[1] = 0xff; return b },
		"short":          func(b []byte) []byte { return b[:len(b)-1] },
		"long":           func(b []byte) []byte { return append(b, 0) },
		"one entry less": func(b []byte) []byte { return b[:len(b)-32] },
		"changed entry":  func(b []byte) []byte { b[9+3*32] ^= 1; return b }, // 7, which derives 0 to 6
	} {
		if _, err := DecodeSecretStore(change(bytes.Clone(good))); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzSecretStore(f *testing.F) {
	var s SecretStore
	f.Add(s.Encode(), make([]byte, 32))
	for n := uint64(0); n < 9; n++ {
		if err := s.Add(n, SecretFromSeed([32]byte{1}, SecretIndex(n))); err != nil {
			f.Fatal(err)
		}
		f.Add(s.Encode(), []byte{byte(n)})
	}
	f.Fuzz(func(t *testing.T, b, secret []byte) {
		s, err := DecodeSecretStore(b)
		if err != nil {
			return
		}
		if !bytes.Equal(s.Encode(), b) {
			t.Fatalf("%x encodes as %x", b, s.Encode())
		}
		for _, n := range []uint64{0, s.next / 2, s.next - 1} {
			if _, ok := s.Lookup(n); ok != (n < s.next) {
				t.Fatalf("Lookup(%d) of %d: %v", n, s.next, ok)
			}
		}
		var next [32]byte
		copy(next[:], secret)
		before := s
		if s.Add(s.next, next) != nil {
			if s != before {
				t.Fatal("failed Add changed the store")
			}
		} else if d, err := DecodeSecretStore(s.Encode()); err != nil || d != s {
			t.Fatalf("after Add: %v", err)
		}
	})
}
