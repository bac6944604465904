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

func TestForeignGossip(t *testing.T) {
	var vectors []struct{ Name, Hex, Node string }
	data, err := os.ReadFile("testdata/foreign.json")
	must(t, err)
	must(t, json.Unmarshal(data, &vectors))
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			raw, err := hex.DecodeString(v.Hex)
			must(t, err)
			node, err := hex.DecodeString(v.Node)
			must(t, err)
			m, err := Parse(uint16(raw[0])<<8|uint16(raw[1]), raw[2:])
			must(t, err)
			if !bytes.Equal(m.Message().Body, raw[2:]) {
				t.Fatal("the message is not kept as it was")
			}
			switch m := m.(type) {
			case *ChannelUpdate:
				must(t, m.VerifyBy(NodeID(node)))
			case *NodeAnnouncement:
				if len(node) == 0 {
					if got := fmt.Sprint(m.AliasText(), m.Addresses); got != "ln0.decenter.world[[::ffff:174.138.11.8]:9735]" {
						t.Fatal(got)
					}
					return
				}
				must(t, m.Verify())
				if m.Node != NodeID(node) {
					t.Fatalf("node %x", m.Node)
				}
			}
		})
	}
}

// What we make is what lnd reads, and what it signs over is what we sign over.
func TestAgainstLnwire(t *testing.T) {
	for _, m := range []Gossip{announce(t, 5, 4, 600, 0x80, 0x02), update(t, 5, 4, 600, 0), update(t, 4, 5, 600, 0), describe(t, 4, 0)} {
		msg := m.Message()
		raw := append([]byte{byte(msg.Type >> 8), byte(msg.Type)}, msg.Body...)
		theirs, err := lnwire.ReadMessage(bytes.NewReader(raw), 0)
		must(t, err)
		var again bytes.Buffer
		_, err = lnwire.WriteMessage(&again, theirs, 0)
		must(t, err)
		if !bytes.Equal(again.Bytes(), raw) {
			t.Errorf("%T: %x, lnwire writes %x", m, raw, again.Bytes())
		}
		signed, err := theirs.(interface{ DataToSign() ([]byte, error) }).DataToSign()
		must(t, err)
		if !bytes.HasSuffix(raw, signed) {
			t.Errorf("%T: lnwire signs %x of %x", m, signed, raw)
		}
	}
}

// Every byte of a message is covered by its signatures, unknown fields behind it too.
func TestEveryByteIsSigned(t *testing.T) {
	tests := []struct {
		name   string
		m      Gossip
		verify func(Gossip) error
	}{
		{"channel_announcement", announce(t, 4, 5, 600, 2), Gossip.Verify},
		{"channel_update", update(t, 4, 5, 600, 0), func(m Gossip) error { return m.(*ChannelUpdate).VerifyBy(id(4)) }},
		{"node_announcement", describe(t, 4, 0), Gossip.Verify},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			must(t, test.verify(test.m))
			must(t, test.verify(test.m)) // remembered
			body := test.m.Message().Body
			for i := 0; i < len(body); i += 7 {
				changed := append([]byte(nil), body...)
				changed[i] ^= 0x10
				m, err := Parse(test.m.Message().Type, changed)
				if err == nil && test.verify(m) == nil {
					t.Errorf("byte %d is not signed", i)
				}
			}
			m, err := Parse(test.m.Message().Type, append(append([]byte(nil), body...), 1, 2, 3))
			must(t, err)
			if test.verify(m) == nil {
				t.Error("bytes behind the known fields are not signed")
			}
			if cut, err := Parse(test.m.Message().Type, body[:len(body)-1]); err == nil {
				t.Errorf("a message that is cut short parses: %v", cut)
			}
			if _, err := Parse(test.m.Message().Type, append(append([]byte(nil), body...), make([]byte, 4000)...)); err == nil {
				t.Error("4000 bytes of anything are accepted")
			}
		})
	}
}

func TestUnknownFieldsAreKept(t *testing.T) {
	u := update(t, 4, 5, 600, 0)
	body := append(append([]byte(nil), u.body...), 0xfd, 0x01, 0x03, 0x02, 0xab, 0xcd)
	signInto(body, signer(4))
	m, err := Parse(TypeChannelUpdate, body)
	must(t, err)
	g := newGraph()
	out := learn(t, g, announce(t, 4, 5, 600), m)
	if got := out.Relay[1].Body; !bytes.Equal(got, body) {
		t.Fatalf("relayed %x", got)
	}
	d := disk{}
	d.store(out.Rows)
	info, _ := d.reload(t).Channel(scid(600))
	for _, u := range info.Updates {
		if u != nil && !bytes.Equal(u.body, body) {
			t.Fatalf("stored %x", u.body)
		}
	}
}

func TestBadMessagesAreRefused(t *testing.T) {
	swapped := append([]byte(nil), announce(t, 4, 5, 600).body...)
	at := len(swapped) - 4*33
	one := append([]byte(nil), swapped[at:at+33]...)
	copy(swapped[at:], swapped[at+33:at+66])
	copy(swapped[at+33:], one)
	addresses := append([]byte(nil), describe(t, 4, 0).body...)
	addresses[len(addresses)-7] = 2 // an IPv6 address of 6 bytes
	tests := []struct {
		name string
		typ  uint16
		body []byte
		want string
	}{
		{"not gossip", 259, nil, "not gossip"},
		{"empty", 256, nil, "signature: 64 bytes needed, 0 left"},
		{"order of the nodes", 256, swapped, "not below node_id_2"},
		{"channel_update without htlc_maximum_msat", 258, update(t, 4, 5, 600, 0).body[:128], "htlc_maximum_msat: 8 bytes needed, 0 left"},
		{"addresses too short", 257, addresses, "addresses: ip: 16 bytes needed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := Parse(test.typ, test.body); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatal(err)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	onion := strings.Repeat("a", 55) + "d.onion"
	all := []string{"node.example.com:9735", onion + ":9735", "[2001:db8::1]:9735", "192.0.2.7:1", "192.0.2.7:1"}
	var in []Address
	for _, text := range all {
		a, err := ParseAddress(text)
		must(t, err)
		in = append(in, a)
	}
	m, err := NewNodeAnnouncement(NodeTemplate{Node: id(4), Timestamp: 1, Alias: "ünïcode", Addresses: in}, signer(4))
	must(t, err)
	must(t, m.Verify())
	var got []string
	for _, a := range m.Addresses {
		got = append(got, a.String())
	}
	// In ascending order of type, each once.
	if diff := cmp.Diff([]string{"192.0.2.7:1", "[2001:db8::1]:9735", onion + ":9735", "node.example.com:9735"}, got); diff != "" {
		t.Fatal(diff)
	}
	if m.AliasText() != "ünïcode" {
		t.Fatal(m.AliasText())
	}
	for _, text := range []string{"", "host", "host:0", "host:65536", ":1", "a b:1", "[::1%eth0]:1", "short.onion:1", strings.Repeat("x", 256) + ":1"} {
		if a, err := ParseAddress(text); err == nil {
			t.Errorf("%q parses as %v", text, a)
		}
	}
	if _, err := NewNodeAnnouncement(NodeTemplate{Addresses: []Address{{"a.example", 1}, {"b.example", 1}}}, signer(4)); err == nil {
		t.Error("two host names are announced")
	}
	if _, err := NewNodeAnnouncement(NodeTemplate{Alias: strings.Repeat("x", 33)}, signer(4)); err == nil {
		t.Error("an alias of 33 bytes is announced")
	}
}

func TestForeignAddresses(t *testing.T) {
	tests := []struct {
		name, hex string
		want      []Address
		hostnames int
	}{
		{"unknown type ends the list", "01c000020126079900", []Address{{"192.0.2.1", 9735}}, 0},
		{"port 0 is passed over", "01c00002010000" + "01c00002022607", []Address{{"192.0.2.2", 9735}}, 0},
		{"Tor v2 is passed over", "03aaaaaaaaaaaaaaaaaaaa2607" + "0502612e2607", []Address{{"a.", 9735}}, 1},
		{"second host name", "0501612607" + "0501622607", []Address{{"a", 9735}}, 2},
		{"host name of other bytes", "05023c3e2607", nil, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			raw, err := hex.DecodeString(test.hex)
			must(t, err)
			got, hostnames := readAddresses(&cursor{rest: raw})
			if diff := cmp.Diff(test.want, got); diff != "" || hostnames != test.hostnames {
				t.Fatal(hostnames, diff)
			}
		})
	}
}

func TestAliasIsMadePrintable(t *testing.T) {
	n := &NodeAnnouncement{}
	copy(n.Alias[:], "a\x1b[31m\xff<b>\n")
	if got := n.AliasText(); got != "a?[31m?<b>?" {
		t.Fatalf("%q", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, m := range []Gossip{announce(f, 4, 5, 600, 2), update(f, 4, 5, 600, 0), describe(f, 4, 0)} {
		f.Add(m.Message().Type, m.Message().Body)
	}
	f.Fuzz(func(t *testing.T, typ uint16, body []byte) {
		m, err := Parse(typ, body)
		if err != nil {
			return
		}
		if got := m.Message(); got.Type != typ || !bytes.Equal(got.Body, body) {
			t.Fatalf("%d %x came back as %d %x", typ, body, got.Type, got.Body)
		}
		if n, ok := m.(*NodeAnnouncement); ok {
			n.AliasText()
			for _, a := range n.Addresses {
				if _, err := ParseAddress(a.String()); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// TestDescriptors: one address is read back as it was written, and nothing else is.
func TestDescriptors(t *testing.T) {
	for _, text := range []string{"node.example.com:9735", strings.Repeat("a", 55) + "d.onion:9735", "[2001:db8::1]:9735", "192.0.2.7:1"} {
		a, err := ParseAddress(text)
		must(t, err)
		d, err := a.Descriptor()
		must(t, err)
		if got, err := ReadDescriptor(d); err != nil || got != a {
			t.Errorf("%s is read as %v, %v", text, got, err)
		}
		for i := range d {
			if got, err := ReadDescriptor(d[:i]); err == nil {
				t.Errorf("%x is read as %v", d[:i], got)
			}
		}
		if got, err := ReadDescriptor(append(d, d...)); err == nil {
			t.Errorf("two are read as %v", got)
		}
	}
	if got, err := ReadDescriptor([]byte{1, 127, 0, 0, 1, 0, 0}); err == nil {
		t.Errorf("port 0 is read as %v", got)
	}
}
