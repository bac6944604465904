package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// A Rod payment, all by command: B is off when A pays, A is off when B is paid, and the LSP between them holds. What the
// databases hold meanwhile is dumped, without the secrets.
func TestAsyncPayment(t *testing.T) {
	c := newChain(t)
	o := newOperator(t)
	a, l, b := serve(t, c, "alice", shortDir(t), false), serve(t, c, "lsp", shortDir(t), true), serve(t, c, "bob", shortDir(t), false)
	first := func(socket string, args ...string) map[string]any {
		t.Helper()
		out, _ := o.rod(socket, 0, args...)
		items := out["items"].([]any)
		if len(items) == 0 {
			return map[string]any{}
		}
		return items[0].(map[string]any)
	}
	o.rod(a.socket, 0, "lab", "mine", "1")
	o.rod(l.socket, 0, "lab", "mine", "1")
	burn, _ := o.rod(b.socket, 0, "newaddress")
	mine := func(blocks string) { o.rod(l.socket, 0, "lab", "mine", blocks, "--address", burn["address"].(string)) }
	mine("100")
	info, _ := o.rod(l.socket, 0, "getinfo")
	at := info["id"].(string) + "@" + info["addresses"].([]any)[0].(string)
	o.rod(a.socket, 0, "connect", at)
	o.rod(b.socket, 0, "connect", at)
	bob, _ := o.rod(b.socket, 0, "getinfo")
	for _, s := range []*served{a, l} {
		o.until("coins", func() bool { w, _ := o.rod(s.socket, 0, "walletbalance"); return w["confirmed_sat"].(float64) > 0 })
	}
	opened := make(chan string)
	go func() { // waits for its confirmations, and says so
		var out, errs bytes.Buffer
		status := run(o.ctx, []string{"channel", "open", info["id"].(string), "500000sat", "--wait", "--socket", a.socket}, &out, &errs)
		opened <- fmt.Sprint(status, errs.String(), out.String())
	}()
	o.rod(l.socket, 0, "openchannel", bob["id"].(string), "500000sat", "--no-wait")
	o.until("two fundings", func() bool { return len(c.Mempool()) == 2 })
	mine("6")
	if said := <-opened; !strings.HasPrefix(said, "0channel 1: ") || !strings.Contains(said, "can be used") || !strings.Contains(said, `"usable": true`) {
		t.Fatal(said)
	}
	o.until("the graph", func() bool {
		i, _ := o.rod(a.socket, 0, "getinfo")
		return i["graph_channels"].(float64) == 2 && first(b.socket, "listchannels")["usable"] == true
	})

	invoice, _ := o.rod(b.socket, 0, "addinvoice", "1000sat", "-d", "async", "--expiry", "720h")
	second, _ := o.rod(b.socket, 0, "addinvoice", "2000sat", "--expiry", "720h")
	third, _ := o.rod(b.socket, 0, "addinvoice", "3000sat", "--expiry", "720h")
	b.stop()
	sent, _ := o.rod(a.socket, 0, "payment", "send", "--async", invoice["bolt11"].(string))
	id := sent["id"].(string)
	if sent["state"] != "pending" || sent["payment_hash"] != invoice["payment_hash"] {
		t.Fatal(sent)
	}
	if now, _ := o.rod(a.socket, 0, "payment", "show", id); now["state"] != "pending" || now["amount_msat"] != 1_000_000.0 { // its hold may not be granted yet
		t.Fatal(now)
	}
	o.until("the hold and the letter", func() bool {
		return first(l.socket, "held", "list")["state"] == "held" && first(l.socket, "mailbox", "list")["messages"] != nil
	})
	if state := first(l.socket, "held", "requests")["state"]; state == nil {
		t.Fatal("no request")
	}
	var n uint64
	if _, err := fmt.Sscan(id, &n); err != nil {
		t.Fatal(err)
	}
	pid, ok := a.node.Pid(n)
	if !ok {
		t.Fatal("no pid")
	}
	if _, errs := o.rod(a.socket, exitFailed, "payinvoice", invoice["bolt11"].(string), "--async", "--wait", "20s"); !strings.Contains(errs, "live request") {
		t.Error("the reason of a failure is not told:", errs)
	}
	if _, errs := o.rod(a.socket, exitPending, "payinvoice", second["bolt11"].(string), "--async", "--wait", "200ms"); !strings.Contains(errs, "still on its way") {
		t.Error(errs)
	}
	// The LSP's operator gives the second one up. A is told, and says why it failed.
	o.until("the second hold", func() bool {
		out, _ := o.rod(l.socket, 0, "held", "list", "--state", "held")
		return len(out["items"].([]any)) == 2
	})
	out, _ := o.rod(l.socket, 0, "held", "list", "--state", "held")
	for _, x := range out["items"].([]any) {
		if h := x.(map[string]any); h["payment_hash"] == second["payment_hash"] {
			o.rod(l.socket, 0, "held", "fail", h["channel"].(string), fmt.Sprint(h["htlc_id"]))
		}
	}
	o.rod(l.socket, exitFailed, "held", "fail", "1", "99")
	failed := map[string]any{}
	o.until("A to be told", func() bool {
		all, _ := o.rod(a.socket, 0, "listpayments")
		for _, x := range all["items"].([]any) {
			if p := x.(map[string]any); p["state"] == "failed" {
				failed = p
			}
		}
		return len(failed) > 0
	})
	if f := failed["failure"].(map[string]any); failed["payment_hash"] != second["payment_hash"] || f["code"] != "temporary_node_failure" || f["hop"] != 0.0 || f["node"] != info["id"] {
		t.Error(failed)
	}
	// A takes a third one back.
	taken, _ := o.rod(a.socket, 0, "payinvoice", third["bolt11"].(string), "--async")
	o.until("the third hold", func() bool {
		out, _ := o.rod(l.socket, 0, "held", "list", "--state", "held")
		return len(out["items"].([]any)) == 2
	})
	o.rod(a.socket, 0, "payment", "cancel", taken["id"].(string))
	o.until("the end of it", func() bool {
		p, _ := o.rod(a.socket, 0, "payment", "show", taken["id"].(string))
		return p["state"] == "failed"
	})
	o.rod(a.socket, exitFailed, "payment", "cancel", taken["id"].(string))
	if _, errs := o.rod(l.socket, exitRefused, "owed", "nudge", first(l.socket, "owed", "list")["id"].(string)); !strings.Contains(errs, "no webhook") {
		t.Error(errs)
	}
	letters, _ := o.rod(l.socket, 0, "mailbox", "show", bob["id"].(string))
	spare := letters["items"].([]any)[len(letters["items"].([]any))-1].(map[string]any)
	o.rod(l.socket, 0, "mailbox", "drop", bob["id"].(string), spare["id"].(string))
	o.rod(l.socket, exitFailed, "mailbox", "drop", bob["id"].(string), spare["id"].(string))
	if _, errs := o.rod(l.socket, exitRefused, "dump", filepath.Join(l.dir, "node.db")); !strings.Contains(errs, "stop it first, or dump a backup") {
		t.Fatal(errs)
	}
	backup, _ := o.rod(l.socket, 0, "node", "backup")
	if said := o.dumped(backup["path"].(string), pid[:]); !strings.Contains(said, "rod_member: ") || !strings.Contains(said, "mailbox: ") || !strings.Contains(said, "state             armed") {
		t.Errorf("the LSP's backup:\n%s", said)
	}
	a.stop()
	said := o.dump(a, pid[:])
	for _, want := range []string{"rod_payer: ", "(secret)", "channel: 1", "htlc: ", "offered"} {
		if !strings.Contains(said, want) {
			t.Errorf("A's dump lacks %s:\n%s", want, said)
		}
	}

	b = serve(t, c, "bob", b.dir, false)
	o.until("B to be paid", func() bool {
		i, _ := o.rod(b.socket, 0, "invoice", "show", invoice["payment_hash"].(string))
		return i["state"] == "paid"
	})
	a = serve(t, c, "alice", a.dir, false)
	var paid map[string]any
	o.until("A to have the preimage", func() bool {
		paid, _ = o.rod(a.socket, 0, "payment", "show", id)
		return paid["state"] == "succeeded"
	})

	l.stop()
	said = o.dump(l, pid[:])
	for _, want := range []string{"channel: 2", "meta: ", "channel_announcement: 2", "channel_update: ", "node_announcement: ", "channel.usable"} {
		if !strings.Contains(said, want) {
			t.Errorf("the LSP's dump lacks %s:\n%s", want, said)
		}
	}
	b.stop()
	if _, errs := o.rod(l.socket, exitUnreachable, "payment", "list"); strings.Count(errs, "\n") != 1 {
		t.Error(errs)
	}
	if said := o.dump(b, pid[:]); !strings.Contains(said, paid["preimage"].(string)) {
		t.Error("a settled preimage is no secret")
	}
}

// dump is all of a stopped node's database as text, which has neither an unreadable row nor a secret in it; as JSON it
// has a row a line.
func (o *operator) dump(s *served, secrets ...[]byte) string {
	o.Helper()
	return o.dumped(filepath.Join(s.dir, "node.db"), secrets...)
}

// dumped is dump for a file.
func (o *operator) dumped(db string, secrets ...[]byte) string {
	o.Helper()
	var text, lines, errs bytes.Buffer
	if status := run(o.ctx, []string{"dump", db, "--table"}, &text, &errs); status != 0 || strings.Contains(text.String(), "unreadable") {
		o.Fatalf("status %d: %s\n%s", status, &errs, &text)
	}
	if status := run(o.ctx, []string{"dump", db}, &lines, &errs); status != 0 {
		o.Fatalf("status %d: %s", status, &errs)
	}
	for line := range strings.Lines(lines.String()) {
		if !strings.HasPrefix(line, `{"table":"`) {
			o.Fatalf("line %s", line)
		}
	}
	for _, secret := range secrets {
		if strings.Contains(text.String()+lines.String(), hex.EncodeToString(secret)) {
			o.Errorf("a secret is in the dump of %s", db)
		}
	}
	return text.String()
}
