// Package embedded is a regtest chain inside the process: btcd's block chain, mempool and block template generator over a
// folder, so that tests and the demo need nothing installed and yet every script and signature is checked by real consensus code.
// One Chain serves any number of nodes at once; all its methods are safe for concurrent use.
//
// It validates in full: proof of work (of regtest), scripts, relative and absolute locks, maturity. CSV, segwit and
// taproot are active from block 1. Block times rise by at least a second from block to block, and run ahead of the clock
// when blocks are mined faster than that.
//
// The mempool has the policy of btcd v0.25 and takes packages; in what a channel needs it is bitcoind's, and where they differ the narrower:
//   - a transaction must pay 1 sat/vB; where SetMempoolMin asks for more, by itself or (PublishPackage) together with the child it comes with;
//   - a conflict is replaced only if it signals BIP 125 (an input sequence of at most 0xfffffffd, or an unconfirmed ancestor that does; bitcoind
//     asks for that no longer since version 28); the replacement must have a higher fee rate than each conflict, pay the fees of them and their descendants and 1 sat/vB of its
//     own size more, evict at most 100 transactions and spend no new unconfirmed output. A package of two may replace as well, by the sums of both. A
//     BOLT 3 commitment signals (the upper byte of its sequence is 0x80), so does any input with a CSV lock; a spend with a final sequence does not;
//   - transactions of version 3 (TRUC), pay-to-anchor outputs and ephemeral dust are refused; nothing counts ancestors and descendants, where
//     bitcoind has a limit of 25;
//   - the mempool is not kept over a restart: whoever cares publishes again.
//
// What must get into a block all the same can be put there with MineTxs.
//
// Subscribers are called after the tip or the mempool has changed, in the goroutine that changed it and without any lock held; they must
// not block. btcd's packages are silent unless somebody sets their loggers; this package never does.
package embedded
