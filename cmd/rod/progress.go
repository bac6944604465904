package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"lightningrod/cmd/internal/api"
	"lightningrod/cmd/rod/internal/facts"
)

// lookAgain is how often until looks when there is no news.
const lookAgain = 500 * time.Millisecond

// newest is the number of the node's newest event: until hears of those after it.
func (s *session) newest() (api.Number, error) {
	var info api.Info
	err := s.call("GET", "/node", nil, &info, "")
	return info.LastEvent, err
}

// until looks at the start and again with the node's news, until look is content, an error, or the end of ctx. hear gets every
// event from a number on; both are called by one goroutine.
func (s *session) until(ctx context.Context, after api.Number, look func() (bool, error), hear func(api.Event)) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	news, ended := make(chan api.Event, 256), make(chan error, 1)
	go func() {
		ended <- client.Follow(ctx, after, func(ev api.Event) error {
			select {
			case news <- ev:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		close(news)
	}()
	heard := news // nil when there is no more
	defer func() {
		stop()
		for range news { // until the reader has ended
		}
	}()
	clock := time.NewTicker(lookAgain)
	defer clock.Stop()
	for {
		if enough, err := look(); enough || err != nil {
			return err
		}
		select {
		case <-clock.C:
		case ev, ok := <-heard:
			if !ok {
				heard = nil
			}
			for ; ok; ev, ok = next(heard) {
				hear(ev)
			}
		case err := <-ended:
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return statusError{exitUnreachable, fmt.Errorf("the node ended while we waited: %w", cmp.Or(err, errEnded))}
		}
	}
}

var errEnded = errors.New("no more news")

// next is an event that is there already.
func next(news <-chan api.Event) (ev api.Event, ok bool) {
	select {
	case ev, ok = <-news:
	default:
	}
	return ev, ok
}

// teller says how something goes on, on the standard error, and nothing twice.
func (s *session) teller() (tell func(format string, args ...any)) {
	said := map[string]bool{}
	return func(format string, args ...any) {
		if line := facts.Printable(fmt.Sprintf(format, args...)); !said[line] {
			said[line] = true
			fmt.Fprintln(s.stderr, line)
		}
	}
}

// channel looks a channel up that may be gone.
func (s *session) channel(id api.Number) (c api.Channel, there bool, err error) {
	err = s.call("GET", "/channels/"+id.String(), nil, &c, "")
	var e *api.Error
	if errors.As(err, &e) && e.Code == api.NotFound {
		return c, false, nil
	}
	return c, err == nil, err
}

// untilClosed waits until a channel is over, and tells what its outputs wait for.
func (s *session) untilClosed(id, after api.Number) error {
	tell := s.teller()
	look := func() (bool, error) {
		c, there, err := s.channel(id)
		switch {
		case err != nil:
			return false, err
		case !there:
			tell("channel %s is closed", id)
			return true, nil
		case len(c.Pending) == 0:
			tell("channel %s: %s", id, c.Phase)
		}
		for _, p := range c.Pending {
			line := fmt.Sprintf("channel %s: %s of %d sat: %s", id, p.What, p.Amount, p.State)
			if p.Height != 0 {
				line += fmt.Sprintf(", block %d", p.Height)
			}
			tell("%s", line)
		}
		return false, nil
	}
	return s.until(s.ctx, after, look, func(api.Event) {})
}

// untilUsable waits for the confirmations of a channel that is being opened, and tells of them.
func (s *session) untilUsable(id, after api.Number) error {
	tell := s.teller()
	blocks := 0
	look := func() (bool, error) {
		c, there, err := s.channel(id)
		switch {
		case err != nil:
			return false, err
		case !there:
			return false, statusError{exitFailed, fmt.Errorf("channel %s is gone: it was not opened", id)}
		case c.Usable:
			tell("channel %s can be used", id)
			return true, nil
		}
		if blocks > 0 {
			tell("channel %s: %s, %d blocks seen meanwhile", id, c.Phase, blocks)
		} else {
			tell("channel %s: %s, waits for its confirmations", id, c.Phase)
		}
		return false, nil
	}
	return s.until(s.ctx, after, look, func(ev api.Event) {
		switch {
		case ev.Kind == "block":
			blocks++
		case ev.Kind == "channel.failed" && ev.Fields["channel"] == id.String():
			tell("channel %s: %s", id, ev.Fields["reason"])
		}
	})
}

type sendPayment struct {
	Invoice string         `arg:"" help:"A BOLT 11 invoice."`
	Amount  amount         `help:"For an invoice without an amount, as in 21sat."`
	Parts   int            `default:"1" help:"In how many parts at most."`
	Wait    *time.Duration `placeholder:"TIME" help:"How long to wait for the outcome, as in 10s. 1m if not given; with --async it is not waited for."`
	Async   bool           `help:"The payee may be asleep: have an LSP hold the payment. The command returns at once and the node may then go offline."`
	LSP     string         `name:"lsp" placeholder:"ID" help:"With --async: the LSP that holds; if not given, the only peer with a channel."`
	Hold    uint32         `placeholder:"BLOCKS" help:"With --async: how long it may be held; 432 if not given."`
	ByHTLC  bool           `name:"by-htlc" help:"With --async: the HTLCs themselves ask to be held, instead of a message before them."`
	Key     string         `placeholder:"KEY" help:"Idempotency key: with the same key it is paid once."`
}

// Run starts the payment, tells on a terminal how it goes, and shows how it ended.
func (c *sendPayment) Run(s *session) error {
	wait := time.Minute
	if c.Async {
		wait = 0
	}
	if c.Wait != nil {
		wait = *c.Wait
	}
	switch {
	case wait < 0:
		return wrong("--wait %s is below 0", wait)
	case !c.Async && (c.LSP != "" || c.Hold != 0 || c.ByHTLC):
		return wrong("--lsp, --hold and --by-htlc are for --async")
	}
	after, err := s.newest()
	if err != nil {
		return err
	}
	p, err := c.start(s)
	if err != nil {
		return err
	}
	if wait > 0 {
		return s.untilOver(p, after, wait)
	}
	return s.outcome(p, "", false)
}

func (c *sendPayment) start(s *session) (p api.Payment, err error) {
	if !c.Async {
		err = s.call("POST", "/payments", api.Pay{Invoice: c.Invoice, Amount: uint64(c.Amount), Parts: c.Parts}, &p, c.Key)
		return p, err
	}
	if c.LSP == "" {
		if c.LSP, err = s.onlyPeer(); err != nil {
			return p, err
		}
	}
	in := api.SendAsync{Invoice: c.Invoice, Amount: uint64(c.Amount), LSP: c.LSP, Parts: c.Parts, Hold: c.Hold, ByHTLC: c.ByHTLC}
	err = s.call("POST", "/payments/async", in, &p, c.Key)
	return p, err
}

// onlyPeer is the peer all our usable channels are with.
func (s *session) onlyPeer() (string, error) {
	var l api.List[api.Channel]
	if err := s.call("GET", "/channels?limit=1000", nil, &l, ""); err != nil {
		return "", err
	}
	var peers []string
	for _, ch := range l.Items {
		if ch.Usable && !slices.Contains(peers, ch.Peer) {
			peers = append(peers, ch.Peer)
		}
	}
	if len(peers) != 1 {
		return "", wrong("usable channels with %d peers: name the LSP with --lsp", len(peers))
	}
	return peers[0], nil
}

// reasonPatience is how long the event with the reason of a failure is waited for, if the payment itself tells none. One of before has none any more.
const reasonPatience = time.Second

// untilOver waits for the outcome of a payment and shows it.
func (s *session) untilOver(p api.Payment, after api.Number, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(s.ctx, wait)
	defer cancel()
	id, reason := p.ID.String(), ""
	var failed time.Time
	look := func() (bool, error) {
		var now api.Payment
		err := s.call("GET", "/payments/"+id, nil, &now, "")
		var e *api.Error
		switch {
		case errors.As(err, &e) && e.Code == api.NotFound: // a Rod payment whose hold is not granted yet
			if reason != "" {
				p.State = "failed"
			}
		case err != nil:
			return false, err
		default:
			p = now
		}
		if p.State == "failed" && failed.IsZero() {
			failed = time.Now()
		}
		told := p.Failure != nil || reason != "" || time.Since(failed) > reasonPatience
		return p.State == "succeeded" || p.State == "failed" && told, nil
	}
	err := s.until(ctx, after, look, func(ev api.Event) {
		if ev.Fields["payment"] != id {
			return
		}
		if ev.Kind == "payment.failed" {
			reason = ev.Fields["reason"]
		}
		if isTerminal(s.stderr) {
			fmt.Fprintln(s.stderr, attempt(ev))
		}
	})
	switch {
	case s.ctx.Err() != nil:
		return s.ctx.Err()
	case err != nil && !errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return s.outcome(p, reason, true)
}

// attempt is a payment's event for people.
func attempt(ev api.Event) string {
	words := map[string]string{
		"rod.acked": "the LSP grants the hold", "rod.status": "the LSP says", "payment.part_failed": "an attempt failed", "payment.done": "paid",
		"payment.failed": "failed",
	}
	text, ok := words[ev.Kind]
	if !ok {
		text = ev.Kind
	}
	for _, name := range []string{"part", "state", "release_deadline", "reason"} {
		if v := ev.Fields[name]; v != "" {
			text += ", " + strings.ReplaceAll(name, "_", " ") + " " + v
		}
	}
	return facts.Printable("payment " + ev.Fields["payment"] + ": " + text)
}

// outcome shows a payment, and has the exit status that goes with it. The reason is what its event said; what a hop said tells more.
func (s *session) outcome(p api.Payment, reason string, waited bool) error {
	if f := p.Failure; f != nil {
		reason = f.Reason
		if f.Hop != nil {
			reason = fmt.Sprintf("hop %d: %s", *f.Hop, reason)
		}
	}
	f, err := factsOf(p)
	if err == nil {
		err = s.show(f)
	}
	switch {
	case err != nil:
		return err
	case p.State == "failed" && reason != "":
		return statusError{exitFailed, errors.New("the payment failed: " + facts.Printable(reason))}
	case p.State == "failed":
		return statusError{exitFailed, errors.New("the payment failed")}
	case p.State == "pending" && waited:
		return statusError{exitPending, errors.New("the payment is still on its way")}
	}
	return nil
}

type followEvents struct {
	After api.Number `help:"Begin after the event of this number; if not given: with the oldest."`
	New   bool       `help:"Begin with what happens from now on."`
}

// Run shows events until it is interrupted or the node ends.
func (c *followEvents) Run(s *session) error {
	if c.New && c.After != 0 {
		return wrong("--new and --after: one of them")
	}
	after := c.After
	if c.New {
		var err error
		if after, err = s.newest(); err != nil {
			return err
		}
	}
	client, err := s.client()
	if err != nil {
		return err
	}
	err = client.Follow(s.ctx, after, s.event)
	switch {
	case s.ctx.Err() != nil:
		return nil // this is how it ends
	case err == nil:
		return statusError{exitUnreachable, errors.New("the node ended")}
	}
	return s.explain(err)
}

// event shows one on a line of its own.
func (s *session) event(ev api.Event) error {
	if !s.plain() {
		return s.line(ev)
	}
	line := fmt.Sprintf("%6d  %s  %-20s", ev.Seq, ev.At, ev.Kind)
	for _, name := range slices.Sorted(maps.Keys(ev.Fields)) {
		line += " " + name + "=" + ev.Fields[name]
	}
	_, err := fmt.Fprintln(s.stdout, facts.Printable(line))
	return err
}

type listEvents struct {
	After api.Number `help:"Those after the event of this number; if not given: from the oldest on."`
	Limit int        `default:"100" help:"How many at most, 1 to 1000."`
	Last  bool       `help:"The newest of all, instead of the oldest."`
}

// Run shows the events there are.
func (c *listEvents) Run(s *session) error {
	if c.Limit < 1 || c.Limit > 1000 {
		return wrong("--limit %d outside 1..1000", c.Limit)
	}
	if c.Last {
		newest, err := s.newest()
		switch {
		case err != nil:
			return err
		case c.After != 0:
			return wrong("--last and --after: one of them")
		}
		c.After = newest - min(newest, api.Number(c.Limit))
	}
	var l api.List[api.Event]
	ask := func() error {
		return s.call("GET", fmt.Sprintf("/events?after=%s&limit=%d", c.After, c.Limit), nil, &l, "")
	}
	err := ask()
	var e *api.Error
	if errors.As(err, &e) && e.Code == api.Gone && c.Last { // fewer are kept
		c.After = e.Oldest - 1
		err = ask()
	}
	if err != nil {
		return err
	}
	if !s.plain() {
		return s.encode(l)
	}
	for _, ev := range l.Items {
		if err := s.event(ev); err != nil {
			return err
		}
	}
	return nil
}

// buildFacts are the version and what it was built of.
func buildFacts() facts.Facts {
	f := facts.Facts{{Name: "version", Value: "unknown"}}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return f
	}
	f[0].Value = info.Main.Version
	f.Add("go", info.GoVersion)
	for _, set := range info.Settings {
		if name, ok := strings.CutPrefix(set.Key, "vcs."); ok {
			f.Add(name, set.Value)
		}
	}
	return f
}
