package node

import (
	"context"
	"errors"
	"fmt"

	"lightningrod/chain"
	"lightningrod/chain/wallet"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// Withdrawal is a payment on chain.
type Withdrawal struct {
	Script   []byte
	Amount   btcutil.Amount // 0: everything
	FeePerKw chain.FeePerKw // 0: by the estimates
}

// Sent is a transaction that pays somebody else, and its fee.
type Sent struct {
	Tx  *wire.MsgTx
	Fee btcutil.Amount
}

// ErrNoWithdrawal says that there is no withdrawal of this txid that is still unconfirmed.
var ErrNoWithdrawal = errors.New("no unconfirmed withdrawal with this txid")

// Withdraw pays from the wallet, and answers when the transaction is durable and was given to the backend; from then on it is
// published with every block until it is confirmed. Coins that channels may need when they are closed stay in the wallet.
func (n *Node) Withdraw(ctx context.Context, d Withdrawal) (Sent, error) {
	rate := d.FeePerKw
	if rate == 0 {
		rate = n.backend.FeeRates().Sane().Normal
	}
	opt := wallet.Options{Publish: true, Reserve: wallet.AnchorReserve(len(n.registry.each(nil)))}
	if d.Amount == 0 && opt.Reserve > 0 {
		return Sent{}, fmt.Errorf("not everything can be withdrawn: open channels need a reserve of %d sat", int64(opt.Reserve))
	}
	return n.pay(ctx, WalletSent, nil, func() (*wire.MsgTx, []wallet.Row, error) {
		if d.Amount == 0 {
			return n.wallet.Sweep(d.Script, rate, opt)
		}
		return n.wallet.Fund([]*wire.TxOut{wire.NewTxOut(int64(d.Amount), d.Script)}, rate, opt)
	})
}

// Bump replaces a withdrawal that is not confirmed by one with a higher fee (BIP 125). The fee comes from the change and from further coins,
// or, if there is one output, fromAmount and no change, from what is paid.
func (n *Node) Bump(ctx context.Context, txid chainhash.Hash, rate chain.FeePerKw, fromAmount bool) (Sent, error) {
	opt := wallet.Options{Publish: true, Reserve: wallet.AnchorReserve(len(n.registry.each(nil)))}
	return n.pay(ctx, WalletBumped, &txid, func() (*wire.MsgTx, []wallet.Row, error) {
		old := n.withdrawal(txid)
		if old == nil {
			return nil, nil, ErrNoWithdrawal
		}
		var outs []*wire.TxOut
		for _, out := range old.TxOut {
			if !n.wallet.Owns(out.PkScript) {
				outs = append(outs, out)
			}
		}
		opt.Replaces = old
		switch {
		case len(outs) == 0:
			return nil, nil, errors.New("the withdrawal pays this wallet alone: nothing needs it")
		case fromAmount && len(old.TxOut) == 1:
			opt.Reserve = 0
			return n.wallet.Sweep(outs[0].PkScript, rate, opt)
		}
		return n.wallet.Fund(outs, rate, opt)
	})
}

// withdrawal finds one that may be replaced: it is ours alone, no part of a channel, and not confirmed. A replaced funding transaction would
// lose the channel's money, so only those made by Withdraw count. The wallet's mutex is held.
func (n *Node) withdrawal(txid chainhash.Hash) *wire.MsgTx {
	for _, t := range n.wallet.Transactions() {
		if t.Tx.TxHash() == txid && t.Own && t.Publish && t.Known && t.Height == 0 && t.Dead == 0 {
			return t.Tx
		}
	}
	return nil
}

// pay makes a transaction durable and publishes it. Old is the one that it replaces.
func (n *Node) pay(ctx context.Context, k Kind, old *chainhash.Hash, draw func() (*wire.MsgTx, []wallet.Row, error)) (Sent, error) {
	n.queue.reserve()
	n.walletMu.Lock()
	var before btcutil.Amount
	if old != nil {
		before = n.feeOf(*old)
	}
	tx, rows, err := draw()
	if err != nil {
		n.walletMu.Unlock()
		return Sent{}, err
	}
	fee := n.feeOf(tx.TxHash())
	n.walletMu.Unlock()
	done := make(chan error, 1)
	n.put(&turn{
		rows: walletRows(rows), chain: []chainAsk{{req: chain.Publish{Tx: tx}, done: []chan<- error{done}}},
		events: []Event{event(k, "txid", tx.TxHash(), "fee_sat", int64(fee), "more_sat", int64(fee-before))},
	})
	select {
	case err := <-done:
		return Sent{tx, fee}, err
	case <-ctx.Done():
		return Sent{}, ctx.Err()
	case <-n.stopping:
		return Sent{}, ErrStopped
	}
}

// feeOf is the fee of a transaction of the wallet. The wallet's mutex is held.
func (n *Node) feeOf(txid chainhash.Hash) btcutil.Amount {
	for _, t := range n.wallet.Transactions() {
		if t.Tx.TxHash() == txid {
			return t.Fee
		}
	}
	return 0
}

// republish asks for the withdrawals that were not confirmed when the node ended.
func (n *Node) republish() (asks []chainAsk) {
	for _, tx := range n.wallet.Rebroadcast() {
		asks = append(asks, chainAsk{req: chain.Publish{Tx: tx}})
	}
	return asks
}

// Coins lists the unspent outputs of the wallet, the oldest first and the unconfirmed at the end.
func (n *Node) Coins() []wallet.Coin {
	n.walletMu.Lock()
	defer n.walletMu.Unlock()
	return n.wallet.Coins()
}

// Transactions lists what the wallet knows of its transactions, the pending ones first.
func (n *Node) Transactions() []wallet.Transaction {
	n.walletMu.Lock()
	defer n.walletMu.Unlock()
	return n.wallet.Transactions()
}
