//go:build race

package chainmatrix

// slow: the race detector makes keys and signatures ten times as dear, and has little to find here.
const slow = true
