package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/yare-io/yare/storage"
)

const (
	// skippedRevisions are left out when the history may have gone another way:
	// more than can have been written that nobody here knows of, as etcd's
	// restored snapshots have it.
	skippedRevisions = 1_000_000_000

	// lineageQuery names the history of write-ahead log that a server adds to.
	// Any role may ask.
	lineageQuery = `SELECT (SELECT system_identifier FROM pg_control_system()) || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)`

	// adoptQuery records a lineage that goes on with the one before, or is the
	// first.
	adoptQuery = `UPDATE yare_state SET lineage = $1 WHERE lineage IS NULL OR $2 AND lineage = $3`

	// skipQuery leaves out revisions, unless another process has done so for the
	// same lineage, and gives up all before: who comes back with one from there
	// is told that it is compacted.
	skipQuery = `WITH skipped AS (
		UPDATE yare_state SET revision = revision + $1, lineage = nullif($2, '') WHERE $3 OR lineage IS DISTINCT FROM nullif($2, '') RETURNING revision
	) UPDATE yare_compaction c SET compacted = s.revision, next = s.revision FROM skipped s RETURNING pg_notify($4, $5)`
)

// errSuperseded ends watches when another server has taken over.
var errSuperseded = fmt.Errorf("another database server has taken over, which may lack what had been acknowledged: %w", storage.ErrCompacted)

// lineage asks a server for its own. It is empty where the server does not tell,
// as some that only resemble PostgreSQL.
func (s *store) lineage(ctx context.Context, conn *pgx.Conn) (string, error) {
	var lineage string
	err := conn.QueryRow(ctx, lineageQuery).Scan(&lineage)
	switch code(err) {
	case insufficientPrivilege, undefinedFunction, featureNotSupported:
		s.config.Logger.Warn("cannot tell when another server takes over, nor whether history was lost then", "err", err)
		return "", nil
	}
	return lineage, err
}

// inherit makes sure that what a server has is what was acknowledged before it
// took over, or skips revisions. The writer of a process that lived on can vouch
// for that when its last commit, on the lineage known, waited for a standby.
func (s *store) inherit(ctx context.Context, conn *pgx.Conn, known string, vouched bool) (now string, skipped bool, err error) {
	if now, err = s.lineage(ctx, conn); err != nil || now == "" || now == known {
		return now, false, err
	}
	if _, err := conn.Exec(ctx, adoptQuery, now, vouched, known); err != nil {
		return "", false, err
	}
	skipped, err = s.skip(ctx, conn, now, false)
	return now, skipped, err
}

// skip leaves out revisions for a lineage, if always then also where that is
// what the database has.
func (s *store) skip(ctx context.Context, conn *pgx.Conn, lineage string, always bool) (bool, error) {
	done, err := conn.Exec(ctx, skipQuery, skippedRevisions, lineage, always, s.channel, s.name)
	if err == nil {
		err = certain(conn.PgConn())
	}
	if err != nil {
		return false, fmt.Errorf("skip revisions: %w", err)
	}
	if done.RowsAffected() > 0 {
		s.config.Logger.Error("revisions were skipped: the database may have lost some that were acknowledged, all clients list again", "lineage", lineage)
	}
	return done.RowsAffected() > 0, nil
}

// skipLost skips revisions because some that were seen here are lost.
func (s *store) skipLost(ctx context.Context) error {
	return s.onConnection(ctx, func(conn *pgxpool.Conn) error {
		lineage, err := s.lineage(ctx, conn.Conn())
		if err == nil {
			_, err = s.skip(ctx, conn.Conn(), lineage, true)
		}
		return err
	})
}

// continues makes sure that a connection is to a database with the history that
// was seen here, before anything is added to that.
func (w *writer) continues(ctx context.Context, conn *pgx.Conn) error {
	at := w.hub.position()
	var now state
	var there, current int64
	if err := conn.QueryRow(ctx, stateQuery).Scan(&now.revision, &now.compacted, &now.synchronous); err != nil {
		return err
	}
	if err := conn.QueryRow(ctx, pointsQuery, at.revision).Scan(&there, &current); err != nil {
		return err
	}
	if at.rewound(now, there) {
		return w.startOver(ctx, errRewound)
	}
	lineage, skipped, err := w.inherit(ctx, conn, w.inherited, w.waited)
	if err != nil {
		return err
	}
	if w.inherited = lineage; skipped {
		return w.startOver(ctx, errSuperseded)
	}
	return nil
}
