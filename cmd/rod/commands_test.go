package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lightningrod/chain/embedded"
	"lightningrod/cmd/internal/api"
	"lightningrod/node"
)

func TestAmount(t *testing.T) {
	for text, want := range map[string]string{
		"21sat": "21000", "1500msat": "1500", "0.5btc": "50000000000", "1.5sat": "1500", "1SAT": "1000", "0.00000000001btc": "1",
		"21000000btc": "2100000000000000000", "0sat": "0",
		"21": "has no unit", "sat": "not a number", "1.sat": "digits may follow", "1.0001sat": "digits may follow", "1.5msat": "digits may follow",
		"-1sat": "not a number", "+1sat": "not a number", "21000001btc": "21 million", "99999999999999999999sat": "not a number",
		"18446744073709551615btc": "21 million", "1.-1sat": "not a number", "": "has no unit", "1 sat": "not a number",
	} {
		var a amount
		err := a.UnmarshalText([]byte(text))
		if got := fmt.Sprint(uint64(a)); err == nil && got != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %s, %v, want %s", text, got, err, want)
		}
	}
	for msat, want := range map[uint64]string{0: "0 sat", 21_000: "21 sat", 1: "0.001 sat", 1_050: "1.050 sat"} {
		if got := showMsat(msat); got != want {
			t.Errorf("%d: %s, want %s", msat, got, want)
		}
	}
}

func FuzzAmount(f *testing.F) {
	for _, s := range []string{"1sat", "0.1btc", "1msat", "1.1", "btc", "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var a amount
		if a.UnmarshalText([]byte(s)) == nil && a > moneyLimit {
			t.Fatalf("%q is %d msat", s, a)
		}
	})
}

// served is a node whose API is on a unix socket.
type served struct {
	node        *node.Node
	dir, socket string
	stop        func()
}

// serve starts a node on dir; its seed follows from its name.
func serve(t *testing.T, c *embedded.Chain, name, dir string, lsp bool) *served {
	t.Helper()
	n, err := node.New(node.Config{Dir: dir, Seed: []byte(strings.Repeat(name[:1], 32)), Params: c.Params(), Backend: c, Alias: name, LSP: lsp,
		Listen: []string{"127.0.0.1:0"}, MinBackoff: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		n.Stop()
		t.Fatal(err)
	}
	s, err := api.New(&api.Daemon{Node: n, Params: c.Params(), Alias: name, LSP: lsp, Backend: "embedded", Miner: c, Backups: filepath.Join(dir, "backups")}, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "api.sock"))
	if err != nil {
		t.Fatal(err)
	}
	hs := &http.Server{Handler: s.Handler(true)}
	go hs.Serve(l)
	out := &served{node: n, dir: dir, socket: l.Addr().String()}
	out.stop = sync.OnceFunc(func() { s.Drain(); hs.Close(); s.Close(); n.Stop() })
	t.Cleanup(out.stop)
	return out
}

// shortDir is a folder whose path is short, as that of a unix socket must be.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rod")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// operator gives commands and reads what they say.
type operator struct {
	*testing.T
	ctx context.Context
}

func newOperator(t *testing.T) *operator {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return &operator{t, ctx}
}

// rod gives a command to the node at a socket, and wants its exit status.
func (o *operator) rod(socket string, want int, args ...string) (out map[string]any, stderr string) {
	o.Helper()
	var stdout, errs bytes.Buffer
	if status := run(o.ctx, append(args, "--socket", socket), &stdout, &errs); status != want {
		o.Fatalf("rod %s: status %d, want %d: %s", strings.Join(args, " "), status, want, &errs)
	}
	if stdout.Len() > 0 {
		if err := json.Unmarshal(stdout.Bytes(), &out); err != nil {
			o.Fatalf("rod %s: %v in %s", strings.Join(args, " "), err, &stdout)
		}
	}
	return out, errs.String()
}

// until asks again until a command's answer is as it should be.
func (o *operator) until(what string, f func() bool) {
	o.Helper()
	for !f() {
		select {
		case <-o.ctx.Done():
			o.Fatal(what, o.ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func newChain(t *testing.T) *embedded.Chain {
	t.Helper()
	c, err := embedded.New(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Two nodes, all by command: money, connection, channel, payment, news, and the exit statuses.
func TestCommands(t *testing.T) {
	c := newChain(t)
	o := newOperator(t)
	ctx, rod, until := o.ctx, o.rod, o.until
	a, b := serve(t, c, "alice", shortDir(t), true).socket, serve(t, c, "bob", shortDir(t), true).socket
	rod(a, 0, "lab", "mine", "1")
	addr, _ := rod(b, 0, "wallet", "address")
	rod(a, 0, "lab", "mine", "100", "--address", addr["address"].(string))
	until("coins", func() bool { w, _ := rod(a, 0, "wallet", "balance"); return w["confirmed_sat"].(float64) > 0 })
	info, _ := rod(b, 0, "getinfo")
	id := info["id"].(string)
	rod(a, 0, "connect", id+"@"+info["addresses"].([]any)[0].(string))
	opened, _ := rod(a, 0, "openchannel", id, "500000sat", "--push", "1000sat")
	rod(a, 0, "lab", "mine", "6", "--address", addr["address"].(string))
	until("channel", func() bool {
		l, _ := rod(a, 0, "listchannels")
		return l["items"].([]any)[0].(map[string]any)["usable"].(bool)
	})
	inv, _ := rod(b, 0, "invoice", "create", "21sat", "-d", "coffee")
	paid, _ := rod(a, 0, "payinvoice", inv["bolt11"].(string), "--key", "coffee")
	if paid["state"] != "succeeded" {
		t.Fatal(paid)
	}
	if again, _ := rod(a, 0, "payinvoice", inv["bolt11"].(string), "--key", "coffee"); again["id"] != paid["id"] {
		t.Fatalf("paid twice: %v, %v", paid, again)
	}
	if l, _ := rod(b, 0, "invoice", "list"); l["items"].([]any)[0].(map[string]any)["state"] != "paid" {
		t.Fatal(l)
	}
	for _, args := range [][]string{{"peer", "list"}, {"payment", "list"}, {"held", "list"}, {"held", "requests"}, {"mailbox", "list"}, {"token", "list"}, {"node", "info"},
		{"event", "list", "--limit", "3"}, {"event", "list", "--limit", "3", "--last"}, {"node", "health"}, {"node", "api"}, {"channel", "show", "1"},
		{"owed", "list"}, {"client", "list"}, {"webhook", "list"}, {"listunspent"}, {"listchaintxns"}, {"held", "list", "--state", "held"}} {
		if l, _ := rod(a, 0, args...); l == nil {
			t.Errorf("%v said nothing", args)
		}
	}
	for _, x := range []struct {
		want int
		see  string
		args []string
	}{
		{exitUsage, "no unit", []string{"invoice", "create", "21"}},
		{exitUsage, "66 hex digits", []string{"channel", "open", "02", "1000sat"}},
		{exitUsage, "not a whole number of sat", []string{"channel", "open", id, "1000001msat"}},
		{exitUsage, "ID@HOST:PORT", []string{"connect", id}},
		{exitFailed, "no channel 99", []string{"channel", "close", "99"}},
		{exitFailed, "no channel 99", []string{"channel", "show", "99"}},
		{exitUsage, "one of them", []string{"sendcoins", addr["address"].(string)}},
		{exitUsage, "one of them", []string{"sendcoins", addr["address"].(string), "5sat", "--all"}},
		{exitUsage, "address: ", []string{"sendcoins", "nobody", "5000sat"}},
		{exitFailed, "", []string{"bumpfee", strings.Repeat("00", 32), "1000"}},
		{exitFailed, "", []string{"client", "show", strings.Repeat("02", 33)}},
		{exitFailed, "", []string{"webhook", "remove", "0011223344556677"}},
		{exitUsage, "one of them", []string{"event", "list", "--last", "--after", "1"}},
		{exitUsage, "--limit 0 outside 1..1000", []string{"event", "list", "--limit", "0"}},
		{exitUsage, "after: ", []string{"event", "list", "--after", "1000000"}},
		{exitUsage, "one of them", []string{"event", "follow", "--new", "--after", "1"}},
		{exitFailed, "no such peer", []string{"peer", "disconnect", strings.Repeat("02", 33)}},
		{exitUsage, "are for --async", []string{"payment", "send", "lnbcrt1", "--hold", "5"}},
		{exitUsage, "below 0", []string{"payment", "send", "lnbcrt1", "--wait=-5s"}},
		{exitUsage, "whole seconds", []string{"invoice", "create", "--expiry", "1500ms"}},
		{exitRefused, "", []string{"payment", "send", "lnbcrt1nonsense"}},
		{exitUsage, "unexpected argument", []string{"channel", "burn"}},
	} {
		if _, errs := rod(a, x.want, x.args...); !strings.Contains(errs, x.see) {
			t.Errorf("%v: %q lacks %q", x.args, errs, x.see)
		}
	}
	if sent, _ := rod(a, 0, "sendcoins", addr["address"].(string), "5000sat"); len(sent["txid"].(string)) != 64 {
		t.Error(sent)
	}
	nobody := filepath.Join(t.TempDir(), "nobody")
	if _, errs := rod(nobody, exitUnreachable, "getinfo"); strings.Count(errs, "\n") != 1 || !strings.Contains(errs, `start one with "rodd --listen.api `+nobody+`"`) {
		t.Errorf("no node: %q", errs)
	}
	sent := len(c.Mempool())
	closed := make(chan string)
	go func() {
		var out, errs bytes.Buffer
		status := run(ctx, []string{"channel", "close", opened["channel"].(string), "--wait", "--socket", a}, &out, &errs)
		closed <- fmt.Sprint(status, errs.String(), out.String())
	}()
	until("closing", func() bool { return len(c.Mempool()) > sent })
	rod(a, 0, "lab", "mine", "6", "--address", addr["address"].(string))
	if said := <-closed; !strings.HasPrefix(said, "0channel 1: ") || !strings.Contains(said, "channel 1 is closed\n") || !strings.Contains(said, `"channel": "1"`) {
		t.Error(said)
	}

	// The news come one a line, until the reader has had enough.
	short, stop := context.WithCancel(ctx)
	defer stop()
	seen := &lines{enough: stop}
	var errs bytes.Buffer
	if status := run(short, []string{"event", "follow", "--socket", a}, seen, &errs); status != 0 || seen.n < 5 {
		t.Fatalf("status %d, %d events: %s", status, seen.n, &errs)
	}
}

// lines counts what is written, and says when it is enough.
type lines struct {
	n      int
	enough func()
}

func (l *lines) Write(b []byte) (int, error) {
	var ev api.Event
	if err := json.Unmarshal(b, &ev); err != nil {
		return 0, err
	}
	if l.n++; l.n == 5 {
		l.enough()
	}
	return len(b), nil
}
