package invoice

import (
	"strings"
	"testing"

	"github.com/btcsuite/btcd/btcec/v2/ecdsa"
	"github.com/btcsuite/btcd/btcutil/bech32"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// sign makes an invoice of tagged fields given as bech32 characters, whatever they are.
func sign(t testing.TB, hrp, tagged string) string {
	t.Helper()
	var groups []byte
	for _, c := range []byte("pvjluez" + tagged) {
		groups = append(groups, byte(strings.IndexByte(alphabet, c)))
	}
	data, err := bech32.ConvertBits(groups, 5, 8, true)
	if err != nil {
		t.Fatal(err)
	}
	sig := ecdsa.SignCompact(exampleKey, chainhash.HashB(append([]byte(hrp), data...)), true)
	sig = append(sig[1:], sig[0]-31)
	sigGroups, err := bech32.ConvertBits(sig, 8, 5, true)
	if err != nil {
		t.Fatal(err)
	}
	s, err := bech32.Encode(hrp, append(groups, sigGroups...))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
