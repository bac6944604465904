package channel_test

import (
	"bytes"
	"testing"

	"lightningrod/channel"

	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// TestBatteryWire cuts the bytes of one message of every kind everywhere, and flips bits in them, for one state of each
// class. What still decodes is thrown at the state.
func TestBatteryWire(t *testing.T) {
	done := map[string]bool{}
	cut, flipped, decoded := 0, 0, 0
	for _, x := range everyState(t, true) {
		class := x.s.Class()
		if done[class] || class == "off" || class == "closed" {
			continue
		}
		done[class] = true
		throw := func(raw []byte) {
			m, err := lnwire.ReadMessage(bytes.NewReader(raw), 0)
			if err == nil {
				decoded++
				verdict(t, "from the wire, in "+class, &x, input{m})
			}
		}
		last := ""
		for _, k := range kinds {
			ins := k.make(&x)
			if k.message == last || len(ins) == 0 {
				continue
			}
			var b bytes.Buffer
			if _, err := lnwire.WriteMessage(&b, ins[0][0], 0); err != nil {
				continue // what cannot be said
			}
			last = k.message
			raw := b.Bytes()
			every := 1 + len(raw)/200 // onions are long
			if testing.Short() {
				every = 1 + len(raw)/40
			}
			for n := 0; n < len(raw); n += every {
				cut++
				throw(raw[:n])
				flipped++
				bad := bytes.Clone(raw)
				bad[n] ^= 1 << (n % 8)
				throw(bad)
			}
		}
	}
	t.Logf("%d messages cut, %d with a bit flipped; %d decode", cut, flipped, decoded)
}

// TestBatteryPublishes does part of the battery with real signatures: what a failing channel publishes is a valid
// transaction, by the script engine.
func TestBatteryPublishes(t *testing.T) {
	valid := map[wire.OutPoint]map[string]bool{}
	failed, checked := 0, 0
	for i, x := range everyState(t, false) {
		if i%8 != 0 {
			continue
		}
		for _, k := range kinds {
			ins := k.make(&x)
			if len(ins) == 0 {
				continue
			}
			after, out := channel.Apply(x.s, x.me, []channel.Event{channel.Received{Msg: ins[0][0]}, channel.Sign{}})
			for _, p := range publishes(&out) {
				failed++
				id := p.Tx.TxHash().String()
				prev := p.Tx.TxIn[0].PreviousOutPoint
				if valid[prev] == nil {
					valid[prev] = map[string]bool{}
				}
				if valid[prev][id] {
					continue
				}
				checked++
				valid[prev][id] = true
				_, out, err := after.LocalCommitment(x.me)
				step(t, err)
				runInput(t, p.Tx, out)
			}
		}
	}
	t.Logf("%d failures published %d different commitments, all valid", failed, checked)
	if checked < 5 {
		t.Error("too few")
	}
}
