package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	_ "modernc.org/sqlite" // the driver
)

// Reasons of Open and Bind that a caller may want to explain to the operator.
var (
	ErrLocked      = errors.New("the database is in use")
	ErrNewerSchema = errors.New("the database was written by a newer version")
	ErrForeign     = errors.New("the database belongs to another node")
	ErrClosed      = errors.New("the store is closed")
)

// Store is an open database. Its methods may be called from any goroutine; Commit from one at a time is what the node does,
// and calls that meet wait for each other.
type Store struct {
	path string
	lock io.Closer

	writes  *sql.DB // one connection, pinned as w
	reads   *sql.DB // read-only connections
	mu      sync.Mutex
	w       *sql.Conn
	begin   *sql.Stmt
	commit  *sql.Stmt
	puts    [endOfTables]*sql.Stmt
	deletes [endOfTables]*sql.Stmt
	failed  error // of the first Commit that failed, or ErrClosed: every later one returns it
}

// Pragmas of the connections. synchronous=FULL: with NORMAL, a power cut may take back commits of WAL mode, and a channel
// that forgets what it signed or revoked loses its funds. The log is bounded after each checkpoint by journal_size_limit.
var (
	writerPragmas = []string{
		"busy_timeout(0)", "journal_mode(wal)", "synchronous(full)", "fullfsync(on)", "checkpoint_fullfsync(on)",
		"foreign_keys(off)", "trusted_schema(off)", "cell_size_check(on)", "temp_store(memory)",
		"journal_size_limit(67108864)", "cache_size(-16384)",
	}
	readerPragmas = []string{"busy_timeout(5000)", "trusted_schema(off)", "cell_size_check(on)", "temp_store(memory)"}
)

// Open opens the database at path, creating it and its folder if needed, and locks it for this process until Close or
// Abort. It checks the structure of the file and brings its schema up to date; rows are checked when they are read.
func Open(path string) (*Store, error) {
	s, err := open(path, migrations)
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	return s, nil
}

func open(path string, steps []string) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	s := &Store{path: path}
	if err := s.acquire(steps); err != nil {
		s.drop()
		return nil, err
	}
	return s, nil
}

func (s *Store) acquire(steps []string) (err error) {
	dir := filepath.Dir(s.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if s.lock, err = lockFile(s.path + ".lock"); err != nil {
		return err
	}
	// SQLite would create the file readable for everybody; it holds preimages.
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	f.Close()
	if err := syncDir(dir); err != nil {
		return err
	}
	if backup, err := IsBackup(s.path); err != nil {
		return err
	} else if backup {
		return ErrBackup
	}
	return s.connect(steps)
}

func (s *Store) connect(steps []string) (err error) {
	ctx := context.Background()
	if s.writes, err = sql.Open("sqlite", dsn(s.path, "rw", writerPragmas)); err != nil {
		return err
	}
	s.writes.SetMaxOpenConns(1)
	if s.w, err = s.writes.Conn(ctx); err != nil {
		return err
	}
	if err := checkFile(ctx, s.w); err != nil {
		return err
	}
	if err := migrate(ctx, s.w, steps); err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if s.reads, err = sql.Open("sqlite", dsn(s.path, "ro", readerPragmas)); err != nil {
		return err
	}
	s.reads.SetMaxOpenConns(4)
	// One reader is always open. See Abort.
	s.reads.SetMaxIdleConns(4)
	return s.reads.PingContext(ctx)
}

func dsn(path, mode string, pragmas []string) string {
	u := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{"mode": {mode}, "_pragma": pragmas}.Encode()}
	return u.String()
}

// checkFile shows that the connection has the durability we count on and that the pages of the file hang together.
func checkFile(ctx context.Context, c *sql.Conn) error {
	var mode string
	var synchronous int
	if err := c.QueryRowContext(ctx, "pragma journal_mode").Scan(&mode); err != nil {
		return err
	}
	if err := c.QueryRowContext(ctx, "pragma synchronous").Scan(&synchronous); err != nil {
		return err
	}
	if mode != "wal" || synchronous != 2 {
		return fmt.Errorf("journal_mode %s, synchronous %d: want wal, 2", mode, synchronous)
	}
	rows, err := c.QueryContext(ctx, "pragma quick_check(1)")
	if err != nil {
		return fmt.Errorf("quick_check: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var verdict string
		if err := rows.Scan(&verdict); err != nil {
			return fmt.Errorf("quick_check: %w", err)
		}
		if verdict != "ok" {
			return fmt.Errorf("the file is damaged: %s", verdict)
		}
	}
	return rows.Err()
}

func (s *Store) prepare(ctx context.Context) (err error) {
	stmt := func(text string) *sql.Stmt {
		if err != nil {
			return nil
		}
		var p *sql.Stmt
		p, err = s.w.PrepareContext(ctx, text)
		return p
	}
	s.begin, s.commit = stmt("begin immediate"), stmt("commit")
	for _, t := range Tables() {
		s.puts[t] = stmt("insert into " + t.String() + "(k, v, sum) values(?, ?, ?) " +
			"on conflict(k) do update set v = excluded.v, sum = excluded.sum")
		s.deletes[t] = stmt("delete from " + t.String() + " where k = ?")
	}
	return err
}

// Path is the absolute path of the file.
func (s *Store) Path() string { return s.path }

// Close checkpoints the log into the file and releases everything. No Commit may be running or follow.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == ErrClosed {
		return nil
	}
	viewed := s.failed == errView
	s.failed = ErrClosed
	if viewed {
		s.drop()
		return nil
	}
	// Readers first: the last connection to close is the one that checkpoints.
	return errors.Join(s.reads.Close(), s.closeWriter(), s.lock.Close())
}

// Abort releases the handles as a crash would: nothing is checkpointed, the log stays as the last Commit left it. A copy of
// the folder, or opening it again, shows just what was durable.
func (s *Store) Abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == ErrClosed {
		return
	}
	s.failed = ErrClosed
	// SQLite checkpoints when the last connection closes. While a reader is open the writer is not the last, and the
	// reader, opened read-only, can't.
	s.drop()
}

// drop releases what there is, the writer first.
func (s *Store) drop() {
	if s.writes != nil {
		_ = s.closeWriter()
	}
	if s.reads != nil {
		_ = s.reads.Close()
	}
	if s.lock != nil {
		_ = s.lock.Close()
	}
}

func (s *Store) closeWriter() error {
	var errs []error
	for _, p := range append(append([]*sql.Stmt{s.begin, s.commit}, s.puts[:]...), s.deletes[:]...) {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	if s.w != nil {
		errs = append(errs, s.w.Close())
	}
	return errors.Join(append(errs, s.writes.Close())...)
}
