package regtest_test

import (
	"errors"
	"fmt"

	"lightningrod/regtest"
)

// payOffer has the one pay an offer of the other.
func (w *world) payOffer(l *line) error {
	a, b, amount, err := w.pairAndAmount(l)
	if err != nil {
		return err
	}
	payer, okPayer := a.(regtest.Offerer)
	payee, okPayee := b.(regtest.Offerer)
	if !okPayer || !okPayee {
		return errors.New("both have to know offers")
	}
	offer, err := payee.Offer(uint64(amount))
	if err != nil {
		return err
	}
	o, err := payer.PayOffer(offer)
	if err == nil && !o.Paid {
		err = fmt.Errorf("it failed with %q of hop %d", o.Failure, o.Hop)
	}
	return err
}
