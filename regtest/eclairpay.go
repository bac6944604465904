package regtest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (e *Eclair) Invoice(msat uint64) (Invoice, error) {
	return e.invoice("amountMsat", strconv.FormatUint(msat, 10))
}

// invoice makes one with hints to all private channels.
func (e *Eclair) invoice(params ...string) (Invoice, error) {
	list, err := e.list()
	if err != nil {
		return Invoice{}, err
	}
	var private []string
	for _, x := range list {
		if x.State == "NORMAL" && !x.Data.Commitments.Params.Flags.AnnounceChannel {
			private = append(private, x.ID)
		}
	}
	if len(private) > 0 {
		params = append(params, "privateChannelIds", strings.Join(private, ","))
	}
	var out struct{ Serialized, PaymentHash string }
	err = e.ask("createinvoice", &out, append(params, "description", "regtest")...)
	return Invoice{Text: out.Serialized, Hash: out.PaymentHash}, err
}

func (e *Eclair) Withdraw(inv Invoice) error {
	return e.ask("deleteinvoice", nil, "paymentHash", inv.Hash)
}

// Pay leaves it to eclair to find ways and to make parts, as many as it likes.
func (e *Eclair) Pay(p Payment) (Outcome, error) {
	if len(p.FirstHop) > 0 || p.Unknown || p.FinalExpiry != 0 || p.LessFee != 0 || p.LessExpiry != 0 || p.Wrong != "" {
		return Outcome{}, errors.New("eclair pays what an invoice says, and nothing else")
	}
	var invoice struct{ PaymentHash string }
	if err := e.ask("parseinvoice", &invoice, "invoice", p.Invoice); err != nil {
		return Outcome{}, err
	}
	e.note(invoice.PaymentHash)
	return e.pay("payinvoice", "invoice", p.Invoice)
}

// note remembers a payment for the ledger.
func (e *Eclair) note(hash string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = append(e.asked, hash)
}

// eclairPaid is what eclair says of a payment in the end.
type eclairPaid struct {
	Type        string
	PaymentHash string
	Parts       []struct{ FeesPaid uint64 }
	Failures    []eclairFailure
}

// eclairFailure is why one part has failed: the node that has said why is in E, the words of eclair itself in T.
type eclairFailure struct {
	Route []struct{ NextNodeID string }
	E     *struct{ OriginNode, FailureMessage string }
	T     string
}

// pay pays, and waits for the outcome.
func (e *Eclair) pay(method string, params ...string) (Outcome, error) {
	params = append(params, "blocking", "true", "timeoutSeconds", strconv.Itoa(int(callPatience/time.Second)), "maxFeeFlatSat", "1000000")
	var paid eclairPaid
	if err := e.ask(method, &paid, params...); err != nil {
		return Outcome{}, err
	}
	if method == "payoffer" {
		e.note(paid.PaymentHash)
	}
	switch paid.Type {
	case "payment-sent":
		o := Outcome{Paid: true}
		for _, part := range paid.Parts {
			o.Fee += part.FeesPaid
		}
		return o, nil
	case "payment-failed":
		return paid.failure(), nil
	}
	return Outcome{}, fmt.Errorf("%s: %q", method, paid.Type)
}

// failure is the last that another node has sent, or else eclair's own last one.
func (p *eclairPaid) failure() Outcome {
	o := Outcome{Hop: -1}
	for _, f := range p.Failures {
		switch {
		case f.E != nil:
			hop := 1 + slices.IndexFunc(f.Route, func(h struct{ NextNodeID string }) bool { return h.NextNodeID == f.E.OriginNode })
			o = Outcome{Failure: eclairName(f.E.FailureMessage), Hop: hop}
		case o.Hop < 0:
			o.Failure = f.T
		}
	}
	return o
}

// eclairNames are the failures of BOLT 4, by how eclair's words for them begin.
var eclairNames = map[string]string{
	"general temporary failure of the processing node":                          "temporary_node_failure",
	"channel is currently unavailable":                                          "temporary_channel_failure",
	"channel is permanently unavailable":                                        "permanent_channel_failure",
	"channel is currently disabled":                                             "channel_disabled",
	"processing node does not know the next peer in the route":                  "unknown_next_peer",
	"payment amount was below the minimum required by the channel":              "amount_below_minimum",
	"payment fee was below the minimum required by the channel":                 "fee_insufficient",
	"payment expiry is too close to the current block height for safe handling": "expiry_too_soon",
	"payment expiry is too far in the future":                                   "expiry_too_far",
	"incorrect payment details or unknown payment hash":                         "incorrect_or_unknown_payment_details",
	"the complete payment amount was not received within a reasonable time":     "mpp_timeout",
	"the blinded onion didn't match the processing node's requirements":         "invalid_onion_blinding",
}

func eclairName(message string) string {
	for words, name := range eclairNames {
		if strings.HasPrefix(message, words) {
			return name
		}
	}
	return message
}

// Offer is an offer of BOLT 12. One whose channels are all private hides behind the peer of the first.
func (e *Eclair) Offer(msat uint64) (string, error) {
	list, err := e.list()
	if err != nil {
		return "", err
	}
	params := []string{"amountMsat", strconv.FormatUint(msat, 10), "description", "regtest"}
	public := slices.ContainsFunc(list, func(x eclairChannel) bool { return x.Data.Commitments.Params.Flags.AnnounceChannel })
	if !public && len(list) > 0 {
		params = append(params, "blindedPathsFirstNodeId", list[0].Peer)
	}
	var out struct{ Encoded string }
	err = e.ask("createoffer", &out, params...)
	return out.Encoded, err
}

// PayOffer asks for an invoice by onion message, and pays it.
func (e *Eclair) PayOffer(offer string) (Outcome, error) {
	var parsed struct{ Amount string } // in satoshi, with three decimals
	if err := e.ask("parseoffer", &parsed, "offer", offer); err != nil {
		return Outcome{}, err
	}
	msat := strings.TrimLeft(strings.ReplaceAll(parsed.Amount, ".", ""), "0")
	return e.pay("payoffer", "offer", offer, "amountMsat", msat)
}

// Ledger asks for every payment that eclair was asked for, and reads its list of what it has received.
func (e *Eclair) Ledger() (Ledger, error) {
	e.mu.Lock()
	asked := slices.Clone(e.asked)
	e.mu.Unlock()
	b := Ledger{Paid: map[string]int64{}, Received: map[string]int64{}}
	for _, hash := range asked {
		var parts []struct {
			Amount int64 // msat, that the payee gets
			Status struct {
				Type     string
				FeesPaid int64
			}
		}
		if err := e.ask("getsentinfo", &parts, "paymentHash", hash); err != nil {
			return b, err
		}
		states := map[string]bool{}
		for _, p := range parts {
			states[p.Status.Type] = true
			if p.Status.Type == "sent" {
				b.Paid[hash] += p.Amount
				b.Sent += p.Amount + p.Status.FeesPaid
			}
		}
		switch {
		case states["pending"]:
			b.Pending = append(b.Pending, hash)
		case !states["sent"]:
			b.Failed = append(b.Failed, hash)
		}
	}
	var got []struct {
		PaymentPreimage string
		Status          struct{ Amount int64 }
	}
	if err := e.ask("listreceivedpayments", &got, "from", "0"); err != nil {
		return b, err
	}
	for _, r := range got {
		preimage, err := unhex(r.PaymentPreimage)
		if err != nil {
			return b, err
		}
		hash := sha256.Sum256(preimage) // an invoice of BOLT 12 stands there without it
		b.Received[hex.EncodeToString(hash[:])] = r.Status.Amount
	}
	return b, nil
}
