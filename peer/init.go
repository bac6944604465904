package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// ErrWrongChain says that the peer names the chains it is interested in, and ours is not among them.
var ErrWrongChain = errors.New("no common chain")

// Init is the first message of each side of a connection (BOLT 1 "The init Message").
type Init struct {
	Features   Features         // globalfeatures and features combined, as BOLT 1 has the receiver do
	Chains     []chainhash.Hash // TLV networks; nil: not given
	RemoteAddr []byte           // TLV remote_addr, an address descriptor of BOLT 7, as received
}

const (
	tlvNetworks   = 1
	tlvRemoteAddr = 3

	// lowFeatures is the number of bytes of globalfeatures we send. BOLT 1 wants no bit above 13 there.
	lowFeatures = 2
)

// encode gives type and payload.
func (m Init) encode() []byte {
	low := m.Features
	if len(low) > lowFeatures {
		low = low[len(low)-lowFeatures:]
	}
	low = slices.Clone(low)
	if len(low) == lowFeatures {
		low[0] &= 0x3f
	}
	low = low.With()

	b := binary.BigEndian.AppendUint16(nil, typeInit)
	b = binary.BigEndian.AppendUint16(b, uint16(len(low)))
	b = append(b, low...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(m.Features)))
	b = append(b, m.Features...)
	if len(m.Chains) > 0 {
		b = append(b, tlvNetworks)
		b = appendBigSize(b, uint64(len(m.Chains)*chainhash.HashSize))
		for _, c := range m.Chains {
			b = append(b, c[:]...)
		}
	}
	if len(m.RemoteAddr) > 0 {
		b = append(b, tlvRemoteAddr)
		b = appendBigSize(b, uint64(len(m.RemoteAddr)))
		b = append(b, m.RemoteAddr...)
	}
	return b
}

// decodeInit reads an init message, type and payload. Feature vectors stay bytes: as a set of bits a hostile one of 64 kB
// would need a thousand times as much.
func decodeInit(msg []byte) (Init, error) {
	c := cursor{b: msg}
	if t := c.uint16(); c.err != nil {
		return Init{}, fmt.Errorf("init: %w", c.err)
	} else if t != typeInit {
		return Init{}, fmt.Errorf("message of type %d before init", t)
	}
	low := c.bytes(uint64(c.uint16()))
	high := c.bytes(uint64(c.uint16()))
	if c.err != nil {
		return Init{}, fmt.Errorf("init: features: %w", c.err)
	}
	m := Init{Features: combine(low, high)}
	if err := m.decodeTLVs(&c); err != nil {
		return Init{}, fmt.Errorf("init: %w", err)
	}
	return m, nil
}

func (m *Init) decodeTLVs(c *cursor) error {
	for first, last := true, uint64(0); len(c.b) > 0; first = false {
		t := c.bigSize()
		value := c.bytes(c.bigSize())
		switch {
		case c.err != nil:
			return fmt.Errorf("TLV stream: %w", c.err)
		case !first && t <= last:
			return fmt.Errorf("TLV stream: type %d after type %d", t, last)
		case t == tlvNetworks:
			if len(value)%chainhash.HashSize != 0 {
				return fmt.Errorf("networks of %d bytes, not a multiple of %d", len(value), chainhash.HashSize)
			}
			m.Chains = make([]chainhash.Hash, 0, len(value)/chainhash.HashSize)
			for hash := range slices.Chunk(value, chainhash.HashSize) {
				m.Chains = append(m.Chains, chainhash.Hash(hash))
			}
		case t == tlvRemoteAddr:
			m.RemoteAddr = slices.Clone(value)
		case t%2 == 0:
			return fmt.Errorf("TLV stream: unknown even type %d", t)
		}
		last = t
	}
	return nil
}

// check says whether we can go on with the sender of theirs, given what we sent ourselves.
func (m Init) check(theirs Init) error {
	if theirs.Chains != nil {
		common := slices.ContainsFunc(m.Chains, func(c chainhash.Hash) bool { return slices.Contains(theirs.Chains, c) })
		if !common {
			return fmt.Errorf("%w: peer is on %v", ErrWrongChain, theirs.Chains[:min(len(theirs.Chains), 4)])
		}
	}
	return m.Features.check(theirs.Features)
}

// combine is the bitwise or of two feature vectors.
func combine(a, b []byte) Features {
	if len(a) > len(b) {
		a, b = b, a
	}
	f := Features(slices.Clone(b))
	for i, v := range a {
		f[len(f)-len(a)+i] |= v
	}
	return f.With()
}

// describeAddr is the address descriptor (BOLT 7 "The node_announcement Message") of a peer's public IP address, or nil:
// BOLT 1 wants no private address in remote_addr.
func describeAddr(a net.Addr) []byte {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return nil
	}
	ip := tcp.AddrPort().Addr().Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || sharedAddresses.Contains(ip) {
		return nil
	}
	d := []byte{1}
	if ip.Is6() {
		d[0] = 2
	}
	d = append(d, ip.AsSlice()...)
	return binary.BigEndian.AppendUint16(d, uint16(tcp.Port))
}

var sharedAddresses = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

// cursor reads fields off the front of a message. After an error it reads zeros and stays at the error.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) bytes(n uint64) []byte {
	if c.err == nil && n > uint64(len(c.b)) {
		c.err = fmt.Errorf("%d bytes wanted, %d left", n, len(c.b))
	}
	if c.err != nil {
		c.b = nil
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) uint16() uint16 {
	v := c.bytes(2)
	if v == nil {
		return 0
	}
	return binary.BigEndian.Uint16(v)
}

// bigSize reads the variable-length integer of BOLT 1 and refuses one that is longer than need be.
func (c *cursor) bigSize() uint64 {
	first := c.bytes(1)
	if first == nil {
		return 0
	}
	if first[0] < 0xfd {
		return uint64(first[0])
	}
	size := 2 << (first[0] - 0xfd)
	var v, least uint64
	for _, b := range c.bytes(uint64(size)) {
		v = v<<8 | uint64(b)
	}
	if least = 0xfd; size > 2 {
		least = 1 << (size * 4)
	}
	if c.err == nil && v < least {
		c.err = fmt.Errorf("bigsize %d in %d bytes is not minimal", v, size+1)
		c.b = nil
	}
	return v
}

func appendBigSize(b []byte, v uint64) []byte {
	switch {
	case v < 0xfd:
		return append(b, byte(v))
	case v <= 0xffff:
		return binary.BigEndian.AppendUint16(append(b, 0xfd), uint16(v))
	case v <= 0xffffffff:
		return binary.BigEndian.AppendUint32(append(b, 0xfe), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xff), v)
}
