package regtest

import (
	"context"
	"encoding/json"

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
