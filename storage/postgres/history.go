package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/yare-io/yare/storage"
)

// eventsQuery reads the log. The value that a revision wrote is what the
// revision after it replaced, or what is there still.
const eventsQuery = `
	SELECT l.revision, coalesce(l.batch, 0), l.key, l.deleted, l.previous, CASE WHEN $5::boolean THEN l.was END, coalesce(n.was, c.content)
	FROM yare_revisions l
	LEFT JOIN yare_revisions n ON n.previous = l.revision AND n.revision > l.revision
	LEFT JOIN yare_current c ON c.key = l.key AND c.revision = l.revision
	WHERE l.revision > $1 AND l.key >= $2 AND l.key < $3
	ORDER BY l.revision LIMIT $4`

// point is a revision, and the transaction that wrote it: zero where that is not
// known, because the revision is compacted or none was written.
type point struct{ revision, batch int64 }

// same tells whether two points of one revision can be of one history.
func (p point) same(batch int64) bool { return p.batch == 0 || batch == 0 || p.batch == batch }

// logged is an event with the transaction that wrote it.
type logged struct {
	storage.Event
	batch int64
}

func (l logged) point() point { return point{l.KV.Revision, l.batch} }

const presentQuery = `SELECT s.revision, coalesce(l.batch, 0), ` + confirm + `
	FROM yare_state s LEFT JOIN yare_revisions l ON l.revision = s.revision`

// present is the point where the store is.
func (s *store) present(ctx context.Context) (point, error) {
	var now point
	var synchronous bool
	err := s.readRow(ctx, presentQuery, nil, &now.revision, &now.batch, &synchronous)
	return now, err
}

// pointsQuery reads the transactions of a revision and of the current one.
const pointsQuery = `SELECT coalesce((SELECT batch FROM yare_revisions WHERE revision = $1), 0),
	coalesce((SELECT l.batch FROM yare_revisions l JOIN yare_state s ON s.revision = l.revision), 0)`

// eventsAtOnce is how many events are read from the log in one go.
const eventsAtOnce = 500

// events reads what happened below a prefix after a point, and up to which point
// that is all. It fails with errRewound when that point is not in the past.
func (s *store) events(ctx context.Context, req storage.WatchRequest, after point) ([]logged, point, error) {
	var events []logged
	var now state
	var there, current int64
	err := s.read(ctx, func(ctx context.Context) (err error) {
		from, end := keyRange(req.Prefix)
		now, err = s.snapshot(ctx, func(batch *pgx.Batch) {
			batch.Queue(pointsQuery, after.revision).QueryRow(func(row pgx.Row) error { return row.Scan(&there, &current) })
			batch.Queue(eventsQuery, after.revision, from, end, eventsAtOnce, req.Previous).Query(func(rows pgx.Rows) (err error) {
				events, err = readEvents(rows, req.Previous)
				return err
			})
		})
		return err
	})
	switch {
	case err != nil:
		return nil, after, err
	case after.rewound(now, there):
		return nil, after, fmt.Errorf("after revision %d, the store is at %d: %w", after.revision, now.revision, errRewound)
	case after.revision < now.compacted:
		return nil, after, fmt.Errorf("after revision %d, compacted at %d: %w", after.revision, now.compacted, storage.ErrCompacted)
	case len(events) == eventsAtOnce:
		return events, events[len(events)-1].point(), nil
	}
	return events, point{now.revision, current}, nil
}

// rewound tells whether a point that was seen is not in the history of a
// database, which has another transaction, or none, at its revision.
func (p point) rewound(now state, there int64) bool {
	return now.revision < p.revision || p.batch != 0 && p.revision > now.compacted && there != p.batch
}

func readEvents(rows pgx.Rows, withPrevious bool) ([]logged, error) {
	defer rows.Close()
	var events []logged
	for rows.Next() {
		e := logged{Event: storage.Event{Type: storage.Updated}}
		var key []byte
		var was unpacked
		var deleted bool
		var previous *int64
		if err := rows.Scan(&e.KV.Revision, &e.batch, &key, &deleted, &previous, &was, (*unpacked)(&e.KV.Value)); err != nil {
			return nil, err
		}
		e.KV.Key = string(key)
		switch {
		case deleted:
			e.Type, e.KV.Value = storage.Deleted, nil
		case previous == nil:
			e.Type = storage.Created
		}
		if withPrevious && previous != nil {
			e.Previous = &storage.KV{Key: e.KV.Key, Value: was, Revision: *previous}
		}
		events = append(events, e)
	}
	return events, rows.Err()
}
