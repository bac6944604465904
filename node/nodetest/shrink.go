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
	var then []byte // what the second half begins with
	switch theme := r.IntN(16); {
	case theme == 0: // a siege: the payee settles nothing, in a market that stays high, and then claims late and one by one
		s[1] = s[1]&^adversaryBits | 5 | congestedBit | holdsBit | dearBit
		s = append(s, byteOf("pay", 20), byteOf("let it flow", 0))
		then = []byte{byteOf("cheat", []int{2, 4, 8}[r.IntN(3)])}
	case theme == 1: // a theft: the payee publishes what it has revoked, and its second stages fight with the penalties
		s[1] = s[1]&^(adversaryBits|holdsBit) | 5
		s = append(s, byteOf("pay", 21+r.IntN(3)), byteOf("let it flow", r.IntN(4)))
		then = []byte{byteOf("cheat", []int{3, 5, 7, 10, 11}[r.IntN(5)]), byteOf("mine", 0), byteOf("bribe", r.IntN(4))}
	case theme == 2: // a close while an HTLC is on its way
		s[0] &^= forceBits
		then = []byte{byteOf("pay", r.IntN(20)), byteOf("let it flow", 12+r.IntN(18)), byteOf("close", 1+r.IntN(2)), byteOf("let it flow", 0)}
	case theme < 7: // much at once, for those who fight over it later
		s = append(s, byteOf("pay", 19+r.IntN(5)), byteOf("let it flow", r.IntN(4)))
	}
	for len(s) < steps+configSize {
		half := 0
		if len(s) >= late {
			half = 1
			s, then = append(s, then...), nil
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
