package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/alecthomas/kong"
)

// This file is the configuration as TOML, read and written.

// fileResolver gives kong the values of the file. The environment goes before it, which kong by itself has the other way round.
type fileResolver struct {
	path string
	keys map[string]any // by flag name
}

// Validate refuses keys that are no flag's.
func (r *fileResolver) Validate(app *kong.Application) error {
	known := map[string]bool{}
	for _, f := range app.Flags {
		known[f.Name] = f.Name != "help" && f.Name != "config"
	}
	names := make([]string, 0, len(r.keys))
	for name := range r.keys {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if !known[name] {
			return fmt.Errorf("%s: unknown key %s", r.path, strings.ReplaceAll(name, "-", "_"))
		}
	}
	return nil
}

func (r *fileResolver) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, env := range flag.Envs {
		if _, set := os.LookupEnv(env); set {
			return nil, nil
		}
	}
	v, ok := r.keys[flag.Name]
	if !ok {
		return nil, nil
	}
	return v, nil
}

// tomlKeys flattens a TOML document: p2p in [listen] becomes listen.p2p. Underscores become hyphens, as flags have them.
func tomlKeys(text []byte) (map[string]any, error) {
	var tree map[string]any
	if err := toml.Unmarshal(text, &tree); err != nil {
		var p toml.ParseError
		if errors.As(err, &p) {
			return nil, fmt.Errorf("line %d: %s", p.Position.Line, p.Message)
		}
		return nil, err
	}
	keys := map[string]any{}
	var walk func(prefix string, t map[string]any) error
	walk = func(prefix string, t map[string]any) error {
		for name, v := range t {
			full := prefix + strings.ReplaceAll(name, "_", "-")
			switch v := v.(type) {
			case map[string]any:
				if err := walk(full+".", v); err != nil {
					return err
				}
			case []any:
				items := make([]string, len(v))
				for i, x := range v {
					s, ok := x.(string)
					if !ok || strings.Contains(s, ",") {
						return fmt.Errorf("%s: entry %d is not a string without commas", prefix+name, i+1)
					}
					items[i] = s
				}
				keys[full] = strings.Join(items, ",")
			case bool:
				keys[full] = v
			case string:
				keys[full] = v
			case int64:
				keys[full] = fmt.Sprint(v)
			default:
				return fmt.Errorf("%s: a %T fits nothing", prefix+name, v)
			}
		}
		return nil
	}
	return keys, walk("", tree)
}

// print writes the configuration as the file would have it. Passwords are left out.
func (c *config) print(w io.Writer) error {
	shown := *c
	shown.Seed.Password, shown.Bitcoind.Password = "", ""
	var b strings.Builder
	writeTOML(&b, reflect.ValueOf(shown), "")
	_, err := io.WriteString(w, b.String())
	return err
}

// writeTOML writes the fields of a struct, and then those that are structs as sections.
func writeTOML(b *strings.Builder, v reflect.Value, section string) {
	t := v.Type()
	if section != "" {
		fmt.Fprintf(b, "\n[%s]\n", section)
	}
	for i := range t.NumField() {
		f := v.Field(i)
		name := t.Field(i).Tag.Get("name")
		if name == "" {
			name = kebab(t.Field(i).Name)
		}
		name = strings.ReplaceAll(name, "-", "_")
		switch x := f.Interface().(type) {
		case time.Duration:
			fmt.Fprintf(b, "%s = %q\n", name, x.String())
		case string:
			if t.Field(i).Tag.Get("hidden") == "" && name != "password" {
				fmt.Fprintf(b, "%s = %q\n", name, x)
			}
		case []string:
			quoted := make([]string, len(x))
			for i, s := range x {
				quoted[i] = fmt.Sprintf("%q", s)
			}
			fmt.Fprintf(b, "%s = [%s]\n", name, strings.Join(quoted, ", "))
		default:
			if f.Kind() != reflect.Struct {
				fmt.Fprintf(b, "%s = %v\n", name, x)
			}
		}
	}
	for i := range t.NumField() {
		if prefix := t.Field(i).Tag.Get("prefix"); prefix != "" {
			writeTOML(b, v.Field(i), strings.TrimSuffix(prefix, "."))
		}
	}
}

// kebab is a field's name as kong makes a flag of it.
func kebab(name string) string {
	var b strings.Builder
	for i, r := range name {
		if r >= 'A' && r <= 'Z' {
			if i > 0 && !(name[i-1] >= 'A' && name[i-1] <= 'Z') {
				b.WriteByte('-')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
