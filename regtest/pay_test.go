package regtest_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"lightningrod/regtest"
)

// wish is a line that pays.
type wish struct {
	amount    uint64 // msat
	times, by int
	parts     int
	withdrawn bool // the payee takes the invoice back before it is paid
	fails     string
	hop       int
}

func readWish(l *line) (x wish, err error) {
	v, err := msat(l.words[2])
	if err != nil {
		return x, err
	}
	x = wish{amount: uint64(v), times: 1, fails: l.options["fails"], withdrawn: l.has(3, "withdrawn")}
	for _, word := range l.words[3:] {
		if times, ok := strings.CutPrefix(word, "x"); ok {
			if x.times, err = strconv.Atoi(times); err != nil {
				return x, err
			}
		} else if word != "withdrawn" {
			return x, fmt.Errorf("%q: want xTIMES or withdrawn", word)
		}
	}
	for name, to := range map[string]*int{"by": &x.by, "parts": &x.parts, "hop": &x.hop} {
		if *to, err = l.number64(name, 1); err != nil {
			return x, err
		}
	}
	if l.options["hop"] == "" {
		x.hop = -1
	}
	return x, nil
}

// pay pays invoices, so many at a time, and waits for all outcomes.
func (w *world) pay(l *line) error {
	a, b, err := w.pair(l)
	if err != nil {
		return err
	}
	x, err := readWish(l)
	if err != nil {
		return err
	}
	invoices := make(chan regtest.Invoice, x.times)
	for range x.times {
		inv, err := b.Invoice(x.amount)
		if err != nil {
			return err
		}
		if x.withdrawn {
			if err := b.Withdraw(inv); err != nil {
				return err
			}
		}
		invoices <- inv
	}
	close(invoices)
	var wg sync.WaitGroup
	errs := make(chan error, x.by)
	for range x.by {
		wg.Go(func() {
			for inv := range invoices {
				if err := payOne(a, inv, x); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

func payOne(a regtest.Node, inv regtest.Invoice, x wish) error {
	o, err := a.Pay(regtest.Payment{Invoice: inv.Text, Parts: x.parts})
	switch {
	case err != nil:
		return err
	case o.Paid && x.fails != "":
		return errors.New("it was paid")
	case !o.Paid && o.Failure != x.fails:
		return fmt.Errorf("it failed with %q of hop %d", o.Failure, o.Hop)
	case x.hop >= 0 && o.Hop != x.hop:
		return fmt.Errorf("it failed at hop %d", o.Hop)
	}
	return nil
}
