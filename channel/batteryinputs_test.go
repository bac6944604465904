package channel_test

import (
	"bytes"
	"math"

	"lightningrod/channel/channeltest"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/lightningnetwork/lnd/lnwire"
)

// input is what arrives, a turn for each message. The answer to the last is what counts.
type input []lnwire.Message

// each makes one input of each message.
func each[M lnwire.Message](ms ...M) []input {
	var in []input
	for _, m := range ms {
		in = append(in, input{m})
	}
	return in
}

// changed are copies of a message with one thing changed in each.
func changed[T any, M interface {
	*T
	lnwire.Message
}](m *T, changes ...func(m *T)) []input {
	var in []input
	for _, f := range changes {
		c := *m
		f(&c)
		in = append(in, input{M(&c)})
	}
	return in
}

// A kind of input is a message and what is wrong with it: one row of the table. make gives the inputs of that kind for a
// state; none if there can be none.
type kindOf struct {
	message, defect string
	make            func(x *subject) []input
}

var kinds = []kindOf{
	{"open_channel", "valid", func(x *subject) []input { return each(openChannel(x)) }},
	{"open_channel", "amounts", func(x *subject) []input {
		return changed(openChannel(x),
			func(m *lnwire.OpenChannel) { m.FundingAmount = 0 },
			func(m *lnwire.OpenChannel) { m.FundingAmount = -1 },
			func(m *lnwire.OpenChannel) { m.FundingAmount = math.MaxInt64 },
			func(m *lnwire.OpenChannel) { m.FundingAmount = 19_999 },
			func(m *lnwire.OpenChannel) { m.PushAmount = 1_000_000_001 },
			func(m *lnwire.OpenChannel) { m.PushAmount = math.MaxUint64 })
	}},
	{"open_channel", "fee", func(x *subject) []input {
		return changed(openChannel(x),
			func(m *lnwire.OpenChannel) { m.FeePerKiloWeight = 0 },
			func(m *lnwire.OpenChannel) { m.FeePerKiloWeight = 252 },
			func(m *lnwire.OpenChannel) { m.FeePerKiloWeight = 50_001 },
			func(m *lnwire.OpenChannel) { m.FeePerKiloWeight = math.MaxUint32 })
	}},
	{"open_channel", "limits", func(x *subject) []input {
		return changed(openChannel(x),
			func(m *lnwire.OpenChannel) { m.DustLimit = 353 },
			func(m *lnwire.OpenChannel) { m.DustLimit = math.MaxInt64 },
			func(m *lnwire.OpenChannel) { m.DustLimit = math.MinInt64 },
			func(m *lnwire.OpenChannel) { m.ChannelReserve = math.MaxInt64 },
			func(m *lnwire.OpenChannel) { m.ChannelReserve = -1 },
			func(m *lnwire.OpenChannel) { m.HtlcMinimum = math.MaxUint64 },
			func(m *lnwire.OpenChannel) { m.MaxValueInFlight = 0 },
			func(m *lnwire.OpenChannel) { m.MaxAcceptedHTLCs = 0 },
			func(m *lnwire.OpenChannel) { m.MaxAcceptedHTLCs = math.MaxUint16 },
			func(m *lnwire.OpenChannel) { m.CsvDelay = math.MaxUint16 })
	}},
	{"open_channel", "chain or type", func(x *subject) []input {
		return changed(openChannel(x),
			func(m *lnwire.OpenChannel) { m.ChainHash[31] ^= 1 },
			func(m *lnwire.OpenChannel) { m.ChannelType = nil },
			func(m *lnwire.OpenChannel) { m.ChannelType = kind() },
			func(m *lnwire.OpenChannel) { m.ChannelType = kind(12, 22, 50) })
	}},
	{"open_channel", "no key", func(x *subject) []input {
		return changed(openChannel(x),
			func(m *lnwire.OpenChannel) { m.FundingKey = nil },
			func(m *lnwire.OpenChannel) { m.FirstCommitmentPoint = nil })
	}},
	{"accept_channel", "valid", func(x *subject) []input { return each(acceptChannel(x)) }},
	{"accept_channel", "limits", func(x *subject) []input {
		return changed(acceptChannel(x),
			func(m *lnwire.AcceptChannel) { m.DustLimit = 353 },
			func(m *lnwire.AcceptChannel) { m.DustLimit = math.MaxInt64 },
			func(m *lnwire.AcceptChannel) { m.ChannelReserve = 0 },
			func(m *lnwire.AcceptChannel) { m.ChannelReserve = math.MinInt64 },
			func(m *lnwire.AcceptChannel) { m.HtlcMinimum = math.MaxUint64 },
			func(m *lnwire.AcceptChannel) { m.MaxAcceptedHTLCs = 484 },
			func(m *lnwire.AcceptChannel) { m.CsvDelay = math.MaxUint16 },
			func(m *lnwire.AcceptChannel) { m.MinAcceptDepth = 0 },
			func(m *lnwire.AcceptChannel) { m.MinAcceptDepth = math.MaxUint32 })
	}},
	{"accept_channel", "type or key", func(x *subject) []input {
		return changed(acceptChannel(x),
			func(m *lnwire.AcceptChannel) { m.ChannelType = nil },
			func(m *lnwire.AcceptChannel) { m.ChannelType = kind(12) },
			func(m *lnwire.AcceptChannel) { m.HtlcPoint = nil })
	}},
	{"funding_created", "valid", func(x *subject) []input { return each(fundingCreated(x, chainhash.Hash{7})) }},
	{"funding_created", "txid all zero", func(x *subject) []input { return each(fundingCreated(x, chainhash.Hash{})) }},
	{"funding_created", "other temporary_channel_id", func(x *subject) []input {
		return changed(fundingCreated(x, chainhash.Hash{7}), func(m *lnwire.FundingCreated) { m.PendingChannelID[3] ^= 1 })
	}},
	{"funding_created", "signature", func(x *subject) []input {
		m := fundingCreated(x, chainhash.Hash{7})
		var in []input
		for _, sig := range badSigs(m.CommitSig) {
			in = append(in, changed(m, func(m *lnwire.FundingCreated) { m.CommitSig = sig })...)
		}
		return in
	}},
	{"funding_signed", "valid", func(x *subject) []input { return each(fundingSigned(x)) }},
	{"funding_signed", "channel_id", func(x *subject) []input {
		return changed(fundingSigned(x), func(m *lnwire.FundingSigned) { m.ChanID[0] ^= 1 })
	}},
	{"funding_signed", "signature", func(x *subject) []input {
		m := fundingSigned(x)
		var in []input
		for _, sig := range badSigs(m.CommitSig) {
			in = append(in, changed(m, func(m *lnwire.FundingSigned) { m.CommitSig = sig })...)
		}
		return in
	}},
	{"channel_ready", "valid", func(x *subject) []input {
		if x.s.PeerReady() {
			return nil
		}
		return each(channelReady(x))
	}},
	{"channel_ready", "again", func(x *subject) []input {
		if !x.s.PeerReady() {
			return nil
		}
		return append(each(channelReady(x)), changed(channelReady(x), func(m *lnwire.ChannelReady) { m.NextPerCommitmentPoint = somePoint(9) })...)
	}},
	{"channel_ready", "other alias", func(x *subject) []input {
		m := channelReady(x)
		alias := lnwire.NewShortChanIDFromInt(424242)
		m.AliasScid = &alias
		return each(m)
	}},
	{"channel_ready", "no point", func(x *subject) []input {
		return changed(channelReady(x), func(m *lnwire.ChannelReady) { m.NextPerCommitmentPoint = nil })
	}},
	{"update_add_htlc", "valid", func(x *subject) []input {
		n, sum := x.s.AddsOfPeer()
		if x.s.PeerShutDown() || n >= 6 || sum+1_000_000 > 300_000_000 {
			return nil
		}
		return changed(updateAdd(x),
			func(m *lnwire.UpdateAddHTLC) {},
			func(m *lnwire.UpdateAddHTLC) { m.Amount = 1000 },
			func(m *lnwire.UpdateAddHTLC) { m.Expiry = 0 },
			func(m *lnwire.UpdateAddHTLC) { m.Expiry = 499_999_999 },
			func(m *lnwire.UpdateAddHTLC) { m.PaymentHash = [32]byte{} },
			func(m *lnwire.UpdateAddHTLC) { m.OnionBlob = [1366]byte{} })
	}},
	{"update_add_htlc", "id", func(x *subject) []input {
		id := updateAdd(x).ID
		return changed(updateAdd(x),
			func(m *lnwire.UpdateAddHTLC) { m.ID = id + 1 },
			func(m *lnwire.UpdateAddHTLC) { m.ID = id - 1 },
			func(m *lnwire.UpdateAddHTLC) { m.ID = math.MaxUint64 })
	}},
	{"update_add_htlc", "twice", func(x *subject) []input {
		if m := updateAdd(x); !x.s.PeerShutDown() {
			return []input{{m, m}}
		}
		return nil
	}},
	{"update_add_htlc", "amount", func(x *subject) []input {
		return changed(updateAdd(x),
			func(m *lnwire.UpdateAddHTLC) { m.Amount = 0 },
			func(m *lnwire.UpdateAddHTLC) { m.Amount = 999 },
			func(m *lnwire.UpdateAddHTLC) { m.Amount = 300_000_001 },
			func(m *lnwire.UpdateAddHTLC) { m.Amount = 1_000_000_001 },
			func(m *lnwire.UpdateAddHTLC) { m.Amount = math.MaxInt64 },
			func(m *lnwire.UpdateAddHTLC) { m.Amount = math.MaxUint64 })
	}},
	{"update_add_htlc", "more than it has", func(x *subject) []input {
		_, sum := x.s.AddsOfPeer()
		left := x.s.RemoteRoom(0, 1)
		if !x.s.Durable() || left < 1_000_000 || left >= int64(300_000_000-sum) {
			return nil
		}
		return changed(updateAdd(x), func(m *lnwire.UpdateAddHTLC) { m.Amount = lnwire.MilliSatoshi(left) + 1 })
	}},
	{"update_add_htlc", "all it has", func(x *subject) []input {
		_, sum := x.s.AddsOfPeer()
		left := x.s.RemoteRoom(0, 1)
		if !x.s.Durable() || x.s.PeerShutDown() || left < 1_000_000 || left >= int64(300_000_000-sum) {
			return nil
		}
		return changed(updateAdd(x), func(m *lnwire.UpdateAddHTLC) { m.Amount = lnwire.MilliSatoshi(left) })
	}},
	{"update_add_htlc", "cltv_expiry", func(x *subject) []input {
		return changed(updateAdd(x),
			func(m *lnwire.UpdateAddHTLC) { m.Expiry = 500_000_000 },
			func(m *lnwire.UpdateAddHTLC) { m.Expiry = math.MaxUint32 })
	}},
	{"update_add_htlc", "too many", func(x *subject) []input {
		n, sum := x.s.AddsOfPeer()
		if x.s.PeerShutDown() || sum > 290_000_000 {
			return nil
		}
		var in input
		m := updateAdd(x)
		m.Amount = 1000
		for ; n < 7; n++ {
			c := *m
			in = append(in, &c)
			m.ID++
		}
		return []input{in}
	}},
	{"update_add_htlc", "too much in all", func(x *subject) []input {
		n, sum := x.s.AddsOfPeer()
		if n > 4 || sum > 149_000_000 || x.s.PeerShutDown() || x.s.Durable() && x.s.RemoteRoom(0, 2) < 310_000_000 {
			return nil
		}
		m := updateAdd(x)
		m.Amount = 151_000_000
		c := *m
		c.ID++
		return []input{{m, &c}}
	}},
	{"update_add_htlc", "after shutdown", func(x *subject) []input {
		if !x.s.PeerShutDown() {
			return nil
		}
		return each(updateAdd(x))
	}},
	{"update_fulfill_htlc", "valid", func(x *subject) []input {
		if h := removable(x); h != nil {
			return each(&lnwire.UpdateFulfillHTLC{ChanID: x.s.ChannelID(), ID: h.HTLC.Key.HTLC, PaymentPreimage: preimages[h.HTLC.Hash]})
		}
		return nil
	}},
	{"update_fulfill_htlc", "preimage", func(x *subject) []input {
		if h := removable(x); h != nil {
			p := preimages[h.HTLC.Hash]
			p[31] ^= 1
			id := h.HTLC.Key.HTLC
			return each(&lnwire.UpdateFulfillHTLC{ChanID: x.s.ChannelID(), ID: id, PaymentPreimage: p}, &lnwire.UpdateFulfillHTLC{ChanID: x.s.ChannelID(), ID: id})
		}
		return nil
	}},
	{"update_fulfill_htlc", "twice", func(x *subject) []input {
		if h := removable(x); h != nil {
			m := &lnwire.UpdateFulfillHTLC{ChanID: x.s.ChannelID(), ID: h.HTLC.Key.HTLC, PaymentPreimage: preimages[h.HTLC.Hash]}
			return []input{{m, m}, {m, &lnwire.UpdateFailHTLC{ChanID: m.ChanID, ID: m.ID}}}
		}
		return nil
	}},
	{"update_fulfill_htlc", "id", func(x *subject) []input {
		return forIDs(x, func(id uint64) lnwire.Message {
			return &lnwire.UpdateFulfillHTLC{ChanID: x.s.ChannelID(), ID: id, PaymentPreimage: channeltest.Preimage(id)}
		})
	}},
	{"update_fail_htlc", "valid", func(x *subject) []input {
		if h := removable(x); h != nil {
			id := h.HTLC.Key.HTLC
			return each(&lnwire.UpdateFailHTLC{ChanID: x.s.ChannelID(), ID: id, Reason: []byte{1}}, &lnwire.UpdateFailHTLC{ChanID: x.s.ChannelID(), ID: id})
		}
		return nil
	}},
	{"update_fail_htlc", "id", func(x *subject) []input {
		return forIDs(x, func(id uint64) lnwire.Message { return &lnwire.UpdateFailHTLC{ChanID: x.s.ChannelID(), ID: id} })
	}},
	{"update_fail_malformed_htlc", "valid", func(x *subject) []input {
		if h := removable(x); h != nil {
			return each(&lnwire.UpdateFailMalformedHTLC{ChanID: x.s.ChannelID(), ID: h.HTLC.Key.HTLC, FailureCode: 0xc005})
		}
		return nil
	}},
	{"update_fail_malformed_htlc", "no BADONION", func(x *subject) []input {
		if h := removable(x); h != nil {
			id := h.HTLC.Key.HTLC
			return each(&lnwire.UpdateFailMalformedHTLC{ChanID: x.s.ChannelID(), ID: id, FailureCode: 0x4005}, &lnwire.UpdateFailMalformedHTLC{ChanID: x.s.ChannelID(), ID: id})
		}
		return nil
	}},
	{"update_fail_malformed_htlc", "id", func(x *subject) []input {
		return forIDs(x, func(id uint64) lnwire.Message {
			return &lnwire.UpdateFailMalformedHTLC{ChanID: x.s.ChannelID(), ID: id, FailureCode: 0xc005}
		})
	}},
	{"update_fee", "valid", func(x *subject) []input { return fees(x, false, 253, 500, 5000) }},
	{"update_fee", "out of bounds", func(x *subject) []input { return fees(x, false, 0, 252, 50_001, math.MaxUint32) }},
	{"update_fee", "unaffordable", func(x *subject) []input {
		if x.s.Opener() || !x.s.Durable() || x.s.RemoteRoom(50_000, 0) >= 0 {
			return nil
		}
		return fees(x, false, 50_000)
	}},
	{"update_fee", "to the opener", func(x *subject) []input { return fees(x, true, 0, 253, 500, math.MaxUint32) }},
	{"commitment_signed", "valid", func(x *subject) []input { return each(commit(x)) }},
	{"commitment_signed", "signature", func(x *subject) []input {
		m := commit(x)
		var in []input
		for _, sig := range badSigs(m.CommitSig) {
			in = append(in, changed(m, func(m *lnwire.CommitSig) { m.CommitSig = sig })...)
		}
		return in
	}},
	{"commitment_signed", "htlc_signature", func(x *subject) []input {
		m := commit(x)
		if len(m.HtlcSigs) == 0 {
			return nil
		}
		var in []input
		for i := range m.HtlcSigs {
			for _, sig := range badSigs(m.HtlcSigs[i]) {
				in = append(in, changed(m, func(m *lnwire.CommitSig) {
					m.HtlcSigs = append([]lnwire.Sig(nil), m.HtlcSigs...)
					m.HtlcSigs[i] = sig
				})...)
			}
		}
		if len(m.HtlcSigs) > 1 {
			in = append(in, changed(m, func(m *lnwire.CommitSig) {
				m.HtlcSigs = append(append([]lnwire.Sig(nil), m.HtlcSigs[1:]...), m.HtlcSigs[0])
			})...)
		}
		return in
	}},
	{"commitment_signed", "num_htlcs", func(x *subject) []input {
		m := commit(x)
		in := changed(m,
			func(m *lnwire.CommitSig) { m.HtlcSigs = append(append([]lnwire.Sig(nil), m.HtlcSigs...), m.CommitSig) },
			func(m *lnwire.CommitSig) { m.HtlcSigs = make([]lnwire.Sig, 1000) })
		if len(m.HtlcSigs) > 0 {
			in = append(in, changed(m, func(m *lnwire.CommitSig) { m.HtlcSigs = m.HtlcSigs[1:] }, func(m *lnwire.CommitSig) { m.HtlcSigs = nil })...)
		}
		return in
	}},
	{"commitment_signed", "twice", func(x *subject) []input { m := commit(x); return []input{{m, m}} }},
	{"revoke_and_ack", "valid", func(x *subject) []input {
		if m := revoke(x); x.s.Numbers().Awaiting {
			return each(m)
		}
		return nil
	}},
	{"revoke_and_ack", "not awaited", func(x *subject) []input {
		if m := revoke(x); !x.s.Numbers().Awaiting {
			return each(m)
		}
		return nil
	}},
	{"revoke_and_ack", "twice", func(x *subject) []input {
		if m := revoke(x); x.s.Numbers().Awaiting {
			return []input{{m, m}}
		}
		return nil
	}},
	{"revoke_and_ack", "secret", func(x *subject) []input {
		n := x.s.Numbers().Remote
		return changed(revoke(x),
			func(m *lnwire.RevokeAndAck) { m.Revocation[0] ^= 1 },
			func(m *lnwire.RevokeAndAck) { m.Revocation = [32]byte{} },
			func(m *lnwire.RevokeAndAck) { m.Revocation = [32]byte(bytes.Repeat([]byte{0xff}, 32)) },
			func(m *lnwire.RevokeAndAck) { m.Revocation = x.peer.Secret(n + 1) },
			func(m *lnwire.RevokeAndAck) { m.Revocation = x.peer.Secret(n) },
			func(m *lnwire.RevokeAndAck) { m.Revocation = x.me.Secret(n) })
	}},
	{"revoke_and_ack", "no point", func(x *subject) []input {
		return changed(revoke(x), func(m *lnwire.RevokeAndAck) { m.NextRevocationKey = nil })
	}},
	{"shutdown", "valid", func(x *subject) []input {
		if x.s.PeerShutDown() {
			return nil
		}
		return each(lnwire.NewShutdown(x.s.ChannelID(), x.script))
	}},
	{"shutdown", "again", func(x *subject) []input {
		if !x.s.PeerShutDown() {
			return nil
		}
		return each(lnwire.NewShutdown(x.s.ChannelID(), x.script))
	}},
	{"shutdown", "another script", func(x *subject) []input {
		if x.s.Upfront() != nil {
			return nil
		}
		return each(lnwire.NewShutdown(x.s.ChannelID(), append([]byte{0x51, 32}, make([]byte, 32)...)), lnwire.NewShutdown(x.s.ChannelID(), p2wpkh(77)))
	}},
	{"shutdown", "not the upfront_shutdown_script", func(x *subject) []input {
		if x.s.Upfront() == nil {
			return nil
		}
		return each(lnwire.NewShutdown(x.s.ChannelID(), p2wpkh(77)))
	}},
	{"shutdown", "script of no permitted form", func(x *subject) []input {
		id := x.s.ChannelID()
		return each(lnwire.NewShutdown(id, nil), lnwire.NewShutdown(id, []byte{0x6a, 1, 1}), lnwire.NewShutdown(id, []byte{0, 20}),
			lnwire.NewShutdown(id, make([]byte, 34)), lnwire.NewShutdown(id, append([]byte{0x51, 41}, make([]byte, 41)...)),
			lnwire.NewShutdown(id, append([]byte{0, 21}, make([]byte, 21)...)))
	}},
	{"closing_signed", "valid", func(x *subject) []input {
		fee := max(x.s.LastFee(), 200)
		return each(x.s.NextClosing(x.peer, fee), withRange(x.s.NextClosing(x.peer, fee), 171, 400))
	}},
	{"closing_signed", "signature", func(x *subject) []input {
		m := x.s.NextClosing(x.peer, max(x.s.LastFee(), 200))
		var in []input
		for _, sig := range badSigs(m.Signature) {
			in = append(in, changed(m, func(m *lnwire.ClosingSigned) { m.Signature = sig })...)
		}
		return in
	}},
	{"closing_signed", "fee_satoshis", func(x *subject) []input {
		return each(x.s.NextClosing(x.peer, -1), x.s.NextClosing(x.peer, math.MinInt64), x.s.NextClosing(x.peer, math.MaxInt64),
			x.s.NextClosing(x.peer, 1_000_001))
	}},
	{"closing_signed", "fee_range disjoint", func(x *subject) []input { return each(withRange(x.s.NextClosing(x.peer, 10), 1, 20)) }},
	{"closing_signed", "below the range, without fee_range", func(x *subject) []input { return each(x.s.NextClosing(x.peer, 1)) }},
	{"channel_reestablish", "valid", func(x *subject) []input { return each(reestablish(x, 1, 0)) }},
	{"channel_reestablish", "commitment -1", func(x *subject) []input {
		if n := x.s.Numbers(); !n.Awaiting {
			return each(reestablish(x, 0, 0))
		}
		return nil
	}},
	{"channel_reestablish", "commitment -1, awaited", func(x *subject) []input {
		if n := x.s.Numbers(); n.Awaiting {
			return each(reestablish(x, 0, 0))
		}
		return nil
	}},
	{"channel_reestablish", "next_commitment_number", func(x *subject) []input {
		m := reestablish(x, 1, 0)
		return changed(m,
			func(m *lnwire.ChannelReestablish) { m.NextLocalCommitHeight++ },
			func(m *lnwire.ChannelReestablish) { m.NextLocalCommitHeight += 1000 },
			func(m *lnwire.ChannelReestablish) { m.NextLocalCommitHeight -= 2 },
			func(m *lnwire.ChannelReestablish) { m.NextLocalCommitHeight = math.MaxUint64 })
	}},
	{"channel_reestablish", "next_commitment_number 0", func(x *subject) []input {
		return changed(reestablish(x, 1, 0), func(m *lnwire.ChannelReestablish) { m.NextLocalCommitHeight = 0 })
	}},
	{"channel_reestablish", "revocation -1", func(x *subject) []input {
		if x.s.Numbers().Local == 0 {
			return nil
		}
		return each(reestablish(x, 1, -1))
	}},
	{"channel_reestablish", "revocation -2", func(x *subject) []input {
		if x.s.Numbers().Local < 2 {
			return nil
		}
		return each(reestablish(x, 1, -2))
	}},
	{"channel_reestablish", "revocation ahead, proven", func(x *subject) []input {
		return each(reestablish(x, 1, 1), reestablish(x, 1, 2), reestablish(x, 2, 1000), reestablish(x, 0, 1))
	}},
	{"channel_reestablish", "revocation ahead, not proven", func(x *subject) []input {
		spoil := func(m *lnwire.ChannelReestablish) { m.LastRemoteCommitSecret[9] ^= 1 }
		in := append(changed(reestablish(x, 1, 1), spoil), changed(reestablish(x, 1, 1000), spoil)...)
		return append(in, changed(reestablish(x, 1, 0),
			func(m *lnwire.ChannelReestablish) { m.RemoteCommitTailHeight = math.MaxUint64 },
			func(m *lnwire.ChannelReestablish) { m.RemoteCommitTailHeight = 1 << 48 })...)
	}},
	{"channel_reestablish", "secret", func(x *subject) []input {
		return changed(reestablish(x, 1, 0),
			func(m *lnwire.ChannelReestablish) { m.LastRemoteCommitSecret[0] ^= 1 },
			func(m *lnwire.ChannelReestablish) { m.LastRemoteCommitSecret = x.me.Secret(x.s.Numbers().Local + 5) })
	}},
	{"channel_reestablish", "twice", func(x *subject) []input { m := reestablish(x, 1, 0); return []input{{m, m}} }},
	{"channel_reestablish", "no point", func(x *subject) []input {
		return changed(reestablish(x, 1, 0), func(m *lnwire.ChannelReestablish) { m.LocalUnrevokedCommitPoint = nil })
	}},
	{"error", "", func(x *subject) []input {
		return each(&lnwire.Error{ChanID: x.s.ChannelID(), Data: []byte("\x00\xff")}, &lnwire.Error{Data: bytes.Repeat([]byte{7}, 65_000)}, &lnwire.Error{})
	}},
	{"warning", "", func(x *subject) []input {
		return each(&lnwire.Warning{ChanID: x.s.ChannelID(), Data: []byte("\x00\xff")}, &lnwire.Warning{})
	}},
	{"others", "", func(x *subject) []input {
		return []input{{&lnwire.Stfu{}}, {&lnwire.DynPropose{}}, {&lnwire.ClosingComplete{}}, {&lnwire.Ping{}}, {&lnwire.AnnounceSignatures1{}}}
	}},
}
