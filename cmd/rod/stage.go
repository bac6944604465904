package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"lightningrod/channel"
	"lightningrod/node"
	"lightningrod/node/forward"
)

// options are what a performance may be told.
type options struct {
	seed uint64
	pace time.Duration
	dir  string    // where to keep the files; empty: nowhere
	log  io.Writer // for the nodes' logs; nil: none
}

// patience is how long the demo waits for any one thing.
const patience = 30 * time.Second

// price is what B asks for.
const price = 20_000_000 // msat

// stage is a world with its four actors, the payment that is being carried, and what was seen so far.
type stage struct {
	*world
	say  *narrator
	pace time.Duration
	at   int // the step of the protocol

	a, lspA, lspB, b *actor
	stranger         *actor // nil in most scenarios

	opening map[*actor]int // where the logs stood when everything was set up
	start   map[*actor]int // and when the present payment began
	invoice node.Invoice
	payment uint64
	parts   int
	pid     [32]byte // A's secret, which the demo knows to tell the right unblock from others
	before  map[*actor]uint64
	books   books
	samples int // looks at the downstream channels while LSP_a held, none of which found anything
	story   []check
	want    expectations
}

// expectations are where a scenario differs from a payment that succeeds and leaves nothing behind.
type expectations struct {
	refunded bool   // the payment comes back to A
	passed   bool   // LSP_a holds nothing: the release came first, or no hold was asked for
	armed    int    // requests of the stranger that are still armed at LSP_a
	letters  int    // messages that stay in LSP_b's mailbox
	amount   uint64 // msat that B gets, in all

	expecting int  // payments that B has answered to and that never come
	lost      bool // A never comes back: it knows nothing of what happened since it left
	punished  bool // LSP_a takes everything in its channel with A
}

// failure is a check that does not hold, as an error.
type failure struct{ check, detail string }

func (f *failure) Error() string { return f.check + ": " + f.detail }

// failing is an error as the check that it makes fail.
func failing(err error) check {
	var f *failure
	if errors.As(err, &f) {
		return check{f.check, false, f.detail}
	}
	return check{"no-error", false, err.Error()}
}

func fail(check, format string, args ...any) error {
	return &failure{check, fmt.Sprintf(format, args...)}
}

// tell narrates a step, and stops for the eye.
func (s *stage) tell(step int, who *actor, format string, args ...any) error {
	s.at = step
	s.say.step(step, who.name, fmt.Sprintf(format, args...))
	s.say.progress(step, s.actors)
	return s.pause()
}

// aside narrates what is no step.
func (s *stage) aside(who *actor, format string, args ...any) error {
	s.say.aside(who.name, fmt.Sprintf(format, args...))
	s.say.progress(s.at, s.actors)
	return s.pause()
}

func (s *stage) pause() error {
	select {
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-time.After(s.pace):
		return nil
	}
}

// saw records a check of the scenario's own that holds. The same check made again counts once.
func (s *stage) saw(name, format string, args ...any) {
	s.story = slices.DeleteFunc(s.story, func(c check) bool { return c.Name == name })
	s.story = append(s.story, check{name, true, fmt.Sprintf(format, args...)})
}

// begin opens a payment: events from before it do not count.
func (s *stage) begin() {
	s.start = map[*actor]int{}
	for _, a := range s.actors {
		s.start[a] = a.mark()
	}
}

// watch reads an actor's events since begin until f is content. If f does not get there, check fails; an error of f is final.
func (s *stage) watch(check, what string, a *actor, f func([]entry) (bool, error)) error {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	for {
		log, more := a.events(s.start[a])
		if ok, err := f(log); ok || err != nil {
			return err
		}
		select {
		case <-more:
		case <-ctx.Done():
			if s.ctx.Err() != nil {
				return s.ctx.Err()
			}
			return fail(check, "waited %s in vain for %s: %s", patience, a.name, what)
		}
	}
}

// expect waits for count events of a kind and gives them. The check it belongs to fails if they do not come.
func (s *stage) expect(check string, a *actor, count int, kind node.Kind, pairs ...string) (found []node.Event, err error) {
	what := fmt.Sprintf("%d %s", count, kind)
	err = s.watch(check, what, a, func(log []entry) (bool, error) {
		found = pick(log, kind, pairs...)
		return len(found) >= count, nil
	})
	return found, err
}

// pick are the events of a kind whose fields are as given, in alternating names and values.
func pick(log []entry, kind node.Kind, pairs ...string) (found []node.Event) {
next:
	for _, e := range log {
		if e.Kind != kind {
			continue
		}
		for i := 0; i+1 < len(pairs); i += 2 {
			if e.Fields[pairs[i]] != pairs[i+1] {
				continue next
			}
		}
		found = append(found, e.Event)
	}
	return found
}

// count is how many events of a kind an actor has had since begin.
func (s *stage) count(a *actor, kind node.Kind, pairs ...string) int {
	log, _ := a.events(s.start[a])
	return len(pick(log, kind, pairs...))
}

// until waits for what no event tells.
func (s *stage) until(check, what string, f func() bool) error {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	for !f() {
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			if s.ctx.Err() != nil {
				return s.ctx.Err()
			}
			return fail(check, "waited %s in vain until %s", patience, what)
		}
	}
	return nil
}

// called waits until an actor's phone was called with a method.
func (s *stage) called(a *actor, method string) error {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	_, err := s.pushes.rings(ctx, a.name, method)
	if err != nil && s.ctx.Err() == nil {
		return fail("woken", "waited %s in vain for %s's phone to get %s", patience, a.name, method)
	}
	return err
}

// clear waits until no HTLC is left in the channels of the actors that are awake.
func (s *stage) clear(actors ...*actor) error {
	for _, a := range actors {
		err := s.until("settled", a.name+" has no HTLC any more", func() bool { return a.liveHTLCs() == 0 })
		if err != nil {
			return err
		}
	}
	return nil
}

// lookDownstream shows that nothing of the payment has gone beyond LSP_a: not into its channel with LSP_b, not to LSP_b, not to B.
func (s *stage) lookDownstream() error {
	const check = "held-at-lsp-a"
	for _, c := range s.lspA.node.Channels() {
		if n := len(c.State.Offered()); n > 0 {
			return fail(check, "LSP_a has offered %d HTLCs while it should hold", n)
		}
	}
	for _, x := range []*actor{s.lspB, s.b} {
		if n := x.liveHTLCs(); n > 0 {
			return fail(check, "%s has %d HTLCs while LSP_a should hold", x.name, n)
		}
		if s.count(x, node.HTLCIn) > 0 {
			return fail(check, "%s was offered an HTLC while LSP_a should hold", x.name)
		}
	}
	if n := s.count(s.lspA, node.HTLCForwarded); n > 0 {
		return fail(check, "LSP_a has forwarded %d HTLCs while it should hold", n)
	}
	s.samples++
	return nil
}

// held is what an actor holds, in msat.
func (a *actor) held() (sum uint64) {
	if !a.awake {
		return 0
	}
	for _, h := range a.node.HTLCs() {
		if h.State == "held" {
			sum += uint64(h.Amount)
		}
	}
	return sum
}

// heldParts are the HTLCs that LSP_a holds of the payment.
func (s *stage) heldParts() (held []forward.Live) {
	for _, h := range s.lspA.node.HTLCs() {
		if h.State == "held" && h.Hash == s.invoice.Hash {
			held = append(held, h)
		}
	}
	return held
}

// hash is the payment hash as events write it.
func (s *stage) hash() string { return hex.EncodeToString(s.invoice.Hash[:]) }

// number reads a number in an event's field.
func number(ev node.Event, field string) uint64 {
	v, err := strconv.ParseUint(ev.Fields[field], 10, 64)
	if err != nil {
		panic(fmt.Sprintf("event %s: field %s is %q", ev.Kind, field, ev.Fields[field]))
	}
	return v
}

// onChain says whether a channel has left the normal phase.
func onChain(c node.ChannelInfo) bool { return c.State.Phase() != channel.PhaseNormal }
