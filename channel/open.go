package channel

import (
	"lightningrod/chain"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcutil"
	"github.com/lightningnetwork/lnd/lnwire"
)

// boltOpen is where most rules of this file stand.
const boltOpen = `BOLT 2 "The open_channel Message"`

// open sends open_channel. BOLT 2 "The open_channel Message", the sending node.
func (t *turn) open(ev Open) error {
	switch capacity := int64(ev.Capacity); {
	case !t.params.Opener || t.opening != openNew:
		return refuse(ReasonBadParameters, "not a new channel of ours")
	case !t.connected:
		return refuse(ReasonNotUsable, "not connected")
	case ev.Capacity > maxMoney || capacity < t.params.MinCapacity || capacity > t.params.MaxCapacity:
		return refuse(ReasonBadParameters, "funding_satoshis %d not in %d..%d", ev.Capacity, t.params.MinCapacity, t.params.MaxCapacity)
	case capacity >= wumbo && !t.peerHas(lnwire.WumboChannelsOptional):
		return refuse(ReasonBadParameters, "funding_satoshis %d, but the peer has no option_support_large_channel", ev.Capacity)
	case ev.Push > lnwire.MilliSatoshi(ev.Capacity)*1000:
		return refuse(ReasonBadParameters, "push_msat %d above funding_satoshis %d", uint64(ev.Push), ev.Capacity)
	case ev.FeePerKw < t.params.MinFeePerKw || ev.FeePerKw > t.params.MaxFeePerKw:
		return refuse(ReasonFeeRate, "feerate_per_kw %d not in %d..%d", ev.FeePerKw, t.params.MinFeePerKw, t.params.MaxFeePerKw)
	case t.params.Limits.MaxAcceptedHTLCs > maxHTLCs:
		return refuse(ReasonBadParameters, "max_accepted_htlcs %d above %d", t.params.Limits.MaxAcceptedHTLCs, maxHTLCs)
	}
	t.capacity = int64(ev.Capacity)
	t.announce = t.params.Announce
	t.scidAlias = !t.announce && t.peerHas(lnwire.ScidAliasOptional)
	t.balanceRemote = ev.Push
	t.balanceLocal = lnwire.MilliSatoshi(ev.Capacity)*1000 - ev.Push
	t.fees = []fee{{rate: ev.FeePerKw, stage: Irrevocable}}
	t.completeLimits()
	if room(t.balanceLocal, t.local.Reserve, true, ev.FeePerKw, 0) < 0 {
		return refuse(ReasonBalance, "nothing left for the reserve and the fee after push_msat %d", uint64(ev.Push))
	}
	t.opening = openSentOpen
	b := &t.params.BasePoints
	m := &lnwire.OpenChannel{
		ChainHash:             t.params.ChainHash,
		PendingChannelID:      t.params.TempID,
		FundingAmount:         btcutil.Amount(t.capacity),
		PushAmount:            ev.Push,
		DustLimit:             btcutil.Amount(t.local.DustLimit),
		MaxValueInFlight:      t.local.MaxInFlight,
		ChannelReserve:        btcutil.Amount(t.local.Reserve),
		HtlcMinimum:           t.local.HTLCMinimum,
		FeePerKiloWeight:      uint32(ev.FeePerKw),
		CsvDelay:              t.local.ToSelfDelay,
		MaxAcceptedHTLCs:      t.local.MaxAcceptedHTLCs,
		FundingKey:            t.parse(b.Funding),
		RevocationPoint:       t.parse(b.Revocation),
		PaymentPoint:          t.parse(b.Payment),
		DelayedPaymentPoint:   t.parse(b.DelayedPayment),
		HtlcPoint:             t.parse(b.HTLC),
		FirstCommitmentPoint:  t.parse(t.c.Point(0)),
		ChannelType:           channelType(t.scidAlias),
		UpfrontShutdownScript: lnwire.DeliveryAddress{},
	}
	if t.announce {
		m.ChannelFlags = lnwire.FFAnnounceChannel
	}
	t.send(m)
	return nil
}

// completeLimits fills in those of our limits that depend on the capacity. BOLT 2 suggests 1 % as the reserve.
func (t *turn) completeLimits() {
	orDefault(&t.local.Reserve, max(t.capacity/100, t.local.DustLimit, 1000))
	orDefault(&t.local.MaxInFlight, lnwire.MilliSatoshi(t.capacity)*1000)
}

// receiveOpen answers open_channel. BOLT 2 "The open_channel Message", the receiving node.
func (t *turn) receiveOpen(m *lnwire.OpenChannel) error {
	if t.params.Opener || t.opening != openNew {
		return misstep(boltOpen, "unexpected open_channel")
	}
	t.params.TempID = m.PendingChannelID
	t.capacity = int64(m.FundingAmount)
	if err := t.checkOpen(m); err != nil {
		return err
	}
	t.completeLimits()
	t.announce = m.ChannelFlags&lnwire.FFAnnounceChannel != 0
	t.fees = []fee{{rate: chain.FeePerKw(m.FeePerKiloWeight), stage: Irrevocable}}
	t.balanceLocal = m.PushAmount
	t.balanceRemote = lnwire.MilliSatoshi(t.capacity)*1000 - m.PushAmount
	t.remote = Limits{
		DustLimit: int64(m.DustLimit), MaxInFlight: m.MaxValueInFlight, Reserve: int64(m.ChannelReserve),
		HTLCMinimum: m.HtlcMinimum, ToSelfDelay: m.CsvDelay, MaxAcceptedHTLCs: m.MaxAcceptedHTLCs,
	}
	// The opener's reserve, which is ours to set, must be no dust for it, and ours no dust for us.
	t.local.Reserve = max(t.local.Reserve, t.remote.DustLimit)
	if err := t.checkRemoteLimits(boltOpen); err != nil {
		return err
	}
	if err := t.checkFirstCommitment(); err != nil {
		return err
	}
	if err := t.takePoints(boltOpen, m.FundingKey, m.RevocationPoint, m.PaymentPoint, m.DelayedPaymentPoint, m.HtlcPoint, m.FirstCommitmentPoint); err != nil {
		return err
	}
	if err := t.takeUpfront(m.UpfrontShutdownScript); err != nil {
		return err
	}
	t.minDepth = t.params.MinDepth
	t.opening = openSentAccept
	t.sendAccept(m.ChannelType)
	return nil
}

// checkOpen checks what only open_channel has.
func (t *turn) checkOpen(m *lnwire.OpenChannel) error {
	announce := m.ChannelFlags&lnwire.FFAnnounceChannel != 0
	switch capacity := int64(m.FundingAmount); {
	case m.ChainHash != t.params.ChainHash:
		return violation(boltOpen, "unknown chain_hash %v", m.ChainHash)
	case m.ChannelType == nil:
		return violation(boltOpen, "no channel_type")
	case capacity < t.params.MinCapacity || capacity > t.params.MaxCapacity || capacity > maxMoney:
		return violation(boltOpen, "funding_satoshis %d not in %d..%d", capacity, t.params.MinCapacity, t.params.MaxCapacity)
	case m.PushAmount > lnwire.MilliSatoshi(capacity)*1000:
		return violation(boltOpen, "push_msat %d above funding_satoshis %d", uint64(m.PushAmount), capacity)
	case chain.FeePerKw(m.FeePerKiloWeight) < t.params.MinFeePerKw || chain.FeePerKw(m.FeePerKiloWeight) > t.params.MaxFeePerKw:
		return violation(boltOpen, "feerate_per_kw %d not in %d..%d", m.FeePerKiloWeight, t.params.MinFeePerKw, t.params.MaxFeePerKw)
	}
	switch {
	case sameType(m.ChannelType, false):
	case sameType(m.ChannelType, true) && !announce:
		t.scidAlias = true
	default:
		// BOLT 2: option_zeroconf among others; we trust nobody to fund without confirmation.
		return violation(boltOpen, "channel_type is not {12,22}, nor {12,22,46} of an unannounced channel")
	}
	return nil
}

func (t *turn) sendAccept(kind *lnwire.ChannelType) {
	b := &t.params.BasePoints
	t.send(&lnwire.AcceptChannel{
		PendingChannelID:      t.params.TempID,
		DustLimit:             btcutil.Amount(t.local.DustLimit),
		MaxValueInFlight:      t.local.MaxInFlight,
		ChannelReserve:        btcutil.Amount(t.local.Reserve),
		HtlcMinimum:           t.local.HTLCMinimum,
		MinAcceptDepth:        t.params.MinDepth,
		CsvDelay:              t.local.ToSelfDelay,
		MaxAcceptedHTLCs:      t.local.MaxAcceptedHTLCs,
		FundingKey:            t.parse(b.Funding),
		RevocationPoint:       t.parse(b.Revocation),
		PaymentPoint:          t.parse(b.Payment),
		DelayedPaymentPoint:   t.parse(b.DelayedPayment),
		HtlcPoint:             t.parse(b.HTLC),
		FirstCommitmentPoint:  t.parse(t.c.Point(0)),
		UpfrontShutdownScript: lnwire.DeliveryAddress{},
		ChannelType:           kind,
	})
}

// receiveAccept: the parameters stand. BOLT 2 "The accept_channel Message".
func (t *turn) receiveAccept(m *lnwire.AcceptChannel) error {
	const bolt = `BOLT 2 "The accept_channel Message"`
	if t.opening != openSentOpen {
		return misstep(bolt, "unexpected accept_channel")
	}
	switch {
	case m.ChannelType == nil:
		return violation(bolt, "no channel_type")
	case !sameType(m.ChannelType, t.scidAlias):
		return violation(bolt, "channel_type is not that of open_channel")
	case m.MinAcceptDepth == 0:
		return violation(bolt, "minimum_depth 0 without option_zeroconf")
	case m.MinAcceptDepth > maxMinimumDepth:
		return violation(bolt, "minimum_depth %d above %d", m.MinAcceptDepth, maxMinimumDepth)
	}
	t.remote = Limits{
		DustLimit: int64(m.DustLimit), MaxInFlight: m.MaxValueInFlight, Reserve: int64(m.ChannelReserve),
		HTLCMinimum: m.HtlcMinimum, ToSelfDelay: m.CsvDelay, MaxAcceptedHTLCs: m.MaxAcceptedHTLCs,
	}
	if err := t.checkRemoteLimits(bolt); err != nil {
		return err
	}
	if err := t.checkFirstCommitment(); err != nil {
		return err
	}
	if err := t.takePoints(bolt, m.FundingKey, m.RevocationPoint, m.PaymentPoint, m.DelayedPaymentPoint, m.HtlcPoint, m.FirstCommitmentPoint); err != nil {
		return err
	}
	if err := t.takeUpfront(m.UpfrontShutdownScript); err != nil {
		return err
	}
	t.minDepth = max(m.MinAcceptDepth, t.params.MinDepth)
	t.opening = openNeedFunding
	_, pkScript := t.fundingScript()
	t.notice(NeedFunding{Script: pkScript, Amount: t.capacity})
	return nil
}

// checkRemoteLimits checks what both messages have, against our own limits.
func (t *turn) checkRemoteLimits(bolt string) error {
	r, l := &t.remote, &t.local
	switch {
	case r.DustLimit < minDustLimit:
		return violation(bolt, "dust_limit_satoshis %d below minimum %d", r.DustLimit, minDustLimit)
	case r.DustLimit > maxDustLimit:
		return violation(bolt, "dust_limit_satoshis %d above maximum %d", r.DustLimit, maxDustLimit)
	case r.DustLimit > r.Reserve:
		return violation(bolt, "dust_limit_satoshis %d above channel_reserve_satoshis %d", r.DustLimit, r.Reserve)
	case r.Reserve < l.DustLimit:
		return violation(bolt, "channel_reserve_satoshis %d below our dust_limit_satoshis %d", r.Reserve, l.DustLimit)
	case l.Reserve < r.DustLimit:
		return violation(bolt, "dust_limit_satoshis %d above our channel_reserve_satoshis %d", r.DustLimit, l.Reserve)
	case r.Reserve > max(t.capacity/5, 2*minDustLimit):
		return violation(bolt, "channel_reserve_satoshis %d above a fifth of funding_satoshis %d", r.Reserve, t.capacity)
	case r.MaxAcceptedHTLCs > maxHTLCs:
		return violation(bolt, "max_accepted_htlcs %d above %d", r.MaxAcceptedHTLCs, maxHTLCs)
	case r.MaxAcceptedHTLCs < 1:
		return violation(bolt, "max_accepted_htlcs 0")
	case r.ToSelfDelay > t.params.MaxToSelfDelay:
		return violation(bolt, "to_self_delay %d above %d", r.ToSelfDelay, t.params.MaxToSelfDelay)
	case r.HTLCMinimum > lnwire.MilliSatoshi(t.capacity)*1000/100:
		return violation(bolt, "htlc_minimum_msat %d above a hundredth of the capacity", uint64(r.HTLCMinimum))
	case r.MaxInFlight < r.HTLCMinimum || r.MaxInFlight < lnwire.MilliSatoshi(t.capacity)*1000/100:
		return violation(bolt, "max_htlc_value_in_flight_msat %d too small", uint64(r.MaxInFlight))
	}
	// A peer may say 2^64-1, "no limit"; sums must not overflow.
	r.MaxInFlight = min(r.MaxInFlight, lnwire.MilliSatoshi(t.capacity)*1000)
	return nil
}

// checkFirstCommitment: BOLT 2: the opener can pay the fee, and one side has more than the reserve.
func (t *turn) checkFirstCommitment() error {
	rate, cost := t.fees[0].rate, openerCost(t.fees[0].rate, 0)
	local, remote := int64(t.balanceLocal), int64(t.balanceRemote)
	if t.params.Opener {
		local -= cost
	} else {
		remote -= cost
	}
	if local < 0 || remote < 0 {
		return violation(boltOpen, "the opener cannot pay the fee at feerate_per_kw %d", rate)
	}
	if reserve := max(t.local.Reserve, t.remote.Reserve) * 1000; local <= reserve && remote <= reserve {
		return violation(boltOpen, "no side has more than the reserve %d", reserve/1000)
	}
	return nil
}

// takePoints keeps the peer's basepoints. They were parsed as points by lnwire, except when a test or fuzzer made them.
func (t *turn) takePoints(bolt string, funding, revocation, payment, delayed, htlc, first *btcec.PublicKey) error {
	points := []*btcec.PublicKey{funding, revocation, payment, delayed, htlc, first}
	keys := make([]commitment.PubKey, len(points))
	for i, p := range points {
		if p == nil {
			return violation(bolt, "a basepoint is missing")
		}
		copy(keys[i][:], p.SerializeCompressed())
	}
	t.theirs = commitment.BasePoints{Funding: keys[0], Revocation: keys[1], Payment: keys[2], DelayedPayment: keys[3], HTLC: keys[4]}
	t.remotePoint = keys[5]
	return nil
}

// takeUpfront keeps upfront_shutdown_script, which binds the peer even if both sides have not advertised it.
func (t *turn) takeUpfront(script lnwire.DeliveryAddress) error {
	if len(script) == 0 {
		return nil
	}
	if !commitment.ValidShutdownScript(script, t.anySegwit()) {
		return violation(`BOLT 2 "Closing Initiation: shutdown"`, "upfront_shutdown_script %x has no permitted form", []byte(script))
	}
	t.upfront = append([]byte(nil), script...)
	return nil
}

// channelType is option_static_remotekey and option_anchors, the only type we open, with or without option_scid_alias.
func channelType(scidAlias bool) *lnwire.ChannelType {
	bits := []lnwire.FeatureBit{lnwire.StaticRemoteKeyRequired, lnwire.AnchorsZeroFeeHtlcTxRequired}
	if scidAlias {
		bits = append(bits, lnwire.ScidAliasRequired)
	}
	kind := lnwire.ChannelType(*lnwire.NewRawFeatureVector(bits...))
	return &kind
}

func sameType(kind *lnwire.ChannelType, scidAlias bool) bool {
	got, want := lnwire.RawFeatureVector(*kind), lnwire.RawFeatureVector(*channelType(scidAlias))
	return got.Equals(&want)
}

// peerHas says whether the peer's init had a feature, required or optional.
func (s *State) peerHas(optional lnwire.FeatureBit) bool {
	return s.hasBit(uint(optional)) || s.hasBit(uint(optional)-1)
}

// hasBit reads the raw feature vector, whose last byte has the lowest bits.
func (s *State) hasBit(bit uint) bool {
	n := len(s.features)
	i := int(bit / 8)
	return i < n && s.features[n-1-i]>>(bit%8)&1 == 1
}

func (s *State) anySegwit() bool { return s.peerHas(lnwire.ShutdownAnySegwitOptional) }

// parse turns one of our own keys into lnwire's form.
func (t *turn) parse(k commitment.PubKey) *btcec.PublicKey {
	p, err := btcec.ParsePubKey(k[:])
	if err != nil {
		t.bug(err)
	}
	return p
}
