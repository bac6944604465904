package node

import (
	"testing"
	"time"
)

// Rows of docs/catalogue.md that concern the engine alone.

// TestH30_UnblocksUnderFlood: strangers send a hundred times what they may, for a minute. Messages of that size over a channel peer, as an
// unblock comes, all pass; and one channel peer that floods costs the others nothing.
func TestH30_UnblocksUnderFlood(t *testing.T) {
	const size = 1366 + 66 // bytes of an onion message
	f := newFlood()
	now := time.Unix(1_000_000, 0)
	honest, greedy := [33]byte{2, 1}, [33]byte{2, 2}
	strangers, passed := 0, 0
	for second := range 60 {
		for i := range 100 * strangerRate / size {
			stranger := [33]byte{3, byte(second), byte(i), byte(i >> 8)}
			if f.allow(stranger, false, size, now) {
				strangers += size
			}
		}
		for range 100 * clientRate / size {
			f.allow(greedy, true, size, now)
		}
		for range 20 { // releases
			if f.allow(honest, true, size, now) {
				passed++
			}
		}
		now = now.Add(time.Second)
	}
	if passed != 60*20 {
		t.Errorf("%d of %d messages of an honest peer pass", passed, 60*20)
	}
	if most := strangerBurst + 60*strangerRate; strangers > most {
		t.Errorf("strangers send %d bytes, %d are theirs", strangers, most)
	}
	if len(f.peers) != 2 {
		t.Errorf("%d buckets: strangers cost memory", len(f.peers))
	}
}
