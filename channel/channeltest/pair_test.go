package channeltest

import (
	"testing"

	"lightningrod/channel"
)

func open(t testing.TB, o Options) *Pair {
	t.Helper()
	p, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAddFulfill(t *testing.T) {
	for _, toy := range []bool{true, false} {
		p := open(t, Options{Toy: toy, Wire: true, Push: 400_000_000})
		must(t, p.Do(0, channel.Add{HTLC: HTLC(1, 50_000_000, 700)}))
		must(t, p.DeliverAll())
		if len(p.Sides[1].State.Received()) != 1 {
			t.Fatal(p.Sides[1].State)
		}
		must(t, p.Do(1, channel.Settle{HTLC: 0, Outcome: channel.Fulfill{Preimage: Preimage(1)}}))
		must(t, p.DeliverAll())
		must(t, p.Agree())
		l, r := p.Sides[0].State.Balance()
		if l != 550_000_000 || r != 450_000_000 {
			t.Fatal(l, r, p.Sides[0].State)
		}
	}
}
