package store

import (
	"context"
	"database/sql"
	_ "embed"
	"fmt"
)

var (
	//go:embed schema.sql
	schema1 string
	//go:embed schema2.sql
	schema2 string
)

// migrations brings a file from version i to version i+1 by its i-th script. Scripts are only ever appended.
var migrations = []string{schema1, schema2}

// applicationID marks the file as ours ("LRod"), so that another program's SQLite file is not taken for an empty one.
const applicationID = 0x4c526f64

// migrate brings the file to the version this program knows, each step in a transaction with its version number. Files of
// newer programs are refused: their rows may mean what this one cannot know.
func migrate(ctx context.Context, c *sql.Conn, steps []string) error {
	var app, version, objects int
	if err := c.QueryRowContext(ctx, "pragma application_id").Scan(&app); err != nil {
		return fmt.Errorf("read application_id: %w", err)
	}
	if err := c.QueryRowContext(ctx, "pragma user_version").Scan(&version); err != nil {
		return fmt.Errorf("read user_version: %w", err)
	}
	if err := c.QueryRowContext(ctx, "select count(*) from sqlite_schema").Scan(&objects); err != nil {
		return fmt.Errorf("read schema: %w", err)
	}
	switch {
	case app != applicationID && (app != 0 || version != 0 || objects != 0):
		return fmt.Errorf("application_id %#x is not %#x: the file belongs to another program", app, applicationID)
	case version > len(steps):
		return fmt.Errorf("%w: schema version %d, this program knows up to %d", ErrNewerSchema, version, len(steps))
	}
	for ; version < len(steps); version++ {
		script := fmt.Sprintf("begin immediate;\n%s\npragma application_id = %d; pragma user_version = %d; commit;",
			steps[version], applicationID, version+1)
		if _, err := c.ExecContext(ctx, script); err != nil {
			_, _ = c.ExecContext(ctx, "rollback")
			return fmt.Errorf("migrate from schema version %d to %d: %w", version, version+1, err)
		}
	}
	return nil
}
