// Package regtest starts foreign programs for tests that compare this node with them, or connect it to them: bitcoind, lnd and others,
// and our own daemon as a process. All run on the regtest network, over loopback, in folders of their own; they end with the test that
// started them, and with its process.
//
// A machine without a program skips such a test and says so; where bitcoind and lnd must be there, the environment has ROD_REQUIRE_PEERS
// set, and the test fails instead. ROD_BITCOIND and ROD_LND name them, otherwise PATH does; .ci/bitcoind and .ci/lnd make them. ROD_CLN, ROD_ECLAIR and ROD_LDK
// name Core Lightning's daemon, eclair's script and the program of the folder ldk, which need not be there.
//
// # Scripts
//
// testdata/*.txt are scenarios that a protocol person can read; rod1 is ours, peer1 is of the kind that the script is run with. Every script
// that does not say otherwise runs with every kind, ours included.
//
//	go test ./regtest -run 'Interop/peer/lnd'                    # one column of the table
//	go test ./regtest -run 'Interop/peer/lnd/kill_us' -v         # one cell, with the time of every line
//	go test ./regtest -run Interop -matrix table.md              # the table, to a file too
//	go test ./regtest -run FailuresAreShown -v                   # which script shows which failure of BOLT 4
//
// ROD_KEEP names a folder where those of the nodes are kept, and ROD_LOG=debug has them write more. To add a scenario, write a script; to add
// a kind of peer, implement Node and name it in kinds (interop_test.go).
package regtest

import (
	"os"
	"testing"
)

// RequirePeers says that a foreign program that is not found fails the test: ROD_REQUIRE_PEERS is set to anything.
func RequirePeers() bool { return os.Getenv("ROD_REQUIRE_PEERS") != "" }

// absent ends a test that needs a program which is not there.
func absent(t testing.TB, why string) {
	t.Helper()
	if RequirePeers() {
		t.Fatalf("%s, and ROD_REQUIRE_PEERS is set", why)
	}
	t.Skipf("SKIPPED: %s", why)
}
