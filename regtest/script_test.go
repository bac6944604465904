package regtest_test

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// A script is a text file: one command a line, words between blanks, # begins a comment. The first comment says what the script shows.
// Nodes are called rod1, rod2 ... (ours) and peer1, peer2 ... (of the kind that the script is run with). What commands there are, and
// what they mean, is in the table of commands_test.go.
type script struct {
	name  string
	title string
	only  []string          // kinds of peers that it is for; none: all
	not   map[string]string // kinds that it is not for, and why
	full  bool              // long: only with -full
	lines []line
}

// line is a command of a script.
type line struct {
	number  int
	text    string
	command *command
	words   []string          // besides the command
	options map[string]string // of the form name=value
	block   []line            // of repeat
}

// readScript reads and checks a script, without running it.
func readScript(path, name string) (*script, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &script{name: name, not: map[string]string{}}
	into := []*[]line{&s.lines} // the last is the innermost block
	sc := bufio.NewScanner(f)
	for n := 1; sc.Scan(); n++ {
		text, comment, _ := strings.Cut(sc.Text(), "#")
		if s.title == "" {
			s.title = strings.TrimSpace(comment)
		}
		l, err := readLine(text)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		l.number = n
		inner := into[len(into)-1]
		switch {
		case len(l.words) == 0 && l.command == nil:
		case l.command == nil && l.words[0] == "only":
			s.only = l.words[1:]
		case l.command == nil && l.words[0] == "except" && len(l.words) > 2:
			s.not[l.words[1]] = strings.Join(l.words[2:], " ")
		case l.command == nil && l.words[0] == "full":
			s.full = true
		case l.command == nil && len(into) > 1: // end
			into = into[:len(into)-1]
		case l.command == nil:
			return nil, fmt.Errorf("%s:%d: end of nothing", path, n)
		default:
			*inner = append(*inner, l)
			if l.command == commands["repeat"] {
				into = append(into, &(*inner)[len(*inner)-1].block)
			}
		}
	}
	if len(into) > 1 {
		return nil, fmt.Errorf("%s: a repeat without end", path)
	}
	if s.title == "" {
		return nil, fmt.Errorf("%s: no comment says what it shows", path)
	}
	return s, sc.Err()
}

func readLine(text string) (l line, err error) {
	l.text = strings.Join(strings.Fields(text), " ")
	l.options = map[string]string{}
	for _, w := range strings.Fields(text) {
		if name, value, ok := strings.Cut(w, "="); ok && name != "" && !strings.HasPrefix(w, "--") { // an option of a program is a word
			l.options[name] = value
		} else {
			l.words = append(l.words, w)
		}
	}
	if len(l.words) == 0 || slices.Contains([]string{"only", "except", "full"}, l.words[0]) || l.text == "end" {
		return l, nil
	}
	// The longest name counts: "expect graph" before "expect".
	for n := min(2, len(l.words)); n > 0; n-- {
		c, ok := commands[strings.Join(l.words[:n], " ")]
		if !ok {
			continue
		}
		l.command, l.words = c, l.words[n:]
		if len(l.words) < c.min || len(l.words) > c.max {
			return l, fmt.Errorf("%s: want %q", l.text, c.usage)
		}
		for name := range l.options {
			if !slices.Contains(c.options, name) {
				return l, fmt.Errorf("%s: no option %s: want %q", l.text, name, c.usage)
			}
		}
		return l, nil
	}
	return l, fmt.Errorf("%s: no such command", l.text)
}

// with is the line with $n as a number.
func (l line) with(n int) line {
	number := strconv.Itoa(n)
	l.words, l.options = slices.Clone(l.words), maps.Clone(l.options)
	for i := range l.words {
		l.words[i] = strings.ReplaceAll(l.words[i], "$n", number)
	}
	for name, value := range l.options {
		l.options[name] = strings.ReplaceAll(value, "$n", number)
	}
	block := make([]line, len(l.block))
	for i := range l.block {
		block[i] = l.block[i].with(n)
	}
	l.text, l.block = strings.ReplaceAll(l.text, "$n", number), block
	return l
}

// msat reads an amount: 5msat, 1000sat, 0.5btc.
func msat(text string) (int64, error) {
	for _, u := range []struct {
		name string
		msat float64
	}{{"msat", 1}, {"sat", 1000}, {"btc", 1e11}} {
		if number, ok := strings.CutSuffix(text, u.name); ok {
			v, err := strconv.ParseFloat(number, 64)
			if err != nil || v < 0 {
				return 0, fmt.Errorf("%q is no amount", text)
			}
			return int64(v * u.msat), nil
		}
	}
	return 0, fmt.Errorf("%q is no amount: want 5msat, 1000sat or 0.5btc", text)
}

// sat is an amount of whole satoshi.
func sat(text string) (int64, error) {
	v, err := msat(text)
	if err == nil && v%1000 != 0 {
		err = errors.New(text + " is not whole satoshi")
	}
	return v / 1000, err
}

// sat is an option that is an amount in satoshi, 0 if it is not there.
func (l *line) sat(name string) (int64, error) {
	if l.options[name] == "" {
		return 0, nil
	}
	return sat(l.options[name])
}

// count is an option that is a number.
func (l *line) count(name string, otherwise int) (int, error) {
	if l.options[name] == "" {
		return otherwise, nil
	}
	v, err := strconv.Atoi(l.options[name])
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return v, nil
}

// has tells whether a word is there, besides the first n.
func (l *line) has(n int, word string) bool {
	return len(l.words) > n && slices.Contains(l.words[n:], word)
}
