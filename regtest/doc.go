// Package regtest starts foreign programs for tests that compare this node with them: for now a bitcoind, on the regtest network, over
// loopback, in a folder of its own. They end with the test that started them, and with its process.
//
// A machine without the program skips such a test and says so; where it must be there, the environment has ROD_REQUIRE_PEERS set, and
// the test fails instead.
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
