package node

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"lightningrod/channel"
	"lightningrod/node/store"
	"lightningrod/peer"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/lightningnetwork/lnd/lnwire"
)

func TestConfig(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no folder", func(c *Config) { c.Dir = "" }, "dir: empty"},
		{"no network", func(c *Config) { c.Params = nil }, "params: no network"},
		{"no chain", func(c *Config) { c.Backend = nil }, "backend: none"},
		{"seed too short", func(c *Config) { c.Seed = make([]byte, 15) }, "seed: 15 bytes, need 16 to 64"},
		{"seed too long", func(c *Config) { c.Seed = make([]byte, 65) }, "seed: 65 bytes, need 16 to 64"},
		{"alias too long", func(c *Config) { c.Alias = strings.Repeat("a", 33) }, "alias: 33 bytes, at most 32"},
		{"too many HTLCs", func(c *Config) { c.Channel.MaxAcceptedHTLCs = 484 }, "max_accepted_htlcs: 484 outside 1..483"},
		{"mainnet", func(c *Config) { c.Params = &chaincfg.MainNetParams }, "mainnet is not compiled in"},
		{"folder is a file", func(c *Config) {
			c.Dir += "/file"
			if err := os.WriteFile(c.Dir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := w.config("alice", false)
			test.change(&cfg)
			n, err := New(cfg)
			if err == nil {
				n.Stop()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// TestFolderInUse: two nodes on one folder would sign against each other. Another seed, or network, must not take it over.
func TestFolderInUse(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("alice", false)
	first := w.start(cfg)
	if _, err := New(cfg); !errors.Is(err, store.ErrLocked) {
		t.Errorf("second node: %v", err)
	}
	if _, _, err := first.NewAddress(); err != nil {
		t.Errorf("the first one suffers: %v", err)
	}
	first.Stop()
	other := cfg
	other.Seed = bytes.Repeat([]byte{1}, 32)
	if _, err := New(other); !errors.Is(err, store.ErrForeign) {
		t.Errorf("another seed: %v", err)
	}
	w.start(cfg)
}

// TestListenOnTakenPort: Start fails and leaves nothing behind.
func TestListenOnTakenPort(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := w.config("alice", true)
	cfg.Listen = []string{l.Addr().String()}
	if _, err := w.try(cfg); err == nil {
		t.Fatal("no error")
	}
	cfg.Listen = []string{"127.0.0.1:0"}
	w.start(cfg)
}

// goroutines waits until no more goroutines run than before.
func (w *world) goroutines(before int) {
	w.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			w.t.Fatalf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestEndLeavesNothing ends nodes in both ways in the middle of payments: all goroutines end, callers get an answer, and
// afterwards every call gives an error or nothing, but never hangs.
func TestEndLeavesNothing(t *testing.T) {
	for name, end := range map[string]func(*Node){"stop": func(n *Node) { n.Stop() }, "crash": (*Node).Crash} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			before := runtime.NumGoroutine()
			a, b, id := w.pair()
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for a.Err() == nil && !isDone(a) {
						inv, err := b.CreateInvoice(InvoiceWish{Amount: 1_000_000})
						if err != nil {
							return
						}
						if _, err := a.Pay(inv.Text, 0, 1); err != nil && isDone(a) {
							return
						}
					}
				})
			}
			w.wait(a, 0, PaymentDone)
			end(a)
			wg.Wait()
			end(b)
			select {
			case <-a.Done():
			default:
				t.Error("Done is not closed")
			}
			if err := a.Stop(); (err == nil) != (name == "stop") {
				t.Errorf("Stop again: %v", err)
			}
			if _, err := a.CreateInvoice(InvoiceWish{Amount: 1}); err == nil {
				t.Error("CreateInvoice after the end")
			}
			if _, _, err := a.NewAddress(); err == nil {
				t.Error("NewAddress after the end")
			}
			if err := a.Connect(w.ctx, b.ID(), address("bob")); err == nil {
				t.Error("Connect after the end")
			}
			if _, err := a.Open(w.ctx, OpenChannel{Peer: b.ID(), Capacity: 100_000}); err == nil {
				t.Error("Open after the end")
			}
			a.Close(id, true)
			r := a.Events(0)
			for {
				if _, err := r.Next(w.ctx); err != nil {
					break
				}
			}
			w.goroutines(before)
		})
	}
}

func isDone(n *Node) bool {
	select {
	case <-n.Done():
		return true
	default:
		return false
	}
}

// watchDisk remembers the channel cores that are on the disk, and fails when it is told to.
type watchDisk struct {
	Disk
	mu     sync.Mutex
	left   int // commits until it is full; below 0: never
	shadow map[string][]byte
}

var errFull = errors.New("no space left on device")

func (d *watchDisk) Commit(group []store.Write) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left == 0 {
		return errFull
	}
	if err := d.Disk.Commit(group); err != nil {
		return err
	}
	d.left--
	for _, w := range group {
		for _, op := range w {
			if op.Table == store.Channel {
				d.shadow[string(op.Key)] = op.Value
			}
		}
	}
	return nil
}

// TestFullDisk lets the disk of a payer fill up under load. The node ends, and what its peer has seen of it is not newer than
// what is on the disk: of the payer's own signatures and revocations there is none that its files do not know.
func TestFullDisk(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 5
	}
	for left := 0; left < 12; left += step {
		w := newWorld(t)
		cfgA := w.config("alice", false)
		var disk *watchDisk
		cfgA.Disk = func(d Disk) Disk {
			disk = &watchDisk{Disk: d, left: -1, shadow: map[string][]byte{}}
			return disk
		}
		a, b := w.start(cfgA), w.start(w.config("bob", true))
		w.fund(a)
		w.open(a, b, false)
		disk.mu.Lock()
		disk.left = left
		disk.mu.Unlock()
		for !isDone(a) {
			inv, err := b.CreateInvoice(InvoiceWish{Amount: 1_000_000})
			if err != nil {
				t.Fatal(err)
			}
			_, _ = a.Pay(inv.Text, 0, 1)
		}
		if err := a.Err(); !errors.Is(err, errFull) {
			t.Fatalf("the node ended with %v", err)
		}
		w.until("bob to notice", func() bool { return !b.Connected(a.ID()) })
		b.engine.settle()
		seen := b.registry.each(nil)[0].state.Load()
		for _, core := range disk.shadow {
			s, err := restored(t, cfgA.Dir, core)
			if err != nil {
				t.Fatal(err)
			}
			ours, signed := numbers(t, s)
			bobs, accepted := numbers(t, seen)
			if strings.Contains(seen.String(), "awaits revoke_and_ack") {
				accepted-- // bob has signed it, but alice has not said that she has it
			}
			if bobs > signed {
				t.Errorf("after %d commits: bob got the signature of %d, alice's disk has signed %d", left, bobs, signed)
			}
			if accepted > ours {
				t.Errorf("after %d commits: bob got the revocation before %d, alice's disk has %d", left, accepted, ours)
			}
		}
		// And from there it goes on.
		cfgA.Disk = nil
		a = w.start(cfgA)
		w.usable(a, b)
		w.quiet(a, b)
		if failure := w.pay(a, b, 1_000_000, 1); failure != "" {
			t.Error(failure)
		}
	}
}

// numbers are the numbers of our newest commitment and of the newest of the peer's that we signed.
func numbers(t *testing.T, s *channel.State) (local, remote uint64) {
	t.Helper()
	_, text, ok := strings.Cut(s.String(), "commitments ")
	if _, err := fmt.Sscan(text, &local, &remote); err != nil || !ok {
		t.Fatalf("no commitment numbers in %q: %v", s, err)
	}
	return local, remote
}

// restored is a channel as the files of a stopped node have it.
func restored(t *testing.T, dir string, core []byte) (*channel.State, error) {
	t.Helper()
	s, err := store.Open(dir + "/node.db")
	if err != nil {
		return nil, err
	}
	defer s.Close()
	bodies, err := loadBodies(s)
	if err != nil {
		return nil, err
	}
	var onDisk []byte
	err = s.Load(store.Channel, func(_, value []byte) error { onDisk = bytes.Clone(value); return nil })
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(onDisk, core) {
		return nil, fmt.Errorf("the disk has another core than was committed")
	}
	st, _, err := channel.Restore(core, bodies[1])
	return st, err
}

// TestGarbage has strangers, and a connection that claims nothing, send messages of every type with random contents, about channels
// that exist and that do not. The node and its channel with an honest peer go on.
func TestGarbage(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	a, b, _ := w.pair()
	id := b.registry.each(nil)[0].state.Load().ChannelID()
	types := []uint16{1, 2, 7, 9, 16, 17, 18, 19, 32, 33, 34, 35, 36, 38, 39, 128, 130, 131, 132, 133, 134, 135, 136,
		256, 257, 258, 259, 261, 262, 263, 264, 265, 513, 37913, 65535}
	for range 60 {
		conn := w.stranger(b)
		if conn == nil {
			continue
		}
		for range 20 {
			msg := binary.BigEndian.AppendUint16(nil, types[rng.IntN(len(types))])
			if rng.IntN(2) == 0 {
				msg = append(msg, id[:]...)
			}
			body := make([]byte, rng.IntN(2000))
			for i := range body {
				body[i] = byte(rng.Uint32())
			}
			if conn.Append(append(msg, body...)) != nil || conn.Flush() != nil {
				break
			}
		}
		conn.Close()
	}
	// Bytes that are no handshake.
	for range 10 {
		nc, err := net.Dial("tcp", b.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		junk := make([]byte, rng.IntN(200))
		for i := range junk {
			junk[i] = byte(rng.Uint32())
		}
		_, _ = nc.Write(junk)
		nc.Close()
	}
	if failure := w.pay(a, b, 1_000_000, 1); failure != "" {
		t.Error(failure)
	}
	w.quiet(a, b)
	for _, in := range b.registry.each(nil) {
		if in.peer != a.ID() && in.state.Load().Durable() {
			t.Errorf("a stranger has a channel: %v", in.state.Load())
		}
	}
}

// stranger is a connection of somebody new, after init.
func (w *world) stranger(to *Node) *peer.Conn {
	w.t.Helper()
	key, err := btcec.NewPrivateKey()
	if err != nil {
		w.t.Fatal(err)
	}
	nc, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", to.Addrs()[0].String())
	if err != nil {
		w.t.Fatal(err)
	}
	conn, err := peer.Initiate(nc, key, to.ID())
	if err != nil {
		nc.Close()
		return nil
	}
	var buf bytes.Buffer
	features := lnwire.NewRawFeatureVector()
	for _, bit := range to.features().Bits() {
		features.Set(lnwire.FeatureBit(bit))
	}
	if _, err := lnwire.WriteMessage(&buf, lnwire.NewInitMessage(lnwire.NewRawFeatureVector(), features), 0); err != nil {
		w.t.Fatal(err)
	}
	if conn.Append(buf.Bytes()) != nil || conn.Flush() != nil {
		return nil
	}
	return conn
}
