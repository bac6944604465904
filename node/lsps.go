package node

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"

	"lightningrod/node/forward"
	"lightningrod/peer"
	"lightningrod/rod"
	"lightningrod/rod/lsps"

	"github.com/lightningnetwork/lnd/lnwire"
)

// clients is the LSP's side of LSPS0 (what clients registered) and the client's side (calls that wait for an answer).
type clients struct {
	server *lsps.Server // nil unless we are an LSP; guarded by the brain's mutex

	mu    sync.Mutex
	calls map[string]chan lsps.Response
}

// lsps0 takes a payload of message 37913: a client's call if we are an LSP, else an answer to ours.
func (n dispatch) lsps0(p *peer.Peer, payload []byte) {
	if r, err := lsps.ParseResponse(payload); err == nil {
		n.clients.mu.Lock()
		c := n.clients.calls[r.ID]
		delete(n.clients.calls, r.ID)
		n.clients.mu.Unlock()
		if c != nil {
			c <- r
			return
		}
	}
	if n.cfg.LSP {
		n.serve(p, payload)
	}
}

// serve answers a client's call. What was registered is durable before the answer leaves.
func (n *Node) serve(p *peer.Peer, payload []byte) {
	id := p.Node()
	n.queue.reserve()
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	r := n.clients.server.Handle(lsps.Call{Client: id, Payload: payload, HasChannel: n.hasChannel(id), Now: n.cfg.Now().Unix()})
	t := &turn{rows: rowOps(r.Rows)}
	if r.Registered != nil {
		n.wake(t, *r.Registered, uint64(n.cfg.Now().UnixNano()), lsps.MethodRegistered, "{}")
		t.events = append(t.events, event(DeviceKnown, "client", id))
	}
	var after []forward.Event
	if len(r.Rows) > 0 {
		after = append(after, forward.PeerDevice{Peer: id, Has: len(n.clients.server.Devices.Of(id)) > 0})
	}
	answer := r.Response
	if r.Event != nil {
		out := n.brain.forward.Handle(forward.Rod{Event: r.Event})
		answer = r.Answer(rod.Output{Replies: out.Replies})
		out.Replies = withPath(out.Replies)
		n.reply(t, p, answer)
		n.carryOut(t, out)
		t = &turn{}
	} else {
		n.reply(t, p, answer)
	}
	n.decide(t, after)
}

func (n *Node) reply(t *turn, p *peer.Peer, answer []byte) {
	if answer == nil {
		return
	}
	m, err := lnwire.NewCustom(peer.LSPS0, answer)
	if err != nil {
		n.log.Error("LSPS0 answer", "error", err)
		return
	}
	t.sends = append(t.sends, outgoing{to: p, msgs: []lnwire.Message{m}})
}

// withPath drops the answers to a direct request, which go back the way it came.
func withPath(rs []rod.Reply) (keep []rod.Reply) {
	for _, r := range rs {
		if r.Path != nil {
			keep = append(keep, r)
		}
	}
	return keep
}

// call sends a request to an LSP and waits for its answer.
func (n *Node) call(ctx context.Context, lsp [33]byte, method string, params any) (json.RawMessage, error) {
	p := n.host.Peer(lsp)
	if p == nil {
		return nil, fmt.Errorf("LSP %s is not connected", shortNode(lsp))
	}
	b, err := n.random32()
	if err != nil {
		return nil, err
	}
	id := hex.EncodeToString(b[:16])
	answer := make(chan lsps.Response, 1)
	n.clients.mu.Lock()
	n.clients.calls[id] = answer
	n.clients.mu.Unlock()
	defer func() {
		n.clients.mu.Lock()
		delete(n.clients.calls, id)
		n.clients.mu.Unlock()
	}()
	if err := p.SendRaw(peer.LSPS0, lsps.NewRequest(id, method, params)); err != nil {
		return nil, err
	}
	select {
	case r := <-answer:
		if r.Error != nil {
			return nil, fmt.Errorf("%s: %w", method, r.Error)
		}
		return r.Result, nil
	case <-p.Done():
		return nil, fmt.Errorf("%s: the connection ended", method)
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %w", method, ctx.Err())
	}
}

// RegisterWebhook has our LSP wake us over a URL (lsps5.set_webhook).
func (n *Node) RegisterWebhook(ctx context.Context, lsp [33]byte, app, url string) error {
	_, err := n.call(ctx, lsp, "lsps5.set_webhook", struct {
		App     string `json:"app_name"`
		Webhook string `json:"webhook"`
	}{app, url})
	return err
}

// clientChannels tells the registrations whether a client still has a channel: devices outlive the last one by a while.
func (n *Node) clientChannels(client [33]byte) {
	n.brain.mu.Lock()
	defer n.brain.mu.Unlock()
	if n.clients.server != nil {
		rows := n.clients.server.Devices.Channel(client, n.isClient(client), n.cfg.Now().Unix())
		n.queue.put(&turn{rows: rowOps(rows)})
	}
}

// RequestHold asks our LSP to hold the HTLCs of a payment that is made by other means than SendAsync (rod.hold). The connection says
// who asks, so the request carries no signature.
func (n *Node) RequestHold(ctx context.Context, lsp [33]byte, r rod.HoldRequest) (rod.AckStatus, error) {
	hashes := make([]string, len(r.Hashes))
	for i, h := range r.Hashes {
		hashes[i] = hex.EncodeToString(h[:])
	}
	answer, err := n.call(ctx, lsp, "rod.hold", struct {
		PidHash  string   `json:"pid_hash"`
		Hashes   []string `json:"payment_hashes"`
		Deadline uint32   `json:"release_deadline,omitempty"`
		Parts    uint16   `json:"expected_parts,omitempty"`
		Total    string   `json:"total_msat,omitempty"`
	}{hex.EncodeToString(r.PidHash[:]), hashes, r.Deadline, r.ExpectedParts, decimal(r.TotalMsat)})
	if err != nil {
		return 0, err
	}
	var ack struct {
		Status rod.AckStatus `json:"status"`
	}
	if err := json.Unmarshal(answer, &ack); err != nil {
		return 0, fmt.Errorf("rod.hold: %w", err)
	}
	return ack.Status, nil
}

// decimal is an amount as LSPS0 writes it; nothing for 0.
func decimal(msat uint64) string {
	if msat == 0 {
		return ""
	}
	return strconv.FormatUint(msat, 10)
}

// reach tries to connect to a channel peer now.
func (n *Node) reach(id [33]byte) {
	for _, addr := range n.Addresses(id) {
		n.host.Keep(id, addr)
	}
}
