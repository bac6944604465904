package regtest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
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
			if path, err := exec.LookPath(command[0]); err == nil {
				return append([]string{path}, command[1:]...)
			}
		}
		t.Fatalf("%s names %q, which is no command", env, text)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		absent(t, fmt.Sprintf("no %s: neither %s nor PATH names one", name, env))
	}
	return []string{path}
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
