package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lightningrod/cmd/internal/api"
	"lightningrod/node"
)

// Over TLS the node is known by its certificate and whoever asks by a token; all else is said in a line.
func TestRemote(t *testing.T) {
	c := newChain(t)
	dir := shortDir(t)
	n, err := node.New(node.Config{Dir: dir, Seed: []byte(strings.Repeat("s", 32)), Params: c.Params(), Backend: c})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Stop()
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := api.New(&api.Daemon{Node: n, Params: c.Params(), Backend: "embedded", Miner: c}, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	trusted := httptest.NewServer(s.Handler(true))
	defer trusted.Close()
	remote := httptest.NewUnstartedServer(s.Handler(false))
	remote.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of clients that do not trust it
	remote.StartTLS()
	defer remote.Close()
	at := strings.TrimPrefix(remote.URL, "https://")

	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sum := sha256.Sum256(remote.Certificate().Raw)
	cert := file("cert", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: remote.Certificate().Raw})))
	pin, wrongPin := hex.EncodeToString(sum[:]), strings.Repeat("00", 32)
	token := func(scope string) string {
		resp, err := trusted.Client().Post(trusted.URL+"/v1/tokens", "application/json", strings.NewReader(`{"name":"`+scope+`","scope":"`+scope+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		if _, err := b.ReadFrom(resp.Body); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp.Status, err)
		}
		at := strings.Index(b.String(), `"rod_`) + 1
		return file("token-"+scope, b.String()[at:at+4+64]+"\n")
	}
	read, admin := token("read"), token("admin")
	for _, x := range []struct {
		want int
		see  string
		args []string
	}{
		{0, `"state": "serving"`, []string{"getinfo", "--cert", cert, "--token-file", read}},
		{0, `"state": "serving"`, []string{"getinfo", "--pin", pin, "--token-file", read}},
		{0, `"block_height": 2`, []string{"lab", "mine", "2", "--pin", strings.ToUpper(pin), "--token-file", admin}},
		{0, `"items": `, []string{"event", "list", "--pin", pin, "--token-file", read}},
		{exitRefused, "a token of scope read may not do this", []string{"lab", "mine", "--cert", cert, "--token-file", read}},
		{exitRefused, "the bearer token is not known", []string{"getinfo", "--cert", cert, "--token-file", file("wrong", "rod_00")}},
		{exitUnreachable, "its SHA-256 is " + pin, []string{"getinfo", "--pin", wrongPin, "--token-file", read}},
		{exitUnreachable, "tell which is the node's with --cert or --pin", []string{"getinfo", "--token-file", read}},
		{exitUnreachable, "does its rodd have --listen.tls?", []string{"getinfo", "--tls", "127.0.0.1:1", "--pin", pin, "--token-file", read}},
		{exitUsage, "--token-file: none given", []string{"getinfo", "--cert", cert}},
		{exitUsage, "no such file", []string{"getinfo", "--cert", cert, "--token-file", dir + "/none"}},
		{exitUsage, "has no token in it", []string{"getinfo", "--cert", cert, "--token-file", file("empty", "\n")}},
		{exitUsage, "has no certificate in it", []string{"getinfo", "--cert", read, "--token-file", read}},
		{exitUsage, "need 64 hex digits", []string{"getinfo", "--pin", "00", "--token-file", read}},
		{exitUsage, "one of them", []string{"getinfo", "--pin", pin, "--cert", cert, "--token-file", read}},
		{exitUsage, "not host:port", []string{"getinfo", "--tls", "here", "--token-file", read}},
		{exitUsage, "are for --tls", []string{"getinfo", "--tls", "", "--pin", pin}},
	} {
		args := append(x.args, "--data-dir", dir)
		if !strings.Contains(strings.Join(args, " "), "--tls") {
			args = append(args, "--tls", at)
		}
		var out, errs bytes.Buffer
		status := run(t.Context(), args, &out, &errs)
		if status != x.want || !strings.Contains(out.String()+errs.String(), x.see) || strings.Count(errs.String(), "\n") > 1 {
			t.Errorf("rod %s: status %d, %s%s, want %d %q", strings.Join(args, " "), status, &out, &errs, x.want, x.see)
		}
	}
	// What a node on the same machine has written is found.
	if err := os.MkdirAll(filepath.Join(dir, "regtest"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(cert, filepath.Join(dir, "regtest", "tls.cert")); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{"getinfo", "--tls", at, "--token-file", read, "--data-dir", dir}, &out, &errs); status != 0 {
		t.Errorf("tls.cert of the data folder: %d %s", status, &errs)
	}
}
