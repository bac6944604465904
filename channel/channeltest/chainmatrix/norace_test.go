//go:build !race

package chainmatrix

const slow = false
