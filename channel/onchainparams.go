package channel

import (
	"lightningrod/channel/commitment"
	"lightningrod/channel/onchain"
)

// OnchainParams is this channel as channel/onchain would be told of it if it went on chain now; for tests. Pending updates that were
// never signed for must have been forgotten (Disconnected).
func (s *State) OnchainParams(c Crypto) onchain.Params {
	p := s.onchainParams(c.Point(s.localNumber))
	s.addKeys(c, &p)
	return p
}

// addKeys spares onchain what the Crypto has derived already. What it cannot derive onchain will complain about.
func (s *State) addKeys(c Crypto, p *onchain.Params) {
	add := func(of *onchain.Commit, ours bool) {
		if k, err := s.keys(c, ours, of.Point); err == nil {
			of.Keys = &k
		}
	}
	add(&p.Ours, true)
	for i := range p.Theirs {
		add(&p.Theirs[i], false)
	}
}

// onchainParams: point is our per-commitment point of localNumber. Of a frozen channel it is always the same, but for Stale, Height and
// Preimage, which count only at the freeze.
func (s *State) onchainParams(point commitment.PubKey) onchain.Params {
	p := onchain.Params{
		Funding: s.funding, Capacity: s.capacity, Opener: s.params.Opener,
		Local: s.params.BasePoints, Remote: s.theirs,
		LocalDustLimit: s.local.DustLimit, RemoteDustLimit: s.remote.DustLimit,
		LocalDelay: s.remote.ToSelfDelay, RemoteDelay: s.local.ToSelfDelay,
		Secrets: s.secrets, Sweep: s.sweepScript(), Stale: s.phase == PhaseWaiting || s.end.late, Height: s.height,
		Ours: onchain.Commit{
			Spec: s.spec(viewLocal, true, s.localNumber), Point: point, Sig: s.localSig, HTLCSigs: s.localHTLCSigs,
		},
	}
	if s.awaiting {
		p.Theirs = append(p.Theirs, onchain.Commit{Spec: s.spec(viewRemotePrev, false, s.remoteNumber-1), Point: s.remotePrev})
	}
	p.Theirs = append(p.Theirs, onchain.Commit{Spec: s.spec(viewRemote, false, s.remoteNumber), Point: s.remotePoint})
	p.HTLCs = append(onchainHTLCs(s.offered, true), onchainHTLCs(s.received, false)...)
	return p
}

// onchainHTLCs are the HTLCs that some commitment may hold: those signed for, of which more is on the disk than in the peer's hopes.
func onchainHTLCs(hs []htlc, offered bool) (list []onchain.HTLC) {
	for i := range hs {
		h := &hs[i]
		if h.add < Signed {
			continue
		}
		o := onchain.HTLC{ID: h.Key.HTLC, Offered: offered, Amount: h.Amount, Hash: h.Hash, Expiry: h.Expiry, Deadline: h.Back, Preimage: h.preimage}
		if f, ok := h.outcome.(Fulfill); ok {
			o.Preimage = &f.Preimage
		}
		list = append(list, o)
	}
	return list
}
