package graph

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/lightningnetwork/lnd/lnwire"
)

// NodeID is a compressed public key that identifies a node.
type NodeID = [33]byte

// Types of the gossip messages.
const (
	TypeChannelAnnouncement = 256
	TypeNodeAnnouncement    = 257
	TypeChannelUpdate       = 258
)

// maxExtra bounds, in bytes, the fields of a gossip message that this node does not know. BOLT 7 lets a node choose not to
// pass on messages that are longer than expected; storing and relaying 64 kB of anything for free would be an invitation.
const maxExtra = 1024

// Message is one message of the wire: type and payload, as package peer takes and gives them.
type Message struct {
	Type uint16
	Body []byte
}

// Gossip is one of *ChannelAnnouncement, *NodeAnnouncement, *ChannelUpdate: the set is closed.
type Gossip interface {
	// Message is the message as received or made, signed bytes and unknown fields included.
	Message() Message
	// Verify checks the signatures that can be checked without a Graph. Once is enough: the result is remembered.
	Verify() error
}

// Parse decodes a gossip message. It checks the form; signatures are Verify's and Apply's business.
// body is kept and must not be changed afterwards.
func Parse(typ uint16, body []byte) (Gossip, error) {
	var g Gossip
	var err error
	switch typ {
	case TypeChannelAnnouncement:
		g, err = parseChannelAnnouncement(body)
	case TypeNodeAnnouncement:
		g, err = parseNodeAnnouncement(body)
	case TypeChannelUpdate:
		g, err = parseChannelUpdate(body)
	default:
		return nil, fmt.Errorf("message type %d is not gossip", typ)
	}
	if err != nil {
		return nil, err
	}
	return g, nil
}

// ChannelAnnouncement says that two nodes own a channel. It is immutable.
type ChannelAnnouncement struct {
	Signatures ChannelSignatures
	Features   []byte
	Chain      chainhash.Hash
	SCID       lnwire.ShortChannelID
	Nodes      [2]NodeID   // node_id_1 < node_id_2
	Keys       [2][33]byte // bitcoin_key_1, bitcoin_key_2

	body     []byte
	verified bool
}

// ChannelSignatures are those of node_id_1, node_id_2, bitcoin_key_1 and bitcoin_key_2.
type ChannelSignatures struct {
	Node    [2]lnwire.Sig
	Bitcoin [2]lnwire.Sig
}

// The four signatures come first and cover all that follows them.
const channelSigned = 4 * 64

func parseChannelAnnouncement(body []byte) (*ChannelAnnouncement, error) {
	a := &ChannelAnnouncement{body: body}
	c := &cursor{rest: body}
	for _, s := range []*lnwire.Sig{&a.Signatures.Node[0], &a.Signatures.Node[1], &a.Signatures.Bitcoin[0], &a.Signatures.Bitcoin[1]} {
		c.fixed("signature", s.RawBytes())
	}
	a.Features = c.take("features", int(c.u16("len")))
	c.fixed("chain_hash", a.Chain[:])
	a.SCID = lnwire.NewShortChanIDFromInt(c.u64("short_channel_id"))
	c.fixed("node_id_1", a.Nodes[0][:])
	c.fixed("node_id_2", a.Nodes[1][:])
	c.fixed("bitcoin_key_1", a.Keys[0][:])
	c.fixed("bitcoin_key_2", a.Keys[1][:])
	if c.err != nil {
		return nil, fmt.Errorf("channel_announcement: %w", c.err)
	}
	if !less(a.Nodes[0], a.Nodes[1]) {
		return nil, fmt.Errorf("channel_announcement: node_id_1 %x not below node_id_2 %x", a.Nodes[0], a.Nodes[1])
	}
	if len(c.rest)+len(a.Features) > maxExtra {
		return nil, fmt.Errorf("channel_announcement: %d bytes of features and unknown fields above %d", len(c.rest)+len(a.Features), maxExtra)
	}
	return a, nil
}

// Message implements Gossip.
func (a *ChannelAnnouncement) Message() Message { return Message{TypeChannelAnnouncement, a.body} }

// FundingScript is the script the output at SCID must have.
func (a *ChannelAnnouncement) FundingScript() []byte { return fundingScript(a.Keys[0], a.Keys[1]) }

// ChannelUpdate is what one end of a channel asks for forwarding over it. It is immutable.
type ChannelUpdate struct {
	Signature    lnwire.Sig
	Chain        chainhash.Hash
	SCID         lnwire.ShortChannelID
	Timestamp    uint32 // UNIX seconds, only ever compared
	MessageFlags uint8
	ChannelFlags uint8
	Policy       Policy

	body     []byte
	verified NodeID // whose signature was found to be right; zero: nobody's yet
}

// Policy is what a node asks for forwarding into one direction of a channel.
type Policy struct {
	CltvExpiryDelta uint16              // blocks
	HTLCMinimum     lnwire.MilliSatoshi // of one HTLC
	HTLCMaximum     lnwire.MilliSatoshi
	FeeBase         uint32 // msat
	FeeProportional uint32 // millionths of the amount forwarded
	Disabled        bool
}

const (
	updateSigned = 64

	flagMustBeOne   = 1 << 0 // message_flags
	flagDontForward = 1 << 1
	flagDirection   = 1 << 0 // channel_flags
	flagDisable     = 1 << 1
)

func parseChannelUpdate(body []byte) (*ChannelUpdate, error) {
	u := &ChannelUpdate{body: body}
	c := &cursor{rest: body}
	c.fixed("signature", u.Signature.RawBytes())
	c.fixed("chain_hash", u.Chain[:])
	u.SCID = lnwire.NewShortChanIDFromInt(c.u64("short_channel_id"))
	u.Timestamp = c.u32("timestamp")
	u.MessageFlags = c.u8("message_flags")
	u.ChannelFlags = c.u8("channel_flags")
	u.Policy.CltvExpiryDelta = c.u16("cltv_expiry_delta")
	u.Policy.HTLCMinimum = lnwire.MilliSatoshi(c.u64("htlc_minimum_msat"))
	u.Policy.FeeBase = c.u32("fee_base_msat")
	u.Policy.FeeProportional = c.u32("fee_proportional_millionths")
	u.Policy.HTLCMaximum = lnwire.MilliSatoshi(c.u64("htlc_maximum_msat"))
	u.Policy.Disabled = u.ChannelFlags&flagDisable != 0
	if c.err != nil {
		return nil, fmt.Errorf("channel_update: %w", c.err)
	}
	if len(c.rest) > maxExtra {
		return nil, fmt.Errorf("channel_update: %d bytes of unknown fields above %d", len(c.rest), maxExtra)
	}
	return u, nil
}

// Message implements Gossip.
func (u *ChannelUpdate) Message() Message { return Message{TypeChannelUpdate, u.body} }

// Direction is 0 for an update of node_id_1 and 1 for one of node_id_2.
func (u *ChannelUpdate) Direction() int { return int(u.ChannelFlags & flagDirection) }

// Private says that the update is for the channel peer only.
func (u *ChannelUpdate) Private() bool { return u.MessageFlags&flagDontForward != 0 }

// Checksum is BOLT 7's checksum of an update: CRC-32C of it without signature and timestamp.
func (u *ChannelUpdate) Checksum() uint32 {
	const timestamp = updateSigned + 32 + 8
	sum := crc32.Update(0, castagnoli, u.body[updateSigned:timestamp])
	return crc32.Update(sum, castagnoli, u.body[timestamp+4:])
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// NodeAnnouncement is what a node says about itself. It is immutable. Alias and addresses are self-signed claims.
type NodeAnnouncement struct {
	Signature lnwire.Sig
	Features  []byte
	Timestamp uint32
	Node      NodeID
	Color     [3]byte
	Alias     [32]byte
	Addresses []Address // those of known types with a port, in the order given

	body     []byte
	verified bool
	// BOLT 7: with more than one hostname the announcement must not be passed on.
	hostnames int
}

func parseNodeAnnouncement(body []byte) (*NodeAnnouncement, error) {
	n := &NodeAnnouncement{body: body}
	c := &cursor{rest: body}
	c.fixed("signature", n.Signature.RawBytes())
	n.Features = c.take("features", int(c.u16("flen")))
	n.Timestamp = c.u32("timestamp")
	c.fixed("node_id", n.Node[:])
	c.fixed("rgb_color", n.Color[:])
	c.fixed("alias", n.Alias[:])
	addresses := cursor{rest: c.take("addresses", int(c.u16("addrlen")))}
	if c.err != nil {
		return nil, fmt.Errorf("node_announcement: %w", c.err)
	}
	if extra := len(c.rest) + len(n.Features) + len(addresses.rest); extra > 2*maxExtra {
		return nil, fmt.Errorf("node_announcement: %d bytes of features, addresses and unknown fields above %d", extra, 2*maxExtra)
	}
	if n.Addresses, n.hostnames = readAddresses(&addresses); addresses.err != nil {
		return nil, fmt.Errorf("node_announcement: addresses: %w", addresses.err)
	}
	return n, nil
}

// Message implements Gossip.
func (n *NodeAnnouncement) Message() Message { return Message{TypeNodeAnnouncement, n.body} }

// less is the order of node_id_1 and node_id_2.
func less(a, b NodeID) bool { return string(a[:]) < string(b[:]) }

// digest is what gossip signatures sign: the double SHA-256 of everything behind them.
func digest(signed []byte) [32]byte { return chainhash.DoubleHashH(signed) }

func appendSCID(b []byte, id lnwire.ShortChannelID) []byte {
	return binary.BigEndian.AppendUint64(b, id.ToUint64())
}
