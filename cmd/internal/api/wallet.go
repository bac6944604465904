package api

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"

	"lightningrod/chain"
	"lightningrod/node"

	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
)

// Coin is an unspent output of the wallet.
type Coin struct {
	Outpoint string `json:"outpoint" doc:"txid:index"`
	Amount   int64  `json:"amount_sat"`
	Script   string `json:"script"`
	Height   uint32 `json:"block_height" doc:"0: not confirmed"`
	State    string `json:"state" doc:"confirmed, unconfirmed, immature or locked (a pending transaction spends it)"`
}

// Transaction is one of the wallet's.
type Transaction struct {
	Txid   string `json:"txid"`
	State  string `json:"state" doc:"pending, confirmed or conflicted"`
	Height uint32 `json:"block_height,omitempty" doc:"of the block that has it, or one that conflicts with it"`
	Net    int64  `json:"net_sat" doc:"what it brings the wallet; below 0: what it takes"`
	Fee    int64  `json:"fee_sat,omitempty" doc:"if it is known"`
	Own    bool   `json:"own" doc:"this wallet made it"`
	Bump   bool   `json:"replaceable" doc:"a withdrawal whose fee may still be raised"`
	Hex    string `json:"hex"`
}

// Withdraw pays somebody on chain.
type Withdraw struct {
	Address string `json:"address" required:"true" max:"90"`
	Amount  uint64 `json:"amount_sat" max:"2100000000000000" doc:"exactly one of amount_sat and all"`
	All     bool   `json:"all" doc:"everything, less the fee; only without channels"`
	FeeRate uint32 `json:"feerate_sat_per_kw" max:"250000" doc:"0: by the estimates"`
}

// BumpFee replaces a withdrawal.
type BumpFee struct {
	Txid       string `path:"txid" hex:"32"`
	FeeRate    uint32 `json:"feerate_sat_per_kw" required:"true" min:"253" max:"250000"`
	FromAmount bool   `json:"from_amount" doc:"a withdrawal of everything: the fee comes out of what is paid"`
}

// Withdrawal is a transaction that was published.
type Withdrawal struct {
	Txid string `json:"txid"`
	Fee  int64  `json:"fee_sat"`
	Hex  string `json:"hex"`
}

func (d *Daemon) Coins() []Coin {
	all := []Coin{}
	for _, c := range d.Node.Coins() {
		state := "confirmed"
		switch {
		case c.Locked:
			state = "locked"
		case c.Immature:
			state = "immature"
		case c.Height == 0:
			state = "unconfirmed"
		}
		all = append(all, Coin{Outpoint: c.Out.String(), Amount: int64(c.Value), Script: hex.EncodeToString(c.Script), Height: c.Height, State: state})
	}
	return all
}

func (d *Daemon) Transactions() []Transaction {
	all := []Transaction{}
	for _, t := range d.Node.Transactions() {
		out := Transaction{Txid: t.Tx.TxHash().String(), State: "pending", Height: max(t.Height, t.Dead), Net: int64(t.Net), Own: t.Own, Hex: hexTx(t.Tx)}
		switch {
		case t.Height != 0:
			out.State = "confirmed"
		case t.Dead != 0:
			out.State = "conflicted"
		default:
			out.Bump = t.Own && t.Publish && t.Known
		}
		if t.Known {
			out.Fee = int64(t.Fee)
		}
		all = append(all, out)
	}
	return all
}

func (d *Daemon) Withdraw(ctx context.Context, in Withdraw) (Withdrawal, error) {
	if err := d.serving(); err != nil {
		return Withdrawal{}, err
	}
	if in.All == (in.Amount != 0) {
		return Withdrawal{}, invalid("amount_sat", "exactly one of amount_sat and all", "amount_sat %d, all %t", in.Amount, in.All)
	}
	if in.FeeRate != 0 && chain.FeePerKw(in.FeeRate) < chain.FeerateFloor {
		return Withdrawal{}, invalid("feerate_sat_per_kw", "0, or at least 253", "%d below %d", in.FeeRate, chain.FeerateFloor)
	}
	script, err := d.scriptOf(in.Address)
	if err != nil {
		return Withdrawal{}, err
	}
	return withdrawal(d.Node.Withdraw(ctx, node.Withdrawal{Script: script, Amount: btcutil.Amount(in.Amount), FeePerKw: chain.FeePerKw(in.FeeRate)}))
}

func (d *Daemon) BumpFee(ctx context.Context, in BumpFee) (Withdrawal, error) {
	txid, err := chainhash.NewHashFromStr(in.Txid)
	if err != nil {
		return Withdrawal{}, invalid("txid", "64 hex digits", "%v", err)
	}
	sent, err := d.Node.Bump(ctx, *txid, chain.FeePerKw(in.FeeRate), in.FromAmount)
	if errors.Is(err, node.ErrNoWithdrawal) {
		return Withdrawal{}, &Error{Code: NotFound, Field: "txid", Message: err.Error()}
	}
	return withdrawal(sent, err)
}

func withdrawal(sent node.Sent, err error) (Withdrawal, error) {
	if err != nil {
		return Withdrawal{}, err
	}
	return Withdrawal{Txid: sent.Tx.TxHash().String(), Fee: int64(sent.Fee), Hex: hexTx(sent.Tx)}, nil
}

// scriptOf is what pays to an address of the node's network.
func (d *Daemon) scriptOf(address string) (script []byte, err error) {
	addr, err := btcutil.DecodeAddress(address, d.Params)
	if err == nil && !addr.IsForNet(d.Params) {
		err = errors.New("it is of another network")
	}
	if err == nil {
		script, err = txscript.PayToAddrScript(addr)
	}
	if err != nil {
		return nil, invalid("address", "an address of "+d.Params.Name, "%v", err)
	}
	return script, nil
}

func hexTx(tx *wire.MsgTx) string {
	var b bytes.Buffer
	_ = tx.Serialize(&b) // a buffer takes everything
	return hex.EncodeToString(b.Bytes())
}
