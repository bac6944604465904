package octets

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/wire"
)

func TestFields(t *testing.T) {
	b := []byte{7, 0, 1, 1, 2, 3, 4, 0, 0, 0, 2, 'o', 'k', 0, 0, 0, 2, 5, 6}
	r := Of(b)
	r.Version(7)
	var no, yes bool
	r.Bools(&no, &yes)
	if v := r.Uint32(); no || !yes || v != 0x01020304 {
		t.Error(no, yes, v)
	}
	if v := r.Bytes(); string(v) != "ok" {
		t.Errorf("%q", v)
	}
	if n := r.Count(1); n != 2 || r.Uint16() != 0x0506 || r.End() != nil {
		t.Error(n, r.Err)
	}
}

// The first error stays, and what is read after it is zero.
func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   []byte
		read func(*Reader)
		want string
	}{
		{"short", []byte{1}, func(r *Reader) { r.Uint16() }, "too short: 2 bytes wanted, 1 left"},
		{"the first stays", []byte{2}, func(r *Reader) { r.Bool(); r.Uint64() }, "bool 2 above maximum 1"},
		{"version", []byte{2}, func(r *Reader) { r.Version(1) }, "version 2, expected 1"},
		{"enum", []byte{4}, func(r *Reader) { r.Enum("stage", 3) }, "stage 4 above maximum 3"},
		{"length", []byte{0xff, 0xff, 0xff, 0xff, 1}, func(r *Reader) { r.Bytes() }, "too short: 4294967295 bytes wanted, 1 left"},
		{"count", []byte{0xff, 0xff, 0xff, 0xff, 1}, func(r *Reader) { r.Count(1 << 30) }, "4294967295 items of 1073741824 bytes or more in 1 bytes"},
		{"left over", []byte{1, 2}, func(r *Reader) { r.Uint8() }, "1 bytes left over"},
	} {
		r := Of(tc.in)
		tc.read(&r)
		if err := r.End(); err == nil || err.Error() != tc.want {
			t.Errorf("%s: %v, expected %q", tc.name, err, tc.want)
		}
		if r.Err != nil && tc.name != "left over" && (r.Uint8() != 0 || r.Take(0) != nil) {
			t.Errorf("%s: something was read after the error", tc.name)
		}
	}
}

// BOLT 1 "Appendix A: BigSize Test Vectors".
func TestBigSize(t *testing.T) {
	for _, tc := range []struct {
		value uint64
		bytes string
		err   string
	}{
		{0, "00", ""}, {252, "fc", ""}, {253, "fd00fd", ""}, {65535, "fdffff", ""}, {65536, "fe00010000", ""},
		{4294967295, "feffffffff", ""}, {4294967296, "ff0000000100000000", ""}, {18446744073709551615, "ffffffffffffffffff", ""},
		{0, "fd00fc", "minimal"}, {0, "fe0000ffff", "minimal"}, {0, "ff00000000ffffffff", "minimal"},
		{0, "fd00", "short"}, {0, "feffff", "short"}, {0, "ffffffffff", "short"}, {0, "", "short"}, {0, "fd", "short"}, {0, "fe", "short"}, {0, "ff", "short"},
	} {
		raw, err := hex.DecodeString(tc.bytes)
		if err != nil {
			t.Fatal(err)
		}
		r := Of(raw)
		v := r.BigSize()
		switch err := r.End(); {
		case tc.err == "" && (err != nil || v != tc.value || !bytes.Equal(AppendBigSize(nil, v), raw)):
			t.Errorf("%s: %d, %v", tc.bytes, v, err)
		case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
			t.Errorf("%s: %d, %v, expected %s", tc.bytes, v, err, tc.err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 9, 1, 0xfd, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := Of(b)
		v, n, yes := r.Bytes(), r.BigSize(), r.Bool()
		if r.End() != nil {
			return
		}
		if again := AppendBool(AppendBigSize(AppendBytes(nil, v), n), yes); !bytes.Equal(again, b) {
			t.Fatalf("%x becomes %x", b, again)
		}
	})
}

func TestTx(t *testing.T) {
	tx := &wire.MsgTx{Version: 2, TxIn: []*wire.TxIn{{Sequence: 7, Witness: wire.TxWitness{{1}, nil}}}, TxOut: []*wire.TxOut{{Value: 5}}}
	out := wire.OutPoint{Hash: [32]byte{1}, Index: 3}
	b := AppendTx(AppendTx(AppendOutPoint(nil, out), tx), nil)
	r := Of(b)
	if o, got, none := r.OutPoint(), r.Tx(), r.Tx(); o != out || got == nil || got.WitnessHash() != tx.WitnessHash() || none != nil || r.End() != nil {
		t.Error(o, got, none, r.Err)
	}
	for i := 40; i < len(b)-4; i++ {
		wrong := bytes.Clone(b)
		wrong[i] ^= 0x80
		r := Of(wrong)
		if o, got := r.OutPoint(), r.Tx(); r.Err == nil && !bytes.Equal(AppendTx(AppendOutPoint(nil, o), got), wrong[:len(wrong)-4]) {
			t.Errorf("byte %d: another encoding of the same", i)
		}
	}
}
