package graph

import (
	"slices"

	"github.com/lightningnetwork/lnd/lnwire"
)

// OwnChannel is a channel of this node, public or not.
type OwnChannel struct {
	ID    uint64 // the number of the channel
	Peer  NodeID
	SCIDs []lnwire.ShortChannelID // by which the peer may name it in its channel_update: the real one, and the alias we gave
}

// own keeps what the peer asks for forwarding to us, for the route hints of our invoices.
type own struct {
	OwnChannel
	peer   NodeID
	update *ChannelUpdate // the newest private one
}

// SetOwn names a channel of this node, or its new short channel ids.
func (g *Graph) SetOwn(c OwnChannel) {
	o := g.own[c.ID]
	if o == nil {
		o = &own{}
		g.own[c.ID] = o
	}
	for _, scid := range o.SCIDs {
		delete(g.ownSCID, scid)
	}
	o.OwnChannel, o.peer = c, c.Peer
	o.SCIDs = slices.Clone(c.SCIDs)
	for _, scid := range o.SCIDs {
		g.ownSCID[scid] = o
		if u := g.stored[scid]; u != nil {
			delete(g.stored, scid)
			if _, err := g.privateUpdate(o, u); err != nil {
				continue // the row is of another channel that had this alias; the next update replaces it
			}
		}
	}
}

// ForgetOwn forgets a channel of this node. If it is public, Spent and Block do the rest.
func (g *Graph) ForgetOwn(id uint64) (rows []Row) {
	o := g.own[id]
	if o == nil {
		return nil
	}
	delete(g.own, id)
	for _, scid := range o.SCIDs {
		delete(g.ownSCID, scid)
	}
	if o.update != nil {
		rows = append(rows, deletePrivate(o.update.SCID))
	}
	return rows
}

// privateUpdate takes the peer's update of a channel with us. BOLT 7 "The channel_update Message": updates of own channels
// are accepted even if they are not public, to learn the peer's terms; they are never passed on.
func (g *Graph) privateUpdate(o *own, u *ChannelUpdate) (Output, error) {
	direction := 0
	if less(g.cfg.Self, o.peer) {
		direction = 1
	}
	if u.Direction() != direction {
		return ignored("%s: our own update", u.SCID.AltString()), nil
	}
	if o.update != nil && u.Timestamp <= o.update.Timestamp {
		return ignored("%s: timestamp %d not above %d", u.SCID.AltString(), u.Timestamp, o.update.Timestamp), nil
	}
	if err := u.VerifyBy(o.peer); err != nil {
		return Output{}, err
	}
	var out Output
	if o.update != nil && o.update.SCID != u.SCID {
		out.Rows = append(out.Rows, deletePrivate(o.update.SCID))
	}
	o.update = u
	out.Rows = append(out.Rows, privateRow(u))
	return out, nil
}

// PeerPolicy is what the peer of an own channel asks for forwarding to us: the newest of its private and public updates.
func (g *Graph) PeerPolicy(id uint64) (Policy, bool) {
	o := g.own[id]
	if o == nil {
		return Policy{}, false
	}
	newest := o.update
	for _, scid := range o.SCIDs {
		e := g.channels[scid]
		if e == nil {
			continue
		}
		for d, u := range e.updates {
			if u != nil && e.announcement.Nodes[d] == o.peer && (newest == nil || u.Timestamp > newest.Timestamp) {
				newest = u
			}
		}
	}
	if newest == nil {
		return Policy{}, false
	}
	return newest.Policy, true
}
