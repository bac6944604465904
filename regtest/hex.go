package regtest

import (
	"encoding/hex"
	"fmt"
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

// unhex reads hex, and says what it was that is none.
func unhex(text string) ([]byte, error) {
	b, err := hex.DecodeString(text)
	if err != nil {
		err = fmt.Errorf("%.80q is not hex", text)
	}
	return b, err
}
