package channel

import (
	"bytes"

	"lightningrod/chain"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// fund takes the funding transaction, which nobody must have published, and sends funding_created.
func (t *turn) fund(ev Funding) error {
	_, pkScript := t.fundingScript()
	switch {
	case t.opening != openNeedFunding:
		return refuse(ReasonBadParameters, "no funding transaction was asked for")
	case ev.Tx == nil || int64(ev.Index) >= int64(len(ev.Tx.TxOut)) || ev.Index > 0xffff:
		return refuse(ReasonBadParameters, "funding output %d does not exist", ev.Index)
	case !bytes.Equal(ev.Tx.TxOut[ev.Index].PkScript, pkScript) || ev.Tx.TxOut[ev.Index].Value != t.capacity:
		return refuse(ReasonBadParameters, "output %d is not the funding output", ev.Index)
	}
	t.fundingTx = ev.Tx
	t.setFunding(wire.OutPoint{Hash: ev.Tx.TxHash(), Index: ev.Index})
	sig, err := t.signFirst()
	if err != nil {
		return refuse(ReasonBadParameters, "%v", err)
	}
	t.opening = openSentCreated
	t.send(&lnwire.FundingCreated{PendingChannelID: t.params.TempID, FundingPoint: t.funding, CommitSig: sig})
	return nil
}

func (t *turn) setFunding(out wire.OutPoint) {
	t.funding = out
	t.channelID = lnwire.NewChanIDFromOutPoint(out)
	t.obscure = t.obscureFactor()
}

func (s *State) obscureFactor() uint64 {
	if s.params.Opener {
		return commitment.ObscureFactor(s.params.BasePoints.Payment, s.theirs.Payment)
	}
	return commitment.ObscureFactor(s.theirs.Payment, s.params.BasePoints.Payment)
}

// signFirst signs the peer's commitment number 0.
func (t *turn) signFirst() (lnwire.Sig, error) {
	cm, err := t.buildRemote(t.c, viewRemote, 0, t.remotePoint)
	if err != nil {
		return lnwire.Sig{}, err
	}
	script, _ := t.fundingScript()
	return t.c.Sign(cm.SignJobs(script))[0], nil
}

// takeFirst checks and keeps the peer's signature over our commitment number 0.
func (t *turn) takeFirst(bolt string, sig lnwire.Sig) error {
	cm, err := t.buildLocal(t.c, viewLocal, 0)
	if err != nil {
		return violation(bolt, "no such commitment: %v", err)
	}
	if err := t.verify(bolt, cm, []lnwire.Sig{sig}); err != nil {
		return err
	}
	t.localSig = sig
	return nil
}

// verify checks the peer's signatures over our commitment and its HTLC transactions.
func (t *turn) verify(bolt string, cm *commitment.Commitment, sigs []lnwire.Sig) error {
	script, _ := t.fundingScript()
	for i := range sigs {
		// CVE-2020-26895: high-S is valid but not relayed, so such a commitment could not be published.
		if !commitment.LowS(sigs[i]) {
			return violation(bolt, "signature %d is not low-S", i)
		}
	}
	jobs, err := cm.VerifyJobs(script, sigs)
	if err != nil {
		return violation(bolt, "%v", err)
	}
	if !t.c.Verify(jobs) {
		return violation(bolt, "wrong signature for commitment %d", cm.Spec.Number)
	}
	return nil
}

// receiveFundingCreated: from here on the channel exists for the accepter.
func (t *turn) receiveFundingCreated(m *lnwire.FundingCreated) error {
	const bolt = `BOLT 2 "The funding_created Message"`
	if t.opening != openSentAccept || m.PendingChannelID != t.params.TempID {
		return misstep(bolt, "unexpected funding_created")
	}
	t.setFunding(m.FundingPoint)
	if err := t.takeFirst(bolt, m.CommitSig); err != nil {
		return err
	}
	sig, err := t.signFirst()
	if err != nil {
		return violation(bolt, "%v", err)
	}
	t.funded()
	t.send(&lnwire.FundingSigned{ChanID: t.channelID, CommitSig: sig})
	return nil
}

// receiveFundingSigned: from here on the channel exists for the opener, and the funding transaction may be published:
// the request waits for the row like everything that leaves.
func (t *turn) receiveFundingSigned(m *lnwire.FundingSigned) error {
	const bolt = `BOLT 2 "The funding_signed Message"`
	if t.opening != openSentCreated {
		return misstep(bolt, "unexpected funding_signed")
	}
	if m.ChanID != t.channelID {
		return violation(bolt, "channel_id %v is not that of the funding output", m.ChanID)
	}
	if err := t.takeFirst(bolt, m.CommitSig); err != nil {
		return err
	}
	t.funded()
	return nil
}

func (t *turn) funded() {
	t.opening = openFunded
	t.established = true
	t.lastFee, t.lastHeard = -1, -1
	t.dirty = true
	t.out.Chain = append(t.out.Chain, t.watches()...)
}

// watches is every watch and publish the channel needs in its present state, again.
func (s *State) watches() []chain.Request {
	if !s.Durable() || s.phase == PhaseClosed {
		return nil
	}
	var reqs []chain.Request
	_, pkScript := s.fundingScript()
	if s.fundingTx != nil && s.confirmed == 0 {
		reqs = append(reqs, chain.Publish{Tx: s.fundingTx})
	}
	since := s.params.Height
	if s.confirmed != 0 {
		since = s.confirmed
	}
	reqs = append(reqs, chain.WatchTx{Txid: s.funding.Hash, Script: pkScript, Since: since},
		chain.WatchSpend{Out: s.funding, Script: pkScript, Since: since})
	return append(reqs, s.end.watches()...)
}

// fundingConfirmed checks the funding output byte for byte: CVE-2019-12998 and its kin.
func (t *turn) fundingConfirmed(f chain.Confirmed) {
	if f.Tx == nil || f.Tx.TxHash() != t.funding.Hash || t.phase == PhaseClosed {
		return
	}
	_, pkScript := t.fundingScript()
	i := t.funding.Index
	if int64(i) >= int64(len(f.Tx.TxOut)) || f.Tx.TxOut[i].Value != t.capacity || !bytes.Equal(f.Tx.TxOut[i].PkScript, pkScript) {
		if t.params.Opener {
			t.bug(errWrongFunding)
		}
		const text = "the funding output does not pay funding_satoshis to the funding script"
		t.notice(Violated{Err: violation(`BOLT 2 "The channel_ready Message"`, text)})
		t.send(&lnwire.Error{ChanID: t.channelID, Data: lnwire.ErrorData(text)})
		t.abandon(text)
		return
	}
	t.confirmed, t.txIndex = f.Height, f.TxIndex
	t.dirty = true
}

// depth is how many confirmations something at height h has; 0 if it is not confirmed.
func (s *State) depth(h uint32) uint32 {
	if h == 0 || s.height < h {
		return 0
	}
	return s.height - h + 1
}

// needDepth is when the channel may be used. Coinbase outputs cannot be spent, so their HTLCs not enforced, for 100 blocks.
func (s *State) needDepth() uint32 {
	if s.txIndex == 0 {
		return max(s.minDepth, coinbaseDepth)
	}
	return s.minDepth
}

// progressReady sends channel_ready once the funding transaction is deep enough, and tells when the channel is ready.
func (t *turn) progressReady() {
	if t.opening != openFunded || t.confirmed == 0 || t.phase > PhaseShutdown {
		return
	}
	depth := t.depth(t.confirmed)
	if !t.readySent && depth >= t.needDepth() {
		t.readySent = true
		t.dirty = true
		if t.connected && t.established {
			t.sendReady()
		}
	}
	if !t.readySent || !t.readyReceived {
		return
	}
	if t.phase == PhaseOpening {
		t.phase = PhaseNormal
		t.dirty = true
	}
	if !t.readied && depth >= t.needDepth() {
		t.readied, t.dirty = true, true
		t.notice(Ready{ShortID: t.ShortID()})
	}
	if !t.deep && depth >= deepDepth {
		t.deep, t.fundingTx, t.dirty = true, nil, true
		t.notice(Deep{ShortID: t.ShortID()})
	}
}

func (t *turn) sendReady() {
	m := &lnwire.ChannelReady{ChanID: t.channelID, NextPerCommitmentPoint: t.parse(t.c.Point(1))}
	if t.params.Alias.ToUint64() != 0 {
		alias := t.params.Alias
		m.AliasScid = &alias
	}
	t.send(m)
}

// receiveReady: BOLT 2 "The channel_ready Message". A later one, or one sent again, changes at most the alias.
func (t *turn) receiveReady(m *lnwire.ChannelReady) error {
	if m.NextPerCommitmentPoint == nil {
		return violation(`BOLT 2 "The channel_ready Message"`, "no second_per_commitment_point")
	}
	if m.AliasScid != nil && t.remoteAlias != *m.AliasScid {
		t.remoteAlias = *m.AliasScid
		t.dirty = true
	}
	if !t.readyReceived {
		t.readyReceived = true
		copy(t.remoteNext[:], m.NextPerCommitmentPoint.SerializeCompressed())
		t.dirty = true
	}
	t.progressReady()
	return nil
}

// fundingUnconfirmed: a reorganisation took the funding transaction out. The channel goes on for HTLCs there are, but takes
// no new one of ours until it is back; short_channel_id may be another then.
func (t *turn) fundingUnconfirmed() {
	t.confirmed, t.txIndex = 0, 0
	t.readied, t.deep = false, false
	t.dirty = true
	if t.fundingTx != nil {
		t.request(chain.Publish{Tx: t.fundingTx})
	}
}
