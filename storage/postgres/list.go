package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/yare-io/yare/storage"
)

// The keys of a range as they were at a revision are those that have not been
// written since, and those that have, as the first write since found them.
const (
	listQuery   = `SELECT key, revision, content FROM yare_current WHERE key >= $1 AND key < $2 ORDER BY key LIMIT nullif($3::bigint, 0)`
	keptQuery   = `SELECT key, revision, content FROM yare_current WHERE key >= $1 AND key < $2 AND revision <= $4 ORDER BY key LIMIT nullif($3::bigint, 0)`
	undoneQuery = `SELECT key, previous, was FROM (
		SELECT DISTINCT ON (key) key, previous, was FROM yare_revisions
		WHERE revision > $4 AND key >= $1 AND key < $2 ORDER BY key, revision
	) AS first WHERE previous IS NOT NULL ORDER BY key LIMIT nullif($3::bigint, 0)`

	countQuery = `SELECT count(*) FROM yare_current WHERE key >= $1 AND key < $2`
	// appearedQuery is by how many keys a range has grown since a revision.
	appearedQuery = `SELECT coalesce(sum((NOT deleted_last)::integer - (NOT absent_first)::integer), 0) FROM (
		SELECT (array_agg(deleted ORDER BY revision DESC))[1] AS deleted_last,
			(array_agg(previous IS NULL ORDER BY revision))[1] AS absent_first
		FROM yare_revisions WHERE revision > $3 AND key >= $1 AND key < $2 GROUP BY key
	) AS changed`
)

// List implements storage.Store.
func (s *store) List(ctx context.Context, req storage.ListRequest) (storage.ListResult, error) {
	limited, leave, err := s.enter(ctx)
	if err != nil {
		return storage.ListResult{}, fmt.Errorf("list %q: %w", req.Prefix, err)
	}
	defer leave()
	var result storage.ListResult
	err = s.read(limited, func(ctx context.Context) (err error) {
		result, err = s.list(ctx, req)
		return err
	})
	if err != nil {
		return storage.ListResult{}, fmt.Errorf("list %q at revision %d: %w", req.Prefix, req.Revision, s.translate(err))
	}
	return result, nil
}

func (s *store) list(ctx context.Context, req storage.ListRequest) (storage.ListResult, error) {
	l := listing{ListRequest: req}
	l.from, l.end = keyRange(req.Prefix)
	if string(l.from) < req.From {
		l.from = []byte(req.From)
	}
	l.total, l.counted = s.pages.recall(l.page())
	now, err := s.snapshot(ctx, l.queue)
	switch {
	case err != nil:
		return storage.ListResult{}, err
	case req.Revision > now.revision:
		return storage.ListResult{}, fmt.Errorf("%w: the store is at %d", storage.ErrFutureRevision, now.revision)
	case req.Revision != 0 && req.Revision < now.compacted:
		return storage.ListResult{}, fmt.Errorf("%w: at %d", storage.ErrCompacted, now.compacted)
	}
	result := l.result()
	if result.Revision == 0 {
		result.Revision = now.revision
	}
	s.pages.remember(req.Prefix, result)
	return result, nil
}

// listing is a list that is being answered.
type listing struct {
	storage.ListRequest
	from, end []byte
	// counted tells that total, the keys of the range, need not be asked for.
	counted bool
	total   int64
	// kept have not been written since the revision, undone have.
	kept, undone []storage.KV
}

func (l *listing) page() page { return page{prefix: l.Prefix, from: l.From, revision: l.Revision} }

// queue asks for what the result takes.
func (l *listing) queue(batch *pgx.Batch) {
	if !l.CountOnly {
		l.queueValues(batch)
	}
	if l.counted || !l.CountOnly && l.Limit == 0 {
		return
	}
	batch.Queue(countQuery, l.from, l.end).QueryRow(func(row pgx.Row) error { return row.Scan(&l.total) })
	if l.Revision != 0 {
		batch.Queue(appearedQuery, l.from, l.end, l.Revision).QueryRow(func(row pgx.Row) error {
			var appeared int64
			err := row.Scan(&appeared)
			l.total -= appeared
			return err
		})
	}
}

func (l *listing) queueValues(batch *pgx.Batch) {
	if l.Revision == 0 {
		batch.Queue(listQuery, l.from, l.end, l.Limit).Query(into(&l.kept))
		return
	}
	batch.Queue(keptQuery, l.from, l.end, l.Limit, l.Revision).Query(into(&l.kept))
	batch.Queue(undoneQuery, l.from, l.end, l.Limit, l.Revision).Query(into(&l.undone))
}

// result puts together what was read.
func (l *listing) result() storage.ListResult {
	result := storage.ListResult{Revision: l.Revision, KVs: merge(l.kept, l.undone)}
	if l.Limit > 0 && len(result.KVs) > l.Limit {
		result.KVs = result.KVs[:l.Limit]
	}
	if l.CountOnly || l.Limit > 0 {
		result.Remaining = l.total - int64(len(result.KVs))
	}
	return result
}

// merge joins two lists in the order of keys, of which they have none in common.
func merge(a, b []storage.KV) []storage.KV {
	if len(b) == 0 {
		return a
	}
	merged := make([]storage.KV, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0].Key < b[0].Key {
			merged, a = append(merged, a[0]), a[1:]
		} else {
			merged, b = append(merged, b[0]), b[1:]
		}
	}
	return append(append(merged, a...), b...)
}

// into copies rows of key, revision and value out of the connection's buffer.
func into(kvs *[]storage.KV) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		// A key is copied once, into the string.
		var key pgtype.DriverBytes
		for rows.Next() {
			var kv storage.KV
			if err := rows.Scan(&key, &kv.Revision, (*unpacked)(&kv.Value)); err != nil {
				return err
			}
			kv.Key = string(key)
			*kvs = append(*kvs, kv)
		}
		return rows.Err()
	}
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
