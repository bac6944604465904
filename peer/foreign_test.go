package peer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/lightningnetwork/lnd/lnwire"
)

// What foreign nodes may do to us, played over a raw connection.

// Each of these ends the connection, and those after init are told why.
func TestViolations(t *testing.T) {
	for _, v := range []struct {
		name string
		msg  string
		want string
	}{
		{"init twice", "001000000000", "second init"},
		{"unknown even type", "0006", "unknown even type 6"},
		{"message without type", "", "no type"},
		{"one byte", "01", "no type"},
		{"update_fee cut short", "0086" + strings.Repeat("00", 35), "UpdateFee"},
		{"ping cut short", "00120001", "ping"},
		{"pong that promises more", "00130002ff", "pong"},
		{"commitment_signed with a lying count", "0084" + strings.Repeat("11", 96) + "ffff", "CommitSig"},
	} {
		t.Run(v.name, func(t *testing.T) {
			h := newHost(t, 1)
			s := hello(t, 2, h)
			h.next(t, "connected")
			s.say(fromHex(t, v.msg))
			text := s.hear(typeWarning)
			if !bytes.Equal(text[:32], make([]byte, 32)) || !strings.Contains(string(text), v.want) {
				t.Errorf("warning %q, want %q", text, v.want)
			}
			s.end()
			if err := h.next(t, "disconnected").err; !strings.Contains(err.Error(), v.want) {
				t.Errorf("disconnected because %q, want %q", err, v.want)
			}
		})
	}
}

// Before init nothing but our init may be said.
func TestBeforeInit(t *testing.T) {
	for _, v := range []struct{ name, msg string }{
		{"another message", "00120000" + "0000"},
		{"unknown message", "ffff"},
		{"init cut short", "0010000100"},
		{"init that promises more", "0010ffff"},
		{"init with an unknown even TLV", "001000000000" + "ca012a"},
		{"message without type", ""},
	} {
		t.Run(v.name, func(t *testing.T) {
			h := newHost(t, 1)
			s := play(t, 2, h)
			s.hear(typeInit)
			s.say(fromHex(t, v.msg))
			s.end()
			h.none(t)
		})
	}
}

func TestInitIncompatible(t *testing.T) {
	for _, v := range []struct {
		init Init
		want string
	}{
		{Init{Features: NewFeatures(1000)}, "feature bit 1000"},
		{Init{Chains: []chainhash.Hash{*chaincfg.TestNet3Params.GenesisHash}}, "no common chain"},
	} {
		h := newHost(t, 1)
		s := play(t, 2, h)
		s.hear(typeInit)
		s.say(v.init.encode())
		if text := s.hear(typeWarning); !strings.Contains(string(text), v.want) {
			t.Errorf("warning %q, want %q", text, v.want)
		}
		s.end()
		h.none(t)
	}
}

func TestIgnored(t *testing.T) {
	h := newHost(t, 1)
	s := hello(t, 2, h)
	h.next(t, "connected")
	s.say(
		[]byte{0xff, 0xff},
		append([]byte{0xff, 0xfd}, make([]byte, maxMessage-2)...), // as large as can be
		[]byte{0, 7, 0, 1, 9},                             // peer_storage, not offered
		[]byte{0, 19, 0, 1, 0},                            // pong nobody asked for
		[]byte{0, 18, 0xff, 0xfc, 0, 0},                   // ping that wants no answer
		[]byte{0, 18, 0, 5, 0, 0},                         // ping that does
		append([]byte{0x94, 0x19}, "{}"...),               // LSPS0
		append([]byte{0, typeError}, make([]byte, 34)...), // an error is the receiver's to judge
	)
	if got := s.hear(typePong); !bytes.Equal(got, []byte{0, 5, 0, 0, 0, 0, 0}) {
		t.Errorf("pong %x", got)
	}
	if m := h.next(t, "message").msg; m.Type != LSPS0 || string(m.Raw) != "{}" {
		t.Errorf("message %+v", m)
	}
	if m := h.next(t, "message").msg; m.Type != typeError {
		t.Errorf("message %+v", m)
	}
	h.none(t)
}

// A peer that asks for pongs faster than it reads them is not read, and gets all of them in the end.
func TestPingFlood(t *testing.T) {
	const pings = 400 // for 26 MB of pongs
	h := newHost(t, 1)
	s := hello(t, 2, h)
	p := h.next(t, "connected").peer
	for range pings {
		s.say([]byte{0, 18, 0xff, 0xfb, 0, 0})
	}
	s.say([]byte{0x94, 0x19})
	for range pings {
		if n := p.out.waiting(); n > h.cfg.MaxQueued/8+maxMessage+2 {
			t.Fatalf("%d bytes of pongs wait", n)
		}
		if got := s.hear(typePong); len(got) != 2+maxPong {
			t.Fatalf("pong of %d bytes", len(got))
		}
	}
	h.next(t, "message")
}

// A peer that does not read is dropped when too much waits for it, and Send does not block.
func TestOverflow(t *testing.T) {
	h := newHost(t, 1, func(c *Config) { c.MaxQueued = 100000 })
	hello(t, 2, h)
	p := h.next(t, "connected").peer
	var err error
	for i := 0; err == nil; i++ {
		if i > 1000 {
			t.Fatal("60 MB taken for a peer that reads nothing")
		}
		err = p.SendRaw(LSPS0, make([]byte, 60000))
	}
	if !errors.Is(err, ErrOverflow) {
		t.Fatal(err)
	}
	if err := h.next(t, "disconnected").err; !errors.Is(err, ErrOverflow) {
		t.Errorf("disconnected because %v", err)
	}
	if err := p.Send(&lnwire.Warning{}); !errors.Is(err, ErrClosed) {
		t.Errorf("send afterwards: %v", err)
	}
}

// A message that cannot be encoded is our bug. The channel behind it cannot go on without it, so the connection ends.
func TestUnencodable(t *testing.T) {
	h := newHost(t, 1)
	hello(t, 2, h)
	p := h.next(t, "connected").peer
	if err := p.Send(&lnwire.UpdateFee{}, &lnwire.Warning{Data: make([]byte, 65535)}); err == nil {
		t.Error("a message too large was accepted")
	}
	h.next(t, "disconnected")
}

func TestSilentPeer(t *testing.T) {
	h := newHost(t, 1, func(c *Config) { c.PingInterval, c.PongTimeout = 20*time.Millisecond, 500*time.Millisecond })
	s := hello(t, 2, h)
	h.next(t, "connected")
	for range 5 { // alive as long as it answers
		b := s.hear(typePing)
		n := binary.BigEndian.Uint16(b)
		s.say(append([]byte{0, typePong}, pong(n)...))
	}
	if err := h.next(t, "disconnected").err; !errors.Is(err, ErrSilent) {
		t.Errorf("disconnected because %v", err)
	}
}

// A host that is slow itself does not take its peer for silent.
func TestSlowReceiverIsNotSilence(t *testing.T) {
	h := newHost(t, 1, func(c *Config) { c.PingInterval, c.PongTimeout = 10*time.Millisecond, 500*time.Millisecond })
	h.block = make(chan struct{})
	s := hello(t, 2, h)
	h.next(t, "connected")
	s.say([]byte{0x94, 0x19, 1}, []byte{0x94, 0x19, 2})
	h.next(t, "message")
	for range 15 { // pings, one every 10 ms, though nothing is read
		s.hear(typePing)
	}
	h.none(t)
	close(h.block)
	h.next(t, "message")
}

func TestCutMidMessage(t *testing.T) {
	h := newHost(t, 1)
	s := hello(t, 2, h)
	h.next(t, "connected")
	real, rec := s.nc, &tape{}
	s.nc = rec
	s.say([]byte{0x94, 0x19, 1, 2, 3})
	if _, err := real.Write(rec.out.Bytes()[:25]); err != nil {
		t.Fatal(err)
	}
	real.Close()
	if err := h.next(t, "disconnected").err; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("disconnected because %v", err)
	}
}

func TestGarbageActOne(t *testing.T) {
	h := newHost(t, 1)
	for _, garbage := range [][]byte{
		make([]byte, 50),
		bytes.Repeat([]byte{0xff}, 50),
		[]byte("GET / HTTP/1.1\r\nHost: example.com\r\nUser-Agent: x\r\n\r\n"),
		append([]byte{0}, bytes.Repeat([]byte{2}, 49)...),
	} {
		nc, err := net.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := nc.Write(garbage); err != nil {
			t.Fatal(err)
		}
		if err := nc.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		var timeout net.Error
		if n, err := nc.Read(make([]byte, 1)); n != 0 || errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%q: %d bytes, %v, want the end of the connection", garbage, n, err)
		}
	}
	hello(t, 2, h)
	h.next(t, "connected")
}

// Those who open connections and say nothing take the few places for handshakes, but not for long.
func TestSlowHandshakes(t *testing.T) {
	h := newHost(t, 1, func(c *Config) { c.MaxHandshakes, c.HandshakeTimeout = 2, 300*time.Millisecond })
	for i := range 4 {
		nc, err := net.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := nc.Write(make([]byte, i)); err != nil { // a part of act one
			t.Fatal(err)
		}
	}
	play(t, 3, h).hear(typeInit) // handshake done, but no init
	s := hello(t, 2, h)
	h.next(t, "connected")
	s.say([]byte{0x94, 0x19})
	h.next(t, "message") // no deadline of the handshake is left
}
