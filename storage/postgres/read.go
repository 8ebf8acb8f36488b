package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/yare-io/yare/storage"
)

// Get implements storage.Store.
func (s *store) Get(ctx context.Context, key string) (storage.KV, error) {
	limited, leave, err := s.enter(ctx)
	if err != nil {
		return storage.KV{}, fmt.Errorf("get %q: %w", key, err)
	}
	defer leave()
	kv := storage.KV{Key: key}
	err = s.read(limited, func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, `SELECT revision, content FROM yare_current WHERE key = $1`, []byte(key)).Scan(&kv.Revision, (*unpacked)(&kv.Value))
	})
	if errors.Is(err, pgx.ErrNoRows) {
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
	batch.Queue(`SELECT compacted FROM yare_compaction`).QueryRow(func(row pgx.Row) error { return row.Scan(&now.compacted) })
	err := s.pool.SendBatch(ctx, &batch).Close()
	return now, err
}
