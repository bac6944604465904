package channel_test

import (
	"bytes"
	"testing"

	"lightningrod/chain"
	"lightningrod/channel"
	"lightningrod/channel/channeltest"
	"lightningrod/channel/commitment"

	"github.com/lightningnetwork/lnd/lnwire"
)

// sample is a channel with a bit of everything in it, and the bodies of its HTLCs.
func sample(t testing.TB) (*channel.State, channeltest.Crypto, []channel.HTLC) {
	t.Helper()
	p, err := channeltest.Open(channeltest.Options{Toy: true, Push: 400_000_000})
	if err != nil {
		t.Fatal(err)
	}
	do := func(side int, evs ...channel.Event) {
		if err := p.Do(side, evs...); err != nil {
			t.Fatal(err)
		}
	}
	for n := range uint64(3) {
		do(0, channel.Add{HTLC: channeltest.HTLC(n, 10_000_000, 700)})
		do(1, channel.Add{HTLC: channeltest.HTLC(n, 200_000, 700)})
	}
	if err := p.DeliverAll(); err != nil {
		t.Fatal(err)
	}
	do(1, channel.Settle{HTLC: 0, Outcome: channel.Fulfill{Preimage: channeltest.Preimage(0), TLVs: []byte{1, 0}}})
	do(0, channel.Settle{HTLC: 1, Outcome: channel.Fail{Reason: []byte("because")}}, channel.UpdateFee{FeePerKw: 700})
	for range 3 {
		if _, err := p.Deliver(1); err != nil {
			t.Fatal(err)
		}
	}
	do(0, channel.Settle{HTLC: 2, Outcome: channel.Malformed{Code: 0x8001}})
	s := p.Sides[0].State
	var bodies []channel.HTLC
	for _, hs := range [][]channel.LiveHTLC{s.Offered(), s.Received()} {
		for _, h := range hs {
			bodies = append(bodies, *h.HTLC)
		}
	}
	return s, p.Sides[0].Crypto, bodies
}

// FuzzDecodeState, like every fuzz target with long inputs, is to be run with -fuzzminimizetime=10x: a core is 1.4 kB, most
// of it keys and numbers, and by default the fuzzer spends a minute on every new one to make it shorter. Then it does
// 20,000 a second.
func FuzzDecodeState(f *testing.F) {
	s, c, bodies := sample(f)
	for i, x := range everyState(f, true) {
		if i%7 == 0 && x.s.Durable() && x.s.Phase() != channel.PhaseClosed {
			f.Add(x.s.Encode())
		}
	}
	f.Add(s.Encode())
	closing, _ := channel.Apply(s, c, []channel.Event{channel.ForceClose{}})
	f.Add(closing.Encode())
	tx, _, err := s.LocalCommitment(c)
	if err != nil {
		f.Fatal(err)
	}
	spent := chain.Spent{Out: s.Funding(), By: tx, Height: 110}
	swept, _ := channel.Apply(closing, c, []channel.Event{channel.Chain{Event: spent}})
	f.Add(swept.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		channel.Restore(b, nil)
		s, _, err := channel.Restore(b, append([]channel.HTLC(nil), bodies...))
		if err != nil {
			return
		}
		if !bytes.Equal(s.Encode(), b) {
			t.Fatal("decoded, but encodes differently")
		}
		if err := s.Invariants(); err != nil {
			t.Fatal(err)
		}
		channel.Apply(s, c, []channel.Event{channel.Disconnected{}, channel.Chain{Event: chain.BlockConnected{Height: s.Height() + 1}}})
	})
}

// TestRestoreChecks: bytes cut short, with something behind them, of another version, or without their bodies are refused.
func TestRestoreChecks(t *testing.T) {
	s, _, bodies := sample(t)
	core := s.Encode()
	if _, _, err := channel.Restore(core, bodies); err != nil {
		t.Fatal(err)
	}
	for n := range core {
		if _, _, err := channel.Restore(core[:n], bodies); err == nil {
			t.Fatalf("%d of %d bytes are taken", n, len(core))
		}
	}
	bad := map[string]struct {
		core   []byte
		bodies []channel.HTLC
	}{
		"longer":         {append(bytes.Clone(core), 0), bodies},
		"version":        {append([]byte{9}, core[1:]...), bodies},
		"no bodies":      {core, nil},
		"one body less":  {core, bodies[1:]},
		"one body twice": {core, append(bodies[:len(bodies):len(bodies)], bodies[0])},
	}
	extra := channeltest.HTLC(9, 1000, 700)
	extra.Key = channel.Key{Channel: 1, HTLC: 77}
	bad["one body more"] = struct {
		core   []byte
		bodies []channel.HTLC
	}{core, append(bodies[:len(bodies):len(bodies)], extra)}
	for name, b := range bad {
		if _, _, err := channel.Restore(b.core, b.bodies); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// FuzzDecodeHTLC: see FuzzDecodeState about -fuzzminimizetime.
func FuzzDecodeHTLC(f *testing.F) {
	h := channeltest.HTLC(1, 5, 6)
	h.PathKey, h.TLVs = bytes.Repeat([]byte{2}, 33), []byte{1, 1, 1}
	f.Add(channel.EncodeHTLC(&h))
	h.Origin, h.PathKey = channel.Forward{In: channel.Key{Channel: 3, HTLC: 4}}, nil
	f.Add(channel.EncodeHTLC(&h))
	h.Origin = nil
	f.Add(channel.EncodeHTLC(&h))
	h.TLVs, h.Amount, h.Expiry, h.Key = nil, ^lnwire.MilliSatoshi(0), ^uint32(0), channel.Key{Channel: ^channel.ID(0), HTLC: ^uint64(0)}
	f.Add(channel.EncodeHTLC(&h))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := channel.DecodeHTLC(b)
		if err == nil && !bytes.Equal(channel.EncodeHTLC(&h), b) {
			t.Fatal("decoded, but encodes differently")
		}
	})
}

// FuzzDecodeSmall is the other rows: outcomes, origins, revoked commitments.
func FuzzDecodeSmall(f *testing.F) {
	f.Add(channel.EncodeOutcome(channel.Fulfill{Preimage: [32]byte{1}, TLVs: []byte{1, 0}}))
	f.Add(channel.EncodeOutcome(channel.Fail{Reason: []byte{1}}))
	f.Add(channel.EncodeOutcome(channel.Malformed{Code: 0x8000}))
	f.Add(channel.EncodeOrigin(channel.Payment{ID: 1, Part: 2}))
	f.Add(channel.EncodeOrigin(channel.Forward{}))
	f.Add(channel.EncodeRevoked([]commitment.HTLC{{ID: 1, Amount: 2, Expiry: 3}, {Offered: true}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := channel.DecodeOutcome(b); err == nil && !bytes.Equal(channel.EncodeOutcome(o), b) {
			t.Error("outcome")
		}
		if o, err := channel.DecodeOrigin(b); err == nil && !bytes.Equal(channel.EncodeOrigin(o), b) {
			t.Error("origin")
		}
		if r, err := channel.DecodeRevoked(b); err == nil && !bytes.Equal(channel.EncodeRevoked(r), b) {
			t.Error("revoked")
		}
	})
}

// TestRestoreFlips changes every byte of a core: it is refused, or decodes to a state that encodes to it and takes events.
func TestRestoreFlips(t *testing.T) {
	s, c, bodies := sample(t)
	core := s.Encode()
	taken := 0
	for i := range core {
		for _, x := range []byte{1, 0x80, 0xff} {
			b := bytes.Clone(core)
			b[i] ^= x
			s, _, err := channel.Restore(b, append([]channel.HTLC(nil), bodies...))
			if err != nil {
				continue
			}
			taken++
			if !bytes.Equal(s.Encode(), b) {
				t.Fatalf("byte %d: encodes differently", i)
			}
			channel.Apply(s, c, []channel.Event{channel.Disconnected{}, channel.Chain{Event: chain.BlockConnected{Height: s.Height() + 1}}})
		}
	}
	t.Logf("%d of %d changes cannot be told from the truth", taken, 3*len(core))
}
