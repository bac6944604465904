package bitcoind

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// hash is a hash as bitcoind writes it: 64 hex digits, last byte first.
type hash chainhash.Hash

func (h *hash) UnmarshalText(text []byte) error {
	if len(text) != 2*chainhash.HashSize {
		return fmt.Errorf("hash of %d digits, need %d", len(text), 2*chainhash.HashSize)
	}
	return chainhash.Decode((*chainhash.Hash)(h), string(text))
}

// bitcoins is an amount that bitcoind writes in bitcoins, in satoshi. No floating point number is involved.
type bitcoins int64

func (a *bitcoins) UnmarshalJSON(text []byte) error {
	sat, err := parseBitcoins(strings.Trim(string(text), `"`))
	*a = bitcoins(sat)
	return err
}

// coin is a bitcoin in satoshi.
const coin int64 = 100_000_000

func parseBitcoins(text string) (int64, error) {
	digits, negative := strings.CutPrefix(text, "-")
	whole, part, _ := strings.Cut(digits, ".")
	if len(part) > 8 {
		return 0, fmt.Errorf("amount %q has more than 8 decimals", text)
	}
	w, err := strconv.ParseUint(whole, 10, 63)
	if err != nil || w >= uint64(math.MaxInt64/coin) {
		return 0, fmt.Errorf("amount %q is not one", text)
	}
	p, err := strconv.ParseUint(part+"00000000"[len(part):], 10, 63)
	if err != nil {
		return 0, fmt.Errorf("amount %q is not one", text)
	}
	sat := int64(w)*coin + int64(p)
	if negative {
		sat = -sat
	}
	return sat, nil
}

// script is a byte string in hex.
type script []byte

func (s *script) UnmarshalText(text []byte) (err error) {
	*s, err = hex.DecodeString(string(text))
	return err
}

// transaction is one in hex, with its witness.
type transaction struct{ *wire.MsgTx }

func (t *transaction) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil {
		return err
	}
	t.MsgTx = new(wire.MsgTx)
	r := bytes.NewReader(raw)
	if err := t.Deserialize(r); err != nil {
		return fmt.Errorf("transaction: %w", err)
	}
	if r.Len() > 0 {
		return fmt.Errorf("transaction: %d bytes too many", r.Len())
	}
	return nil
}

func txHex(tx *wire.MsgTx) (string, error) {
	var b bytes.Buffer
	if err := tx.Serialize(&b); err != nil {
		return "", fmt.Errorf("transaction %v: %w", tx.TxHash(), err)
	}
	return hex.EncodeToString(b.Bytes()), nil
}
