package node

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lightningrod/node/store"
)

// TestLineage has a database change its channels three times, puts other files in its place or in that of the lineage file, and looks whether the
// node would go on.
func TestLineage(t *testing.T) {
	for _, x := range []struct {
		name string
		do   func(f *lineageFiles)
		want string // of the refusal; empty: it goes on
	}{
		{"nothing", func(*lineageFiles) {}, ""},
		{"an old copy", func(f *lineageFiles) { f.put("node.db", f.then) }, "changed channels 1 times, where this node has done so 3 times"},
		{"a copy of before the first channel", func(f *lineageFiles) { f.put("node.db", f.empty) }, "it has no channels, where this node has changed channels 3 times"},
		{"no database", func(f *lineageFiles) { f.remove("node.db") }, "node.db is missing"},
		{"nothing at all", func(f *lineageFiles) { f.remove("node.db"); f.remove("node.lineage") }, ""},
		{"another one's database", func(f *lineageFiles) { f.put("node.db", f.foreign) }, "not the database that this node ran on last"},
		{"no lineage file", func(f *lineageFiles) { f.remove("node.lineage") }, ""},
		{"the lineage file after a power cut", func(f *lineageFiles) { f.put("node.lineage", f.lineageThen) }, ""},
		{"an empty lineage file", func(f *lineageFiles) { f.put("node.lineage", nil) }, ""},
		{"a damaged lineage file", func(f *lineageFiles) {
			bad := bytes.Clone(f.lineageThen)
			bad[10] ^= 1
			f.put("node.lineage", bad)
		}, ""},
		{"both of before: nobody can tell", func(f *lineageFiles) { f.put("node.db", f.then); f.put("node.lineage", f.lineageThen) }, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			f := newLineageFiles(t)
			x.do(f)
			l, s, err := f.open()
			if x.want != "" {
				if !errors.Is(err, ErrOld) || !strings.Contains(err.Error(), x.want) {
					t.Fatalf("%v, want %q", err, x.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			l.close()
			s.Close()
		})
	}
}

// lineageFiles are the files of a node whose channels have changed three times, and copies of what they were.
type lineageFiles struct {
	t                                 *testing.T
	dir                               string
	empty, then, foreign, lineageThen []byte // before the first change, after it
}

func newLineageFiles(t *testing.T) *lineageFiles {
	f := &lineageFiles{t: t, dir: t.TempDir()}
	f.change(0)
	f.empty = f.get("node.db")
	f.change(1)
	f.then, f.lineageThen = f.get("node.db"), f.get("node.lineage")
	f.change(2)
	other := &lineageFiles{t: t, dir: t.TempDir()}
	other.change(5)
	f.foreign = other.get("node.db")
	return f
}

func (f *lineageFiles) open() (*lineage, *store.Store, error) {
	cfg := Config{Dir: f.dir}
	path := filepath.Join(f.dir, "node.db")
	if err := checkMissing(&cfg, path); err != nil {
		if _, err := os.Lstat(path); err == nil {
			f.t.Error("it was made all the same")
		}
		return nil, nil, err
	}
	s, err := store.Open(path)
	if err != nil {
		return nil, nil, err
	}
	l, err := openLineage(cfg.lineageFile(), s, cryptoRand)
	if err != nil {
		s.Close()
	}
	return l, s, err
}

// change runs on the files and changes a channel n times; in between it writes rows that are of no channel.
func (f *lineageFiles) change(n int) {
	f.t.Helper()
	l, s, err := f.open()
	for i := 0; err == nil && i < n; i++ {
		err = l.Commit([]store.Write{{{Table: store.Channel, Key: u64(7), Value: []byte{byte(i)}}}})
		if err == nil {
			err = l.Commit([]store.Write{{{Table: store.HTLC, Key: []byte("k"), Value: []byte{byte(i)}}}})
		}
	}
	if err != nil {
		f.t.Fatal(err)
	}
	l.close()
	if err := s.Close(); err != nil {
		f.t.Fatal(err)
	}
}

func (f *lineageFiles) get(name string) []byte {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

func (f *lineageFiles) put(name string, b []byte) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), b, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *lineageFiles) remove(name string) {
	f.t.Helper()
	if err := os.Remove(filepath.Join(f.dir, name)); err != nil {
		f.t.Fatal(err)
	}
}
