package channeltest

import (
	"testing"

	"lightningrod/channel"
)

// TestLate: bob goes on from a backup, as State.Late has it. Whether or not anything was signed since, and whether an HTLC runs out before
// the peers meet, he publishes nothing, alice closes when she hears from him, and he sweeps what her commitment pays him.
func TestLate(t *testing.T) {
	for _, x := range []struct {
		name    string
		updates uint64 // after the backup
		expired bool   // an HTLC of the backup runs out before the connection
	}{{"nothing was signed since", 0, false}, {"old", 2, false}, {"an HTLC runs out", 0, true}, {"old, and an HTLC runs out", 2, true}} {
		t.Run(x.name, func(t *testing.T) {
			p := open(t, Options{Wire: true, Push: 400_000_000})
			alice, bob := p.Sides[0], p.Sides[1]
			if x.expired {
				must(t, p.Do(1, channel.Add{HTLC: HTLC(9, 50_000_000, 700)}))
				must(t, p.DeliverAll())
			}
			backup := bob.Rows.clone()
			for n := range x.updates {
				must(t, p.Do(0, channel.Add{HTLC: HTLC(n, 100_000_000, 900)}))
				must(t, p.DeliverAll())
				must(t, p.Do(1, channel.Settle{HTLC: n, Outcome: channel.Fulfill{Preimage: Preimage(n)}}))
				must(t, p.DeliverAll())
			}
			must(t, p.Disconnect())
			bob.Rows = backup
			must(t, p.Crash(1))
			bob.Rows.Core = bob.State.Late("this node was restored from a backup").Encode()
			must(t, p.Crash(1))
			atAlice, atBob := len(alice.Chain), len(bob.Chain)
			if bob.State.Phase() != channel.PhaseWaiting {
				t.Fatal(bob.State)
			}
			if x.expired {
				must(t, p.Mine(800))
			}
			must(t, p.Do(1, channel.ForceClose{}))
			must(t, p.Connect())
			must(t, p.DeliverAll())
			if txs := published(bob, atBob); len(txs) != 0 {
				t.Fatal("bob has published an old commitment")
			}
			txs := published(alice, atAlice)
			if len(txs) == 0 {
				t.Fatalf("alice does not close: %v", alice.State)
			}
			must(t, p.ConfirmSpend(txs[0]))
			if txs := published(bob, atBob); len(txs) == 0 {
				t.Fatalf("bob sweeps nothing: %v", bob.State)
			}
		})
	}
}
