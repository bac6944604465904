package channel

import (
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/lightningnetwork/lnd/lnwire"
)

const boltRevoke = `BOLT 2 "Completing the Transition to the Updated State"`

// revoke sends revoke_and_ack for the commitment before our newest.
func (t *turn) revoke() {
	t.lift(sendRevoke)
	t.revokedLast = true
	t.dirty = true
	t.sendRevoke()
	t.collect()
}

func (t *turn) sendRevoke() {
	t.send(&lnwire.RevokeAndAck{
		ChanID:            t.channelID,
		Revocation:        t.c.Secret(t.localNumber - 1),
		NextRevocationKey: t.parse(t.c.Point(t.localNumber + 1)),
	})
}

// receiveRevoke: the peer can no longer publish its commitment before the newest.
func (t *turn) receiveRevoke(m *lnwire.RevokeAndAck) error {
	if !t.awaiting {
		return violation(boltRevoke, "unexpected revoke_and_ack")
	}
	if m.NextRevocationKey == nil {
		return violation(boltRevoke, "no next_per_commitment_point")
	}
	if !validSecret(m.Revocation) || pointOf(t.c, m.Revocation) != t.remotePrev {
		return violation(boltRevoke, "per_commitment_secret is not that of the point of commitment %d", t.remoteNumber-1)
	}
	if err := t.secrets.Add(t.remoteNumber-1, m.Revocation); err != nil {
		return violation(boltRevoke, "per_commitment_secret of commitment %d does not derive those before", t.remoteNumber-1)
	}
	if row, ok := t.revokedRow(); ok {
		t.out.Save.Revoked = append(t.out.Save.Revoked, row)
	}
	var committed []*htlc
	for i := range t.received {
		if t.received[i].add == CrossSigned {
			committed = append(committed, &t.received[i])
		}
	}
	t.lift(receiveRevoke)
	t.awaiting = false
	t.remotePrev = commitment.PubKey{}
	copy(t.remoteNext[:], m.NextRevocationKey.SerializeCompressed())
	t.sent = t.sent[t.signedRefs:]
	t.signedRefs = 0
	t.dirty = true
	for _, h := range committed {
		h.tooMuchDust = t.tooMuchDust(h.HTLC)
		t.notice(Committed{HTLC: *h.HTLC, TooMuchDust: h.tooMuchDust})
	}
	t.collect()
	return nil
}

// tooMuchDust: BOLT 2 "Bounding exposure to trimmed in-flight HTLCs": such an HTLC is to be failed once it is committed.
func (s *State) tooMuchDust(h *HTLC) bool {
	dust := output(h.Amount, max(s.local.DustLimit, s.remote.DustLimit)) == 0
	return dust && s.dustExposure(0) > s.params.MaxDustExposure
}

// revokedRow is what will be needed to punish the commitment that the peer is revoking. Its keys come from the secret;
// only its HTLC outputs have to be remembered.
func (s *State) revokedRow() (RevokedRow, bool) {
	sp := s.spec(viewRemotePrev, false, s.remoteNumber-1)
	kept := sp.HTLCs[:0]
	for _, h := range sp.HTLCs {
		if !commitment.Trimmed(h, s.remote.DustLimit) {
			kept = append(kept, h)
		}
	}
	if len(kept) == 0 {
		return RevokedRow{}, false
	}
	return RevokedRow{Number: s.remoteNumber - 1, Data: EncodeRevoked(kept)}, true
}

// validSecret says whether the secret is a private key at all: not zero, and below the group order.
func validSecret(secret [32]byte) bool {
	var k btcec.ModNScalar
	return k.SetBytes(&secret) == 0 && !k.IsZero()
}
