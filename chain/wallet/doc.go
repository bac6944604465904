// Package wallet keeps the node's coins: BIP 84 (P2WPKH) and BIP 86 (P2TR) addresses of one seed, the outputs found on them in
// blocks, and the transactions that spend them. It thinks in values and is meant for an engine that calls it under one mutex.
//
// What a caller owes:
//   - every method that returns rows has changed the wallet; the rows must be durable before what the same call returned leaves the node (an
//     address shown, a transaction published). New with these rows, last value of each key, is the same wallet again;
//   - Connect and Disconnect in the order of the best chain. A wallet without rows takes any block as its first. Begin says which: the one
//     above the tip if the seed is new; to restore a seed, one that is older than its first payment, or without a birthday height 1. A birthday that is
//     too late loses coins from sight (not from the chain: another restoration finds them), so that a day's blocks, 144, are taken off;
//   - Mempool for what appears in the mempool, and after a reorganisation for all that is there; Gone for what has left it;
//   - a transaction made by Fund is Released if it will never be published, and only then.
//
// A channel that is closed on chain asks with FundUpTo, whose answer may pay less than was wished; what is left to it is the AnchorReserve that
// everything else respects, in as many coins as Spread was told to make.
//
// The books have two parts. Coins are outputs in blocks of the best chain, each with the heights at which it was made and spent, so that a
// reorganisation is: forget what happened above the fork. Pending transactions are ours, or seen in the mempool; while one is
// neither confirmed nor in conflict with a confirmed one, its inputs are locked and its outputs to us are unconfirmed coins.
// Both are kept for 144 blocks after they are over; no deeper reorganisation is undone.
package wallet
