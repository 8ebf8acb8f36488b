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
	SELECT l.revision, l.key, l.deleted, l.previous, CASE WHEN $5::boolean THEN l.was END, coalesce(n.was, c.value)
	FROM yare_revisions l
	LEFT JOIN yare_revisions n ON n.previous = l.revision AND n.revision > l.revision
	LEFT JOIN yare_current c ON c.key = l.key AND c.revision = l.revision
	WHERE l.revision > $1 AND l.key >= $2 AND l.key < $3
	ORDER BY l.revision LIMIT $4`

// eventsAtOnce is how many events are read from the log in one go.
const eventsAtOnce = 500

// events reads what happened below a prefix after a revision, and up to which
// revision that is all.
func (s *store) events(ctx context.Context, req storage.WatchRequest, after int64) ([]storage.Event, int64, error) {
	var events []storage.Event
	var now state
	err := s.read(ctx, func(ctx context.Context) (err error) {
		ctx, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
		defer cancel()
		from, end := keyRange(req.Prefix)
		now, err = s.snapshot(ctx, func(batch *pgx.Batch) {
			batch.Queue(eventsQuery, after, from, end, eventsAtOnce, req.Previous).Query(func(rows pgx.Rows) (err error) {
				events, err = readEvents(rows, req.Previous)
				return err
			})
		})
		return err
	})
	switch {
	case err != nil:
		return nil, after, err
	case after < now.compacted:
		return nil, after, fmt.Errorf("after revision %d, compacted at %d: %w", after, now.compacted, storage.ErrCompacted)
	case len(events) == eventsAtOnce:
		return events, events[len(events)-1].KV.Revision, nil
	}
	return events, now.revision, nil
}

func readEvents(rows pgx.Rows, withPrevious bool) ([]storage.Event, error) {
	defer rows.Close()
	var events []storage.Event
	for rows.Next() {
		e := storage.Event{Type: storage.Updated}
		var key, was []byte
		var deleted bool
		var previous *int64
		if err := rows.Scan(&e.KV.Revision, &key, &deleted, &previous, &was, &e.KV.Value); err != nil {
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
