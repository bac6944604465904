package onion

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/lightningnetwork/lnd/lnwire"
)

// hexBytes are bytes that stand as hexadecimal in a vector.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func (h hexBytes) hash() [32]byte    { return [32]byte(h) }
func (h hexBytes) point() [33]byte   { return [33]byte(h) }
func (h hexBytes) onion() [1366]byte { return [1366]byte(h) }

func (h hexBytes) key(t testing.TB) *btcec.PrivateKey {
	t.Helper()
	key, err := sessionKey(h.hash())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func load[T any](t testing.TB, name string) (v T) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func same(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s\n got %x\nwant %x", what, got, want)
	}
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Hop{})); diff != "" {
		t.Errorf("%s (-want +got)\n%s", what, diff)
	}
}

// vectorTLVs is an encrypted_data_tlv as the vectors spell it.
type vectorTLVs struct {
	Padding     *hexBytes `json:"padding"`
	SCID        string    `json:"short_channel_id"`
	NextNode    hexBytes  `json:"next_node_id"`
	PathID      hexBytes  `json:"path_id"`
	Override    hexBytes  `json:"next_path_key_override"`
	Relay       *relay    `json:"payment_relay"`
	Constraints *struct {
		MaxCltv uint32 `json:"max_cltv_expiry"`
		MinHTLC uint64 `json:"htlc_minimum_msat"`
	} `json:"payment_constraints"`
	Features *struct {
		Bits []uint `json:"features"`
	} `json:"allowed_features"`
	Unknown561   hexBytes `json:"unknown_tag_561"`
	Unknown65535 hexBytes `json:"unknown_tag_65535"`
}

type relay struct {
	Delta        uint16 `json:"cltv_expiry_delta"`
	Proportional uint32 `json:"fee_proportional_millionths"`
	Base         uint32 `json:"fee_base_msat"`
}

func scid(t testing.TB, s string) lnwire.ShortChannelID {
	t.Helper()
	var id lnwire.ShortChannelID
	if _, err := fmt.Sscanf(s, "%dx%dx%d", &id.BlockHeight, &id.TxIndex, &id.TxPosition); err != nil {
		t.Fatalf("short_channel_id %q: %v", s, err)
	}
	return id
}

func (v vectorTLVs) data(t testing.TB) EncryptedData {
	d := EncryptedData{PathID: v.PathID}
	if v.Padding != nil {
		d.Padding = append([]byte{}, *v.Padding...)
	}
	if v.SCID != "" {
		d.ShortChannelID = ref(scid(t, v.SCID))
	}
	if v.NextNode != nil {
		d.NextNode = ref(v.NextNode.point())
	}
	if v.Override != nil {
		d.NextPathKeyOverride = ref(v.Override.point())
	}
	if r := v.Relay; r != nil {
		d.Relay = &PaymentRelay{r.Delta, r.Proportional, r.Base}
	}
	if c := v.Constraints; c != nil {
		d.Constraints = &PaymentConstraints{c.MaxCltv, lnwire.MilliSatoshi(c.MinHTLC)}
	}
	if f := v.Features; f != nil {
		d.Features = []byte{}
		for _, bit := range f.Bits {
			d.Features = make([]byte, bit/8+1)
			d.Features[0] = 1 << (bit % 8)
		}
	}
	if v.Unknown561 != nil {
		d.Custom = append(d.Custom, Record{561, v.Unknown561})
	}
	if v.Unknown65535 != nil {
		d.Custom = append(d.Custom, Record{65535, v.Unknown65535})
	}
	return d
}

// checkData compares both directions of the codec with a vector.
func checkData(t *testing.T, v vectorTLVs, wire []byte) {
	t.Helper()
	same(t, "encoded", must[[]byte](t)(v.data(t).Encode()), wire)
	equal(t, "decoded", must[EncryptedData](t)(DecodeEncryptedData(wire)), v.data(t))
}

type vectorPath struct {
	First   hexBytes `json:"first_node_id"`
	PathKey hexBytes `json:"first_path_key"`
	Hops    []struct {
		Node  hexBytes `json:"blinded_node_id"`
		Data  hexBytes `json:"encrypted_data"`
		Data2 hexBytes `json:"encrypted_recipient_data"`
	} `json:"hops"`
}

func (v vectorPath) path() BlindedPath {
	p := BlindedPath{First: v.First.point(), PathKey: v.PathKey.point()}
	for _, hop := range v.Hops {
		p.Hops = append(p.Hops, BlindedHop{hop.Node.point(), append(hop.Data, hop.Data2...)})
	}
	return p
}

// The vectors' keys, of Alice, Bob, Carol, Dave and Eve.
func vectorKey(t testing.TB, i int) *btcec.PrivateKey {
	return hexBytes(bytes.Repeat([]byte{0x41 + byte(i)}, 32)).key(t)
}

func TestOnionVector(t *testing.T) {
	v := load[struct {
		Generate struct {
			Session    hexBytes `json:"session_key"`
			Associated hexBytes `json:"associated_data"`
			Hops       []struct {
				Node    hexBytes `json:"pubkey"`
				Payload hexBytes `json:"payload"` // with its length
			} `json:"hops"`
		} `json:"generate"`
		Onion hexBytes   `json:"onion"`
		Keys  []hexBytes `json:"decode"`
	}](t, "bolt04/onion-test.json")
	var custom []byte
	for i := range 60 {
		custom = append(custom, byte(i%15+1))
	}
	secret := hexBytes(must[[]byte](t)(hex.DecodeString(
		"24a33562c54507a9334e79f0dc4f17d407e6d7c61f0e2f3d0d38599502f61704"))).hash()
	hops := []PayHop{
		{Amount: 15000, Cltv: 1500, NextSCID: lnwire.NewShortChanIDFromInt(1)},
		{Amount: 14000, Cltv: 1400, NextSCID: lnwire.NewShortChanIDFromInt(2), Custom: []Record{{513, custom}}},
		{Amount: 12500, Cltv: 1250, NextSCID: lnwire.NewShortChanIDFromInt(3)},
		{Amount: 10000, Cltv: 1000, NextSCID: lnwire.NewShortChanIDFromInt(4)},
		{Amount: 10000, Cltv: 1000, PaymentSecret: &secret, Total: 10000,
			Custom: []Record{{301, bytes.Repeat([]byte{0x2a}, 224)}}},
	}
	hash := v.Generate.Associated.hash()

	t.Run("build", func(t *testing.T) {
		for i := range hops {
			hops[i].Node = v.Generate.Hops[i].Node.point()
			stream := must[[]byte](t)(hops[i].payload(i == len(hops)-1))
			same(t, fmt.Sprintf("payload of hop %d", i),
				append(appendBigSize(nil, uint64(len(stream))), stream...), v.Generate.Hops[i].Payload)
		}
		packet, _, err := Build(v.Generate.Session.hash(), hops, hash)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "onion", packet[:], v.Onion)
	})
	packet := v.Onion.onion()
	for i, key := range v.Keys {
		t.Run(fmt.Sprintf("peel hop %d", i), func(t *testing.T) {
			hop, failure := NewRouter(key.key(t)).Peel(&packet, hash, nil)
			if failure != nil {
				t.Fatal(failure)
			}
			want := &Hop{Final: i == len(hops)-1, Amount: hops[i].Amount, Cltv: hops[i].Cltv,
				NextSCID: hops[i].NextSCID, Next: hop.Next, Custom: hops[i].Custom,
				PaymentSecret: hops[i].PaymentSecret, Total: hops[i].Total}
			equal(t, "hop", hop, want)
			packet = hop.Next
		})
	}
}

func TestBlindedPaymentVector(t *testing.T) {
	type hop struct {
		Alias   string   `json:"alias"`
		Node    hexBytes `json:"pubkey"`
		Payload hexBytes `json:"payload"`
		TLVs    struct {
			SCID    string              `json:"outgoing_channel_id"`
			Amount  lnwire.MilliSatoshi `json:"amt_to_forward"`
			Cltv    uint32              `json:"outgoing_cltv_value"`
			Total   lnwire.MilliSatoshi `json:"total_amount_msat"`
			PathKey hexBytes            `json:"current_path_key"`
			Data    *vectorTLVs         `json:"encrypted_recipient_data"`
		} `json:"tlvs"`
	}
	v := load[struct {
		Generate struct {
			Session    hexBytes   `json:"session_key"`
			Associated hexBytes   `json:"associated_data"`
			Path       vectorPath `json:"blinded_route"`
			Full       struct {
				Hops []hop `json:"hops"`
			} `json:"full_route"`
			Onion hexBytes `json:"onion"`
		} `json:"generate"`
		Decrypt struct {
			Hops []struct {
				Alias   string   `json:"alias"`
				Onion   hexBytes `json:"onion"`
				Key     hexBytes `json:"node_privkey"`
				PathKey hexBytes `json:"next_path_key"`
			} `json:"hops"`
		} `json:"decrypt"`
	}](t, "bolt04/blinded-payment-onion-test.json")
	path, hash := v.Generate.Path.path(), v.Generate.Associated.hash()
	route := v.Generate.Full.Hops
	last := len(route) - 1

	t.Run("build", func(t *testing.T) {
		var hops []PayHop
		for i, h := range route {
			hop := PayHop{Node: h.Node.point(), Amount: h.TLVs.Amount, Cltv: h.TLVs.Cltv, Total: h.TLVs.Total}
			if i == 0 {
				hop.NextSCID = scid(t, h.TLVs.SCID)
			} else {
				hop.EncryptedData = path.Hops[i-1].Data
			}
			if i == 1 {
				hop.PathKey = &path.PathKey
			}
			stream := must[[]byte](t)(hop.payload(i == last))
			same(t, "payload of "+h.Alias, append(appendBigSize(nil, uint64(len(stream))), stream...), h.Payload)
			hops = append(hops, hop)
		}
		packet, _, err := Build(v.Generate.Session.hash(), hops, hash)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "onion", packet[:], v.Generate.Onion)
	})
	// The HTLC as it arrives at each hop: the sender's amounts less the fees of the path.
	amount, cltv := route[0].TLVs.Amount, route[0].TLVs.Cltv
	var pathKey []byte
	for i, h := range v.Decrypt.Hops {
		t.Run("peel "+h.Alias, func(t *testing.T) {
			packet := h.Onion.onion()
			hop, failure := NewRouter(h.Key.key(t)).Peel(&packet, hash, pathKey)
			if failure != nil {
				t.Fatal(failure)
			}
			if i < last {
				same(t, "next onion", hop.Next[:], v.Decrypt.Hops[i+1].Onion)
				same(t, "next path_key", hop.NextPathKey, h.PathKey)
			}
			want := &Hop{Final: i == last, Next: hop.Next, NextPathKey: hop.NextPathKey, onionHash: hop.onionHash,
				Blinded: i > 0, Introduction: i == 1}
			if i == 0 {
				want.Amount, want.Cltv, want.NextSCID = amount, cltv, scid(t, route[0].TLVs.SCID)
				equal(t, "hop", hop, want)
				return
			}
			data := route[i].TLVs.Data.data(t)
			want.Relay, want.Constraints, want.PathID = data.Relay, data.Constraints, data.PathID
			if i == last {
				want.Amount, want.Cltv, want.Total = route[i].TLVs.Amount, route[i].TLVs.Cltv, route[i].TLVs.Total
			} else {
				want.NextSCID = *data.ShortChannelID
			}
			equal(t, "hop", hop, want)
			if err := hop.Resolve(amount, cltv); err != nil {
				t.Error(err)
			}
			if i == last && (amount < hop.Amount || cltv != hop.Cltv) {
				t.Errorf("%d msat, cltv_expiry %d arrive, want %d, %d", amount, cltv, hop.Amount, hop.Cltv)
			}
			amount, cltv, pathKey = hop.Amount, hop.Cltv, hop.NextPathKey
		})
	}
}

func TestRouteBlindingVector(t *testing.T) {
	v := load[struct {
		Generate struct {
			Hops []struct {
				Session   hexBytes   `json:"session_key"`
				Alias     string     `json:"alias"`
				Node      hexBytes   `json:"node_id"`
				TLVs      vectorTLVs `json:"tlvs"`
				Plain     hexBytes   `json:"encoded_tlvs"`
				PathKey   hexBytes   `json:"path_key"`
				Secret    hexBytes   `json:"shared_secret"`
				Rho       hexBytes   `json:"rho"`
				Encrypted hexBytes   `json:"encrypted_data"`
				Blinded   hexBytes   `json:"blinded_node_id"`
			} `json:"hops"`
		} `json:"generate"`
		Route   vectorPath `json:"route"`
		Unblind struct {
			Hops []struct {
				Alias   string   `json:"alias"`
				Key     hexBytes `json:"node_privkey"`
				PathKey hexBytes `json:"path_key"`
				Blinded hexBytes `json:"blinded_privkey"`
				Plain   hexBytes `json:"decrypted_data"`
				Next    hexBytes `json:"next_path_key"`
			} `json:"hops"`
		} `json:"unblind"`
	}](t, "bolt04/route-blinding-test.json")
	hops := v.Generate.Hops

	for _, h := range hops {
		t.Run("encode "+h.Alias, func(t *testing.T) { checkData(t, h.TLVs, h.Plain) })
	}
	t.Run("generate", func(t *testing.T) {
		var nodes []PathNode
		for _, h := range hops {
			nodes = append(nodes, PathNode{h.Node.point(), h.TLVs.data(t)})
		}
		path := must[BlindedPath](t)(NewBlindedPath(hops[0].Session.hash(), nodes[:2]))
		far := must[BlindedPath](t)(NewBlindedPath(hops[2].Session.hash(), nodes[2:]))
		same(t, "path_key of Dave", far.PathKey[:], hops[2].PathKey)
		path.Hops = append(path.Hops, far.Hops...)
		equal(t, "path", path, v.Route.path())
	})
	t.Run("codec", func(t *testing.T) {
		path := v.Route.path()
		wire := must[[]byte](t)(path.Encode())
		equal(t, "path", must[BlindedPath](t)(DecodeBlindedPath(wire)), path)
	})
	for i, h := range v.Unblind.Hops {
		t.Run("unblind "+h.Alias, func(t *testing.T) {
			k := NewRouter(h.Key.key(t))
			p := must[*pathSecret](t)(k.pathSecret(h.PathKey))
			same(t, "shared secret", p.secret[:], hops[i].Secret)
			rho := p.key("rho")
			same(t, "rho", rho[:], hops[i].Rho)
			same(t, "blinded key", p.blind(k.key).Serialize(), h.Blinded)
			same(t, "blinded node", p.blind(k.key).PubKey().SerializeCompressed(), hops[i].Blinded)
			same(t, "data", must[[]byte](t)(p.decrypt(hops[i].Encrypted)), h.Plain)
			data := must[EncryptedData](t)(DecodeEncryptedData(h.Plain))
			data.NextPathKeyOverride = nil
			next := p.next(&data)
			same(t, "next path_key", next[:], h.Next)
		})
	}
}

func TestBlindedMessageVector(t *testing.T) {
	v := load[struct {
		Generate struct {
			Session hexBytes `json:"session_key"`
			Hops    []struct {
				Alias     string     `json:"alias"`
				Session   hexBytes   `json:"path_key_secret"`
				TLVs      vectorTLVs `json:"tlvs"`
				Plain     hexBytes   `json:"encrypted_data_tlv"`
				Secret    hexBytes   `json:"ss"`
				PathKey   hexBytes   `json:"E"`
				Encrypted hexBytes   `json:"encrypted_recipient_data"`
				Blinded   hexBytes   `json:"blinded_node_id"`
			} `json:"hops"`
		} `json:"generate"`
		Route   vectorPath `json:"route"`
		Message struct {
			Hello  hexBytes `json:"unknown_tag_1"`
			Packet hexBytes `json:"onion_message_packet"`
		} `json:"onionmessage"`
		Decrypt struct {
			Hops []struct {
				Alias   string   `json:"alias"`
				Key     hexBytes `json:"privkey"`
				Message hexBytes `json:"onion_message"`
				Next    hexBytes `json:"next_node_id"`
			} `json:"hops"`
		} `json:"decrypt"`
	}](t, "bolt04/blinded-onion-message-onion-test.json")
	hops := v.Generate.Hops
	route := v.Route.path()
	contents := []Record{{1, v.Message.Hello}}

	for i, h := range hops {
		t.Run("encode "+h.Alias, func(t *testing.T) {
			checkData(t, h.TLVs, h.Plain)
			p := must[*pathSecret](t)(NewRouter(vectorKey(t, i)).pathSecret(h.PathKey))
			same(t, "shared secret", p.secret[:], h.Secret)
			same(t, "data", must[[]byte](t)(p.decrypt(h.Encrypted)), h.Plain)
		})
	}
	t.Run("join", func(t *testing.T) {
		// Dave's path from Bob on; its padding is what makes the data equally long.
		var nodes []PathNode
		for i, h := range hops[1:] {
			data := h.TLVs.data(t)
			data.Padding = nil
			nodes = append(nodes, PathNode{serialize(vectorKey(t, i+1).PubKey()), data})
		}
		path := must[BlindedPath](t)(NewBlindedPath(hops[1].Session.hash(), nodes))
		alice := [][33]byte{serialize(vectorKey(t, 0).PubKey())}
		equal(t, "path", must[BlindedPath](t)(JoinPath(hops[0].Session.hash(), alice, path)), route)
	})
	t.Run("build", func(t *testing.T) {
		m := must[*lnwire.OnionMessage](t)(
			BuildMessage(v.Generate.Session.hash(), route, MessagePayload{Contents: contents}))
		same(t, "packet", m.OnionBlob, v.Message.Packet)
	})
	for i, h := range v.Decrypt.Hops {
		t.Run("peel "+h.Alias, func(t *testing.T) {
			m := must[lnwire.Message](t)(lnwire.ReadMessage(bytes.NewReader(h.Message), 0))
			hop, err := NewRouter(h.Key.key(t)).PeelMessage(m.(*lnwire.OnionMessage))
			if err != nil {
				t.Fatal(err)
			}
			want := &MessageHop{Final: i == len(hops)-1, Data: hops[i].TLVs.data(t)}
			if want.Final {
				want.Contents = contents
			} else {
				want.NextNode = ref(h.Next.point())
				var next bytes.Buffer
				must[int](t)(lnwire.WriteMessage(&next, hop.Next, 0))
				same(t, "next message", next.Bytes(), v.Decrypt.Hops[i+1].Message)
				hop.Next = nil
			}
			equal(t, "hop", hop, want)
		})
	}
}
