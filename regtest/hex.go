package regtest

import (
	"encoding/hex"
	"io"
	"strings"
)

// Hex is a transaction or a block as JSON-RPC takes it.
func Hex(x interface{ Serialize(io.Writer) error }) string {
	var b strings.Builder
	if err := x.Serialize(hex.NewEncoder(&b)); err != nil {
		panic(err) // a Builder never fails, nor does what was read or built in memory
	}
	return b.String()
}
