package store

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The disk is full at the n-th page, for every n until the group fits: each time Commit fails, the Store stays dead, and
// the file holds the state before.
func TestDiskFullAtEveryPage(t *testing.T) {
	s := openTemp(t)
	must(t, s.Commit([]Write{{put(HTLC, "old", "1"), {Channel, ChannelKey(1), []byte("before")}}}))
	before := contents(t, s)
	group := []Write{{{Channel, ChannelKey(1), []byte("after")}, del(HTLC, "old")}}
	for i := range 6 {
		group = append(group, Write{put(HTLC, fmt.Sprint(i), strings.Repeat("x", 9000)), put(Settled, fmt.Sprint(i), "o")})
	}
	pages := pragma(t, s, "page_count")
	failures := 0
	for limit := pages; ; limit++ {
		if got := pragma(t, s, fmt.Sprint("max_page_count = ", limit)); got != limit {
			t.Fatalf("max_page_count %d, want %d", got, limit)
		}
		err := s.Commit(group)
		if err == nil {
			break
		}
		failures++
		if !strings.Contains(err.Error(), "full") {
			t.Fatal(err)
		}
		if again := s.Commit([]Write{{put(Meta, "k", "v")}}); again == nil {
			t.Fatal("a Commit after a failed one went through")
		}
		wantContents(t, s, before)
		s.Abort()
		s = reopen(t, s.Path())
		wantContents(t, s, before)
	}
	if failures < 5 {
		t.Fatalf("only %d failures", failures)
	}
	s.Abort()
	s = reopen(t, s.Path())
	if got := contents(t, s); len(got) != 13 || got["channel/0000000000000001"] != "after" {
		t.Fatalf("after %d failures: %d rows", failures, len(got))
	}
}

func pragma(t *testing.T, s *Store, text string) (n int) {
	t.Helper()
	must(t, s.w.QueryRowContext(context.Background(), "pragma "+text).Scan(&n))
	return n
}

// Whatever prefix of the log a power cut leaves, and whatever bit of it is wrong, what is read back is a prefix of the
// groups: never half a group, never a later one without an earlier one.
func TestTornLog(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))

	s := openTemp(t)
	const groups = 8
	ends := []int64{size(t, s.Path()+"-wal")}
	for i := 1; i <= groups; i++ {
		must(t, s.Commit([]Write{
			{{Channel, ChannelKey(1), fmt.Append(nil, i)}, put(HTLC, "a", fmt.Sprint(i, strings.Repeat("x", rng.IntN(5000))))},
			{{Channel, ChannelKey(uint64(i) + 1), fmt.Append(nil, i)}},
		}))
		ends = append(ends, size(t, s.Path()+"-wal"))
	}
	s.Abort()
	file, err := os.ReadFile(s.Path())
	must(t, err)
	log, err := os.ReadFile(s.Path() + "-wal")
	must(t, err)

	check := func(t *testing.T, log []byte, atLeast int) {
		path := filepath.Join(t.TempDir(), "node.db")
		must(t, os.WriteFile(path, file, 0o600))
		must(t, os.WriteFile(path+"-wal", log, 0o600))
		s := reopen(t, path)
		last, rows := 0, 0
		must(t, s.Load(Channel, func(k, v []byte) error {
			if rows++; rows == 1 {
				_, err := fmt.Sscan(string(v), &last)
				return err
			}
			return nil
		}))
		if last < atLeast {
			t.Fatalf("group %d is the last, %d were synced", last, atLeast)
		}
		if last > 0 && rows != last+1 {
			t.Fatalf("%d channels after group %d", rows, last)
		}
		if v, err := s.Get(HTLC, []byte("a")); err != nil || last > 0 && !strings.HasPrefix(string(v), fmt.Sprint(last)) {
			t.Fatalf("htlc %.10q after group %d: %v", v, last, err)
		}
		s.Abort()
	}
	for i, end := range ends {
		check(t, log[:end], i)
	}
	// The schema is in the log too, in front of the first group: damage there leaves an empty file, which is created anew.
	for range 40 {
		cut := ends[0] + rng.Int64N(int64(len(log))-ends[0])
		synced := 0
		for synced < groups && ends[synced+1] <= cut {
			synced++
		}
		check(t, log[:cut], synced)

		flipped := append([]byte(nil), log...)
		flipped[cut] ^= 1 << rng.IntN(8)
		check(t, flipped, synced)
	}
}

var flips = flag.Int("flips", 150, "damaged files that TestFlippedBits looks at")

// One bit of the file is wrong, somewhere: either that is noticed, or nothing has changed. Never is a row missing, older or another in silence.
func TestFlippedBits(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))

	s := openTemp(t)
	for i := range 12 {
		var w Write
		for _, table := range Tables() {
			key := []byte(fmt.Sprintf("%s %d", table, i))
			if table.numbered() {
				key = ChannelKey(uint64(i) + 1)
			}
			w = append(w, Op{table, key, []byte(strings.Repeat("x", rng.IntN(900)))})
		}
		must(t, s.Commit([]Write{w, {del(Settled, fmt.Sprintf("settled %d", i-3))}})) // what is deleted leaves pages that nobody uses
	}
	before := contents(t, s)
	must(t, s.Close())
	file, err := os.ReadFile(s.Path())
	must(t, err)

	noticed := 0
	for range *flips {
		at, bit := rng.IntN(len(file)), byte(1)<<rng.IntN(8)
		damaged := slices.Clone(file)
		damaged[at] ^= bit
		path := filepath.Join(t.TempDir(), "node.db")
		must(t, os.WriteFile(path, damaged, 0o600))
		s, err := Open(path)
		if err != nil {
			noticed++
			continue
		}
		after, err := read(s)
		s.Abort()
		if err != nil {
			noticed++
			continue
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Fatalf("bit %#x of byte %d is not noticed (-before +after):\n%s", bit, at, diff)
		}
	}
	t.Logf("%d bits, %d noticed, %d of no consequence", *flips, noticed, *flips-noticed)
	if noticed < *flips/3 {
		t.Errorf("%d of %d noticed", noticed, *flips)
	}
}
