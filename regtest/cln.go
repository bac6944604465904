package regtest

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// Cln is a lightningd (Core Lightning) of a test, with its default settings: only where it listens, how often it asks for blocks and how
// long it collects gossip are set, for which it has to be in developer mode, and that it does not look for strangers. It is asked by
// JSON-RPC on its unix socket. The plugin of the folder cln is its way to bitcoind.
type Cln struct {
	*program
	socket string
	id     string
	addr   string
	calls  atomic.Uint64
}

var (
	_ Hodler  = (*Cln)(nil)
	_ Offerer = (*Cln)(nil)
)

// FindCln is the command in ROD_CLN, or lightningd from PATH. Without one the test is skipped, also where other programs have to be there:
// this one has to only if ROD_REQUIRE_PEERS has the word cln.
func FindCln(t testing.TB) []string {
	t.Helper()
	return findOptional(t, "cln", "ROD_CLN", "lightningd")
}

// NewCln starts a lightningd on a bitcoind, with these options besides.
func NewCln(t testing.TB, name string, btc *Bitcoin, options ...string) *Cln {
	t.Helper()
	command := FindCln(t)
	plugin, err := built("lightningrod/regtest/cln")
	if err != nil {
		t.Fatal(err)
	}
	p := newProgram(t, name)
	c := &Cln{program: p, socket: socketPath(t), addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))}
	p.command = append(append(command,
		"--network=regtest", "--lightning-dir="+p.dir, "--alias="+name, "--bind-addr="+c.addr, "--rpc-file="+c.socket, "--log-level="+level("info"),
		"--disable-plugin=bcli", "--plugin="+plugin, "--regtest-bitcoind="+btc.Access.Addr, "--regtest-cookie="+btc.Access.Cookie,
		"--developer", "--allow-deprecated-apis=true", "--dev-bitcoind-poll=1", "--dev-fast-gossip", "--autoconnect-seeker-peers=0", "--disable-dns",
	), options...)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// ask calls a command with named parameters, and fills out with the answer. It waits as long as that takes.
func (c *Cln) ask(method string, params map[string]any, out any) error {
	conn, err := net.Dial("unix", c.socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	if params == nil {
		params = map[string]any{}
	}
	err = json.NewEncoder(conn).Encode(map[string]any{"jsonrpc": "2.0", "id": c.calls.Add(1), "method": method, "params": params})
	if err != nil {
		return err
	}
	var answer struct {
		Result json.RawMessage
		Error  *ClnError
	}
	if err := json.NewDecoder(conn).Decode(&answer); err != nil {
		return fmt.Errorf("%s: answer: %w", method, err)
	}
	if answer.Error != nil {
		answer.Error.Method = method
		return answer.Error
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer.Result, out); err != nil {
		return fmt.Errorf("%s: answer: %w", method, err)
	}
	return nil
}

// ClnError is lightningd's own answer that a command failed.
type ClnError struct {
	Method  string `json:"-"`
	Code    int
	Message string
	Data    json.RawMessage
}

func (e *ClnError) Error() string {
	return fmt.Sprintf("%s: %s (code %d)", e.Method, e.Message, e.Code)
}

func (c *Cln) ID() string   { return c.id }
func (c *Cln) Addr() string { return c.addr }

func (c *Cln) Start() error {
	// The socket of a process that was killed is still there.
	if err := os.Remove(c.socket); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := c.launch(); err != nil {
		return err
	}
	return c.awaken(func() error {
		var info struct{ ID string }
		err := c.ask("getinfo", nil, &info)
		c.id = info.ID
		return err
	})
}

func (c *Cln) Stop() error {
	if err := c.ask("stop", nil, nil); err != nil {
		return err
	}
	return c.ended()
}

func (c *Cln) Height() (uint32, error) {
	var info struct {
		Height uint32 `json:"blockheight"`
		Behind string `json:"warning_bitcoind_sync"`
		Busy   string `json:"warning_lightningd_sync"`
	}
	err := c.ask("getinfo", nil, &info)
	if info.Behind+info.Busy != "" {
		return 0, err
	}
	return info.Height, err
}

func (c *Cln) Address() (string, error) {
	var out struct{ Bech32 string }
	err := c.ask("newaddr", map[string]any{"addresstype": "bech32"}, &out)
	return out.Bech32, err
}

func (c *Cln) Coins() (sat int64, err error) { return c.coins("") }

// Keeps is what of a transaction's outputs is in the wallet. lightningd does not sweep what is its own in the commitment of the other.
func (c *Cln) Keeps(txid string) (sat int64, err error) { return c.coins(txid) }

// coins are those of a transaction, or all.
func (c *Cln) coins(txid string) (sat int64, err error) {
	var out struct {
		Outputs []struct {
			Txid   string
			Msat   int64 `json:"amount_msat"`
			Status string
		}
	}
	err = c.ask("listfunds", nil, &out)
	for _, o := range out.Outputs {
		if o.Status == "confirmed" && (txid == "" || txid == o.Txid) {
			sat += o.Msat / 1000
		}
	}
	return sat, err
}

func (c *Cln) Connect(id, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	return c.ask("connect", map[string]any{"id": id, "host": host, "port": port}, nil)
}

func (c *Cln) Disconnect(id string) error {
	return c.ask("disconnect", map[string]any{"id": id, "force": true}, nil)
}

func (c *Cln) Peers() (ids []string, err error) {
	var out struct {
		Peers []struct {
			ID        string
			Connected bool
		}
	}
	err = c.ask("listpeers", nil, &out)
	for _, p := range out.Peers {
		if p.Connected {
			ids = append(ids, p.ID)
		}
	}
	return ids, err
}

func (c *Cln) Open(o Opening) error {
	return c.ask("fundchannel", map[string]any{"id": o.Peer, "amount": o.Capacity, "push_msat": o.Push * 1000, "announce": !o.Private}, nil)
}

// Close returns once the closing transaction is agreed on, or the commitment published.
func (c *Cln) Close(funding string, force bool) error {
	list, err := c.list()
	if err != nil {
		return err
	}
	for _, x := range list {
		switch {
		case x.funding() != funding:
		case force:
			return c.ask("dev-fail", map[string]any{"id": x.Peer}, nil) // of its one channel
		default:
			return c.ask("close", map[string]any{"id": x.ID}, nil)
		}
	}
	return fmt.Errorf("no channel %s", funding)
}

// clnChannel is a channel in lightningd's list.
type clnChannel struct {
	ID        string `json:"channel_id"`
	Peer      string `json:"peer_id"`
	Connected bool   `json:"peer_connected"`
	Ready     bool   `json:"reestablished"`
	State     string
	Status    []string
	Txid      string `json:"funding_txid"`
	Output    int    `json:"funding_outnum"`
	SCID      string `json:"short_channel_id"`
	Opener    string
	Private   bool
	Total     int64 `json:"total_msat"`
	Ours      int64 `json:"to_us_msat"` // with what we offer, the fee and anchors if we opened
	FeeRate   struct {
		PerKw int64
	}
	HTLCs   []struct{}
	Updates struct{ Remote *struct{} } // the other's channel_update
}

func (x *clnChannel) funding() string { return fmt.Sprintf("%s:%d", x.Txid, x.Output) }

func (x *clnChannel) normal() bool { return x.State == "CHANNELD_NORMAL" }

// over tells of a channel that all is done for: lightningd keeps it in the list until that is a hundred blocks deep.
func (x *clnChannel) over() bool {
	return x.State == "CLOSED" || x.State == "ONCHAIN" && slices.ContainsFunc(x.Status, func(s string) bool {
		return strings.Contains(s, "All outputs resolved")
	})
}

func (c *Cln) list() ([]clnChannel, error) {
	var out struct{ Channels []clnChannel }
	err := c.ask("listpeerchannels", nil, &out)
	return slices.DeleteFunc(out.Channels, func(x clnChannel) bool { return x.over() }), err
}

func (c *Cln) Channels() (all []Channel, err error) {
	list, err := c.list()
	for _, x := range list {
		opener := x.Opener == "local"
		theirs := x.Ours
		if opener {
			theirs = x.Total - x.Ours
		}
		all = append(all, Channel{
			Peer: x.Peer, Funding: x.funding(), SCID: x.SCID, Opener: opener, Private: x.Private,
			Usable: x.normal() && x.Connected && x.Ready && x.Updates.Remote != nil, Capacity: x.Total / 1000,
			FeeRate: x.FeeRate.PerKw, HTLCs: len(x.HTLCs), Theirs: theirs / 1000,
		})
	}
	return all, err
}

func (c *Cln) Total() (msat int64, err error) {
	list, err := c.list()
	for _, x := range list {
		if x.normal() {
			msat += x.Ours
		}
	}
	return msat, err
}

func (c *Cln) Graph() (Graph, error) {
	var nodes struct {
		Nodes []struct{ NodeID, Alias string }
	}
	var channels struct {
		Channels []struct {
			SCID   string `json:"short_channel_id"`
			Public bool
		}
	}
	if err := c.ask("listnodes", nil, &nodes); err != nil {
		return Graph{}, err
	}
	if err := c.ask("listchannels", nil, &channels); err != nil { // one entry a channel_update
		return Graph{}, err
	}
	g := Graph{Aliases: map[string]string{}}
	for _, n := range nodes.Nodes {
		if n.Alias != "" { // otherwise only known from a channel_announcement
			g.Nodes++
			g.Aliases[n.NodeID] = n.Alias
		}
	}
	known := map[string]bool{}
	for _, x := range channels.Channels {
		if x.Public {
			g.Updates++
			known[x.SCID] = true
		}
	}
	g.Channels = len(known)
	return g, nil
}
