package rod

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// start is a plain payment of these tests.
func start() Start {
	m, err := SignHold(key("A"), node("lsp"), ask())
	if err != nil {
		panic(err)
	}
	return Start{ID: 9, Pid: pid("1"), PathID: hash("path"), ReadyPathID: hash("ready path"), LSP: node("lsp"), Self: node("A"),
		Hold: m.Encode(), Cancel: cancelled("A", m.PidHash).Payload, Hashes: m.Hashes, AmountMsat: 900, TotalMsat: 1000, Deadline: 400,
		Mode: UnblockByPayer, Dest: []byte("payee"), Patience: 30}
}

// purse is a Payer with its disk; every output is written, and the loaded Payer must be the same.
type purse struct {
	t *testing.T
	*Payer
	disk disk
}

func newPurse(t *testing.T) *purse {
	p, err := LoadPayer()
	if err != nil {
		t.Fatal(err)
	}
	p.Tick(1000)
	return &purse{t, p, disk{}}
}

func (p *purse) put(out PayerOutput) PayerOutput {
	p.t.Helper()
	p.disk.write(out.Rows)
	again, err := LoadPayer(p.disk.rows()...)
	if err != nil {
		p.t.Fatal(err)
	}
	strip := func(q *Payer) (out []payment) {
		for _, y := range q.sorted() {
			y := *y
			y.asked, y.again, y.wait = 0, 0, 0
			out = append(out, y)
		}
		return out
	}
	if a, b := strip(p.Payer), strip(again); !reflect.DeepEqual(a, b) {
		p.t.Fatalf("loaded %+v is not %+v", b, a)
	}
	return out
}

func (p *purse) start(s Start) PayerOutput {
	p.t.Helper()
	out, err := p.Start(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.put(out)
}

func (p *purse) restart() {
	p.t.Helper()
	now := p.now
	var err error
	if p.Payer, err = LoadPayer(p.disk.rows()...); err != nil {
		p.t.Fatal(err)
	}
	p.now = now
}

// again is a new connection to the LSP, and what is repeated once it has lasted a while.
func (p *purse) again(lsp NodeID) []Message {
	p.t.Helper()
	if out := p.put(p.Connected(lsp)); len(out.Send) != 0 {
		p.t.Errorf("repeated before an answer could come: %+v", out.Send)
	}
	p.put(p.Tick(p.now + 1))
	return p.put(p.Tick(p.now + renotice)).Send
}

func ackFor(name string, status AckStatus, more ...func(*Ack)) []byte {
	a := Ack{PidHash: PidHash(pid(name)), Status: status, Deadline: 390, ArmedUntil: 1600, MinCltvDelta: 144}
	for _, f := range more {
		f(&a)
	}
	return a.Encode()
}

func types(ms []Message) (out []uint64) {
	for _, m := range ms {
		out = append(out, m.Type)
	}
	return out
}

// TestPayerByMessage: "A waits for rod_hold_ack status 0 before it offers the HTLC, retrying with the same request."
func TestPayerByMessage(t *testing.T) {
	p := newPurse(t)
	s := start()
	out := p.start(s)
	if len(out.Send) != 1 || out.Send[0].Type != TypeHold || out.Send[0].To != s.LSP || len(out.Pay) != 0 {
		t.Fatalf("start: %+v", out)
	}
	if r := out.Send[0].Reply; *r != (ReturnPath{Through: s.LSP, PathID: s.PathID}) {
		t.Errorf("reply path %+v", r)
	}
	if out := p.put(p.Tick(1004)); len(out.Send) != 0 {
		t.Error("asked again too soon")
	}
	if out := p.put(p.Tick(1005)); len(out.Send) != 1 || !reflect.DeepEqual(out.Send[0].Payload, s.Hold) {
		t.Errorf("retry: %+v", out.Send)
	}
	p.restart()
	if out := p.put(p.Connected(s.LSP)); !slices.Equal(types(out.Send), []uint64{TypeHold}) {
		t.Errorf("after a restart: %+v", out.Send)
	}
	if dest, ok := p.Dest(9); !ok || string(dest) != "payee" {
		t.Errorf("dest %q", dest)
	}
	if _, ok := p.Dest(10); ok {
		t.Error("an unknown payment has a dest")
	}
	if secret, ok := p.Pid(9); !ok || secret != s.Pid {
		t.Error("the pid is not the payment's")
	}
	if _, ok := p.Pid(10); ok {
		t.Error("an unknown payment has a pid")
	}
	// A drops what does not carry the path_id of its own request, and what is about another pid.
	for _, bad := range []PayerOutput{p.Ack(hash("guess"), ackFor("1", AckOK)), p.Ack(s.PathID, ackFor("2", AckOK)), p.Ack(s.PathID, []byte{1}),
		p.Status(hash("guess"), Status{PidHash: PidHash(s.Pid)}.Encode())} {
		if !reflect.DeepEqual(bad, PayerOutput{}) {
			t.Errorf("taken: %+v", bad)
		}
	}
	out = p.put(p.Ack(s.PathID, ackFor("1", AckOK)))
	if want := []Go{{ID: 9, Until: 1600, MinCltvDelta: 144, Deadline: 390}}; !slices.Equal(out.Pay, want) || len(out.Send) != 0 {
		t.Errorf("ack: %+v", out)
	}
	if out := p.put(p.Ack(s.PathID, ackFor("1", AckOK))); len(out.Pay) != 0 {
		t.Error("a second ack pays again")
	}
	p.restart()
	if out := p.Resume(); len(out.Pay) != 1 {
		t.Errorf("resume: %+v", out)
	}
	if out := p.put(p.Tick(2000)); len(out.Send)+len(out.Refused) != 0 {
		t.Errorf("after the ack: %+v", out)
	}

	// "A sends rod_notice only after the ack or once the HTLC is irrevocable, and again at each connection."
	out = p.put(p.Committed(9, 1000))
	if len(out.Send) != 1 {
		t.Fatalf("committed: %+v", out)
	}
	m := out.Send[0]
	n, err := DecodeNotice(m.Payload)
	if err != nil || n.Pid != s.Pid || n.AmountMsat != 900 || n.Deadline != 390 || n.LSP != (NodeID{}) || string(m.Dest) != "payee" {
		t.Errorf("notice %+v, %v", n, err)
	}
	if *m.Reply != (ReturnPath{Through: s.LSP, PathID: s.ReadyPathID, Unblock: s.Pid}) {
		t.Errorf("reply path %+v", m.Reply)
	}
	if out := p.put(p.Committed(9, 1000)); len(out.Send)+len(out.Rows) != 0 {
		t.Error("told twice for the same HTLC")
	}
	p.restart()
	if out := p.Connected(node("other")); len(out.Send) != 0 {
		t.Errorf("another peer: %+v", out.Send)
	}
	if out := p.again(s.LSP); !slices.Equal(types(out), []uint64{TypeNotice}) {
		t.Errorf("again: %+v", out)
	}
	p.put(p.Connected(s.LSP))
	p.put(p.Tick(p.now + 1))
	if out := p.put(p.Tick(p.now + renotice - 1)); len(out.Send) != 0 {
		t.Errorf("too soon for an answer out of the mailbox: %+v", out.Send)
	}
	p.put(p.Tick(p.now + renotice))
	for _, wait := range []int64{60, 120, 240} { // the connection lasts, but the notice was lost behind the LSP
		if out := p.put(p.Tick(p.now + wait - 1)); len(out.Send) != 0 {
			t.Errorf("%d seconds are not over: %+v", wait, out.Send)
		}
		if out := p.put(p.Tick(p.now + 1)); !slices.Equal(types(out.Send), []uint64{TypeNotice}) {
			t.Errorf("after %d seconds: %+v", wait, out.Send)
		}
	}
	if out := p.put(p.Status(s.PathID, Status{PidHash: PidHash(s.Pid), State: StatusExpired}.Encode())); len(out.Told) != 1 || len(out.Rows)+len(out.Refused) != 0 {
		t.Errorf("a status is advice: %+v", out)
	}
	p.put(p.Ready(s.ReadyPathID))
	p.restart()
	if out := p.again(s.LSP); len(out) != 0 {
		t.Errorf("after rod_ready: %+v", out)
	}

	// "A rod payer whose own HTLC expired connects to its LSP before it closes anything, and waits a grace of blocks."
	if out := p.Block(999); len(out.Connect) != 0 {
		t.Error("connects too soon")
	}
	if out := p.Block(1000); !slices.Equal(out.Connect, []NodeID{s.LSP}) || p.Grace(9) == 0 {
		t.Errorf("expired: %+v", out)
	}
	p.put(p.Over(9))
	if len(p.disk) != 0 || p.Grace(9) != 0 {
		t.Error("rows are left")
	}
}

// TestPayerRefused: what keeps a payment from being offered.
func TestPayerRefused(t *testing.T) {
	s := start()
	for name, do := range map[string]func(p *purse) PayerOutput{
		"no ack in time":  func(p *purse) PayerOutput { return p.Tick(1030) },
		"the LSP says no": func(p *purse) PayerOutput { return p.Ack(s.PathID, ackFor("1", AckLimit)) },
		"more than the maximum": func(p *purse) PayerOutput {
			return p.Ack(s.PathID, ackFor("1", AckOK, func(a *Ack) { a.MaxHeldMsat = 999 }))
		},
		"cancelled": func(p *purse) PayerOutput { return p.Cancel(9) },
	} {
		p := newPurse(t)
		p.start(s)
		out := p.put(do(p))
		if len(out.Refused) != 1 || len(out.Pay) != 0 || len(p.disk) != 0 {
			t.Errorf("%s: %+v", name, out)
		}
		if cancels := slices.Contains(types(out.Send), TypeCancel); cancels != (name != "the LSP says no") {
			t.Errorf("%s: sends %v", name, types(out.Send))
		}
	}
}

// TestPayerByHTLC: rod_hold_htlc cannot be overtaken, so nothing waits; with the message too, for its reply path.
func TestPayerByHTLC(t *testing.T) {
	for _, both := range []bool{false, true} {
		p := newPurse(t)
		s := start()
		s.ByHTLC = true
		if !both {
			s.Hold = nil
		}
		out := p.start(s)
		if len(out.Pay) != 1 || *out.Pay[0].Hold != (HoldTLV{PidHash(s.Pid), 400}) || len(out.Send) == 1 != both {
			t.Errorf("both %v: %+v", both, out)
		}
		if out := p.put(p.Ack(s.PathID, ackFor("1", AckLimit))); len(out.Refused) != 0 {
			t.Errorf("the HTLC asks by itself: %+v", out)
		}
		if out := p.put(p.Committed(9, 1000)); !slices.Equal(types(out.Send), []uint64{TypeNotice}) {
			t.Errorf("committed: %+v", out)
		}
	}
}

// TestPayerModes: who puts payment_unblock where LSP_a finds it.
func TestPayerModes(t *testing.T) {
	for _, mode := range []UnblockMode{UnblockByPayer, UnblockByPayee, UnblockByPayer | UnblockByPayee} {
		p := newPurse(t)
		s := start()
		s.Mode, s.ByHTLC, s.LSPAddress = mode, true, []byte{1, 1, 2, 3, 4, 5, 6}
		p.start(s)
		m := p.put(p.Committed(9, 1000)).Send[0]
		n, _ := DecodeNotice(m.Payload)
		if reply := m.Reply != nil; reply != (mode&UnblockByPayer != 0) {
			t.Errorf("mode %d: reply path %v", mode, reply)
		}
		if literal := n.LSP == s.LSP && n.Payer == s.Self; literal != (mode&UnblockByPayee != 0) {
			t.Errorf("mode %d: lsp_id %x", mode, n.LSP[:4])
		}
		if !slices.Equal(n.LSPAddress, s.LSPAddress) { // the reply path begins at the LSP, too
			t.Errorf("mode %d: lsp_address %x", mode, n.LSPAddress)
		}
		p.put(p.ReadyFor(Ready{s.Hashes}.Encode()))
		if answered := len(p.again(s.LSP)) == 0; answered != (mode&UnblockByPayee != 0) {
			t.Errorf("mode %d: a rod_ready without path_id: answered %v", mode, answered)
		}
	}
}

// TestPayerCancel: a cancel waits for an HTLC that may be under way, else it would let it pass.
func TestPayerCancel(t *testing.T) {
	p := newPurse(t)
	s := start()
	p.start(s)
	p.put(p.Ack(s.PathID, ackFor("1", AckOK)))
	if out := p.put(p.Cancel(9)); len(out.Send)+len(out.Refused) != 0 {
		t.Errorf("cancelled before the HTLC is there: %+v", out)
	}
	p.restart()
	if out := p.Resume(); len(out.Pay) != 0 {
		t.Error("a cancelled payment is offered")
	}
	if out := p.put(p.Committed(9, 1000)); !slices.Equal(types(out.Send), []uint64{TypeCancel}) {
		t.Errorf("committed: %+v", out)
	}
	if out := p.put(p.Connected(s.LSP)); !slices.Equal(types(out.Send), []uint64{TypeCancel}) {
		t.Errorf("again: %+v", out)
	}
	if out := p.put(p.Cancel(9)); !reflect.DeepEqual(out, PayerOutput{}) {
		t.Errorf("cancelled twice: %+v", out)
	}
	p.put(p.Over(9))
	if len(p.disk) != 0 {
		t.Error("rows are left")
	}
}

func TestPayerStartRefuses(t *testing.T) {
	for name, change := range map[string]func(*Start){
		"no pid":                func(s *Start) { s.Pid = [32]byte{} },
		"one path id for both":  func(s *Start) { s.ReadyPathID = s.PathID },
		"no carrier":            func(s *Start) { s.Hold = nil },
		"no mode":               func(s *Start) { s.Mode = 0 },
		"no hashes":             func(s *Start) { s.Hashes = nil },
		"rod_hold of another":   func(s *Start) { s.Pid = pid("2") },
		"rod_hold of others":    func(s *Start) { s.Hashes = [][32]byte{hash("2")} },
		"rod_hold not readable": func(s *Start) { s.Hold = []byte{1} },
	} {
		p, _ := LoadPayer()
		s := start()
		change(&s)
		if _, err := p.Start(s); err == nil {
			t.Error(name)
		}
	}
	p := newPurse(t)
	p.start(start())
	if _, err := p.Start(start()); err == nil {
		t.Error("the same payment twice")
	}
}

// TestMaxDeadline: "The payer MUST ask at most E_final - min_final(B) - 3."
func TestMaxDeadline(t *testing.T) {
	if got := MaxDeadline(1000, 18); got != 979 {
		t.Errorf("got %d", got)
	}
	if got := MaxDeadline(10, 18); got != 0 {
		t.Errorf("got %d", got)
	}
}

// till is a Payee with its disk.
type till struct {
	t *testing.T
	*Payee
	disk disk
}

func newTill(t *testing.T) *till {
	p, err := LoadPayee()
	if err != nil {
		t.Fatal(err)
	}
	p.Tick(1000)
	return &till{t, p, disk{}}
}

func (p *till) put(out PayeeOutput) PayeeOutput {
	p.t.Helper()
	p.disk.write(out.Rows)
	again, err := LoadPayee(p.disk.rows()...)
	if err != nil || len(again.notices) != len(p.notices) {
		p.t.Fatalf("%d notices loaded, %v", len(again.notices), err)
	}
	for k, n := range p.notices {
		if m := again.notices[k]; m == nil || !reflect.DeepEqual(m.encode(), n.encode()) {
			p.t.Fatal("loaded notice differs")
		}
	}
	return out
}

func (p *till) notice(n Notice, path string) PayeeOutput {
	p.t.Helper()
	out, err := p.Notice(n.Encode(), []byte(path), make1(len(n.Hashes), Invoice{Open: true, MinMsat: 900, MaxMsat: 1800}))
	if err != nil {
		p.t.Fatal(err)
	}
	return p.put(out)
}

func make1[T any](n int, v T) []T { return slices.Repeat([]T{v}, n) }

func plainNotice() Notice {
	return Notice{Pid: pid("1"), Hashes: [][32]byte{hash("1")}, AmountMsat: 900, Deadline: 400}
}

// TestPayeeRepeats: "B repeats rod_ready after 5 s, 30 s, 2 min and at each reconnection until the HTLC arrives or the deadline passes."
func TestPayeeRepeats(t *testing.T) {
	p := newTill(t)
	p.put(p.Live(true))
	out := p.notice(plainNotice(), "path")
	if len(out.Send) != 1 || string(out.Send[0].Path) != "path" || out.Send[0].Type != TypeReady {
		t.Fatalf("notice: %+v", out)
	}
	if r, err := DecodeReady(out.Send[0].Payload); err != nil || !slices.Equal(r.Hashes, plainNotice().Hashes) {
		t.Errorf("rod_ready %v %v", r, err)
	}
	var at []int64
	for now := int64(1001); now < 2000; now++ {
		if len(p.put(p.Tick(now)).Send) > 0 {
			at = append(at, now-1000)
		}
	}
	if !slices.Equal(at, []int64{5, 30, 120}) {
		t.Errorf("repeated after %v s", at)
	}
	// The payer asks again, as it has not heard from us.
	if out := p.notice(plainNotice(), "path"); len(out.Send) != 1 || len(out.Rows) != 0 {
		t.Errorf("the notice again: %+v", out)
	}
	if out := p.notice(plainNotice(), "path"); len(out.Send) != 0 {
		t.Error("a notice that comes twice is answered twice")
	}
	p.put(p.Live(false))
	if out := p.put(p.Tick(3000)); len(out.Send) != 0 {
		t.Error("sends while no channel is live")
	}
	if out := p.put(p.Live(true)); len(out.Send) != 1 {
		t.Errorf("reconnection: %+v", out)
	}
	var err error
	if p.Payee, err = LoadPayee(p.disk.rows()...); err != nil {
		t.Fatal(err)
	}
	p.Tick(4000)
	if out := p.put(p.Live(true)); len(out.Send) != 1 {
		t.Errorf("after a restart: %+v", out)
	}
	for name, end := range map[string]func(*till) PayeeOutput{
		"the HTLC arrives":  func(p *till) PayeeOutput { return p.Arrived(hash("1")) },
		"invoice closed":    func(p *till) PayeeOutput { return p.Closed(hash("1")) },
		"the deadline":      func(p *till) PayeeOutput { return p.Block(400) },
		"two weeks have it": func(p *till) PayeeOutput { return p.Tick(1000 + noticeKeep) },
	} {
		p := newTill(t)
		p.put(p.Live(true))
		p.notice(plainNotice(), "path")
		p.put(p.Block(399))
		p.put(p.Arrived(hash("2")))
		if len(p.disk) != 1 {
			t.Fatalf("%s: forgotten too soon", name)
		}
		p.put(end(p))
		if out := p.Live(true); len(p.disk) != 0 || len(out.Send) != 0 {
			t.Errorf("%s: still there", name)
		}
	}
}

// TestPayeeWaitsUntilLive: "B acts on rod_notice only when it can accept h."
func TestPayeeWaitsUntilLive(t *testing.T) {
	p := newTill(t)
	if out := p.notice(plainNotice(), "path"); len(out.Send) != 0 || len(out.Rows) != 1 {
		t.Errorf("notice: %+v", out)
	}
	if out := p.put(p.Live(true)); len(out.Send) != 1 {
		t.Errorf("live: %+v", out)
	}
}

// TestPayeeBuildsThePath: the seed's literal reading, and both ways in turn when there are two.
func TestPayeeBuildsThePath(t *testing.T) {
	literal := plainNotice()
	literal.LSP, literal.Payer, literal.LSPAddress = node("lsp"), node("A"), []byte{1, 1, 2, 3, 4, 5, 6}
	p := newTill(t)
	p.put(p.Live(true))
	m := p.notice(literal, "").Send[0]
	if m.Path != nil || m.To != node("A") || m.Through != node("lsp") || m.Unblock != pid("1") {
		t.Errorf("rod_ready goes %+v", m)
	}
	if got := p.LSPAddress(node("lsp")); !slices.Equal(got, literal.LSPAddress) {
		t.Errorf("lsp_address %x", got)
	}
	p = newTill(t)
	introduced := plainNotice()
	introduced.LSPAddress = literal.LSPAddress
	begin := node("the introduction node")
	p.notice(introduced, string(begin[:])+"path")
	if got := p.LSPAddress(begin); !slices.Equal(got, literal.LSPAddress) || p.LSPAddress(node("lsp")) != nil {
		t.Errorf("lsp_address of the reply path %x", got)
	}
	p = newTill(t)
	p.put(p.Live(true))
	if m := p.notice(literal, "path").Send[0]; m.Path == nil || m.Unblock != ([32]byte{}) {
		t.Errorf("first %+v", m)
	}
	if m := p.put(p.Tick(1005)).Send[0]; m.Path != nil || m.Unblock != pid("1") {
		t.Errorf("second %+v", m)
	}
}

// TestPayeeDrops: a notice that is not about an open invoice, or cannot be answered.
func TestPayeeDrops(t *testing.T) {
	open := Invoice{Open: true, MinMsat: 900, MaxMsat: 1800}
	with := func(change func(*Notice)) Notice { n := plainNotice(); change(&n); return n }
	for _, c := range []struct {
		name     string
		n        Notice
		path     string
		invoices []Invoice
		err      string
	}{
		{"not open", plainNotice(), "path", []Invoice{{MinMsat: 900}}, "no open invoice"},
		{"too little", with(func(n *Notice) { n.AmountMsat = 899 }), "path", []Invoice{open}, "amount_msat 899 outside 900 to 1800"},
		{"too much", with(func(n *Notice) { n.AmountMsat = 1801 }), "path", []Invoice{open}, "amount_msat 1801"},
		{"no way back", plainNotice(), "", []Invoice{open}, "no way to answer"},
		{"invoices missing", plainNotice(), "path", nil, "0 invoices for 1 hashes"},
		{"reply path too long", plainNotice(), strings.Repeat("x", 4097), []Invoice{open}, "reply_path length 4097"},
	} {
		p := newTill(t)
		p.Live(true)
		out, err := p.Notice(c.n.Encode(), []byte(c.path), c.invoices)
		if err == nil || !strings.Contains(err.Error(), c.err) || len(out.Rows)+len(out.Send)+len(p.notices) != 0 {
			t.Errorf("%s: %+v, %v", c.name, out, err)
		}
	}
	p := newTill(t)
	if _, err := p.Notice([]byte{1}, nil, nil); err == nil {
		t.Error("rubbish is taken")
	}
	if _, err := p.Notice(plainNotice().Encode(), []byte("path"), []Invoice{{Open: true}}); err != nil {
		t.Errorf("an invoice for any amount: %v", err)
	}
}

// TestBothEnds lets Payer, Table and Payee talk: the eight steps, every message lost once.
func TestBothEnds(t *testing.T) {
	p, b, e := newPurse(t), newBox(t, nil), newTill(t)
	e.put(e.Live(true))
	s := start()
	p.start(s) // lost
	hold := p.put(p.Tick(1005)).Send[0]
	take := func() Output {
		return b.apply(Requested{Peer: node("A"), HasChannel: true, Payload: hold.Payload, ReplyPath: []byte("to A")})
	}
	take() // its ack is lost
	p.put(p.Tick(1010))
	if out := p.put(p.Ack(hold.Reply.PathID, take().Replies[0].Payload)); len(out.Pay) != 1 {
		t.Fatalf("ack: %+v", out)
	}
	if v, _ := b.offer(htlc()); v.Kind != Hold {
		t.Fatal(v)
	}
	p.put(p.Committed(9, 1000)) // the notice is lost
	n := p.again(s.LSP)[0]
	out, err := e.Notice(n.Payload, []byte("path with the pid"), []Invoice{{Open: true, MinMsat: 900}})
	if err != nil || len(e.put(out).Send) != 1 { // lost
		t.Fatal(out, err)
	}
	if len(e.put(e.Tick(1005)).Send) != 1 {
		t.Fatal("not repeated")
	}
	if out := b.apply(Unblock{Pid: n.Reply.Unblock, Next: node("A")}); len(out.Released) != 1 {
		t.Fatalf("unblock: %+v", out)
	}
	p.put(p.Ready(n.Reply.PathID))
	if v := b.table.Judge(htlc(), 100); v.Kind != Pass {
		t.Fatal(v)
	}
	e.put(e.Arrived(hash("1")))
	b.apply(Fulfilled{7, 0})
	b.apply(Ended{7, 0, true})
	p.put(p.Over(9))
	if len(p.disk)+len(e.disk) != 0 || len(b.disk) != 1 {
		t.Errorf("rows left: payer %d, payee %d, LSP %d (its tombstone)", len(p.disk), len(e.disk), len(b.disk))
	}
}
