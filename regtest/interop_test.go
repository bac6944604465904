package regtest_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lightningrod/regtest"
)

var (
	matrixFile = flag.String("matrix", os.Getenv("ROD_MATRIX"), "write the table of what ran against whom to this file, as Markdown")
	full       = flag.Bool("full", false, "run the long scripts too")
)

func TestMain(m *testing.M) {
	flag.Parse()
	status := m.Run()
	regtest.RemoveBuilt()
	os.Exit(status)
}

// kinds are the programs that scripts are run against: the columns of the table. Ours is one of them: what goes wrong there too is no
// matter of interoperation.
var kinds = map[string]func(t testing.TB, name string, btc *regtest.Bitcoin, options ...string) regtest.Node{
	"cln": func(t testing.TB, name string, btc *regtest.Bitcoin, options ...string) regtest.Node {
		return regtest.NewCln(t, name, btc, options...)
	},
	"eclair": func(t testing.TB, name string, btc *regtest.Bitcoin, options ...string) regtest.Node {
		return regtest.NewEclair(t, name, btc, options...)
	},
	"ldk": func(t testing.TB, name string, btc *regtest.Bitcoin, options ...string) regtest.Node {
		return regtest.NewLdk(t, name, btc, options...)
	},
	"lnd": func(t testing.TB, name string, btc *regtest.Bitcoin, options ...string) regtest.Node {
		return regtest.NewLnd(t, name, btc, options...)
	},
	"rod": func(t testing.TB, name string, btc *regtest.Bitcoin, options ...string) regtest.Node {
		return regtest.NewRodd(t, name, btc, options...)
	},
}

// TestInterop runs every script of testdata against every kind of peer.
func TestInterop(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: real nodes take too long for -short")
	}
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scripts (%v)", err)
	}
	table := &matrix{begin: time.Now(), cells: map[cell]result{}}
	for _, path := range paths {
		s, err := readScript(path, strings.TrimSuffix(filepath.Base(path), ".txt"))
		if err != nil {
			t.Fatal(err)
		}
		table.scripts = append(table.scripts, s)
	}
	t.Run("peer", func(t *testing.T) {
		for _, kind := range slices.Sorted(maps.Keys(kinds)) {
			for _, s := range table.scripts {
				if len(s.only) > 0 && !slices.Contains(s.only, kind) {
					continue
				}
				t.Run(kind+"/"+s.name, func(t *testing.T) {
					t.Parallel()
					begin := time.Now()
					var failed error
					defer func() { table.note(t, cell{kind, s.name}, time.Since(begin), failed) }()
					if s.full && !*full {
						t.Skip("SKIPPED: long, runs with -full")
					}
					if why := s.not[kind]; why != "" {
						t.Skip("SKIPPED: " + why)
					}
					switch kind { // rarely there: nothing else has to start first
					case "cln":
						regtest.FindCln(t)
					case "eclair":
						regtest.FindEclair(t)
					case "ldk":
						regtest.FindLdk(t)
					}
					failed = newWorld(t, kind).run(s)
				})
			}
		}
	})
	text := table.String()
	fmt.Print(text)
	if *matrixFile != "" {
		if err := os.WriteFile(*matrixFile, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// TestScripts reads every script, also where no program is there to run it against; and what is wrong in a script is said with its line.
func TestScripts(t *testing.T) {
	paths, _ := filepath.Glob("testdata/*.txt")
	for _, path := range paths {
		if _, err := readScript(path, path); err != nil {
			t.Error(err)
		}
	}
	for text, want := range map[string]string{
		"opn rod1 peer1":              "no such command",
		"open rod1 peer1":             "want \"open",
		"open rod1 peer1 1sat x=1":    "no option x",
		"expect grph rod1":            "no such command",
		"pay rod1 peer1 1sat 2 3 4 5": "want \"pay",
	} {
		if _, err := readLine(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]int64{"5msat": 5, "1sat": 1000, "0.5btc": 5e10} {
		if got, err := msat(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	if _, err := sat("5msat"); err == nil {
		t.Error("5msat are whole satoshi")
	}
}

// matrix is what ran against whom, and how it went.
type matrix struct {
	begin   time.Time
	scripts []*script
	mu      sync.Mutex
	cells   map[cell]result
}

type cell struct{ kind, script string }

type result struct {
	state string // ok, FAILED or skipped
	took  time.Duration
	err   error // of the script's last command
}

func (m *matrix) note(t *testing.T, c cell, took time.Duration, err error) {
	r := result{"ok", took, err}
	switch {
	case t.Failed():
		r.state = "FAILED"
	case t.Skipped():
		r.state = "skipped"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cells[c] = r
}

// String is the table as Markdown, with the sums.
func (m *matrix) String() string {
	var b strings.Builder
	names := slices.Sorted(maps.Keys(kinds))
	fmt.Fprintf(&b, "| scenario | %s |\n|---|%s\n", strings.Join(names, " | "), strings.Repeat("---|", len(names)))
	sums := map[cell]int{}
	for _, s := range m.scripts {
		fmt.Fprintf(&b, "| %s: %s |", s.name, s.title)
		for _, kind := range names {
			r, ran := m.cells[cell{kind, s.name}]
			switch {
			case !ran:
				b.WriteString(" - |")
				continue
			case r.state == "skipped":
				b.WriteString(strings.TrimSuffix(" skipped: "+s.not[kind], ": ") + " |")
			default:
				fmt.Fprintf(&b, " %s, %.0f s |", r.state, r.took.Seconds())
			}
			sums[cell{kind, r.state}]++
		}
		b.WriteString("\n")
	}
	b.WriteString("| sum |")
	for _, kind := range names {
		fmt.Fprintf(&b, " %d ok, %d failed, %d skipped |", sums[cell{kind, "ok"}], sums[cell{kind, "FAILED"}], sums[cell{kind, "skipped"}])
	}
	b.WriteString("\n")
	for _, kind := range names {
		for _, s := range m.scripts {
			if err := m.cells[cell{kind, s.name}].err; err != nil {
				text, _, _ := strings.Cut(err.Error(), "\n")
				fmt.Fprintf(&b, "\n- against %s: %.1000s", kind, text)
			}
		}
	}
	fmt.Fprintf(&b, "\nTook %.0f s.\n", time.Since(m.begin).Seconds())
	return b.String()
}

// run runs a script to its end, or to the first command that fails.
func (w *world) run(s *script) error {
	w.t.Helper()
	defer w.stopFlows()
	err := w.runLines(s.name, s.lines)
	if err != nil {
		w.t.Error(err)
		w.tails(err)
	}
	return err
}

func (w *world) runLines(name string, lines []line) error {
	for _, l := range lines {
		begin := time.Now()
		w.script = name
		if err := l.command.run(w, &l); err != nil {
			if l.block != nil {
				return err // says where
			}
			return fmt.Errorf("%s.txt:%d: %s: %w", name, l.number, l.text, err)
		}
		w.t.Logf("%s.txt:%d: %s: %.1f s", name, l.number, l.text, time.Since(begin).Seconds())
	}
	return nil
}

// tails shows what the nodes have written last, unless the error does.
func (w *world) tails(err error) {
	var f *regtest.Fault
	if errors.As(err, &f) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(w.nodes)) {
		if n, ok := w.nodes[name].(interface{ Tail() string }); ok {
			w.t.Logf("---- %s has written:\n%s", name, n.Tail())
		}
	}
}
