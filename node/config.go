package node

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"lightningrod/chain"
	"lightningrod/node/forward"
	"lightningrod/node/store"
	"lightningrod/peer"
	"lightningrod/rod"

	"github.com/btcsuite/btcd/chaincfg"
)

// Config is what a node is started with. New checks it and says which field is wrong.
type Config struct {
	// Dir holds the node's files: node.db.
	Dir string
	// Lineage is the file by which an old copy of the database is told, see ErrOld. Empty: node.lineage in Dir. In another place it is not
	// taken back by whatever takes back all of Dir.
	Lineage string
	// Seed is the one secret, 16 to 64 bytes. All keys come from it.
	Seed []byte
	// Origin is where the seed comes from, for a node without a database; Birthday, of a restored one, a height up to which nothing was paid
	// to it.
	Origin   SeedOrigin
	Birthday uint32
	// Params is the network. Mainnet is refused unless it was compiled in.
	Params *chaincfg.Params
	// Backend is the chain.
	Backend Backend

	// Alias and Color are told to others in node_announcement.
	Alias string
	// Listen are host:port addresses to take connections on. Empty: none.
	Listen []string
	// Announce are the addresses to tell others; empty: those of Listen.
	Announce []string
	// Dialer makes the connections to others, for instance through a proxy. nil: plain TCP.
	Dialer peer.Dialer
	// MinBackoff is the time before a lost connection is made again; 0: a second.
	MinBackoff time.Duration
	// LSP says that this node holds HTLCs, keeps messages and wakes its clients (features 729, 827 and 829).
	LSP bool

	Channel ChannelConfig
	Policy  forward.Policy // of every channel: fees, cltv_expiry_delta, htlc_minimum_msat
	// CongestedAbove is the urgent fee estimate, in sat/kw, above which nothing new is forwarded. 0: DefaultCongestedAbove.
	CongestedAbove chain.FeePerKw
	Rod            rod.Config // zero: rod.DefaultConfig. Enabled and LSP are set from the fields above

	// LocalHooks allows webhooks without TLS to loopback addresses. For regtest.
	LocalHooks bool

	// History bounds the log of events. Zero: 250,000 events, 30 days.
	History Retention

	// Log gets what an operator wants to know. nil: nothing is logged.
	Log *slog.Logger
	// Now is the clock, and Rand the source of secrets. nil: the real ones.
	Now  func() time.Time
	Rand io.Reader

	// Disk stands between the committer and the store, for tests that cut the power. nil: nothing does.
	Disk func(Disk) Disk
}

// announced are the addresses that node_announcement names.
func (c *Config) announced(listening []net.Addr) []string {
	if len(c.Announce) > 0 {
		return c.Announce
	}
	var all []string
	for _, a := range listening {
		all = append(all, a.String())
	}
	return all
}

// Disk is where the committer writes: one call, one transaction, one sync.
type Disk interface {
	Commit(group []store.Write) error
}

// ChannelConfig is what we ask of and grant to every channel.
type ChannelConfig struct {
	MinDepth         uint32 // confirmations before channel_ready
	ToSelfDelay      uint16 // blocks, imposed on the peer
	MaxAcceptedHTLCs uint16 // 1..483
	MinCapacity      uint64 // satoshi, of a channel a peer may open
	MaxCapacity      uint64 // satoshi
	FulfillMargin    uint32 // blocks before its expiry that a fulfilled HTLC goes on chain
}

// DefaultCongestedAbove is 500 sat/vB.
const DefaultCongestedAbove chain.FeePerKw = 125_000

func (c *Config) defaults() error {
	switch {
	case c.Dir == "":
		return errors.New("dir: empty")
	case c.Params == nil:
		return errors.New("params: no network given")
	case c.Backend == nil:
		return errors.New("backend: none given")
	case len(c.Seed) < 16 || len(c.Seed) > 64:
		return fmt.Errorf("seed: %d bytes, need 16 to 64", len(c.Seed))
	case len(c.Alias) > 32:
		return fmt.Errorf("alias: %d bytes, at most 32 (BOLT 7)", len(c.Alias))
	case c.Params.Name == chaincfg.MainNetParams.Name && !mainnet:
		return errors.New("params: mainnet is not compiled in")
	}
	if c.Channel == (ChannelConfig{}) {
		c.Channel = ChannelConfig{MinDepth: 3, ToSelfDelay: 144, MaxAcceptedHTLCs: 483,
			MinCapacity: 20_000, MaxCapacity: 1_000_000_000, FulfillMargin: 18}
	}
	if n := c.Channel.MaxAcceptedHTLCs; n < 1 || n > 483 {
		return fmt.Errorf("max_accepted_htlcs: %d outside 1..483", n)
	}
	if c.CongestedAbove == 0 {
		c.CongestedAbove = DefaultCongestedAbove
	}
	if c.History == (Retention{}) {
		c.History = defaultRetention
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = cryptoRand
	}
	return nil
}
