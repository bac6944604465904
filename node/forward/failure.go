package forward

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"lightningrod/channel"

	"github.com/lightningnetwork/lnd/lnwire"
)

// message is a failure message given by its code and bytes. It is used where lnwire's own types insist on a
// parsed channel_update, which BOLT 4 lets us leave out, or are one type for each bad-onion code.
type message struct {
	code lnwire.FailCode
	text string
	data []byte
}

func (m *message) Code() lnwire.FailCode { return m.code }
func (m *message) Error() string         { return m.text }

// Encode appends what follows the failure_code.
func (m *message) Encode(w *bytes.Buffer, _ uint32) error {
	_, err := w.Write(m.data)
	return err
}

// Decode makes message an lnwire.Serializable, which is what EncodeFailureMessage looks for. Failures that come in
// are decoded by onion.
func (m *message) Decode(io.Reader, uint32) error {
	return fmt.Errorf("failure message of code %d is only ever sent", m.code)
}

// updated is a message of BOLT 4 with the UPDATE flag: its own fields, then the channel_update.
func updated(code lnwire.FailCode, text string, fields, update []byte) lnwire.FailureMessage {
	data := make([]byte, 0, len(fields)+2+len(update))
	data = append(data, fields...)
	data = binary.BigEndian.AppendUint16(data, uint16(len(update)))
	data = append(data, update...)
	return &message{code: code, text: text, data: data}
}

func temporaryChannelFailure(p Policy) lnwire.FailureMessage {
	return updated(lnwire.CodeTemporaryChannelFailure, "temporary_channel_failure", nil, p.Update)
}

func amountBelowMinimum(htlc lnwire.MilliSatoshi, p Policy) lnwire.FailureMessage {
	return updated(lnwire.CodeAmountBelowMinimum,
		fmt.Sprintf("amount_below_minimum: %d msat below %d", htlc, p.HTLCMinimum), be64(uint64(htlc)), p.Update)
}

func feeInsufficient(in, out lnwire.MilliSatoshi, p Policy) lnwire.FailureMessage {
	return updated(lnwire.CodeFeeInsufficient,
		fmt.Sprintf("fee_insufficient: %d msat in, %d out, base %d, ppm %d", in, out, p.FeeBase, p.FeePPM),
		be64(uint64(in)), p.Update)
}

func incorrectCltvExpiry(in, out uint32, p Policy) lnwire.FailureMessage {
	return updated(lnwire.CodeIncorrectCltvExpiry,
		fmt.Sprintf("incorrect_cltv_expiry: %d in, %d out, cltv_expiry_delta %d", in, out, p.CltvExpiryDelta),
		binary.BigEndian.AppendUint32(nil, out), p.Update)
}

func expiryTooSoon(p Policy) lnwire.FailureMessage {
	return updated(lnwire.CodeExpiryTooSoon, "expiry_too_soon", nil, p.Update)
}

func channelDisabled(p Policy) lnwire.FailureMessage {
	return updated(lnwire.CodeChannelDisabled, "channel_disabled", []byte{0, 0}, p.Update)
}

func unknownNextPeer() lnwire.FailureMessage         { return &lnwire.FailUnknownNextPeer{} }
func permanentChannelFailure() lnwire.FailureMessage { return &lnwire.FailPermanentChannelFailure{} }
func temporaryNodeFailure() lnwire.FailureMessage    { return &lnwire.FailTemporaryNodeFailure{} }
func expiryTooFar() lnwire.FailureMessage            { return &lnwire.FailExpiryTooFar{} }
func mppTimeout() lnwire.FailureMessage              { return &lnwire.FailMPPTimeout{} }

// badOnion passes on what a downstream update_fail_malformed_htlc said, or invalid_onion_blinding.
// BOLT 2 "Removing an HTLC": the failure_code given, with sha256_of_onion as its data.
func badOnion(code uint16, onion [32]byte) lnwire.FailureMessage {
	return &message{
		code: lnwire.FailCode(code),
		text: fmt.Sprintf("bad onion: failure_code %d", code),
		data: onion[:],
	}
}

func be64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

// refuse is how an incoming HTLC is failed with a message of ours. Inside a blinded path it is always
// invalid_onion_blinding, whatever the message (onion.Hop.Refuse).
func (in *incoming) refuse(msg lnwire.FailureMessage, clear []Row) Command {
	failure := in.failure
	if in.hop != nil {
		failure = in.hop.Refuse(msg)
	}
	if failure.Malformed {
		outcome := channel.Malformed{Code: failure.Code, OnionHash: failure.OnionHash}
		return Settle{Key: in.htlc.Key, Outcome: outcome, Clear: clear}
	}
	return FailWith{HTLC: in.htlc, Message: failure.Message, Clear: clear}
}

// relay is how an incoming HTLC is failed because its outgoing one was.
func (in *incoming) relay(downstream channel.Outcome, clear []Row) Command {
	switch d := downstream.(type) {
	case channel.Malformed:
		return in.refuse(badOnion(d.Code, d.OnionHash), clear)
	case channel.Fail:
		if in.hop == nil || in.hop.Blinded {
			return in.refuse(temporaryNodeFailure(), clear)
		}
		if len(d.Reason) == 0 {
			// Nobody downstream said why: the HTLC timed out on chain, or was never in the commitment that confirmed.
			return in.refuse(permanentChannelFailure(), clear)
		}
		// The message's attribution data is not passed on: with our layer missing from it, it would blame us.
		return WrapWith{HTLC: in.htlc, Reason: d.Reason, Clear: clear}
	}
	panic("forward: an outgoing HTLC failed with a preimage")
}
