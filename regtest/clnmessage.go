package regtest

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"lightningrod/onion"
)

// SendMessage has lightningd take the message for one that has come to it: it is the first hop itself.
func (c *Cln) SendMessage(path []onion.PathNode, p onion.MessagePayload) error {
	self, err := unhex(c.id)
	if err != nil {
		return err
	}
	first := onion.PathNode{Node: [33]byte(self), Data: onion.EncryptedData{NextNode: &path[0].Node}}
	m, err := buildMessage(slices.Concat([]onion.PathNode{first}, path), p)
	if err != nil {
		return err
	}
	return c.ask("injectonionmessage", map[string]any{
		"path_key": hex.EncodeToString(m.PathKey.SerializeCompressed()), "message": hex.EncodeToString(m.OnionBlob),
	}, nil)
}

// OnionMessages begins with the first message since lightningd was started. It tells only the records that lightningd does not know itself.
func (c *Cln) OnionMessages(ctx context.Context, f func(records map[string][]byte) bool) error {
	for seen := 0; ; {
		var out struct{ Messages []map[string]string }
		if err := c.ask("regtest-messages", nil, &out); err != nil {
			return err
		}
		for ; seen < len(out.Messages); seen++ {
			records := map[string][]byte{}
			for t, text := range out.Messages[seen] {
				v, err := unhex(text)
				if err != nil {
					return err
				}
				records[t] = v
			}
			if !f(records) {
				return nil
			}
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// pause is between two questions whether something has come.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(50 * time.Millisecond):
		return nil
	}
}

// lsps0 is the type of the peer messages of bLIP 50, which are JSON-RPC.
const lsps0 = 37913

// AskLSP has lightningd ask a peer of its something over LSPS0.
func (c *Cln) AskLSP(ctx context.Context, peer, method string, params, result any) error {
	id := hex.EncodeToString(random32())
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": params})
	if err != nil {
		return err
	}
	msg := append(binary.BigEndian.AppendUint16(nil, lsps0), body...)
	if err := c.ask("sendcustommsg", map[string]any{"node_id": peer, "msg": hex.EncodeToString(msg)}, nil); err != nil {
		return err
	}
	for seen := 0; ; {
		var out struct {
			Messages []struct {
				Peer    string `json:"peer_id"`
				Payload string
			}
		}
		if err := c.ask("regtest-custom", nil, &out); err != nil {
			return err
		}
		for ; seen < len(out.Messages); seen++ {
			m := out.Messages[seen]
			b, err := unhex(m.Payload)
			if err != nil {
				return err
			}
			if m.Peer != peer || len(b) < 2 || binary.BigEndian.Uint16(b) != lsps0 {
				continue
			}
			if mine, err := readAnswer(b[2:], id, result); mine || err != nil {
				return err
			}
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// readAnswer fills result with the answer of JSON-RPC, if it is the one to a request.
func readAnswer(body []byte, id string, result any) (mine bool, err error) {
	var a struct {
		ID     string
		Result json.RawMessage
		Error  *struct {
			Code    int
			Message string
		}
	}
	switch err := json.Unmarshal(body, &a); {
	case err != nil:
		return false, err
	case a.ID != id:
		return false, nil
	case a.Error != nil:
		return true, fmt.Errorf("%s (code %d)", a.Error.Message, a.Error.Code)
	case a.Result == nil:
		return true, errors.New("neither result nor error")
	}
	return true, json.Unmarshal(a.Result, result)
}
