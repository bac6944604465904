package node

import (
	"errors"
	"strings"
	"testing"

	"lightningrod/channel"
)

// TestDeclineRefused: what is not held is not the operator's to fail. Of an HTLC whose preimage is known that would be theft, by us of ourselves.
func TestDeclineRefused(t *testing.T) {
	w := newWorld(t)
	l, id, _ := w.held(AsyncPay{})
	key := l.lspA.HTLCs()[0].Key
	if err := l.lspA.Decline(channel.Key{Channel: key.Channel, HTLC: key.HTLC + 1}); !errors.Is(err, ErrNoHTLC) {
		t.Fatalf("no HTLC: %v", err)
	}
	l.a.Stop() // so that what is released stays owed
	l.b = w.start(l.configs[3])
	w.until("the preimage", func() bool { live := l.lspA.HTLCs(); return len(live) == 1 && live[0].State == "fulfilled" })
	for range 2 {
		if err := l.lspA.Decline(key); err == nil || !strings.Contains(err.Error(), "fulfilled, not held") {
			t.Fatalf("fulfilled: %v", err)
		}
		l.lspA.Crash()
		l.lspA = w.start(l.configs[1])
		w.until("the preimage after a crash", func() bool { live := l.lspA.HTLCs(); return len(live) == 1 && live[0].State == "fulfilled" })
	}
	l.a = w.start(l.configs[0])
	if failure := w.outcome(l.a, id); failure != "" {
		t.Fatal(failure)
	}
}

// TestLetters: the operator sees what waits for a client, and may throw it away.
func TestLetters(t *testing.T) {
	w := newWorld(t)
	l, _, _ := w.held(AsyncPay{})
	b := l.b.ID()
	all := l.lspB.Letters(b)
	if len(all) == 0 || all[0].Client != b || all[0].From != l.lspA.ID() || all[0].Bytes == 0 || all[0].Arrived.IsZero() {
		t.Fatalf("%+v", all)
	}
	if err := l.lspB.DropLetter(l.a.ID(), all[0].Seq); !errors.Is(err, ErrNoLetter) {
		t.Fatalf("another's: %v", err)
	}
	for _, x := range all {
		if err := l.lspB.DropLetter(b, x.Seq); err != nil {
			t.Fatal(err)
		}
		if err := l.lspB.DropLetter(b, x.Seq); !errors.Is(err, ErrNoLetter) {
			t.Fatalf("twice: %v", err)
		}
	}
	w.wait(l.lspB, 0, MessageDropped, "cause", "operator")
	l.lspB.Crash()
	l.lspB = w.start(l.configs[2])
	for _, x := range l.lspB.Letters(b) {
		for _, old := range all {
			if x.Seq == old.Seq {
				t.Errorf("%+v is back", x)
			}
		}
	}
}
