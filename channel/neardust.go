//go:build !rodbugs

package channel

// nearDust is how many satoshi above the dust limit HTLCs are taken for dust when fees are reckoned. It is a mistake that
// other implementations have made, and that the simulator has to find: see neardust_rodbugs.go.
const nearDust = 0
