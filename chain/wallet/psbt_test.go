package wallet

import (
	"bytes"
	"slices"
	"testing"

	"lightningrod/chain/embedded"

	"github.com/btcsuite/btcd/btcutil/psbt"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
)

// roundTrip is the packet as another program would get it.
func roundTrip(t *testing.T, p *psbt.Packet) *psbt.Packet {
	t.Helper()
	s, err := p.B64Encode()
	if err != nil {
		t.Fatal(err)
	}
	q, err := psbt.NewFromRawBytes(bytes.NewReader([]byte(s)), true)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestPSBT(t *testing.T) {
	d := ready(t, 100_000, 200_000, 30_000)
	p, err := psbt.New(nil, []*wire.TxOut{foreign(250_000)}, 2, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := d.FundPSBT(p, 1000, Options{Change: P2TR})
	if err != nil {
		t.Fatal(err)
	}
	d.save(rows)
	d.restart()
	p = roundTrip(t, p)
	if len(p.Inputs) != 2 || len(p.Outputs) != 2 {
		t.Fatalf("%d inputs, %d outputs", len(p.Inputs), len(p.Outputs))
	}
	if p.Inputs[0].TaprootInternalKey == nil || len(p.Inputs[1].Bip32Derivation) != 1 || len(p.Outputs[1].TaprootBip32Derivation) != 1 {
		t.Error("keys are not described")
	}
	want := []uint32{1<<31 + 84, 1<<31 + 1, 1 << 31, 0, 0}
	if got := p.Inputs[1].Bip32Derivation[0].Bip32Path; !slices.Equal(got, want) {
		t.Errorf("path %v, want %v", got, want)
	}
	if n, err := d.SignPSBT(p); err != nil || n != 2 {
		t.Fatalf("%d signed, %v", n, err)
	}
	p = roundTrip(t, p)
	if err := psbt.MaybeFinalizeAll(p); err != nil {
		t.Fatal(err)
	}
	tx, err := psbt.Extract(p)
	if err != nil {
		t.Fatal(err)
	}
	d.wantRate(tx, 1000, 0)
	d.publish(tx)
	d.mine(1)
	if c, u := d.Balance(); int64(c) != 30_000+tx.TxOut[1].Value || u != 0 {
		t.Errorf("balance %v, %v", c, u)
	}
}

// TestSignPSBT signs our part of a transaction that somebody else has put together.
func TestSignPSBT(t *testing.T) {
	d := ready(t, 100_000, 200_000)
	coins := d.Coins()
	slices.SortFunc(coins, func(a, b Coin) int { return int(a.Value - b.Value) }) // P2WPKH first
	b, err := d.c.Block(9)
	if err != nil {
		t.Fatal(err)
	}
	theirs := wire.OutPoint{Hash: b.Txs[0].TxHash()}
	packet := func() *psbt.Packet {
		p, err := psbt.New([]*wire.OutPoint{&coins[0].Out, &theirs, &coins[1].Out},
			[]*wire.TxOut{foreign(250_000), wire.NewTxOut(b.Txs[0].TxOut[0].Value+45_000, embedded.AnyoneCanSpend)}, 2, 0,
			[]uint32{wire.MaxTxInSequenceNum, wire.MaxTxInSequenceNum, wire.MaxTxInSequenceNum})
		if err != nil {
			t.Fatal(err)
		}
		p.Inputs[1].NonWitnessUtxo = b.Txs[0]
		return p
	}
	p := packet()
	if n, err := d.SignPSBT(p); err != nil || n != 2 {
		t.Fatalf("%d signed, %v", n, err)
	}
	p.Inputs[1].FinalScriptWitness = []byte{1, 1, txscript.OP_TRUE}
	p = roundTrip(t, p)
	if err := psbt.MaybeFinalizeAll(p); err != nil {
		t.Fatal(err)
	}
	tx, err := psbt.Extract(p)
	if err != nil {
		t.Fatal(err)
	}
	d.fee(tx)

	for name, spoil := range map[string]func(p *psbt.Packet){
		"wrong value":   func(p *psbt.Packet) { p.Inputs[0].WitnessUtxo = wire.NewTxOut(1, coins[0].Script) },
		"wrong script":  func(p *psbt.Packet) { p.Inputs[2].WitnessUtxo = wire.NewTxOut(200_000, coins[0].Script) },
		"sighash":       func(p *psbt.Packet) { p.Inputs[0].SighashType = txscript.SigHashNone },
		"unknown input": func(p *psbt.Packet) { p.Inputs[1].NonWitnessUtxo = nil },
		"few inputs":    func(p *psbt.Packet) { p.Inputs = p.Inputs[:2] },
	} {
		p := packet()
		spoil(p)
		if _, err := d.SignPSBT(p); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	if _, err := d.FundPSBT(packet(), 1000, Options{}); err == nil {
		t.Error("a packet with inputs is funded")
	}
}
