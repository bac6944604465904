package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Load calls f for every row of a table, in ascending order of the keys, and stops at its first error. f owns the slices.
func (s *Store) Load(t Table, f func(key, value []byte) error) error {
	return s.Range(t, nil, nil, f)
}

// Range is Load for the keys from <= key < to; nil is no bound.
func (s *Store) Range(t Table, from, to []byte, f func(key, value []byte) error) error {
	if !t.valid() {
		return fmt.Errorf("unknown table %d", uint8(t))
	}
	query, args := "select k, v, sum from "+t.String()+" where true", []any(nil)
	for _, bound := range []struct {
		key  []byte
		text string
	}{{from, " and k >= ?"}, {to, " and k < ?"}} {
		if bound.key == nil {
			continue
		}
		k, err := t.sqlKey(bound.key)
		if err != nil {
			return err
		}
		query, args = query+bound.text, append(args, k)
	}
	rows, err := s.reads.QueryContext(context.Background(), query+" order by k", args...)
	if err != nil {
		return fmt.Errorf("read table %s: %w", t, err)
	}
	defer rows.Close()
	for rows.Next() {
		key, value, err := t.scan(rows)
		if err != nil {
			return err
		}
		if err := f(key, value); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read table %s: %w", t, err)
	}
	return nil
}

// Get reads one row. The value of a row that is not there is nil.
func (s *Store) Get(t Table, key []byte) ([]byte, error) {
	k, err := t.sqlKey(key)
	if err != nil {
		return nil, err
	}
	row := s.reads.QueryRowContext(context.Background(), "select k, v, sum from "+t.String()+" where k = ?", k)
	_, value, err := t.scan(row)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return value, err
}

// Floor reads the row with the greatest key that is not above key; nil is no bound. Without such a row key and value are nil.
func (s *Store) Floor(t Table, key []byte) (k, v []byte, err error) {
	if !t.valid() {
		return nil, nil, fmt.Errorf("unknown table %d", uint8(t))
	}
	query, args := "select k, v, sum from "+t.String(), []any(nil)
	if key != nil {
		bound, err := t.sqlKey(key)
		if err != nil {
			return nil, nil, err
		}
		query, args = query+" where k <= ?", append(args, bound)
	}
	row := s.reads.QueryRowContext(context.Background(), query+" order by k desc limit 1", args...)
	if k, v, err = t.scan(row); errors.Is(err, sql.ErrNoRows) {
		return nil, nil, nil
	}
	return k, v, err
}

// scan reads (k, v, sum) and checks the sum.
func (t Table) scan(row interface{ Scan(...any) error }) (key, value []byte, err error) {
	var sum, n int64
	if t.numbered() {
		err = row.Scan(&n, &value, &sum)
		key = ChannelKey(uint64(n))
	} else {
		err = row.Scan(&key, &value, &sum)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read table %s: %w", t, err)
	}
	if value == nil {
		value = []byte{}
	}
	if want := t.checksum(key, value); sum != want {
		return nil, nil, fmt.Errorf("read table %s: row %x is damaged: sum %08x, computed %08x", t, key, sum, want)
	}
	return key, value, nil
}

// Keys of table Meta that Bind owns.
var (
	metaNetwork = []byte("network")
	metaNode    = []byte("node")
)

// Bind ties a new database to a network and a node id, and refuses one that is tied to others: channels of another key
// can't be signed for, and heights of another chain would be believed.
func (s *Store) Bind(network string, node [33]byte) error {
	haveNetwork, err := s.Get(Meta, metaNetwork)
	if err != nil {
		return err
	}
	haveNode, err := s.Get(Meta, metaNode)
	if err != nil {
		return err
	}
	switch {
	case haveNetwork == nil && haveNode == nil:
		return s.Commit([]Write{{
			{Table: Meta, Key: metaNetwork, Value: []byte(network)}, {Table: Meta, Key: metaNode, Value: node[:]},
		}})
	case string(haveNetwork) != network:
		return fmt.Errorf("%w: it is of network %q, not %q", ErrForeign, haveNetwork, network)
	case !bytes.Equal(haveNode, node[:]):
		return fmt.Errorf("%w: it is of node %x, not %x", ErrForeign, haveNode, node)
	}
	return nil
}
