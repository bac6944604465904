package rod

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// hexed turns the byte arrays of a message into hex, for people to read.
func hexed(v any) any {
	switch v := v.(type) {
	case [32]byte:
		return hex.EncodeToString(v[:])
	case NodeID:
		return hex.EncodeToString(v[:])
	case [64]byte:
		return hex.EncodeToString(v[:])
	case []byte:
		return hex.EncodeToString(v)
	case [][32]byte:
		out := []any{}
		for _, h := range v {
			out = append(out, hexed(h))
		}
		return out
	case AckStatus:
		return uint8(v)
	case StatusState:
		return uint8(v)
	}
	return v
}

// fieldsOf names a message's fields as PROTOCOL.md does.
func fieldsOf(m any) json.RawMessage {
	var f map[string]any
	switch m := m.(type) {
	case HoldRequest:
		f = map[string]any{"pid_hash": m.PidHash, "payment_hashes": m.Hashes, "total_msat": m.TotalMsat, "release_deadline": m.Deadline,
			"expected_parts": m.ExpectedParts, "armed_ttl_seconds": m.ArmedTTL}
		if m.Payer != (NodeID{}) {
			f["payer_id"], f["signature"] = m.Payer, m.Signature
		}
	case Ack:
		f = map[string]any{"pid_hash": m.PidHash, "status": m.Status, "release_deadline": m.Deadline, "armed_until": m.ArmedUntil,
			"min_cltv_delta": m.MinCltvDelta, "max_held_msat": m.MaxHeldMsat, "reason": m.Reason}
	case CancelRequest:
		f = map[string]any{"pid_hash": m.PidHash, "payer_id": m.Payer, "signature": m.Signature}
	case Notice:
		f = map[string]any{"pid": m.Pid, "payment_hashes": m.Hashes, "amount_msat": m.AmountMsat, "release_deadline": m.Deadline}
		if m.Payer != (NodeID{}) {
			f["lsp_id"], f["payer_id"], f["lsp_address"] = m.LSP, m.Payer, m.LSPAddress
		}
	case Ready:
		f = map[string]any{"payment_hashes": m.Hashes}
	case Status:
		f = map[string]any{"pid_hash": m.PidHash, "state": m.State, "height": m.Height, "held_parts": m.HeldParts, "held_msat": m.HeldMsat,
			"claim_height": m.ClaimHeight}
	case HoldTLV:
		f = map[string]any{"pid_hash": m.PidHash, "release_deadline": m.Deadline}
	}
	for k, v := range f {
		f[k] = hexed(v)
	}
	b, err := json.Marshal(f)
	if err != nil {
		panic(err)
	}
	return b
}

type pidVector struct {
	Pid     string `json:"pid"` // also the value of payment_unblock
	PidHash string `json:"pid_hash"`
	Record  string `json:"payment_unblock_record"` // type, length and value, as in encrypted_data_tlv
}

type signatureVector struct {
	Name       string `json:"name"`
	PrivateKey string `json:"private_key"`
	PayerID    string `json:"payer_id"`
	LSPID      string `json:"lsp_id"`
	Tag        string `json:"tag"`
	Signed     string `json:"signed"` // the stream's bytes before the signature
	Digest     string `json:"digest"`
	Signature  string `json:"signature"` // with auxiliary randomness of 32 zero bytes
	Payload    string `json:"payload"`
}

func pidVectors() (out []pidVector) {
	for _, p := range [][32]byte{pid("1"), pid("2"), {31: 1}} {
		out = append(out, pidVector{hex.EncodeToString(p[:]), hexed(PidHash(p)).(string), hex.EncodeToString(appendRecord(nil, TypeUnblock, p[:]))})
	}
	return out
}

func signatureVectors(t testing.TB) (out []signatureVector) {
	lsp := node("lsp")
	for _, name := range []string{"even", "odd"} {
		k := key(name)
		h, err := SignHold(k, lsp, ask())
		if err != nil {
			t.Fatal(err)
		}
		c, err := SignCancel(k, lsp, CancelRequest{PidHash: h.PidHash})
		if err != nil {
			t.Fatal(err)
		}
		hb, hn := h.encode()
		cb, cn := c.encode()
		y := map[byte]string{2: "even", 3: "odd"}[h.Payer[0]]
		add := func(message string, b []byte, n int, sig [64]byte) {
			d := digest(message, lsp, b[:n])
			out = append(out, signatureVector{message + ", payer_id with " + y + " y", hex.EncodeToString(k.Serialize()), hexed(h.Payer).(string),
				hexed(lsp).(string), "lightning" + message + "signature", hex.EncodeToString(b[:n]), hexed(d).(string),
				hexed(sig).(string), hex.EncodeToString(b)})
		}
		add(holdName, hb, hn, h.Signature)
		add(cancelName, cb, cn, c.Signature)
	}
	return out
}

// refusals are streams that must be refused: the message, what is wrong, the bytes, and a part of our error.
func refusals(t testing.TB) (out []vector) {
	s := samples(t)
	hold := s["rod_hold: all fields, odd y"].(HoldRequest).Encode()
	unsigned := s["rod_hold: over LSPS0, not signed"].(HoldRequest)
	notice := s["rod_notice: payee unblocks"].(Notice)
	add := func(name string, b []byte, err string) {
		out = append(out, vector{Name: name, Hex: hex.EncodeToString(b), Error: err})
	}
	head := append([]byte{1, 1, 1, 2, 32}, bytes.Repeat([]byte{7}, 32)...) // version and pid_hash
	hashes := append([]byte{4, 32}, bytes.Repeat([]byte{8}, 32)...)
	with := func(more ...byte) []byte { return slices.Concat(head, hashes, more) }

	add("rod_hold: empty", nil, "field 1 missing")
	add("rod_hold: version 2", slices.Concat([]byte{1, 1, 2}, head[3:], hashes), "version 02 is not 1")
	add("rod_hold: pid_hash of zeros", slices.Concat(head[:5], make([]byte, 32), hashes), "all zeros")
	add("rod_hold: pid_hash of 31 bytes", slices.Concat([]byte{1, 1, 1, 2, 31}, make([]byte, 31), hashes), "length 31 is not 32")
	add("rod_hold: no hashes", slices.Concat(head, []byte{4, 0}), "length 0 is not 1 to 20 hashes")
	add("rod_hold: hashes missing", head, "field 4 missing")
	add("rod_hold: 33 bytes of hashes", slices.Concat(head, []byte{4, 33}, make([]byte, 33)), "length 33 is not 1 to 20 hashes")
	add("rod_hold: 21 hashes", slices.Concat(head, []byte{4, 0xfd, 2, 0xa0}, make([]byte, 21*32)), "length 672 is not 1 to 20 hashes")
	add("rod_hold: a hash twice", slices.Concat(head, []byte{4, 64}, make([]byte, 64)), "a hash stands twice")
	add("rod_hold: unknown even type 22", with(22, 0), "unknown even type 22")
	add("rod_hold: types not in order", slices.Concat(hashes, head), "not above")
	add("rod_hold: total_msat with a leading zero", with(6, 2, 0, 1), "leading zeros")
	add("rod_hold: total_msat of 9 bytes", with(6, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1), "length 9 above maximum 8")
	add("rod_hold: release_deadline of 5 bytes", with(8, 5, 1, 1, 1, 1, 1), "length 5 above maximum 4")
	add("rod_hold: expected_parts of 3 bytes", with(11, 3, 1, 1, 1), "length 3 above maximum 2")
	add("rod_hold: length above what is left", with(6, 9, 1), "above the")
	add("rod_hold: length not minimal", with(6, 0xfd, 0, 1, 1), "not minimal")
	add("rod_hold: payer_id is no point", slices.Concat(with(20, 33, 2), bytes.Repeat([]byte{0xff}, 32)), "not a point")
	add("rod_hold: payer_id without signature", slices.Concat(unsigned.Encode(), appendRecord(nil, 20, hexNode(node("A")))), "do not come together")
	add("rod_hold: signature without payer_id", slices.Concat(unsigned.Encode(), appendRecord(nil, 240, bytes.Repeat([]byte{1}, 64))), "do not come together")
	add("rod_hold: an odd record after the signature", slices.Concat(hold, []byte{0xf1, 0}), "type 241 after the signature")
	add("rod_hold: an even record after the signature", slices.Concat(hold, []byte{0xf2, 0}), "unknown even type 242")
	add("rod_cancel: without pid_hash", nil, "field 2 missing")
	add("rod_hold_ack: without status", head, "field 4 missing")
	add("rod_hold_ack: reason not UTF-8", slices.Concat(head, []byte{4, 1, 0, 13, 1, 0xff}), "not UTF-8")
	add("rod_notice: lsp_id without payer_id", slices.Concat(Notice{Pid: pid("1"), Hashes: notice.Hashes, AmountMsat: 1, LSP: notice.LSP}.Encode()), "do not come together")
	add("rod_notice: lsp_address of unknown type", Notice{Pid: pid("1"), Hashes: notice.Hashes, AmountMsat: 1, LSPAddress: []byte{9}}.Encode(), "descriptor type 9 unknown")
	add("rod_notice: lsp_address cut short", Notice{Pid: pid("1"), Hashes: notice.Hashes, AmountMsat: 1, LSPAddress: []byte{1, 2}}.Encode(), "length 2 is not 7")
	add("rod_ready: without hashes", nil, "field 2 missing")
	add("rod_status: state of 2 bytes", slices.Concat(head[3:], []byte{4, 2, 0, 0}), "length 2 is not 1")
	add("rod_hold_htlc: 35 bytes", make([]byte, 35), "length 35 is not 36")
	add("rod_hold_htlc: pid_hash of zeros", make([]byte, 36), "pid_hash is zero")
	return out
}

func hexNode(n NodeID) []byte { return n[:] }

func messageVectors(t testing.TB) (out []vector) {
	s := samples(t)
	for _, name := range slices.Sorted(maps.Keys(s)) {
		b := codecs[messageOf(name)].encode(s[name])
		out = append(out, vector{Name: name, Type: typeOf[messageOf(name)], Fields: fieldsOf(s[name]), Hex: hex.EncodeToString(b)})
	}
	return out
}

// TestVectors checks the vectors of PROTOCOL.md against the code. -rewrite makes them anew.
func TestVectors(t *testing.T) {
	if *rewrite {
		writeVectors(t, "messages.json", messageVectors(t))
		writeVectors(t, "pid.json", pidVectors())
		writeVectors(t, "signatures.json", signatureVectors(t))
		writeVectors(t, "refused.json", refusals(t))
	}
	if diff := cmp.Diff(readVectors[pidVector](t, "pid.json"), pidVectors()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(readVectors[signatureVector](t, "signatures.json"), signatureVectors(t)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(readVectors[vector](t, "refused.json"), refusals(t)); diff != "" {
		t.Error(diff)
	}
	for _, v := range readVectors[vector](t, "messages.json") {
		t.Run(v.Name, func(t *testing.T) {
			c := codecs[messageOf(v.Name)]
			m, err := c.decode(unhex(t, v.Hex))
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(c.encode(m)); got != v.Hex {
				t.Errorf("encoded %s", got)
			}
			var want, got map[string]any
			if err := json.Unmarshal(v.Fields, &want); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(fieldsOf(m), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if v.Type != typeOf[messageOf(v.Name)] || v.Type%2 == 0 {
				t.Errorf("type %d", v.Type)
			}
		})
	}
	for _, v := range readVectors[signatureVector](t, "signatures.json") {
		verify := VerifyHold
		if strings.HasPrefix(v.Name, cancelName) {
			verify = VerifyCancel
		}
		if err := verify(unhex(t, v.Payload), NodeID(unhex(t, v.LSPID)), NodeID(unhex(t, v.PayerID))); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
}
