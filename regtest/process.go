package regtest

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// find is the command that env names, or name from PATH. The variable may hold a path, or a command with arguments. A variable that
// names something that does not exist is a mistake, and fails the test.
func find(t testing.TB, env, name string) []string {
	t.Helper()
	if text := os.Getenv(env); text != "" {
		if _, err := os.Stat(text); err == nil {
			return []string{text}
		}
		command := strings.Fields(text)
		if len(command) > 0 {
			if file, err := exec.LookPath(command[0]); err == nil {
				return append([]string{file}, command[1:]...)
			}
		}
		t.Fatalf("%s names %q, which is no command", env, text)
	}
	file, err := exec.LookPath(name)
	if err != nil {
		absent(t, fmt.Sprintf("no %s: neither %s nor PATH names one", name, env))
	}
	return []string{file}
}

// findOptional is find for a program that is rarely there: without it the test is skipped, also where bitcoind and lnd have to be there. It has to be
// only if ROD_REQUIRE_PEERS has its word.
func findOptional(t testing.TB, word, env, name string) []string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil && os.Getenv(env) == "" && !slices.Contains(strings.Split(os.Getenv("ROD_REQUIRE_PEERS"), ","), word) {
		t.Skipf("SKIPPED: no %s: neither %s nor PATH names one", name, env)
	}
	return find(t, env, name)
}

// programs are those of ours that were built, by package; nil: none yet.
var programs struct {
	sync.Mutex
	dir   string
	paths map[string]string
}

// built builds a program of ours, once for all tests.
func built(pkg string) (string, error) {
	programs.Lock()
	defer programs.Unlock()
	if file := programs.paths[pkg]; file != "" {
		return file, nil
	}
	if programs.dir == "" {
		dir, err := os.MkdirTemp("", "regtest")
		if err != nil {
			return "", err
		}
		programs.dir, programs.paths = dir, map[string]string{}
	}
	file := filepath.Join(programs.dir, path.Base(pkg))
	if out, err := exec.Command("go", "build", "-o", file, pkg).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	programs.paths[pkg] = file
	return file, nil
}

// RemoveBuilt removes what was built. For TestMain, after the tests.
func RemoveBuilt() {
	if programs.dir != "" {
		os.RemoveAll(programs.dir)
	}
	if hodlPlugin.dir != "" {
		os.RemoveAll(hodlPlugin.dir)
	}
}

// socketPath is a name below the limit of unix sockets, whatever the test is called.
func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rod")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "api")
}

// process is a running program.
type process struct {
	pid  int
	done chan struct{} // closed when it has ended
	err  error         // how, once it has
}

// start runs a program whose output goes to a file, unless one of the changes gives it another place.
//
// It is killed when this process dies, however that happens: the kernel does so when the thread that started it ends, so the
// goroutine that waits for it keeps its thread.
func start(command []string, output string, changes ...func(*exec.Cmd) error) (*process, error) {
	out, err := os.Create(output)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = ownGroup()
	for _, change := range changes {
		if err := change(cmd); err != nil {
			out.Close()
			return nil, err
		}
	}
	p := &process{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer out.Close()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// kill ends the program and what it has started, and waits.
func (p *process) kill() {
	select {
	case <-p.done:
	default:
		killGroup(p.pid)
		<-p.done
	}
}
