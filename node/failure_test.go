package node

import (
	"testing"

	"lightningrod/node/forward"

	"github.com/lightningnetwork/lnd/lnwire"
)

func TestFailureName(t *testing.T) {
	for code, want := range map[lnwire.FailCode]string{
		lnwire.CodeTemporaryChannelFailure: "temporary_channel_failure", lnwire.CodeMPPTimeout: "mpp_timeout",
		lnwire.CodeIncorrectOrUnknownPaymentDetails: "incorrect_or_unknown_payment_details", 4000: "failure_code 4000",
	} {
		if got := failureName(code); got != want {
			t.Errorf("%d is %q, want %q", code, got, want)
		}
	}
}

// TestFailureOf: what cannot be read is said, and never panics.
func TestFailureOf(t *testing.T) {
	secrets := append(make([]byte, 32+32), 9) // a session key of zeros, a node that is none
	for _, x := range []struct {
		name string
		part forward.Part
		want string
	}{
		{"no reason", forward.Part{Secrets: secrets}, "no reason given: the HTLC was not offered, or ended on chain"},
		{"no secrets", forward.Part{Reason: make([]byte, 292)}, "unreadable"},
		{"half a node", forward.Part{Reason: make([]byte, 292), Secrets: secrets[:50]}, "unreadable"},
		{"malformed, no hops", forward.Part{Reason: []byte{0xc0, 5}, Secrets: secrets[:32]}, "unreadable"},
		{"malformed", forward.Part{Reason: []byte{0xc0, 5}, Secrets: secrets}, "hop 0: invalid_onion_hmac"},
	} {
		if got := failureOf(x.part).String(); got != x.want {
			t.Errorf("%s: %q, want %q", x.name, got, x.want)
		}
	}
	if f := failureOf(forward.Part{Reason: make([]byte, 292), Secrets: secrets}); f.Hop != -1 || f.Text == "" {
		t.Errorf("%+v", f)
	}
	reason := func(n int) forward.Part { return forward.Part{State: forward.PartFailed, Index: uint32(n)} }
	said := reason(1)
	said.Reason, said.Secrets = []byte{0xc0, 5}, secrets
	f := lastFailure(forward.Payment{Parts: []forward.Part{reason(0), said, reason(2), {Index: 3}}})
	if f == nil || f.Code != "invalid_onion_hmac" {
		t.Errorf("the last that says something: %+v", f)
	}
	if f := lastFailure(forward.Payment{Parts: []forward.Part{{Index: 3}}}); f != nil {
		t.Errorf("none failed: %+v", f)
	}
}
