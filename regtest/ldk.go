package regtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Ldk is an ldk-node of a test, in the program of the folder ldk, which is asked by lines of JSON on its stdin.
type Ldk struct {
	*program
	btc  *Bitcoin
	id   string
	addr string

	mu      sync.Mutex
	in      io.WriteCloser
	last    uint64
	waiting map[uint64]chan<- ldkAnswer // nil: nobody answers any more
}

var _ Node = (*Ldk)(nil)

type ldkAnswer struct {
	ID    uint64
	OK    json.RawMessage
	Error string
}

// ClaimByHand is an option of NewLdk: the program and not LDK claims what is paid, so that invoices can be withdrawn. Such invoices do
// not outlive the process.
const ClaimByHand = "--claim-by-hand"

// FindLdk is the command in ROD_LDK, or rod-regtest-ldk from PATH. Without one the test is skipped, also where other programs have to
// be there: this one has to only if ROD_REQUIRE_PEERS has the word ldk.
func FindLdk(t testing.TB) []string {
	t.Helper()
	return findOptional(t, "ldk", "ROD_LDK", "rod-regtest-ldk") // it is built from regtest/ldk
}

// NewLdk starts an LDK node on a bitcoind, with these options besides: see FindLdk.
func NewLdk(t testing.TB, name string, btc *Bitcoin, options ...string) *Ldk {
	t.Helper()
	command := FindLdk(t)
	p := newProgram(t, name)
	l := &Ldk{program: p, btc: btc, addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))}
	p.command = append(append(command,
		"--dir="+p.dir, "--listen="+l.addr, "--alias="+name, "--rpc="+btc.Access.Addr, "--cookie="+btc.Access.Cookie, "--log="+level("info"),
	), options...)
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *Ldk) ID() string   { return l.id }
func (l *Ldk) Addr() string { return l.addr }

func (l *Ldk) Start() error {
	var in io.WriteCloser
	var out io.ReadCloser
	var err error
	l.process, err = start(l.command, l.output(), func(cmd *exec.Cmd) (err error) {
		cmd.Stdout = nil
		if in, err = cmd.StdinPipe(); err != nil {
			return err
		}
		out, err = cmd.StdoutPipe()
		return err
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.in, l.waiting = in, map[uint64]chan<- ldkAnswer{}
	l.mu.Unlock()
	go l.listen(out)
	return l.awaken(func() error {
		var info struct{ ID string }
		err := l.ask("info", nil, &info)
		l.id = info.ID
		return err
	})
}

// listen hands the answers to those who wait for them, until the program ends.
func (l *Ldk) listen(out io.Reader) {
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var a ldkAnswer
		if err := json.Unmarshal(line, &a); err != nil {
			break
		}
		l.mu.Lock()
		if c := l.waiting[a.ID]; c != nil {
			delete(l.waiting, a.ID)
			c <- a // has room
		}
		l.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.waiting {
		close(c)
	}
	l.waiting = nil
}

// request sends a request; its answer comes on the channel, which is closed without one when the program ends.
func (l *Ldk) request(do string, args map[string]any) (<-chan ldkAnswer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting == nil {
		return nil, fmt.Errorf("%s: %s does not run", do, l.name)
	}
	l.last++
	r := map[string]any{"id": l.last, "do": do}
	for k, v := range args {
		r[k] = v
	}
	line, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	c := make(chan ldkAnswer, 1)
	l.waiting[l.last] = c
	_, err = l.in.Write(append(line, '\n'))
	return c, err
}

// ask is one request with its answer, which out may take. What the program does takes two minutes at most.
func (l *Ldk) ask(do string, args map[string]any, out any) error {
	c, err := l.request(do, args)
	if err != nil {
		return err
	}
	const bound = 150 * time.Second
	select {
	case a, ok := <-c:
		switch {
		case !ok:
			return fmt.Errorf("%s: %s has ended", do, l.name)
		case a.Error != "":
			return fmt.Errorf("%s: %s", do, a.Error)
		case out == nil:
			return nil
		}
		if err := json.Unmarshal(a.OK, out); err != nil {
			return fmt.Errorf("%s: answer: %w", do, err)
		}
		return nil
	case <-time.After(bound):
		return fmt.Errorf("%s: %s does not answer", do, l.name)
	}
}

func (l *Ldk) Stop() error {
	if _, err := l.request("stop", nil); err != nil {
		return err
	}
	return l.ended()
}

func (l *Ldk) Height() (uint32, error) {
	var out struct{ Height uint32 }
	err := l.ask("height", nil, &out)
	return out.Height, err
}

func (l *Ldk) Address() (string, error) {
	var out struct{ Address string }
	err := l.ask("address", nil, &out)
	return out.Address, err
}

// Coins are all of the wallet's: LDK does not tell which of them are in unconfirmed transactions.
func (l *Ldk) Coins() (int64, error) {
	var out struct {
		Total int64 `json:"total_sat"`
	}
	err := l.ask("coins", nil, &out)
	return out.Total, err
}

func (l *Ldk) Connect(id, addr string) error {
	return l.ask("connect", map[string]any{"peer": id, "addr": addr}, nil)
}

func (l *Ldk) Disconnect(id string) error {
	return l.ask("disconnect", map[string]any{"peer": id}, nil)
}

func (l *Ldk) Peers() ([]string, error) {
	var out struct{ IDs []string }
	err := l.ask("peers", nil, &out)
	return out.IDs, err
}

// Open returns once the funding transaction is in bitcoind's mempool: LDK tells earlier, when it is about to publish it.
func (l *Ldk) Open(o Opening) error {
	var funding struct{ Txid string }
	in := map[string]any{"peer": o.Peer, "capacity_sat": o.Capacity, "push_sat": o.Push, "private": o.Private}
	if err := l.ask("open", in, &funding); err != nil {
		return err
	}
	return l.awaken(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), callPatience)
		defer cancel()
		return l.btc.Client.Call(ctx, nil, "getmempoolentry", funding.Txid)
	})
}

func (l *Ldk) Close(funding string, force bool) error {
	return l.ask("close", map[string]any{"funding": funding, "force": force}, nil)
}

// ldkChannel is a channel in the program's list.
type ldkChannel struct {
	Peer     string
	Funding  string
	SCID     *uint64
	Opener   bool
	Private  bool
	Usable   bool
	Capacity int64 `json:"capacity_sat"`
	FeeRate  int64 `json:"feerate_sat_per_kw"`
	HTLCs    int
	Local    int64 `json:"local_msat"`
}

func (l *Ldk) list() ([]ldkChannel, error) {
	var out struct{ Channels []ldkChannel }
	err := l.ask("channels", nil, &out)
	return out.Channels, err
}

func (l *Ldk) Channels() (all []Channel, err error) {
	list, err := l.list()
	for _, c := range list {
		theirs, scid := c.Local, ""
		if c.Opener {
			theirs = c.Capacity*1000 - c.Local
		}
		if c.SCID != nil {
			scid = scidText(*c.SCID)
		}
		all = append(all, Channel{
			Peer: c.Peer, Funding: c.Funding, SCID: scid, Opener: c.Opener, Private: c.Private, Usable: c.Usable,
			Capacity: c.Capacity, FeeRate: c.FeeRate, HTLCs: c.HTLCs, Theirs: theirs / 1000,
		})
	}
	return all, err
}

func (l *Ldk) Total() (msat int64, err error) {
	list, err := l.list()
	for _, c := range list {
		msat += c.Local
	}
	return msat, err
}

func (l *Ldk) Invoice(msat uint64) (Invoice, error) {
	var out struct{ Text, Hash string }
	err := l.ask("invoice", map[string]any{"msat": msat}, &out)
	return Invoice{Text: out.Text, Hash: out.Hash}, err
}

// Withdraw needs the option ClaimByHand.
func (l *Ldk) Withdraw(inv Invoice) error {
	return l.ask("withdraw", map[string]any{"hash": inv.Hash}, nil)
}

// Pay makes a payment with an unknown hash out of the only such thing that LDK has: a spontaneous one.
func (l *Ldk) Pay(p Payment) (Outcome, error) {
	if len(p.FirstHop) > 0 || p.FinalExpiry != 0 || p.LessFee != 0 || p.LessExpiry != 0 {
		return Outcome{}, errors.New("LDK makes no payments that are wrong but for their hash")
	}
	if p.Unknown {
		return l.pay("keysend", map[string]any{"invoice": p.Invoice})
	}
	return l.pay("pay", map[string]any{"invoice": p.Invoice, "parts": max(1, p.Parts)})
}

// Offer is an offer of BOLT 12.
func (l *Ldk) Offer(msat uint64) (string, error) {
	var out struct{ Text string }
	err := l.ask("offer", map[string]any{"msat": msat}, &out)
	return out.Text, err
}

// PayOffer asks for an invoice by onion message, and pays it.
func (l *Ldk) PayOffer(offer string) (Outcome, error) {
	return l.pay("pay_offer", map[string]any{"offer": offer})
}

// pay pays. Which failure came back LDK writes to its log only: with several payments at a time it may be another one's.
func (l *Ldk) pay(do string, args map[string]any) (Outcome, error) {
	var out struct {
		Paid   bool
		Fee    uint64 `json:"fee_msat"`
		Reason string
		From   string
		Code   uint16
	}
	if err := l.ask(do, args, &out); err != nil {
		return Outcome{}, err
	}
	switch {
	case out.Paid:
		return Outcome{Paid: true, Fee: out.Fee}, nil
	case out.Code == 0:
		return Outcome{Failure: strings.ToLower(out.Reason), Hop: -1}, nil
	}
	list, err := l.list()
	o := Outcome{Failure: snake(lnwire.FailCode(out.Code).String()), Hop: -1}
	for _, c := range list {
		if c.Peer == out.From {
			o.Hop = 1
		}
	}
	return o, err
}

func (l *Ldk) Ledger() (b Ledger, err error) {
	return b, l.ask("payments", nil, &b)
}

func (l *Ldk) Graph() (Graph, error) {
	var g Graph
	err := l.ask("graph", nil, &g)
	g.Nodes = len(g.Aliases)
	return g, err
}

// snake writes TemporaryChannelFailure as temporary_channel_failure.
func snake(camel string) string {
	var b strings.Builder
	for i, c := range camel {
		if i > 0 && c >= 'A' && c <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(c)
	}
	return strings.ToLower(strings.TrimPrefix(b.String(), "Fail"))
}
