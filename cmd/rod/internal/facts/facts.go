// Package facts holds names and values in an order: what a node answers, what a message says, what a row of the database is. They
// are shown as indented text for people or as JSON for programs, and a list of them as a table.
package facts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Fact is a name and its value: a string, a bool, an integer, a json.Number, nil, Facts, or a []any of these.
type Fact struct {
	Name  string
	Value any
}

// Facts are facts in the order in which they are told.
type Facts []Fact

// Add appends a fact.
func (f *Facts) Add(name string, value any) { *f = append(*f, Fact{name, value}) }

// Get finds a value by its name; nil: there is none.
func (f Facts) Get(name string) any {
	for _, x := range f {
		if x.Name == name {
			return x.Value
		}
	}
	return nil
}

// At is Get along names with dots between them.
func (f Facts) At(path string) any {
	name, rest, deeper := strings.Cut(path, ".")
	v := f.Get(name)
	if !deeper {
		return v
	}
	inner, _ := v.(Facts)
	return inner.At(rest)
}

// Text is the value of a name as one word; "": there is none.
func (f Facts) Text(name string) string {
	if v := f.Get(name); v != nil {
		return Word(v)
	}
	return ""
}

// List is the Facts in a list; nil: there is none of this name.
func (f Facts) List(name string) []Facts {
	var all []Facts
	items, _ := f.Get(name).([]any)
	for _, x := range items {
		if one, ok := x.(Facts); ok {
			all = append(all, one)
		}
	}
	return all
}

// MarshalJSON is an object with the names in their order.
func (f Facts) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, x := range f {
		if i > 0 {
			b.WriteByte(',')
		}
		for j, part := range []any{x.Name, x.Value} {
			if j > 0 {
				b.WriteByte(':')
			}
			text, err := json.Marshal(part)
			if err != nil {
				return nil, err
			}
			b.Write(text)
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON keeps the order of an object's names, and numbers as they are written.
func (f *Facts) UnmarshalJSON(text []byte) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	v, err := read(dec)
	if err != nil {
		return err
	}
	object, ok := v.(Facts)
	if !ok {
		return errors.New("not a JSON object")
	}
	*f = object
	return nil
}

func read(dec *json.Decoder) (any, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		f := Facts{}
		for dec.More() {
			name, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := read(dec)
			if err != nil {
				return nil, err
			}
			f.Add(name.(string), v)
		}
		_, err := dec.Token()
		return f, err
	case json.Delim('['):
		l := []any{}
		for dec.More() {
			v, err := read(dec)
			if err != nil {
				return nil, err
			}
			l = append(l, v)
		}
		_, err := dec.Token()
		return l, err
	}
	return tok, nil
}

// Word is a value on one line.
func Word(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case string:
		if v == "" {
			return "-"
		}
		return Printable(v)
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case []any:
		if len(v) == 0 {
			return "-"
		}
		words := make([]string, len(v))
		for i, x := range v {
			words[i] = Word(x)
		}
		return strings.Join(words, " ")
	case Facts:
		if len(v) == 0 {
			return "-"
		}
		words := make([]string, len(v))
		for i, x := range v {
			words[i] = x.Name + "=" + Word(x.Value)
		}
		return strings.Join(words, " ")
	}
	return fmt.Sprint(v)
}

// Write shows facts one a line, what belongs to one of them indented below it.
func (f Facts) Write(w io.Writer) error {
	var b strings.Builder
	f.write(&b, "")
	_, err := io.WriteString(w, b.String())
	return err
}

func (f Facts) write(b *strings.Builder, indent string) {
	width := 0
	for _, x := range f {
		if !nested(x.Value) {
			width = max(width, len(x.Name))
		}
	}
	for _, x := range f {
		name := Printable(x.Name)
		if !nested(x.Value) {
			// Text of several lines stands as it is, under its name.
			lines := strings.Split(wordLines(x.Value), "\n")
			fmt.Fprintf(b, "%s%-*s  %s\n", indent, width, name, lines[0])
			for _, line := range lines[1:] {
				fmt.Fprintf(b, "%s%-*s  %s\n", indent, width, "", line)
			}
			continue
		}
		fmt.Fprintf(b, "%s%s\n", indent, name)
		if one, ok := x.Value.(Facts); ok {
			one.write(b, indent+"  ")
			continue
		}
		for _, item := range x.Value.([]any) {
			one, ok := item.(Facts)
			if !ok {
				one = Facts{{"", item}}
			}
			var inner strings.Builder
			one.write(&inner, indent+"    ")
			// The dash takes the place of the first line's last two spaces of indentation.
			b.WriteString(indent + "  - " + strings.TrimPrefix(inner.String(), indent+"    "))
		}
	}
}

func wordLines(v any) string {
	s, ok := v.(string)
	if !ok || !strings.Contains(s, "\n") {
		return Word(v)
	}
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = Printable(line)
	}
	return strings.Join(lines, "\n")
}

// nested: the value stands below its name.
func nested(v any) bool {
	switch v := v.(type) {
	case Facts:
		return len(v) > 0
	case []any:
		for _, x := range v {
			if _, ok := x.(Facts); ok {
				return true
			}
		}
	}
	return false
}

// Table writes rows of cells under their headings.
func Table(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, cells := range rows {
		fmt.Fprintln(t, strings.TrimRight(strings.Join(cells, "\t"), "\t "))
	}
	return t.Flush()
}

// Printable keeps what others chose, such as a reason or an alias, from steering the terminal.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
