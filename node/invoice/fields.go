package invoice

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/chaincfg"
)

// fields is the raw form of an invoice: what is needed to see what zpay32 does not show.
type fields struct {
	hrp    string
	tagged []field
	sig    [65]byte // R, S, recovery id
}

// field is a tagged field: its letter in the bech32 alphabet and its 5-bit groups.
type field struct {
	letter byte
	groups []byte
}

const (
	alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

	timestampGroups = 7
	signatureGroups = 104
	checksumGroups  = 6

	// maxLength is the number of characters of the largest QR code, and zpay32's limit.
	maxLength = 7089
)

// scan takes an invoice apart. It does not verify the checksum, nor what fields mean: zpay32 does.
func scan(s string) (*fields, error) {
	if len(s) > maxLength {
		return nil, fmt.Errorf("%d characters, limit is %d", len(s), maxLength)
	}
	lower := strings.ToLower(s)
	if s != lower && s != strings.ToUpper(s) {
		return nil, errors.New("upper and lower case mixed")
	}
	one := strings.LastIndexByte(lower, '1')
	if one < 0 {
		return nil, errors.New("no separator 1")
	}
	f := &fields{hrp: lower[:one]}
	groups := make([]byte, 0, len(lower)-one)
	for _, c := range []byte(lower[one+1:]) {
		v := strings.IndexByte(alphabet, c)
		if v < 0 {
			return nil, fmt.Errorf("character %q is not of bech32", c)
		}
		groups = append(groups, byte(v))
	}
	if least := timestampGroups + signatureGroups + checksumGroups; len(groups) < least {
		return nil, fmt.Errorf("%d characters after the separator, at least %d are needed", len(groups), least)
	}
	end := len(groups) - checksumGroups - signatureGroups
	copy(f.sig[:], bytesOf(groups[end:end+signatureGroups]))
	for rest := groups[timestampGroups:end]; len(rest) > 0; {
		if len(rest) < 3 {
			return nil, errors.New("last field cut short")
		}
		n := int(rest[1])<<5 | int(rest[2])
		if len(rest)-3 < n {
			return nil, fmt.Errorf("field %c of %d characters, %d left", alphabet[rest[0]], n, len(rest)-3)
		}
		f.tagged = append(f.tagged, field{alphabet[rest[0]], rest[3 : 3+n]})
		rest = rest[3+n:]
	}
	return f, nil
}

// bytesOf packs 5-bit groups, without what is left of the last byte.
func bytesOf(groups []byte) []byte {
	b := make([]byte, 0, len(groups)*5/8)
	acc, bits := uint(0), 0
	for _, g := range groups {
		acc, bits = acc<<5|uint(g), bits+5
		if bits >= 8 {
			bits -= 8
			b = append(b, byte(acc>>bits))
		}
	}
	return b
}

// networks are the prefixes of BOLT 11, longer ones before those they begin with.
var networks = []struct{ prefix, name string }{
	{"lnbcrt", "regtest"},
	{"lnbc", "mainnet"},
	{"lntbs", "signet"},
	{"lntb", "testnet"},
	{"lnsb", "simnet"},
}

// checkHRP checks network and amount.
func (f *fields) checkHRP(net *chaincfg.Params) error {
	if !strings.HasPrefix(f.hrp, "ln") {
		return errors.New("does not begin with ln")
	}
	i := slices.IndexFunc(networks, func(n struct{ prefix, name string }) bool { return strings.HasPrefix(f.hrp, n.prefix) })
	want := prefix(net)
	switch {
	case i < 0 && !strings.HasPrefix(f.hrp, want):
		return fmt.Errorf("for an unknown network, this is %s (%s)", net.Name, want)
	case i >= 0 && networks[i].prefix != want:
		return fmt.Errorf("for %s (%s), this is %s (%s)", networks[i].name, networks[i].prefix, net.Name, want)
	}
	return checkAmount(f.hrp[len(want):])
}

// checkAmount makes sure that the amount, if any, is one and not more than there is, which zpay32 would let wrap around.
func checkAmount(s string) error {
	if s == "" {
		return nil
	}
	digits, unit := s, uint64(1e11) // msat in a bitcoin
	if u, ok := multipliers[s[len(s)-1]]; ok {
		digits, unit = s[:len(s)-1], u
	}
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return fmt.Errorf("amount %q is not a number and one of m, u, n, p", s)
	}
	v, err := strconv.ParseUint(digits, 10, 64)
	switch {
	case err != nil:
		return fmt.Errorf("amount %q is more than there is", s)
	case v == 0:
		return errors.New("amount of zero")
	case unit == pico && v%10 != 0:
		return fmt.Errorf("amount %q is not a whole number of msat", s)
	case unit == pico && v/10 > maxAmount, unit != pico && v > maxAmount/unit:
		return fmt.Errorf("amount %q is more than there is", s)
	}
	return nil
}

// multipliers are msat to the unit, but for pico, ten of which make one msat.
var multipliers = map[byte]uint64{'m': 1e8, 'u': 1e5, 'n': 100, 'p': pico}

const pico = 0

// fixedGroups is the length of the fields that have one. A field of another length counts as not there, as in the BOLT 11
// example "fields which must be ignored".
var fixedGroups = map[byte]int{'p': 52, 's': 52, 'h': 52, 'n': 53}

// first gives the first field with the letter that counts.
func (f *fields) first(letter byte) ([]byte, bool) {
	for _, t := range f.tagged {
		if n, fixed := fixedGroups[letter]; t.letter == letter && (!fixed || len(t.groups) == n) {
			return t.groups, true
		}
	}
	return nil, false
}

// number reads a field that is one. Its length has been checked by zpay32: 13 groups at most.
func (f *fields) number(letter byte) (uint64, bool) {
	groups, ok := f.first(letter)
	var v uint64
	for _, g := range groups {
		v = v<<5 | uint64(g)
	}
	return v, ok
}

// check does what BOLT 11 has a reader do and zpay32 does not.
func (f *fields) check() error {
	for _, letter := range []byte("xc9") {
		if groups, ok := f.first(letter); ok && len(groups) > 0 && groups[0] == 0 {
			return fmt.Errorf("field %c begins with zeros", letter)
		}
	}
	for _, letter := range []byte("xc") {
		if groups, _ := f.first(letter); len(groups) == 13 && groups[0] > 15 {
			return fmt.Errorf("field %c does not fit 64 bits", letter)
		}
	}
	if _, ok := f.first('n'); ok {
		// With n the key is not recovered from the signature, and only the low of the two valid values of S will do.
		var s btcec.ModNScalar
		if overflow := s.SetByteSlice(f.sig[32:64]); overflow || s.IsOverHalfOrder() {
			return errors.New("signature with high S and a field n")
		}
	}
	return nil
}
