package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lightningrod/cmd/internal/api"
)

// fill writes a file until the disk has this many bytes left.
func fill(t *testing.T, dir string, left uint64) (path string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); ; {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(dir, &fs); err != nil {
			t.Fatal(err)
		}
		if fs.Bavail*uint64(fs.Bsize) <= left {
			return f.Name()
		}
		if _, err := f.Write(block); err != nil {
			return f.Name()
		}
	}
}

// smallDisk is a disk of 32 MB.
func smallDisk(t *testing.T) string {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=32m"); err != nil {
		t.Skipf("SKIPPED: a small disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestFullDisk: a disk that is full at the start, that becomes full while the node runs, and that has no room for a backup. The first two end the
// node with one clear line; the third it survives. With room again it is the node that it was.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t)
	p := runRodd(t, disk)
	p.post("/chain/blocks", api.Mine{Blocks: 3}, nil)
	before := p.info()

	backups := filepath.Join(disk, "regtest", "backups")
	filler := fill(t, disk, 64<<10)
	if err := p.Do(t.Context(), "POST", "/backups", nil, nil, ""); err == nil || !strings.Contains(err.Error(), "full") {
		t.Fatalf("backup: %v", err)
	}
	if left, _ := os.ReadDir(backups); len(left) != 0 {
		t.Fatalf("a failed backup left %v", left)
	}
	// The chain may refuse a block before the store has failed; invoices go on until it has.
	for i := 0; i < 10_000; i++ {
		mined := p.Do(t.Context(), "POST", "/chain/blocks", api.Mine{Blocks: 1}, nil, "")
		noted := p.Do(t.Context(), "POST", "/invoices", api.CreateInvoice{Amount: 1, Description: strings.Repeat("x", 600)}, nil, "")
		if mined != nil && noted != nil {
			break
		}
	}
	if status := p.wait(); status != exitFailed {
		t.Fatalf("%d %s", status, p.stderr)
	}
	lines := strings.Split(strings.TrimSpace(p.stderr.String()), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "rodd: the node ended: ") || !strings.Contains(last, "full") {
		t.Fatalf("last line %q", last)
	}
	t.Log(last)

	fill(t, disk, 0)
	status, _, errs := does(t, "", "--data-dir", disk, "--listen.p2p=")
	lines = strings.Split(strings.TrimSpace(errs), "\n")
	last = lines[len(lines)-1]
	if status != exitFailed || !strings.HasPrefix(last, "rodd: ") || !strings.Contains(last, "full") && !strings.Contains(last, "no space left") {
		t.Fatalf("full at the start: %d %s", status, errs)
	}
	t.Log(last)

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	p = runRodd(t, disk)
	if now := p.info(); now.ID != before.ID || now.Height < before.Height {
		t.Fatalf("%+v, before %+v", now, before)
	}
	p.post("/chain/blocks", api.Mine{Blocks: 1}, nil)
	p.post("/backups", nil, nil)
	if status := p.end(); status != exitOK {
		t.Fatalf("%d %s", status, p.stderr)
	}
}
