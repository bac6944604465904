package node

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"lightningrod/node/forward"
	"lightningrod/onion"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Failure is why a part of a payment of ours came to nothing.
type Failure struct {
	Hop  int      // who says so: 0 is the first node after us; -1: nobody, or it cannot be told
	Node [33]byte // that hop's id; in a blinded path the blinded one
	Code string   // the failure as BOLT 4 names it; empty: none was given
	Text string   // the same for people, with what the failure tells
}

func (f Failure) String() string {
	if f.Hop < 0 {
		return f.Text
	}
	return fmt.Sprintf("hop %d: %s", f.Hop, f.Text)
}

// failureOf reads why a part failed. It does as many scalar multiplications as the route has hops, so no mutex should be held.
func failureOf(p forward.Part) Failure {
	if len(p.Reason) == 0 {
		return Failure{Hop: -1, Text: "no reason given: the HTLC was not offered, or ended on chain"}
	}
	if len(p.Secrets) < 32+33 || (len(p.Secrets)-32)%33 != 0 {
		return Failure{Hop: -1, Text: "unreadable"}
	}
	var nodes [][33]byte
	for at := 32; at < len(p.Secrets); at += 33 {
		nodes = append(nodes, [33]byte(p.Secrets[at:at+33]))
	}
	if len(p.Reason) == forward.MalformedReason {
		code := lnwire.FailCode(binary.BigEndian.Uint16(p.Reason))
		return Failure{Hop: 0, Node: nodes[0], Code: failureName(code), Text: failureName(code)}
	}
	hop, msg, err := onion.SecretsOf([32]byte(p.Secrets[:32]), nodes).Decode(p.Reason)
	f := Failure{Hop: hop}
	if hop >= 0 {
		f.Node = nodes[hop]
	}
	if err != nil {
		f.Text = err.Error()
		return f
	}
	f.Code = failureName(msg.Code())
	f.Text = f.Code + failureFacts(msg)
	return f
}

// failureFacts is what a failure tells besides its name, in the words of BOLT 4 "Failure Messages".
func failureFacts(msg lnwire.FailureMessage) string {
	with := func(u *lnwire.ChannelUpdate1) string {
		if u == nil {
			return ""
		}
		return fmt.Sprintf(", channel_update of %v", u.ShortChannelID)
	}
	switch m := msg.(type) {
	case *lnwire.FailIncorrectDetails:
		return fmt.Sprintf(" (htlc_msat %d, height %d)", uint64(m.Amount()), m.Height())
	case *lnwire.FailTemporaryChannelFailure:
		return with(m.Update)
	case *lnwire.FailAmountBelowMinimum:
		return fmt.Sprintf(" (htlc_msat %d)%s", uint64(m.HtlcMsat), with(&m.Update))
	case *lnwire.FailFeeInsufficient:
		return fmt.Sprintf(" (htlc_msat %d)%s", uint64(m.HtlcMsat), with(&m.Update))
	case *lnwire.FailIncorrectCltvExpiry:
		return fmt.Sprintf(" (cltv_expiry %d)%s", m.CltvExpiry, with(&m.Update))
	case *lnwire.FailExpiryTooSoon:
		return with(&m.Update)
	case *lnwire.FailChannelDisabled:
		return with(&m.Update)
	case *lnwire.FailFinalIncorrectCltvExpiry:
		return fmt.Sprintf(" (cltv_expiry %d)", m.CltvExpiry)
	case *lnwire.FailFinalIncorrectHtlcAmount:
		return fmt.Sprintf(" (incoming_htlc_amt %d msat)", uint64(m.IncomingHTLCAmount))
	case *lnwire.InvalidOnionPayload:
		return fmt.Sprintf(" (type %d, offset %d)", m.Type, m.Offset)
	}
	return ""
}

// failureName is BOLT 4's word for a code, which lnwire writes as a Go name.
func failureName(code lnwire.FailCode) string {
	name := code.String()
	if code == lnwire.CodeInvalidBlinding {
		name = "InvalidOnionBlinding"
	}
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsLetter(r) }) {
		return fmt.Sprintf("failure_code %d", uint16(code))
	}
	var b strings.Builder
	lower := func(i int) bool { return i < len(name) && unicode.IsLower(rune(name[i])) }
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) && (lower(i-1) || lower(i+1)) { // MPPTimeout too
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// explain is the failure of a part as an event tells it.
func explain(x forward.PaymentPartFailed) string {
	if x.Err != nil {
		return "not offered: " + x.Err.Error()
	}
	return failureOf(x.Part).String()
}

// lastFailure is that of the part that was tried last, if it came with a reason; else of the last that did.
func lastFailure(p forward.Payment) *Failure {
	failed := slices.DeleteFunc(slices.Clone(p.Parts), func(x forward.Part) bool { return x.State != forward.PartFailed })
	if len(failed) == 0 {
		return nil
	}
	slices.SortStableFunc(failed, func(a, b forward.Part) int {
		switch {
		case len(a.Reason) > 0 && len(b.Reason) == 0:
			return -1
		case len(a.Reason) == 0 && len(b.Reason) > 0:
			return 1
		}
		return int(b.Index) - int(a.Index)
	})
	f := failureOf(failed[0])
	return &f
}
