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
		for at := configSize; at+size <= len(schedule); {
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

// byteOf is the byte of an action.
func byteOf(name string, arg int) byte {
	first := 0
	for _, a := range actions {
		if a.name == name {
			break
		}
		first += a.count
	}
	return byte(first + arg)
}

// span is the bytes of an action, and how often it comes.
type span struct{ first, count, weight int }

// Schedule is the run of a seed: steps random actions. How often each kind comes is drawn first, never for some: a run without
// crashes, or of crashes mostly, goes where an even mix does not.
func Schedule(seed int64, steps int) []byte {
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	s := []byte{byte(r.Uint32()), byte(r.Uint32())}
	late := configSize + steps/2 // before it the adversary does nothing: there is nothing yet to steal
	spans := [2][]span{}
	var totals [2]int
	first := 0
	for _, a := range actions {
		x := span{first, a.count, a.count * []int{0, 1, 1, 2, 4}[r.IntN(5)]}
		first += a.count
		for half := range spans {
			if half == 0 && a.late {
				continue
			}
			spans[half] = append(spans[half], x)
			totals[half] += x.weight
		}
	}
	if r.IntN(4) == 0 { // much at once, for those who fight over it later
		s = append(s, byteOf("pay", 19+r.IntN(5)), byteOf("let it flow", r.IntN(4)))
	}
	for len(s) < steps+configSize {
		half := 0
		if len(s) >= late {
			half = 1
		}
		at := r.IntN(totals[half])
		for _, x := range spans[half] {
			if at < x.weight {
				s = append(s, byte(x.first+r.IntN(x.count)))
				break
			}
			at -= x.weight
		}
	}
	return s
}
