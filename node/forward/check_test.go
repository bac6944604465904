package forward

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"lightningrod/channel"
	"lightningrod/onion"

	"github.com/lightningnetwork/lnd/lnwire"
)

// TestCheck has one line for each limit of check, on it and past it. The tip is 1000; the channel asks 1000 msat + 100 ppm
// and 144 blocks, from 1000 to 2000000 msat.
func TestCheck(t *testing.T) {
	tests := []struct {
		name            string
		amount, forward lnwire.MilliSatoshi
		expiry, cltv    uint32
		change          func(*Channel, *Offered)
		want            lnwire.FailCode // 0: forwarded
		field           uint64          // htlc_msat or cltv_expiry of the failure
	}{
		{name: "exact fee", amount: 1_001_100, forward: 1_000_000, expiry: 1300, cltv: 1156},
		{name: "fee short by 1", amount: 1_001_099, forward: 1_000_000, expiry: 1300, cltv: 1156,
			want: lnwire.CodeFeeInsufficient, field: 1_001_099},
		{name: "fee rounded down", amount: 2000, forward: 1000, expiry: 1300, cltv: 1156},
		{name: "forwards more than came", amount: 1_000_000, forward: 1_000_001, expiry: 1300, cltv: 1156,
			want: lnwire.CodeFeeInsufficient, field: 1_000_000},
		{name: "fee overflows", amount: math.MaxUint64, forward: math.MaxUint64 - 1, expiry: 1300, cltv: 1156,
			change: func(c *Channel, _ *Offered) { c.Policy.HTLCMaximum = 0; c.Policy.FeePPM = math.MaxUint32 },
			want:   lnwire.CodeFeeInsufficient, field: math.MaxUint64},
		{name: "at htlc_minimum_msat", amount: 2000, forward: 1000, expiry: 1300, cltv: 1156},
		{name: "below htlc_minimum_msat", amount: 2000, forward: 999, expiry: 1300, cltv: 1156,
			want: lnwire.CodeAmountBelowMinimum, field: 999},
		{name: "nothing", amount: 2000, forward: 0, expiry: 1300, cltv: 1156,
			change: func(c *Channel, _ *Offered) { c.Policy.HTLCMinimum = 0 },
			want:   lnwire.CodeAmountBelowMinimum},
		{name: "at htlc_maximum_msat", amount: 2_001_200, forward: 2_000_000, expiry: 1300, cltv: 1156},
		{name: "above htlc_maximum_msat", amount: 3_000_000, forward: 2_000_001, expiry: 1300, cltv: 1156,
			want: lnwire.CodeTemporaryChannelFailure},
		{name: "delta short by 1", amount: 1_001_100, forward: 1_000_000, expiry: 1299, cltv: 1156,
			want: lnwire.CodeIncorrectCltvExpiry, field: 1156},
		{name: "outgoing expiry overflows", amount: 1_001_100, forward: 1_000_000, expiry: 1299, cltv: math.MaxUint32,
			want: lnwire.CodeIncorrectCltvExpiry, field: math.MaxUint32},
		{name: "outgoing expiry near", amount: 1_001_100, forward: 1_000_000, expiry: 1200, cltv: 1004},
		{name: "outgoing expiry too near", amount: 1_001_100, forward: 1_000_000, expiry: 1200, cltv: 1003,
			want: lnwire.CodeExpiryTooSoon},
		{name: "incoming expiry near", amount: 1_001_100, forward: 1_000_000, expiry: 1145, cltv: 1140,
			change: func(c *Channel, _ *Offered) { c.Policy.CltvExpiryDelta = 5 }},
		{name: "past", amount: 1_001_100, forward: 1_000_000, expiry: 900, cltv: 700, want: lnwire.CodeExpiryTooSoon},
		{name: "zero expiries", amount: 1_001_100, forward: 1_000_000, want: lnwire.CodeIncorrectCltvExpiry},
		{name: "at max_htlc_cltv", amount: 1_001_100, forward: 1_000_000, expiry: 3016, cltv: 2000},
		{name: "above max_htlc_cltv", amount: 1_001_100, forward: 1_000_000, expiry: 3017, cltv: 2000,
			want: lnwire.CodeExpiryTooFar},
		{name: "disabled", amount: 1_001_100, forward: 1_000_000, expiry: 1300, cltv: 1156,
			change: func(c *Channel, _ *Offered) { c.Policy.Disabled = true },
			want:   lnwire.CodeChannelDisabled},
		{name: "scid zero", amount: 1_001_100, forward: 1_000_000, expiry: 1300, cltv: 1156,
			change: func(_ *Channel, o *Offered) { o.Hop.NextSCID = lnwire.ShortChannelID{} },
			want:   lnwire.CodeUnknownNextPeer},
		{name: "first of two failures", amount: 999, forward: 999, expiry: 5000, cltv: 4999,
			want: lnwire.CodeAmountBelowMinimum, field: 999},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			key := channel.Key{Channel: 1, HTLC: 0}
			o := forwardOffer(key, "alice", "h", test.amount, test.expiry, 22)
			o.Hop.Amount, o.Hop.Cltv = test.forward, test.cltv
			c := Channel{ID: 2, Peer: nodeID("carol"), SCIDs: []lnwire.ShortChannelID{{}, scidOf(22)}, Policy: standardPolicy()}
			c.Policy.HTLCMaximum = 2_000_000
			if test.change != nil {
				test.change(&c, &o)
			}
			w.introduce(Channel{ID: 1, Peer: nodeID("alice")})
			w.introduce(c)
			w.handle(Usable{ID: 2, Out: channel.Capacity{Max: math.MaxUint64, Slots: 1}}, nil)
			out := w.offer(o)
			if len(out.Commands) != 1 {
				t.Fatalf("%d commands", len(out.Commands))
			}
			switch cmd := out.Commands[0].(type) {
			case Add:
				if test.want != 0 {
					t.Fatalf("forwarded, want %v", test.want)
				}
				if cmd.HTLC.Amount != test.forward || cmd.HTLC.Expiry != test.cltv {
					t.Errorf("forwarded %d msat, expiry %d", cmd.HTLC.Amount, cmd.HTLC.Expiry)
				}
			case FailWith:
				if cmd.Message.Code() != test.want {
					t.Fatalf("failed with %v, want %v", cmd.Message.Code(), test.want)
				}
				checkFields(t, cmd.Message, test.field)
			default:
				t.Fatalf("%T", cmd)
			}
		})
	}
}

// checkFields looks at the bytes of an UPDATE failure: BOLT 4 "Failure Messages".
func checkFields(t *testing.T, msg lnwire.FailureMessage, field uint64) {
	t.Helper()
	var buf bytes.Buffer
	if err := lnwire.EncodeFailureMessage(&buf, msg, 0); err != nil {
		t.Fatal(err)
	}
	b := buf.Bytes()
	if code := lnwire.FailCode(binary.BigEndian.Uint16(b)); code != msg.Code() {
		t.Fatalf("failure_code %v", code)
	}
	if msg.Code()&lnwire.FlagUpdate == 0 {
		return
	}
	b = b[2:]
	switch msg.Code() {
	case lnwire.CodeAmountBelowMinimum, lnwire.CodeFeeInsufficient:
		if got := binary.BigEndian.Uint64(b); got != field {
			t.Errorf("htlc_msat %d, want %d", got, field)
		}
		b = b[8:]
	case lnwire.CodeIncorrectCltvExpiry:
		if got := uint64(binary.BigEndian.Uint32(b)); got != field {
			t.Errorf("cltv_expiry %d, want %d", got, field)
		}
		b = b[4:]
	case lnwire.CodeChannelDisabled:
		b = b[2:]
	}
	if want := append([]byte{0, 6}, "update"...); !bytes.Equal(b, want) {
		t.Errorf("channel_update %x, want %x", b, want)
	}
}

// TestFailuresAreLnwires decodes the failures with a channel_update, real here, as lnd would.
func TestFailuresAreLnwires(t *testing.T) {
	var update bytes.Buffer
	if _, err := lnwire.WriteMessage(&update, &lnwire.ChannelUpdate1{ShortChannelID: scidOf(22), TimeLockDelta: 144}, 0); err != nil {
		t.Fatal(err)
	}
	p := Policy{Update: update.Bytes()}
	for _, msg := range []lnwire.FailureMessage{
		temporaryChannelFailure(p), amountBelowMinimum(1, p), feeInsufficient(1, 2, p), incorrectCltvExpiry(1, 2, p),
		expiryTooSoon(p), channelDisabled(p), temporaryChannelFailure(Policy{}),
		badOnion(uint16(lnwire.CodeInvalidOnionHmac), [32]byte{1}), badOnion(uint16(lnwire.CodeInvalidBlinding), [32]byte{1}),
	} {
		var buf bytes.Buffer
		if err := lnwire.EncodeFailure(&buf, msg, 0); err != nil {
			t.Fatalf("%v: %v", msg, err)
		}
		got, err := lnwire.DecodeFailure(&buf, 0)
		if err != nil || got.Code() != msg.Code() {
			t.Errorf("%v: decoded as %v, %v", msg, got, err)
		}
	}
}

// TestChoose has a line for each way to find, or not find, a channel with the next node for 990000 msat.
func TestChoose(t *testing.T) {
	type ch struct {
		id      channel.ID
		max     lnwire.MilliSatoshi // 0: not usable
		min     lnwire.MilliSatoshi
		slots   uint16
		onChain bool
	}
	node := nodeID("carol")
	tests := []struct {
		name     string
		channels []ch // with carol; scid is 20 + id
		node     bool // the onion names the node, not channel 2
		want     channel.ID
		code     lnwire.FailCode
	}{
		{name: "the one named", channels: []ch{{id: 2, max: 990_000, slots: 1}, {id: 3, max: 5_000_000, slots: 9}}, want: 2},
		{name: "named is full", channels: []ch{{id: 2, max: 989_999, slots: 1}, {id: 3, max: 5_000_000, slots: 9}}, want: 3},
		{name: "named has no slot", channels: []ch{{id: 2, max: 990_000}, {id: 3, max: 5_000_000, slots: 9}}, want: 3},
		{name: "named is away", channels: []ch{{id: 2}, {id: 3, max: 5_000_000, slots: 9}}, want: 3},
		{name: "named is on chain", channels: []ch{{id: 2, onChain: true}, {id: 3, max: 5_000_000, slots: 9}}, want: 3},
		{name: "most room of the others", channels: []ch{{id: 2}, {id: 3, max: 1_000_000, slots: 9}, {id: 4, max: 2_000_000, slots: 9}}, want: 4},
		{name: "node id", channels: []ch{{id: 3, max: 1_000_000, slots: 9}}, node: true, want: 3},
		{name: "node id without channel", node: true, code: lnwire.CodeUnknownNextPeer},
		{name: "all away", channels: []ch{{id: 2}, {id: 3}}, code: lnwire.CodeTemporaryChannelFailure},
		{name: "all full", channels: []ch{{id: 2, max: 1000, slots: 1}, {id: 3, max: 1000, slots: 1}}, code: lnwire.CodeTemporaryChannelFailure},
		{name: "all on chain", channels: []ch{{id: 2, onChain: true}}, code: lnwire.CodePermanentChannelFailure},
		{name: "all for more only", channels: []ch{{id: 2, max: 5_000_000, min: 1_000_000, slots: 1}}, code: lnwire.CodeAmountBelowMinimum},
		{name: "away or for more only", channels: []ch{{id: 2}, {id: 3, max: 5_000_000, min: 1_000_000, slots: 1}}, code: lnwire.CodeAmountBelowMinimum},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.introduce(Channel{ID: 1, Peer: nodeID("alice"), SCIDs: []lnwire.ShortChannelID{scidOf(21)}})
			for _, c := range test.channels {
				scid := []lnwire.ShortChannelID{scidOf(20 + uint64(c.id))}
				w.introduce(Channel{ID: c.id, Peer: node, SCIDs: scid, Policy: standardPolicy(), OnChain: c.onChain})
				if c.max > 0 {
					w.handle(Usable{ID: c.id, Out: channel.Capacity{Max: c.max, Min: c.min, Slots: c.slots}}, nil)
				}
			}
			o := forwardOffer(channel.Key{Channel: 1}, "alice", "h", 1_000_000, 1500, 22)
			if test.node {
				o.Hop.NextNode = &node
			}
			var got channel.ID
			var code lnwire.FailCode
			switch cmd := w.offer(o).Commands[0].(type) {
			case Add:
				got = cmd.Channel
			case FailWith:
				code = cmd.Message.Code()
			}
			if got != test.want || code != test.code {
				t.Errorf("channel %d, failure %v; want %d, %v", got, code, test.want, test.code)
			}
		})
	}
}

// TestFee compares Fee with big steps and small.
func TestFee(t *testing.T) {
	tests := []struct {
		base   lnwire.MilliSatoshi
		ppm    uint32
		amount lnwire.MilliSatoshi
		want   lnwire.MilliSatoshi
		ok     bool
	}{
		{1000, 1, 1_000_000, 1001, true},
		{1000, 1, 999_999, 1000, true},
		{0, 1_000_000, 12345, 12345, true},
		{0, 0, math.MaxUint64, 0, true},
		{0, 1_000_000, math.MaxUint64, math.MaxUint64, true},
		{1, 1_000_000, math.MaxUint64, 0, false},
		{0, 1_000_001, math.MaxUint64, 0, false},
		{0, math.MaxUint32, math.MaxUint64, 0, false},
	}
	for _, test := range tests {
		p := Policy{FeeBase: test.base, FeePPM: test.ppm}
		got, ok := p.Fee(test.amount)
		if ok != test.ok || ok && got != test.want {
			t.Errorf("fee of %d at %d + %d ppm is %d, %v; want %d, %v", test.amount, test.base, test.ppm, got, ok, test.want, test.ok)
		}
	}
}

// TestBlindedForward resolves amount and expiry from payment_relay, and fails what breaks payment_constraints.
func TestBlindedForward(t *testing.T) {
	w := newWorld(t)
	w.introduce(Channel{ID: 1, Peer: nodeID("alice")})
	w.introduce(Channel{ID: 2, Peer: nodeID("carol"), SCIDs: []lnwire.ShortChannelID{scidOf(22)}, Policy: standardPolicy()})
	w.handle(Usable{ID: 2, Out: channel.Capacity{Max: 10_000_000, Slots: 9}}, nil)
	o := forwardOffer(channel.Key{Channel: 1}, "alice", "h", 1_001_100, 1500, 22)
	o.Hop = &onion.Hop{Blinded: true, Introduction: true, NextSCID: scidOf(22), Relay: &onion.PaymentRelay{CltvExpiryDelta: 150, FeeProportional: 100, FeeBase: 1000},
		Constraints: &onion.PaymentConstraints{MaxCltvExpiry: 1500, HtlcMinimum: 1000}}
	add, ok := w.offer(o).Commands[0].(Add)
	if !ok || add.HTLC.Amount != 1_000_000 || add.HTLC.Expiry != 1350 {
		t.Fatalf("%+v", add)
	}
	o.HTLC.Key.HTLC, o.HTLC.Expiry = 1, 1501
	if cmd, ok := w.offer(o).Commands[0].(FailWith); !ok || cmd.Message.Code() != lnwire.CodeInvalidBlinding {
		t.Fatalf("%+v", cmd)
	}
	if o.Hop.Amount != 0 {
		t.Error("the caller's Hop was changed")
	}
}
