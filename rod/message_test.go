package rod

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// vector is one test vector: a message, its fields as JSON, and its bytes.
type vector struct {
	Name   string          `json:"name"`
	Type   uint64          `json:"type,omitempty"`
	Fields json.RawMessage `json:"fields,omitempty"`
	Hex    string          `json:"hex"`
	Error  string          `json:"error,omitempty"` // why it is refused
}

// codec lets a message be tested without its type.
type codec struct {
	decode func([]byte) (any, error)
	encode func(any) []byte
}

var codecs = map[string]codec{
	"rod_hold":      {func(b []byte) (any, error) { return DecodeHold(b) }, func(m any) []byte { return m.(HoldRequest).Encode() }},
	"rod_hold_ack":  {func(b []byte) (any, error) { return DecodeAck(b) }, func(m any) []byte { return m.(Ack).Encode() }},
	"rod_cancel":    {func(b []byte) (any, error) { return DecodeCancel(b) }, func(m any) []byte { return m.(CancelRequest).Encode() }},
	"rod_notice":    {func(b []byte) (any, error) { return DecodeNotice(b) }, func(m any) []byte { return m.(Notice).Encode() }},
	"rod_ready":     {func(b []byte) (any, error) { return DecodeReady(b) }, func(m any) []byte { return m.(Ready).Encode() }},
	"rod_status":    {func(b []byte) (any, error) { return DecodeStatus(b) }, func(m any) []byte { return m.(Status).Encode() }},
	"rod_hold_htlc": {func(b []byte) (any, error) { return DecodeHoldTLV(b) }, func(m any) []byte { return m.(HoldTLV).Encode() }},
}

var typeOf = map[string]uint64{"rod_hold": TypeHold, "rod_hold_ack": TypeHoldAck, "rod_cancel": TypeCancel, "rod_notice": TypeNotice,
	"rod_ready": TypeReady, "rod_status": TypeStatus, "rod_hold_htlc": TypeHoldHTLC}

// samples are the messages of the vectors, by "message: what is special".
func samples(t testing.TB) map[string]any {
	full := HoldRequest{PidHash: PidHash(pid("1")), Hashes: [][32]byte{hash("1"), hash("2")}, TotalMsat: 250_000_000,
		Deadline: 850_432, ExpectedParts: 3, ArmedTTL: 1200}
	even, err := SignHold(key("even"), node("lsp"), HoldRequest{PidHash: PidHash(pid("1")), Hashes: [][32]byte{hash("1")}})
	if err != nil {
		t.Fatal(err)
	}
	odd, err := SignHold(key("odd"), node("lsp"), full)
	if err != nil {
		t.Fatal(err)
	}
	cancel, err := SignCancel(key("odd"), node("lsp"), CancelRequest{PidHash: PidHash(pid("1"))})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"rod_hold: least, payer_id with even y": even,
		"rod_hold: all fields, odd y":           odd,
		"rod_hold: over LSPS0, not signed":      full,
		"rod_cancel: odd y":                     cancel,
		"rod_hold_ack: ok": Ack{PidHash: PidHash(pid("1")), Deadline: 850_000, ArmedUntil: 1_800_000_000, MinCltvDelta: 144,
			MaxHeldMsat: 1_000_000_000},
		"rod_hold_ack: over a limit": Ack{PidHash: PidHash(pid("1")), Status: AckLimit, MinCltvDelta: 144, Reason: "20 armed requests"},
		"rod_notice: reply path unblocks": Notice{Pid: pid("1"), Hashes: [][32]byte{hash("1")}, AmountMsat: 250_000_000,
			Deadline: 850_432},
		"rod_notice: payee unblocks": Notice{Pid: pid("1"), Hashes: [][32]byte{hash("1"), hash("2")}, AmountMsat: 1, LSP: node("lsp"),
			Payer: node("odd"), Deadline: 850_432, LSPAddress: []byte{1, 127, 0, 0, 1, 0x26, 0x07}},
		"rod_ready: two hashes":  Ready{[][32]byte{hash("1"), hash("2")}},
		"rod_status: armed":      Status{PidHash: PidHash(pid("1"))},
		"rod_status: settled":    Status{PidHash(pid("1")), StatusSettled, 850_010, 2, 251_000_000, 850_900},
		"rod_hold_htlc: default": HoldTLV{PidHash: PidHash(pid("1"))},
		"rod_hold_htlc: asked":   HoldTLV{PidHash(pid("1")), 850_432},
	}
}

func messageOf(name string) string { return strings.SplitN(name, ":", 2)[0] }

func TestSamplesRoundTrip(t *testing.T) {
	for name, m := range samples(t) {
		c := codecs[messageOf(name)]
		b := c.encode(m)
		got, err := c.decode(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(m, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readVectors[T any](t testing.TB, name string) (out []T) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata/vectors", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func writeVectors(t testing.TB, name string, v any) {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("testdata/vectors", name), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestRefused: "unknown even types refused, strict order", and every bound of a field.
func TestRefused(t *testing.T) {
	for _, v := range readVectors[vector](t, "refused.json") {
		t.Run(v.Name, func(t *testing.T) {
			_, err := codecs[messageOf(v.Name)].decode(unhex(t, v.Hex))
			if err == nil || !strings.Contains(err.Error(), v.Error) {
				t.Errorf("error %v, want %s", err, v.Error)
			}
		})
	}
}

func TestUnknownOddIsSkipped(t *testing.T) {
	b := append(Status{PidHash: hash("x")}.Encode(), 0xfd, 1, 1, 3, 1, 2, 3)
	m, err := DecodeStatus(b)
	if err != nil || m.PidHash != hash("x") {
		t.Errorf("%v %v", m, err)
	}
}

func TestHoldTLVIn(t *testing.T) {
	m := HoldTLV{hash("x"), 7}
	stream := appendRecord(appendRecord(nil, 0, make([]byte, 33)), TypeHoldHTLC, m.Encode())
	if got := HoldTLVIn(stream); got == nil || *got != m {
		t.Errorf("got %v", got)
	}
	if got := HoldTLVIn(appendRecord(nil, 65537, []byte{1})); got != nil {
		t.Errorf("got %v of a stream without it", got)
	}
	if got := HoldTLVIn(appendRecord(nil, TypeHoldHTLC, []byte{1})); got == nil || *got != (HoldTLV{}) {
		t.Errorf("unreadable gives %v, want the zero HoldTLV", got)
	}
}

// TestSignature: "The key is the x-only form of payer_id; all 33 bytes are compared with the peer's node id."
func TestSignature(t *testing.T) {
	lsp := node("lsp")
	m, err := SignHold(key("odd"), lsp, ask())
	if err != nil {
		t.Fatal(err)
	}
	if m.Payer[0] != 3 {
		t.Fatal("the key of this test has an even y")
	}
	b := m.Encode()
	twin := m.Payer
	twin[0] = 2
	twinPayload := bytes.Replace(b, m.Payer[:], twin[:], 1)
	changed := bytes.Clone(b)
	changed[5]++
	c, err := SignCancel(key("odd"), lsp, CancelRequest{m.PidHash, m.Payer, m.Signature})
	if err != nil {
		t.Fatal(err)
	}
	withOdd := append(bytes.Clone(b), 0xf1, 0)
	for _, c := range []struct {
		name string
		err  error
		ok   bool
	}{
		{"signed by the peer", VerifyHold(b, lsp, m.Payer), true},
		{"another peer", VerifyHold(b, lsp, node("A")), false},
		{"the peer with the other y", VerifyHold(b, lsp, twin), false},
		{"payer_id replaced by its twin", VerifyHold(twinPayload, lsp, twin), false},
		{"for another LSP", VerifyHold(b, node("other"), m.Payer), false},
		{"changed", VerifyHold(changed, lsp, m.Payer), false},
		{"a record after the signature", VerifyHold(withOdd, lsp, m.Payer), false},
		{"as a cancel", VerifyCancel(b, lsp, m.Payer), false},
		{"a cancel", VerifyCancel(c.Encode(), lsp, m.Payer), true},
		{"a cancel as a hold", VerifyHold(c.Encode(), lsp, m.Payer), false},
		{"nothing", VerifyHold(nil, lsp, m.Payer), false},
	} {
		if (c.err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, c.err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for name, m := range samples(f) {
		f.Add(codecs[messageOf(name)].encode(m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, c := range codecs {
			m, err := c.decode(b)
			if err != nil {
				continue
			}
			// Unknown odd records and empty integers go; what is left is stable.
			again, err := c.decode(c.encode(m))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if diff := cmp.Diff(m, again); diff != "" {
				t.Fatalf("%s: %s", name, diff)
			}
		}
		HoldTLVIn(b)
		_, _ = PayerOf(b)
		_, _ = DecodeUnblock(b)
		_ = VerifyHold(b, node("lsp"), node("A"))
	})
}

func FuzzRows(f *testing.F) {
	d := disk{}
	tb, _ := Load(DefaultConfig(node("lsp")))
	for _, ev := range []Event{Tick{1000}, Block{100}, signed("A", ask()), Member{htlc()}, cancelled("A", PidHash(pid("2")))} {
		d.write(tb.Apply(ev).Rows)
	}
	for _, r := range d.rows() {
		f.Add(r.Key, r.Value)
	}
	f.Add(make([]byte, 8), (&payment{Start: start()}).encode())
	n := notice{Notice: Notice{Pid: pid("1"), Hashes: [][32]byte{hash("1")}, AmountMsat: 5}, replyPath: []byte{1}}
	k := PidHash(n.Pid)
	f.Add(k[:], n.encode())
	f.Add(make([]byte, 41), Letter{From: node("A"), Arrived: 5, Message: []byte("x")}.encode())
	f.Fuzz(func(t *testing.T, key, b []byte) {
		same := func(name string, err error, again func() []byte) {
			if err == nil && !bytes.Equal(again(), b) {
				t.Fatalf("%s: %x becomes %x", name, b, again())
			}
		}
		r, err := decodeRequest(requestKey{}, b)
		same("request", err, func() []byte { return r.encode() })
		m, err := decodeMember(HTLCKey{}, b)
		same("member", err, func() []byte { return m.encode() })
		u, err := decodeTombstone(b)
		same("tombstone", err, func() []byte { return encodeTombstone(u) })
		l, err := decodeLetter(b)
		same("letter", err, func() []byte { return l.encode() })
		y, err := decodePayment(b)
		same("payment", err, func() []byte { return y.encode() })
		n, err := decodeNoticeRow(b)
		same("notice", err, func() []byte { return n.encode() })
		for _, table := range []string{TableRequest, TableMember, TableTombstone} {
			_, _ = Load(DefaultConfig(node("lsp")), Row{table, key, b})
		}
		_, _ = LoadMailbox(DefaultMailboxConfig(), Row{TableMailbox, key, b})
		_, _ = LoadPayer(Row{TablePayer, key, b})
		_, _ = LoadPayee(Row{TablePayee, key, b})
	})
}
