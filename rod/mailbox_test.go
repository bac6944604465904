package rod

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func newMailbox(t *testing.T, rows ...Row) *Mailbox {
	t.Helper()
	m, err := LoadMailbox(DefaultMailboxConfig(), rows...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestMailboxQuotas: "at most 32 messages and 256 KiB per client, no arriving peer may fill more than a quarter of a client's box."
func TestMailboxQuotas(t *testing.T) {
	const kib = 1024
	for _, c := range []struct {
		name  string
		peers int // messages come from so many peers in turn
		size  int
		fit   int
		err   string
	}{
		{"messages of one peer", 1, 10, 8, "9 messages from the peer above maximum 8"},
		{"messages", 10, 10, 32, "33 messages for the client above maximum 32"},
		{"bytes of one peer", 1, 20 * kib, 3, "bytes from the peer above maximum 65536"},
		{"bytes", 10, 30 * kib, 8, "bytes for the client above maximum 262144"},
	} {
		m := newMailbox(t)
		fit := 0
		var err error
		for ; err == nil; fit++ {
			_, err = m.Put(node("B"), node(fmt.Sprint(fit%c.peers)), make([]byte, c.size), 1000, false)
		}
		if fit-1 != c.fit || !errors.Is(err, ErrMailboxFull) || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %d fit, then %v", c.name, fit-1, err)
		}
		if _, err := m.Put(node("C"), node("0"), make([]byte, c.size), 1000, false); err != nil {
			t.Errorf("%s: another client's box: %v", c.name, err)
		}
	}
	m := newMailbox(t)
	m.cfg.TotalBytes = 100
	if _, err := m.Put(node("B"), node("A"), make([]byte, 101), 1000, false); !errors.Is(err, ErrMailboxFull) {
		t.Errorf("bytes in all: %v", err)
	}
}

// TestMailbox: kept in order, over a restart, until delivered or 14 days have passed.
func TestMailbox(t *testing.T) {
	m, d := newMailbox(t), disk{}
	for i := range 5 {
		rows, err := m.Put(node("B"), node("A"), []byte{byte(i)}, 1000+int64(i), i == 0)
		if err != nil {
			t.Fatal(err)
		}
		d.write(rows)
	}
	m = newMailbox(t, d.rows()...)
	texts := func() (s string) {
		for _, l := range m.All(node("B")) {
			s += fmt.Sprint(l.Message[0])
		}
		return s
	}
	if got := texts(); got != "01234" {
		t.Errorf("order %s", got)
	}
	d.write(m.Delivered(node("B"), m.All(node("B"))[1].Seq))
	rows, _ := m.Put(node("B"), node("A"), []byte{5}, 1100, false)
	d.write(rows)
	m = newMailbox(t, d.rows()...)
	if got := texts(); got != "2345" {
		t.Errorf("after delivery %s", got)
	}
	d.write(m.Drop(node("B"), m.All(node("B"))[1].Seq))
	if rows := m.Drop(node("B"), 99); len(rows) != 0 || m.bytes != 3 {
		t.Errorf("%d rows, %d bytes", len(rows), m.bytes)
	}
	m = newMailbox(t, d.rows()...)
	if got := texts(); got != "245" {
		t.Errorf("after a drop %s", got)
	}
	d.write(m.Tick(1003 + 14*86400))
	if got := texts(); got != "45" || m.bytes != 2 {
		t.Errorf("after 14 days %s, %d bytes", got, m.bytes)
	}
	if rows, _ := m.Put(node("C"), node("A"), []byte{9}, 1, true); !slices.Equal(m.Waiting(), []NodeID{node("B")}) || len(rows) != 1 {
		t.Errorf("to be woken %v", m.Waiting())
	}
	d.write(m.Close(node("B")))
	if len(d) != 0 {
		t.Errorf("%d rows left", len(d))
	}
}

// TestWaker: the schedule of wakes for one reason, and what resets it.
func TestWaker(t *testing.T) {
	schedule := func(w *Waker, from, to int64) (at []int64) {
		for now := from; now < to; now++ {
			if len(w.Tick(now)) > 0 {
				at = append(at, now-from)
			}
		}
		return at
	}
	w := NewWaker()
	w.Tick(1000)
	if got := w.Want(node("B"), MethodPreimageReady, "{}", 0, true); len(got) != 1 {
		t.Fatalf("at once: %v", got)
	}
	if got := w.Want(node("B"), MethodPreimageReady, "{}", 0, true); len(got) != 0 {
		t.Errorf("a second reason of the kind within the cool-down: %v", got)
	}
	if got := w.Want(node("B"), MethodOnionMessage, "{}", 0, true); len(got) != 1 {
		t.Errorf("another kind has its own cool-down: %v", got)
	}
	w.Want(node("B"), MethodOnionMessage, "{}", 0, false)
	if got := schedule(w, 1000, 20000); !slices.Equal(got, []int64{60, 180, 420, 900, 1860, 3780, 7380, 10980, 14580, 18180}) {
		t.Errorf("exponential up to an hour: %v", got)
	}
	w.Up(node("B"))
	if got := schedule(w, 20000, 30000); len(got) != 0 {
		t.Errorf("while it is here: %v", got)
	}
	w.Down(node("B"))
	if got := schedule(w, 30000, 30300); !slices.Equal(got, []int64{59, 119, 239}) {
		t.Errorf("a connection starts the cool-downs afresh: %v", got)
	}
	w.Want(node("B"), MethodPreimageReady, "{}", 0, false)
	if got := schedule(w, 30300, 40000); len(got) != 0 || len(w.clients) != 0 {
		t.Errorf("no reason: %v, %d clients kept", got, len(w.clients))
	}
	// The same wish is the same id; another is not.
	a, b := NewWaker(), NewWaker()
	a.Tick(5)
	b.Tick(5)
	x, y := a.Want(node("B"), MethodPayment, "{}", 0, true)[0], b.Want(node("B"), MethodPayment, "{}", 0, true)[0]
	z := b.Want(node("C"), MethodPayment, "{}", 0, true)[0]
	if x.ID != y.ID || x.ID == z.ID {
		t.Error("ids")
	}
}
