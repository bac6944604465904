package bitcoind

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// Publish hands tx to bitcoind, which relays it. It is no error if it is in the mempool or confirmed already. A refusal wraps
// chain.ErrRejected, and where the cause is known chain.ErrConflict, ErrMissingInputs, ErrPremature or ErrFeeTooLow. Any
// other error says nothing of tx: bitcoind was not reached, or has not done starting.
func (b *Backend) Publish(ctx context.Context, tx *wire.MsgTx) error {
	id := tx.TxHash()
	b.known.watch(tx)
	if done, err := b.settled(tx); done {
		return err
	}
	text, err := txHex(tx)
	if err != nil {
		return err
	}
	// 0: the fee is the business of who made tx; bitcoind's own bound is for people at a prompt.
	err = b.rpc.Call(ctx, nil, "sendrawtransaction", text, 0)
	if err != nil {
		if err = b.refusal(ctx, tx, err); err != nil {
			return fmt.Errorf("publish %v: %w", id, err)
		}
	}
	b.look()
	return nil
}

// TestAccept says what Publish would, and changes nothing.
func (b *Backend) TestAccept(ctx context.Context, tx *wire.MsgTx) error {
	text, err := txHex(tx)
	if err != nil {
		return err
	}
	var answers []struct {
		Allowed bool   `json:"allowed"`
		Reason  string `json:"reject-reason"`
		Details string `json:"reject-details"`
	}
	if err := b.rpc.Call(ctx, &answers, "testmempoolaccept", []string{text}, 0); err != nil {
		return fmt.Errorf("test %v: %w", tx.TxHash(), b.refusal(ctx, tx, err))
	}
	if len(answers) != 1 {
		return fmt.Errorf("testmempoolaccept: %d answers for 1 transaction", len(answers))
	}
	a := answers[0]
	if a.Allowed {
		return nil
	}
	reason := a.Reason
	if strings.HasPrefix(a.Details, a.Reason) {
		reason = a.Details // the same, and more
	}
	err = b.refusal(ctx, tx, &Error{Method: "testmempoolaccept", Code: codeRejected, Message: reason})
	if err != nil {
		return fmt.Errorf("test %v: %w", tx.TxHash(), err)
	}
	return nil
}

// PublishPackage publishes a transaction, the last of txs, together with its unconfirmed parents, so that they may pay for each other. A
// bitcoind that knows no packages gets them one by one. Errors are as of Publish.
func (b *Backend) PublishPackage(ctx context.Context, txs ...*wire.MsgTx) error {
	var open []*wire.MsgTx
	for _, tx := range txs {
		b.known.watch(tx)
		if done, err := b.settled(tx); err != nil {
			return err
		} else if !done {
			open = append(open, tx)
		}
	}
	rest, err := b.submit(ctx, open)
	if err != nil || len(rest) == 0 {
		return err
	}
	return b.PublishPackage(ctx, rest...)
}

// submit hands over a package. A parent that is confirmed spoils it: then rest, shorter than txs, is to be published without.
func (b *Backend) submit(ctx context.Context, txs []*wire.MsgTx) (rest []*wire.MsgTx, err error) {
	if len(txs) < 2 {
		return nil, b.publishEach(ctx, txs)
	}
	texts := make([]string, len(txs))
	for i, tx := range txs {
		if texts[i], err = txHex(tx); err != nil {
			return nil, err
		}
	}
	var answer packageAnswer
	err = b.rpc.Call(ctx, &answer, "submitpackage", texts, 0)
	if code(err) == codeMisc { // version 26 takes the transactions only, and has no bound of its own
		err = b.rpc.Call(ctx, &answer, "submitpackage", texts)
	}
	switch {
	case code(err) == codeUnknownMethod || code(err) == codeMisc:
		return nil, b.publishEach(ctx, txs)
	case err != nil:
		return nil, fmt.Errorf("publish package: %w", b.refusal(ctx, txs[len(txs)-1], err))
	case answer.success(txs):
		b.look()
		return nil, nil
	}
	var errs []error
	for _, tx := range txs {
		wtxid := tx.WitnessHash()
		reason := answer.Results[wtxid.String()].Error
		if reason == "" {
			rest = append(rest, tx) // accepted, or not looked at
			continue
		}
		err := b.refusal(ctx, tx, &Error{Method: "submitpackage", Code: codeRejected, Message: reason})
		if err != nil {
			errs = append(errs, fmt.Errorf("publish %v: %w", tx.TxHash(), err))
			rest = append(rest, tx)
		}
	}
	if len(rest) < len(txs) {
		return rest, nil
	}
	// Whoever is refused is missing for its children: that is no reason of its own.
	if others := slices.DeleteFunc(slices.Clone(errs), func(e error) bool { return errors.Is(e, chain.ErrMissingInputs) }); len(others) > 0 {
		errs = others
	}
	if len(errs) == 0 {
		errs = append(errs, fmt.Errorf("publish package: %w: %s", chain.ErrRejected, answer.Message))
	}
	return nil, errors.Join(errs...)
}

type packageAnswer struct {
	Message string `json:"package_msg"`
	Results map[string]struct {
		Error string `json:"error"`
	} `json:"tx-results"` // by wtxid
}

// success says that bitcoind has all of txs. Version 26 says it by giving a result for each.
func (a *packageAnswer) success(txs []*wire.MsgTx) bool {
	if a.Message != "" {
		return a.Message == "success"
	}
	return !slices.ContainsFunc(txs, func(tx *wire.MsgTx) bool {
		id := tx.WitnessHash()
		r, ok := a.Results[id.String()]
		return !ok || r.Error != ""
	})
}

func (b *Backend) publishEach(ctx context.Context, txs []*wire.MsgTx) error {
	var errs []error
	for _, tx := range txs {
		errs = append(errs, b.Publish(ctx, tx))
	}
	return errors.Join(errs...)
}

// reasons are the words with which bitcoind's refusals begin, and what they mean. nil: it has the transaction. What is not in
// the table is chain.ErrRejected. The words are those of versions 24 to 30.
var reasons = []struct {
	words string
	kind  error
}{
	{"txn-already-in-mempool", nil},
	{"txn-already-known", nil},                   // confirmed, and an output unspent
	{"txn-same-nonwitness-data-in-mempool", nil}, // with another witness
	{"Transaction already in block chain", nil},  // of code -27, until version 27
	{"Transaction outputs already in utxo", nil}, // since
	{"txn-mempool-conflict", chain.ErrConflict},  // and the other cannot be replaced
	{"insufficient fee", chain.ErrConflict},      // to replace the other
	{"replacement-failed", chain.ErrConflict},    // the feerate diagram is not improved
	{"too many potential repl", chain.ErrConflict},
	{"replacement-adds-unconf", chain.ErrConflict},
	{"bad-txns-spends-conflicti", chain.ErrConflict},
	{"non-final", chain.ErrPremature},
	{"non-BIP68-final", chain.ErrPremature},
	{"bad-txns-premature-spend", chain.ErrPremature},
	{"min relay fee not met", chain.ErrFeeTooLow},
	{"mempool min fee not met", chain.ErrFeeTooLow},
	{"mempool full", chain.ErrFeeTooLow},
}

// missing are the words for an input that is not there: its transaction is unknown, or it is spent in a block.
var missing = []string{"bad-txns-inputs-missingorspent", "missing-inputs", "Missing inputs"}

// refusal is what an answer of bitcoind's means for tx; nil if it means that tx is published.
func (b *Backend) refusal(ctx context.Context, tx *wire.MsgTx, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code {
	case codeInChain:
		return nil
	case codeVerify, codeRejected, codeDecode:
	default:
		return err // warm-up and the like
	}
	for _, m := range missing {
		if strings.HasPrefix(e.Message, m) {
			return b.missing(ctx, tx, err)
		}
	}
	for _, r := range reasons {
		if strings.HasPrefix(e.Message, r.words) {
			if r.kind == nil {
				return nil
			}
			return fmt.Errorf("%w: %w", r.kind, err)
		}
	}
	return fmt.Errorf("%w: %w", chain.ErrRejected, err)
}

// missing finds out why an input is not there: tx is confirmed itself, another has spent it, or its transaction is not
// known.
func (b *Backend) missing(ctx context.Context, tx *wire.MsgTx, reason error) error {
	if done, err := b.settled(tx); done {
		return err
	}
	found := func(id chainhash.Hash) (bool, error) { // in the mempool; with -txindex, in a block
		err := b.rpc.Call(ctx, nil, "getrawtransaction", id.String())
		if code(err) == codeNotFound {
			return false, nil
		}
		return err == nil, err
	}
	if ok, err := found(tx.TxHash()); err != nil {
		return err
	} else if ok {
		return nil
	}
	for _, in := range tx.TxIn {
		out := in.PreviousOutPoint
		_, err := b.unspent(ctx, out, true)
		if err == nil {
			continue
		} else if !errors.Is(err, errSpent) {
			return err
		}
		ok, err := found(out.Hash)
		if err != nil {
			return err
		} else if ok {
			return fmt.Errorf("%w over %v: %w", chain.ErrConflict, out, reason)
		}
	}
	return fmt.Errorf("%w: %w", chain.ErrMissingInputs, reason)
}

// settled says what the blocks that were read tell of tx: confirmed (no error), or an input of it spent by another.
func (b *Backend) settled(tx *wire.MsgTx) (done bool, err error) {
	v := b.view.Load()
	id := tx.TxHash()
	for _, in := range tx.TxIn {
		s, ok := b.known.spender(in.PreviousOutPoint)
		if !ok {
			continue
		}
		if h, ok := v.at(s.height); s.height > v.height || ok && h != s.block {
			continue // it has left the best chain
		}
		if s.txid == id {
			return true, nil
		}
		err = fmt.Errorf("publish %v: %w: %v spends %v in block %d", id, chain.ErrConflict, s.txid, in.PreviousOutPoint, s.height)
	}
	return err != nil, err
}
