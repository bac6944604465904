// Command rod is the tool of Lightning Rod. Its command demo is the protocol at work: a validating chain, four nodes, a payment
// between two that are never online together, and the proof of what happened. The others ask a node that runs, rodd, over
// its unix socket: a noun and a verb, tables on a terminal and JSON elsewhere.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// Exit statuses.
const (
	exitOK          = 0
	exitFailed      = 1 // a check does not hold
	exitUsage       = 2
	exitInterrupted = 130
)

type commandLine struct {
	nodeCommands
	Demo demoCommand `cmd:"" help:"Carry a payment between two nodes that are never online together, and prove what happened."`
}

type demoCommand struct {
	Scenario string        `default:"happy" placeholder:"NAME" help:"What is to happen, one of --list: happy if nothing is said."`
	List     bool          `help:"List the names of the scenarios, one a line."`
	Seed     uint64        `default:"1" help:"The nodes' seeds follow from it, and so do their ids."`
	Pace     time.Duration `default:"700ms" help:"How long to stop after each step, for the eye. 0: not at all."`
	Dir      string        `placeholder:"DIR" help:"Keep the files, in a new folder of DIR for each run. If not given: a temporary folder, removed at the end."`
	JSON     bool          `name:"json" help:"One JSON object a line; the last one is the result."`
	Verbose  bool          `short:"v" help:"The nodes' logs, on the standard error."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt is the system's
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the tool. What it starts has ended when it returns.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var line commandLine
	helped := false
	parser, err := kong.New(&line, kong.Name("rod"), kong.Description("Lightning Rod: payments between nodes that are never online together."),
		kong.Writers(stdout, stderr), kong.Exit(func(int) { helped = true }), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		fmt.Fprintln(stderr, "rod:", err)
		return exitUsage
	}
	chosen, err := parser.Parse(args)
	switch {
	case helped:
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "rod: %v\nrod --help says more\n", err)
		return exitUsage
	}
	if chosen.Command() == "demo" {
		return line.Demo.run(ctx, stdout, stderr)
	}
	err = chosen.Run(&session{ctx: ctx, stdout: stdout, stderr: stderr})
	if err != nil {
		fmt.Fprintln(stderr, "rod:", err)
	}
	return exitOf(err)
}

func (c *demoCommand) run(ctx context.Context, stdout, stderr io.Writer) int {
	if c.List {
		for _, s := range scenarios {
			fmt.Fprintln(stdout, s.name)
		}
		return exitOK
	}
	play, ok := findScenario(c.Scenario)
	if !ok {
		fmt.Fprintf(stderr, "rod: no scenario %q; there are %s\n", c.Scenario, strings.Join(scenarioNames(), ", "))
		return exitUsage
	}
	if c.Pace < 0 {
		fmt.Fprintf(stderr, "rod: --pace %s is below 0\n", c.Pace)
		return exitUsage
	}
	say := newNarrator(stdout, c.JSON)
	opts := options{seed: c.Seed, pace: c.Pace, dir: c.Dir}
	if c.Verbose {
		opts.log = stderr
	}
	result, err := perform(ctx, play, opts, say)
	switch {
	case ctx.Err() != nil:
		say.end()
		fmt.Fprintln(stderr, "rod: interrupted; everything is stopped")
		return exitInterrupted
	case err != nil:
		say.end()
		fmt.Fprintln(stderr, "rod:", err)
		return exitFailed
	case !result.OK:
		return exitFailed
	}
	return exitOK
}
