package regtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"lightningrod/onion"
	"lightningrod/regtest"
	"lightningrod/rod"
)

// notice is step 4: the payer sends rod_notice over the nodes to the payee, which may be away.
func (w *world) notice(l *line) error {
	payer, err := w.node(l.words[0])
	if err != nil {
		return err
	}
	a, ok := payer.(regtest.Messenger)
	if !ok {
		return errors.New("the payer does not send onion messages")
	}
	var path []onion.PathNode
	for _, name := range l.words[1:] {
		n, ok := w.nodes[name]
		if !ok {
			return fmt.Errorf("no node %s was started", name)
		}
		id := nodeID(n)
		if len(path) > 0 {
			path[len(path)-1].Data.NextNode = &id
		}
		path = append(path, onion.PathNode{Node: id})
	}
	m := rod.Notice{Pid: w.holding.pid, Hashes: [][32]byte{w.holding.hash}, AmountMsat: w.holding.amount, LSP: path[0].Node, Payer: nodeID(a)}
	w.holding.notice = m.Encode()
	w.holding.notify = func() error {
		return a.SendMessage(path, onion.MessagePayload{Contents: []onion.Record{{Type: rod.TypeNotice, Value: w.holding.notice}}})
	}
	return w.holding.notify()
}

// noticed waits until the payee has seen rod_notice. What was kept for it may have come before the script could look: the payer sends it again,
// as it does in each connection.
func (w *world) noticed(l *line) error {
	n, err := w.node(l.words[0])
	if err != nil {
		return err
	}
	b, ok := n.(regtest.Messenger)
	if !ok {
		return errors.New("the payee does not show onion messages")
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	came := make(chan error, 1)
	go func() {
		came <- b.OnionMessages(ctx, func(records map[string][]byte) bool {
			return !bytes.Equal(records[strconv.Itoa(rod.TypeNotice)], w.holding.notice)
		})
	}()
	for {
		select {
		case err := <-came:
			return err
		case <-time.After(500 * time.Millisecond):
			if err := w.holding.notify(); err != nil {
				return err
			}
		}
	}
}

// mailbox waits until one of ours keeps so many messages for its clients.
func (w *world) mailbox(l *line) error {
	r, want, err := w.oursAndCount(l)
	if err != nil {
		return err
	}
	return w.until(func() error {
		got, err := r.Mailbox()
		if err == nil && got != want {
			err = fmt.Errorf("it keeps %d messages, want %d", got, want)
		}
		return err
	})
}
