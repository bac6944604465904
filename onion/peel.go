package onion

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"

	"github.com/btcsuite/btcd/btcec/v2"
	sphinx "github.com/lightningnetwork/lightning-onion"
	"github.com/lightningnetwork/lnd/lnwire"
)

// Router opens the onions addressed to one node. It holds the node's private key and nothing else.
type Router struct {
	key *btcec.PrivateKey
}

// NewRouter returns the Router of the node with this key.
func NewRouter(key *btcec.PrivateKey) *Router { return &Router{key} }

// Hop is what an HTLC onion tells this node. NextSCID or NextNode names the next peer of a forward, Next is its onion
// and NextPathKey, if not nil, the path_key of its update_add_htlc.
type Hop struct {
	Final bool

	// Amount (msat) and Cltv (a block height) are to be forwarded, or, for the final node, what it should get. For a
	// forward in a blinded path they are zero until Resolve.
	Amount lnwire.MilliSatoshi
	Cltv   uint32

	NextSCID    lnwire.ShortChannelID
	NextNode    *[33]byte
	Next        [1366]byte
	NextPathKey []byte

	PaymentSecret *[32]byte
	Total         lnwire.MilliSatoshi // total_msat; Amount where the payload has none
	Metadata      []byte
	Keysend       *[32]byte // the preimage; whether it hashes to the payment_hash is not checked
	PathID        []byte    // of the final node's encrypted data

	// Blinded: the payload has encrypted_recipient_data. Introduction: and the path_key to open it.
	Blinded, Introduction bool
	Relay                 *PaymentRelay
	Constraints           *PaymentConstraints

	// Custom are the unknown odd records: of the payload, or in a blinded path (whose payloads have none) of the
	// encrypted data.
	Custom []Record

	onionHash [32]byte // for Refuse; set if Blinded
}

// Failure says how an HTLC has to be failed back. If Malformed, with update_fail_malformed_htlc carrying Code and
// OnionHash; otherwise with update_fail_htlc carrying Message, encrypted by Router.Fail.
type Failure struct {
	Malformed bool
	Code      uint16
	OnionHash [32]byte
	Message   lnwire.FailureMessage
	Text      string // what was wrong, for our own log; the peer is never told
}

func (f *Failure) String() string {
	how := "fail"
	if f.Malformed {
		how = "fail malformed"
	}
	return fmt.Sprintf("%s %v: %s", how, lnwire.FailCode(f.Code), f.Text)
}

// Peel opens the onion of an HTLC with the payment hash, pathKey being the path_key of its update_add_htlc, or nil.
// Exactly one of the results is nil.
func (k *Router) Peel(packet *[1366]byte, hash [32]byte, pathKey []byte) (*Hop, *Failure) {
	malformed := func(code lnwire.FailCode, err error) (*Hop, *Failure) {
		// BOLT 4 "Failure Messages": with path_key in update_add_htlc every error looks the same.
		if len(pathKey) > 0 {
			code = lnwire.CodeInvalidBlinding
		}
		return nil, &Failure{Malformed: true, Code: uint16(code), OnionHash: sha256.Sum256(packet[:]), Text: err.Error()}
	}
	path, err := k.pathSecret(pathKey)
	if err != nil {
		return malformed(lnwire.CodeInvalidBlinding, err)
	}
	opened, err := k.open(packet[:], hash[:], path)
	if code, bad := onionErrors[err]; bad {
		return malformed(code, err)
	}

	if err == nil {
		hop, bad := k.read(opened, path)
		if bad == nil {
			if hop.Blinded {
				hop.onionHash = sha256.Sum256(packet[:])
			}
			return hop, nil
		}
		err = bad
	}
	switch {
	case path != nil:
		return malformed(lnwire.CodeInvalidBlinding, err)
	case !opened.final && has(opened.stream, typeCurrentPathKey):
		// BOLT 4 "Failure Messages": with current_path_key every error looks the same, unless the path ends here.
		return nil, blindingFailure(sha256.Sum256(packet[:]), err.Error())
	}
	return nil, payloadFailure(err)
}

// onionErrors are the failures before the payload is known to be the sender's, so that nothing can be encrypted for it.
var onionErrors = map[error]lnwire.FailCode{
	sphinx.ErrInvalidOnionVersion: lnwire.CodeInvalidOnionVersion,
	sphinx.ErrInvalidOnionHMAC:    lnwire.CodeInvalidOnionHmac,
	sphinx.ErrInvalidOnionKey:     lnwire.CodeInvalidOnionKey,
}

func blindingFailure(onionHash [32]byte, text string) *Failure {
	return &Failure{
		Code:      invalidOnionBlinding,
		OnionHash: onionHash,
		Message:   &lnwire.FailInvalidBlinding{OnionSHA256: onionHash},
		Text:      text,
	}
}

func payloadFailure(err error) *Failure {
	message := &lnwire.InvalidOnionPayload{}
	if at := (*StreamError)(nil); errors.As(err, &at) {
		message.Type, message.Offset = at.Type, uint16(at.Offset)
	}
	return &Failure{Code: uint16(message.Code()), Message: message, Text: err.Error()}
}

// opened is one layer of an onion taken off.
type opened struct {
	stream []byte // the payload
	final  bool
	next   *sphinx.OnionPacket
}

// pathSecret derives what we share with the creator of the blinded path whose path_key is given; nil for none.
func (k *Router) pathSecret(pathKey []byte) (*pathSecret, error) {
	if len(pathKey) == 0 {
		return nil, nil
	}
	point, err := btcec.ParsePubKey(pathKey)
	if err != nil || len(pathKey) != 33 {
		return nil, fmt.Errorf("path_key of %d bytes is no compressed point", len(pathKey))
	}
	return &pathSecret{point, sharedSecret(k.key, point)}, nil
}

// identity is the key that opens an onion that came with the path's path_key, or without one.
func (k *Router) identity(path *pathSecret) *btcec.PrivateKey {
	if path == nil {
		return k.key
	}
	return path.blind(k.key)
}

// header takes an onion packet apart. The errors are keys of onionErrors.
func header(packet []byte) (*sphinx.OnionPacket, error) {
	const before, after = 1 + 33, sphinx.HMACSize
	if len(packet) < before+after {
		return nil, fmt.Errorf("onion packet of %d bytes, minimum %d", len(packet), before+after)
	}
	if packet[0] != 0 {
		return nil, sphinx.ErrInvalidOnionVersion
	}
	ephemeral, err := btcec.ParsePubKey(packet[1:before])
	if err != nil {
		return nil, sphinx.ErrInvalidOnionKey
	}
	p := &sphinx.OnionPacket{EphemeralKey: ephemeral, RoutingInfo: packet[before : len(packet)-after]}
	copy(p.HeaderMAC[:], packet[len(packet)-after:])
	return p, nil
}

// open takes the layer for us off an onion packet of any size. An error that is none of onionErrors says that the
// packet is authentic but its payload has no readable length.
func (k *Router) open(packet, associated []byte, path *pathSecret) (opened, error) {
	p, err := header(packet)
	if err != nil {
		return opened{}, err
	}
	router := sphinx.NewRouter(&sphinx.PrivKeyECDH{PrivKey: k.identity(path)}, sphinx.NewNoOpReplayLog())
	done, err := router.ProcessOnionPacket(p, associated, 0, sphinx.WithTLVPayloadOnly())
	switch {
	case err == sphinx.ErrInvalidOnionHMAC || err == sphinx.ErrInvalidOnionKey:
		return opened{}, err
	case err != nil:
		return opened{}, fmt.Errorf("hop payload: %w", err)
	}
	// BOLT 4 "Packet Structure": the lengths 0 and 1 are reserved.
	if n := len(done.Payload.Payload); n < 2 {
		return opened{}, fmt.Errorf("hop payload of %d bytes, minimum 2", n)
	}
	return opened{done.Payload.Payload, done.Action == sphinx.ExitNode, done.NextPacket}, nil
}

// read turns the payload of an opened HTLC onion into a Hop.
func (k *Router) read(o opened, path *pathSecret) (*Hop, error) {
	p, err := decodePayload(o.stream)
	if err != nil {
		return nil, err
	}
	hop := &Hop{Final: o.final}
	if !o.final {
		appendPacket(hop.Next[:0], o.next)
	}
	if p.encrypted != nil {
		return hop, k.readBlinded(hop, p, o.stream, path)
	}
	return hop, readPlain(hop, p, o.stream, path)
}

// readPlain fills a hop outside of any blinded path.
func readPlain(hop *Hop, p *payload, stream []byte, path *pathSecret) error {
	if path != nil || p.pathKey != nil {
		return &StreamError{typeEncryptedData, 0, "missing, although there is a path_key"}
	}
	need := plainForward
	if hop.Final {
		need = plainFinal
	}
	if err := need.check(stream); err != nil {
		return err
	}
	hop.Amount, hop.Cltv, hop.Custom = *p.amount, *p.cltv, p.custom
	if !hop.Final {
		hop.NextSCID = *p.scid
		return nil
	}
	hop.Total, hop.Metadata, hop.Keysend = hop.Amount, p.metadata, p.keysend
	if p.data != nil {
		hop.PaymentSecret, hop.Total = &p.data.secret, p.data.total
	}
	return nil
}

// readBlinded fills a hop inside of a blinded path, path being nil at its introduction node.
func (k *Router) readBlinded(hop *Hop, p *payload, stream []byte, path *pathSecret) (err error) {
	switch {
	case path == nil && p.pathKey == nil:
		return &StreamError{typeCurrentPathKey, 0, "missing, and update_add_htlc has no path_key"}
	case path != nil && p.pathKey != nil:
		return &StreamError{typeCurrentPathKey, 0, "present, but update_add_htlc has a path_key"}
	case path == nil:
		hop.Introduction = true
		if path, err = k.pathSecret(p.pathKey[:]); err != nil {
			return err
		}
	}
	hop.Blinded = true
	need := blindedForward
	if hop.Final {
		need = blindedFinal
	}
	if err := need.check(stream); err != nil {
		return err
	}
	data, err := k.readData(path, p.encrypted)
	if err != nil {
		return err
	}
	hop.Relay, hop.Constraints, hop.Custom = data.Relay, data.Constraints, data.Custom
	if hop.Final {
		hop.Amount, hop.Cltv, hop.Total, hop.PathID = *p.amount, *p.cltv, *p.total, data.PathID
		return nil
	}
	switch {
	case data.ShortChannelID == nil && data.NextNode == nil:
		return errors.New("encrypted_data_tlv names no next node")
	case data.ShortChannelID != nil && data.NextNode != nil:
		return errors.New("encrypted_data_tlv has both short_channel_id and next_node_id")
	case data.Relay == nil:
		return errors.New("encrypted_data_tlv lacks payment_relay")
	case data.ShortChannelID != nil:
		hop.NextSCID = *data.ShortChannelID
	}
	next := path.next(data)
	hop.NextNode, hop.NextPathKey = data.NextNode, next[:]
	return nil
}

// readData decrypts and reads the encrypted_data_tlv for us.
func (k *Router) readData(path *pathSecret, encrypted []byte) (*EncryptedData, error) {
	plain, err := path.decrypt(encrypted)
	if err != nil {
		return nil, err
	}
	data, err := DecodeEncryptedData(plain)
	if err != nil {
		return nil, fmt.Errorf("encrypted_data_tlv: %v", err)
	}
	// BOLT 4 "payload format": any unknown feature bit, odd or even, and we know of none.
	for _, b := range data.Features {
		if b != 0 {
			return nil, fmt.Errorf("allowed_features %x has unknown bits", data.Features)
		}
	}
	return &data, nil
}

// Resolve applies a blinded path's rules to an HTLC that arrived with inAmount and inExpiry: it checks
// payment_constraints, and computes Amount and Cltv of a forward from payment_relay. Outside of a blinded path it does
// nothing. The caller answers an error with Refuse.
func (h *Hop) Resolve(inAmount lnwire.MilliSatoshi, inExpiry uint32) error {
	if c := h.Constraints; c != nil {
		if inExpiry > c.MaxCltvExpiry {
			return fmt.Errorf("cltv_expiry %d above max_cltv_expiry %d", inExpiry, c.MaxCltvExpiry)
		}
		if inAmount < c.HtlcMinimum {
			return fmt.Errorf("amount %d msat below htlc_minimum_msat %d", uint64(inAmount), uint64(c.HtlcMinimum))
		}
	}
	if h.Relay == nil || h.Final {
		return nil
	}
	amount, cltv, err := h.Relay.forward(inAmount, inExpiry)
	if err != nil {
		return err
	}
	h.Amount, h.Cltv = amount, cltv
	return nil
}

// forward is what is left of an HTLC once the relay's fee and delta are taken off, rounded in favour of the next node:
//
//	amt_to_forward = ceil((amount_msat - fee_base_msat) * 1000000 / (1000000 + fee_proportional_millionths))
func (r *PaymentRelay) forward(in lnwire.MilliSatoshi, expiry uint32) (lnwire.MilliSatoshi, uint32, error) {
	if uint64(in) < uint64(r.FeeBase) {
		return 0, 0, fmt.Errorf("amount %d msat below fee_base_msat %d", uint64(in), r.FeeBase)
	}
	if expiry < uint32(r.CltvExpiryDelta) {
		return 0, 0, fmt.Errorf("cltv_expiry %d below cltv_expiry_delta %d", expiry, r.CltvExpiryDelta)
	}
	divisor := 1_000_000 + uint64(r.FeeProportional)
	hi, lo := bits.Mul64(uint64(in)-uint64(r.FeeBase), 1_000_000)
	lo, carry := bits.Add64(lo, divisor-1, 0)
	amount, _ := bits.Div64(hi+carry, lo, divisor) // the quotient is at most in, so hi+carry < divisor
	return lnwire.MilliSatoshi(amount), expiry - uint32(r.CltvExpiryDelta), nil
}

// Refuse turns a reason to fail this hop's HTLC, our own or one that came back from the next node, into what may be
// told. BOLT 2 "Removing an HTLC": inside a blinded path every failure is invalid_onion_blinding, malformed except at
// the introduction node; only an introduction node that is the final node too may say more.
func (h *Hop) Refuse(message lnwire.FailureMessage) *Failure {
	text := message.Code().String()
	switch {
	case h.Blinded && !h.Introduction:
		return &Failure{Malformed: true, Code: invalidOnionBlinding, OnionHash: h.onionHash, Text: text}
	case h.Introduction && !h.Final:
		return blindingFailure(h.onionHash, text)
	}
	return &Failure{Code: uint16(message.Code()), Message: message, Text: text}
}

// appendPacket appends the packet's wire form.
func appendPacket(b []byte, p *sphinx.OnionPacket) []byte {
	b = append(b, p.Version)
	b = append(b, p.EphemeralKey.SerializeCompressed()...)
	b = append(b, p.RoutingInfo...)
	return append(b, p.HeaderMAC[:]...)
}
