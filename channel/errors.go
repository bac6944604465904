package channel

import (
	"errors"
	"fmt"
)

// Reason says why a local command was refused. Forwarding turns it into a failure message of BOLT 4.
type Reason uint8

const (
	ReasonNotUsable     Reason = iota + 1 // not ready, not re-established, shutting down or closing
	ReasonBalance                         // the amount, the reserve and the fee exceed our balance
	ReasonPeerFee                         // the peer, who pays the fee, could not afford one more HTLC
	ReasonFeeBuffer                       // nothing would be left for a rise of the fee rate (BOLT 2 "fee spike buffer")
	ReasonTooManyHTLCs                    // max_accepted_htlcs of the peer
	ReasonInFlight                        // max_htlc_value_in_flight_msat of the peer
	ReasonBelowMinimum                    // htlc_minimum_msat of the peer, or zero
	ReasonDustExposure                    // too much would be lost to fees if the channel closed now
	ReasonExpiry                          // cltv_expiry already reached, or not a block height
	ReasonForgotten                       // was never signed for, and the connection broke
	ReasonBadHTLC                         // its TLV stream or path_key does not parse
	ReasonNotOpener                       // update_fee is the opener's
	ReasonFeeRate                         // outside our own bounds
	ReasonClosed                          // on the way to the chain
	ReasonBadParameters                   // an Open or Funding that cannot work
	ReasonFeePending                      // an earlier change of the fee rate is not in both commitments yet
)

var reasonText = [...]string{
	ReasonNotUsable:     "not usable",
	ReasonBalance:       "insufficient balance",
	ReasonPeerFee:       "peer cannot pay the fee",
	ReasonFeeBuffer:     "no fee buffer left",
	ReasonTooManyHTLCs:  "too many htlcs",
	ReasonInFlight:      "too much in flight",
	ReasonBelowMinimum:  "below minimum",
	ReasonDustExposure:  "dust exposure",
	ReasonExpiry:        "expiry",
	ReasonForgotten:     "forgotten",
	ReasonBadHTLC:       "malformed htlc",
	ReasonNotOpener:     "not the opener",
	ReasonFeeRate:       "fee rate",
	ReasonClosed:        "closed",
	ReasonBadParameters: "bad parameters",
	ReasonFeePending:    "fee change pending",
}

func (r Reason) String() string {
	if int(r) < len(reasonText) && reasonText[r] != "" {
		return reasonText[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Refusal is the error of a local command that cannot be done. The channel is unchanged.
type Refusal struct {
	Reason Reason
	Text   string
}

func (e *Refusal) Error() string { return e.Reason.String() + ": " + e.Text }

func refuse(r Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: r, Text: fmt.Sprintf(format, args...)}
}

// Severity is what a Violation costs the peer.
type Severity uint8

const (
	// SeverityWarn: a warning is sent and the message ignored; nothing was at stake.
	SeverityWarn Severity = iota
	// SeverityFail: an error is sent and the channel fails: it is abandoned while nothing is at stake, else our commitment is published.
	SeverityFail
)

// Violation is the error of a message by which the peer broke a rule. Text goes to the peer: it shows what the peer
// sent and the bound, nothing of ours.
type Violation struct {
	BOLT     string // section, for example `BOLT 2 "Adding an HTLC"`
	Text     string
	Severity Severity
}

func (e *Violation) Error() string { return e.Text + " (" + e.BOLT + ")" }

// violation fails the channel.
func violation(bolt, format string, args ...any) *Violation {
	return &Violation{BOLT: bolt, Text: fmt.Sprintf(format, args...), Severity: SeverityFail}
}

// misstep only warns.
func misstep(bolt, format string, args ...any) *Violation {
	return &Violation{BOLT: bolt, Text: fmt.Sprintf(format, args...), Severity: SeverityWarn}
}

// Bugs: apply.go panics with them.
var (
	errWrongFunding = errors.New("our own funding transaction does not pay the channel")
	errLostUpdate   = errors.New("a signed update is gone")
)
