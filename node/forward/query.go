package forward

import (
	"bytes"
	"cmp"
	"slices"

	"lightningrod/channel"
	"lightningrod/rod"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Live is an incoming HTLC as an operator sees it.
type Live struct {
	Key    channel.Key
	Peer   [33]byte
	Hash   [32]byte
	Amount lnwire.MilliSatoshi
	Expiry uint32
	State  string // held, waiting, part, on way, void, failed, fulfilled
	Limit  uint32 // of a held or waiting HTLC or part: the height at which it is given up
}

// Live lists the incoming HTLCs that are not Settled, by key.
func (f *Forwarder) Live() []Live {
	list := make([]Live, 0, len(f.htlcs))
	for key, in := range f.htlcs {
		l := Live{Key: key, Peer: in.peer, Hash: in.htlc.Hash, Amount: in.htlc.Amount, Expiry: in.htlc.Expiry, State: in.state.String()}
		if in.state.pending() {
			l.Limit = in.limit
		}
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b Live) int { return compareKeys(a.Key, b.Key) })
	return list
}

// Invoice finds an invoice. The copy is the caller's.
func (f *Forwarder) Invoice(hash [32]byte) (Invoice, bool) {
	inv := f.invoices.byHash[hash]
	if inv == nil {
		return Invoice{}, false
	}
	return inv.clone(), true
}

// Invoices lists all invoices by hash.
func (f *Forwarder) Invoices() []Invoice {
	list := make([]Invoice, 0, len(f.invoices.byHash))
	for _, inv := range f.invoices.byHash {
		list = append(list, inv.clone())
	}
	slices.SortFunc(list, func(a, b Invoice) int { return bytes.Compare(a.Hash[:], b.Hash[:]) })
	return list
}

func (i *Invoice) clone() Invoice {
	c := *i
	c.Parts = slices.Clone(i.Parts)
	return c
}

// Payment finds a payment. The copy is the caller's.
func (f *Forwarder) Payment(id uint64) (Payment, bool) {
	p := f.payments.byID[id]
	if p == nil {
		return Payment{}, false
	}
	return p.clone(), true
}

// Payments lists all payments by ID.
func (f *Forwarder) Payments() []Payment {
	list := make([]Payment, 0, len(f.payments.byID))
	for _, p := range f.payments.byID {
		list = append(list, p.clone())
	}
	slices.SortFunc(list, func(a, b Payment) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

func (p *Payment) clone() Payment {
	c := *p
	c.Parts = slices.Clone(p.Parts)
	return c
}

// Rod gives the rod table for reading, under the caller's mutex. Its events go through Handle.
func (f *Forwarder) Rod() *rod.Table { return f.table }
