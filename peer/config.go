package peer

import (
	"context"
	cryptorand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// Config is what a Host is made of. Key, Chain and Events are needed; all else has a default.
type Config struct {
	Key      *btcec.PrivateKey // of the node id
	Chain    chainhash.Hash    // genesis block hash, as in chaincfg.Params.GenesisHash
	Events   Events
	Features Features // announced in init; nil: DefaultFeatures
	RawTypes []uint16 // message types to pass up undecoded, besides LSPS0

	Logger *slog.Logger // nil: none
	Dialer Dialer       // nil: plain TCP
	Clock  Clock        // nil: the real one. Deadlines of sockets follow the real one always
	Rand   rand.Source  // nil: seeded from the system. Spreads reconnections

	MaxHandshakes int // inbound handshakes at a time, 50; more of them wait unaccepted
	MaxPeers      int // connections, 2000; then only kept nodes may connect
	MaxQueued     int // bytes that wait to be sent to one peer, 4 MiB; more drops the connection

	DialTimeout      time.Duration // 10 s
	HandshakeTimeout time.Duration // 10 s, for the handshake and both init messages
	WriteTimeout     time.Duration // 30 s, for one write to be taken by the system
	PingInterval     time.Duration // 1 min of silence brings a ping
	PongTimeout      time.Duration // 30 s more of silence end the connection
	MinBackoff       time.Duration // 1 s before the first reconnection
	MaxBackoff       time.Duration // 5 min before any
	StableAfter      time.Duration // 10 s: a connection that lasted longer starts the back-off anew

	fates map[uint16]fate
}

// Dialer opens the connections. *net.Dialer is one; another may go through a proxy.
type Dialer interface {
	DialContext(ctx context.Context, network, addr string) (net.Conn, error)
}

// Clock is the time that pings and reconnections follow.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

type systemClock struct{}

func (systemClock) Now() time.Time                         { return time.Now() }
func (systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// complete fills in the defaults.
func (c *Config) complete() error {
	switch {
	case c.Key == nil:
		return errors.New("no node key")
	case c.Events == nil:
		return errors.New("nobody to tell events to")
	case c.Chain == chainhash.Hash{}:
		return errors.New("no chain hash")
	}
	if c.Features == nil {
		c.Features = DefaultFeatures()
	}
	c.Features = c.Features.With()
	if err := c.Features.check(c.Features); err != nil {
		return fmt.Errorf("own features: %w", err)
	}
	c.fates = dispatch(c.RawTypes)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Dialer == nil {
		c.Dialer = &net.Dialer{}
	}
	if c.Clock == nil {
		c.Clock = systemClock{}
	}
	if c.Rand == nil {
		var seed [16]byte
		_, _ = cryptorand.Read(seed[:])
		c.Rand = rand.NewPCG(binary.BigEndian.Uint64(seed[:8]), binary.BigEndian.Uint64(seed[8:]))
	}
	for v, preset := range map[*int]int{&c.MaxHandshakes: 50, &c.MaxPeers: 2000, &c.MaxQueued: 4 << 20} {
		if *v <= 0 {
			*v = preset
		}
	}
	for v, preset := range map[*time.Duration]time.Duration{
		&c.DialTimeout: 10 * time.Second, &c.HandshakeTimeout: 10 * time.Second, &c.WriteTimeout: 30 * time.Second,
		&c.PingInterval: time.Minute, &c.PongTimeout: 30 * time.Second,
		&c.MinBackoff: time.Second, &c.MaxBackoff: 5 * time.Minute, &c.StableAfter: 10 * time.Second,
	} {
		if *v <= 0 {
			*v = preset
		}
	}
	return nil
}
