package nodetest

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	flagSeeds = flag.Int("seeds", 600, "runs of TestSimulation; of many, progress is printed to standard error")
	flagFirst = flag.Int64("first", 1, "the first seed")
	flagSeed  = flag.Int64("seed", -1, "the only run of TestSimulation")
	flagBytes = flag.String("bytes", "", "a schedule in hex, to be told what happens in it")
	flagSteps = flag.Int("steps", 100, "bytes of a run")
)

// TestSimulation runs random schedules.
func TestSimulation(t *testing.T) {
	if *flagBytes != "" {
		explain(t)
		return
	}
	first, n := *flagFirst, *flagSeeds
	if *flagSeed >= 0 {
		first, n = *flagSeed, 1
	} else if testing.Short() {
		n = min(n, 300)
	}
	begin := time.Now()
	stats, seed, err := search(first, n, *flagSteps, NoBug)
	if err != nil {
		t.Fatal(report(seed, err))
	}
	took := time.Since(begin)
	t.Logf("seeds %d to %d in %.1f s: %.0f steps/s, %.0f seeds/s\n%v", first, first+int64(n)-1, took.Seconds(),
		float64(stats.Steps)/took.Seconds(), float64(n)/took.Seconds(), stats)
}

// explain tells what happens in the schedule that was given.
func explain(t *testing.T) {
	s, err := hex.DecodeString(*flagBytes)
	if err != nil {
		t.Fatal(err)
	}
	u, err := NewUniverse()
	if err != nil {
		t.Fatal(err)
	}
	text, err := u.Explain(s, NoBug)
	t.Log(text)
	if err != nil {
		t.Fatal(err)
	}
}

// search runs seeds over all cores, each core with a universe of its own, and returns the lowest seed that fails.
func search(first int64, n, steps int, bug Bug) (*Stats, int64, error) {
	// Runs are short and leave nothing behind: what they have left is not worth looking for often.
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	var mu sync.Mutex
	next, last, begin := first, first+int64(n), time.Now()
	var failed int64 = -1
	var why error
	total := &Stats{}
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n) {
		wg.Go(func() {
			u, err := NewUniverse()
			for {
				mu.Lock()
				seed := next
				next++
				if done := seed - first; done > 0 && done%5000 == 0 && bug == NoBug {
					fmt.Fprintf(os.Stderr, "%d of %d seeds, %.0f seeds/s\n", done, n, float64(done)/time.Since(begin).Seconds())
				}
				stop := err != nil || seed >= last || failed >= 0
				mu.Unlock()
				if stop {
					break
				}
				if e := u.Run(Schedule(seed, steps), bug); e != nil {
					mu.Lock()
					if failed < 0 || seed < failed {
						failed, why = seed, e
					}
					mu.Unlock()
				}
			}
			mu.Lock()
			if err != nil {
				why = err
			}
			total.Add(&u.Stats)
			mu.Unlock()
		})
	}
	wg.Wait()
	return total, failed, why
}

// report shrinks a failing seed and tells it.
func report(seed int64, err error) string {
	u, e := NewUniverse()
	if e != nil {
		return e.Error()
	}
	s := Shrink(u, Schedule(seed, *flagSteps), NoBug)
	text, again := u.Explain(s, NoBug)
	return fmt.Sprintf("seed %d: %v\n\nshrunk to %d bytes, -bytes %x:\n%s\n%v", seed, err, len(s), s, text, again)
}

var flagBugSeeds = flag.Int("bugseeds", 0, "seeds, from 1 on, in which TestBugs has to find every bug; 0: look at the one that found it last, else at a few")

// fewSeeds are those of a run of the tests without -bugseeds. The bugs that need luck are not found in them; the table says so.
const fewSeeds = 150

// TestBugs puts bugs back, one at a time, and tells how many seeds it takes to find them.
func TestBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	var table strings.Builder
	for b := NoBug + 1; b < endOfBugs; b++ {
		t.Run(Bugs[b].Text, func(t *testing.T) {
			if !b.build(t) {
				return
			}
			begin := time.Now()
			seed, err := hunt(b)
			switch {
			case err == nil && *flagBugSeeds == 0 && foundBy[b] == 0:
				fmt.Fprintf(&table, "\n%-4s %-88s not in %d seeds: -bugseeds 20000", Bugs[b].ID, Bugs[b].Text, fewSeeds)
				return
			case err == nil:
				t.Errorf("%s: not found", Bugs[b].Text)
				return
			}
			if _, _, err := search(seed, 1, *flagSteps, NoBug); err != nil && b != BugNearDust { // that one is in the build
				t.Fatalf("seed %d finds something without the bug: %v", seed, err)
			}
			fmt.Fprintf(&table, "\n%-4s %-88s seed %5d  %5.1f s  %s", Bugs[b].ID, Bugs[b].Text, seed, time.Since(begin).Seconds(), kindOf(err))
		})
	}
	t.Log(table.String())
}

// hunt looks for the first seed that finds a bug.
func hunt(b Bug) (int64, error) {
	n := *flagBugSeeds
	if n == 0 {
		if foundBy[b] != 0 {
			_, seed, err := search(foundBy[b], 1, *flagSteps, b)
			return seed, err
		}
		n = fewSeeds
	}
	_, seed, err := search(1, n, *flagSteps, b)
	return seed, err
}

// FuzzNode has the fuzzer write schedules.
func FuzzNode(f *testing.F) {
	for seed := range int64(8) {
		f.Add(Schedule(seed, 40))
	}
	u, err := NewUniverse()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s []byte) {
		if len(s) > 300 {
			return
		}
		if err := u.Run(s, NoBug); err != nil {
			text, _ := u.Explain(s, NoBug)
			t.Fatalf("%v\n%s", err, text)
		}
	})
}
