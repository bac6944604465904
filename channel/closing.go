package channel

import (
	"bytes"
	"encoding/binary"

	"lightningrod/chain"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

const boltClosing = `BOLT 2 "Legacy Closing Negotiation: closing_signed"`

// ClosingSigned is lnwire's with an Encode that keeps ExtraData, where fee_range is: lnwire drops what it does not know.
type ClosingSigned struct{ lnwire.ClosingSigned }

// Encode writes the message with its TLV stream.
func (m *ClosingSigned) Encode(w *bytes.Buffer, _ uint32) error {
	if err := lnwire.WriteChannelID(w, m.ChannelID); err != nil {
		return err
	}
	if err := lnwire.WriteSatoshi(w, m.FeeSatoshis); err != nil {
		return err
	}
	if err := lnwire.WriteSig(w, m.Signature); err != nil {
		return err
	}
	return lnwire.WriteBytes(w, m.ExtraData)
}

// feeRange is the TLV fee_range of closing_signed, in satoshi.
type feeRange struct{ low, high int64 }

func (r feeRange) encode() []byte {
	b := []byte{1, 16}
	b = binary.BigEndian.AppendUint64(b, uint64(r.low))
	return binary.BigEndian.AppendUint64(b, uint64(r.high))
}

// decodeFeeRange finds fee_range in a TLV stream. lnwire has checked the stream; other records are odd and ignored.
func decodeFeeRange(extra lnwire.ExtraOpaqueData) (feeRange, bool) {
	m, err := extra.ExtractRecords()
	if err != nil || len(m[1]) != 16 {
		return feeRange{}, false
	}
	low, high := binary.BigEndian.Uint64(m[1][:8]), binary.BigEndian.Uint64(m[1][8:])
	if low > maxMoney || low > high {
		return feeRange{}, false
	}
	return feeRange{int64(low), int64(min(high, maxMoney))}, true
}

// progressClosing: the opener, who pays, proposes first. Each connection starts afresh.
func (t *turn) progressClosing() {
	mutual := t.phase == PhaseClosing && t.end.kind == endMutual && t.end.height == 0
	if !t.params.Opener || t.lastFee >= 0 || !t.connected || !t.established || !t.empty() || t.phase != PhaseShutdown && !mutual {
		return
	}
	fee, r := t.closingFee()
	if mutual {
		fee, r = t.end.fee, feeRange{t.end.fee, t.end.fee}
	}
	t.propose(fee, r, nil)
}

// quarrel is a rate that is not worth a quarrel, in sat/kw: peers estimate fees differently, and a close by force would cost more, and a day.
const quarrel chain.FeePerKw = 2500

// closingFee is what we think fair, and what we accept.
func (s *State) closingFee() (int64, feeRange) {
	floor := max(s.rates.Floor, s.params.MinFeePerKw)
	ideal := s.closeRate
	if ideal == 0 {
		ideal = s.rates.Normal
	}
	if ideal == 0 {
		ideal = s.FeePerKw()
	}
	ideal = max(ideal, floor)
	pays := int64(s.balanceRemote / 1000)
	if s.params.Opener {
		pays = int64(s.balanceLocal / 1000)
	}
	fee := min(s.closingAt(ideal), pays)
	return fee, feeRange{min(s.closingAt(floor), fee), min(max(s.bargain(fee), s.closingAt(quarrel)), pays)}
}

// closingAt is the fee of the closing transaction at a rate, in sat.
func (s *State) closingAt(rate chain.FeePerKw) int64 {
	return int64(rate) * commitment.ClosingWeight(s.localScript, s.remoteScript) / 1000
}

// bargain is the most for a peer that names no fee_range, when we think fee fair: it comes down when it is asked to.
func (s *State) bargain(fee int64) int64 {
	return max(2*fee, s.closingAt(s.rates.Urgent))
}

// closingFeeOf is the fee_satoshis of a closing transaction: what the opener's output lacks of its balance. One without that output has taken all of it.
func (s *State) closingFeeOf(tx *wire.MsgTx) int64 {
	script, has := s.remoteScript, int64(s.balanceRemote/1000)
	if s.params.Opener {
		script, has = s.localScript, int64(s.balanceLocal/1000)
	}
	for _, out := range tx.TxOut {
		if bytes.Equal(out.PkScript, script) && out.Value <= has {
			return has - out.Value
		}
	}
	return has
}

// closingTx is the closing transaction as the side with that dust limit signs it, perhaps without the peer's output. Ours is
// only ever left out as dust.
func (s *State) closingTx(fee int64, dust int64, omitRemote bool) (*wire.MsgTx, error) {
	local := commitment.ClosingOutput{Amount: s.balanceLocal, Script: s.localScript}
	remote := commitment.ClosingOutput{Amount: s.balanceRemote, Script: s.remoteScript, Omit: omitRemote}
	c := commitment.Closing{Funding: s.funding, Capacity: s.capacity, Opener: local, Accepter: remote, Fee: fee, DustLimit: dust}
	if !s.params.Opener {
		c.Opener, c.Accepter = remote, local
	}
	return commitment.ClosingTx(c)
}

// propose sends closing_signed for a fee. tx is the variant to sign, nil for our own.
func (t *turn) propose(fee int64, r feeRange, tx *wire.MsgTx) {
	if tx == nil {
		var err error
		if tx, err = t.closingTx(fee, t.local.DustLimit, false); err != nil {
			t.fail("no closing transaction: " + err.Error())
			return
		}
	}
	t.lastFee, t.lastRange = fee, r
	m := &ClosingSigned{lnwire.ClosingSigned{ChannelID: t.channelID, FeeSatoshis: btcutil.Amount(fee), Signature: t.signClosing(tx)}}
	m.ExtraData = r.encode()
	t.send(m)
}

func (t *turn) signClosing(tx *wire.MsgTx) lnwire.Sig {
	script, _ := t.fundingScript()
	job := commitment.SignJob{Key: commitment.KeyFunding, Digest: commitment.FundingDigest(tx, script, t.capacity)}
	return t.c.Sign([]commitment.SignJob{job})[0]
}

// signedVariant finds the closing transaction that the peer has signed: BOLT 3 lets it leave out its own output, and
// its dust limit may not be ours.
func (t *turn) signedVariant(fee int64, sig lnwire.Sig) (*wire.MsgTx, error) {
	if fee < 0 || !commitment.LowS(sig) {
		return nil, violation(boltClosing, "signature is not low-S")
	}
	script, _ := t.fundingScript()
	for _, v := range []struct {
		dust int64
		omit bool // the peer's output
	}{{t.local.DustLimit, false}, {t.remote.DustLimit, false}, {t.remote.DustLimit, true}} {
		tx, err := t.closingTx(fee, v.dust, v.omit)
		if err != nil {
			continue
		}
		digest := commitment.FundingDigest(tx, script, t.capacity)
		if t.c.Verify([]commitment.VerifyJob{{Key: t.theirs.Funding, Digest: digest, Sig: sig}}) {
			return tx, nil
		}
	}
	return nil, violation(boltClosing, "wrong signature for fee_satoshis %d", fee)
}

// receiveClosing: BOLT 2 "closing_signed", the receiving node.
func (t *turn) receiveClosing(m *lnwire.ClosingSigned) error {
	if !t.empty() {
		return violation(boltClosing, "closing_signed before the channel is empty")
	}
	if t.end.height != 0 {
		return nil
	}
	fee := int64(m.FeeSatoshis)
	tx, err := t.signedVariant(fee, m.Signature)
	if err != nil {
		return err
	}
	if fee == t.lastFee {
		if t.phase == PhaseClosing && fee == t.end.fee {
			return nil // agreed on before
		}
		t.agree(tx, fee, m.Signature)
		return nil
	}
	theirs, modern := decodeFeeRange(m.ExtraData)
	fair, ours := t.closingFee()
	if t.params.Opener {
		if t.lastFee < 0 {
			return misstep(boltClosing, "the opener proposes first")
		}
		if ours = t.lastRange; !modern {
			ours.high = min(ours.high, max(ours.low, t.bargain(fair)))
		}
	} else {
		// The accepter does not pay: it only wants the transaction to be relayed.
		ours.high = max(ours.low, int64(t.balanceRemote/1000))
	}
	switch {
	case fee >= ours.low && fee <= ours.high && (!modern || fee >= theirs.low && fee <= theirs.high):
		t.propose(fee, ours, tx)
		t.agree(tx, fee, m.Signature)
	case modern && (theirs.high < ours.low || theirs.low > ours.high):
		return misstep(boltClosing, "fee_range %d..%d does not meet ours, %d..%d", theirs.low, theirs.high, ours.low, ours.high)
	case modern && (t.params.Opener || t.lastFee >= 0):
		return violation(boltClosing, "fee_satoshis %d outside the common fee_range", fee)
	case modern:
		t.propose(max(ours.low, theirs.low), ours, nil)
	default:
		return t.haggle(fee, ours)
	}
	return nil
}

// haggle answers a peer without fee_range: strictly between its fee and our last, until one accepts. The peer has to do
// the same, so that it comes to an end. Where the middle is beyond what we accept we go towards our limit in small steps: a
// peer may need many rounds to come to us (lnd moves by a tenth a round), and at the limit we have nothing left to say.
func (t *turn) haggle(fee int64, ours feeRange) error {
	last, heard := t.lastFee, t.lastHeard
	if last >= 0 && heard >= 0 && (fee <= min(last, heard) || fee >= max(last, heard)) {
		return violation(boltClosing, "fee_satoshis %d not between %d and %d", fee, last, heard)
	}
	t.lastHeard = fee
	if last < 0 {
		t.propose(ours.low, ours, nil)
		return nil
	}
	next := (fee + last) / 2
	switch {
	case next > ours.high:
		next = last + max((ours.high-last)/8, 1)
	case next < ours.low:
		next = last - max((last-ours.low)/8, 1)
	}
	if next == last || next == fee || next < ours.low || next > ours.high {
		return violation(boltClosing, "fee_satoshis %d outside %d..%d", fee, ours.low, ours.high)
	}
	t.propose(next, ours, nil)
	return nil
}

// agree publishes the closing transaction both sides have signed.
func (t *turn) agree(tx *wire.MsgTx, fee int64, theirs lnwire.Sig) {
	script, _ := t.fundingScript()
	done := tx.Copy()
	done.TxIn[0].Witness = commitment.FundingStack(script, t.params.BasePoints.Funding, t.theirs.Funding, t.signClosing(tx), theirs)
	t.phase = PhaseClosing
	t.end = end{kind: endMutual, tx: done, fee: fee, reason: "closed cooperatively"}
	t.dirty = true
	t.request(chain.Publish{Tx: done})
}
