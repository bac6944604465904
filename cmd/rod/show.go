package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"lightningrod/cmd/rod/internal/facts"

	"golang.org/x/term"
)

// This file is how answers are shown: JSON as they came, or text and tables for people.

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
