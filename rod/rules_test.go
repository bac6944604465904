package rod

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestJudge: a table of what an HTLC is judged under the plain request of A for hash 1 until height 400, at height 100.
func TestJudge(t *testing.T) {
	tlv := func(p string, deadline uint32) *HoldTLV { return &HoldTLV{PidHash(pid(p)), deadline} }
	for _, c := range []struct {
		rule   string
		cfg    func(*Config)
		ask    func(*HoldRequest) // nil: the plain request
		none   bool               // no request
		before func(b *box)
		htlc   func(h *HTLC)
		want   Verdict
		reason string
	}{
		{rule: "an HTLC of the live request of its (peer, hash) is held", want: Verdict{Kind: Hold, Member: true, Deadline: 400}},
		{rule: "a hold applies only to incoming HTLCs on channels with that peer", htlc: func(h *HTLC) { h.Peer = node("B") }, want: Verdict{Kind: Pass}},
		{rule: "another hash passes", htlc: func(h *HTLC) { h.Hash = hash("2") }, want: Verdict{Kind: Pass}},
		{rule: "R = min(asked release_deadline, E_out - 42)", htlc: func(h *HTLC) { h.OutExpiry = 430 }, want: Verdict{Kind: Hold, Member: true, Deadline: 388}},
		{rule: "with no deadline asked R = min(h + 432, E_out - 42 - 288): h + 432", ask: func(m *HoldRequest) { m.Deadline = 0 },
			htlc: func(h *HTLC) { h.Expiry, h.OutExpiry = 2000, 1800 }, want: Verdict{Kind: Hold, Member: true, Deadline: 532}},
		{rule: "with no deadline asked R = min(h + 432, E_out - 42 - 288): E_out", ask: func(m *HoldRequest) { m.Deadline = 0 },
			want: Verdict{Kind: Hold, Member: true, Deadline: 800 - 330}},
		{rule: "a hold that leaves less than 6 blocks is refused", htlc: func(h *HTLC) { h.OutExpiry = 147 }, want: Verdict{Kind: GiveUp, ExpiryTooSoon: true}, reason: "release deadline 105 below 106"},
		{rule: "6 blocks are in order", htlc: func(h *HTLC) { h.OutExpiry = 148 }, want: Verdict{Kind: Hold, Member: true, Deadline: 106}},
		{rule: "with no deadline asked, less than 6 blocks is refused", ask: func(m *HoldRequest) { m.Deadline = 0 }, htlc: func(h *HTLC) { h.OutExpiry = 435 },
			want: Verdict{Kind: GiveUp, ExpiryTooSoon: true}, reason: "release deadline 105"},
		{rule: "an outgoing expiry near zero does not wrap around", htlc: func(h *HTLC) { h.OutExpiry = 3 }, want: Verdict{Kind: GiveUp, ExpiryTooSoon: true}, reason: "release deadline 0"},
		{rule: "E_in - h <= 2016", htlc: func(h *HTLC) { h.Expiry = 2117 }, want: Verdict{Kind: GiveUp}, reason: "cltv_expiry 2117 more than 2016 blocks above height 100"},
		{rule: "E_in - h = 2016 is in order", htlc: func(h *HTLC) { h.Expiry = 2116 }, want: Verdict{Kind: Hold, Member: true, Deadline: 400}},
		{rule: "E_in - E_out >= min_cltv_delta", htlc: func(h *HTLC) { h.OutExpiry = 857 }, want: Verdict{Kind: GiveUp}, reason: "less than 144 blocks"},
		{rule: "E_in - E_out = min_cltv_delta is in order", htlc: func(h *HTLC) { h.OutExpiry = 856 }, want: Verdict{Kind: Hold, Member: true, Deadline: 400}},
		{rule: "an outgoing expiry above the incoming one does not wrap around", htlc: func(h *HTLC) { h.OutExpiry = 5000 }, want: Verdict{Kind: GiveUp}, reason: "less than 144 blocks"},
		{rule: "30 held HTLCs per peer", cfg: func(c *Config) { c.HeldPerPeer = 1 }, before: func(b *box) { b.offer(htlc()) }, htlc: func(h *HTLC) { h.ID = 1 },
			want: Verdict{Kind: GiveUp}, reason: "1 held HTLCs of the peer reach maximum 1"},
		{rule: "half of the channel's in-flight value", htlc: func(h *HTLC) { h.MaxInFlight = 1900 }, want: Verdict{Kind: GiveUp}, reason: "above maximum"},
		{rule: "exactly half is in order", htlc: func(h *HTLC) { h.MaxInFlight = 2000 }, want: Verdict{Kind: Hold, Member: true, Deadline: 400}},
		{rule: "what another channel holds does not count", before: func(b *box) { h := htlc(); h.Channel = 8; b.offer(h) }, htlc: func(h *HTLC) { h.MaxInFlight = 2000 },
			want: Verdict{Kind: Hold, Member: true, Deadline: 400}},
		{rule: "max_held_msat of the peer", cfg: func(c *Config) { c.MaxHeldMsat = 999 }, want: Verdict{Kind: GiveUp}, reason: "above maximum 999"},
		{rule: "its own TLV makes a request", none: true, htlc: func(h *HTLC) { h.Hold = tlv("1", 300) }, want: Verdict{Kind: Hold, Member: true, Deadline: 300}},
		{rule: "a TLV without deadline takes the default", none: true, htlc: func(h *HTLC) { h.Hold = tlv("1", 0) }, want: Verdict{Kind: Hold, Member: true, Deadline: 470}},
		{rule: "the TLV's deadline is at most 1008 blocks away", none: true, htlc: func(h *HTLC) { h.Expiry, h.OutExpiry, h.Hold = 2100, 1950, tlv("1", 1900) }, want: Verdict{Kind: Hold, Member: true, Deadline: 1108}},
		{rule: "its own TLV beats the lookup by hash", before: func(b *box) {
			b.apply(signed("A", HoldRequest{PidHash: PidHash(pid("2")), Hashes: [][32]byte{hash("2")}, Deadline: 300}))
		}, htlc: func(h *HTLC) { h.Hold = tlv("2", 0) }, want: Verdict{Kind: Hold, Member: true, Deadline: 300}},
		{rule: "the lower of the request's and the TLV's deadline", htlc: func(h *HTLC) { h.Hold = tlv("1", 350) }, want: Verdict{Kind: Hold, Member: true, Deadline: 350}},
		{rule: "a TLV with another pid_hash for a hash with a live request cannot be held", htlc: func(h *HTLC) { h.Hold = tlv("2", 0) }, want: Verdict{Kind: GiveUp}, reason: "hash has the live request"},
		{rule: "an HTLC that asked to be held and cannot be is failed: malformed", none: true, htlc: func(h *HTLC) { h.Hold = &HoldTLV{} }, want: Verdict{Kind: GiveUp}, reason: "malformed"},
		{rule: "an HTLC that asked to be held and cannot be is failed: disabled", cfg: func(c *Config) { c.Enabled = false }, none: true, htlc: func(h *HTLC) { h.Hold = tlv("1", 0) },
			want: Verdict{Kind: GiveUp}, reason: "disabled"},
		{rule: "an HTLC that asked to be held and cannot be is failed: limits", cfg: func(c *Config) { c.ArmedPerPeer = 1 }, htlc: func(h *HTLC) { h.Hash, h.Hold = hash("2"), tlv("2", 0) },
			want: Verdict{Kind: GiveUp}, reason: "armed requests"},
		{rule: "an HTLC that asked to be held and cannot be is failed: the pid_hash is finished", none: true, before: func(b *box) { b.apply(cancelled("A", PidHash(pid("1")))) },
			htlc: func(h *HTLC) { h.Hold = tlv("1", 0) }, want: Verdict{Kind: GiveUp}, reason: "is finished"},
		{rule: "an ordinary HTLC passes where holds are disabled", cfg: func(c *Config) { c.Enabled = false }, none: true, want: Verdict{Kind: Pass}},
		{rule: "an unblock before the HTLC arrived: it passes straight through", before: func(b *box) { b.apply(Unblock{Pid: pid("1")}) }, want: Verdict{Kind: Pass, Member: true, Deadline: 400}},
		{rule: "parts arriving after release pass", before: func(b *box) { h := htlc(); h.ID = 5; b.offer(h); b.apply(Unblock{Pid: pid("1")}) }, want: Verdict{Kind: Pass, Member: true, Deadline: 400}},
		{rule: "after release too, h >= R is too late", before: func(b *box) { b.apply(Unblock{Pid: pid("1")}) }, htlc: func(h *HTLC) { h.OutExpiry = 142 },
			want: Verdict{Kind: GiveUp, ExpiryTooSoon: true}, reason: "release deadline 100"},
		{rule: "after release one block is enough", before: func(b *box) { b.apply(Unblock{Pid: pid("1")}) }, htlc: func(h *HTLC) { h.OutExpiry = 143 },
			want: Verdict{Kind: Pass, Member: true, Deadline: 101}},
		{rule: "a request ends by its TTL if it never had a member", before: func(b *box) { b.apply(Tick{1600}) }, want: Verdict{Kind: Pass}},
		{rule: "an unblock is remembered until armed_until", before: func(b *box) { b.apply(Unblock{Pid: pid("1")}); b.apply(Tick{1600}) }, want: Verdict{Kind: Pass}},
		{rule: "what it released matches nothing new", before: func(b *box) {
			h := htlc()
			h.ID = 5
			b.offer(h)
			b.apply(Unblock{Pid: pid("1")})
			b.apply(Ended{7, 5, false})
		}, want: Verdict{Kind: Pass}},
		{rule: "the part that completes an unblocked request passes", ask: func(m *HoldRequest) { m.TotalMsat = 2000 }, before: func(b *box) {
			h := htlc()
			h.ID = 5
			b.offer(h)
			b.apply(Unblock{Pid: pid("1")})
		}, want: Verdict{Kind: Pass, Member: true, Deadline: 400}},
		{rule: "a part that does not complete it is held", ask: func(m *HoldRequest) { m.TotalMsat = 3000 }, before: func(b *box) {
			h := htlc()
			h.ID = 5
			b.offer(h)
			b.apply(Unblock{Pid: pid("1")})
		}, want: Verdict{Kind: Hold, Member: true, Deadline: 400}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			b := newBox(t, c.cfg)
			if !c.none {
				m := ask()
				if c.ask != nil {
					c.ask(&m)
				}
				b.apply(signed("A", m))
			}
			if c.before != nil {
				c.before(b)
			}
			h := htlc()
			if c.htlc != nil {
				c.htlc(&h)
			}
			v, out := b.offer(h)
			if !strings.Contains(v.Reason, c.reason) || (v.Kind == GiveUp) != (v.Reason != "") {
				t.Errorf("reason %q, want %q", v.Reason, c.reason)
			}
			v.Reason = ""
			if v != c.want {
				t.Errorf("verdict %+v, want %+v", v, c.want)
			}
			if len(out.GiveUp) > 0 {
				t.Errorf("given up by the event that makes it a member: %v", out.GiveUp)
			}
		})
	}
}

// held gives a box where A's HTLC is held.
func held(t *testing.T, change func(*Config), more func(*HoldRequest)) *box {
	t.Helper()
	b := newBox(t, change)
	m := ask()
	if more != nil {
		more(&m)
	}
	b.apply(PeerUp{node("A")})
	b.apply(signed("A", m))
	if v, _ := b.offer(htlc()); v.Kind != Hold {
		t.Fatalf("verdict %+v", v)
	}
	return b
}

// TestUnblock: what an unblock does to a held HTLC.
func TestUnblock(t *testing.T) {
	all := []HoldKey{{node("A"), hash("1")}}
	waits := func(m *HoldRequest) { m.TotalMsat = 2000 }
	for _, c := range []struct {
		rule     string
		ask      func(*HoldRequest)
		events   []Event
		released []HoldKey // by the last event
		kind     Kind      // of the HTLC afterwards
	}{
		{"the pid releases", nil, []Event{Unblock{Pid: pid("1")}}, all, Pass},
		{"on its way to the payer", nil, []Event{Unblock{Pid: pid("1"), Next: node("A")}}, all, Pass},
		{"another's pid: do nothing", nil, []Event{Unblock{Pid: pid("1"), Next: node("B")}}, nil, Hold},
		{"an unknown pid: do nothing", nil, []Event{Unblock{Pid: pid("2")}}, nil, Hold},
		{"a pid_hash is not a pid", nil, []Event{Unblock{Pid: PidHash(pid("1"))}}, nil, Hold},
		{"duplicate unblocks change nothing", nil, []Event{Unblock{Pid: pid("1")}, Unblock{Pid: pid("1")}}, nil, Pass},
		{"less than total_msat has arrived: wait", waits, []Event{Unblock{Pid: pid("1")}}, nil, Hold},
		{"up to 60 s", waits, []Event{Unblock{Pid: pid("1")}, Tick{1059}}, nil, Hold},
		{"then release what there is", waits, []Event{Unblock{Pid: pid("1")}, Tick{1060}}, all, Pass},
		{"a repeated unblock does not begin the wait afresh", waits, []Event{Unblock{Pid: pid("1")}, Tick{1030}, Unblock{Pid: pid("1")}, Tick{1060}}, all, Pass},
		{"cancelled while it waits", waits, []Event{Unblock{Pid: pid("1")}, cancelled("A", PidHash(pid("1"))), Tick{1060}}, nil, GiveUp},
		{"a finished pid: do nothing", nil, []Event{cancelled("A", PidHash(pid("1"))), Unblock{Pid: pid("1")}}, nil, GiveUp},
		{"past its deadline a hold is not released", nil, []Event{Block{400}, Unblock{Pid: pid("1")}}, nil, GiveUp},
	} {
		t.Run(c.rule, func(t *testing.T) {
			b := held(t, nil, c.ask)
			var out Output
			for _, ev := range c.events {
				out = b.apply(ev)
			}
			if !slices.Equal(out.Released, c.released) {
				t.Errorf("released %v", out.Released)
			}
			if v := b.table.Judge(htlc(), b.table.height); v.Kind != c.kind || v.Member {
				t.Errorf("verdict %+v, want %v", v, c.kind)
			}
			b.restart()
			if v := b.table.Judge(htlc(), b.table.height); v.Kind != c.kind {
				t.Errorf("after a restart %+v, want %v", v, c.kind)
			}
		})
	}
}

// TestPartsTogether: "all parts of a hold are released together", also when the last one completes the payment.
func TestPartsTogether(t *testing.T) {
	b := held(t, nil, func(m *HoldRequest) { m.TotalMsat = 2500; m.Hashes = append(m.Hashes, hash("2")) })
	second := htlc()
	second.ID, second.Hash = 1, hash("2")
	if v, _ := b.offer(second); v.Kind != Hold {
		t.Fatal(v)
	}
	b.apply(Unblock{Pid: pid("1")})
	b.restart()
	third := htlc()
	third.ID, third.Amount = 2, 500
	v, out := b.offer(third)
	if v.Kind != Pass || len(out.Released) != 2 {
		t.Errorf("verdict %+v, released %v", v, out.Released)
	}
	for _, h := range []HTLC{htlc(), second, third} {
		if v := b.table.Judge(h, 100); v.Kind != Pass {
			t.Errorf("part %d: %+v", h.ID, v)
		}
	}
}

// TestEnds: how a hold ends unreleased, what is told, and that its members are failed back, also after a restart.
func TestEnds(t *testing.T) {
	for _, c := range []struct {
		rule    string
		events  []Event
		giveUp  bool // by the last event
		tooSoon bool
		status  []StatusState
	}{
		{"cancel by the payer before release", []Event{cancelled("A", PidHash(pid("1")))}, true, false, []StatusState{StatusCancelled}},
		{"shutdown of the channel", []Event{ChannelShutdown{7}}, true, false, []StatusState{StatusFailed}},
		{"shutdown of another channel is nothing", []Event{ChannelShutdown{8}}, false, false, nil},
		{"the deadline: at h >= R fail back, tell A", []Event{Block{400}}, true, true, []StatusState{StatusExpired}},
		{"one block before it is nothing", []Event{Block{399}}, false, false, nil},
		{"incoming channel spent on chain: the hold is void", []Event{ChannelOnChain{7}}, false, false, []StatusState{StatusFailed}},
		{"a request with a member has no TTL", []Event{Tick{1600}}, false, false, nil},
		{"a second cancel is nothing", []Event{cancelled("A", PidHash(pid("1"))), cancelled("A", PidHash(pid("1")))}, false, false, nil},
		{"after release a cancel has no effect", []Event{Unblock{Pid: pid("1")}, cancelled("A", PidHash(pid("1")))}, false, false, []StatusState{StatusReleased}},
		{"released and not on its way at h >= R: fail back", []Event{Unblock{Pid: pid("1")}, Block{400}}, true, true, nil},
		{"released, shutdown of the channel", []Event{Unblock{Pid: pid("1")}, ChannelShutdown{7}}, true, false, nil},
	} {
		t.Run(c.rule, func(t *testing.T) {
			b := held(t, nil, nil)
			var out Output
			for _, ev := range c.events {
				out = b.apply(ev)
			}
			if (len(out.GiveUp) == 1) != c.giveUp || c.giveUp && (out.GiveUp[0].ExpiryTooSoon != c.tooSoon || out.GiveUp[0].Key != htlc().Key() || out.GiveUp[0].Reason == "") {
				t.Errorf("given up %v", out.GiveUp)
			}
			if got := statuses(t, out); !slices.Equal(got, c.status) {
				t.Errorf("told %v, want %v", got, c.status)
			}
			before := b.table.Judge(htlc(), b.table.height)
			b.restart()
			if after := b.table.Judge(htlc(), b.table.height); after != before {
				t.Errorf("after a restart %+v, before %+v", after, before)
			}
		})
	}
}

// TestVoid: "Incoming channel spent on chain: the hold is void, never forward afterwards", whatever the request and the unblock say.
func TestVoid(t *testing.T) {
	for name, events := range map[string][]Event{
		"held":             {ChannelOnChain{7}},
		"held, unblocked":  {ChannelOnChain{7}, Unblock{Pid: pid("1")}},
		"released":         {Unblock{Pid: pid("1")}, ChannelOnChain{7}},
		"released, height": {Unblock{Pid: pid("1")}, ChannelOnChain{7}, Block{5000}},
	} {
		t.Run(name, func(t *testing.T) {
			b := held(t, nil, nil)
			for _, ev := range events {
				if out := b.apply(ev); len(out.GiveUp) > 0 {
					t.Errorf("%T gives up %v: there is nobody to fail to", ev, out.GiveUp)
				}
			}
			if b.table.height < 3000 {
				for range 2 {
					if v := b.table.Judge(htlc(), b.table.height); v.Kind != GiveUp {
						t.Errorf("verdict %+v", v)
					}
					b.restart()
				}
				b.apply(ChannelClosed{7})
			}
			if n := len(b.table.Requests()) + len(b.table.members); n != 0 {
				t.Errorf("%d rows left", n)
			}
		})
	}
}

// TestOtherPartsOfAVoidHold: a payment that lost a part cannot be complete, so the others go back.
func TestOtherPartsOfAVoidHold(t *testing.T) {
	b := held(t, nil, nil)
	other := htlc()
	other.Channel = 8
	b.offer(other)
	out := b.apply(ChannelOnChain{7})
	if len(out.GiveUp) != 1 || out.GiveUp[0].Key != other.Key() {
		t.Errorf("given up %v", out.GiveUp)
	}
}

// TestRetryOfTheSameInvoice: "a retry of the same invoice needs a new request and is held again".
func TestRetryOfTheSameInvoice(t *testing.T) {
	b := held(t, nil, nil)
	b.apply(Unblock{Pid: pid("1")})
	if out := b.apply(Ended{7, 0, false}); !slices.Equal(statuses(t, out), []StatusState{StatusFailed}) {
		t.Errorf("told %v", statuses(t, out))
	}
	m := ask()
	m.PidHash = PidHash(pid("2"))
	if a := ackOf(t, b.apply(signed("A", m))); a.Status != AckOK {
		t.Fatalf("ack %+v", a)
	}
	h := htlc()
	h.ID = 1
	if v, _ := b.offer(h); v.Kind != Hold {
		t.Errorf("verdict %+v", v)
	}
	if out := b.apply(Unblock{Pid: pid("1")}); !reflect.DeepEqual(out, Output{News: out.News}) {
		t.Errorf("the old pid does %+v", out)
	}
}

// TestRetryBeforeTheEnd: the retry need not wait until the failure of the first attempt is irrevocable.
func TestRetryBeforeTheEnd(t *testing.T) {
	b := held(t, nil, nil)
	b.apply(Unblock{Pid: pid("1")})
	b.apply(Failed{7, 0})
	m := ask()
	m.PidHash = PidHash(pid("2"))
	if a := ackOf(t, b.apply(signed("A", m))); a.Status != AckOK {
		t.Fatalf("ack %+v", a)
	}
	h := htlc()
	h.ID = 1
	if v, _ := b.offer(h); v.Kind != Hold {
		t.Errorf("verdict %+v", v)
	}
	b.restart()
	b.apply(Ended{7, 0, false})
	if v := b.table.Judge(h, 100); v.Kind != Hold {
		t.Errorf("verdict %+v", v)
	}
}

// TestLastOpenPartEnds: the request is over also when the last part without an outcome ends at once.
func TestLastOpenPartEnds(t *testing.T) {
	b := held(t, nil, nil)
	second := htlc()
	second.ID = 1
	b.offer(second)
	b.apply(Unblock{Pid: pid("1")})
	b.apply(Failed{7, 0})
	b.apply(Ended{7, 1, false})
	m := ask()
	m.PidHash = PidHash(pid("2"))
	if a := ackOf(t, b.apply(signed("A", m))); a.Status != AckOK {
		t.Errorf("ack %+v", a)
	}
}

// TestIdempotent: an event that comes twice writes nothing the second time.
func TestIdempotent(t *testing.T) {
	for name, ev := range map[string]Event{
		"rod_hold":  signed("A", ask()),
		"member":    Member{htlc()},
		"unblock":   Unblock{Pid: pid("1")},
		"fulfilled": Fulfilled{7, 0},
		"failed":    Failed{7, 0},
		"ended":     Ended{7, 0, true},
		"on chain":  ChannelOnChain{7},
		"cancel":    cancelled("A", PidHash(pid("1"))),
		"block":     Block{400},
		"closed":    ChannelClosed{7},
	} {
		b := held(t, nil, nil)
		b.apply(ev)
		if out := b.apply(ev); len(out.Rows)+len(out.Released)+len(out.GiveUp) > 0 {
			t.Errorf("%s again: %+v", name, out)
		}
	}
}

// TestTLVThenMessage: a rod_hold that comes after the HTLC that named its pid_hash gives the request its content.
func TestTLVThenMessage(t *testing.T) {
	b := newBox(t, nil)
	h := htlc()
	h.Hold = &HoldTLV{PidHash(pid("1")), 0}
	if v, _ := b.offer(h); v.Kind != Hold || v.Deadline != 470 {
		t.Fatalf("verdict %+v", v)
	}
	m := ask()
	m.TotalMsat = 2000
	if a := ackOf(t, b.apply(signed("A", m))); a.Status != AckOK || a.Deadline != 400 {
		t.Fatalf("ack %+v", a)
	}
	if v := b.table.Judge(h, 100); v.Kind != Hold || v.Deadline != 400 {
		t.Errorf("verdict %+v", v)
	}
	if out := b.apply(Unblock{Pid: pid("1")}); len(out.Released) != 0 {
		t.Errorf("total_msat of the message is not heeded: %v", out.Released)
	}
	m.TotalMsat = 3000
	if a := ackOf(t, b.apply(signed("A", m))); a.Status != AckDuplicate {
		t.Errorf("other content: %+v", a)
	}
	// A later part without the TLV belongs to it too.
	late := htlc()
	late.ID = 3
	if v := b.table.Judge(late, 100); v.Kind != Pass || !v.Member {
		t.Errorf("the completing part: %+v", v)
	}
}

// TestReplies: "rod_hold_ack and rod_status travel only on the reply path of A's own rod_hold, kept with the request".
func TestReplies(t *testing.T) {
	b := held(t, nil, nil)
	again := signed("A", ask())
	again.ReplyPath = []byte("another path")
	out := b.apply(again)
	if got := string(out.Replies[0].Path); got != "another path" {
		t.Errorf("the ack of the repeated request goes to %q", got)
	}
	out = b.apply(Unblock{Pid: pid("1")})
	if len(out.Replies) != 1 || string(out.Replies[0].Path) != "path of A" || out.Replies[0].Peer != node("A") {
		t.Fatalf("replies %+v", out.Replies)
	}
	s, err := DecodeStatus(out.Replies[0].Payload)
	if want := (Status{PidHash(pid("1")), StatusReleased, 100, 1, 1000, 1000 - 72}); err != nil || s != want {
		t.Errorf("status %+v, want %+v", s, want)
	}
	b.restart()
	if got := statuses(t, b.apply(Fulfilled{7, 0})); !slices.Equal(got, []StatusState{StatusSettled}) {
		t.Errorf("told %v", got)
	}
	if got := statuses(t, b.apply(Ended{7, 0, true})); got != nil {
		t.Errorf("told again %v", got)
	}
}

// TestClaim: "after release with the preimage known and A away: at h >= E_in - 72 force-close and claim".
func TestClaim(t *testing.T) {
	for _, c := range []struct {
		name   string
		events []Event
		claim  bool
	}{
		{"away, in time", []Event{PeerDown{node("A")}, Block{927}}, false},
		{"away, at the margin", []Event{PeerDown{node("A")}, Block{928}}, true},
		{"asked again with every block", []Event{PeerDown{node("A")}, Block{928}, Block{929}}, true},
		{"A is here", []Event{Block{928}}, false},
		{"A was here and left", []Event{Block{928}, PeerDown{node("A")}, Block{929}}, true},
		{"on chain already", []Event{PeerDown{node("A")}, ChannelOnChain{7}, Block{928}}, false},
		{"ended", []Event{PeerDown{node("A")}, Ended{7, 0, true}, Block{928}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := held(t, nil, nil)
			b.apply(Unblock{Pid: pid("1")})
			b.apply(Fulfilled{7, 0})
			var out Output
			for _, ev := range c.events {
				out = b.apply(ev)
			}
			if got := slices.Equal(out.Claim, []uint64{7}); got != c.claim {
				t.Errorf("claim %v", out.Claim)
			}
			if v := b.table.Judge(htlc(), b.table.height); c.name != "ended" && v.Kind != Hold {
				t.Errorf("an HTLC whose preimage is known is judged %+v", v)
			}
		})
	}
	t.Run("preimage comes when it is late already", func(t *testing.T) {
		b := held(t, nil, nil)
		b.apply(Unblock{Pid: pid("1")})
		b.apply(PeerDown{node("A")})
		b.apply(Block{928})
		if out := b.apply(Fulfilled{7, 0}); !slices.Equal(out.Claim, []uint64{7}) {
			t.Errorf("claim %v", out.Claim)
		}
	})
}

// TestWakes: whom the LSP wakes for its holds.
func TestWakes(t *testing.T) {
	away := PeerDown{node("A")}
	for _, c := range []struct {
		rule   string
		events []Event
		want   []string // methods, by the last event
	}{
		{"the preimage wakes A at once", []Event{Unblock{Pid: pid("1")}, away, Fulfilled{7, 0}}, []string{`rod.preimage_ready {"timeout":928}`}},
		{"not while A is here", []Event{Unblock{Pid: pid("1")}, Fulfilled{7, 0}}, nil},
		{"A leaves without it: after a cool-down", []Event{Unblock{Pid: pid("1")}, Fulfilled{7, 0}, away}, nil},
		{"A leaves without it: then", []Event{Unblock{Pid: pid("1")}, Fulfilled{7, 0}, away, Tick{1060}}, []string{`rod.preimage_ready {"timeout":928}`}},
		{"and again as E_in nears", []Event{Unblock{Pid: pid("1")}, away, Fulfilled{7, 0}, Tick{1060}, Tick{1150}, Block{856}}, []string{`rod.preimage_ready {"timeout":928}`}},
		{"near the end in the words of LSPS5", []Event{Unblock{Pid: pid("1")}, away, Fulfilled{7, 0}, Tick{1060}, Tick{1150}, Block{904}}, []string{`lsps5.expiry_soon {"timeout":928}`}},
		{"at h >= R wake A", []Event{away, Block{400}}, []string{"rod.hold_failed {}"}},
		{"a failure from B wakes A", []Event{Unblock{Pid: pid("1")}, away, Failed{7, 0}}, []string{"rod.hold_failed {}"}},
		{"a void hold wakes nobody", []Event{away, ChannelOnChain{7}}, nil},
		{"a preimage on chain wakes nobody", []Event{Unblock{Pid: pid("1")}, away, Fulfilled{7, 0}, ChannelOnChain{7}, Tick{90000}}, nil},
		{"the unblock wakes nobody", []Event{away, Unblock{Pid: pid("1")}}, nil},
		{"mail wakes", []Event{away, Wanted{Peer: node("A"), Method: MethodOnionMessage}}, []string{"lsps5.onion_message_incoming {}"}},
		{"mail fetched", []Event{away, Wanted{Peer: node("A"), Method: MethodOnionMessage}, Wanted{node("A"), MethodOnionMessage, true}, Tick{90000}}, nil},
	} {
		t.Run(c.rule, func(t *testing.T) {
			b := held(t, nil, nil)
			var out Output
			for _, ev := range c.events {
				out = b.apply(ev)
			}
			var got []string
			for _, w := range out.Wakes {
				got = append(got, w.Method+" "+w.Params)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("wakes %v, want %v", got, c.want)
			}
		})
	}
	t.Run("outstanding preimages wake after a restart", func(t *testing.T) {
		b := held(t, nil, nil)
		b.apply(Unblock{Pid: pid("1")})
		b.apply(away)
		b.apply(Fulfilled{7, 0})
		var err error
		if b.table, err = Load(b.cfg, b.disk.rows()...); err != nil {
			t.Fatal(err)
		}
		var at []int64
		for now := int64(5000); now < 5100; now++ {
			if len(b.apply(Tick{now}).Wakes) > 0 {
				at = append(at, now)
			}
		}
		// Clients lost their connection when we stopped: most come back by themselves.
		if !slices.Equal(at, []int64{5060}) {
			t.Errorf("wakes at %v", at)
		}
	})
}

// TestDisabled: holds that are there when the feature is switched off go back.
func TestDisabled(t *testing.T) {
	b := held(t, nil, nil)
	b.cfg.Enabled = false
	b.check()
	var err error
	if b.table, err = Load(b.cfg, b.disk.rows()...); err != nil {
		t.Fatal(err)
	}
	if v := b.table.Judge(htlc(), 100); v.Kind != GiveUp {
		t.Errorf("verdict %+v", v)
	}
	b.apply(Tick{1000})
	if out := b.apply(Block{100}); len(out.GiveUp) != 1 {
		t.Errorf("given up %v", out.GiveUp)
	}
}

// TestTombstonesAreBounded: a peer that cancels for ever buries its own tombstones.
func TestTombstonesAreBounded(t *testing.T) {
	b := newBox(t, func(c *Config) { c.TombstonesPerPeer = 3 })
	for i := range 5 {
		b.apply(Tick{int64(2000 + i)})
		b.apply(cancelled("A", hash(string(rune('a'+i)))))
	}
	if n := len(b.table.tombs[node("A")]); n != 3 {
		t.Errorf("%d tombstones", n)
	}
	if b.table.entombed(requestKey{node("A"), hash("a")}) || !b.table.entombed(requestKey{node("A"), hash("e")}) {
		t.Error("not the oldest went")
	}
}

// TestDirectCancel: rod.cancel over LSPS0 is answered.
func TestDirectCancel(t *testing.T) {
	ev := CancelRequested{Peer: node("A"), HasChannel: true, Payload: CancelRequest{PidHash: PidHash(pid("1"))}.Encode(), Direct: true}
	b := held(t, nil, nil)
	out := b.apply(ev)
	if got := statuses(t, out); !slices.Equal(got, []StatusState{StatusCancelled, StatusCancelled}) || out.Replies[1].Path != nil {
		t.Errorf("told %v", got)
	}
}
