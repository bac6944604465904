package regtest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// lndAttempt is one HTLC of a payment.
type lndAttempt struct {
	Status  string
	Failure *struct {
		Code   string
		Source int `json:"failure_source_index"`
	}
}

func (a lndAttempt) outcome() Outcome {
	switch {
	case a.Status == "SUCCEEDED":
		return Outcome{Paid: true}
	case a.Failure == nil:
		return Outcome{Failure: strings.ToLower(a.Status), Hop: -1}
	}
	return Outcome{Failure: strings.ToLower(a.Failure.Code), Hop: a.Failure.Source}
}

// lndRequest is what lnd reads in an invoice.
type lndRequest struct {
	Destination string
	Msat        uint64 `json:"num_msat,string"`
	Expiry      int    `json:"cltv_expiry,string"`
	Secret      []byte `json:"payment_addr"`
	HashText    string `json:"payment_hash"`
}

func (l *Lnd) Pay(p Payment) (Outcome, error) {
	in := map[string]any{"timeout_seconds": 60, "fee_limit_msat": "1000000000", "max_parts": max(1, p.Parts), "no_inflight_updates": true}
	switch {
	case p.LessFee != 0 || p.LessExpiry != 0 || p.Wrong != "":
		return l.payRoute(p)
	case p.Unknown || p.FinalExpiry != 0:
		if err := l.spellOut(p, in); err != nil {
			return Outcome{}, err
		}
	default:
		in["payment_request"] = p.Invoice
	}
	if len(p.FirstHop) > 0 {
		in["first_hop_custom_records"] = records(p.FirstHop)
	}
	var o Outcome
	err := l.api.stream(context.Background(), "POST", "/v2/router/send", in, func(line json.RawMessage) error {
		var update struct {
			Status string
			Reason string `json:"failure_reason"`
			Fee    uint64 `json:"fee_msat,string"`
			HTLCs  []lndAttempt
		}
		if err := json.Unmarshal(line, &update); err != nil {
			return err
		}
		switch update.Status {
		case "SUCCEEDED":
			o = Outcome{Paid: true, Fee: update.Fee}
			return errEnough
		case "FAILED":
			o = Outcome{Failure: strings.ToLower(update.Reason), Hop: -1}
			for _, h := range update.HTLCs {
				if h.Failure != nil {
					o = h.outcome()
				}
			}
			return errEnough
		}
		return nil
	})
	return o, err
}

// spellOut says what is in the invoice field by field, which lets some be others.
func (l *Lnd) spellOut(p Payment, in map[string]any) error {
	r, err := l.decode(p.Invoice)
	if err != nil {
		return err
	}
	dest, err := unhex(r.Destination)
	if err != nil {
		return err
	}
	hash, err := unhex(r.HashText)
	if err != nil {
		return err
	}
	if p.Unknown {
		hash = random32()
	}
	if p.FinalExpiry != 0 {
		r.Expiry = p.FinalExpiry
	}
	const tlvOnion, paymentSecret = 9, 15
	in["dest"], in["payment_addr"], in["payment_hash"] = dest, r.Secret, hash
	in["amt_msat"], in["final_cltv_delta"], in["dest_features"] = strconv.FormatUint(r.Msat, 10), r.Expiry, []int{tlvOnion, paymentSecret}
	return nil
}

// records are TLV records as lnd takes them.
func records(tlvs map[uint64][]byte) map[string]string {
	out := map[string]string{}
	for t, v := range tlvs {
		out[strconv.FormatUint(t, 10)] = base64.StdEncoding.EncodeToString(v)
	}
	return out
}

func random32() []byte {
	b := make([]byte, 32)
	rand.Read(b)
	return b
}

func (l *Lnd) decode(text string) (r lndRequest, err error) {
	return r, l.api.do("GET", "/v1/payreq/"+text, nil, &r)
}

// lndRoute is a route in lnd's words, as it comes and goes.
type lndRoute struct {
	fields map[string]any
	hops   []map[string]any
	total  uint64 // msat that the payee is promised
	height float64
}

func (r *lndRoute) last() map[string]any { return r.hops[len(r.hops)-1] }

// shift moves all expiries.
func (r *lndRoute) shift(blocks float64) {
	r.fields["total_time_lock"] = r.fields["total_time_lock"].(float64) + blocks
	for _, h := range r.hops {
		h["expiry"] = h["expiry"].(float64) + blocks
	}
}

// lndWrongs are what can be wrong with a route on purpose, besides too little for the first hop.
var lndWrongs = map[string]func(*lndRoute){
	"next":         func(r *lndRoute) { r.hops[1]["chan_id"] = "1" }, // a channel of nobody's
	"small":        func(r *lndRoute) {},                             // found for a thousand times the amount
	"early":        func(r *lndRoute) { r.shift(r.height + 1 - r.last()["expiry"].(float64)) },
	"late":         func(r *lndRoute) { r.shift(2016) },
	"record":       func(r *lndRoute) { r.last()["custom_records"] = records(map[uint64][]byte{65536: {0}}) }, // even and unknown
	"final-expiry": func(r *lndRoute) { r.last()["expiry"] = r.last()["expiry"].(float64) + 1 },
	"final-amount": func(r *lndRoute) { r.fields["total_amt_msat"] = less(r.fields["total_amt_msat"], 1) },
	"promise":      func(r *lndRoute) { r.total++ },
}

// route is the one that lnd would take for a payment of its first hop's amount.
func (l *Lnd) route(dest string, msat uint64, finalExpiry int) (*lndRoute, error) {
	var found struct{ Routes []map[string]any }
	ask := map[string]any{"amt_msat": strconv.FormatUint(msat, 10), "final_cltv_delta": finalExpiry}
	if err := l.api.do("POST", "/v1/graph/routes/"+dest+"/0", ask, &found); err != nil {
		return nil, err
	}
	if len(found.Routes) == 0 {
		return nil, errors.New("no route")
	}
	height, err := l.Height()
	r := &lndRoute{fields: found.Routes[0], total: msat, height: float64(height)}
	hops, _ := r.fields["hops"].([]any)
	for _, h := range hops {
		r.hops = append(r.hops, h.(map[string]any))
	}
	for _, old := range []string{"total_amt", "total_fees"} { // rounded, of old
		delete(r.fields, old)
	}
	return r, err
}

// carry makes the route one for this amount, at the same fees.
func (r *lndRoute) carry(msat uint64) {
	down := int64(r.total - msat)
	r.total = msat
	r.fields["total_amt_msat"] = less(r.fields["total_amt_msat"], down)
	for _, h := range r.hops {
		h["amt_to_forward_msat"] = less(h["amt_to_forward_msat"], down)
	}
}

// payRoute pays over the route that lnd would take, with something wrong about it.
func (l *Lnd) payRoute(p Payment) (Outcome, error) {
	q, err := l.decode(p.Invoice)
	if err != nil {
		return Outcome{}, err
	}
	hash, err := unhex(q.HashText)
	if err != nil {
		return Outcome{}, err
	}
	found := q.Msat
	if p.Wrong == "small" {
		found *= 1000
	}
	r, err := l.route(q.Destination, found, q.Expiry)
	if err != nil {
		return Outcome{}, err
	}
	r.carry(q.Msat)
	if forwarded := p.LessFee != 0 || p.LessExpiry != 0 || p.Wrong == "next"; forwarded && len(r.hops) < 2 {
		return Outcome{}, fmt.Errorf("a route of %d hops has nobody to forward", len(r.hops))
	}
	for field, of := range map[string]map[string]any{"fee_msat": r.hops[0], "total_amt_msat": r.fields, "total_fees_msat": r.fields} {
		of[field] = less(of[field], p.LessFee)
	}
	// What the hop is told of the next one stays; what it gets itself has less distance to that.
	r.fields["total_time_lock"] = r.fields["total_time_lock"].(float64) - float64(p.LessExpiry)
	if p.Wrong != "" {
		spoil, ok := lndWrongs[p.Wrong]
		if !ok {
			return Outcome{}, fmt.Errorf("lnd cannot do %q wrong", p.Wrong)
		}
		spoil(r)
	}
	r.last()["mpp_record"] = map[string]any{"payment_addr": q.Secret, "total_amt_msat": strconv.FormatUint(r.total, 10)}
	r.last()["tlv_payload"] = true
	var attempt lndAttempt
	const mppTimeout = time.Minute // that a payee waits for the other parts (BOLT 4 "Basic Multi-Part Payments")
	if err := l.api.within(callPatience+mppTimeout, "POST", "/v2/router/route/send", map[string]any{"payment_hash": hash, "route": r.fields}, &attempt); err != nil {
		return Outcome{}, err
	}
	// It holds the mistakes against the hops.
	return attempt.outcome(), l.api.do("POST", "/v2/router/mc/reset", struct{}{}, nil)
}

// less is a number that lnd writes as text, minus something.
func less(text any, by int64) string {
	v, _ := strconv.ParseInt(fmt.Sprint(text), 10, 64)
	return strconv.FormatInt(v-by, 10)
}

// Ledger reads lnd's lists.
func (l *Lnd) Ledger() (Ledger, error) {
	var sent struct {
		Payments []struct {
			Hash   string `json:"payment_hash"`
			Msat   int64  `json:"value_msat,string"`
			Status string
		}
	}
	var got struct {
		Invoices []struct {
			Hash  []byte `json:"r_hash"`
			Msat  int64  `json:"amt_paid_msat,string"`
			State string
		}
	}
	if err := l.api.do("GET", "/v1/payments?include_incomplete=true&max_payments=100000", nil, &sent); err != nil {
		return Ledger{}, err
	}
	if err := l.api.do("GET", "/v1/invoices?num_max_invoices=100000", nil, &got); err != nil {
		return Ledger{}, err
	}
	b := Ledger{Paid: map[string]int64{}, Received: map[string]int64{}}
	for _, p := range sent.Payments {
		switch p.Status {
		case "SUCCEEDED":
			b.Paid[p.Hash] = p.Msat
		case "IN_FLIGHT", "INITIATED":
			b.Pending = append(b.Pending, p.Hash)
		}
	}
	for _, i := range got.Invoices {
		if i.State == "SETTLED" {
			b.Received[fmt.Sprintf("%x", i.Hash)] = i.Msat
		}
	}
	return b, nil
}
