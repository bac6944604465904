package graph

import (
	"encoding/binary"
	"fmt"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Tables of the rows.
const (
	TableAnnouncement     = "channel_announcement"
	TableChannelUpdate    = "channel_update"
	TableNodeAnnouncement = "node_announcement"
)

// Row is a row to put, or with a nil Value to delete.
//
//	channel_announcement   short_channel_id              version, seen u32, spent u32, capacity u64, txid 32, output u32, message
//	channel_update         short_channel_id, kind u8     version, message       kind: direction, or 2 for a private one
//	node_announcement      node_id                       version, message
type Row struct {
	Table      string
	Key, Value []byte
}

const (
	rowVersion  = 1
	kindPrivate = 2
)

func updateKey(scid lnwire.ShortChannelID, kind uint8) []byte {
	return append(appendSCID(nil, scid), kind)
}

func announcementRow(e *edge) Row {
	b := []byte{rowVersion}
	b = binary.BigEndian.AppendUint32(b, e.seen)
	b = binary.BigEndian.AppendUint32(b, e.spent)
	b = binary.BigEndian.AppendUint64(b, uint64(e.capacity))
	b = append(b, e.out.Hash[:]...)
	b = binary.BigEndian.AppendUint32(b, e.out.Index)
	return Row{TableAnnouncement, appendSCID(nil, e.announcement.SCID), append(b, e.announcement.body...)}
}

func updateRow(u *ChannelUpdate) Row {
	return Row{TableChannelUpdate, updateKey(u.SCID, uint8(u.Direction())), append([]byte{rowVersion}, u.body...)}
}

func privateRow(u *ChannelUpdate) Row {
	return Row{TableChannelUpdate, updateKey(u.SCID, kindPrivate), append([]byte{rowVersion}, u.body...)}
}

func nodeRow(n *NodeAnnouncement) Row {
	return Row{TableNodeAnnouncement, append([]byte(nil), n.Node[:]...), append([]byte{rowVersion}, n.body...)}
}

func deleteAnnouncement(scid lnwire.ShortChannelID) Row {
	return Row{Table: TableAnnouncement, Key: appendSCID(nil, scid)}
}

func deleteUpdate(scid lnwire.ShortChannelID, direction int) Row {
	return Row{Table: TableChannelUpdate, Key: updateKey(scid, uint8(direction))}
}

func deletePrivate(scid lnwire.ShortChannelID) Row {
	return Row{Table: TableChannelUpdate, Key: updateKey(scid, kindPrivate)}
}

func deleteNode(id NodeID) Row {
	return Row{Table: TableNodeAnnouncement, Key: append([]byte(nil), id[:]...)}
}

// Load takes a row stored before: all of channel_announcement first, then the other two tables. Signatures were checked
// before the row was written and are not checked again.
func (g *Graph) Load(r Row) error {
	if err := g.load(r); err != nil {
		return fmt.Errorf("row %x of %s: %w", r.Key, r.Table, err)
	}
	return nil
}

func (g *Graph) load(r Row) error {
	c := &cursor{rest: r.Value}
	if v := c.u8("version"); c.err == nil && v != rowVersion {
		return fmt.Errorf("version %d, known is %d", v, rowVersion)
	}
	switch r.Table {
	case TableAnnouncement:
		return g.loadAnnouncement(r, c)
	case TableChannelUpdate:
		return g.loadUpdate(r, c)
	case TableNodeAnnouncement:
		return g.loadNode(r, c)
	}
	return fmt.Errorf("not a table of the graph")
}

func (g *Graph) loadAnnouncement(r Row, c *cursor) (err error) {
	e := &edge{seen: c.u32("seen"), spent: c.u32("spent"), capacity: int64(c.u64("capacity"))}
	c.fixed("txid", e.out.Hash[:])
	e.out.Index = c.u32("output")
	if c.err != nil {
		return c.err
	}
	if e.announcement, err = parseChannelAnnouncement(c.rest); err != nil {
		return err
	}
	scid := e.announcement.SCID
	if string(r.Key) != string(appendSCID(nil, scid)) {
		return fmt.Errorf("the message is of %s", scid.AltString())
	}
	if g.channels[scid] != nil {
		return fmt.Errorf("loaded twice")
	}
	e.announcement.verified = true
	e.required = requiresUnknown(e.announcement.Features)
	g.insert(e)
	return nil
}

func (g *Graph) loadUpdate(r Row, c *cursor) error {
	if c.err != nil {
		return c.err
	}
	u, err := parseChannelUpdate(c.rest)
	if err != nil {
		return err
	}
	e := g.channels[u.SCID]
	switch string(r.Key) {
	case string(updateKey(u.SCID, kindPrivate)):
		g.stored[u.SCID] = u // verified when SetOwn says by whom it should be
	case string(updateKey(u.SCID, uint8(u.Direction()))):
		if e == nil {
			return fmt.Errorf("no channel_announcement")
		}
		u.verified = e.announcement.Nodes[u.Direction()]
		e.updates[u.Direction()], e.told = u, true
	default:
		return fmt.Errorf("the message is of %s, direction %d", u.SCID.AltString(), u.Direction())
	}
	return nil
}

func (g *Graph) loadNode(r Row, c *cursor) error {
	if c.err != nil {
		return c.err
	}
	m, err := parseNodeAnnouncement(c.rest)
	if err != nil {
		return err
	}
	n := g.nodes[m.Node]
	switch {
	case string(r.Key) != string(m.Node[:]):
		return fmt.Errorf("the message is of node %x", m.Node)
	case n == nil:
		return fmt.Errorf("the node has no channel")
	}
	m.verified = true
	n.announcement, n.required = m, requiresUnknown(m.Features)
	return nil
}
