package channel_test

import (
	"encoding/binary"
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
		{"far above, our answer leaves room", true, 338, []int64{10_000, 380}, []int64{380}, 380, ""},
		{"it comes down slowly", true, 338, []int64{10_000, 9_000, 8_100, 600}, []int64{380, 417, 449, 600}, 600, ""},
		{"it does not come down to our highest", true, 338, above(10_000, 100), rising(338, 676), 0, "outside"},
		{"below, then in our range", true, 338, []int64{20, 175}, []int64{179, 175}, 175, ""},
		{"far below, our answer leaves room", true, 338, []int64{1, 2}, []int64{318, 300}, 0, ""},
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
			if tt.agreed == 0 && tt.failed == "" {
				return // they have not come to an end
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

// TestFeeRange: an opener whose estimate is low meets an accepter that wants more. What is not worth a quarrel is paid.
func TestFeeRange(t *testing.T) {
	for _, tt := range []struct {
		low, high, fee int64
		agreed         bool
	}{{962, 2000, 962, true}, {1690, 5000, 1690, true}, {1691, 5000, 1691, false}, {100, 170, 170, false}} {
		p, err := channeltest.Open(channeltest.Options{Toy: true, Push: 400_000_000})
		step(t, err)
		us, peer := p.Sides[0], p.Sides[1]
		step(t, p.Do(0, channel.Chain{Event: chain.FeeRates{Floor: 253, Slow: 253, Normal: 253, Urgent: 253}}))
		step(t, p.Do(0, channel.Close{}))
		step(t, p.Do(0, channel.Received{Msg: lnwire.NewShutdown(us.State.ChannelID(), peer.Params.ShutdownScript)}))
		m := us.State.NextClosing(peer.Crypto, tt.fee)
		m.ExtraData = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte{1, 16}, uint64(tt.low)), uint64(tt.high))
		us.Out = nil
		step(t, p.Do(0, channel.Received{Msg: m}))
		if agreed := us.State.Phase() == channel.PhaseClosing; agreed != tt.agreed {
			t.Errorf("fee %d of %d..%d: agreed %t; %v", tt.fee, tt.low, tt.high, agreed, us.State)
		}
		if us.State.Phase() > channel.PhaseClosing {
			t.Errorf("fee %d of %d..%d: %v", tt.fee, tt.low, tt.high, us.State)
		}
	}
}

// above are fees that fall by one each.
func above(from int64, n int) (fees []int64) {
	for i := range n {
		fees = append(fees, from-int64(i))
	}
	return fees
}

// rising are our answers to a peer that stays too high: an eighth of what is left, at least one satoshi, up to our highest.
func rising(first, highest int64) (fees []int64) {
	for fee := first; fee < highest; {
		fee += max((highest-fee)/8, 1)
		fees = append(fees, fee)
	}
	return fees
}

// TestHaggleWithLnd: lnd knows no fee_range, and moves a tenth a round from its own estimate, which may be many times ours. It takes
// a fee once that is within three tenths of its last.
func TestHaggleWithLnd(t *testing.T) {
	p, err := channeltest.Open(channeltest.Options{Toy: true, Push: 400_000_000})
	step(t, err)
	us, peer := p.Sides[0], p.Sides[1]
	step(t, p.Do(0, channel.Chain{Event: chain.FeeRates{Floor: 253, Slow: 253, Normal: 253, Urgent: 253}}))
	step(t, p.Do(0, channel.Close{}))
	step(t, p.Do(0, channel.Received{Msg: lnwire.NewShutdown(us.State.ChannelID(), peer.Params.ShutdownScript)}))
	for last, rounds := int64(4343), 0; us.State.Phase() != channel.PhaseClosing; rounds++ {
		if rounds == 50 {
			t.Fatal("no agreement after 50 rounds")
		}
		if ours := us.State.LastFee(); ours >= last*7/10 {
			last = ours
		} else if rounds > 0 {
			last -= last / 10
		}
		us.Out = nil
		step(t, p.Do(0, channel.Received{Msg: us.State.NextClosing(peer.Crypto, last)}))
		for _, m := range us.Out {
			if e, ok := m.(*lnwire.Error); ok {
				t.Fatalf("round %d, fee %d: %s", rounds, last, e.Data)
			}
		}
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
