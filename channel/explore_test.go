package channel_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"lightningrod/channel"
	"lightningrod/channel/channeltest"

	"github.com/google/go-cmp/cmp"
)

// TestBrokenLadder: with one wrong entry in the ladder the explorer finds the shortest way to where it shows, as a golden
// script that goes there; with the right one the script ends well.
func TestBrokenLadder(t *testing.T) {
	p, err := channeltest.Open(channeltest.Options{Toy: true, Push: 400_000_000})
	step(t, err)
	p.Opt.Unchecked = true
	mend := channel.BreakLadder()
	_, err = channeltest.Explore(p, channeltest.Budget{Adds: [2]int{1, 1}, Disconnects: 1, FailToo: true})
	var bad *channeltest.BadPath
	broken := ""
	if errors.As(err, &bad) {
		broken, err = channeltest.RunScript(bad.Script)
	}
	mend()
	if bad == nil {
		t.Fatalf("not found: %v", err)
	}
	t.Logf("%v\n%s", bad.Err, bad.Script)
	step(t, err)
	good, err := channeltest.RunScript(bad.Script)
	step(t, err)
	if !strings.Contains(broken, "violated") || strings.Contains(good, "violated") || strings.Contains(good, "error") {
		t.Errorf("broken:\n%s\nmended:\n%s", broken, good)
	}
	const file = "testdata/broken-ladder.golden"
	if *rewrite {
		step(t, os.WriteFile(file, []byte(broken), 0o644))
	}
	want, err := os.ReadFile(file)
	step(t, err)
	if d := cmp.Diff(string(want), broken); d != "" {
		t.Error(d)
	}
}
