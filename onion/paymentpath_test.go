package onion

import (
	"bytes"
	"flag"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/lightningnetwork/lnd/lnwire"
)

var pathSeed = flag.Uint64("path.seed", 1, "seed of random payment paths")

// carol, bob and alice are the example of BOLT 4's proposals/route-blinding.md: Carol -> Bob -> Alice.
const carol, bob, alice = 1, 2, 3

func exampleRelays() []PathRelay {
	relay := PaymentRelay{CltvExpiryDelta: 144, FeeProportional: 500, FeeBase: 100}
	return []PathRelay{
		{testNode(carol), lnwire.NewShortChanIDFromInt(12), relay, 1, 1 << 40},
		{testNode(bob), lnwire.NewShortChanIDFromInt(23), relay, 1000, 1 << 39},
	}
}

func exampleEnd() PathEnd {
	return PathEnd{Node: testNode(alice), PathID: []byte("preimage"), MinFinalCltv: 12, LastHeight: 1200, HtlcMinimum: 1, HtlcMaximum: 1 << 41}
}

// The figures of the example: totals, what each node is told, what each node forwards.
func TestPaymentPathExample(t *testing.T) {
	p := must[PaymentPath](t)(NewPaymentPath(session(1), exampleRelays(), exampleEnd()))
	equal(t, "total", p.Total, PaymentRelay{CltvExpiryDelta: 300, FeeProportional: 1001, FeeBase: 201})
	equal(t, "htlc_minimum_msat", p.HtlcMinimum, lnwire.MilliSatoshi(1000))
	equal(t, "htlc_maximum_msat", p.HtlcMaximum, lnwire.MilliSatoshi(1<<39))
	equal(t, "introduction node", p.Path.Hops[0].Node, testNode(carol))
	if n := len(p.Path.Hops[0].Data); len(p.Path.Hops[1].Data) != n || len(p.Path.Hops[2].Data) != n {
		t.Error("lengths of encrypted_recipient_data tell the nodes apart")
	}

	// Erin sends 100302 msat, rounded up, with a final expiry of 1100.
	hops, amount, expiry := followPayment(t, p, 100_000, 100_302, 1100, carol, bob, alice)
	equal(t, "what arrives", amount, lnwire.MilliSatoshi(100_002))
	equal(t, "cltv_expiry", expiry, uint32(1112))
	equal(t, "Carol forwards", hops[0].Amount, lnwire.MilliSatoshi(100_152))
	equal(t, "Carol's outgoing_cltv_value", hops[0].Cltv, uint32(1256))
	equal(t, "path_id", string(hops[2].PathID), "preimage")
	for i, most := range []uint32{1500, 1356, 1212} {
		equal(t, "constraints", *hops[i].Constraints, PaymentConstraints{most, 1000})
	}
}

// followPayment sends an HTLC along a path and has each node peel and resolve it: what they were told, and what arrives at the end.
func followPayment(t testing.TB, p PaymentPath, amount, in lnwire.MilliSatoshi, final uint32, route ...int) ([]*Hop, lnwire.MilliSatoshi, uint32) {
	t.Helper()
	hops := make([]PayHop, len(p.Path.Hops))
	for i, h := range p.Path.Hops {
		hops[i] = PayHop{Node: h.Node, EncryptedData: h.Data}
	}
	last := &hops[len(hops)-1]
	last.Amount, last.Cltv, last.Total = amount, final, amount
	var pathKey []byte
	if p.Path.First == hops[0].Node {
		hops[0].PathKey = &p.Path.PathKey
	} else { // its first node is one that we send path_key to
		pathKey = p.Path.PathKey[:]
	}
	packet, _, err := Build(testSession, hops, testHash)
	if err != nil {
		t.Fatal(err)
	}
	var seen []*Hop
	expiry := final + uint32(p.Total.CltvExpiryDelta)
	for _, node := range route {
		hop, failure := NewRouter(testKey(node)).Peel(&packet, testHash, pathKey)
		if failure != nil {
			t.Fatalf("node %d: %v", node, failure)
		}
		if err := hop.Resolve(in, expiry); err != nil {
			t.Fatalf("node %d: %v", node, err)
		}
		seen = append(seen, hop)
		if !hop.Final {
			in, expiry, packet, pathKey = hop.Amount, hop.Cltv, hop.Next, hop.NextPathKey
		}
	}
	if !seen[len(seen)-1].Final {
		t.Fatal("the last node is not the last")
	}
	return seen, in, expiry
}

// The recipient is its own introduction node.
func TestPaymentPathOfOne(t *testing.T) {
	p := must[PaymentPath](t)(NewPaymentPath(session(1), nil, exampleEnd()))
	equal(t, "total", p.Total, PaymentRelay{CltvExpiryDelta: 12})
	hops, amount, _ := followPayment(t, p, 5000, 5000, 1100, alice)
	equal(t, "what arrives", amount, lnwire.MilliSatoshi(5000))
	equal(t, "introduction", hops[0].Introduction, true)
	equal(t, "path_id", string(hops[0].PathID), "preimage")
}

// Whatever the terms: who pays the total has at least the amount arrive, and every node keeps its fee or more.
func TestPaymentPathPaysEnough(t *testing.T) {
	t.Logf("-path.seed %d", *pathSeed)
	r := rand.New(rand.NewPCG(*pathSeed, 0))
	for range 3000 {
		var relays []PaymentRelay
		var total PaymentRelay
		for range 1 + r.IntN(6) {
			relays = append(relays, PaymentRelay{uint16(r.IntN(200)), uint32(r.Int64N(1 << r.IntN(20))), uint32(r.Int64N(1 << r.IntN(24)))})
		}
		for i := len(relays) - 1; i >= 0; i-- {
			total = must[PaymentRelay](t)(total.behind(relays[i]))
		}
		amount := lnwire.MilliSatoshi(1 + r.Int64N(1<<r.IntN(41)))
		fee, ok := (&PaymentPath{Total: total}).Fee(amount)
		if !ok {
			t.Fatal("fee beyond 64 bits")
		}
		in, expiry := amount+fee, uint32(1000+int(total.CltvExpiryDelta))
		for _, relay := range relays {
			var err error
			if in, expiry, err = relay.forward(in, expiry); err != nil {
				t.Fatal(err)
			}
		}
		if in < amount || expiry != 1000 {
			t.Fatalf("%d msat arrive of %d, expiry %d, over %+v", in, amount, expiry, relays)
		}
	}
}

func TestPaymentPathRefuses(t *testing.T) {
	whole := ^uint32(0)
	for want, change := range map[string]func([]PathRelay, *PathEnd){
		"htlc_minimum_msat 1000 above":           func(_ []PathRelay, e *PathEnd) { e.HtlcMaximum = 999 },
		"fee_base_msat 4294967296 of the path":   func(r []PathRelay, _ *PathEnd) { r[0].Relay.FeeBase = whole - 100 },
		"fee_base_msat 18451039032515 of":        func(r []PathRelay, _ *PathEnd) { r[0].Relay.FeeProportional, r[1].Relay.FeeBase = whole, whole },
		"fee_proportional_millionths 4297115279": func(r []PathRelay, _ *PathEnd) { r[0].Relay.FeeProportional = whole },
		"cltv_expiry_delta 65691 of the path":    func(r []PathRelay, _ *PathEnd) { r[0].Relay.CltvExpiryDelta = 65535 },
		"max_cltv_expiry 4294967307 above":       func(_ []PathRelay, e *PathEnd) { e.LastHeight = whole },
		"no point":                               func(r []PathRelay, _ *PathEnd) { r[1].Node = [33]byte{} },
	} {
		relays, end := exampleRelays(), exampleEnd()
		change(relays, &end)
		if _, err := NewPaymentPath(session(1), relays, end); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := NewPaymentPath(session(1), make([]PathRelay, maxHops), exampleEnd()); err == nil {
		t.Error("a path longer than an onion")
	}
}

// We are the introduction node of a path that we pay: what is left is a path of which the next node is sent the path_key.
func TestAdvancePayment(t *testing.T) {
	p := must[PaymentPath](t)(NewPaymentPath(session(1), exampleRelays(), exampleEnd()))
	k := NewRouter(testKey(carol))
	next, data, err := k.AdvancePayment(p)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "channel", data.ShortChannelID.ToUint64(), uint64(12))
	equal(t, "total", next.Total, PaymentRelay{CltvExpiryDelta: 156, FeeProportional: 501, FeeBase: 101})
	fee, _ := next.Fee(100_000)
	_, amount, _ := followPayment(t, next, 100_000, 100_000+fee, 1100, bob, alice)
	if amount < 100_000 {
		t.Errorf("%d msat arrive", amount)
	}

	greedy := p
	greedy.Total.FeeBase = 99
	byBoth := must[BlindedPath](t)(NewBlindedPath(session(1), []PathNode{
		{testNode(carol), EncryptedData{ShortChannelID: data.ShortChannelID, NextNode: ref(testNode(bob)), Relay: data.Relay}}, {testNode(bob), EncryptedData{}}}))
	noRelay := must[BlindedPath](t)(NewBlindedPath(session(1), []PathNode{
		{testNode(carol), EncryptedData{NextNode: ref(testNode(bob))}}, {testNode(bob), EncryptedData{}}}))
	one := must[PaymentPath](t)(NewPaymentPath(session(1), nil, PathEnd{Node: testNode(carol)}))
	for want, p := range map[string]PaymentPath{
		"is more than": greedy, "both short_channel_id": {Path: byBoth, Total: p.Total}, "lacks payment_relay": {Path: noRelay, Total: p.Total},
		"ends with us": one, "does not begin with us": next, "no compressed point": {Path: BlindedPath{First: testNode(carol)}},
	} {
		if _, _, err := k.AdvancePayment(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestFeeOverflow(t *testing.T) {
	for _, c := range []struct {
		amount      lnwire.MilliSatoshi
		base, share uint32
		want        lnwire.MilliSatoshi
		ok          bool
	}{
		{100_000, 201, 1001, 301, true},
		{1, 0, 999_999, 0, true},
		{math.MaxUint64, 0, 1_000_000, math.MaxUint64, true},
		{math.MaxUint64, 1, 1_000_000, 0, false},
		{math.MaxUint64, 0, 1_000_001, 0, false},
	} {
		p := PaymentPath{Total: PaymentRelay{FeeBase: c.base, FeeProportional: c.share}}
		if fee, ok := p.Fee(c.amount); ok != c.ok || ok && fee != c.want {
			t.Errorf("%d msat at %d + %d: %d, %v", c.amount, c.base, c.share, fee, ok)
		}
	}
}

func TestPaymentPathCodec(t *testing.T) {
	p := must[PaymentPath](t)(NewPaymentPath(session(1), exampleRelays(), exampleEnd()))
	p.Features = []byte{1, 0}
	wire := must[[]byte](t)(p.Encode())
	equal(t, "path", must[PaymentPath](t)(DecodePaymentPath(wire)), p)
	for i := range wire {
		if _, err := DecodePaymentPath(wire[:i]); err == nil {
			t.Fatalf("read of %d bytes", i)
		}
	}
	const features, point, count = 26, 30, 63
	with := func(at int, b ...byte) []byte {
		w := bytes.Clone(wire)
		copy(w[at:], b)
		return w
	}
	for want, w := range map[string][]byte{
		"above htlc_maximum_msat":         with(10, 255),
		"features that begin with zeros":  with(features+2, 0),
		"no point":                        with(point, 4),
		"no hops":                         with(count, 0),
		"bytes for 255 hops":              with(count, 255),
		"1 bytes too many":                append(bytes.Clone(wire), 0),
		"not minimally encoded":           with(count+34, 0xfd, 0, 1),
		"encrypted_recipient_data of 252": with(count+34, 252),
	} {
		if _, err := DecodePaymentPath(w); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for want, change := range map[string]func(*PaymentPath){
		"0 hops":                  func(p *PaymentPath) { p.Path.Hops = nil },
		"256 hops":                func(p *PaymentPath) { p.Path.Hops = make([]BlindedHop, 256) },
		"not the introduction":    func(p *PaymentPath) { p.Path.First = testNode(9) },
		"features of 65536":       func(p *PaymentPath) { p.Features = make([]byte, 65536) },
		"begin with zeros":        func(p *PaymentPath) { p.Features = []byte{0, 1} },
		"above htlc_maximum_msat": func(p *PaymentPath) { p.HtlcMaximum = 1 },
	} {
		bad := p
		change(&bad)
		if _, err := bad.Encode(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func FuzzPaymentPath(f *testing.F) {
	p := must[PaymentPath](f)(NewPaymentPath(session(1), exampleRelays(), exampleEnd()))
	f.Add(must[[]byte](f)(p.Encode()))
	p.Features = []byte{1, 0}
	f.Add(must[[]byte](f)(p.Encode()))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := DecodePaymentPath(in)
		if err != nil {
			return
		}
		same(t, "encoded again", must[[]byte](t)(p.Encode()), in)
		_, _ = p.Fee(1 << 60)
		_, _, _ = NewRouter(testKey(carol)).AdvancePayment(p)
	})
}
