package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"lightningrod/channel"
	"lightningrod/node/forward"
	"lightningrod/node/store"
	"lightningrod/rod"
)

// Rows made by hand: each is told in words, and its secrets are not.
func TestDumpRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.db")
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	secret := [32]byte(bytes.Repeat([]byte{0x5e}, 32))
	node := bytes.Repeat([]byte{2}, 33)
	key := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	one := store.ChannelKey(1)
	open := forward.Invoice{Hash: [32]byte{1}, Preimage: secret, Secret: secret, Amount: 21_000, Expiry: 1_700_000_000}
	paid := open
	paid.Hash, paid.State, paid.Received, paid.Preimage = [32]byte{2}, forward.InvoicePaid, 21_000, [32]byte{0xaa}
	in := channel.Forward{In: channel.Key{Channel: 1, HTLC: 7}}
	rows := []store.Op{
		{Table: store.Meta, Key: []byte("network"), Value: []byte("regtest")},
		{Table: store.Meta, Key: []byte("tip"), Value: key(store.ChannelKey(100), make([]byte, 32))},
		{Table: store.Peer, Key: node, Value: []byte("127.0.0.1:9735")},
		{Table: store.Invoice, Key: open.Hash[:], Value: forward.EncodeInvoice(&open)},
		{Table: store.Invoice, Key: paid.Hash[:], Value: forward.EncodeInvoice(&paid)},
		{Table: store.Settled, Key: channel.EncodeOrigin(in), Value: channel.EncodeOutcome(channel.Fulfill{Preimage: secret})},
		{Table: store.HTLC, Key: key(one, []byte{1}, one), Value: channel.EncodeHTLC(&channel.HTLC{Key: channel.Key{Channel: 1, HTLC: 1}, Amount: 5000, Expiry: 500, Origin: in})},
		{Table: store.Payment, Key: one, Value: forward.EncodePayment(&forward.Payment{ID: 1, Total: 21_000, Parts: []forward.Part{{Index: 1, Channel: 1, Amount: 21_100, Secrets: secret[:]}}})},
		{Table: store.Outbox, Key: one, Value: []byte(`{"client":"02","url":"https://push.example/token-5e5e","method":"lsps5.payment_incoming","params":"{}","created":1}`)},
		{Table: store.Payer, Key: one, Value: secret[:]},
		{Table: store.Payee, Key: bytes.Repeat([]byte{3}, 32), Value: secret[:]},
		{Table: store.Revoked, Key: key(one, one), Value: channel.EncodeRevoked(nil)},
	}
	if err := db.Commit([]store.Write{rows}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for file, args := range map[string][]string{
		"all.txt": {"dump", path, "--table"}, "all.jsonl": {"dump", path}, "keys.txt": {"dump", path, "--table", "--keys"},
		"meta.jsonl": {"dump", "--only", "meta,peer", path},
	} {
		var out, errs bytes.Buffer
		if status := run(t.Context(), args, &out, &errs); status != 0 {
			t.Fatalf("%v: status %d, %s", args, status, &errs)
		}
		golden(t, filepath.Join("testdata", "dump", file), out.String())
		for _, never := range []string{hex.EncodeToString(secret[:]), "token-5e5e"} {
			if strings.Contains(out.String(), never) {
				t.Errorf("%s has the secret %s", file, never)
			}
		}
	}
}

// A damaged row says so where it stands, and the others are shown all the same.
func TestDumpDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.db")
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	one, node, damaged := store.ChannelKey(1), bytes.Repeat([]byte{2}, 33), []byte("damaged")
	rows := []store.Op{{Table: store.Peer, Key: node, Value: []byte("127.0.0.1:9735")}}
	for table, key := range map[store.Table][]byte{
		store.Channel: one, store.HTLC: bytes.Repeat(one, 3)[:17], store.Request: bytes.Repeat(node, 2)[:65], store.Member: bytes.Repeat(one, 2),
		store.Mailbox: append(bytes.Clone(node), one...), store.Invoice: node[:32], store.Payment: one, store.Revoked: bytes.Repeat(one, 2),
		store.Settled: one, store.Announcement: one, store.ChannelUpdate: append(bytes.Clone(one), 0), store.NodeAnnouncement: node, store.Outbox: one,
		store.Device: append(bytes.Clone(node), 'w', 'x'),
	} {
		rows = append(rows, store.Op{Table: table, Key: key, Value: damaged})
	}
	if err := db.Commit([]store.Write{rows}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{"dump", path}, &out, &errs); status != 0 {
		t.Fatalf("status %d: %s", status, &errs)
	}
	if n := strings.Count(out.String(), `"unreadable":`); n != len(rows)-1 || !strings.Contains(out.String(), "127.0.0.1:9735") {
		t.Fatalf("%d of %d rows are unreadable:\n%s", n, len(rows)-1, &out)
	}
}

// Whatever a row holds, the dump goes on, and what it says is JSON.
func FuzzDumpRow(f *testing.F) {
	for _, t := range store.Tables() {
		f.Add(uint8(t), make([]byte, 33), []byte{1})
	}
	f.Add(uint8(store.Mailbox), make([]byte, 41), append([]byte{1}, make([]byte, 100)...))
	f.Add(uint8(store.Announcement), make([]byte, 8), make([]byte, 400))
	f.Fuzz(func(t *testing.T, table uint8, key, value []byte) {
		x := store.Table(table)
		if x == store.Channel && len(key) != 8 || len(key) == 0 {
			t.Skip("no such row can be stored")
		}
		d := &dumper{together: together{requests: map[string]rod.RequestInfo{}, members: map[string]rod.MemberInfo{}}}
		said, err := d.row(x, key, value)
		if err != nil {
			return
		}
		if _, err := json.Marshal(append(keyFacts(x, key), said...)); err != nil {
			t.Fatal(err)
		}
		_ = said.Write(new(bytes.Buffer))
	})
}
