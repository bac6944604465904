package main

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

type demoCommand struct {
	Scenario string        `default:"happy" placeholder:"NAME" complete:"scenario" help:"What is to happen, one of --list: happy if nothing is said."`
	List     bool          `help:"List the names of the scenarios, one a line."`
	Seed     uint64        `default:"1" help:"The nodes' seeds follow from it, and so do their ids."`
	Pace     time.Duration `default:"700ms" help:"How long to stop after each step, for the eye. 0: not at all."`
	Dir      string        `placeholder:"DIR" complete:"file" help:"Keep the files, in a new folder of DIR for each run. If not given: a temporary folder, removed at the end."`
	Verbose  bool          `short:"v" help:"The nodes' logs, on the standard error."`
}

// Run plays a scenario. With --json it is one JSON object a line, the last one the result; in a pipe it is text.
func (c *demoCommand) Run(s *session) error {
	if c.List {
		for _, play := range scenarios {
			fmt.Fprintln(s.stdout, play.name)
		}
		return nil
	}
	play, ok := findScenario(c.Scenario)
	if !ok {
		return wrong("no scenario %q; there are %s", c.Scenario, strings.Join(scenarioNames(), ", "))
	}
	if c.Pace < 0 {
		return wrong("--pace %s is below 0", c.Pace)
	}
	say := newNarrator(s.stdout, s.JSON)
	opts := options{seed: c.Seed, pace: c.Pace, dir: c.Dir}
	if c.Verbose {
		opts.log = s.stderr
	}
	result, err := perform(s.ctx, play, opts, say)
	switch {
	case s.ctx.Err() != nil:
		say.end()
		return statusError{exitInterrupted, errors.New("interrupted; everything is stopped")}
	case err != nil:
		say.end()
		return err
	case !result.OK:
		return statusError{status: exitFailed} // its proof has said what does not hold
	}
	return nil
}
