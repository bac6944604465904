package regtest_test

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"
)

// failures are those of BOLT 4 "Failure Messages". Every script that names one shows it: ours, read by theirs, in those that have a payer of
// theirs, and the other way round. Of the others it is said where they are shown instead.
var failures = map[string]string{
	"temporary_node_failure":               "",
	"permanent_node_failure":               "not sent; read in onion.TestFailureRoundTrip",
	"required_node_feature_missing":        "not sent: no feature of ours asks for anything in an onion; read in onion.TestFailureRoundTrip",
	"invalid_onion_version":                "no payer here sends a broken onion; onion.TestPeelMalformed, node/forward.TestScripts/forward",
	"invalid_onion_hmac":                   "likewise",
	"invalid_onion_key":                    "likewise",
	"temporary_channel_failure":            "",
	"permanent_channel_failure":            "",
	"required_channel_feature_missing":     "not sent; read in onion.TestFailureRoundTrip",
	"unknown_next_peer":                    "",
	"amount_below_minimum":                 "",
	"fee_insufficient":                     "",
	"incorrect_cltv_expiry":                "",
	"expiry_too_soon":                      "",
	"incorrect_or_unknown_payment_details": "",
	"final_incorrect_cltv_expiry":          "",
	"final_incorrect_htlc_amount":          "",
	"channel_disabled":                     "",
	"expiry_too_far":                       "",
	"invalid_onion_payload":                "",
	"mpp_timeout":                          "",
	"invalid_onion_blinding":               "",
}

// TestFailuresAreShown: the table above is true, and scripts expect no failure that BOLT 4 does not have.
func TestFailuresAreShown(t *testing.T) {
	shown := map[string][]string{}
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var walk func(s *script, lines []line)
	walk = func(s *script, lines []line) {
		for _, l := range lines {
			name := l.options["fails"]
			if l.command == commands["expect unpaid"] {
				name = l.words[0]
			}
			if _, ok := failures[name]; !ok && name != "" {
				t.Errorf("%s.txt:%d: BOLT 4 has no %s", s.name, l.number, name)
			}
			if name != "" && !slices.Contains(shown[name], s.name) {
				shown[name] = append(shown[name], s.name)
			}
			walk(s, l.block)
		}
	}
	for _, path := range paths {
		s, err := readScript(path, filepath.Base(path))
		if err != nil {
			t.Fatal(err)
		}
		walk(s, s.lines)
	}
	for _, name := range slices.Sorted(maps.Keys(failures)) {
		why := failures[name]
		if (len(shown[name]) > 0) == (why != "") {
			t.Errorf("%s: shown in %v, and said to be %q", name, shown[name], why)
		}
		t.Logf("%-36s %v %s", name, shown[name], why)
	}
}
