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
