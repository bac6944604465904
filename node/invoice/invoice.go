package invoice

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"lightningrod/onion"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/ecdsa"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/lightningnetwork/lnd/lnwire"
	"github.com/lightningnetwork/lnd/zpay32"
)

// Invoice is what an invoice says.
type Invoice struct {
	Node            [33]byte            // the payee. New takes it from the key. With Paths it is nobody's
	Amount          lnwire.MilliSatoshi // msat; 0: the payer chooses
	Hash            [32]byte            // payment_hash
	Secret          [32]byte            // payment_secret
	Description     string
	DescriptionHash *[32]byte           // instead of Description
	Created         time.Time           // whole seconds
	Expiry          time.Duration       // whole seconds, after Created. For New, 0 is DefaultExpiry
	MinFinalCltv    uint32              // min_final_cltv_expiry_delta, blocks. For New, 0 is DefaultMinFinalCltv
	Hints           [][]Hint            // each a way from a public node to the payee, for channels nobody else knows
	Paths           []onion.PaymentPath // blinded paths, instead of Node, Secret, MinFinalCltv and Hints
	Features        *lnwire.RawFeatureVector
	Metadata        []byte // payment_metadata, or nil
	Fallback        string // on-chain address, or ""
}

// Hint is one channel of a route hint, seen from the node that forwards through it.
type Hint struct {
	Node      [33]byte
	Channel   lnwire.ShortChannelID
	FeeBase   uint32 // msat
	FeeRate   uint32 // millionths
	CltvDelta uint16 // blocks
}

const (
	// DefaultExpiry and DefaultMinFinalCltv hold when an invoice does not say (BOLT 11 "Tagged Fields").
	DefaultExpiry       = time.Hour
	DefaultMinFinalCltv = 18

	// maxAmount is all the bitcoin there will ever be, in msat.
	maxAmount = 21_000_000 * 100_000_000 * 1000

	// maxField is the number of bytes that a tagged field holds.
	maxField = 639

	// maxExpiry caps what an invoice may say, so that Created plus it stays a time.
	maxExpiry = 100 * 365 * 24 * time.Hour
)

// DefaultFeatures are those of our own invoices: var_onion_optin and payment_secret required, basic_mpp offered.
func DefaultFeatures() *lnwire.RawFeatureVector { return lnwire.NewRawFeatureVector(8, 14, 17) }

// BlindedFeatures are those of our own invoices with blinded paths: var_onion_optin and bolt11_blinded_path required (whoever does
// not know the field b sees no way to pay), option_route_blinding and basic_mpp offered. basic_mpp depends on payment_secret
// (BOLT 9), which is offered for its sake; path_id has its place.
func BlindedFeatures() *lnwire.RawFeatureVector {
	return lnwire.NewRawFeatureVector(8, 15, 17, 25, 262)
}

// Expires is when the invoice must not be paid any more.
func (i *Invoice) Expires() time.Time { return i.Created.Add(i.Expiry) }

// prefix is how invoices for a network begin.
func prefix(net *chaincfg.Params) string {
	// Signet's addresses begin like testnet's; BOLT 11 tells them apart.
	if net.Name == chaincfg.SigNetParams.Name {
		return "lntbs"
	}
	return "ln" + net.Bech32HRPSegwit
}

// New writes an invoice for a network and signs it with the payee's node key; one with Paths with a key that is used only once,
// since payers see it (bLIP 39).
func New(inv Invoice, net *chaincfg.Params, key *btcec.PrivateKey) (string, error) {
	if inv.Expiry == 0 {
		inv.Expiry = DefaultExpiry
	}
	if inv.MinFinalCltv == 0 && len(inv.Paths) == 0 {
		inv.MinFinalCltv = DefaultMinFinalCltv
	}
	if inv.Features == nil {
		inv.Features = DefaultFeatures()
		if len(inv.Paths) > 0 {
			inv.Features = BlindedFeatures()
		}
	}
	opts, err := inv.options(net)
	if err != nil {
		return "", fmt.Errorf("invoice: %w", err)
	}
	z, err := zpay32.NewInvoice(net, inv.Hash, inv.Created, opts...)
	if err != nil {
		return "", fmt.Errorf("invoice: %w", err)
	}
	s, err := z.Encode(zpay32.MessageSigner{SignCompact: func(msg []byte) ([]byte, error) {
		return ecdsa.SignCompact(key, chainhash.HashB(msg), true), nil
	}})
	if err != nil {
		return "", fmt.Errorf("invoice: %w", err)
	}
	return s, nil
}

// options checks what a writer must and translates it for zpay32.
func (i *Invoice) options(net *chaincfg.Params) ([]func(*zpay32.Invoice), error) {
	switch {
	case i.Amount > maxAmount:
		return nil, fmt.Errorf("amount %d msat above %d", uint64(i.Amount), uint64(maxAmount))
	case i.Secret == [32]byte{} && len(i.Paths) == 0:
		return nil, errors.New("no payment_secret")
	case len(i.Paths) > 0 && (i.Secret != [32]byte{} || i.MinFinalCltv != 0 || len(i.Hints) > 0):
		return nil, errors.New("blinded paths and a payment_secret, min_final_cltv_expiry_delta or route hint")
	case i.Created.Unix() < 0 || i.Created.Unix() >= 1<<35:
		return nil, fmt.Errorf("timestamp %d does not fit 35 bits", i.Created.Unix())
	case i.Expiry < time.Second || i.Expiry > maxExpiry:
		return nil, fmt.Errorf("expiry %v not between 1 s and %v", i.Expiry, maxExpiry)
	case i.DescriptionHash != nil && i.Description != "":
		return nil, errors.New("both a description and a description hash")
	case len(i.Description) > maxField:
		return nil, fmt.Errorf("description of %d bytes, limit is %d; use its hash", len(i.Description), maxField)
	case !utf8.ValidString(i.Description):
		return nil, errors.New("description is not UTF-8")
	case len(i.Metadata) > maxField:
		return nil, fmt.Errorf("payment_metadata of %d bytes, limit is %d", len(i.Metadata), maxField)
	case i.Fallback != "":
		return nil, errors.New("fallback addresses are read, not written")
	}
	if err := checkFeatures(i.Features); err != nil {
		return nil, err
	}
	opts := []func(*zpay32.Invoice){
		zpay32.Expiry(i.Expiry.Truncate(time.Second)),
		zpay32.Features(lnwire.NewFeatureVector(i.Features, lnwire.Features)),
	}
	if i.Amount > 0 {
		opts = append(opts, zpay32.Amount(i.Amount))
	}
	if i.DescriptionHash != nil {
		opts = append(opts, zpay32.DescriptionHash(*i.DescriptionHash))
	} else {
		opts = append(opts, zpay32.Description(i.Description))
	}
	if i.Metadata != nil {
		opts = append(opts, zpay32.Metadata(i.Metadata))
	}
	if len(i.Paths) > 0 {
		return appendPaths(opts, i.Paths)
	}
	return appendHints(append(opts, zpay32.PaymentAddr(i.Secret), zpay32.CLTVExpiry(uint64(i.MinFinalCltv))), i.Hints)
}

// appendHints adds fields r.
func appendHints(opts []func(*zpay32.Invoice), hints [][]Hint) ([]func(*zpay32.Invoice), error) {
	for _, way := range hints {
		if len(way) == 0 || len(way) > maxField/hintSize {
			return nil, fmt.Errorf("route hint of %d channels, between 1 and %d fit", len(way), maxField/hintSize)
		}
		var hops []zpay32.HopHint
		for _, h := range way {
			node, err := btcec.ParsePubKey(h.Node[:])
			if err != nil {
				return nil, fmt.Errorf("route hint through %x: %w", h.Node, err)
			}
			hops = append(hops, zpay32.HopHint{
				NodeID: node, ChannelID: h.Channel.ToUint64(),
				FeeBaseMSat: h.FeeBase, FeeProportionalMillionths: h.FeeRate, CLTVExpiryDelta: h.CltvDelta,
			})
		}
		opts = append(opts, zpay32.RouteHint(hops))
	}
	return opts, nil
}

// hintSize is the bytes of one channel in a route hint.
const hintSize = 51

// Decode reads an invoice for a network and checks all that BOLT 11 has a payer check, but not whether it has expired.
func Decode(s string, net *chaincfg.Params) (*Invoice, error) {
	inv, err := decode(strings.TrimSpace(s), net)
	if err != nil {
		return nil, fmt.Errorf("invoice: %w", err)
	}
	return inv, nil
}

func decode(s string, net *chaincfg.Params) (*Invoice, error) {
	f, err := scan(s)
	if err != nil {
		return nil, err
	}
	if err := f.checkHRP(net); err != nil {
		return nil, err
	}
	z, err := zpay32.Decode(s, net)
	if err != nil {
		return nil, err
	}
	paths, err := f.paths()
	switch {
	case err != nil:
		return nil, err
	case len(paths) > 0 && z.PaymentAddr.IsSome(): // zpay32 refuses them beside route hints
		return nil, errors.New("blinded paths and a payment_secret")
	case len(paths) == 0 && z.PaymentAddr.IsNone():
		return nil, errors.New("no payment_secret")
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	if err := checkFeatures(z.Features.RawFeatureVector); err != nil {
		return nil, err
	}
	return translate(z, f, paths)
}

// translate takes over what zpay32 read.
func translate(z *zpay32.Invoice, f *fields, paths []onion.PaymentPath) (*Invoice, error) {
	inv := &Invoice{
		Node:            [33]byte(z.Destination.SerializeCompressed()),
		Hash:            *z.PaymentHash,
		Secret:          z.PaymentAddr.UnwrapOr([32]byte{}),
		DescriptionHash: z.DescriptionHash,
		Created:         z.Timestamp,
		Expiry:          DefaultExpiry,
		MinFinalCltv:    DefaultMinFinalCltv,
		Features:        z.Features.RawFeatureVector,
		Metadata:        z.Metadata,
		Paths:           paths,
	}
	if z.MilliSat != nil {
		inv.Amount = *z.MilliSat
	}
	if z.Description != nil {
		inv.Description = *z.Description
	}
	if v, ok := f.number('x'); ok {
		inv.Expiry = maxExpiry
		if v < uint64(maxExpiry/time.Second) {
			inv.Expiry = time.Duration(v) * time.Second
		}
	}
	if v, ok := f.number('c'); ok {
		if v > math.MaxUint32 {
			return nil, fmt.Errorf("min_final_cltv_expiry_delta %d above %d", v, uint32(math.MaxUint32))
		}
		inv.MinFinalCltv = uint32(v)
	}
	if len(paths) > 0 {
		inv.MinFinalCltv = 0 // bLIP 39: it is in the totals of the paths
	}
	if z.FallbackAddr != nil {
		inv.Fallback = z.FallbackAddr.EncodeAddress()
	}
	for _, way := range z.RouteHints {
		var hints []Hint
		for _, h := range way {
			hints = append(hints, Hint{
				Node: [33]byte(h.NodeID.SerializeCompressed()), Channel: lnwire.NewShortChanIDFromInt(h.ChannelID),
				FeeBase: h.FeeBaseMSat, FeeRate: h.FeeProportionalMillionths, CltvDelta: h.CLTVExpiryDelta,
			})
		}
		inv.Hints = append(inv.Hints, hints)
	}
	return inv, nil
}

// known are the features, by their even bit, that a payment of ours fulfils when an invoice requires them.
var known = map[lnwire.FeatureBit]bool{
	8:   true, // var_onion_optin
	14:  true, // payment_secret
	16:  true, // basic_mpp
	24:  true, // option_route_blinding
	48:  true, // option_payment_metadata
	262: true, // bolt11_blinded_path
}

// checkFeatures refuses required features that are not known and features without those they depend on.
func checkFeatures(f *lnwire.RawFeatureVector) error {
	bits := lnwire.NewFeatureVector(f, nil).Features()
	for bit := range bits {
		if bit%2 == 0 && !known[bit] {
			return fmt.Errorf("feature bit %d is required and unknown here", bit)
		}
	}
	has := func(even lnwire.FeatureBit) bool { return f.IsSet(even) || f.IsSet(even|1) }
	if has(16) && !has(14) { // BOLT 9: basic_mpp depends on payment_secret
		return errors.New("feature 16 without feature 14, which it depends on")
	}
	return nil
}
