//go:build !mainnet

package node

// mainnet is off: the code has not earned it yet.
const mainnet = false
