package onion

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/lightningnetwork/lnd/lnwire"
)

type bigSizeVector struct {
	Name  string   `json:"name"`
	Value uint64   `json:"value"`
	Bytes hexBytes `json:"bytes"`
	Error string   `json:"exp_error"`
}

func TestBigSizeDecode(t *testing.T) {
	for _, v := range load[[]bigSizeVector](t, "bolt01/bigsize-decode.json") {
		t.Run(v.Name, func(t *testing.T) {
			c := cursor{b: v.Bytes}
			got := c.bigSize()
			if failed := c.bad != ""; failed != (v.Error != "") || got != v.Value || len(c.b) > 0 {
				t.Errorf("got %d, %q, %d bytes left", got, c.bad, len(c.b))
			}
		})
	}
}

func TestBigSizeEncode(t *testing.T) {
	for _, v := range load[[]bigSizeVector](t, "bolt01/bigsize-encode.json") {
		t.Run(v.Name, func(t *testing.T) {
			same(t, "bigsize", appendBigSize(nil, v.Value), v.Bytes)
			if n := bigSizeLen(v.Value); n != len(v.Bytes) {
				t.Errorf("length %d, want %d", n, len(v.Bytes))
			}
		})
	}
}

// n1 and n2 are the namespaces of BOLT 1, appendix B.
type n1 struct {
	tlv1 *uint64
	tlv2 *lnwire.ShortChannelID
	tlv3 *n1tlv3
	tlv4 *uint16
}

type n1tlv3 struct {
	node   [33]byte
	amount [2]uint64
}

var n1Fields = fields[n1]{
	1:   func(n *n1, c *cursor) { n.tlv1 = ref(c.tu64()) },
	2:   func(n *n1, c *cursor) { n.tlv2 = ref(c.shortChannelID()) },
	3:   func(n *n1, c *cursor) { n.tlv3 = &n1tlv3{c.point(), [2]uint64{c.uint(8), c.uint(8)}} },
	254: func(n *n1, c *cursor) { n.tlv4 = ref(uint16(c.uint(2))) },
}

func (n n1) String() string {
	switch {
	case n.tlv1 != nil:
		return fmt.Sprintf("`tlv1` `amount_msat`=%d", *n.tlv1)
	case n.tlv2 != nil:
		return fmt.Sprintf("`tlv2` `scid`=%dx%dx%d", n.tlv2.BlockHeight, n.tlv2.TxIndex, n.tlv2.TxPosition)
	case n.tlv3 != nil:
		return fmt.Sprintf("`tlv3` `node_id`=%x `amount_msat_1`=%d `amount_msat_2`=%d",
			n.tlv3.node, n.tlv3.amount[0], n.tlv3.amount[1])
	case n.tlv4 != nil:
		return fmt.Sprintf("`tlv4` `cltv_delta`=%d", *n.tlv4)
	}
	return ""
}

type n2 struct {
	tlv1 uint64
	tlv2 uint32
}

var n2Fields = fields[n2]{
	0:  func(n *n2, c *cursor) { n.tlv1 = c.tu64() },
	11: func(n *n2, c *cursor) { n.tlv2 = c.tu32() },
}

func decodeN1(stream []byte) (n n1, err error) {
	_, err = n1Fields.decode(stream, &n)
	return n, err
}

func decodeN2(stream []byte) (n n2, err error) {
	_, err = n2Fields.decode(stream, &n)
	return n, err
}

func TestTLVStream(t *testing.T) {
	type vector struct {
		Stream      hexBytes `json:"stream"`
		Reason      string   `json:"reason"`
		Explanation string   `json:"explanation"`
		Values      string   `json:"values"`
	}
	v := load[struct {
		Any     []vector `json:"invalid_in_any_namespace"`
		Both    []vector `json:"invalid_in_n1_and_n2"`
		N1      []vector `json:"invalid_in_n1"`
		Ignored []vector `json:"ignored_in_n1_and_n2"`
		Valid   []vector `json:"valid_in_n1"`
		OrderN1 []vector `json:"invalid_order_in_n1"`
		OrderN2 []vector `json:"invalid_order_in_n2"`
	}](t, "bolt01/tlv.json")
	each := func(group string, vectors []vector, check func(t *testing.T, v vector)) {
		for _, v := range vectors {
			name := fmt.Sprintf("%s/%x %s%s%s", group, []byte(v.Stream[:min(len(v.Stream), 20)]), v.Reason, v.Explanation, v.Values)
			t.Run(name, func(t *testing.T) { check(t, v) })
		}
	}
	invalid := func(t *testing.T, what string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("valid: %s", what)
		}
	}
	each("any", v.Any, func(t *testing.T, v vector) {
		_, err := ParseRecords(v.Stream)
		invalid(t, "records", err)
		_, err = decodeN1(v.Stream)
		invalid(t, "n1", err)
		_, err = decodeN2(v.Stream)
		invalid(t, "n2", err)
	})
	each("both", v.Both, func(t *testing.T, v vector) {
		_, err := decodeN1(v.Stream)
		invalid(t, "n1", err)
		_, err = decodeN2(v.Stream)
		invalid(t, "n2", err)
	})
	each("n1", v.N1, func(t *testing.T, v vector) {
		_, err := decodeN1(v.Stream)
		invalid(t, "n1", err)
	})
	each("order n1", v.OrderN1, func(t *testing.T, v vector) {
		_, err := decodeN1(v.Stream)
		invalid(t, "n1", err)
		_, err = ParseRecords(v.Stream)
		invalid(t, "records", err)
	})
	each("order n2", v.OrderN2, func(t *testing.T, v vector) {
		_, err := decodeN2(v.Stream)
		invalid(t, "n2", err)
	})
	each("ignored", v.Ignored, func(t *testing.T, v vector) {
		equal(t, "n1", must[n1](t)(decodeN1(v.Stream)).String(), "")
		if n := must[n2](t)(decodeN2(v.Stream)); n != (n2{}) {
			t.Errorf("n2 %+v", n)
		}
		same(t, "again", must[[]byte](t)(EncodeRecords(must[[]Record](t)(ParseRecords(v.Stream)))), v.Stream)
	})
	each("valid", v.Valid, func(t *testing.T, v vector) {
		equal(t, "n1", must[n1](t)(decodeN1(v.Stream)).String(), v.Values)
		same(t, "again", must[[]byte](t)(EncodeRecords(must[[]Record](t)(ParseRecords(v.Stream)))), v.Stream)
	})

	t.Run("valid then invalid", func(t *testing.T) {
		for _, a := range append(v.Valid, v.Ignored...) {
			for _, b := range append(v.Any, v.N1...) {
				_, err := decodeN1(append(bytes.Clone(a.Stream), b.Stream...))
				invalid(t, fmt.Sprintf("%x %x", a.Stream, b.Stream), err)
			}
		}
	})
	t.Run("valid then valid", func(t *testing.T) {
		for _, a := range append(v.Valid, v.Ignored...) {
			for _, b := range append(v.Valid, v.Ignored...) {
				ra, rb := must[[]Record](t)(ParseRecords(a.Stream)), must[[]Record](t)(ParseRecords(b.Stream))
				rises := len(ra) == 0 || len(rb) == 0 || ra[0].Type < rb[0].Type
				if _, err := decodeN1(append(bytes.Clone(a.Stream), b.Stream...)); (err == nil) != rises {
					t.Errorf("%x %x: %v", a.Stream, b.Stream, err)
				}
			}
		}
	})
}

func TestInitExtension(t *testing.T) {
	type vector struct {
		Message hexBytes `json:"message"`
		Comment string   `json:"comment"`
	}
	v := load[struct{ Valid, Invalid []vector }](t, "bolt01/init-extension.json")
	// The types of init_tlvs; what they hold does not matter here.
	type extension struct{}
	opaque := func(_ *extension, c *cursor) { c.rest() }
	initTLVs := fields[extension]{1: opaque, 3: opaque}
	check := func(vectors []vector, valid bool) {
		for _, v := range vectors {
			t.Run(fmt.Sprintf("%x %s", []byte(v.Message), v.Comment), func(t *testing.T) {
				const base = 2 + 2 + 2 // type and two empty feature fields
				if _, err := initTLVs.decode(v.Message[base:], new(extension)); (err == nil) != valid {
					t.Errorf("want valid %v: %v", valid, err)
				}
			})
		}
	}
	check(v.Valid, true)
	check(v.Invalid, false)
}

// No field of BOLT 4 is a signed integer, so this says only that Go's conversion is the encoding of BOLT 1.
func TestSignedIntegers(t *testing.T) {
	for _, v := range load[[]struct {
		Value int64    `json:"value"`
		Bytes hexBytes `json:"bytes"`
	}](t, "bolt01/signed-integers.json") {
		t.Run(fmt.Sprint(v.Value), func(t *testing.T) {
			c := cursor{b: v.Bytes}
			shift := 64 - 8*len(v.Bytes)
			if got := int64(c.uint(len(v.Bytes))<<shift) >> shift; got != v.Value {
				t.Errorf("decoded %d", got)
			}
			wide := binary.BigEndian.AppendUint64(nil, uint64(v.Value))
			same(t, "encoded", wide[8-len(v.Bytes):], v.Bytes)
		})
	}
}

func TestEncodeRecordsOrder(t *testing.T) {
	for _, records := range [][]Record{{{2, nil}, {1, nil}}, {{1, nil}, {1, nil}}} {
		if _, err := EncodeRecords(records); err == nil {
			t.Errorf("%v encoded", records)
		}
	}
}
