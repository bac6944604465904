package onion

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/btcsuite/btcd/btcec/v2"
	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"
)

// secret is what two nodes share: the hash of their ECDH point (BOLT 4 "Shared Secret").
type secret [32]byte

// errDecrypt says that encrypted_recipient_data is not for us or was changed.
var errDecrypt = errors.New("encrypted_recipient_data does not decrypt")

// zeroNonce: every key below encrypts one thing only (BOLT 4 "Pseudo Random Byte Stream").
var zeroNonce [chacha20poly1305.NonceSize]byte

// key derives a key of the kind "rho", "um", "ammag"... (BOLT 4 "Key Generation").
func (s secret) key(kind string) (k [32]byte) {
	mac := hmac.New(sha256.New, []byte(kind))
	mac.Write(s[:])
	mac.Sum(k[:0])
	return k
}

// mask is data XOR the stream of the secret's "ammag" key.
func (s secret) mask(data []byte) []byte {
	key := s.key("ammag")
	stream, err := chacha20.NewUnauthenticatedCipher(key[:], zeroNonce[:])
	if err != nil {
		panic(err) // key and nonce have the right lengths
	}
	masked := make([]byte, len(data))
	stream.XORKeyStream(masked, data)
	return masked
}

// decrypt opens encrypted_recipient_data. The ciphertext is left as it was.
func (s secret) decrypt(ciphertext []byte) ([]byte, error) {
	key := s.key("rho")
	aead, err := chacha20poly1305.New(key[:])
	if err != nil {
		panic(err) // the key has the right length
	}
	plain, err := aead.Open(nil, zeroNonce[:], ciphertext, nil)
	if err != nil {
		return nil, errDecrypt
	}
	return plain, nil
}

// sharedSecret is ECDH of our key and their point.
func sharedSecret(key *btcec.PrivateKey, point *btcec.PublicKey) secret {
	return sha256.Sum256(multiply(point, &key.Key).SerializeCompressed())
}

// step is the factor that takes an ephemeral key to the next hop's (BOLT 4 "Blinding Ephemeral Onion Keys").
func step(ephemeral *btcec.PublicKey, s secret) *btcec.ModNScalar {
	h := sha256.New()
	h.Write(ephemeral.SerializeCompressed())
	h.Write(s[:])
	var factor btcec.ModNScalar
	factor.SetByteSlice(h.Sum(nil))
	return &factor
}

// blindingFactor takes a node's key, private or public, to the one it has in a blinded path.
func (s secret) blindingFactor() *btcec.ModNScalar {
	key := s.key("blinded_node_id")
	var factor btcec.ModNScalar
	factor.SetBytes(&key)
	return &factor
}

func multiply(point *btcec.PublicKey, by *btcec.ModNScalar) *btcec.PublicKey {
	var in, out btcec.JacobianPoint
	point.AsJacobian(&in)
	btcec.ScalarMultNonConst(by, &in, &out)
	out.ToAffine()
	return btcec.NewPublicKey(&out.X, &out.Y)
}

// sessionKey makes a private key of the caller's randomness.
func sessionKey(session [32]byte) (*btcec.PrivateKey, error) {
	var scalar btcec.ModNScalar
	if overflow := scalar.SetBytes(&session); overflow != 0 || scalar.IsZero() {
		return nil, errors.New("session key is no valid private key")
	}
	return btcec.PrivKeyFromScalar(&scalar), nil
}

func parseNode(node [33]byte) (*btcec.PublicKey, error) {
	key, err := btcec.ParsePubKey(node[:])
	if err != nil {
		return nil, fmt.Errorf("node %x is no point", node)
	}
	return key, nil
}

func serialize(key *btcec.PublicKey) (p [33]byte) {
	copy(p[:], key.SerializeCompressed())
	return p
}

// pathSecret is what a node of a blinded path shares with the path's creator, found through the path_key that came
// with the onion.
type pathSecret struct {
	point *btcec.PublicKey
	secret
}

// blind is the private key that answers for our blinded_node_id.
func (p *pathSecret) blind(node *btcec.PrivateKey) *btcec.PrivateKey {
	blinded := *p.blindingFactor()
	return btcec.PrivKeyFromScalar(blinded.Mul(&node.Key))
}

// next is the path_key for the node after us, unless data overrides it.
func (p *pathSecret) next(data *EncryptedData) [33]byte {
	if data.NextPathKeyOverride != nil {
		return *data.NextPathKeyOverride
	}
	return serialize(multiply(p.point, step(p.point, p.secret)))
}
