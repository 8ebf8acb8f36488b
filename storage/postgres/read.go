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
		return s.pool.QueryRow(ctx, `SELECT revision, value FROM yare_current WHERE key = $1`, []byte(key)).Scan(&kv.Revision, &kv.Value)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = storage.ErrNotFound
	}
	if err != nil {
		return storage.KV{}, fmt.Errorf("get %q: %w", key, s.translate(err))
	}
	return kv, nil
}

// pastQuery reads keys as they were at a revision: those that have not been
// written since, and those that have, as the first write since found them.
const pastQuery = `
	SELECT key, revision, value FROM yare_current WHERE key >= $1 AND key < $2 AND revision <= $3
	UNION ALL
	SELECT key, previous, was FROM (
		SELECT DISTINCT ON (key) key, previous, was FROM yare_revisions
		WHERE revision > $3 AND key >= $1 AND key < $2 ORDER BY key, revision
	) AS undone WHERE previous IS NOT NULL`

const (
	listQuery      = `SELECT key, revision, value FROM yare_current WHERE key >= $1 AND key < $2 ORDER BY key LIMIT nullif($3::bigint, 0)`
	listPastQuery  = `SELECT key, revision, value FROM (` + pastQuery + `) AS past ORDER BY key LIMIT nullif($4::bigint, 0)`
	countQuery     = `SELECT count(*) FROM yare_current WHERE key >= $1 AND key < $2`
	countPastQuery = `SELECT count(*) FROM (` + pastQuery + `) AS past`
)

// List implements storage.Store.
func (s *store) List(ctx context.Context, req storage.ListRequest) (storage.ListResult, error) {
	limited, leave, err := s.enter(ctx)
	if err != nil {
		return storage.ListResult{}, fmt.Errorf("list %q: %w", req.Prefix, err)
	}
	defer leave()
	var result storage.ListResult
	err = s.read(limited, func(ctx context.Context) error {
		result, err = s.list(ctx, req)
		return err
	})
	if err != nil {
		return storage.ListResult{}, fmt.Errorf("list %q at revision %d: %w", req.Prefix, req.Revision, s.translate(err))
	}
	return result, nil
}

func (s *store) list(ctx context.Context, req storage.ListRequest) (storage.ListResult, error) {
	from, end := keyRange(req.Prefix)
	if f := []byte(req.From); string(from) < req.From {
		from = f
	}
	values, count, args := listQuery, countQuery, []any{from, end}
	if req.Revision != 0 {
		values, count, args = listPastQuery, countPastQuery, []any{from, end, req.Revision}
	}
	var result storage.ListResult
	var total int64
	counted := req.CountOnly || req.Limit > 0
	now, err := s.snapshot(ctx, func(batch *pgx.Batch) {
		if !req.CountOnly {
			batch.Queue(values, append(args, req.Limit)...).Query(func(rows pgx.Rows) (err error) {
				result.KVs, err = readKVs(rows)
				return err
			})
		}
		if counted {
			batch.Queue(count, args...).QueryRow(func(row pgx.Row) error { return row.Scan(&total) })
		}
	})
	switch {
	case err != nil:
		return storage.ListResult{}, err
	case req.Revision > now.revision:
		return storage.ListResult{}, fmt.Errorf("%w: the store is at %d", storage.ErrFutureRevision, now.revision)
	case req.Revision != 0 && req.Revision < now.compacted:
		return storage.ListResult{}, fmt.Errorf("%w: at %d", storage.ErrCompacted, now.compacted)
	}
	if result.Revision = req.Revision; result.Revision == 0 {
		result.Revision = now.revision
	}
	if counted {
		result.Remaining = total - int64(len(result.KVs))
	}
	return result, nil
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

// readKVs copies rows out of the connection's buffer.
func readKVs(rows pgx.Rows) ([]storage.KV, error) {
	defer rows.Close()
	var kvs []storage.KV
	for rows.Next() {
		var kv storage.KV
		var key []byte
		raw := rows.RawValues()
		if len(raw) != 3 {
			return nil, fmt.Errorf("a row of %d columns", len(raw))
		}
		if err := rows.Scan(&key, &kv.Revision, &kv.Value); err != nil {
			return nil, err
		}
		kv.Key = string(key)
		kvs = append(kvs, kv)
	}
	return kvs, rows.Err()
}

// afterAllKeys sorts after every key, because no key is as long.
var afterAllKeys = func() []byte {
	end := make([]byte, maxKey+1)
	for i := range end {
		end[i] = 0xff
	}
	return end
}()

// keyRange is the half-open range of the keys below a prefix.
func keyRange(prefix string) (from, end []byte) {
	from = []byte(prefix)
	for n := len(prefix); n > 0; n-- {
		if prefix[n-1] < 0xff {
			end = []byte(prefix[:n])
			end[n-1]++
			return from, end
		}
	}
	return from, afterAllKeys
}
