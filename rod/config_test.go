package rod

import (
	"strings"
	"testing"
)

// TestConfig: "Configuration is refused unless min_cltv_delta >= margin + 26 + wake time in blocks", and the other bounds.
func TestConfig(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		err    string
	}{
		{"default", func(c *Config) {}, ""},
		{"margin + 26 + wake", func(c *Config) { c.WakeBlocks = 47 }, "min_cltv_delta 144 below minimum 145"},
		{"margin never under 24", func(c *Config) { c.ClaimMargin = 23 }, "claim margin 23 below minimum 24"},
		{"expiry", func(c *Config) { c.MaxExpiry = 2017 }, "max expiry 2017 above maximum 2016"},
		{"hold", func(c *Config) { c.MaxHold = 2017 }, "max hold 2017"},
		{"ttl", func(c *Config) { c.ArmedTTL = 3601 }, "armed ttl 3601 above maximum 3600"},
		{"tombstones outlive requests", func(c *Config) { c.Tombstone = 3599 }, "tombstone 3599"},
		{"share", func(c *Config) { c.InFlightPercent = 101 }, "in-flight percent 101"},
	} {
		cfg := DefaultConfig(node("lsp"))
		c.change(&cfg)
		err := cfg.Validate()
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, lerr := Load(cfg); (lerr == nil) != (err == nil) {
			t.Errorf("%s: Load says %v", c.name, lerr)
		}
	}
}

// TestLoadRefuses: rows that cannot be are not taken for something else.
func TestLoadRefuses(t *testing.T) {
	b := held(t, nil, nil)
	rows := b.disk.rows()
	without := func(table string) (out []Row) {
		for _, r := range rows {
			if r.Table != table {
				out = append(out, r)
			}
		}
		return out
	}
	for name, rows := range map[string][]Row{
		"a member without its request": without(TableRequest),
		"a foreign table":              {{"peer", nil, nil}},
		"a short key":                  {{TableMember, []byte{1}, rows[0].Value}},
		"an empty value":               {{TableRequest, requestKey{}.encode(), nil}},
	} {
		if _, err := Load(b.cfg, rows...); err == nil {
			t.Errorf("%s is loaded", name)
		}
	}
}
