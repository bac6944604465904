package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"lightningrod/node/store"
)

// ErrOld: the database is older than what this node has run on. Its channels may have been updated since, and to publish a commitment of
// them could lose all their money (BOLT 2 "Message Retransmission", data loss).
var ErrOld = errors.New("the database is an old copy")

// lineage counts the groups that changed channels, in a row of the database and in a file that is not part of it: the lineage file. A
// database that is behind its lineage file is an old copy that was put back. So the file can do its work only where a copy of the
// database does not take it along.
//
// The file is written after the group is durable, and not synced: it survives the death of the process, and a power cut at worst
// makes it forget groups, which makes the check weaker and never wrong. For the same reason a file that is missing or does not make
// sense is no error.
type lineage struct {
	disk  Disk
	file  *os.File
	id    [16]byte
	count uint64
}

var metaLineage = []byte("lineage") // id (16), count (8)

const (
	lineageMark = "LRln"
	lineageSize = len(lineageMark) + 16 + 8 + 4 // the row and a CRC-32C over all before it
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// lineageFile is where the lineage file is.
func (c *Config) lineageFile() string {
	if c.Lineage != "" {
		return c.Lineage
	}
	return filepath.Join(c.Dir, "node.lineage")
}

// checkMissing refuses to begin anew where there was a database with channels.
func checkMissing(cfg *Config, db string) error {
	if _, err := os.Lstat(db); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	path := cfg.lineageFile()
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("lineage file: %w", err)
	}
	defer f.Close()
	if _, count, known := (&lineage{file: f}).read(); known {
		return fmt.Errorf("%w: %s is missing, and this node has changed channels %d times (%s; without that file it begins anew)", ErrOld, db, count, path)
	}
	return nil
}

// openLineage compares the database with the lineage file, and follows disk from here on.
func openLineage(path string, s *store.Store, random io.Reader) (*lineage, error) {
	row, err := s.Get(store.Meta, metaLineage)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lineage file: %w", err)
	}
	l := &lineage{disk: s, file: f}
	if err := l.begin(row, random); err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

func (l *lineage) begin(row []byte, random io.Reader) error {
	id, count, known := l.read()
	switch {
	case row == nil && known:
		return fmt.Errorf("%w: it has no channels, where this node has changed channels %d times", ErrOld, count)
	case row == nil:
		_, err := io.ReadFull(random, l.id[:])
		return err
	case len(row) != 24:
		return fmt.Errorf("lineage of %d bytes, want 24", len(row))
	}
	copy(l.id[:], row)
	l.count = binary.BigEndian.Uint64(row[16:])
	switch {
	case known && id != l.id:
		return fmt.Errorf("%w: it is not the database that this node ran on last", ErrOld)
	case known && count > l.count:
		return fmt.Errorf("%w: it has changed channels %d times, where this node has done so %d times", ErrOld, l.count, count)
	}
	return l.write()
}

func (l *lineage) read() (id [16]byte, count uint64, ok bool) {
	var b [lineageSize]byte
	if _, err := l.file.ReadAt(b[:], 0); err != nil {
		return id, 0, false
	}
	body, sum := b[:lineageSize-4], binary.BigEndian.Uint32(b[lineageSize-4:])
	if string(body[:len(lineageMark)]) != lineageMark || crc32.Checksum(body, castagnoli) != sum {
		return id, 0, false
	}
	copy(id[:], body[len(lineageMark):])
	return id, binary.BigEndian.Uint64(body[len(lineageMark)+16:]), true
}

func (l *lineage) write() error {
	b := append([]byte(lineageMark), l.row()...)
	_, err := l.file.WriteAt(binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), 0)
	return err
}

func (l *lineage) row() []byte {
	return binary.BigEndian.AppendUint64(l.id[:len(l.id):len(l.id)], l.count)
}

// Commit writes the group, and the count with it if a channel is changed.
func (l *lineage) Commit(group []store.Write) error {
	if !touchesChannel(group) {
		return l.disk.Commit(group)
	}
	l.count++
	if err := l.disk.Commit(append(group[:len(group):len(group)], store.Write{{Table: store.Meta, Key: metaLineage, Value: l.row()}})); err != nil {
		return err
	}
	if err := l.write(); err != nil {
		return fmt.Errorf("lineage file: %w", err)
	}
	return nil
}

func touchesChannel(group []store.Write) bool {
	for _, w := range group {
		for _, op := range w {
			if op.Table == store.Channel {
				return true
			}
		}
	}
	return false
}

func (l *lineage) close() {
	if l != nil {
		l.file.Close()
	}
}
