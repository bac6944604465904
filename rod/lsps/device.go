package lsps

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"lightningrod/rod"
)

// Platform says how a device is reached.
type Platform uint8

const (
	Webhook Platform = iota + 1 // Target is a URL
	FCM                         // Target is a registration token
	APNs                        // Target is a device token
)

var platformNames = map[string]Platform{"webhook": Webhook, "fcm": FCM, "apns": APNs}

func (p Platform) String() string {
	for name, q := range platformNames {
		if p == q {
			return name
		}
	}
	return fmt.Sprintf("platform %d", uint8(p))
}

// Device is one way to wake a client. A name belongs to one device of a client: LSPS5's app_name, or what rod.register_device makes of the token.
type Device struct {
	Client   rod.NodeID
	Name     string
	Platform Platform
	Target   string
	LSPS5    bool // registered by lsps5.set_webhook
}

// DeviceConfig bounds what is registered.
type DeviceConfig struct {
	PerClient     int
	Strangers     int   // clients without a channel, in all
	Keep          int64 // seconds a client without a channel is remembered; bLIP 55: at least 7 days
	AllowLoopback bool  // http to a loopback address, for regtest
}

// DefaultDeviceConfig remembers 10 devices of a client for 30 days after its last channel.
func DefaultDeviceConfig() DeviceConfig {
	return DeviceConfig{PerClient: 10, Strangers: 1000, Keep: 30 * 86400}
}

// Devices is who registered what.
type Devices struct {
	cfg     DeviceConfig
	clients map[rod.NodeID]*registrations
}

type registrations struct {
	lapse   int64 // unix seconds at which they are forgotten; 0: the client has a channel
	devices map[string]Device
}

const (
	maxAppName = 64
	maxURL     = 1024
	maxToken   = 4096
	rowVersion = 1
)

// LoadDevices makes Devices of their rows.
func LoadDevices(cfg DeviceConfig, rows ...rod.Row) (*Devices, error) {
	d := &Devices{cfg: cfg, clients: map[rod.NodeID]*registrations{}}
	for _, row := range rows {
		if row.Table != rod.TableDevice || len(row.Key) < 33 {
			return nil, fmt.Errorf("%s: not a row of devices", row.Table)
		}
		dev, lapse, err := decodeDevice(row.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", rod.TableDevice, err)
		}
		dev.Client = rod.NodeID(row.Key[:33])
		if !bytes.Equal(deviceKey(dev), row.Key) {
			return nil, fmt.Errorf("%s: key is not the device's", rod.TableDevice)
		}
		r := d.clients[dev.Client]
		if r == nil {
			r = &registrations{lapse: lapse, devices: map[string]Device{}}
			d.clients[dev.Client] = r
		}
		r.devices[slot(dev)] = dev
	}
	return d, nil
}

// slot tells an app_name from the same name of a plain token.
func slot(d Device) string {
	if d.LSPS5 {
		return "w" + d.Name
	}
	return "d" + d.Name
}

func deviceKey(d Device) []byte { return append(append([]byte(nil), d.Client[:]...), slot(d)...) }

func encodeDevice(d Device, lapse int64) []byte {
	b := []byte{rowVersion, byte(d.Platform), 0}
	if d.LSPS5 {
		b[2] = 1
	}
	b = binary.BigEndian.AppendUint64(b, uint64(lapse))
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(d.Name))), d.Name...)
	return append(b, d.Target...)
}

func decodeDevice(b []byte) (d Device, lapse int64, err error) {
	const fixed = 3 + 8 + 2
	if len(b) < fixed || b[0] != rowVersion || b[1] < byte(Webhook) || b[1] > byte(APNs) || b[2] > 1 {
		return d, 0, errors.New("row malformed")
	}
	n := int(binary.BigEndian.Uint16(b[11:]))
	if n > len(b)-fixed || len(b)-fixed-n > maxToken {
		return d, 0, fmt.Errorf("row: name of %d and target of %d bytes", n, len(b)-fixed-n)
	}
	d = Device{Platform: Platform(b[1]), LSPS5: b[2] == 1, Name: string(b[fixed : fixed+n]), Target: string(b[fixed+n:])}
	return d, int64(binary.BigEndian.Uint64(b[3:])), nil
}

// Of lists the devices of client, by name: all of them are told.
func (d *Devices) Of(client rod.NodeID) []Device {
	r := d.clients[client]
	if r == nil {
		return nil
	}
	var out []Device
	for _, s := range slices.Sorted(maps.Keys(r.devices)) {
		out = append(out, r.devices[s])
	}
	return out
}

// All lists every device, by client and name.
func (d *Devices) All() (all []Device) {
	for _, client := range slices.SortedFunc(maps.Keys(d.clients), func(a, b rod.NodeID) int { return bytes.Compare(a[:], b[:]) }) {
		all = append(all, d.Of(client)...)
	}
	return all
}

// Remove forgets a device on the operator's word; false if there is none. Its client is not told, as LSPS5 has no word for it.
func (d *Devices) Remove(dev Device) ([]rod.Row, bool) { return d.remove(dev) }

var (
	errTooMany   = errors.New("too many devices")
	errStrangers = errors.New("too many clients without a channel")
)

// set inserts or replaces a device. Same says that it was there already.
func (d *Devices) set(dev Device, hasChannel bool, now int64) (rows []rod.Row, same bool, err error) {
	r := d.clients[dev.Client]
	old, exists := Device{}, false
	if r != nil {
		old, exists = r.devices[slot(dev)]
	}
	switch {
	case exists && old == dev:
		same = true
	case !exists && r != nil && len(r.devices) >= d.cfg.PerClient:
		return nil, false, errTooMany
	case r == nil && !hasChannel && d.strangers() >= d.cfg.Strangers:
		return nil, false, errStrangers
	}
	if r == nil {
		r = &registrations{devices: map[string]Device{}}
		d.clients[dev.Client] = r
	}
	r.devices[slot(dev)] = dev
	return d.Channel(dev.Client, hasChannel, now, slot(dev)), same, nil
}

func (d *Devices) strangers() (n int) {
	for _, r := range d.clients {
		if r.lapse != 0 {
			n++
		}
	}
	return n
}

// Channel says whether client has a channel now: its devices are remembered as long as it has, and for a time after. Touched is the slot that is written
// in any case.
func (d *Devices) Channel(client rod.NodeID, has bool, now int64, touched ...string) (rows []rod.Row) {
	r := d.clients[client]
	if r == nil {
		return nil
	}
	lapse := int64(0)
	if !has {
		lapse = now + d.cfg.Keep
	}
	changed := (lapse == 0) != (r.lapse == 0) || lapse > r.lapse && len(touched) > 0
	if changed {
		r.lapse = lapse
	}
	for _, s := range slices.Sorted(maps.Keys(r.devices)) {
		if changed || slices.Contains(touched, s) {
			rows = append(rows, rod.Row{Table: rod.TableDevice, Key: deviceKey(r.devices[s]), Value: encodeDevice(r.devices[s], r.lapse)})
		}
	}
	return rows
}

// remove forgets a device; false if there is none.
func (d *Devices) remove(dev Device) ([]rod.Row, bool) {
	r := d.clients[dev.Client]
	if r == nil {
		return nil, false
	}
	if _, ok := r.devices[slot(dev)]; !ok {
		return nil, false
	}
	delete(r.devices, slot(dev))
	if len(r.devices) == 0 {
		delete(d.clients, dev.Client)
	}
	return []rod.Row{{Table: rod.TableDevice, Key: deviceKey(dev)}}, true
}

// Tick forgets the clients whose last channel is long gone.
func (d *Devices) Tick(now int64) (rows []rod.Row) {
	for client, r := range d.clients {
		if r.lapse == 0 || now < r.lapse {
			continue
		}
		for _, dev := range r.devices {
			rows = append(rows, rod.Row{Table: rod.TableDevice, Key: deviceKey(dev)})
		}
		delete(d.clients, client)
	}
	slices.SortFunc(rows, func(a, b rod.Row) int { return bytes.Compare(a.Key, b.Key) })
	return rows
}

// checkURL looks at a webhook. bLIP 55 "lsps5.set_webhook": at most 1024 ASCII characters, a URL, https.
func (d *Devices) checkURL(s string) *Error {
	if len(s) > maxURL {
		return &Error{Code: CodeTooLong, Message: fmt.Sprintf("webhook length %d above maximum %d", len(s), maxURL)}
	}
	bad := &Error{Code: CodeURLParse, Message: "webhook is not a URL"}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return bad
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || u.Opaque != "" || u.User != nil {
		return bad
	}
	loopback := u.Hostname() == "127.0.0.1" || u.Hostname() == "::1" || u.Hostname() == "localhost"
	if u.Scheme == "https" || u.Scheme == "http" && loopback && d.cfg.AllowLoopback {
		return nil
	}
	return &Error{Code: CodeUnsupportedProtocol, Message: "webhook is not https"}
}

// tokenName names a plain device token: one of a kind, and not the token itself.
func tokenName(p Platform, token string) string {
	h := sha256.Sum256([]byte(token))
	return fmt.Sprintf("%s-%x", p, h[:8])
}
