package regtest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Eclair is an eclair of a test, with its default settings, but for
//
//   - where it listens and finds its bitcoind, in which it has a wallet of its own;
//   - six confirmations instead of eight, that everybody else is content with and that it allows to be set;
//   - 144 blocks that the other end of a channel has to wait for its own instead of 720, which are more than a script waits;
//   - a hundred HTLCs at a time instead of thirty: the scripts make twenty payments at a time, and an HTLC counts until it is gone from both commitments;
//   - that the htlc_maximum_msat of its channel_updates does not follow its balance, which it would once an hour;
//   - the random delays before it looks at a block, at its channels after a start, and at a transaction it could not publish, and the interval in
//     which it passes on gossip: each is as short as it can be;
//   - the fee rates that it takes on regtest instead of asking bitcoind: twice the lowest, which the others take where bitcoind has no estimate, and at
//     which it takes what it sweeps for lighter than it is, so that nobody relays it;
//   - that it asks nobody on the Internet whether its chain is behind.
//
// It is asked by its HTTP API. The plugin of the folder eclair lets payments wait, where it can be built.
type Eclair struct {
	*program
	api  caller
	id   string
	addr string

	btc    *Bitcoin
	plugin string // of the folder eclair, "" without

	mu    sync.Mutex
	asked []string // hashes of payments that it was asked for: it lists none that have not succeeded
}

var (
	_ Hodler  = (*Eclair)(nil)
	_ Offerer = (*Eclair)(nil)
)

// FindEclair is the command in ROD_ECLAIR, or eclair-node.sh from PATH. Without one the test is skipped, also where other programs have to be there:
// this one has to only if ROD_REQUIRE_PEERS has the word eclair.
func FindEclair(t testing.TB) []string {
	t.Helper()
	return findOptional(t, "eclair", "ROD_ECLAIR", "eclair-node.sh")
}

// EclairBitcoind are options of a bitcoind that an eclair can work with: it keeps its coins there, at segwit addresses, asks for any transaction, and is
// told of new ones and of blocks over ZeroMQ.
func EclairBitcoind(t testing.TB) []string {
	t.Helper()
	tell := func() string { return "tcp://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t))) }
	return []string{"-disablewallet=0", "-addresstype=bech32m", "-changetype=bech32m", "-txindex=1", "-zmqpubhashblock=" + tell(), "-zmqpubrawtx=" + tell()}
}

// NewEclair starts an eclair on a bitcoind with the options EclairBitcoind, with these options of its own besides.
func NewEclair(t testing.TB, name string, btc *Bitcoin, options ...string) *Eclair {
	t.Helper()
	command := FindEclair(t)
	plugin, err := builtHodl(command[0])
	if err != nil {
		t.Fatal(err)
	}
	p := newProgram(t, name)
	e := &Eclair{program: p, btc: btc, plugin: plugin, addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))}
	api := freePort(t)
	e.api.base = "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(api)) + "/"
	e.api.http.Transport = &http.Transport{MaxIdleConnsPerHost: 32}
	const password = "regtest"
	e.api.header = http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(":"+password))}}
	btc.Call(nil, "createwallet", name)
	settings := eclairSettings(name, e.addr, btc)
	settings["api.enabled"], settings["api.port"], settings["api.password"] = "true", strconv.Itoa(api), password
	if err := e.configure(settings); err != nil {
		t.Fatal(err)
	}
	p.command = slices.Concat(command, []string{
		"-Declair.datadir=" + p.dir, "-Dlogback.configurationFile=" + filepath.Join(p.dir, "log.xml"),
	}, options)
	if plugin != "" {
		p.command = append(p.command, plugin)
	}
	if err := os.Mkdir(filepath.Join(p.dir, "hodl"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	return e
}

// eclairSettings are those that are not as by default.
func eclairSettings(name, addr string, btc *Bitcoin) map[string]string {
	host, port, _ := net.SplitHostPort(btc.Access.Addr)
	_, listen, _ := net.SplitHostPort(addr)
	var told []struct{ Type, Address string }
	btc.Call(&told, "getzmqnotifications")
	s := map[string]string{
		"chain": "regtest", "node-alias": name, "server.binding-ip": "127.0.0.1", "server.port": listen,
		"bitcoind.host": host, "bitcoind.rpcport": port, "bitcoind.auth": "safecookie", "bitcoind.cookie": btc.Access.Cookie, "bitcoind.wallet": name,
		"channel.min-depth-blocks": "6", "channel.to-remote-delay-blocks": "144", "channel.max-accepted-htlcs": "100",

		"channel.channel-update.balance-thresholds": "[]",
		"channel.max-block-processing-delay":        "0 seconds", "channel.max-restart-watch-delay": "0 seconds", "channel.max-tx-publish-retry-delay": "1 second",
		"router.broadcast-interval": "1 second", "blockchain-watchdog.sources": "[]",
	}
	for _, speed := range []string{"minimum", "slow", "medium", "fast", "fastest"} {
		s["on-chain-fees.default-feerates."+speed] = "2" // sat/vB
	}
	for _, of := range told {
		switch of.Type {
		case "pubhashblock":
			s["bitcoind.zmqblock"] = of.Address
		case "pubrawtx":
			s["bitcoind.zmqtx"] = of.Address
		}
	}
	return s
}

// configure writes eclair's files of settings.
func (e *Eclair) configure(settings map[string]string) error {
	var conf strings.Builder
	for name, value := range settings {
		if value != "[]" {
			value = strconv.Quote(value)
		}
		fmt.Fprintf(&conf, "eclair.%s = %s\n", name, value)
	}
	if err := os.WriteFile(filepath.Join(e.dir, "eclair.conf"), []byte(conf.String()), 0o600); err != nil {
		return err
	}
	log := `<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{HH:mm:ss.SSS} %-5level %logger{24}%X{category}%X{nodeId}%X{channelId}%X{paymentHash} - %msg%ex{24}%n</pattern></encoder>
  </appender>
  <root level="` + level("info") + `"><appender-ref ref="OUT"/></root>
</configuration>
`
	return os.WriteFile(filepath.Join(e.dir, "log.xml"), []byte(log), 0o600)
}

// ask calls a method, and fills out with the answer. Parameters come as names and values in turn.
func (e *Eclair) ask(method string, out any, params ...string) error {
	form := url.Values{}
	for pair := range slices.Chunk(params, 2) {
		form.Set(pair[0], pair[1])
	}
	return e.api.do("POST", method, form, out)
}

// tell calls a method that answers in words, of which one of those given has to be in it.
func (e *Eclair) tell(method string, good []string, params ...string) error {
	var answer json.RawMessage
	if err := e.ask(method, &answer, params...); err != nil {
		return err
	}
	if !slices.ContainsFunc(good, func(words string) bool { return strings.Contains(string(answer), words) }) {
		return fmt.Errorf("%s: %.500s", method, answer)
	}
	return nil
}

func (e *Eclair) ID() string   { return e.id }
func (e *Eclair) Addr() string { return e.addr }

func (e *Eclair) Start() error {
	if err := e.launch(); err != nil {
		return err
	}
	return e.awaken(func() error {
		var info struct{ NodeID string }
		err := e.ask("getinfo", &info)
		e.id = info.NodeID
		return err
	})
}

// Stop does not judge the answer: eclair may be gone before it has given it.
func (e *Eclair) Stop() error {
	asked := e.ask("stop", nil)
	if err := e.ended(); err != nil {
		return errors.Join(asked, err)
	}
	return nil
}

func (e *Eclair) Height() (uint32, error) {
	var info struct{ BlockHeight uint32 }
	err := e.ask("getinfo", &info)
	return info.BlockHeight, err
}

func (e *Eclair) Address() (addr string, err error) { return addr, e.ask("getnewaddress", &addr) }

func (e *Eclair) Coins() (sat int64, err error) {
	var balance struct{ Confirmed int64 }
	err = e.ask("onchainbalance", &balance)
	return balance.Confirmed, err
}

func (e *Eclair) Connect(id, addr string) error {
	return e.tell("connect", []string{"connected"}, "uri", id+"@"+addr)
}

func (e *Eclair) Disconnect(id string) error { return e.ask("disconnect", nil, "nodeId", id) }

func (e *Eclair) Peers() (ids []string, err error) {
	var list []struct{ NodeID, State string }
	err = e.ask("peers", &list)
	for _, p := range list {
		if p.State == "CONNECTED" {
			ids = append(ids, p.NodeID)
		}
	}
	return ids, err
}

// Open returns once the funding transaction is in the mempool: between two eclairs (dual funding) that is some time after it is known.
func (e *Eclair) Open(o Opening) error {
	const budget = 100_000 // sat, for the fee of the funding transaction: by default a thousandth of a small channel, which is too little
	var answer string
	err := e.ask("open", &answer, "nodeId", o.Peer,
		"fundingSatoshis", strconv.FormatInt(o.Capacity, 10), "pushMsat", strconv.FormatInt(1000*o.Push, 10),
		"announceChannel", strconv.FormatBool(!o.Private), "fundingFeeBudgetSatoshis", strconv.Itoa(budget))
	if err != nil {
		return err
	}
	var txid string
	for _, word := range strings.Fields(answer) {
		if id, ok := strings.CutPrefix(word, "fundingTxId="); ok {
			txid = id
		}
	}
	if txid == "" {
		return fmt.Errorf("open: %.500q", answer)
	}
	return e.awaken(func() error {
		return e.btc.Client.Call(context.Background(), nil, "getmempoolentry", txid)
	})
}

// Close returns once eclair has begun with it.
func (e *Eclair) Close(funding string, force bool) error {
	list, err := e.list()
	if err != nil {
		return err
	}
	for _, x := range list {
		if x.commitment().Input != funding {
			continue
		}
		method := "close"
		if force {
			method = "forceclose"
		}
		return e.tell(method, []string{`"ok"`, `"closed channel`}, "channelId", x.ID)
	}
	return fmt.Errorf("no channel %s", funding)
}

// eclairChannel is a channel in eclair's list.
type eclairChannel struct {
	Peer  string `json:"nodeId"`
	ID    string `json:"channelId"`
	State string
	Data  struct {
		Commitments struct {
			Params struct {
				Local struct{ IsChannelOpener bool } `json:"localParams"`
				Flags struct{ AnnounceChannel bool } `json:"channelFlags"`
			} `json:"channelParams"`
			Changes struct{ LocalChanges, RemoteChanges map[string][]json.RawMessage }
			Active  []eclairCommitment
		}
	}
}

type eclairCommitment struct {
	Input    string `json:"fundingInput"`
	Capacity int64  `json:"fundingAmount"`
	Funding  struct {
		SCID string `json:"shortChannelId"`
	} `json:"localFunding"`
	Local struct{ Spec eclairSpec } `json:"localCommit"`
	Their struct{ Spec eclairSpec } `json:"remoteCommit"`
}

type eclairSpec struct {
	HTLCs    []struct{}
	FeeRate  int64 `json:"commitTxFeerate"`
	ToLocal  int64 // msat, with the fee and anchors if we opened
	ToRemote int64
}

// commitment is the newest; none at all while the channel is made.
func (x *eclairChannel) commitment() (c eclairCommitment) {
	if active := x.Data.Commitments.Active; len(active) > 0 {
		c = active[0]
	}
	return c
}

// unsettled are HTLCs in flight, and changes that are not in the commitments of both ends yet.
func (x *eclairChannel) unsettled() (n int) {
	c := x.commitment()
	n = max(len(c.Local.Spec.HTLCs), len(c.Their.Spec.HTLCs))
	for _, of := range []map[string][]json.RawMessage{x.Data.Commitments.Changes.LocalChanges, x.Data.Commitments.Changes.RemoteChanges} {
		for _, changes := range of {
			n += len(changes)
		}
	}
	return n
}

func (x *eclairChannel) normal() bool {
	return slices.Contains([]string{"NORMAL", "OFFLINE", "SYNCING"}, x.State)
}

func (e *Eclair) list() (all []eclairChannel, err error) {
	err = e.ask("channels", &all)
	return slices.DeleteFunc(all, func(x eclairChannel) bool { return x.State == "CLOSED" }), err
}

func (e *Eclair) Channels() (all []Channel, err error) {
	list, err := e.list()
	if err != nil {
		return nil, err
	}
	for _, x := range list {
		c, opener, private := x.commitment(), x.Data.Commitments.Params.Local.IsChannelOpener, !x.Data.Commitments.Params.Flags.AnnounceChannel
		theirs := c.Local.Spec.ToLocal
		if opener {
			theirs = c.Local.Spec.ToRemote
		}
		usable := x.State == "NORMAL"
		switch {
		case usable && private:
			usable, err = e.hints(x.ID)
		case usable:
			usable, err = e.announced(&x)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, Channel{
			Peer: x.Peer, Funding: c.Input, SCID: c.Funding.SCID, Opener: opener, Private: private, Usable: usable, Capacity: c.Capacity,
			FeeRate: c.Local.Spec.FeeRate, HTLCs: x.unsettled(), Theirs: theirs / 1000,
		})
	}
	return all, err
}

// hints tells whether eclair has a hint to a private channel: it has the channel_update of the other end.
func (e *Eclair) hints(channel string) (bool, error) {
	var out struct{ RoutingInfo []json.RawMessage }
	err := e.ask("createinvoice", &out, "description", "hints?", "privateChannelIds", channel)
	return len(out.RoutingInfo) > 0, err
}

// announced tells whether a public channel is in eclair's graph with its own channel_update. It loses that, and its balance for its payments, where the
// announcement comes in from the other end while it is completing it by itself. Then it is asked for another.
func (e *Eclair) announced(x *eclairChannel) (bool, error) {
	public, err := e.public()
	scid := x.commitment().Funding.SCID
	if err != nil || !public[scid] {
		return false, err
	}
	own, err := e.updates("nodeId", e.id)
	if err != nil || own[scid] > 0 {
		return own[scid] > 0, err
	}
	return false, e.ask("updaterelayfee", nil, "nodeId", x.Peer, "feeBaseMsat", "1000", "feeProportionalMillionths", "200") // as by default
}

// public are the short_channel_ids of the announced channels that eclair knows.
func (e *Eclair) public() (map[string]bool, error) {
	var list []struct {
		SCID string `json:"shortChannelId"`
	}
	err := e.ask("allchannels", &list)
	scids := map[string]bool{}
	for _, c := range list {
		scids[c.SCID] = true
	}
	return scids, err
}

// updates counts the channel_updates that eclair knows, by short_channel_id; of all nodes, or the public ones of one.
func (e *Eclair) updates(of ...string) (map[string]int, error) {
	var list []struct {
		SCID string `json:"shortChannelId"`
	}
	err := e.ask("allupdates", &list, of...)
	counts := map[string]int{}
	for _, u := range list {
		counts[u.SCID]++
	}
	return counts, err
}

func (e *Eclair) Total() (msat int64, err error) {
	list, err := e.list()
	for _, x := range list {
		if x.normal() {
			msat += x.commitment().Local.Spec.ToLocal
		}
	}
	return msat, err
}

// Graph takes the channel_update of the other end of an announced channel of eclair's own for known: it may have lost it like its own, and does not need it.
func (e *Eclair) Graph() (Graph, error) {
	var nodes []struct{ NodeID, Alias string }
	if err := e.ask("nodes", &nodes); err != nil {
		return Graph{}, err
	}
	public, err := e.public()
	if err != nil {
		return Graph{}, err
	}
	counts, err := e.updates()
	if err != nil {
		return Graph{}, err
	}
	list, err := e.list()
	if err != nil {
		return Graph{}, err
	}
	for _, x := range list {
		if scid := x.commitment().Funding.SCID; counts[scid] > 0 {
			counts[scid] = 2
		}
	}
	g := Graph{Nodes: len(nodes), Channels: len(public), Aliases: map[string]string{}}
	for scid := range public { // it lists the updates of private channels too
		g.Updates += counts[scid]
	}
	for _, n := range nodes {
		g.Aliases[n.NodeID] = n.Alias
	}
	return g, nil
}
