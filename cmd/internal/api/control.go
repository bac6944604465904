package api

import (
	"context"

	"lightningrod/node"
)

// Control is the node as the API needs it. Methods return refusals as *Error where they know the field, and plain errors otherwise.
type Control interface {
	Info() Info
	Ready() error // why nothing new should be asked of the node; nil: it serves

	NewAddress() (Address, error)
	Balance() Balance
	Coins() []Coin
	Transactions() []Transaction
	Withdraw(context.Context, Withdraw) (Withdrawal, error)
	BumpFee(context.Context, BumpFee) (Withdrawal, error)

	Connect(context.Context, ConnectPeer) (Peer, error)
	Disconnect(context.Context, PeerID) (Empty, error)
	Peers() []Peer

	OpenChannel(context.Context, OpenChannel) (ChannelRef, error)
	CloseChannel(context.Context, CloseChannel) (ChannelRef, error)
	Channels() []Channel

	CreateInvoice(CreateInvoice) (Invoice, error)
	Invoices() []Invoice

	Pay(context.Context, Pay) (Payment, error)
	SendAsync(SendAsync) (Payment, error)
	CancelAsync(PaymentID) error
	Payments() []Payment // without their Failures
	Payment(id uint64) (Payment, bool)

	HTLCs() []HTLC
	Requests() []Request
	FailHeld(HTLCRef) error
	Mailbox() []Box
	Letters(client string) []Letter
	DropLetter(LetterRef) error
	Owed() ([]Owed, error)
	Nudge(OwedID) (Nudged, error)
	Clients() []ClientInfo
	Webhooks() []Webhook
	RemoveWebhook(WebhookID) error

	Commits() node.Timing
	RefusedMessages() (throttled, malformed uint64)
	Locked() (received, offered uint64) // msat

	Events(from uint64) Reader
	OldestEvent() uint64
	LastEvent() uint64
	Mine(context.Context, Mine) (Mined, error)
	Backup() (BackupFile, error)
}

// Reader reads events in the order of their Seq. After the node's end Next returns an error; an *Error if the event was deleted.
type Reader interface {
	Next(context.Context) (Event, error)
	Close()
}

// Empty is an input or output without fields.
type Empty struct{}

type Info struct {
	ID            string   `json:"id" doc:"node id, a compressed public key in hex"`
	Alias         string   `json:"alias"`
	Network       string   `json:"network"`
	Backend       string   `json:"chain_backend" doc:"embedded or bitcoind"`
	Version       string   `json:"version"`
	Addrs         []string `json:"addresses" doc:"host:port where connections are taken"`
	Height        uint32   `json:"block_height"`
	LSP           bool     `json:"lsp" doc:"holds HTLCs, keeps messages and wakes clients"`
	State         string   `json:"state" doc:"serving, catching-up or draining"`
	Stale         string   `json:"stale,omitempty" doc:"why the chain is not to be trusted with deadlines"`
	Peers         int      `json:"peers" doc:"connected"`
	Channels      int      `json:"channels" doc:"not closed"`
	UsableCount   int      `json:"usable_channels"`
	GraphNodes    int      `json:"graph_nodes"`
	GraphChannels int      `json:"graph_channels"`
	LastEvent     Number   `json:"last_event" doc:"number of the newest event; to be given as after by whoever wants only later ones"`
}

type Address struct {
	Address string `json:"address"`
}

type Balance struct {
	Confirmed   int64  `json:"confirmed_sat"`
	Unconfirmed int64  `json:"unconfirmed_sat"`
	Local       uint64 `json:"channels_local_msat" doc:"ours in all channels that are not closed"`
	Remote      uint64 `json:"channels_remote_msat"`
}

type ConnectPeer struct {
	ID   string `json:"id" required:"true" hex:"33" doc:"node id"`
	Addr string `json:"address" required:"true" max:"262" doc:"host:port"`
	Keep bool   `json:"keep" doc:"connect again whenever the connection ends, also after a restart"`
}

type PeerID struct {
	ID string `path:"id" hex:"33" doc:"node id"`
}

type Peer struct {
	ID        string `json:"id"`
	Addr      string `json:"address"`
	Connected bool   `json:"connected"`
	Inbound   bool   `json:"inbound"`
	Kept      bool   `json:"kept"`
	Since     string `json:"since,omitempty" doc:"RFC 3339; of the connection"`
}

type OpenChannel struct {
	Peer     string `json:"peer" required:"true" hex:"33" doc:"node id of a connected peer"`
	Capacity uint64 `json:"capacity_sat" required:"true" min:"1000" max:"2100000000000000"`
	Push     uint64 `json:"push_msat" max:"2100000000000000000" doc:"given to the peer at the start"`
	Private  bool   `json:"private" doc:"not announced to the network"`
	FeeRate  uint32 `json:"feerate_sat_per_kw" max:"250000" doc:"of the commitments; 0: by the estimates"`
}

type CloseChannel struct {
	Channel Number `path:"channel" doc:"channel number"`
	Force   bool   `json:"force" doc:"publish our commitment instead of agreeing with the peer"`
}

type ChannelRef struct {
	Channel Number `json:"channel"`
}

type ChannelID struct {
	Channel Number `path:"channel" doc:"channel number"`
}

type Channel struct {
	Channel   Number `json:"channel" doc:"number this node gave it"`
	Peer      string `json:"peer"`
	ChannelID string `json:"channel_id" doc:"BOLT 2 channel_id"`
	ShortID   string `json:"short_channel_id,omitempty" doc:"block x transaction x output"`
	Funding   string `json:"funding_outpoint,omitempty"`
	Phase     string `json:"phase"`
	Usable    bool   `json:"usable"`
	Opener    bool   `json:"opener" doc:"this node opened it"`
	Private   bool   `json:"private"`
	Capacity  int64  `json:"capacity_sat"`
	Local     uint64 `json:"local_msat"`
	Remote    uint64 `json:"remote_msat"`
	CanSend   uint64 `json:"can_send_msat" doc:"largest HTLC that may be offered now"`
	CanRecv   uint64 `json:"can_receive_msat"`
	FeeRate   uint32 `json:"feerate_sat_per_kw"`
	HTLCs     int    `json:"htlcs" doc:"in flight, both ways"`

	Pending []Pending `json:"pending" doc:"of a channel that is closed or being closed on chain: what it waits for"`
}

// Pending is something that a channel on chain waits for.
type Pending struct {
	What     string `json:"what" doc:"the BOLTs' name of the output, with the HTLC's side and id"`
	Out      string `json:"outpoint" doc:"txid:index"`
	Amount   int64  `json:"amount_sat"`
	State    string `json:"state" doc:"unclosed (the funding output: nothing that spends it is confirmed), claimable, no_preimage, watched, uneconomic (worth less than its fee) or spent"`
	Height   uint32 `json:"height,omitempty" doc:"claimable: the first block that can have the claim; spent: that of the spend"`
	Deadline uint32 `json:"deadline_height,omitempty" doc:"claimable: when others can take it, or by when it is to be swept if nobody can"`
	Fee      int64  `json:"fee_sat,omitempty" doc:"claimable: of the newest claim; missing: there is none yet"`
	By       string `json:"spent_by,omitempty" doc:"txid"`
}

type CreateInvoice struct {
	Amount      uint64 `json:"amount_msat" max:"2100000000000000000" doc:"0: any"`
	Description string `json:"description" max:"639" doc:"at most 639 bytes (BOLT 11)"`
	Expiry      uint32 `json:"expiry_seconds" max:"31536000" doc:"0: an hour"`
	Blinding    string `json:"blinding" doc:"name blinded paths instead of this node: peers (they begin at channel peers) or self (one that begins here, for tests of payers). Empty: name this node"`
}

type InvoiceHash struct {
	Hash string `path:"payment_hash" hex:"32"`
}

type Invoice struct {
	Hash     string `json:"payment_hash"`
	Text     string `json:"bolt11"`
	Amount   uint64 `json:"amount_msat" doc:"0: any"`
	State    string `json:"state"`
	Expires  string `json:"expires_at" doc:"RFC 3339"`
	Received uint64 `json:"received_msat,omitempty"`
	PaidAt   string `json:"paid_at,omitempty"`
}

type Pay struct {
	Invoice string `json:"bolt11" required:"true" max:"7089" doc:"the invoice"`
	Amount  uint64 `json:"amount_msat" max:"2100000000000000000" doc:"for an invoice without an amount"`
	Parts   int    `json:"parts" min:"0" max:"16" doc:"at most; 0: one"`
	Wait    uint32 `json:"wait_seconds" max:"600" doc:"wait so long for the outcome; 0: not at all"`
}

type SendAsync struct {
	Invoice string `json:"bolt11" required:"true" max:"7089" doc:"the invoice; its payee may be asleep"`
	Amount  uint64 `json:"amount_msat" max:"2100000000000000000" doc:"for an invoice without an amount"`
	LSP     string `json:"lsp" required:"true" hex:"33" doc:"the channel peer that is to hold the payment"`
	Parts   int    `json:"parts" min:"0" max:"16" doc:"0: one"`
	Hold    uint32 `json:"hold_blocks" max:"1008" doc:"blocks the payment may wait; 0: 432"`
	ByHTLC  bool   `json:"by_htlc" doc:"the HTLCs themselves ask to be held, instead of a message before them"`
}

type PaymentID struct {
	ID Number `path:"id" doc:"payment number"`
}

type Payment struct {
	ID       Number `json:"id"`
	Hash     string `json:"payment_hash"`
	State    string `json:"state" doc:"pending, succeeded or failed"`
	Amount   uint64 `json:"amount_msat,omitempty" doc:"what the payee is to get"`
	Sent     uint64 `json:"sent_msat" doc:"with the fees, in parts that did not fail"`
	Created  string `json:"created_at,omitempty" doc:"RFC 3339"`
	Preimage string `json:"preimage,omitempty" doc:"once it has succeeded"`

	Failure *PaymentFailure `json:"failure,omitempty" doc:"of one that has failed: what was said of the part that was tried last"`
}

// PaymentFailure is why a payment came to nothing.
type PaymentFailure struct {
	Code   string  `json:"code,omitempty" doc:"as BOLT 4 names it; missing: none was given, or it cannot be read"`
	Hop    *uint32 `json:"hop,omitempty" doc:"who says so: 0 is the first node after us; missing: it cannot be told"`
	Node   string  `json:"node,omitempty" doc:"that hop's id; in a blinded path the blinded one"`
	Reason string  `json:"reason" doc:"the same for people"`
}

type HTLC struct {
	Channel Number `json:"channel" doc:"where it came in"`
	ID      uint64 `json:"htlc_id"`
	Peer    string `json:"peer"`
	Hash    string `json:"payment_hash"`
	Amount  uint64 `json:"amount_msat"`
	Expiry  uint32 `json:"cltv_expiry"`
	State   string `json:"state"`
	Limit   uint32 `json:"given_up_at_height,omitempty" doc:"of one that waits"`
}

type Request struct {
	Peer     string   `json:"peer" doc:"the payer"`
	PidHash  string   `json:"pid_hash"`
	State    string   `json:"state" doc:"armed, released, withdrawn or expired"`
	Hashes   []string `json:"payment_hashes"`
	Total    uint64   `json:"total_msat"`
	Deadline uint32   `json:"deadline_height"`
	Parts    int      `json:"parts" doc:"HTLCs that have come"`
}

type Box struct {
	Client   string `json:"client"`
	Messages int    `json:"messages"`
	Bytes    int    `json:"bytes"`
	Oldest   string `json:"oldest" doc:"RFC 3339"`
}

type Event struct {
	Seq    uint64            `json:"seq" doc:"number of the event, for good"`
	At     string            `json:"at" doc:"RFC 3339; when it became durable"`
	Kind   string            `json:"kind"`
	Fields map[string]string `json:"fields,omitempty"`
}

type Mine struct {
	Blocks  int    `json:"blocks" required:"true" min:"1" max:"1000"`
	Address string `json:"address" max:"90" doc:"who is paid; empty: this node's wallet"`
}

type Mined struct {
	Height uint32 `json:"block_height"`
}

// Page are the cursors of a list: entries come in a fixed order, and after names the last one that was seen.
type Page struct {
	After string `query:"after" max:"128" doc:"the next of the page before"`
	Limit int    `query:"limit" min:"0" max:"1000" doc:"0: 100"`
}

// List is one page of a list.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"to be given as after; missing: this was the last page"`
}
