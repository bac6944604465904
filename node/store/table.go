package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

// Table names a table. The list is closed; the numbers are part of the row checksums and never change.
type Table uint8

// The tables. Keys are byte strings compared as such; those of Channel and Event are a number, 8 bytes big-endian.
const (
	Channel          Table = iota + 1 // core of a channel
	HTLC                              // bodies of live HTLCs, written once and deleted once
	Settled                           // outcomes on their way from the outgoing to the incoming channel
	Request                           // rod: requests to hold a payment hash
	Member                            // rod: HTLCs that belong to a request
	Tombstone                         // rod: requests that ended
	Revoked                           // revoked commitments that had HTLCs
	Peer                              // nodes we know: addresses, features, storage
	Meta                              // network, node id, generation, chain tip
	Invoice                           // what we asked others to pay
	Payment                           // what we pay, with its parts
	Mailbox                           // onion messages kept for a peer that is away
	Device                            // where to wake a peer
	Outbox                            // webhooks and pushes not yet delivered
	Wallet                            // keys used and coins owned on chain
	Announcement                      // gossip: channel_announcement
	ChannelUpdate                     // gossip: channel_update
	NodeAnnouncement                  // gossip: node_announcement
	Event                             // history: rows of events, by the number of their first
	Payer                             // rod: payments of ours that are to be held
	Payee                             // rod: payments that wait for us
	Client                            // when a client was last seen
	endOfTables
)

var tableNames = [endOfTables]string{
	Channel: "channel", HTLC: "htlc", Settled: "settled", Request: "rod_request", Member: "rod_member",
	Tombstone: "rod_tombstone", Revoked: "revoked", Peer: "peer", Meta: "meta", Invoice: "invoice", Payment: "payment",
	Mailbox: "mailbox", Device: "device", Outbox: "outbox", Wallet: "wallet", Announcement: "channel_announcement",
	ChannelUpdate: "channel_update", NodeAnnouncement: "node_announcement", Event: "event", Payer: "rod_payer", Payee: "rod_payee",
	Client: "client",
}

// Tables lists all tables in the order of their numbers.
func Tables() []Table {
	all := make([]Table, 0, endOfTables-1)
	for t := Table(1); t < endOfTables; t++ {
		all = append(all, t)
	}
	return all
}

// TableByName finds a table by the name it has in the file.
func TableByName(name string) (Table, bool) {
	for t := Table(1); t < endOfTables; t++ {
		if tableNames[t] == name {
			return t, true
		}
	}
	return 0, false
}

func (t Table) String() string {
	if !t.valid() {
		return fmt.Sprintf("table(%d)", uint8(t))
	}
	return tableNames[t]
}

func (t Table) valid() bool { return t > 0 && t < endOfTables }

// numbered says that the keys of a table are integers in the file: an integer key and one upsert is the cheapest thing
// SQLite can do.
func (t Table) numbered() bool { return t == Channel || t == Event }

// Op puts or deletes one row. A nil Value deletes; an empty Value that is not nil is a row with nothing in it.
// Key and Value belong to the Store from Commit's call to its return and are not changed by it.
type Op struct {
	Table Table
	Key   []byte
	Value []byte
}

// Write is the rows of one turn.
type Write []Op

// ChannelKey is the key of channel n in table Channel, or of event n in table Event.
func ChannelKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// sqlKey is key as SQLite stores it: an integer in a numbered table, a blob elsewhere. Integers there are signed, so
// numbers above 2^63 - 1, which would sort first, are refused: no node has that many channels or events.
func (t Table) sqlKey(key []byte) (any, error) {
	if !t.valid() {
		return nil, fmt.Errorf("unknown table %d", uint8(t))
	}
	if !t.numbered() {
		if len(key) == 0 {
			return nil, fmt.Errorf("table %s: empty key", t)
		}
		return key, nil
	}
	if len(key) != 8 {
		return nil, fmt.Errorf("table %s: key of %d bytes, want 8", t, len(key))
	}
	n := binary.BigEndian.Uint64(key)
	if n > math.MaxInt64 {
		return nil, fmt.Errorf("table %s: number %d above %d", t, n, int64(math.MaxInt64))
	}
	return int64(n), nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum ties a value to its place. A flipped bit inside a value is invisible to SQLite's own checks, and a channel
// restored from it could sign a wrong state.
func (t Table) checksum(key, value []byte) int64 {
	sum := crc32.Update(0, castagnoli, []byte{byte(t), byte(len(key))})
	sum = crc32.Update(sum, castagnoli, key)
	return int64(crc32.Update(sum, castagnoli, value))
}
