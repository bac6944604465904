package rod

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Types. All are odd, so that a node that does not know them ignores them or passes them on.
const (
	typeBase = 0x524F4400

	// onionmsg_tlv, final hop.
	TypeHold    = typeBase + 1  // A -> LSP_a
	TypeHoldAck = typeBase + 3  // LSP_a -> A, on the reply path
	TypeCancel  = typeBase + 5  // A -> LSP_a
	TypeNotice  = typeBase + 9  // A -> B
	TypeReady   = typeBase + 11 // B -> A, through LSP_a
	TypeStatus  = typeBase + 13 // LSP_a -> A, on the reply path

	// encrypted_data_tlv of LSP_a's hop: a pid.
	TypeUnblock = typeBase + 33

	// update_add_htlc: a HoldTLV.
	TypeHoldHTLC = typeBase + 65
)

// Feature bits of init and node_announcement.
const (
	FeatureRodRequired     = 826 // option_lightning_rod: an LSP that holds
	FeatureRodOptional     = 827
	FeatureMailboxRequired = 828 // option_onion_mailbox: an LSP that keeps onion messages
	FeatureMailboxOptional = 829
)

// PidHash is what LSP_a knows of a pid. A pid itself is never stored by an LSP and never logged by anybody.
func PidHash(pid [32]byte) [32]byte {
	return sha256.Sum256(append([]byte("lightning-rod/pid/1"), pid[:]...))
}

// HoldRequest is rod_hold. Payer and Signature are zero in a request over LSPS0, which needs none; see SignHold.
type HoldRequest struct {
	PidHash       [32]byte
	Hashes        [][32]byte // 1 to 20, all different
	TotalMsat     uint64     // 0: unknown
	Deadline      uint32     // release_deadline, a height; 0: the LSP's default
	ExpectedParts uint16
	ArmedTTL      uint32 // seconds; 0: the LSP's default
	Payer         NodeID
	Signature     [64]byte
}

const (
	fieldPayer     = 20
	fieldSignature = 240
)

// Encode gives the TLV stream.
func (m HoldRequest) Encode() []byte {
	b, _ := m.encode()
	return b
}

// encode also gives the length of the part that is signed.
func (m HoldRequest) encode() (b []byte, signed int) {
	fields, w := m.fields()
	w.load(&m)
	return encodeSigned(fields, &m.Payer, &m.Signature)
}

// holdNumbers are the fields of HoldRequest in the width of the coder.
type holdNumbers struct{ total, deadline, parts, ttl uint64 }

func (w *holdNumbers) load(m *HoldRequest) {
	*w = holdNumbers{m.TotalMsat, uint64(m.Deadline), uint64(m.ExpectedParts), uint64(m.ArmedTTL)}
}

func (m *HoldRequest) fields() ([]field, *holdNumbers) {
	w := new(holdNumbers)
	return []field{
		{1, true, versionField{}},
		{2, true, fixed{m.PidHash[:], true}},
		{4, true, hashesField{&m.Hashes}},
		{6, false, truncated{&w.total, 8}},
		{8, false, truncated{&w.deadline, 4}},
		{11, false, truncated{&w.parts, 2}},
		{13, false, truncated{&w.ttl, 4}},
	}, w
}

// DecodeHold reads a rod_hold. Without a payer_id there is no signature either (LSPS0); whether it is right, VerifyHold says.
func DecodeHold(b []byte) (HoldRequest, error) {
	var m HoldRequest
	fields, w := m.fields()
	if err := decodeSigned(b, fields, &m.Payer, &m.Signature); err != nil {
		return HoldRequest{}, fmt.Errorf("rod_hold: %w", err)
	}
	m.TotalMsat, m.Deadline, m.ExpectedParts, m.ArmedTTL = w.total, uint32(w.deadline), uint16(w.parts), uint32(w.ttl)
	return m, nil
}

// encodeSigned appends payer_id and signature to fields, unless there is no payer_id.
func encodeSigned(fields []field, payer *NodeID, sig *[64]byte) (b []byte, signed int) {
	if *payer == (NodeID{}) {
		b = encodeFields(fields)
		return b, len(b)
	}
	b = encodeFields(append(fields, field{fieldPayer, true, pointField{payer}}))
	return appendRecord(b, fieldSignature, sig[:]), len(b)
}

// decodeSigned wants payer_id and signature both or neither, and nothing after the signature.
func decodeSigned(b []byte, fields []field, payer *NodeID, sig *[64]byte) error {
	err := decodeFields(b, append(fields,
		field{fieldPayer, false, pointField{payer}},
		field{fieldSignature, false, fixed{sig[:], true}}))
	if err != nil {
		return err
	}
	records, err := readStream(b)
	if err != nil {
		return err
	}
	if last := len(records) - 1; last >= 0 && records[last].typ > fieldSignature {
		return fmt.Errorf("type %d after the signature", records[last].typ)
	}
	if (*payer == NodeID{}) != (*sig == [64]byte{}) {
		return errors.New("payer_id and signature do not come together")
	}
	return nil
}

// CancelRequest is rod_cancel. Payer and Signature as in HoldRequest.
type CancelRequest struct {
	PidHash   [32]byte
	Payer     NodeID
	Signature [64]byte
}

// Encode gives the TLV stream.
func (m CancelRequest) Encode() []byte {
	b, _ := m.encode()
	return b
}

func (m CancelRequest) encode() (b []byte, signed int) {
	return encodeSigned(m.fields(), &m.Payer, &m.Signature)
}

func (m *CancelRequest) fields() []field {
	return []field{{2, true, fixed{m.PidHash[:], true}}}
}

// DecodeCancel reads a rod_cancel.
func DecodeCancel(b []byte) (CancelRequest, error) {
	var m CancelRequest
	if err := decodeSigned(b, m.fields(), &m.Payer, &m.Signature); err != nil {
		return CancelRequest{}, fmt.Errorf("rod_cancel: %w", err)
	}
	return m, nil
}

// PayerOf reads only the payer_id of a rod_hold or rod_cancel, so that the caller can look for a channel with it.
// It proves nothing: the Table checks the signature.
func PayerOf(payload []byte) (NodeID, error) {
	records, err := readStream(payload)
	if err != nil {
		return NodeID{}, err
	}
	for _, r := range records {
		if r.typ == fieldPayer && len(r.value) == len(NodeID{}) {
			return NodeID(r.value), nil
		}
	}
	return NodeID{}, errors.New("payer_id missing")
}

// AckStatus is the answer in a rod_hold_ack.
type AckStatus uint8

const (
	AckOK AckStatus = iota
	AckDisabled
	AckLimit
	AckMalformed
	AckNoChannel
	AckDeadline
	AckDuplicate
)

func (s AckStatus) String() string {
	names := [...]string{"ok", "disabled", "over a limit", "malformed", "no usable channel", "deadline unsafe", "duplicate"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// Ack is rod_hold_ack.
type Ack struct {
	PidHash      [32]byte
	Status       AckStatus
	Deadline     uint32 // release_deadline: a height, may be lower than asked
	ArmedUntil   uint64 // unix seconds
	MinCltvDelta uint16 // blocks
	MaxHeldMsat  uint64 // 0: not said
	Reason       string // for a human
}

const maxReason = 256

// Encode gives the TLV stream.
func (m Ack) Encode() []byte {
	fields, w := m.fields()
	*w = ackWide{uint64(m.Deadline), m.ArmedUntil, uint64(m.MinCltvDelta), m.MaxHeldMsat, []byte(m.Reason)}
	return encodeFields(fields)
}

type ackWide struct {
	deadline, until, delta, max uint64
	reason                      []byte
}

func (m *Ack) fields() ([]field, *ackWide) {
	w := new(ackWide)
	return []field{
		{1, true, versionField{}},
		{2, true, fixed{m.PidHash[:], true}},
		{4, true, u8Field{(*uint8)(&m.Status)}},
		{6, false, truncated{&w.deadline, 4}},
		{7, false, truncated{&w.until, 8}},
		{9, false, truncated{&w.delta, 2}},
		{11, false, truncated{&w.max, 8}},
		{13, false, bytesField{&w.reason, maxReason}},
	}, w
}

// DecodeAck reads a rod_hold_ack.
func DecodeAck(b []byte) (Ack, error) {
	var m Ack
	fields, w := m.fields()
	if err := decodeFields(b, fields); err != nil {
		return Ack{}, fmt.Errorf("rod_hold_ack: %w", err)
	}
	if !utf8.Valid(w.reason) {
		return Ack{}, errors.New("rod_hold_ack: reason is not UTF-8")
	}
	m.Deadline, m.ArmedUntil, m.MinCltvDelta, m.MaxHeldMsat, m.Reason =
		uint32(w.deadline), w.until, uint16(w.delta), w.max, string(w.reason)
	return m, nil
}

// Notice is rod_notice. LSP and Payer are there when the payee is to build the path back itself.
type Notice struct {
	Pid        [32]byte
	Hashes     [][32]byte
	AmountMsat uint64
	LSP        NodeID // lsp_id, or zero
	Payer      NodeID // payer_id, or zero
	Deadline   uint32 // release_deadline, a height
	LSPAddress []byte // BOLT 7 address descriptor, or nil
}

// Encode gives the TLV stream.
func (m Notice) Encode() []byte {
	fields, w := m.fields()
	w.amount, w.deadline = m.AmountMsat, uint64(m.Deadline)
	return encodeFields(fields)
}

type noticeNumbers struct{ amount, deadline uint64 }

func (m *Notice) fields() ([]field, *noticeNumbers) {
	w := new(noticeNumbers)
	return []field{
		{1, true, versionField{}},
		{2, true, fixed{m.Pid[:], true}},
		{4, true, hashesField{&m.Hashes}},
		{6, true, truncated{&w.amount, 8}},
		{8, false, pointField{&m.LSP}},
		{10, false, pointField{&m.Payer}},
		{12, false, truncated{&w.deadline, 4}},
		{15, false, bytesField{&m.LSPAddress, maxAddress}},
	}, w
}

// DecodeNotice reads a rod_notice.
func DecodeNotice(b []byte) (Notice, error) {
	var m Notice
	fields, w := m.fields()
	if err := decodeFields(b, fields); err != nil {
		return Notice{}, fmt.Errorf("rod_notice: %w", err)
	}
	if (m.LSP == NodeID{}) != (m.Payer == NodeID{}) {
		return Notice{}, errors.New("rod_notice: lsp_id and payer_id do not come together")
	}
	if err := checkAddress(m.LSPAddress); err != nil {
		return Notice{}, fmt.Errorf("rod_notice: lsp_address: %w", err)
	}
	m.AmountMsat, m.Deadline = w.amount, uint32(w.deadline)
	return m, nil
}

const maxAddress = 1 + 1 + 255 + 2

// checkAddress looks at the length of an address descriptor. BOLT 7 "The node_announcement Message": one type byte, then what the type says.
func checkAddress(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	want := map[byte]int{1: 1 + 4 + 2, 2: 1 + 16 + 2, 4: 1 + 35 + 2}[b[0]]
	if b[0] == 5 && len(b) > 1 {
		want = 1 + 1 + int(b[1]) + 2
	}
	if want == 0 {
		return fmt.Errorf("descriptor type %d unknown", b[0])
	}
	if len(b) != want {
		return fmt.Errorf("length %d is not %d", len(b), want)
	}
	return nil
}

// Ready is rod_ready.
type Ready struct{ Hashes [][32]byte }

// Encode gives the TLV stream.
func (m Ready) Encode() []byte { return encodeFields(m.fields()) }

func (m *Ready) fields() []field { return []field{{2, true, hashesField{&m.Hashes}}} }

// DecodeReady reads a rod_ready.
func DecodeReady(b []byte) (Ready, error) {
	var m Ready
	if err := decodeFields(b, m.fields()); err != nil {
		return Ready{}, fmt.Errorf("rod_ready: %w", err)
	}
	return m, nil
}

// StatusState is how far a request has come, as told to the payer.
type StatusState uint8

const (
	StatusArmed StatusState = iota
	StatusHolding
	StatusReleased
	StatusSettled // the preimage is with LSP_a
	StatusFailed
	StatusExpired
	StatusCancelled
)

func (s StatusState) String() string {
	names := [...]string{"armed", "holding", "released", "settled", "failed", "expired", "cancelled"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Status is rod_status. It is advice: a payment ends on its channel or on chain, never by a status.
type Status struct {
	PidHash     [32]byte
	State       StatusState
	Height      uint32
	HeldParts   uint16
	HeldMsat    uint64
	ClaimHeight uint32 // height at which LSP_a claims on chain if the payer stays away
}

// Encode gives the TLV stream.
func (m Status) Encode() []byte {
	fields, w := m.fields()
	*w = statusNumbers{uint64(m.Height), uint64(m.HeldParts), m.HeldMsat, uint64(m.ClaimHeight)}
	return encodeFields(fields)
}

type statusNumbers struct{ height, parts, msat, claim uint64 }

func (m *Status) fields() ([]field, *statusNumbers) {
	w := new(statusNumbers)
	return []field{
		{2, true, fixed{m.PidHash[:], true}},
		{4, true, u8Field{(*uint8)(&m.State)}},
		{6, false, truncated{&w.height, 4}},
		{7, false, truncated{&w.parts, 2}},
		{9, false, truncated{&w.msat, 8}},
		{10, false, truncated{&w.claim, 4}},
	}, w
}

// DecodeStatus reads a rod_status.
func DecodeStatus(b []byte) (Status, error) {
	var m Status
	fields, w := m.fields()
	if err := decodeFields(b, fields); err != nil {
		return Status{}, fmt.Errorf("rod_status: %w", err)
	}
	m.Height, m.HeldParts, m.HeldMsat, m.ClaimHeight = uint32(w.height), uint16(w.parts), w.msat, uint32(w.claim)
	return m, nil
}

// DecodeUnblock reads the value of payment_unblock, which is a pid.
func DecodeUnblock(value []byte) ([32]byte, error) {
	if len(value) != 32 {
		return [32]byte{}, fmt.Errorf("payment_unblock: length %d is not 32", len(value))
	}
	return [32]byte(value), nil
}

// HoldTLV is rod_hold_htlc, the value of a record of update_add_htlc. A zero PidHash stands for a record that cannot be read:
// such an HTLC asked to be held and cannot be.
type HoldTLV struct {
	PidHash  [32]byte
	Deadline uint32 // release_deadline; 0: the LSP's default
}

// Encode gives the value of the record.
func (m HoldTLV) Encode() []byte {
	return binary.BigEndian.AppendUint32(append([]byte(nil), m.PidHash[:]...), m.Deadline)
}

// DecodeHoldTLV reads the value of the record.
func DecodeHoldTLV(value []byte) (HoldTLV, error) {
	if len(value) != 36 {
		return HoldTLV{}, fmt.Errorf("rod_hold_htlc: length %d is not 36", len(value))
	}
	m := HoldTLV{[32]byte(value[:32]), binary.BigEndian.Uint32(value[32:])}
	if m.PidHash == ([32]byte{}) {
		return HoldTLV{}, errors.New("rod_hold_htlc: pid_hash is zero")
	}
	return m, nil
}

// HoldTLVIn looks for rod_hold_htlc in the TLV stream of an update_add_htlc. It gives nil if there is none, and an unreadable one as
// the zero HoldTLV, which Judge gives up: what asked to be held is never passed on for being malformed.
func HoldTLVIn(stream []byte) *HoldTLV {
	records, err := readStream(stream)
	if err != nil {
		return nil
	}
	for _, r := range records {
		if r.typ == TypeHoldHTLC {
			m, _ := DecodeHoldTLV(r.value)
			return &m
		}
	}
	return nil
}
