package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// synchronous tells whether commits wait for a standby.
const synchronous = `(current_setting('synchronous_standby_names') <> '' AND current_setting('synchronous_commit') NOT IN ('off', 'local'))`

// confirm is a column of reads that tells whether the database has synchronous
// standbys, and if so makes the read a commit, which waits for them as every
// commit does. What such a read tells is therefore on the standby that will take
// over: a server that was cut off, or whose sessions outlive it, sees commits
// that no standby has and misses those after its time, but gets no confirmation.
// With a standby that is not synchronous nothing can be promised, nor is it.
const confirm = `CASE WHEN ` + synchronous + `
	THEN pg_logical_emit_message(true, 'yare', '') IS NOT NULL ELSE false END`

// errUnconfirmed: the database answered without having waited for its standby.
var errUnconfirmed = errors.New("the wait for the synchronous standby was cancelled: it may not have what is here")

// waitGivenUp is set in a session whose commit did not wait.
const waitGivenUp = "wait given up"

// noteWarning recognises what PostgreSQL says before it reports success for a
// commit whose wait for the standby somebody cancelled. The warning has no code
// of its own, and its text is in the server's language.
func noteWarning(conn *pgconn.PgConn, notice *pgconn.Notice) {
	if notice.Routine == "SyncRepWaitForLSN" {
		conn.CustomData()[waitGivenUp] = true
	}
}

// certain tells whether all that a session was told is confirmed.
func certain(conn *pgconn.PgConn) error {
	if conn.CustomData()[waitGivenUp] != nil {
		return errUnconfirmed
	}
	return nil
}

// onConnection runs a request on a connection of the pool.
func (s *store) onConnection(ctx context.Context, request func(*pgxpool.Conn) error) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if err := request(conn); err != nil {
		return err
	}
	if err := certain(conn.Conn().PgConn()); err != nil {
		hangUp(conn.Conn())
		return err
	}
	return nil
}

// readRow reads the only row of a query that has the column confirm.
func (s *store) readRow(ctx context.Context, query string, args []any, into ...any) error {
	return s.read(ctx, func(ctx context.Context) error {
		return s.onConnection(ctx, func(conn *pgxpool.Conn) error { return conn.QueryRow(ctx, query, args...).Scan(into...) })
	})
}

// takesWrites accepts a connection to a server that takes writes and has them
// confirmed; else the next host is tried.
func takesWrites(ctx context.Context, conn *pgconn.PgConn) error {
	if err := pgconn.ValidateConnectTargetSessionAttrsReadWrite(ctx, conn); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, sessionSettings+`; SELECT `+confirm).ReadAll(); err != nil {
		return fmt.Errorf("the server does not confirm commits, as when its synchronous standby is away or has taken over: %w", err)
	}
	return certain(conn)
}
