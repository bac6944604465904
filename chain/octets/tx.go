package octets

import (
	"bytes"
	"encoding/binary"

	"github.com/btcsuite/btcd/wire"
)

// OutPoint takes a transaction id and an index.
func (r *Reader) OutPoint() (o wire.OutPoint) {
	r.Array(o.Hash[:])
	o.Index = r.Uint32()
	return o
}

// Tx takes a transaction behind its uint32 length, nil if that is 0. It must be in its one encoding.
func (r *Reader) Tx() *wire.MsgTx {
	raw := r.Take(uint64(r.Uint32()))
	if len(raw) == 0 {
		return nil
	}
	tx, in := new(wire.MsgTx), bytes.NewReader(raw)
	if err := tx.Deserialize(in); err != nil || in.Len() != 0 {
		r.Fail("transaction does not parse")
		return nil
	}
	var again bytes.Buffer
	if _ = tx.Serialize(&again); !bytes.Equal(again.Bytes(), raw) {
		r.Fail("transaction is not in its one encoding")
		return nil
	}
	return tx
}

// AppendOutPoint writes what OutPoint reads.
func AppendOutPoint(b []byte, o wire.OutPoint) []byte {
	return binary.BigEndian.AppendUint32(append(b, o.Hash[:]...), o.Index)
}

// AppendTx writes what Tx reads.
func AppendTx(b []byte, tx *wire.MsgTx) []byte {
	if tx == nil {
		return AppendBytes(b, nil)
	}
	var buf bytes.Buffer
	_ = tx.Serialize(&buf) // a buffer does not fail
	return AppendBytes(b, buf.Bytes())
}
