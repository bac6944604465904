package graph

import (
	"encoding/binary"
	"testing"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/ecdsa"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

var chain = chainhash.Hash(*chaincfg.RegressionNetParams.GenesisHash)

const now = int64(1_800_000_000)

// key n is the private key n; its node id and funding key are the same.
func key(n int) *btcec.PrivateKey {
	var b [32]byte
	binary.BigEndian.PutUint64(b[24:], uint64(n))
	k, _ := btcec.PrivKeyFromBytes(b[:])
	return k
}

func id(n int) (id NodeID) {
	copy(id[:], key(n).PubKey().SerializeCompressed())
	return id
}

func signer(n int) Signer {
	return func(hash [32]byte) lnwire.Sig {
		sig, err := lnwire.NewSigFromSignature(ecdsa.Sign(key(n), hash[:]))
		if err != nil {
			panic(err)
		}
		return sig
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func scid(block int) lnwire.ShortChannelID {
	return lnwire.ShortChannelID{BlockHeight: uint32(block), TxIndex: 1, TxPosition: 1}
}

// announce is a channel_announcement of a channel between nodes a and b, with funding keys a+1000 and b+1000.
func announce(t testing.TB, a, b, block int, features ...byte) *ChannelAnnouncement {
	t.Helper()
	return announceWith(t, a, b, a+1000, b+1000, block, features...)
}

func announceWith(t testing.TB, a, b, fundingA, fundingB, block int, features ...byte) *ChannelAnnouncement {
	t.Helper()
	ends := [2]ChannelEnd{{id(a), id(fundingA)}, {id(b), id(fundingB)}}
	hash := ChannelAnnouncementDigest(chain, scid(block), features, ends)
	m, err := AssembleChannelAnnouncement(chain, scid(block), features, ends, [2]EndSignatures{
		{signer(a)(hash), signer(fundingA)(hash)}, {signer(b)(hash), signer(fundingB)(hash)},
	})
	must(t, err)
	return fresh(t, m).(*ChannelAnnouncement)
}

var somePolicy = Policy{CltvExpiryDelta: 40, HTLCMinimum: 1, HTLCMaximum: 900_000_000, FeeBase: 1000, FeeProportional: 100}

// update is a channel_update of node a for its channel with b, at now+at.
func update(t testing.TB, a, b, block int, at int64, change ...func(*UpdateTemplate)) *ChannelUpdate {
	t.Helper()
	tmpl := UpdateTemplate{Chain: chain, SCID: scid(block), Self: id(a), Peer: id(b), Timestamp: uint32(now + at), Policy: somePolicy}
	for _, f := range change {
		f(&tmpl)
	}
	m, err := NewChannelUpdate(tmpl, signer(a))
	must(t, err)
	return fresh(t, m).(*ChannelUpdate)
}

func describe(t testing.TB, n int, at int64) *NodeAnnouncement {
	t.Helper()
	m, err := NewNodeAnnouncement(NodeTemplate{Node: id(n), Timestamp: uint32(now + at), Alias: "node", Addresses: []Address{{"192.0.2.1", 9735}}}, signer(n))
	must(t, err)
	return fresh(t, m).(*NodeAnnouncement)
}

// fresh parses the bytes of m again, as if they had come from a peer: nothing is verified yet.
func fresh(t testing.TB, m Gossip) Gossip {
	t.Helper()
	again, err := Parse(m.Message().Type, append([]byte(nil), m.Message().Body...))
	must(t, err)
	return again
}

// self is the node of most tests, peer the one that tells it things.
const (
	self = 1
	peer = 2
)

func newGraph() *Graph { return New(Config{Chain: chain, Self: id(self)}) }

func funding(block int) Funding {
	return Funding{SCID: scid(block), OK: true, Out: wire.OutPoint{Index: uint32(block)}, Capacity: 1_000_000}
}

// learn applies messages as peer tells them, answers their checks, and gives everything that came out.
func learn(t testing.TB, g *Graph, ms ...Gossip) (all Output) {
	t.Helper()
	for _, m := range ms {
		out, err := g.Apply(id(peer), m, now)
		must(t, err)
		if out.Ignored != "" {
			t.Fatalf("ignored: %s", out.Ignored)
		}
		all.add(out)
		for _, c := range out.Checks {
			all.add(g.Checked(funding(int(c.SCID.BlockHeight)), now))
		}
	}
	return all
}

// checkShape checks the invariants of Graph.
func checkShape(t testing.TB, g *Graph) {
	t.Helper()
	if len(g.scids) != len(g.channels) || len(g.ids) != len(g.nodes) {
		t.Fatalf("%d scids of %d channels, %d ids of %d nodes", len(g.scids), len(g.channels), len(g.ids), len(g.nodes))
	}
	for i, s := range g.scids {
		if g.channels[s] == nil || i > 0 && compareSCID(g.scids[i-1], s) >= 0 {
			t.Fatalf("scids: %s", s.AltString())
		}
	}
	ends := 0
	for i, id := range g.ids {
		n := g.nodes[id]
		if n == nil || n.id != id || len(n.edges) == 0 || i > 0 && compareNode(g.ids[i-1], id) >= 0 {
			t.Fatalf("node %x", id)
		}
		for _, e := range n.edges {
			if g.channels[e.announcement.SCID] != e || !e.is(id) {
				t.Fatalf("edges of node %x", id)
			}
		}
		ends += len(n.edges)
	}
	if ends != 2*len(g.channels) {
		t.Fatalf("%d ends of %d channels", ends, len(g.channels))
	}
	refs := 0
	for _, w := range g.waiting {
		refs += w.count
	}
	if refs != 2*len(g.pending) {
		t.Fatalf("%d nodes wait for %d channels", refs, len(g.pending))
	}
}

// disk is rows as a database would keep them.
type disk map[string]Row

func (d disk) store(rows []Row) {
	for _, r := range rows {
		k := r.Table + "/" + string(r.Key)
		if delete(d, k); r.Value != nil {
			d[k] = r
		}
	}
}

// reload is the Graph that a restart makes of d.
func (d disk) reload(t testing.TB) *Graph {
	t.Helper()
	g := newGraph()
	for _, table := range []string{TableAnnouncement, TableChannelUpdate, TableNodeAnnouncement} {
		for _, r := range d {
			if r.Table == table {
				must(t, g.Load(r))
			}
		}
	}
	return g
}
