package node

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"lightningrod/node/notify"
	"lightningrod/node/store"
	"lightningrod/rod"
	"lightningrod/rod/lsps"
)

// wakeCall is a row of the outbox: a notification that a client's device is to get. It is signed when it is handed over,
// since clients refuse old signatures; the row has no secret but the URL.
type wakeCall struct {
	Client  string `json:"client"`
	URL     string `json:"url"`
	Method  string `json:"method"`
	Params  string `json:"params"`
	Created int64  `json:"created"` // unix seconds
}

const (
	// wakeKeep is how long after its cause a notification is still worth sending.
	wakeKeep = 24 * time.Hour
	// wakeFresh is how long one signature is used (bLIP 55: clients check the time).
	wakeFresh = 10 * time.Minute
)

// postbox gives notifications whose rows are durable to the Deliverer, and deletes the rows of those that are done.
type postbox struct {
	node    *Node
	deliver *notify.Deliverer

	mu    sync.Mutex // a leaf
	under map[uint64]*underway
}

// underway is a notification that is not done.
type underway struct {
	client, method string
	begun          time.Time // handed over
	code           int       // HTTP status of the last attempt; 0: no answer
}

// outgoingCall is a wakeCall and the key of its row.
type outgoingCall struct {
	id   uint64
	call wakeCall
}

func newPostbox(n *Node) (*postbox, error) {
	p := &postbox{node: n, under: map[uint64]*underway{}}
	var err error
	p.deliver, err = notify.New(notify.Config{Results: p, AllowLocal: n.cfg.LocalHooks, Logger: n.log})
	return p, err
}

// load hands over what was not done when the node ended.
func (p *postbox) load(s *store.Store) error {
	return s.Load(store.Outbox, func(key, value []byte) error {
		o := outgoingCall{}
		if err := json.Unmarshal(value, &o.call); err != nil || len(key) != 8 {
			return fmt.Errorf("outbox row %x is malformed", key)
		}
		o.id = binary.BigEndian.Uint64(key)
		p.send([]outgoingCall{o})
		return nil
	})
}

// send never blocks.
func (p *postbox) send(os []outgoingCall) {
	for _, o := range os {
		now := p.node.cfg.Now()
		p.mu.Lock()
		p.under[o.id] = &underway{client: o.call.Client, method: o.call.Method, begun: now}
		p.mu.Unlock()
		end := time.Unix(o.call.Created, 0).Add(wakeKeep)
		if fresh := now.Add(wakeFresh); fresh.Before(end) {
			end = fresh
		}
		body := lsps.Body(o.call.Method, o.call.Params)
		stamp := lsps.Datetime(now.UnixMilli())
		h := http.Header{}
		h.Set("Content-Type", "application/json")
		h.Set(lsps.HeaderTimestamp, stamp)
		h.Set(lsps.HeaderSignature, lsps.Sign(p.node.keys.identity, lsps.SigningText(stamp, body)))
		if err := p.deliver.Add(notify.Entry{ID: o.id, URL: o.call.URL, Header: h, Body: body, Expires: end}); err != nil {
			p.node.log.Warn("a notification waits for the next start", "error", err)
		}
	}
}

// Attempted is one try, for the log.
func (p *postbox) Attempted(a notify.Attempt) {
	p.mu.Lock()
	if u := p.under[a.ID]; u != nil {
		u.code = a.Code
	}
	p.mu.Unlock()
	p.node.log.Debug("webhook", "host", a.Host, "attempt", a.Number, "code", a.Code, "error", a.Err)
}

// Done deletes the row.
func (p *postbox) Done(id uint64, s notify.Status) {
	kind := WakeDelivered
	if s != notify.Delivered {
		kind = WakeFailed
	}
	p.mu.Lock()
	u := p.under[id]
	delete(p.under, id)
	p.mu.Unlock()
	ev := event(kind, "status", s)
	if u != nil {
		took := p.node.cfg.Now().Sub(u.begun)
		ev = event(kind, "client", u.client, "method", u.method, "status", s, "code", u.code, "after_ms", max(0, took.Milliseconds()))
	}
	p.node.queue.put(&turn{rows: store.Write{{Table: store.Outbox, Key: u64(id)}}, events: []Event{ev}})
}

// wake puts a notification for one device into a turn: its row, and what is handed over at release.
func (n *Node) wake(t *turn, dev lsps.Device, id uint64, method, params string) {
	call := wakeCall{Client: hex.EncodeToString(dev.Client[:]), URL: dev.Target, Method: method, Params: params, Created: n.cfg.Now().Unix()}
	row, err := json.Marshal(call)
	if err != nil {
		panic(err) // strings and a number
	}
	t.rows = append(t.rows, store.Op{Table: store.Outbox, Key: u64(id), Value: row})
	t.rows = append(t.rows, n.called(dev.Client)...)
	t.wakes = append(t.wakes, outgoingCall{id, call})
	t.events = append(t.events, event(WakeSent, "client", dev.Client, "method", method))
}

// addWakes turns wishes to wake a client into notifications for each of its devices.
func (n *Node) addWakes(t *turn, wakes []rod.Wake) {
	if n.clients.server == nil {
		return
	}
	for _, w := range wakes {
		for _, dev := range n.clients.server.Devices.Of(w.Peer) {
			if dev.Platform != lsps.Webhook {
				continue // FCM and APNs have no sender yet
			}
			h := sha256.Sum256(append(w.ID[:], dev.Name...))
			n.wake(t, dev, binary.BigEndian.Uint64(h[:]), w.Method, w.Params)
		}
	}
}
