package forward

import (
	"math/bits"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Policy is what this node asks of HTLCs it forwards into one channel: its own side of the channel's
// channel_update (BOLT 7).
type Policy struct {
	FeeBase         lnwire.MilliSatoshi // fee_base_msat
	FeePPM          uint32              // fee_proportional_millionths
	CltvExpiryDelta uint16              // blocks
	HTLCMinimum     lnwire.MilliSatoshi // htlc_minimum_msat
	HTLCMaximum     lnwire.MilliSatoshi // htlc_maximum_msat; 0: no limit but the channel's
	Disabled        bool
	// Update is the channel_update to enclose in failures, with the short_channel_id the sender used. BOLT 4
	// "Failure Messages" lets it be empty, but lnwire (so lnd) cannot decode most failures without it.
	Update []byte
}

// Fee is what forwarding amount into the channel costs, rounded down as in BOLT 7 "HTLC Fees", and whether that
// fits 64 bits.
func (p *Policy) Fee(amount lnwire.MilliSatoshi) (lnwire.MilliSatoshi, bool) {
	hi, lo := bits.Mul64(uint64(amount), uint64(p.FeePPM))
	if hi >= 1_000_000 {
		return 0, false
	}
	part, _ := bits.Div64(hi, lo, 1_000_000)
	fee, carry := bits.Add64(part, uint64(p.FeeBase), 0)
	return lnwire.MilliSatoshi(fee), carry == 0
}

// pays reports whether an incoming amount covers an outgoing one and the fee for it.
func (p *Policy) pays(in, out lnwire.MilliSatoshi) bool {
	fee, ok := p.Fee(out)
	return ok && in >= out && in-out >= fee
}

// Config is what does not depend on a channel. Heights are in blocks, times in seconds.
type Config struct {
	// MaxExpiry is how far cltv_expiry may lie ahead: BOLT 4 max_htlc_cltv.
	MaxExpiry uint32
	// OutgoingMargin is the least that an outgoing cltv_expiry must lie ahead.
	OutgoingMargin uint32
	// FinalMargin is the least that the cltv_expiry of a part for us must lie ahead when the set is settled: BOLT 2
	// "cltv_expiry_delta Selection", the deadline of received HTLCs we fulfill.
	FinalMargin uint32
	// PartsWait is how long the first part of an incomplete set waits for the others.
	PartsWait int64
	// WakeWait is how long an HTLC waits for a peer that is being woken.
	WakeWait int64
	// WaitPerPeer is how many HTLCs may wait for one peer before ordinary ones are failed at once.
	WaitPerPeer int
	// RestartWait is how long after our start an HTLC waits for channels to be re-established.
	RestartWait int64
	// Keysend says whether payments without an invoice are accepted.
	Keysend bool
}

// DefaultConfig has the numbers of BOLT 2 and 4.
func DefaultConfig() Config {
	return Config{
		MaxExpiry:      2016,
		OutgoingMargin: 3,
		FinalMargin:    18,
		PartsWait:      60,
		WakeWait:       60,
		WaitPerPeer:    30,
		RestartWait:    60,
	}
}
