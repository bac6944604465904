package bitcoind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

var coinA, coinB = wire.OutPoint{Hash: chainhash.Hash{0xa}}, wire.OutPoint{Hash: chainhash.Hash{0xb}, Index: 1}

// Every answer to sendrawtransaction, and what it means. nil: published.
func TestRefusals(t *testing.T) {
	w := newWorld(t)
	b := w.open(w.config(true))
	unknown := errors.New("says nothing of the transaction")
	for _, tc := range []struct {
		code    int
		message string
		want    error
	}{
		{codeInChain, "Transaction already in block chain", nil},
		{codeInChain, "Transaction outputs already in utxo set", nil},
		{codeRejected, "txn-already-in-mempool", nil},
		{codeRejected, "txn-already-known", nil},
		{codeRejected, "txn-same-nonwitness-data-in-mempool", nil},
		{codeRejected, "txn-mempool-conflict", chain.ErrConflict},
		{codeRejected, "insufficient fee, rejecting replacement 00; new feerate 0.00001 <= old feerate 0.00002", chain.ErrConflict},
		{codeRejected, "replacement-failed, insufficient feerate: does not improve feerate diagram", chain.ErrConflict},
		{codeRejected, "too many potential replacements, rejecting replacement", chain.ErrConflict},
		{codeRejected, "replacement-adds-unconfirmed", chain.ErrConflict},
		{codeRejected, "bad-txns-spends-conflicting-tx, 00 spends conflicting transaction 01", chain.ErrConflict},
		{codeVerify, "bad-txns-inputs-missingorspent", chain.ErrMissingInputs},
		{codeVerify, "Missing inputs", chain.ErrMissingInputs},
		{codeRejected, "non-final", chain.ErrPremature},
		{codeRejected, "non-BIP68-final", chain.ErrPremature},
		{codeRejected, "bad-txns-premature-spend-of-coinbase, tried to spend coinbase at depth 3", chain.ErrPremature},
		{codeRejected, "min relay fee not met, 0 < 110", chain.ErrFeeTooLow},
		{codeRejected, "mempool min fee not met, 110 < 1100", chain.ErrFeeTooLow},
		{codeRejected, "mempool full", chain.ErrFeeTooLow},
		{codeRejected, "mandatory-script-verify-flag-failed (Signature must be zero)", chain.ErrRejected},
		{codeRejected, "dust", chain.ErrRejected},
		{codeRejected, "something new", chain.ErrRejected},
		{codeDecode, "TX decode failed. Make sure the tx has at least one input.", chain.ErrRejected},
		{codeWarmUp, "Verifying blocks...", unknown},
		{codeMisc, "oops", unknown},
		{-32603, "internal error", unknown},
	} {
		w.set(func() { w.fail["sendrawtransaction"] = &Error{Code: tc.code, Message: tc.message} })
		err := b.Publish(context.Background(), pay(1, coinA))
		switch {
		case tc.want == nil:
			if err != nil {
				t.Errorf("%s: %v", tc.message, err)
			}
		case tc.want == unknown:
			if err == nil || errors.Is(err, chain.ErrRejected) {
				t.Errorf("%s: %v", tc.message, err)
			}
		case !errors.Is(err, tc.want) || !errors.Is(err, chain.ErrRejected) || !strings.Contains(err.Error(), tc.message):
			t.Errorf("%s: %v, want %v", tc.message, err, tc.want)
		}
		for _, other := range []error{chain.ErrConflict, chain.ErrMissingInputs, chain.ErrPremature, chain.ErrFeeTooLow} {
			if other != tc.want && errors.Is(err, other) {
				t.Errorf("%s: %v", tc.message, err)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Publish(ctx, pay(1, coinA)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestPublished(t *testing.T) {
	w := newWorld(t)
	b := w.open(w.config(true))
	tx := pay(1, coinA)
	w.set(func() { w.give["sendrawtransaction"] = json.RawMessage(`"` + tx.TxHash().String() + `"`) })
	for range 2 {
		if err := b.Publish(context.Background(), tx); err != nil {
			t.Fatal(err)
		}
	}
}

// After a block has been read that confirms a transaction or a conflict of it, bitcoind's "missing inputs" is understood.
func TestPublishAfterBlocks(t *testing.T) {
	w := newWorld(t)
	w.mine(1)
	b := w.open(w.config(true))
	w.set(func() {
		w.fail["sendrawtransaction"] = &Error{Code: codeVerify, Message: "bad-txns-inputs-missingorspent"}
	})
	mine, theirs := pay(1, coinA, coinB), pay(2, coinB)
	publish := func() error { return b.Publish(context.Background(), mine) }
	if err := publish(); !errors.Is(err, chain.ErrMissingInputs) {
		t.Fatalf("nothing known: %v", err)
	}
	w.mine(1, mine)
	w.follows(b)
	walk(t, b, 1)
	if err := publish(); err != nil {
		t.Fatalf("confirmed: %v", err)
	}
	w.reorg(1, 2, theirs)
	w.follows(b)
	if err := publish(); !errors.Is(err, chain.ErrMissingInputs) {
		t.Fatalf("its block has left the chain: %v", err)
	}
	walk(t, b, 1)
	if err := publish(); !errors.Is(err, chain.ErrConflict) || !strings.Contains(err.Error(), theirs.TxHash().String()) {
		t.Fatalf("conflict confirmed: %v", err)
	}
	w.reorg(2, 3)
	w.follows(b)
	walk(t, b, 1)
	if err := publish(); !errors.Is(err, chain.ErrMissingInputs) {
		t.Fatalf("conflict gone: %v", err)
	}
}

// With an index of transactions, or a parent in the mempool, bitcoind itself tells more.
func TestMissingInputsAreLookedUp(t *testing.T) {
	w := newWorld(t)
	b := w.open(w.config(true))
	w.set(func() {
		w.fail["sendrawtransaction"] = &Error{Code: codeVerify, Message: "bad-txns-inputs-missingorspent"}
	})
	parent := pay(5, coinA)
	child := pay(4, wire.OutPoint{Hash: parent.TxHash()})
	w.set(func() { w.pool = []*wire.MsgTx{parent} })
	if err := b.Publish(context.Background(), child); !errors.Is(err, chain.ErrConflict) {
		t.Errorf("parent known, output spent: %v", err)
	}
	w.set(func() { w.pool = []*wire.MsgTx{child} })
	if err := b.Publish(context.Background(), child); err != nil {
		t.Errorf("known: %v", err)
	}
	w.set(func() { w.fail["getrawtransaction"] = &Error{Code: codeWarmUp, Message: "no"} })
	if err := b.Publish(context.Background(), child); err == nil || errors.Is(err, chain.ErrRejected) {
		t.Errorf("not looked up: %v", err)
	}
}

func TestTestAccept(t *testing.T) {
	w := newWorld(t)
	b := w.open(w.config(true))
	for answer, want := range map[string]error{
		`[{"allowed":true}]`: nil,
		`[{"allowed":false,"reject-reason":"txn-already-in-mempool"}]`:                                                  nil,
		`[{"allowed":false,"reject-reason":"missing-inputs"}]`:                                                          chain.ErrMissingInputs,
		`[{"allowed":false,"reject-reason":"min relay fee not met","reject-details":"min relay fee not met, 0 < 110"}]`: chain.ErrFeeTooLow,
		`[{"allowed":false,"reject-reason":"scriptpubkey"}]`:                                                            chain.ErrRejected,
	} {
		w.set(func() { w.give["testmempoolaccept"] = json.RawMessage(answer) })
		if err := b.TestAccept(context.Background(), pay(1, coinA)); want == nil && err != nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v", answer, err)
		}
	}
	w.set(func() { w.give["testmempoolaccept"] = json.RawMessage(`[]`) })
	if err := b.TestAccept(context.Background(), pay(1, coinA)); err == nil {
		t.Error("no answer is no error")
	}
}

func TestPublishPackage(t *testing.T) {
	w := newWorld(t)
	b := w.open(w.config(true))
	parent := pay(5, coinA)
	child := pay(4, wire.OutPoint{Hash: parent.TxHash()})
	answer := func(message, parentSays, childSays string) json.RawMessage {
		return json.RawMessage(fmt.Sprintf(`{"package_msg":%q,"tx-results":{%q:{"error":%q},%q:{"error":%q}}}`,
			message, parent.WitnessHash(), parentSays, child.WitnessHash(), childSays))
	}
	for _, tc := range []struct {
		name string
		give json.RawMessage
		want error
		sent int // one by one
	}{
		{"taken by version 26", answer("", "", ""), nil, 0},
		{"refused by version 26", answer("", "", "min relay fee not met"), chain.ErrFeeTooLow, 0},
		{"taken", json.RawMessage(`{"package_msg":"success","tx-results":{}}`), nil, 0},
		{"parent confirmed", answer("transaction failed", "txn-already-known", ""), nil, 1},
		{"both known", answer("transaction failed", "txn-already-known", "txn-already-in-mempool"), nil, 0},
		{"child pays little", answer("transaction failed", "", "mempool min fee not met, 1 < 2"), chain.ErrFeeTooLow, 0},
		{"conflict", answer("transaction failed", "txn-mempool-conflict", "missing-inputs"), chain.ErrConflict, 0},
		{"as a whole", json.RawMessage(`{"package_msg":"package-not-child-with-parents"}`), chain.ErrRejected, 0},
		{"not known to bitcoind", nil, nil, 2},
	} {
		before := w.count("sendrawtransaction")
		w.set(func() {
			delete(w.give, "submitpackage")
			if tc.give != nil {
				w.give["submitpackage"] = tc.give
			}
			w.give["sendrawtransaction"] = json.RawMessage(`"00"`)
		})
		err := b.PublishPackage(context.Background(), parent, child)
		if tc.want == nil && err != nil || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if n := w.count("sendrawtransaction") - before; n != tc.sent {
			t.Errorf("%s: %d sent one by one, want %d", tc.name, n, tc.sent)
		}
	}
}

// Version 26 takes one argument; what takes neither gets the transactions one by one.
func TestPublishPackageOfOldVersions(t *testing.T) {
	w := newWorld(t)
	b := w.open(w.config(true))
	parent := pay(1, wire.OutPoint{})
	child := pay(2, wire.OutPoint{Hash: parent.TxHash()})
	for _, refused := range []int{1, 2} { // calls with a wrong number of arguments
		before, asked := w.count("sendrawtransaction"), w.count("submitpackage")
		w.set(func() {
			w.give["sendrawtransaction"] = json.RawMessage(`"00"`)
			w.give["submitpackage"] = json.RawMessage(fmt.Sprintf(`{"tx-results":{%q:{},%q:{}}}`, parent.WitnessHash(), child.WitnessHash()))
			w.clumsy["submitpackage"] = refused
		})
		if err := b.PublishPackage(context.Background(), parent, child); err != nil {
			t.Error(err)
		}
		sent, tried := w.count("sendrawtransaction")-before, w.count("submitpackage")-asked
		if sent != 2*(refused-1) || tried != 2 {
			t.Errorf("%d refused: %d calls, %d sent one by one", refused, tried, sent)
		}
	}
}

func TestSpendsAreBounded(t *testing.T) {
	s := newSpends()
	for i := range maxSpends + 2 {
		s.watch(pay(1, wire.OutPoint{Index: uint32(i)}))
	}
	if len(s.by) > 2 {
		t.Errorf("%d remembered", len(s.by))
	}
}
