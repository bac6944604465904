package embedded

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzJournal opens arbitrary bytes as a journal: whole records come out, what is torn is cut off, and the same records come
// out again with one more behind them.
func FuzzJournal(f *testing.F) {
	path := filepath.Join(f.TempDir(), "journal")
	j, err := openJournal(path, nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, body := range [][]byte{{}, {1}, bytes.Repeat([]byte{2}, 300)} {
		if err := j.append(recordBlock, body); err != nil {
			f.Fatal(err)
		}
	}
	j.close(false)
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte{recordBlock, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		read := func() (records [][]byte, j *journal) {
			j, err := openJournal(path, func(kind byte, body []byte) error {
				records = append(records, append([]byte{kind}, body...))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return records, j
		}
		first, j := read()
		if err := j.append(recordInvalid, []byte("one more")); err != nil {
			t.Fatal(err)
		}
		j.close(false)
		again, j := read()
		j.close(true)
		if len(again) != len(first)+1 || string(again[len(first)]) != "\x02one more" {
			t.Fatalf("%d records, then %d", len(first), len(again))
		}
		if empty, j := read(); len(empty) != 0 || j.close(true) != nil {
			t.Fatalf("%d records in an emptied journal", len(empty))
		}
	})
}
