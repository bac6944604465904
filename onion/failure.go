package onion

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/lightningnetwork/lnd/lnwire"
)

// minFailure is what failure message and padding of a return packet add up to, unless the message alone is longer
// (BOLT 4 "Erring node").
const minFailure = 256

// ReasonSize is the length of a reason that Fail makes, of any message that is not longer than 256 bytes.
const ReasonSize = sha256.Size + 2 + minFailure + 2

// ErrNoSource says that a failure was sent, or changed on its way, by nobody whose keys fit: any hop may be to blame.
var ErrNoSource = errors.New("failure reason is of no hop of the route")

// Fail encrypts the reason for failing an HTLC for the origin of its onion. packet, hash and pathKey are those that Peel
// was given; the onion must be one that Peel could open.
func (k *Router) Fail(packet *[1366]byte, hash [32]byte, pathKey []byte, message lnwire.FailureMessage) ([]byte, error) {
	s, err := k.onionSecret(packet, hash, pathKey)
	if err != nil {
		return nil, err
	}
	text, err := encodeFailure(message)
	if err != nil {
		return nil, err
	}
	return s.mask(s.seal(text)), nil
}

// Wrap adds this hop's layer to a reason that the next hop of the same onion sent back.
func (k *Router) Wrap(packet *[1366]byte, hash [32]byte, pathKey, reason []byte) ([]byte, error) {
	s, err := k.onionSecret(packet, hash, pathKey)
	if err != nil {
		return nil, err
	}
	return s.mask(reason), nil
}

// onionSecret derives what we share with the origin of an onion, and refuses one that is not authentic: its failure is
// malformed and cannot be encrypted.
func (k *Router) onionSecret(packet *[1366]byte, hash [32]byte, pathKey []byte) (secret, error) {
	path, err := k.pathSecret(pathKey)
	if err != nil {
		return secret{}, err
	}
	p, err := header(packet[:])
	if err != nil {
		return secret{}, err
	}
	s := sharedSecret(k.identity(path), p.EphemeralKey)
	key := s.key("mu")
	mac := hmac.New(sha256.New, key[:])
	mac.Write(p.RoutingInfo)
	mac.Write(hash[:])
	if !hmac.Equal(mac.Sum(nil), p.HeaderMAC[:]) {
		return secret{}, errors.New("onion is not authentic: its failure must be malformed")
	}
	return s, nil
}

// seal makes the return packet of a failure message, not yet masked: hmac, length, message, length, padding.
func (s secret) seal(message []byte) []byte {
	pad := max(minFailure-len(message), 0)
	packet := make([]byte, sha256.Size, sha256.Size+2+len(message)+2+pad)
	packet = binary.BigEndian.AppendUint16(packet, uint16(len(message)))
	packet = append(packet, message...)
	packet = binary.BigEndian.AppendUint16(packet, uint16(pad))
	packet = append(packet, make([]byte, pad)...)
	copy(packet, s.authenticate(packet[sha256.Size:]))
	return packet
}

func (s secret) authenticate(body []byte) []byte {
	key := s.key("um")
	mac := hmac.New(sha256.New, key[:])
	mac.Write(body)
	return mac.Sum(nil)
}

// Secrets are what the origin of an onion needs to read the failures that come back: its session key and route. They
// are to be kept as secret as a private key.
type Secrets struct {
	session [32]byte
	nodes   [][33]byte
}

// SecretsOf rebuilds the Secrets that Build returned for the session key and the nodes of its hops.
func SecretsOf(session [32]byte, nodes [][33]byte) Secrets { return Secrets{session, nodes} }

// String keeps the session key out of logs.
func (s Secrets) String() string { return fmt.Sprintf("secrets of a route of %d hops", len(s.nodes)) }

// GoString keeps the session key out of logs.
func (s Secrets) GoString() string { return s.String() }

// shared are the secrets with each hop, in order (BOLT 4 "Packet Construction").
func (s Secrets) shared() ([]secret, error) {
	ephemeral, err := sessionKey(s.session)
	if err != nil {
		return nil, err
	}
	secrets := make([]secret, 0, len(s.nodes))
	for _, node := range s.nodes {
		key, err := parseNode(node)
		if err != nil {
			return nil, err
		}
		next := sharedSecret(ephemeral, key)
		secrets = append(secrets, next)
		scalar := *step(ephemeral.PubKey(), next)
		ephemeral = btcec.PrivKeyFromScalar(scalar.Mul(&ephemeral.Key))
	}
	return secrets, nil
}

// Decode reads the reason of an update_fail_htlc for an HTLC we originated: the index of the hop that sent it, and what
// it says. An error with a hop means that the hop's message cannot be read; hop is -1 and the error ErrNoSource if no
// hop can be told. A message whose code lnwire does not know, or whose data it cannot read, is an *UnknownFailure.
func (s Secrets) Decode(reason []byte) (hop int, message lnwire.FailureMessage, err error) {
	shared, err := s.shared()
	if err != nil {
		return -1, nil, err
	}
	return readReason(shared, reason)
}

// readReason decodes a reason with the secrets of the route. reason is not written to.
func readReason(shared []secret, reason []byte) (hop int, message lnwire.FailureMessage, err error) {
	hop = -1
	var body []byte
	for i := range maxHops {
		// BOLT 4 "Origin node": go on for all 27 turns, so that time does not tell who failed.
		turn := secret{1}
		if i < len(shared) {
			turn = shared[i]
		}
		reason = turn.mask(reason)
		if len(reason) < sha256.Size {
			continue
		}
		authentic := hmac.Equal(turn.authenticate(reason[sha256.Size:]), reason[:sha256.Size])
		if authentic && hop < 0 && i < len(shared) {
			hop, body = i, reason[sha256.Size:]
		}
	}
	if hop < 0 {
		return -1, nil, ErrNoSource
	}
	message, err = decodeReturn(body)
	return hop, message, err
}

// decodeReturn reads an authenticated return packet. Padding is not looked at: BOLT 4 sets its least length only, and
// more may follow it.
func decodeReturn(body []byte) (lnwire.FailureMessage, error) {
	c := cursor{b: body}
	message := c.bytes(int(c.uint(2)))
	if c.bad != "" || len(message) < 2 {
		return nil, fmt.Errorf("failure message cannot be read: %d bytes of %d", len(message), len(body))
	}
	return decodeFailure(message), nil
}

// UnknownFailure is a failure message that lnwire does not know, or cannot read. The bits of FailCode still say what
// kind of failure it is.
type UnknownFailure struct {
	FailCode lnwire.FailCode
	Data     []byte
}

// Code is part of lnwire.FailureMessage.
func (f *UnknownFailure) Code() lnwire.FailCode { return f.FailCode }

func (f *UnknownFailure) Error() string { return fmt.Sprintf("failure code %#04x", uint16(f.FailCode)) }

// Encode is part of lnwire.Serializable.
func (f *UnknownFailure) Encode(w *bytes.Buffer, _ uint32) error {
	_, err := w.Write(f.Data)
	return err
}

// Decode is part of lnwire.Serializable.
func (f *UnknownFailure) Decode(r io.Reader, _ uint32) (err error) {
	f.Data, err = io.ReadAll(r)
	return err
}

// FromMalformed is what to tell the origin when the next node sent update_fail_malformed_htlc (BOLT 2 "Removing an
// HTLC"): the same code, with the hash as its data.
func FromMalformed(code uint16, onionHash [32]byte) lnwire.FailureMessage {
	return decodeFailure(append(binary.BigEndian.AppendUint16(nil, code), onionHash[:]...))
}

// decodeFailure reads a failure message of at least two bytes. Bytes it does not know at the end are ignored.
func decodeFailure(message []byte) lnwire.FailureMessage {
	code, data := lnwire.FailCode(binary.BigEndian.Uint16(message)), message[2:]
	if layout, ok := updateFailures[code]; ok {
		if f := layout.decode(data); f != nil {
			return f
		}
	} else if f, err := lnwire.DecodeFailureMessage(bytes.NewReader(message), 0); err == nil {
		return f
	}
	return &UnknownFailure{code, bytes.Clone(data)}
}

// encodeFailure writes a failure message.
func encodeFailure(message lnwire.FailureMessage) ([]byte, error) {
	var b bytes.Buffer
	if layout, ok := updateFailures[message.Code()]; ok && layout.encodeBare(&b, message) {
		return b.Bytes(), nil
	}
	b.Reset()
	if err := lnwire.EncodeFailureMessage(&b, message, 0); err != nil {
		return nil, fmt.Errorf("encode failure %v: %w", message.Code(), err)
	}
	// It must fit an update_fail_htlc, at every hop.
	const most = 1 << 15
	if b.Len() > most {
		return nil, fmt.Errorf("failure message of %d bytes, maximum %d", b.Len(), most)
	}
	return b.Bytes(), nil
}
