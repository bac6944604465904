package forward

import (
	"slices"

	"lightningrod/channel"
)

// choose looks for a channel with the next node that can carry the HTLC now: the one the onion names if it can,
// else the one with the most room. BOLT 4 "Non-strict Forwarding" permits any.
//
// Without one, a hold that was released waits for as long as its deadline lets it. An ordinary HTLC waits only for a
// peer that is away, and only for a while: one that can be woken, or any peer just after our own start. Nothing waits
// whose own channel is shutting down.
func choose(q *question) answer {
	f := q.f
	if f.stale {
		return q.wait(0)
	}
	if f.congested && q.judged.Deadline == 0 {
		return refusal{temporaryChannelFailure(q.policy)}
	}
	room := q.survey()
	if q.out = room.best; q.out != nil {
		return nil
	}
	switch {
	case q.judged.Deadline != 0: // a released hold
		return q.wait(0)
	case room.alive == 0:
		return refusal{permanentChannelFailure()}
	case room.usable == 0 && len(q.peer.waiting) >= f.cfg.WaitPerPeer:
		return refusal{temporaryChannelFailure(q.policy)}
	case room.usable == 0 && q.in.until > f.now:
		return q.wait(q.in.until)
	case room.usable == 0 && q.in.until == 0 && q.peer.device:
		return q.wait(f.now + f.cfg.WakeWait)
	case room.usable == 0 && q.in.until == 0 && room.awaited > 0 && f.now < f.fresh:
		return q.wait(f.fresh)
	case room.usable > 0 && room.tooSmall == room.usable:
		return refusal{amountBelowMinimum(q.in.hop.Amount, q.policy)}
	}
	return refusal{temporaryChannelFailure(q.policy)}
}

func (q *question) wait(until int64) answer {
	if c := q.f.channels[q.in.htlc.Key.Channel]; c != nil && c.Shutdown {
		return refusal{temporaryNodeFailure()}
	}
	return waits{until}
}

// room is what survey finds: how many of the channels with a peer are alive, not yet back since our start, usable, and usable but for
// larger HTLCs only.
type room struct {
	alive, awaited, usable, tooSmall int
	best                             *channelState
}

func (q *question) survey() room {
	var r room
	amount := q.in.hop.Amount
	for _, id := range q.peer.channels {
		c := q.f.channels[id]
		if c.OnChain {
			continue
		}
		r.alive++
		if !c.usable {
			if c.awaited {
				r.awaited++
			}
			continue
		}
		r.usable++
		switch {
		case amount < c.out.Min:
			r.tooSmall++
		case amount > c.out.Max, c.out.Slots == 0, c.Policy.Disabled, slices.Contains(q.in.tried, id):
		case r.best == nil, c == q.named, r.best != q.named && c.out.Max > r.best.out.Max:
			r.best = c
		}
	}
	return r
}

// backBlocks is how many blocks before the incoming HTLC expires the outgoing one should have been taken back on chain: six
// for the failure to be final, and some to tell the one who offered it before it goes on chain itself.
const backBlocks = 12

// add makes the HTLC to offer. BOLT 2 "Adding an HTLC": of the TLVs only path_key is for the next node.
func add(q *question) answer {
	in := q.in
	htlc := channel.HTLC{
		Amount:  in.hop.Amount,
		Hash:    in.htlc.Hash,
		Expiry:  in.hop.Cltv,
		Onion:   in.hop.Next,
		PathKey: in.hop.NextPathKey,
		Origin:  channel.Forward{In: in.htlc.Key},
		Back:    max(in.hop.Cltv, in.htlc.Expiry-min(in.htlc.Expiry, backBlocks)),
	}
	if len(htlc.PathKey) > 0 {
		htlc.TLVs = append([]byte{pathKeyType, byte(len(htlc.PathKey))}, htlc.PathKey...)
	}
	htlc.Key.Channel = q.out.ID
	return offers{htlc}
}

// pathKeyType is path_key in the TLV stream of update_add_htlc.
const pathKeyType = 0
