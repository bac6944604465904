package channel

import (
	"lightningrod/chain"
	"lightningrod/channel/commitment"

	"github.com/lightningnetwork/lnd/lnwire"
)

// openerCost is what the opener pays for a commitment with that many untrimmed HTLCs before anything else, in msat.
func openerCost(rate chain.FeePerKw, htlcs int) int64 {
	return commitment.OpenerCost(uint32(rate), htlcs) * 1000
}

// load is what a view of the HTLCs comes to, of one commitment.
type load struct {
	local, remote    lnwire.MilliSatoshi // the shares
	ours, theirs     int                 // HTLCs, by who offered them
	oursIn, theirsIn lnwire.MilliSatoshi // their sums
	outputs          int                 // HTLCs not below the owner's dust limit
}

func (s *State) load(v view, dust int64) load {
	var ld load
	ld.local, ld.remote, _ = s.shares(v)
	for i := range s.offered {
		if h := &s.offered[i]; v.pays(h, true) {
			ld.ours++
			ld.oursIn += h.Amount
			ld.outputs += counted(h.Amount, dust)
		}
	}
	for i := range s.received {
		if h := &s.received[i]; v.pays(h, false) {
			ld.theirs++
			ld.theirsIn += h.Amount
			ld.outputs += counted(h.Amount, dust)
		}
	}
	return ld
}

// output is 1 if an HTLC has an output of its own. With option_anchors its second transaction pays no fee, so the fee
// rate plays no part: a spike of it trims nothing more.
func output(amount lnwire.MilliSatoshi, dust int64) int {
	if commitment.Trimmed(commitment.HTLC{Amount: amount}, dust) {
		return 0
	}
	return 1
}

// counted is output, for the fee.
func counted(amount lnwire.MilliSatoshi, dust int64) int { return output(amount, dust+nearDust) }

// room is what one side has to offer: from its share, less its reserve and, if it opened the channel, the fee of htlcs outputs.
func room(share lnwire.MilliSatoshi, reserve int64, opener bool, rate chain.FeePerKw, htlcs int) int64 {
	left := int64(share) - reserve*1000
	if opener {
		left -= openerCost(rate, htlcs)
	}
	return left
}

// viewLocalAll is our commitment once everything we have proposed is in it, and no less of the peer's than now.
var viewLocalAll = view{ours: Proposed, theirs: Signed}

// checkAdd says whether we may offer an HTLC. BOLT 2 "Adding an HTLC", the sending node.
func (s *State) checkAdd(h *HTLC) *Refusal {
	next := s.load(viewRemoteNext, s.remote.DustLimit)
	rate := max(s.rate(viewRemoteNext), s.rate(viewLocalAll))
	switch {
	case h.Amount == 0 || h.Amount < s.remote.HTLCMinimum:
		return refuse(ReasonBelowMinimum, "amount_msat %d below htlc_minimum_msat %d", uint64(h.Amount), uint64(s.remote.HTLCMinimum))
	case h.Amount > maxMoney*1000:
		return refuse(ReasonBalance, "amount_msat %d is more than there is", uint64(h.Amount))
	case h.Expiry >= maxExpiry:
		return refuse(ReasonExpiry, "cltv_expiry %d is not a block height", h.Expiry)
	case h.Expiry <= s.height:
		return refuse(ReasonExpiry, "cltv_expiry %d reached at height %d", h.Expiry, s.height)
	case next.ours+1 > int(s.remote.MaxAcceptedHTLCs):
		return refuse(ReasonTooManyHTLCs, "max_accepted_htlcs %d", s.remote.MaxAcceptedHTLCs)
	case next.oursIn+h.Amount > s.remote.MaxInFlight:
		return refuse(ReasonInFlight, "%d msat would exceed max_htlc_value_in_flight_msat %d", uint64(next.oursIn+h.Amount), uint64(s.remote.MaxInFlight))
	}
	if e := s.dustExposure(h.Amount); e > s.params.MaxDustExposure {
		return refuse(ReasonDustExposure, "%d msat would exceed the limit %d", uint64(e), uint64(s.params.MaxDustExposure))
	}
	for _, ld := range []struct {
		load
		dust int64
	}{{next, s.remote.DustLimit}, {s.load(viewLocalAll, s.local.DustLimit), s.local.DustLimit}} {
		if err := s.checkAfford(ld.load, h.Amount, ld.outputs+counted(h.Amount, ld.dust), rate); err != nil {
			return err
		}
	}
	return nil
}

// checkAfford looks at one commitment of the two: n is its number of HTLC outputs with the new one.
func (s *State) checkAfford(ld load, amount lnwire.MilliSatoshi, n int, rate chain.FeePerKw) *Refusal {
	opener := s.params.Opener
	if left := room(ld.local, s.remote.Reserve, opener, rate, n) - int64(amount); left < 0 {
		return refuse(ReasonBalance, "%d msat short of amount, reserve and fee", -left)
	}
	// BOLT 2: as opener keep enough to pay twice the fee rate, and for one more HTLC, so that the channel cannot get stuck.
	if left := room(ld.local, s.remote.Reserve, opener, 2*rate, n+1) - int64(amount); left < 0 {
		return refuse(ReasonFeeBuffer, "%d msat short of the fee buffer", -left)
	}
	// BOLT 2: do not offer what the peer, who pays the fee, cannot afford to have in the commitment.
	if !opener {
		if left := room(ld.remote, s.local.Reserve, true, rate, n); left < 0 {
			return refuse(ReasonPeerFee, "peer is %d msat short of the fee", -left)
		}
	}
	return nil
}

// checkReceivedAdd says whether the peer may offer an HTLC. BOLT 2 "Adding an HTLC", the receiving node.
func (s *State) checkReceivedAdd(amount lnwire.MilliSatoshi, expiry uint32) *Violation {
	const bolt = `BOLT 2 "Adding an HTLC"`
	next := s.load(viewLocalNext, s.local.DustLimit)
	switch {
	case amount == 0 || amount < s.local.HTLCMinimum:
		return violation(bolt, "amount_msat %d below htlc_minimum_msat %d", uint64(amount), uint64(s.local.HTLCMinimum))
	case amount > maxMoney*1000:
		return violation(bolt, "amount_msat %d is more than there is", uint64(amount))
	case expiry >= maxExpiry:
		return violation(bolt, "cltv_expiry %d is not a block height", expiry)
	case next.theirs+1 > int(s.local.MaxAcceptedHTLCs):
		return violation(bolt, "htlc %d exceeds max_accepted_htlcs %d", next.theirs+1, s.local.MaxAcceptedHTLCs)
	case next.theirsIn+amount > s.local.MaxInFlight:
		return violation(bolt, "%d msat exceed max_htlc_value_in_flight_msat %d", uint64(next.theirsIn+amount), uint64(s.local.MaxInFlight))
	}
	n := next.outputs + counted(amount, s.local.DustLimit)
	left := room(next.remote, s.local.Reserve, !s.params.Opener, s.rate(viewLocalNext), n) - int64(amount)
	if left < 0 {
		return violation(bolt, "amount_msat %d is %d msat more than the sender can afford", uint64(amount), -left)
	}
	return nil
}

// dustExposure is what would go to fees if the worse of the two commitments were published now, with one more HTLC.
// BOLT 2 "Bounding exposure to trimmed in-flight HTLCs".
func (s *State) dustExposure(extra lnwire.MilliSatoshi) lnwire.MilliSatoshi {
	var local, remote lnwire.MilliSatoshi
	add := func(amount lnwire.MilliSatoshi) {
		if output(amount, s.local.DustLimit) == 0 {
			local += amount
		}
		if output(amount, s.remote.DustLimit) == 0 {
			remote += amount
		}
	}
	for i := range s.offered {
		add(s.offered[i].Amount)
	}
	for i := range s.received {
		add(s.received[i].Amount)
	}
	if output(extra, max(s.local.DustLimit, s.remote.DustLimit)) == 1 {
		return 0 // an HTLC with outputs in both adds nothing
	}
	add(extra)
	return max(local, remote)
}

// Usable says whether HTLCs can be added now, and how large a single one may be, either way.
func (s *State) Usable() (out, in Capacity, ok bool) {
	if !s.canAdd() {
		return Capacity{}, Capacity{}, false
	}
	toRemote := s.load(viewRemoteNext, s.remote.DustLimit)
	toLocal := s.load(viewLocalNext, s.local.DustLimit)
	rate := s.rate(viewRemoteNext)
	opener := s.params.Opener
	out = capacity(s.remote, toRemote.ours, toRemote.oursIn,
		room(toRemote.local, s.remote.Reserve, opener, 2*rate, toRemote.outputs+2),
		opener || room(toRemote.remote, s.local.Reserve, true, rate, toRemote.outputs+1) >= 0)
	in = capacity(s.local, toLocal.theirs, toLocal.theirsIn,
		room(toLocal.remote, s.local.Reserve, !opener, 2*rate, toLocal.outputs+2),
		!opener || room(toLocal.local, s.remote.Reserve, true, rate, toLocal.outputs+1) >= 0)
	if opener {
		mine := s.load(viewLocalAll, s.local.DustLimit)
		left := room(mine.local, s.remote.Reserve, true, 2*rate, mine.outputs+2)
		out.Max = min(out.Max, lnwire.MilliSatoshi(max(left, 0)))
	}
	return out, in, true
}

// capacity is what the side that is limited by l can be offered.
func capacity(l Limits, count int, inFlight lnwire.MilliSatoshi, left int64, feePaid bool) Capacity {
	c := Capacity{Min: l.HTLCMinimum}
	if n := int(l.MaxAcceptedHTLCs) - count; n > 0 {
		c.Slots = uint16(n)
	}
	if left <= 0 || !feePaid || c.Slots == 0 || inFlight >= l.MaxInFlight {
		return c
	}
	if c.Max = min(lnwire.MilliSatoshi(left), l.MaxInFlight-inFlight); c.Max < c.Min {
		c.Max = 0
	}
	return c
}

// canAdd says whether the channel takes new HTLCs of ours.
func (s *State) canAdd() bool {
	return s.phase == PhaseNormal && s.canUpdate() && !s.shutdownWanted && s.confirmed != 0
}

// canUpdate says whether any update may be sent.
func (s *State) canUpdate() bool {
	return (s.phase == PhaseNormal || s.phase == PhaseShutdown) && s.connected && s.established && s.readySent && s.readyReceived
}
