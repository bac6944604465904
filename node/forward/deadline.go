package forward

import (
	"cmp"
	"slices"

	"lightningrod/channel"
)

// alarm is a moment (a block height, or unix seconds) at which something pending is due. Alarms are never
// withdrawn: one that goes off looks whether it still means anything.
type alarm[T cmp.Ordered, K any] struct {
	at   T
	what K
}

// alarms is a binary heap, earliest first.
type alarms[T cmp.Ordered, K any] []alarm[T, K]

func (a *alarms[T, K]) set(at T, what K) {
	h := append(*a, alarm[T, K]{at, what})
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if h[up].at <= h[i].at {
			break
		}
		h[up], h[i] = h[i], h[up]
		i = up
	}
	*a = h
}

// due removes and returns what has at <= now, in no particular order.
func (a *alarms[T, K]) due(now T) []K {
	var out []K
	h := *a
	for len(h) > 0 && h[0].at <= now {
		out = append(out, h[0].what)
		last := len(h) - 1
		h[0], h[last] = h[last], alarm[T, K]{}
		h = h[:last]
		for i := 0; ; {
			least, l, r := i, 2*i+1, 2*i+2
			if l < len(h) && h[l].at < h[least].at {
				least = l
			}
			if r < len(h) && h[r].at < h[least].at {
				least = r
			}
			if least == i {
				break
			}
			h[i], h[least] = h[least], h[i]
			i = least
		}
	}
	*a = h
	return out
}

// limit is the height at which an incoming HTLC must be given up if it is still pending. For one that is for us,
// when too little time is left to claim it. For a forward, the earliest of
//
//   - BOLT 2 "Forwarding HTLCs": once cltv_expiry minus the height is less than cltv_expiry_delta; one block earlier;
//   - when the outgoing cltv_expiry leaves the next node no time;
//   - the release deadline of its hold, if there is one (0: none).
func (f *Forwarder) limit(q *question, release uint32) uint32 {
	if q.in.hop.Final {
		return below(q.in.htlc.Expiry, f.cfg.FinalMargin)
	}
	at := min(
		below(q.in.htlc.Expiry, uint32(q.policy.CltvExpiryDelta)),
		below(q.in.hop.Cltv, f.cfg.OutgoingMargin),
	)
	if release != 0 {
		at = min(at, release)
	}
	return at
}

// below is h - by, but not less than 0.
func below(h, by uint32) uint32 {
	if h < by {
		return 0
	}
	return h - by
}

func compareKeys(a, b channel.Key) int {
	return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.HTLC, b.HTLC))
}

// sortKeys puts keys into the order in which everything that concerns many HTLCs treats them, so that equal
// events give equal outputs.
func sortKeys(keys []channel.Key) []channel.Key {
	slices.SortFunc(keys, compareKeys)
	return slices.Compact(keys)
}
