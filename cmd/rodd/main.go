// Command rodd is the daemon: one Lightning node with its API, on an embedded regtest chain or a bitcoind.
//
// It starts in this order, and ends in the reverse: configuration, lock of the data folder, seed, chain, node, API, readiness
// (sd_notify). Whatever goes wrong is one line on the standard error and an exit status:
//
//	0  stopped as asked
//	1  failed, also: the node ended by itself, for instance because the disk is full
//	2  wrong flags, environment or configuration file
//	3  no bitcoind, or the wrong one
//	4  the seed: no password, a wrong one, wrong words, a damaged file
//	5  another process runs on the data folder
//	6  the database is a backup or an old copy: see rodd restore
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"golang.org/x/term"
)

const (
	exitOK     = 0
	exitFailed = 1
	exitConfig = 2
	exitChain  = 3
	exitSeed   = 4
	exitLocked = 5
	exitOld    = 6
)

// exitError is an error with its own exit status.
type exitError struct {
	status int
	error
}

func (e exitError) Unwrap() error { return e.error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // a second signal ends us at once; that is no worse than a power cut
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the daemon. What it starts has ended when it returns.
func run(ctx context.Context, args []string, stdin *os.File, stdout, stderr io.Writer) int {
	line, command, helped, err := parse(args, stdout, stderr)
	switch {
	case helped:
		return exitOK
	case err != nil:
		return complain(stderr, exitError{exitConfig, err})
	}
	cfg := &line.config
	keeper := seedKeeper{cfg: cfg, stdin: stdin, stdout: stdout, stderr: stderr}
	switch command {
	case "config check":
		fmt.Fprintln(stdout, "the configuration is good")
	case "config print":
		err = cfg.print(stdout)
	case "version":
		fmt.Fprintln(stdout, "rodd", version())
	case "init":
		err = locked(cfg, func() error { return line.Init.run(&keeper) })
	case "backup":
		err = backup(ctx, cfg, stdout)
	case "restore", "restore <backup>":
		err = locked(cfg, func() error { return restore(cfg, &keeper, line.Restore.Backup, stdout) })
	default:
		err = locked(cfg, func() error { return runNode(ctx, cfg, &keeper, newLog(cfg, stderr)) })
	}
	if err != nil {
		return complain(stderr, err)
	}
	return exitOK
}

// complain says what is wrong in one line.
func complain(stderr io.Writer, err error) int {
	fmt.Fprintln(stderr, "rodd:", strings.Join(strings.Fields(err.Error()), " "))
	var e exitError
	if errors.As(err, &e) {
		return e.status
	}
	return exitFailed
}

// locked runs f with the network's folder made and ours alone.
func locked(cfg *config, f func() error) error {
	if err := os.MkdirAll(cfg.dir(), 0o700); err != nil {
		return fmt.Errorf("data-dir: %w", err)
	}
	unlock, err := lockDir(cfg.dir())
	if err != nil {
		return err
	}
	defer unlock()
	return f()
}

func newLog(cfg *config, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.Log.Level)) // an enum of names it knows
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Log.Format == "text" || cfg.Log.Format == "auto" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// version is what the build knows of itself.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (v == "" || v == "(devel)") {
			v = s.Value[:min(12, len(s.Value))]
		}
	}
	return v
}
