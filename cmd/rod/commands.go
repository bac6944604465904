package main

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"lightningrod/cmd/internal/api"
	"lightningrod/cmd/rod/internal/facts"

	"github.com/alecthomas/kong"
)

// commandLine is the tree of commands: a noun, a verb. Those who come from lncli find its words too.
type commandLine struct {
	Remote

	Demo demoCommand `cmd:"" help:"Carry a payment between two nodes that are never online together, and prove what happened."`

	Node struct {
		Info   question `cmd:"" get:"/node" help:"Who the node is and how it stands."`
		Health question `cmd:"" get:"/readyz" help:"Whether it serves: the exit status says it."`
		Backup question `cmd:"" post:"/backups" help:"Write a backup of the database, on the node's machine. It can be dumped while the node runs."`
		API    question `cmd:"" name:"api" get:"/openapi.json" help:"The OpenAPI document of its API."`
	} `cmd:"" help:"The node."`
	Wallet struct {
		Address      question  `cmd:"" post:"/wallet/addresses" help:"A fresh address."`
		Balance      question  `cmd:"" get:"/wallet/balance" help:"What the node has, on chain and in channels."`
		Coins        question  `cmd:"" get:"/wallet/coins" columns:"outpoint amount_sat state block_height" help:"Unspent outputs."`
		Transactions question  `cmd:"" get:"/wallet/transactions" columns:"txid state block_height net_sat fee_sat replaceable" help:"Transactions that are pending, or were it not long ago."`
		Send         sendCoins `cmd:"" help:"Pay somebody on chain."`
		Bump         bumpFee   `cmd:"" help:"Replace a transaction of wallet send, while it is not confirmed, by one with a higher fee."`
	} `cmd:"" help:"Coins on the chain."`
	Peer struct {
		Connect    connect    `cmd:"" help:"Connect to a node, and stay connected."`
		Disconnect questionOf `cmd:"" delete:"/peers/{}" which:"id" which-help:"The node's id." help:"End a connection, and keep it no longer."`
		List       question   `cmd:"" get:"/peers" columns:"id address connected inbound kept since" help:"Nodes that are connected, or should be."`
	} `cmd:"" help:"Connections to other nodes."`
	Channel struct {
		Open  openChannel  `cmd:"" help:"Open a channel with a connected node."`
		Close closeChannel `cmd:"" help:"Close a channel, with the peer or by force."`
		List  question     `cmd:"" get:"/channels" columns:"channel peer:16 short_channel_id phase usable capacity_sat local_msat remote_msat htlcs" help:"All channels."`
		Show  questionOf   `cmd:"" get:"/channels/{}" which:"channel" which-help:"The channel's number." help:"All about one channel."`
	} `cmd:"" help:"Channels."`
	Invoice struct {
		Create createInvoice `cmd:"" help:"Make an invoice."`
		List   question      `cmd:"" get:"/invoices" columns:"payment_hash state amount_msat received_msat expires_at" help:"Our invoices."`
		Show   questionOf    `cmd:"" get:"/invoices/{}" which:"payment_hash" which-help:"Its payment hash." help:"All about one invoice."`
	} `cmd:"" help:"What we ask others to pay."`
	Payment struct {
		Send   sendPayment `cmd:"" help:"Pay an invoice, at once or, with --async, to a payee who may be asleep."`
		Cancel questionOf  `cmd:"" post:"/payments/{}/cancel" which:"id" which-help:"The payment's number." help:"Take back a payment of --async. It fails when its LSP has let go of it; if the payee has it by then, it succeeds all the same."`
		List   question    `cmd:"" get:"/payments" columns:"id state amount_msat sent_msat failure.code created_at payment_hash" help:"Our payments."`
		Show   questionOf  `cmd:"" get:"/payments/{}" which:"id" which-help:"The payment's number." help:"All about one payment."`
	} `cmd:"" help:"What we pay."`
	Held struct {
		List     listHeld `cmd:"" get:"/held" columns:"channel htlc_id state amount_msat cltv_expiry given_up_at_height payment_hash" help:"Incoming HTLCs that are not settled."`
		Fail     failHeld `cmd:"" help:"Fail a held HTLC back to its payer, and with it the other parts of its payment. Only what is held can be."`
		Requests question `cmd:"" get:"/requests" columns:"peer:16 pid_hash:16 state total_msat parts deadline_height" help:"What payers asked us to hold."`
	} `cmd:"" help:"What an LSP holds for others."`
	Owed struct {
		List  question   `cmd:"" get:"/owed" columns:"id kind connected amount_msat claim_height blocks_left count since" help:"What is decided and its receiver does not have yet, the most urgent first."`
		Nudge questionOf `cmd:"" post:"/owed/{}/nudge" which:"id" which-help:"As in rod owed list." help:"Call the webhooks of whom it is owed to, who is away. At most once a minute."`
	} `cmd:"" help:"What an LSP owes: preimages, failures, messages, notifications."`
	Client struct {
		List question   `cmd:"" get:"/clients" columns:"id:16 connected last_seen channels webhooks held_msat owed_msat messages" help:"Nodes that have a channel with this LSP, or can be woken by it."`
		Show questionOf `cmd:"" get:"/clients/{}" which:"id" which-help:"The client's node id." help:"All about one client."`
	} `cmd:"" help:"For whom an LSP holds, keeps and wakes."`
	Webhook struct {
		List   question   `cmd:"" get:"/webhooks" columns:"id client:16 app_name platform host" help:"What clients have registered to be woken by."`
		Remove questionOf `cmd:"" delete:"/webhooks/{}" which:"id" which-help:"As in rod webhook list." help:"Forget a webhook. Its client is not told."`
	} `cmd:"" help:"Ways to wake clients."`
	Mailbox struct {
		List question   `cmd:"" get:"/mailbox" columns:"client messages bytes oldest" help:"How many onion messages wait for whom."`
		Show questionOf `cmd:"" get:"/mailbox/{}" columns:"id from:16 arrived_at bytes quiet" which:"client" which-help:"The client's node id." help:"What waits for one client, the oldest first."`
		Drop dropLetter `cmd:"" help:"Throw an onion message away. Nobody is told: it is a message that was lost, as onion messages may be."`
	} `cmd:"" help:"Onion messages that wait for clients."`
	Event struct {
		Follow followEvents `cmd:"" help:"What happens, as it happens, until it is interrupted."`
		List   listEvents   `cmd:"" help:"What has happened."`
	} `cmd:"" help:"The node's news."`
	Token struct {
		Create createToken `cmd:"" help:"Make a bearer token for the API over TLS. It is shown once."`
		List   question    `cmd:"" get:"/tokens" columns:"name scope created_at" help:"Names and scopes of the tokens."`
		Remove questionOf  `cmd:"" delete:"/tokens/{}" which:"name" which-help:"The token's name." help:"Void a token."`
	} `cmd:"" help:"Bearer tokens."`
	Lab struct {
		Mine mine `cmd:"" help:"Mine blocks on the embedded chain."`
	} `cmd:"" help:"Regtest only."`

	Decode     decodeCommands    `cmd:"" help:"What bytes of the protocol say: messages, onions, invoices, paths, transactions. Needs no node."`
	Dump       dumpCommand       `cmd:"" help:"The rows of a node's database as text, without its secrets. The node must not run."`
	Completion completionCommand `cmd:"" help:"The script that lets a shell complete these commands."`
	Version    versionCommand    `cmd:"" help:"The version of this program."`
}

// aliases are words of others, above all lncli's, for a noun and a verb.
var aliases = []struct{ word, means string }{
	{"getinfo", "node info"},
	{"newaddress", "wallet address"},
	{"walletbalance", "wallet balance"},
	{"channelbalance", "wallet balance"},
	{"sendcoins", "wallet send"},
	{"listunspent", "wallet coins"},
	{"listchaintxns", "wallet transactions"},
	{"bumpfee", "wallet bump"},
	{"connect", "peer connect"},
	{"disconnect", "peer disconnect"},
	{"listpeers", "peer list"},
	{"openchannel", "channel open"},
	{"closechannel", "channel close"},
	{"listchannels", "channel list"},
	{"addinvoice", "invoice create"},
	{"listinvoices", "invoice list"},
	{"lookupinvoice", "invoice show"},
	{"decodepayreq", "decode invoice"},
	{"payinvoice", "payment send"},
	{"sendpayment", "payment send"},
	{"listpayments", "payment list"},
}

// aliased puts noun and verb in the place of an alias: the first word that is neither a flag nor the value of one.
func aliased(args []string, flags []*kong.Flag) []string {
	for i := 0; i < len(args); i++ {
		if !strings.HasPrefix(args[i], "-") {
			for _, a := range aliases {
				if a.word == args[i] {
					return slices.Concat(args[:i], strings.Fields(a.means), args[i+1:])
				}
			}
			return args
		}
		if name, _, valued := strings.Cut(strings.TrimLeft(args[i], "-"), "="); !valued {
			if slices.ContainsFunc(flags, func(f *kong.Flag) bool { return f.Name == name && !f.IsBool() }) {
				i++
			}
		}
	}
	return args
}

// nameArguments gives the argument of every questionOf the name and the help that stand in its place in the tree.
func nameArguments(k *kong.Kong) error {
	for _, leaf := range k.Model.Leaves(false) {
		for _, arg := range leaf.Positional {
			if leaf.Tag.Has("which") {
				arg.Name, arg.Help = leaf.Tag.Get("which"), leaf.Tag.Get("which-help")
			}
		}
	}
	return nil
}

// groups are the headings in help.
var groups = kong.ExplicitGroups([]kong.Group{{Key: "node", Title: "Which node, and how it is shown:"}})

type sendCoins struct {
	Address string `arg:"" help:"Who is paid."`
	Amount  amount `arg:"" optional:"" help:"As in 50000sat; or --all."`
	All     bool   `help:"Everything, less the fee; only without channels."`
	FeeRate uint32 `placeholder:"SAT-PER-KW" help:"Sat per 1000 weight; by the estimates if not given."`
	Key     string `placeholder:"KEY" help:"Idempotency key: with the same key it is paid once."`
}

// Run pays.
func (c *sendCoins) Run(s *session) error {
	sat, err := c.Amount.sat()
	switch {
	case err != nil:
		return wrong("amount: %v", err)
	case c.All == (c.Amount != 0):
		return wrong("an amount or --all: one of them")
	}
	return s.do("POST", "/wallet/withdrawals", api.Withdraw{Address: c.Address, Amount: sat, All: c.All, FeeRate: c.FeeRate}, c.Key)
}

type bumpFee struct {
	Txid       string `arg:"" help:"The transaction's id."`
	FeeRate    uint32 `arg:"" placeholder:"SAT-PER-KW" help:"The new fee rate, sat per 1000 weight."`
	FromAmount bool   `help:"Of a transaction that paid everything: the fee comes out of what is paid."`
}

// Run replaces.
func (c *bumpFee) Run(s *session) error {
	body := map[string]any{"feerate_sat_per_kw": c.FeeRate, "from_amount": c.FromAmount}
	return s.do("POST", "/wallet/withdrawals/"+url.PathEscape(c.Txid)+"/bump", body, "")
}

type listHeld struct {
	State string `placeholder:"STATE" help:"Only those in this state: held, waiting, part, on way, void, failed or fulfilled."`
}

// Run lists them.
func (c *listHeld) Run(s *session) error {
	query := url.Values{}
	if c.State != "" {
		query.Set("state", c.State)
	}
	return s.list(s.command.Tag.Get("get"), query, strings.Fields(s.command.Tag.Get("columns")))
}

type failHeld struct {
	Channel api.Number `arg:"" help:"Number of the channel that the HTLC came in by, as in rod held list."`
	HTLC    api.Number `arg:"" name:"htlc_id" help:"The HTLC's id."`
}

// Run fails it.
func (c *failHeld) Run(s *session) error {
	return s.do("POST", "/held/"+c.Channel.String()+"/"+c.HTLC.String()+"/fail", nil, "")
}

type dropLetter struct {
	Client string     `arg:"" help:"The client's node id."`
	ID     api.Number `arg:"" help:"As in rod mailbox show."`
}

// Run throws it away.
func (c *dropLetter) Run(s *session) error {
	return s.do("DELETE", "/mailbox/"+url.PathEscape(c.Client)+"/"+c.ID.String(), nil, "")
}

type connect struct {
	Node string `arg:"" placeholder:"ID@HOST:PORT" help:"The node's id and address."`
	Once bool   `help:"Do not connect again when the connection ends."`
}

// Run connects.
func (c *connect) Run(s *session) error {
	id, addr, ok := strings.Cut(c.Node, "@")
	if !ok {
		return wrong("%q is not ID@HOST:PORT", c.Node)
	}
	return s.do("POST", "/peers", api.ConnectPeer{ID: id, Addr: addr, Keep: !c.Once}, "")
}

type openChannel struct {
	Peer     string `arg:"" placeholder:"ID" help:"Id of a connected node."`
	Capacity amount `arg:"" help:"Size of the channel, as in 500000sat or 0.1btc."`
	Push     amount `help:"Give the peer so much at the start."`
	Private  bool   `help:"Do not announce the channel."`
	FeeRate  uint32 `placeholder:"SAT-PER-KW" help:"Fee rate of the commitments, sat per 1000 weight; by the estimates if not given."`
	Wait     *bool  `negatable:"" help:"Wait until the channel can be used. What is said meanwhile is on the standard error. Not given: on a terminal only."`
	Key      string `placeholder:"KEY" help:"Idempotency key: with the same key it is opened once."`
}

// Run opens, and waits for the confirmations.
func (c *openChannel) Run(s *session) error {
	capacity, err := c.Capacity.sat()
	if err != nil {
		return wrong("capacity: %v", err)
	}
	in := api.OpenChannel{Peer: c.Peer, Capacity: capacity, Push: uint64(c.Push), Private: c.Private, FeeRate: c.FeeRate}
	after, err := s.newest()
	if err != nil {
		return err
	}
	var ref api.ChannelRef
	if err := s.call("POST", "/channels", in, &ref, c.Key); err != nil {
		return err
	}
	if c.Wait == nil && isTerminal(s.stderr) || c.Wait != nil && *c.Wait {
		if err := s.untilUsable(ref.Channel, after); err != nil {
			return err
		}
	}
	return s.do("GET", "/channels/"+ref.Channel.String(), nil, "")
}

type closeChannel struct {
	Channel api.Number `arg:"" help:"The channel's number, as in rod channel list."`
	Force   bool       `help:"Publish our commitment, if the peer does not answer."`
	Wait    bool       `help:"Wait until it is over: everything on chain is ours or the peer's for good. What is said meanwhile is on the standard error."`
}

// Run closes.
func (c *closeChannel) Run(s *session) error {
	after, err := s.newest()
	if err != nil {
		return err
	}
	var ref facts.Facts
	if err := s.call("POST", "/channels/"+c.Channel.String()+"/close", map[string]bool{"force": c.Force}, &ref, ""); err != nil {
		return err
	}
	if c.Wait {
		if err := s.untilClosed(c.Channel, after); err != nil {
			return err
		}
	}
	return s.show(ref)
}

type createInvoice struct {
	Amount      amount        `arg:"" optional:"" help:"As in 21sat; without one the payer chooses."`
	Description string        `short:"d" help:"What it is for."`
	Expiry      time.Duration `placeholder:"TIME" help:"How long it may be paid, as in 90m; an hour if not given."`
	Blinding    string        `default:"no" enum:"no,peers,self" placeholder:"HOW" help:"Who is named: this node (no), blinded paths that begin at channel peers (peers), or one that begins here (self)."`
}

// Run makes the invoice.
func (c *createInvoice) Run(s *session) error {
	const year = 365 * 24 * time.Hour
	if c.Expiry < 0 || c.Expiry > year || c.Expiry%time.Second != 0 {
		return wrong("--expiry %s is not whole seconds from 1s to %s", c.Expiry, year)
	}
	in := api.CreateInvoice{Amount: uint64(c.Amount), Description: c.Description, Expiry: uint32(c.Expiry / time.Second)}
	if c.Blinding != "no" {
		in.Blinding = c.Blinding
	}
	return s.do("POST", "/invoices", in, "")
}

type createToken struct {
	Name  string `arg:"" help:"What it is for."`
	Scope string `default:"read" enum:"read,invoice,admin" help:"What it may do: read, invoice or admin."`
}

// Run makes the token.
func (c *createToken) Run(s *session) error {
	return s.do("POST", "/tokens", api.CreateToken{Name: c.Name, Scope: c.Scope}, "")
}

type mine struct {
	Blocks  int    `arg:"" default:"1" help:"How many."`
	Address string `help:"Who is paid; the node's wallet if not given."`
}

// Run mines.
func (c *mine) Run(s *session) error {
	return s.do("POST", "/chain/blocks", api.Mine{Blocks: c.Blocks, Address: c.Address}, "")
}

type versionCommand struct{}

// Run says what the build knows of itself.
func (versionCommand) Run(s *session) error {
	return s.show(buildFacts())
}
