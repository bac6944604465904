package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"lightningrod/cmd/internal/api"
)

// nodeCommands are the commands that talk to a node: a noun, a verb. Those who come from lncli find its words too.
type nodeCommands struct {
	Node struct {
		Info getInfo `cmd:"" help:"Who the node is and how it stands."`
	} `cmd:"" help:"The node."`
	Wallet struct {
		Address newAddress `cmd:"" help:"A fresh address."`
		Balance balance    `cmd:"" help:"What the node has."`
	} `cmd:"" help:"Coins on the chain."`
	Peer struct {
		Connect    connect    `cmd:"" help:"Connect to a node, and stay connected."`
		Disconnect disconnect `cmd:"" help:"End a connection, and keep it no longer."`
		List       listPeers  `cmd:"" help:"Nodes that are connected, or should be."`
	} `cmd:"" help:"Connections to other nodes."`
	Channel struct {
		Open  openChannel  `cmd:"" help:"Open a channel with a connected node."`
		Close closeChannel `cmd:"" help:"Close a channel."`
		List  listChannels `cmd:"" help:"All channels."`
	} `cmd:"" help:"Channels."`
	Invoice struct {
		Create createInvoice `cmd:"" help:"Make an invoice."`
		List   listInvoices  `cmd:"" help:"Our invoices."`
	} `cmd:"" help:"What we ask others to pay."`
	Payment struct {
		Send sendPayment  `cmd:"" help:"Pay an invoice."`
		List listPayments `cmd:"" help:"Our payments."`
	} `cmd:"" help:"What we pay."`
	Held struct {
		List     listHeld     `cmd:"" help:"Incoming HTLCs that are not settled."`
		Requests listRequests `cmd:"" help:"What payers asked us to hold."`
	} `cmd:"" help:"What an LSP holds for others."`
	Mailbox struct {
		List listMailbox `cmd:"" help:"How many onion messages wait for whom."`
	} `cmd:"" help:"Onion messages that wait for clients."`
	Event struct {
		Follow followEvents `cmd:"" help:"What happens, as it happens."`
	} `cmd:"" help:"The node's news."`
	Token struct {
		Create createToken `cmd:"" help:"Make a bearer token for the API over TLS. It is shown once."`
		List   listTokens  `cmd:"" help:"Names and scopes of the tokens."`
		Remove removeToken `cmd:"" help:"Void a token."`
	} `cmd:"" help:"Bearer tokens."`
	Lab struct {
		Mine mine `cmd:"" help:"Mine blocks on the embedded chain."`
	} `cmd:"" help:"Regtest only."`

	GetInfo      getInfo      `cmd:"" name:"getinfo" help:"node info" group:"As in lncli:"`
	Connect      connect      `cmd:"" help:"peer connect" group:"As in lncli:"`
	OpenChannel  openChannel  `cmd:"" name:"openchannel" help:"channel open" group:"As in lncli:"`
	ListChannels listChannels `cmd:"" name:"listchannels" help:"channel list" group:"As in lncli:"`
	PayInvoice   sendPayment  `cmd:"" name:"payinvoice" help:"payment send" group:"As in lncli:"`
}

type getInfo struct {
	Remote `embed:""`
}

func (c *getInfo) Run(s *session) error {
	return ask(s, &c.Remote, "/node", func(t *table, i api.Info) {
		t.row("node", i.ID)
		t.row("alias", i.Alias)
		t.row("network", i.Network+" ("+i.Backend+")")
		t.row("height", fmt.Sprint(i.Height))
		t.row("state", strings.TrimSpace(i.State+" "+i.Stale))
		t.row("listens on", strings.Join(i.Addrs, " "))
		t.row("peers", fmt.Sprint(i.Peers))
		t.row("channels", fmt.Sprintf("%d, %d usable", i.Channels, i.UsableCount))
		t.row("graph", fmt.Sprintf("%d nodes, %d channels", i.GraphNodes, i.GraphChannels))
		t.row("version", i.Version)
	})
}

type newAddress struct {
	Remote `embed:""`
}

func (c *newAddress) Run(s *session) error {
	return do(s, &c.Remote, "POST", "/wallet/addresses", nil, "", func(t *table, a api.Address) { t.row(a.Address) })
}

type balance struct {
	Remote `embed:""`
}

func (c *balance) Run(s *session) error {
	return ask(s, &c.Remote, "/wallet/balance", func(t *table, b api.Balance) {
		t.row("on chain", fmt.Sprintf("%d sat", b.Confirmed))
		t.row("unconfirmed", fmt.Sprintf("%d sat", b.Unconfirmed))
		t.row("in channels", showMsat(b.Local))
		t.row("of peers", showMsat(b.Remote))
	})
}

type connect struct {
	Remote `embed:""`
	Node   string `arg:"" placeholder:"ID@HOST:PORT" help:"The node's id and address."`
	Once   bool   `help:"Do not connect again when the connection ends."`
}

func (c *connect) Run(s *session) error {
	id, addr, ok := strings.Cut(c.Node, "@")
	if !ok {
		return statusError{exitUsage, fmt.Errorf("%q is not ID@HOST:PORT", c.Node)}
	}
	return do(s, &c.Remote, "POST", "/peers", api.ConnectPeer{ID: id, Addr: addr, Keep: !c.Once}, "",
		func(t *table, p api.Peer) { t.row("connected to", p.ID) })
}

type disconnect struct {
	Remote `embed:""`
	Node   string `arg:"" placeholder:"ID" help:"The node's id."`
}

func (c *disconnect) Run(s *session) error {
	return do(s, &c.Remote, "DELETE", "/peers/"+url.PathEscape(c.Node), nil, "", func(*table, api.Empty) {})
}

type listPeers struct {
	Remote `embed:""`
}

func (c *listPeers) Run(s *session) error {
	return list(s, &c.Remote, "/peers", func(t *table, p api.Peer) {
		t.row(p.ID, p.Addr, word(p.Connected, "connected", "away"), word(p.Inbound, "inbound", ""), word(p.Kept, "kept", ""), p.Since)
	}, "NODE", "ADDRESS", "STATE", "", "", "SINCE")
}

func word(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

type openChannel struct {
	Remote   `embed:""`
	Peer     string `arg:"" placeholder:"ID" help:"Id of a connected node."`
	Capacity amount `arg:"" help:"Size of the channel, as in 500000sat or 0.1btc."`
	Push     amount `help:"Give the peer so much at the start."`
	Private  bool   `help:"Do not announce the channel."`
	Key      string `placeholder:"KEY" help:"Idempotency key: with the same key it is opened once."`
}

func (c *openChannel) Run(s *session) error {
	capacity, err := c.Capacity.sat()
	if err != nil {
		return statusError{exitUsage, fmt.Errorf("capacity: %w", err)}
	}
	return do(s, &c.Remote, "POST", "/channels", api.OpenChannel{Peer: c.Peer, Capacity: capacity, Push: uint64(c.Push), Private: c.Private}, c.Key,
		func(t *table, r api.ChannelRef) {
			t.row("channel", r.Channel.String(), "is being opened: usable after its confirmations")
		})
}

type closeChannel struct {
	Remote  `embed:""`
	Channel api.Number `arg:"" help:"The channel's number, as in rod channel list."`
	Force   bool       `help:"Publish our commitment, if the peer does not answer."`
}

func (c *closeChannel) Run(s *session) error {
	in := struct {
		Force bool `json:"force"`
	}{c.Force}
	return do(s, &c.Remote, "POST", "/channels/"+c.Channel.String()+"/close", in, "",
		func(t *table, r api.ChannelRef) { t.row("channel", r.Channel.String(), "is being closed") })
}

type listChannels struct {
	Remote `embed:""`
}

func (c *listChannels) Run(s *session) error {
	return list(s, &c.Remote, "/channels", func(t *table, ch api.Channel) {
		t.row(ch.Channel.String(), ch.Peer[:16], ch.ShortID, ch.Phase, word(ch.Usable, "usable", "-"), fmt.Sprintf("%d sat", ch.Capacity),
			showMsat(ch.Local), showMsat(ch.Remote), fmt.Sprint(ch.HTLCs))
	}, "CHANNEL", "PEER", "SHORT ID", "PHASE", "", "CAPACITY", "OURS", "THEIRS", "HTLCS")
}

type createInvoice struct {
	Remote      `embed:""`
	Amount      amount `arg:"" optional:"" help:"As in 21sat; without one the payer chooses."`
	Description string `short:"d" help:"What it is for."`
	Expiry      uint32 `placeholder:"SECONDS" help:"How long it may be paid; an hour if not given."`
}

func (c *createInvoice) Run(s *session) error {
	return do(s, &c.Remote, "POST", "/invoices", api.CreateInvoice{Amount: uint64(c.Amount), Description: c.Description, Expiry: c.Expiry}, "",
		func(t *table, i api.Invoice) { t.row(i.Text) })
}

type listInvoices struct {
	Remote `embed:""`
}

func (c *listInvoices) Run(s *session) error {
	return list(s, &c.Remote, "/invoices", func(t *table, i api.Invoice) {
		t.row(i.Hash, i.State, showMsat(i.Amount), showMsat(i.Received), i.Expires)
	}, "PAYMENT HASH", "STATE", "AMOUNT", "RECEIVED", "EXPIRES")
}

type sendPayment struct {
	Remote  `embed:""`
	Invoice string `arg:"" help:"A BOLT 11 invoice."`
	Amount  amount `help:"For an invoice without an amount, as in 21sat."`
	Parts   int    `default:"1" help:"In how many parts at most."`
	Wait    uint32 `default:"60" placeholder:"SECONDS" help:"How long to wait for the outcome."`
	Async   bool   `help:"The payee may be asleep: have an LSP hold the payment. The node may then go offline."`
	LSP     string `name:"lsp" placeholder:"ID" help:"The LSP; if not given: the only peer with a channel."`
	Hold    uint32 `placeholder:"BLOCKS" help:"How long it may be held; 432 if not given."`
	Key     string `placeholder:"KEY" help:"Idempotency key: with the same key it is paid once."`
}

func (c *sendPayment) Run(s *session) error {
	var p api.Payment
	var err error
	if c.Async {
		if c.LSP == "" {
			if c.LSP, err = c.onlyPeer(s); err != nil {
				return err
			}
		}
		err = call(s, &c.Remote, "POST", "/payments/async", api.SendAsync{
			Invoice: c.Invoice, Amount: uint64(c.Amount), LSP: c.LSP, Parts: c.Parts, Hold: c.Hold}, &p, c.Key)
	} else {
		err = call(s, &c.Remote, "POST", "/payments", api.Pay{Invoice: c.Invoice, Amount: uint64(c.Amount), Parts: c.Parts, Wait: c.Wait}, &p, c.Key)
	}
	if err != nil {
		return err
	}
	if err := render(s, &c.Remote, p, func(t *table, p api.Payment) {
		t.row("payment", p.ID.String(), p.State, showMsat(p.Sent))
		if p.Preimage != "" {
			t.row("preimage", p.Preimage)
		}
	}); err != nil {
		return err
	}
	switch {
	case p.State == "failed":
		return statusError{exitFailed, errors.New("the payment failed; rod event follow says why")}
	case p.State == "pending" && !c.Async && c.Wait > 0:
		return statusError{exitPending, errors.New("the payment is still on its way")}
	}
	return nil
}

// onlyPeer is the peer all our usable channels are with.
func (c *sendPayment) onlyPeer(s *session) (string, error) {
	var l api.List[api.Channel]
	if err := call(s, &c.Remote, "GET", "/channels?limit=1000", nil, &l, ""); err != nil {
		return "", err
	}
	var peers []string
	for _, ch := range l.Items {
		if ch.Usable && !slices.Contains(peers, ch.Peer) {
			peers = append(peers, ch.Peer)
		}
	}
	if len(peers) != 1 {
		return "", statusError{exitUsage, fmt.Errorf("usable channels with %d peers: name the LSP with --lsp", len(peers))}
	}
	return peers[0], nil
}

type listPayments struct {
	Remote `embed:""`
}

func (c *listPayments) Run(s *session) error {
	return list(s, &c.Remote, "/payments", func(t *table, p api.Payment) {
		t.row(p.ID.String(), p.State, showMsat(p.Sent), p.Hash)
	}, "PAYMENT", "STATE", "SENT", "PAYMENT HASH")
}

type listHeld struct {
	Remote `embed:""`
}

func (c *listHeld) Run(s *session) error {
	return list(s, &c.Remote, "/held", func(t *table, h api.HTLC) {
		t.row(h.Channel.String(), fmt.Sprint(h.ID), h.State, showMsat(h.Amount), fmt.Sprint(h.Expiry), fmt.Sprint(h.Limit), h.Hash)
	}, "CHANNEL", "HTLC", "STATE", "AMOUNT", "EXPIRY", "GIVEN UP AT", "PAYMENT HASH")
}

type listRequests struct {
	Remote `embed:""`
}

func (c *listRequests) Run(s *session) error {
	return list(s, &c.Remote, "/requests", func(t *table, r api.Request) {
		t.row(r.Peer[:16], r.PidHash[:16], r.State, showMsat(r.Total), fmt.Sprint(r.Parts), fmt.Sprint(r.Deadline))
	}, "PAYER", "PID HASH", "STATE", "TOTAL", "PARTS", "DEADLINE")
}

type listMailbox struct {
	Remote `embed:""`
}

func (c *listMailbox) Run(s *session) error {
	return list(s, &c.Remote, "/mailbox", func(t *table, b api.Box) {
		t.row(b.Client, fmt.Sprint(b.Messages), fmt.Sprint(b.Bytes), b.Oldest)
	}, "CLIENT", "MESSAGES", "BYTES", "OLDEST")
}

type followEvents struct {
	Remote `embed:""`
	After  api.Number `help:"Begin after the event of this number; if not given: with the oldest."`
}

func (c *followEvents) Run(s *session) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	plain := !c.JSON && isTerminal(s.stdout)
	enc := json.NewEncoder(s.stdout)
	err = client.Follow(s.ctx, c.After, func(ev api.Event) error {
		if !plain {
			return enc.Encode(ev)
		}
		names := make([]string, 0, len(ev.Fields))
		for name := range ev.Fields {
			names = append(names, name)
		}
		slices.Sort(names)
		line := fmt.Sprintf("%6d  %-20s", ev.Seq, ev.Kind)
		for _, name := range names {
			line += " " + name + "=" + ev.Fields[name]
		}
		_, err := fmt.Fprintln(s.stdout, printable(line))
		return err
	})
	switch {
	case s.ctx.Err() != nil:
		return nil // this is how it ends
	case err == nil:
		return statusError{exitUnreachable, errors.New("the node ended")}
	}
	return err
}

type createToken struct {
	Remote `embed:""`
	Name   string `arg:"" help:"What it is for."`
	Scope  string `default:"read" enum:"read,invoice,admin" help:"read, invoice or admin."`
}

func (c *createToken) Run(s *session) error {
	return do(s, &c.Remote, "POST", "/tokens", api.CreateToken{Name: c.Name, Scope: c.Scope}, "", func(t *table, n api.NewToken) { t.row(n.Token) })
}

type listTokens struct {
	Remote `embed:""`
}

func (c *listTokens) Run(s *session) error {
	return ask(s, &c.Remote, "/tokens", func(t *table, l api.List[api.TokenInfo]) {
		t.row("NAME", "SCOPE", "MADE")
		for _, x := range l.Items {
			t.row(x.Name, x.Scope, x.Created)
		}
	})
}

type removeToken struct {
	Remote `embed:""`
	Name   string `arg:"" help:"The token's name."`
}

func (c *removeToken) Run(s *session) error {
	return do(s, &c.Remote, "DELETE", "/tokens/"+url.PathEscape(c.Name), nil, "", func(*table, api.Empty) {})
}

type mine struct {
	Remote  `embed:""`
	Blocks  int    `arg:"" default:"1" help:"How many."`
	Address string `help:"Who is paid; the node's wallet if not given."`
}

func (c *mine) Run(s *session) error {
	return do(s, &c.Remote, "POST", "/chain/blocks", api.Mine{Blocks: c.Blocks, Address: c.Address}, "",
		func(t *table, m api.Mined) { t.row("height", fmt.Sprint(m.Height)) })
}
