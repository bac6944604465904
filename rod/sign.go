package rod

import (
	"crypto/sha256"
	"errors"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/schnorr"
)

// digest is what a rod_hold or rod_cancel signs: a BIP 340 tagged hash, the tag built as in BOLT 12 "Signature Calculation", of LSP_a's node
// id and the stream's bytes before the signature. The node id keeps a request to one LSP from being shown to another.
func digest(message string, lsp NodeID, signed []byte) [32]byte {
	tag := sha256.Sum256([]byte("lightning" + message + "signature"))
	h := sha256.New()
	h.Write(tag[:])
	h.Write(tag[:])
	h.Write(lsp[:])
	h.Write(signed)
	return [32]byte(h.Sum(nil))
}

const (
	holdName   = "rod_hold"
	cancelName = "rod_cancel"
)

// SignHold completes m with the payer_id and signature of key, for the LSP with this node id. The auxiliary randomness of BIP 340 is
// zero, so the same request is the same bytes whenever it is made.
func SignHold(key *btcec.PrivateKey, lsp NodeID, m HoldRequest) (HoldRequest, error) {
	m.Payer = NodeID(key.PubKey().SerializeCompressed())
	b, n := m.encode()
	var err error
	m.Signature, err = sign(key, digest(holdName, lsp, b[:n]))
	return m, err
}

// SignCancel completes m as SignHold does.
func SignCancel(key *btcec.PrivateKey, lsp NodeID, m CancelRequest) (CancelRequest, error) {
	m.Payer = NodeID(key.PubKey().SerializeCompressed())
	b, n := m.encode()
	var err error
	m.Signature, err = sign(key, digest(cancelName, lsp, b[:n]))
	return m, err
}

func sign(key *btcec.PrivateKey, d [32]byte) ([64]byte, error) {
	sig, err := schnorr.Sign(key, d[:], schnorr.CustomNonce([32]byte{}))
	if err != nil {
		return [64]byte{}, errors.New("sign rod request: " + err.Error())
	}
	return [64]byte(sig.Serialize()), nil
}

var errSignature = errors.New("signature is not by the peer")

// VerifyHold says whether payload, a rod_hold, is signed by peer for the LSP with this node id.
// It works on the bytes as they came: unknown odd records are signed too.
func VerifyHold(payload []byte, lsp, peer NodeID) error {
	return verify(holdName, payload, lsp, peer)
}

// VerifyCancel is VerifyHold for a rod_cancel.
func VerifyCancel(payload []byte, lsp, peer NodeID) error {
	return verify(cancelName, payload, lsp, peer)
}

func verify(message string, payload []byte, lsp, peer NodeID) error {
	records, err := readStream(payload)
	if err != nil {
		return err
	}
	if len(records) == 0 {
		return errSignature
	}
	last := records[len(records)-1]
	if last.typ != fieldSignature || len(last.value) != 64 {
		return errSignature
	}
	// BIP 340 knows only x: two node ids share a key's signatures. All 33 bytes are compared, so that the other one gains nothing.
	if payer, err := PayerOf(payload); err != nil || payer != peer {
		return errSignature
	}
	key, err := btcec.ParsePubKey(peer[:])
	if err != nil {
		return errSignature
	}
	sig, err := schnorr.ParseSignature(last.value)
	if err != nil {
		return errSignature
	}
	d := digest(message, lsp, payload[:last.start])
	if !sig.Verify(d[:], key) {
		return errSignature
	}
	return nil
}
