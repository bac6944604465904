package channeltest

import (
	"fmt"
	"testing"

	"lightningrod/chain"
	"lightningrod/channel"

	"github.com/lightningnetwork/lnd/lnwire"
)

// A flow is what the two sides are told at the beginning and when all is quiet; it is cut at every message.
var flows = []struct {
	name  string
	begin func(l *Ledger) error
	then  []func(l *Ledger) error
}{
	{"add fulfill", one(0), settle(1, 2)},
	{"add fail", one(0), settle(1, 0)},
	{"add malformed", one(0), settle(1, 1)},
	{"bob adds, alice fulfills", one(1), settle(0, 2)},
	{"fee", fee(700), nil},
	{"both add", func(l *Ledger) error { return first(one(0)(l), one(1)(l)) },
		[]func(*Ledger) error{func(l *Ledger) error { return first(settle(1, 2)[0](l), settle(0, 0)[0](l)) }}},
	{"add and fee", func(l *Ledger) error { return first(one(1)(l), fee(800)(l)) }, settle(0, 2)},
	{"two adds", func(l *Ledger) error { return first(one(0)(l), one(0)(l)) },
		[]func(*Ledger) error{func(l *Ledger) error { return first(settle(1, 2)[0](l), settle(1, 0)[0](l)) }}},
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func one(side int) func(*Ledger) error {
	return func(l *Ledger) error {
		return l.p.Do(side, channel.Add{HTLC: l.HTLC(side, lnwire.MilliSatoshi(10_000_000+l.next[side]))})
	}
}

func fee(rate chain.FeePerKw) func(*Ledger) error {
	return func(l *Ledger) error { return l.p.Do(0, channel.UpdateFee{FeePerKw: rate}) }
}

func settle(side int, what byte) []func(*Ledger) error {
	return []func(*Ledger) error{func(l *Ledger) error { return l.settleOne(side, what) }}
}

// runFlow runs a flow, and does something just before the n-th delivery. It says whether there was one.
func runFlow(p *Pair, begin func(*Ledger) error, then []func(*Ledger) error, n int, cut func(p *Pair) error) (bool, error) {
	l := NewLedger(p)
	if err := begin(l); err != nil {
		return false, err
	}
	delivered, done := 0, false
	for _, next := range append(then, nil) {
		for {
			if delivered == n && !done {
				done = true
				if err := first(cut(p), p.Connect()); err != nil {
					return true, err
				}
			}
			from := delivered % 2
			if len(p.Sides[from].Out) == 0 {
				from = 1 - from
			}
			ok, err := p.Deliver(from)
			if err != nil {
				return done, err
			}
			if !ok {
				break
			}
			delivered++
		}
		if next != nil {
			if err := next(l); err != nil {
				return done, err
			}
		}
	}
	return done, first(l.drain(), l.Final())
}

// TestCutEverywhere disconnects, or crashes a side before or after its sync, at every message of every flow. Both sides
// always end up agreeing, and the money is where the notices said.
func TestCutEverywhere(t *testing.T) {
	cuts := []struct {
		name string
		do   func(p *Pair) error
	}{
		{"disconnect", func(p *Pair) error { return p.Disconnect() }},
		{"twice", func(p *Pair) error {
			return first(p.Disconnect(), p.Connect(), second(p.Deliver(0)), p.Disconnect())
		}},
		{"alice crashes", func(p *Pair) error { return p.Crash(0) }},
		{"bob crashes", func(p *Pair) error { return p.Crash(1) }},
		{"both crash", func(p *Pair) error { return first(p.Crash(0), p.Crash(1)) }},
	}
	base := open(t, Options{Toy: true, Push: 400_000_000})
	for _, f := range flows {
		t.Run(f.name, func(t *testing.T) {
			runs := 0
			for _, c := range cuts {
				for n := 0; ; n++ {
					done, err := runFlow(base.Clone(), f.begin, f.then, n, c.do)
					if err != nil {
						t.Fatalf("%s before message %d: %v", c.name, n, err)
					}
					if !done {
						break
					}
					runs++
				}
			}
			t.Logf("%d runs", runs)
		})
	}
}

func second(_ bool, err error) error { return err }

// TestCrashBeforeSync loses the turn that the n-th message caused: it was computed, but neither written nor sent.
func TestCrashBeforeSync(t *testing.T) {
	base := open(t, Options{Toy: true, Push: 400_000_000})
	for _, f := range flows {
		for side := range 2 {
			t.Run(fmt.Sprintf("%s, %s", f.name, base.Sides[side].Name), func(t *testing.T) {
				for n := 0; ; n++ {
					done, err := runFlow(base.Clone(), f.begin, f.then, n, func(p *Pair) error {
						if len(p.Sides[1-side].Out) == 0 {
							return p.Disconnect()
						}
						p.Opt.Manual = true
						_, err := p.Deliver(1 - side)
						p.Opt.Manual = false
						return first(err, p.Crash(side))
					})
					if err != nil {
						t.Fatalf("message %d: %v", n, err)
					}
					if !done {
						break
					}
				}
			})
		}
	}
}

// TestCutClosing cuts a cooperative close at every message, with an HTLC that is fulfilled on the way. Both sides end with a
// closing transaction that the other has signed too.
func TestCutClosing(t *testing.T) {
	base := open(t, Options{Toy: true, Push: 400_000_000})
	must(t, base.Do(0, channel.Add{HTLC: HTLC(1, 50_000_000, 700)}))
	must(t, base.DeliverAll())
	cuts := []func(p *Pair) error{
		func(p *Pair) error { return p.Disconnect() },
		func(p *Pair) error { return p.Crash(0) },
		func(p *Pair) error { return p.Crash(1) },
	}
	for closer := range 2 {
		for i, cut := range cuts {
			for n, done := 0, true; done; n++ {
				p := base.Clone()
				must(t, p.Do(closer, channel.Close{}))
				must(t, p.Do(1, channel.Settle{HTLC: 0, Outcome: channel.Fulfill{Preimage: Preimage(1)}}))
				done = false
				for k := 0; ; k++ {
					if k == n {
						done = true
						must(t, first(cut(p), p.Connect()))
					}
					from := k % 2
					if len(p.Sides[from].Out) == 0 {
						from = 1 - from
					}
					ok, err := p.Deliver(from)
					must(t, err)
					if !ok {
						break
					}
				}
				a, b := published(p.Sides[0], 0), published(p.Sides[1], 0)
				if len(a) == 0 || len(b) == 0 || a[len(a)-1].TxHash() != b[len(b)-1].TxHash() {
					t.Fatalf("closer %d cut %d message %d:\n%v\n%v", closer, i, n, p.Sides[0].State, p.Sides[1].State)
				}
				if l, _ := p.Sides[0].State.Balance(); l != 550_000_000 || p.Sides[0].State.Phase() != channel.PhaseClosing {
					t.Fatal(p.Sides[0].State)
				}
			}
		}
	}
}
