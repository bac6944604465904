package channeltest

import (
	"crypto/sha256"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"lightningrod/chain"
	"lightningrod/channel"
)

// Budget is what may happen in an exploration: how often at most.
type Budget struct {
	Adds        [2]int // by side
	Fees        int    // update_fee by alice
	Disconnects int
	Crashes     int  // of either side: it is restored from its rows
	FailToo     bool // HTLCs are failed as well as fulfilled
	Turns       bool // what a side has sent in one turn arrives together: fewer orders
	States      int  // give up after so many; 0: never
	Closes      int  // in about one of so many states either side closes by force for real, see frozen.go; 0: in none
}

// node is a state of the two sides and the wire, and how it was reached. pair goes once its children are known.
type node struct {
	pair   *Pair
	ledger *Ledger
	left   Budget
	parent *node
	action string      // a line of a golden script
	sides  [2][16]byte // keys of the two States
}

// Explored is what an exploration saw.
type Explored struct {
	States, Turns, Rests int // rests: states in which nothing more has to happen
	Sides                int // different States of one side
	Closes               int // closed by force for real
	Depth                int // actions of the longest of the shortest ways
	Cut                  bool
	Time                 time.Duration
}

func (e Explored) String() string {
	s := fmt.Sprintf("%d states (%d of a side), %d turns, %d rests, %d closes, depth %d, %.0f states/s",
		e.States, e.Sides, e.Turns, e.Rests, e.Closes, e.Depth, float64(e.States)/e.Time.Seconds())
	if e.Cut {
		s += ", not all"
	}
	return s
}

// BadPath is the shortest way to a state in which something is wrong.
type BadPath struct {
	Err    error
	Script string // a golden script that goes there
}

func (e *BadPath) Error() string { return fmt.Sprintf("%v\n%s", e.Err, e.Script) }

func (e *BadPath) Unwrap() error { return e.Err }

// Explore visits every state that can be reached from an open pair within the budget: every order of deliveries, additions,
// removals, fee changes, disconnections and crashes. In states in which nothing more has to happen both sides must agree and
// the money be right; in every state, what either could publish must be known to the other, and mean the same to it. An error is a *BadPath.
//
// It goes level by level, over all cores; which path is found does not depend on their number.
func Explore(start *Pair, b Budget) (e Explored, err error) {
	began := time.Now()
	defer func() { e.Time = time.Since(began) }()
	root := &node{pair: start.Clone(), left: b}
	root.ledger = NewLedger(root.pair)
	seen := map[[16]byte]bool{root.key(nil): true}
	known := make(map[[16]byte]*frozen)
	for level := []*node{root}; len(level) > 0; {
		grown := make([]growth, len(level))
		inParallel(len(level), func(i int) { grown[i] = level[i].grow() })
		var next []*node
		for i := range grown {
			g := &grown[i]
			if g.err != nil {
				return e, g.err
			}
			e.Turns += len(g.children)
			if g.rest {
				e.Rests++
			}
			for j, c := range g.children {
				if !seen[g.keys[j]] {
					seen[g.keys[j]] = true
					next = append(next, c)
				}
			}
			level[i].pair, level[i].ledger, *g = nil, nil, growth{}
		}
		if err := checkAll(next, known, b.Closes, &e); err != nil {
			return e, err
		}
		if e.States, e.Sides = len(seen), len(known); b.States > 0 && e.States > b.States {
			e.Cut = true
			return e, nil
		}
		if level = next; len(level) > 0 {
			e.Depth++
		}
	}
	return e, nil
}

// inParallel calls f for 0..n-1, on all cores.
func inParallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), n)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				f(i)
			}
		})
	}
	wg.Wait()
}

// growth is what comes after a node.
type growth struct {
	children []*node
	keys     [][16]byte
	rest     bool
	err      error
}

// grow does every action there is. Those that have to happen some time, deliveries, decisions and new connections, come
// first: without any the node is at rest, whatever else may happen.
func (n *node) grow() (g growth) {
	try := func(action string, do func(c *node) error) {
		c, err := n.child(action, do)
		if err != nil && g.err == nil {
			g.err = err
		}
		if err == nil {
			g.children = append(g.children, c)
			g.keys = append(g.keys, c.key(n))
		}
	}
	n.must(try)
	if g.rest = len(g.children) == 0 && g.err == nil; g.rest {
		if err := n.ledger.Final(); err != nil {
			g.err = n.bad(err)
		}
	}
	n.may(try)
	return g
}

// must are the actions that have to happen some time.
func (n *node) must(try func(string, func(*node) error)) {
	for side, s := range n.pair.Sides {
		if count := len(s.Out); count > 0 {
			if !n.left.Turns {
				count = 1
			}
			try(fmt.Sprintf("deliver %s %d", s.Name, count), func(c *node) error {
				for range count {
					if _, err := c.pair.Deliver(side); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if h := undecided(s.State); h != nil {
			id, payment := h.HTLC.Key.HTLC, n.ledger.payment(h.HTLC.Hash)
			try(fmt.Sprintf("%s fulfill %d n=%d", s.Name, id, payment), func(c *node) error {
				return c.pair.Do(side, channel.Settle{HTLC: id, Outcome: channel.Fulfill{Preimage: Preimage(payment)}})
			})
			if n.left.FailToo {
				try(fmt.Sprintf("%s fail %d", s.Name, id), func(c *node) error {
					return c.pair.Do(side, channel.Settle{HTLC: id, Outcome: channel.Fail{Reason: []byte("reason")}})
				})
			}
		}
	}
	if !n.pair.Connected {
		try("connect", func(c *node) error { return c.pair.Connect() })
	}
}

// may are the actions that the budget allows.
func (n *node) may(try func(string, func(*node) error)) {
	for side, s := range n.pair.Sides {
		if _, _, usable := s.State.Usable(); usable && n.left.Adds[side] > 0 {
			payment := uint64(side)<<32 | (n.ledger.next[side] + 1)
			try(fmt.Sprintf("%s add amount=1000 n=%d", s.Name, payment), func(c *node) error {
				c.left.Adds[side]--
				return c.pair.Do(side, channel.Add{HTLC: c.ledger.HTLC(side, 1_000_000)})
			})
		}
		if n.left.Crashes > 0 {
			try(s.Name+" crash", func(c *node) error {
				c.left.Crashes--
				return c.pair.Crash(side)
			})
		}
	}
	if _, _, usable := n.pair.Sides[0].State.Usable(); usable && n.left.Fees > 0 {
		rate := chain.FeePerKw(300 + 10*n.left.Fees)
		try(fmt.Sprintf("alice fee %d", rate), func(c *node) error {
			c.left.Fees--
			return c.pair.Do(0, channel.UpdateFee{FeePerKw: rate})
		})
	}
	if n.pair.Connected && n.left.Disconnects > 0 {
		try("disconnect", func(c *node) error {
			c.left.Disconnects--
			return c.pair.Disconnect()
		})
	}
}

// undecided is the first HTLC that waits for a decision.
func undecided(s *channel.State) *channel.LiveHTLC {
	for _, h := range s.Received() {
		if h.Stage == channel.Irrevocable && h.Outcome == nil {
			return &h
		}
	}
	return nil
}

// child does one action on a copy.
func (n *node) child(action string, do func(c *node) error) (c *node, err error) {
	p := n.pair.Clone()
	c = &node{pair: p, ledger: n.ledger.clone(p), left: n.left, parent: n, action: action}
	defer func() {
		if r := recover(); r != nil {
			err = c.bad(fmt.Errorf("panic: %v", r))
		}
	}()
	if err := do(c); err != nil {
		return nil, c.bad(err)
	}
	if err := c.ledger.Look(); err != nil {
		return nil, c.bad(err)
	}
	return c, nil
}

// checkAll is done once for all new nodes. A State that was met before, in another node, is right already; what two of them make of each
// other is looked at for every node.
func checkAll(nodes []*node, known map[[16]byte]*frozen, closes int, e *Explored) error {
	type first struct {
		*node
		side int
	}
	var fresh []first
	for _, n := range nodes {
		for side, k := range n.sides {
			if _, met := known[k]; !met {
				known[k] = &frozen{}
				fresh = append(fresh, first{n, side})
			}
		}
	}
	bad := make([]error, max(len(fresh), len(nodes)))
	inParallel(len(fresh), func(i int) {
		f := fresh[i]
		bad[i] = f.check(f.side, known[f.sides[f.side]])
	})
	if err := firstOf(bad); err != nil {
		return err
	}
	closed := make([]bool, len(nodes))
	inParallel(len(nodes), func(i int) {
		n := nodes[i]
		if err := agree(known[n.sides[0]], known[n.sides[1]]); err != nil {
			bad[i] = n.bad(err)
		} else if closed[i] = closes > 0 && n.dice()%closes == 0; closed[i] {
			bad[i] = n.close()
		}
	})
	for _, c := range closed {
		if c {
			e.Closes++
		}
	}
	return firstOf(bad)
}

func firstOf(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// check is done once for every State of a side. It notes what the side could do on chain.
func (n *node) check(side int, f *frozen) error {
	s := n.pair.Sides[side]
	if err := s.State.Invariants(); err != nil {
		return n.bad(fmt.Errorf("%s: %w", s.Name, err))
	}
	if err := s.checkEncoding(); err != nil {
		return n.bad(err)
	}
	*f = freeze(s)
	return nil
}

// key is everything that decides about the future. A State that parent has too is not hashed again.
func (n *node) key(parent *node) (k [16]byte) {
	h := sha256.New()
	fmt.Fprintf(h, "%v %v %t %v %v\n", n.left.Adds, n.left.Fees, n.pair.Connected, n.left.Disconnects, n.left.Crashes)
	for i, s := range n.pair.Sides {
		if parent != nil && parent.pair.Sides[i].State == s.State {
			n.sides[i] = parent.sides[i]
		} else {
			n.sides[i] = stateKey(s.State)
		}
		h.Write(n.sides[i][:])
		for _, m := range s.Out {
			h.Write([]byte(channel.DescribeMessage(m)))
			h.Write([]byte{'\n'})
		}
	}
	copy(k[:], h.Sum(nil))
	return k
}

// stateKey is of everything in a State: bodies of HTLCs are not in its encoding, their hashes make the difference.
func stateKey(s *channel.State) [16]byte {
	b := append(s.Encode(), s.String()...)
	for _, hs := range [][]channel.LiveHTLC{s.Offered(), s.Received()} {
		for _, h := range hs {
			b = append(b, h.HTLC.Hash[:]...)
		}
	}
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}

// dice is a number that looks random, and is the same each time.
func (n *node) dice() int {
	return int(n.sides[0][0]^n.sides[1][1])<<8 | int(n.sides[1][0]^n.sides[0][1])
}

// bad is an error in this node. The script begins with the channel that the tests open.
func (n *node) bad(err error) error {
	var lines []string
	for m := n; m.parent != nil; m = m.parent {
		lines = append([]string{m.action}, lines...)
	}
	return &BadPath{err, "open capacity=1000000 push=400000\n" + strings.Join(lines, "\n") + "\nagree\n"}
}

func (l *Ledger) clone(p *Pair) *Ledger {
	c := *l
	c.p, c.seen = p, [2]int{} // a clone starts without notices
	c.amount, c.from = copyMap(l.amount), copyMap(l.from)
	c.fulfilled = copyMap(l.fulfilled)
	return &c
}

// payment is the payment with a hash.
func (l *Ledger) payment(hash [32]byte) uint64 {
	for n := range l.amount {
		if Hash(n) == hash {
			return n
		}
	}
	return 0
}

func copyMap[K comparable, V any](m map[K]V) map[K]V {
	c := make(map[K]V, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}
