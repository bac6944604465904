package regtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"testing"
)

// Rodd is our daemon, as a process of its own: it can be killed. It is asked by its API on the unix socket.
type Rodd struct {
	*program
	api  caller
	id   string
	addr string
}

var _ Node = (*Rodd)(nil)

// NewRodd builds and starts a rodd on a bitcoind, with these options besides: only where it listens is set, all else is as by default.
func NewRodd(t testing.TB, name string, btc *Bitcoin, options ...string) *Rodd {
	t.Helper()
	command, err := built("lightningrod/cmd/rodd")
	if err != nil {
		t.Fatal(err)
	}
	socket := socketPath(t)
	p := newProgram(t, name)
	r := &Rodd{program: p, addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))}
	r.api.base = "http://rodd/v1"
	r.api.http.Transport = &http.Transport{MaxIdleConnsPerHost: 32, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	listen := "--listen.p2p=" + r.addr
	if i := slices.Index(options, NoListener); i >= 0 {
		listen, options = "--listen.p2p=", slices.Delete(slices.Clone(options), i, i+1)
	}
	p.command = append([]string{
		command, "--data-dir", p.dir, "--alias", name, listen, "--listen.api", socket, "--seed.no-encrypt",
		"--chain.backend", "bitcoind", "--bitcoind.addr", btc.Access.Addr, "--bitcoind.cookie", btc.Access.Cookie, "--log.level", level("info"),
	}, options...)
	// A seed has to be asked for; its words go nowhere.
	if out, err := exec.Command(command, "init", "--data-dir", p.dir, "--seed.no-encrypt").CombinedOutput(); err != nil {
		t.Fatalf("rodd init: %v\n%s", err, out)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

// NoListener is an option of NewRodd: others cannot connect to it, it has to connect to them.
const NoListener = "--no-listener"

func (r *Rodd) ID() string   { return r.id }
func (r *Rodd) Addr() string { return r.addr }

func (r *Rodd) Start() error {
	if err := r.launch(); err != nil {
		return err
	}
	return r.awaken(func() error {
		if err := r.api.do("GET", "/readyz", nil, nil); err != nil {
			return err
		}
		var info struct{ ID string }
		err := r.api.do("GET", "/node", nil, &info)
		r.id = info.ID
		return err
	})
}

func (r *Rodd) Stop() error {
	if err := syscall.Kill(r.process.pid, syscall.SIGTERM); err != nil {
		return err
	}
	return r.ended()
}

func (r *Rodd) Height() (uint32, error) {
	var info struct {
		Height uint32 `json:"block_height"`
	}
	err := r.api.do("GET", "/node", nil, &info)
	return info.Height, err
}

func (r *Rodd) Address() (string, error) {
	var out struct{ Address string }
	err := r.api.do("POST", "/wallet/addresses", nil, &out)
	return out.Address, err
}

func (r *Rodd) balance() (confirmed, local int64, err error) {
	var out struct {
		Confirmed int64 `json:"confirmed_sat"`
		Local     int64 `json:"channels_local_msat"`
	}
	err = r.api.do("GET", "/wallet/balance", nil, &out)
	return out.Confirmed, out.Local, err
}

func (r *Rodd) Coins() (int64, error) {
	confirmed, _, err := r.balance()
	return confirmed, err
}

func (r *Rodd) Total() (int64, error) {
	_, local, err := r.balance()
	return local, err
}

func (r *Rodd) Connect(id, addr string) error {
	return r.api.do("POST", "/peers", map[string]any{"id": id, "address": addr, "keep": true}, nil)
}

func (r *Rodd) Disconnect(id string) error { return r.api.do("DELETE", "/peers/"+id, nil, nil) }

func (r *Rodd) Peers() (ids []string, err error) {
	var out struct {
		Items []struct {
			ID        string
			Connected bool
		}
	}
	err = r.api.do("GET", "/peers?limit=1000", nil, &out)
	for _, p := range out.Items {
		if p.Connected {
			ids = append(ids, p.ID)
		}
	}
	return ids, err
}

func (r *Rodd) Open(o Opening) error {
	return r.api.do("POST", "/channels", map[string]any{
		"peer": o.Peer, "capacity_sat": o.Capacity, "push_msat": o.Push * 1000, "private": o.Private,
	}, nil)
}

// roddChannel is a channel in rodd's list.
type roddChannel struct {
	Channel  uint64 `json:",string"`
	Peer     string
	SCID     string `json:"short_channel_id"`
	Funding  string `json:"funding_outpoint"`
	Usable   bool
	Opener   bool
	Private  bool
	Capacity int64 `json:"capacity_sat"`
	Local    int64 `json:"local_msat"`
	Remote   int64 `json:"remote_msat"`
	FeeRate  int64 `json:"feerate_sat_per_kw"`
	HTLCs    int   `json:"htlcs"`
	Phase    string
}

func (r *Rodd) list() ([]roddChannel, error) {
	var out struct{ Items []roddChannel }
	err := r.api.do("GET", "/channels?limit=1000", nil, &out)
	return out.Items, err
}

func (r *Rodd) Channels() ([]Channel, error) {
	list, err := r.list()
	var all []Channel
	for _, c := range list {
		theirs := c.Local
		if c.Opener {
			theirs = c.Remote
		}
		all = append(all, Channel{
			Peer: c.Peer, Funding: c.Funding, SCID: c.SCID, Opener: c.Opener, Private: c.Private, Usable: c.Usable, Capacity: c.Capacity,
			FeeRate: c.FeeRate, HTLCs: c.HTLCs, Theirs: theirs / 1000,
		})
	}
	return all, err
}

func (r *Rodd) Close(funding string, force bool) error {
	list, err := r.list()
	if err != nil {
		return err
	}
	for _, c := range list {
		if c.Funding == funding {
			return r.api.do("POST", fmt.Sprintf("/channels/%d/close", c.Channel), map[string]any{"force": force}, nil)
		}
	}
	return fmt.Errorf("no channel %s", funding)
}

func (r *Rodd) Invoice(msat uint64) (Invoice, error) { return r.invoice(msat, "") }

func (r *Rodd) Blinded(msat uint64, p PathWish) (Invoice, error) {
	switch {
	case p.Dummies > 0:
		return Invoice{}, errors.New("rodd makes no dummy hops")
	case p.Hops == 0:
		return r.invoice(msat, "self")
	case p.Hops == 1:
		return r.invoice(msat, "peers")
	}
	return Invoice{}, fmt.Errorf("rodd makes no paths of %d hops", p.Hops)
}

func (r *Rodd) invoice(msat uint64, blinding string) (Invoice, error) {
	var out struct {
		Hash string `json:"payment_hash"`
		Text string `json:"bolt11"`
	}
	err := r.api.do("POST", "/invoices", map[string]any{"amount_msat": msat, "description": "regtest", "blinding": blinding}, &out)
	return Invoice{Text: out.Text, Hash: out.Hash}, err
}

func (r *Rodd) Withdraw(Invoice) error { return errors.New("rodd cannot withdraw an invoice") }

func (r *Rodd) Pay(p Payment) (o Outcome, err error) {
	if len(p.FirstHop) > 0 || p.Unknown || p.FinalExpiry != 0 || p.LessFee != 0 || p.LessExpiry != 0 || p.Wrong != "" {
		return o, errors.New("rodd pays what an invoice says, and nothing else")
	}
	var out struct {
		ID      uint64 `json:",string"`
		State   string
		Sent    uint64 `json:"sent_msat"`
		Failure *struct {
			Code, Reason string
			Hop          *int
		}
	}
	in := map[string]any{"bolt11": p.Invoice, "parts": max(1, p.Parts), "wait_seconds": 60}
	if err := r.api.do("POST", "/payments", in, &out); err != nil {
		return o, err
	}
	switch out.State {
	case "succeeded":
		return Outcome{Paid: true}, nil
	case "failed":
		o = Outcome{Failure: "unknown", Hop: -1}
		if f := out.Failure; f != nil && f.Code != "" {
			o.Failure = f.Code
		} else if f != nil {
			o.Failure = f.Reason
		}
		if out.Failure != nil && out.Failure.Hop != nil {
			o.Hop = *out.Failure.Hop + 1
		}
		return o, nil
	}
	return o, fmt.Errorf("payment %d is %s", out.ID, out.State)
}

// Ledger reads rodd's lists. The amount of a payment is in its invoice, and is left 0.
func (r *Rodd) Ledger() (Ledger, error) {
	b := Ledger{Paid: map[string]int64{}, Received: map[string]int64{}}
	err := r.pages("/payments", func(item json.RawMessage) error {
		var p struct {
			Hash  string `json:"payment_hash"`
			Sent  int64  `json:"sent_msat"`
			State string
		}
		err := json.Unmarshal(item, &p)
		switch p.State {
		case "succeeded":
			b.Paid[p.Hash] = 0 // Sent is with fees
			b.Sent += p.Sent
		case "pending":
			b.Pending = append(b.Pending, p.Hash)
		default:
			b.Failed = append(b.Failed, p.Hash)
		}
		return err
	})
	if err != nil {
		return b, err
	}
	return b, r.pages("/invoices", func(item json.RawMessage) error {
		var i struct {
			Hash     string `json:"payment_hash"`
			Received int64  `json:"received_msat"`
			State    string
		}
		err := json.Unmarshal(item, &i)
		if i.State == "paid" {
			b.Received[i.Hash] = i.Received
		}
		return err
	})
}

// Held are the incoming HTLCs that are not settled, by the state they are in.
func (r *Rodd) Held() (map[string]int, error) {
	states := map[string]int{}
	return states, r.pages("/held", func(item json.RawMessage) error {
		var h struct{ State string }
		err := json.Unmarshal(item, &h)
		states[h.State]++
		return err
	})
}

// Mailbox is how many onion messages wait for clients.
func (r *Rodd) Mailbox() (messages int, err error) {
	err = r.pages("/mailbox", func(item json.RawMessage) error {
		var box struct{ Messages int }
		err := json.Unmarshal(item, &box)
		messages += box.Messages
		return err
	})
	return messages, err
}

// pages reads a whole list.
func (r *Rodd) pages(path string, f func(json.RawMessage) error) error {
	for after := ""; ; {
		var page struct {
			Items []json.RawMessage
			Next  string
		}
		cursor := ""
		if after != "" {
			cursor = "&after=" + url.QueryEscape(after)
		}
		if err := r.api.do("GET", path+"?limit=1000"+cursor, nil, &page); err != nil {
			return err
		}
		for _, item := range page.Items {
			if err := f(item); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		after = page.Next
	}
}

func (r *Rodd) Graph() (Graph, error) {
	var info struct {
		Nodes    int `json:"graph_nodes"`
		Channels int `json:"graph_channels"`
	}
	err := r.api.do("GET", "/node", nil, &info)
	return Graph{Nodes: info.Nodes, Channels: info.Channels, Updates: -1}, err
}
