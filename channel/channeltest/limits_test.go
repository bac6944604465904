package channeltest

import (
	"bytes"
	"testing"

	"lightningrod/chain"
	"lightningrod/channel"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/lightningnetwork/lnd/lnwire"
)

// TestFull: 483 HTLCs a side, the most there can be, go in and out again.
func TestFull(t *testing.T) {
	p := big(t, true)
	p.Opt.Wire = true
	for i := range 483 {
		must(t, p.Raw(0, channel.Add{HTLC: HTLC(uint64(i), lnwire.MilliSatoshi(1_000_000+i), 700)}))
		must(t, p.Raw(1, channel.Add{HTLC: HTLC(uint64(1000+i), lnwire.MilliSatoshi(2_000_000+i), 700)}))
	}
	must(t, p.Do(0))
	must(t, p.Do(1))
	must(t, p.DeliverAll())
	for i, s := range p.Sides {
		if len(s.State.Received()) != 483 || len(s.State.Offered()) != 483 {
			t.Fatal(len(s.State.Received()), len(s.State.Offered()))
		}
		must(t, s.State.Invariants())
		must(t, s.checkEncoding())
		must(t, p.Do(i, channel.Add{HTLC: HTLC(5000, 1_000_000, 700)}))
		r, ok := s.Notices[len(s.Notices)-1].(channel.Refused)
		if !ok || r.Err.(*channel.Refusal).Reason != channel.ReasonTooManyHTLCs {
			t.Fatal(s.Notices[len(s.Notices)-1])
		}
	}
	for i := range uint64(483) {
		must(t, p.Raw(1, channel.Settle{HTLC: i, Outcome: channel.Fulfill{Preimage: Preimage(i)}}))
		must(t, p.Raw(0, channel.Settle{HTLC: i, Outcome: channel.Fail{}}))
	}
	must(t, p.Do(0))
	must(t, p.Do(1))
	must(t, p.DeliverAll())
	must(t, p.Agree())
	if l, _ := p.Sides[0].State.Balance(); l != 50_000_000_000-483*1_000_000-483*482/2 {
		t.Fatal(l)
	}
}

// TestCapacityIsTrue: an HTLC of the size that Usable promises is taken, by us and by the peer; for either opener.
func TestCapacityIsTrue(t *testing.T) {
	for _, push := range []lnwire.MilliSatoshi{0, 100_000_000, 500_000_000, 950_000_000} {
		for _, rate := range []chain.FeePerKw{253, 5000, 10000} {
			p := open(t, Options{Toy: true, Push: push, FeePerKw: rate})
			for i := range 6 {
				side := i % 2
				out, in, _ := p.Sides[side].State.Usable()
				pout, pin, _ := p.Sides[1-side].State.Usable()
				if out.Max > pin.Max || in.Max < pout.Max {
					t.Errorf("push %d: out %d, peer expects %d", push, out.Max, pin.Max)
				}
				if out.Max == 0 {
					continue
				}
				must(t, p.Do(side, channel.Add{HTLC: HTLC(uint64(i), out.Max, 700)}))
				must(t, p.DeliverAll())
				if n := len(p.Sides[1-side].State.Received()); n == 0 {
					t.Fatalf("push %d: %d msat not taken\n%v", push, out.Max, p.Sides[side].Notices)
				}
				last := p.Sides[1-side].State.Received()
				id := last[len(last)-1].HTLC.Key.HTLC
				must(t, p.Do(1-side, channel.Settle{HTLC: id, Outcome: channel.Fulfill{Preimage: Preimage(uint64(i))}}))
				must(t, p.DeliverAll())
				must(t, p.Agree())
			}
		}
	}
}

// TestTLVsSurvive: the TLV streams of update_add_htlc, update_fulfill_htlc and update_fail_htlc arrive whole: path_key, records
// below 65536 and above.
func TestTLVsSurvive(t *testing.T) {
	path, _ := btcec.PrivKeyFromBytes(bytes.Repeat([]byte{5}, 32))
	key := path.PubKey().SerializeCompressed()
	stream := append([]byte{0, 33}, key...)
	stream = append(stream, 101, 3, 1, 2, 3)                             // an odd record
	stream = append(stream, 0xfe, 0, 1, 0, 1, 2, 9, 9)                   // 65537
	stream = append(stream, 0xfe, 0, 1, 0x27, 0x11, 4, 0xde, 0xad, 0, 0) // 75537
	p := open(t, Options{Toy: true, Wire: true, Push: 400_000_000})
	h := HTLC(1, 10_000_000, 700)
	h.TLVs, h.PathKey = stream, key
	h.Onion[7] = 77
	must(t, p.Do(0, channel.Add{HTLC: h}))
	must(t, p.Disconnect())
	must(t, p.Crash(0)) // not connected: a restart only
	must(t, p.Connect())
	must(t, p.DeliverAll())
	got := p.Sides[1].State.Received()[0].HTLC
	if !bytes.Equal(got.TLVs, stream) || !bytes.Equal(got.PathKey, key) || got.Onion != h.Onion {
		t.Errorf("got %x, %x", got.TLVs, got.PathKey)
	}
	attribution := append([]byte{1, 5}, 1, 2, 3, 4, 5)
	must(t, p.Do(1, channel.Settle{HTLC: 0, Outcome: channel.Fulfill{Preimage: Preimage(1), TLVs: attribution}}))
	must(t, p.DeliverAll())
	check := func(want channel.Outcome) {
		t.Helper()
		for _, n := range p.Sides[0].Notices {
			if r, ok := n.(channel.Resolved); ok {
				if a, b := channel.EncodeOutcome(r.Outcome), channel.EncodeOutcome(want); !bytes.Equal(a, b) {
					t.Errorf("outcome %x, expected %x", a, b)
				}
			}
		}
		p.Sides[0].Notices = nil
	}
	check(channel.Fulfill{Preimage: Preimage(1), TLVs: attribution})
	must(t, p.Do(0, channel.Add{HTLC: HTLC(2, 10_000_000, 700)}))
	must(t, p.DeliverAll())
	fail := channel.Fail{Reason: bytes.Repeat([]byte{3}, 292), TLVs: attribution}
	must(t, p.Do(1, channel.Settle{HTLC: 1, Outcome: fail}))
	must(t, p.DeliverAll())
	check(fail)
}
