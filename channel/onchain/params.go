package onchain

import (
	"fmt"

	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Params is the channel as it stood when it was closed. Nobody changes it after New.
type Params struct {
	Funding         wire.OutPoint
	Capacity        int64 // sat
	Opener          bool  // we are
	Local, Remote   commitment.BasePoints
	LocalDustLimit  int64  // sat, of our commitments
	RemoteDustLimit int64  // sat, of the peer's
	LocalDelay      uint16 // to_self_delay imposed on us, in blocks
	RemoteDelay     uint16 // imposed on the peer
	Ours            Commit
	// Theirs are the commitments of the peer that it has not revoked: one, or two while a revoke_and_ack is awaited.
	Theirs  []Commit
	Secrets commitment.SecretStore
	// HTLCs are all that any of these commitments has, and all we offered that were not irrevocably removed.
	HTLCs []HTLC
	// Sweep is the script that everything is paid to.
	Sweep []byte
	// Stale: the peer has proved that our state is old. Our commitment is never published.
	Stale  bool
	Height uint32 // of the tip
}

// Commit is a commitment that may confirm: what it pays, as its owner sees it, and its per-commitment point.
type Commit struct {
	Spec  commitment.Spec
	Point commitment.PubKey
	// Of ours: the peer's signatures over it and, in output order, over its HTLC transactions.
	Sig      lnwire.Sig
	HTLCSigs []lnwire.Sig
	// Keys are those of Point, for who has them. nil: New derives them. They are not kept.
	Keys *commitment.Keys
}

// HTLC is an HTLC of the channel.
type HTLC struct {
	ID      uint64
	Offered bool // by us
	Amount  lnwire.MilliSatoshi
	Hash    [32]byte
	Expiry  uint32 // cltv_expiry
	// Deadline, of one we offered, is the height by which it should be back, before the incoming HTLC runs out.
	// 0: Expiry plus 36.
	Deadline uint32
	// Preimage is what is known at the close. Of one we offered: forwarding has been told. Of one the peer offered: to be
	// claimed with.
	Preimage *[32]byte
}

const (
	// deep is the number of confirmations from which on a fact is acted upon for good.
	deep = 6
	// buried is the number of confirmations after which a fact is not watched any more: BOLT 5 "General Nomenclature",
	// irrevocably resolved.
	buried = 100
	// backWindow is how many blocks after its cltv_expiry an HTLC we offered should be back, if nobody says better.
	backWindow = 36
	// abandonAfter is how many blocks after its cltv_expiry an HTLC the peer offered, without a preimage and not taken
	// back, is left alone.
	abandonAfter = 2016

	maxMoney  = 21_000_000 * 100_000_000
	maxExpiry = 500_000_000 - 1
	maxScript = 1000
)

// Owner is whose transaction spent the funding output.
type Owner uint8

const (
	Local   Owner = iota // our newest commitment
	Remote               // a commitment of the peer that it has not revoked
	Cheat                // a commitment that the peer has revoked
	Unknown              // a commitment that our state is too old to know
	Foreign              // no commitment: a cooperative close, or nothing we ever signed for
)

var ownerText = [...]string{"our commitment", "the peer's commitment", "a revoked commitment", "a commitment we do not know", "no commitment"}

func (o Owner) String() string {
	if int(o) < len(ownerText) {
		return ownerText[o]
	}
	return fmt.Sprintf("owner %d", uint8(o))
}

// live is a commitment that may confirm, built.
type live struct {
	*commitment.Commitment
	owner Owner
	of    *Commit
}

func (p *Params) static(owner Owner) commitment.Static {
	st := commitment.Static{Funding: p.Funding, Capacity: p.Capacity, Obscure: p.obscure()}
	if owner == Local {
		st.OwnerIsOpener, st.DustLimit, st.ToSelfDelay = p.Opener, p.LocalDustLimit, p.LocalDelay
	} else {
		st.OwnerIsOpener, st.DustLimit, st.ToSelfDelay = !p.Opener, p.RemoteDustLimit, p.RemoteDelay
	}
	return st
}

func (p *Params) obscure() uint64 {
	if p.Opener {
		return commitment.ObscureFactor(p.Local.Payment, p.Remote.Payment)
	}
	return commitment.ObscureFactor(p.Remote.Payment, p.Local.Payment)
}

func (p *Params) keysOf(owner Owner, of *Commit) (commitment.Keys, error) {
	if k := of.Keys; k != nil {
		of.Keys = nil
		return *k, nil
	}
	return p.keys(owner, of.Point)
}

func (p *Params) keys(owner Owner, point commitment.PubKey) (commitment.Keys, error) {
	if owner == Local {
		return commitment.DeriveKeys(point, p.Local, p.Remote)
	}
	return commitment.DeriveKeys(point, p.Remote, p.Local)
}

// build makes every commitment that may confirm, ours first, and checks the Params on the way.
func (p *Params) build() ([]live, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	all := make([]live, 0, 1+len(p.Theirs))
	add := func(owner Owner, of *Commit) error {
		k, err := p.keysOf(owner, of)
		if err != nil {
			return err
		}
		cm, err := commitment.Build(p.static(owner), k, of.Spec)
		if err != nil {
			return err
		}
		all = append(all, live{cm, owner, of})
		return nil
	}
	if err := add(Local, &p.Ours); err != nil {
		return nil, fmt.Errorf("our commitment: %w", err)
	}
	if got, want := len(p.Ours.HTLCSigs), len(all[0].HTLCs); got != want {
		return nil, fmt.Errorf("%d htlc signatures, our commitment has %d HTLC outputs", got, want)
	}
	for i := range p.Theirs {
		if err := add(Remote, &p.Theirs[i]); err != nil {
			return nil, fmt.Errorf("the peer's commitment %d: %w", p.Theirs[i].Spec.Number, err)
		}
	}
	return all, nil
}

func (p *Params) check() error {
	switch {
	case len(p.Theirs) < 1 || len(p.Theirs) > 2:
		return fmt.Errorf("%d unrevoked commitments of the peer, 1 or 2 expected", len(p.Theirs))
	case len(p.Sweep) == 0 || len(p.Sweep) > maxScript:
		return fmt.Errorf("sweep script of %d bytes", len(p.Sweep))
	case p.RemoteDelay == 0 || p.LocalDelay == 0:
		return fmt.Errorf("to_self_delay %d and %d blocks", p.LocalDelay, p.RemoteDelay)
	case len(p.HTLCs) > 2*commitment.MaxHTLCs:
		return fmt.Errorf("%d HTLCs above maximum %d", len(p.HTLCs), 2*commitment.MaxHTLCs)
	}
	index := make(map[key]*HTLC, len(p.HTLCs))
	for i := range p.HTLCs {
		h := &p.HTLCs[i]
		switch k := h.key(); {
		case index[k] != nil:
			return fmt.Errorf("htlc %v twice", k)
		case h.Expiry > maxExpiry || h.Deadline > maxExpiry:
			return fmt.Errorf("htlc %v: expiry %d or deadline %d above maximum %d", k, h.Expiry, h.Deadline, maxExpiry)
		case h.Amount > maxMoney*1000:
			return fmt.Errorf("htlc %v: amount %d msat", k, uint64(h.Amount))
		default:
			index[k] = h
		}
	}
	for i := -1; i < len(p.Theirs); i++ {
		of, owner := &p.Ours, Local
		if i >= 0 {
			of, owner = &p.Theirs[i], Remote
		}
		for _, c := range of.Spec.HTLCs {
			h := index[keyOf(owner, &c)]
			if h == nil || h.Amount != c.Amount || h.Hash != c.Hash || h.Expiry != c.Expiry {
				return fmt.Errorf("htlc %v of commitment %d is not among the HTLCs of the channel", keyOf(owner, &c), of.Spec.Number)
			}
		}
	}
	return nil
}

// key names an HTLC of this channel: ids of the two sides are separate.
type key struct {
	offered bool // by us
	id      uint64
}

func (k key) String() string {
	if k.offered {
		return fmt.Sprintf("offered %d", k.id)
	}
	return fmt.Sprintf("received %d", k.id)
}

func (h *HTLC) key() key { return key{h.Offered, h.ID} }

// keyOf is the key of an HTLC in a commitment.
func keyOf(owner Owner, h *commitment.HTLC) key { return key{h.Offered == (owner == Local), h.ID} }

// deadline is when an HTLC we offered should be back.
func (h *HTLC) deadline() uint32 {
	if h.Deadline != 0 {
		return h.Deadline
	}
	return h.Expiry + backWindow
}
