package commitment

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/btcsuite/btcd/wire"
)

// MaxNumber is the largest commitment number: 48 bits.
const MaxNumber = 1<<48 - 1

// BOLT 3 "Commitment Transaction": the upper bytes of locktime and sequence.
const (
	lockTimeMark = 0x20 << 24
	sequenceMark = 0x80 << 24
	markMask     = 0xff << 24
)

// ObscureFactor is what commitment numbers are XORed with, from the payment basepoints of open_channel and
// accept_channel.
func ObscureFactor(openerPayment, accepterPayment PubKey) uint64 {
	var buf [66]byte
	copy(buf[:33], openerPayment[:])
	copy(buf[33:], accepterPayment[:])
	sum := sha256.Sum256(buf[:])
	return binary.BigEndian.Uint64(sum[24:]) & MaxNumber
}

// Number reads the commitment number of a transaction that spends the funding output. It is false for a transaction
// that cannot be a commitment, such as a cooperative close.
func Number(tx *wire.MsgTx, obscure uint64) (uint64, bool) {
	if len(tx.TxIn) != 1 {
		return 0, false
	}
	sequence := tx.TxIn[0].Sequence
	if tx.LockTime&markMask != lockTimeMark || sequence&markMask != sequenceMark {
		return 0, false
	}
	obscured := uint64(sequence&^uint32(markMask))<<24 | uint64(tx.LockTime&^uint32(markMask))
	return obscured ^ obscure&MaxNumber, true
}

// obscured gives locktime and sequence of commitment number n.
func obscured(n, obscure uint64) (lockTime, sequence uint32) {
	n = (n ^ obscure) & MaxNumber
	return lockTimeMark | uint32(n&0xffffff), sequenceMark | uint32(n>>24)
}
