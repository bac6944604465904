package onion

import (
	"bytes"
	"testing"

	sphinx "github.com/lightningnetwork/lightning-onion"
	"github.com/lightningnetwork/lnd/lnwire"
)

// seedTLVs are streams for every namespace here.
func seedTLVs(f *testing.F) {
	for _, v := range load[map[string][]struct{ Stream hexBytes }](f, "bolt01/tlv.json") {
		for _, s := range v {
			f.Add([]byte(s.Stream))
		}
	}
	key := Record{12, testKey(9).PubKey().SerializeCompressed()}
	f.Add(stream(f, recAmount, recCltv, recSecret, recMetadata, recOdd, recKeysend))
	f.Add(stream(f, recAmount, recCltv, recSCID))
	f.Add(stream(f, recAmount, recCltv, Record{10, make([]byte, 40)}, key, recTotal))
	relay := testRelay()
	f.Add(must[[]byte](f)(relay.Encode()))
	relay.NextNode, relay.NextPathKeyOverride = ref(testNode(1)), ref(testNode(2))
	relay.PathID, relay.Features, relay.Padding = []byte{1}, []byte{}, []byte{0, 0}
	f.Add(must[[]byte](f)(relay.Encode()))
	path := must[BlindedPath](f)(PathTo(session(1), nodes(0, 1), EncryptedData{}))
	m := messagePayload{MessagePayload{&path, []Record{recOdd}}, make([]byte, 20)}
	f.Add(must[[]byte](f)(m.encode()))
}

func FuzzParseRecords(f *testing.F) {
	seedTLVs(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		if records, err := ParseRecords(in); err == nil {
			same(t, "encoded again", must[[]byte](t)(EncodeRecords(records)), in)
		}
	})
}

func FuzzPayload(f *testing.F) {
	seedTLVs(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		if p, err := decodePayload(in); err == nil {
			same(t, "encoded again", must[[]byte](t)(p.encode()), in)
		}
	})
}

func FuzzEncryptedData(f *testing.F) {
	seedTLVs(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		d, err := DecodeEncryptedData(in)
		if err != nil {
			return
		}
		same(t, "encoded again", must[[]byte](t)(d.Encode()), in)
		if d.size() != len(in) {
			t.Errorf("size %d, want %d", d.size(), len(in))
		}
		data := []EncryptedData{d, {}, {PathID: make([]byte, 300)}}
		if pad(data); data[0].size() != data[1].size() || data[1].size() != data[2].size() {
			t.Error("lengths differ")
		}
	})
}

func FuzzBlindedPath(f *testing.F) {
	path := must[BlindedPath](f)(PathTo(session(1), nodes(0, 1), EncryptedData{}))
	f.Add(must[[]byte](f)(path.Encode()))
	path.FirstSCID = &SCIDDir{1, lnwire.NewShortChanIDFromInt(7)}
	f.Add(must[[]byte](f)(path.Encode()))
	f.Fuzz(func(t *testing.T, in []byte) {
		path, err := DecodeBlindedPath(in)
		if err != nil {
			return
		}
		same(t, "encoded again", must[[]byte](t)(path.Encode()), in)
		_, _, _ = NewRouter(testKey(0)).Advance(path)
		if joined, err := JoinPath(session(2), nodes(3), path); err == nil {
			_, _ = BuildMessage(session(3), joined, MessagePayload{Reply: &path})
		}
	})
}

func FuzzMessagePayload(f *testing.F) {
	seedTLVs(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := decodeMessage(in, []uint64{70})
		if err != nil || m.encrypted == nil || m.checkContents() != nil {
			return
		}
		same(t, "encoded again", must[[]byte](t)(m.encode()), in)
	})
}

func FuzzFailure(f *testing.F) {
	for _, m := range allFailures() {
		f.Add(secret{}.seal(must[[]byte](f)(encodeFailure(m)))[32:])
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := decodeReturn(in)
		if err != nil {
			return
		}
		_ = m.Error()
		again, err := encodeFailure(m)
		if err != nil {
			return // what lnwire reads it does not always write, and too long is refused
		}
		equal(t, "encoded again", describe(t, decodeFailure(again)), describe(t, m))
	})
}

func FuzzReason(f *testing.F) {
	packets, secrets := unwrapped(f, testRoute(2))
	f.Add(sendBack(f, packets, 1, &lnwire.FailMPPTimeout{}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		hop, m, err := secrets.Decode(in)
		if (hop < 0) != (err != nil && m == nil) && err == nil {
			t.Errorf("hop %d, %v, %v", hop, m, err)
		}
		wrapped := must[[]byte](t)(NewRouter(testKey(0)).Wrap(&packets[0], testHash, nil, in))
		again := must[[]byte](t)(NewRouter(testKey(0)).Wrap(&packets[0], testHash, nil, wrapped))
		same(t, "wrapped twice", again, in)
	})
}

// FuzzPeel opens onions whose authentic payload is the input, and others that are the input. In a blinded path the
// rest of the input is the encrypted data.
func FuzzPeel(f *testing.F) {
	f.Add([]byte{}, []byte{}, false, false, false)
	relay := testRelay()
	plain := must[[]byte](f)(relay.Encode())
	for _, final := range []bool{false, true} {
		f.Add(stream(f, recAmount, recCltv, recSCID), []byte{}, final, false, false)
		f.Add(stream(f), plain, final, true, false)
		f.Add(stream(f), plain, final, true, true)
		f.Add(stream(f, recAmount, recCltv, recTotal), plain, final, true, true)
	}
	k := NewRouter(testKey(0))
	f.Fuzz(func(t *testing.T, payload, data []byte, final, blinded, introduction bool) {
		var packet [1366]byte
		copy(packet[:], payload)
		checkPeel(t, k, packet, nil)

		node, pathKey := testNode(0), []byte(nil)
		if blinded {
			p := &pathSecret{testKey(9).PubKey(), sharedSecret(testKey(9), testKey(0).PubKey())}
			encrypted := seal(p.secret, data)
			records, err := ParseRecords(payload)
			if err != nil {
				return
			}
			records = append(records, Record{10, encrypted})
			if pathKey = p.point.SerializeCompressed(); introduction {
				records, pathKey = append(records, Record{12, pathKey}), nil
			} else {
				node = serialize(p.blind(testKey(0)).PubKey())
			}
			if payload, err = encodeSorted(records); err != nil {
				return
			}
		}
		layers := []layer{{node, payload}}
		if !final {
			layers = append(layers, layer{testNode(1), []byte{0, 0}})
		}
		wire, err := buildPacket(testSession, layers, testHash[:], hopPayloadSize)
		if err != nil {
			return
		}
		checkPeel(t, k, [1366]byte(wire), pathKey)
		checkPeel(t, k, [1366]byte(wire), data)
	})
}

func checkPeel(t *testing.T, k *Router, packet [1366]byte, pathKey []byte) {
	t.Helper()
	before := packet
	hop, failure := k.Peel(&packet, testHash, pathKey)
	if packet != before {
		t.Error("packet changed")
	}
	if (hop == nil) == (failure == nil) {
		t.Fatalf("%v and %v", hop, failure)
	}
	if failure == nil {
		_ = hop.Resolve(1000, 500)
		failure = hop.Refuse(&lnwire.FailMPPTimeout{})
	}
	inside := len(pathKey) > 0
	switch {
	case failure.Malformed && lnwire.FailCode(failure.Code)&lnwire.FlagBadOnion == 0:
		t.Errorf("malformed with code %#x", failure.Code)
	case inside && (!failure.Malformed || failure.Code != invalidOnionBlinding):
		t.Errorf("in a blinded path: %v", failure)
	case !failure.Malformed:
		if _, err := k.Fail(&packet, testHash, pathKey, failure.Message); err != nil {
			t.Errorf("fail: %v", err)
		}
	}
}

// seal encrypts data for a node of a blinded path.
func seal(s secret, data []byte) []byte {
	node := &sphinx.HopInfo{NodePub: testKey(0).PubKey(), PlainText: bytes.Clone(data)}
	hop, err := node.Encrypt([32]byte(s))
	if err != nil {
		panic(err)
	}
	return hop.CipherText
}

func FuzzPeelMessage(f *testing.F) {
	relay := testRelay()
	f.Add([]byte{}, []byte{}, false)
	f.Add(stream(f, recOdd), []byte{}, true)
	f.Add(stream(f), must[[]byte](f)(relay.Encode()), false)
	path := must[BlindedPath](f)(PathTo(session(1), nodes(0, 1), EncryptedData{}))
	f.Add(stream(f, Record{messageReplyPath, must[[]byte](f)(path.Encode())}), []byte{}, true)
	k := NewRouter(testKey(0))
	p := &pathSecret{testKey(9).PubKey(), sharedSecret(testKey(9), testKey(0).PubKey())}
	node := serialize(p.blind(testKey(0)).PubKey())
	f.Fuzz(func(t *testing.T, payload, data []byte, final bool) {
		peel := func(packet []byte) {
			before := bytes.Clone(packet)
			hop, err := k.PeelMessage(lnwire.NewOnionMessage(p.point, packet))
			same(t, "packet after", packet, before)
			if (hop == nil) == (err == nil) {
				t.Fatalf("%v and %v", hop, err)
			}
			if hop != nil && !hop.Final && len(hop.Next.OnionBlob) != len(packet) {
				t.Errorf("next packet of %d bytes", len(hop.Next.OnionBlob))
			}
		}
		peel(payload)
		if records, err := ParseRecords(payload); err == nil {
			if with, err := encodeSorted(append(records, Record{messageEncryptedData, seal(p.secret, data)})); err == nil {
				payload = with
			}
		}
		layers := []layer{{node, payload}}
		if !final {
			layers = append(layers, layer{testNode(1), []byte{0, 0}})
		}
		size := layersSize(layers) + len(data)%7
		if size > messageSizes[1] {
			return
		}
		if packet, err := buildPacket(testSession, layers, nil, size); err == nil {
			peel(packet)
		}
	})
}
