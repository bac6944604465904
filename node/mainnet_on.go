//go:build mainnet

package node

const mainnet = true
