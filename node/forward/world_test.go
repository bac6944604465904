package forward

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"lightningrod/channel"
	"lightningrod/onion"
	"lightningrod/rod"

	"github.com/lightningnetwork/lnd/lnwire"
)

// A world is the engine, the channels and the disk around a Forwarder, in the small: turns are writes in a queue of which a
// crash keeps a prefix, commands wait in one inbox, channels take or refuse what is posted to them. What peers can know is
// what is synced.
type world struct {
	t      *testing.T
	cfg    Config
	rodCfg rod.Config
	f      *Forwarder

	disk   *disk         // with all writes
	synced *disk         // with those that survive any crash
	writes []func(*disk) // the difference
	inbox  []Command

	refused map[channel.Key]int // Adds answered by Refused
	told    map[channel.Key]string
	onDisk  map[channel.Key]map[channel.Key]bool // children that ever were synced
	paid    map[channel.Key][32]byte             // by origin: preimages that outgoing peers gave
}

// disk is what is durable.
type disk struct {
	height   uint32
	now      int64
	stale    bool
	channels map[channel.ID]Channel
	devices  map[[33]byte]bool
	rows     map[string]Row
	in       map[channel.Key]Incoming
	out      map[channel.Key]channel.HTLC
	gone     map[channel.Key]channel.HTLC // outgoing HTLCs that are resolved and linger in their channels
	next     map[channel.ID]uint64
}

func (d *disk) clone() *disk {
	c := *d
	c.channels, c.devices, c.rows = maps.Clone(d.channels), maps.Clone(d.devices), maps.Clone(d.rows)
	c.in, c.out, c.gone, c.next = maps.Clone(d.in), maps.Clone(d.out), maps.Clone(d.gone), maps.Clone(d.next)
	return &c
}

func (d *disk) put(rows []Row) {
	for _, r := range rows {
		key := r.Table + hex.EncodeToString(r.Key)
		if r.Value == nil {
			delete(d.rows, key)
		} else {
			d.rows[key] = r
		}
	}
}

func newWorld(t *testing.T) *world {
	lsp := nodeID("lsp")
	w := &world{
		t: t, cfg: DefaultConfig(), rodCfg: rod.DefaultConfig(lsp),
		disk: &disk{
			height: 1000, now: 1_000_000,
			channels: map[channel.ID]Channel{}, devices: map[[33]byte]bool{}, rows: map[string]Row{},
			in: map[channel.Key]Incoming{}, out: map[channel.Key]channel.HTLC{}, gone: map[channel.Key]channel.HTLC{}, next: map[channel.ID]uint64{},
		},
		refused: map[channel.Key]int{}, told: map[channel.Key]string{},
		onDisk: map[channel.Key]map[channel.Key]bool{}, paid: map[channel.Key][32]byte{},
	}
	w.synced = w.disk.clone()
	w.restart()
	return w
}

// write queues a turn.
func (w *world) write(f func(*disk)) {
	f(w.disk)
	w.writes = append(w.writes, f)
}

// handle gives an event to the Forwarder; turn is the write of the turn that caused it, or nil.
func (w *world) handle(ev Event, turn func(*disk)) Output {
	out := w.f.Handle(ev)
	w.take(out, turn)
	return out
}

func (w *world) take(out Output, turn func(*disk)) {
	if turn != nil || len(out.Rows) > 0 {
		w.write(func(d *disk) {
			if turn != nil {
				turn(d)
			}
			d.put(out.Rows)
		})
	}
	for _, cmd := range out.Commands {
		if add, ok := cmd.(Add); ok {
			w.posted(add)
		}
	}
	w.inbox = append(w.inbox, out.Commands...)
}

// posted checks an Add the moment it is decided.
func (w *world) posted(add Add) {
	if w.disk.stale {
		w.t.Fatalf("an HTLC is added to channel %d on a stale tip", add.Channel)
	}
	origin, ok := add.HTLC.Origin.(channel.Forward)
	if ok && w.disk.channels[origin.In.Channel].OnChain {
		w.t.Fatalf("HTLC %v is forwarded, its channel is on chain", origin.In)
	}
	if _, committed := w.disk.in[origin.In]; ok && !committed {
		w.t.Fatalf("HTLC %v is forwarded before it is committed", origin.In)
	}
}

// sync makes all writes durable and lets them out. What peers then see is checked.
func (w *world) sync() {
	w.synced, w.writes = w.disk.clone(), nil
	w.seen()
}

// seen checks what the peers can see from now on.
func (w *world) seen() {
	for key, in := range w.synced.in {
		if in.Outcome == nil {
			continue
		}
		kind := "failed"
		if _, ok := in.Outcome.(channel.Fulfill); ok {
			kind = "fulfilled"
		}
		if before := w.told[key]; before != "" && before != kind {
			w.t.Fatalf("HTLC %v was told %s, now %s", key, before, kind)
		}
		w.told[key] = kind
		if _, ok := w.paid[key]; ok && kind == "failed" {
			w.t.Fatalf("HTLC %v failed although its outgoing HTLC was fulfilled", key)
		}
	}
	for key, out := range w.synced.out {
		if origin, ok := out.Origin.(channel.Forward); ok {
			if w.onDisk[origin.In] == nil {
				w.onDisk[origin.In] = map[channel.Key]bool{}
			}
			w.onDisk[origin.In][key] = true
			if len(w.onDisk[origin.In]) > 1 {
				w.t.Fatalf("HTLC %v was forwarded twice", origin.In)
			}
			if w.told[origin.In] == "failed" {
				w.t.Fatalf("HTLC %v has a child although it was failed", origin.In)
			}
		}
	}
}

// crash keeps the first n unsynced writes, and starts again.
func (w *world) crash(n int) Output {
	d := w.synced.clone()
	for _, f := range w.writes[:min(n, len(w.writes))] {
		f(d)
	}
	w.disk, w.synced, w.writes, w.inbox = d, d.clone(), nil, nil
	w.seen() // what was kept is sent at channel_reestablish
	return w.restart()
}

// restart rebuilds the Forwarder from the disk.
func (w *world) restart() Output {
	f, out := w.rebuild()
	w.f = f
	w.take(out, nil)
	return out
}

func (w *world) rebuild() (*Forwarder, Output) {
	d := Durable{Height: w.disk.height, Now: w.disk.now, Stale: w.disk.stale}
	var rodRows []rod.Row
	for _, key := range slices.Sorted(maps.Keys(w.disk.rows)) {
		row := w.disk.rows[key]
		switch row.Table {
		case TableSettled, TableInvoice, TablePayment:
			if err := d.Row(row); err != nil {
				w.t.Fatal(err)
			}
		default:
			rodRows = append(rodRows, row)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(w.disk.channels)) {
		d.Channels = append(d.Channels, w.disk.channels[id])
	}
	for peer := range w.disk.devices {
		d.Devices = append(d.Devices, peer)
	}
	for _, in := range w.disk.in {
		d.Incoming = append(d.Incoming, in)
	}
	for _, out := range w.disk.out {
		d.Outgoing = append(d.Outgoing, out)
	}
	for _, out := range w.disk.gone {
		d.Outgoing = append(d.Outgoing, out)
	}
	table, err := rod.Load(w.rodCfg, rodRows...)
	if err != nil {
		w.t.Fatal(err)
	}
	d.Table = table
	return Rebuild(w.cfg, d)
}

// Incoming HTLCs.

// offer commits an incoming HTLC.
func (w *world) offer(o Offered) Output {
	return w.handle(o, func(d *disk) { d.in[o.HTLC.Key] = Incoming{Offered: o} })
}

// settled removes an incoming HTLC whose outcome the peer has seen.
func (w *world) settled(key channel.Key) Output {
	in := w.disk.in[key]
	ev := Settled{channel.Settled{Key: key, Outcome: in.Outcome}}
	return w.handle(ev, func(d *disk) { delete(d.in, key) })
}

// Commands.

// deliver has the first command of the inbox taken by its channel. If refuse, an Add is refused.
func (w *world) deliver(refuse bool) (Output, string) {
	cmd := w.inbox[0]
	w.inbox = w.inbox[1:]
	switch cmd := cmd.(type) {
	case Add:
		if refuse {
			if origin, ok := cmd.HTLC.Origin.(channel.Forward); ok {
				w.refused[origin.In]++
			}
			err := fmt.Errorf("refused by the script")
			ev := Refused{channel.Refused{Origin: cmd.HTLC.Origin, HTLC: cmd.HTLC, Err: err}}
			return w.handle(ev, nil), fmt.Sprintf("refused %d", cmd.Channel)
		}
		key := channel.Key{Channel: cmd.Channel, HTLC: w.disk.next[cmd.Channel]}
		cmd.HTLC.Key = key
		w.write(func(d *disk) {
			d.next[key.Channel] = key.HTLC + 1
			d.out[key] = cmd.HTLC
		})
		return Output{}, "added " + keyText(key)
	case Settle:
		w.outcome(cmd.Key, cmd.Outcome, cmd.Clear)
		return Output{}, "settled " + keyText(cmd.Key)
	case FailWith:
		w.outcome(cmd.HTLC.Key, channel.Fail{Reason: []byte(cmd.Message.Code().String())}, cmd.Clear)
		return Output{}, "settled " + keyText(cmd.HTLC.Key)
	case WrapWith:
		w.outcome(cmd.HTLC.Key, channel.Fail{Reason: cmd.Reason}, cmd.Clear)
		return Output{}, "settled " + keyText(cmd.HTLC.Key)
	}
	panic("command")
}

// outcome is the turn of the incoming channel that stores an outcome.
func (w *world) outcome(key channel.Key, outcome channel.Outcome, clear []Row) {
	if f, ok := outcome.(channel.Fulfill); ok {
		if in, ok := w.disk.in[key]; ok && sha256.Sum256(f.Preimage[:]) != in.HTLC.Hash {
			w.t.Fatalf("HTLC %v is fulfilled with another preimage", key)
		}
	} else {
		for out, htlc := range w.disk.out {
			if htlc.Origin == (channel.Forward{In: key}) {
				w.t.Fatalf("HTLC %v is failed while its child %v lives", key, out)
			}
		}
	}
	w.write(func(d *disk) {
		d.put(clear)
		in, ok := d.in[key]
		if _, fulfilled := in.Outcome.(channel.Fulfill); ok && !fulfilled {
			in.Outcome = outcome
			d.in[key] = in
		}
	})
}

// resolve has the peer of an outgoing HTLC answer it.
func (w *world) resolve(key channel.Key, outcome channel.Outcome) Output {
	htlc, ok := w.disk.out[key]
	if !ok {
		w.t.Fatalf("there is no outgoing HTLC %v", key)
	}
	if f, ok := outcome.(channel.Fulfill); ok {
		if origin, ok := htlc.Origin.(channel.Forward); ok {
			w.paid[origin.In] = f.Preimage
		}
	}
	ev := Resolved{channel.Resolved{Key: key, Origin: htlc.Origin, Outcome: outcome}}
	return w.handle(ev, func(d *disk) {
		delete(d.out, key)
		d.gone[key] = htlc
	})
}

// removed has a channel forget an outgoing HTLC that was resolved before.
func (w *world) removed(key channel.Key) {
	w.write(func(d *disk) { delete(d.gone, key) })
}

// introduce opens a channel.
func (w *world) introduce(c Channel) Output {
	return w.handle(c, func(d *disk) { d.channels[c.ID] = c })
}

// mark changes what the disk says of a channel.
func (w *world) mark(ev Event, id channel.ID, change func(*Channel)) Output {
	return w.handle(ev, func(d *disk) {
		c := d.channels[id]
		change(&c)
		d.channels[id] = c
	})
}

func (w *world) block(height uint32) Output {
	return w.handle(Block{height}, func(d *disk) { d.height = height })
}

func (w *world) tick(now int64) Output {
	return w.handle(Tick{now}, func(d *disk) { d.now = now })
}

func (w *world) setStale(stale bool) Output {
	return w.handle(Stale{stale}, func(d *disk) { d.stale = stale })
}

// Names.

func nodeID(name string) (id [33]byte) {
	id[0] = 2
	copy(id[1:], name)
	return id
}

// nodeName is the inverse of nodeID.
func nodeName(id [33]byte) string { return string(bytes.TrimRight(id[1:], "\x00")) }

func preimageOf(name string) (p [32]byte) {
	copy(p[:], "preimage of "+name)
	return p
}

func hashOf(name string) [32]byte {
	p := preimageOf(name)
	return sha256.Sum256(p[:])
}

// pathIDOf is the path_id of an invoice's blinded paths; of "secret:h1" the payment_secret of h1 instead, and of nothing none.
func pathIDOf(name string) []byte {
	if of, ok := strings.CutPrefix(name, "secret:"); ok {
		secret := secretOf(of)
		return secret[:]
	}
	if name == "" {
		return nil
	}
	id := (&Invoice{Preimage: preimageOf(name)}).PathID()
	return id[:]
}

func secretOf(name string) (p [32]byte) {
	copy(p[:], "secret of "+name)
	return p
}

func pidOf(name string) (p [32]byte) {
	copy(p[:], "pid "+name)
	return p
}

func scidOf(n uint64) lnwire.ShortChannelID { return lnwire.NewShortChanIDFromInt(n) }

func keyText(k channel.Key) string { return fmt.Sprintf("%d/%d", k.Channel, k.HTLC) }

// holdRequest is a rod_hold over LSPS0.
func holdRequest(peer, pid string, total uint64, deadline uint32, hashes ...string) Rod {
	m := rod.HoldRequest{PidHash: rod.PidHash(pidOf(pid)), TotalMsat: total, Deadline: deadline, ArmedTTL: 3600}
	for _, h := range hashes {
		m.Hashes = append(m.Hashes, hashOf(h))
	}
	return Rod{rod.Requested{Peer: nodeID(peer), HasChannel: true, Payload: m.Encode(), Direct: true}}
}

func unblock(pid string) Rod { return Rod{rod.Unblock{Pid: pidOf(pid)}} }

// standardPolicy is the policy of every channel unless a test says otherwise.
func standardPolicy() Policy {
	return Policy{FeeBase: 1000, FeePPM: 100, CltvExpiryDelta: 144, HTLCMinimum: 1000, Update: []byte("update")}
}

// forwardOffer is an HTLC to forward to the channel with this scid, paying what standardPolicy asks.
func forwardOffer(key channel.Key, peer, hash string, amount lnwire.MilliSatoshi, expiry uint32, scid uint64) Offered {
	hop := onion.Hop{Amount: amount - 10_000, Cltv: expiry - 144, NextSCID: scidOf(scid)}
	return Offered{
		HTLC: channel.HTLC{Key: key, Amount: amount, Hash: hashOf(hash), Expiry: expiry},
		Peer: nodeID(peer), Hop: &hop,
	}
}

// finalOffer is an HTLC for us.
func finalOffer(key channel.Key, peer, hash string, amount, total lnwire.MilliSatoshi, expiry uint32) Offered {
	secret := secretOf(hash)
	hop := onion.Hop{Final: true, Amount: amount, Cltv: expiry, PaymentSecret: &secret, Total: total}
	return Offered{
		HTLC: channel.HTLC{Key: key, Amount: amount, Hash: hashOf(hash), Expiry: expiry},
		Peer: nodeID(peer), Hop: &hop,
	}
}

// invoiceFor is an open invoice.
func invoiceFor(hash string, amount lnwire.MilliSatoshi, expiry int64) Invoice {
	return Invoice{Hash: hashOf(hash), Preimage: preimageOf(hash), Secret: secretOf(hash), Amount: amount, Expiry: expiry, MinFinalCltv: 18}
}

// states says where each HTLC stands.
func (f *Forwarder) states() string {
	list := make([]channel.Key, 0, len(f.htlcs))
	for key := range f.htlcs {
		list = append(list, key)
	}
	var b strings.Builder
	for _, key := range sortKeys(list) {
		in := f.htlcs[key]
		fmt.Fprintf(&b, "%s %v", keyText(key), in.state)
		if in.state.pending() {
			fmt.Fprintf(&b, " until %d", in.limit)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
