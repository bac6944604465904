package regtest

import (
	"context"
	"encoding/json"
	"fmt"

	"lightningrod/onion"
)

// SendMessage goes by lnd's RPC for onions that others made, to a peer of its.
func (l *Lnd) SendMessage(path []onion.PathNode, p onion.MessagePayload) error {
	m, err := buildMessage(path, p)
	if err != nil {
		return err
	}
	in := map[string]any{"peer": path[0].Node[:], "path_key": m.PathKey.SerializeCompressed(), "onion": m.OnionBlob}
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

// OnionMessages begins at some moment: when lnd has taken the subscription it says only with the first message.
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
