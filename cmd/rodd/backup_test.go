package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lightningrod/cmd/internal/api"
)

// loss is alice's folder at the end, and what there is of before: three payments to bob were made since.
type loss struct {
	*town
	dir      string // alice's
	backup   string // file made by rodd backup, while she ran
	copied   string // file made by cp, while she did not
	folder   string // all of dir, at the same moment
	bob      *process
	coins    int64 // alice's, on the chain
	balance  int64 // sat: alice's in the channel
	numbered api.Number
}

func newLoss(t *testing.T) *loss {
	w := newTown(t)
	l := &loss{town: w, balance: capacity - push}
	l.dir, _ = w.settle()
	dirB, _ := w.settle()
	alice := w.run(l.dir)
	l.bob = w.run(dirB)
	w.fund(alice)
	l.numbered = w.open(alice, l.bob)
	pay(alice, l.bob, 10_000)
	status, out, errs := does(t, "", "backup", "--data-dir", l.dir, "--listen.api", alice.socket)
	if status != 0 {
		t.Fatalf("backup: %d %s", status, errs)
	}
	l.backup = strings.TrimSpace(out)
	alice.end()
	l.copied, l.folder = filepath.Join(t.TempDir(), "node.db"), t.TempDir()
	copyTo(t, filepath.Join(l.dir, "regtest", "node.db"), l.copied)
	if err := os.CopyFS(l.folder, os.DirFS(l.dir)); err != nil {
		t.Fatal(err)
	}
	alice = w.run(l.dir)
	connect(alice, l.bob)
	until(t, "a usable channel", func() bool { return alice.info().UsableCount > 0 && l.bob.info().UsableCount > 0 })
	for range 3 {
		pay(alice, l.bob, 10_000)
	}
	l.balance -= 40_000
	l.coins = alice.balance().Confirmed
	alice.end()
	return l
}

func copyTo(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(b))
}

// spoiled is a copy of alice's folder with another file, or none, in place of the database.
func (l *loss) spoiled(file string) (dir string) {
	l.t.Helper()
	dir = l.t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(l.dir)); err != nil {
		l.t.Fatal(err)
	}
	db := filepath.Join(dir, "regtest", "node.db")
	if err := os.Remove(db); err != nil {
		l.t.Fatal(err)
	}
	if file != "" {
		copyTo(l.t, file, db)
	}
	return dir
}

// TestOldDatabase: a node whose database was replaced by an older one does not start, says so in one line, and leaves the file as it is.
func TestOldDatabase(t *testing.T) {
	t.Parallel()
	l := newLoss(t)
	for _, x := range []struct {
		name, file string
		args       []string
		status     int
		line       string
	}{
		{"a backup", l.backup, nil, exitOld, "the file is a backup: put the newest node.db back, or give the channels up"},
		{"a copy", l.copied, nil, exitOld, "the database is an old copy: it has changed channels"},
		{"none", "", nil, exitOld, "node.db is missing"},
		{"a backup beside the newest", filepath.Join(l.dir, "regtest", "node.db"), []string{"restore", l.backup}, exitFailed, "is there, and is not replaced"},
		{"a backup that is no file", "", []string{"restore", l.folder}, exitFailed, "is no database"},
		{"a backup that is no database", "", []string{"restore", filepath.Join(l.dir, "regtest", "seed")}, exitFailed, "is not a database"},
		{"a backup of none", l.backup, []string{"backup"}, exitOld, "the file is a backup"},
	} {
		t.Run(x.name, func(t *testing.T) {
			l := *l
			l.town = &town{t, l.btc}
			s := stage{t: t, dir: l.spoiled(x.file)}
			s.net = filepath.Join(s.dir, "regtest")
			before := s.contents()
			status, _, errs := does(t, "", l.flags(append(x.args, "--data-dir", s.dir, "--listen.p2p=", "--log.level", "error")...)...)
			if status != x.status || !strings.Contains(errs, x.line) || strings.Count(errs, "\n") != 1 {
				t.Fatalf("status %d, want %d %q\n%s", status, x.status, x.line, errs)
			}
			t.Logf("%d  %s", status, strings.TrimSpace(errs))
			for name, was := range before {
				if s.contents()[name] != was {
					t.Errorf("%s has changed", name)
				}
			}
		})
	}
}

// TestRestoreDatabase: a node that goes on from an old database publishes nothing of its channel. Its peer closes, and it gets what the newest
// commitment gives it, not a satoshi less than the fees. That is so by consent (rodd restore), and also when all of the folder was put back, which
// nobody can see: then by what the peer proves.
func TestRestoreDatabase(t *testing.T) {
	if testing.Short() {
		t.Skip("many processes")
	}
	for _, x := range []struct {
		name    string
		place   func(l *loss) (dir string)
		restore []string // arguments of rodd restore; nil: it is not called
	}{
		{"a backup", func(l *loss) string { return l.spoiled("") }, []string{"BACKUP"}},
		{"a backup, and a crash before the lineage file is written", func(l *loss) string {
			dir := l.spoiled("")
			if status, _, errs := does(l.t, "", l.flags("restore", "--data-dir", dir, l.backup)...); status != 0 {
				l.t.Fatalf("restore: %d %s", status, errs)
			}
			copyTo(l.t, filepath.Join(l.dir, "regtest", "node.lineage"), filepath.Join(dir, "regtest", "node.lineage"))
			write(l.t, filepath.Join(dir, "regtest", "node.db.restoring"), "what a crash left")
			status, _, errs := does(l.t, "", l.flags("--data-dir", dir, "--listen.p2p=")...)
			if status != exitOld || !strings.Contains(errs, "not the database that this node ran on last") {
				l.t.Fatalf("%d %s", status, errs)
			}
			return dir
		}, []string{}},
		{"a backup in its place", func(l *loss) string { return l.spoiled(l.backup) }, []string{}},
		{"a copy in its place", func(l *loss) string { return l.spoiled(l.copied) }, []string{}},
		{"all of the folder, unnoticed", func(l *loss) string { return l.folder }, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			l := newLoss(t)
			dir := x.place(l)
			if x.restore != nil {
				args := []string{"restore", "--data-dir", dir}
				if len(x.restore) > 0 {
					args = append(args, l.backup)
				}
				status, out, errs := does(t, "", l.flags(args...)...)
				if status != 0 || !strings.Contains(out, "The database is in place.") {
					t.Fatalf("restore: %d %s%s", status, out, errs)
				}
			}
			l.closes(l.run(dir), x.restore != nil)
		})
	}
}

// closes has bob close, after which everybody has what is theirs.
func (l *loss) closes(alice *process, consent bool) {
	if consent {
		if c := alice.channels(); len(c) != 1 || c[0].Phase != "waiting" {
			l.t.Fatalf("%+v", c)
		}
		// Whatever the answer: nothing comes of it, as the balances show.
		_ = alice.Do(l.t.Context(), "POST", "/channels/"+l.numbered.String()+"/close", map[string]bool{"force": true}, nil, "")
		// She connects to bob by herself, and bob may be quick to close. Hers would be the old one, which has more for her.
		for _, tx := range l.btc.Mempool() {
			for _, out := range tx.TxOut {
				if out.Value > l.balance {
					l.t.Fatalf("alice has published: %v", tx)
				}
			}
		}
	}
	connect(alice, l.bob)
	until(l.t, "bob's close", func() bool { return len(l.btc.Mempool()) > 0 })
	if c := alice.channels(); len(c) != 1 || c[0].Phase != "waiting" {
		l.t.Errorf("alice's channels: %+v", c)
	}
	for i := 0; i < 80 && (alice.balance().Confirmed <= l.coins || l.bob.balance().Confirmed == 0); i++ {
		blocks := 1
		if i == 10 { // alice has hers: the most of what bob's to_self_delay asks
			blocks = 120
		}
		l.mine(blocks, nobodys, alice, l.bob)
	}
	const fees = 20_000 // of sweeps that were overtaken by blocks on a busy machine; the old commitment differs by 30,000
	if got := alice.balance().Confirmed - l.coins; got > l.balance || got < l.balance-fees {
		l.t.Errorf("alice gets %d sat, the newest commitment gives her %d", got, l.balance)
	}
	bobs := capacity - l.balance
	if got := l.bob.balance().Confirmed; got > bobs || got < bobs-fees {
		l.t.Errorf("bob gets %d sat, the newest commitment gives him %d", got, bobs)
	}
	if consent {
		var ref api.ChannelRef
		alice.post("/channels", api.OpenChannel{Peer: l.bob.info().ID, Capacity: 100_000}, &ref)
		if ref.Channel < 1<<42 {
			l.t.Errorf("the next channel is number %d, which may have been used before", ref.Channel)
		}
	}
}

// TestRestoreSeed: a node restored from its words is the same node with the same coins, wherever they were, if the birthday is none or right; its
// channels get numbers that were never used.
func TestRestoreSeed(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	dir, seedWords := w.settle()
	alice := w.run(dir)
	if _, err := os.Stat(filepath.Join(dir, "regtest", "seed.origin")); !os.IsNotExist(err) {
		t.Fatalf("the origin of the seed is still there: %v", err)
	}
	w.mine(150, nobodys, alice)
	born, _ := w.btc.Tip()
	w.fund(alice)
	first := alice.balance().Confirmed
	var a api.Address
	for range 19 { // the gap limit less one
		alice.post("/wallet/addresses", nil, &a)
	}
	w.mine(1, a.Address, alice)
	w.mine(100, nobodys, alice)
	until(t, "the second coin", func() bool { return alice.balance().Confirmed == 2*first })
	id, coins := alice.info().ID, 2*first
	if alice.end() != exitOK {
		t.Fatal(alice.stderr)
	}
	password := write(t, filepath.Join(t.TempDir(), "password"), rightPassword)
	sealed := func(args ...string) []string { // with a password this time
		return append([]string{"--chain.backend", "bitcoind", "--bitcoind.addr", w.btc.Access.Addr, "--bitcoind.cookie", w.btc.Access.Cookie,
			"--seed.password-file", password}, args...)
	}
	for _, x := range []struct {
		name string
		args []string
		want int64
	}{
		{"no birthday", nil, coins},
		{"its birthday", []string{"--birthday", api.Number(born).String()}, coins},
		{"a day late", []string{"--birthday", api.Number(born + 100).String()}, coins},
		{"too late", []string{"--birthday", api.Number(born + 200).String()}, coins / 2},
	} {
		t.Run(x.name, func(t *testing.T) {
			other := t.TempDir()
			status, _, errs := does(t, seedWords, sealed(append([]string{"init", "--restore", "--data-dir", other}, x.args...)...)...)
			if status != 0 {
				t.Fatalf("%d %s", status, errs)
			}
			p := runRodd(t, other, sealed()...)
			if i, b := p.info(), p.balance(); i.ID != id || b.Confirmed != x.want {
				t.Fatalf("%+v with %d sat, want %s with %d", i, b.Confirmed, id, x.want)
			}
			p.end()
		})
	}
	for _, x := range []struct{ words, line string }{
		{"", "0 given, need 24"},
		{seedWords + " more", "25 given"},
		{strings.Repeat("abandon ", 24), "checksum"},
	} {
		status, _, errs := does(t, x.words, sealed("init", "--restore", "--data-dir", t.TempDir())...)
		if status != exitSeed || !strings.Contains(errs, x.line) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%d %s, want %q", status, errs, x.line)
		}
	}
}
