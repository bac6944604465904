package api

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are gauges that are asked of the node when somebody scrapes, and counters that follow its events. No label has
// a value per peer, channel or client: the API tells those.
type metrics struct {
	*counters
	handler http.Handler
	node    Control
	cancel  context.CancelFunc
	ended   sync.WaitGroup
}

func newMetrics(node Control) *metrics {
	m := &metrics{counters: newCounters(node), node: node}
	all := prometheus.NewRegistry()
	all.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(all, promhttp.HandlerOpts{})
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	from := node.LastEvent() + 1
	m.ended.Go(func() { m.follow(ctx, from) })
	return m
}

// follow counts events. Those that are deleted before it comes to them are not counted.
func (m *metrics) follow(ctx context.Context, from uint64) {
	news := m.node.Events(from)
	defer func() { news.Close() }()
	for {
		ev, err := news.Next(ctx)
		var gone *Error
		switch {
		case err == nil:
			m.count(ev)
		case errors.As(err, &gone):
			news.Close()
			news = m.node.Events(m.node.OldestEvent())
		default:
			return
		}
	}
}

func (m *metrics) close() {
	m.cancel()
	m.ended.Wait()
}

// ServeHTTP is /metrics.
func (m *metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.refusedMessages(m.node.RefusedMessages())
	m.handler.ServeHTTP(w, r)
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

// Describe tells of every metric of ours.
func (m *metrics) Describe(c chan<- *prometheus.Desc) {
	for _, x := range m.all {
		x.Describe(c)
	}
	for _, d := range []*prometheus.Desc{gaugeBuild, gaugeHeight, gaugeReady, gaugePeers, gaugeWallet, gaugeChannels, gaugeUsable, gaugeBalance,
		gaugeHTLCs, gaugeHeld, gaugeParts, gaugeHeldMsat, gaugeMargin, gaugeOwed, gaugeOwedMsat, histCommits, gaugeEvents, gaugeClients, gaugeHooks, gaugeMail, gaugeMailSize, gaugeMailAge} {
		c <- d
	}
}

// Collect counts, and asks the node.
func (m *metrics) Collect(c chan<- prometheus.Metric) {
	for _, x := range m.all {
		x.Collect(c)
	}
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
