package nodetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"lightningrod/channel/channeltest"
	"lightningrod/channel/commitment"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
)

// input is one input of a transaction, about to be checked: bitcoin's rules for the scripts of BOLT 3, with toy signatures.
// Relative locks are the chain's to check (see Chain.ripe); here they only have to be asked for.
type input struct {
	tx    *wire.MsgTx
	index int
	prev  *wire.TxOut
	judge *channeltest.Toy

	script []byte
	stack  [][]byte
	skip   []bool // one for each open OP_IF: what stands here is skipped
}

// An address of a node's wallet is script(node); who spends a coin has to show the node's mark, as long as a signature and a key.
func mark(node int) wire.TxWitness {
	return wire.TxWitness{bytes.Repeat([]byte{byte(node + 1)}, 72), bytes.Repeat([]byte{byte(node + 1)}, 33)}
}

func (in *input) check() error {
	w := in.tx.TxIn[in.index].Witness
	switch s := in.prev.PkScript; {
	case len(s) == 22 && s[0] == 0:
		if want := mark(int(s[21]) - 1); len(w) != 2 || !bytes.Equal(w[0], want[0]) || !bytes.Equal(w[1], want[1]) {
			return errors.New("a coin of another wallet")
		}
		return nil
	case len(s) != 34 || s[0] != 0 || len(w) == 0 || !bytes.Equal(commitment.P2WSH(w[len(w)-1]), s):
		return errors.New("not the witness script")
	}
	in.script, in.stack = w[len(w)-1], nil
	for _, item := range w[:len(w)-1] {
		in.push(item)
	}
	t := txscript.MakeScriptTokenizer(0, in.script)
	for t.Next() {
		if err := in.step(t.Opcode(), t.Data()); err != nil {
			return err
		}
	}
	if t.Err() != nil || len(in.skip) > 0 || len(in.stack) != 1 || !truth1(in.stack[0]) {
		return fmt.Errorf("script ends with %d items", len(in.stack))
	}
	return nil
}

func (in *input) push(b []byte) { in.stack = append(in.stack, b) }

func (in *input) pushBool(ok bool) {
	if ok {
		in.push([]byte{1})
	} else {
		in.push(nil)
	}
}

var errStack = errors.New("stack is empty")

func (in *input) pop() ([]byte, error) {
	if len(in.stack) == 0 {
		return nil, errStack
	}
	top := in.stack[len(in.stack)-1]
	in.stack = in.stack[:len(in.stack)-1]
	return top, nil
}

func truth1(b []byte) bool { return len(bytes.Trim(b, "\x00")) > 0 }

func (in *input) skipping() bool { return bytes.Contains(bools(in.skip), []byte{1}) }

func bools(list []bool) []byte {
	b := make([]byte, len(list))
	for i, x := range list {
		if x {
			b[i] = 1
		}
	}
	return b
}

func (in *input) step(op byte, data []byte) error {
	switch op {
	case txscript.OP_IF, txscript.OP_NOTIF:
		if in.skipping() {
			in.skip = append(in.skip, true) // whatever it is
			return nil
		}
		top, err := in.pop()
		in.skip = append(in.skip, truth1(top) != (op == txscript.OP_IF))
		return err
	case txscript.OP_ELSE, txscript.OP_ENDIF:
		if len(in.skip) == 0 {
			return errors.New("no OP_IF")
		}
		last := len(in.skip) - 1
		if op == txscript.OP_ENDIF {
			in.skip = in.skip[:last]
		} else {
			in.skip[last] = !in.skip[last]
		}
		return nil
	}
	if in.skipping() {
		return nil
	}
	switch {
	case op <= txscript.OP_DATA_75:
		in.push(data)
	case op >= txscript.OP_1 && op <= txscript.OP_16:
		in.push([]byte{op - txscript.OP_1 + 1})
	case op == txscript.OP_CHECKLOCKTIMEVERIFY || op == txscript.OP_CHECKSEQUENCEVERIFY:
		return in.locked(op)
	case op == txscript.OP_CHECKMULTISIG:
		return in.multi()
	default:
		return in.stackOp(op)
	}
	return nil
}

func (in *input) stackOp(op byte) error {
	top, err := in.pop()
	if err != nil {
		return err
	}
	switch op {
	case txscript.OP_DROP:
	case txscript.OP_DUP:
		in.push(top)
		in.push(top)
	case txscript.OP_IFDUP:
		if in.push(top); truth1(top) {
			in.push(top)
		}
	case txscript.OP_SIZE:
		in.push(top)
		in.push([]byte{byte(len(top))})
	case txscript.OP_HASH160:
		in.push(btcutil.Hash160(top))
	case txscript.OP_SWAP, txscript.OP_EQUAL, txscript.OP_EQUALVERIFY, txscript.OP_CHECKSIG, txscript.OP_CHECKSIGVERIFY:
		below, err := in.pop()
		if err != nil {
			return err
		}
		return in.pair(op, below, top)
	default:
		return fmt.Errorf("opcode %x", op)
	}
	return nil
}

func (in *input) pair(op byte, below, top []byte) error {
	ok := true
	switch op {
	case txscript.OP_SWAP:
		in.push(top)
		in.push(below)
		return nil
	case txscript.OP_EQUAL, txscript.OP_EQUALVERIFY:
		ok = bytes.Equal(below, top)
	default:
		ok = in.signed(below, top)
	}
	if op == txscript.OP_EQUAL || op == txscript.OP_CHECKSIG {
		in.pushBool(ok)
		return nil
	}
	if !ok {
		return fmt.Errorf("opcode %x fails", op)
	}
	return nil
}

// signed verifies a toy signature.
func (in *input) signed(item, key []byte) bool {
	if len(item) == 0 || len(key) != 33 {
		return false
	}
	sig, hashType, err := commitment.SigFromWitness(item)
	if err != nil {
		return false
	}
	j := commitment.VerifyJob{Key: commitment.PubKey(key), Sig: sig}
	switch hashType {
	case commitment.SigHashAll:
		m := commitment.NewMidstate(in.tx)
		j.Digest = m.Digest(in.tx, in.index, in.script, in.prev.Value)
	case commitment.HTLCSigHash:
		j.Digest = commitment.HTLCDigest(in.tx, in.index, in.script, in.prev.Value)
	default:
		return false
	}
	return in.judge.Verify([]commitment.VerifyJob{j})
}

// multi is OP_CHECKMULTISIG of two by two keys, the only one there is.
func (in *input) multi() error {
	n := len(in.stack) // 0 sig sig 2 key key 2
	if n < 7 || !bytes.Equal(in.stack[n-1], []byte{2}) || !bytes.Equal(in.stack[n-4], []byte{2}) {
		return errors.New("not two of two")
	}
	ok := in.signed(in.stack[n-6], in.stack[n-3]) && in.signed(in.stack[n-5], in.stack[n-2])
	in.stack = in.stack[:n-7]
	in.pushBool(ok)
	return nil
}

// locked is OP_CHECKLOCKTIMEVERIFY and OP_CHECKSEQUENCEVERIFY.
func (in *input) locked(op byte) error {
	if len(in.stack) == 0 {
		return errStack
	}
	var b [4]byte
	copy(b[:], in.stack[len(in.stack)-1])
	want, seq := binary.LittleEndian.Uint32(b[:]), in.tx.TxIn[in.index].Sequence
	if op == txscript.OP_CHECKLOCKTIMEVERIFY {
		if in.tx.LockTime < want || seq == wire.MaxTxInSequenceNum {
			return fmt.Errorf("locktime %d, expected %d", in.tx.LockTime, want)
		}
		return nil
	}
	if in.tx.Version < 2 || seq&wire.SequenceLockTimeDisabled != 0 || seq&wire.SequenceLockTimeMask < want {
		return fmt.Errorf("sequence %d, expected %d", seq, want)
	}
	return nil
}
