package nodetest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"lightningrod/channel"
	"lightningrod/onion"

	"github.com/lightningnetwork/lnd/lnwire"
)

// A toy onion is its hops in the clear, hopSize bytes each; peeling takes the first one off. Its last bytes stay in place and
// name the part of a payment it belongs to, so that the simulator can follow a part through all nodes. No node looks at them.
const (
	hopSize = 1 + 8 + 4 + 8 + 32 + 8
	tagAt   = 1366 - 8
)

const (
	hopForward byte = iota + 1
	hopFinal
	hopGarbage // the onion cannot be read: update_fail_malformed_htlc
)

// hop is one hop's payload.
type hop struct {
	kind   byte
	amount lnwire.MilliSatoshi
	cltv   uint32
	next   lnwire.ShortChannelID
	secret [32]byte
	total  lnwire.MilliSatoshi
}

// tag names a part of a payment.
type tag struct{ payment, part uint32 }

func wrap(hops []hop, t tag) (packet [1366]byte) {
	b := packet[:0]
	for _, h := range hops {
		b = append(b, h.kind)
		b = binary.BigEndian.AppendUint64(b, uint64(h.amount))
		b = binary.BigEndian.AppendUint32(b, h.cltv)
		b = binary.BigEndian.AppendUint64(b, h.next.ToUint64())
		b = append(b, h.secret[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(h.total))
	}
	binary.BigEndian.PutUint32(packet[tagAt:], t.payment)
	binary.BigEndian.PutUint32(packet[tagAt+4:], t.part)
	return packet
}

func tagOf(h *channel.HTLC) tag {
	return tag{binary.BigEndian.Uint32(h.Onion[tagAt:]), binary.BigEndian.Uint32(h.Onion[tagAt+4:])}
}

// peel stands in for onion.Router.Peel.
func peel(h *channel.HTLC) (*onion.Hop, *onion.Failure) {
	b := h.Onion[:hopSize]
	out := &onion.Hop{
		Amount: lnwire.MilliSatoshi(binary.BigEndian.Uint64(b[1:])),
		Cltv:   binary.BigEndian.Uint32(b[9:]),
		Total:  lnwire.MilliSatoshi(binary.BigEndian.Uint64(b[53:])),
	}
	switch b[0] {
	case hopForward:
		out.NextSCID = lnwire.NewShortChanIDFromInt(binary.BigEndian.Uint64(b[13:]))
		copy(out.Next[:], h.Onion[hopSize:tagAt])
		copy(out.Next[tagAt:], h.Onion[tagAt:])
	case hopFinal:
		out.Final = true
		secret := [32]byte(b[21:53])
		out.PaymentSecret = &secret
	default:
		const invalidOnionHMAC = 0x8000 | 0x4000 | 5
		return nil, &onion.Failure{Malformed: true, Code: invalidOnionHMAC, OnionHash: sha256.Sum256(h.Onion[:])}
	}
	return out, nil
}

// reason stands in for onion.Router.Fail: the code, in the clear. Router.Wrap is a byte more.
func reason(m lnwire.FailureMessage) []byte {
	return binary.BigEndian.AppendUint16([]byte("reason"), uint16(m.Code()))
}

// nameBytes fills 32 bytes with what a number stands for.
func nameBytes(what string, n uint64) [32]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%s %d", what, n))
}
