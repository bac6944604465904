package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lightningrod/cmd/internal/api"

	"github.com/alecthomas/kong"
)

// tree is the tree of commands.
func tree(t testing.TB) *kong.Node {
	t.Helper()
	helped := false
	k, err := newParser(&commandLine{}, os.Stdout, os.Stderr, &helped)
	if err != nil {
		t.Fatal(err)
	}
	return k.Model.Node
}

// golden holds a text to a file, or writes the file with -update.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: go test ./cmd/rod -update writes it", err)
	}
	if got == string(want) {
		return
	}
	wants, gots := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for i := range wants {
		if i >= len(gots) || wants[i] != gots[i] {
			t.Fatalf("%s line %d is old (-update writes it anew):\n%s\nnow:\n%s", file, i+1, wants[i], strings.Join(gots[min(i, len(gots)):min(i+1, len(gots))], ""))
		}
	}
	t.Fatalf("%s is old: %d lines, now %d", file, len(wants), len(gots))
}

// docs/cli.md is what the tree says.
func TestReference(t *testing.T) { golden(t, "../../docs/cli.md", reference(tree(t))) }

// Every command is one of a noun and a verb in kebab-case, with help that is a sentence, and so are its flags.
func TestTreeIsConsistent(t *testing.T) {
	sentence := func(what, help string) {
		if help == "" || !strings.HasSuffix(help, ".") || strings.ToUpper(help[:1]) != help[:1] {
			t.Errorf("%s: help %q is no sentence", what, help)
		}
	}
	kebab := func(what string) {
		if strings.ToLower(what) != what || strings.Contains(what, "_") {
			t.Errorf("%s is not in kebab-case", what)
		}
	}
	for _, leaf := range tree(t).Leaves(false) {
		path := leaf.FullPath()
		if depth := len(strings.Fields(path)); depth > 3 {
			t.Errorf("%s is deeper than noun and verb", path)
		}
		kebab(path)
		sentence(path, leaf.Help)
		for _, f := range leaf.Flags {
			kebab(f.Name)
			sentence(path+" --"+f.Name, f.Help)
		}
		for _, a := range leaf.Positional {
			sentence(path+" "+a.Name, a.Help)
		}
	}
	paths := map[string]bool{}
	for _, p := range places(tree(t)) {
		if paths[p.path] {
			t.Errorf("%q stands for two things", p.path)
		}
		paths[p.path] = true
	}
}

// What the tree asks for is a route of the API, and the columns of its tables are fields of the answers.
func TestTreeFitsTheAPI(t *testing.T) {
	text, err := json.Marshal(api.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	type schema struct {
		Ref        string            `json:"$ref"`
		Properties map[string]schema `json:"properties"`
		Items      *schema           `json:"items"`
	}
	var doc struct {
		Paths map[string]map[string]struct {
			Responses map[string]struct {
				Content map[string]struct{ Schema schema }
			}
		}
		Components struct{ Schemas map[string]schema }
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	resolve := func(s schema) schema {
		if s.Ref != "" {
			return doc.Components.Schemas[s.Ref[strings.LastIndex(s.Ref, "/")+1:]]
		}
		return s
	}
	asked := map[string]bool{} // "method path"
	for _, leaf := range tree(t).Leaves(false) {
		for _, method := range []string{"get", "post", "delete"} {
			path := leaf.Tag.Get(method)
			if path == "" {
				continue
			}
			found := false
			for route, methods := range doc.Paths {
				if api := strings.TrimPrefix(route, "/v1"); !sameRoute(api, path) {
					continue
				}
				op, ok := methods[method]
				found = found || ok
				asked[method+" "+route] = true
				item := schema{}
				if items := resolve(op.Responses["200"].Content["application/json"].Schema).Properties["items"].Items; items != nil {
					item = resolve(*items)
				}
				for _, column := range strings.Fields(leaf.Tag.Get("columns")) {
					name, _, _ := strings.Cut(column, ":")
					at, ok := item, true
					for part := range strings.SplitSeq(name, ".") {
						var inner schema
						if inner, ok = at.Properties[part]; !ok {
							break
						}
						at = resolve(inner)
					}
					if !ok {
						t.Errorf("%s: column %s is no field of %s", leaf.FullPath(), name, route)
					}
				}
			}
			if !found {
				t.Errorf("%s asks for %s %s, which is no route", leaf.FullPath(), method, path)
			}
		}
	}
	// Routes that commands with arguments of their own ask for, or none.
	for _, other := range []string{"get /v1/healthz", "post /v1/peers", "post /v1/channels", "post /v1/channels/{channel}/close", "post /v1/invoices", "post /v1/payments",
		"post /v1/payments/async", "post /v1/wallet/withdrawals", "post /v1/wallet/withdrawals/{txid}/bump", "get /v1/events", "post /v1/tokens", "post /v1/held/{channel}/{htlc_id}/fail", "delete /v1/mailbox/{client}/{id}", "post /v1/chain/blocks"} {
		asked[other] = true
	}
	for route, methods := range doc.Paths {
		for method := range methods {
			if !asked[method+" "+route] {
				t.Errorf("no command asks for %s %s", method, route)
			}
		}
	}
}

func sameRoute(route, path string) bool {
	a, b := strings.Split(route, "/"), strings.Split(path, "/")
	return slices.EqualFunc(a, b, func(x, y string) bool { return x == y || strings.HasPrefix(x, "{") && y == "{}" })
}

// The words of a shell are completed by bash itself; zsh and fish read their scripts where there is one.
func TestCompletion(t *testing.T) {
	scripts := map[string]string{}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		var out, errs bytes.Buffer
		if status := run(t.Context(), []string{"completion", shell}, &out, &errs); status != 0 {
			t.Fatal(errs.String())
		}
		file := filepath.Join(t.TempDir(), shell)
		if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		scripts[shell] = file
		for _, p := range places(tree(t)) {
			for _, c := range slices.Concat(p.words, p.flags) {
				if word := strings.TrimPrefix(c.word, "--"); !strings.Contains(out.String(), word) {
					t.Errorf("%s: %s lacks %s", shell, p.path, c.word)
				}
			}
		}
		program, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("no %s on this machine", shell)
			continue
		}
		if said, err := exec.Command(program, "-n", file).CombinedOutput(); err != nil {
			t.Errorf("%s -n: %v\n%s", shell, err, said)
		}
	}
	program, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash on this machine")
	}
	const ask = `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _rod 2>/dev/null; printf '%s ' "${COMPREPLY[@]}"`
	for _, x := range []struct {
		words []string // the last one is under the cursor
		want  string
	}{
		{[]string{"rod", "ch"}, "channel channelbalance"},
		{[]string{"rod", "channel", ""}, "open close list show"},
		{[]string{"rod", "--socket", "channel", "peer", "c"}, "connect"},
		{[]string{"rod", "--json", "channel", "op"}, "open"},
		{[]string{"rod", "channel", "open", "--pu"}, "--push"},
		{[]string{"rod", "channel", "open", "02ab", "--no"}, "--no-wait"},
		{[]string{"rod", "openchannel", "--k"}, "--key"},
		{[]string{"rod", "token", "create", "x", "--scope", ""}, "read invoice admin"},
		{[]string{"rod", "--network", "s"}, "signet"},
		{[]string{"rod", "demo", "--scenario", "lsp-c"}, "lsp-crash"},
		{[]string{"rod", "decode", "onion"}, "onion onion-message"},
		{[]string{"rod", "decode", "tlvs", "--stream", "rod_s"}, "rod_status"},
		{[]string{"rod", "completion", ""}, "bash zsh fish"},
		{[]string{"rod", "nothing", "x"}, ""},
	} {
		said, err := exec.Command(program, append([]string{"-c", ask, "bash", scripts["bash"]}, x.words...)...).Output()
		if got := strings.TrimSpace(string(said)); err != nil || got != x.want {
			t.Errorf("%v: %q, want %q, %v", x.words, got, x.want, err)
		}
	}
}

// Outputs of commands that need no node, through the real command line, as text and as JSON.
func TestGolden(t *testing.T) {
	const node = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
	invoice := firstInvoice(t)
	for _, x := range []struct {
		file string
		args []string
	}{
		{"scid", []string{"decode", "scid", "103x1x0"}},
		{"node", []string{"decode", "node", node + "@[::1]:9735"}},
		{"ping", []string{"decode", "message", "0x0012 0004 0002 abcd"}},
		{"unknown-message", []string{"decode", "message", "83e7 01"}},
		{"channel-update", []string{"decode", "0102" + strings.Repeat("00", 64) + "06226e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f" + "0000670000010000" + "65000000" + "0101" + "0090" +
			"0000000000000001" + "000003e8" + "00000064" + "000000001dcd6500"}},
		{"rod-hold", []string{"decode", "tlvs", "--stream", "rod_hold", "010101" + "0220" + strings.Repeat("11", 32) + "0420" + strings.Repeat("22", 32) + "06025208" + "080201f4"}},
		{"invoice", []string{"decodepayreq", invoice}},
		{"commitment", []string{"decode", "tx", "--opener-payment-basepoint", "034f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa",
			"--accepter-payment-basepoint", "032c0b7cf95324a07d05398b240174dc0c2be444d96b159aa6c7f7b1e668680991", firstCommitment(t)}},
	} {
		for format, flag := range map[string]string{"txt": "--table", "json": "--json"} {
			var out, errs bytes.Buffer
			if status := run(t.Context(), append(x.args, flag), &out, &errs); status != 0 {
				t.Errorf("%s: status %d, %s", x.file, status, &errs)
				continue
			}
			golden(t, filepath.Join("testdata", "decode", x.file+"."+format), out.String())
		}
	}
}

func firstInvoice(t *testing.T) string {
	var vectors []struct{ Invoice string }
	readJSON(t, "../../node/invoice/testdata/bolt11.json", &vectors)
	return vectors[0].Invoice
}

func firstCommitment(t *testing.T) string {
	var vectors []struct{ ExpectedCommitmentTxHex string }
	readJSON(t, "../../channel/commitment/testdata/bolt03-anchors.json", &vectors)
	return vectors[0].ExpectedCommitmentTxHex
}

func readJSON(t *testing.T, file string, v any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What is wrong on the command line is one clear line and its exit status, and never shows a secret.
func TestWrongUse(t *testing.T) {
	for _, x := range []struct {
		args   []string
		status int
		see    string
	}{
		{[]string{}, exitUsage, "expected one of"},
		{[]string{"chanel"}, exitUsage, `did you mean "channel"`},
		{[]string{"channel"}, exitUsage, `expected one of "open", "close", "list", "show"`},
		{[]string{"getinfo", "--network", "mainnet"}, exitUsage, "--network must be one of"},
		{[]string{"getinfo", "--json", "--table"}, exitUsage, "can't be used together"},
		{[]string{"decode", "message", "00"}, exitFailed, "type at byte 0: 2 bytes wanted, 1 left"},
		{[]string{"decode", "zz"}, exitFailed, "no hex digit"},
		{[]string{"decode", "onion", "00", "--key", "secret"}, exitUsage, "--key: not 64 hex digits"},
		{[]string{"decode", "onion", "00", "--key", strings.Repeat("00", 32)}, exitUsage, "not a private key"},
		{[]string{"decode", "onion", "00", "--key", strings.Repeat("01", 32), "--shared-secret", strings.Repeat("01", 32)}, exitUsage, "one of them"},
		{[]string{"decode", "onion", "00", "--payment-hash", "00"}, exitUsage, "need 64 hex digits"},
		{[]string{"decode", "tx", "00", "--opener-payment-basepoint", strings.Repeat("02", 33)}, exitUsage, "both or neither"},
		{[]string{"dump", "--only", "nothing"}, exitUsage, `no table "nothing": there are channel, `},
		{[]string{"dump", filepath.Join(t.TempDir(), "none.db")}, exitFailed, "no such file"},
		{[]string{"completion", "tcsh"}, exitUsage, "must be one of"},
		{[]string{"connect", "02@h:1", "--socket", "/nonexistent/api.sock"}, exitUnreachable, `start one with "rodd --listen.api /nonexistent/api.sock"`},
		{[]string{"getinfo", "--data-dir", "/nonexistent", "--network", "signet"}, exitUnreachable,
			`no node answers on /nonexistent/signet/api.sock: start one with "rodd --network signet --data-dir /nonexistent"`},
	} {
		var out, errs bytes.Buffer
		if status := run(t.Context(), x.args, &out, &errs); status != x.status || !strings.Contains(errs.String(), x.see) {
			t.Errorf("%v: status %d, %q, want %d, %q", x.args, status, errs.String(), x.status, x.see)
		}
		if out.Len() > 0 || strings.Contains(errs.String(), "secret\"") {
			t.Errorf("%v: said %q and %q", x.args, out.String(), errs.String())
		}
	}
}
