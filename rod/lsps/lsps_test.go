package lsps

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"crypto/sha256"

	"lightningrod/rod"

	"github.com/btcsuite/btcd/btcec/v2"
)

func node(name string) rod.NodeID {
	h := sha256.Sum256([]byte("key " + name))
	k, _ := btcec.PrivKeyFromBytes(h[:])
	return rod.NodeID(k.PubKey().SerializeCompressed())
}

// desk is a Server with its disk.
type desk struct {
	t *testing.T
	*Server
	cfg  DeviceConfig
	disk map[string]rod.Row
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, cfg: DefaultDeviceConfig(), disk: map[string]rod.Row{}}
	devices, err := LoadDevices(d.cfg)
	if err != nil {
		t.Fatal(err)
	}
	d.Server = &Server{Devices: devices, Rod: rod.DefaultConfig(node("lsp"))}
	return d
}

func (d *desk) write(rows []rod.Row) {
	d.t.Helper()
	for _, r := range rows {
		if r.Value == nil {
			delete(d.disk, string(r.Key))
		} else {
			d.disk[string(r.Key)] = r
		}
	}
	var all []rod.Row
	for _, k := range slices.Sorted(maps.Keys(d.disk)) {
		all = append(all, d.disk[k])
	}
	again, err := LoadDevices(d.cfg, all...)
	if err != nil {
		d.t.Fatal(err)
	}
	show := func(x *Devices) string {
		var lines []string
		for client, r := range x.clients {
			lines = append(lines, fmt.Sprintf("%x %d %v", client, r.lapse, x.Of(client)))
		}
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	if a, b := show(d.Devices), show(again); a != b {
		d.t.Fatalf("loaded\n%s\nis not\n%s", b, a)
	}
}

func (d *desk) call(method, params string) Result {
	d.t.Helper()
	r := d.Handle(Call{Client: node("A"), HasChannel: true, Now: 1000,
		Payload: []byte(`{"jsonrpc":"2.0","id":"x","method":"` + method + `","params":` + params + `}`)})
	d.write(r.Rows)
	return r
}

func short(s string) string { return `{"app_name":"` + s + `","webhook":"https://example.org/push"}` }

// TestCalls: a table of calls and their answers, byte for byte. Calls of one group follow each other.
func TestCalls(t *testing.T) {
	const ok, bad = `{"jsonrpc":"2.0","id":"x","result":`, `{"jsonrpc":"2.0","id":"x","error":`
	url := "https://www.example.org/push?l=1234567890abcdefghijklmnopqrstuv&c=best"
	for _, group := range []struct {
		name  string
		calls [][3]string
	}{
		{"LSPS0", [][3]string{
			{"lsps0.list_protocols", `{}`, ok + `{"protocols":[5]}}`},
			{"lsps0.list_protocols", `{"x":1,"a":2}`, bad + `{"code":-32602,"message":"Invalid params","data":{"unrecognized":["a","x"]}}}`},
			{"lsps0.list_protocols", `[]`, bad + `{"code":-32602,"message":"params is not an object","data":{"unrecognized":[]}}}`},
			{"lsps0.other", `{}`, bad + `{"code":-32601,"message":"Method not found"}}`},
		}},
		{"LSPS5", [][3]string{
			{"lsps5.list_webhooks", `{}`, ok + `{"app_names":[],"max_webhooks":10}}`},
			{"lsps5.set_webhook", `{"app_name":"My LSPS-Compliant Lightning Client","webhook":"` + url + `"}`, ok + `{"num_webhooks":1,"max_webhooks":10,"no_change":false}}`},
			{"lsps5.set_webhook", `{"app_name":"My LSPS-Compliant Lightning Client","webhook":"` + url + `"}`, ok + `{"num_webhooks":1,"max_webhooks":10,"no_change":true}}`},
			{"lsps5.set_webhook", `{"app_name":"My LSPS-Compliant Lightning Client","webhook":"` + url + `2"}`, ok + `{"num_webhooks":1,"max_webhooks":10,"no_change":false}}`},
			{"lsps5.set_webhook", short("b"), ok + `{"num_webhooks":2,"max_webhooks":10,"no_change":false}}`},
			{"lsps5.list_webhooks", `{}`, ok + `{"app_names":["My LSPS-Compliant Lightning Client","b"],"max_webhooks":10}}`},
			{"lsps5.remove_webhook", `{"app_name":"b"}`, ok + `{}}`},
			{"lsps5.remove_webhook", `{"app_name":"b"}`, bad + `{"code":1010,"message":"app_name not found"}}`},
			{"lsps5.set_webhook", `{"app_name":"b"}`, bad + `{"code":-32602,"message":"webhook is missing","data":{"unrecognized":[]}}}`},
			{"lsps5.set_webhook", `{"app_name":7,"webhook":"https://a/"}`, bad + `{"code":-32602,"message":"app_name has the wrong type","data":{"unrecognized":[]}}}`},
		}},
		{"LSPS5 lengths", [][3]string{
			{"lsps5.set_webhook", short(strings.Repeat("a", 64)), ok + `{"num_webhooks":1,"max_webhooks":10,"no_change":false}}`},
			{"lsps5.set_webhook", short(strings.Repeat("a", 65)), bad + `{"code":500,"message":"app_name length 65 above maximum 64"}}`},
			{"lsps5.set_webhook", short(strings.Repeat(`\n`, 33)), bad + `{"code":500,"message":"app_name length 66 above maximum 64"}}`},
			{"lsps5.set_webhook", short(strings.Repeat("é", 33)), bad + `{"code":500,"message":"app_name length 66 above maximum 64"}}`},
			{"lsps5.set_webhook", `{"app_name":"b","webhook":"https://` + strings.Repeat("a", 1017) + `"}`, bad + `{"code":500,"message":"webhook length 1025 above maximum 1024"}}`},
		}},
		{"LSPS5 URLs", [][3]string{
			{"lsps5.set_webhook", `{"app_name":"b","webhook":"rubbish"}`, bad + `{"code":501,"message":"webhook is not a URL"}}`},
			{"lsps5.set_webhook", `{"app_name":"b","webhook":"https://"}`, bad + `{"code":501,"message":"webhook is not a URL"}}`},
			{"lsps5.set_webhook", `{"app_name":"b","webhook":"https://ex ample.org"}`, bad + `{"code":501,"message":"webhook is not a URL"}}`},
			{"lsps5.set_webhook", `{"app_name":"b","webhook":"https://exämple.org"}`, bad + `{"code":501,"message":"webhook is not a URL"}}`},
			{"lsps5.set_webhook", `{"app_name":"b","webhook":"https://user:secret@example.org"}`, bad + `{"code":501,"message":"webhook is not a URL"}}`},
			{"lsps5.set_webhook", `{"app_name":"b","webhook":"http://example.org/"}`, bad + `{"code":502,"message":"webhook is not https"}}`},
			{"lsps5.set_webhook", `{"app_name":"b","webhook":"http://127.0.0.1:80/"}`, bad + `{"code":502,"message":"webhook is not https"}}`},
			{"lsps5.set_webhook", `{"app_name":"b","webhook":"ftp://example.org/"}`, bad + `{"code":502,"message":"webhook is not https"}}`},
		}},
		{"devices", [][3]string{
			{"rod.register_device", `{"platform":"fcm","token":"secret-token"}`, ok + `{"num_devices":1,"max_devices":10,"no_change":false}}`},
			{"rod.register_device", `{"platform":"fcm","token":"secret-token"}`, ok + `{"num_devices":1,"max_devices":10,"no_change":true}}`},
			{"rod.register_device", `{"platform":"apns","token":"secret-token"}`, ok + `{"num_devices":2,"max_devices":10,"no_change":false}}`},
			{"rod.register_device", `{"platform":"webhook","token":"https://example.org/"}`, ok + `{"num_devices":3,"max_devices":10,"no_change":false}}`},
			{"rod.register_device", `{"platform":"webhook","token":"http://example.org/"}`, bad + `{"code":502,"message":"webhook is not https"}}`},
			{"rod.register_device", `{"platform":"pager","token":"x"}`, bad + `{"code":-32602,"message":"platform is none of fcm, apns, webhook","data":{"unrecognized":[]}}}`},
			{"rod.register_device", `{"platform":"fcm","token":""}`, bad + `{"code":-32602,"message":"token length 0 outside 1 to 4096","data":{"unrecognized":[]}}}`},
			{"lsps5.list_webhooks", `{}`, ok + `{"app_names":[],"max_webhooks":10}}`},
			{"rod.unregister_device", `{"platform":"fcm","token":"secret-token"}`, ok + `{}}`},
			{"rod.unregister_device", `{"platform":"fcm","token":"secret-token"}`, ok + `{}}`},
			{"rod.get_info", `{}`, ok + `{"version":1,"enabled":true,"min_cltv_delta":144,"default_hold_blocks":432,"max_hold_blocks":1008,"claim_margin_blocks":72,` +
				`"armed_ttl_seconds":600,"max_armed_ttl_seconds":3600,"max_armed_requests":20,"max_held_htlcs":30,"max_devices":10}}`},
		}},
		{"rod.hold, not readable", [][3]string{
			{"rod.hold", `{"pid_hash":"00"}`, bad + `{"code":-32602,"message":"payment_hashes is missing","data":{"unrecognized":[]}}}`},
			{"rod.hold", `{"pid_hash":"00","payment_hashes":[]}`, bad + `{"code":-32602,"message":"pid_hash: length 2 is not 64 hex digits","data":{"unrecognized":[]}}}`},
			{"rod.hold", `{"pid_hash":"` + strings.Repeat("0", 64) + `","payment_hashes":[]}`, bad + `{"code":-32602,"message":"pid_hash: all zeros","data":{"unrecognized":[]}}}`},
			{"rod.hold", `{"pid_hash":"` + strings.Repeat("11", 32) + `","payment_hashes":["zz"]}`, bad + `{"code":-32602,"message":"payment_hashes: length 2 is not 64 hex digits","data":{"unrecognized":[]}}}`},
			{"rod.hold", `{"pid_hash":"` + strings.Repeat("11", 32) + `","payment_hashes":[],"total_msat":5}`, bad + `{"code":-32602,"message":"total_msat has the wrong type","data":{"unrecognized":[]}}}`},
			{"rod.hold", `{"pid_hash":"` + strings.Repeat("11", 32) + `","payment_hashes":[],"release_deadline":4294967296}`, bad + `{"code":-32602,"message":"release_deadline has the wrong type","data":{"unrecognized":[]}}}`},
		}},
	} {
		t.Run(group.name, func(t *testing.T) {
			d := newDesk(t)
			for _, c := range group.calls {
				if got := string(d.call(c[0], c[1]).Response); got != c[2] {
					t.Errorf("%s %s:\n%s\nwant\n%s", c[0], c[1], got, c[2])
				}
			}
		})
	}
}

// TestBadFormat: bLIP 50 "Message Payload Format": what is not one JSON-RPC 2.0 request is answered with a parse error and the id null.
func TestBadFormat(t *testing.T) {
	good := `{"jsonrpc":"2.0","id":"x","method":"lsps0.list_protocols","params":{}}`
	for name, payload := range map[string]string{
		"empty":            "",
		"half an object":   "{",
		"an array":         "[" + good + "]",
		"two objects":      good + good,
		"one and a half":   good + " {",
		"a NUL byte":       good + "\x00",
		"not UTF-8":        strings.Replace(good, "x", "\xff", 1),
		"null":             "null",
		"a string":         `"x"`,
		"no jsonrpc":       `{"id":"x","method":"lsps0.list_protocols"}`,
		"jsonrpc 1.0":      `{"jsonrpc":"1.0","id":"x","method":"m"}`,
		"no method":        `{"jsonrpc":"2.0","id":"x"}`,
		"method not text":  `{"jsonrpc":"2.0","id":"x","method":1}`,
		"method null":      `{"jsonrpc":"2.0","id":"x","method":null}`,
		"a notification":   `{"jsonrpc":"2.0","method":"m"}`,
		"id null":          `{"jsonrpc":"2.0","id":null,"method":"m"}`,
		"id an object":     `{"jsonrpc":"2.0","id":{},"method":"m"}`,
		"id too long":      `{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 300) + `","method":"m"}`,
		"a response":       `{"jsonrpc":"2.0","id":"x","result":{}}`,
		"keys in capitals": `{"JSONRPC":"2.0","ID":"x","METHOD":"lsps0.list_protocols"}`,
		"too long":         good + strings.Repeat(" ", 65533),
	} {
		got := string(newDesk(t).Handle(Call{Client: node("A"), Payload: []byte(payload)}).Response)
		if !strings.HasPrefix(got, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error`) {
			t.Errorf("%s: %s", name, got)
		}
	}
	for name, payload := range map[string]string{
		"white space around": " \r\n\t" + good + "\n ",
		"no params":          strings.Replace(good, `,"params":{}`, "", 1),
		"a number as id":     strings.Replace(good, `"x"`, "7", 1),
	} {
		if got := string(newDesk(t).Handle(Call{Client: node("A"), Payload: []byte(payload)}).Response); !strings.Contains(got, `"protocols":[5]`) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestRegistered: bLIP 55: only a new or changed webhook is told that it is registered, and only it.
func TestRegistered(t *testing.T) {
	d := newDesk(t)
	r := d.call("lsps5.set_webhook", short("a"))
	if r.Registered == nil || r.Registered.Name != "a" || len(r.Rows) != 1 {
		t.Errorf("first: %+v", r)
	}
	if r := d.call("lsps5.set_webhook", short("a")); r.Registered != nil {
		t.Errorf("no change: %+v", r.Registered)
	}
	if r := d.call("rod.register_device", `{"platform":"fcm","token":"t"}`); r.Registered != nil {
		t.Errorf("a plain token: %+v", r.Registered)
	}
	if got := d.Devices.Of(node("A")); len(got) != 2 || got[0].Platform != FCM || got[1].Platform != Webhook {
		t.Errorf("all are told: %v", got)
	}
	if got := d.Devices.Of(node("B")); got != nil {
		t.Errorf("another client: %v", got)
	}
}

// TestTooMany: the maximum per client, by both ways of registering, with replacement still possible.
func TestTooMany(t *testing.T) {
	d := newDesk(t)
	for i := range 9 {
		d.call("lsps5.set_webhook", short(fmt.Sprint(i)))
	}
	d.call("rod.register_device", `{"platform":"fcm","token":"t"}`)
	if got := string(d.call("lsps5.set_webhook", short("x")).Response); !strings.Contains(got, `"code":503,"message":"too many devices","data":{"max_webhooks":10}`) {
		t.Error(got)
	}
	if got := string(d.call("rod.register_device", `{"platform":"fcm","token":"u"}`).Response); !strings.Contains(got, `"code":-826`) {
		t.Error(got)
	}
	if got := string(d.call("lsps5.set_webhook", `{"app_name":"3","webhook":"https://other.org"}`).Response); !strings.Contains(got, `"no_change":false`) {
		t.Error(got)
	}
}

// TestRetention: bLIP 55: webhooks are remembered as long as there is a channel and at least 7 days after.
func TestRetention(t *testing.T) {
	d := newDesk(t)
	d.call("lsps5.set_webhook", short("a"))
	d.write(d.Devices.Tick(1 << 40))
	if len(d.disk) != 1 {
		t.Fatal("forgotten while there is a channel")
	}
	d.write(d.Devices.Channel(node("A"), false, 5000))
	d.write(d.Devices.Channel(node("A"), false, 6000)) // says the same
	d.write(d.Devices.Tick(5000 + d.cfg.Keep - 1))
	if len(d.disk) != 1 || d.cfg.Keep < 7*86400 {
		t.Error("forgotten too soon")
	}
	d.write(d.Devices.Channel(node("A"), true, 7000))
	d.write(d.Devices.Tick(5000 + d.cfg.Keep))
	if len(d.disk) != 1 {
		t.Error("forgotten though there is a channel again")
	}
	d.write(d.Devices.Channel(node("A"), false, 8000))
	d.write(d.Devices.Tick(8000 + d.cfg.Keep))
	if len(d.disk) != 0 || len(d.Devices.clients) != 0 {
		t.Error("remembered too long")
	}
	d.cfg.Strangers = 1
	d.Devices.cfg = d.cfg
	for i, want := range []string{"no_change", "too many clients"} {
		r := d.Handle(Call{Client: node(fmt.Sprint(i)), Now: 9000, Payload: NewRequest("x", "lsps5.set_webhook", map[string]string{"app_name": "a", "webhook": "https://a.org"})})
		d.write(r.Rows)
		if !strings.Contains(string(r.Response), want) {
			t.Errorf("stranger %d: %s", i, r.Response)
		}
	}
}

// TestLoopback: "https only (http to loopback on regtest)".
func TestLoopback(t *testing.T) {
	d := newDesk(t)
	d.Devices.cfg.AllowLoopback = true
	for url, ok := range map[string]bool{"http://127.0.0.1:8080/x": true, "http://[::1]:8080/x": true, "http://localhost/": true, "http://10.0.0.1/": false,
		"http://127.0.0.1.example.org/": false} {
		if got := d.Devices.checkURL(url) == nil; got != ok {
			t.Errorf("%s: %v", url, got)
		}
	}
}

// TestHold: rod.hold and rod.cancel through a Table.
func TestHold(t *testing.T) {
	d := newDesk(t)
	table, err := rod.Load(d.Rod)
	if err != nil {
		t.Fatal(err)
	}
	table.Apply(rod.Tick{Now: 1_700_000_000})
	table.Apply(rod.Block{Height: 100})
	pid := strings.Repeat("11", 32)
	call := func(method, params string) string {
		t.Helper()
		r := d.call(method, params)
		if r.Event == nil || r.Response != nil {
			t.Fatalf("%s: %s", method, r.Response)
		}
		return string(r.Answer(table.Apply(r.Event)))
	}
	params := `{"pid_hash":"` + pid + `","payment_hashes":["` + strings.Repeat("22", 32) + `"],"total_msat":"1000","release_deadline":400,"armed_ttl_seconds":60,"reply_path":"0102"}`
	want := `{"jsonrpc":"2.0","id":"x","result":{"status":0,"status_text":"ok","pid_hash":"` + pid + `","release_deadline":400,"armed_until":"2023-11-14T22:14:20.000Z","min_cltv_delta":144}}`
	for range 2 {
		if got := call("rod.hold", params); got != want {
			t.Errorf("hold: %s", got)
		}
	}
	if got := call("rod.hold", strings.Replace(params, "1000", "1001", 1)); !strings.Contains(got, `"status":6,"status_text":"duplicate"`) {
		t.Errorf("other content: %s", got)
	}
	if got := call("rod.cancel", `{"pid_hash":"`+pid+`"}`); got != `{"jsonrpc":"2.0","id":"x","result":{"state":6,"state_text":"cancelled"}}` {
		t.Errorf("cancel: %s", got)
	}
	if got := call("rod.hold", `{"pid_hash":"`+strings.Repeat("33", 32)+`","payment_hashes":[]}`); !strings.Contains(got, `"status":3`) {
		t.Errorf("no hashes: %s", got)
	}
	if got := string(d.call("rod.cancel", `{"pid_hash":"`+pid+`"}`).Answer(rod.Output{})); !strings.Contains(got, `-32603`) {
		t.Errorf("no outcome: %s", got)
	}
}

// TestSigningText is the example of bLIP 55 "Webhook Call".
func TestSigningText(t *testing.T) {
	body := Body("lsps5.goodbye", "{}")
	if got := string(body); got != `{"jsonrpc":"2.0","method":"lsps5.goodbye","params":{}}` {
		t.Errorf("body %s", got)
	}
	text := SigningText("2023-05-04T10:52:58.395Z", body)
	want := "4c535053353a20444f204e4f54205349474e2054484953204d455353414745204d414e55414c4c593a204c53503a204174" +
		"20323032332d30352d30345431303a35323a35382e3339355a2049206e6f74696679207b226a736f6e727063223a22322e30222c226d6574686f64223a226c737073352e676f6f64627965222c22706172616d73223a7b7d7d"
	if got := hex.EncodeToString([]byte(text)); got != want {
		t.Errorf("text %s", text)
	}
	key, _ := btcec.PrivKeyFromBytes(bytes.Repeat([]byte{7}, 32))
	sig := Sign(key, text)
	if id, err := Signer(text, sig); err != nil || !bytes.Equal(id[:], key.PubKey().SerializeCompressed()) {
		t.Errorf("signer %x, %v", id, err)
	}
	if id, err := Signer(text+" ", sig); err == nil && bytes.Equal(id[:], key.PubKey().SerializeCompressed()) {
		t.Error("another text has the signature too")
	}
	for _, bad := range []string{"", "y", sig + "y", strings.ToUpper(sig), sig[1:]} {
		if id, err := Signer(text, bad); err == nil && bytes.Equal(id[:], key.PubKey().SerializeCompressed()) {
			t.Errorf("signature %q is taken", bad)
		}
	}
}

// TestSignMessage: the digest is that of the signmessage of other nodes (eclair commit 5b765e026, EclairImplSpec.scala), the first byte 31 and the recovery id.
func TestSignMessage(t *testing.T) {
	if got := hex.EncodeToString(textDigest("hello, world")); got != "cbedbc1542fb139e2e10954f1ff9f82e8a1031cc63260636bbc45a90114552ea" {
		t.Errorf("digest %s", got)
	}
	key, _ := btcec.PrivKeyFromBytes(bytes.Repeat([]byte{7}, 32))
	raw, err := unzbase32(Sign(key, "hello, world"))
	if err != nil || len(raw) != 65 || raw[0] < 31 || raw[0] > 34 {
		t.Errorf("signature %x, %v", raw, err)
	}
}

// TestZbase32: examples of the encoding's own text.
func TestZbase32(t *testing.T) {
	for raw, want := range map[string]string{"": "", "\x00": "yy", "\xff": "9h", "hello": "pb1sa5dx", "\xf0\xbf\xc7": "6n9hq", "\xd4\x7a\x04": "4t7ye"} {
		if got := zbase32([]byte(raw)); got != want {
			t.Errorf("%x: %s, want %s", raw, got, want)
		}
		if got, err := unzbase32(want); err != nil || string(got) != raw {
			t.Errorf("%s: %x, %v", want, got, err)
		}
	}
}

func TestDatetime(t *testing.T) {
	for ms, want := range map[int64]string{
		0:                    "1970-01-01T00:00:00.000Z",
		-1:                   "1969-12-31T23:59:59.999Z",
		951782400_000:        "2000-02-29T00:00:00.000Z",
		951868800_000:        "2000-03-01T00:00:00.000Z",
		1683197578_395:       "2023-05-04T10:52:58.395Z",
		1709251199_999:       "2024-02-29T23:59:59.999Z",
		4107542399_000:       "2100-02-28T23:59:59.000Z",
		4107542400_000:       "2100-03-01T00:00:00.000Z",
		-62135596800_000:     "0001-01-01T00:00:00.000Z",
		1735689599_001:       "2024-12-31T23:59:59.001Z",
		1735689600_000:       "2025-01-01T00:00:00.000Z",
		1<<40 + 1_000_000_00: "2004-11-04T23:40:27.776Z",
	} {
		if got := Datetime(ms); got != want {
			t.Errorf("%d: %s, want %s", ms, got, want)
		}
	}
}

func TestParseResponse(t *testing.T) {
	r, err := ParseResponse([]byte(`{"jsonrpc":"2.0","id":"a","result":{"x":1},"future":2}`))
	if err != nil || r.ID != "a" || string(r.Result) != `{"x":1}` {
		t.Errorf("%+v %v", r, err)
	}
	r, err = ParseResponse([]byte(`{"jsonrpc":"2.0","id":"a","error":{"code":-32602,"message":"m","data":{"unrecognized":["b"]}}}`))
	if err != nil || r.Error.Code != CodeInvalidParams {
		t.Errorf("%+v %v", r, err)
	}
	for _, bad := range []string{``, `{}`, `{"jsonrpc":"2.0","id":"a"}`, `{"jsonrpc":"2.0","id":"a","result":{},"error":{}}`, `{"jsonrpc":"2.0","id":"a","error":null}`,
		`{"jsonrpc":"2.0","method":"n","params":{}}`, `{"jsonrpc":"2.0","id":1,"result":{}}`} {
		if _, err := ParseResponse([]byte(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func FuzzHandle(f *testing.F) {
	f.Add(NewRequest("x", "lsps5.set_webhook", map[string]string{"app_name": "a", "webhook": "https://a.org"}))
	f.Add(NewRequest("x", "rod.register_device", map[string]string{"platform": "fcm", "token": "t"}))
	f.Add(NewRequest("x", "rod.hold", map[string]any{"pid_hash": strings.Repeat("11", 32), "payment_hashes": []string{strings.Repeat("22", 32)}, "total_msat": "5"}))
	f.Add([]byte(`{"jsonrpc":"2.0","id":-1,"method":"rod.get_info","params":{}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		devices, _ := LoadDevices(DefaultDeviceConfig())
		s := &Server{Devices: devices, Rod: rod.DefaultConfig(node("lsp"))}
		r := s.Handle(Call{Client: node("A"), Payload: payload})
		if r.Event == nil && !json.Valid(r.Response) {
			t.Fatalf("response %s", r.Response)
		}
		if r.Event != nil {
			table, _ := rod.Load(s.Rod)
			if got := r.Answer(table.Apply(r.Event)); !json.Valid(got) {
				t.Fatalf("answer %s", got)
			}
		}
		if _, err := LoadDevices(DefaultDeviceConfig(), r.Rows...); err != nil {
			t.Fatal(err)
		}
		_, _ = ParseResponse(payload)
	})
}

func FuzzDevice(f *testing.F) {
	f.Add(encodeDevice(Device{Name: "a", Platform: Webhook, Target: "https://a.org", LSPS5: true}, 5))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, lapse, err := decodeDevice(b)
		if err == nil && !bytes.Equal(encodeDevice(d, lapse), b) {
			t.Fatalf("%x becomes %x", b, encodeDevice(d, lapse))
		}
	})
}
