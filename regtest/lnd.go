package regtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Lnd is an lnd of a test, with its default settings: only where it listens, how often it asks for blocks and how long it collects
// gossip are set, and that it does not look for strangers (it would connect anew to those it knows). It is asked by its REST gateway, whose JSON has 64-bit numbers as text and bytes in base64.
type Lnd struct {
	*program
	api  caller
	id   string
	addr string
}

var _ Node = (*Lnd)(nil)

// FindLnd is the command in ROD_LND, or lnd from PATH; without one the test is skipped, or fails (RequirePeers).
func FindLnd(t testing.TB) []string {
	t.Helper()
	return find(t, "ROD_LND", "lnd")
}

// NewLnd starts an lnd on a bitcoind, with these options besides.
func NewLnd(t testing.TB, name string, btc *Bitcoin, options ...string) *Lnd {
	t.Helper()
	command := FindLnd(t)
	p := newProgram(t, name)
	l := &Lnd{program: p, addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))}
	rest := net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))
	l.api.base = "https://" + rest
	p.command = append(append(command,
		"--lnddir="+p.dir, "--noseedbackup", "--alias="+name, "--listen="+l.addr, "--restlisten="+rest,
		"--rpclisten="+net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t))),
		"--bitcoin.regtest", "--bitcoin.node=bitcoind", "--bitcoind.rpchost="+btc.Access.Addr, "--bitcoind.rpccookie="+btc.Access.Cookie,
		"--bitcoind.rpcpolling", "--bitcoind.blockpollinginterval=100ms", "--bitcoind.txpollinginterval=100ms",
		"--nobootstrap", "--trickledelay=100", "--debuglevel="+level("info"),
	), options...)
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	return l
}

// level is how much the programs write: ROD_LOG, or what is given.
func level(usual string) string {
	if l := os.Getenv("ROD_LOG"); l != "" {
		return l
	}
	return usual
}

func (l *Lnd) ID() string   { return l.id }
func (l *Lnd) Addr() string { return l.addr }

func (l *Lnd) Start() error {
	if err := l.launch(); err != nil {
		return err
	}
	// Its server of peers and channels starts some time after that of its RPC.
	return l.awaken(func() error {
		if err := l.identify(); err != nil {
			return err
		}
		var state struct{ State string }
		if err := l.api.do("GET", "/v1/state", nil, &state); err != nil {
			return err
		}
		if state.State != "SERVER_ACTIVE" {
			return fmt.Errorf("state %s", state.State)
		}
		var info struct {
			ID string `json:"identity_pubkey"`
		}
		err := l.api.do("GET", "/v1/getinfo", nil, &info)
		l.id = info.ID
		return err
	})
}

// identify reads the certificate and the macaroon that lnd made at its first start. It may be writing them just now.
func (l *Lnd) identify() error {
	pem, err := os.ReadFile(filepath.Join(l.dir, "tls.cert"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return errors.New("tls.cert has no certificate yet")
	}
	macaroon, err := os.ReadFile(filepath.Join(l.dir, "data", "chain", "bitcoin", "regtest", "admin.macaroon"))
	if err != nil {
		return err
	}
	l.api.http.CloseIdleConnections()
	l.api.http.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 32}
	l.api.header = http.Header{"Grpc-Metadata-Macaroon": {hex.EncodeToString(macaroon)}}
	return nil
}

func (l *Lnd) Stop() error {
	if err := l.api.do("POST", "/v1/stop", struct{}{}, nil); err != nil {
		return err
	}
	return l.ended()
}

func (l *Lnd) Height() (uint32, error) {
	var info struct {
		Height uint32 `json:"block_height"`
		Synced bool   `json:"synced_to_chain"`
	}
	if err := l.api.do("GET", "/v1/getinfo", nil, &info); err != nil {
		return 0, err
	}
	if !info.Synced {
		return 0, nil
	}
	return info.Height, nil
}

func (l *Lnd) Address() (string, error) {
	var out struct{ Address string }
	err := l.api.do("GET", "/v1/newaddress?type=WITNESS_PUBKEY_HASH", nil, &out)
	return out.Address, err
}

func (l *Lnd) Coins() (int64, error) {
	var out struct {
		Confirmed int64 `json:"confirmed_balance,string"`
		Reserved  int64 `json:"reserved_balance_anchor_chan,string"` // part of the former
	}
	err := l.api.do("GET", "/v1/balance/blockchain", nil, &out)
	return out.Confirmed, err
}

func (l *Lnd) Connect(id, addr string) error {
	err := l.api.do("POST", "/v1/peers", map[string]any{"addr": map[string]any{"pubkey": id, "host": addr}, "timeout": "30"}, nil)
	if err != nil && strings.Contains(err.Error(), "already connected") {
		return nil
	}
	return err
}

func (l *Lnd) Disconnect(id string) error { return l.api.do("DELETE", "/v1/peers/"+id, nil, nil) }

func (l *Lnd) Peers() (ids []string, err error) {
	var out struct {
		Peers []struct {
			ID string `json:"pub_key"`
		}
	}
	err = l.api.do("GET", "/v1/peers", nil, &out)
	for _, p := range out.Peers {
		ids = append(ids, p.ID)
	}
	return ids, err
}

func (l *Lnd) Open(o Opening) error {
	return l.api.do("POST", "/v1/channels", map[string]any{
		"node_pubkey_string": o.Peer, "local_funding_amount": o.Capacity, "push_sat": o.Push, "private": o.Private, "spend_unconfirmed": true,
	}, nil)
}

// Close returns when lnd has said that the closing transaction is on its way, which it does once that is published.
func (l *Lnd) Close(funding string, force bool) error {
	txid, output, _ := strings.Cut(funding, ":")
	ctx, cancel := context.WithTimeout(context.Background(), callPatience)
	defer cancel()
	return l.api.stream(ctx, "DELETE", fmt.Sprintf("/v1/channels/%s/%s?force=%v", txid, output, force), nil, func(line json.RawMessage) error {
		var update struct {
			Pending *struct{} `json:"close_pending"`
		}
		if err := json.Unmarshal(line, &update); err != nil || update.Pending == nil {
			return err
		}
		return errEnough
	})
}

// lndChannel is a channel in lnd's list.
type lndChannel struct {
	Active    bool
	Peer      string `json:"remote_pubkey"`
	Point     string `json:"channel_point"`
	ID        uint64 `json:"chan_id,string"`
	Capacity  int64  `json:",string"`
	Local     int64  `json:"local_balance,string"`  // without the fee, if ours
	Remote    int64  `json:"remote_balance,string"` // likewise
	FeePerKw  int64  `json:"fee_per_kw,string"`
	Private   bool
	Initiator bool
	HTLCs     []struct{} `json:"pending_htlcs"`
	ZeroConf  bool       `json:"zero_conf"`
}

func (l *Lnd) Channels() ([]Channel, error) {
	var open struct{ Channels []lndChannel }
	if err := l.api.do("GET", "/v1/channels", nil, &open); err != nil {
		return nil, err
	}
	ready, err := l.routable()
	if err != nil {
		return nil, err
	}
	var all []Channel
	for _, c := range open.Channels {
		c.Active = c.Active && ready[c.Point]
		all = append(all, c.channel())
	}
	// What is opening or closing is in a list of its own.
	var pending map[string]json.RawMessage
	if err := l.api.do("GET", "/v1/channels/pending", nil, &pending); err != nil {
		return nil, err
	}
	for _, kind := range []string{"pending_open_channels", "waiting_close_channels", "pending_force_closing_channels"} {
		var some []struct {
			Channel struct {
				Peer     string `json:"remote_node_pub"`
				Point    string `json:"channel_point"`
				Capacity int64  `json:",string"`
			}
		}
		if err := json.Unmarshal(pending[kind], &some); err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		for _, c := range some {
			all = append(all, Channel{Peer: c.Channel.Peer, Funding: c.Channel.Point, Capacity: c.Channel.Capacity})
		}
	}
	return all, nil
}

// routable are the channels that lnd's payments may take: those in its graph with the policies of both ends. It comes to that some
// time after it calls a channel active.
func (l *Lnd) routable() (map[string]bool, error) {
	var graph struct {
		Edges []struct {
			Point  string    `json:"chan_point"`
			First  *struct{} `json:"node1_policy"`
			Second *struct{} `json:"node2_policy"`
		}
	}
	err := l.api.do("GET", "/v1/graph?include_unannounced=true", nil, &graph)
	ready := map[string]bool{}
	for _, e := range graph.Edges {
		ready[e.Point] = e.First != nil && e.Second != nil
	}
	return ready, err
}

func (c *lndChannel) channel() Channel {
	theirs := c.Local
	if c.Initiator {
		theirs = c.Remote
	}
	return Channel{
		Peer: c.Peer, Funding: c.Point, SCID: scidText(c.ID), Opener: c.Initiator, Private: c.Private, Usable: c.Active,
		Capacity: c.Capacity, FeeRate: c.FeePerKw, HTLCs: len(c.HTLCs), Theirs: theirs,
	}
}

// scidText is a short_channel_id as everybody writes it.
func scidText(id uint64) string { return fmt.Sprintf("%dx%dx%d", id>>40, id>>16&0xffffff, id&0xffff) }

// Total adds to lnd's own figure the fees and anchors of commitments without HTLCs (BOLT 3), which it has taken off.
func (l *Lnd) Total() (int64, error) {
	var balance struct {
		Local struct {
			Msat int64 `json:",string"`
		} `json:"local_balance"`
	}
	if err := l.api.do("GET", "/v1/balance/channels", nil, &balance); err != nil {
		return 0, err
	}
	all, err := l.Channels()
	sum := balance.Local.Msat
	for _, c := range all {
		if c.Opener {
			const weight, anchors = 1124, 2 * 330
			sum += 1000 * (c.FeeRate*weight/1000 + anchors)
		}
	}
	return sum, err
}

func (l *Lnd) Invoice(msat uint64) (Invoice, error) {
	var out struct {
		Hash []byte `json:"r_hash"`
		Text string `json:"payment_request"`
	}
	err := l.api.do("POST", "/v1/invoices", map[string]any{"value_msat": strconv.FormatUint(msat, 10), "memo": "regtest", "private": true}, &out)
	return Invoice{Text: out.Text, Hash: hex.EncodeToString(out.Hash)}, err
}

func (l *Lnd) Blinded(msat uint64, p PathWish) (Invoice, error) {
	var out struct {
		Hash []byte `json:"r_hash"`
		Text string `json:"payment_request"`
	}
	err := l.api.do("POST", "/v1/invoices", map[string]any{
		"value_msat": strconv.FormatUint(msat, 10), "is_blinded": true,
		"blinded_path_config": map[string]any{"min_num_real_hops": p.Hops, "num_hops": p.Hops + p.Dummies, "max_num_paths": max(p.Paths, 1)},
	}, &out)
	return Invoice{Text: out.Text, Hash: hex.EncodeToString(out.Hash)}, err
}

func (l *Lnd) Withdraw(inv Invoice) error {
	hash, err := unhex(inv.Hash)
	if err != nil {
		return err
	}
	return l.api.do("POST", "/v2/invoices/cancel", map[string]any{"payment_hash": hash}, nil)
}

func (l *Lnd) Graph() (Graph, error) {
	var out struct {
		Nodes []struct {
			ID    string `json:"pub_key"`
			Alias string
		}
		Edges []struct {
			ID     uint64    `json:"channel_id,string"`
			First  *struct{} `json:"node1_policy"`
			Second *struct{} `json:"node2_policy"`
		}
	}
	if err := l.api.do("GET", "/v1/graph", nil, &out); err != nil {
		return Graph{}, err
	}
	g := Graph{Channels: len(out.Edges), Aliases: map[string]string{}}
	for _, n := range out.Nodes {
		if n.Alias != "" { // otherwise only known from a channel_announcement
			g.Nodes++
			g.Aliases[n.ID] = n.Alias
		}
	}
	for _, e := range out.Edges {
		for _, p := range []*struct{}{e.First, e.Second} {
			if p != nil {
				g.Updates++
			}
		}
	}
	return g, nil
}
