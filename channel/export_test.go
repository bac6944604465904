package channel

import (
	"lightningrod/chain"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/lightningnetwork/lnd/lnwire"
)

// What follows is for tests that play a peer which has the right keys and breaks rules: valid signatures, secrets and
// numbers for whatever state a channel is in.

// Numbers are what channel_reestablish is about.
type Numbers struct {
	Local, Remote uint64 // the newest commitments
	Awaiting      bool
}

func (s *State) Numbers() Numbers { return Numbers{s.localNumber, s.remoteNumber, s.awaiting} }

// NextCommit is a valid commitment_signed of the peer, over everything it has proposed; nil if there can be none.
func (s *State) NextCommit(c, peer Crypto) *lnwire.CommitSig {
	if !s.Durable() {
		return nil
	}
	cm, err := s.buildLocal(c, viewLocalNext, s.localNumber+1)
	if err != nil {
		return nil
	}
	script, _ := s.fundingScript()
	sigs := peer.Sign(cm.SignJobs(script))
	return &lnwire.CommitSig{ChanID: s.channelID, CommitSig: sigs[0], HtlcSigs: sigs[1:]}
}

// NextRevoke is a valid revoke_and_ack of the peer, if one is awaited.
func (s *State) NextRevoke(peer Crypto) *lnwire.RevokeAndAck {
	number := s.remoteNumber
	if s.awaiting {
		number--
	}
	t := &turn{State: s}
	return &lnwire.RevokeAndAck{ChanID: s.channelID, Revocation: peer.Secret(number), NextRevocationKey: t.parse(peer.Point(number + 2))}
}

// NextClosing is a closing_signed of the peer for a fee, validly signed if both scripts are known and the fee can be paid.
func (s *State) NextClosing(peer Crypto, fee int64) *lnwire.ClosingSigned {
	m := &lnwire.ClosingSigned{ChannelID: s.channelID, FeeSatoshis: btcutil.Amount(fee)}
	tx, err := s.closingTx(fee, s.remote.DustLimit, false)
	if err != nil {
		tx, err = s.closingTx(0, s.remote.DustLimit, false)
	}
	if err != nil {
		return m
	}
	script, _ := s.fundingScript()
	m.Signature = peer.Sign([]commitment.SignJob{{Key: commitment.KeyFunding, Digest: commitment.FundingDigest(tx, script, s.capacity)}})[0]
	return m
}

// FirstSignature is the peer's over our first commitment, with the funding output given.
func (s *State) FirstSignature(c, peer Crypto, m *lnwire.FundingCreated) (sig lnwire.Sig) {
	t := &turn{State: s.clone()}
	if s.theirs.Funding == (commitment.PubKey{}) {
		return sig
	}
	if m != nil {
		t.setFunding(m.FundingPoint)
	}
	cm, err := t.buildLocal(c, viewLocal, 0)
	if err != nil {
		return sig
	}
	script, _ := t.fundingScript()
	return peer.Sign(cm.SignJobs(script))[0]
}

// FeeRange makes the TLV of closing_signed.
func FeeRange(low, high int64) []byte { return feeRange{low, high}.encode() }

// LastFee is what we proposed last in closing_signed, -1 if nothing.
func (s *State) LastFee() int64 { return s.lastFee }

// Totals are the balances that count every live HTLC with the side that offered it.
func (s *State) Totals() (local, remote lnwire.MilliSatoshi) { return s.balanceLocal, s.balanceRemote }

// Fees is how many fee rates the state keeps.
func (s *State) Fees() int { return len(s.fees) }

// BreakLadder makes a step lift the wrong stage of our updates until the returned function is called.
func BreakLadder() (mend func()) {
	was := ladder
	ladder[receiveRevoke].ours = CrossSigned
	return func() { ladder = was }
}

// Class is the column of the battery's table that the state belongs to.
func (s *State) Class() string {
	switch {
	case s.phase == PhaseClosed:
		return "closed"
	case !s.connected:
		return "off"
	case s.phase == PhaseWaiting:
		return "wait"
	case s.opening == openNew && s.params.Opener:
		return "newO"
	case s.opening < openFunded:
		return [...]string{"newA", "open", "need", "crea", "acce"}[s.opening]
	case s.phase == PhaseClosing && s.end.kind == endMutual && !s.established:
		return "mure"
	case s.phase == PhaseClosing && s.end.kind == endMutual && s.end.height != 0:
		return "muco"
	case s.phase == PhaseClosing && s.end.kind == endMutual:
		return "mutu"
	case s.phase == PhaseClosing:
		return "fail"
	case !s.established:
		return "rees"
	case s.empty():
		return "nego"
	case s.phase == PhaseShutdown:
		return "shut"
	case !s.readySent:
		return "unco"
	case !s.readyReceived:
		return "redy"
	case s.awaiting:
		return "awai"
	case len(s.offered)+len(s.received) > 0 || len(s.fees) > 1:
		return "live"
	}
	return "idle"
}

// PeerReady says whether the peer's channel_ready was received.
func (s *State) PeerReady() bool { return s.readyReceived }

// PeerShutDown says whether the peer's shutdown was received.
func (s *State) PeerShutDown() bool { return s.remoteScript != nil }

// Disposable says whether the channel can be forgotten instead of closed.
func (s *State) Disposable() bool { return s.worthless() }

// RemoteRoom is what the peer has left at a fee rate, 0 for that of our next commitment, with so many more HTLC outputs.
func (s *State) RemoteRoom(rate chain.FeePerKw, more int) int64 {
	if len(s.fees) == 0 {
		return 0
	}
	if rate == 0 {
		rate = s.rate(viewLocalNext)
	}
	ld := s.load(viewLocalNext, s.local.DustLimit)
	return room(ld.remote, s.local.Reserve, !s.params.Opener, rate, ld.outputs+more)
}

// Upfront is the peer's upfront_shutdown_script.
func (s *State) Upfront() []byte { return s.upfront }

// AddsOfPeer are the peer's HTLCs in our next commitment and their sum.
func (s *State) AddsOfPeer() (int, lnwire.MilliSatoshi) {
	ld := s.load(viewLocalNext, s.local.DustLimit)
	return ld.theirs, ld.theirsIn
}

// NextID is the id of the peer's next HTLC.
func (s *State) NextID() uint64 { return s.nextReceived }

// Newest is our newest commitment with the peer's signatures of its HTLC transactions.
func (s *State) Newest(c Crypto) (*commitment.Commitment, []lnwire.Sig, error) {
	cm, err := s.buildLocal(c, viewLocal, s.localNumber)
	return cm, s.localHTLCSigs, err
}
