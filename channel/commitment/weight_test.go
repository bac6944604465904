package commitment

import (
	"testing"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcutil"
	"github.com/lightningnetwork/lnd/input"
)

// TestWeightsOfBOLT derives the weights of BOLT 3 "Fee Calculation" from the parts.
func TestWeightsOfBOLT(t *testing.T) {
	p2wsh := make([]byte, p2wshSize)
	outs := func(n int) (s [][]byte) {
		for range n {
			s = append(s, p2wsh)
		}
		return s
	}
	for _, c := range []struct {
		name      string
		got, want int64
	}{
		// BOLT 3 Appendix A leaves 3 bytes for the count of outputs.
		{"commitment", TxWeight([]int64{FundingWitness}, outs(4)...) + 4*2, CommitmentWeight},
		{"commitment with 5 HTLCs", TxWeight([]int64{FundingWitness}, outs(9)...) + 4*2, Weight(5)},
		{"HTLC-timeout", TxWeight([]int64{HTLCTimeoutWitness}, outs(1)...), HTLCTimeoutWeight},
		// One more for historical reasons, as the appendix says.
		{"HTLC-success", TxWeight([]int64{HTLCSuccessWitness}, outs(1)...) + 1, HTLCSuccessWeight},
		// BOLT 5 Appendix A has 243 and 249 without the 3 bytes of option_anchors, and forgets one of accepted_htlc.
		{"offered_htlc penalty", OfferedPenaltyWitness, 243 + 3},
		{"accepted_htlc penalty", ReceivedPenaltyWitness, 249 + 3 + 1},
		// It has 160 with 8 bytes for a to_self_delay of 3 at most, and forgets the byte of the item 1.
		{"to_local penalty", ToLocalPenaltyWitness, 160 - 5 + 1},
		{"funding, as lnd", FundingWitness, input.MultiSigWitnessSize},
		{"to_remote, as lnd", ToRemoteWitness, input.ToRemoteConfirmedWitnessSize},
		{"anchor, as lnd", AnchorWitness, input.AnchorWitnessSize},
		{"offered by preimage, as lnd", OfferedPreimageWitness, input.OfferedHtlcSuccessWitnessSize + 3},
		{"received by timeout, as lnd", ReceivedTimeoutWitness, input.AcceptedHtlcTimeoutWitnessSize + 3},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.name, c.got, c.want)
		}
	}
}

// TestWeightOfSigned: a signed commitment weighs at most what the fee is for, and a few bytes of signature less.
func TestWeightOfSigned(t *testing.T) {
	b := newBuilt(t, newRand(t))
	ours, theirs := SignAll(b.c.OwnerJobs(b.script), &b.owner), SignAll(b.c.SignJobs(b.script), &b.other)
	tx := b.c.Signed(b.script, ours[0], theirs[0])
	if got, want := blockchain.GetTransactionWeight(btcutil.NewTx(tx)), Weight(len(b.c.HTLCs)); got > want || got < want-16 {
		t.Errorf("weight %d, expected %d", got, want)
	}
	if b.c.Tx.TxIn[0].Witness != nil {
		t.Error("Signed changed the commitment")
	}
}

// TestFeeExample is the example of BOLT 3 "Fee Calculation", with the weights of option_anchors.
func TestFeeExample(t *testing.T) {
	htlcs := []HTLC{{Amount: 5_000_000}, {Amount: 545_999}, {Amount: 546_000}, {Amount: 0}}
	if n := Untrimmed(htlcs, 546); n != 2 {
		t.Errorf("%d untrimmed, want 2", n)
	}
	if fee := FeeFor(5000, 2); fee != 5000*(1124+2*172)/1000 {
		t.Errorf("fee %d", fee)
	}
	if cost := OpenerCost(1<<32-1, MaxHTLCs); cost != int64(1<<32-1)*(1124+172*966)/1000+660 {
		t.Errorf("cost %d", cost)
	}
}
