package rod

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"lightningrod/chain/octets"
)

// Invoice is what the payee knows of one hash of a rod_notice.
type Invoice struct {
	Open    bool   // ours, neither paid nor expired nor cancelled
	MinMsat uint64 // the least it takes
	MaxMsat uint64 // the most; 0: any
}

// Payee is the payee's side: it answers a rod_notice with rod_ready once it can accept the payment, and repeats that until the HTLC is there.
type Payee struct {
	now     int64
	live    bool
	notices map[[32]byte]*notice // by pid_hash
}

type notice struct {
	Notice
	replyPath []byte
	since     int64 // unix seconds

	sent  int   // memory only: rod_ready sent since the last connection
	first int64 // memory only: when the first of those was sent
}

// readyAfter are the seconds from the first rod_ready to each of the repetitions.
var readyAfter = []int64{0, 5, 30, 120}

const (
	maxNotices = 1000
	noticeKeep = 14 * 86400 // seconds a notice without deadline is remembered
)

// PayeeOutput is what a payee is to do. Rows are durable before the rest.
type PayeeOutput struct {
	Rows []Row
	Send []Message
}

// LoadPayee makes a Payee of its rows.
func LoadPayee(rows ...Row) (*Payee, error) {
	p := &Payee{notices: map[[32]byte]*notice{}}
	for _, row := range rows {
		if row.Table != TablePayee || len(row.Key) != 32 {
			return nil, fmt.Errorf("%s: not a row of the payee", row.Table)
		}
		n, err := decodeNoticeRow(row.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", TablePayee, err)
		}
		if PidHash(n.Pid) != [32]byte(row.Key) {
			return nil, fmt.Errorf("%s: key is not the pid_hash", TablePayee)
		}
		p.notices[[32]byte(row.Key)] = n
	}
	return p, nil
}

// Notice takes a rod_notice. Invoices are what we know of its hashes (DecodeNotice), in their order. An error says why it is dropped.
func (p *Payee) Notice(payload, replyPath []byte, invoices []Invoice) (out PayeeOutput, err error) {
	m, err := DecodeNotice(payload)
	if err != nil {
		return out, err
	}
	if len(invoices) != len(m.Hashes) {
		return out, fmt.Errorf("%d invoices for %d hashes", len(invoices), len(m.Hashes))
	}
	var least, most uint64
	for i, v := range invoices {
		if !v.Open {
			return out, fmt.Errorf("hash %d is no open invoice of ours", i)
		}
		least += v.MinMsat
		if v.MaxMsat == 0 {
			v.MaxMsat = 1 << 60
		}
		most += v.MaxMsat
	}
	if m.AmountMsat < least || m.AmountMsat > most {
		return out, fmt.Errorf("amount_msat %d outside %d to %d", m.AmountMsat, least, most)
	}
	if len(replyPath) > maxReplyPathSize {
		return out, fmt.Errorf("reply_path length %d above maximum %d", len(replyPath), maxReplyPathSize)
	}
	if len(replyPath) == 0 && m.Payer == (NodeID{}) {
		return out, fmt.Errorf("neither a reply_path nor a payer_id: no way to answer")
	}
	key := PidHash(m.Pid)
	n := p.notices[key]
	if n != nil {
		// The payer asks again because it has not heard from us: start over, if we had fallen silent.
		if n.sent == len(readyAfter) {
			n.sent = 0
		}
	} else {
		if len(p.notices) >= maxNotices {
			return out, fmt.Errorf("%d notices reach maximum %d", len(p.notices), maxNotices)
		}
		n = &notice{Notice: m, replyPath: slices.Clone(replyPath), since: p.now}
		p.notices[key] = n
		out.Rows = append(out.Rows, Row{TablePayee, key[:], n.encode()})
	}
	p.due(&out, n)
	return out, nil
}

// Live says whether we can accept a payment: a channel is up and re-established. Each time it becomes true everything is answered again.
func (p *Payee) Live(live bool) (out PayeeOutput) {
	if p.live = live; !live {
		return out
	}
	for _, n := range p.sorted() {
		n.sent = 0
		p.due(&out, n)
	}
	return out
}

// Tick is the time, in unix seconds.
func (p *Payee) Tick(now int64) (out PayeeOutput) {
	p.now = max(p.now, now)
	for _, n := range p.sorted() {
		if p.now >= n.since+noticeKeep {
			p.remove(&out, n)
			continue
		}
		p.due(&out, n)
	}
	return out
}

// Block is the height: past the release_deadline the LSP has given up.
func (p *Payee) Block(height uint32) (out PayeeOutput) {
	for _, n := range p.sorted() {
		if n.Deadline != 0 && height >= n.Deadline {
			p.remove(&out, n)
		}
	}
	return out
}

// Arrived says that an HTLC with this hash is here: the hold is released.
func (p *Payee) Arrived(hash [32]byte) PayeeOutput { return p.about(hash) }

// Closed says that the invoice of this hash takes no payment any more.
func (p *Payee) Closed(hash [32]byte) PayeeOutput { return p.about(hash) }

func (p *Payee) about(hash [32]byte) (out PayeeOutput) {
	for _, n := range p.sorted() {
		if slices.Contains(n.Hashes, hash) {
			p.remove(&out, n)
		}
	}
	return out
}

// due sends the rod_ready whose time has come.
func (p *Payee) due(out *PayeeOutput, n *notice) {
	if !p.live || n.sent >= len(readyAfter) {
		return
	}
	if n.sent == 0 {
		n.first = p.now
	}
	if p.now < n.first+readyAfter[n.sent] {
		return
	}
	m := Message{Type: TypeReady, Payload: Ready{n.Hashes}.Encode()}
	// Given both ways, use them in turn: what loses a message on one may not on the other.
	if len(n.replyPath) > 0 && (n.sent%2 == 0 || n.Payer == (NodeID{})) {
		m.Path = n.replyPath
	} else {
		m.To, m.Through, m.Unblock = n.Payer, n.LSP, n.Pid
	}
	out.Send = append(out.Send, m)
	n.sent++
}

func (p *Payee) remove(out *PayeeOutput, n *notice) {
	key := PidHash(n.Pid)
	delete(p.notices, key)
	out.Rows = append(out.Rows, Row{Table: TablePayee, Key: key[:]})
}

func (p *Payee) sorted() []*notice {
	return sortedValues(p.notices, func(a, b *notice) int { return slices.Compare(a.Pid[:], b.Pid[:]) })
}

// LSPAddress gives the address descriptor at which a payer's LSP can be reached directly, if a notice named one. The LSP is that of the
// notice, or the node at which its reply path begins.
func (p *Payee) LSPAddress(lsp NodeID) []byte {
	for _, n := range p.sorted() {
		if n.Notice.LSPAddress != nil && (n.LSP == lsp || bytes.HasPrefix(n.replyPath, lsp[:])) {
			return n.Notice.LSPAddress
		}
	}
	return nil
}

func (n *notice) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{rowVersion}, uint64(n.since))
	b = octets.AppendBytes(b, n.replyPath)
	return octets.AppendBytes(b, n.Notice.Encode())
}

func decodeNoticeRow(b []byte) (*notice, error) {
	c := &cursor{octets.Of(b)}
	c.version()
	n := &notice{since: int64(c.Uint64()), replyPath: c.Bytes()}
	payload := c.Bytes()
	if err := c.End(); err != nil {
		return nil, err
	}
	var err error
	if n.Notice, err = DecodeNotice(payload); err == nil && !bytes.Equal(n.Notice.Encode(), payload) {
		err = errors.New("row: rod_notice not canonical")
	}
	return n, err
}
