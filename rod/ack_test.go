package rod

import (
	"reflect"
	"slices"
	"testing"
)

// TestAck: a table of what a rod_hold is answered.
func TestAck(t *testing.T) {
	other := func(m HoldRequest, change func(*HoldRequest)) HoldRequest { change(&m); return m }
	many := func(b *box, n int) {
		for i := range n {
			b.apply(Tick{b.table.now + 1})
			name := string(rune('a' + i))
			b.apply(signed("A", HoldRequest{PidHash: PidHash(pid(name)), Hashes: [][32]byte{hash(name)}}))
		}
	}
	for _, c := range []struct {
		rule   string
		change func(*Config)
		before func(b *box)
		ask    Requested
		status AckStatus
		ack    Ack // besides pid_hash, status, reason
	}{
		{rule: "status 0 ok: release_deadline, armed_until, min_cltv_delta", ask: signed("A", ask()), ack: Ack{Deadline: 400, ArmedUntil: 1600}},
		{rule: "R with no deadline asked: h + 432", ask: signed("A", other(ask(), func(m *HoldRequest) { m.Deadline = 0 })), ack: Ack{Deadline: 532, ArmedUntil: 1600}},
		{rule: "release_deadline may be lower than asked: maximum 1008", ask: signed("A", other(ask(), func(m *HoldRequest) { m.Deadline = 1700 })), ack: Ack{Deadline: 1108, ArmedUntil: 1600}},
		{rule: "armed_ttl_seconds asked", ask: signed("A", other(ask(), func(m *HoldRequest) { m.ArmedTTL = 60 })), ack: Ack{Deadline: 400, ArmedUntil: 1060}},
		{rule: "armed_ttl_seconds is at most 3600", ask: signed("A", other(ask(), func(m *HoldRequest) { m.ArmedTTL = 86400 })), ack: Ack{Deadline: 400, ArmedUntil: 4600}},
		{rule: "max_held_msat is told", change: func(c *Config) { c.MaxHeldMsat = 5000 }, ask: signed("A", ask()), ack: Ack{Deadline: 400, ArmedUntil: 1600, MaxHeldMsat: 5000}},
		{rule: "status 1 disabled", change: func(c *Config) { c.Enabled = false }, ask: signed("A", ask()), status: AckDisabled},
		{rule: "20 armed requests per peer", before: func(b *box) { many(b, 20) }, ask: signed("A", ask()), status: AckLimit},
		{rule: "one fewer is in order", before: func(b *box) { many(b, 19) }, ask: signed("A", ask()), ack: Ack{Deadline: 400, ArmedUntil: 1619}},
		{rule: "one that is unblocked and waits for its HTLC counts too", change: func(c *Config) { c.ArmedPerPeer = 1 }, before: func(b *box) {
			many(b, 1)
			b.apply(Unblock{Pid: pid("a")})
		}, ask: signed("A", ask()), status: AckLimit},
		{rule: "10,000 requests in all", change: func(c *Config) { c.MaxRequests = 2 }, before: func(b *box) { many(b, 2) }, ask: signed("B", ask()), status: AckLimit},
		{rule: "1 request/s with burst 10 per peer", before: func(b *box) {
			many(b, 5)
			for range 9 {
				b.table.take(node("A"))
			}
		}, ask: signed("A", ask()), status: AckLimit},
		{rule: "the burst of one peer is not another's", before: func(b *box) {
			for range 10 {
				b.table.take(node("A"))
			}
		}, ask: signed("B", ask()), ack: Ack{Deadline: 400, ArmedUntil: 1600}},
		{rule: "status 4 no usable channel", ask: func() Requested { r := signed("A", ask()); r.HasChannel = false; return r }(), status: AckNoChannel},
		{rule: "the deadline R leaves at least 6 blocks", ask: signed("A", other(ask(), func(m *HoldRequest) { m.Deadline = 105 })), status: AckDeadline},
		{rule: "6 blocks are in order", ask: signed("A", other(ask(), func(m *HoldRequest) { m.Deadline = 106 })), ack: Ack{Deadline: 106, ArmedUntil: 1600}},
		{rule: "a second pid_hash for a hash that has a live request gets status 6", before: func(b *box) { b.apply(signed("A", ask())) },
			ask: signed("A", other(ask(), func(m *HoldRequest) { m.PidHash = PidHash(pid("2")) })), status: AckDuplicate},
		{rule: "the same hash of another peer is its own", before: func(b *box) { b.apply(signed("A", ask())) },
			ask: signed("B", other(ask(), func(m *HoldRequest) { m.PidHash = PidHash(pid("2")) })), ack: Ack{Deadline: 400, ArmedUntil: 1600}},
		{rule: "repeating a request byte for byte is idempotent", before: func(b *box) { b.apply(signed("A", ask())); b.apply(Tick{1100}) },
			ask: signed("A", ask()), ack: Ack{Deadline: 400, ArmedUntil: 1600}},
		{rule: "the same pid_hash with other content gets status 6", before: func(b *box) { b.apply(signed("A", ask())) },
			ask: signed("A", other(ask(), func(m *HoldRequest) { m.TotalMsat = 1 })), status: AckDuplicate},
		{rule: "finished pid_hashes stay as tombstones 30 days", before: func(b *box) { b.apply(signed("A", ask())); b.apply(Tick{1600}) },
			ask: signed("A", ask()), status: AckDuplicate},
		{rule: "a tombstone is gone after 30 days", before: func(b *box) {
			b.apply(signed("A", ask()))
			b.apply(Tick{1600})
			b.apply(Tick{1600 + 30*86400})
		}, ask: signed("A", ask()), ack: Ack{Deadline: 400, ArmedUntil: 1600 + 30*86400 + 600}},
		{rule: "a signed cancel for an unknown pid_hash writes a tombstone", before: func(b *box) { b.apply(cancelled("A", ask().PidHash)) },
			ask: signed("A", ask()), status: AckDuplicate},
		{rule: "another's cancel does not", before: func(b *box) { b.apply(cancelled("B", ask().PidHash)) }, ask: signed("A", ask()), ack: Ack{Deadline: 400, ArmedUntil: 1600}},
		{rule: "two peers may claim one pid_hash", before: func(b *box) { b.apply(signed("B", ask())) }, ask: signed("A", ask()), ack: Ack{Deadline: 400, ArmedUntil: 1600}},
		{rule: "status 3 malformed, when it is signed", ask: malformed("A"), status: AckMalformed},
		{rule: "over LSPS0 no signature is needed", ask: Requested{Peer: node("A"), HasChannel: true, Payload: ask().Encode(), Direct: true}, ack: Ack{Deadline: 400, ArmedUntil: 1600}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			b := newBox(t, c.change)
			if c.before != nil {
				c.before(b)
			}
			out := b.apply(c.ask)
			a := ackOf(t, out)
			if a.PidHash != pidHashIn(c.ask.Payload) {
				t.Errorf("pid_hash %x", a.PidHash)
			}
			if a.Status != c.status || (a.Reason == "") != (a.Status == AckOK) {
				t.Fatalf("status %v, reason %q, want %v", a.Status, a.Reason, c.status)
			}
			if a.MinCltvDelta != 144 {
				t.Errorf("min_cltv_delta %d", a.MinCltvDelta)
			}
			a.PidHash, a.Status, a.Reason, a.MinCltvDelta = [32]byte{}, 0, "", 0
			if a != c.ack {
				t.Errorf("ack %+v, want %+v", a, c.ack)
			}
		})
	}
}

// malformed is a request that is signed right and says nothing that can be held: version 2.
func malformed(name string) Requested {
	r := signed(name, ask())
	signedPart := r.Payload[:len(r.Payload)-66]
	b := slices.Concat([]byte{1, 1, 2}, signedPart[3:])
	sig, err := sign(key(name), digest(holdName, node("lsp"), b))
	if err != nil {
		panic(err)
	}
	r.Payload = appendRecord(b, fieldSignature, sig[:])
	return r
}

// TestSilence: "LSP_a accepts rod_hold only when the signature is by the node id of a channel peer", and says nothing to anybody else.
func TestSilence(t *testing.T) {
	forged := signed("A", ask())
	forged.Payload[len(forged.Payload)-1] ^= 1
	relayed := signed("A", ask()) // a third party shows A's connection, not A's key
	relayed.Payload = signed("B", ask()).Payload
	for name, ev := range map[string]Event{
		"signature wrong":            forged,
		"signed by another peer":     relayed,
		"unsigned":                   Requested{Peer: node("A"), HasChannel: true, Payload: ask().Encode(), ReplyPath: []byte("x")},
		"rubbish":                    Requested{Peer: node("A"), HasChannel: true, Payload: []byte{1}, ReplyPath: []byte("x")},
		"cancel, signature wrong":    CancelRequested{Peer: node("B"), HasChannel: true, Payload: cancelled("A", ask().PidHash).Payload},
		"cancel, unsigned":           CancelRequested{Peer: node("A"), HasChannel: true, Payload: CancelRequest{PidHash: ask().PidHash}.Encode()},
		"unknown pid":                Unblock{Pid: pid("unknown")},
		"outcome of a foreign HTLC":  Ended{Channel: 99, ID: 1},
		"preimage of a foreign HTLC": Fulfilled{Channel: 99, ID: 1},
	} {
		b := newBox(t, nil)
		out := b.apply(ev)
		out.News = nil // whoever watches this node may know
		if !reflect.DeepEqual(out, Output{}) {
			t.Errorf("%s: %+v", name, out)
		}
	}
}
