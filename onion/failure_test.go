package onion

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/lightningnetwork/lnd/lnwire"
)

// testKey is the private key of the test node i.
func testKey(i int) *btcec.PrivateKey {
	var b [32]byte
	b[0], b[31] = byte(i+1), 1
	key, _ := btcec.PrivKeyFromBytes(b[:])
	return key
}

func testNode(i int) [33]byte { return serialize(testKey(i).PubKey()) }

var (
	testSession = [32]byte{0x07, 31: 0x09}
	testHash    = [32]byte{0xaa, 0xbb}
)

// testRoute is a route over n nodes.
func testRoute(n int) []PayHop {
	hops := make([]PayHop, n)
	for i := range hops {
		hops[i] = PayHop{Node: testNode(i), Amount: lnwire.MilliSatoshi(100_000 - i), Cltv: uint32(1000 - i)}
		if i < n-1 {
			hops[i].NextSCID = lnwire.NewShortChanIDFromInt(uint64(i + 1))
		}
	}
	return hops
}

// unwrapped are the onions as each hop of a route receives them.
func unwrapped(t testing.TB, hops []PayHop) ([][1366]byte, Secrets) {
	t.Helper()
	packet, secrets, err := Build(testSession, hops, testHash)
	if err != nil {
		t.Fatal(err)
	}
	packets := [][1366]byte{packet}
	for i := range hops[1:] {
		hop, failure := NewRouter(testKey(i)).Peel(&packets[i], testHash, nil)
		if failure != nil {
			t.Fatal(failure)
		}
		packets = append(packets, hop.Next)
	}
	return packets, secrets
}

// sendBack is what the origin gets when hop source fails with the message.
func sendBack(t testing.TB, packets [][1366]byte, source int, message lnwire.FailureMessage) []byte {
	t.Helper()
	reason := must[[]byte](t)(NewRouter(testKey(source)).Fail(&packets[source], testHash, nil, message))
	return wrapAll(t, packets[:source], reason)
}

// wrapAll takes a reason back through the hops that received the packets.
func wrapAll(t testing.TB, packets [][1366]byte, reason []byte) []byte {
	t.Helper()
	for i := len(packets) - 1; i >= 0; i-- {
		reason = must[[]byte](t)(NewRouter(testKey(i)).Wrap(&packets[i], testHash, nil, reason))
	}
	return reason
}

func TestErrorVector(t *testing.T) {
	v := load[struct {
		Generate struct {
			Session hexBytes `json:"session_key"`
			Message hexBytes `json:"failure_message"`
			Hops    []struct {
				Node    hexBytes `json:"pubkey"`
				Secret  hexBytes `json:"hop_shared_secret"`
				Ammag   hexBytes `json:"ammag_key"`
				Um      hexBytes `json:"um_key"`
				Payload hexBytes `json:"payload"`
			} `json:"hops"`
		} `json:"generate"`
		Packet hexBytes `json:"errorpacket"`
	}](t, "bolt04/onion-error-test.json")
	hops := v.Generate.Hops
	var nodes [][33]byte
	for _, h := range hops {
		nodes = append(nodes, h.Node.point())
	}
	secrets := SecretsOf(v.Generate.Session.hash(), nodes)
	shared := must[[]secret](t)(secrets.shared())
	for i, h := range hops {
		t.Run(fmt.Sprintf("keys of hop %d", i), func(t *testing.T) {
			same(t, "shared secret", shared[i][:], h.Secret)
			ammag, um := shared[i].key("ammag"), shared[i].key("um")
			same(t, "ammag", ammag[:], h.Ammag)
			if h.Um != nil {
				same(t, "um", um[:], h.Um)
				same(t, "payload", shared[i].seal(v.Generate.Message)[32:], h.Payload)
			}
		})
	}
	t.Run("fail and wrap", func(t *testing.T) {
		// Any payloads will do: the secrets come of the session key and the route alone.
		route := testRoute(len(hops))
		for i := range route {
			route[i].Node = nodes[i]
		}
		packet, _, err := Build(v.Generate.Session.hash(), route, testHash)
		if err != nil {
			t.Fatal(err)
		}
		packets := [][1366]byte{packet}
		for i := range hops[1:] {
			hop, failure := NewRouter(vectorKey(t, i)).Peel(&packets[i], testHash, nil)
			if failure != nil {
				t.Fatal(failure)
			}
			packets = append(packets, hop.Next)
		}
		reason := must[[]byte](t)(
			NewRouter(vectorKey(t, 4)).Fail(&packets[4], testHash, nil, &lnwire.FailTemporaryNodeFailure{}))
		for i := 3; i >= 0; i-- {
			reason = must[[]byte](t)(NewRouter(vectorKey(t, i)).Wrap(&packets[i], testHash, nil, reason))
		}
		same(t, "error packet", reason, v.Packet)
	})
	t.Run("decode", func(t *testing.T) {
		hop, message, err := secrets.Decode(v.Packet)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "hop", hop, 4)
		equal(t, "message", message, lnwire.FailureMessage(&lnwire.FailTemporaryNodeFailure{}))
	})
}

// The trace has more padding than we write, and a TLV stream in its message.
func TestErrorTraceVector(t *testing.T) {
	v := load[struct {
		Session hexBytes   `json:"session_key"`
		Nodes   []hexBytes `json:"pubkeys"`
		Amount  uint64     `json:"htlc_msat"`
		Height  uint32     `json:"height"`
		Payload hexBytes   `json:"payload"`
		Raw     hexBytes   `json:"raw_error_packet"`
		Hops    []struct {
			Node   int      `json:"node"`
			Secret hexBytes `json:"shared_secret"`
			Packet hexBytes `json:"error_packet"`
		} `json:"hops"` // from the erring node backwards
	}](t, "bolt04/error-trace.json")
	s := secret(v.Hops[0].Secret)
	reason := append(s.authenticate(v.Payload), v.Payload...)
	same(t, "raw error packet", reason, v.Raw)
	for _, h := range v.Hops {
		t.Run(fmt.Sprintf("hop %d", h.Node), func(t *testing.T) {
			reason = secret(h.Secret).mask(reason)
			same(t, "error packet", reason, h.Packet)
		})
	}
	t.Run("decode", func(t *testing.T) {
		var nodes [][33]byte
		for _, n := range v.Nodes {
			nodes = append(nodes, n.point())
		}
		hop, message, err := SecretsOf(v.Session.hash(), nodes).Decode(reason)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "hop", hop, 4)
		f := message.(*lnwire.FailIncorrectDetails)
		equal(t, "amount", uint64(f.Amount()), v.Amount)
		equal(t, "height", f.Height(), v.Height)
		equal(t, "records", must[[]Record](t)(ParseRecords(f.ExtraOpaqueData())),
			[]Record{{34001, bytes.Repeat([]byte{0x80}, 300)}})
		length := int(v.Payload[0])<<8 | int(v.Payload[1])
		same(t, "encoded again", must[[]byte](t)(encodeFailure(f)), v.Payload[2:2+length])
	})
}

func testUpdate() lnwire.ChannelUpdate1 {
	return lnwire.ChannelUpdate1{
		ShortChannelID: lnwire.NewShortChanIDFromInt(77), Timestamp: 5, MessageFlags: 1, TimeLockDelta: 80,
		HtlcMinimumMsat: 1, HtlcMaximumMsat: 1 << 40, BaseFee: 1000, FeeRate: 100, ExtraOpaqueData: []byte{},
	}
}

// allFailures are the messages of lnwire, those with a channel_update both with and without.
func allFailures() []lnwire.FailureMessage {
	u, none := testUpdate(), lnwire.ChannelUpdate1{}
	hash := [32]byte{1, 2, 3}
	return []lnwire.FailureMessage{
		&lnwire.FailInvalidRealm{},
		&lnwire.FailTemporaryNodeFailure{},
		&lnwire.FailPermanentNodeFailure{},
		&lnwire.FailRequiredNodeFeatureMissing{},
		&lnwire.FailPermanentChannelFailure{},
		&lnwire.FailRequiredChannelFeatureMissing{},
		&lnwire.FailUnknownNextPeer{},
		&lnwire.FailIncorrectPaymentAmount{},
		lnwire.NewFailIncorrectDetails(1234, 800_000),
		lnwire.NewFinalExpiryTooSoon(),
		&lnwire.FailInvalidOnionVersion{OnionSHA256: hash},
		&lnwire.FailInvalidOnionHmac{OnionSHA256: hash},
		&lnwire.FailInvalidOnionKey{OnionSHA256: hash},
		lnwire.NewTemporaryChannelFailure(&u), lnwire.NewTemporaryChannelFailure(nil),
		lnwire.NewAmountBelowMinimum(9, u), lnwire.NewAmountBelowMinimum(9, none),
		lnwire.NewFeeInsufficient(9, u), lnwire.NewFeeInsufficient(9, none),
		lnwire.NewIncorrectCltvExpiry(9, u), lnwire.NewIncorrectCltvExpiry(9, none),
		lnwire.NewExpiryTooSoon(u), lnwire.NewExpiryTooSoon(none),
		lnwire.NewChannelDisabled(9, u), lnwire.NewChannelDisabled(9, none),
		lnwire.NewFinalIncorrectCltvExpiry(9),
		lnwire.NewFinalIncorrectHtlcAmount(9),
		&lnwire.FailExpiryTooFar{},
		lnwire.NewInvalidOnionPayload(1<<40, 12),
		&lnwire.FailMPPTimeout{},
		&lnwire.FailInvalidBlinding{OnionSHA256: hash},
		&UnknownFailure{0x4fff, []byte{1, 2, 3}},
		&UnknownFailure{0x4fff, bytes.Repeat([]byte{1}, 400)}, // longer than 256
	}
}

// describe tells failures apart; cmp cannot look into all of them.
func describe(t testing.TB, m lnwire.FailureMessage) string {
	t.Helper()
	return fmt.Sprintf("%T %x", m, must[[]byte](t)(encodeFailure(m)))
}

func TestFailureRoundTrip(t *testing.T) {
	failures := allFailures()
	for n := 1; n <= 20; n++ {
		t.Run(fmt.Sprintf("%d hops", n), func(t *testing.T) {
			packets, secrets := unwrapped(t, testRoute(n))
			// The whole way through every Router, and what is derived there serves for the rest.
			first := sendBack(t, packets, n-1, failures[0])
			keys := must[[]secret](t)(secrets.shared())
			for i := range keys {
				equal(t, "secret", must[secret](t)(NewRouter(testKey(i)).onionSecret(&packets[i], testHash, nil)), keys[i])
			}
			// Every message, and every hop as its source, beginning with the last.
			for i := range max(len(failures), n) {
				source, message := n-1-i%n, failures[i%len(failures)]
				reason := keys[source].mask(keys[source].seal(must[[]byte](t)(encodeFailure(message))))
				for hop := source - 1; hop >= 0; hop-- {
					reason = keys[hop].mask(reason)
				}
				if i == 0 {
					same(t, "reason through the Routers", first, reason)
				}
				if size := max(ReasonSize, 36+len(must[[]byte](t)(encodeFailure(message)))); len(reason) != size {
					t.Errorf("reason of %d bytes, want %d", len(reason), size)
				}
				hop, got, err := readReason(keys, reason)
				if err != nil {
					t.Fatalf("%v from hop %d: %v", message.Code(), source, err)
				}
				equal(t, "hop", hop, source)
				equal(t, "message", describe(t, got), describe(t, message))
			}
		})
	}
}

// foreignFailure is a failure message of another package, with the code of one of lnwire's.
type foreignFailure struct{ UnknownFailure }

func TestFailureOfOtherTypes(t *testing.T) {
	for code, layout := range updateFailures {
		message := &foreignFailure{UnknownFailure{code, make([]byte, layout.bytes+2)}}
		packets, secrets := unwrapped(t, testRoute(1))
		hop, got, err := secrets.Decode(sendBack(t, packets, 0, message))
		if err != nil || hop != 0 || describe(t, got) != describe(t, layout.build(0, lnwire.ChannelUpdate1{})) {
			t.Errorf("%v: %d, %v, %v", code, hop, got, err)
		}
	}
}

func TestFailureOthersSend(t *testing.T) {
	packets, secrets := unwrapped(t, testRoute(3))
	u := testUpdate()
	var bare bytes.Buffer
	if err := u.Encode(&bare, 0); err != nil {
		t.Fatal(err)
	}
	untyped := append([]byte{0x10, 7, 0, byte(bare.Len())}, bare.Bytes()...)
	cases := []struct {
		name string
		body []byte // return packet after its hmac
		want lnwire.FailureMessage
		err  bool
	}{
		{"no padding", []byte{0, 2, 0x20, 2, 0, 0}, &lnwire.FailTemporaryNodeFailure{}, false},
		{"no padding length", []byte{0, 2, 0x20, 2}, &lnwire.FailTemporaryNodeFailure{}, false},
		{"padding too short", []byte{0, 2, 0x20, 2, 0, 9, 1}, &lnwire.FailTemporaryNodeFailure{}, false},
		{"bytes behind the padding", append([]byte{0, 2, 0x20, 2, 0, 1, 0}, make([]byte, 2000)...),
			&lnwire.FailTemporaryNodeFailure{}, false},
		{"bytes behind the message", []byte{0, 5, 0x20, 2, 9, 9, 9}, &lnwire.FailTemporaryNodeFailure{}, false},
		{"fee_insufficient without update", []byte{0, 12, 0x10, 12, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0},
			lnwire.NewFeeInsufficient(9, lnwire.ChannelUpdate1{}), false},
		{"channel_update that is none", []byte{0, 7, 0x10, 7, 0, 3, 1, 2, 3},
			lnwire.NewTemporaryChannelFailure(nil), false},
		{"channel_update without its type", append([]byte{0, byte(len(untyped))}, untyped...),
			lnwire.NewTemporaryChannelFailure(&u), false},
		{"channel_update cut off", []byte{0, 7, 0x10, 7, 0, 9, 1, 2, 3}, &UnknownFailure{0x1007, []byte{0, 9, 1, 2, 3}}, false},
		{"invalid_onion_payload without data", []byte{0, 2, 0x40, 22}, &UnknownFailure{0x4016, []byte{}}, false},
		{"unknown code", []byte{0, 3, 0x60, 99, 5}, &UnknownFailure{0x6063, []byte{5}}, false},
		{"no code", []byte{0, 1, 0x60}, nil, true},
		{"no message", []byte{0, 0}, nil, true},
		{"message cut off", []byte{0, 9, 0x20, 2}, nil, true},
		{"nothing", nil, nil, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := must[secret](t)(NewRouter(testKey(2)).onionSecret(&packets[2], testHash, nil))
			reason := s.mask(append(s.authenticate(c.body), c.body...))
			hop, got, err := secrets.Decode(wrapAll(t, packets[:2], reason))
			equal(t, "hop", hop, 2)
			if c.err != (err != nil) {
				t.Fatalf("error %v", err)
			}
			if !c.err {
				equal(t, "message", describe(t, got), describe(t, c.want))
			}
		})
	}
}

func TestFailureOfNobody(t *testing.T) {
	packets, secrets := unwrapped(t, testRoute(3))
	reason := sendBack(t, packets, 2, &lnwire.FailTemporaryNodeFailure{})
	changed := bytes.Clone(reason)
	changed[40] ^= 1
	for name, reason := range map[string][]byte{
		"changed": changed, "cut off": reason[:len(reason)-1], "short": reason[:31], "empty": nil,
		"wrapped once more":                 must[[]byte](t)(NewRouter(testKey(0)).Wrap(&packets[0], testHash, nil, reason)),
		"of a key that is not in the route": wrapAll(t, packets, secret{1}.mask(secret{1}.seal([]byte{0x20, 2}))),
	} {
		t.Run(name, func(t *testing.T) {
			if hop, m, err := secrets.Decode(reason); hop != -1 || m != nil || !errors.Is(err, ErrNoSource) {
				t.Errorf("hop %d, %v, %v", hop, m, err)
			}
		})
	}
	for name, s := range map[string]Secrets{
		"session key zero": SecretsOf([32]byte{}, [][33]byte{testNode(0)}),
		"node no point":    SecretsOf(testSession, [][33]byte{{}}),
	} {
		t.Run(name, func(t *testing.T) {
			if hop, _, err := s.Decode(reason); hop != -1 || err == nil {
				t.Errorf("hop %d, %v", hop, err)
			}
		})
	}
	t.Run("no route", func(t *testing.T) {
		if _, _, err := (Secrets{}).Decode(reason); err == nil {
			t.Error("decoded")
		}
	})
}

// An onion that cannot be opened has no secret to encrypt with.
func TestFailWithoutOnion(t *testing.T) {
	packets, _ := unwrapped(t, testRoute(2))
	k := NewRouter(testKey(0))
	good, version, point := packets[0], packets[0], packets[0]
	version[0], point[1] = 1, 9
	cases := map[string]struct {
		packet  [1366]byte
		hash    [32]byte
		pathKey []byte
	}{
		"other hash": {good, [32]byte{}, nil},
		"version":    {version, testHash, nil},
		"key":        {point, testHash, nil},
		"path_key":   {good, testHash, []byte{1}},
		"other path": {good, testHash, testKey(5).PubKey().SerializeCompressed()},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := k.Fail(&c.packet, c.hash, c.pathKey, &lnwire.FailMPPTimeout{}); err == nil {
				t.Error("failed")
			}
			if _, err := k.Wrap(&c.packet, c.hash, c.pathKey, nil); err == nil {
				t.Error("wrapped")
			}
		})
	}
	t.Run("message too long", func(t *testing.T) {
		if _, err := k.Fail(&good, testHash, nil, &UnknownFailure{1, make([]byte, 1<<16)}); err == nil {
			t.Error("failed")
		}
	})
}

func TestFromMalformed(t *testing.T) {
	hash := [32]byte{7}
	equal(t, "hmac", describe(t, FromMalformed(0xc005, hash)),
		describe(t, &lnwire.FailInvalidOnionHmac{OnionSHA256: hash}))
	equal(t, "unknown", describe(t, FromMalformed(0xc0ff, hash)), describe(t, &UnknownFailure{0xc0ff, hash[:]}))
}

func TestSecretsStayOutOfLogs(t *testing.T) {
	s := SecretsOf(testSession, [][33]byte{testNode(0)})
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		equal(t, format, fmt.Sprintf(format, s), "secrets of a route of 1 hops")
	}
}
