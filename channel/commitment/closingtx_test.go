package commitment

import (
	"bytes"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/wire"
)

// program is a witness program, n bytes of fill.
func program(version byte, n int, fill byte) []byte {
	return append([]byte{version, byte(n)}, bytes.Repeat([]byte{fill}, n)...)
}

const op1 = 0x51

var (
	p2wpkh = program(0, 20, 7)
	p2tr   = program(op1, 32, 9)
	p2pkh  = append(append([]byte{0x76, 0xa9, 20}, make([]byte, 20)...), 0x88, 0xac)
	p2sh   = append(append([]byte{0xa9, 20}, make([]byte, 20)...), 0x87)
)

func TestShutdownScripts(t *testing.T) {
	for _, c := range []struct {
		name      string
		script    []byte
		valid     bool
		anySegwit bool // valid with option_shutdown_anysegwit
		dust      int64
	}{
		{name: "P2WPKH", script: p2wpkh, valid: true, anySegwit: true, dust: 294},
		{name: "P2WSH", script: program(0, 32, 1), valid: true, anySegwit: true, dust: 330},
		{name: "version 0 of 31 bytes", script: program(0, 31, 1), dust: 354},
		{name: "P2TR", script: p2tr, anySegwit: true, dust: 354},
		{name: "version 16 of 40 bytes", script: program(0x60, 40, 1), anySegwit: true, dust: 354},
		{name: "version 1 of 2 bytes", script: program(op1, 2, 1), anySegwit: true, dust: 354},
		{name: "P2A", script: []byte{op1, 2, 0x4e, 0x73}, anySegwit: true, dust: 240},
		{name: "version 1 of 1 byte", script: program(op1, 1, 1), dust: 546},
		{name: "version 1 of 41 bytes", script: program(op1, 41, 1), dust: 546},
		{name: "version 17", script: program(0x61, 20, 1), dust: 546},
		{name: "OP_1NEGATE", script: program(0x4f, 20, 1), dust: 546},
		{name: "wrong length", script: program(0, 20, 1)[:21], dust: 546},
		{name: "trailing byte", script: append(program(op1, 32, 1), 0x51), dust: 546},
		{name: "P2PKH", script: p2pkh, dust: 546},
		{name: "P2SH", script: p2sh, dust: 540},
		{name: "OP_RETURN", script: []byte{0x6a, 6, 1, 2, 3, 4, 5, 6}, dust: 0},
		{name: "empty", script: nil, dust: 546},
		{name: "one byte", script: []byte{0}, dust: 546},
	} {
		if got := ValidShutdownScript(c.script, false); got != c.valid {
			t.Errorf("%s: valid %v", c.name, got)
		}
		if got := ValidShutdownScript(c.script, true); got != c.anySegwit {
			t.Errorf("%s: valid with option_shutdown_anysegwit %v", c.name, got)
		}
		if got := DustLimitFor(c.script); got != c.dust {
			t.Errorf("%s: dust limit %d, want %d", c.name, got, c.dust)
		}
	}
}

func TestClosingTx(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Closing)
		want   []int64 // values in order
		err    string
	}{
		{"both", func(*Closing) {}, []int64{299_999, 699_500}, ""},
		{"accepter has more", func(c *Closing) { c.Opener.Amount, c.Accepter.Amount = 300_000_000, 700_000_000 },
			[]int64{299_500, 700_000}, ""},
		{"accepter below dust", func(c *Closing) { c.Accepter.Amount = 353_999 }, []int64{699_500}, ""},
		{"accepter at dust", func(c *Closing) { c.Accepter.Amount = 354_000 }, []int64{354, 699_500}, ""},
		{"opener below dust after the fee", func(c *Closing) { c.Fee = 700_000 - 353 }, []int64{299_999}, ""},
		{"fee is all the opener has", func(c *Closing) { c.Fee = 700_000 }, []int64{299_999}, ""},
		{"opener omits its output", func(c *Closing) { c.Opener.Omit = true }, []int64{299_999}, ""},
		{"accepter omits its output", func(c *Closing) { c.Accepter.Omit = true }, []int64{699_500}, ""},
		{"same value, order of scripts", func(c *Closing) {
			c.Opener.Amount, c.Accepter.Amount, c.Fee = 400_000_000, 400_000_000, 0
		}, []int64{400_000, 400_000}, ""},
		{"fee above the opener's balance", func(c *Closing) { c.Fee = 700_001 }, nil,
			"fee_satoshis 700001 not in 0..700000, the opener's balance"},
		{"negative fee", func(c *Closing) { c.Fee = -1 }, nil, "fee_satoshis -1 not in"},
		{"above capacity", func(c *Closing) { c.Accepter.Amount += 2 }, nil, "exceed capacity 1000000000 msat"},
		{"overflow", func(c *Closing) { c.Accepter.Amount = 1<<64 - 1 }, nil, "exceed capacity"},
		{"capacity", func(c *Closing) { c.Capacity = -1 }, nil, "capacity -1 satoshi not in"},
		{"nothing left", func(c *Closing) { c.Opener.Omit, c.Accepter.Omit = true, true }, nil, "no closing output"},
		{"dust for its script", func(c *Closing) { c.Accepter.Amount, c.Accepter.Script = 400_000, p2pkh }, nil,
			"closing output 400 satoshi below dust limit 546 of its script"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRand(t)
			w := newWorld(t, r)
			cl := Closing{Funding: w.static.Funding, Capacity: 1_000_000, Fee: 500, DustLimit: 354,
				Opener:   ClosingOutput{Amount: 700_000_001, Script: p2tr},
				Accepter: ClosingOutput{Amount: 299_999_999, Script: p2wpkh},
			}
			c.change(&cl)
			tx, err := ClosingTx(cl)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(tx.TxOut) != len(c.want) {
				t.Fatalf("%d outputs, want %d", len(tx.TxOut), len(c.want))
			}
			var scripts [][]byte
			for i, out := range tx.TxOut {
				if out.Value != c.want[i] {
					t.Errorf("output %d of %d satoshi, want %d", i, out.Value, c.want[i])
				}
				if i > 0 && out.Value == tx.TxOut[0].Value && bytes.Compare(tx.TxOut[0].PkScript, out.PkScript) > 0 {
					t.Error("outputs of the same value not in the order of their scripts")
				}
				scripts = append(scripts, out.PkScript)
			}
			if tx.Version != 2 || tx.LockTime != 0 || tx.TxIn[0].Sequence != wire.MaxTxInSequenceNum {
				t.Errorf("version %d locktime %d sequence %x", tx.Version, tx.LockTime, tx.TxIn[0].Sequence)
			}
			if _, ok := Number(tx, w.static.Obscure); ok {
				t.Error("a closing transaction has a commitment number")
			}

			a, b := pubKey(w.owner.Funding), pubKey(w.other.Funding)
			script, pkScript := FundingScript(a, b)
			job := SignJob{Key: KeyFunding, Digest: FundingDigest(tx, script, cl.Capacity)}
			tx.TxIn[0].Witness = FundingStack(script, a, b, SignWith(job, &w.owner), SignWith(job, &w.other))
			mustSpend(t, tx, 0, &wire.TxOut{Value: cl.Capacity, PkScript: pkScript})
			if got, want := blockchain.GetTransactionWeight(btcutil.NewTx(tx)), ClosingWeight(scripts...); got > want || got < want-8 {
				t.Errorf("weight %d, expected %d", got, want)
			}
		})
	}
}
