package rod

import (
	"slices"
	"testing"
)

// TestNews: what is told of requests and of unblocks, for whoever counts.
func TestNews(t *testing.T) {
	b := newBox(t, nil)
	two := ask()
	two.TotalMsat = 2000
	part := func(id uint64) HTLC {
		return HTLC{Channel: 7, ID: id, Peer: node("A"), Hash: two.Hashes[0], Amount: 1000, Expiry: b.table.height + 900, OutExpiry: b.table.height + 700}
	}
	unblock := func(name string) Unblock { return Unblock{Pid: pid(name)} }
	away := unblock("1")
	away.Next = node("B")
	again := two
	again.TotalMsat = 3000
	other := ask()
	other.PidHash, other.Hashes = PidHash(pid("2")), [][32]byte{{9}}
	third := ask()
	third.PidHash, third.Hashes = PidHash(pid("3")), [][32]byte{{8}}
	for i, step := range []struct {
		ev   Event
		want []string
	}{
		{unblock("1"), []string{"unknown"}},
		{signed("A", two), []string{"armed"}},
		{signed("A", two), nil},
		{signed("A", again), []string{"refused duplicate"}},
		{Member{part(0)}, nil},
		{away, []string{"bad_source"}},
		{unblock("1"), []string{"early"}},
		{unblock("1"), []string{"duplicate"}},
		{Member{part(1)}, nil},
		{signed("A", other), []string{"armed"}},
		{unblock("2"), []string{"released"}},
		{unblock("2"), []string{"duplicate"}},
		{signed("A", third), []string{"armed"}},
		{cancelled("A", third.PidHash), []string{"withdrawn cancelled"}},
		{unblock("3"), []string{"unknown"}},
		{Member{HTLC{Channel: 7, ID: 9, Peer: node("A"), Hash: [32]byte{5}, Amount: 1, Expiry: b.table.height + 900, OutExpiry: b.table.height + 700,
			Hold: &HoldTLV{PidHash: PidHash(pid("4"))}}}, []string{"armed"}},
		{Declined{7, 9}, []string{"withdrawn failed"}},
		{Tick{b.table.now + 10_000}, []string{"expired"}},
	} {
		var got []string
		for _, x := range b.apply(step.ev).News {
			text := x.What.String()
			if x.Reason != "" {
				text += " " + x.Reason
			}
			got = append(got, text)
		}
		if !slices.Equal(got, step.want) {
			t.Errorf("%d: %T: %q, want %q", i, step.ev, got, step.want)
		}
	}
}
