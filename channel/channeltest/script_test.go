package channeltest

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("rewrite", false, "write what happened into the golden scripts; then read the diff")

func TestScripts(t *testing.T) {
	files, err := filepath.Glob("../testdata/*.txt")
	must(t, err)
	if len(files) == 0 {
		t.Fatal("no scripts")
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			want, err := os.ReadFile(f)
			must(t, err)
			got, err := RunScript(string(want))
			must(t, err)
			if *rewrite {
				must(t, os.WriteFile(f, []byte(got), 0o644))
				return
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Error(d)
			}
		})
	}
}
