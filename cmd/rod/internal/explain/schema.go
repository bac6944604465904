// Package explain says in the words of the BOLTs what bytes of the protocol mean: messages, TLV streams, onions, invoices, blinded
// paths, transactions, ids. It is for reading what is or was on the wire, also what no node would accept: it checks lengths,
// encodings and points, but no rules. What it cannot read it refuses with the field, its place and the bound.
//
// The messages come from a table, schema.txt, which is read at the start; the tests hold it to the messages of lnwire and to
// package rod.
package explain

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"

	"lightningrod/cmd/rod/internal/facts"
)

// layout is the fields of a message, in their order; its TLV stream is the last of them.
type layout struct {
	name   string
	fields []field
}

// field is a name and how its bytes are read.
type field struct {
	name string
	read kind
}

// stream is the records that may stand in a TLV stream, by type.
type stream map[uint64]field

var (
	messages = map[uint16]layout{}
	streams  = map[string]stream{}
)

//go:embed schema.txt
var schema string

func init() {
	for line := range strings.Lines(schema) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		head, body, ok := strings.Cut(line, ":")
		what, name, named := strings.Cut(head, " ")
		if !ok || !named {
			panic("schema: " + line)
		}
		words := strings.Fields(body)
		if what == "tlvs" {
			s := stream{}
			for i := 0; i < len(words); i += 2 {
				typ := number(words[i])
				if _, twice := s[typ]; twice {
					panic("schema: type twice: " + line)
				}
				s[typ] = parseField(words[i+1])
			}
			streams[name] = s
			continue
		}
		l := layout{name: name}
		for _, w := range words {
			l.fields = append(l.fields, parseField(w))
		}
		messages[uint16(number(what))] = l
	}
}

func number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		panic("schema: " + err.Error())
	}
	return n
}

func parseField(text string) field {
	name, kind, ok := strings.Cut(text, "=")
	if !ok {
		panic("schema: " + text)
	}
	return field{name, parseKind(kind)}
}

// parseKind makes a kind of its name.
func parseKind(text string) kind {
	if inner, ok := strings.CutPrefix(text, "("); ok {
		var parts []field
		for _, p := range strings.Split(strings.TrimSuffix(inner, ")"), ",") {
			parts = append(parts, parseField(p))
		}
		return record(parts)
	}
	if inner, ok := strings.CutPrefix(text, "<"); ok {
		return streamKind(strings.TrimSuffix(inner, ">"))
	}
	if k, ok := kinds[text]; ok {
		return k
	}
	if one, times, ok := strings.Cut(text, "*"); ok {
		if times == "" {
			return repeated(parseKind(one), 0)
		}
		return repeated(parseKind(one), int(number(times)))
	}
	return raw(int(number(text)))
}

// record is several fields as one value.
func record(parts []field) kind {
	return func(c *cursor) any {
		f := facts.Facts{}
		for _, p := range parts {
			c.read(&f, p)
		}
		return f
	}
}

// streamKind is a stream up to the end of the bytes. It is looked up when it is read: the table names it before it has it.
func streamKind(name string) kind {
	return func(c *cursor) any { return c.stream(name) }
}

// Message explains a message: its type in two bytes, then its fields.
func Message(b []byte) (facts.Facts, error) {
	c := newCursor(b)
	typ := uint16(c.uint("type", 2))
	if c.err != nil {
		return nil, c.err
	}
	c.field = ""
	l, known := messages[typ]
	f := facts.Facts{{Name: "type", Value: uint64(typ)}}
	if !known {
		f.Add("name", fmt.Sprintf("unknown, %s", parity(uint64(typ))))
		f.Add("data", hexOf(c.rest()))
		return f, nil
	}
	f.Add("name", l.name)
	for _, x := range l.fields {
		c.read(&f, x)
	}
	c.extension(&f)
	if c.err != nil {
		return nil, fmt.Errorf("%s: %w", l.name, c.err)
	}
	return f, nil
}

// extension is the TLV stream that BOLT 1 allows behind every message.
func (c *cursor) extension(f *facts.Facts) {
	if c.err == nil && c.left() > 0 {
		f.Add("tlvs", c.stream(""))
	}
}

// parity says what BOLT 1 wants done with what is not known.
func parity(typ uint64) string {
	if typ%2 == 0 {
		return "even: to be refused"
	}
	return "odd: to be ignored"
}

// Stream explains a TLV stream by its name in the table.
func Stream(name string, b []byte) (facts.Facts, error) {
	if _, ok := streams[name]; !ok && name != "" {
		return nil, fmt.Errorf("no TLV stream %q: there are %s", name, strings.Join(Streams(), ", "))
	}
	c := newCursor(b)
	f := c.stream(name)
	if c.err != nil {
		return nil, c.err
	}
	return f, nil
}
