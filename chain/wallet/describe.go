package wallet

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// DescribeRow is a row as text, for a dump of the database. Unlike New it needs no seed and checks nothing beyond the encoding.
func DescribeRow(r Row) (string, error) {
	c := cursor{b: r.Value}
	if v := c.u8(); c.err == nil && v != version {
		return "", fmt.Errorf("version %d, know only %d", v, version)
	}
	var text string
	switch key := r.Key; {
	case string(key) == birthdayKey:
		text = fmt.Sprintf("birthday: height %d", c.u32())
	case string(key) == tipKey:
		fingerprint, height := c.take(4), c.u32()
		text = fmt.Sprintf("tip: height %d, the newest %d block hashes, master key %x", height, len(c.rest())/32, fingerprint)
	case len(key) == 2 && key[0] == rowBranch:
		text = fmt.Sprintf("branch %d: next %d, floor %d, top %d", key[1], c.u32(), c.u32(), c.u32())
	case len(key) == 37 && key[0] == rowCoin:
		out := wire.OutPoint{Hash: chainhash.Hash(key[1:33]), Index: binary.BigEndian.Uint32(key[33:])}
		text = fmt.Sprintf("coin %v: %d sat, branch %d, index %d, coinbase %t, height %d, spent at %d",
			out, c.u64(), c.u8(), c.u32(), c.flag(), c.u32(), c.u32())
	case len(key) == 33 && key[0] == rowPending:
		text = fmt.Sprintf("transaction %v: publish %t, height %d, dead at %d, %d bytes",
			chainhash.Hash(key[1:]), c.flag(), c.u32(), c.u32(), len(c.rest()))
	default:
		return "", errors.New("unknown key")
	}
	return text, c.end()
}
