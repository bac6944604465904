package channeltest

import (
	"flag"
	"testing"
)

var (
	large  = flag.Bool("large", false, "explore for a minute, not a few seconds")
	states = flag.Int("states", 200_000, "with -large: give up the largest exploration after so many")
)

func TestExplore(t *testing.T) {
	type run struct {
		name string
		b    Budget
	}
	runs := []run{
		{"one add a side, one disconnect", Budget{Adds: [2]int{1, 1}, Disconnects: 1, FailToo: true}},
		{"one add, two disconnects, one crash", Budget{Adds: [2]int{1, 0}, Disconnects: 2, Crashes: 1, FailToo: true}},
		{"one add and a fee, two disconnects", Budget{Adds: [2]int{0, 1}, Fees: 1, Disconnects: 2}},
		{"two adds and one, by turns", Budget{Adds: [2]int{2, 1}, Turns: true}},
	}
	if *large {
		runs = []run{
			{"two adds a side", Budget{Adds: [2]int{2, 2}}},
			{"one add a side, a fee, a disconnect, a crash, by turns", Budget{Adds: [2]int{1, 1}, Fees: 1, Disconnects: 1, Crashes: 1, FailToo: true, Turns: true, States: *states}},
			{"two adds a side, one crash, by turns", Budget{Adds: [2]int{2, 2}, Crashes: 1, Turns: true, States: *states}},
			{"two adds a side, a fee, a disconnect, a crash, by turns", Budget{Adds: [2]int{2, 2}, Fees: 1, Disconnects: 1, Crashes: 1, FailToo: true, Turns: true, States: *states}},
		}
	}
	base := open(t, Options{Toy: true, Push: 400_000_000})
	base.Opt.Unchecked = true // Explore checks each new state itself
	for _, r := range runs {
		t.Run(r.name, func(t *testing.T) {
			if r.b.Closes = 64; *large {
				r.b.Closes = 2048
			}
			e, err := Explore(base, r.b)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(e)
		})
	}
}
