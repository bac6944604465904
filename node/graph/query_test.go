package graph

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/lightningnetwork/lnd/lnwire"
)

// queryVector is one of BOLT 7's vectors.
type queryVector struct {
	Hex string
	Msg struct {
		Type                          string
		ChainHash                     string
		FirstBlockNum, NumberOfBlocks uint32
		Complete                      uint8
		ShortChannelIds               struct {
			Array    []string
			Encoding string
		}
		Timestamps struct {
			Timestamps []struct{ Timestamp1, Timestamp2 uint32 }
		}
		Checksums struct {
			Checksums []struct{ Checksum1, Checksum2 uint32 }
		}
		TLVStream struct {
			Records []json.RawMessage
		}
	}
}

func TestQueryVectors(t *testing.T) {
	data, err := os.ReadFile("testdata/extended-queries.json")
	must(t, err)
	var vectors []queryVector
	must(t, json.Unmarshal(data, &vectors))
	if len(vectors) != 10 {
		t.Fatalf("%d vectors", len(vectors))
	}
	for i, v := range vectors {
		zlib := strings.Contains(v.Msg.ShortChannelIds.Encoding+fmt.Sprint(v.records()), "ZLIB")
		t.Run(fmt.Sprintf("%d %s zlib=%v", i, v.Msg.Type, zlib), func(t *testing.T) {
			raw, err := hex.DecodeString(v.Hex)
			must(t, err)
			q, err := ParseQuery(uint16(raw[0])<<8|uint16(raw[1]), raw[2:])
			if zlib {
				if err == nil || !strings.Contains(err.Error(), "encoding type 1, only 0 is known") {
					t.Fatalf("error %v", err)
				}
				return
			}
			must(t, err)
			if diff := cmp.Diff(v.query(t), q); diff != "" {
				t.Fatalf("(-vector +parsed)\n%s", diff)
			}
			m := q.Message()
			if got := append([]byte{byte(m.Type >> 8), byte(m.Type)}, m.Body...); !bytes.Equal(got, raw) {
				t.Fatalf("encoded %x", got)
			}
		})
	}
}

func (v *queryVector) records() (all []string) {
	for _, r := range v.Msg.TLVStream.Records {
		all = append(all, string(r))
	}
	return all
}

// query is what the vector says in words.
func (v *queryVector) query(t *testing.T) Query {
	var ids []lnwire.ShortChannelID
	for _, text := range v.Msg.ShortChannelIds.Array {
		var id lnwire.ShortChannelID
		_, err := fmt.Sscanf(text, "%dx%dx%d", &id.BlockHeight, &id.TxIndex, &id.TxPosition)
		must(t, err)
		ids = append(ids, id)
	}
	var chain [32]byte
	_, err := hex.Decode(chain[:], []byte(v.Msg.ChainHash))
	must(t, err)
	switch v.Msg.Type {
	case "QueryChannelRange":
		q := &QueryChannelRange{Chain: chain, First: v.Msg.FirstBlockNum, Number: v.Msg.NumberOfBlocks}
		if strings.Contains(fmt.Sprint(v.records()), "WANT_TIMESTAMPS | WANT_CHECKSUMS") {
			q.Options = WantTimestamps | WantChecksums
		}
		return q
	case "ReplyChannelRange":
		r := &ReplyChannelRange{Chain: chain, First: v.Msg.FirstBlockNum, Number: v.Msg.NumberOfBlocks, Complete: v.Msg.Complete == 1, SCIDs: ids}
		for _, p := range v.Msg.Timestamps.Timestamps {
			r.Timestamps = append(r.Timestamps, [2]uint32{p.Timestamp1, p.Timestamp2})
		}
		for _, p := range v.Msg.Checksums.Checksums {
			r.Checksums = append(r.Checksums, [2]uint32{p.Checksum1, p.Checksum2})
		}
		return r
	case "QueryShortChannelIds":
		q := &QueryShortChannelIDs{Chain: chain, SCIDs: ids}
		for _, r := range v.Msg.TLVStream.Records {
			var flags struct{ Array []uint64 }
			must(t, json.Unmarshal(r, &flags))
			q.Flags = flags.Array
		}
		return q
	}
	t.Fatalf("type %s", v.Msg.Type)
	return nil
}

func TestBadQueriesAreRefused(t *testing.T) {
	c := hex.EncodeToString(chain[:])
	tests := []struct {
		name string
		typ  uint16
		hex  string
		want string
	}{
		{"short", 263, c, "first_blocknum: 4 bytes needed"},
		{"no blocks", 263, c + "0000000000000000", "number_of_blocks 0"},
		{"ids not whole", 261, c + "0008" + "00" + "00000000000001", "not whole"},
		{"unknown encoding", 261, c + "0009" + "02" + "0000000000000002", "encoding type 2"},
		{"a flag too few", 261, c + "0011" + "00" + "0000000000000001" + "0000000000000002" + "01020001", "1 query_flags for 2"},
		{"flag not minimal", 261, c + "0009" + "00" + "0000000000000001" + "010400fd0001", "not minimally encoded"},
		{"timestamps too few", 264, c + "0000000000000001" + "01" + "0009" + "00" + "0000000000000001" + "01050000000001", "4 bytes for 1"},
		{"checksums too many", 264, c + "0000000000000001" + "01" + "0001" + "00" + "03080000000000000000", "8 bytes for 0"},
		{"even tlv", 263, c + "0000000000000001" + "0200", "tlv 2 is even"},
		{"tlvs not ascending", 263, c + "0000000000000001" + "03000300", "tlv type 3 after 3"},
		{"tlv too long", 263, c + "0000000000000001" + "03ff00000001000000000000", "bytes left"},
		{"not a query", 260, c, "not a gossip query"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			raw, err := hex.DecodeString(test.hex)
			must(t, err)
			if _, err := ParseQuery(test.typ, raw); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatal(err)
			}
		})
	}
}

func FuzzParseQuery(f *testing.F) {
	data, err := os.ReadFile("testdata/extended-queries.json")
	must(f, err)
	var vectors []queryVector
	must(f, json.Unmarshal(data, &vectors))
	for _, v := range vectors {
		raw, err := hex.DecodeString(v.Hex)
		must(f, err)
		f.Add(uint16(raw[0])<<8|uint16(raw[1]), raw[2:])
	}
	f.Add(uint16(TypeTimestampFilter), (&TimestampFilter{chain, 1, 2}).Message().Body)
	f.Add(uint16(TypeReplyShortChannelIDsEnd), (&ReplyShortChannelIDsEnd{chain, true}).Message().Body)
	f.Fuzz(func(t *testing.T, typ uint16, body []byte) {
		q, err := ParseQuery(typ, body)
		if err != nil {
			return
		}
		// Unknown odd TLVs and bytes behind messages without TLVs are dropped, so only the second round is exact.
		m := q.Message()
		again, err := ParseQuery(m.Type, m.Body)
		must(t, err)
		if diff := cmp.Diff(q, again); diff != "" {
			t.Fatal(diff)
		}
		if second := again.Message(); !bytes.Equal(second.Body, m.Body) {
			t.Fatalf("%x, then %x", m.Body, second.Body)
		}
	})
}
