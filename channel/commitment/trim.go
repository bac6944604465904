package commitment

// Trimmed says whether an HTLC has no output in a commitment of an owner with the given dust limit in satoshi.
// BOLT 3 "Trimmed Outputs": HTLC transactions have no fee here, so only the whole satoshis of the amount count.
func Trimmed(h HTLC, dustLimit int64) bool { return sat(h.Amount) < dustLimit }

// Untrimmed is how many of the HTLCs have an output.
func Untrimmed(htlcs []HTLC, dustLimit int64) int {
	n := 0
	for i := range htlcs {
		if !Trimmed(htlcs[i], dustLimit) {
			n++
		}
	}
	return n
}
