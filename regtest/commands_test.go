package regtest_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lightningrod/regtest"

	"github.com/btcsuite/btcd/wire"
)

// command is what a line of a script does.
type command struct {
	usage    string
	min, max int      // words besides the command
	options  []string // name=value
	run      func(*world, *line) error
}

// commands is the language of the scripts.
var commands map[string]*command

func init() { // not at the declaration: a script's line refers to its command
	commands = map[string]*command{
		"start":   {"start NODE... [--option]...", 1, 20, nil, (*world).startNodes},
		"stop":    {"stop NODE...", 1, 9, nil, (*world).stopNodes},
		"kill":    {"kill NODE...", 1, 9, nil, (*world).killNodes},
		"repeat":  {"repeat TIMES", 1, 1, nil, (*world).repeat},
		"restart": {"restart NODE...", 1, 9, nil, (*world).restartNodes},

		"fund":           {"fund NODE...", 1, 9, nil, (*world).fund},
		"fee":            {"fee SAT_PER_KW", 1, 1, nil, (*world).fee},
		"mine":           {"mine BLOCKS", 1, 1, nil, (*world).mineBlocks},
		"connect":        {"connect NODE NODE [wire]", 2, 3, nil, (*world).connect},
		"cut":            {"cut NODE NODE after=MESSAGES", 2, 2, []string{"after"}, (*world).cut},
		"disconnect":     {"disconnect NODE NODE", 2, 2, nil, (*world).disconnect},
		"open":           {"open NODE NODE CAPACITY [private] [push=AMOUNT]", 3, 4, []string{"push"}, (*world).open},
		"usable":         {"usable NODE NODE [CHANNELS]", 2, 3, nil, (*world).usable},
		"invoice":        {"invoice NAME NODE AMOUNT", 3, 3, nil, (*world).invoice},
		"pay":            {payUsage, 3, 6, payOptions, (*world).pay},
		"keep paying":    {"keep " + payUsage, 3, 6, payOptions, (*world).keepPaying},
		"pay offer":      {"pay offer NODE NODE AMOUNT", 3, 3, nil, (*world).payOffer},
		"stop paying":    {"stop paying", 0, 0, nil, (*world).stopPaying},
		"hodl":           {"hodl NAME PAYER PAYEE AMOUNT", 4, 4, nil, (*world).hodl},
		"settle":         {"settle NAME", 1, 1, nil, (*world).settle},
		"expect outcome": {"expect outcome NAME paid|failed", 2, 2, nil, (*world).outcome},
		"force":          {"force NODE NODE", 2, 2, nil, (*world).force},
		"swept":          {"swept NODE NODE [gains=AMOUNT,AMOUNT]", 2, 2, []string{"gains"}, (*world).swept},
		"snapshot":       {"snapshot NODE", 1, 1, nil, (*world).snapshot},
		"restore":        {"restore NODE", 1, 1, nil, (*world).restore},
		"close":          {"close NODE NODE", 2, 2, nil, (*world).close},
		"closed":         {"closed NODE NODE", 2, 2, nil, (*world).closed},

		"hold":           {"hold NODE NODE AMOUNT [asking=LSP]", 3, 3, []string{"asking"}, (*world).hold},
		"cancel hold":    {"cancel hold NODE LSP", 2, 2, nil, (*world).cancelHold},
		"unblock":        {"unblock NODE LSP NODE [over=NODE]", 3, 3, []string{"over"}, (*world).unblock},
		"notice":         {"notice PAYER NODE... PAYEE", 3, 9, nil, (*world).notice},
		"expect notice":  {"expect notice PAYEE", 1, 1, nil, (*world).noticed},
		"expect mailbox": {"expect mailbox NODE MESSAGES", 2, 2, nil, (*world).mailbox},
		"expect rate":    {"expect rate NODE NODE [above=SAT_PER_KW] [below=SAT_PER_KW]", 2, 2, []string{"above", "below"}, (*world).rate},
		"expect held":    {"expect held NODE HTLCS", 2, 2, nil, (*world).held},
		"expect paid":    {"expect paid", 0, 0, nil, (*world).paid},
		"expect unpaid":  {"expect unpaid FAILURE", 1, 1, nil, (*world).unpaid},

		"expect agree":    {"expect agree", 0, 0, nil, (*world).agree},
		"expect theirs":   {"expect theirs NODE NODE AMOUNT", 3, 3, nil, (*world).theirs},
		"expect progress": {"expect progress [payments=N]", 0, 0, []string{"payments"}, (*world).progress},
		"expect cuts":     {"expect cuts NODE NODE AT_LEAST", 3, 3, nil, (*world).expectCuts},
		"expect ledgers":  {"expect ledgers [unsure=NODE]", 0, 0, []string{"unsure"}, (*world).ledgers},
		"expect graph":    {"expect graph NODE [nodes=N] [channels=N] [updates=N]", 1, 1, []string{"nodes", "channels", "updates"}, (*world).expectGraph},
	}
}

// world is a chain and nodes on it.
type world struct {
	t        *testing.T
	kind     string
	btc      *regtest.Bitcoin
	fees     *regtest.Fees
	nodes    map[string]regtest.Node
	down     map[string]bool  // stopped or killed
	coins    map[string]int64 // of those that are or were down, when that began
	begun    map[string]int64 // msat that they had in their channels when these were opened
	closing  map[[2]string]*closing
	wires    map[[2]string]*regtest.Wire
	flows    []*flow
	holding  *holding
	hodls    map[string]*hodl
	invoices map[string]regtest.Invoice
	forced   *forced
	again    sync.WaitGroup // connections that are made again after a cut
	script   string         // that runs
}

func newWorld(t *testing.T, kind string) *world {
	t.Helper()
	if kind == "lnd" {
		regtest.FindLnd(t) // before anything else starts
	}
	var options []string
	if kind == "eclair" {
		options = regtest.EclairBitcoind(t)
	}
	w := &world{t: t, kind: kind, btc: regtest.Bitcoind(t, options...), nodes: map[string]regtest.Node{}, down: map[string]bool{}, coins: map[string]int64{}, begun: map[string]int64{}, closing: map[[2]string]*closing{}, wires: map[[2]string]*regtest.Wire{}, hodls: map[string]*hodl{}, invoices: map[string]regtest.Invoice{}}
	w.fees = regtest.NewFees(t, w.btc)
	t.Cleanup(w.again.Wait)
	w.btc.Mine(1, burn) // a chain whose tip is young: nodes wait for that
	if kind == "cln" {
		w.btc.Mine(2*halving, burn) // lightningd (26.06) aborts when it could pay for an HTLC transaction with a coin of 34 BTC
	}
	return w
}

// halving is how many blocks pay the same subsidy on regtest.
const halving = 150

// patience is how long a state that has to come may take, on a busy machine.
const patience = 90 * time.Second

// until waits for a state that is seen by asking.
func (w *world) until(f func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (w *world) node(name string) (regtest.Node, error) {
	n, ok := w.nodes[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("no node %s was started", name)
	case w.down[name]:
		return nil, fmt.Errorf("%s is down", name)
	}
	return n, nil
}

// pair are the nodes of a line's first two words.
func (w *world) pair(l *line) (a, b regtest.Node, err error) {
	if a, err = w.node(l.words[0]); err != nil {
		return nil, nil, err
	}
	b, err = w.node(l.words[1])
	return a, b, err
}

// pairAndAmount are the nodes of a line's first two words, and the amount after them, in msat.
func (w *world) pairAndAmount(l *line) (a, b regtest.Node, amount int64, err error) {
	if a, b, err = w.pair(l); err == nil {
		amount, err = msat(l.words[2])
	}
	return a, b, amount, err
}

func (w *world) startNodes(l *line) error {
	var options []string
	names := slices.DeleteFunc(slices.Clone(l.words), func(word string) bool {
		if strings.HasPrefix(word, "--") {
			options = append(options, word)
			return true
		}
		return false
	})
	for _, name := range names {
		if n := w.nodes[name]; n != nil {
			if err := n.Start(); err != nil {
				return err
			}
			delete(w.down, name)
			continue
		}
		kind := w.kind
		if strings.HasPrefix(name, "rod") {
			kind = "rod"
		}
		asked := options
		if kind == "rod" {
			asked = append(slices.Clone(options), "--bitcoind.addr="+w.fees.Addr())
		}
		w.nodes[name] = kinds[kind](w.t, name, w.btc, asked...)
	}
	return w.synced()
}

func (w *world) stopNodes(l *line) error {
	for _, name := range l.words {
		n, err := w.node(name)
		if err != nil {
			return err
		}
		if err := w.goesDown(name); err != nil {
			return err
		}
		if err := n.Stop(); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) killNodes(l *line) error {
	for _, name := range l.words {
		n, err := w.node(name)
		if err != nil {
			return err
		}
		if err := w.goesDown(name); err != nil {
			return err
		}
		n.Kill()
	}
	return nil
}

// goesDown remembers what a node cannot be asked any more.
func (w *world) goesDown(name string) (err error) {
	w.down[name] = true
	w.coins[name], err = w.nodes[name].Coins()
	return err
}

func (w *world) restartNodes(l *line) error {
	if err := w.stopNodes(l); err != nil {
		return err
	}
	return w.startNodes(l)
}

// running are the nodes that are not down, by name.
func (w *world) running() map[string]regtest.Node {
	up := maps.Clone(w.nodes)
	for name := range w.down {
		delete(up, name)
	}
	return up
}

// synced waits until all have come to the tip.
func (w *world) synced() error {
	height, _ := w.btc.Tip()
	for name, n := range w.running() {
		err := w.until(func() error {
			h, err := n.Height()
			if err == nil && h != height {
				err = fmt.Errorf("%s is at block %d of %d", name, h, height)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *world) mine(blocks int) error {
	w.btc.Mine(blocks, burn)
	return w.synced()
}

// fee has our nodes hear another estimate.
func (w *world) fee(l *line) error {
	rate, err := strconv.Atoi(l.words[0])
	w.fees.Set(rate)
	return err
}

// rate waits until both ends have such a rate in the one channel between them, and the same.
func (w *world) rate(l *line) error {
	a, b, err := w.pair(l)
	if err != nil {
		return err
	}
	above, err := l.count("above", 0)
	if err != nil {
		return err
	}
	below, err := l.count("below", 1<<30)
	if err != nil {
		return err
	}
	return w.until(func() error {
		var rates []int64
		for _, end := range [][2]regtest.Node{{a, b}, {b, a}} {
			all, err := between(end[0], end[1])
			if err != nil {
				return err
			}
			for _, c := range all {
				rates = append(rates, c.FeeRate)
			}
		}
		if len(rates) != 2 || rates[0] != rates[1] || rates[0] <= int64(above) || rates[0] >= int64(below) {
			return fmt.Errorf("rates of both ends: %d", rates)
		}
		return nil
	})
}

func (w *world) mineBlocks(l *line) error {
	n, err := strconv.Atoi(l.words[0])
	if err != nil {
		return err
	}
	return w.mine(n)
}

// fund gives each a coinbase that can be spent.
func (w *world) fund(l *line) error {
	for _, name := range l.words {
		n, err := w.node(name)
		if err != nil {
			return err
		}
		addr, err := n.Address()
		if err != nil {
			return err
		}
		w.btc.Call(nil, "generatetoaddress", 1, addr)
	}
	if err := w.mine(100); err != nil {
		return err
	}
	return w.until(func() error {
		for _, name := range l.words {
			coins, err := w.nodes[name].Coins()
			if err != nil {
				return err
			}
			if coins == 0 {
				return fmt.Errorf("%s has no coins", name)
			}
		}
		return nil
	})
}

func (w *world) connect(l *line) error {
	a, b, err := w.pair(l)
	if err != nil {
		return err
	}
	addr := b.Addr()
	if l.has(2, "wire") {
		wire := regtest.NewWire(w.t, addr)
		w.wires[[2]string{l.words[0], l.words[1]}], addr = wire, wire.Addr()
	}
	if err := a.Connect(b.ID(), addr); err != nil {
		return err
	}
	return w.until(func() error {
		for _, end := range [][2]regtest.Node{{a, b}, {b, a}} {
			peers, err := end[0].Peers()
			if err != nil {
				return err
			}
			if !slices.Contains(peers, end[1].ID()) {
				return errors.New("not connected")
			}
		}
		return nil
	})
}

// cut cuts a wire once so many messages more have passed, both ways counted. The first of the two then connects again at once.
func (w *world) cut(l *line) error {
	wire := w.wires[[2]string{l.words[0], l.words[1]}]
	if wire == nil {
		return errors.New("they are not connected by a wire")
	}
	after, err := l.count("after", 0)
	if err != nil {
		return err
	}
	a, b, err := w.pair(l)
	if err != nil {
		return err
	}
	done := wire.CutAfter(after)
	joins := wire.Joins()
	w.again.Go(func() {
		select {
		case <-done:
			_ = w.until(func() error { // it takes a moment until a has noticed, and makes a new one
				if err := a.Connect(b.ID(), wire.Addr()); err != nil || wire.Joins() > joins {
					return err
				}
				return errors.New("the old connection")
			})
		case <-w.t.Context().Done():
		}
	})
	return nil
}

func (w *world) expectCuts(l *line) error {
	want, err := strconv.Atoi(l.words[2])
	if err != nil {
		return err
	}
	if got := w.wires[[2]string{l.words[0], l.words[1]}].Cuts(); got < want {
		return fmt.Errorf("it was cut %d times", got)
	}
	return nil
}

// repeat runs its block, with $n counting from 1.
func (w *world) repeat(l *line) error {
	times, err := strconv.Atoi(l.words[0])
	if err != nil {
		return err
	}
	for n := range times {
		if err := w.runLines(w.script, l.with(n+1).block); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) disconnect(l *line) error {
	a, b, err := w.pair(l)
	if err != nil {
		return err
	}
	return a.Disconnect(b.ID())
}

func (w *world) open(l *line) error {
	a, b, err := w.pair(l)
	if err != nil {
		return err
	}
	capacity, err := sat(l.words[2])
	if err != nil {
		return err
	}
	push, err := l.sat("push")
	if err != nil {
		return err
	}
	w.begun[l.words[0]] += 1000 * (capacity - push)
	w.begun[l.words[1]] += 1000 * push
	return a.Open(regtest.Opening{Peer: b.ID(), Capacity: capacity, Push: push, Private: l.has(3, "private")})
}

// between are the channels of a with b, as a sees them.
func between(a, b regtest.Node) ([]regtest.Channel, error) {
	all, err := a.Channels()
	return slices.DeleteFunc(all, func(c regtest.Channel) bool { return c.Peer != b.ID() }), err
}

// usable waits until both ends can use their channels.
func (w *world) usable(l *line) error {
	a, b, err := w.pair(l)
	if err != nil {
		return err
	}
	want := 1
	if len(l.words) > 2 {
		if want, err = strconv.Atoi(l.words[2]); err != nil {
			return err
		}
	}
	return w.until(func() error {
		for i, end := range [][2]regtest.Node{{a, b}, {b, a}} {
			all, err := between(end[0], end[1])
			if err != nil {
				return err
			}
			usable := 0
			for _, c := range all {
				if c.Usable {
					usable++
				}
			}
			if usable != want {
				return fmt.Errorf("%s has %d of %d channels usable with %s: %+v", l.words[i], usable, want, l.words[1-i], all)
			}
		}
		return nil
	})
}

// agree waits until nothing is in flight, and compares what the two ends of every channel say.
func (w *world) agree(*line) error {
	up := w.running()
	return w.until(func() error {
		theirs := map[string]int64{} // by name: what our ends say that they have in all channels, in msat
		for _, name := range slices.Sorted(maps.Keys(up)) {
			n := up[name]
			all, err := n.Channels()
			if err != nil {
				return err
			}
			for _, c := range all {
				other := w.named(c.Peer)
				if other == "" || up[other] == nil {
					return fmt.Errorf("%s: the peer of channel %s is not running", name, c.Funding)
				}
				if err := w.sameChannel(name, c, other); err != nil {
					return err
				}
			}
			total, err := n.Total()
			if err != nil {
				return err
			}
			theirs[name] = total
		}
		return w.sums(up, theirs)
	})
}

// sums compares what all have with what there is: no msat is lost.
func (w *world) sums(up map[string]regtest.Node, totals map[string]int64) error {
	var have, is int64
	for name, n := range up {
		have += totals[name]
		all, err := n.Channels()
		if err != nil {
			return err
		}
		for _, c := range all {
			if c.Opener {
				is += 1000 * c.Capacity
			}
		}
	}
	if have != is {
		return fmt.Errorf("the channels hold %d msat, their owners claim %d: %v", is, have, totals)
	}
	return nil
}

// sameChannel compares a channel with what its other end says.
func (w *world) sameChannel(name string, c regtest.Channel, other string) error {
	all, err := between(w.nodes[other], w.nodes[name])
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(x regtest.Channel) bool { return x.Funding == c.Funding })
	if i < 0 {
		return fmt.Errorf("%s has channel %s, %s does not", name, c.Funding, other)
	}
	if c.HTLCs > 0 {
		return fmt.Errorf("%s: %d HTLCs in flight in %s", name, c.HTLCs, c.Funding)
	}
	mirror := all[i]
	mirror.Peer, mirror.Opener = c.Peer, c.Opener
	if all[i].Opener == c.Opener {
		return fmt.Errorf("%s and %s do not agree on who opened %s", name, other, c.Funding)
	}
	if c.Private { // each side may call it by another alias
		mirror.SCID = c.SCID
	}
	if mirror != c {
		return fmt.Errorf("%s: %+v\n%s: %+v", name, c, other, mirror)
	}
	return nil
}

// named is the name of a node.
func (w *world) named(id string) string {
	for name, n := range w.nodes {
		if n.ID() == id {
			return name
		}
	}
	return ""
}

// theirs is what the end that did not open the one channel between two nodes has.
func (w *world) theirs(l *line) error {
	a, b, err := w.pair(l)
	if err != nil {
		return err
	}
	want, err := sat(l.words[2])
	if err != nil {
		return err
	}
	all, err := between(a, b)
	if err != nil {
		return err
	}
	if len(all) != 1 || all[0].Theirs != want {
		return fmt.Errorf("%+v", all)
	}
	return nil
}

func (w *world) expectGraph(l *line) error {
	n, err := w.node(l.words[0])
	if err != nil {
		return err
	}
	return w.until(func() error {
		g, err := n.Graph()
		if err != nil {
			return err
		}
		for name, got := range map[string]int{"nodes": g.Nodes, "channels": g.Channels, "updates": g.Updates} {
			want, err := l.count(name, got)
			if err != nil {
				return err
			}
			if want != got && got >= 0 {
				return fmt.Errorf("%s knows %d %s", l.words[0], got, name)
			}
		}
		for id, alias := range g.Aliases {
			if name := w.named(id); name != alias {
				return fmt.Errorf("%s knows %s as %q", l.words[0], name, alias)
			}
		}
		return nil
	})
}

// closing is a channel that is being closed by agreement.
type closing struct {
	funding string
	before  [2]int64 // coins of both
	opener  int      // 0 or 1
	theirs  int64    // satoshi of the other one
}

func (w *world) close(l *line) error {
	a, b, err := w.pair(l)
	if err != nil {
		return err
	}
	all, err := between(a, b)
	if err != nil {
		return err
	}
	if len(all) != 1 {
		return fmt.Errorf("%d channels, want 1", len(all))
	}
	c := &closing{funding: all[0].Funding, theirs: all[0].Theirs}
	if !all[0].Opener {
		c.opener = 1
	}
	for i, n := range []regtest.Node{a, b} {
		if c.before[i], err = n.Coins(); err != nil {
			return err
		}
	}
	w.closing[[2]string{l.words[0], l.words[1]}] = c
	return a.Close(c.funding, false)
}

// closed waits for the closing transaction, confirms it, and finds every satoshi of it in the wallets: the end that did not open has
// all that was its own, the opener has paid the fee.
func (w *world) closed(l *line) error {
	a, b, err := w.pair(l)
	if err != nil {
		return err
	}
	c := w.closing[[2]string{l.words[0], l.words[1]}]
	if c == nil {
		return errors.New("it was not asked to close")
	}
	tx, err := w.spender(c.funding)
	if err != nil {
		return err
	}
	if err := w.mine(6); err != nil {
		return err
	}
	want := c.before
	want[1-c.opener] += c.theirs
	want[c.opener] += outputs(tx) - c.theirs
	return w.until(func() error {
		for i, n := range []regtest.Node{a, b} {
			coins, err := n.Coins()
			if err != nil {
				return err
			}
			if coins != want[i] {
				return fmt.Errorf("%s has %d sat, want %d; before %d, closing transaction %d", l.words[i], coins, want[i], c.before[i], outputs(tx))
			}
			all, err := between(n, []regtest.Node{b, a}[i])
			if err != nil {
				return err
			}
			if len(all) > 0 {
				return fmt.Errorf("%s still has %+v", l.words[i], all)
			}
		}
		return nil
	})
}

// spender waits for the transaction of the mempool that spends an output.
func (w *world) spender(outpoint string) (found *wire.MsgTx, err error) {
	err = w.until(func() error {
		for _, tx := range w.btc.Mempool() {
			for _, in := range tx.TxIn {
				if in.PreviousOutPoint.String() == outpoint {
					found = tx
					return nil
				}
			}
		}
		return fmt.Errorf("no transaction spends %s", outpoint)
	})
	return found, err
}
