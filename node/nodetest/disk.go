package nodetest

import (
	"fmt"
	"maps"
	"slices"

	"lightningrod/chain"
	"lightningrod/channel"
	"lightningrod/node/forward"
	"lightningrod/rod"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/lightningnetwork/lnd/lnwire"
)

// turn is one entry of a node's queue: what it writes, and what it lets out once that is durable.
type turn struct {
	saves []save
	rows  []forward.Row
	tip   *tip // of the wallet, if it has moved

	sends   []outgoing
	asks    []ask
	replies []rod.Reply
	mail    []letter

	durable []func() // what the simulator learns when the turn reaches the disk
	lost    []func() // what it has to unlearn when a crash takes it
}

type save struct {
	id channel.ID
	channel.Save
}

// outgoing are messages for the connection they were computed for.
type outgoing struct {
	edge *edge
	conn int
	msgs []lnwire.Message
}

type ask struct {
	owner channel.ID
	req   chain.Request
}

func (t *turn) empty() bool {
	return len(t.saves)+len(t.rows)+len(t.sends)+len(t.asks)+len(t.replies)+len(t.mail)+len(t.durable)+len(t.lost) == 0 && t.tip == nil
}

// disk is what a node has written for good.
type disk struct {
	cores   map[channel.ID][]byte
	bodies  map[bodyKey][]byte
	revoked map[revokedKey][]byte
	rows    map[rowKey][]byte // of forwarding and rod
	tip     tip               // the last block the wallet has seen
}

// tip is a block; its hash may be unknown.
type tip struct {
	height uint32
	hash   chainhash.Hash
}

type bodyKey struct {
	id channel.ID
	channel.BodyKey
}

type revokedKey struct {
	id     channel.ID
	number uint64
}

type rowKey struct{ table, key string }

func newDisk() disk {
	return disk{cores: map[channel.ID][]byte{}, bodies: map[bodyKey][]byte{}, revoked: map[revokedKey][]byte{}, rows: map[rowKey][]byte{}}
}

func (d *disk) clone() disk {
	return disk{maps.Clone(d.cores), maps.Clone(d.bodies), maps.Clone(d.revoked), maps.Clone(d.rows), d.tip}
}

// write makes a turn durable.
func (d *disk) write(t *turn) error {
	for _, s := range t.saves {
		if err := d.save(s); err != nil {
			return err
		}
	}
	for _, r := range t.rows {
		k := rowKey{r.Table, string(r.Key)}
		if r.Value == nil {
			delete(d.rows, k)
		} else {
			d.rows[k] = r.Value
		}
	}
	if t.tip != nil {
		d.tip = *t.tip
	}
	return nil
}

func (d *disk) save(s save) error {
	for i := range s.Add {
		h := &s.Add[i]
		k := bodyKey{s.id, channel.BodyKey{Offered: h.Origin != nil, HTLC: h.Key.HTLC}}
		if d.bodies[k] != nil {
			return fmt.Errorf("body %+v is written twice", k)
		}
		d.bodies[k] = channel.EncodeHTLC(h)
	}
	for _, b := range s.Remove {
		k := bodyKey{s.id, b}
		if d.bodies[k] == nil {
			return fmt.Errorf("body %+v is dropped, but not there", k)
		}
		delete(d.bodies, k)
	}
	for _, r := range s.Revoked {
		d.revoked[revokedKey{s.id, r.Number}] = r.Data
	}
	switch {
	case s.Delete:
		delete(d.cores, s.id)
		maps.DeleteFunc(d.revoked, func(k revokedKey, _ []byte) bool { return k.id == s.id })
		maps.DeleteFunc(d.bodies, func(k bodyKey, _ []byte) bool { return k.id == s.id })
	case s.Core != nil:
		d.cores[s.id] = s.Core
	}
	return nil
}

// channels gives the ids of the channels that have a row, in order.
func (d *disk) channels() []channel.ID { return slices.Sorted(maps.Keys(d.cores)) }

// restore is the channel a core and its bodies make.
func (d *disk) restore(id channel.ID) (*channel.State, channel.Output, error) {
	var bodies []channel.HTLC
	for k, b := range d.bodies {
		if k.id != id {
			continue
		}
		h, err := channel.DecodeHTLC(b)
		if err != nil {
			return nil, channel.Output{}, err
		}
		bodies = append(bodies, h)
	}
	return channel.Restore(d.cores[id], bodies)
}

// rowsOf lists rows of tables, in order of their keys.
func (d *disk) rowsOf(tables ...string) []rod.Row {
	var rows []rod.Row
	for k, v := range d.rows {
		if slices.Contains(tables, k.table) {
			rows = append(rows, rod.Row{Table: k.table, Key: []byte(k.key), Value: v})
		}
	}
	slices.SortFunc(rows, func(a, b rod.Row) int {
		if a.Table != b.Table {
			return slices.Compare([]byte(a.Table), []byte(b.Table))
		}
		return slices.Compare(a.Key, b.Key)
	})
	return rows
}
