package wallet

import (
	"bytes"
	"testing"

	"lightningrod/chain/embedded"

	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// sample is a wallet with every kind of row, in most of their states.
func sample(t testing.TB) *desk {
	d := ready(t, 100_000, 200_000, 300_000)
	spent := d.fund([]*wire.TxOut{foreign(250_000)}, 1000, Options{Publish: true})
	d.publish(spent)
	d.mine(1)
	d.fund([]*wire.TxOut{foreign(150_000)}, 1000, Options{})
	if _, err := d.c.Mine(1, d.newAddress(P2WPKH)); err != nil {
		t.Fatal(err)
	}
	d.follow()
	return d
}

func TestRowsRefused(t *testing.T) {
	params := embedded.Params()
	coin := append([]byte{rowCoin}, make([]byte, 36)...)
	for name, r := range map[string]Row{
		"no key":           {nil, []byte{version}},
		"unknown key":      {[]byte("z"), []byte{version}},
		"long key":         {[]byte("tt"), []byte{version}},
		"branch":           {[]byte{rowBranch, branches}, make([]byte, 13)},
		"no value":         {[]byte{rowTip}, nil},
		"version":          {[]byte{rowTip}, []byte{2}},
		"birthday, long":   {[]byte{rowBirthday}, append([]byte{version}, make([]byte, 5)...)},
		"short":            {[]byte{rowBranch, 0}, []byte{version, 0, 0}},
		"too long":         {[]byte{rowBranch, 0}, append([]byte{version}, make([]byte, 13)...)},
		"top absurd":       {[]byte{rowBranch, 0}, []byte{version, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0}},
		"floor above top":  {[]byte{rowBranch, 0}, []byte{version, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 8}},
		"coin of no value": {coin, append([]byte{version}, make([]byte, 22)...)},
		"transaction":      {append([]byte{rowPending}, make([]byte, 32)...), append([]byte{version}, make([]byte, 9)...)},
	} {
		if _, err := New(testSeed, params, []Row{r}); err == nil {
			t.Errorf("%s: loaded", name)
		}
	}
}

// FuzzRows loads a row into a wallet with scripts; what is accepted has exactly one encoding.
func FuzzRows(f *testing.F) {
	for _, r := range sample(f).Rows() {
		f.Add(r.Key, r.Value)
	}
	f.Add([]byte{}, []byte{})
	f.Add([]byte{rowBirthday}, []byte{version, 0, 0, 1, 2})
	f.Add([]byte{rowTip}, []byte{version, 0, 0, 0, 0, 0, 0, 0, 0})
	base, err := New(testSeed, &chaincfg.RegressionNetParams, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if len(key) == 2 && len(value) == 13 && bytes.Compare(value[9:], []byte{0, 0, 1, 0}) > 0 {
			return // valid perhaps, but hundreds of keys to derive
		}
		w := *base
		if len(key) == 2 && key[0] == rowBranch && key[1] < branches { // a branch without scripts, as New has it before it loads
			b := *w.branches[key[1]]
			b.top = 0
			w.branches[key[1]], w.places, w.scripts = &b, map[string]place{}, map[place][]byte{}
		}
		w.coins, w.pending = map[wire.OutPoint]*coin{}, map[chainhash.Hash]*pending{}
		if err := w.load([]Row{{key, value}}); err != nil {
			return
		}
		if got := w.value(key); !bytes.Equal(got, value) {
			t.Errorf("row %x\n%x decodes to\n%x", key, value, got)
		}
	})
}
