package bitcoind

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"
)

// bitcoind tells over ZeroMQ at once what polling finds out a little later. Here it only makes the poller look: nothing is believed that a message says,
// so that one that is lost, late or forged costs at most the time until the next poll. What is spoken is the part of ZMTP 3.0 (RFC 23) that a SUB socket
// needs, without security.

const (
	// zmqHandshake is how long greeting and READY may take, and the rest of a message after its beginning.
	zmqHandshake = 10 * time.Second
	// zmqMaxFrame bounds a frame: a block is the longest. No frame but the topic is kept.
	zmqMaxFrame = maxBlock
	// zmqMaxFrames bounds the frames of a message. bitcoind sends three: topic, body and a number.
	zmqMaxFrames = 8
	// zmqGap is the time between two looks because of transactions: a busy mempool has many a second.
	zmqGap = 100 * time.Millisecond
	// Between two attempts to connect.
	zmqFirstWait, zmqLongWait = 250 * time.Millisecond, 30 * time.Second
)

// zmqTopics are what is subscribed to, and whether it tells of a block. bitcoind publishes those that it is configured for.
var zmqTopics = map[string]bool{"hashblock": true, "rawblock": true, "hashtx": false, "rawtx": false, "sequence": false}

// CheckZMQ says what is wrong with an address of Config.ZMQ.
func CheckZMQ(address string) error {
	_, _, err := zmqAddress(address)
	return err
}

// zmqAddress takes an address apart as bitcoind writes it: tcp://host:port, or ipc:///path.
func zmqAddress(text string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(text, "ipc://"); ok && path != "" {
		return "unix", path, nil
	}
	address, ok := strings.CutPrefix(text, "tcp://")
	if !ok {
		return "", "", fmt.Errorf("zmq address %q: need tcp://host:port or ipc:///path", text)
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return "", "", fmt.Errorf("zmq address %q: %w", text, err)
	}
	return "tcp", address, nil
}

// listen keeps a subscription to one address until Close.
func (b *Backend) listen(text string) {
	network, address, err := zmqAddress(text)
	if err != nil {
		return // Config was checked
	}
	said, wait := "", zmqFirstWait
	subscribed := func() {
		if said != "" {
			said = ""
			b.cfg.Log.Info("bitcoind's ZMQ is heard again", "address", text)
		}
	}
	for b.ctx.Err() == nil {
		told, err := b.hear(network, address, subscribed)
		if b.ctx.Err() != nil {
			return
		}
		if told {
			wait = zmqFirstWait
		}
		if err.Error() != said {
			said = err.Error()
			b.cfg.Log.Warn("bitcoind's ZMQ is not heard, the chain is followed by polling", "address", text, "error", err)
		}
		select {
		case <-b.ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, zmqLongWait)
	}
}

// hear subscribes and wakes the poller until the connection ends. Told says that there was a message of use.
func (b *Backend) hear(network, address string, subscribed func()) (told bool, err error) {
	ctx, cancel := context.WithTimeout(b.ctx, zmqHandshake)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	defer context.AfterFunc(b.ctx, func() { conn.Close() })()
	conn.SetDeadline(time.Now().Add(zmqHandshake))
	r := bufio.NewReader(conn)
	if err := zmqSubscribe(r, conn); err != nil {
		return false, fmt.Errorf("handshake: %w", err)
	}
	subscribed()
	b.look() // what was told before
	for {
		conn.SetDeadline(time.Time{})
		if _, err := r.Peek(1); err != nil {
			return told, err
		}
		conn.SetDeadline(time.Now().Add(zmqHandshake))
		topic, err := zmqMessage(r)
		if err != nil {
			return told, fmt.Errorf("message: %w", err)
		}
		block, known := zmqTopics[topic]
		told = told || known
		if block {
			b.look()
		} else if known {
			b.soon.look(b)
		}
	}
}

// soon looks after zmqGap, once however often it is asked meanwhile.
type soon struct{ asked atomic.Bool }

func (s *soon) look(b *Backend) {
	if s.asked.CompareAndSwap(false, true) {
		time.AfterFunc(zmqGap, func() {
			s.asked.Store(false)
			b.look()
		})
	}
}

// Flags of a frame.
const (
	zmqMore    = 1
	zmqLong    = 2
	zmqCommand = 4
)

// zmqGreeting is 64 bytes: signature, version 3.0, mechanism NULL, not a server, and filler.
func zmqGreeting() []byte {
	g := make([]byte, 64)
	g[0], g[9], g[10] = 0xff, 0x7f, 3
	copy(g[12:32], "NULL")
	return g
}

// zmqSubscribe shakes hands as a SUB socket with a PUB socket, and subscribes. libzmq hangs up on whoever subscribes before it has said READY.
func zmqSubscribe(r *bufio.Reader, w io.Writer) error {
	if _, err := w.Write(zmqGreeting()); err != nil {
		return err
	}
	if err := zmqReadGreeting(r); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if _, err := w.Write(zmqFrame(zmqCommand, zmqReady("SUB"))); err != nil {
		return err
	}
	if err := zmqReadReady(r); err != nil {
		return fmt.Errorf("READY: %w", err)
	}
	var topics []byte
	for topic := range zmqTopics {
		topics = append(topics, zmqFrame(0, "\x01"+topic)...)
	}
	_, err := w.Write(topics)
	return err
}

func zmqReadGreeting(r *bufio.Reader) error {
	g := make([]byte, 64)
	if _, err := io.ReadFull(r, g); err != nil {
		return err
	}
	switch {
	case g[0] != 0xff || g[9]&1 != 1:
		return errors.New("not ZMTP")
	case g[10] < 3:
		return fmt.Errorf("version %d, need 3", g[10])
	case !bytes.Equal(g[12:32], zmqGreeting()[12:32]):
		return errors.New("the mechanism is not NULL")
	}
	return nil
}

func zmqReadReady(r *bufio.Reader) error {
	flags, body, err := zmqShort(r)
	if err != nil {
		return err
	}
	properties, ok := strings.CutPrefix(body, "\x05READY")
	if !ok || flags != zmqCommand {
		return errors.New("something else is said")
	}
	return zmqCheckPub(properties)
}

// zmqReady is the body of a READY command.
func zmqReady(socket string) string {
	return "\x05READY\x0bSocket-Type" + string(binary.BigEndian.AppendUint32(nil, uint32(len(socket)))) + socket
}

// zmqCheckPub looks for the socket type in the properties of a READY command.
func zmqCheckPub(properties string) error {
	for len(properties) > 0 {
		n := int(properties[0])
		if len(properties) < 1+n+4 {
			return errors.New("a property is cut short")
		}
		name, rest := properties[1:1+n], properties[1+n:]
		size := int64(binary.BigEndian.Uint32([]byte(rest[:4])))
		if int64(len(rest)-4) < size {
			return fmt.Errorf("a property of %d bytes in %d", size, len(rest)-4)
		}
		value := rest[4 : 4+size]
		if strings.EqualFold(name, "Socket-Type") && value != "PUB" && value != "XPUB" {
			return fmt.Errorf("a socket of type %.10q does not publish", value)
		}
		properties = rest[4+size:]
	}
	return nil
}

// zmqFrame is a frame with a body of at most 255 bytes.
func zmqFrame(flags byte, body string) []byte { return append([]byte{flags, byte(len(body))}, body...) }

// zmqShort reads a frame with a body of at most 255 bytes.
func zmqShort(r *bufio.Reader) (flags byte, body string, err error) {
	flags, size, err := zmqHead(r)
	if err != nil {
		return 0, "", err
	}
	if size > 255 {
		return 0, "", fmt.Errorf("frame of %d bytes, at most 255 are read", size)
	}
	raw := make([]byte, size)
	if _, err = io.ReadFull(r, raw); err != nil {
		return 0, "", err
	}
	return flags &^ zmqLong, string(raw), nil
}

// zmqHead reads flags and length of a frame.
func zmqHead(r *bufio.Reader) (flags byte, size uint64, err error) {
	var head [9]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return 0, 0, err
	}
	flags, size = head[0], uint64(head[1])
	if flags&zmqLong != 0 {
		if _, err := io.ReadFull(r, head[2:]); err != nil {
			return 0, 0, err
		}
		size = binary.BigEndian.Uint64(head[1:])
	}
	switch {
	case flags > 7 || flags&zmqCommand != 0 && flags&zmqMore != 0:
		return 0, 0, fmt.Errorf("frame with flags %#x", flags)
	case size > zmqMaxFrame:
		return 0, 0, fmt.Errorf("frame of %d bytes, at most %d are read", size, zmqMaxFrame)
	}
	return flags, size, nil
}

// zmqMessage reads a message and keeps its topic. A command is no message: its topic is empty.
func zmqMessage(r *bufio.Reader) (topic string, err error) {
	flags, topic, err := zmqShort(r)
	if err != nil {
		return "", err
	}
	if flags&zmqCommand != 0 {
		return "", nil
	}
	for frames := 1; flags&zmqMore != 0; frames++ {
		var size uint64
		if flags, size, err = zmqHead(r); err != nil {
			return "", err
		}
		if frames == zmqMaxFrames || flags&zmqCommand != 0 {
			return "", errors.New("a message without end")
		}
		if _, err := io.CopyN(io.Discard, r, int64(size)); err != nil {
			return "", err
		}
	}
	return topic, nil
}
