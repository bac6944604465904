package channeltest

import (
	"fmt"

	"lightningrod/chain"
	"lightningrod/channel"

	"github.com/lightningnetwork/lnd/lnwire"
)

// Ledger follows the payments of a Pair from the notices and says what the balances have to be in the end.
type Ledger struct {
	p      *Pair
	start  [2]lnwire.MilliSatoshi
	amount map[uint64]lnwire.MilliSatoshi
	from   map[uint64]int
	seen   [2]int    // notices looked at
	next   [2]uint64 // payments made by each side
	// fulfilled: what the offerer was told, by payment.
	fulfilled map[uint64]bool
}

// NewLedger starts with the balances as they are.
func NewLedger(p *Pair) *Ledger {
	l := &Ledger{p: p, amount: map[uint64]lnwire.MilliSatoshi{}, from: map[uint64]int{}, fulfilled: map[uint64]bool{}}
	l.start[0], l.start[1] = p.Sides[0].State.Balance()
	for i := range l.seen {
		l.seen[i] = len(p.Sides[i].Notices)
	}
	return l
}

// HTLC is the next payment.
func (l *Ledger) HTLC(from int, amount lnwire.MilliSatoshi) channel.HTLC {
	l.next[from]++
	n := uint64(from)<<32 | l.next[from]
	l.amount[n], l.from[n] = amount, from
	return HTLC(n, amount, 700)
}

// Look takes in the new notices.
func (l *Ledger) Look() error {
	for i, s := range l.p.Sides {
		for ; l.seen[i] < len(s.Notices); l.seen[i]++ {
			if err := l.look(s, s.Notices[l.seen[i]]); err != nil {
				return fmt.Errorf("%s: %w", s.Name, err)
			}
		}
	}
	return nil
}

func (l *Ledger) look(s *Side, n channel.Notice) error {
	switch n := n.(type) {
	case channel.Resolved:
		id := n.Origin.(channel.Payment).ID
		_, ok := n.Outcome.(channel.Fulfill)
		if was, told := l.fulfilled[id]; told && was != ok {
			return fmt.Errorf("payment %d resolved both ways", id)
		}
		l.fulfilled[id] = ok
	case channel.Declined:
		if _, fee := n.Event.(channel.UpdateFee); !fee {
			return fmt.Errorf("%s", channel.DescribeNotice(n))
		}
	case channel.Violated, channel.OnChain, channel.Abandoned, channel.PeerSaid:
		return fmt.Errorf("%s", channel.DescribeNotice(n))
	}
	return nil
}

// Final checks that nothing is pending, both agree, and the money is where the notices said.
func (l *Ledger) Final() error {
	if err := l.Look(); err != nil {
		return err
	}
	if err := l.p.Agree(); err != nil {
		return err
	}
	want := l.start
	for id, ok := range l.fulfilled {
		if ok {
			want[l.from[id]] -= l.amount[id]
			want[1-l.from[id]] += l.amount[id]
		}
	}
	for i, s := range l.p.Sides {
		got, _ := s.State.Balance()
		if got != want[i] || len(s.State.Offered())+len(s.State.Received()) != 0 {
			return fmt.Errorf("%s has %d msat, expected %d\n%v", s.Name, got, want[i], s.State)
		}
	}
	return nil
}

// Schedule runs bytes as a schedule on an open Pair, then everything to its end, and checks the result. The pair may be
// Manual: then bytes decide about syncs, and crashes lose what was not synced.
func Schedule(p *Pair, schedule []byte) error {
	l := NewLedger(p)
	for i := 0; i+1 < len(schedule); i += 2 {
		if err := l.step(schedule[i], schedule[i+1]); err != nil {
			return fmt.Errorf("step %d (%d %d): %w", i/2, schedule[i], schedule[i+1], err)
		}
		if err := l.Look(); err != nil {
			return fmt.Errorf("step %d (%d %d): %w", i/2, schedule[i], schedule[i+1], err)
		}
	}
	if err := l.drain(); err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	return l.Final()
}

// step is one action; arg varies it.
func (l *Ledger) step(action, arg byte) error {
	p, side := l.p, int(arg&1)
	switch action % 16 {
	case 0, 1, 2, 3:
		_, err := p.Deliver(side)
		return err
	case 4:
		return p.DeliverBatch(side, 2+int(arg>>1)%6)
	case 5, 6:
		return p.DeliverAll()
	case 7, 8:
		s := p.Sides[side].State
		if len(s.Offered()) >= 2 {
			return nil
		}
		amounts := []lnwire.MilliSatoshi{1, 200_000, 353_999, 354_000, 1_000_000, 50_000_000, 123_456_789}
		return p.Do(side, channel.Add{HTLC: l.HTLC(side, amounts[int(arg>>1)%len(amounts)])})
	case 9, 10:
		return l.settleOne(side, arg>>1)
	case 11:
		return p.Do(0, channel.UpdateFee{FeePerKw: chain.FeePerKw(253 + int(arg)*4)})
	case 12:
		if arg&2 == 0 {
			return p.Connect()
		}
		return p.Disconnect()
	case 13:
		if p.Connected {
			return nil
		}
		return p.Connect()
	case 14:
		if arg&6 != 0 && !p.Opt.Manual {
			return nil
		}
		return p.Crash(side)
	default:
		return p.Sync(side)
	}
}

// settleOne tells the channel of a side the outcome of the first HTLC that has none. what chooses it.
func (l *Ledger) settleOne(side int, what byte) error {
	for _, h := range l.p.Sides[side].State.Received() {
		if h.Stage != channel.Irrevocable || h.Outcome != nil {
			continue
		}
		var o channel.Outcome
		switch what % 4 {
		case 0:
			o = channel.Fail{Reason: []byte{1, 2, 3}, TLVs: nil}
		case 1:
			o = channel.Malformed{Code: 0x8004, OnionHash: [32]byte{9}}
		default:
			for n := range l.amount {
				if Hash(n) == h.HTLC.Hash {
					o = channel.Fulfill{Preimage: Preimage(n)}
				}
			}
		}
		return l.p.Do(side, channel.Settle{HTLC: h.HTLC.Key.HTLC, Outcome: o})
	}
	return nil
}

// drain brings everything to an end: connected, synced, delivered, settled.
func (l *Ledger) drain() error {
	l.p.Opt.Manual = false
	for side := range l.p.Sides {
		if err := l.p.Sync(side); err != nil {
			return err
		}
	}
	if err := l.p.Connect(); err != nil {
		return err
	}
	for i := 0; i < 100; i++ {
		if err := l.p.DeliverAll(); err != nil {
			return err
		}
		left := 0
		for side, s := range l.p.Sides {
			left += len(s.State.Offered()) + len(s.State.Received())
			if err := l.settleOne(side, byte(i%4)); err != nil {
				return err
			}
		}
		if left == 0 {
			return nil
		}
	}
	return fmt.Errorf("htlcs are left:\n%v\n%v", l.p.Sides[0].State, l.p.Sides[1].State)
}
