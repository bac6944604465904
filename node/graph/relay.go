package graph

import (
	"cmp"
	"slices"
)

// Relay is a message for those peers that want it. See Sync.Wants.
type Relay struct {
	Message
	Timestamp uint32 // of a channel_announcement: that of the first update (BOLT 7 "gossip_timestamp_filter")
	From      NodeID // not to be sent back to
	Own       bool   // made here: filters don't apply
}

// Broadcast collects what is to be passed on until the next flush; BOLT 7 "Rebroadcasting" wants one every 60 seconds. Of
// messages that replace each other the last one remains. The zero value is ready.
type Broadcast struct{ held map[string]Relay }

// Add takes over relays.
func (b *Broadcast) Add(relays ...Relay) {
	if b.held == nil {
		b.held = map[string]Relay{}
	}
	for _, r := range relays {
		b.held[r.key()] = r
	}
}

// Flush gives out what was collected: announcements of channels, then updates, then announcements of nodes, since the
// later ones are of no use without the earlier ones.
func (b *Broadcast) Flush() []Relay {
	out := make([]Relay, 0, len(b.held))
	for _, r := range b.held {
		out = append(out, r)
	}
	b.held = nil
	slices.SortFunc(out, func(x, y Relay) int { return cmp.Compare(x.key(), y.key()) })
	return out
}

// key names what a message speaks of. Keys sort in the order of sending.
func (r Relay) key() string {
	switch r.Type {
	case TypeChannelAnnouncement:
		a, err := parseChannelAnnouncement(r.Body)
		if err == nil {
			return "1" + string(appendSCID(nil, a.SCID))
		}
	case TypeChannelUpdate:
		u, err := parseChannelUpdate(r.Body)
		if err == nil {
			return "2" + string(updateKey(u.SCID, uint8(u.Direction())))
		}
	case TypeNodeAnnouncement:
		n, err := parseNodeAnnouncement(r.Body)
		if err == nil {
			return "3" + string(n.Node[:])
		}
	}
	return "4" + string(r.Body)
}
