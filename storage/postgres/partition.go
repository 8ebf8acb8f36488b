package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// partitions knows up to where the log has room.
type partitions struct {
	// past is the first revision without a partition, as far as is known here.
	past atomic.Int64
}

const (
	// ahead is how many partitions are kept ready beyond the one in use.
	ahead = 2
	// fewPartitions is about how many a log has before they become wider than they
	// are configured: a query of the log visits each.
	fewPartitions = 64
)

// room makes sure that a batch after a revision has partitions to go to, and
// has more made in time.
func (s *store) room(ctx context.Context, revision int64) error {
	past := s.partitions.past.Load()
	if revision+ahead*s.config.PartitionSpan >= past {
		signal(s.upkeep)
	}
	if revision+maxBatch < past {
		return nil
	}
	return s.makePartitions(ctx, revision)
}

// makePartitions adds empty partitions until there are enough beyond a revision.
// None of it stops readers or writers: a partition is made as a table of its
// own, and attached.
func (s *store) makePartitions(ctx context.Context, revision int64) error {
	needed := revision + ahead*s.config.PartitionSpan + maxBatch
	for {
		var length, past int64
		if err := s.pool.QueryRow(ctx, `SELECT coalesce(sum(past - first), 0)::bigint, coalesce(max(past), 0) FROM yare_partitions`).Scan(&length, &past); err != nil {
			return fmt.Errorf("read the partitions: %w", err)
		}
		s.partitions.past.Store(past)
		if past > needed {
			return nil
		}
		first, end := s.next(length, past, revision)
		if err := s.makePartition(ctx, first, end); err != nil {
			return fmt.Errorf("make the partition from revision %d on: %w", first, err)
		}
	}
}

// next is the partition that follows a log of some length, which ends at past.
// That of an empty log begins where the log does; skipped revisions have none. A
// long log has wider ones: that is what outlives a compaction, and is little
// beside what it gives up.
func (s *store) next(length, past, revision int64) (first, end int64) {
	switch {
	case past == 0:
		return 0, revision + s.config.PartitionSpan
	case revision > past+skippedRevisions/2:
		past = revision + 1
	}
	return past, past + max(s.config.PartitionSpan, length/fewPartitions)
}

// makePartition adds the partition from first until past, unless another process
// was quicker.
func (s *store) makePartition(ctx context.Context, first, past int64) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, s.lock); err != nil {
			return err
		}
		made, err := tx.Exec(ctx, `INSERT INTO yare_partitions (first, past)
			SELECT $1, $2 WHERE $1 >= (SELECT coalesce(max(past), 0) FROM yare_partitions)`, first, past)
		if err != nil || made.RowsAffected() == 0 {
			return err
		}
		table := partitionName(first)
		_, err = tx.Conn().PgConn().Exec(ctx, fmt.Sprintf(`
			CREATE TABLE %[1]s (LIKE yare_revisions INCLUDING ALL) WITH (autovacuum_enabled = off, toast_tuple_target = 4080);
			ALTER TABLE yare_revisions ATTACH PARTITION %[1]s FOR VALUES FROM (%[2]d) TO (%[3]d)`, table, first, past)).ReadAll()
		return err
	})
}

// keepUp makes and drops partitions when told to, until the store closes.
func (s *store) keepUp() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.upkeep:
		}
		now, err := s.state(s.ctx)
		if err == nil {
			err = errors.Join(s.makePartitions(s.ctx, now.revision), s.dropPartitions(s.ctx, now.compacted))
		}
		if err == nil || s.ctx.Err() != nil {
			continue
		}
		s.config.Logger.Warn("cannot maintain the log of revisions", "retryIn", longestDelay, "err", err)
		if s.pause(longestDelay) {
			signal(s.upkeep)
		}
	}
}

// dropPartitions gives up those that have nothing from after a revision. Taking
// one out of the log waits for readers that may be in it, and makes nobody wait.
func (s *store) dropPartitions(ctx context.Context, compacted int64) error {
	firsts, err := s.partitionsBefore(ctx, compacted)
	if err != nil || len(firsts) == 0 {
		return err
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var mine bool
	if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, s.lock+1).Scan(&mine); err != nil || !mine {
		return err
	}
	for _, first := range firsts {
		if err = s.dropPartition(ctx, conn, first); err != nil {
			err = fmt.Errorf("drop %s: %w", partitionName(first), err)
			break
		}
		s.config.Logger.Debug("dropped a partition of the log", "table", partitionName(first))
	}
	_, unlockErr := conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, s.lock+1)
	return errors.Join(err, unlockErr)
}

func (s *store) partitionsBefore(ctx context.Context, compacted int64) ([]int64, error) {
	rows, err := s.pool.Query(ctx, `SELECT first FROM yare_partitions WHERE past <= $1 + 1 ORDER BY first`, compacted)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// dropPartition goes on where an earlier attempt may have stopped.
func (s *store) dropPartition(ctx context.Context, conn *pgxpool.Conn, first int64) error {
	table := partitionName(first)
	var attached, pending bool
	err := conn.QueryRow(ctx, `SELECT count(*) > 0, coalesce(bool_or(inhdetachpending), false) FROM pg_inherits
		WHERE inhrelid = to_regclass($1)`, table).Scan(&attached, &pending)
	if err != nil {
		return err
	}
	switch {
	case pending:
		_, err = conn.Exec(ctx, `ALTER TABLE yare_revisions DETACH PARTITION `+table+` FINALIZE`, pgx.QueryExecModeSimpleProtocol)
	case attached:
		_, err = conn.Exec(ctx, `ALTER TABLE yare_revisions DETACH PARTITION `+table+` CONCURRENTLY`, pgx.QueryExecModeSimpleProtocol)
	}
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `DROP TABLE IF EXISTS `+table, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DELETE FROM yare_partitions WHERE first = $1`, first)
		return err
	})
}
