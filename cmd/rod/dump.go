package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"lightningrod/cmd/rod/internal/facts"
	"lightningrod/node/store"
)

type dumpCommand struct {
	Database string   `arg:"" optional:"" placeholder:"FILE" complete:"file" help:"The database or a backup of it; if not given: node.db in the data folder."`
	Table    []string `name:"only" placeholder:"TABLE" complete:"table" help:"Only these tables, separated by commas."`
	Keys     bool     `help:"Only how many rows there are, and their keys."`
}

// Run shows all rows: for people table by table, for programs one JSON object a line.
func (c *dumpCommand) Run(s *session) error {
	path := c.Database
	if path == "" {
		dir, err := s.dir()
		if err != nil {
			return err
		}
		path = filepath.Join(dir, "node.db")
	}
	tables, err := c.tables()
	if err != nil {
		return err
	}
	db, err := store.View(path)
	if errors.Is(err, store.ErrLocked) {
		return statusError{exitRefused, fmt.Errorf("%w; stop it first, or dump a backup (rod node backup)", err)}
	}
	if err != nil {
		return err
	}
	defer db.Close()
	d := &dumper{session: s, db: db}
	if !c.Keys {
		if err := d.prepare(); err != nil {
			return err
		}
	}
	for _, t := range tables {
		if err := d.table(t, c.Keys); err != nil {
			return err
		}
	}
	return nil
}

func (c *dumpCommand) tables() ([]store.Table, error) {
	if len(c.Table) == 0 {
		return store.Tables(), nil
	}
	var some []store.Table
	for _, name := range c.Table {
		t, ok := store.TableByName(name)
		if !ok {
			return nil, wrong("no table %q: there are %s", name, strings.Join(tableNames(), ", "))
		}
		some = append(some, t)
	}
	return some, nil
}

func tableNames() (names []string) {
	for _, t := range store.Tables() {
		names = append(names, t.String())
	}
	slices.Sort(names)
	return names
}

// dumper shows rows. Rows that only mean something together are read before.
type dumper struct {
	*session
	db *store.Store
	together
}

// table shows one table.
func (d *dumper) table(t store.Table, keysOnly bool) error {
	rows := []any{}
	err := d.db.Load(t, func(key, value []byte) error {
		f := keyFacts(t, key)
		if !keysOnly {
			said, err := d.row(t, key, value)
			if err != nil {
				said = facts.Facts{{Name: "unreadable", Value: err.Error()}, {Name: "bytes", Value: uint64(len(value))}}
			}
			f = append(f, said...)
		}
		if !d.plain() {
			return d.line(append(facts.Facts{{Name: "table", Value: t.String()}}, f...))
		}
		rows = append(rows, f)
		return nil
	})
	if err != nil || len(rows) == 0 {
		return err
	}
	return facts.Facts{{Name: fmt.Sprintf("%s: %d", t, len(rows)), Value: rows}}.Write(d.stdout)
}
