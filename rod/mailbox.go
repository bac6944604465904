package rod

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"lightningrod/chain/octets"
)

// MailboxConfig bounds what is kept for clients that are away.
type MailboxConfig struct {
	Messages   int   // for a client
	Bytes      int   // for a client
	TotalBytes int   // for all clients
	Keep       int64 // seconds
}

// DefaultMailboxConfig is the specification's: 32 messages, 256 KiB, 14 days.
func DefaultMailboxConfig() MailboxConfig {
	return MailboxConfig{Messages: 32, Bytes: 256 << 10, TotalBytes: 64 << 20, Keep: 14 * 86400}
}

// ErrMailboxFull says that a quota keeps a message out; ErrMailboxShare is it, where the quota is that of the peer it came from.
var (
	ErrMailboxFull  = errors.New("mailbox full")
	ErrMailboxShare = fmt.Errorf("%w for its sender", ErrMailboxFull)
)

// Letter is an onion message that waits for a client. Message is the whole onion_message as it is to be sent.
type Letter struct {
	Seq     uint64
	From    NodeID // the peer it arrived from
	Arrived int64  // unix seconds
	Quiet   bool   // nobody is woken for it: the unblocking of a hold, or a status
	Message []byte
}

// Mailbox keeps onion messages for channel peers that are away. Put only for such a client; deliver All once channel_reestablish is done on
// all the client's channels, because the client answers at once and what it releases must find a live channel; then Delivered.
type Mailbox struct {
	cfg     MailboxConfig
	seq     uint64 // last used
	bytes   int
	letters map[NodeID][]Letter // by Seq
}

// LoadMailbox makes a Mailbox of its rows.
func LoadMailbox(cfg MailboxConfig, rows ...Row) (*Mailbox, error) {
	m := &Mailbox{cfg: cfg, letters: map[NodeID][]Letter{}}
	for _, row := range rows {
		if row.Table != TableMailbox || len(row.Key) != 41 {
			return nil, fmt.Errorf("%s: not a row of the mailbox", row.Table)
		}
		l, err := decodeLetter(row.Value)
		if err != nil {
			return nil, fmt.Errorf("mailbox: %w", err)
		}
		l.Seq = binary.BigEndian.Uint64(row.Key[33:])
		client := NodeID(row.Key[:33])
		m.letters[client] = append(m.letters[client], l)
		m.bytes += len(l.Message)
		m.seq = max(m.seq, l.Seq)
	}
	for _, ls := range m.letters {
		slices.SortFunc(ls, func(a, b Letter) int { return cmp.Compare(a.Seq, b.Seq) })
	}
	return m, nil
}

// Put keeps message, which arrived from the peer from at time now, for client. It gives ErrMailboxFull when a quota is used up: the client's,
// a quarter of it for each peer messages arrive from, or that of all clients.
func (m *Mailbox) Put(client, from NodeID, message []byte, now int64, quiet bool) ([]Row, error) {
	box := m.letters[client]
	size, fromCount, fromSize := len(message), 1, len(message)
	for _, l := range box {
		size += len(l.Message)
		if l.From == from {
			fromCount++
			fromSize += len(l.Message)
		}
	}
	for _, q := range []struct {
		name     string
		v, limit int
		err      error
	}{
		{"messages for the client", len(box) + 1, m.cfg.Messages, ErrMailboxFull},
		{"bytes for the client", size, m.cfg.Bytes, ErrMailboxFull},
		{"messages from the peer", fromCount, max(1, m.cfg.Messages/4), ErrMailboxShare},
		{"bytes from the peer", fromSize, m.cfg.Bytes / 4, ErrMailboxShare},
		{"bytes in all", m.bytes + len(message), m.cfg.TotalBytes, ErrMailboxFull},
	} {
		if q.v > q.limit {
			return nil, fmt.Errorf("%w: %d %s above maximum %d", q.err, q.v, q.name, q.limit)
		}
	}
	m.seq++
	l := Letter{m.seq, from, now, quiet, slices.Clone(message)}
	m.letters[client] = append(box, l)
	m.bytes += len(message)
	return []Row{{TableMailbox, letterKey(client, l.Seq), l.encode()}}, nil
}

// All gives what waits for client, in the order it came.
func (m *Mailbox) All(client NodeID) []Letter { return slices.Clone(m.letters[client]) }

// Waiting lists the clients for whom something waits that they are to be woken for.
func (m *Mailbox) Waiting() []NodeID {
	var out []NodeID
	for client, ls := range m.letters {
		if slices.ContainsFunc(ls, func(l Letter) bool { return !l.Quiet }) {
			out = append(out, client)
		}
	}
	slices.SortFunc(out, compareNodes)
	return out
}

// Delivered forgets the letters of client up to and including seq. A crash before the rows are durable delivers them twice.
func (m *Mailbox) Delivered(client NodeID, seq uint64) []Row {
	return m.remove(client, func(l Letter) bool { return l.Seq <= seq })
}

// Drop forgets one letter of client.
func (m *Mailbox) Drop(client NodeID, seq uint64) []Row {
	return m.remove(client, func(l Letter) bool { return l.Seq == seq })
}

// Tick forgets what has waited too long.
func (m *Mailbox) Tick(now int64) []Row {
	var rows []Row
	for _, client := range slices.SortedFunc(maps.Keys(m.letters), compareNodes) {
		rows = append(rows, m.remove(client, func(l Letter) bool { return now >= l.Arrived+m.cfg.Keep })...)
	}
	return rows
}

// Close forgets everything of a client with whom the last channel is gone.
func (m *Mailbox) Close(client NodeID) []Row {
	return m.remove(client, func(Letter) bool { return true })
}

func (m *Mailbox) remove(client NodeID, gone func(Letter) bool) (rows []Row) {
	var left []Letter
	for _, l := range m.letters[client] {
		if !gone(l) {
			left = append(left, l)
			continue
		}
		m.bytes -= len(l.Message)
		rows = append(rows, Row{Table: TableMailbox, Key: letterKey(client, l.Seq)})
	}
	if m.letters[client] = left; len(left) == 0 {
		delete(m.letters, client)
	}
	return rows
}

func letterKey(client NodeID, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(nil), client[:]...), seq)
}

func (l Letter) encode() []byte {
	b := append([]byte{rowVersion}, l.From[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(l.Arrived))
	b = octets.AppendBool(b, l.Quiet)
	return octets.AppendBytes(b, l.Message)
}

func decodeLetter(b []byte) (Letter, error) {
	c := &cursor{octets.Of(b)}
	c.version()
	l := Letter{From: c.node(), Arrived: int64(c.Uint64()), Quiet: c.Bool(), Message: c.Bytes()}
	return l, c.End()
}
