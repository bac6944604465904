package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"lightningrod/chain/octets"

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
		b = octets.AppendBigSize(b, uint64(len(m.Chains)*chainhash.HashSize))
		for _, c := range m.Chains {
			b = append(b, c[:]...)
		}
	}
	if len(m.RemoteAddr) > 0 {
		b = append(b, tlvRemoteAddr)
		b = octets.AppendBigSize(b, uint64(len(m.RemoteAddr)))
		b = append(b, m.RemoteAddr...)
	}
	return b
}

// decodeInit reads an init message, type and payload. Feature vectors stay bytes: as a set of bits a hostile one of 64 kB
// would need a thousand times as much.
func decodeInit(msg []byte) (Init, error) {
	c := octets.Of(msg)
	if t := c.Uint16(); c.Err != nil {
		return Init{}, fmt.Errorf("init: %w", c.Err)
	} else if t != typeInit {
		return Init{}, fmt.Errorf("message of type %d before init", t)
	}
	low := c.Take(uint64(c.Uint16()))
	high := c.Take(uint64(c.Uint16()))
	if c.Err != nil {
		return Init{}, fmt.Errorf("init: features: %w", c.Err)
	}
	m := Init{Features: combine(low, high)}
	if err := m.decodeTLVs(&c); err != nil {
		return Init{}, fmt.Errorf("init: %w", err)
	}
	return m, nil
}

func (m *Init) decodeTLVs(c *octets.Reader) error {
	for first, last := true, uint64(0); len(c.Buf) > 0; first = false {
		t := c.BigSize()
		value := c.Take(c.BigSize())
		switch {
		case c.Err != nil:
			return fmt.Errorf("TLV stream: %w", c.Err)
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
