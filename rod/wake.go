package rod

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
)

// Methods of webhook notifications.
const (
	MethodOnionMessage  = "lsps5.onion_message_incoming"
	MethodPayment       = "lsps5.payment_incoming"
	MethodExpirySoon    = "lsps5.expiry_soon"
	MethodPreimageReady = "rod.preimage_ready"
	MethodHoldFailed    = "rod.hold_failed"
)

// cooldowns: per method, seconds from one wake to the next, doubling from first up to most, as long as the client stays away.
// bLIP 55 "Rate-limiting Notifications By method": of the order of minutes, reset when the client comes online and leaves again.
var cooldowns = map[string]struct{ first, most int64 }{
	MethodOnionMessage:  {300, 86400},
	MethodPayment:       {60, 3600},
	MethodPreimageReady: {60, 3600}, // money is at stake
	MethodHoldFailed:    {300, 86400},
}

// nearBlocks are the distances from the claim height at which a client is woken whatever its cool-down says.
var nearBlocks = []uint32{72, 48, 24, 12, 6, 5, 4, 3, 2, 1}

const (
	expirySoonBlocks = 24 // bLIP 55: lsps5.expiry_soon is for the last 24 blocks
	nearPause        = 60 // seconds between any two wakes for one reason
)

// Waker decides when a client that is away is woken. It knows reasons, not devices: what it emits is for all devices of the client.
// A reason is a level: it is wanted until it is not, and while the client is away it leads to a wake now and then.
// Waker is memory only; the reasons come back after a restart from the rows that made them.
type Waker struct {
	now     int64
	height  uint32
	clients map[NodeID]*client
}

type client struct {
	up      bool
	reasons map[string]*reason
}

type reason struct {
	wanted bool
	params string
	claim  uint32 // height at which we go on chain for it; 0: never
	woken  int    // wakes since the client was last seen
	last   int64  // of the last wake
	next   int64  // no wake before this
}

// NewWaker makes a Waker with all clients away.
func NewWaker() *Waker { return &Waker{clients: map[NodeID]*client{}} }

// Want sets or clears a reason to wake peer. Claim, if not 0, is the height at which it becomes too late.
func (w *Waker) Want(peer NodeID, method, params string, claim uint32, wanted bool) []Wake {
	c := w.clients[peer]
	if c == nil {
		if !wanted {
			return nil
		}
		c = &client{reasons: map[string]*reason{}}
		w.clients[peer] = c
	}
	r := c.reasons[method]
	if r == nil {
		if !wanted {
			return nil
		}
		r = &reason{}
		c.reasons[method] = r
	}
	r.wanted, r.params, r.claim = wanted, params, claim
	if wanted && !c.up && w.now >= r.next {
		return []Wake{w.emit(peer, method, r)}
	}
	return nil
}

// Up says that peer connected: all cool-downs start afresh.
func (w *Waker) Up(peer NodeID) {
	c := w.clients[peer]
	if c == nil {
		c = &client{reasons: map[string]*reason{}}
		w.clients[peer] = c
	}
	c.up = true
	for _, r := range c.reasons {
		r.woken, r.last, r.next = 0, 0, 0
	}
}

// Down says that peer left. What it left undone waits one cool-down: a client that just slept must not be woken at once for what it saw.
func (w *Waker) Down(peer NodeID) {
	c := w.clients[peer]
	if c == nil {
		return
	}
	c.up = false
	for method, r := range c.reasons {
		if r.wanted {
			r.next = w.now + cooldowns[method].first
		}
	}
	w.forget(peer, c)
}

// Tick is the time, in unix seconds.
func (w *Waker) Tick(now int64) []Wake {
	if now < w.now {
		return nil
	}
	if w.now == 0 {
		// We just started: clients have not lost their connection for long, and come back by themselves.
		for _, c := range w.clients {
			for method, r := range c.reasons {
				r.woken, r.next = 0, now+cooldowns[method].first
			}
		}
	}
	w.now = now
	return w.each(func(method string, r *reason) bool { return now >= r.next })
}

// Block is the height.
func (w *Waker) Block(height uint32) []Wake {
	before := w.height
	w.height = height
	return w.each(func(method string, r *reason) bool {
		return r.claim != 0 && w.now >= r.last+nearPause && slices.ContainsFunc(nearBlocks, func(n uint32) bool {
			return r.claim > n && before < r.claim-n && r.claim-n <= height
		})
	})
}

// each wakes for every reason that is wanted by a client that is away and is due.
func (w *Waker) each(due func(string, *reason) bool) []Wake {
	type item struct {
		peer   NodeID
		method string
		r      *reason
	}
	var items []item
	for peer, c := range w.clients {
		for method, r := range c.reasons {
			if r.wanted && !c.up && due(method, r) {
				items = append(items, item{peer, method, r})
			}
		}
		w.forget(peer, c)
	}
	slices.SortFunc(items, func(a, b item) int {
		return cmp.Or(compareNodes(a.peer, b.peer), cmp.Compare(a.method, b.method))
	})
	var out []Wake
	for _, i := range items {
		out = append(out, w.emit(i.peer, i.method, i.r))
	}
	return out
}

// forget drops what says nothing any more.
func (w *Waker) forget(peer NodeID, c *client) {
	for method, r := range c.reasons {
		if !r.wanted && w.now >= r.next {
			delete(c.reasons, method)
		}
	}
	if !c.up && len(c.reasons) == 0 {
		delete(w.clients, peer)
	}
}

func (w *Waker) emit(peer NodeID, method string, r *reason) Wake {
	pause := cooldowns[method]
	r.last, r.next = w.now, w.now+min(pause.first<<min(r.woken, 20), pause.most)
	r.woken++
	if ExpiresSoon(r.claim, w.height) {
		method = MethodExpirySoon // the one that every delivery service knows
	}
	h := sha256.New()
	h.Write(peer[:])
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(w.now)))
	h.Write([]byte(method + r.params))
	return Wake{[16]byte(h.Sum(nil)), peer, method, r.params}
}

// ExpiresSoon says whether a claim height is so near that lsps5.expiry_soon is the method to wake by. 0 never is.
func ExpiresSoon(claim, height uint32) bool { return claim != 0 && height+expirySoonBlocks >= claim }

func compareNodes(a, b NodeID) int { return bytes.Compare(a[:], b[:]) }

// setWakes derives the reasons to wake a payer from its members: preimages to fetch, failures to hear of.
func (t *Table) setWakes(peer NodeID) []Wake {
	var preimages, failures bool
	var claim uint32
	for _, r := range t.byPeer[peer] {
		for _, m := range r.members {
			switch {
			case m.void:
			case m.stage == memberFulfilled:
				if c := claimHeight(m.expiry, t.cfg.ClaimMargin); !preimages || c < claim {
					claim = c
				}
				preimages = true
			case m.stage == memberFailed || !r.live():
				failures = true
			}
		}
	}
	params := "{}"
	if preimages {
		params = fmt.Sprintf(`{"timeout":%d}`, claim)
	}
	return append(t.wake.Want(peer, MethodPreimageReady, params, claim, preimages),
		t.wake.Want(peer, MethodHoldFailed, "{}", 0, failures)...)
}
