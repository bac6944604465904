package explain

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"unicode/utf8"

	"lightningrod/cmd/rod/internal/facts"
	"lightningrod/rod"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/lightningnetwork/lnd/lnwire"
)

// cursor reads bytes and remembers its first error, with the field and the place. After it every read gives zero.
type cursor struct {
	all   []byte
	at    int
	base  int // of all within the whole
	field string
	err   error
}

// kind reads one value.
type kind func(*cursor) any

func newCursor(b []byte) *cursor { return &cursor{all: b} }

func (c *cursor) left() int { return len(c.all) - c.at }

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%s at byte %d: %s", c.field, c.base+c.at, fmt.Sprintf(format, args...))
	}
}

// read appends one field.
func (c *cursor) read(f *facts.Facts, x field) {
	if c.err != nil {
		return
	}
	// A stream that is not there is no fact.
	outer := c.field
	c.field = x.name
	if outer != "" {
		c.field = outer + "." + x.name
	}
	v := x.read(c)
	c.field = outer
	if s, ok := v.(facts.Facts); ok && len(s) == 0 {
		return
	}
	f.Add(x.name, v)
}

func (c *cursor) bytes(n int) []byte {
	if c.err == nil && n > c.left() {
		c.fail("%d bytes wanted, %d left", n, c.left())
	}
	if c.err != nil {
		return nil
	}
	c.at += n
	return c.all[c.at-n : c.at : c.at]
}

func (c *cursor) rest() []byte { return c.bytes(c.left()) }

func (c *cursor) uint(name string, size int) uint64 {
	if name != "" {
		c.field = name
	}
	var v uint64
	for _, b := range c.bytes(size) {
		v = v<<8 | uint64(b)
	}
	return v
}

// counted is what stands behind a length in two bytes.
func (c *cursor) counted() []byte {
	n := int(c.uint("", 2))
	return c.bytes(n)
}

// inner reads the next n bytes by themselves.
func (c *cursor) inner(n int) *cursor {
	base := c.base + c.at
	return &cursor{base: base, all: c.bytes(n), field: c.field, err: c.err}
}

// bigsize is BOLT 1's.
func (c *cursor) bigsize() uint64 {
	first := c.uint("", 1)
	if c.err != nil || first < 0xfd {
		return first
	}
	start := c.at - 1
	v := c.uint("", 1<<(first-0xfc))
	if least := map[uint64]uint64{0xfd: 0xfd, 0xfe: 1 << 16, 0xff: 1 << 32}[first]; c.err == nil && v < least {
		c.at = start
		c.fail("bigsize %d is not minimal: below %d", v, least)
	}
	return v
}

// stream reads TLV records up to the end.
func (c *cursor) stream(name string) facts.Facts {
	f := facts.Facts{}
	known := streams[name]
	outer := c.field
	for first, last := true, uint64(0); c.err == nil && c.left() > 0; first = false {
		c.field = within(outer, "tlv type")
		typ := c.bigsize()
		if c.err == nil && !first && typ <= last {
			c.fail("type %d is not above %d", typ, last)
		}
		last = typ
		c.field = within(outer, fmt.Sprintf("tlv %d length", typ))
		n := c.bigsize()
		if c.err == nil && n > uint64(c.left()) {
			c.fail("%d bytes wanted, %d left", n, c.left())
		}
		if c.err != nil {
			break
		}
		inner := c.inner(int(n))
		inner.field = outer
		x, ok := known[typ]
		if !ok {
			f.Add(fmt.Sprintf("tlv %d (unknown, %s)", typ, parity(typ)), hexOf(inner.rest()))
			continue
		}
		inner.field = within(outer, x.name)
		v := x.read(inner)
		if inner.err == nil && inner.left() > 0 {
			inner.fail("%d bytes too many", inner.left())
		}
		c.err = inner.err
		f.Add(x.name, v)
	}
	c.field = outer
	return f
}

func within(outer, name string) string {
	if outer == "" {
		return name
	}
	return outer + "." + name
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }

// Streams are the names of the TLV streams.
func Streams() []string { return slices.Sorted(maps.Keys(streams)) }

func unsigned(size int) kind { return func(c *cursor) any { return c.uint("", size) } }

// truncated are integers without leading zeros, up to the end.
func truncated(size int) kind {
	return func(c *cursor) any {
		if c.left() > size {
			c.fail("%d bytes, at most %d", c.left(), size)
		}
		if c.err == nil && c.left() > 0 && c.all[c.at] == 0 {
			c.fail("a leading zero: not minimal")
		}
		return c.uint("", c.left())
	}
}

func raw(n int) kind { return func(c *cursor) any { return hexOf(c.bytes(n)) } }

// repeated reads one kind n times; 0: up to the end.
func repeated(one kind, n int) kind {
	return func(c *cursor) any {
		l := []any{}
		for i := 0; c.err == nil && (i < n || n == 0 && c.left() > 0); i++ {
			l = append(l, one(c))
		}
		return l
	}
}

// kinds are the fields by the names that schema.txt gives them.
var kinds = map[string]kind{
	"u8": unsigned(1), "u16": unsigned(2), "u32": unsigned(4), "u64": unsigned(8),
	"s32":  func(c *cursor) any { return int64(int32(uint32(c.uint("", 4)))) },
	"s64":  func(c *cursor) any { return int64(c.uint("", 8)) },
	"tu16": truncated(2), "tu32": truncated(4), "tu64": truncated(8),
	// A field of old that may be missing at the end.
	"opt64": func(c *cursor) any {
		if c.left() == 0 {
			return facts.Facts{}
		}
		return c.uint("", 8)
	},
	"bigsize":   func(c *cursor) any { return c.bigsize() },
	"point":     point,
	"sig":       raw(64),
	"scid":      func(c *cursor) any { return scidText(c.uint("", 8)) },
	"txid":      txid,
	"bytes":     func(c *cursor) any { return hexOf(c.counted()) },
	"text":      func(c *cursor) any { return textOr(c.counted()) },
	"bits":      func(c *cursor) any { return bits(c.counted()) },
	"rest":      func(c *cursor) any { return hexOf(c.rest()) },
	"resttext":  func(c *cursor) any { return textOr(c.rest()) },
	"restbits":  func(c *cursor) any { return bits(c.rest()) },
	"alias":     alias,
	"sigs":      sigs,
	"witnesses": witnesses,
	"scids":     scids,
	"address":   func(c *cursor) any { return address(c) },
	"addresses": addresses,
	"onion":     func(c *cursor) any { return packet(c, 1366) },
	"packet":    onionMessagePacket,
	"path":      blindedPath,
	"json":      jsonText,
	"code":      func(c *cursor) any { return failureCode(uint16(c.uint("", 2))) },
	"ackstatus": func(c *cursor) any { return rod.AckStatus(c.uint("", 1)).String() },
	"rodstate":  func(c *cursor) any { return rod.StatusState(c.uint("", 1)).String() },
}

func point(c *cursor) any {
	start := c.at
	b := c.bytes(33)
	if c.err != nil {
		return nil
	}
	if _, err := btcec.ParsePubKey(b); err != nil {
		c.at = start
		c.fail("%x is not a point of secp256k1", b)
	}
	return hexOf(b)
}

func txid(c *cursor) any {
	b := slices.Clone(c.bytes(32))
	slices.Reverse(b)
	return hexOf(b)
}

// textOr is text if it is, and else hex.
func textOr(b []byte) any {
	if utf8.Valid(b) {
		return string(b)
	}
	return "0x" + hexOf(b)
}

// bits are the bits that are set, the lowest first, with their names.
func bits(b []byte) any {
	l := []any{}
	for i := range len(b) * 8 {
		if b[len(b)-1-i/8]&(1<<(i%8)) != 0 {
			l = append(l, featureName(i))
		}
	}
	return l
}

func featureName(bit int) string {
	name, ok := lnwire.Features[lnwire.FeatureBit(bit)]
	switch {
	case bit == rod.FeatureRodRequired || bit == rod.FeatureRodOptional:
		name, ok = "lightning-rod", true
	case bit == rod.FeatureMailboxRequired || bit == rod.FeatureMailboxOptional:
		name, ok = "onion-mailbox", true
	}
	if !ok || bit > math.MaxUint16 {
		return strconv.Itoa(bit)
	}
	return fmt.Sprintf("%d:%s", bit, name)
}

func alias(c *cursor) any {
	b := c.bytes(32)
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return textOr(b)
}

func sigs(c *cursor) any {
	n := int(c.uint("", 2))
	if c.err == nil && n*64 > c.left() {
		c.fail("%d signatures of 64 bytes wanted, %d bytes left", n, c.left())
	}
	l := []any{}
	for i := 0; i < n && c.err == nil; i++ {
		l = append(l, hexOf(c.bytes(64)))
	}
	return l
}

func witnesses(c *cursor) any {
	l := []any{}
	for n := int(c.uint("", 2)); n > 0 && c.err == nil; n-- {
		l = append(l, hexOf(c.counted()))
	}
	return l
}

// scids are BOLT 7's encoded_short_ids, of which only the plain encoding is still in use.
func scids(c *cursor) any {
	inner := c.inner(int(c.uint("", 2)))
	defer func() {
		if c.err == nil {
			c.err = inner.err
		}
	}()
	if c.err != nil || inner.left() == 0 {
		return []any{}
	}
	if t := inner.uint("", 1); t != 0 {
		return facts.Facts{{Name: "encoding", Value: t}, {Name: "data", Value: hexOf(inner.rest())}}
	}
	l := []any{}
	for inner.err == nil && inner.left() > 0 {
		l = append(l, scidText(inner.uint("", 8)))
	}
	return l
}

func addresses(c *cursor) any {
	inner := c.inner(int(c.uint("", 2)))
	l := []any{}
	for inner.err == nil && inner.left() > 0 {
		l = append(l, address(inner))
	}
	if c.err == nil {
		c.err = inner.err
	}
	return l
}

// address is a BOLT 7 address descriptor. What is of an unknown type has no known length: it is the rest.
func address(c *cursor) string {
	var host string
	switch t := c.uint("", 1); t {
	case 1:
		host = net.IP(c.bytes(4)).String()
	case 2:
		host = net.IP(c.bytes(16)).String()
	case 4:
		host = onionHost(c.bytes(35))
	case 5:
		b := c.bytes(int(c.uint("", 1)))
		host = fmt.Sprint(textOr(b))
	default:
		if c.err != nil {
			return ""
		}
		return fmt.Sprintf("type %d %s", t, hexOf(c.rest()))
	}
	port := c.uint("", 2)
	return net.JoinHostPort(host, strconv.FormatUint(port, 10))
}

func jsonText(c *cursor) any {
	b := c.rest()
	var f facts.Facts
	if json.Unmarshal(b, &f) == nil {
		return f
	}
	return textOr(b)
}

// failureCode is a failure code of BOLT 4 with its flags.
func failureCode(code uint16) string {
	return fmt.Sprintf("%#04x %v", code, lnwire.FailCode(code))
}

func scidText(v uint64) string {
	return fmt.Sprintf("%dx%dx%d", v>>40, v>>16&0xffffff, v&0xffff)
}
