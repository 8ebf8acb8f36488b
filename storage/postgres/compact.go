package postgres

import (
	"context"
	"fmt"

	"github.com/yare-io/yare/storage"
)

// Compact implements storage.Store. The history is given up at once; the room
// it took is returned when nobody can be reading it any more, a whole partition
// at a time.
func (s *store) Compact(ctx context.Context, revision int64) error {
	limited, leave, err := s.enter(ctx)
	if err != nil {
		return fmt.Errorf("compact at %d: %w", revision, err)
	}
	defer leave()
	done, err := s.pool.Exec(limited, `UPDATE yare_compaction SET compacted = $1
		WHERE compacted < $1 AND $1 <= (SELECT revision FROM yare_state)`, revision)
	if err != nil {
		return fmt.Errorf("compact at %d: %w", revision, s.translate(err))
	}
	if done.RowsAffected() > 0 {
		signal(s.upkeep)
		return nil
	}
	now, err := s.state(limited)
	switch {
	case err != nil:
		return fmt.Errorf("compact at %d: %w", revision, s.translate(err))
	case revision > now.revision:
		return fmt.Errorf("compact at %d: %w: the store is at %d", revision, storage.ErrFutureRevision, now.revision)
	}
	return fmt.Errorf("compact at %d: %w: at %d", revision, storage.ErrCompacted, now.compacted)
}

// roundQuery takes a round of compaction if none has been taken for an
// interval: it gives up what was the past in the round before. The database's
// clock decides, so that any number of processes are one.
const roundQuery = `UPDATE yare_compaction
	SET compacted = greatest(compacted, next), next = (SELECT revision FROM yare_state), at = clock_timestamp()
	WHERE at <= clock_timestamp() - $1 * interval '1 microsecond' RETURNING compacted`

// compactForever gives up, every interval, the history from before the last
// interval, until the store closes.
func (s *store) compactForever() {
	for s.pause(s.config.CompactionInterval) {
		if err := s.compactOnce(); err != nil && s.ctx.Err() == nil {
			s.config.Logger.Warn("cannot compact", "err", err)
		}
	}
}

func (s *store) compactOnce() error {
	ctx, cancel := context.WithTimeout(s.ctx, s.config.RequestTimeout)
	defer cancel()
	// Somewhat less than the interval, or a process would miss its own turn.
	interval := s.config.CompactionInterval * 9 / 10
	rows, err := s.pool.Exec(ctx, roundQuery, interval.Microseconds())
	if err != nil {
		return err
	}
	if rows.RowsAffected() > 0 {
		signal(s.upkeep)
	}
	return nil
}
