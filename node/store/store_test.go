package store

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func openTemp(t testing.TB) *Store {
	t.Helper()
	// A name that would mean something else in a URI or a DSN, if it were not escaped.
	return reopen(t, filepath.Join(t.TempDir(), "a b%20?c#d", "node.db"))
}

func reopen(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Abort)
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t Table, key, value string) Op { return Op{t, []byte(key), []byte(value)} }
func del(t Table, key string) Op        { return Op{Table: t, Key: []byte(key)} }

// contents is all rows as "table/key": value.
func contents(t testing.TB, s *Store) map[string]string {
	t.Helper()
	all, err := read(s)
	must(t, err)
	return all
}

func read(s *Store) (map[string]string, error) {
	all := map[string]string{}
	for _, table := range Tables() {
		err := s.Load(table, func(k, v []byte) error {
			if table.numbered() {
				k = fmt.Appendf(nil, "%x", k)
			}
			all[table.String()+"/"+string(k)] = string(v)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func wantContents(t testing.TB, s *Store, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, contents(t, s)); diff != "" {
		t.Fatalf("rows (-want +got):\n%s", diff)
	}
}

func TestCommitMerges(t *testing.T) {
	tests := []struct {
		name          string
		before, group []Write
		want          map[string]string
	}{
		{"nothing", nil, nil, map[string]string{}},
		{"put", nil, []Write{{put(HTLC, "a", "1")}}, map[string]string{"htlc/a": "1"}},
		{"empty value is a row", nil, []Write{{put(HTLC, "a", "")}}, map[string]string{"htlc/a": ""}},
		{"last put wins", nil, []Write{{put(HTLC, "a", "1"), put(HTLC, "a", "2")}, {put(HTLC, "a", "3")}}, map[string]string{"htlc/a": "3"}},
		{"one key in two tables", nil, []Write{{put(HTLC, "a", "1"), put(Settled, "a", "2")}}, map[string]string{"htlc/a": "1", "settled/a": "2"}},
		{"overwrite", []Write{{put(HTLC, "a", "1")}}, []Write{{put(HTLC, "a", "2")}}, map[string]string{"htlc/a": "2"}},
		{"delete", []Write{{put(HTLC, "a", "1"), put(HTLC, "b", "1")}}, []Write{{del(HTLC, "a")}}, map[string]string{"htlc/b": "1"}},
		{"delete of the absent", nil, []Write{{del(HTLC, "a")}}, map[string]string{}},
		{"put then delete of a new row", nil, []Write{{put(Settled, "a", "1")}, {del(Settled, "a")}}, map[string]string{}},
		{"put then delete of an old row", []Write{{put(Settled, "a", "0")}}, []Write{{put(Settled, "a", "1")}, {del(Settled, "a")}}, map[string]string{}},
		{"delete then put", []Write{{put(Settled, "a", "0")}}, []Write{{del(Settled, "a")}, {put(Settled, "a", "1")}}, map[string]string{"settled/a": "1"}},
		{"channel", nil, []Write{{Op{Channel, ChannelKey(258), []byte("core")}}}, map[string]string{"channel/0000000000000102": "core"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := openTemp(t)
			must(t, s.Commit(test.before))
			must(t, s.Commit(test.group))
			wantContents(t, s, test.want)
			s.Abort()
			s = reopen(t, s.Path())
			wantContents(t, s, test.want)
		})
	}
}

// A row that lives within one group costs no page.
func TestCancelledRowsDirtyNothing(t *testing.T) {
	s := openTemp(t)
	must(t, s.Commit([]Write{{put(Settled, "other", "x")}}))
	before := size(t, s.Path()+"-wal")
	must(t, s.Commit([]Write{{put(Settled, "a", "1")}, {del(Settled, "a"), del(HTLC, "absent")}}))
	if after := size(t, s.Path()+"-wal"); after != before {
		t.Fatalf("log grew from %d to %d bytes", before, after)
	}
}

func size(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	return info.Size()
}

func TestBadOperationsAreRefused(t *testing.T) {
	tests := []struct {
		op   Op
		want string
	}{
		{Op{0, []byte("k"), []byte("v")}, "unknown table 0"},
		{Op{endOfTables, []byte("k"), []byte("v")}, fmt.Sprintf("unknown table %d", endOfTables)},
		{Op{Channel, []byte("seven b"), []byte("v")}, "key of 7 bytes, want 8"},
		{Op{Channel, bytes.Repeat([]byte{0xff}, 8), []byte("v")}, "above"},
		{Op{HTLC, nil, []byte("v")}, "empty key"},
	}
	for _, test := range tests {
		t.Run(test.want, func(t *testing.T) {
			s := openTemp(t)
			err := s.Commit([]Write{{put(Meta, "first", "1"), test.op}})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want %q", err, test.want)
			}
			wantContents(t, s, map[string]string{})
			if again := s.Commit([]Write{{put(Meta, "k", "v")}}); again == nil {
				t.Fatal("a Commit after a failed one went through")
			}
		})
	}
}

func TestLoadOrderRangeAndGet(t *testing.T) {
	s := openTemp(t)
	var group []Write
	for _, n := range []uint64{300, 2, 256, 1} {
		group = append(group, Write{{Channel, ChannelKey(n), fmt.Append(nil, n)}})
	}
	for _, k := range []string{"b", "a", "ab", "c"} {
		group = append(group, Write{put(Peer, k, k)})
	}
	must(t, s.Commit(group))

	read := func(table Table, from, to []byte) (got []string) {
		must(t, s.Range(table, from, to, func(_, v []byte) error { got = append(got, string(v)); return nil }))
		return got
	}
	for _, test := range []struct {
		name     string
		table    Table
		from, to []byte
		want     []string
	}{
		{"numbers ascend", Channel, nil, nil, []string{"1", "2", "256", "300"}},
		{"numbers in a range", Channel, ChannelKey(2), ChannelKey(300), []string{"2", "256"}},
		{"bytes ascend", Peer, nil, nil, []string{"a", "ab", "b", "c"}},
		{"bytes from", Peer, []byte("ab"), nil, []string{"ab", "b", "c"}},
		{"bytes to", Peer, nil, []byte("b"), []string{"a", "ab"}},
		{"empty table", Outbox, nil, nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, read(test.table, test.from, test.to)); diff != "" {
				t.Fatal(diff)
			}
		})
	}

	if v, err := s.Get(Channel, ChannelKey(256)); err != nil || string(v) != "256" {
		t.Fatalf("Get: %q, %v", v, err)
	}
	if v, err := s.Get(Peer, []byte("z")); err != nil || v != nil {
		t.Fatalf("Get of an absent row: %q, %v", v, err)
	}
	if err := s.Load(Peer, func(_, _ []byte) error { return io.EOF }); err != io.EOF {
		t.Fatalf("error of the callback came back as %v", err)
	}
	// A callback may read and write: readers have connections of their own.
	must(t, s.Load(Peer, func(k, _ []byte) error {
		if _, err := s.Get(Peer, k); err != nil {
			return err
		}
		return s.Commit([]Write{{put(Meta, "seen "+string(k), "")}})
	}))
}

func TestAbortKeepsCommittedAndDropsTheRest(t *testing.T) {
	s := openTemp(t)
	must(t, s.Commit([]Write{{put(HTLC, "a", "1")}}))
	// A transaction under way, as a crash in the middle of Commit leaves it.
	ctx := context.Background()
	_, err := s.begin.ExecContext(ctx)
	must(t, err)
	_, err = s.puts[HTLC].ExecContext(ctx, []byte("b"), []byte("2"), int64(0))
	must(t, err)
	s.Abort()
	if size(t, s.Path()+"-wal") == 0 {
		t.Fatal("Abort checkpointed the log")
	}
	if err := s.Commit([]Write{{put(HTLC, "c", "3")}}); !errors.Is(err, ErrClosed) {
		t.Fatalf("Commit after Abort: %v", err)
	}
	s = reopen(t, s.Path())
	wantContents(t, s, map[string]string{"htlc/a": "1"})
	must(t, s.Close())
	if _, err := os.Stat(s.Path() + "-wal"); !os.IsNotExist(err) {
		t.Fatalf("Close left the log: %v", err)
	}
	must(t, s.Close())
	wantContents(t, reopen(t, s.Path()), map[string]string{"htlc/a": "1"})
}

func TestSecondOpenerIsRefused(t *testing.T) {
	s := openTemp(t)
	_, err := Open(s.Path())
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Fatalf("second Open: %v", err)
	}
	must(t, s.Commit([]Write{{put(Meta, "k", "v")}}))
	must(t, s.Close())
	reopen(t, s.Path())
}

func TestBind(t *testing.T) {
	s := openTemp(t)
	alice, bob := [33]byte{2, 1}, [33]byte{2, 2}
	must(t, s.Bind("regtest", alice))
	s.Abort()
	s = reopen(t, s.Path())
	must(t, s.Bind("regtest", alice))
	for _, err := range []error{s.Bind("bitcoin", alice), s.Bind("regtest", bob)} {
		if !errors.Is(err, ErrForeign) {
			t.Fatalf("bound to another: %v", err)
		}
	}
}

func TestSchemaVersions(t *testing.T) {
	exec := func(t *testing.T, s *Store, text string) {
		t.Helper()
		_, err := s.w.ExecContext(context.Background(), text)
		must(t, err)
	}
	t.Run("newer", func(t *testing.T) {
		s := openTemp(t)
		exec(t, s, "pragma user_version = 99")
		must(t, s.Close())
		if _, err := Open(s.Path()); !errors.Is(err, ErrNewerSchema) || !strings.Contains(err.Error(), "version 99") {
			t.Fatal(err)
		}
	})
	t.Run("other program", func(t *testing.T) {
		s := openTemp(t)
		exec(t, s, "pragma application_id = 1")
		must(t, s.Close())
		if _, err := Open(s.Path()); err == nil || !strings.Contains(err.Error(), "another program") {
			t.Fatal(err)
		}
	})
	t.Run("not a database", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "x")
		must(t, os.WriteFile(path, bytes.Repeat([]byte("no "), 5000), 0o600))
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "not a database") {
			t.Fatal(err)
		}
	})
	t.Run("upgrade", func(t *testing.T) {
		s := openTemp(t)
		must(t, s.Commit([]Write{{put(Meta, "k", "v")}}))
		must(t, s.Close())
		now := len(migrations)
		_, err := open(s.Path(), append(migrations[:now:now], "create table extra(x); create nonsense"))
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("from schema version %d to %d", now, now+1)) {
			t.Fatalf("a bad script: %v", err)
		}
		steps := append(migrations[:now:now], "create table extra(x);")
		for range 2 { // the second time there is nothing to do
			s, err = open(s.Path(), steps)
			must(t, err)
			wantContents(t, s, map[string]string{"meta/k": "v"})
			must(t, s.Close())
		}
		if _, err := Open(s.Path()); !errors.Is(err, ErrNewerSchema) {
			t.Fatal(err)
		}
	})
}

// A database of the program before this one is brought up to date, with every row in its place, and takes what is new.
func TestVersion1(t *testing.T) {
	f, err := os.Open(filepath.Join("testdata", "version1.db.gz"))
	must(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	must(t, err)
	file, err := io.ReadAll(z)
	must(t, err)
	path := filepath.Join(t.TempDir(), "node.db")
	must(t, os.WriteFile(path, file, 0o600))

	s := reopen(t, path)
	must(t, s.Bind("regtest", [33]byte{2, 1}))
	want := map[string]string{"meta/network": "regtest", "meta/node": string(append([]byte{2, 1}, make([]byte, 31)...)), "channel/0000000000000007": "core 7"}
	for _, table := range Tables() {
		if table != Meta && table != Channel && table != Event && table != Client {
			want[table.String()+"/key of "+table.String()] = "value of " + table.String()
		}
	}
	wantContents(t, s, want)
	must(t, s.Commit([]Write{{{Event, ChannelKey(1), []byte("news")}, put(Client, "02", "seen")}}))
	want["event/0000000000000001"], want["client/02"] = "news", "seen"
	for range 2 {
		wantContents(t, s, want)
		must(t, s.Close())
		s = reopen(t, path)
	}
}

func TestFloor(t *testing.T) {
	s := openTemp(t)
	for _, table := range []Table{Event, Peer} {
		if k, v, err := s.Floor(table, nil); k != nil || v != nil || err != nil {
			t.Fatalf("of an empty table: %x %q %v", k, v, err)
		}
		must(t, s.Commit([]Write{{{table, ChannelKey(5), []byte("5")}, {table, ChannelKey(300), []byte("300")}}}))
		for _, test := range []struct {
			key  []byte
			want string
		}{
			{nil, "300"}, {ChannelKey(4), ""}, {ChannelKey(5), "5"}, {ChannelKey(299), "5"}, {ChannelKey(300), "300"}, {ChannelKey(1 << 62), "300"},
		} {
			if _, v, err := s.Floor(table, test.key); string(v) != test.want || err != nil {
				t.Errorf("%s: floor of %x is %q, %v; want %q", table, test.key, v, err, test.want)
			}
		}
	}
	if _, _, err := s.Floor(Event, []byte("x")); err == nil {
		t.Error("a key of one byte")
	}
}

func TestBackup(t *testing.T) {
	s := openTemp(t)
	must(t, s.Commit([]Write{{put(HTLC, "a", "1"), {Channel, ChannelKey(7), []byte("core")}}}))
	to := filepath.Join(t.TempDir(), "copy.db")
	must(t, s.Backup(to))
	must(t, s.Commit([]Write{{put(HTLC, "b", "2")}}))
	if err := s.Backup(to); err == nil {
		t.Fatal("a backup was replaced")
	}
	if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(to + ".*"); left != nil {
		t.Fatalf("left behind: %v", left)
	}
	if _, err := Open(to); !errors.Is(err, ErrBackup) {
		t.Fatalf("a backup is opened: %v", err)
	}
	must(t, Unmark(to))
	if err := Unmark(to); err == nil {
		t.Fatal("a database is unmarked")
	}
	wantContents(t, reopen(t, to), map[string]string{"htlc/a": "1", "channel/0000000000000007": "core"})
}

func TestDamagedRowIsReported(t *testing.T) {
	s := openTemp(t)
	must(t, s.Commit([]Write{{{Channel, ChannelKey(1), []byte("core")}, put(Meta, "k", "v")}}))
	ctx := context.Background()
	for _, text := range []string{"update channel set v = x'00'", "update meta set k = x'6c'"} {
		_, err := s.w.ExecContext(ctx, text)
		must(t, err)
	}
	for _, table := range []Table{Channel, Meta} {
		err := s.Load(table, func(_, _ []byte) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("table %s: %v", table, err)
		}
	}
	if _, err := s.Get(Meta, []byte("l")); err == nil {
		t.Error("Get returned a damaged row")
	}
}

// Readers, a backup and the writer at once, for the race detector; every reader sees whole groups.
func TestConcurrentReaders(t *testing.T) {
	s := openTemp(t)
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for {
				var seen []string
				if err := s.Load(Request, func(_, v []byte) error { seen = append(seen, string(v)); return nil }); err != nil {
					t.Error(err)
				}
				for _, v := range seen {
					if v != seen[0] || len(seen) != 10 {
						t.Errorf("a reader saw part of a group: %q", seen)
					}
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 50 {
		var w Write
		for k := range 10 {
			w = append(w, put(Request, fmt.Sprint("k", k), fmt.Sprint(i)))
		}
		must(t, s.Commit([]Write{w}))
		if i == 25 {
			must(t, s.Backup(filepath.Join(t.TempDir(), "b")))
		}
	}
	close(done)
	wg.Wait()
}

// The store against a map, with crashes.
func TestRandomAgainstMap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	s := openTemp(t)
	model := map[string]string{}
	for range 150 {
		var group []Write
		for range rng.IntN(5) {
			var w Write
			for range rng.IntN(6) {
				op := Op{Table: Tables()[rng.IntN(3)], Key: ChannelKey(rng.Uint64N(8))}
				name := fmt.Sprintf("%s/%s", op.Table, op.Key)
				if op.Table == Channel {
					name = fmt.Sprintf("channel/%x", op.Key)
				}
				delete(model, name)
				if rng.IntN(3) > 0 {
					op.Value = bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(6000))
					model[name] = string(op.Value)
				}
				w = append(w, op)
			}
			group = append(group, w)
		}
		must(t, s.Commit(group))
		if rng.IntN(10) == 0 {
			s.Abort()
			s = reopen(t, s.Path())
		}
		wantContents(t, s, model)
	}
}
