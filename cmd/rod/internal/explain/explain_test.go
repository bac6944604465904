package explain

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"lightningrod/cmd/rod/internal/facts"
	"lightningrod/onion"
	"lightningrod/rod"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/lightningnetwork/lnd/lnwire"
	"pgregory.net/rapid"
)

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// lnwireTypes are all message types that lnwire can read.
func lnwireTypes(t testing.TB) map[lnwire.MessageType]lnwire.TestMessage {
	all := map[lnwire.MessageType]lnwire.TestMessage{}
	for typ := lnwire.MessageType(0); typ < lnwire.MsgEnd; typ++ {
		m, err := lnwire.MakeEmptyMessage(typ)
		if err != nil {
			continue
		}
		random, ok := m.(lnwire.TestMessage)
		if !ok {
			t.Errorf("lnwire cannot make a random %v", typ)
			continue
		}
		all[typ] = random
	}
	if len(all) < 40 {
		t.Fatalf("only %d types", len(all))
	}
	return all
}

// Every message that lnwire writes is read by the table to its last byte, and no record of it is unknown.
func TestAllMessages(t *testing.T) {
	for typ, empty := range lnwireTypes(t) {
		t.Run(typ.String(), func(t *testing.T) {
			read := 0
			for seed := range 30 {
				m := rapid.Custom(func(t *rapid.T) lnwire.Message { return empty.RandTestMessage(t) }).Example(seed)
				if o, ok := m.(*lnwire.OnionMessage); ok && len(o.OnionBlob) <= frame {
					continue
				}
				bare(m)
				var b bytes.Buffer
				if _, err := lnwire.WriteMessage(&b, m, 0); err != nil {
					continue // some of the random ones are none
				}
				f, err := Message(b.Bytes())
				if err != nil {
					t.Fatalf("seed %d: %v\n%x", seed, err, b.Bytes())
				}
				if text := string(must(json.Marshal(f))(t)); f.Get("name") != messages[uint16(typ)].name || strings.Contains(text, "unknown") {
					t.Fatalf("seed %d: %s", seed, text)
				}
				read++
			}
			if read < 3 {
				t.Errorf("only %d messages", read)
			}
		})
	}
}

// bare takes the records away that the random maker puts where anything may stand.
func bare(m lnwire.Message) {
	if u, ok := m.(*lnwire.ChannelUpdate1); ok {
		u.MessageFlags |= lnwire.ChanUpdateRequiredMaxHtlc // BOLT 7 has it always set
	}
	v := reflect.ValueOf(m).Elem()
	for _, name := range []string{"ExtraData", "ExtraOpaqueData", "CustomRecords", "ExtraSignedFields", "ExtraFieldsInSignature"} {
		if f := v.FieldByName(name); f.IsValid() && f.CanSet() {
			f.SetZero()
		}
	}
}

// The messages of Rod: every published vector, with its fields under their names.
func TestRodVectors(t *testing.T) {
	names := map[uint64]string{
		rod.TypeHold: "rod_hold", rod.TypeHoldAck: "rod_hold_ack", rod.TypeCancel: "rod_cancel", rod.TypeNotice: "rod_notice",
		rod.TypeReady: "rod_ready", rod.TypeStatus: "rod_status",
	}
	var vectors []struct {
		Name   string
		Type   uint64
		Fields map[string]any
		Hex    string
	}
	file := must(os.ReadFile("../../../../rod/testdata/vectors/messages.json"))(t)
	if err := json.Unmarshal(file, &vectors); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, v := range vectors {
		name, ok := names[v.Type]
		if !ok {
			continue
		}
		seen[name] = true
		// As it comes: a record of an onion message.
		record := onion.AppendRecord(nil, v.Type, must(hex.DecodeString(v.Hex))(t))
		all, err := Stream("onion_message", record)
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		f, _ := all.Get(name).(facts.Facts)
		for field, want := range v.Fields {
			text, isText := want.(string)
			if want == "" || want == 0.0 {
				continue // left out
			}
			if got := f.Get(field); got == nil || isText && len(text) == 64 && got != text {
				t.Errorf("%s: %s is %v, want %v", v.Name, field, got, want)
			}
		}
	}
	if len(seen) != len(names) {
		t.Errorf("vectors of %v only", seen)
	}
	if s := streams["update_add_htlc"][rod.TypeHoldHTLC].name; s != "rod_hold_htlc" {
		t.Error(s)
	}
	if s := streams["encrypted_data"][rod.TypeUnblock].name; s != "payment_unblock" {
		t.Error(s)
	}
}

// An onion that package onion has built is opened hop by hop, by keys and by shared secrets, as its router opens it.
func TestOnion(t *testing.T) {
	hash := [32]byte{7}
	var keys []*btcec.PrivateKey
	var hops []onion.PayHop
	for i := range 3 {
		key, pub := btcec.PrivKeyFromBytes(bytes.Repeat([]byte{byte(i + 1)}, 32))
		keys = append(keys, key)
		hops = append(hops, onion.PayHop{Node: [33]byte(pub.SerializeCompressed()), Amount: lnwire.MilliSatoshi(1000 - i), Cltv: uint32(500 - i),
			NextSCID: lnwire.NewShortChanIDFromInt(uint64(i + 1))})
	}
	secret := [32]byte{9}
	hops[2].PaymentSecret, hops[2].Total = &secret, 998
	packet, _, err := onion.Build([32]byte{5}, hops, hash)
	if err != nil {
		t.Fatal(err)
	}
	for i, key := range keys {
		hop, failure := onion.NewRouter(key).Peel(&packet, hash, nil)
		if failure != nil {
			t.Fatal(failure)
		}
		f, err := Onion(packet[:], Keys{Node: key, Hash: &hash})
		if err != nil {
			t.Fatal(err)
		}
		payload := f.Get("payload").(facts.Facts)
		if payload.Get("amt_to_forward") != uint64(hop.Amount) || payload.Get("outgoing_cltv_value") != uint64(hop.Cltv) || f.Get("final") != hop.Final {
			t.Fatalf("hop %d: %v, want %+v", i, f, hop)
		}
		shared := [32]byte(must(hex.DecodeString(f.Get("shared_secret").(string)))(t))
		again, err := Onion(packet[:], Keys{Secret: &shared})
		if err != nil || again.Get("hmac_checked") != false || again.Text("next_onion") != f.Text("next_onion") {
			t.Fatalf("by secret: %v, %v", again, err)
		}
		if _, err := Onion(packet[:], Keys{Node: key, Hash: &[32]byte{8}}); err == nil || !strings.Contains(err.Error(), "hmac") {
			t.Fatalf("another hash: %v", err)
		}
		if hop.Final {
			continue
		}
		if next := hex.EncodeToString(hop.Next[:]); f.Get("next_onion") != next {
			t.Fatalf("hop %d: next onion differs", i)
		}
		packet = hop.Next
	}
}

// An onion message along a blinded path that ends in a rod_hold: every node reads what it is told.
func TestOnionMessage(t *testing.T) {
	var keys []*btcec.PrivateKey
	var ids [][33]byte
	for i := range 2 {
		key, pub := btcec.PrivKeyFromBytes(bytes.Repeat([]byte{byte(i + 1)}, 32))
		keys, ids = append(keys, key), append(ids, [33]byte(pub.SerializeCompressed()))
	}
	pid := bytes.Repeat([]byte{3}, 32)
	path, err := onion.NewBlindedPath([32]byte{4}, []onion.PathNode{
		{Node: ids[0], Data: onion.EncryptedData{NextNode: &ids[1], Custom: []onion.Record{{Type: rod.TypeUnblock, Value: pid}}}},
		{Node: ids[1], Data: onion.EncryptedData{PathID: []byte("me")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if f, err := Path(must(path.Encode())(t)); err != nil || len(f.List("path")) != 2 {
		t.Fatalf("%v, %v", f, err)
	}
	hold := rod.HoldRequest{PidHash: [32]byte{1}, Hashes: [][32]byte{{2}}, TotalMsat: 21}
	msg, err := onion.BuildMessage([32]byte{6}, path, onion.MessagePayload{Reply: &path, Contents: []onion.Record{{Type: rod.TypeHold, Value: hold.Encode()}}})
	if err != nil {
		t.Fatal(err)
	}
	for i, key := range keys {
		var b bytes.Buffer
		if _, err := lnwire.WriteMessage(&b, msg, 0); err != nil {
			t.Fatal(err)
		}
		f, err := OnionMessage(b.Bytes(), Keys{Node: key})
		if err != nil {
			t.Fatal(err)
		}
		if again, err := OnionMessage(b.Bytes()[2:], Keys{Node: key}); err != nil || len(again) != len(f) {
			t.Fatalf("without its type: %v, %v", again, err)
		}
		data := f.Get("encrypted_data_tlv").(facts.Facts)
		hop, err := onion.NewRouter(key).PeelMessage(msg, rod.TypeHold)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if data.Get("payment_unblock") != hex.EncodeToString(pid) || f.Get("final") != false {
				t.Fatal(f)
			}
			msg = hop.Next
			continue
		}
		got := f.Get("payload").(facts.Facts).Get("rod_hold").(facts.Facts)
		if got.Get("total_msat") != uint64(21) || f.Get("final") != true || data.Text("path_id") != hex.EncodeToString([]byte("me")) {
			t.Fatal(f)
		}
		if f.Get("payload").(facts.Facts).Get("reply_path") == nil {
			t.Fatal("no reply path")
		}
	}
}

// The commitments of BOLT 3's vectors are what they are, and their number is 42.
func TestCommitments(t *testing.T) {
	var vectors []struct {
		Name                    string
		ExpectedCommitmentTxHex string
		HtlcDescs               []struct{ ResolutionTxHex string }
	}
	file := must(os.ReadFile("../../../../channel/commitment/testdata/bolt03-anchors.json"))(t)
	if err := json.Unmarshal(file, &vectors); err != nil {
		t.Fatal(err)
	}
	local := [33]byte(must(hex.DecodeString("034f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa"))(t))
	remote := [33]byte(must(hex.DecodeString("032c0b7cf95324a07d05398b240174dc0c2be444d96b159aa6c7f7b1e668680991"))(t))
	kinds := map[string]bool{}
	for _, v := range vectors {
		f, err := Tx(must(hex.DecodeString(v.ExpectedCommitmentTxHex))(t), &chaincfg.RegressionNetParams, &local, &remote)
		if err != nil || f.Get("kind") != "commitment transaction" || f.Get("commitment_number") != uint64(42) {
			t.Errorf("%s: %v, %v, %v", v.Name, f.Get("kind"), f.Get("commitment_number"), err)
		}
		for _, h := range v.HtlcDescs {
			f, err := Tx(must(hex.DecodeString(h.ResolutionTxHex))(t), &chaincfg.RegressionNetParams, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			kinds[f.Text("kind")] = true
		}
	}
	if len(kinds) != 2 || !kinds["HTLC-success transaction"] || !kinds["HTLC-timeout transaction"] {
		t.Error(kinds)
	}
}

// Every valid invoice of BOLT 11 is explained, every invalid one refused.
func TestInvoices(t *testing.T) {
	var vectors []struct {
		Name    string
		Valid   bool
		Invoice string
	}
	file := must(os.ReadFile("../../../../node/invoice/testdata/bolt11.json"))(t)
	if err := json.Unmarshal(file, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		f, err := Invoice(v.Invoice)
		if v.Valid != (err == nil) {
			t.Errorf("%s: %v", v.Name, err)
		}
		if v.Valid && len(f.Text("payment_hash")) != 64 {
			t.Errorf("%s: %v", v.Name, f)
		}
	}
	f := must(Invoice(string(bytes.TrimSpace(must(os.ReadFile("../../../../node/invoice/testdata/blip39.txt"))(t)))))(t)
	if text := fmt.Sprint(f); f.Text("payee") != "" || !strings.Contains(text, "first_path_key") || !strings.Contains(text, "02c75eb336a038294eaaf760158b2e851c3c0937262e35401ae64a1bee71a2e40c") {
		t.Errorf("blinded paths: %v", f)
	}
}

// What is wrong is said with its field, its place and the bound.
func TestRefused(t *testing.T) {
	net := &chaincfg.RegressionNetParams
	message := func(b []byte) error { _, err := Message(b); return err }
	unhexed := func(s string) []byte { return must(hex.DecodeString(s))(t) }
	for _, x := range []struct {
		name string
		err  error
		want string
	}{
		{"no type", message([]byte{1}), "type at byte 0: 2 bytes wanted, 1 left"},
		{"short", message(unhexed("0086" + strings.Repeat("00", 33))), "update_fee: feerate_per_kw at byte 34: 4 bytes wanted, 1 left"},
		{"point", message(unhexed("0024" + strings.Repeat("00", 65))), "channel_ready: second_per_commitment_point at byte 34: 0000"},
		{"sigs", message(unhexed("0084" + strings.Repeat("00", 96) + "ffff")), "commitment_signed: htlc_signature at byte 100: 65535 signatures of 64 bytes wanted, 0 bytes left"},
		{"order", message(unhexed("0010" + "00000000" + "0301ff0100")), "init: tlvs.tlv type at byte 10: type 1 is not above 3"},
		{"tlv order", message(unhexed("0012" + "00000000" + "05000300")), "ping: tlv type at byte 9: type 3 is not above 5"},
		{"tlv length", message(unhexed("0012" + "00000000" + "05ff")), "ping: tlv 5 length at byte 8: 8 bytes wanted, 0 left"},
		{"tlv long", message(unhexed("0012" + "00000000" + "0510")), "ping: tlv 5 length at byte 8: 16 bytes wanted, 0 left"},
		{"bigsize", message(unhexed("0012" + "00000000" + "fd0001")), "ping: tlv type at byte 6: bigsize 1 is not minimal: below 253"},
		{"trailing", message(unhexed("0027" + strings.Repeat("00", 104) + "0111" + strings.Repeat("00", 17))), "closing_signed: tlvs.fee_range at byte 124: 1 bytes too many"},
		{"onion", second(Onion(make([]byte, 1365), Keys{})), "onion_routing_packet: 1365 bytes, want 1366"},
		{"message onion", second(OnionMessage(unhexed("02"+strings.Repeat("79", 32)), Keys{})), "onion_message: path_key"},
		{"invoice", second(Invoice("lnxyz")), "begins like none"},
		{"invoice checksum", second(Invoice("lnbcrt1pvjluez")), "invoice"},
		{"scid", second(ShortChannelID("16777216x1x1")), "block \"16777216\" is not a number below 16777216"},
		{"scid text", second(ShortChannelID("1x2")), "neither BLOCKxTXxOUTPUT nor a number"},
		{"node", second(Node("02ff")), "node id: 2 bytes, want 33"},
		{"node point", second(Node(strings.Repeat("00", 33))), "not a point"},
		{"port", second(Node("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798@h:0")), "port \"0\" outside 1..65535"},
		{"path", second(Path(unhexed("00" + strings.Repeat("00", 8)))), "blinded_path: first_path_key at byte 9: 33 bytes wanted, 0 left"},
		{"tx counts", second(Tx(unhexed("02000000feffffffff"), net, nil, nil)), "transaction: inputs at byte 9: 4294967295 of at least 41 bytes wanted, 0 bytes left"},
		{"tx", second(Tx(unhexed("0200000000"), net, nil, nil)), "transaction: inputs at byte 5: there are none"},
		{"hex", second(Bytes("0g")), "input: 'g' at character 1 is no hex digit"},
		{"odd", second(Bytes("abc")), "3 hex digits: an odd number"},
		{"stream", second(Stream("nothing", nil)), "no TLV stream \"nothing\""},
	} {
		if x.err == nil || !strings.Contains(x.err.Error(), x.want) {
			t.Errorf("%s: %v, want %s", x.name, x.err, x.want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Any finds out what a text is.
func TestAny(t *testing.T) {
	for text, want := range map[string]string{
		"100x1x0": "scid", "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798": "node",
		"0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798@[::1]:9735": "node",
		"0x00120000 0000":                 "message",
		"00" + strings.Repeat("02", 1365): "onion",
	} {
		what, f, err := Any(text, &chaincfg.RegressionNetParams)
		if what != want || err != nil || len(f) == 0 {
			t.Errorf("%.20s: %s, %v", text, what, err)
		}
	}
}

// Nothing that can be given makes it panic, and what it says is JSON and text.
func FuzzExplain(f *testing.F) {
	for _, m := range lnwireTypes(f) {
		var b bytes.Buffer
		if _, err := lnwire.WriteMessage(&b, rapid.Custom(func(t *rapid.T) lnwire.Message { return m.RandTestMessage(t) }).Example(1), 0); err == nil {
			f.Add(b.Bytes())
		}
	}
	f.Add([]byte("lnbcrt1pvjluez"))
	f.Add([]byte("100x1x0"))
	key, _ := btcec.PrivKeyFromBytes([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		net := &chaincfg.RegressionNetParams
		show := func(x facts.Facts, err error) {
			if err != nil {
				return
			}
			if _, err := json.Marshal(x); err != nil {
				t.Fatal(err)
			}
			if err := x.Write(new(bytes.Buffer)); err != nil {
				t.Fatal(err)
			}
		}
		show(Message(b))
		show(Path(b))
		show(OnionMessage(b, Keys{Node: key}))
		show(Tx(b, net, nil, nil))
		show(Invoice(string(b)))
		show(ShortChannelID(string(b)))
		show(Node(string(b)))
		for _, name := range Streams() {
			show(Stream(name, b))
		}
		_, x, err := Any(string(b), net)
		show(x, err)
		padded := make([]byte, htlcOnion)
		copy(padded, b)
		show(Onion(padded, Keys{Secret: &[32]byte{1}}))
		show(Onion(padded, Keys{Node: key, PathKey: b[:min(33, len(b))], Hash: &[32]byte{}}))
	})
}
