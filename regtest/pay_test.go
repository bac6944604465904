package regtest_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lightningrod/node/invoice"
	"lightningrod/regtest"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/chaincfg"
)

// The words of pay: any takes every outcome, a refusal too; withdrawn has the payee take its invoice back before it is paid; unknown pays another hash
// than the invoice's; blinded wants an invoice with blinded paths of so many hops before the payee
// (one if it does not say) and dummies after it; fee and expiry are what the first hop gets too little of;
// wrong names something else that is wrong with the route (lndWrongs). with names an invoice that was made before.
const payUsage = "pay NODE NODE AMOUNT [xTIMES] [any] [withdrawn] [unknown] [blinded[=HOPS[+DUMMIES]]] [paths=N] [by=AT_A_TIME] [parts=N] [less-fee=AMOUNT] [less-expiry=BLOCKS] [wrong=WHAT] [with=NAME] [fails=NAME] [hop=N]"

var payOptions = []string{"by", "parts", "blinded", "paths", "less-fee", "less-expiry", "wrong", "with", "fails", "hop"}

// wish is a line that pays.
type wish struct {
	amount    uint64 // msat
	times, by int
	any       bool
	withdrawn bool
	blinded   *regtest.PathWish
	fails     string
	hop       int
	payment   regtest.Payment // all but the invoice
}

func readWish(l *line) (x wish, err error) {
	v, err := msat(l.words[2])
	if err != nil {
		return x, err
	}
	x = wish{amount: uint64(v), times: 1, fails: l.options["fails"]}
	x.payment.Wrong = l.options["wrong"]
	for _, word := range l.words[3:] {
		times, ok := strings.CutPrefix(word, "x")
		switch {
		case ok:
			if x.times, err = strconv.Atoi(times); err != nil {
				return x, err
			}
		case word == "any":
			x.any = true
		case word == "withdrawn":
			x.withdrawn = true
		case word == "blinded":
			x.blinded = &regtest.PathWish{Hops: 1}
		case word == "unknown":
			x.payment.Unknown = true
		default:
			return x, fmt.Errorf("%q: want %q", word, payUsage)
		}
	}
	for name, to := range map[string]*int{"by": &x.by, "parts": &x.payment.Parts, "hop": &x.hop, "less-expiry": &x.payment.LessExpiry} {
		otherwise := map[string]int{"by": 1, "hop": -1}[name]
		if *to, err = l.count(name, otherwise); err != nil {
			return x, err
		}
	}
	if text, ok := l.options["blinded"]; ok {
		if x.blinded, err = readPath(text); err != nil {
			return x, err
		}
	}
	if x.blinded != nil {
		if x.blinded.Paths, err = l.count("paths", 1); err != nil {
			return x, err
		}
	}
	if text := l.options["less-fee"]; text != "" {
		x.payment.LessFee, err = msat(text)
	}
	return x, err
}

// readPath reads HOPS[+DUMMIES].
func readPath(text string) (p *regtest.PathWish, err error) {
	p = &regtest.PathWish{}
	hops, dummies, more := strings.Cut(text, "+")
	if p.Hops, err = strconv.Atoi(hops); err == nil && more {
		p.Dummies, err = strconv.Atoi(dummies)
	}
	return p, err
}

// invoice makes one for later.
func (w *world) invoice(l *line) error {
	b, err := w.node(l.words[1])
	if err != nil {
		return err
	}
	amount, err := msat(l.words[2])
	if err != nil {
		return err
	}
	w.invoices[l.words[0]], err = b.Invoice(uint64(amount))
	return err
}

// pay pays invoices, so many at a time, and waits for all outcomes.
func (w *world) pay(l *line) error {
	x, err := readWish(l)
	if err != nil {
		return err
	}
	a, err := w.node(l.words[0])
	if err != nil {
		return err
	}
	if name := l.options["with"]; name != "" { // its payee may be down
		return payOne(a, w.invoices[name], x)
	}
	b, err := w.node(l.words[1])
	if err != nil {
		return err
	}
	invoices := make(chan regtest.Invoice, x.times)
	for range x.times {
		inv, err := invoiceFor(b, x)
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

func invoiceFor(b regtest.Node, x wish) (regtest.Invoice, error) {
	if x.blinded == nil {
		return b.Invoice(x.amount)
	}
	l, ok := b.(regtest.Blinder)
	if !ok {
		return regtest.Invoice{}, errors.New("it makes no invoices with blinded paths")
	}
	inv, err := l.Blinded(x.amount, *x.blinded)
	if err != nil || !x.payment.Unknown {
		return inv, err
	}
	return otherHash(inv)
}

// otherHash is an invoice with the paths of another: it is not signed by a node that anybody knows, so this can be done.
func otherHash(from regtest.Invoice) (regtest.Invoice, error) {
	net := &chaincfg.RegressionNetParams
	inv, err := invoice.Decode(from.Text, net)
	if err != nil {
		return from, err
	}
	rand.Read(inv.Hash[:])
	key, err := btcec.NewPrivateKey()
	if err != nil {
		return from, err
	}
	text, err := invoice.New(*inv, net, key)
	return regtest.Invoice{Text: text, Hash: hex.EncodeToString(inv.Hash[:])}, err
}

func payOne(a regtest.Node, inv regtest.Invoice, x wish) error {
	p := x.payment
	p.Invoice = inv.Text
	p.Unknown = p.Unknown && x.blinded == nil // else the invoice has it already
	o, err := a.Pay(p)
	switch {
	case x.any:
		return nil
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

// flow is payments that go on, while nodes come and go.
type flow struct {
	paid, failed atomic.Int64
	stop         context.CancelFunc
	done         sync.WaitGroup
}

// keepPaying pays until stop paying. That a node is down, or has no way, is part of it: what counts are the ledgers in the end.
func (w *world) keepPaying(l *line) error {
	a, b, err := w.pair(l)
	if err != nil {
		return err
	}
	x, err := readWish(l)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(w.t.Context())
	f := &flow{stop: stop}
	for range x.by {
		f.done.Go(func() {
			for ctx.Err() == nil {
				if inv, err := b.Invoice(x.amount); err == nil {
					if o, err := a.Pay(regtest.Payment{Invoice: inv.Text}); err == nil && o.Paid {
						f.paid.Add(1)
						continue
					}
				}
				f.failed.Add(1)
				select { // no busy loop while the other is down
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond):
				}
			}
		})
	}
	w.flows = append(w.flows, f)
	return nil
}

func (w *world) stopFlows() {
	for _, f := range w.flows {
		f.stop()
	}
	for _, f := range w.flows {
		f.done.Wait()
	}
	w.flows = nil
}

func (w *world) stopPaying(*line) error {
	for i, f := range w.flows {
		w.t.Logf("flow %d: %d paid, %d not", i+1, f.paid.Load(), f.failed.Load())
	}
	w.stopFlows()
	return nil
}

// progress waits until so many payments more of every flow have come through.
func (w *world) progress(l *line) error {
	want, err := l.count("payments", 1)
	if err != nil {
		return err
	}
	for i, f := range w.flows {
		from := f.paid.Load()
		err := w.until(func() error {
			if got := f.paid.Load() - from; got < int64(want) {
				return fmt.Errorf("flow %d: %d payments came through, want %d", i+1, got, want)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ledgers waits until no payment is without outcome, and compares all payers with all payees: whatever one calls paid another has
// received, and the other way round.
//
// The node unsure is an lnd that was killed, whose own books may then be wrong twice over, and whose loss it is. Its payments may stay without outcome,
// if nobody has received them: it had noted an attempt and not yet added the HTLC. Invoices of its may stay settled whose HTLCs it then failed: after
// the restart it takes their onions for replays. By the books of the others nothing of theirs is missing.
func (w *world) ledgers(l *line) error {
	unsure := l.options["unsure"]
	return w.until(func() error {
		all := map[string]regtest.Ledger{}
		for name, n := range w.running() {
			b, err := n.Ledger()
			if err != nil {
				return err
			}
			if name != unsure && len(b.Pending) > 0 {
				return fmt.Errorf("%s: %d payments have no outcome: %v", name, len(b.Pending), b.Pending)
			}
			all[name] = b
		}
		if err := compare(all, unsure); err != nil || unsure == "" {
			return err
		}
		return w.addUp(all, unsure)
	})
}

// compare finds a payment that two nodes see differently, other than unsure may.
func compare(all map[string]regtest.Ledger, unsure string) error {
	paid, received, payee, failed := map[string]int64{}, map[string]int64{}, map[string]string{}, map[string]bool{}
	for name, b := range all {
		maps.Copy(paid, b.Paid)
		maps.Copy(received, b.Received)
		for hash := range b.Received {
			payee[hash] = name
		}
		for _, hash := range b.Failed {
			failed[hash] = true
		}
	}
	for hash, amount := range paid {
		got, ok := received[hash]
		if !ok {
			return fmt.Errorf("payment %s is paid, and nobody has received it", hash)
		}
		if amount != 0 && got != amount {
			return fmt.Errorf("payment %s: %d msat paid, %d received", hash, amount, got)
		}
	}
	for _, hash := range all[unsure].Pending {
		if _, ok := received[hash]; ok {
			return fmt.Errorf("payment %s is received, and its payer calls it in flight", hash)
		}
	}
	for hash := range received {
		if _, ok := paid[hash]; !ok && !(failed[hash] && payee[hash] == unsure) {
			return fmt.Errorf("payment %s is received by %s, and its payer does not know (calls it failed: %t)", hash, payee[hash], failed[hash])
		}
	}
	return nil
}

// addUp finds a node, other than unsure, that has less in its channels than it had when they were opened, has received and has sent. It may have more: a
// preimage that unsure has shown stays known to the payer, also where the HTLC is failed later.
func (w *world) addUp(all map[string]regtest.Ledger, unsure string) error {
	for name, b := range all {
		if name == unsure {
			continue
		}
		has, err := w.nodes[name].Total()
		if err != nil {
			return err
		}
		want := w.begun[name] - b.Sent
		for _, got := range b.Received {
			want += got
		}
		if has < want {
			return fmt.Errorf("%s has %d msat in its channels, by its books at least %d", name, has, want)
		}
	}
	return nil
}
