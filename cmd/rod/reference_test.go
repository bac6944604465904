package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

//go:generate go test . -run TestReference -update

// reference is docs/cli.md: all commands out of the tree.
func reference(root *kong.Node) string {
	var b strings.Builder
	b.WriteString(`# rod

This file is made of the tree of commands: ` + "`go generate ./cmd/rod`" + ` writes it, and a test fails when it is old.

` + "`rod NOUN VERB`" + `. Amounts have units (` + "`21sat`, `1500msat`, `0.01btc`" + `), times too (` + "`90m`, `10s`" + `). On a terminal there are tables and text,
in a pipe JSON as the API gives it; ` + "`--json` and `--table`" + ` choose. What is said while something goes on is on the standard error.

| exit status | |
|---|---|
`)
	for _, s := range statuses {
		fmt.Fprintf(&b, "| %d | %s |\n", s.status, s.means)
	}
	b.WriteString("\nFlags of every command:\n\n| flag | |\n|---|---|\n")
	for _, f := range root.Flags {
		if f.Name != "help" {
			fmt.Fprintf(&b, "| `%s` | %s |\n", flagText(f), flagHelp(f))
		}
	}
	for _, n := range root.Children {
		if n.Hidden {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", n.Name, n.Help)
		if n.Leaf() {
			command(&b, n)
			continue
		}
		for _, leaf := range n.Leaves(true) {
			fmt.Fprintf(&b, "\n### rod %s\n\n%s\n", strings.TrimPrefix(leaf.FullPath(), "rod "), leaf.Help)
			command(&b, leaf)
		}
	}
	b.WriteString("\n## Words of lncli\n\n| word | means |\n|---|---|\n")
	for _, a := range aliases {
		fmt.Fprintf(&b, "| `%s` | `rod %s` |\n", a.word, a.means)
	}
	return b.String()
}

// command is the arguments and flags of one command.
func command(b *strings.Builder, n *kong.Node) {
	usage := n.FullPath()
	for _, a := range n.Positional {
		usage += " " + a.Summary()
	}
	fmt.Fprintf(b, "\n```\n%s\n```\n", usage)
	if n.Detail != "" {
		fmt.Fprintf(b, "\n%s\n", n.Detail)
	}
	if len(n.Positional)+len(n.Flags) == 0 {
		return
	}
	b.WriteString("\n| | |\n|---|---|\n")
	for _, a := range n.Positional {
		fmt.Fprintf(b, "| `%s` | %s |\n", a.Name, a.Help)
	}
	for _, f := range n.Flags {
		fmt.Fprintf(b, "| `%s` | %s |\n", flagText(f), flagHelp(f))
	}
}

func flagText(f *kong.Flag) string {
	name := "--" + f.Name
	if f.Tag.Negatable != "" {
		name = "--[no-]" + f.Name
	}
	if f.Short != 0 {
		name = "-" + string(f.Short) + ", " + name
	}
	if f.IsBool() {
		return name
	}
	placeholder := f.PlaceHolder
	if placeholder == "" {
		placeholder = strings.ToUpper(f.Name)
	}
	return name + " " + placeholder
}

func flagHelp(f *kong.Flag) string {
	help := f.Help
	if f.Default != "" {
		help += " Default: `" + f.Default + "`."
	}
	for _, env := range f.Envs {
		help += " Environment: `" + env + "`."
	}
	return strings.ReplaceAll(help, "|", "\\|")
}
