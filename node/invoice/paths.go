package invoice

import (
	"bytes"
	"fmt"

	"lightningrod/onion"

	"github.com/lightningnetwork/lnd/zpay32"
)

// maxPathHops is the number of hops of a blinded path that zpay32 writes. Longer ones hardly fit a field.
const maxPathHops = 7

// pathLetter is the character of the field that bLIP 39 calls b and gives the number 20: bech32 has no b.
const pathLetter = '5'

// paths reads the fields b (bLIP 39). zpay32 has read them too, but takes bytes that are missing for zeros.
func (f *fields) paths() ([]onion.PaymentPath, error) {
	var paths []onion.PaymentPath
	for _, t := range f.tagged {
		if t.letter != pathLetter {
			continue
		}
		p, err := onion.DecodePaymentPath(bytesOf(t.groups))
		if err != nil {
			return nil, fmt.Errorf("blinded path %d: %w", len(paths), err)
		}
		paths = append(paths, p)
	}
	return paths, nil
}

// appendPaths adds fields b.
func appendPaths(opts []func(*zpay32.Invoice), paths []onion.PaymentPath) ([]func(*zpay32.Invoice), error) {
	for i, p := range paths {
		if n := len(p.Path.Hops); n > maxPathHops {
			return nil, fmt.Errorf("blinded path %d has %d hops, limit is %d", i, n, maxPathHops)
		}
		b, err := p.Encode()
		if err == nil && len(b) > maxField {
			err = fmt.Errorf("%d bytes, limit is %d", len(b), maxField)
		}
		if err != nil {
			return nil, fmt.Errorf("blinded path %d: %w", i, err)
		}
		z, err := zpay32.DecodeBlindedPayment(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("blinded path %d: %w", i, err)
		}
		opts = append(opts, zpay32.WithBlindedPaymentPath(z))
	}
	return opts, nil
}
