package graph

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Signer signs a digest with the node key.
type Signer func(digest [32]byte) lnwire.Sig

// ChannelEnd is one end of a channel to announce.
type ChannelEnd struct {
	Node          NodeID
	FundingPubKey [33]byte
}

// EndSignatures are one end's signatures of a channel_announcement, as announcement_signatures carries them.
type EndSignatures struct {
	Node    lnwire.Sig
	Bitcoin lnwire.Sig
}

// ChannelAnnouncementDigest is what both ends sign, each with its node key and its funding key, for their
// announcement_signatures. The order of the ends does not matter.
func ChannelAnnouncementDigest(chain chainhash.Hash, scid lnwire.ShortChannelID, features []byte, ends [2]ChannelEnd) [32]byte {
	return digest(unsignedAnnouncement(chain, scid, features, ends)[channelSigned:])
}

// AssembleChannelAnnouncement makes the message of both ends' signatures, sigs[i] by ends[i], and checks them: an error
// names the signature that is wrong (BOLT 7 "The announcement_signatures Message").
func AssembleChannelAnnouncement(chain chainhash.Hash, scid lnwire.ShortChannelID, features []byte, ends [2]ChannelEnd,
	sigs [2]EndSignatures) (*ChannelAnnouncement, error) {
	body := unsignedAnnouncement(chain, scid, features, ends)
	if less(ends[1].Node, ends[0].Node) {
		sigs[0], sigs[1] = sigs[1], sigs[0]
	}
	for i, s := range []*lnwire.Sig{&sigs[0].Node, &sigs[1].Node, &sigs[0].Bitcoin, &sigs[1].Bitcoin} {
		copy(body[64*i:], s.RawBytes())
	}
	a, err := parseChannelAnnouncement(body)
	if err != nil {
		return nil, err
	}
	return a, a.Verify()
}

// unsignedAnnouncement is the message with its signatures zero.
func unsignedAnnouncement(chain chainhash.Hash, scid lnwire.ShortChannelID, features []byte, ends [2]ChannelEnd) []byte {
	one, two := ends[0], ends[1]
	if less(two.Node, one.Node) {
		one, two = two, one
	}
	b := make([]byte, channelSigned, channelSigned+2+len(features)+32+8+4*33)
	b = binary.BigEndian.AppendUint16(b, uint16(len(features)))
	b = append(b, features...)
	b = append(b, chain[:]...)
	b = appendSCID(b, scid)
	for _, key := range [][33]byte{one.Node, two.Node, one.FundingPubKey, two.FundingPubKey} {
		b = append(b, key[:]...)
	}
	return b
}

// UpdateTemplate is what goes into a channel_update of ours.
type UpdateTemplate struct {
	Chain     chainhash.Hash
	SCID      lnwire.ShortChannelID // the real one, or for a private channel the alias the peer gave
	Self      NodeID
	Peer      NodeID
	Timestamp uint32 // above that of the update before
	Private   bool   // dont_forward
	Policy    Policy
}

// NewChannelUpdate makes and signs a channel_update.
func NewChannelUpdate(t UpdateTemplate, sign Signer) (*ChannelUpdate, error) {
	if t.Timestamp == 0 {
		return nil, fmt.Errorf("channel_update: timestamp 0")
	}
	if p := t.Policy; p.HTLCMinimum > p.HTLCMaximum {
		return nil, fmt.Errorf("channel_update: htlc_minimum_msat %d above htlc_maximum_msat %d", p.HTLCMinimum, p.HTLCMaximum)
	}
	messageFlags, channelFlags := uint8(flagMustBeOne), uint8(0)
	if t.Private {
		messageFlags |= flagDontForward
	}
	if less(t.Peer, t.Self) {
		channelFlags |= flagDirection
	}
	if t.Policy.Disabled {
		channelFlags |= flagDisable
	}
	b := make([]byte, updateSigned, updateSigned+72)
	b = append(b, t.Chain[:]...)
	b = appendSCID(b, t.SCID)
	b = binary.BigEndian.AppendUint32(b, t.Timestamp)
	b = append(b, messageFlags, channelFlags)
	b = binary.BigEndian.AppendUint16(b, t.Policy.CltvExpiryDelta)
	b = binary.BigEndian.AppendUint64(b, uint64(t.Policy.HTLCMinimum))
	b = binary.BigEndian.AppendUint32(b, t.Policy.FeeBase)
	b = binary.BigEndian.AppendUint32(b, t.Policy.FeeProportional)
	b = binary.BigEndian.AppendUint64(b, uint64(t.Policy.HTLCMaximum))
	signInto(b, sign)
	return parseChannelUpdate(b)
}

// NodeTemplate is what goes into a node_announcement of ours.
type NodeTemplate struct {
	Node      NodeID
	Features  []byte
	Timestamp uint32 // above that of the announcement before
	Color     [3]byte
	Alias     string // at most 32 bytes of UTF-8
	Addresses []Address
}

// NewNodeAnnouncement makes and signs a node_announcement.
func NewNodeAnnouncement(t NodeTemplate, sign Signer) (*NodeAnnouncement, error) {
	if !utf8.ValidString(t.Alias) || len(t.Alias) > 32 {
		return nil, fmt.Errorf("node_announcement: alias of %d bytes is not UTF-8 of at most 32", len(t.Alias))
	}
	addresses, err := encodeAddresses(t.Addresses)
	if err != nil {
		return nil, fmt.Errorf("node_announcement: %w", err)
	}
	var alias [32]byte
	copy(alias[:], t.Alias)
	b := make([]byte, updateSigned, updateSigned+2+len(t.Features)+4+33+3+32+2+len(addresses))
	b = binary.BigEndian.AppendUint16(b, uint16(len(t.Features)))
	b = append(b, t.Features...)
	b = binary.BigEndian.AppendUint32(b, t.Timestamp)
	b = append(b, t.Node[:]...)
	b = append(b, t.Color[:]...)
	b = append(b, alias[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(addresses)))
	b = append(b, addresses...)
	signInto(b, sign)
	return parseNodeAnnouncement(b)
}

func signInto(body []byte, sign Signer) {
	sig := sign(digest(body[updateSigned:]))
	copy(body, sig.RawBytes())
}
