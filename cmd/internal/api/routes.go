package api

import (
	"context"
	"reflect"
	"slices"

	"lightningrod/node/forward"
)

// Scope is what a token may do. Admin may do everything.
type Scope string

const (
	Read       Scope = "read"    // everything that changes nothing
	InvoiceRW  Scope = "invoice" // make and look up invoices, and who the node is
	Admin      Scope = "admin"
	everybody  Scope = "" // no token needed
	bodyLimit        = 64 << 10
	routesBase       = "/v1"
)

// route is one entry of the table: what is documented is what is served.
type route struct {
	method, path string
	doc          string
	scopes       []Scope // that suffice besides Admin; {everybody}: no token
	in, out      reflect.Type
	call         func(s *Server, ctx context.Context, in any) (any, error)
	mutates      bool
	secret       bool // the answer is never kept
}

// to makes a route of a function from a checked In to an Out.
func to[In, Out any](method, path, doc string, f func(*Server, context.Context, In) (Out, error), scopes ...Scope) route {
	return route{
		method: method, path: routesBase + path, doc: doc, scopes: scopes, mutates: method != "GET",
		in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](),
		call: func(s *Server, ctx context.Context, in any) (any, error) { return f(s, ctx, *in.(*In)) },
	}
}

// routes is the whole surface, but for what is not JSON: /v1/events as a stream, /metrics.
var routes []route

func init() { // not at the declaration: a route that describes all routes would refer to itself
	routes = table()
}

func table() []route {
	return []route{
		to("GET", "/healthz", "Whether the process lives.", health, everybody),
		to("GET", "/readyz", "Whether the node serves: it has caught up with the chain and is not draining.", ready, everybody),
		to("GET", "/openapi.json", "This document.", func(*Server, context.Context, Empty) (document, error) { return OpenAPI(), nil }, everybody),

		to("GET", "/node", "Who the node is and how it stands.", func(s *Server, _ context.Context, _ Empty) (Info, error) { return s.info(), nil }, Read, InvoiceRW),
		to("GET", "/wallet/balance", "What the node has, on chain and in channels.",
			func(s *Server, _ context.Context, _ Empty) (Balance, error) { return s.node.Balance(), nil }, Read),
		to("GET", "/wallet/coins", "Unspent outputs, the oldest first.",
			func(s *Server, _ context.Context, p Page) (List[Coin], error) {
				return page(s.node.Coins(), p, func(x Coin) string { return x.Outpoint })
			}, Read),
		to("GET", "/wallet/transactions", "Transactions that are pending, or were it less than 144 blocks ago, the newest first.",
			func(s *Server, _ context.Context, p Page) (List[Transaction], error) {
				return page(s.node.Transactions(), p, func(x Transaction) string { return x.Txid })
			}, Read),
		to("POST", "/wallet/withdrawals", "Pay somebody on chain. The answer comes when the transaction is published.",
			func(s *Server, ctx context.Context, in Withdraw) (Withdrawal, error) {
				return s.node.Withdraw(ctx, in)
			}),
		to("POST", "/wallet/withdrawals/{txid}/bump", "Replace a withdrawal that is not confirmed by one with a higher fee (BIP 125).",
			func(s *Server, ctx context.Context, in BumpFee) (Withdrawal, error) { return s.node.BumpFee(ctx, in) }),
		to("POST", "/wallet/addresses", "A fresh address of the wallet.",
			func(s *Server, _ context.Context, _ Empty) (Address, error) { return s.node.NewAddress() }),

		to("GET", "/peers", "Nodes that are connected, or that a connection is kept with.",
			func(s *Server, _ context.Context, p Page) (List[Peer], error) {
				return page(s.node.Peers(), p, func(x Peer) string { return x.ID })
			}, Read),
		to("POST", "/peers", "Connect to a node.",
			func(s *Server, ctx context.Context, in ConnectPeer) (Peer, error) { return s.node.Connect(ctx, in) }),
		to("DELETE", "/peers/{id}", "End a connection, and keep it no longer.",
			func(s *Server, ctx context.Context, in PeerID) (Empty, error) { return s.node.Disconnect(ctx, in) }),

		to("GET", "/channels", "All channels.",
			func(s *Server, _ context.Context, p Page) (List[Channel], error) {
				return page(s.node.Channels(), p, func(x Channel) string { return x.Channel.String() })
			}, Read),
		to("POST", "/channels", "Open a channel. The answer comes when its funding transaction is published.",
			func(s *Server, ctx context.Context, in OpenChannel) (ChannelRef, error) {
				return s.node.OpenChannel(ctx, in)
			}),
		to("GET", "/channels/{channel}", "One channel.", oneChannel, Read),
		to("POST", "/channels/{channel}/close", "Close a channel, with the peer or by force.",
			func(s *Server, ctx context.Context, in CloseChannel) (ChannelRef, error) {
				return s.node.CloseChannel(ctx, in)
			}),

		to("GET", "/invoices", "Our invoices, by expiry.",
			func(s *Server, _ context.Context, p Page) (List[Invoice], error) {
				return page(s.node.Invoices(), p, func(x Invoice) string { return x.Hash })
			}, Read, InvoiceRW),
		to("POST", "/invoices", "Make an invoice.",
			func(s *Server, _ context.Context, in CreateInvoice) (Invoice, error) { return s.node.CreateInvoice(in) }, InvoiceRW),
		to("GET", "/invoices/{payment_hash}", "One invoice.", oneInvoice, Read, InvoiceRW),

		to("GET", "/payments", "Payments, by age. One whose hold was refused is gone: the event payment.failed says why.", listPayments, Read),
		to("POST", "/payments", "Pay an invoice at once.",
			func(s *Server, ctx context.Context, in Pay) (Payment, error) { return s.node.Pay(ctx, in) }),
		to("POST", "/payments/async", "Pay an invoice whose payee may be asleep, through an LSP that holds the payment. Once this is answered the node may go offline.",
			func(s *Server, _ context.Context, in SendAsync) (Payment, error) { return s.node.SendAsync(in) }),
		to("GET", "/payments/{id}", "One payment.", onePayment, Read),
		to("POST", "/payments/{id}/cancel", "Take back a payment that an LSP holds, or is to hold. It fails when the LSP has let go; if the payee has it by then, it succeeds all the same.",
			func(s *Server, _ context.Context, in PaymentID) (Empty, error) {
				return Empty{}, s.node.CancelAsync(in)
			}),

		to("GET", "/held", "Incoming HTLCs that are not settled.", listHeld, Read),
		to("POST", "/held/{channel}/{htlc_id}/fail", "Fail a held HTLC back to its payer, and with it the other parts of its payment. Only what is held: "+
			"once it is released a preimage may come for it.",
			func(s *Server, _ context.Context, in HTLCRef) (Empty, error) { return Empty{}, s.node.FailHeld(in) }),
		to("GET", "/owed", "What is decided and its receiver does not have yet, the most urgent first: outcomes of HTLCs, messages, notifications.",
			listOwed, Read),
		to("POST", "/owed/{id}/nudge", "Call the webhooks of whom it is owed to, who is away. At most once a minute.",
			func(s *Server, _ context.Context, in OwedID) (Nudged, error) { return s.node.Nudge(in) }),
		to("GET", "/requests", "What payers have asked this LSP to hold.",
			func(s *Server, _ context.Context, p Page) (List[Request], error) {
				return page(s.node.Requests(), p, func(x Request) string { return x.Peer + ":" + x.PidHash })
			}, Read),
		to("GET", "/mailbox", "Onion messages that wait for clients.",
			func(s *Server, _ context.Context, p Page) (List[Box], error) {
				return page(s.node.Mailbox(), p, func(x Box) string { return x.Client })
			}, Read),
		to("GET", "/mailbox/{client}", "What waits for one client, the oldest first.", listLetters, Read),
		to("DELETE", "/mailbox/{client}/{id}", "Throw an onion message away. Nobody is told: it is a message that was lost, as onion messages may be.",
			func(s *Server, _ context.Context, in LetterRef) (Empty, error) { return Empty{}, s.node.DropLetter(in) }),
		to("GET", "/clients", "Nodes that have a channel with this LSP, or can be woken by it.",
			func(s *Server, _ context.Context, p Page) (List[ClientInfo], error) {
				return page(s.node.Clients(), p, func(x ClientInfo) string { return x.ID })
			}, Read),
		to("GET", "/clients/{id}", "One client.", oneClient, Read),
		to("GET", "/webhooks", "What clients have registered to be woken by.",
			func(s *Server, _ context.Context, p Page) (List[Webhook], error) {
				return page(s.node.Webhooks(), p, func(x Webhook) string { return x.ID })
			}, Read),
		to("DELETE", "/webhooks/{id}", "Forget a webhook. Its client is not told.",
			func(s *Server, _ context.Context, in WebhookID) (Empty, error) {
				return Empty{}, s.node.RemoveWebhook(in)
			}),

		to("GET", "/events", eventsDoc, listEvents, Read),

		to("GET", "/tokens", "The names and scopes of the bearer tokens.", listTokens),
		hush(to("POST", "/tokens", "Make a bearer token. It is shown in this answer and never again.", createToken)),
		to("DELETE", "/tokens/{name}", "Void a bearer token.", deleteToken),

		to("POST", "/backups", "Write a consistent copy of the database into the node's backup folder.",
			func(s *Server, _ context.Context, _ Empty) (BackupFile, error) { return s.node.Backup() }),

		to("POST", "/chain/blocks", "Mine blocks. Only on the embedded chain.",
			func(s *Server, ctx context.Context, in Mine) (Mined, error) { return s.node.Mine(ctx, in) }),
	}
}

const eventsDoc = "The durable log of what has happened, by number. With \"Accept: text/event-stream\" events keep coming as server-sent events " +
	"whose id is their number, and a client that connects again with Last-Event-ID misses none. 410: that event is not kept any more; the error names the oldest one."

func hush(r route) route { r.secret = true; return r }

// page cuts a list. The cursor is an entry's own key; a cursor whose entry is gone is refused rather than starting anew.
func page[T any](all []T, p Page, key func(T) string) (List[T], error) {
	limit := p.Limit
	if limit == 0 {
		limit = 100
	}
	from := 0
	if p.After != "" {
		for from < len(all) && key(all[from]) != p.After {
			from++
		}
		if from++; from > len(all) {
			return List[T]{}, invalid("after", "a cursor of this list", "no such entry any more: begin again")
		}
	}
	items := all[from:]
	l := List[T]{Items: []T{}}
	if len(items) > limit {
		items = items[:limit]
		l.Next = key(items[limit-1])
	}
	l.Items = append(l.Items, items...)
	return l, nil
}

// HeldPage is Page with a state.
type HeldPage struct {
	Page
	State string `query:"state" max:"20" doc:"only those in this state: held, waiting, part, on way, void, failed or fulfilled"`
}

func listHeld(s *Server, _ context.Context, in HeldPage) (List[HTLC], error) {
	all := s.node.HTLCs()
	if in.State != "" {
		all = slices.DeleteFunc(all, func(x HTLC) bool { return x.State != in.State })
	}
	return page(all, in.Page, func(x HTLC) string { return x.Channel.String() + ":" + Number(x.ID).String() })
}

func health(s *Server, _ context.Context, _ Empty) (Empty, error) { return Empty{}, nil }

func ready(s *Server, _ context.Context, _ Empty) (Empty, error) {
	if s.draining() {
		return Empty{}, errDraining
	}
	if err := s.node.Ready(); err != nil {
		return Empty{}, &Error{Code: Unavailable, Message: err.Error()}
	}
	return Empty{}, nil
}

func (s *Server) info() Info {
	info := s.node.Info()
	switch {
	case s.draining():
		info.State = "draining"
	case s.node.Ready() != nil:
		info.State = "catching-up"
	default:
		info.State = "serving"
	}
	return info
}

func oneChannel(s *Server, _ context.Context, in ChannelID) (Channel, error) {
	for _, c := range s.node.Channels() {
		if c.Channel == in.Channel {
			return c, nil
		}
	}
	return Channel{}, &Error{Code: NotFound, Field: "channel", Message: "no channel " + in.Channel.String()}
}

func oneInvoice(s *Server, _ context.Context, in InvoiceHash) (Invoice, error) {
	for _, i := range s.node.Invoices() {
		if i.Hash == in.Hash {
			return i, nil
		}
	}
	return Invoice{}, &Error{Code: NotFound, Field: "payment_hash", Message: "no invoice with this payment_hash"}
}

// listPayments looks at the failures of those on the page only: each costs some curve arithmetic.
func listPayments(s *Server, _ context.Context, p Page) (List[Payment], error) {
	l, err := page(s.node.Payments(), p, func(x Payment) string { return x.ID.String() })
	for i, x := range l.Items {
		if whole, ok := s.node.Payment(uint64(x.ID)); ok && x.State == forward.PaymentFailed.String() {
			l.Items[i] = whole
		}
	}
	return l, err
}

func onePayment(s *Server, _ context.Context, in PaymentID) (Payment, error) {
	if p, ok := s.node.Payment(uint64(in.ID)); ok {
		return p, nil
	}
	return Payment{}, &Error{Code: NotFound, Field: "id", Message: "no payment " + in.ID.String()}
}
