package channel

import (
	"github.com/lightningnetwork/lnd/lnwire"
)

const boltCommit = `BOLT 2 "Committing Updates So Far"`

// sign covers all pending updates with one commitment_signed, if there are any and no revoke_and_ack is awaited.
func (t *turn) sign() {
	if !t.canUpdate() || t.awaiting || t.remoteNext == ([33]byte{}) {
		return
	}
	for i := range t.received {
		if h := &t.received[i]; h.outcome != nil && h.remove == 0 {
			t.remove(h)
		}
	}
	if !t.pending(sendCommit) {
		return
	}
	number := t.remoteNumber + 1
	cm, err := t.buildRemote(t.c, viewRemoteNext, number, t.remoteNext)
	if err != nil {
		// Both sides' additions crossed and the opener cannot pay for all of them.
		t.fail("the commitment cannot be built: " + err.Error())
		return
	}
	script, _ := t.fundingScript()
	sigs := t.c.Sign(cm.SignJobs(script))

	t.out.Save.Add = append(t.out.Save.Add, bodies(t.offered, Proposed)...)
	t.lift(sendCommit)
	t.remoteNumber = number
	t.remotePrev, t.remotePoint, t.remoteNext = t.remotePoint, t.remoteNext, [33]byte{}
	t.awaiting, t.revokedLast = true, false
	t.signedRefs = len(t.sent)
	t.dirty = true
	t.sendCommit(sigs)
}

func (t *turn) sendCommit(sigs []lnwire.Sig) {
	m := &lnwire.CommitSig{ChanID: t.channelID, CommitSig: sigs[0], HtlcSigs: sigs[1:]}
	// TLV 1, funding_txid: BOLT 2 demands it since splicing; it says which funding output is meant.
	m.ExtraData = append([]byte{1, 32}, t.funding.Hash[:]...)
	t.send(m)
}

// receiveCommit takes our next commitment and at once revokes the one before it: both are one step for us.
func (t *turn) receiveCommit(m *lnwire.CommitSig) error {
	if n := len(t.received) + len(t.offered); len(m.HtlcSigs) > n {
		return violation(boltCommit, "num_htlcs %d, but there are %d htlcs", len(m.HtlcSigs), n)
	}
	number := t.localNumber + 1
	cm, err := t.buildLocal(t.c, viewLocalNext, number)
	if err != nil {
		return violation(boltCommit, "commitment %d cannot be built: %v", number, err)
	}
	if len(m.HtlcSigs) != len(cm.HTLCs) {
		return violation(boltCommit, "num_htlcs %d, expected %d", len(m.HtlcSigs), len(cm.HTLCs))
	}
	sigs := make([]lnwire.Sig, 0, 1+len(m.HtlcSigs))
	sigs = append(append(sigs, m.CommitSig), m.HtlcSigs...)
	if err := t.verify(boltCommit, cm, sigs); err != nil {
		return err
	}
	t.out.Save.Add = append(t.out.Save.Add, bodies(t.received, Proposed)...)
	t.lift(receiveCommit)
	t.localNumber = number
	t.localSig, t.localHTLCSigs = sigs[0], sigs[1:]
	t.revoke()
	return nil
}
