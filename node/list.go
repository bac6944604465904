package node

import (
	"cmp"
	"errors"
	"net"
	"slices"
	"time"

	"lightningrod/node/forward"
	"lightningrod/node/invoice"

	"github.com/lightningnetwork/lnd/lnwire"
)

// This file is the lists that an operator may ask for. Like query.go it changes nothing.

// PeerInfo is a node that is connected, or that we keep a connection with.
type PeerInfo struct {
	ID        [33]byte
	Addr      string // of the connection; else the one we dial
	Connected bool
	Inbound   bool
	Kept      bool // connected again whenever the connection ends
	Since     time.Time
}

// Peers lists the nodes that are connected or kept, by id.
func (n *Node) Peers() []PeerInfo {
	byID := map[[33]byte]PeerInfo{}
	n.bookMu.Lock()
	for id, addr := range n.book {
		byID[id] = PeerInfo{ID: id, Addr: addr, Kept: true}
	}
	n.bookMu.Unlock()
	for _, p := range n.host.Peers() {
		info := byID[p.Node()]
		info.ID, info.Addr, info.Connected = p.Node(), addrText(p.Addr()), true
		info.Inbound, info.Since = p.Inbound(), p.Since()
		byID[info.ID] = info
	}
	all := make([]PeerInfo, 0, len(byID))
	for _, p := range byID {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b PeerInfo) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return all
}

func addrText(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

// InvoiceInfo is an invoice of ours, without its secrets.
type InvoiceInfo struct {
	Invoice
	Amount   uint64 // msat; 0: any
	State    forward.InvoiceState
	Expiry   time.Time
	Received uint64 // msat, once paid
	PaidAt   time.Time
}

func invoiceInfo(inv forward.Invoice) InvoiceInfo {
	info := InvoiceInfo{
		Invoice: Invoice{Text: string(inv.Data), Hash: inv.Hash}, Amount: uint64(inv.Amount), State: inv.State,
		Expiry: time.Unix(inv.Expiry, 0), Received: uint64(inv.Received),
	}
	if inv.PaidAt != 0 {
		info.PaidAt = time.Unix(inv.PaidAt, 0)
	}
	return info
}

// Invoices lists our invoices, the newest expiry last.
func (n *Node) Invoices() []InvoiceInfo {
	n.brain.mu.Lock()
	rows := n.brain.forward.Invoices()
	n.brain.mu.Unlock()
	all := make([]InvoiceInfo, len(rows))
	for i, r := range rows {
		all[i] = invoiceInfo(r)
	}
	slices.SortStableFunc(all, func(a, b InvoiceInfo) int { return a.Expiry.Compare(b.Expiry) })
	return all
}

// Invoice looks up an invoice by its payment hash.
func (n *Node) Invoice(hash [32]byte) (InvoiceInfo, bool) {
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	inv, ok := n.brain.forward.Invoice(hash)
	if !ok {
		return InvoiceInfo{}, false
	}
	return invoiceInfo(inv), true
}

// Payments lists the payments, the newest last. Of those whose HTLCs were offered the ledger tells; Rod payments that still ask for their hold
// come after them, and are gone if it is refused.
func (n *Node) Payments() []PaymentInfo {
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	rows := n.brain.forward.Payments()
	slices.SortStableFunc(rows, func(a, b forward.Payment) int { return cmp.Compare(a.Created, b.Created) })
	all := make([]PaymentInfo, len(rows))
	offered := map[uint64]bool{}
	for i, r := range rows {
		all[i] = n.paymentInfo(r)
		offered[r.ID] = true
	}
	for _, id := range n.brain.payer.Payments() {
		if info, ok := n.arming(id); ok && !offered[id] {
			all = append(all, info)
		}
	}
	return all
}

// arming is a Rod payment as it stands before the ledger has it. The brain's mutex is held.
func (n *Node) arming(id uint64) (PaymentInfo, bool) {
	pl, err := n.plan(id)
	if err != nil {
		return PaymentInfo{}, false
	}
	info := PaymentInfo{ID: id, State: forward.PaymentPending, Total: pl.Amount}
	if inv, err := invoice.Decode(pl.Invoice, n.cfg.Params); err == nil {
		info.Hash = inv.Hash
	}
	return info, true
}

// Box is how much waits in the mailbox for a client.
type Box struct {
	Client   [33]byte
	Messages int
	Bytes    int
	Oldest   time.Time
}

// Mailbox lists the boxes of clients that are not empty, by client.
func (n *Node) Mailbox() []Box {
	clients := map[[33]byte]bool{}
	for _, in := range n.registry.each(nil) {
		clients[in.peer] = true
	}
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	var all []Box
	for id := range clients {
		letters := n.brain.mailbox.All(id)
		if len(letters) == 0 {
			continue
		}
		b := Box{Client: id, Messages: len(letters), Oldest: time.Unix(letters[0].Arrived, 0)}
		for _, l := range letters {
			b.Bytes += len(l.Message)
		}
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b Box) int { return slices.Compare(a.Client[:], b.Client[:]) })
	return all
}

// Stale says why nothing new is taken on: the chain we see is old. nil: it is not.
func (n *Node) Stale() error {
	if err := n.backendStale(); err != nil {
		return err
	}
	if n.chainDesk.stale.Load() {
		return errors.New("the chain was out of sight and is looked at again")
	}
	return nil
}

func (n *Node) backendStale() error {
	if b, ok := n.backend.(interface{ Stale() error }); ok {
		return b.Stale()
	}
	return nil
}

// Tip is the height of the chain as the backend sees it.
func (n *Node) Tip() uint32 {
	height, _ := n.backend.Tip()
	return height
}

// Disconnect ends the connection to a node; one that is kept comes back.
func (n *Node) Disconnect(id [33]byte) bool { return n.host.Disconnect(id) }

// RefusedMessages says how many onion messages were dropped unread since the start: because there were too many, and because they could
// not be peeled. There is no event for these, as whoever sends them could fill the log.
func (n *Node) RefusedMessages() (throttled, malformed uint64) {
	return n.refusedMessages.throttled.Load(), n.refusedMessages.malformed.Load()
}

// Locked is the value of the HTLCs of all channels, msat: of those that peers offered us, and of those that we offered.
func (n *Node) Locked() (received, offered lnwire.MilliSatoshi) {
	for _, in := range n.registry.each(nil) {
		s := in.state.Load()
		for _, h := range s.Received() {
			received += h.HTLC.Amount
		}
		for _, h := range s.Offered() {
			offered += h.HTLC.Amount
		}
	}
	return received, offered
}

// LastEvent is the Seq of the newest event; 0: there is none yet.
func (n *Node) LastEvent() uint64 {
	n.events.mu.Lock()
	defer n.events.mu.Unlock()
	return n.events.next - 1
}

// OldestEvent is the Seq of the oldest event that is kept, and FirstEvent that of the first one since the node's start.
// Either may be yet to come.
func (n *Node) OldestEvent() uint64 {
	n.events.mu.Lock()
	defer n.events.mu.Unlock()
	return n.events.oldest
}

// FirstEvent: see OldestEvent.
func (n *Node) FirstEvent() uint64 {
	n.events.mu.Lock()
	defer n.events.mu.Unlock()
	return n.events.first
}
