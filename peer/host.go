package peer

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// ErrHostClosed is the answer to calls after Close.
var ErrHostClosed = errors.New("host is closed")

// errDuplicate is why a connection was refused of whose node another one is to stay.
var errDuplicate = errors.New("another connection to this node stays")

// Host makes, accepts and keeps the connections of one node.
//
// Invariant: of each node at most one Peer is between its Connected and the return of its Disconnected. peers holds the
// newest connection of each node, which may be waiting for its predecessor's Disconnected.
type Host struct {
	cfg  Config
	self [33]byte
	log  *slog.Logger

	ctx    context.Context // done when Close begins
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine
	slots  chan struct{}  // inbound handshakes

	mu        sync.Mutex
	closed    bool
	listeners []net.Listener
	peers     map[[33]byte]*Peer
	dials     map[[33]byte]*dial
	kept      map[[33]byte]*kept
	rand      *rand.Rand
}

// dial is an attempt to connect to a node. All who want one at the same time share it.
type dial struct {
	done chan struct{}
	peer *Peer
	err  error
}

// New makes a Host that neither listens nor dials yet.
func New(cfg Config) (*Host, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	h := &Host{
		cfg:   cfg,
		self:  [33]byte(cfg.Key.PubKey().SerializeCompressed()),
		log:   cfg.Logger,
		slots: make(chan struct{}, cfg.MaxHandshakes),
		peers: make(map[[33]byte]*Peer),
		dials: make(map[[33]byte]*dial),
		kept:  make(map[[33]byte]*kept),
		rand:  rand.New(cfg.Rand),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h, nil
}

// ID is this node's id.
func (h *Host) ID() [33]byte { return h.self }

// Listen accepts connections on a TCP address from now on, and says which one it is (for port 0).
func (h *Host) Listen(addr string) (net.Addr, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		l.Close()
		return nil, ErrHostClosed
	}
	h.listeners = append(h.listeners, l)
	h.wg.Go(func() { h.accept(l) })
	h.log.Info("listening", "addr", l.Addr().String())
	return l.Addr(), nil
}

func (h *Host) accept(l net.Listener) {
	for pause := time.Duration(0); ; {
		nc, err := l.Accept()
		if err != nil {
			if h.ctx.Err() != nil {
				return
			}
			// Such as too many open files. It may pass.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			h.log.Warn("accept failed", "addr", l.Addr(), "err", err)
			select {
			case <-h.cfg.Clock.After(pause):
			case <-h.ctx.Done():
			}
			continue
		}
		pause = 0
		select {
		case h.slots <- struct{}{}:
		case <-h.ctx.Done():
			nc.Close()
			return
		}
		h.wg.Go(func() {
			p, err := h.greet(h.ctx, nc, nil)
			<-h.slots
			if err != nil {
				h.log.Debug("inbound connection failed", "addr", nc.RemoteAddr(), "err", err)
				return
			}
			h.live(p)
		})
	}
}

// Connect gives the connection to a node, making one at addr (host or host:port) if there is none. It returns when
// Events.Connected has. What ctx ends is the attempt, not the connection.
func (h *Host) Connect(ctx context.Context, node [33]byte, addr string) (*Peer, error) {
	if node == h.self {
		return nil, errors.New("this is our own node id")
	}
	for {
		p, d, mine := h.attempt(node)
		switch {
		case p != nil:
			return p.whenUp(ctx)
		case d == nil:
			return nil, ErrHostClosed
		case mine:
			h.conclude(node, d, func() (*Peer, error) { return h.dial(ctx, node, addr) })
		default:
			select {
			case <-d.done:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		switch {
		case d.err == nil:
			return d.peer.whenUp(ctx)
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case mine && h.Peer(node) == nil && !errors.Is(d.err, errDuplicate):
			return nil, fmt.Errorf("connect to %s at %s: %w", hex.EncodeToString(node[:]), addr, d.err)
		}
		// The node connected to us meanwhile, or an attempt that was not ours failed and may have been given up: look again.
	}
}

// attempt gives the connection to a node, or else the attempt to make one, and whether the caller is to carry it out.
// All are zero when the host is closed.
func (h *Host) attempt(node [33]byte) (*Peer, *dial, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, nil, false
	}
	if p := h.peers[node]; p != nil && !p.stopping() {
		return p, nil, false
	}
	if d := h.dials[node]; d != nil {
		return nil, d, false
	}
	d := &dial{done: make(chan struct{})}
	h.dials[node] = d
	h.wg.Add(1)
	return nil, d, true
}

// conclude carries out an attempt.
func (h *Host) conclude(node [33]byte, d *dial, do func() (*Peer, error)) {
	defer h.wg.Done()
	d.peer, d.err = do()
	h.mu.Lock()
	delete(h.dials, node)
	h.mu.Unlock()
	close(d.done)
}

// whenUp waits until Events knows the connection.
func (p *Peer) whenUp(ctx context.Context) (*Peer, error) {
	select {
	case <-p.up:
		return p, nil
	case <-p.gone:
		select {
		case <-p.up:
			return p, nil // it was there, if not for long
		default:
			return nil, p.err
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (h *Host) dial(ctx context.Context, node [33]byte, addr string) (*Peer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()

	dialCtx, cancelDial := context.WithTimeout(ctx, h.cfg.DialTimeout)
	defer cancelDial()
	nc, err := h.cfg.Dialer.DialContext(dialCtx, "tcp", withPort(addr))
	if err != nil {
		return nil, err
	}
	p, err := h.greet(ctx, nc, &node)
	if err != nil {
		return nil, err
	}
	h.wg.Go(func() { h.live(p) })
	return p, nil
}

// withPort adds the default port of BOLT 1 to an address without one.
func withPort(addr string) string {
	if _, _, err := net.SplitHostPort(addr); err == nil {
		return addr
	}
	return net.JoinHostPort(strings.Trim(addr, "[]"), "9735")
}

// greet does the handshake and the exchange of init on a new socket and registers the connection. node is nil for an
// inbound one. On error the socket is closed.
func (h *Host) greet(ctx context.Context, nc net.Conn, node *[33]byte) (*Peer, error) {
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	conn, theirs, err := h.handshake(nc, node)
	if err == nil && ctx.Err() == nil {
		p := newPeer(&h.cfg, conn, node == nil, theirs.Features)
		if err = h.register(p); err == nil {
			return p, nil
		}
		p.log.Debug("connection not taken", "inbound", p.inbound, "err", err)
	}
	nc.Close()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return nil, err
}

func (h *Host) handshake(nc net.Conn, node *[33]byte) (*Conn, Init, error) {
	if err := nc.SetDeadline(time.Now().Add(h.cfg.HandshakeTimeout)); err != nil {
		return nil, Init{}, err
	}
	ours := Init{Features: h.cfg.Features, Chains: []chainhash.Hash{h.cfg.Chain}}
	var conn *Conn
	var err error
	if node != nil {
		conn, err = Initiate(nc, h.cfg.Key, *node)
	} else {
		conn, err = Respond(nc, h.cfg.Key)
		ours.RemoteAddr = describeAddr(nc.RemoteAddr())
	}
	if err != nil {
		return nil, Init{}, fmt.Errorf("handshake: %w", err)
	}
	theirs, err := exchangeInit(conn, ours)
	if err != nil {
		return nil, Init{}, err
	}
	return conn, theirs, nc.SetDeadline(time.Time{})
}

// exchangeInit sends ours and reads theirs, which must be the peer's first message. Before theirs has come nothing else
// may be sent (BOLT 1 "The init Message"), not even what is wrong with it.
func exchangeInit(conn *Conn, ours Init) (Init, error) {
	if err := conn.Append(ours.encode()); err != nil {
		return Init{}, fmt.Errorf("init: %w", err)
	}
	if err := conn.Flush(); err != nil {
		return Init{}, fmt.Errorf("init: %w", err)
	}
	msg, err := conn.Read()
	if err != nil {
		return Init{}, fmt.Errorf("init: %w", err)
	}
	theirs, err := decodeInit(msg)
	if err != nil {
		return Init{}, err
	}
	if err := ours.check(theirs); err != nil {
		err = fmt.Errorf("init: %w", err)
		conn.part(err.Error())
		return Init{}, err
	}
	return theirs, nil
}

// register makes p the connection of its node or refuses it. The rules, by who dialled:
//
//	old in,  new in    new: the peer has only one; it must have lost the old one
//	old out, new out   old: cannot happen, an attempt looks first and only one runs
//	old in,  new out   the one dialled by the smaller node id: both dialled at the same time
//	old out, new in    the same if the old one is young; else new, the peer must have lost the old one
//
// Both ends of a simultaneous dial thus keep the same one; other implementations go by the smaller node id too.
func (h *Host) register(p *Peer) error {
	node := p.Node()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrHostClosed
	}
	old := h.peers[node]
	if old == nil {
		if _, kept := h.kept[node]; p.inbound && !kept && len(h.peers) >= h.cfg.MaxPeers {
			return fmt.Errorf("%d peers already", len(h.peers))
		}
		h.peers[node] = p
		return nil
	}
	if !old.stopping() && !h.prefers(p, old) {
		return errDuplicate
	}
	h.peers[node] = p
	old.drop(ErrReplaced)
	if old.started {
		p.after = old.gone
	} else {
		p.after = old.after
		close(old.abandoned)
	}
	return nil
}

// prefers says whether p is to take the place of old.
func (h *Host) prefers(p, old *Peer) bool {
	if p.inbound == old.inbound {
		return p.inbound
	}
	// How long the peer's own attempt, begun before it knew of ours, may have taken.
	window := 2 * (h.cfg.DialTimeout + h.cfg.HandshakeTimeout)
	if p.inbound && p.since.Sub(old.since) > window {
		return true
	}
	node := p.Node()
	smaller := bytes.Compare(h.self[:], node[:]) < 0
	return smaller != p.inbound
}

// live waits for p's turn and lives through it.
func (h *Host) live(p *Peer) {
	defer close(p.gone)
	if p.after != nil {
		select {
		case <-p.after:
		case <-p.abandoned:
		}
	}
	if h.start(p) {
		p.run()
	}
	p.drop(ErrClosed) // nothing new, unless it was not started
	h.forget(p)
}

// start says whether p is to call Events: not if it was replaced or ended while it waited. One that is not is forgotten
// in the same step, lest a newer connection wait for it instead of what it waited for.
func (h *Host) start(p *Peer) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.peers[p.Node()] != p {
		return false
	}
	if p.stopping() {
		delete(h.peers, p.Node())
		return false
	}
	p.started = true
	if k := h.kept[p.Node()]; k != nil {
		select {
		case k.came <- struct{}{}:
		default:
		}
	}
	return true
}

func (h *Host) forget(p *Peer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.peers[p.Node()] == p {
		delete(h.peers, p.Node())
	}
}

// Disconnect ends the connection to a node, after what waits has been written, and says whether there was one. A kept
// node will be connected again.
func (h *Host) Disconnect(node [33]byte) bool {
	h.mu.Lock()
	p := h.peers[node]
	h.mu.Unlock()
	if p == nil {
		return false
	}
	p.Close()
	return true
}

// Peer gives the connection to a node, or nil.
func (h *Host) Peer(node [33]byte) *Peer {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.peers[node]; p != nil && p.started && !p.stopping() {
		return p
	}
	return nil
}

// Peers gives all connections, in no order.
func (h *Host) Peers() []*Peer {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []*Peer
	for _, p := range h.peers {
		if p.started && !p.stopping() {
			all = append(all, p)
		}
	}
	return all
}

// Close ends everything and returns when no goroutine is left and Events will hear nothing more.
func (h *Host) Close() error {
	h.mu.Lock()
	h.closed = true
	h.cancel()
	for _, l := range h.listeners {
		l.Close()
	}
	for _, p := range h.peers {
		p.Close()
	}
	h.mu.Unlock()
	h.wg.Wait()
	return nil
}
