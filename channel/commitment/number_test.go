package commitment

import (
	"testing"

	"github.com/btcsuite/btcd/wire"
)

func FuzzNumber(f *testing.F) {
	f.Add(uint64(42), uint64(0x2bb038521914), uint32(0), uint32(0))
	f.Add(uint64(MaxNumber), uint64(0), uint32(0x20ffffff), uint32(0x80ffffff))
	f.Add(uint64(0), uint64(MaxNumber), uint32(0x20000000), uint32(0xffffffff))
	f.Fuzz(func(t *testing.T, n, obscure uint64, lockTime, sequence uint32) {
		n, obscure = n&MaxNumber, obscure&MaxNumber
		tx := wire.NewMsgTx(2)
		tx.AddTxIn(&wire.TxIn{})
		tx.LockTime, tx.TxIn[0].Sequence = obscured(n, obscure)
		if got, ok := Number(tx, obscure); !ok || got != n {
			t.Fatalf("number %d, %v, want %d", got, ok, n)
		}
		// Any transaction: what is a number comes out the same way.
		tx.LockTime, tx.TxIn[0].Sequence = lockTime, sequence
		got, ok := Number(tx, obscure)
		if ok != (lockTime>>24 == 0x20 && sequence>>24 == 0x80) {
			t.Fatalf("locktime %x sequence %x: %v", lockTime, sequence, ok)
		}
		if ok {
			l, s := obscured(got, obscure)
			if l != lockTime || s != sequence || got > MaxNumber {
				t.Fatalf("number %d gives locktime %x sequence %x, want %x and %x", got, l, s, lockTime, sequence)
			}
		}
	})
}

func TestNumberOfOthers(t *testing.T) {
	tx := wire.NewMsgTx(2)
	if _, ok := Number(tx, 0); ok {
		t.Error("a transaction without inputs has a number")
	}
	tx.LockTime = 0x20 << 24
	tx.AddTxIn(&wire.TxIn{Sequence: 0x80 << 24})
	if _, ok := Number(tx, 0); !ok {
		t.Error("a commitment has no number")
	}
	tx.AddTxIn(&wire.TxIn{Sequence: 0x80 << 24})
	if _, ok := Number(tx, 0); ok {
		t.Error("a transaction with two inputs has a number")
	}
}
