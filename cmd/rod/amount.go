package main

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// amount is a sum in msat. It is typed with its unit, so that nobody is ever off by a thousand: 21sat, 1500msat, 0.01btc.
type amount uint64

// units are what may stand behind a number, with the msat in one and the decimals that leaves. The longer of two endings first.
var units = []struct {
	name     string
	msat     uint64
	decimals int
}{{"msat", 1, 0}, {"sat", 1000, 3}, {"btc", 100_000_000_000, 11}}

// moneyLimit is 21 million bitcoin.
const moneyLimit = 21_000_000 * 100_000_000_000

func (a *amount) UnmarshalText(text []byte) error {
	s := strings.ToLower(string(text))
	for _, u := range units {
		number, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		v, err := scaled(number, u.msat, u.decimals)
		if err != nil {
			return fmt.Errorf("%q: %w", text, err)
		}
		*a = amount(v)
		return nil
	}
	return fmt.Errorf("%q has no unit: write msat, sat or btc behind it, as in 1000sat", text)
}

// scaled reads a decimal number without rounding.
func scaled(number string, unit uint64, decimals int) (uint64, error) {
	whole, part, dotted := strings.Cut(number, ".")
	if dotted && part == "" || len(part) > decimals {
		return 0, fmt.Errorf("1 to %d digits may follow the point", decimals)
	}
	w, err := strconv.ParseUint(whole, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", whole)
	}
	high, msat := bits.Mul64(w, unit)
	if part != "" {
		p, err := strconv.ParseUint(part, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is not a number", part)
		}
		for range len(part) {
			unit /= 10
		}
		msat += p * unit
	}
	if high != 0 || msat > moneyLimit {
		return 0, fmt.Errorf("more than 21 million bitcoin")
	}
	return msat, nil
}

// sat is the amount in whole satoshi.
func (a amount) sat() (uint64, error) {
	if a%1000 != 0 {
		return 0, fmt.Errorf("%d msat is not a whole number of sat", uint64(a))
	}
	return uint64(a) / 1000, nil
}

// showMsat is an amount for people: sat, with the msat behind the point if there are any.
func showMsat(msat uint64) string {
	if msat%1000 == 0 {
		return fmt.Sprintf("%d sat", msat/1000)
	}
	return fmt.Sprintf("%d.%03d sat", msat/1000, msat%1000)
}
