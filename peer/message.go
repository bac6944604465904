package peer

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"lightningrod/chain/octets"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Message is what a peer said. Raw is the payload as received, without the type; it is the receiver's to keep. Msg is nil
// for types that are passed up raw.
type Message struct {
	Type uint16
	Msg  lnwire.Message
	Raw  []byte
}

// LSPS0 is the type of bLIP-50 messages, always passed up raw.
const LSPS0 = 37913

const (
	typeWarning = 1
	typeInit    = 16
	typeError   = 17
	typePing    = 18
	typePong    = 19
)

// fate is what happens to a message of some type.
type fate uint8

const (
	unknown fate = iota // BOLT 1: ignored if odd, fatal if even
	decoded             // lnwire reads it, Events gets it
	raw                 // Events gets the payload
	control             // it ends here: init, ping, pong
)

// fates are the messages this node speaks. What lnwire could read beyond them is as unknown as what it cannot read.
var fates = map[uint16]fate{
	typeWarning: decoded,
	typeInit:    control,
	typeError:   decoded,
	typePing:    control,
	typePong:    control,

	32: decoded, // open_channel
	33: decoded, // accept_channel
	34: decoded, // funding_created
	35: decoded, // funding_signed
	36: decoded, // channel_ready
	38: decoded, // shutdown
	39: decoded, // closing_signed

	128: decoded, // update_add_htlc
	130: decoded, // update_fulfill_htlc
	131: decoded, // update_fail_htlc
	132: decoded, // commitment_signed
	133: decoded, // revoke_and_ack
	134: decoded, // update_fee
	135: decoded, // update_fail_malformed_htlc
	136: decoded, // channel_reestablish

	259: decoded, // announcement_signatures
	513: decoded, // onion_message

	// Gossip is signed as the bytes it came in; lnwire would reshape some of it and refuse some that is legal.
	256: raw, // channel_announcement
	257: raw, // node_announcement
	258: raw, // channel_update
	261: raw, // query_short_channel_ids
	262: raw, // reply_short_channel_ids_end
	263: raw, // query_channel_range
	264: raw, // reply_channel_range
	265: raw, // gossip_timestamp_filter

	LSPS0: raw,
}

// dispatch is fates plus the types that the Host's owner wants raw.
func dispatch(rawTypes []uint16) map[uint16]fate {
	if len(rawTypes) == 0 {
		return fates
	}
	m := make(map[uint16]fate, len(fates)+len(rawTypes))
	for t, f := range fates {
		m[t] = f
	}
	for _, t := range rawTypes {
		if m[t] == unknown {
			m[t] = raw
		}
	}
	return m
}

// parse reads a message after init. A message of an odd unknown type gives the fate unknown and no error. Every error
// ends the connection.
func parse(msg []byte, table map[uint16]fate) (Message, fate, error) {
	if len(msg) < 2 {
		return Message{}, unknown, fmt.Errorf("message of %d bytes has no type", len(msg))
	}
	m := Message{Type: binary.BigEndian.Uint16(msg), Raw: msg[2:]}
	switch f := table[m.Type]; f {
	case unknown:
		if m.Type%2 == 0 {
			// BOLT 1 "Lightning Message Format": an even type that we do not know ends the connection.
			return m, f, fmt.Errorf("message of unknown even type %d", m.Type)
		}
		return m, f, nil
	case decoded:
		var err error
		if m.Msg, err = lnwire.ReadMessage(bytes.NewReader(msg), 0); err != nil {
			return m, f, fmt.Errorf("%v: %w", lnwire.MessageType(m.Type), err)
		}
		return m, f, nil
	default:
		return m, f, nil
	}
}

// maxPong is the largest byteslen of a pong; a ping that asks for more wants no answer (BOLT 1 "ping and pong").
const maxPong = 65531

// readPing gives the number of bytes that the pong must have. ok is false when there must be no pong.
func readPing(payload []byte) (size uint16, ok bool, err error) {
	c := octets.Of(payload)
	size = c.Uint16()
	c.Take(uint64(c.Uint16()))
	if c.Err != nil {
		return 0, false, fmt.Errorf("ping: %w", c.Err)
	}
	return size, size <= maxPong, nil
}

// readPong checks the form of a pong. Which ping it answers does not matter: whatever a peer sends shows it alive.
func readPong(payload []byte) error {
	c := octets.Of(payload)
	c.Take(uint64(c.Uint16()))
	if c.Err != nil {
		return fmt.Errorf("pong: %w", c.Err)
	}
	return nil
}

// pingSize is the num_pong_bytes of our own pings.
const pingSize = 8

// ping and pong carry zeros only, so that no memory leaks.
func ping() []byte { return []byte{0, pingSize, 0, 0} }
func pong(n uint16) []byte {
	return binary.BigEndian.AppendUint16(make([]byte, 0, 2+int(n)), n)[:2+int(n)]
}

// warning is a warning message about the connection: its channel_id is zero. BOLT 1 lets a warning say what an error
// would, without the duty to fail all channels that a sent error brings.
func warning(text string) lnwire.Message {
	return &lnwire.Warning{Data: lnwire.WarningData(text)}
}

// saying gives the text of a warning or error message for a log: quoted, since BOLT 1 warns against printing what is not
// printable ASCII, and not too long.
func saying(m lnwire.Message) string {
	const most = 400
	var data []byte
	switch m := m.(type) {
	case *lnwire.Warning:
		data = m.Data
	case *lnwire.Error:
		data = m.Data
	}
	return fmt.Sprintf("%+q", data[:min(len(data), most)])
}
