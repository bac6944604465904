package channel

import "lightningrod/channel/onchain"

// OnchainParams is this channel as channel/onchain needs to know it once a commitment is on chain, or is to be. Pending updates that were
// never signed for must have been forgotten (Disconnected). Until this package runs onchain from its own Apply (doc.go says where it
// stops), the caller may.
func (s *State) OnchainParams(c Crypto) onchain.Params {
	p := onchain.Params{
		Funding: s.funding, Capacity: s.capacity, Opener: s.params.Opener,
		Local: s.params.BasePoints, Remote: s.theirs,
		LocalDustLimit: s.local.DustLimit, RemoteDustLimit: s.remote.DustLimit,
		LocalDelay: s.remote.ToSelfDelay, RemoteDelay: s.local.ToSelfDelay,
		Secrets: s.secrets, Sweep: s.sweepScript(), Stale: s.phase == PhaseWaiting || s.end.late, Height: s.height,
		Ours: onchain.Commit{
			Spec: s.spec(viewLocal, true, s.localNumber), Point: c.Point(s.localNumber), Sig: s.localSig, HTLCSigs: s.localHTLCSigs,
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
		o := onchain.HTLC{ID: h.Key.HTLC, Offered: offered, Amount: h.Amount, Hash: h.Hash, Expiry: h.Expiry, Preimage: h.preimage}
		if f, ok := h.outcome.(Fulfill); ok {
			o.Preimage = &f.Preimage
		}
		list = append(list, o)
	}
	return list
}
