package api

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// counters follow the node's events, and the requests of the API.
type counters struct {
	all []prometheus.Collector

	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec

	forwards, holdRequests, outcomes, unblocks, onions, dropped, wakes, closes, locked, broken *prometheus.CounterVec
	fees, earned, violations, paid                                                             prometheus.Counter

	duration, blocks, latency *prometheus.HistogramVec
	wakeToConnect             prometheus.Histogram

	// Of the goroutine that follows the events, but for mu's.
	node    Control
	height  uint32
	held    map[string]hold      // HTLCs that were held and are not settled, by channel and id
	sent    map[string]float64   // the fee of those that were sent on
	onChain map[string]bool      // channels
	woken   map[string]time.Time // clients that were called and have not come, since the first call

	mu                   sync.Mutex
	throttled, malformed uint64 // as they were counted last
}

// hold is what was seen of a held HTLC. Of one that was held before the start it is not known since when.
type hold struct {
	since   time.Time
	height  uint32
	tooLate bool // it was given up at its deadline
}

func newCounters(node Control) *counters {
	c := &counters{node: node, height: node.Info().Height, held: map[string]hold{}, sent: map[string]float64{}, onChain: map[string]bool{}, woken: map[string]time.Time{}}
	for _, h := range node.HTLCs() {
		if h.State == "held" {
			c.held[h.Channel.String()+":"+Number(h.ID).String()] = hold{}
		}
	}
	c.requests = c.vec("rod_api_requests_total", "Requests of the API.", "route", "status")
	c.seconds = c.histogram("rod_api_request_seconds", "Time from a request to its answer.", prometheus.ExponentialBuckets(0.001, 4, 8), "route")
	c.forwards = c.vec("rod_forwards_total", "HTLCs that were sent on, and how incoming ones ended.", "result")
	c.fees = c.one("rod_fees_offered_msat_total", "Fees of HTLCs that were sent on, whether they were fulfilled or not.")
	c.earned = c.one("rod_fees_earned_msat_total", "Fees of HTLCs that were sent on and fulfilled.")
	c.paid = c.one("rod_wallet_fees_sat_total", "Fees of withdrawals; of one that was replaced, those of the last.")
	c.holdRequests = c.vec("rod_hold_requests_total", "Requests to hold. Each is armed or refused; of those that were armed, some expire or are withdrawn.", "result", "reason")
	c.outcomes = c.vec("rod_hold_outcomes_total", "How HTLCs that were held ended.", "outcome", "dialect")
	c.duration = c.histogram("rod_hold_duration_seconds", "Time from holding an HTLC to its end.", prometheus.ExponentialBuckets(1, 4, 11), "outcome")
	c.blocks = c.histogram("rod_hold_duration_blocks", "Blocks from holding an HTLC to its end.", []float64{0, 1, 3, 6, 12, 36, 72, 144, 288, 432, 576, 1008}, "outcome")
	c.unblocks = c.vec("rod_unblocks_total", "Unblock secrets that arrived.", "result")
	c.onions = c.vec("rod_onion_messages_total", "Onion messages, by what became of them.", "result")
	c.dropped = c.vec("rod_mailbox_dropped_total", "Onion messages for clients that were not kept, or not to the end.", "reason")
	c.wakes = c.vec("rod_notifications_total", "Notifications to clients that are away: those that were sent, and the last answers to those that are done.", "method", "result")
	c.latency = c.histogram("rod_notification_latency_seconds", "Time from a notification to its delivery.", prometheus.ExponentialBuckets(0.05, 4, 9), "method")
	c.wakeToConnect = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "rod_wake_to_connect_seconds",
		Help: "Time from the first call of a client that is away until it connects.", Buckets: prometheus.ExponentialBuckets(0.5, 4, 10)})
	c.all = append(c.all, c.wakeToConnect)
	c.closes = c.vec("rod_force_closes_total", "Channels that went on chain.", "initiator", "reason")
	c.violations = c.one("rod_peer_violations_total", "Rules that peers broke.")
	c.broken = c.vec("rod_invariant_violations_total", "Invariants of ours that are broken.", "invariant")
	c.locked = c.vec("rod_locked_value_msat_blocks_total", "Value of HTLCs in channels, summed up over blocks.", "hop")
	c.zero()
	return c
}

func (c *counters) vec(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	c.all = append(c.all, v)
	return v
}

func (c *counters) one(name, help string) prometheus.Counter {
	v := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	c.all = append(c.all, v)
	return v
}

func (c *counters) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	c.all = append(c.all, v)
	return v
}

// zero makes the series that there can be, so that the first of anything is seen as an increase.
func (c *counters) zero() {
	for v, values := range map[*prometheus.CounterVec][]string{
		c.forwards: {"sent", "fulfilled", "failed"}, c.unblocks: {"released", "early", "duplicate", "bad_source", "unknown"},
		c.onions:  {"forwarded", "kept", "delivered", "dropped", "received", "throttled", "malformed"},
		c.dropped: {"quota", "source_share", "ttl", "operator"}, c.locked: {"upstream", "downstream"}, c.broken: {"channel"},
	} {
		for _, value := range values {
			v.WithLabelValues(value)
		}
	}
	for _, result := range []string{"armed", "expired"} {
		c.holdRequests.WithLabelValues(result, "")
	}
	for _, outcome := range []string{"settled", "failed_back", "expired", "on_chain"} {
		c.outcomes.WithLabelValues(outcome, "rod")
		c.duration.WithLabelValues(outcome)
		c.blocks.WithLabelValues(outcome)
	}
	for _, reason := range []string{"operator", "preimage", "deadline", "violation", "internal", "peer_error", "other"} {
		c.closes.WithLabelValues("us", reason)
	}
	c.closes.WithLabelValues("peer", "spent")
}

// request counts an answered request; routes are a closed set.
func (c *counters) request(rt *route, status int, took time.Duration) {
	name := rt.method + " " + rt.path
	c.requests.WithLabelValues(name, strconv.Itoa(status)).Inc()
	c.seconds.WithLabelValues(name).Observe(took.Seconds())
}

// refusedMessages takes in what the node counts itself.
func (c *counters) refusedMessages(throttled, malformed uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onions.WithLabelValues("throttled").Add(float64(throttled - min(throttled, c.throttled)))
	c.onions.WithLabelValues("malformed").Add(float64(malformed - min(malformed, c.malformed)))
	c.throttled, c.malformed = max(c.throttled, throttled), max(c.malformed, malformed)
}

// count follows one event.
func (c *counters) count(ev Event) {
	f := ev.Fields
	switch ev.Kind {
	case "block":
		c.block(f["height"])
	case "htlc.forwarded":
		c.forwards.WithLabelValues("sent").Inc()
		if fee, err := strconv.ParseUint(f["fee_msat"], 10, 64); err == nil {
			c.fees.Add(float64(fee))
			c.sent[f["in_channel"]+":"+f["in_id"]] = float64(fee)
		}
	case "htlc.fulfilled":
		c.forwards.WithLabelValues("fulfilled").Inc()
		c.earned.Add(c.sent[htlcOf(ev)])
		delete(c.sent, htlcOf(ev))
	case "htlc.failed":
		c.forwards.WithLabelValues("failed").Inc()
		delete(c.sent, htlcOf(ev))
		if h, ok := c.held[htlcOf(ev)]; ok && f["code"] == "ExpiryTooSoon" {
			h.tooLate = true
			c.held[htlcOf(ev)] = h
		}
	case "htlc.settled":
		c.settled(ev)
	case "wallet.sent", "wallet.bumped":
		c.fee(ev)
	case "hold.request":
		c.holdRequests.WithLabelValues(f["result"], f["reason"]).Inc()
	case "hold.holding":
		c.held[htlcOf(ev)] = hold{since: timeOf(ev), height: c.height}
	case "hold.unblock":
		c.unblocks.WithLabelValues(f["result"]).Inc()
	case "message.forwarded", "message.kept", "message.delivered", "message.received":
		c.onions.WithLabelValues(ev.Kind[len("message."):]).Inc()
	case "message.dropped":
		c.onions.WithLabelValues("dropped").Inc()
		if f["cause"] != "unreachable" {
			c.dropped.WithLabelValues(f["cause"]).Inc()
		}
	case "wake.sent", "wake.delivered", "wake.failed", "peer.up":
		c.wake(ev)
	case "channel.onchain":
		c.closes.WithLabelValues(f["by"], f["cause"]).Inc()
		c.onChain[f["channel"]] = true
	case "channel.closed":
		delete(c.onChain, f["channel"])
	case "channel.violated":
		c.violations.Inc()
	case "channel.doubted":
		c.broken.WithLabelValues("channel").Inc()
	}
}

func htlcOf(ev Event) string { return ev.Fields["channel"] + ":" + ev.Fields["id"] }

// timeOf is when an event became durable.
func timeOf(ev Event) time.Time {
	at, _ := time.Parse(eventTime, ev.At) // the node wrote it
	return at
}

// block adds up what was locked since the block before.
func (c *counters) block(text string) {
	height, err := strconv.ParseUint(text, 10, 32)
	if err != nil || uint32(height) <= c.height {
		return
	}
	n := float64(uint32(height) - c.height)
	c.height = uint32(height)
	received, offered := c.node.Locked()
	c.locked.WithLabelValues("upstream").Add(n * float64(received))
	c.locked.WithLabelValues("downstream").Add(n * float64(offered))
}

// settled is the end of an incoming HTLC, which may have been held.
func (c *counters) settled(ev Event) {
	h, held := c.held[htlcOf(ev)]
	if !held {
		return
	}
	delete(c.held, htlcOf(ev))
	outcome := "failed_back"
	switch {
	case ev.Fields["outcome"] == "fulfill":
		outcome = "settled"
	case c.onChain[ev.Fields["channel"]]:
		outcome = "on_chain"
	case h.tooLate:
		outcome = "expired"
	}
	c.outcomes.WithLabelValues(outcome, "rod").Inc()
	if !h.since.IsZero() {
		c.duration.WithLabelValues(outcome).Observe(timeOf(ev).Sub(h.since).Seconds())
		c.blocks.WithLabelValues(outcome).Observe(float64(c.height - min(h.height, c.height)))
	}
}

// fee is what a withdrawal pays, or its replacement more than it.
func (c *counters) fee(ev Event) {
	if fee, err := strconv.ParseUint(ev.Fields["more_sat"], 10, 64); err == nil {
		c.paid.Add(float64(fee))
	}
}

// wake follows a notification to its end, and its client until it comes.
func (c *counters) wake(ev Event) {
	f := ev.Fields
	switch ev.Kind {
	case "wake.sent":
		c.wakes.WithLabelValues(f["method"], "sent").Inc()
		if _, called := c.woken[f["client"]]; !called && f["method"] != "lsps5.webhook_registered" {
			c.woken[f["client"]] = timeOf(ev)
		}
	case "peer.up":
		if since, called := c.woken[f["peer"]]; called {
			delete(c.woken, f["peer"])
			c.wakeToConnect.Observe(timeOf(ev).Sub(since).Seconds())
		}
	default:
		c.wakes.WithLabelValues(f["method"], answerClass(f["code"])).Inc()
		if ms, err := strconv.ParseUint(f["after_ms"], 10, 64); err == nil && ev.Kind == "wake.delivered" {
			c.latency.WithLabelValues(f["method"]).Observe(float64(ms) / 1000)
		}
	}
}

// answerClass is 2xx of 204.
func answerClass(code string) string {
	if len(code) != 3 {
		return "unreachable"
	}
	return code[:1] + "xx"
}
