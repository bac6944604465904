package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata anew")

// play runs the tool as a shell would.
func play(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, &out, &errs)
	return out.String(), errs.String(), status
}

// brief are the scenarios of -short: a restart, several parts, strangers, a theft.
var brief = []string{"happy", "lsp-crash", "mpp-3", "forged-hold", "revoked-state"}

// TestScenarios plays every scenario: each proves itself.
func TestScenarios(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			if testing.Short() && !slices.Contains(brief, s.name) {
				t.Skip("-short")
			}
			t.Parallel()
			out, errs, status := play(t, "demo", "--json", "--pace", "0", "--scenario", s.name)
			if status != exitOK || errs != "" {
				t.Fatalf("status %d\n%s%s", status, out, errs)
			}
			checkLines(t, s.name, strings.Split(strings.TrimSpace(out), "\n"))
		})
	}
}

// checkLines holds the lines of --json to their schema: unknown fields are an error.
func checkLines(t *testing.T, name string, lines []string) {
	t.Helper()
	strict := func(line string, into any) {
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(into); err != nil {
			t.Errorf("%v: %s", err, line)
		}
	}
	at := 0.0
	for _, line := range lines[:len(lines)-1] {
		var l told
		strict(line, &l)
		if l.Text == "" || l.At < at {
			t.Errorf("line %s", line)
		}
		at = l.At
	}
	var r result
	strict(lines[len(lines)-1], &r)
	play, _ := findScenario(name)
	least := len(proofs)
	if play.proof != nil {
		least = len(play.proof)
	}
	if r.Scenario != name || !r.OK || len(r.Checks) < least || r.Seconds <= 0 || r.Seed != 1 {
		t.Errorf("result %+v", r)
	}
	var names []string
	for _, c := range r.Checks {
		if !c.OK || c.Detail == "" || slices.Contains(names, c.Name) {
			t.Errorf("check %+v", c)
		}
		names = append(names, c.Name)
	}
	var before, after uint64
	for _, who := range []string{"A", "LSP_a", "LSP_b", "B"} {
		if _, ok := r.Balances[who]; !ok {
			t.Errorf("no balance of %s", who)
		}
	}
	for _, b := range r.Balances {
		before, after = before+b.Before, after+b.After
	}
	for _, cost := range r.OnChain {
		after += cost
	}
	if before == 0 || before != after {
		t.Errorf("balances add up to %d before, and with what the chain cost to %d after", before, after)
	}
	if (len(r.OnChain) > 0) != (play.proof != nil) {
		t.Errorf("the chain cost %v", r.OnChain)
	}
}

// varying is what differs from run to run: hashes, times, and the height at which a node notices something.
var varying = regexp.MustCompile(`[0-9a-f]{8,}|\d+\.\d s|it is block \d+`)

// TestNarration compares what a person reads with testdata. -update writes it.
func TestNarration(t *testing.T) {
	for _, name := range []string{"happy", "revoked-state"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, errs, status := play(t, "demo", "--pace", "0", "--scenario", name)
			if status != exitOK || errs != "" {
				t.Fatalf("status %d\n%s%s", status, out, errs)
			}
			got := varying.ReplaceAllString(out, "...")
			path := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestFiles: --dir keeps the files of every run, and a run touches no other's.
func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, run := range []string{"happy-1", "happy-2"} {
		out, errs, status := play(t, "demo", "--json", "--pace", "0", "--dir", dir)
		if status != exitOK {
			t.Fatalf("status %d\n%s%s", status, out, errs)
		}
		for _, file := range []string{"A/node.db", "LSP_a/node.db", "LSP_b/node.db", "B/node.db", "chain"} {
			if _, err := os.Stat(filepath.Join(dir, run, file)); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestSeed: ids follow from the seed, and from nothing else.
func TestSeed(t *testing.T) {
	t.Parallel()
	ids := map[[33]byte]bool{}
	for _, seed := range []uint64{1, 1, 2} {
		w, err := newWorld(t.Context(), "seed", options{seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		a := w.actor("A", false)
		if err := a.wake(); err != nil {
			t.Fatal(err)
		}
		ids[a.node.ID()] = true
		if err := w.close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(w.dir); !os.IsNotExist(err) {
			t.Errorf("the temporary folder is still there: %v", err)
		}
	}
	if len(ids) != 2 {
		t.Errorf("%d ids from two seeds", len(ids))
	}
}

// TestInterrupt: whenever the interrupt comes, the demo ends soon and leaves nothing behind.
func TestInterrupt(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	for _, after := range []time.Duration{0, 50 * time.Millisecond, 150 * time.Millisecond, 400 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		var out, errs bytes.Buffer
		status := run(ctx, []string{"demo", "--pace", "1s"}, &out, &errs)
		cancel()
		if status != exitInterrupted || !strings.Contains(errs.String(), "interrupted") {
			t.Errorf("after %s: status %d\n%s%s", after, status, out.String(), errs.String())
		}
		left, err := os.ReadDir(temp)
		if err != nil || len(left) > 0 {
			t.Errorf("after %s: left behind: %v %v", after, left, err)
		}
	}
}

// TestUsage: what is asked of the tool without a performance.
func TestUsage(t *testing.T) {
	out, _, status := play(t, "demo", "--list")
	if status != exitOK || out != strings.Join(scenarioNames(), "\n")+"\n" {
		t.Errorf("--list: %d %q", status, out)
	}
	if out, _, status = play(t, "--help"); status != exitOK || !strings.Contains(out, "demo") {
		t.Errorf("--help: %d %q", status, out)
	}
	for _, args := range [][]string{{}, {"demo", "--scenario", "nobody"}, {"demo", "--pace", "-1s"}, {"demo", "--seed", "x"}, {"dance"}} {
		if out, errs, status := play(t, args...); status != exitUsage || !strings.HasPrefix(errs, "rod: ") || out != "" {
			t.Errorf("%q: status %d, out %q, err %q", args, status, out, errs)
		}
	}
}

// TestFailureIsTold: a check that fails is named, and the status is not 0.
func TestFailureIsTold(t *testing.T) {
	t.Parallel()
	refuse := scenario{"refuse", "A check fails", four, []act{func(s *stage) error { return fail("wish", "%s will not", s.a.name) }}, nil}
	var out bytes.Buffer
	r, err := perform(t.Context(), refuse, options{seed: 1}, newNarrator(&out, false))
	if err != nil || r.OK || len(r.Checks) != 1 || r.Checks[0] != (check{"wish", false, "A will not"}) {
		t.Errorf("%+v %v", r, err)
	}
	if !strings.HasSuffix(out.String(), "refuse: check wish fails: A will not\n") {
		t.Error(out.String())
	}
}
