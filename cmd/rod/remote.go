package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"lightningrod/cmd/internal/api"

	"golang.org/x/term"
)

// Exit statuses of the commands that talk to a node.
const (
	exitUnreachable = 3 // no node answers, or it does not serve now
	exitRefused     = 4 // the node will not
	exitPending     = 5 // the outcome is not known yet
)

// Remote is how to reach a node, the same for every command that does.
type Remote struct {
	Socket  string `env:"ROD_LISTEN_API" placeholder:"PATH" help:"The node's unix socket. If not given: the one in its data folder."`
	DataDir string `env:"ROD_DATA_DIR" placeholder:"DIR" help:"The node's data folder; ~/.rod if not given."`
	Network string `env:"ROD_NETWORK" default:"regtest" enum:"regtest,signet" help:"The node's network: regtest or signet."`
	JSON    bool   `name:"json" help:"JSON on a terminal too."`
}

func (r *Remote) client() (*api.Client, error) {
	if r.Socket != "" {
		return api.NewClient(r.Socket), nil
	}
	dir := r.DataDir
	if dir == "" {
		var err error
		if dir, err = api.DefaultDir(); err != nil {
			return nil, err
		}
	}
	return api.NewClient(filepath.Join(dir, r.Network, "api.sock")), nil
}

// session is one command at work.
type session struct {
	ctx            context.Context
	stdout, stderr io.Writer
}

// ask asks the node for something that changes nothing and shows it.
func ask[T any](s *session, r *Remote, path string, show func(*table, T)) error {
	return do(s, r, "GET", path, nil, "", show)
}

// do asks the node and shows its answer: as JSON, as it came, or as a table for people.
func do[T any](s *session, r *Remote, method, path string, in any, key string, show func(*table, T)) error {
	var out T
	if err := call(s, r, method, path, in, &out, key); err != nil {
		return err
	}
	return render(s, r, out, show)
}

func call(s *session, r *Remote, method, path string, in, out any, key string) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	return c.Do(s.ctx, method, path, in, out, key)
}

// list is ask for a list, all its pages.
func list[T any](s *session, r *Remote, path string, show func(*table, T), columns ...string) error {
	all := api.List[T]{Items: []T{}}
	for after := ""; ; {
		var page api.List[T]
		if err := call(s, r, "GET", path+"?limit=1000&after="+after, nil, &page, ""); err != nil {
			return err
		}
		all.Items = append(all.Items, page.Items...)
		if after = page.Next; after == "" {
			break
		}
	}
	return render(s, r, all, func(t *table, l api.List[T]) {
		t.row(columns...)
		for _, x := range l.Items {
			show(t, x)
		}
	})
}

func render[T any](s *session, r *Remote, out T, show func(*table, T)) error {
	if r.JSON || !isTerminal(s.stdout) {
		enc := json.NewEncoder(s.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(out)
	}
	t := &table{tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)}
	show(t, out)
	return t.w.Flush()
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// table is rows of cells for people.
type table struct{ w *tabwriter.Writer }

func (t *table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = printable(c)
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

// printable keeps what others chose, such as a reason or an alias, from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// statusError is an error with its own exit status.
type statusError struct {
	status int
	error
}

// exitOf is the exit status of an error.
func exitOf(err error) int {
	var own statusError
	var e *api.Error
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &own):
		return own.status
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, api.ErrUnreachable):
		return exitUnreachable
	case !errors.As(err, &e):
		return exitFailed
	}
	switch e.Code {
	case api.Invalid, api.TooLarge:
		return exitUsage
	case api.Unavailable:
		return exitUnreachable
	case api.Refused, api.Forbidden, api.Unauthorized, api.Conflict:
		return exitRefused
	}
	return exitFailed
}
