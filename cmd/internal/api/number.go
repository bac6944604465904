package api

import (
	"fmt"
	"strconv"
)

// Number is a channel's or payment's number: a decimal string in JSON.
type Number uint64

func (n Number) String() string { return strconv.FormatUint(uint64(n), 10) }

// MarshalText is the decimal string.
func (n Number) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads it.
func (n *Number) UnmarshalText(b []byte) error {
	v, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil {
		return fmt.Errorf("%q is not a number", b)
	}
	*n = Number(v)
	return nil
}
