package nodetest

import (
	"slices"
	"strings"
)

// Shrink removes bytes from a failing schedule as long as it fails in the same way.
func Shrink(u *Universe, schedule []byte, bug Bug) []byte {
	kind := kindOf(u.Run(schedule, bug))
	if kind == "" {
		return schedule
	}
	for size := len(schedule) / 2; size > 0; size /= 2 {
		for at := 1; at+size <= len(schedule); {
			shorter := slices.Delete(slices.Clone(schedule), at, at+size)
			if kindOf(u.Run(shorter, bug)) == kind {
				schedule = shorter
			} else {
				at += size
			}
		}
	}
	return schedule
}

// kindOf is the invariant that was broken.
func kindOf(err error) string {
	if err == nil {
		return ""
	}
	kind, _, _ := strings.Cut(err.Error(), "\n")
	return kind
}
