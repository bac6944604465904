package commitment

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
	"github.com/lightningnetwork/lnd/lnwire"
)

// ClosingOutput is one side's share of a cooperative close. Omit leaves it out, as its side may ask.
type ClosingOutput struct {
	Amount lnwire.MilliSatoshi // before the fee
	Script []byte              // of the side's shutdown
	Omit   bool
}

// Closing is what a closing transaction pays. DustLimit is the dust_limit_satoshis of the side that signs.
type Closing struct {
	Funding          wire.OutPoint
	Capacity         int64 // satoshi
	Opener, Accepter ClosingOutput
	Fee              int64 // satoshi, fee_satoshis of closing_signed, paid by the opener
	DustLimit        int64 // satoshi
}

// ClosingTx is BOLT 3 "Legacy Closing Transaction", unsigned; FundingDigest and FundingStack complete it. It fails if
// the opener cannot pay the fee, if no output is left, and if an output is below the dust limit of its script.
func ClosingTx(c Closing) (*wire.MsgTx, error) {
	opener, accepter, capacity := c.Opener.Amount, c.Accepter.Amount, msat(c.Capacity)
	switch {
	case c.Capacity <= 0 || c.Capacity > maxSatoshi:
		return nil, fmt.Errorf("capacity %d satoshi not in 1..%d", c.Capacity, int64(maxSatoshi))
	case opener > capacity || accepter > capacity-opener:
		return nil, fmt.Errorf("balances %d and %d msat exceed capacity %d msat",
			uint64(opener), uint64(accepter), uint64(capacity))
	case c.Fee < 0 || c.Fee > sat(opener):
		return nil, fmt.Errorf("fee_satoshis %d not in 0..%d, the opener's balance", c.Fee, sat(opener))
	}
	tx := &wire.MsgTx{
		Version: 2,
		TxIn:    []*wire.TxIn{{PreviousOutPoint: c.Funding, Sequence: wire.MaxTxInSequenceNum}},
	}
	add := func(value int64, out *ClosingOutput) error {
		if out.Omit || value < max(1, c.DustLimit) {
			return nil
		}
		if dust := DustLimitFor(out.Script); value < dust {
			return fmt.Errorf("closing output %d satoshi below dust limit %d of its script", value, dust)
		}
		tx.TxOut = append(tx.TxOut, &wire.TxOut{Value: value, PkScript: out.Script})
		return nil
	}
	if err := add(sat(opener)-c.Fee, &c.Opener); err != nil {
		return nil, err
	}
	if err := add(sat(accepter), &c.Accepter); err != nil {
		return nil, err
	}
	if len(tx.TxOut) == 0 {
		return nil, fmt.Errorf("no closing output reaches dust_limit_satoshis %d", c.DustLimit)
	}
	slices.SortFunc(tx.TxOut, func(a, b *wire.TxOut) int {
		x := output{value: a.Value, pkScript: a.PkScript}
		y := output{value: b.Value, pkScript: b.PkScript}
		return x.compare(&y, nil)
	})
	return tx, nil
}

// DustLimitFor is the smallest output to a script, in satoshi, that bitcoin nodes relay: BOLT 3 "Dust Limits".
func DustLimitFor(script []byte) int64 {
	switch n := len(script); {
	case n > 0 && script[0] == txscript.OP_RETURN:
		return 0
	case isWitness(script) && script[0] == txscript.OP_0 && n == 22:
		return 294
	case isWitness(script) && script[0] == txscript.OP_0 && n == 34:
		return 330
	case bytes.Equal(script, []byte{txscript.OP_1, txscript.OP_DATA_2, 0x4e, 0x73}):
		return 240 // pay to anchor
	case isWitness(script):
		return 354
	case txscript.IsPayToScriptHash(script):
		return 540
	default:
		return 546 // P2PKH, and a script that cannot be a shutdown's
	}
}

// ValidShutdownScript says whether a script may be in shutdown, or upfront_shutdown_script if not empty:
// BOLT 2 "Closing Initiation". anySegwit: option_shutdown_anysegwit is negotiated.
func ValidShutdownScript(script []byte, anySegwit bool) bool {
	if !isWitness(script) {
		return false
	}
	if script[0] == txscript.OP_0 {
		return len(script) == 22 || len(script) == 34
	}
	return anySegwit
}

// isWitness: OP_0 or OP_1 to OP_16, then one push of 2 to 40 bytes.
func isWitness(script []byte) bool {
	n := len(script)
	return n >= 4 && n <= 42 && int(script[1]) == n-2 &&
		(script[0] == txscript.OP_0 || script[0] >= txscript.OP_1 && script[0] <= txscript.OP_16)
}
