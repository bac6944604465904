package store

import (
	"context"
	"fmt"
)

// Commit makes a group durable: one transaction, one sync. Of several operations on one row the last one counts.
//
// A row that is put and deleted within one group ends as a delete, and the delete of an absent row finds nothing and dirties no
// page. So a row that lives within one group only (an outcome that finds its incoming channel at once) costs one lookup;
// the put can't be kept from the delete by looking at the group alone, since the row may have been there before.
// A group that changes nothing costs no sync.
//
// Any error is final, see the package comment.
func (s *Store) Commit(group []Write) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return fmt.Errorf("commit: %w", s.failed)
	}
	ops := merge(group)
	if len(ops) == 0 {
		return nil
	}
	if err := s.transact(ops); err != nil {
		s.failed = err
		return fmt.Errorf("commit %d rows: %w", len(ops), err)
	}
	return nil
}

// merge keeps the last operation of every row, in the order in which the rows first appear.
func merge(group []Write) []Op {
	n := 0
	for _, w := range group {
		n += len(w)
	}
	type row struct {
		table Table
		key   string
	}
	ops := make([]Op, 0, n)
	at := make(map[row]int, n)
	for _, w := range group {
		for _, op := range w {
			r := row{op.Table, string(op.Key)}
			if i, ok := at[r]; ok {
				ops[i] = op
				continue
			}
			at[r] = len(ops)
			ops = append(ops, op)
		}
	}
	return ops
}

func (s *Store) transact(ops []Op) (err error) {
	ctx := context.Background()
	if _, err := s.begin.ExecContext(ctx); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() {
		if err != nil {
			// SQLite may have rolled back by itself (disk full); then this fails and means nothing.
			_, _ = s.w.ExecContext(ctx, "rollback")
		}
	}()
	for _, op := range ops {
		k, err := op.Table.sqlKey(op.Key)
		if err != nil {
			return err
		}
		if op.Value == nil {
			_, err = s.deletes[op.Table].ExecContext(ctx, k)
		} else {
			_, err = s.puts[op.Table].ExecContext(ctx, k, op.Value, op.Table.checksum(op.Key, op.Value))
		}
		if err != nil {
			return fmt.Errorf("table %s: %w", op.Table, err)
		}
	}
	if _, err := s.commit.ExecContext(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}
