package invoice

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"

	"lightningrod/onion"

	"github.com/btcsuite/btcd/chaincfg"
	"github.com/google/go-cmp/cmp"
	"github.com/lightningnetwork/lnd/lnwire"
)

// blip39 is the example of bLIP 39.
var blip39 = strings.TrimSpace(string(must(os.ReadFile("testdata/blip39.txt"))))

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func point(s string) [33]byte { return [33]byte(unhex(s)) }

// pathsOfBlip39 is the breakdown under the example.
func pathsOfBlip39() []onion.PaymentPath {
	const first, second, third = "03a8c97ed5cd40d474e4ef18c899854b25e5070106504cb225e6d2c112d61a805e",
		"0220293926219d8efe733336e2b674570dd96aa763acb3564e6e367b384d861a0a", "02c75eb336a038294eaaf760158b2e851c3c0937262e35401ae64a1bee71a2e40c"
	return []onion.PaymentPath{
		{
			Path: onion.BlindedPath{
				First: point(first), PathKey: point("03f3311e948feb5115242c4e396c81c448ab7ee5fd24c4e24e66c73533cc4f98b8"),
				Hops: []onion.BlindedHop{{Node: point(first), Data: unhex("0102030405")}, {Node: point(second), Data: unhex("0504030201")},
					{Node: point(third), Data: unhex("0102030405060708090a0b0c0d0e")}},
			},
			Total:       onion.PaymentRelay{FeeBase: 40, FeeProportional: 20, CltvExpiryDelta: 130},
			HtlcMinimum: 2, HtlcMaximum: 100,
		},
		{
			Path:        onion.BlindedPath{First: point(second), PathKey: point(third), Hops: []onion.BlindedHop{{Node: point(second), Data: unhex("0102030405")}}},
			Total:       onion.PaymentRelay{FeeBase: 4, FeeProportional: 2, CltvExpiryDelta: 10},
			HtlcMaximum: 10,
		},
	}
}

func TestBlip39(t *testing.T) {
	got, err := Decode(blip39, &chaincfg.MainNetParams)
	if err != nil {
		t.Fatal(err)
	}
	want := &Invoice{
		Node: [33]byte(exampleKey.PubKey().SerializeCompressed()), Amount: 2_000_000_000, Description: "1 cup coffee",
		Hash:    [32]byte(unhex("0001020304050607080900010203040506070809000102030405060708090102")),
		Created: time.Unix(1496314658, 0), Expiry: time.Hour, Features: lnwire.NewRawFeatureVector(), Paths: pathsOfBlip39(),
	}
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Error(diff)
	}
}

func TestPathsRoundTrip(t *testing.T) {
	want := &Invoice{
		Node: [33]byte(exampleKey.PubKey().SerializeCompressed()), Hash: [32]byte{1}, Created: time.Unix(1700000000, 0), Expiry: time.Hour,
		Features: BlindedFeatures(), Paths: pathsOfBlip39(),
	}
	want.Paths[1].Features = unhex("0100")
	in := *want
	in.Features = nil
	got, err := Decode(must(New(in, &chaincfg.RegressionNetParams, exampleKey)), &chaincfg.RegressionNetParams)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Error(diff)
	}
}

func TestPathsThatAreNotWritten(t *testing.T) {
	for want, change := range map[string]func(*Invoice){
		"blinded paths and a payment_secret": func(i *Invoice) { i.Secret = [32]byte{1} },
		"min_final_cltv_expiry_delta":        func(i *Invoice) { i.MinFinalCltv = 18 },
		"route hint":                         func(i *Invoice) { i.Hints = [][]Hint{make([]Hint, 1)} },
		"path 0 has 8 hops":                  func(i *Invoice) { i.Paths[0].Path.Hops = make([]onion.BlindedHop, 8) },
		"path 1: blinded_payinfo of 0 hops":  func(i *Invoice) { i.Paths[1].Path.Hops = nil },
		"limit is 639":                       func(i *Invoice) { i.Paths[0].Path.Hops[2].Data = make([]byte, 500) },
		"535":                                func(i *Invoice) { i.Paths[1].Path.Hops[0].Data = make([]byte, 536) },
	} {
		inv := Invoice{Hash: [32]byte{1}, Created: time.Unix(1700000000, 0), Paths: pathsOfBlip39()}
		change(&inv)
		if _, err := New(inv, &chaincfg.RegressionNetParams, exampleKey); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestPathsThatAreNotRead(t *testing.T) {
	head := "pp5" + strings.Repeat("q", 52) + "dqq"
	field := func(letter byte, bytes string) string {
		var b strings.Builder
		groups := toGroups(unhex(bytes))
		for _, g := range append([]byte{byte(strings.IndexByte(alphabet, letter)), byte(len(groups) >> 5), byte(len(groups) & 31)}, groups...) {
			b.WriteByte(alphabet[g])
		}
		return b.String()
	}
	good := hex.EncodeToString(must(pathsOfBlip39()[1].Encode()))
	hint := hex.EncodeToString(pathsOfBlip39()[0].Path.First[:]) + strings.Repeat("00", hintSize-33)
	for _, v := range []struct{ name, tagged, want string }{
		{"as it should be", head + field(pathLetter, good), ""},
		{"two", head + field(pathLetter, good) + field(pathLetter, good), ""},
		{"and payment_secret", head + field(pathLetter, good) + "sp5" + strings.Repeat("q", 52), "blinded paths and a payment_secret"},
		{"and a route hint", head + field(pathLetter, good) + field('r', hint), "both route hints and blinded"},
		// Its reader would make two zeros of what is missing.
		{"two bytes short", head + field(pathLetter, good[:len(good)-4]), "encrypted_recipient_data of 5 bytes, 3 left"},
		{"a byte too many", head + field(pathLetter, good+"00"), "1 bytes too many"},
		{"empty", head + "5qq", "EOF"},
	} {
		t.Run(v.name, func(t *testing.T) {
			_, err := Decode(sign(t, "lnbcrt", v.tagged), &chaincfg.RegressionNetParams)
			if (v.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), v.want) {
				t.Errorf("error %v, want %q", err, v.want)
			}
		})
	}
}

// toGroups is the inverse of bytesOf.
func toGroups(b []byte) (groups []byte) {
	acc, bits := uint(0), 0
	for _, v := range b {
		acc, bits = acc<<8|uint(v), bits+8
		for bits >= 5 {
			bits -= 5
			groups = append(groups, byte(acc>>bits)&31)
		}
	}
	if bits > 0 {
		groups = append(groups, byte(acc<<(5-bits))&31)
	}
	return groups
}
