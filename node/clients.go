package node

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"lightningrod/channel"
	"lightningrod/node/forward"
	"lightningrod/node/store"
	"lightningrod/rod/lsps"
)

// This file is what an LSP's operator may know and do about its clients: when they were last there, what is kept for them and owed
// to them, and how they are woken.

// sighting is a row of store.Client: when a client was last connected, and how often it was called since.
type sighting struct {
	seen, woken int64 // unix seconds; 0: never
	wakes       uint32
}

// sightings are those of all clients: nodes that have a channel with us or a device to be woken by. They are a leaf: nothing is locked under them.
type sightings struct {
	mu sync.Mutex
	of map[[33]byte]sighting
}

const sightingVersion = 1

func (s sighting) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{sightingVersion}, uint64(s.seen))
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(b, uint64(s.woken)), s.wakes)
}

func decodeSighting(key, row []byte) (s sighting, err error) {
	if len(key) != 33 || len(row) != 21 || row[0] != sightingVersion {
		return s, fmt.Errorf("client row %x: %d bytes are no row of version %d", key, len(row), sightingVersion)
	}
	u := binary.BigEndian
	return sighting{int64(u.Uint64(row[1:])), int64(u.Uint64(row[9:])), u.Uint32(row[17:])}, nil
}

// loadSightings reads the rows, and deletes those of nodes that are clients no more.
func (n *Node) loadSightings() error {
	n.sightings.of = map[[33]byte]sighting{}
	t := &turn{}
	err := n.store.Load(store.Client, func(key, row []byte) error {
		s, err := decodeSighting(key, row)
		if err != nil {
			return err
		}
		if id := [33]byte(key); n.knows(id) {
			n.sightings.of[id] = s
		} else {
			t.rows = append(t.rows, store.Op{Table: store.Client, Key: key})
		}
		return nil
	})
	n.queue.put(t)
	return err
}

// knows says whether a node is a client.
func (n *Node) knows(id [33]byte) bool {
	return n.isClient(id) || n.clients.server != nil && len(n.clients.server.Devices.Of(id)) > 0
}

// saw notes that a client connects or leaves.
func (n *Node) saw(id [33]byte) store.Write {
	if !n.cfg.LSP || !n.isClient(id) {
		return nil
	}
	return n.sight(id, func(s *sighting) { s.seen, s.wakes = n.cfg.Now().Unix(), 0 })
}

// called notes that a device of a client is called.
func (n *Node) called(id [33]byte) store.Write {
	return n.sight(id, func(s *sighting) { s.woken, s.wakes = n.cfg.Now().Unix(), s.wakes+1 })
}

func (n *Node) sight(id [33]byte, change func(*sighting)) store.Write {
	n.sightings.mu.Lock()
	defer n.sightings.mu.Unlock()
	s := n.sightings.of[id]
	change(&s)
	n.sightings.of[id] = s
	return store.Write{{Table: store.Client, Key: id[:], Value: s.encode()}}
}

// ClientInfo is a node that has a channel with this LSP, or can be woken by it.
type ClientInfo struct {
	ID        [33]byte
	Connected bool
	Seen      time.Time // when it last connected or left; zero: not since it is a client
	Woken     time.Time // when a device of it was last called; zero: never
	Wakes     uint32    // calls since it was last seen
	Channels  int
	Devices   int
	Held      int    // HTLCs of payments it makes that wait for their payee
	HeldMsat  uint64 // their value
	Messages  int    // in its mailbox
	Bytes     int
	Owed      int // HTLCs of it that have their outcome and are still in the channel
	OwedMsat  uint64
}

// Clients lists them by id. A node that is no LSP has none.
func (n *Node) Clients() []ClientInfo {
	if !n.cfg.LSP {
		return nil
	}
	byID := map[[33]byte]*ClientInfo{}
	client := func(id [33]byte) *ClientInfo {
		if byID[id] == nil {
			byID[id] = &ClientInfo{ID: id, Connected: n.Connected(id)}
		}
		return byID[id]
	}
	for _, in := range n.registry.each(nil) {
		client(in.peer).Channels++
	}
	for _, b := range n.Mailbox() {
		c := client(b.Client)
		c.Messages, c.Bytes = b.Messages, b.Bytes
	}
	for _, h := range n.HTLCs() {
		switch c := client(h.Peer); {
		case h.State == "held":
			c.Held, c.HeldMsat = c.Held+1, c.HeldMsat+uint64(h.Amount)
		case over(h):
			c.Owed, c.OwedMsat = c.Owed+1, c.OwedMsat+uint64(h.Amount)
		}
	}
	for _, d := range n.devices() {
		client(d.Client).Devices++
	}
	n.sightings.mu.Lock()
	for id, c := range byID {
		s := n.sightings.of[id]
		c.Seen, c.Woken, c.Wakes = unixTime(s.seen), unixTime(s.woken), s.wakes
	}
	n.sightings.mu.Unlock()
	for id, c := range byID {
		if p := n.host.Peer(id); p != nil && c.Seen.Before(p.Since()) {
			c.Seen = p.Since() // it became a client only after it had connected
		}
	}
	all := make([]ClientInfo, 0, len(byID))
	for _, c := range byID {
		all = append(all, *c)
	}
	slices.SortFunc(all, func(a, b ClientInfo) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return all
}

func unixTime(s int64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(s, 0)
}

func (n *Node) devices() []lsps.Device {
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	if n.clients.server == nil {
		return nil
	}
	return n.clients.server.Devices.All()
}

// WebhookInfo is a way to wake a client. The rest of its URL or its token is the client's secret.
type WebhookInfo struct {
	ID       string // 16 hex digits
	Client   [33]byte
	Name     string // app_name
	Platform string // webhook, fcm or apns
	Host     string // of a webhook
	LSPS5    bool   // registered by lsps5.set_webhook
}

// Webhooks lists what clients have registered, by client and name.
func (n *Node) Webhooks() []WebhookInfo {
	all := []WebhookInfo{}
	for _, d := range n.devices() {
		w := WebhookInfo{ID: webhookID(d), Client: d.Client, Name: d.Name, Platform: d.Platform.String(), LSPS5: d.LSPS5}
		if u, err := url.Parse(d.Target); err == nil && d.Platform == lsps.Webhook {
			w.Host = u.Host
		}
		all = append(all, w)
	}
	return all
}

func webhookID(d lsps.Device) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%x %t %s", d.Client, d.LSPS5, d.Name))
	return hex.EncodeToString(sum[:8])
}

// ErrNoWebhook says that nothing is registered under an id.
var ErrNoWebhook = errors.New("no webhook with this id")

// RemoveWebhook forgets one. Its client is not called by it any more, and is not told.
func (n *Node) RemoveWebhook(id string) error {
	done := make(chan error, 1)
	if err := n.dropWebhook(id, done); err != nil {
		return err
	}
	return <-done
}

func (n *Node) dropWebhook(id string, done chan<- error) error {
	n.queue.reserve()
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	if n.clients.server == nil {
		return ErrNoWebhook
	}
	devices := n.clients.server.Devices
	for _, d := range devices.All() {
		if webhookID(d) != id {
			continue
		}
		rows, _ := devices.Remove(d)
		t := &turn{rows: rowOps(rows), done: []chan<- error{done}, events: []Event{event(DeviceGone, "client", d.Client)}}
		n.decide(t, []forward.Event{forward.PeerDevice{Peer: d.Client, Has: len(devices.Of(d.Client)) > 0}})
		return nil
	}
	return ErrNoWebhook
}

// Debt is something that is decided and that its receiver does not have yet: the outcome of an HTLC that is still in its channel, messages in a
// mailbox, or a notification that was not delivered.
type Debt struct {
	Kind   string   // preimage, failure, message or notification
	Peer   [33]byte // whom it is owed to
	Here   bool     // it is connected
	Key    channel.Key
	Hash   [32]byte
	Msat   uint64
	Expiry uint32 // cltv_expiry of the HTLC
	Claim  uint32 // of a preimage: the height at which the channel goes on chain for its sake
	Count  int    // messages
	Method string // of a notification
	Params string // of a notification: a JSON object
	ID     uint64 // of a notification
	Since  time.Time
}

// Owed lists what this node owes, the most urgent first: preimages by the height at which they are claimed on chain, then the others.
func (n *Node) Owed() ([]Debt, error) {
	margins := n.claimMargins()
	all := []Debt{}
	for _, h := range n.HTLCs() {
		if !over(h) {
			continue
		}
		d := Debt{Kind: "failure", Peer: h.Peer, Key: h.Key, Hash: h.Hash, Msat: uint64(h.Amount), Expiry: h.Expiry}
		if h.State == "fulfilled" {
			margin := max(margins[h.Key], n.cfg.Channel.FulfillMargin)
			d.Kind, d.Claim = "preimage", h.Expiry-min(h.Expiry, margin)
		}
		all = append(all, d)
	}
	slices.SortStableFunc(all, func(a, b Debt) int { return cmp.Compare(a.Claim-1, b.Claim-1) }) // 0 becomes the highest
	for _, b := range n.Mailbox() {
		all = append(all, Debt{Kind: "message", Peer: b.Client, Count: b.Messages, Since: b.Oldest})
	}
	err := n.store.Load(store.Outbox, func(key, value []byte) error {
		var call wakeCall
		if err := json.Unmarshal(value, &call); err != nil || len(key) != 8 {
			return fmt.Errorf("outbox row %x is malformed", key)
		}
		d := Debt{Kind: "notification", Method: call.Method, Params: call.Params, ID: binary.BigEndian.Uint64(key), Since: unixTime(call.Created)}
		_, err := hex.Decode(d.Peer[:], []byte(call.Client))
		all = append(all, d)
		return err
	})
	for i := range all {
		all[i].Here = n.Connected(all[i].Peer)
	}
	return all, err
}

// over says whether an incoming HTLC has its outcome.
func over(h forward.Live) bool { return h.State == "fulfilled" || h.State == "failed" }

// claimMargins are the blocks before their expiry at which preimages of HTLCs that were held are claimed on chain.
func (n *Node) claimMargins() map[channel.Key]uint32 {
	margins := map[channel.Key]uint32{}
	for _, r := range n.Requests() {
		for _, m := range r.Members {
			margins[channel.Key{Channel: channel.ID(m.Key.Channel), HTLC: m.Key.ID}] = n.cfg.Rod.ClaimMargin
		}
	}
	return margins
}
