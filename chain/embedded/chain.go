package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/btcutil"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/database"
	_ "github.com/btcsuite/btcd/database/ffldb" // the block database
	"github.com/btcsuite/btcd/mempool"
	"github.com/btcsuite/btcd/txscript"
	"github.com/btcsuite/btcd/wire"
)

// ErrClosed is returned by every method of a Chain that was closed.
var ErrClosed = errors.New("chain is closed")

// Config of a Chain. The zero value is good for tests.
type Config struct {
	// Dir holds the chain. It must not be in use by another process. Empty: a temporary folder, removed by Close.
	Dir string
	// Fees are the estimates that FeeRates gives. Zero: 253, 253, 1000, 2500 sat/kw.
	Fees chain.FeeRates
}

// Chain is the block chain, the mempool and the miner. Blocks mined are on the disk when Mine returns as far as a
// crash of the process is concerned; a crash of the machine may cost the newest of them.
type Chain struct {
	params  *chaincfg.Params
	dir     string
	temp    bool
	wait    time.Duration // for the database to close
	db      database.DB
	chain   *blockchain.BlockChain
	clock   *clock
	sigs    *txscript.SigCache
	hashes  *txscript.HashCache
	journal *journal

	mu      sync.RWMutex // guards all below, and every change of chain and pool
	closed  bool
	pool    *mempool.TxPool
	extra   uint64 // extra nonce of the last coinbase
	fees    chain.FeeRates
	minimum int64                            // that the mempool takes, in satoshi per 1000 virtual bytes
	height  map[chainhash.Hash]uint32        // of every confirmed transaction
	spent   map[wire.OutPoint]chainhash.Hash // every output spent on the best chain, and by whom
	moves   []move                           // what the running operation did to the best chain, oldest first

	subs subscribers
}

// move is a block that joined or left the best chain.
type move struct {
	block *btcutil.Block
	left  bool
}

// Params are regtest's, with CSV, segwit and taproot active from block 1 and a subsidy that is halved every 210,000 blocks only, so
// that long demos do not run out of money.
func Params() *chaincfg.Params {
	p := chaincfg.RegressionNetParams
	for i := range p.Deployments {
		// A block chain writes its clock into these: they must not be shared between chains.
		d := &p.Deployments[i]
		if m, ok := d.DeploymentStarter.(*chaincfg.MedianTimeDeploymentStarter); ok {
			d.DeploymentStarter = chaincfg.NewMedianTimeDeploymentStarter(m.StartTime())
		}
		if m, ok := d.DeploymentEnder.(*chaincfg.MedianTimeDeploymentEnder); ok {
			d.DeploymentEnder = chaincfg.NewMedianTimeDeploymentEnder(m.EndTime())
		}
	}
	for _, d := range []int{chaincfg.DeploymentCSV, chaincfg.DeploymentSegwit, chaincfg.DeploymentTaproot} {
		p.Deployments[d].AlwaysActiveHeight = 1
	}
	p.SubsidyReductionInterval = 210_000
	return &p
}

// New opens the chain in cfg.Dir, or starts one at the genesis block.
func New(cfg Config) (_ *Chain, err error) {
	c := &Chain{
		params:  Params(),
		dir:     cfg.Dir,
		wait:    closePatience,
		clock:   &clock{},
		sigs:    txscript.NewSigCache(10_000),
		hashes:  txscript.NewHashCache(1_000),
		extra:   uint64(time.Now().UnixNano()) >> 1,
		fees:    cfg.Fees,
		minimum: minRelay,
		height:  make(map[chainhash.Hash]uint32),
		spent:   make(map[wire.OutPoint]chainhash.Hash),
	}
	if c.fees == (chain.FeeRates{}) {
		c.fees = chain.FeeRates{Slow: chain.FeerateFloor, Normal: 1000, Urgent: 2500}
	}
	c.fees = c.fees.Sane()
	if c.dir == "" {
		if c.dir, err = os.MkdirTemp("", "regtest-chain-"); err != nil {
			return nil, fmt.Errorf("create chain folder: %w", err)
		}
		c.temp = true
	}
	defer func() {
		if err != nil {
			c.drop()
		}
	}()
	if err = c.open(); err != nil {
		return nil, fmt.Errorf("open chain in %s: %w", c.dir, err)
	}
	return c, nil
}

func (c *Chain) open() error {
	path := filepath.Join(c.dir, "blocks")
	_, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if err = os.MkdirAll(c.dir, 0o700); err != nil {
			return err
		}
		c.db, err = database.Create("ffldb", path, c.params.Net)
	case err == nil:
		c.db, err = database.Open("ffldb", path, c.params.Net)
	}
	if err != nil {
		return err
	}
	c.chain, err = blockchain.New(&blockchain.Config{
		DB:               c.db,
		UtxoCacheMaxSize: 16 << 20,
		ChainParams:      c.params,
		TimeSource:       c.clock,
		SigCache:         c.sigs,
		HashCache:        c.hashes,
	})
	if err != nil {
		return err
	}
	c.pool = c.newPool()
	c.chain.Subscribe(c.moved)
	if c.journal, err = openJournal(filepath.Join(c.dir, "journal"), c.replay); err != nil {
		return err
	}
	c.moves = nil
	return c.index()
}

// index learns the transactions of the best chain.
func (c *Chain) index() error {
	for h := int32(1); h <= c.chain.BestSnapshot().Height; h++ {
		b, err := c.chain.BlockByHeight(h)
		if err != nil {
			return err
		}
		c.connected(b)
	}
	return nil
}

// closePatience is how long the database may take to close.
const closePatience = 5 * time.Second

// Close closes the chain and removes a temporary folder. Closing again does nothing. On a full disk the database may never be done (goleveldb
// waits for ever once a write has failed); then Close fails after five seconds, and the folder stays locked until the process ends. The journal
// makes the next start good.
func (c *Chain) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	return c.drop()
}

// drop lets go of files and folder. The journal is emptied once the database has everything.
func (c *Chain) drop() error {
	var errs []error
	if c.db != nil {
		errs = append(errs, c.closeDB())
	}
	if c.journal != nil {
		errs = append(errs, c.journal.close(errors.Join(errs...) == nil))
	}
	if c.temp {
		errs = append(errs, os.RemoveAll(c.dir))
	}
	return errors.Join(errs...)
}

// closeDB writes and closes the database, as long as that takes no longer than wait.
func (c *Chain) closeDB() error {
	done := make(chan error, 1)
	go func() {
		var err error
		if c.chain != nil {
			err = c.chain.FlushUtxoCache(blockchain.FlushRequired)
		}
		done <- errors.Join(err, c.db.Close())
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(c.wait):
		return fmt.Errorf("the database is not closed after %v", c.wait)
	}
}

// Params of this chain, which must not be changed.
func (c *Chain) Params() *chaincfg.Params { return c.params }

// Tip is the newest block of the best chain.
func (c *Chain) Tip() (height uint32, hash chainhash.Hash) {
	best := c.chain.BestSnapshot()
	return uint32(best.Height), best.Hash
}

// Block is the block of the best chain at height.
func (c *Chain) Block(height uint32) (chain.Block, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return chain.Block{}, ErrClosed
	}
	tip, _ := c.Tip()
	if height > tip {
		return chain.Block{}, fmt.Errorf("block %d is above the tip %d", height, tip)
	}
	b, err := c.chain.BlockByHeight(int32(height))
	if err != nil {
		return chain.Block{}, fmt.Errorf("read block %d: %w", height, err)
	}
	return convert(b), nil
}

// BlockByHash is a block of the best chain.
func (c *Chain) BlockByHash(hash chainhash.Hash) (chain.Block, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return chain.Block{}, ErrClosed
	}
	b, err := c.chain.BlockByHash(&hash)
	if err != nil {
		return chain.Block{}, fmt.Errorf("read block %v: %w", hash, err)
	}
	return convert(b), nil
}

func convert(b *btcutil.Block) chain.Block {
	return chain.Block{
		Height: uint32(b.Height()),
		Hash:   *b.Hash(),
		Prev:   b.MsgBlock().Header.PrevBlock,
		Time:   b.MsgBlock().Header.Timestamp.Unix(),
		Txs:    b.MsgBlock().Transactions,
	}
}

// Unspent is the output if it is confirmed and unspent on the best chain; the mempool is not asked.
func (c *Chain) Unspent(out wire.OutPoint) (txOut *wire.TxOut, height uint32, ok bool) {
	c.mu.Lock() // reading fills btcd's cache of outputs
	defer c.mu.Unlock()
	if c.closed {
		return nil, 0, false
	}
	e, err := c.chain.FetchUtxoEntry(out)
	if err != nil || e == nil || e.IsSpent() {
		return nil, 0, false
	}
	return wire.NewTxOut(e.Amount(), e.PkScript()), uint32(e.BlockHeight()), true
}

// Tx is a transaction of the best chain (with its height) or of the mempool (height 0).
func (c *Chain) Tx(txid chainhash.Hash) (tx *wire.MsgTx, height uint32, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return nil, 0, false
	}
	return c.tx(txid)
}

func (c *Chain) tx(txid chainhash.Hash) (*wire.MsgTx, uint32, bool) {
	if tx, err := c.pool.FetchTransaction(&txid); err == nil {
		return tx.MsgTx().Copy(), 0, true
	}
	height, ok := c.height[txid]
	if !ok {
		return nil, 0, false
	}
	b, err := c.chain.BlockByHeight(int32(height))
	if err != nil {
		return nil, 0, false
	}
	for _, tx := range b.Transactions() {
		if *tx.Hash() == txid {
			return tx.MsgTx(), height, true
		}
	}
	return nil, 0, false
}

// FeeRates are the configured estimates, or what the mempool demands where that is more.
func (c *Chain) FeeRates() chain.FeeRates {
	c.mu.RLock()
	defer c.mu.RUnlock()
	r := c.fees
	r.Floor = max(r.Floor, chain.FromSatPerKvB(c.minimum))
	return r.Sane()
}

// SetFeeRates changes the estimates, and tells subscribers. Relay and mining go on as before.
func (c *Chain) SetFeeRates(r chain.FeeRates) {
	c.mu.Lock()
	c.fees = r.Sane()
	c.mu.Unlock()
	c.subs.call()
}

// Subscribe has f called after every change of the tip or the mempool, until cancel. f must not block; it may call the
// Chain. A call that is running when cancel is called may still end after it.
func (c *Chain) Subscribe(f func()) (cancel func()) { return c.subs.add(f) }
