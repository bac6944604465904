package nodetest

import (
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	flagSeeds = flag.Int("seeds", 3000, "runs of TestSimulation; of many, progress is printed to standard error")
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
		n = min(n, 50)
	}
	s := &search{first: first, n: n, steps: *flagSteps, most: 20}
	s.run()
	t.Logf("seeds %d to %d: %s, %d failures\n%v", first, s.next-1, s.speed(), len(s.failed), &s.stats)
	if seed, err := s.lowest(); err != nil {
		t.Fatal(report(seed, err))
	}
}

// explain tells what happens in the schedule that was given.
func explain(t *testing.T) {
	s, err := hex.DecodeString(*flagBytes)
	if err != nil {
		t.Fatal(err)
	}
	u, err := borrow()
	if err != nil {
		t.Fatal(err)
	}
	text, err := u.Explain(s, NoBug)
	t.Log(text)
	if err != nil {
		t.Fatal(err)
	}
}

// search is a run of many seeds over all cores, each core with a universe of its own.
type search struct {
	first    int64
	n, steps int
	bug      Bug
	most     int // failures after which it stops

	mu     sync.Mutex
	begin  time.Time
	next   int64
	told   int64 // seeds after which it was last told how far it is
	stats  Stats
	failed map[int64]error
	err    error
}

// A long search says how far it is after so many seeds, and after so many of those what it has looked at.
const (
	tellEvery  = 5000
	countEvery = 10
)

func (s *search) run() {
	// Runs are short and leave nothing behind: what they have left is not worth looking for often.
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	s.next, s.begin, s.failed = s.first, time.Now(), map[int64]error{}
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), s.n) {
		wg.Go(func() {
			u, err := borrow()
			if err != nil {
				s.mu.Lock()
				s.err = err
				s.mu.Unlock()
				return
			}
			defer giveBack(u)
			for seed, ok := s.take(u); ok; seed, ok = s.take(u) {
				if err := u.Run(Schedule(seed, s.steps), s.bug); err != nil {
					s.fail(seed, err)
				}
			}
		})
	}
	wg.Wait()
}

// idle are universes that nobody uses: most of what a short search takes is to make one.
var idle struct {
	sync.Mutex
	list []*Universe
}

func borrow() (*Universe, error) {
	idle.Lock()
	defer idle.Unlock()
	last := len(idle.list) - 1
	if last < 0 {
		return NewUniverse()
	}
	u := idle.list[last]
	idle.list = idle.list[:last]
	u.Stats = Stats{}
	return u, nil
}

func giveBack(u *Universe) {
	idle.Lock()
	defer idle.Unlock()
	idle.list = append(idle.list, u)
}

// take gives the next seed, and takes in what a universe has counted.
func (s *search) take(u *Universe) (seed int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Add(&u.Stats)
	u.Stats = Stats{}
	if done := int64(s.stats.Seeds); s.bug == NoBug && done-s.told >= tellEvery {
		s.told = done
		fmt.Fprintf(os.Stderr, "%d of %d seeds, %s, %d failures\n", done, s.n, s.speed(), len(s.failed))
		if done/tellEvery%countEvery == 0 {
			fmt.Fprintln(os.Stderr, &s.stats)
		}
	}
	if s.next >= s.first+int64(s.n) || len(s.failed) >= s.most {
		return 0, false
	}
	s.next++
	return s.next - 1, true
}

func (s *search) fail(seed int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed[seed] = err; s.bug == NoBug {
		fmt.Fprintf(os.Stderr, "seed %d fails: %v\n", seed, err)
	}
}

func (s *search) speed() string {
	took := time.Since(s.begin).Seconds()
	return fmt.Sprintf("%.0f s, %.0f steps/s, %.0f seeds/s", took, float64(s.stats.Steps)/took, float64(s.stats.Seeds)/took)
}

// lowest is the first of the seeds that failed, and why.
func (s *search) lowest() (int64, error) {
	if len(s.failed) == 0 {
		return 0, s.err
	}
	seed := slices.Min(slices.Collect(maps.Keys(s.failed)))
	return seed, s.failed[seed]
}

// report shrinks a failing seed and tells it.
func report(seed int64, err error) string {
	u, e := borrow()
	if e != nil {
		return e.Error()
	}
	s := Shrink(u, Schedule(seed, *flagSteps), NoBug)
	text, again := u.Explain(s, NoBug)
	return fmt.Sprintf("seed %d: %v\n\nshrunk to %d bytes, -bytes %x:\n%s\n%v", seed, err, len(s), s, text, again)
}

var flagBugSeeds = flag.Int("bugseeds", 0, "seeds, from 1 on, in which TestBugs has to find every bug; 0: look at the one that is known to find it")

// TestBugs puts bugs back, one at a time. Each has a seed that finds it; how many seeds it takes from 1 on says a run with -bugseeds.
func TestBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("what the race detector could see here it sees in TestSimulation")
	}
	var table strings.Builder
	for b := NoBug + 1; b < endOfBugs; b++ {
		t.Run(Bugs[b].Text, func(t *testing.T) {
			if !b.build(t) {
				return
			}
			begin := time.Now()
			first, n := int64(1), *flagBugSeeds
			if n == 0 {
				first, n = foundBy[b], 1
			}
			seed, err := hunt(b, first, n)
			if err == nil {
				t.Fatalf("%s: seeds %d to %d do not find it", Bugs[b].Text, first, first+int64(n)-1)
			}
			if _, err := hunt(NoBug, seed, 1); err != nil && b != BugNearDust { // that one is in the build
				t.Fatalf("seed %d finds something without the bug: %v", seed, err)
			}
			fmt.Fprintf(&table, "\n%-4s %-88s seed %5d  %5.1f s  %s", Bugs[b].ID, Bugs[b].Text, seed, time.Since(begin).Seconds(), kindOf(err))
		})
	}
	t.Log(table.String())
}

// hunt looks for the first seed that finds a bug.
func hunt(b Bug, first int64, n int) (int64, error) {
	s := &search{first: first, n: n, steps: *flagSteps, bug: b, most: 1}
	s.run()
	return s.lowest()
}

// FuzzNode has the fuzzer write schedules.
func FuzzNode(f *testing.F) {
	for seed := range int64(8) {
		f.Add(Schedule(seed, 40))
	}
	u, err := borrow()
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
