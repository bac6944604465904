package main

import (
	"bytes"
	"context"
	"testing"

	"lightningrod/cmd/internal/api"
)

func TestAttempt(t *testing.T) {
	for _, x := range []struct {
		ev   api.Event
		want string
	}{
		{api.Event{Kind: "payment.part_failed", Fields: map[string]string{"payment": "7", "part": "1", "reason": "hop 2: temporary_channel_failure"}},
			"payment 7: an attempt failed, part 1, reason hop 2: temporary_channel_failure"},
		{api.Event{Kind: "rod.acked", Fields: map[string]string{"payment": "7", "release_deadline": "540"}}, "payment 7: the LSP grants the hold, release deadline 540"},
		{api.Event{Kind: "rod.new", Fields: map[string]string{"payment": "7"}}, "payment 7: rod.new"},
		{api.Event{Kind: "payment.failed", Fields: map[string]string{"payment": "7", "reason": "\x1b[2J"}}, "payment 7: failed, reason ?[2J"},
	} {
		if got := attempt(x.ev); got != x.want {
			t.Errorf("%q, want %q", got, x.want)
		}
	}
}

// Whoever interrupts a command that waits is told that the node goes on, and gets the exit status for it.
func TestInterruptedWait(t *testing.T) {
	c := newChain(t)
	o := newOperator(t)
	a, b := serve(t, c, "alice", shortDir(t), true), serve(t, c, "bob", shortDir(t), true)
	o.rod(a.socket, 0, "lab", "mine", "1")
	burn, _ := o.rod(b.socket, 0, "newaddress")
	o.rod(a.socket, 0, "lab", "mine", "100", "--address", burn["address"].(string))
	o.until("coins", func() bool { w, _ := o.rod(a.socket, 0, "walletbalance"); return w["confirmed_sat"].(float64) > 0 })
	info, _ := o.rod(b.socket, 0, "getinfo")
	o.rod(a.socket, 0, "connect", info["id"].(string)+"@"+info["addresses"].([]any)[0].(string))
	ctx, interrupt := context.WithCancel(o.ctx)
	defer interrupt()
	var out bytes.Buffer
	errs := &watched{seen: interrupt}
	status := run(ctx, []string{"openchannel", info["id"].(string), "500000sat", "--wait", "--socket", a.socket}, &out, errs)
	if want := "channel 1: opening, waits for its confirmations\nrod: interrupted; what the node has begun goes on\n"; status != exitInterrupted || errs.b.String() != want {
		t.Fatalf("status %d, %q, want %q", status, errs.b.String(), want)
	}
	if l, _ := o.rod(a.socket, 0, "listchannels"); len(l["items"].([]any)) != 1 {
		t.Fatal("the channel is gone")
	}
}

// watched calls seen when something is written.
type watched struct {
	b    bytes.Buffer
	seen func()
}

func (w *watched) Write(b []byte) (int, error) {
	w.seen()
	return w.b.Write(b)
}
