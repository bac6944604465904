package bitcoind

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// world is a bitcoind that was made up: it answers what it is told to.
type world struct {
	t      *testing.T
	server *httptest.Server

	mu      sync.Mutex
	genesis chainhash.Hash
	chain   []*wire.MsgBlock // from genesis on; the genesis block itself is empty here
	blocks  map[chainhash.Hash]*wire.MsgBlock
	heights map[chainhash.Hash]int
	work    string // "": by height
	initial bool
	pool    []*wire.MsgTx
	fail    map[string]*Error          // by method: what it answers
	give    map[string]json.RawMessage // by method: its result
	clumsy  map[string]int             // by method: how many calls are answered with the help text first
	warmup  bool
	down    func(http.ResponseWriter) // answers instead
	calls   map[string]int
	wait    chan struct{} // getblock waits until it is closed
	user    string
	pass    string
	nonce   uint32
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, genesis: *chaincfg.RegressionNetParams.GenesisHash,
		chain:  []*wire.MsgBlock{chaincfg.RegressionNetParams.GenesisBlock},
		blocks: map[chainhash.Hash]*wire.MsgBlock{}, heights: map[chainhash.Hash]int{},
		fail: map[string]*Error{}, give: map[string]json.RawMessage{}, clumsy: map[string]int{}, calls: map[string]int{},
		user: "user", pass: "password",
	}
	w.blocks[w.genesis], w.heights[w.genesis] = w.chain[0], 0
	w.server = httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(w.server.Close)
	return w
}

// config is for a Backend of this world, with a network that is not regtest if strict.
func (w *world) config(strict bool) Config {
	p := chaincfg.RegressionNetParams
	if strict {
		p.Name = "strict"
	}
	return Config{
		Access: Access{Addr: w.server.Listener.Addr().String(), User: "user", Password: "password", Timeout: 5 * time.Second},
		Params: &p, Poll: 2 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
	}
}

func (w *world) open(cfg Config) *Backend {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	b, err := New(ctx, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { b.Close() })
	return b
}

// set changes the world between two answers.
func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// mine adds n blocks; the last has txs.
func (w *world) mine(n int, txs ...*wire.MsgTx) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range n {
		prev := w.chain[len(w.chain)-1].BlockHash()
		w.nonce++
		b := wire.NewMsgBlock(&wire.BlockHeader{Version: 4, PrevBlock: prev, Timestamp: time.Unix(1_800_000_000, 0), Nonce: w.nonce})
		coinbase := wire.NewMsgTx(2)
		coinbase.AddTxIn(wire.NewTxIn(&wire.OutPoint{Index: 0xffffffff}, fmt.Append(nil, w.nonce), nil))
		coinbase.AddTxOut(wire.NewTxOut(int64(w.nonce), []byte{0x51}))
		b.AddTransaction(coinbase)
		if i == n-1 {
			for _, tx := range txs {
				b.AddTransaction(tx)
			}
		}
		h := b.BlockHash()
		w.blocks[h], w.heights[h] = b, len(w.chain)
		w.chain = append(w.chain, b)
	}
}

// reorg takes blocks off and adds others.
func (w *world) reorg(off, on int, txs ...*wire.MsgTx) {
	w.set(func() { w.chain = w.chain[:len(w.chain)-off] })
	w.mine(on, txs...)
}

func (w *world) tip() (uint32, chainhash.Hash) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return uint32(len(w.chain) - 1), w.chain[len(w.chain)-1].BlockHash()
}

func (w *world) count(method string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[method]
}

// await polls until f holds.
func (w *world) await(what string, f func() bool) {
	w.t.Helper()
	deadline := time.After(time.Minute)
	for !f() {
		select {
		case <-deadline:
			w.t.Fatalf("%s: not in a minute", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// follows waits until b has the world's tip.
func (w *world) follows(b *Backend) {
	w.t.Helper()
	w.await("the tip", func() bool {
		height, hash := b.Tip()
		h, want := w.tip()
		return height == h && hash == want
	})
}

func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	down := w.down
	user, pass, _ := r.BasicAuth()
	known := user == w.user && pass == w.pass
	w.mu.Unlock()
	switch {
	case down != nil:
		down(rw)
		return
	case !known:
		rw.WriteHeader(http.StatusUnauthorized)
		return
	}
	var raw json.RawMessage
	if err := json.NewDecoder(r.Body).Decode(&raw); err != nil {
		w.t.Errorf("request: %v", err)
	}
	if !bytes.HasPrefix(raw, []byte("[")) {
		a := w.answer(raw)
		if a.Error != nil {
			rw.WriteHeader(http.StatusInternalServerError)
		}
		json.NewEncoder(rw).Encode(a)
		return
	}
	var reqs []json.RawMessage
	if err := json.Unmarshal(raw, &reqs); err != nil {
		w.t.Errorf("request: %v", err)
	}
	if w.isWarm() {
		w.set(func() { w.calls[warmUp]++ })
		rw.WriteHeader(http.StatusInternalServerError)
		json.NewEncoder(rw).Encode(answerTo(0, nil, &Error{Code: codeWarmUp, Message: "Loading block index..."}))
		return
	}
	var all []reply
	for _, q := range reqs {
		all = append(all, w.answer(q))
	}
	json.NewEncoder(rw).Encode(all)
}

// warmUp is what answers that say so are counted as.
const warmUp = "warm-up"

func (w *world) isWarm() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.warmup
}

type reply struct {
	ID     int `json:"id"`
	Result any `json:"result"`
	Error  any `json:"error"`
}

func answerTo(id int, result any, err *Error) reply {
	if err == nil {
		return reply{ID: id, Result: result}
	}
	return reply{ID: id, Error: map[string]any{"code": err.Code, "message": err.Message}}
}

func (w *world) answer(raw json.RawMessage) reply {
	var q struct {
		ID     int
		Method string
		Params []json.RawMessage
	}
	if err := json.Unmarshal(raw, &q); err != nil {
		w.t.Errorf("request: %v", err)
	}
	w.mu.Lock()
	wait := w.wait
	w.calls[q.Method]++
	w.mu.Unlock()
	if q.Method == "getblock" && wait != nil {
		<-wait
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.fail[q.Method]; err != nil {
		return answerTo(q.ID, nil, err)
	}
	if w.clumsy[q.Method] > 0 {
		w.clumsy[q.Method]--
		return answerTo(q.ID, nil, &Error{Code: codeMisc, Message: q.Method + " [\"rawtx\",...]"})
	}
	if r, ok := w.give[q.Method]; ok {
		return answerTo(q.ID, r, nil)
	}
	result, err := w.do(q.Method, q.Params)
	var e *Error
	if errors.As(err, &e) {
		return answerTo(q.ID, nil, e)
	}
	return answerTo(q.ID, result, nil)
}

// do answers a call as bitcoind would.
func (w *world) do(method string, params []json.RawMessage) (any, error) {
	text := func(i int) (s string) {
		json.Unmarshal(params[i], &s)
		return s
	}
	switch method {
	case "getblockhash":
		var height int
		json.Unmarshal(params[0], &height)
		switch {
		case height == 0:
			return w.genesis.String(), nil
		case height >= len(w.chain):
			return nil, &Error{Code: -8, Message: "Block height out of range"}
		}
		return w.chain[height].BlockHash().String(), nil
	case "getblockchaininfo":
		work := w.work
		if work == "" {
			work = fmt.Sprintf("%064x", len(w.chain))
		}
		return map[string]any{"chain": "regtest", "blocks": len(w.chain) - 1, "headers": len(w.chain) - 1, "chainwork": work,
			"bestblockhash": w.chain[len(w.chain)-1].BlockHash().String(), "initialblockdownload": w.initial, "pruneheight": 7}, nil
	case "getblockheader", "getblock":
		h, err := chainhash.NewHashFromStr(text(0))
		b := w.blocks[*h]
		if err != nil || b == nil {
			return nil, &Error{Code: codeNotFound, Message: "Block not found"}
		}
		if method == "getblock" {
			var out strings.Builder
			b.Serialize(hex.NewEncoder(&out))
			return out.String(), nil
		}
		return map[string]any{"hash": text(0), "height": w.heights[*h], "time": b.Header.Timestamp.Unix(),
			"previousblockhash": b.Header.PrevBlock.String()}, nil
	case "getrawmempool":
		ids := []string{}
		for _, tx := range w.pool {
			ids = append(ids, tx.TxHash().String())
		}
		return ids, nil
	case "getrawtransaction":
		for _, tx := range w.pool {
			if tx.TxHash().String() == text(0) {
				return txHex(tx)
			}
		}
		return nil, &Error{Code: codeNotFound, Message: "No such mempool transaction."}
	case "getmempoolinfo":
		return json.RawMessage(`{"mempoolminfee":0.00001000,"minrelaytxfee":0.00001000}`), nil
	case "estimatesmartfee":
		return json.RawMessage(`{"errors":["Insufficient data or no feerate found"],"blocks":0}`), nil
	case "gettxout":
		return nil, nil
	}
	return nil, &Error{Code: codeUnknownMethod, Message: "Method not found"}
}

// pay is a transaction that spends the given outputs, told apart by value.
func pay(value int64, outs ...wire.OutPoint) *wire.MsgTx {
	tx := wire.NewMsgTx(2)
	for _, o := range outs {
		tx.AddTxIn(wire.NewTxIn(&o, nil, wire.TxWitness{{1}}))
	}
	tx.AddTxOut(wire.NewTxOut(value, []byte{0x51}))
	return tx
}

// walk reads b from one height to its tip, as a follower does, and checks that the blocks are linked.
func walk(t *testing.T, b *Backend, from uint32) []chain.Block {
	t.Helper()
	var blocks []chain.Block
	for height := from; ; height++ {
		tip, hash := b.Tip()
		if height > tip {
			if n := len(blocks); n > 0 && blocks[n-1].Hash != hash {
				t.Fatalf("block %d is %v, the tip is %v", tip, blocks[n-1].Hash, hash)
			}
			return blocks
		}
		blk, err := b.Block(height)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(blocks); blk.Height != height || n > 0 && blk.Prev != blocks[n-1].Hash {
			t.Fatalf("block %d after %d follows %v", blk.Height, height-1, blk.Prev)
		}
		blocks = append(blocks, blk)
	}
}
