// Package nodetest is a simulator: a few nodes made of the pure packages, wired as package node wires them, in one goroutine,
// without clock, disk, network or chain but those it fakes. One byte is one action, a string of bytes is a run; the same bytes
// give the same run, so a failing one can be repeated, shrunk and read.
//
//	A --+            +-- K --- B       payers A and M, LSPs L and K, payee B; some pairs have two channels
//	    +== L ======+
//	M --+
//
// What is real: channel.Apply with its signing turn and channel/onchain below it, the order "queue the turn, then pass its notices, then post the
// commands", the forwarder with the rows it adds to that turn, the rod table, chain.Tracker, and recovery: channel.Restore,
// forward.Durable.Survey and forward.Rebuild over the rows of a prefix of the queue, exactly as node/recover.go does it.
//
// What is fake: signatures (channeltest.Toy), onions (a list of hops in the clear, see peel), onion messages (their contents
// are handed over), the connection (FIFO per direction, cut at will, the two ends may notice at different times), the disk (a
// queue of turns, of which a crash keeps any prefix that contains all that was released), the wallets, and the clock.
//
// The chain is a toy as well, but nothing on it is believed: amounts, locks and the scripts of BOLT 3 are checked, a mempool replaces by BIP 125,
// alone and by pairs, blocks may be full, a reorganisation may let a conflict win, and every node sees as much of it as the schedule lets
// it. Nobody sees the chain so late that a deadline cannot be kept: those who do not look lose, whatever they are made of.
//
// One node may be an adversary. It keeps quiet, settles nothing or everything as failed, and publishes any commitment it ever had, revoked or not,
// claims what it can of it with preimages shown as late as it likes, outbids, and bribes miners. It is not judged; all others are.
//
// After every step the invariants in check.go are checked; at the end of a run everything is connected, delivered and given
// time, and within a bounded number of rounds nothing may be left over, every channel that went on chain is closed, and
// everybody's money must be what the payments' outcomes say: to the msat in channels, to the satoshi on chain, each fee accounted for (judge.go,
// ending.go). Bugs put back on purpose (bugs.go, bugschain.go) show that the checks can see: each has a seed that finds it, none above 2,100, and
// TestBugs fails if it does not any more.
//
// Most schedules are random, with weights of their own. Some begin with a theme: a siege in a fee market that stays high, the theft of what was
// just revoked, a close while an HTLC is under way (see Schedule). A core does some eighty seeds a second, 100 actions each
// and whatever it takes to end them: 250 blocks, 400 turns of channels. A million take three to four hours of one; -first goes on where a run ended.
//
//	go test ./node/nodetest -run TestSimulation -v [-seeds 20000] [-first 1] [-steps 100]   many runs, and what was checked; a long one tells as it goes
//	go test ./node/nodetest -run TestSimulation -seed 1721                                  one; a failing run is shrunk and told
//	go test ./node/nodetest -run TestSimulation -v -bytes 01a64c                            a schedule given by hand
//	go test -tags rodbugs ./node/nodetest -run TestBugs -v [-bugseeds 5000]                 the bugs by their seeds, or looked for from seed 1 on
//	go test ./node/nodetest -run XXX -fuzz FuzzNode                                         schedules by the fuzzer
//
// Not covered: more than one adversary at a time, an adversary who breaks the rules of a message's contents, splitting of the
// fee market by package size (a block takes what pays enough, however much there is), and wallets without coins.
package nodetest
