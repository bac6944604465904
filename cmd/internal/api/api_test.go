package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"lightningrod/node"
)

var errFound = errors.New("found")

// Two nodes, everything through the API: coins, connection, channel, invoice, payment, close.
func TestChannelAndPayment(t *testing.T) {
	c := newChain(t)
	a, b := serve(t, c, "alice"), serve(t, c, "bob")
	a.must("POST", "/chain/blocks", Mine{Blocks: 1}, nil)
	var burn Address
	b.must("POST", "/wallet/addresses", nil, &burn)
	a.must("POST", "/chain/blocks", Mine{Blocks: 100, Address: burn.Address}, nil)
	a.until("coins", func() bool {
		var w Balance
		a.must("GET", "/wallet/balance", nil, &w)
		return w.Confirmed > 0
	})
	var info Info
	b.must("GET", "/node", nil, &info)
	a.must("POST", "/peers", ConnectPeer{ID: info.ID, Addr: info.Addrs[0], Keep: true}, nil)
	var ref ChannelRef
	if err := a.Do(a.ctx, "POST", "/channels", OpenChannel{Peer: info.ID, Capacity: 1_000_000}, &ref, "open-1"); err != nil {
		t.Fatal(err)
	}
	var again ChannelRef
	if err := a.Do(a.ctx, "POST", "/channels", OpenChannel{Peer: info.ID, Capacity: 1_000_000}, &again, "open-1"); err != nil || again != ref {
		t.Fatalf("the same key opened %v after %v: %v", again, ref, err)
	}
	a.must("POST", "/chain/blocks", Mine{Blocks: 6, Address: burn.Address}, nil)
	a.wait("channel.usable", "channel", ref.Channel.String())
	b.wait("channel.usable")

	var inv Invoice
	b.must("POST", "/invoices", CreateInvoice{Amount: 21_000, Description: "a test"}, &inv)
	var paid Payment
	pay := Pay{Invoice: inv.Text, Wait: 20}
	if err := a.Do(a.ctx, "POST", "/payments", pay, &paid, "pay-1"); err != nil {
		t.Fatal(err)
	}
	if paid.State != "succeeded" || len(paid.Preimage) != 64 || paid.Hash != inv.Hash {
		t.Fatalf("%+v", paid)
	}
	var twice Payment
	if err := a.Do(a.ctx, "POST", "/payments", pay, &twice, "pay-1"); err != nil || twice != paid {
		t.Fatalf("the same key paid %+v: %v", twice, err)
	}
	b.must("GET", "/invoices/"+inv.Hash, nil, &inv)
	if inv.State != "paid" || inv.Received != 21_000 {
		t.Fatalf("%+v", inv)
	}
	var channels List[Channel]
	a.until("both ends to forget the HTLC", func() bool { // the preimage comes before that
		a.must("GET", "/channels", nil, &channels)
		return len(channels.Items) == 1 && channels.Items[0].Capacity == 1_000_000 && channels.Items[0].Remote == 21_000
	})
	var payments List[Payment]
	a.must("GET", "/payments", nil, &payments)
	if len(payments.Items) != 1 || payments.Items[0] != paid {
		t.Fatalf("%+v", payments)
	}
	metrics := a.text("/metrics")
	for _, want := range []string{`rod_channel_balance_msat{side="remote"} 21000`, "rod_channels_usable 1", `rod_store_transaction_seconds_bucket{le="+Inf"} `, "rod_settlements_owed 0", `rod_build_info{network="regtest"`, "rod_ready 1"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	a.must("POST", "/channels/"+ref.Channel.String()+"/close", nil, nil)
	a.until("the closing transaction", func() bool { return len(c.Mempool()) > 0 })
	a.must("POST", "/chain/blocks", Mine{Blocks: 6, Address: burn.Address}, nil)
	a.wait("channel.closed")
}

func (s *served) text(path string) string {
	s.t.Helper()
	resp, err := s.http.Get("http://rod" + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		s.t.Fatalf("%s: %s %v\n%s", path, resp.Status, err, b)
	}
	return string(b)
}

// Every wrong request says which field is wrong and what it must keep to.
func TestErrors(t *testing.T) {
	s := serve(t, newChain(t), "alice")
	id, zeros := hexOf(s.node.ID()), strings.Repeat("00", 32)
	last, next := Number(s.node.LastEvent()).String(), Number(s.node.LastEvent()+1).String()
	for _, x := range []struct {
		method, path, body string
		status             int
		code               Code
		field, bound       string
	}{
		{"GET", "/v1/nothing", "", 404, NotFound, "", ""},
		{"POST", "/v1/node", "", 404, NotFound, "", ""},
		{"POST", "/v1/channels", `{`, 422, Invalid, "body", "one JSON object"},
		{"POST", "/v1/channels", `{} {}`, 422, Invalid, "body", "one JSON object"},
		{"POST", "/v1/channels", `[1]`, 422, Invalid, "body", "one JSON object"},
		{"POST", "/v1/channels", `{"peers":1}`, 422, Invalid, "peers", ""},
		{"POST", "/v1/channels", `{"capacity_sat":5}`, 422, Invalid, "peer", "66 hex digits"},
		{"POST", "/v1/channels", `{"peer":"02","capacity_sat":5}`, 422, Invalid, "peer", "66 hex digits"},
		{"POST", "/v1/channels", `{"peer":"` + id + `","capacity_sat":5}`, 422, Invalid, "capacity_sat", "1000 to 2100000000000000"},
		{"POST", "/v1/channels", `{"peer":"` + id + `","capacity_sat":-5}`, 422, Invalid, "capacity_sat", "uint64"},
		{"POST", "/v1/channels", `{"peer":"` + id + `","capacity_sat":"5"}`, 422, Invalid, "capacity_sat", "uint64"},
		{"POST", "/v1/channels", `{"peer":"` + id + `","capacity_sat":5000,"push_msat":5000001}`, 422, Invalid, "push_msat", "at most the capacity"},
		{"POST", "/v1/channels", `{"peer":"` + id + `","capacity_sat":50000}`, 422, Invalid, "peer", "a connected peer"},
		{"POST", "/v1/channels/7/close", "", 404, NotFound, "channel", ""},
		{"POST", "/v1/channels/x/close", "", 422, Invalid, "channel", "a decimal number"},
		{"GET", "/v1/channels/18446744073709551616", "", 422, Invalid, "channel", "a decimal number"},
		{"POST", "/v1/peers", `{"id":"` + id + `","address":"nowhere"}`, 422, Invalid, "address", "host:port"},
		{"POST", "/v1/peers", `{"id":"` + id + `","address":"127.0.0.1:1"}`, 422, Invalid, "id", "another node"},
		{"POST", "/v1/invoices", `{"amount_msat":2100000000000000001}`, 422, Invalid, "amount_msat", "at most 2100000000000000000"},
		{"POST", "/v1/invoices", `{"description":"` + strings.Repeat("x", 640) + `"}`, 422, Invalid, "description", "at most 639 bytes"},
		{"GET", "/v1/invoices/00", "", 422, Invalid, "payment_hash", "64 hex digits"},
		{"GET", "/v1/invoices/" + strings.Repeat("00", 32), "", 404, NotFound, "payment_hash", ""},
		{"GET", "/v1/invoices?limit=1001", "", 422, Invalid, "limit", "0 to 1000"},
		{"GET", "/v1/invoices?limit=-1", "", 422, Invalid, "limit", "0 to 1000"},
		{"GET", "/v1/invoices?after=zz", "", 422, Invalid, "after", "a cursor of this list"},
		{"GET", "/v1/invoices?from=zz", "", 422, Invalid, "from", ""},
		{"POST", "/v1/payments", `{}`, 422, Invalid, "bolt11", "at most 7089 bytes"},
		{"POST", "/v1/payments", `{"bolt11":"lnbcrt1"}`, 422, Refused, "", ""},
		{"POST", "/v1/payments", `{"bolt11":"x","parts":17}`, 422, Invalid, "parts", "0 to 16"},
		{"POST", "/v1/payments/async", `{"bolt11":"x","lsp":"` + id + `","hold_blocks":2000}`, 422, Invalid, "hold_blocks", "at most 1008"},
		{"GET", "/v1/payments/9", "", 404, NotFound, "id", ""},
		{"POST", "/v1/payments/9/cancel", "", 404, NotFound, "id", ""},
		{"POST", "/v1/wallet/withdrawals", `{"address":"x"}`, 422, Invalid, "amount_sat", "exactly one of amount_sat and all"},
		{"POST", "/v1/wallet/withdrawals", `{"address":"x","amount_sat":1,"all":true}`, 422, Invalid, "amount_sat", "exactly one of amount_sat and all"},
		{"POST", "/v1/wallet/withdrawals", `{"address":"x","amount_sat":1}`, 422, Invalid, "address", "an address of regtest"},
		{"POST", "/v1/wallet/withdrawals", `{"address":"x","amount_sat":1,"feerate_sat_per_kw":252}`, 422, Invalid, "feerate_sat_per_kw", "0, or at least 253"},
		{"POST", "/v1/wallet/withdrawals", `{"address":"bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202","amount_sat":1000}`, 422, Refused, "", ""},
		{"POST", "/v1/wallet/withdrawals/00/bump", `{"feerate_sat_per_kw":253}`, 422, Invalid, "txid", "64 hex digits"},
		{"POST", "/v1/wallet/withdrawals/" + zeros + "/bump", `{"feerate_sat_per_kw":253}`, 404, NotFound, "txid", ""},
		{"POST", "/v1/wallet/withdrawals/" + zeros + "/bump", `{"feerate_sat_per_kw":252}`, 422, Invalid, "feerate_sat_per_kw", "253 to 250000"},
		{"POST", "/v1/held/1/0/fail", "", 404, NotFound, "htlc_id", ""},
		{"POST", "/v1/held/1/0/fail", `{"x":1}`, 422, Invalid, "body", "empty"},
		{"POST", "/v1/held/1/-1/fail", "", 422, Invalid, "htlc_id", "a decimal number"},
		{"POST", "/v1/owed/notification:7/nudge", "", 404, NotFound, "id", ""},
		{"GET", "/v1/mailbox/00", "", 422, Invalid, "client", "66 hex digits"},
		{"DELETE", "/v1/mailbox/" + id + "/7", "", 404, NotFound, "id", ""},
		{"GET", "/v1/clients/00", "", 422, Invalid, "id", "66 hex digits"},
		{"GET", "/v1/clients/" + id, "", 404, NotFound, "id", ""},
		{"DELETE", "/v1/webhooks/0011223344556677", "", 404, NotFound, "id", ""},
		{"DELETE", "/v1/webhooks/x", "", 422, Invalid, "id", "16 hex digits"},
		{"GET", "/v1/owed?after=x", "", 422, Invalid, "after", "a cursor of this list"},
		{"GET", "/v1/events?from=1&after=1", "", 422, Invalid, "after", "not together with from"},
		{"GET", "/v1/events?from=x", "", 422, Invalid, "from", "a decimal number"},
		{"GET", "/v1/events?after=18446744073709551615", "", 422, Invalid, "after", "at most " + last},
		{"GET", "/v1/events?after=1000000", "", 422, Invalid, "after", "at most " + last},
		{"GET", "/v1/events?from=1000000", "", 422, Invalid, "from", "at most " + next},
		{"POST", "/v1/chain/blocks", `{"blocks":0}`, 422, Invalid, "blocks", "1 to 1000"},
		{"POST", "/v1/chain/blocks", `{"blocks":1,"address":"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"}`, 422, Invalid, "address", "an address of regtest"},
		{"POST", "/v1/tokens", `{"name":"x","scope":"root"}`, 422, Invalid, "scope", "read, invoice or admin"},
		{"POST", "/v1/invoices", `{"description":"` + strings.Repeat("x", 70_000) + `"}`, 413, TooLarge, "body", "at most 65536 bytes"},
	} {
		r := httptest.NewRequest(x.method, x.path, strings.NewReader(x.body))
		w := httptest.NewRecorder()
		s.server.Handler(true).ServeHTTP(w, r)
		var failed errorBody
		if err := json.Unmarshal(w.Body.Bytes(), &failed); err != nil || failed.Error == nil {
			t.Errorf("%s %s %.60s: %d %s", x.method, x.path, x.body, w.Code, w.Body)
			continue
		}
		if e := failed.Error; w.Code != x.status || e.Code != x.code || e.Field != x.field || e.Bound != x.bound || e.Message == "" {
			t.Errorf("%s %s %.60s: %d %+v", x.method, x.path, x.body, w.Code, *e)
		}
	}
}

// What the node refuses has changed nothing; what its end interrupted may have been done, and its idempotency key stays taken.
func TestAsError(t *testing.T) {
	for err, want := range map[error]Code{
		errors.New("no route"): Refused, fmt.Errorf("x: %w", node.ErrStopped): Unavailable, fmt.Errorf("x: %w", context.DeadlineExceeded): Unavailable,
		invalid("field", "bound", "text"): Invalid,
	} {
		if e := asError(err); e.Code != want {
			t.Errorf("%v is %s, want %s", err, e.Code, want)
		}
	}
}

// What a token may do is its scope's, and a token that was voided may do nothing.
func TestTokens(t *testing.T) {
	s := serve(t, newChain(t), "alice")
	secrets := map[Scope]string{}
	for _, scope := range []Scope{Read, InvoiceRW, Admin} {
		var made NewToken
		s.must("POST", "/tokens", CreateToken{Name: "for " + string(scope), Scope: string(scope)}, &made)
		secrets[scope] = made.Token
	}
	file, err := os.ReadFile(s.dir + "/tokens.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range secrets {
		if bytes.Contains(file, []byte(secret[4:])) {
			t.Fatal("a token is in the file")
		}
	}
	ask := func(secret, method, path string) int {
		r := httptest.NewRequest(method, path, strings.NewReader(""))
		if secret != "" {
			r.Header.Set("Authorization", "Bearer "+secret)
		}
		w := httptest.NewRecorder()
		s.server.Handler(false).ServeHTTP(w, r)
		return w.Code
	}
	for _, x := range []struct {
		method, path                       string
		none, wrong, read, invoice, admins int
	}{
		{"GET", "/v1/healthz", 200, 200, 200, 200, 200},
		{"GET", "/readyz", 200, 200, 200, 200, 200},
		{"GET", "/v1/openapi.json", 200, 200, 200, 200, 200},
		{"GET", "/v1/node", 401, 401, 200, 200, 200},
		{"GET", "/v1/channels", 401, 401, 200, 403, 200},
		{"GET", "/v1/invoices", 401, 401, 200, 200, 200},
		{"POST", "/v1/invoices", 401, 401, 403, 200, 200},
		{"POST", "/v1/wallet/addresses", 401, 401, 403, 403, 200},
		{"GET", "/v1/tokens", 401, 401, 403, 403, 200},
		{"GET", "/v1/wallet/coins", 401, 401, 200, 403, 200},
		{"POST", "/v1/wallet/withdrawals", 401, 401, 403, 403, 422},
		{"GET", "/v1/owed", 401, 401, 200, 403, 200},
		{"POST", "/v1/owed/message:1/nudge", 401, 401, 403, 403, 404},
		{"POST", "/v1/held/1/0/fail", 401, 401, 403, 403, 404},
		{"DELETE", "/v1/mailbox/" + strings.Repeat("02", 33) + "/1", 401, 401, 403, 403, 404},
		{"GET", "/v1/clients", 401, 401, 200, 403, 200},
		{"GET", "/v1/webhooks", 401, 401, 200, 403, 200},
		{"DELETE", "/v1/webhooks/0011223344556677", 401, 401, 403, 403, 404},
		{"GET", "/v1/events", 401, 401, 200, 403, 200},
		{"GET", "/metrics", 401, 401, 200, 403, 200},
	} {
		got := [5]int{ask("", x.method, x.path), ask("rod_00", x.method, x.path), ask(secrets[Read], x.method, x.path),
			ask(secrets[InvoiceRW], x.method, x.path), ask(secrets[Admin], x.method, x.path)}
		if want := [5]int{x.none, x.wrong, x.read, x.invoice, x.admins}; got != want {
			t.Errorf("%s %s: %v, want %v", x.method, x.path, got, want)
		}
	}
	// They are known after a restart, until they are voided.
	again, err := openTokens(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	if tok, ok := again.find(secrets[Read]); !ok || tok.Scope != Read {
		t.Fatal("a token was forgotten")
	}
	s.must("DELETE", "/tokens/for%20read", nil, nil)
	if code := ask(secrets[Read], "GET", "/v1/node"); code != 401 {
		t.Fatalf("a voided token: %d", code)
	}
}

// Every route is in the document, and the document refers to nothing that it lacks.
func TestOpenAPI(t *testing.T) {
	text, err := json.Marshal(OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		}
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	operations, total := map[string]bool{}, 0
	for _, rt := range routes {
		op, ok := doc.Paths[rt.path][strings.ToLower(rt.method)]
		if !ok {
			t.Errorf("%s %s is not in the document", rt.method, rt.path)
		}
		if operations[op.OperationID] {
			t.Errorf("two operations %s", op.OperationID)
		}
		operations[op.OperationID] = true
	}
	for _, methods := range doc.Paths {
		total += len(methods)
	}
	if total != len(routes) {
		t.Errorf("%d operations, %d routes", total, len(routes))
	}
	for _, part := range strings.Split(string(text), `"#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		if doc.Components.Schemas[name] == nil {
			t.Errorf("no schema %s", name)
		}
	}
}

// A page's cursor leads to the next, and a stream goes on after it.
func TestEventsResume(t *testing.T) {
	s := serve(t, newChain(t), "alice")
	s.must("POST", "/chain/blocks", Mine{Blocks: 5}, nil)
	s.wait("block", "height", "5")
	var first, second List[Event]
	s.must("GET", "/events?limit=2", nil, &first)
	s.must("GET", "/events?limit=2&after="+first.Next, nil, &second)
	if len(first.Items) != 2 || len(second.Items) != 2 || second.Items[0].Seq != first.Items[1].Seq+1 {
		t.Fatalf("%+v, then %+v", first, second)
	}
	var got Event
	err := s.Follow(s.ctx, Number(first.Items[1].Seq), func(ev Event) error { got = ev; return errFound })
	if err != errFound || got.Seq != second.Items[0].Seq {
		t.Fatalf("%+v, %v", got, err)
	}
	// A stream ends when the node drains, and nothing is begun any more.
	r, _ := http.NewRequestWithContext(s.ctx, "GET", "http://rod/v1/events", nil)
	r.Header.Set("Accept", "text/event-stream")
	resp, err := s.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	s.server.Drain()
	for sc := bufio.NewScanner(resp.Body); sc.Scan(); {
	}
	var e *Error
	if err := s.Do(s.ctx, "POST", "/wallet/addresses", nil, nil, ""); !errors.As(err, &e) || e.Code != Unavailable {
		t.Fatalf("while draining: %v", err)
	}
	var info Info
	s.must("GET", "/node", nil, &info)
	if info.State != "draining" {
		t.Fatal(info.State)
	}
}

// A key does its thing once, over a restart too; what a crash interrupted is said to be unknown.
func TestIdempotency(t *testing.T) {
	dir := t.TempDir()
	open := func() *ledger {
		l, err := openLedger(dir)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := open()
	done := 0
	do := func(key, body string, status int) (int, string) {
		r := httptest.NewRequest("POST", "/v1/x", nil)
		r.Header.Set("Idempotency-Key", key)
		s, b := l.once(r, "", []byte(body), false, func() (int, []byte) {
			done++
			return status, []byte("{\"n\":" + Number(done).String() + "}\n")
		})
		return s, strings.TrimSpace(string(b))
	}
	check := func(key, body string, status, want int, answer string) {
		t.Helper()
		if s, b := do(key, body, status); s != want || !strings.Contains(b, answer) {
			t.Fatalf("%s %s: %d %s, want %d %s", key, body, s, b, want, answer)
		}
	}
	check("a", "1", 200, 200, `{"n":1}`)
	check("a", "1", 200, 200, `{"n":1}`)
	check("a", "2", 200, 409, "another request")
	check("b", "1", 422, 422, `{"n":2}`) // refused: the key is free
	check("b", "1", 200, 200, `{"n":3}`)
	check("c", "1", 503, 503, `{"n":4}`) // the node ended in the middle
	check(strings.Repeat("k", 65), "1", 200, 422, "above 64")
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(dir+"/requests.jsonl", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(`{"key":"torn","req`)
	f.Close()
	l = open()
	defer l.close()
	check("a", "1", 200, 200, `{"n":1}`)
	check("b", "1", 200, 200, `{"n":3}`)
	check("c", "1", 200, 409, "unknown_outcome")
	if done != 4 {
		t.Fatalf("done %d times", done)
	}
}

// Whatever comes as a body or a query, an answer is JSON and no request makes the server panic.
func FuzzRequests(f *testing.F) {
	s := serve(f, newChain(f), "alice")
	handler := s.server.Handler(true)
	for _, body := range []string{`{}`, `{"peer":"02","capacity_sat":1e400}`, `{"bolt11":"lnbcrt1","amount_msat":18446744073709551615}`, "\x00", `{"a":{"a":[]}}`, `{"id":null}`} {
		for i := range routes {
			f.Add(uint8(i), body, "after=1&limit=2")
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, body, query string) {
		rt := routes[int(which)%len(routes)]
		if rt.path == "/v1/chain/blocks" || rt.path == "/v1/tokens" {
			t.Skip("mines, writes")
		}
		r := httptest.NewRequest(rt.method, strings.NewReplacer("{channel}", "1", "{htlc_id}", "1", "{client}", "02", "{id}", "1", "{payment_hash}", "00", "{name}", "x", "{txid}", "00").Replace(rt.path), strings.NewReader(body))
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if !json.Valid(w.Body.Bytes()) || w.Code == 500 {
			t.Fatalf("%s %s %q %q: %d %s", rt.method, rt.path, body, query, w.Code, w.Body)
		}
	})
}
