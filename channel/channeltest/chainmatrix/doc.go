// Package chainmatrix has no code but tests: force closes of pairs of real channels, with real keys, on the embedded chain with bitcoin's
// consensus and mempool, each side with a wallet of its own that answers channel.Bump, and rows that answer channel.NeedRevoked.
//
//	go test ./channel/channeltest/chainmatrix -v                            all of it, and how often each dimension was met
//	go test ./channel/channeltest/chainmatrix -v -short                     a sample
//	go test ./channel/channeltest/chainmatrix -v -cell bob,alone,newest     what has this in its name
//
// Every cell ends with the exact balance of both wallets that the rules of BOLT 5 give, and with every satoshi accounted for.
package chainmatrix
