package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// lastStep is the number of the protocol's last step.
const lastStep = 8

// narrator tells what happens as it happens: to a person on a terminal with colour and a line of progress at the bottom, to a
// pipe in plain lines, to a machine in JSON.
type narrator struct {
	out     io.Writer
	json    bool
	colour  bool
	width   int // of the terminal; 0: there is none, and no line of progress
	started time.Time
	bar     string // the line of progress, while it is shown
}

func newNarrator(out io.Writer, asJSON bool) *narrator {
	n := &narrator{out: out, json: asJSON, started: time.Now()}
	f, ok := out.(*os.File)
	if !ok || asJSON || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return n
	}
	n.colour = os.Getenv("NO_COLOR") == ""
	if w, _, err := term.GetSize(int(f.Fd())); err == nil {
		n.width = w
	}
	return n
}

// Colours, as SGR parameters.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (n *narrator) paint(colour, s string) string {
	if !n.colour {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// line prints a line above the line of progress.
func (n *narrator) line(s string) {
	n.clear()
	fmt.Fprintln(n.out, s)
	n.draw()
}

func (n *narrator) clear() {
	if n.bar != "" {
		fmt.Fprint(n.out, "\r\x1b[K")
	}
}

func (n *narrator) draw() {
	if n.bar != "" {
		fmt.Fprint(n.out, n.bar)
	}
}

// end takes the line of progress away.
func (n *narrator) end() {
	n.clear()
	n.bar = ""
}

// told is a line of the narration for machines.
type told struct {
	At   float64 `json:"at"` // seconds since the start
	Step *int    `json:"step,omitempty"`
	Who  string  `json:"who,omitempty"`
	Text string  `json:"text"`
}

func (n *narrator) print(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // numbers, strings and maps of them
	}
	fmt.Fprintf(n.out, "%s\n", b)
}

// title begins the story.
func (n *narrator) title(scenario, about string, seed uint64) {
	text := fmt.Sprintf("%s: %s. Seed %d.", scenario, about, seed)
	if n.json {
		n.print(told{At: n.seconds(), Text: text})
		return
	}
	n.line(n.paint(bold, text))
	n.line("")
}

// step tells one thing that happened in a step of the protocol.
func (n *narrator) step(step int, who, text string) {
	if n.json {
		n.print(told{At: n.seconds(), Step: &step, Who: who, Text: text})
		return
	}
	n.line(fmt.Sprintf(" %s  %s %s", n.paint(bold, fmt.Sprint(step)), n.paint(cyan, fmt.Sprintf("%-6s", who)), text))
}

// aside tells what happens besides the steps.
func (n *narrator) aside(who, text string) {
	if n.json {
		n.print(told{At: n.seconds(), Who: who, Text: text})
		return
	}
	n.line(fmt.Sprintf(" %s  %s %s", n.paint(dim, "-"), n.paint(cyan, fmt.Sprintf("%-6s", who)), text))
}

// progress shows how far things are, and how the actors are.
func (n *narrator) progress(step int, actors []*actor) {
	if n.width == 0 {
		return
	}
	n.clear()
	parts := []string{"[" + strings.Repeat("#", step) + strings.Repeat(".", lastStep-step) + "]"}
	for _, a := range actors {
		mood := "asleep"
		if a.awake {
			mood = "awake"
		}
		if held := a.held(); held > 0 {
			mood = "holds " + sats(held)
		}
		parts = append(parts, a.name+" "+mood)
	}
	n.bar = n.paint(dim, shorten(strings.Join(parts, "  "), n.width-1))
	n.draw()
}

func shorten(s string, width int) string {
	if utf8.RuneCountInString(s) <= width || width < 1 {
		return s
	}
	return string([]rune(s)[:width])
}

func (n *narrator) seconds() float64 { return round(time.Since(n.started).Seconds()) }

// round keeps milliseconds.
func round(seconds float64) float64 { return float64(int64(seconds*1000+0.5)) / 1000 }

// verdict tells the checks, the balances and the end.
func (n *narrator) verdict(r result) {
	n.end()
	if n.json {
		n.print(r)
		return
	}
	n.line("")
	n.line(n.paint(bold, "Proof"))
	for _, c := range r.Checks {
		mark := n.paint(green, "holds ")
		if !c.OK {
			mark = n.paint(red, "FAILS ")
		}
		n.line(fmt.Sprintf(" %s %-*s %s", mark, checkWidth(r.Checks), c.Name, n.paint(dim, c.Detail)))
	}
	n.balances(r)
	n.line("")
	failed := slices.IndexFunc(r.Checks, func(c check) bool { return !c.OK })
	if failed >= 0 {
		n.line(n.paint(red, fmt.Sprintf("%s: check %s fails: %s", r.Scenario, r.Checks[failed].Name, r.Checks[failed].Detail)))
	} else {
		n.line(n.paint(green, fmt.Sprintf("%s: all %d checks hold.", r.Scenario, len(r.Checks))) +
			n.paint(dim, fmt.Sprintf(" %.1f s", r.Seconds)))
	}
	if r.Dir != "" {
		n.line("The files are in " + r.Dir)
	}
}

func checkWidth(cs []check) (width int) {
	for _, c := range cs {
		width = max(width, len(c.Name))
	}
	return width
}

func (n *narrator) balances(r result) {
	if len(r.Balances) == 0 {
		return
	}
	n.line("")
	last := ""
	if len(r.OnChain) > 0 {
		last = "to miners" // and what is left in anchors
	}
	row := func(name, before, after, change, fee, last string) string {
		return strings.TrimRight(fmt.Sprintf("%-6s %18s %18s %14s %10s %12s", name, before, after, change, fee, last), " ")
	}
	n.line(n.paint(bold, row("msat", "before", "after", "change", "fees", last)))
	for _, name := range r.order {
		b := r.Balances[name]
		n.line(row(name, grouped(int64(b.Before)), grouped(int64(b.After)), signed(int64(b.After)-int64(b.Before)),
			someOf(r.Fees[name]), someOf(r.OnChain[name])))
	}
}

// someOf writes an amount unless it is 0.
func someOf(v uint64) string {
	if v == 0 {
		return ""
	}
	return grouped(int64(v))
}

// grouped writes a number with commas.
func grouped(v int64) string {
	if v < 0 {
		return "-" + grouped(-v)
	}
	s := fmt.Sprint(v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural counts things: "1 HTLC", "3 HTLCs".
func plural(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return grouped(int64(n)) + " " + thing
}

func signed(v int64) string {
	if v > 0 {
		return "+" + grouped(v)
	}
	return grouped(v)
}

// sats writes an amount in satoshi, with the msat if there are any.
func sats(msat uint64) string {
	s := grouped(int64(msat / 1000))
	if rest := msat % 1000; rest > 0 {
		s += fmt.Sprintf(".%03d", rest)
	}
	return s + " sat"
}
