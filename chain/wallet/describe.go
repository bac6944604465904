package wallet

import (
	"encoding/binary"
	"errors"
	"fmt"

	"lightningrod/chain/octets"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// DescribeRow is a row as text, for a dump of the database. Unlike New it needs no seed and checks nothing beyond the encoding.
func DescribeRow(r Row) (string, error) {
	c := octets.Of(r.Value)
	if c.Version(version); c.Err != nil {
		return "", c.Err
	}
	var text string
	switch key := r.Key; {
	case string(key) == birthdayKey:
		text = fmt.Sprintf("birthday: height %d", c.Uint32())
	case string(key) == tipKey:
		fingerprint, height := c.Take(4), c.Uint32()
		text = fmt.Sprintf("tip: height %d, the newest %d block hashes, master key %x", height, len(c.Rest())/32, fingerprint)
	case len(key) == 2 && key[0] == rowBranch:
		text = fmt.Sprintf("branch %d: next %d, floor %d, top %d", key[1], c.Uint32(), c.Uint32(), c.Uint32())
	case len(key) == 37 && key[0] == rowCoin:
		out := wire.OutPoint{Hash: chainhash.Hash(key[1:33]), Index: binary.BigEndian.Uint32(key[33:])}
		text = fmt.Sprintf("coin %v: %d sat, branch %d, index %d, coinbase %t, height %d, spent at %d",
			out, c.Uint64(), c.Uint8(), c.Uint32(), c.Bool(), c.Uint32(), c.Uint32())
	case len(key) == 33 && key[0] == rowPending:
		text = fmt.Sprintf("transaction %v: publish %t, height %d, dead at %d, %d bytes",
			chainhash.Hash(key[1:]), c.Bool(), c.Uint32(), c.Uint32(), len(c.Rest()))
	default:
		return "", errors.New("unknown key")
	}
	return text, c.End()
}
