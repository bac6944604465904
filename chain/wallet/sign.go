package wallet

import (
	"errors"
	"fmt"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/schnorr"
	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/btcutil/psbt"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
)

// sign puts the witness into input i of tx. prev are the outputs that the inputs spend.
func (w *Wallet) sign(tx *wire.MsgTx, i int, prev []*wire.TxOut) error {
	sig, key, err := w.signature(tx, i, prev, 0)
	if err != nil {
		return fmt.Errorf("sign input %d: %w", i, err)
	}
	tx.TxIn[i].Witness = wire.TxWitness{sig}
	if !txscript.IsPayToTaproot(prev[i].PkScript) {
		tx.TxIn[i].Witness = wire.TxWitness{sig, key.PubKey().SerializeCompressed()}
	}
	return nil
}

// signature signs all of tx for input i. how is SIGHASH_ALL, or 0 for what is usual with the kind of the output. The same arguments
// give the same signature.
func (w *Wallet) signature(tx *wire.MsgTx, i int, prev []*wire.TxOut, how txscript.SigHashType) ([]byte, *btcec.PrivateKey, error) {
	at, ours := w.places[string(prev[i].PkScript)]
	if !ours {
		return nil, nil, errors.New("script is not ours")
	}
	key, err := w.branches[at.branch].key(at.index)
	if err != nil {
		return nil, nil, err
	}
	outs := txscript.NewMultiPrevOutFetcher(nil)
	for n, in := range tx.TxIn {
		outs.AddPrevOut(in.PreviousOutPoint, prev[n])
	}
	hashes, out := txscript.NewTxSigHashes(tx, outs), prev[i]
	var sig []byte
	if at.kind() == P2TR {
		sig, err = txscript.RawTxInTaprootSignature(tx, hashes, i, out.Value, out.PkScript, nil, how, key)
	} else {
		sig, err = txscript.RawTxInWitnessSignature(tx, hashes, i, out.Value, out.PkScript, txscript.SigHashAll, key)
	}
	return sig, key, err
}

// FundPSBT adds coins as inputs, and change at the end, to a packet that has outputs only, and locks the coins as Fund does. It
// fills in what a signer elsewhere would need. Options.Inputs and Replaces are not for it.
func (w *Wallet) FundPSBT(p *psbt.Packet, rate chain.FeePerKw, opt Options) ([]Row, error) {
	tx := p.UnsignedTx
	if len(tx.TxIn) != 0 || len(tx.TxOut) == 0 || len(opt.Inputs) != 0 || opt.Replaces != nil {
		return nil, fmt.Errorf("packet with %d inputs and %d outputs, need none and some", len(tx.TxIn), len(tx.TxOut))
	}
	d, err := w.draft(tx.TxOut, rate, opt)
	if err != nil {
		return nil, err
	}
	if err := w.choose(d); err != nil {
		return nil, err
	}
	funded := d.transaction(d.outs)
	funded.Version, funded.LockTime = tx.Version, tx.LockTime
	d.addChange(funded)
	if err := d.checkWeight(); err != nil {
		return nil, err
	}
	for _, c := range d.coins {
		p.Inputs = append(p.Inputs, w.psbtInput(c))
	}
	if len(funded.TxOut) > len(tx.TxOut) {
		p.Outputs = append(p.Outputs, w.psbtChange(d.change))
	}
	p.UnsignedTx = funded
	return w.enter(funded, d), nil
}

func (w *Wallet) psbtInput(c Coin) psbt.PInput {
	in := psbt.PInput{WitnessUtxo: wire.NewTxOut(int64(c.Value), c.Script)}
	in.Bip32Derivation, in.TaprootBip32Derivation, in.TaprootInternalKey = w.psbtKey(c.Script)
	return in
}

func (w *Wallet) psbtChange(script []byte) psbt.POutput {
	var out psbt.POutput
	out.Bip32Derivation, out.TaprootBip32Derivation, out.TaprootInternalKey = w.psbtKey(script)
	return out
}

func (w *Wallet) psbtKey(script []byte) ([]*psbt.Bip32Derivation, []*psbt.TaprootBip32Derivation, []byte) {
	at := w.places[string(script)]
	child, err := w.branches[at.branch].public.Derive(at.index)
	if err != nil {
		return nil, nil, nil
	}
	pub, err := child.ECPubKey()
	if err != nil {
		return nil, nil, nil
	}
	if at.kind() == P2TR {
		x := schnorr.SerializePubKey(pub)
		return nil, []*psbt.TaprootBip32Derivation{{
			XOnlyPubKey: x, MasterKeyFingerprint: w.psbtFingerprint(), Bip32Path: path(w.params, at),
		}}, x
	}
	return []*psbt.Bip32Derivation{{
		PubKey: pub.SerializeCompressed(), MasterKeyFingerprint: w.psbtFingerprint(), Bip32Path: path(w.params, at),
	}}, nil, nil
}

// SignPSBT signs the inputs that spend coins of ours, and says how many. It believes its own books about them, and
// refuses a packet that says otherwise. The caller finalizes.
func (w *Wallet) SignPSBT(p *psbt.Packet) (int, error) {
	tx := p.UnsignedTx
	if len(p.Inputs) != len(tx.TxIn) {
		return 0, fmt.Errorf("packet describes %d of %d inputs", len(p.Inputs), len(tx.TxIn))
	}
	prev := make([]*wire.TxOut, len(tx.TxIn))
	var ours []int
	missing := -1
	for i, in := range tx.TxIn {
		prev[i] = spentBy(&p.Inputs[i], in.PreviousOutPoint)
		if c, ok := w.output(in.PreviousOutPoint); ok {
			if out := prev[i]; out != nil && (btcutil.Amount(out.Value) != c.Value || string(out.PkScript) != string(c.Script)) {
				return 0, fmt.Errorf("input %d: packet has another output for %v than it is", i, in.PreviousOutPoint)
			}
			prev[i] = wire.NewTxOut(int64(c.Value), c.Script)
			ours = append(ours, i)
		}
		if prev[i] == nil {
			missing, prev[i] = i, new(wire.TxOut)
		}
	}
	for _, i := range ours {
		if err := w.signInput(&p.Inputs[i], tx, i, prev, missing); err != nil {
			return 0, fmt.Errorf("input %d: %w", i, err)
		}
	}
	return len(ours), nil
}

// spentBy is the output that the packet names for an input.
func spentBy(in *psbt.PInput, op wire.OutPoint) *wire.TxOut {
	if tx := in.NonWitnessUtxo; tx != nil && tx.TxHash() == op.Hash && int64(op.Index) < int64(len(tx.TxOut)) {
		return tx.TxOut[op.Index]
	}
	return in.WitnessUtxo
}

func (w *Wallet) signInput(in *psbt.PInput, tx *wire.MsgTx, i int, prev []*wire.TxOut, missing int) error {
	taproot := txscript.IsPayToTaproot(prev[i].PkScript)
	if in.SighashType > txscript.SigHashAll {
		return fmt.Errorf("sighash type %d, sign only all", in.SighashType)
	}
	if taproot && missing >= 0 {
		return fmt.Errorf("a taproot signature needs the output of input %d", missing)
	}
	sig, key, err := w.signature(tx, i, prev, in.SighashType)
	if err != nil {
		return err
	}
	in.WitnessUtxo = prev[i]
	if taproot {
		in.TaprootKeySpendSig = sig
		return nil
	}
	in.PartialSigs = []*psbt.PartialSig{{PubKey: key.PubKey().SerializeCompressed(), Signature: sig}}
	return nil
}
