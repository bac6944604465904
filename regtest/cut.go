package regtest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Wire is a cable between two nodes that can be cut: a TCP listener that passes on what it gets, and counts the pieces, in both
// directions. A node writes a message at once, and on loopback it comes at once: a piece is a message, nearly always.
type Wire struct {
	l  net.Listener
	to string

	mu    sync.Mutex
	left  int           // pieces until the cut; 0: none is due
	done  chan struct{} // closed then
	cuts  int
	joins int
	conns map[net.Conn]bool
}

// NewWire listens on loopback for connections to an address.
func NewWire(t testing.TB, to string) *Wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{l: l, to: to, conns: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() { w.accept(&wg) })
	t.Cleanup(func() {
		l.Close()
		w.Cut()
		wg.Wait()
	})
	return w
}

// Addr is where to connect to.
func (w *Wire) Addr() string { return w.l.Addr().String() }

// CutAfter has the connections end once so many pieces more have passed, which closes done. The last of them still arrives. A cut that
// was due before and has not come is given up.
func (w *Wire) CutAfter(pieces int) (done <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left, w.done = pieces, make(chan struct{})
	return w.done
}

// Cut ends the connections that there are.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end()
}

// Cuts is how often CutAfter has come true.
func (w *Wire) Cuts() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cuts
}

// Joins is how many connections were made.
func (w *Wire) Joins() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.joins
}

// end is Cut. The mutex is held.
func (w *Wire) end() {
	for c := range w.conns {
		c.Close()
	}
	clear(w.conns)
}

func (w *Wire) accept(wg *sync.WaitGroup) {
	for {
		in, err := w.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", w.to)
		if err != nil {
			in.Close() // the node is down
			continue
		}
		w.mu.Lock()
		w.conns[in], w.conns[out] = true, true
		w.joins++
		w.mu.Unlock()
		wg.Go(func() { w.pass(in, out) })
		wg.Go(func() { w.pass(out, in) })
	}
}

func (w *Wire) pass(from, to net.Conn) {
	defer w.drop(from, to)
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil || w.passed() {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// passed counts a piece, and cuts if it was the last one.
func (w *Wire) passed() (cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left == 0 {
		return false
	}
	if w.left--; w.left > 0 {
		return false
	}
	w.cuts++
	w.end()
	close(w.done)
	return true
}

func (w *Wire) drop(ends ...io.Closer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range ends {
		c.Close()
		delete(w.conns, c.(net.Conn))
	}
}
