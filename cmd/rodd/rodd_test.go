package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lightningrod/cmd/internal/api"
)

// buffer may be read while a daemon writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// once runs a command that ends by itself.
func once(t testing.TB, input string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	in, err := os.CreateTemp(t.TempDir(), "stdin")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := in.WriteAt([]byte(input), 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out, errs buffer
	status = run(ctx, args, in, &out, &errs)
	return status, out.String(), errs.String()
}

// daemon is a rodd that runs.
type daemon struct {
	*api.Client
	dir    string
	stderr *buffer
	stop   context.CancelFunc
	status chan int
}

// start runs rodd on a folder, and returns when it is ready. What goes wrong before that is in status.
func start(t testing.TB, dir string, args ...string) *daemon {
	t.Helper()
	// A name below the limit of unix sockets, whatever the test is called.
	sock, err := os.MkdirTemp("", "rodd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sock) })
	notices, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: sock + "/notify", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notices.Close()
	t.Setenv("NOTIFY_SOCKET", sock+"/notify")
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	d := &daemon{Client: api.NewClient(sock + "/api"), dir: dir, stderr: &buffer{}, stop: stop, status: make(chan int, 1)}
	args = append([]string{"--data-dir", dir, "--listen.p2p", "127.0.0.1:0", "--listen.api", sock + "/api"}, args...)
	ready := make(chan string, 1)
	go func() {
		b := make([]byte, 100)
		n, _ := notices.Read(b)
		ready <- string(b[:n])
	}()
	go func() {
		d.status <- run(ctx, args, null, io.Discard, d.stderr)
		null.Close()
	}()
	t.Cleanup(func() { d.end() })
	select {
	case s := <-ready:
		if s != "READY=1" {
			t.Fatalf("notified %q", s)
		}
	case s := <-d.status:
		t.Fatalf("ended with %d: %s", s, d.stderr)
	case <-time.After(30 * time.Second):
		t.Fatal("not ready")
	}
	return d
}

// end stops it and gives its exit status.
func (d *daemon) end() int {
	d.stop()
	s := <-d.status
	d.status <- s
	return s
}

func TestConfig(t *testing.T) {
	for _, x := range []struct {
		name, file string
		env        map[string]string
		args       []string
		err        string
		see        string // in what config print says
	}{
		{name: "defaults", see: "network = \"regtest\""},
		{name: "file", file: "alias = \"x\"\n[policy]\nfee_ppm = 7\n", see: "fee_ppm = 7"},
		{name: "list", file: "[listen]\np2p = [\"127.0.0.1:1\", \"[::1]:2\"]\n", see: `p2p = ["127.0.0.1:1", "[::1]:2"]`},
		{name: "false", file: "lsp = false\n", see: "lsp = false"},
		{name: "no listener", args: []string{"--listen.p2p="}, see: "p2p = []"},
		{name: "environment before file", file: "alias = \"file\"\n", env: map[string]string{"ROD_ALIAS": "env"}, see: `alias = "env"`},
		{name: "flag before environment", env: map[string]string{"ROD_ALIAS": "env"}, args: []string{"--alias", "flag"}, see: `alias = "flag"`},
		{name: "a list in the environment", env: map[string]string{"ROD_LISTEN_P2P": "127.0.0.1:1,[::1]:2"}, see: `p2p = ["127.0.0.1:1", "[::1]:2"]`},
		{name: "nested environment", env: map[string]string{"ROD_LISTEN_METRICS": "127.0.0.1:9"}, see: `metrics = "127.0.0.1:9"`},
		{name: "passwords stay", env: map[string]string{"ROD_SEED_PASSWORD": "hunter2"}, see: "[seed]\npassword_file = \"\"\nno_encrypt = false"},
		{name: "signet", args: []string{"--network", "signet", "--chain.backend", "bitcoind"}, see: `addr = "127.0.0.1:38332"`},
		{name: "ZMQ", file: "[bitcoind]\nzmq = [\"tcp://127.0.0.1:28332\", \"ipc:///run/b.sock\"]\n", see: `zmq = ["tcp://127.0.0.1:28332", "ipc:///run/b.sock"]`},
		{name: "no ZMQ", file: "[bitcoind]\nzmq = [\"tcp://127.0.0.1:1\"]\n", args: []string{"--bitcoind.zmq="}, see: `zmq = []`},
		{name: "history", args: []string{"--history.events", "1000"}, env: map[string]string{"ROD_HISTORY_DAYS": "3"}, see: "events = 1000\ndays = 3\n"},

		{name: "unknown key", file: "aliass = \"x\"\n", err: "unknown key aliass"},
		{name: "unknown section", file: "[listen]\nrpc = \"x\"\n", err: "unknown key listen.rpc"},
		{name: "the file names itself", file: "config = \"x\"\n", err: "unknown key config"},
		{name: "unknown key in the environment", env: map[string]string{"ROD_LISTEN_RPC": "x"}, err: "environment: unknown key ROD_LISTEN_RPC"},
		{name: "another program's environment", env: map[string]string{"ROD_BITCOIND": "x", "ROD_TLS": "x"}, see: "network"},
		{name: "port", file: "[listen]\nmetrics = \"127.0.0.1:99999\"\n", err: `listen.metrics: port "99999" outside 0..65535`},
		{name: "no port", args: []string{"--listen.tls", "127.0.0.1:"}, err: `listen.tls: port "" outside`},
		{name: "no time", args: []string{"--bitcoind.wait=-3s"}, err: "bitcoind.wait: -3s below 0"},
		{name: "not TOML", file: "alias = \n", err: "line 1"},
		{name: "wrong type", file: "[policy]\nfee_ppm = \"many\"\n", err: "policy.fee-ppm"},
		{name: "negative", file: "[policy]\nfee_ppm = -1\n", err: "policy.fee-ppm"},
		{name: "a number in a list", file: "[listen]\np2p = [1]\n", err: "listen.p2p: entry 1"},
		{name: "network", file: "network = \"mainnet\"\n", err: `network`},
		{name: "embedded signet", args: []string{"--network", "signet"}, err: "chain.backend: embedded is for regtest"},
		{name: "alias", args: []string{"--alias", strings.Repeat("x", 33)}, err: "alias: 33 bytes, at most 32"},
		{name: "address", args: []string{"--listen.p2p", "here"}, err: `listen.p2p: "here" is not host:port`},
		{name: "HTLCs", args: []string{"--channel.max-accepted-htlcs", "484"}, err: "484 outside 1..483"},
		{name: "a ZMQ address without tcp", args: []string{"--bitcoind.zmq", "127.0.0.1:28332"}, err: `bitcoind.zmq: zmq address "127.0.0.1:28332": need tcp://host:port`},
		{name: "a ZMQ address without a port", env: map[string]string{"ROD_BITCOIND_ZMQ": "tcp://here"}, err: `bitcoind.zmq: zmq address "tcp://here"`},
		{name: "little history", file: "[history]\nevents = 10\n", err: "history.events: 10 outside 1000..100000000"},
		{name: "no history", args: []string{"--history.days", "0"}, err: "history.days: 0 outside 1..3650"},
		{name: "capacities", args: []string{"--channel.min-capacity-sat", "2000000000"}, err: "above channel.max-capacity-sat"},
		{name: "open seed on signet", args: []string{"--network", "signet", "--chain.backend", "bitcoind", "--seed.no-encrypt"}, err: "for regtest only"},
		{name: "no such flag", args: []string{"--colour"}, err: "unknown flag --colour"},
		{name: "no such file", args: []string{"--config", "/nonexistent/rodd.toml"}, err: "no such file"},
	} {
		t.Run(x.name, func(t *testing.T) {
			dir := t.TempDir()
			if x.file != "" {
				if err := os.WriteFile(filepath.Join(dir, "rodd.toml"), []byte(x.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for k, v := range x.env {
				t.Setenv(k, v)
			}
			status, out, errs := once(t, "", append([]string{"config", "print", "--data-dir", dir}, x.args...)...)
			if x.err != "" {
				if status != exitConfig || !strings.Contains(errs, x.err) || strings.Count(errs, "\n") != 1 {
					t.Fatalf("status %d: %q, want %q", status, errs, x.err)
				}
				return
			}
			if status != 0 || !strings.Contains(out, x.see) || strings.Contains(out, "hunter2") {
				t.Fatalf("status %d: %s%s", status, errs, out)
			}
			// What was printed is a file that means the same.
			again := filepath.Join(t.TempDir(), "again.toml")
			if err := os.WriteFile(again, []byte(out), 0o600); err != nil {
				t.Fatal(err)
			}
			for k := range x.env {
				os.Unsetenv(k)
			}
			if status, second, errs := once(t, "", "config", "print", "--config", again); status != 0 || second != out {
				t.Fatalf("status %d: %s\n%s\nafter\n%s", status, errs, second, out)
			}
		})
	}
}

// Bare start, restart, and what goes wrong in between: each is one line and its exit status, and nothing is damaged.
func TestDaemon(t *testing.T) {
	dir := t.TempDir()
	d := start(t, dir)
	var info, again api.Info
	if err := d.Do(t.Context(), "GET", "/node", nil, &info, ""); err != nil || info.State != "serving" || info.Backend != "embedded" {
		t.Fatalf("%+v, %v", info, err)
	}
	if err := d.Do(t.Context(), "POST", "/chain/blocks", api.Mine{Blocks: 3}, nil, ""); err != nil {
		t.Fatal(err)
	}
	if status, _, errs := once(t, "", "--data-dir", dir, "--listen.p2p="); status != exitLocked || !strings.Contains(errs, "another rodd") || strings.Count(errs, "\n") != 1 {
		t.Fatalf("second daemon: %d %q", status, errs)
	}
	if status := d.end(); status != exitOK {
		t.Fatalf("ended with %d: %s", status, d.stderr)
	}
	d = start(t, dir)
	if err := d.Do(t.Context(), "GET", "/node", nil, &again, ""); err != nil || again.ID != info.ID || again.Height != 3 {
		t.Fatalf("%+v, %v", again, err)
	}
	if status := d.end(); status != exitOK {
		t.Fatalf("ended with %d: %s", status, d.stderr)
	}
}

func TestSeed(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("ROD_SEED_PASSWORD", "right")
	status, out, errs := once(t, "", "init", "--data-dir", dir)
	if status != 0 {
		t.Fatalf("init: %d %s", status, errs)
	}
	var words []string // every line has six, each after its number
	for _, line := range strings.Split(out, "\n")[1:5] {
		for i, w := range strings.Fields(line) {
			if i%2 == 1 {
				words = append(words, w)
			}
		}
	}
	if len(words) != 24 {
		t.Fatalf("%d words in %q", len(words), out)
	}
	if status, _, errs := once(t, "", "init", "--data-dir", dir); status != exitSeed || !strings.Contains(errs, "not replaced") {
		t.Fatalf("init again: %d %s", status, errs)
	}
	d := start(t, dir)
	var first, second api.Info
	if err := d.Do(t.Context(), "GET", "/node", nil, &first, ""); err != nil {
		t.Fatal(err)
	}
	d.end()

	for password, want := range map[string]string{"wrong": "wrong password", "": "needs a password"} {
		t.Setenv("ROD_SEED_PASSWORD", password)
		if status, _, errs := once(t, "", "--data-dir", dir); status != exitSeed || !strings.Contains(errs, want) || strings.Count(errs, "\n") != 1 {
			t.Fatalf("password %q: %d %q", password, status, errs)
		}
	}

	other := t.TempDir()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, errs := once(t, "one two", "init", "--restore", "--data-dir", other); status != exitSeed || !strings.Contains(errs, "2 given, need 24") {
		t.Fatalf("two words: %d %s", status, errs)
	}
	os.Unsetenv("ROD_SEED_PASSWORD")
	if status, _, errs := once(t, strings.Join(words, " "), "init", "--restore", "--data-dir", other, "--seed.password-file", file); status != 0 {
		t.Fatalf("restore: %d %s", status, errs)
	}
	d = start(t, other, "--seed.password-file", file)
	if err := d.Do(t.Context(), "GET", "/node", nil, &second, ""); err != nil || first.ID != second.ID {
		t.Fatalf("restored %s, was %s: %v", second.ID, first.ID, err)
	}
}

func TestNoBitcoind(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	l.Close()
	args := []string{"--chain.backend", "bitcoind", "--bitcoind.addr", dead, "--bitcoind.user", "u", "--bitcoind.password", "p", "--bitcoind.wait", "300ms", "--data-dir", t.TempDir()}
	if status, _, errs := once(t, "", args...); status != exitSeed || !strings.Contains(errs, "rodd init") {
		t.Fatalf("no seed: %d %q", status, errs)
	}
	if status, _, errs := once(t, "", append([]string{"init", "--seed.no-encrypt"}, args...)...); status != 0 {
		t.Fatalf("init: %d %q", status, errs)
	}
	status, _, errs := once(t, "", append([]string{"--log.level", "error"}, args...)...)
	if status != exitChain || !strings.Contains(errs, dead) || strings.Count(errs, "\n") != 1 {
		t.Fatalf("dead bitcoind: %d %q", status, errs)
	}
}

// Over TLS the certificate is the pinned one and a token is needed; the metrics' face has nothing but them.
func TestFaces(t *testing.T) {
	free := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}
	dir, secure, plain := t.TempDir(), free(), free()
	d := start(t, dir, "--listen.tls", secure, "--listen.metrics", plain)
	pem, err := os.ReadFile(filepath.Join(dir, "regtest", "tls.cert"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	get := func(url, token string) int {
		r, _ := http.NewRequestWithContext(t.Context(), "GET", url, nil)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	var token api.NewToken
	if err := d.Do(t.Context(), "POST", "/tokens", api.CreateToken{Name: "t", Scope: "read"}, &token, ""); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		url, token string
		want       int
	}{
		{"https://" + secure + "/v1/node", "", 401},
		{"https://" + secure + "/v1/node", token.Token, 200},
		{"https://" + secure + "/readyz", "", 200},
		{"http://" + plain + "/metrics", "", 200},
		{"http://" + plain + "/v1/node", "", 404},
	} {
		if got := get(x.url, x.token); got != x.want {
			t.Errorf("%s: %d, want %d", x.url, got, x.want)
		}
	}
	for _, name := range []string{"seed", "tls.key", "tokens.json", "node.db", "requests.jsonl"} {
		info, err := os.Stat(filepath.Join(dir, "regtest", name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
}

// A certificate of ours is made anew when it ends or lacks a name. One of somebody else's is never touched, and a torn write is mended.
func TestCertificate(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	get := func(now time.Time, names ...string) string {
		t.Helper()
		pair, err := certificate(dir, names, now)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range append(names, "localhost", "127.0.0.1") {
			if err := pair.Leaf.VerifyHostname(name); err != nil && pair.Leaf.Subject.CommonName == certName {
				t.Error(err)
			}
		}
		return fingerprint(pair)
	}
	first := get(now)
	if get(now.Add(300*24*time.Hour)) != first {
		t.Error("made anew too early")
	}
	named := get(now, "node.example", "10.0.0.1")
	if named == first || get(now, "10.0.0.1") != named {
		t.Error("names")
	}
	late := get(now.Add(certLifetime - 24*time.Hour))
	if late == named {
		t.Error("not made anew in its last month")
	}
	if err := os.Remove(filepath.Join(dir, "tls.cert")); err != nil { // a power cut in between
		t.Fatal(err)
	}
	get(now)
	others := write(t, filepath.Join(dir, "tls.cert"), "not a certificate")
	if _, err := certificate(dir, nil, now); err == nil || read(t, others) != "not a certificate" {
		t.Errorf("what is no certificate: %v", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "node.example"}, NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(crand.Reader, x, x, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := x509.MarshalPKCS8PrivateKey(key)
	write(t, filepath.Join(dir, "tls.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})))
	write(t, others, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	if sum := sha256.Sum256(der); get(now, "more.example") != hex.EncodeToString(sum[:]) {
		t.Error("another's certificate was replaced")
	}
}

// BenchmarkStart is the time from nothing to ready, and from a stopped node to ready; rss is what the process has then.
func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		d := start(b, dir)
		if d.end() != exitOK {
			b.Fatal(d.stderr)
		}
	}
	b.ReportMetric(rss(b), "rss-MB")
}

func rss(tb testing.TB) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kb float64
		if n, _ := fmt.Sscanf(line, "VmRSS: %f kB", &kb); n == 1 {
			return kb / 1024
		}
	}
	return 0
}
