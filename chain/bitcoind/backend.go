package bitcoind

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

var (
	// ErrWrongNetwork: bitcoind is on another network than this node.
	ErrWrongNetwork = errors.New("bitcoind is on another network")
	// ErrPruned: bitcoind has deleted a block that is needed.
	ErrPruned = errors.New("block is pruned")
	// ErrClosed: the Backend was closed.
	ErrClosed = errors.New("chain backend is closed")
)

// Config of a Backend. Access and Params must be given.
type Config struct {
	Access
	// Params is the network that bitcoind must be on; its genesis block is compared.
	Params *chaincfg.Params
	// ZMQ are the addresses at which bitcoind publishes (its -zmqpubhashblock, -zmqpubrawblock, -zmqpubrawtx, -zmqpubhashtx or -zmqpubsequence), such as
	// tcp://127.0.0.1:28332. A message makes the Backend look at once; without, or when they are lost, it looks when Poll says.
	ZMQ []string
	// Poll is the time between two looks at the tip. Zero: a second, on regtest 50 ms.
	Poll time.Duration
	// MaxTipAge is how old the newest block may be before Stale says so. Zero: 90 minutes, which a healthy network exceeds about once
	// in two months; on regtest, where blocks come when somebody wants them, without end.
	MaxTipAge time.Duration
	// MempoolLimit is how many unconfirmed transactions are kept. When bitcoind has more, then those that it had at the
	// start are left out, and new ones when the limit is reached; Spending finds what is left out. Zero: 20,000.
	MempoolLimit int
	// Log gets what an operator wants to know. nil: nothing is logged.
	Log *slog.Logger
	// Now is the clock, for the age of the tip. nil: the real one.
	Now func() time.Time
}

func (c *Config) defaults() error {
	if c.Params == nil {
		return errors.New("params: no network given")
	}
	for _, a := range c.ZMQ {
		if _, _, err := zmqAddress(a); err != nil {
			return err
		}
	}
	regtest := c.Params.Name == chaincfg.RegressionNetParams.Name
	if c.Poll <= 0 {
		c.Poll = time.Second
		if regtest {
			c.Poll = 50 * time.Millisecond
		}
	}
	if c.MaxTipAge <= 0 && !regtest {
		c.MaxTipAge = 90 * time.Minute
	}
	if c.MempoolLimit <= 0 {
		c.MempoolLimit = 20_000
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

// Backend is bitcoind's chain. All methods are safe for concurrent use.
type Backend struct {
	cfg     Config
	regtest bool
	rpc     *Client
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup
	wake    chan struct{} // the poller looks now

	view  atomic.Pointer[view]
	rates atomic.Pointer[chain.FeeRates]
	pool  pool
	shelf shelf
	known spends
	soon  soon

	mu      sync.Mutex
	closed  bool
	subs    []*func()
	trouble error     // of the newest poll
	since   time.Time // since when there is trouble

	ratesAt   time.Time // the poller's: when the estimates were asked for
	ratesTip  chainhash.Hash
	estimated chain.FeeRates // the newest estimates of each kind that there were
}

// New waits until bitcoind answers, at most until ctx ends, and starts to follow it. What waiting cannot cure fails at once: a
// wrong network, a wrong password.
func New(ctx context.Context, cfg Config) (*Backend, error) {
	if err := cfg.defaults(); err != nil {
		return nil, fmt.Errorf("bitcoind: %w", err)
	}
	rpc, err := NewClient(cfg.Access)
	if err != nil {
		return nil, fmt.Errorf("bitcoind: %w", err)
	}
	b := &Backend{
		cfg: cfg, rpc: rpc, wake: make(chan struct{}, 1),
		regtest: cfg.Params.Name == chaincfg.RegressionNetParams.Name,
		pool:    newPool(cfg.MempoolLimit),
		shelf:   newShelf(),
		known:   newSpends(),
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	if err := b.first(ctx); err != nil {
		b.cancel()
		rpc.Close()
		return nil, fmt.Errorf("bitcoind at %s: %w", cfg.Addr, err)
	}
	b.start(b.follow)
	for i, a := range cfg.ZMQ {
		if !slices.Contains(cfg.ZMQ[:i], a) {
			b.start(func() { b.listen(a) })
		}
	}
	return b, nil
}

// first polls until it succeeds.
func (b *Backend) first(ctx context.Context) error {
	var why error // of the newest attempt that was not cut short
	for {
		_, err := b.poll(ctx)
		if err == nil {
			b.report(nil)
			return nil
		}
		if why == nil || ctx.Err() == nil {
			why = err
		}
		hopeless := errors.Is(err, ErrWrongNetwork) || errors.Is(err, errUnauthorized) && b.cfg.User != ""
		if hopeless {
			return err
		}
		b.report(err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", why, ctx.Err())
		case <-time.After(min(4*b.cfg.Poll, time.Second)):
		}
	}
}

// start runs f beside, unless the end has begun. Close waits for it.
func (b *Backend) start(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.running.Go(f)
	}
}

// Close stops following. Calls under way fail.
func (b *Backend) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	b.running.Wait()
	b.rpc.Close()
	return nil
}

// Client is the connection, for calls that this package does not make.
func (b *Backend) Client() *Client { return b.rpc }

// Tip is the newest block of the best chain, as of the last look.
func (b *Backend) Tip() (height uint32, hash chainhash.Hash) {
	v := b.view.Load()
	return v.height, v.tip().hash
}

// Subscribe has f called after every change of tip or mempool, until cancel. f must not block. A call that is running when
// cancel is called may still end after it.
func (b *Backend) Subscribe(f func()) (cancel func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs = append(slices.Clone(b.subs), &f)
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.subs = slices.DeleteFunc(slices.Clone(b.subs), func(o *func()) bool { return o == &f })
	}
}

func (b *Backend) tell() {
	b.mu.Lock()
	subs := b.subs
	b.mu.Unlock()
	for _, f := range subs {
		(*f)()
	}
}

// answerPatience is how long polls may fail before the view counts as stale.
const answerPatience = 30 * time.Second

// Stale says why the view should not be trusted with deadlines; nil means that it may be. A node that hears a reason takes on
// nothing new that depends on time.
func (b *Backend) Stale() error {
	now := b.cfg.Now()
	b.mu.Lock()
	trouble, since := b.trouble, b.since
	b.mu.Unlock()
	if trouble != nil && now.Sub(since) > answerPatience {
		return fmt.Errorf("no look at bitcoind's chain for %v: %w", now.Sub(since).Round(time.Second), trouble)
	}
	v := b.view.Load()
	if v.initial && !b.regtest {
		return fmt.Errorf("bitcoind is in initial block download, at block %d of %d", v.height, v.headers)
	}
	if age := now.Sub(time.Unix(v.tip().time, 0)); b.cfg.MaxTipAge > 0 && age > b.cfg.MaxTipAge {
		return fmt.Errorf("the newest block, %d, is %v old, more than %v", v.height, age.Round(time.Second), b.cfg.MaxTipAge)
	}
	return nil
}

// report notes how the newest poll went, and logs when that has changed.
func (b *Backend) report(err error) {
	b.mu.Lock()
	before, since := b.trouble, b.since
	if b.trouble = err; err != nil && before == nil {
		b.since = b.cfg.Now()
	}
	b.mu.Unlock()
	switch {
	case err == nil && before != nil:
		b.cfg.Log.Info("bitcoind answers again", "after", b.cfg.Now().Sub(since).Round(time.Millisecond))
	case err != nil && (before == nil || before.Error() != err.Error()):
		b.cfg.Log.Warn("bitcoind", "error", err)
	}
}

// Unspent is the output if it is on the best chain and not spent there; the mempool is not asked. When bitcoind does not
// answer, no output is found.
func (b *Backend) Unspent(out wire.OutPoint) (txOut *wire.TxOut, height uint32, ok bool) {
	if b.ctx.Err() != nil {
		return nil, 0, false
	}
	u, err := b.unspent(b.ctx, out, false)
	if err != nil {
		if !errors.Is(err, errSpent) {
			b.cfg.Log.Warn("bitcoind", "error", err)
		}
		return nil, 0, false
	}
	return u.out, u.height, true
}

// errSpent: the output is spent, or does not exist.
var errSpent = errors.New("no such unspent output")

// output is an answer of gettxout.
type output struct {
	out    *wire.TxOut
	height uint32 // 0: not confirmed
}

// unspent is errSpent for an output that does not exist or is spent: on the best chain, or (pool) in the mempool too.
func (b *Backend) unspent(ctx context.Context, out wire.OutPoint, pool bool) (output, error) {
	var u *struct {
		Best          hash     `json:"bestblock"`
		Confirmations int64    `json:"confirmations"`
		Value         bitcoins `json:"value"`
		Script        struct {
			Hex script `json:"hex"`
		} `json:"scriptPubKey"`
	}
	if err := b.rpc.Call(ctx, &u, "gettxout", out.Hash.String(), out.Index, pool); err != nil {
		return output{}, err
	}
	if u == nil {
		return output{}, errSpent
	}
	c := output{out: wire.NewTxOut(int64(u.Value), u.Script.Hex)}
	if u.Confirmations <= 0 {
		return c, nil
	}
	// Confirmations count from bitcoind's tip of that moment, which need not be the view's.
	best, ok := b.view.Load().find(chainhash.Hash(u.Best))
	if !ok {
		h, err := b.header(ctx, chainhash.Hash(u.Best))
		if err != nil {
			return output{}, err
		}
		best = h.height
	}
	if u.Confirmations > int64(best)+1 {
		return output{}, fmt.Errorf("gettxout: %d confirmations at height %d", u.Confirmations, best)
	}
	c.height = uint32(int64(best) + 1 - u.Confirmations)
	return c, nil
}
