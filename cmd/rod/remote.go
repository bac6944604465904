package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"lightningrod/cmd/internal/api"
	"lightningrod/cmd/rod/internal/facts"

	"github.com/alecthomas/kong"
	"golang.org/x/term"
)

// Remote is how to reach a node and how to show its answers: flags of every command.
type Remote struct {
	Socket  string `group:"node" env:"ROD_LISTEN_API" placeholder:"PATH" complete:"file" help:"The node's unix socket. If not given: the one in its data folder."`
	DataDir string `group:"node" env:"ROD_DATA_DIR" placeholder:"DIR" complete:"file" help:"The node's data folder; ~/.rod if not given."`
	Network string `group:"node" env:"ROD_NETWORK" default:"regtest" enum:"regtest,signet" help:"The node's network: regtest or signet."`
	JSON    bool   `group:"node" name:"json" xor:"shape" help:"JSON on a terminal too."`
	Table   bool   `group:"node" xor:"shape" help:"Text and tables for people in a pipe too."`
}

// dir is the folder of the node's files.
func (r *Remote) dir() (string, error) {
	dir := r.DataDir
	if dir == "" {
		var err error
		if dir, err = api.DefaultDir(); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, r.Network), nil
}

func (r *Remote) socket() (string, error) {
	if r.Socket != "" {
		return r.Socket, nil
	}
	dir, err := r.dir()
	return filepath.Join(dir, "api.sock"), err
}

// session is one command at work.
type session struct {
	*Remote
	ctx            context.Context
	stdout, stderr io.Writer
	command, tree  *kong.Node
}

// question is a command that asks for what its tags in the tree of commands say: get, post or delete a path. Columns are what a
// terminal shows of each entry of a list, by their names in JSON, failure.code being the code in failure; a number behind one cuts it to so
// many characters.
type question struct{}

// Run asks, and shows the answer.
func (question) Run(s *session) error { return s.asked("") }

// questionOf is a question about one thing, named in the path as {}.
type questionOf struct {
	Which string `arg:""`
}

// Run asks, and shows the answer.
func (q *questionOf) Run(s *session) error { return s.asked(q.Which) }

func (s *session) asked(which string) error {
	tag := s.command.Tag
	columns := strings.Fields(tag.Get("columns"))
	for _, method := range []string{"get", "post", "delete"} {
		path := strings.Replace(tag.Get(method), "{}", url.PathEscape(which), 1)
		switch {
		case path == "":
			continue
		case len(columns) > 0:
			return s.list(path, url.Values{}, columns)
		}
		return s.do(strings.ToUpper(method), path, nil, "")
	}
	panic(s.command.FullPath() + " asks for nothing")
}

// do asks the node and shows its answer.
func (s *session) do(method, path string, in any, key string) error {
	var out facts.Facts
	if err := s.call(method, path, in, &out, key); err != nil {
		return err
	}
	return s.show(out)
}

func (s *session) call(method, path string, in, out any, key string) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	return s.explain(client.Do(s.ctx, method, path, in, out, key))
}

func (s *session) client() (*api.Client, error) {
	socket, err := s.socket()
	return api.NewClient(socket), err
}

// explain says what to do when no node answers.
func (s *session) explain(err error) error {
	if !errors.Is(err, api.ErrUnreachable) {
		return err
	}
	socket, _ := s.socket()
	if _, gone := os.Stat(socket); errors.Is(gone, fs.ErrPermission) || strings.Contains(err.Error(), "permission denied") {
		return statusError{exitUnreachable, fmt.Errorf("%s belongs to somebody else: only the user who runs rodd may open it", socket)}
	}
	start := "rodd"
	if s.Network != "regtest" {
		start += " --network " + s.Network
	}
	if s.Socket != "" {
		start += " --listen.api " + s.Socket
	} else if s.DataDir != "" {
		start += " --data-dir " + s.DataDir
	}
	return statusError{exitUnreachable, fmt.Errorf("no node answers on %s: start one with \"%s\"", socket, start)}
}

// list asks for a list, all its pages, and shows it.
func (s *session) list(path string, query url.Values, columns []string) error {
	items := []any{}
	for more := true; more; {
		var page facts.Facts
		if err := s.call("GET", strings.TrimSuffix(path+"?"+query.Encode(), "?"), nil, &page, ""); err != nil {
			return err
		}
		some, _ := page.Get("items").([]any)
		items = append(items, some...)
		var after string
		if after, more = page.Get("next").(string); more {
			query.Set("after", after)
			query.Set("limit", "1000")
		}
	}
	all := facts.Facts{{Name: "items", Value: items}}
	if s.plain() {
		return facts.Table(s.stdout, tableOf(all.List("items"), columns))
	}
	return s.encode(all)
}

// show shows one answer: JSON as it came, or a line for each of its fields.
func (s *session) show(f facts.Facts) error {
	switch {
	case !s.plain():
		return s.encode(f)
	case len(f) == 0:
		_, err := fmt.Fprintln(s.stdout, "done") // the answer has no fields
		return err
	}
	return forPeople(f).Write(s.stdout)
}

func (s *session) encode(v any) error {
	enc := json.NewEncoder(s.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// line is a JSON object on a line of its own.
func (s *session) line(v any) error {
	enc := json.NewEncoder(s.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// factsOf is an answer that was read into its type, as facts.
func factsOf(v any) (f facts.Facts, err error) {
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, &f)
	}
	return f, err
}

// plain: the output is for people.
func (s *session) plain() bool { return s.Table || !s.JSON && isTerminal(s.stdout) }

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// forPeople gives amounts their units.
func forPeople(f facts.Facts) facts.Facts {
	out := make(facts.Facts, len(f))
	for i, x := range f {
		out[i] = withUnit(x)
		out[i].Name = strings.ReplaceAll(out[i].Name, "_", " ")
	}
	return out
}

// withUnit moves a unit from the name to the value.
func withUnit(f facts.Fact) facts.Fact {
	number, ok := f.Value.(json.Number)
	if !ok {
		return f
	}
	if name, ok := strings.CutSuffix(f.Name, "_sat"); ok {
		return facts.Fact{Name: name, Value: number.String() + " sat"}
	}
	if name, ok := strings.CutSuffix(f.Name, "_msat"); ok {
		var msat uint64
		if _, err := fmt.Sscan(number.String(), &msat); err == nil {
			return facts.Fact{Name: name, Value: showMsat(msat)}
		}
	}
	return f
}

// tableOf is a list as rows of cells, the headings first.
func tableOf(items []facts.Facts, columns []string) [][]string {
	names, widths := make([]string, len(columns)), make([]int, len(columns))
	heads := make([]string, len(columns))
	for i, c := range columns {
		name, width, cut := strings.Cut(c, ":")
		if names[i] = name; cut {
			_, _ = fmt.Sscan(width, &widths[i])
		}
		name = strings.TrimSuffix(strings.TrimSuffix(name, "_msat"), "_sat")
		heads[i] = strings.ToUpper(strings.NewReplacer("_", " ", ".", " ").Replace(name))
	}
	rows := [][]string{heads}
	for _, item := range items {
		cells := make([]string, len(columns))
		for i, name := range names {
			cells[i] = facts.Word(withUnit(facts.Fact{Name: name, Value: item.At(name)}).Value)
			if widths[i] > 0 && len(cells[i]) > widths[i] {
				cells[i] = cells[i][:widths[i]]
			}
		}
		rows = append(rows, cells)
	}
	return rows
}

// statusError is an error with its own exit status. Without a text everything is said already.
type statusError struct {
	status int
	error
}

func (e statusError) Unwrap() error { return e.error }

// wrong is an error of the command line.
func wrong(format string, args ...any) error {
	return statusError{exitUsage, fmt.Errorf(format, args...)}
}

// statusOf is the exit status of what the API answers.
var statusOf = map[api.Code]int{
	api.Invalid: exitUsage, api.TooLarge: exitUsage, api.Unavailable: exitUnreachable, api.Unknown: exitPending,
	api.Refused: exitRefused, api.Forbidden: exitRefused, api.Unauthorized: exitRefused, api.Conflict: exitRefused,
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
	case errors.As(err, &e) && statusOf[e.Code] != 0:
		return statusOf[e.Code]
	}
	return exitFailed
}
