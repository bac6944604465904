package explain

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"lightningrod/cmd/rod/internal/facts"
	"lightningrod/node/invoice"
	"lightningrod/onion"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/chaincfg"
)

// networks by how their invoices begin, the longer ones first.
var networks = []struct {
	prefix string
	params *chaincfg.Params
}{
	{"lnbcrt", &chaincfg.RegressionNetParams}, {"lntbs", &chaincfg.SigNetParams}, {"lnbc", &chaincfg.MainNetParams},
	{"lntb", &chaincfg.TestNet3Params}, {"lnsb", &chaincfg.SimNetParams},
}

// IsInvoice says whether a text begins like an invoice.
func IsInvoice(text string) bool { return networkOf(text) != nil }

func networkOf(text string) *chaincfg.Params {
	text = strings.TrimPrefix(strings.ToLower(text), "lightning:")
	for _, n := range networks {
		if strings.HasPrefix(text, n.prefix) {
			return n.params
		}
	}
	return nil
}

// Invoice explains a BOLT 11 invoice of any network.
func Invoice(text string) (facts.Facts, error) {
	if len(text) >= len("lightning:") && strings.EqualFold(text[:len("lightning:")], "lightning:") {
		text = text[len("lightning:"):]
	}
	net := networkOf(text)
	if net == nil {
		return nil, fmt.Errorf("invoice: %.12q begins like none: lnbcrt, lntbs, lnbc, lntb", text)
	}
	i, err := invoice.Decode(text, net)
	if err != nil {
		return nil, err
	}
	f := facts.Facts{{Name: "network", Value: net.Name}}
	if len(i.Paths) == 0 {
		f.Add("payee", hexOf(i.Node[:]))
	}
	f.Add("payment_hash", hexOf(i.Hash[:]))
	if i.Amount > 0 {
		f.Add("amount_msat", uint64(i.Amount))
	}
	if i.DescriptionHash != nil {
		f.Add("description_hash", hexOf(i.DescriptionHash[:]))
	} else {
		f.Add("description", i.Description)
	}
	f.Add("created_at", i.Created.UTC().Format(time.RFC3339))
	f.Add("expires_at", i.Expires().UTC().Format(time.RFC3339))
	f.Add("expiry_seconds", int64(i.Expiry/time.Second))
	if len(i.Paths) == 0 {
		f.Add("min_final_cltv_expiry_delta", uint64(i.MinFinalCltv))
		f.Add("payment_secret", hexOf(i.Secret[:]))
	}
	if i.Metadata != nil {
		f.Add("payment_metadata", hexOf(i.Metadata))
	}
	if i.Fallback != "" {
		f.Add("fallback_address", i.Fallback)
	}
	set := []any{}
	if i.Features != nil {
		for bit := range 65536 {
			if i.Features.IsSet(lnwireBit(bit)) {
				set = append(set, featureName(bit))
			}
		}
	}
	f.Add("features", set)
	ways := []any{}
	for _, hint := range i.Hints {
		hops := []any{}
		for _, h := range hint {
			hops = append(hops, facts.Facts{
				{Name: "node_id", Value: hexOf(h.Node[:])}, {Name: "short_channel_id", Value: scidText(h.Channel.ToUint64())},
				{Name: "fee_base_msat", Value: uint64(h.FeeBase)}, {Name: "fee_proportional_millionths", Value: uint64(h.FeeRate)},
				{Name: "cltv_expiry_delta", Value: uint64(h.CltvDelta)},
			})
		}
		ways = append(ways, facts.Facts{{Name: "hops", Value: hops}})
	}
	if len(ways) > 0 {
		f.Add("route_hints", ways)
	}
	if len(i.Paths) > 0 {
		f.Add("blinded_paths", blindedPaths(i.Paths))
	}
	return f, nil
}

// blindedPaths are the fields b of an invoice, blinded_payinfo of bLIP 39.
func blindedPaths(paths []onion.PaymentPath) []any {
	all := []any{}
	for _, p := range paths {
		hops := []any{}
		for j, h := range p.Path.Hops {
			name := "blinded_node_id"
			if j == 0 {
				name = "node_id" // the introduction node's own
			}
			hops = append(hops, facts.Facts{{Name: name, Value: hexOf(h.Node[:])}, {Name: "encrypted_recipient_data", Value: hexOf(h.Data)}})
		}
		all = append(all, facts.Facts{
			{Name: "fee_base_msat", Value: uint64(p.Total.FeeBase)}, {Name: "fee_proportional_millionths", Value: uint64(p.Total.FeeProportional)},
			{Name: "cltv_expiry_delta", Value: uint64(p.Total.CltvExpiryDelta)}, {Name: "htlc_minimum_msat", Value: uint64(p.HtlcMinimum)},
			{Name: "htlc_maximum_msat", Value: uint64(p.HtlcMaximum)}, {Name: "features", Value: hexOf(p.Features)},
			{Name: "first_path_key", Value: hexOf(p.Path.PathKey[:])}, {Name: "hops", Value: hops},
		})
	}
	return all
}

// ShortChannelID explains a short_channel_id, as 1x2x3 (also with colons) or as one number.
func ShortChannelID(text string) (facts.Facts, error) {
	var v uint64
	if parts := strings.FieldsFunc(text, func(r rune) bool { return r == 'x' || r == ':' }); len(parts) == 3 {
		for i, name := range []string{"block", "transaction", "output"} {
			width := [...]int{24, 24, 16}[i]
			n, err := strconv.ParseUint(parts[i], 10, 64)
			if err != nil || n >= 1<<width {
				return nil, fmt.Errorf("short_channel_id: %s %.30q is not a number below %d", name, parts[i], 1<<width)
			}
			v = v<<width | n
		}
	} else {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("short_channel_id: %.40q is neither BLOCKxTXxOUTPUT nor a number of 64 bits", text)
		}
		v = n
	}
	f := facts.Facts{
		{Name: "short_channel_id", Value: scidText(v)}, {Name: "number", Value: strconv.FormatUint(v, 10)}, {Name: "hex", Value: fmt.Sprintf("%016x", v)},
		{Name: "block", Value: v >> 40}, {Name: "transaction", Value: v >> 16 & 0xffffff}, {Name: "output", Value: v & 0xffff},
	}
	return f, nil
}

// Node explains a node's id, or its id and address as ID@HOST:PORT.
func Node(text string) (facts.Facts, error) {
	id, addr, dialled := strings.Cut(text, "@")
	b, err := unhex("node id", id)
	if err != nil {
		return nil, err
	}
	if len(b) != 33 {
		return nil, fmt.Errorf("node id: %d bytes, want 33", len(b))
	}
	key, err := btcec.ParsePubKey(b)
	if err != nil {
		return nil, errors.New("node id: not a point of secp256k1")
	}
	f := facts.Facts{{Name: "node_id", Value: hexOf(b)}, {Name: "x", Value: hexOf(key.SerializeCompressed()[1:])}, {Name: "y", Value: hexOf(key.SerializeUncompressed()[33:])}}
	if !dialled {
		return f, nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("address: %.80q is not HOST:PORT", addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, fmt.Errorf("address: port %.10q outside 1..65535", port)
	}
	kind, ip := "name", net.ParseIP(host)
	switch {
	case ip.To4() != nil:
		kind = "ipv4"
	case ip != nil:
		kind = "ipv6"
	case strings.HasSuffix(host, ".onion"):
		kind = "onion service"
	case host == "":
		return nil, errors.New("address: no host")
	}
	f.Add("host", host)
	f.Add("port", port)
	f.Add("kind", kind)
	return f, nil
}
