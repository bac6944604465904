package channel_test

import (
	"strings"
	"testing"

	"lightningrod/chain"
	"lightningrod/channel"
	"lightningrod/channel/channeltest"

	"github.com/lightningnetwork/lnd/lnwire"
)

// TestHaggle: closing_signed with peers that know no fee_range, as an opener and as an accepter. they are the peer's fees in
// order, ours our answers; the last one says how it ends: agreed on that fee, or an error with that text.
func TestHaggle(t *testing.T) {
	for _, tt := range []struct {
		name   string
		opener bool
		first  int64 // what we, as the opener, begin with
		they   []int64
		ours   []int64
		agreed int64
		failed string
	}{
		{"the peer agrees at once", true, 338, []int64{338}, nil, 338, ""},
		{"in our range", true, 338, []int64{500}, []int64{500}, 500, ""},
		{"above, then in our range", true, 338, []int64{1000, 670}, []int64{669, 670}, 670, ""},
		{"above, then our answer", true, 338, []int64{1000, 669}, []int64{669}, 669, ""},
		{"far above, our answer is our highest", true, 338, []int64{10_000, 676}, []int64{676}, 676, ""},
		{"it does not come down to our highest", true, 338, []int64{10_000, 9_000}, []int64{676}, 0, "outside"},
		{"below, then in our range", true, 338, []int64{20, 175}, []int64{179, 175}, 175, ""},
		{"below our lowest", true, 338, []int64{1, 2}, []int64{171}, 0, "outside"},
		{"it goes up instead of down", true, 338, []int64{1000, 1000}, []int64{669}, 0, "not between"},
		{"it crosses our last", true, 338, []int64{1000, 5}, []int64{669}, 0, "not between"},
		{"more than it can pay", true, 338, []int64{700_000}, nil, 0, "wrong signature"},
		{"accepter: anything that is relayed", false, 0, []int64{300_000}, []int64{300_000}, 300_000, ""},
		{"accepter: too low, then our answer", false, 0, []int64{10, 171}, []int64{171}, 171, ""},
		{"accepter: too low, then more", false, 0, []int64{10, 200}, []int64{171, 200}, 200, ""},
		{"accepter: too low, again", false, 0, []int64{10, 20}, []int64{171}, 0, "outside"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := channeltest.Open(channeltest.Options{Toy: true, Push: 400_000_000})
			step(t, err)
			side := 1
			if tt.opener {
				side = 0
			}
			us, peer := p.Sides[side], p.Sides[1-side]
			step(t, p.Do(side, channel.Chain{Event: chain.FeeRates{Floor: 253, Slow: 253, Normal: 500, Urgent: 600}}))
			step(t, p.Do(side, channel.Close{}))
			us.Out = nil
			step(t, p.Do(side, channel.Received{Msg: lnwire.NewShutdown(us.State.ChannelID(), peer.Params.ShutdownScript)}))
			if tt.opener {
				expectFees(t, us, []int64{tt.first})
			}
			for _, fee := range tt.they {
				step(t, p.Do(side, channel.Received{Msg: us.State.NextClosing(peer.Crypto, fee)}))
			}
			text := ""
			for i, m := range us.Out {
				if e, ok := m.(*lnwire.Error); ok {
					text = string(e.Data)
					us.Out = us.Out[:i]
				}
			}
			expectFees(t, us, tt.ours)
			if !strings.Contains(text, tt.failed) || (text != "") != (tt.failed != "") {
				t.Errorf("error %q, expected %q", text, tt.failed)
			}
			tx := published(us)
			if us.State.Phase() != channel.PhaseClosing {
				t.Fatal(us.State)
			}
			var out int64
			for _, o := range tx.TxOut {
				out += o.Value
			}
			if tt.agreed != 0 && 1_000_000-out != tt.agreed {
				t.Errorf("fee %d, expected %d", 1_000_000-out, tt.agreed)
			}
			if tt.failed != "" && tx.TxOut[0].Value != 330 {
				t.Error("what is published is not a commitment")
			}
		})
	}
}

// expectFees takes what a side has sent and compares the fees in it.
func expectFees(t *testing.T, s *channeltest.Side, want []int64) {
	t.Helper()
	var got []int64
	for _, m := range s.Out {
		if c, ok := m.(*channel.ClosingSigned); ok {
			got = append(got, int64(c.FeeSatoshis))
		}
	}
	s.Out = nil
	if len(got) != len(want) {
		t.Fatalf("proposed %d, expected %d", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("proposed %d, expected %d", got, want)
		}
	}
}

// TestHaggleReconnected: after a reconnection the negotiation begins anew, and so does the order of the fees.
func TestHaggleReconnected(t *testing.T) {
	p, err := channeltest.Open(channeltest.Options{Toy: true, Push: 400_000_000})
	step(t, err)
	step(t, p.Do(0, channel.Close{FeePerKw: 500}))
	for p.Sides[0].State.LastFee() < 0 {
		for side := range 2 {
			_, err := p.Deliver(side)
			step(t, err)
		}
	}
	alice, bob := p.Sides[0], p.Sides[1]
	bid := func(fee int64) {
		t.Helper()
		step(t, p.Do(0, channel.Received{Msg: alice.State.NextClosing(bob.Crypto, fee)}))
	}
	bid(1000)
	step(t, p.Disconnect())
	step(t, p.Connect())
	for len(bob.Out) > 0 {
		_, err := p.Deliver(1)
		step(t, err)
	}
	bid(2000)
	if alice.State.Phase() != channel.PhaseShutdown {
		t.Fatal(alice.State)
	}
}
