package notify

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// maxURL is the length that bLIP-55 allows a webhook.
const maxURL = 1024

// ErrForbidden is wrapped by the errors about a URL or address that will never be delivered to.
var ErrForbidden = errors.New("not allowed as a webhook")

// CheckURL says whether a URL may be delivered to at all: for the moment somebody registers it. allowLocal, for regtest,
// admits addresses that are not public, and plain http to the loopback interface.
func CheckURL(raw string, allowLocal bool) error {
	_, err := parseURL(raw, allowLocal)
	return err
}

func parseURL(raw string, allowLocal bool) (*url.URL, error) {
	forbidden := func(format string, args ...any) (*url.URL, error) {
		return nil, fmt.Errorf("url %w: "+format, append([]any{ErrForbidden}, args...)...)
	}
	if len(raw) > maxURL {
		return forbidden("%d characters, limit is %d", len(raw), maxURL)
	}
	for _, c := range []byte(raw) {
		if c <= ' ' || c > '~' {
			return forbidden("character %q", c)
		}
	}
	u, err := url.Parse(raw)
	if err != nil {
		return forbidden("malformed") // url.Error repeats the URL
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	addr, err := netip.ParseAddr(host)
	literal := err == nil
	loopback := literal && addr.Unmap().IsLoopback() || host == "localhost"
	switch port, err := strconv.ParseUint(u.Port(), 10, 16); {
	case host == "" || u.Opaque != "":
		return forbidden("no host")
	case u.User != nil:
		return forbidden("user name in it")
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return forbidden("fragment in it")
	case u.Port() != "" && (err != nil || port == 0):
		return forbidden("port out of range")
	case u.Scheme == "http" && !(allowLocal && loopback), u.Scheme != "http" && u.Scheme != "https":
		return forbidden("scheme %q, must be https", u.Scheme)
	case allowLocal:
		return u, nil
	case literal && !public(addr):
		return forbidden("address %v is not public", addr)
	case !literal && localName(host):
		return forbidden("host name is local")
	}
	return u, nil
}

// localName says whether a name cannot be one of the public DNS.
func localName(host string) bool {
	i := strings.LastIndexByte(host, '.')
	if i < 0 {
		return true // localhost and machines of the own network; also 2130706433, which is 127.0.0.1 to some
	}
	switch top := host[i+1:]; top {
	case "localhost", "local", "internal", "lan", "home", "corp", "onion", "test", "invalid", "example":
		return true
	default:
		return strings.Trim(top, "0123456789") == "" || strings.HasPrefix(top, "0x") // 127.1, 0177.0.0.0x1
	}
}

// special are the address blocks that are not, or not always, somebody's public address (IANA's special-purpose
// registries), beyond those that netip knows by name.
var special = func() []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8",       // this network
		"100.64.0.0/10",   // shared address space
		"192.0.0.0/24",    // protocol assignments
		"192.0.2.0/24",    // documentation
		"192.88.99.0/24",  // 6to4 relays
		"198.18.0.0/15",   // benchmarks
		"198.51.100.0/24", // documentation
		"203.0.113.0/24",  // documentation
		"240.0.0.0/4",     // reserved, broadcast
		"::/96",           // IPv4-compatible
		"64:ff9b::/96",    // NAT64: leads to any IPv4 address
		"64:ff9b:1::/48",  // NAT64, local
		"100::/64",        // discard
		"2001::/23",       // protocol assignments, Teredo among them
		"2001:db8::/32",   // documentation
		"2002::/16",       // 6to4: leads to any IPv4 address
		"3fff::/20",       // documentation
		"5f00::/16",       // segment routing
		"fec0::/10",       // site-local
	} {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}()

// public says whether an address is somewhere on the internet.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if a.Zone() != "" || !a.IsGlobalUnicast() || a.IsPrivate() {
		return false // loopback, link-local and multicast are no global unicast
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
