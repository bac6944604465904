package api

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are gauges that are asked of the node when somebody scrapes, and counters that follow its events. No label has
// a value per peer, channel or client: the API tells those.
type metrics struct {
	http.Handler
	node   Control
	cancel context.CancelFunc
	ended  sync.WaitGroup

	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec

	forwards, holds, unblocks, onions, wakes *prometheus.CounterVec
	fees, earned, onchain, violations, paid  prometheus.Counter
	outcomes                                 *prometheus.CounterVec
	duration                                 *prometheus.HistogramVec

	// Of the goroutine that follows the events: what was seen of incoming HTLCs that are not settled.
	held map[string]time.Time // since when
	sent map[string]float64   // the fee
}

func newMetrics(node Control) *metrics {
	m := &metrics{node: node, held: map[string]time.Time{}, sent: map[string]float64{}}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m.requests = counters("rod_api_requests_total", "Requests of the API.", "route", "status")
	m.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "rod_api_request_seconds", Help: "Time from a request to its answer.",
		Buckets: prometheus.ExponentialBuckets(0.001, 4, 8)}, []string{"route"})
	m.forwards = counters("rod_forwards_total", "HTLCs that were sent on, and how incoming ones ended.", "result")
	m.holds = counters("rod_hold_events_total", "HTLCs held, and what became of requests to hold.", "event")
	m.unblocks = counters("rod_unblocks_total", "Unblock secrets that arrived.", "result")
	m.onions = counters("rod_onion_messages_total", "Onion messages.", "result")
	m.wakes = counters("rod_notifications_total", "Notifications to clients that are away.", "result")
	m.fees = counter("rod_fees_offered_msat_total", "Fees of HTLCs that were sent on, whether they were fulfilled or not.")
	m.earned = counter("rod_fees_earned_msat_total", "Fees of HTLCs that were sent on and fulfilled.")
	m.paid = counter("rod_wallet_fees_sat_total", "Fees of withdrawals; of one that was replaced, those of the last.")
	m.outcomes = counters("rod_hold_outcomes_total", "How HTLCs that were held ended.", "outcome", "dialect")
	m.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "rod_hold_duration_seconds", Help: "Time from holding an HTLC to its end.",
		Buckets: prometheus.ExponentialBuckets(1, 4, 11)}, []string{"outcome"})
	m.onchain = counter("rod_channels_on_chain_total", "Channels that went on chain.")
	m.violations = counter("rod_peer_violations_total", "Rules that peers broke.")

	m.zero()
	all := prometheus.NewRegistry()
	all.MustRegister(m, m.requests, m.seconds, m.forwards, m.holds, m.unblocks, m.onions, m.wakes, m.fees, m.earned, m.paid, m.outcomes, m.duration, m.onchain, m.violations,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.Handler = promhttp.HandlerFor(all, promhttp.HandlerOpts{})

	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	news := node.Events(node.LastEvent() + 1)
	m.ended.Go(func() {
		defer news.Close()
		for {
			ev, err := news.Next(ctx)
			if err != nil {
				return
			}
			m.count(ev)
		}
	})
	return m
}

// zero makes the series that there can be, so that the first of anything is seen as an increase.
func (m *metrics) zero() {
	for v, values := range map[*prometheus.CounterVec][]string{
		m.forwards: {"sent", "fulfilled", "failed"}, m.holds: {"holding"}, m.unblocks: {"seen"}, m.wakes: {"sent", "delivered", "failed"},
		m.onions: {"forwarded", "kept", "delivered", "dropped", "received"},
	} {
		for _, value := range values {
			v.WithLabelValues(value)
		}
	}
	for _, outcome := range []string{"settled", "failed_back"} {
		m.outcomes.WithLabelValues(outcome, "rod")
		m.duration.WithLabelValues(outcome)
	}
}

func (m *metrics) close() {
	m.cancel()
	m.ended.Wait()
}

// request counts an answered request; routes are a closed set.
func (m *metrics) request(rt *route, status int, took time.Duration) {
	name := rt.method + " " + rt.path
	m.requests.WithLabelValues(name, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(name).Observe(took.Seconds())
}

// count follows one event.
func (m *metrics) count(ev Event) {
	switch ev.Kind {
	case "htlc.forwarded":
		m.forwards.WithLabelValues("sent").Inc()
		if fee, err := strconv.ParseUint(ev.Fields["fee_msat"], 10, 64); err == nil {
			m.fees.Add(float64(fee))
			m.sent[ev.Fields["in_channel"]+":"+ev.Fields["in_id"]] = float64(fee)
		}
	case "htlc.fulfilled":
		m.forwards.WithLabelValues("fulfilled").Inc()
		m.earned.Add(m.sent[htlcOf(ev)])
		delete(m.sent, htlcOf(ev))
	case "htlc.failed":
		m.forwards.WithLabelValues("failed").Inc()
		delete(m.sent, htlcOf(ev))
	case "htlc.settled":
		m.settled(ev)
	case "wallet.sent", "wallet.bumped":
		m.fee(ev)
	case "hold.armed", "hold.holding", "hold.released", "hold.ended", "hold.refused":
		m.holds.WithLabelValues(ev.Kind[len("hold."):]).Inc()
		if at, err := time.Parse(eventTime, ev.At); err == nil && ev.Kind == "hold.holding" {
			m.held[htlcOf(ev)] = at
		}
	case "hold.unblock":
		m.unblocks.WithLabelValues("seen").Inc()
	case "message.forwarded", "message.kept", "message.delivered", "message.dropped", "message.received":
		m.onions.WithLabelValues(ev.Kind[len("message."):]).Inc()
	case "wake.sent", "wake.delivered", "wake.failed":
		m.wakes.WithLabelValues(ev.Kind[len("wake."):]).Inc()
	case "channel.onchain":
		m.onchain.Inc()
	case "channel.violated":
		m.violations.Inc()
	}
}

func htlcOf(ev Event) string { return ev.Fields["channel"] + ":" + ev.Fields["id"] }

// settled is the end of an incoming HTLC, which may have been held. What was held before the start is not known.
func (m *metrics) settled(ev Event) {
	since, held := m.held[htlcOf(ev)]
	if !held {
		return
	}
	delete(m.held, htlcOf(ev))
	outcome := "failed_back"
	if ev.Fields["outcome"] == "fulfill" {
		outcome = "settled"
	}
	m.outcomes.WithLabelValues(outcome, "rod").Inc()
	if at, err := time.Parse(eventTime, ev.At); err == nil {
		m.duration.WithLabelValues(outcome).Observe(at.Sub(since).Seconds())
	}
}

// fee is what a withdrawal pays, or its replacement more than it.
func (m *metrics) fee(ev Event) {
	if fee, err := strconv.ParseUint(ev.Fields["more_sat"], 10, 64); err == nil {
		m.paid.Add(float64(fee))
	}
}

// gauge describes one number that is asked for when somebody scrapes.
func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	gaugeBuild    = gauge("rod_build_info", "Always 1.", "version", "network")
	gaugeHeight   = gauge("rod_chain_height_blocks", "Height of the best chain.")
	gaugeReady    = gauge("rod_ready", "1 if the node serves.")
	gaugePeers    = gauge("rod_peers", "Connected peers.")
	gaugeWallet   = gauge("rod_wallet_balance_sat", "Coins on chain.", "state")
	gaugeChannels = gauge("rod_channels", "Channels that are not closed.", "phase")
	gaugeUsable   = gauge("rod_channels_usable", "Channels that can carry HTLCs now.")
	gaugeBalance  = gauge("rod_channel_balance_msat", "Balances of all channels.", "side")
	gaugeHTLCs    = gauge("rod_htlcs", "Incoming HTLCs that are not settled.", "state")
	gaugeHeld     = gauge("rod_held_payments", "Requests to hold.", "dialect", "state")
	gaugeParts    = gauge("rod_held_parts", "HTLCs that are held.", "dialect")
	gaugeHeldMsat = gauge("rod_held_msat", "Value that is held.", "dialect")
	gaugeMargin   = gauge("rod_hold_min_margin_blocks", "Blocks to the soonest deadline.", "kind")
	gaugeOwed     = gauge("rod_settlements_owed", "Incoming HTLCs whose preimage is known and that are not settled.")
	gaugeOwedMsat = gauge("rod_settlements_owed_msat", "Their value.")
	histCommits   = gauge("rod_store_transaction_seconds", "Transactions of the store, with their syncs.")
	gaugeEvents   = gauge("rod_events_kept", "Events in the log.")
	gaugeClients  = gauge("rod_clients", "Nodes that have a channel with this LSP or can be woken by it.", "state")
	gaugeHooks    = gauge("rod_webhooks", "Ways to wake clients.")
	gaugeMail     = gauge("rod_mailbox_messages", "Onion messages that wait for clients.")
	gaugeMailSize = gauge("rod_mailbox_bytes", "Their size.")
	gaugeMailAge  = gauge("rod_mailbox_oldest_seconds", "Age of the oldest of them.")
)

// Describe tells of every gauge.
func (m *metrics) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{gaugeBuild, gaugeHeight, gaugeReady, gaugePeers, gaugeWallet, gaugeChannels, gaugeUsable, gaugeBalance,
		gaugeHTLCs, gaugeHeld, gaugeParts, gaugeHeldMsat, gaugeMargin, gaugeOwed, gaugeOwedMsat, histCommits, gaugeEvents, gaugeClients, gaugeHooks, gaugeMail, gaugeMailSize, gaugeMailAge} {
		c <- d
	}
}

// Collect asks the node.
func (m *metrics) Collect(c chan<- prometheus.Metric) {
	set := func(d *prometheus.Desc, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	info := m.node.Info()
	set(gaugeBuild, 1, info.Version, info.Network)
	set(gaugeHeight, float64(info.Height))
	set(gaugeReady, oneIf(m.node.Ready() == nil))
	set(gaugePeers, float64(info.Peers))
	m.collectMoney(set)
	m.collectHeld(set, info.Height)
	m.collectMail(set)
	m.collectClients(set)
	t := m.node.Commits()
	c <- prometheus.MustNewConstHistogram(histCommits, t.Count, t.Sum, t.Buckets)
	set(gaugeEvents, float64(m.node.LastEvent()+1-m.node.OldestEvent()))
}

type setter func(d *prometheus.Desc, v float64, labels ...string)

func (m *metrics) collectMoney(set setter) {
	b := m.node.Balance()
	set(gaugeWallet, float64(b.Confirmed), "confirmed")
	set(gaugeWallet, float64(b.Unconfirmed), "unconfirmed")
	set(gaugeBalance, float64(b.Local), "local")
	set(gaugeBalance, float64(b.Remote), "remote")
	phases, usable := map[string]int{}, 0
	for _, ch := range m.node.Channels() {
		phases[ch.Phase]++
		if ch.Usable {
			usable++
		}
	}
	for phase, n := range phases {
		set(gaugeChannels, float64(n), phase)
	}
	set(gaugeUsable, float64(usable))
}

func (m *metrics) collectHeld(set setter, height uint32) {
	requests := map[string]int{"armed": 0}
	for _, r := range m.node.Requests() {
		requests[r.State]++
	}
	for state, n := range requests {
		set(gaugeHeld, float64(n), "rod", state)
	}
	htlcs := map[string]int{}
	var parts, msat uint64
	margins := map[string]int64{}
	soonest := func(kind string, at uint32) {
		left := int64(at) - int64(height)
		if old, ok := margins[kind]; !ok || left < old {
			margins[kind] = left
		}
	}
	for _, h := range m.node.HTLCs() {
		htlcs[h.State]++
		if h.State == "held" {
			parts, msat = parts+1, msat+h.Amount
		}
		if h.Limit != 0 {
			soonest("auto_fail", h.Limit)
		} else {
			soonest("in_flight", h.Expiry)
		}
	}
	m.collectOwed(set, soonest)
	for state, n := range htlcs {
		set(gaugeHTLCs, float64(n), state)
	}
	set(gaugeParts, float64(parts), "rod")
	set(gaugeHeldMsat, float64(msat), "rod")
	for kind, left := range margins {
		set(gaugeMargin, float64(left), kind)
	}
}

// collectOwed is the exposure of an LSP: it has paid, and its payer has to be given the preimage in time.
func (m *metrics) collectOwed(set setter, soonest func(kind string, at uint32)) {
	debts, err := m.node.Owed()
	if err != nil {
		return
	}
	n, msat := 0, uint64(0)
	for _, d := range debts {
		if d.Kind == "preimage" {
			n, msat = n+1, msat+d.Amount
			soonest("claim", d.Claim)
		}
	}
	set(gaugeOwed, float64(n))
	set(gaugeOwedMsat, float64(msat))
}

func (m *metrics) collectClients(set setter) {
	states := map[string]int{"connected": 0, "away": 0}
	for _, c := range m.node.Clients() {
		if c.Connected {
			states["connected"]++
		} else {
			states["away"]++
		}
	}
	for state, n := range states {
		set(gaugeClients, float64(n), state)
	}
	set(gaugeHooks, float64(len(m.node.Webhooks())))
}

func (m *metrics) collectMail(set setter) {
	var messages, bytes int
	var age float64
	for _, b := range m.node.Mailbox() {
		messages, bytes = messages+b.Messages, bytes+b.Bytes
		if t, err := time.Parse(time.RFC3339, b.Oldest); err == nil {
			age = max(age, time.Since(t).Seconds())
		}
	}
	set(gaugeMail, float64(messages))
	set(gaugeMailSize, float64(bytes))
	set(gaugeMailAge, age)
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
