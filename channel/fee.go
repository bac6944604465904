package channel

import (
	"slices"

	"lightningrod/chain"

	"github.com/lightningnetwork/lnd/lnwire"
)

const boltFee = `BOLT 2 "Updating Fees"`

// updateFee proposes a fee rate. BOLT 2 "Updating Fees", the sending node.
func (t *turn) updateFee(rate chain.FeePerKw) error {
	switch {
	case !t.params.Opener:
		return refuse(ReasonNotOpener, "the peer opened the channel")
	case !t.canUpdate() || t.phase == PhaseShutdown && len(t.offered)+len(t.received) == 0:
		return refuse(ReasonNotUsable, "channel is %v", t.status())
	case rate < t.params.MinFeePerKw || rate > t.params.MaxFeePerKw:
		return refuse(ReasonFeeRate, "feerate_per_kw %d not in %d..%d", rate, t.params.MinFeePerKw, t.params.MaxFeePerKw)
	case rate == t.fees[len(t.fees)-1].rate:
		return nil
	case len(t.fees) > 1 && t.fees[len(t.fees)-1].stage != Proposed:
		// BOLT 2 would allow several on their way. LDK remembers one only, forgets the earlier, and signs with a rate that we do not expect.
		return refuse(ReasonFeePending, "feerate_per_kw %d is on its way", t.fees[len(t.fees)-1].rate)
	}
	for _, c := range []struct {
		view view
		dust int64
	}{{viewRemoteNext, t.remote.DustLimit}, {viewLocalAll, t.local.DustLimit}} {
		ld := t.load(c.view, c.dust)
		if left := room(ld.local, t.remote.Reserve, true, rate, ld.outputs); left < 0 {
			return refuse(ReasonBalance, "feerate_per_kw %d is %d msat more than we can pay", rate, -left)
		}
	}
	if last := len(t.fees) - 1; t.fees[last].stage == Proposed {
		// Not signed for: the later one replaces it, and will be the only one to be sent again.
		t.fees[last].rate = rate
		unsigned := slices.DeleteFunc(t.sent[t.signedRefs:], func(r ref) bool { return r.kind == refFee })
		t.sent = t.sent[:t.signedRefs+len(unsigned)]
	} else {
		t.fees = append(t.fees, fee{rate: rate, stage: Proposed})
	}
	t.sent = append(t.sent, ref{refFee, uint64(rate)})
	t.send(lnwire.NewUpdateFee(t.channelID, uint32(rate)))
	return nil
}

// receiveFee: BOLT 2 "Updating Fees", the receiving node.
func (t *turn) receiveFee(m *lnwire.UpdateFee) error {
	rate := chain.FeePerKw(m.FeePerKw)
	if t.params.Opener {
		return violation(boltFee, "update_fee from the side that does not pay")
	}
	if rate < t.params.MinFeePerKw || rate > t.params.MaxFeePerKw {
		return violation(boltFee, "feerate_per_kw %d not in %d..%d", rate, t.params.MinFeePerKw, t.params.MaxFeePerKw)
	}
	next := t.load(viewLocalNext, t.local.DustLimit)
	if left := room(next.remote, t.local.Reserve, true, rate, next.outputs); left < 0 {
		return violation(boltFee, "feerate_per_kw %d is %d msat more than the sender can pay", rate, -left)
	}
	// Several unsigned update_fee are one: the last counts. It also bounds the list.
	if last := len(t.fees) - 1; last > 0 && t.fees[last].stage == Proposed {
		t.fees[last].rate = rate
		return nil
	}
	t.fees = append(t.fees, fee{rate: rate, stage: Proposed})
	return nil
}
