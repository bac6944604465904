package onion

import (
	"errors"
	"fmt"
	"slices"

	"github.com/btcsuite/btcd/btcec/v2"
	sphinx "github.com/lightningnetwork/lightning-onion"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Types of onionmsg_tlv, BOLT 4 "Onion Messages".
const (
	messageReplyPath      = 2
	messageEncryptedData  = 4
	messageInvoiceRequest = 64
	messageInvoice        = 66
	messageInvoiceError   = 68

	firstContent = 64 // of the types that are for the final node
)

// The sizes of an onion_message's payloads that do not stand out. A packet has 66 bytes more.
var messageSizes = [2]int{hopPayloadSize, sphinx.MaxOnionMessagePayloadSize}

// ErrMessageTooLarge says that an onion message does not fit into the largest packet.
var ErrMessageTooLarge = errors.New("onion message too large")

// MessagePayload is what an onion message carries to its final node. Contents has at most one type from 64 on.
type MessagePayload struct {
	Reply    *BlindedPath
	Contents []Record
}

// MessageHop is what an onion message tells this node. Unless Final, Next goes to NextNode or, if that is nil, to the
// other end of the channel NextSCID. If that is us, the caller peels Next in turn.
type MessageHop struct {
	Final    bool
	Data     EncryptedData
	NextNode *[33]byte
	NextSCID lnwire.ShortChannelID
	Next     *lnwire.OnionMessage
	Reply    *BlindedPath
	Contents []Record
}

// BuildMessage makes the onion message that goes along the path, to be sent to path.First.
func BuildMessage(session [32]byte, path BlindedPath, p MessagePayload) (*lnwire.OnionMessage, error) {
	pathKey, err := parseNode(path.PathKey)
	if err != nil {
		return nil, fmt.Errorf("first_path_key: %w", err)
	}
	hops := make([]layer, len(path.Hops))
	for i, hop := range path.Hops {
		m := messagePayload{encrypted: hop.Data}
		if i == len(path.Hops)-1 {
			m.MessagePayload = p
		}
		stream, err := m.encode()
		if err != nil {
			return nil, err
		}
		hops[i] = layer{hop.Node, stream}
	}
	size := messageSizes[0]
	if layersSize(hops) > size {
		size = messageSizes[1]
	}
	if n := layersSize(hops); n > size {
		return nil, fmt.Errorf("%w: %d bytes, maximum %d", ErrMessageTooLarge, n, size)
	}
	packet, err := buildPacket(session, hops, nil, size)
	if err != nil {
		return nil, err
	}
	return lnwire.NewOnionMessage(pathKey, packet), nil
}

// PeelMessage opens an onion message. A message it refuses is to be dropped without an answer (BOLT 4 "Onion
// Messages"). A final payload may have the even types of BOLT 4 and those the caller names; of others it is refused.
func (k *Router) PeelMessage(m *lnwire.OnionMessage, types ...uint64) (*MessageHop, error) {
	if m.PathKey == nil {
		return nil, errors.New("onion_message without path_key")
	}
	path := &pathSecret{m.PathKey, sharedSecret(k.key, m.PathKey)}
	opened, err := k.open(m.OnionBlob, nil, path)
	if err != nil {
		return nil, err
	}
	p, err := decodeMessage(opened.stream, types)
	if err != nil {
		return nil, err
	}
	if p.encrypted == nil {
		return nil, errors.New("onion message lacks encrypted_recipient_data")
	}
	data, err := k.readData(path, p.encrypted)
	if err != nil {
		return nil, err
	}
	hop := &MessageHop{Final: opened.final, Data: *data}
	if hop.Final {
		hop.Reply, hop.Contents = p.Reply, p.Contents
		if err := p.checkContents(); err != nil {
			return nil, err
		}
		return hop, nil
	}
	switch {
	case p.Reply != nil || len(p.Contents) > 0:
		return nil, errors.New("onion message to be forwarded has more than encrypted_recipient_data")
	case data.PathID != nil:
		return nil, errors.New("encrypted_data_tlv has a path_id before the end of the path")
	case data.NextNode != nil:
		hop.NextNode = data.NextNode
	case data.ShortChannelID != nil:
		hop.NextSCID = *data.ShortChannelID
	default:
		return nil, errors.New("encrypted_data_tlv names no next node")
	}
	next := path.next(data)
	nextKey, err := btcec.ParsePubKey(next[:])
	if err != nil {
		return nil, err
	}
	packet := appendPacket(make([]byte, 0, len(m.OnionBlob)), opened.next)
	hop.Next = lnwire.NewOnionMessage(nextKey, packet)
	return hop, nil
}

// messagePayload is one hop's onionmsg_tlv.
type messagePayload struct {
	MessagePayload
	encrypted []byte
}

var messageFields = fields[messagePayload]{
	messageReplyPath:     func(m *messagePayload, c *cursor) { m.Reply = ref(c.blindedPath()) },
	messageEncryptedData: func(m *messagePayload, c *cursor) { m.encrypted = c.rest() },
}

// contentTypes are the even types of BOLT 4 that are handed to the caller as they are.
var contentTypes = []uint64{messageInvoiceRequest, messageInvoice, messageInvoiceError}

// decodeMessage reads an onionmsg_tlv, of which types are known to the caller.
func decodeMessage(stream []byte, types []uint64) (*messagePayload, error) {
	m := new(messagePayload)
	contents, err := messageFields.decode(stream, m, slices.Concat(contentTypes, types)...)
	if err != nil {
		return nil, fmt.Errorf("onionmsg_tlv: %w", err)
	}
	m.Contents = contents
	return m, nil
}

// checkContents refuses a second payload. BOLT 4 "Onion Messages": the types from 64 on are payloads.
func (m *messagePayload) checkContents() error {
	payloads := 0
	for _, r := range m.Contents {
		if _, field := messageFields[r.Type]; field {
			return fmt.Errorf("type %d of an onion message's contents is a field of its own", r.Type)
		}
		if r.Type >= firstContent {
			payloads++
		}
	}
	if payloads > 1 {
		return fmt.Errorf("onion message has %d payloads, maximum 1", payloads)
	}
	return nil
}

func (m *messagePayload) encode() ([]byte, error) {
	if err := m.checkContents(); err != nil {
		return nil, err
	}
	records := append(slices.Clone(m.Contents), Record{messageEncryptedData, m.encrypted})
	if m.Reply != nil {
		reply, err := m.Reply.Encode()
		if err != nil {
			return nil, fmt.Errorf("reply_path: %w", err)
		}
		records = append(records, Record{messageReplyPath, reply})
	}
	return encodeSorted(records)
}
