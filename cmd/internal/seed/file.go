package seed

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/scrypt"
)

// A file is
//
//	"lightning rod seed 1 plain\n"     seed (64)
//	"lightning rod seed 1 scrypt\n"    log2 N (1) | salt (16) | XChaCha20-Poly1305 of the seed (80), nonce zero
//
// The key is scrypt(password, salt, N, r 8, p 1) and made anew for every file, so the nonce need not vary. Everything before the
// ciphertext is authenticated with it.
const (
	plainMark  = "lightning rod seed 1 plain\n"
	scryptMark = "lightning rod seed 1 scrypt\n"
	saltSize   = 16
	// workFactor is log2 of scrypt's N: 32 MiB and about a tenth of a second.
	workFactor = 15
	// A file may ask for at most this much work: 1 GiB. What it says is not yet authenticated when the work is done.
	minWork, maxWork = 10, 20
)

var (
	// ErrPassword: the password is wrong, or the file was changed; which of them cannot be told.
	ErrPassword = errors.New("wrong password (or the seed file is damaged)")
	// ErrNeedPassword: the file is encrypted and no password was given.
	ErrNeedPassword = errors.New("the seed is encrypted: a password is needed")
)

// Encode makes the contents of a seed file. An empty password leaves the seed readable.
func Encode(seed, password []byte) ([]byte, error) {
	if len(seed) != Size {
		return nil, fmt.Errorf("seed: %d bytes, need %d", len(seed), Size)
	}
	if len(password) == 0 {
		return append([]byte(plainMark), seed...), nil
	}
	head := append([]byte(scryptMark), workFactor)
	salt := make([]byte, saltSize)
	if _, err := rand.Read(salt); err != nil {
		return nil, err
	}
	head = append(head, salt...)
	key, err := scrypt.Key(password, salt, 1<<workFactor, 8, 1, chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, err
	}
	return aead.Seal(head, make([]byte, aead.NonceSize()), seed, head), nil
}

// Decode reads the contents of a seed file.
func Decode(file, password []byte) ([]byte, error) {
	if seed, plain := bytes.CutPrefix(file, []byte(plainMark)); plain {
		if len(seed) != Size {
			return nil, fmt.Errorf("seed file: %d bytes of seed, want %d", len(seed), Size)
		}
		return bytes.Clone(seed), nil
	}
	body, ok := bytes.CutPrefix(file, []byte(scryptMark))
	if !ok {
		return nil, errors.New("seed file: not one of Lightning Rod, or of a newer version")
	}
	if want := 1 + saltSize + Size + chacha20poly1305.Overhead; len(body) != want {
		return nil, fmt.Errorf("seed file: %d bytes after its first line, want %d", len(body), want)
	}
	if w := body[0]; w < minWork || w > maxWork {
		return nil, fmt.Errorf("seed file: work factor %d outside %d..%d", w, minWork, maxWork)
	}
	if len(password) == 0 {
		return nil, ErrNeedPassword
	}
	key, err := scrypt.Key(password, body[1:1+saltSize], 1<<body[0], 8, 1, chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, err
	}
	head := len(scryptMark) + 1 + saltSize
	seed, err := aead.Open(nil, make([]byte, aead.NonceSize()), file[head:], file[:head])
	if err != nil {
		return nil, ErrPassword
	}
	return seed, nil
}

// Encrypted says whether the contents of a seed file need a password.
func Encrypted(file []byte) bool { return bytes.HasPrefix(file, []byte(scryptMark)) }

// Generate draws a new seed and its words.
func Generate() (seed []byte, words []string, err error) {
	var entropy [entropySize]byte
	if _, err := rand.Read(entropy[:]); err != nil {
		return nil, nil, err
	}
	words = Words(entropy)
	seed, err = FromWords(strings.Join(words, " "))
	return seed, words, err
}

// Write makes a new seed file, durable when Write returns. It never replaces one: a seed that is lost is money lost.
func Write(path string, seed, password []byte) error {
	contents, err := Encode(seed, password)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(contents)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		os.Remove(path) // it was never in use
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
