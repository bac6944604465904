package onion

import (
	"bytes"
	"crypto/sha256"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/lightningnetwork/lnd/lnwire"
)

// onionOf is an HTLC onion with these payloads, whatever they are.
func onionOf(t testing.TB, layers ...layer) (packet [1366]byte) {
	t.Helper()
	copy(packet[:], must[[]byte](t)(buildPacket(testSession, layers, testHash[:], hopPayloadSize)))
	return packet
}

func stream(t testing.TB, records ...Record) []byte {
	t.Helper()
	return must[[]byte](t)(EncodeRecords(records))
}

func checkFailure(t *testing.T, got *Failure, packet [1366]byte, malformed bool, want lnwire.FailureMessage) {
	t.Helper()
	if got == nil {
		t.Fatal("peeled")
	}
	equal(t, "malformed", got.Malformed, malformed)
	equal(t, "code", lnwire.FailCode(got.Code), want.Code())
	if got.Malformed || want.Code() == lnwire.CodeInvalidBlinding {
		equal(t, "onion hash", got.OnionHash, sha256.Sum256(packet[:]))
	}
	if !got.Malformed {
		equal(t, "message", describe(t, got.Message), describe(t, want))
	}
	if got.Text == "" || got.String() == "" {
		t.Error("no text for the log")
	}
}

func TestPeelMalformed(t *testing.T) {
	packets, _ := unwrapped(t, testRoute(2))
	with := func(at int, b byte) [1366]byte {
		p := packets[0]
		p[at] = b
		return p
	}
	pathKey := testKey(9).PubKey().SerializeCompressed()
	offCurve := bytes.Clone(pathKey)
	offCurve[0] = 4
	cases := []struct {
		name    string
		packet  [1366]byte
		hash    [32]byte
		node    int
		pathKey []byte
		want    lnwire.FailCode
	}{
		{"version", with(0, 1), testHash, 0, nil, lnwire.CodeInvalidOnionVersion},
		{"key prefix", with(1, 4), testHash, 0, nil, lnwire.CodeInvalidOnionKey},
		{"key x", with(2, 0xff), testHash, 0, nil, lnwire.CodeInvalidOnionKey},
		{"payloads", with(40, packets[0][40]^1), testHash, 0, nil, lnwire.CodeInvalidOnionHmac},
		{"hmac", with(1365, packets[0][1365]^1), testHash, 0, nil, lnwire.CodeInvalidOnionHmac},
		{"payment hash", packets[0], [32]byte{}, 0, nil, lnwire.CodeInvalidOnionHmac},
		{"node", packets[0], testHash, 1, nil, lnwire.CodeInvalidOnionHmac},
		{"zeros", [1366]byte{}, testHash, 0, nil, lnwire.CodeInvalidOnionKey},
		{"version in a blinded path", with(0, 1), testHash, 0, pathKey, lnwire.CodeInvalidBlinding},
		{"key in a blinded path", with(1, 4), testHash, 0, pathKey, lnwire.CodeInvalidBlinding},
		{"hmac in a blinded path", packets[0], testHash, 0, pathKey, lnwire.CodeInvalidBlinding},
		{"path_key off the curve", packets[0], testHash, 0, offCurve, lnwire.CodeInvalidBlinding},
		{"path_key short", packets[0], testHash, 0, pathKey[:32], lnwire.CodeInvalidBlinding},
		{"path_key uncompressed", packets[0], testHash, 0, testKey(9).PubKey().SerializeUncompressed(),
			lnwire.CodeInvalidBlinding},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "key x" {
				for i := range 32 {
					c.packet[2+i] = 0xff
				}
			}
			before := c.packet
			_, failure := NewRouter(testKey(c.node)).Peel(&c.packet, c.hash, c.pathKey)
			checkFailure(t, failure, c.packet, true, &UnknownFailure{FailCode: c.want})
			if c.packet != before {
				t.Error("packet changed")
			}
		})
	}
}

// Records of payloads, by type.
var (
	recAmount   = Record{2, []byte{1, 0}}
	recCltv     = Record{4, []byte{2, 0}}
	recSCID     = Record{6, []byte{0, 0, 0, 0, 0, 0, 0, 7}}
	recSecret   = Record{8, append(bytes.Repeat([]byte{9}, 32), 3, 0)}
	recMetadata = Record{16, []byte{5}}
	recTotal    = Record{18, []byte{4, 0}}
	recOdd      = Record{65537, []byte{6}}
	recKeysend  = Record{5482373484, bytes.Repeat([]byte{8}, 32)}
)

func TestPeelPayload(t *testing.T) {
	secret := [32]byte(bytes.Repeat([]byte{9}, 32))
	preimage := [32]byte(bytes.Repeat([]byte{8}, 32))
	cases := []struct {
		name  string
		final bool
		in    []Record
		want  Hop
	}{
		{"forward", false, []Record{recAmount, recCltv, recSCID},
			Hop{Amount: 256, Cltv: 512, NextSCID: lnwire.NewShortChanIDFromInt(7)}},
		{"forward with odd records", false, []Record{{1, nil}, recAmount, {3, []byte{1}}, recCltv, recSCID, recOdd},
			Hop{Amount: 256, Cltv: 512, NextSCID: lnwire.NewShortChanIDFromInt(7),
				Custom: []Record{{1, []byte{}}, {3, []byte{1}}, recOdd}}},
		{"final", true, []Record{recAmount, recCltv}, Hop{Final: true, Amount: 256, Cltv: 512, Total: 256}},
		{"final with everything", true, []Record{recAmount, recCltv, recSecret, recMetadata, recOdd, recKeysend},
			Hop{Final: true, Amount: 256, Cltv: 512, Total: 768, PaymentSecret: &secret, Metadata: []byte{5},
				Keysend: &preimage, Custom: []Record{recOdd}}},
		// The reader is not told to refuse these.
		{"final with a channel", true, []Record{recAmount, recCltv, recSCID},
			Hop{Final: true, Amount: 256, Cltv: 512, Total: 256}},
		{"final with total_amount_msat", true, []Record{recAmount, recCltv, recTotal},
			Hop{Final: true, Amount: 256, Cltv: 512, Total: 256}},
		{"amounts of nothing", true, []Record{{2, nil}, {4, nil}}, Hop{Final: true}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			layers := []layer{{testNode(0), stream(t, c.in...)}}
			if !c.final {
				layers = append(layers, layer{testNode(1), stream(t, recAmount, recCltv)})
			}
			packet := onionOf(t, layers...)
			hop, failure := NewRouter(testKey(0)).Peel(&packet, testHash, nil)
			if failure != nil {
				t.Fatal(failure)
			}
			c.want.Next = hop.Next
			equal(t, "hop", hop, &c.want)
			if (hop.Next == [1366]byte{}) != c.final {
				t.Error("next onion")
			}
			if err := hop.Resolve(0, 0); err != nil {
				t.Errorf("resolve: %v", err)
			}
			refused := hop.Refuse(&lnwire.FailMPPTimeout{})
			checkFailure(t, refused, packet, false, &lnwire.FailMPPTimeout{})
		})
	}
}

func TestPeelInvalidPayload(t *testing.T) {
	key := Record{12, testKey(9).PubKey().SerializeCompressed()}
	offCurve := Record{12, append([]byte{2}, bytes.Repeat([]byte{0xff}, 32)...)}
	forward := []Record{recAmount, recCltv, recSCID}
	cases := []struct {
		name   string
		final  bool
		in     []byte
		typ    uint64
		offset uint16
	}{
		{"unknown even type", true, stream(t, recAmount, recCltv, Record{20, nil}), 20, 8},
		{"unknown even custom type", true, stream(t, recAmount, recCltv, Record{65538, nil}), 65538, 8},
		{"unknown even type before odd", false, stream(t, append(forward, Record{20, nil}, recOdd)...), 20, 18},
		{"no amt_to_forward", true, stream(t, recCltv), 2, 0},
		{"no outgoing_cltv_value", true, stream(t, recAmount), 4, 0},
		{"no short_channel_id", false, stream(t, recAmount, recCltv), 6, 0},
		{"type twice", true, append(stream(t, recAmount, recCltv), 4, 0), 4, 8},
		{"types fall", true, append(stream(t, recCltv), stream(t, recAmount)...), 2, 4},
		{"no bytes", true, nil, 0, 0},
		{"amount not minimal", true, stream(t, Record{2, []byte{0, 1}}, recCltv), 2, 0},
		{"amount too long", true, stream(t, Record{2, make([]byte, 9)}, recCltv), 2, 0},
		{"amount above all there is", true, stream(t, Record{2, bytes.Repeat([]byte{0x7f}, 8)}, recCltv), 2, 0},
		{"cltv too long", true, stream(t, recAmount, Record{4, []byte{1, 2, 3, 4, 5}}), 4, 4},
		{"channel too short", false, stream(t, recAmount, recCltv, Record{6, make([]byte, 7)}), 6, 8},
		{"channel too long", false, stream(t, recAmount, recCltv, Record{6, make([]byte, 9)}), 6, 8},
		{"payment_data too short", true, stream(t, recAmount, recCltv, Record{8, make([]byte, 31)}), 8, 8},
		{"keysend too long", true, stream(t, recAmount, recCltv, Record{5482373484, make([]byte, 33)}), 5482373484, 8},
		{"type cut off", true, append(stream(t, recAmount, recCltv), 0xfd, 1), 0, 8},
		{"type not minimal", true, append(stream(t, recAmount, recCltv), 0xfd, 0, 9, 0), 0, 8},
		{"value cut off", true, append(stream(t, recAmount, recCltv), 9, 200, 1), 9, 8},
		{"one byte", true, []byte{2}, 0, 0},
		{"current_path_key alone, final", true, stream(t, recAmount, recCltv, key), 10, 0},
		{"current_path_key off the curve, final", true, stream(t, recAmount, recCltv, offCurve), 12, 8},
		{"encrypted data without path_key", false, stream(t, Record{10, make([]byte, 20)}), 12, 0},
		{"encrypted data that is none, final", true,
			stream(t, recAmount, recCltv, Record{10, make([]byte, 20)}, key, recTotal), 0, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			layers := []layer{{testNode(0), c.in}}
			if !c.final {
				layers = append(layers, layer{testNode(1), stream(t, recAmount, recCltv)})
			}
			packet := onionOf(t, layers...)
			_, failure := NewRouter(testKey(0)).Peel(&packet, testHash, nil)
			checkFailure(t, failure, packet, false, lnwire.NewInvalidOnionPayload(c.typ, c.offset))
		})
	}
	// The same with current_path_key, and not final: nothing may be told.
	for name, in := range map[string][]byte{
		"current_path_key alone":          stream(t, recAmount, recCltv, recSCID, key),
		"current_path_key off the curve":  stream(t, Record{10, make([]byte, 20)}, offCurve),
		"encrypted data that is none":     stream(t, Record{10, make([]byte, 20)}, key),
		"unknown even type before":        stream(t, Record{0, nil}, Record{10, make([]byte, 20)}, key),
		"wrong value before":              stream(t, Record{2, []byte{0}}, Record{10, make([]byte, 20)}, key),
		"stream cut off after":            append(stream(t, key), 0xfd),
		"with an amount, as if were last": stream(t, recAmount, Record{10, make([]byte, 20)}, key),
	} {
		t.Run("introduction/"+name, func(t *testing.T) {
			packet := onionOf(t, layer{testNode(0), in}, layer{testNode(1), stream(t, recAmount, recCltv)})
			_, failure := NewRouter(testKey(0)).Peel(&packet, testHash, nil)
			checkFailure(t, failure, packet, false, &lnwire.FailInvalidBlinding{OnionSHA256: sha256.Sum256(packet[:])})
		})
	}
}

// blindedCase is a payment to one node of a blinded path.
type blindedCase struct {
	data  EncryptedData
	extra []Record // beside encrypted_recipient_data and current_path_key
	final bool
}

// peel sends the payment, to the introduction node or a later one.
func (c blindedCase) peel(t *testing.T, introduction bool) (*Hop, *Failure, [1366]byte) {
	t.Helper()
	path := must[BlindedPath](t)(NewBlindedPath(testSession, []PathNode{{testNode(0), c.data}}))
	node, pathKey := path.Hops[0].Node, path.PathKey[:]
	records := append([]Record{{10, path.Hops[0].Data}}, c.extra...)
	if introduction {
		records = append(records, Record{12, pathKey})
		node, pathKey = testNode(0), nil
	}
	layers := []layer{{node, must[[]byte](t)(encodeSorted(records))}}
	if !c.final {
		layers = append(layers, layer{testNode(1), stream(t, recAmount, recCltv)})
	}
	packet := onionOf(t, layers...)
	hop, failure := NewRouter(testKey(0)).Peel(&packet, testHash, pathKey)
	return hop, failure, packet
}

func testRelay() EncryptedData {
	return EncryptedData{
		ShortChannelID: ref(lnwire.NewShortChanIDFromInt(7)),
		Relay:          &PaymentRelay{CltvExpiryDelta: 40, FeeProportional: 1000, FeeBase: 10},
		Constraints:    &PaymentConstraints{MaxCltvExpiry: 900, HtlcMinimum: 100},
		Custom:         []Record{recOdd},
	}
}

func TestPeelBlinded(t *testing.T) {
	toNode := testRelay()
	toNode.ShortChannelID, toNode.NextNode = nil, ref(testNode(1))
	override := testRelay()
	override.NextPathKeyOverride = ref(testNode(8))
	features := testRelay()
	features.Features = []byte{0, 0}
	end := EncryptedData{PathID: []byte{1, 2}, Custom: []Record{recOdd}}
	cases := map[string]blindedCase{
		"over a channel":   {data: testRelay()},
		"to a node":        {data: toNode},
		"path_key changed": {data: override},
		"no feature bits":  {data: features},
		"final":            {data: end, extra: []Record{recAmount, recCltv, recTotal}, final: true},
	}
	for name, c := range cases {
		for _, introduction := range []bool{true, false} {
			where := map[bool]string{true: "/introduction", false: "/inside"}[introduction]
			t.Run(name+where, func(t *testing.T) {
				hop, failure, packet := c.peel(t, introduction)
				if failure != nil {
					t.Fatal(failure)
				}
				want := &Hop{Final: c.final, Blinded: true, Introduction: introduction, Next: hop.Next,
					NextPathKey: hop.NextPathKey, NextNode: c.data.NextNode, PathID: c.data.PathID, Relay: c.data.Relay,
					Constraints: c.data.Constraints, Custom: c.data.Custom, onionHash: sha256.Sum256(packet[:])}
				if c.data.ShortChannelID != nil {
					want.NextSCID = *c.data.ShortChannelID
				}
				if c.final {
					want.Amount, want.Cltv, want.Total = 256, 512, 1024
				}
				equal(t, "hop", hop, want)
				switch o := c.data.NextPathKeyOverride; {
				case o != nil:
					same(t, "path_key", hop.NextPathKey, o[:])
				case !c.final && len(hop.NextPathKey) != 33:
					t.Errorf("path_key %x", hop.NextPathKey)
				}

				blinding := &lnwire.FailInvalidBlinding{OnionSHA256: sha256.Sum256(packet[:])}
				refused := hop.Refuse(&lnwire.FailUnknownNextPeer{})
				switch {
				case !introduction:
					checkFailure(t, refused, packet, true, blinding)
				case !c.final:
					checkFailure(t, refused, packet, false, blinding)
				default:
					checkFailure(t, refused, packet, false, &lnwire.FailUnknownNextPeer{})
				}
			})
		}
	}
}

func TestPeelInvalidBlinded(t *testing.T) {
	change := func(f func(d *EncryptedData)) EncryptedData {
		d := testRelay()
		f(&d)
		return d
	}
	relay := testRelay()
	cases := map[string]blindedCase{
		"next node and channel":      {data: change(func(d *EncryptedData) { d.NextNode = ref(testNode(1)) })},
		"no next node":               {data: change(func(d *EncryptedData) { d.ShortChannelID = nil })},
		"no payment_relay":           {data: change(func(d *EncryptedData) { d.Relay = nil })},
		"even feature bit":           {data: change(func(d *EncryptedData) { d.Features = []byte{1} })},
		"odd feature bit":            {data: change(func(d *EncryptedData) { d.Features = []byte{2, 0} })},
		"amount":                     {data: relay, extra: []Record{recAmount}},
		"odd record":                 {data: relay, extra: []Record{recOdd}},
		"metadata":                   {data: relay, extra: []Record{recMetadata}},
		"final without amount":       {final: true, extra: []Record{recCltv, recTotal}},
		"final without cltv":         {final: true, extra: []Record{recAmount, recTotal}},
		"final without total":        {final: true, extra: []Record{recAmount, recCltv}},
		"final with odd record":      {final: true, extra: []Record{recAmount, recCltv, recTotal, recOdd}},
		"final with payment_data":    {final: true, extra: []Record{recAmount, recCltv, recSecret, recTotal}},
		"final with keysend":         {final: true, extra: []Record{recAmount, recCltv, recTotal, recKeysend}},
		"final with a channel":       {final: true, extra: []Record{recAmount, recCltv, recSCID, recTotal}},
		"final with unknown feature": {final: true, data: EncryptedData{Features: []byte{1}}, extra: []Record{recAmount, recCltv, recTotal}},
	}
	for name, c := range cases {
		t.Run(name+"/introduction", func(t *testing.T) {
			_, failure, packet := c.peel(t, true)
			if c.final {
				if failure == nil || failure.Malformed || failure.Message.Code() != lnwire.CodeInvalidOnionPayload {
					t.Errorf("got %v", failure)
				}
				return
			}
			checkFailure(t, failure, packet, false, &lnwire.FailInvalidBlinding{OnionSHA256: sha256.Sum256(packet[:])})
		})
		t.Run(name+"/inside", func(t *testing.T) {
			_, failure, packet := c.peel(t, false)
			checkFailure(t, failure, packet, true, &lnwire.FailInvalidBlinding{})
		})
	}

	inside := func(name string, in func(path BlindedPath) []byte) {
		t.Run(name, func(t *testing.T) {
			path := must[BlindedPath](t)(NewBlindedPath(testSession, []PathNode{{testNode(0), testRelay()}}))
			packet := onionOf(t, layer{path.Hops[0].Node, in(path)}, layer{testNode(1), stream(t, recAmount)})
			_, failure := NewRouter(testKey(0)).Peel(&packet, testHash, path.PathKey[:])
			checkFailure(t, failure, packet, true, &lnwire.FailInvalidBlinding{})
		})
	}
	inside("path_key twice", func(path BlindedPath) []byte {
		return stream(t, Record{10, path.Hops[0].Data}, Record{12, path.PathKey[:]})
	})
	inside("path_key without encrypted data", func(path BlindedPath) []byte {
		return stream(t, recAmount, recCltv, recSCID)
	})
	inside("encrypted data changed", func(path BlindedPath) []byte {
		path.Hops[0].Data[3] ^= 1
		return stream(t, Record{10, path.Hops[0].Data})
	})
	inside("encrypted data empty", func(path BlindedPath) []byte { return stream(t, Record{10, nil}) })
	inside("payload of one byte", func(path BlindedPath) []byte { return []byte{1} })
}

func TestResolve(t *testing.T) {
	relay := &PaymentRelay{CltvExpiryDelta: 40, FeeProportional: 1000, FeeBase: 10}
	limits := &PaymentConstraints{MaxCltvExpiry: 900, HtlcMinimum: 1000}
	cases := []struct {
		name     string
		hop      Hop
		in       lnwire.MilliSatoshi
		expiry   uint32
		out      lnwire.MilliSatoshi
		cltv     uint32
		accepted bool
	}{
		{"no rules", Hop{Amount: 5, Cltv: 6}, 1, 1, 5, 6, true},
		{"relay", Hop{Relay: relay}, 1_001_010, 900, 1_000_000, 860, true},
		{"relay rounds up", Hop{Relay: relay}, 1_001_011, 900, 1_000_001, 860, true},
		{"exactly the base fee", Hop{Relay: relay}, 10, 40, 0, 0, true},
		{"less than the base fee", Hop{Relay: relay}, 9, 40, 0, 0, false},
		{"less than the delta", Hop{Relay: relay}, 10, 39, 0, 0, false},
		{"at the limits", Hop{Relay: relay, Constraints: limits}, 1000, 900, 990, 860, true},
		{"too late", Hop{Relay: relay, Constraints: limits}, 1000, 901, 0, 0, false},
		{"too little", Hop{Relay: relay, Constraints: limits}, 999, 900, 0, 0, false},
		{"final too late", Hop{Final: true, Constraints: limits}, 1000, 901, 0, 0, false},
		{"final keeps its amount", Hop{Final: true, Amount: 7, Cltv: 8, Relay: relay, Constraints: limits}, 1000, 900, 7, 8, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := c.hop.Resolve(c.in, c.expiry)
			if (err == nil) != c.accepted {
				t.Fatalf("error %v", err)
			}
			if c.accepted && (c.hop.Amount != c.out || c.hop.Cltv != c.cltv) {
				t.Errorf("%d msat, cltv %d", c.hop.Amount, c.hop.Cltv)
			}
		})
	}
}

// The relay's formula against the one in BOLT 4, in arbitrary precision.
func TestRelayAmount(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	edges := []uint64{0, 1, math.MaxUint32, math.MaxUint64, math.MaxUint64 - 999_999}
	for i := range 20_000 {
		r := PaymentRelay{FeeBase: rng.Uint32() >> rng.IntN(32), FeeProportional: rng.Uint32() >> rng.IntN(32)}
		in := rng.Uint64() >> rng.IntN(64)
		if i < 100 {
			in, r.FeeBase, r.FeeProportional = edges[i%5], uint32(edges[i/5%4]), uint32(edges[i/20%4])
		}
		got, _, err := r.forward(lnwire.MilliSatoshi(in), 0)
		if in < uint64(r.FeeBase) {
			if err == nil {
				t.Fatalf("%+v takes a fee from %d", r, in)
			}
			continue
		}
		n := new(big.Int).SetUint64(in - uint64(r.FeeBase))
		n.Mul(n, big.NewInt(1_000_000)).Add(n, big.NewInt(1_000_000+int64(r.FeeProportional)-1))
		n.Div(n, big.NewInt(1_000_000+int64(r.FeeProportional)))
		if err != nil || n.Cmp(new(big.Int).SetUint64(uint64(got))) != 0 {
			t.Fatalf("%+v of %d: %d, want %v, %v", r, in, got, n, err)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	secret := [32]byte{1}
	change := func(at int, f func(h *PayHop)) []PayHop {
		hops := testRoute(3)
		f(&hops[at])
		return hops
	}
	cases := map[string]struct {
		session [32]byte
		hops    []PayHop
	}{
		"no hops":               {testSession, nil},
		"28 hops":               {testSession, testRoute(28)},
		"session key zero":      {[32]byte{}, testRoute(1)},
		"session key too large": {[32]byte(bytes.Repeat([]byte{0xff}, 32)), testRoute(1)},
		"node no point":         {testSession, change(1, func(h *PayHop) { h.Node = [33]byte{} })},
		"too large":             {testSession, change(2, func(h *PayHop) { h.Metadata = make([]byte, 1300) })},
		"amount too large":      {testSession, change(0, func(h *PayHop) { h.Amount = math.MaxUint64 })},
		"secret for a forward":  {testSession, change(0, func(h *PayHop) { h.PaymentSecret = &secret })},
		"path_key alone":        {testSession, change(0, func(h *PayHop) { h.PathKey = ref(testNode(1)) })},
		"custom even":           {testSession, change(0, func(h *PayHop) { h.Custom = []Record{{65538, nil}} })},
		"custom a field":        {testSession, change(0, func(h *PayHop) { h.Custom = []Record{{16, nil}} })},
		"custom twice":          {testSession, change(0, func(h *PayHop) { h.Custom = []Record{{65537, nil}, {65537, nil}} })},
		"custom in a path": {testSession, change(1, func(h *PayHop) {
			h.EncryptedData, h.Custom = []byte{1}, []Record{{65537, nil}}
		})},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if _, _, err := Build(c.session, c.hops, testHash); err == nil {
				t.Error("built")
			}
		})
	}
}

// The longest route, and the largest payload.
func TestBuildLimits(t *testing.T) {
	unwrapped(t, testRoute(20))
	hop := PayHop{Node: testNode(0), Metadata: make([]byte, 1300-32-3-4)}
	for {
		packet, _, err := Build(testSession, []PayHop{hop}, testHash)
		if err == nil {
			got, failure := NewRouter(testKey(0)).Peel(&packet, testHash, nil)
			if failure != nil {
				t.Fatal(failure)
			}
			if len(got.Metadata) < 1200 {
				t.Errorf("metadata of %d bytes", len(got.Metadata))
			}
			same(t, "metadata", got.Metadata, hop.Metadata)
			return
		}
		hop.Metadata = hop.Metadata[1:]
	}
}

// A Total left out is that of a payment of one part.
func TestBuildTotal(t *testing.T) {
	for total, want := range map[lnwire.MilliSatoshi]lnwire.MilliSatoshi{0: 300, 500: 500} {
		hop := PayHop{Node: testNode(0), Amount: 300, PaymentSecret: &[32]byte{1}, Total: total}
		packet, _, err := Build(testSession, []PayHop{hop}, testHash)
		if err != nil {
			t.Fatal(err)
		}
		got, failure := NewRouter(testKey(0)).Peel(&packet, testHash, nil)
		if failure != nil {
			t.Fatal(failure)
		}
		equal(t, "total_msat", got.Total, want)
	}
}
