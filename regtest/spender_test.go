package regtest_test

import (
	"context"
	"crypto/sha256"
	"testing"

	"lightningrod/chain/embedded"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/schnorr"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
)

const (
	delay  = 5   // blocks, of the delayed output
	expiry = 100 // height, of the HTLC
	purse  = 1_000_000
	fee    = 2000
)

// spender makes the transactions of a channel with scripts written out here, apart from those that the node builds.
type spender struct {
	t     *testing.T
	chain *embedded.Chain
}

func key(name string) *btcec.PrivateKey {
	h := sha256.Sum256([]byte(name))
	k, _ := btcec.PrivKeyFromBytes(h[:])
	return k
}

func pub(name string) []byte { return key(name).PubKey().SerializeCompressed() }

func (s *spender) script(add func(*txscript.ScriptBuilder)) []byte {
	s.t.Helper()
	b := txscript.NewScriptBuilder()
	add(b)
	text, err := b.Script()
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

func (s *spender) multisig() []byte {
	return s.script(func(b *txscript.ScriptBuilder) {
		b.AddOp(txscript.OP_2).AddData(pub("a")).AddData(pub("b")).AddOp(txscript.OP_2).AddOp(txscript.OP_CHECKMULTISIG)
	})
}

func (s *spender) toLocal() []byte {
	return s.script(func(b *txscript.ScriptBuilder) {
		b.AddOp(txscript.OP_IF).AddData(pub("revocation")).AddOp(txscript.OP_ELSE).
			AddInt64(delay).AddOp(txscript.OP_CHECKSEQUENCEVERIFY).AddOp(txscript.OP_DROP).AddData(pub("delayed")).
			AddOp(txscript.OP_ENDIF).AddOp(txscript.OP_CHECKSIG)
	})
}

func (s *spender) anchor() []byte {
	return s.script(func(b *txscript.ScriptBuilder) {
		b.AddData(pub("a")).AddOp(txscript.OP_CHECKSIG).AddOp(txscript.OP_IFDUP).AddOp(txscript.OP_NOTIF).
			AddInt64(16).AddOp(txscript.OP_CHECKSEQUENCEVERIFY).AddOp(txscript.OP_ENDIF)
	})
}

func (s *spender) htlc() []byte {
	return s.script(func(b *txscript.ScriptBuilder) {
		b.AddInt64(expiry).AddOp(txscript.OP_CHECKLOCKTIMEVERIFY).AddOp(txscript.OP_DROP).AddData(pub("htlc")).AddOp(txscript.OP_CHECKSIG)
	})
}

func wsh(script []byte) []byte {
	h := sha256.Sum256(script)
	return append([]byte{txscript.OP_0, txscript.OP_DATA_32}, h[:]...)
}

// leaf is the one script in the taproot outputs.
func (s *spender) leaf() txscript.TapLeaf {
	return txscript.NewBaseTapLeaf(s.script(func(b *txscript.ScriptBuilder) {
		b.AddData(schnorr.SerializePubKey(key("leaf").PubKey())).AddOp(txscript.OP_CHECKSIG)
	}))
}

func (s *spender) taproot() []byte {
	s.t.Helper()
	root := s.leaf().TapHash()
	script, err := txscript.PayToTaprootScript(txscript.ComputeTaprootOutputKey(key("internal").PubKey(), root[:]))
	if err != nil {
		s.t.Fatal(err)
	}
	return script
}

// funding spends the coinbase of block 1: a 2-of-2, and two taproot outputs.
func (s *spender) funding() *wire.MsgTx {
	s.t.Helper()
	b, err := s.chain.Block(1)
	if err != nil {
		s.t.Fatal(err)
	}
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(wire.NewTxIn(&wire.OutPoint{Hash: b.Txs[0].TxHash()}, nil, embedded.AnyoneWitness()))
	for _, script := range [][]byte{wsh(s.multisig()), s.taproot(), s.taproot()} {
		tx.AddTxOut(wire.NewTxOut(purse, script))
	}
	tx.AddTxOut(wire.NewTxOut(b.Txs[0].TxOut[0].Value-3*purse-fee, embedded.AnyoneCanSpend))
	return tx
}

// commitment has the form of BOLT 3: obscured number in sequence and lock time, and outputs of several kinds.
func (s *spender) commitment() *wire.MsgTx {
	s.t.Helper()
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(&wire.TxIn{PreviousOutPoint: wire.OutPoint{Hash: s.funding().TxHash()}, Sequence: 0x80c0ffee})
	tx.LockTime = 0x20abcdef
	tx.AddTxOut(wire.NewTxOut(330, wsh(s.anchor())))
	tx.AddTxOut(wire.NewTxOut(purse/2, wsh(s.toLocal())))
	tx.AddTxOut(wire.NewTxOut(purse/4, wsh(s.htlc())))
	a := s.sign(tx, s.multisig(), purse, "a")
	b := s.sign(tx, s.multisig(), purse, "b")
	tx.TxIn[0].Witness = wire.TxWitness{nil, a, b, s.multisig()}
	return tx
}

// delayedSpend takes to_local after so many blocks.
func (s *spender) delayedSpend(blocks uint32) *wire.MsgTx {
	s.t.Helper()
	tx := s.take(wire.OutPoint{Hash: s.commitment().TxHash(), Index: 1}, purse/2)
	tx.TxIn[0].Sequence = blocks
	tx.TxIn[0].Witness = wire.TxWitness{s.sign(tx, s.toLocal(), purse/2, "delayed"), nil, s.toLocal()}
	return tx
}

// htlcTimeout takes the HTLC with this lock time.
func (s *spender) htlcTimeout(lock uint32) *wire.MsgTx {
	s.t.Helper()
	tx := s.take(wire.OutPoint{Hash: s.commitment().TxHash(), Index: 2}, purse/4)
	tx.LockTime, tx.TxIn[0].Sequence = lock, 0
	tx.TxIn[0].Witness = wire.TxWitness{s.sign(tx, s.htlc(), purse/4, "htlc"), s.htlc()}
	return tx
}

// keySpend takes a taproot output by its key, leafSpend the other one by its script.
func (s *spender) keySpend() *wire.MsgTx {
	s.t.Helper()
	tx := s.take(wire.OutPoint{Hash: s.funding().TxHash(), Index: 1}, purse)
	root := s.leaf().TapHash()
	sig, err := txscript.RawTxInTaprootSignature(tx, s.hashes(tx, s.taproot(), purse), 0, purse, s.taproot(), root[:],
		txscript.SigHashDefault, key("internal"))
	if err != nil {
		s.t.Fatal(err)
	}
	tx.TxIn[0].Witness = wire.TxWitness{sig}
	return tx
}

func (s *spender) leafSpend() *wire.MsgTx {
	s.t.Helper()
	tx := s.take(wire.OutPoint{Hash: s.funding().TxHash(), Index: 2}, purse)
	leaf := s.leaf()
	sig, err := txscript.RawTxInTapscriptSignature(tx, s.hashes(tx, s.taproot(), purse), 0, purse, s.taproot(), leaf,
		txscript.SigHashDefault, key("leaf"))
	if err != nil {
		s.t.Fatal(err)
	}
	block := txscript.AssembleTaprootScriptTree(leaf).LeafMerkleProofs[0].ToControlBlock(key("internal").PubKey())
	control, err := block.ToBytes()
	if err != nil {
		s.t.Fatal(err)
	}
	tx.TxIn[0].Witness = wire.TxWitness{sig, leaf.Script, control}
	return tx
}

// take is an unsigned transaction that moves an output to everybody.
func (s *spender) take(out wire.OutPoint, amount int64) *wire.MsgTx {
	tx := wire.NewMsgTx(2)
	tx.AddTxIn(wire.NewTxIn(&out, nil, nil))
	tx.AddTxOut(wire.NewTxOut(amount-fee, embedded.AnyoneCanSpend))
	return tx
}

func (s *spender) hashes(tx *wire.MsgTx, script []byte, amount int64) *txscript.TxSigHashes {
	return txscript.NewTxSigHashes(tx, txscript.NewCannedPrevOutputFetcher(script, amount))
}

func (s *spender) sign(tx *wire.MsgTx, script []byte, amount int64, name string) []byte {
	s.t.Helper()
	sig, err := txscript.RawTxInWitnessSignature(tx, s.hashes(tx, wsh(script), amount), 0, amount, script, txscript.SigHashAll, key(name))
	if err != nil {
		s.t.Fatal(err)
	}
	return sig
}

func (s *spender) publish(txs ...*wire.MsgTx) {
	s.t.Helper()
	for _, tx := range txs {
		if err := s.chain.Publish(context.Background(), tx); err != nil {
			s.t.Fatal(err)
		}
	}
}
