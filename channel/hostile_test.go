package channel_test

import (
	"testing"

	"lightningrod/channel"
	"lightningrod/channel/channeltest"

	"github.com/lightningnetwork/lnd/lnwire"
)

// TestFeesWithoutRevoke: a peer that changes the fee and signs, again and again, but never revokes, does not make the state
// grow. The rates it has signed for meanwhile are all at one stage, so only the last of them counts.
func TestFeesWithoutRevoke(t *testing.T) {
	p, err := channeltest.Open(channeltest.Options{Toy: true, Push: 400_000_000})
	step(t, err)
	alice, bob := p.Sides[0], p.Sides[1]
	step(t, p.Do(1, channel.Add{HTLC: channeltest.HTLC(1, 10_000_000, 700)})) // bob awaits alice's revoke_and_ack
	for i := range 600 {
		step(t, p.Do(1, channel.Received{Msg: lnwire.NewUpdateFee(bob.State.ChannelID(), 300+uint32(i))}))
		step(t, p.Do(1, channel.Received{Msg: bob.State.NextCommit(bob.Crypto, alice.Crypto)}))
	}
	if n := bob.State.Fees(); n > 5 || bob.State.Phase() != channel.PhaseNormal {
		t.Fatalf("%d fee rates\n%v", n, bob.State)
	}
}

// TestTooMuchDust: HTLCs that exceed max_dust_htlc_exposure_msat are said to be so when they are committed, and after a
// restart still are, even when those beside them have gone.
func TestTooMuchDust(t *testing.T) {
	p, err := channeltest.Open(channeltest.Options{Toy: true, Push: 400_000_000, Params: func(side int, p *channel.Params) {
		if side == 1 {
			p.MaxDustExposure = 500_000
		}
	}})
	step(t, err)
	bob := p.Sides[1]
	add := func(n uint64, amount lnwire.MilliSatoshi) {
		t.Helper()
		step(t, p.Do(0, channel.Add{HTLC: channeltest.HTLC(n, amount, 700)}))
		step(t, p.DeliverAll())
	}
	add(0, 300_000)    // below the limit
	add(1, 10_000_000) // no dust
	add(2, 200_001)    // one msat too much
	add(3, 20_000_000) // no dust
	add(4, 1)          // still too much
	told := map[uint64]bool{}
	for _, n := range bob.Notices {
		if c, ok := n.(channel.Committed); ok {
			told[c.HTLC.Key.HTLC] = c.TooMuchDust
		}
	}
	step(t, p.Do(1, channel.Settle{HTLC: 0, Outcome: channel.Fail{}}))
	step(t, p.DeliverAll())
	step(t, p.Crash(1))
	want := map[uint64]bool{1: false, 2: true, 3: false, 4: true}
	if len(bob.State.Received()) != len(want) || told[0] {
		t.Fatal(bob.State, told)
	}
	for _, h := range bob.State.Received() {
		if id := h.HTLC.Key.HTLC; h.TooMuchDust != want[id] || told[id] != want[id] {
			t.Errorf("htlc %d: told %v, after the restart %v, expected %v", id, told[id], h.TooMuchDust, want[id])
		}
	}
}

// TestEqualHashes: two HTLCs of the same hash, amount and expiry are two; the one that is failed and the one that is
// fulfilled are told apart by their ids, whatever their order.
func TestEqualHashes(t *testing.T) {
	for fulfilled := range uint64(2) {
		p, err := channeltest.Open(channeltest.Options{Toy: true, Wire: true, Push: 400_000_000})
		step(t, err)
		for n := range uint64(2) {
			h := channeltest.HTLC(1, 50_000_000, 700)
			h.Origin = channel.Payment{ID: 10 + n}
			step(t, p.Do(0, channel.Add{HTLC: h}))
		}
		step(t, p.DeliverAll())
		step(t, p.Do(1, channel.Settle{HTLC: fulfilled, Outcome: channel.Fulfill{Preimage: channeltest.Preimage(1)}},
			channel.Settle{HTLC: 1 - fulfilled, Outcome: channel.Fail{Reason: []byte{1}}}))
		step(t, p.DeliverAll())
		step(t, p.Agree())
		if l, _ := p.Sides[0].State.Balance(); l != 550_000_000 {
			t.Fatal(p.Sides[0].State)
		}
		for _, n := range p.Sides[0].Notices {
			r, ok := n.(channel.Resolved)
			if _, got := channel.Outcome(r.Outcome).(channel.Fulfill); ok && (got != (r.Key.HTLC == fulfilled) || r.Origin != channel.Payment{ID: 10 + r.Key.HTLC}) {
				t.Errorf("%s for %v", channel.DescribeNotice(r), r.Origin)
			}
		}
	}
}
