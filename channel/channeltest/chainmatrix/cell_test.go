package chainmatrix

import (
	"fmt"
	"strings"

	"lightningrod/channel"
	"lightningrod/channel/channeltest"

	"github.com/lightningnetwork/lnd/lnwire"
)

// A cell is one way for a channel to be closed by force. The closer is the side whose commitment is the first to confirm, the
// other is the other; offered and received are as the closer sees it.
type cell struct {
	closer   int  // 0: alice, who opened the channel; 1: bob
	race     bool // the other publishes its newest commitment too, a moment later
	kind     kind
	dirs     int // offered, received
	preimage preimageCase
	dust     bool
}

// kind is which of the closer's commitments it is.
type kind uint8

const (
	newest      kind = iota
	previous         // the other has signed for the next one, with another HTLC, and awaits the revoke_and_ack
	next             // that next one
	keeping          // the other has signed for the next one, without the HTLC, and awaits the revoke_and_ack
	lacking          // that next one
	revokedRows      // revoked, with HTLCs that are there to this day
	revokedGone      // revoked, with HTLCs that have ended since: the other has only its row of them
	revokedBare      // revoked, without HTLCs
	kinds       = iota
)

var kindText = [kinds]string{"newest", "previous", "next", "keeping", "lacking", "revoked with HTLCs", "revoked with ended HTLCs", "revoked without HTLCs"}

func (k kind) revoked() bool { return k >= revokedRows }

const (
	offered = 1 << iota
	received
)

var dirText = []string{offered: "offered", received: "received", offered | received: "both"}

// preimageCase is when the side that an HTLC was offered to knows its preimage.
type preimageCase uint8

const (
	never     preimageCase = iota
	before                 // the close
	late                   // shortly before the cltv_expiry
	preimages = iota
)

var preimageText = [preimages]string{"never", "before", "late"}

var sideText = [2]string{"alice", "bob"}

func pick(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

// words are what the cell is in each dimension.
func (c cell) words() []string {
	return []string{
		sideText[c.closer], pick(c.race, "race", "alone"), kindText[c.kind], dirText[c.dirs], preimageText[c.preimage], pick(c.dust, "dust", "output"),
	}
}

func (c cell) String() string { return strings.Join(c.words(), ",") }

// cells are all that make sense: an HTLC that has ended, or is about to, has its outcome, and one that is about to is enough; what the
// cheater's commitment lacks cannot be claimed.
func cells() (all []cell) {
	for closer := range 2 {
		for _, race := range []bool{false, true} {
			for k := newest; k < kinds; k++ {
				for dirs := offered; dirs <= offered|received; dirs++ {
					for p := never; p < preimages; p++ {
						for _, dust := range []bool{false, true} {
							removal := k == keeping || k == lacking
							if removal && (dirs == offered|received || p == late) || k == revokedGone && p == late || k == revokedBare && p != never {
								continue
							}
							all = append(all, cell{closer, race, k, dirs, p, dust})
						}
					}
				}
			}
		}
	}
	return all
}

// htlc is an HTLC of a cell. Amounts are different, so that outputs can be told apart.
type htlc struct {
	n     uint64 // payment
	from  int
	sat   int64
	known preimageCase // to the side that it was offered to
	extra bool         // the one that is under way in previous and next
	id    uint64
}

const (
	capacity   = 1_000_000
	push       = 400_000 // sat, to bob
	extraSat   = 30_007
	movedSat   = 100_000 // by the closer to the other, after the commitment that is revoked
	untilDue   = 30      // blocks from the close to every cltv_expiry
	untilLate  = 22      // blocks from the close to late preimages
	delay      = 8       // to_self_delay of both
	anchorSat  = 330
	commitRate = 253
)

// subjects are the HTLCs that the cell is about.
func (c cell) subjects() (hs []htlc) {
	for i, dir := range []int{offered, received} {
		if c.dirs&dir == 0 {
			continue
		}
		h := htlc{n: uint64(i + 1), from: c.closer, sat: []int64{50_001, 60_003}[i], known: c.preimage}
		if dir == received {
			h.from = 1 - c.closer
		}
		if c.dust {
			h.sat = 300 + int64(i)
		}
		hs = append(hs, h)
	}
	return hs
}

// must is whether the closer's commitment has an output for an HTLC of the cell.
func (c cell) must(h htlc) bool {
	switch {
	case h.extra:
		return c.kind == next
	case c.dust:
		return false
	}
	return c.kind != lacking && c.kind != revokedBare
}

// prepare brings an open channel to where it is closed: HTLCs added, signed for and removed as the cell has it, and then the connection is
// lost. It returns all HTLCs.
func (c cell) prepare(p *channeltest.Pair, expiry uint32) (hs []htlc, err error) {
	me, other := c.closer, 1-c.closer
	s := steps{p: p, expiry: expiry}
	hs = c.subjects()
	if c.kind == revokedBare {
		s.keep(me)
	}
	for i := range hs {
		s.add(&hs[i])
	}
	s.all()
	switch c.kind {
	case previous, next:
		hs = append(hs, htlc{n: 9, from: other, sat: extraSat, extra: true})
		s.add(&hs[len(hs)-1])
		if c.kind == next {
			s.deliver(other, 2)
		}
	case keeping, lacking:
		h := &hs[0]
		s.settle(h)
		if remover := 1 - h.from; remover == me {
			s.deliver(me, 2)    // update, commitment_signed
			s.deliver(other, 1) // revoke_and_ack
			if c.kind == lacking {
				s.deliver(other, 1) // commitment_signed; what the closer then says is lost
			}
		} else {
			s.deliver(other, 1) // update
			if c.kind == lacking {
				s.deliver(other, 1) // commitment_signed
			}
		}
	case revokedRows:
		s.keep(me)
	case revokedGone:
		s.keep(me)
		for i := range hs {
			s.settle(&hs[i])
		}
		s.all()
	}
	if c.kind.revoked() {
		moved := htlc{n: 8, from: me, sat: movedSat, known: before}
		s.add(&moved)
		s.all()
		s.settle(&moved)
		s.all()
	}
	s.do(p.Disconnect)
	if c.kind.revoked() {
		s.rewind(me)
	}
	for i := range hs {
		if hs[i].known == before && c.kind != keeping && c.kind != lacking {
			s.settle(&hs[i])
		}
	}
	return hs, s.err
}

// steps are what a cell does with its pair, up to the first that fails.
type steps struct {
	p      *channeltest.Pair
	expiry uint32
	old    *channeltest.Side
	err    error
}

func (s *steps) do(f func() error) {
	if s.err == nil {
		s.err = f()
	}
}

func (s *steps) all() { s.do(s.p.DeliverAll) }

func (s *steps) deliver(from, n int) {
	for range n {
		s.do(func() error {
			ok, err := s.p.Deliver(from)
			if err == nil && !ok {
				err = fmt.Errorf("%s has nothing more to say", sideText[from])
			}
			return err
		})
	}
}

func (s *steps) add(h *htlc) {
	s.do(func() error {
		side := s.p.Sides[h.from]
		before := len(side.State.Offered())
		err := s.p.Do(h.from, channel.Add{HTLC: channeltest.HTLC(h.n, lnwire.MilliSatoshi(h.sat*1000), s.expiry)})
		if err != nil {
			return err
		}
		after := side.State.Offered()
		if len(after) != before+1 {
			return fmt.Errorf("%s: htlc of %d sat not taken: %s", side.Name, h.sat, channel.DescribeNotice(side.Notices[len(side.Notices)-1]))
		}
		h.id = after[before].HTLC.Key.HTLC
		return nil
	})
}

// settle tells the side that an HTLC was offered to how it ends, if that side knows of it.
func (s *steps) settle(h *htlc) {
	s.do(func() error {
		for _, live := range s.p.Sides[1-h.from].State.Received() {
			if live.HTLC.Key.HTLC == h.id && live.Stage == channel.Irrevocable {
				var o channel.Outcome = channel.Fulfill{Preimage: channeltest.Preimage(h.n)}
				if h.known == never {
					o = channel.Fail{Reason: []byte("no")}
				}
				return s.p.Do(1-h.from, channel.Settle{HTLC: h.id, Outcome: o})
			}
		}
		return nil
	})
}

// keep makes a copy of a side's disk, and rewind puts it back: the side is started from an old backup, and believes it.
func (s *steps) keep(side int) { s.old = s.p.Clone().Sides[side] }

func (s *steps) rewind(side int) {
	s.do(func() error {
		s.p.Sides[side].Rows = s.old.Rows
		return s.p.Crash(side)
	})
}
