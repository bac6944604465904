package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"lightningrod/channel"
	"lightningrod/node/store"
)

// Backup writes a consistent copy of the database, while the node runs. It is marked: no node starts from it before Restore has made
// its channels harmless. The file is new, or Backup fails.
func (n *Node) Backup(path string) error { return n.store.Backup(path) }

// Restore makes the database that a node of cfg runs on from one that may be old: from a backup, or from a copy; from "", the one in its place. No
// node may be running on it. Every channel that was in use is told that its state is old (channel.State.Late): nothing of it is ever
// published, its peer is asked to close it, and what the peer's commitment pays us is swept. Restore says how many these are.
//
// What was in place of the database is kept beside it, with the time in its name. A crash leaves the old, the new, or the old set aside and
// nothing in its place. Of cfg, Dir, Lineage, Seed, Params and Rand are used.
func Restore(cfg Config, from string) (late int, err error) {
	if cfg.Rand == nil {
		cfg.Rand = cryptoRand
	}
	keys, err := newKeyring(cfg.Seed, cfg.Params)
	if err != nil {
		return 0, err
	}
	to := filepath.Join(cfg.Dir, "node.db")
	if from == "" {
		from = to
	} else if _, err := os.Lstat(to); !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("%s is there, and is not replaced: move it away if it is not the newest", to)
	}
	partial := to + ".restoring"
	defer removeDatabase(partial)
	if err := copyDatabase(from, partial); err != nil {
		return 0, err
	}
	s, err := store.Open(partial)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	if err := s.Bind(cfg.Params.Name, keys.nodeID()); err != nil {
		return 0, err
	}
	var id [16]byte
	if _, err := io.ReadFull(cfg.Rand, id[:]); err != nil {
		return 0, fmt.Errorf("random source: %w", err)
	}
	late, err = makeLate(s, &lineage{id: id, count: 1}, cfg.Rand)
	if err != nil {
		return 0, err
	}
	if err := s.Close(); err != nil { // its log is in the file now
		return 0, err
	}
	if err := putInPlace(partial, to); err != nil {
		return 0, err
	}
	return late, rewriteLineage(cfg.lineageFile(), id)
}

const restoredText = "this node was restored from a backup"

// makeLate tells all channels in one transaction, which also begins a new lineage and goes on to channel numbers that were never used.
func makeLate(s *store.Store, l *lineage, random io.Reader) (late int, err error) {
	bodies, err := loadBodies(s)
	if err != nil {
		return 0, err
	}
	rows := store.Write{{Table: store.Meta, Key: metaLineage, Value: l.row()}}
	err = s.Load(store.Channel, func(key, core []byte) error {
		id := channel.ID(binary.BigEndian.Uint64(key))
		state, _, err := channel.Restore(core, bodies[id])
		if err != nil {
			return fmt.Errorf("channel %d: %w", id, err)
		}
		if now := state.Late(restoredText); now.Phase() != state.Phase() {
			rows = append(rows, store.Op{Table: store.Channel, Key: key, Value: now.Encode()})
			late++
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	number, err := safeNumber(random)
	if err != nil {
		return 0, err
	}
	rows = append(rows, store.Op{Table: store.Meta, Key: metaLastChannel, Value: u64(uint64(number))})
	return late, s.Commit([]store.Write{rows})
}

// rewriteLineage begins the lineage file anew. If that is not reached, the node says that the database is not the one it ran on last, and
// Restore may be called again.
func rewriteLineage(path string, id [16]byte) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	return (&lineage{file: f, id: id, count: 1}).write()
}

// walOf is the log beside a database, which belongs to it.
func walOf(path string) string { return path + "-wal" }

// copyDatabase copies a database that nobody has open, with its log if there is one, and takes the mark of a backup off the copy.
func copyDatabase(from, to string) error {
	removeDatabase(to)
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return fmt.Errorf("%s is no database", from) // of an empty file SQLite would make one
	}
	if err := copyFile(from, to); err != nil {
		return err
	}
	marked, err := store.IsBackup(to)
	switch {
	case err != nil:
		return err
	case marked:
		return store.Unmark(to)
	}
	if err := copyFile(walOf(from), walOf(to)); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

func removeDatabase(path string) {
	for _, suffix := range []string{"", "-wal", "-shm", "-journal", ".lock"} {
		os.Remove(path + suffix)
	}
}

// putInPlace moves what is in the place of a database aside, log and all, and the new one there. The log goes last of the old and before the
// new comes: SQLite would take it for the new one's.
func putInPlace(partial, to string) error {
	aside := fmt.Sprintf("%s.old-%d", to, time.Now().Unix())
	for _, suffix := range []string{"", "-wal"} {
		if err := os.Rename(to+suffix, aside+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	os.Remove(to + "-shm")
	if err := os.Rename(partial, to); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
