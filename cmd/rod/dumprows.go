package main

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	"lightningrod/chain/wallet"
	"lightningrod/channel"
	"lightningrod/cmd/rod/internal/explain"
	"lightningrod/cmd/rod/internal/facts"
	"lightningrod/node"
	"lightningrod/node/forward"
	"lightningrod/node/graph"
	"lightningrod/node/store"
	"lightningrod/rod"
	"lightningrod/rod/lsps"
)

// redacted stands in the place of a secret: a preimage before it is settled, a pid, a key, what opens a failure.
const redacted = "(secret)"

// together is what several rows say with one another: HTLC bodies complete their channel's row, members belong to requests.
type together struct {
	bodies   map[channel.ID][]channel.HTLC
	requests map[string]rod.RequestInfo // by peer and pid hash, as in the key
	members  map[string]rod.MemberInfo  // by key
	broken   error                      // why the rows of requests say nothing together
}

// prepare reads them. A row that cannot be read is told of where it stands.
func (d *dumper) prepare() error {
	d.bodies = map[channel.ID][]channel.HTLC{}
	err := d.db.Load(store.HTLC, func(_, value []byte) error {
		if h, err := channel.DecodeHTLC(value); err == nil {
			d.bodies[h.Key.Channel] = append(d.bodies[h.Key.Channel], h)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var rows []rod.Row
	for _, t := range []store.Table{store.Request, store.Member, store.Tombstone} {
		err := d.db.Load(t, func(key, value []byte) error {
			rows = append(rows, rod.Row{Table: t.String(), Key: key, Value: value})
			return nil
		})
		if err != nil {
			return err
		}
	}
	d.requests, d.members = map[string]rod.RequestInfo{}, map[string]rod.MemberInfo{}
	table, err := rod.Load(rod.DefaultConfig(rod.NodeID{}), rows...)
	if err != nil {
		d.broken = err
		return nil // the rows say so themselves
	}
	for _, r := range table.Requests() {
		d.requests[string(r.Peer[:])+string(r.PidHash[:])] = r
		for _, m := range r.Members {
			d.members[string(store.ChannelKey(m.Key.Channel))+string(store.ChannelKey(m.Key.ID))] = m
		}
	}
	return nil
}

// keyFacts says what a key is made of.
func keyFacts(t store.Table, key []byte) facts.Facts {
	number := func(name string, at int) facts.Fact {
		return facts.Fact{Name: name, Value: binary.BigEndian.Uint64(key[at:])}
	}
	nodeID := func(name string) facts.Fact { return facts.Fact{Name: name, Value: hex.EncodeToString(key[:33])} }
	rest := func(name string, at int) facts.Fact {
		return facts.Fact{Name: name, Value: hex.EncodeToString(key[at:])}
	}
	for _, layout := range []struct {
		tables []store.Table
		size   int
		say    func() facts.Facts
	}{
		{[]store.Table{store.Channel}, 8, func() facts.Facts { return facts.Facts{number("channel", 0)} }},
		{[]store.Table{store.HTLC}, 17, func() facts.Facts {
			return facts.Facts{number("channel", 0), {Name: "offered", Value: key[8] == 1}, number("id", 9)}
		}},
		{[]store.Table{store.Revoked}, 16, func() facts.Facts { return facts.Facts{number("channel", 0), number("commitment_number", 8)} }},
		{[]store.Table{store.Member}, 16, func() facts.Facts { return facts.Facts{number("channel", 0), number("id", 8)} }},
		{[]store.Table{store.Request, store.Tombstone}, 65, func() facts.Facts { return facts.Facts{nodeID("peer"), rest("pid_hash", 33)} }},
		{[]store.Table{store.Peer, store.Client, store.NodeAnnouncement}, 33, func() facts.Facts { return facts.Facts{nodeID("node_id")} }},
		{[]store.Table{store.Mailbox}, 41, func() facts.Facts { return facts.Facts{nodeID("client"), number("sequence", 33)} }},
		{[]store.Table{store.Payment, store.Payer}, 8, func() facts.Facts { return facts.Facts{number("payment", 0)} }},
		{[]store.Table{store.Outbox}, 8, func() facts.Facts { return facts.Facts{number("id", 0)} }},
		{[]store.Table{store.Event}, 8, func() facts.Facts { return facts.Facts{number("first", 0)} }},
		{[]store.Table{store.Invoice}, 32, func() facts.Facts { return facts.Facts{rest("payment_hash", 0)} }},
		{[]store.Table{store.Payee}, 32, func() facts.Facts { return facts.Facts{rest("pid_hash", 0)} }},
		{[]store.Table{store.Announcement}, 8, func() facts.Facts { return facts.Facts{{Name: "short_channel_id", Value: scidOf(key)}} }},
		{[]store.Table{store.ChannelUpdate}, 9, func() facts.Facts {
			return facts.Facts{{Name: "short_channel_id", Value: scidOf(key[:8])}, {Name: "kind", Value: uint64(key[8])}}
		}},
	} {
		if slices.Contains(layout.tables, t) && len(key) == layout.size {
			return layout.say()
		}
	}
	switch {
	case t == store.Meta:
		return facts.Facts{{Name: "name", Value: string(key)}}
	case t == store.Device && len(key) > 34:
		return facts.Facts{nodeID("client"), {Name: "kind", Value: string(key[33:34])}, {Name: "name", Value: string(key[34:])}}
	}
	return facts.Facts{{Name: "key", Value: hex.EncodeToString(key)}}
}

// row says what a row holds, in the words of the package it belongs to.
func (d *dumper) row(t store.Table, key, value []byte) (facts.Facts, error) {
	switch t {
	case store.Channel:
		return d.channel(key, value)
	case store.HTLC:
		return htlcFacts(value)
	case store.Settled:
		return settledFacts(key, value)
	case store.Request:
		if r, ok := d.requests[string(key)]; ok {
			return requestFacts(r), nil
		}
		return nil, cmp.Or(d.broken, errors.New("not a request that is known to the others"))
	case store.Member:
		if m, ok := d.members[string(key)]; ok {
			return memberFacts(m), nil
		}
		return nil, cmp.Or(d.broken, errors.New("no request has it as a member"))
	case store.Revoked:
		return revokedFacts(value)
	case store.Peer:
		return facts.Facts{{Name: "address", Value: string(value)}}, nil
	case store.Meta:
		return metaFacts(string(key), value), nil
	case store.Invoice:
		return invoiceFacts(value)
	case store.Payment:
		return paymentFacts(value)
	case store.Mailbox:
		return letterFacts(key, value)
	case store.Device:
		return deviceFacts(key, value)
	case store.Outbox:
		return wakeFacts(value)
	case store.Announcement, store.ChannelUpdate, store.NodeAnnouncement:
		return gossipFacts(t, value)
	case store.Payer, store.Payee:
		// They are made of secrets: pids, session keys, paths.
		return facts.Facts{{Name: "bytes", Value: uint64(len(value))}, {Name: "content", Value: redacted}}, nil
	case store.Event:
		return eventFacts(key, value)
	case store.Wallet:
		text, err := wallet.DescribeRow(wallet.Row{Key: key, Value: value})
		return facts.Facts{{Name: "row", Value: text}}, err
	case store.Tombstone, store.Client:
		return facts.Facts{{Name: "bytes", Value: uint64(len(value))}, {Name: "value", Value: hex.EncodeToString(value)}}, nil
	}
	return nil, fmt.Errorf("no decoder for table %s", t)
}

func (d *dumper) channel(key, core []byte) (facts.Facts, error) {
	st, _, err := channel.Restore(core, d.bodies[channel.ID(binary.BigEndian.Uint64(key))])
	if err != nil {
		return nil, err
	}
	peer, id := st.Peer(), st.ChannelID()
	f := facts.Facts{{Name: "peer", Value: hex.EncodeToString(peer[:])}, {Name: "channel_id", Value: hex.EncodeToString(id[:])}}
	if scid := st.ShortID().ToUint64(); scid != 0 {
		f.Add("short_channel_id", scidOf(store.ChannelKey(scid)))
	}
	local, remote := st.Balance()
	f.Add("opener", st.Opener())
	f.Add("private", st.Private())
	f.Add("funding_outpoint", st.Funding().String())
	f.Add("capacity_sat", st.Capacity())
	f.Add("local_msat", uint64(local))
	f.Add("remote_msat", uint64(remote))
	f.Add("state", st.String())
	return f, nil
}

func htlcFacts(value []byte) (facts.Facts, error) {
	h, err := channel.DecodeHTLC(value)
	if err != nil {
		return nil, err
	}
	f := facts.Facts{{Name: "amount_msat", Value: uint64(h.Amount)}, {Name: "payment_hash", Value: hex.EncodeToString(h.Hash[:])}, {Name: "cltv_expiry", Value: uint64(h.Expiry)}}
	if h.Origin != nil {
		f.Add("origin", originText(h.Origin))
	}
	if h.PathKey != nil {
		f.Add("path_key", hex.EncodeToString(h.PathKey))
	}
	if onion, err := explain.Onion(h.Onion[:], explain.Keys{}); err == nil {
		f.Add("onion_routing_packet", onion)
	}
	if len(h.TLVs) > 0 {
		tlvs, err := explain.Stream("update_add_htlc", h.TLVs)
		if err != nil {
			return nil, err
		}
		f.Add("tlvs", tlvs)
	}
	return f, nil
}

func originText(o channel.Origin) string {
	switch o := o.(type) {
	case channel.Forward:
		return fmt.Sprintf("forward of channel %d, id %d", o.In.Channel, o.In.HTLC)
	case channel.Payment:
		return fmt.Sprintf("payment %d, part %d", o.ID, o.Part)
	}
	return "unknown"
}

// settledFacts: the outcome is on its way to the incoming channel, so its preimage is not settled yet.
func settledFacts(key, value []byte) (facts.Facts, error) {
	out, err := forward.DecodeSettled(key, value)
	if err != nil {
		return nil, err
	}
	f := facts.Facts{{Name: "origin", Value: originText(out.Origin)}}
	switch o := out.Outcome.(type) {
	case channel.Fulfill:
		f.Add("outcome", "fulfill")
		f.Add("payment_preimage", redacted)
	case channel.Fail:
		f.Add("outcome", "fail")
		f.Add("reason_bytes", uint64(len(o.Reason)))
	case channel.Malformed:
		f.Add("outcome", fmt.Sprintf("malformed, code %#x", o.Code))
	}
	return f, nil
}

func requestFacts(r rod.RequestInfo) facts.Facts {
	return facts.Facts{
		{Name: "state", Value: r.State.String()}, {Name: "payment_hashes", Value: hashList(r.Hashes)}, {Name: "total_msat", Value: r.TotalMsat},
		{Name: "release_deadline", Value: uint64(r.Deadline)}, {Name: "armed_until", Value: unixText(r.ArmedUntil)}, {Name: "members", Value: uint64(len(r.Members))},
	}
}

func memberFacts(m rod.MemberInfo) facts.Facts {
	return facts.Facts{
		{Name: "payment_hash", Value: hex.EncodeToString(m.Hash[:])}, {Name: "amount_msat", Value: m.Amount}, {Name: "cltv_expiry", Value: uint64(m.Expiry)},
		{Name: "release_deadline", Value: uint64(m.Deadline)}, {Name: "fulfilled", Value: m.Fulfilled}, {Name: "failed", Value: m.Failed}, {Name: "void", Value: m.Void},
	}
}

func revokedFacts(value []byte) (facts.Facts, error) {
	htlcs, err := channel.DecodeRevoked(value)
	if err != nil {
		return nil, err
	}
	l := []any{}
	for _, h := range htlcs {
		l = append(l, facts.Facts{
			{Name: "id", Value: h.ID}, {Name: "offered", Value: h.Offered}, {Name: "amount_msat", Value: uint64(h.Amount)},
			{Name: "payment_hash", Value: hex.EncodeToString(h.Hash[:])}, {Name: "cltv_expiry", Value: uint64(h.Expiry)},
		})
	}
	return facts.Facts{{Name: "htlcs", Value: l}}, nil
}

func metaFacts(name string, value []byte) facts.Facts {
	switch {
	case name == "network":
		return facts.Facts{{Name: "value", Value: string(value)}}
	case name == "tip" && len(value) == 40:
		hash := slices.Clone(value[8:])
		slices.Reverse(hash)
		return facts.Facts{{Name: "height", Value: binary.BigEndian.Uint64(value)}, {Name: "block_hash", Value: hex.EncodeToString(hash)}}
	case name == "lineage" && len(value) == 24:
		return facts.Facts{{Name: "id", Value: hex.EncodeToString(value[:16])}, {Name: "count", Value: binary.BigEndian.Uint64(value[16:])}}
	case len(value) == 8:
		return facts.Facts{{Name: "value", Value: binary.BigEndian.Uint64(value)}}
	}
	return facts.Facts{{Name: "value", Value: hex.EncodeToString(value)}}
}

func invoiceFacts(value []byte) (facts.Facts, error) {
	i, err := forward.DecodeInvoice(value)
	if err != nil {
		return nil, err
	}
	f := facts.Facts{
		{Name: "state", Value: i.State.String()}, {Name: "amount_msat", Value: uint64(i.Amount)}, {Name: "expires_at", Value: unixText(i.Expiry)},
		{Name: "min_final_cltv_expiry_delta", Value: uint64(i.MinFinalCltv)}, {Name: "payment_secret", Value: redacted}, {Name: "payment_preimage", Value: redacted},
	}
	if i.State == forward.InvoicePaid {
		f[len(f)-1].Value = hex.EncodeToString(i.Preimage[:])
		f.Add("received_msat", uint64(i.Received))
		f.Add("paid_at", unixText(i.PaidAt))
	}
	parts := []any{}
	for _, p := range i.Parts {
		parts = append(parts, facts.Facts{{Name: "channel", Value: uint64(p.Key.Channel)}, {Name: "id", Value: p.Key.HTLC}, {Name: "amount_msat", Value: uint64(p.Amount)}})
	}
	f.Add("parts", parts)
	return f, nil
}

func paymentFacts(value []byte) (facts.Facts, error) {
	p, err := forward.DecodePayment(value)
	if err != nil {
		return nil, err
	}
	f := facts.Facts{
		{Name: "state", Value: p.State.String()}, {Name: "payment_hash", Value: hex.EncodeToString(p.Hash[:])}, {Name: "total_msat", Value: uint64(p.Total)},
		{Name: "created_at", Value: unixText(p.Created)},
	}
	if p.State == forward.PaymentSucceeded {
		f.Add("payment_preimage", hex.EncodeToString(p.Preimage[:]))
	}
	parts := []any{}
	for _, x := range p.Parts {
		parts = append(parts, facts.Facts{
			{Name: "part", Value: uint64(x.Index)}, {Name: "channel", Value: uint64(x.Channel)}, {Name: "amount_msat", Value: uint64(x.Amount)},
			{Name: "cltv_expiry", Value: uint64(x.Expiry)}, {Name: "state", Value: fmt.Sprint(x.State)}, {Name: "secrets", Value: redacted},
			{Name: "reason_bytes", Value: uint64(len(x.Reason))},
		})
	}
	f.Add("parts", parts)
	return f, nil
}

func letterFacts(key, value []byte) (facts.Facts, error) {
	box, err := rod.LoadMailbox(rod.DefaultMailboxConfig(), rod.Row{Table: rod.TableMailbox, Key: key, Value: value})
	if err != nil {
		return nil, err
	}
	l := box.All(rod.NodeID(key[:33]))[0]
	f := facts.Facts{{Name: "from", Value: hex.EncodeToString(l.From[:])}, {Name: "arrived_at", Value: unixText(l.Arrived)}, {Name: "quiet", Value: l.Quiet}}
	msg, err := explain.OnionMessage(l.Message, explain.Keys{})
	if err != nil {
		return nil, err
	}
	f.Add("onion_message", msg)
	return f, nil
}

func eventFacts(key, value []byte) (facts.Facts, error) {
	if len(key) != 8 {
		return nil, fmt.Errorf("key of %d bytes", len(key))
	}
	evs, err := node.DecodeEvents(binary.BigEndian.Uint64(key), value)
	if err != nil || len(evs) == 0 {
		return nil, err
	}
	l := []any{}
	for _, ev := range evs {
		one := facts.Facts{{Name: "seq", Value: ev.Seq}, {Name: "kind", Value: string(ev.Kind)}}
		for _, name := range slices.Sorted(maps.Keys(ev.Fields)) {
			one.Add(name, ev.Fields[name])
		}
		l = append(l, one)
	}
	return facts.Facts{{Name: "at", Value: evs[0].At.UTC().Format(time.RFC3339Nano)}, {Name: "events", Value: l}}, nil
}

func deviceFacts(key, value []byte) (facts.Facts, error) {
	if len(key) < 33 {
		return nil, fmt.Errorf("key of %d bytes", len(key))
	}
	devices, err := lsps.LoadDevices(lsps.DefaultDeviceConfig(), rod.Row{Table: rod.TableDevice, Key: key, Value: value})
	if err != nil {
		return nil, err
	}
	f := facts.Facts{}
	for _, dev := range devices.Of(rod.NodeID(key[:33])) {
		f.Add("platform", fmt.Sprint(dev.Platform))
		f.Add("target", hostOnly(dev.Target))
	}
	return f, nil
}

// hostOnly keeps of a webhook its host: the path is what its owner is known by.
func hostOnly(target string) string {
	if u, err := url.Parse(target); err == nil && u.Host != "" {
		return u.Scheme + "://" + u.Host + "/" + redacted
	}
	return redacted
}

func wakeFacts(value []byte) (facts.Facts, error) {
	var row facts.Facts
	if err := json.Unmarshal(value, &row); err != nil {
		return nil, err
	}
	for i, x := range row {
		if text, ok := x.Value.(string); ok && x.Name == "url" {
			row[i].Value = hostOnly(text)
		}
	}
	return row, nil
}

// announcementHead is what stands before the message in a row of an announcement: version, two heights, capacity, outpoint.
const announcementHead = 1 + 4 + 4 + 8 + 32 + 4

func gossipFacts(t store.Table, value []byte) (facts.Facts, error) {
	typ, head := uint16(graph.TypeChannelUpdate), 1
	switch t {
	case store.Announcement:
		typ, head = graph.TypeChannelAnnouncement, announcementHead
	case store.NodeAnnouncement:
		typ = graph.TypeNodeAnnouncement
	}
	if len(value) < head {
		return nil, fmt.Errorf("row of %d bytes, at least %d", len(value), head)
	}
	f := facts.Facts{}
	if t == store.Announcement {
		f.Add("seen_at_height", uint64(binary.BigEndian.Uint32(value[1:])))
		f.Add("spent_at_height", uint64(binary.BigEndian.Uint32(value[5:])))
		f.Add("capacity_sat", binary.BigEndian.Uint64(value[9:]))
	}
	msg, err := explain.Message(append(binary.BigEndian.AppendUint16(nil, typ), value[head:]...))
	if err != nil {
		return nil, err
	}
	f.Add("message", msg)
	return f, nil
}

func hashList(hashes [][32]byte) []any {
	l := []any{}
	for _, h := range hashes {
		l = append(l, hex.EncodeToString(h[:]))
	}
	return l
}

func scidOf(b []byte) string {
	v := binary.BigEndian.Uint64(b)
	return fmt.Sprintf("%dx%dx%d", v>>40, v>>16&0xffffff, v&0xffff)
}

func unixText(seconds int64) any {
	if seconds == 0 {
		return nil
	}
	return time.Unix(seconds, 0).UTC().Format(time.RFC3339)
}
