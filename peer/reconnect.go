package peer

import (
	"context"
	"slices"
	"time"
)

// kept is a node that the Host wants to be connected to.
type kept struct {
	addrs  []string
	cancel context.CancelFunc
	came   chan struct{} // room for one: a connection has come up, whoever made it
}

// Keep connects to a node and connects again whenever the connection is lost, at one of addrs in turn, until Unkeep or
// Close. Keeping a node again replaces its addresses and tries at once. A node without addresses is only waited for.
func (h *Host) Keep(node [33]byte, addrs ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || node == h.self {
		return
	}
	if k := h.kept[node]; k != nil {
		if slices.Equal(k.addrs, addrs) {
			return
		}
		k.cancel()
	}
	ctx, cancel := context.WithCancel(h.ctx)
	k := &kept{addrs: addrs, cancel: cancel, came: make(chan struct{}, 1)}
	h.kept[node] = k
	if len(addrs) > 0 {
		h.wg.Go(func() { h.keep(ctx, node, k) })
	}
}

// Unkeep stops reconnecting to a node. A connection there is stays.
func (h *Host) Unkeep(node [33]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if k := h.kept[node]; k != nil {
		k.cancel()
		delete(h.kept, node)
	}
}

// keep is Keep's loop. A connection that comes up while it waits, made by the node or by a Connect of somebody else's, ends the wait: the node is there
// again, and should that connection be lost, nobody shall have to wait for what was due before it.
func (h *Host) keep(ctx context.Context, node [33]byte, k *kept) {
	failures, turn := 0, 0
	for ctx.Err() == nil {
		p, err := h.Connect(ctx, node, k.addrs[turn])
		if err == nil {
			select {
			case <-k.came: // this one
			default:
			}
			select {
			case <-p.Done():
			case <-ctx.Done():
				return
			}
			if h.cfg.Clock.Now().Sub(p.since) >= h.cfg.StableAfter {
				failures = 0
			}
		}
		wait := h.backoff(failures)
		failures++
		if err != nil && ctx.Err() == nil {
			turn = (turn + 1) % len(k.addrs)
			h.log.Info("connecting again later", "wait", wait, "err", err)
		}
		select {
		case <-h.cfg.Clock.After(wait):
		case <-k.came:
			failures = 0
		case <-ctx.Done():
		}
	}
}

// backoff doubles from MinBackoff to MaxBackoff, less up to half of it by chance: nodes that lost each other at the same
// moment shall not dial at the same moment.
func (h *Host) backoff(failures int) time.Duration {
	d := h.cfg.MaxBackoff
	if failures < 30 {
		d = min(d, h.cfg.MinBackoff<<failures)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return d - time.Duration(h.rand.Int64N(int64(d)/2+1))
}
