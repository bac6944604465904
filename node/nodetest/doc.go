// Package nodetest is a simulator: a few nodes made of the pure packages, wired as package node wires them, in one goroutine,
// without clock, disk, network or chain but those it fakes. One byte is one action, a string of bytes is a run; the same bytes
// give the same run, so a failing one can be repeated, shrunk and read.
//
//	A --+            +-- K --- B       payers A and M, LSPs L and K, payee B; some pairs have two channels
//	    +== L ======+
//	M --+
//
// What is real: channel.Apply with its signing turn, the order "queue the turn, then pass its notices, then post the
// commands", the forwarder with the rows it adds to that turn, the rod table, chain.Tracker, and recovery: channel.Restore,
// forward.Durable.Survey and forward.Rebuild over the rows of a prefix of the queue, exactly as node/recover.go does it.
//
// What is fake: signatures (channeltest.Toy), onions (a list of hops in the clear, see peel), onion messages (their contents
// are handed over), the connection (FIFO per direction, cut at will, the two ends may notice at different times), the disk (a
// queue of turns, of which a crash keeps any prefix that contains all that was released), the chain (blocks, a
// mempool, no scripts) of which every node sees as much as the schedule lets it, and the clock.
//
// After every step the invariants in check.go are checked; at the end of a run everything is connected, delivered and given
// time, and within a bounded number of rounds nothing may be left over and everybody's money must be what the payments'
// outcomes say. Bugs put back on purpose (bugs.go) show that the checks can see.
//
//	go test ./node/nodetest -run TestSimulation -v [-seeds 3000] [-first 1] [-steps 100]    many runs, and what was checked
//	go test ./node/nodetest -run TestSimulation -seed 1721                                  one; a failing run is shrunk and told
//	go test ./node/nodetest -run TestSimulation -v -bytes 01a64c                            a schedule given by hand
//	go test ./node/nodetest -run TestBugs -v                                                the bugs, and the seeds that find them
//	go test ./node/nodetest -run XXX -fuzz FuzzNode                                         schedules by the fuzzer
//
// Not covered: HTLC outputs on chain. Commitments are published and confirmed, and what must not be forwarded or failed
// then is checked, but the end of a run in which a channel went on chain is not judged; such runs are counted. The bugs
// of the catalogue that live there (A1 to A6, A8) and in a channel's own arithmetic (C2) are therefore not among those put back.
package nodetest
