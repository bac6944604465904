package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrBackup: the file was written by Backup, and is old since. Unmark makes a database of it.
var ErrBackup = errors.New("the file is a backup")

// A backup says so in SQLite's application_id ("LRbk"), so that it is not opened by whoever puts it where a database is expected. The id is at
// byte 68 of the file (SQLite "Database File Format", 1.3).
const (
	backupID        = 0x4c52626b
	applicationIDAt = 68
)

// Backup writes what is committed into a new, compact file at path. The node goes on committing meanwhile. The file appears
// under its name only when it is whole and durable; an existing one is not replaced.
//
// A backup of channels is old as soon as the next commitment is signed: a node that goes on from it must let its peers close (BOLT 2
// "Message Retransmission", data loss) and never publish its own commitments. So the file is marked, and Open refuses it.
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
	if err := mark(f, backupID); err != nil {
		return err
	}
	// Unlike a rename, a link fails if the name is taken.
	if err := os.Link(partial, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// mark writes the application_id of a database that nobody has open, and makes the file durable.
func mark(f *os.File, id uint32) error {
	if _, err := f.WriteAt(binary.BigEndian.AppendUint32(nil, id), applicationIDAt); err != nil {
		return err
	}
	return f.Sync()
}

// IsBackup says whether the file at path is marked as a backup.
func IsBackup(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var id [4]byte
	if n, _ := f.ReadAt(id[:], applicationIDAt); n < len(id) {
		return false, nil // too short for a database: Open says what it is
	}
	return binary.BigEndian.Uint32(id[:]) == backupID, nil
}

// Unmark makes a database of a backup. What it holds is as old as before.
func Unmark(path string) error {
	marked, err := IsBackup(path)
	if err != nil {
		return err
	}
	if !marked {
		return fmt.Errorf("%s is not a backup", path)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return mark(f, applicationID)
}
