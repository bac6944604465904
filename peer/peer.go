package peer

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Events is told what happens. The methods are called from the reader of the connection, one at a time for one node and
// in the order Connected, Message..., Disconnected; for different nodes at the same time. While a call lasts, nothing
// more is read from that peer. Disconnected's error says why and is never nil.
type Events interface {
	Connected(p *Peer)
	Message(p *Peer, m Message)
	Disconnected(p *Peer, err error)
}

var (
	// ErrReplaced is why a connection ended whose node made a new one.
	ErrReplaced = errors.New("replaced by a newer connection")

	// ErrStopped is why a connection ended that our side closed.
	ErrStopped = errors.New("closed by this node")

	// ErrSilent is why a connection ended whose peer neither said anything nor answered a ping.
	ErrSilent = errors.New("peer is silent")
)

// violation is a breach of BOLT 1 by the peer: it is told in a warning before the connection ends.
type violation struct{ error }

func (v violation) Unwrap() error { return v.error }

// Peer is one connection to a node, from its init messages on. A later connection to the same node is another Peer.
type Peer struct {
	conn    *Conn
	inbound bool
	theirs  Features
	ours    Features
	since   time.Time
	log     *slog.Logger
	cfg     *Config

	out      *outbox
	received atomic.Int64 // Unix nanoseconds of the last message from the peer

	stopOnce sync.Once
	stop     chan struct{} // closed: the connection ends, err says why
	err      error
	written  chan struct{} // closed: the writer is done

	// The queue of connections of one node; see Host.register.
	after     <-chan struct{} // nil, or closed when the predecessor's Disconnected has returned
	abandoned chan struct{}   // closed: replaced before it was connected
	started   bool            // it calls Events; guarded by Host.mu
	up        chan struct{}   // closed when Connected has returned
	gone      chan struct{}   // closed when Disconnected has returned, or when it never will be called
}

func newPeer(cfg *Config, conn *Conn, inbound bool, theirs Features) *Peer {
	node := conn.Node()
	p := &Peer{
		conn:    conn,
		inbound: inbound,
		theirs:  theirs,
		ours:    cfg.Features,
		since:   cfg.Clock.Now(),
		log:     cfg.Logger.With("peer", hex.EncodeToString(node[:])),
		cfg:     cfg,

		out:       newOutbox(cfg.MaxQueued),
		stop:      make(chan struct{}),
		written:   make(chan struct{}),
		abandoned: make(chan struct{}),
		up:        make(chan struct{}),
		gone:      make(chan struct{}),
	}
	p.received.Store(p.since.UnixNano())
	conn.readTimeout = cfg.PingInterval + cfg.PongTimeout
	conn.writeTimeout = cfg.WriteTimeout
	return p
}

// Node is the peer's node id.
func (p *Peer) Node() [33]byte { return p.conn.Node() }

// Inbound says who dialled: true when the peer did.
func (p *Peer) Inbound() bool { return p.inbound }

// Addr is the peer's address as seen from here.
func (p *Peer) Addr() net.Addr { return p.conn.nc.RemoteAddr() }

// Since is when the init messages had been exchanged.
func (p *Peer) Since() time.Time { return p.since }

// Features are the features of the peer's init.
func (p *Peer) Features() Features { return p.theirs }

// Negotiated says whether both sides offer a feature, given either of its bits, or whether we demand it, in which case
// the peer would have hung up without it (BOLT 1).
func (p *Peer) Negotiated(bit int) bool {
	return p.ours.Requires(bit) || p.ours.Offers(bit) && p.theirs.Offers(bit)
}

// Done is closed when Disconnected has been called for the connection.
func (p *Peer) Done() <-chan struct{} { return p.gone }

// Send puts messages on the wire, in order and without others between them. It never blocks. On error none of them
// will be sent and the connection is over.
func (p *Peer) Send(msgs ...lnwire.Message) error { return p.sent(p.out.push(msgs)) }

// SendRaw is Send for one message given as type and payload.
func (p *Peer) SendRaw(typ uint16, payload []byte) error { return p.sent(p.out.pushRaw(typ, payload)) }

// Queued is how many bytes wait to be sent. Whoever has much to say that can wait looks here first.
func (p *Peer) Queued() int { return p.out.waiting() }

func (p *Peer) sent(err error) error {
	if err != nil && !errors.Is(err, ErrClosed) {
		p.drop(err)
	}
	return err
}

// Close ends the connection after what waits has been written. It does not wait for that.
func (p *Peer) Close() { p.close(ErrStopped) }

// Warn tells the peer what is wrong in a warning about no channel in particular, and ends the connection.
func (p *Peer) Warn(text string) {
	_ = p.out.push([]lnwire.Message{warning(text)})
	p.close(fmt.Errorf("%w: %s", ErrStopped, text))
}

// close lets the writer write what waits. The first reason counts.
func (p *Peer) close(err error) {
	p.stopOnce.Do(func() {
		p.err = err
		p.out.close()
		close(p.stop)
	})
}

// drop ends the connection at once.
func (p *Peer) drop(err error) {
	p.close(err)
	p.conn.Close()
}

func (p *Peer) stopping() bool {
	select {
	case <-p.stop:
		return true
	default:
		return false
	}
}

// run is the life of a connection whose turn has come: it calls Events until the connection ends.
func (p *Peer) run() {
	go p.write()
	p.log.Info("connected", "addr", fmt.Sprint(p.Addr()), "inbound", p.inbound)
	p.cfg.Events.Connected(p)
	close(p.up)

	err := p.read()
	var breach violation
	if errors.As(err, &breach) {
		// Before close, so that it is among what the writer still writes.
		_ = p.out.push([]lnwire.Message{warning(breach.Error())})
	}
	p.close(err)
	<-p.written
	if errors.As(p.err, &breach) {
		p.conn.linger(lingerTime)
	}
	p.conn.Close()

	level := slog.LevelInfo
	if errors.As(p.err, &breach) {
		level = slog.LevelWarn
	}
	p.log.Log(context.Background(), level, "disconnected", "err", p.err)
	p.cfg.Events.Disconnected(p, p.err)
}

// lingerTime is how long the end of a connection may wait for the peer to take our last words.
const lingerTime = time.Second

// read passes messages up until the connection fails, and says how.
func (p *Peer) read() error {
	for {
		msg, err := p.conn.Read()
		switch {
		case errors.Is(err, io.EOF):
			return fmt.Errorf("closed by peer: %w", io.EOF)
		case isTimeout(err):
			return fmt.Errorf("%w for %v: %w", ErrSilent, p.conn.readTimeout, err)
		case err != nil:
			return fmt.Errorf("read: %w", err)
		}
		if p.stopping() {
			return ErrClosed // run has the reason
		}
		p.received.Store(p.cfg.Clock.Now().UnixNano())
		if err := p.handle(msg); err != nil {
			return err
		}
	}
}

func (p *Peer) handle(msg []byte) error {
	m, f, err := parse(msg, p.cfg.fates)
	if err != nil {
		return violation{err}
	}
	switch f {
	case unknown:
		p.log.Debug("ignored message of unknown odd type", "type", m.Type, "bytes", len(m.Raw))
	case control:
		return p.control(m)
	default:
		if m.Type == typeWarning || m.Type == typeError {
			p.log.Warn("peer complains", "type", lnwire.MessageType(m.Type).String(), "text", saying(m.Msg))
		}
		p.cfg.Events.Message(p, m)
	}
	return nil
}

func (p *Peer) control(m Message) error {
	switch m.Type {
	case typePing:
		size, ok, err := readPing(m.Raw)
		if err != nil {
			return violation{err}
		}
		if ok {
			return p.answer(size)
		}
	case typePong:
		if err := readPong(m.Raw); err != nil {
			return violation{err}
		}
	case typeInit:
		return violation{errors.New("second init")}
	}
	return nil
}

// answer sends a pong. Whoever sends pings faster than it reads pongs is not read until it has caught up: a few bytes
// ask for up to 64 kB each, and our own messages need the room in the buffer.
func (p *Peer) answer(size uint16) error {
	for p.out.waiting() > p.cfg.MaxQueued/8 {
		select {
		case <-p.out.room:
		case <-p.stop:
			return ErrClosed
		}
	}
	return p.SendRaw(typePong, pong(size))
}

// write puts on the wire what waits in the outbox, and pings a peer that is silent.
func (p *Peer) write() {
	defer close(p.written)
	var batch bytes.Buffer
	tick := p.cfg.Clock.After(p.cfg.PingInterval)
	for {
		select {
		case <-p.out.wake:
			if err := p.flush(&batch); err != nil {
				p.drop(err)
				return
			}
		case <-tick:
			silent := p.cfg.Clock.Now().Sub(time.Unix(0, p.received.Load()))
			wait := p.cfg.PingInterval - silent
			if wait <= 0 {
				wait = p.cfg.PingInterval
				_ = p.SendRaw(typePing, ping())
			}
			tick = p.cfg.Clock.After(wait)
		case <-p.stop:
			p.conn.writeTimeout = lingerTime
			_ = p.flush(&batch)
			var breach violation
			if !errors.As(p.err, &breach) {
				p.conn.Close() // a reader that waits for the peer returns
			}
			return
		}
	}
}

// keepBuffer is how large a buffer a connection keeps between writes.
const keepBuffer = 64 << 10

// flush encrypts and writes all that waits, normally in one write.
func (p *Peer) flush(batch *bytes.Buffer) error {
	p.out.take(batch)
	defer p.out.wrote()
	for batch.Len() > 0 {
		if err := p.conn.Append(nextMessage(batch)); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	if err := p.conn.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if batch.Cap() > keepBuffer {
		*batch = bytes.Buffer{}
	}
	return nil
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}
