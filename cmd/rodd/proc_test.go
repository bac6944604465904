package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lightningrod/cmd/internal/api"
)

// asRodd has the test's own program be rodd: the processes of these tests are the code that is tested, without being built again.
const asRodd = "RODD_TEST_IS_RODD"

func TestMain(m *testing.M) {
	if os.Getenv(asRodd) != "" {
		main()
	}
	// They wait for processes more than they compute. Whoever says otherwise on the command line is heard.
	_ = flag.Set("test.parallel", "6")
	status := m.Run()
	if programs != "" {
		os.RemoveAll(programs)
	}
	os.Exit(status)
}

// patience is how long a process may take on a busy machine.
const patience = time.Minute

// process is a rodd of its own: it can be killed.
type process struct {
	*api.Client
	t       testing.TB
	socket  string
	cmd     *exec.Cmd
	stderr  *buffer
	notices *net.UnixConn
	ended   chan struct{}
}

// command is a rodd with these arguments, not yet started. Nothing of the caller's environment reaches its configuration.
func command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "ROD_") && !strings.HasPrefix(kv, "NOTIFY_SOCKET=") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, asRodd+"=1")
	return cmd
}

// does runs a command that ends by itself, and gives its exit status.
func does(t testing.TB, input string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	return finish(t, command(t, args...), input)
}

func finish(t testing.TB, cmd *exec.Cmd, input string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	stop := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	err := cmd.Run()
	stop.Stop()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// launch starts a rodd that goes on, and does not wait until it is ready.
func launch(t testing.TB, dir string, args ...string) *process {
	t.Helper()
	sock, err := os.MkdirTemp("", "rodd") // a name below the limit of unix sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sock) })
	p := &process{t: t, socket: sock + "/api", stderr: &buffer{}, ended: make(chan struct{}), Client: api.NewClient(sock + "/api")}
	p.notices, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: sock + "/notify", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	p.cmd = command(t, append([]string{"--data-dir", dir, "--listen.p2p", "127.0.0.1:0", "--listen.api", sock + "/api"}, args...)...)
	p.cmd.Env = append(p.cmd.Env, "NOTIFY_SOCKET="+sock+"/notify")
	p.cmd.Stdout, p.cmd.Stderr = io.Discard, p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		p.notices.Close()
		close(p.ended)
	}()
	t.Cleanup(func() { p.kill() })
	return p
}

// run starts a rodd and waits until it is ready.
func runRodd(t testing.TB, dir string, args ...string) *process {
	t.Helper()
	p := launch(t, dir, args...)
	p.told("READY=1")
	return p
}

// told waits for what systemd would be told.
func (p *process) told(want string) {
	p.t.Helper()
	_ = p.notices.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 1000)
	for {
		n, err := p.notices.Read(b)
		if err != nil {
			<-p.ended
			p.t.Fatalf("not told %q (%v): %v\n%s", want, err, p.cmd.ProcessState, p.stderr)
		}
		if string(b[:n]) == want {
			return
		}
	}
}

// kill ends it as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// end asks it to end, and gives its exit status.
func (p *process) end() int {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	return p.wait()
}

// wait waits for its end.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("it does not end\n%s", p.stderr)
	}
	return p.cmd.ProcessState.ExitCode()
}

// get asks for something that is there.
func (p *process) get(path string, out any) {
	p.t.Helper()
	if err := p.Do(p.t.Context(), "GET", path, nil, out, ""); err != nil {
		p.t.Fatalf("%s: %v\n%s", path, err, p.stderr)
	}
}

func (p *process) post(path string, in, out any) {
	p.t.Helper()
	if err := p.Do(p.t.Context(), "POST", path, in, out, ""); err != nil {
		p.t.Fatalf("%s: %v\n%s", path, err, p.stderr)
	}
}

func (p *process) info() (i api.Info) {
	p.t.Helper()
	p.get("/node", &i)
	return i
}

// until polls, for what is seen through no event.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !f() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not in %v", what, patience)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// write makes a file, and its folder.
func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
