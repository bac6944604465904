//go:build unix

package embedded

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

const fullDisk = "CHAIN_FULL_DISK"

// TestFullDisk has a child process whose files cannot grow any more: the chain ends with errors, in bounded time, and opens again as it was.
func TestFullDisk(t *testing.T) {
	if dir := os.Getenv(fullDisk); dir != "" {
		fillDisk(t, dir)
		return
	}
	dir := t.TempDir()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
	child.Env = append(os.Environ(), fullDisk+"="+dir)
	out, err := child.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "closed:") {
		t.Fatalf("child: %v", err)
	}
	c := open(t, dir)
	if height, _ := c.Tip(); height < 150 {
		t.Errorf("%d blocks are left", height)
	}
	mine(t, c, 1)
}

// fillDisk runs in the child.
func fillDisk(t *testing.T, dir string) {
	c, err := New(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	c.wait = time.Second
	mine(t, c, 150)
	// No write beyond 4 KiB of a file succeeds any more.
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 4096, Max: 4096}); err != nil {
		t.Skipf("setrlimit: %v", err)
	}
	if _, err = c.Mine(1, nil); err == nil {
		t.Fatal("a block is written on a full disk")
	}
	t.Logf("mined: %v", err)
	t.Logf("closed: %v", c.Close())
}
