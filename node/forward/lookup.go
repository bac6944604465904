package forward

import "slices"

// Payment looks up a payment of ours. The copy is the caller's.
func (f *Forwarder) Payment(id uint64) (Payment, bool) {
	p := f.payments.byID[id]
	if p == nil {
		return Payment{}, false
	}
	found := *p
	found.Parts = slices.Clone(p.Parts)
	return found, true
}

// Invoice looks up an invoice of ours by its payment_hash.
func (f *Forwarder) Invoice(hash [32]byte) (Invoice, bool) {
	i := f.invoices.byHash[hash]
	if i == nil {
		return Invoice{}, false
	}
	found := i.Invoice
	found.Parts = slices.Clone(i.Parts)
	return found, true
}
