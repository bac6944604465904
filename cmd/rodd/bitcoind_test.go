package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"lightningrod/cmd/internal/api"
	"lightningrod/regtest"
)

// nobodys is where blocks pay to that are for none of the nodes.
const nobodys = ""

// town is a bitcoind and the nodes on it, each a process.
type town struct {
	t   *testing.T
	btc *regtest.Bitcoin
}

func newTown(t *testing.T) *town { return &town{t, regtest.Bitcoind(t)} }

// flags are those of a node on the town's bitcoind.
func (w *town) flags(more ...string) []string {
	return append([]string{"--chain.backend", "bitcoind", "--bitcoind.addr", w.btc.Access.Addr, "--bitcoind.cookie", w.btc.Access.Cookie, "--seed.no-encrypt"}, more...)
}

// settle makes the folder of a node, and its seed. The words are what rodd init shows.
func (w *town) settle() (dir string, seedWords string) {
	w.t.Helper()
	dir = w.t.TempDir()
	status, out, errs := does(w.t, "", w.flags("init", "--data-dir", dir)...)
	if status != 0 || !strings.Contains(out, "Birthday: block 0. Note it with the words") {
		w.t.Fatalf("init: %d %s%s", status, out, errs)
	}
	return dir, shownWords(out)
}

// shownWords are the words in what rodd init shows: six in a line, each after its number.
func shownWords(out string) string {
	var all []string
	for _, line := range strings.Split(out, "\n")[1:5] {
		for i, f := range strings.Fields(line) {
			if i%2 == 1 {
				all = append(all, f)
			}
		}
	}
	return strings.Join(all, " ")
}

func (w *town) run(dir string, more ...string) *process {
	w.t.Helper()
	return runRodd(w.t, dir, w.flags(more...)...)
}

// mine mines blocks to an address, and waits until the nodes have seen them.
func (w *town) mine(blocks int, address string, nodes ...*process) {
	w.t.Helper()
	if address == nobodys {
		w.btc.Mine(blocks, append([]byte{0x00, 0x20}, make([]byte, 32)...))
	} else {
		w.btc.Call(nil, "generatetoaddress", blocks, address)
	}
	height, _ := w.btc.Tip()
	for _, p := range nodes {
		until(w.t, "the tip", func() bool { return p.info().Height >= height })
	}
}

// confirm waits for a transaction in the mempool, and mines it and five blocks more.
func (w *town) confirm(nodes ...*process) {
	w.t.Helper()
	until(w.t, "a transaction", func() bool { return len(w.btc.Mempool()) > 0 })
	w.mine(6, nobodys, nodes...)
}

// fund gives a node a coinbase that it can spend.
func (w *town) fund(p *process) {
	w.t.Helper()
	var a api.Address
	p.post("/wallet/addresses", nil, &a)
	w.mine(1, a.Address, p)
	w.mine(100, nobodys, p)
	until(w.t, "funds", func() bool { return p.balance().Confirmed > 0 })
}

func (p *process) balance() (b api.Balance) {
	p.t.Helper()
	p.get("/wallet/balance", &b)
	return b
}

func (p *process) channels() []api.Channel {
	p.t.Helper()
	var l api.List[api.Channel]
	p.get("/channels", &l)
	return l.Items
}

const (
	capacity = 1_000_000 // sat
	push     = 300_000   // sat
)

func connect(from, to *process) {
	from.t.Helper()
	i := to.info()
	from.post("/peers", api.ConnectPeer{ID: i.ID, Addr: i.Addrs[0], Keep: true}, nil)
}

// open opens a channel and waits until both can use it.
func (w *town) open(from, to *process) api.Number {
	w.t.Helper()
	connect(from, to)
	var ref api.ChannelRef
	from.post("/channels", api.OpenChannel{Peer: to.info().ID, Capacity: capacity, Push: 1000 * push}, &ref)
	w.confirm(from, to)
	for _, p := range []*process{from, to} {
		until(w.t, "a usable channel", func() bool { return p.info().UsableCount > 0 })
		until(w.t, "that in the log", func() bool { return strings.Contains(p.stderr.String(), `"channel.ready"`) })
	}
	return ref.Channel
}

// pay pays so many sat.
func pay(from, to *process, sat uint64) {
	from.t.Helper()
	if err := tryToPay(from, to, sat); err != nil {
		from.t.Fatalf("%v\n%s", err, from.stderr)
	}
}

func tryToPay(from, to *process, sat uint64) error {
	from.t.Helper()
	var inv api.Invoice
	to.post("/invoices", api.CreateInvoice{Amount: 1000 * sat, Description: "tea"}, &inv)
	var out api.Payment
	err := from.Do(from.t.Context(), "POST", "/payments", api.Pay{Invoice: inv.Text, Wait: 60}, &out, "")
	if err == nil && out.State != "succeeded" {
		err = fmt.Errorf("the payment is %+v", out)
	}
	return err
}

// TestOnBitcoind: two nodes on a bitcoind open a channel, pay and close, while the bitcoind dies and comes back, and while they are killed. At the
// start a dead bitcoind is one line; at work it is survived, and said.
func TestOnBitcoind(t *testing.T) {
	if testing.Short() {
		t.Skip("a bitcoind is missed after half a minute")
	}
	t.Parallel()
	w := newTown(t)
	dirA, _ := w.settle()
	dirB, _ := w.settle()
	alice, bob := w.run(dirA), w.run(dirB)
	w.fund(alice)
	before := alice.balance().Confirmed
	channel := w.open(alice, bob)
	pay(alice, bob, 10_000)

	w.btc.Call(nil, "gettxoutsetinfo") // which writes out what a killed bitcoind would forget
	w.btc.Kill()
	until(t, "the nodes say that bitcoind is gone", func() bool {
		return alice.info().State == "catching-up" && alice.info().Stale != "" && bob.info().State == "catching-up"
	})
	var e *api.Error
	if err := alice.Do(t.Context(), "GET", "/readyz", nil, nil, ""); !errors.As(err, &e) || e.Code != api.Unavailable {
		t.Fatalf("readiness without bitcoind: %v", err)
	}
	t.Log("without bitcoind: ", e.Message)
	if err := tryToPay(alice, bob, 1); !errors.As(err, &e) || e.Code != api.Unavailable {
		t.Fatalf("paying without bitcoind: %v", err)
	}
	if status := bob.end(); status != exitOK {
		t.Fatalf("ended with %d: %s", status, bob.stderr)
	}
	status, _, errs := does(t, "", w.flags("--data-dir", dirB, "--listen.p2p=", "--bitcoind.wait", "300ms", "--log.level", "error")...)
	if status != exitChain || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, w.btc.Access.Addr) {
		t.Fatalf("dead bitcoind: %d %s", status, errs)
	}

	w.btc.Launch() // a node may begin before the bitcoind answers: it waits
	bob = w.run(dirB)
	until(t, "ready again", func() bool { return alice.Do(t.Context(), "GET", "/readyz", nil, nil, "") == nil })
	connect(alice, bob)
	until(t, "a usable channel", func() bool { return alice.info().UsableCount > 0 && bob.info().UsableCount > 0 })
	pay(alice, bob, 10_000)

	alice.kill()
	w.mine(3, nobodys, bob)
	alice = w.run(dirA)
	connect(alice, bob)
	until(t, "a usable channel", func() bool { return alice.info().UsableCount > 0 && bob.info().UsableCount > 0 })
	pay(bob, alice, 5_000)

	alice.post("/channels/"+channel.String()+"/close", map[string]bool{"force": false}, nil)
	w.confirm(alice, bob)
	const bobs = push + 2*10_000 - 5_000
	until(t, "bob's coins", func() bool { return bob.balance().Confirmed == bobs })
	until(t, "alice's coins", func() bool { return alice.balance().Confirmed > before-capacity })
	if spent := before - bobs - alice.balance().Confirmed; spent < 0 || spent > 10_000 {
		t.Errorf("alice had %d sat, bob has %d now and she %d", before, bobs, alice.balance().Confirmed)
	}
	for _, p := range []*process{alice, bob} {
		if status := p.end(); status != exitOK {
			t.Errorf("ended with %d: %s", status, p.stderr)
		}
	}
}

// TestWrongBitcoind: a real bitcoind of another network, and a real one that does not know the password.
func TestWrongBitcoind(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	dir := t.TempDir()
	password := write(t, filepath.Join(dir, "password"), rightPassword)
	for _, x := range []struct {
		name string
		args []string
		line string
	}{
		{"for signet", []string{"--network", "signet", "--seed.password-file", password}, `it has chain "regtest"`},
		{"password", []string{"--seed.password-file", password, "--bitcoind.user", "u", "--bitcoind.password", "p"}, "refuses our user and password"},
	} {
		args := append([]string{"--data-dir", dir, "--chain.backend", "bitcoind", "--bitcoind.addr", w.btc.Access.Addr, "--bitcoind.cookie", w.btc.Access.Cookie}, x.args...)
		if status, _, errs := does(t, "", append([]string{"init"}, args...)...); status != 0 {
			t.Fatalf("%s: %d %s", x.name, status, errs)
		}
		status, _, errs := does(t, "", append([]string{"--listen.p2p="}, args...)...)
		lines := strings.Split(strings.TrimSpace(errs), "\n")
		if status != exitChain || !strings.Contains(lines[len(lines)-1], x.line) {
			t.Errorf("%s: %d %s", x.name, status, errs)
		}
	}
}
