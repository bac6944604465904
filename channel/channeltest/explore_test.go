package channeltest

import (
	"flag"
	"testing"
)

var large = flag.Bool("large", false, "explore more than a few seconds")

func TestExplore(t *testing.T) {
	type run struct {
		name string
		b    Budget
	}
	runs := []run{
		{"one add a side, one disconnect", Budget{Adds: [2]int{1, 1}, Disconnects: 1, FailToo: true}},
		{"one add, three disconnects", Budget{Adds: [2]int{1, 0}, Disconnects: 3, FailToo: true}},
		{"one add and a fee, two disconnects", Budget{Adds: [2]int{0, 1}, Fees: 1, Disconnects: 2}},
	}
	if *large {
		runs = []run{
			{"one add a side, two disconnects", Budget{Adds: [2]int{1, 1}, Disconnects: 2, FailToo: true}},
			{"two adds a side", Budget{Adds: [2]int{2, 2}}},
			{"one add a side, two fees, one disconnect", Budget{Adds: [2]int{1, 1}, Fees: 2, Disconnects: 1}},
		}
	}
	base := open(t, Options{Toy: true, Push: 400_000_000})
	base.Opt.Unchecked = true // Explore checks each new state itself
	for _, r := range runs {
		t.Run(r.name, func(t *testing.T) {
			e, err := Explore(base, r.b)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d states, %d turns, %d ends", e.States, e.Turns, e.Ends)
		})
	}
}
