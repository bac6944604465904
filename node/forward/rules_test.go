package forward

import (
	"testing"

	"lightningrod/channel"
	"lightningrod/onion"
	"lightningrod/rod"

	"github.com/lightningnetwork/lnd/lnwire"
)

// The rules of forwarding, a test each. Most are shown at greater length by testdata/*.txt and TestModel.

// pairWorld has channel 1 with alice, channels 2 and 3 with carol; only 2 is usable.
func pairWorld(t *testing.T) *world {
	w := newWorld(t)
	for id, peer := range map[channel.ID]string{1: "alice", 2: "carol", 3: "carol"} {
		w.introduce(Channel{ID: id, Peer: nodeID(peer), SCIDs: []lnwire.ShortChannelID{scidOf(uint64(id) * 11)}, Policy: standardPolicy()})
	}
	w.handle(usableChannel(2), nil)
	return w
}

func usableChannel(id channel.ID) Usable {
	return Usable{ID: id, Out: channel.Capacity{Max: 100_000_000, Min: 1, Slots: 400}}
}

func key(c channel.ID, id uint64) channel.Key { return channel.Key{Channel: c, HTLC: id} }

func (w *world) deliverAll() {
	for len(w.inbox) > 0 {
		w.deliver(false)
	}
}

func (w *world) stateOf(k channel.Key) state {
	if in := w.f.htlcs[k]; in != nil {
		return in.state
	}
	w.t.Fatalf("there is no HTLC %v", k)
	panic("unreachable")
}

// A hash never identifies an HTLC: two of the same hash and amount live and end apart.
func TestSameHashTwoHTLCs(t *testing.T) {
	w := pairWorld(t)
	w.offer(forwardOffer(key(1, 0), "alice", "h", 1_000_000, 1500, 22))
	w.offer(forwardOffer(key(1, 1), "alice", "h", 1_000_000, 1500, 22))
	w.deliverAll()
	out := w.resolve(key(2, 0), channel.Fail{Reason: []byte("no")})
	if cmd := out.Commands[0].(WrapWith); cmd.HTLC.Key != key(1, 0) || w.stateOf(key(1, 1)) != onWay {
		t.Fatalf("%v, %s", cmd.HTLC.Key, w.f.states())
	}
}

// From the moment an Add is posted, nothing but its answer ends it.
func TestOneAnswerForEachAdd(t *testing.T) {
	w := pairWorld(t)
	w.handle(holdRequest("alice", "p", 0, 1100, "h"), nil)
	w.offer(forwardOffer(key(1, 0), "alice", "h", 1_000_000, 1500, 22))
	w.handle(unblock("p"), nil)
	for _, ev := range []Event{Block{1100}, Block{1499}, Tick{2_000_000}, ShuttingDown{1}, ShuttingDown{2}, Unusable{2}, OnChain{2}, Stale{true}} {
		if out := w.handle(ev, nil); len(out.Commands) > 0 {
			t.Fatalf("%T gives %+v", ev, out.Commands)
		}
	}
	w.deliverAll()
	if out := w.resolve(key(2, 0), channel.Fail{}); len(out.Commands) != 1 {
		t.Fatal("the answer was not passed on")
	}
}

// A preimage is passed on even if a failure was decided before.
func TestPreimageAfterFailure(t *testing.T) {
	w := pairWorld(t)
	w.offer(forwardOffer(key(1, 0), "alice", "h", 1_000_000, 1500, 22))
	w.deliverAll()
	w.resolve(key(2, 0), channel.Fail{})
	late := Resolved{channel.Resolved{Key: key(2, 0), Origin: channel.Forward{In: key(1, 0)}, Outcome: channel.Fulfill{Preimage: preimageOf("h")}}}
	out := w.handle(late, nil)
	if cmd, ok := out.Commands[0].(Settle); !ok || cmd.Outcome.(channel.Fulfill).Preimage != preimageOf("h") || len(cmd.Clear) != 1 {
		t.Fatalf("%+v", out.Commands)
	}
	// And never the other way round.
	late.Outcome = channel.Fail{}
	if out := w.handle(late, nil); len(out.Commands)+len(out.Rows) > 0 {
		t.Fatalf("%+v", out)
	}
}

// A settled row is written with the outgoing channel's turn, for a live incoming HTLC only, and is to be deleted by the incoming one's.
func TestSettledRow(t *testing.T) {
	w := pairWorld(t)
	w.offer(forwardOffer(key(1, 0), "alice", "h", 1_000_000, 1500, 22))
	w.deliverAll()
	out := w.resolve(key(2, 0), channel.Fulfill{Preimage: preimageOf("h")})
	clear := out.Commands[0].(Settle).Clear
	if row := out.Rows[0]; row.Table != TableSettled || row.Value == nil || len(clear) != 1 || string(clear[0].Key) != string(row.Key) || clear[0].Value != nil {
		t.Fatalf("rows %+v, clear %+v", out.Rows, clear)
	}
	gone := Resolved{channel.Resolved{Key: key(2, 1), Origin: channel.Forward{In: key(1, 9)}, Outcome: channel.Fail{}}}
	if out := w.handle(gone, nil); len(out.Rows)+len(out.Commands) > 0 {
		t.Fatalf("%+v", out)
	}
}

// Rebuild deletes settled rows of nobody and tolerates children without a parent.
func TestRebuildOrphans(t *testing.T) {
	w := pairWorld(t)
	row := settledRow(channel.Forward{In: key(1, 9)}, channel.Fail{})
	ours := settledRow(channel.Payment{ID: 9}, channel.Fail{})
	w.write(func(d *disk) {
		d.put([]Row{row, ours})
		d.out[key(2, 0)] = channel.HTLC{Key: key(2, 0), Origin: channel.Forward{In: key(1, 8)}}
		d.out[key(2, 1)] = channel.HTLC{Key: key(2, 1), Origin: channel.Payment{ID: 8}}
	})
	if out := w.restart(); len(out.Rows) != 2 || len(out.Commands) != 0 || len(w.disk.rows) != 0 {
		t.Fatalf("%+v", out)
	}
	for _, k := range []channel.Key{key(2, 0), key(2, 1)} {
		if out := w.resolve(k, channel.Fulfill{}); len(out.Rows)+len(out.Commands)+len(out.Notices) > 0 {
			t.Fatalf("%+v", out)
		}
	}
}

// A failure of an outgoing HTLC that is under way but not irrevocable leaves the HTLC in its channel, and so in Durable.Outgoing:
// its incoming one is on its way, not forwarded afresh.
func TestRebuildWithFailureUnderWay(t *testing.T) {
	w := pairWorld(t)
	w.offer(forwardOffer(key(1, 0), "alice", "h", 1_000_000, 1500, 22))
	w.deliverAll()
	w.restart()
	w.handle(usableChannel(2), nil)
	if w.stateOf(key(1, 0)) != onWay || len(w.inbox) > 0 {
		t.Fatal(w.f.states())
	}
}

// An outgoing HTLC that was resolved may linger in a channel that is on chain: the settled row says more.
func TestRebuildWithLingeringChild(t *testing.T) {
	w := pairWorld(t)
	w.offer(forwardOffer(key(1, 0), "alice", "h", 1_000_000, 1500, 22))
	w.deliverAll()
	w.resolve(key(2, 0), channel.Fail{Reason: []byte("on chain")})
	if out := w.restart(); len(out.Commands) != 1 || w.stateOf(key(1, 0)) != failed {
		t.Fatalf("%+v", out)
	}
	w.deliverAll()
	w.restart()
	if w.stateOf(key(1, 0)) != failed || len(w.disk.rows) > 0 {
		t.Fatal(w.f.states())
	}
}

// Should an incoming HTLC ever have two children, it is failed only when both are gone.
func TestTwoChildren(t *testing.T) {
	w := pairWorld(t)
	w.offer(forwardOffer(key(1, 0), "alice", "h", 1_000_000, 1500, 22))
	w.write(func(d *disk) {
		for id := range uint64(2) {
			d.out[key(2, id)] = channel.HTLC{Key: key(2, id), Origin: channel.Forward{In: key(1, 0)}}
		}
	})
	w.inbox = nil
	w.restart()
	if out := w.resolve(key(2, 0), channel.Fail{}); len(out.Rows)+len(out.Commands) > 0 {
		t.Fatalf("%+v", out)
	}
	if out := w.resolve(key(2, 1), channel.Fail{}); len(out.Commands) != 1 {
		t.Fatalf("%+v", out)
	}
}

// The member row is in the Output that holds.
func TestMemberRowWithHold(t *testing.T) {
	w := pairWorld(t)
	w.handle(holdRequest("alice", "p", 0, 0, "h"), nil)
	out := w.offer(forwardOffer(key(1, 0), "alice", "h", 1_000_000, 1500, 22))
	var member bool
	for _, row := range out.Rows {
		member = member || row.Table == rod.TableMember
	}
	if !member || w.stateOf(key(1, 0)) != held || len(out.Commands) > 0 {
		t.Fatalf("%+v", out)
	}
}

// A release on a stale tip waits; what was released is forwarded when the tip is good.
func TestReleaseOnStaleTip(t *testing.T) {
	w := pairWorld(t)
	w.handle(holdRequest("alice", "p", 0, 0, "h"), nil)
	w.offer(forwardOffer(key(1, 0), "alice", "h", 1_000_000, 1500, 22))
	w.setStale(true)
	if out := w.handle(unblock("p"), nil); len(out.Commands) > 0 || w.stateOf(key(1, 0)) != waiting {
		t.Fatalf("%+v", out)
	}
	if out := w.setStale(false); len(out.Commands) != 1 {
		t.Fatalf("%+v", out)
	}
}

// A stale tip that moves on still gives up what is due.
func TestDeadlineOnStaleTip(t *testing.T) {
	w := pairWorld(t)
	w.handle(holdRequest("alice", "p", 0, 1100, "h"), nil)
	w.offer(forwardOffer(key(1, 0), "alice", "h", 1_000_000, 1500, 22))
	w.setStale(true)
	if out := w.block(1100); len(out.Commands) != 1 {
		t.Fatalf("%+v", out)
	}
}

// After a reorganisation a deadline that was passed counts again.
func TestDeadlineAfterReorganisation(t *testing.T) {
	w := pairWorld(t)
	w.handle(holdRequest("alice", "p", 0, 1100, "h"), nil)
	w.offer(forwardOffer(key(1, 0), "alice", "h", 1_000_000, 1500, 22))
	w.handle(unblock("p"), nil)
	w.block(1100) // on its way: nothing happens
	w.block(1099)
	w.deliver(true)
	if w.stateOf(key(1, 0)) != waiting {
		t.Fatal(w.f.states())
	}
	if out := w.block(1100); len(out.Commands) != 1 || w.stateOf(key(1, 0)) != failed {
		t.Fatalf("%+v", out)
	}
}

// A forward's hash may be that of an invoice of ours: the ledger is not looked at.
func TestForwardOfOurOwnHash(t *testing.T) {
	w := pairWorld(t)
	w.handle(Register{invoiceFor("h", 0, 2_000_000)}, nil)
	out := w.offer(forwardOffer(key(1, 0), "alice", "h", 1_000_000, 1500, 22))
	if _, ok := out.Commands[0].(Add); !ok {
		t.Fatalf("%+v", out)
	}
}

// Only so many ordinary HTLCs wait for one peer.
func TestWaitPerPeer(t *testing.T) {
	w := pairWorld(t)
	w.handle(Unusable{2}, nil)
	w.device("carol", true)
	for id := range uint64(40) {
		w.offer(forwardOffer(key(1, id), "alice", "h", 1_000_000, 1500, 22))
	}
	if n := len(w.f.peer(nodeID("carol")).waiting); n != w.cfg.WaitPerPeer {
		t.Fatalf("%d wait", n)
	}
}

// No event panics, whatever it names.
func TestEventsForNobody(t *testing.T) {
	w := newWorld(t)
	for _, ev := range []Event{
		Resolved{}, Resolved{channel.Resolved{Origin: channel.Payment{}, Outcome: channel.Fail{}}}, Refused{}, Settled{},
		Usable{}, Unusable{}, ShuttingDown{}, OnChain{}, Closed{}, Block{}, Tick{}, Stale{}, PeerDevice{}, Register{}, Cancel{}, Forget{},
		Pay{}, ForgetPayment{}, Offered{}, Channel{}, Closed{}, Channel{Peer: nodeID("x")}, Rod{rod.Unblock{}},
	} {
		w.f.Handle(ev)
	}
}

// An outgoing HTLC that timed out on chain brings no reason from downstream: the message is ours to make, permanent_channel_failure
// (BOLT 4), and nothing is wrapped.
func TestFailureFromTheChain(t *testing.T) {
	w := pairWorld(t)
	w.offer(forwardOffer(key(1, 0), "alice", "h", 1_000_000, 1500, 22))
	w.deliverAll()
	out := w.resolve(key(2, 0), channel.Fail{})
	cmd, ok := out.Commands[0].(FailWith)
	if !ok || cmd.Message.Code() != lnwire.CodePermanentChannelFailure {
		t.Fatalf("%T", out.Commands[0])
	}
}

// An HTLC that exceeds the dust exposure is failed, whatever its onion says, at once and after a restart (BOLT 2 "Bounding exposure to
// trimmed in-flight HTLCs").
func TestTooMuchDustIsFailed(t *testing.T) {
	peeled := Peel(func(*channel.HTLC) (*onion.Hop, *onion.Failure) { return &onion.Hop{Final: true}, nil })
	offered := Hear(1, nodeID("alice"), channel.Committed{HTLC: channel.HTLC{Key: key(1, 0)}, TooMuchDust: true}, peeled).(Offered)
	if offered.Hop != nil || offered.Failure == nil || offered.Failure.Message.Code() != lnwire.CodeTemporaryChannelFailure {
		t.Fatalf("%+v", offered)
	}
	if hop, failure := peeled.open(&channel.HTLC{}, false); hop == nil || failure != nil {
		t.Fatal("an ordinary HTLC is failed")
	}
}

// An HTLC that is forwarded says when its money has to be back: before the incoming one expires, and not before its own
// cltv_expiry.
func TestBack(t *testing.T) {
	for _, test := range []struct{ delta, want uint32 }{{34, 1488}, {80, 1488}, {5, 1495}} {
		w := newWorld(t)
		policy := standardPolicy()
		policy.CltvExpiryDelta = uint16(test.delta)
		w.introduce(Channel{ID: 1, Peer: nodeID("alice"), Policy: policy})
		w.introduce(Channel{ID: 2, Peer: nodeID("carol"), SCIDs: []lnwire.ShortChannelID{scidOf(22)}, Policy: policy})
		w.handle(usableChannel(2), nil)
		o := forwardOffer(key(1, 0), "alice", "h", 1_000_000, 1500, 22)
		o.Hop.Cltv = 1500 - test.delta
		add, ok := w.offer(o).Commands[0].(Add)
		if !ok || add.HTLC.Back != test.want {
			t.Errorf("cltv_expiry_delta %d: %+v", test.delta, add.HTLC.Back)
		}
	}
}
