package node

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A row of events:
//
//	version (1), unix milliseconds (8), number of events (2), then each:
//	kind (length 1), number of fields (1), then by name: name (length 1), form (1), value (length 2)
//
// A value that is lower-case hex of 8 bytes and more stands there as those bytes (form 1), any other as its text (form 0).
const (
	eventVersion = 1
	eventHead    = 1 + 8 + 2
	rowEvents    = 512  // events in a row, at most
	fieldBound   = 1024 // bytes of a value: part of it may be a peer's words
)

// encodeEvents is a row of 1 to rowEvents events of one time.
func encodeEvents(evs []Event) []byte {
	b := make([]byte, eventHead, eventHead+128*len(evs))
	b[0] = eventVersion
	binary.BigEndian.PutUint64(b[1:], uint64(evs[0].At.UnixMilli()))
	binary.BigEndian.PutUint16(b[9:], uint16(len(evs)))
	var names []string
	for _, ev := range evs {
		b = append(append(b, byte(len(ev.Kind))), ev.Kind...)
		b = append(b, byte(len(ev.Fields)))
		names = slices.AppendSeq(names[:0], maps.Keys(ev.Fields))
		slices.Sort(names)
		for _, name := range names {
			b = append(append(b, byte(len(name))), name...)
			b = appendValue(b, ev.Fields[name])
		}
	}
	return b
}

func appendValue(b []byte, v string) []byte {
	if isHex(v) {
		b = binary.BigEndian.AppendUint16(append(b, 1), uint16(len(v)/2))
		b, _ = hex.AppendDecode(b, []byte(v))
		return b
	}
	return append(binary.BigEndian.AppendUint16(append(b, 0), uint16(len(v))), v...)
}

func isHex(v string) bool {
	if len(v) < 16 || len(v)%2 != 0 {
		return false
	}
	for i := range len(v) {
		if c := v[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// DecodeEvents reads a row of the table event, whose key is the number of its first event.
func DecodeEvents(first uint64, row []byte) ([]Event, error) {
	c := eventCursor{b: row}
	if v := c.uint(1); c.err == nil && v != eventVersion {
		return nil, fmt.Errorf("version %d, know only %d", v, eventVersion)
	}
	at, n := time.UnixMilli(int64(c.uint(8))).UTC(), c.uint(2)
	if c.err == nil && (n < 1 || n > rowEvents) {
		return nil, fmt.Errorf("%d events not between 1 and %d", n, rowEvents)
	}
	var evs []Event
	for i := uint64(0); i < n && c.err == nil; i++ {
		ev := Event{Seq: first + i, At: at, Kind: Kind(c.take(c.uint(1))), Fields: map[string]string{}}
		last := ""
		for fields := c.uint(1); fields > 0 && c.err == nil; fields-- {
			name := string(c.take(c.uint(1)))
			if len(ev.Fields) > 0 && name <= last {
				return nil, fmt.Errorf("event %d: field %.40q after %.40q", ev.Seq, name, last)
			}
			last, ev.Fields[name] = name, c.value()
		}
		evs = append(evs, ev)
	}
	if c.err == nil && len(c.b) > 0 {
		return nil, fmt.Errorf("%d bytes after the last event", len(c.b))
	}
	return evs, c.err
}

// eventCursor reads a row from the front. After the first error everything it gives is empty.
type eventCursor struct {
	b   []byte
	err error
}

func (c *eventCursor) take(n uint64) []byte {
	if c.err == nil && uint64(len(c.b)) < n {
		c.err = fmt.Errorf("%d bytes left, need %d", len(c.b), n)
	}
	if c.err != nil {
		return nil
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

func (c *eventCursor) uint(size uint64) (v uint64) {
	for _, x := range c.take(size) {
		v = v<<8 | uint64(x)
	}
	return v
}

func (c *eventCursor) value() string {
	form := c.uint(1)
	raw := c.take(c.uint(2))
	switch {
	case c.err != nil:
		return ""
	case form == 0 && !isHex(string(raw)):
		return string(raw)
	case form == 1 && len(raw) >= 8:
		return hex.EncodeToString(raw)
	}
	c.err = errors.New("value is not in its one form")
	return ""
}

// clip bounds a value, and keeps it text.
func clip(v string) string {
	if len(v) > fieldBound {
		v = v[:fieldBound]
	}
	return strings.ToValidUTF8(v, "\ufffd")
}
