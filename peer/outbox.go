package peer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/lightningnetwork/lnd/lnwire"
)

var (
	// ErrClosed says that the connection is over.
	ErrClosed = errors.New("connection is closed")

	// ErrOverflow says that a peer reads too slowly for what we have to say to it. The connection was dropped.
	ErrOverflow = errors.New("outgoing buffer is full")
)

// outbox is the queue between senders and the writer of one connection, bounded by bytes. Messages wait as plaintext,
// each behind its length, since the cipher belongs to the writer.
type outbox struct {
	limit int
	wake  chan struct{} // has room for one: there is something to write
	room  chan struct{} // has room for one: something was written

	mu      sync.Mutex
	buf     bytes.Buffer
	writing int // bytes the writer has taken and not yet written
	closed  bool
}

func newOutbox(limit int) *outbox {
	return &outbox{limit: limit, wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// push adds all of the messages or none.
func (o *outbox) push(msgs []lnwire.Message) error {
	return o.add(func() error {
		for _, m := range msgs {
			start := o.begin()
			if _, err := lnwire.WriteMessage(&o.buf, m, 0); err != nil {
				return fmt.Errorf("encode %v: %w", m.MsgType(), err)
			}
			o.end(start)
		}
		return nil
	})
}

// pushRaw adds a message given as type and payload.
func (o *outbox) pushRaw(typ uint16, payload []byte) error {
	return o.add(func() error {
		if n := 2 + len(payload); n > maxMessage {
			return fmt.Errorf("encode type %d: %d bytes, limit is %d", typ, n, maxMessage)
		}
		start := o.begin()
		o.buf.Write(binary.BigEndian.AppendUint16(nil, typ))
		o.buf.Write(payload)
		o.end(start)
		return nil
	})
}

func (o *outbox) add(encode func() error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return ErrClosed
	}
	before := o.buf.Len()
	err := encode()
	if size := o.buf.Len() + o.writing; err == nil && size > o.limit {
		err = fmt.Errorf("%w: %d bytes, limit is %d", ErrOverflow, size, o.limit)
	}
	if err != nil {
		o.buf.Truncate(before)
		return err
	}
	signal(o.wake)
	return nil
}

// begin and end frame one message.
func (o *outbox) begin() int {
	o.buf.Write([]byte{0, 0})
	return o.buf.Len()
}

func (o *outbox) end(start int) {
	b := o.buf.Bytes()
	binary.BigEndian.PutUint16(b[start-2:], uint16(len(b)-start))
}

// take swaps what waits into batch, which must be empty.
func (o *outbox) take(batch *bytes.Buffer) {
	o.mu.Lock()
	o.buf, *batch = *batch, o.buf
	o.writing = batch.Len()
	o.mu.Unlock()
}

// wrote says that what was taken is on the wire.
func (o *outbox) wrote() {
	o.mu.Lock()
	o.writing = 0
	o.mu.Unlock()
	signal(o.room)
}

// waiting is the number of bytes not yet written.
func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Len() + o.writing
}

// close refuses further messages. Those that wait can still be taken.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// nextMessage cuts the first message off what was taken.
func nextMessage(batch *bytes.Buffer) []byte {
	return batch.Next(int(binary.BigEndian.Uint16(batch.Next(2))))
}
