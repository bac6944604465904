package onchain

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"lightningrod/chain"

	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("rewrite", false, "write what happened into the golden scripts; then read the diff")

// TestScripts runs testdata/*.txt. A block of commands is followed by ---- and what came of them. testdata/README.md has the
// commands.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	must(t, err)
	if len(files) == 0 {
		t.Fatal("no scripts")
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			want, err := os.ReadFile(f)
			must(t, err)
			got := runScript(t, string(want))
			if *rewrite {
				must(t, os.WriteFile(f, []byte(got), 0o644))
			} else if d := cmp.Diff(string(want), got); d != "" {
				t.Error(d)
			}
		})
	}
}

// script is one channel of a file.
type script struct {
	t     *testing.T
	net   *network
	be    *toyChain
	nd    *node
	c     config
	htlcs []testHTLC
	said  []string
}

func runScript(t *testing.T, text string) string {
	var out strings.Builder
	s := &script{t: t}
	ran, skip := false, false // commands without their output yet; inside the old output
	flush := func() {
		if ran {
			out.WriteString("----\n")
		}
		for _, line := range s.said {
			out.WriteString(line + "\n")
		}
		s.said, ran = nil, false
	}
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case line == "----":
			flush()
			skip = true
		case line == "":
			flush()
			skip = false
			out.WriteString("\n")
		case skip:
		default:
			out.WriteString(line + "\n")
			if !strings.HasPrefix(line, "#") {
				ran = true
				s.run(i+1, strings.Fields(line))
			}
		}
	}
	flush()
	return out.String()
}

func (s *script) say(format string, args ...any) {
	s.said = append(s.said, fmt.Sprintf("%3d ", s.net.height())+fmt.Sprintf(format, args...))
}

// args are key=value, and words of their own as key=true.
func args(words []string) map[string]string {
	m := make(map[string]string)
	for _, w := range words {
		k, v, ok := strings.Cut(w, "=")
		if !ok {
			v = "true"
		}
		m[k] = v
	}
	return m
}

func (s *script) num(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil && text != "" {
		s.t.Fatal(err)
	}
	return n
}

var commitNames = map[string]int{"ours": inOurs, "older": inOlder, "newer": inNewer, "revoked": inOld, "all": inAll}

func (s *script) run(line int, words []string) {
	a := args(words[1:])
	switch words[0] {
	case "channel":
		s.net, s.be = toy(s.t)
		s.nd, s.htlcs = nil, nil
		s.c = config{
			capacity: s.num(a["capacity"]), local: s.num(a["local"]), delay: uint16(s.num(a["delay"])), rate: uint32(s.num(a["rate"])),
			single: a["single"] != "", stale: a["stale"] != "",
		}
	case "rates":
		s.net.rates = chain.FeeRates{
			Floor: 253, Slow: chain.FeePerKw(s.num(a["slow"])), Normal: chain.FeePerKw(s.num(a["normal"])), Urgent: chain.FeePerKw(s.num(a["urgent"])),
		}
		if s.nd != nil {
			s.nd.apply(Chain{s.net.rates})
		}
	case "offered", "received":
		h := testHTLC{
			offered: words[0] == "offered", sat: s.num(a["amount"]), expiry: uint32(s.num(a["expiry"])), secret: a["hash"],
			known: a["known"] != "", deadline: uint32(s.num(a["deadline"])),
		}
		for _, name := range strings.Split(a["in"], ",") {
			h.in |= commitNames[name]
		}
		s.htlcs = append(s.htlcs, h)
	default:
		if s.nd == nil {
			s.nd = s.net.open(s.be, s.c, s.htlcs...)
			s.nd.say, s.nd.closely = s.say, true
		}
		s.act(line, words, a)
	}
}

func (s *script) act(line int, words []string, a map[string]string) {
	nd := s.nd
	switch words[0] {
	case "close":
		nd.apply(Close{})
	case "peer":
		s.peer(words[1], a)
	case "mine":
		if to := a["to"]; to != "" {
			nd.mineTo(uint32(s.num(to)))
		} else {
			nd.mine(int(s.num(words[1])))
		}
	case "settle":
		nd.apply(Settle{uint64(s.num(words[1])), preimageOf(a["hash"])})
	case "reorg":
		must(s.t, s.be.Reorg(int(s.num(words[1]))))
		if a["forget"] != "" {
			s.be.pool = nil
		}
		nd.sync()
	case "forget":
		s.be.pool = nil
	case "wallet":
		nd.poor = words[1] == "empty"
	case "full":
		s.be.limit = -1
	case "room":
		s.be.limit = 0
	case "restart":
		st, err := Decode(nd.w.p, nd.s.Encode())
		must(s.t, err)
		nd.s = st
		nd.watch(st.Watches()...)
		nd.apply(Chain{s.net.rates})
	case "state":
		s.said = append(s.said, strings.Split(nd.s.String(), "\n")...)
	default:
		s.t.Fatalf("line %d: %v", line, words)
	}
}

// peer: close <which>, take <offered|received>=<id>, sweep.
func (s *script) peer(verb string, a map[string]string) {
	nd := s.nd
	in := 0
	for name, cm := range nd.w.commits {
		if nd.s.closing != nil && cm.TxID == nd.s.closing.txid {
			in = name
		}
	}
	switch verb {
	case "close":
		for name, in := range commitNames {
			if a[name] != "" {
				nd.send(nd.w.tx(in))
			}
		}
	case "future":
		nd.send(nd.w.future(s.t, s.c, inAll))
	case "take":
		for i := range nd.w.p.HTLCs {
			h := &nd.w.p.HTLCs[i]
			side := map[bool]string{true: "offered", false: "received"}[h.Offered]
			if v, ok := a[side]; ok && uint64(s.num(v)) == h.ID {
				tx := nd.w.peerHTLC(in, i, s.be.peerCoin(), 8000)
				s.be.force(tx)
				nd.look()
				if a["evict"] != "" {
					s.be.evict(tx)
				}
			}
		}
	default:
		s.t.Fatalf("peer %s", verb)
	}
}
