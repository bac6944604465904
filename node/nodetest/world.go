package nodetest

import (
	"fmt"
	"strings"

	"lightningrod/chain"
	"lightningrod/channel"
	"lightningrod/channel/channeltest"
	"lightningrod/node/forward"

	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// World is one run.
type World struct {
	cfg    config
	bug    Bug
	policy forward.Policy
	nodes  []*node
	links  []*link
	edges  []*edge
	chain  *Chain
	now    int64 // unix seconds

	payments []*payment
	mail     []letter // on its way
	boxes    []letter // kept by LSPs for clients that are away
	truth    truth
	stats    *Stats
	told     chain.FeeRates // what backends say of the fee market
	peak     uint32         // the highest block there ever was
	finishAt uint32         // the height at which the run began to come to its end, 0: not yet
	log      *strings.Builder
}

// config is what the first bytes of a schedule say.
type config struct {
	topology  int
	eager     bool // turns run and are committed after every action: the schedule is about messages alone
	devices   bool // clients can be woken
	deadlines bool // at the end, holds are not released but run out
	force     bool // operators may close by force
	adversary int  // the node that may be one, by number; none if there is no such node
	blind     bool // backends do not show their mempools
	holds     bool // the adversary settles nothing, from the start
	congested bool // the fee market may stay high
	dear      bool // and is high when the run comes to its end
}

const configSize = 2

// Bits of the first byte: by force if none is set. And of the second.
const (
	forceBits     = 6 << 5
	adversaryBits = 7
	blindBit      = 1 << 3
	congestedBit  = 1 << 4
	holdsBit      = 1 << 6
	dearBit       = 1 << 7
)

func configOf(s []byte) config {
	b, c := s[0], byte(0)
	if len(s) > 1 {
		c = s[1]
	}
	return config{topology: int(b & 3), eager: b&4 != 0, devices: b&8 != 0, deadlines: b&16 != 0, force: b&forceBits == 0,
		adversary: int(c & adversaryBits), blind: c&blindBit != 0, congested: c&congestedBit != 0, holds: c&holdsBit != 0, dear: c&dearBit != 0}
}

// topologies: nodes by name, LSPs in capitals L and K; channels by the names of their ends, the first funds.
var topologies = [4]struct {
	nodes string
	edges []string
}{
	{"ALB", []string{"AL", "LB"}},
	{"ALKB", []string{"AL", "LK", "KB"}},
	{"AMLKB", []string{"AL", "AL", "ML", "LK", "KL", "KB"}},
	{"AMLB", []string{"AL", "ML", "LB", "LB"}},
}

const (
	startHeight = 1000
	startTime   = 1_700_000_000
	capacity    = 1_000_000 // sat
	push        = 400_000_000
)

// Universe has a world of each topology with its channels open, to begin runs from, and what toy keys have derived. One goroutine
// at a time may use it.
type Universe struct {
	memo   *channeltest.Memo
	begins [len(topologies)]*World
	Stats  Stats
}

// NewUniverse opens all channels.
func NewUniverse() (*Universe, error) {
	u := &Universe{memo: channeltest.NewMemo()}
	for i := range topologies {
		w, err := u.build(i)
		if err != nil {
			return nil, fmt.Errorf("topology %d: %w", i, err)
		}
		u.begins[i] = w
	}
	return u, nil
}

// build makes nodes with open channels on their disks.
func (u *Universe) build(topology int) (*World, error) {
	top := topologies[topology]
	w := &World{chain: newChain(startHeight, channeltest.NewToy("judge", u.memo)), now: startTime}
	for i, r := range top.nodes {
		n := &node{w: w, index: i, name: string(r), lsp: strings.ContainsRune("LK", r), start: map[channel.ID]*place{}, disk: newDisk(), wallet: newWallet(i)}
		for range coins {
			w.chain.grant(coinValue, script(i))
		}
		n.id = channeltest.NewToy(fmt.Sprintf("node %c", r), u.memo).BasePoints().Funding
		w.nodes = append(w.nodes, n)
	}
	var pairs []*opening
	for i, name := range top.edges {
		a, b := strings.IndexByte(top.nodes, name[0]), strings.IndexByte(top.nodes, name[1])
		l := w.linkOf(a, b)
		e := &edge{index: i, name: fmt.Sprintf("%s%s%d", w.nodes[l.nodes[0]].name, w.nodes[l.nodes[1]].name, i+1), link: l, known: map[*wire.MsgTx]*ending{}}
		w.edges = append(w.edges, e)
		o, err := u.open(w, e, [2]int{a, b}, fmt.Sprintf("%s/%d", top.nodes, i))
		if err != nil {
			return nil, fmt.Errorf("channel %s: %w", name, err)
		}
		e.opener, e.funding = e.link.side(a), o.states[0].Funding()
		e.crypto[e.opener], e.crypto[1-e.opener] = o.crypto[0], o.crypto[1]
		pairs = append(pairs, o)
	}
	for range 6 { // deep
		w.chain.mine()
		b, _ := w.chain.block(w.chain.height())
		for _, o := range pairs {
			if err := o.block(b); err != nil {
				return nil, err
			}
		}
	}
	for i, o := range pairs {
		w.edges[i].scid = o.states[0].ShortID()
		for side, n := range o.nodes {
			s, _ := channel.Apply(o.states[side], o.crypto[side], []channel.Event{channel.Disconnected{}})
			if s.Phase() != channel.PhaseNormal {
				return nil, fmt.Errorf("channel %d is %v", i, s)
			}
			w.nodes[n].disk.cores[s.ID()] = s.Encode()
			w.edges[i].begin[w.edges[i].link.side(n)], _ = s.Balance()
			w.nodes[n].start[s.ID()] = &place{edge: w.edges[i], peer: o.nodes[1-side], crypto: o.crypto[side]}
		}
	}
	for _, n := range w.nodes {
		b, _ := w.chain.block(w.chain.height())
		n.disk.tip = tip{b.Height, b.Hash}
	}
	return w, nil
}

func (w *World) linkOf(a, b int) *link {
	for _, l := range w.links {
		if l.nodes == [2]int{a, b} || l.nodes == [2]int{b, a} {
			return l
		}
	}
	l := &link{nodes: [2]int{a, b}}
	w.links = append(w.links, l)
	return l
}

// opening is a channel between two States that talk to each other directly.
type opening struct {
	nodes  [2]int
	states [2]*channel.State
	crypto [2]*channeltest.Toy
	coin   wire.OutPoint
	tx     *wire.MsgTx
}

func (u *Universe) open(w *World, e *edge, nodes [2]int, name string) (*opening, error) {
	o := &opening{nodes: nodes, coin: w.chain.grant(capacity+1000, script(nodes[0]))}
	for side, n := range nodes {
		o.crypto[side] = channeltest.NewToy(fmt.Sprintf("%s/%d", name, side), u.memo)
		p := channel.Params{
			ID: channel.ID(e.index + 1), Local: w.nodes[n].id, Remote: w.nodes[nodes[1-side]].id, Opener: side == 0,
			BasePoints: o.crypto[side].BasePoints(), Alias: lnwire.NewShortChanIDFromInt(uint64(16_000_000+e.index)<<40 | uint64(side)),
			Limits: channel.Limits{ToSelfDelay: uint16(20 + 8*side)}, ShutdownScript: script(n), TempID: [32]byte{byte(e.index + 1)}, MinDepth: 1, Announce: true, Height: startHeight,
		}
		o.states[side] = channel.New(p)
	}
	for side := range nodes {
		if err := o.do(side, channel.Connected{Features: channeltest.DefaultFeatures}); err != nil {
			return nil, err
		}
	}
	if err := o.do(0, channel.Open{Capacity: capacity, Push: push, FeePerKw: 253}); err != nil {
		return nil, err
	}
	return o, w.chain.publish(o.tx, o.tx.TxHash(), nobody)
}

func script(node int) []byte {
	return append([]byte{0, 20}, append(make([]byte, 19), byte(node+1))...)
}

// do applies an event and everything that follows from it.
func (o *opening) do(side int, ev channel.Event) error {
	next, out := channel.Apply(o.states[side], o.crypto[side], []channel.Event{ev, channel.Sign{}})
	o.states[side] = next
	for _, x := range out.Notices {
		switch x := x.(type) {
		case channel.NeedFunding:
			o.tx = &wire.MsgTx{Version: 2,
				TxIn:  []*wire.TxIn{{PreviousOutPoint: o.coin, Witness: mark(o.nodes[side])}},
				TxOut: []*wire.TxOut{{Value: x.Amount, PkScript: x.Script}}}
			if err := o.do(side, channel.Funding{Tx: o.tx}); err != nil {
				return err
			}
		case channel.Violated, channel.Abandoned, channel.Declined:
			return fmt.Errorf("%s", channel.DescribeNotice(x))
		}
	}
	for _, m := range out.Send {
		if err := o.do(1-side, channel.Received{Msg: m}); err != nil {
			return err
		}
	}
	return nil
}

func (o *opening) block(b chain.Block) error {
	for side := range o.nodes {
		for i, tx := range b.Txs {
			if tx == o.tx {
				if err := o.do(side, channel.Chain{Event: chain.Confirmed{Tx: tx, Height: b.Height, TxIndex: uint32(i)}}); err != nil {
					return err
				}
			}
		}
		if err := o.do(side, channel.Chain{Event: chain.BlockConnected{Height: b.Height, Hash: b.Hash, Time: b.Time}}); err != nil {
			return err
		}
	}
	return nil
}

// begin is a fresh world: all nodes started from their disks, nothing connected.
func (u *Universe) begin(cfg config, bug Bug, stats *Stats) *World {
	from := u.begins[cfg.topology]
	w := &World{
		cfg: cfg, bug: bug, chain: from.chain.clone(), now: from.now, stats: stats, truth: newTruth(), peak: from.chain.height(),
		policy: forward.Policy{FeeBase: 1000, FeePPM: 100, CltvExpiryDelta: delta, HTLCMinimum: 1},
	}
	for _, l := range from.links {
		w.links = append(w.links, &link{nodes: l.nodes})
	}
	for _, e := range from.edges {
		w.edges = append(w.edges, &edge{index: e.index, name: e.name, scid: e.scid, link: w.linkOf(e.link.nodes[0], e.link.nodes[1]),
			opener: e.opener, crypto: e.crypto, funding: e.funding, begin: e.begin, known: map[*wire.MsgTx]*ending{}})
	}
	for _, n := range from.nodes {
		c := &node{w: w, index: n.index, name: n.name, id: n.id, lsp: n.lsp, disk: n.disk.clone(), seen: w.chain.height(), start: map[channel.ID]*place{},
			wallet: newWallet(n.index), learnt: map[[32]byte][32]byte{}}
		for h := uint32(startHeight + 1); h <= w.chain.height(); h++ {
			b, _ := w.chain.block(h)
			c.reads(b)
		}
		for id, p := range n.start {
			c.start[id] = &place{edge: w.edges[p.edge.index], peer: p.peer, crypto: p.crypto}
		}
		w.nodes = append(w.nodes, c)
	}
	return w
}

func (w *World) node(name byte) *node {
	for _, n := range w.nodes {
		if n.name[0] == name {
			return n
		}
	}
	return nil
}

// trace writes a line of the run's log, if there is one.
func (w *World) trace(format string, args ...any) {
	if w.log != nil {
		fmt.Fprintf(w.log, format+"\n", args...)
	}
}

func (n *node) traceTurn(in *inbox, out channel.Output) {
	if n.w.log == nil {
		return
	}
	for _, m := range out.Send {
		n.w.trace("  %s queues %s on %s", n.name, channel.DescribeMessage(m), in.edge.name)
	}
	for _, x := range out.Notices {
		switch x.(type) {
		case channel.Usable, channel.Unusable:
		default:
			n.w.trace("  %s %s: %s", n.name, in.edge.name, channel.DescribeNotice(x))
		}
	}
}

// Failure is a broken invariant.
type Failure struct{ Text string }

func (f Failure) Error() string { return f.Text }

func (w *World) fail(format string, args ...any) { panic(Failure{fmt.Sprintf(format, args...)}) }
