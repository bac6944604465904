package peer

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/lightningnetwork/lnd/lnwire"
)

func TestParse(t *testing.T) {
	table := dispatch([]uint16{42827, 40000, 18})
	for _, v := range []struct {
		name string
		msg  string
		want fate
		fail string // part of the error
	}{
		{"empty", "", unknown, "no type"},
		{"one byte", "00", unknown, "no type"},
		{"unknown odd", "0007" + "0000", unknown, ""},
		{"unknown odd, high", "ffff", unknown, ""},
		{"unknown even", "0006", unknown, "unknown even type 6"},
		{"unknown even, custom range", "8000", unknown, "unknown even type 32768"},
		{"stfu, which lnwire knows and we do not", "0002" + strings.Repeat("00", 33), unknown, "unknown even type 2"},
		{"dyn_ack, the same but odd", "0071", unknown, ""},
		{"peer_storage", "0007" + "0001ff", unknown, ""},
		{"LSPS0", "9419" + "7b7d", raw, ""},
		{"a type wanted raw", "a74b" + "01", raw, ""},
		{"an even type wanted raw", "9c40", raw, ""},
		{"a control type wanted raw stays one", "0012" + "00000000", control, ""},
		{"warning", "0001" + strings.Repeat("00", 32) + "0002" + "6869", decoded, ""},
		{"warning cut short", "0001" + strings.Repeat("00", 32) + "0003" + "6869", decoded, "EOF"},
		{"update_fee", "0086" + strings.Repeat("00", 32) + "00000fa0", decoded, ""},
		{"update_fee cut short", "0086" + strings.Repeat("00", 32) + "000fa0", decoded, "EOF"},
		{"second init", "0010" + "00000000", control, ""},
	} {
		t.Run(v.name, func(t *testing.T) {
			b := fromHex(t, v.msg)
			m, f, err := parse(b, table)
			if (v.fail == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), v.fail) {
				t.Errorf("error %v, want %q", err, v.fail)
			}
			if f != v.want {
				t.Errorf("fate %d, want %d", f, v.want)
			}
			if (m.Msg != nil) != (v.want == decoded && v.fail == "") {
				t.Errorf("decoded to %v", m.Msg)
			}
			if len(b) >= 2 && !bytes.Equal(m.Raw, b[2:]) {
				t.Errorf("raw %x", m.Raw)
			}
		})
	}
}

// Each type that is to be decoded is one lnwire can decode.
func TestFatesAreDecodable(t *testing.T) {
	for typ, f := range fates {
		if f != decoded {
			continue
		}
		_, err := lnwire.MakeEmptyMessage(lnwire.MessageType(typ))
		if err != nil {
			t.Errorf("type %d: %v", typ, err)
		}
	}
}

func TestPing(t *testing.T) {
	for _, v := range []struct {
		payload string
		size    uint16
		answer  bool
		fail    bool
	}{
		{"0000" + "0000", 0, true, false},
		{"0008" + "0002ffff", 8, true, false},
		{"fffb" + "0000", 65531, true, false},
		{"fffc" + "0000", 65532, false, false},
		{"ffff" + "0000", 65535, false, false},
		{"0001" + "0000" + "c90101", 1, true, false}, // with an extension
		{"0001", 0, false, true},
		{"0001" + "0002ff", 0, false, true},
	} {
		size, answer, err := readPing(fromHex(t, v.payload))
		if (err != nil) != v.fail || answer != v.answer || answer && size != v.size {
			t.Errorf("%s: %d, %v, %v", v.payload, size, answer, err)
		}
		if answer {
			p := pong(size)
			if err := readPong(p); err != nil || len(p) != int(size)+2 || !bytes.Equal(p[2:], make([]byte, size)) {
				t.Errorf("pong %d: %d bytes, %v", size, len(p), err)
			}
		}
	}
}

func TestOutbox(t *testing.T) {
	o := newOutbox(100)
	if err := o.pushRaw(32769, make([]byte, 40)); err != nil { // 44 bytes with type and length
		t.Fatal(err)
	}
	if err := o.push([]lnwire.Message{&lnwire.Warning{Data: make([]byte, 10)}, &lnwire.Warning{}}); err == nil {
		t.Error("two messages beyond the limit accepted")
	}
	if got := o.waiting(); got != 44 {
		t.Errorf("%d bytes wait, want 44: all or none", got)
	}
	var batch bytes.Buffer
	o.take(&batch)
	if err := o.pushRaw(32769, make([]byte, 60)); err == nil {
		t.Error("bytes being written do not count")
	}
	if m := nextMessage(&batch); len(m) != 42 || binary.BigEndian.Uint16(m) != 32769 || batch.Len() != 0 {
		t.Errorf("message %x, %d bytes left", m, batch.Len())
	}
	o.wrote()
	if err := o.pushRaw(32769, make([]byte, 60)); err != nil {
		t.Error(err)
	}
	if err := o.pushRaw(1, make([]byte, 65534)); err == nil {
		t.Error("message of 65536 bytes accepted")
	}
	o.close()
	if err := o.pushRaw(32769, nil); err != ErrClosed {
		t.Errorf("after close: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for typ := range fates {
		f.Add(binary.BigEndian.AppendUint16(nil, typ))
		f.Add(append(binary.BigEndian.AppendUint16(nil, typ), make([]byte, 600)...))
	}
	for _, m := range []lnwire.Message{
		&lnwire.Warning{Data: []byte("w")}, &lnwire.UpdateFee{FeePerKw: 253}, &lnwire.UpdateAddHTLC{Amount: 1},
		&lnwire.Ping{NumPongBytes: 3}, &lnwire.ChannelUpdate1{}, &lnwire.GossipTimestampRange{TimestampRange: 7},
	} {
		var b bytes.Buffer
		if _, err := lnwire.WriteMessage(&b, m, 0); err == nil {
			f.Add(b.Bytes())
		}
	}
	table := dispatch([]uint16{42827})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxMessage {
			return
		}
		m, fate, err := parse(b, table)
		if err == nil && (m.Msg != nil) != (fate == decoded) {
			t.Errorf("type %d: fate %d, message %v", m.Type, fate, m.Msg)
		}
		if fate == control {
			_, _, _ = readPing(m.Raw)
			_ = readPong(m.Raw)
		}
		if m.Msg != nil && m.Msg.MsgType() != lnwire.MessageType(m.Type) {
			t.Errorf("type %d decoded as %v", m.Type, m.Msg.MsgType())
		}
		_ = saying(m.Msg)
	})
}
