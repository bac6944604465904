package notify

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Entry is one notification. Headers and body are sent as they are: when they carry a signed time, Expires must be
// before that time is too old.
type Entry struct {
	ID        uint64 // of the outbox row
	URL       string
	Header    http.Header
	Body      []byte
	NotBefore time.Time // zero: now
	Expires   time.Time // no attempt begins later; zero: only the number of attempts counts
	Attempts  int       // made before, as far as known
}

// Status is how an entry ended.
type Status uint8

const (
	Delivered Status = iota + 1 // answered with 2xx
	Refused                     // answered with what no retry will change
	Forbidden                   // the URL is, or leads, where we do not deliver
	Expired                     // its time ran out
	Exhausted                   // tried as often as allowed
)

var statusNames = [...]string{"?", "delivered", "refused", "forbidden", "expired", "exhausted"}

func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return statusNames[0]
}

// Attempt is one line of the delivery log. Err carries nothing of the URL but its host.
type Attempt struct {
	ID     uint64
	Host   string
	Number int // 1 for the first
	Begun  time.Time
	Took   time.Duration
	Code   int       // HTTP status; 0: no answer
	Err    error     // why there was no answer
	Next   time.Time // when it is tried again; zero: not again
}

// Results hears what becomes of entries, from the goroutines of the attempts: several at a time, but for one entry in
// order. Done is the last and comes once for each entry, unless it is removed or the Deliverer closed before.
type Results interface {
	Attempted(a Attempt)
	Done(id uint64, s Status)
}

// Clock is the time that retries follow.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

type systemClock struct{}

func (systemClock) Now() time.Time                         { return time.Now() }
func (systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Config is what a Deliverer is made of. Results is needed; all else has a default.
type Config struct {
	Results    Results
	AllowLocal bool           // for regtest: see CheckURL
	RootCAs    *x509.CertPool // nil: those of the system
	Logger     *slog.Logger   // nil: none
	Clock      Clock          // nil: the real one. Time-outs of requests follow the real one always
	Rand       rand.Source    // nil: the system's. Spreads retries

	MaxPending  int // entries, 100000
	MaxInFlight int // attempts at a time, 32
	MaxPerHost  int // of them to one host, 2
	MaxAttempts int // for an entry, 16

	Timeout    time.Duration // 15 s for an attempt, from the name lookup to the end of the answer
	MinBackoff time.Duration // 2 s after the first attempt
	MaxBackoff time.Duration // 15 min after any; also the most that a Retry-After is followed
}

var (
	// ErrFull says that MaxPending entries are waiting. The row stays; give the entry again after some Done.
	ErrFull = errors.New("too many notifications are waiting")

	// ErrClosed is the answer after Close.
	ErrClosed = errors.New("deliverer is closed")
)

// Deliverer sends entries.
type Deliverer struct {
	cfg    Config
	client *http.Client
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	wake   chan struct{} // has room for one: look again what is due

	mu       sync.Mutex
	closed   bool
	rand     *rand.Rand
	items    map[uint64]*item
	hosts    map[string]*host
	inFlight int
}

// New starts a Deliverer.
func New(cfg Config) (*Deliverer, error) {
	if cfg.Results == nil {
		return nil, errors.New("nobody to tell results to")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = systemClock{}
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.NewPCG(rand.Uint64(), rand.Uint64())
	}
	for v, preset := range map[*int]int{&cfg.MaxPending: 100000, &cfg.MaxInFlight: 32, &cfg.MaxPerHost: 2, &cfg.MaxAttempts: 16} {
		if *v <= 0 {
			*v = preset
		}
	}
	for v, preset := range map[*time.Duration]time.Duration{
		&cfg.Timeout: 15 * time.Second, &cfg.MinBackoff: 2 * time.Second, &cfg.MaxBackoff: 15 * time.Minute,
	} {
		if *v <= 0 {
			*v = preset
		}
	}
	d := &Deliverer{
		cfg:    cfg,
		client: newClient(cfg),
		wake:   make(chan struct{}, 1),
		rand:   rand.New(cfg.Rand),
		items:  make(map[uint64]*item),
		hosts:  make(map[string]*host),
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.wg.Go(d.schedule)
	return d, nil
}

// Add takes an entry over. It does not block. An entry that is there already is not added again.
func (d *Deliverer) Add(e Entry) error {
	it := &item{Entry: e, due: e.NotBefore}
	if u, err := parseURL(e.URL, d.cfg.AllowLocal); err == nil {
		it.host = u.Host
	} // else the attempt says so, since results come from there
	if !e.Expires.IsZero() && e.Expires.Before(it.due) {
		it.due = e.Expires // to learn in time that it has expired
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return ErrClosed
	case d.items[e.ID] != nil:
		return nil
	case len(d.items) >= d.cfg.MaxPending:
		return ErrFull
	}
	d.items[e.ID] = it
	d.push(it)
	d.signal()
	return nil
}

// Remove forgets an entry, as when the one to be woken has come by itself. An attempt under way goes on; no Done follows.
func (d *Deliverer) Remove(id uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if it := d.items[id]; it != nil {
		it.removed = true
		delete(d.items, id)
		d.unqueue(it)
	}
}

// Pending is the number of entries not done.
func (d *Deliverer) Pending() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.items)
}

// Close breaks attempts off and returns when Results will hear nothing more. What is not done is the outbox's to keep.
func (d *Deliverer) Close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.cancel()
	d.wg.Wait()
	d.client.CloseIdleConnections()
}
