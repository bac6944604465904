package channel

import (
	"lightningrod/channel/commitment"

	"github.com/lightningnetwork/lnd/lnwire"
)

const boltReestablish = `BOLT 2 "Message Retransmission"`

// connect begins a connection: channel_reestablish, and nothing else until the peer's.
func (t *turn) connect(ev Connected) error {
	if t.connected {
		t.disconnect()
	}
	if t.phase == PhaseClosed {
		return nil
	}
	t.connected, t.established = true, false
	t.features = append([]byte(nil), ev.Features...)
	t.lastFee, t.lastHeard = -1, -1
	if !t.Durable() {
		return nil
	}
	if t.phase == PhaseClosing && t.end.kind != endMutual {
		t.send(&lnwire.Error{ChanID: t.channelID, Data: lnwire.ErrorData(t.end.reason)})
		return nil
	}
	next := t.secrets.Next()
	m := &lnwire.ChannelReestablish{
		ChanID:                    t.channelID,
		NextLocalCommitHeight:     t.localNumber + 1,
		RemoteCommitTailHeight:    next,
		LocalUnrevokedCommitPoint: t.parse(t.c.Point(t.localNumber)),
	}
	if next > 0 {
		m.LastRemoteCommitSecret, _ = t.secrets.Lookup(next - 1)
	}
	if t.phase == PhaseWaiting {
		m.NextLocalCommitHeight = 0 // a peer that sees no loss in the other numbers closes because of this one
	}
	t.send(m)
	if t.phase == PhaseWaiting {
		t.send(&lnwire.Error{ChanID: t.channelID, Data: lnwire.ErrorData(t.end.reason)})
	}
	return nil
}

// disconnect ends a connection. BOLT 2: what was not signed for is forgotten; before funding_signed, the whole channel.
func (t *turn) disconnect() {
	t.connected, t.established = false, false
	t.features = nil
	t.lastFee, t.lastHeard = -1, -1
	if t.Durable() {
		t.forget()
		return
	}
	if t.opening != openNew && t.phase != PhaseClosed {
		t.abandon("disconnected while opening")
	}
}

// receiveReestablish finds out what the peer has missed and sends it again.
func (t *turn) receiveReestablish(m *lnwire.ChannelReestablish) error {
	switch {
	case !t.Durable():
		return misstep(boltReestablish, "no such channel")
	case t.phase == PhaseClosing && t.end.kind != endMutual || t.phase == PhaseWaiting:
		return nil
	case t.established:
		return misstep(boltReestablish, "channel_reestablish twice")
	}
	resendRevoke, err := t.missedRevoke(m)
	if err != nil || t.phase == PhaseWaiting {
		return err
	}
	resendCommit, err := t.missedCommit(m)
	if err != nil {
		return err
	}
	t.established = true
	t.progressReady()
	if t.readySent && t.localNumber == 0 && m.NextLocalCommitHeight == 1 {
		t.sendReady()
	}
	t.resend(resendRevoke, resendCommit)
	if t.shutdownSent {
		t.send(lnwire.NewShutdown(t.channelID, t.localScript))
	}
	// Preimages go out at once, failures with the signature that covers them.
	for i := range t.received {
		if h := &t.received[i]; h.remove == 0 && isFulfill(h.outcome) {
			t.remove(h)
		}
	}
	return nil
}

func isFulfill(o Outcome) bool {
	_, ok := o.(Fulfill)
	return ok
}

// missedRevoke looks at next_revocation_number: which of our revocations the peer has, and whether it is ahead of us.
func (t *turn) missedRevoke(m *lnwire.ChannelReestablish) (bool, error) {
	n := m.RemoteCommitTailHeight
	proven := n <= commitment.MaxNumber && (n == 0 && m.LastRemoteCommitSecret == [32]byte{} ||
		n > 0 && m.LastRemoteCommitSecret == t.c.Secret(n-1))
	switch {
	case n > t.localNumber && t.phase == PhaseClosing:
		return false, violation(boltReestablish, "next_revocation_number %d above %d after the close", n, t.localNumber)
	case n > t.localNumber && proven:
		// The peer knows the secret of a commitment that we believe unrevoked: our state is old, and publishing it
		// would lose everything. The peer has to close; our error asks it to.
		t.wait("our state is older than the peer's: next_revocation_number is proven")
		return false, nil
	case n > t.localNumber:
		return false, violation(boltReestablish, "next_revocation_number %d above %d without proof", n, t.localNumber)
	case !proven:
		return false, violation(boltReestablish, "wrong your_last_per_commitment_secret for next_revocation_number %d", n)
	case n == t.localNumber:
		return false, nil
	case n+1 == t.localNumber:
		return true, nil
	}
	return false, violation(boltReestablish, "next_revocation_number %d, but %d were revoked", n, t.localNumber)
}

// missedCommit looks at next_commitment_number: whether the peer has our last signature.
func (t *turn) missedCommit(m *lnwire.ChannelReestablish) (bool, error) {
	n := m.NextLocalCommitHeight
	switch {
	case n == t.remoteNumber+1:
		return false, nil
	case n == t.remoteNumber && n > 0 && t.awaiting:
		return true, nil
	}
	return false, violation(boltReestablish, "next_commitment_number %d, expected %d", n, t.remoteNumber+1)
}

// resend sends again what the peer has missed, in the order it went out first. The updates are those the last
// signature covered and no other, so it signs the same commitment again.
func (t *turn) resend(revoke, commit bool) {
	if revoke && !(commit && t.revokedLast) {
		t.sendRevoke()
	}
	if commit {
		for _, r := range t.sent[:t.signedRefs] {
			t.send(t.refMessage(r))
		}
		cm, err := t.buildRemote(t.c, viewRemote, t.remoteNumber, t.remotePoint)
		if err != nil {
			t.bug(err)
		}
		script, _ := t.fundingScript()
		t.sendCommit(t.c.Sign(cm.SignJobs(script)))
	}
	if revoke && commit && t.revokedLast {
		t.sendRevoke()
	}
}

// refMessage is the message of an update that was signed for.
func (t *turn) refMessage(r ref) lnwire.Message {
	switch r.kind {
	case refAdd:
		if i := find(t.offered, r.id); i >= 0 {
			m, err := t.addMessage(t.offered[i].HTLC)
			if err != nil {
				t.bug(err)
			}
			return m
		}
	case refRemove:
		if i := find(t.received, r.id); i >= 0 {
			return t.removeMessage(&t.received[i])
		}
	case refFee:
		return lnwire.NewUpdateFee(t.channelID, uint32(r.id))
	}
	t.bug(errLostUpdate)
	return nil
}

// wait stops everything until the peer has closed.
func (t *turn) wait(reason string) {
	t.forget()
	t.phase = PhaseWaiting
	t.end = end{late: true, reason: reason}
	t.established = false
	t.dirty = true
	t.send(&lnwire.Error{ChanID: t.channelID, Data: lnwire.ErrorData(reason)})
}
