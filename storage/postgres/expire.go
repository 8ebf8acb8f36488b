package postgres

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// expiriesAtOnce bounds how many keys are deleted together.
	expiriesAtOnce = 200
	// longestNap is how long another process's keys may be late when it has
	// gone, shortestNap groups expiries that follow each other closely.
	longestNap  = 5 * time.Second
	shortestNap = 50 * time.Millisecond
)

// due is a key whose time has come, as it was then.
type due struct {
	Key      []byte
	Revision int64
}

// expireForever deletes keys as they expire, until the store closes. Every
// process does; a key that another one was quicker to delete, or that somebody
// wrote again, is at another revision and stays as it is.
func (s *store) expireForever() {
	wait := time.Duration(0)
	for {
		timer := s.config.Clock.NewTimer(max(wait, shortestNap))
		select {
		case <-s.ctx.Done():
			timer.Stop()
			return
		case <-s.expiring:
		case <-timer.C():
		}
		timer.Stop()
		var err error
		if wait, err = s.expire(); err != nil && s.ctx.Err() == nil {
			s.config.Logger.Debug("cannot expire keys", "err", err)
		}
	}
}

// expire deletes what is due, by the database's clock, and returns when to look
// again.
func (s *store) expire() (time.Duration, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.config.RequestTimeout)
	defer cancel()
	rows, err := s.pool.Query(ctx, `SELECT key, revision FROM yare_current WHERE expires <= clock_timestamp() ORDER BY expires LIMIT $1`, expiriesAtOnce)
	if err != nil {
		return longestNap, fmt.Errorf("read what is due: %w", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByPos[due])
	if err != nil {
		return longestNap, fmt.Errorf("read what is due: %w", err)
	}
	if len(keys) > 0 {
		return 0, s.removeAll(ctx, keys)
	}
	var seconds *float64
	err = s.pool.QueryRow(ctx, `SELECT extract(epoch FROM min(expires) - clock_timestamp())::float8 FROM yare_current WHERE expires IS NOT NULL`).Scan(&seconds)
	if err != nil || seconds == nil {
		return longestNap, err
	}
	return min(longestNap, time.Duration(*seconds*float64(time.Second))), nil
}

// removeAll deletes keys that are as they were found, in one batch if they fit.
func (s *store) removeAll(ctx context.Context, keys []due) error {
	var group sync.WaitGroup
	var mu sync.Mutex
	var failure error
	for _, k := range keys {
		group.Go(func() {
			o := s.submit(ctx, &write{key: string(k.Key), deletes: true, expected: met(k.Revision)})
			if o.err != nil {
				mu.Lock()
				failure = o.err
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return failure
}
