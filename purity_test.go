package lightningrod

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The packages below the line think in values. What they import through lnwire and btcd cannot be helped; their own
// import lines, and those of every package of ours that they reach, name nothing that does I/O or asks the world.
func TestPurity(t *testing.T) {
	pure := []string{"chain", "chain/octets", "chain/wallet", "channel", "channel/commitment", "channel/onchain", "onion", "rod", "rod/lsps", "node/forward"}
	forbidden := []string{"net", "net/http", "os", "io/fs", "database/sql", "context", "sync", "time", "math/rand", "math/rand/v2", "crypto/rand", "log", "log/slog"}
	args := []string{"list", "-deps", "-f", "{{.ImportPath}}:{{join .Imports \",\"}}"}
	for _, p := range pure {
		args = append(args, "./"+p)
	}
	out, err := exec.Command("go", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		path, imports, _ := strings.Cut(strings.TrimSpace(line), ":")
		name, ours := strings.CutPrefix(path, "lightningrod/")
		if !ours {
			continue
		}
		seen++
		if !slices.Contains(pure, name) {
			t.Errorf("a pure package depends on %s, which is not one", name)
		}
		for _, imp := range strings.Split(imports, ",") {
			if slices.Contains(forbidden, imp) {
				t.Errorf("%s imports %q", name, imp)
			}
		}
	}
	if seen != len(pure) {
		t.Errorf("go list named %d of the %d pure packages", seen, len(pure))
	}
}
