package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/yare-io/yare/storage"
)

// getQuery has a row even where there is no such key: that is confirmed too.
const getQuery = `SELECT coalesce(c.revision, 0), c.content, ` + confirm + ` FROM (SELECT) AS always LEFT JOIN yare_current c ON c.key = $1`

// Get implements storage.Store.
func (s *store) Get(ctx context.Context, key string) (storage.KV, error) {
	limited, leave, err := s.enter(ctx)
	if err != nil {
		return storage.KV{}, fmt.Errorf("get %q: %w", key, err)
	}
	defer leave()
	kv := storage.KV{Key: key}
	var synchronous bool
	err = s.readRow(limited, getQuery, []any{[]byte(key)}, &kv.Revision, (*unpacked)(&kv.Value), &synchronous)
	if err == nil && kv.Revision == 0 {
		err = storage.ErrNotFound
	}
	if err != nil {
		return storage.KV{}, fmt.Errorf("get %q: %w", key, s.translate(err))
	}
	return kv, nil
}

// snapshot runs queries that see one state of the database, in one round trip,
// and tells which revision that is. What it tells about compaction is from after
// the queries: a partition is dropped only when its compaction is on record, so
// queries that missed a part of the log cannot be taken for complete.
func (s *store) snapshot(ctx context.Context, queue func(*pgx.Batch)) (state, error) {
	var now state
	var batch pgx.Batch
	batch.Queue(`BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`)
	batch.Queue(`SELECT revision FROM yare_state`).QueryRow(func(row pgx.Row) error { return row.Scan(&now.revision) })
	queue(&batch)
	batch.Queue(`COMMIT`)
	batch.Queue(`SELECT compacted, ` + confirm + ` FROM yare_compaction`).QueryRow(func(row pgx.Row) error { return row.Scan(&now.compacted, &now.synchronous) })
	err := s.onConnection(ctx, func(conn *pgxpool.Conn) error { return conn.SendBatch(ctx, &batch).Close() })
	return now, err
}
