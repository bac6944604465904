// Command rod is the tool of Lightning Rod. Its command demo is the protocol at work: a validating chain, four nodes, a payment
// between two that are never online together, and the proof of what happened. Most others ask a node that runs, rodd, over its
// unix socket: a noun and a verb, tables on a terminal and JSON elsewhere. decode and dump need no node. All of them are in
// docs/cli.md, which the tests hold to the tree of commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit statuses. They are part of what scripts rely on.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitRefused     = 4
	exitPending     = 5
	exitInterrupted = 130
)

// statuses is what they mean, for the documentation.
var statuses = []struct {
	status int
	means  string
}{
	{exitOK, "Done."},
	{exitFailed, "It failed: a payment has failed, a thing is not there or cannot be read, a check of the demo does not hold."},
	{exitUsage, "The command line is wrong, or a value in it. Nothing has been done."},
	{exitUnreachable, "No node answers, or it does not serve now (it catches up with the chain, or is ending)."},
	{exitRefused, "The node will not, as things stand. Nothing has changed."},
	{exitPending, "The time to wait is over and the outcome is open: ask again, do not repeat without a --key."},
	{exitInterrupted, "Interrupted."},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt is the system's
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// description is what help begins with.
func description() string {
	b := strings.Builder{}
	b.WriteString("Lightning Rod: payments between nodes that are never online together. rod NOUN VERB; the words of lncli work too:")
	for i, a := range aliases {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(" " + a.word)
	}
	b.WriteString(".")
	return b.String()
}

// newParser makes the tree of commands. Helped is set when somebody asked for help and got it.
func newParser(line *commandLine, stdout, stderr io.Writer, helped *bool) (*kong.Kong, error) {
	return kong.New(line, kong.Name("rod"), kong.Description(description()),
		kong.Writers(stdout, stderr), kong.Exit(func(int) { *helped = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}), kong.PostBuild(nameArguments), groups)
}

// run is the tool. What it starts has ended when it returns.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var line commandLine
	helped := false
	parser, err := newParser(&line, stdout, stderr, &helped)
	if err != nil {
		panic(err) // the tree is wrong
	}
	chosen, err := parser.Parse(aliased(args, parser.Model.Flags))
	switch {
	case helped:
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "rod: %s\n", strings.Join(strings.Fields(err.Error()), " "))
		fmt.Fprintln(stderr, "rod --help says more, and rod NOUN --help most")
		return exitUsage
	}
	s := &session{ctx: ctx, stdout: stdout, stderr: stderr, Remote: &line.Remote, command: chosen.Selected(), tree: parser.Model.Node}
	err = chosen.Run(s)
	var own statusError
	switch {
	case err == nil || errors.As(err, &own) && own.error == nil:
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "rod: interrupted; what the node has begun goes on")
	default:
		fmt.Fprintf(stderr, "rod: %v\n", err)
	}
	return exitOf(err)
}
