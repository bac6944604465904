package onion

import (
	"bytes"
	"encoding/binary"

	"github.com/lightningnetwork/lnd/lnwire"
)

// updateFailure is the layout of a failure with a channel_update: a value of some bytes, then length and
// channel_update. BOLT 4 lets the channel_update be absent, its length zero, which lnwire neither reads nor writes;
// here it is a zero ChannelUpdate1, and so is one that cannot be read.
type updateFailure struct {
	bytes int // of the value
	parts func(lnwire.FailureMessage) (value uint64, update *lnwire.ChannelUpdate1)
	build func(value uint64, update lnwire.ChannelUpdate1) lnwire.FailureMessage
}

var updateFailures = map[lnwire.FailCode]updateFailure{
	lnwire.CodeTemporaryChannelFailure: {0,
		func(m lnwire.FailureMessage) (uint64, *lnwire.ChannelUpdate1) {
			f, _ := m.(*lnwire.FailTemporaryChannelFailure)
			if f != nil && f.Update == nil {
				return 0, &lnwire.ChannelUpdate1{}
			}
			return 0, nil
		},
		func(_ uint64, u lnwire.ChannelUpdate1) lnwire.FailureMessage {
			if absent(&u) {
				return &lnwire.FailTemporaryChannelFailure{}
			}
			return &lnwire.FailTemporaryChannelFailure{Update: &u}
		}},
	lnwire.CodeAmountBelowMinimum: {8,
		func(m lnwire.FailureMessage) (uint64, *lnwire.ChannelUpdate1) {
			if f, ok := m.(*lnwire.FailAmountBelowMinimum); ok {
				return uint64(f.HtlcMsat), &f.Update
			}
			return 0, nil
		},
		func(v uint64, u lnwire.ChannelUpdate1) lnwire.FailureMessage {
			return &lnwire.FailAmountBelowMinimum{HtlcMsat: lnwire.MilliSatoshi(v), Update: u}
		}},
	lnwire.CodeFeeInsufficient: {8,
		func(m lnwire.FailureMessage) (uint64, *lnwire.ChannelUpdate1) {
			if f, ok := m.(*lnwire.FailFeeInsufficient); ok {
				return uint64(f.HtlcMsat), &f.Update
			}
			return 0, nil
		},
		func(v uint64, u lnwire.ChannelUpdate1) lnwire.FailureMessage {
			return &lnwire.FailFeeInsufficient{HtlcMsat: lnwire.MilliSatoshi(v), Update: u}
		}},
	lnwire.CodeIncorrectCltvExpiry: {4,
		func(m lnwire.FailureMessage) (uint64, *lnwire.ChannelUpdate1) {
			if f, ok := m.(*lnwire.FailIncorrectCltvExpiry); ok {
				return uint64(f.CltvExpiry), &f.Update
			}
			return 0, nil
		},
		func(v uint64, u lnwire.ChannelUpdate1) lnwire.FailureMessage {
			return &lnwire.FailIncorrectCltvExpiry{CltvExpiry: uint32(v), Update: u}
		}},
	lnwire.CodeExpiryTooSoon: {0,
		func(m lnwire.FailureMessage) (uint64, *lnwire.ChannelUpdate1) {
			if f, ok := m.(*lnwire.FailExpiryTooSoon); ok {
				return 0, &f.Update
			}
			return 0, nil
		},
		func(_ uint64, u lnwire.ChannelUpdate1) lnwire.FailureMessage {
			return &lnwire.FailExpiryTooSoon{Update: u}
		}},
	lnwire.CodeChannelDisabled: {2,
		func(m lnwire.FailureMessage) (uint64, *lnwire.ChannelUpdate1) {
			if f, ok := m.(*lnwire.FailChannelDisabled); ok {
				return uint64(f.Flags), &f.Update
			}
			return 0, nil
		},
		func(v uint64, u lnwire.ChannelUpdate1) lnwire.FailureMessage {
			return &lnwire.FailChannelDisabled{Flags: uint16(v), Update: u}
		}},
}

// absent says whether there is no channel_update: a real one is for a channel and has a time.
func absent(u *lnwire.ChannelUpdate1) bool {
	return u.ShortChannelID == lnwire.ShortChannelID{} && u.Timestamp == 0
}

// decode returns nil if even the value or the length is missing.
func (l updateFailure) decode(data []byte) lnwire.FailureMessage {
	c := cursor{b: data}
	value := c.uint(l.bytes)
	update := c.bytes(int(c.uint(2)))
	if c.bad != "" {
		return nil
	}
	// Older nodes leave out the message type; BOLT 4 once meant that, too.
	if len(update) >= 2 && binary.BigEndian.Uint16(update) == uint16(lnwire.MsgChannelUpdate) {
		update = update[2:]
	}
	var u lnwire.ChannelUpdate1
	if len(update) == 0 || u.Decode(bytes.NewReader(update), 0) != nil {
		u = lnwire.ChannelUpdate1{}
	}
	return l.build(value, u)
}

// encodeBare writes the message if it has no channel_update.
func (l updateFailure) encodeBare(b *bytes.Buffer, message lnwire.FailureMessage) bool {
	value, update := l.parts(message)
	if update == nil || !absent(update) {
		return false
	}
	var v [8]byte
	binary.BigEndian.PutUint64(v[:], value)
	b.Write(binary.BigEndian.AppendUint16(nil, uint16(message.Code())))
	b.Write(v[8-l.bytes:])
	b.Write([]byte{0, 0})
	return true
}
