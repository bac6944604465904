package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// errView is what Commit on a view says.
var errView = errors.New("the database is open for reading only")

// View opens a database or a backup for reading: Load, Range and Get work, Commit refuses. Nothing in the file changes, nor is
// anything brought up to date. While a node has the database View gives ErrLocked, and while it is viewed no node can start on it.
func View(path string) (*Store, error) {
	s, err := view(path)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	return s, nil
}

func view(path string) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	s := &Store{path: path, failed: errView}
	if err := s.look(); err != nil {
		s.drop()
		return nil, err
	}
	return s, nil
}

func (s *Store) look() (err error) {
	if info, err := os.Stat(s.path); err != nil {
		return err
	} else if !info.Mode().IsRegular() {
		return errors.New("not a file")
	}
	// A file without a lock beside it was never a node's: a backup, or a copy.
	if _, err := os.Stat(s.path + ".lock"); err == nil {
		if s.lock, err = lockFile(s.path + ".lock"); err != nil {
			return err
		}
	}
	source := dsn(s.path, "ro", readerPragmas)
	if log, err := os.Stat(s.path + "-wal"); err != nil || log.Size() == 0 {
		// All is in the file: SQLite needs no files of its own beside it, which it could not make in a folder that is read-only.
		source += "&immutable=1"
	}
	if s.reads, err = sql.Open("sqlite", source); err != nil {
		return err
	}
	ctx := context.Background()
	var app uint32
	var version int
	if err := s.reads.QueryRowContext(ctx, "pragma application_id").Scan(&app); err != nil {
		return fmt.Errorf("read application_id: %w", err)
	}
	if err := s.reads.QueryRowContext(ctx, "pragma user_version").Scan(&version); err != nil {
		return fmt.Errorf("read user_version: %w", err)
	}
	switch known := len(migrations); {
	case app != applicationID && app != backupID:
		return fmt.Errorf("application_id %#x is not %#x: the file belongs to another program", app, applicationID)
	case version > known:
		return fmt.Errorf("%w: schema version %d, this program knows up to %d", ErrNewerSchema, version, known)
	case version < known:
		return fmt.Errorf("schema version %d is older than %d: a start of the node brings it up to date", version, known)
	}
	return nil
}
