package channel

import (
	"lightningrod/chain"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Deriver is implemented by a Crypto that derives the keys of a commitment itself, for example to remember them.
type Deriver interface {
	DeriveKeys(point commitment.PubKey, owner, other commitment.BasePoints) (commitment.Keys, error)
	PointOf(secret [32]byte) commitment.PubKey
}

// shares are the two sides' parts of a commitment, HTLCs excepted. ok: none is below zero.
func (s *State) shares(v view) (local, remote lnwire.MilliSatoshi, ok bool) {
	l, r := int64(s.balanceLocal), int64(s.balanceRemote)
	for i := range s.offered {
		h := &s.offered[i]
		if !v.in(h.add, true) {
			continue
		}
		l -= int64(h.Amount)
		if v.in(h.remove, false) {
			if _, fulfilled := h.outcome.(Fulfill); fulfilled {
				r += int64(h.Amount)
			} else {
				l += int64(h.Amount)
			}
		}
	}
	for i := range s.received {
		h := &s.received[i]
		if !v.in(h.add, false) {
			continue
		}
		r -= int64(h.Amount)
		if h.remove != 0 && v.in(h.remove, true) {
			if _, fulfilled := h.outcome.(Fulfill); fulfilled {
				l += int64(h.Amount)
			} else {
				r += int64(h.Amount)
			}
		}
	}
	return lnwire.MilliSatoshi(max(l, 0)), lnwire.MilliSatoshi(max(r, 0)), l >= 0 && r >= 0
}

// rate is the fee rate of a commitment: of the updates it holds, the newest.
func (s *State) rate(v view) chain.FeePerKw {
	r := s.fees[0].rate
	for _, f := range s.fees[1:] {
		if v.in(f.stage, s.params.Opener) {
			r = f.rate
		}
	}
	return r
}

// pays says whether the commitment has the HTLC as one that is still to be decided.
func (v view) pays(h *htlc, offered bool) bool {
	return v.in(h.add, offered) && !(h.remove != 0 && v.in(h.remove, !offered))
}

// spec is what a commitment pays. ofLocal: it is ours.
func (s *State) spec(v view, ofLocal bool, number uint64) commitment.Spec {
	local, remote, _ := s.shares(v)
	sp := commitment.Spec{Number: number, FeePerKw: uint32(s.rate(v)), ToOwner: local, ToOther: remote}
	if !ofLocal {
		sp.ToOwner, sp.ToOther = remote, local
	}
	add := func(h *htlc, offered bool) {
		if v.pays(h, offered) {
			sp.HTLCs = append(sp.HTLCs, commitment.HTLC{ID: h.Key.HTLC, Offered: offered == ofLocal, Amount: h.Amount, Hash: h.Hash, Expiry: h.Expiry})
		}
	}
	if n := len(s.offered) + len(s.received); n > 0 {
		sp.HTLCs = make([]commitment.HTLC, 0, n)
	}
	for i := range s.offered {
		add(&s.offered[i], true)
	}
	for i := range s.received {
		add(&s.received[i], false)
	}
	return sp
}

func (s *State) static(ofLocal bool) commitment.Static {
	st := commitment.Static{Funding: s.funding, Capacity: s.capacity, Obscure: s.obscure}
	if ofLocal {
		st.OwnerIsOpener, st.DustLimit, st.ToSelfDelay = s.params.Opener, s.local.DustLimit, s.remote.ToSelfDelay
	} else {
		st.OwnerIsOpener, st.DustLimit, st.ToSelfDelay = !s.params.Opener, s.remote.DustLimit, s.local.ToSelfDelay
	}
	return st
}

func (s *State) keys(c Crypto, ofLocal bool, point commitment.PubKey) (commitment.Keys, error) {
	owner, other := s.theirs, s.params.BasePoints
	if ofLocal {
		owner, other = other, owner
	}
	if d, ok := c.(Deriver); ok {
		return d.DeriveKeys(point, owner, other)
	}
	return commitment.DeriveKeys(point, owner, other)
}

// pointOf is the per-commitment point of a secret.
func pointOf(c Crypto, secret [32]byte) commitment.PubKey {
	if d, ok := c.(Deriver); ok {
		return d.PointOf(secret)
	}
	return commitment.PointOf(secret)
}

// buildLocal builds our commitment.
func (s *State) buildLocal(c Crypto, v view, number uint64) (*commitment.Commitment, error) {
	k, err := s.keys(c, true, c.Point(number))
	if err != nil {
		return nil, err
	}
	return commitment.Build(s.static(true), k, s.spec(v, true, number))
}

// buildRemote builds a commitment of the peer for its per-commitment point.
func (s *State) buildRemote(c Crypto, v view, number uint64, point commitment.PubKey) (*commitment.Commitment, error) {
	k, err := s.keys(c, false, point)
	if err != nil {
		return nil, err
	}
	return commitment.Build(s.static(false), k, s.spec(v, false, number))
}

// LocalCommitment is our newest commitment, fully signed, and the output it spends. Once it is published every older
// state of ours must be known to be revoked, which holds whenever Apply has returned.
func (s *State) LocalCommitment(c Crypto) (*wire.MsgTx, *wire.TxOut, error) {
	cm, err := s.buildLocal(c, viewLocal, s.localNumber)
	if err != nil {
		return nil, nil, err
	}
	script, pkScript := s.fundingScript()
	sigs := c.Sign([]commitment.SignJob{{Key: commitment.KeyFunding, Digest: cm.Digest(script)}})
	return cm.Signed(script, sigs[0], s.localSig), &wire.TxOut{Value: s.capacity, PkScript: pkScript}, nil
}
