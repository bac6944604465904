package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var rewrite = flag.Bool("rewrite", false, "write docs/config.md anew")

const (
	docs       = "../../docs"
	configHead = `# Configuration of rodd

This file is made of the configuration's struct: ` + "`go test ./cmd/rodd -run TestConfigReference -rewrite`" + ` writes it, and the test fails when it is old.

Every setting is a key of the TOML file, an environment variable and a flag, and the first of flag, environment, file and default that is given counts.
The flag is the key with hyphens and its section before it: ` + "`p2p` in `[listen]` is `--listen.p2p` and `ROD_LISTEN_P2P`" + `. The file is ` + "`--config PATH`" + `, else ` +
		"`rodd.toml`" + ` in the data folder, if it is there. A key that is not in this list is an error. ` + "`rodd config check`" + ` says whether a
configuration is good, and ` + "`rodd config print`" + ` how it counts, as a file.
`
)

// reference is docs/config.md.
func reference(t *testing.T) string {
	k, err := kong.New(&commandLine{}, kong.Name("rodd"), kong.DefaultEnvars("ROD"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(configHead)
	section := "-"
	for _, f := range k.Model.Flags {
		if f.Name == "help" || f.Name == "config" {
			continue
		}
		in, key, found := strings.Cut(f.Name, ".")
		if !found {
			in, key = "", f.Name
		}
		if in != section {
			title := "At the top of the file"
			if in != "" {
				title = "[" + in + "]"
			}
			fmt.Fprintf(&b, "\n## %s\n\n| key | environment | default | |\n|---|---|---|---|\n", title)
			section = in
		}
		def := ""
		if f.Default != "" {
			def = "`" + f.Default + "`"
		}
		name := "`" + strings.ReplaceAll(key, "-", "_") + "`"
		if f.Hidden {
			name = "" // environment only
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", name, strings.Join(f.Envs, " "), def, f.Help)
	}
	return b.String()
}

func TestConfigReference(t *testing.T) {
	path, want := filepath.Join(docs, "config.md"), reference(t)
	if *rewrite {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is old: go test ./cmd/rodd -run TestConfigReference -rewrite", path)
	}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestStatusesAreDocumented: operations.md has every exit status.
func TestStatusesAreDocumented(t *testing.T) {
	text := read(t, docs, "operations.md")
	for s := exitOK; s <= exitOld; s++ {
		if !strings.Contains(text, fmt.Sprintf("\n| %d |", s)) {
			t.Errorf("no exit status %d", s)
		}
	}
}

// TestUnit: the flags of the systemd unit are flags, and their values are good.
func TestUnit(t *testing.T) {
	var line string
	for _, l := range strings.Split(strings.ReplaceAll(read(t, "rodd.service"), "\\\n", " "), "\n") {
		if rest, ok := strings.CutPrefix(l, "ExecStart=/usr/local/bin/rodd "); ok {
			line = rest
		}
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "etc/rod/rodd.toml"), read(t, "rodd.toml"))
	line = strings.NewReplacer("%d/", dir+"/", "/etc/", dir+"/etc/").Replace(line)
	args := strings.Fields(line)
	if status, _, errs := does(t, "", append([]string{"config", "check"}, args...)...); len(args) == 0 || status != 0 {
		t.Fatalf("%v: %d %s", args, status, errs)
	}
}

// TestRegtestDoc: every rod and rodd command of regtest.md is one. Those of rod are run where no node answers, which they have to find out themselves.
func TestRegtestDoc(t *testing.T) {
	t.Parallel()
	_, rod := built(t)
	block := regexp.MustCompile("(?s)```sh\n(.*?)```").FindStringSubmatch(read(t, docs, "regtest.md"))
	if block == nil {
		t.Fatal("no commands")
	}
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(block[1], "\\\n", " ")), "\n")
	if len(lines) >= 10 {
		t.Errorf("%d commands, and it says under ten", len(lines))
	}
	id := "02" + strings.Repeat("11", 32)
	inner := regexp.MustCompile(`\$\((.*?)\)`)
	var commands []string
	for _, l := range lines {
		for _, m := range inner.FindAllStringSubmatch(l, -1) {
			commands = append(commands, strings.Split(m[1], "|")[0])
		}
		value := func(m string) string {
			switch {
			case strings.Contains(m, "payment_request"):
				return "lnbcrt10n1"
			case strings.Contains(m, "newaddress"):
				return "bcrt1q"
			}
			return id
		}
		commands = append(commands, inner.ReplaceAllStringFunc(l, value))
	}
	n := 0
	for _, c := range commands {
		args := strings.Fields(strings.TrimSuffix(strings.TrimSpace(c), "&"))
		switch args[0] {
		case "rodd":
			n++
			if _, _, _, err := parse(append(args[1:], "--data-dir", t.TempDir()), io.Discard, io.Discard); err != nil {
				t.Errorf("%s: %v", c, err)
			}
		case "rod":
			n++
			cmd := exec.CommandContext(t.Context(), rod, args[1:]...)
			cmd.Env = []string{"HOME=" + t.TempDir()}
			out, _ := cmd.CombinedOutput()
			if status := cmd.ProcessState.ExitCode(); status != 3 { // no node answers
				t.Errorf("%s: %d %s", c, status, out)
			}
		}
	}
	if n < 6 {
		t.Errorf("%d commands of rod and rodd", n)
	}
}
