package forward

import (
	"flag"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"lightningrod/channel"
	"lightningrod/rod"

	"github.com/lightningnetwork/lnd/lnwire"
)

var (
	modelSeed = flag.Int64("seed", 0, "run the model test with this seed only")
	modelRuns = flag.Int("runs", 1000, "seeds of the model test")
)

// TestModel gives a Forwarder random events, with crashes between any two writes. Whatever the schedule: no incoming HTLC is
// lost or forwarded twice, a preimage always reaches its incoming HTLC, a failure only one without a child, what asked to be
// held is not forwarded before its release, sets are paid whole or not at all. And a Forwarder rebuilt from the disk stands
// where the running one does.
func TestModel(t *testing.T) {
	seeds := []int64{*modelSeed}
	if *modelSeed == 0 {
		seeds = nil
		for i := range *modelRuns {
			seeds = append(seeds, int64(i+1))
		}
	}
	count := map[string]int{}
	for _, seed := range seeds {
		ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Logf("seed %d", seed)
			m := newModel(t, seed)
			for range 150 {
				m.step()
			}
			m.settleAll()
			for what, n := range m.count {
				count[what] += n
			}
		})
		if !ok {
			t.Fatalf("failing seed %d", seed)
		}
	}
	t.Log(count)
	if *modelSeed == 0 && *modelRuns >= 100 {
		for _, what := range []string{"fulfilled", "failed", "held", "released", "void", "crash", "invoice paid", "payment paid"} {
			if count[what] == 0 {
				t.Errorf("no run had %q", what)
			}
		}
	}
}

type model struct {
	*world
	r        *rand.Rand
	offers   map[channel.Key]Offered // what peers have offered and not seen the end of
	next     map[channel.ID]uint64
	hashes   int
	pids     int
	needs    map[channel.Key]string // the pid without which it must not be forwarded
	released map[string]bool
	answers  map[channel.Key]channel.Outcome // of the peers of outgoing HTLCs
	payments uint64
	sums     map[[32]byte]lnwire.MilliSatoshi // of invoices: what peers saw fulfilled
	ours     map[uint64]bool                  // payments of which the payee took a part
	count    map[string]int
}

func newModel(t *testing.T, seed int64) *model {
	m := &model{
		world: newWorld(t), r: rand.New(rand.NewSource(seed)),
		offers: map[channel.Key]Offered{}, next: map[channel.ID]uint64{}, needs: map[channel.Key]string{},
		released: map[string]bool{}, answers: map[channel.Key]channel.Outcome{},
		sums: map[[32]byte]lnwire.MilliSatoshi{}, ours: map[uint64]bool{}, count: map[string]int{},
	}
	for id, peer := range []string{1: "alice", 2: "alice", 3: "mallory", 4: "carol", 5: "carol", 6: "bob"} {
		if peer != "" {
			m.introduce(Channel{ID: channel.ID(id), Peer: nodeID(peer), SCIDs: []lnwire.ShortChannelID{scidOf(uint64(id))}, Policy: standardPolicy()})
		}
	}
	m.device("bob", true)
	m.sync()
	return m
}

func (m *model) step() {
	actions := []struct {
		weight int
		do     func()
	}{
		{12, m.offerForward}, {5, m.offerHeldByTLV}, {4, m.offerHeldByRequest}, {4, m.offerParts},
		{5, m.unblockSome}, {1, m.withdrawSome}, {1, m.declineSome},
		{30, func() { m.deliverSome(false) }}, {3, func() { m.deliverSome(true) }},
		{10, m.sync}, {20, m.resolveSome}, {15, m.settleSome}, {5, m.removeSome}, {4, m.crashSome}, {10, m.offerAgain},
		{12, func() { m.handle(Usable{ID: channel.ID(1 + m.r.Intn(6)), Out: m.capacity()}, nil) }},
		{4, func() { m.handle(Unusable{channel.ID(1 + m.r.Intn(6))}, nil) }},
		{5, func() { m.block(m.disk.height + uint32(m.r.Intn(8))) }},
		{1, func() { m.block(m.disk.height - uint32(m.r.Intn(3))) }},
		{5, func() { m.tick(m.disk.now + int64(m.r.Intn(20))) }},
		{1, func() { m.setStale(m.r.Intn(3) == 0) }},
		{1, func() { m.device("bob", m.r.Intn(2) == 0) }},
		{1, m.onChainSome}, {1, m.shutdownSome}, {4, m.paySome}, {8, m.compare},
	}
	var sum int
	for _, a := range actions {
		sum += a.weight
	}
	n := m.r.Intn(sum)
	for _, a := range actions {
		if n -= a.weight; n < 0 {
			a.do()
			break
		}
	}
	m.checkIndexes()
}

func (m *model) capacity() channel.Capacity {
	return channel.Capacity{Max: lnwire.MilliSatoshi(500_000 + m.r.Intn(3_000_000)), Min: 1000, Slots: uint16(m.r.Intn(20))}
}

func (m *model) newKey(id channel.ID) channel.Key {
	key := channel.Key{Channel: id, HTLC: m.next[id]}
	m.next[id]++
	return key
}

// hash is often one that is in use already.
func (m *model) hash() string {
	if m.hashes == 0 || m.r.Intn(3) > 0 {
		m.hashes++
	}
	return fmt.Sprintf("h%d", max(1, m.hashes-m.r.Intn(3)))
}

func (m *model) incomingChannel() (channel.ID, string) {
	id := channel.ID(1 + m.r.Intn(3))
	if m.disk.channels[id].OnChain || m.disk.channels[id].Shutdown {
		return 0, ""
	}
	return id, nodeName(m.disk.channels[id].Peer)
}

func (m *model) makeOffer(o Offered) {
	m.offers[o.HTLC.Key] = o
	m.offer(o)
}

func (m *model) forwardFrom(id channel.ID, peer, hash string) Offered {
	amount := lnwire.MilliSatoshi(1_000_000 + m.r.Intn(1_000_000))
	return forwardOffer(m.newKey(id), peer, hash, amount, m.disk.height+500+uint32(m.r.Intn(300)), uint64(4+m.r.Intn(3)))
}

func (m *model) offerForward() {
	if id, peer := m.incomingChannel(); id != 0 {
		m.makeOffer(m.forwardFrom(id, peer, m.hash()))
	}
}

func (m *model) offerHeldByTLV() {
	id, peer := m.incomingChannel()
	if id == 0 {
		return
	}
	m.pids++
	pid := fmt.Sprintf("p%d", m.pids)
	o := m.forwardFrom(id, peer, m.hash())
	value := rod.HoldTLV{PidHash: rod.PidHash(pidOf(pid)), Deadline: o.HTLC.Expiry - 200}.Encode()
	o.HTLC.TLVs = append([]byte{0xfe, 0x52, 0x4f, 0x44, 0x41, byte(len(value))}, value...)
	m.needs[o.HTLC.Key] = pid
	m.makeOffer(o)
}

func (m *model) offerHeldByRequest() {
	id, peer := m.incomingChannel()
	if id == 0 {
		return
	}
	m.pids++
	pid, hash := fmt.Sprintf("p%d", m.pids), fmt.Sprintf("only for p%d", m.pids)
	o := m.forwardFrom(id, peer, hash)
	out := m.handle(holdRequest(peer, pid, 0, o.HTLC.Expiry-200, hash), nil)
	m.sync()
	if ack, err := rod.DecodeAck(out.Replies[0].Payload); err != nil || ack.Status != rod.AckOK {
		return // over a limit: not paid
	}
	m.needs[o.HTLC.Key] = pid
	m.makeOffer(o)
}

// offerParts offers one or two parts for an invoice, which may be known.
func (m *model) offerParts() {
	hash := fmt.Sprintf("invoice %d", m.r.Intn(20))
	if m.r.Intn(2) == 0 {
		m.handle(Register{invoiceFor(hash, 1_000_000, m.disk.now+1000)}, nil)
	}
	for range 1 + m.r.Intn(3) {
		if id, peer := m.incomingChannel(); id != 0 {
			m.makeOffer(finalOffer(m.newKey(id), peer, hash, 500_000, 1_000_000, m.disk.height+100+uint32(m.r.Intn(200))))
		}
	}
}

func (m *model) somePid() string { return fmt.Sprintf("p%d", 1+m.r.Intn(m.pids+1)) }

func (m *model) unblockSome() {
	pid := m.somePid()
	m.released[pid] = true
	m.count["released"]++
	m.handle(unblock(pid), nil)
}

func (m *model) withdrawSome() {
	pid := m.somePid()
	for key, needed := range m.needs {
		// A request by hash whose HTLC has not come yet is not withdrawn: that HTLC would pass, and rightly.
		if needed == pid && m.offers[key].HTLC.TLVs != nil {
			c := rod.CancelRequest{PidHash: rod.PidHash(pidOf(pid))}
			ev := rod.CancelRequested{Peer: m.offers[key].Peer, HasChannel: true, Payload: c.Encode(), Direct: true}
			m.handle(Rod{ev}, nil)
			return
		}
	}
}

// declineSome has the operator give something up, held or not.
func (m *model) declineSome() {
	for key := range m.needs {
		if m.offers[key].HTLC.TLVs != nil {
			m.handle(Rod{rod.Declined{Channel: uint64(key.Channel), ID: key.HTLC}}, nil)
			return
		}
	}
}

func (m *model) deliverSome(refuse bool) {
	for range 1 + m.r.Intn(4) {
		if len(m.inbox) == 0 {
			return
		}
		if add, ok := m.inbox[0].(Add); ok {
			origin, _ := add.HTLC.Origin.(channel.Forward)
			if pid := m.needs[origin.In]; pid != "" && !m.released[pid] {
				m.t.Fatalf("HTLC %v is forwarded, %s was not released", origin.In, pid)
			}
			if m.f.stale {
				refuse = refuse || m.r.Intn(2) == 0
			}
		}
		m.deliver(refuse)
	}
}

// resolveSome has the peer of an outgoing HTLC that it can know answer, the same thing every time.
func (m *model) resolveSome() {
	keys := slices.SortedFunc(maps.Keys(m.synced.out), compareKeys)
	if len(keys) > 0 {
		m.resolveOne(keys[m.r.Intn(len(keys))])
	}
}

func (m *model) resolveOne(key channel.Key) {
	htlc, ok := m.disk.out[key]
	if !ok {
		return // in an unsynced write
	}
	answer := m.answers[key]
	if answer == nil {
		answer = channel.Fail{Reason: []byte("reason " + keyText(key))}
		switch m.r.Intn(5) {
		case 0:
			answer = channel.Malformed{Code: uint16(lnwire.CodeInvalidOnionHmac)}
		case 1, 2, 3:
			answer = channel.Fulfill{Preimage: m.preimage(htlc.Hash)}
			if p, ok := htlc.Origin.(channel.Payment); ok {
				m.ours[p.ID] = true
			}
		}
		m.answers[key] = answer
	}
	m.resolve(key, answer)
}

func (m *model) preimage(hash [32]byte) [32]byte {
	for i := range m.hashes + 1 {
		if name := fmt.Sprintf("h%d", i); hashOf(name) == hash {
			return preimageOf(name)
		}
	}
	for i := range m.pids + 1 {
		if name := fmt.Sprintf("only for p%d", i); hashOf(name) == hash {
			return preimageOf(name)
		}
	}
	for i := range m.payments + 1 {
		if name := fmt.Sprintf("payment %d", i); hashOf(name) == hash {
			return preimageOf(name)
		}
	}
	m.t.Fatalf("nobody knows the preimage of %x", hash)
	panic("unreachable")
}

// removeSome has channels forget resolved HTLCs.
func (m *model) removeSome() {
	for _, key := range slices.SortedFunc(maps.Keys(m.disk.gone), compareKeys) {
		if m.r.Intn(2) == 0 {
			m.removed(key)
		}
	}
}

// settleSome has an incoming peer remove an HTLC whose outcome it has seen.
func (m *model) settleSome() {
	keys := slices.SortedFunc(maps.Keys(m.synced.in), compareKeys)
	if len(keys) > 0 {
		m.settleOne(keys[m.r.Intn(len(keys))])
	}
}

func (m *model) settleOne(key channel.Key) {
	outcome := m.synced.in[key].Outcome
	if _, ok := m.disk.in[key]; !ok || outcome == nil {
		return
	}
	if _, ok := m.offers[key]; ok {
		m.count[m.told[key]]++
		if _, ok := outcome.(channel.Fulfill); ok {
			m.sums[m.offers[key].HTLC.Hash] += m.offers[key].HTLC.Amount
		}
		delete(m.offers, key)
	}
	m.world.settled(key)
}

// offerAgain has peers offer what a crash made the node forget.
func (m *model) offerAgain() {
	for _, key := range slices.SortedFunc(maps.Keys(m.offers), compareKeys) {
		if _, ok := m.disk.in[key]; !ok {
			m.offer(m.offers[key])
		}
	}
}

func (m *model) crashSome() {
	m.count["crash"]++
	m.crash(m.r.Intn(len(m.writes) + 1))
}

func (m *model) onChainSome() {
	if id := channel.ID(1 + m.r.Intn(3)); m.r.Intn(4) == 0 {
		m.offerAgain() // the commitment that is on chain has them
		m.onChain(id)
		m.sync()
	}
}

func (m *model) shutdownSome() {
	if id := channel.ID(1 + m.r.Intn(3)); m.r.Intn(4) == 0 {
		m.shutdown(id)
	}
}

func (m *model) paySome() {
	p := Pay{Payment: Payment{ID: m.payments, Hash: hashOf(fmt.Sprintf("payment %d", m.payments)), Total: 5}}
	if m.payments == 0 || m.r.Intn(2) == 0 {
		m.payments++
		p.Payment.ID, p.Payment.Hash = m.payments, hashOf(fmt.Sprintf("payment %d", m.payments))
	}
	for range 1 + m.r.Intn(2) {
		p.Parts = append(p.Parts, Offer{Part: Part{Index: m.r.Uint32(), Channel: channel.ID(4 + m.r.Intn(3)), Amount: 5, Expiry: m.disk.height + 90}})
	}
	m.handle(p, nil)
}

// compare rebuilds from the disk, all that was posted being delivered, and wants every HTLC where it is.
func (m *model) compare() {
	for len(m.inbox) > 0 {
		m.deliverSome(false)
	}
	if m.f.stale {
		return // parts that came before wait instead
	}
	other, _ := m.rebuild()
	want, got := place(m.f), place(other)
	if want != got {
		m.t.Fatalf("rebuilt:\n%s\nrunning:\n%s", got, want)
	}
}

// place is states without the limits, which may be tighter after some blocks, and with the ledgers. Waiting and held are
// one: an HTLC that waits is held if it is judged again after its peer has asked for a hold of its hash.
func place(f *Forwarder) string {
	var b strings.Builder
	for _, line := range strings.Split(f.states(), "\n") {
		before, _, _ := strings.Cut(line, " until")
		b.WriteString(strings.Replace(before, "held", "waiting", 1) + "\n")
	}
	for _, hash := range slices.SortedFunc(maps.Keys(f.invoices.byHash), func(a, b [32]byte) int {
		return strings.Compare(string(a[:]), string(b[:]))
	}) {
		inv := f.invoices.byHash[hash]
		fmt.Fprintf(&b, "%x %v %v %d\n", hash, inv.Invoice, sortKeys(slices.Clone(inv.parts)), inv.received)
	}
	for _, id := range slices.Sorted(maps.Keys(f.payments.byID)) {
		fmt.Fprintf(&b, "%+v\n", *f.payments.byID[id])
	}
	return b.String()
}

// questionOf is what rod is asked about an HTLC.
func (f *Forwarder) questionOf(in *incoming) rod.HTLC {
	q, _ := f.ask(in)
	return q.rod
}

// checkIndexes looks at the invariant of Forwarder.
func (m *model) checkIndexes() {
	f := m.f
	indexed := map[channel.Key]int{}
	for hold, set := range f.held {
		for key := range set {
			indexed[key]++
			if in := f.htlcs[key]; in == nil || in.state != held || in.holdKey() != hold {
				m.t.Fatalf("HTLC %v is in the held index", key)
			}
			if v := f.table.Judge(f.questionOf(f.htlcs[key]), f.height); v.Kind != rod.Hold {
				m.t.Fatalf("HTLC %v is held, the verdict is %v", key, v.Kind)
			}
			m.count["held"]++
		}
	}
	for id, p := range f.peers {
		for key := range p.waiting {
			indexed[key]++
			if in := f.htlcs[key]; in == nil || in.state != waiting || in.next != id {
				m.t.Fatalf("HTLC %v is in the waiting index", key)
			}
		}
		if p.wanted && len(p.waiting) == 0 {
			m.t.Fatalf("%s is woken for nothing", nodeName(id))
		}
	}
	for _, inv := range f.invoices.byHash {
		var sum lnwire.MilliSatoshi
		for _, key := range inv.parts {
			indexed[key]++
			if in := f.htlcs[key]; in == nil || in.state != part {
				m.t.Fatalf("HTLC %v is in a set", key)
			}
			sum += f.htlcs[key].hop.Amount
		}
		if sum != inv.received {
			m.t.Fatalf("a set has %d msat, counted %d", sum, inv.received)
		}
	}
	for key, in := range f.htlcs {
		want := 0
		if in.state.pending() && (in.state != waiting || !in.hop.Final) {
			want = 1
		}
		if in.state.pending() && in.limit <= f.height {
			m.t.Fatalf("HTLC %v is %v at height %d, its limit is %d", key, in.state, f.height, in.limit)
		}
		if indexed[key] != want || in.state == deciding || (in.children > 0) && in.state != onWay && in.state != fulfilled {
			m.t.Fatalf("HTLC %v is %v, in %d indexes, children %d", key, in.state, indexed[key], in.children)
		}
	}
}

// settleAll makes everything possible until nothing is left, and looks at the books.
func (m *model) settleAll() {
	m.crash(m.r.Intn(len(m.writes) + 1))
	m.setStale(false)
	for range 12 {
		m.offerAgain()
		for id := range m.disk.channels {
			m.handle(Usable{ID: id, Out: channel.Capacity{Max: 10_000_000, Min: 1, Slots: 100}}, nil)
		}
		for len(m.inbox) > 0 {
			m.deliverSome(false)
		}
		m.sync()
		for _, key := range slices.SortedFunc(maps.Keys(m.synced.out), compareKeys) {
			m.resolveOne(key)
		}
		for len(m.inbox) > 0 {
			m.deliverSome(false)
		}
		m.sync()
		for _, key := range slices.SortedFunc(maps.Keys(m.synced.in), compareKeys) {
			m.settleOne(key)
		}
		m.checkIndexes()
		m.tick(m.disk.now + 61)
		m.block(m.disk.height + 100)
	}
	for key, in := range m.f.htlcs {
		if in.state != void {
			m.t.Errorf("HTLC %v is left, %v", key, in.state)
		}
		m.count["void"]++
		if !m.disk.channels[key.Channel].OnChain {
			m.t.Errorf("HTLC %v is void, its channel is not on chain", key)
		}
		delete(m.offers, key)
	}
	for key := range m.offers {
		m.t.Errorf("HTLC %v was lost", key)
	}
	for key := range m.paid {
		if m.told[key] != "fulfilled" {
			m.t.Errorf("HTLC %v had its preimage and was told %q", key, m.told[key])
		}
	}
	m.checkBooks()
}

func (m *model) checkBooks() {
	for _, row := range m.disk.rows {
		if row.Table == TableSettled {
			m.t.Errorf("a settled row is left for %x", row.Key)
		}
	}
	for _, request := range m.f.table.Requests() {
		for _, member := range request.Members {
			if !member.Void {
				m.t.Errorf("rod still has HTLC %v", member.Key)
			}
		}
	}
	for hash, inv := range m.f.invoices.byHash {
		sum := m.sums[hash]
		if paid := inv.State == InvoicePaid; paid != (sum > 0) || paid && sum < inv.Amount {
			m.t.Errorf("invoice of %d msat is %v, fulfilled %d", inv.Amount, inv.State, sum)
		} else if paid {
			m.count["invoice paid"]++
		}
	}
	for id, p := range m.f.payments.byID {
		for _, part := range p.Parts {
			if part.State == PartOffered {
				m.t.Errorf("payment %d part %d is left on its way", id, part.Index)
			}
		}
		if (p.State == PaymentSucceeded) != m.ours[id] {
			m.t.Errorf("payment %d is %v, the payee took it: %v", id, p.State, m.ours[id])
		}
		if m.ours[id] {
			m.count["payment paid"]++
		}
	}
}
