package channel

import (
	"fmt"

	"lightningrod/chain"
	"lightningrod/channel/onchain"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// fact takes what happened on chain. Every channel hears every block, in every phase.
func (t *turn) fact(ev chain.Event) error {
	if f, ok := ev.(chain.BlockConnected); ok && f.Height < t.height {
		return nil // told again after a restart, for somebody who had seen less; the facts above it stand
	}
	if t.end.chain != nil {
		switch ev.(type) {
		case chain.BlockConnected, chain.BlockDisconnected, chain.Stranded, chain.FeeRates:
			t.hear(onchain.Chain{Event: ev})
		}
	}
	switch f := ev.(type) {
	case chain.BlockConnected:
		t.height, t.block = f.Height, f.Hash
		t.dirty = true
		t.blockConnected()
	case chain.BlockDisconnected:
		t.height, t.block = f.Height-1, chainhash.Hash{}
		t.dirty = true
		if t.confirmed >= f.Height {
			t.fundingUnconfirmed()
		}
		t.unspend(f.Height)
	case chain.Confirmed:
		t.fundingConfirmed(f)
		t.progressReady()
	case chain.Spent:
		t.spent(f)
	case chain.FeeRates:
		t.rates = f
	}
	return nil
}

func (t *turn) blockConnected() {
	t.progressReady()
	// BOLT 2 "channel_ready": the accepter forgets a channel whose funding transaction does not confirm.
	if t.Durable() && !t.params.Opener && t.confirmed == 0 && !t.readySent && t.height >= t.params.Height+forgetDepth {
		t.abandon("the funding transaction did not confirm")
		return
	}
	if text, late := t.pastDeadline(); late {
		t.fail(text)
	}
	t.progressEnd()
}

// pastDeadline says whether an HTLC has to be decided on chain. BOLT 2 "cltv_expiry_delta Selection", Requirements. One that was proposed and
// not signed for counts as well: the peer owes a revoke_and_ack, and when it sends that, be it as late as it likes, the HTLC is
// signed for and may be fulfilled, while the incoming one has run out.
func (s *State) pastDeadline() (string, bool) {
	if s.phase != PhaseNormal && s.phase != PhaseShutdown {
		return "", false
	}
	for _, h := range s.offered {
		if s.height >= h.Expiry+s.params.Grace {
			return fmt.Sprintf("htlc %d we offered is %d blocks past its cltv_expiry %d", h.Key.HTLC, s.height-h.Expiry, h.Expiry), true
		}
	}
	for _, h := range s.received {
		if isFulfill(h.outcome) && s.height+s.params.FulfillMargin >= h.Expiry {
			return fmt.Sprintf("htlc %d we fulfilled nears its cltv_expiry %d at height %d", h.Key.HTLC, h.Expiry, s.height), true
		}
	}
	return "", false
}
