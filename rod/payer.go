package rod

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"lightningrod/chain/octets"
)

// Message is an onion message that Payer or Payee wants sent, and how. It carries pids: never log one.
type Message struct {
	To      NodeID   // the final node; zero when Path or Dest says where
	Path    []byte   // an encoded blinded path to send along
	Dest    []byte   // where the payee is, as the caller gave it to Payer.Start
	Through NodeID   // the hop right before To, or zero for any
	Unblock [32]byte // payment_unblock in the encrypted data of Through, or zero
	Type    uint64   // onionmsg_tlv type
	Payload []byte
	Reply   *ReturnPath
}

// ReturnPath is a reply path to be built: Through, then us.
type ReturnPath struct {
	Through NodeID
	PathID  [32]byte // path_id for us: what comes back without it is dropped
	Unblock [32]byte // payment_unblock in the encrypted data of Through, or zero
}

// UnblockMode says who puts payment_unblock where LSP_a finds it. Both may be set.
type UnblockMode uint8

const (
	UnblockByPayer UnblockMode = 1 << iota // in the reply path of the rod_notice: it begins at LSP_a, and the payee does not learn the payer
	UnblockByPayee                         // the payee builds the path from lsp_id and payer_id
)

// Start is a payment to be held at our LSP. The caller drew Pid, PathID and ReadyPathID at random, each for this payment only.
type Start struct {
	ID          uint64 // the payment
	Pid         [32]byte
	PathID      [32]byte // of the reply path of our rod_hold
	ReadyPathID [32]byte // of the reply path of our rod_notice
	LSP         NodeID
	Self        NodeID
	Hold        []byte // signed rod_hold, or nil: the HTLCs alone carry the request
	Cancel      []byte // signed rod_cancel
	ByHTLC      bool   // the HTLCs carry rod_hold_htlc. With or without Hold; then nothing waits for the ack
	Hashes      [][32]byte
	AmountMsat  uint64 // what the payee gets
	TotalMsat   uint64 // what all HTLCs to the LSP carry
	Deadline    uint32 // release_deadline asked; 0: the LSP's default
	Mode        UnblockMode
	Dest        []byte // how the payee is reached: the caller's own coding
	LSPAddress  []byte // BOLT 7 address descriptor that the payee is told, or nil
	Patience    int64  // seconds to wait for the ack
}

// MaxDeadline is the greatest release_deadline a payer may ask for a route whose final cltv_expiry is finalExpiry, when the payee wants
// minFinal blocks: every hop takes its delta out of what the LSP sees, so only the payer can know.
func MaxDeadline(finalExpiry, minFinal uint32) uint32 {
	const latency = 3
	return finalExpiry - min(finalExpiry, minFinal+latency)
}

func (s Start) check() error {
	switch {
	case s.Pid == [32]byte{} || s.PathID == [32]byte{} || s.ReadyPathID == [32]byte{} || s.PathID == s.ReadyPathID:
		return errors.New("pid and path ids are not drawn")
	case s.Hold == nil && !s.ByHTLC:
		return errors.New("neither rod_hold nor rod_hold_htlc asks for the hold")
	case s.Mode == 0 || s.Mode > UnblockByPayer|UnblockByPayee:
		return fmt.Errorf("unblock mode %d", s.Mode)
	case len(s.Hashes) < 1 || len(s.Hashes) > maxHashes:
		return fmt.Errorf("%d hashes, maximum %d", len(s.Hashes), maxHashes)
	}
	if s.Hold != nil {
		m, err := DecodeHold(s.Hold)
		if err != nil {
			return err
		}
		if m.PidHash != PidHash(s.Pid) || !slices.Equal(m.Hashes, s.Hashes) || m.Deadline != s.Deadline {
			return errors.New("rod_hold is not about this payment")
		}
	}
	return nil
}

// Payer is the payer's side of held payments. A payment ends only when its HTLCs have ended: Over says so.
type Payer struct {
	now      int64
	payments map[uint64]*payment
}

type payState uint8

const (
	payArming  payState = iota // rod_hold sent, no ack yet: nothing may be offered
	payArmed                   // HTLCs may be offered, none is irrevocably committed
	payHolding                 // HTLCs are with the LSP: the payee is told
)

type payment struct {
	Start
	state     payState
	started   int64 // unix seconds
	until     int64 // unix seconds: the LSP forgets the request then, if no HTLC came
	deadline  uint32
	delta     uint16 // min_cltv_delta of the LSP
	expiry    uint32 // greatest cltv_expiry of the HTLCs
	cancelled bool
	answered  bool // rod_ready has come

	asked int64 // memory only: when rod_hold was last sent
	again int64 // memory only: when the notice is repeated; 0: it is not, atNextTick: renotice after the next Tick
	wait  int64 // memory only: seconds between the last notice on this connection and the next
}

// retryHold is how often a rod_hold without answer is repeated, in seconds.
const retryHold = 5

// renotice is how long into a connection a notice without answer is repeated, in seconds. The answer may lie in our mailbox, and the outcome in
// the channel: both come first, and the payee is not woken for nothing.
const renotice = 2

const atNextTick = -1

// On a connection that lasts, a notice without answer is repeated after minRenotice seconds, and after twice the time each time up to
// maxRenotice: whoever passed it on may have lost it, and does not know.
const (
	minRenotice = 60
	maxRenotice = 6 * 3600
)

// PayerOutput is what a payer is to do. Rows are durable before the rest.
type PayerOutput struct {
	Rows    []Row
	Send    []Message
	Pay     []Go
	Refused []Refusal
	Told    []Told
	Connect []NodeID // reach these before closing any channel with them
}

// Go says that a payment's HTLCs may be offered, if they are not yet: it is said again after a restart.
type Go struct {
	ID           uint64
	Until        int64    // unix seconds: offer nothing after it. 0: any time
	MinCltvDelta uint16   // blocks the first hop must get at least. 0: as advertised
	Deadline     uint32   // release_deadline granted; 0: not said
	Hold         *HoldTLV // rod_hold_htlc to put on every HTLC, or nil
}

// Refusal says that a payment is over before anything was offered.
type Refusal struct {
	ID     uint64
	Status AckStatus // AckOK if no ack came
	Reason string
}

// Told is an LSP's status of a payment. It is advice for a user's eyes.
type Told struct {
	ID     uint64
	Status Status
}

// LoadPayer makes a Payer of its rows. Resume then says what is to be done again.
func LoadPayer(rows ...Row) (*Payer, error) {
	p := &Payer{payments: map[uint64]*payment{}}
	for _, row := range rows {
		if row.Table != TablePayer || len(row.Key) != 8 {
			return nil, fmt.Errorf("%s: not a row of the payer", row.Table)
		}
		y, err := decodePayment(row.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", TablePayer, err)
		}
		y.ID = binary.BigEndian.Uint64(row.Key)
		p.payments[y.ID] = y
	}
	return p, nil
}

// Resume repeats, after a restart, that armed payments may be offered.
func (p *Payer) Resume() (out PayerOutput) {
	for _, y := range p.sorted() {
		if y.state == payArmed && !y.cancelled {
			out.Pay = append(out.Pay, y.goAhead())
		}
	}
	return out
}

// Start begins a payment. The clock is that of the last Tick.
func (p *Payer) Start(s Start) (out PayerOutput, err error) {
	if err := s.check(); err != nil {
		return out, err
	}
	if p.payments[s.ID] != nil {
		return out, fmt.Errorf("payment %d exists", s.ID)
	}
	y := &payment{Start: s, started: p.now, deadline: s.Deadline}
	p.payments[s.ID] = y
	if y.ByHTLC {
		y.state = payArmed
		out.Pay = append(out.Pay, y.goAhead())
	}
	if y.Hold != nil {
		p.ask(&out, y)
	}
	p.save(&out, y)
	return out, nil
}

// Ack takes a rod_hold_ack that came with this path_id.
func (p *Payer) Ack(pathID [32]byte, payload []byte) (out PayerOutput) {
	ack, err := DecodeAck(payload)
	y := p.byPathID(func(y *payment) bool { return y.PathID == pathID })
	if err != nil || y == nil || ack.PidHash != PidHash(y.Pid) || y.state != payArming {
		return out
	}
	switch {
	case ack.Status != AckOK:
		p.refuse(&out, y, ack.Status, ack.Reason)
	case ack.MaxHeldMsat != 0 && y.TotalMsat > ack.MaxHeldMsat:
		p.sendCancel(&out, y)
		p.refuse(&out, y, AckLimit, fmt.Sprintf("%d msat above the LSP's maximum %d", y.TotalMsat, ack.MaxHeldMsat))
	default:
		y.state, y.delta, y.until = payArmed, ack.MinCltvDelta, int64(min(ack.ArmedUntil, 1<<62))
		if ack.Deadline != 0 {
			y.deadline = ack.Deadline
		}
		out.Pay = append(out.Pay, y.goAhead())
		p.save(&out, y)
	}
	return out
}

// Status takes a rod_status that came with this path_id.
func (p *Payer) Status(pathID [32]byte, payload []byte) (out PayerOutput) {
	s, err := DecodeStatus(payload)
	y := p.byPathID(func(y *payment) bool { return y.PathID == pathID })
	if err == nil && y != nil && s.PidHash == PidHash(y.Pid) {
		out.Told = append(out.Told, Told{y.ID, s})
	}
	return out
}

// Ready takes a rod_ready that came with this path_id: the payee has the notice, and the LSP saw the unblock on its way here.
func (p *Payer) Ready(pathID [32]byte) (out PayerOutput) {
	y := p.byPathID(func(y *payment) bool { return y.ReadyPathID == pathID })
	if y != nil && !y.answered {
		y.answered = true
		p.save(&out, y)
	}
	return out
}

// ReadyFor takes a rod_ready that came over a path the payee built itself, so without a path_id. Anyone can send one: it only ends repetitions.
func (p *Payer) ReadyFor(payload []byte) (out PayerOutput) {
	m, err := DecodeReady(payload)
	if err != nil {
		return out
	}
	for _, y := range p.sorted() {
		if y.Mode&UnblockByPayee != 0 && y.state == payHolding && !y.answered && slices.Equal(y.Hashes, m.Hashes) {
			y.answered = true
			p.save(&out, y)
		}
	}
	return out
}

// Committed says that an HTLC of the payment, with this cltv_expiry, is irrevocably committed. Only now is the payee told: an unblock then
// finds what it releases.
func (p *Payer) Committed(id uint64, expiry uint32) (out PayerOutput) {
	y := p.payments[id]
	if y == nil || y.state == payHolding && expiry <= y.expiry {
		return out
	}
	first := y.state != payHolding
	y.state, y.expiry = payHolding, max(y.expiry, expiry)
	p.save(&out, y)
	if first {
		p.tellPayee(&out, y)
	}
	return out
}

// Cancel takes a payment back. Once an HTLC may be under way the LSP is told only when it is there: a cancel that overtook it would let it pass.
func (p *Payer) Cancel(id uint64) (out PayerOutput) {
	y := p.payments[id]
	if y == nil || y.cancelled {
		return out
	}
	y.cancelled = true
	switch y.state {
	case payArming:
		p.sendCancel(&out, y)
		p.refuse(&out, y, AckOK, "cancelled")
		return out
	case payHolding:
		p.sendCancel(&out, y)
	}
	p.save(&out, y)
	return out
}

// Over says that all HTLCs of the payment have ended, or that none will be offered.
func (p *Payer) Over(id uint64) (out PayerOutput) {
	if y := p.payments[id]; y != nil {
		if y.state != payHolding && y.Cancel != nil {
			p.sendCancel(&out, y)
		}
		p.remove(&out, y)
	}
	return out
}

// Connected says that a peer is connected and its channels are re-established: what may have been lost is sent again.
func (p *Payer) Connected(peer NodeID) (out PayerOutput) {
	for _, y := range p.sorted() {
		switch {
		case y.LSP != peer:
		case y.state == payArming:
			p.ask(&out, y)
		case y.state == payHolding && y.cancelled:
			p.sendCancel(&out, y)
		case y.state == payHolding:
			y.again, y.wait = atNextTick, 0
		}
	}
	return out
}

// Tick is the time, in unix seconds.
func (p *Payer) Tick(now int64) (out PayerOutput) {
	p.now = max(p.now, now)
	for _, y := range p.sorted() {
		switch {
		case y.again == atNextTick:
			y.again = p.now + renotice
		case y.again != 0 && p.now >= y.again:
			y.again = 0
			p.tellPayee(&out, y)
		case y.state != payArming:
		case p.now >= y.started+y.Patience:
			p.sendCancel(&out, y)
			p.refuse(&out, y, AckOK, "no rod_hold_ack came")
		case p.now >= y.asked+retryHold:
			p.ask(&out, y)
		}
	}
	return out
}

// Block is the height. A payer whose HTLC has expired reaches for its LSP before it closes anything: see Grace.
func (p *Payer) Block(height uint32) (out PayerOutput) {
	for _, y := range p.sorted() {
		if y.state == payHolding && height >= y.expiry && !slices.Contains(out.Connect, y.LSP) {
			out.Connect = append(out.Connect, y.LSP)
		}
	}
	return out
}

// GraceBlocks is how long past the expiry of an HTLC that is held for us its channel stays open, while we try to reach the LSP:
// it may have failed the HTLC long ago, while we slept.
const GraceBlocks = 12

// Grace says how many blocks past its cltv_expiry an HTLC of this payment must not close its channel.
func (p *Payer) Grace(id uint64) uint32 {
	if p.payments[id] == nil {
		return 0
	}
	return GraceBlocks
}

// Dest is what the caller of Start gave as the way to the payee.
func (p *Payer) Dest(id uint64) (dest []byte, ok bool) {
	y := p.payments[id]
	if y == nil {
		return nil, false
	}
	return y.Start.Dest, true
}

// Payments lists the payments that are not over, by id.
func (p *Payer) Payments() []uint64 { return slices.Sorted(maps.Keys(p.payments)) }

// Pid is the secret of a payment: whoever knows it can release what is held.
func (p *Payer) Pid(id uint64) (pid [32]byte, ok bool) {
	y := p.payments[id]
	if y == nil {
		return pid, false
	}
	return y.Start.Pid, true
}

func (y *payment) goAhead() Go {
	g := Go{ID: y.ID, Until: y.until, MinCltvDelta: y.delta, Deadline: y.deadline}
	if y.ByHTLC {
		g.Hold = &HoldTLV{PidHash(y.Pid), y.Start.Deadline}
	}
	return g
}

func (p *Payer) ask(out *PayerOutput, y *payment) {
	y.asked = p.now
	out.Send = append(out.Send, Message{To: y.LSP, Type: TypeHold, Payload: y.Hold, Reply: &ReturnPath{Through: y.LSP, PathID: y.PathID}})
}

func (p *Payer) sendCancel(out *PayerOutput, y *payment) {
	if y.Cancel != nil {
		out.Send = append(out.Send, Message{To: y.LSP, Type: TypeCancel, Payload: y.Cancel})
	}
}

// tellPayee sends the notice, or the cancel of a payment that was taken back.
func (p *Payer) tellPayee(out *PayerOutput, y *payment) {
	switch {
	case y.cancelled:
		p.sendCancel(out, y)
		return
	case y.answered:
		return
	}
	n := Notice{Pid: y.Pid, Hashes: y.Hashes, AmountMsat: y.AmountMsat, Deadline: y.deadline, LSPAddress: y.LSPAddress}
	m := Message{Dest: y.Dest, Type: TypeNotice}
	if y.Mode&UnblockByPayee != 0 {
		n.LSP, n.Payer = y.LSP, y.Self
	}
	if y.Mode&UnblockByPayer != 0 {
		m.Reply = &ReturnPath{Through: y.LSP, PathID: y.ReadyPathID, Unblock: y.Pid}
	}
	m.Payload = n.Encode()
	out.Send = append(out.Send, m)
	y.wait = min(max(2*y.wait, minRenotice), maxRenotice)
	y.again = p.now + y.wait
}

func (p *Payer) refuse(out *PayerOutput, y *payment, status AckStatus, reason string) {
	out.Refused = append(out.Refused, Refusal{y.ID, status, reason})
	p.remove(out, y)
}

func (p *Payer) remove(out *PayerOutput, y *payment) {
	delete(p.payments, y.ID)
	out.Rows = append(out.Rows, Row{Table: TablePayer, Key: binary.BigEndian.AppendUint64(nil, y.ID)})
}

func (p *Payer) save(out *PayerOutput, y *payment) {
	out.Rows = append(out.Rows, Row{TablePayer, binary.BigEndian.AppendUint64(nil, y.ID), y.encode()})
}

func (p *Payer) sorted() []*payment {
	return sortedValues(p.payments, func(a, b *payment) int { return cmp.Compare(a.ID, b.ID) })
}

func (p *Payer) byPathID(is func(*payment) bool) *payment {
	for _, y := range p.payments {
		if is(y) {
			return y
		}
	}
	return nil
}

func (y *payment) encode() []byte {
	b := []byte{rowVersion, byte(y.state), byte(y.Mode)}
	b = append(b, bytes.Join([][]byte{y.Pid[:], y.PathID[:], y.ReadyPathID[:], y.LSP[:], y.Self[:]}, nil)...)
	for _, v := range []bool{y.ByHTLC, y.cancelled, y.answered} {
		b = octets.AppendBool(b, v)
	}
	b = appendHashes(b, y.Hashes)
	for _, v := range []uint64{y.AmountMsat, y.TotalMsat, uint64(y.Patience), uint64(y.started), uint64(y.until)} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	for _, v := range []uint32{y.Start.Deadline, y.deadline, y.expiry} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	b = binary.BigEndian.AppendUint16(b, y.delta)
	for _, v := range [][]byte{y.Hold, y.Cancel, y.Dest, y.LSPAddress} {
		b = octets.AppendBytes(b, v)
	}
	return b
}

func decodePayment(b []byte) (*payment, error) {
	c := &cursor{octets.Of(b)}
	c.version()
	y := &payment{state: payState(c.Enum("state", uint8(payHolding)))}
	y.Mode = UnblockMode(c.Enum("mode", uint8(UnblockByPayer|UnblockByPayee)))
	y.Pid, y.PathID, y.ReadyPathID, y.LSP, y.Self = c.Hash(), c.Hash(), c.Hash(), c.node(), c.node()
	y.ByHTLC, y.cancelled, y.answered = c.Bool(), c.Bool(), c.Bool()
	y.Hashes = c.hashes()
	y.AmountMsat, y.TotalMsat = c.Uint64(), c.Uint64()
	y.Patience, y.started, y.until = int64(c.Uint64()), int64(c.Uint64()), int64(c.Uint64())
	y.Start.Deadline, y.deadline, y.expiry = c.Uint32(), c.Uint32(), c.Uint32()
	y.delta = c.Uint16()
	y.Hold, y.Cancel, y.Dest, y.LSPAddress = c.Bytes(), c.Bytes(), c.Bytes(), c.Bytes()
	if err := c.End(); err != nil {
		return nil, err
	}
	return y, y.check()
}
