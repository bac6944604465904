package regtest

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"lightningrod/chain/bitcoind"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// patience is how long a program may take to start or stop on a busy machine.
const patience = 60 * time.Second

// Bitcoin is a bitcoind of a test, alone with its chain: it neither listens for nor looks for others.
type Bitcoin struct {
	// Access is for clients. It stays the same over restarts.
	Access bitcoind.Access
	// Client is one.
	Client *bitcoind.Client

	t       testing.TB
	command []string
	dir     string
	process *process
}

// Bitcoind starts a bitcoind at the genesis block, with these options besides the usual ones. It is the command in
// ROD_BITCOIND, or bitcoind from PATH; without one the test is skipped, or fails (RequirePeers).
func Bitcoind(t testing.TB, options ...string) *Bitcoin {
	t.Helper()
	command := find(t, "ROD_BITCOIND", "bitcoind")
	dir := t.TempDir()
	port := freePort(t)
	b := &Bitcoin{
		t: t, dir: dir,
		command: append(append(command,
			"-regtest", "-datadir="+dir, "-conf="+filepath.Join(dir, "none.conf"), "-server=1", "-listen=0", "-connect=0", "-dnsseed=0", "-fixedseeds=0",
			"-rpcbind=127.0.0.1", "-rpcallowip=127.0.0.1", "-rpcport="+strconv.Itoa(port),
			"-disablewallet=1", "-dbcache=16", "-printtoconsole=1", "-debuglogfile=0"), options...),
		Access: bitcoind.Access{
			Addr:   net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
			Cookie: filepath.Join(dir, "regtest", ".cookie"),
		},
	}
	if err := os.WriteFile(filepath.Join(dir, "none.conf"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.Client, err = bitcoind.NewClient(b.Access); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Client.Close()
		b.Kill()
	})
	b.Start()
	return b
}

// freePort is a port of loopback that nobody listens on now.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Launch starts the program, and does not wait until it answers.
func (b *Bitcoin) Launch() {
	b.t.Helper()
	var err error
	if b.process, err = start(b.command, b.output()); err != nil {
		b.t.Fatalf("start bitcoind: %v", err)
	}
}

// Start starts the program and waits until it answers. After Bitcoind only needed when it was stopped.
func (b *Bitcoin) Start() {
	b.t.Helper()
	b.Launch()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := b.Client.Call(ctx, nil, "getblockchaininfo")
		if err == nil {
			return
		}
		select {
		case <-b.process.done:
			b.t.Fatalf("bitcoind has ended (%v):\n%s", b.process.err, b.tail())
		case <-ctx.Done():
			b.t.Fatalf("bitcoind does not answer: %v\n%s", err, b.tail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop asks it to end, as an operator does, and waits until it has.
func (b *Bitcoin) Stop() {
	b.t.Helper()
	b.Call(nil, "stop")
	select {
	case <-b.process.done:
	case <-time.After(patience):
		b.t.Fatalf("bitcoind does not stop:\n%s", b.tail())
	}
}

// Kill ends it as a power cut does.
func (b *Bitcoin) Kill() {
	if b.process != nil {
		b.process.kill()
	}
}

func (b *Bitcoin) output() string { return filepath.Join(b.dir, "output") }

// tail is the end of what it has written.
func (b *Bitcoin) tail() string {
	text, err := os.ReadFile(b.output())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

// Call calls a method that must succeed.
func (b *Bitcoin) Call(result any, method string, params ...any) {
	b.t.Helper()
	if err := b.Client.Call(context.Background(), result, method, params...); err != nil {
		b.t.Fatal(err)
	}
}

// Mine makes blocks of what is in the mempool; their coinbases pay to script.
func (b *Bitcoin) Mine(blocks int, script []byte) []chainhash.Hash {
	b.t.Helper()
	var texts []string
	b.Call(&texts, "generatetodescriptor", blocks, fmt.Sprintf("raw(%x)", script))
	hashes := make([]chainhash.Hash, len(texts))
	for i, text := range texts {
		if err := chainhash.Decode(&hashes[i], text); err != nil {
			b.t.Fatal(err)
		}
	}
	return hashes
}

// MineTxs makes one block of exactly these transactions.
func (b *Bitcoin) MineTxs(script []byte, txs ...*wire.MsgTx) chainhash.Hash {
	b.t.Helper()
	texts := make([]string, len(txs))
	for i, tx := range txs {
		texts[i] = Hex(tx)
	}
	var answer struct{ Hash string }
	b.Call(&answer, "generateblock", fmt.Sprintf("raw(%x)", script), texts)
	var h chainhash.Hash
	if err := chainhash.Decode(&h, answer.Hash); err != nil {
		b.t.Fatal(err)
	}
	return h
}

// Block is one of its blocks.
func (b *Bitcoin) Block(hash chainhash.Hash) *wire.MsgBlock {
	b.t.Helper()
	var text string
	b.Call(&text, "getblock", hash.String(), 0)
	block := new(wire.MsgBlock)
	if err := block.Deserialize(hex.NewDecoder(strings.NewReader(text))); err != nil {
		b.t.Fatal(err)
	}
	return block
}

// Tip is its newest block.
func (b *Bitcoin) Tip() (height uint32, hash chainhash.Hash) {
	b.t.Helper()
	var info struct {
		Blocks uint32
		Best   string `json:"bestblockhash"`
	}
	b.Call(&info, "getblockchaininfo")
	if err := chainhash.Decode(&hash, info.Best); err != nil {
		b.t.Fatal(err)
	}
	return info.Blocks, hash
}

// Tx is a transaction of its mempool.
func (b *Bitcoin) Tx(id string) *wire.MsgTx {
	b.t.Helper()
	var text string
	b.Call(&text, "getrawtransaction", id)
	tx := new(wire.MsgTx)
	if err := tx.Deserialize(hex.NewDecoder(strings.NewReader(text))); err != nil {
		b.t.Fatal(err)
	}
	return tx
}

// Mempool is its unconfirmed transactions.
func (b *Bitcoin) Mempool() []*wire.MsgTx {
	b.t.Helper()
	var ids []string
	b.Call(&ids, "getrawmempool")
	txs := make([]*wire.MsgTx, len(ids))
	for i, id := range ids {
		txs[i] = b.Tx(id)
	}
	return txs
}
