package channel

import (
	"fmt"
	"strings"

	"lightningrod/chain"

	"github.com/lightningnetwork/lnd/lnwire"
)

// String is the state as text, for people and scripts. It shows no secrets.
func (s *State) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v", s.phase)
	if s.opening < openFunded {
		fmt.Fprintf(&b, " step %d", s.opening)
		return b.String()
	}
	local, remote := s.Balance()
	fmt.Fprintf(&b, "  local %d remote %d  commitments %d %d  fee %d", uint64(local), uint64(remote), s.localNumber, s.remoteNumber, s.FeePerKw())
	if s.awaiting {
		b.WriteString("  awaits revoke_and_ack")
	}
	for _, f := range s.fees[1:] {
		fmt.Fprintf(&b, "  fee %d@%d", f.rate, f.stage)
	}
	switch {
	case !s.connected:
		b.WriteString("  disconnected")
	case !s.established:
		b.WriteString("  not re-established")
	}
	if len(s.sent) > 0 {
		b.WriteString("  sent")
	}
	for i, r := range s.sent {
		if i == s.signedRefs {
			b.WriteString(" |")
		}
		fmt.Fprintf(&b, " %s%d", [...]string{refAdd: "+", refRemove: "-", refFee: "fee "}[r.kind], r.id)
	}
	htlcs := func(side string, hs []htlc) {
		for _, h := range hs {
			fmt.Fprintf(&b, "\n  %s %d amount %d stage %d", side, h.Key.HTLC, uint64(h.Amount), h.add)
			if h.outcome != nil || h.preimage != nil {
				fmt.Fprintf(&b, " %s %d", outcomeText(h.outcome, h.preimage != nil), h.remove)
			}
		}
	}
	htlcs("offered", s.offered)
	htlcs("received", s.received)
	if s.phase >= PhaseClosing {
		fmt.Fprintf(&b, "\n  %s", s.endText())
	}
	return b.String()
}

func outcomeText(o Outcome, known bool) string {
	switch o.(type) {
	case Fulfill:
		return "fulfill"
	case Fail:
		return "fail"
	case Malformed:
		return "malformed"
	}
	if known {
		return "fulfill"
	}
	return "open"
}

// DescribeMessage is a message as one word or a few, as in golden scripts.
func DescribeMessage(m lnwire.Message) string {
	switch m := m.(type) {
	case *lnwire.UpdateAddHTLC:
		return fmt.Sprintf("update_add_htlc id=%d amount=%d", m.ID, uint64(m.Amount))
	case *lnwire.UpdateFulfillHTLC:
		return fmt.Sprintf("update_fulfill_htlc id=%d", m.ID)
	case *lnwire.UpdateFailHTLC:
		return fmt.Sprintf("update_fail_htlc id=%d", m.ID)
	case *lnwire.UpdateFailMalformedHTLC:
		return fmt.Sprintf("update_fail_malformed_htlc id=%d code=%#x", m.ID, uint16(m.FailureCode))
	case *lnwire.UpdateFee:
		return fmt.Sprintf("update_fee feerate_per_kw=%d", m.FeePerKw)
	case *lnwire.CommitSig:
		return fmt.Sprintf("commitment_signed num_htlcs=%d", len(m.HtlcSigs))
	case *lnwire.RevokeAndAck:
		return "revoke_and_ack"
	case *lnwire.ChannelReestablish:
		return fmt.Sprintf("channel_reestablish next_commitment=%d next_revocation=%d", m.NextLocalCommitHeight, m.RemoteCommitTailHeight)
	case *lnwire.OpenChannel:
		return fmt.Sprintf("open_channel funding=%d push=%d", int64(m.FundingAmount), uint64(m.PushAmount))
	case *lnwire.AcceptChannel:
		return fmt.Sprintf("accept_channel minimum_depth=%d", m.MinAcceptDepth)
	case *lnwire.FundingCreated:
		return "funding_created"
	case *lnwire.FundingSigned:
		return "funding_signed"
	case *lnwire.ChannelReady:
		return "channel_ready"
	case *lnwire.Shutdown:
		return "shutdown"
	case *lnwire.ClosingSigned:
		return fmt.Sprintf("closing_signed fee=%d", int64(m.FeeSatoshis))
	case *ClosingSigned:
		if r, ok := decodeFeeRange(m.ExtraData); ok {
			return fmt.Sprintf("closing_signed fee=%d range=%d..%d", int64(m.FeeSatoshis), r.low, r.high)
		}
		return fmt.Sprintf("closing_signed fee=%d", int64(m.FeeSatoshis))
	case *lnwire.Error:
		return "error " + printable(m.Data)
	case *lnwire.Warning:
		return "warning " + printable(m.Data)
	}
	return fmt.Sprintf("%v", m.MsgType())
}

// messageName is the BOLT's name of a message.
func messageName(m lnwire.Message) string {
	name, _, _ := strings.Cut(DescribeMessage(m), " ")
	return name
}

// DescribeNotice is a notice as in golden scripts.
func DescribeNotice(n Notice) string {
	switch n := n.(type) {
	case Committed:
		return fmt.Sprintf("committed %d", n.HTLC.Key.HTLC)
	case Resolved:
		return fmt.Sprintf("resolved %d %s", n.Key.HTLC, outcomeText(n.Outcome, false))
	case Settled:
		return fmt.Sprintf("settled %d %s", n.Key.HTLC, outcomeText(n.Outcome, false))
	case Refused:
		return "refused " + n.Err.Error()
	case Declined:
		return "declined " + n.Err.Error()
	case Usable:
		return fmt.Sprintf("usable out=%d in=%d", uint64(n.Out.Max), uint64(n.In.Max))
	case Unusable:
		return "unusable"
	case NeedFunding:
		return fmt.Sprintf("need_funding %d", n.Amount)
	case Ready:
		return fmt.Sprintf("ready %v", n.ShortID)
	case Deep:
		return fmt.Sprintf("deep %v", n.ShortID)
	case ShuttingDown:
		return "shutting_down"
	case OnChain:
		return "on_chain"
	case Bump:
		return fmt.Sprintf("bump output=%d rate=%d most=%d deadline=%d", n.Out.Index, n.Rate, n.MaxFee, n.Deadline)
	case Release:
		return "release"
	case NeedRevoked:
		return fmt.Sprintf("need_revoked %d", n.Number)
	case Warn:
		return "warn " + n.Text
	case Closed:
		return "closed"
	case Abandoned:
		return "abandoned " + n.Reason
	case Violated:
		return "violated " + n.Err.Error()
	case PeerSaid:
		return "peer_said " + n.Text
	}
	return fmt.Sprintf("%T", n)
}

// DescribeRequest is a chain request as in golden scripts.
func DescribeRequest(r chain.Request) string {
	switch r := r.(type) {
	case chain.WatchTx:
		return "watch_tx"
	case chain.WatchSpend:
		return fmt.Sprintf("watch_spend %d", r.Out.Index)
	case chain.Publish:
		return fmt.Sprintf("publish inputs=%d outputs=%d", len(r.Tx.TxIn), len(r.Tx.TxOut))
	}
	return fmt.Sprintf("%T", r)
}

// DescribeSave is the rows of a turn as in golden scripts.
func DescribeSave(s Save) string {
	if s.Delete {
		return "delete"
	}
	var words []string
	if s.Core != nil {
		words = append(words, "core")
	}
	for _, h := range s.Add {
		side := "received"
		if h.Origin != nil {
			side = "offered"
		}
		words = append(words, fmt.Sprintf("body(%s %d)", side, h.Key.HTLC))
	}
	for _, k := range s.Remove {
		side := "received"
		if k.Offered {
			side = "offered"
		}
		words = append(words, fmt.Sprintf("drop(%s %d)", side, k.HTLC))
	}
	for _, r := range s.Revoked {
		words = append(words, fmt.Sprintf("revoked(%d)", r.Number))
	}
	return strings.Join(words, " ")
}
