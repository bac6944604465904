package channel_test

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"lightningrod/chain"
	"lightningrod/channel"

	"github.com/google/go-cmp/cmp"
	"github.com/lightningnetwork/lnd/lnwire"
)

var rewrite = flag.Bool("rewrite", false, "write what happened into testdata/battery.table; then read the diff")

// classes are the columns of the table, and what they stand for.
var classes = []struct{ name, text string }{
	{"newO", "opener, nothing said"},
	{"newA", "accepter, nothing said"},
	{"open", "open_channel sent"},
	{"acce", "accept_channel sent"},
	{"need", "accept_channel received, no funding transaction yet"},
	{"crea", "funding_created sent"},
	{"unco", "funded, our channel_ready not yet sent"},
	{"redy", "our channel_ready sent, the peer's not received"},
	{"idle", "normal, without HTLCs"},
	{"live", "normal, HTLCs or a fee at any stage"},
	{"awai", "normal, revoke_and_ack awaited"},
	{"off", "disconnected, any phase"},
	{"rees", "connected, no channel_reestablish yet"},
	{"shut", "shutdown sent or received, HTLCs left"},
	{"nego", "shutdown both ways, nothing left: closing_signed"},
	{"mutu", "a closing transaction agreed on"},
	{"mure", "the same or confirmed; connected, no channel_reestablish yet"},
	{"muco", "a closing transaction confirmed"},
	{"fail", "a commitment published or confirmed"},
	{"wait", "our state is proved to be old"},
	{"closed", "over"},
}

const legend = `# What the battery of malformed input gets for an answer: a row for every message and defect, a column for every class of states.
#   .  ignored: nothing said, nothing changed
#   w  warning; nothing changed
#   F  error, and the channel fails: our commitment is published, or the opening abandoned
#   e  error; the channel was ended already, nothing more is published
#   P  our commitment is published, or the opening abandoned, without an error (the peer has sent one)
#   D  error, and we wait for the peer to close: our state is old, nothing is published
#   a  accepted
# Blank: no such input. Two letters: it depends.
#   error, off: published, unless the channel has ended already
#   closing_signed valid, mutu: with the fee agreed on it changes nothing, with another in our range that is agreed on
#   closing_signed below the range: answered in between, unless our last was our lowest already
`

// TestBattery throws every kind of input at every state and compares the answers with the table. With -short every fifth state has to do, for the
// checks that hold whatever the answer: the table is of all.
func TestBattery(t *testing.T) {
	subjects := everyState(t, true)
	table := map[string]map[string]string{}
	inputs, seen := 0, map[string]int{}
	stride := 1
	if testing.Short() {
		stride = 5
	}
	for i := 0; i < len(subjects); i += stride {
		x := &subjects[i]
		class := x.s.Class()
		for _, k := range kinds {
			row := k.message + " " + k.defect
			if table[row] == nil {
				table[row] = map[string]string{}
			}
			for n, in := range k.make(x) {
				inputs++
				seen[class]++
				name := fmt.Sprintf("%s, %d, in %s: %s", row, n, class, x.name)
				v := verdict(t, name, x, in)
				if !strings.Contains(table[row][class], v) {
					table[row][class] = sortLetters(table[row][class] + v)
				}
			}
		}
		if image(x.s) != x.image {
			t.Fatalf("%s: the state was changed in place", x.name)
		}
	}
	t.Logf("%d inputs in %d states: %v", inputs, (len(subjects)+stride-1)/stride, seen)
	if testing.Short() {
		return
	}
	if inputs < 20_000 {
		t.Errorf("only %d inputs", inputs)
	}
	compareTable(t, table)
}

func sortLetters(s string) string {
	b := []byte(s)
	slices.Sort(b)
	return string(b)
}

func compareTable(t *testing.T, table map[string]map[string]string) {
	t.Helper()
	var b strings.Builder
	b.WriteString(legend)
	for _, c := range classes {
		fmt.Fprintf(&b, "#   %-6s %s\n", c.name, c.text)
	}
	fmt.Fprintf(&b, "%-62s", "")
	for _, c := range classes {
		fmt.Fprintf(&b, "%-5s", c.name)
	}
	last := ""
	for _, k := range kinds {
		if k.message != last {
			b.WriteByte('\n')
		}
		last = k.message
		line := fmt.Sprintf("%-27s%-35s", k.message, k.defect)
		for _, c := range classes {
			line += fmt.Sprintf("%-5s", table[k.message+" "+k.defect][c.name])
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	const file = "testdata/battery.table"
	if *rewrite {
		step(t, os.WriteFile(file, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	step(t, err)
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Error(d)
	}
}

// image is everything visible of a state.
func image(s *channel.State) string {
	text := s.String()
	if s.Durable() && s.Phase() != channel.PhaseClosed {
		text += string(s.Encode())
	}
	return text
}

// verdict applies an input, checks everything that must hold whatever the answer, and says what the answer was: to the
// last message, if there are several.
func verdict(t *testing.T, name string, x *subject, in input) string {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			t.Fatalf("%s: panic: %v", name, r)
		}
	}()
	for _, m := range in[:len(in)-1] {
		before, _ := channel.Apply(x.s, x.me, []channel.Event{channel.Received{Msg: m}, channel.Sign{}})
		x = x.with(before)
	}
	after, out := channel.Apply(x.s, x.me, []channel.Event{channel.Received{Msg: in[len(in)-1]}, channel.Sign{}})
	y := x.with(after)
	v := classify(x, y, &out)
	if err := check(x, y, &out, v); err != nil {
		t.Errorf("%s: %s: %v\nbefore: %v\nafter: %v\n%s", name, v, err, x.s, after, describe(&out))
	}
	return v
}

func describe(out *channel.Output) string {
	var b strings.Builder
	for _, m := range out.Send {
		fmt.Fprintf(&b, "send %s\n", channel.DescribeMessage(m))
	}
	for _, n := range out.Notices {
		fmt.Fprintf(&b, "tell %s\n", channel.DescribeNotice(n))
	}
	return b.String()
}

func classify(x, y *subject, out *channel.Output) string {
	var warned, failed bool
	for _, m := range out.Send {
		switch m.(type) {
		case *lnwire.Warning:
			warned = true
		case *lnwire.Error:
			failed = true
		}
	}
	ended := y.s.Phase() != x.s.Phase() && (y.s.Phase() == channel.PhaseClosed || len(publishes(out)) > 0)
	// What a closing negotiation publishes has been agreed to.
	agreed := slices.Contains([]string{"mutu", "mure"}, y.s.Class())
	same := x.image == y.image
	switch {
	case failed && y.s.Phase() == channel.PhaseWaiting && !same:
		return "D"
	case failed && ended && !agreed:
		return "F"
	case failed:
		return "e"
	case ended && !agreed:
		return "P"
	case warned:
		return "w"
	case same && len(out.Send) == 0:
		return "."
	}
	return "a"
}

func publishes(out *channel.Output) []chain.Publish {
	var ps []chain.Publish
	for _, r := range out.Chain {
		if p, ok := r.(chain.Publish); ok {
			ps = append(ps, p)
		}
	}
	return ps
}

// check is what holds whatever the peer sends.
func check(x, y *subject, out *channel.Output, v string) error {
	if err := y.s.Invariants(); err != nil {
		return err
	}
	if err := checkRow(y, out); err != nil {
		return err
	}
	l0, r0 := x.s.Totals()
	l1, r1 := y.s.Totals()
	switch v {
	case ".", "w":
		if x.image != y.image || out.Save.Core != nil || out.Save.Delete {
			return fmt.Errorf("something changed")
		}
	case "e", "D":
		if len(publishes(out)) != 0 {
			return fmt.Errorf("something is published")
		}
	case "F", "P":
		if err := checkEnd(x, y, out); err != nil {
			return err
		}
	}
	if v != "a" && x.s.Durable() && (l0 != l1 || r0 != r1) {
		return fmt.Errorf("money moves: %d %d to %d %d", l0, r0, l1, r1)
	}
	return checkNotices(x, y, out, v)
}

// checkRow: the row that is saved is the state, and decodes to it.
func checkRow(y *subject, out *channel.Output) error {
	if !y.s.Durable() || y.s.Phase() == channel.PhaseClosed {
		return nil
	}
	core := y.s.Encode()
	if out.Save.Core != nil && !bytes.Equal(out.Save.Core, core) {
		return fmt.Errorf("the row is not the state")
	}
	var bodies []channel.HTLC
	for _, hs := range [][]channel.LiveHTLC{y.s.Offered(), y.s.Received()} {
		for _, h := range hs {
			if h.Stage >= channel.Signed {
				bodies = append(bodies, *h.HTLC)
			}
		}
	}
	back, _, err := channel.Restore(core, bodies)
	if err != nil {
		return err
	}
	if !bytes.Equal(back.Encode(), core) {
		return fmt.Errorf("the row decodes to another state")
	}
	return nil
}

// checkEnd: a channel that fails publishes the commitment it had, and nothing else; an opening is forgotten.
func checkEnd(x, y *subject, out *channel.Output) error {
	ps := publishes(out)
	if !x.s.Durable() || x.s.Disposable() {
		if len(ps) != 0 || y.s.Phase() != channel.PhaseClosed {
			return fmt.Errorf("an opening with nothing at stake goes to the chain")
		}
		return nil
	}
	tx, _, err := y.s.LocalCommitment(y.me)
	if err != nil {
		return err
	}
	if len(ps) != 1 || ps[0].Tx.TxHash() != tx.TxHash() {
		return fmt.Errorf("%d transactions published, not our commitment", len(ps))
	}
	if y.s.Numbers().Local < x.s.Numbers().Local {
		return fmt.Errorf("commitment %d published, %d was our newest", y.s.Numbers().Local, x.s.Numbers().Local)
	}
	return nil
}

// checkNotices: no Committed, Resolved or Settled that is not true, and none but for input that was accepted.
func checkNotices(x, y *subject, out *channel.Output, v string) error {
	offered, received := y.s.Offered(), y.s.Received()
	for _, n := range out.Notices {
		switch n := n.(type) {
		case channel.Committed:
			h := lookup(received, n.HTLC.Key.HTLC)
			if h == nil || h.Stage != channel.Irrevocable {
				return fmt.Errorf("htlc %d is not committed", n.HTLC.Key.HTLC)
			}
		case channel.Resolved:
			was, is := lookup(x.s.Offered(), n.Key.HTLC), lookup(offered, n.Key.HTLC)
			f, fulfilled := n.Outcome.(channel.Fulfill)
			switch {
			case was == nil:
				return fmt.Errorf("htlc %d, which we did not offer, is resolved", n.Key.HTLC)
			case fulfilled && sha256.Sum256(f.Preimage[:]) != was.HTLC.Hash:
				return fmt.Errorf("htlc %d is fulfilled without its preimage", n.Key.HTLC)
			case !fulfilled && is != nil:
				return fmt.Errorf("htlc %d has failed, but is still there", n.Key.HTLC)
			}
		case channel.Settled:
			if was := lookup(x.s.Received(), n.Key.HTLC); was == nil || was.Outcome == nil || lookup(received, n.Key.HTLC) != nil {
				return fmt.Errorf("htlc %d is not settled", n.Key.HTLC)
			}
		default:
			continue
		}
		if v != "a" {
			return fmt.Errorf("%s", channel.DescribeNotice(n))
		}
	}
	return nil
}

func lookup(hs []channel.LiveHTLC, id uint64) *channel.LiveHTLC {
	for i := range hs {
		if hs[i].HTLC.Key.HTLC == id {
			return &hs[i]
		}
	}
	return nil
}
