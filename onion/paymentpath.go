package onion

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/lightningnetwork/lnd/lnwire"
)

// PaymentPath is a blinded path for payments, with the terms of all its nodes in one (BOLT 4 "payload format": what the
// creator of encrypted_recipient_data tells the sender). Unlike that of a path for messages, the first of Path.Hops is
// named by the node's own id: a payment reaches it by an ordinary route, and finds its path_key in the payload.
type PaymentPath struct {
	Path BlindedPath
	// Total is the fee of all nodes for what arrives at the end, and the blocks of all of them together with the
	// recipient's min_final_cltv_expiry_delta.
	Total       PaymentRelay
	HtlcMinimum lnwire.MilliSatoshi
	HtlcMaximum lnwire.MilliSatoshi
	Features    []byte // a big-endian bit vector, without leading zeros
}

// PathRelay is a node of a PaymentPath before its end: over which channel it forwards, on what terms.
type PathRelay struct {
	Node        [33]byte
	Next        lnwire.ShortChannelID
	Relay       PaymentRelay
	HtlcMinimum lnwire.MilliSatoshi
	HtlcMaximum lnwire.MilliSatoshi
}

// PathEnd is the recipient of a PaymentPath, and what it wants.
type PathEnd struct {
	Node         [33]byte
	PathID       []byte
	MinFinalCltv uint16 // blocks, with those that may be found while a payment travels
	LastHeight   uint32 // until this height payers may use the path
	HtlcMinimum  lnwire.MilliSatoshi
	HtlcMaximum  lnwire.MilliSatoshi
}

// NewPaymentPath blinds a path over the relays to its end; without relays the end is the introduction node. The session
// key becomes the first path_key.
//
// BOLT 4 "payload format": max_cltv_expiry begins with the end's height and min_final_cltv_expiry_delta and grows by the
// delta of each node towards the sender; htlc_minimum_msat is the same for all, the largest of them.
func NewPaymentPath(session [32]byte, relays []PathRelay, end PathEnd) (PaymentPath, error) {
	p := PaymentPath{HtlcMinimum: end.HtlcMinimum, HtlcMaximum: end.HtlcMaximum}
	p.Total.CltvExpiryDelta = end.MinFinalCltv
	for _, r := range relays {
		p.HtlcMinimum, p.HtlcMaximum = max(p.HtlcMinimum, r.HtlcMinimum), min(p.HtlcMaximum, r.HtlcMaximum)
	}
	if p.HtlcMinimum > p.HtlcMaximum {
		return PaymentPath{}, fmt.Errorf("htlc_minimum_msat %d above htlc_maximum_msat %d", uint64(p.HtlcMinimum), uint64(p.HtlcMaximum))
	}
	expiry := uint64(end.LastHeight) + uint64(end.MinFinalCltv)
	nodes := make([]PathNode, len(relays)+1)
	data := EncryptedData{PathID: end.PathID}
	for i := len(relays); ; i-- {
		if expiry > 1<<32-1 {
			return PaymentPath{}, fmt.Errorf("max_cltv_expiry %d above %d", expiry, uint32(1<<32-1))
		}
		data.Constraints = &PaymentConstraints{uint32(expiry), p.HtlcMinimum}
		if i == len(relays) {
			nodes[i] = PathNode{end.Node, data}
		} else {
			nodes[i] = PathNode{relays[i].Node, data}
		}
		if i == 0 {
			break
		}
		r := &relays[i-1]
		total, err := p.Total.behind(r.Relay)
		if err != nil {
			return PaymentPath{}, err
		}
		p.Total, expiry = total, expiry+uint64(r.Relay.CltvExpiryDelta)
		data = EncryptedData{ShortChannelID: &r.Next, Relay: &r.Relay}
	}
	var err error
	if p.Path, err = NewBlindedPath(session, nodes); err != nil {
		return PaymentPath{}, err
	}
	p.Path.Hops[0].Node = p.Path.First
	return p, nil
}

// behind is what the terms become when one more node comes before all others. BOLT 4 "payload format" rounds up, so that
// nobody gets too little:
//
//	base = ceil(its base + base * (1 + its proportional))
//	proportional = ceil(proportional + its proportional + proportional * its proportional)
func (r PaymentRelay) behind(first PaymentRelay) (PaymentRelay, error) {
	more := func(v uint32) uint64 { return (uint64(v)*uint64(first.FeeProportional) + 999_999) / 1_000_000 }
	base := uint64(first.FeeBase) + uint64(r.FeeBase) + more(r.FeeBase)
	share := uint64(first.FeeProportional) + uint64(r.FeeProportional) + more(r.FeeProportional)
	delta := uint32(r.CltvExpiryDelta) + uint32(first.CltvExpiryDelta)
	switch {
	case base > 1<<32-1:
		return PaymentRelay{}, fmt.Errorf("fee_base_msat %d of the path above %d", base, uint32(1<<32-1))
	case share > 1<<32-1:
		return PaymentRelay{}, fmt.Errorf("fee_proportional_millionths %d of the path above %d", share, uint32(1<<32-1))
	case delta > 1<<16-1:
		return PaymentRelay{}, fmt.Errorf("cltv_expiry_delta %d of the path above %d", delta, 1<<16-1)
	}
	return PaymentRelay{uint16(delta), uint32(share), uint32(base)}, nil
}

// Fee is what all nodes of the path keep when amount is to arrive. It is rounded down, as BOLT 7 "HTLC Fees" does: since
// every node rounds what it forwards up, amount arrives all the same. False if the fee is beyond 64 bits.
func (p *PaymentPath) Fee(amount lnwire.MilliSatoshi) (lnwire.MilliSatoshi, bool) {
	hi, lo := bits.Mul64(uint64(amount), uint64(p.Total.FeeProportional))
	if hi >= 1_000_000 {
		return 0, false
	}
	share, _ := bits.Div64(hi, lo, 1_000_000)
	sum, carry := bits.Add64(share, uint64(p.Total.FeeBase), 0)
	return lnwire.MilliSatoshi(sum), carry == 0
}

// AdvancePayment takes the first step of a path whose introduction node is us, since a payment does not come back to its
// sender. It returns the path from the next node on, all of whose Hops are blinded now, and what our step was told, which
// names the next node; Path.PathKey goes into the update_add_htlc to that one.
//
// Our own terms are taken off the total. As that was rounded up, what is left is never less than what the others ask.
func (k *Router) AdvancePayment(p PaymentPath) (PaymentPath, EncryptedData, error) {
	if p.Path.First != serialize(k.key.PubKey()) {
		return PaymentPath{}, EncryptedData{}, errors.New("blinded path does not begin with us")
	}
	shared, err := k.pathSecret(p.Path.PathKey[:])
	if err != nil {
		return PaymentPath{}, EncryptedData{}, err
	}
	next, data, err := k.firstStep(p.Path, shared)
	if err != nil {
		return PaymentPath{}, EncryptedData{}, err
	}
	r := data.Relay
	switch t := p.Total; {
	case r == nil:
		return PaymentPath{}, EncryptedData{}, errors.New("encrypted_data_tlv lacks payment_relay")
	case data.ShortChannelID != nil && data.NextNode != nil:
		return PaymentPath{}, EncryptedData{}, errors.New("encrypted_data_tlv has both short_channel_id and next_node_id")
	case r.FeeBase > t.FeeBase || r.FeeProportional > t.FeeProportional || r.CltvExpiryDelta > t.CltvExpiryDelta:
		return PaymentPath{}, EncryptedData{}, fmt.Errorf("payment_relay %+v of one node is more than %+v of all", *r, t)
	}
	p.Path = next
	p.Total.FeeBase -= r.FeeBase
	p.Total.FeeProportional -= r.FeeProportional
	p.Total.CltvExpiryDelta -= r.CltvExpiryDelta
	return p, data, nil
}

// Encode writes the path as blinded_payinfo, the field b of an invoice (bLIP 39).
func (p PaymentPath) Encode() ([]byte, error) {
	switch hops := p.Path.Hops; {
	case len(hops) == 0 || len(hops) > 255:
		return nil, fmt.Errorf("blinded_payinfo of %d hops, 1 to 255", len(hops))
	case hops[0].Node != p.Path.First:
		return nil, errors.New("blinded_payinfo whose first hop is not the introduction node")
	case len(p.Features) > 65535:
		return nil, fmt.Errorf("features of %d bytes, maximum 65535", len(p.Features))
	case len(p.Features) > 0 && p.Features[0] == 0:
		return nil, errors.New("features begin with zeros")
	case p.HtlcMinimum > p.HtlcMaximum:
		return nil, fmt.Errorf("htlc_minimum_msat %d above htlc_maximum_msat %d", uint64(p.HtlcMinimum), uint64(p.HtlcMaximum))
	}
	b := binary.BigEndian.AppendUint32(nil, p.Total.FeeBase)
	b = binary.BigEndian.AppendUint32(b, p.Total.FeeProportional)
	b = binary.BigEndian.AppendUint16(b, p.Total.CltvExpiryDelta)
	b = binary.BigEndian.AppendUint64(b, uint64(p.HtlcMinimum))
	b = binary.BigEndian.AppendUint64(b, uint64(p.HtlcMaximum))
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.Features)))
	b = append(b, p.Features...)
	b = append(b, p.Path.PathKey[:]...)
	b = append(b, byte(len(p.Path.Hops)))
	for _, hop := range p.Path.Hops {
		b = append(b, hop.Node[:]...)
		b = appendBigSize(b, uint64(len(hop.Data)))
		b = append(b, hop.Data...)
	}
	return b, nil
}

// DecodePaymentPath reads what Encode writes, all of b. Slices of the result share the memory of b.
func DecodePaymentPath(b []byte) (PaymentPath, error) {
	c := cursor{b: b}
	p := c.paymentPath()
	if c.end(); c.bad != "" {
		return PaymentPath{}, fmt.Errorf("blinded_payinfo %s", c.bad)
	}
	return p, nil
}

func (c *cursor) paymentPath() (p PaymentPath) {
	p.Total.FeeBase, p.Total.FeeProportional = uint32(c.uint(4)), uint32(c.uint(4))
	p.Total.CltvExpiryDelta = uint16(c.uint(2))
	least, most := c.uint(8), c.uint(8)
	if least > most {
		c.fail("has htlc_minimum_msat %d above htlc_maximum_msat %d", least, most)
	}
	// No limit on the maximum: a payee without one may say the largest number.
	p.HtlcMinimum, p.HtlcMaximum = lnwire.MilliSatoshi(least), lnwire.MilliSatoshi(most)
	if p.Features = c.bytes(int(c.uint(2))); len(p.Features) > 0 && p.Features[0] == 0 {
		c.fail("has features that begin with zeros")
	}
	p.Path.PathKey = c.point()
	n := int(c.uint(1))
	if c.bad == "" && n == 0 {
		c.fail("has no hops")
	}
	if n*(33+1) > len(c.b) {
		c.fail("has %d bytes for %d hops", len(c.b), n)
	}
	if c.bad != "" {
		return PaymentPath{}
	}
	p.Path.Hops = make([]BlindedHop, n)
	for i := range p.Path.Hops {
		node, size := c.point(), c.bigSize()
		if size > uint64(len(c.b)) {
			c.fail("has encrypted_recipient_data of %d bytes, %d left", size, len(c.b))
			return PaymentPath{}
		}
		p.Path.Hops[i] = BlindedHop{node, c.bytes(int(size))}
	}
	p.Path.First = p.Path.Hops[0].Node
	return p
}
