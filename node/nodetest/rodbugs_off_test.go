//go:build !rodbugs

package nodetest

import "testing"

// build puts a bug into production code. That takes a build of its own.
func (b Bug) build(t *testing.T) bool {
	if b == BugNearDust {
		t.Skip("needs -tags rodbugs")
	}
	return true
}
