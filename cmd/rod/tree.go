package main

import (
	"slices"
	"strings"

	"lightningrod/cmd/rod/internal/explain"

	"github.com/alecthomas/kong"
)

// This file is what completions and the documentation read out of the tree of commands.

// place is a node of the tree as a shell meets it: the words before it, and what may follow.
type place struct {
	path   string // words with a space between them; "": the top
	help   string
	words  []choice // commands that may follow
	flags  []choice
	values map[string][]string // of a flag, by its name with the dashes: what may stand behind it
	files  []string            // flags whose value is a file
	valued []string            // flags that have a value
	paths  bool                // its argument is a file
}

type choice struct{ word, help string }

// places walks the tree, parents first. Aliases are places too.
func places(root *kong.Node) []place {
	all := walk(root, "")
	for _, a := range aliases {
		at := slices.IndexFunc(all, func(p place) bool { return p.path == a.means })
		alias := all[at]
		alias.path = a.word
		all = append(all, alias)
		all[0].words = append(all[0].words, choice{a.word, a.means})
	}
	return all
}

func walk(n *kong.Node, path string) []place {
	p := place{path: path, help: n.Help, values: map[string][]string{}}
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			p.flag(f)
		}
	}
	for _, arg := range n.Positional {
		p.paths = p.paths || arg.Tag.Get("complete") == "file"
		for value := range strings.SplitSeq(arg.Enum, ",") {
			if value != "" {
				p.words = append(p.words, choice{value, ""})
			}
		}
	}
	all := []place{{}}
	for _, child := range n.Children {
		if child.Hidden || child.Type != kong.CommandNode {
			continue
		}
		p.words = append(p.words, choice{child.Name, child.Help})
		all = append(all, walk(child, strings.TrimSpace(path+" "+child.Name))...)
	}
	all[0] = p
	return all
}

func (p *place) flag(f *kong.Flag) {
	name := "--" + f.Name
	p.flags = append(p.flags, choice{name, f.Help})
	if f.Tag.Negatable != "" {
		p.flags = append(p.flags, choice{"--no-" + f.Name, "Not: " + f.Help})
	}
	if f.IsBool() {
		return
	}
	p.valued = append(p.valued, name)
	switch f.Tag.Get("complete") {
	case "file":
		p.files = append(p.files, name)
	case "scenario":
		p.values[name] = scenarioNames()
	case "stream":
		p.values[name] = explain.Streams()
	case "table":
		p.values[name] = tableNames()
	default:
		if f.Enum != "" {
			p.values[name] = strings.Split(f.Enum, ",")
		}
	}
}
