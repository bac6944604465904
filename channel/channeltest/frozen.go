package channeltest

import (
	"cmp"
	"fmt"
	"slices"

	"lightningrod/chain"
	"lightningrod/channel"
	"lightningrod/channel/commitment"
	"lightningrod/channel/onchain"

	"github.com/btcsuite/btcd/wire"
)

// frozen is what a side takes to the chain if the channel ends at this moment.
type frozen struct {
	ours              onchain.Commit   // that it can publish
	theirs            []onchain.Commit // that the peer can, without being punished
	offered, received []channel.LiveHTLC
}

func freeze(s *Side) (f frozen) {
	quiet, _ := channel.Apply(s.State, s.Crypto, []channel.Event{channel.Disconnected{}})
	p := quiet.OnchainParams(s.Crypto)
	f = frozen{ours: p.Ours, theirs: p.Theirs, offered: quiet.Offered(), received: quiet.Received()}
	sortHTLCs(&f.ours.Spec)
	for i := range f.theirs {
		sortHTLCs(&f.theirs[i].Spec)
	}
	return f
}

func sortHTLCs(s *commitment.Spec) {
	s.HTLCs = slices.Clone(s.HTLCs)
	slices.SortFunc(s.HTLCs, func(a, b commitment.HTLC) int {
		if a.Offered != b.Offered {
			return map[bool]int{true: -1, false: 1}[a.Offered]
		}
		return cmp.Compare(a.ID, b.ID)
	})
}

// agree checks both force closes that are possible at this moment: what one side publishes is, to the other, a commitment that is
// not revoked, and every HTLC ends the same way for both.
func agree(alice, bob *frozen) error {
	for i, f := range []*frozen{alice, bob} {
		name, other := []string{"alice", "bob"}[i], bob
		if i == 1 {
			other = alice
		}
		known := slices.ContainsFunc(other.theirs, func(c onchain.Commit) bool { return same(&c, &f.ours) })
		if !known {
			return fmt.Errorf("%s could publish commitment %d, which the other takes for another or for revoked:\n%+v\n%+v", name, f.ours.Spec.Number, f.ours.Spec, other.theirs)
		}
		has := func(offered bool, id uint64) bool {
			return slices.ContainsFunc(f.ours.Spec.HTLCs, func(h commitment.HTLC) bool { return h.Offered == offered && h.ID == id })
		}
		if err := ends(f.received, other.offered, func(id uint64) bool { return has(false, id) }); err != nil {
			return fmt.Errorf("commitment %d of %s: %w", f.ours.Spec.Number, name, err)
		}
		if err := ends(other.received, f.offered, func(id uint64) bool { return has(true, id) }); err != nil {
			return fmt.Errorf("commitment %d of %s: %w", f.ours.Spec.Number, name, err)
		}
	}
	return nil
}

func same(a, b *onchain.Commit) bool {
	return a.Point == b.Point && a.Spec.Number == b.Spec.Number && a.Spec.FeePerKw == b.Spec.FeePerKw &&
		a.Spec.ToOwner == b.Spec.ToOwner && a.Spec.ToOther == b.Spec.ToOther && slices.Equal(a.Spec.HTLCs, b.Spec.HTLCs)
}

// ends looks at the HTLCs that one side was offered, with a commitment that is published. What the side may have acted upon, since its
// addition is irrevocable, is in the commitment, or has ended: as failed, or with a preimage that the side that offered it has.
func ends(received, offered []channel.LiveHTLC, has func(id uint64) bool) error {
	for _, h := range received {
		id := h.HTLC.Key.HTLC
		if h.Stage != channel.Irrevocable || has(id) {
			continue
		}
		_, fulfilled := h.Outcome.(channel.Fulfill)
		if h.Outcome == nil {
			return fmt.Errorf("htlc %d is not in it, is committed, and has no outcome", id)
		}
		i := slices.IndexFunc(offered, func(o channel.LiveHTLC) bool { return o.HTLC.Key.HTLC == id })
		if i < 0 {
			continue // forwarding has been told
		}
		if _, paid := offered[i].Outcome.(channel.Fulfill); paid != fulfilled {
			return fmt.Errorf("htlc %d is not in it: fulfilled by the one side %v, to the other %v", id, fulfilled, paid)
		}
	}
	return nil
}

// close has either side publish its commitment, and both find it in a block: it is the one's own, and the other's peer's.
func (n *node) close() error {
	for i := range n.pair.Sides {
		p := n.pair.Clone()
		if err := p.Do(i, channel.ForceClose{}); err != nil {
			return n.bad(err)
		}
		var tx *wire.MsgTx
		for _, r := range p.Sides[i].Chain {
			if pub, ok := r.(chain.Publish); ok && pub.Tx.TxIn[0].PreviousOutPoint == p.Sides[i].State.Funding() {
				tx = pub.Tx
			}
		}
		if tx == nil {
			return n.bad(fmt.Errorf("%s publishes nothing", p.Sides[i].Name))
		}
		if err := p.ConfirmSpend(tx); err != nil {
			return n.bad(err)
		}
		var numbers [2]uint64
		for j, s := range p.Sides {
			owner, number, _, ok := s.State.OnChain().Closed()
			numbers[j] = number
			if want := map[bool]onchain.Owner{true: onchain.Local, false: onchain.Remote}[i == j]; !ok || owner != want {
				return n.bad(fmt.Errorf("%s has published: %s takes it for %v\n%v", p.Sides[i].Name, s.Name, owner, s.State))
			}
		}
		if numbers[0] != numbers[1] {
			return n.bad(fmt.Errorf("%s has published: numbers %v", p.Sides[i].Name, numbers))
		}
	}
	return nil
}
