package rod

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A script in testdata is blocks of commands, each followed by ---- and what the Table puts out. Commands:
//
//	tick 1000 | block 100 | up A | down A | restart | requests
//	hold A pid=1 hashes=1,2 total=0 deadline=0 ttl=0      by onion message, signed
//	cancel A pid=1
//	unblock pid=1 next=A
//	htlc 7/0 A hash=1 amount=1000 expiry=1000 out=800 pid=1 deadline=0     judge, and make it a member if it is to be one
//	judge 7/0                                             again
//	fulfilled 7/0 | failed 7/0 | ended 7/0 settled
//	onchain 7 | shutdown 7 | closed 7
//
// -rewrite writes what is put out; read the diff.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := &script{box: newBox(t, nil), htlcs: map[string]HTLC{}, names: map[string]string{}}
			got := s.run(string(text))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(text) {
				t.Errorf("%s puts out:\n%s", file, got)
			}
		})
	}
}

type script struct {
	*box
	htlcs map[string]HTLC
	names map[string]string // of nodes, hashes and pid_hashes, by their bytes
}

// run gives the script with its output as it is now.
func (s *script) run(text string) string {
	var out strings.Builder
	inOutput := false
	var results string
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == "----":
			out.WriteString("----\n" + results)
			inOutput, results = true, ""
		case line == "":
			inOutput = false
			out.WriteString("\n")
		case inOutput:
		default:
			out.WriteString(line + "\n")
			if !strings.HasPrefix(line, "#") {
				results += s.command(line)
			}
		}
	}
	return out.String()
}

func (s *script) command(line string) string {
	s.t.Helper()
	words := strings.Fields(line)
	args := map[string]string{}
	for _, w := range words[1:] {
		if k, v, ok := strings.Cut(w, "="); ok {
			args[k] = v
		}
	}
	num := func(text string) uint64 {
		if text == "" {
			return 0
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
		return n
	}
	key := func() HTLCKey {
		channel, id, _ := strings.Cut(words[1], "/")
		return HTLCKey{num(channel), num(id)}
	}
	switch words[0] {
	case "tick":
		return s.put(s.apply(Tick{int64(num(words[1]))}))
	case "block":
		return s.put(s.apply(Block{uint32(num(words[1]))}))
	case "up":
		return s.put(s.apply(PeerUp{s.node(words[1])}))
	case "down":
		return s.put(s.apply(PeerDown{s.node(words[1])}))
	case "restart":
		s.restart()
		return ""
	case "requests":
		return s.requests()
	case "hold":
		s.node(words[1])
		m := HoldRequest{PidHash: s.pid(args["pid"]), TotalMsat: num(args["total"]), Deadline: uint32(num(args["deadline"])), ArmedTTL: uint32(num(args["ttl"]))}
		for _, h := range strings.Split(args["hashes"], ",") {
			m.Hashes = append(m.Hashes, s.hash(h))
		}
		return s.put(s.apply(signed(words[1], m)))
	case "cancel":
		return s.put(s.apply(cancelled(words[1], s.pid(args["pid"]))))
	case "unblock":
		ev := Unblock{Pid: pid(args["pid"])}
		if args["next"] != "" {
			ev.Next = s.node(args["next"])
		}
		return s.put(s.apply(ev))
	case "htlc":
		h := HTLC{Channel: key().Channel, ID: key().ID, Peer: s.node(words[2]), Hash: s.hash(args["hash"]), Amount: num(args["amount"]),
			Expiry: uint32(num(args["expiry"])), OutExpiry: uint32(num(args["out"]))}
		if args["pid"] != "" {
			h.Hold = &HoldTLV{s.pid(args["pid"]), uint32(num(args["deadline"]))}
		}
		s.htlcs[words[1]] = h
		v, out := s.offer(h)
		return s.verdict(v) + s.put(out)
	case "judge":
		return s.verdict(s.table.Judge(s.htlcs[words[1]], s.table.height))
	case "fulfilled":
		return s.put(s.apply(Fulfilled(key())))
	case "failed":
		return s.put(s.apply(Failed(key())))
	case "declined":
		return s.put(s.apply(Declined(key())))
	case "ended":
		return s.put(s.apply(Ended{key().Channel, key().ID, words[2] == "settled"}))
	case "onchain":
		return s.put(s.apply(ChannelOnChain{num(words[1])}))
	case "shutdown":
		return s.put(s.apply(ChannelShutdown{num(words[1])}))
	case "closed":
		return s.put(s.apply(ChannelClosed{num(words[1])}))
	}
	s.t.Fatalf("unknown command %s", line)
	return ""
}

func (s *script) node(name string) NodeID {
	n := node(name)
	s.names[string(n[:])] = name
	return n
}

func (s *script) hash(name string) [32]byte {
	h := hash(name)
	s.names[string(h[:])] = "hash " + name
	return h
}

func (s *script) pid(name string) [32]byte {
	h := PidHash(pid(name))
	s.names[string(h[:])] = "pid " + name
	return h
}

func (s *script) verdict(v Verdict) string {
	text := "judged " + v.Kind.String()
	if v.Deadline != 0 {
		text += fmt.Sprint(", R ", v.Deadline)
	}
	return text + reasonText(v.Reason, v.ExpiryTooSoon) + "\n"
}

func reasonText(reason string, tooSoon bool) string {
	switch {
	case tooSoon:
		return ", expiry_too_soon: " + reason
	case reason != "":
		return ": " + reason
	}
	return ""
}

// put is an Output as lines.
func (s *script) put(out Output) string {
	var b strings.Builder
	for _, r := range out.Rows {
		b.WriteString("row " + s.row(r) + "\n")
	}
	for _, r := range out.Replies {
		fmt.Fprintf(&b, "reply to %s: %s\n", s.names[string(r.Peer[:])], s.reply(r))
	}
	for _, h := range out.Released {
		fmt.Fprintf(&b, "released %s %s\n", s.names[string(h.Peer[:])], s.names[string(h.Hash[:])])
	}
	for _, g := range out.GiveUp {
		fmt.Fprintf(&b, "give up %d/%d%s\n", g.Key.Channel, g.Key.ID, reasonText(g.Reason, g.ExpiryTooSoon))
	}
	for _, c := range out.Claim {
		fmt.Fprintf(&b, "claim channel %d\n", c)
	}
	for _, w := range out.Wakes {
		fmt.Fprintf(&b, "wake %s %s %s\n", s.names[string(w.Peer[:])], w.Method, w.Params)
	}
	return b.String()
}

func (s *script) row(r Row) string {
	value := func(text string) string {
		if r.Value == nil {
			return "deleted"
		}
		return text
	}
	if r.Table == TableMember {
		k, _ := decodeHTLCKey(r.Key)
		m, err := decodeMember(k, r.Value)
		text := fmt.Sprintf("%s %d msat, expiry %d, R %d", s.names[string(m.hash[:])], m.amount, m.expiry, m.deadline)
		text += [...]string{"", ", failed", ", fulfilled"}[m.stage]
		if m.void {
			text += ", void"
		}
		if err != nil {
			text = err.Error()
		}
		return fmt.Sprintf("%s %d/%d %s", r.Table, k.Channel, k.ID, value(text))
	}
	k, err := decodeRequestKey(r.Key)
	if err != nil {
		s.t.Fatal(err)
	}
	name := fmt.Sprintf("%s %s %s ", r.Table, s.names[string(k.peer[:])], s.names[string(k.pid[:])])
	if r.Table == TableTombstone {
		until, _ := decodeTombstone(r.Value)
		return name + value(fmt.Sprint("until ", until))
	}
	q, err := decodeRequest(k, r.Value)
	if r.Value != nil && err != nil {
		s.t.Fatal(err)
	}
	text := fmt.Sprintf("%s, told %s, deadline %d, until %d", q.state, q.told, q.deadline, q.armedUntil)
	if q.over {
		text += ", over"
	}
	if q.unblocked != 0 {
		text += fmt.Sprint(", unblocked ", q.unblocked)
	}
	return name + value(text)
}

func (s *script) reply(r Reply) string {
	if r.Type == TypeHoldAck {
		a, err := DecodeAck(r.Payload)
		if err != nil {
			s.t.Fatal(err)
		}
		if a.Status != AckOK {
			return fmt.Sprintf("rod_hold_ack %s, %s", a.Status, a.Reason)
		}
		return fmt.Sprintf("rod_hold_ack ok, release_deadline %d, armed_until %d", a.Deadline, a.ArmedUntil)
	}
	m, err := DecodeStatus(r.Payload)
	if err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprintf("rod_status %s, %d parts, %d msat, claim_height %d", m.State, m.HeldParts, m.HeldMsat, m.ClaimHeight)
}

func (s *script) requests() string {
	var b strings.Builder
	for _, r := range s.table.Requests() {
		fmt.Fprintf(&b, "%s %s %s", s.names[string(r.Peer[:])], s.names[string(r.PidHash[:])], r.State)
		for _, m := range r.Members {
			fmt.Fprintf(&b, " %d/%d", m.Key.Channel, m.Key.ID)
		}
		b.WriteString("\n")
	}
	for _, peer := range slices.SortedFunc(maps.Keys(s.table.tombs), compareNodes) {
		fmt.Fprintf(&b, "%s has %d tombstones\n", s.names[string(peer[:])], len(s.table.tombs[peer]))
	}
	return b.String()
}
