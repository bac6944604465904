package api

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// names of all our metrics, and what they are.
var metricTypes = map[string]string{
	"rod_build_info": "gauge", "rod_ready": "gauge", "rod_chain_height_blocks": "gauge", "rod_peers": "gauge", "rod_events_kept": "gauge",
	"rod_channels": "gauge", "rod_channels_usable": "gauge", "rod_channel_balance_msat": "gauge", "rod_htlcs": "gauge", "rod_wallet_balance_sat": "gauge",
	"rod_held_payments": "gauge", "rod_held_parts": "gauge", "rod_held_msat": "gauge", "rod_hold_min_margin_blocks": "gauge",
	"rod_settlements_owed": "gauge", "rod_settlements_owed_msat": "gauge", "rod_clients": "gauge", "rod_webhooks": "gauge",
	"rod_mailbox_messages": "gauge", "rod_mailbox_bytes": "gauge", "rod_mailbox_oldest_seconds": "gauge",

	"rod_hold_requests_total": "counter", "rod_hold_outcomes_total": "counter", "rod_unblocks_total": "counter", "rod_mailbox_dropped_total": "counter",
	"rod_onion_messages_total": "counter", "rod_notifications_total": "counter", "rod_forwards_total": "counter", "rod_fees_offered_msat_total": "counter",
	"rod_fees_earned_msat_total": "counter", "rod_wallet_fees_sat_total": "counter", "rod_locked_value_msat_blocks_total": "counter",
	"rod_force_closes_total": "counter", "rod_peer_violations_total": "counter", "rod_invariant_violations_total": "counter", "rod_api_requests_total": "counter",

	"rod_hold_duration_seconds": "histogram", "rod_hold_duration_blocks": "histogram", "rod_notification_latency_seconds": "histogram",
	"rod_wake_to_connect_seconds": "histogram", "rod_store_transaction_seconds": "histogram", "rod_api_request_seconds": "histogram",
}

// TestMetricNames: there are these and no others, named by the conventions of Prometheus, and operations.md has each.
func TestMetricNames(t *testing.T) {
	s := serve(t, newChain(t), "alice")
	descs := make(chan *prometheus.Desc, 1000)
	s.server.metrics.Describe(descs)
	close(descs)
	labels := regexp.MustCompile(`variableLabels: \{(.*)\}`)
	seen := map[string]bool{}
	for d := range descs {
		text := d.String()
		name := regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(text)[1]
		typ, known := metricTypes[name]
		if seen[name] || !known {
			t.Errorf("%s is there twice, or not in the list", name)
		}
		seen[name] = true
		if strings.HasSuffix(name, "_total") != (typ == "counter") {
			t.Errorf("%s: a %s", name, typ)
		}
		for _, label := range strings.Split(labels.FindStringSubmatch(text)[1], ",") {
			if slices.Contains([]string{"peer", "channel", "client", "node", "host"}, strings.TrimSpace(label)) {
				t.Errorf("%s has a series for every %s", name, label)
			}
		}
	}
	page := s.text("/metrics")
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (rod_\w+) (\w+)`).FindAllStringSubmatch(page, -1) {
		if metricTypes[m[1]] != m[2] {
			t.Errorf("%s is a %s, want %q", m[1], m[2], metricTypes[m[1]])
		}
	}
	text, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("`(rod_\\w+)`").FindAllStringSubmatch(string(text), -1) {
		documented[m[1]] = true
	}
	for name := range metricTypes {
		if !seen[name] || !documented[name] {
			t.Errorf("%s: there %t, in operations.md %t", name, seen[name], documented[name])
		}
	}
	for name := range documented {
		if !seen[name] {
			t.Errorf("operations.md names %s, which is not there", name)
		}
	}
}

// TestCounters: what is counted of events.
func TestCounters(t *testing.T) {
	s := serve(t, newChain(t), "alice")
	c := newCounters(s.server.node)
	height := func(n uint32) string { return Number(n).String() }
	ev := func(at, kind string, pairs ...string) {
		e := Event{At: "2026-01-01T00:" + at + ".000Z", Kind: kind, Fields: map[string]string{}}
		for i := 0; i+1 < len(pairs); i += 2 {
			e.Fields[pairs[i]] = pairs[i+1]
		}
		c.count(e)
	}
	for i, how := range []string{"fulfill", "fail", "late", "chain"} {
		id := height(uint32(i))
		ev("00:00", "hold.holding", "channel", "1", "id", id)
		ev("01:00", "block", "height", height(c.height+1))
		switch how {
		case "late":
			ev("01:00", "htlc.failed", "channel", "1", "id", id, "code", "ExpiryTooSoon")
		case "chain":
			ev("01:00", "channel.onchain", "channel", "1", "by", "us", "cause", "preimage")
		}
		outcome := "fail"
		if how == "fulfill" {
			outcome = how
		}
		ev("02:00", "htlc.settled", "channel", "1", "id", id, "outcome", outcome)
	}
	ev("00:00", "htlc.settled", "channel", "1", "id", "9", "outcome", "fulfill") // was not held
	for _, result := range []string{"armed", "refused", "expired"} {
		ev("00:00", "hold.request", "result", result, "reason", "")
		ev("00:00", "hold.unblock", "result", "early")
	}
	ev("00:00", "message.dropped", "cause", "ttl")
	ev("00:00", "message.dropped", "cause", "unreachable")
	ev("00:00", "wake.sent", "client", "c", "method", "m")
	ev("00:10", "wake.sent", "client", "c", "method", "m")
	ev("00:10", "wake.delivered", "client", "c", "method", "m", "code", "204", "after_ms", "100")
	ev("00:11", "wake.failed", "client", "c", "method", "m", "code", "0", "after_ms", "100")
	ev("00:20", "peer.up", "peer", "c")
	ev("00:30", "peer.up", "peer", "c")
	ev("00:00", "channel.doubted")
	c.refusedMessages(3, 2)
	c.refusedMessages(4, 2)

	all := prometheus.NewRegistry()
	all.MustRegister(c.all...)
	families, err := all.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := strings.TrimPrefix(f.GetName(), "rod_")
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			switch {
			case m.Counter != nil:
				got[name] = m.Counter.GetValue()
			case m.Histogram != nil:
				got[name] = m.Histogram.GetSampleSum()
			}
		}
	}
	for name, want := range map[string]float64{
		"hold_outcomes_total rod settled": 1, "hold_outcomes_total rod failed_back": 1, "hold_outcomes_total rod expired": 1, "hold_outcomes_total rod on_chain": 1,
		"hold_duration_seconds settled": 120, "hold_duration_blocks settled": 1, "force_closes_total us preimage": 1,
		"hold_requests_total  armed": 1, "hold_requests_total  refused": 1, "unblocks_total early": 3,
		"mailbox_dropped_total ttl": 1, "onion_messages_total dropped": 2, "onion_messages_total throttled": 4, "onion_messages_total malformed": 2,
		"notifications_total m sent": 2, "notifications_total m 2xx": 1, "notifications_total m unreachable": 1,
		"notification_latency_seconds m": 0.1, "wake_to_connect_seconds": 20, "invariant_violations_total channel": 1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}
