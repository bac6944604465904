package regtest_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"lightningrod/onion"
	"lightningrod/regtest"
	"lightningrod/rod"
)

// holding is a Rod payment whose ends are foreign: the script plays what their software does not know (rod/PROTOCOL.md).
type holding struct {
	pid  [32]byte
	hash [32]byte
	done chan error // the payer's outcome: nil, or a failed

	amount uint64 // msat
	notice []byte // rod_notice
	notify func() error
}

// hold pays with an HTLC that its payer's peer is to hold: steps 1 and 3. It asks for that itself, by its TLV, or the payer does before, by a
// message to asking=LSP.
func (w *world) hold(l *line) error {
	a, b, amount, err := w.pairAndAmount(l)
	if err != nil {
		return err
	}
	inv, err := b.Invoice(uint64(amount))
	if err != nil {
		return err
	}
	h := &holding{done: make(chan error, 1), amount: uint64(amount)}
	rand.Read(h.pid[:])
	if _, err := hex.Decode(h.hash[:], []byte(inv.Hash)); err != nil {
		return err
	}
	w.holding = h
	tlvs := map[uint64][]byte{rod.TypeHoldHTLC: rod.HoldTLV{PidHash: rod.PidHash(h.pid)}.Encode()}
	if l.options["asking"] != "" {
		lsp, err := w.node(l.options["asking"])
		if err != nil {
			return err
		}
		if err := w.askToHold(a, lsp); err != nil {
			return fmt.Errorf("asking to hold: %w", err)
		}
		tlvs = nil
	}
	go func() {
		// While it waits the HTLC needs blocks to spare, and they are those of the last hop.
		const blocks = 500
		o, err := a.Pay(regtest.Payment{
			Invoice: inv.Text, FinalExpiry: blocks, FirstHop: tlvs,
		})
		if err == nil && !o.Paid {
			err = failed{o}
		}
		h.done <- err
	}()
	return nil
}

// oursAndCount are a line's first two words, where what is looked into only ours has.
func (w *world) oursAndCount(l *line) (*regtest.Rodd, int, error) {
	n, err := w.node(l.words[0])
	if err != nil {
		return nil, 0, err
	}
	count, err := strconv.Atoi(l.words[1])
	if err != nil {
		return nil, 0, err
	}
	r, ok := n.(*regtest.Rodd)
	if !ok {
		return nil, 0, errors.New("only ours has that")
	}
	return r, count, nil
}

// held waits until so many HTLCs wait at one of ours, and sees that their payment is not over.
func (w *world) held(l *line) error {
	r, want, err := w.oursAndCount(l)
	if err != nil {
		return err
	}
	err = w.until(func() error {
		states, err := r.Held()
		if err == nil && states["held"] != want {
			err = fmt.Errorf("it has %v", states)
		}
		return err
	})
	if err != nil {
		return err
	}
	select {
	case err := <-w.holding.done:
		return fmt.Errorf("the payment is over: %v", err)
	default:
		return nil
	}
}

// unblock has the payee answer the payer by rod_ready through the LSP, which finds the pid in its hop and lets the HTLCs go: step 6. The message has
// to arrive at the payer too.
func (w *world) unblock(l *line) error {
	b, lsp, err := w.pair(l)
	if err != nil {
		return err
	}
	a, err := w.node(l.words[2])
	if err != nil {
		return err
	}
	from, okFrom := b.(regtest.Messenger)
	to, okTo := a.(regtest.Messenger)
	if !okFrom || !okTo {
		return errors.New("the ends do not send and show onion messages")
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	ready := rod.Ready{Hashes: [][32]byte{w.holding.hash}}.Encode()
	arrived := make(chan error, 1)
	go func() {
		arrived <- to.OnionMessages(ctx, func(records map[string][]byte) bool {
			return !bytes.Equal(records[strconv.Itoa(rod.TypeReady)], ready)
		})
	}()
	payer := nodeID(a)
	path := []onion.PathNode{
		{Node: nodeID(lsp), Data: onion.EncryptedData{NextNode: &payer, Custom: []onion.Record{{Type: rod.TypeUnblock, Value: w.holding.pid[:]}}}},
		{Node: payer},
	}
	if name := l.options["over"]; name != "" {
		first, err := w.node(name)
		if err != nil {
			return err
		}
		through := nodeID(lsp)
		path = slices.Insert(path, 0, onion.PathNode{Node: nodeID(first), Data: onion.EncryptedData{NextNode: &through}})
	}
	for {
		if err := from.SendMessage(path, onion.MessagePayload{Contents: []onion.Record{{Type: rod.TypeReady, Value: ready}}}); err != nil {
			return err
		}
		select {
		case err := <-arrived:
			if err != nil {
				return fmt.Errorf("rod_ready did not arrive: %w", err)
			}
			return nil
		case <-time.After(500 * time.Millisecond): // it may have come before the subscription: again, as B does
		}
	}
}

// failed is a payment that has failed.
type failed struct{ regtest.Outcome }

func (f failed) Error() string { return fmt.Sprintf("it failed with %q of hop %d", f.Failure, f.Hop) }

// unpaid waits for the payer's failure.
func (w *world) unpaid(l *line) error {
	err := w.paid(l)
	var f failed
	switch {
	case err == nil:
		return errors.New("it was paid")
	case errors.As(err, &f) && f.Failure == l.words[0] && f.Hop == 1:
		return nil
	}
	return err
}

// paid waits for the payer's outcome.
func (w *world) paid(*line) error {
	select {
	case err := <-w.holding.done:
		return err
	case <-time.After(patience):
		return errors.New("no outcome")
	}
}

func nodeID(n regtest.Node) (id [33]byte) {
	hex.Decode(id[:], []byte(n.ID()))
	return id
}
