package channel_test

import (
	"testing"

	"lightningrod/channel"
	"lightningrod/channel/channeltest"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// TestSecondStage: with real signatures and HTLCs both ways, every output for an HTLC in the newest commitment of either
// side can be spent as BOLT 3 has it, by the script engine: by the owner with HTLC-success or HTLC-timeout, alone and with
// an input and an output that pay a fee, and by the other with the preimage or after the timeout.
func TestSecondStage(t *testing.T) {
	p, err := channeltest.Open(channeltest.Options{Wire: true, Push: 400_000_000, FeePerKw: 1000, Params: func(side int, p *channel.Params) {
		if p.Limits.ToSelfDelay = 100; side == 1 {
			p.Limits.DustLimit, p.Limits.ToSelfDelay = 700, 300
		}
	}})
	step(t, err)
	checked := map[string]int{}
	look := func() {
		t.Helper()
		step(t, p.DeliverAll())
		for i, s := range p.Sides {
			secondStage(t, s, p.Sides[1-i], checked)
		}
	}
	for n := range uint64(3) {
		step(t, p.Do(0, channel.Add{HTLC: channeltest.HTLC(n, lnwire.MilliSatoshi(500_000+n*3_000_000), uint32(700+n%2))}))
		step(t, p.Do(1, channel.Add{HTLC: channeltest.HTLC(10+n, 50_000_000, 701)}))
	}
	look()
	step(t, p.Do(0, channel.UpdateFee{FeePerKw: 2500}))
	look()
	step(t, p.Do(1, channel.Settle{HTLC: 1, Outcome: channel.Fulfill{Preimage: channeltest.Preimage(1)}}))
	step(t, p.Do(0, channel.Settle{HTLC: 0, Outcome: channel.Fail{}}))
	look()
	t.Log(checked)
	for _, kind := range []string{"success", "timeout", "preimage", "taken back"} {
		for _, s := range p.Sides {
			if checked[s.Name+" "+kind] < 3 {
				t.Errorf("%s %s: only %d", s.Name, kind, checked[s.Name+" "+kind])
			}
		}
	}
}

func secondStage(t *testing.T, owner, other *channeltest.Side, checked map[string]int) {
	t.Helper()
	cm, sigs, err := owner.State.Newest(owner.Crypto)
	step(t, err)
	if len(sigs) != len(cm.HTLCs) {
		t.Fatalf("%d signatures for %d outputs", len(sigs), len(cm.HTLCs))
	}
	for i, h := range cm.HTLCs {
		prev := cm.Tx.TxOut[h.Index]
		for _, bumped := range []bool{false, true} {
			tx := h.Tx.Copy()
			if bumped {
				tx.TxIn = append(tx.TxIn, &wire.TxIn{PreviousOutPoint: wire.OutPoint{Hash: chainhash.Hash{9}}})
				tx.TxOut = append(tx.TxOut, &wire.TxOut{Value: 1000, PkScript: p2wpkh(9)})
			}
			mid := commitment.NewMidstate(tx)
			job := commitment.SignJob{Key: commitment.KeyHTLC, Point: cm.Keys.PerCommitmentPoint, Digest: mid.Digest(tx, 0, h.Script, prev.Value)}
			sig := owner.Crypto.Sign([]commitment.SignJob{job})[0]
			kind := "timeout"
			if h.HTLC.Offered {
				tx.TxIn[0].Witness = commitment.HTLCTimeoutStack(h.Script, sigs[i], sig)
			} else {
				kind = "success"
				tx.TxIn[0].Witness = commitment.HTLCSuccessStack(h.Script, sigs[i], sig, preimages[h.HTLC.Hash])
			}
			runInput(t, tx, prev)
			checked[owner.Name+" "+kind]++
		}
		at := wire.OutPoint{Hash: cm.TxID, Index: h.Index}
		how, kind := commitment.SpendPreimage(&cm.Keys, h.HTLC, preimages[h.HTLC.Hash], at), "preimage"
		if !h.HTLC.Offered {
			how, kind = commitment.SpendTimeout(&cm.Keys, h.HTLC, at), "taken back"
		}
		tx := &wire.MsgTx{Version: 2, TxIn: []*wire.TxIn{how.Input()}, TxOut: []*wire.TxOut{{Value: 400, PkScript: p2wpkh(9)}}, LockTime: how.LockTime}
		mid := commitment.NewMidstate(tx)
		tx.TxIn[0].Witness = how.Witness(other.Crypto.Sign([]commitment.SignJob{how.Job(&mid, tx, 0)})[0])
		runInput(t, tx, prev)
		checked[other.Name+" "+kind]++
	}
}

// runInput runs the first input of tx, which spends prev, through the script engine.
func runInput(t *testing.T, tx *wire.MsgTx, prev *wire.TxOut) {
	t.Helper()
	prevs := map[wire.OutPoint]*wire.TxOut{}
	for _, in := range tx.TxIn {
		prevs[in.PreviousOutPoint] = prev // of the others only that they exist
	}
	fetch := txscript.NewMultiPrevOutFetcher(prevs)
	vm, err := txscript.NewEngine(prev.PkScript, tx, 0, txscript.StandardVerifyFlags, nil, txscript.NewTxSigHashes(tx, fetch), prev.Value, fetch)
	step(t, err)
	if err := vm.Execute(); err != nil {
		t.Fatal(err)
	}
}
