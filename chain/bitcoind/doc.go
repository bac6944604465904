// Package bitcoind is the view of the block chain that a bitcoind (Bitcoin Core, Knots) gives over JSON-RPC. Its Backend has the methods
// that package node asks of a chain.
//
// One goroutine polls and keeps the tip, the hashes of the newest blocks, the mempool and the fee estimates in memory:
//
//	bitcoind <-- getblockchaininfo, getrawmempool ... -- poller (one) --> view, pool, rates (each replaced whole) --> subscribers
//	bitcoind --- ZMQ, if configured ----------------------> the poller looks at once
//	bitcoind <-- getblock ------------------------------ Block callers, and up to 4 fetches ahead of them
//	bitcoind <-- sendrawtransaction, gettxout ... ------ Publish, Unspent callers
//
// So Tip, Mempool and FeeRates never wait. Block answers from the chain of the view, even where bitcoind has just left it:
// a caller that reads Tip and then its blocks sees one chain.
//
// A bitcoind may stop, start, warm up, reorganise and catch up as it likes; meanwhile the last view stays, and Stale says why it
// should not be trusted with deadlines. Two things are not followed: another network, and (except on regtest, where
// invalidateblock is how reorganisations are made) a chain with less work than the one seen before: that is a
// bitcoind that indexes anew or was restored from an old copy, and to follow it would void facts that are still true.
//
// Needed of bitcoind: version 24 or newer (packages go one by one before 26), an RPC user that may call anything used here, no wallet,
// no index. A pruned one must keep every block since this node was last there; announced channels of others that were funded in
// deleted blocks cannot be verified. With -txindex, a transaction that was confirmed while this node was down, all its outputs spent, is
// recognised by Publish; without, that is reported as chain.ErrMissingInputs.
package bitcoind
