package regtest_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"time"

	"lightningrod/onion"
	"lightningrod/regtest"
	"lightningrod/rod"
)

// Requests to hold by a payer whose software knows nothing of them: the script makes the message, the payer's own signer signs it, and
// its own SendOnionMessage sends it. What comes back on the reply path is read from its subscription.

// signed has an lnd sign a rod_hold or rod_cancel that was made without a signature (rod/PROTOCOL.md "Signature").
func signed(a *regtest.Lnd, lsp [33]byte, message string, stream []byte) ([64]byte, error) {
	const record = 1 + 1 + 64 // type and length of the signature, which is last
	return a.SignSchnorr("lightning"+message+"signature", append(lsp[:], stream[:len(stream)-record]...))
}

// send sends one of them to the LSP, with a reply path.
func (w *world) send(a *regtest.Lnd, lsp regtest.Node, typ uint64, stream []byte) error {
	session := func() (key [32]byte) {
		rand.Read(key[:])
		return key
	}
	payer := nodeID(a)
	reply, err := onion.NewBlindedPath(session(), []onion.PathNode{
		{Node: nodeID(lsp), Data: onion.EncryptedData{NextNode: &payer}}, {Node: payer, Data: onion.EncryptedData{PathID: w.holding.hash[:]}},
	})
	if err != nil {
		return err
	}
	path, err := onion.PathTo(session(), [][33]byte{nodeID(lsp)}, onion.EncryptedData{})
	if err != nil {
		return err
	}
	m, err := onion.BuildMessage(session(), path, onion.MessagePayload{Reply: &reply, Contents: []onion.Record{{Type: typ, Value: stream}}})
	if err != nil {
		return err
	}
	return a.SendOnion(lsp.ID(), m)
}

// askToHold is step 2: rod_hold, until its ack says 0.
func (w *world) askToHold(payer, lsp regtest.Node) error {
	a, ok := payer.(*regtest.Lnd)
	if !ok {
		return errors.New("the payer has to be an lnd")
	}
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

// cancelHold is rod_cancel.
func (w *world) cancelHold(l *line) error {
	payer, lsp, err := w.pair(l)
	if err != nil {
		return err
	}
	a, ok := payer.(*regtest.Lnd)
	if !ok {
		return errors.New("the payer has to be an lnd")
	}
	m := rod.CancelRequest{PidHash: rod.PidHash(w.holding.pid), Payer: nodeID(a)}
	if m.Signature, err = signed(a, nodeID(lsp), "rod_cancel", m.Encode()); err != nil {
		return err
	}
	return w.send(a, lsp, rod.TypeCancel, m.Encode())
}
