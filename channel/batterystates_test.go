package channel_test

import (
	"fmt"
	"testing"

	"lightningrod/chain"
	"lightningrod/channel"
	"lightningrod/channel/channeltest"

	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// subject is one side in one state: what the battery is thrown at.
type subject struct {
	name     string
	s        *channel.State
	me, peer channeltest.Crypto
	script   []byte // of the peer's shutdown
	image    string // of s
}

// with is the same side in another state.
func (x *subject) with(s *channel.State) *subject {
	y := *x
	y.s, y.image = s, image(s)
	return &y
}

// collection gathers the states of pairs, each once.
type collection struct {
	t            testing.TB
	memo         *channeltest.Memo // nil: real signatures
	seen         map[string]bool
	disconnected int
	subjects     []subject
}

// everyState collects states of all classes: after every message of openings, of busy channels, of closes, and what
// disconnections and the chain make of them. Without toy signatures it is fewer.
func everyState(t testing.TB, toy bool) []subject {
	c := &collection{t: t, seen: map[string]bool{}}
	if toy {
		c.memo = channeltest.NewMemo()
		c.opening()
		c.ends()
		c.special()
	}
	orders := 1
	if toy {
		orders = 3
	}
	for i := range orders {
		c.busy(c.open(), i)
		c.close(i)
	}
	return c.subjects
}

func (c *collection) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// snap keeps the states of both sides.
func (c *collection) snap(name string, p *channeltest.Pair) {
	for i := range p.Sides {
		c.side(name, p, i)
	}
}

func (c *collection) side(name string, p *channeltest.Pair, i int) {
	s := p.Sides[i].State
	if s == nil {
		return
	}
	key := fmt.Sprintf("%d %s %v", i, s.Class(), s)
	if s.Durable() {
		key += string(s.Encode())
	}
	if !c.seen[key] {
		c.seen[key] = true
		c.subjects = append(c.subjects, subject{p.Sides[i].Name + " " + name, s, p.Sides[i].Crypto, p.Sides[1-i].Crypto, p.Sides[1-i].Params.ShutdownScript, image(s)})
	}
}

// around keeps the states, and those after a disconnection, and those after a new connection.
func (c *collection) around(name string, p *channeltest.Pair) {
	c.snap(name, p)
	q := p.Clone()
	c.must(q.Disconnect())
	if c.disconnected++; c.disconnected%3 == 1 { // nearly everything is ignored then
		c.snap(name+", disconnected", q)
	}
	c.must(q.Connect())
	c.snap(name+", reconnected", q)
}

// options: at most 6 HTLCs of 300,000 sat in all a side, of at least 1 sat each; the reserve is 10,000 sat.
func (c *collection) options(depth uint32) channeltest.Options {
	return channeltest.Options{Toy: c.memo != nil, Memo: c.memo, Push: 400_000_000, Params: func(_ int, p *channel.Params) {
		p.MinDepth = depth
		p.Limits = channel.Limits{MaxAcceptedHTLCs: 6, MaxInFlight: 300_000_000, HTLCMinimum: 1000}
	}}
}

func (c *collection) open() *channeltest.Pair {
	p, err := channeltest.Open(c.options(1))
	c.must(err)
	return p
}

// opening goes through the opening, a message at a time.
func (c *collection) opening() {
	p := channeltest.New(c.options(2))
	c.snap("new", p)
	c.must(p.Connect())
	c.snap("new", p)
	c.must(p.Do(0, channel.Open{Capacity: 1_000_000, Push: 400_000_000, FeePerKw: 253}))
	c.snap("opening", p)
	c.deliver("opening", p, 0, 2)
	c.must(p.Fund())
	c.deliver("funding", p, 0, 2)
	c.must(p.Confirm(1))
	c.around("one confirmation", p)
	p.Height++
	for side := range 2 {
		q := p.Clone()
		c.must(q.Do(side, channel.Chain{Event: chain.BlockConnected{Height: q.Height}}))
		c.around("two confirmations", q)
		c.deliver("channel_ready", q, side, 1)
	}
	p = channeltest.New(channeltest.Options{Toy: true, Memo: c.memo})
	c.must(p.Connect())
	c.must(p.Do(0, channel.Open{Capacity: 1_000_000, FeePerKw: 253}))
	c.must(p.DeliverAll())
	c.must(p.Fund())
	c.must(p.DeliverAll())
	c.side("accepted, nothing of its own in it", p, 1)
}

// deliver delivers at most n messages and keeps the states after each. prefer 0 or 1: that side's go first; 2: by turns.
func (c *collection) deliver(name string, p *channeltest.Pair, prefer, n int) {
	for k := 0; k < n; k++ {
		from := prefer
		if prefer == 2 {
			from = k % 2
		}
		if len(p.Sides[from].Out) == 0 {
			from = 1 - from
		}
		ok, err := p.Deliver(from)
		c.must(err)
		if !ok {
			return
		}
		c.around(fmt.Sprintf("%s, message %d", name, k), p)
	}
}

// busy is a channel with HTLCs both ways, dust among them, that are removed in all three ways, and changes of the fee.
func (c *collection) busy(p *channeltest.Pair, prefer int) {
	c.around("open", p)
	for n := range uint64(2) {
		c.must(p.Do(0, channel.Add{HTLC: channeltest.HTLC(n, 50_000_000, 700)}))
		c.must(p.Do(1, channel.Add{HTLC: channeltest.HTLC(10+n, 200_000, 701)}))
	}
	c.around("adds", p)
	c.deliver("adds", p, prefer, 100)
	c.must(p.Do(1, channel.Settle{HTLC: 0, Outcome: channel.Fulfill{Preimage: channeltest.Preimage(0)}}))
	c.must(p.Do(0, channel.UpdateFee{FeePerKw: 400}))
	c.around("fulfill and fee", p)
	c.deliver("fulfill and fee", p, prefer, 3)
	c.must(p.Do(0, channel.Settle{HTLC: 0, Outcome: channel.Malformed{Code: 0xc005}}))
	c.must(p.Do(1, channel.Settle{HTLC: 1, Outcome: channel.Fail{Reason: []byte{1}}}))
	c.must(p.Do(0, channel.Add{HTLC: channeltest.HTLC(2, 60_000_000, 700)}))
	c.deliver("failures", p, prefer, 100)
}

// close is a cooperative close with HTLCs pending, by either side or both.
func (c *collection) close(closer int) {
	p := c.open()
	c.must(p.Do(0, channel.Add{HTLC: channeltest.HTLC(1, 50_000_000, 700)}))
	c.must(p.Do(1, channel.Add{HTLC: channeltest.HTLC(11, 40_000_000, 700)}))
	c.must(p.DeliverAll())
	for side := range 2 {
		if closer == side || closer == 2 {
			c.must(p.Do(side, channel.Close{FeePerKw: 500}))
		}
	}
	c.around("close", p)
	c.deliver("close", p, 2, 100)
	c.must(p.Do(1, channel.Settle{HTLC: 0, Outcome: channel.Fulfill{Preimage: channeltest.Preimage(1)}}))
	c.must(p.Do(0, channel.Settle{HTLC: 0, Outcome: channel.Fail{}}))
	c.deliver("close, settled", p, 2, 100)
	c.must(p.ConfirmSpend(published(p.Sides[0])))
	c.around("close confirmed", p)
	c.must(p.Mine(6))
	c.snap("closed", p)
}

// ends are the states of channels that went wrong.
func (c *collection) ends() {
	busy := c.open()
	old := busy.Sides[1].State
	c.must(busy.Do(0, channel.Add{HTLC: channeltest.HTLC(1, 50_000_000, 700)}))
	c.must(busy.Do(1, channel.Add{HTLC: channeltest.HTLC(11, 40_000_000, 700)}))
	c.must(busy.DeliverAll())
	p := busy.Clone()
	c.must(p.Do(0, channel.ForceClose{}))
	c.around("force close", p)
	c.must(p.ConfirmSpend(published(p.Sides[0])))
	c.around("force close confirmed", p)
	c.must(p.Mine(20))
	c.around("force close deep", p)

	revoked, _, err := old.LocalCommitment(busy.Sides[1].Crypto)
	c.must(err)
	p = busy.Clone()
	c.must(p.ConfirmSpend(revoked))
	c.around("revoked commitment confirmed", p)

	// bob comes back with an old database.
	p = c.open()
	q := p.Clone()
	c.must(p.Do(0, channel.Add{HTLC: channeltest.HTLC(1, 50_000_000, 700)}))
	c.must(p.DeliverAll())
	p.Sides[1] = q.Sides[1]
	c.must(p.Crash(1))
	c.must(p.Connect())
	c.must(p.DeliverAll())
	if p.Sides[1].State.Phase() != channel.PhaseWaiting {
		c.t.Fatal(p.Sides[1].State)
	}
	c.around("data lost", p)
}

// special are channels in which a rule matters that has no room in the others.
func (c *collection) special() {
	o := c.options(1)
	o.Push = 965_000_000 // alice, who pays the fees, has 25,000 sat above her reserve
	p, err := channeltest.Open(o)
	c.must(err)
	c.around("alice is poor", p)

	p = channeltest.New(c.options(1))
	c.must(p.Connect())
	c.must(p.Do(0, channel.Open{Capacity: 1_000_000, Push: 400_000_000, FeePerKw: 253}))
	p.Sides[0].Out[0].(*lnwire.OpenChannel).UpfrontShutdownScript = p2wpkh(0)
	c.must(p.DeliverAll())
	c.must(p.Fund())
	c.must(p.DeliverAll())
	c.must(p.Confirm(1))
	c.must(p.DeliverAll())
	c.around("upfront_shutdown_script", p)
	c.must(p.Do(1, channel.Close{}))
	c.deliver("upfront_shutdown_script, close", p, 2, 100)
}

// published is the last transaction a side asked to publish.
func published(s *channeltest.Side) *wire.MsgTx {
	var tx *wire.MsgTx
	for _, r := range s.Chain {
		if p, ok := r.(chain.Publish); ok {
			tx = p.Tx
		}
	}
	return tx
}
