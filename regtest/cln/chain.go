package main

import (
	"context"
	"encoding/json"
	"errors"
	"math"

	"lightningrod/chain/bitcoind"
)

// Codes of bitcoind.
const (
	codeInvalid = -8  // a height above the tip
	codeInChain = -27 // the transaction is in a block
)

// code is that of bitcoind's answer, or 0.
func code(err error) int {
	var e *bitcoind.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

func (p *plugin) call(result any, method string, params ...any) error {
	return p.chain.Call(context.Background(), result, method, params...)
}

func (p *plugin) chainInfo(json.RawMessage) (any, error) {
	var info struct {
		Chain   string `json:"chain"`
		Headers int    `json:"headers"`
		Blocks  int    `json:"blocks"`
		Initial bool   `json:"initialblockdownload"`
	}
	err := p.call(&info, "getblockchaininfo")
	return map[string]any{"chain": info.Chain, "headercount": info.Headers, "blockcount": info.Blocks, "ibd": info.Initial}, err
}

// block is a block as hex; nulls if there is none at that height yet.
func (p *plugin) block(params json.RawMessage) (any, error) {
	var in struct{ Height int }
	if err := json.Unmarshal(params, &in); err != nil {
		return nil, err
	}
	var hash, text string
	switch err := p.call(&hash, "getblockhash", in.Height); {
	case code(err) == codeInvalid:
		return map[string]any{"blockhash": nil, "block": nil}, nil
	case err != nil:
		return nil, err
	}
	err := p.call(&text, "getblock", hash, 0)
	return map[string]any{"blockhash": hash, "block": text}, err
}

// fees are estimates in sat per 1000 vbytes; where bitcoind has none, which is so on a chain without a market, twice what its mempool demands: lightningd
// takes some of its claims for lighter than they are, and those are refused at the floor.
func (p *plugin) fees(json.RawMessage) (any, error) {
	var pool struct {
		Min   float64 `json:"mempoolminfee"`
		Relay float64 `json:"minrelaytxfee"`
	}
	if err := p.call(&pool, "getmempoolinfo"); err != nil {
		return nil, err
	}
	floor := satoshi(max(pool.Min, pool.Relay))
	var rates []map[string]int64
	for _, blocks := range []int64{2, 6, 12, 100} {
		var estimate struct{ Feerate float64 }
		if err := p.call(&estimate, "estimatesmartfee", blocks); err != nil {
			return nil, err
		}
		rate := satoshi(estimate.Feerate)
		if rate == 0 {
			rate = 2 * floor
		}
		rates = append(rates, map[string]int64{"blocks": blocks, "feerate": max(floor, rate)})
	}
	return map[string]any{"feerate_floor": floor, "feerates": rates}, nil
}

func satoshi(btc float64) int64 { return int64(math.Round(btc * 1e8)) }

func (p *plugin) publish(params json.RawMessage) (any, error) {
	var in struct {
		Tx         string
		AnyFeerate bool `json:"allowhighfees"`
	}
	if err := json.Unmarshal(params, &in); err != nil {
		return nil, err
	}
	args := []any{in.Tx}
	if in.AnyFeerate {
		args = append(args, 0)
	}
	err := p.call(nil, "sendrawtransaction", args...)
	if err != nil && code(err) != codeInChain {
		return map[string]any{"success": false, "errmsg": err.Error()}, nil
	}
	return map[string]any{"success": true, "errmsg": ""}, nil
}

// output is an unspent output; nulls if there is none.
func (p *plugin) output(params json.RawMessage) (any, error) {
	var in struct {
		Txid string
		Vout int
	}
	if err := json.Unmarshal(params, &in); err != nil {
		return nil, err
	}
	var out *struct {
		Value  float64
		Script struct{ Hex string } `json:"scriptPubKey"`
	}
	if err := p.call(&out, "gettxout", in.Txid, in.Vout); err != nil {
		return nil, err
	}
	if out == nil {
		return map[string]any{"amount": nil, "script": nil}, nil
	}
	return map[string]any{"amount": satoshi(out.Value), "script": out.Script.Hex}, nil
}
