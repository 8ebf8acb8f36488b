package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// migrations bring the schema from one version to the next: the file that
// begins with 0001 makes version 1. A released one is never changed.
//
//go:embed migrations/*.sql
var migrations embed.FS

// migrate creates the schema or brings it up to date, one process at a time.
func (s *store) migrate(ctx context.Context) error {
	if err := s.chooseSchema(ctx); err != nil {
		return err
	}
	files, err := migrations.ReadDir("migrations")
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, s.lock); err != nil {
			return fmt.Errorf("wait for other migrations: %w", err)
		}
		version, err := schemaVersion(ctx, tx)
		if err != nil {
			return err
		}
		if version > len(files) {
			return fmt.Errorf("the schema has version %d, this program knows %d: use the newer program", version, len(files))
		}
		for _, file := range files[version:] {
			script, err := migrations.ReadFile("migrations/" + file.Name())
			if err != nil {
				return err
			}
			if _, err := tx.Conn().PgConn().Exec(ctx, string(script)).ReadAll(); err != nil {
				return fmt.Errorf("migrate with %s: %w", file.Name(), err)
			}
		}
		_, err = tx.Exec(ctx, `UPDATE yare_schema SET version = $1 WHERE version <> $1`, len(files))
		return err
	})
}

// chooseSchema finds out where the tables go and makes sure it is there.
func (s *store) chooseSchema(ctx context.Context) error {
	var schema *string
	if err := s.pool.QueryRow(ctx, `SELECT current_schema()`).Scan(&schema); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if schema == nil {
		first, _, _ := strings.Cut(s.dialer.RuntimeParams["search_path"], ",")
		first = strings.Trim(first, ` "`)
		if first == "" {
			return errors.New("the role's search_path has no schema: name one with ?search_path=")
		}
		if _, err := s.pool.Exec(ctx, `CREATE SCHEMA IF NOT EXISTS `+pgx.Identifier{first}.Sanitize()); err != nil {
			return fmt.Errorf("create the schema: %w", err)
		}
		schema = &first
	}
	s.channel = "yare_" + *schema
	return s.pool.QueryRow(ctx, `SELECT hashtextextended('yare ' || $1, 0)`, *schema).Scan(&s.lock)
}

func schemaVersion(ctx context.Context, tx pgx.Tx) (int, error) {
	var there bool
	if err := tx.QueryRow(ctx, `SELECT to_regclass('yare_schema') IS NOT NULL`).Scan(&there); err != nil || !there {
		return 0, err
	}
	var version int
	err := tx.QueryRow(ctx, `SELECT version FROM yare_schema`).Scan(&version)
	return version, err
}
