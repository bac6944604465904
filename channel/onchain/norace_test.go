//go:build !race

package onchain

// sample is of how many cases of the long tests one is run.
const sample = 1
