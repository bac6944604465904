package lightningrod

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestCatalogue reads docs/catalogue.md. Every row of attacks on the core, A1 to A20 and H1 to H30, is there once and has a test; every
// test, golden script and place in the code that the tables name exists.
func TestCatalogue(t *testing.T) {
	text, err := os.ReadFile("docs/catalogue.md")
	if err != nil {
		t.Fatal(err)
	}
	tree := sources{}
	seen := map[string]bool{}
	tests := map[string]bool{}
	for n, line := range strings.Split(string(text), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !strings.HasPrefix(line, "|") || len(cells) != 4 || strings.Contains(line, "---") || strings.TrimSpace(cells[0]) == "row" {
			continue
		}
		row := strings.TrimSpace(cells[0])
		if seen[row] {
			t.Errorf("line %d: row %s twice", n+1, row)
		}
		seen[row] = true
		shown, places := ticked(cells[2]), ticked(cells[3])
		if len(shown) == 0 || len(places) == 0 {
			t.Errorf("line %d: row %s names no test, or no place", n+1, row)
		}
		for _, name := range shown {
			tests[name] = true
			if err := tree.test(name); err != nil {
				t.Errorf("line %d: row %s: %v", n+1, row, err)
			}
		}
		for _, name := range places {
			if err := tree.place(name); err != nil {
				t.Errorf("line %d: row %s: %v", n+1, row, err)
			}
		}
	}
	for kind, last := range map[string]int{"A": 20, "H": 30} {
		for i := 1; i <= last; i++ {
			if row := kind + strconv.Itoa(i); !seen[row] {
				t.Errorf("row %s is missing", row)
			}
		}
	}
	t.Logf("%d rows, %d tests and scripts", len(seen), len(tests))
}

// ticked are the words between backticks.
func ticked(cell string) (words []string) {
	for i, part := range strings.Split(cell, "`") {
		if i%2 == 1 {
			words = append(words, part)
		}
	}
	return words
}

// sources is what the packages of the tree declare, read when it is asked for.
type sources map[string]*declared

type declared struct {
	tests  map[string]bool // functions of test files
	places map[string]bool // functions, methods and types of the others
	texts  map[string]bool // string literals of test files, and of the others of packages that only test
}

// test finds "package.TestName", `package.TestName/"row"` or "package/testdata/file.txt".
func (s sources) test(name string) error {
	if strings.HasSuffix(name, ".txt") {
		_, err := os.Stat(name)
		return err
	}
	name, row, _ := strings.Cut(name, "/\"")
	dir, fn, err := s.split(name)
	if err != nil {
		return err
	}
	if d := s[dir]; !d.tests[fn] {
		return fmt.Errorf("%s has no test %s", dir, fn)
	} else if row != "" && !d.texts[strings.TrimSuffix(row, "\"")] {
		return fmt.Errorf("no test of %s has the text %q", dir, row)
	}
	return nil
}

// place finds "package.Name".
func (s sources) place(name string) error {
	dir, what, err := s.split(name)
	if err == nil && !s[dir].places[what] {
		err = fmt.Errorf("%s declares no %s; it has %v", dir, what, slices.Sorted(maps.Keys(s[dir].places)))
	}
	return err
}

// split reads the package that a name is of.
func (s sources) split(name string) (dir, what string, err error) {
	base := path.Base(name)
	pkg, what, ok := strings.Cut(base, ".")
	if !ok {
		return "", "", fmt.Errorf("%q is not package.Name", name)
	}
	if dir = path.Join(path.Dir(name), pkg); dir == "lightningrod" {
		dir = "."
	}
	if s[dir] == nil {
		s[dir], err = read(dir)
	}
	return dir, what, err
}

func read(dir string) (*declared, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no package %s: %v", dir, err)
	}
	d := &declared{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		d.add(file, strings.HasSuffix(name, "_test.go"))
	}
	return d, nil
}

func (d *declared) add(file *ast.File, isTest bool) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if isTest && n.Recv == nil {
				d.tests[n.Name.Name] = true
			} else if !isTest {
				d.places[n.Name.Name] = true
			}
		case *ast.TypeSpec:
			if !isTest {
				d.places[n.Name.Name] = true
			}
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
				d.texts[text] = true
			}
		}
		return true
	})
}
