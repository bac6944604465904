package onion

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Types of encrypted_data_tlv, BOLT 4 "Inside encrypted_recipient_data".
const (
	dataPadding             = 1
	dataShortChannelID      = 2
	dataNextNodeID          = 4
	dataPathID              = 6
	dataNextPathKeyOverride = 8
	dataPaymentRelay        = 10
	dataPaymentConstraints  = 12
	dataAllowedFeatures     = 14
)

// EncryptedData is an encrypted_data_tlv: what the creator of a blinded path tells one node of it. A nil field is
// absent; an empty slice that is not nil is a record without a value.
type EncryptedData struct {
	Padding             []byte // NewBlindedPath lengthens it
	ShortChannelID      *lnwire.ShortChannelID
	NextNode            *[33]byte
	PathID              []byte
	NextPathKeyOverride *[33]byte
	Relay               *PaymentRelay
	Constraints         *PaymentConstraints
	Features            []byte   // allowed_features, a big-endian bit vector
	Custom              []Record // all records of other types, odd ones: payment_unblock is one
}

// PaymentRelay is what a node of a blinded path asks for forwarding.
type PaymentRelay struct {
	CltvExpiryDelta uint16 // blocks
	FeeProportional uint32 // millionths
	FeeBase         uint32 // msat
}

// PaymentConstraints are the limits of a payment's HTLC at one node of a blinded path.
type PaymentConstraints struct {
	MaxCltvExpiry uint32 // the block height up to which the path is good
	HtlcMinimum   lnwire.MilliSatoshi
}

var encryptedDataFields = fields[EncryptedData]{
	dataPadding:             func(d *EncryptedData, c *cursor) { d.Padding = c.rest() },
	dataShortChannelID:      func(d *EncryptedData, c *cursor) { d.ShortChannelID = ref(c.shortChannelID()) },
	dataNextNodeID:          func(d *EncryptedData, c *cursor) { d.NextNode = ref(c.point()) },
	dataPathID:              func(d *EncryptedData, c *cursor) { d.PathID = c.rest() },
	dataNextPathKeyOverride: func(d *EncryptedData, c *cursor) { d.NextPathKeyOverride = ref(c.point()) },
	dataPaymentRelay: func(d *EncryptedData, c *cursor) {
		d.Relay = &PaymentRelay{uint16(c.uint(2)), uint32(c.uint(4)), c.tu32()}
	},
	dataPaymentConstraints: func(d *EncryptedData, c *cursor) {
		d.Constraints = &PaymentConstraints{uint32(c.uint(4)), c.amount()}
	},
	dataAllowedFeatures: func(d *EncryptedData, c *cursor) { d.Features = c.rest() },
}

// DecodeEncryptedData reads a decrypted encrypted_data_tlv. Slices of the result share the memory of b.
func DecodeEncryptedData(b []byte) (EncryptedData, error) {
	var d EncryptedData
	custom, err := encryptedDataFields.decode(b, &d)
	if err != nil {
		return EncryptedData{}, err
	}
	d.Custom = custom
	return d, nil
}

// Encode writes the encrypted_data_tlv. It refuses a custom type that is even, one of the fields, or there twice.
func (d EncryptedData) Encode() ([]byte, error) {
	if err := encryptedDataFields.checkCustom(d.Custom); err != nil {
		return nil, err
	}
	if p := d.Constraints; p != nil && p.HtlcMinimum > maxMilliSatoshi {
		return nil, fmt.Errorf("htlc_minimum_msat %d, maximum %d", uint64(p.HtlcMinimum), uint64(maxMilliSatoshi))
	}
	return encodeSorted(d.records())
}

func (d EncryptedData) records() []Record {
	records := slices.Clone(d.Custom)
	add := func(typ uint64, value []byte) { records = append(records, Record{typ, value}) }
	if d.Padding != nil {
		add(dataPadding, d.Padding)
	}
	if d.ShortChannelID != nil {
		add(dataShortChannelID, binary.BigEndian.AppendUint64(nil, d.ShortChannelID.ToUint64()))
	}
	if d.NextNode != nil {
		add(dataNextNodeID, d.NextNode[:])
	}
	if d.PathID != nil {
		add(dataPathID, d.PathID)
	}
	if d.NextPathKeyOverride != nil {
		add(dataNextPathKeyOverride, d.NextPathKeyOverride[:])
	}
	if r := d.Relay; r != nil {
		b := binary.BigEndian.AppendUint16(nil, r.CltvExpiryDelta)
		b = binary.BigEndian.AppendUint32(b, r.FeeProportional)
		add(dataPaymentRelay, append(b, truncated(uint64(r.FeeBase))...))
	}
	if p := d.Constraints; p != nil {
		b := binary.BigEndian.AppendUint32(nil, p.MaxCltvExpiry)
		add(dataPaymentConstraints, append(b, truncated(uint64(p.HtlcMinimum))...))
	}
	if d.Features != nil {
		add(dataAllowedFeatures, d.Features)
	}
	return records
}

// size is the length of the encoding.
func (d EncryptedData) size() int {
	n := 0
	for _, r := range d.records() {
		n += recordSize(r.Type, len(r.Value))
	}
	return n
}

// pad lengthens Padding so that all of data has the same length, the least that every one can be padded to (BOLT 4
// "Route Blinding": the writer should).
func pad(data []EncryptedData) {
	longest := 0
	for _, d := range data {
		longest = max(longest, d.size())
	}
	for length := longest; ; length++ {
		if padded := padTo(length, data); padded != nil {
			copy(data, padded)
			return
		}
	}
}

// padTo pads to a length not below that of the longest, or returns nil if that cannot be done: a padding record has two
// bytes at least, and grows by more than one where the bigsize of its length does.
func padTo(length int, data []EncryptedData) []EncryptedData {
	padded := slices.Clone(data)
	for i := range padded {
		d := &padded[i]
		if d.size() == length {
			continue
		}
		least := len(d.Padding)
		d.Padding = []byte{} // never the caller's memory
		n := max(length-d.size(), least)
		for n > least && recordSize(dataPadding, n) > length-d.size()+recordSize(dataPadding, 0) {
			n--
		}
		if d.Padding = append(make([]byte, 0, n), data[i].Padding...)[:n]; d.size() != length {
			return nil
		}
	}
	return padded
}
