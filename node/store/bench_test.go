package store

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkCommit commits groups of n turns, each with the core of a channel of its own (600 bytes), and, one turn in two, an HTLC
// body (1500 bytes) put or deleted. After each Commit the same number of bytes is appended to a plain file and synced: the
// floor that this disk has at this moment. ratio is Commit to floor.
func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1, 8, 64, 512} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkCommit(b, n) })
	}
}

func benchmarkCommit(b *testing.B, n int) {
	s := openTemp(b)
	floor, err := os.Create(filepath.Join(b.TempDir(), "floor"))
	must(b, err)
	defer floor.Close()
	core, body := make([]byte, 600), make([]byte, 1500)
	group, turn := make([]Write, n), uint64(0)
	next := func() (bytes int) {
		for i := range group {
			turn++
			binary.BigEndian.PutUint64(core, turn)
			group[i] = Write{{Channel, ChannelKey(uint64(i)), append([]byte(nil), core...)}}
			bytes += len(core)
			switch id := ChannelKey(turn / 4); turn % 4 {
			case 0:
				group[i] = append(group[i], Op{HTLC, id, body})
				bytes += len(body)
			case 2:
				group[i] = append(group[i], Op{HTLC, id, nil})
			}
		}
		return bytes
	}
	var commits, floors time.Duration
	for b.Loop() {
		bytes := next()
		t0 := time.Now()
		must(b, s.Commit(group))
		t1 := time.Now()
		_, err := floor.Write(make([]byte, bytes))
		must(b, err)
		must(b, syncData(floor))
		commits, floors = commits+t1.Sub(t0), floors+time.Since(t1)
	}
	per := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(b.N) }
	b.ReportMetric(0, "ns/op") // of both together: says nothing
	b.ReportMetric(per(commits), "commit-us")
	b.ReportMetric(per(floors), "floor-us")
	b.ReportMetric(float64(commits)/float64(floors), "ratio")
	b.ReportMetric(float64(n*b.N)/commits.Seconds(), "turns/s")
}
