package channel_test

import (
	"strings"
	"testing"

	"lightningrod/channel"
	"lightningrod/channel/channeltest"

	"github.com/lightningnetwork/lnd/lnwire"
)

func kind(bits ...lnwire.FeatureBit) *lnwire.ChannelType {
	k := lnwire.ChannelType(*lnwire.NewRawFeatureVector(bits...))
	return &k
}

// TestOpenChannelChecks: one rule of BOLT 2 "The open_channel Message" a line. want is in the error to the peer; empty: accepted.
func TestOpenChannelChecks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(m *lnwire.OpenChannel)
		want   string
	}{
		{"as sent", func(m *lnwire.OpenChannel) {}, ""},
		{"undefined flags are ignored", func(m *lnwire.OpenChannel) { m.ChannelFlags |= 0xfe }, ""},
		{"no limit in flight", func(m *lnwire.OpenChannel) { m.MaxValueInFlight = ^lnwire.MilliSatoshi(0) }, ""},
		{"private with alias", func(m *lnwire.OpenChannel) { m.ChannelFlags, m.ChannelType = 0, kind(12, 22, 46) }, ""},
		{"other chain", func(m *lnwire.OpenChannel) { m.ChainHash[0] ^= 1 }, "chain_hash"},
		{"no channel_type", func(m *lnwire.OpenChannel) { m.ChannelType = nil }, "channel_type"},
		{"static_remotekey only", func(m *lnwire.OpenChannel) { m.ChannelType = kind(12) }, "channel_type"},
		{"zeroconf", func(m *lnwire.OpenChannel) { m.ChannelFlags, m.ChannelType = 0, kind(12, 22, 46, 50) }, "channel_type"},
		{"announced with alias", func(m *lnwire.OpenChannel) { m.ChannelType = kind(12, 22, 46) }, "channel_type"},
		{"too small", func(m *lnwire.OpenChannel) { m.FundingAmount = 19_999 }, "funding_satoshis 19999"},
		{"too large", func(m *lnwire.OpenChannel) { m.FundingAmount = 1_000_000_001 }, "funding_satoshis"},
		{"negative", func(m *lnwire.OpenChannel) { m.FundingAmount = -1 }, "funding_satoshis"},
		{"push more than there is", func(m *lnwire.OpenChannel) { m.PushAmount = 1_000_000_001 }, "push_msat 1000000001"},
		{"push all", func(m *lnwire.OpenChannel) { m.PushAmount = 1_000_000_000 }, "cannot pay the fee"},
		{"fee rate too low", func(m *lnwire.OpenChannel) { m.FeePerKiloWeight = 252 }, "feerate_per_kw 252"},
		{"fee rate too high", func(m *lnwire.OpenChannel) { m.FeePerKiloWeight = 50_001 }, "feerate_per_kw 50001"},
		{"dust limit too low", func(m *lnwire.OpenChannel) { m.DustLimit = 353 }, "dust_limit_satoshis 353 below minimum 354"},
		{"dust limit above its reserve", func(m *lnwire.OpenChannel) { m.DustLimit = 10_001 }, "dust_limit_satoshis 10001"},
		{"dust limit too high", func(m *lnwire.OpenChannel) { m.DustLimit, m.ChannelReserve = 20_001, 30_000 }, "dust_limit_satoshis 20001"},
		{"reserve below our dust limit", func(m *lnwire.OpenChannel) { m.ChannelReserve = 353 }, "channel_reserve_satoshis 353"},
		{"reserve too high", func(m *lnwire.OpenChannel) { m.ChannelReserve = 200_001 }, "channel_reserve_satoshis 200001"},
		{"too many htlcs", func(m *lnwire.OpenChannel) { m.MaxAcceptedHTLCs = 484 }, "max_accepted_htlcs 484"},
		{"no htlcs", func(m *lnwire.OpenChannel) { m.MaxAcceptedHTLCs = 0 }, "max_accepted_htlcs 0"},
		{"delay too long", func(m *lnwire.OpenChannel) { m.CsvDelay = 2017 }, "to_self_delay 2017"},
		{"minimum too large", func(m *lnwire.OpenChannel) { m.HtlcMinimum = 10_000_001 }, "htlc_minimum_msat"},
		{"in flight too small", func(m *lnwire.OpenChannel) { m.MaxValueInFlight = 1000 }, "max_htlc_value_in_flight_msat"},
		{"missing key", func(m *lnwire.OpenChannel) { m.HtlcPoint = nil }, "basepoint"},
		{"upfront script", func(m *lnwire.OpenChannel) { m.UpfrontShutdownScript = []byte{0x6a, 1, 1} }, "upfront_shutdown_script"},
		{"most of it pushed", func(m *lnwire.OpenChannel) {
			m.FundingAmount, m.ChannelReserve, m.PushAmount = 20_000, 4000, 16_000_000
		}, ""},
		{"nobody above a large reserve", func(m *lnwire.OpenChannel) {
			m.FundingAmount, m.ChannelReserve, m.FeePerKiloWeight = 20_000, 4000, 14_000
		}, "reserve"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := channeltest.New(channeltest.Options{Toy: true})
			step(t, p.Connect())
			step(t, p.Do(0, channel.Open{Capacity: 1_000_000, FeePerKw: 253}))
			tt.change(p.Sides[0].Out[0].(*lnwire.OpenChannel))
			_, err := p.Deliver(0)
			step(t, err)
			answered(t, p.Sides[1], tt.want)
		})
	}
}

func TestAcceptChannelChecks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(m *lnwire.AcceptChannel)
		want   string
	}{
		{"other type", func(m *lnwire.AcceptChannel) { m.ChannelType = kind(12) }, "channel_type"},
		{"no type", func(m *lnwire.AcceptChannel) { m.ChannelType = nil }, "channel_type"},
		{"zero depth", func(m *lnwire.AcceptChannel) { m.MinAcceptDepth = 0 }, "minimum_depth 0"},
		{"too deep", func(m *lnwire.AcceptChannel) { m.MinAcceptDepth = 145 }, "minimum_depth 145"},
		{"reserve below our dust limit", func(m *lnwire.AcceptChannel) { m.ChannelReserve = 353 }, "channel_reserve_satoshis 353"},
		{"dust limit above our reserve", func(m *lnwire.AcceptChannel) { m.DustLimit, m.ChannelReserve = 10_001, 10_001 }, "dust_limit_satoshis 10001"},
		{"dust limit too low", func(m *lnwire.AcceptChannel) { m.DustLimit = 353 }, "dust_limit_satoshis 353"},
		{"too many htlcs", func(m *lnwire.AcceptChannel) { m.MaxAcceptedHTLCs = 484 }, "max_accepted_htlcs 484"},
		{"delay too long", func(m *lnwire.AcceptChannel) { m.CsvDelay = 2017 }, "to_self_delay 2017"},
		{"missing key", func(m *lnwire.AcceptChannel) { m.FundingKey = nil }, "basepoint"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := channeltest.New(channeltest.Options{Toy: true})
			step(t, p.Connect())
			step(t, p.Do(0, channel.Open{Capacity: 1_000_000, FeePerKw: 253}))
			_, err := p.Deliver(0)
			step(t, err)
			tt.change(p.Sides[1].Out[0].(*lnwire.AcceptChannel))
			_, err = p.Deliver(1)
			step(t, err)
			answered(t, p.Sides[0], tt.want)
		})
	}
}

// answered checks that a side has sent an error with a text and given up, or none if the text is empty.
func answered(t *testing.T, s *channeltest.Side, want string) {
	t.Helper()
	got := ""
	for _, m := range s.Out {
		if e, ok := m.(*lnwire.Error); ok {
			got = string(e.Data)
		}
	}
	if want == "" && got != "" || !strings.Contains(got, want) || (s.State.Phase() == channel.PhaseClosed) != (want != "") {
		t.Errorf("error %q, expected %q; %v", got, want, s.State)
	}
}

func step(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestEveryMessageInEveryPhase: no message panics anywhere, with fields all zero or missing. BOLT 2's own table would have
// a cell for each.
func TestEveryMessageInEveryPhase(t *testing.T) {
	phases := map[string]func(p *channeltest.Pair) error{
		"new":       func(p *channeltest.Pair) error { return nil },
		"connected": func(p *channeltest.Pair) error { return p.Connect() },
		"opening": func(p *channeltest.Pair) error {
			_ = p.Connect()
			return p.Do(0, channel.Open{Capacity: 1_000_000, FeePerKw: 253})
		},
		"open":           func(p *channeltest.Pair) error { return p.Open() },
		"disconnected":   func(p *channeltest.Pair) error { _ = p.Open(); return p.Disconnect() },
		"reestablishing": func(p *channeltest.Pair) error { _ = p.Open(); _ = p.Disconnect(); return p.Connect() },
		"shutdown":       func(p *channeltest.Pair) error { _ = p.Open(); return p.Do(0, channel.Close{}) },
		"mutual":         func(p *channeltest.Pair) error { _ = p.Open(); _ = p.Do(0, channel.Close{}); return p.DeliverAll() },
		"closing":        func(p *channeltest.Pair) error { _ = p.Open(); return p.Do(0, channel.ForceClose{}) },
	}
	var messages []lnwire.Message
	for n := lnwire.MessageType(0); n < 1000; n++ {
		if m, err := lnwire.MakeEmptyMessage(n); err == nil {
			messages = append(messages, m)
		}
	}
	messages = append(messages, &channel.ClosingSigned{})
	for name, reach := range phases {
		for side := range 2 {
			p := channeltest.New(channeltest.Options{Toy: true})
			step(t, reach(p))
			s := p.Sides[side]
			for _, m := range messages {
				channel.Apply(s.State, s.Crypto, []channel.Event{channel.Received{Msg: m}, channel.Sign{}})
			}
			for _, ev := range []channel.Event{
				channel.Add{}, channel.Settle{}, channel.Open{}, channel.Funding{}, channel.Close{}, channel.ForceClose{}, channel.UpdateFee{},
				channel.Sign{}, channel.Connected{}, channel.Disconnected{}, channel.Chain{},
			} {
				channel.Apply(s.State, s.Crypto, []channel.Event{ev, channel.Sign{}})
			}
			t.Logf("%s: %d messages", name, len(messages))
		}
	}
}
