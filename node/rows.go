package node

import (
	"encoding/binary"
	"fmt"

	"lightningrod/channel"
	"lightningrod/node/forward"
	"lightningrod/node/graph"
	"lightningrod/node/store"
)

// Keys of rows. Numbers are big-endian, so that rows of one channel stand together and in order.
//
//	channel          n
//	htlc             n, side (1: we offered it), id
//	settled          origin, encoded
//	revoked          n, commitment number

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func bodyKey(n channel.ID, k channel.BodyKey) []byte {
	side := byte(0)
	if k.Offered {
		side = 1
	}
	return binary.BigEndian.AppendUint64(append(u64(uint64(n)), side), k.HTLC)
}

func revokedKey(n channel.ID, number uint64) []byte {
	return binary.BigEndian.AppendUint64(u64(uint64(n)), number)
}

// saveRows is what one turn of channel n writes.
func saveRows(n channel.ID, s channel.Save) store.Write {
	var w store.Write
	for i := range s.Add {
		h := &s.Add[i]
		key := channel.BodyKey{Offered: h.Origin != nil, HTLC: h.Key.HTLC}
		w = append(w, store.Op{Table: store.HTLC, Key: bodyKey(n, key), Value: channel.EncodeHTLC(h)})
	}
	for _, k := range s.Remove {
		w = append(w, store.Op{Table: store.HTLC, Key: bodyKey(n, k)})
	}
	for _, r := range s.Revoked {
		w = append(w, store.Op{Table: store.Revoked, Key: revokedKey(n, r.Number), Value: r.Data})
	}
	switch {
	case s.Delete:
		w = append(w, store.Op{Table: store.Channel, Key: u64(uint64(n))})
	case s.Core != nil:
		w = append(w, store.Op{Table: store.Channel, Key: u64(uint64(n)), Value: s.Core})
	}
	return w
}

// rowOps are rows of the pure packages, which name tables as the files do. An unknown table is a bug.
func rowOps[R forward.Row | graph.Row](rows []R) store.Write {
	w := make(store.Write, 0, len(rows))
	for _, row := range rows {
		r := forward.Row(row)
		t, ok := store.TableByName(r.Table)
		if !ok {
			panic("row for unknown table " + r.Table)
		}
		w = append(w, store.Op{Table: t, Key: r.Key, Value: r.Value})
	}
	return w
}

// loadBodies reads all HTLC bodies, by channel.
func loadBodies(s *store.Store) (map[channel.ID][]channel.HTLC, error) {
	all := map[channel.ID][]channel.HTLC{}
	err := s.Load(store.HTLC, func(key, value []byte) error {
		h, err := channel.DecodeHTLC(value)
		if err != nil {
			return fmt.Errorf("htlc row %x: %w", key, err)
		}
		all[h.Key.Channel] = append(all[h.Key.Channel], h)
		return nil
	})
	return all, err
}
