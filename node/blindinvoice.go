package node

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"lightningrod/onion"
	"lightningrod/peer"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/lightningnetwork/lnd/lnwire"
)

// This file makes the blinded paths of our own invoices (BOLT 4 "Route Blinding", bLIP 39).

// Blinding says whether an invoice names us, or blinded paths.
type Blinding uint8

const (
	// NotBlinded is an invoice with our node id, and route hints for private channels.
	NotBlinded Blinding = iota
	// BlindedByPeers is an invoice whose paths begin at channel peers. The payer learns those.
	BlindedByPeers
	// BlindedBySelf is an invoice with one path that begins with us too. It hides nothing: for tests of payers, and where no peer
	// knows blinded paths.
	BlindedBySelf
)

const (
	// maxPaths is the number of blinded paths an invoice has at most.
	maxPaths = 3

	// pathSlack is the blocks that may be found while a payment travels along a blinded path. In an invoice with our id the payer adds them.
	pathSlack = 6

	// pathSpare is the blocks that a path is good for beyond twice those expected until its invoice expires.
	pathSpare = 144

	// anyAmount is all the bitcoin there will ever be, in msat.
	anyAmount = 21_000_000 * 100_000_000 * 1000
)

// blindedPaths are the ways to be paid without being named. The peers that can send us most now come first.
func (n *Node) blindedPaths(w InvoiceWish, pathID [32]byte) ([]onion.PaymentPath, error) {
	height, _ := n.backend.Tip()
	const blockTime = 10 * time.Minute
	end := onion.PathEnd{
		Node: n.id, PathID: pathID[:], MinFinalCltv: minFinalCltv + pathSlack, LastHeight: height + 2*uint32(w.Expiry/blockTime) + pathSpare,
		HtlcMinimum: 1, HtlcMaximum: anyAmount,
	}
	var ways [][]onion.PathRelay
	switch w.Blinding {
	case BlindedByPeers:
		for _, r := range n.introductions(w.Amount) {
			ways = append(ways, []onion.PathRelay{r})
		}
		if len(ways) == 0 {
			return nil, errors.New("no channel peer is there that knows blinded paths, has told its terms and can send the amount")
		}
	case BlindedBySelf:
		ways = [][]onion.PathRelay{nil}
	default:
		return nil, fmt.Errorf("blinding %d is not known", w.Blinding)
	}
	var paths []onion.PaymentPath
	for _, way := range ways {
		session, err := n.random32()
		if err != nil {
			return nil, err
		}
		p, err := onion.NewPaymentPath(session, way, end)
		if err != nil {
			return nil, err
		}
		paths = append(paths, p)
	}
	return paths, nil
}

// introductions are the peers at which paths to us may begin, one channel of each.
func (n *Node) introductions(amount lnwire.MilliSatoshi) []onion.PathRelay {
	type candidate struct {
		onion.PathRelay
		room lnwire.MilliSatoshi
	}
	var all []candidate
	for _, in := range n.registry.each(nil) {
		_, room, usable := in.state.Load().Usable()
		p := n.host.Peer(in.peer)
		if !usable || room.Max == 0 || p == nil || !p.Features().Offers(peer.RouteBlinding) {
			continue
		}
		if r, ok := n.relayBy(in); ok && (amount == 0 || r.HtlcMinimum <= amount) {
			all = append(all, candidate{r, room.Max})
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(b.room, a.room) })
	var best []onion.PathRelay
	for _, c := range all {
		taken := slices.ContainsFunc(best, func(r onion.PathRelay) bool { return r.Node == c.Node })
		if !taken && len(best) < maxPaths {
			best = append(best, c.PathRelay)
		}
	}
	return best
}

// relayBy is a channel as a way to us that its peer forwards over, on the terms it told us and a tenth more: a payer may use the path
// after they have risen, and what nodes round is not always in their favour.
func (n *Node) relayBy(in *inbox) (onion.PathRelay, bool) {
	s := in.state.Load()
	scid := s.ShortID()
	if s.Private() && s.RemoteAlias().ToUint64() != 0 {
		scid = s.RemoteAlias()
	}
	n.gossip.mu.Lock()
	p, ok := n.gossip.graph.PeerPolicy(uint64(in.id))
	n.gossip.mu.Unlock()
	r := onion.PathRelay{Node: in.peer, Next: scid, HtlcMinimum: p.HTLCMinimum, HtlcMaximum: min(p.HTLCMaximum, anyAmount)}
	if scid.ToUint64() == 0 || !ok || p.Disabled || r.HtlcMinimum > r.HtlcMaximum {
		return r, false
	}
	const most = 1<<32 - 1
	more := func(v uint32) uint32 { return uint32(min(uint64(v)+(uint64(v)+9)/10, most)) }
	r.Relay = onion.PaymentRelay{
		CltvExpiryDelta: uint16(min(more(uint32(p.CltvExpiryDelta)), 1<<16-1)), FeeProportional: more(p.FeeProportional), FeeBase: more(p.FeeBase),
	}
	if p.FeeProportional > 0 && r.Relay.FeeBase < most {
		r.Relay.FeeBase++
	}
	return r, true
}

// invoiceKey is what an invoice is signed with: our node key, or where that is not to be seen one that is used once (bLIP 39).
func (n *Node) invoiceKey(b Blinding) (*btcec.PrivateKey, error) {
	if b == NotBlinded {
		return n.keys.identity, nil
	}
	session, err := n.random32()
	if err != nil {
		return nil, err
	}
	key, _ := btcec.PrivKeyFromBytes(session[:])
	return key, nil
}
