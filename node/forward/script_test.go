package forward

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lightningrod/channel"
	"lightningrod/onion"
	"lightningrod/rod"

	"github.com/lightningnetwork/lnd/lnwire"
)

var rewrite = flag.Bool("rewrite", false, "write what scripts in testdata give, instead of comparing")

// TestScripts runs testdata/*.txt: paragraphs of one command a line, "----", and what they put out.
func TestScripts(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no scripts")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runScript(t, string(text))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(text) {
				t.Errorf("the script gives\n%s", diff(string(text), got))
			}
		})
	}
}

// diff shows the first line that differs, with what is around it.
func diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			from := max(0, i-8)
			return fmt.Sprintf("line %d\nwant:\n%s\ngot:\n%s", i+1,
				strings.Join(w[from:min(len(w), i+4)], "\n"), strings.Join(g[from:min(len(g), i+4)], "\n"))
		}
	}
	return "one is longer"
}

func runScript(t *testing.T, text string) string {
	s := &script{world: newWorld(t), names: map[[32]byte]string{}}
	var b strings.Builder
	var output bool // inside an expected output, which is skipped
	var pending strings.Builder
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case line == "----":
			b.WriteString("----\n" + pending.String())
			pending.Reset()
			output = true
		case line == "":
			b.WriteString("\n")
			output = false
		case output:
		case strings.HasPrefix(line, "#"):
			b.WriteString(line + "\n")
		default:
			b.WriteString(line + "\n")
			pending.WriteString(s.run(line))
		}
	}
	return b.String()
}

type script struct {
	*world
	names map[[32]byte]string // of hashes
	args  map[string]string
	line  string
}

func (s *script) run(line string) string {
	s.line = line
	words := strings.Fields(line)
	s.args = map[string]string{}
	var plain []string
	for _, word := range words[1:] {
		if k, v, ok := strings.Cut(word, "="); ok {
			s.args[k] = v
		} else {
			plain = append(plain, word)
		}
	}
	for len(plain) < 3 {
		plain = append(plain, "")
	}
	command := scriptCommands[words[0]]
	if command == nil {
		s.t.Fatalf("unknown command in %q", line)
	}
	return command(s, plain)
}

var scriptCommands map[string]func(s *script, arg []string) string

func init() {
	scriptCommands = map[string]func(s *script, arg []string) string{
		"config":      (*script).config,
		"channel":     (*script).channel,
		"offered":     (*script).offered,
		"pay":         (*script).payCommand,
		"resolve":     (*script).resolveCommand,
		"usable":      (*script).usable,
		"unusable":    func(s *script, a []string) string { return s.show(s.handle(Unusable{s.id(a[0])}, nil)) },
		"shutdown":    func(s *script, a []string) string { return s.show(s.shutdown(s.id(a[0]))) },
		"onchain":     func(s *script, a []string) string { return s.show(s.onChain(s.id(a[0]))) },
		"closed":      func(s *script, a []string) string { return s.show(s.closed(s.id(a[0]))) },
		"device":      func(s *script, a []string) string { return s.show(s.device(a[0], a[1] != "no")) },
		"block":       func(s *script, a []string) string { return s.show(s.block(uint32(s.number(a[0])))) },
		"tick":        func(s *script, a []string) string { return s.show(s.tick(int64(s.number(a[0])))) },
		"stale":       func(s *script, a []string) string { return s.show(s.setStale(a[0] == "yes")) },
		"congested":   func(s *script, a []string) string { return s.show(s.handle(Congested{a[0] == "yes"}, nil)) },
		"settled":     func(s *script, a []string) string { return s.show(s.settled(s.key(a[0]))) },
		"unblock":     func(s *script, a []string) string { return s.show(s.handle(unblock(a[0]), nil)) },
		"register":    (*script).register,
		"cancel":      func(s *script, a []string) string { return s.show(s.handle(Cancel{s.hash(a[0])}, nil)) },
		"forget":      func(s *script, a []string) string { return s.show(s.handle(Forget{s.hash(a[0])}, nil)) },
		"forget-paid": func(s *script, a []string) string { return s.show(s.handle(ForgetPayment{s.number(a[0])}, nil)) },
		"hold":        (*script).hold,
		"withdraw":    (*script).withdraw,
		"decline":     (*script).decline,
		"deliver":     (*script).deliverAll,
		"refuse":      func(s *script, a []string) string { out, text := s.deliver(true); return text + "\n" + s.show(out) },
		"sync":        func(s *script, a []string) string { s.sync(); return "" },
		"crash":       func(s *script, a []string) string { return s.show(s.crash(int(s.num("keep", 0)))) },
		"restart":     func(s *script, a []string) string { return s.show(s.crash(len(s.writes))) },
		"states":      func(s *script, a []string) string { return s.f.states() },
		"rows":        (*script).rows,
	}
}

// Arguments.

func (s *script) number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		s.t.Fatalf("%q: %v", s.line, err)
	}
	return n
}

func (s *script) num(arg string, otherwise uint64) uint64 {
	if text, ok := s.args[arg]; ok {
		return s.number(text)
	}
	return otherwise
}

func (s *script) id(text string) channel.ID { return channel.ID(s.number(text)) }

func (s *script) key(text string) channel.Key {
	c, h, _ := strings.Cut(text, "/")
	return channel.Key{Channel: s.id(c), HTLC: s.number(h)}
}

func (s *script) hash(name string) [32]byte {
	h := hashOf(name)
	s.names[h] = name
	return h
}

// Commands.

func (s *script) config(a []string) string {
	s.cfg.Keysend = s.num("keysend", 0) == 1
	return s.show(s.restart())
}

func (s *script) channel(a []string) string {
	c := Channel{ID: s.id(a[0]), Peer: nodeID(a[1]), Policy: standardPolicy()}
	for _, scid := range strings.Split(s.args["scid"], ",") {
		c.SCIDs = append(c.SCIDs, scidOf(s.number(scid)))
	}
	c.Policy.FeeBase = lnwire.MilliSatoshi(s.num("base", uint64(c.Policy.FeeBase)))
	c.Policy.HTLCMaximum = lnwire.MilliSatoshi(s.num("max", 0))
	c.Policy.Disabled = a[2] == "disabled"
	return s.show(s.introduce(c))
}

func (s *script) usable(a []string) string {
	out := channel.Capacity{
		Max:   lnwire.MilliSatoshi(s.num("max", 10_000_000)),
		Min:   lnwire.MilliSatoshi(s.num("min", 1000)),
		Slots: uint16(s.num("slots", 30)),
	}
	return s.show(s.handle(Usable{ID: s.id(a[0]), Out: out}, nil))
}

func (w *world) shutdown(id channel.ID) Output {
	return w.mark(ShuttingDown{id}, id, func(c *Channel) { c.Shutdown = true })
}

func (w *world) onChain(id channel.ID) Output {
	return w.mark(OnChain{id}, id, func(c *Channel) { c.OnChain = true })
}

func (w *world) closed(id channel.ID) Output {
	return w.handle(Closed{id}, func(d *disk) {
		delete(d.channels, id)
		for key := range d.in {
			if key.Channel == id {
				delete(d.in, key)
			}
		}
	})
}

func (w *world) device(peer string, has bool) Output {
	id := nodeID(peer)
	return w.handle(PeerDevice{Peer: id, Has: has}, func(d *disk) {
		if delete(d.devices, id); has {
			d.devices[id] = true
		}
	})
}

func (s *script) offered(a []string) string {
	key, hash := s.key(a[0]), a[2]
	s.hash(hash)
	amount := lnwire.MilliSatoshi(s.num("amount", 1_000_000))
	expiry := uint32(s.num("expiry", 1500))
	o := forwardOffer(key, a[1], hash, amount, expiry, s.num("scid", 0))
	if _, ok := s.args["final"]; ok {
		o = finalOffer(key, a[1], hash, amount, lnwire.MilliSatoshi(s.num("total", uint64(amount))), expiry)
		if name, ok := s.args["secret"]; ok {
			*o.Hop.PaymentSecret = secretOf(name)
		}
		if _, ok := s.args["keysend"]; ok {
			preimage := preimageOf(hash)
			o.Hop.PaymentSecret, o.Hop.Keysend = nil, &preimage
		}
	}
	o.Hop.Amount = lnwire.MilliSatoshi(s.num("out", uint64(o.Hop.Amount)))
	o.Hop.Cltv = uint32(s.num("cltv", uint64(o.Hop.Cltv)))
	if node, ok := s.args["node"]; ok {
		id := nodeID(node)
		o.Hop.NextNode = &id
	}
	if pid, ok := s.args["hold"]; ok {
		value := rod.HoldTLV{PidHash: rod.PidHash(pidOf(pid)), Deadline: uint32(s.num("deadline", 0))}.Encode()
		if pid == "broken" {
			value = value[:7]
		}
		o.HTLC.TLVs = append([]byte{0xfe, 0x52, 0x4f, 0x44, 0x41, byte(len(value))}, value...)
	}
	switch s.args["blinded"] {
	case "inside":
		o.Hop.Blinded = true
		o.HTLC.PathKey = make([]byte, 33)
		o.Hop.NextPathKey = slices.Repeat([]byte{3}, 33)
	case "introduction":
		o.Hop.Blinded, o.Hop.Introduction = true, true
		o.Hop.NextPathKey = slices.Repeat([]byte{3}, 33)
	}
	if o.Hop.Final && o.Hop.Blinded {
		o.Hop.PaymentSecret, o.Hop.NextPathKey = nil, nil
		o.Hop.PathID = pathIDOf(s.args["path_id"])
		if most := s.num("max_cltv_expiry", 0); most != 0 {
			o.Hop.Constraints = &onion.PaymentConstraints{MaxCltvExpiry: uint32(most)}
		}
	}
	switch s.args["onion"] {
	case "malformed":
		o.Hop, o.Failure = nil, &onion.Failure{Malformed: true, Code: uint16(lnwire.CodeInvalidOnionHmac)}
	case "payload":
		o.Hop, o.Failure = nil, &onion.Failure{Code: uint16(lnwire.CodeInvalidOnionPayload), Message: &lnwire.InvalidOnionPayload{}}
	}
	return s.show(s.offer(o))
}

func (s *script) payCommand(a []string) string {
	p := Pay{Payment: Payment{ID: s.number(a[0]), Hash: s.hash(a[1]), Total: 50_000}}
	for _, index := range strings.Split(s.args["parts"], ",") {
		p.Parts = append(p.Parts, Offer{Part: Part{
			Index: uint32(s.number(index)), Channel: channel.ID(s.num("channel", 1)), Amount: 50_100, Expiry: 1300,
		}})
	}
	return s.show(s.handle(p, nil))
}

func (s *script) resolveCommand(a []string) string {
	var outcome channel.Outcome
	switch {
	case s.args["fulfill"] != "":
		outcome = channel.Fulfill{Preimage: preimageOf(s.args["fulfill"])}
	case s.args["fail"] != "":
		outcome = channel.Fail{Reason: []byte(s.args["fail"])}
	default:
		outcome = channel.Malformed{Code: uint16(lnwire.CodeInvalidOnionKey)}
	}
	return s.show(s.resolve(s.key(a[0]), outcome))
}

func (s *script) register(a []string) string {
	s.hash(a[0])
	inv := invoiceFor(a[0], lnwire.MilliSatoshi(s.num("amount", 0)), int64(s.num("expiry", 1_003_600)))
	return s.show(s.handle(Register{inv}, nil))
}

func (s *script) hold(a []string) string {
	hashes := strings.Split(s.args["hashes"], ",")
	return s.show(s.handle(holdRequest(a[0], a[1], s.num("total", 0), uint32(s.num("deadline", 0)), hashes...), nil))
}

func (s *script) withdraw(a []string) string {
	m := rod.CancelRequest{PidHash: rod.PidHash(pidOf(a[1]))}
	ev := rod.CancelRequested{Peer: nodeID(a[0]), HasChannel: true, Payload: m.Encode(), Direct: true}
	return s.show(s.handle(Rod{ev}, nil))
}

func (s *script) decline(a []string) string {
	key := s.key(a[0])
	return s.show(s.handle(Rod{rod.Declined{Channel: uint64(key.Channel), ID: key.HTLC}}, nil))
}

// deliverAll empties the inbox, also of what that causes.
func (s *script) deliverAll([]string) string {
	var b strings.Builder
	for len(s.inbox) > 0 {
		out, text := s.deliver(false)
		b.WriteString(text + "\n" + s.show(out))
	}
	return b.String()
}

func (s *script) rows([]string) string {
	var list []string
	for _, row := range s.disk.rows {
		list = append(list, s.row(row))
	}
	slices.Sort(list)
	return strings.Join(list, "")
}

// Outputs.

func (s *script) show(out Output) string {
	var b strings.Builder
	var ofRod bool
	for _, row := range out.Rows {
		text := s.row(row)
		b.WriteString(text)
		ofRod = ofRod || text == ""
	}
	if ofRod {
		b.WriteString("rows of rod\n")
	}
	for _, cmd := range out.Commands {
		b.WriteString(s.command(cmd) + "\n")
	}
	for _, n := range out.Notices {
		b.WriteString("notice " + s.notice(n) + "\n")
	}
	for _, r := range out.Replies {
		fmt.Fprintf(&b, "reply to %s %s\n", nodeName(r.Peer), s.reply(r))
	}
	for _, w := range out.Wakes {
		fmt.Fprintf(&b, "wake %s %s\n", nodeName(w.Peer), w.Method)
	}
	for _, id := range out.Claim {
		fmt.Fprintf(&b, "claim %d\n", id)
	}
	return b.String()
}

func (s *script) reply(r rod.Reply) string {
	if r.Type == rod.TypeHoldAck {
		m, _ := rod.DecodeAck(r.Payload)
		return strings.TrimSpace("ack " + m.Status.String() + " " + m.Reason)
	}
	m, _ := rod.DecodeStatus(r.Payload)
	return "status " + m.State.String()
}

func (s *script) row(r Row) string {
	verb := "row"
	if r.Value == nil {
		verb = "delete"
	}
	switch r.Table {
	case TableSettled:
		origin, err := channel.DecodeOrigin(r.Key)
		if err != nil {
			s.t.Fatal(err)
		}
		return fmt.Sprintf("%s settled %s\n", verb, originText(origin))
	case TableInvoice:
		if r.Value == nil {
			return "delete invoice\n"
		}
		i, err := DecodeInvoice(r.Value)
		if err != nil {
			s.t.Fatal(err)
		}
		return fmt.Sprintf("row invoice %s %v, parts %d, received %d\n", s.names[i.Hash], i.State, len(i.Parts), i.Received)
	case TablePayment:
		if r.Value == nil {
			return "delete payment\n"
		}
		p, err := DecodePayment(r.Value)
		if err != nil {
			s.t.Fatal(err)
		}
		var parts []string
		for _, part := range p.Parts {
			parts = append(parts, fmt.Sprintf("%d %v", part.Index, part.State))
		}
		return fmt.Sprintf("row payment %d %v: %s\n", p.ID, p.State, strings.Join(parts, ", "))
	}
	return "" // rod's: its own scripts show them
}

func originText(o channel.Origin) string {
	switch o := o.(type) {
	case channel.Forward:
		return keyText(o.In)
	case channel.Payment:
		return fmt.Sprintf("payment %d part %d", o.ID, o.Part)
	}
	return "?"
}

func (s *script) command(cmd Command) string {
	cleared := func(rows []Row) string {
		var text string
		for _, r := range rows {
			text += " [" + strings.TrimSpace(s.row(r)) + "]"
		}
		return text
	}
	switch c := cmd.(type) {
	case Add:
		text := fmt.Sprintf("add to %d: %d msat, expiry %d, for %s", c.Channel, c.HTLC.Amount, c.HTLC.Expiry, originText(c.HTLC.Origin))
		if len(c.HTLC.TLVs) > 0 {
			text += fmt.Sprintf(", TLVs of %d bytes", len(c.HTLC.TLVs))
		}
		return text
	case Settle:
		switch o := c.Outcome.(type) {
		case channel.Fulfill:
			return fmt.Sprintf("fulfill %s with the preimage of %s%s", keyText(c.Key), s.names[sha256.Sum256(o.Preimage[:])], cleared(c.Clear))
		case channel.Malformed:
			return fmt.Sprintf("fail %s malformed %v%s", keyText(c.Key), lnwire.FailCode(o.Code), cleared(c.Clear))
		}
	case FailWith:
		return fmt.Sprintf("fail %s %v%s", keyText(c.HTLC.Key), c.Message.Code(), cleared(c.Clear))
	case WrapWith:
		return fmt.Sprintf("fail %s with downstream's %s%s", keyText(c.HTLC.Key), c.Reason, cleared(c.Clear))
	}
	return "?"
}

func (s *script) notice(n Notice) string {
	switch n := n.(type) {
	case PartArrived:
		return fmt.Sprintf("part %s of %s: %d of %d msat", keyText(n.Key), s.names[n.Hash], n.Received, n.Total)
	case Received:
		return fmt.Sprintf("received %d msat for %s", n.Invoice.Received, s.names[n.Invoice.Hash])
	case InvoiceRefused:
		return fmt.Sprintf("invoice %s refused: %v", s.names[n.Hash], n.Err)
	case PayRefused:
		return fmt.Sprintf("payment %d refused: %v", n.ID, n.Err)
	case PaymentPartFailed:
		return fmt.Sprintf("payment %d part %d failed: %T, %v", n.ID, n.Part.Index, n.Outcome, n.Err)
	case PaymentPaid:
		return fmt.Sprintf("payment %d paid, preimage of %s", n.ID, s.names[sha256.Sum256(n.Preimage[:])])
	case PaymentDone:
		return fmt.Sprintf("payment %d done, paid %v", n.ID, n.Paid)
	case Held:
		return fmt.Sprintf("held %s until %d", keyText(n.Key), n.Deadline)
	case Forwarded:
		return fmt.Sprintf("forwarded %s to %d, fee %d", keyText(n.In), n.Out, n.Fee)
	case Fulfilled:
		return "fulfilled " + keyText(n.In)
	case Failed:
		return "failed " + keyText(n.In)
	}
	return "?"
}
