package invoice

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/lightningnetwork/lnd/lnwire"
)

type example struct {
	Name    string
	Valid   bool
	Invoice string
}

func examples(t testing.TB) []example {
	t.Helper()
	data, err := os.ReadFile("testdata/bolt11.json")
	if err != nil {
		t.Fatal(err)
	}
	var es []example
	if err := json.Unmarshal(data, &es); err != nil {
		t.Fatal(err)
	}
	return es
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

var (
	exampleKey, _ = btcec.PrivKeyFromBytes(unhex("e126f68f7eafcc8b74f54d269fe206be715000f94dac067d1c04a8ca3b2db734"))
	cake          = sha256.Sum256([]byte("One piece of chocolate cake, one icecream cone, one pickle, one slice of swiss cheese, " +
		"one slice of salami, one lollypop, one piece of cherry pie, one sausage, one cupcake, and one slice of watermelon"))
	compare = cmp.Options{
		cmp.Comparer(func(a, b *lnwire.RawFeatureVector) bool { return a.Equals(b) }),
		cmpopts.EquateEmpty(),
	}
)

// common is what all valid examples share, with changes.
func common(change func(*Invoice)) *Invoice {
	inv := &Invoice{
		Node:         [33]byte(unhex("03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad")),
		Hash:         [32]byte(unhex("0001020304050607080900010203040506070809000102030405060708090102")),
		Secret:       [32]byte(unhex(strings.Repeat("11", 32))),
		Created:      time.Unix(1496314658, 0),
		Expiry:       time.Hour,
		MinFinalCltv: 18,
		Features:     lnwire.NewRawFeatureVector(8, 14),
	}
	change(inv)
	return inv
}

// cakes is common for those about a list of things.
func cakes(fallback string, change ...func(*Invoice)) *Invoice {
	return common(func(i *Invoice) {
		i.Amount, i.DescriptionHash, i.Fallback = 2_000_000_000, &cake, fallback
		for _, f := range change {
			f(i)
		}
	})
}

// valid is what the valid examples say, in their order, from the breakdowns in BOLT 11.
var valid = []struct {
	begins string
	want   *Invoice
}{
	{"Please make a donation", common(func(i *Invoice) { i.Description = "Please consider supporting this project" })},
	{"Please send $3 for a cup of coffee", common(func(i *Invoice) {
		i.Amount, i.Description, i.Expiry = 250_000_000, "1 cup coffee", time.Minute
	})},
	{"Please send 0.0025 BTC", common(func(i *Invoice) {
		i.Amount, i.Description, i.Expiry = 250_000_000, "ナンセンス 1杯", time.Minute
	})},
	{"Now send $24", cakes("")},
	{"The same, on testnet", cakes("mk2QpYatsKicvFVuTAQLBryyccRXMUaGHP")},
	{"On mainnet, with fallback address 1Rusty", cakes("1RustyRX2oai4EYYDpQGWvEL62BBGqN9T", func(i *Invoice) {
		i.Hints = [][]Hint{{
			{Node: [33]byte(unhex("029e03a901b85534ff1e92c43c74431f7ce72046060fcf7a95c37e148f78c77255")),
				Channel: lnwire.ShortChannelID{BlockHeight: 66051, TxIndex: 263430, TxPosition: 1800}, FeeBase: 1, FeeRate: 20, CltvDelta: 3},
			{Node: [33]byte(unhex("039e03a901b85534ff1e92c43c74431f7ce72046060fcf7a95c37e148f78c77255")),
				Channel: lnwire.ShortChannelID{BlockHeight: 197637, TxIndex: 395016, TxPosition: 2314}, FeeBase: 2, FeeRate: 30, CltvDelta: 4},
		}}
	})},
	{"On mainnet, with fallback (P2SH)", cakes("3EktnHQD7RiAE6uzMj2ZifT9YgRrkSgzQX")},
	{"On mainnet, with fallback (P2WPKH)", cakes("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")},
	{"On mainnet, with fallback (P2WSH)", cakes("bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3")},
	{"On mainnet, with fallback (P2TR)", cakes("bc1pptdvg0d2nj99568qn6ssdy4cygnwuxgw2ukmnwgwz7jpqjz2kszse2s3lm")},
	{"Please send 0.00967878534 BTC", common(func(i *Invoice) {
		i.Amount, i.Created, i.Expiry, i.MinFinalCltv = 967_878_534, time.Unix(1572468703, 0), 604800*time.Second, 10
		i.Hash = [32]byte(unhex("462264ede7e14047e9b249da94fefc47f41f7d02ee9b091815a5506bc8abf75f"))
		i.Description = `Blockstream Store: 88.85 USD for Blockstream Ledger Nano S x 1, "Back In My Day" Sticker x 2, "I Got Lightning Working" Sticker x 2 and 1 more items`
		i.Hints = [][]Hint{{{Node: [33]byte(unhex("03d06758583bb5154774a6eb221b1276c9e82d65bbaceca806d90e20c108f4b1c7")),
			Channel: lnwire.ShortChannelID{BlockHeight: 589390, TxIndex: 3312, TxPosition: 1}, FeeBase: 1000, FeeRate: 2500, CltvDelta: 40}}}
	})},
	{"Please send $30 for coffee beans", beans},
	{"Same, but all upper case", beans},
	{"Same, but including fields which must be ignored", beans},
	{"Please send 0.01 BTC with payment metadata", common(func(i *Invoice) {
		i.Amount, i.Description, i.Metadata = 1_000_000_000, "payment metadata inside", unhex("01fafaf0")
		i.Features = lnwire.NewRawFeatureVector(8, 14, 48)
	})},
	{"Public-key recovery with high-S", common(func(i *Invoice) {
		i.Description = "Please consider supporting this project"
		// The published signature keeps the recovery id of the low-S one, so that another key is recovered; eclair's tests have this one too.
		i.Node = [33]byte(unhex("02d0139ce7427d6dfffd26a326c18be754ef1e64672b42694ba5b23ef6e6e7803d"))
	})},
}

var beans = common(func(i *Invoice) {
	i.Amount, i.Description, i.Features = 2_500_000_000, "coffee beans", lnwire.NewRawFeatureVector(8, 14, 99)
})

// invalid is what we say of the invalid examples, in their order.
var invalid = []struct{ begins, want string }{
	{"Same, but adding invalid unknown feature 100", "feature bit 100 is required"},
	{"Bech32 checksum is invalid", "checksum failed"},
	{"Malformed bech32 string (no 1)", "no separator"},
	{"Malformed bech32 string (mixed case)", "case mixed"},
	{"Signature is not recoverable", "signature"},
	{"String is too short", "at least 117"},
	{"Invalid multiplier", `amount "2500x"`},
	{"Invalid sub-millisatoshi precision", "not a whole number of msat"},
	{"Missing required `s` field", "no payment_secret"},
	{"Non canonical signature (high-S) with 'n'", "high S"},
}

func TestExamples(t *testing.T) {
	es := examples(t)
	if len(es) != len(valid)+len(invalid) {
		t.Fatalf("%d examples, %d expected", len(es), len(valid)+len(invalid))
	}
	for i, e := range es {
		t.Run(e.Name, func(t *testing.T) {
			net := &chaincfg.MainNetParams
			if strings.HasPrefix(e.Invoice, "lntb") {
				net = &chaincfg.TestNet3Params
			}
			got, err := Decode(e.Invoice, net)
			if i < len(valid) {
				v := valid[i]
				if !e.Valid || !strings.HasPrefix(e.Name, v.begins) {
					t.Fatalf("this example is expected to be %q", v.begins)
				}
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(v.want, got, compare); diff != "" {
					t.Error(diff)
				}
				return
			}
			v := invalid[i-len(valid)]
			if e.Valid || !strings.HasPrefix(e.Name, v.begins) {
				t.Fatalf("this example is expected to be %q", v.begins)
			}
			if err == nil || !strings.Contains(err.Error(), v.want) {
				t.Errorf("error %v, want %q", err, v.want)
			}
		})
	}
}

// What the examples say comes back when we write it ourselves.
func TestRoundTrip(t *testing.T) {
	for _, net := range []*chaincfg.Params{&chaincfg.MainNetParams, &chaincfg.TestNet3Params, &chaincfg.SigNetParams, &chaincfg.RegressionNetParams} {
		for _, v := range valid {
			want := *v.want
			want.Fallback = ""
			want.Node = [33]byte(exampleKey.PubKey().SerializeCompressed())
			if want.Features.IsSet(99) {
				continue
			}
			s, err := New(want, net, exampleKey)
			if err != nil {
				t.Fatalf("%s: %v", v.begins, err)
			}
			if !strings.HasPrefix(s, prefix(net)) {
				t.Errorf("%s: %s", net.Name, s)
			}
			got, err := Decode(s, net)
			if err != nil {
				t.Fatalf("%s: %v", v.begins, err)
			}
			if diff := cmp.Diff(&want, got, compare); diff != "" {
				t.Errorf("%s: %s", v.begins, diff)
			}
			if upper, err := Decode(" "+strings.ToUpper(s)+"\n", net); err != nil || upper.Hash != got.Hash {
				t.Errorf("%s: in upper case: %v", v.begins, err)
			}
		}
	}
}

func TestDefaults(t *testing.T) {
	now := time.Unix(1700000000, 0)
	s, err := New(Invoice{Hash: [32]byte{1}, Secret: [32]byte{2}, Created: now}, &chaincfg.RegressionNetParams, exampleKey)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(s, &chaincfg.RegressionNetParams)
	if err != nil {
		t.Fatal(err)
	}
	want := &Invoice{
		Node: [33]byte(exampleKey.PubKey().SerializeCompressed()), Hash: [32]byte{1}, Secret: [32]byte{2}, Created: now,
		Expiry: time.Hour, MinFinalCltv: 18, Features: lnwire.NewRawFeatureVector(8, 14, 17),
	}
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Error(diff)
	}
	if e := got.Expires(); !e.Equal(now.Add(time.Hour)) {
		t.Errorf("expires %v", e)
	}
}

func TestNetworks(t *testing.T) {
	nets := []*chaincfg.Params{&chaincfg.MainNetParams, &chaincfg.TestNet3Params, &chaincfg.SigNetParams, &chaincfg.RegressionNetParams, &chaincfg.SimNetParams}
	for _, from := range nets {
		s, err := New(*common(func(*Invoice) {}), from, exampleKey)
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range nets {
			_, err := Decode(s, to)
			if (err == nil) != (from == to) {
				t.Errorf("%s invoice on %s: %v", from.Name, to.Name, err)
			}
			if err != nil && (!strings.Contains(err.Error(), prefix(from)) || !strings.Contains(err.Error(), prefix(to))) {
				t.Errorf("error %q does not name both networks", err)
			}
		}
	}
}

func TestAmounts(t *testing.T) {
	for amount, ok := range map[string]bool{
		"": true, "1": true, "1m": true, "25m": true, "10p": true, "2500000010p": true, "20999999": true, "21000000": true,
		"007u": true, // leading zeros are forbidden to the writer only
		"0":    false, "0m": false, "0p": false, "1p": false, "11p": false, "m": false, "x": false, "1x": false, "-1m": false, "+1m": false,
		"1 m": false, "1.5m": false, "1mm": false, "1_0m": false, "21000001": false, "21000000001m": false,
		"184467441": false, "18446744073709551616": false, "99999999999999999999999999": false, "18446744073709551610p": true,
	} {
		if err := checkAmount(amount); (err == nil) != ok {
			t.Errorf("amount %q: %v", amount, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, change := range map[string]func(*Invoice){
		"amount":                  func(i *Invoice) { i.Amount = maxAmount + 1 },
		"payment_secret":          func(i *Invoice) { i.Secret = [32]byte{} },
		"timestamp":               func(i *Invoice) { i.Created = time.Unix(1<<35, 0) },
		"timestamp -1":            func(i *Invoice) { i.Created = time.Unix(-1, 0) },
		"expiry":                  func(i *Invoice) { i.Expiry = time.Millisecond },
		"expiry -1":               func(i *Invoice) { i.Expiry = -time.Second },
		"both":                    func(i *Invoice) { i.Description, i.DescriptionHash = "x", &cake },
		"description of 640":      func(i *Invoice) { i.Description = strings.Repeat("x", 640) },
		"UTF-8":                   func(i *Invoice) { i.Description = "\xff" },
		"payment_metadata of 640": func(i *Invoice) { i.Metadata = make([]byte, 640) },
		"feature bit 100":         func(i *Invoice) { i.Features = lnwire.NewRawFeatureVector(8, 14, 100) },
		"feature 16 without":      func(i *Invoice) { i.Features = lnwire.NewRawFeatureVector(8, 17) },
		"fallback":                func(i *Invoice) { i.Fallback = "x" },
		"route hint of 0":         func(i *Invoice) { i.Hints = [][]Hint{{}} },
		"route hint of 13":        func(i *Invoice) { i.Hints = [][]Hint{make([]Hint, 13)} },
		"route hint through 00":   func(i *Invoice) { i.Hints = [][]Hint{make([]Hint, 1)} },
	} {
		what, _, _ := strings.Cut(name, " -")
		_, err := New(*common(change), &chaincfg.RegressionNetParams, exampleKey)
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// Invoices that are signed well and that zpay32 accepts, but that a reader shall refuse, are made by changing groups and
// signing again.
func TestReaderRefuses(t *testing.T) {
	hashP := "pp5" + strings.Repeat("q", 52)
	secret := "sp5" + strings.Repeat("q", 52)
	desc := "dqq"
	for _, v := range []struct {
		name, tagged, want string
	}{
		{"as it should be", hashP + secret + desc, ""},
		{"no payment_secret", hashP + desc, "no payment_secret"},
		{"payment_secret of the wrong length", hashP + desc + "sp4" + strings.Repeat("q", 53), "no payment_secret"},
		{"no payment_hash", secret + desc, "no payment hash"},
		{"no description", hashP + secret, "neither description"},
		{"two descriptions", hashP + secret + desc + "hp5" + strings.Repeat("q", 52), "both description"},
		{"second payment_secret is ignored", hashP + secret + desc + "sp5" + strings.Repeat("p", 51) + "q", ""},
		{"expiry with a leading zero", hashP + secret + desc + "xqzqp", "field x begins with zeros"},
		{"cltv with a leading zero", hashP + secret + desc + "cqzqp", "field c begins with zeros"},
		{"features with a leading zero", hashP + secret + desc + "9qyqsgq", "field 9 begins with zeros"},
		{"expiry beyond 64 bits", hashP + secret + desc + "xqd" + strings.Repeat("l", 13), "field x does not fit"},
		{"expiry of 14 groups", hashP + secret + desc + "xqw" + strings.Repeat("l", 14), "64"},
		{"expiry beyond time is capped", hashP + secret + desc + "xqv" + strings.Repeat("l", 12), ""},
		{"cltv beyond 32 bits", hashP + secret + desc + "cqgy" + strings.Repeat("q", 7), "min_final_cltv_expiry_delta"},
		{"mpp without payment_secret", hashP + secret + desc + "9qyyqqq", "feature 16 without"},
		{"AMP required", hashP + secret + desc + "9q8pqqqqqq", "feature bit 30"},
		{"field longer than the rest", hashP + secret + desc + "xll", "1023"},
		{"unknown field", hashP + secret + desc + "2qrqqq", ""},
	} {
		t.Run(v.name, func(t *testing.T) {
			_, err := Decode(sign(t, "lnbcrt", v.tagged), &chaincfg.RegressionNetParams)
			if (v.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), v.want) {
				t.Errorf("error %v, want %q", err, v.want)
			}
		})
	}
}

func TestErrorsAreClear(t *testing.T) {
	for s, want := range map[string]string{
		"":                                    "no separator",
		"1":                                   "at least 117",
		"lnbcrt1":                             "at least 117",
		"hello":                               "no separator",
		"lnbcrt1b" + strings.Repeat("q", 117): `character 'b'`,
		"lnxx1" + strings.Repeat("q", 117):    "unknown network",
		"bcrt1" + strings.Repeat("q", 117):    "does not begin with ln",
		strings.Repeat("q", 8000):             "8000 characters",
		"lnbcrt1" + strings.Repeat("q", 117):  "checksum",
		"lnbcrt\x00":                          "no separator",
	} {
		_, err := Decode(s, &chaincfg.RegressionNetParams)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", s, err, want)
		}
	}
}

// FuzzDecode changes whole strings, nearly all of which fail the checksum.
func FuzzDecode(f *testing.F) {
	for _, e := range examples(f) {
		f.Add(e.Invoice)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, _ = Decode(s, &chaincfg.MainNetParams)
		_, _ = Decode(s, &chaincfg.RegressionNetParams)
	})
}

// FuzzFields changes the tagged fields of well-signed invoices. What we read we can write and read again.
func FuzzFields(f *testing.F) {
	for _, e := range examples(f) {
		if raw, err := scan(e.Invoice); err == nil {
			for _, t := range raw.tagged {
				f.Add(uint8(strings.IndexByte(alphabet, t.letter)), t.groups)
			}
		}
	}
	for _, t := range must(scan(blip39)).tagged {
		f.Add(uint8(strings.IndexByte(alphabet, t.letter)), t.groups)
	}
	f.Add(uint8(strings.IndexByte(alphabet, 'x')), []byte{31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31})
	net := &chaincfg.RegressionNetParams
	f.Fuzz(func(t *testing.T, letter uint8, groups []byte) {
		var b strings.Builder
		if alphabet[letter%32] != pathLetter { // instead of payment_secret
			b.WriteString("sp5" + strings.Repeat("z", 51) + "q")
		}
		if len(groups) > 1023 {
			return
		}
		for _, g := range append([]byte{letter, byte(len(groups) >> 5), byte(len(groups))}, groups...) {
			b.WriteByte(alphabet[g%32])
		}
		b.WriteString("pp5" + strings.Repeat("q", 52) + "dqq")
		s := sign(t, "lnbcrt", b.String())
		inv, err := Decode(s, net)
		if err != nil {
			return
		}
		inv.Fallback = ""
		if len(inv.Paths) == 0 && (inv.Secret == [32]byte{} || inv.MinFinalCltv == 0) || inv.Expiry == 0 {
			return // read, but never written
		}
		if len(inv.Paths) > 0 && len(inv.Paths[0].Path.Hops) > maxPathHops {
			return
		}
		again, err := New(*inv, net, exampleKey)
		if err != nil {
			t.Fatalf("%s: written again: %v", s, err)
		}
		got, err := Decode(again, net)
		if err != nil {
			t.Fatalf("%s: read again: %v", again, err)
		}
		got.Node = inv.Node
		if diff := cmp.Diff(inv, got, compare); diff != "" {
			t.Fatal(diff)
		}
	})
}

func ExampleDecode() {
	s, _ := New(Invoice{
		Amount: 250_000, Hash: [32]byte{1}, Secret: [32]byte{2}, Description: "1 cup coffee", Created: time.Unix(1700000000, 0),
	}, &chaincfg.RegressionNetParams, exampleKey)
	inv, _ := Decode(s, &chaincfg.RegressionNetParams)
	fmt.Println(s[:10], uint64(inv.Amount), inv.Description)
	// Output: lnbcrt2500 250000 1 cup coffee
}
