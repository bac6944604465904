package channeltest

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"lightningrod/chain"
	"lightningrod/channel"
)

// Budget is what may happen in an exploration: how often at most.
type Budget struct {
	Adds        [2]int // by side
	Fees        int    // update_fee by alice
	Disconnects int
	FailToo     bool // HTLCs are failed as well as fulfilled
	States      int  // give up after so many; 0: never
}

// node is a state of the two sides and the wire, and how it was reached.
type node struct {
	pair   *Pair
	ledger *Ledger
	left   Budget
	parent *node
	action string
}

// Explored is what an exploration saw.
type Explored struct {
	States, Turns, Ends int
	Cut                 bool // by Budget.States
}

// Explore visits every state that can be reached from an open pair within the budget: every order of deliveries, additions,
// removals, fee changes and disconnections. In states where nothing can happen any more both sides must agree and the
// money be right. The error shows the shortest way to the first bad state.
func Explore(start *Pair, b Budget) (Explored, error) {
	var e Explored
	root := &node{pair: start.Clone(), left: b}
	root.ledger = NewLedger(root.pair)
	seen := map[[32]byte]bool{root.key(): true}
	level := []*node{root}
	for len(level) > 0 {
		var next []*node
		for _, n := range level {
			children, err := n.children(&e)
			if err != nil {
				return e, err
			}
			if len(children) == 0 {
				e.Ends++
				if err := n.final(); err != nil {
					return e, fmt.Errorf("%w\n%s", err, n.path())
				}
			}
			for _, c := range children {
				k := c.key()
				if seen[k] {
					continue
				}
				seen[k] = true
				for _, s := range c.pair.Sides {
					if err := s.checkEncoding(); err != nil {
						return e, fmt.Errorf("%w\n%s", err, c.path())
					}
				}
				next = append(next, c)
			}
		}
		e.States = len(seen)
		if b.States > 0 && e.States > b.States {
			e.Cut = true
			return e, nil
		}
		level = next
	}
	return e, nil
}

// key is everything that decides about the future.
func (n *node) key() [32]byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %v %t %v\n", n.left.Adds, n.left.Fees, n.pair.Connected, n.left.Disconnects)
	for _, s := range n.pair.Sides {
		b.Write(s.State.Encode())
		b.WriteString(s.State.String())
		for _, m := range s.Out {
			b.WriteString(channel.DescribeMessage(m))
			b.WriteByte('\n')
		}
	}
	return sha256.Sum256([]byte(b.String()))
}

// child does one action on a copy.
func (n *node) child(e *Explored, action string, do func(c *node) error) (*node, error) {
	p := n.pair.Clone()
	c := &node{pair: p, ledger: n.ledger.clone(p), left: n.left, parent: n, action: action}
	e.Turns++
	err := do(c)
	if err == nil {
		err = c.ledger.Look()
	}
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, c.path())
	}
	return c, nil
}

func (n *node) children(e *Explored) ([]*node, error) {
	var all []*node
	var first error
	try := func(action string, do func(c *node) error) {
		c, err := n.child(e, action, do)
		if err != nil && first == nil {
			first = err
		}
		if err == nil {
			all = append(all, c)
		}
	}
	for side, s := range n.pair.Sides {
		if len(s.Out) > 0 {
			try(fmt.Sprintf("deliver %s's %s", s.Name, channel.DescribeMessage(s.Out[0])), func(c *node) error {
				_, err := c.pair.Deliver(side)
				return err
			})
		}
		if _, _, usable := s.State.Usable(); usable && n.left.Adds[side] > 0 {
			try(s.Name+" adds", func(c *node) error {
				c.left.Adds[side]--
				return c.pair.Do(side, channel.Add{HTLC: c.ledger.HTLC(side, 1_000_000)})
			})
		}
		for what := byte(0); what < 2; what++ {
			if what == 1 && !n.left.FailToo || !n.settles(side) {
				continue
			}
			try(fmt.Sprintf("%s settles %d", s.Name, what), func(c *node) error {
				return c.ledger.settleOne(side, 2-2*what)
			})
		}
	}
	if _, _, usable := n.pair.Sides[0].State.Usable(); usable && n.left.Fees > 0 {
		try("alice changes the fee", func(c *node) error {
			c.left.Fees--
			return c.pair.Do(0, channel.UpdateFee{FeePerKw: chain.FeePerKw(300 + 10*c.left.Fees)})
		})
	}
	if n.pair.Connected && n.left.Disconnects > 0 {
		try("disconnect", func(c *node) error {
			c.left.Disconnects--
			return c.pair.Disconnect()
		})
	}
	if !n.pair.Connected {
		try("connect", func(c *node) error { return c.pair.Connect() })
	}
	return all, first
}

func (n *node) settles(side int) bool {
	for _, h := range n.pair.Sides[side].State.Received() {
		if h.Stage == channel.Irrevocable && h.Outcome == nil {
			return true
		}
	}
	return false
}

func (n *node) final() error { return n.ledger.Final() }

// path is the way to the node, as lines.
func (n *node) path() string {
	var lines []string
	for m := n; m.parent != nil; m = m.parent {
		lines = append([]string{m.action}, lines...)
	}
	return strings.Join(lines, "\n") + fmt.Sprintf("\n%v\n%v", n.pair.Sides[0].State, n.pair.Sides[1].State)
}

func (l *Ledger) clone(p *Pair) *Ledger {
	c := *l
	c.p, c.seen = p, [2]int{} // a clone starts without notices
	c.amount, c.from = copyMap(l.amount), copyMap(l.from)
	c.fulfilled = copyMap(l.fulfilled)
	return &c
}

func copyMap[K comparable, V any](m map[K]V) map[K]V {
	c := make(map[K]V, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}
