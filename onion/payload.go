package onion

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Types of the HTLC payload, BOLT 4 "payload format"; keysend is of bLIP 3.
const (
	typeAmtToForward     = 2
	typeOutgoingCltv     = 4
	typeShortChannelID   = 6
	typePaymentData      = 8
	typeEncryptedData    = 10
	typeCurrentPathKey   = 12
	typePaymentMetadata  = 16
	typeTotalAmountMsat  = 18
	typeKeysendPreimage  = 5482373484
	maxHops              = 27 // the most that fit, sphinx.NumMaxHops
	hopPayloadSize       = 1300
	invalidOnionBlinding = uint16(lnwire.CodeInvalidBlinding)
)

// payload is the TLV payload of one hop of an HTLC onion. A nil field is absent.
type payload struct {
	amount    *lnwire.MilliSatoshi
	cltv      *uint32
	scid      *lnwire.ShortChannelID
	data      *paymentData
	encrypted []byte
	pathKey   *[33]byte
	metadata  []byte
	total     *lnwire.MilliSatoshi
	keysend   *[32]byte
	custom    []Record // unknown odd types
}

type paymentData struct {
	secret [32]byte
	total  lnwire.MilliSatoshi
}

var payloadFields = fields[payload]{
	typeAmtToForward:    func(p *payload, c *cursor) { p.amount = ref(c.amount()) },
	typeOutgoingCltv:    func(p *payload, c *cursor) { p.cltv = ref(c.tu32()) },
	typeShortChannelID:  func(p *payload, c *cursor) { p.scid = ref(c.shortChannelID()) },
	typePaymentData:     func(p *payload, c *cursor) { p.data = &paymentData{c.hash(), c.amount()} },
	typeEncryptedData:   func(p *payload, c *cursor) { p.encrypted = c.rest() },
	typeCurrentPathKey:  func(p *payload, c *cursor) { p.pathKey = ref(c.point()) },
	typePaymentMetadata: func(p *payload, c *cursor) { p.metadata = c.rest() },
	typeTotalAmountMsat: func(p *payload, c *cursor) { p.total = ref(c.amount()) },
	typeKeysendPreimage: func(p *payload, c *cursor) { p.keysend = ref(c.hash()) },
}

func ref[T any](v T) *T { return &v }

func decodePayload(stream []byte) (*payload, error) {
	p := new(payload)
	custom, err := payloadFields.decode(stream, p)
	if err != nil {
		return nil, err
	}
	p.custom = custom
	return p, nil
}

func (p *payload) encode() ([]byte, error) {
	if err := payloadFields.checkCustom(p.custom); err != nil {
		return nil, err
	}
	records := slices.Clone(p.custom)
	add := func(typ uint64, value []byte) { records = append(records, Record{typ, value}) }
	if p.amount != nil {
		add(typeAmtToForward, truncated(uint64(*p.amount)))
	}
	if p.cltv != nil {
		add(typeOutgoingCltv, truncated(uint64(*p.cltv)))
	}
	if p.scid != nil {
		add(typeShortChannelID, binary.BigEndian.AppendUint64(nil, p.scid.ToUint64()))
	}
	if p.data != nil {
		add(typePaymentData, append(p.data.secret[:], truncated(uint64(p.data.total))...))
	}
	if p.encrypted != nil {
		add(typeEncryptedData, p.encrypted)
	}
	if p.pathKey != nil {
		add(typeCurrentPathKey, p.pathKey[:])
	}
	if p.metadata != nil {
		add(typePaymentMetadata, p.metadata)
	}
	if p.total != nil {
		add(typeTotalAmountMsat, truncated(uint64(*p.total)))
	}
	if p.keysend != nil {
		add(typeKeysendPreimage, p.keysend[:])
	}
	return encodeSorted(records)
}

// What a payload must and may have besides unknown odd types, by where the hop stands (BOLT 4 "payload format", the
// reader). Within a blinded path nothing else is allowed, not even unknown odd types.
var (
	plainForward   = rule{must: []uint64{typeAmtToForward, typeOutgoingCltv, typeShortChannelID}}
	plainFinal     = rule{must: []uint64{typeAmtToForward, typeOutgoingCltv}}
	blindedForward = rule{must: []uint64{typeEncryptedData}, may: []uint64{typeCurrentPathKey}, closed: true}
	blindedFinal   = rule{
		must:   []uint64{typeAmtToForward, typeOutgoingCltv, typeEncryptedData, typeTotalAmountMsat},
		may:    []uint64{typeCurrentPathKey},
		closed: true,
	}
)

type rule struct {
	must, may []uint64
	closed    bool // no types besides must and may
}

// check returns the first record that is forbidden, or else missing; a missing one is said to be at offset 0.
func (r rule) check(stream []byte) error {
	missing := slices.Clone(r.must)
	err := scan(stream, func(rec Record, offset int) *StreamError {
		if i := slices.Index(missing, rec.Type); i >= 0 {
			missing = slices.Delete(missing, i, i+1)
			return nil
		}
		if r.closed && !slices.Contains(r.may, rec.Type) {
			return &StreamError{rec.Type, offset, "not allowed here in a blinded path"}
		}
		return nil
	})
	if err == nil && len(missing) > 0 {
		return &StreamError{missing[0], 0, "missing"}
	}
	return err
}

// PayHop is what one hop of a payment is told. Which of the fields are used depends on where it stands:
//
//	forward            Amount, Cltv, NextSCID
//	final              Amount, Cltv, PaymentSecret with Total, Metadata, Keysend
//	in a blinded path  EncryptedData, for the first of them PathKey; for the last Amount, Cltv and Total as well
type PayHop struct {
	Node     [33]byte // the node's id; its blinded_node_id after the first hop of a blinded path
	Amount   lnwire.MilliSatoshi
	Cltv     uint32 // outgoing_cltv_value, a block height
	NextSCID lnwire.ShortChannelID

	PaymentSecret *[32]byte
	Total         lnwire.MilliSatoshi // total_msat of all parts; 0: this is the only one
	Metadata      []byte
	Keysend       *[32]byte
	Custom        []Record // not in a blinded path

	EncryptedData []byte
	PathKey       *[33]byte
}

// payload makes the hop's payload as its rule demands, and refuses fields that have no place in it.
func (h *PayHop) payload(final bool) ([]byte, error) {
	if h.Amount > maxMilliSatoshi || h.Total > maxMilliSatoshi {
		return nil, fmt.Errorf("amount %d of total %d msat, maximum %d",
			uint64(h.Amount), uint64(h.Total), uint64(maxMilliSatoshi))
	}
	p := payload{encrypted: h.EncryptedData, pathKey: h.PathKey}
	blinded := h.EncryptedData != nil
	forFinal := h.PaymentSecret != nil || h.Metadata != nil || h.Keysend != nil
	switch {
	case blinded && (forFinal || len(h.Custom) > 0):
		return nil, errors.New("a hop in a blinded path takes nothing beside encrypted_recipient_data")
	case !blinded && h.PathKey != nil:
		return nil, errors.New("current_path_key without encrypted_recipient_data")
	case !final && forFinal:
		return nil, errors.New("payment_data, payment_metadata or keysend for a hop that is not the last")
	case !blinded:
		p.custom, p.metadata, p.keysend = h.Custom, h.Metadata, h.Keysend
	}
	if final || !blinded {
		p.amount, p.cltv = &h.Amount, &h.Cltv
	}
	total := h.Total
	if total == 0 {
		total = h.Amount
	}
	switch {
	case final && blinded:
		p.total = &total
	case final && h.PaymentSecret != nil:
		p.data = &paymentData{*h.PaymentSecret, total}
	case !final && !blinded:
		p.scid = &h.NextSCID
	}
	return p.encode()
}
