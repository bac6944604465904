package onion

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/lightningnetwork/lnd/lnwire"
)

func session(i int) [32]byte { return [32]byte{0x10, byte(i), 31: 1} }

func nodes(of ...int) (ids [][33]byte) {
	for _, i := range of {
		ids = append(ids, testNode(i))
	}
	return ids
}

// follow peels a message at the nodes in turn, checks that each sends it to the next, and returns the last hop.
func follow(t *testing.T, m *lnwire.OnionMessage, route ...int) *MessageHop {
	t.Helper()
	for i, node := range route {
		hop := must[*MessageHop](t)(NewRouter(testKey(node)).PeelMessage(m))
		if last := i == len(route)-1; last || hop.Final {
			if !last || !hop.Final {
				t.Fatalf("message ends at node %d", node)
			}
			return hop
		}
		if hop.NextNode == nil || *hop.NextNode != testNode(route[i+1]) {
			t.Fatalf("node %d sends it to %x, want node %d", node, hop.NextNode, route[i+1])
		}
		if len(hop.Next.OnionBlob) != len(m.OnionBlob) {
			t.Fatalf("packet of %d bytes became %d", len(m.OnionBlob), len(hop.Next.OnionBlob))
		}
		m = hop.Next
	}
	return nil
}

const (
	typeUnblock = 1380926497 // payment_unblock
	typeNotice  = 1380926473 // rod_notice
	typeReady   = 1380926475 // rod_ready
)

// Steps 4 to 7 of Lightning Rod: A's notice carries a reply path through LSP_a, whose data has payment_unblock; B's
// reply takes it from LSP_b on.
func TestReplyPathCarriesUnblock(t *testing.T) {
	const a, lspA, lspB, b = 0, 1, 2, 3
	pid := Record{typeUnblock, bytes.Repeat([]byte{0x77}, 32)}
	reply := must[BlindedPath](t)(NewBlindedPath(session(1), []PathNode{
		{testNode(lspA), EncryptedData{NextNode: ref(testNode(a)), Custom: []Record{pid}}},
		{testNode(a), EncryptedData{PathID: []byte("notice")}},
	}))
	equal(t, "lengths of data", len(reply.Hops[0].Data), len(reply.Hops[1].Data))

	notice := MessagePayload{Reply: &reply, Contents: []Record{{typeNotice, []byte("to B")}}}
	toB := must[BlindedPath](t)(PathTo(session(2), nodes(lspA, lspB, b), EncryptedData{}))
	got := follow(t, must[*lnwire.OnionMessage](t)(BuildMessage(session(3), toB, notice)), lspA, lspB, b)
	equal(t, "contents at B", got.Contents, notice.Contents)
	equal(t, "reply path at B", got.Reply, &reply)
	if got.Data.PathID != nil || got.Data.Custom != nil {
		t.Errorf("B sees %+v", got.Data)
	}

	// B knows how to reach LSP_a, the path's first node.
	ready := MessagePayload{Contents: []Record{{typeReady, []byte("to A")}}}
	back := must[BlindedPath](t)(JoinPath(session(4), nodes(lspB), *got.Reply))
	m := must[*lnwire.OnionMessage](t)(BuildMessage(session(5), back, ready))
	equal(t, "size", len(m.OnionBlob), 1366)

	hop := must[*MessageHop](t)(NewRouter(testKey(lspB)).PeelMessage(m))
	equal(t, "next of LSP_b", hop.NextNode, ref(testNode(lspA)))
	equal(t, "what LSP_b reads beside", hop.Data.Custom, []Record(nil))
	same(t, "path_key for LSP_a", hop.Next.PathKey.SerializeCompressed(), reply.PathKey[:])

	hop = must[*MessageHop](t)(NewRouter(testKey(lspA)).PeelMessage(hop.Next))
	equal(t, "next of LSP_a", hop.NextNode, ref(testNode(a)))
	equal(t, "what LSP_a reads", hop.Data.Custom, []Record{pid})
	equal(t, "contents at LSP_a", hop.Contents, []Record(nil))

	end := must[*MessageHop](t)(NewRouter(testKey(a)).PeelMessage(hop.Next))
	equal(t, "A is the end", end.Final, true)
	equal(t, "path_id at A", string(end.Data.PathID), "notice")
	equal(t, "contents at A", end.Contents, ready.Contents)
	equal(t, "what A reads beside", end.Data.Custom, []Record(nil))
	if end.Reply != nil {
		t.Error("A got a reply path")
	}

	// Nobody else can read any of it.
	for _, node := range []int{a, lspA, b} {
		if _, err := NewRouter(testKey(node)).PeelMessage(m); err == nil {
			t.Errorf("node %d opens the message for LSP_b", node)
		}
	}
}

// B's own LSP is LSP_a: it is the introduction node of the path it wants to reply along.
func TestAdvance(t *testing.T) {
	pid := Record{typeUnblock, []byte{1}}
	path := must[BlindedPath](t)(NewBlindedPath(session(1), []PathNode{
		{testNode(1), EncryptedData{NextNode: ref(testNode(2)), Custom: []Record{pid}}},
		{testNode(2), EncryptedData{NextNode: ref(testNode(3)), NextPathKeyOverride: nil}},
		{testNode(3), EncryptedData{PathID: []byte{4}}},
	}))
	hello := MessagePayload{Contents: []Record{{65, []byte("hello")}}}
	k := NewRouter(testKey(1))

	next, data, err := k.Advance(path)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "our data", data.Custom, []Record{pid})
	equal(t, "next node", next.First, testNode(2))
	equal(t, "hops", next.Hops, path.Hops[1:])
	m := must[*lnwire.OnionMessage](t)(BuildMessage(session(2), next, hello))
	equal(t, "contents", follow(t, m, 2, 3).Contents, hello.Contents)

	// Twice ourselves, and the second time on a path joined to the first by its path_key.
	twice := must[BlindedPath](t)(JoinPath(session(3), nodes(1), path))
	next, _, err = k.Advance(twice)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "path after the first step", next, path)
	if next, _, err = k.Advance(next); err != nil || next.First != testNode(2) {
		t.Fatalf("second step: %v", err)
	}

	// The next node may be named by a channel.
	byChannel := must[BlindedPath](t)(NewBlindedPath(session(1), []PathNode{
		{testNode(1), EncryptedData{ShortChannelID: ref(lnwire.NewShortChanIDFromInt(7))}}, {testNode(2), EncryptedData{}},
	}))
	next, data, err = k.Advance(byChannel)
	if err != nil || next.First != [33]byte{} || data.ShortChannelID.ToUint64() != 7 {
		t.Errorf("by channel: %x, %v, %v", next.First, data.ShortChannelID, err)
	}

	changed := path
	changed.Hops = append([]BlindedHop{{path.Hops[0].Node, path.Hops[1].Data}}, path.Hops[1:]...)
	noNext := must[BlindedPath](t)(NewBlindedPath(session(1), []PathNode{{testNode(1), EncryptedData{}}, {testNode(2), EncryptedData{}}}))
	pathID := must[BlindedPath](t)(NewBlindedPath(session(1), []PathNode{
		{testNode(1), EncryptedData{NextNode: ref(testNode(2)), PathID: []byte{}}}, {testNode(2), EncryptedData{}}}))
	noKey := path
	noKey.PathKey = [33]byte{}
	for name, p := range map[string]BlindedPath{
		"nothing": {}, "ends with us": {First: testNode(1), PathKey: path.PathKey, Hops: path.Hops[:1]},
		"not ours": {First: testNode(1), PathKey: path.PathKey, Hops: path.Hops[1:]},
		"changed":  changed, "no next node": noNext, "path_id": pathID, "no path_key": noKey,
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := k.Advance(p); err == nil {
				t.Error("advanced")
			}
		})
	}
}

func TestJoinPath(t *testing.T) {
	path := must[BlindedPath](t)(PathTo(session(1), nodes(5, 6), EncryptedData{PathID: []byte{1}}))
	hello := MessagePayload{Contents: []Record{{65, []byte("hello")}}}
	for n := range 5 {
		t.Run(fmt.Sprintf("%d nodes before", n), func(t *testing.T) {
			route := []int{0, 1, 2, 3}[:n]
			joined := must[BlindedPath](t)(JoinPath(session(2), nodes(route...), path))
			m := must[*lnwire.OnionMessage](t)(BuildMessage(session(3), joined, hello))
			equal(t, "contents", follow(t, m, append(route, 5, 6)...).Contents, hello.Contents)
		})
	}
	t.Run("first node unknown", func(t *testing.T) {
		unknown := path
		unknown.First, unknown.FirstSCID = [33]byte{}, &SCIDDir{1, lnwire.NewShortChanIDFromInt(9)}
		if _, err := JoinPath(session(2), nodes(0), unknown); err == nil {
			t.Error("joined")
		}
	})
	t.Run("node no point", func(t *testing.T) {
		if _, err := JoinPath(session(2), [][33]byte{{}}, path); err == nil {
			t.Error("joined")
		}
	})
}

func TestMessageSizes(t *testing.T) {
	path := must[BlindedPath](t)(PathTo(session(1), nodes(0, 1), EncryptedData{}))
	build := func(n int) (*lnwire.OnionMessage, error) {
		return BuildMessage(session(2), path, MessagePayload{Contents: []Record{{65, make([]byte, n)}}})
	}
	// The size up to which contents fit, by trying: each packet is filled to the last byte.
	last := func(from, size int) int {
		for n := from; ; n++ {
			if m, err := build(n); err != nil || len(m.OnionBlob) != size {
				return n - 1
			}
		}
	}
	small := last(1080, 1366)
	m, err := build(small + 1)
	if err != nil || len(m.OnionBlob) != 32834 {
		t.Fatalf("%d bytes: %v", small+1, err)
	}
	large := last(small+32768-1300-4, 32834)
	if _, err := build(large + 1); !errors.Is(err, ErrMessageTooLarge) {
		t.Errorf("%d bytes: %v", large+1, err)
	}
	if _, err := build(1 << 20); !errors.Is(err, ErrMessageTooLarge) {
		t.Errorf("a million bytes: %v", err)
	}
	for _, n := range []int{0, small, small + 1, large} {
		hop := follow(t, must[*lnwire.OnionMessage](t)(build(n)), 0, 1)
		equal(t, "contents", len(hop.Contents[0].Value), n)
	}
	layers := []layer{{path.Hops[0].Node, nil}, {path.Hops[1].Node, nil}}
	for i := range layers {
		p := messagePayload{encrypted: path.Hops[i].Data}
		if i == 1 {
			p.Contents = []Record{{65, make([]byte, small)}}
		}
		layers[i].stream = must[[]byte](t)(p.encode())
	}
	equal(t, "size of the largest small one", layersSize(layers), 1300)
}

// messageOf is an onion message with a payload as given, for node 0, or to be forwarded by it.
func messageOf(t testing.TB, final bool, data EncryptedData, records ...Record) *lnwire.OnionMessage {
	t.Helper()
	path := must[BlindedPath](t)(NewBlindedPath(session(1), []PathNode{{testNode(0), data}}))
	for i := range records {
		if records[i].Type == messageEncryptedData && records[i].Value == nil {
			records[i].Value = path.Hops[0].Data
		}
	}
	layers := []layer{{path.Hops[0].Node, stream(t, records...)}}
	if !final {
		layers = append(layers, layer{testNode(1), []byte{0, 0}})
	}
	packet := must[[]byte](t)(buildPacket(session(2), layers, nil, 1300))
	return lnwire.NewOnionMessage(must[*btcec.PublicKey](t)(btcec.ParsePubKey(path.PathKey[:])), packet)
}

func TestPeelMessageRules(t *testing.T) {
	data := Record{Type: messageEncryptedData} // filled in
	toNode := EncryptedData{NextNode: ref(testNode(1))}
	reply := must[BlindedPath](t)(PathTo(session(3), nodes(4), EncryptedData{}))
	replyPath := Record{messageReplyPath, must[[]byte](t)(reply.Encode())}
	cases := []struct {
		name  string
		final bool
		data  EncryptedData
		in    []Record
		types []uint64
		ok    bool
	}{
		{"final, nothing to say", true, EncryptedData{}, []Record{data}, nil, true},
		{"final, one payload", true, EncryptedData{}, []Record{data, recOdd}, nil, true},
		{"final, payload of BOLT 12", true, EncryptedData{}, []Record{data, {64, []byte{1}}}, nil, true},
		{"final, reply path", true, EncryptedData{}, []Record{replyPath, data}, nil, true},
		{"final, low odd type and one payload", true, EncryptedData{}, []Record{{1, nil}, data, recOdd}, nil, true},
		{"final, even type the caller knows", true, EncryptedData{}, []Record{data, {72, nil}}, []uint64{70, 72}, true},
		{"final, path_id, next node is not looked at", true, EncryptedData{PathID: []byte{1}, NextNode: ref(testNode(1))},
			[]Record{data}, nil, true},
		{"final, unknown even type", true, EncryptedData{}, []Record{data, {72, nil}}, nil, false},
		{"final, unknown even custom type", true, EncryptedData{}, []Record{data, {65538, nil}}, nil, false},
		{"final, two payloads", true, EncryptedData{}, []Record{data, {65, nil}, recOdd}, nil, false},
		{"final, no encrypted data", true, EncryptedData{}, []Record{recOdd}, nil, false},
		{"final, reply path without hops", true, EncryptedData{},
			[]Record{{messageReplyPath, append(bytes.Clone(replyPath.Value[:66]), 0)}, data}, nil, false},
		{"final, reply path too long", true, EncryptedData{},
			[]Record{{messageReplyPath, append(bytes.Clone(replyPath.Value), 0)}, data}, nil, false},
		{"feature bit", true, EncryptedData{Features: []byte{0, 2}}, []Record{data}, nil, false},
		{"data changed", true, EncryptedData{}, []Record{{messageEncryptedData, make([]byte, 16)}}, nil, false},

		{"forward to a node", false, toNode, []Record{data}, nil, true},
		{"forward to a node rather than over a channel", false,
			EncryptedData{NextNode: ref(testNode(1)), ShortChannelID: ref(lnwire.NewShortChanIDFromInt(3))}, []Record{data}, nil, true},
		{"forward over a channel", false, EncryptedData{ShortChannelID: ref(lnwire.NewShortChanIDFromInt(3))}, []Record{data}, nil, true},
		{"forward, odd data", false, EncryptedData{NextNode: ref(testNode(1)), Custom: []Record{recOdd}}, []Record{data}, nil, true},
		{"forward to nowhere", false, EncryptedData{}, []Record{data}, nil, false},
		{"forward, path_id", false, EncryptedData{NextNode: ref(testNode(1)), PathID: []byte{}}, []Record{data}, nil, false},
		{"forward, odd record", false, toNode, []Record{data, recOdd}, nil, false},
		{"forward, reply path", false, toNode, []Record{replyPath, data}, nil, false},
		{"forward, feature bit", false, EncryptedData{NextNode: ref(testNode(1)), Features: []byte{1}}, []Record{data}, nil, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := messageOf(t, c.final, c.data, c.in...)
			before := bytes.Clone(m.OnionBlob)
			hop, err := NewRouter(testKey(0)).PeelMessage(m, c.types...)
			same(t, "packet after", m.OnionBlob, before)
			if (err == nil) != c.ok || (hop != nil) != c.ok {
				t.Fatalf("%v, %v", hop, err)
			}
			if !c.ok {
				return
			}
			want := &MessageHop{Final: c.final, Data: c.data, Next: hop.Next}
			for _, r := range c.in {
				switch {
				case r.Type == messageReplyPath:
					want.Reply = &reply
				case r.Type != messageEncryptedData:
					want.Contents = append(want.Contents, Record{r.Type, append([]byte{}, r.Value...)})
				}
			}
			if !c.final && c.data.NextNode != nil {
				want.NextNode = c.data.NextNode
			} else if !c.final {
				want.NextSCID = *c.data.ShortChannelID
			}
			want.Data.Padding = hop.Data.Padding
			hop.Next, want.Next = nil, nil
			equal(t, "hop", hop, want)
		})
	}
}

func TestPeelMessageMalformed(t *testing.T) {
	good := func() *lnwire.OnionMessage {
		return messageOf(t, true, EncryptedData{}, Record{Type: messageEncryptedData})
	}
	cut := func(n int) func(m *lnwire.OnionMessage) {
		return func(m *lnwire.OnionMessage) { m.OnionBlob = m.OnionBlob[:n] }
	}
	for name, change := range map[string]func(m *lnwire.OnionMessage){
		"no path_key":    func(m *lnwire.OnionMessage) { m.PathKey = nil },
		"other path_key": func(m *lnwire.OnionMessage) { m.PathKey = testKey(9).PubKey() },
		"version":        func(m *lnwire.OnionMessage) { m.OnionBlob[0] = 1 },
		"key":            func(m *lnwire.OnionMessage) { m.OnionBlob[1] = 0 },
		"payloads":       func(m *lnwire.OnionMessage) { m.OnionBlob[99] ^= 1 },
		"hmac":           func(m *lnwire.OnionMessage) { m.OnionBlob[1365] ^= 1 },
		"longer":         func(m *lnwire.OnionMessage) { m.OnionBlob = append(m.OnionBlob, 0) },
		"empty":          cut(0), "65 bytes": cut(65), "66 bytes": cut(66), "67 bytes": cut(67), "1365 bytes": cut(1365),
	} {
		t.Run(name, func(t *testing.T) {
			m := good()
			change(m)
			if hop, err := NewRouter(testKey(0)).PeelMessage(m); err == nil {
				t.Errorf("peeled: %+v", hop)
			}
		})
	}
	t.Run("unchanged", func(t *testing.T) { must[*MessageHop](t)(NewRouter(testKey(0)).PeelMessage(good())) })
}

func TestBuildMessageRefuses(t *testing.T) {
	path := must[BlindedPath](t)(PathTo(session(1), nodes(0, 1), EncryptedData{}))
	long := path
	for len(long.Hops) < 28 {
		long.Hops = append(long.Hops, path.Hops...)
	}
	noKey, noNode := path, path
	noKey.PathKey = [33]byte{}
	noNode.Hops = []BlindedHop{{[33]byte{}, nil}}
	for name, c := range map[string]struct {
		session [32]byte
		path    BlindedPath
		payload MessagePayload
	}{
		"no hops":           {session(2), BlindedPath{First: path.First, PathKey: path.PathKey}, MessagePayload{}},
		"28 hops":           {session(2), long, MessagePayload{}},
		"session key":       {[32]byte{}, path, MessagePayload{}},
		"path_key":          {session(2), noKey, MessagePayload{}},
		"blinded node":      {session(2), noNode, MessagePayload{}},
		"two payloads":      {session(2), path, MessagePayload{Contents: []Record{{65, nil}, {67, nil}}}},
		"a field":           {session(2), path, MessagePayload{Contents: []Record{{4, nil}}}},
		"type twice":        {session(2), path, MessagePayload{Contents: []Record{{5, nil}, {5, nil}}}},
		"empty reply path":  {session(2), path, MessagePayload{Reply: &BlindedPath{}}},
		"reply path of 256": {session(2), path, MessagePayload{Reply: &BlindedPath{Hops: make([]BlindedHop, 256)}}},
		"reply path too fat": {session(2), path, MessagePayload{
			Reply: &BlindedPath{Hops: []BlindedHop{{Data: make([]byte, 65536)}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := BuildMessage(c.session, c.path, c.payload); err == nil {
				t.Error("built")
			}
		})
	}
}

func TestBlindedPathCodec(t *testing.T) {
	path := must[BlindedPath](t)(PathTo(session(1), nodes(0, 1, 2), EncryptedData{PathID: []byte{1}}))
	bySCID := path
	bySCID.First, bySCID.FirstSCID = [33]byte{}, &SCIDDir{1, lnwire.NewShortChanIDFromInt(1 << 50)}
	wire := must[[]byte](t)(path.Encode())
	for name, p := range map[string]BlindedPath{
		"no first node": {PathKey: path.PathKey, Hops: path.Hops},
		"end 2 of it":   {FirstSCID: &SCIDDir{Direction: 2}, PathKey: path.PathKey, Hops: path.Hops},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := p.Encode(); err == nil {
				t.Error("encoded")
			}
		})
	}
	for name, p := range map[string]BlindedPath{"node": path, "channel": bySCID} {
		t.Run(name, func(t *testing.T) {
			equal(t, "path", must[BlindedPath](t)(DecodeBlindedPath(must[[]byte](t)(p.Encode()))), p)
		})
	}
	for name, change := range map[string]func(b []byte) []byte{
		"empty":         func([]byte) []byte { return nil },
		"no hops":       func(b []byte) []byte { b[66] = 0; return b[:67] },
		"too many hops": func(b []byte) []byte { b[66] = 255; return b },
		"first node":    func(b []byte) []byte { b[0] = 4; return b },
		"path_key":      func(b []byte) []byte { b[33] = 0; return b },
		"hop node":      func(b []byte) []byte { b[67] = 0; return b },
		"hop data":      func(b []byte) []byte { b[100] = 0xff; return b },
		"trailing byte": func(b []byte) []byte { return append(b, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := DecodeBlindedPath(change(bytes.Clone(wire))); err == nil {
				t.Error("decoded")
			}
		})
	}
	for n := range wire {
		if _, err := DecodeBlindedPath(wire[:n]); err == nil {
			t.Errorf("%d bytes of %d decoded", n, len(wire))
		}
	}
}

func TestEncryptedDataRefuses(t *testing.T) {
	for name, in := range map[string][]byte{
		"unknown even":        stream(t, Record{16, nil}),
		"channel short":       stream(t, Record{2, make([]byte, 7)}),
		"node no point":       stream(t, Record{4, make([]byte, 33)}),
		"override no point":   stream(t, Record{8, make([]byte, 33)}),
		"relay short":         stream(t, Record{10, make([]byte, 5)}),
		"relay not minimal":   stream(t, Record{10, make([]byte, 7)}),
		"relay long":          stream(t, Record{10, bytes.Repeat([]byte{1}, 11)}),
		"constraints short":   stream(t, Record{12, make([]byte, 3)}),
		"constraints too big": stream(t, Record{12, bytes.Repeat([]byte{0x7f}, 12)}),
		"order":               {6, 0, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if d, err := DecodeEncryptedData(in); err == nil {
				t.Errorf("decoded: %+v", d)
			}
		})
	}
	for _, typ := range []uint64{0, 4, 16, 65538} {
		if _, err := (EncryptedData{Custom: []Record{{typ, nil}}}).Encode(); err == nil {
			t.Errorf("custom type %d encoded", typ)
		}
	}
	if _, err := (EncryptedData{Constraints: &PaymentConstraints{HtlcMinimum: maxMilliSatoshi + 1}}).Encode(); err == nil {
		t.Error("htlc_minimum_msat above all there is encoded")
	}
}

// Every path's data comes out equally long, and with the least padding that does it.
func TestPadding(t *testing.T) {
	sizes := []int{0, 1, 2, 3, 100, 248, 249, 250, 251, 252, 253, 254, 255, 256, 257, 258, 300, 510, 511, 512}
	for _, a := range sizes {
		for _, b := range sizes {
			data := []EncryptedData{
				{PathID: make([]byte, a)}, {PathID: make([]byte, b)}, {PathID: []byte{}, Padding: []byte{7}},
			}
			longest := 0
			for _, d := range data {
				longest = max(longest, d.size())
			}
			pad(data)
			for _, d := range data {
				n := len(must[[]byte](t)(d.Encode()))
				if n != data[0].size() || n < longest || n > longest+4 {
					t.Fatalf("%d and %d bytes: padded to %d, the longest was %d", a, b, n, longest)
				}
			}
			if data[2].Padding[0] != 7 {
				t.Fatal("padding of the caller's lost")
			}
		}
	}
	shared := []byte{1, 2}
	pad([]EncryptedData{{Padding: shared[:1]}, {PathID: make([]byte, 50)}})
	equal(t, "the caller's memory", shared, []byte{1, 2})
}

func TestNewBlindedPathRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		session [32]byte
		nodes   []PathNode
	}{
		"no nodes":      {session(1), nil},
		"28 nodes":      {session(1), make([]PathNode, 28)},
		"session key":   {[32]byte{}, []PathNode{{Node: testNode(0)}}},
		"node no point": {session(1), []PathNode{{}}},
		"custom even":   {session(1), []PathNode{{testNode(0), EncryptedData{Custom: []Record{{70, nil}}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewBlindedPath(c.session, c.nodes); err == nil {
				t.Error("made")
			}
		})
	}
}
