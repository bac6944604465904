package channel

import (
	"bytes"

	"lightningrod/channel/commitment"

	"github.com/lightningnetwork/lnd/lnwire"
)

const boltShutdown = `BOLT 2 "Closing Initiation: shutdown"`

// close asks for a cooperative close.
func (t *turn) close(ev Close) error {
	script := ev.Script
	if len(script) == 0 {
		script = t.params.ShutdownScript
	}
	switch {
	case !t.Durable():
		t.fail("closed before it was funded")
		return nil
	case t.phase == PhaseClosing || t.phase == PhaseWaiting:
		return refuse(ReasonClosed, "channel is %v", t.phase)
	case !commitment.ValidShutdownScript(script, !t.connected || t.anySegwit()):
		return refuse(ReasonBadParameters, "scriptpubkey %x has no permitted form", script)
	case t.shutdownSent:
		t.closeRate = ev.FeePerKw
		return nil
	}
	t.localScript = bytes.Clone(script)
	t.closeRate = ev.FeePerKw
	t.shutdownWanted = true
	t.dirty = true
	return nil
}

// progressShutdown sends shutdown when it may go. BOLT 2: not while the peer has updates of ours that are not signed for.
func (t *turn) progressShutdown() {
	if !t.shutdownWanted || t.shutdownSent || !t.connected || !t.established || t.phase > PhaseShutdown || len(t.sent) != t.signedRefs {
		return
	}
	if !commitment.ValidShutdownScript(t.localScript, t.anySegwit()) {
		t.shutdownWanted = false
		t.dirty = true
		t.notice(Declined{Event: Close{Script: t.localScript, FeePerKw: t.closeRate},
			Err: refuse(ReasonBadParameters, "scriptpubkey %x has no form the peer permits", t.localScript)})
		return
	}
	t.shutdownSent = true
	t.dirty = true
	t.send(lnwire.NewShutdown(t.channelID, t.localScript))
	t.enterShutdown()
}

// receiveShutdown: the peer will add no HTLC any more. After a reconnection it comes again.
func (t *turn) receiveShutdown(m *lnwire.Shutdown) error {
	switch {
	case !commitment.ValidShutdownScript(m.Address, t.anySegwit()):
		return misstep(boltShutdown, "scriptpubkey %x has no permitted form", []byte(m.Address))
	case t.upfront != nil && !bytes.Equal(t.upfront, m.Address):
		return violation(boltShutdown, "scriptpubkey is not the upfront_shutdown_script")
	case t.phase == PhaseClosing:
		return nil
	}
	if !bytes.Equal(t.remoteScript, m.Address) {
		t.remoteScript = bytes.Clone(m.Address)
		t.dirty = true
	}
	if !t.shutdownWanted {
		t.shutdownWanted = true
		t.localScript = t.params.ShutdownScript
		t.dirty = true
	}
	t.enterShutdown()
	return nil
}

func (t *turn) enterShutdown() {
	if t.phase == PhaseOpening || t.phase == PhaseNormal {
		t.phase = PhaseShutdown
		t.dirty = true
		t.notice(ShuttingDown{})
	}
}

// empty says that closing_signed may be negotiated: both shutdowns are there and nothing is left to be decided.
func (s *State) empty() bool {
	return s.shutdownSent && s.remoteScript != nil && len(s.offered)+len(s.received) == 0 && len(s.fees) == 1 && !s.awaiting
}
