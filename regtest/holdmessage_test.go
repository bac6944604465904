package regtest_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"lightningrod/onion"
	"lightningrod/regtest"
	"lightningrod/rod"
)

// Requests to hold by a payer whose software knows nothing of them. An lnd sends them as onion messages: the script makes the message, the payer's
// own signer signs it, and what comes back on the reply path is read from its subscription. A lightningd, whose signer does not offer that, asks
// over LSPS0.

// signed has an lnd sign a rod_hold or rod_cancel that was made without a signature (rod/PROTOCOL.md "Signature").
func signed(a *regtest.Lnd, lsp [33]byte, message string, stream []byte) ([64]byte, error) {
	const record = 1 + 1 + 64 // type and length of the signature, which is last
	return a.SignSchnorr("lightning"+message+"signature", append(lsp[:], stream[:len(stream)-record]...))
}

// send sends one of them to the LSP, with a reply path.
func (w *world) send(a *regtest.Lnd, lsp regtest.Node, typ uint64, stream []byte) error {
	payer := nodeID(a)
	reply, err := regtest.BlindedPath([]onion.PathNode{
		{Node: nodeID(lsp), Data: onion.EncryptedData{NextNode: &payer}}, {Node: payer, Data: onion.EncryptedData{PathID: w.holding.hash[:]}},
	})
	if err != nil {
		return err
	}
	return a.SendMessage([]onion.PathNode{{Node: nodeID(lsp)}}, onion.MessagePayload{Reply: &reply, Contents: []onion.Record{{Type: typ, Value: stream}}})
}

// askToHold is step 2, until the LSP says that it will.
func (w *world) askToHold(payer, lsp regtest.Node) error {
	switch a := payer.(type) {
	case *regtest.Lnd:
		return w.sendHold(a, lsp)
	case *regtest.Cln:
		var ack struct {
			Status int
			Text   string `json:"status_text"`
		}
		err := w.askLSP(a, lsp, "rod.hold", map[string]any{"payment_hashes": []string{hex.EncodeToString(w.holding.hash[:])}}, &ack)
		if err == nil && ack.Status != 0 {
			err = fmt.Errorf("status %d: %s", ack.Status, ack.Text)
		}
		return err
	}
	return errors.New("the payer cannot ask")
}

// askLSP asks something about the pid_hash.
func (w *world) askLSP(a *regtest.Cln, lsp regtest.Node, method string, params map[string]any, result any) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	pidHash := rod.PidHash(w.holding.pid)
	params["pid_hash"] = hex.EncodeToString(pidHash[:])
	return a.AskLSP(ctx, lsp.ID(), method, params, result)
}

// sendHold is rod_hold, until its ack says 0.
func (w *world) sendHold(a *regtest.Lnd, lsp regtest.Node) error {
	m := rod.HoldRequest{PidHash: rod.PidHash(w.holding.pid), Hashes: [][32]byte{w.holding.hash}, Payer: nodeID(a)}
	var err error
	if m.Signature, err = signed(a, nodeID(lsp), "rod_hold", m.Encode()); err != nil {
		return err
	}
	if err := rod.VerifyHold(m.Encode(), nodeID(lsp), nodeID(a)); err != nil {
		return err
	}
	acked := make(chan error, 1)
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	go func() {
		acked <- a.OnionMessages(ctx, func(records map[string][]byte) bool {
			ack, err := rod.DecodeAck(records[strconv.Itoa(rod.TypeHoldAck)])
			return err != nil || ack.PidHash != m.PidHash || ack.Status != 0
		})
	}()
	for {
		if err := w.send(a, lsp, rod.TypeHold, m.Encode()); err != nil {
			return err
		}
		select {
		case err := <-acked:
			return err
		case <-time.After(500 * time.Millisecond): // it may have come before the subscription: again, as A does
		}
	}
}

// cancelHold takes a request back.
func (w *world) cancelHold(l *line) error {
	payer, lsp, err := w.pair(l)
	if err != nil {
		return err
	}
	switch a := payer.(type) {
	case *regtest.Lnd:
		return w.sendCancel(a, lsp)
	case *regtest.Cln:
		return w.askLSP(a, lsp, "rod.cancel", map[string]any{}, &struct{}{})
	}
	return errors.New("the payer cannot ask")
}

// sendCancel is rod_cancel.
func (w *world) sendCancel(a *regtest.Lnd, lsp regtest.Node) (err error) {
	m := rod.CancelRequest{PidHash: rod.PidHash(w.holding.pid), Payer: nodeID(a)}
	if m.Signature, err = signed(a, nodeID(lsp), "rod_cancel", m.Encode()); err != nil {
		return err
	}
	return w.send(a, lsp, rod.TypeCancel, m.Encode())
}
