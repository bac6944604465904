package peer

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/lightningnetwork/lnd/brontide"
	"github.com/lightningnetwork/lnd/keychain"
)

const (
	// maxMessage is the largest message in bytes, its type included (BOLT 8).
	maxMessage = 65535

	// maxWrite is the number of encrypted bytes from which Append writes by itself.
	maxWrite = 256 << 10

	readBuffer = 16 << 10
)

// ErrWrongKey says that whoever answered does not hold the key of the node id that was dialled.
var ErrWrongKey = errors.New("the node at this address has another node id")

// Conn is an encrypted connection (BOLT 8) whose handshake is done. One goroutine may read while another one writes.
// After an error of either direction that direction is dead.
type Conn struct {
	nc    net.Conn
	node  [33]byte
	noise *brontide.Machine

	r            *bufio.Reader
	readTimeout  time.Duration // for each read of the socket; 0: none but the deadline of nc
	writeTimeout time.Duration // for each write to the socket; 0: none but the deadline of nc

	w *bytes.Buffer // encrypted and not yet written; nil when there is nothing
}

// writeBuffers serve connections only while they have something to write, so that an idle one holds no such memory.
var writeBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// Initiate does the handshake as the side that dialled nc and expects node at the other end. The deadline of nc bounds it.
// On error nc is left to the caller.
func Initiate(nc net.Conn, key *btcec.PrivateKey, node [33]byte) (*Conn, error) {
	return initiate(nc, key, node)
}

// Respond does the handshake as the side that accepted nc. The deadline of nc bounds it. On error nc is left to the caller.
func Respond(nc net.Conn, key *btcec.PrivateKey) (*Conn, error) {
	return respond(nc, key)
}

func initiate(nc net.Conn, key *btcec.PrivateKey, node [33]byte, opts ...func(*brontide.Machine)) (*Conn, error) {
	pub, err := btcec.ParsePubKey(node[:])
	if err != nil {
		return nil, fmt.Errorf("node id: %w", err)
	}
	c := newConn(nc, brontide.NewBrontideMachine(true, &keychain.PrivKeyECDH{PrivKey: key}, pub, opts...))
	c.node = node

	one, err := c.noise.GenActOne()
	if err != nil {
		return nil, fmt.Errorf("act one: %w", err)
	}
	if _, err := nc.Write(one[:]); err != nil {
		return nil, fmt.Errorf("act one: %w", err)
	}

	var two [brontide.ActTwoSize]byte
	if err := c.readAct(two[:]); err != nil {
		// A responder whose key is not the one we dialled cannot authenticate act one, and BOLT 8 has it hang up without a word.
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			err = fmt.Errorf("connection closed, as it happens when %w", ErrWrongKey)
		}
		return nil, fmt.Errorf("act two: %w", err)
	}
	if err := c.noise.RecvActTwo(two); err != nil {
		return nil, fmt.Errorf("act two: %w: %w", ErrWrongKey, err)
	}

	three, err := c.noise.GenActThree()
	if err != nil {
		return nil, fmt.Errorf("act three: %w", err)
	}
	if _, err := nc.Write(three[:]); err != nil {
		return nil, fmt.Errorf("act three: %w", err)
	}
	return c, nil
}

func respond(nc net.Conn, key *btcec.PrivateKey, opts ...func(*brontide.Machine)) (*Conn, error) {
	c := newConn(nc, brontide.NewBrontideMachine(false, &keychain.PrivKeyECDH{PrivKey: key}, nil, opts...))

	var one [brontide.ActOneSize]byte
	if err := c.readAct(one[:]); err != nil {
		return nil, fmt.Errorf("act one: %w", err)
	}
	if err := c.noise.RecvActOne(one); err != nil {
		return nil, fmt.Errorf("act one: %w", err)
	}
	two, err := c.noise.GenActTwo()
	if err != nil {
		return nil, fmt.Errorf("act two: %w", err)
	}
	if _, err := nc.Write(two[:]); err != nil {
		return nil, fmt.Errorf("act two: %w", err)
	}

	var three [brontide.ActThreeSize]byte
	if err := c.readAct(three[:]); err != nil {
		return nil, fmt.Errorf("act three: %w", err)
	}
	// The machine learns the initiator's key in act three but has no way to ask for it. A copy of its state from before
	// act three decrypts it a second time; the copy shares nothing that changes.
	before := *c.noise
	if err := c.noise.RecvActThree(three); err != nil {
		return nil, fmt.Errorf("act three: %w", err)
	}
	id, err := before.DecryptAndHash(three[1 : 1+33+16])
	if err != nil || len(id) != len(c.node) {
		return nil, errors.New("act three: node id unreadable")
	}
	copy(c.node[:], id)
	return c, nil
}

func newConn(nc net.Conn, noise *brontide.Machine) *Conn {
	c := &Conn{nc: nc, noise: noise}
	c.r = bufio.NewReaderSize((*timedReader)(c), readBuffer)
	return c
}

// readAct fills act and refuses a version other than 0 before anything of it is looked at.
func (c *Conn) readAct(act []byte) error {
	if _, err := io.ReadFull(c.r, act); err != nil {
		return err
	}
	if act[0] != brontide.HandshakeVersion {
		return fmt.Errorf("handshake version %d, only %d is known", act[0], brontide.HandshakeVersion)
	}
	return nil
}

// Node is the node id at the other end, proven by the handshake.
func (c *Conn) Node() [33]byte { return c.node }

// Read returns the next message, type and payload. The slice is the caller's.
func (c *Conn) Read() ([]byte, error) {
	n, err := c.noise.ReadHeader(c.r) // 65535 plus the MAC at most, the length has two bytes
	if err != nil {
		return nil, err
	}
	msg, err := c.noise.ReadBody(c.r, make([]byte, n))
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return msg, nil
}

// Append encrypts a message, type and payload, behind those that wait to be written.
func (c *Conn) Append(msg []byte) error {
	if len(msg) > maxMessage {
		return fmt.Errorf("message of %d bytes, limit is %d", len(msg), maxMessage)
	}
	if c.w == nil {
		c.w = writeBuffers.Get().(*bytes.Buffer)
	}
	if err := c.noise.WriteMessage(msg); err != nil {
		return err
	}
	if _, err := c.noise.Flush(c.w); err != nil {
		return err
	}
	if c.w.Len() >= maxWrite {
		return c.Flush()
	}
	return nil
}

// Flush writes all that was appended, in one write.
func (c *Conn) Flush() error {
	if c.w == nil {
		return nil
	}
	if c.writeTimeout > 0 {
		if err := c.nc.SetWriteDeadline(time.Now().Add(c.writeTimeout)); err != nil {
			return err
		}
	}
	_, err := c.nc.Write(c.w.Bytes())
	c.w.Reset()
	writeBuffers.Put(c.w)
	c.w = nil
	return err
}

// Close closes the socket. Reads and writes that wait return.
func (c *Conn) Close() error { return c.nc.Close() }

// linger says good-bye to the socket in a way that lets the other side read our last message: a socket closed with
// unread input is reset, and a reset discards what the other side has not read yet.
func (c *Conn) linger(d time.Duration) {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	if c.nc.SetReadDeadline(time.Now().Add(d)) == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(c.nc, 1<<20))
	}
}

// timedReader is a Conn's socket with a deadline for each read.
type timedReader Conn

func (t *timedReader) Read(b []byte) (int, error) {
	if t.readTimeout > 0 {
		if err := t.nc.SetReadDeadline(time.Now().Add(t.readTimeout)); err != nil {
			return 0, err
		}
	}
	return t.nc.Read(b)
}

// part sends a warning and lets the peer read it. The connection is not used after that.
func (c *Conn) part(text string) {
	msg := append([]byte{0, typeWarning}, make([]byte, 32)...)
	msg = binary.BigEndian.AppendUint16(msg, uint16(len(text)))
	if c.Append(append(msg, text...)) == nil && c.Flush() == nil {
		c.linger(lingerTime)
	}
}
