package regtest

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/lightningnetwork/lnd/lnwire"
)

// SendOnion has lnd send an onion message to a peer of its.
func (l *Lnd) SendOnion(peer string, m *lnwire.OnionMessage) error {
	id, err := unhex(peer)
	if err != nil {
		return err
	}
	in := map[string]any{"peer": id, "path_key": m.PathKey.SerializeCompressed(), "onion": m.OnionBlob}
	return l.api.do("POST", "/v1/onionmessage", in, nil)
}

// SignSchnorr has lnd sign with its node key: BIP 340, over the hash of the message with the tag.
func (l *Lnd) SignSchnorr(tag string, message []byte) (sig [64]byte, err error) {
	const nodeKey = 6 // its family
	var out struct{ Signature []byte }
	err = l.api.do("POST", "/v2/signer/signmessage", map[string]any{
		"msg": message, "key_loc": map[string]any{"key_family": nodeKey, "key_index": 0}, "schnorr_sig": true, "tag": []byte(tag),
	}, &out)
	if err == nil && copy(sig[:], out.Signature) != len(sig) {
		err = fmt.Errorf("signature of %d bytes", len(out.Signature))
	}
	return sig, err
}

// OnionMessages calls f with the records, by type, of every onion message that ends at this lnd from some moment on, until ctx ends or f
// returns false. When lnd has taken the subscription it says only with the first message.
func (l *Lnd) OnionMessages(ctx context.Context, f func(records map[string][]byte) bool) error {
	return l.api.stream(ctx, "GET", "/v1/onionmessage/subscribe", nil, func(line json.RawMessage) error {
		var update struct {
			Records map[string][]byte `json:"custom_records"`
		}
		if err := json.Unmarshal(line, &update); err != nil {
			return err
		}
		if !f(update.Records) {
			return errEnough
		}
		return nil
	})
}
