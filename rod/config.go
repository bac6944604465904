package rod

import "fmt"

// Config is an LSP's policy for holds. DefaultConfig gives the specification's figures.
type Config struct {
	Enabled bool
	LSP     NodeID // our node id: part of what a request signs

	MinCltvDelta uint32 // blocks: the least E_in - E_out of a held HTLC; every channel advertises at least this
	ClaimMargin  uint32 // blocks before E_in at which an undelivered preimage is claimed on chain; at least 24
	WakeBlocks   uint32 // blocks a sleeping payer is given to come and fetch its preimage
	DefaultHold  uint32 // blocks a hold lasts when no release_deadline is asked
	MaxHold      uint32 // blocks a hold lasts at most
	MaxExpiry    uint32 // blocks: the greatest E_in - height (BOLT 4 max_htlc_cltv)

	ArmedTTL    int64 // seconds a request waits for its first HTLC when it does not say
	MaxArmedTTL int64 // seconds, at most
	PartsWait   int64 // seconds an unblocked request waits for the rest of total_msat
	Tombstone   int64 // seconds a finished pid_hash is remembered

	ArmedPerPeer      int    // requests of one peer that are armed or wait for a first HTLC
	HeldPerPeer       int    // HTLCs held for one peer
	MaxHeldMsat       uint64 // msat held for one peer; 0 is no limit but that of the channel
	InFlightPercent   uint64 // share of a channel's max_htlc_value_in_flight_msat that may be held
	MaxRequests       int    // in all
	RequestsPerSecond int64  // of one peer
	RequestBurst      int64
	TombstonesPerPeer int // the oldest go first
}

// Fixed figures of the specification.
const (
	minHoldBlocks    = 6   // a deadline nearer than this is no hold
	nextHopBlocks    = 42  // what E_out must still leave to the hop after us at release
	unaskedBlocks    = 288 // more of it when the payer named no deadline, for the hops we cannot see
	minClaimMargin   = 24  // blocks
	claimConfirm     = 26  // blocks a claim needs beyond its margin
	maxReplyPathSize = 4096
)

// DefaultConfig is the specification's policy for the node lsp.
func DefaultConfig(lsp NodeID) Config {
	return Config{
		Enabled: true, LSP: lsp,
		MinCltvDelta: 144, ClaimMargin: 72, WakeBlocks: 46,
		DefaultHold: 432, MaxHold: 1008, MaxExpiry: 2016,
		ArmedTTL: 600, MaxArmedTTL: 3600, PartsWait: 60, Tombstone: 30 * 86400,
		ArmedPerPeer: 20, HeldPerPeer: 30, InFlightPercent: 50, MaxRequests: 10_000,
		RequestsPerSecond: 1, RequestBurst: 10, TombstonesPerPeer: 1000,
	}
}

// Validate says why a policy cannot be run safely, or nil.
func (c Config) Validate() error {
	least := func(name string, v, min int64) error {
		if v < min {
			return fmt.Errorf("%s %d below minimum %d", name, v, min)
		}
		return nil
	}
	most := func(name string, v, max int64) error {
		if v > max {
			return fmt.Errorf("%s %d above maximum %d", name, v, max)
		}
		return nil
	}
	for _, err := range []error{
		least("claim margin", int64(c.ClaimMargin), minClaimMargin),
		// A settlement that travels at the normal pace must not already be past the margin.
		least("min_cltv_delta", int64(c.MinCltvDelta), int64(c.ClaimMargin)+claimConfirm+int64(c.WakeBlocks)),
		most("max expiry", int64(c.MaxExpiry), 2016),
		most("max hold", int64(c.MaxHold), int64(c.MaxExpiry)),
		least("default hold", int64(c.DefaultHold), minHoldBlocks),
		most("default hold", int64(c.DefaultHold), int64(c.MaxHold)),
		least("armed ttl", c.ArmedTTL, 1),
		most("armed ttl", c.ArmedTTL, c.MaxArmedTTL),
		least("parts wait", c.PartsWait, 0),
		least("tombstone", c.Tombstone, c.MaxArmedTTL),
		least("armed requests per peer", int64(c.ArmedPerPeer), 1),
		least("held HTLCs per peer", int64(c.HeldPerPeer), 1),
		least("in-flight percent", int64(c.InFlightPercent), 1),
		most("in-flight percent", int64(c.InFlightPercent), 100),
		least("requests", int64(c.MaxRequests), 1),
		least("requests per second", c.RequestsPerSecond, 1),
		least("request burst", c.RequestBurst, 1),
		least("tombstones per peer", int64(c.TombstonesPerPeer), 1),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}
