package peer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Features is a feature vector as on the wire: big-endian, bit 0 is the least significant bit of the last byte (BOLT 9).
type Features []byte

// The features of BOLT 9 and the bLIPs that we speak, by their even bit. Bit+1 offers a feature, Bit demands it.
const (
	DataLossProtect   = 0
	GossipQueries     = 6
	VarOnionOptin     = 8
	StaticRemoteKey   = 12
	PaymentSecret     = 14
	BasicMPP          = 16
	LargeChannels     = 18
	Anchors           = 22
	RouteBlinding     = 24
	ShutdownAnysegwit = 26
	OnionMessages     = 38
	ChannelType       = 44
	ScidAlias         = 46
	Zeroconf          = 50
	SimpleClose       = 60
	LSPS              = 728 // bLIP-50, for the LSP only
	LightningRod      = 826
	OnionMailbox      = 828
)

// dependencies are the features that a feature needs (BOLT 9, column "Dependencies"), by even bits.
var dependencies = []struct{ feature, needs int }{
	{BasicMPP, PaymentSecret},
	{Zeroconf, ScidAlias},
	{SimpleClose, ShutdownAnysegwit},
}

// DefaultFeatures is what every node of ours announces. Of what BOLT 9 calls ASSUMED we demand what other
// implementations demand; all else is on offer. Not offered because it is not built: option_provide_storage,
// option_zeroconf, option_simple_close, option_attribution_data.
func DefaultFeatures() Features {
	return NewFeatures(
		DataLossProtect, VarOnionOptin, StaticRemoteKey, PaymentSecret, ChannelType,
		GossipQueries+1, BasicMPP+1, LargeChannels+1, Anchors+1, RouteBlinding+1, ShutdownAnysegwit+1, OnionMessages+1, ScidAlias+1,
	)
}

// LSPFeatures is DefaultFeatures and what an LSP offers on top: LSPS (which clients must not set), holding of HTLCs and
// keeping of onion messages.
func LSPFeatures() Features {
	return DefaultFeatures().With(LSPS+1, LightningRod+1, OnionMailbox+1)
}

// NewFeatures is the shortest vector with the given bits.
func NewFeatures(bits ...int) Features { return Features(nil).With(bits...) }

// With returns a copy with more bits set, of the minimal length that BOLT 1 asks for.
func (f Features) With(bits ...int) Features {
	size := len(f)
	for _, bit := range bits {
		size = max(size, bit/8+1)
	}
	g := make(Features, size)
	copy(g[size-len(f):], f)
	for _, bit := range bits {
		g[size-1-bit/8] |= 1 << (bit % 8)
	}
	for len(g) > 0 && g[0] == 0 {
		g = g[1:]
	}
	return g
}

// Has says whether exactly this bit is set.
func (f Features) Has(bit int) bool {
	i := len(f) - 1 - bit/8
	return bit >= 0 && i >= 0 && f[i]&(1<<(bit%8)) != 0
}

// Offers says whether a feature is offered or demanded, given either of its two bits.
func (f Features) Offers(bit int) bool { return f.Has(bit&^1) || f.Has(bit|1) }

// Requires says whether a feature is demanded. With both bits set it is (BOLT 9).
func (f Features) Requires(bit int) bool { return f.Has(bit &^ 1) }

// Bits lists the bits that are set, lowest first.
func (f Features) Bits() []int {
	var bits []int
	for i := range len(f) * 8 {
		if f.Has(i) {
			bits = append(bits, i)
		}
	}
	return bits
}

// String lists the bits, as in "0,8,12".
func (f Features) String() string {
	var s []string
	for _, bit := range f.Bits() {
		s = append(s, strconv.Itoa(bit))
	}
	return strings.Join(s, ",")
}

// check says whether a connection whose peer announces theirs can go on, for a node that announces f.
func (f Features) check(theirs Features) error {
	for i := 0; i < len(theirs)*8; i += 2 {
		// BOLT 1 "The init Message": an even bit that we do not know ends the connection. We know what we announce.
		if theirs.Has(i) && !f.Offers(i) && !slices.Contains(assumed, i) {
			return fmt.Errorf("feature bit %d is required and unknown here", i)
		}
	}
	for _, d := range dependencies {
		if theirs.Offers(d.feature) && !theirs.Offers(d.needs) {
			return fmt.Errorf("feature %d without feature %d, which it depends on", d.feature, d.needs)
		}
	}
	return nil
}

// assumed are the features BOLT 9 marks ASSUMED: a peer may demand them whatever we announce.
var assumed = []int{DataLossProtect, VarOnionOptin, StaticRemoteKey, PaymentSecret, ChannelType}
