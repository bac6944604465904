package peer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/google/go-cmp/cmp"
	"github.com/lightningnetwork/lnd/lnwire"
)

var regtest = *chaincfg.RegressionNetParams.GenesisHash

func initVectors(t testing.TB) [][]string {
	t.Helper()
	data, err := os.ReadFile("testdata/bolt01-init.txt")
	if err != nil {
		t.Fatal(err)
	}
	var vs [][]string
	for line := range strings.Lines(string(data)) {
		vs = append(vs, strings.Fields(line))
	}
	return vs
}

// BOLT 1 Appendix C.
func TestInitExtensions(t *testing.T) {
	for _, v := range initVectors(t) {
		t.Run(v[1], func(t *testing.T) {
			_, err := decodeInit(fromHex(t, v[1]))
			if valid := v[0] == "valid"; valid != (err == nil) {
				t.Errorf("%s, but decoding gives %v", v[0], err)
			}
		})
	}
}

func TestInitEncoding(t *testing.T) {
	m := Init{
		Features:   LSPFeatures(),
		Chains:     []chainhash.Hash{regtest, {1}},
		RemoteAddr: describeAddr(&net.TCPAddr{IP: net.IPv4(8, 8, 8, 8), Port: 9735}),
	}
	b := m.encode()
	got, err := decodeInit(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, got); diff != "" {
		t.Error(diff)
	}

	// lnd's codec reads the same.
	msg, err := lnwire.ReadMessage(bytes.NewReader(b), 0)
	if err != nil {
		t.Fatal(err)
	}
	init := msg.(*lnwire.Init)
	if got, want := hex.EncodeToString(init.ExtraData), hex.EncodeToString(b[len(b)-2-64-2-7:]); got != want {
		t.Errorf("extension %s, want %s", got, want)
	}
	for _, bit := range m.Features.Bits() {
		if !init.Features.IsSet(lnwire.FeatureBit(bit)) {
			t.Errorf("bit %d missing in features", bit)
		}
		if low := init.GlobalFeatures.IsSet(lnwire.FeatureBit(bit)); low != (bit <= 13) {
			t.Errorf("bit %d in globalfeatures: %v", bit, low)
		}
	}
}

func TestInitCombinesFeatures(t *testing.T) {
	for _, v := range []struct{ low, high, want string }{
		{"", "", ""},
		{"02", "", "02"},
		{"", "02", "02"},
		{"0000", "00", ""},
		{"0102", "80", "0182"},
		{"80", "000102", "0182"},
	} {
		low, high := fromHex(t, v.low), fromHex(t, v.high)
		b := []byte{0, 16, 0, byte(len(low))}
		b = append(b, low...)
		b = append(b, 0, byte(len(high)))
		b = append(b, high...)
		m, err := decodeInit(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(m.Features); got != v.want {
			t.Errorf("%q and %q give %q, want %q", v.low, v.high, got, v.want)
		}
	}
}

func TestInitRefused(t *testing.T) {
	testnet := *chaincfg.TestNet3Params.GenesisHash
	ours := Init{Features: DefaultFeatures(), Chains: []chainhash.Hash{regtest}}
	for _, v := range []struct {
		name   string
		theirs Init
		want   string // part of the error; "": fine
	}{
		{"same as ours", ours, ""},
		{"nothing at all", Init{}, ""},
		{"our chain among others", Init{Chains: []chainhash.Hash{testnet, regtest}}, ""},
		{"other chain", Init{Chains: []chainhash.Hash{testnet}}, "no common chain"},
		{"no chain", Init{Chains: []chainhash.Hash{}}, "no common chain"},
		{"unknown odd bits", Init{Features: NewFeatures(1001, 43, 153)}, ""},
		{"unknown even bit", Init{Features: NewFeatures(1000)}, "feature bit 1000 is required"},
		{"zeroconf required", Init{Features: NewFeatures(46, 50)}, "feature bit 50 is required"},
		{"both bits of a known feature", Init{Features: NewFeatures(14, 15)}, ""},
		{"both bits of an unknown feature", Init{Features: NewFeatures(100, 101)}, "feature bit 100 is required"},
		{"assumed bits required", Init{Features: NewFeatures(0, 8, 12, 14, 44)}, ""},
		{"our optional ones required", Init{Features: NewFeatures(14, 16, 22, 46)}, ""},
		{"basic_mpp without payment_secret", Init{Features: NewFeatures(17)}, "feature 16 without feature 14"},
		{"zeroconf without scid_alias", Init{Features: NewFeatures(51)}, "feature 50 without feature 46"},
		{"simple_close without shutdown_anysegwit", Init{Features: NewFeatures(61)}, "feature 60 without feature 26"},
		{"simple_close complete", Init{Features: NewFeatures(26, 61)}, ""},
	} {
		t.Run(v.name, func(t *testing.T) {
			err := ours.check(v.theirs)
			if (v.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), v.want) {
				t.Errorf("error %v, want %q", err, v.want)
			}
			if wrong := strings.Contains(v.want, "chain"); errors.Is(err, ErrWrongChain) != wrong {
				t.Errorf("%v is ErrWrongChain: %v", err, !wrong)
			}
		})
	}
}

func TestFeatures(t *testing.T) {
	if got, want := DefaultFeatures().String(), "0,7,8,12,14,17,19,23,25,27,39,44,47"; got != want {
		t.Errorf("default features %s, want %s", got, want)
	}
	if got, want := LSPFeatures().String(), "0,7,8,12,14,17,19,23,25,27,39,44,47,729,827,829"; got != want {
		t.Errorf("features of an LSP %s, want %s", got, want)
	}
	f := NewFeatures(9, 12)
	if got := hex.EncodeToString(f); got != "1200" {
		t.Errorf("bits 9 and 12 are %s, want 1200", got)
	}
	for _, bit := range []int{-1, 0, 8, 10, 13, 16, 1 << 20} {
		if f.Has(bit) {
			t.Errorf("bit %d is set", bit)
		}
	}
	if !f.Offers(8) || !f.Offers(9) || f.Requires(8) || !f.Requires(12) || !f.Requires(13) || f.Offers(10) {
		t.Error("offers and requires")
	}
}

func TestDescribeAddr(t *testing.T) {
	for addr, want := range map[string]string{
		"8.8.8.8":         "010808080804d2",
		"::ffff:8.8.8.8":  "010808080804d2",
		"2001:4860::8888": "02200148600000000000000000000088" + "8804d2",
		"127.0.0.1":       "",
		"10.1.2.3":        "",
		"100.64.1.1":      "",
		"169.254.0.1":     "",
		"fd00::1":         "",
		"fe80::1":         "",
		"::1":             "",
	} {
		if got := hex.EncodeToString(describeAddr(&net.TCPAddr{IP: net.ParseIP(addr), Port: 1234})); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

func FuzzDecodeInit(f *testing.F) {
	for _, v := range initVectors(f) {
		f.Add(fromHex(f, v[1]))
	}
	f.Add(Init{Features: LSPFeatures(), Chains: []chainhash.Hash{regtest}, RemoteAddr: []byte{1, 8, 8, 8, 8, 0, 1}}.encode())
	ours := Init{Features: DefaultFeatures(), Chains: []chainhash.Hash{regtest}}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeInit(b)
		if err != nil {
			return
		}
		_ = ours.check(m)
		if len(m.Chains) == 0 {
			m.Chains = nil
		}
		if len(m.RemoteAddr) == 0 {
			m.RemoteAddr = nil
		}
		if len(m.Features) == 0 {
			m.Features = Features{}
		}
		enc := m.encode()
		if len(enc) > maxMessage {
			return // both feature vectors of it were large
		}
		again, err := decodeInit(enc)
		if err != nil {
			t.Fatalf("own encoding of %x: %v", b, err)
		}
		if len(again.Features) == 0 {
			again.Features = Features{}
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
