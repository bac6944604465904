package bitcoind

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/wire"
)

// publisher is the ZMQ of a bitcoind that was made up.
type publisher struct {
	t *testing.T
	l net.Listener
}

func newPublisher(t *testing.T) *publisher {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &publisher{t: t, l: l}
}

func (p *publisher) address() string { return "tcp://" + p.l.Addr().String() }

// accept shakes hands with a subscriber and checks what it says.
func (p *publisher) accept() *subscriber {
	p.t.Helper()
	s := p.connect()
	greeting := make([]byte, 64)
	if _, err := io.ReadFull(s.r, greeting); err != nil || !bytes.Equal(greeting, zmqGreeting()) {
		p.t.Fatalf("greeting %x: %v", greeting, err)
	}
	s.send(zmqGreeting())
	if flags, ready, err := zmqShort(s.r); err != nil || flags != zmqCommand || ready != zmqReady("SUB") {
		p.t.Fatalf("READY: %d %q %v", flags, ready, err)
	}
	if s.r.Buffered() > 0 {
		p.t.Fatal("subscribed before READY: libzmq hangs up")
	}
	s.send(zmqFrame(zmqCommand, zmqReady("PUB")))
	topics := map[string]bool{}
	for range zmqTopics {
		flags, text, err := zmqShort(s.r)
		if err != nil || flags != 0 || !strings.HasPrefix(text, "\x01") {
			p.t.Fatalf("subscription: %d %q %v", flags, text, err)
		}
		topics[text[1:]] = true
	}
	if len(topics) != len(zmqTopics) || !topics["hashblock"] || !topics["rawtx"] {
		p.t.Fatalf("subscribed to %v", topics)
	}
	return s
}

// connect is a connection before anything is said.
func (p *publisher) connect() *subscriber {
	p.t.Helper()
	p.l.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Second))
	conn, err := p.l.Accept()
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return &subscriber{p.t, conn, bufio.NewReader(conn)}
}

type subscriber struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func (s *subscriber) send(raw []byte) {
	s.t.Helper()
	if _, err := s.conn.Write(raw); err != nil {
		s.t.Fatal(err)
	}
}

// message is what bitcoind sends: topic, body and a number.
func message(topic string, body []byte) []byte {
	raw := zmqFrame(zmqMore, topic)
	raw = append(raw, zmqMore|zmqLong, 0, 0, 0, 0, 0, byte(len(body)>>16), byte(len(body)>>8), byte(len(body)))
	return append(append(raw, body...), zmqFrame(0, "\x01\x00\x00\x00")...)
}

// ends waits until the other side has hung up.
func (s *subscriber) ends() {
	s.t.Helper()
	if _, err := io.Copy(io.Discard, s.r); errors.Is(err, os.ErrDeadlineExceeded) {
		s.t.Error("the other side does not hang up")
	}
	s.conn.Close()
}

// The poller sleeps for an hour: what is seen was told.
func TestZMQ(t *testing.T) {
	w := newWorld(t)
	w.mine(2)
	p := newPublisher(t)
	cfg := w.config(true)
	cfg.Poll, cfg.ZMQ = time.Hour, []string{p.address(), p.address()}
	b := w.open(cfg)
	s := p.accept()
	for _, topic := range []string{"hashblock", "rawblock", "sequence"} {
		w.mine(1)
		s.send(message(topic, make([]byte, 100_000)))
		w.follows(b)
	}
	w.reorg(2, 3)
	s.send(message("hashblock", make([]byte, 32)))
	w.follows(b)
	for i, topic := range []string{"hashtx", "rawtx", "sequence"} {
		tx := pay(int64(i), wire.OutPoint{Index: uint32(i)})
		w.set(func() { w.pool = append(w.pool, tx) })
		s.send(message(topic, nil))
		w.await(topic, func() bool { return len(b.Mempool()) == i+1 })
	}
	// Commands, single frames and what is not known do no harm.
	s.send(zmqFrame(zmqCommand, "\x04PING\x00\x00"))
	s.send(zmqFrame(0, "hello"))
	s.send(message("rawmempool", []byte("?")))

	// bitcoind goes away; what happens meanwhile is seen when it is back.
	s.conn.Close()
	w.mine(3)
	s = p.accept()
	w.follows(b)
	w.mine(1)
	s.send(message("hashblock", make([]byte, 32)))
	w.follows(b)
	b.Close()
	s.ends()
}

// Thousands of transactions are a few looks.
func TestZMQBurst(t *testing.T) {
	w := newWorld(t)
	p := newPublisher(t)
	cfg := w.config(true)
	cfg.Poll, cfg.ZMQ = time.Hour, []string{p.address()}
	b := w.open(cfg)
	s := p.accept()
	begin, before := time.Now(), w.count("getblockchaininfo")
	for range 5000 {
		s.send(message("rawtx", make([]byte, 200)))
	}
	w.mine(1)
	s.send(message("hashblock", make([]byte, 32)))
	w.follows(b)
	if looks, most := w.count("getblockchaininfo")-before, 4+int(time.Since(begin)/zmqGap); looks > most {
		t.Errorf("%d looks, at most %d", looks, most)
	}
}

// However badly ZMQ does, polling follows.
func TestZMQGarbage(t *testing.T) {
	good := append(zmqGreeting(), zmqFrame(zmqCommand, zmqReady("PUB"))...)
	change := func(at int, b byte) []byte {
		g := bytes.Clone(good)
		g[at] = b
		return g
	}
	ready := func(body string) []byte { return append(zmqGreeting(), zmqFrame(zmqCommand, body)...) }
	for name, tc := range map[string]struct{ hello, then []byte }{
		"web server":            {hello: []byte("HTTP/1.1 400 Bad Request\r\n\r\n" + strings.Repeat("x", 64))},
		"version 2":             {hello: change(10, 2)},
		"another mechanism":     {hello: change(12, 'C')},
		"no signature":          {hello: change(0, 0)},
		"no READY":              {hello: append(zmqGreeting(), zmqFrame(0, "READY")...)},
		"ERROR":                 {hello: ready("\x05ERROR\x02no")},
		"another socket":        {hello: ready(zmqReady("REP"))},
		"property cut":          {hello: ready("\x05READY\x0bSocket")},
		"property too long":     {hello: ready("\x05READY\x01x\xff\xff\xff\xff")},
		"READY huge":            {hello: append(zmqGreeting(), zmqCommand|zmqLong, 0, 0, 0, 0, 0x7f, 0, 0, 0)},
		"flags":                 {then: []byte{0x80, 0}},
		"command with more":     {then: []byte{zmqCommand | zmqMore, 0}},
		"frame of 2^63":         {then: []byte{zmqLong, 0x80, 0, 0, 0, 0, 0, 0, 0}},
		"frame of 2^64-1":       {then: []byte{zmqLong, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		"topic of 256":          {then: []byte{zmqLong, 0, 0, 0, 0, 0, 0, 1, 0}},
		"body of 5 MB":          {then: append(zmqFrame(zmqMore, "rawblock"), zmqLong, 0, 0, 0, 0, 0, 0x50, 0, 0)},
		"frames without end":    {then: bytes.Repeat(zmqFrame(zmqMore, "hashblock"), 20)},
		"command in a message":  {then: append(zmqFrame(zmqMore, "hashblock"), zmqFrame(zmqCommand, "\x04PING")...)},
		"noise after handshake": {then: bytes.Repeat([]byte{0xa5, 0x5a, 0xff}, 50)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each waits for the second attempt
			w := newWorld(t)
			p := newPublisher(t)
			cfg := w.config(true)
			cfg.ZMQ = []string{p.address()}
			b := w.open(cfg)
			var s *subscriber
			if tc.hello != nil {
				s = p.connect()
				s.send(tc.hello)
			} else {
				s = p.accept()
				s.send(tc.then)
			}
			s.ends()
			w.mine(3)
			w.follows(b)
			if err := b.Stale(); err != nil && strings.Contains(err.Error(), "look") {
				t.Error(err)
			}
			p.accept() // it tries again
			walk(t, b, 0)
		})
	}
}

// Nobody listens, or nobody says anything: the start does not wait for it, nor does the end.
func TestZMQNobody(t *testing.T) {
	w := newWorld(t)
	mute, gone := newPublisher(t), newPublisher(t)
	gone.l.Close()
	cfg := w.config(true)
	cfg.ZMQ = []string{mute.address(), gone.address(), "ipc://" + t.TempDir() + "/none"}
	b := w.open(cfg)
	w.mine(2)
	w.follows(b)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestZMQAddress(t *testing.T) {
	for text, want := range map[string]string{
		"tcp://127.0.0.1:28332":  "tcp 127.0.0.1:28332",
		"tcp://[::1]:28332":      "tcp [::1]:28332",
		"ipc:///run/zmq.sock":    "unix /run/zmq.sock",
		"":                       "",
		"127.0.0.1:28332":        "",
		"tcp://127.0.0.1":        "",
		"udp://127.0.0.1:28332":  "",
		"ipc://":                 "",
		"http://127.0.0.1:28332": "",
	} {
		network, address, err := zmqAddress(text)
		if got := strings.TrimSpace(network + " " + address); (err != nil) != (want == "") || err == nil && got != want {
			t.Errorf("%q: %q %v", text, got, err)
		}
	}
	cfg := newWorld(t).config(true)
	cfg.ZMQ = []string{"nonsense"}
	if _, err := New(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), `zmq address "nonsense"`) {
		t.Error(err)
	}
}

// FuzzZMQ reads whatever a publisher may say: it ends, and keeps next to nothing.
func FuzzZMQ(f *testing.F) {
	hello := append(zmqGreeting(), zmqFrame(zmqCommand, zmqReady("PUB"))...)
	f.Add(append(bytes.Clone(hello), message("hashblock", make([]byte, 32))...))
	f.Add(append(bytes.Clone(hello), zmqFrame(zmqCommand, "\x04PING\x00\x00")...))
	f.Add(append(bytes.Clone(hello), zmqLong, 0, 0, 0, 0, 0, 0, 0, 1, 'x'))
	f.Add(hello[:70])
	f.Add(message("rawtx", nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(data), 16)
		if err := zmqSubscribe(r, io.Discard); err != nil {
			r = bufio.NewReaderSize(bytes.NewReader(data), 16) // messages without a handshake
		}
		for n := 0; ; n++ {
			topic, err := zmqMessage(r)
			if len(topic) > 255 {
				t.Fatalf("topic of %d bytes", len(topic))
			}
			if err != nil {
				return
			}
			if n > len(data) {
				t.Fatal("more messages than bytes")
			}
		}
	})
}
