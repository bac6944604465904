package main

import (
	"encoding/json"
	"io"
	"maps"
	"strings"
	"testing"

	"lightningrod/regtest"
)

// daemon plays lightningd.
type daemon struct {
	t   *testing.T
	in  *json.Encoder
	out *json.Decoder
}

func newDaemon(t *testing.T) *daemon {
	fromUs, toPlugin := io.Pipe()
	fromPlugin, toUs := io.Pipe()
	done := make(chan error)
	go func() { done <- run(fromUs, toUs) }()
	t.Cleanup(func() {
		toPlugin.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return &daemon{t, json.NewEncoder(toPlugin), json.NewDecoder(fromPlugin)}
}

func (d *daemon) send(id any, method, params string) {
	d.t.Helper()
	m := map[string]any{"jsonrpc": "2.0", "method": method, "params": json.RawMessage(params)}
	if id != nil {
		m["id"] = id
	}
	if err := d.in.Encode(m); err != nil {
		d.t.Fatal(err)
	}
}

// answer is the next one, whatever it answers; an error is in words.
func (d *daemon) answer() (id, result string) {
	d.t.Helper()
	var a struct {
		ID     string
		Result json.RawMessage
		Error  *struct{ Message string }
	}
	if err := d.out.Decode(&a); err != nil {
		d.t.Fatal(err)
	}
	if a.Error != nil {
		return a.ID, a.Error.Message
	}
	return a.ID, string(a.Result)
}

func (d *daemon) ask(method, params string) string {
	d.t.Helper()
	d.send(method, method, params)
	id, result := d.answer()
	if id != method {
		d.t.Fatalf("the answer to %s is to %s", method, id)
	}
	return result
}

func (d *daemon) want(result, method, params string) {
	d.t.Helper()
	if got := d.ask(method, params); got != result {
		d.t.Errorf("%s: %s, want %s", method, got, result)
	}
}

// Everything that the plugin says it answers it knows, and the other way round.
func TestManifest(t *testing.T) {
	d := newDaemon(t)
	var m struct {
		Methods       []struct{ Name string } `json:"rpcmethods"`
		Hooks         []struct{ Name string }
		Subscriptions []string
	}
	if err := json.Unmarshal([]byte(d.ask("getmanifest", `{}`)), &m); err != nil {
		t.Fatal(err)
	}
	left := maps.Clone(requests)
	delete(left, "getmanifest")
	delete(left, "init")
	for _, x := range append(m.Methods, m.Hooks...) {
		if left[x.Name] == nil {
			t.Errorf("%s is not answered", x.Name)
		}
		delete(left, x.Name)
	}
	if len(left) > 0 || len(m.Subscriptions) != len(notifications) {
		t.Errorf("not in the manifest: %v; topics %v", left, m.Subscriptions)
	}
}

// An HTLC waits if it was asked for, until it is settled or near its expiry; all others go on.
func TestHodl(t *testing.T) {
	d := newDaemon(t)
	const goesOn = `{"result":"continue"}`
	htlc := func(hash string) string {
		return `{"onion":{},"htlc":{"payment_hash":"` + hash + `","amount_msat":5000,"cltv_expiry":200}}`
	}
	d.want(goesOn, "htlc_accepted", htlc("aa"))
	for _, end := range []string{"settled", "late"} {
		d.want(`{}`, "regtest-hodl", `{"payment_hash":"`+end+`"}`)
		d.want(`{"htlcs":0}`, "regtest-waiting", `{"payment_hash":"`+end+`"}`)
		d.send(end, "htlc_accepted", htlc(end))
		for d.ask("regtest-waiting", `{"payment_hash":"`+end+`"}`) != `{"htlcs":1}` {
		}
		d.want(goesOn, "htlc_accepted", htlc("aa"))
	}
	d.send(nil, "block_added", `{"block_added":{"hash":"00","height":187}}`)
	d.want(`{"htlcs":1}`, "regtest-waiting", `{"payment_hash":"late"}`)
	d.send("settle", "regtest-settle", `{"payment_hash":"settled"}`)
	for range 2 { // in either order
		switch id, result := d.answer(); {
		case id == "settled" && result == goesOn, id == "settle" && result == `{}`:
		default:
			t.Errorf("%s: %s", id, result)
		}
	}
	d.send(nil, "block_added", `{"block_added":{"hash":"00","height":188}}`)
	id, result := d.answer()
	if want := `{"failure_message":"400f0000000000001388000000bc","result":"fail"}`; id != "late" || result != want {
		t.Errorf("%s: %s, want %s", id, result, want)
	}
}

// What the payer says of its HTLCs is kept, with the hop.
func TestFailure(t *testing.T) {
	d := newDaemon(t)
	const nothing = `{"code":0,"hop":0}`
	d.want(nothing, "regtest-failure", `{"payment_hash":"aa"}`)
	d.send(nil, "pay_part_start", `{"pay_part_start":{"payment_hash":"aa","hops":[{"next_node":"02"},{"next_node":"03"}]}}`)
	d.send(nil, "pay_part_end", `{"pay_part_end":{"payment_hash":"aa","status":"failure","failed_node_id":"03","error_code":16399}}`)
	d.want(`{"code":16399,"hop":2}`, "regtest-failure", `{"payment_hash":"aa"}`)
	d.send(nil, "pay_part_end", `{"pay_part_end":{"payment_hash":"aa","status":"failure","error_code":4103}}`)
	d.want(`{"code":4103,"hop":0}`, "regtest-failure", `{"payment_hash":"aa"}`)
	d.want(nothing, "regtest-failure", `{"payment_hash":"bb"}`)
}

func TestMessages(t *testing.T) {
	d := newDaemon(t)
	d.want(`{"result":"continue"}`, "onion_message_recv", `{"onion_message":{"unknown_fields":[{"number":1380926475,"value":"0aff"}]}}`)
	d.want(`{"messages":[{"1380926475":"0aff"}]}`, "regtest-messages", `{}`)
	d.want(`{"result":"continue"}`, "custommsg", `{"payload":"94197b7d","peer_id":"02"}`)
	d.want(`{"messages":[{"peer_id":"02","payload":"94197b7d"}]}`, "regtest-custom", `{}`)
}

// The chain as lightningd asks for it, from a real bitcoind.
func TestChain(t *testing.T) {
	btc := regtest.Bitcoind(t)
	hash := btc.Mine(1, []byte{0x51})[0].String()
	d := newDaemon(t)
	d.want(`{}`, "init", `{"options":{"regtest-bitcoind":"`+btc.Access.Addr+`","regtest-cookie":"`+btc.Access.Cookie+`"}}`)
	d.want(`{"blockcount":1,"chain":"regtest","headercount":1,"ibd":false}`, "getchaininfo", `{"last_height":0}`)
	var block struct{ Blockhash, Block string }
	if err := json.Unmarshal([]byte(d.ask("getrawblockbyheight", `{"height":1}`)), &block); err != nil || block.Blockhash != hash {
		t.Errorf("%+v, %v, want %s", block, err, hash)
	}
	d.want(`{"block":null,"blockhash":null}`, "getrawblockbyheight", `{"height":2}`)
	var coinbase struct{ Tx []string }
	btc.Call(&coinbase, "getblock", hash, 1)
	d.want(`{"amount":5000000000,"script":"51"}`, "getutxout", `{"txid":"`+coinbase.Tx[0]+`","vout":0}`)
	d.want(`{"amount":null,"script":null}`, "getutxout", `{"txid":"`+coinbase.Tx[0]+`","vout":7}`)
	if got := d.ask("sendrawtransaction", `{"tx":"00","allowhighfees":true}`); !strings.HasSuffix(got, `"success":false}`) {
		t.Errorf("a transaction that is none: %s", got)
	}
	var fees struct {
		Floor int64                             `json:"feerate_floor"`
		Rates []struct{ Blocks, Feerate int64 } `json:"feerates"`
	}
	if err := json.Unmarshal([]byte(d.ask("estimatefees", `{}`)), &fees); err != nil {
		t.Fatal(err)
	}
	for i, r := range fees.Rates {
		if r.Feerate != 2*fees.Floor || i > 0 && r.Blocks <= fees.Rates[i-1].Blocks {
			t.Errorf("%+v", fees)
		}
	}
}
