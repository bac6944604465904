package seed

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Vectors of BIP 39 with 24 words. The published seeds have the passphrase TREZOR; these are computed without one, so only the
// words are theirs.
func TestWords(t *testing.T) {
	for entropy, want := range map[string]string{
		strings.Repeat("00", 32): strings.Repeat("abandon ", 23) + "art",
		strings.Repeat("7f", 32): "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth title",
		strings.Repeat("80", 32): "letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor acoustic bless",
		strings.Repeat("ff", 32): strings.Repeat("zoo ", 23) + "vote",
		"68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c": "hamster diagram private dutch cause delay private meat slide toddler razor book happy fancy gospel tennis maple dilemma loan word shrug inflict delay length",
	} {
		raw, _ := hex.DecodeString(entropy)
		if got := strings.Join(Words([32]byte(raw)), " "); got != want {
			t.Errorf("%s: %s, want %s", entropy, got, want)
		}
		if s, err := FromWords(want); err != nil || len(s) != Size {
			t.Errorf("%s: %d bytes, %v", entropy, len(s), err)
		}
	}
	// The seed of "abandon ... art" without passphrase, as other BIP 39 software has it.
	s, err := FromWords(strings.Repeat("abandon ", 23) + "art")
	if got := hex.EncodeToString(s); err != nil || !strings.HasPrefix(got, "408b285c123836004f4b8842c89324c1f01382450c0d439af345ba7fc49acf70") {
		t.Errorf("seed %.16s..., %v", got, err)
	}
}

func TestWrongWords(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "0 given, need 24",
		strings.Repeat("abandon ", 24): "checksum",
		strings.Repeat("abandon ", 22) + "lightning art": "word 23",
		strings.Repeat("abandon ", 25):                   "25 given",
	} {
		if _, err := FromWords(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestFile(t *testing.T) {
	s, words, err := Generate()
	if err != nil || len(words) != 24 {
		t.Fatal(len(words), err)
	}
	if again, err := FromWords(strings.Join(words, "\n")); err != nil || !bytes.Equal(again, s) {
		t.Fatal("the words do not give the seed back", err)
	}
	for _, password := range [][]byte{nil, []byte("correct horse")} {
		path := filepath.Join(t.TempDir(), "seed")
		if err := Write(path, s, password); err != nil {
			t.Fatal(err)
		}
		if err := Write(path, s, password); !errors.Is(err, os.ErrExist) {
			t.Fatalf("a seed was replaced: %v", err)
		}
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Decode(file, password); err != nil || !bytes.Equal(got, s) {
			t.Fatal("not the seed", err)
		}
		if password == nil {
			continue
		}
		if bytes.Contains(file, s[:8]) {
			t.Fatal("the seed is readable in the encrypted file")
		}
		if _, err := Decode(file, []byte("wrong")); !errors.Is(err, ErrPassword) {
			t.Fatalf("wrong password: %v", err)
		}
		if _, err := Decode(file, nil); !errors.Is(err, ErrNeedPassword) {
			t.Fatalf("no password: %v", err)
		}
		for _, at := range []int{len(scryptMark) + 1, len(file) - 1} {
			bad := bytes.Clone(file)
			bad[at] ^= 1
			if _, err := Decode(bad, password); !errors.Is(err, ErrPassword) {
				t.Fatalf("byte %d flipped: %v", at, err)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	plain, _ := Encode(make([]byte, Size), nil)
	f.Add(plain)
	f.Add([]byte(scryptMark + "\xff" + strings.Repeat("x", 96)))
	f.Add([]byte(scryptMark))
	f.Fuzz(func(t *testing.T, file []byte) {
		if s, err := Decode(file, nil); err == nil && len(s) != Size { // no password: no work either
			t.Fatalf("a seed of %d bytes", len(s))
		}
	})
}
