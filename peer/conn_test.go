package peer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/lightningnetwork/lnd/brontide"
)

// vector is one test of BOLT 8 Appendix A: its keys and the lines of its exchange in order.
type vector struct {
	name  string
	keys  map[string]string
	lines [][2]string // "input" or "output...", and what
}

func vectors(t *testing.T, prefix string) []vector {
	t.Helper()
	data, err := os.ReadFile("testdata/bolt08.txt")
	if err != nil {
		t.Fatal(err)
	}
	var vs []vector
	for _, part := range strings.Split(strings.TrimSpace(string(data)), "\n\n") {
		v := vector{keys: map[string]string{}}
		for _, line := range strings.Split(part, "\n") {
			k, val, _ := strings.Cut(line, ": ")
			val = strings.TrimPrefix(val, "0x")
			switch {
			case k == "name":
				v.name = val
			case k == "input", strings.HasPrefix(k, "output"):
				v.lines = append(v.lines, [2]string{k, val})
			default:
				v.keys[k] = val
			}
		}
		if name, ok := strings.CutPrefix(v.name, prefix+" "); ok {
			v.name = name
			vs = append(vs, v)
		}
	}
	return vs
}

// tape is a connection that plays what the other side says and records what we say.
type tape struct {
	net.Conn
	in  bytes.Buffer
	out bytes.Buffer
}

func (c *tape) Read(b []byte) (int, error)        { return c.in.Read(b) }
func (c *tape) Write(b []byte) (int, error)       { return c.out.Write(b) }
func (c *tape) SetWriteDeadline(time.Time) error  { return nil }
func (c *tape) SetReadDeadline(t time.Time) error { return nil }

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func privKey(t testing.TB, s string) *btcec.PrivateKey {
	k, _ := btcec.PrivKeyFromBytes(fromHex(t, s))
	return k
}

func ephemeral(k *btcec.PrivateKey) func(*brontide.Machine) {
	return brontide.EphemeralGenerator(func() (*btcec.PrivateKey, error) { return k, nil })
}

// failures maps the errors of Appendix A to words of ours.
var failures = map[string][2]string{ // act, cause
	"ACT1_READ_FAILED":    {"act one", "unexpected EOF"},
	"ACT1_BAD_VERSION":    {"act one", "handshake version 1"},
	"ACT1_BAD_PUBKEY":     {"act one", "public key"},
	"ACT1_BAD_TAG":        {"act one", "message authentication failed"},
	"ACT2_READ_FAILED":    {"act two", "unexpected EOF"},
	"ACT2_BAD_VERSION 1":  {"act two", "handshake version 1"},
	"ACT2_BAD_PUBKEY":     {"act two", "public key"},
	"ACT2_BAD_TAG":        {"act two", "message authentication failed"},
	"ACT3_READ_FAILED":    {"act three", "unexpected EOF"},
	"ACT3_BAD_VERSION 1":  {"act three", "handshake version 1"},
	"ACT3_BAD_CIPHERTEXT": {"act three", "message authentication failed"},
	"ACT3_BAD_PUBKEY":     {"act three", "public key"},
	"ACT3_BAD_TAG":        {"act three", "message authentication failed"},
}

// replay runs a handshake against a vector's lines.
func replay(t *testing.T, v vector, shake func(net.Conn) (*Conn, error)) *Conn {
	t.Helper()
	var c tape
	var said []byte
	var failure string
	for _, line := range v.lines {
		switch code, failed := strings.CutPrefix(line[1], "ERROR ("); {
		case line[0] == "input":
			c.in.Write(fromHex(t, line[1]))
		case failed:
			failure = strings.TrimSuffix(code, ")")
		case !strings.Contains(line[1], "="): // the session keys are shown by the messages
			said = append(said, fromHex(t, line[1])...)
		}
	}
	conn, err := shake(&c)
	if !bytes.Equal(c.out.Bytes(), said) {
		t.Errorf("said %x\nwant %x", c.out.Bytes(), said)
	}
	if failure == "" {
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	want, ok := failures[failure]
	if !ok {
		t.Fatalf("unknown failure %q", failure)
	}
	if err == nil || !strings.HasPrefix(err.Error(), want[0]+":") || !strings.Contains(err.Error(), want[1]) {
		t.Errorf("error %q, want one of %q because of %q", err, want[0], want[1])
	}
	return nil
}

func TestBOLT8Initiator(t *testing.T) {
	vs := vectors(t, "transport-initiator")
	if len(vs) != 5 {
		t.Fatalf("%d vectors, want 5", len(vs))
	}
	for _, v := range vs {
		t.Run(v.name, func(t *testing.T) {
			rs := [33]byte(fromHex(t, v.keys["rs.pub"]))
			c := replay(t, v, func(nc net.Conn) (*Conn, error) {
				return initiate(nc, privKey(t, v.keys["ls.priv"]), rs, ephemeral(privKey(t, v.keys["e.priv"])))
			})
			if c != nil && c.Node() != rs {
				t.Errorf("node %x, want %x", c.Node(), rs)
			}
		})
	}
}

func TestBOLT8Responder(t *testing.T) {
	initiator := vectors(t, "transport-initiator")[0]
	vs := vectors(t, "transport-responder")
	if len(vs) != 10 {
		t.Fatalf("%d vectors, want 10", len(vs))
	}
	for _, v := range vs {
		t.Run(v.name, func(t *testing.T) {
			c := replay(t, v, func(nc net.Conn) (*Conn, error) {
				return respond(nc, privKey(t, v.keys["ls.priv"]), ephemeral(privKey(t, v.keys["e.priv"])))
			})
			if c != nil && hex.EncodeToString(nodeOf(c)) != strings.TrimPrefix(initiator.keys["ls.pub"], "0x") {
				t.Errorf("node %x, want %s", c.Node(), initiator.keys["ls.pub"])
			}
		})
	}
}

func nodeOf(c *Conn) []byte { id := c.Node(); return id[:] }

func TestBOLT8Messages(t *testing.T) {
	alice, bob := vectors(t, "transport-initiator")[0], vectors(t, "transport-responder")[0]
	ini := replay(t, alice, func(nc net.Conn) (*Conn, error) {
		return initiate(nc, privKey(t, alice.keys["ls.priv"]), [33]byte(fromHex(t, alice.keys["rs.pub"])), ephemeral(privKey(t, alice.keys["e.priv"])))
	})
	res := replay(t, bob, func(nc net.Conn) (*Conn, error) {
		return respond(nc, privKey(t, bob.keys["ls.priv"]), ephemeral(privKey(t, bob.keys["e.priv"])))
	})
	wire := &ini.nc.(*tape).out

	var sent [][]byte
	for i := range 1002 {
		wire.Reset()
		if err := errors.Join(ini.Append([]byte("hello")), ini.Flush()); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		sent = append(sent, bytes.Clone(wire.Bytes()))
		res.nc.(*tape).in.Write(wire.Bytes())
		if got, err := res.Read(); err != nil || string(got) != "hello" {
			t.Fatalf("message %d: read %q, %v", i, got, err)
		}
	}
	v := vectors(t, "transport-message")[0]
	if len(v.lines) != 6 {
		t.Fatalf("%d outputs, want 6", len(v.lines))
	}
	for _, line := range v.lines {
		t.Run(line[0], func(t *testing.T) {
			var i int
			if _, err := fmt.Sscanf(line[0], "output %d", &i); err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(sent[i]); got != line[1] {
				t.Errorf("got %s, want %s", got, line[1])
			}
		})
	}
}

// connPair is a session over the loopback interface.
func connPair(t testing.TB) (dialled, accepted *Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, b := testKey(1), testKey(2)
	done := make(chan error, 1)
	go func() {
		nc, err := l.Accept()
		if err == nil {
			accepted, err = Respond(nc, b)
		}
		done <- err
	}()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if dialled, err = Initiate(nc, a, nodeID(b)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close(); accepted.Close() })
	return dialled, accepted
}

func TestConnSizes(t *testing.T) {
	a, b := connPair(t)
	for _, n := range []int{0, 1, 2, 65533, 65534, 65535} {
		msg := bytes.Repeat([]byte{byte(n)}, n)
		if err := errors.Join(a.Append(msg), a.Flush()); err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if got, err := b.Read(); err != nil || !bytes.Equal(got, msg) {
			t.Fatalf("%d bytes: read %d, %v", n, len(got), err)
		}
	}
	if err := a.Append(make([]byte, 65536)); err == nil {
		t.Error("65536 bytes accepted, limit is 65535")
	}
}

func TestConnTampered(t *testing.T) {
	for _, at := range []int{0, 17, 18, 30} {
		a, b := connPair(t)
		real := a.nc
		rec := &tape{}
		a.nc = rec
		if err := errors.Join(a.Append([]byte("hello")), a.Flush()); err != nil {
			t.Fatal(err)
		}
		a.nc = real
		rec.out.Bytes()[at] ^= 1
		if _, err := real.Write(rec.out.Bytes()); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Read(); err == nil {
			t.Errorf("byte %d changed: message accepted", at)
		}
	}
}

func TestConnCutMidMessage(t *testing.T) {
	for _, n := range []int{1, 17, 18, 20, 38} {
		a, b := connPair(t)
		real, rec := a.nc, &tape{}
		a.nc = rec
		if err := errors.Join(a.Append([]byte("hello")), a.Flush()); err != nil {
			t.Fatal(err)
		}
		a.nc = real
		if _, err := real.Write(rec.out.Bytes()[:n]); err != nil {
			t.Fatal(err)
		}
		real.Close()
		if _, err := b.Read(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: %v, want %v", n, err, io.ErrUnexpectedEOF)
		}
	}
}
