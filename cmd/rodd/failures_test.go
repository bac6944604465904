package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lightningrod/cmd/internal/api"
	"lightningrod/node/store"

	"github.com/btcsuite/btcd/chaincfg"
)

// stage is the folder of a node that has run, and that nothing is wrong with yet.
type stage struct {
	t        *testing.T
	dir      string // data folder
	net      string // the network's folder in it
	password string // file with the password of the seed
}

const rightPassword = "correct horse"

// newStage runs a node once, on the embedded chain.
func newStage(t *testing.T) (s stage, id string) {
	s = stage{t: t, dir: t.TempDir(), password: write(t, filepath.Join(t.TempDir(), "password"), rightPassword+"\n")}
	s.net = filepath.Join(s.dir, "regtest")
	if status, _, errs := does(t, "", "init", "--data-dir", s.dir, "--seed.password-file", s.password); status != 0 {
		t.Fatalf("init: %d %s", status, errs)
	}
	p := runRodd(t, s.dir, "--seed.password-file", s.password)
	p.post("/chain/blocks", api.Mine{Blocks: 3}, nil)
	id = p.info().ID
	if status := p.end(); status != exitOK {
		t.Fatalf("status %d: %s", status, p.stderr)
	}
	return s, id
}

// copy is another folder with the same in it.
func (s stage) copy(t *testing.T) stage {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	return stage{t: t, dir: dir, net: filepath.Join(dir, "regtest"), password: s.password}
}

// contents is every file whose loss or change would matter, but for the chain's.
func (s stage) contents() map[string]string {
	s.t.Helper()
	all := map[string]string{}
	for _, name := range []string{"seed", "node.db", "node.lineage", "tokens.json", "seed.origin", "chain"} {
		b, err := os.ReadFile(filepath.Join(s.net, name))
		switch {
		case err == nil:
			all[name] = string(b)
		case !os.IsNotExist(err):
			all[name] = "a folder"
		}
	}
	return all
}

// edit opens the database of a node that does not run.
func (s stage) edit(f func(db *store.Store) error) {
	s.t.Helper()
	db, err := store.Open(filepath.Join(s.net, "node.db"))
	if err == nil {
		err = f(db)
		if e := db.Close(); err == nil {
			err = e
		}
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// fakeBitcoind answers what rodd asks at the start: nil is 401, a map an error, and Params a chain that has only its genesis block.
func fakeBitcoind(t *testing.T, answer any) (addr string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer == nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var calls []struct {
			ID     any
			Method string
		}
		if err := json.NewDecoder(r.Body).Decode(&calls); err != nil {
			t.Errorf("not a batch: %v", err)
		}
		var out []map[string]any
		for _, c := range calls {
			one := map[string]any{"id": c.ID, "result": nil, "error": nil}
			switch a := answer.(type) {
			case map[string]any:
				one["error"] = a
			case *chaincfg.Params:
				one["result"] = map[string]any{
					"getblockhash":      a.GenesisHash.String(),
					"getblockchaininfo": map[string]any{"chain": a.Name, "blocks": 0, "headers": 0, "bestblockhash": a.GenesisHash.String(), "chainwork": strings.Repeat("0", 64)},
					"getblockheader":    map[string]any{"hash": a.GenesisHash.String(), "height": 0, "time": time.Now().Unix()},
					"getrawmempool":     []string{},
					"getmempoolinfo":    map[string]any{"mempoolminfee": 0.00001},
					"estimatesmartfee":  map[string]any{"errors": []string{"Insufficient data"}, "blocks": 2},
				}[c.Method]
			}
			out = append(out, one)
		}
		_ = json.NewEncoder(w).Encode(out)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// onBitcoind are the flags for a node on a bitcoind. One that says no is not waited for, however long the wait; of the others a second is enough.
func onBitcoind(addr, wait string, more ...string) []string {
	return append([]string{"--chain.backend", "bitcoind", "--bitcoind.addr", addr, "--bitcoind.user", "u", "--bitcoind.password", "p", "--bitcoind.wait", wait}, more...)
}

// nobody is an address where nobody listens.
func nobody(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestFailures: whatever keeps a node from starting is one clear line and its exit status, and nothing is damaged. (A full disk is
// TestFullDisk; what needs channels, TestBackup.)
func TestFailures(t *testing.T) {
	t.Parallel()
	whole, id := newStage(t)
	wrong := write(t, filepath.Join(t.TempDir(), "password"), "wrong\n")
	password := func(s stage) []string { return []string{"--seed.password-file", s.password} }
	for _, x := range []struct {
		name   string
		spoil  func(s stage) (args []string)
		status int
		line   string
	}{
		{"an unknown key", func(s stage) []string {
			write(t, filepath.Join(s.dir, "rodd.toml"), "[listen]\nrpc = \"x\"\n")
			return nil
		}, exitConfig, "rodd.toml: unknown key listen.rpc"},
		{"a bad value", func(s stage) []string {
			write(t, filepath.Join(s.dir, "rodd.toml"), "[policy]\ncltv_expiry_delta = 3\n")
			return nil
		}, exitConfig, "policy.cltv-expiry-delta: 3 below minimum 34"},
		{"no such configuration", func(s stage) []string { return []string{"--config", s.dir + "/other.toml"} }, exitConfig, "other.toml: no such file"},

		{"wrong password", func(stage) []string { return []string{"--seed.password-file", wrong} }, exitSeed, "wrong password"},
		{"no password", func(stage) []string { return nil }, exitSeed, "the seed needs a password"},
		{"no password file", func(s stage) []string { return []string{"--seed.password-file", s.dir + "/none"} }, exitSeed, "no such file"},
		{"a damaged seed", func(s stage) []string {
			write(t, filepath.Join(s.net, "seed"), "lightning rod seed 1 scrypt\nshort")
			return password(s)
		}, exitSeed, "seed file: 5 bytes after its first line"},
		{"no seed, on bitcoind", func(s stage) []string {
			os.Remove(filepath.Join(s.net, "seed"))
			return onBitcoind("127.0.0.1:1", "1s", password(s)...)
		}, exitSeed, "no seed in"},

		{"dead bitcoind", func(s stage) []string { return onBitcoind(nobody(t), "1s", password(s)...) }, exitChain, "connection refused"},
		{"wrong password of bitcoind", func(s stage) []string {
			return onBitcoind(fakeBitcoind(t, nil), "1m", password(s)...)
		}, exitChain, "bitcoind refuses our user and password"},
		{"no cookie", func(s stage) []string {
			return append(password(s), "--chain.backend", "bitcoind", "--bitcoind.addr", nobody(t), "--bitcoind.cookie", s.dir+"/none", "--bitcoind.wait", "200ms")
		}, exitChain, "cookie file:"},
		{"bitcoind of another network", func(s stage) []string {
			return onBitcoind(fakeBitcoind(t, &chaincfg.TestNet3Params), "1m", password(s)...)
		}, exitChain, `it has chain "testnet3" with genesis block 000000000933ea01`},
		{"bitcoind on regtest for a node on signet", func(s stage) []string {
			if err := os.CopyFS(filepath.Join(s.dir, "signet"), os.DirFS(s.net)); err != nil {
				t.Fatal(err)
			}
			return onBitcoind(fakeBitcoind(t, &chaincfg.RegressionNetParams), "1m", append(password(s), "--network", "signet")...)
		}, exitChain, `it has chain "regtest" with genesis block 0f9188f13cb7b2c7`},
		{"bitcoind that warms up for ever", func(s stage) []string {
			return onBitcoind(fakeBitcoind(t, map[string]any{"code": -28, "message": "Loading block index..."}), "1s", password(s)...)
		}, exitChain, "Loading block index..."},
		{"something else than bitcoind", func(s stage) []string {
			return onBitcoind(fakeBitcoind(t, 7), "1s", password(s)...)
		}, exitChain, "bitcoind at 127.0.0.1:"},

		{"a damaged database", func(s stage) []string {
			db := filepath.Join(s.net, "node.db")
			b, _ := os.ReadFile(db)
			for i := 8192; i < len(b); i += 512 {
				b[i] ^= 0xff
			}
			write(t, db, string(b))
			return password(s)
		}, exitFailed, "open database"},
		{"no database at all in node.db", func(s stage) []string {
			write(t, filepath.Join(s.net, "node.db"), strings.Repeat("no ", 5000))
			return password(s)
		}, exitFailed, "file is not a database"},
		{"another node's database", func(s stage) []string {
			os.Remove(filepath.Join(s.net, "seed"))
			if status, _, errs := does(t, words, "init", "--restore", "--data-dir", s.dir, "--seed.password-file", s.password); status != exitSeed {
				t.Fatalf("a seed is made beside a database: %d %s", status, errs)
			}
			other := stage{t: t, dir: t.TempDir()}
			if status, _, errs := does(t, words, "init", "--restore", "--data-dir", other.dir, "--seed.password-file", s.password); status != 0 {
				t.Fatal(errs)
			}
			b, _ := os.ReadFile(filepath.Join(other.dir, "regtest", "seed"))
			write(t, filepath.Join(s.net, "seed"), string(b))
			return password(s)
		}, exitFailed, "the database belongs to another node"},
		{"another network's database", func(s stage) []string {
			b, _ := os.ReadFile(filepath.Join(s.net, "seed"))
			write(t, filepath.Join(s.dir, "signet", "seed"), string(b))
			b, _ = os.ReadFile(filepath.Join(s.net, "node.db"))
			write(t, filepath.Join(s.dir, "signet", "node.db"), string(b))
			return onBitcoind(fakeBitcoind(t, &chaincfg.SigNetParams), "1m", append(password(s), "--network", "signet")...)
		}, exitFailed, `it is of network "regtest", not "signet"`},
		{"a backup in place of the database", func(s stage) []string {
			s.edit(func(db *store.Store) error { return db.Backup(filepath.Join(s.net, "copy")) })
			if err := os.Rename(filepath.Join(s.net, "copy"), filepath.Join(s.net, "node.db")); err != nil {
				t.Fatal(err)
			}
			return password(s)
		}, exitOld, "the file is a backup: put the newest node.db back, or give the channels up to their peers with rodd restore"},

		{"a second daemon", func(s stage) []string {
			p := runRodd(t, s.dir, password(s)...)
			t.Cleanup(func() { p.end() })
			return append(password(s), "--listen.p2p=")
		}, exitLocked, "another rodd (process "},
		{"the database is in use", func(s stage) []string {
			db, err := store.Open(filepath.Join(s.net, "node.db"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			return password(s)
		}, exitLocked, "the database is in use"},
		{"the port is taken", func(s stage) []string {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			return append(password(s), "--listen.p2p", l.Addr().String())
		}, exitFailed, "rodd: listen.p2p: listen tcp 127.0.0.1:"},
		{"the socket's place is taken", func(s stage) []string {
			return append(password(s), "--listen.api", write(t, filepath.Join(s.dir, "taken"), "x"))
		}, exitFailed, "taken is there and is no socket"},
		{"the data folder is a file", func(s stage) []string {
			return []string{"--data-dir", write(t, filepath.Join(s.dir, "file"), "x")}
		}, exitConfig, "not a directory"},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := whole.copy(t)
			args := x.spoil(s)
			before := s.contents()
			status, out, errs := does(t, "", append([]string{"--data-dir", s.dir, "--listen.p2p", "127.0.0.1:0"}, args...)...)
			lines := strings.Split(strings.TrimSuffix(errs, "\n"), "\n")
			for len(lines) > 1 && strings.HasPrefix(lines[0], "{") { // the log, as JSON
				lines = lines[1:]
			}
			if status != x.status || out != "" || len(lines) != 1 || !strings.HasPrefix(lines[0], "rodd: ") || !strings.Contains(lines[0], x.line) {
				t.Fatalf("status %d, want %d %q\n%s%s", status, x.status, x.line, errs, out)
			}
			t.Logf("%d  %s", status, lines[0])
			after := s.contents()
			if strings.Contains(x.line, "listen.p2p") {
				// The node was at work when it came to listen: its database may have moved on, by its own rules. No file may come or go.
				for name := range before {
					before[name] = after[name]
				}
			}
			if !maps.Equal(before, after) {
				t.Fatalf("files have changed: %v, then %v", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
			}
		})
	}
	// The folder they are all copies of is as good as before.
	p := runRodd(t, whole.dir, "--seed.password-file", whole.password)
	if i := p.info(); i.ID != id || i.Height != 3 {
		t.Fatalf("%+v", i)
	}
}

// words are a seed that belongs to nobody.
var words = strings.Repeat("abandon ", 23) + "art"

// TestSignet: a node on signet has signet's addresses, invoices and folder, and takes neither an embedded chain nor an unencrypted seed. (Another
// network's bitcoind or database is refused in TestFailures.)
func TestSignet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "rodd.toml"), fmt.Sprintf("network = \"signet\"\n[chain]\nbackend = \"bitcoind\"\n[bitcoind]\naddr = %q\nuser = \"u\"\n",
		fakeBitcoind(t, &chaincfg.SigNetParams)))
	password := write(t, filepath.Join(dir, "password"), rightPassword)
	publisher, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	args := []string{"--config", file, "--seed.password-file", password, "--bitcoind.zmq", "tcp://" + publisher.Addr().String()}
	for _, x := range []struct {
		args   []string
		status int
		line   string
	}{
		{[]string{"config", "check"}, exitOK, ""},
		{[]string{"config", "check", "--chain.backend", "embedded"}, exitConfig, "chain.backend: embedded is for regtest, not signet"},
		{[]string{"config", "check", "--seed.no-encrypt"}, exitConfig, "seed.no-encrypt: for regtest only, not signet"},
		{[]string{"init", "--restore", "--data-dir", dir}, exitOK, ""},
	} {
		status, _, errs := does(t, words, append(x.args, args...)...)
		if status != x.status || !strings.Contains(errs, x.line) {
			t.Fatalf("%v: %d %s, want %d %q", x.args, status, errs, x.status, x.line)
		}
	}
	p := runRodd(t, dir, args...)
	subscriber, err := publisher.Accept()
	if err != nil {
		t.Fatal(err)
	}
	subscriber.Close() // it goes on polling
	var addr api.Address
	p.post("/wallet/addresses", nil, &addr)
	var inv api.Invoice
	p.post("/invoices", api.CreateInvoice{Amount: 1000, Description: "tea"}, &inv)
	if i := p.info(); i.Network != "signet" || i.Backend != "bitcoind" || !strings.HasPrefix(addr.Address, "tb1") || !strings.HasPrefix(inv.Text, "lntbs10n1") {
		t.Fatalf("%+v %v %v", i, addr, inv)
	}
	if status := p.end(); status != exitOK {
		t.Fatalf("%d %s", status, p.stderr)
	}
	if _, err := os.Stat(filepath.Join(dir, "signet", "node.db")); err != nil {
		t.Fatal(err)
	}
}
