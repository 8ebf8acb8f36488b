package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

var errSharedSessions = errors.New("a connection pooler gives each transaction another session: notifications and prepared statements need one for each client (pool_mode = session)")

// ownSessions makes sure that a connection has a session of its own. A pooler
// that lends sessions for a transaction lends that of an idle connection to the
// next that begins one.
func (s *store) ownSessions(ctx context.Context) error {
	first, err := pgx.ConnectConfig(ctx, s.dialer.Copy())
	if err != nil {
		return err
	}
	defer hangUp(first)
	before, err := session(ctx, first, `SELECT pg_backend_pid()`)
	if err != nil {
		return err
	}
	second, err := pgx.ConnectConfig(ctx, s.dialer.Copy())
	if err != nil {
		return err
	}
	defer hangUp(second)
	borrowed, err := session(ctx, second, `BEGIN; SELECT pg_backend_pid()`)
	if err != nil {
		return err
	}
	after, err := session(ctx, first, `SELECT pg_backend_pid()`)
	if err == nil && (after != before || borrowed == before) {
		err = errSharedSessions
	}
	return err
}

// session asks which session answers, in a way that poolers pass on.
func session(ctx context.Context, conn *pgx.Conn, query string) (string, error) {
	results, err := conn.PgConn().Exec(ctx, query).ReadAll()
	if err != nil {
		return "", err
	}
	return string(results[len(results)-1].Rows[0][0]), nil
}
