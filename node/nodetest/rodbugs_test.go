//go:build rodbugs

package nodetest

import (
	"testing"

	"lightningrod/channel"
)

// build puts a bug into production code.
func (b Bug) build(t *testing.T) bool {
	if b == BugNearDust {
		channel.SetNearDust(1000)
		t.Cleanup(func() { channel.SetNearDust(0) })
	}
	return true
}
