package explain

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"lightningrod/channel/commitment"
	"lightningrod/cmd/rod/internal/facts"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

func lnwireBit(bit int) lnwire.FeatureBit { return lnwire.FeatureBit(bit) }

// maxTx is the bytes of the largest transaction that is read: a block holds no larger one.
const maxTx = 4_000_000

// Tx explains a transaction, above all one of a channel. The payment basepoints of opener and accepter, if there are both, give
// a commitment's number. Addresses are those of a network.
func Tx(b []byte, net *chaincfg.Params, opener, accepter *[33]byte) (facts.Facts, error) {
	if len(b) > maxTx {
		return nil, fmt.Errorf("transaction: %d bytes, at most %d", len(b), maxTx)
	}
	if err := walk(b); err != nil {
		return nil, fmt.Errorf("transaction: %w", err)
	}
	tx := wire.NewMsgTx(2)
	if err := tx.Deserialize(bytes.NewReader(b)); err != nil {
		return nil, fmt.Errorf("transaction: %w", err)
	}
	f := facts.Facts{
		{Name: "txid", Value: tx.TxHash().String()}, {Name: "kind", Value: txKind(tx)}, {Name: "version", Value: int64(tx.Version)},
		{Name: "locktime", Value: uint64(tx.LockTime)}, {Name: "weight", Value: blockchain.GetTransactionWeight(btcutil.NewTx(tx))},
	}
	if obscured, ok := commitment.Number(tx, 0); ok {
		f.Add("obscured_commitment_number", obscured)
		if opener != nil && accepter != nil {
			n, _ := commitment.Number(tx, commitment.ObscureFactor(*opener, *accepter))
			f.Add("commitment_number", n)
		}
	}
	var ins, outs []any
	for _, in := range tx.TxIn {
		ins = append(ins, input(in))
	}
	for i, out := range tx.TxOut {
		class, addrs, _, _ := txscript.ExtractPkScriptAddrs(out.PkScript, net)
		o := facts.Facts{{Name: "index", Value: uint64(i)}, {Name: "amount_sat", Value: out.Value}, {Name: "script", Value: class.String()}}
		if out.Value == commitment.AnchorAmount && class == txscript.WitnessV0ScriptHashTy {
			o.Add("perhaps", "anchor")
		}
		for _, a := range addrs {
			o.Add("address", a.EncodeAddress())
		}
		o.Add("script_pubkey", hexOf(out.PkScript))
		outs = append(outs, o)
	}
	f.Add("inputs", ins)
	f.Add("outputs", outs)
	return f, nil
}

// walk goes through a transaction without making anything of it: the reader of wire allocates by counts that it has not
// compared with the bytes there are.
func walk(b []byte) error {
	c := newCursor(b)
	at := func(name string) { c.field = name }
	at("version")
	c.bytes(4)
	segwit := c.left() >= 2 && c.all[c.at] == 0 && c.all[c.at+1] == 1
	if segwit {
		c.bytes(2)
	}
	at("inputs")
	ins := c.compact(41)
	if c.err == nil && ins == 0 {
		c.fail("there are none")
	}
	for i := 0; i < ins && c.err == nil; i++ {
		at(fmt.Sprintf("inputs[%d]", i))
		c.bytes(36)
		c.bytes(c.compact(1))
		c.bytes(4)
	}
	at("outputs")
	outs := c.compact(9)
	for i := 0; i < outs && c.err == nil; i++ {
		at(fmt.Sprintf("outputs[%d]", i))
		c.bytes(8)
		c.bytes(c.compact(1))
	}
	for i := 0; i < ins && segwit && c.err == nil; i++ {
		at(fmt.Sprintf("witness[%d]", i))
		for n := c.compact(1); n > 0 && c.err == nil; n-- {
			c.bytes(c.compact(1))
		}
	}
	at("locktime")
	c.bytes(4)
	if c.err == nil && c.left() > 0 {
		c.fail("%d bytes too many", c.left())
	}
	return c.err
}

// compact is a count of things of at least size bytes each, in Bitcoin's variable length.
func (c *cursor) compact(size int) int {
	first := c.bytes(1)
	if c.err != nil {
		return 0
	}
	n := uint64(first[0])
	if n >= 0xfd {
		b := c.bytes(1 << (n - 0xfc))
		n = 0
		for i := len(b) - 1; i >= 0; i-- {
			n = n<<8 | uint64(b[i])
		}
	}
	if c.err == nil && n > uint64(c.left()/size) {
		c.fail("%d of at least %d bytes wanted, %d bytes left", n, size, c.left())
	}
	if c.err != nil {
		return 0
	}
	return int(n)
}

// txKind guesses by BOLT 3 what a transaction is: commitments by locktime and sequence, their children by witness and sequence.
func txKind(tx *wire.MsgTx) string {
	if _, ok := commitment.Number(tx, 0); ok {
		return "commitment transaction"
	}
	w := tx.TxIn[0].Witness
	if len(w) != 5 || len(w[0]) != 0 || len(w[1]) == 0 || len(w[2]) == 0 {
		return "other"
	}
	// Both HTLC transactions spend with two signatures; one of them with a preimage as well.
	switch {
	case len(w[3]) == 32:
		return "HTLC-success transaction"
	case len(w[3]) == 0:
		return "HTLC-timeout transaction"
	}
	return "other"
}

func input(in *wire.TxIn) facts.Facts {
	f := facts.Facts{{Name: "outpoint", Value: in.PreviousOutPoint.String()}, {Name: "sequence", Value: fmt.Sprintf("%#08x", in.Sequence)}}
	if len(in.SignatureScript) > 0 {
		f.Add("script_sig", hexOf(in.SignatureScript))
	}
	items := []any{}
	for _, item := range in.Witness {
		items = append(items, hexOf(item))
	}
	if len(items) > 0 {
		f.Add("witness", items)
	}
	if n := len(in.Witness); n > 1 && len(in.Witness[n-1]) > 33 {
		if text, err := txscript.DisasmString(in.Witness[n-1]); err == nil {
			f.Add("witness_script", text)
		}
	}
	return f
}

// Bytes reads hex, with or without 0x and spaces.
func Bytes(text string) ([]byte, error) { return unhex("input", text) }

func unhex(field, text string) ([]byte, error) {
	text = strings.TrimPrefix(strings.Join(strings.Fields(text), ""), "0x")
	b, err := hex.DecodeString(text)
	if err != nil {
		var bad hex.InvalidByteError
		if errors.As(err, &bad) {
			return nil, fmt.Errorf("%s: %q at character %d is no hex digit", field, rune(bad), strings.IndexByte(text, byte(bad)))
		}
		return nil, fmt.Errorf("%s: %d hex digits: an odd number", field, len(text))
	}
	if len(b) == 0 {
		return nil, fmt.Errorf("%s: is empty", field)
	}
	return b, nil
}

// Any explains what a text is most likely to be, and says as what it was read.
func Any(text string, net *chaincfg.Params) (what string, f facts.Facts, err error) {
	text = strings.TrimSpace(text)
	switch {
	case IsInvoice(text):
		f, err = Invoice(text)
		return "invoice", f, err
	case strings.Contains(text, "@"):
		f, err = Node(text)
		return "node", f, err
	}
	if f, err := ShortChannelID(text); err == nil && (strings.ContainsAny(text, "x:") || len(text) < 22 && len(text)%2 == 1) {
		return "scid", f, nil
	}
	b, err := Bytes(text)
	if err != nil {
		return "", nil, err
	}
	if f, err := Node(hexOf(b)); err == nil {
		return "node", f, nil
	}
	if len(b) == htlcOnion && b[0] == 0 {
		f, err := Onion(b, Keys{})
		return "onion", f, err
	}
	var typed error
	if len(b) >= 2 {
		if _, known := messages[uint16(b[0])<<8|uint16(b[1])]; known {
			f, err := Message(b)
			if err == nil {
				return "message", f, nil
			}
			typed = err
		}
	}
	if f, err := Tx(b, net, nil, nil); err == nil {
		return "tx", f, nil
	}
	if f, err := Path(b); err == nil {
		return "path", f, nil
	}
	if typed != nil {
		return "", nil, typed
	}
	return "", nil, errors.New("neither invoice, node, short_channel_id, message, onion, transaction nor blinded path: name it, as in rod decode message")
}
