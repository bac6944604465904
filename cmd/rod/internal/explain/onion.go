package explain

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"lightningrod/cmd/rod/internal/facts"

	"github.com/btcsuite/btcd/btcec/v2"
	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"
)

// onionSizes are those of packets: of an HTLC, and the two of a message.
const (
	htlcOnion  = 1366
	frame      = 1 + 33 + 32 // version, key, hmac
	onionBound = 1 + 33 + 32768 + 32
)

// Keys open an onion: either the key of the node it is for, or the secret that node and origin share.
type Keys struct {
	Node    *btcec.PrivateKey
	Secret  *[32]byte // shared secret; only if Node is nil
	PathKey []byte    // path_key of the message that brought the onion, or nil
	Hash    *[32]byte // payment_hash of the HTLC; nil: the hmac is not checked
}

// given says whether there is anything to open an onion with.
func (k Keys) given() bool { return k.Node != nil || k.Secret != nil }

// packet is the public part of an onion of n bytes.
func packet(c *cursor, n int) any {
	f := facts.Facts{}
	if c.err == nil && n > c.left() {
		c.fail("%d bytes wanted, %d left", n, c.left())
	}
	if c.err != nil {
		return f
	}
	b := c.bytes(n)
	return packetFacts(b)
}

// packetFacts is never an error: who makes a bad onion may fill it with anything.
func packetFacts(b []byte) facts.Facts {
	key := b[1:34]
	f := facts.Facts{{Name: "version", Value: uint64(b[0])}, {Name: "public_key", Value: hexOf(key)}}
	if _, err := btcec.ParsePubKey(key); err != nil {
		f[1].Value = hexOf(key) + " (not a point)"
	}
	f.Add("hop_payloads", fmt.Sprintf("%d bytes", len(b)-frame))
	f.Add("hmac", hexOf(b[len(b)-32:]))
	return f
}

// onionMessagePacket is the packet of an onion message behind its length.
func onionMessagePacket(c *cursor) any {
	n := int(c.uint("", 2))
	if c.err == nil && n <= frame {
		c.fail("packet of %d bytes, at least %d", n, frame+1)
	}
	return packet(c, n)
}

// Onion explains the onion of an HTLC, opened if there are keys.
func Onion(b []byte, k Keys) (facts.Facts, error) {
	if len(b) != htlcOnion {
		return nil, fmt.Errorf("onion_routing_packet: %d bytes, want %d", len(b), htlcOnion)
	}
	f := packetFacts(b)
	if !k.given() {
		return f, nil
	}
	var assoc []byte
	if k.Hash != nil {
		assoc = k.Hash[:]
	}
	return f, k.open(&f, b, assoc, k.Hash != nil, "payload")
}

// OnionMessage explains an onion_message, with or without its message type before it, opened if there are keys.
func OnionMessage(b []byte, k Keys) (facts.Facts, error) {
	if len(b) > 2 && b[0] == 2 && b[1] == 1 { // 513; a path_key begins with 2 and a coordinate
		if f, err := onionMessage(b[2:], k); err == nil {
			return f, nil
		}
	}
	return onionMessage(b, k)
}

func onionMessage(b []byte, k Keys) (facts.Facts, error) {
	c := newCursor(b)
	f := facts.Facts{}
	for _, x := range messages[513].fields {
		c.read(&f, x)
	}
	if c.err == nil && c.left() > 0 {
		c.field = "onion_message"
		c.fail("%d bytes too many", c.left())
	}
	if c.err != nil {
		return nil, fmt.Errorf("onion_message: %w", c.err)
	}
	if !k.given() {
		return f, nil
	}
	k.PathKey = b[:33]
	return f, k.open(&f, b[35:], nil, true, "onion_message")
}

// open appends what this node's layer of an onion says.
func (k Keys) open(f *facts.Facts, b, assoc []byte, check bool, name string) error {
	secret, pathSecret, err := k.secrets(b[1:34])
	if err != nil {
		return err
	}
	payloads, mac := b[34:len(b)-32], b[len(b)-32:]
	if check && !hmac.Equal(mac, hash256(hash256([]byte("mu"), secret), payloads, assoc)) {
		return errors.New("hmac: wrong: the key or the payment hash is not the right one, or the onion was changed")
	}
	payload, nextMAC, next, err := peel(payloads, secret)
	if err != nil {
		return err
	}
	c := newCursor(payload)
	said := c.stream(name)
	if c.err != nil {
		return fmt.Errorf("payload: %w", c.err)
	}
	f.Add("shared_secret", hexOf(secret))
	f.Add("hmac_checked", check)
	f.Add("payload", said)
	if err := k.openData(f, payload, pathSecret, encryptedData[name]); err != nil {
		return err
	}
	if isZero(nextMAC) {
		f.Add("final", true)
		return nil
	}
	key, err := nextKey(b[1:34], secret)
	if err != nil {
		return err
	}
	f.Add("final", false)
	whole := bytes.Join([][]byte{{0}, key, next, nextMAC}, nil)
	f.Add("next_onion", hexOf(whole))
	return nil
}

// secrets are the shared secrets of the onion and, in a blinded path, of the path's key. BOLT 4 "Route Blinding": behind a
// path_key the onion is for the blinded node id.
func (k Keys) secrets(ephemeral []byte) (onion, path []byte, err error) {
	if k.Node == nil {
		return k.Secret[:], nil, nil
	}
	key := k.Node
	if k.PathKey != nil {
		if path, err = ecdh(key, k.PathKey); err != nil {
			return nil, nil, fmt.Errorf("path_key: %w", err)
		}
		key = blindedKey(key, path)
	}
	onion, err = ecdh(key, ephemeral)
	if err != nil {
		return nil, nil, fmt.Errorf("public_key: %w", err)
	}
	return onion, path, nil
}

// encryptedData is the type of encrypted_recipient_data in a stream.
var encryptedData = map[string]uint64{"payload": 10, "onion_message": 4}

// openData explains encrypted_recipient_data, whose path_key came with the message or is in the payload of an introduction node.
func (k Keys) openData(f *facts.Facts, payload, pathSecret []byte, typ uint64) error {
	records := map[uint64][]byte{}
	for c := newCursor(payload); c.left() > 0 && c.err == nil; {
		typ, n := c.bigsize(), c.bigsize()
		records[typ] = c.bytes(int(min(n, onionBound)))
	}
	data := records[typ]
	if data == nil {
		return nil
	}
	if in := records[12]; typ == encryptedData["payload"] && in != nil && k.Node != nil && pathSecret == nil {
		var err error
		if pathSecret, err = ecdh(k.Node, in); err != nil {
			return fmt.Errorf("current_path_key: %w", err)
		}
	}
	if pathSecret == nil {
		return nil
	}
	aead, err := chacha20poly1305.New(hash256([]byte("rho"), pathSecret))
	if err != nil {
		return err
	}
	plain, err := aead.Open(nil, make([]byte, aead.NonceSize()), data, nil)
	if err != nil {
		return errors.New("encrypted_recipient_data: not of this path_key")
	}
	c := newCursor(plain)
	said := c.stream("encrypted_data")
	if c.err != nil {
		return fmt.Errorf("encrypted_data_tlv: %w", c.err)
	}
	f.Add("encrypted_data_tlv", said)
	return nil
}

// peel takes this node's payload off the front, and gives the packet behind it (BOLT 4 "Onion Decryption").
func peel(payloads, secret []byte) (payload, mac, next []byte, err error) {
	long := make([]byte, 2*len(payloads))
	copy(long, payloads)
	s, err := chacha20.NewUnauthenticatedCipher(hash256([]byte("rho"), secret), make([]byte, chacha20.NonceSize))
	if err != nil {
		return nil, nil, nil, err
	}
	s.XORKeyStream(long, long)
	c := newCursor(long[:len(payloads)])
	c.field = "payload length"
	n := c.bigsize()
	if c.err == nil && n > uint64(max(0, c.left()-32)) {
		c.fail("%d bytes and an hmac wanted, %d left", n, c.left())
	}
	payload, mac = c.bytes(int(min(n, onionBound))), c.bytes(32)
	if c.err != nil {
		return nil, nil, nil, fmt.Errorf("%w (is the key the right one?)", c.err)
	}
	return payload, mac, long[c.at : c.at+len(payloads)], nil
}

// nextKey blinds the onion's key for the next node (BOLT 4 "Blinding Ephemeral Onion Keys").
func nextKey(key, secret []byte) ([]byte, error) {
	p, err := btcec.ParsePubKey(key)
	if err != nil {
		return nil, fmt.Errorf("public_key: %w", err)
	}
	sum := sha256.Sum256(append(append([]byte(nil), key...), secret...))
	var factor btcec.ModNScalar
	factor.SetBytes(&sum)
	var in, out btcec.JacobianPoint
	p.AsJacobian(&in)
	btcec.ScalarMultNonConst(&factor, &in, &out)
	out.ToAffine()
	return btcec.NewPublicKey(&out.X, &out.Y).SerializeCompressed(), nil
}

func ecdh(key *btcec.PrivateKey, point []byte) ([]byte, error) {
	p, err := btcec.ParsePubKey(point)
	if err != nil {
		return nil, errors.New("not a point of secp256k1")
	}
	var in, out btcec.JacobianPoint
	p.AsJacobian(&in)
	btcec.ScalarMultNonConst(&key.Key, &in, &out)
	out.ToAffine()
	sum := sha256.Sum256(btcec.NewPublicKey(&out.X, &out.Y).SerializeCompressed())
	return sum[:], nil
}

// blindedKey is the private key of a node's blinded_node_id.
func blindedKey(key *btcec.PrivateKey, pathSecret []byte) *btcec.PrivateKey {
	var factor btcec.ModNScalar
	factor.SetByteSlice(hash256([]byte("blinded_node_id"), pathSecret))
	factor.Mul(&key.Key)
	return btcec.PrivKeyFromScalar(&factor)
}

// hash256 is HMAC-SHA256.
func hash256(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// blindedPath is the subtype blinded_path of BOLT 4.
func blindedPath(c *cursor) any {
	f := facts.Facts{}
	field := c.field
	if c.left() > 0 && c.all[c.at] <= 1 {
		dir := c.uint("", 1)
		f.Add("first_node_id", fmt.Sprintf("%s end %d", scidText(c.uint("", 8)), dir+1))
	} else {
		f.Add("first_node_id", point(c))
	}
	c.field = within(field, "first_path_key")
	f.Add("first_path_key", point(c))
	c.field = within(field, "num_hops")
	hops := []any{}
	n := c.uint("", 1)
	if c.err == nil && n == 0 {
		c.fail("0, at least 1")
	}
	for i := range n {
		if c.err != nil {
			break
		}
		c.field = within(field, fmt.Sprintf("path[%d]", i))
		hops = append(hops, facts.Facts{{Name: "blinded_node_id", Value: point(c)}, {Name: "encrypted_recipient_data", Value: hexOf(c.counted())}})
	}
	f.Add("path", hops)
	c.field = field
	return f
}

// Path explains a blinded path.
func Path(b []byte) (facts.Facts, error) {
	c := newCursor(b)
	f := blindedPath(c).(facts.Facts)
	if c.err == nil && c.left() > 0 {
		c.field = "path"
		c.fail("%d bytes too many", c.left())
	}
	if c.err != nil {
		return nil, fmt.Errorf("blinded_path: %w", c.err)
	}
	return f, nil
}

// onionHost is a v3 onion service's name.
func onionHost(b []byte) string {
	return strings.ToLower(base32.StdEncoding.EncodeToString(b)) + ".onion"
}
