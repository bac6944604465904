package graph

import (
	"encoding/binary"
	"fmt"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Types of BOLT 7 "Query Messages".
const (
	TypeQueryShortChannelIDs    = 261
	TypeReplyShortChannelIDsEnd = 262
	TypeQueryChannelRange       = 263
	TypeReplyChannelRange       = 264
	TypeTimestampFilter         = 265
)

// Query is one of *QueryShortChannelIDs, *ReplyShortChannelIDsEnd, *QueryChannelRange, *ReplyChannelRange and
// *TimestampFilter: the set is closed.
type Query interface {
	Message() Message
	chain() chainhash.Hash
}

// QueryShortChannelIDs asks for what is known of some channels.
type QueryShortChannelIDs struct {
	Chain chainhash.Hash
	SCIDs []lnwire.ShortChannelID
	Flags []uint64 // nil, or one for each of SCIDs: what is wanted
}

// Bits of QueryShortChannelIDs.Flags.
const (
	WantAnnouncement = 1 << iota
	WantUpdate1
	WantUpdate2
	WantNode1
	WantNode2
	wantAll = 1<<iota - 1
)

// ReplyShortChannelIDsEnd ends the answer to a QueryShortChannelIDs.
type ReplyShortChannelIDsEnd struct {
	Chain chainhash.Hash
	Full  bool // the sender keeps up with this chain
}

// QueryChannelRange asks which channels are known that were opened in a range of blocks.
type QueryChannelRange struct {
	Chain   chainhash.Hash
	First   uint32 // first_blocknum
	Number  uint32 // number_of_blocks
	Options uint64 // WantTimestamps, WantChecksums
}

// Bits of QueryChannelRange.Options.
const (
	WantTimestamps = 1 << iota
	WantChecksums
)

// ReplyChannelRange is a part of the answer to a QueryChannelRange.
type ReplyChannelRange struct {
	Chain      chainhash.Hash
	First      uint32
	Number     uint32
	Complete   bool // sync_complete
	SCIDs      []lnwire.ShortChannelID
	Timestamps [][2]uint32 // nil, or for each of SCIDs those of both updates, 0 for none
	Checksums  [][2]uint32 // nil, or for each of SCIDs those of both updates, 0 for none
}

// TimestampFilter says which gossip the sender wants to hear from now on.
type TimestampFilter struct {
	Chain chainhash.Hash
	First uint32 // first_timestamp, UNIX seconds
	Range uint32 // timestamp_range, seconds
}

func (q *QueryShortChannelIDs) chain() chainhash.Hash    { return q.Chain }
func (q *ReplyShortChannelIDsEnd) chain() chainhash.Hash { return q.Chain }
func (q *QueryChannelRange) chain() chainhash.Hash       { return q.Chain }
func (q *ReplyChannelRange) chain() chainhash.Hash       { return q.Chain }
func (q *TimestampFilter) chain() chainhash.Hash         { return q.Chain }

// ParseQuery decodes a query message.
func ParseQuery(typ uint16, body []byte) (Query, error) {
	c := &cursor{rest: body}
	var q Query
	var name string
	switch typ {
	case TypeQueryShortChannelIDs:
		q, name = readQueryShortChannelIDs(c), "query_short_channel_ids"
	case TypeReplyShortChannelIDsEnd:
		r := &ReplyShortChannelIDsEnd{}
		c.fixed("chain_hash", r.Chain[:])
		r.Full = c.u8("full_information") != 0
		q, name = r, "reply_short_channel_ids_end"
	case TypeQueryChannelRange:
		q, name = readQueryChannelRange(c), "query_channel_range"
	case TypeReplyChannelRange:
		q, name = readReplyChannelRange(c), "reply_channel_range"
	case TypeTimestampFilter:
		f := &TimestampFilter{}
		c.fixed("chain_hash", f.Chain[:])
		f.First, f.Range = c.u32("first_timestamp"), c.u32("timestamp_range")
		q, name = f, "gossip_timestamp_filter"
	default:
		return nil, fmt.Errorf("message type %d is not a gossip query", typ)
	}
	if c.err != nil {
		return nil, fmt.Errorf("%s: %w", name, c.err)
	}
	return q, nil
}

// encoding reads the byte in front of an array. BOLT 7 knows only 0, the plain array; 1 was zlib and must not be used.
func (c *cursor) encoding(field string) {
	if e := c.u8(field); c.err == nil && e != 0 {
		c.err = fmt.Errorf("%s: encoding type %d, only 0 is known", field, e)
	}
}

// shortIDs reads encoded_short_ids: whole ids. An array of no length at all, which older nodes send for none, is empty.
//
// BOLT 7 "Query Messages": they ascend, but only an unknown encoding and half an id are grounds to refuse them. Core Lightning (26.06) lists the channels of
// one block in any order; a connection that ended for that would end again each time.
func (c *cursor) shortIDs() []lnwire.ShortChannelID {
	array := &cursor{rest: c.take("encoded_short_ids", int(c.u16("len")))}
	if c.err != nil || len(array.rest) == 0 {
		return nil
	}
	array.encoding("encoded_short_ids")
	if array.err == nil && len(array.rest)%8 != 0 {
		array.err = fmt.Errorf("encoded_short_ids: %d bytes are not whole short_channel_ids", len(array.rest))
	}
	var ids []lnwire.ShortChannelID
	for array.err == nil && len(array.rest) > 0 {
		ids = append(ids, lnwire.NewShortChanIDFromInt(array.u64("short_channel_id")))
	}
	c.err = array.err
	return ids
}

func appendShortIDs(b []byte, ids []lnwire.ShortChannelID) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(1+8*len(ids)))
	b = append(b, 0)
	for _, id := range ids {
		b = appendSCID(b, id)
	}
	return b
}

func readQueryShortChannelIDs(c *cursor) *QueryShortChannelIDs {
	q := &QueryShortChannelIDs{}
	c.fixed("chain_hash", q.Chain[:])
	q.SCIDs = c.shortIDs()
	c.tlvs(map[uint64]func(*cursor){1: func(v *cursor) {
		v.encoding("query_flags")
		for v.err == nil && len(v.rest) > 0 {
			q.Flags = append(q.Flags, v.bigSize("query_flag"))
		}
		if v.err == nil && len(q.Flags) != len(q.SCIDs) {
			v.err = fmt.Errorf("%d query_flags for %d short_channel_ids", len(q.Flags), len(q.SCIDs))
		}
	}})
	return q
}

// Message encodes.
func (q *QueryShortChannelIDs) Message() Message {
	b := appendShortIDs(append([]byte(nil), q.Chain[:]...), q.SCIDs)
	if q.Flags != nil {
		flags := []byte{0}
		for _, f := range q.Flags {
			flags = appendBigSize(flags, f)
		}
		b = appendTLV(b, 1, flags)
	}
	return Message{TypeQueryShortChannelIDs, b}
}

// Message encodes.
func (q *ReplyShortChannelIDsEnd) Message() Message {
	return Message{TypeReplyShortChannelIDsEnd, append(append([]byte(nil), q.Chain[:]...), bit(q.Full))}
}

func readQueryChannelRange(c *cursor) *QueryChannelRange {
	q := &QueryChannelRange{}
	c.fixed("chain_hash", q.Chain[:])
	q.First, q.Number = c.u32("first_blocknum"), c.u32("number_of_blocks")
	c.tlvs(map[uint64]func(*cursor){1: func(v *cursor) { q.Options = v.bigSize("query_option_flags") }})
	if c.err == nil && q.Number == 0 {
		c.err = fmt.Errorf("number_of_blocks 0 below minimum 1")
	}
	return q
}

// Message encodes.
func (q *QueryChannelRange) Message() Message {
	b := append([]byte(nil), q.Chain[:]...)
	b = binary.BigEndian.AppendUint32(b, q.First)
	b = binary.BigEndian.AppendUint32(b, q.Number)
	if q.Options != 0 {
		b = appendTLV(b, 1, appendBigSize(nil, q.Options))
	}
	return Message{TypeQueryChannelRange, b}
}

func readReplyChannelRange(c *cursor) *ReplyChannelRange {
	r := &ReplyChannelRange{}
	c.fixed("chain_hash", r.Chain[:])
	r.First, r.Number = c.u32("first_blocknum"), c.u32("number_of_blocks")
	r.Complete = c.u8("sync_complete") != 0
	r.SCIDs = c.shortIDs()
	pairs := func(field string, v *cursor) (all [][2]uint32) {
		if v.err == nil && len(v.rest) != 8*len(r.SCIDs) {
			v.err = fmt.Errorf("%s: %d bytes for %d short_channel_ids", field, len(v.rest), len(r.SCIDs))
		}
		for v.err == nil && len(v.rest) > 0 {
			all = append(all, [2]uint32{v.u32(field), v.u32(field)})
		}
		return all
	}
	c.tlvs(map[uint64]func(*cursor){
		1: func(v *cursor) { v.encoding("timestamps_tlv"); r.Timestamps = pairs("timestamps_tlv", v) },
		3: func(v *cursor) { r.Checksums = pairs("checksums_tlv", v) },
	})
	return r
}

// Message encodes.
func (r *ReplyChannelRange) Message() Message {
	b := append([]byte(nil), r.Chain[:]...)
	b = binary.BigEndian.AppendUint32(b, r.First)
	b = binary.BigEndian.AppendUint32(b, r.Number)
	b = append(b, bit(r.Complete))
	b = appendShortIDs(b, r.SCIDs)
	if r.Timestamps != nil {
		b = appendTLV(b, 1, appendPairs([]byte{0}, r.Timestamps))
	}
	if r.Checksums != nil {
		b = appendTLV(b, 3, appendPairs(nil, r.Checksums))
	}
	return Message{TypeReplyChannelRange, b}
}

func appendPairs(b []byte, pairs [][2]uint32) []byte {
	for _, p := range pairs {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, p[0]), p[1])
	}
	return b
}

// Message encodes.
func (f *TimestampFilter) Message() Message {
	b := append([]byte(nil), f.Chain[:]...)
	b = binary.BigEndian.AppendUint32(b, f.First)
	return Message{TypeTimestampFilter, binary.BigEndian.AppendUint32(b, f.Range)}
}

// wants says whether a timestamp is within the filter.
func (f *TimestampFilter) wants(timestamp uint32) bool {
	return timestamp >= f.First && uint64(timestamp) < uint64(f.First)+uint64(f.Range)
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}
