package notify

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

var urls = []struct {
	url          string
	public, both bool // allowed; allowed on regtest too
}{
	{"https://nds.example.com/hook?token=1", true, true},
	{"https://nds.example.com:8443/", true, true},
	{"https://nds.example.com.", true, true},
	{"https://8.8.8.8/x", true, true},
	{"https://[2001:4860:4860::8888]/x", true, true},
	{"HTTPS://NDS.EXAMPLE.COM/", true, true},

	{"http://nds.example.com/", false, false},
	{"http://8.8.8.8/", false, false},
	{"http://10.0.0.1/", false, false},
	{"http://localhost.evil.com/", false, false},
	{"ftp://nds.example.com/", false, false},
	{"file:///etc/passwd", false, false},
	{"https:", false, false},
	{"https://", false, false},
	{"https:///x", false, false},
	{"https:nds.example.com", false, false},
	{"//nds.example.com", false, false},
	{"nds.example.com", false, false},
	{"", false, false},
	{"https://user@nds.example.com/", false, false},
	{"https://user:password@nds.example.com/", false, false},
	{"https://nds.example.com/#x", false, false},
	{"https://nds.example.com/#", false, false},
	{"https://nds.example.com:0/", false, false},
	{"https://nds.example.com:65536/", false, false},
	{"https://nds.example.com:x/", false, false},
	{"https://nds.example.com/ x", false, false},
	{"https://nds.example.com/\n", false, false},
	{"https://nds.exämple.com/", false, false},
	{"https://nds.example.com/" + strings.Repeat("x", 1024), false, false},

	{"https://localhost/", false, true},
	{"https://LOCALHOST:1/", false, true},
	{"https://x.localhost/", false, true},
	{"https://printer.local/", false, true},
	{"https://metadata.google.internal/", false, true},
	{"https://db/", false, true},
	{"https://127.0.0.1/", false, true},
	{"https://127.0.0.1./", false, true},
	{"https://[::1]/", false, true},
	{"https://[::ffff:127.0.0.1]/", false, true},
	{"https://10.0.0.1/", false, true},
	{"https://172.16.0.1/", false, true},
	{"https://192.168.1.1/", false, true},
	{"https://169.254.169.254/latest/meta-data", false, true},
	{"https://100.64.0.1/", false, true},
	{"https://0.0.0.0/", false, true},
	{"https://255.255.255.255/", false, true},
	{"https://224.0.0.1/", false, true},
	{"https://[fd00::1]/", false, true},
	{"https://[fe80::1%25eth0]/", false, true},
	{"https://[64:ff9b::7f00:1]/", false, true},
	{"https://[2002:7f00:1::]/", false, true},
	{"https://2130706433/", false, true},
	{"https://127.1/", false, true},
	{"https://0x7f.0.0.1/", false, true},
	{"https://0177.0.0.0x1/", false, true},
	{"http://127.0.0.1:8080/x", false, true},
	{"http://[::1]:8080/x", false, true},
	{"http://localhost:8080/x", false, true},
}

func TestCheckURL(t *testing.T) {
	for _, v := range urls {
		for allowLocal, want := range map[bool]bool{false: v.public, true: v.both} {
			err := CheckURL(v.url, allowLocal)
			if (err == nil) != want || err != nil && !errors.Is(err, ErrForbidden) {
				t.Errorf("%q, local allowed %v: %v", v.url, allowLocal, err)
			}
			if err != nil && (strings.Contains(err.Error(), "password") || strings.Contains(err.Error(), "passwd")) {
				t.Errorf("error repeats the URL: %v", err)
			}
		}
	}
}

func TestCheckAddress(t *testing.T) {
	for addr, want := range map[string]bool{
		"8.8.8.8:443": true, "[2001:4860::1]:443": true, "[::ffff:8.8.8.8]:443": true,
		"127.0.0.1:443": false, "[::1]:443": false, "[::ffff:10.0.0.1]:443": false, "192.0.2.1:443": false, "[::7f00:1]:443": false,
		"203.0.113.9:1": false, "[2001:db8::1]:443": false, "[fe80::1%1]:443": false, "nonsense": false, "": false,
	} {
		if err := checkAddress(addr, false); (err == nil) != want {
			t.Errorf("%s: %v", addr, err)
		}
		if err := checkAddress(addr, true); err != nil {
			t.Errorf("%s on regtest: %v", addr, err)
		}
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, v := range urls {
		f.Add(v.url)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := parseURL(s, false)
		if err != nil {
			if !errors.Is(err, ErrForbidden) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if u.Scheme != "https" || u.User != nil || u.Host == "" {
			t.Errorf("%q accepted as %v", s, u)
		}
		if a, err := netip.ParseAddr(u.Hostname()); err == nil && (a.IsLoopback() || a.IsPrivate()) {
			t.Errorf("%q accepted with address %v", s, a)
		}
		if err := CheckURL(s, true); err != nil {
			t.Errorf("%q accepted, but not on regtest: %v", s, err)
		}
		if err := CheckURL(u.String(), false); err != nil && len(u.String()) <= maxURL {
			t.Errorf("%q accepted, but not %q: %v", s, u, err)
		}
	})
}
