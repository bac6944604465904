package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// openTerminal is the two ends of a pseudo-terminal: what a person has, and what a program has (pty(7)).
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("SKIPPED: no terminals here: %v", err)
	}
	t.Cleanup(func() { person.Close() })
	var number, unlocked uint32
	control := func(request uintptr, value *uint32) {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, person.Fd(), request, uintptr(unsafe.Pointer(value))); errno != 0 {
			t.Skipf("SKIPPED: no terminals here: %v", errno)
		}
	}
	control(syscall.TIOCSPTLCK, &unlocked)
	control(syscall.TIOCGPTN, &number)
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("SKIPPED: no terminals here: %v", err)
	}
	return person, program
}

// unseen waits until what is typed is no longer shown: the question comes a moment before.
func unseen(t *testing.T, person *os.File) {
	t.Helper()
	until(t, "no echo", func() bool {
		var mode syscall.Termios
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, person.Fd(), syscall.TCGETS, uintptr(unsafe.Pointer(&mode)))
		return errno != 0 || mode.Lflag&syscall.ECHO == 0
	})
}

// converse runs a command on a terminal. Each answer is typed when its question is there; screen is all that was shown.
func converse(t *testing.T, args []string, talk ...[2]string) (status int, screen string) {
	t.Helper()
	person, program := openTerminal(t)
	cmd := command(t, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	program.Close()
	stop := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer stop.Stop()
	var shown strings.Builder
	b := make([]byte, 1000)
	asked := 0 // where the last question ended
	for {
		n, err := person.Read(b)
		shown.Write(b[:n])
		if err != nil { // the program has gone
			break
		}
		for len(talk) > 0 {
			at := strings.Index(shown.String()[asked:], talk[0][0])
			if at < 0 {
				break
			}
			asked += at + len(talk[0][0])
			if strings.HasSuffix(talk[0][0], ": ") { // of a password
				unseen(t, person)
			}
			if _, err := person.WriteString(talk[0][1]); err != nil {
				t.Fatal(err)
			}
			talk = talk[1:]
		}
	}
	_ = cmd.Wait()
	if len(talk) > 0 {
		t.Fatalf("never asked %q\n%s", talk[0][0], shown.String())
	}
	return cmd.ProcessState.ExitCode(), shown.String()
}

// TestTerminal: on a terminal the words and the password are asked for, the password twice and unseen.
func TestTerminal(t *testing.T) {
	t.Parallel()
	const first, again = "Password of the seed: ", "Once more: "
	args := func(more ...string) []string {
		return append(more, "--data-dir", t.TempDir(), "--chain.backend", "bitcoind", "--network", "signet")
	}
	const end = "\n\x04" // Ctrl-D
	const born = "Their birthday, a block height (Enter: not known, all blocks are searched)? "
	for _, x := range []struct {
		name   string
		args   []string
		talk   [][2]string
		status int
		see    string
	}{
		{"restore", args("init", "--restore"), [][2]string{{"The 24 words", words + "\n"}, {born, "123456\n"}, {first, "hunter2\n"}, {again, "hunter2\n"}}, exitOK, "The seed is restored."},
		{"restore, in lines", args("init", "--restore"), [][2]string{{"The 24 words", strings.ReplaceAll(words, " ", "\n") + "\n"}, {born, "\n"}, {first, "hunter2\n"}, {again, "hunter2\n"}}, exitOK, "The seed is restored."},
		{"restore, birthday known", args("init", "--restore", "--birthday", "5"), [][2]string{{"The 24 words", words + "\n"}, {first, "hunter2\n"}, {again, "hunter2\n"}}, exitOK, "The seed is restored."},
		{"birthday", args("init", "--restore"), [][2]string{{"The 24 words", words + "\n"}, {born, "yesterday\n"}}, exitSeed, "rodd: birthday: \"yesterday\" is not a block height"},
		{"two passwords", args("init", "--restore"), [][2]string{{"The 24 words", words + "\n"}, {born, "\n"}, {first, "hunter2\n"}, {again, "hunter3\n"}}, exitSeed, "rodd: the two passwords differ"},
		{"wrong words", args("init", "--restore"), [][2]string{{"The 24 words", "abandon" + end}}, exitSeed, "rodd: seed words: 1 given, need 24"},
		{"new", args("init"), [][2]string{{first, "hunter2\n"}, {again, "hunter2\n"}}, exitOK, "Note the block height of now"},
		{"empty", args("init"), [][2]string{{first, "\n"}, {again, "\n"}}, exitSeed, "rodd: the password is empty"},
	} {
		t.Run(x.name, func(t *testing.T) {
			status, screen := converse(t, x.args, x.talk...)
			if status != x.status || !strings.Contains(screen, x.see) || strings.Contains(screen, "hunter") {
				t.Fatalf("%d, want %d %q\n%s", status, x.status, x.see, screen)
			}
		})
	}
}
