package main

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lightningrod/chain/embedded"
	"lightningrod/cmd/internal/api"
	"lightningrod/cmd/internal/seed"
	"lightningrod/node"
)

// programs is where rodd and rod are, if build was called. TestMain removes it.
var programs string

var build = sync.OnceValue(func() (err error) {
	if programs, err = os.MkdirTemp("", "programs"); err != nil {
		return err
	}
	out, err := exec.Command("go", "build", "-o", programs+"/", "lightningrod/cmd/rodd", "lightningrod/cmd/rod").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, out)
	}
	return err
})

// built is the paths of the two programs.
func built(t testing.TB) (rodd, rod string) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the programs")
	}
	if err := build(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(programs, "rodd"), filepath.Join(programs, "rod")
}

// TestFreshMachine: with an empty home folder, no configuration and no argument, rodd comes up on the embedded chain, and rod getinfo answers.
func TestFreshMachine(t *testing.T) {
	t.Parallel()
	rodd, rod := built(t)
	if l, err := net.Listen("tcp", "127.0.0.1:9735"); err != nil {
		t.Skipf("SKIPPED: the port of Lightning is taken: %v", err)
	} else {
		l.Close()
	}
	home, err := os.MkdirTemp("", "home") // its socket has a short name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	env := []string{"HOME=" + home}
	p := exec.CommandContext(t.Context(), rodd)
	p.Env, p.Dir = env, home
	stderr := &buffer{}
	p.Stderr = stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	var out []byte
	until(t, "an answer", func() bool {
		c := exec.CommandContext(t.Context(), rod, "getinfo", "--json")
		c.Env, c.Dir = env, home
		out, err = c.Output()
		return err == nil
	})
	if !strings.Contains(string(out), `"chain_backend": "embedded"`) || !strings.Contains(string(out), `"state": "serving"`) {
		t.Errorf("%s\n%s", out, stderr)
	}
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	if entries, _ := os.ReadDir(home); len(entries) != 1 || entries[0].Name() != ".rod" {
		t.Errorf("in the home folder: %v", entries)
	}
}

// TestDrain: asked to end, a node tells systemd, ends its streams, says on the way that it is not ready, and ends with 0; killed, it leaves a lock and
// a socket that do not keep the next one from starting.
func TestDrain(t *testing.T) {
	t.Parallel()
	dir, plain := t.TempDir(), nobody(t)
	p := runRodd(t, dir, "--listen.metrics", plain)
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://rod/v1/events", nil)
	req.Header.Set("Accept", "text/event-stream")
	over := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", p.socket)
	}}}
	stream, err := over.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200} {
		resp, err := http.Get("http://" + plain + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	begin := time.Now()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.told("STOPPING=1")
	for sc := bufio.NewScanner(stream.Body); sc.Scan(); { // to its end
	}
	if status := p.wait(); status != exitOK {
		t.Fatalf("%d %s", status, p.stderr)
	}
	t.Logf("ended in %v", time.Since(begin).Round(time.Millisecond))
	if _, err := os.Lstat(p.socket); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", p.socket, err)
	}

	p = runRodd(t, dir)
	p.kill()
	again := runRodd(t, dir, "--listen.api", p.socket)
	again.Client = api.NewClient(p.socket)
	again.info()
}

// TestGate: whoever asks before the node serves is told how far it is, and that the process lives.
func TestGate(t *testing.T) {
	s := starting{how: func() string { return "block 7 of 9" }}
	h := s.gate(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }))
	sock := filepath.Join(t.TempDir(), "s")
	l, err := listenUnix(sock)
	if err != nil {
		t.Fatal(err)
	}
	server := http.Server{Handler: h}
	go server.Serve(l)
	defer server.Close()
	c := api.NewClient(sock)
	ask := func(path string) string {
		if err := c.Do(t.Context(), "GET", path, nil, nil, ""); err != nil {
			return err.Error()
		}
		return ""
	}
	const wait = "the node is starting: block 7 of 9"
	if a, b, c := ask("/healthz"), ask("/readyz"), ask("/node"); a != "" || b != wait || c != wait {
		t.Errorf("%q %q %q", a, b, c)
	}
	s.over.Store(true)
	if got := ask("/node"); got != "" {
		t.Error(got)
	}
}

// TestHundredChannels prints how long a node with 100 channels takes from its start as a process to being ready, and how much memory it has then.
func TestHundredChannels(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("opens 100 channels")
	}
	const channels = 100
	dir := t.TempDir()
	hundred(t, dir, channels)
	for range 3 {
		begin := time.Now()
		p := runRodd(t, dir)
		took := time.Since(begin)
		if i := p.info(); i.Channels != channels {
			t.Fatalf("%+v", i)
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
		memory := "unknown"
		if err == nil {
			_, rest, _ := strings.Cut(string(status), "VmRSS:")
			memory, _, _ = strings.Cut(strings.TrimSpace(rest), "\n")
		}
		t.Logf("%d channels: ready after %v, RSS %s", channels, took.Round(time.Millisecond), memory)
		if status := p.end(); status != exitOK {
			t.Fatalf("%d %s", status, p.stderr)
		}
	}
}

// hundred makes the folder of a node with so many channels.
func hundred(t *testing.T, dir string, channels int) {
	t.Helper()
	own := filepath.Join(dir, "regtest")
	if err := os.MkdirAll(own, 0o700); err != nil {
		t.Fatal(err)
	}
	secret, _, err := seed.Generate()
	if err == nil {
		err = seed.Write(filepath.Join(own, "seed"), secret, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := embedded.New(embedded.Config{Dir: filepath.Join(own, "chain")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	run := func(dir string, secret []byte) *node.Node {
		n, err := node.New(node.Config{Dir: dir, Seed: secret, Params: embedded.Params(), Backend: c, Listen: []string{"127.0.0.1:0"}, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			err = n.Start(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	alice, bob := run(own, secret), run(t.TempDir(), make([]byte, 32))
	defer bob.Stop()
	defer alice.Stop()
	mine := func(n int, script []byte) {
		if _, err := c.Mine(n, script); err != nil {
			t.Fatal(err)
		}
	}
	_, script, err := alice.NewAddress()
	if err != nil {
		t.Fatal(err)
	}
	mine(10, script)
	mine(100, nil)
	until(t, "funds", func() bool { confirmed, _ := alice.WalletBalance(); return confirmed > 0 })
	if err := alice.Connect(t.Context(), bob.ID(), bob.Addrs()[0].String()); err != nil {
		t.Fatal(err)
	}
	for i := range channels {
		if _, err := alice.Open(t.Context(), node.OpenChannel{Peer: bob.ID(), Capacity: 1_000_000}); err != nil {
			t.Fatalf("channel %d: %v", i+1, err)
		}
		if i%4 == 3 || i == channels-1 { // so many may be on their way at a time
			mine(6, nil)
			until(t, "usable channels", func() bool {
				n := 0
				for _, c := range append(alice.Channels(), bob.Channels()...) {
					if _, _, ok := c.State.Usable(); ok {
						n++
					}
				}
				return n == 2*(i+1)
			})
		}
	}
}
