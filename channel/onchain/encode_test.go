package onchain

import (
	"bytes"
	"strings"
	"testing"

	"lightningrod/chain"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/wire"
)

// states are States of one channel at all stages of a close.
func states(t testing.TB) (Params, []*State) {
	var p Params
	var all []*State
	for _, in := range []int{inOld, inOurs, inNewer} {
		n, be := toy(t)
		nd := n.open(be, config{funding: wire.OutPoint{Index: 1}},
			testHTLC{offered: true, sat: 50_000, expiry: 110, secret: "a", in: inAll},
			testHTLC{offered: true, sat: 30_000, expiry: 120, secret: "b", in: inAll},
			testHTLC{sat: 60_000, expiry: 130, secret: "c", in: inAll, known: true},
			testHTLC{sat: 70_000, expiry: 130, secret: "d", in: inAll})
		p = nd.w.p // the same for all
		all = append(all, nd.s)
		nd.confirm(in)
		for i := range 30 {
			if i == 12 && in != inOld {
				n.send(nd.w.peerHTLC(in, 1, be.peerCoin(), 5000))
			}
			if i == 4 {
				nd.apply(Settle{HTLC: 1, Preimage: preimageOf("d")})
			}
			if i%4 == 0 {
				all = append(all, nd.s)
			}
			nd.mine(1)
		}
		all = append(all, nd.s)
	}
	return p, all
}

func TestDecodeRefuses(t *testing.T) {
	p, all := states(t)
	f, err := fix(p)
	must(t, err)
	if s, err := Decode(p, all[3].Encode()); err != nil || s.String() != all[3].String() {
		t.Fatalf("decode: %v", err)
	}
	for i, s := range all {
		b := s.Encode()
		for n := range b {
			if _, err := decode(f, b[:n]); err == nil {
				t.Fatalf("state %d: %d of %d bytes are accepted", i, n, len(b))
			}
		}
		if _, err := decode(f, append(bytes.Clone(b), 0)); err == nil {
			t.Fatal("a byte too much is accepted")
		}
		b[0]++
		if _, err := decode(f, b); err == nil || !strings.Contains(err.Error(), "version") {
			t.Fatalf("version: %v", err)
		}
	}
	last := all[len(all)-1]
	for name, change := range map[string]func(s *State){
		"published and old":  func(s *State) { s.publish, s.stale = true, true },
		"spend at 0":         func(s *State) { s.spend = &spend{s.spend.tx, 0} },
		"another spend":      func(s *State) { s.spend = &spend{wire.NewMsgTx(2), 5} },
		"outputs only":       func(s *State) { s.spend = nil },
		"order of spent":     func(s *State) { s.spent[0], s.spent[1] = s.spent[1], s.spent[0] },
		"twice spent":        func(s *State) { s.spent[1] = s.spent[0] },
		"spent at 0":         func(s *State) { s.spent[0].height = 0 },
		"order of preimages": func(s *State) { s.settled[0], s.settled[1] = s.settled[1], s.settled[0] },
		"unknown preimage":   func(s *State) { s.settled[1].id = 55 },
		"wrong preimage":     func(s *State) { s.settled[0].preimage[0]++ },
		"told":               func(s *State) { s.told[0] = 3 },
		"told received":      func(s *State) { s.told[3] = toldFulfilled },
		"too many told":      func(s *State) { s.told = append(s.told, 0) },
		"bids twice":         func(s *State) { s.bids = []bid{{fee: 5}, {fee: 5}} },
		"bid of too much":    func(s *State) { s.bids = []bid{{fee: maxMoney + 1}} },
		"bid of another":     func(s *State) { s.bids = []bid{{fee: 5, funded: wire.NewMsgTx(2)}} },
		"row of too much":    func(s *State) { s.revoked = &Revoked{HTLCs: oversized} },
	} {
		s := last.clone()
		change(s)
		if _, err := decode(f, s.Encode()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

var oversized = func() []commitment.HTLC { return []commitment.HTLC{{Amount: 1 << 62}} }()

// TestNewRefuses what is no channel.
func TestNewRefuses(t *testing.T) {
	base := func() Params {
		return newWorld(t, config{}, testHTLC{offered: true, sat: 50_000, expiry: 110, secret: "a", in: inAll},
			testHTLC{sat: 60_000, expiry: 130, secret: "c", in: inAll}).p
	}
	for name, change := range map[string]func(p *Params){
		"no commitment of the peer": func(p *Params) { p.Theirs = nil },
		"three":                     func(p *Params) { p.Theirs = append(p.Theirs, p.Theirs[0]) },
		"no sweep script":           func(p *Params) { p.Sweep = nil },
		"long sweep script":         func(p *Params) { p.Sweep = make([]byte, maxScript+1) },
		"no delay":                  func(p *Params) { p.RemoteDelay = 0 },
		"htlc twice":                func(p *Params) { p.HTLCs = append(p.HTLCs, p.HTLCs[0]) },
		"expiry":                    func(p *Params) { p.HTLCs[0].Expiry = 500_000_000 },
		"deadline":                  func(p *Params) { p.HTLCs[0].Deadline = 500_000_000 },
		"amount":                    func(p *Params) { p.HTLCs = append(p.HTLCs, HTLC{ID: 9, Amount: 1 << 63}) },
		"htlc missing":              func(p *Params) { p.HTLCs = p.HTLCs[1:] },
		"other amount":              func(p *Params) { p.HTLCs[0].Amount++ },
		"other side":                func(p *Params) { p.HTLCs[0].Offered = false; p.HTLCs[0].ID = 5 },
		"signature missing":         func(p *Params) { p.Ours.HTLCSigs = p.Ours.HTLCSigs[1:] },
		"no key":                    func(p *Params) { p.Ours.Point = [33]byte{} },
		"no money":                  func(p *Params) { p.Theirs[1].Spec.ToOwner++ },
		"capacity":                  func(p *Params) { p.Capacity-- },
	} {
		p := base()
		if _, err := New(p); err != nil {
			t.Fatal(err)
		}
		change(&p)
		if _, err := New(p); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestTotal: events that make no sense do nothing.
func TestTotal(t *testing.T) {
	_, all := states(t)
	for i, s := range all {
		for _, ev := range []Event{
			nil, Settle{HTLC: 77}, Funded{}, Funded{Tx: wire.NewMsgTx(2)}, Revoked{Number: 99}, Chain{}, Chain{chain.Spent{}},
			Chain{chain.Spent{By: wire.NewMsgTx(2), Height: 3}}, Chain{chain.Confirmed{}}, Revoked{Number: oldNumber, HTLCs: oversized},
		} {
			next, out := Apply(s, &sides[0], []Event{ev})
			if out.Changed || !bytes.Equal(next.Encode(), s.Encode()) || len(out.Resolved)+len(out.Ended) > 0 {
				t.Errorf("state %d: %T changes something", i, ev)
			}
		}
		// Deep reorganisations, below everything.
		next, _ := Apply(s, &sides[0], []Event{Chain{chain.BlockDisconnected{Height: 1}}, Chain{chain.BlockDisconnected{}}})
		if next.Height() != 0 || next.spend != nil || len(next.spent) != 0 {
			t.Errorf("state %d: facts survive", i)
		}
	}
}

func FuzzDecode(f *testing.F) {
	p, all := states(f)
	for _, s := range all {
		f.Add(s.Encode())
	}
	fixed, err := fix(p)
	must(f, err)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decode(fixed, b)
		if err != nil {
			return
		}
		if !bytes.Equal(s.Encode(), b) {
			t.Fatal("not canonical")
		}
		_ = s.String()
		_ = s.Watches()
		s, _ = Apply(s, &sides[0], []Event{Chain{chain.BlockConnected{Height: s.height + 1}}, Close{}})
		s, _ = Apply(s, &sides[0], []Event{Chain{chain.BlockDisconnected{Height: s.height}}})
		if _, err := decode(fixed, s.Encode()); err != nil {
			t.Fatalf("does not decode after a block: %v", err)
		}
	})
}
