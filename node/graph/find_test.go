package graph

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/lightningnetwork/lnd/lnwire"
)

// name is the id of a node called by a letter. No keys: path finding looks at no signature.
func name(letter rune) (id NodeID) {
	id[0], id[32] = 2, byte(letter)
	return id
}

// link is one direction of a channel, for tests.
type link struct {
	block    int
	from, to rune
	policy   Policy
	capacity int64 // sat; 0: plenty
}

// world makes a graph of directions.
func world(links ...link) *Graph {
	g := newGraph()
	for _, l := range links {
		e := g.channels[scid(l.block)]
		if e == nil {
			nodes := [2]NodeID{name(l.from), name(l.to)}
			if less(nodes[1], nodes[0]) {
				nodes[0], nodes[1] = nodes[1], nodes[0]
			}
			if l.capacity == 0 {
				l.capacity = 100_000_000
			}
			e = &edge{announcement: &ChannelAnnouncement{SCID: scid(l.block), Nodes: nodes}, capacity: l.capacity}
			g.insert(e)
		}
		d := 0
		if e.announcement.Nodes[0] != name(l.from) {
			d = 1
		}
		if l.policy.HTLCMaximum == 0 {
			l.policy.HTLCMaximum = 50_000_000_000
		}
		e.updates[d] = &ChannelUpdate{SCID: scid(l.block), ChannelFlags: uint8(d), Policy: l.policy}
	}
	return g
}

func local(block int, peer rune, limit lnwire.MilliSatoshi) LocalChannel {
	return LocalChannel{ID: uint64(block), SCID: scid(block), Peer: name(peer), Max: limit}
}

// text shows a route as "amount@expiry>node(block) ...".
func text(r Route, height uint32) string {
	var parts []string
	for _, h := range r.Hops {
		parts = append(parts, fmt.Sprintf("%d@%d>%c(%d)", h.Amount, h.Expiry-height, rune(h.Node[32]), h.SCID.BlockHeight))
	}
	return strings.Join(parts, " ")
}

// BOLT 7 "Routing Example": A, B, C and D in a square.
func example() *Graph {
	policy := func(n uint32) Policy {
		return Policy{CltvExpiryDelta: uint16(10 * n), FeeBase: 100 * n, FeeProportional: 1000 * n}
	}
	a, b, c, d := policy(1), policy(2), policy(3), policy(4)
	return world(
		link{1, 'A', 'B', a, 0}, link{1, 'B', 'A', b, 0}, link{2, 'A', 'D', a, 0}, link{2, 'D', 'A', d, 0},
		link{3, 'B', 'C', b, 0}, link{3, 'C', 'B', c, 0}, link{4, 'D', 'C', d, 0}, link{4, 'C', 'D', c, 0},
	)
}

func TestRoutingExample(t *testing.T) {
	const height = 700_000
	plenty := lnwire.MilliSatoshi(1 << 40)
	tests := []struct {
		name  string
		from  rune
		local []LocalChannel
		avoid rune
		want  string
	}{
		{"B->C", 'B', []LocalChannel{local(1, 'A', plenty), local(3, 'C', plenty)}, 0, "4999999@60>C(3)"},
		{"A->B->C", 'A', []LocalChannel{local(1, 'B', plenty), local(2, 'D', plenty)}, 0, "5010198@80>B(1) 4999999@60>C(3)"},
		{"A->D->C", 'A', []LocalChannel{local(1, 'B', plenty), local(2, 'D', plenty)}, 'B', "5020398@100>D(2) 4999999@60>C(4)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			routes, err := example().Find(Request{From: name(test.from), To: name('C'), Amount: 4_999_999, Height: height, FinalCltv: 18 + 42,
				Local: test.local, MaxFee: 100_000, IgnoreNodes: map[NodeID]bool{name(test.avoid): true}})
			must(t, err)
			if got := text(routes[0], height); got != test.want {
				t.Fatalf("%s, want %s", got, test.want)
			}
			if routes[0].Amount() != 4_999_999 || routes[0].Local != uint64(test.local[len(test.local)-1].ID) && test.avoid != 0 {
				t.Fatalf("%+v", routes[0])
			}
		})
	}
}

func TestFeeFor(t *testing.T) {
	tests := []struct {
		amount    lnwire.MilliSatoshi
		base, ppm uint32
		want      lnwire.MilliSatoshi
		ok        bool
	}{
		{0, 0, 0, 0, true},
		{4_999_999, 200, 2000, 10199, true}, // BOLT 7's example: rounded down
		{999_999, 0, 1, 0, true},
		{1_000_000, 0, 1, 1, true},
		{maxMoney, 0, 1_000_000, maxMoney, true},
		{maxMoney, 0, 1_000_001, 0, false},
		{maxMoney, ^uint32(0), ^uint32(0), 0, false},
		{^lnwire.MilliSatoshi(0), 0, ^uint32(0), 0, false},
	}
	for _, test := range tests {
		got, ok := Policy{FeeBase: test.base, FeeProportional: test.ppm}.FeeFor(test.amount)
		if got != test.want || ok != test.ok {
			t.Errorf("%d msat at %d + %d ppm: %d, %v, want %d, %v", test.amount, test.base, test.ppm, got, ok, test.want, test.ok)
		}
	}
}

// Every limit, at its edge. The way is S -(1)- A -(2)- B -(3)- T; A and B forward.
func TestLimits(t *testing.T) {
	const amount = 1_000_000
	base := Policy{CltvExpiryDelta: 40, FeeBase: 1000}
	type change struct {
		name    string
		policy  func(*Policy)  // of B -> T
		request func(*Request) // MaxFee 2000
		ok      bool
	}
	tests := []change{
		{"nothing", nil, nil, true},
		{"disabled", func(p *Policy) { p.Disabled = true }, nil, false},
		{"htlc_minimum_msat", func(p *Policy) { p.HTLCMinimum = amount }, nil, true},
		{"below htlc_minimum_msat", func(p *Policy) { p.HTLCMinimum = amount + 1 }, nil, false},
		{"htlc_maximum_msat", func(p *Policy) { p.HTLCMaximum = amount }, nil, true},
		{"above htlc_maximum_msat", func(p *Policy) { p.HTLCMaximum = amount - 1 }, nil, false},
		{"above the capacity", nil, func(r *Request) { r.Amount, r.Local[0].Max = 100_000_000_001, maxMoney; r.MaxFee = maxMoney }, false},
		{"fee", nil, func(r *Request) { r.MaxFee = 2000 }, true},
		{"above the fee", nil, func(r *Request) { r.MaxFee = 1999 }, false},
		{"own channel", nil, func(r *Request) { r.Local[0].Max = amount + 2000 }, true},
		{"above own channel", nil, func(r *Request) { r.Local[0].Max = amount + 1999 }, false},
		{"peer's htlc_minimum_msat", nil, func(r *Request) { r.Local[0].Min = amount + 2000 }, true},
		{"below peer's htlc_minimum_msat", nil, func(r *Request) { r.Local[0].Min = amount + 2001 }, false},
		{"cltv", nil, func(r *Request) { r.MaxCltv = 98 }, true},
		{"above the cltv", nil, func(r *Request) { r.MaxCltv = 97 }, false},
		{"cltv of the network", nil, func(r *Request) { r.FinalCltv = 2016 - 80 }, true},
		{"above the cltv of the network", nil, func(r *Request) { r.FinalCltv, r.MaxCltv = 2016-79, 5000 }, false},
		{"cltv with a floor", nil, func(r *Request) { r.FirstHopDelta, r.MaxCltv = 100, 158 }, true},
		{"above the cltv with a floor", nil, func(r *Request) { r.FirstHopDelta, r.MaxCltv = 100, 157 }, false},
		{"node ignored", nil, func(r *Request) { r.IgnoreNodes = map[NodeID]bool{name('B'): true} }, false},
		{"channel ignored", nil, func(r *Request) { r.IgnoreChannels = map[Direction]bool{{scid(3), name('B')}: true} }, false},
		{"other direction ignored", nil, func(r *Request) { r.IgnoreChannels = map[Direction]bool{{scid(3), name('T')}: true} }, true},
		{"own channel ignored", nil, func(r *Request) { r.IgnoreChannels = map[Direction]bool{{scid(1), name('S')}: true} }, false},
		{"fee beyond all reason", func(p *Policy) { p.FeeProportional = ^uint32(0) }, nil, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			last := base
			last.HTLCMaximum = maxMoney
			if test.policy != nil {
				test.policy(&last)
			}
			wide := base
			wide.HTLCMaximum = maxMoney
			g := world(link{2, 'A', 'B', wide, 0}, link{3, 'B', 'T', last, 0}, link{3, 'T', 'B', base, 0})
			r := Request{From: name('S'), To: name('T'), Amount: amount, Height: 100, FinalCltv: 18, MaxFee: 2000, Local: []LocalChannel{local(1, 'A', 1<<40)}}
			if test.request != nil {
				test.request(&r)
			}
			routes, err := g.Find(r)
			if test.ok != (err == nil) {
				t.Fatalf("%v, %v", routes, err)
			}
			if err != nil && !errors.Is(err, ErrNoRoute) {
				t.Fatal(err)
			}
		})
	}
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	good := Request{From: name('S'), To: name('T'), Amount: 1, FinalCltv: 18}
	for want, change := range map[string]func(*Request){
		"amount 0":            func(r *Request) { r.Amount = 0 },
		"amount 18446":        func(r *Request) { r.Amount = ^lnwire.MilliSatoshi(0) },
		"same node":           func(r *Request) { r.To = r.From },
		"final cltv of 2017":  func(r *Request) { r.FinalCltv = 2017 },
		"not a block height":  func(r *Request) { r.Height = ^uint32(0) },
		"can send 0 msat":     func(r *Request) {},
		"no channels lead":    func(r *Request) { r.Local = []LocalChannel{local(1, 'A', 100)} },
		"above the maximum o": func(r *Request) { r.MaxCltv, r.FinalCltv = 17, 18 },
	} {
		r := good
		change(&r)
		if _, err := newGraph().Find(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// The error says what was in the way.
func TestObstacles(t *testing.T) {
	g := world(link{2, 'A', 'T', Policy{FeeBase: 5000, HTLCMaximum: 1_000_000}, 0})
	r := Request{From: name('S'), To: name('T'), Amount: 900_000, FinalCltv: 18, Local: []LocalChannel{local(1, 'A', 10_000_000)}}
	for want, change := range map[string]func(*Request){
		"asks 5000 msat of fees, the limit is 0": func(*Request) {},
		"no channels large enough":               func(r *Request) { r.Amount = 2_000_000 },
		"can send 10000000 msat":                 func(r *Request) { r.Amount = 10_000_001 },
		"within the limits":                      func(r *Request) { r.To = name('X') },
	} {
		bad := r
		change(&bad)
		if _, err := g.Find(bad); !errors.Is(err, ErrNoRoute) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestFeaturesThatMustBeUnderstood(t *testing.T) {
	for bit, want := range map[int]bool{12: false, 13: false, 15: false, 22: false, 62: false, 63: false, 64: true, 65: false, 100: true, 101: false, 32: true} {
		features := make([]byte, 13)
		features[12-bit/8] = 1 << (bit % 8)
		if requiresUnknown(features) != want {
			t.Errorf("bit %d: %v", bit, !want)
		}
	}
	r := Request{From: name('S'), To: name('T'), Amount: 1000, FinalCltv: 18, Local: []LocalChannel{local(1, 'A', 1<<40)}}
	found := func(change func(*Graph)) bool {
		g := world(link{2, 'A', 'T', Policy{}, 0})
		change(g)
		_, err := g.Find(r)
		return err == nil
	}
	if found(func(g *Graph) { g.channels[scid(2)].required = true }) {
		t.Error("routed through a channel with an unknown feature")
	}
	if found(func(g *Graph) { g.nodes[name('A')].required = true }) {
		t.Error("routed through a node with an unknown feature")
	}
	if !found(func(g *Graph) { g.nodes[name('T')].required = true }) {
		t.Error("the payee's features are between it and the invoice")
	}
}

// The LSP's floor: at the hop that the payer hands the HTLC to, expiries differ by at least FirstHopDelta.
func TestFirstHopDelta(t *testing.T) {
	links := []link{{2, 'L', 'B', Policy{CltvExpiryDelta: 40}, 0}, {3, 'B', 'T', Policy{CltvExpiryDelta: 30}, 0}}
	for _, test := range []struct {
		floor uint32
		to    rune
		want  string
	}{
		{0, 'T', "1000@88>L(1) 1000@48>B(2) 1000@18>T(3)"},
		{40, 'T', "1000@88>L(1) 1000@48>B(2) 1000@18>T(3)"},
		{144, 'T', "1000@192>L(1) 1000@48>B(2) 1000@18>T(3)"},
		{144, 'B', "1000@162>L(1) 1000@18>B(2)"},
		{144, 'L', "1000@18>L(1)"}, // the LSP is paid itself and forwards nothing
	} {
		routes, err := world(links...).Find(Request{From: name('S'), To: name(test.to), Amount: 1000, Height: 500, FinalCltv: 18,
			FirstHopDelta: test.floor, Local: []LocalChannel{local(1, 'L', 1<<40)}})
		must(t, err)
		if got := text(routes[0], 500); got != test.want {
			t.Errorf("floor %d: %s, want %s", test.floor, got, test.want)
		}
	}
}

func TestHints(t *testing.T) {
	g := world(link{2, 'A', 'B', Policy{CltvExpiryDelta: 10, FeeBase: 7}, 0})
	hint := func(from rune, block int, base uint32) Hint {
		return Hint{Node: name(from), SCID: scid(block), FeeBase: base, CltvExpiryDelta: 20}
	}
	locals := []LocalChannel{local(1, 'A', 1<<40)}
	for _, test := range []struct {
		name  string
		hints [][]Hint
		want  string
	}{
		{"one hop", [][]Hint{{hint('B', 90, 5)}}, "1012@48>A(1) 1005@38>B(2) 1000@18>T(90)"},
		{"two hops", [][]Hint{{hint('B', 90, 5), hint('P', 91, 6)}}, "1018@68>A(1) 1011@58>B(2) 1006@38>P(90) 1000@18>T(91)"},
		{"the cheaper of two", [][]Hint{{hint('B', 90, 500)}, {hint('A', 92, 100)}}, "1100@38>A(1) 1000@18>T(92)"},
		{"our own node", [][]Hint{{hint('S', 93, 0)}, {hint('B', 90, 5)}}, "1012@48>A(1) 1005@38>B(2) 1000@18>T(90)"},
		{"empty", [][]Hint{{}, nil, {hint('B', 90, 5)}}, "1012@48>A(1) 1005@38>B(2) 1000@18>T(90)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			routes, err := g.Find(Request{From: name('S'), To: name('T'), Amount: 1000, FinalCltv: 18, MaxFee: 10000, Local: locals, Hints: test.hints})
			must(t, err)
			if got := text(routes[0], 0); got != test.want {
				t.Fatalf("%s, want %s", got, test.want)
			}
		})
	}
}

// Hints may bound what they forward, as blinded paths do: the end of those is the zero id, and parts may take different ones.
func TestBoundedHints(t *testing.T) {
	g := world(link{2, 'A', 'B', Policy{CltvExpiryDelta: 10, FeeBase: 7}, 0})
	path := func(from rune, block int, least, most lnwire.MilliSatoshi) Hint {
		return Hint{Node: name(from), SCID: scid(block), FeeBase: 5, CltvExpiryDelta: 20, Min: least, Max: most}
	}
	r := Request{From: name('S'), MaxFee: 10000, Local: []LocalChannel{local(1, 'A', 1<<40)}, MaxParts: 2,
		Hints: [][]Hint{{path('B', 90, 100, 1000)}, {path('A', 91, 300, 700)}}}
	for amount, want := range map[lnwire.MilliSatoshi]string{
		99: "", 100: "112@30>A(1) 105@20>B(2) 100@0>\x00(90)", 700: "705@20>A(1) 700@0>\x00(91)", 1000: "1012@30>A(1) 1005@20>B(2) 1000@0>\x00(90)",
		1700: "1012@30>A(1) 1005@20>B(2) 1000@0>\x00(90) | 705@20>A(1) 700@0>\x00(91)",
	} {
		r.Amount = amount
		routes, err := g.Find(r)
		if want == "" {
			if !errors.Is(err, ErrNoRoute) {
				t.Errorf("%d msat: %v, %v", amount, routes, err)
			}
			continue
		}
		must(t, err)
		var all []string
		for _, route := range routes {
			all = append(all, text(route, 0))
		}
		if got := strings.Join(all, " | "); got != want {
			t.Errorf("%d msat: %q, want %q", amount, got, want)
		}
	}
}

func TestPenaltiesAndParallelChannels(t *testing.T) {
	g := world(link{2, 'A', 'T', Policy{FeeBase: 10}, 0}, link{3, 'A', 'T', Policy{FeeBase: 20}, 0}, link{4, 'A', 'T', Policy{FeeBase: 5, HTLCMaximum: 10}, 0})
	r := Request{From: name('S'), To: name('T'), Amount: 1000, FinalCltv: 18, MaxFee: 10000, Local: []LocalChannel{local(1, 'A', 1005), local(5, 'A', 5000)}}
	routes, err := g.Find(r)
	must(t, err)
	if got := text(routes[0], 0); got != "1010@18>A(5) 1000@18>T(2)" {
		t.Fatal(got)
	}
	r.Penalties = map[Direction]lnwire.MilliSatoshi{{scid(2), name('A')}: 11}
	routes, err = g.Find(r)
	must(t, err)
	if got := text(routes[0], 0); got != "1020@18>A(5) 1000@18>T(3)" {
		t.Fatal(got)
	}
}

func TestFindParts(t *testing.T) {
	two := []LocalChannel{local(1, 'A', 70_000), local(2, 'A', 30_000)}
	pipe := world(link{9, 'A', 'T', Policy{}, 0})
	tests := []struct {
		name  string
		g     *Graph
		local []LocalChannel
		n     int
		want  string // amounts, by part
	}{
		{"one", pipe, []LocalChannel{local(1, 'A', 100_000)}, 1, "[100000]"},
		{"equal over one channel", pipe, []LocalChannel{local(1, 'A', 100_000)}, 3, "[33334 33333 33333]"},
		{"unequal channels, two parts", pipe, two, 2, "[70000 30000]"},
		{"unequal channels, four parts", pipe, two, 4, "[35000 30000 17500 17500]"},
		{"direct", pipe, []LocalChannel{local(1, 'T', 100_000)}, 2, "[50000 50000]"},
		{"htlc_maximum_msat", world(link{9, 'A', 'T', Policy{HTLCMaximum: 34_000}, 0}), []LocalChannel{local(1, 'A', 1<<30)}, 3, "[33334 33333 33333]"},
		{"htlc_maximum_msat too small", world(link{9, 'A', 'T', Policy{HTLCMaximum: 33_000}, 0}), []LocalChannel{local(1, 'A', 1<<30)}, 3, ""},
		{"one msat too little", pipe, []LocalChannel{local(1, 'A', 70_000), local(2, 'A', 29_999)}, 2, ""},
		{"shared capacity", world(link{9, 'A', 'T', Policy{}, 60}, link{10, 'A', 'T', Policy{}, 40}), []LocalChannel{local(1, 'A', 1<<30)}, 2, "[60000 40000]"},
		{"shared capacity too small", world(link{9, 'A', 'T', Policy{}, 99}), []LocalChannel{local(1, 'A', 1<<30)}, 5, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := Request{From: name('S'), To: name('T'), Amount: 100_000, FinalCltv: 18, Local: test.local}
			before := slices.Clone(r.Local)
			routes, err := test.g.FindParts(r, test.n)
			if diff := cmp.Diff(before, r.Local); diff != "" {
				t.Fatalf("the request was changed: %s", diff)
			}
			if test.want == "" {
				if !errors.Is(err, ErrNoRoute) {
					t.Fatalf("%v, %v", routes, err)
				}
				return
			}
			must(t, err)
			checkParts(t, r, routes)
			var amounts []uint64
			for _, route := range routes {
				amounts = append(amounts, uint64(route.Amount()))
			}
			if got := fmt.Sprint(amounts); got != test.want {
				t.Fatalf("%s, want %s", got, test.want)
			}
		})
	}
}

// checkParts: together the routes carry the amount, within the fee and what the payer's channels have.
func checkParts(t *testing.T, r Request, routes []Route) {
	t.Helper()
	var sum, fees lnwire.MilliSatoshi
	used := map[uint64]lnwire.MilliSatoshi{}
	for _, route := range routes {
		sum, fees = sum+route.Amount(), fees+route.Fee()
		used[route.Local] += route.Hops[0].Amount
	}
	for _, l := range r.Local {
		if used[l.ID] > l.Max {
			t.Fatalf("%d msat over channel %d, which has %d", used[l.ID], l.ID, l.Max)
		}
	}
	if sum != r.Amount || fees > r.MaxFee {
		t.Fatalf("%d msat for %d, fees %d of %d", sum, r.Amount, fees, r.MaxFee)
	}
}

func TestFindSplitsOnlyIfNeeded(t *testing.T) {
	g := world(link{9, 'A', 'T', Policy{FeeProportional: 1000}, 0}, link{10, 'B', 'T', Policy{FeeBase: 1}, 0})
	r := Request{From: name('S'), To: name('T'), Amount: 100_000, FinalCltv: 18, MaxFee: 101, MaxParts: 3,
		Local: []LocalChannel{local(1, 'A', 100_100), local(2, 'B', 40_001)}}
	routes, err := g.Find(r)
	must(t, err)
	if len(routes) != 1 {
		t.Fatalf("%d parts", len(routes))
	}
	r.Local[0].Max = 60_060
	routes, err = g.Find(r)
	must(t, err)
	checkParts(t, r, routes)
	if len(routes) != 2 || routes[0].Amount() != 60_000 {
		t.Fatalf("%+v", routes)
	}
	r.MaxFee = 60
	if routes, err := g.Find(r); err == nil {
		t.Fatalf("fees above the limit: %+v", routes)
	}
}
