package nodetest

import (
	"math/rand/v2"
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

// Schedule is the run of a seed: steps random actions. How often each kind comes is drawn first, never for some: a run without
// crashes, or of crashes mostly, goes where an even mix does not.
func Schedule(seed int64, steps int) []byte {
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	s := []byte{byte(r.Uint32())}
	type span struct{ first, count, weight int }
	var spans []span
	first, total := 0, 0
	for _, a := range actions {
		weight := a.count * []int{0, 1, 1, 2, 4}[r.IntN(5)]
		spans = append(spans, span{first, a.count, weight})
		first += a.count
		total += weight
	}
	for len(s) <= steps && total > 0 {
		at := r.IntN(total)
		for _, x := range spans {
			if at < x.weight {
				s = append(s, byte(x.first+r.IntN(x.count)))
				break
			}
			at -= x.weight
		}
	}
	return s
}
