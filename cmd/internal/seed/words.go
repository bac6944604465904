// Package seed keeps a node's one secret: as 24 words on paper (BIP 39), and as an encrypted file on the disk.
//
// The word list is the one of BIP 39 as lnd's aezeed package carries it; the words mean what BIP 39 says, so any BIP 39 tool can
// check them. Aezeed itself, which has a birthday and a cipher inside the words, is not used: only lnd's descendants read it.
package seed

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"strings"

	"github.com/lightningnetwork/lnd/aezeed"
)

const (
	entropySize = 32 // bytes
	// WordCount is how many words a seed has: 264 bits of 11, the entropy and 8 bits of its SHA-256.
	WordCount = 24
	// Size is the length of a seed in bytes.
	Size = 64
)

// index is the place of every word in the list.
var index = func() map[string]int {
	m := make(map[string]int, len(aezeed.DefaultWordList))
	for i, w := range aezeed.DefaultWordList {
		m[w] = i
	}
	return m
}()

// Words spells 32 bytes of entropy (BIP 39 "Generating the mnemonic").
func Words(entropy [entropySize]byte) []string {
	sum := sha256.Sum256(entropy[:])
	bits := append(entropy[:], sum[0])
	words := make([]string, WordCount)
	for i := range words {
		words[i] = aezeed.DefaultWordList[group(bits, i)]
	}
	return words
}

// group is the i-th group of 11 bits.
func group(bits []byte, i int) (g int) {
	for b := i * 11; b < (i+1)*11; b++ {
		g = g<<1 | int(bits[b/8]>>(7-b%8)&1)
	}
	return g
}

// FromWords is the seed that 24 words stand for (BIP 39 "From mnemonic to seed", with the empty passphrase). It refuses words that are
// not in the list and a wrong checksum; errors name the place and never the word.
func FromWords(text string) ([]byte, error) {
	words := strings.Fields(strings.ToLower(text))
	if len(words) != WordCount {
		return nil, fmt.Errorf("seed words: %d given, need %d", len(words), WordCount)
	}
	var bits [entropySize + 1]byte
	for i, w := range words {
		at, ok := index[w]
		if !ok {
			return nil, fmt.Errorf("seed words: word %d is not in the list of BIP 39", i+1)
		}
		for b := range 11 {
			if at>>(10-b)&1 == 1 {
				bits[(i*11+b)/8] |= 1 << (7 - (i*11+b)%8)
			}
		}
	}
	if sum := sha256.Sum256(bits[:entropySize]); sum[0] != bits[entropySize] {
		return nil, fmt.Errorf("seed words: the checksum is wrong: a word is mistyped or out of place")
	}
	return pbkdf2.Key(sha512.New, strings.Join(words, " "), []byte("mnemonic"), 2048, Size)
}
