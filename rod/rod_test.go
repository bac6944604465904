package rod

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"crypto/sha256"

	"github.com/btcsuite/btcd/btcec/v2"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files and vectors anew")

// key gives a private key for a name, node its node id, hash and pid 32 bytes.
func key(name string) *btcec.PrivateKey {
	h := sha256.Sum256([]byte("key " + name))
	k, _ := btcec.PrivKeyFromBytes(h[:])
	return k
}

func node(name string) NodeID { return NodeID(key(name).PubKey().SerializeCompressed()) }

func hash(name string) [32]byte { return sha256.Sum256([]byte("hash " + name)) }

func pid(name string) [32]byte { return sha256.Sum256([]byte("pid " + name)) }

// disk is the rows as a database would have them.
type disk map[string]Row

func (d disk) write(rows []Row) {
	for _, r := range rows {
		k := r.Table + string(r.Key)
		if r.Value == nil {
			delete(d, k)
		} else {
			d[k] = r
		}
	}
}

func (d disk) rows() []Row {
	var out []Row
	for _, k := range slices.Sorted(maps.Keys(d)) {
		out = append(out, d[k])
	}
	return out
}

// box is a table with its disk. Every event is checked: rows stand once, they are what the table is, and Load gives the table back.
type box struct {
	t     testing.TB
	cfg   Config
	table *Table
	disk  disk
}

func newBox(t testing.TB, change func(*Config)) *box {
	cfg := DefaultConfig(node("lsp"))
	if change != nil {
		change(&cfg)
	}
	b := &box{t: t, cfg: cfg, disk: disk{}}
	var err error
	if b.table, err = Load(cfg); err != nil {
		t.Fatal(err)
	}
	b.apply(Tick{1000})
	b.apply(Block{100})
	return b
}

func (b *box) apply(ev Event) Output {
	b.t.Helper()
	out := b.table.Apply(ev)
	seen := map[string]bool{}
	for _, r := range out.Rows {
		if k := r.Table + string(r.Key); seen[k] {
			b.t.Fatalf("%T writes row %s %x twice", ev, r.Table, r.Key)
		} else {
			seen[k] = true
		}
	}
	b.disk.write(out.Rows)
	b.check()
	return out
}

func (b *box) check() {
	b.t.Helper()
	want := describe(b.table)
	again, err := Load(b.cfg, b.disk.rows()...)
	if err != nil {
		b.t.Fatalf("load: %v", err)
	}
	if got := describe(again); got != want {
		b.t.Fatalf("loaded:\n%s\nis not:\n%s", got, want)
	}
}

// restart makes the table of its rows.
func (b *box) restart() {
	b.t.Helper()
	old := b.table
	var err error
	if b.table, err = Load(b.cfg, b.disk.rows()...); err != nil {
		b.t.Fatal(err)
	}
	b.apply(Tick{old.now})
	b.apply(Block{old.height})
	for peer := range old.up {
		b.apply(PeerUp{peer})
	}
}

// describe is everything durable in a table, and its indices.
func describe(t *Table) string {
	var s strings.Builder
	for _, r := range t.sortedRequests() {
		fmt.Fprintf(&s, "request %x %x members", r.requestKey.encode(), r.encode())
		for _, m := range r.members {
			fmt.Fprintf(&s, " %v", m.key)
		}
		s.WriteString("\n")
	}
	for _, m := range t.sortedMembers() {
		fmt.Fprintf(&s, "member %v %x\n", m.key, m.encode())
	}
	for _, peer := range slices.SortedFunc(maps.Keys(t.tombs), compareNodes) {
		for _, p := range slices.SortedFunc(maps.Keys(t.tombs[peer]), func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) }) {
			fmt.Fprintf(&s, "tombstone %x %x %d\n", peer[:4], p[:4], t.tombs[peer][p])
		}
	}
	var index []string
	for k, r := range t.byHash {
		index = append(index, fmt.Sprintf("hash %x %x %x", k.Peer, k.Hash, r.pid))
	}
	for p, rs := range t.byPid {
		for _, r := range rs {
			index = append(index, fmt.Sprintf("pid %x %x", p, r.peer))
		}
	}
	slices.Sort(index)
	return s.String() + strings.Join(index, "\n") + fmt.Sprint("\n", t.total)
}

// signed is a Requested by onion message.
func signed(name string, m HoldRequest) Requested {
	m, err := SignHold(key(name), node("lsp"), m)
	if err != nil {
		panic(err)
	}
	return Requested{Peer: node(name), HasChannel: true, Payload: m.Encode(), ReplyPath: []byte("path of " + name)}
}

// cancelled is a CancelRequested by onion message.
func cancelled(name string, pidHash [32]byte) CancelRequested {
	m, err := SignCancel(key(name), node("lsp"), CancelRequest{PidHash: pidHash})
	if err != nil {
		panic(err)
	}
	return CancelRequested{Peer: node(name), HasChannel: true, Payload: m.Encode()}
}

// ask is the plain request of these tests: A asks to hold hash 1 under pid 1.
func ask() HoldRequest {
	return HoldRequest{PidHash: PidHash(pid("1")), Hashes: [][32]byte{hash("1")}, Deadline: 400}
}

// htlc is a plain HTLC of A with hash 1, id 0 on channel 7, that can be held.
func htlc() HTLC {
	return HTLC{Channel: 7, ID: 0, Peer: node("A"), Hash: hash("1"), Amount: 1000, Expiry: 1000, OutAmount: 990, OutExpiry: 800}
}

// ackOf reads the ack in an output.
func ackOf(t testing.TB, out Output) Ack {
	t.Helper()
	for _, r := range out.Replies {
		if r.Type == TypeHoldAck {
			a, err := DecodeAck(r.Payload)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
	}
	t.Fatal("no ack")
	return Ack{}
}

// statuses reads the states told in an output.
func statuses(t testing.TB, out Output) (s []StatusState) {
	t.Helper()
	for _, r := range out.Replies {
		if r.Type == TypeStatus {
			m, err := DecodeStatus(r.Payload)
			if err != nil {
				t.Fatal(err)
			}
			s = append(s, m.State)
		}
	}
	return s
}

// offer judges an HTLC and makes it a member if it is to be one.
func (b *box) offer(h HTLC) (Verdict, Output) {
	b.t.Helper()
	before := describe(b.table)
	v := b.table.Judge(h, b.table.height)
	if describe(b.table) != before {
		b.t.Fatal("Judge changed the table")
	}
	var out Output
	if v.Member {
		out = b.apply(Member{h})
	}
	return v, out
}
