//go:build rodbugs

package channel

// This file is for the tests of package nodetest that put mistakes back, and in no other build.

var nearDust int64

// SetNearDust makes the mistake. No State may be in use.
func SetNearDust(sat int64) { nearDust = sat }
