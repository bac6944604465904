package bitcoind

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lightningrod/chain"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

func TestConfig(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*Config){
		"no network":      func(c *Config) { c.Params = nil },
		"no port":         func(c *Config) { c.Addr = "127.0.0.1" },
		"no credentials":  func(c *Config) { c.User = "" },
		"wrong password":  func(c *Config) { c.Password = "secret" },
		"another network": func(c *Config) { p := *c.Params; p.GenesisHash = &chainhash.Hash{1}; c.Params = &p },
	} {
		cfg := w.config(true)
		change(&cfg)
		b, err := New(context.Background(), cfg)
		if err == nil {
			b.Close()
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the password is in the error", name)
		}
		if want := name == "another network"; errors.Is(err, ErrWrongNetwork) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What may pass is waited for, as long as the caller likes.
func TestNewWaits(t *testing.T) {
	w := newWorld(t)
	w.set(func() { w.warmup = true })
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		for w.count(warmUp) < 2 { // the second question comes after the first answer
			time.Sleep(time.Millisecond)
		}
	}()
	_, err := New(ctx, w.config(true))
	if code(err) != codeWarmUp || !errors.Is(err, context.Canceled) {
		t.Fatalf("warming up: %v", err)
	}
	cfg := w.config(true)
	cfg.User, cfg.Cookie = "", filepath.Join(t.TempDir(), ".cookie")
	opened := make(chan *Backend)
	go func() {
		b, err := New(context.Background(), cfg)
		if err != nil {
			t.Error(err)
		}
		opened <- b
	}()
	if err := os.WriteFile(cfg.Cookie, []byte("__cookie__:first"), 0o600); err != nil { // not the one it wants
		t.Fatal(err)
	}
	w.set(func() { w.user, w.pass = "__cookie__", "second" })
	if err := os.WriteFile(cfg.Cookie, []byte("__cookie__:second\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.set(func() { w.warmup = false })
	b := <-opened
	defer b.Close()
	if height, hash := b.Tip(); height != 0 || hash != w.genesis {
		t.Fatalf("tip %d %v", height, hash)
	}
	// A restart writes another cookie.
	w.set(func() { w.pass = "third" })
	if err := os.WriteFile(cfg.Cookie, []byte("__cookie__:third"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.mine(1)
	w.follows(b)
}

func TestFollow(t *testing.T) {
	w := newWorld(t)
	w.mine(3)
	b := w.open(w.config(true))
	var told atomic.Int64
	cancel := b.Subscribe(func() { told.Add(1) })
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"a block", func() { w.mine(1) }},
		{"a few", func() { w.mine(5) }},
		{"a reorganisation", func() { w.reorg(2, 3) }},
		{"a deep one", func() { w.mine(40); w.reorg(30, 31) }},
		{"more than the window", func() { w.mine(windowLength + 50) }},
		{"one deeper than what is walked", func() { w.reorg(stepsBack+3, stepsBack+4) }},
		{"one of the whole chain", func() { w.reorg(windowLength+50, windowLength+60) }},
	} {
		before := told.Load()
		step.do()
		w.follows(b)
		w.await(step.name+": a call", func() bool { return told.Load() > before })
		walk(t, b, 0)
		if v := b.view.Load(); len(v.window) != min(int(v.height)+1, windowLength) {
			t.Errorf("%s: window of %d blocks at height %d", step.name, len(v.window), v.height)
		}
	}
	cancel()
	before := told.Load()
	w.mine(1)
	w.follows(b)
	if told.Load() > before+1 { // one may have been under way
		t.Error("called after cancel")
	}
	if _, err := b.Block(10_000); err == nil {
		t.Error("a block above the tip")
	}
	b.Close()
	if _, err := b.Block(1); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// A block that has left the best chain after the view was taken is still that view's.
func TestBlockIsTheViews(t *testing.T) {
	w := newWorld(t)
	w.mine(5)
	cfg := w.config(true)
	cfg.Poll = time.Hour
	b := w.open(cfg)
	height, hash := b.Tip()
	w.reorg(1, 2)
	if blk, err := b.Block(height); err != nil || blk.Hash != hash {
		t.Fatalf("%v %v", blk.Hash, err)
	}
}

// A view with less work is not followed, except on regtest. Meanwhile the old one stays.
func TestLessWork(t *testing.T) {
	for _, strict := range []bool{true, false} {
		w := newWorld(t)
		w.mine(20)
		b := w.open(w.config(strict))
		height, hash := b.Tip()
		w.reorg(10, 1)
		if !strict {
			w.follows(b)
			continue
		}
		w.await("trouble", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.trouble != nil })
		if h, tip := b.Tip(); h != height || tip != hash {
			t.Errorf("follows to %d", h)
		}
		if _, err := b.Block(height); err != nil {
			t.Error(err)
		}
		w.mine(30)
		w.follows(b)
		walk(t, b, 0)
	}
}

func TestOutages(t *testing.T) {
	w := newWorld(t)
	w.mine(5)
	b := w.open(w.config(true))
	status := func(code int, text string) func() {
		return func() {
			w.down = func(rw http.ResponseWriter) {
				rw.WriteHeader(code)
				rw.Write([]byte(text))
			}
		}
	}
	for name, break_ := range map[string]func(){
		"warm-up":          func() { w.warmup = true },
		"busy":             status(503, "Work queue depth exceeded"),
		"forbidden":        status(403, ""),
		"password changed": func() { w.pass = "other" },
		"no JSON":          status(200, "<html>"),
		"empty":            status(200, ""),
		"another thing":    status(200, `{"result":7}`),
		"few answers":      status(200, `[{"id":99,"result":1}]`),
		"hangs up":         func() { w.down = func(http.ResponseWriter) { panic(http.ErrAbortHandler) } },
		"another network":  func() { w.genesis = chainhash.Hash{9} },
		"method fails":     func() { w.fail["getblockchaininfo"] = &Error{Code: -1, Message: "no"} },
		"bad hash":         func() { w.give["getblockhash"] = json.RawMessage(`"00"`) },
		"null":             func() { w.give["getblockchaininfo"] = json.RawMessage(`null`) },
		"bad height":       func() { w.give["getblockchaininfo"] = json.RawMessage(`{"blocks":-1}`) },
	} {
		height, hash := b.Tip()
		w.set(break_)
		w.await(name, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.trouble != nil })
		if h, tip := b.Tip(); h != height || tip != hash {
			t.Errorf("%s: the tip has changed", name)
		}
		w.set(func() {
			w.down, w.warmup, w.pass, w.genesis = nil, false, "password", *b.cfg.Params.GenesisHash
			w.fail, w.give = map[string]*Error{}, map[string]json.RawMessage{}
		})
		w.mine(2)
		w.follows(b)
		w.await(name+": over", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.trouble == nil })
	}
}

// A bitcoind that takes a call and never answers is given up on.
func TestTimeout(t *testing.T) {
	w := newWorld(t)
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	w.set(func() { w.down = func(http.ResponseWriter) { <-hang } })
	cfg := w.config(true)
	cfg.Timeout = 20 * time.Millisecond
	c, err := NewClient(cfg.Access)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Call(context.Background(), nil, "getblockcount"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := New(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestStale(t *testing.T) {
	w := newWorld(t)
	w.mine(1)
	var late atomic.Int64 // seconds since the newest block
	cfg := w.config(true)
	cfg.Now = func() time.Time { return time.Unix(1_800_000_000+late.Load(), 0) }
	b := w.open(cfg)
	want := func(what, word string) {
		t.Helper()
		w.await(what, func() bool {
			err := b.Stale()
			return word == "" && err == nil || word != "" && err != nil && strings.Contains(err.Error(), word)
		})
	}
	want("at first", "")
	late.Store(89 * 60)
	want("89 minutes", "")
	late.Store(91 * 60)
	want("91 minutes", "old")
	late.Store(0)
	w.set(func() { w.initial = true })
	want("initial block download", "initial")
	w.set(func() { w.initial = false })
	want("done", "")
	w.set(func() { w.warmup = true })
	w.await("trouble", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.trouble != nil })
	want("for a moment", "")
	late.Store(31)
	want("for 31 seconds", "Loading")
	w.set(func() { w.warmup = false })
	want("over", "")
}

// On regtest blocks come when somebody wants them, and a bitcoind with old ones counts as in initial block download.
func TestNeverStaleOnRegtest(t *testing.T) {
	w := newWorld(t)
	w.set(func() { w.initial = true })
	if err := w.open(w.config(false)).Stale(); err != nil {
		t.Fatal(err)
	}
}

// Who reads in sequence finds the next blocks fetched, each once.
func TestCatchUp(t *testing.T) {
	const blocks = 3000
	w := newWorld(t)
	w.mine(blocks)
	b := w.open(w.config(true))
	walk(t, b, 1)
	walk(t, b, blocks) // still there
	if n := w.count("getblock"); n != blocks {
		t.Errorf("%d blocks fetched for %d", n, blocks)
	}
}

func TestFetchAhead(t *testing.T) {
	w := newWorld(t)
	w.mine(100)
	b := w.open(w.config(true))
	for height := uint32(1); height <= 2; height++ {
		if _, err := b.Block(height); err != nil {
			t.Fatal(err)
		}
	}
	hold := make(chan struct{})
	w.set(func() { w.wait = hold })
	before := w.count("getblock")
	done := make(chan error)
	go func() {
		_, err := b.Block(50) // not in sequence: nothing is fetched ahead of it
		done <- err
	}()
	w.await("one fetch", func() bool { return w.count("getblock") > before })
	close(hold)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if b.shelf.has(b.view.Load().window[51].hash) {
		t.Error("block 51 was fetched ahead")
	}
}

// The shelf is bounded in bytes.
func TestShelf(t *testing.T) {
	s := newShelf()
	for i := range 100 {
		h := chainhash.Hash{byte(i)}
		_, err := s.get(h, func() (chain.Block, int, error) { return chain.Block{Hash: h}, shelfBytes / 10, nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	if s.bytes > shelfBytes || len(s.blocks) != len(s.order) || len(s.blocks) != 10 {
		t.Errorf("%d bytes, %d and %d blocks", s.bytes, len(s.blocks), len(s.order))
	}
	failure := errors.New("no")
	for range 2 {
		if _, err := s.get(chainhash.Hash{200}, func() (chain.Block, int, error) { return chain.Block{}, 0, failure }); err != failure {
			t.Error(err)
		}
	}
}

func TestBadBlocks(t *testing.T) {
	w := newWorld(t)
	w.mine(3)
	b := w.open(w.config(true))
	other, err := b.Block(3)
	if err != nil {
		t.Fatal(err)
	}
	var header strings.Builder
	for range 81 {
		header.WriteString("00")
	}
	for name, tc := range map[string]struct {
		fail *Error
		give string
		want error
	}{
		"pruned":        {fail: &Error{Code: codeMisc, Message: "Block not available (pruned data)"}, want: ErrPruned},
		"not found":     {fail: &Error{Code: codeNotFound, Message: "Block not found"}},
		"no hex":        {give: `"zz"`},
		"cut":           {give: `"00"`},
		"another block": {give: `"` + header.String() + `"`},
		"null":          {give: `null`},
		"a number":      {give: `7`},
	} {
		w.set(func() {
			if tc.fail != nil {
				w.fail["getblock"] = tc.fail
			} else {
				w.give["getblock"] = json.RawMessage(tc.give)
			}
		})
		_, err := b.Block(1)
		if err == nil || tc.want != nil && !errors.Is(err, tc.want) || tc.want == nil && errors.Is(err, ErrPruned) {
			t.Errorf("%s: %v", name, err)
		}
		w.set(func() { w.fail, w.give = map[string]*Error{}, map[string]json.RawMessage{} })
	}
	if _, err := b.Block(1); err != nil {
		t.Error(err)
	}
	if again, err := b.Block(3); err != nil || again.Hash != other.Hash {
		t.Error(err)
	}
}

func TestUnspent(t *testing.T) {
	w := newWorld(t)
	w.mine(9)
	b := w.open(w.config(true))
	best := w.chain[9].BlockHash().String()
	out := wire.OutPoint{Hash: chainhash.Hash{1}, Index: 3}
	if _, _, ok := b.Unspent(out); ok {
		t.Error("null is an output")
	}
	for answer, want := range map[string]uint32{
		`{"bestblock":"` + best + `","confirmations":3,"value":0.00012345,"scriptPubKey":{"hex":"0051"}}`:  7,
		`{"bestblock":"` + best + `","confirmations":11,"value":0.00012345,"scriptPubKey":{"hex":"0051"}}`: 0,
		`{"bestblock":"` + best + `","confirmations":3,"value":1e-8,"scriptPubKey":{"hex":"0051"}}`:        0,
		`{"bestblock":"00","confirmations":3,"value":0.1,"scriptPubKey":{"hex":"0051"}}`:                   0,
		`{"bestblock":"` + best + `","confirmations":3,"value":0.1,"scriptPubKey":{"hex":"5"}}`:            0,
	} {
		w.set(func() { w.give["gettxout"] = json.RawMessage(answer) })
		txOut, height, ok := b.Unspent(out)
		if ok != (want > 0) || height != want || ok && (txOut.Value != 12345 || string(txOut.PkScript) != "\x00\x51") {
			t.Errorf("%s: %v %d %v", answer, txOut, height, ok)
		}
	}
	// bitcoind may be a block further than the view.
	cfg := w.config(true)
	cfg.Poll = time.Hour
	late := w.open(cfg)
	w.mine(1)
	_, tip := w.tip()
	w.set(func() {
		w.give["gettxout"] = json.RawMessage(`{"bestblock":"` + tip.String() + `","confirmations":1,"value":1,"scriptPubKey":{"hex":""}}`)
	})
	if _, height, ok := late.Unspent(out); !ok || height != 10 {
		t.Errorf("height %d, found %v", height, ok)
	}
}

func TestParseBitcoins(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "0.00000001": 1, "1": 100_000_000, "20999999.97690000": 2_099_999_997_690_000, "-0.5": -50_000_000,
		"1.5": 150_000_000, "92233720367": 9_223_372_036_700_000_000,
	} {
		if got, err := parseBitcoins(text); err != nil || got != want {
			t.Errorf("%s: %d %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", ".", "1e-8", "0.000000001", "--1", "1.-1", "92233720368", "1,5", "0x1", "+1", "1.+1"} {
		if got, err := parseBitcoins(text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
}

// TestLateHeights: hashes that were asked for before a deep reorganisation and come after it are not kept.
func TestLateHeights(t *testing.T) {
	s := newShelf()
	_, era, _ := s.hashAt(7)
	s.forgetHeights()
	s.noteHeights(era, 7, []chainhash.Hash{{1}})
	if h, _, ok := s.hashAt(7); ok {
		t.Errorf("block 7 is %v", h)
	}
	_, era, _ = s.hashAt(7)
	s.noteHeights(era, 7, []chainhash.Hash{{2}})
	if h, _, ok := s.hashAt(7); !ok || h != (chainhash.Hash{2}) {
		t.Errorf("block 7 is %v, %t", h, ok)
	}
}
