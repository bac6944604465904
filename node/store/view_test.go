package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A view shows what is committed, also what only the log has, and leaves every file as it was.
func TestView(t *testing.T) {
	s := openTemp(t)
	must(t, s.Commit([]Write{{put(HTLC, "a", "1"), {Channel, ChannelKey(7), []byte("core")}}}))
	if _, err := View(s.Path()); !errors.Is(err, ErrLocked) {
		t.Fatalf("while it is open: %v", err)
	}
	backup := filepath.Join(t.TempDir(), "backup.db")
	must(t, s.Backup(backup))
	s.Abort() // the log stays
	want := map[string]string{"htlc/a": "1", "channel/0000000000000007": "core"}
	for name, path := range map[string]string{"log": s.Path(), "backup": backup} {
		before := sizes(t, path)
		v, err := View(path)
		must(t, err)
		wantContents(t, v, want)
		if err := v.Commit([]Write{{put(HTLC, "b", "2")}}); !errors.Is(err, errView) {
			t.Fatalf("%s: Commit gave %v", name, err)
		}
		if name == "log" {
			if _, err := Open(path); !errors.Is(err, ErrLocked) {
				t.Fatalf("a node started beside a view: %v", err)
			}
		}
		must(t, v.Close())
		for file, size := range sizes(t, path) {
			if b, ok := before[file]; ok && b != size {
				t.Errorf("%s: %s had %d bytes and has %d", name, file, b, size)
			}
		}
	}
	s = reopen(t, s.Path())
	wantContents(t, s, want)
	must(t, s.Close())
	// All in the file, and nothing can be written beside it.
	dir := filepath.Dir(s.Path())
	must(t, os.Chmod(dir, 0o500))
	t.Cleanup(func() { os.Chmod(dir, 0o700) })
	v, err := View(s.Path())
	must(t, err)
	wantContents(t, v, want)
	must(t, v.Close())
}

// sizes are the files beside a database, but for the one that connections share in memory.
func sizes(t *testing.T, path string) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	entries, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && !strings.HasSuffix(e.Name(), "-shm") {
			all[e.Name()] = info.Size()
		}
	}
	return all
}

func TestViewRefuses(t *testing.T) {
	dir := t.TempDir()
	text, empty := filepath.Join(dir, "text"), filepath.Join(dir, "empty")
	must(t, os.WriteFile(text, []byte(strings.Repeat("no database ", 100)), 0o600))
	must(t, os.WriteFile(empty, nil, 0o600))
	for path, want := range map[string]string{filepath.Join(dir, "none"): "no such file", dir: "not a file", text: "not a database", empty: "another program"} {
		if _, err := View(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	old, err := open(filepath.Join(dir, "old.db"), migrations[:1])
	if err == nil {
		t.Fatal("a store of schema 1 prepared the statements of schema 2")
	}
	_ = old
	if _, err := View(filepath.Join(dir, "old.db")); err == nil || !strings.Contains(err.Error(), "older than") {
		t.Errorf("old schema: %v", err)
	}
}
