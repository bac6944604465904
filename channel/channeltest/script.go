package channeltest

import (
	"fmt"
	"strconv"
	"strings"

	"lightningrod/chain"
	"lightningrod/channel"

	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Script is a golden script: blocks of commands, each followed by "----" and what happened, up to an empty line.
//
//	open capacity=1000000 push=400000      a pair with a channel, ready
//	new                                    a pair without
//	alice open capacity=1000000 push=0     open_channel
//	fund / confirm / mine 3                funding transaction; its block; more blocks
//	alice add amount=50000 expiry=700      in sat; n=7 chooses the payment hash
//	bob fulfill 0, fail 0, malformed 0     Settle of an HTLC bob has received
//	alice fee 500
//	alice close, alice close feerate=500, alice force-close
//	deliver alice [n], deliver all         messages on the wire: that alice has sent
//	connect, disconnect, reconnect
//	manual, alice sync, alice crash        turns wait for sync; crash loses what was not synced
//	alice quiet                            apply without Sign from now on; alice sign
//	inject bob update_fee 500 ...          a message that bob never meant to send
//	corrupt bob                            the next message bob has sent: its signature, or else its secret, made wrong
//	high-s bob                             its signature made high-S
//	publish alice                          the first transaction alice asked to publish confirms
//	state, rates normal=500
//	agree                                  an error, if the two believe different things
type Script struct {
	p     *Pair
	out   *strings.Builder
	quiet bool
	asked map[string]bool // to publish, by a side, in this run of blocks
}

// RunScript runs a script and gives it back with what really happened.
func RunScript(text string) (string, error) {
	s := &Script{}
	var b strings.Builder
	for _, block := range blocks(text) {
		b.WriteString(block.head)
		if len(block.commands) == 0 {
			continue
		}
		s.out = &strings.Builder{}
		for _, c := range block.commands {
			if err := s.command(c); err != nil {
				fmt.Fprintf(s.out, "error: %v\n", err)
			}
		}
		b.WriteString(strings.Join(block.commands, "\n") + "\n----\n" + s.out.String() + "\n")
	}
	return b.String(), nil
}

// block is some comment lines, some commands. Their old results are thrown away.
type block struct {
	head     string
	commands []string
}

func blocks(text string) []block {
	var all []block
	var cur block
	results := false
	for _, line := range strings.Split(text, "\n") {
		switch {
		case line == "----":
			results = true
		case line == "":
			if results {
				all = append(all, cur)
				cur, results = block{}, false
			} else if len(cur.commands) == 0 && cur.head != "" {
				cur.head += "\n"
			}
		case results:
		case strings.HasPrefix(line, "#"):
			cur.head += line + "\n"
		default:
			cur.commands = append(cur.commands, line)
		}
	}
	if len(cur.commands) > 0 || cur.head != "" {
		all = append(all, cur)
	}
	return all
}

// args are the words of a command; key=value words are looked up by key.
type args []string

func (a args) word(i int) string {
	if i < len(a) {
		return a[i]
	}
	return ""
}

func (a args) number(i int, def uint64) uint64 {
	if n, err := strconv.ParseUint(a.word(i), 10, 64); err == nil {
		return n
	}
	return def
}

func (a args) value(key string, def uint64) uint64 {
	for _, w := range a {
		if v, ok := strings.CutPrefix(w, key+"="); ok {
			if n, err := strconv.ParseUint(v, 10, 64); err == nil {
				return n
			}
		}
	}
	return def
}

func (s *Script) begin(a args) {
	o := Options{Toy: true, Wire: false, Capacity: a.value("capacity", 1_000_000), Push: lnwire.MilliSatoshi(a.value("push", 0)) * 1000,
		FeePerKw: chain.FeePerKw(a.value("feerate", 253))}
	o.Params = func(side int, p *channel.Params) {
		p.MinDepth = uint32(a.value("depth", 1))
		p.Announce = a.value("announce", 1) == 1
		p.Limits.MaxAcceptedHTLCs = uint16(a.value("max-htlcs", 100))
		p.Limits.MaxInFlight = lnwire.MilliSatoshi(a.value("max-in-flight", 0)) * 1000
		p.Limits.HTLCMinimum = lnwire.MilliSatoshi(a.value("minimum", 1)) * 1000
		p.MaxDustExposure = lnwire.MilliSatoshi(a.value("max-dust", 50_000)) * 1000
	}
	s.p, s.asked = New(o), make(map[string]bool)
}

func (s *Script) log() {
	for _, side := range s.p.Sides {
		side.Log = func(name string, t Turn, notices []channel.Notice) { s.print(name, t, notices) }
	}
}

func (s *Script) print(name string, t Turn, notices []channel.Notice) {
	line := func(verb string, words []string) {
		if len(words) > 0 {
			fmt.Fprintf(s.out, "%-5s %-6s %s\n", name, verb, strings.Join(words, ", "))
		}
	}
	var save, send, reqs, told []string
	if d := channel.DescribeSave(t.Save); d != "" {
		save = append(save, d)
	}
	for _, m := range t.Send {
		send = append(send, channel.DescribeMessage(m))
	}
	for _, r := range t.Chain {
		if !s.again(name, r) {
			reqs = append(reqs, channel.DescribeRequest(r))
		}
	}
	for _, n := range notices {
		if _, usable := n.(channel.Usable); !usable {
			told = append(told, channel.DescribeNotice(n))
		}
	}
	if len(save) == 1 && save[0] == "core" && len(send)+len(reqs)+len(told) == 0 {
		return // a block seen, nothing more
	}
	line("save", save)
	line("send", send)
	line("chain", reqs)
	line("tell", told)
}

// again says whether a side has asked for a transaction to be published before. On chain it does so with every block.
func (s *Script) again(name string, r chain.Request) bool {
	pub, ok := r.(chain.Publish)
	if !ok {
		return false
	}
	key := name + pub.Tx.TxHash().String()
	if s.asked[key] {
		return true
	}
	s.asked[key] = true
	return false
}

func (s *Script) command(line string) error {
	a := args(strings.Fields(line))
	if verb := a.word(0); verb != "mine" && verb != "publish" {
		clear(s.asked)
	}
	switch a.word(0) {
	case "open":
		s.begin(a)
		if err := s.p.Open(); err != nil {
			return err
		}
		s.log()
		return s.state()
	case "new":
		s.begin(a)
		s.log()
		return s.p.Connect()
	case "alice":
		return s.side(0, a[1:])
	case "bob":
		return s.side(1, a[1:])
	}
	return s.world(a)
}

// side is a command to one side.
func (s *Script) side(i int, a args) error {
	var ev channel.Event
	switch id := a.number(1, 0); a.word(0) {
	case "open":
		ev = channel.Open{Capacity: a.value("capacity", 1_000_000), Push: lnwire.MilliSatoshi(a.value("push", 0)) * 1000, FeePerKw: chain.FeePerKw(a.value("feerate", 253))}
	case "add":
		ev = channel.Add{HTLC: HTLC(a.value("n", 1), lnwire.MilliSatoshi(a.value("amount", 50_000))*1000, uint32(a.value("expiry", 700)))}
	case "fulfill":
		ev = channel.Settle{HTLC: id, Outcome: channel.Fulfill{Preimage: Preimage(a.value("n", 1))}}
	case "fail":
		ev = channel.Settle{HTLC: id, Outcome: channel.Fail{Reason: []byte("reason")}}
	case "malformed":
		ev = channel.Settle{HTLC: id, Outcome: channel.Malformed{Code: 0xc005}}
	case "fee":
		ev = channel.UpdateFee{FeePerKw: chain.FeePerKw(id)}
	case "close":
		ev = channel.Close{FeePerKw: chain.FeePerKw(a.value("feerate", 0))}
	case "force-close":
		ev = channel.ForceClose{Reason: "asked to"}
	case "sync":
		return s.p.Sync(i)
	case "crash":
		return s.p.Crash(i)
	case "sign":
		return s.p.Do(i)
	default:
		return fmt.Errorf("unknown command %v", a)
	}
	return s.do(i, ev)
}

func (s *Script) do(i int, ev channel.Event) error {
	if s.quiet {
		if err := s.p.Raw(i, ev); err != nil {
			return err
		}
		if s.p.Opt.Manual {
			return nil
		}
		return s.p.Sync(i)
	}
	return s.p.Do(i, ev)
}

// world is a command to the wire or the chain.
func (s *Script) world(a args) error {
	switch a.word(0) {
	case "fund":
		return s.p.Fund()
	case "confirm":
		return s.p.Confirm(1)
	case "mine":
		return s.p.Mine(int(a.number(1, 1)))
	case "rates":
		r := chain.FeeRates{Floor: 253, Slow: 253, Normal: chain.FeePerKw(a.value("normal", 500)), Urgent: chain.FeePerKw(a.value("urgent", 1000))}
		for i := range s.p.Sides {
			if err := s.p.Do(i, channel.Chain{Event: r}); err != nil {
				return err
			}
		}
		return nil
	case "deliver":
		return s.deliver(a)
	case "connect":
		return s.p.Connect()
	case "disconnect":
		return s.p.Disconnect()
	case "reconnect":
		if err := s.p.Disconnect(); err != nil {
			return err
		}
		if err := s.p.Connect(); err != nil {
			return err
		}
		return s.p.DeliverAll()
	case "manual":
		s.p.Opt.Manual = true
		return nil
	case "automatic":
		s.p.Opt.Manual = false
		for i := range s.p.Sides {
			if err := s.p.Sync(i); err != nil {
				return err
			}
		}
		return nil
	case "quiet":
		s.quiet = a.word(1) != "off"
		return nil
	case "state":
		return s.state()
	case "agree":
		return s.p.Agree()
	case "publish":
		return s.publish(sideOf(a.word(1)))
	case "reorg":
		return s.p.Reorg()
	case "inject":
		return s.inject(sideOf(a.word(1)), a[2:])
	case "corrupt", "high-s":
		return s.corrupt(sideOf(a.word(1)), a.word(0) == "high-s")
	case "drop":
		side := s.p.Sides[sideOf(a.word(1))]
		if len(side.Out) > 0 {
			side.Out = side.Out[1:]
		}
		return nil
	}
	return fmt.Errorf("unknown command %v", a)
}

func sideOf(name string) int {
	if name == "bob" {
		return 1
	}
	return 0
}

func (s *Script) deliver(a args) error {
	if a.word(1) == "all" {
		return s.p.DeliverAll()
	}
	from := sideOf(a.word(1))
	for n := a.number(2, 1); n > 0; n-- {
		if ok, err := s.p.Deliver(from); err != nil || !ok {
			return err
		}
	}
	return nil
}

func (s *Script) state() error {
	for _, side := range s.p.Sides {
		if side.State == nil {
			fmt.Fprintf(s.out, "%-5s forgot\n", side.Name)
			continue
		}
		fmt.Fprintf(s.out, "%-5s %v\n", side.Name, side.State)
	}
	return nil
}

// publish confirms the newest transaction that a side asked to publish, in a new block, and tells both of its spends.
func (s *Script) publish(side int) error {
	var tx *wire.MsgTx
	for _, r := range s.p.Sides[side].Chain {
		if p, ok := r.(chain.Publish); ok {
			tx = p.Tx
		}
	}
	if tx == nil {
		return fmt.Errorf("nothing to publish")
	}
	return s.p.ConfirmSpend(tx)
}

// inject puts a message on the wire that a side did not mean to send.
func (s *Script) inject(side int, a args) error {
	id := s.p.Sides[side].State.ChannelID()
	var m lnwire.Message
	switch n := a.number(1, 0); a.word(0) {
	case "update_add_htlc":
		m = &lnwire.UpdateAddHTLC{ChanID: id, ID: n, Amount: lnwire.MilliSatoshi(a.value("amount", 50_000)) * 1000, PaymentHash: Hash(1), Expiry: uint32(a.value("expiry", 700))}
	case "update_fulfill_htlc":
		m = &lnwire.UpdateFulfillHTLC{ChanID: id, ID: n, PaymentPreimage: Preimage(a.value("n", 1))}
	case "update_fail_htlc":
		m = &lnwire.UpdateFailHTLC{ChanID: id, ID: n}
	case "update_fail_malformed_htlc":
		m = &lnwire.UpdateFailMalformedHTLC{ChanID: id, ID: n, FailureCode: lnwire.FailCode(a.value("code", 0))}
	case "update_fee":
		m = lnwire.NewUpdateFee(id, uint32(n))
	case "commitment_signed":
		m = &lnwire.CommitSig{ChanID: id, CommitSig: toySig([33]byte{}, [32]byte{}), HtlcSigs: make([]lnwire.Sig, n)}
	case "revoke_and_ack":
		m = &lnwire.RevokeAndAck{ChanID: id, Revocation: [32]byte{1}, NextRevocationKey: NewReal("x").privs.Funding.PubKey()}
	case "shutdown":
		m = lnwire.NewShutdown(id, script(side))
	case "closing_signed":
		m = lnwire.NewClosingSigned(id, 100, toySig([33]byte{}, [32]byte{}))
	case "error":
		m = &lnwire.Error{ChanID: id, Data: []byte("something broke")}
	case "warning":
		m = &lnwire.Warning{ChanID: id, Data: []byte("careful")}
	case "channel_reestablish":
		m = &lnwire.ChannelReestablish{ChanID: id, NextLocalCommitHeight: n, RemoteCommitTailHeight: a.number(2, 0),
			LocalUnrevokedCommitPoint: NewReal("x").privs.Funding.PubKey()}
		if at := a.value("secret", 1<<40); at != 1<<40 {
			m.(*lnwire.ChannelReestablish).LastRemoteCommitSecret = s.p.Sides[1-side].Crypto.Secret(at)
		}
	default:
		return fmt.Errorf("unknown message %v", a)
	}
	s.p.Sides[side].Out = append(s.p.Sides[side].Out, m)
	return nil
}

// corrupt spoils the next message a side has sent.
func (s *Script) corrupt(side int, highS bool) error {
	out := s.p.Sides[side].Out
	if len(out) == 0 {
		return fmt.Errorf("nothing on the wire")
	}
	spoil := func(sig lnwire.Sig) lnwire.Sig {
		raw := append([]byte(nil), sig.RawBytes()...)
		if raw[63] ^= 1; highS {
			raw[32] = 0xf0
		}
		bad, _ := lnwire.NewSigFromWireECDSA(raw)
		return bad
	}
	switch m := out[0].(type) {
	case *lnwire.CommitSig:
		c := *m
		c.CommitSig = spoil(m.CommitSig)
		out[0] = &c
	case *lnwire.FundingCreated:
		c := *m
		c.CommitSig = spoil(m.CommitSig)
		out[0] = &c
	case *lnwire.FundingSigned:
		c := *m
		c.CommitSig = spoil(m.CommitSig)
		out[0] = &c
	case *channel.ClosingSigned:
		c := *m
		c.Signature = spoil(m.Signature)
		out[0] = &c
	case *lnwire.RevokeAndAck:
		c := *m
		c.Revocation[5] ^= 1
		out[0] = &c
	default:
		return fmt.Errorf("cannot corrupt %s", channel.DescribeMessage(m))
	}
	return nil
}
