package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Backup writes what is committed into a new, compact database at path. The node goes on committing meanwhile. The file
// appears under its name only when it is whole and durable; an existing one is not replaced.
//
// A backup of channels is old as soon as the next commitment is signed: a node restored from it must let its peers close
// (BOLT 2 "Message Retransmission", data loss), never publish its own commitments.
func (s *Store) Backup(path string) error {
	if err := s.backup(path); err != nil {
		return fmt.Errorf("backup to %s: %w", path, err)
	}
	return nil
}

func (s *Store) backup(path string) error {
	partial := path + ".partial"
	// A partial file is what an interrupted backup left.
	if err := os.Remove(partial); err != nil && !os.IsNotExist(err) {
		return err
	}
	f, err := os.OpenFile(partial, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(partial)
	defer f.Close()
	if _, err := s.reads.ExecContext(context.Background(), "vacuum into ?", partial); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	// Unlike a rename, a link fails if the name is taken.
	if err := os.Link(partial, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
