//go:build race

package onchain

// The race detector makes cryptography many times slower, and nothing here runs at once: a sample will do.
const sample = 8
