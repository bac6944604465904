package regtest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lightningnetwork/lnd/lnwire"
)

func (c *Cln) Invoice(msat uint64) (Invoice, error) {
	return c.invoice(map[string]any{"amount_msat": msat})
}

func (c *Cln) invoice(params map[string]any) (Invoice, error) {
	params["label"], params["description"] = hex.EncodeToString(random32()), "regtest"
	var out struct {
		Text string `json:"bolt11"`
		Hash string `json:"payment_hash"`
	}
	err := c.ask("invoice", params, &out)
	return Invoice{Text: out.Text, Hash: out.Hash}, err
}

func (c *Cln) Withdraw(inv Invoice) error {
	var out struct{ Invoices []struct{ Label string } }
	if err := c.ask("listinvoices", map[string]any{"payment_hash": inv.Hash}, &out); err != nil {
		return err
	}
	if len(out.Invoices) != 1 {
		return fmt.Errorf("%d invoices with hash %s", len(out.Invoices), inv.Hash)
	}
	return c.ask("delinvoice", map[string]any{"label": out.Invoices[0].Label, "status": "unpaid"}, nil)
}

// Pay leaves it to lightningd to find ways and to make parts, as many as it likes. A payment that is wrong on purpose goes along one route.
func (c *Cln) Pay(p Payment) (Outcome, error) {
	if len(p.FirstHop) > 0 {
		return Outcome{}, errors.New("lightningd adds no TLV records to its update_add_htlc")
	}
	if p.Unknown || p.FinalExpiry != 0 || p.LessFee != 0 || p.LessExpiry != 0 {
		return c.payRoute(p)
	}
	request, err := c.decode(p.Invoice)
	if err != nil {
		return Outcome{}, err
	}
	return c.pay(p.Invoice, request.Hash)
}

// pay pays an invoice, of BOLT 11 or 12.
func (c *Cln) pay(invoice, hash string) (Outcome, error) {
	// What an earlier payment has taught it goes: for an hour it would not try again what a channel could not carry while it was disconnected.
	if err := c.ask("askrene-age", map[string]any{"layer": "xpay", "cutoff": time.Now().Unix() + 1}, nil); err != nil {
		return Outcome{}, err
	}
	var out struct {
		Amount uint64 `json:"amount_msat"`
		Sent   uint64 `json:"amount_sent_msat"`
	}
	err := c.ask("xpay", map[string]any{"invstring": invoice, "maxfee": "1000000sat", "retry_for": 60}, &out)
	var refused *ClnError
	if !errors.As(err, &refused) {
		return Outcome{Paid: err == nil, Fee: out.Sent - out.Amount}, err
	}
	var last struct{ Code, Hop int }
	if err := c.ask("regtest-failure", map[string]any{"payment_hash": hash}, &last); err != nil {
		return Outcome{}, err
	}
	if last.Code == 0 {
		return Outcome{Failure: refused.Message, Hop: -1}, nil
	}
	return Outcome{Failure: snake(lnwire.FailCode(last.Code).String()), Hop: last.Hop}, nil
}

// clnRequest is what lightningd reads in an invoice.
type clnRequest struct {
	Payee  string
	Hash   string `json:"payment_hash"`
	Secret string `json:"payment_secret"`
	Msat   int64  `json:"amount_msat"`
	Expiry int    `json:"min_final_cltv_expiry"`

	PaymentHash12 string `json:"invoice_payment_hash"` // of BOLT 12
}

func (c *Cln) decode(text string) (r clnRequest, err error) {
	return r, c.ask("decode", map[string]any{"string": text}, &r)
}

// payRoute pays over the route that lightningd would take, with another hash, or a smaller fee or expiry for the first hop.
func (c *Cln) payRoute(p Payment) (Outcome, error) {
	r, err := c.decode(p.Invoice)
	if err != nil {
		return Outcome{}, err
	}
	if p.Unknown {
		r.Hash = hex.EncodeToString(random32())
	}
	if p.FinalExpiry != 0 {
		r.Expiry = p.FinalExpiry
	}
	// Of a hop stands there what it gets.
	type hop struct {
		ID      string `json:"id"`
		Channel string `json:"channel"`
		Msat    int64  `json:"amount_msat"`
		Delay   int    `json:"delay"`
	}
	var found struct{ Route []hop }
	if err := c.ask("getroute", map[string]any{"id": r.Payee, "amount_msat": r.Msat, "riskfactor": 1, "cltv": r.Expiry}, &found); err != nil {
		return Outcome{}, err
	}
	if len(found.Route) < 2 && p.LessFee+int64(p.LessExpiry) != 0 {
		return Outcome{}, fmt.Errorf("a route of %d hops has nobody to forward", len(found.Route))
	}
	found.Route[0].Msat -= p.LessFee
	found.Route[0].Delay -= p.LessExpiry
	err = c.ask("sendpay", map[string]any{
		"route": found.Route, "payment_hash": r.Hash, "payment_secret": r.Secret, "amount_msat": r.Msat,
	}, nil)
	if err != nil {
		return Outcome{}, err
	}
	var refused *ClnError
	switch err := c.ask("waitsendpay", map[string]any{"payment_hash": r.Hash}, nil); {
	case err == nil:
		return Outcome{Paid: true, Fee: uint64(found.Route[0].Msat - r.Msat)}, nil
	case !errors.As(err, &refused) || refused.Data == nil:
		return Outcome{}, err
	}
	var failed struct {
		Hop  int    `json:"erring_index"`
		Name string `json:"failcodename"`
	}
	err = json.Unmarshal(refused.Data, &failed)
	return Outcome{Failure: strings.ToLower(strings.TrimPrefix(failed.Name, "WIRE_")), Hop: failed.Hop}, err
}

// Offer is an offer of BOLT 12.
func (c *Cln) Offer(msat uint64) (string, error) {
	var out struct {
		Text string `json:"bolt12"`
	}
	err := c.ask("offer", map[string]any{"amount": msat, "description": "regtest", "label": hex.EncodeToString(random32())}, &out)
	return out.Text, err
}

// PayOffer asks for an invoice by onion message, and pays it.
func (c *Cln) PayOffer(offer string) (Outcome, error) {
	var out struct{ Invoice string }
	if err := c.ask("fetchinvoice", map[string]any{"offer": offer}, &out); err != nil {
		return Outcome{}, err
	}
	request, err := c.decode(out.Invoice)
	if err != nil {
		return Outcome{}, err
	}
	return c.pay(out.Invoice, request.PaymentHash12)
}

// Hodl makes an invoice whose payment waits, until Settle.
func (c *Cln) Hodl(msat uint64) (inv Invoice, preimage []byte, err error) {
	preimage = random32()
	const blocks = 60 // that it may wait: lightningd judges the expiry when it settles
	inv, err = c.invoice(map[string]any{"amount_msat": msat, "preimage": hex.EncodeToString(preimage), "cltv": blocks})
	if err != nil {
		return inv, nil, err
	}
	return inv, preimage, c.ask("regtest-hodl", map[string]any{"payment_hash": inv.Hash}, nil)
}

// Accepted says whether an HTLC for a Hodl invoice waits: lightningd puts parts together after that.
func (c *Cln) Accepted(inv Invoice) (bool, error) {
	var out struct{ HTLCs int }
	err := c.ask("regtest-waiting", map[string]any{"payment_hash": inv.Hash}, &out)
	return out.HTLCs > 0, err
}

// Settle takes what waits.
func (c *Cln) Settle(preimage []byte) error {
	hash := sha256.Sum256(preimage)
	return c.ask("regtest-settle", map[string]any{"payment_hash": hex.EncodeToString(hash[:])}, nil)
}

// Ledger reads lightningd's lists.
func (c *Cln) Ledger() (Ledger, error) {
	var sent struct {
		Payments []struct {
			Hash   string `json:"payment_hash"`
			Msat   int64  `json:"amount_msat"`
			Sent   int64  `json:"amount_sent_msat"`
			Status string
		}
	}
	var got struct {
		Invoices []struct {
			Hash   string `json:"payment_hash"`
			Msat   int64  `json:"amount_received_msat"`
			Status string
		}
	}
	b := Ledger{Paid: map[string]int64{}, Received: map[string]int64{}}
	if err := c.ask("listsendpays", nil, &sent); err != nil { // one entry a part
		return b, err
	}
	if err := c.ask("listinvoices", nil, &got); err != nil {
		return b, err
	}
	for _, p := range sent.Payments {
		switch p.Status {
		case "complete":
			b.Paid[p.Hash] += p.Msat
			b.Sent += p.Sent
		case "pending":
			b.Pending = append(b.Pending, p.Hash)
		default:
			b.Failed = append(b.Failed, p.Hash)
		}
	}
	for _, i := range got.Invoices {
		if i.Status == "paid" {
			b.Received[i.Hash] = i.Msat
		}
	}
	return b, nil
}
