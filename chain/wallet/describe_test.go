package wallet

import (
	"strings"
	"testing"
)

// Every kind of row is told in words, and a damaged one is refused.
func TestDescribeRow(t *testing.T) {
	for key, x := range map[string]struct{ value, want string }{
		"a":                              {"\x01\x00\x00\x00\x07", "birthday: height 7"},
		"t":                              {"\x01\xca\xfe\xba\xbe\x00\x00\x00\x03" + strings.Repeat("h", 64), "tip: height 3, the newest 2 block hashes, master key cafebabe"},
		"b\x02":                          {"\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x15", "branch 2: next 1, floor 0, top 21"},
		"c" + strings.Repeat("\x00", 36): {"\x01\x00\x00\x00\x00\x00\x00\x00\x2a\x02\x00\x00\x00\x05\x01\x00\x00\x00\x09\x00\x00\x00\x00", "coin " + strings.Repeat("0", 64) + ":0: 42 sat, branch 2, index 5, coinbase true, height 9, spent at 0"},
		"p" + strings.Repeat("\x00", 32): {"\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00raw", "transaction " + strings.Repeat("0", 64) + ": publish true, height 0, dead at 0, 3 bytes"},
	} {
		got, err := DescribeRow(Row{[]byte(key), []byte(x.value)})
		if err != nil || got != x.want {
			t.Errorf("%q: %q, %v, want %q", key, got, err, x.want)
		}
		for n := range 9 { // the tails of the last two have no length of their own
			if n > len(x.value)-1 {
				break
			}
			if got, err := DescribeRow(Row{[]byte(key), []byte(x.value[:n])}); err == nil && n < 5 {
				t.Errorf("%q cut to %d bytes: %q", key, n, got)
			}
		}
	}
	for _, key := range []string{"", "x", "c", "b\x01\x02"} {
		if got, err := DescribeRow(Row{[]byte(key), []byte("\x01\x00\x00\x00\x00")}); err == nil {
			t.Errorf("%q: %q", key, got)
		}
	}
}
