package graph

import (
	"bytes"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Address is where a node says it can be reached.
type Address struct {
	Host string // an IP address, a name, or a .onion name
	Port uint16
}

func (a Address) String() string {
	if strings.Contains(a.Host, ":") {
		return fmt.Sprintf("[%s]:%d", a.Host, a.Port)
	}
	return fmt.Sprintf("%s:%d", a.Host, a.Port)
}

// Address descriptor types of BOLT 7 "The node_announcement Message".
const (
	addressIPv4     = 1
	addressIPv6     = 2
	addressTorV2    = 3
	addressTorV3    = 4
	addressHostname = 5
)

var onionEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// readAddresses reads descriptors up to the first of an unknown type: BOLT 7 orders them by type, so that all behind it
// are unknown too. Of hostnames only the first counts; Tor v2 and ports of 0 are passed over.
func readAddresses(c *cursor) (found []Address, hostnames int) {
	for c.err == nil && len(c.rest) > 0 {
		var host string
		switch t := c.u8("type"); t {
		case addressIPv4, addressIPv6:
			ip, _ := netip.AddrFromSlice(c.take("ip", map[uint8]int{addressIPv4: 4, addressIPv6: 16}[t]))
			host = ip.String()
		case addressTorV2:
			c.take("onion v2", 10)
		case addressTorV3:
			host = onionEncoding.EncodeToString(c.take("onion v3", 35)) + ".onion"
		case addressHostname:
			name := c.take("hostname", int(c.u8("hostname_len")))
			if hostnames++; hostnames == 1 && validHostname(string(name)) {
				host = string(name)
			}
		default:
			return found, hostnames
		}
		port := c.u16("port")
		if c.err == nil && host != "" && port != 0 {
			found = append(found, Address{host, port})
		}
	}
	return found, hostnames
}

// validHostname admits what can be in a DNS name: other bytes could mean something to whatever shows or dials it.
func validHostname(name string) bool {
	if name == "" || len(name) > 255 || strings.HasSuffix(name, ".onion") {
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_')
	}) < 0
}

// ParseAddress reads host:port for our own announcement. The host may be an IP address, a DNS name or a Tor v3 name.
func ParseAddress(text string) (Address, error) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return Address{}, fmt.Errorf("address %q has no port", text)
	}
	port, err := strconv.ParseUint(text[i+1:], 10, 16)
	if err != nil || port == 0 {
		return Address{}, fmt.Errorf("address %q: port not within 1..65535", text)
	}
	host := text[:i]
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	a := Address{host, uint16(port)}
	if _, err := a.Descriptor(); err != nil {
		return Address{}, err
	}
	return a, nil
}

// Descriptor is the address as BOLT 7 "The node_announcement Message" writes it: a type, what the type says, and the port.
func (a Address) Descriptor() ([]byte, error) {
	var b []byte
	ip, err := netip.ParseAddr(a.Host)
	onion, isOnion := strings.CutSuffix(a.Host, ".onion")
	switch {
	case a.Port == 0:
		return nil, fmt.Errorf("address %s: port 0", a.Host)
	case err == nil && ip.Unmap().Is4():
		b = append([]byte{addressIPv4}, ip.Unmap().AsSlice()...)
	case err == nil && ip.Zone() == "":
		b = append([]byte{addressIPv6}, ip.AsSlice()...)
	case isOnion:
		raw, err := onionEncoding.DecodeString(onion)
		if err != nil || len(raw) != 35 {
			return nil, fmt.Errorf("address %s is not a Tor v3 name", a.Host)
		}
		b = append([]byte{addressTorV3}, raw...)
	case validHostname(a.Host):
		b = append([]byte{addressHostname, byte(len(a.Host))}, a.Host...)
	default:
		return nil, fmt.Errorf("address %q is neither an IP address nor a name", a.Host)
	}
	return binary.BigEndian.AppendUint16(b, a.Port), nil
}

// ReadDescriptor reads one address descriptor of BOLT 7, as Descriptor writes it: no Tor v2 name, no port 0, and nothing behind it.
func ReadDescriptor(b []byte) (Address, error) {
	c := &cursor{rest: b}
	found, _ := readAddresses(c)
	if c.err != nil {
		return Address{}, c.err
	}
	if len(found) == 1 {
		if d, err := found[0].Descriptor(); err == nil && bytes.Equal(b, d) {
			return found[0], nil
		}
	}
	return Address{}, fmt.Errorf("%d bytes are not one address descriptor that can be dialled", len(b))
}

// encodeAddresses writes descriptors in ascending order of type and content, each once, with at most one hostname, as
// BOLT 7 wants them.
func encodeAddresses(addresses []Address) ([]byte, error) {
	var all [][]byte
	hostnames := 0
	for _, a := range addresses {
		d, err := a.Descriptor()
		if err != nil {
			return nil, err
		}
		if d[0] == addressHostname {
			hostnames++
		}
		all = append(all, d)
	}
	if hostnames > 1 {
		return nil, fmt.Errorf("%d host names, at most 1 can be announced", hostnames)
	}
	slices.SortFunc(all, slices.Compare[[]byte])
	return slices.Concat(slices.CompactFunc(all, slices.Equal[[]byte])...), nil
}
