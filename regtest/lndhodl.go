package regtest

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
)

// Hodl makes an invoice whose payment lnd keeps waiting, until Settle.
func (l *Lnd) Hodl(msat uint64) (inv Invoice, preimage []byte, err error) {
	preimage = random32()
	hash := sha256.Sum256(preimage)
	var out struct {
		Text string `json:"payment_request"`
	}
	err = l.api.do("POST", "/v2/invoices/hodl", map[string]any{"hash": hash[:], "value_msat": strconv.FormatUint(msat, 10), "private": true}, &out)
	return Invoice{Text: out.Text, Hash: hex.EncodeToString(hash[:])}, preimage, err
}

// Accepted says whether the payment of a Hodl invoice waits.
func (l *Lnd) Accepted(inv Invoice) (bool, error) {
	var out struct{ State string }
	err := l.api.do("GET", "/v1/invoice/"+inv.Hash, nil, &out)
	return out.State == "ACCEPTED", err
}

// Settle takes what waits.
func (l *Lnd) Settle(preimage []byte) error {
	return l.api.do("POST", "/v2/invoices/settle", map[string]any{"preimage": preimage}, nil)
}
