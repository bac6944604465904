// Command cln is a plugin for the lightningd of a test. It does what the programs around a lightningd do, and what its own commands do not tell:
//
//   - the chain: bitcoind is asked by JSON-RPC, in place of lightningd's own plugin, which needs bitcoin-cli;
//   - payments that wait at their payee, as lnd's hold invoices do;
//   - why the HTLCs of a payment failed, and what messages arrive, onion messages and others: lightningd tells that to plugins only.
//
// The package regtest builds and starts it (Cln). It speaks JSON-RPC on stdin and stdout, as lightningd wants of plugins, and ends with stdin.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"lightningrod/chain/bitcoind"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "plugin:", err)
		os.Exit(1)
	}
}

// message is a request of lightningd, or without ID a notification.
type message struct {
	ID     json.RawMessage
	Method string
	Params json.RawMessage
}

// plugin is what is known of one lightningd.
type plugin struct {
	chain *bitcoind.Client // from init on

	mu       sync.Mutex
	out      *json.Encoder
	height   uint32
	hodls    map[string]*hodl       // by payment hash
	routes   map[string][]string    // nodes that the last HTLC of a payment passed, by payment hash
	failures map[string]failure     // of the last HTLC that failed, by payment hash
	messages []map[string]jsonBytes // onion messages that arrived, as records by type
	custom   []custom               // peer messages that arrived and that lightningd does not know
}

func run(in io.Reader, out io.Writer) error {
	p := &plugin{out: json.NewEncoder(out), hodls: map[string]*hodl{}, routes: map[string][]string{}, failures: map[string]failure{}}
	for d := json.NewDecoder(in); ; {
		var m message
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if serve, ok := requests[m.Method]; ok {
			if m.Method == "init" || m.Method == "getmanifest" {
				p.answer(m, serve) // nothing else may be answered before
			} else {
				go p.answer(m, serve)
			}
		} else if hear, ok := notifications[m.Method]; ok {
			var params map[string]json.RawMessage // what there is to hear stands there by the topic's name
			if err := json.Unmarshal(m.Params, &params); err != nil {
				return fmt.Errorf("%s: %w", m.Method, err)
			}
			if err := hear(p, params[m.Method]); err != nil {
				return fmt.Errorf("%s: %w", m.Method, err)
			}
		}
	}
}

func (p *plugin) answer(m message, serve func(*plugin, json.RawMessage) (any, error)) {
	result, err := serve(p, m.Params)
	reply := map[string]any{"jsonrpc": "2.0", "id": m.ID, "result": result}
	if err != nil {
		delete(reply, "result")
		reply["error"] = map[string]any{"code": -1, "message": fmt.Sprintf("%s: %v", m.Method, err)}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.out.Encode(reply); err != nil { // lightningd is gone
		os.Exit(1)
	}
}

// requests are what lightningd asks, and others through it.
var requests map[string]func(*plugin, json.RawMessage) (any, error)

// commands are those that others may call.
var commands = []string{
	"getchaininfo", "getrawblockbyheight", "estimatefees", "sendrawtransaction", "getutxout",
	"regtest-hodl", "regtest-waiting", "regtest-settle", "regtest-failure", "regtest-messages", "regtest-custom",
}

var hooks = []string{"htlc_accepted", "onion_message_recv", "onion_message_recv_secret", "custommsg"}

func init() { // not at the declaration: the manifest lists them
	requests = map[string]func(*plugin, json.RawMessage) (any, error){
		"getmanifest": (*plugin).manifest,
		"init":        (*plugin).begin,

		"getchaininfo":        (*plugin).chainInfo,
		"getrawblockbyheight": (*plugin).block,
		"estimatefees":        (*plugin).fees,
		"sendrawtransaction":  (*plugin).publish,
		"getutxout":           (*plugin).output,

		"htlc_accepted":   (*plugin).accepted,
		"regtest-hodl":    (*plugin).hodl,
		"regtest-waiting": (*plugin).waiting,
		"regtest-settle":  (*plugin).settle,
		"regtest-failure": (*plugin).failure,

		"onion_message_recv":        (*plugin).arrived,
		"onion_message_recv_secret": (*plugin).arrived,
		"regtest-messages":          (*plugin).arrivals,
		"custommsg":                 (*plugin).received,
		"regtest-custom":            (*plugin).receipts,
	}
}

var notifications = map[string]func(*plugin, json.RawMessage) error{
	"block_added":    (*plugin).blockAdded,
	"pay_part_start": (*plugin).partBegins,
	"pay_part_end":   (*plugin).partEnds,
}

func (p *plugin) manifest(json.RawMessage) (any, error) {
	type object = map[string]any
	var methods, hooked, options, topics []any
	for _, name := range commands {
		methods = append(methods, object{"name": name, "usage": "[params]", "description": "for tests"})
	}
	for _, name := range hooks {
		hooked = append(hooked, object{"name": name})
	}
	for _, name := range []string{"regtest-bitcoind", "regtest-cookie"} {
		options = append(options, object{"name": name, "type": "string", "description": "for tests"})
	}
	for topic := range notifications {
		topics = append(topics, topic)
	}
	return object{"options": options, "rpcmethods": methods, "hooks": hooked, "subscriptions": topics, "dynamic": false}, nil
}

func (p *plugin) begin(params json.RawMessage) (any, error) {
	var in struct {
		Options struct {
			Addr   string `json:"regtest-bitcoind"`
			Cookie string `json:"regtest-cookie"`
		}
	}
	if err := json.Unmarshal(params, &in); err != nil {
		return nil, err
	}
	c, err := bitcoind.NewClient(bitcoind.Access{Addr: in.Options.Addr, Cookie: in.Options.Cookie, Timeout: time.Minute})
	p.chain = c
	return struct{}{}, err
}
