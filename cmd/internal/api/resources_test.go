package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"lightningrod/chain/embedded"
	"lightningrod/node"
)

// stream reads server-sent events as a browser does: id, event and data, until f says stop.
func (s *served) stream(query, lastID string, f func(id, kind, data string) bool) *http.Response {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://rod/v1/events"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := s.http.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		body, _ := io.ReadAll(resp.Body)
		resp.Body = io.NopCloser(strings.NewReader(string(body)))
		return resp
	}
	fields := map[string]string{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		if fields[name] = value; lines.Text() != "" {
			continue
		}
		if f(fields["id"], fields["event"], fields["data"]) {
			return resp
		}
		clear(fields)
	}
	s.t.Fatalf("the stream ended: %v", s.ctx.Err())
	return nil
}

func failure(t *testing.T, resp *http.Response) *Error {
	t.Helper()
	var failed errorBody
	if err := json.NewDecoder(resp.Body).Decode(&failed); err != nil || failed.Error == nil {
		t.Fatal(resp.Status, err)
	}
	return failed.Error
}

// A stream goes on over a restart of the node where it was, says 410 and the oldest event when that is not kept any more, and refuses a number
// that the node never had.
func TestEventStream(t *testing.T) {
	c := newChain(t)
	dir := t.TempDir()
	few := func(cfg *node.Config) { cfg.History = node.Retention{Events: 10, Age: time.Hour} }
	s := serveIn(t, c, "alice", dir, few)
	s.must("POST", "/chain/blocks", Mine{Blocks: 5}, nil)
	s.wait("block", "height", "5")
	var at string
	s.stream("?from=1", "", func(id, kind, data string) bool {
		var ev Event
		if err := json.Unmarshal([]byte(data), &ev); err != nil || Number(ev.Seq).String() != id || ev.Kind != kind || ev.At == "" {
			t.Fatal(id, kind, data, err)
		}
		at = id
		return ev.Fields["height"] == "3"
	})
	s.stop()
	s = serveIn(t, c, "alice", dir, few)
	s.stream("?from=1", at, func(id, kind, data string) bool { // the header is newer than the address
		if kind != "block" || !strings.Contains(data, `"height":"4"`) {
			t.Fatal(id, kind, data)
		}
		return true
	})
	for height := Number(6); height <= 30; height++ { // a group each: they are deleted as they were written
		s.must("POST", "/chain/blocks", Mine{Blocks: 1}, nil)
		s.until("block", func() bool {
			var l List[Event]
			s.must("GET", "/events?limit=1000", nil, &l)
			return l.Items[len(l.Items)-1].Fields["height"] == height.String()
		})
	}
	resp := s.stream("", at, nil)
	var oldest List[Event]
	s.must("GET", "/events?limit=1", nil, &oldest)
	first := Number(oldest.Items[0].Seq)
	if e := failure(t, resp); resp.StatusCode != 410 || e.Code != Gone || e.Field != "after" || e.Oldest != first || e.Bound != "at least "+(first-1).String() {
		t.Fatal(resp.Status, *e)
	}
	var e *Error
	if err := s.Do(s.ctx, "GET", "/events?from=1", nil, nil, ""); !errors.As(err, &e) || e.Code != Gone || e.Oldest != first || e.Field != "from" {
		t.Fatal(err)
	}
	s.stream("?from="+first.String(), "", func(id, _, _ string) bool { return id == first.String() })
	var info Info
	s.must("GET", "/node", nil, &info)
	if resp := s.stream("", (info.LastEvent + 1).String(), nil); resp.StatusCode != 422 || failure(t, resp).Field != "after" {
		t.Fatal(resp.Status)
	}
	if resp := s.stream("", "x", nil); resp.StatusCode != 422 || failure(t, resp).Field != "Last-Event-ID" {
		t.Fatal(resp.Status)
	}
}

// An Idempotency-Key holds over a restart, with its answer; for another request it is refused.
func TestIdempotencyOverRestart(t *testing.T) {
	c := newChain(t)
	dir := t.TempDir()
	s := serveIn(t, c, "alice", dir, nil)
	var made, again Invoice
	wish := CreateInvoice{Amount: 1000, Description: "one"}
	if err := s.Do(s.ctx, "POST", "/invoices", wish, &made, "key"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Do(s.ctx, "POST", "/invoices", wish, &again, "key"); err != nil || again != made {
			t.Fatalf("%+v, %v", again, err)
		}
		var e *Error
		other := CreateInvoice{Amount: 2000, Description: "one"}
		if err := s.Do(s.ctx, "POST", "/invoices", other, nil, "key"); !errors.As(err, &e) || e.Code != Conflict || e.Field != "Idempotency-Key" || e.Status() != 409 {
			t.Fatal(err)
		}
		s.stop()
		s = serveIn(t, c, "alice", dir, nil)
	}
	var all List[Invoice]
	s.must("GET", "/invoices", nil, &all)
	if len(all.Items) != 1 {
		t.Fatalf("%d invoices", len(all.Items))
	}
}

// rich mines coins for a node.
func (s *served) rich() {
	s.t.Helper()
	s.must("POST", "/chain/blocks", Mine{Blocks: 1}, nil)
	s.must("POST", "/chain/blocks", Mine{Blocks: 100, Address: burnAddress}, nil)
	s.until("coins", func() bool {
		var w Balance
		s.must("GET", "/wallet/balance", nil, &w)
		return w.Confirmed > 0
	})
}

// bump is the body of a BumpFee.
type bump struct {
	FeeRate    uint32 `json:"feerate_sat_per_kw"`
	FromAmount bool   `json:"from_amount"`
}

const burnAddress = "bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202"

// Coins are paid out, the fee is raised, also after a restart, and the books say so.
func TestWithdraw(t *testing.T) {
	c := newChain(t)
	dir := t.TempDir()
	s := serveIn(t, c, "alice", dir, nil)
	s.rich()
	var coins List[Coin]
	s.must("GET", "/wallet/coins", nil, &coins)
	if len(coins.Items) != 1 || coins.Items[0].State != "confirmed" || coins.Items[0].Height != 1 {
		t.Fatalf("%+v", coins)
	}
	var sent, twice Withdrawal
	wish := Withdraw{Address: burnAddress, Amount: 1_000_000, FeeRate: 500}
	for _, out := range []*Withdrawal{&sent, &twice} {
		if err := s.Do(s.ctx, "POST", "/wallet/withdrawals", wish, out, "pay"); err != nil {
			t.Fatal(err)
		}
	}
	if twice != sent || sent.Fee <= 0 {
		t.Fatal(sent, twice)
	}
	pool := func() string {
		if txs := c.Mempool(); len(txs) == 1 {
			return txs[0].TxHash().String()
		}
		return ""
	}
	s.until("the transaction", func() bool { return pool() == sent.Txid })
	s.wait("wallet.sent", "txid", sent.Txid)
	s.must("GET", "/wallet/coins", nil, &coins)
	if len(coins.Items) != 2 || coins.Items[0].State != "locked" || coins.Items[1].State != "unconfirmed" {
		t.Fatalf("%+v", coins)
	}

	s.stop()
	s = serveIn(t, c, "alice", dir, nil)
	var e *Error
	if err := s.Do(s.ctx, "POST", "/wallet/withdrawals/"+sent.Txid+"/bump", bump{FeeRate: 500}, nil, ""); !errors.As(err, &e) || e.Code != Refused {
		t.Fatal(err)
	}
	var bumped Withdrawal
	s.must("POST", "/wallet/withdrawals/"+sent.Txid+"/bump", bump{FeeRate: 2000}, &bumped)
	if bumped.Fee < 3*sent.Fee {
		t.Fatal(bumped, sent)
	}
	s.until("its replacement", func() bool { return pool() == bumped.Txid })
	if err := s.Do(s.ctx, "POST", "/wallet/withdrawals/"+sent.Txid+"/bump", bump{FeeRate: 3000}, nil, ""); !errors.As(err, &e) || e.Code != NotFound {
		t.Fatal(err)
	}
	s.must("POST", "/chain/blocks", Mine{Blocks: 1, Address: burnAddress}, nil)
	var txs List[Transaction]
	s.until("the confirmation", func() bool {
		s.must("GET", "/wallet/transactions", nil, &txs)
		return len(txs.Items) == 1 && txs.Items[0].State == "confirmed"
	})
	if x := txs.Items[0]; x.Txid != bumped.Txid || x.Fee != bumped.Fee || x.Net != -1_000_000-bumped.Fee || !x.Own || x.Bump {
		t.Fatalf("%+v", x)
	}
	var all, less Withdrawal
	s.must("POST", "/wallet/withdrawals", Withdraw{Address: burnAddress, All: true, FeeRate: 500}, &all)
	s.must("POST", "/wallet/withdrawals/"+all.Txid+"/bump", bump{FeeRate: 1000, FromAmount: true}, &less)
	s.must("POST", "/chain/blocks", Mine{Blocks: 1, Address: burnAddress}, nil)
	s.until("an empty wallet", func() bool {
		s.must("GET", "/wallet/coins", nil, &coins)
		return len(coins.Items) == 0
	})
	if !strings.Contains(s.text("/metrics"), "rod_wallet_fees_sat_total ") {
		t.Error("no fees in /metrics")
	}
}

// lsp is a node with a client: a channel of the LSP's with one that listens to nothing.
func lsp(t *testing.T, c *embedded.Chain) (l, client *served) {
	t.Helper()
	l = serve(t, c, "lsp")
	client = serveIn(t, c, "client", t.TempDir(), func(cfg *node.Config) { cfg.LSP, cfg.Listen = false, nil })
	l.rich()
	var info, me Info
	l.must("GET", "/node", nil, &info)
	client.must("GET", "/node", nil, &me)
	client.must("POST", "/peers", ConnectPeer{ID: info.ID, Addr: info.Addrs[0], Keep: true}, nil)
	l.until("the connection", func() bool {
		var peers List[Peer]
		l.must("GET", "/peers", nil, &peers)
		return len(peers.Items) == 1
	})
	l.must("POST", "/channels", OpenChannel{Peer: me.ID, Capacity: 1_000_000, Private: true}, nil)
	l.must("POST", "/chain/blocks", Mine{Blocks: 6, Address: burnAddress}, nil)
	l.wait("channel.usable")
	client.wait("channel.usable")
	return l, client
}

// What an LSP knows of a client, how it wakes it, and what it owes it.
func TestClients(t *testing.T) {
	l, client := lsp(t, newChain(t))
	id := hexOf(client.node.ID())
	const secret = "secret-in-the-path"
	if err := client.node.RegisterWebhook(l.ctx, l.node.ID(), "phone", "http://127.0.0.1:9/"+secret); err != nil {
		t.Fatal(err)
	}
	var c ClientInfo
	l.must("GET", "/clients/"+id, nil, &c)
	if c.ID != id || !c.Connected || c.Channels != 1 || c.Webhooks != 1 || c.Seen == "" || c.Wakes != 1 || c.Woken == "" {
		t.Fatalf("%+v", c)
	}
	var hooks List[Webhook]
	l.must("GET", "/webhooks", nil, &hooks)
	if len(hooks.Items) != 1 || hooks.Items[0].Client != id || hooks.Items[0].Name != "phone" || hooks.Items[0].Host != "127.0.0.1:9" || !hooks.Items[0].LSPS5 {
		t.Fatalf("%+v", hooks)
	}
	for _, path := range []string{"/v1/webhooks", "/v1/clients", "/v1/owed", "/v1/events?limit=1000", "/metrics"} {
		if strings.Contains(l.text(path), secret) {
			t.Errorf("%s tells the webhook", path)
		}
	}
	// Nobody answers on the webhook, so the notification is owed.
	var owed List[Owed]
	l.must("GET", "/owed", nil, &owed)
	if len(owed.Items) != 1 || owed.Items[0].Kind != "notification" || owed.Items[0].Peer != id || owed.Items[0].Since == "" {
		t.Fatalf("%+v", owed)
	}
	client.stop()
	l.until("the client to be away", func() bool {
		l.must("GET", "/clients/"+id, nil, &c)
		return !c.Connected && c.Wakes == 0
	})
	l.must("DELETE", "/webhooks/"+hooks.Items[0].ID, nil, nil)
	l.must("GET", "/webhooks", nil, &hooks)
	var all List[ClientInfo]
	l.must("GET", "/clients", nil, &all)
	if len(hooks.Items) != 0 || len(all.Items) != 1 || all.Items[0].Webhooks != 0 {
		t.Fatalf("%+v %+v", hooks, all)
	}
	l.wait("device.removed", "client", id)
	seen := all.Items[0].Seen
	dir, chain := l.dir, l.chain
	l.stop()
	l = serveIn(t, chain, "lsp", dir, nil)
	l.must("GET", "/clients", nil, &all)
	l.must("GET", "/webhooks", nil, &hooks)
	if len(hooks.Items) != 0 || len(all.Items) != 1 || all.Items[0].Seen != seen {
		t.Fatalf("after a restart: %+v %+v", hooks, all)
	}
}

// A channel that goes on chain says what each of its outputs waits for.
func TestPending(t *testing.T) {
	l, client := lsp(t, newChain(t))
	client.stop() // so that the commitment is not the client's
	var all List[Channel]
	waits := func(what string, f func([]Pending) bool) Pending {
		t.Helper()
		l.until(what, func() bool {
			l.must("GET", "/channels", nil, &all)
			return len(all.Items) == 1 && len(all.Items[0].Pending) == 1 && f(all.Items[0].Pending)
		})
		return all.Items[0].Pending[0]
	}
	l.must("GET", "/channels", nil, &all)
	if c := all.Items[0]; c.Pending == nil || len(c.Pending) != 0 {
		t.Fatalf("%+v", c)
	}
	funding := all.Items[0].Funding
	l.must("POST", "/channels/1/close", map[string]bool{"force": true}, nil)
	if p := waits("the close", func([]Pending) bool { return true }); p.What != "funding output" || p.State != "unclosed" || p.Out != funding || p.Amount != 1_000_000 {
		t.Fatalf("%+v", p)
	}
	l.until("the commitment", func() bool { return len(l.chain.Mempool()) > 0 })
	l.must("POST", "/chain/blocks", Mine{Blocks: 1, Address: burnAddress}, nil)
	p := waits("its confirmation", func(p []Pending) bool { return p[0].State == "claimable" })
	if p.What != "to_local" || p.Amount < 990_000 || p.Height <= l.node.Tip() || p.Deadline <= p.Height || p.By != "" {
		t.Fatalf("%+v", p)
	}
	l.must("POST", "/chain/blocks", Mine{Blocks: int(p.Height - l.node.Tip()), Address: burnAddress}, nil)
	l.until("the sweep", func() bool { return len(l.chain.Mempool()) > 0 })
	if p := waits("its fee", func(p []Pending) bool { return p[0].Fee > 0 }); p.State != "claimable" {
		t.Fatalf("%+v", p)
	}
	l.must("POST", "/chain/blocks", Mine{Blocks: 1, Address: burnAddress}, nil)
	if p := waits("the end of it", func(p []Pending) bool { return p[0].State == "spent" }); p.Height != l.node.Tip() || len(p.By) != 64 {
		t.Fatalf("%+v", p)
	}
}
